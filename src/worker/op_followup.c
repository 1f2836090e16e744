/*
 * op_followup.c
 *
 * Partner Center has no conditional change, wipes schedules with any mid-term
 * change, and its report lags.  So every change is followed up: what it wiped
 * is set again, seats that somebody took or added meanwhile are bought back,
 * and a merge that stops half-way is undone.  It reads no clock but the
 * extension's and sends nothing: it queues operations.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "state/adjustment.h"
#include "state/history.h"
#include "state/mirror.h"
#include "state/pool.h"
#include "state/request.h"
#include "state/statement.h"
#include "worker/op_check.h"
#include "worker/op_followup.h"

/* Subscriptions on which seats are tried to be bought back, one after the other. */
#define BUY_BACK_TRIES 6

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

static int64
follow_up(const Operation *op, const char *kind, const char *purpose, Jsonb *wanted)
{
	Operation next;

	memset(&next, 0, sizeof(next));
	next.kind = kind;
	next.purpose = purpose;
	next.account_id = op->account_id;
	next.customer_id = op->customer_id;
	next.has_sku = op->has_sku;
	next.sku_id = op->sku_id;
	next.has_subscription = op->has_subscription;
	next.subscription_id = op->subscription_id;
	next.run_id = op->run_id;
	next.request_id = op->request_id;
	next.after_operation = op->operation_id;
	next.wanted = wanted;
	return spinpanel_operation_add(&next);
}

static Jsonb *
object_with(const char *name, Jsonb *value)
{
	return spinpanel_json_with(spinpanel_json_of("{}"), name, value);
}

void
spinpanel_op_followup_prepare(const Operation *op, Jsonb *subscription)
{
	Jsonb *schedule;
	Jsonb *actions;

	if (!is_kind(op, "set_quantity"))
		return;

	schedule = spinpanel_json_take(subscription, "scheduledNextTermInstructions");
	if (schedule != NULL && !spinpanel_operation_schedules_after(op))
	{
		int64 next;
		int32 seats = spinpanel_op_check_seats(op);
		bool ours = spinpanel_mirror_is_our_schedule(&op->subscription_id);

		/*
		 * A person's schedule keeps its own quantity plus the seats bought
		 * since, less those returned: what they wanted gone is still gone.
		 * Ours said what is needed, which a removal does not change; where it
		 * is planned afresh, that operation follows this one.
		 */
		if (spinpanel_json_int(&schedule->root, "quantity", &next))
		{
			if (seats > 0 || !ours)
				next += seats;
			if (next < 1)
				next = 1;
			schedule = spinpanel_json_with(schedule, "quantity",
										   spinpanel_json_of(psprintf(INT64_FORMAT, next)));
		}
		/* Ours is judged by the planner once more. */
		(void) follow_up(op, "set_schedule", ours ? "schedule" : "restore",
						 object_with("scheduledNextTermInstructions", schedule));
	}
	actions = spinpanel_json_take(subscription, "scheduledActions");

	/* Who buys wants it to go on: an end of ours is taken back. */
	if (is_purpose(op, "buy") && spinpanel_mirror_is_our_end(&op->subscription_id))
		(void) follow_up(
			op, "set_auto_renew", "restore",
			spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));
	else if (actions != NULL && JB_ROOT_IS_ARRAY(actions) && JB_ROOT_COUNT(actions) > 0)
		(void) follow_up(op, "set_actions", "restore", object_with("scheduledActions", actions));
}

static void
record(const Operation *op, const pg_uuid_t *subscription_id, int64 operation_id, const char *event,
	   const char *reason)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = op->account_id;
	entry.customer_id = &op->customer_id;
	entry.sku_id = op->has_sku ? &op->sku_id : NULL;
	entry.subscription_id = subscription_id;
	entry.run_id = op->run_id;
	entry.adjustment_id = op->adjustment_id;
	entry.operation_id = operation_id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
}

static bool
is_active(Jsonb *subscription)
{
	char *status = spinpanel_json_text(&subscription->root, "status");

	return status != NULL && pg_strcasecmp(status, "active") == 0;
}

/*
 * Buys amount seats of the pool back on other subscriptions than the
 * operation's own; how many of them could not even be queued.
 */
static int32
buy_back_elsewhere(const Operation *op, int32 amount, const char *why)
{
	MirrorRoom *rooms;
	int count = spinpanel_mirror_rooms(&op->customer_id, &op->sku_id, &op->subscription_id, &rooms);
	int i;

	for (i = 0; i < count && amount > 0; i++)
	{
		Operation other = *op;
		int32 part = Min(amount, rooms[i].room);
		int64 id;

		other.account_id = rooms[i].account_id;
		other.subscription_id = rooms[i].subscription_id;
		/* The absolute quantity is set when it has been read. */
		id = follow_up(&other, "set_quantity", "buy_back",
					   spinpanel_json_of(psprintf("{\"more\": %d}", part)));
		record(op, &rooms[i].subscription_id, id, "seats are being bought back", why);
		amount -= part;
	}
	return amount;
}

/*
 * Buys amount seats back: on the operation's own subscription where that is
 * still possible, else on others of the pool.
 */
static void
buy_back(const Operation *op, Jsonb *subscription, int32 amount, const char *why)
{
	int64 present = 0;
	int64 id = 0;
	int32 left = 0;

	(void) spinpanel_json_int(&subscription->root, "quantity", &present);
	if (is_kind(op, "suspend") && !is_active(subscription))
		id = follow_up(op, "reactivate", "buy_back", spinpanel_json_of("{\"status\": \"active\"}"));
	else if (is_active(subscription))
		id = follow_up(op, "set_quantity", "buy_back",
					   spinpanel_json_of(psprintf("{\"quantity\": %d}", (int) present + amount)));
	else
		left = buy_back_elsewhere(op, amount, why);

	if (id != 0)
		record(op, &op->subscription_id, id, "seats are being bought back", why);
	if (left > 0)
		record(op, &op->subscription_id, 0, "seats could not be bought back",
			   psprintf("%s; %d of them: no other subscription of the pool has room", why, left));
	ereport(LOG, (errmsg("spinpanel buys %d seat(s) of subscription %s back: %s", amount,
						 spinpanel_uuid_text(&op->subscription_id), why),
				  left > 0 ? errdetail("For %d of them no subscription of the pool has room.", left)
						   : 0));
}

/*
 * Seats that users hold beyond what is left after a removal.  Right after the
 * change the report may not show it yet: then what must be left is reckoned.
 */
static int32
seats_taken(const Operation *op, int32 *left, int32 *consumed)
{
	int32 owned;
	int32 active;
	int32 base_active = spinpanel_operation_base(op, "active", -1);
	int32 base_owned = spinpanel_operation_base(op, "owned", -1);

	if (base_active < 0 || base_owned < 0 || !op->has_sku ||
		!spinpanel_pool_figures(&op->customer_id, &op->sku_id, &owned, &active, consumed))
		return 0;
	*left = active >= base_active ? base_active + (owned - base_owned) : active;
	return *consumed > *left ? *consumed - *left : 0;
}

static void
buy_back_taken(const Operation *op, Jsonb *subscription, int32 removed)
{
	bool open;
	int32 already = spinpanel_operation_bought_back(op, &open);
	int32 left = 0;
	int32 consumed = 0;
	int32 taken = seats_taken(op, &left, &consumed);
	int32 amount = Min(taken, removed - already);

	if (open || amount <= 0)
		return;
	buy_back(
		op, subscription, amount,
		psprintf(
			"%d seats are assigned and %d were left after %d had been given back: somebody took a seat meanwhile",
			consumed, left, removed));
}

/*
 * What our own change found at Partner Center, by its audit record; NULL while
 * that is not listed.  One that was sent twice may have been carried out twice:
 * *again, unless NULL, is what the last of them found, or NULL.
 */
static Jsonb *
found_by_ours(const Operation *op, Jsonb *audit, Jsonb **again)
{
	Jsonb *found = NULL;
	JsonbContainer *items;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;
	char *own = spinpanel_uuid_text(&op->correlation_id);

	if (again != NULL)
		*again = NULL;
	if (audit == NULL || !is_kind(op, "set_quantity"))
		return NULL;
	items = spinpanel_json_container(&audit->root, "items");
	if (items == NULL || !JsonContainerIsArray(items))
		return NULL;
	it = JsonbIteratorInit(items);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbContainer *record;
		Jsonb *old_value;
		char *text;
		pg_uuid_t subscription;
		int64 before;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		record = value.val.binary.data;
		text = spinpanel_json_text(record, "originalCorrelationId");
		if (text == NULL || pg_strcasecmp(text, own) != 0)
			continue;
		text = spinpanel_json_text(record, "resourceOldValue");
		old_value = text ? spinpanel_json_parse(text, strlen(text)) : NULL;
		if (old_value == NULL || !spinpanel_json_uuid(&old_value->root, "id", &subscription) ||
			memcmp(&subscription, &op->subscription_id, sizeof(subscription)) != 0 ||
			!spinpanel_json_int(&old_value->root, "quantity", &before) || before > INT32_MAX)
			continue;
		/* The newest comes first. */
		if (found != NULL && again != NULL && *again == NULL)
			*again = found;
		found = old_value;
	}
	return found;
}

bool
spinpanel_op_followup_on_record(const Operation *op, Jsonb *audit)
{
	return found_by_ours(op, audit, NULL) != NULL;
}

bool
spinpanel_op_followup_may_lack(const Operation *op)
{
	return is_kind(op, "set_actions") && is_purpose(op, "schedule");
}

/*
 * Seats that somebody added between our read and our change, and that our
 * absolute target therefore undid: what our change found is more than what we
 * had read.
 */
static int32
seats_undone(const Operation *op, Jsonb *found)
{
	int32 base = spinpanel_operation_base(op, "quantity", -1);
	int64 before;

	if (found == NULL || base < 0 || !spinpanel_json_int(&found->root, "quantity", &before))
		return 0;
	return before > base ? (int32) before - base : 0;
}

/* The same, where our change arrived once more after others had followed it. */
static int32
seats_undone_again(const Operation *op, Jsonb *found)
{
	int64 before;
	int64 wanted;

	if (found == NULL || !spinpanel_json_int(&found->root, "quantity", &before) ||
		!spinpanel_json_int(&op->wanted->root, "quantity", &wanted))
		return 0;
	return before > wanted ? (int32) (before - wanted) : 0;
}

static const char *const product_members[] = { "productId",    "skuId",        "availabilityId",
											   "billingCycle", "termDuration", "promotionId" };

/*
 * Do both schedule the same?  Audit records spell members in another way, so
 * what they say is compared and not how.
 */
static bool
same_schedule(Jsonb *a, Jsonb *b)
{
	int64 a_quantity = -1;
	int64 b_quantity = -1;
	int i;

	(void) spinpanel_json_int(&a->root, "quantity", &a_quantity);
	(void) spinpanel_json_int(&b->root, "quantity", &b_quantity);
	if (a_quantity != b_quantity)
		return false;
	for (i = 0; i < (int) lengthof(product_members); i++)
	{
		char *path = psprintf("product.%s", product_members[i]);
		char *mine = spinpanel_json_text(&a->root, path);
		char *theirs = spinpanel_json_text(&b->root, path);

		/* One that is not told in one of them does not differ. */
		if (mine != NULL && theirs != NULL && pg_strcasecmp(mine, theirs) != 0)
			return false;
	}
	return true;
}

/* The schedule in the spelling that a change needs, with another quantity. */
static Jsonb *
schedule_with(Jsonb *schedule, int64 quantity)
{
	StringInfoData text;
	bool first = true;
	int i;

	initStringInfo(&text);
	appendStringInfoString(&text, "{\"product\": {");
	for (i = 0; i < (int) lengthof(product_members); i++)
	{
		char *value =
			spinpanel_json_text(&schedule->root, psprintf("product.%s", product_members[i]));

		if (value == NULL || value[0] == '\0')
			continue;
		appendStringInfo(&text, "%s\"%s\": ", first ? "" : ", ", product_members[i]);
		escape_json(&text, value);
		first = false;
	}
	appendStringInfo(&text, "}, \"quantity\": " INT64_FORMAT "}", quantity);
	return spinpanel_json_of(text.data);
}

/*
 * A schedule that somebody set between our read and our change, and that our
 * change wiped, is set again, once: with its quantity plus the seats bought,
 * less those returned.
 */
static void
restore_wiped(const Operation *op, Jsonb *subscription, Jsonb *found)
{
	Jsonb *wiped =
		found == NULL ? NULL : spinpanel_json_take(found, "scheduledNextTermInstructions");
	Jsonb *read = spinpanel_json_take(op->base, "scheduledNextTermInstructions");
	int64 next;

	if (wiped == NULL ||
		spinpanel_json_take(subscription, "scheduledNextTermInstructions") != NULL ||
		(read != NULL && same_schedule(read, wiped)) ||
		!spinpanel_json_int(&wiped->root, "quantity", &next) ||
		spinpanel_operation_has_follower(op, "set_schedule", "restore"))
		return;
	next += spinpanel_op_check_seats(op);
	(void) follow_up(
		op, "set_schedule", "restore",
		object_with("scheduledNextTermInstructions", schedule_with(wiped, Max(next, (int64) 1))));
}

/* Seats that were undone come back, once. */
static void
buy_back_undone(const Operation *op, Jsonb *subscription, int32 undone)
{
	bool open;

	if (undone > 0 && spinpanel_operation_bought_back(op, &open) == 0 && !open)
		buy_back(op, subscription, undone,
				 psprintf("somebody added %d seat(s) between our read and our change", undone));
}

/* Suspending switched auto-renew off: it is as it was before. */
static void
renew_again(const Operation *op, Jsonb *subscription)
{
	Operation *suspension =
		op->after_operation == 0
			? NULL
			: spinpanel_operation_get(op->after_operation, CurrentMemoryContext);
	bool renews;

	if (suspension == NULL || !is_kind(suspension, "suspend") || suspension->base == NULL ||
		!spinpanel_json_bool(&suspension->base->root, "autoRenewEnabled", &renews) || !renews ||
		!spinpanel_json_bool(&subscription->root, "autoRenewEnabled", &renews) || renews)
		return;
	(void) follow_up(op, "set_auto_renew", "restore",
					 spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));
}

void
spinpanel_op_followup_done(Operation *op, Jsonb *subscription, Jsonb *answer, bool licenses_known,
						   Jsonb *audit, const char *remark)
{
	int32 seats = spinpanel_op_check_seats(op);
	int32 active = spinpanel_operation_base(op, "active", -1);
	int32 undone;
	TimestampTz verify_at = 0;
	bool sent;
	bool renews;
	Jsonb *found = found_by_ours(op, audit, NULL);

	/*
	 * Without the explicit cancel it would run on in Extended Service Terms,
	 * dearer: then it had better renew, and go in the window after that.
	 */
	if (spinpanel_op_followup_may_lack(op) &&
		spinpanel_op_check_outcome(op, subscription) != OUTCOME_APPLIED)
	{
		if (spinpanel_json_bool(&subscription->root, "autoRenewEnabled", &renews) && !renews)
		{
			Operation undo = *op;

			undo.operation_id = 0;
			(void) follow_up(
				&undo, "set_auto_renew", "restore",
				spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));
		}
		spinpanel_op_followup_over(op, "refused", 0, NULL,
								   "Partner Center did not keep the explicit cancel", answer);
		return;
	}

	undone = seats_undone(op, found);
	/* One that was sent twice may still arrive once more. */
	if (op->has_sku &&
		(seats < 0 || (is_kind(op, "set_quantity") && (found == NULL || op->attempts > 1))))
		verify_at = spinpanel_now() + (int64) spinpanel_settle_time * USECS_PER_SEC;
	if (!spinpanel_operation_done(op, seats, answer, verify_at, remark))
		return;

	if (op->has_sku && active >= 0 && seats < 0)
		spinpanel_mirror_removed(&op->customer_id, &op->sku_id, active + seats);
	else if (op->has_sku && seats > 0)
		spinpanel_mirror_added(&op->customer_id, &op->sku_id, seats);
	if (is_kind(op, "suspend"))
		spinpanel_mirror_mark_ours(
			&op->subscription_id, MIRROR_OUR_SUSPENSION,
			spinpanel_json_bool(&op->base->root, "autoRenewEnabled", &renews) && renews ? 1 : 0);
	if (is_kind(op, "set_actions") && is_purpose(op, "schedule"))
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_END, 1);
	if (is_kind(op, "set_schedule") && is_purpose(op, "schedule"))
	{
		int64 next = -1;

		(void) spinpanel_json_int(&op->wanted->root, "scheduledNextTermInstructions.quantity",
								  &next);
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_NEXT_QUANTITY, (int32) next);
	}
	if (is_purpose(op, "merge") && seats > 0 && active >= 0)
		spinpanel_operation_after(op, active + seats);

	/* A change that switches auto-renew off against the body that was sent. */
	if (answer != NULL && op->body != NULL &&
		spinpanel_json_bool(&op->body->root, "autoRenewEnabled", &sent) && sent &&
		spinpanel_json_bool(&answer->root, "autoRenewEnabled", &renews) && !renews &&
		!is_kind(op, "suspend") && !is_kind(op, "cancel"))
		(void) follow_up(
			op, "set_auto_renew", "restore",
			spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));

	if (is_kind(op, "reactivate"))
		renew_again(op, subscription);
	restore_wiped(op, subscription, found);
	if (undone > 0)
		buy_back_undone(op, subscription, undone);
	else if (seats < 0 && licenses_known)
		buy_back_taken(op, subscription, -seats);

	spinpanel_adjustment_operation_over(op, remark);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_request_operation_over(op, "done", NULL, remark, NULL);
}

void
spinpanel_op_followup_look_again(Operation *op, Jsonb *subscription, Jsonb *audit)
{
	Jsonb *again;
	Jsonb *found = found_by_ours(op, audit, &again);
	int32 undone = seats_undone(op, found) + seats_undone_again(op, again);

	restore_wiped(op, subscription, found);
	if (undone > 0)
		buy_back_undone(op, subscription, undone);
	else if (op->seats < 0)
		buy_back_taken(op, subscription, -op->seats);
	spinpanel_operation_verified(op, NULL);
}

/* Seats that users hold beyond what is owned. */
static int32
seats_missing(const Operation *op)
{
	int32 owned;
	int32 active;
	int32 consumed;

	return spinpanel_pool_figures(&op->customer_id, &op->sku_id, &owned, &active, &consumed) &&
				   consumed > owned
			   ? consumed - owned
			   : 0;
}

static void
buy_back_otherwise(const Operation *op, const char *error)
{
	Operation *cause = spinpanel_operation_get(op->after_operation, CurrentMemoryContext);
	int64 amount = 0;
	int32 left;
	bool open;

	/* What bought back on another subscription asked for "more". */
	if (cause == NULL)
		return;
	if (!spinpanel_json_int(&op->wanted->root, "more", &amount))
	{
		if (is_kind(op, "set_quantity") && op->base != NULL)
			amount = spinpanel_op_check_seats(op);
		else
			amount = Min(-cause->seats - spinpanel_operation_bought_back(cause, &open),
						 seats_missing(op));
	}
	if (amount <= 0)
		return;
	if (spinpanel_operation_followers(cause, "buy_back") > BUY_BACK_TRIES)
		left = (int32) amount;
	else
	{
		Operation from = *cause;

		from.subscription_id = op->subscription_id;
		left = buy_back_elsewhere(&from, (int32) amount, error);
	}
	if (left > 0)
	{
		record(op, &op->subscription_id, op->operation_id, "seats could not be bought back",
			   psprintf("%d seat(s): %s", left, error ? error : "no reason given"));
		ereport(LOG, (errmsg("spinpanel could not buy %d seat(s) back at subscription %s: %s", left,
							 spinpanel_uuid_text(&op->subscription_id),
							 error ? error : "no reason given")));
	}
}

void
spinpanel_op_followup_over(Operation *op, const char *status, int http_status, const char *code,
						   const char *error, const Jsonb *answer)
{
	Operation *head = is_purpose(op, "merge") ? spinpanel_op_check_merge_head(op) : NULL;

	if (!spinpanel_operation_over(op, status, http_status, code, error, answer))
		return;

	/* Seats that are needed and do not come this way come another. */
	if (is_purpose(op, "buy_back") && op->has_sku &&
		(strcmp(status, "cancelled") != 0 || seats_missing(op) > 0))
		buy_back_otherwise(op, error);

	/*
	 * A merge that stops half-way leaves seats that stood in for those of the
	 * younger subscription: the oldest goes down again.
	 */
	if (head != NULL)
	{
		Operation undo = *head;

		undo.operation_id = head->operation_id;
		undo.run_id = op->run_id;
		(void) follow_up(&undo, "set_quantity", "give_back",
						 spinpanel_json_of(psprintf(
							 "{\"quantity\": %d}", spinpanel_operation_base(head, "quantity", 1))));
	}
	spinpanel_adjustment_operation_over(op, error);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_request_operation_over(op, status, code, error, NULL);
}
