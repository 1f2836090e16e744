/*
 * op_check.c
 *
 * Whether an operation may still be sent, and with which absolute target.  A
 * removal is judged by the planner on the fresh figures, under the pool's
 * demand lock, and never removes more than its adjustment showed.  What is
 * sent is the whole resource as read with the wanted members changed: Partner
 * Center's PATCH is not a merge patch.
 *
 * Contract: "Subscriptions: changing" of the Partner Center documentation
 * (PATCH /customers/{id}/subscriptions/{id}).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "decide/plan.h"
#include "state/adjustment.h"
#include "state/operation.h"
#include "state/plan_input.h"
#include "worker/buying.h"
#include "worker/op_check.h"

/* A removal that cannot be sent for this long is left to the next run. */
#define REMOVAL_PATIENCE (20 * USECS_PER_HOUR)

/* What was bought and is not needed is offered for so long: windows are of a week. */
#define GIVE_BACK_PATIENCE (6 * USECS_PER_DAY)

/* Members whose state before the change must be known afterwards. */
static const char *const members_kept[] = { "status", "autoRenewEnabled",
											"scheduledNextTermInstructions", "scheduledActions",
											"nextChargeInstructions" };

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

/* Does one list of scheduled actions hold the types of the other? */
static bool
has_actions(JsonbContainer *theirs, JsonbContainer *mine)
{
	JsonbIterator *it = JsonbIteratorInit(mine);
	JsonbIteratorToken token;
	JsonbValue value;

	if (!JsonContainerIsArray(theirs) || !JsonContainerIsArray(mine))
		return false;
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbIterator *other;
		JsonbValue candidate;
		char *type;
		bool found = false;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		type = spinpanel_json_text(value.val.binary.data, "actionType");
		other = JsonbIteratorInit(theirs);
		(void) JsonbIteratorNext(&other, &candidate, false);
		while ((token = JsonbIteratorNext(&other, &candidate, true)) != WJB_DONE)
		{
			char *theirs_type;

			if (token != WJB_ELEM || candidate.type != jbvBinary)
				continue;
			theirs_type = spinpanel_json_text(candidate.val.binary.data, "actionType");
			if (type && theirs_type && pg_strcasecmp(type, theirs_type) == 0)
				found = true;
		}
		if (!found)
			return false;
	}
	return true;
}

static Jsonb *
cancel_action(void)
{
	return spinpanel_json_of("[{\"actionType\": \"Cancel\"}]");
}

/* Is every wanted member as wanted?  A wanted null means: not there. */
static bool
is_as_wanted(const Operation *op, Jsonb *subscription)
{
	JsonbIterator *it = JsonbIteratorInit(&op->wanted->root);
	JsonbIteratorToken token;
	JsonbValue value;
	bool all = true;

	token = JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *name;
		Jsonb *mine;
		Jsonb *theirs;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		mine = spinpanel_json_take(op->wanted, name);
		theirs = spinpanel_json_take(subscription, name);

		/* With auto-renew on there may be actions, but no explicit cancel. */
		if (pg_strcasecmp(name, "scheduledActions") == 0 && mine == NULL)
			all = all && (theirs == NULL || !has_actions(&theirs->root, &cancel_action()->root));
		else if (mine == NULL || theirs == NULL)
			all = all && mine == NULL && theirs == NULL;
		else if (pg_strcasecmp(name, "status") == 0)
		{
			char *a = spinpanel_json_text(&op->wanted->root, name);
			char *b = spinpanel_json_text(&subscription->root, name);

			all = all && a && b && pg_strcasecmp(a, b) == 0;
		}
		else if (pg_strcasecmp(name, "scheduledActions") == 0)
			all = all && has_actions(&theirs->root, &mine->root);
		else if (pg_strcasecmp(name, "scheduledNextTermInstructions") == 0)
		{
			/* Partner Center may add members of its own to what was sent. */
			int64 a;
			int64 b;

			all = all && spinpanel_json_int(&mine->root, "quantity", &a) &&
				  spinpanel_json_int(&theirs->root, "quantity", &b) && a == b;
		}
		else
			all = all && compareJsonbContainers(&mine->root, &theirs->root) == 0;
	}
	return all;
}

static Jsonb *
with_wanted(const Operation *op, Jsonb *subscription)
{
	JsonbIterator *it = JsonbIteratorInit(&op->wanted->root);
	JsonbIteratorToken token;
	JsonbValue value;
	Jsonb *body = subscription;

	token = JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		body = spinpanel_json_with(body, name, spinpanel_json_take(op->wanted, name));
	}
	return body;
}

/*
 * The next term's instructions with the product of the present term, which is
 * how a mere change of quantity is scheduled.
 */
static Jsonb *
schedule_for(Jsonb *subscription, int32 quantity)
{
	char *offer = spinpanel_json_text(&subscription->root, "offerId");
	char *term = spinpanel_json_text(&subscription->root, "termDuration");
	char *cycle = spinpanel_json_text(&subscription->root, "billingCycle");
	char *promotion = spinpanel_json_text(&subscription->root, "promotionId");
	char *sku;
	char *availability;
	StringInfoData text;

	if (offer == NULL || term == NULL || cycle == NULL || (sku = strchr(offer, ':')) == NULL ||
		(availability = strchr(sku + 1, ':')) == NULL)
		return NULL;
	*sku++ = '\0';
	*availability++ = '\0';
	initStringInfo(&text);
	appendStringInfoString(&text,
						   "{\"scheduledNextTermInstructions\": {\"product\": {\"productId\": ");
	escape_json(&text, offer);
	appendStringInfoString(&text, ", \"skuId\": ");
	escape_json(&text, sku);
	appendStringInfoString(&text, ", \"availabilityId\": ");
	escape_json(&text, availability);
	appendStringInfoString(&text, ", \"billingCycle\": ");
	escape_json(&text, cycle);
	appendStringInfoString(&text, ", \"termDuration\": ");
	escape_json(&text, term);
	if (promotion != NULL && promotion[0] != '\0')
	{
		appendStringInfoString(&text, ", \"promotionId\": ");
		escape_json(&text, promotion);
	}
	appendStringInfo(&text, "}, \"quantity\": %d}}", quantity);
	return spinpanel_json_of(text.data);
}

static void
fill_in(Operation *op, Jsonb *subscription, const PlanPool *pool, int32 owned)
{
	int64 quantity = 0;
	int32 meant = spinpanel_operation_base(op, "meant", 0);
	int i;

	(void) spinpanel_json_int(&subscription->root, "quantity", &quantity);
	op->base = spinpanel_json_of(psprintf(
		"{\"quantity\": %d, \"active\": %d, \"consumed\": %d, \"waiting\": %d, \"owned\": %d}",
		(int) quantity, pool ? pool->active : -1, pool ? pool->consumed : -1,
		pool ? pool->waiting : 0, owned));
	for (i = 0; i < (int) lengthof(members_kept); i++)
	{
		Jsonb *member = spinpanel_json_take(subscription, members_kept[i]);

		if (member != NULL)
			op->base = spinpanel_json_with(op->base, members_kept[i], member);
	}
	/* It is judged again after a refusal, and when the answer is lost. */
	if (meant > 0)
		op->base = spinpanel_json_with(op->base, "meant", spinpanel_json_of(psprintf("%d", meant)));
	op->body = with_wanted(op, subscription);
	if (!pg_strong_random(op->ms_request_id.data, UUID_LEN) ||
		!pg_strong_random(op->correlation_id.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	/* version 4, variant 1 */
	op->ms_request_id.data[6] = (op->ms_request_id.data[6] & 0x0f) | 0x40;
	op->ms_request_id.data[8] = (op->ms_request_id.data[8] & 0x3f) | 0x80;
	op->correlation_id.data[6] = (op->correlation_id.data[6] & 0x0f) | 0x40;
	op->correlation_id.data[8] = (op->correlation_id.data[8] & 0x3f) | 0x80;
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

/*
 * A purchase buys what is needed by the figures of this moment, never more
 * than it was queued for, and takes no lock: callers only add to the need.
 */
static Verdict
judge_purchase(Operation *op, Jsonb *subscription, int64 present, const char *status,
			   bool licenses_known, TimestampTz *wait_until, char *reason, Size reason_size)
{
	TimestampTz now = spinpanel_now();
	SpinpanelPools *pools;
	PlanPool *pool;
	int32 index = -1;
	int32 unshown;
	int32 seats;
	int64 target;

	if (!licenses_known)
	{
		strlcpy(reason, "licence usage could not be read", reason_size);
		*wait_until = now + 60 * USECS_PER_SEC;
		return VERDICT_WAIT;
	}
	pools = spinpanel_plan_input_load(&op->customer_id, now, now, op->operation_id);
	pool = find_pool(op, pools, &index);
	if (pool == NULL)
	{
		strlcpy(reason, "the subscription is no longer in its pool", reason_size);
		return VERDICT_DROP;
	}

	/*
	 * It was sent before, and the quantity is another one since: the seats may
	 * be ours.  Nothing more is bought until the units tell.
	 */
	if (op->sent_at != 0 && spinpanel_operation_base(op, "active", -1) >= 0 &&
		present > spinpanel_operation_base(op, "quantity", 0) &&
		pool->active < spinpanel_operation_base(op, "active", 0) + present -
						   spinpanel_operation_base(op, "quantity", 0) &&
		now - op->sent_at < (int64) spinpanel_settle_time * USECS_PER_SEC)
	{
		strlcpy(reason, "seats were added meanwhile that the active units do not show yet",
				reason_size);
		*wait_until = now + 2 * USECS_PER_SEC;
		return VERDICT_WAIT;
	}

	seats = spinpanel_buying_judge(op, &unshown, reason, reason_size);
	if (seats <= 0)
		return VERDICT_DROP;
	if (is_kind(op, "reactivate") && pool->subscriptions[index].suspended_by != PLAN_OURS)
	{
		strlcpy(reason, "somebody else has suspended the subscription since", reason_size);
		return VERDICT_DROP;
	}
	if (is_kind(op, "set_quantity"))
	{
		if (pg_strcasecmp(status, "active") != 0)
		{
			strlcpy(reason, "the subscription is not active any more", reason_size);
			return VERDICT_DROP;
		}
		if (pool->subscriptions[index].end_by == PLAN_PERSON)
		{
			strlcpy(reason, "somebody has set the subscription to end since", reason_size);
			return VERDICT_DROP;
		}
		target = Min(present + seats, (int64) pool->subscriptions[index].maximum);
		if (target <= present)
		{
			strlcpy(reason, "the subscription is at its maximum", reason_size);
			return VERDICT_DROP;
		}
		op->wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", (int) target));
	}
	fill_in(op, subscription, pool, owned_seats(pool));
	op->base = spinpanel_json_with(op->base, "unshown", spinpanel_json_of(psprintf("%d", unshown)));
	return VERDICT_SEND;
}

Verdict
spinpanel_op_check(Operation *op, Jsonb *subscription, bool licenses_known, TimestampTz *wait_until,
				   char *reason, Size reason_size)
{
	TimestampTz now = spinpanel_now();
	SpinpanelPools *pools;
	PlanPool *pool;
	PlanOptions options;
	int64 present = 0;
	int32 index = -1;
	int32 s;
	char *status;
	bool removal;
	int32 meant = is_purpose(op, "give_back") ? spinpanel_operation_base(op, "meant", 0) : 0;
	Verdict not_now = VERDICT_DROP;

	*wait_until = now + USECS_PER_SEC;
	reason[0] = '\0';

	if (is_as_wanted(op, subscription))
	{
		strlcpy(reason, "it is so already", reason_size);
		return VERDICT_DROP;
	}

	/* One change of quantity or state at a time in a pool. */
	if (spinpanel_operation_pool_busy(op))
	{
		strlcpy(reason, "another change in the pool is under way", reason_size);
		return VERDICT_WAIT;
	}

	status = spinpanel_json_text(&subscription->root, "status");
	if (!spinpanel_json_int(&subscription->root, "quantity", &present) || status == NULL)
	{
		strlcpy(reason, "Partner Center's answer lacks quantity or status", reason_size);
		*wait_until = now + 60 * USECS_PER_SEC;
		return VERDICT_WAIT;
	}

	if (is_purpose(op, "buy"))
		return judge_purchase(op, subscription, present, status, licenses_known, wait_until, reason,
							  reason_size);

	removal = is_purpose(op, "remove") || is_purpose(op, "merge") || is_purpose(op, "schedule") ||
			  is_purpose(op, "give_back");
	if (!removal)
	{
		/*
		 * Restoring and buying back: whatever switches and limits say, but
		 * not against a person who has decided since.
		 */
		pools = spinpanel_plan_input_load(&op->customer_id, now, now, op->operation_id);
		pool = find_pool(op, pools, &index);
		if (is_kind(op, "set_schedule") || is_kind(op, "set_actions"))
		{
			bool renews = false;

			if (spinpanel_json_take(subscription, is_kind(op, "set_schedule")
													  ? "scheduledNextTermInstructions"
													  : "scheduledActions") != NULL)
			{
				strlcpy(reason, "somebody has scheduled something else since", reason_size);
				return VERDICT_DROP;
			}
			if (pg_strcasecmp(status, "active") != 0)
			{
				strlcpy(reason, "the subscription is not active any more", reason_size);
				return VERDICT_DROP;
			}
			if (is_kind(op, "set_schedule") &&
				(!spinpanel_json_bool(&subscription->root, "autoRenewEnabled", &renews) || !renews))
			{
				strlcpy(reason, "auto-renew has been switched off since", reason_size);
				return VERDICT_DROP;
			}
		}
		if (is_kind(op, "set_quantity"))
		{
			int64 more;

			/* So many more than there are: absolute from here on. */
			if (spinpanel_json_int(&op->wanted->root, "more", &more))
				op->wanted =
					spinpanel_json_of(psprintf("{\"quantity\": %d}", (int) (present + more)));
			if (present >= wanted_quantity(op))
			{
				strlcpy(reason, "the seats are there already", reason_size);
				return VERDICT_DROP;
			}
			if (pg_strcasecmp(status, "active") != 0)
			{
				strlcpy(reason, "the subscription is not active any more", reason_size);
				return VERDICT_DROP;
			}
		}
		fill_in(op, subscription, pool, pool ? owned_seats(pool) : -1);
		return VERDICT_SEND;
	}

	/* A removal is left to the next run; a seat bought in vain has none. */
	if (meant > 0 && now - op->created_at < GIVE_BACK_PATIENCE)
	{
		not_now = VERDICT_WAIT;
		*wait_until =
			now + Max(USECS_PER_SEC, Min((now - op->created_at) / 8, 5 * USECS_PER_MINUTE));
	}
	if (!licenses_known)
	{
		strlcpy(reason, "licence usage could not be read", reason_size);
		return not_now;
	}

	/*
	 * Callers who ask for a seat hold this lock shared.  If one does, what
	 * will be needed is undecided; no removal waits for that.
	 */
	if (op->has_sku && !spinpanel_operation_lock_pool(&op->customer_id, &op->sku_id))
	{
		strlcpy(reason, "demand undecided: a transaction that asks for seats of this pool is open",
				reason_size);
		return not_now;
	}
	/* Whoever committed before we had the lock must be seen. */
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());

	pools = spinpanel_plan_input_load(&op->customer_id, now, now, op->operation_id);
	pool = find_pool(op, pools, &index);
	if (pool == NULL)
	{
		strlcpy(reason, "the subscription is no longer in its pool", reason_size);
		return VERDICT_DROP;
	}

	/* What restores goes on; nothing else does, until somebody resumes. */
	if (pool->paused)
	{
		strlcpy(reason, "the customer is paused", reason_size);
		*wait_until = now + 5 * USECS_PER_SEC;
		return VERDICT_WAIT;
	}

	if (pool->unsettled)
	{
		strlcpy(reason, "an earlier removal is not visible yet", reason_size);
		if (now - op->created_at > REMOVAL_PATIENCE)
			return VERDICT_DROP;
		*wait_until = now + Min((int64) spinpanel_settle_time * USECS_PER_SEC / 4 + USECS_PER_SEC,
								5 * USECS_PER_MINUTE);
		return VERDICT_WAIT;
	}

	/*
	 * What else is queued here is judged when its turn comes; what is under
	 * way was excluded above.
	 */
	pool->open_operation = false;
	for (s = 0; s < pool->subscription_count; s++)
		((PlanSubscription *) pool->subscriptions)[s].pending = false;

	memset(&options, 0, sizeof(options));
	options.now = now;

	if (is_purpose(op, "merge") && is_kind(op, "set_quantity") && present < wanted_quantity(op))
	{
		/* The raise that begins a merge: exactly as planned, or not at all. */
		const PlanSubscription *oldest = &pool->subscriptions[index];

		if (oldest->status != PLAN_ACTIVE || !pool->adjust || pool->doubt != NULL ||
			wanted_quantity(op) > oldest->maximum || spinpanel_adjustment_from(op) != present ||
			!spinpanel_adjustment_merge_stands(op))
		{
			strlcpy(reason, "the pool has changed since the merge was planned", reason_size);
			return VERDICT_DROP;
		}
	}
	else if (is_purpose(op, "schedule"))
	{
		PlanAction action = is_kind(op, "set_actions") ? PLAN_END_AT_TERM : PLAN_REDUCE_AT_RENEWAL;
		int64 next = present;
		int32 lowest;

		if (pg_strcasecmp(status, "active") != 0)
		{
			strlcpy(reason, "the subscription is not active any more", reason_size);
			return VERDICT_DROP;
		}
		if (is_kind(op, "set_actions"))
			next = 0;
		else if (is_kind(op, "set_schedule"))
			(void) spinpanel_json_int(&op->wanted->root, "scheduledNextTermInstructions.quantity",
									  &next);

		/*
		 * Taking a schedule or an end of ours back needs nobody's leave, but it
		 * must be ours still.
		 */
		if (next >= present)
		{
			const PlanSubscription *it = &pool->subscriptions[index];

			if (is_kind(op, "set_schedule") ? it->next_by == PLAN_PERSON
											: it->end_by == PLAN_PERSON)
			{
				strlcpy(reason, "a person has decided about the next term since", reason_size);
				return VERDICT_DROP;
			}
		}
		else
		{
			bool approved;
			int32 allowance = spinpanel_adjustment_allowance(op, &approved);

			if (allowance >= 0 && present - next > allowance)
			{
				if (is_kind(op, "set_actions"))
				{
					strlcpy(reason, "it has more seats than when this was decided", reason_size);
					return VERDICT_DROP;
				}
				next = present - allowance;
			}
			lowest = spinpanel_plan_judge(pool, index, action, (int32) next, &options, reason,
										  reason_size);
			if (lowest >= present || (is_kind(op, "set_actions") && lowest > 0))
			{
				if (reason[0] == '\0')
					strlcpy(reason, "the seats are needed in the next term", reason_size);
				return VERDICT_DROP;
			}
			if (is_kind(op, "set_schedule"))
			{
				Jsonb *schedule = schedule_for(subscription, lowest);

				if (schedule == NULL)
				{
					strlcpy(reason, "the subscription names no product, term and billing cycle",
							reason_size);
					return VERDICT_DROP;
				}
				op->wanted = schedule;
				if (is_as_wanted(op, subscription))
				{
					strlcpy(reason, "it is so already", reason_size);
					return VERDICT_DROP;
				}
			}
		}
	}
	else
	{
		Operation *head = is_purpose(op, "remove") ? NULL : spinpanel_op_check_merge_head(op);
		int32 target = is_kind(op, "set_quantity") ? wanted_quantity(op) : 0;
		int32 lowest;
		PlanAction action = is_kind(op, "suspend")  ? PLAN_SUSPEND
							: is_kind(op, "cancel") ? PLAN_CANCEL
													: PLAN_REDUCE;

		if (op->wait_active > 0 && pool->active < op->wait_active)
		{
			snprintf(reason, reason_size, "waiting until %d active units show; %d do",
					 op->wait_active, pool->active);
			if (now - op->created_at > (int64) spinpanel_provisioning_timeout * USECS_PER_SEC)
				return VERDICT_DROP;
			*wait_until = now + 15 * USECS_PER_SEC;
			return VERDICT_WAIT;
		}

		/* Seats that a merge added to stand in for these are no addition. */
		if (head != NULL)
			pool->settled_unused += head->seats;
		options.ignore_switch = is_purpose(op, "give_back");

		if (is_purpose(op, "remove") && !is_kind(op, "set_quantity"))
		{
			int32 from = spinpanel_adjustment_from(op);

			if (from >= 0 && present > from)
			{
				strlcpy(reason, "it has more seats than when this was decided", reason_size);
				return VERDICT_DROP;
			}
		}
		/* Seats bought for requests that did not need them: no cool-down. */
		if (meant > 0)
		{
			if (pool->doubt != NULL && not_now == VERDICT_WAIT)
			{
				strlcpy(reason, pool->doubt, reason_size);
				return VERDICT_WAIT;
			}
			target = (int32) present - meant;
			if (is_kind(op, "cancel") && target > 0)
			{
				strlcpy(reason, "it has more seats than were bought in vain", reason_size);
				return VERDICT_DROP;
			}
			pool->cooldown = 0;
			pool->settled_unused = Max(pool->settled_unused, pool->active);
		}

		if (is_purpose(op, "remove") && is_kind(op, "set_quantity"))
		{
			bool approved;
			int32 allowance = spinpanel_adjustment_allowance(op, &approved);

			if (present <= target)
			{
				snprintf(reason, reason_size, "the quantity is %d already", (int) present);
				return VERDICT_DROP;
			}
			if (allowance >= 0 && present - target > allowance)
				target = (int32) present - allowance;
		}
		lowest = spinpanel_plan_judge(pool, index, action, target, &options, reason, reason_size);

		/*
		 * The report lags: seats bought a moment ago may not show yet, and an
		 * assignment may count twice, as waiting and as consumed.  They go back
		 * when that is over.
		 */
		if (meant > 0 && lowest > target &&
			(pool->waiting > 0 || pool->active < owned_seats(pool)) &&
			now - op->created_at <= REMOVAL_PATIENCE)
		{
			*wait_until =
				now + Min((int64) spinpanel_settle_time * USECS_PER_SEC / 4 + USECS_PER_SEC,
						  5 * USECS_PER_MINUTE);
			return VERDICT_WAIT;
		}
		if (is_kind(op, "set_quantity"))
		{
			if (lowest >= present)
			{
				if (reason[0] == '\0')
					strlcpy(reason, "nothing may be taken any more", reason_size);
				return VERDICT_DROP;
			}
			/* The younger one of a merge goes to its minimum or not at all. */
			if (is_purpose(op, "merge") && lowest > target)
				return VERDICT_DROP;
			op->wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", lowest));
		}
		else if (lowest > 0)
		{
			if (reason[0] == '\0')
				strlcpy(reason, "its seats are needed", reason_size);
			return VERDICT_DROP;
		}
	}
	fill_in(op, subscription, pool, owned_seats(pool));
	/* It may have to be judged again. */
	if (meant > 0)
		op->base = spinpanel_json_with(op->base, "meant", spinpanel_json_of(psprintf("%d", meant)));
	return VERDICT_SEND;
}

Outcome
spinpanel_op_check_outcome(const Operation *op, Jsonb *subscription)
{
	if (is_as_wanted(op, subscription))
		return OUTCOME_APPLIED;
	if (op->body != NULL &&
		compareJsonbContainers(&with_wanted(op, subscription)->root, &op->body->root) == 0)
		return OUTCOME_NOT_APPLIED;
	return OUTCOME_AFRESH;
}

int32
spinpanel_op_check_seats(const Operation *op)
{
	int32 before = spinpanel_operation_base(op, "quantity", 0);

	if (is_kind(op, "set_quantity"))
		return wanted_quantity(op) - before;
	if (is_kind(op, "suspend") || is_kind(op, "cancel"))
		return -before;
	if (is_kind(op, "reactivate"))
		return before;
	return 0;
}
