# What has ended other extensions with workers: databases dropped, renamed and restored under them, restart storms, a full disk,
# a library that is gone, waits that no signal ends, pg_upgrade.  (Elsewhere: 001, 010 DROP EXTENSION, hanging requests and
# barriers; 020 promotion; 021 copies; 220 crashes; 270 no slot, templates, encodings; 280 ALTER EXTENSION UPDATE.)
use strict;
use warnings;
use SpinpanelTest qw(one_customer slurp_file);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = SpinpanelTest->start(database => 'billing', preload => 'spinpanel', streaming => 1, scenario => one_customer(), conf => { 'spinpanel.poll_interval' => '300ms' });
is($t->run_and_wait('sync')->{status}, 'done', 'first sync');

sub item { my ($server, $which) = @_; return $server->sql("SELECT ok || ' ' || detail || ' ' || coalesce(hint, '') FROM spinpanel.check_setup() WHERE item = '$which'") }
sub worker_pid { return $t->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'}, database => 'postgres') }
sub assign { my ($server, $user) = @_; return $server->sql("SELECT request_id FROM spinpanel.assign_license('Contoso', '$user\@contoso.example', 'SPB')") }
sub setting { my ($name) = @_; return $t->sql("SHOW $name", database => 'postgres') }

# --- what it writes is known to autovacuum, and what it does to pg_stat_activity
$t->wait_ok(q{SELECT n_tup_ins > 0 FROM pg_stat_user_tables WHERE relid = 'spinpanel.subscription'::regclass}, 't', 'statistics of what the worker writes are reported');
$t->wait_ok(q{SELECT state || ' ' || query FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'}, 'idle waiting for work', 'pg_stat_activity says what it is at');
my $waits = $t->sql('SHOW server_version_num') >= 170000 ? 'SpinpanelIdle' : 'Extension';
$t->wait_ok(q{SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'}, "Extension $waits", '... and what for');

# --- a full disk: what cannot be written down is not sent
{
	$t->sql(q{CREATE FUNCTION public.no_space() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END';
		CREATE TRIGGER no_space BEFORE INSERT ON spinpanel.operation EXECUTE FUNCTION public.no_space()});
	my $changes = $t->counts->{mutating};
	my $id = assign($t, 'user11');
	ok($t->poll(sub { item($t, 'worker') =~ /^false .*failed \d+ times in a row.*No space left/ }, 20), 'a full disk: check_setup() says so');
	is($t->sql('SELECT is_working::text || (failures_in_a_row >= 3) FROM spinpanel_report.worker'), 'falsetrue', '... the numbers, too');
	is($t->counts->{mutating}, $changes, '... nothing is changed at Partner Center');
	$t->sql('DROP FUNCTION public.no_space() CASCADE');
	is($t->request_finished($id)->{status}, 'done', '... with space again it goes on');
	$t->changes_are({ seats => 1, raises => 1, assigns => 1 }, '... and buys once');
	like(item($t, 'worker'), qr/^true/, '... check_setup() is content');
}

# --- terminated again and again
{
	my $pid = '';
	for my $round (1 .. 6)
	{
		$t->poll(sub { my $new = worker_pid(); return 0 if $new eq '' || $new eq $pid; $pid = $new; return 1 }, 30);
		$t->sql("SELECT pg_terminate_backend($pid)", database => 'postgres');
	}
	is($t->run_and_wait('sync', undef, seconds => 30)->{status}, 'done', 'terminated six times in a row, it works');
	is($t->worker_count, 1, '... once');
}

# --- the extension dropped while a change is under way, and created again: what was under way means nothing to the new one
{
	my $since = $t->counts->{last_seq};
	my $hold = $t->fault({ match => { kind => 'patch_subscription' }, action => 'delay', milliseconds => 1500 });
	$t->sql('SELECT spinpanel.assign_license(\'Contoso\', \'user12@contoso.example\', \'SPB\')');
	ok($t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') }, 20), 'a change is under way');
	$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
	$t->connect_account;
	is($t->run_and_wait('sync')->{status}, 'done', 'dropped meanwhile, and created again: it works');
	$t->clear_faults;
	is($t->sql('SELECT count(*) FROM spinpanel.license_request') . $t->sql('SELECT count(*) FROM spinpanel.operation'), '00', '... and knows nothing of before');
	is($t->request_finished(assign($t, 'user12'))->{status}, 'done', '... asked for again, the seat bought before is used');
	$t->changes_are({ seats => 2, raises => 2, assigns => 2 }, '... two in all');
	unlike($t->log_since(0), qr/ERROR: .*(does not exist|cache lookup)/, '... no error about what is gone');
}

# --- a dump restored over the database it was taken from, while the worker works
{
	my $dump = "$t->{dir}/billing.dump";
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, $t->connstr ], 'pg_dump beside the worker');
	my $runs = $t->sql('SELECT count(*) FROM spinpanel.run');
	my ($out, $err) = run_command([ 'pg_restore', '--clean', '--if-exists', '-d', $t->connstr, $dump ]);
	is($err, '', 'pg_restore --clean over a database at work');
	is($t->sql('SELECT count(*) FROM spinpanel.run'), $runs, '... whole');
	like(item($t, 'copy'), qr/^false this is a copy/, '... it waits for activate(), as every restored dump');
	my $before = $t->counts->{total};
	my $id = $t->sql('SELECT spinpanel.sync()');
	$t->wait_for("SELECT status FROM spinpanel.run WHERE run_id = $id", qr/failed/, 10);
	is($t->counts->{total}, $before, '... and sends nothing');
	$t->sql('SELECT spinpanel.activate()');
	is($t->run_and_wait('sync')->{status}, 'done', 'activated, it acts');
}

# --- a commit that waits for a standby which is not there: a fast shutdown ends it
{
	$t->conf(synchronous_standby_names => 'nobody');
	$t->node->reload;
	ok($t->poll(sub {
		$t->node->psql('billing', 'SET synchronous_commit = off; SELECT spinpanel.sync()');
		return $t->poll(sub { $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'spinpanel worker' AND wait_event = 'SyncRep'}) == 1 }, 1);
	}, 20), 'the worker waits for a standby that is not there');
	is($t->sql('SELECT count(*) FROM spinpanel.excess_seats()'), 1, '... others do not wait for it');
	my $from = time;
	$t->node->stop('fast');
	cmp_ok(time - $from, '<', 15, '... a fast shutdown ends it');
	$t->conf(synchronous_standby_names => '');
	$t->node->start;
	$t->wait_idle;
	is($t->run_and_wait('sync')->{status}, 'done', '... started again, it goes on');
}

# --- renamed: the account stays the one that acts
{
	is(($t->sql_error('ALTER DATABASE billing RENAME TO invoices', database => 'postgres'))[0], '55006', 'a database with a worker in it cannot be renamed');
	$t->set('spinpanel.enabled' => 'off');
	$t->poll(sub { worker_pid() eq '' }, 15);
	is(($t->sql_error('ALTER DATABASE billing RENAME TO invoices', database => 'postgres'))[0], '00000', '... switched off it can');
	$t->{database} = 'invoices';
	like(item($t, 'worker'), qr/^false it serves database "billing", not this one Set spinpanel.database to "invoices"/, '... check_setup() says what to do');
	$t->conf('spinpanel.enabled' => 'on', 'spinpanel.database' => 'invoices');
	$t->node->restart;
	like(item($t, 'copy'), qr/^true/, '... it is no copy');
	is($t->run_and_wait('sync')->{status}, 'done', '... and acts');
}

# --- dropped under the worker, and made again
{
	is(($t->sql_error('DROP DATABASE invoices', database => 'postgres'))[0], '55006', 'a database with a worker in it cannot be dropped');
	my $from = $t->log_position;
	is(($t->sql_error('DROP DATABASE invoices WITH (FORCE)', database => 'postgres'))[0], '00000', '... by force it can');
	ok($t->wait_for_log(qr/FATAL: .*database "invoices" does not exist/, $from, 20), '... the worker says that it is gone');
	is(($t->sql_error('CREATE DATABASE other', database => 'postgres'))[0], '00000', '... and is in nobody\'s way');
	$t->sql('CREATE DATABASE invoices', database => 'postgres');
	$t->sql('CREATE EXTENSION spinpanel');
	$t->connect_account;
	is($t->run_and_wait('sync', undef, seconds => 60)->{status}, 'done', 'made again, the worker comes back to it');
	my $fatal = () = $t->log_since($from) =~ /FATAL:.*does not exist/g;
	cmp_ok($fatal, '<=', 5, "... $fatal times it said so");
}

# --- the library is gone from the disk (a package removed under a running server), and comes back
SKIP: {
	skip 'this server has no extension_destdir', 4 unless $t->stage;
	my $own = "$t->{dir}/stage";
	system_or_bail('cp', '-a', $t->stage, $own);
	$t->conf(extension_destdir => $own, dynamic_library_path => (setting('dynamic_library_path') =~ s/\Q@{[ $t->stage ]}\E/$own/r));
	$t->node->restart;
	is($t->run_and_wait('sync')->{status}, 'done', 'with a library of its own');
	my ($library) = split /\n/, `find '$own' -name spinpanel.so`;
	my $from = $t->log_position;
	rename $library, "$library.away" or die $!;
	my $pid = worker_pid();
	$t->sql("SELECT pg_terminate_backend($pid)", database => 'postgres');
	ok($t->poll(sub { my $new = worker_pid(); $t->log_has(qr/could not (access|load)/, $from) || $new ne '' && $new ne $pid }, 20), 'its file is gone: the server goes on');
	is($t->sql('SELECT 1', database => 'postgres'), 1, '... others notice nothing');
	rename "$library.away", $library or die $!;
	is($t->run_and_wait('sync', undef, seconds => 60)->{status}, 'done', '... back, the worker is back');
}

# --- pg_upgrade: no worker starts meanwhile, nothing is lost, and it waits for activate().  To the same major, or to that of
# the server (with the extension) in SPINPANEL_UPGRADE_TO
{
	my $to = $ENV{SPINPANEL_UPGRADE_TO};
	$t->sql('SELECT spinpanel.pause()');
	my $id = assign($t, 'user10');
	my $history = $t->sql('SELECT count(*) FROM spinpanel.history');
	my $raised = $t->seats('Contoso', 'SPB');
	$t->node->stop;
	my $new = bless { %$t, node => PostgreSQL::Test::Cluster->new('upgraded', $to ? (install_path => $to) : ()) }, 'SpinpanelTest';
	$new->node->init(extra => [ '--no-locale', '-E', 'UTF8', $to && `'$to/bin/initdb' --version` =~ / (\d+)/ && $1 >= 18 ? '--no-data-checksums' : () ]);
	$new->node->append_conf('postgresql.conf', $ENV{SP_STAGE_CONF} // '') unless $to;
	$new->conf(shared_preload_libraries => 'spinpanel', 'spinpanel.database' => 'invoices', 'spinpanel.allowed_hosts' => '127.0.0.1,localhost',
		'spinpanel.poll_interval' => '300ms', 'spinpanel.settle_time' => '1s', timezone => 'UTC');
	chomp(my $bin = `"$ENV{PG_CONFIG}" --bindir`);
	my $new_bin = $to ? "$to/bin" : $bin;
	my $here = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err) = run_command([ 'sh', '-c', "cd '$here' && '$new_bin/pg_upgrade' --no-sync --retain -b '$bin' -B '$new_bin' -d '" . $t->node->data_dir . "' -D '" . $new->node->data_dir
		. "' --socketdir '" . $new->node->host . "' -p " . $t->node->port . ' -P ' . $new->node->port ]);
	my $logs = `find '$here' '@{[ $new->node->data_dir ]}/pg_upgrade_output.d' -name '*.log' -exec cat {} + 2>/dev/null`;
	like($out, qr/Upgrade Complete/, 'pg_upgrade') or diag("$out $err", grep { /error:|ERROR:/ } split /^/, $logs);
	like($logs, qr/database system is ready/, '... its servers\' log is here');
	unlike($logs, qr/spinpanel worker/, '... no worker started in it');
	$new->node->start;
	like(item($new, 'copy'), qr/^false this is a copy/, '... the new cluster is a copy');
	is($new->sql('SELECT count(*) FROM spinpanel.history'), $history, '... which has everything');
	$new->sql('SELECT spinpanel.resume()');
	is($new->sql('SELECT spinpanel.activate(true)'), 1, 'activate(true)');
	is($new->request_finished($id)->{status}, 'done', '... what was open goes on');
	$new->node->stop;
}
done_testing();
