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
#include "state/statement.h"

/* A request whose operation is under way is looked at again so much later, in
 * case nobody could tell it that the operation ended. */
#define OPERATION_PATIENCE (60 * USECS_PER_SEC)

/* Purchases within this time count towards the limit. */
#define LIMIT_TIME USECS_PER_DAY

/* A window that closes this soon gives nothing back any more. */
#define TOO_LATE USECS_PER_HOUR

/* One turn of a customer looks up so many users, and takes up so many requests. */
#define LOOKS_AT_ONCE "200"
#define TAKEN_AT_ONCE "5000"

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

/* ---- telling ------------------------------------------------------------------------ */

static void
notify_request(const pg_uuid_t *customer_id, int64 request_id, const char *status)
{
	Async_Notify("spinpanel", psprintf("{\"type\":\"request\",\"id\":" INT64_FORMAT
									   ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
									   request_id, status, spinpanel_uuid_text(customer_id)));
}

/* Of what callers have ended, which must not notify themselves. */
static void
tell_ended(void)
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
		" WHERE q.status IN " OPEN_STATES " AND r.paused_at IS NULL AND q.not_before <= $1"
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

	tell_ended();
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

/* Open assignments whose user is known and for which no seat was bought */
#define LACKS_SEAT \
	"q.kind = 'assign' AND q.status IN ('queued', 'buying', 'provisioning') AND NOT q.seat_bought" \
	" AND q.follows IS NULL AND q.looked_at IS NOT NULL AND q.operation_id IS NULL"

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
	" q.waits_for, coalesce(q.buy_most, 0), q.stock_only," \
	" EXISTS (SELECT FROM spinpanel.operation b WHERE b.customer_id = q.customer_id" \
	"  AND (b.wanted ->> 'userId') = q.user_id::text AND b.status IN ('queued', 'sending', 'unknown'))," \
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
	r->waits_for = spinpanel_row_text(row, 36, context);
	r->buy_most = spinpanel_row_int(row, 37);
	r->stock_only = spinpanel_row_bool(row, 38);
	r->busy = spinpanel_row_bool(row, 39);
	r->was = r->status;
	r->due = true;
	r->by_name = spinpanel_row_bool(row, 40);
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
		"  WHERE q.customer_id = r.customer_id AND q.status = 'buying' AND o.adjustment_id IS NULL),"
		" (SELECT min(o.finished_at) FROM spinpanel.operation o WHERE o.customer_id = r.customer_id"
		"  AND o.purpose = 'buy' AND o.status = 'done' AND o.seats > 0 AND o.finished_at > $2 AND o.adjustment_id IS NULL)"
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
		demand->limit_until = spinpanel_row_isnull(0, 10)
								  ? DT_NOEND
								  : spinpanel_row_time(0, 10, 0) + LIMIT_TIME + USECS_PER_SEC;
	}
	return demand;
}

static int
by_id(const void *a, const void *b)
{
	int64 x = ((const DemandRequest *) a)->request_id;
	int64 y = ((const DemandRequest *) b)->request_id;

	return x < y ? -1 : x > y;
}

/*
 * Others of the same users and SKUs, due or not, and whoever has their rows: they
 * stand in the way of those that were taken.
 */
static void
add_companions(Demand *demand)
{
	static StateQuery select = {
		REQUEST_SELECT
		" JOIN (SELECT DISTINCT x.user_id, x.sku_id FROM unnest($2, $3) AS x (user_id, sku_id)) x"
		" ON q.user_id = x.user_id AND q.sku_id = x.sku_id AND q.user_id IS NOT NULL"
		" WHERE q.customer_id = $1 AND q.finished_at IS NULL AND q.status IN " OPEN_STATES,
		"uAuAu", NULL
	};
	int own = demand->count;
	int count = 0;
	Datum *users = palloc(sizeof(Datum) * (own + 1));
	Datum *skus = palloc(sizeof(Datum) * (own + 1));
	StateArg args[3];
	uint64 rows;
	uint64 row;
	int i;

	for (i = 0; i < own; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (!r->has_user)
			continue;
		users[count] = UUIDPGetDatum(&r->user_id);
		skus[count++] = UUIDPGetDatum(&r->sku_id);
	}
	if (count == 0)
		return;
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(users, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	args[2] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(skus, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	rows = spinpanel_state_run(&select, args, 0);
	if (rows == 0)
		return;
	demand->requests = repalloc(demand->requests, sizeof(DemandRequest) * (own + rows + 1));
	for (row = 0; row < rows; row++)
	{
		DemandRequest key;
		DemandRequest *r = &demand->requests[demand->count];

		key.request_id = spinpanel_row_int64(row, 1);
		if (bsearch(&key, demand->requests, own, sizeof(DemandRequest), by_id) != NULL)
			continue;
		memset(r, 0, sizeof(*r));
		request_from_row(row, r);
		r->due = false;
		r->moved = true; /* it is not ours to write */
		demand->count++;
	}
	qsort(demand->requests, demand->count, sizeof(DemandRequest), by_id);
}

Demand *
spinpanel_request_load(const pg_uuid_t *customer_id)
{
	/*
	 * A page of those whose user is to be looked up, and of the others that are
	 * due.  Who waits only for these looks comes in with the last of them, who
	 * waits for an approval with any other of the pool: the older one must not
	 * be overtaken.
	 */
	static StateQuery requests = {
		"WITH open AS MATERIALIZED (SELECT request_id, sku_id, not_before, waits_for,"
		"  status = 'queued' AND looked_at IS NULL AND follows IS NULL AND operation_id IS NULL AS unlooked"
		"  FROM spinpanel.license_request WHERE customer_id = $1 AND (waiting OR status IN " OPEN_STATES
		") AND status IN " OPEN_STATES "),"
		" pools AS (SELECT sku_id, count(*) FILTER (WHERE unlooked) AS unlooked FROM open WHERE not_before <= $2 GROUP BY 1),"
		" page AS ((SELECT request_id FROM open WHERE not_before <= $2 AND unlooked ORDER BY 1 LIMIT " LOOKS_AT_ONCE
		")"
		" UNION ALL (SELECT request_id FROM open WHERE not_before <= $2 AND NOT unlooked ORDER BY 1 LIMIT " TAKEN_AT_ONCE
		")"
		" UNION ALL (SELECT o.request_id FROM open o JOIN pools USING (sku_id) WHERE o.not_before > $2"
		"  AND (o.waits_for = 'approval' OR o.waits_for = 'looks' AND pools.unlooked <= " LOOKS_AT_ONCE
		") ORDER BY 1 LIMIT " TAKEN_AT_ONCE ")) " REQUEST_SELECT
		" WHERE q.request_id = ANY (ARRAY(SELECT request_id FROM page)) AND q.status IN " OPEN_STATES
			REQUEST_ORDER,
		"uT", NULL
	};
	Demand *demand = spinpanel_request_settings(customer_id);
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(demand->now);
	take_requests(demand, spinpanel_state_run(&requests, args, 0));
	add_companions(demand);
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
		" coalesce(greatest(p.active_units - p.settle_active, 0), 0) + coalesce((SELECT sum(CASE WHEN o.kind = 'set_quantity'"
		"   THEN greatest(0, (o.base ->> 'quantity')::int - (o.wanted ->> 'quantity')::int)"
		"   ELSE (o.base ->> 'quantity')::int END)::int FROM spinpanel.operation o"
		"  WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.status IN ('sending', 'unknown')"
		"  AND o.kind IN ('set_quantity', 'suspend', 'cancel') AND o.purpose IN ('remove', 'merge', 'give_back')), 0),"
		" q.unshown, q.reserved, q.claimed, q.unreported, r.released, q.open, q.refused, q.unlooked, q.release_since, r.freed_at,"
		" EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy'"
		"  AND o.status IN ('queued', 'sending', 'unknown')),"
		/* A new subscription may not be readable for a while: its seats are owned. */
		" coalesce((SELECT sum((o.wanted ->> 'quantity')::int)::int FROM spinpanel.operation o"
		"  WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy' AND o.kind = 'checkout' AND o.status = 'done'"
		"  AND o.finished_at > $5 AND NOT EXISTS (SELECT FROM spinpanel.subscription s"
		"   WHERE s.subscription_id = o.subscription_id AND s.sku_id IS NOT NULL)), 0)"
		/* In doubt the report that has more seats free counts: a seat is tried, not bought. */
		" FROM (SELECT greatest(k.active_units, p.active_units, 0) AS active_units,"
		"  coalesce(least(k.consumed_units, p.consumed_units), 0) AS consumed_units, coalesce(p.owned_seats, 0) AS owned_seats,"
		"  p.settle_active, $3 - make_interval(secs => $4) AS settled,"
		/* Nothing that was read before that moment shows what was released since. */
		"  least($3, (SELECT max(c.subscribed_skus_read_at) FROM spinpanel.customer_account c WHERE c.customer_id = $1))"
		"   - make_interval(secs => $4) AS shown"
		"  FROM (VALUES (1)) AS one LEFT JOIN spinpanel.pool p ON p.customer_id = $1 AND p.sku_id = $2"
		"  LEFT JOIN spinpanel.subscribed_sku k ON k.customer_id = $1 AND k.sku_id = $2 AND k.gone_at IS NULL) p"
		" CROSS JOIN LATERAL (SELECT count(*)::int AS released, max(d.confirmed_at) AS freed_at FROM spinpanel.license_request d"
		"  WHERE d.customer_id = $1 AND d.sku_id = $2 AND d.kind = 'release' AND d.status = 'done'"
		"  AND d.operation_id IS NOT NULL AND d.confirmed_at > p.shown) r"
		" CROSS JOIN LATERAL (SELECT"
		"  (count(*) FILTER (WHERE q.waiting AND q.seat_bought AND q.active_level > p.active_units))::int AS unshown,"
		"  (count(*) FILTER (WHERE q.kind = 'assign' AND (q.status IN ('queued', 'provisioning') AND q.seat_bought"
		"   OR q.status = 'buying' AND q.active_level <= p.active_units AND EXISTS (SELECT FROM spinpanel.operation o"
		"    WHERE o.operation_id = q.buy_operation AND o.status IN ('sending', 'unknown')))))::int AS reserved,"
		"  (count(*) FILTER (WHERE q.kind = 'assign' AND q.waiting AND q.status = 'assigning'"
		"   AND q.consumed_level > p.consumed_units))::int AS claimed,"
		"  (count(*) FILTER (WHERE q.kind = 'assign' AND q.waiting AND q.status = 'done'"
		"   AND q.consumed_level > p.consumed_units))::int AS unreported,"
		"  (count(*) FILTER (WHERE " LACKS_SEAT "))::int AS open,"
		"  (count(*) FILTER (WHERE " LACKS_SEAT
		"   AND q.seat_refused_at > greatest(p.settled, r.freed_at)))::int AS refused,"
		"  (count(*) FILTER (WHERE q.kind = 'assign' AND q.status = 'queued' AND q.looked_at IS NULL AND q.follows IS NULL"
		"   AND q.operation_id IS NULL AND q.not_before <= $3))::int AS unlooked,"
		"  max(q.created_at) FILTER (WHERE q.kind = 'release' AND q.follows IS NULL"
		"   AND q.status IN ('queued', 'assigning')) AS release_since"
		"  FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2"
		"  AND (q.waiting OR q.status IN " OPEN_STATES ")) q",
		"uuTiT", NULL
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
	StateArg args[5];

	memset(pool, 0, sizeof(*pool));
	pool->sku_id = *sku_id;
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_time(demand->now);
	args[3] = spinpanel_arg_int(spinpanel_settle_time);
	args[4] =
		spinpanel_arg_time(demand->now - (int64) spinpanel_provisioning_timeout * USECS_PER_SEC);
	spinpanel_state_run(&figures, args, 0);
	f->active = spinpanel_row_int(0, 1);
	f->consumed = spinpanel_row_int(0, 2);
	pool->owned = spinpanel_row_int(0, 3);
	f->removing = spinpanel_row_int(0, 4);
	f->unshown = spinpanel_row_int(0, 5);
	f->reserved = spinpanel_row_int(0, 6);
	f->claimed = spinpanel_row_int(0, 7);
	f->unreported = spinpanel_row_int(0, 8);
	f->released = spinpanel_row_int(0, 9);
	f->open = spinpanel_row_int(0, 10);
	f->refused = spinpanel_row_int(0, 11);
	pool->unlooked = spinpanel_row_int(0, 12);
	pool->release_since = spinpanel_row_time(0, 13, 0);
	pool->freed_at = spinpanel_row_time(0, 14, 0);
	pool->buying = spinpanel_row_bool(0, 15);
	pool->unread = spinpanel_row_int(0, 16);
	f->lagging = Max(0, pool->owned - f->active - f->unshown);
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

int32
spinpanel_request_linked(const Operation *op)
{
	static StateQuery hold = {
		"SELECT 1 FROM spinpanel.license_request WHERE buy_operation = $1 AND status = 'buying'"
		" FOR UPDATE SKIP LOCKED",
		"I", NULL
	};
	StateArg args[1];

	/* A checkout is for the requests of its cart. */
	args[0] = spinpanel_arg_int64(is(op->kind, "checkout") && op->after_operation != 0
									  ? op->after_operation
									  : op->operation_id);
	return (int32) spinpanel_state_run(&hold, args, 0);
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
		record(demand, r, event, reason);
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
static bool
pass_seat_on(Demand *demand, const DemandRequest *from)
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
	request_from_row(0, &other);
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
	record(demand, from, "seat passed on",
		   psprintf("the seat bought for it serves request " INT64_FORMAT, other.request_id));
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

/* Others of the user that wait for one of theirs. */
static void
wake_user(const pg_uuid_t *customer_id, const DemandRequest *r, TimestampTz now)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $3 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.user_id = $2 AND q.finished_at IS NULL AND q.customer_id = $1"
		" AND q.waits_for IN ('user', 'leader') AND q.not_before > $3 AND q.request_id <> $4 FOR UPDATE SKIP LOCKED)",
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
	record(demand, r, psprintf("request %s", status), reason);
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

/* Of those that wait for it in the pool; most: so many of the oldest, 0 = all. */
static void
wake_pool(const Demand *demand, const pg_uuid_t *sku_id, const char *waits_for, int32 most)
{
	static StateQuery update = {
		"UPDATE spinpanel.license_request SET not_before = $3 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.status = 'queued'"
		" AND q.waits_for = ANY (string_to_array($4, ' ')) AND q.not_before > $3 ORDER BY q.request_id"
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
			record(demand, r, "seat lost", why);
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
		"SELECT 1 FROM spinpanel.license_request q WHERE q.user_id = $2 AND q.finished_at IS NULL AND q.customer_id = $1"
		" AND q.sku_id <> $3 AND q.status IN " OPEN_STATES " LIMIT 1",
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
					wake_pool(demand, &r->sku_id, "approval release purchase", 20);
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
	for (; given < seats && pass_seat_on(demand, &spare); given++)
		;
	if (given < seats && give_seats_back(demand, &spare, (int32) (seats - given)) == 0)
		record(
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
	take_requests(&others, spinpanel_state_run(&family, args, 0));
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
	wake_pool(demand, &op->sku_id, "purchase order release", 0);

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
	take_requests(demand, spinpanel_state_run(&select, args, 0));
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
	record(&demand, r, "request queued again", "somebody asked for it to be tried again");
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
