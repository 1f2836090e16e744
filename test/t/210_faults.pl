# A night in bad weather: every kind of call of a night fails in every way, for customers of every kind, all in one night;
# the ledger must show each removal exactly once, as in good weather, and nobody below what is needed at any time.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;
use Time::HiRes qw(time);

my $spb = 'CFQ7TTC0LCHC:0002';

# What a night does to each kind of customer, in good weather
my %kind_of_customer = (
	legacy => {
		part => 'SPB', holders => 10, seats => 15, left => 10, changes => { lower => 1 },
		subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ] },
	merge => {
		part => 'O365_BUSINESS_PREMIUM', holders => 7, seats => 10, left => 7, changes => { raise => 1, lower => 1, suspend => 1 },
		subscriptions => [ map { { offer => 'legacy-O365_BUSINESS_PREMIUM', quantity => $_->[0], started_days_ago => $_->[1] } } [ 6, 700 ], [ 4, 500 ] ] },
	window => {
		part => 'SPB', holders => 20, seats => 25, left => 20, changes => { lower => 1 },
		subscriptions => [ { product => $spb, quantity => 25, ends_in_days => 120, batches => [ { quantity => 20, hours_left => -5000 }, { quantity => 5, hours_left => 90 } ] } ] });

my @any = (
	[ 'busy' => { action => 'status', status => 429, retry_after => 1 }, 1 ],
	[ 'error 500' => { action => 'status', status => 500 }, 2 ],
	[ 'error 503' => { action => 'status', status => 503 }, 2 ],
	[ 'error 503 with a time' => { action => 'status', status => 503, retry_after => 1 }, 1 ],
	[ 'broken off before' => { action => 'reset_before' }, 4 ],
	[ 'broken off after' => { action => 'reset_after' }, 4 ],
	[ 'cut' => { action => 'truncate' }, 2 ],
	[ 'cut, and whole for HTTP' => { action => 'truncate', clean => JSON::PP::true }, 2 ],
	[ 'garbage' => { action => 'garbage' }, 2 ],
	[ 'a web page' => { action => 'html' }, 2 ],
	[ 'no body' => { action => 'empty' }, 2 ],
	[ 'no answer' => { action => 'hang', when => 'before' }, 2 ]);
my @of_changes = (
	[ 'no answer, but done' => { action => 'hang', when => 'after' }, 2 ],
	[ 'error 500, but done' => { action => 'status', status => 500, when => 'after' }, 2 ],
	[ 'error 503, but done' => { action => 'status', status => 503, when => 'after' }, 2 ],
	[ 'accepted' => { action => 'accepted_202', seconds => 1 }, 2 ],
	[ 'conflict' => { action => 'status', status => 409, code => 900278, description => 'A renewal is under way.' }, 2 ],
	[ 'stale ETag' => { action => 'stale_etag' }, 2 ],
	[ 'late' => { action => 'delay', ms => 300, when => 'after' }, 2 ]);

sub scenario
{
	my ($cases, %options) = @_;
	return {
		options => { requests_per_minute => 0, %options },
		customers => [
			map {
				my $what = $kind_of_customer{ $_->{customer} };
				{ name => $_->{name}, domain => $_->{domain}, subscriptions => $what->{subscriptions}, user_count => $what->{holders}, assigned => { $what->{part} => $what->{holders} } }
			} @$cases ] };
}

my $number = 0;
sub case_of
{
	my ($kind, $fault, $customer) = @_;
	$number++;
	my ($title, $rule, $count) = $fault ? @$fault : ('good weather', undef, 0);
	return { name => sprintf('Case %03d', $number), domain => sprintf('case%03d.example', $number), customer => $customer, kind => $kind, rule => $rule, count => $count,
		title => $kind ? "$customer, $kind: $title" : "$customer, $title" };
}

my @cases = map { case_of(undef, undef, $_) } sort keys %kind_of_customer;
for my $kind (qw(subscriptions subscribedskus subscription audit patch_subscription))
{
	for my $fault (@any, $kind eq 'patch_subscription' ? @of_changes : ())
	{
		# Retry-After makes everybody wait: once for each kind of call is enough
		push @cases, case_of($kind, $fault, $_) for grep { !exists $fault->[1]{retry_after} || $_ eq 'legacy' } sort keys %kind_of_customer;
	}
}

my $t = SpinpanelTest->start(
	scenario => scenario(\@cases),
	conf => {
		'spinpanel.request_timeout' => '400ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms',
		'spinpanel.settle_time' => '1s', 'spinpanel.customers_at_once' => 200 });

sub prepare
{
	my ($cases) = @_;
	is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
	my %id = map { $_->{name} => $_->{id} } @{ $t->state()->{customers} };
	for my $case (@$cases)
	{
		next unless $case->{rule};
		my $id = $id{ $case->{name} };
		# The customer of an audit request is in its filter
		$t->fault({ %{ $case->{rule} }, count => $case->{count}, match => { kind => $case->{kind}, $case->{kind} eq 'audit' ? (path => $id) : (customer => $id) } });
	}
	return;
}

# All that was begun is over, and was looked at once more
sub quiet
{
	return $t->wait_for(q{SELECT (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')) + (SELECT count(*) FROM spinpanel.obligation WHERE kind IN ('removed', 'raised'))}, '0', 60);
}

# What is wrong with each customer, by the ledger and the state of Partner Center
sub judge
{
	my ($cases) = @_;
	my %state = map { $_->{name} => $_ } @{ $t->state()->{customers} };
	my %entries;
	push @{ $entries{ $_->{customer} } }, $_ for $t->ledger(action => [qw(raise lower suspend reactivate cancel new schedule auto_renew reset_by_omission)]);
	my @wrong;
	for my $case (@$cases)
	{
		my $what = $kind_of_customer{ $case->{customer} };
		my $customer = $state{ $case->{name} };
		my @now = @{ $customer->{subscriptions} };
		my (%count, @of_this);
		my $seats = 0;
		$seats += $_->{quantity} for grep { $_->{status} eq 'active' } @now;
		push @of_this, "$seats seats instead of $what->{left}" if $seats != $what->{left};

		# Backwards through time: how many seats were there at each moment?
		my $then = $seats;
		for my $entry (reverse @{ $entries{ $customer->{id} } // [] })
		{
			$count{ $entry->{action} }++;
			push @of_this, "$then seats after $entry->{action}" if $then < $what->{holders};
			my ($after, $before) = map { ($_->{status} // 'active') eq 'active' ? $_->{quantity} : 0 } $entry->{after}, $entry->{before};
			$then -= $after - $before;
		}
		push @of_this, "there were $then seats at the beginning" if $then != $what->{seats};
		my ($is, $ought) = map { my $h = $_; join ', ', map { "$_ x $h->{$_}" } sort keys %$h } \%count, $what->{changes};
		push @of_this, "changes: $is; instead of: $ought" if $is ne $ought;
		push @wrong, "$case->{name}, $case->{title}: " . join('; ', @of_this) if @of_this;
	}
	return @wrong;
}

sub explain_wrong
{
	my (@wrong) = @_;
	for my $line (@wrong[ 0 .. ($#wrong > 2 ? 2 : $#wrong) ])
	{
		my ($name) = $line =~ /^(Case \d+)/ or next;
		diag("$name: " . $t->sql(qq{SELECT string_agg(concat_ws(' ', to_char(at, 'SS.MS'), event, operation_id, left(subscription_id::text, 8), before ->> 'quantity', after, reason), E'\n' ORDER BY history_id)
			FROM spinpanel.history JOIN spinpanel.customer USING (customer_id) WHERE name = '$name'}));
	}
	return;
}

sub hit
{
	my ($title) = @_;
	my @missed = grep { !$_->{fired} } @{ $t->emulator('GET', 'faults') };
	is(scalar @missed, 0, $title) or diag(explain(\@missed));
	return;
}

# --- a whole night of it
prepare(\@cases);
my $began = time;
my $night = $t->run_and_wait('nightly', undef, seconds => 120);
is("$night->{status}, $night->{customers} customers, $night->{customers_failed} failed", sprintf('done, %d customers, 0 failed', scalar @cases),
	sprintf('a night in which %d customers have bad weather is done (%.1f s)', scalar @cases, time - $began)) or diag($night->{error});
ok(quiet(), 'nothing is left open');
hit('every fault was met');
my @wrong = judge(\@cases);
is(join("\n", @wrong), '', 'each removal once, as in good weather, and nobody below the floor at any time') or explain_wrong(@wrong);
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'no pool is overdrawn');
is($t->sql(q{SELECT string_agg(DISTINCT status || ' ' || coalesce(error, ''), '; ') FROM spinpanel.operation WHERE status NOT IN ('done', 'cancelled')}), '', 'no operation failed');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats are being bought back'}), '0', 'nothing had to be bought back');
my $seats = 0;
$seats += $kind_of_customer{ $_->{customer} }{seats} - $kind_of_customer{ $_->{customer} }{left} for @cases;
is($t->sql("SELECT seats_removed FROM spinpanel.run WHERE run_id = $night->{run_id}"), $seats, 'the run counts each seat once');

# --- a Partner Center that forgets MS-RequestId at once
my @changes = grep { ($_->{kind} // '') eq 'patch_subscription' } @cases;
sub afresh
{
	my ($scenario) = @_;
	$t->clear_faults;
	$t->load($scenario);
	$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
	$t->connect_account;
	return;
}
afresh(scenario(\@changes, request_id_memory_seconds => 0));
prepare(\@changes);
is($t->run_and_wait('nightly', undef, seconds => 120)->{status}, 'done', 'where MS-RequestId is not honoured, the night is done');
ok(quiet(), '... nothing is left open');
hit('... every fault was met');
@wrong = judge(\@changes);
is(join("\n", @wrong), '', '... each removal once, and nobody below the floor') or explain_wrong(@wrong);

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
