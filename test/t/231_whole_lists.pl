# Lists that are not whole: whatever is missing in one is not gone.  And what is no live user, no licence of Microsoft's, or
# comes back.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use JSON::PP;
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.retry_max_delay' => '100ms', 'spinpanel.poll_interval' => '200ms' });
my $business = 'CFQ7TTC0LCHC:0002';

sub customers
{
	my ($n, $options) = @_;
	return $t->fresh({ customers => [ map { { name => "C$_", domain => "c$_.example", user_count => 4, assigned => { SPB => 3 },
		subscriptions => [ { product => $business, quantity => 5, ends_in_days => 200 } ] } } 1 .. $n ] }, { requests_per_minute => 0, %{ $options // {} } });
}
sub gone { return $t->sql('SELECT count(*) FROM spinpanel.customer WHERE gone_at IS NOT NULL') }
sub known { return $t->sql('SELECT count(*) FROM spinpanel.customer WHERE gone_at IS NULL') }

# --- customers
for my $where (qw(links body header all))
{
	customers(12, { page_size => 5, page_size_max => 5, page_token => $where });
	is(known(), 12, "token of the next page in $where: all pages are read");
	$t->run_and_wait('sync');
	is(gone(), 0, '... again, and nobody is gone');
}

customers(6);
my %id = map { $_->{name} => $_->{customer_id} } $t->rows('SELECT name, customer_id FROM spinpanel.customer');
my @missing = (match => { kind => 'customers' }, action => 'override', remove => { id => $id{C2} });
$t->fault({ match => { kind => 'customers' }, action => 'override', where => { id => $id{C1} }, set => { id => 'x' } });
is($t->run_and_wait('sync')->{status}, 'done', 'a customer that cannot be read');
is(gone(), 0, '... so the list is not whole, and nobody is gone');
$t->clear_faults;
$t->fault({ match => { kind => 'customers' }, action => 'override', keep => 3, member => { totalCount => 6 } });
$t->run_and_wait('sync');
is(gone(), 0, 'fewer customers than totalCount says: nobody is gone');
$t->clear_faults;
$t->fault({ match => { kind => 'customers' }, action => 'override', first_twice => JSON::PP::true });
$t->run_and_wait('sync');
is(gone(), 0, 'a customer twice, in the place of another: nobody is gone');
$t->clear_faults;

# Pages without an end
$t->fault({ match => { kind => 'customers' }, action => 'status', status => 200, body => { totalCount => 1, continuationToken => 'again',
	items => [ { id => $id{C1}, companyProfile => { companyName => 'C1', domain => 'c1.example' } } ] } });
my $before = $t->counts->{by_kind}{customers} // 0;
my $run = $t->run_and_wait('sync', undef, seconds => 30);
is($run->{status}, 'done', 'pages that never end: the run goes on with the customers known from before');
like($run->{error}, qr/never end/, '... and says why');
cmp_ok(($t->counts->{by_kind}{customers} // 0) - $before, '<', 20, '... after a few requests');
is(gone(), 0, '... and nobody is gone');
$t->clear_faults;

$t->fault({ match => { kind => 'customers' }, action => 'override', keep => 3, member => { totalCount => 3 } });
$t->run_and_wait('sync');
is(gone(), 3, 'a whole list tells who is gone');
is($t->sql(q{SELECT sum(owned_seats) FROM spinpanel.pool}), 15, '... whose seats count no more');
$t->clear_faults;
$t->run_and_wait('sync');
is($t->sql(q{SELECT sum(owned_seats) FROM spinpanel.pool}), 30, 'they return, and their seats with them');

# --- subscriptions and subscribed SKUs: nothing is planned on a list that is not whole
$t->fresh({ customers => [ map { { name => "C$_", domain => "c$_.example", user_count => 4, assigned => { SPB => 3 },
	subscriptions => [ { offer => 'legacy-SPB', quantity => 5, started_days_ago => 400 } ] } } 1 .. 2 ] }, { requests_per_minute => 0 });
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0')});
for my $kind (qw(subscriptions subscribedskus))
{
	my $unheard = { 'productSku.id' => '6eed73ce-6c0a-4c9d-93a1-0123456789ab' };
	for my $lack ([ totalCount => { member => { totalCount => 9 } } ], [ continuationToken => { member => { continuationToken => 'more' } } ],
		[ 'an item twice' => { first_twice => JSON::PP::true } ], [ 'a SKU that is new, twice' => { first_twice => JSON::PP::true, set => $unheard } ])
	{
		my ($what, $how) = @$lack;
		$t->fault({ match => { kind => $kind }, action => 'override', %$how });
		$run = $t->run_and_wait('adjust', undef, seconds => 30);
		is($t->seats('C1', 'SPB'), 5, "$kind with $what: nothing is given back");
		is($run->{customers_failed}, 2, '... and the run says that they could not be read') if $kind eq 'subscriptions';
		$t->clear_faults;
	}
}
my ($item) = @{ $t->state('C1')->{subscriptions} };
$t->fault({ match => { kind => 'subscriptions', customer => 'C1' }, action => 'override', where => { id => $item->{id} }, set => { quantity => -1 } });
$run = $t->run_and_wait('adjust', 'C1', seconds => 30);
is($run->{customers_failed}, 1, 'a list with an item that cannot be read: that customer fails');
is($t->sql(q{SELECT count(*) FROM spinpanel.adjustment a JOIN spinpanel.customer c USING (customer_id) WHERE c.name = 'C1' AND a.action <> 'none'}), 0, '... and nothing is planned for it');
$t->clear_faults;
$t->run_and_wait('adjust', undef, seconds => 30);
$t->wait_idle(20);
is($t->seats('C1', 'SPB'), 3, 'on whole lists they are');

# --- users
$t->fresh(one_customer(user_count => 12), { requests_per_minute => 0, page_size => 5, page_size_max => 5, page_token => 'body' });
is($t->sql('SELECT count(*) FROM spinpanel.customer_user'), 12, 'users: all pages');
my ($user) = grep { $_->{upn} =~ /^user12/ } @{ $t->state('Contoso', users => 1)->{users} };
$t->fault({ match => { kind => 'users' }, action => 'override', keep => 2, member => { totalCount => 12 } });
$t->run_and_wait('sync');
is($t->sql('SELECT count(*) FROM spinpanel.customer_user'), 12, 'fewer users than totalCount says: nobody is gone');
$t->clear_faults;
$t->fault({ match => { kind => 'users' }, action => 'override', where => { id => $user->{id} }, set => { state => 'inactive' } });
$t->run_and_wait('sync');
is($t->sql('SELECT count(*) FROM spinpanel.customer_user'), 11, 'a listed user who is inactive was deleted');
$t->clear_faults;

# --- what others sell in the marketplace
$t->fresh(one_customer(user_count => 12), { requests_per_minute => 0 });
$t->fault({ match => { kind => 'subscriptions' }, action => 'override', set => { isMicrosoftProduct => JSON::PP::false } });
$t->run_and_wait('sync');
is($t->sql('SELECT commerce FROM spinpanel.subscription'), 'other', "what is not Microsoft's is never touched");
$t->clear_faults;

# --- a token that nobody signed in for with MFA
$t->fresh(one_customer(user_count => 12), { requests_per_minute => 0 });
$t->fault({ match => { kind => [qw(users user licenses subscribedskus)] }, action => 'status', status => 401, code => 900421, description => 'MFA required' });
$t->sql('SELECT spinpanel.sync()');
ok($t->wait_for('SELECT status FROM spinpanel.account', 'stopped', 20), 'no MFA: the account stops');
like($t->sql('SELECT status_reason FROM spinpanel.account'), qr/sign in again with MFA.*900421/, '... and says what to do');
my $sent = $t->counts->{total};
$t->sql('SELECT spinpanel.sync()');
$t->poll(sub { $t->counts->{total} > $sent + 3 }, 3);
cmp_ok($t->counts->{total}, '<=', $sent + 3, '... once, not again and again');

done_testing();
