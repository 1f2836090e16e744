# Two partner tenants of ours sell the same SKU to one customer: all seats are owned, each changes its own subscriptions only,
# what one cannot read stops the other from removing, what others sell justifies nothing, and one can leave.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my @accounts = qw(main second);
my $t = SpinpanelTest->start(
	scenario => { accounts => [ map { { name => $_ } } @accounts ] },
	account => 0,
	conf => { 'spinpanel.request_timeout' => '5s', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms', 'spinpanel.settle_time' => '1h' });

# A fresh world: Contoso is both's, Fabrikam the second's alone; read once, adjustment on.  Whichever account is read last
# brings no seats that would look newly added
sub fresh
{
	my (%contoso) = @_;
	$t->clear_faults;
	$t->load({
		accounts => [ map { { name => $_ } } @accounts ],
		customers => [
			{ name => 'Contoso', domain => 'contoso.example', partners => [@accounts], user_count => 30, %contoso },
			{ name => 'Fabrikam', domain => 'fabrikam.example', partners => ['second'], user_count => 6, assigned => { SPB => 5 },
				subscriptions => [ { offer => 'legacy-SPB', quantity => 5, started_days_ago => 400 } ] } ],
		options => { requests_per_minute => 0 } });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account(name => $_) for @accounts;
	is($t->run_and_wait('sync')->{status}, 'done', 'both are read');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, removal_limit_percent => 100)});
	return;
}

sub legacy { my ($partner, $quantity, $age, %more) = @_; return { partner => $partner, offer => 'legacy-SPB', quantity => $quantity, started_days_ago => $age, %more } }
sub of { my ($partner) = @_; my ($s) = grep { $_->{partner} eq $partner } @{ $t->state('Contoso')->{subscriptions} }; return $s }
sub seats_of { my $s = of($_[0]); return $s->{status} eq 'active' ? $s->{quantity} : $s->{status} }
sub quiet { return $t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}) eq '0' }, 20) }
sub pool { return $t->row(q{SELECT * FROM spinpanel.excess_seats('Contoso') WHERE part_number = 'SPB'}) }
sub figures { my $p = pool(); return join ' ', map { $p->{"${_}_seats"} } qw(owned foreign consumed excess) }
my @changing = qw(raise lower suspend reactivate cancel auto_renew schedule);
sub changes { return join ', ', map { "$_->{account}: $_->{action}" } sort { $a->{account} cmp $b->{account} } $t->ledger(action => [@changing], actor => [ 'app', 'app+user' ]) }

# Whoever sent a change was the one whose subscription it is, with a token of that tenant
sub each_its_own
{
	my ($title) = @_;
	my %owner;
	$owner{ lc $_->{id} } = $_->{partner} for map { @{ $_->{subscriptions} } } @{ $t->state->{customers} };
	my %client = map { ($_->{name} => lc $_->{client_id}) } @{ $t->emulator('GET', 'accounts') };
	my @patches = $t->requests(kind => ['patch_subscription']);
	my @wrong = map { "$_->{account} $_->{path} $_->{status}" }
	  grep { my ($id) = $_->{path} =~ m{/subscriptions/([0-9a-f-]+)}i; ($owner{ lc $id } // '') ne ($_->{account} // '') || $_->{status} != 200 } @patches;
	push @wrong, map { "$_->{account} $_->{client_id} $_->{action}" }
	  grep { $owner{ lc $_->{subscription} } ne $_->{account} || lc $_->{client_id} ne $client{ $_->{account} } } $t->ledger(action => [@changing], actor => [ 'app', 'app+user' ]);
	is(join('; ', @wrong), '', $title);
	return scalar @patches;
}

# --- all seats count; each changes its own
fresh(subscriptions => [ legacy(main => 10, 500), legacy(second => 8, 300) ], assigned => { SPB => 8 }, foreign_seats => { SPB => 0 });
is(figures(), '18 0 8 10', 'the seats of both are owned (owned, foreign, consumed, excess)');
is($t->sql(q{SELECT count(DISTINCT s.account_id) FROM spinpanel.subscription s JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'Contoso'}), '2', 'each subscription has its account');
my $run = $t->run_and_wait('adjust');
quiet();
is("$run->{status} $run->{customers_failed}", 'done 0', 'a run over both');
is(changes(), 'main: lower, second: suspend', 'the younger goes as a whole, the older by the rest; nothing is merged across tenants');
is(seats_of('main') . ' ' . seats_of('second'), '8 suspended', '... and what is used is left');
cmp_ok(each_its_own('each change was sent by the tenant whose subscription it is, with its own token'), '==', 2, '... two changes');
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... nobody is left without');
is($t->sql('SELECT sum(seats_removed) FROM spinpanel.run'), '10', '... ten seats');

# --- seats that others sell justify no removal, and count for nobody's need
fresh(subscriptions => [ legacy(main => 6, 500), legacy(second => 4, 300) ], assigned => { SPB => 10 }, foreign_seats => { SPB => 20 });
is(figures(), '10 20 10 0', 'as many used as owned: twenty seats of somebody else leave no excess');
$t->run_and_wait('adjust', 'Contoso');
quiet();
is(changes(), '', '... and nothing is removed');
$t->act(map { { customer => 'Contoso', do => 'unassign', user => "user$_\@contoso.example", sku => 'SPB' } } qw(08 09 10));
$t->run_and_wait('sync', 'Contoso');
is(figures(), '10 20 7 3', 'three are given back: the excess is what is owned and not used');
$t->advance(hours => 25);    # the cool-down of what was freed
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 7, '... and that is what is removed, whatever others sell');
is($t->sql('SELECT sum(seats_removed) FROM spinpanel.run'), '3', '... three seats');
each_its_own('... each from its own');
$t->act(map { { customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' } } 11 .. 25);
$t->run_and_wait('adjust', 'Contoso');
is(figures(), '7 20 22 0', 'users on seats of somebody else: no excess');
is($t->seats('Contoso', 'SPB'), 7, '... and nothing is bought for them');

# --- what one of them cannot read, the other must not take for known
fresh(subscriptions => [ legacy(main => 10, 300), legacy(second => 8, 500) ], assigned => { SPB => 12 });
is(figures(), '18 0 12 6', 'six unused, the main account has the younger subscription');
my $file = "$t->{dir}/second.json";
rename $file, "$file.away" or die $!;
$run = $t->run_and_wait('adjust');
is($run->{status}, 'done', "the other's credential file is gone: the run goes on");
cmp_ok($run->{customers_failed}, '>=', 1, '... and says that it could not read everything');
like($t->sql(q{SELECT string_agg(detail, ' ') FROM spinpanel.check_setup() WHERE item = 'credential' AND NOT ok}), qr/second: could not open/, '... check_setup() says why');
is(changes(), '', '... nothing is removed on what was read of it before');
is($t->sql(q{SELECT string_agg(status || ': ' || error, ', ') FROM spinpanel.operation}), 'queued: another account of ours that sells to this customer cannot be read', '... it is put off');
$t->advance(hours => 27);
$run = $t->run_and_wait('adjust', 'Contoso');
like(pool()->{blocked_by}, qr/stale/, 'a day later the pool counts as stale');
is(pool()->{reducible_now}, 0, '... nothing can be given back');
is(changes(), '', '... and nothing is');
rename "$file.away", $file or die $!;
ok($t->poll(sub { $t->run_and_wait('adjust'); changes() ne '' }, 20), 'once it is back');
quiet();
is($t->seats('Contoso', 'SPB'), 12, '... what is unused goes');
each_its_own('... each from its own');

# a window that closes before the next night is not missed because of it
fresh(subscriptions => [ { partner => 'main', product => 'CFQ7TTC0LCHC:0002', quantity => 10, ends_in_days => 200, batches => [ { quantity => 10, hours_left => 20 } ] }, legacy(second => 8, 500) ],
	assigned => { SPB => 15 });
rename $file, "$file.away" or die $!;
is($t->run_and_wait('adjust')->{status}, 'done', 'away again, while a refund window is about to close: the run ends');
$t->advance(hours => 2);
$t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status = 'queued' AND not_before > spinpanel._now()}) eq '1' }, 20);
is(changes(), '', '... nothing is removed');
rename "$file.away", $file or die $!;
$t->advance(hours => 1);
ok($t->poll(sub { changes() eq 'main: lower' }, 20), '... an hour after it is back the seats are given back, before the window closes')
	or diag($t->sql(q{SELECT string_agg(concat_ws(' ', status, not_before, error), E'\n') FROM spinpanel.operation}));
quiet();
is($t->seats('Contoso', 'SPB'), 15, '... all that are unused');

# the same with an account that Microsoft refuses
fresh(subscriptions => [ legacy(main => 10, 300), legacy(second => 8, 500) ], assigned => { SPB => 12 });
$t->act({ do => 'set_secret', secret => 'another', partner => 'second' });
$t->act({ do => 'revoke_access_tokens', partner => 'second' });
$run = $t->run_and_wait('adjust');
quiet() if $t->sql(q{SELECT status FROM spinpanel.account WHERE name = 'second'}) ne 'stopped';
is($t->sql(q{SELECT string_agg(name || ' ' || status, ', ' ORDER BY name) FROM spinpanel.account}), 'main active, second stopped', 'one account is stopped, the other not');
is(changes(), '', '... and removes nothing');
$t->advance(hours => 27);
$t->run_and_wait('adjust', 'Contoso');
like(pool()->{blocked_by}, qr/stale/, '... a day later: stale');
is(changes(), '', '... and nothing is removed');
$t->connect_account(name => 'second');
$t->run_and_wait('adjust');
ok($t->poll(sub { $t->seats('Contoso', 'SPB') == 12 }, 20), 'connected again, what is unused goes');
each_its_own('... each from its own');

# --- one leaves: what it was about to do is not done
fresh(subscriptions => [ legacy(main => 10, 500), legacy(second => 8, 300) ], assigned => { SPB => 14 });
my $second = of('second');
is(figures(), '18 0 14 4', 'four unused, the second has the younger subscription');
$t->fault({ action => 'hang', match => { kind => 'subscription', path => $second->{id} } });
my $id = $t->sql(q{SELECT spinpanel.adjust('Contoso')});
ok($t->wait_for(q{SELECT string_agg(a.name || ' ' || o.status, ', ') FROM spinpanel.operation o JOIN spinpanel.account a USING (account_id)}, 'second queued'), 'a change of its subscription is queued');
is($t->sql("SELECT status FROM spinpanel.run WHERE run_id = $id"), 'running', '... and the run waits for it');
$t->sql(q{SELECT spinpanel.disconnect_account('second')});
is($t->sql(q{SELECT string_agg(status || ': ' || error, ', ') FROM spinpanel.operation}), 'cancelled: the account was disconnected', 'disconnected: its operation is cancelled');
is($t->sql(q{SELECT string_agg(status, ', ') FROM spinpanel.adjustment WHERE action <> 'none'}), 'skipped', '... its adjustment skipped');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event IN ('account disconnected', 'operation cancelled')}), '2', '... both are on record');
is($t->sql(q{SELECT count(*) FROM spinpanel.credential c JOIN spinpanel.account a USING (account_id) WHERE a.name = 'second'}), '0', '... its token is erased');
is(figures(), '10 8 14 0', '... its seats are those of somebody else');
is($t->sql(q{SELECT p.owned_seats FROM spinpanel.pool p JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'Contoso'}), '10', '... in the pool, too');
$t->clear_faults;
is($t->run_finished($id, 15)->{status}, 'done', '... and the run ends');
$run = $t->run_and_wait('adjust');
quiet();
is("$run->{status} $run->{customers_failed}", 'done 0', 'later runs go on without it');
is(changes(), '', '... nothing was changed');
is(seats_of('main') . ' ' . seats_of('second'), '10 8', '... at none of the two');
my $since = $t->counts->{last_seq};
$t->run_and_wait('adjust');
is(join(' ', sort keys %{ { map { (($_->{account} // 'nobody') => 1) } grep { $_->{kind} ne 'token' } $t->requests(since => $since) } }), 'main', '... and nothing is asked for in its name');

# its part of an open run ends
$t->connect_account(name => 'second');
$t->run_and_wait('sync');
is(figures(), '18 0 14 4', 'connected again, its seats are owned again');
my ($fabrikam) = map { $_->{id} } $t->state('Fabrikam');
$t->fault({ action => 'hang', match => { kind => 'subscriptions', customer => $fabrikam } });
$id = $t->sql('SELECT spinpanel.sync()');
ok($t->wait_for("SELECT string_agg(c.name || ' ' || a.name, ', ') FROM spinpanel.run_customer r JOIN spinpanel.customer c USING (customer_id) JOIN spinpanel.account a USING (account_id) WHERE r.run_id = $id AND NOT r.failed", 'Fabrikam second'),
	'a run waits for a customer of the second');
$t->sql(q{SELECT spinpanel.disconnect_account('second')});
$run = $t->run_finished($id, 15);
is($run->{status}, 'done', '... disconnected: its part of the run ends');
cmp_ok($run->{customers_failed}, '>=', 1, '... as failed');
like($t->sql("SELECT string_agg(DISTINCT error, ', ') FROM spinpanel.run_customer WHERE run_id = $id AND failed"), qr/disconnected/, '... with the reason');
unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
