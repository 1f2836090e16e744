/*
 * excess.c
 *
 * excess_seats() and plan_adjustment(): what the planner makes of the mirror,
 * as rows.  It must never ask Partner Center, write anything, or judge a seat
 * itself: plan_input.c loads, plan.c decides, here is only shown.  So both work in
 * read-only transactions, on a standby, and inside a transaction that tries
 * other settings and is rolled back.
 *
 * For '*' most customers need not be planned for: what their last plan said is
 * kept and holds (pool_excess.c).  The others are loaded in batches, so that
 * memory does not grow with their number; the rows go to a tuplestore, which
 * spills to disk.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "base/compat.h"
#include "decide/plan.h"
#include "sql/names.h"
#include "sql/require.h"
#include "state/plan_input.h"
#include "state/pool_excess.h"

/* Customers loaded by one set of statements. */
#define BATCH 500

/* What a run says where it is not the planner that keeps it from acting. */
#define SYNC_OFF "partner_center_sync is off: the customer is not read"

typedef struct Listing
{
	ReturnSetInfo *rsinfo;
	TimestampTz now; /* the moment to plan for */
	TimestampTz read_now; /* against which the age of data is judged */
	bool named; /* one customer was asked for, by name */
	/* plan_adjustment(): the row being made, and where its columns are */
	int *places;
	Datum *values;
	bool *nulls;
	Datum planned;
	Datum none;
} Listing;

typedef void (*ShowFunction)(Listing *listing, const SpinpanelPools *customer);

PG_FUNCTION_INFO_V1(spinpanel_excess_seats);
PG_FUNCTION_INFO_V1(spinpanel_plan_adjustment);
PG_FUNCTION_INFO_V1(spinpanel_void_excess_trigger);

/* ---- customers, one after the other ----------------------------------------------------- */

static void
show_batch(Listing *listing, const pg_uuid_t *ids, int count, ShowFunction show)
{
	SpinpanelPools *customers =
		spinpanel_plan_input_load_many(ids, count, listing->now, listing->read_now);
	int i;

	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		show(listing, &customers[i]);
	}
}

static void
show_customers(Listing *listing, const pg_uuid_t *ids, int count, ShowFunction show)
{
	MemoryContext batch =
		AllocSetContextCreate(CurrentMemoryContext, "spinpanel customers", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(batch);
	int i;

	for (i = 0; i < count; i += BATCH)
	{
		show_batch(listing, ids + i, Min(BATCH, count - i), show);
		MemoryContextReset(batch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
}

/* ---- excess_seats() ---------------------------------------------------------------------- */

static void
show_excess(Listing *listing, const SpinpanelPools *customer)
{
	int32 i;

	for (i = 0; i < customer->pool_count; i++)
	{
		Datum values[EXCESS_COLUMNS];
		bool nulls[EXCESS_COLUMNS];

		spinpanel_pool_excess_row(customer, i, listing->now, values, nulls);
		tuplestore_putvalues(listing->rsinfo->setResult, listing->rsinfo->setDesc, values, nulls);
	}
}

/*
 * A row as it is kept.  The columns shown are the first ones of the table, so
 * that it is handed on without being taken apart.
 */
static void
show_kept(TupleTableSlot *slot, bool stale, void *arg)
{
	Listing *listing = arg;
	Datum values[EXCESS_COLUMNS];
	bool nulls[EXCESS_COLUMNS];

	if (!stale)
	{
		tuplestore_puttupleslot(listing->rsinfo->setResult, slot);
		return;
	}
	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(values));
	memcpy(nulls, slot->tts_isnull, sizeof(nulls));
	values[EXCESS_NOW] = Int32GetDatum(0);
	values[EXCESS_AT_RENEWAL] = Int32GetDatum(0);
	values[EXCESS_BLOCKED_BY] = slot->tts_isnull[EXCESS_BLOCKED_WHEN_STALE]
									? CStringGetTextDatum(PLAN_STALE)
									: slot->tts_values[EXCESS_BLOCKED_WHEN_STALE];
	nulls[EXCESS_BLOCKED_BY] = false;
	tuplestore_putvalues(listing->rsinfo->setResult, listing->rsinfo->setDesc, values, nulls);
}

/* excess_seats(customer text) */
Datum
spinpanel_excess_seats(PG_FUNCTION_ARGS)
{
	char *customer = spinpanel_name_argument(fcinfo, 0);
	Listing listing;
	pg_uuid_t one;

	InitMaterializedSRF(fcinfo, 0);
	memset(&listing, 0, sizeof(listing));
	listing.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (listing.rsinfo->setDesc->natts != EXCESS_COLUMNS)
		elog(ERROR, "excess_seats() returns %d columns, not %d", listing.rsinfo->setDesc->natts,
			 EXCESS_COLUMNS);
	listing.now = listing.read_now = spinpanel_now();
	if (spinpanel_name_customer(customer, true, "customer", &one))
		show_batch(&listing, &one, 1, show_excess);
	else
	{
		int count;
		pg_uuid_t *ids = spinpanel_pool_excess_scan(listing.now, show_kept, &listing, &count);

		show_customers(&listing, ids, count, show_excess);
	}
	return (Datum) 0;
}

/* ---- plan_adjustment() -------------------------------------------------------------------- */

/*
 * The columns of table adjustment that are filled, by their names: a later
 * version may have more of them.
 */
enum
{
	PLAN_CUSTOMER_ID,
	PLAN_SKU_ID,
	PLAN_ACCOUNT_ID,
	PLAN_SUBSCRIPTION_ID,
	PLAN_ACTION,
	PLAN_RULE,
	PLAN_FROM,
	PLAN_TO,
	PLAN_SEATS,
	PLAN_COUNTED,
	PLAN_EFFECTIVE_ON,
	PLAN_REASON,
	PLAN_STATUS,
	PLAN_MERGE,
	PLAN_APPROVED,
	PLAN_CREATED_AT,
	PLAN_COLUMNS
};

static const char *const plan_columns[PLAN_COLUMNS] = {
	"customer_id",   "sku_id",      "account_id", "subscription_id", "action",       "rule",
	"from_quantity", "to_quantity", "seats",      "counted",         "effective_on", "reason",
	"status",        "merge",       "approved",   "created_at"
};

static void
find_columns(Listing *listing)
{
	TupleDesc desc = listing->rsinfo->setDesc;
	int i;

	listing->places = palloc(sizeof(int) * PLAN_COLUMNS);
	listing->values = palloc(sizeof(Datum) * desc->natts);
	listing->nulls = palloc(sizeof(bool) * desc->natts);
	for (i = 0; i < PLAN_COLUMNS; i++)
	{
		listing->places[i] = SPI_fnumber(desc, plan_columns[i]) - 1;
		if (listing->places[i] < 0)
			elog(ERROR, "table adjustment has no column \"%s\"", plan_columns[i]);
	}
}

static void
set_column(Listing *listing, int column, Datum value)
{
	listing->values[listing->places[column]] = value;
	listing->nulls[listing->places[column]] = false;
}

static void
begin_row(Listing *listing)
{
	memset(listing->nulls, true, sizeof(bool) * listing->rsinfo->setDesc->natts);

	/* No run, no id: nothing is written down. */
	set_column(listing, PLAN_STATUS, listing->planned);
	set_column(listing, PLAN_APPROVED, BoolGetDatum(false));
	set_column(listing, PLAN_CREATED_AT, TimestampTzGetDatum(listing->now));
}

static void
end_row(Listing *listing)
{
	tuplestore_putvalues(listing->rsinfo->setResult, listing->rsinfo->setDesc, listing->values,
						 listing->nulls);
}

static DateADT
date_of(PlanTime moment)
{
	return (DateADT) (moment / USECS_PER_DAY - (moment % USECS_PER_DAY < 0 ? 1 : 0));
}

static void
put_decision(Listing *listing, const SpinpanelPools *customer, const PlanDecision *d)
{
	bool none = d->action == PLAN_NONE;

	begin_row(listing);
	set_column(listing, PLAN_CUSTOMER_ID, UUIDPGetDatum(&customer->customer_id));
	if (d->pool >= 0 && !customer->unmapped[d->pool])
		set_column(listing, PLAN_SKU_ID, UUIDPGetDatum(&customer->sku_ids[d->pool]));
	set_column(listing, PLAN_ACTION, CStringGetTextDatum(spinpanel_plan_action_name(d->action)));
	if (d->rule != 0)
		set_column(listing, PLAN_RULE, Int32GetDatum(d->rule));
	if (!none)
	{
		set_column(listing, PLAN_ACCOUNT_ID,
				   Int32GetDatum(customer->pools[d->pool].subscriptions[d->subscription].account));
		set_column(listing, PLAN_SUBSCRIPTION_ID,
				   UUIDPGetDatum(&customer->subscription_ids[d->pool][d->subscription]));
		set_column(listing, PLAN_FROM, Int32GetDatum(d->from_quantity));
		set_column(listing, PLAN_TO, Int32GetDatum(d->to_quantity));
		if (d->effective != PLAN_NEVER)
			set_column(listing, PLAN_EFFECTIVE_ON, DateADTGetDatum(date_of(d->effective)));
	}
	set_column(listing, PLAN_SEATS, Int32GetDatum(d->seats));
	set_column(listing, PLAN_COUNTED, Int32GetDatum(d->counted));
	set_column(listing, PLAN_REASON,
			   PointerGetDatum(cstring_to_text(
				   d->needs_approval ? psprintf("%s; waits for approval", d->reason) : d->reason)));
	if (d->merge != 0)
		set_column(listing, PLAN_MERGE, Int32GetDatum(d->merge));
	end_row(listing);
}

/* What is kept of a plan that changes nothing: rows of action "none" */
static void
show_unmoved(TupleTableSlot *slot, bool stale, void *arg)
{
	Listing *listing = arg;

	slot_getallattrs(slot);
	begin_row(listing);
	set_column(listing, PLAN_CUSTOMER_ID, slot->tts_values[UNMOVED_CUSTOMER_ID]);
	if (!slot->tts_isnull[UNMOVED_SKU_ID])
		set_column(listing, PLAN_SKU_ID, slot->tts_values[UNMOVED_SKU_ID]);
	set_column(listing, PLAN_ACTION, listing->none);
	if (DatumGetInt32(slot->tts_values[UNMOVED_RULE]) != 0)
		set_column(listing, PLAN_RULE, slot->tts_values[UNMOVED_RULE]);
	set_column(listing, PLAN_SEATS, Int32GetDatum(0));
	set_column(listing, PLAN_COUNTED, Int32GetDatum(0));
	set_column(listing, PLAN_REASON, slot->tts_values[UNMOVED_REASON]);
	end_row(listing);
}

static void
put_none(Listing *listing, const SpinpanelPools *customer, const char *reason)
{
	PlanDecision none;

	memset(&none, 0, sizeof(none));
	none.pool = -1;
	none.subscription = -1;
	none.action = PLAN_NONE;
	none.effective = PLAN_NEVER;
	strlcpy(none.reason, reason, sizeof(none.reason));
	put_decision(listing, customer, &none);
}

/* The same decisions, in the same words, as adjustment.c would write. */
static void
show_plan(Listing *listing, const SpinpanelPools *customer)
{
	PlanOptions options;
	PlanResult result;
	bool any;
	int32 i;

	if (!customer->synced)
	{
		if (listing->named)
			put_none(listing, customer, SYNC_OFF);
		return;
	}

	memset(&options, 0, sizeof(options));
	options.now = listing->now;
	options.at_renewal = true;
	memset(&result, 0, sizeof(result));
	spinpanel_plan_customer(customer->pools, customer->pool_count, &customer->limits, &options,
							&result);
	if (result.out_of_memory)
	{
		spinpanel_plan_free(&result);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory while planning")));
	}

	any = result.count > 0;

	/* The result is malloc'd: it must be freed whatever happens. */
	PG_TRY();
	{
		for (i = 0; i < result.count; i++)
			put_decision(listing, customer, &result.decisions[i]);
	}
	PG_FINALLY();
	{
		spinpanel_plan_free(&result);
	}
	PG_END_TRY();

	if (!any && listing->named)
		put_none(listing, customer,
				 customer->pool_count == 0 ? "no seats are known of this customer"
										   : "no unused seats: nothing to give back");
}

/* plan_adjustment(customer text, as_of timestamptz) */
Datum
spinpanel_plan_adjustment(PG_FUNCTION_ARGS)
{
	char *customer = spinpanel_name_argument(fcinfo, 0);
	Listing listing;
	TimestampTz as_of;
	pg_uuid_t one;

	spinpanel_require_value(!PG_ARGISNULL(1), "as_of");
	as_of = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(as_of))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("as_of must be a finite moment")));

	InitMaterializedSRF(fcinfo, 0);
	memset(&listing, 0, sizeof(listing));
	listing.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	listing.read_now = spinpanel_now();

	/*
	 * The default, now(), is the server's clock; what it means is the
	 * extension's now, which may be ahead of it.
	 */
	listing.now = as_of == GetCurrentTransactionStartTimestamp() ? listing.read_now : as_of;
	find_columns(&listing);
	listing.planned = CStringGetTextDatum("planned");
	listing.none = CStringGetTextDatum(spinpanel_plan_action_name(PLAN_NONE));
	listing.named = spinpanel_name_customer(customer, true, "customer", &one);
	if (listing.named)
		show_batch(&listing, &one, 1, show_plan);
	else
	{
		int count;
		pg_uuid_t *ids = spinpanel_pool_excess_unmoved(listing.now, listing.read_now, show_unmoved,
													   &listing, &count);

		show_customers(&listing, ids, count, show_plan);
	}
	return (Datum) 0;
}

/* ---- what is kept of plans holds no more -------------------------------------------------- */

/* _void_excess(): a trigger on what plans are made of */
Datum
spinpanel_void_excess_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc desc;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("spinpanel._void_excess() must be called as a trigger")));
	desc = RelationGetDescr(data->tg_relation);
	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event))
		spinpanel_pool_excess_mark(desc, NULL);
	else
	{
		spinpanel_pool_excess_mark(desc, data->tg_trigtuple);
		if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
			spinpanel_pool_excess_mark(desc, data->tg_newtuple);
	}
	return PointerGetDatum(NULL); /* not an SQL null */
}
