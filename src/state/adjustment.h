/*
 * adjustment.h
 *
 * The table adjustment: decisions of runs, and purchases that a person has to
 * approve.  Rows are added and change their status here and nowhere else.
 */
#ifndef SPINPANEL_ADJUSTMENT_H
#define SPINPANEL_ADJUSTMENT_H

#include "postgres.h"

#include "utils/date.h"
#include "utils/uuid.h"

#include "state/operation.h"

/* A row to be added.  0 and NULL mean "none". */
typedef struct NewAdjustment
{
	int64 run_id; /* 0 = a purchase for requests */
	int32 account_id;
	const pg_uuid_t *customer_id;
	const pg_uuid_t *sku_id;
	const pg_uuid_t *subscription_id;
	const char *action;
	int32 rule;
	bool has_quantities;
	int32 from_quantity;
	int32 to_quantity;
	int32 seats;
	int32 counted; /* seats that count towards the removal limit; raises of a merge < 0 */
	bool has_effective;
	DateADT effective_on;
	const char *reason;
	const char *status; /* planned, awaiting_approval, queued or skipped */
	int32 merge;
} NewAdjustment;

/* Adds a row; what is queued or awaits approval goes on record, and the latter
 * is announced by NOTIFY. */
extern int64 spinpanel_adjustment_add(const NewAdjustment *adjustment);

/*
 * Moves rows to another status: the only place that does.  It writes history,
 * sets finished_at, and announces final states by NOTIFY (where the caller is
 * not the worker, the worker does so soon after the commit).  A move that the
 * table of states does not have is an error.
 *
 *   awaiting_approval  -> queued, rejected   a person decided: why is what they said
 *   awaiting_approval  -> superseded, skipped
 *   queued             -> done, failed, skipped
 *
 * why goes into history and, unless a person decided or it is done, into the
 * column error.  The caller has locked the rows, or may wait for their locks.
 */
extern void spinpanel_adjustment_move(const int64 *ids, int count, const char *status,
									  const char *why);

/* Worker: sends NOTIFY for rows that somebody else moved to a final state. */
extern void spinpanel_adjustment_announce(void);

/* An operation has reached a final state: so may its adjustment. */
extern void spinpanel_adjustment_operation_over(const Operation *operation, const char *reason);

/* Seats that the operation's adjustment may remove at most; -1 = no limit
 * recorded.  approved tells that a person let it pass the limits. */
extern int32 spinpanel_adjustment_allowance(const Operation *operation, bool *approved);

/* The quantity it was planned from; -1 = no adjustment. */
extern int32 spinpanel_adjustment_from(const Operation *operation);

/*
 * Of the raise that begins a merge: are all the subscriptions that it replaces
 * as they were when it was planned, and still to be suspended after it?
 */
extern bool spinpanel_adjustment_merge_stands(const Operation *operation);

/* A row "none" that tells what a look at a pool found. */
extern void spinpanel_adjustment_note(int64 run_id, const pg_uuid_t *customer_id,
									  const pg_uuid_t *sku_id, const char *reason);

#endif /* SPINPANEL_ADJUSTMENT_H */
