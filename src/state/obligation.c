/*
 * obligation.c
 *
 * The table obligation: rows, moments and history.  What to do about one is
 * decided in op_watch.c; nothing here decides about seats.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/json.h"
#include "state/history.h"
#include "state/obligation.h"
#include "state/statement.h"

#define OBLIGATION_COLUMNS \
	"b.obligation_id, b.kind, b.stage, b.operation_id, b.adjustment_id, b.run_id, b.account_id, b.customer_id," \
	" b.sku_id, b.subscription_id, b.seats, b.leaves, b.owed, b.returned, b.audit, b.effective_at, b.look_at," \
	" b.overdue_since, b.created_at"

static void
obligation_from_row(uint64 row, Obligation *o)
{
	memset(o, 0, sizeof(*o));
	o->obligation_id = spinpanel_row_int64(row, 1);
	o->kind = spinpanel_row_text(row, 2, CurrentMemoryContext);
	o->stage = spinpanel_row_text(row, 3, CurrentMemoryContext);
	o->operation_id = spinpanel_row_int64(row, 4);
	o->adjustment_id = spinpanel_row_int64(row, 5);
	o->run_id = spinpanel_row_int64(row, 6);
	o->account_id = spinpanel_row_int(row, 7);
	spinpanel_row_uuid(row, 8, &o->customer_id);
	spinpanel_row_uuid(row, 9, &o->sku_id);
	spinpanel_row_uuid(row, 10, &o->subscription_id);
	o->seats = spinpanel_row_int(row, 11);
	o->leaves = spinpanel_row_int(row, 12);
	o->owed = spinpanel_row_int(row, 13);
	o->returned = spinpanel_row_int(row, 14);
	o->audit = spinpanel_row_bool(row, 15);
	o->effective_at = spinpanel_row_time(row, 16, 0);
	o->look_at = spinpanel_row_time(row, 17, 0);
	o->overdue_since = spinpanel_row_time(row, 18, 0);
	o->created_at = spinpanel_row_time(row, 19, 0);
}

static StateArg
id_arg(int64 id)
{
	return id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(id);
}

void
spinpanel_obligation_record(const Obligation *o, int64 operation_id, const char *event,
							const char *reason)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = o->account_id;
	entry.customer_id = &o->customer_id;
	entry.sku_id = &o->sku_id;
	entry.subscription_id = &o->subscription_id;
	entry.run_id = o->run_id;
	entry.adjustment_id = o->adjustment_id;
	entry.operation_id = operation_id != 0 ? operation_id : o->operation_id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
}

void
spinpanel_obligation_add(const Operation *op, const char *kind, int32 seats, int32 leaves,
						 int32 owed, bool audit, TimestampTz effective_at, TimestampTz look_at)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.obligation AS b (kind, stage, operation_id, adjustment_id, run_id, account_id,"
		" customer_id, sku_id, subscription_id, seats, leaves, owed, audit, effective_at, look_at, created_at)"
		" VALUES ($1, 'settle', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
		" RETURNING " OBLIGATION_COLUMNS,
		"tIIIiuuuiiibTTT", NULL
	};
	StateArg args[15];
	Obligation o;

	args[0] = spinpanel_arg_text(kind);
	args[1] = spinpanel_arg_int64(op->operation_id);
	args[2] = id_arg(op->adjustment_id);
	args[3] = id_arg(op->run_id);
	args[4] = spinpanel_arg_int(op->account_id);
	args[5] = spinpanel_arg_uuid(&op->customer_id);
	args[6] = spinpanel_arg_uuid(&op->sku_id);
	args[7] = spinpanel_arg_uuid(&op->subscription_id);
	args[8] = spinpanel_arg_int(Max(seats, 0));
	args[9] = spinpanel_arg_int(Max(leaves, 0));
	args[10] = spinpanel_arg_int(owed);
	args[11] = spinpanel_arg_bool(audit);
	args[12] = spinpanel_arg_time(effective_at);
	args[13] = spinpanel_arg_time(look_at);
	args[14] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&insert, args, 0);
	obligation_from_row(0, &o);
	if (o.seats > 0)
		spinpanel_obligation_record(
			&o, 0, "obligation",
			psprintf("%d seat(s) %s: watched until that has settled", o.seats,
					 strcmp(kind, "removed") == 0 ? "were taken" : "go at the renewal"));
}

void
spinpanel_obligation_next_term(const Operation *op, bool ended, int32 seats, int32 leaves,
							   TimestampTz effective_at, TimestampTz look_at)
{
	static StateQuery former = { "SELECT " OBLIGATION_COLUMNS
								 " FROM spinpanel.obligation b WHERE b.subscription_id = $1"
								 " AND b.kind IN ('scheduled', 'ended')",
								 "u", NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(&op->subscription_id);
	if (spinpanel_state_run(&former, args, 0) > 0)
	{
		Obligation o;

		obligation_from_row(0, &o);
		spinpanel_obligation_over(&o, seats > 0 ? "something else was scheduled by us since"
												: "nothing is taken at the renewal any more");
	}
	if (seats > 0)
		spinpanel_obligation_add(op, ended ? "ended" : "scheduled", seats, leaves, 0, false,
								 effective_at, look_at);
}

int
spinpanel_obligation_due(const int32 *accounts, int account_count, int limit,
						 ObligationPool **pools, MemoryContext context)
{
	static StateQuery select = {
		"SELECT d.customer_id, d.sku_id, d.account_id, d.subscription_id,"
		" (SELECT min(coalesce(o.sent_at, b.created_at)) FROM spinpanel.obligation b"
		"  LEFT JOIN spinpanel.operation o USING (operation_id)"
		"  WHERE b.customer_id = d.customer_id AND b.sku_id = d.sku_id AND b.audit),"
		" (SELECT array_agg(x.account_id) FROM spinpanel.customer_account x"
		"  JOIN spinpanel.account y ON y.account_id = x.account_id"
		"  WHERE x.customer_id = d.customer_id AND x.account_id <> d.account_id"
		"  AND x.gone_at IS NULL AND y.status <> 'disconnected')"
		" FROM (SELECT DISTINCT ON (b.customer_id, b.sku_id) b.customer_id, b.sku_id, b.account_id, b.subscription_id, b.look_at"
		"  FROM (SELECT i.* FROM spinpanel.obligation i WHERE i.look_at <= $1 AND i.account_id = ANY ($3)"
		"   AND NOT EXISTS (SELECT FROM spinpanel.relationship r WHERE r.customer_id = i.customer_id AND r.paused_at IS NOT NULL)"
		"   ORDER BY i.look_at LIMIT $2) b ORDER BY b.customer_id, b.sku_id, b.look_at) d ORDER BY d.look_at",
		"TiAi", NULL
	};
	StateArg args[3];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_int(limit);
	args[2] = spinpanel_arg_ints(accounts, account_count);
	rows = spinpanel_state_run(&select, args, 0);
	*pools = MemoryContextAllocZero(context, sizeof(ObligationPool) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		ObligationPool *pool = &(*pools)[row];

		spinpanel_row_uuid(row, 1, &pool->customer_id);
		spinpanel_row_uuid(row, 2, &pool->sku_id);
		pool->account_id = spinpanel_row_int(row, 3);
		spinpanel_row_uuid(row, 4, &pool->subscription_id);
		pool->audit = !spinpanel_row_isnull(row, 5);
		pool->audit_from = spinpanel_row_time(row, 5, 0);
		pool->other_count = spinpanel_row_ints(row, 6, pool->other_accounts, OUTBOX_OTHERS);
	}
	return (int) rows;
}

TimestampTz
spinpanel_obligation_next_look(void)
{
	static StateQuery select = { "SELECT min(look_at) FROM spinpanel.obligation WHERE look_at > $1",
								 "T", NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_time(0, 1, DT_NOEND);
}

int
spinpanel_obligation_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
						  Obligation **obligations)
{
	static StateQuery select = {
		"SELECT " OBLIGATION_COLUMNS
		" FROM spinpanel.obligation b WHERE b.customer_id = $1 AND b.sku_id = $2"
		" ORDER BY b.obligation_id DESC",
		"uu", NULL
	};
	StateArg args[2];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	rows = spinpanel_state_run(&select, args, 0);
	*obligations = palloc(sizeof(Obligation) * (rows + 1));
	for (row = 0; row < rows; row++)
		obligation_from_row(row, &(*obligations)[row]);
	return (int) rows;
}

void
spinpanel_obligation_save(const Obligation *o)
{
	static StateQuery update = {
		"UPDATE spinpanel.obligation SET seats = $2, leaves = $3, owed = $4, audit = $5, effective_at = $6"
		" WHERE obligation_id = $1 AND (seats, leaves, owed, audit, effective_at) IS DISTINCT FROM ($2, $3, $4, $5, $6)",
		"IiiibT", NULL
	};
	StateArg args[6];

	args[0] = spinpanel_arg_int64(o->obligation_id);
	args[1] = spinpanel_arg_int(Max(o->seats, 0));
	args[2] = spinpanel_arg_int(Max(o->leaves, 0));
	args[3] = spinpanel_arg_int(Max(o->owed, 0));
	args[4] = spinpanel_arg_bool(o->audit);
	args[5] = spinpanel_arg_time(o->effective_at);
	spinpanel_state_run(&update, args, 0);
}

void
spinpanel_obligation_stage(Obligation *o, const char *stage, TimestampTz look_at)
{
	static StateQuery update = {
		"UPDATE spinpanel.obligation SET stage = $2, look_at = $3, overdue_since = NULL, problem = NULL"
		" WHERE obligation_id = $1",
		"ItT", NULL
	};
	StateArg args[3];
	bool moves = strcmp(o->stage, stage) != 0;

	args[0] = spinpanel_arg_int64(o->obligation_id);
	args[1] = spinpanel_arg_text(stage);
	args[2] = spinpanel_arg_time(look_at);
	spinpanel_state_run(&update, args, 0);
	if (moves)
		spinpanel_obligation_record(o, 0, "obligation looked at",
									psprintf("%s is over, next: %s", o->stage, stage));
	o->stage = stage;
	o->look_at = look_at;
	o->overdue_since = 0;
}

void
spinpanel_obligation_trouble(Obligation *o, TimestampTz look_at, const char *problem)
{
	static StateQuery update = {
		"UPDATE spinpanel.obligation SET look_at = $2, overdue_since = coalesce(overdue_since, $3), problem = $4"
		" WHERE obligation_id = $1",
		"ITTt", NULL
	};
	StateArg args[4];

	args[0] = spinpanel_arg_int64(o->obligation_id);
	args[1] = spinpanel_arg_time(look_at);
	args[2] = spinpanel_arg_time(spinpanel_now());
	args[3] = spinpanel_arg_text(problem);
	spinpanel_state_run(&update, args, 0);
	if (o->overdue_since == 0)
	{
		spinpanel_obligation_record(o, 0, "obligation overdue", problem);
		o->overdue_since = spinpanel_now();
	}
	o->look_at = look_at;
}

void
spinpanel_obligation_returned(int64 obligation_id, int32 seats, TimestampTz look_at)
{
	static StateQuery update = {
		"UPDATE spinpanel.obligation SET returned = returned + $2, owed = greatest(0, owed - $2), look_at = $3"
		" WHERE obligation_id = $1",
		"IiT", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_int64(obligation_id);
	args[1] = spinpanel_arg_int(seats);
	args[2] = spinpanel_arg_time(look_at);
	spinpanel_state_run(&update, args, 0);
}

void
spinpanel_obligation_over(const Obligation *o, const char *reason)
{
	static StateQuery remove = { "DELETE FROM spinpanel.obligation WHERE obligation_id = $1", "I",
								 NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_int64(o->obligation_id);
	if (spinpanel_state_run(&remove, args, 0) > 0)
		spinpanel_obligation_record(o, 0, "obligation over", reason);
}

void
spinpanel_obligation_abandon(const char *reason)
{
	static StateQuery all = { "SELECT " OBLIGATION_COLUMNS
							  " FROM spinpanel.obligation b ORDER BY b.obligation_id",
							  "", NULL };
	uint64 rows = spinpanel_state_run(&all, NULL, 0);
	Obligation *obligations = palloc(sizeof(Obligation) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		obligation_from_row(row, &obligations[row]);
	for (row = 0; row < rows; row++)
		spinpanel_obligation_over(&obligations[row], reason);
}
