-- Licence requests: what callers get, what is refused at once, what is cancelled.  The worker of this server is switched off.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
SET client_min_messages = notice;
\set VERBOSITY terse
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', state || ' ' || message, nullif(detail, ''), 'hint: ' || nullif(hint, ''));
END $$;

\t on
\pset format unaligned
INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute, max_concurrency,
    system_identifier, database_oid, connected_at)
SELECT n, 'aaaaaaaa-0000-4000-8000-000000000001', 'c', '/nonexistent', 'https://localhost', 'https://localhost', 500, 16, 1, 1, now()
FROM unnest(ARRAY['first', 'second', 'third']) AS n;
CREATE TEMP TABLE a AS SELECT name, account_id AS id FROM spinpanel.account;
INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Contoso', 'contoso.example', now()),
    ('00000000-0000-4000-8000-000000000002', 'Fabrikam', 'fabrikam.example', now()),
    ('00000000-0000-4000-8000-000000000003', 'Gone', NULL, now());
UPDATE spinpanel.customer SET gone_at = now() WHERE name = 'Gone';
INSERT INTO spinpanel.relationship (customer_id) SELECT customer_id FROM spinpanel.customer;
INSERT INTO spinpanel.customer_account (customer_id, account_id)
SELECT '00000000-0000-4000-8000-000000000001'::uuid, id FROM a WHERE name <> 'third'
UNION ALL SELECT '00000000-0000-4000-8000-000000000002', id FROM a WHERE name = 'third';
INSERT INTO spinpanel.sku (sku_id, part_number) VALUES
    ('00000000-0000-4000-9000-000000000001', 'SPB'), ('00000000-0000-4000-9000-000000000002', 'TENANT'),
    ('00000000-0000-4000-9000-000000000003', 'ROOMS'), ('00000000-0000-4000-9000-000000000004', 'SPE_E3');
INSERT INTO spinpanel.subscribed_sku (customer_id, sku_id, part_number, target_type, active_units, warning_units, suspended_units, consumed_units, changed_at) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 'SPB', 'User', 10, 0, 0, 8, now()),
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000002', 'TENANT', 'Tenant', 10, 0, 0, 8, now());
INSERT INTO spinpanel.never_assigned_sku VALUES ('ROOMS', true, 'rooms');
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 10, 10, 8);
INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, friendly_name, offer_key, sku_id, commerce, quantity, status, term_duration,
    billing_cycle, auto_renew, is_trial, first_seen_at, changed_at)
SELECT '00000000-0000-4000-a000-000000000001', id, '00000000-0000-4000-8000-000000000001', 'Business Premium', 'CFQ:0001',
    '00000000-0000-4000-9000-000000000001', 'nce', 10, 'active', 'P1Y', 'monthly', true, false, now(), now() FROM a WHERE name = 'second';
INSERT INTO spinpanel.customer_user (customer_id, user_id, upn, listed_at, changed_at)
SELECT '00000000-0000-4000-8000-000000000001', format('00000000-0000-4000-b000-00000000000%s', n)::uuid,
    CASE WHEN n < 8 THEN format('user%s@contoso.example', n) ELSE 'twin@contoso.example' END, now(), now() FROM generate_series(1, 9) n;
INSERT INTO spinpanel.user_license VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-b000-000000000003', '00000000-0000-4000-9000-000000000001');

-- a request, and all that it says
SELECT kind, status, a.name, upn, right(user_id::text, 2), right(sku_id::text, 2), waiting, seat_bought, reference, requested_by = session_user, error,
    created_at BETWEEN now() - '1 min'::interval AND now() + '1 min'::interval
FROM spinpanel.assign_license('Contoso', 'User1@CONTOSO.example', 'spb', 'ticket 7') q JOIN a ON a.id = q.account_id;
-- under way already: by any name
SELECT count(DISTINCT request_id) FROM (
    SELECT (spinpanel.assign_license('contoso.example', 'user1@contoso.example', 'SPB')).request_id
    UNION ALL SELECT (spinpanel.assign_license('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-b000-000000000001', '00000000-0000-4000-9000-000000000001')).request_id) q;
SELECT count(*) FROM spinpanel.license_request;
-- held as far as we know: nothing is reserved
SELECT status, waiting FROM spinpanel.assign_license('Contoso', 'user3@contoso.example', 'SPB');
-- not known yet, by upn and by GUID
SELECT upn, user_id, waiting FROM spinpanel.assign_license('Contoso', '  new.one@contoso.example ', 'SPB');
SELECT upn, right(user_id::text, 2) FROM spinpanel.assign_license('Contoso', '00000000-0000-4000-b000-0000000000ff', 'SPB');
SELECT count(*) FROM spinpanel.license_request;
SELECT (spinpanel.assign_license('Contoso', 'NEW.one@contoso.example', 'SPB')).request_id > 0;
SELECT (spinpanel.assign_license('Contoso', '00000000-0000-4000-B000-0000000000FF', 'SPB')).request_id > 0;
SELECT count(*) FROM spinpanel.license_request;
-- the user became known meanwhile
INSERT INTO spinpanel.customer_user (customer_id, user_id, upn, listed_at, changed_at) VALUES
    ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-b000-0000000000fe', 'New.One@contoso.example', now(), now());
SELECT upn, user_id FROM spinpanel.assign_license('Contoso', '00000000-0000-4000-b000-0000000000fe', 'SPB');
-- a upn that went to another user is another user
UPDATE spinpanel.customer_user SET upn = 'former@contoso.example' WHERE upn = 'user1@contoso.example';
UPDATE spinpanel.customer_user SET upn = 'user1@contoso.example' WHERE upn = 'user2@contoso.example';
SELECT right(user_id::text, 2), upn FROM spinpanel.assign_license('Contoso', 'user1@contoso.example', 'SPB');
SELECT right(user_id::text, 2), upn FROM spinpanel.assign_license('Contoso', 'former@contoso.example', 'SPB');
SELECT count(*) FROM spinpanel.license_request;
-- names that cannot be
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license(NULL, 'user1@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', NULL, 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user1@contoso.example', NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('nobody', 'user1@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('*', 'user1@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user1@contoso.example', 'NO_SUCH')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'twin@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt(format('SELECT spinpanel.assign_license(%L, %L, %L)', 'Contoso', u, 'SPB'))
FROM unnest(ARRAY['', 'user1', '@contoso.example', 'user1@', 'user 1@contoso.example', E'user\t1@contoso.example']) u;
SELECT left(pg_temp.attempt(format('SELECT spinpanel.assign_license(%L, %L, %L)', 'Contoso', repeat('u', 250) || '@contoso.example', 'SPB')), 8);
-- not for users; a customer that is gone; accounts that cannot
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user1@contoso.example', 'TENANT')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user1@contoso.example', 'ROOMS')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Gone', 'user1@contoso.example', 'SPB')$$);
UPDATE spinpanel.account SET status = 'stopped' WHERE name = 'third';
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Fabrikam', 'user1@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.release_license('Fabrikam', 'user1@contoso.example', 'SPB')$$);
UPDATE spinpanel.account SET status = 'active' WHERE name = 'third';

-- where a seat can come from
DELETE FROM spinpanel.license_request;
CREATE FUNCTION pg_temp.buy(change text, rule text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    UPDATE spinpanel.pool SET consumed_units = 10;
    UPDATE spinpanel.subscribed_sku SET consumed_units = 10;
    EXECUTE 'UPDATE spinpanel.subscription SET ' || change;
    IF rule IS NOT NULL THEN EXECUTE format('SELECT spinpanel.set_license_rule(%s)', rule); END IF;
    answer := pg_temp.attempt($q$SELECT spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB')$q$);
    RAISE SQLSTATE 'ZZ000' USING MESSAGE = answer;
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN RETURN change || coalesce(' / ' || rule, '') || ': ' || SQLERRM;
END $$;
SELECT pg_temp.buy('gone_at = NULL');
SELECT pg_temp.buy('gone_at = now()');
SELECT pg_temp.buy('is_trial = true');
SELECT pg_temp.buy('commerce = $$other$$');
SELECT pg_temp.buy('sku_id = NULL');
SELECT pg_temp.buy('commerce = $$legacy$$');
SELECT pg_temp.buy('auto_renew = false');
SELECT pg_temp.buy('cancel_at_term = true');
SELECT pg_temp.buy('auto_renew = false, our_end = true');
SELECT pg_temp.buy('status = $$deleted$$');
SELECT pg_temp.buy('status = $$suspended$$, our_suspension = true');
SELECT pg_temp.buy('status = $$suspended$$');
SELECT pg_temp.buy('status = $$suspended$$', $$'Contoso', 'SPB', default_offer => 'CFQ7TTC0LF8R:0001'$$);
SELECT pg_temp.buy('gone_at = now()', $$'Contoso', 'SPB', default_offer => 'CFQ7TTC0LF8R:0001'$$);
SELECT pg_temp.buy('gone_at = now()', $$'*', 'SPB', default_offer => 'CFQ7TTC0LF8R:0001'$$);
SELECT pg_temp.buy('gone_at = now()', $$'Fabrikam', 'SPB', default_offer => 'CFQ7TTC0LF8R:0001'$$);
SELECT pg_temp.buy('gone_at = NULL', $$'Contoso', '*', term_duration => 'P1M'$$);
SELECT pg_temp.buy('gone_at = NULL', $$'*', '*', billing_cycle => 'monthly'$$);
INSERT INTO spinpanel.offer (offer_key, maximum) VALUES ('CFQ:0001', 10);
SELECT pg_temp.buy('gone_at = NULL');
SELECT pg_temp.buy('quantity = 9');
-- a free seat needs none of that
UPDATE spinpanel.subscription SET gone_at = now();
SELECT status FROM spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB');
SELECT status FROM spinpanel.assign_license('Contoso', 'user5@contoso.example', 'SPB');
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB')$$);
SELECT status FROM spinpanel.assign_license('Contoso', 'user3@contoso.example', 'SPB');
UPDATE spinpanel.subscription SET gone_at = NULL;
DELETE FROM spinpanel.offer;
-- purchases off
SELECT purchases FROM spinpanel.set_relationship('Contoso', purchases => false);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', '{user5@contoso.example,user6@contoso.example}', 'SPB')$$);
SELECT count(*) FROM spinpanel.assign_licenses('Contoso', '{user4@contoso.example,user5@contoso.example}', 'SPB');
SELECT purchases FROM spinpanel.set_relationship('Contoso', purchases => true);
-- max_seats: 10 owned, 8 consumed, 2 asked for; the narrowest rule counts
SELECT max_seats FROM spinpanel.set_license_rule('*', '*', max_seats => 0);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB')$$);
SELECT max_seats FROM spinpanel.set_license_rule('*', 'SPB', max_seats => 100);
SELECT max_seats FROM spinpanel.set_license_rule('Contoso', '*', max_seats => 12);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', '{user6@contoso.example,user7@contoso.example,u8@contoso.example}', 'SPB')$$);
SELECT count(*) FROM spinpanel.license_request WHERE upn LIKE 'user6%';
SELECT status FROM spinpanel.assign_licenses('Contoso', '{user6@contoso.example,user7@contoso.example}', 'SPB');
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'u8@contoso.example', 'SPB')$$);
SELECT max_seats FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 13);
SELECT status FROM spinpanel.assign_license('Contoso', 'u8@contoso.example', 'SPB');
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'u9@contoso.example', 'SPB')$$);
-- bought meanwhile, and not yet active: the same number
UPDATE spinpanel.license_request SET seat_bought = true, status = 'provisioning' WHERE upn IN ('user6@contoso.example', 'user7@contoso.example');
UPDATE spinpanel.pool SET owned_seats = 12;
SELECT substr(pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'u9@contoso.example', 'SPB')$$), 1, 5);
SELECT max_seats FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 14);
SELECT status FROM spinpanel.assign_license('Contoso', 'u9@contoso.example', 'SPB');
UPDATE spinpanel.pool SET owned_seats = 10;
DELETE FROM spinpanel.license_request;
-- under auto increment every request buys
SELECT max_seats FROM spinpanel.set_license_rule('Contoso', 'SPB', max_seats => 11);
SELECT auto_increment FROM spinpanel.set_relationship('Contoso', auto_increment => true);
SELECT status FROM spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB');
SELECT pg_temp.attempt($$SELECT spinpanel.assign_license('Contoso', 'user7@contoso.example', 'SPB')$$);
SELECT auto_increment FROM spinpanel.set_relationship('Contoso', auto_increment => false);
DELETE FROM spinpanel.license_rule;
DELETE FROM spinpanel.license_request;

-- many at once
SELECT upn, right(user_id::text, 2), waiting, reference FROM spinpanel.assign_licenses('Contoso', ARRAY['user4@contoso.example', 'b@contoso.example',
    '00000000-0000-4000-b000-000000000004', 'B@contoso.example', 'user3@contoso.example', 'a@contoso.example'], 'SPB', 'batch');
SELECT upn, reference FROM spinpanel.assign_licenses('Contoso', '{c@contoso.example,a@contoso.example}', 'SPB', 'second');
SELECT count(*) FROM spinpanel.assign_licenses('Contoso', '{}', 'SPB');
SELECT count(*) FROM spinpanel.license_request;
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', NULL, 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', '{d@contoso.example,NULL}', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', '{d@contoso.example,nobody}', 'SPB')$$);
SELECT pg_temp.attempt($$SELECT spinpanel.assign_licenses('Contoso', '{d@contoso.example,twin@contoso.example}', 'SPB')$$);
SELECT count(*) FROM spinpanel.license_request;

-- rolled back means never happened
BEGIN;
SELECT status FROM spinpanel.assign_license('Contoso', 'd@contoso.example', 'SPB');
SAVEPOINT s;
SELECT status FROM spinpanel.assign_license('Contoso', 'e@contoso.example', 'SPB');
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT status FROM spinpanel.assign_license('Contoso', 'f@contoso.example', 'SPB');
ROLLBACK;
BEGIN;
SELECT status FROM spinpanel.assign_license('Contoso', 'g@contoso.example', 'SPB');
PREPARE TRANSACTION 'requests_g';
BEGIN;
SELECT status FROM spinpanel.assign_license('Contoso', 'h@contoso.example', 'SPB');
PREPARE TRANSACTION 'requests_h';
-- a prepared one holds the pool's demand lock, and nobody waits for it
SELECT count(*), min(mode) FROM pg_locks WHERE locktype = 'object' AND classid = 'spinpanel.pool'::regclass AND pid IS NULL;
-- ... and no lock that SQL could take
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
SELECT status FROM spinpanel.assign_license('Contoso', 'i@contoso.example', 'SPB');
ROLLBACK PREPARED 'requests_g';
COMMIT PREPARED 'requests_h';
SELECT upn FROM spinpanel.license_request WHERE upn ~ '^[d-i]@' ORDER BY upn;
DELETE FROM spinpanel.license_request;

-- release: what has not begun is cancelled, a second release is the first
SELECT request_id AS asked FROM spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB') \gset
SELECT kind, status, waiting, upn, right(user_id::text, 2), reference FROM spinpanel.release_license('Contoso', 'user4@contoso.example', 'SPB', 'left');
SELECT status, waiting, finished_at IS NOT NULL, error FROM spinpanel.license_request WHERE request_id = :asked;
SELECT event, reason, actor = session_user, right(sku_id::text, 2) FROM spinpanel.history WHERE request_id = :asked;
SELECT reference FROM spinpanel.release_license('Contoso', '00000000-0000-4000-b000-000000000004', 'SPB', 'again');
-- ... and an assignment after it is a new one that needs a seat, also where the user still holds the licence
SELECT status, waiting FROM spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB');
SELECT status FROM spinpanel.release_license('Contoso', 'user3@contoso.example', 'SPB');
SELECT status, waiting FROM spinpanel.assign_license('Contoso', 'user3@contoso.example', 'SPB');
SELECT kind, status, upn FROM spinpanel.license_request ORDER BY request_id;
-- one that the worker is at is left to it
DELETE FROM spinpanel.license_request;
SELECT request_id AS asked FROM spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB') \gset
UPDATE spinpanel.license_request SET status = 'assigning' WHERE request_id = :asked;
SELECT kind, status FROM spinpanel.release_license('Contoso', 'user4@contoso.example', 'SPB');
SELECT kind, status FROM spinpanel.license_request ORDER BY request_id;
SELECT kind, status FROM spinpanel.assign_license('Contoso', 'user4@contoso.example', 'SPB');
SELECT count(*) FROM spinpanel.license_request;
-- not held, not known: for the worker to see
SELECT kind, status, upn FROM spinpanel.release_license('Contoso', 'stranger@contoso.example', 'SPB');
SELECT pg_temp.attempt($$SELECT spinpanel.release_license('Contoso', NULL, 'SPB')$$);

-- cancel
DELETE FROM spinpanel.license_request;
CREATE FUNCTION pg_temp.asked(stands text, buy text, assign text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE id bigint; buying bigint; assigning bigint; answer spinpanel.license_request;
BEGIN
    SELECT q.request_id INTO id FROM spinpanel.assign_license('Contoso', 'user5@contoso.example', 'SPB') q;
    IF buy IS NOT NULL THEN
        INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, sku_id, request_id, wanted, status, created_at)
        VALUES ('set_quantity', 'buy', 1, '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', NULL, '{"quantity": 11}', buy, now())
        RETURNING operation_id INTO buying;
    END IF;
    IF assign IS NOT NULL THEN
        INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, sku_id, request_id, wanted, status, created_at)
        VALUES ('assign', 'assign', 1, '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', id, '{}', assign, now())
        RETURNING operation_id INTO assigning;
    END IF;
    UPDATE spinpanel.license_request SET status = stands, buy_operation = buying, operation_id = assigning WHERE request_id = id;
    answer := spinpanel.cancel_request(id);
    DELETE FROM spinpanel.license_request;
    RETURN format('%s, buy %s, assign %s: %s, waiting %s, finished %s; buy %s, assign %s', stands, buy, assign, answer.status, answer.waiting,
        answer.finished_at IS NOT NULL, (SELECT o.status FROM spinpanel.operation o WHERE o.operation_id = buying),
        (SELECT o.status FROM spinpanel.operation o WHERE o.operation_id = assigning));
END $$;
SELECT pg_temp.asked('queued', NULL, NULL);
SELECT pg_temp.asked('buying', 'queued', NULL);
SELECT pg_temp.asked('buying', 'sending', NULL);
SELECT pg_temp.asked('buying', 'unknown', NULL);
SELECT pg_temp.asked('provisioning', 'done', NULL);
SELECT pg_temp.asked('assigning', NULL, 'queued');
SELECT pg_temp.asked('assigning', NULL, 'sending');
SELECT pg_temp.asked('assigning', 'done', 'queued');
SELECT pg_temp.asked('assigning', NULL, NULL);
SELECT pg_temp.asked('done', NULL, 'done');
SELECT pg_temp.asked('failed', NULL, NULL);
SELECT event, count(*) FROM spinpanel.history WHERE reason IN ('cancelled by the caller', 'its request was cancelled') GROUP BY 1 ORDER BY 1;
-- an operation that serves another request, too
SELECT request_id AS one FROM spinpanel.assign_license('Contoso', 'user5@contoso.example', 'SPB') \gset
SELECT request_id AS two FROM spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB') \gset
INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, sku_id, wanted, created_at)
VALUES ('assign', 'assign', 1, '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', '{}', now()) RETURNING operation_id AS op \gset
UPDATE spinpanel.license_request SET status = 'assigning', operation_id = :op;
SELECT status FROM spinpanel.cancel_request(:one);
SELECT status FROM spinpanel.operation WHERE operation_id = :op;
SELECT status FROM spinpanel.cancel_request(:two);
SELECT status FROM spinpanel.operation WHERE operation_id = :op;
SELECT status FROM spinpanel.cancel_request(:two);
SELECT pg_temp.attempt($$SELECT spinpanel.cancel_request(0)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.cancel_request(NULL)$$);

-- wait
SELECT status FROM spinpanel.wait_for_request(:two, '1000 years');
SELECT request_id AS asked FROM spinpanel.assign_license('Contoso', 'user5@contoso.example', 'SPB') \gset
SELECT status FROM spinpanel.wait_for_request(request_id => :asked, timeout => '20 ms');
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_request(0)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_request(NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_request(1, NULL)$$);
SELECT pg_temp.attempt($$SELECT spinpanel.wait_for_request((spinpanel.assign_license('Contoso', 'user6@contoso.example', 'SPB')).request_id)$$) ~ '^55000';

DROP EXTENSION spinpanel CASCADE;
