-- A mirror of :n customers as scenario scale:N of the emulator makes them, written by hand as if it had been read an hour
-- ago: five pools each, of which two thirds have a seat or two unused, and no date is near.  For test/bench/night; as a
-- superuser.
--
--   psql -v n=340000 -v account=1 [-v digests=FILE] -f fill.sql
--
-- FILE has lines of customer and digest (fetch's), so that a night finds the answers unchanged.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SET synchronous_commit = off;
BEGIN;
-- Triggers would leave five marks for each customer; one for everybody does as well.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname ~ '^(void_excess|forget)' LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', t.relation, t.tgname);
    END LOOP;
END
$$;
CREATE TEMP TABLE part AS
SELECT n - 1 AS n, product, part_number, ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid AS sku_id
FROM unnest(ARRAY['CFQ7TTC0LCHC:0002', 'CFQ7TTC0HL8W:0001', 'CFQ7TTC0LHT4:0001', 'CFQ7TTC0HD32:0001', 'CFQ7TTC0LHSL:0001'],
            ARRAY['SPB', 'POWER_BI_PRO', 'EMS', 'VISIOCLIENT', 'MCOMEETADV']) WITH ORDINALITY AS p (product, part_number, n);
CREATE TEMP TABLE made AS
SELECT i, ('5ca1e000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS customer_id FROM generate_series(0, :n - 1) i;
INSERT INTO spinpanel.sku (sku_id, part_number, name, consumption_seen) SELECT sku_id, part_number, part_number, true FROM part;
INSERT INTO spinpanel.offer (offer_key, sku_id, minimum, maximum, is_trial, source, attempts, read_at, limits_read_at)
SELECT product, sku_id, 1, 300, false, 'catalogue', 1, now(), now() FROM part;
INSERT INTO spinpanel.customer (customer_id, name, domain, country, first_seen_at)
SELECT customer_id, 'Scale Customer ' || lpad((i + 1)::text, 6, '0'), 'customer' || i + 1 || '.example', 'US', now() - interval '40 days' FROM made;
INSERT INTO spinpanel.relationship (customer_id, auto_license_adjustment) SELECT customer_id, true FROM made;
INSERT INTO spinpanel.customer_account (customer_id, account_id, relationship, listed_at, looked_at, license_access, subscriptions_read_at,
    subscriptions_hash, subscriptions_fetched_at, subscribed_skus_read_at, subscribed_skus_hash, users_read_at)
SELECT customer_id, :account, 'reseller', now() - interval '1 hour', now() - interval '1 hour', true, now() - interval '1 hour',
    decode(md5('subscriptions' || i), 'hex'), now() - interval '1 hour', now() - interval '1 hour', decode(md5('skus' || i), 'hex'), NULL
FROM made;
CREATE TEMP TABLE seats AS
SELECT m.i, m.customer_id, p.n, p.product, p.part_number, p.sku_id, 5 + (m.i + p.n) % 7 AS quantity, 5 + (m.i + p.n) % 7 - (m.i + p.n) % 3 AS consumed,
    date_trunc('day', now(), 'UTC') - (60 + (m.i * 13 + p.n * 41) % 200) * interval '1 day' AS started
FROM made m CROSS JOIN part p;
INSERT INTO spinpanel.subscription (subscription_id, account_id, customer_id, offer_id, offer_key, offer_name, friendly_name, sku_id, commerce,
    quantity, status, term_duration, billing_cycle, auto_renew, is_trial, created_at, effective_start, commitment_end, term_end,
    cancellation_allowed_until, order_id, first_seen_at, changed_at)
SELECT ('5ca1e0' || lpad(to_hex(n), 2, '0') || '-0000-4000-9000-' || lpad(to_hex(i), 12, '0'))::uuid, :account, customer_id, product || ':CFQ7TTC0K971',
    product, part_number, part_number, sku_id, 'nce', quantity, 'active', 'P1Y', 'monthly', true, false, started, started,
    started + interval '1 year' - interval '1 day', started + interval '1 year', started + interval '7 days', 'order' || i, now() - interval '40 days',
    now() - interval '40 days'
FROM seats;
INSERT INTO spinpanel.subscribed_sku (customer_id, sku_id, part_number, target_type, license_group, active_units, warning_units, suspended_units,
    consumed_units, total_units, available_units, capability_status, changed_at)
SELECT customer_id, sku_id, part_number, 'User', 'group1', quantity, 0, 0, consumed, quantity, quantity - consumed, 'Enabled', now() - interval '40 days'
FROM seats;
INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats, active_units, consumed_units, consumption_seen)
SELECT customer_id, sku_id, quantity, quantity, consumed, true FROM seats;
INSERT INTO spinpanel.pool_reading (customer_id, sku_id, read_at, seats, consumed)
SELECT customer_id, sku_id, now() - interval '29 days', quantity, consumed FROM seats;
\if :{?digests}
CREATE TEMP TABLE digest (customer_id uuid, digest bytea);
\set from 'COPY digest FROM ' :'digests'
:from;
UPDATE spinpanel.customer_account a SET subscribed_skus_hash = d.digest FROM digest d WHERE d.customer_id = a.customer_id;
\endif
UPDATE spinpanel.account SET customers_read_at = now() - interval '1 hour' WHERE account_id = :account;
INSERT INTO spinpanel.excess_void DEFAULT VALUES;
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname ~ '^(void_excess|forget)' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.relation, t.tgname);
    END LOOP;
END
$$;
COMMIT;
-- As after many a night: no row waits to be hinted
VACUUM ANALYZE;
