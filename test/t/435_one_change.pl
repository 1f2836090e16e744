# Operations on subscriptions: one change of a pool at a time, those that wait cost nothing, a change with what restores its
# side effects is one step, and patience is measured in time.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $t = SpinpanelTest->start(scenario => one_customer(), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.settle_time' => '1h', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms', 'spinpanel.request_timeout' => '3s' });

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub customer
{
	my (%with) = @_;
	my $options = delete $with{options};
	my $adjust = delete $with{adjust} // 1;
	$t->fresh(one_customer(%with), $options);
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0 hours')}) if $adjust;
	return;
}
sub due { return $t->sql(q{SELECT (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before < spinpanel._now() + interval '2 s')
	+ (SELECT count(*) FROM spinpanel.obligation WHERE look_at <= spinpanel._now())}) }
sub quiet { return $t->poll(sub { due() eq '0' }, 40) }
sub night { my $run = $t->run_and_wait('nightly', undef, seconds => 60); quiet(); return $run }
sub assign { my ($u) = @_; return $t->sql(sprintf q{SELECT request_id FROM spinpanel.assign_license('Contoso', '%s', 'SPB')}, upn($u)) }
sub overdrawn { return join ', ', map { "$_->{active} active, $_->{consumed} holders" } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} } }
sub scheduled { my $s = $t->subscription('Contoso', 'SPB')->{scheduled_next}; return $s ? $s->{quantity} : 'none' }
sub told { return diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|bought|put back|adjustment|obligation'})) }
my %ends = (product => $spb, quantity => 14, batches => [ { quantity => 14, hours_left => -5000 } ]);

# --- operations that were queued before somebody paused are not taken up
customer(user_count => 16, subscriptions => [ { %ends, batches => [ { quantity => 14, hours_left => 100 } ], ends_in_days => 300 } ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', removal_limit_seats => 0, removal_limit_percent => 0)});
night();
my $position = $t->counts->{mutating};
$t->sql(q{BEGIN; SELECT spinpanel.approve(adjustment_id) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'; SELECT spinpanel.pause('Contoso'); COMMIT});
$t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'queued'}) ne '0' }, 20);
assign(11);
$t->advance(hours => 1);
$t->run_and_wait('sync', 'Contoso');
is($t->counts->{mutating} - $position, 0, 'queued and then paused: nothing is sent');
$t->sql(q{SELECT spinpanel.resume('Contoso')});
ok($t->poll(sub { $t->counts->{mutating} > $position }, 30), '... until somebody resumes');
quiet();

# --- no change takes more than its adjustment showed
customer(user_count => 16, subscriptions => [ { %ends, batches => [ { quantity => 14, hours_left => 100 } ], ends_in_days => 300 } ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', removal_limit_seats => 0, removal_limit_percent => 0)});
night();
is($t->sql(q{SELECT seats FROM spinpanel.adjustment WHERE status = 'awaiting_approval'}), '4', 'four wait for an approval');
$t->act({ customer => 'Contoso', do => 'raise', subscription => $t->subscription('Contoso', 'SPB')->{id}, quantity => 17 });
$t->sql(q{SELECT spinpanel.approve(adjustment_id) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'});
ok($t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.adjustment WHERE status IN ('done', 'skipped')}) ne '0' }, 20), 'three more are added, then it is approved');
quiet();
cmp_ok($t->seats('Contoso', 'SPB'), '>=', 13, '... no more than four go');

# --- a purchase in the portal right after a removal does not keep the pool waiting
customer(user_count => 16, subscriptions => [ { %ends, batches => [ { quantity => 14, hours_left => 160 } ], ends_in_days => 300 } ]);
$t->fault({ match => { kind => 'patch_subscription' }, nth => 1, action => 'none',
	then_act => { customer => 'Contoso', do => 'raise', subscription => $t->subscription('Contoso', 'SPB')->{id}, quantity => 13 } });
night();
is($t->seats('Contoso', 'SPB'), 13, 'four went, a technician added three before we read it back');
is($t->sql('SELECT settle_active || \' \' || settle_owned FROM spinpanel.pool'), '10 10', '... the pool is settling');
for (1 .. 2) { $t->advance(days => 1); night() }
is($t->seats('Contoso', 'SPB'), 10, '... and goes on in the following nights') or told();

# --- what is lost is sent again under the same id
customer(user_count => 16, subscriptions => [ { %ends, batches => [ { quantity => 14, hours_left => 160 } ], ends_in_days => 300 } ]);
my $since = $t->emulator('GET', 'clock');
$t->fault({ match => { kind => 'patch_subscription' }, nth => 1, count => 1, action => 'reset_before' });
night();
my %ids = map { ($_->{request_id} // $_->{ms_request_id} // '?') => 1 } $t->requests(kind => 'patch_subscription');
is(join(' ', keys %ids), $t->sql(q{SELECT ms_request_id FROM spinpanel.operation WHERE kind = 'set_quantity'}), 'both sendings have the id of the row');
is(scalar($t->requests(kind => 'patch_subscription')), 2, '... two they were');

# --- a raise, what it wiped, the next raise: one after the other
customer(adjust => 0, user_count => 8, assigned => { SPB => 4 }, subscriptions => [ { product => $spb, quantity => 4, ends_in_days => 200, next => 2 } ]);
$t->fault({ match => { kind => 'patch_subscription' }, nth => 2, count => 2, action => 'status', status => 409, code => 900278, description => 'There is a pending operation on this subscription. Please try again after 24 hours.' });
my $first = assign(5);
is($t->outcome($first), 'done:1', 'a seat is bought where a person scheduled two; setting that again has to wait');
my $second = assign(6);
is($t->outcome($second), 'done:1', '... another one is bought');
quiet();
ok($t->poll(sub { scheduled() eq '4' }, 20), '... and the schedule is theirs, plus both') or told();
is($t->sql(q{SELECT string_agg(purpose, ' ' ORDER BY finished_at) FROM spinpanel.operation WHERE purpose IN ('buy', 'restore') AND status = 'done'}), 'buy restore buy restore', '... set again in between');

# --- a restoration that is refused with "try again after 24 hours" waits that long
customer(adjust => 0, user_count => 6, assigned => { SPB => 4 }, subscriptions => [ { product => $spb, quantity => 4, ends_in_days => 200, next => 2 } ]);
$t->fault({ match => { kind => 'patch_subscription' }, nth => 2, count => 100000, action => 'status', status => 409, code => 900278, description => 'There is a pending operation on this subscription. Please try again after 24 hours.' });
is($t->outcome(assign(5)), 'done:1', 'a seat is bought where a person scheduled two');
my $before = $t->counts->{total};
for (1 .. 13) { $t->advance(hours => 4); $t->poll(sub { due() eq '0' }, 3) }
is($t->sql(q{SELECT status FROM spinpanel.operation WHERE purpose = 'restore'}), 'queued', '... 52 hours of 900278 later it still waits');
cmp_ok($t->counts->{total} - $before, '<', 100, '... and asked seldom');
$t->clear_faults;
$t->advance(hours => 1);
ok($t->poll(sub { scheduled() eq '3' }, 20), '... then it is there, with the seat that was bought') or told();

# --- a change that waits costs nothing
my %monthly = (product => $spb, quantity => 2, started_days_ago => 3, term => 'P1M', cycle => 'monthly');
customer(adjust => 0, user_count => 12, subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200 }, map { {%monthly} } 1 .. 6 ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true, removal_limit_percent => 100, removal_limit_seats => 1000)});
$t->fault({ match => { kind => 'patch_subscription' }, nth => 1, action => 'accepted_202', seconds => 80000 });
$t->advance(days => 1);
$t->sql(q{SELECT spinpanel.adjust('Contoso')});
$t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'unknown'}) eq '1' && $t->sql('SELECT count(*) FROM spinpanel.operation WHERE parked') ne '0' }, 20);
is($t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'queued' AND NOT parked}), '0', 'a change carried out tomorrow: the others of its pool are parked');
$before = scalar $t->requests(kind => 'subscription');
$t->advance(hours => 2);
$t->poll(sub { due() eq '0' }, 5);
cmp_ok(scalar($t->requests(kind => 'subscription')) - $before, '<=', 2, '... and read nothing');
$t->advance(days => 1);
ok($t->poll(sub { $t->seats('Contoso', 'SPB') <= 12 }, 60), '... when it is there they go on, one after the other') or told();
is(overdrawn(), '', 'nobody lacks a seat');

done_testing();
