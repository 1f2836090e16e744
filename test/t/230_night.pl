# The night as pg_cron, callers and the worker see it: what is stored is what runs, one per day however it is called, the
# urgent first, and a night over what has not changed costs few requests per customer and next to no writing.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $count = 60;

# Tomorrow, hours away from the default schedule, so that nothing falls due meanwhile
my $start = do { my @d = gmtime(time + 86400); sprintf '%04d-%02d-%02dT06:30:00Z', $d[5] + 1900, $d[4] + 1, $d[3] };

# Urgent: a renewal, or the end of a window, before the next night
my @urgent = ('Zenith renewal', 'Zulu window');
my @customers = (
	(map { { name => sprintf('Customer %03d', $_), domain => "c$_.example", user_count => 12, assigned => { SPB => 10 },
		subscriptions => [ $_ % 2 ? { product => $spb, quantity => 11, ends_in_days => 200 } : { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400 } ] } } 1 .. $count),
	{ name => $urgent[0], domain => 'z1.example', user_count => 10, assigned => { SPB => 10 }, subscriptions => [ { product => $spb, quantity => 10, term => 'P1M', ends_in_days => 1 } ] },
	{ name => $urgent[1], domain => 'z2.example', user_count => 10, assigned => { SPB => 10 },
		subscriptions => [ { product => $spb, quantity => 15, ends_in_days => 120, batches => [ { quantity => 10, hours_left => -5000 }, { quantity => 5, hours_left => 20 } ] } ] });

my $t = SpinpanelTest->start(
	scenario => { now => $start, customers => \@customers },
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.retry_max_delay' => '100ms', 'spinpanel.poll_interval' => '200ms', 'spinpanel.request_timeout' => '3s', 'spinpanel.settle_time' => '1h', 'spinpanel.customers_at_once' => 1 });
my %name = map { $_->{id} => $_->{name} } @{ $t->state()->{customers} };

sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', 30) }
sub nights { return $t->sql(q{SELECT string_agg(concat_ws(' ', night, status, made_up), ', ' ORDER BY night) FROM spinpanel.run WHERE kind = 'nightly'}) // '' }

$t->follow_clock($t->emulator('GET', 'clock'));
is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
my $today = $t->sql("SELECT (spinpanel._now() AT TIME ZONE 'UTC')::date");

# --- scheduled: what is in cron.job, carried out as it stands there and as its owner
my $job = $t->sql('SELECT spinpanel.schedule()');
my $stored = $t->row("SELECT * FROM cron.job WHERE jobid = $job");
is("$stored->{jobname}|$stored->{schedule}|$stored->{active}", 'spinpanel-nightly|0 20 * * *|' . $stored->{active}, 'one job, at its hour');
is($stored->{database}, 'postgres', '... in this database');
my $id = $t->sql($stored->{command}, database => $stored->{database}, user => $stored->{username});
like($id, qr/^\d+$/, 'its command, carried out as stored and by its owner, starts a night');

# --- by many at the same time
my @sessions = map { $t->session } 1 .. 6;
$_->start('SELECT spinpanel.nightly()') for @sessions;
my %ids = map { $_->wait => 1 } @sessions;
$_->finish for @sessions;
is(join(' ', sort keys %ids), $id, 'called again by six at the same time: the same night');
is($t->run_finished($id)->{status}, 'done', 'it is done');
quiet();
is(nights(), "$today done f", 'one night');
is($t->sql('SELECT spinpanel.nightly()'), $id, 'called when it is done: still the same');
is($t->sql("SELECT status FROM spinpanel.run WHERE run_id = $id"), 'done', '... and it is not begun again');

# --- the urgent first
my @order = map { $name{ $_->{customer} } } $t->requests(kind => 'subscriptions');
splice @order, 0, $count + 2;    # those of the first reading
is(join(', ', sort @order[ 0, 1 ]), join(', ', @urgent), 'customers with a renewal or the end of a window before the next night come first');
is($t->seats('Zulu window', 'SPB'), 10, '... and what can be given back for hours only is given back');

$t->set('spinpanel.customers_at_once' => 64);

# --- called in a transaction that rolls back, on another day
$t->advance(days => 1);
$today = $t->sql("SELECT (spinpanel._now() AT TIME ZONE 'UTC')::date");
$t->sql('BEGIN; SELECT spinpanel.nightly(); ROLLBACK');
is($t->sql("SELECT count(*) FROM spinpanel.run WHERE night = '$today'"), '0', 'a night that was rolled back is none');

# --- two begin it in open transactions: one waits for the other, and has its night
{
	my ($one, $two) = ($t->session, $t->session);
	$one->query('BEGIN');
	my $first = $one->query('SELECT spinpanel.nightly()');
	$two->start('SELECT spinpanel.nightly()');
	ok($t->poll(sub { $t->sql('SELECT wait_event_type FROM pg_stat_activity WHERE pid = ' . $two->pid) eq 'Lock' }), 'two at the same time');
	$one->query('COMMIT');
	is($two->wait, $first, '... have one night');
	$_->finish for $one, $two;
	is($t->run_finished($first)->{status}, 'done', '... and it is done');
	quiet();
}

# --- nothing has changed since: what does a night cost?
$t->advance(days => 1);
is($t->run_and_wait('nightly', undef, seconds => 60)->{status}, 'done', 'a night, so that all that was changed has been seen');
quiet();
$t->advance(days => 1);
sub written
{
	my %written = map { $_->{relname} => $_->{n} } $t->rows(q{SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS n FROM pg_stat_user_tables WHERE schemaname = 'spinpanel'});
	return \%written;
}
# The worker reports now and then what it wrote; all of it is there when each row of run_customer has come and gone
sub all_reported { return $t->wait_for(q{SELECT n_tup_ins = n_tup_del AND n_tup_ins = (SELECT sum(customers) FROM spinpanel.run) FROM pg_stat_user_tables WHERE relid = 'spinpanel.run_customer'::regclass}, 't', 20) }
ok(all_reported(), 'statistics are complete');
$t->sql('CHECKPOINT');
my $before = written();
my $since = $t->counts;
my $ledger = scalar(my @ledger = $t->ledger);
my $wal = $t->sql('SELECT pg_current_wal_insert_lsn()');
my $run = $t->run_and_wait('nightly', undef, seconds => 60);
is("$run->{status} $run->{customers} $run->{customers_failed} $run->{seats_removed}", 'done ' . ($count + 2) . ' 0 0', 'a night over what has not changed');
my $bytes = $t->sql("SELECT pg_current_wal_insert_lsn() - '$wal'::pg_lsn");
quiet();
my $counts = $t->counts;
is($counts->{mutating} - $since->{mutating}, 0, '... changes nothing');
is(scalar(@ledger = $t->ledger), $ledger, '... as the ledger says');
my $requests = $counts->{total} - $since->{total} - (($counts->{by_kind}{token} // 0) - ($since->{by_kind}{token} // 0));
cmp_ok($requests, '<=', 2 * ($count + 2) + 2, '... asks for two things per customer, and for the customers');
cmp_ok($run->{requests}, '<=', 2 * ($count + 2) + 2, '... and says so');
ok(all_reported(), '... statistics are complete');
my $after = written();
my %rows = map { $_ => $after->{$_} - ($before->{$_} // 0) } keys %$after;
my $rows = 0;
$rows += $_ for values %rows;
# in and out of run_customer, the time of reading in customer_account and of listing
cmp_ok($rows / ($count + 2), '<', 5, sprintf '... writes %.1f rows per customer', $rows / ($count + 2));
my @others = grep { $rows{$_} > 3 && !/^(run_customer|customer_account|run|history)$/ } sort keys %rows;
is("@others", '', '... and none but the progress and the time of reading');
cmp_ok($bytes / ($count + 2), '<', 3000, sprintf '... and %d bytes of WAL per customer, full pages after a checkpoint included', $bytes / ($count + 2));
diag(sprintf 'an unchanged night: %.2f requests, %.1f rows (%s), %d bytes of WAL per customer', $requests / ($count + 2), $rows / ($count + 2),
	join(', ', map { "$_ $rows{$_}" } grep { $rows{$_} } sort keys %rows), $bytes / ($count + 2));

# --- missed: the job is gone; each night is made up for under its own date, and those that are called are theirs
$t->sql("SELECT spinpanel.schedule('0 20 * * *')");
$t->sql('SELECT cron.unschedule(jobid) FROM cron.job');
my $day = sub { $t->sql("SELECT date '$today' + $_[0]") };
my $base = $t->sql("SELECT max(night) FROM spinpanel.run");
my $next = $t->sql("SELECT date '$base' + 1");
my $third = $t->sql("SELECT date '$base' + 2");
$t->advance_to("${base}T23:00:00Z");
$t->sql('SELECT spinpanel.sync()');
$t->wait_idle;
like(nights(), qr/$base done f$/, 'a night that was called for by hand is not made up for');
my $from = $t->log_position;
$t->advance_to("${next}T20:05:00Z");
$t->sql('SELECT spinpanel.sync()');
$t->wait_idle;
like(nights(), qr/$base done f$/, 'five minutes late is not missed');
$t->advance_to("${third}T01:00:00Z");
ok($t->wait_for("SELECT status FROM spinpanel.run WHERE night = '$next'", 'done', 30), 'missed, and made up for after midnight: under the date on which it was due');
like(nights(), qr/$next done t$/, '... and marked as made up');
ok($t->log_has(qr/makes up for the night of $next/, $from), '... the log says so');
is($t->sql("SELECT count(*) FROM spinpanel.history WHERE event = 'night made up for' AND reason LIKE '%$next%'"), '1', '... and the history, once');
$t->advance_to("${third}T20:00:00Z");
$id = $t->sql($stored->{command});
is($t->sql("SELECT night FROM spinpanel.run WHERE run_id = $id"), $third, 'the next one still runs, under its own date');
is($t->run_finished($id)->{status}, 'done', '... and is done');
$t->advance(hours => 1);
$t->sql('SELECT spinpanel.sync()');
$t->wait_idle;
is(scalar(() = $t->log_since($from) =~ /makes up for the night/g), 1, '... and no other one was made up for');
# switched off for days: only the last one is made up for
my $last = $t->sql("SELECT date '$base' + 6");
$t->set('spinpanel.enabled' => 'off');
$t->advance_to("${last}T22:00:00Z");
$t->set('spinpanel.enabled' => 'on');
ok($t->wait_for("SELECT status FROM spinpanel.run WHERE night = '$last'", 'done', 30), 'down for days: the last night is made up for');
is($t->sql("SELECT count(*) FROM spinpanel.run WHERE night > '$third'"), '1', '... and only that one');

# --- one that failed is queued again, and removes what it did not
$t->sql('SELECT spinpanel.unschedule()');
$t->advance(days => 1);
$t->act({ customer => 'Customer 002', do => 'unassign', user => 'user01@c2.example', sku => 'SPB' });
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Customer 002', cooldown => '0')});
$t->fault({ action => 'status', status => 500, match => { kind => 'subscriptions' } });
$t->fault({ action => 'status', status => 500, match => { kind => 'customers' } });
$run = $t->run_and_wait('nightly', undef, seconds => 60);
is($run->{status}, 'failed', 'a night in which nobody can be read fails');
like($run->{error}, qr/\S/, '... and says why');
is($run->{customers_failed}, $count + 2, '... for all customers');
$t->clear_faults;
is($t->sql('SELECT spinpanel.nightly()'), $run->{run_id}, 'called again, it is the same night');
is($t->run_finished($run->{run_id})->{status}, 'done', '... and this time it is done');
quiet();
is($t->seats('Customer 002', 'SPB'), 9, '... with what there was to do');

# --- a night that is still open when the next one begins
$t->fault({ action => 'hang', match => { kind => 'subscriptions' } });
$t->advance(days => 1);
$id = $t->sql('SELECT spinpanel.nightly()');
$t->wait_for("SELECT status FROM spinpanel.run WHERE run_id = $id", 'running');
$t->advance(days => 1);
my $newer = $t->sql('SELECT spinpanel.nightly()');
isnt($newer, $id, 'the next day has a night of its own, while the last one is open');
ok($t->wait_for("SELECT status || ' ' || error FROM spinpanel.run WHERE run_id = $id", 'failed overtaken by the next night', 30), '... which ends the other one');
$t->clear_faults;
is($t->run_finished($newer, 90)->{status}, 'done', '... and is done');
is($t->sql('SELECT count(*) FROM spinpanel.run_customer WHERE NOT failed'), '0', '... and nothing is left over');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
