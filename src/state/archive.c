/*
 * archive.c
 *
 * Finished operations and requests stay in their tables for
 * spinpanel.retention, then they move to the append-only history as they
 * were.  In batches, so that no transaction is long and nothing bloats.  What a
 * foreign key of the billing database refers to stays as long as it does.  What
 * waits for a person although nobody needs it any more is closed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/clock.h"
#include "base/settings.h"
#include "state/archive.h"
#include "state/pool.h"
#include "state/request.h"
#include "state/statement.h"
#include "state/unit.h"

#define BATCH 1000

typedef struct Batch
{
	const char *table; /* whose rows others may refer to; NULL = none */
	const char *before; /* the statement before and after the condition on that */
	const char *after;
	uint64 moved;
} Batch;

static Batch operations = {
	"spinpanel.operation",
	"WITH old AS (DELETE FROM spinpanel.operation WHERE operation_id IN (SELECT q.operation_id"
	" FROM spinpanel.operation q WHERE q.status IN ('done', 'refused', 'failed', 'cancelled')"
	" AND q.finished_at < $1"
	" AND NOT EXISTS (SELECT FROM spinpanel.obligation b WHERE b.operation_id = q.operation_id)",
	" ORDER BY q.operation_id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *)"
	" INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id,"
	" adjustment_id, operation_id, request_id, ms_request_id, after)"
	" SELECT $3, 'operation archived', account_id, customer_id, sku_id, subscription_id, run_id, adjustment_id,"
	" operation_id, request_id, ms_request_id, to_jsonb(old) FROM old",
	0
};

static Batch requests = {
	"spinpanel.license_request",
	"WITH old AS (DELETE FROM spinpanel.license_request WHERE request_id IN (SELECT q.request_id"
	" FROM spinpanel.license_request q WHERE q.status IN ('done', 'failed', 'cancelled') AND NOT q.waiting"
	" AND q.finished_at < $1",
	" ORDER BY q.request_id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *)"
	" INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, request_id, after)"
	" SELECT $3, 'request archived', account_id, customer_id, sku_id, subscription_id, request_id, to_jsonb(old)"
	" FROM old",
	0
};

static Batch leftovers = {
	NULL,
	"DELETE FROM spinpanel.run_customer WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM spinpanel.run_customer c"
	" JOIN spinpanel.run r USING (run_id) WHERE c.failed AND r.finished_at < $1 LIMIT $2)) AND $3 IS NOT NULL",
	"", 0
};

/*
 * A condition that leaves rows alone (of alias q) to which a foreign key refers
 * that would refuse their going, or go along with it.  The keys are looked up
 * anew each time: they belong to others.
 */
static const char *
unless_referenced(const char *table)
{
	static StateQuery select = {
		"SELECT pg_catalog.string_agg(pg_catalog.format(' AND NOT EXISTS (SELECT FROM %s f WHERE %s)',"
		" c.conrelid::pg_catalog.regclass, (SELECT pg_catalog.string_agg(pg_catalog.format("
		"'f.%I = q.%I', a.attname, b.attname), ' AND ')"
		" FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k(here, there)"
		" JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.here"
		" JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.there)), '')"
		" FROM pg_catalog.pg_constraint c"
		" WHERE c.contype = 'f' AND c.confrelid = $1::pg_catalog.regclass AND c.conparentid = 0"
		" AND c.confdeltype NOT IN ('n', 'd')",
		"t", NULL
	};
	StateArg args[1];
	char *condition;

	args[0] = spinpanel_arg_text(table);
	spinpanel_state_run(&select, args, 1);
	condition = spinpanel_row_text(0, 1, CurrentMemoryContext);
	return condition != NULL ? condition : "";
}

static void
do_batch(void *arg)
{
	Batch *batch = arg;
	Oid types[3] = { TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID };
	Datum values[3];
	const char *condition = batch->table != NULL ? unless_referenced(batch->table) : "";
	char *sql = psprintf("%s%s%s", batch->before, condition, batch->after);

	values[0] = TimestampTzGetDatum(spinpanel_now() - (int64) spinpanel_retention * USECS_PER_SEC);
	values[1] = Int32GetDatum(BATCH);
	values[2] = TimestampTzGetDatum(spinpanel_now());
	if (SPI_execute_with_args(sql, 3, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not move old rows to the history");
	batch->moved = SPI_processed;
}

static void
do_drop_approvals(void *arg)
{
	spinpanel_request_drop_approvals();
}

static void
do_check_counters(void *arg)
{
	spinpanel_pool_check_counters();
}

void
spinpanel_keep_short(void)
{
	Batch *const batches[] = { &operations, &requests, &leftovers };
	int i;

	for (i = 0; i < (int) lengthof(batches); i++)
		(void) spinpanel_unit("keeping tables short", do_batch, batches[i], UNIT_REPEATABLE);
	(void) spinpanel_unit("closing approvals that nobody needs", do_drop_approvals, NULL,
						  UNIT_REPEATABLE);
	(void) spinpanel_unit("comparing counters", do_check_counters, NULL, UNIT_REPEATABLE);
}
