# A request belongs to its caller's transaction: what is not committed was never asked for, and what is committed is done,
# whoever else asks at the same moment and whether or not Partner Center is there.  Judged by the emulator's ledger.
use strict;
use warnings;

use SpinpanelTest qw(one_customer slurp_file);
use Test::More;

my $t = SpinpanelTest->start(
	scenario => one_customer(),
	conf => {
		max_connections => 80, max_prepared_transactions => 10,
		'spinpanel.request_timeout' => '700ms', 'spinpanel.retry_max_delay' => '200ms', 'spinpanel.poll_interval' => '200ms',
		'spinpanel.settle_time' => '1h' });
my $spb = 'CFQ7TTC0LCHC:0002';

sub upn { return sprintf 'user%02d@contoso.example', $_[0] }
sub assign { return "(spinpanel.assign_license('Contoso', '" . upn($_[0]) . "', 'SPB')).request_id" }
sub ids { return split /\n/, $t->sql('SELECT request_id FROM spinpanel.license_request ORDER BY 1') }
sub idle { return $t->wait_idle(20) }

# pgbench(SCRIPT, CLIENTS, TRANSACTIONS EACH): milliseconds of each that succeeded
sub pgbench
{
	my ($script, $clients, $each) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	open my $out, '>', "$dir/script" or die $!;
	print $out $script;
	close $out;
	my ($text, $err) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $each, '-f', "$dir/script", '-l', '--log-prefix', "$dir/log", $t->connstr ],
		'>', \$text, '2>', \$err);
	my @ms = sort { $a <=> $b } map { (split / /)[2] / 1000 } map { split /\n/, slurp_file($_) } glob "$dir/log*";
	return @ms;
}

# --- what is rolled back was never asked for
$t->fresh(one_customer(user_count => 30));
$t->sql(q{
	CREATE TABLE invoice (upn text PRIMARY KEY, request_id bigint, amount numeric CHECK (amount > 0));
	CREATE TABLE closed (upn text PRIMARY KEY);
	CREATE FUNCTION not_closed() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF EXISTS (SELECT FROM closed WHERE closed.upn = NEW.upn) THEN RAISE EXCEPTION 'the month is closed'; END IF; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER not_closed AFTER INSERT ON invoice DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION not_closed();
});
my $s = $t->session;
$s->query("BEGIN; SELECT @{[ assign(11) ]}; ROLLBACK");
$s->query("BEGIN; SELECT @{[ assign(12) ]}; SELECT 1 / 0; COMMIT");
$s->query("BEGIN; SELECT @{[ assign(13) ]}; SAVEPOINT a; SELECT @{[ assign(14) ]}; SAVEPOINT b; SELECT @{[ assign(15) ]}; RELEASE b; ROLLBACK TO a; SELECT @{[ assign(16) ]}; COMMIT");
$s->query("DO \$\$ BEGIN BEGIN PERFORM @{[ assign(17) ]}; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END; PERFORM @{[ assign(18) ]}; END \$\$");
$s->query("BEGIN; SELECT @{[ assign(19) ]}; PREPARE TRANSACTION 'goes'; ROLLBACK PREPARED 'goes'");
$s->query("BEGIN; SELECT @{[ assign(20) ]}; PREPARE TRANSACTION 'stays'");
# a session that ends in the middle, and a release and a cancellation that are rolled back
my $other = $t->session;
$other->query("BEGIN; SELECT @{[ assign(21) ]}");
$t->sql('SELECT pg_terminate_backend(' . $other->pid . ', 5000)');
$other->finish;
$s->query("BEGIN; SELECT (spinpanel.release_license('Contoso', '@{[ upn(1) ]}', 'SPB')).request_id; ROLLBACK");
# an invoice line and its licence, together or not at all: a line refused at once, one refused at commit, one accepted
$t->sql("INSERT INTO closed VALUES ('@{[ upn(23) ]}')");
sub billed { my ($n, $amount) = @_; return "BEGIN; INSERT INTO invoice SELECT '@{[ upn($n) ]}', @{[ assign($n) ]}, $amount; COMMIT" }
$s->query(billed(22, 0));
$s->query(billed(23, 5));
like($s->error, qr/the month is closed/, 'an invoice line is refused at commit');
$s->query(billed(24, 5));
$s->query(billed(24, 5));
is($t->outcome(ids()), 'done:4', 'of all these four are committed');
idle();
is(join(' ', grep { $_ gt 'user10' } $t->holders('Contoso', 'SPB')), 'user13 user16 user18 user24', '... these hold the licence, and nobody else');
$t->changes_are({ seats => 4, assigns => 4, unassigns => 0 }, '... on four seats');
is($t->sql('SELECT string_agg(upn, \',\') FROM invoice JOIN spinpanel.license_request USING (request_id, upn)'), upn(24), '... one invoice line, for one licence');
$t->sql(q{COMMIT PREPARED 'stays'});
is($t->outcome(ids()), 'done:5', 'a prepared transaction is committed: done');
ok((grep { $_ eq 'user20' } $t->holders('Contoso', 'SPB')), '... it is assigned');
$t->changes_are({ seats => 5, assigns => 5 }, '... and five seats are all');
# what was cancelled and rolled back goes on
$t->sql('SELECT spinpanel.pause()');
my $id = $t->sql('SELECT ' . assign(25));
$s->query("BEGIN; SELECT status FROM spinpanel.cancel_request($id); ROLLBACK");
$s->query("BEGIN; SAVEPOINT a; SELECT status FROM spinpanel.release_license('Contoso', '@{[ upn(25) ]}', 'SPB'); ROLLBACK TO a; COMMIT");
$t->sql('SELECT spinpanel.resume()');
is($t->outcome($id), 'done:1', 'cancelled and released, both rolled back: done');
$t->changes_are({ seats => 6, assigns => 6, unassigns => 0 }, '... on one seat more');
# A caller who has a request for a moment keeps the worker from it for a moment, however seldom that looks by itself
$t->set('spinpanel.poll_interval' => '10min');
$t->sql('SELECT spinpanel.pause()');
$id = $t->sql('SELECT ' . assign(26));
$s->query("BEGIN; SELECT status FROM spinpanel.cancel_request($id)");
my $resumed = $t->sql('SELECT clock_timestamp() FROM spinpanel.resume()');
$t->wait_for("SELECT state_change > '$resumed' FROM pg_stat_activity WHERE backend_type = 'spinpanel worker'", 't');
$s->query('ROLLBACK');
is($t->outcome($id), 'done:1', 'held by a caller while the worker looks, then left as it was: done');
$t->set('spinpanel.poll_interval' => '200ms');
$t->sql('DROP TABLE invoice, closed; DROP FUNCTION not_closed()');

# --- fifty sessions at once, ten seats free
$t->fresh(one_customer(user_count => 60, assigned => { SPB => 10 }, subscriptions => [ { product => $spb, quantity => 20, ends_in_days => 200 } ]));
my @ms = pgbench(qq{\\set n :client_id + 11\nSELECT spinpanel.assign_license('Contoso', 'user' || :n || '\@contoso.example', 'SPB');\n}, 50, 1);
is(scalar @ms, 50, 'fifty sessions at once ask for a seat each, ten are free');
is($t->outcome(ids()), 'done:50', '... all are done');
idle();
$t->changes_are({ seats => 40, assigns => 50, lowers => 0 }, '... exactly forty seats are bought');
is($t->pool('Contoso', 'SPB')->{consumed}, 60, '... all fifty hold the licence');
my $patches = $t->requests(kind => 'patch_subscription');
note sprintf "figures: 50 sessions at once: 40 seats in %d PATCHes, each call at most %.0f ms", $patches, $ms[-1];
cmp_ok($patches, '<=', 6, "... in $patches change(s) of quantity");

# the same with every transaction open until all have asked
$t->fresh(one_customer(user_count => 30));
my @open = map { $t->session } 1 .. 12;
$_->query('BEGIN') for @open;
$open[$_]->query('SELECT ' . assign(11 + $_)) for 0 .. 11;
$open[$_]->start($_ % 3 ? 'COMMIT' : 'ROLLBACK') for 0 .. 11;
$_->wait for @open;
$_->finish for @open;
is($t->outcome(ids()), 'done:8', 'twelve transactions side by side, four of them rolled back: eight are done');
idle();
$t->changes_are({ seats => 8, assigns => 8, lowers => 0 }, '... on eight seats');

# --- one user by two names, again and again
$t->fresh(one_customer());
my $guid = $t->sql("SELECT user_id FROM spinpanel.customer_user WHERE upn = '@{[ upn(11) ]}'");
@ms = pgbench(qq{\\set n :client_id % 2\nSELECT spinpanel.assign_license('Contoso', CASE :n WHEN 0 THEN '$guid' ELSE 'User11\@Contoso.example' END, 'SPB');\n}, 12, 5);
is(scalar @ms, 60, 'one user by GUID and by name, twelve sessions, five times each');
like($t->outcome(ids()), qr/^done:\d+$/, '... done');
idle();
$t->changes_are({ seats => 1, raises => 1, assigns => 1, lowers => 0 }, '... one seat, assigned once');

# --- max_seats, with everybody asking at once and the worker at work
$t->fresh(one_customer(user_count => 60));
$t->sql(q{SELECT FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 17)});
my $script = qq{\\set n :client_id + 11\nSELECT spinpanel.assign_license('Contoso', 'user' || :n || '\@contoso.example', 'SPB');\n};
@ms = pgbench($script, 40, 1);
is(scalar @ms, 7, 'max_seats 17 and ten in use: of forty who ask at once seven get a request');
is($t->outcome(ids()), 'done:7', '... all are done');
$s->query("SELECT (spinpanel.release_license('Contoso', '@{[ upn($_) ]}', 'SPB')).request_id") for 1 .. 3;
$t->outcome(ids());
@ms = pgbench($script, 40, 1);
like($t->outcome(ids()), qr/^done:\d+$/, 'three are released and all ask again: done');
idle();
cmp_ok((sort { $b <=> $a } map { $_->{after}{quantity} } $t->ledger(action => [qw(raise new)]))[0], '<=', 17, '... there were never more than 17 seats');
cmp_ok($t->pool('Contoso', 'SPB')->{consumed}, '<=', 17, '... nor holders');
is_deeply($t->emulator('GET', 'invariants')->{overdrawn_pools}, [], '... nobody is left without');
# the limit is lowered when they have asked already
$t->fresh(one_customer(user_count => 30));
$t->sql('SELECT spinpanel.pause()');
$t->sql('SELECT ' . join ', ', map { assign($_) } 11 .. 16);
$t->sql(q{SELECT FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 12); SELECT spinpanel.resume()});
$t->wait_ok(q{SELECT count(*) FROM spinpanel.license_request WHERE status = 'done'}, '2', 'max_seats comes when six have asked: two of them are done');
$t->wait_for(q{SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')}, '0');
$t->changes_are({ seats => 2, assigns => 2 }, '... and no more is bought than it allows');
like($t->sql(q{SELECT string_agg(DISTINCT error, ',') FROM spinpanel.license_request WHERE status <> 'done'}), qr/no more than 12 seats/, '... the others say why');

# --- Partner Center is away: calls commit all the same, and all is done when it is back
$t->fresh(one_customer(user_count => 99, assigned => { SPB => 10 }));
$t->sql(q{SELECT FROM spinpanel.set_relationship('*', purchase_limit_seats => 100); CREATE SEQUENCE who START 11});
my $calls = qq{SELECT spinpanel.assign_license('Contoso', 'user' || nextval('who') || '\@contoso.example', 'SPB');\n};
my $since = $t->counts->{last_seq};
$t->fault({ action => 'hang' });
@ms = pgbench($calls, 4, 10);
is(scalar @ms, 40, 'every request hangs: forty calls commit');
ok($t->poll(sub { scalar(my @r = $t->requests(since => $since)) >= 3 }), '... the worker tries again and again');
my $hang = $ms[-1];
$t->clear_faults;
$t->fault({ action => 'reset_before' });
$since = $t->counts->{last_seq};
@ms = pgbench($calls, 4, 5);
is(scalar @ms, 20, 'every connection breaks: twenty more commit');
my $broken = $ms[-1];
ok($t->poll(sub { scalar(my @r = $t->requests(since => $since)) >= 3 }), '... the worker tries again and again');
# the process is stopped: nobody answers, not even the network
kill 'STOP', $t->{emulator_pid};
@ms = pgbench($calls, 4, 5);
kill 'CONT', $t->{emulator_pid};
is(scalar @ms, 20, 'nobody answers at all: twenty more commit');
$t->clear_faults;
is($t->outcome(ids()), 'done:80', 'all of it is done when it is back');
idle();
$t->changes_are({ seats => 80, assigns => 80, lowers => 0 }, '... on exactly as many seats');
note sprintf "figures: Partner Center away: the slowest call took %.0f ms (hanging), %.0f ms (breaking), %.0f ms (stopped)", $hang, $broken, $ms[-1];
cmp_ok((sort { $b <=> $a } $hang, $broken, $ms[-1])[0], '<', 500, '... and no call waited for it');

# --- nor for the worker, stopped while it is busy with the very pool
$t->fresh(one_customer(user_count => 99, assigned => { SPB => 10 }));
$t->sql(q{SELECT FROM spinpanel.set_relationship('*', purchase_limit_seats => 100); ALTER SEQUENCE who RESTART});
my $worker = $t->find_worker_pid;
$since = $t->counts->{last_seq};
$t->fault({ action => 'hang', match => { kind => 'patch_subscription' }, count => 1, when => 'after' });
pgbench($calls, 1, 10);
$t->poll(sub { scalar $t->requests(since => $since, kind => 'patch_subscription') });
kill 'STOP', $worker;
@ms = pgbench($calls, 4, 5);
is(scalar @ms, 20, 'the worker is stopped in the middle of a purchase: twenty calls commit');
my @release = pgbench(qq{\\set n :client_id + 1\nSELECT spinpanel.release_license('Contoso', 'user0' || :n || '\@contoso.example', 'SPB');\n}, 4, 1);
is(scalar @release, 4, '... four releases, too');
my ($newest) = $t->sql('SELECT max(request_id) FROM spinpanel.license_request');
is($t->sql("SELECT status FROM spinpanel.cancel_request($newest)"), 'cancelled', '... and a cancellation');
kill 'CONT', $worker;
is($t->outcome(ids()), 'cancelled:1 done:33', 'it goes on: all is done');
idle();
$t->changes_are({ seats => 27, assigns => 30, unassigns => 3 }, '... 30 assigned, three of them on seats that were released');
note sprintf "figures: worker stopped: the slowest call took %.0f ms", (sort { $b <=> $a } @ms, @release)[0];

$s->finish;
unlike($t->log_since(0), qr/TRAP:|PANIC|Segmentation|server process .* was terminated/, 'nothing crashed');
$t->node->stop;
done_testing();
