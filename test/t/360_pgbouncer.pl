# Behind pgbouncer in transaction mode, where every statement may meet another server process: asking, waiting, releasing
# and cancelling are the same as without it.
use strict;
use warnings;

use SpinpanelTest qw(one_customer slurp_file);
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer is not installed' unless $pgbouncer;

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	conf => { 'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms', 'spinpanel.settle_time' => '1h' });

# --- three server connections for everybody
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = $t->unused_port;
my $user = $t->sql('SELECT current_user');
open my $ini, '>', "$dir/pgbouncer.ini" or die $!;
print $ini join "\n", '[databases]', 'postgres = host=' . $t->node->host . ' port=' . $t->node->port . " dbname=postgres user=$user",
  '[pgbouncer]', 'listen_addr =', "listen_port = $port", "unix_socket_dir = $dir", 'auth_type = any', 'pool_mode = transaction',
  'default_pool_size = 3', 'min_pool_size = 3', 'max_client_conn = 200', 'server_round_robin = 1', 'ignore_startup_parameters = extra_float_digits',
  "logfile = $dir/log", "pidfile = $dir/pid", '';
close $ini;
my $pid = fork // die $!;
if ($pid == 0)
{
	open STDIN, '<', '/dev/null';
	exec $pgbouncer, '-q', "$dir/pgbouncer.ini" or POSIX::_exit(127);
}
END { my $code = $?; if ($pid) { kill 'INT', $pid; waitpid $pid, 0 } $? = $code }
my %way = (directly => $t->connstr, 'through pgbouncer' => "host=$dir port=$port dbname=postgres");

# psql(WAY, SQL...): answers and errors, each SQL a call of its own
sub psql
{
	my ($way, @sql) = @_;
	my ($out, $text) = ('', join '', map { "$_\n;\n" } @sql);
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $way{$way} ], '<', \$text, '>', \$out, '2>&1');
	chomp $out;
	return $out;
}
ok($t->poll(sub { psql('through pgbouncer', 'SELECT 1') eq '1' }, 20), 'pgbouncer answers') or BAIL_OUT(slurp_file("$dir/log"));
is(psql('through pgbouncer', 'BEGIN', 'SELECT 1', 'COMMIT'), '1', '... transactions, too');

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub call { my ($function, @more) = @_; return "spinpanel.$function(" . join(', ', @more) . ')' }
sub ask { my ($kind, $n) = @_; return call("${kind}_license", "'Contoso'", "'" . upn($n) . "'", "'SPB'") }
my $columns = 'kind, upn, status, seat_bought, reference, requested_by, error';
my $newest = '(SELECT max(request_id) FROM spinpanel.license_request)';

my %said;
for my $way ('directly', 'through pgbouncer')
{
	$t->fresh(one_customer(user_count => 60));
	my @said;
	my $note = sub { my ($what, @sql) = @_; push @said, "$what: " . join ' / ', split /\n/, psql($way, @sql) };
	my $finished = sub { $note->(@_, "SELECT $columns FROM spinpanel.wait_for_request($newest, '20 s')") };

	$note->('assign', "SELECT $columns FROM " . ask('assign', 11));
	$finished->('waited for');
	$note->('again', "SELECT $columns FROM " . ask('assign', 11));
	$finished->('waited for');
	$note->('many', "SELECT $columns FROM spinpanel.assign_licenses('Contoso', ARRAY['" . join("', '", map { upn($_) } 12, 13, 12, 14) . "'], 'SPB', 'order 7')");
	$finished->('waited for');
	$t->wait_idle(20);
	$note->('release', "SELECT $columns FROM " . ask('release', 13));
	$finished->('waited for');
	$note->('in a transaction', 'BEGIN', "SELECT $columns FROM " . ask('assign', 15), 'SAVEPOINT a', "SELECT $columns FROM " . ask('assign', 16), 'ROLLBACK TO a', 'COMMIT');
	$finished->('waited for');
	$note->('rolled back', 'BEGIN', "SELECT $columns FROM " . ask('assign', 17), 'ROLLBACK');
	$note->('waiting for its own transaction', 'BEGIN', 'SELECT status FROM ' . ask('assign', 18), "SELECT status FROM spinpanel.wait_for_request($newest, '1 s')", 'COMMIT');
	$t->sql('SELECT spinpanel.pause()');
	$note->('paused', 'SELECT status FROM ' . ask('assign', 19), "SELECT status FROM spinpanel.wait_for_request($newest, '50 ms')");
	$note->('cancelled', "SELECT $columns FROM spinpanel.cancel_request($newest)");
	$note->('cancelled again', "SELECT $columns FROM spinpanel.cancel_request($newest)");
	$t->sql('SELECT spinpanel.resume()');
	$note->('errors', 'SELECT ' . call('assign_license', "'Contoso'", 'NULL', "'SPB'"), 'SELECT ' . call('assign_license', "'Nobody'", "'a\@b.c'", "'SPB'"),
		'SELECT ' . call('cancel_request', -1), "SELECT status FROM spinpanel.assign_licenses('Contoso', ARRAY['x\@contoso.example', NULL], 'SPB')");
	# a setting counts at once, whichever process remembers the old one
	psql($way, 'SELECT status FROM ' . ask('assign', 11)) for 1 .. 6;
	psql($way, q{SELECT FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 10)});
	$note->("max_seats, try $_", 'SELECT status FROM ' . ask('assign', 20)) for 1 .. 6;
	psql($way, q{SELECT FROM spinpanel.drop_license_rule('Contoso', 'SPB')});
	ok($t->wait_idle(20), "$way: all is finished");
	push @said, "$_: " . ($t->changes->{$_}) for qw(seats assigns unassigns);
	push @said, 'holders: ' . join ' ', $t->holders('Contoso', 'SPB');
	$said{$way} = join "\n", @said;
}
is($said{'through pgbouncer'}, $said{directly}, 'through pgbouncer all answers are the same as without it');
like($said{directly}, qr/^assign: assign\|user11\@contoso.example\|queued\|f\|.*\nwaited for: assign\|user11\@contoso.example\|done\|t\|/, '... and what they should be');
like($said{directly}, qr/\nseats: 4\nassigns: 5\nunassigns: 1\n/, '... judged by the ledger') or diag($said{directly});
is(scalar(() = $said{directly} =~ /max_seats, try \d: ERROR:  53400/g), 6, '... a new max_seats counts at once');

# --- many clients on three connections
$t->fresh(one_customer(user_count => 60, subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 20, ends_in_days => 200 } ]));
open my $script, '>', "$dir/script" or die $!;
print $script qq{\\set n :client_id + 11\nBEGIN;\nSELECT request_id FROM spinpanel.assign_license('Contoso', 'user' || :n || '\@contoso.example', 'SPB');\nCOMMIT;\n};
close $script;
my $text = '';
IPC::Run::run([ 'pgbench', '-n', '-c', 50, '-j', 2, '-t', 1, '-f', "$dir/script", $way{'through pgbouncer'} ], '>', \$text, '2>&1');
like($text, qr{transactions actually processed: 50/50}, 'fifty clients on three connections') or diag($text);
is($t->outcome(split /\n/, $t->sql('SELECT request_id FROM spinpanel.license_request')), 'done:50', '... all are done');
$t->wait_idle(20);
$t->changes_are({ seats => 40, assigns => 50, lowers => 0 }, '... on the ten free seats and forty more');
is($t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_port = -1 AND state LIKE 'idle in%'}), '0', '... and nobody is left in a transaction');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
kill 'INT', $pid;
waitpid $pid, 0;
$pid = 0;
$t->node->stop;
done_testing();
