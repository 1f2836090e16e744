# Numbers that follow from a seed: the same on every machine.
package Seed;

use strict;
use warnings;

sub new
{
	my ($class, $seed) = @_;
	my $self = bless { state => 0 }, $class;
	use integer;
	$self->{state} = ($seed * 6364136223846793005) + 1442695040888963407;
	$self->below(2) for 1 .. 4;
	return $self;
}

# below(N): 0 <= answer < N
sub below
{
	my ($self, $n) = @_;
	my $high;
	{
		use integer;
		$self->{state} = $self->{state} * 6364136223846793005 + 1442695040888963407;
		$high = ($self->{state} >> 33) & 0x3fffffff;
	}
	return $high % $n;
}

sub between { my ($self, $from, $to) = @_; return $from + $self->below($to - $from + 1) }
sub percent { my ($self, $p) = @_; return $self->below(100) < $p }
sub pick { my ($self, @from) = @_; return $from[ $self->below(scalar @from) ] }

# weighted(NAME => WEIGHT, ...): a name; the order given counts
sub weighted
{
	my ($self, @pairs) = @_;
	my $sum = 0;
	for (my $i = 1; $i < @pairs; $i += 2) { $sum += $pairs[$i] }
	my $n = $self->below($sum);
	for (my $i = 0; $i < @pairs; $i += 2)
	{
		return $pairs[$i] if $n < $pairs[ $i + 1 ];
		$n -= $pairs[ $i + 1 ];
	}
	return $pairs[0];
}

1;
