-- Setup ---------------------------------------------------------------------------------------

-- What is late, by one definition for check_setup() and the numbers for monitoring
CREATE VIEW _obligation_state AS
SELECT b.look_at, b.problem, r.paused_at IS NOT NULL AS paused,
       coalesce(b.overdue_since, b.look_at) < spinpanel._now() - interval '2 hours' AS late
FROM spinpanel.obligation b JOIN spinpanel.account a ON a.account_id = b.account_id AND a.status <> 'disconnected'
LEFT JOIN spinpanel.relationship r ON r.customer_id = b.customer_id;
COMMENT ON VIEW _obligation_state IS 'internal: what our changes took, and whether it is looked at in time';
COMMENT ON COLUMN _obligation_state.look_at IS 'when it is looked at next';
COMMENT ON COLUMN _obligation_state.problem IS 'why the last look, or giving seats back, did not succeed';
COMMENT ON COLUMN _obligation_state.paused IS 'the customer is paused, so that nothing is put back';
COMMENT ON COLUMN _obligation_state.late IS 'for two hours it could not be looked at, or seats not be given back';

CREATE FUNCTION check_setup(OUT item text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    worker  record;
    account record;
    file    record;
    token   record;
    sign_in record;
    job     record;
    counts  record;
    night   record;
    system  bigint := (SELECT system_identifier FROM pg_control_system());
    moment  timestamptz := spinpanel._now();
    planned text;
    oldest  interval;
BEGIN
    SELECT * INTO worker FROM spinpanel._worker_facts();
    oldest := current_setting('spinpanel.max_data_age')::interval;

    item := 'preload';
    ok := worker.preloaded;
    detail := CASE WHEN ok THEN 'the library is preloaded' ELSE 'the library is not preloaded: there can be no worker' END;
    hint := CASE WHEN NOT ok THEN 'Add spinpanel to shared_preload_libraries and restart the server.' END;
    RETURN NEXT;

    item := 'worker';
    ok := false;
    hint := NULL;
    IF NOT worker.preloaded THEN
        detail := 'not running';
    ELSIF worker.database <> current_database() THEN
        detail := format('it serves database "%s", not this one', worker.database);
        hint := format('Set spinpanel.database to "%s" and restart the server.', current_database());
    ELSIF pg_is_in_recovery() THEN
        ok := true;
        detail := 'not running: this is a standby, it starts at promotion';
    ELSIF NOT worker.enabled THEN
        -- It leaves the database then, and may be between two processes
        detail := 'spinpanel.enabled is off: nothing is read or sent';
        hint := 'Set spinpanel.enabled to on and reload.';
    ELSIF worker.pid IS NULL AND worker.starts = 0 AND worker.last_success_at IS NULL THEN
        detail := 'not running: it was not started since the server was';
        hint := format('If the server''s log says "too many background workers", there was no free slot: raise max_worker_processes (now %s) and restart the server.',
                       current_setting('max_worker_processes'));
    ELSIF worker.pid IS NULL THEN
        detail := 'not running' || coalesce(format('; its last error, of %s: %s', worker.last_error_at, worker.last_error), '');
        hint := 'It starts again by itself, within a minute at most; the server''s log says why it ended.';
    ELSIF worker.last_turn_at < clock_timestamp() - interval '5 minutes' - current_setting('spinpanel.poll_interval')::interval THEN
        detail := format('process %s has done nothing since %s', worker.pid, worker.last_turn_at);
        hint := 'See pg_stat_activity for what it waits for.';
    ELSIF worker.idles THEN
        detail := format('process %s is running, but cannot work here: %s', worker.pid, worker.last_error);
        hint := 'See the server''s log for what to do.';
    ELSIF worker.failures >= 3 THEN
        detail := format('process %s is running, but the same unit of work failed %s times in a row; the last error, of %s: %s', worker.pid,
                         worker.failures, worker.last_error_at, worker.last_error);
        hint := format('It succeeded last at %s. The server''s log has the error with its context.',
                       coalesce(worker.last_success_at::text, 'no time since the server started'));
    ELSE
        ok := true;
        detail := format('process %s is running since %s', worker.pid, worker.started_at);
    END IF;
    RETURN NEXT;

    item := 'pg_cron';
    ok := false;
    hint := NULL;
    SELECT i.schedule INTO planned FROM spinpanel.installation i;
    IF NOT spinpanel._has_pg_cron() THEN
        detail := CASE WHEN current_setting('cron.database_name', true) IS NULL THEN 'not preloaded, or not installed'
                       ELSE format('not in this database but in "%s"; what it does for this one cannot be seen from here',
                                   current_setting('cron.database_name', true)) END;
        hint := 'SELECT spinpanel.schedule(); says what to do.';
    ELSE
        SELECT j.jobid, j.schedule, j.command, j.active, j.username INTO job
        FROM cron.job j WHERE j.jobname = 'spinpanel-nightly' AND j.database = current_database();
        IF NOT FOUND THEN
            detail := CASE WHEN planned IS NULL THEN 'no night is scheduled'
                           ELSE 'job spinpanel-nightly is gone; the worker makes up for the nights' END;
            hint := 'SELECT spinpanel.schedule();';
        ELSIF NOT job.active OR job.command <> 'SELECT spinpanel.nightly()' OR job.schedule IS DISTINCT FROM planned THEN
            detail := format('job %s was changed by hand: %s, %s, %s', job.jobid, job.schedule, job.command,
                             CASE WHEN job.active THEN 'active' ELSE 'not active' END);
            hint := 'SELECT spinpanel.schedule(); puts it right.';
        ELSE
            SELECT d.status, d.return_message, d.start_time INTO counts
            FROM cron.job_run_details d WHERE d.jobid = job.jobid ORDER BY d.runid DESC LIMIT 1;
            ok := NOT FOUND OR counts.status <> 'failed';
            detail := format('job %s, %s UTC, as %s; ', job.jobid, job.schedule, job.username)
                      || CASE WHEN counts.status IS NULL THEN 'no run is recorded'
                              ELSE format('last run %s: %s%s', counts.start_time, counts.status,
                                          CASE WHEN counts.status = 'failed' THEN ', ' || coalesce(counts.return_message, '') END) END;
            hint := CASE WHEN NOT ok THEN 'pg_cron connects as that role to cron.host: pg_hba.conf must let it in, or set cron.use_background_workers.' END;
        END IF;
    END IF;
    RETURN NEXT;

    IF (SELECT count(*) FROM spinpanel.account a WHERE a.status <> 'disconnected') = 0 THEN
        item := 'account';
        ok := false;
        detail := 'no account is connected';
        hint := 'SELECT spinpanel.connect_account(...);';
        RETURN NEXT;
    END IF;
    FOR account IN SELECT a.* FROM spinpanel.account a WHERE a.status <> 'disconnected' ORDER BY a.name LOOP
        item := 'account';
        ok := account.status = 'active';
        detail := format('%s: %s%s, customers last listed %s', account.name, account.status,
                         ', ' || account.status_reason, coalesce(account.customers_read_at::text, 'never'));
        hint := CASE WHEN NOT ok THEN 'status_reason says what to do; it is tried again when the credential file changes, when somebody has signed in (sign_in_url()), or when connect_account is called.' END;
        RETURN NEXT;

        item := 'credential';
        SELECT * INTO file FROM spinpanel._credential_facts(account.credential_file);
        SELECT c.source, c.obtained_at, moment - c.used_at AS unused INTO token FROM spinpanel.credential c
        WHERE c.account_id = account.account_id;
        SELECT i.outcome, i.given_at, i.code IS NOT NULL AS waits INTO sign_in FROM spinpanel.sign_in i
        WHERE i.account_id = account.account_id;
        ok := file.problem IS NULL AND (file.access = 'app+user' OR coalesce(token.source = 'sign_in', false))
              AND NOT file.readable_by_all AND coalesce(token.unused < interval '75 days', true);
        detail := account.name || ': ' || CASE
            WHEN file.problem IS NOT NULL THEN file.problem
            ELSE format('%s, file of %s%s%s%s', CASE WHEN token.source = 'sign_in' THEN 'app+user' ELSE file.access END, file.modified_at,
                        CASE WHEN token.source IS NOT NULL THEN
                            format(', refresh token %s of %s, unused for %s', CASE token.source WHEN 'sign_in' THEN 'signed in for,' ELSE 'kept' END,
                                   token.obtained_at, date_trunc('hour', token.unused)) END,
                        CASE WHEN sign_in.waits THEN ', a sign-in waits for the worker'
                             WHEN sign_in.outcome <> 'done' THEN ', the last sign-in failed: ' || sign_in.outcome END,
                        CASE WHEN file.readable_by_all THEN ', readable by every user of the server''s machine' END) END;
        hint := CASE
            WHEN file.problem IS NOT NULL THEN 'Until it can be read, nothing is read or changed at Partner Center.'
            WHEN file.access = 'app' AND token.source IS DISTINCT FROM 'sign_in' THEN
                format('App-only access cannot read licence usage, so nothing is ever given back. Sign in: SELECT spinpanel.sign_in_url(%L); or add a refresh_token to the file.', account.name)
            WHEN token.unused >= interval '75 days' THEN
                format('A refresh token that is not used for 90 days expires. Let the worker act, or sign in again: SELECT spinpanel.sign_in_url(%L);', account.name)
            WHEN file.readable_by_all THEN format('chmod 600 %s', account.credential_file) END;
        RETURN NEXT;

        item := 'licence access';
        SELECT count(*) FILTER (WHERE a.license_access) AS yes, count(*) FILTER (WHERE NOT a.license_access) AS no,
               count(*) FILTER (WHERE a.license_access IS NULL) AS untried INTO counts
        FROM spinpanel.customer_account a WHERE a.account_id = account.account_id AND a.gone_at IS NULL;
        ok := counts.no = 0;
        detail := format('%s: %s customers can be read, %s refused, %s not tried yet', account.name, counts.yes, counts.no, counts.untried);
        hint := CASE WHEN NOT ok THEN 'A customer needs an active GDAP relationship with a role that may read licences; see license_access in spinpanel.customer_account.' END;
        RETURN NEXT;
    END LOOP;

    item := 'lag';
    SELECT count(*) AS customers, count(*) FILTER (WHERE ca.read_at < moment - oldest) AS stale, min(ca.read_at) AS oldest INTO counts
    FROM (SELECT least(coalesce(x.subscriptions_read_at, '-infinity'),
                       CASE WHEN x.license_access IS FALSE THEN 'infinity' ELSE coalesce(x.subscribed_skus_read_at, '-infinity') END) AS read_at
          FROM spinpanel.customer_account x
          JOIN spinpanel.account a ON a.account_id = x.account_id AND a.status <> 'disconnected'
          JOIN spinpanel.relationship r ON r.customer_id = x.customer_id AND r.partner_center_sync
          WHERE x.gone_at IS NULL) ca;
    ok := counts.stale = 0;
    detail := format('%s customers, %s of them not read within %s, the oldest %s', counts.customers, counts.stale, oldest,
                     CASE WHEN counts.oldest = '-infinity' THEN 'never' ELSE coalesce(counts.oldest::text, '-') END);
    hint := CASE WHEN NOT ok THEN 'Data that old removes nothing. SELECT spinpanel.sync(); reads now.' END;
    RETURN NEXT;

    item := 'open operations';
    SELECT count(*) AS open, count(*) FILTER (WHERE o.status = 'unknown') AS unknown, min(o.created_at) AS oldest INTO counts
    FROM spinpanel.operation o WHERE o.status IN ('queued', 'sending', 'unknown');
    ok := coalesce(counts.oldest > moment - interval '24 hours', true);
    detail := format('%s open, %s of them of unknown outcome, the oldest of %s', counts.open, counts.unknown, coalesce(counts.oldest::text, '-'));
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.operation WHERE status IN (''queued'', ''sending'', ''unknown'') tells why (error, not_before).' END;
    RETURN NEXT;

    item := 'paused';
    SELECT count(*) FILTER (WHERE r.paused_at IS NOT NULL) AS paused, count(*) AS customers, min(r.paused_at) AS since INTO counts
    FROM spinpanel.relationship r JOIN spinpanel.customer c ON c.customer_id = r.customer_id AND c.gone_at IS NULL;
    ok := counts.paused = 0;
    detail := format('%s of %s customers are paused%s', counts.paused, counts.customers, ', the first since ' || counts.since);
    hint := CASE WHEN NOT ok THEN 'Nothing is changed at Partner Center for them, and their requests wait. SELECT spinpanel.resume(); ends it.' END;
    RETURN NEXT;

    -- What our changes took, or will take at a renewal, is watched; this must not be late.
    item := 'obligations';
    SELECT count(*) AS open, count(*) FILTER (WHERE s.paused) AS paused, count(*) FILTER (WHERE s.late) AS late,
           min(s.look_at) AS next, min(s.problem) AS problem INTO counts
    FROM spinpanel._obligation_state s;
    ok := counts.late = 0 AND counts.paused = 0;
    detail := format('%s changes of ours are watched until they have settled, %s of them late, %s of paused customers, the next is looked at %s%s',
                     counts.open, counts.late, counts.paused, coalesce(counts.next::text, '-'), ': ' || counts.problem);
    hint := CASE WHEN counts.paused > 0 THEN 'What we scheduled at a paused customer takes effect and is not put back, however many seats are needed by then: SELECT spinpanel.resume(...).'
                 WHEN NOT ok THEN 'SELECT * FROM spinpanel.obligation WHERE overdue_since IS NOT NULL OR look_at < now() tells which (problem); seats may be missing there.' END;
    RETURN NEXT;

    item := 'last night';
    SELECT r.* INTO night FROM spinpanel.run r WHERE r.kind = 'nightly' ORDER BY r.night DESC LIMIT 1;
    IF FOUND THEN
        ok := night.status <> 'failed' AND night.created_at > moment - interval '26 hours';
        detail := format('%s: %s, %s customers, %s of them failed%s%s', night.night, night.status, night.customers,
                         night.customers_failed, CASE WHEN night.made_up THEN ', made up for by the worker' END, ', ' || night.error);
        hint := CASE WHEN NOT ok THEN 'See run, check the rows above, and SELECT spinpanel.nightly(); starts one now.' END;
    ELSE
        ok := planned IS NULL OR spinpanel._cron_previous(planned, moment) <= (SELECT i.scheduled_at FROM spinpanel.installation i);
        detail := 'there was none yet';
        hint := CASE WHEN NOT ok THEN 'It is due. SELECT spinpanel.nightly(); starts one now.' END;
    END IF;
    RETURN NEXT;

    SELECT count(*) AS n INTO counts FROM spinpanel.adjustment a WHERE a.status = 'awaiting_approval';
    item := 'approvals';
    ok := counts.n = 0;
    detail := format('%s adjustments await approval', counts.n);
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.adjustment WHERE status = ''awaiting_approval''; then approve() or reject().' END;
    RETURN NEXT;

    SELECT c.* INTO counts FROM spinpanel.counter_check c;
    item := 'counters';
    ok := counts.wrong_at IS NULL OR counts.wrong_at < moment - interval '7 days';
    detail := format('%s pools compared%s, %s were wrong and were put right%s', counts.compared,
                     ', the last ones at ' || counts.compared_at, counts.wrong, ', the last one at ' || counts.wrong_at);
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.history WHERE event = ''counters put right''; tells which. Please report it.' END;
    RETURN NEXT;

    item := 'requests';
    SELECT count(*) AS open, min(q.created_at) AS oldest,
           (SELECT count(*) FROM spinpanel.license_request f WHERE f.status = 'failed' AND f.finished_at > moment - interval '24 hours') AS failed
    INTO counts FROM spinpanel.license_request q WHERE q.status IN ('queued', 'buying', 'provisioning', 'assigning');
    ok := coalesce(counts.oldest > moment - interval '24 hours', true) AND counts.failed = 0;
    detail := format('%s open, the oldest of %s; %s failed within 24 hours', counts.open, coalesce(counts.oldest::text, '-'), counts.failed);
    hint := CASE WHEN NOT ok THEN 'SELECT * FROM spinpanel.license_request: state_reason says what an open one waits for, error why one failed; retry_request() tries a failed one again.' END;
    RETURN NEXT;

    item := 'copy';
    SELECT string_agg(a.name, ', ' ORDER BY a.name) AS names INTO counts FROM spinpanel.account a
    WHERE a.status <> 'disconnected'
      AND (a.system_identifier <> system
           OR a.database_oid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
           OR a.table_oid <> 'spinpanel.account'::regclass::oid);
    ok := counts.names IS NULL;
    detail := CASE WHEN ok THEN 'this is the database that connected its accounts'
                   ELSE format('this is a copy of the database that connected %s: nothing is sent', counts.names) END;
    hint := CASE WHEN NOT ok THEN 'If it is to act from now on, and the original no longer does: SELECT spinpanel.activate();' END;
    IF ok THEN
        -- A physical copy has everything alike; the worker knows it by the credential file, which its original holds
        SELECT string_agg(a.name, ', ' ORDER BY a.name) AS names INTO counts FROM spinpanel.account a
        WHERE a.status <> 'disconnected' AND a.idle_reason ~ '^another server on this machine';
        ok := counts.names IS NULL;
        IF NOT ok THEN
            detail := format('another server on this machine acts for %s with the same credential file: nothing is sent', counts.names);
            hint := 'If this is a copy, leave it so. If it is to act, end the other server; this one then goes on by itself.';
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION check_setup() IS
'Looks at everything that has to be right, and says what to do where it is not. item: preload, worker, pg_cron, account, credential, licence access (these three once per account, which the detail names), lag (of reading), open operations, paused (customers), obligations, last night, approvals, requests, counters (a self-check of the figures kept per pool) and copy. It reads the credential files to tell their kind and age; nothing of their content is shown.';

CREATE FUNCTION _abandon_open_work(why text) RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'spinpanel_sql_abandon_open_work';
COMMENT ON FUNCTION _abandon_open_work(text) IS 'internal: open operations, requests and runs end, and what was taken is watched no more, each through the one function that may write its status';

CREATE FUNCTION activate(resume boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here   oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
    system bigint := (SELECT c.system_identifier FROM pg_control_system() c);
    moment timestamptz := spinpanel._now();
    why    constant text := 'cancelled: the database was activated as a copy, without resuming';
    number int;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(activate.resume IS NOT NULL, 'resume');

    WITH changed AS (
        UPDATE spinpanel.account a SET system_identifier = system, database_oid = here,
               table_oid = 'spinpanel.account'::regclass::oid
        WHERE (a.system_identifier, a.database_oid, a.table_oid) IS DISTINCT FROM (system, here, 'spinpanel.account'::regclass::oid)
        RETURNING a.account_id
    )
    INSERT INTO spinpanel.history (at, event, account_id, reason)
    SELECT moment, 'account activated in a copy', c.account_id,
           CASE WHEN activate.resume THEN 'open work goes on' ELSE 'open work is cancelled' END
    FROM changed c;
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number = 0 THEN
        RAISE NOTICE 'this database is no copy: nothing was changed';
        RETURN 0;
    END IF;

    -- A night that the original had is not missed here.
    UPDATE spinpanel.installation i SET scheduled_at = moment WHERE i.schedule IS NOT NULL;
    IF activate.resume THEN
        RETURN number;
    END IF;

    PERFORM spinpanel._move_adjustments(
        ARRAY(SELECT a.adjustment_id FROM spinpanel.adjustment a WHERE a.status IN ('queued', 'awaiting_approval')),
        'skipped', why);

    PERFORM spinpanel._abandon_open_work(why);
    RETURN number;
END
$$;
COMMENT ON FUNCTION activate(boolean) IS
'Lets a copy act: a restored dump, a copied database, a pg_upgraded cluster. Returns the number of accounts that act here from now on; 0, and nothing changed, where this is no copy. Make sure that the original no longer acts: both would change the same subscriptions.
resume: true goes on with what was open (an upgraded cluster), false (the default) cancels open runs, adjustments, requests and operations (a dump of yesterday).
A promoted standby needs this not: it goes on by itself where it has the credential file.
Errors: 22004; 25006 on a standby.';
