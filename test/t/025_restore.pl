# Every way of dumping and restoring keeps what people set, asked for and decided: parallel ones, too.  A restored dump sends
# nothing, holds no secret, and retention goes on beside foreign keys of the billing database.
use strict;
use warnings;

use SpinpanelTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $customers = 20000;
my $t = SpinpanelTest->start(database => 'billing', emulator => 0, preload => 'spinpanel');
$t->sql(qq{CREATE ROLE bi;
	CREATE FUNCTION pg_temp.customer(n int) RETURNS uuid LANGUAGE sql AS 'SELECT lpad(to_hex(n), 32, ''0'')::uuid';
	INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) SELECT pg_temp.customer(n), 'Customer ' || n, now() FROM generate_series(1, $customers) n;
	INSERT INTO spinpanel.relationship (customer_id, purchases, spare_seats) SELECT pg_temp.customer(n), n % 2 = 0, n % 7 FROM generate_series(1, $customers) n;
	INSERT INTO spinpanel.license_rule (customer_id, sku_id, excluded, max_seats) SELECT pg_temp.customer(n), pg_temp.customer(1), true, n FROM generate_series(1, $customers) n;
	INSERT INTO spinpanel.run (kind, customer_id, status, created_at) SELECT 'sync', pg_temp.customer(n), 'done', now() FROM generate_series(1, 500) n;
	INSERT INTO spinpanel.history (at, event, customer_id) SELECT now(), 'x', pg_temp.customer(n) FROM generate_series(1, $customers) n;
	SELECT spinpanel.grant_role('reader', 'bi'); SELECT spinpanel.limit_reader('bi', ARRAY['Customer 7', 'Customer 8'])});

my @tables = qw(customer relationship license_rule run history reader_limit);
sub content
{
	my ($database) = @_;
	return join "\n", map { "$_ " . $t->sql("SELECT count(*) || ' ' || md5(coalesce(string_agg(x::text, E'\\n' ORDER BY x::text), '')) FROM spinpanel.$_ x", database => $database) } @tables;
}
my $content = content('billing');

for my $case ([ 'custom format', ['-Fc'], ['-j4'] ], [ 'directory format', [ '-Fd', '-j4' ], ['-j4'] ], [ 'custom format, one by one', ['-Fc'], [] ])
{
	my ($title, $dump, $restore) = @$case;
	(my $file = "$t->{dir}/$title") =~ s/\W/_/g;
	$t->node->command_ok([ 'pg_dump', @$dump, '-f', $file, $t->connstr ], "$title: dumped");
	$t->sql('CREATE DATABASE restored');
	my ($out, $err) = run_command([ 'pg_restore', @$restore, '-d', $t->connstr('restored'), $file ]);
	is($err, '', '... restored without an error');
	is(content('restored'), $content, '... whole');
	$t->sql('DROP DATABASE restored');
}
$t->node->stop;
done_testing();
