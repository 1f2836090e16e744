/*
 * mirror.c
 *
 * What Partner Center said, in tables: customers, subscriptions, users, and
 * licences.  Rows that did not change are not written; an item that cannot be
 * read is left out and makes its list partial, and a partial list proves
 * nothing about what is missing in it.  Figures of pools are in pool.c, which
 * is called in the same transaction for every change here.
 *
 * It decides nothing, and never sets what is to be at Partner Center.
 *
 * Contract: "Subscription resources", "License resources" and "User resources"
 * of the Partner Center documentation.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/uuid.h"
#include "state/mirror.h"
#include "state/mirror_internal.h"
#include "state/next_term.h"
#include "state/pool.h"
#include "state/statement.h"

#define MAX_QUANTITY 10000000
#define MAX_BATCHES 256

/* Audit records of the time around a read may tell of what it did not show. */
#define AUDIT_SLACK (10 * USECS_PER_MINUTE)

/* From the begin of a term: a window of 168 hours, and up to a day until a renewal is complete. */
#define WINDOW_AT_MOST (8 * USECS_PER_DAY + USECS_PER_HOUR)

/* ---- small things -------------------------------------------------------------- */

/* Text of a member, cut to a sane length; NULL = absent. */
char *
spinpanel_mirror_text(JsonbContainer *object, const char *path, int length)
{
	char *value = spinpanel_json_text(object, path);

	if (value != NULL && (int) strlen(value) > length)
		value[pg_mbcliplen(value, strlen(value), length)] = '\0';
	return value;
}

static char *
lower_text(char *value)
{
	char *c;

	if (value != NULL)
		for (c = value; *c; c++)
			*c = pg_ascii_tolower((unsigned char) *c);
	return value;
}

/*
 * Calls function for each object of the collection; false = it is none.  The
 * number of its elements is added to *count.
 */
bool
spinpanel_mirror_each(JsonbContainer *collection, MirrorItem function, void *arg, int64 *count)
{
	JsonbContainer *items = spinpanel_json_container(collection, "items");
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (items == NULL || !JsonContainerIsArray(items))
		return false;
	it = JsonbIteratorInit(items);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (count != NULL)
			(*count)++;
		if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
			function(value.val.binary.data, value.val.binary.len, arg);
		else
			function(NULL, 0, arg);
	}
	return true;
}

bool
spinpanel_mirror_all_there(JsonbContainer *collection, int64 received, bool last)
{
	int64 total;
	char *token;

	if (last && (token = spinpanel_json_next_page(collection)) != NULL)
	{
		pfree(token);
		return false;
	}
	return !spinpanel_json_int(collection, "totalCount", &total) || received >= total;
}

bool
spinpanel_mirror_only_short(JsonbContainer *collection)
{
	JsonbContainer *items = spinpanel_json_container(collection, "items");

	return items != NULL && JsonContainerIsArray(items) && JsonContainerSize(items) > 0 &&
		   spinpanel_json_next_page(collection) == NULL &&
		   !spinpanel_mirror_all_there(collection, JsonContainerSize(items), true);
}

static const char *
column_of(MirrorKind kind)
{
	switch (kind)
	{
		case MIRROR_SUBSCRIPTIONS:
			return "subscriptions";
		case MIRROR_SUBSCRIBED_SKUS:
			return "subscribed_skus";
		case MIRROR_USERS:
			return "users";
		case MIRROR_LICENSES:
			return "licenses";
	}
	return NULL;
}

/* A whole, readable answer of this kind was taken in. */
void
spinpanel_mirror_read(int32 account_id, const pg_uuid_t *customer_id, MirrorKind kind,
					  TimestampTz started_at, const unsigned char *digest)
{
	static StateQuery subscriptions = {
		"UPDATE spinpanel.customer_account SET subscriptions_read_at = $3, subscriptions_fetched_at = $3, subscriptions_hash = coalesce($4, subscriptions_hash),"
		" subscriptions_error = NULL WHERE customer_id = $1 AND account_id = $2",
		"uiTB", NULL
	};
	static StateQuery skus = {
		"UPDATE spinpanel.customer_account SET subscribed_skus_read_at = $3, looked_at = $3,"
		" subscribed_skus_hash = coalesce($4, subscribed_skus_hash),"
		" subscribed_skus_error = NULL, license_access = true WHERE customer_id = $1 AND account_id = $2",
		"uiTB", NULL
	};
	static StateQuery users = {
		"UPDATE spinpanel.customer_account SET users_read_at = $3, users_error = NULL"
		" WHERE customer_id = $1 AND account_id = $2 AND $4 IS NULL",
		"uiTB", NULL
	};
	static StateQuery licenses = {
		"UPDATE spinpanel.customer_account SET licenses_read_at = $3, licenses_error = NULL"
		" WHERE customer_id = $1 AND account_id = $2 AND $4 IS NULL",
		"uiTB", NULL
	};
	StateQuery *query = kind == MIRROR_SUBSCRIPTIONS     ? &subscriptions
						: kind == MIRROR_SUBSCRIBED_SKUS ? &skus
						: kind == MIRROR_USERS           ? &users
														 : &licenses;
	StateArg args[4];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_time(started_at);
	args[3] = spinpanel_arg_null();
	if (digest != NULL)
	{
		bytea *bytes = palloc(VARHDRSZ + 16);

		SET_VARSIZE(bytes, VARHDRSZ + 16);
		memcpy(VARDATA(bytes), digest, 16);
		args[3] = spinpanel_arg_datum(PointerGetDatum(bytes));
	}
	spinpanel_state_run(query, args, 0);
}

void
spinpanel_mirror_unchanged(int32 account_id, const pg_uuid_t *customer_id, MirrorKind kind,
						   TimestampTz started_at)
{
	spinpanel_mirror_read(account_id, customer_id, kind, started_at, NULL);
}

void
spinpanel_mirror_unchanged_many(const MirrorUnchanged *customers, int count)
{
	static StateQuery update = {
		"UPDATE spinpanel.customer_account a SET subscriptions_read_at = CASE WHEN c.subscriptions > '-infinity' THEN c.subscriptions ELSE c.skus END,"
		" subscriptions_fetched_at = CASE WHEN c.subscriptions > '-infinity' THEN c.subscriptions ELSE a.subscriptions_fetched_at END,"
		" subscribed_skus_read_at = c.skus, looked_at = c.skus,"
		" subscriptions_error = NULL, subscribed_skus_error = NULL, license_access = true"
		" FROM unnest($1, $2, $3, $4) AS c (customer_id, account_id, subscriptions, skus)"
		" WHERE a.customer_id = c.customer_id AND a.account_id = c.account_id",
		"AuAiATAT", NULL
	};
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum *accounts = palloc(sizeof(Datum) * count);
	Datum *subscriptions = palloc(sizeof(Datum) * count);
	Datum *skus = palloc(sizeof(Datum) * count);
	StateArg args[4];
	int i;

	for (i = 0; i < count; i++)
	{
		ids[i] = UUIDPGetDatum(&customers[i].customer_id);
		accounts[i] = Int32GetDatum(customers[i].account_id);
		subscriptions[i] = TimestampTzGetDatum(customers[i].subscriptions_started_at);
		skus[i] = TimestampTzGetDatum(customers[i].skus_started_at);
	}
	args[0] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	args[1] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(accounts, count, INT4OID, 4, true, TYPALIGN_INT)));
	args[2] = spinpanel_arg_datum(PointerGetDatum(construct_array(
		subscriptions, count, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	args[3] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(skus, count, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	spinpanel_state_run(&update, args, 0);
}

/* ---- audit records ---------------------------------------------------------------- */

typedef struct Audited
{
	int32 account_id;
} Audited;

static void
take_record(JsonbContainer *item, int length, void *arg)
{
	static StateQuery update = {
		"UPDATE spinpanel.customer_account SET audited_at = $3 WHERE customer_id = $1 AND account_id = $2"
		" AND (audited_at IS NULL OR audited_at < $3) AND subscriptions_fetched_at <= $3",
		"uiT", NULL
	};
	Audited *audited = arg;
	StateArg args[3];
	pg_uuid_t customer_id;
	TimestampTz at;

	if (item == NULL || !spinpanel_json_uuid(item, "customerId", &customer_id) ||
		!spinpanel_json_time(item, "operationDate", &at))
		return;
	args[0] = spinpanel_arg_uuid(&customer_id);
	args[1] = spinpanel_arg_int(audited->account_id);
	/* Clocks differ; a customer too many is read. */
	args[2] = spinpanel_arg_time(at + AUDIT_SLACK);
	spinpanel_state_run(&update, args, 0);
}

bool
spinpanel_mirror_audit_page(int32 account_id, JsonbContainer *collection)
{
	Audited audited;

	audited.account_id = account_id;
	return spinpanel_mirror_each(collection, take_record, &audited, NULL);
}

TimestampTz
spinpanel_mirror_listed_at(int32 account_id)
{
	static StateQuery select = {
		"SELECT customers_read_at FROM spinpanel.account WHERE account_id = $1", "i", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return DT_NOBEGIN;
	return spinpanel_row_time(0, 1, DT_NOBEGIN);
}

void
spinpanel_mirror_read_failed(int32 account_id, const pg_uuid_t *customer_id, MirrorKind kind,
							 bool no_access, const char *code, const char *error)
{
	StateQuery update;
	StateArg args[5];
	static SPIPlanPtr plans[4];

	update.sql = psprintf(
		"UPDATE spinpanel.customer_account SET %s_error = $3, looked_at = greatest(looked_at, $5)%s"
		" WHERE customer_id = $1 AND account_id = $2",
		column_of(kind),
		kind == MIRROR_SUBSCRIBED_SKUS
			? ", license_access = CASE WHEN $4 THEN false ELSE license_access END"
			: "");
	update.types = "uitbT";
	update.plan = plans[kind];
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_text(psprintf("%s%s%s", code, code[0] ? ": " : "", error));
	args[3] = spinpanel_arg_bool(no_access);
	args[4] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&update, args, 0);
	plans[kind] = update.plan;
}

/* ---- seats counted anew ------------------------------------------------------------- */

/* Customers in column 1 of the rows at hand. */
static pg_uuid_t *
row_customers(uint64 rows)
{
	pg_uuid_t *customers = palloc(sizeof(pg_uuid_t) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		spinpanel_row_uuid(row, 1, &customers[row]);
	return customers;
}

static void
recount(const pg_uuid_t *customers, uint64 count, TimestampTz at)
{
	uint64 i;

	for (i = 0; i < count; i++)
		spinpanel_pool_recount(&customers[i], at);
}

/* ---- customers --------------------------------------------------------------------- */

typedef struct CustomersPage
{
	int32 account_id;
	TimestampTz started_at;
	bool whole;
} CustomersPage;

static void
take_customer(JsonbContainer *item, int length, void *arg)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.customer (customer_id, name, domain, first_seen_at) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT DO NOTHING",
		"uttT", NULL
	};
	static StateQuery update = {
		"UPDATE spinpanel.customer SET name = $2, domain = coalesce($3, domain), gone_at = NULL WHERE customer_id = $1"
		" AND (name <> $2 OR domain IS DISTINCT FROM coalesce($3, domain) OR gone_at IS NOT NULL) AND $4 IS NOT NULL",
		"uttT", NULL
	};
	static StateQuery relationship = {
		"INSERT INTO spinpanel.relationship (customer_id) SELECT $1 WHERE NOT EXISTS"
		" (SELECT FROM spinpanel.relationship WHERE customer_id = $1) ON CONFLICT DO NOTHING",
		"u", NULL
	};
	static StateQuery listed = {
		"UPDATE spinpanel.customer_account SET listed_at = $4, relationship = $3"
		" WHERE customer_id = $1 AND account_id = $2 AND gone_at IS NULL",
		"uitT", NULL
	};
	/*
	 * It was gone: what was read of it before says nothing any more, not even
	 * that it is unchanged.
	 */
	static StateQuery account = {
		"INSERT INTO spinpanel.customer_account AS a (customer_id, account_id, relationship, listed_at)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT (customer_id, account_id) DO UPDATE SET"
		" relationship = excluded.relationship, listed_at = excluded.listed_at, gone_at = NULL,"
		" subscriptions_hash = NULL, subscribed_skus_hash = NULL",
		"uitT", NULL
	};
	CustomersPage *page = arg;
	StateArg args[4];
	pg_uuid_t id;
	char *name;
	char *domain;

	if (item == NULL || !spinpanel_json_uuid(item, "id", &id))
	{
		page->whole = false;
		return;
	}
	domain = spinpanel_mirror_text(item, "companyProfile.domain", 253);
	name = spinpanel_mirror_text(item, "companyProfile.companyName", 256);
	if (name == NULL || name[0] == '\0')
		name = domain ? domain : spinpanel_uuid_text(&id);

	args[0] = spinpanel_arg_uuid(&id);
	args[1] = spinpanel_arg_text(name);
	args[2] = spinpanel_arg_text(domain);
	args[3] = spinpanel_arg_time(page->started_at);
	spinpanel_state_run(&update, args, 0);
	spinpanel_state_run(&insert, args, 0);
	spinpanel_state_run(&relationship, args, 0);
	args[1] = spinpanel_arg_int(page->account_id);
	args[2] = spinpanel_arg_text(spinpanel_mirror_text(item, "relationshipToPartner", 64));
	if (spinpanel_state_run(&listed, args, 0) == 0)
	{
		spinpanel_state_run(&account, args, 0);
		/* Its seats count again. */
		spinpanel_pool_recount(&id, page->started_at);
	}
}

bool
spinpanel_mirror_customers_page(int32 account_id, JsonbContainer *collection,
								TimestampTz started_at, int64 *received)
{
	CustomersPage page;

	page.account_id = account_id;
	page.started_at = started_at;
	page.whole = true;
	return spinpanel_mirror_each(collection, take_customer, &page, received) && page.whole;
}

void
spinpanel_mirror_customers_complete(int32 account_id, TimestampTz started_at, int64 received)
{
	static StateQuery listed = {
		"SELECT count(*) FROM spinpanel.customer_account WHERE account_id = $1 AND listed_at = $2",
		"iT", NULL
	};
	static StateQuery gone = {
		"UPDATE spinpanel.customer_account SET gone_at = $2 WHERE account_id = $1 AND gone_at IS NULL"
		" AND (listed_at IS NULL OR listed_at < $2) RETURNING customer_id",
		"iT", NULL
	};
	static StateQuery orphans = {
		"UPDATE spinpanel.customer c SET gone_at = $1 WHERE gone_at IS NULL AND NOT EXISTS"
		" (SELECT FROM spinpanel.customer_account a WHERE a.customer_id = c.customer_id AND a.gone_at IS NULL)",
		"T", NULL
	};
	static StateQuery mark = {
		"UPDATE spinpanel.account SET customers_read_at = $2 WHERE account_id = $1", "iT", NULL
	};
	StateArg args[2];
	uint64 rows;

	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_time(started_at);
	spinpanel_state_run(&listed, args, 0);
	/* A list with one of them twice may lack another one: nobody is gone. */
	if (spinpanel_row_int64(0, 1) < received)
		return;
	rows = spinpanel_state_run(&gone, args, 0);
	if (rows > 0)
	{
		StateArg time_arg[1];
		pg_uuid_t *customers = row_customers(rows);

		time_arg[0] = args[1];
		spinpanel_state_run(&orphans, time_arg, 0);
		recount(customers, rows, started_at);
	}
	spinpanel_state_run(&mark, args, 0);
}

/* ---- subscriptions ------------------------------------------------------------------ */

typedef struct Subscription
{
	pg_uuid_t id;
	char *offer_id;
	char *offer_key;
	const char *commerce;
	int32 quantity;
	char *status;
	char *term_duration;
	char *billing_cycle;
	bool auto_renew;
	bool is_trial;
	bool has_created;
	TimestampTz created_at;
	bool has_start;
	TimestampTz effective_start;
	bool has_commitment_end;
	TimestampTz commitment_end;
	bool has_term_end;
	TimestampTz term_end;
	bool has_cancel_until;
	TimestampTz cancel_until;
	bool has_parent;
	pg_uuid_t parent;
	bool has_custom_end;
	TimestampTz custom_end;
	NextTerm next_term;
	bool extended_term;
	int batch_count;
	int32 batch_quantity[MAX_BATCHES];
	TimestampTz batch_until[MAX_BATCHES];
} Subscription;

static int
colons(const char *text)
{
	int n = 0;

	for (; text != NULL && *text; text++)
		if (*text == ':')
			n++;
	return n;
}

/* productId:skuId of an offer id with an availability */
static char *
product_and_sku(const char *offer_id)
{
	char *key = pstrdup(offer_id);
	char *colon = strchr(key, ':');

	if (colon != NULL && (colon = strchr(colon + 1, ':')) != NULL)
		*colon = '\0';
	return key;
}

/*
 * New commerce licence-based if productType.id says so, or the offer id has two
 * colons and it is billed as a licence and is no software; legacy licence-based
 * if the offer id is a GUID.  Anything else, and whatever is not Microsoft's, is
 * read only.
 */
static const char *
commerce_of(JsonbContainer *item, const char *offer_id)
{
	char *product_type = spinpanel_json_text(item, "productType.id");
	char *billing_type = spinpanel_json_text(item, "billingType");
	pg_uuid_t guid;
	bool by_microsoft;

	/* What others sell in the marketplace has no licence of Entra to assign. */
	if (spinpanel_json_bool(item, "isMicrosoftProduct", &by_microsoft) && !by_microsoft)
		return "other";
	if (product_type != NULL && pg_strcasecmp(product_type, "OnlineServicesNCE") == 0)
		return "nce";
	if (offer_id != NULL && colons(offer_id) == 2 && billing_type != NULL &&
		pg_strcasecmp(billing_type, "license") == 0 &&
		(product_type == NULL || pg_strcasecmp(product_type, "Software") != 0))
		return "nce";
	if (offer_id != NULL && product_type == NULL && spinpanel_parse_uuid(offer_id, &guid) &&
		(billing_type == NULL || pg_strcasecmp(billing_type, "usage") != 0))
		return "legacy";
	return "other";
}

static void
read_batches(JsonbContainer *item, Subscription *s)
{
	JsonbContainer *details = spinpanel_json_container(item, "refundableQuantity.details");
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (details == NULL || !JsonContainerIsArray(details))
		return;
	it = JsonbIteratorInit(details);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int64 quantity;
		TimestampTz until;

		if (token != WJB_ELEM || value.type != jbvBinary || s->batch_count >= MAX_BATCHES ||
			!spinpanel_json_int(value.val.binary.data, "quantity", &quantity) ||
			!spinpanel_json_time(value.val.binary.data, "allowedUntilDateTime", &until) ||
			quantity <= 0 || quantity > MAX_QUANTITY)
			continue;
		s->batch_quantity[s->batch_count] = (int32) quantity;
		s->batch_until[s->batch_count++] = until;
	}
}

static bool
read_subscription(JsonbContainer *item, Subscription *s)
{
	int64 quantity;
	TimestampTz end;

	memset(s, 0, sizeof(*s));
	if (item == NULL || !spinpanel_json_uuid(item, "id", &s->id) ||
		!spinpanel_json_int(item, "quantity", &quantity) || quantity < 0 || quantity > MAX_QUANTITY)
		return false;
	s->quantity = (int32) quantity;
	s->status = lower_text(spinpanel_mirror_text(item, "status", 32));
	if (s->status == NULL)
		return false;
	s->offer_id = spinpanel_mirror_text(item, "offerId", 128);
	if (s->offer_id == NULL)
	{
		/* Some answers name the offer in its link only: .../offers/{id} */
		char *uri = spinpanel_mirror_text(item, "links.offer.uri", 512);
		char *last = uri ? strrchr(uri, '/') : NULL;

		if (last != NULL && strlen(last + 1) >= 36)
			s->offer_id = pnstrdup(last + 1, 36);
	}
	s->commerce = commerce_of(item, s->offer_id);
	if (s->offer_id != NULL)
		s->offer_key = strcmp(s->commerce, "nce") == 0 ? product_and_sku(s->offer_id)
													   : lower_text(pstrdup(s->offer_id));
	s->term_duration = spinpanel_mirror_text(item, "termDuration", 16);
	s->billing_cycle = lower_text(spinpanel_mirror_text(item, "billingCycle", 16));
	(void) spinpanel_json_bool(item, "autoRenewEnabled", &s->auto_renew);
	(void) spinpanel_json_bool(item, "isTrial", &s->is_trial);
	s->has_created = spinpanel_json_time(item, "creationDate", &s->created_at);
	s->has_start = spinpanel_json_time(item, "effectiveStartDate", &s->effective_start);
	s->has_commitment_end = spinpanel_json_time(item, "commitmentEndDate", &s->commitment_end);
	if (strcmp(s->commerce, "nce") == 0)
	{
		/* The end date is the term's last day; legacy names the day after. */
		if (spinpanel_json_time(item, "commitmentEndDateTime", &end))
		{
			s->has_term_end = true;
			s->term_end = end - (end % USECS_PER_SEC) + USECS_PER_SEC;
		}
		else if (s->has_commitment_end)
		{
			s->has_term_end = true;
			s->term_end = s->commitment_end - (s->commitment_end % USECS_PER_DAY) + USECS_PER_DAY;
		}
	}
	else if (s->has_commitment_end)
	{
		s->has_term_end = true;
		s->term_end = s->commitment_end;
	}
	s->has_cancel_until =
		spinpanel_json_time(item, "cancellationAllowedUntilDate", &s->cancel_until);
	s->has_parent = spinpanel_json_uuid(item, "parentSubscriptionId", &s->parent);
	s->has_custom_end = spinpanel_json_time(item, "customTermEndDate", &s->custom_end);
	/*
	 * Samples show custom ends that are long past; the commitment's end is what
	 * counts where it is given.
	 */
	if (!s->has_term_end && s->has_custom_end && s->custom_end > spinpanel_now() &&
		!(s->has_start && s->custom_end <= s->effective_start))
	{
		s->has_term_end = true;
		s->term_end = strcmp(s->commerce, "nce") == 0
						  ? s->custom_end - (s->custom_end % USECS_PER_DAY) + USECS_PER_DAY
						  : s->custom_end;
	}

	s->next_term.product = s->offer_key;
	s->next_term.term_duration = s->term_duration;
	s->next_term.billing_cycle = s->billing_cycle;
	s->next_term.running_quantity = s->quantity;
	spinpanel_next_term_read(item, &s->next_term);
	read_batches(item, s);

	/*
	 * Extended terms run month by month after a term that was not renewed: the
	 * only active subscriptions that may be cancelled at any time up to their
	 * end although they do not renew.  A term of a week, cut to align its end
	 * with others, is as open to its end, but only by the window that every
	 * term opens.
	 */
	s->extended_term = strcmp(s->commerce, "nce") == 0 && strcmp(s->status, "active") == 0 &&
					   !s->auto_renew && s->has_cancel_until && s->has_term_end &&
					   s->cancel_until >= s->term_end - USECS_PER_DAY &&
					   !(s->has_start && s->cancel_until <= s->effective_start + WINDOW_AT_MOST);
	return true;
}

static StateArg
time_or_null(bool has, TimestampTz value)
{
	return has ? spinpanel_arg_time(value) : spinpanel_arg_null();
}

static StateArg
batch_array(const Subscription *s, bool times)
{
	Datum *elements = palloc(sizeof(Datum) * (s->batch_count + 1));
	int i;

	for (i = 0; i < s->batch_count; i++)
		elements[i] =
			times ? TimestampTzGetDatum(s->batch_until[i]) : Int32GetDatum(s->batch_quantity[i]);
	return spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, s->batch_count, times ? TIMESTAMPTZOID : INT4OID, times ? 8 : 4,
						true, times ? TYPALIGN_DOUBLE : TYPALIGN_INT)));
}

/* Inserts or updates one row whose resource is new or has changed. */
static void
write_subscription(int32 account_id, const pg_uuid_t *customer_id, JsonbContainer *item, int length,
				   const Subscription *s, TimestampTz started_at)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.subscription AS t (subscription_id, account_id, customer_id, offer_id, offer_key,"
		" offer_name, friendly_name, sku_id, commerce, quantity, status, term_duration, billing_cycle, auto_renew,"
		" is_trial, created_at, effective_start, commitment_end, term_end, cancellation_allowed_until,"
		" parent_subscription_id, partner_id, promotion_id, order_id, custom_term_end, next_quantity,"
		" next_other_product, cancel_at_term, extended_term, refund_quantity, refund_until, first_seen_at, changed_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT sku_id FROM spinpanel.offer WHERE offer_key = $5), $8, $9, $10, $11,"
		" $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $31)"
		" ON CONFLICT (subscription_id) DO UPDATE SET account_id = excluded.account_id,"
		" customer_id = excluded.customer_id, offer_id = excluded.offer_id, offer_key = excluded.offer_key,"
		" offer_name = excluded.offer_name, friendly_name = excluded.friendly_name, sku_id = excluded.sku_id,"
		" commerce = excluded.commerce, quantity = excluded.quantity, status = excluded.status,"
		" term_duration = excluded.term_duration, billing_cycle = excluded.billing_cycle,"
		" auto_renew = excluded.auto_renew, is_trial = excluded.is_trial, created_at = excluded.created_at,"
		" effective_start = excluded.effective_start, commitment_end = excluded.commitment_end,"
		" term_end = excluded.term_end, cancellation_allowed_until = excluded.cancellation_allowed_until,"
		" parent_subscription_id = excluded.parent_subscription_id, partner_id = excluded.partner_id,"
		" promotion_id = excluded.promotion_id, order_id = excluded.order_id, custom_term_end = excluded.custom_term_end,"
		" next_quantity = excluded.next_quantity, next_other_product = excluded.next_other_product,"
		" cancel_at_term = excluded.cancel_at_term, extended_term = excluded.extended_term,"
		" refund_quantity = excluded.refund_quantity, refund_until = excluded.refund_until,"
		" changed_at = excluded.changed_at, gone_at = NULL,"
		/* What is ours ends as soon as Partner Center shows something else. */
		" our_suspension = t.our_suspension AND excluded.status = 'suspended',"
		" our_end = t.our_end AND (NOT excluded.auto_renew OR excluded.cancel_at_term),"
		" our_next_quantity = CASE WHEN t.our_next_quantity = excluded.next_quantity THEN t.our_next_quantity END,"
		" changes = t.changes + CASE WHEN t.quantity <> excluded.quantity OR t.status <> excluded.status THEN 1 ELSE 0 END,"
		" renewed_at = CASE WHEN excluded.term_end > t.term_end THEN greatest(t.term_end, excluded.effective_start)"
		" ELSE t.renewed_at END",
		"uiuttttt"
		"itttbb"
		"TTTTT"
		"uttt"
		"Tibbb"
		"AiAT"
		"T",
		NULL
	};
	static StateQuery raw = {
		"INSERT INTO spinpanel.subscription_raw (subscription_id, body, read_at) VALUES ($1, $2, $3)"
		" ON CONFLICT (subscription_id) DO UPDATE SET body = excluded.body, read_at = excluded.read_at",
		"ujT", NULL
	};
	StateArg args[31];
	Jsonb *resource = palloc(VARHDRSZ + length);
	int n = 0;

	args[n++] = spinpanel_arg_uuid(&s->id);
	args[n++] = spinpanel_arg_int(account_id);
	args[n++] = spinpanel_arg_uuid(customer_id);
	args[n++] = spinpanel_arg_text(s->offer_id);
	args[n++] = spinpanel_arg_text(s->offer_key);
	args[n++] = spinpanel_arg_text(spinpanel_mirror_text(item, "offerName", 256));
	args[n++] = spinpanel_arg_text(spinpanel_mirror_text(item, "friendlyName", 256));
	args[n++] = spinpanel_arg_text(s->commerce);
	args[n++] = spinpanel_arg_int(s->quantity);
	args[n++] = spinpanel_arg_text(s->status);
	args[n++] = spinpanel_arg_text(s->term_duration);
	args[n++] = spinpanel_arg_text(s->billing_cycle);
	args[n++] = spinpanel_arg_bool(s->auto_renew);
	args[n++] = spinpanel_arg_bool(s->is_trial);
	args[n++] = time_or_null(s->has_created, s->created_at);
	args[n++] = time_or_null(s->has_start, s->effective_start);
	args[n++] = time_or_null(s->has_commitment_end, s->commitment_end);
	args[n++] = time_or_null(s->has_term_end, s->term_end);
	args[n++] = time_or_null(s->has_cancel_until, s->cancel_until);
	args[n++] = spinpanel_arg_uuid(s->has_parent ? &s->parent : NULL);
	args[n++] = spinpanel_arg_text(spinpanel_mirror_text(item, "partnerId", 64));
	args[n++] = spinpanel_arg_text(spinpanel_mirror_text(item, "promotionId", 128));
	args[n++] = spinpanel_arg_text(spinpanel_mirror_text(item, "orderId", 128));
	args[n++] = time_or_null(s->has_custom_end, s->custom_end);
	args[n++] =
		s->next_term.quantity < 0 ? spinpanel_arg_null() : spinpanel_arg_int(s->next_term.quantity);
	args[n++] = spinpanel_arg_bool(s->next_term.other_product);
	args[n++] = spinpanel_arg_bool(s->next_term.cancel);
	args[n++] = spinpanel_arg_bool(s->extended_term);
	args[n++] = batch_array(s, false);
	args[n++] = batch_array(s, true);
	args[n++] = spinpanel_arg_time(started_at);
	Assert(n == 31);
	spinpanel_state_run(&upsert, args, 0);

	SET_VARSIZE(resource, VARHDRSZ + length);
	memcpy(VARDATA(resource), item, length);
	args[1] = spinpanel_arg_jsonb(resource);
	args[2] = spinpanel_arg_time(started_at);
	spinpanel_state_run(&raw, args, 0);
}

/* What we have of a customer at one account before a list is taken in. */
typedef struct StoredRow
{
	pg_uuid_t id; /* first: rows are sorted by it */
	Jsonb *body;
	bool gone;
	bool has_sku;
	pg_uuid_t sku_id;
	bool seen;
} StoredRow;

typedef struct SubscriptionList
{
	int32 account_id;
	const pg_uuid_t *customer_id;
	TimestampTz started_at;
	StoredRow *stored;
	int stored_count;
	pg_uuid_t *listed; /* ids in the list so far */
	int listed_count;
	int listed_size;
	bool whole;
	bool changed;
	char *country;
} SubscriptionList;

/* By id, which is the first member. */
static int
compare_stored(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

static void
note_listed(SubscriptionList *list, const pg_uuid_t *id)
{
	if (list->listed_count == list->listed_size)
	{
		int size = Max(64, list->listed_size * 2);

		list->listed = list->listed_size == 0 ? palloc(sizeof(pg_uuid_t) * size)
											  : repalloc(list->listed, sizeof(pg_uuid_t) * size);
		list->listed_size = size;
	}
	list->listed[list->listed_count++] = *id;
}

/* A list with one of them twice may lack another one, whatever totalCount says. */
static bool
has_twice(SubscriptionList *list)
{
	int i;

	if (list->listed_count > 1)
		qsort(list->listed, list->listed_count, sizeof(pg_uuid_t), compare_stored);
	for (i = 1; i < list->listed_count; i++)
		if (memcmp(&list->listed[i - 1], &list->listed[i], sizeof(pg_uuid_t)) == 0)
			return true;
	return false;
}

static void
take_subscription(JsonbContainer *item, int length, void *arg)
{
	SubscriptionList *list = arg;
	Subscription s;
	StoredRow *row;

	if (!read_subscription(item, &s))
	{
		list->whole = false;
		return;
	}
	note_listed(list, &s.id);
	row = bsearch(&s.id, list->stored, list->stored_count, sizeof(StoredRow), compare_stored);
	if (row != NULL)
	{
		row->seen = true;
		if (!row->gone && row->body != NULL && compareJsonbContainers(&row->body->root, item) == 0)
			return;
	}
	write_subscription(list->account_id, list->customer_id, item, length, &s, list->started_at);
	list->changed = true;

	if (list->country == NULL)
	{
		/* .../products/{id}?country=US: the market of the catalogue */
		char *uri = spinpanel_mirror_text(item, "links.product.uri", 512);
		char *at = uri ? strstr(uri, "country=") : NULL;

		if (at != NULL && strspn(at + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 2)
			list->country = pnstrdup(at + 8, 2);
	}
}

static void
load_stored(SubscriptionList *list, const pg_uuid_t *only)
{
	static StateQuery select = {
		"SELECT s.subscription_id, r.body, s.gone_at IS NOT NULL, s.sku_id FROM spinpanel.subscription s"
		" LEFT JOIN spinpanel.subscription_raw r USING (subscription_id)"
		" WHERE s.customer_id = $1 AND s.account_id = $2 AND ($3 IS NULL OR s.subscription_id = $3)",
		"uiu", NULL
	};
	StateArg args[3];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(list->customer_id);
	args[1] = spinpanel_arg_int(list->account_id);
	args[2] = spinpanel_arg_uuid(only);
	rows = spinpanel_state_run(&select, args, 0);
	list->stored = palloc0(sizeof(StoredRow) * (rows + 1));
	list->stored_count = (int) rows;
	for (row = 0; row < rows; row++)
	{
		spinpanel_row_uuid(row, 1, &list->stored[row].id);
		list->stored[row].body = spinpanel_row_jsonb(row, 2, CurrentMemoryContext);
		list->stored[row].gone = spinpanel_row_bool(row, 3);
		list->stored[row].has_sku = spinpanel_row_uuid(row, 4, &list->stored[row].sku_id);
	}
	if (rows > 1)
		qsort(list->stored, rows, sizeof(StoredRow), compare_stored);
}

/* False: no whole list; what could be read of it is taken in all the same. */
bool
spinpanel_mirror_subscriptions(int32 account_id, const pg_uuid_t *customer_id, Jsonb *body,
							   const unsigned char *digest, TimestampTz started_at)
{
	static StateQuery gone = {
		"UPDATE spinpanel.subscription SET gone_at = $2 WHERE subscription_id = $1 AND gone_at IS NULL",
		"uT", NULL
	};
	static StateQuery country = {
		"UPDATE spinpanel.customer SET country = $2 WHERE customer_id = $1 AND country IS DISTINCT FROM $2",
		"ut", NULL
	};
	SubscriptionList list;
	StateArg args[2];
	int64 received = 0;
	const char *problem = "the list has items that cannot be read";
	int i;

	memset(&list, 0, sizeof(list));
	list.account_id = account_id;
	list.customer_id = customer_id;
	list.started_at = started_at;
	list.whole = true;
	load_stored(&list, NULL);
	if (!spinpanel_mirror_each(&body->root, take_subscription, &list, &received))
	{
		spinpanel_mirror_read_failed(account_id, customer_id, MIRROR_SUBSCRIPTIONS, false, "",
									 "the answer is no list of subscriptions");
		return false;
	}
	if (list.whole && has_twice(&list))
	{
		list.whole = false;
		problem = "the list is not whole: it has a subscription twice";
	}
	if (list.whole && !spinpanel_mirror_all_there(&body->root, received, true))
	{
		list.whole = false;
		problem = "the list is not whole: fewer came than Partner Center says there are";
	}
	if (list.whole)
	{
		for (i = 0; i < list.stored_count; i++)
		{
			if (list.stored[i].seen || list.stored[i].gone)
				continue;
			args[0] = spinpanel_arg_uuid(&list.stored[i].id);
			args[1] = spinpanel_arg_time(started_at);
			spinpanel_state_run(&gone, args, 0);
			list.changed = true;
		}
		spinpanel_mirror_read(account_id, customer_id, MIRROR_SUBSCRIPTIONS, started_at, digest);
	}
	else
		spinpanel_mirror_read_failed(account_id, customer_id, MIRROR_SUBSCRIPTIONS, false, "",
									 problem);
	if (list.country != NULL)
	{
		args[0] = spinpanel_arg_uuid(customer_id);
		args[1] = spinpanel_arg_text(list.country);
		spinpanel_state_run(&country, args, 0);
	}
	if (list.changed)
		spinpanel_pool_recount(customer_id, started_at);
	return list.whole;
}

void
spinpanel_mirror_subscription(int32 account_id, const pg_uuid_t *customer_id, Jsonb *body,
							  TimestampTz started_at)
{
	SubscriptionList list;
	pg_uuid_t id;

	memset(&list, 0, sizeof(list));
	list.account_id = account_id;
	list.customer_id = customer_id;
	list.started_at = started_at;
	list.whole = true;
	if (!spinpanel_json_uuid(&body->root, "id", &id))
		return;
	load_stored(&list, &id);
	take_subscription(&body->root, VARSIZE(body) - VARHDRSZ, &list);
	if (list.changed)
	{
		/* The list's body is no longer what the hash stands for. */
		static StateQuery forget = {
			"UPDATE spinpanel.customer_account SET subscriptions_hash = NULL"
			" WHERE customer_id = $1 AND account_id = $2 AND subscriptions_hash IS NOT NULL",
			"ui", NULL
		};
		StateArg args[2];

		args[0] = spinpanel_arg_uuid(customer_id);
		args[1] = spinpanel_arg_int(account_id);
		spinpanel_state_run(&forget, args, 0);
		spinpanel_pool_recount(customer_id, started_at);
	}
}

void
spinpanel_mirror_mark_ours(const pg_uuid_t *subscription_id, MirrorOurs what, int32 value)
{
	static StateQuery suspension = {
		"UPDATE spinpanel.subscription SET our_suspension = ($2 >= 0), auto_renew_before = ($2 > 0)"
		" WHERE subscription_id = $1",
		"ui", NULL
	};
	static StateQuery end = {
		"UPDATE spinpanel.subscription SET our_end = ($2 >= 0) WHERE subscription_id = $1", "ui",
		NULL
	};
	static StateQuery next = {
		"UPDATE spinpanel.subscription SET our_next_quantity = CASE WHEN $2 >= 0 THEN $2 END"
		" WHERE subscription_id = $1",
		"ui", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(subscription_id);
	args[1] = spinpanel_arg_int(value);
	spinpanel_state_run(what == MIRROR_OUR_SUSPENSION ? &suspension
						: what == MIRROR_OUR_END      ? &end
													  : &next,
						args, 0);
}

bool
spinpanel_mirror_is_our_schedule(const pg_uuid_t *subscription_id)
{
	static StateQuery select = {
		"SELECT our_next_quantity = next_quantity FROM spinpanel.subscription WHERE subscription_id = $1",
		"u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(subscription_id);
	return spinpanel_state_run(&select, args, 0) > 0 && spinpanel_row_bool(0, 1);
}

bool
spinpanel_mirror_is_our_end(const pg_uuid_t *subscription_id)
{
	static StateQuery select = {
		"SELECT our_end FROM spinpanel.subscription WHERE subscription_id = $1", "u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(subscription_id);
	return spinpanel_state_run(&select, args, 0) > 0 && spinpanel_row_bool(0, 1);
}

/* ---- subscribed SKUs ------------------------------------------------------------------- */

/* False: no whole list. */
bool
spinpanel_mirror_subscribed_skus(int32 account_id, const pg_uuid_t *customer_id, Jsonb *body,
								 const unsigned char *digest, TimestampTz started_at)
{
	if (spinpanel_pool_take_units(customer_id, body, started_at))
	{
		spinpanel_mirror_read(account_id, customer_id, MIRROR_SUBSCRIBED_SKUS, started_at, digest);
		return true;
	}
	spinpanel_mirror_read_failed(account_id, customer_id, MIRROR_SUBSCRIBED_SKUS, false, "",
								 "the answer is no list of subscribed SKUs");
	return false;
}

/* ---- what operations did ------------------------------------------------------------------- */

/*
 * Those that renew first, then the shortest commitment: seats that come back
 * are to be there for long, and to bind for short.
 */
int
spinpanel_mirror_rooms(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
					   const pg_uuid_t *except, MirrorRoom **rooms)
{
	static StateQuery select = {
		"SELECT s.account_id, s.subscription_id, least(coalesce(f.maximum, 2147483647)::int8 - s.quantity, 1000000)::int"
		" FROM spinpanel.subscription s JOIN spinpanel.account a ON a.account_id = s.account_id"
		" LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		" WHERE s.customer_id = $1 AND s.sku_id = $2 AND s.subscription_id <> $3 AND s.gone_at IS NULL"
		" AND a.status <> 'disconnected' AND s.status = 'active' AND s.commerce IN ('nce', 'legacy')"
		" AND NOT (s.is_trial OR coalesce(f.is_trial, false)) AND s.quantity < coalesce(f.maximum, 2147483647)"
		" ORDER BY s.auto_renew AND NOT s.cancel_at_term DESC, s.term_end, s.created_at",
		"uuu", NULL
	};
	StateArg args[3];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_uuid(except);
	rows = spinpanel_state_run(&select, args, 0);
	*rooms = palloc(sizeof(MirrorRoom) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		(*rooms)[row].account_id = spinpanel_row_int(row, 1);
		spinpanel_row_uuid(row, 2, &(*rooms)[row].subscription_id);
		(*rooms)[row].room = spinpanel_row_int(row, 3);
	}
	return (int) rows;
}

void
spinpanel_mirror_removed(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, int32 active_left,
						 int32 owned_left)
{
	spinpanel_pool_expect(customer_id, sku_id, active_left, owned_left);
}

Jsonb *
spinpanel_mirror_resource(const pg_uuid_t *subscription_id)
{
	static StateQuery select = {
		"SELECT body FROM spinpanel.subscription_raw WHERE subscription_id = $1", "u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(subscription_id);
	return spinpanel_state_run(&select, args, 1) == 0
			   ? NULL
			   : spinpanel_row_jsonb(0, 1, CurrentMemoryContext);
}

void
spinpanel_mirror_recount_account(int32 account_id)
{
	static StateQuery select = {
		"SELECT DISTINCT customer_id FROM spinpanel.subscription WHERE account_id = $1", "i", NULL
	};
	StateArg args[1];
	uint64 rows;

	args[0] = spinpanel_arg_int(account_id);
	rows = spinpanel_state_run(&select, args, 0);
	recount(row_customers(rows), rows, spinpanel_now());
}
