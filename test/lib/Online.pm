# What a pool would cost on paper if each night gave back what it may and knew only what has happened: the same plans, prices,
# refund windows, renewals and purchases as in Feasible.pm, but no look into the future.
#
#   my $cost = Online::pool(days => 32, need => [...], need_at_night => [...], plans => {...}, buy => [...], cooldown => 1);
#
# need: seats in use at the end of each day, need_at_night: when the night decides.  cooldown: in nights; a seat stays until
# it has been unused for so long, but for the last night of its window.
package Online;
use strict;
use warnings;

use Feasible;
use List::Util qw(min max sum0);

sub pool
{
	my (%given) = @_;
	my ($days, $need, $at_night, $plans, $buy, $cooldown) = @given{qw(days need need_at_night plans buy cooldown)};
	my @ids = sort keys %$plans;
	my %lots;       # plan => [[seats, last day on which they go back], ...]
	my %renews;     # plan => day => 1
	my @unused;     # of each night
	my $cost = 0;
	for my $id (@ids)
	{
		my $plan = $plans->{$id};
		$renews{$id} = { map { ($_ => 1) } @{ $plan->{renewals} // [] } };
		push @{ $lots{$id} }, [ $plan->{seats}, $plan->{any_time} ? $days : $plan->{window} ? $plan->{window} - 1 : -1 ] if $plan->{seats};
	}
	my $seats = sub { return sum0(map { $_->[0] } map { @{ $lots{$_} // [] } } @_) };
	my $next = sub { my ($id, $day) = @_; return min(grep { $_ > $day } @{ $plans->{$id}{renewals} // [] }) // $days + 400 };
	my $bought = sub {
		my ($day, $wanted) = @_;
		my $more = $wanted - $seats->(@ids);
		return if $more <= 0;
		my $id = $buy->[$day];
		my $until = $day + Feasible::WINDOW;
		for (@{ $plans->{$id}{renewals} // [] }) { $until = $_ + Feasible::WINDOW - 1 if $_ > $day && $_ <= $day + Feasible::WINDOW }
		push @{ $lots{$id} }, [ $more, $plans->{$id}{any_time} ? $days : $until ];
	};

	for my $day (0 .. $days - 1)
	{
		# What does not renew is decided by the need of the moment before.
		for my $id (grep { $renews{$_}{$day} } @ids)
		{
			my $gone = min($seats->($id), max(0, $seats->(@ids) - max($need->[ $day - 1 ] // $need->[0], 0)), $cooldown && $day ? min(map { $unused[ $day - $_ ] // 0 } 1 .. $cooldown) : 1e9);
			$lots{$id} = [ [ $seats->($id) - $gone, $day + Feasible::WINDOW - 1 ] ];
		}
		$bought->($day, $at_night->[$day]);

		# The night: what has been unused for long enough, the longest commitments first
		my $idle = $unused[$day] = $seats->(@ids) - $at_night->[$day];
		my $free = min($idle, map { $unused[ $day - $_ ] // 0 } 1 .. $cooldown);
		for my $id (sort { $next->($b, $day) <=> $next->($a, $day) || $a cmp $b } @ids)
		{
			for my $lot (sort { $a->[1] <=> $b->[1] } @{ $lots{$id} // [] })
			{
				my $part = min($lot->[0], $lot->[1] < $day ? 0 : $lot->[1] == $day ? $idle : $free);
				next if $part <= 0;
				$lot->[0] -= $part;
				$_ -= $part for $free, $idle, @unused[ max(0, $day - $cooldown) .. $day ];
			}
		}
		$bought->($day, $need->[$day]);
		$cost += $seats->($_) * $plans->{$_}{price} for @ids;
	}
	return $cost;
}

1;
