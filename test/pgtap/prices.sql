-- Price sheets: what is read, what is refused, which price holds when; sell prices; what is not known is NULL.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
SET LOCAL timezone = 'America/New_York';     -- nothing depends on it

CREATE FUNCTION pg_temp.sheet(VARIADIC lines text[]) RETURNS text LANGUAGE sql AS $$
    SELECT E'"ProductTitle","ProductId","SkuId","SkuTitle","Publisher","SkuDescription","UnitOfMeasure","TermDuration","BillingPlan","Market","Currency","UnitPrice","PricingTierRangeMin","PricingTierRangeMax","EffectiveStartDate","EffectiveEndDate","Tags","ERP Price","Segment"\r\n'
        || array_to_string(lines, E'\r\n') || E'\r\n'
$$;
CREATE FUNCTION pg_temp.line(price text, starts text DEFAULT '1/1/2026 12:00:00 AM', ends text DEFAULT '12/31/9999 11:59:59 PM', currency text DEFAULT 'USD',
                             segment text DEFAULT 'Commercial', offer text DEFAULT 'CFQ7TTC0LCHC:0002', plan text DEFAULT 'Monthly') RETURNS text LANGUAGE sql AS $$
    SELECT format('"Business ""Premium"", all","%s","%s","Microsoft 365 Business Premium","Microsoft Corporation","Everything, and ""more""' || E'\n' || 'on a second line","","P1Y","%s","US","%s","%s","","","%s","%s","License","330","%s"',
        split_part(offer, ':', 1), split_part(offer, ':', 2), plan, currency, price, starts, ends, segment)
$$;
CREATE FUNCTION pg_temp.prices() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s..%s', unit_price, to_char(valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        CASE WHEN valid_until > '9000-01-01' THEN '' ELSE to_char(valid_until AT TIME ZONE 'UTC', 'YYYY-MM-DD') END), ', ' ORDER BY starts_at)
    FROM spinpanel.price WHERE is_chosen AND valid_from < valid_until
$$;

-- what is read
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('264', plan => 'Annual')))$$, 'quoted fields with quotes, commas and line ends');
SELECT results_eq($$SELECT offer_key, term_duration, billing_cycle, market, currency, segment, unit_price, erp_price, term_months, title, starts_at AT TIME ZONE 'UTC', is_chosen FROM spinpanel.price$$,
    $$VALUES ('CFQ7TTC0LCHC:0002', 'P1Y', 'annual', 'US', 'USD', 'commercial', 264::numeric, 330::numeric, 12, 'Microsoft 365 Business Premium', timestamp '2026-01-01', true)$$, 'as it was meant');
SELECT results_eq($$SELECT rows, new_prices, changed_prices FROM spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('264', plan => 'Annual')))$$, 'VALUES (1, 0, 0)', 'loading again is harmless');
SELECT is((SELECT count(*)::int FROM spinpanel.price), 1, '... and adds nothing');
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(E'\uFEFF' || replace(pg_temp.sheet(pg_temp.line('264', plan => 'Annual')), E'\r\n', E'\n'))$$, 'a byte order mark and other line ends');
SELECT is((SELECT (m).starts_at AT TIME ZONE 'UTC' FROM spinpanel._price_sheet_rows(convert_to(pg_temp.sheet(pg_temp.line('1', '2/4/2021 8:35:31 PM')), 'UTF8')) m), timestamp '2021-02-04 20:35:31', 'month first, afternoon');
DELETE FROM spinpanel.price;

-- what is refused, by line and as a whole
CREATE FUNCTION pg_temp.refused(sheet text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE _detail text; _message text;
BEGIN
    PERFORM spinpanel.load_price_sheet(sheet);
    RETURN 'loaded';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL;
    RETURN _message || CASE WHEN _detail <> '' THEN E'\n' || _detail ELSE '' END;
END $$;
SELECT is(pg_temp.refused(pg_temp.sheet(pg_temp.line('264'), pg_temp.line('26,4', plan => 'Annual'), pg_temp.line('1', '13/1/2026 12:00:00 AM'), pg_temp.line('1', currency => 'Dollar'))),
E'the price sheet has 3 bad lines: nothing of it was loaded\nline 4: UnitPrice "26,4" is no number\nline 6: EffectiveStartDate "13/1/2026 12:00:00 AM" is no date (month/day/year)\nline 8: Currency "Dollar" is no code of three letters', 'bad lines are named');
SELECT is((SELECT count(*)::int FROM spinpanel.price), 0, 'nothing of such a sheet is taken');
SELECT is(pg_temp.refused(replace(pg_temp.sheet(pg_temp.line('1')), 'UnitPrice', 'Price')), 'the price sheet lacks columns: UnitPrice', 'a missing column');
SELECT matches(pg_temp.refused(left(pg_temp.sheet(pg_temp.line('264'), pg_temp.line('265', plan => 'Annual')), -40)), 'line 4: \d+ fields instead of 19|line 4: .*not whole', 'a sheet that was cut off');
SELECT matches(pg_temp.refused(left(pg_temp.sheet(pg_temp.line('264'), pg_temp.line('265', plan => 'Annual')), -6)), 'line 4: .*not whole', '... inside a field');
SELECT matches(pg_temp.refused(pg_temp.sheet(pg_temp.line(''))), 'line 2: UnitPrice "" is no number', 'an empty price is not 0');
SELECT matches(pg_temp.refused(pg_temp.sheet(pg_temp.line('-1'))), 'UnitPrice "-1" is no number', 'nor one below 0');
SELECT matches(pg_temp.refused(pg_temp.sheet(pg_temp.line('1'), pg_temp.line('2'))), E'contradicts itself.*\nlines 2, 4: different prices', 'two prices for one time');
SELECT is(pg_temp.refused(''), 'the price sheet is empty');
SELECT throws_ok($$SELECT spinpanel._load_price_sheet(convert_to(pg_temp.sheet(pg_temp.line('1', offer => 'Café:0001')), 'LATIN1'), NULL, NULL)$$, '22021', 'the price sheet is not in UTF-8');
SELECT throws_ok($$SELECT spinpanel._load_price_sheet('PK\003\004rest', NULL, NULL)$$, '22023', 'the price sheet is a ZIP archive');
SELECT throws_ok($$SELECT spinpanel.load_price_sheet()$$, '22004');
SELECT throws_ok($$SELECT spinpanel.load_price_sheet(file => 'relative.csv')$$, '22023');
SELECT throws_ok($$SELECT spinpanel.load_price_sheet(file => '/nonexistent/sheet.csv')$$, '58P01');

-- which price holds when
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('240', '1/1/2026', '3/31/2026'), pg_temp.line('264', '2/1/2026', '12/31/9999')))$$);
SELECT is(pg_temp.prices(), '240 2026-01-01..2026-03-31, 264 2026-03-31..', 'where prices overlap, the older one holds until its end');
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('300', '6/1/2026')))$$, 'the sheet of a later month, with the new price alone');
SELECT is(pg_temp.prices(), '240 2026-01-01..2026-03-31, 264 2026-03-31..2026-06-01, 300 2026-06-01..', '... ends the one before');
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('264', '2/1/2026', '7/31/2026'), pg_temp.line('300', '6/1/2026')))$$);
SELECT is(pg_temp.prices(), '240 2026-01-01..2026-03-31, 264 2026-03-31..2026-07-31, 300 2026-07-31..', '... unless that is listed still');
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('100', segment => 'Education')))$$);
SELECT is(pg_temp.prices(), '240 2026-01-01..2026-03-31, 264 2026-03-31..2026-07-31, 300 2026-07-31..', 'a price for schools is not that of others');
SELECT lives_ok($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('5', offer => 'CFQ7TTC0LH16:0001', currency => 'EUR'), pg_temp.line('6', offer => 'CFQ7TTC0LH16:0001', currency => 'CHF')))$$);
SELECT is((SELECT bool_or(is_chosen) FROM spinpanel.price WHERE offer_key = 'CFQ7TTC0LH16:0001'), false, 'of two currencies none is used');
DELETE FROM spinpanel.price WHERE offer_key = 'CFQ7TTC0LH16:0001';
SELECT is((SELECT rows FROM spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('5', offer => 'CFQ7TTC0LH16:0001', currency => 'EUR'), pg_temp.line('6', offer => 'CFQ7TTC0LH16:0001', currency => 'CHF')), currency => 'chf')), 1);
SELECT is((SELECT currency FROM spinpanel.price WHERE offer_key = 'CFQ7TTC0LH16:0001' AND is_chosen), 'CHF', '... but the one that was named');

-- what it is used for
INSERT INTO spinpanel.customer (customer_id, name, domain, country, first_seen_at) VALUES ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', 'US', now()),
    ('00000000-0000-4000-8000-000000000002', 'Chalet', 'chalet.example', 'CH', now());
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
    system_identifier, database_oid, connected_at)
VALUES ('main', '00000000-0000-4000-8000-0000000000aa', 'c', '/nonexistent', 'https://localhost', 'https://localhost', 500, 16, 1, 1, now());
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.customer_account (customer_id, account_id) SELECT customer_id, account_id FROM spinpanel.customer, spinpanel.account;
INSERT INTO spinpanel.sku (sku_id, part_number, name) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB', 'Microsoft 365 Business Premium');
INSERT INTO spinpanel.offer (offer_key, sku_id, source) VALUES ('CFQ7TTC0LCHC:0002', '00000000-0000-4000-9000-000000000001', 'catalogue');
DELETE FROM spinpanel.price;
SELECT lives_ok(format($$SELECT spinpanel.load_price_sheet(pg_temp.sheet(pg_temp.line('240', %L, %L), pg_temp.line('264', %L)))$$,
    to_char(now() - interval '400 days', 'FMMM/FMDD/YYYY'), to_char(now() - interval '10 days', 'FMMM/FMDD/YYYY'), to_char(now() - interval '10 days', 'FMMM/FMDD/YYYY')), 'dearer since ten days ago');
INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, offer_id, offer_key, sku_id, commerce, quantity, status, term_duration,
    billing_cycle, auto_renew, is_trial, created_at, effective_start, commitment_end, term_end, first_seen_at, changed_at)
SELECT v.id::uuid, a.account_id, v.customer::uuid, 'CFQ7TTC0LCHC:0002:X', 'CFQ7TTC0LCHC:0002', '00000000-0000-4000-9000-000000000001', v.commerce, v.quantity, 'active', 'P1Y',
    'monthly', true, v.trial, now() - interval '400 days', (current_date - v.days)::timestamp AT TIME ZONE 'UTC', (current_date - v.days + 364)::timestamp AT TIME ZONE 'UTC', (current_date - v.days + 365)::timestamp AT TIME ZONE 'UTC', now(), now()
FROM spinpanel.account a, (VALUES
    ('00000000-0000-4000-a000-000000000001', '00000000-0000-4000-8000-000000000001', 'nce', 10, 100, false),
    ('00000000-0000-4000-a000-000000000002', '00000000-0000-4000-8000-000000000001', 'nce', 5, 1, false),
    ('00000000-0000-4000-a000-000000000003', '00000000-0000-4000-8000-000000000001', 'nce', 25, 20, true),
    ('00000000-0000-4000-a000-000000000004', '00000000-0000-4000-8000-000000000001', 'legacy', 3, 20, false),
    ('00000000-0000-4000-a000-000000000005', '00000000-0000-4000-8000-000000000002', 'nce', 3, 20, false)) AS v (id, customer, commerce, quantity, days, trial);
SELECT results_eq($$SELECT right(subscription_id::text, 1), unit_price, price_per_seat_month, amount_month, currency, is_price_estimated FROM spinpanel_report.subscription ORDER BY 1$$,
    $$VALUES ('1', 240::numeric, 20::numeric, 200::numeric, 'USD', false), ('2', 264, 22, 110, 'USD', false), ('3', 240, 20, NULL, 'USD', false),
             ('4', NULL, NULL, NULL, NULL, false), ('5', NULL, NULL, NULL, NULL, false)$$,
    'a running term keeps its price; a trial costs nothing; legacy and other markets are not known');
SELECT results_eq($$SELECT right(subscription_id::text, 1), next_unit_price, next_term_amount FROM spinpanel_report.renewal ORDER BY 1$$,
    $$VALUES ('1', 264::numeric, 2640::numeric), ('2', 264, 1320), ('4', NULL, NULL), ('5', NULL, NULL)$$, 'the next term costs what is asked today');
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 18, 18, 18);
SELECT results_eq($$SELECT source, unit_price, currency, price_per FROM spinpanel.quote_license('Contoso', 'SPB')$$, $$VALUES ('raise', 240::numeric, 'USD', 'year')$$, 'a quote names the price: that of the subscription to raise');
SELECT lives_ok($$UPDATE spinpanel.subscription SET auto_renew = false WHERE commerce = 'nce'; SELECT spinpanel.set_license_rule('Contoso', 'SPB', default_offer => 'CFQ7TTC0LCHC:0002', term_duration => 'P1Y')$$);
SELECT results_eq($$SELECT unit_price, currency, price_per FROM spinpanel._quote_price('00000000-0000-4000-8000-000000000001', NULL, 'cfq7ttc0lchc:0002', 'P1Y', 'monthly')$$, $$VALUES (264::numeric, 'USD', 'year')$$, 'of a new order, too');
SELECT is_empty($$SELECT * FROM spinpanel._quote_price('00000000-0000-4000-8000-000000000001', NULL, 'CFQ7TTC0LCHC:0002', 'P3Y', 'monthly')$$, 'a term without price has none');

-- decisions carry money
INSERT INTO spinpanel.adjustment (customer_id, subscription_id, action, seats, reason, status, created_at)
SELECT '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-a000-000000000001', a, n, 'because', 'planned', (current_date - 100 + 73)::timestamp AT TIME ZONE 'UTC'
FROM (VALUES ('reduce', 2), ('reduce_at_renewal', 3), ('none', 3), ('suspend', 1)) v (a, n);
SELECT results_eq($$SELECT action, amount, currency, reason FROM spinpanel_report.adjustment ORDER BY adjustment_id$$,
    $$VALUES ('reduce', 384.00, 'USD', 'because; gives 384.00 USD back'), ('reduce_at_renewal', 792.00, 'USD', 'because; saves 792.00 USD a term (P1Y)'),
             ('none', NULL, NULL, 'because'), ('suspend', NULL, NULL, 'because')$$, '... where it is known');

-- the partner's own prices
SELECT lives_ok($$SELECT spinpanel.set_sell_price('*', 'SPB', 25, 'usd')$$);
SELECT lives_ok($$SELECT spinpanel.set_sell_price('Contoso', 'SPB', 23.5, 'USD', current_date - 10)$$);
SELECT lives_ok($$SELECT spinpanel.set_sell_price('Contoso', 'SPB', 99, 'USD', current_date + 10)$$);
SELECT results_eq($$SELECT DISTINCT customer_name, sell_price_per_seat_month, sell_currency FROM spinpanel_report.subscription JOIN spinpanel_report.customer USING (customer_id) WHERE NOT is_trial ORDER BY 1$$,
    $$VALUES ('Chalet', 25::numeric, 'USD'), ('Contoso', 23.5, 'USD')$$, 'a price of the customer''s own goes before that of all');
SELECT is((SELECT sum(sell_amount_month) FROM spinpanel_report.subscription), 18 * 23.5 + 3 * 25, 'what is billed a month');
SELECT throws_ok($$SELECT spinpanel.set_sell_price('Contoso', 'SPB', -1, 'USD')$$, '22023');
SELECT throws_ok($$SELECT spinpanel.set_sell_price('Contoso', 'SPB', 1, 'Dollar')$$, '22023');
SELECT throws_ok($$SELECT spinpanel.set_sell_price('Contoso', 'SPB', 1, NULL)$$, '22004');
SELECT throws_ok($$SELECT spinpanel.set_sell_price('Contoso', '*', 1, 'USD')$$, NULL, NULL, 'of one product');

-- who may
CREATE ROLE tap_manager; CREATE ROLE tap_operator;
SELECT spinpanel.grant_role('manager', 'tap_manager');
SELECT spinpanel.grant_role('operator', 'tap_operator');
SET LOCAL SESSION AUTHORIZATION tap_manager;
SELECT pg_catalog.set_config('tap.file', 'no error', true);
SELECT throws_ok($$SELECT spinpanel.load_price_sheet(file => '/etc/hostname')$$, '42501', NULL, 'a manager cannot read files of the server') FROM (SELECT 1) x WHERE has_schema_privilege('public', 'USAGE');
RESET SESSION AUTHORIZATION;
SELECT ok(NOT has_function_privilege('tap_operator', 'spinpanel.load_price_sheet(text,text,text)', 'EXECUTE') AND has_function_privilege('tap_manager', 'spinpanel.set_sell_price(text,text,numeric,text,date)', 'EXECUTE'), 'managers set prices');

-- invoice lines, in the forms that are met
SELECT is(spinpanel.load_invoice_lines('{"items": [
    {"invoiceNumber": "G1", "referenceId": "a", "chargeType": "addQuantity", "chargeStartDate": "2026-05-20T00:00:00Z", "chargeEndDate": "2026-06-19T00:00:00Z", "orderDate": "2026-05-20T18:30:06.6045692Z",
     "customerId": "00000000-0000-4000-8000-000000000001", "subscriptionId": "00000000-0000-4000-a000-000000000001", "productId": "CFQ7TTC0LCHC", "skuId": "0002", "quantity": "2", "effectiveUnitPrice": "14.4", "subtotal": "28.8", "totalForCustomer": "31", "currency": "USD"},
    {"invoiceNumber": "G1", "referenceId": "b", "chargeType": "RENEW", "chargeStartDate": "2026-05-20T00:00:00Z", "orderDate": "0001-01-01T00:00:00", "customerId": "org:00000000-0000-4000-8000-000000000001",
     "subscriptionId": "HJVtMZMkgQ2", "productId": "P", "skuId": "1", "quantity": 1, "effectiveUnitPrice": 1.5E1, "subtotal": "''-15", "currency": "usd"}]}'), 2, 'invoice lines with numbers as texts, guarded and with exponents');
SELECT results_eq($$SELECT line_reference, charge_type, quantity, amount, currency, is_explained, customer_id::text LIKE '%8000%1', subscription_id IS NULL FROM spinpanel_report.invoice_check ORDER BY 1$$,
    $$VALUES ('a', 'addquantity', 2::numeric, 28.8, 'USD', false, true, false), ('b', 'renew', 1, -15, 'USD', false, true, true)$$, 'what nothing explains says so');
SELECT is(spinpanel.load_invoice_lines((SELECT jsonb_agg(jsonb_build_object('invoiceNumber', 'G1', 'referenceId', 'a', 'chargeType', 'addQuantity', 'chargeStartDate', '2026-05-20', 'subtotal', 29)))), 1, 'loading a line again');
SELECT is((SELECT count(*)::int FROM spinpanel.invoice_line), 2, '... adds none');
SELECT throws_ok($$SELECT spinpanel.load_invoice_lines('{"code": 1}')$$, '22023');
SELECT throws_ok($$SELECT spinpanel.load_invoice_lines('[{"chargeType": "new", "chargeStartDate": "2026-05-20", "subtotal": "1,5"}]')$$, '22023');

-- a large sheet
CREATE TEMP TABLE large AS SELECT string_agg(format('"T","CFQ7%s","%s","T","M","D","","P1Y","%s","%s","USD","%s","","","1/1/2026 12:00:00 AM","12/31/9999 11:59:59 PM","License","1","Commercial"',
    lpad((n / 8)::text, 8, '0'), lpad((n % 4)::text, 4, '0'), CASE WHEN n / 4 % 2 = 0 THEN 'Monthly' ELSE 'Annual' END, 'US', n), E'\r\n') AS lines FROM generate_series(1, 200000) n;
CREATE TEMP TABLE took AS SELECT clock_timestamp() AS began;
SELECT is((SELECT rows FROM spinpanel.load_price_sheet(pg_temp.sheet((SELECT lines FROM large)))), 200000, '200,000 rows are loaded');
SELECT ok(clock_timestamp() - began < interval '60 s', 'in good time') FROM took;
SELECT diag(format('figures: 200,000 rows of a price sheet in %s s', round(extract(epoch FROM clock_timestamp() - began), 1))) FROM took;

SELECT * FROM finish();
ROLLBACK;
