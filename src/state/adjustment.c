/*
 * adjustment.c
 *
 * Owns the table adjustment: adding rows, and their status.  It must never
 * decide what becomes of seats; see adjustment.h for the table of states.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "state/adjustment.h"
#include "state/history.h"
#include "state/statement.h"

/* Which status may follow which.  A person decides where "decided" says so. */
static const struct
{
	const char *from;
	const char *to;
	bool decided;
} moves[] = {
	{ "awaiting_approval", "queued", true },
	{ "awaiting_approval", "rejected", true },
	{ "awaiting_approval", "superseded", false },
	{ "awaiting_approval", "skipped", false },
	{ "queued", "done", false },
	{ "queued", "failed", false },
	{ "queued", "skipped", false },
};

/* NOTIFY takes a lock on the whole cluster until the commit: only the worker,
 * whose transactions are short, sends it. */
static bool
in_worker(void)
{
	return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_library_name, "spinpanel") == 0;
}

static void
notify(int64 adjustment_id, const char *status, const pg_uuid_t *customer_id)
{
	Async_Notify("spinpanel", psprintf("{\"type\":\"adjustment\",\"id\":" INT64_FORMAT
									   ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
									   adjustment_id, status, spinpanel_uuid_text(customer_id)));
}

static StateArg
number_or_null(int32 number)
{
	return number == 0 ? spinpanel_arg_null() : spinpanel_arg_int(number);
}

int64
spinpanel_adjustment_add(const NewAdjustment *a)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.adjustment (run_id, account_id, customer_id, sku_id, subscription_id, action,"
		" rule, from_quantity, to_quantity, seats, effective_on, reason, status, merge, created_at, finished_at, counted)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
		" CASE WHEN $13 IN ('skipped', 'planned') THEN $15 END, $16)"
		" RETURNING adjustment_id",
		"IiuuutiiiidttiTi", NULL
	};
	StateArg args[16];
	int64 id;

	args[0] = a->run_id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(a->run_id);
	args[1] = number_or_null(a->account_id);
	args[2] = spinpanel_arg_uuid(a->customer_id);
	args[3] = spinpanel_arg_uuid(a->sku_id);
	args[4] = spinpanel_arg_uuid(a->subscription_id);
	args[5] = spinpanel_arg_text(a->action);
	args[6] = number_or_null(a->rule);
	args[7] = a->has_quantities ? spinpanel_arg_int(a->from_quantity) : spinpanel_arg_null();
	args[8] = a->has_quantities ? spinpanel_arg_int(a->to_quantity) : spinpanel_arg_null();
	args[9] = spinpanel_arg_int(a->seats);
	args[10] = a->has_effective ? spinpanel_arg_datum(DateADTGetDatum(a->effective_on))
								: spinpanel_arg_null();
	args[11] = spinpanel_arg_text(a->reason);
	args[12] = spinpanel_arg_text(a->status);
	args[13] = number_or_null(a->merge);
	args[14] = spinpanel_arg_time(spinpanel_now());
	args[15] = spinpanel_arg_int(a->counted);
	spinpanel_state_run(&insert, args, 0);
	id = spinpanel_row_int64(0, 1);

	if (strcmp(a->status, "queued") == 0 || strcmp(a->status, "awaiting_approval") == 0)
	{
		bool waits = a->status[0] == 'a';
		HistoryEntry entry;

		memset(&entry, 0, sizeof(entry));
		entry.event = waits ? "adjustment awaits approval" : "adjustment decided";
		entry.run_id = a->run_id;
		entry.adjustment_id = id;
		entry.account_id = a->account_id;
		entry.customer_id = a->customer_id;
		entry.sku_id = a->sku_id;
		entry.subscription_id = a->subscription_id;
		entry.reason = a->reason;
		spinpanel_history_add(&entry);
		if (waits)
			notify(id, a->status, a->customer_id);
	}
	return id;
}

static bool
decided_by_person(const char *from, const char *to)
{
	int i;

	for (i = 0; i < (int) lengthof(moves); i++)
	{
		if (strcmp(moves[i].from, from) == 0 && strcmp(moves[i].to, to) == 0)
			return moves[i].decided;
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("an adjustment that is \"%s\" cannot become \"%s\"", from, to)));
	return false;
}

void
spinpanel_adjustment_move(const int64 *ids, int count, const char *status, const char *why)
{
	static StateQuery look = {
		"SELECT a.adjustment_id, a.status FROM spinpanel.adjustment a WHERE a.adjustment_id = ANY ($1)"
		" ORDER BY a.adjustment_id FOR NO KEY UPDATE",
		"AI", NULL
	};
	static StateQuery move = {
		"WITH moved AS (UPDATE spinpanel.adjustment a SET status = $2,"
		"  finished_at = CASE WHEN $2 <> 'queued' THEN $3 END,"
		"  error = CASE WHEN NOT $5 AND $2 <> 'done' THEN $4 END,"
		"  approved = CASE WHEN $5 THEN $2 = 'queued' ELSE a.approved END,"
		"  decided_by = CASE WHEN $5 THEN session_user ELSE a.decided_by END,"
		"  decided_at = CASE WHEN $5 THEN $3 ELSE a.decided_at END,"
		"  decision_reason = CASE WHEN $5 THEN $4 ELSE a.decision_reason END,"
		"  announced = $6 OR $2 = 'queued'"
		"  WHERE a.adjustment_id = ANY ($1) RETURNING a.*)"
		" INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id,"
		"  adjustment_id, before, after, reason)"
		" SELECT $3, 'adjustment ' || CASE WHEN $2 = 'queued' THEN 'approved' ELSE $2 END, m.account_id, m.customer_id,"
		"  m.sku_id, m.subscription_id, m.run_id, m.adjustment_id,"
		"  CASE WHEN m.from_quantity IS NOT NULL THEN jsonb_build_object('quantity', m.from_quantity) END,"
		"  CASE WHEN m.to_quantity IS NOT NULL THEN jsonb_build_object('quantity', m.to_quantity) END, $4"
		" FROM moved m ORDER BY m.adjustment_id RETURNING adjustment_id, customer_id",
		"AItTtbb", NULL
	};
	Datum *elements = palloc(sizeof(Datum) * (count + 1));
	StateArg args[6];
	bool decided = false;
	uint64 rows;
	uint64 row;
	int i;

	if (count == 0)
		return;
	for (i = 0; i < count; i++)
		elements[i] = Int64GetDatum(ids[i]);
	args[0] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	rows = spinpanel_state_run(&look, args, 0);
	if (rows != (uint64) count)
		elog(ERROR, "%d adjustments are to be moved, " UINT64_FORMAT " exist", count, rows);
	for (row = 0; row < rows; row++)
		decided = decided_by_person(spinpanel_row_text(row, 2, CurrentMemoryContext), status);

	args[1] = spinpanel_arg_text(status);
	args[2] = spinpanel_arg_time(spinpanel_now());
	args[3] = spinpanel_arg_text(why);
	args[4] = spinpanel_arg_bool(decided);
	args[5] = spinpanel_arg_bool(in_worker());
	rows = spinpanel_state_run(&move, args, 0);
	for (row = 0; in_worker() && row < rows; row++)
	{
		pg_uuid_t customer_id;

		spinpanel_row_uuid(row, 2, &customer_id);
		notify(spinpanel_row_int64(row, 1), status, &customer_id);
	}
}

void
spinpanel_adjustment_announce(void)
{
	static StateQuery announce = {
		"UPDATE spinpanel.adjustment SET announced = true WHERE adjustment_id IN"
		" (SELECT adjustment_id FROM spinpanel.adjustment WHERE NOT announced LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)"
		" RETURNING adjustment_id, status, customer_id",
		"", NULL
	};
	static StateQuery any = { "SELECT FROM spinpanel.adjustment WHERE NOT announced LIMIT 1", "",
							  NULL };
	uint64 rows;
	uint64 row;

	if (spinpanel_state_run(&any, NULL, 1) == 0)
		return;
	rows = spinpanel_state_run(&announce, NULL, 0);
	for (row = 0; row < rows; row++)
	{
		pg_uuid_t customer_id;

		spinpanel_row_uuid(row, 3, &customer_id);
		notify(spinpanel_row_int64(row, 1), spinpanel_row_text(row, 2, CurrentMemoryContext),
			   &customer_id);
	}
}

/* ---- how it ended ---------------------------------------------------------- */

/* The operations that carry an adjustment out; others follow from these. */
#define CARRIES_OUT "o.purpose IN ('remove', 'merge', 'schedule', 'buy')"

void
spinpanel_adjustment_operation_over(const Operation *op, const char *reason)
{
	/* Followers that were cancelled with it belong to other adjustments. */
	static StateQuery over = {
		"SELECT a.adjustment_id, CASE WHEN s.refused THEN 'failed' WHEN s.cancelled THEN 'skipped' ELSE 'done' END"
		" FROM spinpanel.adjustment a CROSS JOIN LATERAL (SELECT"
		"  coalesce(bool_or(o.status IN ('refused', 'failed')), false) AS refused,"
		"  coalesce(bool_or(o.status = 'cancelled'), false) AS cancelled,"
		"  coalesce(bool_or(o.status IN ('queued', 'sending', 'unknown')), false) AS open"
		"  FROM spinpanel.operation o WHERE o.adjustment_id = a.adjustment_id AND o.customer_id = $1"
		"  AND " CARRIES_OUT ") s"
		" WHERE a.status = 'queued' AND a.customer_id = $1 AND NOT s.open AND (a.adjustment_id = $2 OR s.cancelled)",
		"uI", NULL
	};
	StateArg args[2];
	int64 *ids;
	char **statuses;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_int64(op->adjustment_id);
	rows = spinpanel_state_run(&over, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	statuses = palloc(sizeof(char *) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		ids[row] = spinpanel_row_int64(row, 1);
		statuses[row] = spinpanel_row_text(row, 2, CurrentMemoryContext);
	}
	for (row = 0; row < rows; row++)
		spinpanel_adjustment_move(&ids[row], 1, statuses[row], reason);
}

int32
spinpanel_adjustment_allowance(const Operation *op, bool *approved)
{
	static StateQuery select = {
		"SELECT seats, approved FROM spinpanel.adjustment WHERE adjustment_id = $1", "I", NULL
	};
	StateArg args[1];

	*approved = false;
	if (op->adjustment_id == 0)
		return -1;
	args[0] = spinpanel_arg_int64(op->adjustment_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return -1;
	*approved = spinpanel_row_bool(0, 2);
	return spinpanel_row_int(0, 1);
}

int32
spinpanel_adjustment_from(const Operation *op)
{
	static StateQuery select = {
		"SELECT from_quantity FROM spinpanel.adjustment WHERE adjustment_id = $1", "I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->adjustment_id);
	if (op->adjustment_id == 0 || spinpanel_state_run(&select, args, 1) == 0 ||
		spinpanel_row_isnull(0, 1))
		return -1;
	return spinpanel_row_int(0, 1);
}

bool
spinpanel_adjustment_merge_stands(const Operation *op)
{
	static StateQuery select = {
		"SELECT count(*) > 0 AND bool_and(a.status = 'queued' AND s.status = 'active' AND s.quantity = a.from_quantity"
		"  AND EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = a.customer_id"
		"   AND o.adjustment_id = a.adjustment_id AND o.status = 'queued'))"
		" FROM spinpanel.adjustment r JOIN spinpanel.adjustment a ON a.run_id = r.run_id"
		"  AND a.customer_id = r.customer_id AND a.merge = r.merge AND a.action = 'suspend'"
		" LEFT JOIN spinpanel.subscription s ON s.subscription_id = a.subscription_id AND s.gone_at IS NULL"
		" WHERE r.adjustment_id = $1",
		"I", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_int64(op->adjustment_id);
	return spinpanel_state_run(&select, args, 1) > 0 && spinpanel_row_bool(0, 1);
}

void
spinpanel_adjustment_note(int64 run_id, const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
						  const char *reason)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.adjustment (run_id, customer_id, sku_id, action, reason, status, created_at, finished_at)"
		" VALUES (nullif($1, 0), $2, $3, 'none', $4, 'skipped', $5, $5)",
		"IuutT", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_int64(run_id);
	args[1] = spinpanel_arg_uuid(customer_id);
	args[2] = spinpanel_arg_uuid(sku_id);
	args[3] = spinpanel_arg_text(reason);
	args[4] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&insert, args, 0);
}
