# The query file for prometheus-postgres-exporter, with the exporter as Debian ships it: it connects as a reader, each number
# of the view arrives, and follows what happens.
use strict;
use warnings;
use SpinpanelTest qw(one_customer slurp_file);
use HTTP::Tiny;
use IPC::Run;
use Test::More;

my ($exporter) = grep { -x } map { "$_/prometheus-postgres-exporter" } split /:/, $ENV{PATH};
plan skip_all => 'there is no prometheus-postgres-exporter' unless $exporter;

my $t = SpinpanelTest->start(scenario => one_customer(), conf => { 'spinpanel.poll_interval' => '300ms' });
is($t->run_and_wait('sync')->{status}, 'done', 'first sync');
$t->sql(q{CREATE ROLE exporter LOGIN; SELECT spinpanel.grant_role('reader', 'exporter')});

chomp(my $share = `"$ENV{PG_CONFIG}" --sharedir`);
my $file = ($t->stage // '') . "$share/extension/spinpanel_exporter.yaml";
ok(-s $file, 'make install brings the query file along');

my $port = $t->unused_port;
my $output = '';
my $process = IPC::Run::start(
	[ 'env', 'DATA_SOURCE_NAME=user=exporter dbname=postgres sslmode=disable host=' . $t->node->host . ' port=' . $t->node->port,
		$exporter, '--extend.query-path', $file, '--web.listen-address', "127.0.0.1:$port", '--disable-default-metrics', '--disable-settings-metrics' ],
	'<', \undef, '>&', \$output);
END { local $?; $process->kill_kill(grace => 1) if $process }

# {name => value} of our metrics
sub scrape
{
	my $answer = HTTP::Tiny->new(timeout => 20, proxy => undef)->get("http://127.0.0.1:$port/metrics");
	return {} unless $answer->{success};
	return { $answer->{content} =~ /^spinpanel_worker_(\w+)(?:\{[^}]*\})? (\S+)$/mg };
}
sub becomes
{
	my ($name, $value, $title) = @_;
	my $is;
	ok($t->poll(sub { $is = scrape()->{$name}; defined $is && $is == $value }, 30), $title)
	  or diag("$name is " . ($is // 'not there') . "\n" . do { $process->pump_nb; $output });
	return;
}

becomes(is_working => 1, 'the exporter is told that the worker works');
my $metrics = scrape();
# The view may grow: then the file has to
my %file = map { $_ => 1 } keys %$metrics;
for my $column ($t->rows(q{SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute WHERE attrelid = 'spinpanel_report.worker'::regclass AND attnum > 0
	AND attname NOT IN ('process_id', 'last_run_id', 'last_error', 'last_run_kind')}))
{
	my $name = $column->{name};
	$name .= '_seconds' if $column->{type} =~ /^timestamp/;
	$name = 'last_run_failed' if $name eq 'last_run_status';
	ok(delete $file{$name}, "$name arrives");
}
is(join(' ', keys %file), '', '... and nothing else');
is($metrics->{customers}, 1, 'customers are counted');
is($metrics->{oldest_open_request_at_seconds}, 'NaN', 'what is not there is NaN');
cmp_ok(abs($metrics->{last_run_finished_at_seconds} - time), '<', 600, 'times are seconds since 1970');
is("$metrics->{obligations_open} $metrics->{obligations_late}", '0 0', 'nothing is watched');

# States in which an alarm must go off
$t->sql('SELECT spinpanel.pause()');
becomes(customers_paused => 1, 'a pause');
$t->sql(q{SELECT spinpanel.assign_license('Contoso', 'user11@contoso.example', 'SPB')});
becomes(requests_open => 1, 'an open request');
cmp_ok(abs(scrape()->{oldest_open_request_at_seconds} - time), '<', 600, '... and since when');
$t->set('spinpanel.enabled' => 'off');
becomes(is_enabled => 0, 'switched off');
becomes(is_working => 0, '... it is not said to work');
$t->poll(sub { $t->worker_count == 0 });
$t->sql(q{INSERT INTO spinpanel.obligation (kind, stage, operation_id, account_id, customer_id, sku_id, subscription_id, seats, leaves, effective_at, look_at, created_at)
	SELECT 'removed', 'settle', 1, account_id, customer_id, sku_id, subscription_id, 1, 9, now(), now() - interval '3 hours', now() - interval '4 hours' FROM spinpanel.subscription});
becomes(obligations_open => 1, 'a change that is watched');
becomes(obligations_late => 1, '... late');
like($t->sql(q{SELECT ok || ' ' || detail FROM spinpanel.check_setup() WHERE item = 'obligations'}), qr/^false 1 changes .* 1 of them late, 1 of paused/, '... check_setup() counts alike');
$t->sql(q{UPDATE spinpanel.account SET status = 'stopped'});
becomes(accounts_stopped => 1, 'a stopped account');
done_testing();
