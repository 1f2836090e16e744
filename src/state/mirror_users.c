/*
 * mirror_users.c
 *
 * Tables customer_user and user_license: who is there, and who holds what, as
 * far as it was read.  Like mirror.c, whose words it uses.
 *
 * Contract: "User resources" and "License resources" of the Partner Center
 * documentation.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/json.h"
#include "state/mirror.h"
#include "state/mirror_internal.h"
#include "state/pool.h"
#include "state/statement.h"

typedef struct UsersPage
{
	const pg_uuid_t *customer_id;
	const pg_uuid_t *user_id; /* whose licences */
	TimestampTz started_at;
	bool whole;
	bool inactive; /* of one user: deleted */
} UsersPage;

static void
take_user(JsonbContainer *item, int length, void *arg)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.customer_user AS u (customer_id, user_id, upn, display_name, usage_location, listed_at, changed_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (customer_id, user_id) DO UPDATE SET upn = excluded.upn,"
		" display_name = excluded.display_name, usage_location = excluded.usage_location, listed_at = excluded.listed_at,"
		" changed_at = CASE WHEN (u.upn, u.display_name, u.usage_location) IS DISTINCT FROM"
		" (excluded.upn, excluded.display_name, excluded.usage_location) THEN excluded.changed_at ELSE u.changed_at END",
		"uutttT", NULL
	};
	UsersPage *page = arg;
	StateArg args[6];
	pg_uuid_t id;
	char *upn;
	char *state;

	/* Deleted, and listed for a while all the same. */
	if (item != NULL && (state = spinpanel_json_text(item, "state")) != NULL &&
		pg_strcasecmp(state, "inactive") == 0)
	{
		page->inactive = true;
		return;
	}
	if (item == NULL || !spinpanel_json_uuid(item, "id", &id) ||
		(upn = spinpanel_mirror_text(item, "userPrincipalName", 320)) == NULL)
	{
		page->whole = false;
		return;
	}
	args[0] = spinpanel_arg_uuid(page->customer_id);
	args[1] = spinpanel_arg_uuid(&id);
	args[2] = spinpanel_arg_text(upn);
	args[3] = spinpanel_arg_text(spinpanel_mirror_text(item, "displayName", 256));
	args[4] = spinpanel_arg_text(spinpanel_mirror_text(item, "usageLocation", 8));
	args[5] = spinpanel_arg_time(page->started_at);
	spinpanel_state_run(&upsert, args, 0);
}

bool
spinpanel_mirror_users_page(int32 account_id, const pg_uuid_t *customer_id,
							JsonbContainer *collection, TimestampTz started_at, int64 *received)
{
	UsersPage page;

	memset(&page, 0, sizeof(page));
	page.customer_id = customer_id;
	page.started_at = started_at;
	page.whole = true;
	return spinpanel_mirror_each(collection, take_user, &page, received) && page.whole;
}

bool
spinpanel_mirror_user(const pg_uuid_t *customer_id, Jsonb *body, TimestampTz started_at)
{
	UsersPage page;

	memset(&page, 0, sizeof(page));
	page.customer_id = customer_id;
	page.started_at = started_at;
	page.whole = true;
	take_user(&body->root, 0, &page);
	return page.whole && !page.inactive;
}

void
spinpanel_mirror_user_gone(const pg_uuid_t *customer_id, const pg_uuid_t *user_id)
{
	static StateQuery gone = {
		"DELETE FROM spinpanel.customer_user WHERE customer_id = $1 AND user_id = $2", "uu", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(user_id);
	spinpanel_state_run(&gone, args, 0);
}

void
spinpanel_mirror_users_complete(int32 account_id, const pg_uuid_t *customer_id,
								TimestampTz started_at)
{
	static StateQuery gone = {
		"DELETE FROM spinpanel.customer_user WHERE customer_id = $1 AND listed_at < $2", "uT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(started_at);
	spinpanel_state_run(&gone, args, 0);
	spinpanel_mirror_read(account_id, customer_id, MIRROR_USERS, started_at, NULL);
}

void
spinpanel_mirror_user_known(const pg_uuid_t *customer_id, const pg_uuid_t *user_id,
							MirrorUser *user, MemoryContext context)
{
	static StateQuery select = {
		"SELECT u.usage_location, u.licenses_read_at, array(SELECT l.sku_id FROM spinpanel.user_license l"
		"  WHERE l.customer_id = u.customer_id AND l.user_id = u.user_id)"
		" FROM spinpanel.customer_user u WHERE u.customer_id = $1 AND u.user_id = $2",
		"uu", NULL
	};
	StateArg args[2];
	ArrayType *held;
	bool isnull;

	memset(user, 0, sizeof(*user));
	user->licenses_read_at = DT_NOBEGIN;
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(user_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return;
	user->known = true;
	user->usage_location = spinpanel_row_text(0, 1, context);
	user->licenses_read_at = spinpanel_row_time(0, 2, DT_NOBEGIN);
	held =
		DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	user->held_count = ArrayGetNItems(ARR_NDIM(held), ARR_DIMS(held));
	user->held = MemoryContextAlloc(context, sizeof(pg_uuid_t) * (user->held_count + 1));
	memcpy(user->held, ARR_DATA_PTR(held), sizeof(pg_uuid_t) * user->held_count);
}

bool
spinpanel_mirror_user_named(const pg_uuid_t *customer_id, const char *upn, TimestampTz since,
							pg_uuid_t *user_id)
{
	static StateQuery select = {
		"SELECT user_id FROM spinpanel.customer_user WHERE customer_id = $1"
		" AND lower(upn) = lower($2) AND listed_at >= $3",
		"utT", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_text(upn);
	args[2] = spinpanel_arg_time(since);
	return spinpanel_state_run(&select, args, 0) == 1 && spinpanel_row_uuid(0, 1, user_id);
}

int
spinpanel_mirror_users_count(const pg_uuid_t *customer_id)
{
	static StateQuery select = {
		"SELECT count(*)::int FROM spinpanel.customer_user WHERE customer_id = $1", "u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(customer_id);
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_int(0, 1);
}

int
spinpanel_mirror_name_taken(const pg_uuid_t *customer_id, const char *upn, const pg_uuid_t *user_id,
							pg_uuid_t **others)
{
	static StateQuery update = {
		"UPDATE spinpanel.customer_user SET upn = user_id::text, licenses_read_at = NULL"
		" WHERE customer_id = $1 AND lower(upn) = lower($2) AND user_id IS DISTINCT FROM $3 RETURNING user_id",
		"utu", NULL
	};
	StateArg args[3];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_text(upn);
	args[2] = spinpanel_arg_uuid(user_id);
	rows = spinpanel_state_run(&update, args, 0);
	*others = palloc(sizeof(pg_uuid_t) * (rows + 1));
	for (row = 0; row < rows; row++)
		spinpanel_row_uuid(row, 1, &(*others)[row]);
	return (int) rows;
}

int
spinpanel_mirror_users_list(const pg_uuid_t *customer_id, pg_uuid_t **users, MemoryContext context)
{
	static StateQuery select = {
		"SELECT user_id FROM spinpanel.customer_user WHERE customer_id = $1 ORDER BY user_id", "u",
		NULL
	};
	StateArg args[1];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(customer_id);
	rows = spinpanel_state_run(&select, args, 0);
	*users = MemoryContextAlloc(context, sizeof(pg_uuid_t) * (rows + 1));
	for (row = 0; row < rows; row++)
		spinpanel_row_uuid(row, 1, &(*users)[row]);
	return (int) rows;
}

static void
take_license(JsonbContainer *item, int length, void *arg)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.user_license (customer_id, user_id, sku_id) SELECT $1, $2, $3"
		" WHERE EXISTS (SELECT FROM spinpanel.customer_user WHERE customer_id = $1 AND user_id = $2)"
		" ON CONFLICT DO NOTHING",
		"uuu", NULL
	};
	UsersPage *page = arg;
	StateArg args[3];
	pg_uuid_t sku;

	if (item == NULL || !spinpanel_json_uuid(item, "productSku.id", &sku))
	{
		page->whole = false;
		return;
	}
	args[0] = spinpanel_arg_uuid(page->customer_id);
	args[1] = spinpanel_arg_uuid(page->user_id);
	args[2] = spinpanel_arg_uuid(&sku);
	spinpanel_state_run(&insert, args, 0);
}

typedef struct SkuSet
{
	Datum *ids;
	int count;
	int size;
} SkuSet;

static void
collect_sku(JsonbContainer *item, int length, void *arg)
{
	SkuSet *set = arg;
	pg_uuid_t *sku = palloc(sizeof(pg_uuid_t));

	if (item == NULL || !spinpanel_json_uuid(item, "productSku.id", sku))
		return;
	if (set->count == set->size)
	{
		set->size *= 2;
		set->ids = repalloc(set->ids, sizeof(Datum) * set->size);
	}
	set->ids[set->count++] = UUIDPGetDatum(sku);
}

bool
spinpanel_mirror_user_licenses(const pg_uuid_t *customer_id, const pg_uuid_t *user_id, Jsonb *body,
							   TimestampTz started_at)
{
	static StateQuery remove = {
		"DELETE FROM spinpanel.user_license WHERE customer_id = $1 AND user_id = $2 AND NOT sku_id = ANY ($3)",
		"uuAu", NULL
	};
	static StateQuery mark = {
		"UPDATE spinpanel.customer_user SET licenses_read_at = $3 WHERE customer_id = $1 AND user_id = $2",
		"uuT", NULL
	};
	UsersPage page;
	SkuSet set;
	StateArg args[3];
	int64 received = 0;

	memset(&page, 0, sizeof(page));
	page.customer_id = customer_id;
	page.user_id = user_id;
	page.whole = true;
	if (!spinpanel_mirror_each(&body->root, take_license, &page, &received) || !page.whole ||
		!spinpanel_mirror_all_there(&body->root, received, true))
		return false; /* proves nothing about what is missing */

	set.size = 16;
	set.count = 0;
	set.ids = palloc(sizeof(Datum) * set.size);
	(void) spinpanel_mirror_each(&body->root, collect_sku, &set, NULL);
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(user_id);
	args[2] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(set.ids, set.count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	spinpanel_state_run(&remove, args, 0);
	args[2] = spinpanel_arg_time(started_at);
	spinpanel_state_run(&mark, args, 0);
	return true;
}

void
spinpanel_mirror_licenses_complete(int32 account_id, const pg_uuid_t *customer_id,
								   TimestampTz started_at)
{
	spinpanel_pool_count_holders(customer_id, started_at);
	spinpanel_mirror_read(account_id, customer_id, MIRROR_LICENSES, started_at, NULL);
}
