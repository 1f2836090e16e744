/*
 * adjustments.c
 *
 * _move_adjustments(): SQL's way to the one function that changes the status
 * of adjustments.  It must never decide which rows those are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "state/adjustment.h"

/* _move_adjustments(ids bigint[], status text, why text) void */
PG_FUNCTION_INFO_V1(spinpanel_sql_move_adjustments);

Datum
spinpanel_sql_move_adjustments(PG_FUNCTION_ARGS)
{
	Datum *elements;
	int64 *ids;
	char *status;
	char *why;
	int count;
	int i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "_move_adjustments() needs ids and a status");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, NULL, &count);
	ids = palloc(sizeof(int64) * (count + 1));
	for (i = 0; i < count; i++)
		ids[i] = DatumGetInt64(elements[i]);
	status = text_to_cstring(PG_GETARG_TEXT_PP(1));
	why = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	spinpanel_adjustment_move(ids, count, status, why);
	SPI_finish();
	PG_RETURN_VOID();
}
