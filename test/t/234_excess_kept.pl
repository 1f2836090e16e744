# What is kept of plans is what the planner says: excess_seats() and plan_adjustment() of everybody are compared with those of
# each customer, which are always planned afresh, after random changes of everything that a plan is made of and moves of the clock.
use strict;
use warnings;
use SpinpanelTest;
use Test::More;

my $seed = $ENV{SPINPANEL_SEED} // 20261124;
my $steps = $ENV{SPINPANEL_STEPS} // 25;
srand($seed);
diag("seed $seed") if $ENV{SPINPANEL_SEED};

my $t = SpinpanelTest->start(scenario => 'msp', options => { requests_per_minute => 0 }, conf => { 'spinpanel.poll_interval' => '200ms' });
is($t->run_and_wait('sync', undef, seconds => 120)->{status}, 'done', 'everything was read');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, removal_limit_seats => 3)});
is($t->run_and_wait('adjust', undef, seconds => 120)->{status}, 'done', 'a run');

# Both in one statement: what the worker does meanwhile cannot come between.
my $excess = q{
	WITH kept AS (SELECT * FROM spinpanel.excess_seats()),
	     fresh AS (SELECT e.* FROM spinpanel.customer c CROSS JOIN LATERAL spinpanel.excess_seats(c.customer_id::text) e WHERE c.gone_at IS NULL)
	SELECT 'kept ' || q::text FROM (TABLE kept EXCEPT ALL TABLE fresh) q UNION ALL SELECT 'planned ' || q::text FROM (TABLE fresh EXCEPT ALL TABLE kept) q
	UNION ALL SELECT 'nothing at all' WHERE NOT EXISTS (TABLE kept)};
my $plan = q{
	WITH kept AS (SELECT p.customer_id, p.sku_id, p.subscription_id, action, from_quantity, to_quantity, seats, counted, effective_on, reason, merge
			FROM spinpanel.plan_adjustment('*', $1) p),
	     fresh AS (SELECT p.customer_id, p.sku_id, p.subscription_id, action, from_quantity, to_quantity, seats, counted, effective_on, reason, merge
			FROM spinpanel.customer c JOIN spinpanel.relationship r USING (customer_id)
			CROSS JOIN LATERAL spinpanel.plan_adjustment(c.customer_id::text, $1) p
			WHERE c.gone_at IS NULL AND r.auto_license_adjustment AND r.partner_center_sync
			AND NOT (p.action = 'none' AND p.sku_id IS NULL AND p.reason ~ '^no (unused )?seats'))
	SELECT 'kept ' || q::text FROM (TABLE kept EXCEPT ALL TABLE fresh) q UNION ALL SELECT 'planned ' || q::text FROM (TABLE fresh EXCEPT ALL TABLE kept) q};
sub differences
{
	my (%how) = @_;
	my $as_of = $how{as_of} // 'now()';
	return join "\n", grep { $_ ne '' } map { $t->sql(($how{before} // '') . $_) } $excess, $plan =~ s/\$1/$as_of/gr;
}

# Customers whose rows are shown as they are kept
sub held
{
	return $t->sql(q{SELECT count(*) FROM spinpanel.customer_excess x WHERE holds_from <= spinpanel._now() AND spinpanel._now() < holds_until
		AND NOT EXISTS (SELECT FROM spinpanel.excess_void v WHERE v.customer_id = x.customer_id OR v.customer_id IS NULL)});
}
sub settle { return $t->wait_ok(q{SELECT NOT EXISTS (SELECT FROM spinpanel.excess_void)}, 't', $_[0]) }

my @customers = map { $_->{customer_id} } $t->rows('SELECT customer_id FROM spinpanel.customer ORDER BY name');
my @parts = map { $_->{part_number} } $t->rows('SELECT DISTINCT part_number FROM spinpanel.sku WHERE part_number IS NOT NULL ORDER BY 1');
sub one { return $_[ int rand @_ ] }
sub flip { return one('true', 'false') }
sub somebody { return one(@customers) }

# Each is one statement, or several
my @changes = (
	[ 'a switch' => sub { "SELECT count(*) FROM spinpanel.set_relationship('" . somebody() . "', auto_license_adjustment => " . flip() . ')' } ],
	[ 'the sync' => sub { "SELECT count(*) FROM spinpanel.set_relationship('" . somebody() . "', partner_center_sync => " . flip() . ')' } ],
	[ 'spare seats' => sub { "SELECT count(*) FROM spinpanel.set_relationship('" . somebody() . "', spare_seats => " . int(rand 4) . ')' } ],
	[ 'a cool-down' => sub { "SELECT count(*) FROM spinpanel.set_relationship('" . somebody() . "', cooldown => '" . int(rand 200) . " hours')" } ],
	[ 'a lead' => sub { "SELECT count(*) FROM spinpanel.set_relationship('" . somebody() . "', renewal_lead => '" . int(2 + rand 300) . " days')" } ],
	[ 'the lead of all' => sub { "SELECT count(*) FROM spinpanel.set_relationship('*', renewal_lead => '" . int(2 + rand 60) . " days')" } ],
	[ 'a pause' => sub { "SELECT spinpanel.pause('" . somebody() . "', 'test')" } ],
	[ 'no pause' => sub { "SELECT spinpanel.resume('*')" } ],
	[ 'a rule' => sub { "SELECT spinpanel.set_license_rule('" . somebody() . "', '" . one(@parts) . "', excluded => " . flip() . ', spare_seats => ' . int(rand 3) . ')' } ],
	[ 'a rule for a SKU' => sub { "SELECT spinpanel.set_license_rule('*', '" . one(@parts) . "', excluded => " . flip() . ')' } ],
	[ 'a rule for all' => sub { "SELECT spinpanel.set_license_rule('*', '*', min_seats => " . int(rand 5) . ')' } ],
	[ 'never assigned' => sub { "INSERT INTO spinpanel.never_assigned_sku VALUES ('" . uc(one(@parts)) . "', " . flip() . ", 'test') ON CONFLICT (part_number) DO UPDATE SET never_assigned = NOT spinpanel.never_assigned_sku.never_assigned" } ],
	[ 'an offer' => sub { 'UPDATE spinpanel.offer SET minimum = ' . int(1 + rand 6) . ', is_trial = ' . one('false', 'false', 'false', 'true') . ' WHERE offer_key = (SELECT offer_key FROM spinpanel.offer ORDER BY random() LIMIT 1)' } ],
	[ 'a subscription' => sub { "UPDATE spinpanel.subscription SET quantity = quantity + 1, term_end = term_end + interval '" . int(rand 50) . " hours' WHERE customer_id = '" . somebody() . "'" } ],
	[ 'a window' => sub { "UPDATE spinpanel.subscription SET refund_quantity = ARRAY[2, 1], refund_until = ARRAY[spinpanel._now() + interval '" . int(rand 90) . " hours', spinpanel._now() + interval '" . int(rand 167) . " hours'] WHERE customer_id = '" . somebody() . "' AND commerce = 'nce'" } ],
	[ 'units' => sub { "UPDATE spinpanel.pool SET consumed_units = consumed_units + " . int(rand(4) - 2) . " WHERE consumed_units > 2 AND customer_id = '" . somebody() . "'" } ],
	[ 'doubt' => sub { "UPDATE spinpanel.pool SET doubt = " . one("'test'", 'NULL') . ", doubt_at = spinpanel._now(), doubt_consumed = " . one(-1, 3) . " WHERE customer_id = '" . somebody() . "'" } ],
	[ 'readings' => sub { "UPDATE spinpanel.pool_reading SET read_at = read_at - interval '" . int(rand 30) . " hours', consumed = consumed + " . int(rand 2) . " WHERE until IS NULL AND customer_id = '" . somebody() . "'" } ],
	[ 'a SKU' => sub { "UPDATE spinpanel.sku SET part_number = part_number || 'X' WHERE part_number = '" . one(@parts) . "'" } ],
	[ 'a name' => sub { "UPDATE spinpanel.customer SET name = name || '.' WHERE customer_id = '" . somebody() . "'" } ],
	[ 'gone, or back' => sub { "UPDATE spinpanel.customer SET gone_at = CASE WHEN gone_at IS NULL THEN spinpanel._now() END WHERE customer_id = '" . somebody() . "'" } ],
	[ 'gone at the account' => sub { "UPDATE spinpanel.customer_account SET gone_at = CASE WHEN gone_at IS NULL THEN spinpanel._now() END WHERE customer_id = '" . somebody() . "'" } ],
	[ 'no access' => sub { "UPDATE spinpanel.customer_account SET license_access = NOT coalesce(license_access, false) WHERE customer_id = '" . somebody() . "'" } ],
	[ 'data too old' => sub { "UPDATE spinpanel.customer_account SET subscriptions_read_at = spinpanel._now() - interval '" . int(20 + rand 12) . " hours' WHERE customer_id = '" . somebody() . "'" } ],
	[ 'nothing was read' => sub { "UPDATE spinpanel.customer_account SET subscribed_skus_read_at = NULL WHERE customer_id = '" . somebody() . "'" } ],
	[ 'an account' => sub { 'UPDATE spinpanel.account SET status = CASE status WHEN $$disconnected$$ THEN $$active$$ ELSE $$disconnected$$ END' } ],
	[ 'a rejection' => sub { "SELECT spinpanel.reject(adjustment_id, 'test') FROM spinpanel.adjustment WHERE status = 'awaiting_approval' ORDER BY random() LIMIT 1" } ],
	[ 'an approval' => sub { "SELECT spinpanel.approve(adjustment_id) FROM spinpanel.adjustment WHERE status = 'awaiting_approval' ORDER BY random() LIMIT 1" } ],
	[ 'a request' => sub { "SELECT spinpanel.assign_license(l.customer_id::text, l.upn, k.sku_id::text) FROM spinpanel.customer_user l JOIN spinpanel.subscribed_sku k USING (customer_id) JOIN spinpanel.pool p USING (customer_id, sku_id) WHERE p.active_units > p.consumed_units + 1 ORDER BY random() LIMIT 1" } ],
);

my %sleeping = ('an account' => 1);
is(differences(), '', 'after the run: as each customer is planned for');
settle('the worker has planned for everybody');
cmp_ok(held(), '>=', @customers / 2, '... and most of it is kept, not planned');

# In transactions that are rolled back: what they tried is seen in them, and by nobody else
for my $change (@changes)
{
	my ($name, $make) = @$change;
	my $session = $t->session;
	$session->query('BEGIN');
	$session->query($make->());
	# What was refused is tried in the next life.
	my $seen = $session->error =~ /ERROR/ ? '' : join "\n", grep { $_ ne '' } map { $session->query($_) } $excess, $plan =~ s/\$1/now()/gr;
	is($seen, '', "$name, in the same transaction");
	$session->query('ROLLBACK');
	$session->finish;
}
is(differences(), '', 'all of it rolled back');

for my $step (1 .. $steps)
{
	my @done;
	for (1 .. 1 + int rand 3)
	{
		my ($name, $make) = @{ one(@changes) };
		next if $sleeping{$name} && rand() < 0.5;
		my $statement = $make->();
		$t->sql_error($statement);
		push @done, $name;
	}
	my $differs = differences();
	if (!$differs)
	{
		settle("step $step: the worker has planned") if rand() < 0.5;
		$differs = differences();
		push @done, 'planned again';
	}
	# Time goes on: by minutes, hours, days
	for my $hours (1 .. 1 + int rand 2)
	{
		last if $differs;
		my $by = one(0.2, 1, 3, 11, 26, 24 * 6, 24 * 20) * rand();
		$t->advance(hours => $by);
		$differs = differences();
		push @done, sprintf('%.1f hours', $by);
		$differs ||= differences(as_of => sprintf(q{spinpanel._now() + interval '%d hours'}, rand 300));
	}
	if (!$differs && rand() < 0.2)
	{
		$t->run_and_wait('adjust', undef, seconds => 120);
		push @done, 'a run';
		$differs = differences();
	}
	is($differs, '', "step $step: " . join(', ', @done));
	last if $differs;
}

# What nothing has changed of is not written again.
$t->sql(q{UPDATE spinpanel.account SET status = 'active' WHERE status = 'disconnected'});
$t->run_and_wait('sync', undef, seconds => 120);
$t->wait_idle(60);
settle('the worker has planned for everybody once more');
my $pools = $t->sql(q{SELECT string_agg(ctid::text || xmin, ',' ORDER BY ctid) FROM spinpanel.pool_excess});
$t->run_and_wait('sync', undef, seconds => 120);
settle('nothing is left to plan');
is($t->sql(q{SELECT string_agg(ctid::text || xmin, ',' ORDER BY ctid) FROM spinpanel.pool_excess}), $pools, 'rows that are as they were are not written');
$t->node->stop;
done_testing();
