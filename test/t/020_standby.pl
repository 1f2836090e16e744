# A standby is quiet; promoted, it goes on by itself, and nothing is bought twice.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $primary = SpinpanelTest->start(name => 'primary', streaming => 1, scenario => one_customer());
is($primary->run_and_wait('sync', 'Contoso')->{status}, 'done', 'the primary works');

my $standby = SpinpanelTest->start(name => 'standby', standby_of => $primary, emulator => $primary);
$primary->node->wait_for_catchup($standby->node, 'replay');

# --- as a standby
is($standby->worker_count, '0', 'a standby runs no worker');
is($standby->sql('SELECT count(*) FROM spinpanel.customer'), '1', 'it has the mirror');
is($standby->sql('SELECT count(*) FROM spinpanel.excess_seats()'), $primary->sql('SELECT count(*) FROM spinpanel.excess_seats()'),
	'it answers what only reads');
for my $call (
	"spinpanel.sync()",
	"spinpanel.adjust('Contoso')",
	"spinpanel.nightly()",
	"spinpanel.assign_license('Contoso', 'user11\@contoso.example', 'SPB')",
	"spinpanel.release_license('Contoso', 'user01\@contoso.example', 'SPB')",
	"spinpanel.set_relationship('Contoso', auto_increment => true)",
	"spinpanel.pause()")
{
	my ($state, $message) = $standby->sql_error("SELECT $call");
	is($state, '25006', "standby: $call is refused");
}

# --- a request that the primary accepted and did not get to
$primary->set('spinpanel.enabled' => 'off');
my $id = $primary->sql("SELECT request_id FROM spinpanel.assign_license('Contoso', 'user11\@contoso.example', 'SPB')");
$primary->node->wait_for_catchup($standby->node, 'replay');
$primary->node->stop('immediate');

$standby->node->promote;
like($standby->find_worker_pid, qr/^\d+$/, 'promoted, it starts its worker');
is($standby->request_finished($id)->{status}, 'done', 'and finishes what the primary had accepted');
my @raised = $standby->ledger(action => ['raise'], customer => 'Contoso');
is(scalar @raised, 1, 'one purchase');
is($standby->seats('Contoso', 'SPB'), 11, 'of one seat');
my @assigned = $standby->ledger(action => ['assign'], customer => 'Contoso');
is(scalar @assigned, 1, 'one assignment');

# --- cut off between sending and recording: the promoted server looks before it does anything
my $third = SpinpanelTest->start(name => 'third', start => 0, standby_of => $standby, emulator => $primary);
$standby->conf(synchronous_standby_names => '*');
$third->node->start;
$standby->node->reload;
$standby->wait_for("SELECT sync_state FROM pg_stat_replication", 'sync');
$standby->fault({ match => { kind => 'patch_subscription' }, action => 'hang', when => 'after' });
$id = $standby->sql("SELECT request_id FROM spinpanel.assign_license('Contoso', 'user12\@contoso.example', 'SPB')");
ok($standby->poll(sub { $standby->seats('Contoso', 'SPB') == 12 }), 'the purchase took place, its answer is on the way');
$standby->node->stop('immediate');
$standby->clear_faults;
$third->node->promote;
$third->conf(synchronous_standby_names => '');
$third->node->reload;
is($third->request_finished($id)->{status}, 'done', 'the next server finishes the request');
is($third->seats('Contoso', 'SPB'), 12, 'and bought nothing a second time');
is(scalar($third->ledger(action => ['assign'], customer => 'Contoso')), 2, 'two assignments in all');
is_deeply($third->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'no pool is overdrawn');

$third->node->stop;
done_testing();
