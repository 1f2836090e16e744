# A name is whose it is when the request is carried out, whatever the mirror says; and looking up costs few calls.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms' });

sub ask { my ($what, $user) = @_; return $t->sql("SELECT request_id FROM spinpanel.${what}_license('Contoso', '$user', 'SPB')") }
sub holders { return join ' ', grep { /alice/ } $t->holders('Contoso', 'SPB') }
sub mirrored { return $t->sql(q{SELECT coalesce(string_agg(upn, ' ' ORDER BY upn), '') FROM spinpanel.customer_user WHERE upn ~ '^alice'}) }

# Alice, whom the mirror knows as alice@, has another name by now
sub renamed
{
	my (@licences) = @_;
	$t->clear_faults;
	$t->load(one_customer(user_count => 12, assigned => {}, subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 15, ends_in_days => 200 } ],
			users => [ { upn => 'alice.smith@contoso.example', usage_location => 'US', licences => \@licences } ]), { requests_per_minute => 0 });
	my ($alice) = grep { $_->{upn} =~ /^alice/ } @{ $t->state('Contoso', users => 1)->{users} };
	$t->fault({ match => { kind => 'users' }, action => 'override', where => { id => $alice->{id} }, set => { userPrincipalName => 'alice@contoso.example' } });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account;
	$t->run_and_wait('sync');
	$t->clear_faults;
	is(mirrored(), 'alice@contoso.example', 'the mirror has the old name');
	return $alice->{id};
}

# --- another one was hired under that name
my $smith = renamed();
$t->act({ customer => 'Contoso', do => 'create_user', upn => 'alice@contoso.example', usage_location => 'US' });
is($t->outcome(ask('assign', 'alice@contoso.example')), 'done:1', 'assigned by the name');
is(holders(), 'alice', 'who has the name now holds the licence');
ok($t->poll(sub { mirrored() eq 'alice.smith@contoso.example alice@contoso.example' }, 10), 'the mirror has learnt both names') or diag(mirrored());
is($t->outcome(ask('assign', 'alice@contoso.example')), 'done:1', 'the name means one user only');

# --- both hold one; the name's is released
renamed('SPB');
$t->act({ customer => 'Contoso', do => 'create_user', upn => 'alice@contoso.example', usage_location => 'US' });
$t->act({ customer => 'Contoso', do => 'assign', user => 'alice@contoso.example', sku => 'SPB' });
is($t->outcome(ask('release', 'alice@contoso.example')), 'done:1', 'released by the name');
is(holders(), 'alice.smith', 'the other one keeps hers');

# --- nobody has the name any more
renamed('SPB');
is($t->outcome(ask('release', 'alice@contoso.example')), 'done:1', 'nobody has the name: nothing to release');
is(holders(), 'alice.smith', 'who had it keeps hers');
my $id = ask('assign', 'alice@contoso.example');
$t->advance(minutes => 20);
is($t->outcome($id), 'failed:1', 'nobody has the name: failed, after a while');
is(mirrored(), 'alice.smith@contoso.example', 'the mirror has the new name');

# --- deleted and made again
$t->act({ customer => 'Contoso', do => 'delete_user', user => 'user11@contoso.example' });
$t->act({ customer => 'Contoso', do => 'create_user', upn => 'user11@contoso.example', usage_location => 'US' });
is($t->outcome(ask('assign', 'user11@contoso.example')), 'done:1', 'a user who was deleted and made again');

# --- many at once: the names by the list, then three calls each
my $users = 60;
$t->fresh(one_customer(user_count => 10 + $users, subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 10 + $users, ends_in_days => 200 } ]), { requests_per_minute => 0 });
$t->emulator('DELETE', 'requests');
$t->sql("SELECT count(*) FROM spinpanel.assign_licenses('Contoso', (SELECT array_agg(format('user%s\@contoso.example', i)) FROM generate_series(11, 10 + $users) i), 'SPB')");
ok($t->wait_for(q{SELECT count(*) FROM spinpanel.license_request WHERE status = 'done'}, $users, 120), "$users users have it");
my @requests = $t->requests;
my $each = @requests / $users;
cmp_ok($each, '<=', 3.2, "requests for each user: " . sprintf('%.2f', $each));
is(scalar(grep { $_->{kind} eq 'user' } @requests), 0, 'nobody is read by name');
done_testing();
