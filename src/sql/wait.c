/*
 * wait.c
 *
 * A caller waits until the worker has brought a row to its end.  Knows neither
 * what the row is nor what the worker does with it; writes nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "sql/require.h"
#include "sql/wait.h"

/* Looking costs a query: often at first, then less so. */
#define LOOK_MS_FIRST 10
#define LOOK_MS_LAST 250

static int64
milliseconds_of(const Interval *interval)
{
	double ms = (interval->month * (double) DAYS_PER_MONTH + interval->day) * 86400000.0 +
				interval->time / 1000.0;

	if (ms < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"timeout\" must not be negative")));
	return (int64) Min(ms, 1e12);
}

/* Was the row written or locked by this transaction?  (A lock shared with others does
 * not tell, and is none of ours.) */
static bool
is_ours(int column)
{
	bool isnull;
	Datum xid;

	if (SPI_tuptable->tupdesc->natts < column)
		return false;
	xid = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);
	return !isnull && TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xid));
}

/*
 * One look, with a snapshot of its own: at READ COMMITTED each statement run
 * through SPI (not read-only) gets a new one.  The row is returned in the
 * caller's context.
 */
static Datum
look(const Awaited *awaited, int64 id, bool *ended)
{
	StateArg args[1];
	bool isnull;
	Datum row;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	args[0] = spinpanel_arg_int64(id);
	if (spinpanel_state_run(awaited->query, args, 1) == 0 &&
		(awaited->archived == NULL || spinpanel_state_run(awaited->archived, args, 1) == 0))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("%s " INT64_FORMAT " does not exist", awaited->what, id)));
	*ended = spinpanel_row_bool(0, 2);
	if (is_ours(3) || is_ours(4))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait for %s " INT64_FORMAT
							   ": it was written or locked by the current transaction",
							   awaited->what, id),
						errdetail("The worker can go on with it only after this transaction has "
								  "committed."),
						errhint("Commit first, then wait in a statement of its own.")));
	row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	row = SPI_datumTransfer(row, false, -1);
	SPI_finish();
	return row;
}

Datum
spinpanel_await(FunctionCallInfo fcinfo, const Awaited *awaited, const char *id_parameter)
{
	static uint32 wait_event = 0;
	MemoryContext scratch;
	MemoryContext caller = CurrentMemoryContext;
	int64 id;
	TimestampTz until;
	int64 left;
	long delay = LOOK_MS_FIRST;
	Datum row;
	bool ended;

	spinpanel_require_value(!PG_ARGISNULL(0), id_parameter);
	spinpanel_require_value(!PG_ARGISNULL(1), "timeout");
	id = PG_GETARG_INT64(0);
	/* Real time: callers wait in it. */
	until = GetCurrentTimestamp() + milliseconds_of(PG_GETARG_INTERVAL_P(1)) * 1000;

	spinpanel_require_worker();
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait for a %s in a transaction above READ COMMITTED",
							   awaited->what),
						errdetail("It would never see what the worker does meanwhile.")));
	if (wait_event == 0)
		wait_event = SpinpanelWaitEvent("SpinpanelCaller");

	scratch = AllocSetContextCreate(caller, "spinpanel wait", ALLOCSET_SMALL_SIZES);
	for (;;)
	{
		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		row = look(awaited, id, &ended);
		MemoryContextSwitchTo(caller);

		left = (until - GetCurrentTimestamp()) / 1000;
		if (ended || left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(delay, (long) left), wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		delay = Min(delay + delay / 8 + 1, LOOK_MS_LAST);
	}
	/* The row lies in scratch, which goes with the caller's context. */
	return row;
}
