/*
 * adjustment.h
 *
 * Decisions of a run as rows, and the operations that carry them out.
 */
#ifndef SPINPANEL_ADJUSTMENT_H
#define SPINPANEL_ADJUSTMENT_H

#include "postgres.h"

#include "decide/plan.h"
#include "state/operation.h"
#include "state/plan_input.h"
#include "state/run.h"

/* Writes what the planner decided for one customer, and queues operations for
 * what needs nobody's approval (never in a dry run). */
extern void spinpanel_adjustment_write(const RunCustomer *customer, const SpinpanelPools *pools,
									   const PlanDecision *decisions, int count);

/* Queues operations for what has been approved since. */
extern void spinpanel_adjustment_take_approved(void);

/* An operation has reached a final state: so may its adjustment. */
extern void spinpanel_adjustment_operation_over(const Operation *operation, const char *reason);

/* Seats that the operation's adjustment may remove at most; -1 = no limit
 * recorded.  approved tells that a person let it pass the limits. */
extern int32 spinpanel_adjustment_allowance(const Operation *operation, bool *approved);

/* The quantity it was planned from; -1 = no adjustment. */
extern int32 spinpanel_adjustment_from(const Operation *operation);

#endif /* SPINPANEL_ADJUSTMENT_H */
