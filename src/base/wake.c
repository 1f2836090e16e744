/*
 * wake.c
 *
 * The shared memory segment: which worker runs, and a counter of wake-ups.
 * A caller wakes the worker at commit, never earlier: before that the worker
 * would not see the row and go back to sleep.  A wake-up may be lost (COMMIT
 * PREPARED wakes nobody) or come for nothing (a rolled-back savepoint); the
 * worker polls as well and both are harmless.
 *
 * The segment also holds what monitoring asks of the worker: whether its units
 * of work succeed, what the last error was, how many requests it sends.
 *
 * No pointer to private memory, no descriptor and nothing that must survive a
 * crash may ever be put here: after a crash the segment starts empty.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "base/compat.h"
#include "base/wake.h"

typedef struct WakeSegment
{
	slock_t mutex; /* protects all but the counter */
	SpinpanelWorkerFacts facts;
	Latch *latch; /* the worker's, in its PGPROC (shared memory) */
	pg_atomic_uint32 wakes;
} WakeSegment;

static WakeSegment *segment = NULL;
static bool callback_registered = false;
static bool wake_pending = false;
static uint32 wakes_seen = 0;

/*
 * Kinds of work that failed when they were last tried (the worker's own
 * memory).  What was not tried for longer than anything is put off is no news
 * any more.
 */
#define TROUBLES 16
#define TROUBLE_LASTS_US (15 * 60 * USECS_PER_SEC)

typedef struct Trouble
{
	const char *activity; /* NULL = none */
	uint32 failures; /* in a row */
	TimestampTz failed_at;
} Trouble;

static Trouble troubles[TROUBLES];

/* Requests sent, by second, of the last minute (the worker's own memory) */
static uint32 sent[60];
static int64 sent_second = 0;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
wake_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(WakeSegment)));
}

static void
wake_startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	segment = ShmemInitStruct("spinpanel", sizeof(WakeSegment), &found);
	if (!found)
	{
		memset(segment, 0, sizeof(WakeSegment));
		SpinLockInit(&segment->mutex);
		pg_atomic_init_u32(&segment->wakes, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
spinpanel_wake_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = wake_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = wake_startup;
}

bool
spinpanel_wake_available(void)
{
	return segment != NULL;
}

static void
wake_worker(void)
{
	Latch *latch;

	pg_atomic_fetch_add_u32(&segment->wakes, 1);
	SpinLockAcquire(&segment->mutex);
	latch = segment->latch;
	SpinLockRelease(&segment->mutex);

	/*
	 * The worker may have gone since; its PGPROC then belongs to nobody or to
	 * another process, for which a set latch is nothing unusual.
	 */
	if (latch != NULL)
		SetLatch(latch);
}

/* May not throw: the transaction has committed. */
static void
wake_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (wake_pending)
			{
				wake_pending = false;
				wake_worker();
			}
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_pending = false;
			break;
		default:
			break;
	}
}

void
spinpanel_wake_at_commit(void)
{
	if (segment == NULL)
		return;
	if (!callback_registered)
	{
		RegisterXactCallback(wake_xact_callback, NULL);
		callback_registered = true;
	}
	wake_pending = true;
}

/* A successor may already have announced itself: clear only what is ours. */
static void
wake_leave(int code, Datum arg)
{
	SpinLockAcquire(&segment->mutex);
	if (segment->facts.pid == MyProcPid)
	{
		segment->facts.pid = 0;
		segment->facts.database = InvalidOid;
		segment->facts.idles = false;
		segment->facts.requests_last_minute = 0;
		segment->latch = NULL;
	}
	SpinLockRelease(&segment->mutex);
}

uint32
spinpanel_wake_start(void)
{
	uint32 starts;

	SpinLockAcquire(&segment->mutex);
	starts = ++segment->facts.starts;
	SpinLockRelease(&segment->mutex);
	return starts;
}

void
spinpanel_wake_announce(void)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&segment->mutex);
	segment->facts.pid = MyProcPid;
	segment->facts.started_at = now;
	segment->facts.last_turn_at = now;
	segment->latch = &MyProc->procLatch;
	SpinLockRelease(&segment->mutex);
	before_shmem_exit(wake_leave, (Datum) 0);
}

void
spinpanel_wake_connected(void)
{
	SpinLockAcquire(&segment->mutex);
	segment->facts.database = MyDatabaseId;
	SpinLockRelease(&segment->mutex);
}

/* Forgets the seconds that are more than a minute ago. */
static uint32
requests_last_minute(void)
{
	int64 second = GetCurrentTimestamp() / USECS_PER_SEC;
	uint32 sum = 0;
	int i;

	if (second - sent_second >= 60)
		memset(sent, 0, sizeof(sent));
	else
		for (; sent_second < second; sent_second++)
			sent[(sent_second + 1) % 60] = 0;
	sent_second = second;
	for (i = 0; i < 60; i++)
		sum += sent[i];
	return sum;
}

void
spinpanel_wake_count_request(void)
{
	(void) requests_last_minute();
	sent[sent_second % 60]++;
}

/* Failures in a row of what fails most. */
static uint32
most_failures(TimestampTz now)
{
	uint32 most = 0;
	int i;

	for (i = 0; i < TROUBLES; i++)
	{
		if (troubles[i].failed_at < now - TROUBLE_LASTS_US)
			troubles[i].failures = 0;
		most = Max(most, troubles[i].failures);
	}
	return most;
}

/* Of more kinds than there is room for, those that failed last are kept. */
static void
count_failure(const char *activity, TimestampTz now)
{
	Trouble *trouble = &troubles[0];
	int i;

	for (i = 0; i < TROUBLES; i++)
	{
		if (troubles[i].activity != NULL && strcmp(troubles[i].activity, activity) == 0)
		{
			trouble = &troubles[i];
			break;
		}
		if (troubles[i].failed_at < trouble->failed_at)
			trouble = &troubles[i];
	}
	if (i == TROUBLES)
	{
		trouble->activity = activity;
		trouble->failures = 0;
	}
	trouble->failures++;
	trouble->failed_at = now;
}

static void
forget_failures(const char *activity)
{
	int i;

	for (i = 0; i < TROUBLES; i++)
		if (troubles[i].activity != NULL && strcmp(troubles[i].activity, activity) == 0)
			memset(&troubles[i], 0, sizeof(Trouble));
}

void
spinpanel_wake_heartbeat(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32 requests = requests_last_minute();
	uint32 failures = most_failures(now);

	SpinLockAcquire(&segment->mutex);
	segment->facts.last_turn_at = now;
	segment->facts.requests_last_minute = requests;
	segment->facts.failures = failures;
	SpinLockRelease(&segment->mutex);
}

void
spinpanel_wake_rest(void)
{
	SpinLockAcquire(&segment->mutex);
	segment->facts.starts = 0;
	SpinLockRelease(&segment->mutex);
}

void
spinpanel_wake_unit_over(const char *activity, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32 failures;

	if (error == NULL)
		forget_failures(activity);
	else
		count_failure(activity, now);
	failures = most_failures(now);

	SpinLockAcquire(&segment->mutex);
	segment->facts.failures = failures;
	if (error == NULL)
	{
		segment->facts.starts = 0;
		segment->facts.last_success_at = now;
	}
	else
	{
		segment->facts.last_error_at = now;
		strlcpy(segment->facts.last_error, error, sizeof(segment->facts.last_error));
	}
	SpinLockRelease(&segment->mutex);
}

void
spinpanel_wake_idle(const char *reason)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&segment->mutex);
	segment->facts.idles = reason != NULL;
	if (reason != NULL)
	{
		segment->facts.last_error_at = now;
		strlcpy(segment->facts.last_error, reason, sizeof(segment->facts.last_error));
	}
	SpinLockRelease(&segment->mutex);
}

bool
spinpanel_wake_taken(void)
{
	uint32 wakes = pg_atomic_read_u32(&segment->wakes);

	if (wakes == wakes_seen)
		return false;
	wakes_seen = wakes;
	return true;
}

bool
spinpanel_wake_facts(SpinpanelWorkerFacts *facts)
{
	if (segment == NULL)
		return false;
	SpinLockAcquire(&segment->mutex);
	*facts = segment->facts;
	SpinLockRelease(&segment->mutex);
	return facts->pid != 0;
}
