-- wait_for_run(): what it returns, and when it cannot.  The worker of this server is switched off.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS spinpanel;
DELETE FROM spinpanel.run;
\set VERBOSITY default
SELECT spinpanel.sync() AS run \gset
-- when the time is over: the row as it stands
SELECT kind, status, run_id = :run AS this_run FROM spinpanel.wait_for_run(:run, '30 ms');
SELECT kind, status FROM spinpanel.wait_for_run(run_id => :run, timeout => '0');
UPDATE spinpanel.run SET status = 'done', customers = 3 WHERE run_id = :run;
-- finished: at once, however long the time
SELECT status, customers FROM spinpanel.wait_for_run(:run, '1000 years');
UPDATE spinpanel.run SET status = 'failed', error = repeat('no ', 3) WHERE run_id = :run;
SELECT status, error FROM spinpanel.wait_for_run(:run);
\set VERBOSITY sqlstate
SELECT spinpanel.wait_for_run(:run, '-1 s');
SELECT spinpanel.wait_for_run(:run, NULL);
SELECT spinpanel.wait_for_run(NULL);
SELECT spinpanel.wait_for_run(-1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT spinpanel.wait_for_run(:run);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT spinpanel.wait_for_run(:run);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT spinpanel.adjust(dry_run => true) AS mine \gset
RELEASE s;
SELECT spinpanel.wait_for_run(:mine);
ROLLBACK;
-- in one statement with what starts it
SELECT spinpanel.wait_for_run(spinpanel.sync());
SELECT count(*) FROM spinpanel.run;
DELETE FROM spinpanel.run;
