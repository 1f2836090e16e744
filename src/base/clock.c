/*
 * clock.c
 *
 * See clock.h.  Owns no state.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/settings.h"

TimestampTz
spinpanel_now(void)
{
	return GetCurrentTimestamp() + (TimestampTz) (spinpanel_clock_offset * USECS_PER_SEC);
}
