# Each call that a request needs, in each way it can fail: asked for through SQL, judged by the emulator's ledger.  One
# customer per cell, all side by side.  Whatever happens to the calls, the worker or the server: as many seats are bought
# as lacked, each request ends, nobody holds what was not asked for, and nothing is left open.
#
# Short by default; with --full each kind of kill hits each call, and storms of faults and kills rage by ten seeds.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;
use Time::HiRes qw(sleep);

my $full = $ENV{SPINPANEL_FULL};
my $spb = 'CFQ7TTC0LCHC:0002';
my %names;    # how often a name was given

# What is asked for at a customer of each shape, and what must come of it.  All begin with users h1 to h4, a, b and n; n has no
# usage location.  bought: seats, gross; seats: what is billed at the end; returned: seats given back
my %shapes = (
	# four seats, all taken: a raise, a usage location, three assignments and a removal
	flow => { seats => [4], ask => [ qw(a b n) ], release => ['h1'], done => 4, failed => 0, bought => 2, returned => 0, left => 6, holders => [qw(a b h2 h3 h4 n)] },
	# ten seats of legacy commerce that we suspended
	reactivate => { ask => [qw(a b)], done => 2, failed => 0, bought => 0, returned => 8, left => 2, holders => [qw(a b)] },
	# nothing that can be raised: an order
	order => { ask => [qw(a b)], done => 2, failed => 0, bought => 2, returned => 0, left => 6, holders => [qw(a b h1 h2 h3 h4)] },
	# the user goes while the seat is bought
	gone => { ask => ['a'], done => 0, failed => 1, bought => 1, returned => 1, left => 4, holders => [qw(h1 h2 h3 h4)] },
	# the user goes, and another one, who came later, waits
	passed => { ask => ['a'], later => ['b'], done => 1, failed => 1, bought => 2, returned => 1, fewer => 1, left => 5, holders => [qw(b h1 h2 h3 h4)] },
	# one of two may not have it
	denied => { ask => [qw(a b)], done => 1, failed => 1, bought => 2, returned => 1, left => 5, holders => [qw(b h1 h2 h3 h4)] },
	# the purchase is refused for good
	refused => { ask => [qw(a b)], done => 0, failed => 2, bought => 0, returned => 0, left => 4, holders => [qw(h1 h2 h3 h4)] });

# The call that is hit: shape of its customer, and the rule's match ("user" = calls for that user)
my %targets = (
	raise => { shape => 'flow', match => { kind => 'patch_subscription' } },
	assignment => { shape => 'flow', match => { kind => 'licenseupdates' }, user => 'a' },
	removal => { shape => 'flow', match => { kind => 'licenseupdates' }, user => 'h1' },
	location => { shape => 'flow', match => { kind => 'patch_user' } },
	reactivation => { shape => 'reactivate', match => { kind => 'patch_subscription' } },
	lowering => { shape => 'reactivate', match => { kind => 'patch_subscription' }, nth => 2 },
	cart => { shape => 'order', match => { kind => 'cart' } },
	checkout => { shape => 'order', match => { kind => 'checkout' } },
	'giving back' => { shape => 'gone', match => { kind => 'patch_subscription' }, nth => 2 });
my @targets = ('raise', 'assignment', 'removal', 'location', 'reactivation', 'lowering', 'cart', 'checkout', 'giving back');

my @faults = (
	[ 'reset before', { action => 'reset_before' } ], [ 'reset after', { action => 'reset_after' } ],
	[ 'hang before', { action => 'hang' } ], [ 'hang after', { action => 'hang', when => 'after' } ],
	[ '500', { action => 'status', status => 500 } ], [ '500 after', { action => 'status', status => 500, when => 'after' } ],
	[ '503', { action => 'status', status => 503 } ], [ '503 after', { action => 'status', status => 503, when => 'after' } ],
	[ '503 with advice after', { action => 'status', status => 503, retry_after => 1, when => 'after' } ],
	[ '429', { action => 'status', status => 429, retry_after => 1 } ], [ '409', { action => 'status', status => 409, code => 800064 } ],
	[ 'truncated', { action => 'truncate' } ], [ 'garbage', { action => 'garbage' } ], [ 'empty', { action => 'empty' } ],
	[ 'late', { action => 'delay', ms => 1500 } ]);
my @faults_of_patch = ([ '202', { action => 'accepted_202', seconds => 1 } ], [ 'stale etag', { action => 'stale_etag' } ]);
my %core = map { $_ => 1 } 'reset before', 'reset after', 'hang before', 'hang after', '500', '500 after', '503 after', 'truncated', 'garbage', '202', 'stale etag', 'late';

# cell(TARGET, FAULT, more => ...): its customer's name tells what it is about
sub cell
{
	my ($target, $fault, %more) = @_;
	my $name = "$target, $fault->[0]";
	my %rule = (count => 2, %{ $fault->[1] });
	# Advice to wait stops the account as a whole: a second each time
	$rule{retry_after} = 0 if $rule{retry_after} && $target !~ /raise|checkout/;
	return { name => $name, target => $target, rule => \%rule, shape => $targets{$target}{shape}, %more };
}

sub faults_of { my ($target) = @_; return (@faults, $targets{$target}{match}{kind} eq 'patch_subscription' ? @faults_of_patch : ()) }

sub customer
{
	my ($cell) = @_;
	(my $domain = lc "$cell->{name}.example") =~ s/[^a-z0-9.]+//g;
	$cell->{domain} = $domain;
	my $legacy = $cell->{shape} eq 'reactivate';
	my $over = $cell->{shape} eq 'order';
	return { name => $cell->{name}, domain => $domain,
		subscriptions => [ $legacy ? { offer => 'legacy-SPB', quantity => 10, started_days_ago => 400, status => 'suspended', suspended_days_ago => 1 }
			: { product => $spb, quantity => 4, ends_in_days => 200, $over ? (auto_renew => JSON::PP::false, ends => JSON::PP::true) : () } ],
		users => [ map { { upn => "$_\@$domain", usage_location => $_ eq 'n' ? undef : 'DE', !$legacy && /^h/ ? (licences => ['SPB']) : () } } qw(h1 h2 h3 h4 a b n) ] };
}

my $t = SpinpanelTest->start(
	scenario => { customers => [] }, account => 0,
	conf => { 'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms', 'spinpanel.settle_time' => '1h' });
my (%customer, %user);

# A world of these cells, read once
sub fresh
{
	my ($title, $cells, %with) = @_;
	note $title;
	$t->clear_faults;
	$t->load({ customers => [ map { customer($_) } @$cells ], seed => $with{seed} // 1 }, { requests_per_minute => 0, %{ $with{options} // {} } });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->set('spinpanel.clock_offset' => $t->{offset} = $t->emulator('GET', 'clock')->{offset_seconds}, 'spinpanel.request_timeout' => $with{timeout} // '700ms');
	$t->connect_account(max_concurrency => 100);
	$t->run_and_wait('sync')->{status} eq 'done' or return fail("$title: the first reading");
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', usage_location => 'DE');
		UPDATE spinpanel.subscription SET our_suspension = true, auto_renew_before = true WHERE commerce = 'legacy'});
	%customer = map { $_->{name} => $_->{customer_id} } $t->rows('SELECT name, customer_id FROM spinpanel.customer');
	%user = map { $_->{upn} => $_->{user_id} } $t->rows('SELECT upn, user_id FROM spinpanel.customer_user');
	my @orders = map { "'$customer{$_->{name}}'" } grep { $_->{shape} eq 'order' } @$cells;
	$t->sql("SELECT count(spinpanel.set_license_rule(c, 'SPB', default_offer => '$spb')) FROM unnest(ARRAY[" . join(', ', @orders) . ']) c') if @orders;
	return 1;
}

# The rules of all cells; their ids
sub set_faults
{
	my (@cells) = @_;
	my @rules;
	for my $cell (@cells)
	{
		my $id = $customer{ $cell->{name} };
		my $target = $cell->{target} && $targets{ $cell->{target} };
		if ($target && $cell->{rule})
		{
			my %match = (%{ $target->{match} }, customer => $id);
			$match{path} = $user{"$target->{user}\@$cell->{domain}"} if $target->{user};
			push @rules, { %{ $cell->{rule} }, match => \%match, $target->{nth} ? (nth => $target->{nth}) : () };
		}
		my %leaves = (action => 'none', count => 1, match => { kind => 'patch_subscription', customer => $id }, then_act => { customer => $cell->{name}, do => 'delete_user', user => "a\@$cell->{domain}" });
		push @rules, \%leaves if $cell->{shape} eq 'gone';
		push @rules, { %leaves, action => 'delay', ms => 300 } if $cell->{shape} eq 'passed';
		push @rules, { action => 'status', status => 400, code => 800002, description => 'ProhibitedInUsageLocationViolation', match => { kind => 'licenseupdates', path => $user{"a\@$cell->{domain}"}, customer => $id } }
		  if $cell->{shape} eq 'denied';
		push @rules, { action => 'status', status => 400, code => 800020, description => 'Not now.', match => { kind => 'patch_subscription', customer => $id } } if $cell->{shape} eq 'refused';
	}
	return @rules ? @{ $t->emulator('POST', 'faults', \@rules)->{ids} } : ();
}

# Everybody asks: each customer in a transaction of its own
sub ask
{
	my ($what, @cells) = @_;
	my $sql = '';
	for my $cell (@cells)
	{
		my $shape = $shapes{ $cell->{shape} };
		my $id = $customer{ $cell->{name} };
		$sql .= "BEGIN;\n";
		$sql .= "SELECT spinpanel.release_license('$id', '$_\@$cell->{domain}', 'SPB');\n" for $what eq 'ask' ? @{ $shape->{release} // [] } : ();
		$sql .= "SELECT spinpanel.assign_license('$id', '$_\@$cell->{domain}', 'SPB');\n" for @{ $shape->{$what} // [] };
		$sql .= "COMMIT;\n";
	}
	$t->sql($sql);
	return;
}

# Nothing is open any more, but what waits for reports and audit records: that ends when settle_time is over.  Then each
# change is looked at again, which must change nothing
my $patience = 120;    # less once something was stuck
my $open = q{SELECT (SELECT count(*) FROM spinpanel.license_request WHERE finished_at IS NULL)
	+ (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown'))};
my $now = 'clock_timestamp() + interval \'%d seconds\'';
my $waits = q{(o.purpose = 'give_back' AND o.error ~ 'unused' OR o.status = 'unknown' AND o.error ~ 'audit records do not show ours yet|it may still arrive')};
sub settled
{
	my ($title) = @_;
	# What is open for another reason
	my $stuck = qq{SELECT string_agg(concat_ws(' ', c.name, what), E'\n') FROM (
		SELECT customer_id, concat_ws(' ', kind, purpose, status, error) FROM spinpanel.operation p WHERE status IN ('queued', 'sending', 'unknown')
		AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = p.customer_id AND $waits AND (o.operation_id = p.operation_id OR o.status = 'unknown'))
		UNION ALL SELECT customer_id, concat_ws(' ', upn, status, error) FROM spinpanel.license_request q WHERE finished_at IS NULL
		AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = q.customer_id AND o.status = 'unknown' AND $waits)) x (customer_id, what)
		JOIN spinpanel.customer c USING (customer_id)
		-- a copy of an older change that comes late, and undoes a newer one, is noticed when settle_time is over
		WHERE c.name NOT LIKE '%, late'};
	my $good = $t->wait_for($stuck, '', $patience);
	$patience = 20 unless $good;
	for (1 .. 3)
	{
		last if $t->sql("SELECT ($open) = 0 AND NOT EXISTS (SELECT FROM spinpanel.obligation WHERE kind IN ('removed', 'raised'))") eq 't';
		$t->advance(minutes => 62);
		$good = 0 unless $t->wait_for('SELECT count(*) FROM spinpanel.obligation WHERE look_at < ' . sprintf($now, $t->{offset}), '0', $good ? 20 : 1);
		$t->poll(sub { $t->sql($open) eq '0' }, $good ? 6 : 1);
	}
	return ok($t->wait_for($open, '0', $good ? 10 : 1) && $good, "$title: everything ends")
	  || diag($t->sql($stuck), "\n", $t->sql(q{SELECT string_agg(concat_ws(' ', name, o), E'\n') FROM spinpanel.obligation o JOIN spinpanel.customer USING (customer_id)}));
}

# What is wrong with a customer, by ledger and state first, then by what we say ourselves
sub wrong
{
	my ($cell, $all) = @_;
	my $id = $customer{ $cell->{name} };
	my $shape = $shapes{ $cell->{shape} };
	my $state = $all->{state}{$id};
	my (@wrong, %count, %given, %ended);
	my ($bought, $returned, $others) = (0, 0, 0);
	for my $entry (@{ $all->{ledger}{$id} // [] })
	{
		my $ours = $entry->{actor} =~ /^app/;
		my $by = $entry->{action} eq 'new' ? $entry->{after}{quantity} : $entry->{action} =~ /^(?:raise|lower)$/ ? $entry->{after}{quantity} - $entry->{before}{quantity} : 0;
		$others += $by unless $ours;
		next unless $ours;
		$count{ $entry->{action} }++;
		$bought += $by if $by > 0;
		$returned -= $by if $by < 0;
		push @wrong, "$entry->{action} twice: $entry->{user}" if $entry->{action} =~ /assign/ && $given{"$entry->{action} $entry->{user}"}++;
	}

	# Seats.  Where others add some at the same moment, theirs may serve, and ours may be bought back; the same where an old
	# change arrives after a newer one: net, then
	my $net = $shape->{bought} - $shape->{returned};
	if ($cell->{late})
	{
		push @wrong, "$bought seats bought, $returned returned" if $bought - $returned != $net;
	}
	elsif ($others)
	{
		push @wrong, "$bought seats bought, $returned returned, where $shape->{bought} lacked" if $bought - $returned > $net || ($net > 0 && $bought - $returned < 0);
	}
	else
	{
		push @wrong, "$bought seats bought, not $shape->{bought}" if $bought != $shape->{bought} && !$shape->{fewer} || $bought > $shape->{bought};
		push @wrong, "$returned seats returned, not $shape->{returned}" if $bought - $returned != $net;
	}
	push @wrong, ($count{reactivate} // 0) . ' reactivations' if ($count{reactivate} // 0) != ($cell->{shape} eq 'reactivate' ? 1 : 0);
	push @wrong, ($count{new} // 0) . ' orders' if ($count{new} // 0) != ($cell->{shape} eq 'order' ? 1 : 0);
	push @wrong, "unexpected: $_" for grep { $count{$_} } qw(reset_by_omission suspend cancel auto_renew schedule create_user delete_user);
	my $seats = 0;
	$seats += $_->{quantity} for grep { $_->{status} eq 'active' } @{ $state->{subscriptions} };
	my $left = $shape->{left} - $net + $bought - $returned + $others;
	push @wrong, "$seats seats at the end, not $left" if $seats != $left;

	# Holders
	my $holders = join ' ', sort map { $_->{upn} =~ /^([^@]+)/ } grep { @{ $_->{licences} } } @{ $state->{users} };
	push @wrong, "holders: $holders" if $holders ne join ' ', @{ $shape->{holders} };

	# Requests: ended as they must, and each seat that a failed one had is accounted for
	for my $request (@{ $all->{requests}{$id} // [] })
	{
		$ended{ $request->{status} }++;
		push @wrong, "request $request->{request_id} is $request->{status}" if $request->{status} !~ /^(?:done|failed|cancelled)$/;
		push @wrong, "request $request->{request_id} failed without a reason" if $request->{status} eq 'failed' && !$request->{error};
		my $events = $all->{events}{ $request->{request_id} } // '';
		push @wrong, "the seat of request $request->{request_id} is not accounted for" if $request->{status} =~ /failed|cancelled/ && $events =~ /request provisioning/ && $events !~ /seat (?:passed on|given back|in stock|lost)/;
	}
	my $is = join ' ', map { "$ended{$_} $_" } sort keys %ended;
	my $expected = join ' ', grep { !/^0/ } "$shape->{done} done", "$shape->{failed} failed";
	push @wrong, "requests: $is" if $is ne $expected;
	push @wrong, map { "$_->{kind} $_->{status} " . ($_->{error} // '') } grep { $_->{status} !~ /^(?:done|cancelled)$/ && !($cell->{shape} =~ /gone|passed|denied|refused/ && $_->{status} eq 'refused')
		&& !($_->{status} eq 'refused' && ($_->{error_code} // '') eq '60012') } @{ $all->{operations}{$id} // [] };
	return join '; ', @wrong;
}

sub all_right
{
	my ($title, @cells) = @_;
	my (%all, @bad);
	push @{ $all{ledger}{ $_->{customer} } }, $_ for grep { $_->{customer} } $t->ledger;
	$all{state}{ $_->{id} } = $_ for @{ $t->state(undef, users => 1)->{customers} };
	push @{ $all{requests}{ $_->{customer_id} } }, $_ for $t->rows('SELECT customer_id, request_id, status, error FROM spinpanel.license_request ORDER BY request_id');
	push @{ $all{operations}{ $_->{customer_id} } }, $_ for $t->rows('SELECT customer_id, kind, status, error_code, error FROM spinpanel.operation');
	$all{events}{ $_->{request_id} } = $_->{events} for $t->rows(q{SELECT request_id, string_agg(event || coalesce(': ' || reason, ''), E'\n') events FROM spinpanel.history WHERE request_id IS NOT NULL GROUP BY 1});
	for my $cell (@cells)
	{
		next if is(my $wrong = wrong($cell, \%all), '', "$title: $cell->{name}");
		diag($t->sql("SELECT string_agg(concat_ws(' ', to_char(at, 'SS.MS'), event, request_id, operation_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE customer_id = '$customer{$cell->{name}}'"));
		diag(join "\n", map { "$_->{seq} $_->{actor} $_->{action} " . ($_->{before}{quantity} // '') . ' ' . ($_->{after}{quantity} // '') . ' ' . ($_->{user} // '') } @{ $all{ledger}{ $customer{ $cell->{name} } } // [] });
	}
	is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], "$title: no pool is overdrawn");
	return;
}

# One world from begin to end
sub play
{
	my ($title, $cells, %with) = @_;
	fresh($title, $cells, %with) or return;
	set_faults(@$cells);
	ask('ask', @$cells);
	my @passed = grep { $_->{shape} eq 'passed' } @$cells;
	if (@passed)
	{
		# The second one comes while the first one's seat is on its way
		$t->wait_for(q{SELECT count(*) FROM spinpanel.operation o JOIN spinpanel.customer c USING (customer_id) WHERE c.name ~ '^passed' AND o.status <> 'queued'}, scalar(@passed), 20);
		ask('later', @passed);
	}
	settled($title);
	all_right($title, @$cells);
	return;
}

my @good = map { { name => "$_ in good weather", shape => $_ } } qw(flow reactivate order gone passed denied refused);

# --- each call x each fault
my @matrix = map { my $target = $_; map { cell($target, $_) } faults_of($target) } @targets;
play('matrix', [ @good, @matrix ]);

# --- the same, where MS-RequestId is forgotten at once
my @core = map { my $target = $_; map { cell($target, $_) } grep { $full || $core{ $_->[0] } } faults_of($target) } @targets;
$_->{late} = 1 for grep { $_->{name} =~ /late/ } @core;
play('forgetful', \@core, options => { request_id_memory_seconds => 0 });

# --- a technician raises the subscription in the middle: before our change arrives, after it was made
my @technician;
for my $target ('raise', 'giving back', 'assignment')
{
	for my $fault ([ 'no fault', { action => 'none' } ], grep { $core{ $_->[0] } } faults_of($target))
	{
		for my $act (qw(before_act then_act))
		{
			my $cell = cell($target, [ "technician, $act, $fault->[0]", $fault->[1] ]);
			$cell->{rule}{count} = 1;
			$cell->{rule}{$act} = { customer => $cell->{name}, do => 'raise', sku => 'SPB', seats => 3 };
			push @technician, $cell;
		}
	}
}
play('technician', \@technician, options => { request_id_memory_seconds => 0 });

# --- kill -9 of the worker, kill -9 of the server and a fast shutdown, while each call hangs, before and after it was made
sub killed
{
	my ($title, $how, %with) = @_;
	my @cells = map { my $target = $_; map { cell($target, [ "hang $_", { action => 'hang', when => $_ } ]) } qw(before after) } @targets;
	$_->{rule}{count} = 1 for @cells;
	fresh($title, \@cells, timeout => '60s', %with) or return;
	my %mine = map { $_ => 1 } my @rules = set_faults(@cells);
	ask('ask', @cells);
	ok($t->poll(sub { @rules == grep { $_->{fired} && $mine{ $_->{id} } } @{ $t->emulator('GET', 'faults') } }, 20), "$title: calls of each kind hang");
	$how->();
	settled($title);
	all_right($title, @cells);
	return;
}

my %kills = (
	'kill -9 of the worker' => sub { ok($t->kill9, 'kill -9 of the worker') },
	'kill -9 of the server' => sub { $t->node->stop('immediate'); $t->node->start },
	'fast shutdown' => sub { $t->node->stop('fast'); $t->node->start });
for my $kill (sort keys %kills)
{
	killed($kill, $kills{$kill}, options => { request_id_memory_seconds => 0 });
	killed("$kill, MS-RequestId remembered", $kills{$kill}) if $full;
}

# --- storms: any call fails in any way at any time, worker and server are killed at random
for my $seed (1 .. ($full ? 10 : 1))
{
	my $title = "storm $seed";
	my @cells = map { my $shape = $_; map { { name => "$shape $_", shape => $shape } } 1 .. 6 } qw(flow reactivate order gone);
	srand $seed;
	fresh($title, \@cells, seed => $seed, options => { request_id_memory_seconds => $seed % 2 ? 0 : 3600, provisioning_delay => $seed % 3, report_delay_active => $seed % 3,
		report_delay_consumed => $seed % 2 }) or next;
	set_faults(@cells);
	my @storm = map { { %{ $_->[1] }, match => { kind => [qw(patch_subscription licenseupdates patch_user cart checkout)] }, probability => 0.05 } }
	  grep { $_->[0] !~ /late|429|advice/ } @faults;
	push @storm, map { { %{ $_->[1] }, match => { kind => 'patch_subscription' }, probability => 0.1 } } @faults_of_patch;
	push @storm, map { { %$_, match => { method => 'GET' }, probability => 0.04 } }
	  ({ action => 'reset_before' }, { action => 'garbage' }, { action => 'truncate' }, { action => 'status', status => 500 }, { action => 'hang' });
	my @ids = @{ $t->emulator('POST', 'faults', \@storm)->{ids} };
	ask('ask', @cells);
	for my $kill (0 .. ($full ? 3 : 1))
	{
		sleep 0.3 + rand 1.2;
		$kills{ (sort keys %kills)[($seed + $kill) % 3] }->();
	}
	sleep 0.5;
	$t->clear_faults($_) for @ids;
	settled($title);
	all_right($title, @cells);
}

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|while .*\n.*spinpanel worker.*ERROR/, 'nothing crashed by itself');
$t->node->stop;
done_testing();
