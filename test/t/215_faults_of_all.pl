# Bad weather that concerns all customers at once: tokens, the list of customers, what offers provision.  And a customer
# that cannot be read at all, which must not hold the others up.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my @faults = (
	[ 'busy' => { action => 'status', status => 429, retry_after => 1 }, 1 ],
	[ 'error 500' => { action => 'status', status => 500 }, 2 ],
	[ 'broken off before' => { action => 'reset_before' }, 4 ],
	[ 'cut' => { action => 'truncate' }, 2 ],
	[ 'garbage' => { action => 'garbage' }, 2 ],
	[ 'no body' => { action => 'empty' }, 2 ],
	[ 'no answer' => { action => 'hang', when => 'before' }, 2 ]);
my @kinds = qw(token customers);
my @names = map { sprintf 'Case %02d', $_ } 1 .. @kinds * @faults;

sub customer
{
	my ($name, @subscriptions) = @_;
	(my $domain = lc "$name.example") =~ s/ //g;
	@subscriptions = { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } unless @subscriptions;
	return { name => $name, domain => $domain, subscriptions => \@subscriptions, user_count => 10, assigned => { SPB => 10 } };
}
my $window = { product => 'CFQ7TTC0LCHC:0002', quantity => 15, ends_in_days => 120, batches => [ { quantity => 10, hours_left => -5000 }, { quantity => 5, hours_left => 90 } ] };

my $t = SpinpanelTest->start(
	scenario => { customers => [ map { customer($_) } @names ] },
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.request_timeout' => '300ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms', 'spinpanel.settle_time' => '1s' });

sub afresh
{
	my (@customers) = @_;
	$t->clear_faults;
	$t->load({ customers => \@customers }, { requests_per_minute => 0 });
	$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
	$t->connect_account;
	return;
}

sub quiet { return $t->wait_for(q{SELECT (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')) + (SELECT count(*) FROM spinpanel.obligation WHERE kind IN ('removed', 'raised'))}, '0', 60) }

sub met { return !grep { !$_->{fired} } @{ $t->emulator('GET', 'faults') } }

# Lowered to ten seats, once, by us
sub adjusted
{
	my ($name) = @_;
	my @changes = map { "$_->{action} to $_->{after}{quantity} by $_->{actor}" } $t->ledger(customer => $name, action => [qw(raise lower suspend reactivate cancel)]);
	return join('; ', @changes) eq 'lower to 10 by app+user' ? () : ("$name: " . (join('; ', @changes) || 'no change'));
}

# --- tokens and the list of customers.  One customer more is switched on for each case, so that there is something to do
is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
my @left = @names;
for my $kind (@kinds)
{
	my @wrong;
	for my $fault (@faults)
	{
		my ($title, $rule, $count) = @$fault;
		my $name = shift @left;
		$t->sql("SELECT count(*) FROM spinpanel.set_relationship('$name', auto_license_adjustment => true)");
		$t->act({ do => 'revoke_access_tokens' }) if $kind eq 'token';
		$t->fault({ %$rule, match => { kind => $kind }, count => $count });
		my $run = $t->run_and_wait('adjust', undef, seconds => 30);
		push @wrong, "$title: $run->{status} " . ($run->{error} // '') if $run->{status} ne 'done' || $run->{customers_failed};
		quiet() if $title eq 'no answer';
		push @wrong, "$title: not met" unless met();
		$t->clear_faults;
	}
	is(join("\n", @wrong), '', "requests of kind $kind fail in every way: each run is done");
}
is(join("\n", map { adjusted($_) } @names), '', '... each removal took place, once');
is($t->sql('SELECT status FROM spinpanel.account'), 'active', '... and the account was never stopped');

# --- what an offer provisions is asked for once, when it is new: that fails, too
for my $case ([ sku => $window ], [ provisioningstatus => undef ], [ offer => undef ])
{
	my ($kind, $subscription) = @$case;
	for my $fault (grep { $_->[0] =~ m{^(error 500|no answer)$} } @faults)
	{
		my ($title, $rule, $count) = @$fault;
		afresh(customer('Contoso', $subscription ? $subscription : ()));
		$t->fault({ %$rule, match => { kind => $kind }, count => $count });
		$t->run_and_wait('sync');
		$t->sql("SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true)");
		my $run = $t->run_and_wait('nightly', undef, seconds => 30);
		quiet();
		is(join("\n", "$run->{status} $run->{customers_failed}", adjusted('Contoso')), 'done 0', "kind $kind, $title: the night is done, with the removal");
		ok(met(), '... the fault was met');
	}
}

# --- one customer cannot be read at all: it fails, the others do not
afresh(customer('Contoso'), customer('Fabrikam'));
$t->run_and_wait('sync');
$t->sql("SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)");
$t->fault({ action => 'status', status => 500, match => { kind => 'subscriptions', customer => $t->state('Contoso')->{id} } });
my $night = $t->run_and_wait('nightly', undef, seconds => 60);
is("$night->{status} $night->{customers} $night->{customers_failed}", 'done 2 1', 'a customer that cannot be read fails, the night is done');
quiet();
is($t->seats('Contoso', 'SPB'), 15, '... nothing is removed there');
is($t->seats('Fabrikam', 'SPB'), 10, '... the other one is adjusted');
like($t->sql(q{SELECT error FROM spinpanel.run_customer WHERE failed}), qr/800003|500|unexpected/i, '... the reason is kept');

# --- one subscription cannot be read before it is changed: the night does not stay open for that
afresh(customer('Contoso'), customer('Fabrikam'));
$t->run_and_wait('sync');
$t->sql("SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)");
$t->fault({ action => 'status', status => 500, match => { kind => 'subscription', customer => $t->state('Contoso')->{id} } });
my $id = $t->sql('SELECT spinpanel.nightly()');
ok($t->poll(sub { $t->seats('Fabrikam', 'SPB') == 10 }), 'a subscription that cannot be read does not hold others up');
ok($t->poll(sub { $t->requests(kind => 'subscription') >= 4 }), '... it is tried again');
is($t->sql("SELECT status FROM spinpanel.run WHERE run_id = $id"), 'running', '... meanwhile the night goes on');
$t->advance(minutes => 16);
is($t->run_finished($id)->{status}, 'done', '... but not for ever');
$t->clear_faults;
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 10 }), '... and what was decided is done when it can be');
quiet();
is(join("\n", map { adjusted($_) } qw(Contoso Fabrikam)), '', '... once');

# --- no list of customers at all: those known from before are worked on
afresh(customer('Contoso'));
$t->run_and_wait('sync');
$t->sql("SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)");
$t->fault({ action => 'status', status => 500, match => { kind => 'customers' } });
$night = $t->run_and_wait('nightly', undef, seconds => 60);
is($night->{status}, 'done', 'a list that cannot be read for a whole night: customers known from before have theirs');
quiet();
is(join("\n", adjusted('Contoso')), '', '... with the removal');
like($night->{error}, qr/customers could not be listed/, '... and the run says so');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
