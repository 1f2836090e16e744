/*
 * aftermath.c
 *
 * Partner Center has no conditional change, wipes schedules with any mid-term
 * change, and its report lags.  So every change is followed up: what it wiped
 * is set again, seats that somebody took or added meanwhile are bought back,
 * and a merge that stops half-way is undone.  It reads no clock but the
 * extension's and sends nothing: it queues operations.
 */
#include "postgres.h"

#include "adjustments.h"
#include "aftermath.h"
#include "clock.h"
#include "demand.h"
#include "history.h"
#include "json.h"
#include "judge.h"
#include "mirror.h"
#include "pool.h"
#include "settings.h"
#include "state.h"
#include "utils/builtins.h"

static Jsonb *
jsonb_of(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static Jsonb *
member_of(Jsonb *object, const char *name)
{
	JsonbValue	value;

	if (object == NULL || !spinpanel_json_member(&object->root, name, &value) ||
		value.type == jbvNull)
		return NULL;
	return JsonbValueToJsonb(&value);
}

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
	Operation	next;

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
	return spinpanel_outbox_add(&next);
}

static Jsonb *
object_with(const char *name, Jsonb *value)
{
	return spinpanel_json_with(jsonb_of("{}"), name, value);
}

void
spinpanel_aftermath_prepare(const Operation *op, Jsonb *subscription)
{
	Jsonb	   *schedule;
	Jsonb	   *actions;

	if (!is_kind(op, "set_quantity"))
		return;

	schedule = member_of(subscription, "scheduledNextTermInstructions");
	if (schedule != NULL && !spinpanel_outbox_schedules_after(op))
	{
		int64		next;
		int32		seats = spinpanel_judge_seats(op);
		bool		ours = spinpanel_mirror_is_our_schedule(&op->subscription_id);

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
										   jsonb_of(psprintf(INT64_FORMAT, next)));
		}
		/* Ours is judged by the planner once more. */
		(void) follow_up(op, "set_schedule", ours ? "schedule" : "restore",
						 object_with("scheduledNextTermInstructions", schedule));
	}
	actions = member_of(subscription, "scheduledActions");

	/* Who buys wants it to go on: an end of ours is taken back. */
	if (is_purpose(op, "buy") && spinpanel_mirror_is_our_end(&op->subscription_id))
		(void) follow_up(op, "set_auto_renew", "restore",
						 jsonb_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));
	else if (actions != NULL && JB_ROOT_IS_ARRAY(actions) && JB_ROOT_COUNT(actions) > 0)
		(void) follow_up(op, "set_actions", "restore",
						 object_with("scheduledActions", actions));
}

/* Buys amount seats back on the operation's subscription. */
static void
buy_back(const Operation *op, Jsonb *subscription, int32 amount, const char *why)
{
	HistoryEntry entry;
	int64		present = 0;
	int64		id;

	(void) spinpanel_json_int(&subscription->root, "quantity", &present);
	if (is_kind(op, "suspend"))
		id = follow_up(op, "reactivate", "buy_back", jsonb_of("{\"status\": \"active\"}"));
	else
		id = follow_up(op, "set_quantity", "buy_back",
					   jsonb_of(psprintf("{\"quantity\": %d}", (int) present + amount)));

	memset(&entry, 0, sizeof(entry));
	entry.event = "seats bought back";
	entry.account_id = op->account_id;
	entry.customer_id = &op->customer_id;
	entry.sku_id = op->has_sku ? &op->sku_id : NULL;
	entry.subscription_id = &op->subscription_id;
	entry.run_id = op->run_id;
	entry.adjustment_id = op->adjustment_id;
	entry.operation_id = id;
	entry.reason = why;
	spinpanel_history_add(&entry);
	ereport(LOG,
			(errmsg("spinpanel buys %d seat(s) of subscription %s back: %s", amount,
					spinpanel_uuid_text(&op->subscription_id), why)));
}

/*
 * Seats that users hold beyond what is left after a removal.  Right after the
 * change the report may not show it yet: then what must be left is reckoned.
 */
static int32
seats_taken(const Operation *op, int32 *left, int32 *consumed)
{
	int32		owned;
	int32		active;
	int32		base_active = spinpanel_judge_base(op, "active", -1);
	int32		base_owned = spinpanel_judge_base(op, "owned", -1);

	if (base_active < 0 || base_owned < 0 ||
		!op->has_sku ||
		!spinpanel_pool_figures(&op->customer_id, &op->sku_id, &owned, &active, consumed))
		return 0;
	*left = active >= base_active ? base_active + (owned - base_owned) : active;
	return *consumed > *left ? *consumed - *left : 0;
}

static void
buy_back_taken(const Operation *op, Jsonb *subscription, int32 removed)
{
	bool		open;
	int32		already = spinpanel_outbox_bought_back(op, &open);
	int32		left = 0;
	int32		consumed = 0;
	int32		taken = seats_taken(op, &left, &consumed);
	int32		amount = Min(taken, removed - already);

	if (open || amount <= 0)
		return;
	buy_back(op, subscription, amount,
			 psprintf("%d seats are assigned and %d were left after %d had been given back: somebody took a seat meanwhile",
					  consumed, left, removed));
}

/*
 * Seats that somebody added between our read and our change, and that our
 * absolute target therefore undid.  The audit record of our own change tells:
 * what it found is more than what we had read.  *found: the record is there
 * (it may be listed later).
 */
static int32
seats_undone(const Operation *op, Jsonb *audit, bool *found)
{
	JsonbContainer *items;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *own = spinpanel_uuid_text(&op->correlation_id);
	int32		base = spinpanel_judge_base(op, "quantity", -1);

	*found = false;
	if (audit == NULL || base < 0 || !is_kind(op, "set_quantity"))
		return 0;
	items = spinpanel_json_container(&audit->root, "items");
	if (items == NULL || !JsonContainerIsArray(items))
		return 0;
	it = JsonbIteratorInit(items);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbContainer *record;
		Jsonb	   *old_value;
		char	   *text;
		pg_uuid_t	subscription;
		int64		before;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		record = value.val.binary.data;
		text = spinpanel_json_text(record, "originalCorrelationId");
		if (text == NULL || pg_strcasecmp(text, own) != 0)
			continue;
		text = spinpanel_json_text(record, "resourceOldValue");
		old_value = text ? spinpanel_json_parse(text, strlen(text)) : NULL;
		if (old_value == NULL ||
			!spinpanel_json_uuid(&old_value->root, "id", &subscription) ||
			memcmp(&subscription, &op->subscription_id, sizeof(subscription)) != 0 ||
			!spinpanel_json_int(&old_value->root, "quantity", &before) || before > INT32_MAX)
			continue;
		*found = true;
		return before > base ? (int32) before - base : 0;
	}
	return 0;
}

/* Seats that were undone come back, once. */
static void
buy_back_undone(const Operation *op, Jsonb *subscription, int32 undone)
{
	bool		open;

	if (undone > 0 && spinpanel_outbox_bought_back(op, &open) == 0 && !open)
		buy_back(op, subscription, undone,
				 psprintf("somebody added %d seat(s) between our read and our change", undone));
}

void
spinpanel_aftermath_done(Operation *op, Jsonb *subscription, Jsonb *answer,
						 bool licenses_known, Jsonb *audit, const char *remark)
{
	int32		seats = spinpanel_judge_seats(op);
	int32		active = spinpanel_judge_base(op, "active", -1);
	int32		undone;
	TimestampTz verify_at = 0;
	bool		sent;
	bool		renews;
	bool		on_record = false;

	/*
	 * Without the explicit cancel it would run on in Extended Service Terms,
	 * dearer: then it had better renew, and go in the window after that.
	 */
	if (is_kind(op, "set_actions") && is_purpose(op, "schedule") &&
		spinpanel_judge_outcome(op, subscription) != OUTCOME_APPLIED)
	{
		if (spinpanel_json_bool(&subscription->root, "autoRenewEnabled", &renews) && !renews)
		{
			Operation	undo = *op;

			undo.operation_id = 0;
			(void) follow_up(&undo, "set_auto_renew", "restore",
							 jsonb_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));
		}
		spinpanel_aftermath_over(op, "refused", 0, NULL,
								 "Partner Center did not keep the explicit cancel", answer);
		return;
	}

	undone = seats_undone(op, audit, &on_record);
	if (op->has_sku && (seats < 0 || (is_kind(op, "set_quantity") && !on_record)))
		verify_at = spinpanel_now() + (int64) spinpanel_settle_time * USECS_PER_SEC;
	if (!spinpanel_outbox_done(op, seats, answer, verify_at, remark))
		return;

	if (op->has_sku && active >= 0 && seats < 0)
		spinpanel_mirror_removed(&op->customer_id, &op->sku_id, active + seats);
	else if (op->has_sku && seats > 0)
		spinpanel_mirror_added(&op->customer_id, &op->sku_id, seats);
	if (is_kind(op, "suspend"))
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_SUSPENSION, 1);
	if (is_kind(op, "set_actions") && is_purpose(op, "schedule"))
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_END, 1);
	if (is_kind(op, "set_schedule") && is_purpose(op, "schedule"))
	{
		int64		next = -1;

		(void) spinpanel_json_int(&op->wanted->root, "scheduledNextTermInstructions.quantity", &next);
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_NEXT_QUANTITY, (int32) next);
	}
	if (is_purpose(op, "merge") && seats > 0 && active >= 0)
		spinpanel_outbox_after(op, active + seats);

	/* A change that switches auto-renew off against the body that was sent. */
	if (answer != NULL && op->body != NULL &&
		spinpanel_json_bool(&op->body->root, "autoRenewEnabled", &sent) && sent &&
		spinpanel_json_bool(&answer->root, "autoRenewEnabled", &renews) && !renews &&
		!is_kind(op, "suspend") && !is_kind(op, "cancel"))
		(void) follow_up(op, "set_auto_renew", "restore",
						 jsonb_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"));

	if (undone > 0)
		buy_back_undone(op, subscription, undone);
	else if (seats < 0 && licenses_known)
		buy_back_taken(op, subscription, -seats);

	spinpanel_adjustments_operation_over(op, remark);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_demand_operation_over(op, "done", NULL, remark, NULL);
}

void
spinpanel_aftermath_look_again(Operation *op, Jsonb *subscription, Jsonb *audit)
{
	bool		on_record;
	int32		undone = seats_undone(op, audit, &on_record);

	if (undone > 0)
		buy_back_undone(op, subscription, undone);
	else if (op->seats < 0)
		buy_back_taken(op, subscription, -op->seats);
	spinpanel_outbox_verified(op, NULL);
}

void
spinpanel_aftermath_over(Operation *op, const char *status, int http_status,
						 const char *code, const char *error, const Jsonb *answer)
{
	Operation  *head = is_purpose(op, "merge") ? spinpanel_judge_merge_head(op) : NULL;

	if (!spinpanel_outbox_over(op, status, http_status, code, error, answer))
		return;

	/*
	 * A merge that stops half-way leaves seats that stood in for those of the
	 * younger subscription: the oldest goes down again.
	 */
	if (head != NULL)
	{
		Operation	undo = *head;

		undo.operation_id = head->operation_id;
		undo.run_id = op->run_id;
		(void) follow_up(&undo, "set_quantity", "give_back",
						 jsonb_of(psprintf("{\"quantity\": %d}",
										   spinpanel_judge_base(head, "quantity", 1))));
	}
	spinpanel_adjustments_operation_over(op, error);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_demand_operation_over(op, status, code, error, NULL);
}
