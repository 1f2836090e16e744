# Reports against the emulator's books: prices, refunds to the cent, renewals without seats, seats at any moment, the page.
use strict;
use warnings;

use FindBin;
use JSON::PP ();
use POSIX ();
use PriceSheet;
use SpinpanelTest;
use Test::More;
use Time::Local qw(timegm);

my $days = $ENV{SPINPANEL_DAYS} // 14;
my $t = SpinpanelTest->start(scenario => 'msp', streaming => 1, conf => { 'spinpanel.settle_time' => '1s', 'spinpanel.poll_interval' => '200ms' });
$t->emulator('POST', 'options', { requests_per_minute => 0 });
is($t->run_and_wait('sync')->{status}, 'done', 'the first reading');

# --- before there are prices nothing is 0
is($t->sql('SELECT count(*) FROM spinpanel_report.excess WHERE unused_amount_month IS NOT NULL OR currency IS NOT NULL'), 0, 'without prices no amount is claimed');
is($t->sql(q{SELECT count(*) FROM spinpanel_report.excess WHERE unused_seats > 0}) > 5 ? 1 : 0, 1, '... but there are unused seats');

# --- a sheet, as a file on the server
my $sheet = PriceSheet::fetch($t->{emulator_port}, 'US');
my $file = "$t->{dir}/sheet.csv";
open my $out, '>', $file or die $!;
print $out $sheet;
close $out;
my $rows = $t->sql("SELECT rows FROM spinpanel.load_price_sheet(file => '$file')");
cmp_ok($rows, '>', 50, "$rows prices from a file");
is($t->sql("SELECT new_prices || ' ' || changed_prices FROM spinpanel.load_price_sheet(file => '$file')"), '0 0', 'loading again changes nothing');
# Customers of other countries: their sheets list other currencies, too
for my $country (split /\n/, $t->sql(q{SELECT DISTINCT country FROM spinpanel.customer WHERE country <> 'US'}))
{
	is($t->sql("SELECT count(*) FROM spinpanel.load_price_sheet(\$sheet\$" . PriceSheet::fetch($t->{emulator_port}, $country) . "\$sheet\$, currency => 'USD')"), 1, "prices of $country");
}
my %price;    # subscription => what the emulator charges for a seat and term
for my $customer (@{ $t->state()->{customers} })
{
	$price{ lc $_->{id} } = $_->{unit_price} for grep { $_->{commerce} eq 'nce' && $_->{status} eq 'active' && !$_->{trial} } @{ $customer->{subscriptions} };
}
SKIP: {
	skip 'the emulator does not show prices', 1 unless grep { defined } values %price;
	my @wrong;
	for my $row ($t->rows(q{SELECT subscription_id, offer_name, unit_price, currency FROM spinpanel_report.subscription WHERE commerce = 'nce' AND is_owned}))
	{
		push @wrong, "$row->{offer_name}: $row->{unit_price}, not $price{$row->{subscription_id}}" if abs(($row->{unit_price} // -1) - ($price{ $row->{subscription_id} } // -2)) > 1e-9;
	}
	is(join("\n", @wrong), '', 'each subscription has the price that it is billed at');
}

# --- two weeks of nights, with people in between
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, auto_increment => false, cooldown => '0', removal_limit_percent => 100, removal_limit_seats => 1000)});
my @quiet;    # [from, to]: times in which nothing happened, by the emulator's clock
my $now = $t->emulator('GET', 'clock')->{now};
my $midnight = timegm(0, 0, 0, (split /[-T]/, $now)[2], (split /[-T]/, $now)[1] - 1, (split /[-T]/, $now)[0]);
sub moment { my ($day, $time) = @_; return POSIX::strftime("%Y-%m-%dT$time", gmtime($midnight + 86400 * $day)) }
sub settled
{
	$t->wait_idle(60);
	$t->wait_for("SELECT count(*) FROM spinpanel.obligation WHERE look_at <= spinpanel._now() + interval '3 s'", 0, 60);
	return;
}
my $differs = 0;
for my $day (1 .. $days)
{
	$t->advance_to(moment($day, '12:00:00Z'));
	settled();
	if ($day % 4 == 1)
	{
		# Somebody wants a seat where seats went before
		my ($row) = $t->rows(q{SELECT c.name, k.part_number FROM spinpanel.saving v JOIN spinpanel.customer c USING (customer_id) JOIN spinpanel.sku k USING (sku_id)
			WHERE v.open_seats > 0 AND v.basis = 'refund' ORDER BY v.saving_id LIMIT 1});
		if ($row)
		{
			my $upn = "new$day\@" . $t->state($row->{name})->{domain};
			$t->act({ customer => $row->{name}, do => 'create_user', upn => $upn, usage_location => 'US' });
			$t->assign_and_wait($row->{name}, $upn, $row->{part_number}, seconds => 60);
		}
	}
	$t->advance_to(moment($day, '20:00:00Z'));
	is($t->run_and_wait('nightly', undef, seconds => 120)->{status}, 'done', "night $day");
	$differs += $t->sql(q{SELECT count(*) FROM (SELECT customer_id, sku_id, owned_seats, excess_seats, reducible_now, reducible_at_renewal, next_renewal, blocked_by FROM spinpanel.excess_seats() WHERE sku_id IS NOT NULL
		EXCEPT SELECT customer_id, sku_id, owned_seats, unused_seats, reducible_now_seats, reducible_at_renewal_seats, next_renewal_at, blocked_by FROM spinpanel_report.excess) x});
	settled();
	my $from = $t->sql(q{SELECT to_char(spinpanel._now() AT TIME ZONE 'UTC' + interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')});
	push @quiet, [ $from, moment($day, '23:59:00Z') ];
}

is($differs, 0, 'each night the view of the excess is what excess_seats() says');

# --- refunds equal the credits
my @ledger = $t->ledger(actor => [ 'app', 'app+user' ], action => [qw(lower cancel)]);
my $credits = 0;
$credits -= $_->{amount} for grep { defined $_->{amount} } @ledger;
my $saved = $t->sql(q{SELECT coalesce(sum(amount), 0) FROM spinpanel_report.saving WHERE basis = 'refund'});
is(sprintf('%.2f', $saved), sprintf('%.2f', $credits), 'refunds are the credits of Partner Center, to the cent');
cmp_ok($credits, '>', 0, sprintf 'there were some: %.2f', $credits);
is($t->sql(q{SELECT count(*) FROM spinpanel_report.saving WHERE basis IN ('refund', 'renewal') AND amount IS NULL}), 0, 'each is known');

# --- renewals that took place without seats that we had scheduled to go
my $avoided = 0;
my %seat;    # price of a seat and term by product
for my $entry ($t->ledger(action => [qw(renew expire disable)]))
{
	next unless $entry->{planned_by} && ($entry->{planned_by}{actor} // '') =~ /^app/;
	my $went = $entry->{before}{quantity} - ($entry->{action} eq 'renew' ? $entry->{after}{quantity} : 0);
	next if $went <= 0;
	$avoided += $went * ($price{ lc $entry->{subscription} } // die "no price of $entry->{subscription}\n");
}
is(sprintf('%.2f', $t->sql(q{SELECT coalesce(sum(amount), 0) FROM spinpanel_report.saving WHERE basis = 'renewal'})), sprintf('%.2f', $avoided),
	'avoided renewals are what the seats that went would have cost');
cmp_ok($avoided, '>', 0, sprintf 'there were some: %.2f', $avoided);

# --- seats bought again
is($t->sql(q{SELECT count(*) FROM spinpanel_report.saving WHERE basis = 'bought again' AND amount >= 0}), 0, 'what was bought again counts below 0');
is($t->sql(q{SELECT count(*) FROM spinpanel.saving WHERE open_seats < 0 OR seats > 0 AND open_seats > seats}), 0, 'no more seats are bought again than were saved');

# --- legacy commerce: seats are known, money is not
is($t->sql(q{SELECT count(*) FROM spinpanel_report.saving WHERE basis = 'legacy' AND amount IS NOT NULL}), 0, 'of legacy commerce no amount is claimed');

# --- seats at random moments against the emulator's truth
my %pool;    # customer|sku => rows, oldest first
push @{ $pool{ lc "$_->{customer}|$_->{sku_id}" } }, $_ for @{ $t->emulator('GET', 'timeline') };
srand 450;
my ($compared, @differ) = (0);
sub seconds { my ($text) = @_; my ($y, $m, $d, $h, $i, $s) = $text =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/; return timegm($s, $i, $h, $d, $m - 1, $y) }
for my $n (1 .. 40)
{
	my $window = $quiet[ int rand @quiet ];
	my ($from, $to) = map { seconds($_) } @$window;
	my $moment = POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime($from + int rand($to - $from)));
	for my $row ($t->rows("SELECT customer_id, sku_id, owned_seats, assignable_seats, assigned_seats FROM spinpanel_report.seats_as_of('$moment')
		JOIN spinpanel_report.customer USING (customer_id) WHERE has_license_access"))
	{
		my $truth;
		for (@{ $pool{"$row->{customer_id}|$row->{sku_id}"} // [] }) { $truth = $_ if $_->{time} le $moment }
		next unless $truth;
		$compared++;
		my ($is, $should) = ("$row->{owned_seats} $row->{assignable_seats} $row->{assigned_seats}", "$truth->{owned} $truth->{active} $truth->{holders}");
		push @differ, "$moment $truth->{name} $truth->{part_number}: $is, in truth $should" if $is ne $should;
	}
}
cmp_ok($compared, '>=', 1000, "$compared pools at random moments");
is(scalar @differ, 0, '... had the seats that they had') or diag(join "\n", splice @differ, 0, 10);

# --- what Microsoft will charge for this month so far, and what explains it
my $invoice = PriceSheet::get($t->{emulator_port}, 'https://api.partnercenter.microsoft.com/.default',
	'/v1/invoices/unbilled/lineitems?provider=onetime&invoicelineitemtype=billinglineitems&currencycode=usd&period=current&size=2000');
cmp_ok($t->sql("SELECT spinpanel.load_invoice_lines(\$json\$$invoice\$json\$)"), '>', 0, 'invoice lines are loaded');
is($t->sql(q{SELECT count(*) FROM spinpanel_report.invoice_check WHERE NOT is_explained}), 0, '... each is explained: nobody else changed anything');
is($t->sql(q{SELECT count(*) FROM spinpanel_report.invoice_check WHERE charge_type IN ('removequantity', 'addquantity') AND (operation_id IS NULL OR request_id IS NULL AND adjustment_id IS NULL)}), 0,
	'... by the request or the decision that each change came from');
my $other = $t->row(q{SELECT s.customer_id, s.subscription_id FROM spinpanel_report.subscription s WHERE s.commerce = 'nce' AND s.is_owned AND s.term_duration = 'P1Y' LIMIT 1});
$t->act({ customer => $other->{customer_id}, do => 'raise', subscription => $other->{subscription_id}, seats => 2 });
$invoice = PriceSheet::get($t->{emulator_port}, 'https://api.partnercenter.microsoft.com/.default',
	'/v1/invoices/unbilled/lineitems?provider=onetime&invoicelineitemtype=billinglineitems&currencycode=usd&period=current&size=2000');
$t->sql("SELECT spinpanel.load_invoice_lines(\$json\$$invoice\$json\$)");
is($t->sql(q{SELECT string_agg(charge_type || ' ' || quantity, ',') FROM spinpanel_report.invoice_check WHERE NOT is_explained}), 'addquantity 2', 'what a technician bought is not');
$t->run_and_wait('sync');

# --- days
is($t->sql(q{SELECT count(*) FROM (SELECT customer_id, sku_id, owned_seats, assigned_seats FROM spinpanel_report.seat_balance_daily WHERE day = (spinpanel._now() AT TIME ZONE 'UTC')::date
	EXCEPT SELECT customer_id, sku_id, owned_seats, assigned_seats FROM spinpanel_report.seat_balance) x}), 0, 'today is the present balance');
is($t->sql(q{SELECT count(*) FROM (SELECT sku_id, day, sum(owned_seats), sum(assigned_seats) FROM spinpanel_report.seat_balance_daily GROUP BY 1, 2
	EXCEPT SELECT sku_id, day, owned_seats, assigned_seats FROM spinpanel_report.seat_total_daily) x}), 0, 'the totals of each day are sums of the pools');

# --- the page, and a reader of the world outside
my $page = $t->sql('SELECT spinpanel_report.page()');
like($page, qr/^<!DOCTYPE html>.*<\/html>$/s, 'the page is a document');
my $unused = $t->sql(q{SELECT to_char(sum(unused_seats), 'FM999,990') FROM spinpanel_report.excess WHERE is_counted});
like($page, qr/Seats nobody uses<\/h3><p class="value">\Q$unused\E</, '... with the figures of the views');

# --- the dashboard's queries
my $dashboard = do { local $/; open my $in, '<', "$FindBin::Bin/../demo/grafana.json" or die $!; JSON::PP::decode_json(<$in>) };
my ($asked, @broken) = (0);
for my $query (map { $_->{rawSql} } map { @{ $_->{targets} } } @{ $dashboard->{panels} })
{
	for my $customer ('*', $t->sql('SELECT customer_id FROM spinpanel_report.customer LIMIT 1'))
	{
		(my $sql = $query) =~ s/\$\{customer:raw\}/$customer/g;
		$sql =~ s/\$__timeFrom\(\)/'2026-01-01'/g;
		$sql =~ s/\$__timeTo\(\)/'2028-01-01'/g;
		$asked++;
		push @broken, $query unless eval { $t->sql($sql); 1 };
	}
}
is("@broken", '', "$asked queries of the Grafana dashboard answer");

# --- a hot standby
my $standby = SpinpanelTest->start(name => 'standby', standby_of => $t, emulator => 0);
$t->node->wait_for_catchup($standby->node);
like($standby->sql('SELECT spinpanel_report.page()'), qr/Seats nobody uses<\/h3><p class="value">\Q$unused\E</, 'on a standby the page is the same');
my @views = map { $_->{relname} } $t->rows(q{SELECT relname FROM pg_class WHERE relnamespace = 'spinpanel_report'::regnamespace AND relkind = 'v' AND relname <> 'worker' ORDER BY 1});
my @off;
for my $view (@views) { push @off, $view if $standby->sql("SELECT count(*) FROM spinpanel_report.$view") ne $t->sql("SELECT count(*) FROM spinpanel_report.$view") }
is("@off", '', 'each view answers there');
is($standby->sql('SELECT count(*) FROM spinpanel_report.seats_as_of(spinpanel._now())'), $t->sql('SELECT count(*) FROM spinpanel_report.seats_as_of(spinpanel._now())'), 'and so do the seats of a moment');
$standby->node->stop('immediate');

# --- months are tables of their own, and go when they are old
my $months = $t->sql(q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'spinpanel.seat_history'::regclass});
cmp_ok($months, '>=', 2, "$months months");
$t->set('spinpanel.enabled' => 'off');
my $before = $t->sql('SELECT sum(owned_change) FROM spinpanel_report.seat_change');
$t->set('spinpanel.seat_history_retention' => '1d');
$t->advance(days => 70);
$t->sql('SELECT spinpanel._seat_history_month(spinpanel._now())');
cmp_ok($t->sql('SELECT spinpanel._drop_old_seat_history()'), '>=', 1, 'old months go');
is($t->sql('SELECT sum(owned_change) FROM spinpanel_report.seat_change'), $before, '... and what stands since then stays');
done_testing();
