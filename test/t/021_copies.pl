# Physical copies: two servers of one machine that can read one credential file never act at the same time.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(user_count => 20), streaming => 1, preload => 'spinpanel', conf => { 'spinpanel.poll_interval' => '300ms', 'spinpanel.retry_max_delay' => '200ms' });
is($t->run_and_wait('sync')->{status}, 'done', 'the original works');

sub assign { my ($s, $user) = @_; return $s->sql("SELECT request_id FROM spinpanel.assign_license('Contoso', '$user\@contoso.example', 'SPB')") }
sub setup { my ($s) = @_; return $s->sql(q{SELECT ok || ' ' || detail FROM spinpanel.check_setup() WHERE item = 'copy'}) }

# --- a base backup with an open request, started beside the original
$t->sql('SELECT spinpanel.pause()');
my $id = assign($t, 'user11');
$t->node->backup('night');
my $copy = bless { %$t, node => PostgreSQL::Test::Cluster->new('copy') }, 'SpinpanelTest';
$copy->node->init_from_backup($t->node, 'night');
$copy->node->append_conf('postgresql.conf', 'port = ' . $copy->node->port);
$copy->node->start;
$copy->wait_ok('SELECT idle_reason FROM spinpanel.account', qr/another server on this machine/, 'a copy beside the original does not act');
like(setup($copy), qr/^false another server on this machine acts for main/, '... check_setup() says so');
like(setup($t), qr/^true/, '... and nothing of the original');
$copy->sql('SELECT spinpanel.resume()');
my $run = $copy->sql('SELECT spinpanel.sync()');
$t->sql('SELECT spinpanel.resume()');
is($t->request_finished($id)->{status}, 'done', 'the original does what was asked for');
is($t->seats('Contoso', 'SPB'), 11, '... one seat is bought');
$copy->wait_ok("SELECT status FROM spinpanel.run WHERE run_id = $run", 'failed', 'what was begun in the copy fails');
like($copy->sql("SELECT error FROM spinpanel.run WHERE run_id = $run"), qr/another server/, '... for that reason');
is($copy->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $id"), 'queued', '... and its requests wait');
$copy->sql(q{SELECT spinpanel.cancel_request(request_id) FROM spinpanel.license_request WHERE finished_at IS NULL});

# --- the file is replaced: neither way round does the copy find it free
my $replace = sub {
	my ($a) = @{ $t->emulator('GET', 'accounts') };
	$t->credential_file({ client_secret => $a->{client_secret}, refresh_token => $a->{refresh_token} }, 'main.json');
};
for my $round (1 .. 3)
{
	$replace->();
	$copy->sql('SELECT pg_reload_conf()') if $round > 1;
	$t->node->reload;
	is($t->run_and_wait('sync')->{status}, 'done', "the file is replaced ($round): the original acts");
	like($copy->sql('SELECT idle_reason FROM spinpanel.account'), qr/another server/, '... the copy does not');
}
# --- nor when it was replaced twice between two looks of the copy, and the original has not seen the second one yet
my $pid = $copy->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'spinpanel%'});
kill STOP => $pid or die "kill: $!";
$replace->();
$t->node->reload;
is($t->run_and_wait('sync')->{status}, 'done', 'the file is replaced while the copy sleeps');
kill STOP => my $original = $t->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'spinpanel%'});
$replace->();
kill CONT => $pid;
$copy->node->reload;
$copy->sql('SELECT spinpanel.sync()');    # wakes the worker: it has looked when this run has failed
$copy->wait_ok(q{SELECT count(*) FROM spinpanel.run WHERE status = 'queued'}, 0, '... and once more before the original looks: the copy has looked');
kill CONT => $original;
is($t->run_and_wait('sync')->{status}, 'done', '... the original acts');
like($copy->sql('SELECT idle_reason FROM spinpanel.account'), qr/another server/, '... the copy does not');
# --- nor when the worker is started anew
$t->kill9;
is($t->run_and_wait('sync')->{status}, 'done', 'after kill -9 one of them acts') if $t->wait_for('SELECT idle_reason IS NULL FROM spinpanel.account', 't', 3);
isnt($t->sql('SELECT idle_reason IS NULL FROM spinpanel.account') . $copy->sql('SELECT idle_reason IS NULL FROM spinpanel.account'), 'tt', 'never both');

# --- the other is gone: the one that is left goes on by itself
$t->node->stop('immediate');
$copy->wait_ok('SELECT idle_reason IS NULL FROM spinpanel.account', 't', 'when the other server is gone, it acts');
is($copy->run_and_wait('sync')->{status}, 'done', '... and reads');
$copy->set('spinpanel.enabled' => 'off');
$t->node->start;
$t->wait_ok('SELECT idle_reason IS NULL FROM spinpanel.account', 't', 'spinpanel.enabled = off in one of them leaves the file to the other');
$copy->node->stop;
$t->node->stop;
done_testing();
