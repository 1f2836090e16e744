# Servers that are set up in odd ways, and what monitoring says of them: a role set for the database, no free slot for
# the worker, another encoding, a renamed schema, a database that is to be copied, names that jsonb cannot hold.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(database => 'billing', preload => 'spinpanel', scenario => one_customer(),
	conf => { 'spinpanel.poll_interval' => '300ms' });
is($t->run_and_wait('sync')->{status}, 'done', 'first sync');

sub item
{
	my ($which) = @_;
	return $t->sql("SET ROLE NONE; SELECT coalesce(string_agg(ok || ' ' || detail || ' ' || coalesce(hint, ''), '; '), 'no item')"
		. " FROM spinpanel.check_setup() WHERE item = '$which'");
}
sub worker_pid { return $t->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'spinpanel worker' AND datname = 'billing'}, database => 'postgres') }
sub restart_worker
{
	my $pid = worker_pid();
	$t->sql("SELECT pg_terminate_backend($pid)", database => 'postgres');
	return $t->poll(sub { my $new = worker_pid(); $new ne '' && $new ne $pid }, 30);
}

# Monitoring
is($t->sql('SELECT is_working AND is_enabled AND failures_in_a_row = 0 FROM spinpanel_report.worker'), 't', 'worker: it works');
is($t->sql('SELECT last_run_kind || last_run_status FROM spinpanel_report.worker'), 'syncdone', 'worker: the last run');
is($t->sql('SELECT requests_last_minute > 0 AND requests_per_minute_limit > 0 FROM spinpanel_report.worker'), 't', 'worker: requests');
$t->sql('SELECT spinpanel.pause()');
like(item('paused'), qr/^f\w* 1 of 1 customers are paused/, 'a pause is shown');
is($t->sql('SELECT customers_paused FROM spinpanel_report.worker'), 1, '... as a number, too');
$t->sql('SELECT spinpanel.resume()');
$t->sql('CREATE ROLE bi LOGIN');
$t->sql(q{SELECT spinpanel.grant_role('reader', 'bi')});
is($t->sql('SELECT is_working FROM spinpanel_report.worker', user => 'bi'), 't', 'a reader sees the numbers');

# A setting of the database's owner does not bend the worker
$t->sql('CREATE ROLE dbo LOGIN; ALTER DATABASE billing OWNER TO dbo', database => 'postgres');
$t->sql('ALTER DATABASE billing SET role = dbo', database => 'postgres', user => 'dbo');
ok(restart_worker(), 'the worker starts again');
my $run = $t->sql('SET ROLE NONE; SELECT spinpanel.sync()');
ok($t->poll(sub { $t->sql("SET ROLE NONE; SELECT status FROM spinpanel.run WHERE run_id = $run") eq 'done' }, 30),
	'a role that is set for the database does not stop it');
$t->sql('ALTER DATABASE billing RESET role', database => 'postgres');

# A renamed schema: said once, and shown
my $from = $t->log_position;
$t->sql('ALTER SCHEMA spinpanel RENAME TO other');
ok($t->poll(sub { $t->log_has(qr/worker idles: the schema/, $from) }, 15), 'a renamed schema: the worker says so');
my $said = () = $t->log_since($from) =~ /worker idles/g;
my $errors = () = $t->log_since($from) =~ /ERROR:|FATAL:/g;
is("$said $errors", '1 0', '... once, without errors');
$t->sql('ALTER SCHEMA other RENAME TO spinpanel');
is($t->run_and_wait('sync')->{status}, 'done', '... and works again when it has its name back');

# One name that jsonb cannot hold
for my $case ([ 'half a surrogate pair', 'a\ud83d' ], [ 'an escaped NUL', 'a\u0000b' ])
{
	$t->fault({ match => { kind => 'customers' }, action => 'status', status => 200, content_type => 'application/json',
		body => sprintf '{"totalCount":2,"items":[%s]}', join ',', map {
			sprintf '{"id":"11111111-1111-4111-8111-%012d","companyProfile":{"companyName":"%s","domain":"d%d.example"},"relationshipToPartner":"reseller"}', @$_
		} [ 1, 'X', 1 ], [ 2, $case->[1], 2 ] });
	$t->run_and_wait('sync', undef, seconds => 30);
	is($t->sql(q{SELECT count(*) FROM spinpanel.customer WHERE customer_id::text LIKE '11111111-1111-4111-8111-%' AND gone_at IS NULL}), 2,
		"a name with $case->[0]: both customers are read");
	$t->clear_faults;
	$t->run_and_wait('sync', undef, seconds => 30);
}

# While it is disabled, the worker holds no connection
$t->set('spinpanel.enabled' => 'off');
ok($t->poll(sub { worker_pid() eq '' }, 15), 'disabled: the worker leaves the database');
is(($t->sql_error('CREATE DATABASE copied TEMPLATE billing', database => 'postgres'))[0], '00000', '... which can be a template');
is($t->sql('SELECT is_working FROM spinpanel_report.worker'), 'f', '... and is not said to work');
like(item('worker'), qr/^f\w* spinpanel.enabled is off: nothing is read or sent/, '... check_setup() says why');
$t->set('spinpanel.enabled' => 'on');
is($t->run_and_wait('sync', undef, seconds => 60)->{status}, 'done', 'enabled: it works again');

# Other encodings are refused
for my $encoding (qw(LATIN1 SQL_ASCII))
{
	$t->sql("CREATE DATABASE \L$encoding\E ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'", database => 'postgres');
	is(($t->sql_error('CREATE EXTENSION spinpanel', database => lc $encoding))[0], '0A000', "encoding $encoding: CREATE EXTENSION refuses");
}

# No slot for the worker
$t->node->stop;
$t->conf(max_worker_processes => 0);
$t->node->start;
ok($t->poll(sub { item('worker') =~ /^f.*max_worker_processes/ }, 15), 'no free slot for the worker: said so');
done_testing();
