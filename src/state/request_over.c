/*
 * request_over.c
 *
 * See request.h.  What becomes of requests when an operation for them has ended.
 * It must never decide how much is bought (decide/request_plan.c).
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "decide/request_plan.h"
#include "state/adjustment.h"
#include "state/request.h"
#include "state/request_rows.h"
#include "state/statement.h"

/* A licence was released: so many of the oldest are looked at again. */
#define WOKEN_BY_RELEASE 20

/* ---- an operation has ended ------------------------------------------------------------------ */

static int64
retry_delay(const DemandRequest *r)
{
	return spinpanel_backoff_delay(r->attempts < 1 ? 1 : r->attempts, 2000,
								   Min(60 * 1000, spinpanel_retry_max_delay), SpinpanelRandom());
}

void
spinpanel_request_begin_again(Demand *demand, DemandRequest *r, const char *event,
							  const char *reason, bool at_once)
{
	r->status = r->seat_bought ? "provisioning" : "queued";
	if (!r->seat_bought)
	{
		r->buy_operation = 0;
		r->active_level = -1;
		r->status = "queued";
	}
	r->operation_id = 0;
	r->consumed_level = -1;
	r->looked_at = 0;
	if (!at_once)
		r->attempts++;
	r->not_before = at_once ? demand->now : demand->now + retry_delay(r) * 1000;
	spinpanel_request_save(demand, r, event, reason);
}

static bool
holds(Jsonb *result, const pg_uuid_t *sku_id)
{
	JsonbContainer *held = result == NULL ? NULL : spinpanel_json_container(&result->root, "held");
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;

	if (held == NULL || !JsonContainerIsArray(held))
		return false;
	it = JsonbIteratorInit(held);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		pg_uuid_t id;

		if (token == WJB_ELEM && value.type == jbvString &&
			spinpanel_parse_uuid(pnstrdup(value.val.string.val, value.val.string.len), &id) &&
			same_uuid(&id, sku_id))
			return true;
	}
	return false;
}

/* Those that wait for this in the pool; most: so many of the oldest, 0 = all. */
static void
wake_pool(const Demand *demand, const pg_uuid_t *sku_id, const char *waits_for, int32 most)
{
	/* In the order of its index: it ends with the limit. */
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $3 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.waits_for = $4"
		" AND (q.status = 'queued' AND q.not_before > $3) IS TRUE ORDER BY q.request_id"
		" LIMIT nullif($5, 0) FOR UPDATE SKIP LOCKED)",
		"uuTti", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_time(demand->now);
	args[3] = spinpanel_arg_text(waits_for);
	args[4] = spinpanel_arg_int(most);
	spinpanel_state_run(&update, args, 0);
}

/* Partner Center says that no seat is free. */
static void
no_seat_free(Demand *demand, DemandRequest *r, bool alone)
{
	DemandPool pool;
	AskCustomer customer;
	AskPool asked;
	AskRequest request;
	char why[ASK_TEXT];

	r->operation_id = 0;
	r->consumed_level = -1;
	r->attempts++;
	if (!alone)
	{
		/* It may be about another SKU of the same call: one by one. */
		r->status = r->seat_bought ? "provisioning" : "queued";
		r->not_before = demand->now;
		spinpanel_request_save(demand, r, NULL, NULL);
		return;
	}

	spinpanel_request_pool(demand, &r->sku_id, &pool);
	memset(&customer, 0, sizeof(customer));
	customer.now = demand->now;
	customer.provisioning_timeout = (int64) spinpanel_provisioning_timeout * USECS_PER_SEC;
	memset(&asked, 0, sizeof(asked));
	asked.figures = pool.figures;
	memset(&request, 0, sizeof(request));
	request.seat_bought = r->seat_bought;
	request.active_level = r->active_level;
	request.provisioning_at = r->provisioning_at;
	switch (spinpanel_request_no_seat(&customer, &asked, &request, r->seats_lost, why, sizeof(why)))
	{
		case ASK_NO_SEAT_YET:
			r->status = r->seat_bought ? "provisioning" : "queued";
			r->not_before = demand->now + retry_delay(r) * 1000;
			spinpanel_request_save(
				demand, r, r->seat_bought ? "request provisioning" : "request queued again", why);
			return;
		case ASK_NO_SEAT_FAIL:
			r->seats_lost++;
			r->status = "provisioning";
			spinpanel_request_finish(demand, r, "failed", why);
			return;
		case ASK_NO_SEAT_LOST:
			r->seats_lost++;
			r->seat_bought = false;
			spinpanel_request_record(demand, r, "seat lost", why);
			r->active_level = -1;
			r->buy_operation = 0;
			r->has_subscription = false;
			break;
		case ASK_NO_SEAT_BUY:
			break;
	}
	r->status = "queued";
	r->seat_refused_at = demand->now;
	r->not_before = demand->now;
	spinpanel_request_save(demand, r, "request queued again", why);
	/* That is the answer for all who would have tried. */
	wake_pool(demand, &r->sku_id, "try", 0);
}

/* Another request or operation of the user may be what was missing, or in the way. */
static bool
others_of_user(const Demand *demand, const DemandRequest *r)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.license_request q WHERE q.user_id = $2 AND q.finished_at IS NULL"
		" AND (q.customer_id = $1 AND q.sku_id <> $3 AND q.status IN " OPEN_STATES
		") IS TRUE LIMIT 1",
		"uuu", NULL
	};
	StateArg args[3];

	if (!r->has_user)
		return false;
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&r->user_id);
	args[2] = spinpanel_arg_uuid(&r->sku_id);
	return spinpanel_state_run(&select, args, 0) > 0;
}

/* Service plans that exclude each other, or of which one needs the other */
static bool
is_about_other_licenses(const char *code, const char *reason)
{
	return is(code, "800002") ||
		   (reason != NULL && (strstr(reason, "MutuallyExclusiveViolation") != NULL ||
							   strstr(reason, "DependencyViolation") != NULL));
}

/* Back, to be carried out when nothing else of the user is open. */
static void
wait_for_others(Demand *demand, DemandRequest *r, const char *why)
{
	r->attempts++;
	r->operation_id = 0;
	r->consumed_level = -1;
	r->looked_at = r->seat_bought ? r->looked_at : 0;
	r->status = r->seat_bought ? "provisioning" : "queued";
	spinpanel_request_wait(demand, r,
						   demand->now +
							   Max((int64) 5 * USECS_PER_SEC,
								   Min((demand->now - r->created_at) / 8, 60 * USECS_PER_SEC)),
						   "user", psprintf("waits for other requests of the same user: %s", why));
}

static void
user_operation_over(Demand *demand, const Operation *op, const char *status, const char *code,
					const char *reason, Jsonb *result)
{
	const char *why = psprintf("%s%s%s", reason && reason[0] ? reason : "Partner Center refused it",
							   code && code[0] ? ", code " : "", code && code[0] ? code : "");
	bool assigns = is(op->kind, "assign");
	int i;

	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (is(op->kind, "set_usage_location"))
		{
			if (is(status, "refused") || is(status, "failed"))
				spinpanel_request_finish(
					demand, r, "failed",
					psprintf("the user has no usage location, and it could not be set: %s", why));
			else
				spinpanel_request_begin_again(demand, r, NULL, NULL, is(status, "done"));
		}
		else if (is(status, "done"))
		{
			if (assigns == holds(result, &r->sku_id))
			{
				spinpanel_request_finish(demand, r, "done", NULL);
				/* The oldest of the pool come in with whoever is looked at. */
				if (r->release)
				{
					wake_pool(demand, &r->sku_id, "approval", WOKEN_BY_RELEASE);
					wake_pool(demand, &r->sku_id, "release", WOKEN_BY_RELEASE);
					wake_pool(demand, &r->sku_id, "purchase", WOKEN_BY_RELEASE);
				}
				else
					wake_pool(demand, &r->sku_id, "try", 1);
			}
			else
				spinpanel_request_begin_again(demand, r, "request queued again",
											  "the change was carried out, and does not show",
											  false);
		}
		else if (assigns && is(status, "refused") && is(code, "60012"))
			no_seat_free(demand, r, demand->count == 1);
		else if (is(status, "cancelled"))
			spinpanel_request_begin_again(demand, r, "request queued again", reason, false);
		else if (demand->count == 1 && is(status, "refused") &&
				 is_about_other_licenses(code, reason) && others_of_user(demand, r))
			wait_for_others(demand, r, why);
		else if (demand->count > 1 && is(status, "refused") && !is(code, "no_such_user"))
		{
			/* One of several SKUs may be the reason: one by one. */
			r->attempts++;
			r->operation_id = 0;
			r->consumed_level = -1;
			r->status = r->seat_bought ? "provisioning" : "queued";
			r->not_before = demand->now;
			spinpanel_request_save(demand, r, NULL, NULL);
		}
		else
			spinpanel_request_finish(demand, r, "failed", why);
	}
}

/* A subscription that we had suspended is active again: as it was before. */
static void
restore_auto_renew(const Operation *op)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.subscription WHERE subscription_id = $1 AND auto_renew_before AND NOT auto_renew",
		"u", NULL
	};
	Operation next;
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(&op->subscription_id);
	if (spinpanel_state_run(&select, args, 0) == 0)
		return;
	memset(&next, 0, sizeof(next));
	next.kind = "set_auto_renew";
	next.purpose = "restore";
	next.account_id = op->account_id;
	next.customer_id = op->customer_id;
	next.has_sku = op->has_sku;
	next.sku_id = op->sku_id;
	next.has_subscription = true;
	next.subscription_id = op->subscription_id;
	next.after_operation = op->operation_id;
	next.wanted = spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}");
	(void) spinpanel_operation_add(&next);
}

/*
 * Requests of the purchase that callers have at this moment: they can no longer
 * be cancelled, so that their seats are kept for them.
 */
static int32
reserve_seats(const DemandRequest *purchase, int32 seats)
{
	static StateQuery reserve = {
		"UPDATE spinpanel.operation o SET base = coalesce(o.base, '{}') ||"
		" jsonb_build_object('reserved', n.seats, 'subscriptionId', $3)"
		" FROM (SELECT least(count(*)::int, $2) AS seats FROM spinpanel.license_request"
		"  WHERE buy_operation = $1 AND status = 'buying') n"
		" WHERE o.operation_id = $1 AND n.seats > 0 RETURNING n.seats",
		"Iiu", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_int64(purchase->buy_operation);
	args[1] = spinpanel_arg_int(seats);
	args[2] = spinpanel_arg_uuid(purchase->has_subscription ? &purchase->subscription_id : NULL);
	return seats > 0 && spinpanel_state_run(&reserve, args, 0) > 0 ? spinpanel_row_int(0, 1) : 0;
}

static void
have_seat(Demand *demand, DemandRequest *r)
{
	r->seat_bought = true;
	r->provisioning_at = demand->now;
	r->seat_refused_at = 0;
	r->adjustment_id = 0;
	r->attempts = 0;
	r->buy_most = 0;
	r->status = "provisioning";
	r->not_before = demand->now;
	spinpanel_request_save(demand, r, "request provisioning", "a seat was bought for it");
}

bool
spinpanel_request_take_reserved(Demand *demand, DemandRequest *r)
{
	static StateQuery take = {
		"UPDATE spinpanel.operation o SET base = jsonb_set(o.base, '{reserved}', to_jsonb((o.base ->> 'reserved')::int - 1))"
		" WHERE o.operation_id = $1 AND (o.base ->> 'reserved')::int > 0"
		" RETURNING (o.base ->> 'subscriptionId')::uuid",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(r->buy_operation);
	if (spinpanel_state_run(&take, args, 0) == 0)
		return false;
	r->has_subscription = spinpanel_row_uuid(0, 1, &r->subscription_id);
	r->seat_bought = true;
	have_seat(demand, r);
	return true;
}

/* Seats have been bought: the oldest requests of the purchase have them. */
static void
seats_arrived(Demand *demand, const Operation *op, int64 buy_operation, Jsonb *result)
{
	DemandRequest spare;
	int64 seats = op->seats;
	int32 active = spinpanel_operation_base(op, "active", -1);
	int32 before = active < 0 ? -1 : active + spinpanel_operation_base(op, "unshown", 0);
	int32 given = 0;
	int pass;
	int i;

	memset(&spare, 0, sizeof(spare));
	spare.account_id = op->account_id;
	spare.sku_id = op->sku_id;
	spare.has_subscription = op->has_subscription;
	spare.subscription_id = op->subscription_id;
	spare.buy_operation = buy_operation;
	spare.active_level = -1;
	if (is(op->kind, "checkout") && result != NULL)
	{
		spare.has_subscription =
			spinpanel_json_uuid(&result->root, "subscriptionId", &spare.subscription_id);
		(void) spinpanel_json_int(&result->root, "quantity", &seats);
	}

	/* Those that were told that no seat is free were counted for sure. */
	for (pass = 0; pass < 2; pass++)
	{
		for (i = 0; i < demand->count; i++)
		{
			DemandRequest *r = &demand->requests[i];

			if (r->moved || (pass == 0) != (r->seat_refused_at != 0))
				continue;
			if (given >= seats)
			{
				r->buy_operation = 0;
				r->active_level = -1;
				r->status = "queued";
				r->not_before = demand->now;
				spinpanel_request_save(demand, r, "request queued again",
									   "fewer seats had to be bought");
				continue;
			}
			given++;
			r->seat_bought = true;
			r->has_subscription = spare.has_subscription;
			r->subscription_id = spare.subscription_id;
			if (before >= 0)
				r->active_level = before + given;
			have_seat(demand, r);
		}
	}

	/* Somebody cancelled meanwhile.  Who asked without a request keeps them. */
	if (op->request_id == 0)
		given = (int32) seats;
	given += reserve_seats(&spare, (int32) seats - given);
	for (; given < seats && spinpanel_request_pass_seat_on(demand, &spare); given++)
		;
	if (given < seats &&
		spinpanel_request_give_seats_back(demand, &spare, (int32) (seats - given)) == 0)
		spinpanel_request_record(
			demand, &spare, "seat in stock",
			psprintf("%d seat(s) more were bought than are needed by now", (int) (seats - given)));
	if (is(op->kind, "reactivate"))
		restore_auto_renew(op);
}

/*
 * Partner Center refused the purchase for some reason.  If it was of several seats,
 * fewer may be had: half as many, for the oldest.  If it was of one, no other of
 * those that began together will get one, either; under auto increment the stock
 * has to do.
 */
static void
purchase_refused(Demand *demand, const Operation *op, const char *why)
{
	static StateQuery family = {
		REQUEST_SELECT " WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.status = 'queued'"
					   " AND q.kind = 'assign' AND q.buy_most IS NOT NULL AND NOT q.seat_bought"
					   " AND q.operation_id IS NULL" REQUEST_ORDER,
		"uu", NULL
	};
	static StateQuery increment = {
		"SELECT auto_increment FROM spinpanel.relationship WHERE customer_id = $1", "u", NULL
	};
	Demand others;
	StateArg args[2];
	int count = 0;
	int i;

	for (i = 0; i < demand->count; i++)
		if (!demand->requests[i].moved)
			count++;
	if (count > 1)
	{
		for (i = 0; i < demand->count; i++)
		{
			DemandRequest *r = &demand->requests[i];

			if (r->moved)
				continue;
			r->buy_most = count / 2;
			spinpanel_request_begin_again(demand, r, "request queued again", why, true);
		}
		return;
	}

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&op->sku_id);
	demand->increment = spinpanel_state_run(&increment, args, 0) > 0 && spinpanel_row_bool(0, 1);
	others = *demand;
	spinpanel_request_take(&others, spinpanel_state_run(&family, args, 0));
	for (i = 0; i < demand->count + others.count; i++)
	{
		DemandRequest *r =
			i < demand->count ? &demand->requests[i] : &others.requests[i - demand->count];

		if (r->moved)
			continue;
		if (demand->increment && !r->stock_only)
		{
			r->stock_only = true;
			r->buy_most = 0;
			spinpanel_request_begin_again(
				demand, r, "request queued again",
				psprintf("a seat of the stock is used if there is one: %s", why), true);
		}
		else
			spinpanel_request_finish(demand, r, "failed", why);
	}
}

static void
purchase_over(Demand *demand, const Operation *op, int64 buy_operation, const char *status,
			  const char *code, const char *reason, Jsonb *result)
{
	char *why = psprintf("no seat could be bought: %s%s%s",
						 reason && reason[0] ? reason : "Partner Center refused it",
						 code && code[0] ? ", code " : "", code && code[0] ? code : "");
	bool again = is(status, "cancelled") || is(code, "cart_expired");
	int i;

	if (is(status, "done"))
		seats_arrived(demand, op, buy_operation, result);
	else if (is(status, "refused") && !again)
		purchase_refused(demand, op, why);
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (r->moved)
			continue;
		if (again)
			spinpanel_request_begin_again(demand, r, "request queued again", reason,
										  r->attempts == 0);
		else
			spinpanel_request_finish(demand, r, "failed", why);
	}
	wake_pool(demand, &op->sku_id, "purchase", 0);
	wake_pool(demand, &op->sku_id, "order", 0);
	wake_pool(demand, &op->sku_id, "release", 0);

	/* Raises tell it themselves.  What is bought afresh needs no other approval. */
	if (op->adjustment_id != 0 && !again &&
		(is(op->kind, "create_cart") || is(op->kind, "checkout")))
		spinpanel_adjustment_operation_over(op, is(status, "done") ? NULL : reason);
}

void
spinpanel_request_operation_over(const Operation *op, const char *status, const char *code,
								 const char *reason, Jsonb *result)
{
	static StateQuery by_operation = {
		REQUEST_SELECT " WHERE q.operation_id = $1 AND q.status IN " OPEN_STATES REQUEST_ORDER, "I",
		NULL
	};
	static StateQuery by_purchase = {
		REQUEST_SELECT " WHERE q.buy_operation = $1 AND q.status = 'buying'" REQUEST_ORDER, "I",
		NULL
	};
	static StateQuery returned = {
		"UPDATE spinpanel.license_request SET seat_bought = false WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.operation_id = $1 AND q.status IN ('failed', 'cancelled')"
		" FOR UPDATE SKIP LOCKED)",
		"I", NULL
	};
	Demand demand;
	StateArg args[1];
	int64 id = op->operation_id;

	memset(&demand, 0, sizeof(demand));
	demand.customer_id = op->customer_id;
	demand.now = spinpanel_now();
	if (is(op->purpose, "give_back"))
	{
		args[0] = spinpanel_arg_int64(id);
		if (is(status, "done"))
			spinpanel_state_run(&returned, args, 0);
	}
	else if (is(op->kind, "assign") || is(op->kind, "unassign") ||
			 is(op->kind, "set_usage_location"))
	{
		args[0] = spinpanel_arg_int64(id);
		spinpanel_request_take(&demand, spinpanel_state_run(&by_operation, args, 0));
		user_operation_over(&demand, op, status, code, reason, result);
	}
	else if (is(op->purpose, "buy"))
	{
		/* A cart is no purchase; its checkout is. */
		if (is(op->kind, "create_cart") && is(status, "done"))
			return;
		if (is(op->kind, "checkout") && op->after_operation != 0)
			id = op->after_operation;
		args[0] = spinpanel_arg_int64(id);
		spinpanel_request_take(&demand, spinpanel_state_run(&by_purchase, args, 0));
		purchase_over(&demand, op, id, status, code, reason, result);
	}
}
