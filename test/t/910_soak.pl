# A long time of nights, requests and bad weather: what grows with it, and what must not.  test/soak.sh runs it and shows the
# figures; SPINPANEL_SOAK_MINUTES says how long, one minute for each with check.sh --full.
use strict;
use warnings;

use SpinpanelTest;
use List::Util qw(max sum);
use Test::More;
use Time::HiRes qw(time);

my $minutes = $ENV{SPINPANEL_SOAK_MINUTES} // 2;
my $number_of_customers = 30;
srand(42);

my $t = SpinpanelTest->start(
	tls => 1,
	scenario => { customers => [ map { { name => "C$_", domain => "c$_.example", user_count => 24, assigned => { SPB => 12 },
		subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 15, ends_in_days => 30 + $_ * 11 }, { offer => 'legacy-SPB', quantity => 3, started_days_ago => 400 } ] } } 1 .. $number_of_customers ] },
	options => { requests_per_minute => 0 },
	conf => { autovacuum => 'on', autovacuum_naptime => '5s', autovacuum_vacuum_cost_delay => '0', 'spinpanel.settle_time' => '2s', max_wal_size => '2GB' });
is($t->run_and_wait('sync', undef, seconds => 180)->{status}, 'done', 'the first reading');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0')});

my @weather = (
	{ action => 'status', status => 500 }, { action => 'status', status => 503, retry_after => 1 }, { action => 'status', status => 429, retry_after => 1 },
	{ action => 'reset_before' }, { action => 'reset_after' }, { action => 'truncate' }, { action => 'garbage' }, { action => 'html' }, { action => 'empty' },
	{ action => 'hang', when => 'before' }, { action => 'status', status => 401 }, { action => 'status', status => 409, code => 900278, description => 'busy' },
	{ action => 'delay', ms => 300, when => 'after' });

# ---- what is measured
sub figures
{
	my $pid = $t->find_worker_pid;
	my %is = (time => time, pid => $pid);
	if (open my $rollup, '<', "/proc/$pid/smaps_rollup")
	{
		my %kb;
		while (<$rollup>) { $kb{$1} = $2 if /^(\w+): +(\d+) kB/ }
		$is{private_kb} = $kb{Private_Dirty} + $kb{Private_Clean};
	}
	$is{descriptors} = () = glob "/proc/$pid/fd/*";
	$is{wal} = $t->sql(q{SELECT pg_current_wal_lsn() - '0/0'::pg_lsn});
	$is{requests} = $t->counts->{total};
	for my $row ($t->rows(q{SELECT relname, pg_total_relation_size(c.oid) AS bytes, pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead
		FROM pg_class c WHERE relnamespace = 'spinpanel'::regnamespace AND relkind = 'r'}))
	{
		$is{table}{ $row->{relname} } = $row;
	}
	$is{bytes} = sum(map { $_->{bytes} } values %{ $is{table} });
	$is{context_kb} = 0;
	return \%is;
}

# Memory contexts, as the worker writes them to the log
sub contexts
{
	my ($pid) = @_;
	my $from = $t->log_position;
	$t->sql("SELECT pg_log_backend_memory_contexts($pid)");
	$t->poll(sub { $t->log_since($from) =~ /Grand total: (\d+) bytes/ }, 20);
	my $log = $t->log_since($from);
	my %bytes;
	$bytes{$1} += $2 while $log =~ /level: \d+; (\S[^:]*?): (\d+) total in/g;
	return ($log =~ /Grand total: (\d+) bytes/ ? $1 : 0, \%bytes);
}

# ---- a round: bad weather, people who ask, a night, a day
my ($rounds, $nights, $asked) = (0, 0, 0);
sub round
{
	$rounds++;
	$t->emulator('DELETE', 'requests');
	for (1 .. 6)
	{
		my %rule = %{ $weather[ rand @weather ] };
		$t->fault({ %rule, count => 1 + int rand 3, match => { kind => [qw(subscriptions subscribedskus users user licenses subscription licenseupdates customers token)]->[ rand 9 ] } });
	}
	my @ids;
	for (1 .. 40)
	{
		my $customer = 'C' . (1 + int rand $number_of_customers);
		my $user = sprintf 'user%02d@%s.example', 1 + int rand 24, lc $customer;
		my $function = rand() < 0.5 ? 'assign_license' : 'release_license';
		my ($code, $id) = $t->node->psql('postgres', "SELECT request_id FROM spinpanel.$function('$customer', '$user', 'SPB')");
		push @ids, $id if $code == 0 && $id;
	}
	$asked += @ids;
	my $run = $t->run_and_wait('nightly', undef, seconds => 120);
	$nights++ if $run->{status} eq 'done';
	$t->clear_faults;
	$t->poll(sub { $t->sql(q{SELECT NOT EXISTS (SELECT FROM spinpanel.license_request WHERE status NOT IN ('done', 'failed', 'cancelled')
		AND (not_before IS NULL OR not_before < spinpanel._now() + '1 minute'::interval))}) eq 't' }, 60);
	$t->advance(hours => 24);
	return;
}

my $end = time + 60 * $minutes;
my (@all, $before);
while (time < $end || @all < 4)
{
	round();
	push @all, figures();
	$before = [ contexts($all[-1]{pid}) ] if @all == 3;
}
my @after = contexts($all[-1]{pid});

# ---- what grew.  The first rounds fill caches and prepare statements
my ($first, $middle, $last) = ($all[ @all > 8 ? 4 : 1 ], $all[ @all / 2 ], $all[-1]);
my $hours = ($last->{time} - $first->{time}) / 3600;
my @report = (sprintf('%.1f minutes, %d rounds (a day each), %d nights done, %d requests asked, %d customers', ($last->{time} - $all[0]{time}) / 60, $rounds, $nights, $asked, $number_of_customers));
push @report, sprintf('%-28s %10s %10s %10s   %s', '', 'begin', 'middle', 'end', 'per round');
sub line
{
	my ($title, $value, $unit) = @_;
	push @report, sprintf("%-28s %10.0f %10.0f %10.0f   %.2f %s", $title, (map { $value->($_) } $first, $middle, $last),
		($value->($last) - $value->($first)) / max(1, @all - 2), $unit);
	return;
}
line('worker, private memory', sub { $_[0]{private_kb} }, 'kB');
line('worker, descriptors', sub { $_[0]{descriptors} }, '');
line('WAL', sub { $_[0]{wal} / 1024 }, 'kB');
line('all tables and indexes', sub { $_[0]{bytes} / 1024 }, 'kB');
for my $name (sort { $last->{table}{$b}{bytes} <=> $last->{table}{$a}{bytes} } keys %{ $last->{table} })
{
	next if $last->{table}{$name}{bytes} < 200 * 1024;
	line("  $name", sub { $_[0]{table}{$name}{bytes} / 1024 }, sprintf('kB (%d live rows, %d dead)', $last->{table}{$name}{live}, $last->{table}{$name}{dead}));
}
push @report, sprintf('memory contexts of the worker: %d kB after 3 rounds, %d kB at the end', $before->[0] / 1024, $after[0] / 1024);
for my $name (sort { ($after[1]{$b} - ($before->[1]{$b} // 0)) <=> ($after[1]{$a} - ($before->[1]{$a} // 0)) } keys %{ $after[1] })
{
	my $more = $after[1]{$name} - ($before->[1]{$name} // 0);
	push @report, sprintf('  %s: %+d kB', $name, $more / 1024) if $more > 32 * 1024;
}
note($_) for @report;
if ($ENV{SPINPANEL_SOAK_REPORT} && open my $out, '>', $ENV{SPINPANEL_SOAK_REPORT}) { print $out "$_\n" for @report; close $out }

cmp_ok($nights, '>', 0.8 * $rounds, 'nights end well, whatever the weather');
is(join(' ', do { my %pid = map { ($_->{pid} => 1) } @all; scalar keys %pid }), 1, 'one worker lived through it all');
cmp_ok($last->{private_kb} - $middle->{private_kb}, '<', 2048, 'in the second half the worker takes no more memory');
# libcurl keeps up to 128 connections, which come little by little
cmp_ok($last->{descriptors}, '<=', $middle->{descriptors} + 10, '... and no more descriptors');
is(join(', ', map { "$_->{name} $_->{part_number}" } @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} }), '', 'nobody is left without a seat');
done_testing();
