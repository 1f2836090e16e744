/*
 * runs.c
 *
 * What a caller's session does about runs in C: waiting for one, and waking
 * the worker at commit after rows that it has to look at were written.  The
 * rest of the entry points for runs is SQL.  Writes nothing.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "base/wake.h"
#include "sql/wait.h"

/* spinpanel.wait_for_run(run_id bigint, timeout interval) run */
PG_FUNCTION_INFO_V1(spinpanel_wait_for_run);

Datum
spinpanel_wait_for_run(PG_FUNCTION_ARGS)
{
	static StateQuery select = {
		"SELECT r, r.status IN ('done', 'failed'), r.xmin FROM spinpanel.run r WHERE r.run_id = $1",
		"I", NULL
	};
	static const Awaited run = { &select, "run", NULL };

	PG_RETURN_DATUM(spinpanel_await(fcinfo, &run, "run_id"));
}

/*
 * After a statement that gives the worker something to do.  What the worker
 * writes itself does not wake it: it would never sleep again.
 */
PG_FUNCTION_INFO_V1(spinpanel_wake_trigger);

Datum
spinpanel_wake_trigger(PG_FUNCTION_ARGS)
{
	SpinpanelWorkerFacts facts;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("spinpanel._wake() must be called as a trigger")));
	if (!spinpanel_wake_facts(&facts) || facts.pid != MyProcPid)
		spinpanel_wake_at_commit();
	return PointerGetDatum(NULL); /* not an SQL null */
}
