/*
 * adjustment.c
 *
 * The table adjustment.  It translates decisions of the planner into rows and
 * operations and decides nothing itself.
 *
 * A row whose state a caller is just changing (approve, reject) is skipped and
 * looked at again at the next turn: the worker waits for no caller.
 */
#include "postgres.h"

#include "commands/async.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/uuid.h"
#include "state/adjustment.h"
#include "state/history.h"
#include "state/statement.h"

static void
notify_adjustment(int64 adjustment_id, const char *status, const pg_uuid_t *customer_id)
{
	Async_Notify("spinpanel", psprintf("{\"type\":\"adjustment\",\"id\":" INT64_FORMAT
									   ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
									   adjustment_id, status, spinpanel_uuid_text(customer_id)));
}

static void
record(const char *event, int64 run_id, int64 adjustment_id, int32 account_id,
	   const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, const pg_uuid_t *subscription_id,
	   const char *reason)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.run_id = run_id;
	entry.adjustment_id = adjustment_id;
	entry.account_id = account_id;
	entry.customer_id = customer_id;
	entry.sku_id = sku_id;
	entry.subscription_id = subscription_id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
}

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
	int32 merge;
	bool our_end; /* we let it end; that may be taken back */
} Wish;

#define MAX_MERGES 32

/* The last step of each merge so far: what the next step has to wait for. */
typedef struct MergeSteps
{
	int64 step[MAX_MERGES];
	int64 reduction; /* the last one, and whose: what is scheduled for */
	pg_uuid_t reduced; /* the same subscription has to come after it */
} MergeSteps;

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
queue_operations(const Wish *wish, MergeSteps *steps)
{
	bool merging = wish->merge > 0 && wish->merge < MAX_MERGES;
	const char *purpose = merging ? "merge" : "remove";
	int64 after = merging ? steps->step[wish->merge] : 0;
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
		steps->step[wish->merge] = last;
	if (strcmp(wish->action, "reduce") == 0)
	{
		steps->reduction = last;
		steps->reduced = wish->subscription_id;
	}
}

/* ---- writing a run's decisions ------------------------------------------------ */

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

/*
 * At most one open approval per subscription.  Returns true where the same
 * decision is waiting already; another one is superseded by this one.
 */
static bool
same_approval_waits(const pg_uuid_t *customer_id, const pg_uuid_t *subscription_id,
					const char *action, int32 from_quantity, int32 to_quantity)
{
	static StateQuery select = {
		"SELECT adjustment_id, action = $2 AND from_quantity = $3 AND to_quantity = $4"
		" FROM spinpanel.adjustment WHERE subscription_id = $1 AND status = 'awaiting_approval'"
		" FOR UPDATE SKIP LOCKED",
		"utii", NULL
	};
	static StateQuery supersede = {
		"UPDATE spinpanel.adjustment SET status = 'superseded', finished_at = $2 WHERE adjustment_id = $1",
		"IT", NULL
	};
	static StateQuery any = {
		"SELECT 1 FROM spinpanel.adjustment WHERE subscription_id = $1 AND status = 'awaiting_approval'",
		"u", NULL
	};
	StateArg args[4];
	int64 id;

	args[0] = spinpanel_arg_uuid(subscription_id);
	args[1] = spinpanel_arg_text(action);
	args[2] = spinpanel_arg_int(from_quantity);
	args[3] = spinpanel_arg_int(to_quantity);
	if (spinpanel_state_run(&select, args, 1) > 0)
	{
		if (spinpanel_row_bool(0, 2))
			return true;
		id = spinpanel_row_int64(0, 1);
		args[0] = spinpanel_arg_int64(id);
		args[1] = spinpanel_arg_time(spinpanel_now());
		spinpanel_state_run(&supersede, args, 0);
		notify_adjustment(id, "superseded", customer_id);
		return false;
	}
	/* A caller is deciding about it at this moment: leave it to them. */
	return spinpanel_state_run(&any, args, 1) > 0;
}

/* Open approvals of this customer that the new plan no longer contains. */
static void
supersede_stale(const RunCustomer *customer, const pg_uuid_t *kept, int kept_count)
{
	static StateQuery update = {
		"UPDATE spinpanel.adjustment SET status = 'superseded', finished_at = $3 WHERE adjustment_id IN"
		" (SELECT adjustment_id FROM spinpanel.adjustment WHERE customer_id = $1 AND account_id IS NOT NULL"
		" AND status = 'awaiting_approval' AND action <> 'raise' AND NOT subscription_id = ANY ($2)"
		" FOR UPDATE SKIP LOCKED)"
		" RETURNING adjustment_id",
		"uAuT", NULL
	};
	StateArg args[3];
	Datum *elements = palloc(sizeof(Datum) * (kept_count + 1));
	uint64 rows;
	int64 *ids;
	uint64 row;
	int i;

	for (i = 0; i < kept_count; i++)
		elements[i] = UUIDPGetDatum(&kept[i]);
	args[0] = spinpanel_arg_uuid(&customer->customer_id);
	args[1] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, kept_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	args[2] = spinpanel_arg_time(spinpanel_now());
	rows = spinpanel_state_run(&update, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	for (row = 0; row < rows; row++)
		notify_adjustment(ids[row], "superseded", &customer->customer_id);
}

static int64
insert_adjustment(const RunCustomer *customer, int32 account_id, const pg_uuid_t *sku_id,
				  const pg_uuid_t *subscription_id, const PlanDecision *decision,
				  const char *status)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.adjustment (run_id, account_id, customer_id, sku_id, subscription_id, action,"
		" rule, from_quantity, to_quantity, seats, effective_on, reason, status, merge, created_at, finished_at)"
		" VALUES ($1, nullif($2, 0), $3, $4, $5, $6, nullif($7, 0), $8, $9, $10, $11, $12, $13, nullif($14, 0), $15,"
		" CASE WHEN $13 IN ('skipped', 'planned') THEN $15 END)"
		" RETURNING adjustment_id",
		"IiuuutiiiidttiT", NULL
	};
	StateArg args[15];
	bool none = decision->action == PLAN_NONE;

	args[0] = spinpanel_arg_int64(customer->run_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_uuid(&customer->customer_id);
	args[3] = spinpanel_arg_uuid(sku_id);
	args[4] = spinpanel_arg_uuid(subscription_id);
	args[5] = spinpanel_arg_text(spinpanel_plan_action_name(decision->action));
	args[6] = spinpanel_arg_int(decision->rule);
	args[7] = none ? spinpanel_arg_null() : spinpanel_arg_int(decision->from_quantity);
	args[8] = none ? spinpanel_arg_null() : spinpanel_arg_int(decision->to_quantity);
	args[9] = spinpanel_arg_int(decision->seats);
	args[10] = none || decision->effective == PLAN_NEVER
				   ? spinpanel_arg_null()
				   : spinpanel_arg_datum(DateADTGetDatum(date_of(decision->effective)));
	args[11] = spinpanel_arg_text(decision->reason);
	args[12] = spinpanel_arg_text(status);
	args[13] = spinpanel_arg_int(decision->merge);
	args[14] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&insert, args, 0);
	return spinpanel_row_int64(0, 1);
}

void
spinpanel_adjustment_write(const RunCustomer *customer, const SpinpanelPools *pools,
						   const PlanDecision *decisions, int count)
{
	MergeSteps steps;
	pg_uuid_t *kept = palloc(sizeof(pg_uuid_t) * (count + 1));
	int kept_count = 0;
	bool explain = customer->dry_run || customer->named;
	int32 i;

	memset(&steps, 0, sizeof(steps));
	for (i = 0; i < count; i++)
	{
		const PlanDecision *d = &decisions[i];

		if (d->action != PLAN_NONE && d->needs_approval)
			kept[kept_count++] = pools->subscription_ids[d->pool][d->subscription];
	}
	if (!customer->dry_run)
		supersede_stale(customer, kept, kept_count);

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
				(void) insert_adjustment(customer, 0, sku_id, NULL, d,
										 customer->dry_run ? "planned" : "skipped");
			continue;
		}
		subscription = &pool->subscriptions[d->subscription];
		subscription_id = &pools->subscription_ids[d->pool][d->subscription];

		if (customer->dry_run)
		{
			(void) insert_adjustment(customer, subscription->account, sku_id, subscription_id, d,
									 "planned");
			continue;
		}
		if (d->needs_approval)
		{
			if (same_approval_waits(&customer->customer_id, subscription_id,
									spinpanel_plan_action_name(d->action), d->from_quantity,
									d->to_quantity))
				continue;
			id = insert_adjustment(customer, subscription->account, sku_id, subscription_id, d,
								   "awaiting_approval");
			record("adjustment awaits approval", customer->run_id, id, subscription->account,
				   &customer->customer_id, sku_id, subscription_id, d->reason);
			notify_adjustment(id, "awaiting_approval", &customer->customer_id);
			continue;
		}

		id = insert_adjustment(customer, subscription->account, sku_id, subscription_id, d,
							   "queued");
		record("adjustment decided", customer->run_id, id, subscription->account,
			   &customer->customer_id, sku_id, subscription_id, d->reason);
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
	{
		PlanDecision nothing;

		memset(&nothing, 0, sizeof(nothing));
		nothing.action = PLAN_NONE;
		nothing.effective = PLAN_NEVER;
		strlcpy(nothing.reason,
				pools->pool_count == 0 ? "no seats are known of this customer"
									   : "no unused seats: nothing to give back",
				sizeof(nothing.reason));
		(void) insert_adjustment(customer, 0, NULL, NULL, &nothing,
								 customer->dry_run ? "planned" : "skipped");
	}
}

/* ---- what people decided ---------------------------------------------------------- */

void
spinpanel_adjustment_take_approved(void)
{
	/*
	 * A merge is one thing: who approves a step of it approves all of it.
	 */
	static StateQuery spread = {
		"UPDATE spinpanel.adjustment SET status = 'queued', approved = true, decided_by = m.decided_by,"
		" decided_at = m.decided_at FROM (SELECT DISTINCT ON (run_id, customer_id, merge) run_id, customer_id, merge,"
		" decided_by, decided_at FROM spinpanel.adjustment WHERE status = 'queued' AND approved AND merge IS NOT NULL) m"
		" WHERE adjustment.adjustment_id IN (SELECT a.adjustment_id FROM spinpanel.adjustment a"
		"  WHERE a.run_id = m.run_id AND a.customer_id = m.customer_id AND a.merge = m.merge"
		"  AND a.status = 'awaiting_approval' FOR UPDATE SKIP LOCKED)",
		"", NULL
	};
	static StateQuery select = {
		"SELECT a.adjustment_id, a.run_id, a.account_id, a.customer_id, a.sku_id, a.subscription_id, a.action,"
		" a.from_quantity, a.to_quantity, coalesce(f.minimum, 1), coalesce(a.merge, 0),"
		" coalesce(s.our_end, false) FROM spinpanel.adjustment a LEFT JOIN spinpanel.subscription s USING (subscription_id)"
		" LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		" WHERE a.status = 'queued' AND a.approved AND a.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM spinpanel.operation o"
		"  WHERE o.adjustment_id = a.adjustment_id)"
		" ORDER BY a.adjustment_id LIMIT 500",
		"", NULL
	};
	uint64 rows;
	uint64 row;
	Wish *wishes;
	MergeSteps steps;
	int64 steps_run = 0;
	pg_uuid_t steps_customer;

	spinpanel_state_run(&spread, NULL, 0);
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

/* ---- how it ended ---------------------------------------------------------------- */

void
spinpanel_adjustment_operation_over(const Operation *op, const char *reason)
{
	static StateQuery update = {
		"UPDATE spinpanel.adjustment SET finished_at = $2, error = $3, status = CASE"
		" WHEN EXISTS (SELECT FROM spinpanel.operation o WHERE o.adjustment_id = $1 AND o.purpose IN ('remove', 'merge', 'schedule', 'buy')"
		"  AND o.status IN ('refused', 'failed')) THEN 'failed'"
		" WHEN EXISTS (SELECT FROM spinpanel.operation o WHERE o.adjustment_id = $1 AND o.purpose IN ('remove', 'merge', 'schedule', 'buy')"
		"  AND o.status = 'cancelled') THEN 'skipped' ELSE 'done' END"
		" WHERE adjustment_id = $1 AND status = 'queued' AND NOT EXISTS (SELECT FROM spinpanel.operation o"
		"  WHERE o.adjustment_id = $1 AND o.purpose IN ('remove', 'merge', 'schedule', 'buy') AND o.status IN ('queued', 'sending', 'unknown'))"
		" RETURNING adjustment_id, status, run_id, account_id",
		"ITt", NULL
	};
	/* Followers that were cancelled with it belong to other adjustments. */
	static StateQuery orphans = {
		"SELECT DISTINCT a.adjustment_id FROM spinpanel.adjustment a JOIN spinpanel.operation o USING (adjustment_id)"
		" WHERE a.status = 'queued' AND a.customer_id = $1 AND o.status = 'cancelled' AND a.adjustment_id <> $2"
		" AND NOT EXISTS (SELECT FROM spinpanel.operation p WHERE p.adjustment_id = a.adjustment_id"
		"  AND p.status IN ('queued', 'sending', 'unknown'))",
		"uI", NULL
	};
	StateArg args[3];
	int64 *ids;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_int64(op->adjustment_id);
	rows = spinpanel_state_run(&orphans, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	ids[rows] = op->adjustment_id;

	for (row = 0; row <= rows; row++)
	{
		if (ids[row] == 0)
			continue;
		args[0] = spinpanel_arg_int64(ids[row]);
		args[1] = spinpanel_arg_time(spinpanel_now());
		args[2] = spinpanel_arg_text(strcmp(op->status, "done") == 0 ? NULL : reason);
		if (spinpanel_state_run(&update, args, 0) > 0)
		{
			char *status = spinpanel_row_text(0, 2, CurrentMemoryContext);
			int64 run_id = spinpanel_row_int64(0, 3);

			notify_adjustment(ids[row], status, &op->customer_id);
			record(psprintf("adjustment %s", status), run_id, ids[row], op->account_id,
				   &op->customer_id, op->has_sku ? &op->sku_id : NULL,
				   op->has_subscription ? &op->subscription_id : NULL, reason);
		}
	}
}

int32
spinpanel_adjustment_allowance(const Operation *op, bool *approved)
{
	static StateQuery select = {
		"SELECT seats, approved FROM spinpanel.adjustment WHERE adjustment_id = $1", "I", NULL
	};
	StateArg args[1];

	*approved = false;
	if (op->adjustment_id == 0)
		return -1;
	args[0] = spinpanel_arg_int64(op->adjustment_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return -1;
	*approved = spinpanel_row_bool(0, 2);
	return spinpanel_row_int(0, 1);
}

int32
spinpanel_adjustment_from(const Operation *op)
{
	static StateQuery select = {
		"SELECT from_quantity FROM spinpanel.adjustment WHERE adjustment_id = $1", "I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->adjustment_id);
	if (op->adjustment_id == 0 || spinpanel_state_run(&select, args, 1) == 0 ||
		spinpanel_row_isnull(0, 1))
		return -1;
	return spinpanel_row_int(0, 1);
}
