# Licences asked for while nights give seats back: whoever was promised a seat keeps it, no seat is bought twice, and
# nothing that was given out is trimmed, now or at a renewal.  Judged by the emulator's ledger and state.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	conf => {
		'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms',
		'spinpanel.settle_time' => '1h' });
my $spb = 'CFQ7TTC0LCHC:0002';

sub fresh
{
	my ($what, $world, $options, %settings) = @_;
	note $what;
	$t->fresh(one_customer(%$world), $options);
	my $more = join '', map { ", $_ => '$settings{$_}'" } sort keys %settings;
	$t->sql("SELECT FROM spinpanel.set_relationship('*', auto_license_adjustment => true, removal_limit_percent => 100, removal_limit_seats => 100$more)");
	return;
}

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub assign { return $t->sql("SELECT (spinpanel.assign_license('Contoso', '" . upn($_[0]) . "', 'SPB')).request_id") }
sub release { return $t->sql("SELECT (spinpanel.release_license('Contoso', '" . upn($_[0]) . "', 'SPB')).request_id") }
sub person { my ($do, %more) = @_; return $t->act({ customer => 'Contoso', do => $do, sku => 'SPB', %more }) }
sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', 20) }
sub night { my $run = $t->run_and_wait('adjust', @_); quiet(); return $run }
# Past settle_time, and read: what was assigned counts once
sub later { $t->advance(hours => 2); return $t->run_and_wait('sync', 'Contoso') }
sub overdrawn { return join ', ', map { "$_->{consumed} on $_->{active}" } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} } }
sub only { return $t->subscription('Contoso', 'SPB') }

# fifteen seats, five of them bought three days ago and never used
my $five = { user_count => 30, subscriptions => [ { product => $spb, quantity => 15, ends_in_days => 200,
	batches => [ { quantity => 10, hours_left => -4000 }, { quantity => 5, hours_left => 96 } ] } ] };

# --- assigned a minute ago, and the report does not say so yet
fresh('the report lags', $five, { report_delay_consumed => 1800 });
is($t->outcome(assign(11), assign(12)), 'done:2', 'two of five unused seats are assigned');
$t->advance(minutes => 1);
is(night()->{status}, 'done', 'a night that still reads ten in use');
is($t->pool('Contoso', 'SPB')->{reported}{consumed}, 10, '... as the report says') or diag(explain($t->pool('Contoso', 'SPB')->{reported}));
is($t->seats('Contoso', 'SPB'), 12, '... gives back three, not five');
$t->changes_are({ seats => -3, raises => 0, assigns => 2 }, '... and buys nothing');
for (1 .. 3) { $t->advance(minutes => 25); night() }
$t->changes_are({ seats => -3, raises => 0, lowers => 1 }, '... as the next ones do');

# ... the same with what is bought: nothing goes when report and settle_time are over either
fresh('bought a minute ago', { user_count => 30 }, { report_delay_consumed => 1800 });
is($t->outcome(map { assign($_) } 11 .. 13), 'done:3', 'three seats are bought and assigned');
for (1 .. 3) { $t->advance(minutes => 1); night() }
$t->changes_are({ seats => 3, lowers => 0, assigns => 3 }, '... nights before the report shows them leave them');
$t->advance(hours => 30);
night();
$t->changes_are({ seats => 3, lowers => 0, assigns => 3 }, '... and afterwards');

# --- asked for between the plan and its change
fresh('between plan and change', $five);
$t->fault({ action => 'delay', ms => 600, match => { kind => 'subscription' }, count => 1 });
my $run = $t->sql('SELECT spinpanel.adjust()');
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE kind = 'set_quantity'}, qr/^[1-9]/);
my @ids = split /\n/, $t->sql("SELECT request_id FROM spinpanel.assign_licenses('Contoso', ARRAY['" . join("', '", map { upn($_) } 11 .. 13) . "'], 'SPB')");
is($t->outcome(@ids), 'done:3', 'three ask when the night has decided to give back five: done');
$t->run_finished($run);
quiet();
$t->changes_are({ raises => 0, assigns => 3 }, '... on seats that were there');
later();
night();
$t->changes_are({ seats => -2, raises => 0, assigns => 3 }, '... in the end two were given back and none was bought');

# ... between our last read and the change itself: the demand is not known any more
fresh('while the change is on its way', $five);
$t->fault({ action => 'delay', ms => 300, when => 'before', match => { kind => 'patch_subscription' }, count => 1 });
my $since = $t->counts->{last_seq};
$run = $t->sql('SELECT spinpanel.adjust()');
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'sending'}, '1');
@ids = map { assign($_) } 11 .. 13;
is($t->outcome(@ids), 'done:3', 'three ask while the change is on its way: done');
$t->run_finished($run);
quiet();
is(overdrawn(), '', '... nobody is left without');
later();
night();
is($t->seats('Contoso', 'SPB'), 13, '... as many seats as holders are left');
cmp_ok($t->changes->{seats}, '==', -2, '... nothing was bought twice') or $t->tell;

# ... in a transaction that is open while the night runs
fresh('demand undecided', $five);
my $s = $t->session;
$s->query("BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', '@{[ upn(11) ]}', 'SPB')");
is(night()->{status}, 'done', 'a transaction that asks for a seat is open while the night runs: the night ends');
is($t->seats('Contoso', 'SPB'), 15, '... nothing is removed from that pool');
like($t->sql(q{SELECT string_agg(status || ' ' || coalesce(error, '') || ' ' || reason, '; ') FROM spinpanel.adjustment WHERE action = 'reduce'}), qr/demand undecided/, '... and it is said why');
$s->query("PREPARE TRANSACTION 'long'");
night();
is($t->seats('Contoso', 'SPB'), 15, '... nor while it is prepared');
$t->sql(q{COMMIT PREPARED 'long'});
$t->wait_for(q{SELECT status FROM spinpanel.license_request}, 'done');
later();
night();
$t->changes_are({ seats => -4, raises => 0, assigns => 1 }, '... committed: it has its seat, four go');
$s->query("BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', '@{[ upn(12) ]}', 'SPB'); ROLLBACK");
$s->finish;

# --- somebody in the customer's own portal takes a seat between our read and our change
fresh('customer portal', $five);
$t->fault({ action => 'none', match => { kind => 'patch_subscription' }, nth => 1,
	before_act => [ map { { actor => 'customer', customer => 'Contoso', do => 'assign', user => upn($_), sku => 'SPB' } } 21, 22 ] });
night();
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 12 }, 20), 'two seats taken in the customer\'s portal between our read and our change are bought back') or $t->tell;
is(overdrawn(), '', '... nobody is left without');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats are being bought back'}), '1', '... and it is on record');
is($t->outcome(assign(23)), 'done:1', 'a licence asked for then: done');
quiet();
$t->changes_are({ seats => -2, assigns => 1 }, '... on one seat more');

# --- a release and a night
fresh('release', { user_count => 30, subscriptions => [ { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400 } ] });
is($t->outcome(map { release($_) } 1 .. 3), 'done:3', 'three licences are released');
night();
is($t->seats('Contoso', 'SPB'), 10, '... their seats are in stock, the cool-down has begun');
is($t->outcome(assign(11)), 'done:1', 'one is asked for again: done');
quiet();
$t->changes_are({ seats => 0, assigns => 1, unassigns => 3 }, '... on a seat that was released');
$t->advance(hours => 26);
night();
$t->changes_are({ seats => -2, raises => 0, lowers => 1 }, 'a day later the other two go');

# --- the day before a renewal, with something scheduled
for my $case ([ 'a person', 0, 8 ], [ 'we', 1, 10 ])
{
	my ($who, $ours, $next) = @$case;
	for my $purchase (0, 1)
	{
		my $users = $purchase ? 6 : 2;
		fresh("renewal: $who, " . ($purchase ? 'with' : 'without') . ' a purchase',
			{ user_count => 40, assigned => { SPB => 8 + 2 * $ours }, subscriptions => [ { product => $spb, quantity => 12, ends_in_days => 10,
				batches => [ { quantity => 12, hours_left => -5000 } ] } ] });
		if ($ours) { night() }
		else { person('schedule', quantity => 8); $t->run_and_wait('sync', 'Contoso') }
		is(only()->{scheduled_next}{quantity}, $next, "$who scheduled $next for the renewal") or $t->tell;
		$t->advance_to($t->sql("SELECT to_char(term_end AT TIME ZONE 'UTC' - interval '20 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM spinpanel.subscription"));
		@ids = map { assign(20 + $_) } 1 .. $users;
		is($t->outcome(@ids), "done:$users", "... $users ask the day before: done");
		quiet();
		night();
		my $used = $t->pool('Contoso', 'SPB')->{consumed};
		my $then = only()->{scheduled_next}{quantity} // only()->{quantity};
		cmp_ok($then, '>=', $used, "... $used are in use, and $then are to be renewed") or $t->tell;
		$t->advance(hours => 26);
		night();
		is($t->pool('Contoso', 'SPB')->{consumed}, $used, '... renewed: all hold their licence');
		is(overdrawn(), '', "... and nobody lost a seat");
		cmp_ok(only()->{quantity}, '>=', $used, '... ' . only()->{quantity} . ' seats');
	}
}

# ... and asked for while a person's schedule, wiped by the first purchase, is about to be set again
fresh('the schedule is away for a moment', { user_count => 40, assigned => { SPB => 8 }, subscriptions => [ { product => $spb, quantity => 12, ends_in_days => 10,
	batches => [ { quantity => 12, hours_left => -5000 } ], next => 8 } ] });
$t->fault({ action => 'delay', ms => 600, when => 'before', match => { kind => 'patch_subscription' }, nth => 2, count => 1 });
$since = $t->counts->{last_seq};
@ids = (assign(21));
ok($t->poll(sub { scalar(my @r = $t->requests(since => $since, kind => 'patch_subscription')) >= 2 }), 'one asks for a seat of a subscription that is to shrink: the schedule is about to be set again');
push @ids, map { assign($_) } 22 .. 24;
is($t->outcome(@ids), 'done:4', '... three more ask at that moment: done');
quiet();
cmp_ok(only()->{scheduled_next}{quantity} // only()->{quantity}, '>=', 12, '... twelve are in use, and as many are to be renewed') or $t->tell;
$t->advance(days => 11);
night();
is(overdrawn(), '', '... renewed: nobody lost a seat');

# --- a week of nights, and people coming and going in between
fresh('a week', { user_count => 60, subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5,
	batches => [ { quantity => 14, hours_left => -5000 } ] }, { offer => 'legacy-SPB', quantity => 4, started_days_ago => 400 } ] },
	{ report_delay_consumed => 900 });
my $next = 11;
my @have = (1 .. 10);
my ($asked, $wrong) = (0, 0);
for my $day (1 .. 7)
{
	# growing for three days, shrinking afterwards
	my @today = map { $next++ } 1 .. ($day <= 3 ? 3 : 1);
	my @out = splice @have, 0, $day <= 3 ? 2 : 4;
	@ids = ((map { assign($_) } @today), (map { release($_) } @out));
	$run = $t->sql('SELECT spinpanel.adjust()');
	push @ids, assign($next);
	push @have, @today, $next++;
	$asked += @today + 1;
	is($t->outcome(@ids), 'done:' . @ids, "day $day: " . scalar(@ids) . ' requests while the night runs: done');
	$t->run_finished($run);
	quiet();
	$wrong++ if overdrawn() ne '';
	$t->advance(hours => 24);
}
is($wrong, 0, 'on no day anybody was without a seat');
for (1 .. 2) { night(); $t->advance(hours => 26) }
night();
is(overdrawn(), '', '... nor afterwards');
is(join(' ', $t->holders('Contoso', 'SPB')), join(' ', map { sprintf 'user%02d', $_ } sort { $a <=> $b } @have), '... those who asked, and nobody who was released, hold the licence');
my $c = $t->changes;
is($c->{assigns}, $asked, '... each was assigned it once');
my $suspended = () = $t->ledger(action => ['suspend']);
cmp_ok($c->{lowers} + $suspended, '>', 0, '... and unused seats were given back');
note "figures: a week: $asked assigned, $c->{raises} raise(s), $c->{lowers} decrease(s), $suspended suspended, " . $t->seats('Contoso', 'SPB') . ' seats for ' . $t->pool('Contoso', 'SPB')->{consumed};

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
