/*
 * copies.c
 *
 * _abandon_open_work(): what activate() leaves to the original, through the
 * owners of the tables.  It sends nothing and decides about no account.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "state/obligation.h"
#include "state/operation.h"
#include "state/request.h"
#include "state/run.h"

/* _abandon_open_work(why text) void */
PG_FUNCTION_INFO_V1(spinpanel_sql_abandon_open_work);

Datum
spinpanel_sql_abandon_open_work(PG_FUNCTION_ARGS)
{
	char *why;

	if (PG_ARGISNULL(0))
		elog(ERROR, "_abandon_open_work() needs a reason");
	why = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	spinpanel_operation_abandon(why);
	spinpanel_obligation_abandon(why);
	spinpanel_request_abandon(why);
	spinpanel_run_abandon(why);
	SPI_finish();
	PG_RETURN_VOID();
}
