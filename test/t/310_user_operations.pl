# Operations on users and purchases, one by one and under bad weather: licences assigned and taken, usage locations, carts
# and their checkout.  Rows are written into the outbox by hand; the emulator's ledger must show what was wanted, once.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';

# One customer for each case: five seats of two SKUs, of which a second user holds one, and a third user without location
sub world_of
{
	my (@names) = @_;
	return { customers => [ map { (my $domain = lc "$_.example") =~ s/[^a-z0-9.]//g;
			{ name => $_, domain => $domain,
				subscriptions => [ { product => $spb, quantity => 5, ends_in_days => 200 }, { product => 'CFQ7TTC0LHT4:0001', quantity => 5, ends_in_days => 200 } ],
				users => [ { upn => "one\@$domain", usage_location => 'DE' }, { upn => "two\@$domain", usage_location => 'DE', licences => ['SPB'] },
					{ upn => "three\@$domain", usage_location => undef }, { upn => "four\@$domain", usage_location => 'DE', group_licences => ['EMS'] } ] } } @names ] };
}

my $t = SpinpanelTest->start(
	scenario => world_of('Contoso'), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms' });

my (%customer, %user, %sku);

sub fresh
{
	my ($options, @names) = @_;
	$t->clear_faults;
	$t->load(world_of(@names), { requests_per_minute => 0, %$options });
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account;
	is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');
	%customer = map { $_->{name} => $_->{customer_id} } $t->rows('SELECT name, customer_id FROM spinpanel.customer');
	%user = map { $_->{upn} => $_->{user_id} } $t->rows('SELECT upn, user_id FROM spinpanel.customer_user');
	%sku = map { $_->{part_number} => $_->{sku_id} } $t->rows('SELECT DISTINCT part_number, sku_id FROM spinpanel.subscribed_sku');
	return;
}

# queue(CUSTOMER, KIND, WANTED, COLUMN => VALUE): SQL that writes the row
sub queue_sql
{
	my ($customer, $kind, $wanted, %more) = @_;
	my %row = (kind => "'$kind'", purpose => $kind =~ /cart|checkout/ ? "'buy'" : $kind eq 'unassign' ? "'release'" : "'assign'",
		account_id => '(SELECT min(account_id) FROM spinpanel.account)', customer_id => "'$customer{$customer}'",
		wanted => "'" . JSON::PP->new->canonical->encode($wanted) . "'",
		created_at => "clock_timestamp() + interval '$t->{offset} seconds'", %more);
	my @names = sort keys %row;
	return 'INSERT INTO spinpanel.operation (' . join(', ', @names) . ') VALUES (' . join(', ', map { $row{$_} } @names) . ') RETURNING operation_id;';
}
sub queue { return $t->sql(queue_sql(@_)) }

sub ended
{
	my ($id) = @_;
	$t->wait_for("SELECT status NOT IN ('queued', 'sending', 'unknown') FROM spinpanel.operation WHERE operation_id = $id", 't', 20);
	return $t->row("SELECT * FROM spinpanel.operation WHERE operation_id = $id");
}
sub run { return ended(queue(@_)) }

# done() of a cart is not the end: the checkout that follows it
sub checkout_of
{
	my ($cart) = @_;
	return ended($t->sql("SELECT operation_id FROM spinpanel.operation WHERE after_operation = $cart->{operation_id}"));
}
sub held { return join ' ', sort map { $_->{sku_id} eq $sku{SPB} ? 'SPB' : 'EMS' } $t->rows("SELECT sku_id FROM spinpanel.user_license WHERE user_id = '$user{$_[0]}'") }
sub assign { my ($who, @skus) = @_; return { userId => $user{$who}, add => [ map { $sku{$_} } @skus ] } }
sub unassign { my ($who, @skus) = @_; return { userId => $user{$who}, remove => [ map { $sku{$_} } @skus ] } }
sub cart { return { catalogItemId => $spb, quantity => 2, termDuration => 'P1Y', billingCycle => 'annual', @_ } }
sub actions { my ($customer, @actions) = @_; return scalar $t->ledger(customer => $customer, action => \@actions) }
sub quiet { return $t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0', 50) }

# --- one by one
fresh({}, 'Contoso');
my $before = $t->counts->{mutating};
my $op = run('Contoso', 'assign', assign('one@contoso.example', 'SPB', 'EMS'));
is($op->{status}, 'done', 'two SKUs assigned') or diag(explain($op));
is($t->counts->{mutating} - $before, 1, '... in one call');
is(actions('Contoso', 'assign'), 2, '... the ledger shows both');
is(held('one@contoso.example'), 'EMS SPB', '... the mirror knows');
$before = $t->counts->{mutating};
$op = run('Contoso', 'assign', assign('one@contoso.example', 'SPB'));
is_deeply([ $op->{status}, $op->{error} ], [ 'done', 'the user holds it already' ], 'held already: done');
is($t->counts->{mutating}, $before, '... and nothing is sent');
is(run('Contoso', 'unassign', unassign('one@contoso.example', 'SPB'))->{status}, 'done', 'taken');
is_deeply([ actions('Contoso', 'unassign'), held('one@contoso.example') ], [ 1, 'EMS' ], '... ledger and mirror say so');
is(run('Contoso', 'unassign', unassign('one@contoso.example', 'SPB'))->{error}, 'the user does not hold it', 'not held: done, nothing is sent');
is(run('Contoso', 'assign', assign('one@contoso.example', 'SPB', 'EMS'))->{status}, 'done', 'one of two is missing');
my ($last) = reverse $t->requests(kind => 'licenseupdates');
is(scalar @{ JSON::PP::decode_json($last->{body})->{licensesToAssign} }, 1, '... only that is sent');

$op = run('Contoso', 'assign', assign('three@contoso.example', 'SPB'));
is_deeply([ @$op{qw(status error_code)} ], [ 'refused', 'no_usage_location' ], 'no usage location: refused');
is(run('Contoso', 'set_usage_location', { userId => $user{'three@contoso.example'}, usageLocation => 'AT' })->{status}, 'done', 'a location is set');
is($t->sql("SELECT usage_location FROM spinpanel.customer_user WHERE upn = 'three\@contoso.example'"), 'AT', '... the mirror knows');
$op = run('Contoso', 'set_usage_location', { userId => $user{'one@contoso.example'}, usageLocation => 'AT' });
is($op->{status}, 'done', 'one that is there already is left');
is_deeply([ map { $_->{after}{usage_location} } $t->ledger(action => ['usage_location']) ], ['AT'], '... and not sent');

$op = run('Contoso', 'unassign', unassign('four@contoso.example', 'EMS'));
is_deeply([ @$op{qw(status error_code)} ], [ 'refused', 'held_by_group' ], 'held through a group: refused');
like($op->{error}, qr/through a group.*inherited/, '... with the reason');

$t->act({ customer => 'Contoso', do => 'consume', sku => 'SPB', n => 3 });
$op = run('Contoso', 'assign', assign('three@contoso.example', 'SPB'));
is_deeply([ @$op{qw(status error_code http_status)} ], [ 'refused', '60012', 400 ], 'no seat: refused with its code');
like($op->{error}, qr/available licenses/, '... and its words');

$t->act({ customer => 'Contoso', do => 'create_user', upn => 'new@contoso.example', usage_location => 'DE' });
my ($new) = grep { $_->{upn} eq 'new@contoso.example' } @{ $t->state('Contoso', users => 1)->{users} };
$user{'new@contoso.example'} = $new->{id};
is(run('Contoso', 'assign', assign('new@contoso.example', 'EMS'))->{status}, 'done', 'a user the mirror does not know');
is(held('new@contoso.example'), 'EMS', '... is known then');
$t->act({ customer => 'Contoso', do => 'delete_user', user => 'new@contoso.example' });
$op = run('Contoso', 'unassign', unassign('new@contoso.example', 'EMS'));
is_deeply([ @$op{qw(status error_code)} ], [ 'done', undef ], 'a user who is gone holds nothing');
is($t->sql("SELECT count(*) FROM spinpanel.customer_user WHERE user_id = '$new->{id}'"), '0', '... is gone from the mirror');
is(run('Contoso', 'assign', { userId => 'nobody' })->{error_code}, 'bad_operation', 'an operation without sense fails');

# SKUs of the other licence group are read as well
$t->act({ customer => 'Contoso', do => 'foreign', sku => 'MINECRAFT_EDU', seats => 2 });
($sku{MINECRAFT_EDU}) = map { $_->{sku_id} } $t->pool('Contoso', 'MINECRAFT_EDU');
$op = run('Contoso', 'assign', assign('four@contoso.example', 'MINECRAFT_EDU'));
is_deeply([ @$op{qw(status attempts)} ], [ 'done', 1 ], 'a SKU of another licence group');

# What Partner Center refuses once and for all
$t->act({ customer => 'Contoso', do => 'foreign', sku => 'SPE_E3', seats => 2 });
($sku{SPE_E3}) = map { $_->{sku_id} } $t->pool('Contoso', 'SPE_E3');
$op = run('Contoso', 'assign', assign('two@contoso.example', 'SPE_E3'));
is_deeply([ @$op{qw(status error_code attempts)} ], [ 'refused', '800002', 1 ], 'service plans that exclude each other: refused');
like($op->{error}, qr/mutually exclusive/, '... in its words');
$t->fault({ action => 'status', status => 400, code => 800002, description => 'ProhibitedInUsageLocationViolation', match => { kind => 'licenseupdates' }, count => 1 });
is_deeply([ @{ run('Contoso', 'assign', assign('two@contoso.example', 'EMS')) }{qw(status attempts)} ], [ 'refused', 1 ], 'a licence that is prohibited in the country: refused at once');

# A licence that the read back shows late
$before = $t->counts->{by_kind}{licenseupdates};
$t->fault({ action => 'override', where => { 'productSku.skuPartNumber' => 'EMS' }, remove => JSON::PP::true, match => { kind => 'licenses' }, nth => 2, count => 3 });
is_deeply([ @{ run('Contoso', 'assign', assign('two@contoso.example', 'EMS')) }{qw(status attempts)} ], [ 'done', 1 ], 'a licence that shows late: waited for');
is($t->counts->{by_kind}{licenseupdates} - $before, 1, '... and not sent again');
is(run('Contoso', 'unassign', unassign('two@contoso.example', 'EMS'))->{status}, 'done', '... and taken again');

# No access to the customer's users: a person has to act
$t->act({ customer => 'Contoso', do => 'licence_access', on => JSON::PP::false });
is_deeply([ @{ run('Contoso', 'assign', assign('three@contoso.example', 'EMS')) }{qw(status error_code http_status)} ], [ 'refused', '900308', 403 ], 'no access: refused');
$t->act({ customer => 'Contoso', do => 'licence_access', on => JSON::PP::true });

# Somebody else was faster, while our call failed
$t->act({ customer => 'Contoso', do => 'create_user', upn => "$_\@contoso.example", usage_location => $_ eq 'six' ? 'DE' : undef }) for qw(five six);
$user{ $_->{upn} } = $_->{id} for @{ $t->state('Contoso', users => 1)->{users} };
$t->act({ customer => 'Contoso', do => 'consume', sku => 'SPB', n => -1 });
$t->fault({ action => 'status', status => 500, match => { kind => 'patch_user' }, count => 1,
	before_act => { customer => 'Contoso', do => 'usage_location', user => 'five@contoso.example', usage_location => 'CH' } });
is(run('Contoso', 'set_usage_location', { userId => $user{'five@contoso.example'}, usageLocation => 'AT' })->{status}, 'done', 'somebody sets a location while ours fails');
is_deeply([ map { $_->{after}{usage_location} } grep { $_->{user} eq $user{'five@contoso.example'} } $t->ledger(action => ['usage_location']) ], ['CH'], '... it stands');
$t->fault({ action => 'status', status => 500, match => { kind => 'licenseupdates' }, count => 1,
	before_act => { customer => 'Contoso', do => 'assign', user => 'six@contoso.example', sku => 'SPB' } });
is(run('Contoso', 'assign', assign('six@contoso.example', 'SPB', 'EMS'))->{status}, 'done', 'somebody assigns one of two while ours fails');
($last) = reverse $t->requests(kind => 'licenseupdates');
unlike($last->{body}, qr/$sku{SPB}/, '... it is not assigned again');
$t->act({ customer => 'Contoso', do => 'unassign', user => 'six@contoso.example', sku => $_ }) for qw(SPB EMS);
$t->act({ customer => 'Contoso', do => 'consume', sku => 'SPB', n => 1 });
$t->clear_faults;

# A location that has not arrived everywhere: refused, tried again with other ids, not for ever
$t->act({ customer => 'Contoso', do => 'consume', sku => 'SPB', n => -3 });
my %lagging = (action => 'status', status => 400, code => 800002, description => 'License assignment cannot be done for user with invalid usage location.', match => { kind => 'licenseupdates' });
$t->fault({ %lagging, count => 3 });
$op = run('Contoso', 'assign', assign('three@contoso.example', 'SPB'));
is_deeply([ @$op{qw(status attempts)} ], [ 'done', 4 ], 'a location that comes late is waited for');
my $since = $t->counts->{last_seq};
$t->fault({ %lagging });
my $id = queue('Contoso', 'assign', assign('three@contoso.example', 'EMS'));
$t->poll(sub { scalar $t->requests(since => $since, kind => 'licenseupdates') });
$t->advance(minutes => 11);
is_deeply([ @{ ended($id) }{qw(status error_code)} ], [ 'refused', '800002' ], '... for ten minutes');
$t->clear_faults;

# Two of one user: in their order
$t->fault({ action => 'status', status => 500, match => { kind => 'licenseupdates' }, count => 2 });
$t->sql(queue_sql('Contoso', 'assign', assign('three@contoso.example', 'EMS')) . queue_sql('Contoso', 'unassign', unassign('three@contoso.example', 'EMS')));
quiet();
is_deeply([ map { $_->{action} } grep { $_->{sku_id} eq $sku{EMS} && $_->{user} eq $user{'three@contoso.example'} } $t->ledger(action => [qw(assign unassign)]) ],
	[qw(assign unassign)], 'assigned and taken: in that order, also when the first has trouble');
$t->clear_faults;

# --- purchases one by one
$op = run('Contoso', 'create_cart', cart());
is($op->{status}, 'done', 'a cart is made') or diag(explain($op));
is(actions('Contoso', 'new'), 1, '... and its checkout follows') if (my $checkout = checkout_of($op))->{status} eq 'done';
is_deeply([ @$checkout{qw(status seats)} ], [ 'done', 2 ], '... which buys two seats') or diag(explain($checkout));
is($t->sql(q{SELECT count(*) FROM spinpanel.subscription s JOIN spinpanel.history h USING (subscription_id) WHERE h.event = 'operation done' AND s.quantity = 2}), '1', '... the mirror has the subscription, history says which');

for my $case (
	[ 'the answer has no subscription yet', { subscription_id_in_answer => JSON::PP::false }, 'done', undef, 1 ],
	[ 'the answer is a bare order', { checkout_shape => 'bare' }, 'done', undef, 1 ],
	[ 'the order is refused', { checkout_errors => { CFQ7TTC0LCHC => { code => 800069, description => 'Risk check.' } } }, 'refused', '800069', 0 ])
{
	my ($title, $options, $status, $code, $bought) = @$case;
	my $had = actions('Contoso', 'new');
	$t->emulator('POST', 'options', $options);
	$checkout = checkout_of(run('Contoso', 'create_cart', cart()));
	is_deeply([ @$checkout{qw(status error_code)} ], [ $status, $code ], $title) or diag(explain($checkout));
	is(actions('Contoso', 'new') - $had, $bought, "... bought: $bought");
	$t->emulator('POST', 'options', { map { $_ => undef } keys %$options });
}

my $had = actions('Contoso', 'new');
$t->emulator('POST', 'options', { cart_errors => { CFQ7TTC0LCHC => { errorCode => 10002, errorDescription => 'Quota.' } } });
$op = run('Contoso', 'create_cart', cart());
is_deeply([ @$op{qw(status error_code error)} ], [ 'refused', '10002', 'Quota.' ], 'a line of the cart has an error: refused, and no checkout');
$t->emulator('POST', 'options', { cart_errors => undef });
is(run('Contoso', 'create_cart', cart(termDuration => 'P3Y'))->{error_code}, 'no_such_offer', 'a term that is not offered');
is(run('Contoso', 'create_cart', cart(catalogItemId => 'CFQ7TTC0XXXX:0001'))->{error_code}, '400013', 'a product that is not there');
is(actions('Contoso', 'new'), $had, '... and nothing is bought');

# A cart that expires: never sent, or sent and never answered; nothing is bought, and the second is not given up early
$t->emulator('POST', 'options', { request_id_memory_seconds => 0 });
for my $case ([ 'before its checkout is sent', 'get_cart', 8 ], [ 'after its checkout was sent, in vain', 'checkout', 8 ])
{
	my ($title, $kind, $days) = @$case;
	$since = $t->counts->{last_seq};
	$t->fault({ action => 'status', status => 500, match => { kind => $kind } });
	$id = queue('Contoso', 'create_cart', cart());
	ended($id);
	$id = $t->sql("SELECT operation_id FROM spinpanel.operation WHERE after_operation = $id");
	$t->poll(sub { scalar $t->requests(since => $since, kind => $kind) });
	$t->sql(q{SELECT spinpanel.pause()});
	$t->conf('spinpanel.provisioning_timeout' => '30d');
	$t->advance(days => $days);
	$t->clear_faults;
	$t->sql(q{SELECT spinpanel.resume()});
	is_deeply([ @{ ended($id) }{qw(status error_code)} ], [ 'refused', 'cart_expired' ], "a cart that expires $title");
}
is(actions('Contoso', 'new'), $had, '... nothing is bought');
$t->set('spinpanel.provisioning_timeout' => '24h');

# An order that shows minutes later, its answer lost: waited for, and bought once
$had = actions('Contoso', 'new');
$t->emulator('POST', 'options', { order_delay => 600, request_id_memory_seconds => 0 });
$t->fault({ action => 'reset_after', match => { kind => 'checkout' }, count => 1 });
$id = queue('Contoso', 'create_cart', cart());
ended($id);
$id = $t->sql("SELECT operation_id FROM spinpanel.operation WHERE after_operation = $id");
$t->wait_for("SELECT status FROM spinpanel.operation WHERE operation_id = $id AND error LIKE '%does not show%'", 'unknown');
$t->advance(minutes => 11);
is(ended($id)->{status}, 'done', 'an order that shows minutes later is waited for');
is(actions('Contoso', 'new') - $had, 1, '... and bought once');

# ... also where meanwhile neither the cart nor the order can be found, which is no reason to buy again
$had = actions('Contoso', 'new');
$t->fault({ action => 'reset_after', match => { kind => 'checkout' }, count => 1 });
$t->fault({ action => 'status', status => 404, code => 1000, description => 'Not found.', match => { kind => 'get_cart' }, nth => 2, count => 1000 });
$id = queue('Contoso', 'create_cart', cart());
ended($id);
$id = $t->sql("SELECT operation_id FROM spinpanel.operation WHERE after_operation = $id");
$t->wait_for("SELECT status FROM spinpanel.operation WHERE operation_id = $id AND error LIKE '%cart is gone%'", 'unknown');
$t->advance(minutes => 5);
$t->wait_for("SELECT status FROM spinpanel.operation WHERE operation_id = $id", 'unknown');
$t->advance(minutes => 6);
is(ended($id)->{status}, 'done', 'an order that shows minutes later, its cart gone: waited for');
is(actions('Contoso', 'new') - $had, 1, '... and bought once');
$t->clear_faults;

# Another change in the pool comes first
$t->sql("UPDATE spinpanel.operation SET status = 'unknown', not_before = 'infinity', sku_id = '$sku{SPB}' WHERE operation_id = $id");
$id = queue('Contoso', 'create_cart', cart(), sku_id => "'$sku{SPB}'");
ended($id);
$t->wait_for("SELECT error FROM spinpanel.operation WHERE after_operation = $id", qr/another change in the pool/);
is(actions('Contoso', 'new') - $had, 1, 'a purchase waits for another change in its pool');
$t->sql("UPDATE spinpanel.operation SET status = 'done' WHERE not_before = 'infinity'");
is(ended($t->sql("SELECT operation_id FROM spinpanel.operation WHERE after_operation = $id"))->{status}, 'done', '... and is made then');

# --- each kind of call x each fault, many at once, and MS-RequestId forgotten at once
my @faults = (
	[ 'reset before', { action => 'reset_before' } ], [ 'reset after', { action => 'reset_after' } ],
	[ 'hang before', { action => 'hang' } ], [ 'hang after', { action => 'hang', when => 'after' } ],
	[ '500', { action => 'status', status => 500 } ], [ '500 after', { action => 'status', status => 500, when => 'after' } ],
	[ '503', { action => 'status', status => 503 } ], [ '503 with advice after', { action => 'status', status => 503, retry_after => 1, when => 'after' } ],
	[ '429', { action => 'status', status => 429, retry_after => 1 } ], [ 'truncated', { action => 'truncate' } ], [ 'garbage', { action => 'garbage' } ],
	[ 'empty', { action => 'empty' } ], [ '202 after', { action => 'status', status => 202, when => 'after', body => {} } ],
	[ '409', { action => 'status', status => 409, code => 800064 } ], [ 'late', { action => 'delay', ms => 1500 } ]);
my @cases;
for my $kind (qw(user licenses licenseupdates patch_user availabilities cart get_cart orders checkout))
{
	push @cases, map { { name => "$kind $_->[0]", kind => $kind, fault => $_->[1] } } @faults;
}

sub all_of
{
	my ($name) = @_;
	(my $domain = lc "$name.example") =~ s/[^a-z0-9.]//g;
	return (
		queue_sql($name, 'assign', assign("one\@$domain", 'SPB', 'EMS')), queue_sql($name, 'unassign', unassign("two\@$domain", 'SPB')),
		queue_sql($name, 'set_usage_location', { userId => $user{"three\@$domain"}, usageLocation => 'FR' }), queue_sql($name, 'create_cart', cart()));
}

# What is wrong with a customer, by the ledger and the outbox
sub wrong
{
	my ($name, $ledger, $open) = @_;
	my (%count, %locations);
	for my $entry (@{ $ledger->{ $customer{$name} } // [] })
	{
		# One that arrives late, after it was sent again, sets what is set already
		next if $entry->{action} eq 'usage_location' && $locations{"$entry->{user} $entry->{after}{usage_location}"}++;
		$count{ $entry->{action} }++;
	}
	my $is = join ' ', map { "$_=" . ($count{$_} // 0) } qw(assign new unassign usage_location);
	my @wrong;
	push @wrong, $is if $is ne 'assign=2 new=1 unassign=1 usage_location=1';
	push @wrong, map { "$_->{kind} $_->{status} " . ($_->{error} // '') } @{ $open->{ $customer{$name} } // [] };
	return join '; ', @wrong;
}

sub all_right
{
	my ($title, @names) = @_;
	my (%ledger, %open);
	push @{ $ledger{ $_->{customer} } }, $_ for $t->ledger(action => [qw(assign unassign usage_location new)]);
	push @{ $open{ $_->{customer_id} } }, $_ for $t->rows(q{SELECT customer_id, kind, status, error FROM spinpanel.operation WHERE status <> 'done'});
	is(wrong($_, \%ledger, \%open), '', "$title: $_") for @names;
	is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... no pool is overdrawn');
	return;
}

fresh({ request_id_memory_seconds => 0 }, 'Good weather', map { $_->{name} } @cases);
$t->fault({ %{ $_->{fault} }, match => { kind => $_->{kind}, customer => $customer{ $_->{name} } }, count => 2 }) for @cases;
$t->sql(join ' ', map { all_of($_) } 'Good weather', map { $_->{name} } @cases);
quiet();
all_right('MS-RequestId forgotten', 'Good weather', map { $_->{name} } @cases);

# --- kill -9 of the worker while calls hang, before and after they were carried out
my @hanging = map { my $kind = $_; map { { name => "$kind $_", kind => $kind, when => $_ } } qw(before after) } qw(licenseupdates patch_user cart checkout get_cart licenses);
fresh({}, map { $_->{name} } @hanging);
$t->set('spinpanel.request_timeout' => '30s');
my @rules = map { $t->fault({ action => 'hang', when => $_->{when}, match => { kind => $_->{kind}, customer => $customer{ $_->{name} } }, count => 1 }) } @hanging;
$t->sql(join ' ', map { all_of($_->{name}) } @hanging);
ok($t->poll(sub { @rules == grep { $_->{fired} } @{ $t->emulator('GET', 'faults') } }, 20), 'calls of each kind hang');
ok($t->kill9, 'kill -9 of the worker');
quiet();
all_right('killed', map { $_->{name} } @hanging);

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation/, 'nothing crashed by itself');
$t->node->stop;
done_testing();
