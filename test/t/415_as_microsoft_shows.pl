# What Partner Center shows in more than one way: custom ends, announced renewals, extended terms of both shapes, windows that
# are over.  Each shape is understood, and changes nothing about what is right.
use strict;
use warnings;

use JSON::PP ();
use SpinpanelTest qw(one_customer);
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $t = SpinpanelTest->start(scenario => one_customer(), conf => { 'spinpanel.poll_interval' => '200ms' });

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub customer
{
	my (%with) = @_;
	my $options = delete $with{options};
	$t->fresh(one_customer(user_count => 16, %with), $options);
	return $t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
}
sub quiet { return $t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before < spinpanel._now() + interval '2 s'}) eq '0' }, 30) }
sub night { $t->advance(days => 1) if $_[0]; my $run = $t->run_and_wait('nightly', undef, seconds => 60); quiet(); return $run }
sub scheduled { my $s = $t->subscription('Contoso', 'SPB')->{scheduled_next}; return $s ? $s->{quantity} : 'none' }
sub overdrawn { return join ', ', map { "$_->{active} active, $_->{consumed} holders" } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} } }
sub told { return diag($t->sql(q{SELECT string_agg(concat_ws(' ', action, from_quantity || '>' || to_quantity, status, reason, '[' || error || ']'), E'\n' ORDER BY adjustment_id) FROM spinpanel.adjustment})) }
sub at { my ($before) = @_; return $t->advance_to($t->sql(qq{SELECT to_char(term_end - interval '$before', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM spinpanel.subscription})) }
sub custom_end
{
	my ($value) = @_;
	$t->fault({ match => { kind => 'subscriptions' }, action => 'override', set => { customTermEndDate => $value } });
	return $t->fault({ match => { kind => 'subscription' }, action => 'override', member => { customTermEndDate => $value } });
}

# --- customTermEndDate beside the end of the commitment
my %bought = (product => $spb, quantity => 14, started_days_ago => 3, term => 'P1Y', cycle => 'monthly');
customer(subscriptions => [ {%bought} ]);
custom_end($t->sql(q{SELECT to_char(effective_start, 'YYYY-MM-DD"T"HH24:MI:SS') FROM spinpanel.subscription}));
night(1) for 1 .. 2;
is($t->seats('Contoso', 'SPB'), 10, 'a custom end that is past blocks nothing: the window is used') or told();

customer(subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5 } ]);
custom_end($t->sql(q{SELECT to_char(commitment_end, 'YYYY-MM-DD"T"HH24:MI:SS') FROM spinpanel.subscription}));
night();
is(scheduled(), 10, 'one that names the last day: ten are scheduled');
at('8 hours');
$t->act({ customer => 'Contoso', do => 'assign', user => upn($_), sku => 'SPB' }) for 11, 12;
at('4 hours');
night();
is(scheduled(), 12, '... and the last night sees who came') or told();

# --- actions that say what happens anyway
customer(subscriptions => [ {%bought} ], options => { scheduled_actions => 'announced' });
night(1) for 1 .. 2;
is($t->seats('Contoso', 'SPB'), 10, 'a renewal that is announced is nobody\'s decision: the window is used') or told();
customer(subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5 } ], options => { scheduled_actions => 'announced' });
night();
is(scheduled(), 10, '... the renewal is used, too') or told();
$t->act({ customer => 'Contoso', do => 'assign', user => upn($_), sku => 'SPB' }) for 11, 12;
night(1);
is(scheduled(), 12, '... and ours follows who comes') or told();
$t->advance(days => 5);
is($t->seats('Contoso', 'SPB') . overdrawn(), 12, '... twelve after it, nobody lacks a seat');
customer(subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 5, next => 9 } ], options => { scheduled_actions => 'announced' });
my $sent = $t->counts->{mutating};
night();
is($t->counts->{mutating} - $sent . scheduled(), '09', '... but one with another quantity is: it stands');

# --- extended terms: the same subscription with another end, or a SKU of its own that renews from month to month
for my $shape ('same', 'separate')
{
	customer(subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 3, auto_renew => JSON::PP::false } ], options => { extended_terms_shape => $shape });
	$t->advance(days => 4);
	$t->run_and_wait('sync', 'Contoso');
	my $pool = $t->row(q{SELECT owned_seats, excess_seats, reducible_now FROM spinpanel.excess_seats('Contoso') WHERE part_number = 'SPB'});
	is("$pool->{owned_seats} $pool->{excess_seats} $pool->{reducible_now}", '14 4 4', "extended terms ($shape): fourteen are owned, four of them unused") or diag(explain($pool)) or told();
	night();
	is($t->seats('Contoso', 'SPB'), 10, '... which go back while their window is open') or told();
	$t->advance(days => 32);
	night();
	is(overdrawn(), '', '... nobody lacks a seat a month later');
	cmp_ok($t->seats('Contoso', 'SPB'), '>=', 10, '... there are as many as are used');
}

# --- windows that are over and still listed
for my $listed ('listed', 'dropped')
{
	customer(subscriptions => [ { product => $spb, quantity => 14, ends_in_days => 200, batches => [ { quantity => 11, hours_left => -5000 }, { quantity => 3, hours_left => 90 } ] } ], options => { closed_batches => $listed });
	night();
	is($t->seats('Contoso', 'SPB'), 11, "windows that are over are $listed: three go, as the open one allows") or told();
	is($t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'refused'}), '0', '... and nothing is refused');
}

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|was terminated by signal/, 'nothing crashed');
done_testing();
