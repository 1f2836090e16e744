/*
 * backoff.c
 *
 * How long to wait after the n-th failure in a row.  Must never look at a
 * clock, draw a random number or include a PostgreSQL header.
 *
 * Half of the delay is certain and half is chance: with no certain part two
 * clients that failed together may come back at once, with no chance they come
 * back together.
 */
#include "base/backoff.h"

int64_t
spinpanel_backoff_delay(int failures, int64_t base_ms, int64_t cap_ms, double random)
{
	int64_t delay = base_ms;

	if (failures < 1 || base_ms < 1)
		return 0;
	if (cap_ms < 1)
		cap_ms = 1;
	/* Stops at the cap, so that no number of failures can overflow. */
	while (--failures > 0 && delay < cap_ms)
		delay = delay > cap_ms / 2 ? cap_ms : delay * 2;
	if (delay > cap_ms)
		delay = cap_ms;
	/* Also false for not-a-number. */
	if (!(random >= 0.0))
		random = 0.0;
	if (random > 1.0)
		random = 1.0;
	return delay - delay / 2 + (int64_t) ((double) (delay / 2) * random);
}
