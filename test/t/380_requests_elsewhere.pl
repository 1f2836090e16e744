# Requests outlive the server that took them: a promoted standby goes on with them, each is fulfilled once; a restored dump
# of them sends nothing.  And a customer of two of our accounts gets each seat from one of them.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my %conf = ('spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms', 'spinpanel.settle_time' => '1h');
my $primary = SpinpanelTest->start(name => 'primary', streaming => 1, scenario => one_customer(user_count => 40), conf => \%conf);

# All in one transaction
sub together { my ($t, @users) = @_; return split /\n/, $t->sql("SELECT request_id FROM spinpanel.assign_licenses('Contoso', ARRAY['" . join("', '", map { sprintf 'user%02d@contoso.example', $_ } @users) . "'], 'SPB')") }
sub assign { my ($t, @users) = @_; return map { $t->sql("SELECT request_id FROM spinpanel.assign_license('Contoso', '" . sprintf('user%02d@contoso.example', $_) . "', 'SPB')") } @users }

# --- promotion, the old primary fenced: a purchase on its way, requests waiting behind it, one prepared
$primary->fresh(one_customer(user_count => 40), { request_id_memory_seconds => 0 });
my $standby = SpinpanelTest->start(name => 'standby', standby_of => $primary, emulator => $primary);
$primary->set(synchronous_standby_names => '*');
$primary->wait_for('SELECT sync_state FROM pg_stat_replication', 'sync');
is(($standby->sql_error(q{SELECT spinpanel.assign_license('Contoso', 'user11@contoso.example', 'SPB')}))[0], '25006', 'a standby takes no requests');
$primary->fault({ match => { kind => 'patch_subscription' }, action => 'hang', when => 'after', count => 1 });
my @ids = assign($primary, 11, 12);
ok($primary->poll(sub { $primary->seats('Contoso', 'SPB') > 10 }), 'seats are bought, the answer is on the way');
push @ids, assign($primary, 13, 14, 15);
$primary->sql(q{BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', 'user16@contoso.example', 'SPB'); PREPARE TRANSACTION 'kept'});
$primary->sql(q{BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', 'user17@contoso.example', 'SPB'); PREPARE TRANSACTION 'dropped'});
my $open = $primary->session;
$open->query(q{BEGIN; SELECT request_id FROM spinpanel.assign_license('Contoso', 'user18@contoso.example', 'SPB')});
$primary->node->stop('immediate');
eval { $open->finish };
$primary->clear_faults;
$standby->node->promote;
like($standby->find_worker_pid, qr/^\d+$/, 'the standby is promoted');
is($standby->outcome(@ids), 'done:5', '... and goes on with the requests: all are done');
$standby->sql(q{COMMIT PREPARED 'kept'});
$standby->sql(q{ROLLBACK PREPARED 'dropped'});
my @all = split /\n/, $standby->sql('SELECT request_id FROM spinpanel.license_request');
is($standby->outcome(@all), 'done:6', '... the one that was prepared, too');
$standby->wait_idle(20);
$standby->changes_are({ seats => 6, assigns => 6, lowers => 0 }, '... six seats for six users, each bought once');
is(join(' ', grep { $_ gt 'user10' } $standby->holders('Contoso', 'SPB')), 'user11 user12 user13 user14 user15 user16', '... for these and nobody else');
is($standby->outcome(assign($standby, 20)), 'done:1', '... and it takes new ones');

# --- a restored dump with open requests
$standby->sql('SELECT spinpanel.pause()');
@ids = assign($standby, 21, 22);
my $file = "$standby->{dir}/copy.sql";
system('pg_dump', '-f', $file, $standby->connstr) == 0 or fail('pg_dump');
my $copy = SpinpanelTest->start(name => 'copy', emulator => $standby, extension => 0, conf => \%conf);
$copy->sql('CREATE EXTENSION pg_cron');
$copy->node->psql('postgres', "\\i $file", on_error_stop => 0);
is($copy->sql(q{SELECT count(*) FROM spinpanel.license_request WHERE status = 'queued'}), '2', 'a restored dump has two open requests');
$copy->sql('SELECT spinpanel.resume()');
my $total = $copy->counts->{total};
is($copy->run_finished($copy->sql('SELECT spinpanel.adjust()'))->{status}, 'failed', '... a run in it fails');
is($copy->counts->{total}, $total, '... it sends nothing');
is($copy->sql(q{SELECT count(*) FROM spinpanel.license_request WHERE status IN ('buying', 'provisioning', 'assigning', 'done') AND request_id IN (} . join(',', @ids) . ')'), '0', '... and its requests stay as they are');
$standby->sql('SELECT spinpanel.resume()');
is($standby->outcome(@ids), 'done:2', '... the original fulfils them');
$copy->sql('SELECT spinpanel.activate()');
$copy->wait_ok('SELECT count(*) FROM spinpanel.license_request WHERE finished_at IS NULL', '0', 'activate() cancels what is open in the copy');
$copy->wait_ok('SELECT idle_reason FROM spinpanel.account', qr/another server on this machine/, '... which waits while the original acts with the same credential file');
$standby->wait_idle(20);
$standby->set('spinpanel.enabled' => 'off');
$copy->wait_ok('SELECT idle_reason IS NULL FROM spinpanel.account', 't', '... until the original is switched off');
is($copy->run_and_wait('sync')->{status}, 'done', '... it acts now');
$standby->changes_are({ seats => 9, assigns => 9 }, '... and everything was bought once');
$copy->node->stop;
unlike($copy->log_since(0) . $standby->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$standby->node->stop;

# --- two accounts of ours at one customer
my @accounts = qw(main second);
my $t = SpinpanelTest->start(name => 'two', scenario => { accounts => [ map { { name => $_ } } @accounts ] }, account => 0, conf => \%conf);
sub two
{
	my ($main, $second, %more) = @_;
	return $t->fresh({ accounts => [ map { { name => $_ } } @accounts ], customers => [ { name => 'Contoso', domain => 'contoso.example',
		partners => [@accounts], user_count => 40, assigned => { SPB => 12 },
		subscriptions => [ { partner => 'main', product => $spb, quantity => 6, ends_in_days => $main }, { partner => 'second', product => $spb, quantity => 6, ends_in_days => $second } ], %more } ] },
		{ request_id_memory_seconds => 0 });
}
sub of { my ($partner) = @_; my ($s) = grep { $_->{partner} eq $partner } @{ $t->state('Contoso')->{subscriptions} }; return $s->{quantity} }
sub senders { return join ' ', map { $_->{account} } $t->requests(kind => 'patch_subscription') }
for my $case ([ 300, 100, 'second' ], [ 100, 300, 'main' ])
{
	my ($main, $second, $raised) = @$case;
	my ($other) = grep { $_ ne $raised } @accounts;
	two($main, $second);
	$t->fault({ match => { kind => 'patch_subscription' }, action => 'hang', when => 'after', count => 1 });
	is($t->outcome(together($t, 13 .. 15)), 'done:3', "two accounts, the subscription of $raised ends first: done");
	$t->wait_idle(20);
	is(of($raised) . ' ' . of($other), '9 6', '... it is raised, the other not');
	is(senders(), $raised, '... in one change, by its own account, although the answer was lost');
	$t->changes_are({ seats => 3, raises => 1, assigns => 3 }, '... one purchase');
}
# the one with the shorter commitment may not act: the other does
two(300, 100);
$t->sql(q{SELECT spinpanel.disconnect_account('second')});
is($t->outcome(assign($t, 13)), 'done:1', 'one of them is disconnected: done');
$t->wait_idle(20);
is(of('main') . ' ' . of('second'), '7 6', '... on the subscription of the other');
$t->changes_are({ seats => 1, raises => 1, assigns => 1 }, '... one purchase');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
