# Bad data removes nothing: wrong, partial, missing and stale numbers, at the night's reading and at the reading just before
# a change is sent.  Only a second read that agrees, settle_time later, is believed; meanwhile the pool says what is wrong.
#
# Each customer is a case; all live through the same nights.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $yes = JSON::PP::true;
my $of_spb = { 'productSku.skuPartNumber' => 'SPB' };

# Ten legacy seats, all used, unless the case says otherwise
my %world = (
	used => { subscriptions => [ { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400 } ], user_count => 12, assigned => { SPB => 10 } },
	unused => { subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], user_count => 12, assigned => { SPB => 10 } },
	# five seats that can be given back for 20 hours more: this night or never
	deadline => { subscriptions => [ { product => $spb, quantity => 15, ends_in_days => 120, batches => [ { quantity => 10, hours_left => -5000 }, { quantity => 5, hours_left => 20 } ] } ],
		user_count => 12, assigned => { SPB => 10 } },
	two => { subscriptions => [ { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400 }, { product => $spb, quantity => 5, ends_in_days => 200 } ], user_count => 15, assigned => { SPB => 15 } },
	people => { subscriptions => [ { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400 } ], user_count => 10, assigned => { SPB => 10 } });

# name, world, what is wrong with the answer to which request, what the pool says about it
my @wrong = (
	[ 'Zero', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 0, availableUnits => 10 } }, qr/fell from 10 to 0.*second read/ ],
	[ 'Zero alone', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 0 } }, qr/10 units of which 0 are consumed/ ],
	[ 'Less than half', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 4, availableUnits => 6 } }, qr/fell from 10 to 4/ ],
	[ 'Gone', used => subscribedskus => { where => $of_spb, remove => $yes }, qr/gone from Partner Center's report/ ],
	[ 'No SKUs', used => subscribedskus => { keep => 0 }, qr/gone from Partner Center's report/ ],
	[ 'Negative consumed', used => subscribedskus => { where => $of_spb, set => { consumedUnits => -3 } }, qr/consumedUnits -3/ ],
	[ 'Negative active', used => subscribedskus => { where => $of_spb, set => { activeUnits => -1 } }, qr/activeUnits -1/ ],
	[ 'Total', used => subscribedskus => { where => $of_spb, set => { totalUnits => 40 } }, qr/40 in total/ ],
	[ 'Available', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 2 } }, qr/of which 2 are consumed, but 0 available/ ],
	[ 'No consumed', used => subscribedskus => { where => $of_spb, set => { consumedUnits => '__delete__' } }, qr/lacks consumedUnits/ ],
	[ 'Words', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 'none' } }, qr/lacks consumedUnits/ ],
	[ 'Fraction', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 0.5 } }, qr/consumedUnits|fell/ ],
	[ 'Huge', used => subscribedskus => { where => $of_spb, set => { consumedUnits => 1e15 } }, qr/consumedUnits 1000000000000000/ ],
	[ 'Deadline, zero', deadline => subscribedskus => { where => $of_spb, set => { consumedUnits => 0, availableUnits => 15 } }, qr/fell from 10 to 0/ ],
	[ 'Deadline, available', deadline => subscribedskus => { where => $of_spb, set => { availableUnits => 999 } }, qr/999 available/ ],
	[ 'Deadline, gone', deadline => subscribedskus => { where => $of_spb, remove => $yes }, qr/gone from Partner Center's report/ ],
	# These do not reach the numbers: the read fails, what was read before stands
	[ 'No list', unused => subscribedskus => { member => { items => undef } }, undef ],
	[ 'A list of words', unused => subscribedskus => { member => { items => [ 'none', 0 ] } }, undef ],
	[ 'Garbage', unused => subscribedskus => { action => 'garbage' }, undef ],
	[ 'Cut', unused => subscribedskus => { action => 'truncate', clean => $yes }, undef ],
	[ 'Subscriptions cut', unused => subscriptions => { action => 'truncate', clean => $yes }, undef ],
	[ 'No subscriptions', unused => subscriptions => { member => { items => undef } }, undef ],
	[ 'Part of the list', two => subscriptions => { keep => 1, member => { totalCount => 2 } }, undef ],
	[ 'One subscription less', two => subscriptions => { keep => 1 }, undef ],
	[ 'Subscription without quantity', unused => subscriptions => { set => { quantity => '__delete__' } }, undef ],
	[ 'Negative quantity', used => subscriptions => { set => { quantity => -5 } }, undef ],
	[ 'Too many owned', used => subscriptions => { set => { quantity => 90 } }, undef ],
	[ 'Too many active', used => subscribedskus => { where => $of_spb, set => { activeUnits => 90, totalUnits => 90, availableUnits => 80 } }, undef ]);

# What really is so, and what only comes later; see below
my @other = map { { name => $_->[0], world => $_->[1] } } (
	[ 'Eight leave', 'people' ], [ 'All leave', 'people' ], [ 'First zero, then four', 'used' ],
	[ 'Just before, zero', 'unused' ], [ 'Just before, gone', 'unused' ], [ 'Just before, nonsense', 'unused' ], [ 'Just before, garbage', 'unused' ],
	[ 'Access lost', 'unused' ], [ 'Access lost just before', 'unused' ], [ 'Left alone', 'unused' ],
	[ 'Gone afterwards', 'unused' ]);

my %seats = (used => 10, unused => 15, deadline => 15, two => 15, people => 10);
my %world_of = ((map { $_->[0] => $_->[1] } @wrong), (map { $_->{name} => $_->{world} } @other));
my $number = 0;
my $t = SpinpanelTest->start(
	scenario => { customers => [ map { { name => $_, domain => sprintf('case%02d.example', ++$number), %{ $world{ $world_of{$_} } } } } sort keys %world_of ] },
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.settle_time' => '1h', 'spinpanel.retry_max_delay' => '50ms', 'spinpanel.poll_interval' => '100ms' });
my %id = map { $_->{name} => $_->{id} } @{ $t->state()->{customers} };

sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before < spinpanel._now() + '1 minute'::interval}, '0', 30) }

sub night
{
	my ($title) = @_;
	my $run = $t->run_and_wait('adjust', undef, seconds => 60);
	is($run->{status}, 'done', $title);
	quiet();
	return $run;
}

sub now { my ($name) = @_; return $t->seats($name, 'SPB') }

# What ours was removed at these customers: a text, empty if nothing
sub removed
{
	my (@names) = @_;
	my %name = map { $id{$_} => $_ } @names;
	return join "\n", map { "$name{$_->{customer}}: $_->{action} to $_->{after}{quantity}" }
	  grep { $name{ $_->{customer} } } $t->ledger(action => [qw(lower suspend cancel schedule auto_renew)], actor => [qw(app app+user)]);
}

# What excess_seats() says of each pool: name => blocked_by
sub blocked
{
	return map { $_->{customer_name} => $_->{blocked_by} // '' } $t->rows(q{SELECT customer_name, blocked_by FROM spinpanel.excess_seats() WHERE part_number = 'SPB'});
}

is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0')});
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Left alone', auto_license_adjustment => false)});

# --- once, in the night's reading and in all that follow from it
sub break_it { $t->fault({ action => 'override', %{ $_->[3] }, match => { kind => $_->[2], customer => $id{ $_->[0] } } }) for @wrong; return }
break_it();
$t->act({ customer => 'Eight leave', do => 'unassign', user => sprintf('user%02d@', $_) . $t->state('Eight leave')->{domain}, sku => 'SPB' }) for 1 .. 8;
$t->act({ customer => 'All leave', do => 'unassign', user => sprintf('user%02d@', $_) . $t->state('All leave')->{domain}, sku => 'SPB' }) for 1 .. 10;
my $zero = $t->fault({ action => 'override', where => $of_spb, set => { consumedUnits => 0, availableUnits => 10 }, match => { kind => 'subscribedskus', customer => $id{'First zero, then four'} } });
# just before sending: the second of the customer's reads
$t->fault({ action => 'override', nth => 2, where => $of_spb, set => { consumedUnits => 0, availableUnits => 15 }, match => { kind => 'subscribedskus', customer => $id{'Just before, zero'} } });
$t->fault({ action => 'override', nth => 2, where => $of_spb, remove => $yes, match => { kind => 'subscribedskus', customer => $id{'Just before, gone'} } });
$t->fault({ action => 'override', nth => 2, where => $of_spb, set => { consumedUnits => -7 }, match => { kind => 'subscribedskus', customer => $id{'Just before, nonsense'} } });
$t->fault({ action => 'override', nth => 2, count => 3, member => { items => undef }, match => { kind => 'subscribedskus', customer => $id{'Just before, garbage'} } });
$t->act({ customer => 'Access lost', do => 'licence_access', on => JSON::PP::false });
$t->fault({ action => 'none', nth => 2, before_act => { customer => 'Access lost just before', do => 'licence_access', on => JSON::PP::false },
	match => { kind => 'subscribedskus', customer => $id{'Access lost just before'} } });

night('a night of bad data');
my @bad = map { $_->[0] } @wrong;
is(removed(@bad), '', 'numbers that are wrong once remove nothing');
my %said = blocked();
is(join("\n", map { "$_->[0]: $said{$_->[0]}" } grep { $_->[4] && $said{ $_->[0] } !~ $_->[4] } @wrong), '', '... and the pool says why');
is($t->sql(q{SELECT count(*) FROM spinpanel.pool WHERE doubt IS NOT NULL AND doubt_at IS NULL}), '0', '... and since when');
my @deadline = grep { /^Deadline/ } @bad;
is(join(' ', map { now($_) } @deadline), '15 15 15', '... not even seats that can be given back for hours only');
is(removed('Eight leave', 'All leave'), '', 'eight of ten, and ten of ten, really leave: nothing at the first read');
is(now('Just before, zero'), 15, 'plausible numbers, but zero in the read just before sending: nothing is sent');
is(now('Just before, gone'), 15, '... or the SKU is gone in it');
is(now('Just before, nonsense'), 15, '... or it is nonsense');
is(now('Just before, garbage'), 10, '... a read that fails is made again, then what was planned is sent');
is(removed('Access lost', 'Access lost just before'), '', 'without licence access nothing is removed, also where it was lost just before sending');
like($said{'Access lost'}, qr/licence|license/i, '... and the pool says so');
like($t->sql(q{SELECT error FROM spinpanel.adjustment JOIN spinpanel.customer USING (customer_id) WHERE name = 'Access lost just before' AND action = 'reduce'}), qr/licence usage/, '... or the adjustment');
is(removed('Left alone'), '', 'where the switch is off, nothing is removed');
is($t->sql(q{SELECT string_agg(DISTINCT reducible_now::text, ',') FROM spinpanel.excess_seats() WHERE blocked_by IS NOT NULL AND blocked_by <> 'switched off'}), '0', 'what is blocked shows nothing as reducible');

is(now('Gone afterwards'), 10, 'where all is well, what is unused is given back');
$t->act({ customer => 'Gone afterwards', do => 'relationship', on => JSON::PP::false });

# --- again before settle_time has passed: still not believed
$t->advance(minutes => 45);
night('45 minutes later, the same numbers');
is(removed(@bad, 'Eight leave', 'All leave', 'First zero, then four'), '', 'a second read before settle_time has passed is none');

# --- at last good numbers: where they are as before, all is as before
$t->clear_faults;
$t->act({ customer => $_, do => 'licence_access', on => $yes }) for 'Access lost', 'Access lost just before';
# ... but one of them says something else again
$t->fault({ action => 'override', where => $of_spb, set => { consumedUnits => 4, availableUnits => 6 }, match => { kind => 'subscribedskus', customer => $id{'First zero, then four'} } });
# ... and two are still there, by the book
my %still = map { $_ => 1 } 'Less than half', 'Negative consumed';
for my $case (@wrong) { $t->fault({ action => 'override', %{ $case->[3] }, match => { kind => $case->[2], customer => $id{ $case->[0] } } }) if $still{ $case->[0] } }
$t->advance(minutes => 30);
night('75 minutes later');
my @good = grep { !$still{$_} } @bad;
is(removed(grep { $seats{ $world_of{$_} } == 10 || $world_of{$_} eq 'two' } @good), '', 'once the numbers are as they were, nothing is removed where all seats are used');
is(join("\n", map { "$_: " . now($_) } grep { now($_) != 10 } grep { $world_of{$_} =~ /unused|deadline/ } @good), '', '... and where some are not, they are given back now, before the deadline');
%said = blocked();
is(join("\n", map { "$_: $said{$_}" } grep { $said{$_} && $said{$_} !~ /earlier removal/ } @good), '', '... no pool is in doubt any more');
is(now('Eight leave'), 2, 'who really left: the second read agrees, the seats are given back');
is(now('All leave'), 0, '... all of them');
is(now('Less than half'), 4, 'so it is with anything that two reads agree on, settle_time apart');
is(now('Negative consumed'), 10, 'but nonsense is not believed, however often it is said');
is(now('First zero, then four'), 10, 'zero first and four then do not agree');
like($said{'First zero, then four'}, qr/fell|second read/, '... the pool is in doubt still');
is(now('Access lost'), 10, 'with licence access again, it goes on');

# --- what cannot be looked at again is not asked for again and again
$t->wait_for(q{SELECT count(*) FROM spinpanel.obligation WHERE look_at < spinpanel._now()}, '0', 20);
cmp_ok(scalar(grep { $_->{customer} eq $id{'Gone afterwards'} } $t->requests(kind => 'subscription')), '<=', 4, 'a customer that is gone is not asked about for ever');

# --- stale: nothing could be read for longer than max_data_age
$t->clear_faults;
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Left alone', auto_license_adjustment => true)});
$t->fault({ action => 'status', status => 500, match => { kind => 'subscribedskus', customer => $id{'Left alone'} } });
$t->advance(hours => 27);
my $run = $t->run_and_wait('adjust', undef, seconds => 60);
is($run->{customers_failed}, 1, 'licence usage that cannot be read: the customer fails');
is(removed('Left alone'), '', '... and nothing is removed');
%said = blocked();
like($said{'Left alone'}, qr/old|stale|not .*read/, '... and the pool says that the data are old');
is($t->sql(q{SELECT count(*) FROM spinpanel.plan_adjustment('Left alone') WHERE action <> 'none'}), '0', '... and plan_adjustment plans nothing');
$t->set('spinpanel.max_data_age' => '1min');
$t->clear_faults;
$t->sql(q{SELECT spinpanel.sync('Left alone')});
ok($t->wait_idle, 'read again');
is($t->sql(q{SELECT count(*) FROM spinpanel.plan_adjustment('Left alone') WHERE action = 'reduce'}), '1', 'fresh data may be acted upon');
$t->advance(minutes => 2);
is($t->sql(q{SELECT count(*) FROM spinpanel.plan_adjustment('Left alone') WHERE action <> 'none'}), '0', 'data of two minutes may not, where max_data_age is one');

is_deeply([ grep { $_->{name} !~ /^Less than half/ } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} } ], [], 'nobody was left without a seat, but where Partner Center said so twice');
unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
