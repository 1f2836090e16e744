/*
 * approval.c
 *
 * Purchases that a person has to approve: the adjustments "raise" of requests
 * (see request.h).  It must never decide which purchases those are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "state/history.h"
#include "state/request.h"
#include "state/statement.h"

static void
notify_adjustment(const pg_uuid_t *customer_id, int64 adjustment_id, const char *status)
{
	Async_Notify("spinpanel", psprintf("{\"type\":\"adjustment\",\"id\":" INT64_FORMAT
									   ",\"status\":\"%s\",\"customer_id\":\"%s\"}",
									   adjustment_id, status, spinpanel_uuid_text(customer_id)));
}

/* Others of the pool that wait, whatever they name: but what a person has decided about stands. */
#define OTHERS_WAITING \
	"q.customer_id = $1 AND q.sku_id = $2 AND q.status = 'queued' AND q.waits_for = 'approval'" \
	" AND NOT EXISTS (SELECT FROM spinpanel.adjustment j WHERE j.adjustment_id = q.adjustment_id" \
	"  AND j.status IN ('queued', 'rejected'))"

/* These, and all others of the pool that wait, wait for a person's word about this adjustment. */
static void
name_adjustment(Demand *demand, DemandRequest **requests, int count, int64 id, TimestampTz until,
				const char *reason)
{
	static StateQuery join = {
		"UPDATE spinpanel.license_request SET adjustment_id = $3, state_reason = $4 WHERE request_id IN"
		" (SELECT q.request_id FROM spinpanel.license_request q WHERE " OTHERS_WAITING
		"  AND q.adjustment_id IS DISTINCT FROM $3 FOR UPDATE SKIP LOCKED)",
		"uuIt", NULL
	};
	char *words = psprintf("waits for approval of adjustment " INT64_FORMAT ": %s", id, reason);
	StateArg args[4];
	int i;

	for (i = 0; i < count; i++)
	{
		requests[i]->adjustment_id = id;
		spinpanel_request_wait(demand, requests[i], until, "approval", words);
	}
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&requests[0]->sku_id);
	args[2] = spinpanel_arg_int64(id);
	args[3] = spinpanel_arg_text(words);
	spinpanel_state_run(&join, args, 0);
}

void
spinpanel_request_await_approval(Demand *demand, DemandRequest **requests, int count,
								 int32 quantity, TimestampTz until, const char *reason)
{
	/* Those that are not looked at now. */
	static StateQuery others = {
		"SELECT count(*)::int FROM spinpanel.license_request q WHERE " OTHERS_WAITING
		" AND q.request_id <> ALL ($3)",
		"uuAI", NULL
	};
	static StateQuery any = {
		"SELECT adjustment_id, seats FROM spinpanel.adjustment WHERE customer_id = $1 AND sku_id = $2"
		" AND action = 'raise' AND run_id IS NULL AND status = 'awaiting_approval'",
		"uu", NULL
	};
	static StateQuery supersede = {
		"UPDATE spinpanel.adjustment SET status = 'superseded', finished_at = $2 WHERE adjustment_id ="
		" (SELECT adjustment_id FROM spinpanel.adjustment WHERE adjustment_id = $1 AND status = 'awaiting_approval'"
		"  FOR UPDATE SKIP LOCKED)",
		"IT", NULL
	};
	static StateQuery insert = {
		"INSERT INTO spinpanel.adjustment (account_id, customer_id, sku_id, action, from_quantity, to_quantity, seats,"
		" reason, status, created_at) VALUES ($1, $2, $3, 'raise', $4, $5, $6, $7, 'awaiting_approval', $8)"
		" RETURNING adjustment_id",
		"iuuiiitT", NULL
	};
	HistoryEntry entry;
	StateArg args[8];
	int64 id = 0;
	int32 seats = count;
	Datum *ids = palloc(sizeof(Datum) * count);
	bool same;
	int i;

	for (i = 0; i < count; i++)
		ids[i] = Int64GetDatum(requests[i]->request_id);
	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&requests[0]->sku_id);
	args[2] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	spinpanel_state_run(&others, args, 0);
	seats += spinpanel_row_int(0, 1);

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_uuid(&requests[0]->sku_id);
	if (spinpanel_state_run(&any, args, 0) > 0)
	{
		id = spinpanel_row_int64(0, 1);
		same = spinpanel_row_int(0, 2) == seats;
		for (i = 0; i < count; i++)
			same = same && requests[i]->adjustment_id == id;
		if (same)
		{
			name_adjustment(demand, requests, count, id, until, reason);
			return;
		}
		args[0] = spinpanel_arg_int64(id);
		args[1] = spinpanel_arg_time(demand->now);
		if (spinpanel_state_run(&supersede, args, 0) == 0)
		{
			/* Somebody is deciding about it at this moment. */
			for (i = 0; i < count; i++)
				spinpanel_request_put_off(demand, requests[i], 1000, reason);
			return;
		}
		notify_adjustment(&demand->customer_id, id, "superseded");
	}

	args[0] = requests[0]->account_id == 0 ? spinpanel_arg_null()
										   : spinpanel_arg_int(requests[0]->account_id);
	args[1] = spinpanel_arg_uuid(&demand->customer_id);
	args[2] = spinpanel_arg_uuid(&requests[0]->sku_id);
	args[3] = spinpanel_arg_int(quantity);
	args[4] = spinpanel_arg_int(quantity + seats);
	args[5] = spinpanel_arg_int(seats);
	args[6] = spinpanel_arg_text(reason);
	args[7] = spinpanel_arg_time(demand->now);
	spinpanel_state_run(&insert, args, 0);
	id = spinpanel_row_int64(0, 1);
	memset(&entry, 0, sizeof(entry));
	entry.event = "adjustment awaits approval";
	entry.account_id = requests[0]->account_id;
	entry.customer_id = &demand->customer_id;
	entry.sku_id = &requests[0]->sku_id;
	entry.adjustment_id = id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
	notify_adjustment(&demand->customer_id, id, "awaiting_approval");
	name_adjustment(demand, requests, count, id, until, reason);
}

void
spinpanel_request_close_approvals(Demand *demand)
{
	static StateQuery close = {
		"UPDATE spinpanel.adjustment SET status = 'skipped', finished_at = $2, error = 'no seat had to be bought any more'"
		" WHERE adjustment_id IN (SELECT j.adjustment_id FROM spinpanel.adjustment j WHERE j.customer_id = $1"
		"  AND j.action = 'raise' AND j.run_id IS NULL AND j.status = 'queued'"
		"  AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = $1 AND o.adjustment_id = j.adjustment_id)"
		"  AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = $1 AND q.adjustment_id = j.adjustment_id"
		"   AND q.status IN ('queued', 'buying', 'provisioning', 'assigning')) FOR UPDATE SKIP LOCKED) RETURNING adjustment_id",
		"uT", NULL
	};
	StateArg args[2];
	int64 *ids;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(&demand->customer_id);
	args[1] = spinpanel_arg_time(demand->now);
	rows = spinpanel_state_run(&close, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	for (row = 0; row < rows; row++)
		notify_adjustment(&demand->customer_id, ids[row], "skipped");
}

/*
 * Those whose requests have all ended otherwise: nobody has to decide, or to
 * buy, any more.
 */
void
spinpanel_request_drop_approvals(void)
{
	static StateQuery drop = {
		"UPDATE spinpanel.adjustment SET status = CASE status WHEN 'queued' THEN 'skipped' ELSE 'superseded' END,"
		" finished_at = $1, error = 'no seat has to be bought any more'"
		" WHERE adjustment_id IN (SELECT j.adjustment_id FROM spinpanel.adjustment j"
		"  WHERE j.action = 'raise' AND j.run_id IS NULL AND j.status IN ('queued', 'awaiting_approval')"
		"  AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = j.customer_id"
		"   AND o.adjustment_id = j.adjustment_id)"
		"  AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = j.customer_id"
		"   AND q.adjustment_id = j.adjustment_id AND q.status IN ('queued', 'buying', 'provisioning', 'assigning'))"
		"  LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING adjustment_id, customer_id, status",
		"T", NULL
	};
	StateArg args[1];
	HistoryEntry *entries;
	pg_uuid_t *customers;
	char **statuses;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(spinpanel_now());
	rows = spinpanel_state_run(&drop, args, 0);
	entries = palloc0(sizeof(HistoryEntry) * (rows + 1));
	customers = palloc(sizeof(pg_uuid_t) * (rows + 1));
	statuses = palloc(sizeof(char *) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		entries[row].adjustment_id = spinpanel_row_int64(row, 1);
		spinpanel_row_uuid(row, 2, &customers[row]);
		statuses[row] = spinpanel_row_text(row, 3, CurrentMemoryContext);
	}
	for (row = 0; row < rows; row++)
	{
		entries[row].event = psprintf("adjustment %s", statuses[row]);
		entries[row].customer_id = &customers[row];
		entries[row].reason = "no seat has to be bought any more";
		spinpanel_history_add(&entries[row]);
		notify_adjustment(&customers[row], entries[row].adjustment_id, statuses[row]);
	}
}
