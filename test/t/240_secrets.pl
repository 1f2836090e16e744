# Secrets stay secret: distinctive secrets and tokens are looked for wherever somebody might find them; and a refused
# credential stops the account with a reason.  (242: they go to no server that is not the right one.)
use strict;
use warnings;

use SpinpanelTest qw(slurp_file);
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'CANARY~s3cret+with/odd=characters';
my $refresh = '0.AX0A-CANARY-refresh-token';
my $scenario = {
	accounts => [
		{ name => 'main', tenant_id => '0f6f4f7e-3d0b-4d8a-9a53-000000000001', client_id => '5d2e3b64-1f0a-4c1e-9d6b-000000000001', domain => 'msp.example',
			client_secret => $secret, refresh_token => $refresh } ],
	customers => [
		{ name => 'Contoso', domain => 'contoso.example', user_count => 12, assigned => { SPB => 10 },
			subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ] } ],
	options => { requests_per_minute => 0, rotate_refresh_token => JSON::PP::true, old_refresh_tokens_valid => JSON::PP::false } };

my $t = SpinpanelTest->start(
	scenario => $scenario,
	preload => 'pg_cron,spinpanel,pg_stat_statements,auto_explain',
	conf => {
		'spinpanel.retry_max_delay' => '100ms', 'spinpanel.request_timeout' => '1s', 'spinpanel.poll_interval' => '200ms', 'spinpanel.settle_time' => '1s',
		log_min_messages => 'debug1', log_statement => 'all', log_min_duration_statement => 0, log_error_verbosity => 'verbose',
		log_parameter_max_length_on_error => -1, 'pg_stat_statements.track' => 'all', 'pg_stat_statements.track_utility' => 'on',
		'auto_explain.log_min_duration' => 0, 'auto_explain.log_nested_statements' => 'on', 'auto_explain.log_verbose' => 'on' });
$t->sql('CREATE EXTENSION pg_stat_statements');
my @levels = qw(reader operator manager admin);
$t->sql(join ' ', map { "CREATE ROLE the_$_ LOGIN; SELECT spinpanel.grant_role('$_', 'the_$_');" } @levels);
$t->sql('CREATE ROLE nobody_special LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor;');

# What must not be found: a part of the secret, as it is and as it is sent; the first refresh token, those that followed, access
# tokens.  No statement of this test may hold one before the last look
my %needles = (
	'the client secret' => 'CANARY~s3cret', 'its end' => 'odd=characters', 'its end, encoded' => 'odd%3Dcharacters', 'the refresh token of the file' => 'CANARY-refresh',
	'a refresh token' => '1.AX0A', 'an access token' => 'eyJ0eXAiOiJKV1Qi', 'a header' => 'Bearer ey');
sub found
{
	my ($text) = @_;
	return join ', ', grep { index($text // '', $needles{$_}) >= 0 } sort keys %needles;
}
sub as_text { my ($query, %options) = @_; return $t->sql("SELECT string_agg(x::text, E'\\n') FROM ($query) x", %options) }

# --- look everywhere
my @roles = ((map { "the_$_" } @levels), 'nobody_special', 'monitor');
my $tables = 0;

# In one session of a role: [name, query]... -> name => what its answer, or its complaint, holds
sub found_by
{
	my ($role, @queries) = @_;
	my (undef, $out, $err) = $t->node->psql('postgres', join('', map { "\\echo <<$_->[0]>>\n\\warn <<$_->[0]>>\n$_->[1];\n" } @queries),
		on_error_stop => 0, extra_params => [ '-U', $role ]);
	my %found;
	for my $text ($out, $err)
	{
		my (undef, %answer) = split /^<<(.*)>>\n?/m, "$text\n";
		$found{$_} .= $answer{$_} for keys %answer;
	}
	die "not all of it was read by $role: $err" if keys %found != @queries;
	$_ = found($_) for values %found;
	return %found;
}
# What a role finds in the tables and views that it can read
sub tables_of
{
	my ($role) = @_;
	my @names = map { $_->{name} } $t->rows(qq{SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE nspname LIKE 'spinpanel%' AND relkind IN ('r', 'v', 'm', 'f', 'p') AND has_schema_privilege('$role', n.oid, 'USAGE') AND has_any_column_privilege('$role', c.oid, 'SELECT')});
	return '' unless @names;
	$tables += @names;
	my %found = found_by($role, map { [ $_, "TABLE $_" ] } @names);
	return join ' ', map { "$_: $found{$_}" } grep { $found{$_} } @names;
}

sub output { my ($out, $err) = run_command([@_]); die "@_: $err" unless length $out; return $out . $err }

# [where, what was found there]...
sub look
{
	my @views = qw(pg_stats pg_statistic pg_stats_ext pg_stat_statements pg_stat_activity pg_settings pg_file_settings pg_db_role_setting);
	my @of_monitor = qw(pg_stat_statements pg_stat_activity pg_settings);
	my %views = found_by('postgres', map { [ $_, "TABLE $_" ] } @views);
	my %of_monitor = found_by('monitor', map { [ $_, "TABLE $_" ] } @of_monitor);
	return (
		[ 'the server log, with all that can be logged' => found($t->log_since(0)) ],
		(map { [ $_ => $views{$_} ] } @views),
		(map { [ "$_ for a member of pg_monitor" => $of_monitor{$_} ] } @of_monitor),
		(map { [ "pg_dump @$_" => found(output('pg_dump', @$_, $t->connstr)) ] } ['--inserts'], [ '-t', 'spinpanel.*' ]),
		[ 'pg_dumpall' => found(output('pg_dumpall', '-d', $t->node->connstr)) ],
		(map { [ "what $_ can read" => tables_of($_) ] } @roles));
}

# --- a life: read, change, rotate several times, fail in several ways
is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', '... of users and licences, too');
is($t->sql('SELECT octet_length(refresh_token) > 100 FROM spinpanel.credential'), 't', 'the token that was returned is kept');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
is($t->run_and_wait('nightly')->{status}, 'done', 'a night');
my %tokens = ($t->sql('SELECT refresh_token FROM spinpanel.credential') => 1);
for my $round (1 .. 2)
{
	$t->connect_account;    # drops the access token
	$t->run_and_wait('sync');
	$tokens{ $t->sql('SELECT refresh_token FROM spinpanel.credential') } = 1;
}
is(scalar keys %tokens, 3, 'each new one takes the place of the one before');

# while it cannot be read: the file's is used up, so it must not be taken in its place
{
	my $from = $t->log_position;
	$t->sql('ALTER TABLE spinpanel.credential RENAME TO credential_elsewhere');
	my $pid = $t->find_worker_pid;
	$t->sql("SELECT pg_terminate_backend($pid)");    # a new one has no access token
	$t->find_worker_pid(other_than => $pid);
	my $id = $t->sql('SELECT spinpanel.sync()');
	ok($t->wait_for_log(qr/spinpanel.credential" does not exist/, $from), 'the kept token cannot be read');
	$t->sql('ALTER TABLE spinpanel.credential_elsewhere RENAME TO credential');
	$t->run_finished($id);
	is($t->run_and_wait('sync')->{status}, 'done', '... when it can be, the account goes on');
	unlike($t->log_since($from), qr/does not act/, '... and did not stop meanwhile');
}

# while it cannot be written
$t->sql(q{CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not now''; END';
	CREATE TRIGGER not_now BEFORE INSERT OR UPDATE ON spinpanel.credential EXECUTE FUNCTION not_now()});
my $kept = $t->sql('SELECT refresh_token FROM spinpanel.credential');
for my $round (1 .. 2)
{
	$t->connect_account;
	is($t->run_and_wait('sync')->{status}, 'done', "a token that cannot be stored is used all the same ($round)");
}
is($t->sql('SELECT refresh_token FROM spinpanel.credential'), $kept, '... and really was not stored');
$t->sql('DROP TRIGGER not_now ON spinpanel.credential');

# --- a Partner Center that repeats what it was sent
for my $case ([ 400, 'description' ], [ 400, 'code' ], [ 403, 'message' ], [ 500, 'description' ], [ 401, 'description' ])
{
	my ($status, $member) = @$case;
	$t->fault({ action => 'status', status => $status, count => $status == 401 ? 2 : 6, match => { kind => [qw(subscriptions subscribedskus)] }, body => { code => 1000, $member => '{authorization}' } });
	my $run = $t->run_and_wait('adjust', 'Contoso');
	is(found(stored()), '', "Partner Center repeats the token in the $member of a $status: it is nowhere");
	$t->clear_faults;
}
like($t->sql('SELECT string_agg(error, E\'\\n\') FROM spinpanel.run_customer'), qr/withheld/, '... and that something was withheld is said');

# --- files that are no good
my $session = $t->session;
$session->query(q{CREATE FUNCTION pg_temp.attempt(text) RETURNS text LANGUAGE plpgsql AS
	'DECLARE _hint text; _detail text; _context text; BEGIN EXECUTE $1; RETURN ''00000''; EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _hint = PG_EXCEPTION_HINT, _detail = PG_EXCEPTION_DETAIL, _context = PG_EXCEPTION_CONTEXT; RETURN concat_ws('' '', SQLSTATE, SQLERRM, _hint, _detail, _context); END'});
for my $case (
	[ 'no JSON' => "client_secret=$secret" ],
	[ 'cut' => qq({"client_secret": "$secret", "refresh_tok) ],
	[ 'a list' => qq(["$secret"]) ],
	[ 'no object' => qq("$secret") ],
	[ 'no secret' => qq({"secret": "$secret"}) ],
	[ 'an empty secret' => qq({"client_secret": "", "refresh_token": "$refresh"}) ],
	[ 'a secret of another type' => qq({"client_secret": ["$secret"]}) ],
	[ 'not UTF-8' => qq({"client_secret": "$secret\xff"}) ],
	[ 'twice' => qq({"client_secret": "$secret"} {"client_secret": "$secret"}) ],
	[ 'a line break within' => qq({"client_secret": "$secret\n"}) ],
	[ 'too large' => qq({"client_secret": "$secret", "x": ") . ('x' x 70000) . '"}' ])
{
	my ($title, $content) = @$case;
	my $path = $t->credential_file($content, 'bad.json');
	my ($state, $message) = split / /, $session->query("SELECT pg_temp.attempt(\$\$SELECT spinpanel.connect_account('bad', '0f6f4f7e-3d0b-4d8a-9a53-000000000009', 'x', '$path', '" . $t->api_url . "', '" . $t->api_url . "')\$\$)"), 2;
	ok($state ne '00000' && $state ne 'XX000' && found($message) eq '', "a credential file that is bad ($title) is refused ($state), without quoting it") or diag($message);
	is(found($session->query("SELECT x::text FROM spinpanel._credential_facts('$path') x")), '', '... also by check_setup()');
}
$session->finish;

# while a token request, and another, hangs: what others see of the worker
for my $kind (qw(subscribedskus token))
{
	if ($kind eq 'token')
	{
		ok($t->poll(sub { $t->sql('SELECT refresh_token FROM spinpanel.credential') ne $kept }, 20), 'the token that could not be stored is stored when it can be');
	}
	my $rule = $t->fault({ action => 'hang', match => { kind => $kind } });
	$t->connect_account if $kind eq 'token';
	my $id = $t->sql('SELECT spinpanel.sync()');
	$t->poll(sub { (grep { $_->{id} == $rule } @{ $t->emulator('GET', 'faults') })[0]{fired} });
	is(found(as_text('SELECT * FROM pg_stat_activity') . slurp_file('/proc/' . $t->find_worker_pid . '/cmdline')), '', "while a request for $kind is under way, nothing shows in pg_stat_activity or the list of processes");
	$t->clear_faults;
	$t->run_finished($id);
}

# --- it survives a restart; the file's has been refused since the first exchange
$t->node->restart;
is($t->run_and_wait('sync')->{status}, 'done', 'after a restart the kept token is used');
$t->node->stop('immediate');
$t->node->start;
is($t->run_and_wait('sync')->{status}, 'done', '... after a crash, too');

# --- a token endpoint that does
sub stored { return as_text(join ' UNION ALL ', map { "SELECT x::text FROM spinpanel.$_ x" } qw(account run run_customer history)) }
for my $case (
	[ 'the request' => 'You sent {body}' ],
	[ 'the secret' => "You sent $secret" ],
	[ 'the secret, encoded' => 'You sent CANARY~s3cret%2Bwith%2Fodd%3Dcharacters' ],
	[ 'its end' => 'You sent something with/odd=characters' ],
	[ 'what is cut at the end' => ('x' x 300) . $secret ],
	[ 'the refresh token of the file' => "You sent $refresh" ],
	[ 'the refresh token as a code' => 'Sorry', $refresh ])
{
	my ($title, $description, $code) = @$case;
	$t->fault({ action => 'status', status => 400, match => { kind => 'token' }, body => { error => $code // 'invalid_client', error_description => "AADSTS7000215: No. $description" } });
	$t->connect_account;
	my $id = $t->sql('SELECT spinpanel.sync()');
	ok($t->wait_for("SELECT error FROM spinpanel.run WHERE run_id = $id", $code ? qr/HTTP status 400/ : qr/invalid_client/), "a token endpoint that repeats $title: the run gives a reason");
	is(found(stored()), '', '... without it');
	$t->clear_faults;
	$t->connect_account;
	$t->run_finished($id);
}
is($t->run_and_wait('sync')->{status}, 'done', 'then it goes on');
# --- a secret that is wrong: the account stops, says why, and tells
my $listener = $t->session;
$listener->query('LISTEN spinpanel');
$t->act({ do => 'set_secret', secret => 'another' });
$t->connect_account(credential_file => "$t->{dir}/main.json");    # as it is
my $run = $t->run_and_wait('sync', undef, seconds => 30);
is($run->{status}, 'failed', 'a secret that is refused: the run fails');
is($t->sql('SELECT status FROM spinpanel.account'), 'stopped', '... the account stops');
like($t->sql('SELECT status_reason FROM spinpanel.account'), qr/AADSTS7000215.*secret is wrong|secret is wrong.*AADSTS7000215/, '... with the reason');
like($listener->query('SELECT 1'), qr/"type":"account","id":1,"status":"stopped"/, '... and NOTIFY');
like($t->sql(q{SELECT string_agg(detail, ' ') FROM spinpanel.check_setup() WHERE item = 'account' AND NOT ok}), qr/stopped.*7000215/, '... check_setup() says so');
my $total = $t->counts->{total};
$t->run_and_wait('sync', undef, seconds => 30);
is($t->counts->{total}, $total, '... and nothing more is asked for');
$t->act({ do => 'set_secret', secret => $secret });
$t->connect_account;
is($t->run_and_wait('sync', undef, seconds => 30)->{status}, 'done', 'connected again, it goes on');
$listener->finish;

# --- who is refused with a refresh token that was kept, takes the file's
$t->load($scenario);    # knows the file's only
$t->connect_account;
is($t->run_and_wait('sync', undef, seconds => 30)->{status}, 'done', 'where the kept token is refused, the file is read again');

# --- app-only access: subscriptions can be read, licences cannot, and that is said
$t->load($scenario);
$t->connect_account(app_only => 1);
is($t->sql('SELECT count(*) FROM spinpanel.credential'), '0', 'a file without a refresh token: the one kept before is erased');
is($t->sql('SELECT access FROM spinpanel.account'), 'app', 'access is app-only');
$t->act({ customer => 'Contoso', do => 'raise', sku => 'SPB', quantity => 17 });
is($t->run_and_wait('adjust', undef, seconds => 30)->{status}, 'done', 'a run with app-only access is done');
is($t->sql('SELECT quantity FROM spinpanel.subscription'), '17', '... subscriptions are read');
is($t->seats('Contoso', 'SPB'), 17, '... nothing is removed');
like($t->sql(q{SELECT blocked_by FROM spinpanel.excess_seats() WHERE part_number = 'SPB'}), qr/licen[cs]e/, '... the pool says why');
like($t->sql(q{SELECT string_agg(detail || ' ' || hint, ' ') FROM spinpanel.check_setup() WHERE item IN ('credential', 'licence access') AND NOT ok}), qr/app.*refresh_token/is, '... and check_setup() what to do');
$t->connect_account;

# --- now look everywhere
for my $role (@roles)
{
	my ($state) = $t->sql_error('SELECT refresh_token FROM spinpanel.credential', user => $role);
	is($state, '42501', "$role cannot read the token that is kept");
	is($t->sql("SELECT count(*) FROM pg_attribute WHERE attrelid = 'spinpanel.credential'::regclass AND attnum > 0 AND has_column_privilege('$role', attrelid, attnum, 'SELECT')"), '0', '... not a column of it');
}
# A DBA may make statistics of what the optimizer asks for; bytes in them are shown by pg_stats_ext
$t->sql('CREATE STATISTICS public.of_runs (mcv) ON status, error FROM spinpanel.run; CREATE STATISTICS public.of_tokens (mcv) ON source, refresh_token FROM spinpanel.credential; ANALYZE');
{
	# Statistics need two tokens to show one
	my $session = $t->session;
	$session->query('BEGIN');
	$session->query(q{INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency, system_identifier, database_oid, connected_at)
		SELECT 'other', gen_random_uuid(), client_id, credential_file, api_url, login_url, 1, 1, 0, 0, now() FROM spinpanel.account;
		INSERT INTO spinpanel.credential SELECT max(a.account_id), max(c.refresh_token::text)::bytea || 'x', 'file', now(), now() FROM spinpanel.account a, spinpanel.credential c; ANALYZE spinpanel.credential});
	is($session->query('SELECT count(*) FROM spinpanel.credential'), '2', 'two tokens are kept');
	is($session->query(q{SELECT count(*) FROM pg_stats WHERE tablename = 'credential' AND attname = 'refresh_token'}), '0', '... no statistics show them');
	$session->query('ROLLBACK');
	$session->finish;
}
for my $place (look())
{
	is($place->[1], '', "nothing in $place->[0]");
}
cmp_ok($tables, '>', 40, "$tables tables and views were looked into");
is(tables_of('postgres'), '', 'no table holds a secret in the clear');

# --- and if there were something, each look would find it
{
	my $session = $t->session;
	$session->query("DO \$\$ BEGIN RAISE LOG 'a leak: $secret'; END \$\$");
	$t->sql("UPDATE spinpanel.run SET error = '$secret'; GRANT USAGE ON SCHEMA spinpanel TO nobody_special, monitor;
		GRANT SELECT ON spinpanel.run TO nobody_special, monitor; CREATE VIEW spinpanel_report.a_leak AS SELECT '$secret' AS secret; GRANT SELECT ON spinpanel_report.a_leak TO the_reader; ALTER ROLE monitor SET a.leak = '$secret'; ANALYZE");
	$t->set('spinpanel.ca_file' => "/tmp/$secret");
	for my $place (look())
	{
		isnt($place->[1], '', "a leak in $place->[0] would be found");
	}
	$session->finish;
	$t->set('spinpanel.ca_file' => $t->{ca_file});
}

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
