# Runs: whom they begin with, which equal ones are one, what becomes of one that is overtaken, and who waits for whom.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.poll_interval' => '200ms', 'spinpanel.request_timeout' => '10s' });

sub many
{
	my ($n) = @_;
	return $t->fresh({ customers => [ map { { name => sprintf('C%04d', $_), domain => "c$_.example", user_count => 0, extra_consumed => { SPB => 10 },
		subscriptions => [ { offer => 'legacy-SPB', quantity => 12, started_days_ago => 400 } ] } } 1 .. $n ] }, { requests_per_minute => 0 });
}

# --- equal runs
is($t->sql('SELECT count(DISTINCT id) FROM (SELECT spinpanel.sync() AS id FROM generate_series(1, 20)) q'), 1, 'twenty times sync() in a statement: one run');
$t->wait_idle(30);
my $before = $t->counts->{total};
$t->set('spinpanel.enabled' => 'off');
my @ids = map { $t->sql('SELECT spinpanel.adjust()') } 1 .. 5;
is(scalar(keys %{ { map { $_ => 1 } @ids } }), 5, 'in five transactions: five runs, for each may rest on what its transaction changed');
$t->set('spinpanel.enabled' => 'on');
is($t->run_finished($_, 30)->{status}, 'done', "run $_ is done") for @ids;
is($t->sql("SELECT count(*) FROM spinpanel.run WHERE same_as = $ids[0]"), 4, '... four of them with the first');
cmp_ok($t->counts->{total} - $before, '<', 8, '... for the price of one');
is($t->sql("SELECT count(*) FROM spinpanel.history WHERE event = 'run done' AND run_id IN (" . join(',', @ids) . ')'), 5, '... and each is on record');

# --- a night that somebody has begun and not committed keeps nobody waiting
$t->sql("SELECT spinpanel.schedule()");
$t->advance(days => 2);
$t->wait_idle(30);
my $open = $t->session;
$t->set('spinpanel.enabled' => 'off');
$t->advance(days => 1);
$open->query('BEGIN');
$open->query('SELECT spinpanel.nightly()');
$t->set('spinpanel.enabled' => 'on');
my $from = $t->log_position;
is($t->run_and_wait('sync', 'Contoso', seconds => 15)->{status}, 'done', 'a night in an open transaction: other runs go on');
ok(!$t->log_has(qr/lock timeout/, $from), '... and nobody waited for a lock');
$open->query('ROLLBACK');
$open->finish;
my $last = $t->sql('SELECT last_value FROM spinpanel.run_run_id_seq');
$t->run_and_wait('sync', 'Contoso') for 1 .. 3;
cmp_ok($t->sql('SELECT last_value FROM spinpanel.run_run_id_seq') - $last, '<=', 4, 'ids of runs are used for runs');
$t->sql('SELECT spinpanel.unschedule()');

# --- a night that is cut off by the next: whom it did not reach comes first
my $n = 60;
many($n);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
$t->set('spinpanel.customers_at_once' => 1);
$t->fault({ match => { kind => [ 'subscribedskus' ] }, action => 'delay', ms => 200 });
my ($one, $two);
for (1 .. 4)
{
	$t->advance(days => 1);
	$one = $two;
	$two = $t->sql('SELECT spinpanel.nightly()');
	$t->poll(sub { $t->sql("SELECT listed_accounts <> '{}' AND (SELECT count(*) FROM spinpanel.run_customer q WHERE q.run_id = r.run_id) <= $n * 2 / 3 FROM spinpanel.run r WHERE run_id = $two") eq 't' }, 20);
}
is($t->sql(q{SELECT count(*) FROM spinpanel.customer_account WHERE looked_at < spinpanel._now() - interval '3 days 12 hours'}), 0,
	'four nights that reach a third each reach everybody');
is($t->sql("SELECT status || ' ' || error FROM spinpanel.run WHERE run_id = $one"), 'failed overtaken by the next night', 'a night that is overtaken fails');
is($t->sql("SELECT reason FROM spinpanel.history WHERE run_id = $one AND event = 'run failed'"), 'overtaken by the next night', '... which is on record');
$t->clear_faults;
$t->set('spinpanel.customers_at_once' => 16);
is($t->run_finished($two, 60)->{status}, 'done', 'the last one is done');
is($t->sql(q{SELECT count(*) FROM spinpanel.adjustment a JOIN spinpanel.run r USING (run_id) WHERE r.status = 'failed' AND a.created_at > r.finished_at}), 0,
	'nothing was decided in the name of one that had failed');

done_testing();
