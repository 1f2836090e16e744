/*
 * obligation.h
 *
 * What changes of ours took, or will take at a renewal: seats that somebody may
 * turn out to need.  Each change leaves a row until its effect was seen and has
 * settled:
 *
 *     removed, raised     settle ──► over
 *     scheduled, ended    settle ──► before ──► effect ──► after ──► over
 *
 * settle: settle_time after the change.  before: within the last hour before it
 * takes effect.  effect: until the renewal shows.  after: settle_time after that.
 * Each move is on record; a row that is over is gone.  All functions run inside a
 * unit of the worker.
 */
#ifndef SPINPANEL_OBLIGATION_H
#define SPINPANEL_OBLIGATION_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "state/operation.h"

typedef struct Obligation
{
	int64 obligation_id;
	const char *kind; /* removed, scheduled, ended, raised */
	const char *stage; /* settle, before, effect, after */
	int64 operation_id;
	int64 adjustment_id;
	int64 run_id;
	int32 account_id;
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	pg_uuid_t subscription_id;
	int32 seats; /* what it takes: at most as many come back */
	int32 leaves; /* what a schedule says for the next term */
	int32 owed; /* seats of others that it undid: they come back in any case */
	int32 returned; /* bought back so far */
	bool audit; /* its audit record is still to be seen */
	TimestampTz effective_at;
	TimestampTz look_at;
	TimestampTz overdue_since; /* 0 = it is not */
	TimestampTz created_at;
} Obligation;

/* A pool of which something has to be looked at. */
typedef struct ObligationPool
{
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	int32 account_id; /* of the obligation that is due first */
	pg_uuid_t subscription_id;
	bool audit; /* audit records are to be read, too ... */
	TimestampTz audit_from; /* ... from then on */
	int other_count; /* accounts of ours that sell to this customer, too */
	int32 other_accounts[OUTBOX_OTHERS];
} ObligationPool;

/* The change has been made; the next look is for "settle". */
extern void spinpanel_obligation_add(const Operation *operation, const char *kind, int32 seats,
									 int32 leaves, int32 owed, bool audit, TimestampTz effective_at,
									 TimestampTz look_at);
/* The same of a schedule (ended: of an end): it takes the place of what was set
 * for the subscription's next term before.  seats 0: nothing is taken any more. */
extern void spinpanel_obligation_next_term(const Operation *operation, bool ended, int32 seats,
										   int32 leaves, TimestampTz effective_at,
										   TimestampTz look_at);

/* Pools of customers who are not paused, by these accounts; in context. */
extern int spinpanel_obligation_due(const int32 *accounts, int account_count, int limit,
									ObligationPool **pools, MemoryContext context);
/* When the next one becomes due; DT_NOEND = none. */
extern TimestampTz spinpanel_obligation_next_look(void);

/* All of a pool, the youngest first. */
extern int spinpanel_obligation_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
									 Obligation **obligations);

/* Its figures as they are now: seats, leaves, owed, audit, effective_at. */
extern void spinpanel_obligation_save(const Obligation *obligation);
/* What the next look is for, and when; a stage that it has not is on record. */
extern void spinpanel_obligation_stage(Obligation *obligation, const char *stage,
									   TimestampTz look_at);
/* It could not be done now: trying since when is kept. */
extern void spinpanel_obligation_trouble(Obligation *obligation, TimestampTz look_at,
										 const char *problem);
/* Seats came back, or could not (seats 0): to be looked at again then. */
extern void spinpanel_obligation_returned(int64 obligation_id, int32 seats, TimestampTz look_at);
extern void spinpanel_obligation_over(const Obligation *obligation, const char *reason);

/* In a copy: what the original took is the original's to watch. */
extern void spinpanel_obligation_abandon(const char *reason);
/* One more line of history. */
extern void spinpanel_obligation_record(const Obligation *obligation, int64 operation_id,
										const char *event, const char *reason);

#endif /* SPINPANEL_OBLIGATION_H */
