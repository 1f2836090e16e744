/*
 * pool_excess.c
 *
 * Tables pool_excess, pool_unmoved, customer_excess and excess_void: what
 * excess_seats() shows of each pool, and what a run says that changes nothing,
 * kept from the plan.  It must never show anything else
 * than the planner would at that moment: what may have changed since is
 * planned afresh by whoever reads.
 *
 *   - Something was written that a plan is made of: a trigger on each such table
 *     leaves a mark in excess_void, in the same transaction.  Marks are only
 *     inserted, so that nobody waits for anybody.  The worker takes those away
 *     that it sees before it loads what it plans for; what is committed later
 *     comes with a mark of its own.
 *   - Time went on: the planner says until when its answer holds if nothing
 *     else changes.  Only the age of data is judged on reading, for it begins
 *     anew with each read, and what it changes is kept beside the rest.
 *   - Requests that wait and operations that are open are looked for on
 *     reading: they are few, and callers write them.
 *
 * Only the worker writes these tables, but for the marks.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/clock.h"
#include "base/settings.h"
#include "decide/plan.h"
#include "state/pool_excess.h"
#include "state/statement.h"
#include "state/unit.h"

/* Customers planned for at once by the worker, and for how long in a row */
#define REFRESH 64
#define REFRESH_TIME (10 * 1000) /* microseconds */
#define REFRESH_PAUSE (200 * 1000)
#define REFRESH_PAUSE_BUSY USECS_PER_SEC /* during a run, which plans for most of them itself */

/* Who is in one of these states is planned afresh on reading. */
#define OPEN_CUSTOMERS \
	"SELECT customer_id FROM spinpanel.excess_void WHERE customer_id IS NOT NULL" \
	" UNION ALL SELECT customer_id FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')" \
	" UNION ALL SELECT customer_id FROM spinpanel.license_request WHERE waiting AND kind = 'assign'"

/* ... or whose row x of customer_excess does not hold at $1 */
#define HOLDS \
	"(x.holds_from <= $1 AND $1 < x.holds_until" \
	" AND NOT EXISTS (SELECT FROM spinpanel.excess_void WHERE customer_id IS NULL))"

/* ---- marks ------------------------------------------------------------------------------- */

/* The mark left last, and where: more of the same are not needed. */
static struct
{
	bool any;
	FullTransactionId transaction;
	SubTransactionId subtransaction;
	pg_uuid_t customer_id;
} marked;

static bool
column_of(TupleDesc desc, HeapTuple tuple, const char *name, Datum *value)
{
	int column = SPI_fnumber(desc, name);
	bool isnull;

	if (column <= 0 || tuple == NULL)
		return false;
	*value = heap_getattr(tuple, column, desc, &isnull);
	return !isnull;
}

/* As the owner of the table: whoever may write settings need not know of it. */
static void
insert_mark(Datum *values, const char *nulls)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.excess_void (customer_id, sku_id, offer_key, account_id) VALUES ($1, $2, $3, $4)",
		"uuti", NULL
	};
	Oid relation = get_relname_relid("excess_void", get_namespace_oid("spinpanel", false));
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	StateArg args[4];
	Oid user;
	int context;
	int i;

	if (!HeapTupleIsValid(tuple))
		return; /* the extension is being dropped */
	for (i = 0; i < 4; i++)
	{
		args[i].value = values[i];
		args[i].isnull = nulls[i] == 'n';
	}
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE);
	ReleaseSysCache(tuple);
	SPI_connect();
	spinpanel_state_run(&insert, args, 0);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}

void
spinpanel_pool_excess_mark(TupleDesc desc, HeapTuple tuple)
{
	Datum values[4] = { 0 };
	char nulls[5] = "nnnn";
	FullTransactionId transaction = GetTopFullTransactionId();

	if (column_of(desc, tuple, "customer_id", &values[0]))
	{
		pg_uuid_t *id = DatumGetUUIDP(values[0]);

		if (marked.any && FullTransactionIdEquals(marked.transaction, transaction) &&
			marked.subtransaction == GetCurrentSubTransactionId() &&
			memcmp(&marked.customer_id, id, sizeof(pg_uuid_t)) == 0)
			return;
		nulls[0] = ' ';
		insert_mark(values, nulls);
		marked.any = true;
		marked.transaction = transaction;
		marked.subtransaction = GetCurrentSubTransactionId();
		marked.customer_id = *id;
		return;
	}
	if (column_of(desc, tuple, "sku_id", &values[1]) && SPI_fnumber(desc, "offer_key") <= 0)
		nulls[1] = ' ';
	if (column_of(desc, tuple, "offer_key", &values[2]))
		nulls[2] = ' ';
	if (column_of(desc, tuple, "account_id", &values[3]))
		nulls[3] = ' ';
	insert_mark(values, nulls);
}

void
spinpanel_pool_excess_begin(const pg_uuid_t *customer_ids, int count)
{
	static StateQuery clear = { "DELETE FROM spinpanel.excess_void WHERE customer_id = ANY ($1)",
								"Au", NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_uuids(customer_ids, count);
	spinpanel_state_run(&clear, args, 0);
	marked.any = false;
}

/* ---- one row ------------------------------------------------------------------------------- */

/*
 * The planner knows one switch.  Where it is the sync that is off, that is the
 * better word, and also the reason why data got stale.
 */
static const char *
in_words(const SpinpanelPools *customer, const PlanPool *pool, const PlanExcess *excess,
		 TimestampTz now)
{
	if (customer->synced || excess->blocked_by[0] == '\0')
		return excess->blocked_by;
	if (strcmp(excess->blocked_by, PLAN_SWITCHED_OFF) == 0)
		return "partner_center_sync is off: the data gets stale";
	if (pool->read_at < now && now - pool->read_at > pool->max_age && !pool->no_access)
		return psprintf("%s (partner_center_sync is off)", excess->blocked_by);
	return excess->blocked_by;
}

static void
fill_row(const SpinpanelPools *customer, int32 i, const PlanPool *pool, const PlanExcess *excess,
		 TimestampTz now, Datum *values, bool *nulls)
{
	const char *blocked = in_words(customer, pool, excess, now);

	memset(nulls, 0, sizeof(bool) * EXCESS_COLUMNS);
	values[EXCESS_CUSTOMER_ID] = UUIDPGetDatum(&customer->customer_id);
	values[EXCESS_CUSTOMER_NAME] = CStringGetTextDatum(customer->customer_name);
	values[EXCESS_SKU_ID] = UUIDPGetDatum(&customer->sku_ids[i]);
	nulls[EXCESS_SKU_ID] = customer->unmapped[i];
	nulls[EXCESS_PART_NUMBER] = customer->part_numbers[i] == NULL;
	values[EXCESS_PART_NUMBER] =
		nulls[EXCESS_PART_NUMBER] ? (Datum) 0 : CStringGetTextDatum(customer->part_numbers[i]);
	values[EXCESS_OWNED] = Int32GetDatum(excess->owned);
	values[EXCESS_FOREIGN] = Int32GetDatum(excess->foreign_seats);
	values[EXCESS_CONSUMED] = Int32GetDatum(pool->consumed);
	values[EXCESS_WAITING] = Int32GetDatum(pool->waiting);
	values[EXCESS_SPARE] = Int32GetDatum(pool->spare);
	values[EXCESS_EXCESS] = Int32GetDatum(excess->excess);
	values[EXCESS_NOW] = Int32GetDatum(excess->reducible_now);
	values[EXCESS_AT_RENEWAL] = Int32GetDatum(excess->reducible_at_renewal);
	values[EXCESS_NEXT_RENEWAL] = TimestampTzGetDatum(excess->next_renewal);
	nulls[EXCESS_NEXT_RENEWAL] = excess->next_renewal == PLAN_NEVER;
	nulls[EXCESS_BLOCKED_BY] = blocked[0] == '\0';
	values[EXCESS_BLOCKED_BY] = nulls[EXCESS_BLOCKED_BY] ? (Datum) 0 : CStringGetTextDatum(blocked);
}

static void
options_at(PlanOptions *options, TimestampTz now)
{
	memset(options, 0, sizeof(*options));
	options->now = now;
	options->at_renewal = true;
}

void
spinpanel_pool_excess_row(const SpinpanelPools *customer, int32 i, TimestampTz now, Datum *values,
						  bool *nulls)
{
	PlanOptions options;
	PlanExcess excess;

	options_at(&options, now);
	spinpanel_plan_excess(&customer->pools[i], &options, &excess);
	fill_row(customer, i, &customer->pools[i], &excess, now, values, nulls);
}

/* As it is kept: of data that is not too old, and what is said once it is. */
static void
kept_row(const SpinpanelPools *customer, int32 i, TimestampTz now, Datum *values, bool *nulls)
{
	PlanPool pool = customer->pools[i];
	PlanOptions options;
	PlanExcess excess;
	const char *blocked;

	options_at(&options, now);
	pool.read_at = now;
	spinpanel_plan_excess(&pool, &options, &excess);
	fill_row(customer, i, &pool, &excess, now, values, nulls);
	pool.read_at = now - pool.max_age - 1;
	spinpanel_plan_excess(&pool, &options, &excess);
	blocked = in_words(customer, &pool, &excess, now);
	nulls[EXCESS_BLOCKED_WHEN_STALE] = strcmp(blocked, PLAN_STALE) == 0;
	values[EXCESS_BLOCKED_WHEN_STALE] =
		nulls[EXCESS_BLOCKED_WHEN_STALE] ? (Datum) 0 : CStringGetTextDatum(blocked);
}

/* ---- keeping ------------------------------------------------------------------------------- */

/* A table with some rows per customer, of which the changed ones are written. */
typedef struct Shape
{
	int columns;
	const Oid *types;
	int key; /* a row of the same value there is replaced */
	StateQuery select; /* position, ctid, columns */
	StateQuery insert;
	StateQuery update; /* ctid comes last */
	StateQuery delete;
} Shape;

#define MOST_COLUMNS EXCESS_KEPT_COLUMNS

static const Oid figure_types[EXCESS_KEPT_COLUMNS] = { UUIDOID,        TEXTOID, UUIDOID, TEXTOID,
													   INT4OID,        INT4OID, INT4OID, INT4OID,
													   INT4OID,        INT4OID, INT4OID, INT4OID,
													   TIMESTAMPTZOID, TEXTOID, TEXTOID };

static Shape figures = {
	EXCESS_KEPT_COLUMNS,
	figure_types,
	EXCESS_SKU_ID,
	{ "SELECT c.position::int, p.ctid, p.customer_id, p.customer_name, p.sku_id, p.part_number, p.owned_seats,"
	  " p.foreign_seats, p.consumed_seats, p.waiting_seats, p.spare_seats, p.excess_seats, p.reducible_now,"
	  " p.reducible_at_renewal, p.next_renewal, p.blocked_by, p.blocked_when_stale"
	  " FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
	  " JOIN spinpanel.pool_excess p ON p.customer_id = c.customer_id ORDER BY c.position",
	  "Au", NULL },
	{ "INSERT INTO spinpanel.pool_excess (customer_id, customer_name, sku_id, part_number, owned_seats, foreign_seats,"
	  " consumed_seats, waiting_seats, spare_seats, excess_seats, reducible_now, reducible_at_renewal, next_renewal,"
	  " blocked_by, blocked_when_stale) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
	  "ututiiiiiiiiTtt", NULL },
	{ "UPDATE spinpanel.pool_excess SET customer_name = $2, sku_id = $3, part_number = $4, owned_seats = $5,"
	  " foreign_seats = $6, consumed_seats = $7, waiting_seats = $8, spare_seats = $9, excess_seats = $10,"
	  " reducible_now = $11, reducible_at_renewal = $12, next_renewal = $13, blocked_by = $14, blocked_when_stale = $15"
	  " WHERE ctid = $16 AND customer_id = $1",
	  "ututiiiiiiiiTttc", NULL },
	{ "DELETE FROM spinpanel.pool_excess WHERE ctid = $1", "c", NULL }
};

static const Oid unmoved_types[UNMOVED_COLUMNS] = { UUIDOID, UUIDOID, INT4OID, TEXTOID };

static Shape unmoved = {
	UNMOVED_COLUMNS,
	unmoved_types,
	UNMOVED_SKU_ID,
	{ "SELECT c.position::int, p.ctid, p.customer_id, p.sku_id, p.rule, p.reason"
	  " FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
	  " JOIN spinpanel.pool_unmoved p ON p.customer_id = c.customer_id ORDER BY c.position",
	  "Au", NULL },
	{ "INSERT INTO spinpanel.pool_unmoved (customer_id, sku_id, rule, reason) VALUES ($1, $2, $3, $4)",
	  "uuit", NULL },
	{ "UPDATE spinpanel.pool_unmoved SET sku_id = $2, rule = $3, reason = $4 WHERE ctid = $5 AND customer_id = $1",
	  "uuitc", NULL },
	{ "DELETE FROM spinpanel.pool_unmoved WHERE ctid = $1", "c", NULL }
};

/* A row that is there, or is to be. */
typedef struct Row
{
	ItemPointerData place;
	bool used; /* there: it stays or is replaced; to be: it is there */
	Datum values[MOST_COLUMNS];
	bool nulls[MOST_COLUMNS];
} Row;

typedef struct Rows
{
	Row *rows;
	int count;
} Rows;

static bool
same_values(const Shape *shape, const Row *a, const Row *b, int first, int last)
{
	int i;

	for (i = first; i <= last; i++)
	{
		int16 length;
		bool by_value;

		if (a->nulls[i] != b->nulls[i])
			return false;
		get_typlenbyval(shape->types[i], &length, &by_value);
		if (!a->nulls[i] && !datum_image_eq(a->values[i], b->values[i], by_value, length))
			return false;
	}
	return true;
}

/* Those that are there, by customer */
static Rows *
load_rows(Shape *shape, const StateArg *ids, int count)
{
	Rows *customers = palloc0(sizeof(Rows) * (count + 1));
	uint64 rows = spinpanel_state_run(&shape->select, ids, 0);
	Row *all = palloc0(sizeof(Row) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
	{
		Rows *customer = &customers[spinpanel_row_int(row, 1) - 1];
		bool isnull;
		int i;

		if (customer->rows == NULL)
			customer->rows = &all[row];
		customer->count++;
		all[row].place = *(ItemPointer) DatumGetPointer(
			SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2, &isnull));
		for (i = 0; i < shape->columns; i++)
			all[row].values[i] = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
											   i + 3, &all[row].nulls[i]);
	}
	return customers;
}

static void
write_row(Shape *shape, StateQuery *query, const Row *row, const Row *instead)
{
	StateArg args[MOST_COLUMNS + 1];
	int i;

	for (i = 0; i < shape->columns; i++)
	{
		args[i].value = row->values[i];
		args[i].isnull = row->nulls[i];
	}
	args[i] = spinpanel_arg_datum(PointerGetDatum(instead != NULL ? &instead->place : NULL));
	spinpanel_state_run(query, args, 0);
}

/* Makes the rows of a customer be these; true: something was written. */
static bool
replace_rows(Shape *shape, Rows *there, Rows *wanted)
{
	bool changed = false;
	int i;
	int j;

	for (i = 0; i < wanted->count; i++)
		for (j = 0; j < there->count && !wanted->rows[i].used; j++)
			if (!there->rows[j].used &&
				same_values(shape, &there->rows[j], &wanted->rows[i], 0, shape->columns - 1))
				there->rows[j].used = wanted->rows[i].used = true;
	for (i = 0; i < wanted->count; i++)
	{
		Row *instead = NULL;

		if (wanted->rows[i].used)
			continue;
		for (j = 0; j < there->count && instead == NULL; j++)
			if (!there->rows[j].used &&
				same_values(shape, &there->rows[j], &wanted->rows[i], shape->key, shape->key))
				instead = &there->rows[j];
		if (instead != NULL)
			instead->used = true;
		write_row(shape, instead != NULL ? &shape->update : &shape->insert, &wanted->rows[i],
				  instead);
		changed = true;
	}
	for (j = 0; j < there->count; j++)
	{
		StateArg args[1];

		if (there->rows[j].used)
			continue;
		args[0] = spinpanel_arg_datum(PointerGetDatum(&there->rows[j].place));
		spinpanel_state_run(&shape->delete, args, 0);
		changed = true;
	}
	return changed;
}

/* What is known of a customer as a whole */
typedef struct Whole
{
	bool known;
	TimestampTz from;
	TimestampTz until;
	bool nothing_to_do;
	bool written_down;
} Whole;

static Whole *
load_wholes(const StateArg *ids, int count)
{
	static StateQuery select = {
		"SELECT c.position::int, x.holds_from, x.holds_until, x.nothing_to_do, x.written_down"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.customer_excess x ON x.customer_id = c.customer_id",
		"Au", NULL
	};
	Whole *wholes = palloc0(sizeof(Whole) * (count + 1));
	uint64 rows = spinpanel_state_run(&select, ids, 0);
	uint64 row;

	for (row = 0; row < rows; row++)
	{
		Whole *whole = &wholes[spinpanel_row_int(row, 1) - 1];

		whole->known = true;
		whole->from = spinpanel_row_time(row, 2, DT_NOBEGIN);
		whole->until = spinpanel_row_time(row, 3, DT_NOBEGIN);
		whole->nothing_to_do = spinpanel_row_bool(row, 4);
		whole->written_down = spinpanel_row_bool(row, 5);
	}
	return wholes;
}

static void
write_whole(const pg_uuid_t *customer_id, const Whole *whole)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.customer_excess (customer_id, holds_from, holds_until, nothing_to_do, written_down)"
		" VALUES ($1, $2, $3, $4, $5)"
		" ON CONFLICT (customer_id) DO UPDATE SET holds_from = excluded.holds_from, holds_until = excluded.holds_until,"
		" nothing_to_do = excluded.nothing_to_do, written_down = excluded.written_down",
		"uTTbb", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(whole->from);
	args[2] = spinpanel_arg_time(whole->until);
	args[3] = spinpanel_arg_bool(whole->nothing_to_do);
	args[4] = spinpanel_arg_bool(whole->written_down);
	spinpanel_state_run(&upsert, args, 0);
}

static void
forget_whole(const pg_uuid_t *customer_id)
{
	static StateQuery delete = { "DELETE FROM spinpanel.customer_excess WHERE customer_id = $1",
								 "u", NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(customer_id);
	spinpanel_state_run(&delete, args, 0);
}

/* Until when do the rows hold, if nothing but time goes on?  DT_NOBEGIN: not at all. */
static void
look_ahead(const SpinpanelPools *customer, TimestampTz now, Whole *whole)
{
	PlanOptions options;
	int32 i;

	options_at(&options, now);
	whole->from = now;
	whole->until = DT_NOEND;
	whole->nothing_to_do = true;
	for (i = 0; i < customer->pool_count; i++)
	{
		PlanPool pool = customer->pools[i];
		PlanTime until = customer->holds_until[i];
		bool nothing_to_do = true;

		/* The age of data is judged on reading. */
		pool.read_at = now;
		pool.max_age = PLAN_NEVER;
		if (until > now)
			spinpanel_plan_excess_holds(&pool, &options, &until, &nothing_to_do);
		if (until <= now)
		{
			whole->nothing_to_do = false;
			whole->until = DT_NOBEGIN;
			return;
		}
		whole->until = Min(whole->until, until);
		whole->nothing_to_do = whole->nothing_to_do && nothing_to_do;
	}
}

static void
figures_of(const SpinpanelPools *customer, TimestampTz now, Rows *wanted)
{
	int32 i;

	wanted->rows = palloc0(sizeof(Row) * (customer->pool_count + 1));
	wanted->count = customer->pool_count;
	for (i = 0; i < customer->pool_count; i++)
		kept_row(customer, i, now, wanted->rows[i].values, wanted->rows[i].nulls);
}

/* What a run would say that changes nothing */
static void
reasons_of(const SpinpanelPools *customer, TimestampTz now, Rows *wanted)
{
	PlanPool *pools = palloc(sizeof(PlanPool) * (customer->pool_count + 1));
	PlanOptions options;
	PlanResult result;
	int32 i;

	options_at(&options, now);
	for (i = 0; i < customer->pool_count; i++)
	{
		pools[i] = customer->pools[i];
		pools[i].read_at = now;
	}
	wanted->rows = palloc0(sizeof(Row) * (customer->pool_count + 1));
	spinpanel_plan_customer(pools, customer->pool_count, &customer->limits, &options, &result);
	for (i = 0; i < result.count && i < customer->pool_count; i++)
	{
		const PlanDecision *d = &result.decisions[i];
		Row *row = &wanted->rows[wanted->count++];

		row->values[UNMOVED_CUSTOMER_ID] = UUIDPGetDatum(&customer->customer_id);
		row->values[UNMOVED_SKU_ID] = UUIDPGetDatum(&customer->sku_ids[d->pool]);
		row->nulls[UNMOVED_SKU_ID] = customer->unmapped[d->pool];
		row->values[UNMOVED_RULE] = Int32GetDatum(d->rule);
		row->values[UNMOVED_REASON] = PointerGetDatum(cstring_to_text(d->reason));
	}
	spinpanel_plan_free(&result);
}

void
spinpanel_pool_excess_keep(const SpinpanelPools *customers, int count, TimestampTz now,
						   const bool *by_run)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "spinpanel kept figures",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * (count + 1));
	Rows *kept_figures;
	Rows *kept_reasons;
	Whole *wholes;
	StateArg args[1];
	int i;

	for (i = 0; i < count; i++)
		ids[i] = customers[i].customer_id;
	args[0] = spinpanel_arg_uuids(ids, count);
	kept_figures = load_rows(&figures, args, count);
	kept_reasons = load_rows(&unmoved, args, count);
	wholes = load_wholes(args, count);
	for (i = 0; i < count; i++)
	{
		const SpinpanelPools *customer = &customers[i];
		bool listed = customer->customer_name != NULL && !customer->gone;
		Whole whole = { 0 };
		Rows wanted = { NULL, 0 };
		Rows reasons = { NULL, 0 };
		bool changed;

		if (listed)
		{
			figures_of(customer, now, &wanted);
			look_ahead(customer, now, &whole);
		}
		/* A run of '*' says nothing about whom it does not plan for. */
		if (whole.nothing_to_do && customer->pool_count > 0 && customer->pools[0].adjust)
			reasons_of(customer, now, &reasons);
		changed = replace_rows(&figures, &kept_figures[i], &wanted);
		whole.written_down = wholes[i].written_down;
		if (replace_rows(&unmoved, &kept_reasons[i], &reasons))
		{
			whole.written_down = false;
			changed = true;
		}
		whole.written_down = whole.written_down || (by_run != NULL && by_run[i]);
		if (!listed)
		{
			if (wholes[i].known)
				forget_whole(&customer->customer_id);
			continue;
		}
		if (changed || !wholes[i].known || wholes[i].from > now || wholes[i].until != whole.until ||
			wholes[i].nothing_to_do != whole.nothing_to_do ||
			wholes[i].written_down != whole.written_down)
			write_whole(&customer->customer_id, &whole);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
spinpanel_pool_excess_idle(const pg_uuid_t *customer_ids, int count, TimestampTz now, bool *idle)
{
	static StateQuery select = {
		"SELECT c.position::int FROM unnest($2) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.customer_excess x ON x.customer_id = c.customer_id"
		" WHERE x.nothing_to_do AND x.written_down AND " HOLDS
		" AND NOT EXISTS (SELECT FROM spinpanel.excess_void v WHERE v.customer_id = c.customer_id)"
		" AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = c.customer_id"
		"  AND o.status IN ('queued', 'sending', 'unknown'))"
		" AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = c.customer_id AND q.waiting)"
		/* a question to a person that no plan repeats is taken back */
		" AND NOT EXISTS (SELECT FROM spinpanel.adjustment j WHERE j.customer_id = c.customer_id"
		"  AND j.status IN ('queued', 'awaiting_approval'))",
		"TAu", NULL
	};
	StateArg args[2];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(now);
	args[1] = spinpanel_arg_uuids(customer_ids, count);
	memset(idle, 0, sizeof(bool) * count);
	rows = spinpanel_state_run(&select, args, 0);
	for (row = 0; row < rows; row++)
		idle[spinpanel_row_int(row, 1) - 1] = true;
}

/* ---- the worker's errand -------------------------------------------------------------------- */

/* Marks that concern many customers become one for each of them. */
static bool
expand_marks(void)
{
	static StateQuery take = {
		"DELETE FROM spinpanel.excess_void WHERE customer_id IS NULL RETURNING sku_id, offer_key, account_id",
		"", NULL
	};
	static StateQuery by_sku = {
		"INSERT INTO spinpanel.excess_void (customer_id) SELECT customer_id FROM spinpanel.pool WHERE sku_id = $1",
		"u", NULL
	};
	static StateQuery by_offer = {
		"INSERT INTO spinpanel.excess_void (customer_id) SELECT DISTINCT customer_id FROM spinpanel.subscription"
		" WHERE offer_key = $1",
		"t", NULL
	};
	static StateQuery by_account = {
		"INSERT INTO spinpanel.excess_void (customer_id) SELECT customer_id FROM spinpanel.customer_account"
		" WHERE account_id = $1",
		"i", NULL
	};
	static StateQuery all = {
		"INSERT INTO spinpanel.excess_void (customer_id) SELECT customer_id FROM spinpanel.customer",
		"", NULL
	};
	uint64 rows = spinpanel_state_run(&take, NULL, 0);
	uint64 row;
	SPITupleTable *table = SPI_tuptable;
	bool everybody = false;

	for (row = 0; row < rows; row++)
		everybody = everybody || (spinpanel_row_isnull(row, 1) && spinpanel_row_isnull(row, 2) &&
								  spinpanel_row_isnull(row, 3));
	if (everybody)
		spinpanel_state_run(&all, NULL, 0);
	for (row = 0; row < rows && !everybody; row++)
	{
		StateArg args[1];
		StateQuery *query = &by_sku;
		int column = 1;
		bool isnull;

		for (; column < 3; column++)
		{
			(void) SPI_getbinval(table->vals[row], table->tupdesc, column, &isnull);
			if (!isnull)
				break;
		}
		query = column == 1 ? &by_sku : column == 2 ? &by_offer : &by_account;
		args[0] =
			spinpanel_arg_datum(SPI_getbinval(table->vals[row], table->tupdesc, column, &isnull));
		spinpanel_state_run(query, args, 0);
	}
	return rows > 0;
}

/*
 * The last customer whose mark was taken: marks that are gone, and cannot be
 * removed as somebody's old snapshot needs them, are not waded through again.
 */
static pg_uuid_t refreshed;

/* When there was nothing to do, it is not asked again at once. */
static TimestampTz refresh_at = 0;

static void
do_refresh(void *arg)
{
	static StateQuery marks = {
		"SELECT DISTINCT customer_id FROM (SELECT customer_id FROM spinpanel.excess_void"
		" WHERE customer_id > $2 ORDER BY customer_id LIMIT 200) v ORDER BY customer_id LIMIT $1",
		"iu", NULL
	};
	static StateQuery over = {
		"SELECT customer_id FROM spinpanel.customer_excess WHERE holds_until > '-infinity' AND holds_until <= $2"
		" ORDER BY holds_until LIMIT $1",
		"iT", NULL
	};
	static const pg_uuid_t nobody;
	bool *more = arg;
	TimestampTz now = spinpanel_now();
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * REFRESH);
	StateArg args[2];
	uint64 rows;
	uint64 row;

	*more = true;
	if (expand_marks())
		return;
	args[0] = spinpanel_arg_int(REFRESH);
	args[1] = spinpanel_arg_uuid(&refreshed);
	rows = spinpanel_state_run(&marks, args, 0);
	if (rows == 0 && memcmp(&refreshed, &nobody, sizeof(nobody)) != 0)
	{
		/* From the first one on */
		memset(&refreshed, 0, sizeof(refreshed));
		return;
	}
	if (rows > 0)
		spinpanel_row_uuid(rows - 1, 1, &refreshed);
	else
	{
		args[1] = spinpanel_arg_time(now);
		rows = spinpanel_state_run(&over, args, 0);
		*more = rows == REFRESH;
	}
	if (rows == 0)
		return;
	for (row = 0; row < rows; row++)
		spinpanel_row_uuid(row, 1, &ids[row]);
	spinpanel_pool_excess_begin(ids, (int) rows);
	spinpanel_pool_excess_keep(spinpanel_plan_input_load_fresh(ids, (int) rows, now), (int) rows,
							   now, NULL);
}

bool
spinpanel_pool_excess_refresh(bool busy)
{
	TimestampTz begun = GetCurrentTimestamp();
	bool more;

	if (begun < refresh_at)
		return false;
	do
	{
		more = false;
		if (!spinpanel_unit("keeping what is unused", do_refresh, &more, UNIT_REPEATABLE))
			more = false;
	} while (more && !busy && GetCurrentTimestamp() < begun + REFRESH_TIME);
	if (busy || !more)
		refresh_at = GetCurrentTimestamp() + (busy ? REFRESH_PAUSE_BUSY : REFRESH_PAUSE);
	return more && !busy;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* A customer whose rows are not handed on as they are */
typedef struct Special
{
	pg_uuid_t customer_id; /* the key */
	bool stale; /* else planned afresh, or not listed */
	bool afresh;
} Special;

typedef struct KeptScan
{
	DestReceiver receiver; /* first: it is taken for one */
	HTAB *special;
	bool any;
	pg_uuid_t last;
	const Special *last_special;
	bool has_last;
	PoolExcessFunction function;
	void *arg;
} KeptScan;

static bool
take_row(TupleTableSlot *slot, DestReceiver *self)
{
	KeptScan *scan = (KeptScan *) self;
	bool stale = false;

	if (scan->any)
	{
		bool isnull;
		pg_uuid_t *id = DatumGetUUIDP(slot_getattr(slot, EXCESS_CUSTOMER_ID + 1, &isnull));

		if (!scan->has_last || memcmp(&scan->last, id, sizeof(pg_uuid_t)) != 0)
		{
			scan->last = *id;
			scan->has_last = true;
			scan->last_special = hash_search(scan->special, id, HASH_FIND, NULL);
		}
		if (scan->last_special != NULL && !scan->last_special->stale)
			return true;
		stale = scan->last_special != NULL;
	}
	scan->function(slot, stale, scan->arg);
	return true;
}

static void
start_scan(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_scan(DestReceiver *self)
{
}

/*
 * On the active snapshot, planned anew each time: these read whole tables, and
 * planning them costs nothing beside that.
 */
static uint64
select_now(const char *sql, TimestampTz now, DestReceiver *receiver)
{
	Oid types[1] = { TIMESTAMPTZOID };
	Datum values[1];
	SPIPlanPtr plan =
		SPI_prepare_cursor(sql, 1, types, CURSOR_OPT_CUSTOM_PLAN | CURSOR_OPT_PARALLEL_OK);
	SPIExecuteOptions options;
	ParamListInfo parameters = makeParamList(1);
	int rc;

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	values[0] = TimestampTzGetDatum(now);
	parameters->params[0].value = values[0];
	parameters->params[0].isnull = false;
	parameters->params[0].pflags = PARAM_FLAG_CONST;
	parameters->params[0].ptype = TIMESTAMPTZOID;
	memset(&options, 0, sizeof(options));
	options.params = parameters;
	options.read_only = true;
	options.dest = receiver;
	rc = SPI_execute_plan_extended(plan, &options);
	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(rc));
	SPI_freeplan(plan);
	return SPI_processed;
}

static Special *
enter(KeptScan *scan, const pg_uuid_t *customer_id, bool stale)
{
	bool found;
	Special *special = hash_search(scan->special, customer_id, HASH_ENTER, &found);

	if (!found)
		special->afresh = false;
	special->stale = stale && (!found || special->stale);
	scan->any = true;
	return special;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Whom a run of '*' plans for */
#define ADJUSTING "r.auto_license_adjustment AND r.partner_center_sync"

/*
 * Finds out whose rows are not shown as they are; columns of changed: customer,
 * planned afresh.  plans: so is whose data is too old.
 */
static void
begin_scan(KeptScan *scan, const char *changed, TimestampTz now, TimestampTz read_now, bool plans,
		   PoolExcessFunction function, void *arg)
{
	/* Whose data is too old: rarely anybody's, so these are found first. */
	static const char *const too_old =
		"SELECT o.customer_id FROM (SELECT DISTINCT z.customer_id FROM spinpanel.customer_account z"
		"  JOIN spinpanel.account y ON y.account_id = z.account_id"
		"  WHERE z.gone_at IS NOT NULL OR y.status = 'disconnected' OR z.subscriptions_read_at IS NULL"
		"  OR z.subscribed_skus_read_at IS NULL OR z.subscriptions_read_at < $1 OR z.subscribed_skus_read_at < $1) o"
		" CROSS JOIN LATERAL (SELECT min(coalesce(z.subscriptions_read_at, '-infinity')) FILTER (WHERE x.ours) AS subscriptions,"
		"   max(z.subscribed_skus_read_at) FILTER (WHERE x.ours) AS skus"
		"  FROM spinpanel.customer_account z JOIN spinpanel.account y ON y.account_id = z.account_id"
		"  CROSS JOIN LATERAL (SELECT z.gone_at IS NULL AND y.status <> 'disconnected' AS ours) x"
		"  WHERE z.customer_id = o.customer_id) a"
		" WHERE (a.subscriptions >= $1 AND a.skus >= $1) IS NOT TRUE";
	HASHCTL control;
	uint64 found;
	uint64 row;

	memset(scan, 0, sizeof(*scan));
	scan->receiver.receiveSlot = take_row;
	scan->receiver.rStartup = start_scan;
	scan->receiver.rShutdown = end_scan;
	scan->receiver.rDestroy = end_scan;
	scan->receiver.mydest = DestTuplestore;
	scan->function = function;
	scan->arg = arg;
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(pg_uuid_t);
	control.entrysize = sizeof(Special);
	control.hcxt = CurrentMemoryContext;
	scan->special = hash_create("spinpanel customers read afresh", 1024, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	found = select_now(
		plans ? psprintf("%s AND EXISTS (SELECT FROM spinpanel.relationship r JOIN"
						 " spinpanel.customer c ON c.customer_id = r.customer_id"
						 " WHERE r.customer_id = o.customer_id AND c.gone_at IS NULL AND " ADJUSTING
						 ")",
						 too_old)
			  : too_old,
		read_now - (int64) spinpanel_max_data_age * USECS_PER_SEC, NULL);
	for (row = 0; row < found; row++)
	{
		pg_uuid_t id;

		spinpanel_row_uuid(row, 1, &id);
		enter(scan, &id, !plans)->afresh = plans;
	}
	SPI_freetuptable(SPI_tuptable);
	found = select_now(changed, now, NULL);
	for (row = 0; row < found; row++)
	{
		Special *special;
		pg_uuid_t id;

		spinpanel_row_uuid(row, 1, &id);
		special = enter(scan, &id, false);
		special->afresh = special->afresh || spinpanel_row_bool(row, 2);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The customers to be planned afresh, in order */
static pg_uuid_t *
end_of_scan(KeptScan *scan, MemoryContext context, int *count)
{
	pg_uuid_t *afresh = MemoryContextAllocHuge(
		context, sizeof(pg_uuid_t) * (hash_get_num_entries(scan->special) + 1));
	HASH_SEQ_STATUS status;
	Special *special;

	*count = 0;
	hash_seq_init(&status, scan->special);
	while ((special = hash_seq_search(&status)) != NULL)
		if (special->afresh)
			afresh[(*count)++] = special->customer_id;
	qsort(afresh, *count, sizeof(pg_uuid_t), compare_ids);
	return afresh;
}

pg_uuid_t *
spinpanel_pool_excess_scan(TimestampTz now, PoolExcessFunction function, void *arg, int *count)
{
	static const char *const changed =
		"SELECT q.customer_id, c.gone_at IS NULL AND c.customer_id IS NOT NULL"
		" FROM (" OPEN_CUSTOMERS
		") q LEFT JOIN spinpanel.customer c ON c.customer_id = q.customer_id"
		" UNION ALL SELECT c.customer_id, true FROM spinpanel.customer c"
		" LEFT JOIN spinpanel.customer_excess x ON x.customer_id = c.customer_id"
		" WHERE c.gone_at IS NULL AND (" HOLDS ") IS NOT TRUE";
	static const char *const rows =
		"SELECT customer_id, customer_name, sku_id, part_number, owned_seats, foreign_seats, consumed_seats, waiting_seats,"
		" spare_seats, excess_seats, reducible_now, reducible_at_renewal, next_renewal, blocked_by, blocked_when_stale"
		" FROM spinpanel.pool_excess WHERE $1 IS NOT NULL";
	MemoryContext context = CurrentMemoryContext;
	KeptScan scan;
	pg_uuid_t *afresh;

	SPI_connect();
	begin_scan(&scan, changed, now, now, false, function, arg);
	(void) select_now(rows, now, &scan.receiver);
	afresh = end_of_scan(&scan, context, count);
	SPI_finish();
	return afresh;
}

pg_uuid_t *
spinpanel_pool_excess_unmoved(TimestampTz now, TimestampTz read_now, PoolExcessFunction function,
							  void *arg, int *count)
{
	/* Those that a run of '*' plans for; the others have no rows. */
	static const char *const changed =
		"SELECT q.customer_id, c.customer_id IS NOT NULL FROM (" OPEN_CUSTOMERS ") q"
		" LEFT JOIN (spinpanel.customer c JOIN spinpanel.relationship r ON r.customer_id = c.customer_id AND c.gone_at IS NULL"
		"  AND " ADJUSTING ") ON c.customer_id = q.customer_id"
		" UNION ALL SELECT c.customer_id, true FROM spinpanel.customer c"
		" JOIN spinpanel.relationship r ON r.customer_id = c.customer_id"
		" LEFT JOIN spinpanel.customer_excess x ON x.customer_id = c.customer_id"
		" WHERE c.gone_at IS NULL AND " ADJUSTING " AND (x.nothing_to_do AND " HOLDS
		") IS NOT TRUE";
	static const char *const rows =
		"SELECT customer_id, sku_id, rule, reason FROM spinpanel.pool_unmoved WHERE $1 IS NOT NULL";
	MemoryContext context = CurrentMemoryContext;
	KeptScan scan;
	pg_uuid_t *afresh;

	SPI_connect();
	begin_scan(&scan, changed, now, read_now, true, function, arg);
	(void) select_now(rows, now, &scan.receiver);
	afresh = end_of_scan(&scan, context, count);
	SPI_finish();
	return afresh;
}
