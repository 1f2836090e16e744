/*
 * op_followup.c
 *
 * Partner Center has no conditional change, wipes schedules with any mid-term
 * change, and its report lags.  So every change is followed up: what it wiped
 * is set again, what it took is watched (op_watch.c), and a merge that stops
 * half-way is undone.  It reads no clock but the extension's and sends nothing:
 * it queues operations.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "state/adjustment.h"
#include "state/mirror.h"
#include "state/operation_base.h"
#include "state/request.h"
#include "worker/op_check.h"
#include "worker/op_followup.h"
#include "worker/op_wanted.h"
#include "worker/op_watch.h"

#define RENEW_AGAIN "{\"autoRenewEnabled\": true, \"scheduledActions\": null}"

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
follow_up(const Operation *op, const char *kind, const char *purpose, Jsonb *wanted, Jsonb *base)
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
	next.base = base;
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

	schedule = spinpanel_json_take(subscription, BASE_SCHEDULE);
	if (schedule != NULL && !spinpanel_operation_schedules_after(op))
	{
		int64 next;
		int32 seats = spinpanel_op_check_seats(op);
		bool ours = spinpanel_mirror_is_our_schedule(&op->subscription_id);
		Jsonb *wiped = schedule;

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
						 object_with(BASE_SCHEDULE, schedule), object_with(BASE_WIPED, wiped));
	}
	actions = spinpanel_json_take(subscription, BASE_ACTIONS);

	/* Who buys wants it to go on: an end of ours is taken back. */
	if (is_purpose(op, "buy") && spinpanel_mirror_is_our_end(&op->subscription_id))
		(void) follow_up(op, "set_auto_renew", "restore", spinpanel_json_of(RENEW_AGAIN), NULL);
	else if (actions != NULL && JB_ROOT_IS_ARRAY(actions) && JB_ROOT_COUNT(actions) > 0)
		(void) follow_up(op, "set_actions", "restore", object_with(BASE_ACTIONS, actions), NULL);
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

char *
spinpanel_op_followup_audit_path(const pg_uuid_t *customer_id, TimestampTz from)
{
	char *filter = psprintf("{\"Field\":\"CustomerId\",\"Value\":\"%s\",\"Operator\":\"equals\"}",
							spinpanel_uuid_text(customer_id));
	struct pg_tm tm;
	fsec_t fsec;
	StringInfoData path;
	const char *c;

	initStringInfo(&path);
	if (timestamp2tm(from - 2 * USECS_PER_MINUTE, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	appendStringInfo(&path, "/auditrecords?startDate=%04d-%02d-%02d&size=500&filter=", tm.tm_year,
					 tm.tm_mon, tm.tm_mday);
	for (c = filter; *c; c++)
	{
		if (isalnum((unsigned char) *c) || *c == '-')
			appendStringInfoChar(&path, *c);
		else
			appendStringInfo(&path, "%%%02X", (unsigned char) *c);
	}
	return path.data;
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
	int32 base = spinpanel_operation_base(op, BASE_QUANTITY, -1);
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

/*
 * A schedule that somebody set between our read and our change, and that our
 * change wiped, is set again, once: with its quantity plus the seats bought,
 * less those returned.
 */
static void
restore_wiped(const Operation *op, Jsonb *subscription, Jsonb *found)
{
	Jsonb *wiped = found == NULL ? NULL : spinpanel_json_take(found, BASE_SCHEDULE);
	Jsonb *read = spinpanel_json_take(op->base, BASE_SCHEDULE);
	int64 next;

	if (wiped == NULL || spinpanel_json_take(subscription, BASE_SCHEDULE) != NULL ||
		(read != NULL && spinpanel_op_wanted_same_schedule(read, wiped)) ||
		!spinpanel_json_int(&wiped->root, "quantity", &next) ||
		spinpanel_operation_has_follower(op, "set_schedule", "restore"))
		return;
	next += spinpanel_op_check_seats(op);
	(void) follow_up(
		op, "set_schedule", "restore",
		object_with(BASE_SCHEDULE, spinpanel_op_wanted_respelled(wiped, Max(next, (int64) 1))),
		object_with(BASE_WIPED, wiped));
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
		!spinpanel_json_bool(&suspension->base->root, BASE_AUTO_RENEW, &renews) || !renews ||
		!spinpanel_json_bool(&subscription->root, "autoRenewEnabled", &renews) || renews)
		return;
	(void) follow_up(op, "set_auto_renew", "restore", spinpanel_json_of(RENEW_AGAIN), NULL);
}

bool
spinpanel_op_followup_audited(const Operation *op, Jsonb *subscription, Jsonb *audit, int32 *undone)
{
	Jsonb *again;
	Jsonb *found = found_by_ours(op, audit, &again);

	if (found == NULL)
		return false;
	*undone = seats_undone(op, found) + seats_undone_again(op, again);
	if (subscription != NULL)
		restore_wiped(op, subscription, found);
	return true;
}

void
spinpanel_op_followup_done(Operation *op, Jsonb *subscription, Jsonb *answer, bool licenses_known,
						   Jsonb *audit, const char *remark)
{
	int32 seats = spinpanel_op_check_seats(op);
	int32 active = spinpanel_operation_base(op, BASE_ACTIVE, -1);
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
		if (spinpanel_json_bool(&subscription->root, BASE_AUTO_RENEW, &renews) && !renews)
		{
			Operation undo = *op;

			undo.operation_id = 0;
			(void) follow_up(&undo, "set_auto_renew", "restore", spinpanel_json_of(RENEW_AGAIN),
							 NULL);
		}
		spinpanel_op_followup_over(op, "refused", 0, NULL,
								   "Partner Center did not keep the explicit cancel", answer);
		return;
	}

	if (!spinpanel_operation_done(op, seats, answer, remark))
		return;

	if (op->has_sku && active >= 0 && seats < 0)
		spinpanel_mirror_removed(&op->customer_id, &op->sku_id, active + seats,
								 spinpanel_operation_base(op, BASE_OWNED, 0) + seats);
	if (is_kind(op, "suspend"))
		spinpanel_mirror_mark_ours(
			&op->subscription_id, MIRROR_OUR_SUSPENSION,
			spinpanel_json_bool(&op->base->root, BASE_AUTO_RENEW, &renews) && renews ? 1 : 0);
	if (is_kind(op, "set_actions") && is_purpose(op, "schedule"))
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_END, 1);
	if (is_kind(op, "set_schedule") && (is_purpose(op, "schedule") || is_purpose(op, "put_back")))
	{
		int64 next = -1;

		(void) spinpanel_json_int(&op->wanted->root, BASE_SCHEDULE ".quantity", &next);
		spinpanel_mirror_mark_ours(&op->subscription_id, MIRROR_OUR_NEXT_QUANTITY, (int32) next);
	}
	if (is_purpose(op, "merge") && seats > 0 && active >= 0)
		spinpanel_operation_after(op, active + seats);

	/* A change that switches auto-renew off against the body that was sent. */
	if (answer != NULL && op->body != NULL &&
		spinpanel_json_bool(&op->body->root, BASE_AUTO_RENEW, &sent) && sent &&
		spinpanel_json_bool(&answer->root, BASE_AUTO_RENEW, &renews) && !renews &&
		!is_kind(op, "suspend") && !is_kind(op, "cancel"))
		(void) follow_up(op, "set_auto_renew", "restore", spinpanel_json_of(RENEW_AGAIN), NULL);

	if (is_kind(op, "reactivate"))
		renew_again(op, subscription);
	restore_wiped(op, subscription, found);

	/* One that was sent twice may still arrive once more. */
	spinpanel_op_watch_done(op, seats, seats_undone(op, found),
							is_kind(op, "set_quantity") && (found == NULL || op->attempts > 1),
							licenses_known);

	spinpanel_adjustment_operation_over(op, remark);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_request_operation_over(op, "done", NULL, remark, NULL);
}

void
spinpanel_op_followup_over(Operation *op, const char *status, int http_status, const char *code,
						   const char *error, const Jsonb *answer)
{
	Operation *head = is_purpose(op, "merge") ? spinpanel_op_check_merge_head(op) : NULL;
	bool may_have_been = strcmp(op->status, "unknown") == 0 && strcmp(status, "refused") != 0;

	if (!spinpanel_operation_over(op, status, http_status, code, error, answer))
		return;
	spinpanel_op_watch_over(op, may_have_been, error);

	/* What was wiped is not there again: a person has to know. */
	if (is_purpose(op, "restore") && strcmp(status, "cancelled") != 0)
		ereport(
			LOG,
			(errmsg(
				"spinpanel could not set again what a change had wiped from subscription %s: %s",
				spinpanel_uuid_text(&op->subscription_id), error ? error : "no reason given")));

	/*
	 * A merge that stops half-way leaves seats that stood in for those of the
	 * younger subscription: the oldest goes down again.
	 */
	if (head != NULL)
	{
		Operation undo = *head;

		undo.operation_id = head->operation_id;
		undo.run_id = op->run_id;
		(void) follow_up(
			&undo, "set_quantity", "give_back",
			spinpanel_json_of(
				psprintf("{\"quantity\": %d}", spinpanel_operation_base(head, BASE_QUANTITY, 1))),
			NULL);
	}
	spinpanel_adjustment_operation_over(op, error);
	if (is_purpose(op, "buy") || is_purpose(op, "give_back"))
		spinpanel_request_operation_over(op, status, code, error, NULL);
}
