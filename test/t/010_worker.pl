# The worker's life: it starts, comes back, obeys SIGHUP, gets in nobody's way and ends at once.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;
use Time::HiRes qw(time);

my $t = SpinpanelTest->start(scenario => one_customer(), conf => { 'spinpanel.request_timeout' => '120s' });

# Seconds that something takes
sub took { my ($code) = @_; my $from = time; $code->(); return time - $from }

# A sync that hangs at Partner Center, and the request is known to have arrived there
sub hang
{
	my ($kind) = @_;
	my $since = $t->counts->{last_seq};
	$t->fault({ match => { kind => $kind }, action => 'hang' });
	my $id = $t->sql("SELECT spinpanel.sync('Contoso')");
	ok($t->poll(sub { scalar $t->requests(since => $since, kind => $kind) }), "a request for $kind hangs");
	return $id;
}

# --- start
my $pid = $t->find_worker_pid;
like($pid, qr/^\d+$/, 'the worker runs');
is($t->worker_count, '1', 'once');
is($t->sql("SELECT datname FROM pg_stat_activity WHERE pid = $pid"), 'postgres', 'in the database of spinpanel.database');
like($t->log_since(0), qr/spinpanel.*\b1\.0\b/, 'it says its version in the log');
is($t->run_and_wait('sync')->{status}, 'done', 'it works');

# --- woken at commit, not by polling
$t->set('spinpanel.poll_interval' => '1h');
$t->run_and_wait('sync', 'Contoso');
my $seconds = took(sub { $t->run_and_wait('sync', 'Contoso') });
cmp_ok($seconds, '<', 5, sprintf 'it is woken at commit (%.2f s)', $seconds);
{
	my $session = $t->session;
	$session->query('BEGIN');
	my $id = $session->query("SELECT spinpanel.sync('Contoso')");
	$session->query('COMMIT');
	is($t->run_finished($id, 10)->{status}, 'done', '... also at the end of a longer transaction');
	$session->query('BEGIN');
	$session->query('SAVEPOINT s');
	$session->query("SELECT spinpanel.sync('Contoso')");
	$session->query('ROLLBACK TO s');
	$session->query('COMMIT');
	$session->finish;
	is($t->sql("SELECT count(*) FROM spinpanel.run WHERE status NOT IN ('done', 'failed')"), '0', '... and a rolled-back savepoint leaves nothing');
}
$t->set('spinpanel.poll_interval' => '500ms');

# --- terminated: comes back and goes on
$t->sql("SELECT pg_terminate_backend($pid)");
my $second = $t->find_worker_pid(other_than => $pid);
like($second, qr/^\d+$/, 'terminated, it comes back');
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', '... and works');
is($t->worker_count, '1', '... once');

# --- terminated in the middle of a run: the run is finished by the next worker
{
	my $id = hang('subscribedskus');
	$t->clear_faults;
	$t->sql("SELECT pg_terminate_backend($second)");
	is($t->run_finished($id)->{status}, 'done', 'a run that was cut off by termination is finished');
}

# --- killed in the middle of a run: the server restarts, the run is finished
{
	my $id = hang('subscriptions');
	$t->clear_faults;    # what hangs goes on hanging; the next worker must not meet it
	ok($t->kill9, 'kill -9 of the worker: the server is back');
	is($t->run_finished($id)->{status}, 'done', '... and the run is finished');
}

# --- SIGHUP
$t->set('spinpanel.enabled' => 'off');
my $before = $t->counts->{total};
my $id = $t->sql("SELECT spinpanel.sync('Contoso')");
ok(!$t->poll(sub { $t->sql("SELECT status FROM spinpanel.run WHERE run_id = $id") eq 'done' }, 2), 'switched off, it accepts a run and does nothing');
is($t->counts->{total}, $before, '... and sends nothing');
$t->set('spinpanel.enabled' => 'on');
is($t->run_finished($id)->{status}, 'done', 'switched on, it does it, without a restart');

$t->set('spinpanel.request_timeout' => '300ms');
$t->fault({ match => { kind => 'subscribedskus' }, action => 'hang', count => 1 });
is($t->run_and_wait('sync', 'Contoso', seconds => 30)->{status}, 'done', 'a new request_timeout takes effect');
$t->clear_faults;
$t->set('spinpanel.request_timeout' => '120s');

# --- while requests hang
$id = hang('subscribedskus');
$seconds = took(sub { $t->sql('CREATE DATABASE another'); $t->sql('DROP DATABASE another') });
cmp_ok($seconds, '<', 10, sprintf 'CREATE and DROP DATABASE while a request hangs (%.2f s)', $seconds);
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'spinpanel worker' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)"),
	'0', 'no transaction is open meanwhile');
$seconds = took(sub { $t->sql('CHECKPOINT'); $t->sql('VACUUM spinpanel.run') });
cmp_ok($seconds, '<', 10, sprintf 'CHECKPOINT and VACUUM are not held up (%.2f s)', $seconds);
my $from = $t->log_position;
$t->set('spinpanel.enabled' => 'off');
$t->set('spinpanel.enabled' => 'on');

# --- DROP EXTENSION while a request hangs
$seconds = took(sub { $t->sql('DROP EXTENSION spinpanel') });
cmp_ok($seconds, '<', 10, sprintf 'DROP EXTENSION while a request hangs (%.2f s)', $seconds);
$pid = $t->find_worker_pid;
$t->clear_faults;
$t->sql('CREATE EXTENSION spinpanel');
$t->connect_account;
is($t->run_and_wait('sync')->{status}, 'done', 'created again, it works');
is($t->find_worker_pid, $pid, 'the worker survived it');

# --- a schema of our name without our tables must not make it fail again and again
$from = $t->log_position;
$t->sql('DROP EXTENSION spinpanel; CREATE SCHEMA IF NOT EXISTS spinpanel; CREATE TABLE spinpanel.run (x int)');
ok(!$t->poll(sub { $t->log_has(qr/ERROR|exited with exit code/, $from) }, 2), 'a schema of our name that is not ours does no harm');
$t->sql('DROP SCHEMA spinpanel CASCADE; CREATE EXTENSION spinpanel');
$t->connect_account;
is($t->run_and_wait('sync')->{status}, 'done', '... and it works again');

# --- DROP EXTENSION in an open transaction: nobody waits for anybody
{
	my $session = $t->session;
	$session->query('BEGIN');
	$session->query('DROP EXTENSION spinpanel');
	ok(!$t->poll(sub { $t->sql("SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'") eq 'Lock' }, 2),
		'the worker does not queue behind an open DROP EXTENSION');
	$session->query('ROLLBACK');
	$session->finish;
	is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', 'rolled back, it goes on');
}

# --- fast shutdown while requests hang
hang('subscribedskus');
$seconds = took(sub { $t->node->stop('fast') });
cmp_ok($seconds, '<', 10, sprintf 'fast shutdown while a request hangs (%.2f s)', $seconds);
$t->clear_faults;
$t->node->start;
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', 'started again, it works');
is($t->sql("SELECT count(*) FROM spinpanel.run WHERE status NOT IN ('done', 'failed')"), '0', '... and what hung is finished');

# --- Partner Center gone: no crash, goes on when it is back
{
	my $down = $t->sql("SELECT spinpanel.sync('Contoso')") if 0;
	$t->fault({ action => 'reset_before', count => 5 });
	is($t->run_and_wait('sync', 'Contoso', seconds => 60)->{status}, 'done', 'five broken connections later, the run is done');
	$t->clear_faults;
}

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation/, 'nothing crashed by itself');
$t->node->stop;
done_testing();
