# The part of test/bench/assign in which the worker works: what a request costs it, and who waits for whom.  Run by
# test/bench/assign, which starts server and emulator; prints one row for each figure.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;
use Time::HiRes qw(time sleep);

my ($port, $seconds, $most) = @ARGV;
my $http = HTTP::Tiny->new(timeout => 120);
my $json = JSON::PP->new->utf8;

sub emulator
{
	my ($method, $path, $body) = @_;
	my $answer = $http->request($method, "http://127.0.0.1:$port/_emulator/$path",
		defined $body ? { content => $json->encode($body), headers => { 'content-type' => 'application/json' } } : {});
	$answer->{success} or die "emulator: $method $path: $answer->{status} $answer->{content}\n";
	return $json->decode($answer->{content});
}

sub sql
{
	my ($sql) = @_;
	open my $psql, '-|', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', $sql or die $!;
	my $out = do { local $/; <$psql> } // '';
	close $psql or die "the benchmark stopped at an error\n";
	chomp $out;
	return $out;
}

sub row
{
	my ($title, $figure, $aim, $missed) = @_;
	printf "%-26s %s; aim: %s%s\n", $title, $figure, $aim, $missed ? '  missed' : '';
	return;
}

# Seconds of CPU of the worker
sub worker_cpu
{
	my $pid = sql('SELECT pid FROM spinpanel._worker_facts()');
	open my $stat, '<', "/proc/$pid/stat" or die $!;
	my @fields = split / /, <$stat> =~ s/^.*\) //r;
	return ($fields[11] + $fields[12]) / 100;
}

sub bulk
{
	my ($customer, $from, $to) = @_;
	my $name = lc $customer;
	sql("SELECT count(*) FROM spinpanel.assign_licenses('$customer', (SELECT array_agg(format('user%s\@$name.example', to_char(i, CASE WHEN i < 100 THEN 'FM00' ELSE 'FM99999' END)))"
		. " FROM generate_series($from, $to) i), 'SPE_E3')");
	return;
}

sub until_done
{
	my ($customer) = @_;
	my $open = "SELECT (SELECT count(*) FROM spinpanel.license_request q JOIN spinpanel.customer c USING (customer_id) WHERE c.name = '$customer'"
	  . " AND q.status NOT IN ('done', 'failed', 'cancelled')) + (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown'))";
	my $end = time + 600;
	while (sql($open) ne '0') { time < $end or die "$customer: not done within ten minutes\n"; sleep 0.1 }
	sql("SELECT count(*) FROM spinpanel.license_request q JOIN spinpanel.customer c USING (customer_id) WHERE c.name = '$customer' AND q.status <> 'done'") eq '0'
	  or die "$customer: not everybody got a licence\n";
	return;
}

sub percentile { my ($p, @ms) = @_; @ms = sort { $a <=> $b } @ms; return $ms[ int($#ms * $p + 0.5) ] }

# --- what one of many costs
my (%each, $calls);
for my $n (grep { $_ <= $most } 500, 2000, 8000)
{
	my ($cpu, $count) = (worker_cpu(), emulator('GET', 'counts')->{total});
	bulk("Bulk$n", 1, $n);
	until_done("Bulk$n");
	$each{$n} = (worker_cpu() - $cpu) * 1000 / $n;
	$calls = (emulator('GET', 'counts')->{total} - $count) / $n;
}
my @each = sort { $a <=> $b } values %each;
row('worker CPU, users at once', join(', ', map { sprintf '%d: %.2f ms each', $_, $each{$_} } sort { $a <=> $b } keys %each)
	. sprintf(', ratio %.2f', $each[-1] / $each[0]), '1.3', $each[-1] / $each[0] > 1.3);
row('requests per user', sprintf('%.2f', $calls), '3.1', $calls > 3.1);

# --- one of another customer, beside that
# The emulator's own time is that of as many calls of its own as the request needs.
sub beside
{
	my ($title, $customer, $go_on) = @_;
	my (@ms, @own);
	my $name = lc $customer;
	my $end = time + 3 * $seconds;
	while (time < $end && $go_on->())
	{
		my $n = ++$main::asked{$customer};
		last if $n > 600;
		my $begun = time;
		emulator('GET', 'clock');
		push @own, (time - $begun) * 1000;
		my $id = sql(sprintf "SELECT request_id FROM spinpanel.assign_license('$customer', 'user%02d\@$name.example', 'SPE_E3')", $n);
		push @ms, 1000 * sql("SELECT extract(epoch FROM q.finished_at - q.created_at) FROM spinpanel.wait_for_request($id, '2 min') q");
	}
	@ms > 10 or die "$title: only " . scalar(@ms) . " requests were done beside it\n";
	my $own = 4 * percentile(0.99, @own);
	row($title, sprintf('99%% within %.0f ms, half within %.0f ms, of %d; the emulator needs %.0f ms', percentile(0.99, @ms), percentile(0.5, @ms), scalar @ms, $own),
		"100 ms beside the emulator's", percentile(0.99, @ms) > 100 + $own);
	return;
}
my $open = "SELECT count(*) FROM spinpanel.license_request WHERE status NOT IN ('done', 'failed', 'cancelled')";
beside('another, nothing else', 'Other', sub { ($main::asked{Other} // 0) < 100 });
bulk('Bulk5000', 1, $most < 5000 ? $most : 5000);
beside('another, beside a bulk', 'Other', sub { sql($open) > 20 });
until_done('Bulk5000');
my $ids = [ split /\n/, sql(q{SELECT customer_id FROM spinpanel.customer WHERE name NOT IN ('Second', 'Busy')}) ];
emulator('POST', 'faults', { action => 'hang', match => { customer => $ids } });
bulk("Hang$_", 1, 40) for 1 .. 40;
beside('another, one account hangs', 'Second', sub { ($main::asked{Second} // 0) < 100 });
emulator('DELETE', 'faults');

# --- callers while the worker assigns
open my $script, '>', "$ENV{SP_WORK}/calls.sql" or die $!;
print $script "\\set n random(1, 1000000000)\nSELECT request_id FROM spinpanel.assign_license('Busy', 'new' || :n::text || '\@busy.example', 'SPE_E3');\n";
close $script;
sub calls
{
	my $out = `pgbench -n -M prepared -c 1 -T $seconds -f $ENV{SP_WORK}/calls.sql 2>&1`;
	$out =~ /^tps = ([0-9.]+)/m or die $out;
	return $1;
}
until_done("Hang$_") for 1 .. 40;
sql(q{SELECT spinpanel.pause('Busy')});
my $idle = calls();
bulk('BulkAgain', 1, $most < 5000 ? $most : 5000);
my $busy = calls();
my $left = sql(q{SELECT count(*) FROM spinpanel.license_request q JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'BulkAgain' AND q.status <> 'done'});
row('calls/s of one session', sprintf('%.0f while the worker assigns%s, %.0f beside an idle one, ratio %.2f', $busy, $left ? '' : ' (and was done before)', $idle, $busy / $idle), '0.5', $busy / $idle < 0.5);
