#!/usr/bin/perl
# Runs files that speak TAP, a line for each, and counts.
#
#   harness.pl [--jobs N] [--timeout SECONDS] [--spool DIR] [--result FILE] [--log PATTERN]... FILE...
#
# *.pl are run by perl, others by themselves; *.sql and *.pgtap, never mixed with those, by psql as pg_prove does it
# (libtap-parser-sourcehandler-pgtap-perl).
# What a file prints is kept in DIR and shown when the file fails, with the ends of the logs that belong to it:
# PATTERN is a shell pattern in which %s stands for the file's name without folder and extension.
# FILE (--result) gets one line: passed failed skipped.
use strict;
use warnings;
use File::Basename;
use File::Path qw(make_path);
use Getopt::Long;
use TAP::Harness;
use Time::HiRes qw(time);

my ($jobs, $timeout, $spool, $result, @logs) = (1, 300, undef, undef);
GetOptions(
	'jobs=i'    => \$jobs,
	'timeout=i' => \$timeout,
	'spool=s'   => \$spool,
	'result=s'  => \$result,
	'log=s'     => \@logs) or exit 2;
$spool or die "harness.pl: --spool\n";
make_path($spool);
$ENV{PERL_TEST_HARNESS_DUMP_TAP} = $spool;
$| = 1;

my ($passed, $failed, $skipped, %started) = (0, 0, 0);
my $lib = dirname(__FILE__);

my $harness = TAP::Harness->new(
	{   verbosity => -3,
		jobs      => $jobs,
		merge     => 1,
		# its source handler cannot stand commands beside it
		(grep { /\.(sql|pgtap)$/ } @ARGV)
		? (sources => { pgTAP => { suffix => [ '.sql', '.pgtap' ] } })
		: (exec => \&command) });
$harness->callback(before_runtests => sub { });
$harness->callback(made_parser => sub { my ($parser, $job) = @_; $started{ $job->[0] } = time; });
$harness->callback(after_test  => \&report);
$harness->runtests(@ARGV);

if ($result)
{
	open my $out, '>', $result or die "$result: $!\n";
	print $out "$passed $failed $skipped\n";
	close $out;
}
exit($failed ? 1 : 0);

sub command
{
	my ($harness, $file) = @_;
	my @limit = ('timeout', '-k', '15', $timeout);
	return [ @limit, $^X, "-I$lib", $file ] if $file =~ /\.pl$/;
	return [ @limit, $file ];
}

sub report
{
	my ($job, $parser) = @_;
	my $file   = $job->[0];
	my $name   = basename($file);
	my @wrong  = $parser->failed;
	my $skips  = $parser->skipped;
	my $broken = $parser->exit || $parser->wait || $parser->parse_errors;
	my $bad    = @wrong || ($broken ? 1 : 0);

	$passed += $parser->passed - $skips;
	$skipped += $skips || ($parser->skip_all ? 1 : 0);
	$failed += $bad;
	printf "     %-6s %-32s %4d tests  %6.1f s%s\n", $bad ? 'FAILED' : $parser->skip_all ? 'skip' : 'ok', $name,
	  scalar $parser->passed, time - ($started{$file} // time), $parser->skip_all ? '  ' . $parser->skip_all : '';
	figures("$spool/$file");
	return unless $bad;

	print "       tests failed: @wrong\n" if @wrong;
	printf "       exit status %d%s\n", $parser->exit, $parser->exit == 124 ? " (took longer than $timeout s)" : ''
	  if $parser->exit;
	print "       $_\n" for $parser->parse_errors;
	tail("$spool/$file", 60);
	(my $stem = $name) =~ s/\.[^.]*$//;
	for my $pattern (@logs)
	{
		(my $glob = $pattern) =~ s/%s/$stem/;
		tail($_, 40) for grep { -s } glob $glob;
	}
	return;
}

# What a test measured is worth seeing although it passed: lines "# figures: ..."
sub figures
{
	my ($path) = @_;
	open my $in, '<', $path or return;
	while (my $line = <$in>) { print "            $1\n" if $line =~ /# figures: (.*)/ }
	return;
}

# The end of a file, and lines of it that tell of trouble
sub tail
{
	my ($path, $count) = @_;
	open my $in, '<', $path or return;
	my @lines = <$in>;
	close $in;
	my $from = @lines > $count ? @lines - $count : 0;
	my @trouble = grep { /\b(PANIC|FATAL|WARNING|TRAP|not ok|terminated by signal)\b/ } @lines[ 0 .. $from - 1 ];
	splice @trouble, 20 if @trouble > 20;
	print "       ---- $path\n";
	print "       | $_" for @trouble;
	print "       | ...\n" if @trouble;
	print "       | $_" for @lines[ $from .. $#lines ];
	return;
}
