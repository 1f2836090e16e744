/*
 * request.c
 *
 * See request.h.  Owns the table license_request and what is written at each
 * transition.  It must never talk to anybody, wait for a caller (rows that a
 * caller is changing are skipped and met again), or decide how much is bought.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "decide/request_plan.h"
#include "state/adjustment.h"
#include "state/history.h"
#include "state/request.h"
#include "state/request_rows.h"
#include "state/statement.h"

/* A request whose operation is under way is looked at again so much later, in
 * case nobody could tell it that the operation ended. */
#define OPERATION_PATIENCE (60 * USECS_PER_SEC)

/* A window that closes this soon gives nothing back any more. */
#define TOO_LATE USECS_PER_HOUR

static StateArg
time_arg(TimestampTz moment)
{
	return moment == 0 ? spinpanel_arg_null() : spinpanel_arg_time(moment);
}

static StateArg
level_arg(int32 level)
{
	return level < 0 ? spinpanel_arg_null() : spinpanel_arg_int(level);
}

/* ---- telling ------------------------------------------------------------------------ */

static void
notify_request(const pg_uuid_t *customer_id, int64 request_id, const char *status)
{
	Async_Notify("spinpanel", psprintf("{\"type\":\"request\",\"id\":" INT64_FORMAT
									   ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
									   request_id, status, spinpanel_uuid_text(customer_id)));
}

/* Of what callers have ended, which must not notify themselves. */
void
spinpanel_request_tell_ended(void)
{
	static StateQuery any = { "SELECT 1 FROM spinpanel.license_request WHERE untold LIMIT 1", "",
							  NULL };
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET untold = false WHERE request_id IN (SELECT request_id"
		" FROM spinpanel.license_request WHERE untold LIMIT 1000 FOR UPDATE SKIP LOCKED)"
		" RETURNING customer_id, request_id, status",
		"", NULL
	};
	uint64 rows;
	uint64 row;

	/* An update wakes the worker, even of no row. */
	if (spinpanel_state_run(&any, NULL, 0) == 0)
		return;
	rows = spinpanel_state_run(&update, NULL, 0);
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t customer_id;

		spinpanel_row_uuid(row, 1, &customer_id);
		notify_request(&customer_id, spinpanel_row_int64(row, 2),
					   spinpanel_row_text(row, 3, CurrentMemoryContext));
	}
}

/* ---- writing ---------------------------------------------------------------------------- */

void
spinpanel_request_record(const Demand *demand, const DemandRequest *r, const char *event,
						 const char *reason)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = r->account_id;
	entry.customer_id = &demand->customer_id;
	entry.sku_id = &r->sku_id;
	entry.subscription_id = r->has_subscription ? &r->subscription_id : NULL;
	entry.request_id = r->request_id;
	entry.operation_id = r->operation_id != 0 ? r->operation_id : r->buy_operation;
	entry.adjustment_id = r->adjustment_id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
}

/* Whoever else writes the status of a request has to come through here. */
static const struct
{
	const char *from;
	const char *to;
} transitions[] = {
	{ "queued", "buying" },          { "queued", "provisioning" }, /* another one's seat */
	{ "queued", "assigning" },       { "queued", "done" },         { "queued", "failed" },
	{ "queued", "cancelled" },       { "buying", "queued" },       { "buying", "provisioning" },
	{ "buying", "failed" },          { "buying", "cancelled" },    { "provisioning", "assigning" },
	{ "provisioning", "queued" },    { "provisioning", "done" },   { "provisioning", "failed" },
	{ "provisioning", "cancelled" }, { "assigning", "queued" },    { "assigning", "provisioning" },
	{ "assigning", "done" },         { "assigning", "failed" },    { "assigning", "cancelled" },
	{ "failed", "queued" } /* retry_request() */
};

static bool
is_over(const char *status)
{
	return is(status, "done") || is(status, "failed") || is(status, "cancelled");
}

static void
check_transition(const DemandRequest *r)
{
	int i;

	if (is(r->was, r->status) && !is_over(r->status))
		return;
	for (i = 0; i < (int) lengthof(transitions); i++)
		if (is(r->was, transitions[i].from) && is(r->status, transitions[i].to))
			return;
	elog(ERROR, "license request " INT64_FORMAT " cannot become \"%s\": it is \"%s\"",
		 r->request_id, r->status, r->was);
}

/*
 * The only statement that writes the status.  reason: why it ended other than
 * well, else what it waits for.
 */
static void
write_request(DemandRequest *r, const char *reason, bool by_caller, TimestampTz now)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET status = $2, seat_bought = $3, subscription_id = $4, buy_operation = $5,"
		" operation_id = $6, looked_at = $7, seat_refused_at = $8, seats_lost = $9, attempts = $10, not_before = $11,"
		" provisioning_at = $12, active_level = $13, consumed_level = $14, follows = $15, adjustment_id = $16,"
		" waiting = $17, error = $18, finished_at = CASE WHEN $19 THEN $21 END,"
		" confirmed_at = CASE WHEN $20 THEN $21 ELSE confirmed_at END, account_id = nullif($22, 0), state_reason = $23,"
		" waits_for = $24, buy_most = nullif($25, 0), stock_only = $26, untold = $27"
		" WHERE request_id = $1",
		"ItbuIITTiiTTiiIIbtbbTittibb", NULL
	};
	bool over = is_over(r->status);
	bool done = is(r->status, "done");
	StateArg args[27];

	check_transition(r);
	if (reason != NULL && reason[0] == '\0')
		reason = NULL;
	args[0] = spinpanel_arg_int64(r->request_id);
	args[1] = spinpanel_arg_text(r->status);
	args[2] = spinpanel_arg_bool(r->seat_bought);
	args[3] = spinpanel_arg_uuid(r->has_subscription ? &r->subscription_id : NULL);
	args[4] = id_arg(r->buy_operation);
	args[5] = id_arg(r->operation_id);
	args[6] = time_arg(r->looked_at);
	args[7] = time_arg(r->seat_refused_at);
	args[8] = spinpanel_arg_int(r->seats_lost);
	args[9] = spinpanel_arg_int(r->attempts);
	args[10] = spinpanel_arg_time(r->not_before);
	args[11] = time_arg(r->provisioning_at);
	args[12] = level_arg(r->active_level);
	args[13] = level_arg(r->consumed_level);
	args[14] = id_arg(r->follows);
	args[15] = id_arg(r->adjustment_id);
	args[16] = spinpanel_arg_bool(r->waiting);
	args[17] = spinpanel_arg_text(over && !done ? reason : NULL);
	args[18] = spinpanel_arg_bool(over);
	args[19] = spinpanel_arg_bool(done);
	args[20] = spinpanel_arg_time(now);
	args[21] = spinpanel_arg_int(r->account_id);
	args[22] = spinpanel_arg_text(over ? NULL : reason);
	args[23] = spinpanel_arg_text(over ? NULL : r->waits_for);
	args[24] = spinpanel_arg_int(r->buy_most);
	args[25] = spinpanel_arg_bool(r->stock_only);
	args[26] = spinpanel_arg_bool(over && by_caller);
	spinpanel_state_run(&update, args, 0);
	r->was = r->status;
	r->moved = true;
}

void
spinpanel_request_save(Demand *demand, DemandRequest *r, const char *event, const char *reason)
{
	/* Those that wait for an operation are woken by its end. */
	if (is(r->status, "buying") || is(r->status, "assigning") || r->operation_id != 0)
		r->not_before = demand->now + OPERATION_PATIENCE;
	r->waits_for = NULL;
	write_request(r, reason, false, demand->now);
	if (event != NULL)
		spinpanel_request_record(demand, r, event, reason);
}

void
spinpanel_request_put_off(Demand *demand, DemandRequest *r, int64 delay_ms, const char *reason)
{
	spinpanel_request_wait(demand, r, demand->now + delay_ms * 1000, NULL, reason);
}

void
spinpanel_request_wait(Demand *demand, DemandRequest *r, TimestampTz until, const char *waits_for,
					   const char *reason)
{
	r->not_before = until;
	r->waits_for = waits_for;
	write_request(r, reason, false, demand->now);
}

/* ---- seats bought for a request that cannot use them -------------------------------------- */

/* The seat serves another request that waits; false: none does. */
bool
spinpanel_request_pass_seat_on(Demand *demand, const DemandRequest *from)
{
	static StateQuery oldest = {
		REQUEST_SELECT
		" WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.kind = 'assign' AND q.request_id <> $3 AND NOT q.seat_bought"
		"  AND q.follows IS NULL AND q.operation_id IS NULL AND q.looked_at IS NOT NULL"
		"  AND (q.status IN ('queued', 'provisioning') OR q.status = 'buying' AND b.status = 'queued')"
		"  ORDER BY q.status = 'buying', q.request_id LIMIT 1 FOR UPDATE OF q SKIP LOCKED",
		"uuI", NULL
	};
	DemandRequest other;
	DemandRequest *to = &other;
	StateArg args[3];
	int i;

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&from->sku_id);
	args[2] = spinpanel_arg_int64(from->request_id);
	if (spinpanel_state_run(&oldest, args, 0) == 0)
		return false;
	memset(&other, 0, sizeof(other));
	spinpanel_request_from_row(0, &other);
	/* The one that is decided about at this moment, if it is. */
	for (i = 0; i < demand->count; i++)
		if (demand->requests[i].request_id == other.request_id)
		{
			to = &demand->requests[i];
			to->was = other.was;
		}
	to->seat_bought = true;
	to->has_subscription = from->has_subscription;
	to->subscription_id = from->subscription_id;
	to->buy_operation = from->buy_operation;
	to->active_level = from->active_level;
	to->provisioning_at = from->provisioning_at != 0 ? from->provisioning_at : demand->now;
	to->status = "provisioning";
	to->not_before = demand->now;
	to->adjustment_id = 0;
	to->seat_refused_at = 0;
	to->attempts = 0;
	spinpanel_request_save(
		demand, to, "request provisioning",
		psprintf("it has the seat bought for request " INT64_FORMAT, from->request_id));
	spinpanel_request_record(
		demand, from, "seat passed on",
		psprintf("the seat bought for it serves request " INT64_FORMAT, other.request_id));
	return true;
}

/* Queues that so many seats more of the subscription go back; 0 = cannot. */
int64
spinpanel_request_give_seats_back(Demand *demand, const DemandRequest *r, int32 seats)
{
	static StateQuery select = {
		"SELECT s.quantity, s.account_id, s.commerce = 'legacy' OR EXISTS (SELECT FROM unnest(s.refund_quantity, s.refund_until)"
		"  AS w (seats, until) WHERE w.seats > 0 AND w.until > $2),"
		" (SELECT max(o.operation_id) FROM spinpanel.operation o WHERE o.customer_id = s.customer_id AND o.sku_id = s.sku_id"
		"  AND o.subscription_id = s.subscription_id AND o.purpose = 'give_back' AND o.status = 'queued' AND o.base ? 'meant'), s.sku_id"
		" FROM spinpanel.subscription s WHERE s.subscription_id = $1 AND s.status = 'active'",
		"uT", NULL
	};
	/*
	 * meant: how many of its seats; the quantity is what it then comes to.  One
	 * that we ordered goes as a whole with its last seat.
	 */
	static StateQuery mean = {
		"UPDATE spinpanel.operation o SET base = jsonb_build_object('meant', n.seats, 'ordered', n.ordered),"
		" kind = CASE WHEN n.whole THEN 'cancel' ELSE 'set_quantity' END,"
		" wanted = CASE WHEN n.whole THEN jsonb_build_object('status', 'deleted')"
		"  ELSE jsonb_build_object('quantity', greatest(1, n.quantity - n.seats)) END"
		" FROM (SELECT m.seats, m.ordered, s.quantity, m.ordered AND m.seats >= s.quantity AND s.commerce = 'nce' AS whole"
		"  FROM spinpanel.operation b JOIN spinpanel.subscription s USING (subscription_id)"
		"  CROSS JOIN LATERAL (SELECT coalesce((b.base ->> 'meant')::int, 0) + $2 AS seats,"
		"   coalesce((b.base ->> 'ordered')::boolean, false) OR EXISTS (SELECT FROM spinpanel.operation c"
		"    WHERE c.operation_id = $3 AND c.kind = 'create_cart') AS ordered) m WHERE b.operation_id = $1) n"
		" WHERE o.operation_id = $1",
		"IiI", NULL
	};
	Operation op;
	StateArg args[3];
	int64 id;

	if (!r->has_subscription)
		return 0;
	args[0] = spinpanel_arg_uuid(&r->subscription_id);
	args[1] = spinpanel_arg_time(demand->now + TOO_LATE);
	if (spinpanel_state_run(&select, args, 0) == 0 || !spinpanel_row_bool(0, 3))
		return 0;
	id = spinpanel_row_int64(0, 4);
	if (id == 0)
	{
		memset(&op, 0, sizeof(op));
		op.kind = "set_quantity";
		op.purpose = "give_back";
		op.account_id = spinpanel_row_int(0, 2);
		op.customer_id = demand->customer_id;
		/* Its own, which need not be what was asked for. */
		op.has_sku = true;
		if (!spinpanel_row_uuid(0, 5, &op.sku_id))
			op.sku_id = r->sku_id;
		op.has_subscription = true;
		op.subscription_id = r->subscription_id;
		op.request_id = r->request_id;
		op.wanted = spinpanel_json_of(psprintf("{\"quantity\": %d}", spinpanel_row_int(0, 1)));
		id = spinpanel_operation_add(&op);
	}
	args[0] = spinpanel_arg_int64(id);
	args[1] = spinpanel_arg_int(seats);
	args[2] = id_arg(r->buy_operation);
	spinpanel_state_run(&mean, args, 0);
	return id;
}

static void
place_seat(Demand *demand, DemandRequest *r)
{
	int64 id;

	if (spinpanel_request_pass_seat_on(demand, r))
	{
		r->seat_bought = false;
		return;
	}
	id = spinpanel_request_give_seats_back(demand, r, 1);
	if (id != 0)
	{
		r->operation_id = id;
		spinpanel_request_record(demand, r, "seat given back",
								 "the seat bought for it is not needed");
	}
	else
		spinpanel_request_record(demand, r, "seat in stock",
								 "the seat bought for it cannot be given back now: it is in stock");
}

/* Others of the user that wait for one of theirs. */
static void
wake_user(const pg_uuid_t *customer_id, const DemandRequest *r, TimestampTz now)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $3 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.user_id = $2 AND q.finished_at IS NULL"
		" AND (q.customer_id = $1 AND q.waits_for IN ('user', 'leader') AND q.not_before > $3 AND q.request_id <> $4) IS TRUE"
		" FOR UPDATE SKIP LOCKED)",
		"uuTI", NULL
	};
	StateArg args[4];

	if (!r->has_user)
		return;
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(&r->user_id);
	args[2] = spinpanel_arg_time(now);
	args[3] = spinpanel_arg_int64(r->request_id);
	spinpanel_state_run(&update, args, 0);
}

/* What follows it, by another name of the user perhaps, is looked at again. */
static void
wake_followers(const DemandRequest *r, TimestampTz now)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $2 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.follows = $1 AND q.status IN " OPEN_STATES
		" FOR UPDATE SKIP LOCKED)",
		"IT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int64(r->request_id);
	args[1] = spinpanel_arg_time(now);
	spinpanel_state_run(&update, args, 0);
}

static void
end_request(Demand *demand, DemandRequest *r, const char *status, const char *reason,
			bool by_caller)
{
	bool done = is(status, "done");

	if (!done && r->seat_bought)
		place_seat(demand, r);
	r->status = status;
	if (!done || r->release)
		r->waiting = false;
	write_request(r, reason, by_caller, demand->now);
	spinpanel_request_record(demand, r, psprintf("request %s", status), reason);
	if (!by_caller)
		notify_request(&demand->customer_id, r->request_id, status);
	wake_followers(r, demand->now);
	wake_user(&demand->customer_id, r, demand->now);
}

void
spinpanel_request_finish(Demand *demand, DemandRequest *r, const char *status, const char *reason)
{
	end_request(demand, r, status, reason, false);
}

/* ---- subscribed SKUs were read ------------------------------------------------------------------ */

void
spinpanel_request_units_read(const pg_uuid_t *customer_id, TimestampTz started_at)
{
	/* A request waits no longer once a read that began late enough is in. */
	static StateQuery arrived = {
		"UPDATE spinpanel.license_request SET waiting = false WHERE request_id IN (SELECT r.request_id"
		" FROM spinpanel.license_request r LEFT JOIN spinpanel.pool p USING (customer_id, sku_id)"
		" WHERE r.customer_id = $1 AND r.waiting AND r.confirmed_at <= $2 AND p.doubt IS NULL"
		" FOR UPDATE OF r SKIP LOCKED)",
		"uT", NULL
	};
	/* The oldest of each pool; the others come in with it. */
	static StateQuery look = {
		"UPDATE spinpanel.license_request SET not_before = $2 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.request_id = ANY (ARRAY(SELECT min(w.request_id)"
		"  FROM spinpanel.license_request w WHERE w.customer_id = $1 AND w.waits_for = 'approval' AND w.status = 'queued'"
		"  AND w.not_before > $2 GROUP BY w.sku_id)) FOR UPDATE SKIP LOCKED)",
		"uT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(started_at - (int64) spinpanel_settle_time * USECS_PER_SEC);
	spinpanel_state_run(&arrived, args, 0);
	args[1] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&look, args, 0);
}

/* ---- callers ---------------------------------------------------------------------------------------- */

/* One request, held; false: somebody has it, or there is none. */
static bool
take_one(Demand *demand, int64 request_id)
{
	static StateQuery select = { REQUEST_SELECT " WHERE q.request_id = $1" REQUEST_ORDER, "I",
								 NULL };
	static StateQuery customer = {
		"SELECT customer_id FROM spinpanel.license_request WHERE request_id = $1", "I", NULL
	};
	StateArg args[1];

	memset(demand, 0, sizeof(*demand));
	demand->now = spinpanel_now();
	args[0] = spinpanel_arg_int64(request_id);
	spinpanel_request_take(demand, spinpanel_state_run(&select, args, 0));
	if (demand->count == 0)
		return false;
	spinpanel_state_run(&customer, args, 0);
	spinpanel_row_uuid(0, 1, &demand->customer_id);
	return true;
}

RequestCancelled
spinpanel_request_cancel(int64 request_id, const char *reason)
{
	/*
	 * Operations are left as they are: the worker locks its requests before it
	 * sends one, and would wait for us if we locked operations.  It finds that
	 * nobody wants it.  A cart alone costs nothing.
	 */
	static StateQuery sent = {
		"SELECT 1 FROM spinpanel.operation o WHERE o.operation_id = $1 AND o.status <> 'queued'"
		" UNION ALL SELECT 1 FROM spinpanel.operation o WHERE o.operation_id = $2 AND o.status <> 'queued'"
		"  AND (o.kind <> 'create_cart' OR o.status NOT IN ('sending', 'unknown', 'done'))"
		" UNION ALL SELECT 1 FROM spinpanel.operation o WHERE o.after_operation = $2 AND o.kind = 'checkout'"
		"  AND o.status <> 'queued'",
		"II", NULL
	};
	static StateQuery disconnected = {
		"SELECT a.name FROM spinpanel.account a WHERE a.account_id = $1 AND a.status = 'disconnected'",
		"i", NULL
	};
	Demand demand;
	DemandRequest *r;
	StateArg args[2];
	char *account = NULL;

	if (!take_one(&demand, request_id))
		return CANCEL_BUSY;
	r = &demand.requests[0];
	if (is_over(r->status))
		return CANCEL_NOT;
	args[0] = spinpanel_arg_int(r->account_id);
	if (spinpanel_state_run(&disconnected, args, 0) > 0)
		account = spinpanel_row_text(0, 1, CurrentMemoryContext);
	if (r->operation_id == 0 && r->buy_operation == 0)
	{
		if (!is(r->status, "queued") && account == NULL)
			return CANCEL_NOT;
	}
	else
	{
		args[0] = id_arg(r->operation_id);
		args[1] = id_arg(r->buy_operation);
		if (spinpanel_state_run_latest(&sent, args) != 0)
		{
			if (account == NULL)
				return CANCEL_NOT;
			end_request(
				&demand, r, "failed",
				psprintf(
					"%s; account %s is disconnected, and what was sent by it before may have been carried out: look it up in Partner Center",
					reason, account),
				true);
			return CANCEL_DONE;
		}
	}
	end_request(&demand, r, "cancelled", reason, true);
	return CANCEL_DONE;
}

void
spinpanel_request_abandon(const char *reason)
{
	static StateQuery select = {
		"SELECT q.request_id FROM spinpanel.license_request q WHERE q.status IN " OPEN_STATES
		" ORDER BY q.request_id",
		"", NULL
	};
	uint64 rows = spinpanel_state_run(&select, NULL, 0);
	int64 *ids = palloc(sizeof(int64) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	for (row = 0; row < rows; row++)
	{
		Demand demand;

		if (!take_one(&demand, ids[row]))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("license request " INT64_FORMAT " is being changed by somebody else",
							ids[row]),
					 errhint("Try again.")));
		demand.requests[0].status = "cancelled";
		demand.requests[0].waiting = false;
		write_request(&demand.requests[0], reason, true, demand.now);
		spinpanel_request_record(&demand, &demand.requests[0], "request cancelled", reason);
	}
}

/* Only where nothing was sent: the rest is for a person to close. */
static void
close_for_account(int64 request_id)
{
	static StateQuery sent = {
		"SELECT 1 FROM spinpanel.license_request q JOIN spinpanel.operation o"
		" ON o.operation_id IN (q.operation_id, q.buy_operation) OR o.after_operation = q.buy_operation AND o.kind = 'checkout'"
		" WHERE q.request_id = $1 AND o.status NOT IN ('queued', 'cancelled')",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(request_id);
	if (spinpanel_state_run(&sent, args, 0) == 0)
		(void) spinpanel_request_cancel(request_id, "its account was disconnected");
}

bool
spinpanel_request_retry(int64 request_id)
{
	Demand demand;
	DemandRequest *r;

	if (!take_one(&demand, request_id) || !is(demand.requests[0].status, "failed"))
		return false;
	r = &demand.requests[0];
	/* A seat that was bought for it is in the stock. */
	r->status = "queued";
	r->seat_bought = false;
	r->has_subscription = false;
	r->buy_operation = 0;
	r->operation_id = 0;
	r->looked_at = 0;
	r->seat_refused_at = 0;
	r->seats_lost = 0;
	r->attempts = 0;
	r->provisioning_at = 0;
	r->active_level = r->consumed_level = -1;
	r->follows = 0;
	r->adjustment_id = 0;
	r->waiting = !r->release;
	r->waits_for = NULL;
	r->buy_most = 0;
	r->stock_only = false;
	r->not_before = DT_NOBEGIN;
	write_request(r, NULL, true, demand.now);
	spinpanel_request_record(&demand, r, "request queued again",
							 "somebody asked for it to be tried again");
	return true;
}

void
spinpanel_request_account_gone(int32 account_id)
{
	static StateQuery select = {
		"SELECT q.request_id FROM spinpanel.license_request q WHERE q.account_id = $1 AND q.status IN " OPEN_STATES
		" AND NOT EXISTS (SELECT FROM spinpanel.customer_account c JOIN spinpanel.account a USING (account_id)"
		"  WHERE c.customer_id = q.customer_id AND c.gone_at IS NULL AND a.account_id <> $1 AND a.status = 'active')"
		" ORDER BY q.request_id",
		"i", NULL
	};
	static StateQuery say = {
		"UPDATE spinpanel.license_request SET state_reason ="
		" 'its account is disconnected; cancel_request() closes it' WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.account_id = $1 AND q.status IN " OPEN_STATES
		" FOR UPDATE SKIP LOCKED)",
		"i", NULL
	};
	StateArg args[1];
	int64 *ids;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_int(account_id);
	rows = spinpanel_state_run(&select, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	if (rows == 0)
		return;
	for (row = 0; row < rows; row++)
		close_for_account(ids[row]);
	spinpanel_state_run(&say, args, 0);
}
