/*
 * clock.c
 *
 * See clock.h.  Owns no state.
 */
#include "postgres.h"

#include "clock.h"
#include "fmgr.h"
#include "settings.h"

TimestampTz
spinpanel_now(void)
{
	return GetCurrentTimestamp() +
		(TimestampTz) (spinpanel_clock_offset * USECS_PER_SEC);
}

PG_FUNCTION_INFO_V1(spinpanel_sql_now);

/* spinpanel._now() timestamptz */
Datum
spinpanel_sql_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(spinpanel_now());
}
