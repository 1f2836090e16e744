-- The night in pg_cron: one job, of the owner, that calls nightly(); and the worker knows of it.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pg_cron;
CREATE ROLE regress_spinpanel_other SUPERUSER;
CREATE ROLE regress_spinpanel_admin;
SELECT spinpanel.grant_role('admin', 'regress_spinpanel_admin');

-- an old job of somebody else goes
SET LOCAL SESSION AUTHORIZATION regress_spinpanel_other;
SELECT cron.schedule('spinpanel-nightly', '1 1 * * *', 'SELECT 1') IS NOT NULL AS somebody_elses;
RESET SESSION AUTHORIZATION;

SET LOCAL ROLE regress_spinpanel_admin;
SELECT spinpanel.schedule() IS NOT NULL AS scheduled;
RESET ROLE;
SELECT jobname, schedule, command, database = current_database() AS here, username = current_user AS the_owners, active FROM cron.job;
SELECT schedule, scheduled_at IS NOT NULL AS since, scheduled_by = session_user AS by_me FROM spinpanel.installation;

-- what is scheduled is what is called
SELECT command FROM cron.job \gset
:command IS NOT NULL AS called;
SELECT kind, status, night = (now() AT TIME ZONE 'UTC')::date AS today FROM spinpanel.run;

-- again: the same job, and switched on whatever somebody did to it
SELECT jobid AS job FROM cron.job \gset
SELECT cron.alter_job(:job, active := false);
SET LOCAL client_min_messages = warning;
SELECT spinpanel.schedule(' 30 21 * * mon-fri ') = :job AS same_job;
SET LOCAL client_min_messages = error;
SELECT schedule, active FROM cron.job;
SELECT schedule FROM spinpanel.installation;
SELECT ok, replace(regexp_replace(detail, '[0-9]+', 'N'), current_user, 'OWNER') AS detail FROM spinpanel.check_setup() WHERE item = 'pg_cron';

SELECT spinpanel.unschedule() = :job AS removed;
SELECT count(*) FROM cron.job;
SELECT schedule, scheduled_at FROM spinpanel.installation;
SELECT spinpanel.unschedule() AS nothing_left;
SELECT event, before, after FROM spinpanel.history WHERE event LIKE 'night%' ORDER BY history_id;
ROLLBACK;
