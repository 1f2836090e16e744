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

# --- retention: what an invoice refers to stays, what nobody refers to goes, in whatever order
$t->sql(q{ALTER TABLE spinpanel.license_request DISABLE TRIGGER USER;
	INSERT INTO spinpanel.license_request (kind, customer_id, sku_id, upn, status, waiting, created_at, finished_at)
	SELECT 'assign', pg_temp.customer(1), pg_temp.customer(1), 'user' || n, 'done', false, now(), now() FROM generate_series(1, 6) n;
	ALTER TABLE spinpanel.license_request ENABLE TRIGGER USER;
	CREATE TABLE public.invoice_line (line int, request_id bigint REFERENCES spinpanel.license_request);
	CREATE TABLE public."Order Line" ("Request" bigint REFERENCES spinpanel.license_request ON DELETE CASCADE);
	CREATE TABLE public.note (request_id bigint REFERENCES spinpanel.license_request ON DELETE SET NULL);
	INSERT INTO public.invoice_line SELECT 1, request_id FROM spinpanel.license_request WHERE upn IN ('user1', 'user3');
	INSERT INTO public."Order Line" SELECT request_id FROM spinpanel.license_request WHERE upn = 'user4';
	INSERT INTO public.note SELECT request_id FROM spinpanel.license_request WHERE upn = 'user6';
	UPDATE spinpanel.license_request SET finished_at = now() - interval '200 days'} =~ s/pg_temp.customer\(1\)/'00000000-0000-4000-8000-000000000001'/gr);
my $from = $t->log_position;
$t->node->restart;    # it looks at its start, then every ten minutes
$t->wait_ok(q{SELECT string_agg(upn, ' ' ORDER BY upn) FROM spinpanel.license_request}, 'user1 user3 user4', 'what an invoice refers to stays, all else goes');
ok(!$t->log_has(qr/violates foreign key/, $from), '... without an error');
is($t->sql(q{SELECT string_agg(after ->> 'upn', ' ' ORDER BY after ->> 'upn') FROM spinpanel.history WHERE event = 'request archived'}), 'user2 user5 user6', '... into the history');
is($t->sql('SELECT count(*) || \' \' || count(request_id) FROM public.note'), '1 0', '... and a key that wants to be set to NULL is');

# --- the history: found by request and by Microsoft's id, pruned by a call
$t->sql('ANALYZE spinpanel.history');
unlike($t->sql("EXPLAIN SELECT FROM spinpanel.history WHERE $_"), qr/Seq Scan/, "an index serves $_") for 'request_id = 1', 'operation_id = 1', 'ms_request_id = gen_random_uuid()';
is(($t->sql_error($_))[0], '42501', "refused: $_") for 'DELETE FROM spinpanel.history', 'TRUNCATE spinpanel.history', q{UPDATE spinpanel.history SET event = 'y'};
is(($t->sql_error("SELECT spinpanel.prune_history('30 days')"))[0], '22023', 'the last 90 days stay');
$t->sql(q{INSERT INTO spinpanel.history (at, event) SELECT now() - interval '400 days', 'old' FROM generate_series(1, 10)});
is($t->sql("SELECT spinpanel.prune_history('1 year')"), '10', 'what is older than a year can be pruned');
is($t->sql(q{SELECT count(*) FILTER (WHERE event = 'old') || ' ' || (count(*) > 20000) FROM spinpanel.history}), '0 true', '... and nothing else goes');
is(($t->sql_error('DELETE FROM spinpanel.history'))[0], '42501', '... and that was that');
is($t->sql(q{SELECT after ->> 'rows' FROM spinpanel.history WHERE event = 'history pruned'}), '10', '... it is on record');

$t->node->stop;
done_testing();
