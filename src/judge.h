/*
 * judge.h
 *
 * The judgement right before a change is sent, on what was read a moment ago,
 * and what to make of a change whose outcome is unknown.  All functions run
 * inside a unit, after the reads have been taken into the mirror.
 */
#ifndef SPINPANEL_JUDGE_H
#define SPINPANEL_JUDGE_H

#include "postgres.h"

#include "outbox.h"

typedef enum Verdict
{
	VERDICT_SEND,				/* base, body, wanted and ids are filled in */
	VERDICT_WAIT,				/* not now */
	VERDICT_DROP				/* no longer wanted or allowed */
} Verdict;

typedef enum Outcome
{
	OUTCOME_APPLIED,			/* it is in force */
	OUTCOME_NOT_APPLIED,		/* all is as it was: send the same again */
	OUTCOME_AFRESH				/* neither: decide again from the start */
} Outcome;

/* subscription: the resource as just read.  licenses_known: a subscribed-SKU
 * read succeeded beside it. */
extern Verdict spinpanel_judge(Operation *operation, Jsonb *subscription,
							   bool licenses_known, TimestampTz *wait_until,
							   char *reason, Size reason_size);

extern Outcome spinpanel_judge_outcome(const Operation *operation,
									   Jsonb *subscription);

/* The billed quantity's change once the operation is in force. */
extern int32 spinpanel_judge_seats(const Operation *operation);

/* Numbers kept in an operation's base. */
extern int32 spinpanel_judge_base(const Operation *operation, const char *name,
								  int32 if_absent);

/* The raise that began the merge the operation belongs to, if it is done. */
extern Operation *spinpanel_judge_merge_head(const Operation *operation);

#endif							/* SPINPANEL_JUDGE_H */
