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

# --- to name a file on the server needs the right to read it, of the role that calls and of the one that logged in
$t->sql(q{CREATE ROLE adm LOGIN; SELECT spinpanel.grant_role('admin', 'adm'); GRANT CREATE ON SCHEMA public TO adm; CREATE ROLE reads_files LOGIN; GRANT pg_read_server_files TO reads_files;
	SELECT spinpanel.grant_role('admin', 'reads_files')});
my $file = $t->credential_file({ client_secret => 'of a file that adm may not name' }, 'other.json');
my $call = "spinpanel.connect_account('evil', '0f6f4f7e-3d0b-4d8a-9a53-0000000000ee', 'x', '$file')";
(my $quoted = $call) =~ s/'/''/g;
is(($t->sql_error("SELECT $call", user => 'adm'))[0], '42501', 'an admin may not name a file');
$t->sql(qq{CREATE TABLE public.bait (a int);
	CREATE FUNCTION public.f(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN BEGIN PERFORM $quoted; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN a; END';
	CREATE INDEX ON public.bait (public.f(a)); INSERT INTO public.bait SELECT generate_series(1, 3);
	CREATE MATERIALIZED VIEW public.bait_view AS SELECT public.f(a) FROM public.bait WITH NO DATA}, user => 'adm');
for my $command ('ANALYZE public.bait', 'REINDEX TABLE public.bait', 'REFRESH MATERIALIZED VIEW public.bait_view', 'VACUUM FULL public.bait')
{
	$t->sql_error($command);
	is($t->sql(q{SELECT count(*) FROM spinpanel.account WHERE name = 'evil'}), 0, "... nor by a superuser's $command");
}
$t->sql("CREATE FUNCTION public.lent() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT $quoted'; GRANT EXECUTE ON FUNCTION public.lent() TO adm");
is(($t->sql_error('SELECT public.lent()', user => 'adm'))[0], '42501', '... nor by a function of a superuser');
$t->sql('DROP TABLE public.bait CASCADE');
is(($t->sql_error("SET ROLE adm; SELECT $call"))[0], '42501', 'nor may a superuser in the role of an admin');
is(($t->sql_error("SELECT $call", user => 'reads_files'))[0], '00000', 'who may read files may name one');
is($t->sql(q{SELECT connected_by FROM spinpanel.account WHERE name = 'evil'}), 'reads_files', '... and is on record');

# --- a credential file that others could write
for my $mode (0666, 0622, 0660, 0620)
{
	chmod $mode, $file;
	($state, $message) = $t->sql_error("SELECT $call");
	is($state, '42501', sprintf 'a credential file of mode %o is refused', $mode);
	like($message, qr/chmod 600/, '... with what to do');
}
like($t->sql(q{SELECT detail FROM spinpanel.check_setup() WHERE item = 'credential' AND NOT ok AND detail ~ '^evil'}), qr/can be written by other users/, 'check_setup() tells, too');

# --- readers of certain customers: a limit that holds, also when the role is renamed
$t->sql(q{CREATE ROLE few LOGIN; CREATE ROLE all_of_them LOGIN; SELECT spinpanel.grant_role('reader', r) FROM unnest(ARRAY['few', 'all_of_them']::name[]) r;
	INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) VALUES ('00000000-0000-4000-8000-0000000000ff', 'Fabrikam', now())});
sub sees { my ($role) = @_; return $t->sql(q{SELECT coalesce(string_agg(customer_name, ' ' ORDER BY customer_name), 'nothing') FROM spinpanel_report.customer}, user => $role) }
is(sees('few'), 'Contoso Fabrikam', 'a reader sees all customers');
is($t->sql(q{SELECT spinpanel.limit_reader('few', ARRAY['Contoso'])}), '1', 'limited');
is(sees('few') . ', ' . sees('all_of_them'), 'Contoso, Contoso Fabrikam', '... it sees that one, and others all');
($state, $message) = $t->sql_error(q{SELECT spinpanel.grant_role('operator', 'few')});
is($state, '55000', '... it cannot become an operator');
like($message, qr/limit_reader/, '... before the limit is lifted');
$t->sql(q{SELECT spinpanel.grant_role('reader', 'few')});
is(sees('few'), 'Contoso', '... nor does granting reader again lift it');
$t->sql('ALTER ROLE few RENAME TO fewer; CREATE ROLE few LOGIN; GRANT fewer TO few');
is(sees('fewer') . ', ' . sees('few'), 'Contoso, Contoso', '... renamed, and for its members');
$t->sql('REVOKE fewer FROM few');
is(($t->sql_error(q{SELECT * FROM spinpanel_report.customer}, user => 'few'))[0], '42501', '... and not for who has the name now');
$t->sql('DELETE FROM spinpanel.reader_limit');
is(sees('fewer'), 'nothing', 'where the rows are lost, it sees nothing rather than everything');
$t->sql(q{SELECT spinpanel.limit_reader('fewer', '{*}')});
is(sees('fewer'), 'Contoso Fabrikam', 'lifted');
is(($t->sql_error(q{SELECT spinpanel.limit_reader('app', '{Contoso}')}))[0], '22023', 'an operator cannot be limited');
$t->sql('GRANT all_of_them TO fewer');
is(($t->sql_error(q{SELECT spinpanel.limit_reader('fewer', '{Contoso}')}))[0], '22023', 'nor a member of who sees all');
$t->sql('REVOKE all_of_them FROM fewer');

# --- roles can be taken back
$t->sql(q{SELECT spinpanel.limit_reader('fewer', '{Contoso}')});
for my $role (qw(fewer readonly app adm))
{
	is(($t->sql_error("DROP ROLE $role"))[0], '2BP01', "$role has rights");
	$t->sql("SELECT spinpanel.revoke_role('$role')");
	is($t->sql($others =~ s/a.grantee <> o.owner/a.grantee = '$role'::regrole/r), '', '... they are taken back');
}
$t->sql(q{ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM readonly, app; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM app; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM app;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM app; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM app; DROP OWNED BY adm, app, readonly});
is(($t->sql_error('DROP ROLE fewer, readonly, app, adm'))[0], '00000', '... and DROP ROLE works');
is($t->sql('SELECT count(*) FROM spinpanel.reader_limit'), '0', 'no limit is left');
is(($t->sql_error($_->[0]))[0], $_->[1], $_->[0]) for [ q{SELECT spinpanel.revoke_role('nobody')}, '42704' ], [ 'SELECT spinpanel.revoke_role(NULL)', '22004' ];

$t->node->stop;
done_testing();
