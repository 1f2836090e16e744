# A night costs one request for a customer of whom nothing changed, and sees all the same what did.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use JSON::PP ();
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), options => { requests_per_minute => 0 }, conf => { 'spinpanel.poll_interval' => '200ms' });
my $business = 'CFQ7TTC0LCHC:0002';
my $n = 20;

$t->fresh({ customers => [ map { { name => sprintf('C%02d', $_), domain => "c$_.example", user_count => 6, assigned => { SPB => 5 },
	subscriptions => [ { product => $business, quantity => 5, ends_in_days => 200, started_days_ago => 165 } ] } } 1 .. $n ] }, { requests_per_minute => 0 });
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});

my $asked = {};
sub night
{
	$t->advance(days => 1);
	my $before = $t->counts;
	my $run = $t->run_and_wait('nightly', undef, seconds => 60);
	$t->wait_idle(30);
	my $after = $t->counts;
	$asked = { map { $_ => ($after->{by_kind}{$_} // 0) - ($before->{by_kind}{$_} // 0) } keys %{ $after->{by_kind} } };
	return $after->{total} - $before->{total} - ($asked->{token} // 0);
}
sub read_of { my ($name) = @_; return scalar grep { $_->{path} =~ /\Q$name\E\/subscriptions$/ } $t->requests(kind => ['subscriptions']) }

night() for 1 .. 2;    # the settings changed; then nothing
my $cost = night();
is($asked->{subscribedskus}, $n, 'a night: subscribed SKUs of everybody');
is($asked->{subscriptions} // 0, 0, '... subscriptions of nobody');
cmp_ok($cost, '<=', $n + 3, "... $cost requests for $n customers, the list of customers and the audit records with them")
	or diag(explain($asked));
is($t->sql(q{SELECT count(*) FROM spinpanel.excess_seats() WHERE blocked_by IS NOT NULL}), 0, '... and what is known of subscriptions is not too old to act on');

# Seats that somebody added: SKUs tell.  They go back when their cool-down is over.
$t->act({ customer => 'C01', do => 'raise', sku => 'SPB', seats => 2 });
night();
is($asked->{subscriptions}, 1, 'SKUs that differ: the subscriptions of that customer');
is($t->sql(q{SELECT sum(quantity) FROM spinpanel.subscription s JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'C01'}), 7, '... are read');
night() for 1 .. 3;
is($t->seats('C01', 'SPB'), 5, '... and what nobody uses goes back in time');

# A change that SKUs do not show: the audit records tell
$t->act({ customer => 'C02', do => 'auto_renew', sku => 'SPB', on => JSON::PP::false() });
night();
is($t->sql(q{SELECT auto_renew FROM spinpanel.subscription s JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'C02'}), 'f', 'the audit records name a customer: read');
cmp_ok($asked->{subscriptions}, '<=', 3, '... and few others');

# A setting that changed
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('C03', cooldown => '2 hours')});
night();
cmp_ok($asked->{subscriptions}, '>=', 1, 'a setting changed: read');

# No audit records to be had: who knows what changed?
$t->fault({ match => { kind => 'audit' }, action => 'status', status => 403, code => 900308 });
night();
is($t->sql(q{SELECT status FROM spinpanel.run ORDER BY run_id DESC LIMIT 1}), 'done', 'without audit records the night is done all the same');
is($asked->{subscriptions}, $n, '... and reads the subscriptions of everybody');
$t->clear_faults;

# Everybody is read within a fortnight, some each night
my $most = 0;
for (1 .. 14) { night(); $most = $asked->{subscriptions} if ($asked->{subscriptions} // 0) > $most }
is($t->sql(q{SELECT count(*) FROM spinpanel.customer_account WHERE subscriptions_fetched_at < spinpanel._now() - interval '14 days 12 hours'}), 0, 'everybody is read within a fortnight');
cmp_ok($most, '<', $n / 2, "... never all at once: $most at most");

# The demo's 45 customers: a night of which nothing is new, and nights in which adjustment has removals and renewals to watch
sub least { return (sort { $a <=> $b } @_)[0] }
$t->fresh('msp', { requests_per_minute => 0 });
my @off = map { night() } 1 .. 5;
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
my @on = map { night() } 1 .. 6;
note(sprintf "figures: nights of the demo's %d customers cost %s requests without adjustment, then %s with it", $t->sql('SELECT count(*) FROM spinpanel.customer'), join(', ', @off), join(', ', @on));
# 45, two lists, and one for each whose renewal, window or lead is near; the jump of a day costs a token and what it was refused for
cmp_ok(least(@off), '<=', 56, 'the demo: hardly more than a request for each customer');
cmp_ok(least(@on), '<=', 64, '... and few more where something of ours is watched');
$t->fresh({ customers => [ map { { name => sprintf('C%02d', $_), domain => "c$_.example", user_count => 6, assigned => { SPB => 5 },
	subscriptions => [ { product => $business, quantity => 5, ends_in_days => 75, started_days_ago => 290 } ] } } 1 .. $n ] }, { requests_per_minute => 0 });

# The end of the term is near
$t->advance(days => 60);
night();
is($asked->{subscriptions}, $n, 'after months all are read');
done_testing();
