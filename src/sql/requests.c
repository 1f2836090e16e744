/*
 * requests.c
 *
 * What callers do with licence requests: ask for an assignment or a release,
 * cancel, wait.  Owns the birth of a row of license_request, and its end where
 * nothing irrevocable was sent; all between is the worker's.  Sends nothing.
 *
 * Who waits for whom.  A caller holds the pool's demand lock shared from its
 * insert to the end of its transaction, so that a removal cannot overlook the
 * demand; callers do not wait for each other, except under max_seats.  Rows
 * that the worker may be changing are locked only if they are free at once.
 * The worker does likewise, hence before it marks an operation as sending it
 * must lock the requests that the operation serves: one that is locked may be
 * being cancelled.
 *
 * A request writes no history when it is made: the row itself tells who and
 * when.  It wakes the worker from here; a trigger would cost a tenth more.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/uuid.h"
#include "base/wake.h"
#include "sql/names.h"
#include "sql/request_check.h"
#include "sql/require.h"
#include "sql/wait.h"
#include "state/operation.h"
#include "state/request.h"
#include "state/statement.h"

#define OPEN "status IN ('queued', 'buying', 'provisioning', 'assigning')"

/*
 * Open ones of the pool ($1, $2), by whatever comes next; of license_request's
 * indexes only the one of that can serve it.
 */
#define OPEN_OF_USER \
	"r.finished_at IS NULL AND (r." OPEN ") IS TRUE AND (r.customer_id = $1) IS TRUE" \
	" AND (r.sku_id = $2) IS TRUE"

/* cancel_request() tries for so long while somebody has the row; a release, which
 * is not to wait for another caller, for not much longer than the worker takes */
#define CANCEL_PATIENCE_MS 1000
#define RELEASE_PATIENCE_MS 300
#define CANCEL_LOOK_MS 10

/* An error lists so many users of one upn. */
#define CANDIDATES_SHOWN 10

/* A user as asked for, and what is known of them. */
typedef struct User
{
	const char *text; /* as asked for */
	bool by_name; /* a upn, and no GUID */
	bool has_id;
	pg_uuid_t id;
	char *upn; /* NULL = not known */
	char *key; /* the same for two names of one user, as far as we know */
	bool held; /* has the licence, according to the mirror */
	int64 assign; /* newest open requests; 0 = none */
	int64 release;
	enum
	{
		USER_NEW,
		USER_UNDER_WAY,
		USER_AGAIN
	} what;
} User;

/* ---- arguments ---------------------------------------------------------------------------- */

/* Customer and SKU and what is known of them, with SPI connected from here on. */
static void
take_pool(FunctionCallInfo fcinfo, int sku_argument, Asking *asking)
{
	spinpanel_require_primary();
	spinpanel_require_worker();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	spinpanel_request_check_find(asking, spinpanel_name_argument(fcinfo, 0),
								 spinpanel_name_argument(fcinfo, sku_argument));
}

static void
take_user(User *user, char *text, const char *parameter)
{
	memset(user, 0, sizeof(*user));
	user->text = text;
	user->upn = spinpanel_name_user(text, parameter, &user->has_id, &user->id);
	user->by_name = !user->has_id;
}

/* ---- users -------------------------------------------------------------------------------- */

/*
 * The users of a source a (ord, user_id, upn): the mirror's row by either name
 * (more than one: ambiguous), and the newest open requests by either.  A upn
 * may have gone from one user to another.
 */
#define USERS_SQL(source) \
	"SELECT a.ord::int, coalesce(u.user_id, a.user_id), coalesce(a.upn, u.upn), d.assign, d.release," \
	" l.sku_id IS NOT NULL, coalesce(coalesce(u.user_id, a.user_id)::text, lower(a.upn))" \
	" FROM " source " LEFT JOIN LATERAL (SELECT k.user_id, k.upn FROM spinpanel.customer_user k" \
	"   WHERE k.customer_id = $1 AND k.user_id = a.user_id" \
	"  UNION ALL SELECT k.user_id, k.upn FROM spinpanel.customer_user k" \
	"   WHERE k.customer_id = $1 AND lower(k.upn) = lower(a.upn)) u ON true" \
	" LEFT JOIN spinpanel.user_license l ON l.customer_id = $1 AND l.sku_id = $2" \
	"  AND l.user_id = coalesce(u.user_id, a.user_id)" \
	" CROSS JOIN LATERAL (SELECT max(q.request_id) FILTER (WHERE q.kind = 'assign') AS assign," \
	"  max(q.request_id) FILTER (WHERE q.kind = 'release') AS release FROM (" \
	"   SELECT r.request_id, r.kind FROM spinpanel.license_request r WHERE " OPEN_OF_USER \
	"    AND r.user_id = coalesce(u.user_id, a.user_id)" \
	"   UNION ALL SELECT r.request_id, r.kind FROM spinpanel.license_request r WHERE " OPEN_OF_USER \
	"    AND lower(r.upn) = lower(coalesce(a.upn, u.upn))" \
	"    AND coalesce(r.user_id = coalesce(u.user_id, a.user_id), true)) q) d"

static StateArg
array_of(const Datum *values, const bool *nulls, int count, Oid type, int length, bool by_value,
		 char align)
{
	int lower = 1;

	return spinpanel_arg_datum(PointerGetDatum(construct_md_array(
		(Datum *) values, (bool *) nulls, 1, &count, &lower, type, length, by_value, align)));
}

static void
users_as_arrays(User *const *users, int count, StateArg *ids, StateArg *upns)
{
	Datum *values = palloc(sizeof(Datum) * count);
	bool *nulls = palloc(sizeof(bool) * count);
	int i;

	for (i = 0; i < count; i++)
	{
		nulls[i] = !users[i]->has_id;
		values[i] = UUIDPGetDatum(&users[i]->id);
	}
	*ids = array_of(values, nulls, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	for (i = 0; i < count; i++)
	{
		nulls[i] = users[i]->upn == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(users[i]->upn);
	}
	*upns = array_of(values, nulls, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static void
refuse_ambiguous(const User *user, int position, uint64 rows)
{
	StringInfoData list;
	uint64 row;
	int shown = 0;

	initStringInfo(&list);
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t id;

		if (spinpanel_row_int(row, 1) != position)
			continue;
		if (++shown > CANDIDATES_SHOWN)
		{
			appendStringInfoString(&list, "; and more");
			break;
		}
		spinpanel_row_uuid(row, 2, &id);
		appendStringInfo(&list, "%s%s", shown == 1 ? "" : "; ", spinpanel_uuid_text(&id));
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("user \"%s\" is ambiguous", user->text),
					errdetail("It may be: %s.", list.data), errhint("Give the GUID.")));
}

/* The newest open requests of a user, from rows (tag, user_id, upn, request_id, kind). */
static void
note_request(User *user, uint64 row)
{
	char *kind = spinpanel_row_text(row, 5, CurrentMemoryContext);
	int64 *newest = strcmp(kind, "assign") == 0 ? &user->assign : &user->release;

	*newest = Max(*newest, spinpanel_row_int64(row, 4));
}

/*
 * One user.  Says the same as USERS_SQL, in two statements that only look into
 * indexes: starting a plan with joins costs more than all else in here.  And
 * starting one more costs as much as what it does, so the pool's subscriptions
 * come along.
 */
static void
look_up_one(Asking *asking, User *user)
{
#define OWN_COLUMNS 5
	static StateQuery by_upn = {
		ASKING_SUBSCRIPTIONS(
			"3, NULL::uuid, NULL::text, NULL::bigint, NULL::text,") " UNION ALL SELECT 1, k.user_id, k.upn, NULL, NULL," ASKING_NOT_THIS
																	" FROM spinpanel.customer_user k WHERE k.customer_id = $1 AND lower(k.upn) = lower($3)"
																	" UNION ALL SELECT 2, r.user_id, r.upn, r.request_id, r.kind," ASKING_NOT_THIS
																	" FROM spinpanel.license_request r WHERE " OPEN_OF_USER
																	" AND lower(r.upn) = lower($3)",
		"uut", NULL
	};
	static StateQuery by_id = {
		"SELECT 1, NULL, k.upn, NULL, NULL FROM spinpanel.customer_user k"
		" WHERE k.customer_id = $1 AND k.user_id = $3 AND $4"
		" UNION ALL SELECT 2, r.user_id, r.upn, r.request_id, r.kind FROM spinpanel.license_request r"
		" WHERE " OPEN_OF_USER " AND r.user_id = $3"
		" UNION ALL SELECT 3, NULL, NULL, NULL, NULL FROM spinpanel.user_license l"
		" WHERE l.customer_id = $1 AND l.sku_id = $2 AND l.user_id = $3",
		"uuub", NULL
	};
	MemoryContext context = CurrentMemoryContext;
	bool by_guid = user->has_id;
	StateArg args[4];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(&asking->customer_id);
	args[1] = spinpanel_arg_uuid(&asking->sku_id);
	if (by_guid)
	{
		args[2] = spinpanel_arg_uuid(&user->id);
		args[3] = spinpanel_arg_bool(true);
		rows = spinpanel_state_run_generic(&by_id, args);
		for (row = 0; row < rows; row++)
			if (spinpanel_row_int(row, 1) == 1)
				user->upn = spinpanel_row_text(row, 3, context);
			else if (spinpanel_row_int(row, 1) == 2)
				note_request(user, row);
			else
				user->held = true;
		if (user->upn == NULL)
			return;
	}

	args[2] = spinpanel_arg_text(user->upn);
	rows = spinpanel_state_run_generic(&by_upn, args);
	spinpanel_request_check_take(asking, rows, OWN_COLUMNS);
	for (row = 0; row < rows && !by_guid; row++)
	{
		if (spinpanel_row_int(row, 1) != 1)
			continue;
		if (user->has_id)
			refuse_ambiguous(user, 1, rows);
		user->has_id = spinpanel_row_uuid(row, 2, &user->id);
	}
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t id;

		/* A upn may have gone from one user to another. */
		if (spinpanel_row_int(row, 1) == 2 && (!spinpanel_row_uuid(row, 2, &id) || !user->has_id ||
											   memcmp(&id, &user->id, UUID_LEN) == 0))
			note_request(user, row);
	}
	if (by_guid || !user->has_id)
		return;

	args[2] = spinpanel_arg_uuid(&user->id);
	args[3] = spinpanel_arg_bool(false);
	rows = spinpanel_state_run_generic(&by_id, args);
	for (row = 0; row < rows; row++)
		if (spinpanel_row_int(row, 1) == 2)
			note_request(user, row);
		else
			user->held = true;
}

/* What is known of many users, in one statement. */
static void
look_up_many(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, User *users, int count)
{
	static StateQuery select = {
		USERS_SQL("unnest($3, $4) WITH ORDINALITY AS a (user_id, upn, ord)") " ORDER BY a.ord, 2",
		"uuAuAt", NULL
	};
	MemoryContext context = CurrentMemoryContext;
	User **all = palloc(sizeof(User *) * count);
	StateArg args[4];
	uint64 rows;
	uint64 row;
	int previous = 0;
	int i;

	for (i = 0; i < count; i++)
		all[i] = &users[i];
	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	users_as_arrays(all, count, &args[2], &args[3]);
	rows = spinpanel_state_run_generic(&select, args);
	for (row = 0; row < rows; row++)
	{
		int position = spinpanel_row_int(row, 1);
		User *user = &users[position - 1];

		if (position == previous)
			refuse_ambiguous(user, position, rows);
		previous = position;
		user->has_id = spinpanel_row_uuid(row, 2, &user->id);
		user->upn = spinpanel_row_text(row, 3, context);
		user->assign = spinpanel_row_int64(row, 4);
		user->release = spinpanel_row_int64(row, 5);
		user->held = spinpanel_row_bool(row, 6);
		user->key = spinpanel_row_text(row, 7, context);
	}
}

/* Asked for with another reference of the caller's: a request of its own, which
 * follows the other one unless that is cancelled. */
static bool
has_reference(int64 request_id, const char *reference)
{
	static StateQuery select = { "SELECT reference IS NOT DISTINCT FROM $2 FROM"
								 " spinpanel.license_request WHERE request_id = $1",
								 "It", NULL };
	StateArg args[2];

	if (reference == NULL)
		return true;
	args[0] = spinpanel_arg_int64(request_id);
	args[1] = spinpanel_arg_text(reference);
	return spinpanel_state_run_generic(&select, args) == 0 || spinpanel_row_bool(0, 1);
}

/* An assignment asked for before a release is not what is wanted now. */
static bool
assign_under_way(const User *user, const char *reference)
{
	return user->assign > user->release && has_reference(user->assign, reference);
}

/* Held, and about to be released: then a seat is needed again.  One that follows
 * another needs none of its own. */
static bool
reserves(const User *user)
{
	return (!user->held || user->release != 0) && user->assign <= user->release;
}

/* ---- rows --------------------------------------------------------------------------------- */

/* The whole row in column 1 of the only row. */
static Datum
answer(void)
{
	bool isnull;
	Datum row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

	return SPI_datumTransfer(row, false, -1);
}

static Datum
request(int64 request_id)
{
	static StateQuery select = {
		"SELECT q FROM spinpanel.license_request q WHERE q.request_id = $1", "I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(request_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("license request " INT64_FORMAT " does not exist", request_id)));
	return answer();
}

/* In the pool's demand lock; the worker learns of it when this commits. */
static Datum
insert_one(const char *kind, const Asking *asking, const User *user, bool waiting,
		   const char *reference)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.license_request AS q (kind, account_id, customer_id, user_id, upn, sku_id,"
		" reference, waiting, created_at, by_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING q",
		"tiuututbTb", NULL
	};
	StateArg args[10];

	spinpanel_operation_share_pool(&asking->customer_id, &asking->sku_id);
	args[0] = spinpanel_arg_text(kind);
	args[1] = spinpanel_arg_int(asking->account_id);
	args[2] = spinpanel_arg_uuid(&asking->customer_id);
	args[3] = user->has_id ? spinpanel_arg_uuid(&user->id) : spinpanel_arg_null();
	args[4] = spinpanel_arg_text(user->upn);
	args[5] = spinpanel_arg_uuid(&asking->sku_id);
	args[6] = spinpanel_arg_text(reference);
	args[7] = spinpanel_arg_bool(waiting);
	args[8] = spinpanel_arg_time(spinpanel_now());
	args[9] = spinpanel_arg_bool(user->by_name);
	(void) spinpanel_state_run_generic(&insert, args);
	spinpanel_wake_at_commit();
	return answer();
}

/* ---- cancelling --------------------------------------------------------------------------- */

/*
 * The worker has a row for a moment only; another caller may have it for long.
 * False: after so many milliseconds somebody still has it.
 */
static bool
cancel(int64 request_id, const char *reason, int patience_ms)
{
	static uint32 wait_event = 0;
	TimestampTz until = GetCurrentTimestamp() + patience_ms * INT64CONST(1000);

	if (wait_event == 0)
		wait_event = SpinpanelWaitEvent("SpinpanelCaller");
	for (;;)
	{
		switch (spinpanel_request_cancel(request_id, reason))
		{
			case CANCEL_DONE:
				spinpanel_wake_at_commit();
				return true;
			case CANCEL_NOT:
				return true;
			case CANCEL_BUSY:
				break;
		}
		(void) request(request_id);
		if (GetCurrentTimestamp() >= until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, CANCEL_LOOK_MS,
						 wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * A release takes back assignments of the user for which nothing irrevocable was
 * sent.  One that somebody else has at this moment comes first, then the release.
 */
static void
cancel_assignments(const Asking *asking, const User *user)
{
	static StateQuery select = {
		"SELECT r.request_id FROM spinpanel.license_request r WHERE " OPEN_OF_USER
		" AND r.kind = 'assign' AND r.user_id = $3"
		" UNION SELECT r.request_id FROM spinpanel.license_request r WHERE " OPEN_OF_USER
		" AND r.kind = 'assign' AND lower(r.upn) = lower($4)"
		" AND coalesce(r.user_id = $3, true) ORDER BY 1",
		"uuut", NULL
	};
	StateArg args[4];
	int64 *ids;
	uint64 rows;
	uint64 row;

	if (user->assign == 0)
		return;
	args[0] = spinpanel_arg_uuid(&asking->customer_id);
	args[1] = spinpanel_arg_uuid(&asking->sku_id);
	args[2] = user->has_id ? spinpanel_arg_uuid(&user->id) : spinpanel_arg_null();
	args[3] = spinpanel_arg_text(user->upn);
	rows = spinpanel_state_run_generic(&select, args);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	for (row = 0; row < rows; row++)
		(void) cancel(ids[row], "the licence is to be released", RELEASE_PATIENCE_MS);
}

/* ---- entry points ------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(spinpanel_assign_license);
PG_FUNCTION_INFO_V1(spinpanel_assign_licenses);
PG_FUNCTION_INFO_V1(spinpanel_release_license);
PG_FUNCTION_INFO_V1(spinpanel_cancel_request);
PG_FUNCTION_INFO_V1(spinpanel_retry_request);
PG_FUNCTION_INFO_V1(spinpanel_wait_for_request);

/* spinpanel.assign_license(customer text, upn text, sku text, reference text) license_request */
Datum
spinpanel_assign_license(PG_FUNCTION_ARGS)
{
	Asking asking;
	User user;
	Datum row;

	take_pool(fcinfo, 2, &asking);
	take_user(&user, spinpanel_name_argument(fcinfo, 1), "upn");
	look_up_one(&asking, &user);
	if (assign_under_way(&user, spinpanel_name_argument(fcinfo, 3)))
		row = request(user.assign);
	else
	{
		spinpanel_request_check_load(&asking);
		spinpanel_request_check_require_account(&asking);
		spinpanel_request_check_require_seats(&asking, reserves(&user) ? 1 : 0);
		row = insert_one("assign", &asking, &user, reserves(&user),
						 spinpanel_name_argument(fcinfo, 3));
	}
	SPI_finish();
	return row;
}

/* spinpanel.release_license(customer text, upn text, sku text, reference text) license_request */
Datum
spinpanel_release_license(PG_FUNCTION_ARGS)
{
	Asking asking;
	User user;
	Datum row;

	take_pool(fcinfo, 2, &asking);
	take_user(&user, spinpanel_name_argument(fcinfo, 1), "upn");
	look_up_one(&asking, &user);
	if (user.release > user.assign &&
		has_reference(user.release, spinpanel_name_argument(fcinfo, 3)))
		row = request(user.release);
	else
	{
		spinpanel_request_check_load(&asking);
		spinpanel_request_check_require_account(&asking);
		cancel_assignments(&asking, &user);
		row = insert_one("release", &asking, &user, false, spinpanel_name_argument(fcinfo, 3));
	}
	SPI_finish();
	return row;
}

/* New ones of many users in one statement; their rows in column 1, in order. */
static void
insert_many(const Asking *asking, User *const *users, int count, const char *reference)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.license_request AS q (kind, account_id, customer_id, user_id, upn, sku_id,"
		" reference, waiting, created_at, by_name)"
		" SELECT 'assign', $1, $2, a.user_id, a.upn, $3, $4, a.waiting, $5, a.by_name"
		" FROM unnest($6, $7, $8, $9) WITH ORDINALITY AS a (user_id, upn, waiting, by_name, ord) ORDER BY a.ord RETURNING q",
		"iuutTAuAtAbAb", NULL
	};
	Datum *waiting = palloc(sizeof(Datum) * count);
	Datum *by_name = palloc(sizeof(Datum) * count);
	StateArg args[9];
	int i;

	spinpanel_operation_share_pool(&asking->customer_id, &asking->sku_id);
	for (i = 0; i < count; i++)
	{
		waiting[i] = BoolGetDatum(reserves(users[i]));
		by_name[i] = BoolGetDatum(users[i]->by_name);
	}
	args[0] = spinpanel_arg_int(asking->account_id);
	args[1] = spinpanel_arg_uuid(&asking->customer_id);
	args[2] = spinpanel_arg_uuid(&asking->sku_id);
	args[3] = spinpanel_arg_text(reference);
	args[4] = spinpanel_arg_time(spinpanel_now());
	users_as_arrays(users, count, &args[5], &args[6]);
	args[7] = array_of(waiting, NULL, count, BOOLOID, 1, true, TYPALIGN_CHAR);
	args[8] = array_of(by_name, NULL, count, BOOLOID, 1, true, TYPALIGN_CHAR);
	(void) spinpanel_state_run_generic(&insert, args);
	spinpanel_wake_at_commit();
}

/* Two names of one user count once; *fresh: those that get a request. */
static int
sort_out(User *users, int count, const char *reference, User **fresh, int *seats)
{
	HASHCTL control;
	HTAB *seen;
	int n = 0;
	int i;

	typedef struct Seen
	{
		char key[NAME_USER_LENGTH * 2];
		int index;
	} Seen;

	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(((Seen *) 0)->key);
	control.entrysize = sizeof(Seen);
	control.hcxt = CurrentMemoryContext;
	seen = hash_create("spinpanel users", count, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	*seats = 0;
	for (i = 0; i < count; i++)
	{
		User *user = &users[i];
		bool found;
		Seen *entry = hash_search(seen, user->key, HASH_ENTER, &found);

		if (found)
		{
			user->what = USER_AGAIN;
			continue;
		}
		entry->index = i;
		if (assign_under_way(user, reference))
			user->what = USER_UNDER_WAY;
		else
		{
			user->what = USER_NEW;
			fresh[n++] = user;
			*seats += reserves(user) ? 1 : 0;
		}
	}
	hash_destroy(seen);
	return n;
}

static void
put_row(ReturnSetInfo *rsinfo, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	tuplestore_puttuple(rsinfo->setResult, &tuple);
}

/* spinpanel.assign_licenses(customer text, upns text[], sku text, reference text) setof license_request */
Datum
spinpanel_assign_licenses(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SPITupleTable *inserted = NULL;
	Asking asking;
	Datum *texts;
	bool *nulls;
	User *users;
	User **fresh;
	int count;
	int fresh_count;
	int seats;
	uint64 next = 0;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	spinpanel_require_primary();
	spinpanel_require_value(!PG_ARGISNULL(1), "upns");
	take_pool(fcinfo, 2, &asking);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls,
					  &count);
	users = palloc(sizeof(User) * (count + 1));
	fresh = palloc(sizeof(User *) * (count + 1));
	for (i = 0; i < count; i++)
	{
		spinpanel_require_value(!nulls[i], "upns");
		take_user(&users[i], TextDatumGetCString(texts[i]), "upns");
	}
	if (count > 0)
	{
		look_up_many(&asking.customer_id, &asking.sku_id, users, count);
		fresh_count = sort_out(users, count, spinpanel_name_argument(fcinfo, 3), fresh, &seats);
		if (fresh_count > 0)
		{
			spinpanel_request_check_load(&asking);
			spinpanel_request_check_require_account(&asking);
			spinpanel_request_check_require_seats(&asking, seats);
			insert_many(&asking, fresh, fresh_count, spinpanel_name_argument(fcinfo, 3));
			inserted = SPI_tuptable;
		}
	}
	for (i = 0; i < count; i++)
	{
		bool isnull;

		if (users[i].what == USER_NEW)
		{
			put_row(rsinfo, SPI_getbinval(inserted->vals[next], inserted->tupdesc, 1, &isnull));
			next++;
		}
		else if (users[i].what == USER_UNDER_WAY)
			put_row(rsinfo, request(users[i].assign));
	}
	SPI_finish();
	return (Datum) 0;
}

/* spinpanel.cancel_request(request_id bigint) license_request */
Datum
spinpanel_cancel_request(PG_FUNCTION_ARGS)
{
	int64 request_id;
	Datum row;

	spinpanel_require_primary();
	spinpanel_require_value(!PG_ARGISNULL(0), "request_id");
	request_id = PG_GETARG_INT64(0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	(void) request(request_id);
	if (!cancel(request_id, "cancelled by the caller", CANCEL_PATIENCE_MS))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("license request " INT64_FORMAT " is being changed by another session",
						request_id),
				 errhint("Try again.")));
	row = request(request_id);
	SPI_finish();
	return row;
}

/* spinpanel.retry_request(request_id bigint) license_request */
Datum
spinpanel_retry_request(PG_FUNCTION_ARGS)
{
	static StateQuery select = {
		"SELECT customer_id, sku_id, status FROM spinpanel.license_request WHERE request_id = $1",
		"I", NULL
	};
	StateArg args[1];
	int64 request_id;
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	char *status;
	Datum row;

	spinpanel_require_primary();
	spinpanel_require_value(!PG_ARGISNULL(0), "request_id");
	spinpanel_require_worker();
	request_id = PG_GETARG_INT64(0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	(void) request(request_id);
	args[0] = spinpanel_arg_int64(request_id);
	(void) spinpanel_state_run(&select, args, 1);
	spinpanel_row_uuid(0, 1, &customer_id);
	spinpanel_row_uuid(0, 2, &sku_id);
	status = spinpanel_row_text(0, 3, CurrentMemoryContext);
	if (strcmp(status, "failed") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("license request " INT64_FORMAT " is \"%s\"", request_id, status),
						errdetail("Only a failed request can be tried again."),
						strcmp(status, "done") == 0 || strcmp(status, "cancelled") == 0
							? errhint("Ask anew with spinpanel.assign_license() or "
									  "spinpanel.release_license().")
							: errhint("It is under way.")));
	/* A removal must not overlook it. */
	spinpanel_operation_share_pool(&customer_id, &sku_id);
	if (!spinpanel_request_retry(request_id))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("license request " INT64_FORMAT " is being changed by another session",
						request_id),
				 errhint("Try again.")));
	spinpanel_wake_at_commit();
	row = request(request_id);
	SPI_finish();
	return row;
}

/* spinpanel.wait_for_request(request_id bigint, timeout interval) license_request */
Datum
spinpanel_wait_for_request(PG_FUNCTION_ARGS)
{
	static StateQuery select = {
		"SELECT q, q.status IN ('done', 'failed', 'cancelled'), q.xmin, q.xmax"
		" FROM spinpanel.license_request q WHERE q.request_id = $1",
		"I", NULL
	};
	/* After the retention: as it was when it went. */
	static StateQuery archived = {
		"SELECT jsonb_populate_record(NULL::spinpanel.license_request, h.after), true, NULL::xid, NULL::xid"
		" FROM spinpanel.history h WHERE h.request_id = $1 AND h.event = 'request archived'"
		" ORDER BY h.history_id DESC LIMIT 1",
		"I", NULL
	};
	static const Awaited awaited = { &select, "license request", &archived };

	PG_RETURN_DATUM(spinpanel_await(fcinfo, &awaited, "request_id"));
}
