/*
 * op_check.h
 *
 * The judgement right before a change is sent, on what was read a moment ago,
 * and what to make of a change whose outcome is unknown.  All functions run
 * inside a unit, after the reads have been taken into the mirror.
 */
#ifndef SPINPANEL_OP_CHECK_H
#define SPINPANEL_OP_CHECK_H

#include "postgres.h"

#include "decide/plan.h"
#include "state/operation.h"

typedef enum Verdict
{
	VERDICT_SEND, /* base, body, wanted and ids are filled in */
	VERDICT_WAIT, /* not now */
	VERDICT_DROP /* no longer wanted or allowed */
} Verdict;

typedef enum Outcome
{
	OUTCOME_APPLIED, /* it is in force */
	OUTCOME_NOT_APPLIED, /* all is as it was: send the same again */
	OUTCOME_AFRESH /* neither: decide again from the start */
} Outcome;

/* subscription: the resource as just read.  licenses_known: a subscribed-SKU
 * read succeeded beside it. */
extern Verdict spinpanel_op_check(Operation *operation, Jsonb *subscription, bool licenses_known,
								  TimestampTz *wait_until, char *reason, Size reason_size);

/* Who holds a seat of the pool, as far as anything tells. */
extern int64 spinpanel_op_check_holders(const Operation *operation, const PlanPool *pool);

extern Outcome spinpanel_op_check_outcome(const Operation *operation, Jsonb *subscription);

/* The billed quantity's change once the operation is in force. */
extern int32 spinpanel_op_check_seats(const Operation *operation);

/* The raise that began the merge the operation belongs to, if it is done. */
extern Operation *spinpanel_op_check_merge_head(const Operation *operation);

#endif /* SPINPANEL_OP_CHECK_H */
