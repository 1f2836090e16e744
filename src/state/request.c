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
#include "state/history.h"
#include "state/request.h"
#include "state/statement.h"

/* A request whose operation is under way is looked at again so much later, in
 * case nobody could tell it that the operation ended. */
#define OPERATION_PATIENCE (60 * USECS_PER_SEC)

/* Purchases within this time count towards the limit. */
#define LIMIT_TIME USECS_PER_DAY

/* A window that closes this soon gives nothing back any more. */
#define TOO_LATE USECS_PER_HOUR

#define OPEN_STATES "('queued', 'buying', 'provisioning', 'assigning')"

static bool
is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

static bool
same_uuid(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

static StateArg
id_arg(int64 id)
{
	return id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(id);
}

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

/* ---- whose turn it is -------------------------------------------------------------- */

int
spinpanel_request_due(int limit, const int32 *accounts, int account_count, const pg_uuid_t *busy,
					  int busy_count, DemandCustomer **customers, MemoryContext context)
{
	/* One account that may not act keeps no other waiting. */
	static StateQuery select = {
		"SELECT d.customer_id, d.account_id FROM (SELECT q.customer_id, min(q.request_id) AS first,"
		" coalesce(min(q.account_id) FILTER (WHERE q.account_id = ANY ($3)), (SELECT min(c.account_id)"
		" FROM spinpanel.customer_account c WHERE c.customer_id = q.customer_id AND c.gone_at IS NULL"
		" AND c.account_id = ANY ($3))) AS account_id"
		" FROM spinpanel.license_request q LEFT JOIN spinpanel.relationship r ON r.customer_id = q.customer_id"
		" WHERE q.status IN " OPEN_STATES
		" AND r.paused_at IS NULL AND (q.not_before <= $1 OR q.not_before = 'infinity'"
		/* a person has decided */
		"  AND EXISTS (SELECT FROM spinpanel.adjustment j WHERE j.adjustment_id = q.adjustment_id"
		"   AND j.status <> 'awaiting_approval'))"
		" AND q.customer_id <> ALL ($4)"
		" GROUP BY q.customer_id) d WHERE d.account_id IS NOT NULL ORDER BY d.first LIMIT $2",
		"TiAiAu", NULL
	};
	StateArg args[4];
	Datum *elements = palloc(sizeof(Datum) * (Max(account_count, busy_count) + 1));
	uint64 rows;
	uint64 row;
	int i;

	for (i = 0; i < account_count; i++)
		elements[i] = Int32GetDatum(accounts[i]);
	args[2] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(elements, account_count, INT4OID, 4, true, TYPALIGN_INT)));
	for (i = 0; i < busy_count; i++)
		elements[i] = UUIDPGetDatum(&busy[i]);
	args[3] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, busy_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));

	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_int(limit);
	rows = spinpanel_state_run(&select, args, 0);
	*customers = MemoryContextAlloc(context, sizeof(DemandCustomer) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		spinpanel_row_uuid(row, 1, &(*customers)[row].customer_id);
		(*customers)[row].account_id = spinpanel_row_int(row, 2);
	}
	return (int) rows;
}

TimestampTz
spinpanel_request_next_due(void)
{
	static StateQuery select = {
		"SELECT min(not_before) FROM spinpanel.license_request WHERE status IN " OPEN_STATES
		" AND not_before > $1",
		"T", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_time(0, 1, DT_NOEND);
}

/* ---- loading ------------------------------------------------------------------------ */

#define REQUEST_SELECT \
	"SELECT q.request_id, q.kind, q.account_id, q.user_id, q.upn, q.sku_id, q.status, q.seat_bought," \
	" q.subscription_id, q.buy_operation, q.operation_id, q.looked_at, q.seat_refused_at, q.seats_lost, q.attempts," \
	" q.not_before, q.created_at, q.provisioning_at, q.active_level, q.consumed_level, q.follows, q.adjustment_id," \
	" q.waiting, u.user_id IS NOT NULL, u.usage_location," \
	" EXISTS (SELECT FROM spinpanel.user_license l WHERE l.customer_id = q.customer_id AND l.user_id = q.user_id" \
	"  AND l.sku_id = q.sku_id)," \
	" EXISTS (SELECT FROM spinpanel.license_request d WHERE d.customer_id = q.customer_id AND d.sku_id = q.sku_id" \
	"  AND d.user_id = q.user_id AND d.waiting AND d.confirmed_at >= q.looked_at)" \
	" OR EXISTS (SELECT FROM spinpanel.license_request d WHERE d.customer_id = q.customer_id AND d.sku_id = q.sku_id" \
	"  AND d.user_id = q.user_id AND d.kind = 'release' AND d.status = 'done' AND d.confirmed_at >= q.looked_at)," \
	" f.status, f.error, j.status, j.decision_reason, j.seats, o.status," \
	" coalesce((SELECT c.status FROM spinpanel.operation c WHERE c.after_operation = q.buy_operation" \
	"  AND c.kind = 'checkout'), b.status)," \
	" (SELECT s.sku_id FROM spinpanel.subscription s WHERE s.subscription_id = q.subscription_id)," \
	" q.by_name" \
	" FROM spinpanel.license_request q" \
	" LEFT JOIN spinpanel.customer_user u ON u.customer_id = q.customer_id AND u.user_id = q.user_id" \
	" LEFT JOIN spinpanel.license_request f ON f.request_id = q.follows" \
	" LEFT JOIN spinpanel.adjustment j ON j.adjustment_id = q.adjustment_id" \
	" LEFT JOIN spinpanel.operation o ON o.operation_id = q.operation_id" \
	" LEFT JOIN spinpanel.operation b ON b.operation_id = q.buy_operation"
#define REQUEST_ORDER " ORDER BY q.request_id FOR UPDATE OF q SKIP LOCKED"

static int32
level(uint64 row, int column)
{
	return spinpanel_row_isnull(row, column) ? -1 : spinpanel_row_int(row, column);
}

static void
request_from_row(uint64 row, DemandRequest *r)
{
	MemoryContext context = CurrentMemoryContext;

	r->request_id = spinpanel_row_int64(row, 1);
	r->release = is(spinpanel_row_text(row, 2, context), "release");
	r->account_id = spinpanel_row_int(row, 3);
	r->has_user = spinpanel_row_uuid(row, 4, &r->user_id);
	r->upn = spinpanel_row_text(row, 5, context);
	spinpanel_row_uuid(row, 6, &r->sku_id);
	r->status = spinpanel_row_text(row, 7, context);
	r->seat_bought = spinpanel_row_bool(row, 8);
	r->has_subscription = spinpanel_row_uuid(row, 9, &r->subscription_id);
	r->buy_operation = spinpanel_row_int64(row, 10);
	r->operation_id = spinpanel_row_int64(row, 11);
	r->looked_at = spinpanel_row_time(row, 12, 0);
	r->seat_refused_at = spinpanel_row_time(row, 13, 0);
	r->seats_lost = spinpanel_row_int(row, 14);
	r->attempts = spinpanel_row_int(row, 15);
	r->not_before = spinpanel_row_time(row, 16, DT_NOBEGIN);
	r->created_at = spinpanel_row_time(row, 17, 0);
	r->provisioning_at = spinpanel_row_time(row, 18, 0);
	r->active_level = level(row, 19);
	r->consumed_level = level(row, 20);
	r->follows = spinpanel_row_int64(row, 21);
	r->adjustment_id = spinpanel_row_int64(row, 22);
	r->waiting = spinpanel_row_bool(row, 23);
	r->user_known = spinpanel_row_bool(row, 24);
	r->usage_location = spinpanel_row_text(row, 25, context);
	r->held = spinpanel_row_bool(row, 26);
	r->outdated = spinpanel_row_bool(row, 27);
	r->leader_status = spinpanel_row_text(row, 28, context);
	r->leader_error = spinpanel_row_text(row, 29, context);
	r->approval = spinpanel_row_text(row, 30, context);
	r->decision = spinpanel_row_text(row, 31, context);
	r->approved_seats = spinpanel_row_int(row, 32);
	r->operation_status = spinpanel_row_text(row, 33, context);
	r->buy_status = spinpanel_row_text(row, 34, context);
	r->subscription_mapped = spinpanel_row_uuid(row, 35, &r->subscription_sku);
	r->by_name = spinpanel_row_bool(row, 36);
}

static void
take_requests(Demand *demand, uint64 rows)
{
	uint64 row;

	demand->requests = palloc0(sizeof(DemandRequest) * (rows + 1));
	demand->count = (int) rows;
	for (row = 0; row < rows; row++)
		request_from_row(row, &demand->requests[row]);
}

Demand *
spinpanel_request_settings(const pg_uuid_t *customer_id)
{
	static StateQuery relationship = {
		"SELECT r.paused_at IS NOT NULL, r.purchases, r.auto_increment, r.usage_location, r.purchase_limit_percent,"
		" r.purchase_limit_seats,"
		" (SELECT coalesce(sum(p.owned_seats), 0)::int FROM spinpanel.pool p WHERE p.customer_id = r.customer_id),"
		" (SELECT coalesce(sum(o.seats), 0)::int FROM spinpanel.operation o WHERE o.customer_id = r.customer_id"
		"  AND o.purpose = 'buy' AND o.status = 'done' AND o.finished_at > $2 AND o.adjustment_id IS NULL),"
		" (SELECT count(*)::int FROM spinpanel.license_request q JOIN spinpanel.operation o ON o.operation_id = q.buy_operation"
		"  WHERE q.customer_id = r.customer_id AND q.status = 'buying' AND o.adjustment_id IS NULL)"
		" FROM spinpanel.relationship r WHERE r.customer_id = $1",
		"uT", NULL
	};
	Demand *demand = palloc0(sizeof(Demand));
	StateArg args[2];

	demand->customer_id = *customer_id;
	demand->now = spinpanel_now();
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(demand->now - LIMIT_TIME);
	if (spinpanel_state_run(&relationship, args, 0) > 0)
	{
		demand->paused = spinpanel_row_bool(0, 1);
		demand->purchases = spinpanel_row_bool(0, 2);
		demand->increment = spinpanel_row_bool(0, 3);
		demand->usage_location = spinpanel_row_text(0, 4, CurrentMemoryContext);
		demand->limit_percent = spinpanel_row_int(0, 5);
		demand->limit_seats = spinpanel_row_int(0, 6);
		demand->owned = spinpanel_row_int(0, 7);
		demand->bought_recently = spinpanel_row_int(0, 8);
		/* the limit is of what was owned before */
		demand->owned = Max(0, demand->owned - demand->bought_recently);
		demand->bought_recently += spinpanel_row_int(0, 9);
	}
	return demand;
}

Demand *
spinpanel_request_load(const pg_uuid_t *customer_id)
{
	static StateQuery requests = {
		REQUEST_SELECT " WHERE q.customer_id = $1 AND q.status IN " OPEN_STATES REQUEST_ORDER, "u",
		NULL
	};
	Demand *demand = spinpanel_request_settings(customer_id);
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(customer_id);
	take_requests(demand, spinpanel_state_run(&requests, args, 0));
	return demand;
}

void
spinpanel_request_pool(const Demand *demand, const pg_uuid_t *sku_id, DemandPool *pool)
{
	/*
	 * A seat that was bought and does not show yet, and an assignment that
	 * was sent and is not in consumed yet, are known by the number at which
	 * they will show.  So are the seats of a purchase whose answer is not
	 * here yet: once active shows them, they are not free.
	 */
	static StateQuery figures = {
		"SELECT p.active_units, p.consumed_units, p.owned_seats,"
		" coalesce(greatest(p.active_units - p.settle_active, 0), 0),"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.waiting"
		"  AND q.seat_bought AND q.active_level > coalesce(p.active_units, 0)),"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2"
		"  AND q.status IN ('queued', 'provisioning') AND q.seat_bought AND q.kind = 'assign')"
		" + (SELECT count(*)::int FROM spinpanel.license_request q JOIN spinpanel.operation o ON o.operation_id = q.buy_operation"
		"  WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.status = 'buying' AND q.active_level <= coalesce(p.active_units, 0)"
		"  AND o.status IN ('sending', 'unknown')),"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.waiting"
		"  AND q.kind = 'assign' AND q.status IN ('assigning', 'done') AND q.consumed_level > coalesce(p.consumed_units, 0)),"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2"
		"  AND q.kind = 'release' AND q.status = 'done' AND q.operation_id IS NOT NULL AND q.confirmed_at > $3),"
		" coalesce((SELECT sum(CASE WHEN o.kind = 'set_quantity' THEN greatest(0, (o.base ->> 'quantity')::int"
		"   - (o.wanted ->> 'quantity')::int) ELSE (o.base ->> 'quantity')::int END)::int FROM spinpanel.operation o"
		"  WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.status IN ('sending', 'unknown')"
		"  AND o.kind IN ('set_quantity', 'suspend', 'cancel') AND o.purpose IN ('remove', 'merge', 'give_back')), 0),"
		" EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy'"
		"  AND o.status IN ('queued', 'sending', 'unknown'))"
		/* A new subscription may not be readable for a while: its seats are owned. */
		", coalesce((SELECT sum((o.wanted ->> 'quantity')::int)::int FROM spinpanel.operation o"
		"  WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy' AND o.kind = 'checkout' AND o.status = 'done'"
		"  AND o.finished_at > $4 AND NOT EXISTS (SELECT FROM spinpanel.subscription s"
		"   WHERE s.subscription_id = o.subscription_id AND s.sku_id IS NOT NULL)), 0)"
		/* In doubt the report that has more seats free counts: a seat is tried, not bought. */
		" FROM (SELECT greatest(k.active_units, p.active_units, 0) AS active_units,"
		"  coalesce(least(k.consumed_units, p.consumed_units), 0) AS consumed_units, coalesce(p.owned_seats, 0) AS owned_seats,"
		"  p.settle_active FROM (VALUES (1)) AS one LEFT JOIN spinpanel.pool p ON p.customer_id = $1 AND p.sku_id = $2"
		"  LEFT JOIN spinpanel.subscribed_sku k ON k.customer_id = $1 AND k.sku_id = $2 AND k.gone_at IS NULL) p",
		"uuTT", NULL
	};
	static StateQuery rule = {
		"SELECT (array_agg(r.default_offer ORDER BY r.customer_id IS NULL, r.sku_id IS NULL) FILTER (WHERE r.default_offer IS NOT NULL))[1],"
		" (array_agg(r.term_duration ORDER BY r.customer_id IS NULL, r.sku_id IS NULL) FILTER (WHERE r.term_duration IS NOT NULL))[1],"
		" (array_agg(r.billing_cycle ORDER BY r.customer_id IS NULL, r.sku_id IS NULL) FILTER (WHERE r.billing_cycle IS NOT NULL))[1],"
		" (array_agg(r.max_seats ORDER BY r.customer_id IS NULL, r.sku_id IS NULL) FILTER (WHERE r.max_seats IS NOT NULL))[1]"
		" FROM spinpanel.license_rule r"
		" WHERE coalesce(r.customer_id, '00000000-0000-0000-0000-000000000000') = ANY (ARRAY[$1, '00000000-0000-0000-0000-000000000000'])"
		" AND coalesce(r.sku_id, '00000000-0000-0000-0000-000000000000') = ANY (ARRAY[$2, '00000000-0000-0000-0000-000000000000'])",
		"uu", NULL
	};
	NeedFigures *f = &pool->figures;
	StateArg args[4];

	memset(pool, 0, sizeof(*pool));
	pool->sku_id = *sku_id;
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_time(demand->now - (int64) spinpanel_settle_time * USECS_PER_SEC);
	args[3] =
		spinpanel_arg_time(demand->now - (int64) spinpanel_provisioning_timeout * USECS_PER_SEC);
	spinpanel_state_run(&figures, args, 0);
	f->active = spinpanel_row_int(0, 1);
	f->consumed = spinpanel_row_int(0, 2);
	pool->owned = spinpanel_row_int(0, 3);
	f->removing = spinpanel_row_int(0, 4);
	f->unshown = spinpanel_row_int(0, 5);
	f->reserved = spinpanel_row_int(0, 6);
	f->claimed = spinpanel_row_int(0, 7);
	f->released = spinpanel_row_int(0, 8);
	f->removing += spinpanel_row_int(0, 9);
	pool->buying = spinpanel_row_bool(0, 10);
	pool->unread = spinpanel_row_int(0, 11);
	pool->owned += pool->unread;
	f->increment = demand->increment && demand->purchases;

	spinpanel_state_run(&rule, args, 0);
	pool->rule.default_offer = spinpanel_row_text(0, 1, CurrentMemoryContext);
	pool->rule.term_duration = spinpanel_row_text(0, 2, CurrentMemoryContext);
	pool->rule.billing_cycle = spinpanel_row_text(0, 3, CurrentMemoryContext);
	pool->max_seats = level(0, 4);
}

void
spinpanel_request_terms(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, const pg_uuid_t *ids,
						int count, NeedTerms *terms)
{
	static StateQuery select = {
		"SELECT subscription_id, term_duration, billing_cycle FROM spinpanel.subscription"
		" WHERE customer_id = $1 AND sku_id = $2",
		"uu", NULL
	};
	StateArg args[2];
	uint64 rows;
	uint64 row;
	int i;

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	rows = spinpanel_state_run(&select, args, 0);
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t id;

		spinpanel_row_uuid(row, 1, &id);
		for (i = 0; i < count; i++)
		{
			if (!same_uuid(&ids[i], &id))
				continue;
			terms[i].term_duration = spinpanel_row_text(row, 2, CurrentMemoryContext);
			terms[i].billing_cycle = spinpanel_row_text(row, 3, CurrentMemoryContext);
		}
	}
}

void
spinpanel_request_count(const Operation *op, int32 *open, int32 *refused, int32 *linked)
{
	static StateQuery select = {
		"SELECT count(*)::int, (count(*) FILTER (WHERE seat_refused_at IS NOT NULL))::int"
		" FROM spinpanel.license_request WHERE customer_id = $1 AND sku_id = $2 AND status IN ('queued', 'buying', 'provisioning')"
		" AND kind = 'assign' AND NOT seat_bought AND follows IS NULL AND looked_at IS NOT NULL AND operation_id IS NULL",
		"uu", NULL
	};
	static StateQuery hold = {
		"SELECT 1 FROM spinpanel.license_request WHERE buy_operation = $1 AND status = 'buying'"
		" FOR UPDATE SKIP LOCKED",
		"I", NULL
	};
	StateArg args[2];

	/* A checkout is for the requests of its cart. */
	args[0] = spinpanel_arg_int64(is(op->kind, "checkout") && op->after_operation != 0
									  ? op->after_operation
									  : op->operation_id);
	*linked = (int32) spinpanel_state_run(&hold, args, 0);
	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_uuid(&op->sku_id);
	spinpanel_state_run(&select, args, 0);
	*open = spinpanel_row_int(0, 1);
	*refused = spinpanel_row_int(0, 2);
}

DemandHold
spinpanel_request_hold(const Operation *op, int wanted)
{
	static StateQuery served = {
		"SELECT 1 FROM spinpanel.license_request WHERE operation_id = $1 AND status IN " OPEN_STATES,
		"I", NULL
	};
	static StateQuery hold_served = {
		"SELECT 1 FROM spinpanel.license_request WHERE operation_id = $1 AND status IN " OPEN_STATES
		" FOR UPDATE SKIP LOCKED",
		"I", NULL
	};
	static StateQuery bought = {
		"SELECT 1 FROM spinpanel.license_request WHERE buy_operation = $1 AND status = 'buying'",
		"I", NULL
	};
	static StateQuery hold_bought = {
		"SELECT 1 FROM spinpanel.license_request WHERE buy_operation = $1 AND status = 'buying'"
		" FOR UPDATE SKIP LOCKED",
		"I", NULL
	};
	bool buys = is(op->purpose, "buy");
	uint64 held;
	StateArg args[1];

	if (op->request_id == 0)
		return DEMAND_READY;
	args[0] = spinpanel_arg_int64(is(op->kind, "checkout") && op->after_operation != 0
									  ? op->after_operation
									  : op->operation_id);
	held = spinpanel_state_run(buys ? &hold_bought : &hold_served, args, 0);
	if (spinpanel_state_run(buys ? &bought : &served, args, 0) > held)
		return DEMAND_LOCKED;
	return held < (uint64) wanted ? DEMAND_CHANGED : DEMAND_READY;
}

void
spinpanel_request_looked(const pg_uuid_t *customer_id, const char *upn, const pg_uuid_t *user_id,
						 TimestampTz looked_at)
{
	/* The predicates leave the planner no choice but the user's index. */
	static StateQuery by_id = {
		"UPDATE spinpanel.license_request SET looked_at = $3 WHERE request_id IN"
		" (SELECT q.request_id FROM spinpanel.license_request q WHERE q.finished_at IS NULL AND q.user_id = $2"
		"  AND q.user_id IS NOT NULL AND (q.customer_id = $1) IS TRUE AND (q.status = 'queued') IS TRUE"
		"  AND NOT q.by_name FOR UPDATE SKIP LOCKED)",
		"uuT", NULL
	};
	static StateQuery by_name = {
		"UPDATE spinpanel.license_request SET user_id = $2, looked_at = $3 WHERE request_id IN"
		" (SELECT q.request_id FROM spinpanel.license_request q WHERE q.finished_at IS NULL AND lower(q.upn) = lower($4)"
		"  AND q.upn IS NOT NULL AND (q.customer_id = $1) IS TRUE AND (q.status = 'queued') IS TRUE"
		"  AND (q.by_name OR q.user_id IS NULL) FOR UPDATE SKIP LOCKED)",
		"uuTt", NULL
	};
	StateArg args[4];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(user_id);
	args[2] = spinpanel_arg_time(looked_at);
	args[3] = spinpanel_arg_text(upn);
	spinpanel_state_run(&by_id, args, 0);
	if (upn != NULL)
		spinpanel_state_run(&by_name, args, 0);
}

/* ---- writing ---------------------------------------------------------------------------- */

static void
record(const Demand *demand, const DemandRequest *r, const char *event, const char *reason)
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

static void
write_request(const DemandRequest *r, const char *error, bool finished, bool confirmed,
			  TimestampTz now)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET status = $2, seat_bought = $3, subscription_id = $4, buy_operation = $5,"
		" operation_id = $6, looked_at = $7, seat_refused_at = $8, seats_lost = $9, attempts = $10, not_before = $11,"
		" provisioning_at = $12, active_level = $13, consumed_level = $14, follows = $15, adjustment_id = $16,"
		" waiting = $17, error = $18, finished_at = CASE WHEN $19 THEN $21 END,"
		" confirmed_at = CASE WHEN $20 THEN $21 ELSE confirmed_at END, account_id = nullif($22, 0)"
		" WHERE request_id = $1",
		"ItbuIITTiiTTiiIIbtbbTi", NULL
	};
	StateArg args[22];

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
	args[17] = spinpanel_arg_text(error && error[0] ? error : NULL);
	args[18] = spinpanel_arg_bool(finished);
	args[19] = spinpanel_arg_bool(confirmed);
	args[20] = spinpanel_arg_time(now);
	args[21] = spinpanel_arg_int(r->account_id);
	spinpanel_state_run(&update, args, 0);
}

void
spinpanel_request_save(Demand *demand, DemandRequest *r, const char *event, const char *reason)
{
	/* Those that wait for an operation are woken by its end. */
	if (is(r->status, "buying") || is(r->status, "assigning") || r->operation_id != 0)
		r->not_before = demand->now + OPERATION_PATIENCE;
	write_request(r, reason, false, false, demand->now);
	r->moved = true;
	if (event != NULL)
		record(demand, r, event, reason);
}

void
spinpanel_request_put_off(Demand *demand, DemandRequest *r, int64 delay_ms, const char *reason)
{
	r->not_before = delay_ms < 0 ? DT_NOEND : demand->now + delay_ms * 1000;
	write_request(r, reason, false, false, demand->now);
	r->moved = true;
}

static void
notify_request(const Demand *demand, const DemandRequest *r)
{
	Async_Notify("spinpanel",
				 psprintf("{\"type\":\"request\",\"id\":" INT64_FORMAT
						  ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
						  r->request_id, r->status, spinpanel_uuid_text(&demand->customer_id)));
}

/* ---- seats bought for a request that cannot use them -------------------------------------- */

/* The seat serves another request that waits; false: none does. */
static bool
pass_seat_on(Demand *demand, const DemandRequest *from)
{
	static StateQuery pass = {
		"UPDATE spinpanel.license_request SET seat_bought = true, subscription_id = $4, buy_operation = $5,"
		" active_level = $6, provisioning_at = coalesce($7, $8), status = 'provisioning', not_before = $8, error = NULL"
		" WHERE request_id = (SELECT q.request_id FROM spinpanel.license_request q"
		"  LEFT JOIN spinpanel.operation o ON o.operation_id = q.buy_operation"
		"  WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.kind = 'assign' AND q.request_id <> $3 AND NOT q.seat_bought"
		"  AND q.follows IS NULL AND q.operation_id IS NULL AND q.looked_at IS NOT NULL"
		"  AND (q.status IN ('queued', 'provisioning') OR q.status = 'buying' AND o.status = 'queued')"
		"  ORDER BY q.status = 'buying', q.request_id LIMIT 1 FOR UPDATE OF q SKIP LOCKED)"
		" RETURNING request_id",
		"uuIuIiTT", NULL
	};
	StateArg args[8];
	int64 id;
	int i;

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&from->sku_id);
	args[2] = spinpanel_arg_int64(from->request_id);
	args[3] = spinpanel_arg_uuid(from->has_subscription ? &from->subscription_id : NULL);
	args[4] = id_arg(from->buy_operation);
	args[5] = level_arg(from->active_level);
	args[6] = time_arg(from->provisioning_at);
	args[7] = spinpanel_arg_time(demand->now);
	if (spinpanel_state_run(&pass, args, 0) == 0)
		return false;
	id = spinpanel_row_int64(0, 1);
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (r->request_id != id)
			continue;
		r->seat_bought = true;
		r->has_subscription = from->has_subscription;
		r->subscription_id = from->subscription_id;
		r->buy_operation = from->buy_operation;
		r->active_level = from->active_level;
		r->provisioning_at = from->provisioning_at != 0 ? from->provisioning_at : demand->now;
		r->status = "provisioning";
		r->not_before = demand->now;
		r->moved = true;
	}
	record(demand, from, "seat passed on",
		   psprintf("the seat bought for it serves request " INT64_FORMAT, id));
	return true;
}

/* Queues that so many seats more of the subscription go back; 0 = cannot. */
static int64
give_seats_back(Demand *demand, const DemandRequest *r, int32 seats)
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

	if (pass_seat_on(demand, r))
	{
		r->seat_bought = false;
		return;
	}
	id = give_seats_back(demand, r, 1);
	if (id != 0)
	{
		r->operation_id = id;
		record(demand, r, "seat given back", "the seat bought for it is not needed");
	}
	else
		record(demand, r, "seat in stock",
			   "the seat bought for it cannot be given back now: it is in stock");
}

void
spinpanel_request_finish(Demand *demand, DemandRequest *r, const char *status, const char *reason)
{
	/* What follows it is looked at again. */
	static StateQuery followers = {
		"UPDATE spinpanel.license_request SET not_before = $2 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.follows = $1 AND q.status IN " OPEN_STATES
		" FOR UPDATE SKIP LOCKED)",
		"IT", NULL
	};
	bool done = is(status, "done");
	StateArg args[2];

	if (!done && r->seat_bought)
		place_seat(demand, r);
	r->status = status;
	if (!done || r->release)
		r->waiting = false;
	write_request(r, done ? NULL : reason, true, done, demand->now);
	r->moved = true;
	record(demand, r, psprintf("request %s", status), reason);
	notify_request(demand, r);
	args[0] = spinpanel_arg_int64(r->request_id);
	args[1] = spinpanel_arg_time(demand->now);
	spinpanel_state_run(&followers, args, 0);
}

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

/*
 * Partner Center says that no seat is free.  Right after a purchase that means
 * "not yet", until a read shows all seats bought in the pool and that all are
 * taken, or the time for it is over; then, and without a purchase, somebody
 * took it.
 */
static void
no_seat_free(Demand *demand, DemandRequest *r, bool alone)
{
	DemandPool pool;

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
	if (r->seat_bought)
	{
		bool over = demand->now - r->provisioning_at >
					(int64) spinpanel_provisioning_timeout * USECS_PER_SEC;

		spinpanel_request_pool(demand, &r->sku_id, &pool);
		if (!over && (pool.figures.active < r->active_level || pool.figures.unshown > 0 ||
					  pool.figures.consumed < pool.figures.active))
		{
			r->status = "provisioning";
			r->not_before = demand->now + retry_delay(r) * 1000;
			spinpanel_request_save(demand, r, "request provisioning",
								   "the seat bought for it cannot be assigned yet");
			return;
		}
		r->seats_lost++;
		r->seat_bought = false;
		if (r->seats_lost > 1)
		{
			/* Where somebody holds it, the floor keeps it. */
			r->operation_id = give_seats_back(demand, r, 1);
			if (r->operation_id != 0)
				record(demand, r, "seat given back",
					   "the seat bought for it could not be assigned");
			spinpanel_request_finish(
				demand, r, "failed",
				over
					? "seats that were bought for it could not be assigned in time; they are in stock"
					: "seats that were bought for it were taken by others twice");
			return;
		}
		record(demand, r, "seat lost",
			   over ? "the seat bought for it could not be assigned in time: it is in stock"
					: "somebody else took the seat bought for it");
		r->active_level = -1;
		r->buy_operation = 0;
		r->has_subscription = false;
	}
	else
	{
		/* The free seat may have gone to one of ours whose own cannot be assigned yet. */
		spinpanel_request_pool(demand, &r->sku_id, &pool);
		if (pool.figures.unshown > 0)
		{
			r->status = "queued";
			r->not_before = demand->now + retry_delay(r) * 1000;
			spinpanel_request_save(demand, r, "request queued again",
								   "no seat is free yet: seats bought before do not show so far");
			return;
		}
	}
	r->status = "queued";
	r->seat_refused_at = demand->now;
	r->not_before = demand->now;
	spinpanel_request_save(demand, r, "request queued again",
						   "Partner Center says that no seat is free, whatever its report shows");
}

/* Those that waited for the pool are looked at now; all: also who waits for a person. */
static void
wake_pool(const Demand *demand, const pg_uuid_t *sku_id, bool all)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $3 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.status = 'queued'"
		" AND q.not_before > $3 AND q.operation_id IS NULL AND q.follows IS NULL AND ($4 OR q.adjustment_id IS NULL)"
		" FOR UPDATE SKIP LOCKED)",
		"uuTb", NULL
	};
	StateArg args[4];

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_time(demand->now);
	args[3] = spinpanel_arg_bool(all);
	spinpanel_state_run(&update, args, 0);
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
				if (r->release)
					wake_pool(demand, &r->sku_id, true);
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
	r->provisioning_at = demand->now;
	r->seat_refused_at = 0;
	r->adjustment_id = 0;
	r->attempts = 0;
	r->status = "provisioning";
	r->not_before = demand->now;
	spinpanel_request_save(demand, r, "request provisioning", "a seat was bought for it");
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
			r->provisioning_at = demand->now;
			r->seat_refused_at = 0;
			if (before >= 0)
				r->active_level = before + given;
			r->adjustment_id = 0;
			r->attempts = 0;
			r->status = "provisioning";
			r->not_before = demand->now;
			spinpanel_request_save(demand, r, "request provisioning", "a seat was bought for it");
		}
	}

	/* Somebody cancelled meanwhile.  Who asked without a request keeps them. */
	if (op->request_id == 0)
		given = (int32) seats;
	given += reserve_seats(&spare, (int32) seats - given);
	for (; given < seats && pass_seat_on(demand, &spare); given++)
		;
	if (given < seats && give_seats_back(demand, &spare, (int32) (seats - given)) == 0)
		record(
			demand, &spare, "seat in stock",
			psprintf("%d seat(s) more were bought than are needed by now", (int) (seats - given)));
	if (is(op->kind, "reactivate"))
		restore_auto_renew(op);
}

static void
purchase_over(Demand *demand, const Operation *op, int64 buy_operation, const char *status,
			  const char *code, const char *reason, Jsonb *result)
{
	int i;

	if (is(status, "done"))
		seats_arrived(demand, op, buy_operation, result);
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (r->moved)
			continue;
		if (is(status, "cancelled") || is(code, "cart_expired"))
			spinpanel_request_begin_again(demand, r, "request queued again", reason,
										  r->attempts == 0);
		else
			spinpanel_request_finish(
				demand, r, "failed",
				psprintf("no seat could be bought: %s%s%s",
						 reason && reason[0] ? reason : "Partner Center refused it",
						 code && code[0] ? ", code " : "", code && code[0] ? code : ""));
	}
	wake_pool(demand, &op->sku_id, false);
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
		take_requests(&demand, spinpanel_state_run(&by_operation, args, 0));
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
		take_requests(&demand, spinpanel_state_run(&by_purchase, args, 0));
		purchase_over(&demand, op, id, status, code, reason, result);
	}
}
