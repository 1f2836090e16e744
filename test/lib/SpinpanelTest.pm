# Servers, an emulated Partner Center and the words tests need to speak about both.
#
#   use SpinpanelTest;
#   use Test::More;
#
#   my $t = SpinpanelTest->start(scenario => 'msp', conf => { 'spinpanel.settle_time' => '2s' });
#   my $run = $t->run_and_wait('adjust', 'Contoso Bakery');
#   is($run->{status}, 'done', 'the run is done');
#   is($t->seats('Contoso Bakery', 'SPB'), 22, 'Partner Center bills what is used');
#   done_testing();
#
# Run it with test/check.sh t/NAME.pl.  Nothing here sleeps for luck: what takes time is polled with a deadline.
package SpinpanelTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Copy qw(copy);
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(deadline slurp_file one_customer);

my $root = dirname(__FILE__) . '/../..';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my @started;    # emulators, to be ended at exit

# How long anything may take; machines under test are slow at times
sub deadline { return $ENV{PG_TEST_TIMEOUT_DEFAULT} || 60 }

=pod

=head2 SpinpanelTest->start(%options)

  name        of the cluster; default "main"
  database    spinpanel.database; default "postgres"
  scenario    'msp', 'scale:N', or a hash as in test/partner_center/README.md; default: one empty world
  options     options of the emulator, a hash (see its README)
  emulator    0: none.  Default: one on plain http and TLS.  Or another SpinpanelTest, to share its emulator
  emulator_args   more arguments for server.js, a list
  tls         1: the account speaks https to it (default 0: plain http to 127.0.0.1)
  account     0: connect no account
  extension   0: create no extension
  preload     shared_preload_libraries; default 'pg_cron,spinpanel'
  conf        settings (hash) over the defaults below
  standby_of  a SpinpanelTest: this one becomes its streaming standby
  streaming   1: may have standbys
  start       0: prepare the cluster, do not start it

=cut

sub start
{
	my ($class, %options) = @_;
	my $self = bless { database => 'postgres', offset => 0, %options }, $class;
	my $preload = $options{preload} // 'pg_cron,spinpanel';

	$self->{node} = PostgreSQL::Test::Cluster->new($options{name} // 'main', $options{install_path} ? (install_path => $options{install_path}) : ());
	$self->{dir} = PostgreSQL::Test::Utils::tempdir();
	if (ref $options{emulator})
	{
		$self->{$_} = $options{emulator}{$_} for qw(emulator_port emulator_tls_port ca_file);
	}
	elsif ($options{emulator} // 1)
	{
		$self->start_emulator(@{ $options{emulator_args} // [] });
		$self->load($options{scenario} // {}, $options{options});
	}

	if (my $primary = $options{standby_of})
	{
		$primary->node->backup('b_' . $self->node->name);
		$self->node->init_from_backup($primary->node, 'b_' . $self->node->name, has_streaming => 1);
		$self->conf(%{ $options{conf} }) if $options{conf};
		$self->node->start unless defined $options{start} && !$options{start};
		return $self;
	}

	$self->node->init(allows_streaming => $options{streaming} ? 1 : 0, extra => [ '--no-locale', '-E', 'UTF8' ]);
	$self->node->append_conf('postgresql.conf', $options{stage_conf} // $ENV{SP_STAGE_CONF} // '');
	my %conf = (
		max_connections => 40,
		max_prepared_transactions => 10,
		shared_buffers => '32MB',
		timezone => 'UTC',
		log_statement => 'none',
		log_replication_commands => 'off',
		log_min_messages => 'info',
		autovacuum => 'off');
	# Both workers and a standby restart after a crash; Cluster.pm switches that off
	$conf{restart_after_crash} = 'on';
	if ($preload =~ /pg_cron/)
	{
		$conf{'cron.database_name'} = $self->{database};
		$conf{'cron.use_background_workers'} = 'on';
	}
	if ($preload =~ /spinpanel/)
	{
		%conf = (
			%conf,
			'spinpanel.database' => $self->{database},
			'spinpanel.allowed_hosts' => '127.0.0.1,localhost',
			'spinpanel.poll_interval' => '500ms',
			'spinpanel.retry_max_delay' => '500ms',
			'spinpanel.request_timeout' => '5s',
			'spinpanel.settle_time' => '1s');
		$conf{'spinpanel.ca_file'} = $self->{ca_file} if $self->{ca_file};
	}
	$conf{shared_preload_libraries} = $preload if $preload ne '';
	$self->conf(%conf, %{ $options{conf} // {} });
	return $self if defined $options{start} && !$options{start};

	if ($self->{database} ne 'postgres')
	{
		# The workers would fail in a database that is not there yet
		$self->conf(shared_preload_libraries => '');
		$self->node->start;
		$self->node->safe_psql('postgres', "CREATE DATABASE $self->{database}");
		$self->node->stop;
		$self->conf(shared_preload_libraries => $preload);
	}
	$self->node->start;
	if ($options{extension} // 1)
	{
		$self->sql('CREATE EXTENSION pg_cron') if $preload =~ /pg_cron/;
		$self->sql('CREATE EXTENSION spinpanel');
		$self->connect_account if ($options{account} // 1) && $self->{emulator_port};
	}
	return $self;
}

sub node { return $_[0]{node} }

# The connection string of the database spinpanel lives in
sub connstr { my ($self, $database) = @_; return $self->node->connstr($database // $self->{database}) }

# conf(name => value, ...): lines of postgresql.conf; reload() or restart() makes them count
sub conf
{
	my ($self, %conf) = @_;
	for my $name (sort keys %conf)
	{
		(my $value = $conf{$name} // '') =~ s/'/''/g;
		$self->node->append_conf('postgresql.conf', "$name = '$value'");
	}
	return;
}

# set(name => value, ...): conf, reload, and wait until new sessions see it
sub set
{
	my ($self, %conf) = @_;
	$self->conf(%conf);
	return $self->reload;
}

# Returns when the postmaster has read its files again; the worker has been told by then
sub reload
{
	my ($self) = @_;
	my $before = $self->sql('SELECT pg_conf_load_time()', database => 'postgres');
	$self->node->reload;
	return $self->poll(sub { $self->sql('SELECT pg_conf_load_time()', database => 'postgres') ne $before });
}

# sql(QUERY, database => ..., user => ...): the answer as text; dies when it fails
sub sql
{
	my ($self, $query, %options) = @_;
	return $self->node->safe_psql($options{database} // $self->{database}, $query, extra_params => [ options(%options) ]);
}

# rows(QUERY): a list of hashes (values as JSON has them)
sub rows
{
	my ($self, $query, %options) = @_;
	my $text = $self->sql("SELECT coalesce(json_agg(q), '[]') FROM ($query) q", %options);
	return @{ $json->decode($text) };
}

sub row { my @rows = rows(@_); return $rows[0] }

# sql_error(QUERY): (SQLSTATE, message) of the error it ends with, ('00000', '') if none
sub sql_error
{
	my ($self, $query, %options) = @_;
	my ($code, $out, $err) = $self->node->psql($options{database} // $self->{database}, $query,
		on_error_stop => 1, extra_params => [ '-v', 'VERBOSITY=verbose', options(%options) ]);
	return ('00000', '') if $code == 0;
	return $err =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)/s ? ($1, $2) : ('?????', $err);
}

sub options { my (%options) = @_; return $options{user} ? ('-U', $options{user}) : () }

# session(): a psql that stays, to hold transactions open.  $s->query(SQL) waits for the answer, $s->start(SQL)
# does not, $s->finish ends it
sub session
{
	my ($self, %options) = @_;
	return SpinpanelTest::Session->new($self, %options);
}

# ---- waiting

# poll(CODE, SECONDS): until CODE is true; false when the time is over
sub poll
{
	my ($self, $code, $seconds) = @_;
	my $end = time + ($seconds // deadline());
	my $pause = 0.02;
	while (1)
	{
		my $answer = $code->();
		return $answer if $answer;
		return 0 if time > $end;
		sleep $pause;
		$pause *= 1.5 if $pause < 0.3;
	}
}

# wait_for(QUERY, EXPECTED, SECONDS): until QUERY answers EXPECTED (a text or qr//, default 't'); false, with a
# diagnosis, when the time is over
sub wait_for
{
	my ($self, $query, $expected, $seconds) = @_;
	my $last = '';
	$expected //= 't';
	return 1 if $self->poll(sub {
		# psql may be gone before it is written to, while a server comes up
		my ($code, $out, $err) = eval { $self->node->psql($self->{database}, $query) };
		($code, $err) = (2, $@) unless defined $code;
		$last = $code == 0 ? $out : "error: $err";
		return $code == 0 && (ref $expected ? $out =~ $expected : $out eq $expected);
	}, $seconds);
	diag("waited in vain for \"$expected\" from: $query\nlast answer: $last");
	return 0;
}

# The same as a test
sub wait_ok
{
	my ($self, $query, $expected, $title, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($self->wait_for($query, $expected, $seconds), $title);
}

# ---- the product

# Writes a credential file outside the data directory, returns its path
sub credential_file
{
	my ($self, $content, $name) = @_;
	my $path = "$self->{dir}/" . ($name // 'credential.json');
	umask 0077;
	open my $out, '>', "$path.new" or die "$path: $!";
	print $out ref $content ? $json->encode($content) : $content;
	close $out;
	umask 0022;
	rename "$path.new", $path or die "$path: $!";
	return $path;
}

sub api_url
{
	my ($self, $tls) = @_;
	return $tls // $self->{tls} ? "https://localhost:$self->{emulator_tls_port}" : "http://127.0.0.1:$self->{emulator_port}";
}

# connect_account(name => 'main', tls => 0|1, app_only => 0|1, NAME => VALUE of connect_account()...): the id
sub connect_account
{
	my ($self, %options) = @_;
	my $name = delete $options{name} // 'main';
	my $tls = delete $options{tls};
	my $app_only = delete $options{app_only};
	my ($account) = grep { $_->{name} eq $name } @{ $self->emulator('GET', '/accounts') };
	die "the scenario has no account $name\n" unless $account;
	my $credential = { client_secret => $account->{client_secret} };
	$credential->{refresh_token} = $account->{refresh_token} if $account->{refresh_token} && !$app_only;
	my %arguments = (
		tenant_id => $account->{tenant_id},
		client_id => $account->{client_id},
		api_url => $self->api_url($tls),
		login_url => $self->api_url($tls),
		requests_per_minute => 100000,
		%options);
	$arguments{credential_file} //= $self->credential_file($credential, "$name.json");
	return $self->sql("SELECT spinpanel.connect_account(" . quote($name) . ', '
		  . join(', ', map { "$_ => " . quote($arguments{$_}) } sort keys %arguments) . ')');
}

sub quote
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

# run_and_wait('sync' | 'adjust' | 'nightly', CUSTOMER, dry_run => 1, seconds => ...): the finished row of run
sub run_and_wait
{
	my ($self, $kind, $customer, %options) = @_;
	my @arguments;
	push @arguments, quote($customer) if defined $customer;
	push @arguments, 'dry_run => true' if $options{dry_run};
	my $id = $self->sql("SELECT spinpanel.$kind(" . join(', ', @arguments) . ')');
	return $self->run_finished($id, $options{seconds});
}

sub run_finished
{
	my ($self, $id, $seconds) = @_;
	$self->wait_for("SELECT status FROM spinpanel.run WHERE run_id = $id", qr/^(done|failed)$/, $seconds);
	return $self->row("SELECT * FROM spinpanel.run WHERE run_id = $id");
}

# assign_and_wait(CUSTOMER, UPN, SKU, function => 'release_license'): the finished request
sub assign_and_wait
{
	my ($self, $customer, $upn, $sku, %options) = @_;
	my $function = $options{function} // 'assign_license';
	my $id = $self->sql("SELECT request_id FROM spinpanel.$function(" . join(', ', map { quote($_) } $customer, $upn, $sku) . ')');
	return $self->request_finished($id, $options{seconds});
}

sub request_finished
{
	my ($self, $id, $seconds) = @_;
	$self->wait_for("SELECT status FROM spinpanel.license_request WHERE request_id = $id", qr/^(done|failed|cancelled)$/, $seconds);
	return $self->row("SELECT * FROM spinpanel.license_request WHERE request_id = $id");
}

# Nothing left to do: no open run, request or operation
sub wait_idle
{
	my ($self, $seconds) = @_;
	return $self->wait_for(
		"SELECT NOT EXISTS (SELECT FROM spinpanel.run WHERE status IN ('queued', 'running'))"
		  . " AND NOT EXISTS (SELECT FROM spinpanel.license_request WHERE status NOT IN ('done', 'failed', 'cancelled'))"
		  . " AND NOT EXISTS (SELECT FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown'))",
		't', $seconds);
}

# ---- processes and the log

# The worker's pid; waits for it.  find_worker_pid(other_than => PID): a new one
sub find_worker_pid
{
	my ($self, %options) = @_;
	my $pid = '';
	my $other = $options{other_than} // 0;
	$self->poll(sub {
		my ($code, $out) = $self->node->psql($self->{database},
			"SELECT pid FROM pg_stat_activity WHERE backend_type = 'spinpanel worker' AND pid <> $other");
		$pid = $code == 0 ? $out : '';
		return $pid =~ /^\d+$/;
	}, $options{seconds});
	return $pid;
}

sub worker_count
{
	my ($self) = @_;
	return $self->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'");
}

# kill9(PID): the worker by default.  The server restarts all its processes; this waits until it answers again
sub kill9
{
	my ($self, $pid) = @_;
	$pid //= $self->find_worker_pid;
	my $since = $self->log_position;
	kill 'KILL', $pid or die "kill -9 $pid: $!";
	$self->wait_for_log(qr/all server processes terminated; reinitializing/, $since);
	return $self->wait_for('SELECT 1', '1');
}

sub log_position { my ($self) = @_; return -s $self->node->logfile || 0 }

# log_since(POSITION): the server's log from there
sub log_since { my ($self, $from) = @_; return slurp_file($self->node->logfile, $from // 0) }

sub log_has { my ($self, $pattern, $from) = @_; return $self->log_since($from) =~ $pattern ? 1 : 0 }

sub wait_for_log
{
	my ($self, $pattern, $from, $seconds) = @_;
	return 1 if $self->poll(sub { $self->log_has($pattern, $from) }, $seconds);
	diag("no $pattern in the log of " . $self->node->name);
	return 0;
}

# ---- the emulator

sub start_emulator
{
	my ($self, @arguments) = @_;
	my $home = "$root/test/partner_center";
	my $tls = $ENV{SP_WORK} ? "$ENV{SP_WORK}/tls" : "$self->{dir}/tls";
	my $node = (grep { -x } map { ("$_/node", "$_/nodejs") } split /:/, $ENV{PATH})[0] or die "no node\n";

	# made once for all tests; tests run side by side
	if (!-e "$tls/server.pem")
	{
		my $new = "$tls.$$";
		mkdir $new;
		system_or_bail("$home/certificate.sh", $new);
		rename $new, $tls;
	}
	$self->{ca_file} = "$tls/ca.pem";

	(my $log = $self->node->logfile) =~ s/\.log$/_emulator.log/;
	my ($read, $write);
	pipe $read, $write or die $!;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>&', $write;
		open STDERR, '>>', $log;
		exec $node, "$home/server.js", '--port', 0, '--tls-port', 0, '--cert', "$tls/server.pem", '--key', "$tls/server.key",
		  @arguments or POSIX::_exit(127);
	}
	close $write;
	my $line = <$read> // '';
	my $ready = eval { $json->decode($line) };
	die "the emulator does not start: $line" . (-e $log ? slurp_file($log) : '') unless $ready;
	$self->{emulator_pid} = $pid;
	$self->{emulator_pipe} = $read;    # closing it could end a chatty emulator
	$self->{emulator_port} = $ready->{port};
	$self->{emulator_tls_port} = $ready->{tls_port};
	push @started, $pid;
	return $ready->{port};
}

sub stop_emulator
{
	my ($self) = @_;
	my $pid = delete $self->{emulator_pid} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	@started = grep { $_ != $pid } @started;
	return;
}

# emulator(METHOD, PATH below /_emulator, DATA): the decoded answer
sub emulator
{
	my ($self, $method, $path, $data) = @_;
	$path =~ s{^(?:/?_emulator)?/?}{/_emulator/};
	my %request = defined $data ? (content => $json->encode($data), headers => { 'content-type' => 'application/json' }) : ();
	my $answer = HTTP::Tiny->new(timeout => deadline(), proxy => undef)
	  ->request($method, "http://127.0.0.1:$self->{emulator_port}$path", \%request);
	die "emulator: $method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return $answer->{content} =~ /\S/ ? $json->decode($answer->{content}) : undef;
}

# one_customer(...): a scenario of one, Contoso: ten seats of SPB by the year, all assigned to user01 to user10, while
# user11 and user12 have none.  Members may be overridden
sub one_customer
{
	my (%with) = @_;
	return {
		customers => [
			{   name => 'Contoso',
				domain => 'contoso.example',
				subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 10, ends_in_days => 200 } ],
				user_count => 12,
				assigned => { SPB => 10 },
				%with } ] };
}

# load('msp' | SCENARIO, OPTIONS): a new world
sub load
{
	my ($self, $scenario, $options) = @_;
	my $load = ref $scenario ? {%$scenario} : { builtin => $scenario };
	$load->{options} = { %{ $load->{options} // {} }, %$options } if $options;
	return $self->emulator('POST', 'load', $load);
}

sub query_string
{
	my (%filter) = @_;
	my @parts = map {
		my $value = ref $filter{$_} ? join ',', @{ $filter{$_} } : $filter{$_};
		utf8::encode($value) if utf8::is_utf8($value);
		$value =~ s/([^A-Za-z0-9_.~,:-])/sprintf '%%%02X', ord $1/ge;
		"$_=$value"
	} sort keys %filter;
	return @parts ? '?' . join '&', @parts : '';
}

# ledger(since =>, customer =>, subscription =>, action => [..], actor => [..]): list of entries
sub ledger { my ($self, %filter) = @_; return @{ $self->emulator('GET', 'ledger' . query_string(%filter)) } }

# requests(since =>, kind => [..]): list of API requests that arrived
sub requests { my ($self, %filter) = @_; return @{ $self->emulator('GET', 'requests' . query_string(%filter)) } }

# bill(from =>, to =>, customer =>): hash
sub bill { my ($self, %filter) = @_; return $self->emulator('GET', 'bill' . query_string(%filter)) }

# counts(): {total, mutating, replayed, throttled, last_seq, by_kind}
sub counts { my ($self) = @_; return $self->emulator('GET', 'counts') }

# state(CUSTOMER, users => 1): the customer (or all) as the emulator has it
sub state
{
	my ($self, $customer, %options) = @_;
	$options{customer} = $customer if defined $customer;
	my $state = $self->emulator('GET', 'state' . query_string(%options));
	return defined $customer ? $state->{customers}[0] : $state;
}

# pool(CUSTOMER, SKU): {active, warning, suspended, consumed, assignable, foreign, reported, ...} of the emulator
sub pool
{
	my ($self, $customer, $sku) = @_;
	my ($pool) = grep { lc $_->{part_number} eq lc $sku || lc $_->{sku_id} eq lc $sku } @{ $self->state($customer)->{pools} };
	return $pool;
}

# seats(CUSTOMER, SKU): seats of active subscriptions of the SKU, what the partner is billed for
sub seats
{
	my ($self, $customer, $sku) = @_;
	my $sum = 0;
	for my $subscription (@{ $self->state($customer)->{subscriptions} })
	{
		next unless $subscription->{status} eq 'active';
		$sum += $subscription->{quantity} if lc $subscription->{part_number} eq lc $sku || lc $subscription->{sku_id} eq lc $sku;
	}
	return $sum;
}

# subscription(CUSTOMER, SKU): the first one of that SKU, as the emulator has it
sub subscription
{
	my ($self, $customer, $sku) = @_;
	my ($subscription) = grep { lc $_->{part_number} eq lc $sku } @{ $self->state($customer)->{subscriptions} };
	return $subscription;
}

# act({...}): what somebody else does
sub act { my ($self, @acts) = @_; return $self->emulator('POST', 'act', @acts == 1 ? $acts[0] : \@acts) }

# fault({...}): the rule's id;  clear_faults()
sub fault { my ($self, $rule) = @_; return $self->emulator('POST', 'faults', $rule)->{id} }
sub clear_faults { my ($self, $id) = @_; return $self->emulator('DELETE', 'faults' . (defined $id ? "?id=$id" : '')) }

# advance(days => 8, hours => .., seconds => ..): moves the emulator's clock and spinpanel's together
sub advance
{
	my ($self, %by) = @_;
	my $seconds = ($by{seconds} // 0) + 60 * ($by{minutes} // 0) + 3600 * ($by{hours} // 0) + 86400 * ($by{days} // 0);
	return $self->follow_clock($self->emulator('POST', 'clock', { advance_seconds => $seconds }));
}

# advance_to('2027-01-01T00:00:00Z')
sub advance_to
{
	my ($self, $moment) = @_;
	return $self->follow_clock($self->emulator('POST', 'clock', { now => $moment }));
}

sub follow_clock
{
	my ($self, $clock) = @_;
	$self->{offset} = $clock->{offset_seconds};
	$self->set('spinpanel.clock_offset' => $self->{offset});
	return $clock->{now};
}

# fresh(SCENARIO, OPTIONS): a new world, and an extension that has read it once
sub fresh
{
	my ($self, $scenario, $options) = @_;
	$self->clear_faults;
	$self->load($scenario, { requests_per_minute => 0, %{ $options // {} } });
	$self->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$self->follow_clock($self->emulator('GET', 'clock'));
	$self->connect_account(name => $_->{name}) for @{ $self->emulator('GET', 'accounts') };
	return $self->run_and_wait('sync')->{status} eq 'done' || die "the first reading failed\n";
}

# outcome(REQUESTS): how they ended, for instance "done:3 failed:1"; waits for all
sub outcome
{
	my ($self, @ids) = @_;
	my $which = 'request_id IN (' . join(',', @ids, 0) . ')';
	my %all = map { ($_ => 1) } @ids;
	$self->wait_for("SELECT count(*) FROM spinpanel.license_request WHERE $which AND status IN ('done', 'failed', 'cancelled')", scalar(keys %all), 30)
	  or $self->tell;
	return $self->sql("SELECT string_agg(status || ':' || n, ' ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM spinpanel.license_request WHERE $which GROUP BY 1) q");
}

# tell(): what became of requests and operations, as a diagnosis
sub tell
{
	my ($self) = @_;
	diag($self->sql(q{SELECT string_agg(concat_ws(' ', request_id, kind, upn, status, 'bought ' || seat_bought, 'waiting ' || waiting, not_before, error), E'\n' ORDER BY request_id) FROM spinpanel.license_request}));
	diag($self->sql(q{SELECT string_agg(concat_ws(' ', at, event, request_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|request|seat|adjustment'}));
	return 0;
}

# changes(CUSTOMER): what our changes come to in the emulator's ledger: {seats, raises, lowers, orders, assigns, unassigns}
sub changes
{
	my ($self, $customer) = @_;
	my %sum = (seats => 0, raises => 0, lowers => 0, orders => 0, assigns => 0, unassigns => 0);
	for my $entry ($self->ledger(action => [qw(raise lower new assign unassign)], actor => [ 'app', 'app+user' ], $customer ? (customer => $customer) : ()))
	{
		my $action = $entry->{action};
		$sum{seats} += ($entry->{after}{quantity} // 0) - ($entry->{before}{quantity} // 0) unless $action =~ /assign/;
		$sum{ $action eq 'new' ? 'orders' : "${action}s" }++;
	}
	return \%sum;
}

# changes_are({seats => 1, ...}, TITLE): a test of these members, and that no pool has more holders than seats
sub changes_are
{
	my ($self, $expected, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $is = $self->changes;
	my $ok = is(join(' ', map { "$_:$is->{$_}" } sort keys %$expected), join(' ', map { "$_:$expected->{$_}" } sort keys %$expected), $title);
	my $overdrawn = join ', ', map { "$_->{name} $_->{part_number} $_->{consumed}/$_->{active}" } @{ $self->emulator('GET', 'invariants')->{overdrawn_pools} };
	$ok &= is($overdrawn, '', '... nobody is left without a seat');
	$self->tell unless $ok;
	return $ok;
}

# holders(CUSTOMER, SKU): names (without domain) of the users who hold it, as the emulator has them
sub holders
{
	my ($self, $customer, $sku) = @_;
	return map { $_->{upn} =~ s/@.*//r } sort { $a->{upn} cmp $b->{upn} }
	  grep { my $user = $_; grep { $_ eq $sku } @{ $user->{licences} } } @{ $self->state($customer, users => 1)->{users} };
}

# A free port (reserved for this test) on which nobody listens
sub unused_port { return PostgreSQL::Test::Cluster::get_free_port() }

# Where `make install DESTDIR=` put the extension's files, and a private copy for tests that change them
sub stage { return $ENV{SP_STAGE} }

END
{
	my $code = $?;
	kill 'KILL', $_ for @started;
	waitpid $_, 0 for @started;
	$? = $code;
}

package SpinpanelTest::Session;

use Time::HiRes qw(time);

sub new
{
	my ($class, $t, %options) = @_;
	my $self = bless { in => '', out => '', err => '', n => 0 }, $class;
	$self->{timer} = IPC::Run::timer(2 * SpinpanelTest::deadline());
	$self->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $t->connstr($options{database}), SpinpanelTest::options(%options) ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err}, $self->{timer});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

sub pid { return $_[0]{pid} }

# start(SQL): sends it; wait() gives its answer, error() what it complained of
sub start
{
	my ($self, $sql) = @_;
	$self->{n}++;
	($self->{out}, $self->{err}) = ('', '');
	$self->{timer}->start;
	$self->{in} .= "$sql\n;\n\\echo =$self->{n}=\n";
	$self->{run}->pump_nb;
	return $self;
}

sub wait
{
	my ($self) = @_;
	my $mark = "=$self->{n}=\n";
	$self->{run}->pump until $self->{out} =~ /\Q$mark\E/ || !$self->{run}->pumpable;
	(my $answer = $self->{out}) =~ s/\Q$mark\E//;
	$answer =~ s/\n\z//;
	return $answer;
}

# done(): whether the answer is here
sub done
{
	my ($self) = @_;
	$self->{run}->pump_nb if $self->{run}->pumpable;
	return $self->{out} =~ /=$self->{n}=\n/ ? 1 : 0;
}

sub query { my ($self, $sql) = @_; return $self->start($sql)->wait }
sub error { return $_[0]{err} }

sub finish
{
	my ($self) = @_;
	$self->{in} .= "\\q\n";
	eval { $self->{run}->finish };
	return;
}

1;
