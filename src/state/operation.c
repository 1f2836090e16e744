/*
 * operation.c
 *
 * The table operation.  It owns the states: move() is the only place that
 * changes one, writes history with it, and refuses a transition that the table
 * of states does not have.  It decides nothing about seats and knows no network.
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
#include "state/operation_base.h"
#include "state/statement.h"

/* A parked operation looks for itself after so long, should nobody wake it. */
#define PARKED_FOR (10 * USECS_PER_MINUTE)

/* Kinds that change no quantity or state of a subscription */
#define USER_KINDS "('assign', 'unassign', 'set_usage_location')"

/* What gives seats back to those who need them goes first. */
#define GOES_FIRST "(o.purpose IN ('restore', 'put_back', 'buy_back'))"

/* Locks on a pool: of its demand, of its max_seats */
#define DEMAND_SEED UINT64CONST(0x7370696e)
#define LIMIT_SEED UINT64CONST(0x6d617873)

#define OPERATION_COLUMNS \
	"o.operation_id, o.kind, o.purpose, o.status, o.account_id, o.customer_id, o.sku_id," \
	" o.subscription_id, o.run_id, o.adjustment_id, o.request_id, o.after_operation," \
	" o.wait_active, o.wanted, o.base, o.body, o.ms_request_id, o.correlation_id, o.sent_at," \
	" o.attempts, o.http_status, o.seats, o.created_at, o.obligation_id," \
	" (SELECT array_agg(x.account_id) FROM spinpanel.customer_account x" \
	"  JOIN spinpanel.account y ON y.account_id = x.account_id" \
	"  WHERE x.customer_id = o.customer_id AND x.account_id <> o.account_id" \
	"  AND x.gone_at IS NULL AND y.status <> 'disconnected')," \
	" o.error_code, o.troubled_at, o.error"

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
	op->obligation_id = spinpanel_row_int64(row, 24);
	op->other_count = spinpanel_row_ints(row, 25, op->other_accounts, OUTBOX_OTHERS);
	op->error_code = spinpanel_row_text(row, 26, context);
	op->troubled_at = spinpanel_row_time(row, 27, 0);
	op->error = spinpanel_row_text(row, 28, context);
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
		" wanted, created_at, obligation_id, base)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING operation_id",
		"ttiuuuIIIIijTIj", NULL
	};
	Operation op = *operation;
	StateArg args[15];

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
	args[13] = id_arg(op.obligation_id);
	args[14] = spinpanel_arg_jsonb(op.base);
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
	" AND (r.paused_at IS NULL OR o.status <> 'queued' OR o.purpose = 'restore')"
#define DUE_ORDER " ORDER BY " GOES_FIRST " DESC, o.operation_id LIMIT $2"

static bool
same_pool(const Operation *a, const Operation *b)
{
	return a->has_sku && b->has_sku &&
		   memcmp(&a->customer_id, &b->customer_id, sizeof(pg_uuid_t)) == 0 &&
		   memcmp(&a->sku_id, &b->sku_id, sizeof(pg_uuid_t)) == 0;
}

/*
 * Of those found, one of each pool, and none of a pool in which a change is
 * under way.  The others are parked, each once: whatever ends the change under
 * way wakes the next of them.  How many are left.
 */
static int
park_waiting(Operation **found, int count)
{
	static StateQuery park = {
		"UPDATE spinpanel.operation SET parked = true, not_before = $2, error = $3"
		" WHERE operation_id = ANY ($1) AND status = 'queued'",
		"AITt", NULL
	};
	Datum *waiting = palloc(sizeof(Datum) * (count + 1));
	int waiting_count = 0;
	int kept = 0;
	int i;
	int j;

	for (i = 0; i < count; i++)
	{
		Operation *op = found[i];
		bool waits = false;

		if (strcmp(op->status, "queued") == 0)
		{
			for (j = 0; j < kept && !waits; j++)
				waits = same_pool(found[j], op);
			waits = waits || spinpanel_operation_pool_busy(op);
		}
		if (waits)
			waiting[waiting_count++] = Int64GetDatum(op->operation_id);
		else
			found[kept++] = op;
	}
	if (waiting_count > 0)
	{
		StateArg args[3];

		args[0] = spinpanel_arg_datum(PointerGetDatum(
			construct_array(waiting, waiting_count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
		args[1] = spinpanel_arg_time(spinpanel_now() + PARKED_FOR);
		args[2] = spinpanel_arg_text("another change in the pool is under way");
		spinpanel_state_run(&park, args, 0);
	}
	return kept;
}

/* The pool is free: the next one that was parked there is due. */
static void
wake_next(const Operation *op)
{
	static StateQuery wake = {
		"UPDATE spinpanel.operation SET parked = false, not_before = '-infinity', error = NULL WHERE operation_id ="
		" (SELECT o.operation_id FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.parked"
		"  AND o.status = 'queued' ORDER BY " GOES_FIRST " DESC, o.operation_id LIMIT 1)"
		" AND NOT EXISTS (SELECT FROM spinpanel.operation b WHERE b.customer_id = $1 AND b.sku_id = $2"
		"  AND b.status IN ('sending', 'unknown') AND b.kind NOT IN " USER_KINDS ")",
		"uu", NULL
	};
	StateArg args[2];

	if (!op->has_sku)
		return;
	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_uuid(&op->sku_id);
	spinpanel_state_run(&wake, args, 0);
}

/* One that a caller is changing (disconnect_account()) is none that is due. */
#define DUE_LOCK " FOR NO KEY UPDATE OF o SKIP LOCKED"

int
spinpanel_operation_due(OutboxClass class, const int32 *accounts, int account_count,
						const pg_uuid_t *busy, int busy_count, int limit, Operation ***operations,
						MemoryContext context)
{
	static StateQuery subscriptions = {
		"SELECT " OPERATION_COLUMNS DUE_WHERE
		" AND o.kind NOT IN ('assign', 'unassign', 'set_usage_location',"
		" 'create_cart', 'checkout')" DUE_ORDER DUE_LOCK,
		"TiAiAu", NULL
	};
	static StateQuery users = {
		"SELECT " OPERATION_COLUMNS DUE_WHERE
		" AND o.kind IN ('assign', 'unassign', 'set_usage_location')"
		" AND (o.status <> 'queued' OR NOT EXISTS (SELECT FROM spinpanel.operation b"
		/* By the user's index: IS TRUE and + 0 leave no other. */
		"  WHERE (b.wanted ->> 'userId') = (o.wanted ->> 'userId') AND (b.customer_id = o.customer_id) IS TRUE"
		"  AND b.status IN ('queued', 'sending', 'unknown') AND b.operation_id <> o.operation_id"
		"  AND (b.status <> 'queued' OR b.operation_id + 0 < o.operation_id)))"
		/* In the order of an index, so that it ends with the limit: none of them restores anything. */
		" ORDER BY o.operation_id LIMIT $2" DUE_LOCK,
		"TiAiAu", NULL
	};
	static StateQuery orders = { "SELECT " OPERATION_COLUMNS DUE_WHERE
								 " AND o.kind IN ('create_cart', 'checkout')" DUE_ORDER DUE_LOCK,
								 "TiAiAu", NULL };
	StateArg args[4];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_int(limit);
	args[2] = spinpanel_arg_ints(accounts, account_count);
	args[3] = spinpanel_arg_uuids(busy, busy_count);
	/* Generic: by indexes alone, in their order. */
	rows = spinpanel_state_run_generic(class == OUTBOX_USERS    ? &users
									   : class == OUTBOX_ORDERS ? &orders
																: &subscriptions,
									   args);
	*operations = MemoryContextAlloc(context, sizeof(Operation *) * (rows + 1));
	for (row = 0; row < rows; row++)
		(*operations)[row] = operation_from_row(row, context);
	return class == OUTBOX_SUBSCRIPTIONS ? park_waiting(*operations, (int) rows) : (int) rows;
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
		"SELECT min(not_before) FROM spinpanel.operation WHERE status IN ('queued', 'unknown') AND not_before > $1",
		"T", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_time(0, 1, DT_NOEND);
}

/* ---- transitions ------------------------------------------------------------------------ */

/* Into which state it comes from which ones, and what history calls that. */
static const struct
{
	const char *to;
	const char *from; /* an array of text */
	bool over;
} transitions[] = {
	{ "queued", "{queued,sending,unknown}", false },
	{ "sending", "{queued,sending,unknown}", false },
	{ "unknown", "{sending,unknown}", false },
	{ "done", "{queued,sending,unknown}", true },
	{ "refused", "{queued,sending,unknown}", true },
	{ "failed", "{queued,sending,unknown}", true },
	{ "cancelled", "{queued,sending,unknown}", true },
};

/* What changes with the state; members left out stay as they are. */
typedef struct Moving
{
	const char *to;
	const char *only_from; /* a narrower set than the table's, or NULL */
	const char *event; /* of history; NULL = none */
	bool first; /* base, wanted, ids and sent_at are of this sending */
	int attempts; /* to add */
	bool told; /* http_status, code and error are set */
	int http_status;
	const char *code;
	const char *error;
	TimestampTz not_before; /* 0 = at once */
	int32 seats;
	const Jsonb *answer;
	bool troubled; /* it is tried in vain, from now on at the latest */
} Moving;

/* False: it is not in a state from which that is possible. */
static bool
move(Operation *op, const Moving *moving)
{
	static StateQuery update = {
		"UPDATE spinpanel.operation SET status = $2, parked = false,"
		" base = CASE WHEN $4 THEN $5 ELSE base END, wanted = CASE WHEN $4 THEN $6 ELSE wanted END,"
		" body = CASE WHEN $4 THEN $7 WHEN $2 IN ('sending', 'unknown') THEN body END,"
		" ms_request_id = CASE WHEN $4 THEN $8 ELSE ms_request_id END,"
		" correlation_id = CASE WHEN $4 THEN $9 ELSE correlation_id END,"
		" sent_at = CASE WHEN $4 THEN $10 ELSE sent_at END, attempts = attempts + $11,"
		" http_status = CASE WHEN NOT $12 THEN http_status WHEN $2 = 'failed' THEN coalesce(nullif($13, 0), http_status)"
		"  ELSE nullif($13, 0) END,"
		/* Given up without an answer of its own: what Partner Center said last stays. */
		" error_code = CASE WHEN NOT $12 OR $2 = 'failed' AND $13 = 0 AND error_code IS NOT NULL THEN error_code ELSE $14 END,"
		" error = CASE WHEN NOT $12 THEN error WHEN $2 = 'failed' AND $13 = 0 AND error_code IS NOT NULL"
		"  THEN concat_ws('; the last answer: ', $15, error) ELSE $15 END,"
		" not_before = $16, seats = seats + $17, finished_at = CASE WHEN $18 THEN $19 END,"
		" troubled_at = CASE WHEN $20 THEN coalesce(troubled_at, $19) ELSE troubled_at END,"
		/* An order makes a new one. */
		" subscription_id = coalesce(subscription_id, $21) WHERE operation_id = $1 AND status = ANY ($3::text[])",
		"IttbjjjuuTibittTibTbu", NULL
	};
	StateArg args[21];
	int t;

	for (t = 0; strcmp(transitions[t].to, moving->to) != 0; t++)
		if (t == (int) lengthof(transitions) - 1)
			elog(ERROR, "no state of an operation is called \"%s\"", moving->to);

	args[0] = spinpanel_arg_int64(op->operation_id);
	args[1] = spinpanel_arg_text(moving->to);
	args[2] = spinpanel_arg_text(moving->only_from ? moving->only_from : transitions[t].from);
	args[3] = spinpanel_arg_bool(moving->first);
	args[4] = spinpanel_arg_jsonb(moving->first ? op->base : NULL);
	args[5] = spinpanel_arg_jsonb(moving->first ? op->wanted : NULL);
	args[6] = spinpanel_arg_jsonb(moving->first ? op->body : NULL);
	args[7] = spinpanel_arg_uuid(&op->ms_request_id);
	args[8] = spinpanel_arg_uuid(&op->correlation_id);
	args[9] = spinpanel_arg_time(op->sent_at);
	args[10] = spinpanel_arg_int(moving->attempts);
	args[11] = spinpanel_arg_bool(moving->told);
	args[12] = spinpanel_arg_int(moving->http_status);
	args[13] = spinpanel_arg_text(moving->code && moving->code[0] ? moving->code : NULL);
	args[14] = spinpanel_arg_text(moving->error && moving->error[0] ? moving->error : NULL);
	args[15] = spinpanel_arg_time(moving->not_before != 0 ? moving->not_before : DT_NOBEGIN);
	args[16] = spinpanel_arg_int(moving->seats);
	args[17] = spinpanel_arg_bool(transitions[t].over);
	args[18] = spinpanel_arg_time(spinpanel_now());
	args[19] = spinpanel_arg_bool(moving->troubled);
	args[20] = spinpanel_arg_uuid(op->has_subscription ? &op->subscription_id : NULL);
	if (spinpanel_state_run(&update, args, 0) != 1)
		return false;
	if (moving->troubled && op->troubled_at == 0)
		op->troubled_at = spinpanel_now();
	op->status = transitions[t].to;
	op->attempts += moving->attempts;
	if (moving->told)
		op->http_status = moving->http_status;
	if (moving->event != NULL)
		record(op, moving->event, transitions[t].over || moving->attempts > 0 ? op->base : NULL,
			   transitions[t].over || moving->attempts > 0 ? op->wanted : NULL, moving->answer,
			   moving->error);

	/* Whoever is not on the way has left its pool free. */
	if (strcmp(op->status, "sending") != 0 && strcmp(op->status, "unknown") != 0)
		wake_next(op);
	return true;
}

bool
spinpanel_operation_sending(Operation *op)
{
	Moving moving = { .to = "sending",
					  .only_from = "{queued}",
					  .event = "operation sending",
					  .first = true,
					  .attempts = 1,
					  .told = true };

	op->sent_at = spinpanel_now();
	return move(op, &moving);
}

/* The same body and id again, after reading showed that the base still is. */
bool
spinpanel_operation_resend(Operation *op)
{
	Moving moving = { .to = "sending",
					  .only_from = "{sending,unknown}",
					  .event = "operation sending again",
					  .attempts = 1,
					  .error = "nothing had changed at Partner Center" };

	return move(op, &moving);
}

bool
spinpanel_operation_unknown(Operation *op, int http_status, const char *code, const char *error,
							TimestampTz not_before)
{
	Moving moving = { .to = "unknown",
					  .told = true,
					  .http_status = http_status,
					  .code = code,
					  .error = error,
					  .not_before = not_before };

	moving.troubled = true;
	if (strcmp(op->status, "unknown") != 0)
		moving.event = "operation unknown";
	return move(op, &moving);
}

bool
spinpanel_operation_requeue(Operation *op, int http_status, const char *code, const char *error,
							TimestampTz not_before, bool counts)
{
	Moving moving = { .to = "queued",
					  .told = true,
					  .http_status = http_status,
					  .code = code,
					  .error = error,
					  .not_before = not_before };

	/* A queued one counts no attempt: none was made. */
	moving.troubled = counts;
	if (strcmp(op->status, "queued") != 0)
	{
		moving.event = "operation queued again";
		moving.attempts = counts ? 0 : -1;
	}
	return move(op, &moving);
}

bool
spinpanel_operation_done(Operation *op, int32 seats, const Jsonb *answer, const char *remark)
{
	static StateQuery count = {
		"UPDATE spinpanel.run SET seats_removed = seats_removed - $2 WHERE run_id = $1", "Ii", NULL
	};
	Moving moving = { .to = "done",
					  .event = "operation done",
					  .told = true,
					  .http_status = op->http_status,
					  .error = remark,
					  .seats = seats,
					  .answer = answer };
	StateArg args[2];

	if (!move(op, &moving))
		return false;
	op->seats = seats;
	if (op->run_id != 0 && seats != 0)
	{
		args[0] = spinpanel_arg_int64(op->run_id);
		args[1] = spinpanel_arg_int(seats);
		spinpanel_state_run(&count, args, 0);
	}
	return true;
}

/* Operations by a query of their ids: cancelled one by one, each on record. */
static void
cancel_found(StateQuery *query, const StateArg *args, const char *only_from, const char *reason)
{
	uint64 rows = spinpanel_state_run(query, args, 0);
	int64 *ids = palloc(sizeof(int64) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	for (row = 0; row < rows; row++)
	{
		Operation *op = spinpanel_operation_get(ids[row], CurrentMemoryContext);
		Moving moving = { .to = "cancelled",
						  .only_from = only_from,
						  .event = "operation cancelled",
						  .told = true,
						  .error = reason };

		if (op != NULL)
			(void) move(op, &moving);
	}
}

bool
spinpanel_operation_over(Operation *op, const char *status, int http_status, const char *code,
						 const char *error, const Jsonb *answer)
{
	/* Followers of followers too: a merge has three steps. */
	static StateQuery followers = {
		"WITH RECURSIVE f AS (SELECT operation_id FROM spinpanel.operation"
		" WHERE after_operation = $1 AND status = 'queued'"
		" UNION SELECT o.operation_id FROM spinpanel.operation o JOIN f ON o.after_operation = f.operation_id"
		" WHERE o.status = 'queued') SELECT operation_id FROM f ORDER BY operation_id",
		"I", NULL
	};
	Moving moving = { .to = status,
					  .event = psprintf("operation %s", status),
					  .told = true,
					  .http_status = http_status,
					  .code = code,
					  .error = error,
					  .answer = answer };
	StateArg args[1];

	if (!move(op, &moving))
		return false;
	args[0] = spinpanel_arg_int64(op->operation_id);
	cancel_found(&followers, args, "{queued}", "the step before it did not succeed");
	return true;
}

void
spinpanel_operation_cancel_queued(int32 account_id, const char *reason)
{
	static StateQuery queued = {
		"SELECT operation_id FROM spinpanel.operation WHERE account_id = $1 AND status = 'queued' ORDER BY operation_id",
		"i", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int(account_id);
	cancel_found(&queued, args, "{queued}", reason);
}

void
spinpanel_operation_abandon(const char *reason)
{
	static StateQuery open = {
		"SELECT operation_id FROM spinpanel.operation"
		" WHERE status IN ('queued', 'sending', 'unknown') ORDER BY operation_id",
		"", NULL
	};

	cancel_found(&open, NULL, NULL, reason);
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

int32
spinpanel_operation_coming_back(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id)
{
	static StateQuery select = {
		"SELECT coalesce(sum(coalesce((o.base ->> '" BASE_LACKING "')::int, (o.base ->> '" BASE_OWED
		"')::int, 0)), 0)::int"
		" FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.purpose = 'buy_back'"
		" AND o.status IN ('queued', 'sending', 'unknown')",
		"uu", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	spinpanel_state_run(&select, args, 1);
	return spinpanel_row_int(0, 1);
}

bool
spinpanel_operation_putting_back(int64 obligation_id)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.operation WHERE obligation_id = $1 AND status IN ('queued', 'sending', 'unknown')",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(obligation_id);
	return spinpanel_state_run(&select, args, 1) > 0;
}

bool
spinpanel_operation_no_way_back(const pg_uuid_t *subscription_id, TimestampTz since)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.operation o JOIN spinpanel.subscription s USING (subscription_id, customer_id, sku_id)"
		" WHERE o.customer_id = s.customer_id AND o.sku_id = s.sku_id AND s.subscription_id = $1"
		" AND o.purpose = 'buy_back' AND o.status IN ('refused', 'failed') AND o.finished_at > $2",
		"uT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(subscription_id);
	args[1] = spinpanel_arg_time(since);
	return spinpanel_state_run(&select, args, 1) > 0;
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

void
spinpanel_operation_forget_followers(const Operation *op)
{
	static StateQuery followers = {
		"SELECT operation_id FROM spinpanel.operation WHERE after_operation = $1 AND status = 'queued'"
		" AND adjustment_id IS NULL AND purpose IN ('restore', 'schedule')",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->operation_id);
	cancel_found(&followers, args, "{queued}", "the change before it is decided afresh");
}

bool
spinpanel_operation_pool_busy(const Operation *op)
{
	static StateQuery in_flight = {
		"SELECT 1 FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.sku_id = $2 AND o.operation_id <> $3"
		" AND o.status IN ('sending', 'unknown') AND o.kind NOT IN " USER_KINDS,
		"uuI", NULL
	};
	/* It belongs to a change that has been made: what that wiped is not there yet. */
	static StateQuery wiped = {
		"SELECT 1 FROM spinpanel.operation o LEFT JOIN spinpanel.operation p ON p.operation_id = o.after_operation"
		" WHERE o.subscription_id = $1 AND o.operation_id <> $2 AND o.status = 'queued' AND o.purpose = 'restore'"
		" AND (p.operation_id IS NULL OR p.status = 'done')",
		"uI", NULL
	};
	StateArg args[3];

	if (!op->has_sku)
		return false;
	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_uuid(&op->sku_id);
	args[2] = spinpanel_arg_int64(op->operation_id);
	if (spinpanel_state_run(&in_flight, args, 1) > 0)
		return true;
	if (!op->has_subscription || strcmp(op->purpose, "restore") == 0)
		return false;
	args[0] = spinpanel_arg_uuid(&op->subscription_id);
	args[1] = spinpanel_arg_int64(op->operation_id);
	return spinpanel_state_run(&wiped, args, 1) > 0;
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

void
spinpanel_operation_note(Operation *op, const char *name, int32 value)
{
	op->base = spinpanel_json_with(op->base ? op->base : spinpanel_json_of("{}"), name,
								   spinpanel_json_of(psprintf("%d", value)));
}
