-- excess_seats() and plan_adjustment() over tables filled by hand.  All of it
-- is one transaction that is rolled back: nothing stays, and a worker that
-- serves this database never sees it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS spinpanel;
RESET client_min_messages;
\pset null -
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
BEGIN;

-- The extension's now is the evening of 2030-01-15, give or take seconds.
SELECT set_config('spinpanel.clock_offset',
                  extract(epoch FROM timestamptz '2030-01-15 20:00+00' - clock_timestamp())::text, true) <> '' AS moved;

CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql
RETURN ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;

-- A customer that was read an hour ago, adjustment on
CREATE PROCEDURE pg_temp.customer(n int, called text, switched boolean DEFAULT true) LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at)
    VALUES (pg_temp.id(n), called, lower(called) || '.example', '2029-01-01');
    INSERT INTO spinpanel.relationship (customer_id, auto_license_adjustment, removal_limit_seats)
    VALUES (pg_temp.id(n), switched, 1000);
    INSERT INTO spinpanel.customer_account (customer_id, account_id, license_access, subscriptions_read_at, subscribed_skus_read_at)
    SELECT pg_temp.id(n), account_id, true, '2030-01-15 19:00', '2030-01-15 19:00'
    FROM spinpanel.account WHERE name = 'test main';
END;

-- A pool whose figures have stood for ten days
CREATE PROCEDURE pg_temp.pool(of_customer int, of_sku int, owned int, active int, consumed int, target text DEFAULT 'User')
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO spinpanel.subscribed_sku (customer_id, sku_id, part_number, target_type, active_units, warning_units,
        suspended_units, consumed_units, changed_at)
    SELECT pg_temp.id(of_customer), sku_id, part_number, target, active, 0, 0, consumed, '2030-01-05'
    FROM spinpanel.sku WHERE sku_id = pg_temp.id(of_sku);
    INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units, consumption_seen)
    VALUES (pg_temp.id(of_customer), pg_temp.id(of_sku), owned, active, consumed, true);
    INSERT INTO spinpanel.pool_reading (customer_id, sku_id, read_at, seats, consumed)
    VALUES (pg_temp.id(of_customer), pg_temp.id(of_sku), '2030-01-05', least(owned, active), consumed);
END;

-- A subscription bought a year ago: legacy, or NCE to 2030-06-01
CREATE PROCEDURE pg_temp.subscription(n int, of_customer int, of_sku int, seats int, of_commerce text DEFAULT 'legacy',
    of_status text DEFAULT 'active', of_account text DEFAULT 'test main')
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, offer_id, offer_key, offer_name, sku_id,
        commerce, quantity, status, term_duration, billing_cycle, auto_renew, is_trial, created_at, term_end,
        first_seen_at, changed_at)
    SELECT pg_temp.id(n), account_id, pg_temp.id(of_customer), 'offer-' || coalesce(of_sku, n), 'offer-' || coalesce(of_sku, n),
        'Offer ' || coalesce(of_sku, n), pg_temp.id(of_sku), of_commerce, seats, of_status, 'P1Y', 'monthly', true, false,
        timestamptz '2029-01-01' + n * interval '1 minute',
        CASE of_commerce WHEN 'nce' THEN timestamptz '2030-06-01' ELSE '2030-09-01' END, '2029-01-01', '2029-01-01'
    FROM spinpanel.account WHERE name = of_account;
END;

INSERT INTO spinpanel.account (name, tenant_id, client_id, credential_file, api_url, login_url, requests_per_minute,
    max_concurrency, system_identifier, database_oid, connected_at, status)
SELECT name, pg_temp.id(1), 'x', '/nowhere', 'https://api.partnercenter.microsoft.com', 'https://login.microsoftonline.com',
    500, 16, 0, 0, '2029-01-01', status
FROM (VALUES ('test main', 'active'), ('test second', 'active'), ('test old', 'disconnected')) AS v (name, status);

INSERT INTO spinpanel.sku (sku_id, part_number, consumption_seen)
SELECT pg_temp.id(n), part_number, true
FROM (VALUES (101, 'TEST_A'), (102, 'TEST_B'), (103, 'TEST_C'), (104, 'TEST_D'), (105, 'TEST_E'), (106, 'TEST_F'),
             (107, 'TEST_G'), (108, 'TEST_H'), (109, 'TEST_I'), (120, 'MCOCAP'), (121, 'Meeting_Room')) AS v (n, part_number);

CREATE FUNCTION pg_temp.excess(who text)
RETURNS TABLE (part text, owned int, "foreign" int, used int, waits int, spare int, excess int, now int,
               renewal int, next date, blocked_by text) LANGUAGE sql
BEGIN ATOMIC
    SELECT part_number, owned_seats, foreign_seats, consumed_seats, waiting_seats, spare_seats, excess_seats,
           reducible_now, reducible_at_renewal, next_renewal::date, e.blocked_by
    FROM spinpanel.excess_seats(who) AS e ORDER BY part_number, e.blocked_by;
END;

-- One customer: what is unused, and each thing that forbids a pool ------------------
CALL pg_temp.customer(1, 'Excessive');
-- A: 20 owned, 12 assigned.  B: seats of another supplier justify nothing.
CALL pg_temp.pool(1, 101, 20, 20, 12);
CALL pg_temp.subscription(1, 1, 101, 20);
CALL pg_temp.pool(1, 102, 10, 25, 18);
CALL pg_temp.subscription(2, 1, 102, 10);
-- C: excluded by a rule; D: for the tenant; E: of a trial
CALL pg_temp.pool(1, 103, 5, 5, 1);
CALL pg_temp.subscription(3, 1, 103, 5);
CALL pg_temp.pool(1, 104, 5, 5, 0, 'tenant');
CALL pg_temp.subscription(4, 1, 104, 5);
CALL pg_temp.pool(1, 105, 0, 5, 1);
CALL pg_temp.subscription(5, 1, 105, 5);
UPDATE spinpanel.subscription SET is_trial = true WHERE subscription_id = pg_temp.id(5);
INSERT INTO spinpanel.license_rule (customer_id, sku_id, excluded) VALUES (pg_temp.id(1), pg_temp.id(103), true);
-- rooms and shared devices: the shipped list, case does not matter
CALL pg_temp.pool(1, 120, 5, 5, 0);
CALL pg_temp.subscription(6, 1, 120, 5);
CALL pg_temp.pool(1, 121, 5, 5, 0);
CALL pg_temp.subscription(7, 1, 121, 5);
-- an offer whose SKU is not known, and one that needs none
CALL pg_temp.subscription(8, 1, NULL, 7);
CALL pg_temp.subscription(9, 1, NULL, 1, 'other');
-- F: in doubt; G: contradictory; H: being changed; I: a removal is not visible yet
CALL pg_temp.pool(1, 106, 5, 5, 4);
CALL pg_temp.subscription(10, 1, 106, 5);
UPDATE spinpanel.pool SET doubt = 'consumed units fell from 4 to 0 between two reads; a second read must agree',
    doubt_at = '2030-01-15 19:00', doubt_consumed = 0 WHERE sku_id = pg_temp.id(106);
CALL pg_temp.pool(1, 107, 5, 5, 4);
CALL pg_temp.subscription(11, 1, 107, 5);
UPDATE spinpanel.pool SET doubt = 'Partner Center reports activeUnits -1', doubt_at = '2030-01-15 19:00', doubt_consumed = -1
    WHERE sku_id = pg_temp.id(107);
CALL pg_temp.pool(1, 108, 5, 5, 2);
CALL pg_temp.subscription(12, 1, 108, 5);
INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, sku_id, subscription_id, wanted, created_at)
    SELECT 'set_quantity', 'buy', account_id, customer_id, sku_id, subscription_id, '{}', '2030-01-15'
    FROM spinpanel.subscription WHERE subscription_id = pg_temp.id(12);
CALL pg_temp.pool(1, 109, 5, 5, 2);
CALL pg_temp.subscription(13, 1, 109, 5);
UPDATE spinpanel.pool SET settle_active = 3, settle_at = '2030-01-15 18:00' WHERE sku_id = pg_temp.id(109);
SELECT * FROM pg_temp.excess('excessive.example');

-- by id and by name, too; what can be given back now is what the plan gives back
SELECT count(*), sum(reducible_now) FROM spinpanel.excess_seats(pg_temp.id(1)::text);
SELECT count(*), sum(reducible_now) FROM spinpanel.excess_seats('EXCESSIVE');
SELECT action, from_quantity, to_quantity, seats, effective_on, status, reason
FROM spinpanel.plan_adjustment('Excessive') ORDER BY action = 'none', sku_id, reason;

-- a row of a person overrules the shipped list, either way
SAVEPOINT before;
INSERT INTO spinpanel.never_assigned_sku VALUES ('MCOCAP', false, 'we assign them'), ('TEST_A', true, 'test');
SELECT part, now, blocked_by FROM pg_temp.excess('Excessive') WHERE part IN ('MCOCAP', 'TEST_A');
ROLLBACK TO before;

-- the operation over, the read settled, the doubt gone
UPDATE spinpanel.operation SET status = 'done' WHERE customer_id = pg_temp.id(1);
UPDATE spinpanel.pool SET settle_active = NULL, doubt = NULL WHERE customer_id = pg_temp.id(1);
SELECT part, excess, now, blocked_by FROM pg_temp.excess('Excessive') WHERE part >= 'TEST_F';
ROLLBACK TO before;

-- Whole customers -------------------------------------------------------------------
CALL pg_temp.customer(2, 'Off', false);
CALL pg_temp.customer(3, 'Paused');
CALL pg_temp.customer(4, 'Blind');
CALL pg_temp.customer(5, 'Stale');
CALL pg_temp.customer(6, 'Unsynced');
CALL pg_temp.customer(7, 'Forgotten');
DO $$
BEGIN
    FOR c IN 2..7 LOOP
        CALL pg_temp.pool(c, 101, 10, 10, 4);
        CALL pg_temp.subscription(20 + c, c, 101, 10);
    END LOOP;
END $$;
UPDATE spinpanel.relationship SET paused_at = '2030-01-15' WHERE customer_id = pg_temp.id(3);
UPDATE spinpanel.customer_account SET license_access = false WHERE customer_id = pg_temp.id(4);
-- the second account's subscriptions were not read since the day before yesterday
INSERT INTO spinpanel.customer_account (customer_id, account_id, subscriptions_read_at, subscribed_skus_read_at)
    SELECT pg_temp.id(5), account_id, '2030-01-14 17:00', '2030-01-15 19:00' FROM spinpanel.account WHERE name = 'test second';
UPDATE spinpanel.relationship SET partner_center_sync = false WHERE customer_id IN (pg_temp.id(6), pg_temp.id(7));
UPDATE spinpanel.customer_account SET subscriptions_read_at = '2030-01-10' WHERE customer_id = pg_temp.id(7);
SELECT customer_name, excess_seats, reducible_now, blocked_by FROM spinpanel.excess_seats()
WHERE part_number = 'TEST_A' AND customer_id <= pg_temp.id(9) ORDER BY customer_id;
-- a run of all leaves out those whose switch is off; a named one gets a reason
SELECT DISTINCT c.name FROM spinpanel.plan_adjustment() JOIN spinpanel.customer c USING (customer_id)
WHERE customer_id <= pg_temp.id(9) ORDER BY 1;
SELECT action, reason FROM spinpanel.plan_adjustment('Off');
SELECT action, reason FROM spinpanel.plan_adjustment('Paused');
SELECT action, reason FROM spinpanel.plan_adjustment('Unsynced');
-- an account that is no longer ours, or no longer has the customer, does not count
UPDATE spinpanel.customer_account SET gone_at = '2030-01-15' WHERE account_id =
    (SELECT account_id FROM spinpanel.account WHERE name = 'test second');
SELECT now, blocked_by FROM pg_temp.excess('Stale');
CALL pg_temp.subscription(30, 2, 101, 3, 'legacy', 'active', 'test old');
SELECT owned, "foreign" FROM pg_temp.excess('Off');
ROLLBACK TO before;

-- What is used, waited for and kept ---------------------------------------------------
CALL pg_temp.customer(2, 'Busy');
CALL pg_temp.pool(2, 101, 30, 30, 10);
CALL pg_temp.subscription(21, 2, 101, 30);
INSERT INTO spinpanel.license_request (kind, customer_id, sku_id, status, waiting, created_at)
    SELECT kind, pg_temp.id(2), pg_temp.id(101), status, waiting, '2030-01-15'
    FROM (VALUES ('assign', 'queued', true), ('assign', 'done', true), ('assign', 'done', false),
                 ('assign', 'failed', true), ('release', 'queued', true)) AS v (kind, status, waiting);
SELECT used, waits, spare, excess FROM pg_temp.excess('Busy');
-- more holders are known than are reported; an old count proves nothing
UPDATE spinpanel.pool SET holders = 13, holders_read_at = '2030-01-15 01:00' WHERE customer_id = pg_temp.id(2);
SELECT used, waits, spare, excess FROM pg_temp.excess('Busy');
UPDATE spinpanel.pool SET holders_read_at = '2030-01-14 01:00' WHERE customer_id = pg_temp.id(2);
SELECT used, waits, spare, excess FROM pg_temp.excess('Busy');

-- Per column the first that has a value wins
UPDATE spinpanel.relationship SET spare_seats = 1 WHERE customer_id = pg_temp.id(2);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
INSERT INTO spinpanel.license_rule (customer_id, sku_id, spare_seats, excluded) VALUES (NULL, NULL, 2, true);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
INSERT INTO spinpanel.license_rule (customer_id, sku_id, spare_seats, excluded) VALUES (NULL, pg_temp.id(101), 3, NULL);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
INSERT INTO spinpanel.license_rule (customer_id, sku_id, spare_seats, excluded) VALUES (pg_temp.id(2), NULL, 4, false);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
INSERT INTO spinpanel.license_rule (customer_id, sku_id, spare_seats, min_seats) VALUES (pg_temp.id(2), pg_temp.id(101), 0, 29);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
-- another customer's and another SKU's rules are none of its business
INSERT INTO spinpanel.license_rule (customer_id, sku_id, spare_seats)
    VALUES (pg_temp.id(1), pg_temp.id(101), 9), (pg_temp.id(2), pg_temp.id(102), 9), (pg_temp.id(1), NULL, 9);
SELECT spare, excess, blocked_by FROM pg_temp.excess('Busy');
ROLLBACK TO before;

-- Time: windows, renewals, the cool-down ------------------------------------------------
CALL pg_temp.customer(2, 'Timely');
-- of 20 seats 6 are unused; 2 can be returned until tomorrow night, 3 until the 20th
CALL pg_temp.pool(2, 101, 20, 20, 14);
CALL pg_temp.subscription(21, 2, 101, 20, 'nce');
UPDATE spinpanel.subscription SET refund_quantity = '{2,3}', refund_until = '{2030-01-17 06:00,2030-01-20 06:00}'
    WHERE subscription_id = pg_temp.id(21);
SELECT excess, now, renewal, next, blocked_by FROM pg_temp.excess('Timely');
SELECT action, from_quantity, to_quantity, effective_on FROM spinpanel.plan_adjustment('Timely') WHERE action <> 'none';
-- later there is less to return, and near the renewal the rest is scheduled
SELECT action, from_quantity, to_quantity, effective_on FROM spinpanel.plan_adjustment('Timely', '2030-01-18 20:00')
WHERE action <> 'none';
SELECT action, from_quantity, to_quantity, effective_on FROM spinpanel.plan_adjustment('Timely', '2030-05-25 20:00')
WHERE action <> 'none';
-- the age of data is judged against now: a later moment does not make it stale
SELECT count(*) FROM spinpanel.plan_adjustment('Timely', '2030-05-25 20:00') WHERE reason LIKE '%stale%';
UPDATE spinpanel.customer_account SET subscribed_skus_read_at = '2030-01-14 17:00' WHERE customer_id = pg_temp.id(2);
SELECT reason FROM spinpanel.plan_adjustment('Timely', '2030-05-25 20:00');
UPDATE spinpanel.customer_account SET subscribed_skus_read_at = '2030-01-15 19:00' WHERE customer_id = pg_temp.id(2);
-- a renewal in progress is left alone
UPDATE spinpanel.subscription SET term_end = '2030-01-15 12:00' WHERE subscription_id = pg_temp.id(21);
SELECT excess, now, renewal, next FROM pg_temp.excess('Timely');
UPDATE spinpanel.subscription SET term_end = '2030-06-01' WHERE subscription_id = pg_temp.id(21);
-- a person lets it end: it is counted as it stands
UPDATE spinpanel.subscription SET auto_renew = false WHERE subscription_id = pg_temp.id(21);
SELECT excess, now, renewal FROM pg_temp.excess('Timely');
UPDATE spinpanel.subscription SET auto_renew = true, refund_quantity = '{}', refund_until = '{}'
    WHERE subscription_id = pg_temp.id(21);
-- what is scheduled for the renewal is ours to better, or a person's and stands
UPDATE spinpanel.subscription SET term_end = '2030-01-22', next_quantity = 17, our_next_quantity = 17
    WHERE subscription_id = pg_temp.id(21);
SELECT action, from_quantity, to_quantity, seats FROM spinpanel.plan_adjustment('Timely');
UPDATE spinpanel.subscription SET our_next_quantity = NULL WHERE subscription_id = pg_temp.id(21);
SELECT action, from_quantity, to_quantity, seats FROM spinpanel.plan_adjustment('Timely');
UPDATE spinpanel.subscription SET our_next_quantity = 18 WHERE subscription_id = pg_temp.id(21);
SELECT action, from_quantity, to_quantity, seats FROM spinpanel.plan_adjustment('Timely');
-- an end of ours: the seats are needed, so it is taken back; a person's stands
UPDATE spinpanel.subscription SET next_quantity = NULL, auto_renew = false, our_end = true
    WHERE subscription_id = pg_temp.id(21);
SELECT action, from_quantity, to_quantity, seats FROM spinpanel.plan_adjustment('Timely');
UPDATE spinpanel.subscription SET our_end = false WHERE subscription_id = pg_temp.id(21);
SELECT action, from_quantity, to_quantity, seats FROM spinpanel.plan_adjustment('Timely');
UPDATE spinpanel.subscription SET term_end = '2030-06-01', auto_renew = true WHERE subscription_id = pg_temp.id(21);
-- a window that a renewal opened this morning is no addition; one that somebody bought is
UPDATE spinpanel.subscription SET refund_quantity = '{20}', refund_until = '{2030-01-22 06:00}',
    renewed_at = '2030-01-15 00:00' WHERE subscription_id = pg_temp.id(21);
SELECT excess, now FROM pg_temp.excess('Timely');
UPDATE spinpanel.subscription SET renewed_at = NULL, effective_start = '2030-01-15 00:00' WHERE subscription_id = pg_temp.id(21);
SELECT excess, now FROM pg_temp.excess('Timely');
UPDATE spinpanel.subscription SET effective_start = '2029-01-01' WHERE subscription_id = pg_temp.id(21);
SELECT excess, now FROM pg_temp.excess('Timely');
UPDATE spinpanel.subscription SET refund_quantity = '{}', refund_until = '{}' WHERE subscription_id = pg_temp.id(21);
-- cool-down: fewest seats and most assigned over its time, 24 hours
UPDATE spinpanel.subscription SET commerce = 'legacy' WHERE subscription_id = pg_temp.id(21);
SELECT excess, now FROM pg_temp.excess('Timely');
UPDATE spinpanel.pool_reading SET until = '2030-01-15 08:00', consumed = 19 WHERE customer_id = pg_temp.id(2);
INSERT INTO spinpanel.pool_reading VALUES (pg_temp.id(2), pg_temp.id(101), '2030-01-15 08:00', NULL, 20, 14);
SELECT excess, now FROM pg_temp.excess('Timely');
SELECT action, seats FROM spinpanel.plan_adjustment('Timely', '2030-01-16 09:00') WHERE action <> 'none';
UPDATE spinpanel.relationship SET cooldown = '11 hours' WHERE customer_id = pg_temp.id(2);
SELECT excess, now FROM pg_temp.excess('Timely');
-- readings that do not reach back: dates tell what was added in the time before,
-- here six seats of another subscription
UPDATE spinpanel.relationship SET cooldown = '48 hours' WHERE customer_id = pg_temp.id(2);
DELETE FROM spinpanel.pool_reading WHERE customer_id = pg_temp.id(2) AND until IS NOT NULL;
SELECT excess, now FROM pg_temp.excess('Timely');
CALL pg_temp.subscription(22, 2, 101, 6, 'nce');
UPDATE spinpanel.subscription SET created_at = '2030-01-14 12:00' WHERE subscription_id = pg_temp.id(22);
UPDATE spinpanel.pool SET owned_seats = 26, active_units = 26, consumed_units = 20 WHERE customer_id = pg_temp.id(2);
UPDATE spinpanel.pool_reading SET seats = 26, consumed = 20 WHERE customer_id = pg_temp.id(2);
SELECT excess, now FROM pg_temp.excess('Timely');
-- the same where they begin anew after a gap
INSERT INTO spinpanel.pool_reading VALUES (pg_temp.id(2), pg_temp.id(101), '2030-01-01', '2030-01-14 02:00', 26, 20);
SELECT excess, now FROM pg_temp.excess('Timely');
-- without a gap nothing is unknown
UPDATE spinpanel.pool_reading SET until = '2030-01-15 08:00' WHERE until IS NOT NULL AND customer_id = pg_temp.id(2);
SELECT excess, now FROM pg_temp.excess('Timely');
-- what ended before the cool-down does not count
UPDATE spinpanel.subscription SET created_at = '2029-01-01' WHERE subscription_id = pg_temp.id(22);
UPDATE spinpanel.pool_reading SET until = '2030-01-13', consumed = 26 WHERE until IS NOT NULL AND customer_id = pg_temp.id(2);
SELECT excess, now FROM pg_temp.excess('Timely');
ROLLBACK TO before;

-- Duplicates of one offer are merged; add-ons keep their base -----------------------------
CALL pg_temp.customer(2, 'Double');
CALL pg_temp.pool(2, 101, 15, 15, 9);
CALL pg_temp.subscription(21, 2, 101, 5);
CALL pg_temp.subscription(22, 2, 101, 5);
CALL pg_temp.subscription(23, 2, 101, 5);
SELECT action, right(subscription_id::text, 2) AS subscription, from_quantity, to_quantity, merge
FROM spinpanel.plan_adjustment('Double') ORDER BY merge, action, subscription;
UPDATE spinpanel.subscription SET billing_cycle = 'annual' WHERE subscription_id = pg_temp.id(23);
SELECT action, right(subscription_id::text, 2) AS subscription, from_quantity, to_quantity, merge
FROM spinpanel.plan_adjustment('Double') WHERE action <> 'none' ORDER BY merge, action, subscription;
UPDATE spinpanel.subscription SET parent_subscription_id = pg_temp.id(23) WHERE subscription_id = pg_temp.id(21);
SELECT action, right(subscription_id::text, 2) AS subscription, from_quantity, to_quantity, merge
FROM spinpanel.plan_adjustment('Double') WHERE action <> 'none' ORDER BY merge, action, subscription;
ROLLBACK TO before;

-- nobody uses it, but an active add-on (of another SKU, or of none) needs it
CALL pg_temp.customer(2, 'Based');
CALL pg_temp.pool(2, 101, 5, 5, 0);
CALL pg_temp.subscription(21, 2, 101, 5);
CALL pg_temp.subscription(22, 2, NULL, 5);
SELECT action, from_quantity, to_quantity FROM spinpanel.plan_adjustment('Based');
UPDATE spinpanel.subscription SET parent_subscription_id = pg_temp.id(21) WHERE subscription_id = pg_temp.id(22);
SELECT action, from_quantity, to_quantity FROM spinpanel.plan_adjustment('Based') WHERE action <> 'none';
UPDATE spinpanel.subscription SET status = 'suspended' WHERE subscription_id = pg_temp.id(22);
SELECT action, from_quantity, to_quantity FROM spinpanel.plan_adjustment('Based');
ROLLBACK TO before;

-- Limits: what is more waits, and what went within a day counts -----------------------------
CALL pg_temp.customer(2, 'Limited');
CALL pg_temp.pool(2, 101, 40, 40, 25);
CALL pg_temp.subscription(21, 2, 101, 40);
UPDATE spinpanel.relationship SET removal_limit_seats = 20, removal_limit_percent = 10 WHERE customer_id = pg_temp.id(2);
SELECT seats, reason LIKE '%approval%' AS waits FROM spinpanel.plan_adjustment('Limited');
INSERT INTO spinpanel.adjustment (run_id, customer_id, sku_id, action, seats, counted, reason, status, merge, created_at, decided_at)
    SELECT 0, pg_temp.id(2), pg_temp.id(102), action, seats, CASE WHEN action <> 'raise' THEN seats WHEN merge IS NOT NULL THEN - seats ELSE 0 END,
        'test', status, merge, at, decided
    FROM (VALUES ('reduce', 5, 'done', NULL, timestamptz '2030-01-15 02:00', NULL::timestamptz),
                 ('reduce', 90, 'failed', NULL, '2030-01-15 02:00', NULL),
                 ('reduce', 90, 'done', NULL, '2030-01-14 02:00', NULL),
                 ('raise', 9, 'done', 1, '2030-01-15 02:00', NULL),
                 ('suspend', 9, 'queued', 1, '2030-01-15 02:00', NULL),
                 ('raise', 9, 'done', NULL, '2030-01-15 02:00', NULL)) AS v (action, seats, status, merge, at, decided);
SELECT seats, reason LIKE '%approval%' AS waits FROM spinpanel.plan_adjustment('Limited');
-- approved today, decided about last week
INSERT INTO spinpanel.adjustment (run_id, customer_id, sku_id, action, seats, counted, reason, status, created_at, decided_at, approved)
    VALUES (0, pg_temp.id(2), pg_temp.id(102), 'reduce', 1, 1, 'test', 'done', '2030-01-08', '2030-01-15 03:00', true);
SELECT seats, reason LIKE '%approval%' AS waits FROM spinpanel.plan_adjustment('Limited');
ROLLBACK TO before;

-- What if: other settings for the length of a savepoint; and reading only
CALL pg_temp.customer(2, 'Curious', false);
CALL pg_temp.pool(2, 101, 10, 10, 4);
CALL pg_temp.subscription(21, 2, 101, 10);
SAVEPOINT whatif;
UPDATE spinpanel.relationship SET auto_license_adjustment = true, spare_seats = 2 WHERE customer_id = pg_temp.id(2);
SELECT action, from_quantity, to_quantity FROM spinpanel.plan_adjustment('Curious');
ROLLBACK TO whatif;
SET LOCAL transaction_read_only = on;
SELECT action, from_quantity, to_quantity, adjustment_id, run_id, approved, created_at::date
FROM spinpanel.plan_adjustment('Curious');
SELECT excess, now, blocked_by FROM pg_temp.excess('Curious');
ROLLBACK TO whatif;

-- nothing known, nothing to do
CALL pg_temp.customer(3, 'Empty');
CALL pg_temp.customer(4, 'Tidy');
CALL pg_temp.pool(4, 101, 5, 5, 5);
CALL pg_temp.subscription(24, 4, 101, 5);
SELECT action, reason FROM spinpanel.plan_adjustment('Empty');
SELECT action, reason FROM spinpanel.plan_adjustment('Tidy');
SELECT count(*) FROM spinpanel.excess_seats('Empty');

-- Errors
\set VERBOSITY sqlstate
SAVEPOINT error;
SELECT * FROM spinpanel.excess_seats(NULL);
ROLLBACK TO error;
SELECT * FROM spinpanel.excess_seats('nobody.example');
ROLLBACK TO error;
SELECT * FROM spinpanel.plan_adjustment(NULL);
ROLLBACK TO error;
SELECT * FROM spinpanel.plan_adjustment('*', NULL);
ROLLBACK TO error;
SELECT * FROM spinpanel.plan_adjustment('*', 'infinity');
ROLLBACK;
