/*
 * run.c
 *
 * The tables run and run_customer.  It decides nothing about seats and sends
 * nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

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

/* ---- states --------------------------------------------------------------------------- */

typedef enum RunStatus
{
	STATUS_QUEUED,
	STATUS_RUNNING,
	STATUS_DONE,
	STATUS_FAILED
} RunStatus;

static const char *const status_names[] = { "queued", "running", "done", "failed" };

/* A failed night is queued again by nightly(), and by nobody else. */
static bool
may_become(RunStatus from, RunStatus to)
{
	switch (from)
	{
		case STATUS_QUEUED:
			return to == STATUS_RUNNING || to == STATUS_FAILED;
		case STATUS_RUNNING:
			return to == STATUS_DONE || to == STATUS_FAILED;
		case STATUS_DONE:
		case STATUS_FAILED:
			return false;
	}
	return false;
}

/*
 * The one place where a run's status changes; what is not in run.h's picture is
 * refused.  What ends goes on record.  customers_failed < 0: as it is.
 */
static void
write_status(int64 run_id, RunStatus from, RunStatus to, int customers_failed, const char *error)
{
	static StateQuery start = {
		"UPDATE spinpanel.run SET status = 'running', started_at = $2, listed_accounts = '{}', customers = 0,"
		" customers_failed = 0, attempts = 0, not_before = '-infinity', error = NULL, finished_at = NULL"
		" WHERE run_id = $1 AND status = $3",
		"ITt", NULL
	};
	static StateQuery end = {
		"UPDATE spinpanel.run SET status = $3, finished_at = $4, error = $5,"
		" customers_failed = CASE WHEN $6 >= 0 THEN $6 ELSE customers_failed END"
		" WHERE run_id = $1 AND status = $2",
		"IttTti", NULL
	};
	StateArg args[6];
	uint64 rows;

	if (!may_become(from, to))
		elog(ERROR, "a run cannot be %s after it was %s", status_names[to], status_names[from]);
	args[0] = spinpanel_arg_int64(run_id);
	if (to == STATUS_RUNNING)
	{
		args[1] = spinpanel_arg_time(spinpanel_now());
		args[2] = spinpanel_arg_text(status_names[from]);
		rows = spinpanel_state_run(&start, args, 0);
	}
	else
	{
		args[1] = spinpanel_arg_text(status_names[from]);
		args[2] = spinpanel_arg_text(status_names[to]);
		args[3] = spinpanel_arg_time(spinpanel_now());
		args[4] = spinpanel_arg_text(error);
		args[5] = spinpanel_arg_int(customers_failed);
		rows = spinpanel_state_run(&end, args, 0);
	}
	if (rows == 0)
		elog(ERROR, "run " INT64_FORMAT " is not %s", run_id, status_names[from]);
	if (to != STATUS_RUNNING)
	{
		HistoryEntry entry;

		memset(&entry, 0, sizeof(entry));
		entry.event = psprintf("run %s", status_names[to]);
		entry.run_id = run_id;
		entry.reason = error;
		spinpanel_history_add(&entry);
	}
}

/* By the worker: whoever listens is told. */
static void
run_becomes(int64 run_id, RunStatus from, RunStatus to, int customers_failed, const char *error)
{
	write_status(run_id, from, to, customers_failed, error);
	if (to != STATUS_RUNNING)
		notify_run(run_id, status_names[to]);
}

/* Ids in column 1 of the rows at hand. */
static int64 *
row_ids(uint64 rows)
{
	int64 *ids = palloc(sizeof(int64) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	return ids;
}

/* A caller's transaction may be PREPAREd, and so does not notify. */
void
spinpanel_run_abandon(const char *reason)
{
	static StateQuery open = {
		"SELECT run_id, status = 'running' FROM spinpanel.run WHERE status IN ('queued', 'running') ORDER BY run_id",
		"", NULL
	};
	static StateQuery clean = {
		"DELETE FROM spinpanel.run_customer c USING spinpanel.run r"
		" WHERE r.run_id = c.run_id AND r.status IN ('done', 'failed') AND NOT c.failed",
		"", NULL
	};
	uint64 rows = spinpanel_state_run(&open, NULL, 0);
	int64 *ids = row_ids(rows);
	bool *running = palloc(sizeof(bool) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		running[row] = spinpanel_row_bool(row, 2);
	for (row = 0; row < rows; row++)
		write_status(ids[row], running[row] ? STATUS_RUNNING : STATUS_QUEUED, STATUS_FAILED, -1,
					 reason);
	spinpanel_state_run(&clean, NULL, 0);
}

/* ---- runs that are open ----------------------------------------------------------------- */

/* As the last look found them. */
static int64 *open_runs = NULL;
static int open_count = 0;

bool
spinpanel_run_is_open(int64 run_id)
{
	int i;

	for (i = 0; i < open_count; i++)
		if (open_runs[i] == run_id)
			return true;
	return false;
}

/* A night that is still open when the next one starts is overtaken. */
static void
overtake(void)
{
	static StateQuery select = {
		"SELECT run_id, status = 'running' FROM spinpanel.run WHERE kind = 'nightly' AND status IN ('queued', 'running')"
		" AND EXISTS (SELECT FROM spinpanel.run n WHERE n.kind = 'nightly' AND n.status IN ('queued', 'running')"
		" AND n.night > run.night) ORDER BY run_id FOR UPDATE SKIP LOCKED",
		"", NULL
	};
	static StateQuery clean = {
		"DELETE FROM spinpanel.run_customer WHERE run_id = $1 AND NOT failed", "I", NULL
	};
	uint64 rows = spinpanel_state_run(&select, NULL, 0);
	int64 *ids = row_ids(rows);
	bool *running = palloc(sizeof(bool) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		running[row] = spinpanel_row_bool(row, 2);
	for (row = 0; row < rows; row++)
	{
		StateArg args[1];

		run_becomes(ids[row], running[row] ? STATUS_RUNNING : STATUS_QUEUED, STATUS_FAILED, -1,
					"overtaken by the next night");
		args[0] = spinpanel_arg_int64(ids[row]);
		spinpanel_state_run(&clean, args, 0);
	}
}

/*
 * Of several equal runs that are queued the first does the work of all.  What
 * callers have locked, or not committed, has its turn later.
 */
static void
start_queued(void)
{
	static StateQuery select = {
		"SELECT run_id, first_value(run_id) OVER (PARTITION BY kind, customer_id, dry_run, night ORDER BY run_id)"
		" FROM (SELECT run_id, kind, customer_id, dry_run, night FROM spinpanel.run WHERE status = 'queued'"
		"  FOR UPDATE SKIP LOCKED) q ORDER BY run_id",
		"", NULL
	};
	/* what is left of an earlier attempt */
	static StateQuery clean = { "DELETE FROM spinpanel.run_customer WHERE run_id = $1", "I", NULL };
	static StateQuery follow = { "UPDATE spinpanel.run SET same_as = $2 WHERE run_id = $1", "II",
								 NULL };
	uint64 rows = spinpanel_state_run(&select, NULL, 0);
	int64 *ids = row_ids(rows);
	int64 *leaders = palloc(sizeof(int64) * (rows + 1));
	uint64 row;

	for (row = 0; row < rows; row++)
		leaders[row] = spinpanel_row_int64(row, 2);
	for (row = 0; row < rows; row++)
	{
		StateArg args[2];

		run_becomes(ids[row], STATUS_QUEUED, STATUS_RUNNING, -1, NULL);
		args[0] = spinpanel_arg_int64(ids[row]);
		args[1] = spinpanel_arg_int64(leaders[row]);
		if (leaders[row] != ids[row])
			spinpanel_state_run(&follow, args, 0);
		else
			spinpanel_state_run(&clean, args, 0);
	}
}

int
spinpanel_run_open(Run **runs, MemoryContext context)
{
	static StateQuery select = {
		"SELECT run_id, kind, dry_run, customer_id, started_at, not_before, attempts, listed_accounts"
		" FROM spinpanel.run WHERE status = 'running' AND same_as IS NULL ORDER BY run_id",
		"", NULL
	};
	uint64 rows;
	uint64 row;

	overtake();
	start_queued();
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

	if (open_runs != NULL)
		pfree(open_runs);
	open_runs = MemoryContextAlloc(TopMemoryContext, sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		open_runs[row] = (*runs)[row].run_id;
	open_count = (int) rows;
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

/*
 * The next customers, in order of id, after *after; *after becomes the last of
 * them.  False: there were no more than these.
 */
static bool
insert_customers(const Run *run, int32 account_id, const char *failure, bool skus_first,
				 pg_uuid_t *after, int limit, uint64 *customers)
{
	static StateQuery bound = {
		"SELECT customer_id FROM spinpanel.customer_account WHERE account_id = $1 AND customer_id > $2"
		" ORDER BY customer_id OFFSET $3 LIMIT 1",
		"iui", NULL
	};

	/*
	 * Who has a renewal or a batch deadline before the next turn comes first;
	 * a customer whom somebody named does not wait behind a night.  Then who
	 * was looked at longest ago: whom a night did not reach, the next one does.
	 */
	static StateQuery insert = {
		"INSERT INTO spinpanel.run_customer (run_id, account_id, customer_id, priority, read_at, failed, error, skus_first)"
		" SELECT $1, $2, ca.customer_id,"
		" CASE WHEN $3 IS NOT NULL THEN 100 ELSE 0 END + CASE WHEN EXISTS (SELECT FROM spinpanel.subscription s"
		" WHERE s.customer_id = ca.customer_id AND s.gone_at IS NULL AND s.status = 'active'"
		" AND (s.term_end BETWEEN $4 AND $4 + '26 hours'::interval"
		" OR EXISTS (SELECT FROM unnest(s.refund_until) u WHERE u BETWEEN $4 AND $4 + '26 hours'::interval)))"
		" THEN 10 ELSE 0 END, coalesce(ca.looked_at, '-infinity'), $5 IS NOT NULL, $5, $8"
		" FROM spinpanel.customer_account ca JOIN spinpanel.relationship r USING (customer_id)"
		" WHERE ca.account_id = $2 AND ca.gone_at IS NULL AND (r.partner_center_sync OR $3 IS NOT NULL)"
		" AND ($3 IS NULL OR ca.customer_id = $3) AND ca.customer_id > $6 AND ($7 IS NULL OR ca.customer_id <= $7)"
		" ON CONFLICT DO NOTHING",
		"IiuTtuub", NULL
	};
	StateArg args[8];
	pg_uuid_t last;
	bool more = false;

	if (!run->named)
	{
		args[0] = spinpanel_arg_int(account_id);
		args[1] = spinpanel_arg_uuid(after);
		args[2] = spinpanel_arg_int(limit - 1);
		more = spinpanel_state_run(&bound, args, 0) > 0 && spinpanel_row_uuid(0, 1, &last);
	}
	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_uuid(run->named ? &run->customer_id : NULL);
	args[3] = spinpanel_arg_time(spinpanel_now());
	args[4] = spinpanel_arg_text(failure);
	args[5] = spinpanel_arg_uuid(after);
	args[6] = spinpanel_arg_uuid(more ? &last : NULL);
	args[7] = spinpanel_arg_bool(skus_first);
	*customers += spinpanel_state_run(&insert, args, 0);
	if (more)
		*after = last;
	return more;
}

bool
spinpanel_run_fill(const Run *run, int32 account_id, const char *failure, bool skus_first,
				   pg_uuid_t *after, int limit, uint64 *customers)
{
	static StateQuery note = { "UPDATE spinpanel.run SET error = $2 WHERE run_id = $1", "It",
							   NULL };
	StateArg args[2];

	if (insert_customers(run, account_id, failure, skus_first, after, limit, customers))
		return false;
	mark_listed(run, account_id, *customers);
	if (failure == NULL || (run->named && *customers == 0))
		return true; /* a named customer may be another account's */
	args[0] = spinpanel_arg_int64(run->run_id);
	args[1] = spinpanel_arg_text(failure);
	spinpanel_state_run(&note, args, 0);
	return true;
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
		"  AND s.status IN ('active', 'suspended') AND (s.sku_id IS NULL OR s.commerce = 'legacy' AND f.minimum IS NULL)),"
		/*
		 * Subscriptions need not be read: SKUs can tell whether seats changed;
		 * nothing else may have.  Older than a week: read all the same, each
		 * customer after seven to fourteen days, so that they spread.
		 */
		" c.skus_first AND ca.license_access AND ca.subscriptions_error IS NULL"
		" AND ca.subscriptions_fetched_at + '7 days'::interval + (uuid_hash(c.customer_id) & 127) * '79 minutes'::interval > $1"
		" AND coalesce(ca.audited_at, '-infinity') < ca.subscriptions_fetched_at"
		" AND coalesce(rel.changed_at, '-infinity') < ca.subscriptions_fetched_at"
		" AND NOT EXISTS (SELECT FROM spinpanel.license_rule u"
		"  WHERE coalesce(u.customer_id, '00000000-0000-0000-0000-000000000000')"
		"   IN (c.customer_id, '00000000-0000-0000-0000-000000000000') AND u.changed_at >= ca.subscriptions_fetched_at)"
		" AND NOT EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = c.customer_id"
		"  AND (o.status IN ('queued', 'sending', 'unknown') OR o.finished_at >= ca.subscriptions_fetched_at))"
		/* What is scheduled is looked at by itself; one look that is overdue is in trouble. */
		" AND NOT EXISTS (SELECT FROM spinpanel.obligation b WHERE b.customer_id = c.customer_id"
		"  AND (b.kind IN ('removed', 'raised') OR b.overdue_since IS NOT NULL))"
		" AND NOT EXISTS (SELECT FROM spinpanel.license_request q WHERE q.customer_id = c.customer_id"
		"  AND q.status IN ('queued', 'buying', 'provisioning', 'assigning'))"
		/* A date of theirs is near, or has passed since: end of term, window, begin of the lead. */
		" AND NOT EXISTS (SELECT FROM spinpanel.subscription s WHERE s.customer_id = c.customer_id"
		"  AND s.account_id = c.account_id AND s.gone_at IS NULL AND s.status IN ('active', 'suspended')"
		"  AND s.commerce <> 'other'"
		"  AND (least(s.term_end, s.custom_term_end) BETWEEN ca.subscriptions_fetched_at - '3 days'::interval AND $1 + '26 hours'::interval"
		"   OR s.term_end - rel.renewal_lead BETWEEN ca.subscriptions_fetched_at AND $1 + '26 hours'::interval"
		"   OR s.cancellation_allowed_until BETWEEN $1 AND $1 + '26 hours'::interval"
		"   OR EXISTS (SELECT FROM unnest(s.refund_until) u WHERE u BETWEEN $1 AND $1 + '26 hours'::interval)))"
		" FROM spinpanel.run_customer c JOIN spinpanel.run r USING (run_id)"
		" JOIN spinpanel.relationship rel ON rel.customer_id = c.customer_id"
		" JOIN spinpanel.customer_account ca ON ca.customer_id = c.customer_id AND ca.account_id = c.account_id"
		" WHERE NOT c.failed AND c.not_before <= $1 AND r.status = 'running'"
		" ORDER BY c.priority DESC, c.read_at, c.customer_id LIMIT $2",
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
		c->skus_alone = c->quiet && c->has_subscriptions_hash && c->has_skus_hash &&
						spinpanel_row_bool(row, 13);
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
spinpanel_run_customers_done(const RunCustomer *const *customers, int count, bool *wanted)
{
	static StateQuery delete = {
		"DELETE FROM spinpanel.run_customer c USING unnest($1, $2, $3) WITH ORDINALITY AS d (run_id, account_id, customer_id, position)"
		" WHERE c.run_id = d.run_id AND c.account_id = d.account_id AND c.customer_id = d.customer_id"
		" RETURNING d.position::int",
		"AIAiAu", NULL
	};
	Datum *runs = palloc(sizeof(Datum) * count);
	Datum *accounts = palloc(sizeof(Datum) * count);
	Datum *ids = palloc(sizeof(Datum) * count);
	StateArg args[3];
	uint64 rows;
	uint64 row;
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
	rows = spinpanel_state_run(&delete, args, 0);
	memset(wanted, 0, sizeof(bool) * count);
	for (row = 0; row < rows; row++)
		wanted[spinpanel_row_int(row, 1) - 1] = true;
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

/* Runs that were equal to this one when it started end as it did. */
static void
end_followers(int64 leader, RunStatus status, const char *error)
{
	static StateQuery copy = {
		"UPDATE spinpanel.run f SET customers = l.customers, customers_failed = l.customers_failed,"
		" listed_accounts = l.listed_accounts FROM spinpanel.run l"
		" WHERE l.run_id = $1 AND f.same_as = $1 AND f.status = 'running' RETURNING f.run_id",
		"I", NULL
	};
	StateArg args[1];
	uint64 rows;
	uint64 row;
	int64 *ids;

	args[0] = spinpanel_arg_int64(leader);
	rows = spinpanel_state_run(&copy, args, 0);
	ids = row_ids(rows);
	for (row = 0; row < rows; row++)
		run_becomes(ids[row], STATUS_RUNNING, status, -1,
					error ? error : psprintf("the same as run " INT64_FORMAT, leader));
}

void
spinpanel_run_finish(const int32 *accounts, int account_count)
{
	static StateQuery select = {
		"SELECT o.run_id, f.failed > 0 AND f.failed >= o.customers OR o.customers = 0 AND o.error IS NOT NULL"
		"  OR cardinality(o.listed_accounts) = 0, f.failed,"
		" CASE WHEN cardinality(o.listed_accounts) = 0 THEN 'no account is connected'"
		"  WHEN f.failed > 0 AND f.failed >= o.customers THEN coalesce(o.error, f.error) ELSE o.error END"
		" FROM spinpanel.run o CROSS JOIN LATERAL (SELECT count(*)::int AS failed, min(c.error) AS error"
		"  FROM spinpanel.run_customer c WHERE c.run_id = o.run_id) f"
		" WHERE o.status = 'running' AND o.same_as IS NULL AND o.listed_accounts @> $2"
		"  AND NOT EXISTS (SELECT FROM spinpanel.run_customer c WHERE c.run_id = o.run_id AND NOT c.failed)"
		"  AND NOT EXISTS (SELECT FROM spinpanel.operation p WHERE p.run_id = o.run_id"
		"   AND p.status IN ('queued', 'sending', 'unknown') AND p.not_before < $1 + '" RUN_PATIENCE
		"'::interval"
		"   AND NOT (p.status = 'queued' AND p.error IS NOT NULL AND p.created_at < $1 - '" RUN_PATIENCE
		"'::interval)"
		"   AND NOT (p.status = 'queued' AND EXISTS (SELECT FROM spinpanel.relationship l"
		"    WHERE l.customer_id = p.customer_id AND l.paused_at IS NOT NULL)))",
		"TAi", NULL
	};
	typedef struct Ended
	{
		int64 run_id;
		RunStatus status;
		int failed;
		char *error;
	} Ended;
	StateArg args[2];
	Ended *ended;
	uint64 rows;
	uint64 row;

	spinpanel_run_write_counts();
	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_ints(accounts, account_count);
	rows = spinpanel_state_run(&select, args, 0);
	ended = palloc(sizeof(Ended) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		ended[row].run_id = spinpanel_row_int64(row, 1);
		ended[row].status = spinpanel_row_bool(row, 2) ? STATUS_FAILED : STATUS_DONE;
		ended[row].failed = spinpanel_row_int(row, 3);
		ended[row].error = spinpanel_row_text(row, 4, CurrentMemoryContext);
	}
	for (row = 0; row < rows; row++)
	{
		run_becomes(ended[row].run_id, STATUS_RUNNING, ended[row].status, ended[row].failed,
					ended[row].error);
		end_followers(ended[row].run_id, ended[row].status, ended[row].error);
	}
}

/*
 * Is there a night of this date, or is one on its way in a transaction that is
 * still open?  Inserting would wait for that transaction: the worker waits for
 * no caller.
 */
static bool
night_is_taken(DateADT night)
{
	Oid schema = get_namespace_oid("spinpanel", false);
	Relation run = table_open(get_relname_relid("run", schema), AccessShareLock);
	SnapshotData dirty;
	SysScanDesc scan;
	ScanKeyData key;
	bool taken;

	InitDirtySnapshot(dirty);
	ScanKeyInit(&key, get_attnum(RelationGetRelid(run), "night"), BTEqualStrategyNumber, F_DATE_EQ,
				DateADTGetDatum(night));
	scan =
		systable_beginscan(run, get_relname_relid("run_night_idx", schema), true, &dirty, 1, &key);
	taken = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(run, AccessShareLock);
	return taken;
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
	if (night_is_taken(night))
		return;
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
