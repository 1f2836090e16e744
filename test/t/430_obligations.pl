# What our changes took, or will take at a renewal, is watched until it has settled: nobody lacks a seat but by a person's act,
# whatever is switched off, locked, doubted or refused meanwhile.  And a change with what restores its side effects is one step.
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
sub portal_assigns { return $t->act([ map { { customer => 'Contoso', do => 'assign', user => upn($_), sku => 'SPB' } } @_ ]) }
sub overdrawn { return join ', ', map { "$_->{active} active, $_->{consumed} holders" } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} } }
sub scheduled { my $s = $t->subscription('Contoso', 'SPB')->{scheduled_next}; return $s ? $s->{quantity} : 'none' }
sub at { my ($before) = @_; return $t->advance_to($t->sql(qq{SELECT to_char(term_end - interval '$before', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM spinpanel.subscription})) }
sub told { return diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|bought|put back|adjustment|obligation'})) }
sub none_left { return is($t->sql('SELECT count(*) FROM spinpanel.obligation'), '0', $_[0]) }
my %ends = (product => $spb, quantity => 14, batches => [ { quantity => 14, hours_left => -5000 } ]);

# --- within the last hour before it takes effect a schedule is judged again, and cut back by as much as lacks
customer(user_count => 16, subscriptions => [ { %ends, ends_in_days => 5 } ]);
night();
is(scheduled(), 10, 'ours: ten');
$t->advance(minutes => 62);
quiet();
is($t->sql('SELECT kind || stage || seats FROM spinpanel.obligation'), 'scheduledbefore4', 'it is watched');
at('3 hours');
quiet();
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => false, auto_increment => true)});
$t->sql(q{SELECT spinpanel.set_license_rule('Contoso', 'SPB', true)});
portal_assigns(11, 12);
my $session = $t->session;
$session->query('BEGIN');
$session->query(sprintf q{SELECT request_id FROM spinpanel.assign_license('Contoso', '%s', 'SPB')}, upn(1));
at('20 minutes');
ok($t->poll(sub { scheduled() eq '12' }, 30), 'switched off, excluded, increment on, a transaction open: twelve stay') or told();
quiet();
$session->query('ROLLBACK');
$session->finish;
like($t->sql(q{SELECT reason FROM spinpanel.adjustment ORDER BY adjustment_id DESC LIMIT 1}), qr/^12 assigned.* 10 owned.* 2 of the 4/, '... a row tells why');
$t->advance(hours => 2);
quiet();
for (1 .. 3) { $t->advance(hours => 4); quiet() }
is(overdrawn(), '', '... nobody lacks a seat after the renewal');
is($t->seats('Contoso', 'SPB'), 12, '... and two went');
$t->advance(minutes => 62);
quiet();
none_left('... it is over');

# --- what lacks when the renewal shows is bought back
customer(user_count => 16, subscriptions => [ { %ends, ends_in_days => 3 } ]);
night();
portal_assigns(11 .. 14);
at('-2 hours');    # the clock jumps over the last look
$t->advance(hours => 24);
quiet();
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 14 }, 30), 'assigned after the last look: bought back, by at most what we took') or told();
for (1 .. 2) { $t->advance(minutes => 62); quiet() }
is($t->sql(q{SELECT string_agg(reason, ' ') FROM spinpanel.history WHERE event = 'obligation over'}), 'settled: 4 of 4 seats were bought back', '... on record');
none_left('... it is over');

# --- numbers in doubt keep no schedule of ours from being cut back
customer(user_count => 16, subscriptions => [ { %ends, ends_in_days => 5 } ]);
night();
$t->fault({ match => { kind => 'subscribedskus' }, action => 'override', set => { availableUnits => 99 } });
portal_assigns(11, 12);
$t->advance(days => 1);
night();
ok($t->poll(sub { scheduled() eq '12' }, 20), 'a report that contradicts itself: twelve stay') or told();
$t->clear_faults;

# --- an end of ours
customer(user_count => 12, subscriptions => [ { %ends, quantity => 10, ends_in_days => 200 }, { %ends, quantity => 4, ends_in_days => 5 } ]);
night();
is($t->sql(q{SELECT kind || seats FROM spinpanel.obligation}), 'ended4', 'a subscription that nobody uses is set to end');
portal_assigns(11);
$t->advance(minutes => 62);
ok($t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE purpose = 'put_back' AND status = 'done'}) eq '1' }, 20), '... somebody takes a seat: it renews') or told();
quiet();
is($t->sql(q{SELECT auto_renew FROM spinpanel.subscription WHERE quantity = 4}), 't', '... as it was');

# --- a look that fails is made again
customer(user_count => 20, subscriptions => [ { %ends, quantity => 14, ends_in_days => 300, batches => [ { quantity => 10, hours_left => -5000 }, { quantity => 4, hours_left => 100 } ] } ],
	options => { report_delay_consumed => 600 });
$t->fault({ match => { kind => 'patch_subscription' }, nth => 1, action => 'none', before_act => { customer => 'Contoso', do => 'assign', user => upn(11), sku => 'SPB' } });
night();
isnt(overdrawn(), '', 'somebody takes a seat between our read and our change, and the report lags');
$t->fault({ match => { kind => 'subscribedskus' }, nth => 1, count => 2, action => 'status', status => 403, code => 900308 });
$t->advance(minutes => 65);
quiet();
is($t->sql(q{SELECT count(*) FROM spinpanel.obligation WHERE overdue_since IS NOT NULL}), '1', 'licence usage is refused when it is looked at again: it is overdue');
for (1 .. 3) { $t->advance(minutes => 10); quiet() }
is(overdrawn(), '', '... and bought back when it can be read') or told();

# --- paused: nothing is changed, and said
customer(user_count => 16, subscriptions => [ { %ends, ends_in_days => 3 } ]);
night();
$t->sql(q{SELECT spinpanel.pause('Contoso')});
portal_assigns(11, 12);
at('20 minutes');
$t->advance(days => 2);
is($t->seats('Contoso', 'SPB'), 10, 'paused: what was scheduled takes effect');
like($t->sql(q{SELECT ok || ' ' || detail || hint FROM spinpanel.check_setup() WHERE item = 'obligations'}), qr/^false.*1 of paused customers.*resume/, '... check_setup() tells');
$t->sql(q{SELECT spinpanel.resume('Contoso')});
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 12 }, 30), '... resumed: bought back') or told();

is(overdrawn(), '', 'nobody lacks a seat');

done_testing();
