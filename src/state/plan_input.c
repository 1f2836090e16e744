/*
 * plan_input.c
 *
 * Loads pools from the tables into the planner's structs: five statements,
 * however many customers.  It only reads, and decides nothing; who did what
 * (we or a person) follows from what our operations noted.
 *
 * The planner compares the age of data with the moment it plans for.  For
 * "what if" that moment lies elsewhere, so read times are moved along.
 *
 * The worker calls this for each customer each night, hence: plans are made
 * once and generic (they join a dozen small tables, and planning them costs
 * more than running them), every table is reached through the customer's key,
 * and what concerns a customer as a whole is asked once, not per pool.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/settings.h"
#include "state/plan_input.h"
#include "state/statement.h"

/* A refund window is open for this long (Microsoft: 168 hours). */
#define WINDOW (7 * USECS_PER_DAY)

/* A renewal completes within 24 hours of the first moment of the new term. */
#define RENEWAL_TIME (25 * USECS_PER_HOUR)

/* Removals of this long count towards the limit. */
#define LIMIT_TIME USECS_PER_DAY

/* Approvals are looked for among adjustments not older than this. */
#define APPROVAL_TIME (90 * USECS_PER_DAY)

/* What a person rejected stays rejected for so long. */
#define REJECTION_TIME (90 * USECS_PER_DAY)

/* Readings that adjoin: the next begins where the last one ended. */
#define READING_GAP (2 * USECS_PER_SEC)

/* pool.c's mark of numbers that contradict each other: no second read helps */
#define CONTRADICTION (-1)

#define MAX_ARGS 3

typedef struct Loading
{
	MemoryContext context; /* of what is returned */
	SpinpanelPools *customers;
	int count;
	TimestampTz now;
	TimestampTz read_now;
	bool snapshot; /* the active one, not a new one each time */
	int64 except_operation;
	StateArg ids;
	TimestampTz *cool_since; /* per customer: the cool-down reaches back to */
	PlanPool *defaults; /* per customer: what all its pools share */
	ArrayType **not_ours; /* per customer: accounts that lost it */
} Loading;

/* A pool or a subscription between its row and its place in the result. */
typedef struct PoolRow
{
	int customer;
	pg_uuid_t sku_id;
	bool listed; /* in Partner Center's list of subscribed SKUs */
	char *part_number;
	int32 owned;
	int32 consumed;
	PlanPool pool;
	TimestampTz holds_until;
	uint64 first; /* its subscriptions */
	uint64 subscriptions;
} PoolRow;

typedef struct SubscriptionRow
{
	int customer;
	bool has_sku;
	pg_uuid_t sku_id;
	char *offer_key;
	char *offer_name;
	char *likeness; /* the same for duplicates of one offer */
	TimestampTz holds_until;
	pg_uuid_t id;
	pg_uuid_t parent;
	PlanSubscription s;
} SubscriptionRow;

/* ---- statements ----------------------------------------------------------------------- */

/*
 * Like spinpanel_state_run(), but with a generic plan from the start, and on
 * the active snapshot where a query of a caller is answered.
 */
static void
prepare(StateQuery *query, const Oid *types, int count)
{
	SPIPlanPtr plan;

	if (query->plan != NULL)
		return;
	plan = SPI_prepare_cursor(query->sql, count, (Oid *) types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query->sql, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	query->plan = plan;
}

static uint64
run(StateQuery *query, const Oid *types, int count, const StateArg *args, bool snapshot)
{
	Datum values[MAX_ARGS];
	char nulls[MAX_ARGS];
	int rc;
	int i;

	prepare(query, types, count);
	for (i = 0; i < count; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	rc = SPI_execute_plan(query->plan, values, nulls, snapshot, 0);
	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", query->sql, SPI_result_code_string(rc));
	return SPI_processed;
}

static StateArg
time_array(const TimestampTz *times, int count)
{
	Datum *elements = palloc(sizeof(Datum) * (count + 1));
	int i;

	for (i = 0; i < count; i++)
		elements[i] = TimestampTzGetDatum(times[i]);
	return spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, count, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/* Position of the row's customer among those asked for; column 1 of each. */
static int
customer_of(uint64 row)
{
	return spinpanel_row_int(row, 1) - 1;
}

/* Whole hours are what settings hold; a month of an interval is 30 days. */
static int64
row_interval(uint64 row, int column)
{
	bool isnull;
	Datum datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	Interval *interval = DatumGetIntervalP(datum);

	return interval->time + (int64) interval->day * USECS_PER_DAY +
		   (int64) interval->month * DAYS_PER_MONTH * USECS_PER_DAY;
}

/* A copy; NULL where there is none. */
static ArrayType *
row_accounts(uint64 row, int column)
{
	bool isnull;
	Datum datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? NULL : DatumGetArrayTypePCopy(datum);
}

static bool
contains(ArrayType *array, int32 value)
{
	int32 *elements;
	int i;

	if (array == NULL)
		return false;
	elements = (int32 *) ARR_DATA_PTR(array);
	for (i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
		if (elements[i] == value)
			return true;
	return false;
}

/* ---- customers ------------------------------------------------------------------------ */

static void
load_customers(Loading *loading)
{
	/*
	 * Seats of every account of ours count, so subscriptions are as old as the
	 * oldest read; of the tenant's one list of SKUs the newest read holds.
	 *
	 * Removed within a day: what was decided then or approved then, unless
	 * nothing came of it.  A merge counts by what it removes on the whole.
	 */
	static StateQuery select = {
		"SELECT c.position::int, cu.name, r.auto_license_adjustment, r.partner_center_sync,"
		" r.paused_at IS NOT NULL, r.spare_seats, r.cooldown, r.renewal_lead, r.removal_limit_percent,"
		" r.removal_limit_seats, a.subscriptions_read_at, a.subscribed_skus_read_at, a.no_access,"
		" (SELECT sum(greatest(g.net, 0)) FROM (SELECT sum(j.counted) AS net"
		"   FROM spinpanel.adjustment j WHERE j.customer_id = c.customer_id AND j.created_at > $3"
		"   AND (j.created_at > $2 OR j.decided_at > $2) AND j.status IN ('queued', 'done') AND j.counted <> 0"
		"   GROUP BY CASE WHEN j.merge IS NULL THEN j.adjustment_id END, j.run_id, j.merge) g)::int, a.not_ours,"
		" cu.gone_at IS NOT NULL"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.customer cu ON cu.customer_id = c.customer_id"
		" JOIN spinpanel.relationship r ON r.customer_id = c.customer_id"
		" CROSS JOIN LATERAL (SELECT min(coalesce(x.subscriptions_read_at, '-infinity')) FILTER (WHERE x.ours) AS subscriptions_read_at,"
		"  max(x.subscribed_skus_read_at) FILTER (WHERE x.ours) AS subscribed_skus_read_at,"
		"  bool_and(x.license_access IS FALSE) FILTER (WHERE x.ours) AS no_access,"
		"  array_agg(x.account_id) FILTER (WHERE NOT x.ours) AS not_ours"
		"  FROM (SELECT z.*, z.gone_at IS NULL AND y.status <> 'disconnected' AS ours FROM spinpanel.customer_account z"
		"   JOIN spinpanel.account y ON y.account_id = z.account_id WHERE z.customer_id = c.customer_id) x) a",
		NULL, NULL
	};
	static const Oid types[] = { UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID };
	StateArg args[3];
	uint64 rows;
	uint64 row;

	args[0] = loading->ids;
	args[1] = spinpanel_arg_time(loading->now - LIMIT_TIME);
	args[2] = spinpanel_arg_time(loading->now - APPROVAL_TIME);
	rows = run(&select, types, lengthof(types), args, loading->snapshot);
	for (row = 0; row < rows; row++)
	{
		int i = customer_of(row);
		SpinpanelPools *c = &loading->customers[i];
		PlanPool *d = &loading->defaults[i];
		TimestampTz read_at =
			Min(spinpanel_row_time(row, 11, DT_NOBEGIN), spinpanel_row_time(row, 12, DT_NOBEGIN));

		c->customer_name = spinpanel_row_text(row, 2, loading->context);
		c->synced = spinpanel_row_bool(row, 4);

		/* A run reads whom it plans for; without reads nothing is decided. */
		d->adjust = spinpanel_row_bool(row, 3) && c->synced;
		d->paused = spinpanel_row_bool(row, 5);
		d->spare = spinpanel_row_int(row, 6);
		d->cooldown = row_interval(row, 7);
		d->renewal_lead = row_interval(row, 8);
		d->max_age = (int64) spinpanel_max_data_age * USECS_PER_SEC;
		/* never read: as old as can be */
		d->read_at = read_at == DT_NOBEGIN ? 0 : read_at + (loading->now - loading->read_now);
		d->no_access = spinpanel_row_bool(row, 13);
		c->limits.removal_limit_percent = spinpanel_row_int(row, 9);
		c->limits.removal_limit_seats = spinpanel_row_int(row, 10);
		c->limits.removed_recently = spinpanel_row_int(row, 14);
		loading->cool_since[i] = loading->now - d->cooldown;
		loading->not_ours[i] = row_accounts(row, 15);
		c->gone = spinpanel_row_bool(row, 16);
	}
}

/* ---- pools ---------------------------------------------------------------------------- */

/* The pool's doubt, with the moment from which a second read can settle it. */
static char *
doubt_in_words(Loading *loading, uint64 row, int doubt, int doubt_at, int doubt_consumed)
{
	char *words = spinpanel_row_text(row, doubt, CurrentMemoryContext);
	TimestampTz from;
	struct pg_tm tm;
	fsec_t fsec;

	if (words == NULL)
		return NULL;
	from = spinpanel_row_time(row, doubt_at, 0) + (int64) spinpanel_settle_time * USECS_PER_SEC;
	if (!spinpanel_row_isnull(row, doubt_at) &&
		spinpanel_row_int(row, doubt_consumed) != CONTRADICTION &&
		timestamp2tm(from, NULL, &tm, &fsec, NULL, NULL) == 0)
		words = psprintf("%s, from %04d-%02d-%02d %02d:%02d UTC on", words, tm.tm_year, tm.tm_mon,
						 tm.tm_mday, tm.tm_hour, tm.tm_min);
	return MemoryContextStrdup(loading->context, words);
}

static PoolRow *
load_pools(Loading *loading, uint64 *count)
{
	/*
	 * Rules are joined by the expressions of their unique index.  Readings:
	 * the one that stood when the cool-down began and those since; read is for
	 * how many microseconds they tell.
	 */
	static StateQuery select = {
		"SELECT c.position::int, p.sku_id, p.owned_seats, p.active_units, p.consumed_units, p.holders,"
		" p.holders_read_at, p.consumption_seen, coalesce(k.consumption_seen, false), p.doubt, p.doubt_at,"
		" p.doubt_consumed, p.settle_active IS NOT NULL,"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = p.customer_id"
		"  AND q.sku_id = p.sku_id AND q.waiting AND q.kind = 'assign' AND q.status NOT IN ('failed', 'cancelled')),"
		" w.settled, w.since, w.told, w.standing_since,"
		" coalesce(u.part_number, k.part_number), u.target_type, u.sku_id IS NOT NULL,"
		" coalesce(n.never_assigned, h.part_number IS NOT NULL),"
		" coalesce(r1.excluded, r2.excluded, r3.excluded, r4.excluded, false),"
		" coalesce(r1.spare_seats, r2.spare_seats, r3.spare_seats, r4.spare_seats),"
		" coalesce(r1.min_seats, r2.min_seats, r3.min_seats, r4.min_seats, 0), w.next_change"
		" FROM unnest($1, $2) WITH ORDINALITY AS c (customer_id, cool_since, position)"
		" JOIN spinpanel.pool p ON p.customer_id = c.customer_id"
		" LEFT JOIN spinpanel.subscribed_sku u ON u.customer_id = p.customer_id AND u.sku_id = p.sku_id AND u.gone_at IS NULL"
		" LEFT JOIN spinpanel.sku k ON k.sku_id = p.sku_id"
		" LEFT JOIN spinpanel.never_assigned_sku_shipped h ON h.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.never_assigned_sku n ON n.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.license_rule r1"
		"  ON coalesce(r1.customer_id, '00000000-0000-0000-0000-000000000000') = p.customer_id"
		"  AND coalesce(r1.sku_id, '00000000-0000-0000-0000-000000000000') = p.sku_id"
		" LEFT JOIN spinpanel.license_rule r2"
		"  ON coalesce(r2.customer_id, '00000000-0000-0000-0000-000000000000') = p.customer_id"
		"  AND coalesce(r2.sku_id, '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'"
		" LEFT JOIN spinpanel.license_rule r3"
		"  ON coalesce(r3.customer_id, '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'"
		"  AND coalesce(r3.sku_id, '00000000-0000-0000-0000-000000000000') = p.sku_id"
		" LEFT JOIN spinpanel.license_rule r4"
		"  ON coalesce(r4.customer_id, '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'"
		"  AND coalesce(r4.sku_id, '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'"
		" CROSS JOIN LATERAL (SELECT min(g.seats) - max(g.consumed) AS settled, min(g.read_at) AS since,"
		"  sum(date_part('epoch', coalesce(g.until, $3)) - date_part('epoch', g.read_at)) AS told,"
		"  max(g.read_at) FILTER (WHERE g.until IS NULL) AS standing_since,"
		"  least(min(g.read_at) FILTER (WHERE g.read_at > c.cool_since),"
		"   min(g.until) FILTER (WHERE g.until > c.cool_since)) AS next_change"
		"  FROM spinpanel.pool_reading g WHERE g.customer_id = p.customer_id AND g.sku_id = p.sku_id"
		"  AND g.read_at >= coalesce((SELECT max(b.read_at) FROM spinpanel.pool_reading b WHERE b.customer_id = p.customer_id"
		"   AND b.sku_id = p.sku_id AND b.read_at <= c.cool_since), '-infinity')"
		"  AND (g.until IS NULL OR g.until > c.cool_since)) w"
		" ORDER BY c.position, p.sku_id",
		NULL, NULL
	};
	static const Oid types[] = { UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID };
	StateArg args[3];
	uint64 row;
	PoolRow *all;
	TimestampTz holders_since = loading->read_now - (int64) spinpanel_max_data_age * USECS_PER_SEC;

	args[0] = loading->ids;
	args[1] = time_array(loading->cool_since, loading->count);
	args[2] = spinpanel_arg_time(loading->now);
	*count = run(&select, types, lengthof(types), args, loading->snapshot);
	all = palloc_extended(sizeof(PoolRow) * (*count + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (row = 0; row < *count; row++)
	{
		PoolRow *r = &all[row];
		PlanPool *pool = &r->pool;
		char *target;

		r->customer = customer_of(row);
		*pool = loading->defaults[r->customer];
		spinpanel_row_uuid(row, 2, &r->sku_id);
		r->owned = spinpanel_row_int(row, 3);
		r->consumed = spinpanel_row_int(row, 5);
		pool->active = spinpanel_row_int(row, 4);
		pool->consumed = r->consumed;
		if (spinpanel_row_time(row, 7, DT_NOBEGIN) > holders_since)
			pool->consumed = Max(pool->consumed, spinpanel_row_int(row, 6));
		pool->consumption_seen = spinpanel_row_bool(row, 8);
		pool->sku_consumption_seen = spinpanel_row_bool(row, 9) || pool->consumption_seen;
		pool->doubt = doubt_in_words(loading, row, 10, 11, 12);

		/*
		 * Doubt is put in words that a setting has a part in, and holders count as
		 * long as a setting says.
		 */
		r->holds_until = DT_NOEND;
		if ((pool->doubt != NULL && spinpanel_row_int(row, 12) != CONTRADICTION) ||
			spinpanel_row_int(row, 6) > r->consumed)
			r->holds_until = DT_NOBEGIN;

		/* pool.c takes the mark away when a read shows what was left. */
		pool->unsettled = spinpanel_row_bool(row, 13);
		pool->waiting = spinpanel_row_int(row, 14);
		if (pool->waiting > 0)
			r->holds_until = DT_NOBEGIN;

		if (spinpanel_row_isnull(row, 15))
		{
			/* No history: batches and dates tell what was added, and when. */
			pool->settled_unused = Min(r->owned, pool->active) - pool->consumed;
			pool->known_since = loading->now;
		}
		else
		{
			TimestampTz since = spinpanel_row_time(row, 16, 0);
			bool isnull;
			float8 told = DatumGetFloat8(
				SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 17, &isnull));

			pool->settled_unused = spinpanel_row_int(row, 15);

			/*
			 * Readings do not adjoin where the pool was empty for a while:
			 * then only the one that stands tells something.
			 */
			if (told * USECS_PER_SEC < (float8) (loading->now - since) - READING_GAP)
				since = spinpanel_row_time(row, 18, loading->now);
			else if (spinpanel_row_isnull(row, 18))
				r->holds_until = DT_NOBEGIN; /* none stands: soon they will not */
			pool->known_since = since <= loading->cool_since[r->customer] ? 0 : since;
			if (!spinpanel_row_isnull(row, 26))
				r->holds_until =
					Min(r->holds_until, spinpanel_row_time(row, 26, 0) + pool->cooldown);
		}

		r->part_number = spinpanel_row_text(row, 19, loading->context);
		target = spinpanel_row_text(row, 20, CurrentMemoryContext);
		pool->tenant_target = target != NULL && pg_strcasecmp(target, "Tenant") == 0;
		r->listed = spinpanel_row_bool(row, 21);
		pool->never_assigned = spinpanel_row_bool(row, 22);
		pool->excluded = spinpanel_row_bool(row, 23);
		if (!spinpanel_row_isnull(row, 24))
			pool->spare = spinpanel_row_int(row, 24);
		pool->min_seats = spinpanel_row_int(row, 25);

		loading->customers[r->customer].limits.owned_at_start += r->owned;
	}
	return all;
}

/* ---- subscriptions -------------------------------------------------------------------- */

/*
 * Did a renewal open this refund window, and not somebody who bought seats?  A
 * window opens when the renewal completes, up to a day after the first moment
 * of the new term.  That moment is known where we saw the renewal; where we
 * came later, a service start well after the creation tells it.  Seats that
 * somebody bought on the very day of a renewal look the same; these the
 * readings of the pool tell apart.
 */
static bool
opened_by_renewal(TimestampTz opened, TimestampTz renewed_at, TimestampTz effective_start,
				  TimestampTz created)
{
	if (renewed_at != 0 && opened >= renewed_at - USECS_PER_HOUR &&
		opened <= renewed_at + RENEWAL_TIME)
		return true;
	return effective_start != 0 && created != 0 && effective_start > created + USECS_PER_DAY &&
		   opened >= effective_start - USECS_PER_HOUR && opened <= effective_start + RENEWAL_TIME;
}

static const PlanBatch *
read_batches(Loading *loading, uint64 row, int quantities, int untils, PlanSubscription *s,
			 TimestampTz renewed_at, TimestampTz effective_start)
{
	bool isnull;
	ArrayType *quantity_array;
	ArrayType *until_array;
	int32 *quantity;
	TimestampTz *until;
	PlanBatch *batches;
	int n;
	int i;

	quantity_array = DatumGetArrayTypeP(
		SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, quantities, &isnull));
	until_array = DatumGetArrayTypeP(
		SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, untils, &isnull));
	n = Min(ArrayGetNItems(ARR_NDIM(quantity_array), ARR_DIMS(quantity_array)),
			ArrayGetNItems(ARR_NDIM(until_array), ARR_DIMS(until_array)));
	if (n == 0 || ARR_HASNULL(quantity_array) || ARR_HASNULL(until_array))
		return NULL; /* a window that is not known is closed */
	quantity = (int32 *) ARR_DATA_PTR(quantity_array);
	until = (TimestampTz *) ARR_DATA_PTR(until_array);
	batches = MemoryContextAlloc(loading->context, sizeof(PlanBatch) * n);
	for (i = 0; i < n; i++)
	{
		batches[i].quantity = quantity[i];
		batches[i].deadline = until[i];
		batches[i].by_renewal =
			opened_by_renewal(until[i] - WINDOW, renewed_at, effective_start, s->created);
	}
	s->batch_count = n;
	return batches;
}

PlanWho
spinpanel_plan_input_end_by(const PlanSubscription *s, bool our_end, bool our_suspension,
							bool renewed_before)
{
	if (s->auto_renew && !s->cancel_at_term)
		return PLAN_NOBODY;
	if (our_end)
		return PLAN_OURS;

	/* Suspending switches auto-renew off by itself. */
	if (our_suspension && renewed_before && !s->cancel_at_term)
		return PLAN_OURS;

	/* Extended terms have auto-renew off by their nature. */
	if (s->extended_term && !s->cancel_at_term)
		return PLAN_NOBODY;
	return PLAN_PERSON;
}

static SubscriptionRow *
load_subscriptions(Loading *loading, uint64 *count)
{
	static StateQuery select = {
		"SELECT c.position::int, s.sku_id, s.offer_key, coalesce(s.offer_name, s.offer_key), s.subscription_id,"
		" s.account_id, s.commerce, s.status, s.is_trial OR coalesce(f.is_trial, false), s.quantity, f.minimum,"
		" f.maximum, coalesce(s.created_at, s.first_seen_at), s.term_end, s.cancellation_allowed_until, s.auto_renew,"
		" s.cancel_at_term, s.extended_term, s.our_end, s.our_suspension, coalesce(s.auto_renew_before, true),"
		" s.next_quantity, s.next_other_product, s.our_next_quantity, s.parent_subscription_id,"
		" s.changes, s.refund_quantity, s.refund_until, s.renewed_at, s.effective_start,"
		" concat_ws('|', s.account_id, coalesce(s.partner_id, ''), coalesce(s.offer_key, ''),"
		"  coalesce(s.term_duration, ''), coalesce(s.billing_cycle, ''))"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.subscription s ON s.customer_id = c.customer_id"
		" JOIN spinpanel.account a ON a.account_id = s.account_id"
		" LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		" WHERE s.gone_at IS NULL AND s.status IN ('active', 'suspended') AND a.status <> 'disconnected'"
		" ORDER BY c.position, s.sku_id, s.offer_key, s.created_at, s.subscription_id",
		NULL, NULL
	};
	static const Oid types[] = { UUIDARRAYOID };
	uint64 rows;
	uint64 row;
	SubscriptionRow *all;

	rows = run(&select, types, lengthof(types), &loading->ids, loading->snapshot);
	all = palloc_extended(sizeof(SubscriptionRow) * (rows + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	*count = 0;
	for (row = 0; row < rows; row++)
	{
		SubscriptionRow *r = &all[*count];
		PlanSubscription *s = &r->s;
		char *commerce = spinpanel_row_text(row, 7, CurrentMemoryContext);
		char *status = spinpanel_row_text(row, 8, CurrentMemoryContext);
		bool our_suspension = spinpanel_row_bool(row, 20);

		if (contains(loading->not_ours[customer_of(row)], spinpanel_row_int(row, 6)))
			continue;
		(*count)++;
		r->customer = customer_of(row);
		r->has_sku = spinpanel_row_uuid(row, 2, &r->sku_id);
		r->offer_key = spinpanel_row_text(row, 3, CurrentMemoryContext);
		r->offer_name = spinpanel_row_text(row, 4, CurrentMemoryContext);
		spinpanel_row_uuid(row, 5, &r->id);
		r->likeness = spinpanel_row_text(row, 31, CurrentMemoryContext);

		s->account = spinpanel_row_int(row, 6);
		s->commerce = strcmp(commerce, "nce") == 0      ? PLAN_NCE
					  : strcmp(commerce, "legacy") == 0 ? PLAN_LEGACY
														: PLAN_OTHER;
		s->status = strcmp(status, "active") == 0 ? PLAN_ACTIVE : PLAN_SUSPENDED;
		s->trial = spinpanel_row_bool(row, 9);
		s->quantity = spinpanel_row_int(row, 10);
		s->minimum = Max(1, spinpanel_row_int(row, 11));
		s->maximum = spinpanel_row_isnull(row, 12) ? PG_INT32_MAX : spinpanel_row_int(row, 12);
		s->created = spinpanel_row_time(row, 13, 0);
		s->term_end = spinpanel_row_time(row, 14, PLAN_NEVER);
		s->cancel_until = spinpanel_row_time(row, 15, 0);
		s->auto_renew = spinpanel_row_bool(row, 16);
		s->cancel_at_term = spinpanel_row_bool(row, 17);
		s->extended_term = spinpanel_row_bool(row, 18);
		s->end_by = spinpanel_plan_input_end_by(s, spinpanel_row_bool(row, 19), our_suspension,
												spinpanel_row_bool(row, 21));
		s->next_quantity = spinpanel_row_isnull(row, 22) ? -1 : spinpanel_row_int(row, 22);
		s->next_other_sku = spinpanel_row_bool(row, 23);

		/* Set, and not as we left it: a person did it. */
		if (s->next_quantity < 0 && !s->next_other_sku)
			s->next_by = PLAN_NOBODY;
		else if (!s->next_other_sku && !spinpanel_row_isnull(row, 24) &&
				 spinpanel_row_int(row, 24) == s->next_quantity)
			s->next_by = PLAN_OURS;
		else
			s->next_by = PLAN_PERSON;
		s->suspended_by = s->status != PLAN_SUSPENDED ? PLAN_NOBODY
						  : our_suspension            ? PLAN_OURS
													  : PLAN_PERSON;

		/*
		 * Read-only while a renewal may be in progress.  What is active longer
		 * after the end of its term has been renewed.
		 */
		s->renewing = s->status == PLAN_ACTIVE && s->term_end <= loading->now &&
					  s->term_end > loading->now - RENEWAL_TIME;
		r->holds_until = DT_NOEND;
		if (s->status == PLAN_ACTIVE && s->term_end != PLAN_NEVER)
		{
			if (s->term_end > loading->now)
				r->holds_until = s->term_end;
			else if (s->renewing)
				r->holds_until = s->term_end + RENEWAL_TIME;
		}
		s->is_addon = spinpanel_row_uuid(row, 25, &r->parent);
		s->changes = spinpanel_row_int(row, 26);
		s->batches = read_batches(loading, row, 27, 28, s, spinpanel_row_time(row, 29, 0),
								  spinpanel_row_time(row, 30, 0));
		s->duplicates = -1;
		s->rejected_to = -1;
	}
	return all;
}

/* Subscriptions by id, for the few that are looked for. */
static int
compare_ids(const void *a, const void *b)
{
	return memcmp(&(*(SubscriptionRow *const *) a)->id, &(*(SubscriptionRow *const *) b)->id,
				  sizeof(pg_uuid_t));
}

static SubscriptionRow **
by_id(SubscriptionRow *all, uint64 count)
{
	SubscriptionRow **sorted =
		palloc_extended(sizeof(SubscriptionRow *) * (count + 1), MCXT_ALLOC_HUGE);
	uint64 i;

	for (i = 0; i < count; i++)
		sorted[i] = &all[i];
	qsort(sorted, count, sizeof(SubscriptionRow *), compare_ids);
	return sorted;
}

/* The customer's; an id of somebody else's resource is none. */
static SubscriptionRow *
find_subscription(SubscriptionRow **sorted, uint64 count, int customer, const pg_uuid_t *id)
{
	uint64 low = 0;
	uint64 high = count;

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;
		int order = memcmp(&sorted[middle]->id, id, sizeof(pg_uuid_t));

		if (order == 0)
			return sorted[middle]->customer == customer ? sorted[middle] : NULL;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* A base with an active add-on stays; the add-on may be of any SKU or none. */
static void
mark_bases(SubscriptionRow *all, uint64 count)
{
	SubscriptionRow **sorted = NULL;
	uint64 i;

	for (i = 0; i < count; i++)
	{
		SubscriptionRow *base;

		if (!all[i].s.is_addon || all[i].s.status != PLAN_ACTIVE)
			continue;
		if (sorted == NULL)
			sorted = by_id(all, count);
		base = find_subscription(sorted, count, all[i].customer, &all[i].parent);
		if (base != NULL && base != &all[i])
			base->s.has_active_addon = true;
	}
}

/* ---- what a person rejected ------------------------------------------------------------ */

/*
 * A rejection of a removal holds for a while, unless a later decision about the
 * same subscription was an approval.
 */
static void
load_rejections(Loading *loading, SubscriptionRow *subscriptions, uint64 count)
{
	static StateQuery select = {
		"SELECT c.position::int, d.subscription_id, d.to_quantity, d.decided_at FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" CROSS JOIN LATERAL (SELECT DISTINCT ON (j.subscription_id) j.subscription_id, j.to_quantity, j.status, j.decided_at"
		"  FROM spinpanel.adjustment j WHERE j.customer_id = c.customer_id AND j.decided_at > $2 AND j.run_id IS NOT NULL"
		"  AND j.subscription_id IS NOT NULL ORDER BY j.subscription_id, j.decided_at DESC, j.adjustment_id DESC) d"
		" WHERE d.status = 'rejected' AND d.to_quantity IS NOT NULL",
		NULL, NULL
	};
	static const Oid types[] = { UUIDARRAYOID, TIMESTAMPTZOID };
	StateArg args[2];
	uint64 rows;
	uint64 row;
	uint64 i;

	args[0] = loading->ids;
	args[1] = spinpanel_arg_time(loading->now - REJECTION_TIME);
	rows = run(&select, types, lengthof(types), args, loading->snapshot);
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t subscription_id;

		spinpanel_row_uuid(row, 2, &subscription_id);
		for (i = 0; i < count; i++)
			if (subscriptions[i].customer == customer_of(row) &&
				memcmp(&subscriptions[i].id, &subscription_id, sizeof(pg_uuid_t)) == 0)
			{
				subscriptions[i].s.rejected_to = spinpanel_row_int(row, 3);
				subscriptions[i].holds_until =
					Min(subscriptions[i].holds_until,
						spinpanel_row_time(row, 4, loading->now) + REJECTION_TIME);
			}
	}
}

/* ---- operations that are open ---------------------------------------------------------- */

/* Every change of a subscription, and every order, that is not over yet. */
static void
load_operations(Loading *loading, PoolRow *pools, uint64 pool_count, SubscriptionRow *subscriptions,
				uint64 subscription_count)
{
	static StateQuery select = {
		"SELECT c.position::int, o.sku_id, o.subscription_id, CASE WHEN o.purpose = 'restore'"
		" THEN (o.wanted #>> '{scheduledNextTermInstructions,quantity}')::int END"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.operation o ON o.customer_id = c.customer_id"
		" WHERE o.status IN ('queued', 'sending', 'unknown') AND o.operation_id <> $2"
		" AND o.kind NOT IN ('assign', 'unassign', 'set_usage_location')",
		NULL, NULL
	};
	static const Oid types[] = { UUIDARRAYOID, INT8OID };
	SubscriptionRow **sorted = NULL;
	StateArg args[2];
	uint64 rows;
	uint64 row;
	uint64 i;

	args[0] = loading->ids;
	args[1] = spinpanel_arg_int64(loading->except_operation);
	rows = run(&select, types, lengthof(types), args, loading->snapshot);
	for (row = 0; row < rows; row++)
	{
		int customer = customer_of(row);
		pg_uuid_t sku_id;
		pg_uuid_t subscription_id;
		bool has_sku = spinpanel_row_uuid(row, 2, &sku_id);
		bool has_subscription = spinpanel_row_uuid(row, 3, &subscription_id);
		SubscriptionRow *r = NULL;

		if (has_subscription && sorted == NULL)
			sorted = by_id(subscriptions, subscription_count);
		if (has_subscription)
			r = find_subscription(sorted, subscription_count, customer, &subscription_id);
		if (r != NULL)
		{
			r->s.pending = true;
			r->holds_until = DT_NOBEGIN;

			/* Wiped by a change of ours, and about to be set again: it stands. */
			if (!spinpanel_row_isnull(row, 4) && r->s.next_by == PLAN_NOBODY)
			{
				r->s.next_quantity = spinpanel_row_int(row, 4);
				r->s.next_by = PLAN_PERSON;
			}
			if (r->has_sku && !has_sku)
			{
				has_sku = true;
				sku_id = r->sku_id;
			}
		}
		for (i = 0; has_sku && i < pool_count; i++)
			if (pools[i].customer == customer &&
				memcmp(&pools[i].sku_id, &sku_id, sizeof(pg_uuid_t)) == 0)
			{
				pools[i].pool.open_operation = true;
				pools[i].holds_until = DT_NOBEGIN;
			}
	}
}

/* ---- putting it together --------------------------------------------------------------- */

static bool
same_pool(const SubscriptionRow *a, const SubscriptionRow *b)
{
	if (a->customer != b->customer || a->has_sku != b->has_sku)
		return false;
	if (a->has_sku)
		return memcmp(&a->sku_id, &b->sku_id, sizeof(pg_uuid_t)) == 0;
	if (a->offer_key == NULL || b->offer_key == NULL)
		return a->offer_key == b->offer_key;
	return strcmp(a->offer_key, b->offer_key) == 0;
}

/* Seats of it are, or could be again, somebody's invoice. */
static bool
is_license(const SubscriptionRow *r)
{
	return r->s.commerce != PLAN_OTHER;
}

static bool
is_paid(const SubscriptionRow *r)
{
	return is_license(r) && r->s.status == PLAN_ACTIVE && !r->s.trial;
}

static int
compare_likeness(const void *a, const void *b)
{
	const SubscriptionRow *left = *(const SubscriptionRow *const *) a;
	const SubscriptionRow *right = *(const SubscriptionRow *const *) b;
	int order = strcmp(left->likeness, right->likeness);

	/* of equal ones the first of the pool comes first */
	return order != 0 ? order : left < right ? -1 : left > right;
}

/* Each of several alike names the first of them. */
static void
mark_duplicates(PlanSubscription *array, const SubscriptionRow *rows, uint64 count)
{
	const SubscriptionRow **sorted;
	uint64 first = 0;
	uint64 i;

	if (count < 2)
		return;
	sorted = palloc_extended(sizeof(SubscriptionRow *) * count, MCXT_ALLOC_HUGE);
	for (i = 0; i < count; i++)
		sorted[i] = &rows[i];
	qsort(sorted, count, sizeof(SubscriptionRow *), compare_likeness);
	for (i = 1; i < count; i++)
	{
		if (strcmp(sorted[first]->likeness, sorted[i]->likeness) != 0)
		{
			first = i;
			continue;
		}
		array[sorted[first] - rows].duplicates = array[sorted[i] - rows].duplicates =
			(int32) (sorted[first] - rows);
	}
	pfree(sorted);
}

static void
place_subscriptions(Loading *loading, SpinpanelPools *c, int32 pool, const SubscriptionRow *rows,
					uint64 count)
{
	PlanSubscription *array;
	pg_uuid_t *ids;
	uint64 i;

	if (count == 0)
		return;
	array = MemoryContextAlloc(loading->context, sizeof(PlanSubscription) * count);
	ids = MemoryContextAlloc(loading->context, sizeof(pg_uuid_t) * count);
	for (i = 0; i < count; i++)
	{
		array[i] = rows[i].s;
		ids[i] = rows[i].id;
		c->holds_until[pool] = Min(c->holds_until[pool], rows[i].holds_until);
	}
	mark_duplicates(array, rows, count);
	c->pools[pool].subscriptions = array;
	c->pools[pool].subscription_count = (int32) count;
	c->subscription_ids[pool] = ids;
}

/* A pool of seats whose SKU is not known: shown, and left alone. */
static void
place_unmapped(Loading *loading, SpinpanelPools *c, int customer, const SubscriptionRow *rows,
			   uint64 count)
{
	PlanPool *pool = &c->pools[c->pool_count];
	uint64 i;

	*pool = loading->defaults[customer];
	pool->adjust = false;
	pool->known_since = loading->now;
	pool->doubt = MemoryContextStrdup(loading->context,
									  psprintf("offer \"%s\" is not mapped to a SKU",
											   rows[0].offer_name ? rows[0].offer_name : "?"));
	c->unmapped[c->pool_count] = true;
	c->holds_until[c->pool_count] = DT_NOEND;
	for (i = 0; i < count; i++)
		if (is_paid(&rows[i]))
			c->owned[c->pool_count] += rows[i].s.quantity;
	place_subscriptions(loading, c, c->pool_count, rows, count);
	c->pool_count++;
}

/*
 * Both lists are in order of customers and SKUs, subscriptions without a SKU
 * last.  A pool stands if anything is left of it: owned seats, a subscribed
 * SKU, or a subscription that could be reactivated.
 */
static void
assemble(Loading *loading, PoolRow *pools, uint64 pool_count, SubscriptionRow *subscriptions,
		 uint64 subscription_count)
{
	uint64 p = 0;
	uint64 s = 0;
	int i;

	for (i = 0; i < loading->count; i++)
	{
		SpinpanelPools *c = &loading->customers[i];
		uint64 pools_begin = p;
		uint64 pools_end;
		uint64 begin = s;
		uint64 end;
		uint64 run_end;
		int32 most;

		while (p < pool_count && pools[p].customer == i)
			p++;
		while (s < subscription_count && subscriptions[s].customer == i)
			s++;
		pools_end = p;
		end = s;
		if (c->customer_name == NULL || (pools_begin == pools_end && begin == end))
			continue;

		most = (int32) (pools_end - pools_begin + (end - begin));
		c->pools = MemoryContextAllocZero(loading->context, sizeof(PlanPool) * most);
		c->unmapped = MemoryContextAllocZero(loading->context, sizeof(bool) * most);
		c->sku_ids = MemoryContextAllocZero(loading->context, sizeof(pg_uuid_t) * most);
		c->part_numbers = MemoryContextAllocZero(loading->context, sizeof(char *) * most);
		c->holds_until = MemoryContextAllocZero(loading->context, sizeof(TimestampTz) * most);
		c->owned = MemoryContextAllocZero(loading->context, sizeof(int32) * most);
		c->consumed = MemoryContextAllocZero(loading->context, sizeof(int32) * most);
		c->subscription_ids = MemoryContextAllocZero(loading->context, sizeof(pg_uuid_t *) * most);

		for (; begin < end && subscriptions[begin].has_sku; begin = run_end)
		{
			for (run_end = begin + 1;
				 run_end < end && same_pool(&subscriptions[begin], &subscriptions[run_end]);)
				run_end++;
			/* The mirror keeps a pool for every SKU of a subscription. */
			for (p = pools_begin; p < pools_end; p++)
			{
				if (memcmp(&pools[p].sku_id, &subscriptions[begin].sku_id, sizeof(pg_uuid_t)) == 0)
				{
					pools[p].first = begin;
					pools[p].subscriptions = run_end - begin;
				}
			}
		}
		for (p = pools_begin; p < pools_end; p++)
		{
			PoolRow *r = &pools[p];
			int32 at = c->pool_count;

			if (r->owned == 0 && !r->listed && r->subscriptions == 0)
				continue;
			c->pools[at] = r->pool;
			c->sku_ids[at] = r->sku_id;
			c->part_numbers[at] = r->part_number;
			c->holds_until[at] = r->holds_until;
			c->owned[at] = r->owned;
			c->consumed[at] = r->consumed;
			place_subscriptions(loading, c, at, &subscriptions[r->first], r->subscriptions);
			c->pool_count++;
		}
		p = pools_end;

		for (; begin < end; begin = run_end)
		{
			for (run_end = begin + 1;
				 run_end < end && same_pool(&subscriptions[begin], &subscriptions[run_end]);)
				run_end++;
			/* What is no licence (Azure plans, software) has no SKU to know. */
			if (is_license(&subscriptions[begin]))
				place_unmapped(loading, c, i, &subscriptions[begin], run_end - begin);
		}
	}
	for (s = 0; s < subscription_count; s++)
		if (is_paid(&subscriptions[s]))
			loading->customers[subscriptions[s].customer].limits.paid_subscriptions++;
}

static SpinpanelPools *
load(const pg_uuid_t *customer_ids, int count, TimestampTz now, TimestampTz read_now,
	 int64 except_operation, bool snapshot)
{
	Loading loading;
	PoolRow *pools;
	SubscriptionRow *subscriptions;
	uint64 pool_count;
	uint64 subscription_count;
	int i;

	memset(&loading, 0, sizeof(loading));
	loading.context = CurrentMemoryContext;
	loading.count = count;
	loading.now = now;
	loading.read_now = read_now;
	loading.snapshot = snapshot;
	loading.except_operation = except_operation;
	loading.customers = palloc0(sizeof(SpinpanelPools) * (count + 1));
	for (i = 0; i < count; i++)
		loading.customers[i].customer_id = customer_ids[i];

	/* What is no part of the result goes with SPI's own context. */
	SPI_connect();
	loading.ids = spinpanel_arg_uuids(customer_ids, count);
	loading.cool_since = palloc0(sizeof(TimestampTz) * (count + 1));
	loading.defaults = palloc0(sizeof(PlanPool) * (count + 1));
	loading.not_ours = palloc0(sizeof(ArrayType *) * (count + 1));
	load_customers(&loading);
	pools = load_pools(&loading, &pool_count);
	subscriptions = load_subscriptions(&loading, &subscription_count);
	mark_bases(subscriptions, subscription_count);
	load_rejections(&loading, subscriptions, subscription_count);
	load_operations(&loading, pools, pool_count, subscriptions, subscription_count);
	assemble(&loading, pools, pool_count, subscriptions, subscription_count);
	SPI_finish();
	return loading.customers;
}

SpinpanelPools *
spinpanel_plan_input_load(const pg_uuid_t *customer_id, TimestampTz now, TimestampTz read_now,
						  int64 except_operation)
{
	return load(customer_id, 1, now, read_now, except_operation, false);
}

SpinpanelPools *
spinpanel_plan_input_load_many(const pg_uuid_t *customer_ids, int count, TimestampTz now,
							   TimestampTz read_now)
{
	return load(customer_ids, count, now, read_now, 0, true);
}

SpinpanelPools *
spinpanel_plan_input_load_fresh(const pg_uuid_t *customer_ids, int count, TimestampTz now)
{
	return load(customer_ids, count, now, now, 0, false);
}
