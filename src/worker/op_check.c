/*
 * op_check.c
 *
 * Whether an operation may still be sent, and with which absolute target.  A
 * removal is judged by the planner on the fresh figures, under the pool's
 * demand lock, and never removes more than its adjustment showed.  What gives
 * seats back takes nothing: no lock, doubt, switch or limit keeps it waiting.
 * What is sent is the whole resource as read with the wanted members changed:
 * Partner Center's PATCH is not a merge patch.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "decide/plan.h"
#include "decide/seats.h"
#include "state/adjustment.h"
#include "state/operation.h"
#include "state/operation_base.h"
#include "state/plan_input.h"
#include "state/pool.h"
#include "worker/buying.h"
#include "worker/op_check.h"
#include "worker/op_wanted.h"

/* A removal that cannot be sent for this long is left to the next run. */
#define REMOVAL_PATIENCE (20 * USECS_PER_HOUR)

/* What was bought and is not needed is offered for so long: windows are of a week. */
#define GIVE_BACK_PATIENCE (6 * USECS_PER_DAY)

/* Members whose state before the change must be known afterwards. */
static const char *const members_kept[] = { BASE_STATUS, BASE_AUTO_RENEW, BASE_SCHEDULE,
											BASE_ACTIONS, BASE_NEXT_CHARGE };

/* Notes of whoever queued it: it may have to be judged again. */
static const char *const notes_kept[] = { BASE_LACKING, BASE_OWED, BASE_WIPED, BASE_MEANT,
										  BASE_ORDERED };

/* One judgement: what is known, and what is said if it may not be sent. */
typedef struct Check
{
	Operation *op;
	Jsonb *subscription; /* as just read */
	TimestampTz now;
	int64 present; /* its quantity */
	const char *status;
	bool licenses_known;
	SpinpanelPools *pools;
	PlanPool *pool; /* NULL = it is in none */
	int32 index; /* of the subscription in it */
	int32 meant; /* seats bought in vain; 0 = it is no such give_back */
	TimestampTz wait_until;
	char *reason;
	Size reason_size;
} Check;

static bool
is_kind(const Operation *op, const char *kind)
{
	return strcmp(op->kind, kind) == 0;
}

static bool
is_purpose(const Operation *op, const char *purpose)
{
	return strcmp(op->purpose, purpose) == 0;
}

static int32
wanted_quantity(const Operation *op)
{
	int64 value;

	if (!spinpanel_json_int(&op->wanted->root, "quantity", &value))
		elog(ERROR, "operation " INT64_FORMAT " wants no quantity", op->operation_id);
	return (int32) value;
}

static Verdict
drop(Check *check, const char *reason)
{
	/* What the planner said is more to the point. */
	if (reason != NULL && check->reason[0] == '\0')
		strlcpy(check->reason, reason, check->reason_size);
	return VERDICT_DROP;
}

static Verdict
wait_for(Check *check, int64 microseconds, const char *reason)
{
	if (reason != NULL)
		strlcpy(check->reason, reason, check->reason_size);
	check->wait_until = check->now + microseconds;
	return VERDICT_WAIT;
}

/* The operation's pool and subscription among those loaded. */
static PlanPool *
find_pool(const Operation *op, SpinpanelPools *pools, int32 *subscription)
{
	int32 p;
	int32 s;

	for (p = 0; p < pools->pool_count; p++)
	{
		for (s = 0; s < pools->pools[p].subscription_count; s++)
		{
			if (memcmp(&pools->subscription_ids[p][s], &op->subscription_id, sizeof(pg_uuid_t)) ==
				0)
			{
				*subscription = s;
				return &pools->pools[p];
			}
		}
	}
	return NULL;
}

static int32
owned_seats(const PlanPool *pool)
{
	int32 owned = 0;
	int32 i;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (s->status == PLAN_ACTIVE && !s->trial && s->commerce != PLAN_OTHER)
			owned += s->quantity;
	}
	return owned;
}

Operation *
spinpanel_op_check_merge_head(const Operation *op)
{
	int64 id = op->after_operation;
	Operation *head = NULL;
	int guard = 0;

	while (id != 0 && guard++ < 64)
	{
		Operation *before = spinpanel_operation_get(id, CurrentMemoryContext);

		if (before == NULL || !(is_purpose(before, "merge") || is_purpose(before, "give_back")))
			break;
		if (before->seats > 0)
			head = before;
		id = before->after_operation;
	}
	return head;
}

/* What was read and is wanted is written into the operation: it may be sent. */
static Verdict
send(Check *check)
{
	Operation *op = check->op;
	const PlanPool *pool = check->pool;
	Jsonb *notes = op->base;
	int i;

	op->base = spinpanel_json_of(
		psprintf("{\"%s\": %d, \"%s\": %d, \"%s\": %d, \"%s\": %d, \"%s\": %d}", BASE_QUANTITY,
				 (int) check->present, BASE_ACTIVE, pool ? pool->active : -1, BASE_CONSUMED,
				 pool ? pool->consumed : -1, BASE_WAITING, pool ? pool->waiting : 0, BASE_OWNED,
				 pool ? owned_seats(pool) : -1));
	for (i = 0; i < (int) lengthof(members_kept); i++)
	{
		Jsonb *member = spinpanel_json_take(check->subscription, members_kept[i]);

		if (member != NULL)
			op->base = spinpanel_json_with(op->base, members_kept[i], member);
	}
	for (i = 0; notes != NULL && i < (int) lengthof(notes_kept); i++)
	{
		Jsonb *note = spinpanel_json_take(notes, notes_kept[i]);

		if (note != NULL)
			op->base = spinpanel_json_with(op->base, notes_kept[i], note);
	}
	op->body = spinpanel_op_wanted_body(op, check->subscription);
	spinpanel_operation_new_ids(op);
	return VERDICT_SEND;
}

static void
load_pool(Check *check)
{
	check->pools = spinpanel_plan_input_load(&check->op->customer_id, check->now, check->now,
											 check->op->operation_id);
	check->pool = find_pool(check->op, check->pools, &check->index);
}

static const PlanSubscription *
its_row(const Check *check)
{
	return &check->pool->subscriptions[check->index];
}

static bool
is_active(const Check *check)
{
	return pg_strcasecmp(check->status, "active") == 0;
}

/* ---- what buys ------------------------------------------------------------------------- */

/*
 * A purchase buys what is needed by the figures of this moment, never more
 * than it was queued for, and takes no lock: callers only add to the need.
 */
static Verdict
check_purchase(Check *check)
{
	Operation *op = check->op;
	int32 before = spinpanel_operation_base(op, BASE_QUANTITY, 0);
	int32 unshown;
	int32 seats;
	int64 target;
	Verdict verdict;

	if (!check->licenses_known)
		return wait_for(check, USECS_PER_MINUTE, "licence usage could not be read");
	load_pool(check);
	if (check->pool == NULL)
		return drop(check, "the subscription is no longer in its pool");

	/*
	 * It was sent before, and the quantity is another one since: the seats may
	 * be ours.  Nothing more is bought until the units tell.
	 */
	if (op->sent_at != 0 && spinpanel_operation_base(op, BASE_ACTIVE, -1) >= 0 &&
		check->present > before &&
		check->pool->active <
			spinpanel_operation_base(op, BASE_ACTIVE, 0) + check->present - before &&
		check->now - op->sent_at < (int64) spinpanel_settle_time * USECS_PER_SEC)
		return wait_for(check, 2 * USECS_PER_SEC,
						"seats were added meanwhile that the active units do not show yet");

	seats = spinpanel_buying_judge(op, &unshown, check->reason, check->reason_size);
	if (seats <= 0)
		return drop(check, NULL);
	if (is_kind(op, "reactivate") && its_row(check)->suspended_by != PLAN_OURS)
		return drop(check, "somebody else has suspended the subscription since");
	if (is_kind(op, "set_quantity"))
	{
		if (!is_active(check))
			return drop(check, "the subscription is not active any more");
		if (its_row(check)->end_by == PLAN_PERSON)
			return drop(check, "somebody has set the subscription to end since");
		target = Min(check->present + seats, (int64) its_row(check)->maximum);
		if (target <= check->present)
			return drop(check, "the subscription is at its maximum");
		op->wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", (int) target));
	}
	verdict = send(check);
	spinpanel_operation_note(op, BASE_UNSHOWN, unshown);
	return verdict;
}

int64
spinpanel_op_check_holders(const Operation *op, const PlanPool *pool)
{
	int32 owned;
	int32 active;
	int32 reported;

	/* The greater of what is believed, what is reported, and holders known. */
	if (op->has_sku &&
		spinpanel_pool_figures(&op->customer_id, &op->sku_id, &owned, &active, &reported))
		return Max(reported, pool->consumed);
	return pool->consumed;
}

/*
 * Seats that a change of ours took come back: as many as holders lack at this
 * moment, or those of somebody else that we had undone.  Whatever switches and
 * limits say.
 */
static Verdict
check_buy_back(Check *check)
{
	Operation *op = check->op;
	int32 lacking = spinpanel_operation_base(op, BASE_LACKING, -1);
	int32 owed = spinpanel_operation_base(op, BASE_OWED, -1);
	int64 target;

	load_pool(check);
	if (check->pool != NULL && check->pool->paused)
		return wait_for(check, USECS_PER_MINUTE, "the customer is paused");
	if (check->pool != NULL && lacking >= 0)
	{
		lacking = (int32) Min((int64) lacking,
							  spinpanel_plan_lacking(check->pool,
													 spinpanel_op_check_holders(op, check->pool),
													 check->now, check->now));
		if (lacking <= 0)
			return drop(check, "nobody lacks a seat any more");
	}
	if (is_kind(op, "set_quantity"))
	{
		if (!is_active(check))
			return drop(check, "the subscription is not active any more");
		if (lacking >= 0)
			target = check->present + lacking;
		else if (!spinpanel_json_int(&op->wanted->root, "quantity", &target))
			target = check->present + owed; /* absolute from here on */
		if (check->pool != NULL)
			target = Min(target, (int64) its_row(check)->maximum);
		if (check->present >= target)
			return drop(check,
						"the seats are there already, or the subscription is at its maximum");
		op->wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", (int) target));
	}
	return send(check);
}

/* ---- what sets again or puts back -------------------------------------------------------- */

/* Whatever switches and limits say, but not against a person who has decided since. */
static Verdict
check_restore(Check *check)
{
	Operation *op = check->op;
	Jsonb *stands = NULL;
	bool renews = false;

	if (is_kind(op, "set_schedule"))
		stands = spinpanel_json_take(check->subscription, BASE_SCHEDULE);
	else if (is_kind(op, "set_actions"))
		stands = spinpanel_json_take(check->subscription, BASE_ACTIONS);
	if (stands != NULL)
	{
		Jsonb *wiped = op->base == NULL ? NULL : spinpanel_json_take(op->base, BASE_WIPED);

		/* A change of ours that arrived once more set it as it was before. */
		if (wiped == NULL || !is_kind(op, "set_schedule") ||
			!spinpanel_op_wanted_same_schedule(stands, wiped))
			return drop(check, "somebody has scheduled something else since");
	}
	if (is_kind(op, "set_schedule") || is_kind(op, "set_actions"))
	{
		if (!is_active(check))
			return drop(check, "the subscription is not active any more");
		if (is_kind(op, "set_schedule") &&
			(!spinpanel_json_bool(&check->subscription->root, BASE_AUTO_RENEW, &renews) || !renews))
			return drop(check, "auto-renew has been switched off since");
	}
	load_pool(check);
	return send(check);
}

/* What the operation wants to remain in the next term. */
static int64
next_wanted(const Check *check)
{
	int64 next = check->present;

	if (is_kind(check->op, "set_actions"))
		return 0;
	if (is_kind(check->op, "set_schedule"))
		(void) spinpanel_json_int(&check->op->wanted->root, BASE_SCHEDULE ".quantity", &next);
	return next;
}

/*
 * A schedule or an end of ours that goes too far is cut back.  That needs
 * nobody's leave, but it must be ours still.
 */
static Verdict
check_put_back(Check *check)
{
	Operation *op = check->op;
	const PlanSubscription *s = its_row(check);
	PlanOptions options;
	int32 next;

	if (!is_active(check))
		return drop(check, "the subscription is not active any more");
	if (check->pool->paused)
		return wait_for(check, USECS_PER_MINUTE, "the customer is paused");
	if (is_kind(op, "set_schedule") ? s->next_by == PLAN_PERSON : s->end_by == PLAN_PERSON)
		return drop(check, "a person has decided about the next term since");
	if (is_kind(op, "set_schedule"))
	{
		memset(&options, 0, sizeof(options));
		options.now = check->now;
		next = spinpanel_plan_put_back(check->pool, check->index, (int32) next_wanted(check),
									   &options);
		op->wanted = next >= check->present
						 ? spinpanel_json_of("{\"" BASE_SCHEDULE "\": null}")
						 : spinpanel_op_wanted_schedule(check->subscription, next);
		if (op->wanted == NULL)
			return drop(check, "the subscription names no product, term and billing cycle");
		if (spinpanel_op_wanted_stands(op, check->subscription))
			return drop(check, "it is so already");
	}
	return send(check);
}

/* ---- what takes --------------------------------------------------------------------------- */

/* The raise that begins a merge: exactly as planned, or not at all. */
static Verdict
check_merge_raise(Check *check)
{
	const PlanSubscription *oldest = its_row(check);

	if (oldest->status != PLAN_ACTIVE || !check->pool->adjust || check->pool->doubt != NULL ||
		wanted_quantity(check->op) > oldest->maximum ||
		spinpanel_adjustment_from(check->op) != check->present ||
		!spinpanel_adjustment_merge_stands(check->op))
		return drop(check, "the pool has changed since the merge was planned");
	return send(check);
}

/* Fewer seats in the next term, or none. */
static Verdict
check_schedule(Check *check)
{
	Operation *op = check->op;
	PlanAction action = is_kind(op, "set_actions") ? PLAN_END_AT_TERM : PLAN_REDUCE_AT_RENEWAL;
	PlanOptions options;
	bool approved;
	int32 allowance = spinpanel_adjustment_allowance(op, &approved);
	int64 next = next_wanted(check);
	int32 lowest;

	if (!is_active(check))
		return drop(check, "the subscription is not active any more");
	if (allowance >= 0 && check->present - next > allowance)
	{
		if (is_kind(op, "set_actions"))
			return drop(check, "it has more seats than when this was decided");
		next = check->present - allowance;
	}
	memset(&options, 0, sizeof(options));
	options.now = check->now;
	lowest = spinpanel_plan_judge(check->pool, check->index, action, (int32) next, &options,
								  check->reason, check->reason_size);
	if (lowest >= check->present || (is_kind(op, "set_actions") && lowest > 0))
		return drop(check, "the seats are needed in the next term");
	if (is_kind(op, "set_schedule"))
	{
		op->wanted = spinpanel_op_wanted_schedule(check->subscription, lowest);
		if (op->wanted == NULL)
			return drop(check, "the subscription names no product, term and billing cycle");
		if (spinpanel_op_wanted_stands(op, check->subscription))
			return drop(check, "it is so already");
	}
	return send(check);
}

/*
 * A seat bought in vain has no later run that decides about it.  The report
 * lags: seats bought a moment ago may not show yet, and an assignment may count
 * twice, as waiting and as consumed.
 */
static bool
goes_back_later(const Check *check, int32 lowest, int32 target)
{
	return check->meant > 0 && lowest > target &&
		   (check->pool->waiting > 0 || check->pool->active < owned_seats(check->pool)) &&
		   check->now - check->op->created_at <= REMOVAL_PATIENCE;
}

/* Fewer seats now, or the subscription as a whole. */
static Verdict
check_taking(Check *check, Verdict not_now)
{
	Operation *op = check->op;
	PlanPool *pool = check->pool;
	Operation *head = is_purpose(op, "remove") ? NULL : spinpanel_op_check_merge_head(op);
	int32 target = is_kind(op, "set_quantity") ? wanted_quantity(op) : 0;
	PlanOptions options;
	int32 lowest;
	PlanAction action = is_kind(op, "suspend")  ? PLAN_SUSPEND
						: is_kind(op, "cancel") ? PLAN_CANCEL
												: PLAN_REDUCE;

	if (op->wait_active > 0 && pool->active < op->wait_active)
	{
		snprintf(check->reason, check->reason_size, "waiting until %d active units show; %d do",
				 op->wait_active, pool->active);
		if (check->now - op->created_at > (int64) spinpanel_provisioning_timeout * USECS_PER_SEC)
			return VERDICT_DROP;
		return wait_for(check, 15 * USECS_PER_SEC, NULL);
	}
	memset(&options, 0, sizeof(options));
	options.now = check->now;
	options.ignore_switch = is_purpose(op, "give_back");

	/* Seats that a merge added to stand in for these are no addition. */
	if (head != NULL)
		pool->settled_unused += head->seats;
	if (is_purpose(op, "remove") && !is_kind(op, "set_quantity"))
	{
		int32 from = spinpanel_adjustment_from(op);

		if (from >= 0 && check->present > from)
			return drop(check, "it has more seats than when this was decided");
	}
	/* Seats bought for requests that did not need them: no cool-down. */
	if (check->meant > 0)
	{
		if (pool->doubt != NULL && not_now == VERDICT_WAIT)
		{
			strlcpy(check->reason, pool->doubt, check->reason_size);
			return VERDICT_WAIT;
		}
		target = (int32) check->present - check->meant;
		if (is_kind(op, "cancel") && target > 0)
			return drop(check, "it has more seats than were bought in vain");
		pool->cooldown = 0;
		pool->settled_unused = Max(pool->settled_unused, pool->active);
		options.lowers_schedule = true;
	}
	if (is_purpose(op, "remove") && is_kind(op, "set_quantity"))
	{
		bool approved;
		int32 allowance = spinpanel_adjustment_allowance(op, &approved);

		if (check->present <= target)
		{
			snprintf(check->reason, check->reason_size, "the quantity is %d already",
					 (int) check->present);
			return VERDICT_DROP;
		}
		if (allowance >= 0 && check->present - target > allowance)
			target = (int32) check->present - allowance;
	}
	lowest = spinpanel_plan_judge(pool, check->index, action, target, &options, check->reason,
								  check->reason_size);
	if (goes_back_later(check, lowest, target))
		return wait_for(check,
						Min((int64) spinpanel_settle_time * USECS_PER_SEC / 4 + USECS_PER_SEC,
							5 * USECS_PER_MINUTE),
						NULL);
	if (!is_kind(op, "set_quantity"))
		return lowest > 0 ? drop(check, "its seats are needed") : send(check);
	if (lowest >= check->present)
		return drop(check, "nothing may be taken any more");
	/* The younger one of a merge goes to its minimum or not at all. */
	if (is_purpose(op, "merge") && lowest > target)
		return drop(check, NULL);
	op->wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", lowest));
	return send(check);
}

/* What every removal has to pass first, now or at the renewal. */
static Verdict
check_removal(Check *check)
{
	Operation *op = check->op;
	Verdict not_now = VERDICT_DROP;
	int32 s;

	load_pool(check);
	if (is_purpose(op, "schedule") && check->pool != NULL &&
		next_wanted(check) >= spinpanel_seats_lasting(its_row(check), check->present, check->now) &&
		(is_kind(op, "set_auto_renew") || its_row(check)->next_quantity >= 0))
		return check_put_back(check);

	/* A removal is left to the next run; a seat bought in vain has none. */
	if (check->meant > 0 && check->now - op->created_at < GIVE_BACK_PATIENCE)
	{
		not_now = VERDICT_WAIT;
		(void) wait_for(
			check, Max(USECS_PER_SEC, Min((check->now - op->created_at) / 8, 5 * USECS_PER_MINUTE)),
			NULL);
	}
	if (!check->licenses_known)
	{
		strlcpy(check->reason, "licence usage could not be read", check->reason_size);
		return not_now;
	}

	/*
	 * Callers who ask for a seat hold this lock shared.  If one does, what
	 * will be needed is undecided; no removal waits for that.
	 */
	if (op->has_sku && !spinpanel_operation_lock_pool(&op->customer_id, &op->sku_id))
	{
		strlcpy(check->reason,
				"demand undecided: a transaction that asks for seats of this pool is open",
				check->reason_size);
		return not_now;
	}
	/* Whoever committed before we had the lock must be seen. */
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());

	load_pool(check);
	if (check->pool == NULL)
		return drop(check, "the subscription is no longer in its pool");

	/* What restores goes on; nothing else does, until somebody resumes. */
	if (check->pool->paused)
		return wait_for(check, 5 * USECS_PER_SEC, "the customer is paused");
	if (check->pool->unsettled)
	{
		if (check->now - op->created_at > REMOVAL_PATIENCE)
			return drop(check, "an earlier removal is not visible yet");
		return wait_for(check,
						Min((int64) spinpanel_settle_time * USECS_PER_SEC / 4 + USECS_PER_SEC,
							5 * USECS_PER_MINUTE),
						"an earlier removal is not visible yet");
	}

	/*
	 * What else is queued here is judged when its turn comes; what is under
	 * way was excluded before.
	 */
	check->pool->open_operation = false;
	for (s = 0; s < check->pool->subscription_count; s++)
		((PlanSubscription *) check->pool->subscriptions)[s].pending = false;

	if (is_purpose(op, "merge") && is_kind(op, "set_quantity") &&
		check->present < wanted_quantity(op))
		return check_merge_raise(check);
	if (is_purpose(op, "schedule"))
		return check_schedule(check);
	return check_taking(check, not_now);
}

Verdict
spinpanel_op_check(Operation *op, Jsonb *subscription, bool licenses_known, TimestampTz *wait_until,
				   char *reason, Size reason_size)
{
	Check check = { .op = op,
					.subscription = subscription,
					.now = spinpanel_now(),
					.licenses_known = licenses_known,
					.index = -1,
					.meant = is_purpose(op, "give_back")
								 ? spinpanel_operation_base(op, BASE_MEANT, 0)
								 : 0,
					.reason = reason,
					.reason_size = reason_size };
	Verdict verdict;

	reason[0] = '\0';
	check.wait_until = check.now + USECS_PER_SEC;
	check.status = spinpanel_json_text(&subscription->root, "status");
	if (spinpanel_op_wanted_stands(op, subscription))
		verdict = drop(&check, "it is so already");
	else if (spinpanel_operation_pool_busy(op))
		verdict = wait_for(&check, USECS_PER_SEC, "another change in the pool is under way");
	else if (!spinpanel_json_int(&subscription->root, "quantity", &check.present) ||
			 check.status == NULL)
		verdict =
			wait_for(&check, USECS_PER_MINUTE, "Partner Center's answer lacks quantity or status");
	else if (is_purpose(op, "buy"))
		verdict = check_purchase(&check);
	else if (is_purpose(op, "buy_back"))
		verdict = check_buy_back(&check);
	else if (is_purpose(op, "restore"))
		verdict = check_restore(&check);
	else if (is_purpose(op, "put_back"))
	{
		load_pool(&check);
		verdict = check.pool == NULL ? drop(&check, "the subscription is no longer in its pool")
									 : check_put_back(&check);
	}
	else
		verdict = check_removal(&check);
	*wait_until = check.wait_until;
	return verdict;
}

Outcome
spinpanel_op_check_outcome(const Operation *op, Jsonb *subscription)
{
	if (spinpanel_op_wanted_stands(op, subscription))
		return OUTCOME_APPLIED;
	if (op->body != NULL &&
		compareJsonbContainers(&spinpanel_op_wanted_body(op, subscription)->root,
							   &op->body->root) == 0)
		return OUTCOME_NOT_APPLIED;
	return OUTCOME_AFRESH;
}

int32
spinpanel_op_check_seats(const Operation *op)
{
	int32 before = spinpanel_operation_base(op, BASE_QUANTITY, 0);

	if (is_kind(op, "set_quantity"))
		return wanted_quantity(op) - before;
	if (is_kind(op, "suspend") || is_kind(op, "cancel"))
		return -before;
	if (is_kind(op, "reactivate"))
		return before;
	return 0;
}
