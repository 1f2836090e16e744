/*
 * operation.c
 *
 * The table operation.  It owns the states and what is written at each
 * transition; it decides nothing about seats and knows no network.
 *
 * No statement here waits for a caller: callers never lock a row that is
 * being sent, and rows of callers (paused, approved) are only read.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "state/history.h"
#include "state/operation.h"
#include "state/statement.h"

/* Locks on a pool: of its demand, of its max_seats */
#define DEMAND_SEED UINT64CONST(0x7370696e)
#define LIMIT_SEED UINT64CONST(0x6d617873)

#define OPERATION_COLUMNS \
	"o.operation_id, o.kind, o.purpose, o.status, o.account_id, o.customer_id, o.sku_id," \
	" o.subscription_id, o.run_id, o.adjustment_id, o.request_id, o.after_operation," \
	" o.wait_active, o.wanted, o.base, o.body, o.ms_request_id, o.correlation_id, o.sent_at," \
	" o.attempts, o.http_status, o.seats, o.created_at," \
	" (SELECT array_agg(x.account_id) FROM spinpanel.customer_account x" \
	"  JOIN spinpanel.account y ON y.account_id = x.account_id" \
	"  WHERE x.customer_id = o.customer_id AND x.account_id <> o.account_id" \
	"  AND x.gone_at IS NULL AND y.status <> 'disconnected')," \
	" o.error_code, o.troubled_at, o.error"

/* How many there are; so many of them as there is room for. */
static int
other_accounts(uint64 row, int column, int32 *accounts)
{
	bool isnull;
	Datum datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	ArrayType *array;
	int n;

	if (isnull)
		return 0;
	array = DatumGetArrayTypeP(datum);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	memcpy(accounts, ARR_DATA_PTR(array), sizeof(int32) * Min(n, OUTBOX_OTHERS));
	return n;
}

static Operation *
operation_from_row(uint64 row, MemoryContext context)
{
	Operation *op = MemoryContextAllocZero(context, sizeof(Operation));

	op->operation_id = spinpanel_row_int64(row, 1);
	op->kind = spinpanel_row_text(row, 2, context);
	op->purpose = spinpanel_row_text(row, 3, context);
	op->status = spinpanel_row_text(row, 4, context);
	op->account_id = spinpanel_row_int(row, 5);
	spinpanel_row_uuid(row, 6, &op->customer_id);
	op->has_sku = spinpanel_row_uuid(row, 7, &op->sku_id);
	op->has_subscription = spinpanel_row_uuid(row, 8, &op->subscription_id);
	op->run_id = spinpanel_row_int64(row, 9);
	op->adjustment_id = spinpanel_row_int64(row, 10);
	op->request_id = spinpanel_row_int64(row, 11);
	op->after_operation = spinpanel_row_int64(row, 12);
	op->wait_active = spinpanel_row_int(row, 13);
	op->wanted = spinpanel_row_jsonb(row, 14, context);
	op->base = spinpanel_row_jsonb(row, 15, context);
	op->body = spinpanel_row_jsonb(row, 16, context);
	spinpanel_row_uuid(row, 17, &op->ms_request_id);
	spinpanel_row_uuid(row, 18, &op->correlation_id);
	op->sent_at = spinpanel_row_time(row, 19, 0);
	op->attempts = spinpanel_row_int(row, 20);
	op->http_status = spinpanel_row_int(row, 21);
	op->seats = spinpanel_row_int(row, 22);
	op->created_at = spinpanel_row_time(row, 23, 0);
	op->verify = strcmp(op->status, "done") == 0;
	op->other_count = other_accounts(row, 24, op->other_accounts);
	op->error_code = spinpanel_row_text(row, 25, context);
	op->troubled_at = spinpanel_row_time(row, 26, 0);
	op->error = spinpanel_row_text(row, 27, context);
	return op;
}

static Jsonb *
copy_jsonb(const Jsonb *jsonb)
{
	return jsonb == NULL ? NULL : memcpy(palloc(VARSIZE(jsonb)), jsonb, VARSIZE(jsonb));
}

Operation *
spinpanel_operation_copy(const Operation *operation, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Operation *copy = palloc(sizeof(Operation));

	*copy = *operation;
	copy->kind = pstrdup(operation->kind);
	copy->purpose = pstrdup(operation->purpose);
	copy->status = pstrdup(operation->status);
	copy->error_code = operation->error_code ? pstrdup(operation->error_code) : NULL;
	copy->error = operation->error ? pstrdup(operation->error) : NULL;
	copy->wanted = copy_jsonb(operation->wanted);
	copy->base = copy_jsonb(operation->base);
	copy->body = copy_jsonb(operation->body);
	MemoryContextSwitchTo(old);
	return copy;
}

static StateArg
id_arg(int64 id)
{
	return id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(id);
}

static void
record(const Operation *op, const char *event, const Jsonb *before, const Jsonb *after,
	   const Jsonb *answer, const char *reason)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = op->account_id;
	entry.customer_id = &op->customer_id;
	entry.sku_id = op->has_sku ? &op->sku_id : NULL;
	entry.subscription_id = op->has_subscription ? &op->subscription_id : NULL;
	entry.run_id = op->run_id;
	entry.adjustment_id = op->adjustment_id;
	entry.operation_id = op->operation_id;
	entry.request_id = op->request_id;
	entry.ms_request_id = op->sent_at != 0 ? &op->ms_request_id : NULL;
	entry.before = before;
	entry.after = after;
	entry.answer = answer;
	entry.reason = reason;
	spinpanel_history_add(&entry);
}

int64
spinpanel_operation_add(const Operation *operation)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.operation (kind, purpose, account_id, customer_id, sku_id,"
		" subscription_id, run_id, adjustment_id, request_id, after_operation, wait_active,"
		" wanted, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING operation_id",
		"ttiuuuIIIIijT", NULL
	};
	Operation op = *operation;
	StateArg args[13];

	args[0] = spinpanel_arg_text(op.kind);
	args[1] = spinpanel_arg_text(op.purpose);
	args[2] = spinpanel_arg_int(op.account_id);
	args[3] = spinpanel_arg_uuid(&op.customer_id);
	args[4] = spinpanel_arg_uuid(op.has_sku ? &op.sku_id : NULL);
	args[5] = spinpanel_arg_uuid(op.has_subscription ? &op.subscription_id : NULL);
	args[6] = id_arg(op.run_id);
	args[7] = id_arg(op.adjustment_id);
	args[8] = id_arg(op.request_id);
	args[9] = id_arg(op.after_operation);
	args[10] = op.wait_active == 0 ? spinpanel_arg_null() : spinpanel_arg_int(op.wait_active);
	args[11] = spinpanel_arg_jsonb(op.wanted);
	args[12] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&insert, args, 0);
	op.operation_id = spinpanel_row_int64(0, 1);
	op.sent_at = 0;
	record(&op, "operation queued", NULL, op.wanted, NULL,
		   psprintf("%s to %s", op.kind, op.purpose));
	return op.operation_id;
}

#define DUE_WHERE \
	" FROM spinpanel.operation o" \
	" LEFT JOIN spinpanel.operation p ON p.operation_id = o.after_operation" \
	" LEFT JOIN spinpanel.relationship r ON r.customer_id = o.customer_id" \
	" WHERE o.status IN ('queued', 'sending', 'unknown') AND o.not_before <= $1 AND o.account_id = ANY ($3)" \
	" AND o.customer_id <> ALL ($4)" \
	" AND (o.status <> 'queued' OR o.after_operation IS NULL OR p.status = 'done' OR p.operation_id IS NULL)" \
	" AND (r.paused_at IS NULL OR o.status <> 'queued' OR o.purpose IN ('restore', 'buy_back'))"
#define DUE_ORDER " ORDER BY (o.purpose IN ('restore', 'buy_back')) DESC, o.operation_id LIMIT $2"

/* One that a caller is changing (disconnect_account()) is none that is due. */
#define DUE_LOCK " FOR NO KEY UPDATE OF o SKIP LOCKED"

int
spinpanel_operation_due(OutboxClass class, const int32 *accounts, int account_count,
						const pg_uuid_t *busy, int busy_count, int limit, Operation ***operations,
						MemoryContext context)
{
	static StateQuery subscriptions = {
		"(SELECT " OPERATION_COLUMNS DUE_WHERE
		" AND o.kind NOT IN ('assign', 'unassign', 'set_usage_location', 'create_cart', 'checkout')" DUE_ORDER
		")"
		" UNION ALL"
		" (SELECT " OPERATION_COLUMNS
		" FROM spinpanel.operation o WHERE o.status = 'done' AND o.verify_at <= $1 AND o.account_id = ANY ($3)"
		" AND o.customer_id <> ALL ($4) ORDER BY o.verify_at LIMIT $2)",
		"TiAiAu", NULL
	};
	static StateQuery users = {
		"SELECT " OPERATION_COLUMNS DUE_WHERE
		" AND o.kind IN ('assign', 'unassign', 'set_usage_location')"
		" AND (o.status <> 'queued' OR NOT EXISTS (SELECT FROM spinpanel.operation b"
		"  WHERE b.customer_id = o.customer_id AND (b.wanted ->> 'userId') = (o.wanted ->> 'userId')"
		"  AND b.operation_id <> o.operation_id AND (b.status IN ('sending', 'unknown')"
		/* + 0: by the user's index, not by the primary key. */
		"   OR b.status = 'queued' AND b.operation_id + 0 < o.operation_id)))"
		/* In the order of an index, so that it ends with the limit: none of them restores anything. */
		" ORDER BY o.operation_id LIMIT $2" DUE_LOCK,
		"TiAiAu", NULL
	};
	static StateQuery orders = { "SELECT " OPERATION_COLUMNS DUE_WHERE
								 " AND o.kind IN ('create_cart', 'checkout')" DUE_ORDER DUE_LOCK,
								 "TiAiAu", NULL };
	StateArg args[4];
	Datum *elements = palloc(sizeof(Datum) * (Max(account_count, busy_count) + 1));
	uint64 rows;
	uint64 row;
	int i;

	for (i = 0; i < account_count; i++)
		elements[i] = Int32GetDatum(accounts[i]);
	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_int(limit);
	args[2] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(elements, account_count, INT4OID, 4, true, TYPALIGN_INT)));
	for (i = 0; i < busy_count; i++)
		elements[i] = UUIDPGetDatum(&busy[i]);
	args[3] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, busy_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	rows = spinpanel_state_run(class == OUTBOX_USERS    ? &users
							   : class == OUTBOX_ORDERS ? &orders
														: &subscriptions,
							   args, 0);
	*operations = MemoryContextAlloc(context, sizeof(Operation *) * (rows + 1));
	for (row = 0; row < rows; row++)
		(*operations)[row] = operation_from_row(row, context);
	return (int) rows;
}

void
spinpanel_operation_new_ids(Operation *op)
{
	pg_uuid_t *ids[2];
	int i;

	ids[0] = &op->ms_request_id;
	ids[1] = &op->correlation_id;
	for (i = 0; i < 2; i++)
	{
		if (!pg_strong_random(ids[i]->data, UUID_LEN))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		/* version 4, variant 1 */
		ids[i]->data[6] = (ids[i]->data[6] & 0x0f) | 0x40;
		ids[i]->data[8] = (ids[i]->data[8] & 0x3f) | 0x80;
	}
}

Operation *
spinpanel_operation_get(int64 operation_id, MemoryContext context)
{
	static StateQuery select = { "SELECT " OPERATION_COLUMNS
								 " FROM spinpanel.operation o WHERE o.operation_id = $1",
								 "I", NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_int64(operation_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return NULL;
	return operation_from_row(0, context);
}

TimestampTz
spinpanel_operation_next_due(void)
{
	static StateQuery select = {
		"SELECT least("
		"(SELECT min(not_before) FROM spinpanel.operation WHERE status IN ('queued', 'unknown') AND not_before > $1),"
		"(SELECT min(verify_at) FROM spinpanel.operation WHERE status = 'done' AND verify_at > $1))",
		"T", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_time(0, 1, DT_NOEND);
}

bool
spinpanel_operation_sending(Operation *op)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = 'sending', base = $2, body = $3, wanted = $4,"
		" ms_request_id = $5, correlation_id = $6, sent_at = $7, attempts = attempts + 1,"
		" http_status = NULL, error_code = NULL, error = NULL"
		" WHERE operation_id = $1 AND status = 'queued'",
		"IjjjuuT", NULL
	};
	StateArg args[7];

	op->sent_at = spinpanel_now();
	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_jsonb(op->base);
	args[2] = spinpanel_arg_jsonb(op->body);
	args[3] = spinpanel_arg_jsonb(op->wanted);
	args[4] = spinpanel_arg_uuid(&op->ms_request_id);
	args[5] = spinpanel_arg_uuid(&op->correlation_id);
	args[6] = spinpanel_arg_time(op->sent_at);
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	op->status = "sending";
	op->attempts++;
	record(op, "operation sending", op->base, op->wanted, NULL, NULL);
	return true;
}

/* The same body and id again, after reading showed that the base still is. */
bool
spinpanel_operation_resend(Operation *op)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = 'sending', attempts = attempts + 1"
		" WHERE operation_id = $1 AND status IN ('sending', 'unknown')",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->operation_id);
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	op->status = "sending";
	op->attempts++;
	record(op, "operation sending again", op->base, op->wanted, NULL,
		   "nothing had changed at Partner Center");
	return true;
}

static bool
leave_sending(Operation *op, const char *status, int http_status, const char *code,
			  const char *error, TimestampTz not_before, bool counts, bool troubled)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = $2, http_status = nullif($3, 0), error_code = $4,"
		" error = $5, not_before = $6, attempts = attempts - CASE WHEN $7 THEN 0 ELSE 1 END,"
		" body = CASE WHEN $2 = 'queued' THEN NULL ELSE body END, troubled_at = coalesce(troubled_at, $8)"
		" WHERE operation_id = $1 AND status IN ('queued', 'sending', 'unknown')",
		"ItittTbT", NULL
	};
	StateArg args[8];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_text(status);
	args[2] = spinpanel_arg_int(http_status);
	args[3] = spinpanel_arg_text(code && code[0] ? code : NULL);
	args[4] = spinpanel_arg_text(error && error[0] ? error : NULL);
	args[5] = spinpanel_arg_time(not_before);
	args[6] = spinpanel_arg_bool(counts);
	args[7] = troubled ? spinpanel_arg_time(spinpanel_now()) : spinpanel_arg_null();
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	op->status = status;
	op->http_status = http_status;
	if (troubled && op->troubled_at == 0)
		op->troubled_at = spinpanel_now();
	return true;
}

bool
spinpanel_operation_unknown(Operation *op, int http_status, const char *code, const char *error,
							TimestampTz not_before)
{
	bool was_unknown = strcmp(op->status, "unknown") == 0;

	if (!leave_sending(op, "unknown", http_status, code, error, not_before, true, true))
		return false;
	if (!was_unknown)
		record(op, "operation unknown", NULL, NULL, NULL, error);
	return true;
}

bool
spinpanel_operation_requeue(Operation *op, int http_status, const char *code, const char *error,
							TimestampTz not_before, bool counts)
{
	bool was_queued = strcmp(op->status, "queued") == 0;

	/* A queued one counts no attempt: none was made. */
	if (!leave_sending(op, "queued", http_status, code, error, not_before, counts || was_queued,
					   counts))
		return false;
	if (!was_queued)
		record(op, "operation queued again", NULL, NULL, NULL, error);
	return true;
}

bool
spinpanel_operation_done(Operation *op, int32 seats, const Jsonb *answer, TimestampTz verify_at,
						 const char *remark)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = 'done', seats = $2, verify_at = $3, finished_at = $4,"
		" body = NULL, error = $5, not_before = '-infinity', subscription_id = coalesce(subscription_id, $6)"
		" WHERE operation_id = $1 AND status IN ('queued', 'sending', 'unknown')",
		"IiTTtu", NULL
	};
	static StateQuery count = {
		"UPDATE spinpanel.run SET seats_removed = seats_removed - $2 WHERE run_id = $1", "Ii", NULL
	};
	StateArg args[6];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_int(seats);
	args[2] = verify_at == 0 ? spinpanel_arg_null() : spinpanel_arg_time(verify_at);
	args[3] = spinpanel_arg_time(spinpanel_now());
	args[4] = spinpanel_arg_text(remark);
	/* An order makes a new one. */
	args[5] = spinpanel_arg_uuid(op->has_subscription ? &op->subscription_id : NULL);
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	op->status = "done";
	op->seats = seats;
	record(op, "operation done", op->base, op->wanted, answer, remark);
	if (op->run_id != 0 && seats != 0)
	{
		args[0] = spinpanel_arg_int64(op->run_id);
		args[1] = spinpanel_arg_int(seats);
		spinpanel_state_run(&count, args, 0);
	}
	return true;
}

bool
spinpanel_operation_over(Operation *op, const char *status, int http_status, const char *code,
						 const char *error, const Jsonb *answer)
{
	/* Given up without an answer of its own: what Partner Center said last stays. */
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = $2, finished_at = $6, body = NULL,"
		" http_status = coalesce(nullif($3, 0), CASE WHEN $2 = 'failed' THEN http_status END),"
		" error_code = CASE WHEN $2 = 'failed' AND $3 = 0 AND error_code IS NOT NULL THEN error_code ELSE $4 END,"
		" error = CASE WHEN $2 = 'failed' AND $3 = 0 AND error_code IS NOT NULL"
		"  THEN concat_ws('; the last answer: ', $5, error) ELSE $5 END"
		" WHERE operation_id = $1 AND status IN ('queued', 'sending', 'unknown')",
		"ItittT", NULL
	};

	/* Followers of followers too: a merge has three steps. */
	static StateQuery followers = {
		"WITH RECURSIVE f AS (SELECT operation_id FROM spinpanel.operation"
		" WHERE after_operation = $1 AND status = 'queued'"
		" UNION SELECT o.operation_id FROM spinpanel.operation o JOIN f ON o.after_operation = f.operation_id"
		" WHERE o.status = 'queued')"
		" UPDATE spinpanel.operation SET status = 'cancelled', error = 'the step before it did not succeed',"
		" finished_at = $2 WHERE operation_id IN (SELECT operation_id FROM f)",
		"IT", NULL
	};
	StateArg args[6];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_text(status);
	args[2] = spinpanel_arg_int(http_status);
	args[3] = spinpanel_arg_text(code && code[0] ? code : NULL);
	args[4] = spinpanel_arg_text(error && error[0] ? error : NULL);
	args[5] = spinpanel_arg_time(spinpanel_now());
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	op->status = status;
	record(op, psprintf("operation %s", status), op->base, op->wanted, answer, error);

	args[1] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&followers, args, 0);
	return true;
}

bool
spinpanel_operation_learned(Operation *op)
{
	static StateQuery update = { "UPDATE spinpanel.operation SET base = $2 WHERE operation_id = $1"
								 " AND status IN ('sending', 'unknown')",
								 "Ij", NULL };
	StateArg args[2];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_jsonb(op->base);
	return spinpanel_state_run(&update, args, 0) == 1;
}

void
spinpanel_operation_verified(Operation *op, const char *remark)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET verify_at = NULL WHERE operation_id = $1", "I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->operation_id);
	spinpanel_state_run(&update, args, 0);
	record(op, "operation looked at again", NULL, NULL, NULL, remark);
}

void
spinpanel_operation_verify_later(const Operation *op, TimestampTz verify_at)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET verify_at = $2 WHERE operation_id = $1 AND verify_at IS NOT NULL",
		"IT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_time(verify_at);
	spinpanel_state_run(&update, args, 0);
}

int32
spinpanel_operation_bought_back(const Operation *op, bool *open)
{
	static StateQuery select = {
		"SELECT coalesce(sum(seats) FILTER (WHERE status = 'done'), 0)::int,"
		" coalesce(bool_or(status IN ('queued', 'sending', 'unknown')), false)"
		" FROM spinpanel.operation WHERE after_operation = $1 AND purpose = 'buy_back'",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->operation_id);
	spinpanel_state_run(&select, args, 1);
	*open = spinpanel_row_bool(0, 2);
	return spinpanel_row_int(0, 1);
}

bool
spinpanel_operation_schedules_after(const Operation *op)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.operation WHERE after_operation = $1 AND purpose = 'schedule'"
		" AND status = 'queued'",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->operation_id);
	return spinpanel_state_run(&select, args, 1) > 0;
}

bool
spinpanel_operation_has_follower(const Operation *op, const char *kind, const char *purpose)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.operation WHERE after_operation = $1 AND kind = $2 AND purpose = $3",
		"Itt", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_text(kind);
	args[2] = spinpanel_arg_text(purpose);
	return spinpanel_state_run(&select, args, 1) > 0;
}

int
spinpanel_operation_followers(const Operation *op, const char *purpose)
{
	static StateQuery select = {
		"SELECT count(*)::int FROM spinpanel.operation WHERE after_operation = $1 AND purpose = $2",
		"It", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_text(purpose);
	spinpanel_state_run(&select, args, 1);
	return spinpanel_row_int(0, 1);
}

void
spinpanel_operation_forget_followers(const Operation *op)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = 'cancelled', error = 'the change before it is decided afresh',"
		" finished_at = $2 WHERE after_operation = $1 AND status = 'queued'"
		" AND adjustment_id IS NULL AND purpose IN ('restore', 'schedule')",
		"IT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&update, args, 0);
}

bool
spinpanel_operation_pool_busy(const Operation *op)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.operation WHERE customer_id = $1 AND sku_id = $2"
		" AND operation_id <> $3 AND (status IN ('sending', 'unknown')"
		/* What was wiped is set again before anything else happens there. */
		"  OR status = 'queued' AND purpose = 'restore' AND subscription_id = $4 AND NOT $5"
		"   AND EXISTS (SELECT FROM spinpanel.operation p WHERE p.operation_id = operation.after_operation"
		"    AND p.status = 'done'))"
		" AND kind NOT IN ('assign', 'unassign', 'set_usage_location') LIMIT 1",
		"uuIub", NULL
	};
	StateArg args[5];

	if (!op->has_sku)
		return false;
	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_uuid(&op->sku_id);
	args[2] = spinpanel_arg_int64(op->operation_id);
	args[3] = spinpanel_arg_uuid(op->has_subscription ? &op->subscription_id : NULL);
	args[4] = spinpanel_arg_bool(strcmp(op->purpose, "restore") == 0);
	return spinpanel_state_run(&select, args, 1) > 0;
}

void
spinpanel_operation_after(Operation *op, int32 wait_active)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET wait_active = $2"
		" WHERE after_operation = $1 AND status = 'queued' AND purpose = 'merge'",
		"Ii", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_int(wait_active);
	spinpanel_state_run(&update, args, 0);
}

/*
 * A lock on an "object" of our table, which no SQL command can take: whoever may
 * only connect must not be able to stop requests and removals, as they could
 * with an advisory lock, whose key pg_locks shows to everybody.
 */
static void
pool_tag(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, uint64 seed, LOCKTAG *tag)
{
	unsigned char key[2 * UUID_LEN];
	uint64 hash;

	memcpy(key, customer_id->data, UUID_LEN);
	memcpy(key + UUID_LEN, sku_id->data, UUID_LEN);
	hash = hash_bytes_extended(key, sizeof(key), seed);

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId,
					   get_relname_relid("pool", get_namespace_oid("spinpanel", false)),
					   (uint32) (hash >> 32), (uint16) hash);
}

bool
spinpanel_operation_lock_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id)
{
	LOCKTAG tag;

	pool_tag(customer_id, sku_id, DEMAND_SEED, &tag);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
spinpanel_operation_share_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id)
{
	LOCKTAG tag;

	pool_tag(customer_id, sku_id, DEMAND_SEED, &tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
}

void
spinpanel_operation_lock_limit(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id)
{
	LOCKTAG tag;

	pool_tag(customer_id, sku_id, LIMIT_SEED, &tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

int32
spinpanel_operation_base(const Operation *op, const char *name, int32 if_absent)
{
	int64 value;

	if (op->base == NULL || !spinpanel_json_int(&op->base->root, name, &value))
		return if_absent;
	return (int32) value;
}
