# The night in earnest: pg_cron calls it, a missed one is made up for, a failed one can be asked for again; and callers wait
# for runs in their own sessions.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;
use Time::HiRes qw(time);

my $t = SpinpanelTest->start(scenario => one_customer());

# --- waiting: each look sees what the worker has committed since
my $id = $t->sql('SELECT spinpanel.sync()');
is($t->sql("SELECT status || ' ' || (finished_at IS NOT NULL) FROM spinpanel.wait_for_run($id, '60 s')"), 'done true', 'wait_for_run returns the finished row');
{
	my $session = $t->session;
	$session->query('BEGIN');
	$session->query('SELECT 1');
	my $second = $t->sql("SELECT spinpanel.sync('Contoso')");
	is($session->query("SELECT status FROM spinpanel.wait_for_run($second)"), 'done', '... in a transaction that began before the run');
	$session->query('COMMIT');

	$t->set('spinpanel.enabled' => 'off');
	my $third = $t->sql('SELECT spinpanel.sync()');
	$session->start("SELECT status FROM spinpanel.wait_for_run($third, '5 min')");
	ok($t->poll(sub { $t->sql('SELECT wait_event_type FROM pg_stat_activity WHERE pid = ' . $session->pid) eq 'Extension' }), 'it sleeps, and pg_stat_activity tells');
	my $from = time;
	$t->sql('SELECT pg_cancel_backend(' . $session->pid . ')');
	$session->wait;
	cmp_ok(time - $from, '<', 5, 'it can be cancelled');
	like($session->error, qr/canceling statement/, '... and says so');
	$session->finish;
	$t->set('spinpanel.enabled' => 'on');
	is($t->run_finished($third)->{status}, 'done', 'the run goes on');
}

# --- what is scheduled, minute by minute
my $job = $t->sql("SELECT spinpanel.schedule('* * * * *')");
my $night = $t->wait_for('SELECT kind FROM spinpanel.run WHERE night IS NOT NULL', 'nightly', 90);
ok($night, 'pg_cron calls nightly()');
$t->wait_for("SELECT status FROM cron.job_run_details WHERE jobid = $job ORDER BY runid DESC LIMIT 1", 'succeeded', 70);
$t->wait_for("SELECT status FROM spinpanel.run WHERE kind = 'nightly'", 'done');
is($t->sql("SELECT ok FROM spinpanel.check_setup() WHERE item = 'pg_cron'"), 't', 'check_setup() has seen it');
is($t->sql("SELECT ok FROM spinpanel.check_setup() WHERE item = 'last night'"), 't', '... and the night');
is($t->sql("SELECT string_agg(item || ': ' || detail, '; ') FROM spinpanel.check_setup() WHERE NOT ok AND item <> 'credential'"), '', 'all is well');

# --- missed: the job is gone, a day goes by
$t->sql("SELECT spinpanel.schedule('0 20 * * *')");
$t->sql("SELECT cron.unschedule($job)");
is($t->sql('SELECT spinpanel.nightly() = (SELECT run_id FROM spinpanel.run WHERE night IS NOT NULL)'), 't', 'one a day');
my $today = $t->sql("SELECT max(night) FROM spinpanel.run");
$t->advance_to(sprintf '%sT19:00:00Z', $t->sql("SELECT date '$today' + 1"));
is($t->run_and_wait('sync')->{status}, 'done', 'an hour before it is due');
my $before = $t->sql('SELECT count(*) FROM spinpanel.run WHERE night IS NOT NULL');
cmp_ok($before, '<=', 2, 'no night too early');
$t->advance(hours => 1, minutes => 30);
$t->wait_for("SELECT status FROM spinpanel.run WHERE night = date '$today' + 1", 'done');
is($t->sql("SELECT made_up FROM spinpanel.run WHERE night = date '$today' + 1"), 't', 'a missed night is made up for, under its date');
like($t->log_since(0), qr/makes up for the night/, '... and the log says so');
is($t->sql("SELECT spinpanel.nightly() = (SELECT run_id FROM spinpanel.run WHERE night = date '$today' + 1)"), 't', 'pg_cron coming late changes nothing');
is($t->sql("SELECT ok FROM spinpanel.check_setup() WHERE item = 'pg_cron'"), 'f', 'check_setup() says that the job is gone');

# --- unscheduled: nothing is made up for
$t->sql('SELECT spinpanel.unschedule()');
my $nights = $t->sql('SELECT count(*) FROM spinpanel.run WHERE night IS NOT NULL');
$t->advance(days => 2);
is($t->run_and_wait('sync')->{status}, 'done', 'two days later');
is($t->sql('SELECT count(*) FROM spinpanel.run WHERE night IS NOT NULL'), $nights, 'what is not scheduled is not missed');

# --- failed, and asked for again
$t->sql("UPDATE spinpanel.run SET status = 'failed', error = 'test' WHERE run_id = spinpanel.nightly()");
$id = $t->sql('SELECT spinpanel.nightly()');
is($t->run_finished($id)->{status}, 'done', 'a failed night is queued again');
is($t->sql("SELECT coalesce(error, '-') FROM spinpanel.run WHERE run_id = $id"), '-', '... without the old error');

$t->node->stop;
done_testing();
