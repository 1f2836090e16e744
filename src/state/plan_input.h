/*
 * plan_input.h
 *
 * A customer's pools, subscriptions and rules, as the planner wants them.
 */
#ifndef SPINPANEL_PLAN_INPUT_H
#define SPINPANEL_PLAN_INPUT_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "decide/plan.h"

typedef struct SpinpanelPools
{
	pg_uuid_t customer_id;
	char *customer_name; /* NULL = no such customer */
	bool gone; /* no account of ours lists it any more */
	bool synced; /* partner_center_sync is on */
	PlanPool *pools;
	int32 pool_count;
	/* beside each pool */
	bool *unmapped; /* its offer's SKU is not known; no sku_id */
	pg_uuid_t *sku_ids;
	char **part_numbers; /* NULL = not known */
	/*
	 * Until when what was loaded says the same, if nothing is written; DT_NOBEGIN:
	 * not beyond this moment
	 */
	TimestampTz *holds_until;
	int32 *owned; /* the counter kept with the mirror */
	int32 *consumed; /* as reported and believed */
	pg_uuid_t **subscription_ids; /* beside its subscriptions */
	PlanLimits limits;
} SpinpanelPools;

/*
 * One customer, in the current memory context, with all that is committed at
 * this moment and what this transaction has done.  now is the moment to plan
 * for; the age of data is judged against read_now (the same but for "what
 * if").  The operation except_operation (0 = none) is not seen as open.
 */
extern SpinpanelPools *spinpanel_plan_input_load(const pg_uuid_t *customer_id, TimestampTz now,
												 TimestampTz read_now, int64 except_operation);

/*
 * Many customers, in the order given, as the active snapshot has them: what a
 * query shows is of one moment.  Those that are not known have no name, those
 * without pools have none.
 */
extern SpinpanelPools *spinpanel_plan_input_load_many(const pg_uuid_t *customer_ids, int count,
													  TimestampTz now, TimestampTz read_now);

/* The same with all that is committed at this moment and what this transaction has done. */
extern SpinpanelPools *spinpanel_plan_input_load_fresh(const pg_uuid_t *customer_ids, int count,
													   TimestampTz now);

/* Whose decision is it that the subscription ends?  From what the table has of it. */
extern PlanWho spinpanel_plan_input_end_by(const PlanSubscription *subscription, bool our_end,
										   bool our_suspension, bool renewed_before);

#endif /* SPINPANEL_PLAN_INPUT_H */
