/*
 * throttle.c
 *
 * A token bucket with a reserve for urgent requests.  Must never look at a
 * clock or include a PostgreSQL header.
 *
 * The promise is that no window of 60 seconds, wherever it begins, sees more
 * than per_minute requests: a full bucket and a minute of refill together are
 * at most per_minute.  So the refill is the limit less the capacity.
 *
 * The reserve is a level, not a rate: ordinary requests leave the last fifth of
 * the bucket alone, so an urgent one finds it filled.  All of the refill goes
 * to ordinary requests as long as no urgent one takes any; that is how the
 * reserve is lent.
 */
#include <math.h>

#include "base/throttle.h"

/* What the bucket holds, in seconds of the limit. */
#define BURST_SECONDS 2.0
#define RESERVED_PART 0.2

static void
set_limits(SpinpanelThrottle *throttle, int per_minute)
{
	double per_minute_left;

	if (per_minute < 1)
		per_minute = 1;
	throttle->per_minute = per_minute;
	throttle->capacity = per_minute * BURST_SECONDS / 60.0;
	if (throttle->capacity < 1.0)
		throttle->capacity = 1.0;
	throttle->reserve = throttle->capacity * RESERVED_PART;
	/* An ordinary request must fit beside the reserve, or none ever leaves. */
	if (throttle->reserve > throttle->capacity - 1.0)
		throttle->reserve = throttle->capacity - 1.0;
	per_minute_left = per_minute - throttle->capacity;
	/* One a minute: a full bucket would forbid any refill at all. */
	if (per_minute_left < per_minute / 2.0)
		per_minute_left = per_minute / 2.0;
	throttle->per_ms = per_minute_left / 60000.0;
}

static double
level_at(const SpinpanelThrottle *throttle, int64_t now_ms)
{
	double level = throttle->level;

	/* A clock that went back refills nothing. */
	if (now_ms > throttle->at)
		level += (double) (now_ms - throttle->at) * throttle->per_ms;
	return level > throttle->capacity ? throttle->capacity : level;
}

void
spinpanel_throttle_start(SpinpanelThrottle *throttle, int per_minute, int64_t now_ms)
{
	set_limits(throttle, per_minute);
	throttle->level = throttle->capacity;
	throttle->at = now_ms;
}

void
spinpanel_throttle_change(SpinpanelThrottle *throttle, int per_minute, int64_t now_ms)
{
	double used;

	throttle->level = level_at(throttle, now_ms);
	throttle->at = now_ms;
	used = throttle->capacity - throttle->level;
	set_limits(throttle, per_minute);
	throttle->level = throttle->capacity - used;
	if (throttle->level < 0.0)
		throttle->level = 0.0;
}

/* Not exactly 1: sums of refills miss it by rounding. */
static double
needed(const SpinpanelThrottle *throttle, bool urgent)
{
	return (urgent ? 1.0 : 1.0 + throttle->reserve) - 1e-9;
}

bool
spinpanel_throttle_take(SpinpanelThrottle *throttle, bool urgent, int64_t now_ms)
{
	throttle->level = level_at(throttle, now_ms);
	throttle->at = now_ms;
	if (throttle->level < needed(throttle, urgent))
		return false;
	throttle->level -= 1.0;
	return true;
}

int64_t
spinpanel_throttle_wait(const SpinpanelThrottle *throttle, bool urgent, int64_t now_ms)
{
	double missing = needed(throttle, urgent) - level_at(throttle, now_ms);

	if (missing <= 0.0)
		return 0;
	return (int64_t) ceil(missing / throttle->per_ms);
}

void
spinpanel_throttle_drain(SpinpanelThrottle *throttle, int64_t now_ms)
{
	throttle->level = 0.0;
	throttle->at = now_ms;
}
