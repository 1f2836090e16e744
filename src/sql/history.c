/*
 * history.c
 *
 * Keeps the history as it is, but for prune_history().  A trigger refuses every
 * UPDATE, DELETE and TRUNCATE; only the one DELETE below passes, so that nobody,
 * superusers included, alters the record by mistake.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "state/statement.h"

static bool pruning = false;

/* spinpanel._refuse() trigger */
PG_FUNCTION_INFO_V1(spinpanel_refuse_trigger);

Datum
spinpanel_refuse_trigger(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	if (!pruning || !TRIGGER_FIRED_BY_DELETE(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the history is append-only"),
				 errhint("What happened stays on record. spinpanel.prune_history() deletes what "
						 "is old.")));
	return PointerGetDatum(NULL);
}

/* spinpanel._prune_history(before timestamptz) bigint */
PG_FUNCTION_INFO_V1(spinpanel_prune_history);

Datum
spinpanel_prune_history(PG_FUNCTION_ARGS)
{
	static StateQuery delete = { "DELETE FROM spinpanel.history WHERE at < $1", "T", NULL };
	StateArg args[1];
	uint64 count;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	args[0] = spinpanel_arg_time(PG_GETARG_TIMESTAMPTZ(0));
	PG_TRY();
	{
		pruning = true;
		count = spinpanel_state_run(&delete, args, 0);
	}
	PG_FINALLY();
	{
		pruning = false;
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_INT64((int64) count);
}
