# Secrets go to no server that is not the right one: certificates, plain http, hosts that nobody allowed, proxies.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'CANARY~s3cret+with/odd=characters';
my %needles = ('the client secret' => 'CANARY~s3cret', 'its end' => 'odd=characters', 'a refresh token' => 'CANARY-refresh', 'an access token' => 'eyJ0eXAiOiJKV1Qi');
sub found { my ($text) = @_; return join ', ', grep { index($text // '', $needles{$_}) >= 0 } sort keys %needles }

# Proxies of the environment must not decide whom we talk to
my $proxy = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => SpinpanelTest->unused_port, Listen => 5, Proto => 'tcp', Blocking => 0) or die "listen: $!";
local @ENV{qw(http_proxy https_proxy HTTPS_PROXY ALL_PROXY)} = ('http://127.0.0.1:' . $proxy->sockport) x 4;
local $ENV{no_proxy} = '127.0.0.1,localhost';    # this test's own requests

my $t = SpinpanelTest->start(
	scenario => { %{ one_customer() }, accounts => [ { name => 'main', client_secret => $secret, refresh_token => '0.AX0A-CANARY-refresh-token' } ] },
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.retry_max_delay' => '100ms', 'spinpanel.request_timeout' => '1s', 'spinpanel.poll_interval' => '200ms', log_min_messages => 'debug1' });
$t->sql(q{CREATE ROLE admin LOGIN; SELECT spinpanel.grant_role('admin', 'admin')});
is($t->run_and_wait('sync')->{status}, 'done', 'the right one is used');

# --- no server but the right one.  openssl s_server writes down what it is sent
my $tls = "$t->{dir}/tls";
mkdir $tls;
my $home = $t->{ca_file};
$home =~ s{/ca\.pem$}{};
sub openssl { my ($out, $err) = run_command([ 'openssl', @_ ]); return }
sub certificate
{
	my ($name, $names, %options) = @_;
	my $path = "$tls/$name";
	openssl(qw(req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj), "/CN=$name", '-keyout', "$path.key", '-out', "$path.csr");
	append_to_file("$path.ext", "subjectAltName=$names\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
	if ($options{self_signed})
	{
		openssl(qw(x509 -req -days 30 -in), "$path.csr", '-signkey', "$path.key", '-extfile', "$path.ext", '-out', "$path.pem");
	}
	else
	{
		mkdir "$path.ca";
		append_to_file("$path.ca/index", '');
		append_to_file("$path.ca/serial", "01\n");
		append_to_file("$path.cnf", "[ca]\ndefault_ca=c\n[c]\ndatabase=$path.ca/index\nserial=$path.ca/serial\nnew_certs_dir=$path.ca\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n");
		openssl('ca', '-batch', '-config', "$path.cnf", '-cert', "$home/ca.pem", '-keyfile', "$home/ca.key", '-startdate', $options{from} // '20250101000000Z', '-enddate', $options{to} // '20400101000000Z',
			'-extfile', "$path.ext", '-in', "$path.csr", '-out', "$path.pem", '-notext');
	}
	-s "$path.pem" or die "no certificate $name\n";
	return $path;
}
certificate('good', 'DNS:localhost,IP:127.0.0.1');
certificate('other host', 'DNS:partner.example');
certificate('expired', 'DNS:localhost,IP:127.0.0.1', from => '20240101000000Z', to => '20240201000000Z');
certificate('not valid yet', 'DNS:localhost,IP:127.0.0.1', from => '20390101000000Z', to => '20400101000000Z');
certificate('self-signed', 'DNS:localhost,IP:127.0.0.1', self_signed => 1);

# A server with that certificate is to be used: what it received, and what the run says
sub try_server
{
	my ($name) = @_;
	my $port = $t->unused_port;
	my ($in, $out, $err) = ('', '', '');
	my $server = IPC::Run::start([ 'openssl', 's_server', '-accept', $port, '-cert', "$tls/$name.pem", '-key', "$tls/$name.key", '-quiet', '-alpn', 'http/1.1' ], '<', \$in, '>', \$out, '2>', \$err);
	$t->poll(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, 10) or die "no s_server\n";
	my $url = "https://localhost:$port";
	$t->connect_account(api_url => $url, login_url => $url);
	my $id = $t->sql('SELECT spinpanel.sync()');
	my $error = '';
	$t->poll(sub { eval { $server->pump_nb }; $error = $t->sql("SELECT coalesce(error, '') FROM spinpanel.run WHERE run_id = $id"); return $error || $out; }, 20);
	$t->sql("UPDATE spinpanel.run SET status = 'failed' WHERE run_id = $id");
	eval { $server->kill_kill(grace => 1) };
	return ($out, $error);
}
$t->set('spinpanel.request_timeout' => '400ms');
{
	my ($received, $error) = try_server('good');
	like($received, qr/client_secret=CANARY/, 'a server with the right certificate is sent the secret (so that this test is one)');
}
for my $case ([ 'other host' => qr/name|host/i ], [ 'expired' => qr/expired/i ], [ 'not valid yet' => qr/not yet valid/i ], [ 'self-signed' => qr/self.signed/i ])
{
	my ($name, $why) = @$case;
	my ($received, $error) = try_server($name);
	is($received, '', "a server with another certificate ($name) is sent nothing");
	like($error, $why, '... and the run says why');
}
my $total = $t->counts->{total};
$t->set('spinpanel.ca_file' => '');
$t->connect_account(tls => 1);
my $id = $t->sql('SELECT spinpanel.sync()');
ok($t->wait_for("SELECT error FROM spinpanel.run WHERE run_id = $id", qr/certificate/i, 20), 'an unknown authority is refused');
is($t->counts->{total}, $total, '... and nothing is sent');
$t->set('spinpanel.ca_file' => $t->{ca_file}, 'spinpanel.request_timeout' => '1s');
is($t->run_finished($id, 30)->{status}, 'done', 'once it is known, what was asked for is done');

# --- plain http goes to the machine itself only, whatever is written into the table
my ($address) = split ' ', `hostname -I` // '';
my $ear = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $t->unused_port, Listen => 5, Proto => 'tcp', Blocking => 0) or die "listen: $!";
my $port = $ear->sockport;
$t->set('spinpanel.allowed_hosts' => join ',', '127.0.0.1', 'localhost', $address // (), '192.0.2.77', 'localhost.example.com');
# (How addresses are read is tested without a server, too: test/unit)
for my $host ($address // (), 'localhost.example.com', '127.0.0.1@192.0.2.77')
{
	my $url = "http://$host:$port";
	for my $column (qw(login_url api_url))
	{
		$t->connect_account;
		$t->wait_idle;
		$t->act({ do => 'revoke_access_tokens' }) if $column eq 'login_url';
		$t->sql("UPDATE spinpanel.account SET $column = '$url', connected_at = now()");
		my $before = $t->counts->{by_kind}{customers} // 0;
		$id = $t->sql('SELECT spinpanel.sync()');
		ok($t->wait_for("SELECT coalesce((SELECT error FROM spinpanel.run WHERE run_id = $id), (SELECT status_reason FROM spinpanel.account))", qr/plain http|must be https/, 20), "$column http://$host is refused by the worker");
		is($t->counts->{by_kind}{customers} // 0, $before, '... and no customer is asked for');
		$t->sql("UPDATE spinpanel.run SET status = 'failed' WHERE run_id = $id");
	}
	my ($state, $message) = $t->sql_error("SELECT spinpanel.connect_account('x', '0f6f4f7e-3d0b-4d8a-9a53-000000000009', 'x', '$t->{dir}/main.json', '$url', '$url')");
	is($state, '22023', '... and by connect_account()');
}
ok(!$ear->accept, 'nobody came to the address that listens');

# --- a proxy is used if spinpanel.proxy names it, and is shown nothing
$t->set('spinpanel.allowed_hosts' => '127.0.0.1,localhost,partner.example');
$t->connect_account(api_url => 'https://partner.example', login_url => 'https://partner.example');
$id = $t->sql('SELECT spinpanel.sync()');
ok($t->wait_for("SELECT error FROM spinpanel.run WHERE run_id = $id", qr/resolve|DNS|timed? ?out/i, 20), 'a host that has no address');
ok(!$proxy->accept, '... no proxy of the environment is asked');
$t->set('spinpanel.proxy' => '127.0.0.1:' . $proxy->sockport);
my $client;
ok($t->poll(sub { $client = $proxy->accept }, 20), 'a proxy that is named is used');
my $said = '';
$t->poll(sub { sysread $client, $said, 4096, length $said; $said =~ /\r\n\r\n/ }, 10);
like($said, qr/^CONNECT partner\.example:443 /, '... as a tunnel');
is(found($said), '', '... and is told no secret');
close $client;
$t->set('spinpanel.proxy' => '');
$t->sql("UPDATE spinpanel.run SET status = 'failed' WHERE run_id = $id");

# --- other hosts than Microsoft's only where a superuser allows them: the worker looks, too
$t->connect_account;
$t->set('spinpanel.allowed_hosts' => 'partner.example');
my $before = $t->counts->{total};
$id = $t->sql('SELECT spinpanel.sync()');
ok($t->wait_for("SELECT coalesce((SELECT error FROM spinpanel.run WHERE run_id = $id), (SELECT status_reason FROM spinpanel.account))", qr/allowed_hosts/, 20), 'a host that is allowed no longer is refused by the worker');
is($t->counts->{total}, $before, '... and nothing is sent');
my ($state) = $t->sql_error("SET spinpanel.allowed_hosts = 'localhost'", user => 'admin');
is($state, '42501', 'only a superuser may allow hosts');

$t->set('spinpanel.allowed_hosts' => '127.0.0.1,localhost');
ok($t->wait_for('SELECT status FROM spinpanel.account', 'active', 30), 'allowed again, the account comes back by itself');
is($t->run_and_wait('sync')->{status}, 'done', '... and goes on');
is(found($t->log_since(0)), '', 'no secret in the log');
$t->node->stop;
done_testing();
