# Breakages that no test noticed (test/mutants): a release of long ago is no free seat, what is bought is judged by what is
# needed when it is sent, open array assignments hold up removals, and what still counts is not archived.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use Test::More;

my $spb = 'CFQ7TTC0LCHC:0002';
my $t = SpinpanelTest->start(
	scenario => one_customer(),
	options => { requests_per_minute => 0 },
	conf => { 'spinpanel.settle_time' => '1h', 'spinpanel.request_timeout' => '2s', 'spinpanel.retry_max_delay' => '200ms',
		'spinpanel.poll_interval' => '200ms', 'spinpanel.retention' => '1d' });

sub scene { my (%with) = @_; $t->fresh(one_customer(user_count => 40, %with)); return }
sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub assign { return $t->sql(sprintf q{SELECT request_id FROM spinpanel.assign_license('Contoso', '%s', 'SPB')}, upn($_[0])) }
sub release { return $t->sql(sprintf q{SELECT request_id FROM spinpanel.release_license('Contoso', '%s', 'SPB')}, upn($_[0])) }
sub portal { my ($do, $user) = @_; return $t->act({ customer => 'Contoso', do => $do, user => upn($user), sku => 'SPB' }) }
sub refused { return scalar grep { $_->{status} >= 400 } $t->requests(kind => 'licenseupdates') }

# ---- names that are none -------------------------------------------------------------------

scene();
for my $case ([ "'Contoso', 'ann smith\@contoso.example', 'SPB'", '22023', 'a user name with a blank' ],
	[ "' ', 'user11\@contoso.example', 'SPB'", '22023', 'a customer without a name' ])
{
	my ($arguments, $code, $what) = @$case;
	is(($t->sql_error("SELECT spinpanel.assign_license($arguments)"))[0], $code, "$what is refused when it is asked for");
}

# ---- a release that was asked for just now ---------------------------------------------------

for my $case ([ 'none may be bought', q{SELECT count(*) FROM spinpanel.set_relationship('Contoso', purchases => false)} ],
	[ 'no more may be owned', q{SELECT spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 10)} ])
{
	my ($what, $setting) = @$case;
	scene(subscriptions => [ { product => $spb, quantity => 10, ends_in_days => 200 } ]);
	$t->sql($setting);
	isnt(($t->sql_error(sprintf q{SELECT spinpanel.assign_license('Contoso', '%s', 'SPB')}, upn(11)))[0], '00000', "no seat is free, and $what: refused when it is asked for");
	my $pair = $t->sql(sprintf q{BEGIN; SELECT (spinpanel.release_license('Contoso', '%s', 'SPB')).request_id;
		SELECT (spinpanel.assign_license('Contoso', '%s', 'SPB')).request_id; COMMIT}, upn(1), upn(11));
	is($t->outcome(split /\n/, $pair), 'done:2', '... but allowed where a licence is released in the same transaction');
}

# ---- a release of long ago -----------------------------------------------------------------

scene();
is($t->outcome(release(1)), 'done:1', 'a licence is released');
portal('assign', 21);
$t->advance(hours => 2);
$t->run_and_wait('sync', 'Contoso');
is($t->outcome(assign(11)), 'done:1', 'somebody else got the seat; hours later another user asks');
is(refused(), 0, '... no seat is tried: the release is in the report by now');
$t->changes_are({ seats => 1, assigns => 1, unassigns => 1 }, '... one is bought at once');

# ---- right before it is sent ---------------------------------------------------------------

for my $case ([ 1, 2, 1, 'one of two seats' ], [ 2, 2, 0, 'both seats' ], [ 1, 3, 2, 'one of three seats' ])
{
	my ($freed, $asked, $bought, $what) = @$case;
	scene();
	my $fault = $t->fault({ action => 'status', status => 429, retry_after => 1, match => { kind => 'patch_subscription' } });
	my @ids = split /\n/, $t->sql(sprintf q{SELECT request_id FROM spinpanel.assign_licenses('Contoso', ARRAY[%s], 'SPB')}, join ',', map { "'" . upn(10 + $_) . "'" } 1 .. $asked);
	$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE kind = 'set_quantity' AND http_status = 429}, '1', 20);
	portal('unassign', $_) for 1 .. $freed;
	$t->clear_faults($fault);
	is($t->outcome(@ids), "done:$asked", "a purchase is throttled, and meanwhile $what become free");
	$t->changes_are({ seats => $bought, assigns => $asked }, "... what is bought is what is needed by then");
}

# ---- an open array assignment holds the pool's demand lock ----------------------------------

scene();
sub locked { return $t->sql(q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'object' AND classid = 'spinpanel.pool'::regclass AND granted}) }
for my $call ("assign_licenses('Contoso', ARRAY['" . upn(11) . "'], 'SPB')", "assign_license('Contoso', '" . upn(11) . "', 'SPB')")
{
	my $s = $t->session;
	is(locked(), 'f', 'nobody has asked for anything');
	$s->query("BEGIN; SELECT count(*) FROM spinpanel.$call");
	is(locked(), 't', "an open transaction with $call holds up a removal");
	$s->query('ROLLBACK');
	$s->finish;
}

# ---- what still counts is not archived ------------------------------------------------------

my %ends = (product => $spb, quantity => 14, ends_in_days => 10, batches => [ { quantity => 14, hours_left => -5000 } ]);
scene(subscriptions => [ \%ends ]);
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)});
$t->run_and_wait('nightly');
$t->wait_ok(q{SELECT count(*) FROM spinpanel.obligation WHERE kind = 'scheduled'}, '1', 'four seats are scheduled to go in ten days');
my $schedule = $t->sql(q{SELECT operation_id FROM spinpanel.obligation});
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => false)});
my $waits = assign(11);
my $over = release(1);
is($t->outcome($waits, $over), 'done:2', 'one is assigned, one released');
$t->sql(q{SELECT spinpanel.pause('Contoso')});
my @open = (assign(12), release(2));
my $open = join ',', @open;
$t->advance(days => 3);
is($t->sql("SELECT waiting FROM spinpanel.license_request WHERE request_id = $waits"), 't', 'no report has shown the assignment so far');

$t->kill9;    # the worker looks for what is old when it starts
ok($t->wait_for("SELECT count(*) FROM spinpanel.license_request WHERE request_id = $over", '0', 40), 'days later: the release has moved to the history');
is($t->sql("SELECT count(*) FROM spinpanel.history WHERE event = 'request archived' AND request_id = $over"), '1', '... as it was');
is($t->sql("SELECT string_agg(status, ' ' ORDER BY request_id) FROM spinpanel.license_request WHERE request_id IN ($waits, $open)"), 'done queued queued',
	'an assignment that still counts stays, and what is open');
ok($t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.operation WHERE kind IN ('assign', 'unassign')}) eq '0' }, 20), 'operations that are over have moved, too');
is($t->sql("SELECT status FROM spinpanel.operation WHERE operation_id = $schedule"), 'done', '... not one whose effect is still to come');
is($t->sql("SELECT status FROM spinpanel.wait_for_request($over)"), 'done', 'what was archived is found by its id');

$t->sql(q{SELECT spinpanel.resume('Contoso')});
is($t->outcome(@open), 'done:2', 'what was open is carried out');
$t->run_and_wait('sync', 'Contoso');
$t->wait_ok("SELECT waiting FROM spinpanel.license_request WHERE request_id = $waits", 'f', 'a report shows the assignment');
$t->kill9;
ok($t->wait_for("SELECT count(*) FROM spinpanel.license_request WHERE request_id = $waits", '0', 40), '... it moves, too');
is($t->sql("SELECT count(*) FROM spinpanel.license_request WHERE request_id IN ($open)"), '2', '... what ended a moment ago does not');
done_testing();
