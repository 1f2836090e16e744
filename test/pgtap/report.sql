-- spinpanel_report: the list of columns is a contract; everything explains itself; readers see what they may.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

CREATE TEMP TABLE contract (name text, columns text);
GRANT SELECT ON contract TO PUBLIC;
INSERT INTO contract VALUES
    ('adjustment', 'adjustment_id bigint, run_id bigint, customer_id uuid, sku_id uuid, subscription_id uuid, account_id int, action text, from_seats
        int, to_seats int, seats int, effective_on date, amount numeric, currency text, reason text, status text, is_change boolean, is_done boolean,
        is_awaiting_approval boolean, is_approved boolean, decided_by text, decided_at timestamptz, decision_reason text, error text, created_at timestamptz,
        created_on date, finished_at timestamptz, finished_on date'),
    ('advice', 'customer_id uuid, sku_id uuid, kind text, advice text, seats int, amount_month numeric, currency text'),
    ('calendar', 'day date, iso_year int, iso_week int, iso_week_name text, weekday int, year int, quarter int, quarter_name text, month int,
        month_name text, month_start date, month_end date, is_month_end boolean, is_weekend boolean'),
    ('clock', 'now_at timestamptz, today_on date'),
    ('customer', 'customer_id uuid, customer_name text, domain text, country text, account_name text, is_active boolean, first_seen_at timestamptz,
        first_seen_on date, left_at timestamptz, left_on date, is_adjusted boolean, is_incremented boolean, is_synced boolean, is_buying boolean, is_paused
        boolean, paused_at timestamptz, spare_seats int, has_license_access boolean, read_at timestamptz, read_error text'),
    ('excess', 'customer_id uuid, sku_id uuid, owned_seats int, assigned_seats int, waiting_seats int, spare_seats int, unused_seats int,
        reassignable_seats int, reducible_now_seats int, reducible_at_renewal_seats int, next_renewal_at timestamptz, next_renewal_on date, is_adjusted
        boolean, is_blocked boolean, blocked_by text, is_counted boolean, price_per_seat_month numeric, unused_amount_month numeric,
        reducible_now_amount_month numeric, reducible_at_renewal_amount_month numeric, currency text'),
    ('invoice_check', 'invoice_number text, line_reference text, customer_id uuid, subscription_id uuid, sku_id uuid, offer_key text, product_name
        text, charge_type text, quantity numeric, unit_price numeric, amount numeric, currency text, charge_from_on date, charge_until_on date, ordered_at
        timestamptz, is_explained boolean, explanation text, operation_id bigint, request_id bigint, requested_by text, reference text, adjustment_id bigint,
        decided_by text, reason text'),
    ('price', 'offer_key text, sku_id uuid, offer_name text, term_duration text, billing_cycle text, country text, segment text, unit_price numeric,
        price_per_seat_month numeric, erp_price numeric, currency text, tier_from_seats int, is_trial boolean, is_used boolean, is_current boolean,
        valid_from_at timestamptz, valid_until_at timestamptz'),
    ('product', 'sku_id uuid, part_number text, product_name text, is_never_assigned boolean, never_assigned_reason text, is_tenant_wide boolean'),
    ('renewal', 'subscription_id uuid, customer_id uuid, sku_id uuid, account_id int, offer_name text, renews_at timestamptz, renews_on date,
        commerce text, term_duration text, billing_cycle text, seats int, next_term_seats int, planned_change int, is_renewing boolean, is_changed_at_renewal
        boolean, planned_by text, pool_assigned_seats int, pool_unused_seats int, next_unit_price numeric, next_term_amount numeric, planned_change_amount
        numeric, currency text'),
    ('request', 'request_id bigint, kind text, customer_id uuid, sku_id uuid, user_id uuid, user_name text, account_id int, subscription_id uuid,
        status text, is_open boolean, is_done boolean, is_failed boolean, has_bought_seat boolean, is_awaiting_approval boolean, reference text, requested_by
        text, reason text, created_at timestamptz, created_on date, finished_at timestamptz, finished_on date, duration_seconds numeric'),
    ('run', 'run_id bigint, kind text, status text, customer_id uuid, is_dry_run boolean, is_made_up boolean, is_failed boolean, night_on date,
        requested_by text, created_at timestamptz, created_on date, started_at timestamptz, finished_at timestamptz, finished_on date, duration_seconds
        numeric, customers int, customers_failed int, requests_sent bigint, seats_removed int, error text'),
    ('saving', 'saving_id bigint, basis text, customer_id uuid, sku_id uuid, subscription_id uuid, account_id int, run_id bigint, adjustment_id
        bigint, seats int, unit_price numeric, term_duration text, amount numeric, currency text, is_amount_known boolean, is_price_estimated boolean,
        period_from_on date, period_until_on date, explanation text, saved_at timestamptz, saved_on date, is_running boolean, ended_on date, ended_by text'),
    ('seat_balance', 'customer_id uuid, sku_id uuid, owned_seats int, foreign_seats int, assignable_seats int, assigned_seats int, waiting_seats int,
        unused_seats int, lacking_seats int, grace_seats int, suspended_seats int, known_holders int, holders_read_at timestamptz, is_tenant_wide boolean,
        is_doubted boolean, doubt text, is_reported boolean'),
    ('seat_balance_daily', 'customer_id uuid, sku_id uuid, day date, owned_seats int, assignable_seats int, assigned_seats int, unused_seats int'),
    ('seat_change', 'customer_id uuid, sku_id uuid, changed_at timestamptz, changed_on date, owned_seats int, assignable_seats int, assigned_seats
        int, owned_change int, assignable_change int, assigned_change int'),
    ('seat_total_daily', 'sku_id uuid, day date, owned_seats numeric, assignable_seats numeric, assigned_seats numeric, unused_seats numeric'),
    ('subscription', 'subscription_id uuid, customer_id uuid, sku_id uuid, account_id int, account_name text, offer_key text, offer_name text,
        friendly_name text, commerce text, status text, seats int, term_duration text, billing_cycle text, is_active boolean, is_trial boolean, is_owned
        boolean, is_addon boolean, is_auto_renewing boolean, is_ending boolean, is_suspended_by_us boolean, bought_at timestamptz, bought_on date,
        term_start_at timestamptz, term_start_on date, term_end_at timestamptz, term_end_on date, cancellable_until_at timestamptz, next_term_seats int,
        refundable_seats int, refundable_until_at timestamptz, first_seen_at timestamptz, changed_at timestamptz, gone_at timestamptz, unit_price numeric,
        price_per_seat_month numeric, amount_month numeric, currency text, is_price_estimated boolean, sell_price_per_seat_month numeric, sell_amount_month
        numeric, sell_currency text'),
    ('worker', 'is_working boolean, is_enabled boolean, process_id int, started_at timestamptz, last_success_at timestamptz, failures_in_a_row
        bigint, last_error_at timestamptz, last_error text, requests_last_minute bigint, requests_per_minute_limit bigint, accounts_stopped bigint,
        requests_open bigint, oldest_open_request_at timestamptz, requests_failed_last_day bigint, operations_open bigint, operations_unknown bigint,
        oldest_unknown_operation_at timestamptz, obligations_open bigint, obligations_late bigint, approvals_open bigint, customers bigint, customers_paused bigint, customers_stale bigint, oldest_read_at
        timestamptz, last_run_id bigint, last_run_kind text, last_run_status text, last_run_finished_at timestamptz, next_run_at timestamptz')
;

CREATE TEMP VIEW present AS
SELECT c.oid, c.relname::text AS name, c.reloptions, a.attnum, a.attname::text AS attname,
       CASE format_type(a.atttypid, a.atttypmod) WHEN 'timestamp with time zone' THEN 'timestamptz' WHEN 'integer' THEN 'int'
            ELSE format_type(a.atttypid, a.atttypmod) END AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'spinpanel_report'::regnamespace AND c.relkind IN ('v', 'm', 'r');

SELECT set_eq('SELECT DISTINCT name FROM present', 'SELECT name FROM contract', 'the views are those of the contract');
SELECT is((SELECT string_agg(attname || ' ' || type, ', ' ORDER BY attnum) FROM present p WHERE p.name = c.name),
    regexp_replace(c.columns, '\s+', ' ', 'g'), c.name || ': columns and types are those of the contract') FROM contract c ORDER BY c.name;
SELECT is_empty($$SELECT name || '.' || attname || ' ' || type FROM present
    WHERE type NOT IN ('text', 'int', 'bigint', 'numeric', 'boolean', 'uuid', 'date', 'timestamptz')$$, 'all types are plain');
SELECT is_empty($$SELECT name FROM present WHERE obj_description(oid, 'pg_class') IS NULL$$, 'every view has a comment');
SELECT is_empty($$SELECT name || '.' || attname FROM present WHERE coalesce(col_description(oid, attnum), '') !~ '...'$$, 'and every column');
SELECT is_empty($$SELECT DISTINCT name FROM present WHERE NOT coalesce(reloptions @> '{security_barrier=true}', false)$$, 'every view is a security barrier');
SELECT is_empty($$SELECT name || '.' || attname FROM present WHERE (attname ~ '^(is|has)_') <> (type = 'boolean')$$, 'flags, and only they, begin with is_ or has_');
SELECT is_empty($$SELECT name || '.' || attname FROM present WHERE attname ~ '_at$' AND type <> 'timestamptz' OR attname ~ '_on$' AND type <> 'date'
    OR type = 'timestamptz' AND attname !~ '_at$' OR type = 'date' AND attname !~ '_on$|^day$|^month_(start|end)$'$$, 'moments end in _at, dates in _on');
SELECT is_empty($$SELECT name || '.' || attname FROM present p WHERE attname ~ 'price|amount|saving' AND type = 'numeric'
    AND NOT EXISTS (SELECT FROM present c WHERE c.name = p.name AND c.attname = 'currency')$$, 'money has its currency beside it');
SELECT is_empty($$SELECT attname FROM present WHERE attname ~ '_id$|_key$' GROUP BY attname HAVING count(DISTINCT type) > 1$$, 'a key has one type everywhere');

-- a partner of two customers
INSERT INTO spinpanel.customer (customer_id, name, domain, country, first_seen_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', 'US', now()),
    ('00000000-0000-4000-8000-000000000002', 'Fabrikam', 'fabrikam.example', 'US', now());
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
    system_identifier, database_oid, connected_at)
VALUES ('main', '00000000-0000-4000-8000-0000000000aa', 'c', '/nonexistent', 'https://localhost', 'https://localhost', 500, 16, 1, 1, now());
INSERT INTO spinpanel.customer_account (customer_id, account_id) SELECT customer_id, account_id FROM spinpanel.customer, spinpanel.account;
INSERT INTO spinpanel.sku (sku_id, part_number, name) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB', 'Microsoft 365 Business Premium'),
    ('00000000-0000-4000-9000-000000000002', 'SPE_E3', 'Microsoft 365 E3'), ('00000000-0000-4000-9000-000000000003', 'MCOCAP', 'Shared Devices');
INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, offer_key, offer_name, sku_id, commerce, quantity, status, term_duration,
    billing_cycle, auto_renew, is_trial, created_at, effective_start, term_end, first_seen_at, changed_at)
SELECT v.id::uuid, a.account_id, v.customer::uuid, v.offer, v.offer, v.sku::uuid, v.commerce, v.quantity, 'active', v.term, v.cycle, true, false,
    now() - interval '100 days', (now() - interval '100 days')::date, (now() + interval '265 days')::date, now(), now()
FROM spinpanel.account a, (VALUES
    ('00000000-0000-4000-a000-000000000001', '00000000-0000-4000-8000-000000000001', 'CFQ7TTC0LCHC:0002', '00000000-0000-4000-9000-000000000001', 'nce', 10, 'P1Y', 'monthly'),
    ('00000000-0000-4000-a000-000000000002', '00000000-0000-4000-8000-000000000002', 'CFQ7TTC0LFLX:0001', '00000000-0000-4000-9000-000000000002', 'nce', 7, 'P1Y', 'annual'),
    ('00000000-0000-4000-a000-000000000003', '00000000-0000-4000-8000-000000000002', '796b6b5f-613c-4e24-a17c-eba730d49c02', '00000000-0000-4000-9000-000000000002', 'legacy', 3, 'P1Y', 'monthly'))
    AS v (id, customer, offer, sku, commerce, quantity, term, cycle);
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 10, 12, 6),
    ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-9000-000000000002', 10, 10, 9);
INSERT INTO spinpanel.subscribed_sku (customer_id, sku_id, part_number, target_type, active_units, warning_units, suspended_units, consumed_units, changed_at)
SELECT p.customer_id, p.sku_id, s.part_number, 'User', p.active_units, 0, 0, p.consumed_units, now() FROM spinpanel.pool p JOIN spinpanel.sku s USING (sku_id);
INSERT INTO spinpanel.price (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at, ends_at, unit_price, is_trial, price_sheet_id, valid_from, valid_until, is_chosen)
VALUES ('CFQ7TTC0LCHC:0002', 'P1Y', 'monthly', 'US', 'USD', 'commercial', 0, '2020-01-01', '9999-12-31', 264, false, 1, '2020-01-01', '9999-12-31', true);
INSERT INTO spinpanel.run (kind, status, created_at) VALUES ('sync', 'done', now());
INSERT INTO spinpanel.adjustment (customer_id, action, reason, status, created_at) SELECT customer_id, 'none', 'nothing', 'planned', now() FROM spinpanel.customer;
INSERT INTO spinpanel.license_request (kind, customer_id, upn, sku_id, created_at)
SELECT 'assign', customer_id, 'ann', '00000000-0000-4000-9000-000000000001', now() FROM spinpanel.customer;

SELECT results_eq($$SELECT customer_name, unused_seats, foreign_seats, waiting_seats FROM spinpanel_report.seat_balance JOIN spinpanel_report.customer USING (customer_id) ORDER BY 1$$,
    $$VALUES ('Contoso', 6, 2, 1), ('Fabrikam', 1, 0, 0)$$, 'seats: keys join');
SELECT results_eq($$SELECT product_name, is_never_assigned FROM spinpanel_report.product ORDER BY 1$$,
    $$VALUES ('Microsoft 365 Business Premium', false), ('Microsoft 365 E3', false), ('Shared Devices', true)$$, 'products have names; devices are marked');
SELECT results_eq($$SELECT iso_week_name, quarter_name, month_end, is_month_end FROM spinpanel_report.calendar WHERE day = '2027-01-01'$$,
    $$VALUES ('2026-W53', '2027-Q1', '2027-01-31'::date, false)$$, 'the calendar knows ISO weeks');

-- readers
CREATE ROLE tap_reader; CREATE ROLE tap_limited; CREATE ROLE tap_member; CREATE ROLE tap_nobody;
SELECT spinpanel.grant_role('reader', 'tap_reader');
SELECT spinpanel.grant_role('reader', 'tap_limited');
SELECT is(spinpanel.limit_reader('tap_limited', '{Contoso}'), 1, 'one reader is limited');
GRANT tap_limited TO tap_member;

-- rows of all customers and of one, view by view
CREATE FUNCTION pg_temp.seen(whom text) RETURNS TABLE (name text, rows bigint, customers bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', whom);
    FOR name IN SELECT k.name FROM contract k WHERE k.name <> 'calendar' ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM spinpanel_report.%I', name) INTO rows;
        customers := NULL;
        IF (SELECT k.columns ~ '\mcustomer_id\M' FROM contract k WHERE k.name = seen.name) THEN
            EXECUTE format('SELECT count(DISTINCT customer_id) FROM spinpanel_report.%I WHERE customer_id IS DISTINCT FROM ''00000000-0000-4000-8000-000000000001''', name) INTO customers;
        END IF;
        RETURN NEXT;
    END LOOP;
    RESET ROLE;
END $$;
GRANT ALL ON SCHEMA public TO PUBLIC;
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_reader') WHERE rows = 0 AND name IN ('customer', 'product', 'subscription', 'seat_balance', 'excess', 'renewal', 'adjustment', 'request', 'run', 'worker')$$, 'a reader reads each view');
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_reader') WHERE customers = 0 AND name IN ('customer', 'subscription', 'seat_balance', 'excess', 'renewal', 'adjustment', 'request')$$, '... with all customers');
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_limited') WHERE customers > 0$$, 'a limited one sees no other customer');
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_limited') WHERE rows = 0 AND name NOT IN ('run', 'worker', 'price') AND rows <> (SELECT s.rows FROM pg_temp.seen('tap_reader') s WHERE s.name = seen.name)$$, '... but its own');
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_limited') WHERE rows <> 0 AND name IN ('run', 'worker', 'price')$$, '... and no numbers of all customers');
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_member') WHERE customers > 0$$, 'nor does a member of it');
SELECT is((SELECT rows FROM pg_temp.seen('tap_limited') WHERE name = 'product'), 1::bigint, 'and only products of these');
ALTER ROLE tap_limited RENAME TO tap_renamed;
SELECT is_empty($$SELECT name FROM pg_temp.seen('tap_renamed') WHERE customers > 0$$, 'renamed, it is limited as before');

-- What a function sees that is called before the limit is looked at: it must not be
CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    IF $1 LIKE '%Fabrikam%' OR $1 LIKE '%0002' THEN RAISE EXCEPTION 'leaked %', $1; END IF;
    RETURN true;
END $$;
CREATE FUNCTION public.leaking(text, text) RETURNS boolean LANGUAGE sql COST 0.0000001 AS 'SELECT public.leak($1)';
CREATE OPERATOR public.<<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = public.leaking);
SET LOCAL ROLE tap_renamed;
SELECT lives_ok(format($$SELECT count(*) FROM spinpanel_report.%I WHERE public.leak(customer_id::text)$$, c.name), c.name || ': no leaky function sees others')
FROM contract c WHERE c.columns ~ '\mcustomer_id\M' AND c.name <> 'run';
SELECT lives_ok($$SELECT count(*) FROM spinpanel_report.customer WHERE customer_name OPERATOR(public.<<<<) 'x'$$, 'no leaky operator');
SELECT lives_ok($$SELECT count(*) FROM spinpanel_report.customer WHERE 1 / (CASE customer_name WHEN 'Fabrikam' THEN 0 ELSE 1 END) = 1$$, 'no division by what is hidden');
SELECT lives_ok($$SELECT count(*) FROM spinpanel_report.customer c JOIN spinpanel_report.subscription s USING (customer_id) WHERE public.leak(s.subscription_id::text) GROUP BY c.customer_id HAVING public.leak(max(c.customer_name))$$, 'nor over joins and groups');
SELECT is_empty($$SELECT schemaname, tablename FROM pg_stats WHERE schemaname = 'spinpanel'$$, 'statistics show nothing');
SELECT throws_ok($$SELECT * FROM spinpanel.customer$$, '42501', NULL, 'the tables are closed');
SELECT throws_ok($$SELECT * FROM spinpanel._excess('00000000-0000-4000-8000-000000000002')$$, '42501', NULL, 'and so is what the views call');
SELECT throws_ok($$SELECT spinpanel._all_customers()$$, '42501');
SELECT throws_ok($$INSERT INTO spinpanel_report.customer (customer_id) VALUES ('00000000-0000-4000-8000-000000000009')$$, NULL, NULL, 'nothing is written by way of a view');
RESET ROLE;
SET LOCAL ROLE tap_nobody;
SELECT throws_ok($$SELECT * FROM spinpanel_report.customer$$, '42501', NULL, 'who has no role sees nothing');
RESET ROLE;
SELECT is_empty($$SELECT p.name, a.privilege_type FROM (SELECT DISTINCT name, oid FROM present) p JOIN pg_class c ON c.oid = p.oid, aclexplode(c.relacl) a
    WHERE a.grantee = 'tap_reader'::regrole AND a.privilege_type <> 'SELECT'$$, 'a reader may only read');

-- advice
SELECT ok(spinpanel._seat_history_month(now() - interval '120 days'), 'a month of the past');
INSERT INTO spinpanel.seat_history SELECT p.customer_id, p.sku_id, now() - interval '120 days', 0, 9, 8, 0, 9, 8 FROM spinpanel.pool p;
SELECT ok((SELECT bool_and(kind IN ('foreign seats', 'switch adjustment on', 'commit for a year', 'buy by the month')) FROM spinpanel_report.advice), 'advice is of a known kind');
SELECT results_eq($$SELECT seats, amount_month FROM spinpanel_report.advice WHERE kind = 'foreign seats'$$, 'VALUES (2, NULL::numeric)', 'foreign seats are told');
UPDATE spinpanel.subscription SET term_duration = 'P1M' WHERE commerce = 'nce';
INSERT INTO spinpanel.price (offer_key, term_duration, billing_cycle, market, currency, segment, tier_min, starts_at, ends_at, unit_price, is_trial, price_sheet_id, valid_from, valid_until, is_chosen, term_months)
VALUES ('CFQ7TTC0LCHC:0002', 'P1M', 'monthly', 'US', 'USD', 'commercial', 0, '2020-01-01', '9999-12-31', 26.4, false, 1, '2020-01-01', '9999-12-31', true, 1);
SELECT results_eq($$SELECT seats, amount_month, currency FROM spinpanel_report.advice JOIN spinpanel_report.customer USING (customer_id) WHERE kind = 'commit for a year' AND domain = 'contoso.example'$$,
    $$VALUES (6, 26.40, 'USD')$$, 'a stable core bought by the month would be cheaper by the year');

-- the page
UPDATE spinpanel.customer SET name = '<script>alert("x")</script> & Söhne' WHERE name = 'Contoso';
SELECT lives_ok($$SELECT spinpanel_report.page()$$, 'a page of all customers');
SELECT ok(spinpanel_report.page('contoso.example') LIKE '%&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; Söhne%', 'names are escaped');
SELECT is_empty($$SELECT 1 WHERE spinpanel_report.page() ~* '<script|javascript:|\son[a-z]+=|https?://|<link|<img|<iframe|url\('$$, 'no script, nothing from elsewhere');
SELECT throws_ok($$SELECT spinpanel_report.page('nobody.example')$$, 'P0002');
SELECT throws_ok($$SELECT spinpanel_report.page(NULL)$$, '22004');
SET LOCAL ROLE tap_renamed;
SELECT ok(spinpanel_report.page() LIKE '%Söhne%' AND spinpanel_report.page() NOT LIKE '%Fabrikam%', 'a limited reader''s page has its customers');
SELECT throws_ok($$SELECT spinpanel_report.page('fabrikam.example')$$, 'P0002', NULL, '... and no page of others');
SELECT is((SELECT count(*)::int FROM spinpanel_report.seats_as_of(now() + interval '1 day')), 1, 'nor seats of others at any moment');
RESET ROLE;
SELECT is((SELECT sum(owned_seats)::int FROM spinpanel_report.seats_as_of(now() + interval '1 day')), 20, 'which others see');
SELECT is((SELECT count(*)::int FROM spinpanel_report.seats_as_of(now() - interval '121 days')), 0, 'and nobody before they were read');

SELECT * FROM finish();
ROLLBACK;
