# kill -9 of the worker and of the whole server in the middle of a night: it goes on where it was, and the ledger shows each
# change exactly once, as if nothing had happened.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';

# Three kinds of customers: seats unused under legacy commerce, duplicates to be merged, seats that can be given back
my @kinds = (
	{ part => 'SPB', holders => 10, seats => 15, left => 10, changes => 'lower',
		subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ] },
	{ part => 'O365_BUSINESS_PREMIUM', holders => 7, seats => 10, left => 7, changes => 'raise lower suspend',
		subscriptions => [ map { { offer => 'legacy-O365_BUSINESS_PREMIUM', quantity => $_->[0], started_days_ago => $_->[1] } } [ 6, 700 ], [ 4, 500 ] ] },
	{ part => 'SPB', holders => 20, seats => 25, left => 20, changes => 'lower',
		subscriptions => [ { product => $spb, quantity => 25, ends_in_days => 120, batches => [ { quantity => 20, hours_left => -5000 }, { quantity => 5, hours_left => 90 } ] } ] });
my $customers = 12;
my @names = map { sprintf 'Case %02d', $_ } 1 .. $customers;
my %kind_of = map { $names[$_] => $kinds[ $_ % @kinds ] } 0 .. $#names;

my $scenario = {
	options => { requests_per_minute => 0 },
	customers => [ map { my $kind = $kind_of{$_}; (my $domain = lc "$_.example") =~ s/ //g;
			{ name => $_, domain => $domain, subscriptions => $kind->{subscriptions}, user_count => $kind->{holders}, assigned => { $kind->{part} => $kind->{holders} } } } @names ] };

my $t = SpinpanelTest->start(
	scenario => $scenario,
	conf => {
		'spinpanel.request_timeout' => '20s', 'spinpanel.retry_max_delay' => '100ms', 'spinpanel.poll_interval' => '100ms', 'spinpanel.settle_time' => '1s',
		'spinpanel.customers_at_once' => 1, fsync => 'on', restart_after_crash => 'on' });

sub afresh
{
	$t->clear_faults;
	$t->load($scenario);
	$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
	$t->connect_account;
	$t->run_and_wait('sync')->{status} eq 'done' or return fail('the first reading');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
	return;
}

sub quiet { return $t->wait_for(q{SELECT (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')) + (SELECT count(*) FROM spinpanel.obligation WHERE kind IN ('removed', 'raised'))}, '0', 60) }

# What the ledger says against what a night does when nothing happens
sub once
{
	my ($title) = @_;
	my %state = map { $_->{name} => $_ } @{ $t->state()->{customers} };
	my @wrong;
	for my $name (@names)
	{
		my $kind = $kind_of{$name};
		my @subscriptions = @{ $state{$name}{subscriptions} };
		my $seats = 0;
		$seats += $_->{quantity} for grep { $_->{status} eq 'active' } @subscriptions;
		push @wrong, "$name: $seats seats instead of $kind->{left}" if $seats != $kind->{left};
		my $changes = join ' ', map { $_->{action} } $t->ledger(customer => $name, action => [qw(raise lower suspend reactivate cancel new auto_renew)]);
		push @wrong, "$name: $changes instead of $kind->{changes}" if $changes ne $kind->{changes};
	}
	push @wrong, 'a pool is overdrawn' if @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} };
	push @wrong, 'bought back' if $t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats are being bought back'}) ne '0';
	push @wrong, $t->sql(q{SELECT string_agg(status || ' ' || coalesce(error, ''), '; ') FROM spinpanel.operation WHERE status NOT IN ('done', 'cancelled')});
	is(join("\n", grep { length } @wrong), '', $title)
	  or diag($t->sql(q{SELECT string_agg(concat_ws(' ', name, event, operation_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history JOIN spinpanel.customer USING (customer_id)}));
	return;
}

# The two ways to die
my %death = (
	'worker' => sub { $t->kill9 },
	'server' => sub { $t->node->stop('immediate'); $t->node->start; 1 });

# --- without a crash, for comparison
afresh();
is($t->run_and_wait('nightly', undef, seconds => 60)->{status}, 'done', 'a night without a crash');
quiet();
once('... does what it is expected to do');

# --- while a request of each kind hangs: before it was carried out, or after
for my $point (
	[ 'a customer is read', 'subscriptions', 'before', 7 ],
	[ 'what a subscription is is read, before its change', 'subscription', 'before', 3 ],
	[ 'a change is on its way', 'patch_subscription', 'before', 2 ],
	[ 'the answer to a change is on its way', 'patch_subscription', 'after', 2 ],
	[ 'a change is read back', 'audit', 'before', 3 ])
{
	my ($title, $kind, $when, $nth) = @$point;
	for my $who (sort keys %death)
	{
		afresh();
		my $since = $t->counts->{last_seq};
		my $rule = $t->fault({ action => 'hang', when => $when, match => { kind => $kind }, nth => $nth });
		my $id = $t->sql('SELECT spinpanel.nightly()');
		ok($t->poll(sub { (grep { $_->{id} == $rule } @{ $t->emulator('GET', 'faults') })[0]{fired} }), "$who: $title");
		my $finished = $t->sql("SELECT coalesce(string_agg(name, ',' ORDER BY name), '') FROM spinpanel.customer WHERE NOT EXISTS (SELECT FROM spinpanel.run_customer c WHERE c.customer_id = customer.customer_id)");
		my $left = $t->sql('SELECT count(*) FROM spinpanel.run_customer');
		# What was only read is committed without waiting for the disk: the last half second of it may be read again
		my $lsn = $t->sql('SELECT pg_current_wal_insert_lsn()');
		$t->wait_for("SELECT pg_current_wal_flush_lsn() >= '$lsn'");
		my $before = $t->counts->{last_seq};
		ok($death{$who}->(), "... kill -9 of the $who") or next;
		is($t->run_finished($id)->{status}, 'done', '... the night is done');
		quiet();
		once('... each change took place once');

		# Those that were done with are not begun again; right before a change its customer's subscriptions are read
		my %changing = map { $_ => 1 } split /\n/, $t->sql('SELECT DISTINCT name FROM spinpanel.operation JOIN spinpanel.customer USING (customer_id)');
		my %id = map { $_->{id} => $_->{name} } @{ $t->state()->{customers} };
		my %again = map { $id{ $_->{customer} } => 1 } $t->requests(since => $before, kind => 'subscriptions');
		my @again = grep { $again{$_} && !$changing{$_} } split /,/, $finished;
		is("@again", '', sprintf '... who was finished is not read again (%d were, %d were not)', $customers - $left, $left) if $kind eq 'subscriptions';
		cmp_ok($left, '>', 0, '... it was in the middle of the night') if $kind eq 'subscriptions';
	}
}

# --- again and again, at moments of chance
srand 1;
afresh();
my $id = $t->sql('SELECT spinpanel.nightly()');
my $kills = 0;
for my $round (1 .. 8)
{
	my $more = $t->counts->{total} + 1 + int rand 25;
	last unless $t->poll(sub { $t->counts->{total} >= $more || $t->sql("SELECT status FROM spinpanel.run WHERE run_id = $id") eq 'done' });
	$death{ $round % 3 ? 'worker' : 'server' }->();
	$kills++;
}
is($t->run_finished($id)->{status}, 'done', "$kills crashes at moments of chance: the night is done");
quiet();
once('... each change took place once');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation/, 'nothing crashed by itself');
$t->node->stop;
done_testing();
