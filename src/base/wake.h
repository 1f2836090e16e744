/*
 * wake.h
 *
 * What worker and callers share in memory: whether a worker runs, and how to
 * wake it.  Facts only; state that matters is in tables.
 */
#ifndef SPINPANEL_WAKE_H
#define SPINPANEL_WAKE_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef struct SpinpanelWorkerFacts
{
	int pid; /* 0 = not running */
	Oid database; /* where it runs */
	TimestampTz started_at;
	TimestampTz last_turn_at; /* last turn of its loop */

	/* These outlive the process, not the server. */
	uint32 starts; /* since a unit of work last succeeded */
	TimestampTz last_success_at; /* a unit of work was committed; 0 = never */
	uint32 failures; /* in a row, of the unit of work that fails most */
	TimestampTz last_error_at;
	char last_error[256]; /* what the last failed unit said, or why the worker idles */
	bool idles; /* it cannot work here; last_error says why */
	uint32 requests_last_minute; /* sent to Partner Center and the token endpoint */
} SpinpanelWorkerFacts;

/* From _PG_init while preloading. */
extern void spinpanel_wake_init(void);

/* The library was preloaded, so that shared memory exists. */
extern bool spinpanel_wake_available(void);

/* Wakes the worker when (and only if) the current transaction commits.  Cheap,
 * any number of times; harmless without preload. */
extern void spinpanel_wake_at_commit(void);

/*
 * Worker only.  A start is counted before the worker connects to its database,
 * so that one that cannot start at all is noticed; returns the number of starts
 * since the last success.
 */
extern uint32 spinpanel_wake_start(void);
extern void spinpanel_wake_announce(void);
extern void spinpanel_wake_connected(void);
extern void spinpanel_wake_heartbeat(void);
/* It leaves on purpose: the next start is a first one. */
extern void spinpanel_wake_rest(void);
/*
 * How a unit of work ended; error is NULL if it was committed.  Failures are
 * counted by activity (a literal): where nothing can be written, say, all that
 * only looks goes on succeeding.
 */
extern void spinpanel_wake_unit_over(const char *activity, const char *error);
/* Why the worker cannot work in this database; NULL: it can. */
extern void spinpanel_wake_idle(const char *reason);
/* A request leaves the machine. */
extern void spinpanel_wake_count_request(void);
/* A wake-up came since the last call. */
extern bool spinpanel_wake_taken(void);

extern bool spinpanel_wake_facts(SpinpanelWorkerFacts *facts);

#endif /* SPINPANEL_WAKE_H */
