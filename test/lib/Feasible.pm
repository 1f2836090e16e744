# The least bill that somebody could have had who knows the future, under the rules of the trade: the plans and prices that
# there were, seats added where a technician would have added them, and given back only inside a refund window or at a
# renewal (legacy: at any time).
#
#   my $bound = Feasible::pool(days => 32, need => [...], plans => { id => {...} }, buy => [...]);
#   $bound->{cost}; $bound->{seat_days}                (undef: what is needed cannot be had)
#
# need: seats in use, per day.  A plan: price of a seat-day; seats on day 0; renewals => [days]; window => first day on
# which seats of day 0 can no longer be given back (0: already today); any_time => 1 for legacy.  buy: per day, the plan
# in which a seat is added that day (undef: none).
#
# Every seat is a unit of flow through the days: idle, or held in a plan.  Where it may leave a plan, an arc leads back to
# idle; where seats are needed, fewer may be idle.  The cheapest flow is exact: capacities are whole numbers.
package Feasible;
use strict;
use warnings;

use constant WINDOW => 7;    # days after buying or renewal on which seats can be given back

# Cheapest flow of $amount from node 0 to node 1; arcs are [from, to, capacity, cost, days].  Successive shortest paths.
# Returns the cost and the days of all units.
sub cheapest_flow
{
	my ($nodes, $arcs, $amount) = @_;
	my (@to, @left, @cost, @out, @days);
	for my $arc (@$arcs)
	{
		my ($from, $to, $capacity, $cost, $days) = @$arc;
		next if $capacity <= 0;
		push @{ $out[$from] }, scalar @to;
		push @to, $to;
		push @left, $capacity;
		push @cost, $cost;
		push @days, $days // 0, 0;
		push @{ $out[$to] }, scalar @to;
		push @to, $from;
		push @left, 0;
		push @cost, -$cost;
	}
	my $total = 0;
	while ($amount > 0)
	{
		my @best = (0);
		my (@by, @queued);
		my @queue = (0);
		while (@queue)
		{
			my $node = shift @queue;
			$queued[$node] = 0;
			for my $arc (@{ $out[$node] // [] })
			{
				next unless $left[$arc];
				my $there = $best[$node] + $cost[$arc];
				next if defined $best[ $to[$arc] ] && $there >= $best[ $to[$arc] ] - 1e-9;
				$best[ $to[$arc] ] = $there;
				$by[ $to[$arc] ] = $arc;
				next if $queued[ $to[$arc] ];
				$queued[ $to[$arc] ] = 1;
				push @queue, $to[$arc];
			}
		}
		return unless defined $best[1];
		my $part = $amount;
		for (my $node = 1; $node != 0; $node = $to[ $by[$node] ^ 1 ]) { $part = $left[ $by[$node] ] if $left[ $by[$node] ] < $part }
		for (my $node = 1; $node != 0; $node = $to[ $by[$node] ^ 1 ])
		{
			$left[ $by[$node] ] -= $part;
			$left[ $by[$node] ^ 1 ] += $part;
		}
		$total += $part * $best[1];
		$amount -= $part;
	}
	my $days = 0;
	for (my $arc = 0; $arc < @to; $arc += 2) { $days += $left[ $arc + 1 ] * $days[$arc] }
	return { cost => $total, seat_days => $days };
}

sub pool
{
	my (%given) = @_;
	my ($days, $need, $plans, $buy) = @given{qw(days need plans buy)};
	my @ids = sort keys %$plans;
	my ($units, $most) = (0, 0);
	for (@$need) { $most = $_ if $_ > $most }
	$units += $plans->{$_}{seats} // 0 for @ids;
	my $all = $units > $most ? $units : $most;

	# nodes: 0 source, 1 sink, idle of each day, held in each plan on each day
	my $nodes = 2;
	my @idle = map { $nodes++ } 0 .. $days;
	my %held = map { my $id = $_; ($id => [ map { $nodes++ } 0 .. $days ]) } @ids;
	my @arcs = ([ 0, $idle[0], $all - $units, 0 ]);
	push @arcs, [ $idle[$_], $idle[ $_ + 1 ], $all - $need->[$_], 0 ] for 0 .. $days - 1;
	push @arcs, [ $_, 1, $all, 0 ] for $idle[$days], map { $held{$_}[$days] } @ids;

	for my $id (@ids)
	{
		my $plan = $plans->{$id};
		my $price = $plan->{price};
		# held from one node to idle again, after so many days
		my $leave = sub {
			my ($node, $day, $until) = @_;
			for my $end ($day .. ($until < $days ? $until : $days)) { push @arcs, [ $node, $idle[$end], $all, $price * ($end - $day), $end - $day ] }
		};
		push @arcs, [ $held{$id}[$_], $held{$id}[ $_ + 1 ], $all, $price, 1 ] for 0 .. $days - 1;
		if ($plan->{any_time}) { push @arcs, [ $held{$id}[$_], $idle[$_], $all, 0 ] for 0 .. $days - 1 }
		for my $day (grep { $_ < $days } @{ $plan->{renewals} // [] }) { $leave->($held{$id}[$day], $day, $day + WINDOW - 1) }
		if ($plan->{seats})
		{
			my $begin = $nodes++;
			push @arcs, [ 0, $begin, $plan->{seats}, 0 ], [ $begin, $held{$id}[0], $all, 0 ];
			$leave->($begin, 0, $plan->{window} - 1) if $plan->{window};
		}
		for my $day (grep { defined $buy->[$_] && $buy->[$_] eq $id } 0 .. $days - 1)
		{
			# Nobody buys but where more are needed than the day before.
			my $more = $need->[$day] - ($day ? $need->[ $day - 1 ] : $units);
			next if $more <= 0;
			my $bought = $nodes++;
			push @arcs, [ $idle[$day], $bought, $more, 0 ], [ $bought, $held{$id}[$day], $all, 0 ];
			next if $plan->{any_time};
			my $until = $day + WINDOW;
			for (@{ $plan->{renewals} // [] }) { $until = $_ + WINDOW - 1 if $_ > $day && $_ <= $day + WINDOW }
			$leave->($bought, $day, $until);
		}
	}
	return cheapest_flow($nodes, \@arcs, $all);
}

1;
