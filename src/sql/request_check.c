/*
 * request_check.c
 *
 * May seats of a pool be asked for?  Reads the mirror, settings and rules, and
 * refuses in the caller's transaction what is bound to fail.  What it lets
 * pass the worker judges again, on data that it reads from Partner Center.
 *
 * Asking must stay cheap.  So a session remembers names, settings and rules of
 * the pools it asked for: they are a dozen tables that hardly ever change.  A
 * trigger on each sends an invalidation message of PostgreSQL's own about the
 * view _remembered, which no plan uses.  Such messages go out with the commit
 * (of prepared transactions, too), are undone with a rollback, and are taken
 * in before a transaction does anything; we ask for them at each call.
 *
 * And requests are counted only where the number decides: where a limit is
 * set, or where nothing can be bought.  Then few of them can be waiting.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "sql/names.h"
#include "sql/request_check.h"
#include "state/operation.h"
#include "state/plan_input.h"
#include "state/statement.h"

#define NOBODY "'00000000-0000-0000-0000-000000000000'"

/* ---- what a session remembers ----------------------------------------------------------- */

/* Longer names are not remembered, and not more pools than this. */
#define NAMES_LENGTH 200
#define POOLS_REMEMBERED 8192

typedef struct Remembered
{
	char names[NAMES_LENGTH]; /* as given: customer, line feed, SKU */
	Asking asking;
} Remembered;

/* What is the same at all customers */
typedef struct RememberedSku
{
	char name[NAMES_LENGTH]; /* as given */
	pg_uuid_t sku_id;
	char *shown; /* the part number, or the GUID */
	bool never_assigned;
} RememberedSku;

static MemoryContext memory = NULL;
static HTAB *remembered = NULL; /* NULL = nothing */
static HTAB *skus = NULL;
static Oid message_relation = InvalidOid;
static uint64 generation = 0; /* of what was forgotten */
static bool listening = false;

/* May be called at any time: only marks.  InvalidOid = everything. */
static void
forget(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == message_relation)
		generation++;
}

static void
start_anew(void)
{
	HASHCTL control;

	if (!listening)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		listening = true;
	}
	if (memory == NULL)
		memory = AllocSetContextCreate(TopMemoryContext, "spinpanel pools", ALLOCSET_DEFAULT_SIZES);
	remembered = NULL;
	MemoryContextReset(memory);
	message_relation = get_relname_relid("_remembered", get_namespace_oid("spinpanel", false));
	memset(&control, 0, sizeof(control));
	control.keysize = NAMES_LENGTH;
	control.entrysize = sizeof(Remembered);
	control.hcxt = memory;
	remembered =
		hash_create("spinpanel pools", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	control.entrysize = sizeof(RememberedSku);
	skus = hash_create("spinpanel SKUs", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static const char *
keep(const char *text)
{
	return text == NULL ? NULL : MemoryContextStrdup(memory, text);
}

static void
remember(const char *names, const Asking *asking)
{
	Asking d = *asking;

	d.customer = keep(d.customer);
	d.sku = keep(d.sku);
	d.default_offer = keep(d.default_offer);
	d.term_duration = keep(d.term_duration);
	d.billing_cycle = keep(d.billing_cycle);
	/* Last: out of memory must leave no entry without its content. */
	((Remembered *) hash_search(remembered, names, HASH_ENTER, NULL))->asking = d;
}

/* spinpanel._forget() trigger */
PG_FUNCTION_INFO_V1(spinpanel_forget_trigger);

Datum
spinpanel_forget_trigger(PG_FUNCTION_ARGS)
{
	Oid relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("spinpanel._forget() must be called as a trigger")));
	relation = get_relname_relid("_remembered", get_namespace_oid("spinpanel", false));
	if (OidIsValid(relation))
		CacheInvalidateRelcacheByRelid(relation);
	return PointerGetDatum(NULL); /* not an SQL null */
}

/* ---- names, settings and rules ---------------------------------------------------------- */

/* Columns of a rule in the statement below */
enum
{
	RULE_CUSTOMER = 5,
	RULE_SKU,
	RULE_MAX_SEATS,
	RULE_OFFER,
	RULE_TERM,
	RULE_CYCLE,
	ACCOUNTS,
	LISTED,
	TENANT
};

static void
read_settings(Asking *asking)
{
	/*
	 * One row, times rules.  Rules are found by the expressions of their
	 * unique index.
	 */
	static StateQuery select = {
		"SELECT c.name, c.gone_at IS NOT NULL, coalesce(r.purchases, true), coalesce(r.auto_increment, false),"
		" l.customer_id IS NOT NULL, l.sku_id IS NOT NULL, l.max_seats, l.default_offer, l.term_duration, l.billing_cycle,"
		" ARRAY(SELECT y.account_id FROM spinpanel.customer_account y JOIN spinpanel.account a ON a.account_id = y.account_id"
		"  WHERE y.customer_id = $1 AND y.gone_at IS NULL AND a.status = 'active' ORDER BY 1),"
		" u.sku_id IS NOT NULL, lower(u.target_type) = 'tenant'"
		" FROM spinpanel.customer c"
		" LEFT JOIN spinpanel.relationship r ON r.customer_id = c.customer_id"
		" LEFT JOIN spinpanel.subscribed_sku u ON u.customer_id = $1 AND u.sku_id = $2"
		" LEFT JOIN spinpanel.license_rule l"
		"  ON coalesce(l.customer_id, " NOBODY ") = ANY (ARRAY[$1, " NOBODY "]::uuid[])"
		"  AND coalesce(l.sku_id, " NOBODY ") = ANY (ARRAY[$2, " NOBODY "]::uuid[])"
		" WHERE c.customer_id = $1",
		"uu", NULL
	};
	const char **texts[] = { &asking->default_offer, &asking->term_duration,
							 &asking->billing_cycle };
	int ranks[1 + lengthof(texts)] = { 4, 4, 4, 4 }; /* of the rule that each column is from */
	StateArg args[2];
	ArrayType *accounts;
	uint64 rows;
	uint64 row;
	bool isnull;

	args[0] = spinpanel_arg_uuid(&asking->customer_id);
	args[1] = spinpanel_arg_uuid(&asking->sku_id);
	rows = spinpanel_state_run_generic(&select, args);
	if (rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("the customer is not known any more")));
	asking->customer = spinpanel_row_text(0, 1, CurrentMemoryContext);
	asking->gone = spinpanel_row_bool(0, 2);
	asking->purchases = spinpanel_row_bool(0, 3);
	asking->auto_increment = spinpanel_row_bool(0, 4);
	asking->listed = spinpanel_row_bool(0, LISTED);
	asking->tenant = spinpanel_row_bool(0, TENANT);

	accounts = DatumGetArrayTypeP(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ACCOUNTS, &isnull));
	asking->account_count =
		Min(ArrayGetNItems(ARR_NDIM(accounts), ARR_DIMS(accounts)), ASKING_ACCOUNTS);
	memcpy(asking->accounts, ARR_DATA_PTR(accounts), sizeof(int32) * asking->account_count);

	asking->max_seats = -1;
	for (row = 0; row < rows; row++)
	{
		/* (customer, SKU), (customer, '*'), ('*', SKU), ('*', '*') */
		int rank = (spinpanel_row_bool(row, RULE_CUSTOMER) ? 0 : 2) +
				   (spinpanel_row_bool(row, RULE_SKU) ? 0 : 1);
		int i;

		if (!spinpanel_row_isnull(row, RULE_MAX_SEATS) && rank < ranks[0])
		{
			asking->max_seats = spinpanel_row_int(row, RULE_MAX_SEATS);
			ranks[0] = rank;
		}
		for (i = 0; i < lengthof(texts); i++)
			if (!spinpanel_row_isnull(row, RULE_OFFER + i) && rank < ranks[i + 1])
			{
				*texts[i] = spinpanel_row_text(row, RULE_OFFER + i, CurrentMemoryContext);
				ranks[i + 1] = rank;
			}
	}
}

/*
 * The SKU by name.  False: it must not be remembered, because which of two of
 * one part number is meant depends on what the customer has.
 */
static bool
find_sku(Asking *asking, const char *name)
{
	static StateQuery select = {
		"SELECT coalesce(k.part_number, $1::text), coalesce(n.never_assigned, h.part_number IS NOT NULL),"
		" (SELECT count(*) FROM spinpanel.sku j WHERE lower(j.part_number) = lower(k.part_number)) < 2"
		" FROM (SELECT 1) one LEFT JOIN spinpanel.sku k ON k.sku_id = $1"
		" LEFT JOIN spinpanel.never_assigned_sku_shipped h ON h.part_number = upper(k.part_number)"
		" LEFT JOIN spinpanel.never_assigned_sku n ON n.part_number = upper(k.part_number)",
		"u", NULL
	};
	uint64 before = generation;
	RememberedSku *entry;
	StateArg args[1];

	entry = name != NULL && strlen(name) < NAMES_LENGTH ? hash_search(skus, name, HASH_FIND, NULL)
														: NULL;
	if (entry != NULL)
	{
		asking->sku_id = entry->sku_id;
		asking->sku = entry->shown;
		asking->never_assigned = entry->never_assigned;
		return true;
	}
	(void) spinpanel_name_sku(&asking->customer_id, name, false, true, "sku", &asking->sku_id);
	args[0] = spinpanel_arg_uuid(&asking->sku_id);
	(void) spinpanel_state_run_generic(&select, args);
	asking->sku = spinpanel_row_text(0, 1, CurrentMemoryContext);
	asking->never_assigned = spinpanel_row_bool(0, 2);
	if (!spinpanel_row_bool(0, 3))
		return false;
	if (strlen(name) < NAMES_LENGTH && !IsolationUsesXactSnapshot() && before == generation &&
		hash_get_num_entries(skus) < POOLS_REMEMBERED)
	{
		char *shown = MemoryContextStrdup(memory, asking->sku);

		entry = hash_search(skus, name, HASH_ENTER, NULL);
		entry->sku_id = asking->sku_id;
		entry->shown = shown;
		entry->never_assigned = asking->never_assigned;
	}
	return true;
}

void
spinpanel_request_check_find(Asking *asking, const char *customer, const char *sku)
{
	static uint64 known_generation = 0;
	char names[NAMES_LENGTH];
	uint64 before;
	bool short_enough;
	bool lasting;

	AcceptInvalidationMessages();
	if (remembered == NULL || generation != known_generation ||
		hash_get_num_entries(remembered) >= POOLS_REMEMBERED)
	{
		known_generation = generation;
		start_anew();
	}
	short_enough = customer != NULL && sku != NULL &&
				   snprintf(names, sizeof(names), "%s\n%s", customer, sku) < sizeof(names);
	if (short_enough)
	{
		Remembered *entry = hash_search(remembered, names, HASH_FIND, NULL);

		if (entry != NULL)
		{
			*asking = entry->asking;
			return;
		}
	}

	before = generation;
	memset(asking, 0, sizeof(*asking));
	(void) spinpanel_name_customer(customer, false, "customer", &asking->customer_id);
	lasting = find_sku(asking, sku);
	read_settings(asking);

	/*
	 * The customer may get the SKU at any time; then its type is known.  And
	 * neither what an old snapshot showed, nor what changed while it was
	 * read.
	 */
	if (short_enough && lasting && asking->listed && !IsolationUsesXactSnapshot() &&
		before == generation && generation == known_generation)
		remember(names, asking);
}

/* ---- what Partner Center said ----------------------------------------------------------- */

/* Columns of ASKING_SUBSCRIPTIONS */
enum
{
	SUB_ACCOUNT = 1,
	SUB_TRIAL,
	SUB_COMMERCE,
	SUB_STATUS,
	SUB_QUANTITY,
	SUB_MAXIMUM,
	SUB_RENEWS,
	SUB_CANCEL,
	SUB_EXTENDED,
	SUB_OUR_END,
	SUB_OUR_SUSPENSION,
	SUB_RENEWED,
	SUB_OTHER_PRODUCT,
	SUB_TERM,
	SUB_CYCLE,
	SUB_ID,
	SUB_NAME
};

static bool
ours(const Asking *asking, int32 account_id)
{
	int i;

	for (i = 0; i < asking->account_count; i++)
		if (asking->accounts[i] == account_id)
			return true;
	return false;
}

void
spinpanel_request_check_load(Asking *asking)
{
	static StateQuery select = { ASKING_SUBSCRIPTIONS(""), "uu", NULL };
	StateArg args[2];

	if (asking->loaded)
		return;
	args[0] = spinpanel_arg_uuid(&asking->customer_id);
	args[1] = spinpanel_arg_uuid(&asking->sku_id);
	spinpanel_request_check_take(asking, spinpanel_state_run_generic(&select, args), 0);
}

/* As the planner wants them: it says where a seat can come from. */
void
spinpanel_request_check_take(Asking *asking, uint64 rows, int before)
{
	PlanSubscription *subscriptions = palloc0(sizeof(PlanSubscription) * (rows + 1));
	MemoryContext context = CurrentMemoryContext;
	int32 count = 0;
	uint64 row;

	asking->loaded = true;
	asking->account_id = 0;
	asking->suspended = NULL;
	asking->terms = palloc0(sizeof(NeedTerms) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		PlanSubscription *s = &subscriptions[count];
		int32 account;
		char *text;

		if (spinpanel_row_isnull(row, before + SUB_ACCOUNT) ||
			!ours(asking, account = spinpanel_row_int(row, before + SUB_ACCOUNT)))
			continue;
		s->account = account;
		s->trial = spinpanel_row_bool(row, before + SUB_TRIAL);
		text = spinpanel_row_text(row, before + SUB_COMMERCE, context);
		s->commerce = strcmp(text, "nce") == 0      ? PLAN_NCE
					  : strcmp(text, "legacy") == 0 ? PLAN_LEGACY
													: PLAN_OTHER;
		text = spinpanel_row_text(row, before + SUB_STATUS, context);
		s->status = strcmp(text, "active") == 0      ? PLAN_ACTIVE
					: strcmp(text, "suspended") == 0 ? PLAN_SUSPENDED
													 : PLAN_GONE;
		if (s->trial || s->commerce == PLAN_OTHER || s->status == PLAN_GONE)
			continue;
		s->quantity = spinpanel_row_int(row, before + SUB_QUANTITY);
		s->minimum = 1;
		s->maximum = spinpanel_row_isnull(row, before + SUB_MAXIMUM)
						 ? PG_INT32_MAX
						 : spinpanel_row_int(row, before + SUB_MAXIMUM);
		s->term_end = PLAN_NEVER;
		s->next_quantity = -1;
		s->auto_renew = spinpanel_row_bool(row, before + SUB_RENEWS);
		s->cancel_at_term = spinpanel_row_bool(row, before + SUB_CANCEL);
		s->extended_term = spinpanel_row_bool(row, before + SUB_EXTENDED);
		s->end_by =
			spinpanel_plan_input_end_by(s, spinpanel_row_bool(row, before + SUB_OUR_END),
										spinpanel_row_bool(row, before + SUB_OUR_SUSPENSION),
										spinpanel_row_isnull(row, before + SUB_RENEWED) ||
											spinpanel_row_bool(row, before + SUB_RENEWED));
		s->next_other_sku = spinpanel_row_bool(row, before + SUB_OTHER_PRODUCT);
		if (s->status == PLAN_SUSPENDED)
			s->suspended_by =
				spinpanel_row_bool(row, before + SUB_OUR_SUSPENSION) ? PLAN_OURS : PLAN_PERSON;
		if (s->suspended_by == PLAN_PERSON && asking->suspended == NULL)
		{
			char *name = spinpanel_row_text(row, before + SUB_NAME, context);
			pg_uuid_t id;

			spinpanel_row_uuid(row, before + SUB_ID, &id);
			asking->suspended =
				psprintf("%s%s%s", name ? name : "", name ? " " : "", spinpanel_uuid_text(&id));
		}
		if (s->status == PLAN_ACTIVE && (asking->account_id == 0 || account < asking->account_id))
			asking->account_id = account;
		asking->terms[count].term_duration = spinpanel_row_text(row, before + SUB_TERM, context);
		asking->terms[count].billing_cycle = spinpanel_row_text(row, before + SUB_CYCLE, context);
		asking->terms[count].usable = true;
		count++;
	}
	memset(&asking->pool, 0, sizeof(asking->pool));
	asking->pool.subscriptions = subscriptions;
	asking->pool.subscription_count = count;
	if (asking->account_id == 0 && asking->account_count > 0)
		asking->account_id = asking->accounts[0];
}

void
spinpanel_request_check_require_account(const Asking *asking)
{
	if (asking->gone)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("customer %s is gone", asking->customer),
						errdetail("No account lists it any more, so nothing can be done there."),
						errhint("If it is a customer again, spinpanel.sync() finds it.")));
	if (asking->account_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no active account has customer %s", asking->customer),
				 errdetail("Every account that lists it is stopped or disconnected."),
				 errhint("SELECT name, status, status_reason FROM spinpanel.account says why; "
						 "spinpanel.connect_account() takes it up again.")));
}

/* ---- counting --------------------------------------------------------------------------- */

typedef struct Figures
{
	int32 owned; /* with those that are ordered and not readable yet */
	int32 active;
	int32 consumed;
	int32 waiting; /* assignments asked for and not in consumed */
	int32 unbought; /* of them: open, and no seat was bought */
	int32 bought; /* of them: a seat was bought */
	int32 freed; /* releases asked for, or done and not in consumed */
} Figures;

/*
 * As of this moment at every isolation level: who comes second under a limit
 * must see what the first has committed.  What Partner Center reports counts: in
 * doubt the worker tries, and says no.
 */
static void
count(const Asking *asking, Figures *figures)
{
	static StateQuery select = {
		"SELECT p.owned_seats + coalesce((SELECT sum((o.wanted ->> 'quantity')::int)::int FROM spinpanel.operation o"
		"  WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy' AND o.kind = 'checkout' AND o.status = 'done'"
		"  AND o.finished_at > $4 AND NOT EXISTS (SELECT FROM spinpanel.subscription s"
		"   WHERE s.subscription_id = o.subscription_id AND s.sku_id IS NOT NULL)), 0),"
		" p.active_units, p.consumed_units, w.waiting, w.unbought, w.bought, f.freed"
		" FROM (SELECT coalesce(p.owned_seats, 0) AS owned_seats, greatest(k.active_units, p.active_units, 0) AS active_units,"
		"  coalesce(least(k.consumed_units, p.consumed_units), 0) AS consumed_units,"
		"  least($5, (SELECT max(c.subscribed_skus_read_at) FROM spinpanel.customer_account c WHERE c.customer_id = $1))"
		"   - make_interval(secs => $3) AS shown"
		"  FROM (SELECT 1) one LEFT JOIN spinpanel.pool p ON p.customer_id = $1 AND p.sku_id = $2"
		"  LEFT JOIN spinpanel.subscribed_sku k ON k.customer_id = $1 AND k.sku_id = $2 AND k.gone_at IS NULL) p"
		" CROSS JOIN LATERAL (SELECT count(*)::int AS waiting,"
		"  (count(*) FILTER (WHERE q.status <> 'done' AND NOT q.seat_bought))::int AS unbought,"
		"  (count(*) FILTER (WHERE q.seat_bought))::int AS bought"
		"  FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2 AND q.waiting"
		"  AND q.kind = 'assign' AND q.status NOT IN ('failed', 'cancelled')"
		/* Those whose licence is counted as consumed by now need no seat beside it. */
		"  AND NOT (q.status = 'done' AND coalesce(q.consumed_level <= p.consumed_units, false))) w"
		/* A release frees a seat as far as its user is not known to hold none. */
		" CROSS JOIN LATERAL (SELECT ((SELECT count(*) FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2"
		"  AND q.kind = 'release' AND q.status IN ('queued', 'assigning') AND q.follows IS NULL"
		"  AND (EXISTS (SELECT FROM spinpanel.user_license l WHERE l.customer_id = $1 AND l.sku_id = $2 AND l.user_id = q.user_id)"
		"   OR NOT EXISTS (SELECT FROM spinpanel.customer_user u WHERE u.customer_id = $1 AND u.user_id = q.user_id"
		"    AND u.licenses_read_at IS NOT NULL)))"
		"  + (SELECT count(*) FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.sku_id = $2"
		"   AND q.kind = 'release' AND q.status = 'done' AND q.operation_id IS NOT NULL AND q.confirmed_at > p.shown))::int AS freed) f",
		"uuiTT", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_uuid(&asking->customer_id);
	args[1] = spinpanel_arg_uuid(&asking->sku_id);
	args[2] = spinpanel_arg_int(spinpanel_settle_time);
	args[3] = spinpanel_arg_time(spinpanel_now() -
								 (int64) spinpanel_provisioning_timeout * USECS_PER_SEC);
	args[4] = spinpanel_arg_time(spinpanel_now());
	(void) spinpanel_state_run_latest(&select, args);
	figures->owned = spinpanel_row_int(0, 1);
	figures->active = spinpanel_row_int(0, 2);
	figures->consumed = spinpanel_row_int(0, 3);
	figures->waiting = spinpanel_row_int(0, 4);
	figures->unbought = spinpanel_row_int(0, 5);
	figures->bought = spinpanel_row_int(0, 6);
	figures->freed = spinpanel_row_int(0, 7);
}

/*
 * owned + being bought + to buy <= max_seats.  A seat that was bought is owned
 * at once, but may not be shown as active yet: it is left out with the request
 * that it was bought for.  Under auto increment every request buys one.
 */
static void
require_limit(const Asking *asking, const Figures *f, int32 seats)
{
	int32 free =
		Min(f->owned - f->bought, f->active) - f->consumed - (f->waiting - f->bought) + f->freed;
	int32 buying = Min(f->unbought, Max(0, -free));
	int32 buy = seats - Max(0, Min(free, seats));

	if (asking->auto_increment)
	{
		buying = f->unbought;
		buy = seats;
	}
	if (buy == 0 || (int64) f->owned + buying + buy <= asking->max_seats)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("customer %s would have more than max_seats (%d) of %s", asking->customer,
					asking->max_seats, asking->sku),
			 errdetail("%d seats are owned and %d are being bought; %d more would have to be.",
					   f->owned, buying, buy),
			 errhint("Raise max_seats with spinpanel.set_license_rule(), or release a "
					 "licence that is not needed.")));
}

/* The planner's answer: can one be bought, whatever the limit of 24 hours says? */
static AskBuyable
can_buy(const Asking *asking, char *why, size_t why_size)
{
	AskCustomer customer;
	AskPool pool;
	NeedSource source;
	int32 seats;

	memset(&customer, 0, sizeof(customer));
	customer.now = spinpanel_now();
	customer.purchases = asking->purchases;
	memset(&pool, 0, sizeof(pool));
	pool.plan = &asking->pool;
	pool.terms = asking->terms;
	pool.rule.default_offer = asking->default_offer;
	pool.rule.term_duration = asking->term_duration;
	pool.rule.billing_cycle = asking->billing_cycle;
	pool.max_seats = -1; /* that is counted exactly, under a lock */
	return spinpanel_request_can_buy(&customer, &pool, true, 1, &source, &seats, why, why_size);
}

static void
refuse_source(const Asking *asking, const char *found, char *why)
{
	if (asking->suspended != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no seat of %s is free at customer %s, and none can be bought", asking->sku,
						asking->customer),
				 errdetail("%s Subscription %s was suspended, and not by spinpanel.", found,
						   asking->suspended),
				 errhint("Reactivate that subscription in Partner Center, or release a licence.")));
	why[0] = pg_toupper((unsigned char) why[0]);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no seat of %s is free at customer %s, and none can be bought",
						   asking->sku, asking->customer),
					errdetail("%s %s.", found, why),
					errhint("Give an offer to order: spinpanel.set_license_rule(customer, sku, "
							"default_offer => 'productId:skuId').")));
}

void
spinpanel_request_check_require_seats(const Asking *asking, int32 seats)
{
	char why[ASK_TEXT];
	AskBuyable buyable;
	bool limited = asking->max_seats >= 0 && asking->purchases;
	Figures figures;
	int32 free;

	if (asking->tenant || asking->never_assigned)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("SKU %s is not assigned to users", asking->sku),
				 asking->tenant ? errdetail("It is of target type Tenant: all users have it.")
								: errdetail("It is in the list of SKUs that no user gets."),
				 asking->tenant
					 ? 0
					 : errhint("If that is wrong here, add a row with never_assigned = false "
							   "to spinpanel.never_assigned_sku.")));
	if (seats <= 0)
		return;
	buyable = can_buy(asking, why, sizeof(why));
	if (buyable == ASK_BUY_YES && !limited)
		return;

	if (limited)
		spinpanel_operation_lock_limit(&asking->customer_id, &asking->sku_id);
	count(asking, &figures);
	free = figures.active - figures.consumed - figures.waiting + figures.freed;
	if (buyable != ASK_BUY_YES && free < seats)
	{
		const char *found =
			free <= 0 ? "No seat is free." : psprintf("Only %d of %d seats are free.", free, seats);

		if (buyable == ASK_BUY_OFF)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no seat of %s is free at customer %s, and purchases are off there",
							asking->sku, asking->customer),
					 errdetail("%s %d are active, %d consumed, %d asked for.", found,
							   figures.active, figures.consumed, figures.waiting),
					 errhint("Release a licence, or allow purchases with "
							 "spinpanel.set_relationship(..., purchases => true).")));
		refuse_source(asking, found, why);
	}
	if (limited && buyable == ASK_BUY_YES)
		require_limit(asking, &figures, seats);
}
