/*
 * run.c
 *
 * The tables run and run_customer.  It decides nothing about seats and sends
 * nothing.
 */
#include "postgres.h"

#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "base/clock.h"
#include "base/cronline.h"
#include "state/history.h"
#include "state/run.h"
#include "state/statement.h"

/* An operation that waits, or fails to be sent, longer than this does not keep its run open. */
#define RUN_PATIENCE "15 minutes"

/* pg_cron may be a little late; only then is a night called missed. */
#define CRON_GRACE (10 * USECS_PER_MINUTE)

static RunKind
kind_of(const char *kind)
{
	if (strcmp(kind, "sync") == 0)
		return RUN_SYNC;
	return strcmp(kind, "adjust") == 0 ? RUN_ADJUST : RUN_NIGHTLY;
}

static void
notify_run(int64 run_id, const char *status)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfo(&payload,
					 "{\"type\":\"run\",\"id\":" INT64_FORMAT
					 ",\"status\":\"%s\",\"customer_id\":null}",
					 run_id, status);
	Async_Notify("spinpanel", payload.data);
}

int
spinpanel_run_open(Run **runs, MemoryContext context)
{
	/* A night that is still open when the next one starts is overtaken. */
	static StateQuery overtake = {
		"UPDATE spinpanel.run SET status = 'failed', finished_at = $1, error = 'overtaken by the next night'"
		" WHERE kind = 'nightly' AND status IN ('queued', 'running') AND EXISTS (SELECT FROM spinpanel.run n"
		" WHERE n.kind = 'nightly' AND n.status IN ('queued', 'running') AND n.night > run.night)"
		" RETURNING run_id",
		"T", NULL
	};
	static StateQuery clean = {
		"DELETE FROM spinpanel.run_customer c USING spinpanel.run r WHERE r.run_id = c.run_id"
		" AND r.status = 'failed' AND NOT c.failed",
		"", NULL
	};
	static StateQuery start = {
		"WITH started AS (UPDATE spinpanel.run SET status = 'running', started_at = $1, listed_accounts = '{}',"
		" customers = 0, customers_failed = 0, attempts = 0, not_before = '-infinity', error = NULL, finished_at = NULL"
		" WHERE status = 'queued' RETURNING run_id)"
		/* what is left of an earlier attempt */
		" DELETE FROM spinpanel.run_customer WHERE run_id IN (SELECT run_id FROM started)",
		"T", NULL
	};
	static StateQuery select = {
		"SELECT run_id, kind, dry_run, customer_id, started_at, not_before, attempts, listed_accounts"
		" FROM spinpanel.run WHERE status = 'running' ORDER BY run_id",
		"", NULL
	};
	StateArg args[1];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(spinpanel_now());
	rows = spinpanel_state_run(&overtake, args, 0);
	if (rows > 0)
	{
		for (row = 0; row < rows; row++)
			notify_run(spinpanel_row_int64(row, 1), "failed");
		spinpanel_state_run(&clean, NULL, 0);
	}
	spinpanel_state_run(&start, args, 0);
	rows = spinpanel_state_run(&select, NULL, 0);
	*runs = MemoryContextAllocZero(context, sizeof(Run) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		Run *run = &(*runs)[row];
		bool isnull;
		Datum datum;
		ArrayType *array;

		run->run_id = spinpanel_row_int64(row, 1);
		run->kind = kind_of(spinpanel_row_text(row, 2, CurrentMemoryContext));
		run->dry_run = spinpanel_row_bool(row, 3);
		run->named = spinpanel_row_uuid(row, 4, &run->customer_id);
		run->started_at = spinpanel_row_time(row, 5, 0);
		run->not_before = spinpanel_row_time(row, 6, DT_NOBEGIN);
		run->attempts = spinpanel_row_int(row, 7);
		datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 8, &isnull);
		if (!isnull)
		{
			array = DatumGetArrayTypeP(datum);
			run->listed_count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
			run->listed = MemoryContextAlloc(context, sizeof(int32) * (run->listed_count + 1));
			memcpy(run->listed, ARR_DATA_PTR(array), sizeof(int32) * run->listed_count);
		}
	}
	return (int) rows;
}

static void
mark_listed(const Run *run, int32 account_id, uint64 customers)
{
	static StateQuery update = {
		"UPDATE spinpanel.run SET listed_accounts = listed_accounts || $2, customers = customers + $3,"
		" attempts = 0, not_before = '-infinity'"
		" WHERE run_id = $1 AND NOT $2 = ANY (listed_accounts)",
		"Iii", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_int((int32) customers);
	spinpanel_state_run(&update, args, 0);
}

static uint64
insert_customers(const Run *run, int32 account_id, const char *failure)
{
	/*
	 * Who has a renewal or a batch deadline before the next turn comes first;
	 * a customer whom somebody named does not wait behind a night.
	 */
	static StateQuery insert = {
		"INSERT INTO spinpanel.run_customer (run_id, account_id, customer_id, priority, failed, error)"
		" SELECT $1, $2, ca.customer_id,"
		" CASE WHEN $3 IS NOT NULL THEN 100 ELSE 0 END + CASE WHEN EXISTS (SELECT FROM spinpanel.subscription s"
		" WHERE s.customer_id = ca.customer_id AND s.gone_at IS NULL AND s.status = 'active'"
		" AND (s.term_end BETWEEN $4 AND $4 + '26 hours'::interval"
		" OR EXISTS (SELECT FROM unnest(s.refund_until) u WHERE u BETWEEN $4 AND $4 + '26 hours'::interval)))"
		" THEN 10 ELSE 0 END, $5 IS NOT NULL, $5"
		" FROM spinpanel.customer_account ca JOIN spinpanel.relationship r USING (customer_id)"
		" WHERE ca.account_id = $2 AND ca.gone_at IS NULL AND (r.partner_center_sync OR $3 IS NOT NULL)"
		" AND ($3 IS NULL OR ca.customer_id = $3)"
		" ON CONFLICT DO NOTHING",
		"IiuTt", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_uuid(run->named ? &run->customer_id : NULL);
	args[3] = spinpanel_arg_time(spinpanel_now());
	args[4] = spinpanel_arg_text(failure);
	return spinpanel_state_run(&insert, args, 0);
}

void
spinpanel_run_fill(const Run *run, int32 account_id)
{
	mark_listed(run, account_id, insert_customers(run, account_id, NULL));
}

void
spinpanel_run_fill_failed(const Run *run, int32 account_id, const char *reason)
{
	static StateQuery note = { "UPDATE spinpanel.run SET error = $2 WHERE run_id = $1", "It",
							   NULL };
	StateArg args[2];

	uint64 customers = insert_customers(run, account_id, reason);

	mark_listed(run, account_id, customers);
	if (run->named && customers == 0)
		return; /* the named customer is another account's */
	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_text(reason);
	spinpanel_state_run(&note, args, 0);
}

void
spinpanel_run_listing_failed(const Run *run, TimestampTz not_before, const char *reason)
{
	static StateQuery update = {
		"UPDATE spinpanel.run SET attempts = attempts + 1, not_before = $2, error = $3"
		" WHERE run_id = $1",
		"ITt", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_time(not_before);
	args[2] = spinpanel_arg_text(reason);
	spinpanel_state_run(&update, args, 0);
}

void
spinpanel_run_fail_account(int32 account_id, const char *reason)
{
	static StateQuery update = { "UPDATE spinpanel.run_customer SET failed = true, error = $2"
								 " WHERE account_id = $1 AND NOT failed",
								 "it", NULL };
	StateArg args[2];

	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_text(reason);
	spinpanel_state_run(&update, args, 0);
}

static bool
row_hash(uint64 row, int column, unsigned char *hash)
{
	bool isnull;
	Datum datum;
	bytea *bytes;

	datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	if (isnull)
		return false;
	bytes = DatumGetByteaPP(datum);
	if (VARSIZE_ANY_EXHDR(bytes) != 16)
		return false;
	memcpy(hash, VARDATA_ANY(bytes), 16);
	return true;
}

int
spinpanel_run_due(int limit, RunCustomer **customers, MemoryContext context)
{
	static StateQuery select = {
		"SELECT c.run_id, r.kind, r.dry_run, r.customer_id IS NOT NULL, c.account_id, c.customer_id, c.attempts,"
		" rel.auto_license_adjustment, r.started_at, ca.subscriptions_hash, ca.subscribed_skus_hash,"
		" NOT EXISTS (SELECT FROM spinpanel.pool p WHERE p.customer_id = c.customer_id"
		" AND (p.doubt IS NOT NULL OR p.settle_active IS NOT NULL))"
		" AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = c.customer_id AND q.waiting)"
		/* an offer still to be looked up */
		" AND NOT EXISTS (SELECT FROM spinpanel.subscription s LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		"  WHERE s.customer_id = c.customer_id AND s.gone_at IS NULL AND s.commerce <> 'other'"
		"  AND s.status IN ('active', 'suspended') AND (s.sku_id IS NULL OR s.commerce = 'legacy' AND f.minimum IS NULL))"
		" FROM spinpanel.run_customer c JOIN spinpanel.run r USING (run_id)"
		" JOIN spinpanel.relationship rel ON rel.customer_id = c.customer_id"
		" JOIN spinpanel.customer_account ca ON ca.customer_id = c.customer_id AND ca.account_id = c.account_id"
		" WHERE NOT c.failed AND c.not_before <= $1 AND r.status = 'running'"
		" ORDER BY c.priority DESC, c.run_id, c.customer_id LIMIT $2",
		"Ti", NULL
	};
	StateArg args[2];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_int(limit);
	rows = spinpanel_state_run(&select, args, 0);
	*customers = MemoryContextAllocZero(context, sizeof(RunCustomer) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		RunCustomer *c = &(*customers)[row];

		c->run_id = spinpanel_row_int64(row, 1);
		c->kind = kind_of(spinpanel_row_text(row, 2, CurrentMemoryContext));
		c->dry_run = spinpanel_row_bool(row, 3);
		c->named = spinpanel_row_bool(row, 4);
		c->account_id = spinpanel_row_int(row, 5);
		spinpanel_row_uuid(row, 6, &c->customer_id);
		c->attempts = spinpanel_row_int(row, 7);
		c->adjust = spinpanel_row_bool(row, 8);
		c->run_started_at = spinpanel_row_time(row, 9, 0);
		c->has_subscriptions_hash = row_hash(row, 10, c->subscriptions_hash);
		c->has_skus_hash = row_hash(row, 11, c->skus_hash);
		c->quiet = spinpanel_row_bool(row, 12);
	}
	return (int) rows;
}

TimestampTz
spinpanel_run_next_due(void)
{
	static StateQuery select = {
		"SELECT least((SELECT min(not_before) FROM spinpanel.run_customer WHERE NOT failed AND not_before > $1),"
		" (SELECT min(not_before) FROM spinpanel.run WHERE status = 'running' AND not_before > $1))",
		"T", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&select, args, 0);
	return spinpanel_row_time(0, 1, DT_NOEND);
}

void
spinpanel_run_customers_done(const RunCustomer *const *customers, int count)
{
	static StateQuery delete = {
		"DELETE FROM spinpanel.run_customer c USING unnest($1, $2, $3) AS d (run_id, account_id, customer_id)"
		" WHERE c.run_id = d.run_id AND c.account_id = d.account_id AND c.customer_id = d.customer_id",
		"AIAiAu", NULL
	};
	Datum *runs = palloc(sizeof(Datum) * count);
	Datum *accounts = palloc(sizeof(Datum) * count);
	Datum *ids = palloc(sizeof(Datum) * count);
	StateArg args[3];
	int i;

	for (i = 0; i < count; i++)
	{
		runs[i] = Int64GetDatum(customers[i]->run_id);
		accounts[i] = Int32GetDatum(customers[i]->account_id);
		ids[i] = UUIDPGetDatum(&customers[i]->customer_id);
	}
	args[0] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(runs, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	args[1] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(accounts, count, INT4OID, 4, true, TYPALIGN_INT)));
	args[2] = spinpanel_arg_datum(
		PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	spinpanel_state_run(&delete, args, 0);
}

void
spinpanel_run_customer_later(const RunCustomer *customer, TimestampTz not_before,
							 const char *reason, bool counts)
{
	static StateQuery update = {
		"UPDATE spinpanel.run_customer SET not_before = $4, error = $5, attempts = attempts + $6"
		" WHERE run_id = $1 AND account_id = $2 AND customer_id = $3",
		"IiuTti", NULL
	};
	StateArg args[6];

	args[0] = spinpanel_arg_int64(customer->run_id);
	args[1] = spinpanel_arg_int(customer->account_id);
	args[2] = spinpanel_arg_uuid(&customer->customer_id);
	args[3] = spinpanel_arg_time(not_before);
	args[4] = spinpanel_arg_text(reason);
	args[5] = spinpanel_arg_int(counts ? 1 : 0);
	spinpanel_state_run(&update, args, 0);
}

void
spinpanel_run_customer_failed(const RunCustomer *customer, const char *reason)
{
	static StateQuery update = { "UPDATE spinpanel.run_customer SET failed = true, error = $4"
								 " WHERE run_id = $1 AND account_id = $2 AND customer_id = $3",
								 "Iiut", NULL };
	StateArg args[4];

	args[0] = spinpanel_arg_int64(customer->run_id);
	args[1] = spinpanel_arg_int(customer->account_id);
	args[2] = spinpanel_arg_uuid(&customer->customer_id);
	args[3] = spinpanel_arg_text(reason);
	spinpanel_state_run(&update, args, 0);
}

/*
 * Requests are counted in memory and written now and then: an update of the
 * run's row for each customer would be a row version each.
 */
#define COUNTED_RUNS 16

static struct
{
	int64 run_id;
	int64 requests;
} counted[COUNTED_RUNS];

void
spinpanel_run_write_counts(void)
{
	static StateQuery update = {
		"UPDATE spinpanel.run SET requests = requests + $2 WHERE run_id = $1", "II", NULL
	};
	StateArg args[2];
	int i;

	for (i = 0; i < COUNTED_RUNS; i++)
	{
		if (counted[i].requests == 0)
			continue;
		args[0] = spinpanel_arg_int64(counted[i].run_id);
		args[1] = spinpanel_arg_int64(counted[i].requests);
		spinpanel_state_run(&update, args, 0);
		counted[i].run_id = counted[i].requests = 0;
	}
}

void
spinpanel_run_count_requests(int64 run_id, int64 requests)
{
	int free_slot = -1;
	int i;

	for (i = 0; i < COUNTED_RUNS; i++)
	{
		if (counted[i].requests > 0 && counted[i].run_id == run_id)
		{
			counted[i].requests += requests;
			return;
		}
		if (counted[i].requests == 0)
			free_slot = i;
	}
	if (free_slot < 0)
	{
		spinpanel_run_write_counts();
		free_slot = 0;
	}
	counted[free_slot].run_id = run_id;
	counted[free_slot].requests = requests;
}

void
spinpanel_run_finish(const int32 *accounts, int account_count)
{
	static StateQuery finish = {
		"UPDATE spinpanel.run r SET"
		" status = CASE WHEN f.failed > 0 AND f.failed >= r.customers"
		"  OR r.customers = 0 AND r.error IS NOT NULL OR cardinality(r.listed_accounts) = 0"
		"  THEN 'failed' ELSE 'done' END,"
		" finished_at = $1, customers_failed = f.failed,"
		" error = CASE WHEN cardinality(r.listed_accounts) = 0 THEN 'no account is connected'"
		"  WHEN f.failed > 0 AND f.failed >= r.customers THEN coalesce(r.error, f.error) ELSE r.error END"
		" FROM (SELECT o.run_id, (SELECT count(*)::int FROM spinpanel.run_customer c WHERE c.run_id = o.run_id) AS failed,"
		"  (SELECT min(c.error) FROM spinpanel.run_customer c WHERE c.run_id = o.run_id) AS error"
		"  FROM spinpanel.run o WHERE o.status = 'running' AND o.listed_accounts @> $2"
		"  AND NOT EXISTS (SELECT FROM spinpanel.run_customer c WHERE c.run_id = o.run_id AND NOT c.failed)"
		"  AND NOT EXISTS (SELECT FROM spinpanel.operation p WHERE p.run_id = o.run_id"
		"   AND p.status IN ('queued', 'sending', 'unknown') AND p.not_before < $1 + '" RUN_PATIENCE
		"'::interval"
		"   AND NOT (p.status = 'queued' AND p.error IS NOT NULL AND p.created_at < $1 - '" RUN_PATIENCE
		"'::interval)"
		"   AND NOT (p.status = 'queued' AND EXISTS (SELECT FROM spinpanel.relationship l"
		"    WHERE l.customer_id = p.customer_id AND l.paused_at IS NOT NULL)))) f"
		" WHERE r.run_id = f.run_id RETURNING r.run_id, r.status, r.error",
		"TAi", NULL
	};
	StateArg args[2];
	Datum *elements = palloc(sizeof(Datum) * (account_count + 1));
	uint64 rows;
	uint64 row;
	int i;
	HistoryEntry entry;

	spinpanel_run_write_counts();
	for (i = 0; i < account_count; i++)
		elements[i] = Int32GetDatum(accounts[i]);
	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, account_count, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
	rows = spinpanel_state_run(&finish, args, 0);
	if (rows > 0)
	{
		int64 *ids = palloc(sizeof(int64) * rows);
		char **states = palloc(sizeof(char *) * rows);
		char **errors = palloc(sizeof(char *) * rows);

		for (row = 0; row < rows; row++)
		{
			ids[row] = spinpanel_row_int64(row, 1);
			states[row] = spinpanel_row_text(row, 2, CurrentMemoryContext);
			errors[row] = spinpanel_row_text(row, 3, CurrentMemoryContext);
		}
		for (row = 0; row < rows; row++)
		{
			memset(&entry, 0, sizeof(entry));
			entry.event = psprintf("run %s", states[row]);
			entry.run_id = ids[row];
			entry.reason = errors[row];
			spinpanel_history_add(&entry);
			notify_run(ids[row], states[row]);
		}
	}
}

void
spinpanel_run_make_up(void)
{
	static StateQuery select = {
		"SELECT schedule, scheduled_at FROM spinpanel.installation WHERE schedule IS NOT NULL", "",
		NULL
	};
	static StateQuery insert = {
		"INSERT INTO spinpanel.run (kind, night, made_up, created_at)"
		" VALUES ('nightly', $1, true, $2) ON CONFLICT DO NOTHING RETURNING run_id",
		"dT", NULL
	};
	StateArg args[2];
	TimestampTz now = spinpanel_now();
	TimestampTz scheduled_at;
	TimestampTz due;
	char *schedule;
	DateADT night;

	if (spinpanel_state_run(&select, NULL, 1) == 0)
		return;
	schedule = spinpanel_row_text(0, 1, CurrentMemoryContext);
	scheduled_at = spinpanel_row_time(0, 2, DT_NOEND);
	if (!spinpanel_cron_previous(schedule, now - CRON_GRACE, &due) || due <= scheduled_at)
		return;

	night = (DateADT) (due / USECS_PER_DAY - (due % USECS_PER_DAY < 0 ? 1 : 0));
	args[0] = spinpanel_arg_datum(DateADTGetDatum(night));
	args[1] = spinpanel_arg_time(now);
	if (spinpanel_state_run(&insert, args, 0) > 0)
	{
		int64 run_id = spinpanel_row_int64(0, 1);
		HistoryEntry entry;

		memset(&entry, 0, sizeof(entry));
		entry.event = "night made up for";
		entry.run_id = run_id;
		entry.reason =
			psprintf("pg_cron did not start the night of %s; the worker did",
					 DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(night))));
		spinpanel_history_add(&entry);
		ereport(LOG,
				(errmsg("spinpanel makes up for the night of %s, which pg_cron did not start",
						DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(night)))),
				 errhint("See spinpanel.check_setup().")));
	}
}
