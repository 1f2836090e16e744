# Reports on another server, by logical replication: all of the views, none of the secrets.
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

my $t = SpinpanelTest->start(scenario => one_customer(), streaming => 1, conf => { wal_level => 'logical' });
$t->run_and_wait('sync');
is($t->run_and_wait('sync', 'Contoso')->{status}, 'done', 'first reading');
is($t->assign_and_wait('Contoso', 'user11@contoso.example', 'SPB')->{status}, 'done', 'a licence was bought');

is($t->sql(q{SELECT string_agg(name, ' ') FROM spinpanel._report_table r 
	WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = ('spinpanel.' || r.name)::regclass AND i.indisprimary) AND name <> 'seat_history'}), '',
	'each table to publish has a key, so that nothing is held up by its publication');
is($t->sql(q{SELECT string_agg(name, ' ') FROM spinpanel._report_table r JOIN pg_class c ON c.oid = ('spinpanel.' || r.name)::regclass WHERE c.relrowsecurity}), '', '... and no secret');

# --- as the README says
$t->sql($t->sql(q{SELECT format('CREATE PUBLICATION spinpanel_report FOR TABLE %s WITH (publish_via_partition_root)', string_agg('spinpanel.' || name, ', ')) FROM spinpanel._report_table}));
my $bi = SpinpanelTest->start(name => 'bi', emulator => 0, account => 0, preload => '', extension => 0);
$bi->sql('CREATE EXTENSION spinpanel');
$bi->sql('CREATE TABLE spinpanel.seat_history_all PARTITION OF spinpanel.seat_history (PRIMARY KEY (customer_id, sku_id, read_at)) DEFAULT');
$bi->sql(q{CREATE SUBSCRIPTION spinpanel_report CONNECTION } . SpinpanelTest::quote($t->connstr) . q{ PUBLICATION spinpanel_report});
ok($bi->wait_for(q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}, '0', 60), 'the tables are copied');

my @views = map { $_->{relname} } $t->rows(q{SELECT relname FROM pg_class WHERE relnamespace = 'spinpanel_report'::regnamespace AND relkind = 'v' AND relname NOT IN ('worker', 'clock') ORDER BY 1});
sub differing { return grep { $bi->sql("SELECT md5(string_agg(v::text, ',' ORDER BY v::text)) FROM spinpanel_report.$_ v") ne $t->sql("SELECT md5(string_agg(v::text, ',' ORDER BY v::text)) FROM spinpanel_report.$_ v") } @views }
is(join(' ', differing()), '', 'each view shows the same there') or diag($bi->sql('SELECT v FROM spinpanel_report.excess v') . "\n" . $t->sql('SELECT v FROM spinpanel_report.excess v'));

# --- and follows
is($t->assign_and_wait('Contoso', 'user12@contoso.example', 'SPB')->{status}, 'done', 'another licence');
ok($bi->wait_for(q{SELECT count(*) FROM spinpanel_report.request WHERE is_done}, '2', 60), '... is seen there');
$t->set('spinpanel.enabled' => 'off');
$bi->wait_for('SELECT max(changed_at) FROM spinpanel_report.seat_change', $t->sql('SELECT max(changed_at) FROM spinpanel_report.seat_change'), 60);
my $lsn = $t->sql('SELECT pg_current_wal_lsn()');
$t->wait_for("SELECT bool_and(confirmed_flush_lsn >= '$lsn') FROM pg_replication_slots WHERE slot_type = 'logical'", 't', 60);
is(join(' ', grep { !/^request$/ } differing()), '', 'each view follows');
like($bi->sql('SELECT spinpanel_report.page()'), qr/<h1>All customers/, 'the page is made there, too');

# --- no secret left
is($bi->sql('SELECT (SELECT count(*) FROM spinpanel.credential) + (SELECT count(*) FROM spinpanel.sign_in)'), '0', 'no token there');
is($bi->worker_count, '0', 'and no worker');
$bi->sql('DROP SUBSCRIPTION spinpanel_report');
done_testing();
