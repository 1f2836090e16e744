# Plays lives: see README.md.  Run by test/lives/run and test/check.sh, in which the servers' environment is made.
use strict;
use warnings;

# PostgreSQL's modules send what is printed to a log; what lives say is for who started them
BEGIN { open our $out, '>&', \*STDOUT or die $!; }
use FindBin;
use lib $FindBin::Bin, "$FindBin::Bin/../lib";
use Getopt::Long;
use JSON::PP;
use Time::HiRes qw(time);
use Test::More ();

use Life;
use Player;
use Shrink;

our $out;
$out->autoflush(1);
sub out { print {$out} @_; return }
my %o = (shrink => 1, shrink_seconds => 300);
GetOptions(\%o, 'seed=s@', 'from=i', 'count=i', 'new=i', 'days=i', 'seconds=i', 'steps=s', 'keep=s', 'only=s', 'mute=s@', 'verbose', 'shrink!',
	'shrink-seconds=i', 'list', 'first', 'trace', 'figures', 'stop', 'class=s', 'tap') or exit 2;
$o{shrink_seconds} = $o{'shrink-seconds'} // $o{shrink_seconds};
my $json = JSON::PP->new->utf8->canonical->pretty;

my @seeds = map { split /,/ } @{ $o{seed} // [] };
push @seeds, $o{from} .. $o{from} + ($o{count} // 1) - 1 if defined $o{from};
srand;
sub fresh { return 100000 + int rand 2_000_000_000 }
push @seeds, map { fresh() } 1 .. $o{new} // 0;
@seeds = (fresh()) unless @seeds || $o{steps} || $o{seconds};

if ($o{list})
{
	for my $seed (@seeds)
	{
		my $life = drawn($seed);
		out("seed $seed: $life->{days} days; stories $life->{stories}\n", map { Life::words($_) . "\n" } @{ $life->{first} }, @{ $life->{steps} });
	}
	exit 0;
}

my $player = Player->new(verbose => $o{verbose} ? \&out : undef);
my ($played, $objected, $begun) = (0, 0, time);
my %classes;
my %found;

# A seed may name its days and its kind of stories: 17, 17:20, 17:20:moves
sub drawn
{
	my ($name) = @_;
	my ($seed, $days, $only) = split /:/, $name;
	return Life->draw($seed, days => $days || $o{days}, only => $only || $o{only});
}

sub one
{
	my ($life, $name) = @_;
	my @bad = eval { $player->play($life, stop_at => $o{first} ? $o{class} : undef) };
	my $error = $@;
	if ($error) { push @bad, { class => 'the life itself', where => '', text => $error, at => 0, minute => 0, after => $player->{said}[-1] // '' }; undef $player->{psql} }
	@bad = grep { my $b = $_; !grep { $b->{class} =~ /$_/ } @{ $o{mute} // [] } } @bad;
	@bad = grep { $_->{class} =~ /$o{class}/ } @bad if $o{class};
	$played++;
	$objected++ if @bad;
	my $text = sprintf '%s: %d days, %d steps, %.0f s', $name, $life->{days}, scalar @{ $life->{steps} }, time - $player->{begun};
	$text .= sprintf ' (%d stops; worker %.0f s, clock %.0f s, judges %.0f s, what is due %.0f s, steps %.0f s)', @{$player}{qw(stops quiet_time move_time judge_time due_time step_time)} if $o{verbose} || $o{figures};
	if ($o{tap}) { out((@bad ? 'not ok ' : 'ok ') . "$played - $text\n") }
	else { out((@bad ? 'OBJECTION ' : 'silent    ') . "$text\n") }
	out("#   $_->{class}: $_->{where}: $_->{text}\n#      after: $_->{after}\n") for @bad;
	if ($o{trace}) { for my $bad (@bad) { out("#   [$bad->{class}]\n", map { "#     $_\n" } @{ $bad->{books} // [] }) } }
	if ($o{trace} && @bad) { out("#     $_\n") for @{ $player->{said} } }
	$classes{ $_->{class} }{$name}++ for @bad;
	return @bad;
}

sub shrink
{
	my ($life, $bad) = @_;
	my $short = Shrink::shortest($player, $life, $bad, $o{shrink_seconds});
	out("# shortest list of steps that still fails ($bad->{class}), of seed $life->{seed}, tried $short->{tried} lives:\n");
	out("#   $_\n") for map { Life::words($_) } @{ $short->{life}{first} }, @{ $short->{life}{steps} };
	out("#   $_->{class}: $_->{where}: $_->{text}\n", map { "#      $_\n" } @{ $_->{books} // [] }) for @{ $short->{bad} };
	if ($o{keep})
	{
		(my $file = "$o{keep}-$life->{seed}-$bad->{class}") =~ s/[^A-Za-z0-9_\/.-]+/-/g;
		open my $file_out, '>', "$file.json" or die "$file: $!";
		print $file_out $json->encode($short->{life});
		close $file_out;
		out("#   play it again: test/lives/run --steps $file.json\n");
	}
	return;
}

if ($o{steps})
{
	open my $in, '<', $o{steps} or die "$o{steps}: $!";
	local $/;
	my $life = $json->decode(scalar <$in>);
	one($life, "steps of seed $life->{seed}");
}
while (@seeds || $o{seconds} && time - $begun < $o{seconds})
{
	my $seed = @seeds ? shift @seeds : fresh();
	my $life = drawn($seed);
	my @bad = one($life, "seed $seed");
	last if @bad && $o{stop};
	if (@bad && $o{shrink})
	{
		for my $bad (@bad)
		{
			next if $bad->{class} eq 'the life itself' || $found{ $bad->{class} }++;
			shrink($life, $bad);
		}
	}
}
out(sprintf "# %d lives, %d with objections, %.1f s each\n", $played, $objected, (time - $begun) / ($played || 1));
for my $class (sort keys %classes)
{
	my @in = sort keys %{ $classes{$class} };
	splice @in, 6 if @in > 6;
	out(sprintf "#   %-50s %s\n", $class, join ', ', @in);
}
out("1..$played\n") if $o{tap};
Test::More->builder->no_ending(1);
exit($objected ? 1 : 0);
