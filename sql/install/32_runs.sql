-- Runs --------------------------------------------------------------------------------

-- Called twice in a transaction it is one run.  Equal ones of other
-- transactions are found by the worker, which starts them as one: it waits for
-- no caller, and nobody is given a run that began before what they committed.
CREATE FUNCTION _start_run(kind text, customer_id uuid, dry_run boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    SELECT r.run_id INTO id FROM spinpanel.run r
    WHERE r.status = 'queued' AND r.kind = _start_run.kind AND r.customer_id IS NOT DISTINCT FROM _start_run.customer_id
      AND r.dry_run = _start_run.dry_run AND r.xmin = pg_current_xact_id_if_assigned()::xid
    LIMIT 1;
    IF FOUND THEN
        RETURN id;
    END IF;
    INSERT INTO spinpanel.run AS r (kind, customer_id, dry_run, created_at)
    VALUES (_start_run.kind, _start_run.customer_id, _start_run.dry_run, spinpanel._now()) RETURNING r.run_id INTO id;
    INSERT INTO spinpanel.history (at, event, customer_id, run_id, reason)
    VALUES (spinpanel._now(), 'run queued', _start_run.customer_id, id,
            _start_run.kind || CASE WHEN _start_run.dry_run THEN ', dry run' ELSE '' END);
    RETURN id;
END
$$;
COMMENT ON FUNCTION _start_run(text, uuid, boolean) IS 'internal: queues a run; its id';

CREATE FUNCTION sync(customer text DEFAULT '*') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    RETURN spinpanel._start_run('sync', spinpanel._customer(sync.customer, true), false);
END
$$;
COMMENT ON FUNCTION sync(text) IS
'Asks the worker to read Partner Center, and returns the run''s id; nothing is changed there. customer: ''*'' for customers and, for each with partner_center_sync, its subscriptions, subscribed SKUs and users; a named one''s users'' licences, too.
The run starts when the transaction commits; see wait_for_run. Equal runs that wait at the same time are carried out as one.
Errors: P0002 or 22023 for the customer, 22004; 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION adjust(customer text DEFAULT '*', dry_run boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();
    PERFORM spinpanel._require_value(adjust.dry_run IS NOT NULL, 'dry_run');
    RETURN spinpanel._start_run('adjust', spinpanel._customer(adjust.customer, true), adjust.dry_run);
END
$$;
COMMENT ON FUNCTION adjust(text, boolean) IS
'Asks the worker for an adjustment now, and returns the run''s id: customers with partner_center_sync (or the named one) are read, and where auto_license_adjustment is on, unused seats are given back as the rules and limits allow. dry_run: decisions are only written down, as adjustments of status planned.
The run starts when the transaction commits; see wait_for_run. Equal runs that wait at the same time are carried out as one.
Errors: P0002 or 22023 for the customer, 22004; 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION nightly() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment timestamptz := spinpanel._now();
    today  date := (moment AT TIME ZONE 'UTC')::date;
    id     bigint;
    anew   boolean;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_worker();

    -- The usual second call of a day takes no lock.
    SELECT r.run_id INTO id FROM spinpanel.run r WHERE r.night = today AND r.status <> 'failed';
    IF FOUND THEN
        RETURN id;
    END IF;

    INSERT INTO spinpanel.run AS r (kind, night, created_at) VALUES ('nightly', today, moment)
    ON CONFLICT (night) DO UPDATE SET
        status = 'queued', started_at = NULL, finished_at = NULL, customers = 0, customers_failed = 0,
        listed_accounts = '{}', attempts = 0, not_before = '-infinity', error = NULL, same_as = NULL
    WHERE r.status = 'failed'
    RETURNING r.run_id, r.created_at = moment INTO id, anew;
    IF NOT FOUND THEN           -- somebody else has just done it
        SELECT r.run_id INTO STRICT id FROM spinpanel.run r WHERE r.night = today;
        RETURN id;
    END IF;
    INSERT INTO spinpanel.history (at, event, run_id, reason)
    VALUES (moment, CASE WHEN anew THEN 'run queued' ELSE 'run queued again' END, id, 'nightly, ' || today);
    RETURN id;
END
$$;
COMMENT ON FUNCTION nightly() IS
'Run id of today''s (UTC) adjustment of all customers; there is one per day, however often and by however many it is called. A failed one is queued again. This is what pg_cron calls, see schedule().
Errors: 55000 where the library is not preloaded; 25006 on a standby.';

CREATE FUNCTION wait_for_run(run_id bigint, timeout interval DEFAULT '5 min') RETURNS run
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_wait_for_run';
COMMENT ON FUNCTION wait_for_run(bigint, interval) IS
'Waits until a run is done or failed, and returns its row; when the time is over, the row as it stands.
timeout: real time, not negative. Call it in a statement of its own after the one that started the run has committed.
Errors: 55000 for a run of the current transaction, in a transaction above READ COMMITTED, or where the library is not preloaded; P0002 unknown run; 22023, 22004.';
