/*
 * throttle.h
 *
 * A token bucket with a reserve for urgent requests.  Pure: the time is passed
 * in, nothing is allocated, no PostgreSQL header.
 */
#ifndef SPINPANEL_THROTTLE_H
#define SPINPANEL_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct SpinpanelThrottle
{
	int per_minute;
	double capacity; /* requests that may leave at once */
	double reserve; /* the part of it kept for urgent ones */
	double per_ms; /* refill */
	double level;
	int64_t at; /* when level was right */
} SpinpanelThrottle;

/* Starts full. */
extern void spinpanel_throttle_start(SpinpanelThrottle *throttle, int per_minute, int64_t now_ms);
/* Takes over another limit; what was used stays used. */
extern void spinpanel_throttle_change(SpinpanelThrottle *throttle, int per_minute, int64_t now_ms);
/* Takes one request out; false: not yet. */
extern bool spinpanel_throttle_take(SpinpanelThrottle *throttle, bool urgent, int64_t now_ms);
/* Milliseconds until a request could be taken; 0 = now. */
extern int64_t spinpanel_throttle_wait(const SpinpanelThrottle *throttle, bool urgent,
									   int64_t now_ms);
/* The server says that we were too fast: start again from nothing. */
extern void spinpanel_throttle_drain(SpinpanelThrottle *throttle, int64_t now_ms);

#endif /* SPINPANEL_THROTTLE_H */
