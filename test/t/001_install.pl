# Installing, removing, dumping and restoring; what happens without the preload.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use PostgreSQL::Test::Utils;
use Test::More;

# --- without shared_preload_libraries
{
	my $t = SpinpanelTest->start(name => 'bare', preload => '', emulator => 0, conf => { 'spinpanel.database' => 'billing' });

	is($t->sql("SELECT extversion FROM pg_extension WHERE extname = 'spinpanel'"), '1.0', 'the extension can be created without the preload');
	is($t->sql('SELECT count(*) FROM spinpanel.excess_seats()'), '0', 'what reads tables works without the worker');
	is(($t->node->psql('postgres', 'SELECT count(*) FROM spinpanel.excess_seats()'))[2], '', '... without a warning about settings that only the preload reads');
	is($t->worker_count, '0', 'there is no worker');
	is($t->sql("SELECT bool_and(ok) FROM spinpanel.check_setup() WHERE item IN ('preload', 'worker')"), 'f', 'check_setup() says so');
	like($t->sql("SELECT string_agg(hint, ' ') FROM spinpanel.check_setup() WHERE NOT ok"), qr/shared_preload_libraries/,
		'... and what to do');

	my ($state, $message) = $t->sql_error('SELECT spinpanel.sync()');
	is($state, '55000', 'what needs the worker is refused');
	like($message, qr/shared_preload_libraries/, '... with a hint');

	is($t->sql("LOAD 'spinpanel'; SHOW spinpanel.enabled"), 'on', 'settings can be shown without the preload');
	$t->sql('DROP EXTENSION spinpanel');
	is($t->sql("SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'spinpanel%'"), '0', 'DROP EXTENSION leaves nothing');

	$t->sql('CREATE ROLE somebody; ALTER SCHEMA spinpanel OWNER TO somebody');
	($state) = $t->sql_error('CREATE EXTENSION spinpanel');
	is($state, '42501', "it is not created into somebody else's schema");
	$t->node->stop;
}

# --- with it
my $t = SpinpanelTest->start(scenario => one_customer());

is($t->run_and_wait('sync')->{status}, 'done', 'a first sync is done') or BAIL_OUT('nothing works');
is($t->sql('SELECT count(*) FROM spinpanel.customer'), '1', 'the customer is in the mirror');

# --- dump and restore
$t->sql("SELECT * FROM spinpanel.set_relationship('Contoso', spare_seats => 3, cooldown => '7 hours')");
$t->sql("SELECT spinpanel.set_license_rule('*', 'SPB', max_seats => 44)");
$t->sql("SELECT spinpanel.pause('Contoso', 'to be dumped')");
$t->sql("SELECT spinpanel.schedule('30 21 * * *')");
$t->sql("SELECT spinpanel.limit_reader(rolname, '{Contoso}') FROM pg_roles WHERE rolname = 'pg_monitor'");
$t->sql("INSERT INTO spinpanel.never_assigned_sku (part_number) VALUES ('X')");
my $file = "$t->{dir}/dump.sql";
$t->node->command_ok([ 'pg_dump', '-f', $file, $t->connstr ], 'pg_dump works');
my $dump = slurp_file($file);
my ($account) = @{ $t->emulator('GET', 'accounts') };
unlike($dump, qr/\Q$account->{client_secret}\E/, 'no client secret in the dump');
unlike($dump, qr/\Q$account->{refresh_token}\E/, 'no refresh token in the dump');
unlike($dump, qr/COPY spinpanel\.credential/, 'the credential table is not dumped');

$t->sql('CREATE DATABASE copy');
my ($code, $out, $err) = $t->node->psql('copy', "\\i $file", on_error_stop => 1);
# pg_cron cannot live in two databases; its errors are not ours
$t->sql('DROP DATABASE copy');
$t->sql('CREATE DATABASE copy');
($code, $out, $err) = $t->node->psql('copy', "\\i $file", on_error_stop => 0);
my @errors = grep { /ERROR/ && !/cron|can only create extension in database/ } split /\n/, $err;
is("@errors", '', 'the dump can be restored');
for my $query (
	'SELECT name, tenant_id, client_id, credential_file, api_url FROM spinpanel.account',
	"SELECT spare_seats, cooldown FROM spinpanel.relationship ORDER BY customer_id",
	'SELECT max_seats FROM spinpanel.license_rule',
	'SELECT pause_reason FROM spinpanel.relationship',
	'SELECT schedule, scheduled_at, scheduled_by FROM spinpanel.installation',
	'SELECT * FROM spinpanel.reader_limit',
	'SELECT * FROM spinpanel.never_assigned_sku',
	'SELECT count(*) FROM spinpanel.never_assigned_sku_shipped',
	'SELECT run_id, kind, status, customers FROM spinpanel.run ORDER BY run_id',
	'SELECT history_id, at, event, actor, before, after FROM spinpanel.history ORDER BY history_id')
{
	is($t->sql($query, database => 'copy'), $t->sql($query), "restored: $query");
}
is($t->sql('SELECT count(*) FROM spinpanel.credential', database => 'copy'), '0', 'no token came along');
my $next = $t->sql("SELECT spinpanel.connect_account('other', '11111111-2222-3333-4444-555555555555', 'x', "
	  . SpinpanelTest::quote($t->credential_file({ client_secret => 'y' }, 'other.json'))
	  . ", api_url => 'http://127.0.0.1:1', login_url => 'http://127.0.0.1:1')", database => 'copy');
ok($next > 1, 'the sequences were restored, too');
is($t->sql("SELECT ok FROM spinpanel.check_setup() WHERE item = 'copy'", database => 'copy'), 'f', 'check_setup() knows that it is a copy');
is($t->sql('SELECT spinpanel.activate()', database => 'copy'), '1', 'activate() takes over the account of the original');
$t->sql('DROP DATABASE copy');

# --- drop and create again
my $pid = $t->find_worker_pid;
$t->sql('DROP EXTENSION spinpanel');
is($t->sql("SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'spinpanel%'"), '0', 'no table is left');
is($t->sql("SELECT count(*) FROM pg_proc WHERE probin LIKE '%spinpanel%'"), '0', 'no function is left');
$t->sql('CREATE EXTENSION spinpanel');
$t->connect_account;
is($t->run_and_wait('sync')->{status}, 'done', 'created again, it works again');
is($t->find_worker_pid, $pid, '... with the same worker');

# --- in a transaction that is rolled back
$t->sql('BEGIN; DROP EXTENSION spinpanel; ROLLBACK');
is($t->run_and_wait('sync')->{status}, 'done', 'a DROP EXTENSION that was rolled back changes nothing');

# --- CASCADE over things of the user's that depend on it
$t->sql('CREATE VIEW mine AS SELECT * FROM spinpanel.customer');
my ($state) = $t->sql_error('DROP EXTENSION spinpanel');
is($state, '2BP01', 'DROP EXTENSION minds what depends on it');

unlike($t->log_since(0), qr/\Q$account->{client_secret}\E/, 'no client secret in the log');
unlike($t->log_since(0), qr/TRAP:|PANIC|terminated by signal/, 'nothing crashed');
$t->node->stop;
done_testing();
