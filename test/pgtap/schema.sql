-- The shape of the schema: everything explains itself, what is dumped, defaults, who may call what, limits of readers.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

SELECT is_empty($$SELECT format('%s.%s', c.relname, a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped WHERE c.relnamespace IN ('spinpanel'::regnamespace, 'spinpanel_report'::regnamespace) AND c.relkind IN ('r', 'v')
    AND col_description(c.oid, a.attnum) IS NULL$$, 'every column has a comment');
SELECT isnt_empty($$SELECT 1 WHERE obj_description('spinpanel_report'::regnamespace, 'pg_namespace') IS NOT NULL$$, 'so has the reporting schema');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'spinpanel'::regnamespace AND p.provolatile = 'v'
    AND p.prosecdef AND p.proparallel <> 'u'$$, 'what writes is parallel unsafe');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'spinpanel'::regnamespace AND p.proname !~ '^_'
    AND p.proname NOT IN ('grant_role', 'revoke_role') AND NOT EXISTS (SELECT FROM spinpanel._function_level l WHERE l.name = p.proname)$$,
    'every public function belongs to a role');
SELECT bag_eq($$SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = 'spinpanel.account'::regclass AND a.attidentity = 'a'
    UNION ALL SELECT 'x' WHERE EXISTS (SELECT FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
        WHERE c.relnamespace = 'spinpanel'::regnamespace AND NOT c.oid = ANY ((SELECT e.extconfig FROM pg_extension e WHERE e.extname = 'spinpanel')::oid[]))$$,
    $$VALUES ('account_id')$$, 'every sequence is dumped');
SELECT set_eq($$SELECT c.relname::text FROM pg_class c WHERE c.relkind = 'r' AND c.oid = ANY ((SELECT e.extconfig FROM pg_extension e WHERE e.extname = 'spinpanel')::oid[])$$,
    ARRAY['account', 'customer', 'relationship', 'license_rule', 'never_assigned_sku', 'reader_limit', 'run', 'license_request', 'adjustment',
    'operation', 'obligation', 'history', 'installation', 'price_sheet', 'price', 'sell_price', 'saving', 'invoice_line'], 'what people set, asked for and decided is dumped; not the secret, not the mirror');

SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'spinpanel'::regnamespace AND c.relkind = 'r'
    AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)$$, 'every table has a replica identity: else a publication FOR ALL TABLES would stop who writes it');

-- the defaults of the design; reset puts back what the table gives
INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', now()), ('00000000-0000-4000-8000-000000000002', 'Fabrikam', 'fabrikam.example', now()),
    ('00000000-0000-4000-8000-000000000003', 'Gone', 'contoso.example', now());
UPDATE spinpanel.customer SET gone_at = now() WHERE name = 'Gone';
CREATE FUNCTION pg_temp.settings(which text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', auto_license_adjustment, auto_increment, partner_center_sync, purchases, spare_seats, cooldown, renewal_lead, removal_limit_percent,
        removal_limit_seats, purchase_limit_percent, purchase_limit_seats, coalesce(usage_location, '-'))
    FROM spinpanel.relationship r JOIN spinpanel.customer c USING (customer_id) WHERE c.name = which
$$;
SELECT is((SELECT count(*)::int FROM spinpanel.set_relationship('contoso')), 1, 'a customer without a relationship row gets one');
SELECT is(pg_temp.settings('Contoso'), 'f f t t 0 24:00:00 14 days 50 20 100 50 -', 'the defaults are those of the design');
SELECT lives_ok($$SELECT spinpanel.set_relationship('contoso.example', true, false, false, false, 4, '2 days', '30 days', 10, 1, 200, 2, 'us')$$,
    'a customer that is listed goes before one of the same domain that is gone');
SELECT is(pg_temp.settings('Contoso'), 't f f f 4 2 days 30 days 10 1 200 2 US', 'each setting can be set');
SELECT lives_ok($$SELECT spinpanel.set_relationship('Contoso', reset => '{auto_license_adjustment,auto_increment,partner_center_sync,purchases,spare_seats,cooldown,renewal_lead,removal_limit_percent,removal_limit_seats,purchase_limit_percent,purchase_limit_seats,usage_location}')$$);
SELECT is(pg_temp.settings('Contoso'), 'f f t t 0 24:00:00 14 days 50 20 100 50 -', 'each can be put back');
SELECT throws_ok($$SELECT spinpanel.set_relationship('Contoso', spare_seats => 1, reset => '{spare_seats}')$$, '22023', NULL, 'a value and reset at once');
SELECT throws_ok($$SELECT spinpanel.set_relationship('Contoso', reset => '{NULL}')$$, '22004');
SELECT throws_ok($$SELECT spinpanel.set_relationship('Contoso', reset => '{changed_by}')$$, '22023');
SELECT lives_ok($$SELECT spinpanel.set_relationship('Contoso', auto_increment => true)$$);
SELECT throws_like($$SELECT spinpanel.set_relationship('*', auto_license_adjustment => true)$$, '%exclude each other%', 'all, where one has the other switch on');
SELECT lives_ok($$SELECT spinpanel.set_relationship('*', auto_license_adjustment => true, auto_increment => false)$$, 'one on, the other off');
SELECT lives_ok($$SELECT spinpanel.set_relationship('Contoso', auto_increment => true, reset => '{auto_license_adjustment}')$$, 'one on, the other reset');
SELECT results_eq($$SELECT before, after FROM spinpanel.history ORDER BY history_id DESC LIMIT 1$$,
    $$VALUES ('{"auto_increment": false, "auto_license_adjustment": true}'::jsonb, '{"auto_increment": true, "auto_license_adjustment": false}'::jsonb)$$,
    'before and after are on record');
SELECT is((SELECT count(*)::int FROM spinpanel.history), (SELECT count(*)::int FROM spinpanel.history CROSS JOIN LATERAL
    (SELECT count(*) FROM spinpanel.set_relationship('Contoso', auto_increment => true)) x), 'what changes nothing is no change');

-- rules
SELECT lives_ok($$SELECT spinpanel.set_license_rule('Contoso', '00000000-0000-4000-9000-0000000000FF', default_offer => 'CFQ7TTC0LF8R:0001')$$,
    'a SKU that nobody has yet, by its GUID');
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB'), ('00000000-0000-4000-9000-000000000002', 'SPE_E3');
INSERT INTO spinpanel.offer (offer_key, sku_id) VALUES ('CFQ7TTC0LF8R:0001', '00000000-0000-4000-9000-000000000002');
SELECT throws_like($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', default_offer => 'cfq7ttc0lf8r:0001:CFQ7')$$, '%provides another SKU%', 'an offer of another SKU');
SELECT throws_ok($$SELECT spinpanel.set_license_rule('Contoso', '*', default_offer => 'CFQ7TTC0LF8R:0001')$$, '22023', NULL, 'one offer for all SKUs');
SELECT results_eq($$SELECT term_duration, billing_cycle FROM spinpanel.set_license_rule('Contoso', 'spb', term_duration => 'p1y', billing_cycle => 'Monthly')$$,
    $$VALUES ('P1Y', 'monthly')$$, 'case does not matter');
SELECT throws_ok($$SELECT spinpanel.set_license_rule('Contoso', 'SPB', reset => '{sku_id}')$$, '22023');

-- a decision about one step of a merge is one about all of it
INSERT INTO spinpanel.adjustment (run_id, customer_id, subscription_id, action, merge, reason, status, created_at)
SELECT r, '00000000-0000-4000-8000-000000000001', gen_random_uuid(), a, 1, 'merge', 'awaiting_approval', now() FROM generate_series(1, 2) r, unnest(ARRAY['raise', 'suspend']) a;
SELECT is((SELECT status FROM spinpanel.reject((SELECT min(adjustment_id) FROM spinpanel.adjustment), 'no')), 'rejected');
SELECT results_eq('SELECT run_id, status, decision_reason, finished_at IS NOT NULL FROM spinpanel.adjustment ORDER BY run_id, adjustment_id',
    $$VALUES (1::bigint, 'rejected', 'no', true), (1, 'rejected', 'no', true), (2, 'awaiting_approval', NULL, false), (2, 'awaiting_approval', NULL, false)$$,
    'the other step, too; not another run''s');
SELECT throws_ok('SELECT spinpanel.approve((SELECT min(adjustment_id) FROM spinpanel.adjustment))', '55000');

-- readers
CREATE ROLE "tap reader"; CREATE ROLE tap_operator;
SELECT spinpanel.grant_role('reader', 'tap reader');
SELECT spinpanel.grant_role('operator', 'tap_operator');
SELECT ok(has_schema_privilege('tap reader', 'spinpanel_report', 'USAGE') AND NOT has_schema_privilege('tap reader', 'spinpanel', 'USAGE'), 'a reader has the reports only');
SELECT is(spinpanel.limit_reader('tap reader', '{contoso,Contoso,fabrikam.example}'), 2, 'limited to two customers');
SELECT is(spinpanel.limit_reader('tap reader', '{Fabrikam}'), 1, 'then to another');
SELECT results_eq($$SELECT customer_id FROM spinpanel.reader_limit WHERE role::text = '"tap reader"'$$, $$VALUES ('00000000-0000-4000-8000-000000000002'::uuid)$$);
SELECT throws_ok($$SELECT spinpanel.limit_reader('tap reader', '{}')$$, '22023', NULL, 'to none: would be no limit');
SELECT throws_ok($$SELECT spinpanel.limit_reader('tap reader', '{nobody}')$$, 'P0002');
SELECT throws_ok($$SELECT spinpanel.limit_reader('tap reader', '{NULL}')$$, '22004');
SELECT throws_ok($$SELECT spinpanel.limit_reader('tap_operator', '{Contoso}')$$, '22023', NULL, 'who can read the tables cannot be limited');
SELECT results_eq('SELECT customer_id FROM spinpanel.reader_limit', $$VALUES ('00000000-0000-4000-8000-000000000002'::uuid)$$, 'errors change no limit');
SELECT is(spinpanel.limit_reader('tap reader', '{*}'), 0, 'the limit is lifted');
SELECT is_empty('SELECT * FROM spinpanel.reader_limit');

-- the history stays, even as a replica
SET LOCAL session_replication_role = replica;
SELECT throws_ok('DELETE FROM spinpanel.history', '42501');
SELECT throws_ok('UPDATE spinpanel.history SET actor = ''nobody''', '42501');
SELECT throws_ok('TRUNCATE spinpanel.history', '42501');

SELECT * FROM finish();
ROLLBACK;
