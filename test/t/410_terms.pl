# New Commerce as it is carried out: schedules for the next term, ends with their explicit cancel, windows, and what
# people do in between.  Judged from Partner Center's books.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer());
$t->advance(seconds => 1);

my $spb = 'CFQ7TTC0LCHC:0002';

# A world with this customer; the switch on; read once, so that what is unused then is past its cool-down
sub world
{
	my ($customer, %options) = @_;
	$t->load(one_customer(%$customer), { requests_per_minute => 0, %{ $options{options} // {} } });
	$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account;
	is($t->run_and_wait('sync')->{status}, 'done', $options{name}) or BAIL_OUT('no first reading');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true)});
	return;
}

sub night
{
	my $run = $t->run_and_wait('adjust', 'Contoso');
	is($run->{status}, 'done', 'a night');
	$t->poll(sub { $t->sql("SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before < spinpanel._now() + interval '2 s'") eq '0' });
	return $run;
}

sub reasons { return $t->sql("SELECT string_agg(action || ' ' || status || ': ' || reason, E'\\n' ORDER BY adjustment_id) FROM spinpanel.adjustment") }

# --- a schedule, kept until the renewal, and taken there
world({ subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5 } ] }, name => 'fourteen seats for ten, renewal in five days');
night();
is($t->subscription('Contoso', 'SPB')->{scheduled_next}{quantity}, 10, 'the next term has ten seats');
is($t->seats('Contoso', 'SPB'), 14, 'this one still fourteen');
like(reasons(), qr/14 owned, 10 assigned: 4 unused/, 'and the reason is in words and numbers');
my $updates = $t->subscription('Contoso', 'SPB')->{updates};
$t->advance(days => 1);
night();
is($t->subscription('Contoso', 'SPB')->{updates}, $updates, 'the next night has nothing to add');

# two more people: the schedule follows
$t->act({ customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' }) for 11, 12;
night();
is($t->subscription('Contoso', 'SPB')->{scheduled_next}{quantity}, 12, 'two more people: the schedule follows');

# a technician raises, which wipes it
$t->act({ customer => 'Contoso', do => 'raise', sku => 'SPB', seats => 1 });
is($t->subscription('Contoso', 'SPB')->{scheduled_next}, undef, 'a technician raises, which wipes the schedule');
$t->advance(days => 2);
night();
is($t->subscription('Contoso', 'SPB')->{scheduled_next}{quantity}, 12, 'planned afresh') or diag(reasons());
$t->advance(days => 3);
is($t->seats('Contoso', 'SPB'), 12, 'after the renewal there are twelve');
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'nobody has lost a seat');

# --- wholly surplus: ended with the explicit cancel
my @two = ({ product => $spb, quantity => 10, ends_in_days => 200 }, { product => $spb, quantity => 3, ends_in_days => 6 });
world({ subscriptions => [@two] }, name => 'three seats too many, in a subscription of their own');
night();
my ($end) = grep { $_->{quantity} == 3 } @{ $t->state('Contoso')->{subscriptions} };
ok(!$end->{auto_renew}, 'it will not renew');
is($end->{scheduled_actions}[0]{actionType}, 'Cancel', 'and it is cancelled explicitly');

# ... taken back when people come
$t->act({ customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' }) for 11, 12;
night();
($end) = grep { $_->{id} eq $end->{id} } @{ $t->state('Contoso')->{subscriptions} };
ok($end->{auto_renew}, 'two people come: it renews again') or diag(reasons());
is($end->{scheduled_next}{quantity}, 2, 'with two seats');
$t->advance(days => 8);
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'nobody has lost a seat');
is($t->seats('Contoso', 'SPB'), 12, 'twelve seats after the renewal');

# --- ... and where Partner Center does not keep the cancel, it had better renew
world({ subscriptions => [@two] }, options => { scheduled_actions => 'dropped' }, name => 'an explicit cancel that is not kept');
night();
($end) = grep { $_->{quantity} == 3 } @{ $t->state('Contoso')->{subscriptions} };
ok($t->poll(sub { my ($s) = grep { $_->{id} eq $end->{id} } @{ $t->state('Contoso')->{subscriptions} }; $s->{auto_renew} }), 'auto-renew is on again');
like($t->sql("SELECT string_agg(error, ' ') FROM spinpanel.adjustment WHERE action = 'end_at_term' AND status = 'failed'"), qr/explicit cancel/,
	'and it is said why');

# --- inside the window: cancelled whole where that is possible, with a person's leave where nobody was seen using it
world({ subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200 }, { product => $spb, quantity => 4, term => 'P1Y', cycle => 'monthly', started_days_ago => 3 } ] },
	name => 'four seats bought three days ago, not used');
night();
my ($cancelled) = grep { $_->{status} eq 'deleted' } @{ $t->state('Contoso')->{subscriptions} };
ok($cancelled, 'cancelled inside the window') or diag(reasons());
is($t->seats('Contoso', 'SPB'), 10, 'ten are left');
my ($entry) = $t->ledger(customer => 'Contoso', action => ['cancel']);
cmp_ok($entry->{amount}, '<', 0, sprintf 'and money comes back (%.2f)', $entry->{amount});

# --- a person's decisions stand and are told
world({ subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5, ends => JSON::PP::true } ] }, name => 'a person lets it end in five days');
my $before = $t->counts->{mutating};
night();
is($t->counts->{mutating}, $before, 'nothing is sent');
like(reasons(), qr/none \w+: .*\b10\b/, 'a row says what will be missing');
world({ subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5, next => 8 } ] }, name => 'a person scheduled eight, ten are used');
$before = $t->counts->{mutating};
night();
is($t->counts->{mutating}, $before, 'nothing is sent');
like(reasons(), qr/\b2\b/, 'a row says by how many that is too few');

# --- a subscription that a person left to run into extended terms is reported
world({ subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 3, auto_renew => JSON::PP::false } ] }, name => 'auto-renew off without a cancel');
night();
$t->advance(days => 5);
is(scalar($t->ledger(customer => 'Contoso', action => ['extended_term'])), 1, 'it runs on in extended terms');
night();
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'nobody has lost a seat');

# --- renewal under way: 409, tried again, not hammered
world({ subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 1, term => 'P1M' } ] }, options => { renewal_hours => 5 }, name => 'a renewal that takes five hours');
$t->advance_to($t->sql("SELECT to_char(term_end + interval '1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM spinpanel.subscription"));
$before = $t->counts->{mutating};
night();
cmp_ok($t->counts->{mutating} - $before, '<=', 2, 'during it hardly anything is sent');
$t->advance(hours => 6);
$t->run_and_wait('sync', 'Contoso');
$t->advance(hours => 26);
night();
$t->poll(sub { $t->seats('Contoso', 'SPB') == 10 });
is($t->seats('Contoso', 'SPB'), 10, 'afterwards the window of the renewal is used') or diag(reasons());

done_testing();
