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
} SpinpanelWorkerFacts;

/* From _PG_init while preloading. */
extern void spinpanel_wake_init(void);

/* The library was preloaded, so that shared memory exists. */
extern bool spinpanel_wake_available(void);

/* Wakes the worker when (and only if) the current transaction commits.  Cheap,
 * any number of times; harmless without preload. */
extern void spinpanel_wake_at_commit(void);

/* Worker only: announce, heartbeat, leave. */
extern void spinpanel_wake_announce(void);
extern void spinpanel_wake_heartbeat(void);
/* A wake-up came since the last call. */
extern bool spinpanel_wake_taken(void);

extern bool spinpanel_wake_facts(SpinpanelWorkerFacts *facts);

#endif /* SPINPANEL_WAKE_H */
