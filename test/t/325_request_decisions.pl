# What is decided about requests when reports lag or are doubted, when a purchase takes long, when limits are reached, and
# when several requests of one user meet.  Judged by the emulator's ledger: what was bought.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $e3 = 'CFQ7TTC0LFLX:0001';
my $e3_id = '05e9a617-0261-4cee-bb44-138d3ef5d965';
my $t = SpinpanelTest->start(
	scenario => one_customer(),
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.settle_time' => '1h', 'spinpanel.request_timeout' => '2s', 'spinpanel.retry_max_delay' => '200ms',
		'spinpanel.poll_interval' => '200ms' });

sub scene { my ($options, %with) = @_; $t->fresh(one_customer(user_count => 40, %with), $options); return }
sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub assign { my ($user, $sku) = @_; return $t->sql(sprintf q{SELECT request_id FROM spinpanel.assign_license('Contoso', '%s', '%s')}, upn($user), $sku // 'SPB') }
sub release { return $t->sql(sprintf q{SELECT request_id FROM spinpanel.release_license('Contoso', '%s', 'SPB')}, upn($_[0])) }
sub status { return $t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $_[0]") }
sub becomes { my ($id, $status, $seconds) = @_; $t->wait_for("SELECT status FROM spinpanel.license_request WHERE request_id = $id", $status, $seconds // 20); return status($id) }
sub holds { my ($user) = @_; my $name = sprintf 'user%02d', $user; return scalar grep { $_ eq $name } $t->holders('Contoso', 'SPB') }

# ---- what is reported counts, in doubt a seat is tried -------------------------------------

scene(undef, assigned => { SPB => 1 }, subscriptions => [ { product => $spb, quantity => 1, ends_in_days => 200 } ]);
is($t->outcome(release(1)), 'done:1', 'the only licence is released');
$t->advance(hours => 12);
is($t->outcome(assign(2)), 'done:1', 'another user asks half a day later');
is($t->changes->{seats}, 0, 'nothing is bought: one seat was free, though removals must not believe it yet');

scene({ report_delay_active => 900 });
$t->act({ customer => 'Contoso', do => 'raise', sku => 'SPB', seats => 3 });
$t->advance(minutes => 1);
is($t->outcome(map { assign($_) } 11 .. 13), 'done:3', 'three ask a minute after somebody bought three');
is($t->changes->{seats}, 0, 'nothing is bought: seats that the report does not show are tried');

# ---- several requests of one user ----------------------------------------------------------

scene({ provisioning_delay => 600 });
my @ids = (assign(11));
is(becomes($ids[0], 'provisioning'), 'provisioning', 'a seat is bought and cannot be assigned yet');
push @ids, release(11), assign(11);
for (1 .. 4) { $t->advance(minutes => 5); last if $t->poll(sub { status($ids[2]) eq 'done' }, 3) }
is($t->outcome(@ids), 'done:3', 'assign, release, assign: all are done');
is(holds(11), 1, '... and the user holds it: the last one decides');

# ---- a purchase is judged again before it is sent ------------------------------------------

scene();
my $fault = $t->fault({ action => 'status', status => 429, retry_after => 1, match => { kind => 'patch_subscription' } });
my $id = assign(11);
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE kind = 'set_quantity' AND http_status = 429}, '1', 20);
$t->sql(q{SELECT FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 10)});
$t->clear_faults($fault);
is(becomes($id, 'failed'), 'failed', 'max_seats is lowered while the raise is throttled');
is($t->changes->{seats}, 0, '... and nothing is bought');
$t->sql(q{SELECT FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 11)});
is($t->sql("SELECT status FROM spinpanel.retry_request($id)"), 'queued', 'raised again: the failed one is tried again');
is(becomes($id, 'done'), 'done', '... and done under its id');
is($t->changes->{seats}, 1, '... with one seat');

# The same for an order: of the cart, which costs nothing, and of its checkout
for my $case ([ 'cart', 503, 'purchases are switched off', q{SELECT FROM spinpanel.set_relationship('Contoso', purchases => false)} ],
	[ 'cart', 503, 'max_seats is set', "SELECT FROM spinpanel.set_license_rule('*', '$e3_id', max_seats => 0)" ],
	[ 'cart', 503, 'the rule names no offer any more', "SELECT FROM spinpanel.set_license_rule('*', '$e3_id', reset => ARRAY['default_offer'])" ],
	[ 'checkout', 429, 'purchases are switched off', q{SELECT FROM spinpanel.set_relationship('Contoso', purchases => false)} ])
{
	my ($kind, $http_status, $what, $sql) = @$case;
	scene();
	$t->sql("INSERT INTO spinpanel.license_rule (sku_id, default_offer) VALUES ('$e3_id', '$e3')");
	$fault = $t->fault({ action => 'status', status => $http_status, retry_after => 1, match => { kind => $kind } });
	$id = assign(11, $e3_id);
	$t->wait_for("SELECT count(*) FROM spinpanel.operation WHERE purpose = 'buy' AND status <> 'done' AND http_status = $http_status", '1', 20);
	$t->sql($sql);
	$t->clear_faults($fault);
	is(becomes($id, 'failed'), 'failed', "$what while the $kind answers $http_status");
	is($t->changes->{orders}, 0, '... and nothing is ordered');
}

# ---- an order whose subscription cannot be read yet ----------------------------------------

scene({ order_delay => 600 });
$t->sql("INSERT INTO spinpanel.license_rule (sku_id, default_offer, max_seats) VALUES ('$e3_id', '$e3', 2)");
@ids = (assign(11, $e3_id));
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE kind = 'checkout' AND status = 'done'}, '1', 20);
push @ids, assign(12, $e3_id);
is(($t->sql_error(sprintf q{SELECT spinpanel.assign_license('Contoso', '%s', '%s')}, upn(13), $e3_id))[0], '53400',
	'max_seats counts seats that are ordered and cannot be read yet');
for (1 .. 4) { $t->advance(minutes => 5); last if $t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.license_request WHERE finished_at IS NULL}) eq '0' }, 4) }
is($t->outcome(@ids), 'done:2', 'both are done');
is($t->changes->{orders}, 1, '... with one order, which was raised');

# ---- who waits for an approval -------------------------------------------------------------

scene();
$t->sql(q{SELECT FROM spinpanel.set_relationship('Contoso', purchase_limit_percent => 0, purchase_limit_seats => 0)});
my $old = assign(11);
$t->wait_for(q{SELECT count(*) FROM spinpanel.adjustment WHERE status = 'awaiting_approval'}, '1', 20);
like($t->sql("SELECT coalesce(error, '') || state_reason FROM spinpanel.license_request WHERE request_id = $old"), qr/^waits for approval/,
	'state_reason says what it waits for, error nothing');
is($t->outcome(release(1)), 'done:1', 'a licence is released');
is(becomes($old, 'done'), 'done', '... and goes to who waits');
my $young = assign(12);
$t->wait_for("SELECT waits_for FROM spinpanel.license_request WHERE request_id = $young", 'approval', 20);
$t->sql(q{SELECT FROM spinpanel.set_relationship('Contoso', purchase_limit_seats => 5)});
is(becomes($young, 'done'), 'done', 'a higher limit lets the next one go on');

# ---- a purchase that is refused as a whole -------------------------------------------------

scene(undef, user_count => 330, assigned => { SPB => 295 }, subscriptions => [ { product => $spb, quantity => 195, ends_in_days => 200 },
	{ product => $spb, quantity => 100, ends_in_days => 100, term => 'P1Y', cycle => 'annual' } ]);
$t->sql(q{SELECT FROM spinpanel.set_relationship('Contoso', purchase_limit_seats => 500)});
@ids = split /\n/, $t->sql(q{SELECT request_id FROM spinpanel.assign_licenses('Contoso', (SELECT array_agg('user' || n || '@contoso.example') FROM generate_series(300, 309) n), 'SPB')});
is($t->outcome(@ids), 'done:5 failed:5', 'ten ask where five seats can be had: five are served');

# ---- what it would do ----------------------------------------------------------------------

scene(undef, subscriptions => [ { product => $spb, quantity => 12, ends_in_days => 200 } ]);
is($t->sql(q{SELECT string_agg(source || ' ' || seats || ' ' || needs_approval, ', ') FROM spinpanel.quote_license('Contoso', 'SPB', 5)}),
	'free 2 false, raise 3 false', 'quote_license(): two of the stock, three more');
is($t->sql(q{SELECT committed_until > now() AND returnable_until > spinpanel._now() AND unit_price IS NULL FROM spinpanel.quote_license('Contoso', 'SPB', 5) WHERE source = 'raise'}),
	't', '... with the end of the term and of the refund window');
done_testing();
