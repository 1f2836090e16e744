# Decisions of people: what waits for approval is one question as a whole, and a rejection lasts.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.settle_time' => '1s' });

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub act { my ($do, @users) = @_; $t->act({ customer => 'Contoso', do => $do, user => upn($_), sku => 'SPB' }) for @users; return }
sub night { $t->advance(days => 1) if $_[0]; my $run = $t->run_and_wait('nightly', undef, seconds => 60); return quiet() }
sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', 20) }
sub seats { return $t->seats('Contoso', 'SPB') }
sub waits { return $t->sql(q{SELECT coalesce(string_agg(concat_ws(' ', action, from_quantity || '>' || to_quantity), ', ' ORDER BY adjustment_id), 'nothing') FROM spinpanel.adjustment WHERE status = 'awaiting_approval'}) }
sub first_that_waits { return $t->sql(q{SELECT coalesce(min(adjustment_id), 0) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'}) }
sub told { return $t->sql(q{SELECT coalesce(string_agg(concat_ws(' ', adjustment_id, action, from_quantity || '>' || to_quantity, status, reason, '[' || error || ']'), E'\n' ORDER BY adjustment_id), 'nothing') FROM spinpanel.adjustment}) }
sub customer
{
	my ($assigned, $subscriptions, %limit) = @_;
	$t->fresh(one_customer(user_count => 40, assigned => { SPB => $assigned }, subscriptions => $subscriptions));
	my $limits = join ', ', map { "removal_limit_$_ => $limit{$_}" } sort keys %limit;
	return $t->sql("SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true" . ($limits ? ", $limits" : '') . ')');
}
my @pair = map { { offer => 'legacy-SPB', quantity => $_->[0], started_days_ago => $_->[1] } } ([ 6, 400 ], [ 7, 200 ]);
my %none_free = (percent => 0, seats => 0);

# --- a merge is one question
customer(10, \@pair, %none_free);
night();
is(waits(), 'raise 6>10, suspend 7>0', 'a merge waits');
my $first = first_that_waits();
night(1);
is(first_that_waits(), $first, 'the same plan the next night: the same rows wait');
act(assign => 11);
night(1);
is(waits(), 'raise 6>11, suspend 7>0', 'one person more: the merge is replaced as a whole');
is($t->sql("SELECT string_agg(DISTINCT run_id::text, ' ') FROM spinpanel.adjustment WHERE status = 'awaiting_approval'") =~ /^\d+$/ ? 1 : 0, 1, '... by rows of one run');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'adjustment superseded'}), 2, '... and that is on record');
$t->sql('SELECT count(*) FROM spinpanel.approve(' . first_that_waits() . ')');
ok($t->poll(sub { seats() == 11 }, 20), 'one step approved: the whole is carried out') or diag(told());
quiet();
is($t->sql(q{SELECT string_agg(status, ' ' ORDER BY adjustment_id) FROM spinpanel.adjustment WHERE approved}), 'done done', '... and done');

customer(10, \@pair, %none_free);
night();
my $raise = first_that_waits();
my ($younger) = grep { $_->{quantity} == 7 } @{ $t->state('Contoso')->{subscriptions} };
act(unassign => 7 .. 10);
$t->act({ customer => 'Contoso', do => 'suspend', subscription => $younger->{id} });
night(1);
is(waits(), 'nothing', 'the next plan has no merge: nothing of it waits any more');
my ($state) = $t->sql_error("SELECT spinpanel.approve($raise)");
is($state, '55000', '... nor can it be approved');

# Between approval and sending the younger one goes away: the raise alone would buy seats for nobody.
customer(10, \@pair, %none_free);
night();
($younger) = grep { $_->{quantity} == 7 } @{ $t->state('Contoso')->{subscriptions} };
act(unassign => 7 .. 10);
$t->act({ customer => 'Contoso', do => 'suspend', subscription => $younger->{id} });
$t->sql('SELECT count(*) FROM spinpanel.approve(' . first_that_waits() . ')');
ok($t->wait_for(q{SELECT string_agg(status, ' ') FROM spinpanel.adjustment WHERE approved}, 'skipped skipped', 20), 'a merge that has become wrong is skipped as a whole') or diag(told());
is(seats(), 6, '... and buys nothing');

# --- what needs no approval any more does not wait any more
customer(15, [ { offer => 'legacy-SPB', quantity => 40, started_days_ago => 400 } ]);
night();
is(waits(), 'reduce 40>15', 'above the limit it waits');
my $old = first_that_waits();
act(assign => 16 .. 40);
night(1);
is(waits(), 'nothing', 'the seats are used by now: it waits no longer');
is($t->sql("SELECT status FROM spinpanel.adjustment WHERE adjustment_id = $old"), 'superseded', '... it is superseded');
($state) = $t->sql_error("SELECT spinpanel.approve($old)");
is($state, '55000', '... and cannot be approved');

# --- a rejection lasts
customer(15, [ { offer => 'legacy-SPB', quantity => 40, started_days_ago => 400 } ]);
night();
my $rejected = first_that_waits();
$t->sql("SELECT count(*) FROM spinpanel.reject($rejected, 'they hire in May')");
ok($t->wait_for("SELECT announced FROM spinpanel.adjustment WHERE adjustment_id = $rejected", 't', 10), 'the worker announces a rejection');
night(1);
is(waits(), 'nothing', 'the night after does not ask again') or diag(told());
like($t->sql(q{SELECT reason FROM spinpanel.adjustment WHERE action = 'none' ORDER BY adjustment_id DESC LIMIT 1}), qr/25 kept as a person rejected/, '... and says why');
act(assign => 16 .. 21);
night(1);
is(seats(), 40, 'nor are 19 removed, which are below the limit') or diag(told());
act(unassign => 12 .. 21);
night(1);
is(waits(), 'nothing', 'ten more are freed and in their cool-down') or diag(told());
night(1);
is(waits(), 'reduce 40>11', 'more than what was rejected is asked for') or diag(told());
is(seats(), 40, '... and not done unasked');
$t->sql('SELECT count(*) FROM spinpanel.reject(' . first_that_waits() . ')');
$t->advance(days => 88);
night(1);
is(waits(), 'nothing', '89 days later it is still rejected');
night(1);
night(1);
is(waits(), 'reduce 40>11', 'after 90 days it is asked for again') or diag(told());
$t->sql('SELECT count(*) FROM spinpanel.approve(' . first_that_waits() . ')');
ok($t->poll(sub { seats() == 11 }, 20), 'and an approval ends the matter') or diag(told());

# below the limit: a rejected one waits all the same, where it goes further
customer(15, [ { offer => 'legacy-SPB', quantity => 40, started_days_ago => 400 } ]);
night();
$t->sql('SELECT count(*) FROM spinpanel.reject(' . first_that_waits() . ')');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', removal_limit_percent => 100, removal_limit_seats => 1000)});
act(unassign => 15);
night(1);
night(1);
is(waits(), 'reduce 40>14', 'no limit any more: what goes further than what was rejected still waits') or diag(told());
done_testing();
