# Requests, judged by the emulator's ledger: who gets a licence, how many seats are bought for it, and what is left when
# it fails.  Requests are written as rows, so that this file depends on nothing but the worker.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	options => { requests_per_minute => 0 },
	conf => {
		'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms',
		'spinpanel.settle_time' => '1h' });

# A fresh world and a fresh database, read once
sub fresh
{
	my ($what, %with) = @_;
	my $options = delete $with{options} // {};
	my $customers = delete $with{customers};
	note $what;
	$t->clear_faults;
	$t->load($customers ? { customers => $customers } : one_customer(%with), { requests_per_minute => 0, %$options });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account;
	$t->run_and_wait('sync')->{status} eq 'done' or return fail("$what: the first reading");
	return 1;
}

# request(NAMES, kind => ..., sku => ...): ids of rows for these users (numbers, upns or GUIDs), all in one transaction
sub request
{
	my ($users, %options) = @_;
	my $kind = $options{kind} // 'assign';
	my $sku = $options{sku} // 'SPB';
	my $values = join ', ', map { "('" . (/^\d+$/ ? sprintf('user%02d@contoso.example', $_) : $_) . "')" } @$users;
	my $text = $t->sql("SELECT (spinpanel.${kind}_license((SELECT min(customer_id::text) FROM spinpanel.customer), v.name, '$sku')).request_id FROM (VALUES $values) v (name)");
	return split /\n/, $text;
}

sub finished
{
	my (@ids) = @_;
	my $list = join ',', @ids;
	$t->wait_for("SELECT count(*) FROM spinpanel.license_request WHERE request_id IN ($list) AND status IN ('done', 'failed', 'cancelled')",
		scalar(@ids), 30)
	  or diag($t->sql("SELECT string_agg(concat_ws(' ', request_id, status, error, seat_bought, not_before), E'\n') FROM spinpanel.license_request WHERE request_id IN ($list)"));
	my %count;
	$count{ $_->{status} }++ for $t->rows("SELECT status FROM spinpanel.license_request WHERE request_id IN ($list)");
	return join ' ', map { "$_:$count{$_}" } sort keys %count;
}

sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', 20) }

# What the ledger says since: seats raised net of lowered, in how many changes, and assignments
sub ledger
{
	my %sum = (seats => 0, raises => 0, lowers => 0, assigns => 0, unassigns => 0, locations => 0);
	for my $entry ($t->ledger(action => [qw(raise lower assign unassign usage_location new)]))
	{
		next if $entry->{actor} ne 'app' && $entry->{actor} ne 'app+user';
		$sum{seats} += ($entry->{after}{quantity} // 0) - ($entry->{before}{quantity} // 0) if $entry->{action} =~ /raise|lower/;
		$sum{seats} += $entry->{after}{quantity} if $entry->{action} eq 'new';
		$sum{raises}++ if $entry->{action} eq 'raise';
		$sum{lowers}++ if $entry->{action} eq 'lower';
		$sum{assigns}++ if $entry->{action} eq 'assign';
		$sum{unassigns}++ if $entry->{action} eq 'unassign';
		$sum{locations}++ if $entry->{action} eq 'usage_location';
	}
	return \%sum;
}

sub ledger_is
{
	my ($expected, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ledger = ledger();
	is(join(' ', map { "$_:$ledger->{$_}" } sort keys %$expected), join(' ', map { "$_:$expected->{$_}" } sort keys %$expected), $title)
	  or diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, request_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|request|seat'}));
	is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... no pool is overdrawn');
	return;
}

my $spb = 'CFQ7TTC0LCHC:0002';

# --- a free seat is used, a missing one is bought
fresh('stock', subscriptions => [ { product => $spb, quantity => 11, ends_in_days => 200 } ]);
my @ids = request([11]);
is(finished(@ids), 'done:1', 'a free seat: done');
ledger_is({ seats => 0, assigns => 1 }, '... nothing is bought');
@ids = request([12]);
is(finished(@ids), 'done:1', 'no free seat: done');
quiet();
ledger_is({ seats => 1, raises => 1, assigns => 2 }, '... one seat is bought, and assigned');
is($t->sql("SELECT seat_bought, waiting, subscription_id IS NOT NULL FROM spinpanel.license_request WHERE request_id = $ids[0]"), 't|t|t',
	'... the row says so, and waits for the report');
@ids = request([12]);
is(finished(@ids), 'done:1', 'held already: done');
@ids = request([ 12, 11 ], kind => 'release');
is(finished(@ids), 'done:2', 'two releases: done');
@ids = request([12], kind => 'release');
is(finished(@ids), 'done:1', 'a release of what is not held: done');
ledger_is({ seats => 1, raises => 1, assigns => 2, unassigns => 2 }, '... and nothing is sent for it');

# --- fifty at once, ten free
fresh('fifty', subscriptions => [ { product => $spb, quantity => 20, ends_in_days => 200 } ], user_count => 60, assigned => { SPB => 10 });
my $since = $t->counts->{last_seq};
@ids = request([ 11 .. 60 ]);
is(finished(@ids), 'done:50', 'fifty requests, ten seats free: all done');
quiet();
my $sum = ledger();
ledger_is({ seats => 40, assigns => 50 }, '... exactly forty seats are bought');
cmp_ok($sum->{raises}, '<=', 3, "... in $sum->{raises} change(s) of quantity");

# --- auto increment: the stock stays as it was
fresh('increment', subscriptions => [ { product => $spb, quantity => 12, ends_in_days => 200 } ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_increment => true)});
@ids = request([ 11, 12 ]);
is(finished(@ids), 'done:2', 'auto increment: done');
ledger_is({ seats => 2, assigns => 2 }, '... two seats are bought, the two in stock remain');

# --- two names of one user are one user
fresh('two names');
my $guid = $t->sql(q{SELECT user_id FROM spinpanel.customer_user WHERE upn = 'user11@contoso.example'});
my @sessions = map { $t->session } 1 .. 3;
my @names = ('user11@contoso.example', $guid, 'USER11@contoso.example');
$_->query('BEGIN') for @sessions;
@ids = map { $sessions[$_]->query("SELECT (spinpanel.assign_license('Contoso', '$names[$_]', 'SPB')).request_id") } 0 .. 2;
$_->query('COMMIT') for @sessions;
$_->finish for @sessions;
is(finished(@ids), 'done:3', 'one user by three names at once: all done');
ledger_is({ seats => 1, assigns => 1 }, '... one seat');

# --- a release comes before the purchase
fresh('release first');
my @release = request([10], kind => 'release');
@ids = request([11]);
is(finished(@ids, @release), 'done:2', 'a release and an assignment: done');
ledger_is({ seats => 0, assigns => 1, unassigns => 1 }, '... on the seat that was released');

# --- usage location
fresh('location');
$t->act(map { { customer => 'Contoso', do => 'create_user', upn => "$_\@contoso.example", usage_location => undef } } qw(nowhere nobody));
@ids = request(['nowhere@contoso.example']);
is(finished(@ids), 'failed:1', 'no usage location anywhere: failed');
like($t->sql("SELECT error FROM spinpanel.license_request WHERE request_id = $ids[0]"), qr/usage location/, '... and says why');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', usage_location => 'DE')});
@ids = request([ 'nobody@contoso.example', 11 ]);
is(finished(@ids), 'done:2', "with the relationship's: done");
ledger_is({ seats => 2, assigns => 2, locations => 1 }, '... set for the one who had none');

# --- users who do not exist, or are gone when the seat is there
fresh('gone', user_count => 14);
@ids = request(['nobody@contoso.example']);
$t->advance(minutes => 20);
is(finished(@ids), 'failed:1', 'a user who does not exist: failed');
ledger_is({ seats => 0, assigns => 0 }, '... nothing is bought');
$t->fault({ match => { kind => 'patch_subscription' }, count => 1, action => 'none',
	then_act => { customer => 'Contoso', do => 'delete_user', user => 'user11@contoso.example' } });
@ids = request([11]);
is(finished(@ids), 'failed:1', 'gone when the seat is there: failed');
quiet();
ledger_is({ seats => 0, assigns => 0, raises => 1, lowers => 1 }, '... the seat was given back');
$t->clear_faults;
$t->fault({ match => { kind => 'patch_subscription' }, count => 1, action => 'none',
	then_act => { customer => 'Contoso', do => 'delete_user', user => 'user12@contoso.example' } });
$t->fault({ match => { kind => 'patch_subscription' }, count => 1, action => 'delay', ms => 300 });
@ids = request([12]);
$t->poll(sub { $t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $ids[0]") ne 'queued' });
push @ids, request([13]);
is(finished(@ids), 'done:1 failed:1', 'gone while another waits: one is done');
quiet();
ledger_is({ seats => 1, assigns => 1 }, '... on one seat');

# --- somebody takes the free seat at the last moment
fresh('60012', subscriptions => [ { product => $spb, quantity => 11, ends_in_days => 200 } ]);
$t->fault({ match => { kind => 'licenseupdates' }, count => 1, action => 'none',
	before_act => { customer => 'Contoso', do => 'assign', user => 'user12@contoso.example', sku => 'SPB' } });
@ids = request([11]);
is(finished(@ids), 'done:1', 'the free seat is taken by somebody: done all the same');
quiet();
ledger_is({ seats => 1, raises => 1, assigns => 1 }, '... one seat is bought');

# --- seats that take a while
fresh('provisioning', options => { provisioning_delay => 3 });
@ids = request([ 11, 12 ]);
is(finished(@ids), 'done:2', 'seats that cannot be assigned at once: done');
ledger_is({ seats => 2, raises => 1, assigns => 2 }, '... bought once');

# --- the purchase limit
fresh('limit', user_count => 40);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', purchase_limit_percent => 0, purchase_limit_seats => 3)});
@ids = request([ 11 .. 18 ]);
$t->wait_ok("SELECT count(*) FROM spinpanel.license_request WHERE status = 'done'", '3', 'three within the limit are done');
$t->wait_ok(q{SELECT count(*) || ' ' || min(seats) FROM spinpanel.adjustment WHERE action = 'raise' AND status = 'awaiting_approval'}, '1 5', 'five wait for approval');
is($t->sql("SELECT string_agg(DISTINCT status || ' ' || (state_reason ~ 'approval' AND error IS NULL)::text, ',') FROM spinpanel.license_request WHERE request_id IN (" . join(',', @ids) . ") AND status <> 'done'"),
	'queued true', '... queued, and say so');
ledger_is({ seats => 3, assigns => 3 }, '... three seats are bought');
$t->sql(q{SELECT count(spinpanel.approve(adjustment_id)) FROM spinpanel.adjustment WHERE action = 'raise' AND status = 'awaiting_approval'});
is(finished(@ids), 'done:8', 'approved: all are done');
ledger_is({ seats => 8, assigns => 8 }, '... on eight seats');
@ids = request([ 19, 20 ]);
$t->wait_ok(q{SELECT count(*) FROM spinpanel.adjustment WHERE action = 'raise' AND status = 'awaiting_approval'}, '1', 'two more wait');
$t->sql(q{SELECT count(spinpanel.reject(adjustment_id, 'too dear')) FROM spinpanel.adjustment WHERE action = 'raise' AND status = 'awaiting_approval'});
is(finished(@ids), 'failed:2', 'rejected: failed');
like($t->sql("SELECT error FROM spinpanel.license_request WHERE request_id = $ids[0]"), qr/too dear/, '... with what was said');

# --- purchases off
$t->sql(q{SELECT spinpanel.pause()});
@ids = request([21]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', purchases => false)});
is(($t->sql_error(q{SELECT spinpanel.assign_license('Contoso', 'user22@contoso.example', 'SPB')}))[0], '55000', 'purchases off, and no free seat: refused at once');
$t->sql(q{SELECT spinpanel.resume()});
is(finished(@ids), 'failed:1', '... what was asked for before: failed');
ledger_is({ seats => 8, assigns => 8 }, '... nothing is bought');

# --- paused
fresh('pause');
$t->sql(q{SELECT spinpanel.pause('*')});
@ids = request([11]);
$since = $t->counts->{mutating};
$t->sql('SELECT pg_sleep(0.5)');
is($t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $ids[0]"), 'queued', 'paused: it waits');
is($t->counts->{mutating}, $since, '... and nothing is sent');
$t->sql(q{SELECT spinpanel.resume('*')});
is(finished(@ids), 'done:1', 'resumed: done');

# --- answers that are lost
for my $fault ({ action => 'reset_after' }, { action => 'reset_before' }, { action => 'status', status => 500, when => 'after' },
	{ action => 'accepted_202', seconds => 1 }, { action => 'hang', when => 'after' })
{
	fresh("lost: $fault->{action}", options => { request_id_memory_seconds => 0 });
	$t->fault({ %$fault, match => { kind => 'patch_subscription' }, count => 1 });
	@ids = request([ 11, 12 ]);
	is(finished(@ids), 'done:2', "a purchase with $fault->{action}: done");
	quiet();
	ledger_is({ seats => 2, assigns => 2 }, '... bought once');
}

# --- kill -9 of the worker while the purchase hangs, before and after it was applied
for my $when (qw(before after))
{
	fresh("kill -9 $when", options => { request_id_memory_seconds => 0 });
	$t->fault({ action => 'hang', when => $when, match => { kind => 'patch_subscription' }, count => 1 });
	my $since = $t->counts->{last_seq};
	@ids = request([ 11, 12 ]);
	$t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') });
	ok($t->kill9, "kill -9 of the worker while a purchase hangs ($when it was applied)");
	is(finished(@ids), 'done:2', '... done');
	quiet();
	ledger_is({ seats => 2, assigns => 2 }, '... bought once');
}

# --- one that we suspended is taken up again
fresh('reactivate', subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], assigned => {});
$t->act({ customer => 'Contoso', do => 'suspend', sku => 'SPB' });
$t->sql('SELECT spinpanel.pause()');
@ids = request([12]);
$t->run_and_wait('sync');
is(($t->sql_error(q{SELECT spinpanel.assign_license('Contoso', 'user11@contoso.example', 'SPB')}))[0], '55000', 'one that somebody suspended blocks: refused at once');
$t->sql('SELECT spinpanel.resume()');
is(finished(@ids), 'failed:1', '... what was asked for before: failed');
$t->sql('UPDATE spinpanel.subscription SET our_suspension = true, auto_renew_before = true');
@ids = request([ 11, 12 ]);
is(finished(@ids), 'done:2', 'two requests: done');
quiet();
my $again = $t->subscription('Contoso', 'SPB');
is("$again->{status} $again->{quantity}", 'active 2', '... on the one that was suspended, lowered to what is needed')
  or diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, request_id, before, after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|request|seat'}));
is($t->pool('Contoso', 'SPB')->{consumed}, 2, '... and both hold the licence');

# --- waves of requests while the report lags
fresh('waves', subscriptions => [ { product => $spb, quantity => 15, ends_in_days => 200 } ], user_count => 70, assigned => { SPB => 10 },
	options => { report_delay_active => 2, report_delay_consumed => 2 });
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', purchase_limit_seats => 100)});
@ids = ();
for my $first (11, 26, 41, 56)
{
	push @ids, request([ $first .. $first + 14 ]);
	$t->sql('SELECT pg_sleep(0.15)');
}
is(finished(@ids), 'done:60', 'four waves while the report lags: all done');
quiet();
ledger_is({ seats => 55, assigns => 60 }, '... 55 seats for 60 requests and five in stock');

# --- several SKUs of one user, one of them not possible
fresh('several', subscriptions => [ { product => $spb, quantity => 12, ends_in_days => 200 }, { product => 'CFQ7TTC0LFLX:0001', quantity => 5, ends_in_days => 200 } ]);
my ($other) = map { $_->{part_number} } grep { $_->{part_number} ne 'SPB' } @{ $t->state('Contoso')->{pools} };
@ids = (request([11]), request([11], sku => $other));
is(finished(@ids), 'done:1 failed:1', "two SKUs that exclude each other (SPB, $other): one is done, one failed");
like($t->sql("SELECT string_agg(error, '') FROM spinpanel.license_request WHERE status = 'failed'"), qr/exclusive/, '... with the reason');
ledger_is({ seats => 0, assigns => 1 }, '... nothing is bought');

# --- a person's schedule and an end of ours
fresh('schedule', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 100, next => 8 } ]);
@ids = request([ 11, 12 ]);
is(finished(@ids), 'done:2', 'with a schedule: done');
quiet();
is($t->subscription('Contoso', 'SPB')->{scheduled_next}{quantity}, 10, "... a person's schedule of 8 is 10 now");
fresh('our end', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 100, auto_renew => 0, ends => 1 } ]);
$t->sql('UPDATE spinpanel.subscription SET our_end = true, auto_renew_before = true');
@ids = request([11]);
is(finished(@ids), 'done:1', 'on one that we let end: done');
quiet();
ok($t->subscription('Contoso', 'SPB')->{auto_renew}, '... it renews again');

# --- a caller cancels while the purchase is on its way
fresh('cancel');
$t->fault({ action => 'hang', when => 'after', match => { kind => 'patch_subscription' }, count => 1 });
my $seq = $t->counts->{last_seq};
@ids = request([ 11, 12 ]);
$t->poll(sub { scalar $t->requests(since => $seq, kind => 'patch_subscription') });
$t->sql("UPDATE spinpanel.license_request SET status = 'cancelled', finished_at = now(), waiting = false WHERE request_id = $ids[0]");
is(finished(@ids), 'cancelled:1 done:1', 'cancelled while its seat is bought: the other is done');
quiet();
ledger_is({ seats => 1, assigns => 1 }, '... and the seat goes back');

# --- a caller holds a request, and then cancels it
fresh('held by a caller');
my $caller = $t->session;
$t->fault({ action => 'delay', ms => 300, match => { kind => 'subscription' }, count => 1 });
@ids = request([ 11, 12 ]);
$t->poll(sub { $t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $ids[0]") eq 'buying' });
$caller->query("BEGIN; UPDATE spinpanel.license_request SET status = 'cancelled', finished_at = now(), waiting = false WHERE request_id = $ids[0]");
is(finished($ids[1]), 'done:1', 'one is held by an open transaction: the other is done meanwhile');
$caller->query('COMMIT');
$caller->finish;
is(finished(@ids), 'cancelled:1 done:1', '... and it is cancelled');
quiet();
ledger_is({ seats => 1, raises => 1, assigns => 1 }, '... one seat, bought once');

# --- bad weather of every read and of the assignment itself
for my $kind (qw(user licenses subscriptions subscribedskus subscription licenseupdates))
{
	for my $fault ({ action => 'status', status => 503 }, $kind eq 'licenseupdates' ? { action => 'reset_after' } : { action => 'garbage' })
	{
		fresh("weather: $kind $fault->{action}");
		$t->fault({ %$fault, match => { kind => $kind }, count => 2 });
		@ids = request([ 11, 12 ]);
		is(finished(@ids), 'done:2', "$kind $fault->{action} " . ($fault->{status} // '') . ': done');
		quiet();
		ledger_is({ seats => 2, assigns => 2 }, '... two seats');
	}
}

# --- a new order where nothing can be raised
fresh('order', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200, auto_renew => 0, ends => 1 } ]);
is(($t->sql_error(q{SELECT spinpanel.assign_license('Contoso', 'user11@contoso.example', 'SPB')}))[0], '55000', 'nothing that could be raised, and no offer: refused at once');
$t->sql(qq{SELECT spinpanel.set_license_rule('*', 'SPB', default_offer => '$spb')});
@ids = request([ 11, 12 ]);
is(finished(@ids), 'done:2', 'with a default offer: done');
quiet();
ledger_is({ seats => 2, raises => 0, assigns => 2 }, '... by one order');

# --- a SKU that the customer never had: one order, then more of what was ordered
fresh('new SKU');
my $e3 = '05e9a617-0261-4cee-bb44-138d3ef5d965';
$t->sql("INSERT INTO spinpanel.license_rule (sku_id, default_offer) VALUES ('$e3', 'CFQ7TTC0LFLX:0001')");
@ids = request([ 11, 12 ], sku => $e3);
is(finished(@ids), 'done:2', 'a SKU that the customer never had: done');
quiet();
$t->act({ customer => 'Contoso', do => 'create_user', upn => 'user13@contoso.example', usage_location => 'US' });
@ids = request([13], sku => $e3);
is(finished(@ids), 'done:1', '... one more: done');
quiet();
ledger_is({ seats => 3, raises => 1, assigns => 3 }, '... one order of two, and one seat more of it');

done_testing();
