# What people, and Partner Center, do at the worst moment: between our last read and our change, between an answer and its
# effect, after a decision was taken.  The emulator's ledger and state must show that nobody lost a seat, that nothing was
# done twice, and that what a person decided stands.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $t = SpinpanelTest->start(
	scenario => { customers => [ { name => 'Contoso', domain => 'contoso.example', user_count => 1 } ] },
	conf => { 'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms', 'spinpanel.settle_time' => '1h' });

# A fresh world with one customer, and a fresh database that has read it, adjustment on
sub fresh
{
	my ($subscriptions, $users, $assigned, %options) = @_;
	$t->clear_faults;
	$t->load({ customers => [ { name => 'Contoso', domain => 'contoso.example', user_count => $users, assigned => { SPB => $assigned }, subscriptions => $subscriptions } ],
		options => { requests_per_minute => 0, %options } });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account;
	$t->run_and_wait('sync')->{status} eq 'done' or return fail('the first reading');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, removal_limit_percent => 100)});
	return;
}

sub quiet { return $t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}) eq '0' }, 40) }
sub ours { return scalar $t->ledger(action => [ $_[0] ], actor => ['app+user']) }
sub only { my ($s) = @{ $t->state('Contoso')->{subscriptions} }; return $s }
sub by { my ($key, $value) = @_; my ($s) = grep { ($_->{$key} // '') eq $value } @{ $t->state('Contoso')->{subscriptions} }; return $s }
sub told { return diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, subscription_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|bought|adjustment'})) }

my $old = { product => $spb, quantity => 10, ends_in_days => 200, friendly_name => 'old', batches => [ { quantity => 10, hours_left => -5000 } ] };
my $new = { product => $spb, quantity => 3, ends_in_days => 363, started_days_ago => 2, friendly_name => 'new' };

# --- seats taken while a whole subscription is cancelled come back on another one
fresh([ $old, $new ], 12, 10);
my $cancelled = by(friendly_name => 'new');
$t->fault({ action => 'none', match => { kind => 'patch_subscription', path => $cancelled->{id} }, nth => 1,
	before_act => [ map { { customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' } } 11, 12 ] });
$t->run_and_wait('adjust', 'Contoso');
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 12 }, 20), 'two seats taken while their subscription is cancelled come back on another one') or told();
quiet();
is(ours('cancel'), 1, '... it was cancelled');
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... nobody is left without');
is($t->seats('Contoso', 'SPB'), 12, '... and no seat more is bought');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats are being bought back'}), '1', '... it is on record');

# ... and where there is no other one, that is on record, too
fresh([ { %$new, quantity => 3 } ], 3, 0);
$t->sql(q{UPDATE spinpanel.sku SET consumption_seen = true; UPDATE spinpanel.pool SET consumption_seen = true});
$t->fault({ action => 'none', match => { kind => 'patch_subscription' }, nth => 1,
	before_act => { customer => 'Contoso', do => 'assign', user => 'user01@contoso.example', sku => 'SPB' } });
$t->run_and_wait('adjust', 'Contoso');
if (my $id = $t->sql(q{SELECT min(adjustment_id) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'}))
{
	$t->sql("SELECT spinpanel.approve($id)");
}
ok($t->wait_for(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats could not be bought back'}, '1', 20), 'where no subscription is left it is said so') or told();

# --- another subscription of the pool is lowered while ours is about to be
fresh([ { %$old, quantity => 10, batches => [ { quantity => 7, hours_left => -5000 }, { quantity => 3, hours_left => 90 } ] }, { offer => 'legacy-SPB', quantity => 5, started_days_ago => 400, friendly_name => 'legacy' } ], 15, 12);
my $planned = $t->sql(q{SELECT subscription_id FROM spinpanel.plan_adjustment('Contoso') WHERE action <> 'none'});
my ($other) = grep { lc $_->{id} ne $planned } @{ $t->state('Contoso')->{subscriptions} };
$t->fault({ action => 'none', match => { kind => 'subscription' }, nth => 1,
	before_act => { customer => 'Contoso', do => 'lower', subscription => $other->{id}, seats => 3 } });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 12, 'a technician lowers the other subscription of the pool: ours stays') or told();
is(ours('lower'), 0, '... nothing was lowered by us');

# --- a change that was accepted and comes hours later is not sent again
fresh([ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], 12, 10);
$t->fault({ action => 'accepted_202', seconds => 7200, match => { kind => 'patch_subscription' }, count => 1 });
$t->sql('SELECT spinpanel.adjust()');
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'unknown'}, '1');
for my $minutes (20, 60)
{
	my $seen = $t->counts->{by_kind}{subscription};
	$t->advance(minutes => $minutes);
	$t->poll(sub { $t->counts->{by_kind}{subscription} > $seen });
}
is(scalar $t->requests(kind => 'patch_subscription'), 1, 'a change that was accepted is not sent again while it may still come');
$t->advance(minutes => 45);
ok(quiet(), '... it comes two hours later');
is($t->seats('Contoso', 'SPB'), 10, '... as wanted');
is(scalar $t->requests(kind => 'patch_subscription'), 1, '... sent once');

# --- "200 OK" and nothing happened
fresh([ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], 12, 10);
$t->fault({ action => 'status', status => 200, body => {}, match => { kind => 'patch_subscription' }, count => 1 });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 10, 'a "yes" without effect is not believed: it is done all the same') or told();
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'operation unknown' AND reason ~ 'nothing of it shows'}), '1', '... after a second look');

# --- the answer to a raise is lost, and a technician raises further
fresh([ map { { offer => 'legacy-SPB', quantity => $_->[0], started_days_ago => $_->[1] } } [ 6, 700 ], [ 4, 500 ] ], 8, 7);
my ($oldest) = grep { $_->{quantity} == 6 } @{ $t->state('Contoso')->{subscriptions} };
$t->fault({ action => 'reset_after', match => { kind => 'patch_subscription', path => $oldest->{id} }, nth => 1,
	then_act => { customer => 'Contoso', do => 'raise', subscription => $oldest->{id}, seats => 2 } });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(ours('raise'), 1, 'a raise whose answer was lost, while a technician raises further, is not made twice') or told();
is(ours('suspend'), 1, '... and the merge goes on');
is($t->seats('Contoso', 'SPB'), 9, '... with what the technician added');

# --- a person's schedule: set before we take ours back
my $ending = { product => $spb, quantity => 12, ends_in_days => 10, batches => [ { quantity => 12, hours_left => -5000 } ] };
fresh([$ending], 12, 10);
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(only()->{scheduled_next}{quantity}, 10, 'two unused seats are scheduled to go') or told();
$t->act(map { { customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' } } 11, 12);
$t->fault({ action => 'none', match => { kind => 'subscription' }, nth => 1, before_act => { customer => 'Contoso', do => 'schedule', sku => 'SPB', quantity => 11 } });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(only()->{scheduled_next}{quantity}, 11, 'what a person schedules while ours is to be taken back stands') or told();

# ... and set between our read and our change, which wipes it
fresh([ { product => $spb, quantity => 25, ends_in_days => 120, batches => [ { quantity => 20, hours_left => -5000 }, { quantity => 5, hours_left => 90 } ] } ], 22, 20);
$t->fault({ action => 'none', match => { kind => 'patch_subscription' }, nth => 1, before_act => { customer => 'Contoso', do => 'schedule', sku => 'SPB', quantity => 24 } });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 20, 'a person schedules something between our read and our change');
is(only()->{scheduled_next}{quantity}, 19, '... it was wiped and is set again, less what was returned') or told();
$t->advance(minutes => 61);
quiet();
is(ours('schedule'), 1, '... once');

# ... but ours, wiped by a change of ours, is no person's
fresh([ { product => $spb, quantity => 14, ends_in_days => 10, batches => [ { quantity => 12, hours_left => -5000 }, { quantity => 2, hours_left => 100 } ] } ], 16, 14);
$t->act({ customer => 'Contoso', do => 'unassign', user => 'user14@contoso.example', sku => 'SPB' });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(only()->{quantity} . ' ' . only()->{scheduled_next}{quantity}, '14 13', 'a seat freed a moment ago is scheduled to go') or told();
$t->advance(hours => 25);
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(only()->{quantity} . ' ' . (only()->{scheduled_next}{quantity} // 13), '13 13', '... goes a day later, and no other with it at the renewal') or told();
$t->advance(days => 11);
is($t->seats('Contoso', 'SPB'), 13, '... after which nobody is left without');

# --- an approval covers what it showed
fresh([$ending], 20, 10);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', removal_limit_percent => 0, removal_limit_seats => 0)});
$t->run_and_wait('adjust', 'Contoso');
my $id = $t->sql(q{SELECT adjustment_id FROM spinpanel.adjustment WHERE status = 'awaiting_approval' AND seats = 2});
ok($id, 'two seats await approval') or told();
$t->act({ customer => 'Contoso', do => 'raise', sku => 'SPB', seats => 4 });
$t->sql("SELECT spinpanel.approve($id)");
$t->wait_for("SELECT status IN ('done', 'skipped') FROM spinpanel.adjustment WHERE adjustment_id = $id");
quiet();
cmp_ok(only()->{scheduled_next}{quantity} // 16, '>=', 14, 'four more seats since: the approved change takes no more than two') or told();

# --- paused at the last moment
fresh([ map { { offer => 'legacy-SPB', quantity => $_->[0], started_days_ago => $_->[1] } } [ 6, 700 ], [ 4, 500 ] ], 8, 7);
$t->set('spinpanel.request_timeout' => '10s');
$t->fault({ action => 'delay', ms => 2000, match => { kind => 'subscription' }, count => 2 });
my $since = $t->counts->{last_seq};
$t->sql('SELECT spinpanel.adjust()');
$t->poll(sub { scalar $t->requests(since => $since, kind => 'subscription') });
$t->sql('SELECT spinpanel.pause()');
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE error ~ 'paused'}, qr/^[1-9]/);
is(scalar $t->requests(since => $since, kind => 'patch_subscription'), 0, 'a merge that was being read when somebody paused is not begun');
$t->sql('SELECT spinpanel.resume()');
quiet();
$t->set('spinpanel.request_timeout' => '700ms');
is($t->seats('Contoso', 'SPB'), 7, '... and goes on when it is resumed') or told();

# --- a dump restored into the very database it came from
fresh([ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], 12, 10);
my $file = "$t->{dir}/same.sql";
system('pg_dump', '-f', $file, $t->connstr) == 0 or fail('pg_dump');
$t->sql('DROP EXTENSION spinpanel');
$t->sql('CREATE EXTENSION spinpanel') if slurp($file) !~ /CREATE EXTENSION IF NOT EXISTS spinpanel/;
$t->node->psql('postgres', "\\i $file", on_error_stop => 0);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
my $total = $t->counts->{total};
is($t->run_finished($t->sql('SELECT spinpanel.adjust()'))->{status}, 'failed', 'a dump restored into its own database does not act');
is($t->counts->{total}, $total, '... nothing is sent');
$t->sql('SELECT spinpanel.activate()');
is($t->run_and_wait('adjust')->{status}, 'done', '... until somebody says so');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation/, 'nothing crashed');
done_testing();

sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return <$in> }
