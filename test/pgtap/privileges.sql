-- Nothing is granted to PUBLIC, every search path is pinned, everything public explains itself, and roles may do what they may.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('spinpanel', 'spinpanel_report') AND has_function_privilege('public', p.oid, 'EXECUTE')$$,
    'PUBLIC may execute nothing');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
    WHERE n.nspname IN ('spinpanel', 'spinpanel_report') AND a.grantee = 0$$, 'PUBLIC may read nothing');
SELECT ok(NOT has_schema_privilege('public', 'spinpanel', 'USAGE'), 'PUBLIC may not use the schema');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'spinpanel'::regnamespace AND (p.prosecdef OR l.lanname IN ('plpgsql', 'sql'))
    AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']$$, 'every search path is pinned');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'spinpanel'::regnamespace
    AND p.proisstrict AND p.proname !~ '^_'$$, 'no public function is strict');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'spinpanel'::regnamespace
    AND obj_description(p.oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'spinpanel'::regnamespace
    AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL$$, 'every table has a comment');
SELECT is_empty($$SELECT s.attname FROM pg_stats s WHERE s.schemaname = 'spinpanel' AND s.tablename = 'credential'
    AND s.attname = 'refresh_token'$$, 'no statistics of the refresh token');

-- the pinned shape
SELECT has_function('spinpanel', f, f || '() is there') FROM unnest(ARRAY['connect_account', 'disconnect_account', 'set_relationship',
    'set_license_rule', 'drop_license_rule', 'sync', 'adjust', 'nightly', 'schedule', 'unschedule', 'wait_for_run',
    'excess_seats', 'plan_adjustment', 'approve', 'reject', 'pause', 'resume', 'check_setup', 'grant_role', 'limit_reader',
    'activate', 'sign_in_url', 'sign_in', 'assign_license', 'assign_licenses', 'release_license', 'cancel_request', 'wait_for_request']) AS f;
SELECT columns_are('spinpanel', 'subscribed_sku', ARRAY['customer_id', 'sku_id', 'part_number', 'target_type', 'license_group',
    'active_units', 'warning_units', 'suspended_units', 'consumed_units', 'total_units', 'available_units', 'capability_status',
    'changed_at', 'gone_at']);
SELECT col_type_is('spinpanel', 'subscription', 'subscription_id', 'uuid', 'ids of Microsoft are uuid');
SELECT col_type_is('spinpanel', 'subscription', 'commitment_end', 'timestamp with time zone', 'times are timestamptz');

-- roles
CREATE ROLE tap_nobody; CREATE ROLE tap_reader; CREATE ROLE tap_operator; CREATE ROLE tap_manager; CREATE ROLE tap_admin;
SELECT spinpanel.grant_role('reader', 'tap_reader');
SELECT spinpanel.grant_role('operator', 'tap_operator');
SELECT spinpanel.grant_role('manager', 'tap_manager');
SELECT spinpanel.grant_role('Admin', 'tap_admin');
SELECT is(has_function_privilege(r, f, 'EXECUTE'), expected, format('%s %s execute %s', r, CASE WHEN expected THEN 'may' ELSE 'may not' END, f))
FROM (VALUES
    ('tap_nobody', 'spinpanel.excess_seats(text)', false), ('tap_reader', 'spinpanel.excess_seats(text)', false),
    ('tap_operator', 'spinpanel.excess_seats(text)', true), ('tap_operator', 'spinpanel.adjust(text,boolean)', true),
    ('tap_reader', 'spinpanel.assign_license(text,text,text,text)', false), ('tap_operator', 'spinpanel.assign_license(text,text,text,text)', true),
    ('tap_reader', 'spinpanel.assign_licenses(text,text[],text,text)', false), ('tap_operator', 'spinpanel.assign_licenses(text,text[],text,text)', true),
    ('tap_reader', 'spinpanel.release_license(text,text,text,text)', false), ('tap_operator', 'spinpanel.release_license(text,text,text,text)', true),
    ('tap_reader', 'spinpanel.cancel_request(bigint)', false), ('tap_operator', 'spinpanel.cancel_request(bigint)', true),
    ('tap_reader', 'spinpanel.wait_for_request(bigint,interval)', false), ('tap_operator', 'spinpanel.wait_for_request(bigint,interval)', true),
    ('tap_nobody', 'spinpanel.assign_license(text,text,text,text)', false),
    ('tap_operator', 'spinpanel.pause(text,text)', false), ('tap_manager', 'spinpanel.pause(text,text)', true),
    ('tap_manager', 'spinpanel.approve(bigint)', true), ('tap_manager', 'spinpanel.disconnect_account(text)', false),
    ('tap_admin', 'spinpanel.disconnect_account(text)', true), ('tap_admin', 'spinpanel.excess_seats(text)', true),
    ('tap_admin', 'spinpanel._record(text,uuid,bigint,bigint,jsonb,jsonb,text)', false)) AS t (r, f, expected);
SELECT is_empty(format($$SELECT t FROM unnest(ARRAY['credential', 'sign_in']) t WHERE has_table_privilege(%L, 'spinpanel.' || t, 'SELECT')$$, r), r || ' cannot read secrets')
FROM unnest(ARRAY['tap_nobody', 'tap_reader', 'tap_operator', 'tap_manager', 'tap_admin']) AS r;
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'spinpanel'::regnamespace AND c.relkind = 'r'
    AND has_table_privilege('tap_admin', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')$$, 'nobody writes a table directly');

-- an operator with a hostile search path and hostile temporary objects
INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) VALUES ('00000000-0000-4000-8000-000000000001', 'Contoso', now());
INSERT INTO spinpanel.relationship (customer_id) VALUES ('00000000-0000-4000-8000-000000000001');
GRANT CREATE ON DATABASE :"DBNAME" TO tap_manager;
SET LOCAL ROLE tap_manager;
CREATE SCHEMA tap_evil;
CREATE FUNCTION tap_evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'evil was called as %', current_user; END$$;
CREATE FUNCTION tap_evil.coalesce_evil(text) RETURNS text LANGUAGE sql AS $$SELECT 'evil'$$;
CREATE TEMP TABLE relationship (customer_id uuid, spare_seats int);
CREATE TEMP TABLE customer (customer_id uuid, name text, domain text);
SET LOCAL search_path = tap_evil, pg_temp, spinpanel, pg_catalog;
SELECT pg_catalog.set_config('tap.spare', (SELECT r.spare_seats::text FROM spinpanel.set_relationship('contoso', spare_seats => 4) AS r), true);
SELECT pg_catalog.set_config('tap.paused', (SELECT spinpanel.pause('CONTOSO')::text), true);
RESET ROLE;
SET LOCAL search_path = public, pg_catalog;
SELECT is(current_setting('tap.spare') || current_setting('tap.paused'), '41', 'hostile names change nothing');
SELECT is((SELECT spare_seats FROM spinpanel.relationship WHERE customer_id = '00000000-0000-4000-8000-000000000001'), 4, 'the real table was written');
SELECT is((SELECT count(*)::int FROM pg_temp.relationship), 0, 'the temporary one was not');
SELECT isnt((SELECT actor FROM spinpanel.history ORDER BY history_id DESC LIMIT 1), NULL, 'and it is on record who did it');

-- an operator asks with rights of their own only for the functions, and is on record by name
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
    system_identifier, database_oid, connected_at)
VALUES ('main', '00000000-0000-4000-8000-0000000000aa', 'c', '/nonexistent', 'https://localhost', 'https://localhost', 500, 16, 1, 1, now());
INSERT INTO spinpanel.customer_account (customer_id, account_id) SELECT '00000000-0000-4000-8000-000000000001', account_id FROM spinpanel.account;
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB');
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units)
VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 10, 10, 5);
GRANT USAGE ON SCHEMA public TO tap_operator;
SET LOCAL SESSION AUTHORIZATION tap_operator;
CREATE TEMP TABLE license_request (request_id bigint);
SET LOCAL search_path = pg_temp, spinpanel, pg_catalog;
SELECT pg_catalog.set_config('tap.asked', (SELECT concat_ws(' ', requested_by, status) FROM spinpanel.assign_license('Contoso', 'ann@contoso.example', 'SPB')), true);
SELECT pg_catalog.set_config('tap.many', (SELECT count(*)::text FROM spinpanel.assign_licenses('Contoso', '{ann@contoso.example,bob@contoso.example}', 'SPB')), true);
SELECT pg_catalog.set_config('tap.release', (SELECT status FROM spinpanel.release_license('Contoso', 'ann@contoso.example', 'SPB')), true);
SELECT pg_catalog.set_config('tap.cancel', (SELECT string_agg((spinpanel.cancel_request(request_id)).status, ' ') FROM spinpanel.license_request WHERE kind = 'release'), true);
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = public, pg_catalog;
SELECT is(current_setting('tap.asked'), 'tap_operator queued', 'an operator asks, and is named');
SELECT is(current_setting('tap.many') || ' ' || current_setting('tap.release') || ' ' || current_setting('tap.cancel'), '2 queued cancelled', 'and all the rest');
SELECT is((SELECT string_agg(DISTINCT actor::text, ' ') FROM spinpanel.history WHERE request_id IS NOT NULL), 'tap_operator', 'history names who cancelled');
SELECT throws_ok($$SELECT spinpanel.assign_license('Contoso', NULL, 'SPB')$$, '22004');

SELECT * FROM finish();
ROLLBACK;
