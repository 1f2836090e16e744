# A standby is quiet; promoted, it goes on by itself, and nothing is bought twice.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $primary = SpinpanelTest->start(name => 'primary', streaming => 1, scenario => one_customer(subscriptions => [ { offer => 'legacy-SPB', quantity => 13, started_days_ago => 400 } ]));
is($primary->run_and_wait('sync')->{status}, 'done', 'the primary works');

my $standby = SpinpanelTest->start(name => 'standby', standby_of => $primary, emulator => $primary);
$primary->node->wait_for_catchup($standby->node, 'replay');

# --- as a standby
is($standby->worker_count, '0', 'a standby runs no worker');
is($standby->sql('SELECT count(*) FROM spinpanel.customer'), '1', 'it has the mirror');
like($standby->sql(q{SELECT ok || ' ' || detail FROM spinpanel.check_setup() WHERE item = 'worker'}), qr/^true not running: this is a standby/, '... and check_setup() knows why there is no worker');
is($standby->sql('SELECT count(*) FROM spinpanel.excess_seats()'), $primary->sql('SELECT count(*) FROM spinpanel.excess_seats()'),
	'it answers what only reads');
for my $call (
	"spinpanel.sync()",
	"spinpanel.adjust('Contoso')",
	"spinpanel.nightly()",
	"spinpanel.set_relationship('Contoso', auto_increment => true)",
	"spinpanel.pause()")
{
	my ($state, $message) = $standby->sql_error("SELECT $call");
	is($state, '25006', "standby: $call is refused");
}

# --- a run that the primary accepted and did not get to
$primary->set('spinpanel.enabled' => 'off');
my $id = $primary->sql('SELECT spinpanel.sync()');
$primary->node->wait_for_catchup($standby->node, 'replay');
$primary->node->stop('immediate');

$standby->node->promote;
like($standby->find_worker_pid, qr/^\d+$/, 'promoted, it starts its worker');
is($standby->run_finished($id)->{status}, 'done', 'and finishes what the primary had accepted');

# --- cut off between sending and recording: the promoted server looks before it does anything
$standby->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true, cooldown => '0')});
my $third = SpinpanelTest->start(name => 'third', start => 0, standby_of => $standby, emulator => $primary);
$standby->conf(synchronous_standby_names => '*');
$third->node->start;
$standby->node->reload;
$standby->wait_for("SELECT sync_state FROM pg_stat_replication", 'sync');
$standby->fault({ match => { kind => 'patch_subscription' }, action => 'hang', when => 'after' });
$standby->sql("SELECT spinpanel.adjust('Contoso')");
ok($standby->poll(sub { $standby->seats('Contoso', 'SPB') == 10 }), 'the seats are given back, the answer is on the way');
$standby->node->stop('immediate');
$standby->clear_faults;
$third->node->promote;
$third->conf(synchronous_standby_names => '');
$third->node->reload;
$third->wait_for(q{SELECT string_agg(DISTINCT status, ',') FROM spinpanel.operation}, 'done');
is($third->seats('Contoso', 'SPB'), 10, 'the next server knows that it was done');
is(scalar($third->ledger(action => ['lower'], customer => 'Contoso')), 1, 'and did it once');
is_deeply($third->emulator('GET', 'invariants')->{overdrawn_pools}, [], 'no pool is overdrawn');

$third->node->stop;
done_testing();
