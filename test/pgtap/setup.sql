-- check_setup() in each state that it knows, and the numbers of spinpanel_report.worker with it.  The worker serves another
-- database: states of its own are in t/001, t/270, t/280 and t/290, copies in copy.sql, pg_cron in sql/schedule and t/030.
SET client_min_messages = error;
BEGIN;
SELECT no_plan();
CREATE FUNCTION pg_temp.setup(wanted text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' | ', CASE WHEN ok THEN 'ok' ELSE 'not ok' END, detail, hint), E'\n') FROM spinpanel.check_setup() WHERE item = wanted
$$;
-- What a row of numbers says, by name
CREATE FUNCTION pg_temp.number(wanted text) RETURNS text LANGUAGE sql AS $$
    SELECT to_jsonb(w) ->> wanted FROM spinpanel_report.worker w
$$;
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
    system_identifier, database_oid, table_oid, connected_at)
SELECT 'main', '00000000-0000-4000-8000-0000000000aa', 'c', '/nonexistent', 'https://localhost', 'https://localhost', 500, 16,
    c.system_identifier, d.oid, 'spinpanel.account'::regclass, now() FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
INSERT INTO spinpanel.customer (customer_id, name, first_seen_at)
SELECT n::text::uuid, 'Customer ' || right(n, 1), now() FROM unnest(ARRAY['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002']) n;
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.customer_account (customer_id, account_id) SELECT customer_id, account_id FROM spinpanel.customer, spinpanel.account;

-- nothing was read yet, and the file cannot be read
SELECT matches(pg_temp.setup('account'), '^ok . main: active, customers last listed never', 'account: active');
SELECT matches(pg_temp.setup('credential'), '^not ok . main: could not open .*/nonexistent.*Until it can be read, nothing', 'credential: no file');
SELECT matches(pg_temp.setup('licence access'), '^ok . main: 0 customers can be read, 0 refused, 2 not tried yet', 'licence access: not tried');
SELECT matches(pg_temp.setup('lag'), '^not ok . 2 customers, 2 of them not read within .*the oldest never.*sync\(\)', 'lag: never read');
SELECT is(concat_ws(' ', pg_temp.number('customers'), pg_temp.number('customers_stale'), coalesce(pg_temp.number('oldest_read_at'), 'never')), '2 2 never', '... in numbers');
SELECT matches(pg_temp.setup('last night'), '^ok . there was none yet', 'last night: nothing is scheduled');

-- both were read, one a week ago, one without licence access
UPDATE spinpanel.customer_account SET subscriptions_read_at = now(), subscribed_skus_read_at = now(), license_access = true;
SELECT matches(pg_temp.setup('lag'), '^ok . 2 customers, 0 of them', 'lag: none');
UPDATE spinpanel.customer_account SET subscribed_skus_read_at = now() - interval '7 days' WHERE customer_id::text ~ '1$';
SELECT matches(pg_temp.setup('lag'), '^not ok . 2 customers, 1 of them', 'lag: one is stale');
SELECT is(pg_temp.number('customers_stale'), '1', '... in numbers');
UPDATE spinpanel.customer_account SET license_access = false WHERE customer_id::text ~ '1$';
SELECT matches(pg_temp.setup('licence access'), '^not ok . main: 1 customers can be read, 1 refused.*GDAP', 'licence access: refused');
SELECT matches(pg_temp.setup('lag'), '^ok', '... whose licences nobody can read does not lag');
UPDATE spinpanel.relationship SET partner_center_sync = false WHERE customer_id::text ~ '2$';
UPDATE spinpanel.customer_account SET subscriptions_read_at = now() - interval '7 days' WHERE customer_id::text ~ '2$';
SELECT matches(pg_temp.setup('lag'), '^ok . 1 customers', '... nor does who is not to be read');

-- a stopped account
UPDATE spinpanel.account SET status = 'stopped', status_reason = 'AADSTS7000222: the secret has expired';
SELECT matches(pg_temp.setup('account'), '^not ok . main: stopped, AADSTS7000222.*sign_in_url', 'account: stopped, why and what to do');
SELECT is(pg_temp.number('accounts_stopped') || ' ' || pg_temp.number('requests_per_minute_limit'), '1 0', '... in numbers');
UPDATE spinpanel.account SET status = 'active', status_reason = NULL;

-- pauses
SELECT matches(pg_temp.setup('paused'), '^ok . 0 of 2 customers', 'paused: nobody');
SELECT spinpanel.pause('Customer 1');
SELECT matches(pg_temp.setup('paused'), '^not ok . 1 of 2 customers are paused, the first since .*resume', 'paused: one');
SELECT is(pg_temp.number('customers_paused'), '1', '... in numbers');
SELECT spinpanel.resume();

-- operations: an unknown one is no alarm before it is old
INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, wanted, status, created_at)
SELECT 'set_quantity', 'remove', account_id, '00000000-0000-4000-8000-000000000001', '{"quantity": 1}', 'unknown', now() FROM spinpanel.account;
SELECT matches(pg_temp.setup('open operations'), '^ok . 1 open, 1 of them of unknown outcome', 'open operations: a young one');
UPDATE spinpanel.operation SET created_at = now() - interval '25 hours';
SELECT matches(pg_temp.setup('open operations'), '^not ok . 1 open.*tells why', 'open operations: an old one');
SELECT is(pg_temp.number('operations_open') || ' ' || pg_temp.number('operations_unknown') || ' ' || (pg_temp.number('oldest_unknown_operation_at')::timestamptz < now() - interval '24 hours'), '1 1 true', '... in numbers');

-- requests
SELECT matches(pg_temp.setup('requests'), '^ok . 0 open', 'requests: none');
INSERT INTO spinpanel.license_request (kind, customer_id, sku_id, upn, status, created_at)
VALUES ('assign', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 'a@x.example', 'queued', now() - interval '10 days');
SELECT matches(pg_temp.setup('requests'), '^not ok . 1 open, the oldest of .*state_reason', 'requests: one of ten days ago is open');
SELECT is(pg_temp.number('requests_open') || ' ' || (pg_temp.number('oldest_open_request_at')::timestamptz < now() - interval '9 days'), '1 true', '... in numbers');
UPDATE spinpanel.license_request SET status = 'failed', waiting = false, error = 'x', finished_at = now();
SELECT matches(pg_temp.setup('requests'), '^not ok . 0 open.*1 failed within 24 hours.*retry_request', 'requests: one failed today');
SELECT is(pg_temp.number('requests_failed_last_day'), '1', '... in numbers');
UPDATE spinpanel.license_request SET finished_at = now() - interval '2 days';
SELECT matches(pg_temp.setup('requests'), '^ok', 'requests: one failed the day before yesterday');

-- nights
INSERT INTO spinpanel.run (kind, status, night, created_at, finished_at) VALUES ('nightly', 'done', current_date, now(), now());
SELECT matches(pg_temp.setup('last night'), '^ok . .*done', 'last night: done');
SELECT is(pg_temp.number('last_run_kind') || ' ' || pg_temp.number('last_run_status'), 'nightly done', '... in numbers');
UPDATE spinpanel.run SET created_at = now() - interval '30 hours';
SELECT matches(pg_temp.setup('last night'), '^not ok', 'last night: the one before last');
UPDATE spinpanel.run SET status = 'failed', created_at = now(), error = 'overtaken';
SELECT matches(pg_temp.setup('last night'), '^not ok . .*failed.*overtaken.*nightly\(\)', 'last night: failed');
DELETE FROM spinpanel.run;
INSERT INTO spinpanel.installation (schedule, scheduled_at, scheduled_by) VALUES ('0 20 * * *', now() - interval '2 days', session_user);
SELECT matches(pg_temp.setup('last night'), '^not ok . there was none yet.*It is due', 'last night: it is due');
SELECT ok(pg_temp.number('next_run_at')::timestamptz BETWEEN now() AND now() + interval '1 day', '... the next one in numbers');

-- counters that were wrong, approvals
SELECT matches(pg_temp.setup('counters'), '^ok', 'counters: right');
UPDATE spinpanel.counter_check SET compared = 10, wrong = 1, compared_at = now(), wrong_at = now();
SELECT matches(pg_temp.setup('counters'), '^not ok . .*1 were wrong', 'counters: one was wrong');
SELECT matches(pg_temp.setup('approvals'), '^ok . 0 ', 'approvals: none');
INSERT INTO spinpanel.adjustment (run_id, customer_id, action, reason, status, created_at)
VALUES (1, '00000000-0000-4000-8000-000000000001', 'reduce', 'x', 'awaiting_approval', now());
SELECT matches(pg_temp.setup('approvals'), '^not ok . 1 .*approve\(\) or reject\(\)', 'approvals: one');
SELECT is(pg_temp.number('approvals_open'), '1', '... in numbers');

-- the copy beside its original
SELECT matches(pg_temp.setup('copy'), '^ok', 'copy: none');
UPDATE spinpanel.account SET idle_reason = 'another server on this machine acts with credential file "/nonexistent"';
SELECT matches(pg_temp.setup('copy'), '^not ok . another server on this machine acts for main', 'copy: another server acts');
UPDATE spinpanel.account SET idle_reason = NULL, table_oid = 1;
SELECT matches(pg_temp.setup('copy'), '^not ok . this is a copy', 'copy: a restored dump');
SELECT is(pg_temp.number('is_working'), 'false', 'the worker of another database is not said to work here');

SELECT * FROM finish();
ROLLBACK;
