# Bodies as Microsoft documents them, byte for byte through the real client: what the mirror stores equals the file.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;
use File::Basename;
use JSON::PP;

# The samples lie beside the checkout; they are no part of the project
my ($folder) = grep { -d } map { "$_/../shared/samples" } grep { defined } $ENV{SP_TOP}, dirname(__FILE__) . '/../..';
plan skip_all => 'no samples beside the checkout' unless $folder;

my $json = JSON::PP->new->canonical->allow_nonref;
sub file { my ($name) = @_; open my $in, '<:encoding(UTF-8)', "$folder/$name" or die "$name: $!"; local $/; return scalar <$in> }
sub value { my ($name) = @_; (my $text = file($name)) =~ s/^\x{feff}//; return $json->decode($text) }

my $t = SpinpanelTest->start(scenario => one_customer(), conf => { 'spinpanel.request_timeout' => '3s', 'spinpanel.retry_max_delay' => '100ms' });
$t->load(one_customer(), { requests_per_minute => 0 });
$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
$t->connect_account;
is($t->run_and_wait('sync')->{status}, 'done', 'a first reading');
my $contoso = $t->state('Contoso')->{id};

# The next answers of this kind are this text
sub answer
{
	my ($kind, $text, %more) = @_;
	return $t->fault({ match => { kind => $kind }, action => 'status', status => 200, content_type => 'application/json; charset=utf-8', body => $text, %more });
}

sub same { my ($got, $expected, $name) = @_; return is($json->encode(ref $got ? $got : $json->decode($got)), $json->encode($expected), $name) }

my %seen;

# --- subscriptions: the lists as they are, the single ones as the only item of a list
for my $name (qw(subscriptions-collection-legacy.json subscriptions-by-order-legacy.json subscription-legacy-addon.json
	subscription-legacy-short-fraction-date.json subscription-nce-expired.json patch-nce-reduce-quantity-request.json
	patch-autorenew-off-nce-request.json patch-schedule-next-term-request.json patch-quantity-legacy-response-pascalcase.json))
{
	$seen{$name} = 1;
	my $whole = value($name);
	my $text = file($name);
	$text = '{"totalCount":1,"items":[' . $text . '],"attributes":{"objectType":"Collection"}}' unless $whole->{items};
	answer('subscriptions', $text);
	is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', "$name: read");
	for my $item ($whole->{items} ? @{ $whole->{items} } : $whole)
	{
		my $id = $item->{id} // $item->{Id};
		my $row = $t->row("SELECT s.*, r.body FROM spinpanel.subscription s JOIN spinpanel.subscription_raw r USING (subscription_id) WHERE subscription_id = '$id'");
		ok($row, "$name: stored") or next;
		same($row->{body}, $item, "$name: the resource is the file's");
		is($row->{quantity}, $item->{quantity} // $item->{Quantity}, "$name: its quantity");
		is($row->{status}, $item->{status} // $item->{Status}, "$name: its status");
		is("@{ $row->{refund_quantity} }", join(' ', map { $_->{quantity} } @{ ($item->{refundableQuantity} // {})->{details} // [] }), "$name: its refundable batches");
		(my $created = $item->{creationDate} // $item->{CreationDate}) =~ s/: +/:/g;
		is($t->sql("SELECT created_at = date_trunc('microseconds', '" . ($created =~ /Z|\+/ ? $created : $created . 'Z') . "'::timestamptz) FROM spinpanel.subscription WHERE subscription_id = '$id'"),
			't', "$name: its date of creation ($created)");
	}
	$t->clear_faults;
}
my $nce = $t->row("SELECT commerce, term_end, refund_quantity, auto_renew FROM spinpanel.subscription WHERE offer_id = 'CFQ7TTC0LH18:0001:CFQ7TTC0K971' LIMIT 1");
is($nce->{commerce}, 'nce', 'productType tells New Commerce');
is($t->sql("SELECT next_quantity FROM spinpanel.subscription WHERE subscription_id = '6e7aa601-629e-461b-8933-0898c3cc3c7c'"), '1', 'the schedule of the next term is there');

# --- subscribed SKUs
$seen{$_} = 1 for qw(subscribedskus.json subscribedskus-empty.json);
answer('subscribedskus', file('subscribedskus.json'));
$t->run_and_wait('sync', 'Contoso');
for my $item (@{ value('subscribedskus.json')->{items} })
{
	my $row = $t->row("SELECT * FROM spinpanel.subscribed_sku WHERE sku_id = '$item->{productSku}{id}'");
	is("@$row{qw(part_number target_type active_units warning_units suspended_units consumed_units capability_status)}",
		join(' ', $item->{productSku}{skuPartNumber}, $item->{productSku}{targetType}, @$item{qw(activeUnits warningUnits suspendedUnits consumedUnits capabilityStatus)}),
		"subscribedskus.json: $item->{productSku}{skuPartNumber}");
}
$t->clear_faults;
answer('subscribedskus', file('subscribedskus-empty.json'));
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', 'subscribedskus-empty.json: an empty list is no error');
isnt($t->sql("SELECT doubt FROM spinpanel.pool JOIN spinpanel.sku USING (sku_id) WHERE part_number = 'EMS'"), '', '... but a doubt');
$t->clear_faults;

# --- users and their licences, with the BOM that the documentation carries
$seen{$_} = 1 for qw(users-page.json user-licenses-group1-with-bom.json);
answer('users', file('users-page.json'));
answer('licenses', file('user-licenses-group1-with-bom.json'));
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', 'users-page.json: read');
for my $item (@{ value('users-page.json')->{items} })
{
	my $row = $t->row("SELECT * FROM spinpanel.customer_user WHERE user_id = '$item->{id}'");
	is($row->{upn}, $item->{userPrincipalName}, "users-page.json: $item->{userPrincipalName}");
	is($row->{usage_location} // '', $item->{usageLocation} // '', '... and the usage location');
	is($t->sql("SELECT string_agg(sku_id::text, ',' ORDER BY sku_id) FROM spinpanel.user_license WHERE user_id = '$item->{id}'"),
		join(',', sort map { lc $_->{productSku}{id} } @{ value('user-licenses-group1-with-bom.json')->{items} }), '... and the licences, BOM and all');
}
$t->clear_faults;

# --- customers
$seen{'customers-page.json'} = 1;
answer('customers', file('customers-page.json'));
$t->run_and_wait('sync');
for my $item (@{ value('customers-page.json')->{items} })
{
	is($t->sql("SELECT name || ' ' || domain FROM spinpanel.customer WHERE customer_id = '$item->{id}'"), "$item->{companyProfile}{companyName} $item->{companyProfile}{domain}",
		"customers-page.json: $item->{id}");
}
isnt($t->sql("SELECT gone_at FROM spinpanel.customer WHERE customer_id = '$contoso'"), '', 'who is no longer listed is gone');
$t->clear_faults;
$t->run_and_wait('sync');
is($t->sql("SELECT gone_at FROM spinpanel.customer WHERE customer_id = '$contoso'"), '', '... and back when listed again');

# --- from an offer to its SKU
$seen{$_} = 1 for qw(sku-nce.json subscription-provisioningstatus-success.json);
answer('subscriptions', '{"items":[' . file('subscription-nce-expired.json') =~ s/"expired"/"active"/r . ']}');
answer('sku', file('sku-nce.json'));
$t->run_and_wait('sync', 'Contoso');
is($t->sql("SELECT sku_id || ' ' || minimum || ' ' || maximum FROM spinpanel.offer WHERE offer_key = 'CFQ7TTC0LH18:0001'"),
	'3b555118-da6a-4418-894f-7df1e2096870 1 300', 'sku-nce.json: SKU, minimum and maximum');
$t->clear_faults;
$t->advance(days => 3);    # it was asked for before, in vain
answer('subscriptions', file('subscriptions-collection-legacy.json'));
answer('provisioningstatus', file('subscription-provisioningstatus-success.json'));
$t->run_and_wait('sync', 'Contoso');
is($t->sql("SELECT sku_id FROM spinpanel.offer WHERE offer_key = '0cca44d6-68e9-4762-94ee-31ece98783b9'"), '6fd2c87f-b296-42f0-b197-1e91e994b900',
	'subscription-provisioningstatus-success.json: the SKU of a legacy offer');
$t->clear_faults;

# --- errors
$seen{$_} = 1 for qw(error-429-throttled.json error-800090-quantity-cannot-decrease.json error-900316-partner-token.json token-error-invalid-scope.json);
$t->fault({ match => { kind => 'subscriptions' }, action => 'status', status => 429, body => file('error-429-throttled.json'), retry_after => 1, count => 1 });
is($t->run_and_wait('sync', 'Contoso', seconds => 30)->{status}, 'done', 'error-429-throttled.json: tried again');
$t->clear_faults;
$t->fault({ match => { kind => 'subscribedskus' }, action => 'status', status => 400, body => file('error-900316-partner-token.json') });
$t->run_and_wait('sync', 'Contoso');
is($t->sql("SELECT license_access FROM spinpanel.customer_account WHERE customer_id = '$contoso'"), 'f', 'error-900316-partner-token.json: no access to licences');
like($t->sql("SELECT subscribed_skus_error FROM spinpanel.customer_account WHERE customer_id = '$contoso'"), qr/900316/, '... and it says so');
$t->clear_faults;
$t->load(one_customer(subscriptions => [ { offer => 'legacy-SPB', quantity => 13, started_days_ago => 400 } ]), { requests_per_minute => 0 });
$t->sql('DROP EXTENSION spinpanel; CREATE EXTENSION spinpanel');
$t->connect_account;
$t->run_and_wait('sync');
$t->sql("SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_license_adjustment => true)");
$t->fault({ match => { kind => 'patch_subscription' }, action => 'status', status => 400, body => file('error-800090-quantity-cannot-decrease.json') });
$t->run_and_wait('adjust', 'Contoso');
is($t->sql('SELECT status || error_code FROM spinpanel.operation'), 'refused800090', 'error-800090: refused, with its code');
is($t->seats('Contoso', 'SPB'), 13, '... and nothing has changed');
$t->clear_faults;

# --- audit records, and an answer in PascalCase to the change itself
$seen{'auditrecords-page.json'} = 1;
answer('audit', file('auditrecords-page.json'));
$t->fault({ match => { kind => 'patch_subscription' }, action => 'status', status => 200, when => 'after', body => file('patch-quantity-legacy-response-pascalcase.json'), count => 1 });
$t->run_and_wait('adjust', 'Contoso');
$t->poll(sub { $t->seats('Contoso', 'SPB') == 10 });
is($t->sql("SELECT string_agg(DISTINCT status, ',') FROM spinpanel.operation WHERE kind = 'set_quantity' AND status <> 'refused'"), 'done',
	'a change with an answer in PascalCase and strange audit records is done');
is(scalar($t->ledger(action => ['lower', 'raise'])), 1, '... once');
$t->clear_faults;

# --- everything else is at least survived
for my $path (sort glob "$folder/*.json $folder/*.csv")
{
	my $name = basename($path);
	next if $seen{$name};
	answer('subscriptions', file($name));
	like($t->run_and_wait('sync', 'Contoso', seconds => 60)->{status}, qr/^(done|failed)$/, "$name: survived where it does not belong");
	$t->clear_faults;
}
answer('token', file('token-v1-refresh-response.json'));
$t->act({ do => 'revoke_access_tokens' });
my $total = $t->counts->{total};
my $id = $t->sql("SELECT spinpanel.sync('Contoso')");
ok($t->poll(sub { grep { $_->{kind} eq 'subscriptions' } $t->requests(since => $total) }), 'token-v1-refresh-response.json: numbers as strings, the token is used');
$t->clear_faults;
$t->connect_account;
$t->run_finished($id, 90);
is($t->run_and_wait('sync', 'Contoso', seconds => 90)->{status}, 'done', 'and afterwards it works as before');
$t->fault({ match => { kind => 'token' }, action => 'status', status => 400, body => file('token-error-invalid-scope.json') });
$t->act({ do => 'revoke_access_tokens' });
$t->sql("SELECT spinpanel.sync('Contoso')");
$t->wait_for('SELECT status FROM spinpanel.account', 'stopped');
like($t->sql('SELECT status_reason FROM spinpanel.account'), qr/scope/i, 'token-error-invalid-scope.json: the account stops, and says why');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation/, 'nothing crashed');
done_testing();
