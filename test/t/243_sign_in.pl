# A person signs in for an account: with the address that sign_in_url() gives, and what the browser ends at.  No other tool is
# needed; nothing of it is of use to anybody else; and what is stored, encrypted, is of no use without the credential file.
use strict;
use warnings;

use SpinpanelTest qw(one_customer slurp_file);
use PostgreSQL::Test::Utils;
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), options => { rotate_refresh_token => JSON::PP::true }, account => 0, streaming => 1,
	preload => 'spinpanel' . (-e `pg_config --pkglibdir` =~ s/\n//r . '/pgaudit.so' ? ',pgaudit' : '') . ',pg_stat_statements,auto_explain',
	conf => { 'spinpanel.poll_interval' => '300ms', wal_level => 'logical', log_min_messages => 'debug5', log_statement => 'all', log_min_duration_statement => 0,
		log_parameter_max_length_on_error => -1, 'pg_stat_statements.track' => 'all', 'pg_stat_statements.track_utility' => 'on',
		'auto_explain.log_min_duration' => 0, 'auto_explain.log_nested_statements' => 'on', 'auto_explain.log_verbose' => 'on' });
my $audited = $t->sql('SHOW shared_preload_libraries') =~ /pgaudit/;
if ($audited)
{
	$t->sql('CREATE EXTENSION pgaudit');
	$t->set('pgaudit.log' => 'all', 'pgaudit.log_parameter' => 'on', 'pgaudit.log_catalog' => 'off');
}
$t->sql(q{CREATE EXTENSION pg_stat_statements; CREATE PUBLICATION canary FOR ALL TABLES; SELECT pg_create_logical_replication_slot('canary', 'test_decoding'), pg_create_logical_replication_slot('published', 'pgoutput');
	CREATE STATISTICS public.canary (mcv) ON source, refresh_token FROM spinpanel.credential; CREATE STATISTICS public.canary_in (mcv) ON state, code FROM spinpanel.sign_in});
$t->sql("CREATE ROLE the_$_ LOGIN; SELECT spinpanel.grant_role('$_', 'the_$_')") for qw(reader operator manager admin);
$t->sql('CREATE ROLE bi LOGIN; GRANT pg_read_all_data, pg_monitor TO bi');
my ($account) = @{ $t->emulator('GET', 'accounts') };
my $secret = $account->{client_secret};

sub url { return $t->sql(q{SELECT spinpanel.sign_in_url('main')}, user => 'the_admin') }
sub browse { my ($url, %person) = @_; return $t->emulator('POST', 'sign_in', { url => $url, %person })->{location} }
sub sign_in { my ($answer) = @_; return ($t->sql_error("SELECT spinpanel.sign_in('main', " . SpinpanelTest::quote($answer) . ')', user => 'the_admin'))[0] }
sub outcome { $t->wait_for('SELECT outcome IS NOT NULL FROM spinpanel.sign_in', 't', 20); return $t->sql('SELECT outcome FROM spinpanel.sign_in') }
sub access { return $t->sql('SELECT status || \' \' || access FROM spinpanel.account') }

# --- the file holds the secret alone
$t->connect_account(app_only => 1);
is($t->run_and_wait('sync')->{status}, 'done', 'a file without a refresh token');
is(access(), 'active app', '... gives app-only access');
like($t->sql(q{SELECT hint FROM spinpanel.check_setup() WHERE item = 'credential'}), qr/sign_in_url\('main'\)/, '... and check_setup() says how to sign in');
is(($t->sql_error(q{SELECT spinpanel.sign_in_url('main')}, user => 'the_manager'))[0], '42501', 'a manager may not sign in');

# --- what is no good is refused at once
my $url = url();
like($url, qr{^http://127\.0\.0\.1:\d+/[0-9a-f-]{36}/oauth2/v2\.0/authorize\?}, 'sign_in_url() gives the address of the sign-in');
like($url, qr/[?&]$_(&|$)/, "... with $_") for 'code_challenge_method=S256', 'code_challenge=[\w-]{43}', 'state=[\w-]{43}', 'redirect_uri=http%3A%2F%2Flocalhost', 'scope=\S+offline_access';
isnt(url(), $url, '... another one each time');
is(sign_in(browse($url)), '22023', 'the answer to a former address is refused');
is(sign_in(browse(url(), deny => JSON::PP::true)), '22023', 'a person who declines');
is(sign_in($_), '22023', "'$_' is refused") for '', 'x', 'http://localhost/', 'http://localhost/?state=a', 'two words', 'http://localhost/?code=' . ('x' x 40);
is(sign_in(undef), '22004', 'so is NULL');

# --- no MFA: traded, and not taken
is(sign_in(browse(url(), mfa => JSON::PP::false)), '00000', 'a person without a second factor');
like(outcome(), qr/multifactor/, '... is told why that is not enough');
is(access(), 'active app', '... the account is as it was');

# --- a code that is too old, and the first that is good
my $location = browse(url());
$t->emulator('POST', 'clock', { advance_seconds => 700 });
is(sign_in($location), '00000', 'a code of twelve minutes ago');
like(outcome(), qr/70008|expired/, '... is refused by Microsoft, and said so');
my $from = $t->log_position;
$location = browse(url());
is(sign_in("  $location\n"), '00000', 'the address at which the browser ended is taken');
is(outcome(), 'done', '... and traded');
is(sign_in($location), '22023', '... once');
$t->wait_ok('SELECT access FROM spinpanel.account', 'app+user', 'access is on behalf of the user now');
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', '... licences can be read');
is($t->sql('SELECT count(*) > 0 FROM spinpanel.user_license'), 't', '... and are');
like($t->sql(q{SELECT string_agg(event || ' ' || actor, ', ' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'sign'}), qr/sign-in begun the_admin.*sign-in answered the_admin, signed in /, 'it is on record');
is($t->sql(q{SELECT ok FROM spinpanel.check_setup() WHERE item = 'credential'}), 't', 'check_setup() is content');
$t->connect_account(app_only => 1);
is($t->run_and_wait('sync')->{status} . ' ' . access(), 'done active app+user', 'connected again: who signed in need not do it again');
$t->node->restart;
is($t->run_and_wait('sync')->{status} . ' ' . access(), 'done active app+user', '... nor after a restart');

# --- near its end
$t->sql("UPDATE spinpanel.credential SET used_at = spinpanel._now() - interval '80 days'");
like($t->sql(q{SELECT ok || ' ' || detail || ' ' || hint FROM spinpanel.check_setup() WHERE item = 'credential'}), qr/^false .*unused.*sign_in_url/, 'check_setup() says that a sign-in is near');

# --- the secret was changed: what is stored cannot be read any more
$t->act({ do => 'set_secret', secret => 'a new secret of 40 characters, made up' });
$t->credential_file({ client_secret => 'a new secret of 40 characters, made up' }, 'main.json');
$t->connect_account(credential_file => "$t->{dir}/main.json");
$t->wait_ok('SELECT status FROM spinpanel.account', 'stopped', 'with another client secret the stored token is of no use');
like($t->sql('SELECT status_reason FROM spinpanel.account'), qr/cannot be decrypted.*sign_in_url\('main'\)/, '... said with what to do');
$location = browse(url());
my ($code) = $location =~ /[?&]code=([^&]+)/;
is(sign_in($code), '00000', 'the code alone is taken, too');
is(outcome(), 'done', '... and traded');
$t->wait_ok('SELECT status FROM spinpanel.account', 'active', 'the account acts again');
is($t->run_and_wait('sync')->{status}, 'done', '... and reads');

# --- the person's token is revoked: stopped, and how to mend it
$t->act({ do => 'revoke_refresh_token' });
$t->connect_account(credential_file => "$t->{dir}/main.json");
$t->wait_ok('SELECT status FROM spinpanel.account', 'stopped', 'a token that was revoked stops the account');
like($t->sql('SELECT status_reason FROM spinpanel.account'), qr/invalid_grant.*sign_in_url\('main'\)/, '... said with what to do');
is(sign_in(browse(url())), '00000', 'somebody signs in again');
$t->wait_ok('SELECT status FROM spinpanel.account', 'active', '... and it acts again');

# --- two accounts cannot use each other's, nor can somebody who altered it
$t->sql("UPDATE spinpanel.credential SET refresh_token = set_byte(refresh_token, 60, get_byte(refresh_token, 60) # 1)");
$t->connect_account(credential_file => "$t->{dir}/main.json");
$t->wait_ok('SELECT status FROM spinpanel.account', 'stopped', 'what was altered is not used');
is(sign_in(browse(url())), '00000', 'somebody signs in again');
$t->wait_ok('SELECT status FROM spinpanel.account', 'active', '... and it acts again');

# --- the secrets are nowhere in the clear.  (What was passed to sign_in() is in the log: it was good once.)
my %needles = ('the client secret' => $secret, 'the new one' => 'a new secret of 40', '... as it is sent' => 'a%20new%20secret', 'a refresh token' => '1.AX0A', 'an access token' => 'eyJ0eXAiOiJKV1Qi', 'a verifier' => 'code_verifier');
sub found { my ($text) = @_; return join ', ', grep { index($text // '', $needles{$_}) >= 0 } sort keys %needles }
sub output { my ($out, $err) = run_command([@_]); return $out . $err }
$t->sql('ANALYZE; CHECKPOINT');
my %places = (
	'the log' . ($audited ? ', pgaudit in it' : '') => $t->log_since(0),
	'logical decoding' => $t->sql(q{SELECT string_agg(data, ' ') FROM pg_logical_slot_get_changes('canary', NULL, NULL)}),
	'what subscribers of a publication are sent' => $t->sql(q{SELECT string_agg(encode(data, 'escape'), ' ') FROM pg_logical_slot_get_binary_changes('published', NULL, NULL, 'proto_version', '1', 'publication_names', 'canary')}),
	'statistics, for a superuser' => $t->sql(q{SELECT string_agg(x, ' ') FROM (SELECT s::text AS x FROM pg_statistic s UNION ALL SELECT s::text FROM pg_stats_ext s) s}),
	'pg_dump' => output('pg_dump', $t->connstr),
	(map { $_ => $t->sql("SELECT string_agg(x::text, ' ') FROM $_ x", user => 'bi') } qw(pg_stats pg_stats_ext pg_stat_activity pg_stat_statements pg_settings)));
like($places{'what subscribers of a publication are sent'}, qr/credential/, 'a publication of all tables holds it');
like($places{'logical decoding'}, qr/table spinpanel\.credential: UPDATE/, 'subscribers are sent what is stored') or diag(substr $places{'logical decoding'}, 0, 300);
for my $role (qw(the_reader the_operator the_manager the_admin bi postgres))
{
	# all in one session; a view may use a function that the role may not call
	my @tables = map { $_->{name} } $t->rows(qq{SELECT c.oid::regclass::text AS name FROM pg_class c WHERE relnamespace::regnamespace::text ~ '^spinpanel' AND relkind IN ('r', 'v')
		AND has_schema_privilege('$role', relnamespace, 'USAGE') AND has_table_privilege('$role', c.oid, 'SELECT')});
	my (undef, $out, $err) = $t->node->psql('postgres', join('', map { "SELECT * FROM $_;\n" } @tables), on_error_stop => 0, extra_params => [ '-U', $role ]);
	$places{"what $role reads"} = $out . $err;
}
$t->node->backup('canary');
my $backup = $t->node->backup_dir . '/canary';
for my $file (split /\0/, `find '$backup' -type f -print0`)
{
	$places{'a base backup, its WAL'} .= slurp_file($file) if -s $file < 20_000_000;
}
cmp_ok(length $places{'a base backup, its WAL'}, '>', 1_000_000, 'a base backup was taken');
is(found($places{$_}), '', "nothing in $_") for sort keys %places;
like($places{'the log' . ($audited ? ', pgaudit in it' : '')}, qr/AUDIT:.*credential/, 'pgaudit wrote down that the token was stored') if $audited;

$t->node->stop;
done_testing();
