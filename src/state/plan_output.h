/*
 * plan_output.h
 *
 * Decisions of a run as rows of adjustment, and the operations that carry them
 * out.
 */
#ifndef SPINPANEL_PLAN_OUTPUT_H
#define SPINPANEL_PLAN_OUTPUT_H

#include "postgres.h"

#include "decide/plan.h"
#include "state/plan_input.h"
#include "state/run.h"

/* Writes what the planner decided for one customer, and queues operations for
 * what needs nobody's approval (never in a dry run). */
extern void spinpanel_plan_output_write(const RunCustomer *customer, const SpinpanelPools *pools,
										const PlanDecision *decisions, int count);

/* Queues operations for what has been approved since. */
extern void spinpanel_plan_output_take_approved(void);

#endif /* SPINPANEL_PLAN_OUTPUT_H */
