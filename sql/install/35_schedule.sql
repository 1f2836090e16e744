-- Schedule ---------------------------------------------------------------------------------

-- True only for the real pg_cron: anybody may have made a schema of that name where it is not installed.
CREATE FUNCTION _has_pg_cron() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_extension e
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                        AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
        WHERE e.extname = 'pg_cron' AND d.objid = to_regclass('cron.job'))
$$;
COMMENT ON FUNCTION _has_pg_cron() IS 'internal: the real pg_cron is in this database';

CREATE FUNCTION schedule(cron text DEFAULT '0 20 * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job_name constant text := 'spinpanel-nightly';
    command  constant text := 'SELECT spinpanel.nightly()';
    home     text := current_setting('cron.database_name', true);
    zone     text := current_setting('cron.timezone', true);     -- newer versions of pg_cron
    line     text := btrim(schedule.cron);
    problem  text;
    job      bigint;
    before   text;
BEGIN
    PERFORM spinpanel._require_primary();
    PERFORM spinpanel._require_value(line IS NOT NULL, 'cron');
    problem := spinpanel._cron_problem(line);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('"%s" is not a cron line: %s', line, problem),
            HINT = 'Five fields in UTC: minute, hour, day of the month, month, day of the week. For example 0 20 * * *.';
    END IF;
    IF NOT spinpanel._has_pg_cron() THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = 'pg_cron is not installed in this database',
            DETAIL = CASE WHEN home IS NULL THEN 'It is not in shared_preload_libraries, either.'
                          ELSE format('It works in database "%s" (cron.database_name).', home) END,
            HINT = CASE WHEN home = current_database() THEN 'Run CREATE EXTENSION pg_cron; and call this again.'
                        ELSE format('%sRun in database "%s": SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                                    CASE WHEN home IS NULL THEN 'Add pg_cron to shared_preload_libraries and restart the server. ' END,
                                    coalesce(home, 'postgres'), job_name, line, command, current_database()) END;
    END IF;
    IF upper(zone) NOT IN ('GMT', 'UTC', 'ETC/UTC') THEN
        RAISE WARNING USING
            MESSAGE = format('pg_cron takes the line as time of %s', zone),
            DETAIL = 'spinpanel''s nights, and the search for missed ones, go by UTC.',
            HINT = 'Set cron.timezone to GMT.';
    END IF;

    IF EXISTS (SELECT FROM generate_series(date_trunc('day', spinpanel._now()) + interval '1 day', spinpanel._now() + interval '400 days',
                                           interval '1 day') AS d (midnight)
               WHERE spinpanel._cron_previous(line, d.midnight) <= d.midnight - interval '24 hours') THEN
        RAISE WARNING USING
            MESSAGE = format('"%s" leaves days out', line),
            DETAIL = 'The last run before a refund window closes, or before a renewal, is taken to be less than 26 hours before it.',
            HINT = 'With days left out, unused seats miss their refund window. A line such as 0 20 * * * runs every day.';
    END IF;

    -- One job, whoever made others of the name before. It belongs to, and runs as, the
    -- owner of the extension: with pg_cron 1.4 a job runs as who called cron.schedule.
    PERFORM cron.unschedule(j.jobid) FROM cron.job j
    WHERE j.jobname = job_name AND j.database = current_database() AND j.username <> current_user;
    job := cron.schedule(job_name, line, command);
    PERFORM cron.alter_job(job, NULL::text, NULL::text, current_database()::text, NULL::text, true);

    SELECT i.schedule INTO before FROM spinpanel.installation i;
    INSERT INTO spinpanel.installation AS i (schedule, scheduled_at, scheduled_by)
    VALUES (line, spinpanel._now(), session_user)
    ON CONFLICT (only_row) DO UPDATE SET
        schedule = excluded.schedule, scheduled_at = excluded.scheduled_at, scheduled_by = excluded.scheduled_by;
    INSERT INTO spinpanel.history (at, event, before, after)
    VALUES (spinpanel._now(), 'night scheduled', jsonb_build_object('schedule', before), jsonb_build_object('schedule', line));
    RETURN job;
END
$$;
COMMENT ON FUNCTION schedule(text) IS
'Has pg_cron call nightly(), and returns the job''s id. cron: five fields, UTC; the default is every day at 20:00, four hours before renewals. There is one job, spinpanel-nightly; calling it again changes the line. It runs as the owner of the extension.
From then on the worker starts a night that pg_cron missed, under the date it was missed on.
Errors: 22023 not a cron line; 55000 pg_cron is not in this database: the hint holds the command to run where it is; 22004; 25006 on a standby.';

CREATE FUNCTION unschedule() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job_name constant text := 'spinpanel-nightly';
    job    bigint;
    before text;
BEGIN
    PERFORM spinpanel._require_primary();
    IF spinpanel._has_pg_cron() THEN
        SELECT max(j.jobid) INTO job FROM cron.job j WHERE j.jobname = job_name AND j.database = current_database();
        PERFORM cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname = job_name AND j.database = current_database();
    ELSE
        RAISE NOTICE USING
            MESSAGE = 'pg_cron is not installed in this database',
            HINT = format('If the job was made elsewhere, run there: SELECT cron.unschedule(%L);', job_name);
    END IF;
    SELECT i.schedule INTO before FROM spinpanel.installation i WHERE i.schedule IS NOT NULL;
    IF FOUND THEN
        UPDATE spinpanel.installation i SET schedule = NULL, scheduled_at = NULL, scheduled_by = NULL;
        INSERT INTO spinpanel.history (at, event, before)
        VALUES (spinpanel._now(), 'night unscheduled', jsonb_build_object('schedule', before));
    END IF;
    RETURN job;
END
$$;
COMMENT ON FUNCTION unschedule() IS
'Ends what schedule() began, and returns the id of the pg_cron job that was removed (NULL: there was none). Missed nights are made up for no longer. Do this before DROP EXTENSION: pg_cron keeps its jobs.
Errors: 25006 on a standby.';

CREATE FUNCTION _cron_next(line text, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due     timestamptz;
    earlier timestamptz;
BEGIN
    FOR days IN 1 .. 366 LOOP
        due := spinpanel._cron_previous(_cron_next.line, _cron_next.moment + make_interval(days => days));
        CONTINUE WHEN due IS NULL OR due <= _cron_next.moment;
        LOOP
            earlier := spinpanel._cron_previous(_cron_next.line, due - interval '1 minute');
            EXIT WHEN earlier IS NULL OR earlier <= _cron_next.moment;
            due := earlier;
        END LOOP;
        RETURN due;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _cron_next(text, timestamptz) IS 'internal: the first minute after moment at which a cron line is due; NULL: none within a year';
