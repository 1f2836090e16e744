# Makes a life that fails as short as it can: leaves steps out and plays it again, until no single step can go.
package Shrink;

use strict;
use warnings;

use Time::HiRes qw(time);

# shortest(PLAYER, LIFE, OBJECTION, SECONDS): { life, bad, tried }
sub shortest
{
	my ($player, $life, $bad, $seconds) = @_;
	my $end = time + $seconds;
	my $tried = 0;
	my $at_end = $bad->{class} =~ /^(bill|requests: never ends|on record: never done)/;
	my $best = {%$life};
	my @found = ($bad);
	my $fails = sub {
		my ($candidate) = @_;
		return 0 if time > $end;
		$tried++;
		my @bad = eval { $player->play($candidate, stop_at => $bad->{class}) };
		if ($@) { undef $player->{psql}; return 0 }
		my @same = grep { $_->{class} eq $bad->{class} } @bad;
		@found = @same if @same;
		return @same ? $same[0]{minute} + 1 : 0;
	};

	# nothing that came after it, and nothing of other customers
	if (!$at_end)
	{
		my $short = { %$best, until => $bad->{minute} + 30, steps => [ grep { $_->{at} <= $bad->{minute} } @{ $best->{steps} } ] };
		$best = $short if $fails->($short);
	}
	my ($c) = $bad->{where} =~ /^(C\d+)/;
	if ($c)
	{
		my $only = { %$best, steps => [ grep { !defined $_->{c} || $_->{c} eq $c } @{ $best->{steps} } ], first => [ grep { $_->{c} eq $c } @{ $best->{first} } ] };
		$best = $only if $fails->($only);
		# one customer
		my $one = { %$best, customers => [ grep { $_->{name} eq $c } @{ $best->{customers} } ],
			scenario => { %{ $best->{scenario} }, customers => [ grep { $_->{name} eq $c } @{ $best->{scenario}{customers} } ] } };
		$best = $one if $fails->($one);
	}
	# steps in ever smaller groups
	my $size = int((@{ $best->{steps} } + 1) / 2);
	while ($size >= 1 && time < $end)
	{
		my $from = 0;
		while ($from < @{ $best->{steps} } && time < $end)
		{
			my @steps = @{ $best->{steps} };
			splice @steps, $from, $size;
			my $candidate = { %$best, steps => \@steps };
			if (my $until = $fails->($candidate)) { $best = $candidate; $best->{until} = $until + 30 if defined $best->{until} && $until + 30 < $best->{until} }
			else { $from += $size }
		}
		$size = $size == 1 ? 0 : int(($size + 1) / 2);
	}
	# then what was set at the beginning, and the climate
	for my $i (reverse 0 .. $#{ $best->{first} // [] })
	{
		my @first = @{ $best->{first} };
		splice @first, $i, 1;
		my $candidate = { %$best, first => \@first };
		$best = $candidate if $fails->($candidate);
	}
	for my $name (sort keys %{ $best->{scenario}{options} })
	{
		next if $name =~ /^(requests_per_minute|access_token_seconds|refresh_token_days)$/;
		my %options = %{ $best->{scenario}{options} };
		delete $options{$name};
		my $candidate = { %$best, scenario => { %{ $best->{scenario} }, options => \%options } };
		$best = $candidate if $fails->($candidate);
	}
	$fails->($best) if $end > time;
	return { life => $best, bad => \@found, tried => $tried };
}

1;
