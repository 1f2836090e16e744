-- Seats over time: every change of a pool's figures, as read ----------------------------------
--
-- Changes, not daily copies: what did not change needs no row.  Each row says what stands from then on and by how much
-- it differs from before, so that sums over pools at any day are sums of differences.  Months are tables of their own,
-- made when they are needed by whoever writes first (ATTACH waits for no reader), and dropped after
-- spinpanel.seat_history_retention.  Such a table belongs to the database, not to the extension: it is dumped as it is, and
-- has a key of its own.  One of the whole would make a second one, when a dump is restored.

CREATE TABLE seat_history (
    customer_id     uuid NOT NULL,
    sku_id          uuid NOT NULL,
    read_at         timestamptz NOT NULL,
    owned_seats     int NOT NULL,
    active_units    int NOT NULL,
    consumed_units  int NOT NULL,
    owned_change    int NOT NULL,
    active_change   int NOT NULL,
    consumed_change int NOT NULL
) PARTITION BY RANGE (read_at);
COMMENT ON TABLE seat_history IS 'figures of each pool from each change on, in a table for each month';
COMMENT ON COLUMN seat_history.customer_id IS 'the customer';
COMMENT ON COLUMN seat_history.sku_id IS 'the SKU';
COMMENT ON COLUMN seat_history.read_at IS 'it stands from then on';
COMMENT ON COLUMN seat_history.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN seat_history.active_units IS 'seats that can be assigned, as believed';
COMMENT ON COLUMN seat_history.consumed_units IS 'seats assigned, as believed';
COMMENT ON COLUMN seat_history.owned_change IS 'difference to what stood before';
COMMENT ON COLUMN seat_history.active_change IS 'difference to what stood before';
COMMENT ON COLUMN seat_history.consumed_change IS 'difference to what stood before';

CREATE FUNCTION _drop_old_seat_history() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- Whoever reads the history is not waited for: the next month tries again
SET lock_timeout = '10ms' AS $$
DECLARE
    kept    interval := current_setting('spinpanel.seat_history_retention')::interval;
    month   regclass;
    next    timestamptz;
    dropped int := 0;
BEGIN
    IF kept = interval '0' THEN
        RETURN 0;
    END IF;
    FOR month IN
        SELECT i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'spinpanel.seat_history'::regclass
          AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' < (spinpanel._now() - kept) AT TIME ZONE 'UTC'
        ORDER BY c.relname
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE spinpanel.seat_history, %s IN ACCESS EXCLUSIVE MODE', month);
            -- What still stands, with the whole of it as the difference, becomes part of the oldest month that is kept
            next := (to_date(right(month::text, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC';
            PERFORM spinpanel._seat_history_month(next);
            EXECUTE format('INSERT INTO spinpanel.seat_history
                            SELECT DISTINCT ON (h.customer_id, h.sku_id) h.customer_id, h.sku_id, $1, h.owned_seats, h.active_units,
                                   h.consumed_units, h.owned_seats, h.active_units, h.consumed_units
                            FROM %s h ORDER BY h.customer_id, h.sku_id, h.read_at DESC ON CONFLICT DO NOTHING', month) USING next;
            EXECUTE format('DROP TABLE %s', month);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            RETURN dropped;
        END;
    END LOOP;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION _drop_old_seat_history() IS 'internal: drops months older than spinpanel.seat_history_retention that nobody reads; how many';

CREATE FUNCTION _seat_history_month(moment timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _first timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    _name  text := 'seat_history_' || to_char(_first, 'YYYYMM');
    _role  text;
BEGIN
    IF to_regclass(format('spinpanel.%I', _name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE spinpanel.%I (LIKE spinpanel.seat_history INCLUDING ALL, PRIMARY KEY (customer_id, sku_id, read_at))', _name);
    EXECUTE format('COMMENT ON TABLE spinpanel.%I IS %L', _name, 'seat_history of ' || to_char(_first, 'YYYY-MM'));
    -- Default privileges are meant for tables of the database's owner
    FOR _role IN
        SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = format('spinpanel.%I', _name)::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON spinpanel.%I FROM %s', _name, _role);
    END LOOP;
    -- Who may read the whole may read the part
    FOR _role IN
        SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'spinpanel.seat_history'::regclass AND a.privilege_type = 'SELECT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT ON spinpanel.%I TO %s', _name, _role);
    END LOOP;
    EXECUTE format('ALTER TABLE spinpanel.seat_history ATTACH PARTITION spinpanel.%I FOR VALUES FROM (%L) TO (%L)', _name,
                   _first AT TIME ZONE 'UTC', (_first + interval '1 month') AT TIME ZONE 'UTC');
    RETURN true;
END
$$;
COMMENT ON FUNCTION _seat_history_month(timestamptz) IS 'internal: makes the table of a month where it is missing; whether it was';

CREATE FUNCTION _keep_seats() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz := spinpanel._now();
    key    spinpanel.pool;
    owned int; active int; consumed int;            -- before
BEGIN
    key := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    IF TG_OP = 'INSERT' THEN
        -- a pool may come back, after a dump was restored for instance
        SELECT h.owned_seats, h.active_units, h.consumed_units INTO owned, active, consumed
        FROM spinpanel.seat_history h WHERE h.customer_id = key.customer_id AND h.sku_id = key.sku_id ORDER BY h.read_at DESC LIMIT 1;
    ELSE
        owned := OLD.owned_seats; active := OLD.active_units; consumed := OLD.consumed_units;
    END IF;
    IF TG_OP = 'DELETE' THEN
        key.owned_seats := 0; key.active_units := 0; key.consumed_units := 0;
    END IF;
    IF spinpanel._seat_history_month(moment) THEN
        PERFORM spinpanel._drop_old_seat_history();
    END IF;
    UPDATE spinpanel.seat_history h
    SET owned_seats = key.owned_seats, active_units = key.active_units, consumed_units = key.consumed_units,
        owned_change = h.owned_change + key.owned_seats - coalesce(owned, 0), active_change = h.active_change + key.active_units - coalesce(active, 0),
        consumed_change = h.consumed_change + key.consumed_units - coalesce(consumed, 0)
    WHERE h.customer_id = key.customer_id AND h.sku_id = key.sku_id AND h.read_at = moment;
    IF NOT FOUND THEN
        INSERT INTO spinpanel.seat_history (customer_id, sku_id, read_at, owned_seats, active_units, consumed_units, owned_change, active_change, consumed_change)
        VALUES (key.customer_id, key.sku_id, moment, key.owned_seats, key.active_units, key.consumed_units,
                key.owned_seats - coalesce(owned, 0), key.active_units - coalesce(active, 0), key.consumed_units - coalesce(consumed, 0));
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- What is told later must not stop what is done now
    RAISE WARNING 'spinpanel could not keep the history of a pool: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _keep_seats() IS 'internal: keeps what a pool becomes';
CREATE TRIGGER keep_seats AFTER INSERT OR DELETE ON pool FOR EACH ROW EXECUTE FUNCTION _keep_seats();
CREATE TRIGGER keep_seats_changed AFTER UPDATE ON pool FOR EACH ROW
    WHEN ((OLD.owned_seats, OLD.active_units, OLD.consumed_units) IS DISTINCT FROM (NEW.owned_seats, NEW.active_units, NEW.consumed_units))
    EXECUTE FUNCTION _keep_seats();

CREATE VIEW spinpanel_report.seat_change WITH (security_barrier) AS
SELECT h.customer_id,
       h.sku_id,
       h.read_at AS changed_at,
       (h.read_at AT TIME ZONE 'UTC')::date AS changed_on,
       h.owned_seats,
       h.active_units AS assignable_seats,
       h.consumed_units AS assigned_seats,
       h.owned_change,
       h.active_change AS assignable_change,
       h.consumed_change AS assigned_change
FROM spinpanel.seat_history h
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR h.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.seat_change IS 'every change of seats that was read: one row per customer, product and moment, what stands from then on and the difference';
COMMENT ON COLUMN spinpanel_report.seat_change.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.seat_change.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.seat_change.changed_at IS 'when it was read';
COMMENT ON COLUMN spinpanel_report.seat_change.changed_on IS 'when it was read, UTC date';
COMMENT ON COLUMN spinpanel_report.seat_change.owned_seats IS 'seats of our own active, paid subscriptions from then on';
COMMENT ON COLUMN spinpanel_report.seat_change.assignable_seats IS 'seats that can be assigned from then on';
COMMENT ON COLUMN spinpanel_report.seat_change.assigned_seats IS 'seats assigned from then on';
COMMENT ON COLUMN spinpanel_report.seat_change.owned_change IS 'by how many they changed';
COMMENT ON COLUMN spinpanel_report.seat_change.assignable_change IS 'by how many they changed';
COMMENT ON COLUMN spinpanel_report.seat_change.assigned_change IS 'by how many they changed';

CREATE VIEW spinpanel_report.seat_balance_daily WITH (security_barrier) AS
SELECT h.customer_id,
       h.sku_id,
       d.day::date AS day,
       h.owned_seats,
       h.active_units AS assignable_seats,
       h.consumed_units AS assigned_seats,
       greatest(h.active_units - h.consumed_units, 0) AS unused_seats
FROM (
    SELECT x.customer_id, x.sku_id, x.owned_seats, x.active_units, x.consumed_units,
           (x.read_at AT TIME ZONE 'UTC')::date AS first_day,
           lead((x.read_at AT TIME ZONE 'UTC')::date) OVER (PARTITION BY x.customer_id, x.sku_id ORDER BY x.read_at) AS next_day
    FROM spinpanel.seat_history x) h
CROSS JOIN LATERAL generate_series(h.first_day::timestamp, coalesce(h.next_day - 1, ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date)::timestamp, interval '1 day') AS d (day)
WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR h.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v);
COMMENT ON VIEW spinpanel_report.seat_balance_daily IS 'seats at the end of each day (UTC): one row per customer, product and day; for sums over many customers seat_total_daily is the quicker way';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.customer_id IS 'the customer';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.day IS 'the day';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.assignable_seats IS 'seats that can be assigned';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.assigned_seats IS 'seats assigned';
COMMENT ON COLUMN spinpanel_report.seat_balance_daily.unused_seats IS 'assignable seats that nobody has';

CREATE VIEW spinpanel_report.seat_total_daily WITH (security_barrier) AS
SELECT t.sku_id,
       d.day::date AS day,
       t.owned_seats,
       t.active_units AS assignable_seats,
       t.consumed_units AS assigned_seats,
       t.active_units - t.consumed_units AS unused_seats
FROM (
    SELECT s.sku_id, s.first_day, lead(s.first_day) OVER w AS next_day,
           sum(s.owned) OVER w AS owned_seats, sum(s.active) OVER w AS active_units, sum(s.consumed) OVER w AS consumed_units
    FROM (
        SELECT x.sku_id, (x.read_at AT TIME ZONE 'UTC')::date AS first_day, sum(x.owned_change) AS owned,
               sum(x.active_change) AS active, sum(x.consumed_change) AS consumed
        FROM spinpanel.seat_history x
        WHERE (SELECT v.sees_all FROM spinpanel._reader v) OR x.customer_id IN (SELECT v.customer_id FROM spinpanel._visible_customer v)
        GROUP BY 1, 2) s
    WINDOW w AS (PARTITION BY s.sku_id ORDER BY s.first_day)) t
CROSS JOIN LATERAL generate_series(t.first_day::timestamp, coalesce(t.next_day - 1, ((SELECT spinpanel._now()) AT TIME ZONE 'UTC')::date)::timestamp, interval '1 day') AS d (day);
COMMENT ON VIEW spinpanel_report.seat_total_daily IS 'seats of all customers that the reader sees at the end of each day (UTC): one row per product and day';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.sku_id IS 'the product';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.day IS 'the day';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.owned_seats IS 'seats of our own active, paid subscriptions';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.assignable_seats IS 'seats that can be assigned';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.assigned_seats IS 'seats assigned';
COMMENT ON COLUMN spinpanel_report.seat_total_daily.unused_seats IS 'assignable seats less assigned ones';

CREATE FUNCTION spinpanel_report.seats_as_of(moment timestamptz)
RETURNS TABLE (customer_id uuid, sku_id uuid, owned_seats int, assignable_seats int, assigned_seats int, unused_seats int, changed_at timestamptz)
-- Parsed here and now, without SET: so it becomes part of the query that calls it
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT ON (h.customer_id, h.sku_id) h.customer_id, h.sku_id, h.owned_seats, h.assignable_seats, h.assigned_seats,
           greatest(h.assignable_seats - h.assigned_seats, 0), h.changed_at
    FROM spinpanel_report.seat_change h WHERE h.changed_at <= seats_as_of.moment
    ORDER BY h.customer_id, h.sku_id, h.changed_at DESC;
END;
COMMENT ON FUNCTION spinpanel_report.seats_as_of(timestamptz) IS
'The seats of each product at each customer as they were last read at that moment.  No row: nothing was known of it then.';
