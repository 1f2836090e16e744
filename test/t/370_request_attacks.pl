# What could break the promises made for requests: callers who keep rows locked, answers lost at the worst moment,
# accounts that stop, people who decide meanwhile.  Judged by the emulator's ledger.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;
use Time::HiRes qw(time sleep);

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	options => { requests_per_minute => 0 },
	conf => {
		'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms',
		'spinpanel.settle_time' => '1h' });
my $spb = 'CFQ7TTC0LCHC:0002';

# A fresh world and a fresh database, read once
sub fresh
{
	my ($what, %with) = @_;
	my $options = delete $with{options} // {};
	my $scenario = delete $with{scenario};
	note $what;
	$t->clear_faults;
	$t->load($scenario // one_customer(%with), { requests_per_minute => 0, %$options });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account(name => $_) for map { $_->{name} } @{ $t->emulator('GET', 'accounts') };
	$t->run_and_wait('sync')->{status} eq 'done' or return fail("$what: the first reading");
	return 1;
}

sub upn { return map { /^\d+$/ ? sprintf('user%02d@contoso.example', $_) : $_ } @_ }

sub request
{
	my ($users, %options) = @_;
	my $kind = $options{kind} // 'assign';
	my $sku = $options{sku} // 'SPB';
	my $customer = $options{customer} // 'Contoso';
	my $values = join ', ', map { "('$_')" } upn(@$users);
	return split /\n/, $t->sql("SELECT (spinpanel.${kind}_license('$customer', v.name, '$sku')).request_id FROM (VALUES $values) v (name)");
}

sub finished
{
	my ($seconds, @ids) = @_;
	my $list = join ',', @ids;
	$t->wait_for("SELECT count(*) FROM spinpanel.license_request WHERE request_id IN ($list) AND status IN ('done', 'failed', 'cancelled')",
		scalar(@ids), $seconds)
	  or diag($t->sql("SELECT string_agg(concat_ws(' ', request_id, status, error, seat_bought, not_before), E'\n') FROM spinpanel.license_request WHERE request_id IN ($list)"));
	my %count;
	$count{ $_->{status} }++ for $t->rows("SELECT status FROM spinpanel.license_request WHERE request_id IN ($list)");
	return join ' ', map { "$_:$count{$_}" } sort keys %count;
}

sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', $_[0] // 10) }

sub ledger_is
{
	my ($expected, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %sum = (seats => 0, raises => 0, lowers => 0, assigns => 0, unassigns => 0, news => 0);
	for my $entry ($t->ledger(action => [qw(raise lower assign unassign new)]))
	{
		next if $entry->{actor} ne 'app' && $entry->{actor} ne 'app+user';
		$sum{seats} += ($entry->{after}{quantity} // 0) - ($entry->{before}{quantity} // 0) if $entry->{action} =~ /raise|lower/;
		$sum{seats} += $entry->{after}{quantity} if $entry->{action} eq 'new';
		$sum{"$entry->{action}s"}++;
	}
	is(join(' ', map { "$_:$sum{$_}" } sort keys %$expected), join(' ', map { "$_:$expected->{$_}" } sort keys %$expected), $title)
	  or diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, request_id, operation_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|request|seat'}));
	return;
}

# --- a caller who cancels and does not commit keeps nobody waiting
fresh('a cancellation that is not committed', user_count => 14, subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 200 } ]);
my $user11 = $t->sql(q{SELECT user_id FROM spinpanel.customer_user WHERE upn = 'user11@contoso.example'});
$t->fault({ action => 'status', status => 409, match => { kind => 'licenseupdates', path => $user11 } });
my @ids = request([11]);
my $caller;
# Its operation is queued again and again, and sent for milliseconds between
ok($t->poll(sub {
	$t->poll(sub { $t->sql("SELECT count(*) FROM spinpanel.operation WHERE request_id = $ids[0] AND status = 'queued' AND http_status = 409") }, 10) or die $t->sql(q{SELECT string_agg(o::text, E'\n') FROM spinpanel.operation o});
	$caller = $t->session;
	return 1 if $caller->query("BEGIN; SELECT status FROM spinpanel.cancel_request($ids[0])") eq 'cancelled';
	$caller->query('ROLLBACK');
	$caller->finish;
	return 0;
}), 'cancelled while its operation is queued');
sleep 0.8;
my $since = $t->counts->{last_seq};
my $begun = time;
my @others = request([ 12, 13 ]);
is(finished(15, @others), 'done:2', '... others are done meanwhile');
cmp_ok(time - $begun, '<', 1.5, '... at once');
sleep 1.5;
cmp_ok(scalar(grep { $_->{path} =~ /user11|licenses/ } $t->requests(since => $since)), '<', 20, '... and the one that is locked is not asked about all the time');
$caller->query('COMMIT');
$caller->finish;
quiet();
ledger_is({ seats => 0, assigns => 2 }, '... it is not assigned');
is($t->sql("SELECT status FROM spinpanel.operation WHERE request_id = $ids[0]"), 'cancelled', '... and its operation is cancelled');

# --- a caller who asks too late, and keeps the row
fresh('too late to cancel', options => { report_delay_active => 3600 });
$t->fault({ action => 'delay', ms => 500, when => 'after', match => { kind => 'patch_subscription' }, count => 1 });
$since = $t->counts->{last_seq};
@ids = request([ 11, 12 ]);
$t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') }) or fail('sent');
$caller = $t->session;
is($caller->query("BEGIN; SELECT status FROM spinpanel.cancel_request($ids[0])"), 'buying', 'too late to be cancelled');
is(finished(10, $ids[1]), 'done:1', '... the other is done meanwhile');
$caller->query('COMMIT');
$caller->finish;
$t->advance(minutes => 2);
is(finished(15, @ids), 'done:2', '... then it is done, too');
quiet();
ledger_is({ seats => 2, raises => 1, lowers => 0, assigns => 2 }, '... on the seat that was bought for it');

# --- a seat goes back although Partner Center is busy
for my $fault ({ action => 'status', status => 429, retry_after => 1 }, { action => 'reset_before' }, { action => 'status', status => 409 })
{
	fresh("giving back: $fault->{action}");
	$t->fault({ match => { kind => 'patch_subscription' }, count => 1, action => 'none',
		then_act => { customer => 'Contoso', do => 'delete_user', user => 'user11@contoso.example' } });
	$t->fault({ %$fault, match => { kind => 'patch_subscription', body => '"quantity": 10' }, count => 1 });
	@ids = request([11]);
	is(finished(10, @ids), 'failed:1', 'gone when the seat is there: failed');
	quiet(15);
	ledger_is({ seats => 0, raises => 1, lowers => 1 }, "... the seat is given back after $fault->{action}");
}

# --- ... and although somebody is just asking for one
fresh('giving back: demand undecided', user_count => 14);
$caller = $t->session;
$caller->query(q{BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', 'user12@contoso.example', 'SPB')});
$t->fault({ match => { kind => 'patch_subscription' }, count => 1, action => 'none',
	then_act => { customer => 'Contoso', do => 'delete_user', user => 'user11@contoso.example' } });
@ids = request([11]);
is(finished(10, @ids), 'failed:1', 'gone when the seat is there: failed');
sleep 1;
$caller->query('ROLLBACK');
$caller->finish;
$t->advance(minutes => 10);
quiet(15);
ledger_is({ seats => 0, raises => 1, lowers => 1 }, '... the seat is given back once nobody asks for it any more');

# --- a release behind an assignment that takes its time
fresh('release behind', options => { provisioning_delay => 3600 });
@ids = request([11]);
$t->poll(sub { $t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $ids[0]") eq 'provisioning' }) or fail('provisioning');
push @ids, request([11], kind => 'release');
sleep 2;
$since = $t->counts->{last_seq};
$t->advance(minutes => 1);
sleep 0.5;
for (1 .. 20) { $t->advance(seconds => 4); sleep 0.1 }
my $user_reads = scalar grep { $_->{path} =~ m{/licenses$} } $t->requests(since => $since);
note "$user_reads looks at the user in 140 seconds";
cmp_ok($user_reads, '<', 12, 'a release that waits for an assignment is not looked at all the time');

# --- a person who decides meanwhile
fresh('a person decides', user_count => 14);
$t->fault({ match => { kind => 'subscription' }, count => 1, action => 'none', before_act => { customer => 'Contoso', do => 'end_at_term', sku => 'SPB' } });
@ids = request([11]);
is(finished(10, @ids), 'failed:1', 'set to end before the purchase is sent: failed');
quiet();
ledger_is({ seats => 0, raises => 0 }, '... nothing is bought');

# --- a proxy that says 404
fresh('404');
$t->advance(minutes => 2);
$t->fault({ action => 'status', status => 404, body => '<html>not here</html>', content_type => 'text/html', match => { kind => 'user' }, count => 2 });
$t->sql('SELECT spinpanel.pause()');
@ids = request([11]);
$t->advance(minutes => 2);
$t->sql('SELECT spinpanel.resume()');
is(finished(10, @ids), 'done:1', 'a 404 that is not from Partner Center: done all the same');

# --- an answer about another user
fresh('another user');
my $other = $t->sql(q{SELECT user_id FROM spinpanel.customer_user WHERE upn = 'user01@contoso.example'});
$t->fault({ action => 'override', member => { id => $other }, match => { kind => 'user' }, count => 2 });
@ids = request([11]);
is(finished(10, @ids), 'done:1', 'an answer about another user: done all the same');
is($t->sql("SELECT count(*) FROM spinpanel.license_request q JOIN spinpanel.customer_user u USING (user_id) WHERE q.upn = u.upn"), '1', '... for the right one');

# --- Partner Center says for days that no seat is free
fresh('60012 for ever');
$t->fault({ action => 'status', status => 400, code => '60012', description => 'Subscription does not have any available licenses.', match => { kind => 'licenseupdates' } });
@ids = request([11]);
$t->wait_for("SELECT attempts > 0 FROM spinpanel.license_request WHERE request_id = $ids[0]") or fail('tried');
$t->advance(hours => 25);
is(finished(10, @ids), 'failed:1', 'a seat that cannot be assigned in time: failed, for another one would be no better');
quiet();
ledger_is({ raises => 1, lowers => 1, assigns => 0 }, '... and that is given back');

# --- an offer of another SKU in the rule
fresh('another SKU', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200, auto_renew => 0, ends => 1 } ]);
$t->sql(q{SELECT spinpanel.set_license_rule('*', 'SPB', default_offer => 'CFQ7TTC0LFLX:0001')});
@ids = request([ 11, 12 ]);
is(finished(15, @ids), 'failed:2', 'the rule names an offer of another SKU: failed');
quiet();
ledger_is({ news => 1, raises => 0, assigns => 0 }, '... after one order');
like($t->sql("SELECT error FROM spinpanel.license_request WHERE request_id = $ids[0]"), qr/another SKU/, '... and says why');
is($t->seats('Contoso', 'SPE_E3'), 0, '... nothing of it is left');

# --- the only seat of an order
fresh('the only seat');
my $e3 = '05e9a617-0261-4cee-bb44-138d3ef5d965';
$t->sql("INSERT INTO spinpanel.license_rule (sku_id, default_offer) VALUES ('$e3', 'CFQ7TTC0LFLX:0001')");
$t->fault({ match => { kind => 'checkout' }, count => 1, action => 'none',
	then_act => { customer => 'Contoso', do => 'delete_user', user => 'user11@contoso.example' } });
@ids = request([11], sku => $e3);
is(finished(10, @ids), 'failed:1', 'gone when the only seat of an order is there: failed');
quiet();
ledger_is({ news => 1, assigns => 0 }, '... after one order');
is($t->seats('Contoso', 'SPE_E3'), 0, '... which is cancelled');

# --- a caller who keeps the request of an order
fresh('too late to cancel an order', options => { report_delay_active => 3600 });
$t->sql("INSERT INTO spinpanel.license_rule (sku_id, default_offer) VALUES ('$e3', 'CFQ7TTC0LFLX:0001')");
$t->fault({ action => 'delay', ms => 500, when => 'after', match => { kind => 'checkout' }, count => 1 });
$since = $t->counts->{last_seq};
@ids = request([11], sku => $e3);
$t->poll(sub { scalar $t->requests(since => $since, kind => 'checkout') }) or fail('checkout');
$caller = $t->session;
is($caller->query("BEGIN; SELECT status FROM spinpanel.cancel_request($ids[0])"), 'buying', 'too late to be cancelled');
$t->wait_for(q{SELECT status FROM spinpanel.operation WHERE kind = 'checkout'}, 'done') or fail('bought');
$caller->query('COMMIT');
$caller->finish;
$t->advance(minutes => 2);
is(finished(10, @ids), 'done:1', '... done');
quiet();
ledger_is({ seats => 1, news => 1, assigns => 1 }, '... on the seat that was ordered for it');

# --- a checkout of which nobody knows for minutes whether it was carried out
fresh('checkout', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200, auto_renew => 0, ends => 1 } ]);
$t->sql(qq{SELECT spinpanel.set_license_rule('*', 'SPB', default_offer => '$spb')});
$t->fault({ action => 'hang', when => 'after', match => { kind => 'checkout' }, count => 1 });
$since = $t->counts->{last_seq};
@ids = request([11]);
$t->poll(sub { scalar $t->requests(since => $since, kind => 'checkout') }) or fail('checkout');
my $lists = $t->fault({ action => 'status', status => 503, match => { kind => [ 'orders', 'get_cart' ] } });
sleep 1;
$t->advance(minutes => 3);
sleep 0.7;
is($t->sql("SELECT status FROM spinpanel.cancel_request($ids[0])"), 'buying', 'a checkout is under way for minutes: it cannot be cancelled');
$t->clear_faults($lists);
is(finished(15, @ids), 'done:1', '... done');
quiet();
ledger_is({ seats => 1, news => 1, assigns => 1 }, '... on one seat');

# --- settings of a transaction that is rolled back
fresh('rolled back');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', purchases => false)});
$caller = $t->session;
my $ask = q{SELECT count(*) FROM spinpanel.assign_license('Contoso', 'user11@contoso.example', 'SPB')};
$caller->query(qq{BEGIN; SELECT count(*) FROM spinpanel.set_relationship('*', purchases => true); $ask});
$caller->query('ROLLBACK');
$caller->query($ask);
like($caller->error, qr/purchases are off/, 'what was allowed in a transaction that was rolled back is not allowed after it');
$caller->query(qq{BEGIN; SAVEPOINT a; SELECT count(*) FROM spinpanel.set_relationship('*', purchases => true); $ask});
$caller->query(qq{ROLLBACK TO a; $ask});
like($caller->error, qr/purchases are off/, '... nor after a savepoint');
$caller->query('ROLLBACK');
$caller->finish;

# --- an account that is gone keeps no other waiting
fresh('accounts', scenario => {
	accounts => [ { name => 'main' }, { name => 'second' } ],
	customers => [
		{ name => 'Contoso', domain => 'contoso.example', partners => [ 'main', 'second' ], user_count => 12, assigned => { SPB => 10 },
			subscriptions => [ { partner => 'second', product => $spb, quantity => 11, ends_in_days => 200 } ] },
		map { { name => "Other $_", domain => "other$_.example", partners => ['main'], user_count => 1,
				subscriptions => [ { partner => 'main', product => $spb, quantity => 1, ends_in_days => 200 } ] } } 1 .. 70 ] });
$t->sql('SELECT spinpanel.pause()');
$t->sql(q{SELECT count(spinpanel.assign_license(c.customer_id::text, u.upn, 'SPB')) FROM spinpanel.customer c JOIN spinpanel.customer_user u USING (customer_id) WHERE c.name LIKE 'Other%'});
$caller = $t->session;
is($caller->query(q{BEGIN; SELECT count(*) FROM (SELECT spinpanel.cancel_request(request_id) FROM spinpanel.license_request) q}), '70', 'seventy requests of seventy customers are cancelled');
$t->sql('SELECT spinpanel.resume()');
@ids = request([11]);
is(finished(15, @ids), 'done:1', '... which is not committed: a request of another customer is done meanwhile');
$t->sql('SELECT spinpanel.pause()');
$caller->query('ROLLBACK');
$caller->finish;
@ids = (request([11], kind => 'release'), request([12]));
$t->sql("UPDATE spinpanel.license_request SET account_id = (SELECT account_id FROM spinpanel.account WHERE name = 'main') WHERE request_id = $ids[0]");
$t->sql(q{SELECT spinpanel.disconnect_account('main')});
$t->sql('SELECT spinpanel.resume()');
is(finished(15, @ids), 'done:2', 'seventy customers of an account that is gone keep one of another account not waiting');
is($t->sql("SELECT count(*) FROM spinpanel.license_request WHERE status = 'cancelled'"), '70', '... those are cancelled with it');

# --- a purchase that waits for a person, and that nobody needs any more
fresh('approval', subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200 } ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', purchase_limit_percent => 0, purchase_limit_seats => 0)});
@ids = request([11]);
ok($t->wait_for(q{SELECT status FROM spinpanel.adjustment WHERE action = 'raise'}, 'awaiting_approval'), 'a purchase waits for a person');
$t->sql("SELECT spinpanel.cancel_request($ids[0])");
$t->kill9;
ok($t->wait_for(q{SELECT status FROM spinpanel.adjustment WHERE action = 'raise'}, 'superseded', 20), '... its request is cancelled: it waits no longer');

done_testing();
