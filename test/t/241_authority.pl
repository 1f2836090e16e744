# Who may do what: nobody who was not granted it by grant_role(), whatever was granted or planted before CREATE EXTENSION.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), extension => 0, preload => 'spinpanel', conf => { 'spinpanel.poll_interval' => '300ms' });

# --- a schema in which others may create, or did
$t->sql('CREATE ROLE mallory LOGIN; CREATE ROLE boss LOGIN; CREATE SCHEMA spinpanel; GRANT CREATE, USAGE ON SCHEMA spinpanel TO mallory');
my ($state, $message) = $t->sql_error('CREATE EXTENSION spinpanel');
is($state, '42501', 'a schema in which others may create objects is refused');
like($message, qr/mallory/, '... by name of who may');
for my $planted (
	q{FUNCTION spinpanel._require_range(int, int, int, text) RETURNS void LANGUAGE sql AS 'SELECT'},
	'TABLE spinpanel.something (a int)',
	'DOMAIN spinpanel.something AS int',
	'OPERATOR spinpanel.+ (leftarg = text, rightarg = text, procedure = textcat)')
{
	$t->sql("CREATE $planted; REVOKE ALL ON SCHEMA spinpanel FROM mallory");
	is(($t->sql_error('CREATE EXTENSION spinpanel'))[0], '42501', '... and one that holds a ' . lc((split / /, $planted)[0]));
	$t->sql('DROP SCHEMA spinpanel CASCADE; CREATE SCHEMA spinpanel');
}
$t->sql('DROP SCHEMA spinpanel');

# --- default privileges of the billing database
$t->sql(q{CREATE ROLE readonly LOGIN; CREATE ROLE app LOGIN; CREATE ROLE bi LOGIN; GRANT pg_read_all_data TO bi; CREATE ROLE writer LOGIN; GRANT pg_write_all_data TO writer;
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO readonly; ALTER DEFAULT PRIVILEGES GRANT USAGE, CREATE ON SCHEMAS TO app;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO app;
	ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO app; ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO app});
$t->sql('CREATE EXTENSION spinpanel');
$t->connect_account;
is($t->run_and_wait('sync')->{status}, 'done', 'with default privileges for others: it works');
my $others = q{SELECT coalesce(string_agg(DISTINCT o.what || ' ' || a.grantee::regrole, ', '), '') FROM (
	SELECT c.oid::regclass::text AS what, c.relacl AS acl, c.relowner AS owner FROM pg_class c WHERE c.relnamespace::regnamespace::text ~ '^spinpanel'
	UNION ALL SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner FROM pg_proc p WHERE p.pronamespace::regnamespace::text ~ '^spinpanel'
	UNION ALL SELECT n.nspname, n.nspacl, n.nspowner FROM pg_namespace n WHERE n.nspname ~ '^spinpanel'
	UNION ALL SELECT t.typname, t.typacl, t.typowner FROM pg_type t WHERE t.typnamespace::regnamespace::text ~ '^spinpanel') o, aclexplode(o.acl) a WHERE a.grantee <> o.owner};
is($t->sql($others), '', '... nobody but the owner was granted anything');
is($t->sql('SELECT count(*) FROM spinpanel.credential'), '1', 'a refresh token is kept');
$t->sql("SELECT spinpanel.grant_role('operator', r) FROM unnest(ARRAY['readonly', 'app']::name[]) r");
for my $role (qw(readonly app bi writer))
{
	my (undef, $out, $err) = $t->node->psql('postgres', 'TABLE spinpanel.credential', extra_params => [ '-U', $role ]);
	is($out, '', "$role sees no row of it");
	is(($t->sql_error(q{WITH x AS (UPDATE spinpanel.credential SET obtained_at = now() RETURNING 1) SELECT 1 / count(*) FROM x}, user => $role))[0] =~ /^(42501|22012)$/, 1, '... and changes none');
}
is($t->sql(q{SELECT coalesce(string_agg(p.proname, ' ' ORDER BY 1), '') FROM pg_proc p WHERE pronamespace = 'spinpanel'::regnamespace AND has_function_privilege('app', oid, 'EXECUTE')
	AND NOT EXISTS (SELECT FROM spinpanel._function_level l WHERE l.name = p.proname AND l.level <= 2)}), '', 'an operator executes what operators may');
is(($t->sql_error('UPDATE spinpanel.relationship SET removal_limit_seats = 1000000', user => 'app'))[0], '42501', '... and writes no table');
is(($t->sql_error('CREATE TABLE spinpanel.mine (a int)', user => 'app'))[0], '42501', '... nor makes one');

$t->node->stop;
done_testing();
