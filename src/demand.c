/*
 * demand.c
 *
 * May seats of a pool be asked for?  Reads the mirror, settings and rules, and
 * refuses in the caller's transaction what is bound to fail.  What it lets
 * pass the worker judges again, on data that it reads from Partner Center.
 *
 * Asking must stay cheap.  So there is one statement for everything about a
 * pool, and requests are counted only where the number decides: where a limit
 * is set, or where nothing can be bought.  Then few of them can be waiting.
 */
#include "postgres.h"

#include "demand.h"
#include "lib/stringinfo.h"
#include "outbox.h"
#include "state.h"
#include "utils/builtins.h"

#define NOBODY "'00000000-0000-0000-0000-000000000000'"

/* A rule as it was read; the first with a value counts, column by column. */
typedef struct Rule
{
	int rank; /* 0: (customer, SKU) ... 3: ('*', '*') */
	int32 max_seats; /* -1 = says nothing */
	char *default_offer;
	char *term_duration;
	char *billing_cycle;
} Rule;

/* Columns of the statement below, as they repeat in its rows */
enum
{
	RULE_CUSTOMER = 9,
	RULE_SKU,
	RULE_MAX_SEATS,
	RULE_OFFER,
	RULE_TERM,
	RULE_CYCLE,
	SUB_ID,
	SUB_ACCOUNT,
	SUB_USABLE,
	SUB_STATUS,
	SUB_RENEWS,
	SUB_OURS,
	SUB_ROOM,
	SUB_TERM,
	SUB_CYCLE,
	SUB_NAME
};

static bool
same(const char *wanted, const char *is)
{
	return wanted == NULL || (is != NULL && pg_strcasecmp(wanted, is) == 0);
}

/* Where a seat can come from, in the order in which the worker looks. */
static void
find_source(Demand *demand, const Rule *rule, uint64 rows, MemoryContext context)
{
	bool raise = false;
	bool reactivate = false;
	char *suspended = NULL;
	const char *obstacle = NULL;
	uint64 row;

	for (row = 0; row < rows; row++)
	{
		char *status;

		if (spinpanel_row_isnull(row, SUB_ID) || !spinpanel_row_bool(row, SUB_USABLE))
			continue;
		status = spinpanel_row_text(row, SUB_STATUS, CurrentMemoryContext);
		if (strcmp(status, "suspended") == 0)
		{
			if (spinpanel_row_bool(row, SUB_OURS))
				reactivate = true;
			else if (suspended == NULL)
				suspended = spinpanel_row_text(row, SUB_NAME, context);
		}
		else if (strcmp(status, "active") == 0)
		{
			if (!spinpanel_row_bool(row, SUB_RENEWS))
				obstacle = "Its subscription is set to end.";
			else if (!spinpanel_row_bool(row, SUB_ROOM))
				obstacle = "Its subscription has the most seats that the offer allows.";
			else if (!same(rule->term_duration,
						   spinpanel_row_text(row, SUB_TERM, CurrentMemoryContext)) ||
					 !same(rule->billing_cycle,
						   spinpanel_row_text(row, SUB_CYCLE, CurrentMemoryContext)))
				obstacle =
					"Its subscription has another term or billing cycle than the rule wants.";
			else
				raise = true;
		}
	}

	MemoryContextSwitchTo(context);
	demand->remedy = "Give an offer to order: spinpanel.set_license_rule(customer, sku, "
					 "default_offer => 'productId:skuId').";
	if (raise || reactivate)
		demand->source = true;
	else if (suspended != NULL)
	{
		demand->no_source =
			psprintf("Subscription %s was suspended, and not by spinpanel.", suspended);
		demand->remedy = "Reactivate that subscription in Partner Center, or release a licence.";
	}
	else if (rule->default_offer != NULL)
		demand->source = true;
	else
		demand->no_source = obstacle ? obstacle
									 : "There is no subscription of ours to raise, and no rule "
									   "with a default_offer to order.";
}

void
spinpanel_demand_load(Demand *demand, const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
					  MemoryContext context)
{
	/*
	 * One row, times rules, times subscriptions: there are few of either.
	 * Rules are found by the expressions of their unique index.  A customer
	 * that a disconnected account listed is not ours any more.
	 */
	static StateQuery select = {
		"SELECT c.name, coalesce(u.part_number, k.part_number, $2::text), c.gone_at IS NOT NULL,"
		" coalesce(r.purchases, true), coalesce(r.auto_increment, false), u.target_type,"
		" coalesce(n.never_assigned, h.part_number IS NOT NULL), x.account_id,"
		" l.customer_id IS NOT NULL, l.sku_id IS NOT NULL, l.max_seats, l.default_offer, l.term_duration, l.billing_cycle,"
		" s.subscription_id, s.account_id, s.usable, s.status, s.renews, s.our_suspension, s.room,"
		" s.term_duration, s.billing_cycle, s.shown"
		" FROM spinpanel.customer c"
		" CROSS JOIN (SELECT min(y.account_id) AS account_id FROM spinpanel.customer_account y"
		"  JOIN spinpanel.account a ON a.account_id = y.account_id"
		"  WHERE y.customer_id = $1 AND y.gone_at IS NULL AND a.status = 'active') x"
		" LEFT JOIN spinpanel.relationship r ON r.customer_id = c.customer_id"
		" LEFT JOIN spinpanel.subscribed_sku u ON u.customer_id = c.customer_id AND u.sku_id = $2 AND u.gone_at IS NULL"
		" LEFT JOIN spinpanel.sku k ON k.sku_id = $2"
		" LEFT JOIN spinpanel.never_assigned_sku_shipped h ON h.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.never_assigned_sku n ON n.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.license_rule l"
		"  ON coalesce(l.customer_id, " NOBODY ") = ANY (ARRAY[$1, " NOBODY "]::uuid[])"
		"  AND coalesce(l.sku_id, " NOBODY ") = ANY (ARRAY[$2, " NOBODY "]::uuid[])"
		" LEFT JOIN (SELECT t.subscription_id, t.account_id, t.customer_id, t.status, t.our_suspension,"
		"  t.term_duration, t.billing_cycle, concat_ws(' ', t.friendly_name, t.subscription_id) AS shown,"
		"  a.status = 'active' AND NOT t.is_trial AND t.commerce IN ('nce', 'legacy')"
		"   AND coalesce(y.gone_at IS NULL, true) AS usable,"
		"  t.auto_renew AND NOT t.cancel_at_term OR t.our_end AS renews,"
		"  coalesce(t.quantity < o.maximum, true) AS room"
		"  FROM spinpanel.subscription t JOIN spinpanel.account a ON a.account_id = t.account_id"
		"  LEFT JOIN spinpanel.customer_account y ON y.customer_id = t.customer_id AND y.account_id = t.account_id"
		"  LEFT JOIN spinpanel.offer o ON o.offer_key = t.offer_key"
		"  WHERE t.customer_id = $1 AND t.sku_id = $2 AND t.gone_at IS NULL) s ON s.customer_id = c.customer_id"
		" WHERE c.customer_id = $1",
		"uu", NULL
	};
	StateArg args[2];
	Rule rule = { 0, -1, NULL, NULL, NULL };
	int ranks[4] = { 4, 4, 4, 4 }; /* of what is in rule, column by column */
	uint64 rows;
	uint64 row;
	int32 owner = 0;
	char *target;

	memset(demand, 0, sizeof(*demand));
	demand->customer_id = *customer_id;
	demand->sku_id = *sku_id;
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	rows = spinpanel_state_run_generic(&select, args);
	if (rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("the customer is not known any more")));

	demand->customer = spinpanel_row_text(0, 1, context);
	demand->sku = spinpanel_row_text(0, 2, context);
	demand->gone = spinpanel_row_bool(0, 3);
	demand->purchases = spinpanel_row_bool(0, 4);
	demand->auto_increment = spinpanel_row_bool(0, 5);
	target = spinpanel_row_text(0, 6, CurrentMemoryContext);
	demand->tenant = target != NULL && pg_strcasecmp(target, "Tenant") == 0;
	demand->never_assigned = spinpanel_row_bool(0, 7);
	demand->account_id = spinpanel_row_int(0, 8);

	for (row = 0; row < rows; row++)
	{
		int rank = (spinpanel_row_bool(row, RULE_CUSTOMER) ? 0 : 2) +
				   (spinpanel_row_bool(row, RULE_SKU) ? 0 : 1);
		char **texts[] = { &rule.default_offer, &rule.term_duration, &rule.billing_cycle };
		int i;

		if (!spinpanel_row_isnull(row, RULE_MAX_SEATS) && rank < ranks[0])
		{
			rule.max_seats = spinpanel_row_int(row, RULE_MAX_SEATS);
			ranks[0] = rank;
		}
		for (i = 0; i < lengthof(texts); i++)
			if (!spinpanel_row_isnull(row, RULE_OFFER + i) && rank < ranks[i + 1])
			{
				*texts[i] = spinpanel_row_text(row, RULE_OFFER + i, CurrentMemoryContext);
				ranks[i + 1] = rank;
			}
		if (spinpanel_row_bool(row, SUB_USABLE) &&
			(owner == 0 || spinpanel_row_int(row, SUB_ACCOUNT) < owner) &&
			strcmp(spinpanel_row_text(row, SUB_STATUS, CurrentMemoryContext), "active") == 0)
			owner = spinpanel_row_int(row, SUB_ACCOUNT);
	}
	if (owner != 0)
		demand->account_id = owner;
	demand->max_seats = rule.max_seats;

	{
		MemoryContext old = CurrentMemoryContext;

		find_source(demand, &rule, rows, context);
		MemoryContextSwitchTo(old);
	}
}

void
spinpanel_demand_require_account(const Demand *demand)
{
	if (demand->gone)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("customer %s is gone", demand->customer),
						errdetail("No account lists it any more, so nothing can be done there."),
						errhint("If it is a customer again, spinpanel.sync() finds it.")));
	if (demand->account_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no active account has customer %s", demand->customer),
				 errdetail("Every account that lists it is stopped or disconnected."),
				 errhint("SELECT name, status, status_reason FROM spinpanel.account says why; "
						 "spinpanel.connect_account() takes it up again.")));
}

/* ---- counting --------------------------------------------------------------------------- */

typedef struct Figures
{
	int32 owned;
	int32 active;
	int32 consumed;
	int32 waiting; /* assignments asked for and not in consumed */
	int32 unbought; /* of them: open, and no seat was bought */
	int32 bought; /* of them: a seat was bought */
} Figures;

/*
 * As of this moment at every isolation level: who comes second under a limit
 * must see what the first has committed.
 */
static void
count(const Demand *demand, Figures *figures)
{
	static StateQuery select = {
		"SELECT p.owned_seats, p.active_units, p.consumed_units, w.waiting, w.unbought, w.bought"
		" FROM (SELECT count(*)::int AS waiting,"
		"  (count(*) FILTER (WHERE q.status <> 'done' AND NOT q.seat_bought))::int AS unbought,"
		"  (count(*) FILTER (WHERE q.seat_bought))::int AS bought"
		"  FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.waiting"
		"  AND q.kind = 'assign' AND q.status NOT IN ('failed', 'cancelled')) w"
		" LEFT JOIN spinpanel.pool p ON p.customer_id = $1 AND p.sku_id = $2",
		"uu", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&demand->sku_id);
	(void) spinpanel_state_run_latest(&select, args);
	figures->owned = spinpanel_row_int(0, 1);
	figures->active = spinpanel_row_int(0, 2);
	figures->consumed = spinpanel_row_int(0, 3);
	figures->waiting = spinpanel_row_int(0, 4);
	figures->unbought = spinpanel_row_int(0, 5);
	figures->bought = spinpanel_row_int(0, 6);
}

/*
 * owned + being bought + to buy <= max_seats.  A seat that was bought is owned
 * at once, but may not be shown as active yet: it is left out with the request
 * that it was bought for.  Under auto increment every request buys one.
 */
static void
require_limit(const Demand *demand, const Figures *f, int32 seats)
{
	int32 free = Min(f->owned - f->bought, f->active) - f->consumed - (f->waiting - f->bought);
	int32 buying = Min(f->unbought, Max(0, -free));
	int32 buy = seats - Max(0, Min(free, seats));

	if (demand->auto_increment)
	{
		buying = f->unbought;
		buy = seats;
	}
	if (buy == 0 || (int64) f->owned + buying + buy <= demand->max_seats)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("customer %s would have more than max_seats (%d) of %s", demand->customer,
					demand->max_seats, demand->sku),
			 errdetail("%d seats are owned and %d are being bought; %d more would have to be.",
					   f->owned, buying, buy),
			 errhint("Raise max_seats with spinpanel.set_license_rule(), or release a "
					 "licence that is not needed.")));
}

void
spinpanel_demand_require_seats(const Demand *demand, int32 seats)
{
	bool limited = demand->max_seats >= 0 && demand->purchases;
	bool buyable = demand->purchases && demand->source;
	Figures figures;
	int32 free;

	if (demand->tenant || demand->never_assigned)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("SKU %s is not assigned to users", demand->sku),
				 demand->tenant ? errdetail("It is of target type Tenant: all users have it.")
								: errdetail("It is in the list of SKUs that no user gets."),
				 demand->tenant
					 ? 0
					 : errhint("If that is wrong here, add a row with never_assigned = false "
							   "to spinpanel.never_assigned_sku.")));
	if (seats <= 0 || (buyable && !limited))
		return;

	if (limited)
		spinpanel_outbox_lock_limit(&demand->customer_id, &demand->sku_id);
	count(demand, &figures);
	free = figures.active - figures.consumed - figures.waiting;
	if (!buyable && free < seats)
	{
		const char *found =
			free <= 0 ? "No seat is free." : psprintf("Only %d of %d seats are free.", free, seats);

		if (!demand->purchases)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no seat of %s is free at customer %s, and purchases are off there",
							demand->sku, demand->customer),
					 errdetail("%s %d are active, %d consumed, %d asked for.", found,
							   figures.active, figures.consumed, figures.waiting),
					 errhint("Release a licence, or allow purchases with "
							 "spinpanel.set_relationship(..., purchases => true).")));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no seat of %s is free at customer %s, and none can be bought", demand->sku,
						demand->customer),
				 errdetail("%s %s", found, demand->no_source), errhint("%s", demand->remedy)));
	}
	if (limited)
		require_limit(demand, &figures, seats);
}
