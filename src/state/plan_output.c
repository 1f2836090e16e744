/*
 * plan_output.c
 *
 * Writes down what the planner decided: decisions become rows of adjustment,
 * and rows become operations.  It decides nothing about seats itself.
 *
 * What needs a person's approval is asked for, kept and replaced as a whole: a
 * merge is one question, whatever its steps.  A question that a person is just
 * answering is left to them, and so is everything in the new plan that touches
 * the same subscriptions: the worker waits for no caller.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"

#include "base/json.h"
#include "state/adjustment.h"
#include "state/plan_output.h"
#include "state/statement.h"

/* ---- from decision to operations ------------------------------------------- */

/* What both a fresh decision and an approved row say. */
typedef struct Wish
{
	int64 run_id;
	int64 adjustment_id;
	int32 account_id;
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	pg_uuid_t subscription_id;
	const char *action;
	int32 from_quantity;
	int32 to_quantity;
	int32 minimum;
	int32 merge; /* 0 = none */
	bool our_end; /* we let it end; that may be taken back */
} Wish;

/*
 * What the next step has to wait for.  The steps of a merge stand together, so
 * it is enough to know the last one.
 */
typedef struct Steps
{
	int32 merge;
	int64 merge_step;
	int64 reduction; /* the last one, and whose: what is scheduled for */
	pg_uuid_t reduced; /* the same subscription has to come after it */
} Steps;

static int64
add_operation(const Wish *wish, const char *kind, const char *purpose, const char *wanted,
			  int64 after)
{
	Operation op;

	memset(&op, 0, sizeof(op));
	op.kind = kind;
	op.purpose = purpose;
	op.account_id = wish->account_id;
	op.customer_id = wish->customer_id;
	op.has_sku = true;
	op.sku_id = wish->sku_id;
	op.has_subscription = true;
	op.subscription_id = wish->subscription_id;
	op.run_id = wish->run_id;
	op.adjustment_id = wish->adjustment_id;
	op.after_operation = after;
	op.wanted = spinpanel_json_of(wanted);
	return spinpanel_operation_add(&op);
}

static void
queue_operations(const Wish *wish, Steps *steps)
{
	bool merging = wish->merge > 0;
	const char *purpose = merging ? "merge" : "remove";
	int64 after = merging && steps->merge == wish->merge ? steps->merge_step : 0;
	int64 last = 0;

	if (strcmp(wish->action, "reduce") == 0 || strcmp(wish->action, "raise") == 0)
		last = add_operation(wish, "set_quantity", purpose,
							 psprintf("{\"quantity\": %d}", wish->to_quantity), after);
	else if (strcmp(wish->action, "suspend") == 0)
	{
		/*
		 * What replaces the younger one of a merge is in place by now.  It is
		 * set to its minimum first, so that should it ever be reactivated it
		 * costs next to nothing.
		 */
		if (merging && wish->from_quantity > wish->minimum)
			after = add_operation(wish, "set_quantity", purpose,
								  psprintf("{\"quantity\": %d}", wish->minimum), after);
		last = add_operation(wish, "suspend", purpose, "{\"status\": \"suspended\"}", after);
	}
	else if (strcmp(wish->action, "cancel") == 0)
		last = add_operation(wish, "cancel", purpose, "{\"status\": \"deleted\"}", after);
	else if (strcmp(wish->action, "reduce_at_renewal") == 0)
	{
		if (steps->reduction != 0 &&
			memcmp(&steps->reduced, &wish->subscription_id, sizeof(pg_uuid_t)) == 0)
			after = steps->reduction;
		if (wish->our_end)
			after =
				add_operation(wish, "set_auto_renew", "schedule",
							  "{\"autoRenewEnabled\": true, \"scheduledActions\": null}", after);
		if (wish->to_quantity < wish->from_quantity)
			(void) add_operation(wish, "set_schedule", "schedule",
								 psprintf("{\"scheduledNextTermInstructions\": {\"quantity\": %d}}",
										  wish->to_quantity),
								 after);
		else if (!wish->our_end)
			(void) add_operation(wish, "set_schedule", "schedule",
								 "{\"scheduledNextTermInstructions\": null}", after);
	}
	else if (strcmp(wish->action, "end_at_term") == 0)
	{
		/*
		 * Auto-renew off alone leads into Extended Service Terms since 2026;
		 * the explicit cancel goes with it.
		 */
		if (steps->reduction != 0 &&
			memcmp(&steps->reduced, &wish->subscription_id, sizeof(pg_uuid_t)) == 0)
			after = steps->reduction;
		(void) add_operation(wish, "set_actions", "schedule",
							 "{\"autoRenewEnabled\": false, \"scheduledActions\":"
							 " [{\"scheduleType\": \"TermEnd\", \"actionType\": \"Cancel\"}]}",
							 after);
	}
	else
		elog(ERROR, "no operation is known for action \"%s\"", wish->action);

	if (merging)
	{
		steps->merge = wish->merge;
		steps->merge_step = last;
	}
	if (strcmp(wish->action, "reduce") == 0)
	{
		steps->reduction = last;
		steps->reduced = wish->subscription_id;
	}
}

/* ---- questions to people ------------------------------------------------------- */

/* One step of something that waits for approval, or of the new plan. */
typedef struct Step
{
	int64 adjustment_id; /* 0 = of the plan */
	int64 run_id;
	int32 merge; /* 0 = stands alone */
	pg_uuid_t subscription_id;
	const char *action;
	int32 from_quantity;
	int32 to_quantity;
	bool busy; /* waiting: a caller has locked the row */
	bool asks; /* of the plan: a person has to approve it */
} Step;

/* Do two steps of one list belong to one question? */
static bool
together(const Step *a, const Step *b)
{
	if (a == b)
		return true;
	return a->merge > 0 && a->merge == b->merge && a->run_id == b->run_id;
}

static bool
on_same_subscription(const Step *a, const Step *b)
{
	return memcmp(&a->subscription_id, &b->subscription_id, sizeof(pg_uuid_t)) == 0;
}

static bool
same_step(const Step *a, const Step *b)
{
	return on_same_subscription(a, b) && strcmp(a->action, b->action) == 0 &&
		   a->from_quantity == b->from_quantity && a->to_quantity == b->to_quantity;
}

/* Is every step of the question that one belongs to also in the other's, and
 * has this one no step more? */
static bool
same_question(const Step *ones, int one_count, int one, const Step *others, int other_count,
			  int other)
{
	int missing = 0;
	int i;
	int j;

	for (j = 0; j < other_count; j++)
		missing += together(&others[j], &others[other]);
	for (i = 0; i < one_count; i++)
	{
		bool found = false;

		if (!together(&ones[i], &ones[one]))
			continue;
		for (j = 0; j < other_count && !found; j++)
			found = together(&others[j], &others[other]) && same_step(&ones[i], &others[j]);
		if (!found)
			return false;
		missing--;
	}
	return missing == 0;
}

/* What of the customer's waits for approval, locked; "busy" what is not. */
static Step *
load_waiting(const pg_uuid_t *customer_id, int *count)
{
	static StateQuery select = {
		"SELECT a.adjustment_id, a.run_id, coalesce(a.merge, 0), a.subscription_id, a.action, a.from_quantity,"
		" a.to_quantity, l.adjustment_id IS NULL FROM spinpanel.adjustment a"
		" LEFT JOIN (SELECT b.adjustment_id FROM spinpanel.adjustment b WHERE b.customer_id = $1"
		"  AND b.status = 'awaiting_approval' FOR NO KEY UPDATE SKIP LOCKED) l ON l.adjustment_id = a.adjustment_id"
		" WHERE a.customer_id = $1 AND a.status = 'awaiting_approval' AND a.run_id IS NOT NULL",
		"u", NULL
	};
	StateArg args[1];
	uint64 rows;
	uint64 row;
	Step *steps;

	args[0] = spinpanel_arg_uuid(customer_id);
	rows = spinpanel_state_run(&select, args, 0);
	steps = palloc0(sizeof(Step) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		Step *step = &steps[row];

		step->adjustment_id = spinpanel_row_int64(row, 1);
		step->run_id = spinpanel_row_int64(row, 2);
		step->merge = spinpanel_row_int(row, 3);
		spinpanel_row_uuid(row, 4, &step->subscription_id);
		step->action = spinpanel_row_text(row, 5, CurrentMemoryContext);
		step->from_quantity = spinpanel_row_int(row, 6);
		step->to_quantity = spinpanel_row_int(row, 7);
		step->busy = spinpanel_row_bool(row, 8);
	}
	*count = (int) rows;
	return steps;
}

/*
 * Compares what waits with the new plan.  Questions that the plan no longer
 * contains are superseded.  leave[i] = nothing is done about step i of the
 * plan: the same waits already, or somebody is deciding about its subscription
 * at this moment.
 */
static void
settle_questions(const RunCustomer *customer, const Step *plan, int count, bool *leave)
{
	int waiting_count;
	Step *waiting = load_waiting(&customer->customer_id, &waiting_count);
	bool *kept = palloc0(sizeof(bool) * (waiting_count + 1));
	int64 *gone = palloc(sizeof(int64) * (waiting_count + 1));
	int gone_count = 0;
	int i;
	int j;

	/* A question is busy as a whole. */
	for (i = 0; i < waiting_count; i++)
		for (j = 0; waiting[i].busy && j < waiting_count; j++)
			if (together(&waiting[i], &waiting[j]))
				kept[j] = true;

	for (i = 0; i < count; i++)
	{
		for (j = 0; j < waiting_count; j++)
			if (kept[j] && on_same_subscription(&plan[i], &waiting[j]))
				leave[i] = true;
		/* At most one open question per subscription: what goes now comes first. */
		for (j = 0; j < i; j++)
			if (plan[i].asks && plan[j].asks && on_same_subscription(&plan[i], &plan[j]))
				leave[i] = true;
	}
	/* What is left out takes the rest of its merge with it. */
	for (i = 0; i < count; i++)
		for (j = 0; leave[i] && j < count; j++)
			if (together(&plan[i], &plan[j]))
				leave[j] = true;

	for (i = 0; i < count; i++)
	{
		for (j = 0; plan[i].asks && !leave[i] && j < waiting_count; j++)
		{
			int k;

			if (kept[j] || !same_step(&plan[i], &waiting[j]) ||
				!same_question(plan, count, i, waiting, waiting_count, j))
				continue;
			for (k = 0; k < count; k++)
				if (together(&plan[i], &plan[k]))
					leave[k] = true;
			for (k = 0; k < waiting_count; k++)
				if (together(&waiting[j], &waiting[k]))
					kept[k] = true;
		}
	}
	for (i = 0; i < waiting_count; i++)
		if (!kept[i])
			gone[gone_count++] = waiting[i].adjustment_id;
	spinpanel_adjustment_move(gone, gone_count, "superseded", "a newer plan has replaced it");
}

/* ---- writing a run's decisions ------------------------------------------------------ */

static DateADT
date_of(PlanTime moment)
{
	return (DateADT) (moment / USECS_PER_DAY - (moment % USECS_PER_DAY < 0 ? 1 : 0));
}

/* A row that nothing is done about is worth writing only when it says
 * something new. */
static bool
none_is_new(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, const char *reason)
{
	static StateQuery select = {
		"SELECT reason = $3 FROM spinpanel.adjustment WHERE customer_id = $1"
		" AND sku_id IS NOT DISTINCT FROM $2 AND status <> 'planned'"
		" ORDER BY created_at DESC, adjustment_id DESC LIMIT 1",
		"uut", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_text(reason);
	return spinpanel_state_run(&select, args, 1) == 0 || !spinpanel_row_bool(0, 1);
}

static int64
add_adjustment(const RunCustomer *customer, int32 account_id, const pg_uuid_t *sku_id,
			   const pg_uuid_t *subscription_id, const PlanDecision *d, const char *status)
{
	NewAdjustment a;

	memset(&a, 0, sizeof(a));
	a.run_id = customer->run_id;
	a.account_id = account_id;
	a.customer_id = &customer->customer_id;
	a.sku_id = sku_id;
	a.subscription_id = subscription_id;
	a.action = spinpanel_plan_action_name(d->action);
	a.rule = d->rule;
	a.has_quantities = d->action != PLAN_NONE;
	a.from_quantity = d->from_quantity;
	a.to_quantity = d->to_quantity;
	a.seats = d->seats;
	a.counted = d->counted;
	a.has_effective = d->action != PLAN_NONE && d->effective != PLAN_NEVER;
	a.effective_on = a.has_effective ? date_of(d->effective) : 0;
	a.reason = d->reason;
	a.status = status;
	a.merge = d->merge;
	return spinpanel_adjustment_add(&a);
}

static void
explain_nothing(const RunCustomer *customer, const SpinpanelPools *pools)
{
	PlanDecision nothing;

	memset(&nothing, 0, sizeof(nothing));
	nothing.action = PLAN_NONE;
	nothing.effective = PLAN_NEVER;
	strlcpy(nothing.reason,
			pools->pool_count == 0 ? "no seats are known of this customer"
								   : "no unused seats: nothing to give back",
			sizeof(nothing.reason));
	(void) add_adjustment(customer, 0, NULL, NULL, &nothing,
						  customer->dry_run ? "planned" : "skipped");
}

void
spinpanel_plan_output_write(const RunCustomer *customer, const SpinpanelPools *pools,
							const PlanDecision *decisions, int count)
{
	Steps steps;
	Step *plan = palloc0(sizeof(Step) * (count + 1));
	int *place = palloc0(sizeof(int) * (count + 1)); /* of a decision in plan */
	bool *leave = palloc0(sizeof(bool) * (count + 1));
	int step_count = 0;
	bool explain = customer->dry_run || customer->named;
	int32 i;

	memset(&steps, 0, sizeof(steps));
	for (i = 0; i < count; i++)
	{
		const PlanDecision *d = &decisions[i];
		Step *step = &plan[step_count];

		if (d->action == PLAN_NONE)
			continue;
		place[i] = step_count++;
		step->merge = d->merge;
		step->subscription_id = pools->subscription_ids[d->pool][d->subscription];
		step->action = spinpanel_plan_action_name(d->action);
		step->from_quantity = d->from_quantity;
		step->to_quantity = d->to_quantity;
		step->asks = d->needs_approval;
	}
	if (!customer->dry_run)
		settle_questions(customer, plan, step_count, leave);

	for (i = 0; i < count; i++)
	{
		const PlanDecision *d = &decisions[i];
		const PlanPool *pool = d->pool >= 0 ? &pools->pools[d->pool] : NULL;
		const pg_uuid_t *sku_id =
			d->pool >= 0 && !pools->unmapped[d->pool] ? &pools->sku_ids[d->pool] : NULL;
		const PlanSubscription *subscription = NULL;
		const pg_uuid_t *subscription_id = NULL;
		Wish wish;
		int64 id;

		if (d->action == PLAN_NONE)
		{
			if (explain || none_is_new(&customer->customer_id, sku_id, d->reason))
				(void) add_adjustment(customer, 0, sku_id, NULL, d,
									  customer->dry_run ? "planned" : "skipped");
			continue;
		}
		subscription = &pool->subscriptions[d->subscription];
		subscription_id = &pools->subscription_ids[d->pool][d->subscription];
		if (leave[place[i]])
			continue;
		id = add_adjustment(customer, subscription->account, sku_id, subscription_id, d,
							customer->dry_run   ? "planned"
							: d->needs_approval ? "awaiting_approval"
												: "queued");
		if (customer->dry_run || d->needs_approval)
			continue;

		memset(&wish, 0, sizeof(wish));
		wish.run_id = customer->run_id;
		wish.adjustment_id = id;
		wish.account_id = subscription->account;
		wish.customer_id = customer->customer_id;
		wish.sku_id = pools->sku_ids[d->pool];
		wish.subscription_id = *subscription_id;
		wish.action = spinpanel_plan_action_name(d->action);
		wish.from_quantity = d->from_quantity;
		wish.to_quantity = d->to_quantity;
		wish.minimum = subscription->minimum;
		wish.merge = d->merge;
		wish.our_end = subscription->end_by == PLAN_OURS;
		queue_operations(&wish, &steps);
	}
	if (count == 0 && explain)
		explain_nothing(customer, pools);
}

/* ---- what people decided ---------------------------------------------------------- */

void
spinpanel_plan_output_take_approved(void)
{
	/* A customer's part of a run is taken as a whole: its steps wait for each other. */
	static StateQuery select = {
		"SELECT a.adjustment_id, a.run_id, a.account_id, a.customer_id, a.sku_id, a.subscription_id, a.action,"
		" a.from_quantity, a.to_quantity, coalesce(f.minimum, 1), coalesce(a.merge, 0),"
		" coalesce(s.our_end, false) FROM spinpanel.adjustment a LEFT JOIN spinpanel.subscription s USING (subscription_id)"
		" LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		" WHERE a.status = 'queued' AND a.approved AND (a.run_id, a.customer_id) IN"
		"  (SELECT b.run_id, b.customer_id FROM spinpanel.adjustment b WHERE b.status = 'queued' AND b.approved"
		"   AND b.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM spinpanel.operation o"
		"    WHERE o.customer_id = b.customer_id AND o.adjustment_id = b.adjustment_id) LIMIT 200)"
		" AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = a.customer_id"
		"  AND o.adjustment_id = a.adjustment_id)"
		" ORDER BY a.run_id, a.customer_id, a.adjustment_id",
		"", NULL
	};
	uint64 rows;
	uint64 row;
	Wish *wishes;
	Steps steps;
	int64 steps_run = 0;
	pg_uuid_t steps_customer;

	rows = spinpanel_state_run(&select, NULL, 0);
	if (rows == 0)
		return;
	wishes = palloc0(sizeof(Wish) * rows);
	for (row = 0; row < rows; row++)
	{
		Wish *wish = &wishes[row];

		wish->adjustment_id = spinpanel_row_int64(row, 1);
		wish->run_id = spinpanel_row_int64(row, 2);
		wish->account_id = spinpanel_row_int(row, 3);
		spinpanel_row_uuid(row, 4, &wish->customer_id);
		spinpanel_row_uuid(row, 5, &wish->sku_id);
		spinpanel_row_uuid(row, 6, &wish->subscription_id);
		wish->action = spinpanel_row_text(row, 7, CurrentMemoryContext);
		wish->from_quantity = spinpanel_row_int(row, 8);
		wish->to_quantity = spinpanel_row_int(row, 9);
		wish->minimum = spinpanel_row_int(row, 10);
		wish->merge = spinpanel_row_int(row, 11);
		wish->our_end = spinpanel_row_bool(row, 12);
	}
	memset(&steps, 0, sizeof(steps));
	memset(&steps_customer, 0, sizeof(steps_customer));
	for (row = 0; row < rows; row++)
	{
		if (wishes[row].run_id != steps_run ||
			memcmp(&wishes[row].customer_id, &steps_customer, sizeof(pg_uuid_t)) != 0)
		{
			memset(&steps, 0, sizeof(steps));
			steps_run = wishes[row].run_id;
			steps_customer = wishes[row].customer_id;
		}
		queue_operations(&wishes[row], &steps);
	}
}
