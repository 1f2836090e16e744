# The promises under bad weather, from outside: each kind of call of a night fails in each way, the worker and the server
# are killed in the middle, numbers are nonsense, people interfere at the worst moment; the ledger must show each removal
# exactly once, and nobody below what is needed.
use strict;
use warnings;

use SpinpanelTest;
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';

# Legacy with five unused, three legacy duplicates, and five refundable seats of New Commerce
my $scenario = {
	customers => [
		{ name => 'Contoso', domain => 'contoso.example', subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ], user_count => 12, assigned => { SPB => 10 } },
		{ name => 'Fabrikam', domain => 'fabrikam.example',
			subscriptions => [ map { { offer => 'legacy-O365_BUSINESS_PREMIUM', quantity => $_->[0], started_days_ago => $_->[1] } } [ 6, 700 ], [ 4, 500 ] ],
			user_count => 8, assigned => { O365_BUSINESS_PREMIUM => 7 } },
		{ name => 'Northwind', domain => 'northwind.example', user_count => 22, assigned => { SPB => 20 },
			subscriptions => [ { product => $spb, quantity => 25, ends_in_days => 120, friendly_name => 'the seats of the north',
				batches => [ { quantity => 20, hours_left => -5000 }, { quantity => 5, hours_left => 90 } ] } ] } ],
	options => { requests_per_minute => 0 } };

my $t = SpinpanelTest->start(
	scenario => $scenario,
	conf => { 'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '100ms', 'spinpanel.settle_time' => '1h' });
my ($account) = @{ $t->emulator('GET', 'accounts') };

# A fresh world and a fresh database, read once, adjustment on
sub fresh
{
	my (%options) = @_;
	$t->clear_faults;
	$t->load($options{scenario} // $scenario, $options{options});
	$t->sql('DROP EXTENSION IF EXISTS spinpanel; CREATE EXTENSION spinpanel');
	$t->follow_clock($t->emulator('GET', 'clock'));
	$t->connect_account(%{ $options{account} // {} });
	$t->run_and_wait('sync')->{status} eq 'done' or return fail('the first reading');
	$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
	return 1;
}

sub quiet { return $t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}) eq '0' }, 40) }

# What the rules say, from the ledger and the state
sub as_the_rules_say
{
	my ($what) = @_;
	my @wrong;
	push @wrong, 'Contoso has ' . $t->seats('Contoso', 'SPB') if $t->seats('Contoso', 'SPB') != 10;
	push @wrong, 'Fabrikam has ' . $t->seats('Fabrikam', 'O365_BUSINESS_PREMIUM') if $t->seats('Fabrikam', 'O365_BUSINESS_PREMIUM') != 7;
	push @wrong, 'Northwind has ' . $t->seats('Northwind', 'SPB') if $t->seats('Northwind', 'SPB') != 20;
	my %count;
	for my $entry ($t->ledger(action => [qw(raise lower suspend reactivate cancel)]))
	{
		$count{"$entry->{action}"}++;
	}
	push @wrong, join ', ', map { "$_ x $count{$_}" } sort keys %count
	  if ($count{lower} // 0) != 3 || ($count{suspend} // 0) != 1 || ($count{raise} // 0) != 1 || $count{reactivate} || $count{cancel};
	push @wrong, 'overdrawn' if @{ $t->emulator('GET', 'invariants')->{overdrawn_pools} };
	push @wrong, 'left unfinished: ' . $t->sql(q{SELECT string_agg(kind || ' ' || status || ' ' || coalesce(error, ''), '; ') FROM spinpanel.operation WHERE status NOT IN ('done', 'cancelled')})
	  if $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE status NOT IN ('done', 'cancelled')}) ne '0';
	is(join('; ', @wrong), '', $what) or diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, subscription_id, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history WHERE event ~ 'operation|bought'}));
	return;
}

# --- each kind of call x each fault
fresh();
my $run = $t->run_and_wait('adjust');
quiet();
as_the_rules_say('in good weather');
is($run->{customers_failed}, 0, 'no customer failed');

my @faults = (
	{ action => 'status', status => 429, retry_after => 1 },
	{ action => 'status', status => 500 },
	{ action => 'status', status => 503 },
	{ action => 'reset_before' },
	{ action => 'reset_after' },
	{ action => 'truncate' },
	{ action => 'garbage' },
	{ action => 'hang', when => 'before' });
for my $kind (qw(customers subscriptions subscribedskus subscription audit patch_subscription))
{
	for my $fault (@faults, $kind eq 'patch_subscription' ? ({ action => 'hang', when => 'after' }, { action => 'status', status => 500, when => 'after' },
		{ action => 'status', status => 503, when => 'after' }, { action => 'accepted_202', seconds => 0 }, { action => 'stale_etag' }) : ())
	{
		fresh() or next;
		$t->fault({ %$fault, match => { kind => $kind }, count => 2 });
		my $night = $t->run_and_wait('adjust', undef, seconds => 60);
		quiet();
		as_the_rules_say("$kind: $fault->{action} " . ($fault->{status} // '') . ($fault->{when} // ''));
	}
}

# --- a server that forgets MS-RequestId at once
fresh(options => { request_id_memory_seconds => 0, requests_per_minute => 0 });
$t->fault({ action => 'reset_after', match => { kind => 'patch_subscription' } });
$t->sql('SELECT spinpanel.adjust()');
$t->poll(sub { $t->seats('Contoso', 'SPB') == 10 });
$t->clear_faults;
quiet();
as_the_rules_say('answers lost for a while, and MS-RequestId forgotten at once');

# --- kill -9 of the worker, then of the server, while a change hangs before and after it was applied
for my $when (qw(before after))
{
	fresh();
	$t->fault({ action => 'hang', when => $when, match => { kind => 'patch_subscription' }, count => 3 });
	my $since = $t->counts->{last_seq};
	$t->sql('SELECT spinpanel.adjust()');
	$t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') });
	ok($t->kill9, "kill -9 of the worker while a change hangs ($when it was applied)");
	$t->clear_faults;
	quiet();
	as_the_rules_say('... it goes on where it was');

	fresh();
	$t->fault({ action => 'hang', when => $when, match => { kind => 'patch_subscription' }, count => 3 });
	$since = $t->counts->{last_seq};
	my $id = $t->sql('SELECT spinpanel.adjust()');
	$t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') });
	$t->node->stop('immediate');
	$t->clear_faults;
	$t->node->start;
	is($t->run_finished($id)->{status}, 'done', "the server killed while a change hangs ($when): the night is finished");
	quiet();
	as_the_rules_say('... it goes on where it was');
}

# --- promise 4: a user gets a seat between our read and our change
fresh();
$t->fault({ action => 'none', match => { kind => 'patch_subscription' }, count => 1, nth => 1,
	before_act => [ map { { customer => 'Contoso', do => 'assign', user => "user$_\@contoso.example", sku => 'SPB' } } 11, 12 ] });
$t->run_and_wait('adjust', 'Contoso');
$t->poll(sub { $t->seats('Contoso', 'SPB') == 12 });
is($t->seats('Contoso', 'SPB'), 12, 'two users get a seat between our read and our change: bought back');
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... nobody is left without');
is($t->sql(q{SELECT count(*) FROM spinpanel.history WHERE event = 'seats are being bought back'}), '1', '... and it is on record');

# ... a seat taken that shows only later
fresh(options => { report_delay_consumed => 1800, requests_per_minute => 0 });
$t->fault({ action => 'none', match => { kind => 'patch_subscription' }, count => 1, nth => 1,
	before_act => { customer => 'Contoso', do => 'assign', user => 'user11@contoso.example', sku => 'SPB' } });
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 10, 'a seat taken that the report does not show yet');
$t->advance(minutes => 61);
$t->poll(sub { $t->seats('Contoso', 'SPB') == 11 });
is($t->seats('Contoso', 'SPB'), 11, '... is bought back when settle_time has passed');

# ... a technician raises the same subscription between our read and our change
fresh();
my ($north) = @{ $t->state('Northwind')->{subscriptions} };
$t->fault({ action => 'none', match => { kind => 'patch_subscription', path => $north->{id} }, count => 1, nth => 1,
	before_act => { customer => 'Northwind', do => 'raise', sku => 'SPB', seats => 3 } });
$t->run_and_wait('adjust', 'Northwind');
$t->poll(sub { $t->seats('Northwind', 'SPB') == 23 }, 20);
is($t->seats('Northwind', 'SPB'), 23, 'a technician adds three seats meanwhile: what our target undid is bought again')
  or diag($t->sql(q{SELECT string_agg(concat_ws(' ', at, event, before ->> 'quantity', after, reason), E'\n' ORDER BY history_id) FROM spinpanel.history}));

is(scalar($t->ledger(customer => 'Northwind', action => ['raise'], actor => ['app+user'])), 1, '... once');

# ... also where the audit record is listed late
fresh(options => { audit_delay => 600, requests_per_minute => 0 });
($north) = @{ $t->state('Northwind')->{subscriptions} };
$t->fault({ action => 'none', match => { kind => 'patch_subscription', path => $north->{id} }, count => 1, nth => 1,
	before_act => { customer => 'Northwind', do => 'raise', sku => 'SPB', seats => 3 } });
$t->run_and_wait('adjust', 'Northwind');
quiet();
$t->advance(minutes => 61);
$t->poll(sub { $t->seats('Northwind', 'SPB') == 23 }, 20);
is($t->seats('Northwind', 'SPB'), 23, '... also where the audit record is listed ten minutes late');
$t->advance(minutes => 61);
quiet();
is($t->seats('Northwind', 'SPB'), 23, '... and no seat more');

# --- promise 5: nothing else changes, and what a change wipes is set again
fresh();
my @keep = qw(friendly_name auto_renew next_charge cycle term parent partner);
my %was = map { $_ => $north->{$_} } @keep;
$t->fault({ action => 'none', match => { kind => 'subscription', path => $north->{id} }, count => 1, nth => 1,
	before_act => { customer => 'Northwind', do => 'schedule', sku => 'SPB', quantity => 22 } });
$t->run_and_wait('adjust', 'Northwind');
quiet();
my ($now) = @{ $t->state('Northwind')->{subscriptions} };
is_deeply({ map { $_ => $now->{$_} } @keep }, \%was, 'all other members are as they were');
is(scalar($t->ledger(action => ['reset_by_omission'])), 0, 'no PATCH left a member out');
is($now->{scheduled_next}{quantity}, 22, 'a schedule that a person set a moment before our change stands') or diag(explain($now));
is($now->{quantity}, 25, '... and the change, no longer allowed, was dropped');

# --- promise 6: bad data removes nothing
for my $case (
	[ 'consumed units are zero once', { action => 'override', set => { consumedUnits => 0, availableUnits => 15 } } ],
	[ 'consumed units fall to less than half', { action => 'override', set => { consumedUnits => 4, availableUnits => 11 } } ],
	[ 'negative numbers', { action => 'override', set => { consumedUnits => -3 } } ],
	[ 'numbers that contradict each other', { action => 'override', set => { availableUnits => 9999 } } ],
	[ 'the SKU is gone', { action => 'override', where => { 'productSku.skuPartNumber' => 'SPB' }, remove => JSON::PP::true } ])
{
	my ($name, $rule) = @$case;
	fresh();
	$t->fault({ %$rule, match => { kind => 'subscribedskus', customer => $t->state('Contoso')->{id} } });
	$t->run_and_wait('adjust', 'Contoso');
	quiet();
	is($t->seats('Contoso', 'SPB'), 15, "$name: nothing is removed");
	isnt($t->sql(q{SELECT blocked_by FROM spinpanel.excess_seats('Contoso') WHERE part_number = 'SPB'}), '', '... the pool says why');
	$t->clear_faults;
	$t->run_and_wait('adjust', 'Contoso');
	quiet();
	is($t->seats('Contoso', 'SPB'), 10, '... and once the numbers are plausible again it goes on');
}
fresh();
$t->act({ customer => 'Contoso', do => 'unassign', user => sprintf('user%02d@contoso.example', $_), sku => 'SPB' }) for 3 .. 10;
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', cooldown => '0', removal_limit_percent => 100, removal_limit_seats => 100)});
$t->run_and_wait('adjust', 'Contoso');
is($t->seats('Contoso', 'SPB'), 15, 'eight of ten really leave: nothing at the first read');
$t->advance(minutes => 30);
$t->run_and_wait('adjust', 'Contoso');
is($t->seats('Contoso', 'SPB'), 15, '... nor at one before settle_time');
$t->advance(minutes => 40);
$t->run_and_wait('adjust', 'Contoso');
quiet();
is($t->seats('Contoso', 'SPB'), 2, '... but when a second one agrees after it');

# --- promise 11: a copy does not act
fresh();
$t->sql('SELECT spinpanel.pause()');
my $file = "$t->{dir}/copy.sql";
system('pg_dump', '-f', $file, $t->connstr) == 0 or fail('pg_dump');
my $copy = SpinpanelTest->start(name => 'copy', emulator => $t, extension => 0);
$copy->sql('CREATE EXTENSION pg_cron');
$copy->node->psql('postgres', "\\i $file", on_error_stop => 0);
$copy->sql('SELECT spinpanel.resume()');
my $total = $t->counts->{total};
my $id = $copy->sql('SELECT spinpanel.adjust()');
is($copy->run_finished($id)->{status}, 'failed', 'in a restored dump a run fails');
is($t->counts->{total}, $total, '... and nothing is sent');
like($copy->sql(q{SELECT string_agg(detail, ' ') FROM spinpanel.check_setup() WHERE NOT ok}), qr/copy/, '... check_setup() says that it is a copy');
$copy->sql('SELECT spinpanel.activate()');
$t->set('spinpanel.enabled' => 'off');    # of the two servers, one acts with the credential file
$copy->wait_ok('SELECT idle_reason IS NULL FROM spinpanel.account', 't', 'activated, it goes on when the original does not');
is($copy->run_and_wait('adjust')->{status}, 'done', 'activate() lets it act');
$copy->node->stop;
$t->set('spinpanel.enabled' => 'on');

# --- promise 10: secrets
fresh(options => { rotate_refresh_token => JSON::PP::true, requests_per_minute => 0 });
$t->conf(log_min_messages => 'debug1', log_statement => 'all', log_min_duration_statement => 0);
$t->node->restart;
$t->run_and_wait('adjust');
quiet();
my @secrets = ($account->{client_secret}, $account->{refresh_token});
push @secrets, split /\n/, $t->sql('SELECT refresh_token FROM spinpanel.credential');
cmp_ok(scalar @secrets, '>=', 3, 'a rotated token is kept');
$t->sql('ANALYZE');
my @places = (log => $t->log_since(0), dump => join('', `pg_dump '@{[ $t->connstr ]}'`),
	statistics => $t->sql('SELECT string_agg(s::text, E\'\n\') FROM pg_stats s'),
	activity => $t->sql('SELECT string_agg(a::text, E\'\n\') FROM pg_stat_activity a'),
	settings => $t->sql('SELECT string_agg(s::text, E\'\n\') FROM pg_settings s'));
for my $table (split /\n/, $t->sql(q{SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'spinpanel'::regnamespace AND relkind = 'r' AND relname <> 'credential'}))
{
	push @places, $table => $t->sql("SELECT string_agg(x::text, E'\\n') FROM $table x");
}
while (my ($where, $text) = splice @places, 0, 2)
{
	my @found = grep { index($text // '', $_) >= 0 } @secrets;
	is(scalar @found, 0, "no secret in $where");
}

# TLS: another authority is refused, and nothing is sent
$t->set('spinpanel.ca_file' => '');
$t->connect_account(tls => 1);
$total = $t->counts->{total};
$id = $t->sql('SELECT spinpanel.adjust()');
ok(!$t->poll(sub { $t->counts->{total} > $total }, 3), 'a server certificate of an unknown authority: nothing is sent');
$t->set('spinpanel.ca_file' => $t->{ca_file});
is($t->run_finished($id)->{status}, 'done', '... with the right authority it goes on');

# refused credentials stop the account, a mended file starts it again
$t->connect_account;
$t->credential_file({ client_secret => 'wrong', refresh_token => $account->{refresh_token} }, 'main.json');
$t->act({ do => 'revoke_access_tokens' });
$id = $t->sql('SELECT spinpanel.adjust()');
$t->wait_for(q{SELECT status FROM spinpanel.account}, 'stopped');
is($t->sql('SELECT status FROM spinpanel.account'), 'stopped', 'refused credentials stop the account');
is($t->run_finished($id)->{status}, 'failed', '... the run says so');
$t->credential_file({ client_secret => $account->{client_secret}, refresh_token => $account->{refresh_token} }, 'main.json');
$t->wait_for(q{SELECT status FROM spinpanel.account}, 'active', 40);
is($t->sql('SELECT status FROM spinpanel.account'), 'active', '... and a mended file starts it again');

unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|while .*\n.*spinpanel worker.*ERROR/, 'nothing crashed');
done_testing();
