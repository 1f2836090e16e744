# ALTER EXTENSION UPDATE of a filled installation, while requests and a night are under way: nothing is lost, nothing is
# sent by a library that does not fit, and the catalog is as in a fresh installation.  The newer version exists in this
# test alone.
use strict;
use warnings;
use SpinpanelTest qw(one_customer);
use PostgreSQL::Test::Utils;
use Test::More;

my $newer = '99.0';
my $t = SpinpanelTest->start(scenario => one_customer(user_count => 20), conf => { 'spinpanel.poll_interval' => '300ms' });
is($t->run_and_wait('sync')->{status}, 'done', 'first sync');
my $control = $t->sql(q{SELECT extversion FROM pg_extension WHERE extname = 'spinpanel'});

# Upgrade scripts there and back, beside the installed ones
chomp(my $share = `"$ENV{PG_CONFIG}" --sharedir`);
my $folder = ($t->stage // '') . "$share/extension";
plan skip_all => "cannot write to $folder" unless -w $folder;
my $there = "$folder/spinpanel--$control--$newer.sql";
my $back = "$folder/spinpanel--$newer--$control.sql";
my %script = ($newer => "ALTER TABLE spinpanel.account ADD COLUMN only_in_a_test int;\nCOMMENT ON COLUMN spinpanel.account.only_in_a_test IS 'new';\n",
	$control => "ALTER TABLE spinpanel.account DROP COLUMN only_in_a_test;\n");
append_to_file($there, $script{$newer});
append_to_file($back, $script{$control});
END { unlink grep { defined } $there, $back }

# A staged installation (Debian's extension_destdir) finds scripts but no update paths: there the test does by hand what
# ALTER EXTENSION UPDATE does.
sub update_to
{
	my ($version) = @_;
	my ($state, $message) = $t->sql_error("ALTER EXTENSION spinpanel UPDATE TO '$version'");
	return if $state eq '00000';
	die $message unless $message =~ /no update path/;
	$t->sql("BEGIN; $script{$version} UPDATE pg_catalog.pg_extension SET extversion = '$version' WHERE extname = 'spinpanel'; COMMIT");
	return;
}

# What a DBA sees of the extension: objects, columns, privileges, comments, what is dumped
my $catalog = q{
	SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (
		SELECT pg_describe_object(d.classid, d.objid, 0) || ' ' || coalesce(obj_description(d.objid, d.classid::regclass::name), '') AS line
		FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND d.deptype = 'e' AND e.extname = 'spinpanel'
		UNION ALL
		SELECT c.oid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull || coalesce(col_description(c.oid, a.attnum), '')
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace IN ('spinpanel'::regnamespace, 'spinpanel_report'::regnamespace)
		UNION ALL
		SELECT c.oid::regclass || ' ' || coalesce(c.relacl::text, '-') FROM pg_class c
		WHERE c.relnamespace IN ('spinpanel'::regnamespace, 'spinpanel_report'::regnamespace)
		UNION ALL
		SELECT p.oid::regprocedure || ' ' || coalesce(p.proacl::text, '-') || coalesce(p.proconfig::text, '') FROM pg_proc p
		WHERE p.pronamespace = 'spinpanel'::regnamespace
		UNION ALL
		SELECT 'dumped ' || c.oid::regclass FROM pg_extension e, unnest(e.extconfig) AS c (oid) WHERE e.extname = 'spinpanel') x};
my $before = $t->sql($catalog);

# Something of everything: history, an ended request, one that is under way, a night, an unknown operation
is($t->assign_and_wait('Contoso', 'user11@contoso.example', 'SPB')->{status}, 'done', 'a request that ended');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0')});
my $hold = $t->fault({ match => { kind => 'licenseupdates' }, action => 'status', status => 503, body => '{}' });
my $open = $t->sql(q{SELECT request_id FROM spinpanel.assign_license('Contoso', 'user12@contoso.example', 'SPB')});
my $slow = $t->fault({ match => { kind => 'subscribedskus' }, action => 'delay', milliseconds => 1500 });
my $night = $t->sql('SELECT spinpanel.nightly()');
ok($t->poll(sub { $t->sql("SELECT status FROM spinpanel.run WHERE run_id = $night") ne 'queued' }, 30), 'a night is under way');

my $count = q{SELECT concat_ws(' ', (SELECT count(*) FROM spinpanel.customer), (SELECT count(*) FROM spinpanel.license_request),
	(SELECT count(*) FROM spinpanel.run), (SELECT count(*) FROM spinpanel.subscription), (SELECT count(*) FROM spinpanel.account))};
my $rows = $t->sql($count);
my $history = $t->sql('SELECT count(*) FROM spinpanel.history');
my $from = $t->log_position;
update_to($newer);
ok($t->poll(sub { $t->log_has(qr/worker idles: this library cannot drive version \Q$newer\E/, $from) }, 15), 'the worker idles with a version that it does not know');
is($t->sql($count), $rows, 'no row is lost');
cmp_ok($t->sql('SELECT count(*) FROM spinpanel.history'), '>=', $history, 'nor any of the history');
like($t->sql(q{SELECT detail FROM spinpanel.check_setup() WHERE item = 'worker'}), qr/cannot drive version/, 'check_setup() says it');

# What was on its way has arrived; after that nothing is sent
$t->clear_faults;
my $sent = -1;
ok($t->poll(sub { my $last = $sent; $sent = scalar(my @all = $t->requests); return $sent == $last }, 15), 'what was on its way arrives');
$t->sql(q{SELECT spinpanel.assign_license('Contoso', 'user13@contoso.example', 'SPB')});
my $wakes = $t->log_position;
$t->sql('SELECT pg_reload_conf()');
ok($t->poll(sub { $t->log_has(qr/received SIGHUP/, $wakes) }, 10), 'the worker is woken');
$t->sql('SELECT 1') for 1 .. 20;
is(scalar(my @all = $t->requests), $sent, 'nothing is sent by a library that does not fit');

update_to($control);
is($t->sql($catalog), $before, 'the catalog is that of a fresh installation');
ok($t->poll(sub { $t->sql("SELECT status FROM spinpanel.license_request WHERE request_id = $open") eq 'done' }, 60), 'what was open goes on and ends');
ok($t->poll(sub { $t->sql("SELECT status FROM spinpanel.run WHERE run_id = $night") eq 'done' }, 60), 'and so does the night');
ok($t->poll(sub { $t->sql(q{SELECT count(*) FROM spinpanel.license_request WHERE upn = 'user13@contoso.example' AND status = 'done'}) == 1 }, 60),
	'and what was asked for meanwhile') or diag($t->sql('SELECT string_agg(r::text, chr(10)) FROM spinpanel.license_request r'));
done_testing();
