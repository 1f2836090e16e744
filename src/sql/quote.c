/*
 * quote.c
 *
 * quote_license(): what assign_license() would do now, from the mirror, as rows.
 * It asks the planner's own question (spinpanel_request_can_buy), so that what it
 * says is what is decided.  It must never ask Partner Center or write anything.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "decide/request_plan.h"
#include "decide/seats.h"
#include "sql/names.h"
#include "sql/request_check.h"
#include "sql/require.h"
#include "state/plan_input.h"
#include "state/request.h"
#include "state/statement.h"

/* A pool has not so many subscriptions to raise one after the other. */
#define MOST_ROWS 64

enum
{
	QUOTE_SOURCE,
	QUOTE_SEATS,
	QUOTE_SUBSCRIPTION,
	QUOTE_OFFER,
	QUOTE_UNIT_PRICE,
	QUOTE_CURRENCY,
	QUOTE_PRICE_PER,
	QUOTE_COMMITTED_UNTIL,
	QUOTE_RETURNABLE_UNTIL,
	QUOTE_NEEDS_APPROVAL,
	QUOTE_REASON,
	QUOTE_COLUMNS
};

typedef struct Quoting
{
	ReturnSetInfo *rsinfo;
	Asking asking;
	AskCustomer customer;
	AskPool pool;
	PlanPool plan;
	PlanSubscription *subscriptions; /* ours to change: what was quoted is taken */
	const pg_uuid_t *ids;
} Quoting;

static bool
usable(const Asking *asking, int32 account)
{
	int i;

	for (i = 0; i < asking->account_count; i++)
		if (asking->accounts[i] == account)
			return true;
	return false;
}

static void
take_pool(Quoting *q)
{
	static const PlanPool nothing;
	Demand *demand = spinpanel_request_settings(&q->asking.customer_id);
	SpinpanelPools *pools =
		spinpanel_plan_input_load(&q->asking.customer_id, demand->now, demand->now, 0);
	DemandPool *figures = palloc(sizeof(DemandPool));
	NeedTerms *terms;
	int32 i;

	spinpanel_request_pool(demand, &q->asking.sku_id, figures);
	q->plan = nothing;
	for (i = 0; i < pools->pool_count; i++)
		if (!pools->unmapped[i] &&
			memcmp(&pools->sku_ids[i], &q->asking.sku_id, sizeof(pg_uuid_t)) == 0)
		{
			q->plan = pools->pools[i];
			q->ids = pools->subscription_ids[i];
		}
	spinpanel_need_supply(&q->plan, demand->now, &figures->figures);
	q->subscriptions = palloc0(sizeof(PlanSubscription) * (q->plan.subscription_count + 1));
	memcpy(q->subscriptions, q->plan.subscriptions,
		   sizeof(PlanSubscription) * q->plan.subscription_count);
	q->plan.subscriptions = q->subscriptions;
	terms = palloc0(sizeof(NeedTerms) * (q->plan.subscription_count + 1));
	for (i = 0; i < q->plan.subscription_count; i++)
		terms[i].usable = usable(&q->asking, q->subscriptions[i].account);
	spinpanel_request_terms(&q->asking.customer_id, &q->asking.sku_id, q->ids,
							q->plan.subscription_count, terms);

	q->customer.now = demand->now;
	q->customer.purchases = q->asking.purchases;
	q->customer.increment = q->asking.auto_increment && q->asking.purchases;
	q->customer.limit_percent = demand->limit_percent;
	q->customer.limit_seats = demand->limit_seats;
	q->customer.owned = demand->owned;
	q->customer.bought_recently = demand->bought_recently;
	q->pool.plan = &q->plan;
	q->pool.terms = terms;
	q->pool.rule.default_offer = q->asking.default_offer;
	q->pool.rule.term_duration = q->asking.term_duration;
	q->pool.rule.billing_cycle = q->asking.billing_cycle;
	q->pool.figures = figures->figures;
	q->pool.owned = figures->owned;
	q->pool.max_seats = q->asking.max_seats;
	/* Who asked before comes first. */
	q->pool.figures.open += figures->unlooked;
}

/* When a term of P1M, P1Y, P3Y that begins now is over; 0 = the term is another. */
static TimestampTz
term_end(TimestampTz now, const char *term)
{
	Interval interval;
	int count;
	char unit;

	if (sscanf(term, "P%d%c", &count, &unit) != 2 || count < 1 || count > 100)
		return 0;
	memset(&interval, 0, sizeof(interval));
	if (pg_toupper(unit) == 'M')
		interval.month = count;
	else if (pg_toupper(unit) == 'Y')
		interval.month = count * 12;
	else
		return 0;
	return DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_pl_interval, TimestampTzGetDatum(now), IntervalPGetDatum(&interval)));
}

static char *
offer_of(const pg_uuid_t *subscription_id)
{
	static StateQuery select = {
		"SELECT offer_key FROM spinpanel.subscription WHERE subscription_id = $1", "u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(subscription_id);
	return spinpanel_state_run(&select, args, 0) == 0
			   ? NULL
			   : spinpanel_row_text(0, 1, CurrentMemoryContext);
}

/* The price, where a price sheet tells it: three values, else they stay NULL. */
static void
put_price(const Quoting *q, const pg_uuid_t *subscription_id, const char *offer, Datum *values,
		  bool *nulls)
{
	static StateQuery select = { "SELECT unit_price, currency, price_per"
								 " FROM spinpanel._quote_price($1, $2, $3, $4, $5)",
								 "uuttt", NULL };
	const char *term = q->pool.rule.term_duration;
	const char *cycle = q->pool.rule.billing_cycle;
	StateArg args[5];
	bool null;

	args[0] = spinpanel_arg_uuid(&q->asking.customer_id);
	args[1] = spinpanel_arg_uuid(subscription_id);
	args[2] = spinpanel_arg_text(offer);
	args[3] = spinpanel_arg_text(term != NULL ? term : NEED_TERM);
	args[4] = spinpanel_arg_text(cycle != NULL ? cycle : NEED_CYCLE);
	if (spinpanel_state_run(&select, args, 0) != 1)
		return;
	values[QUOTE_UNIT_PRICE] =
		datumCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null), false, -1);
	values[QUOTE_CURRENCY] = CStringGetTextDatum(spinpanel_row_text(0, 2, CurrentMemoryContext));
	values[QUOTE_PRICE_PER] = CStringGetTextDatum(spinpanel_row_text(0, 3, CurrentMemoryContext));
	nulls[QUOTE_UNIT_PRICE] = nulls[QUOTE_CURRENCY] = nulls[QUOTE_PRICE_PER] = false;
}

/* One row. */
static void
put(Quoting *q, const char *name, const NeedSource *source, int32 seats, bool approval,
	const char *reason)
{
	Datum values[QUOTE_COLUMNS];
	bool nulls[QUOTE_COLUMNS];
	TimestampTz committed = 0;
	bool refundable = false;
	char *offer = NULL;

	memset(nulls, true, sizeof(nulls));
	memset(values, 0, sizeof(values));
	if (source != NULL && source->subscription >= 0)
	{
		const PlanSubscription *s = &q->subscriptions[source->subscription];
		PlanTime end = spinpanel_seats_term_end(s);

		values[QUOTE_SUBSCRIPTION] = UUIDPGetDatum(&q->ids[source->subscription]);
		nulls[QUOTE_SUBSCRIPTION] = false;
		offer = offer_of(&q->ids[source->subscription]);
		refundable = s->commerce == PLAN_NCE;
		if (refundable && end != PLAN_NEVER && end > q->customer.now)
			committed = end;
	}
	else if (source != NULL && source->kind == NEED_ORDER)
	{
		offer = pstrdup(q->pool.rule.default_offer);
		refundable = true;
		committed =
			term_end(q->customer.now,
					 q->pool.rule.term_duration != NULL ? q->pool.rule.term_duration : NEED_TERM);
	}
	if (source != NULL)
		put_price(q, source->subscription >= 0 ? &q->ids[source->subscription] : NULL, offer,
				  values, nulls);
	values[QUOTE_SOURCE] = CStringGetTextDatum(name);
	values[QUOTE_SEATS] = Int32GetDatum(seats);
	values[QUOTE_NEEDS_APPROVAL] = BoolGetDatum(approval);
	values[QUOTE_REASON] = CStringGetTextDatum(reason);
	nulls[QUOTE_SOURCE] = nulls[QUOTE_SEATS] = nulls[QUOTE_NEEDS_APPROVAL] = false;
	nulls[QUOTE_REASON] = false;
	if (offer != NULL)
	{
		values[QUOTE_OFFER] = CStringGetTextDatum(offer);
		nulls[QUOTE_OFFER] = false;
	}
	if (committed != 0)
	{
		values[QUOTE_COMMITTED_UNTIL] = TimestampTzGetDatum(committed);
		nulls[QUOTE_COMMITTED_UNTIL] = false;
	}
	if (refundable)
	{
		values[QUOTE_RETURNABLE_UNTIL] = TimestampTzGetDatum(q->customer.now + SEATS_WINDOW);
		nulls[QUOTE_RETURNABLE_UNTIL] = false;
	}
	tuplestore_putvalues(q->rsinfo->setResult, q->rsinfo->setDesc, values, nulls);
}

/* Source by source, as the worker would come to them. */
static void
quote_purchases(Quoting *q, int64 seats)
{
	static const char *const names[] = { "none", "raise", "reactivate", "order" };
	int rows;

	for (rows = 0; seats > 0 && rows < MOST_ROWS; rows++)
	{
		NeedSource source;
		char why[ASK_TEXT];
		int32 got;
		bool approval = false;
		int32 wanted = (int32) Min(seats, PG_INT32_MAX);
		AskBuyable answer = spinpanel_request_can_buy(&q->customer, &q->pool, false, wanted,
													  &source, &got, why, sizeof(why));

		if (answer == ASK_BUY_APPROVAL)
		{
			approval = true;
			answer = spinpanel_request_can_buy(&q->customer, &q->pool, true, wanted, &source, &got,
											   why, sizeof(why));
		}
		if (got <= 0)
		{
			put(q, "none", NULL, wanted, false, why);
			return;
		}
		put(q, names[source.kind], &source, got, approval,
			approval ? psprintf("more than the purchase limit of %d%% or %d seats within 24 hours",
								(int) q->customer.limit_percent, (int) q->customer.limit_seats)
			: source.kind == NEED_RAISE      ? "a subscription of ours is raised"
			: source.kind == NEED_REACTIVATE ? "a subscription that spinpanel suspended is "
											   "reactivated"
											 : "the rule's default_offer is ordered");
		seats -= got;
		q->pool.owned += source.kind == NEED_REACTIVATE ? source.room : got;
		if (!approval)
			q->customer.bought_recently += source.kind == NEED_REACTIVATE ? source.room : got;
		if (source.subscription >= 0)
		{
			PlanSubscription *s = &q->subscriptions[source.subscription];

			if (source.kind == NEED_REACTIVATE)
			{
				s->status = PLAN_ACTIVE;
				s->suspended_by = PLAN_NOBODY;
			}
			else
				s->quantity += got;
		}
	}
}

PG_FUNCTION_INFO_V1(spinpanel_quote_license);

/* spinpanel.quote_license(customer text, sku text, seats int) setof record */
Datum
spinpanel_quote_license(PG_FUNCTION_ARGS)
{
	Quoting *q = palloc0(sizeof(Quoting));
	NeedSource source;
	char why[ASK_TEXT];
	int32 got;
	int32 seats;
	int64 free_seats;

	InitMaterializedSRF(fcinfo, 0);
	q->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	spinpanel_require_value(!PG_ARGISNULL(2), "seats");
	seats = PG_GETARG_INT32(2);
	if (seats < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"seats\" must be at least 1")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	spinpanel_request_check_find(&q->asking, spinpanel_name_argument(fcinfo, 0),
								 spinpanel_name_argument(fcinfo, 1));
	take_pool(q);
	if (q->asking.tenant || q->asking.never_assigned)
		put(q, "none", NULL, seats, false, "the SKU is not assigned to users");
	else if (q->asking.gone || q->asking.account_count == 0)
		put(q, "none", NULL, seats, false, "no active account of ours has the customer");
	else
	{
		free_seats = Max(0, spinpanel_need_free(&q->pool.figures)) - q->pool.figures.open;
		/* Auto increment leaves the stock alone where a seat can be bought. */
		if (q->customer.increment &&
			spinpanel_request_can_buy(&q->customer, &q->pool, true, 1, &source, &got, why,
									  sizeof(why)) == ASK_BUY_YES)
			free_seats = 0;
		free_seats = Min(free_seats, seats);
		if (free_seats > 0)
			put(q, "free", NULL, (int32) free_seats, false, "seats of the stock");
		quote_purchases(q, seats - Max(0, free_seats));
	}
	SPI_finish();
	return (Datum) 0;
}
