-- connect_account(), disconnect_account(): what may be an account, who may connect one, and what becomes of the token.
SET client_min_messages = error;
BEGIN;
SELECT no_plan();

-- A credential file on the server, outside the data directory, gone at the end
CREATE FUNCTION pg_temp.file(content text, name text DEFAULT 'a') RETURNS text LANGUAGE plpgsql AS $$
DECLARE path text := format('/tmp/spinpanel_tap_%s_%s.json', pg_backend_pid(), name);
BEGIN
    EXECUTE format('COPY (SELECT %L) TO %L', content, path);
    RETURN path;
END $$;
CREATE FUNCTION pg_temp.url_error(api text, login text DEFAULT 'https://login.microsoftonline.com') RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; state text;
BEGIN
    PERFORM spinpanel.connect_account('u', 'aaaaaaaa-0000-4000-8000-00000000000a', 'client', current_setting('tap.file'), api, login);
    RAISE EXCEPTION USING ERRCODE = 'P9999', MESSAGE = 'fine';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
    RETURN CASE state WHEN 'P9999' THEN 'fine' WHEN '22023' THEN message ELSE state || ' ' || message END;
END $$;
SELECT set_config('tap.file', pg_temp.file('{"client_secret": "tap-secret", "refresh_token": "tap-token"}'), true);
SELECT set_config('tap.app', pg_temp.file('{"client_secret": "tap-secret"}', 'app'), true);

-- addresses
SELECT is(pg_temp.url_error(u), 'fine', 'accepted: ' || u) FROM unnest(ARRAY['https://api.partnercenter.microsoft.com',
    'https://api.partnercenter.microsoft.com/', 'https://API.partnercenter.microsoft.com//', 'https://api.partnercenter.microsoft.com:443',
    'https://partner.partnercenterapi.microsoftonline.cn']) AS u;
SELECT isnt(pg_temp.url_error(u), 'fine', 'refused: ' || u) FROM unnest(ARRAY['http://api.partnercenter.microsoft.com',
    'https://api.partnercenter.microsoft.com/v1', 'https://api.partnercenter.microsoft.com/V1/', 'https://api.partnercenter.microsoft.com.evil.example',
    'https://evil.example', 'https://user:pw@api.partnercenter.microsoft.com', 'https://api.partnercenter.microsoft.com@evil.example',
    'https://api.partnercenter.microsoft.com?x=y', 'https://api.partnercenter.microsoft.com#x', 'https://api.partnercenter.microsoft.com/ a',
    E'https://api.partnercenter.microsoft.com\r\nX: y', 'ftp://api.partnercenter.microsoft.com', 'file:///etc/passwd', '', 'https://',
    'https://api.partnercenter.microsoft.com:0', 'http://127.0.0.1:8080', 'https://127.0.0.1', 'http://localhost.evil.example',
    'https://api.partnercenter.microsoft.com/' || repeat('x', 600)]) AS u;
SELECT matches(pg_temp.url_error('https://api.partnercenter.microsoft.com', 'https://login.microsoftonline.com/AAAAAAAA-0000-4000-8000-00000000000A'),
    'without the tenant', 'the tenant is no part of login_url');
SET LOCAL spinpanel.allowed_hosts = '127.0.0.1, [::1]:8443, partner.example';
SELECT is(pg_temp.url_error(u), 'fine', 'allowed by the superuser: ' || u) FROM unnest(ARRAY['http://127.0.0.1:8080', 'https://127.0.0.1',
    'http://[::1]:8443', 'https://partner.example/proxy/']) AS u;
SELECT isnt(pg_temp.url_error(u), 'fine', 'still refused: ' || u) FROM unnest(ARRAY['http://partner.example', 'http://[::1]:8444',
    'https://sub.partner.example', 'http://127.0.0.2:8080']) AS u;
RESET spinpanel.allowed_hosts;

-- connecting, and again
SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000001', 'client', current_setting('tap.file')) AS id \gset
SELECT results_eq('SELECT account_id FROM spinpanel.account', ARRAY[:id], 'connect_account returns the id');
SELECT results_eq('SELECT name, api_url, login_url, requests_per_minute, max_concurrency, status, access FROM spinpanel.account',
    $$VALUES ('main', 'https://api.partnercenter.microsoft.com', 'https://login.microsoftonline.com', 500, 16, 'active', 'app+user')$$,
    'the defaults are those of the design');
SELECT ok(system_identifier = (SELECT c.system_identifier FROM pg_control_system() c) AND database_oid = (SELECT oid FROM pg_database
    WHERE datname = current_database()) AND connected_by = session_user, 'where and by whom is kept') FROM spinpanel.account;
INSERT INTO spinpanel.credential SELECT account_id, 'rotated', 'file', now(), now() FROM spinpanel.account;
UPDATE spinpanel.account SET status = 'stopped', status_reason = 'x';
SELECT is(spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000001', 'client', current_setting('tap.file'),
    'https://api.partnercenter.microsoft.com/', max_concurrency => 3), (SELECT account_id FROM spinpanel.account), 'the same name again: the same id');
SELECT results_eq('SELECT max_concurrency, status, status_reason, api_url FROM spinpanel.account',
    $$VALUES (3, 'active', NULL::text, 'https://api.partnercenter.microsoft.com')$$, '... and it is changed, and started again');
SELECT is((SELECT count(*)::int FROM spinpanel.credential), 1, 'the rotated token is kept');
SELECT lives_ok($$SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000001', 'other-client', current_setting('tap.file'))$$);
SELECT is((SELECT count(*)::int FROM spinpanel.credential), 0, 'another client: it is erased');
INSERT INTO spinpanel.credential SELECT account_id, 'rotated', 'file', now(), now() FROM spinpanel.account;
SELECT lives_ok($$SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000002', 'other-client', current_setting('tap.file'))$$);
SELECT is((SELECT count(*)::int FROM spinpanel.credential), 0, 'another tenant: it is erased');
INSERT INTO spinpanel.credential SELECT account_id, 'rotated', 'file', now(), now() FROM spinpanel.account;
SELECT lives_ok($$SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000002', 'other-client', current_setting('tap.app'))$$);
SELECT is((SELECT access || (SELECT count(*) FROM spinpanel.credential) FROM spinpanel.account), 'app0', 'a file without a refresh token: app-only, and it is erased');
INSERT INTO spinpanel.credential SELECT account_id, 'rotated', 'sign_in', now(), now() FROM spinpanel.account;
SELECT lives_ok($$SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000002', 'other-client', current_setting('tap.app'))$$);
SELECT is((SELECT access || (SELECT count(*) FROM spinpanel.credential) FROM spinpanel.account), 'app+user1', '... one that somebody signed in for is kept');
DELETE FROM spinpanel.credential;
SELECT throws_ok($$SELECT spinpanel.connect_account('second', 'aaaaaaaa-0000-4000-8000-000000000002', 'c', current_setting('tap.app'))$$,
    '22023', 'the tenant is connected already, as account "main"', 'one account per tenant');

-- disconnecting: the seats leave the pools
INSERT INTO spinpanel.customer (customer_id, name, first_seen_at) VALUES ('00000000-0000-4000-8000-000000000001', 'Contoso', now());
INSERT INTO spinpanel.relationship (customer_id) VALUES ('00000000-0000-4000-8000-000000000001');
INSERT INTO spinpanel.customer_account (customer_id, account_id, listed_at) SELECT '00000000-0000-4000-8000-000000000001', account_id, now() FROM spinpanel.account;
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES ('00000000-0000-4000-9000-000000000001', 'SPB');
INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, offer_id, offer_key, sku_id, commerce, quantity, status,
    auto_renew, is_trial, first_seen_at, changed_at) SELECT '00000000-0000-4000-a000-000000000001', account_id,
    '00000000-0000-4000-8000-000000000001', 'o', 'o', '00000000-0000-4000-9000-000000000001', 'legacy', 12, 'active', true, false, now(), now() FROM spinpanel.account;
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units) VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 12, 12);
INSERT INTO spinpanel.credential SELECT account_id, 'rotated', 'file', now(), now() FROM spinpanel.account;
SELECT is(spinpanel.disconnect_account('main'), (SELECT account_id FROM spinpanel.account), 'disconnect_account returns the id');
SELECT is((SELECT status || (SELECT count(*) FROM spinpanel.credential) FROM spinpanel.account), 'disconnected0', 'it is stopped and its token erased');
SELECT is((SELECT owned_seats FROM spinpanel.pool), 0, 'its seats are no longer owned');
SELECT lives_ok($$SELECT spinpanel.disconnect_account('main')$$, 'twice is harmless');
SELECT lives_ok($$SELECT spinpanel.connect_account('main', 'aaaaaaaa-0000-4000-8000-000000000002', 'c', current_setting('tap.file'))$$);
SELECT is((SELECT owned_seats FROM spinpanel.pool), 12, 'connected again, they are');
SELECT throws_ok($$SELECT spinpanel.disconnect_account('nobody')$$, 'P0002');
SELECT throws_ok($$SELECT spinpanel.disconnect_account(NULL)$$, '22004');
SELECT is_empty($$SELECT * FROM spinpanel.history h WHERE h::text ~ 'tap-secret|tap-token|rotated'$$, 'no secret in the history');
SELECT results_eq($$SELECT event, count(*)::int FROM spinpanel.history WHERE event LIKE 'account%' GROUP BY 1 ORDER BY 1$$,
    $$VALUES ('account connected', 1), ('account connected again', 6), ('account disconnected', 1)$$, 'all of it is on record');

-- files
SELECT throws_ok(format($$SELECT spinpanel.connect_account('f', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', %L)$$, f), state, NULL, 'file: ' || f)
FROM (VALUES ('relative.json', '22023'), ('/nonexistent.json', '58P01'), ('/tmp', '42809'), ('/dev/null', '42809'),
    (current_setting('data_directory') || '/PG_VERSION', '22023'), (pg_temp.file('not JSON', 'bad'), '22023'),
    (pg_temp.file('{"client_secret": ""}', 'empty'), '22023'), (pg_temp.file('[]', 'array'), '22023'), ('', '22023')) AS v (f, state);

-- values
SELECT throws_ok(format($$SELECT spinpanel.connect_account(%s)$$, a), state, NULL, 'refused: ' || a)
FROM (VALUES ($$NULL, 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f'$$, '22004'), ($$'n', NULL, 'c', 'f'$$, '22004'),
    ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', NULL, 'f'$$, '22004'), ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', NULL$$, '22004'),
    ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f', NULL$$, '22004'), ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f', login_url => NULL$$, '22004'),
    ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f', requests_per_minute => NULL$$, '22004'),
    ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f', requests_per_minute => 0$$, '22023'),
    ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f', max_concurrency => 1001$$, '22023'),
    ($$'', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f'$$, '22023'), ($$repeat('n', 101), 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f'$$, '22023'),
    ($$E'a\nb', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', 'f'$$, '22023'), ($$'n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'a b', 'f'$$, '22023')) AS v (a, state);

-- who may: the role admin is not enough to name a file on the server
CREATE ROLE tap_admin;
SELECT spinpanel.grant_role('admin', 'tap_admin');
SET LOCAL ROLE tap_admin;
SELECT set_config('tap.state', '', true);
DO $$ BEGIN
    PERFORM spinpanel.connect_account('n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', '/etc/passwd');
EXCEPTION WHEN OTHERS THEN PERFORM set_config('tap.state', SQLSTATE, true);
END $$;
RESET ROLE;
SELECT is(current_setting('tap.state'), '42501', 'an admin may not name a file');
GRANT pg_read_server_files TO tap_admin;
SET LOCAL ROLE tap_admin;
DO $$ BEGIN
    PERFORM set_config('tap.state', spinpanel.connect_account('n', 'aaaaaaaa-0000-4000-8000-00000000000f', 'c', current_setting('tap.file'))::text, true);
END $$;
RESET ROLE;
SELECT is(current_setting('tap.state'), (SELECT account_id::text FROM spinpanel.account WHERE name = 'n'), 'with pg_read_server_files, too, it may');

SELECT * FROM finish();
ROLLBACK;
SELECT format('cat >/dev/null; rm -f /tmp/spinpanel_tap_%s_*.json', pg_backend_pid()) AS tidy \gset
COPY (SELECT 1) TO PROGRAM :'tidy';
