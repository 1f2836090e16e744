-- A copy of a database, activate(), and what check_setup() says.
SET client_min_messages = error;
BEGIN;
SELECT no_plan();
CREATE FUNCTION pg_temp.setup(wanted text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' | ', CASE WHEN ok THEN 'ok' ELSE 'not ok' END, detail, hint), E'\n') FROM spinpanel.check_setup() WHERE item = wanted
$$;
SELECT set_config('tap.file', '/tmp/spinpanel_tap_copy_' || pg_backend_pid() || '.json', true);
DO $$ BEGIN EXECUTE format('COPY (SELECT %L) TO %L', '{"client_secret": "tap-secret", "refresh_token": "tap-token"}', current_setting('tap.file')); END $$;

SELECT matches(pg_temp.setup('account'), '^not ok . no account', 'no account yet');
SELECT is((SELECT string_agg(DISTINCT item, ', ' ORDER BY item) FROM spinpanel.check_setup()),
    'account, approvals, copy, counters, lag, last night, obligations, open operations, paused, pg_cron, preload, requests, worker', 'the items');
SELECT matches(pg_temp.setup('preload'), '^ok', 'preloaded');
SELECT matches(pg_temp.setup('worker'), '^not ok . it serves database "spinpanel_regression".*Set spinpanel.database', 'the worker is another database''s');
SELECT matches(pg_temp.setup('pg_cron'), '^not ok . not in this database', 'pg_cron is in another database');

-- where pg_cron is elsewhere, the hint is the command to run there
CREATE FUNCTION pg_temp.hint() RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text; state text;
BEGIN
    PERFORM spinpanel.schedule('5 21 * * *'); RETURN NULL;
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, state = RETURNED_SQLSTATE; RETURN state || ' ' || hint;
END $$;
SELECT is(pg_temp.hint(), format('55000 Run in database "spinpanel_regression": SELECT cron.schedule_in_database(%L, %L, %L, %L);',
    'spinpanel-nightly', '5 21 * * *', 'SELECT spinpanel.nightly()', current_database()), 'schedule() says what to run where');
SELECT is((SELECT count(*)::int FROM spinpanel.installation), 0, 'and nothing was kept');
-- a schema that only looks like pg_cron's is not called with our rights
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigint, jobname text, database text, username text, schedule text, command text, active boolean);
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS $$SELECT 1 / 0::bigint$$;
SELECT matches(pg_temp.hint(), '^55000 Run in database', 'a false pg_cron is not called');
SELECT lives_ok('SELECT spinpanel.unschedule()', 'nor here');
SELECT matches(pg_temp.setup('pg_cron'), '^not ok . not in this database', 'nor here');

SELECT ok(spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000001', 'client', current_setting('tap.file')) > 0);
SELECT ok(spinpanel.connect_account('gone', 'aaaaaaaa-0000-4000-8000-000000000002', 'client', current_setting('tap.file')) > 0);
SELECT ok(spinpanel.disconnect_account('gone') > 0);
SELECT matches(pg_temp.setup('account'), '^ok . main: active', 'an account');
SELECT matches(pg_temp.setup('credential'), '^not ok . main: app\+user, file of 2.*readable by every user.*chmod 600', 'its credential');
SELECT matches(pg_temp.setup('copy'), '^ok', 'no copy');
SELECT is(pg_temp.setup('credential') ~ 'secret|token"', false, 'nothing secret is shown');

-- open work of every kind, and work that is over
INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) VALUES ('00000000-0000-4000-8000-000000000001', 'Contoso', now());
INSERT INTO spinpanel.relationship (customer_id) VALUES ('00000000-0000-4000-8000-000000000001');
INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, wanted, status, created_at)
SELECT 'set_quantity', 'remove', 1, '00000000-0000-4000-8000-000000000001', '{"quantity": 1}', s, now() - '2 days'::interval
FROM unnest(ARRAY['queued', 'sending', 'unknown', 'done', 'refused', 'failed', 'cancelled']) AS s;
INSERT INTO spinpanel.obligation (kind, stage, operation_id, account_id, customer_id, sku_id, subscription_id, seats, leaves,
    effective_at, look_at, created_at)
SELECT 'removed', 'settle', operation_id, 1, customer_id, '00000000-0000-4000-9000-000000000001',
    '00000000-0000-4000-9000-000000000002', 1, 1, now(), now() - '3 hours'::interval, now() FROM spinpanel.operation WHERE status = 'done';
INSERT INTO spinpanel.license_request (kind, customer_id, sku_id, status, created_at)
SELECT 'assign', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', s, now()
FROM unnest(ARRAY['queued', 'buying', 'provisioning', 'assigning', 'done', 'failed', 'cancelled']) AS s;
INSERT INTO spinpanel.adjustment (run_id, customer_id, action, reason, status, created_at)
SELECT 1, '00000000-0000-4000-8000-000000000001', 'reduce', 'x', s, now()
FROM unnest(ARRAY['planned', 'awaiting_approval', 'queued', 'done', 'failed', 'skipped', 'rejected', 'superseded']) AS s;
INSERT INTO spinpanel.run (kind, status, created_at) SELECT 'sync', s, now() FROM unnest(ARRAY['queued', 'running', 'done', 'failed']) AS s;
INSERT INTO spinpanel.run (kind, status, night, created_at, error) VALUES ('nightly', 'failed', '2026-01-01', '2026-01-01 20:00+00', 'no network');
INSERT INTO spinpanel.installation (schedule, scheduled_at, scheduled_by) VALUES ('0 20 * * *', '2020-01-01', session_user);
SELECT matches(pg_temp.setup('open operations'), '^not ok . 3 open, 1 of them of unknown outcome', 'open operations');
SELECT matches(pg_temp.setup('approvals'), '^not ok . 1 ', 'approvals');
SELECT matches(pg_temp.setup('last night'), '^not ok . 2026-01-01: failed.*no network.*nightly\(\)', 'the last night');
CREATE FUNCTION pg_temp.open() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')),
        (SELECT count(*) FROM spinpanel.obligation),
        (SELECT count(*) FROM spinpanel.license_request WHERE status NOT IN ('done', 'failed', 'cancelled')),
        (SELECT count(*) FROM spinpanel.adjustment WHERE status IN ('queued', 'awaiting_approval')),
        (SELECT count(*) FROM spinpanel.run WHERE status IN ('queued', 'running')))
$$;
SELECT is(pg_temp.open(), '3 1 4 2 2', 'what is open');
SELECT matches(pg_temp.setup('obligations'), '^not ok . 1 changes.*1 of them late', 'what changes took, and has not been looked at');

-- the original: activate() by mistake harms nothing
SELECT is(spinpanel.activate(), 0, 'no copy: nothing to activate');
SELECT is(pg_temp.open(), '3 1 4 2 2', '... and nothing is cancelled');

-- an upgraded cluster
UPDATE spinpanel.account SET system_identifier = 1;
SELECT matches(pg_temp.setup('copy'), '^not ok . this is a copy of the database that connected main: nothing is sent.*activate', 'a copy');
SELECT ok(spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000001', 'client', current_setting('tap.file')) > 0, 'connecting it again');
SELECT matches(pg_temp.setup('copy'), '^not ok', '... does not activate a copy');
SELECT is(spinpanel.activate(resume => true), 2, 'activate, going on with what is open');
SELECT is(pg_temp.open(), '3 1 4 2 2', '... nothing is cancelled');
SELECT matches(pg_temp.setup('copy'), '^ok', '... and it is no copy any more');
SELECT ok((SELECT scheduled_at > now() - '1 day'::interval FROM spinpanel.installation), 'no night of the original is missed here');

-- another database of the cluster
UPDATE spinpanel.account SET database_oid = 1;
SELECT is(spinpanel.activate(), 2, 'activate, cancelling what is open');
SELECT is(pg_temp.open(), '0 0 0 0 0', '... nothing is open');
SELECT is((SELECT count(*)::int FROM spinpanel.license_request WHERE waiting AND status = 'cancelled' AND error IS NOT NULL), 0, 'cancelled requests wait for no seat');
SELECT results_eq($$SELECT event, count(*)::int FROM spinpanel.history WHERE event ~ 'cancelled|skipped|run failed|activated' GROUP BY 1 ORDER BY 1$$,
    $$VALUES ('account activated in a copy', 4), ('adjustment skipped', 2), ('operation cancelled', 3), ('request cancelled', 4), ('run failed', 2)$$,
    'each of it is on record');
SELECT throws_ok('SELECT spinpanel.activate(NULL)', '22004');

SELECT * FROM finish();
ROLLBACK;
SELECT format('cat >/dev/null; rm -f /tmp/spinpanel_tap_copy_%s.json', pg_backend_pid()) AS tidy \gset
COPY (SELECT 1) TO PROGRAM :'tidy';
