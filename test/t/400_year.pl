# A year in an afternoon: a night a day, people coming and going at all hours, switches that are changed, renewals, windows
# and schedules; then the ledger is asked whether anybody ever lacked a seat, and what it cost.
#
# Short by default; SPINPANEL_FULL=1 runs 400 days over a few hundred customers, SPINPANEL_DAYS and SPINPANEL_CUSTOMERS
# name other sizes.  The same comings and goings are played once more without spinpanel.  The two bills are printed beside
# two bounds that know the future: what is feasible with the same plans, refund windows and renewals (Feasible.pm), and what
# is not: only the seat-days that were used, each at the least price at which such a seat was billed.  What is missed of the
# first is told by cause: two plays on paper (Online.pm), which know only what has happened, stand in between.
use strict;
use warnings;

use Feasible;
use Online;
use POSIX ();
use SpinpanelTest;
use Test::More;
use Time::Local qw(timegm);

my $full = $ENV{SPINPANEL_FULL};
my $days = $ENV{SPINPANEL_DAYS} // ($full ? 400 : 24);
my $count = $ENV{SPINPANEL_CUSTOMERS} // ($full ? 250 : 18);
my $start = '2026-12-01T06:00:00Z';

# --- the world: drawn from a seed, so that both plays are alike
my $seed = 20261201;
sub roll { my ($n) = @_; $seed = ($seed * 1103515245 + 12345) % 2147483648; return int($seed / 65536) % $n; }

my %product = (
	SPB => 'CFQ7TTC0LCHC:0002',
	O365_BUSINESS_ESSENTIALS => 'CFQ7TTC0LH18:0001',
	O365_BUSINESS_PREMIUM => 'CFQ7TTC0LDPB:0001',
	SPE_E3 => 'CFQ7TTC0LFLX:0001');
my @parts = sort keys %product;

my @customers;
my %holders;    # "customer|part" => seats in use
for my $i (1 .. $count)
{
	my $name = sprintf 'Customer %03d', $i;
	my $part = $parts[ $i % 4 ];
	my $used = 4 + roll(20);
	my @subscriptions;
	my $kind = $i % 6;
	my $spare = roll(6);
	if ($kind == 0)
	{
		push @subscriptions, { offer => "legacy-O365_BUSINESS_PREMIUM", quantity => $used + $spare, started_days_ago => 400 };
		push @subscriptions, { offer => "legacy-O365_BUSINESS_PREMIUM", quantity => 3 + roll(5), started_days_ago => 200 };
		$part = 'O365_BUSINESS_PREMIUM';
	}
	elsif ($kind == 1 || $kind == 2)
	{
		push @subscriptions, { product => $product{$part}, quantity => $used + $spare, term => 'P1M', cycle => 'monthly', ends_in_days => 3 + roll(26) };
	}
	elsif ($kind == 3)
	{
		push @subscriptions, { product => $product{$part}, quantity => $used + $spare, term => 'P1Y', cycle => 'monthly', ends_in_days => 5 + roll(355) };
	}
	elsif ($kind == 4)
	{
		push @subscriptions, { product => $product{$part}, quantity => $used - 2, term => 'P1Y', cycle => 'monthly', ends_in_days => 5 + roll(355) };
		push @subscriptions, { product => $product{$part}, quantity => 2 + $spare, term => 'P1M', cycle => 'monthly', ends_in_days => 3 + roll(26) };
	}
	else
	{
		push @subscriptions, { product => $product{$part}, quantity => $used, term => 'P1Y', cycle => 'monthly', ends_in_days => 10 + roll(30) };
		push @subscriptions, { offer => "legacy-SPB", quantity => 2 + $spare, started_days_ago => 500 } if $part eq 'SPB';
		push @subscriptions, { product => $product{$part}, quantity => 3 + $spare, term => 'P1Y', cycle => 'monthly', started_days_ago => 1 } if $part ne 'SPB';
	}
	push @customers, { name => $name, domain => sprintf('c%03d.example', $i), subscriptions => \@subscriptions, extra_consumed => { $part => $used } };
	$holders{"$name|$part"} = $used;
}
my $scenario = { now => $start, customers => \@customers, options => { requests_per_minute => 0, log_requests => JSON::PP::false } };

# When something happens: a night at 20:00, and acts of people at all other hours, between the last look before a renewal
# (within the hour before midnight) and midnight, too
my @hours = ('00:20', '04:00', '09:00', '13:00', '17:00', '20:00', '21:30', '23:30', '23:50');
my $morning = 2;
my $night = 5;
my @acting = (0, 1, 2, 2, 2, 3, 3, 3, 4, 4, 6, 6, 8);

# Comings and goings: day => [[customer, part, +/-n, hour], ...], in order of time
my @moves;
{
	my %now = %holders;
	for my $day (1 .. $days)
	{
		my @of_day;
		for my $pool (sort keys %now)
		{
			next if roll(12);
			push @of_day, [ $pool, roll(2) ? 1 + roll(2) : -(1 + roll(2)), $acting[ roll(scalar @acting) ] ];
		}
		for (sort { $a->[2] <=> $b->[2] } @of_day)
		{
			my ($pool, $n, $hour) = @$_;
			$n = -$now{$pool} + 1 if $now{$pool} + $n < 1;
			next unless $n;
			$now{$pool} += $n;
			push @{ $moves[$day] }, [ split(/\|/, $pool), $n, $hour ];
		}
	}
}

# Switches: day => [[customer, statement], ...], in the morning, each taken back some days later
my @switches;
{
	my $settings = sub { return "SELECT count(*) FROM spinpanel.set_relationship('%s', " . $_[0] . ')' };
	my @kinds = (
		[ $settings->('auto_license_adjustment => false'), $settings->('auto_license_adjustment => true') ],
		[ $settings->('auto_license_adjustment => false, auto_increment => true'), $settings->('auto_increment => false, auto_license_adjustment => true') ],
		[ $settings->('partner_center_sync => false'), $settings->('partner_center_sync => true') ],
		[ q{SELECT spinpanel.set_license_rule('%s', '*', excluded => true)}, q{SELECT spinpanel.drop_license_rule('%s', '*')} ],
		[ $settings->('spare_seats => 2'), $settings->('spare_seats => 0') ]);
	my %until;
	for my $day (2 .. $days)
	{
		for (1 .. 1 + $count / 100)
		{
			next if roll(3);
			my $name = sprintf 'Customer %03d', 1 + roll($count);
			next if ($until{$name} // 0) >= $day;
			my ($on, $off) = @{ $kinds[ roll(scalar @kinds) ] };
			my $last = $until{$name} = $day + 2 + roll(5);
			push @{ $switches[$day] }, [ $name, $on ];
			push @{ $switches[$last] }, [ $name, $off ];
		}
	}
}

my $t = SpinpanelTest->start(
	scenario => $scenario,
	conf => { 'spinpanel.settle_time' => '1h', 'spinpanel.poll_interval' => '200ms' });

# What people do at an hour: who needs a seat takes a free one, else a technician buys it
my $bought = 0;
sub live
{
	my ($day, $hour) = @_;
	for my $move (grep { $_->[3] == $hour } @{ $moves[$day] // [] })
	{
		my ($customer, $part, $n) = @$move;
		if ($n > 0)
		{
			my $free = $t->pool($customer, $part)->{assignable};
			if ($free < $n)
			{
				my ($sub) = sort { ($a->{term_end} // '9') cmp($b->{term_end} // '9') }
				  grep { $_->{status} eq 'active' && $_->{part_number} eq $part && $_->{auto_renew} } @{ $t->state($customer)->{subscriptions} };
				if ($sub)
				{
					$t->act({ customer => $customer, do => 'raise', subscription => $sub->{id}, seats => $n - $free });
				}
				else
				{
					$t->act({ customer => $customer, do => 'buy', product => $product{$part}, quantity => $n - $free, term => 'P1Y', cycle => 'monthly' });
				}
				$bought += $n - $free;
			}
		}
		$t->act({ customer => $customer, do => 'consume', sku => $part, n => $n });
	}
	return;
}

sub seconds_between
{
	my ($from, $to) = map { my ($y, $m, $d, $h, $min, $s) = /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/; timegm($s, $min, $h, $d, $m - 1, $y) } @_;
	return $to - $from;
}

sub day_of { my ($day, $time) = @_; return POSIX::strftime("%Y-%m-%dT$time", gmtime(1796083200 + 86400 * $day)); }    # 2026-12-01 + day

# --- what the bound has to know: which plans there were, and in which one a technician would have added a seat that day
my $origin = 1796083200;    # 2026-12-01
my %seen;                   # pool => subscription => { first => as first seen, renewals => {day => 1}, last => [y, m, d] }
my %pick;                   # pool => [subscription of each day]
sub midnight { my ($time) = @_; my ($y, $m, $d) = $time =~ /^(\d+)-(\d+)-(\d+)/; return timegm(0, 0, 0, $d, $m - 1, $y) }
sub watch
{
	my ($day) = @_;
	for my $customer (@{ $t->state()->{customers} })
	{
		my %first;
		for my $sub (@{ $customer->{subscriptions} })
		{
			my $pool = "$customer->{name}|$sub->{part_number}";
			my $known = $seen{$pool}{ $sub->{id} } //= { first => $sub, day => $day, renewals => {} };
			next unless $sub->{status} eq 'active';
			if ($sub->{term_end} && $sub->{commerce} eq 'nce')
			{
				$known->{renewals}{ (midnight($sub->{term_end}) - $origin) / 86400 } = 1;
				$known->{last} = $sub->{term_end};
			}
			next unless $sub->{auto_renew};
			my $end = $sub->{term_end} // '9';
			$first{$pool} = [ $end, $sub->{id} ] if !$first{$pool} || $end lt $first{$pool}[0];
		}
		$pick{$_}[$day] = $first{$_}[1] for keys %first;
	}
	return;
}

# Days on which a subscription's terms begin anew: as seen, then by its term
sub renewals_of
{
	my ($known) = @_;
	my %days = %{ $known->{renewals} };
	if (my $last = $known->{last})
	{
		my ($y, $m, $d) = $last =~ /^(\d+)-(\d+)-(\d+)/;
		while ((timegm(0, 0, 0, 1, $m - 1, $y) - $origin) / 86400 < $days)
		{
			if ($known->{first}{term} eq 'P1M') { $m++; ($y, $m) = ($y + 1, 1) if $m > 12 } else { $y++ }
			my $length = (timegm(0, 0, 0, 1, $m % 12, $m == 12 ? $y + 1 : $y) - timegm(0, 0, 0, 1, $m - 1, $y)) / 86400;
			$days{ (timegm(0, 0, 0, $d < $length ? $d : $length, $m - 1, $y) - $origin) / 86400 } = 1;
		}
	}
	return [ sort { $a <=> $b } grep { $_ >= 0 } keys %days ];
}

# --- with spinpanel
$t->advance_to(day_of(0, '07:00:00Z'));
is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
watch(0);
my ($failed, $nights, $approved, $switched) = (0, 0, 0, 0);
my @problems;
my $session = $t->session;

# Is something to be done until then?  Else the clock may jump.
sub due
{
	my ($moment) = @_;
	return $session->query(qq{SELECT EXISTS (SELECT FROM spinpanel.obligation WHERE look_at <= $moment)
		OR EXISTS (SELECT FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before <= $moment)}) =~ /t/;
}

# As advance_to(), by the session that is there: this happens some thousand times.
my $postmaster = $t->sql(q{SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)});
sub hop
{
	my ($moment) = @_;
	my $clock = $t->emulator('POST', 'clock', { now => $moment });
	my $before = $session->query('SELECT pg_conf_load_time()');
	$t->conf('spinpanel.clock_offset' => $clock->{offset_seconds});
	kill 'HUP', $postmaster;
	return $t->poll(sub { $session->query('SELECT pg_conf_load_time()') ne $before });
}
sub settled { my ($when) = @_; return $t->poll(sub { !due(q{spinpanel._now()}) }, 300) || push @problems, "$when: not quiet" }

for my $day (1 .. $days)
{
	for my $hour (0 .. $#hours)
	{
		my $moment = day_of($day, "$hours[$hour]:00Z");
		my $acts = grep { $_->[3] == $hour } @{ $moves[$day] // [] };
		next unless $acts || $hour == $morning || $hour == $night || due("'$moment'");
		hop($moment);
		settled("day $day, $hours[$hour]");
		if ($hour == $night)
		{
			my $run = $t->run_and_wait('nightly', undef, seconds => 300);
			$nights++;
			$failed++ if $run->{status} ne 'done' || $run->{customers_failed};
			settled("day $day, night");
		}
		push @problems, "day $day, $hours[$hour]: $_->{name} $_->{part_number} $_->{active} < $_->{consumed}" for @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} };
		if ($hour == $morning)
		{
			watch($day);
			$session->query(sprintf $_->[1], $_->[0]) for @{ $switches[$day] // [] };
			$switched += @{ $switches[$day] // [] };
			# Somebody approves what waits for it.
			$approved += $t->sql(q{SELECT count(spinpanel.approve(adjustment_id)) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'});
			settled("day $day, approved");
		}
		live($day, $hour) if $acts;
	}
	last if @problems > 5;
}
is(join("\n", @problems), '', 'at all hours everybody who held a licence had a seat');
is($failed, 0, "all $nights nights are done, no customer failed");
$session->finish;

# Who lacked a seat, by the minute: only where somebody took one after the last look before a renewal
my ($late, $longest, @lacked) = (0, 0);
for my $shortage (@{ $t->emulator('GET', 'shortages?against=owned') })
{
	my $first = $shortage->{rows}[0];
	my ($act) = sort { $b->{time} cmp $a->{time} } grep { $_->{action} eq 'consume' && ($_->{name} // '') eq $shortage->{name} } @{ $t->emulator('GET', "timeline?customer=$shortage->{customer}&to=$shortage->{from}") };
	if ($first->{actor} eq 'renewal' && $shortage->{seconds} <= 1800 && $act && seconds_between($act->{time}, $shortage->{from}) < 3600) { $late++ }
	else { push @lacked, "$shortage->{name} $shortage->{part_number} $shortage->{from} by $first->{actor} for $shortage->{seconds} s" }
	$longest = $shortage->{seconds} if $shortage->{seconds} > $longest;
}
is(join("\n", @lacked), '', 'nobody lacked a seat but by the act of a person who took it right before a renewal');
note("figures: $switched switches changed, $approved removals approved; seats taken between the last look and the renewal $late times, bought back after $longest s at most; "
	  . $t->sql(q{SELECT string_agg(n || ' ' || event, ', ' ORDER BY event) FROM (SELECT event, count(*) AS n FROM spinpanel.history WHERE event IN ('seats are being put back', 'seats are being bought back') GROUP BY 1) q}));
is($t->sql(q{SELECT count(*) FROM spinpanel.check_setup() WHERE item IN ('obligations', 'counters') AND NOT ok}), '0', 'nothing is overdue, no counter is wrong');

my @ledger = $t->ledger();
my @extended = grep { $_->{action} eq 'extended_term' } @ledger;
is(scalar @extended, 0, 'nothing runs on in extended terms');

my ($most) = sort { $b <=> $a } map { $_->{updates} } map { @{ $_->{subscriptions} } } @{ $t->state()->{customers} };
cmp_ok($most, '<', $full ? 300 : 60, "changes of a subscription stay few (at most $most in $days days)");

# Every renewal at the quantity that was planned for it last, unless seats or schedule were changed in between
my %planned;
for my $row ($t->rows(q{SELECT subscription_id, effective_on, to_quantity, finished_at FROM spinpanel.adjustment
	WHERE action = 'reduce_at_renewal' AND status = 'done' ORDER BY finished_at}))
{
	$planned{"$row->{subscription_id}|$row->{effective_on}"} = $row;
}
my ($renewals, $as_planned, @off) = (0, 0);
my %touched;
for my $entry (@ledger)
{
	my $sub = lc($entry->{subscription} // '');
	$touched{$sub} = $entry->{time} if $entry->{action} =~ /^(raise|lower|schedule|schedule_wiped|reset_by_omission|renewal_plan|auto_renew)$/;
	next unless $entry->{action} eq 'renew';
	my $plan = $planned{ $sub . '|' . substr($entry->{time}, 0, 10) } or next;
	(my $decided = $plan->{finished_at}) =~ s/ /T/;
	next if ($touched{$sub} // '') gt $decided;
	$renewals++;
	if ($entry->{after}{quantity} == $plan->{to_quantity}) { $as_planned++ }
	else { push @off, "$sub $entry->{time}: $entry->{after}{quantity}, planned $plan->{to_quantity}" }
}
is(join("\n", @off), '', "renewals with a plan are at the planned quantity ($as_planned of $renewals)");

my %period = (from => substr($start, 0, 10), to => substr(day_of($days, '00:00:00Z'), 0, 10));
my $with = $t->bill(%period);
my $bought_with = $bought;

# --- the same days without it
$t->set('spinpanel.enabled' => 'off');
$t->load($scenario);
$bought = 0;
for my $day (1 .. $days)
{
	for my $hour (0 .. $#hours)
	{
		next unless $hour == $night || grep { $_->[3] == $hour } @{ $moves[$day] // [] };
		$t->emulator('POST', 'clock', { now => day_of($day, "$hours[$hour]:00Z") });
		live($day, $hour);
	}
}
my $without = $t->bill(%period);

# --- a lower bound: the seat-days used, each at the least price that was billed for its SKU
my %least;
for my $bill ($with, $without)
{
	for my $sub (map { @{ $_->{subscriptions} } } @{ $bill->{customers} })
	{
		next unless $sub->{seat_days} && $sub->{amount};
		my $price = $sub->{amount} / $sub->{seat_days};
		$least{ $sub->{part_number} } = $price if !defined $least{ $sub->{part_number} } || $price < $least{ $sub->{part_number} };
	}
}
my ($used_days, $bound) = (0, 0);
{
	my %now = %holders;
	for my $day (0 .. $days - 1)
	{
		if ($day) { $now{"$_->[0]|$_->[1]"} += $_->[2] for @{ $moves[$day] // [] } }
		for my $pool (keys %now)
		{
			my ($part) = $pool =~ /\|(.*)/;
			$used_days += $now{$pool};
			$bound += $now{$pool} * $least{$part};
		}
	}
}
# --- what is feasible: pool by pool
my %price;    # of a seat-day, by subscription
my %spent;    # pool => what spinpanel's play cost
for my $bill ($without, $with)
{
	for my $customer (@{ $bill->{customers} })
	{
		for my $sub (@{ $customer->{subscriptions} })
		{
			$price{ $sub->{subscription} } = $sub->{amount} / $sub->{seat_days} if $sub->{seat_days};
			next unless $bill == $with;
			$spent{"$customer->{name}|$sub->{part_number}"}{amount} += $sub->{amount};
			$spent{"$customer->{name}|$sub->{part_number}"}{seat_days} += $sub->{seat_days};
		}
	}
}
my ($feasible, $feasible_days) = (0, 0);
my %missed;    # by the kind of plans in the pool
my ($paper, $patient) = (0, 0);    # without cool-down, with it
my @impossible;
{
	my (%need, %need_at_night);
	my %now = %holders;
	for my $day (0 .. $days - 1)
	{
		my %then = %now;
		for ($day ? @{ $moves[$day] // [] } : ())
		{
			$now{"$_->[0]|$_->[1]"} += $_->[2];
			$then{"$_->[0]|$_->[1]"} += $_->[2] if $_->[3] < $night;
		}
		push @{ $need{$_} }, $now{$_} for keys %now;
		push @{ $need_at_night{$_} }, $then{$_} for keys %now;
	}
	for my $pool (sort keys %seen)
	{
		my ($part) = $pool =~ /\|(.*)/;
		my $subs = $seen{$pool};
		my (%plans, %kinds);
		my ($yearly) = grep { defined } map { $price{$_} } grep { ($subs->{$_}{first}{term} // '') eq 'P1Y' } sort keys %$subs;
		for my $id (sort keys %$subs)
		{
			my $first = $subs->{$id}{first};
			my $length = $first->{term_end} ? (midnight($first->{term_end}) - midnight($first->{term_start})) / 86400 : 30;
			my $window = 0;
			for (@{ $first->{batches} }) { my $day = int((midnight($_->{until}) - $origin) / 86400) + 1; $window = $day if $day > $window }
			$plans{$id} = {
				price => $price{$id} // $first->{unit_price} / ($length || 30),
				seats => $subs->{$id}{day} == 0 && $first->{status} eq 'active' ? $first->{quantity} : 0,
				renewals => $first->{commerce} eq 'nce' ? renewals_of($subs->{$id}) : [],
				window => $window > 0 ? $window : 0,
				any_time => $first->{commerce} eq 'legacy' };
			$kinds{ $first->{commerce} eq 'legacy' ? 'legacy' : $first->{term} } = 1;
		}
		$plans{new} = { price => $yearly // $least{$part} * 1.2, seats => 0, renewals => [] };
		my %world = (days => $days, need => $need{$pool} // [ (0) x $days ], plans => \%plans, buy => [ map { $pick{$pool}[$_] // 'new' } 0 .. $days - 1 ]);
		my $bound = Feasible::pool(%world);
		if (!$bound) { push @impossible, $pool; next }
		$world{need_at_night} = $need_at_night{$pool} // $world{need};
		$paper += Online::pool(%world, cooldown => 0);
		$patient += Online::pool(%world, cooldown => 1);
		$feasible += $bound->{cost};
		$feasible_days += $bound->{seat_days};
		my $is = $spent{$pool} // { amount => 0, seat_days => 0 };
		$missed{ join ' and ', sort keys %kinds } += $is->{amount} - $bound->{cost};
	}
}
is(join(', ', @impossible), '', 'what was needed could be had in every pool');
my $reached = 100 * ($without->{amount} - $with->{amount}) / ($without->{amount} - $feasible);
cmp_ok($with->{amount}, '>=', $feasible * 0.999, 'the bill is not below what is feasible');
cmp_ok($reached, '>=', 90, 'nearly all that is feasible is saved') if $days >= 200;
note(sprintf "figures: feasible %.0f (%d seat-days) with the future known; %.1f %% of what is feasible was saved, %.0f were missed: %.0f for what nobody "
	  . "could know (a seat kept or given back at a renewal or in a window, and needed or freed after it), %.0f for the cool-down of a day, %.0f for switches that were "
	  . "off, approvals and hours; by the plans of the pool: %s",
	$feasible, $feasible_days, $reached, $with->{amount} - $feasible, $paper - $feasible, $patient - $paper, $with->{amount} - $patient,
	join(', ', map { sprintf '%s %.0f', $_, $missed{$_} } sort { $missed{$b} <=> $missed{$a} } keys %missed));

cmp_ok($with->{amount}, '<', $without->{amount}, 'the bill is lower than without');
cmp_ok($with->{amount}, '>=', $bound * 0.999, 'and not below what is possible');
note(sprintf "figures: %d customers, %d days: without %.0f (%d seat-days, %d seats bought), with spinpanel %.0f (%d seat-days, %d seats bought), "
	  . "lower bound %.0f (%d seat-days); saved %.1f %% of the bill, %.1f %% of what could be",
	$count, $days, $without->{amount}, $without->{seat_days}, $bought, $with->{amount}, $with->{seat_days}, $bought_with, $bound, $used_days,
	100 * (1 - $with->{amount} / $without->{amount}), 100 * ($without->{amount} - $with->{amount}) / ($without->{amount} - $bound));

done_testing();
