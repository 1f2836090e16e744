/*
 * request_load.c
 *
 * See request.h.  Reads requests, and what is counted of a pool, for the planner;
 * writes nothing but who was looked up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "state/request.h"
#include "state/request_rows.h"
#include "state/statement.h"

/* Purchases within this time count towards the limit. */
#define LIMIT_TIME USECS_PER_DAY

/* One turn of a customer looks up so many users, and takes up so many requests. */
#define LOOKS_AT_ONCE "200"
#define TAKEN_AT_ONCE "5000"

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
	uint64 rows;
	uint64 row;

	args[2] = spinpanel_arg_ints(accounts, account_count);
	args[3] = spinpanel_arg_uuids(busy, busy_count);

	spinpanel_request_tell_ended();
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

static int32
level(uint64 row, int column)
{
	return spinpanel_row_isnull(row, column) ? -1 : spinpanel_row_int(row, column);
}

void
spinpanel_request_from_row(uint64 row, DemandRequest *r)
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

void
spinpanel_request_take(Demand *demand, uint64 rows)
{
	uint64 row;

	demand->requests = palloc0(sizeof(DemandRequest) * (rows + 1));
	demand->count = (int) rows;
	for (row = 0; row < rows; row++)
		spinpanel_request_from_row(row, &demand->requests[row]);
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
		/* IS TRUE: by their users alone, whatever else has an index */
		REQUEST_SELECT
		" WHERE q.user_id = ANY ($2) AND q.user_id IS NOT NULL AND q.finished_at IS NULL"
		" AND (q.customer_id = $1 AND q.sku_id = ANY ($3) AND q.status IN " OPEN_STATES ") IS TRUE",
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
		spinpanel_request_from_row(row, r);
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
		" WHERE q.request_id = ANY (ARRAY(SELECT request_id FROM page)) AND (q.status IN " OPEN_STATES
		") IS TRUE" REQUEST_ORDER,
		"uT", NULL
	};
	Demand *demand = spinpanel_request_settings(customer_id);
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(demand->now);
	spinpanel_request_take(demand, spinpanel_state_run(&requests, args, 0));
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
		" coalesce(greatest(p.active_units - p.settle_active - greatest(0, p.owned_seats - coalesce(p.settle_owned, p.owned_seats)), 0), 0) + coalesce((SELECT sum(CASE WHEN o.kind = 'set_quantity'"
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
		"  p.settle_active, p.settle_owned, $3 - make_interval(secs => $4) AS settled,"
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
