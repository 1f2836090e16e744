/*
 * archive.c
 *
 * Finished operations and requests stay in their tables for
 * spinpanel.retention, then they move to the append-only history as they
 * were.  In batches, so that no transaction is long and nothing bloats.  What
 * waits for a person although nobody needs it any more is closed.
 */
#include "postgres.h"

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
	StateQuery *query;
	uint64 moved;
} Batch;

static StateQuery operations = {
	"WITH old AS (DELETE FROM spinpanel.operation WHERE operation_id IN (SELECT operation_id FROM spinpanel.operation"
	" WHERE status IN ('done', 'refused', 'failed', 'cancelled') AND finished_at < $1 AND verify_at IS NULL"
	" ORDER BY operation_id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *)"
	" INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, run_id,"
	" adjustment_id, operation_id, request_id, ms_request_id, after)"
	" SELECT $3, 'operation archived', account_id, customer_id, sku_id, subscription_id, run_id, adjustment_id,"
	" operation_id, request_id, ms_request_id, to_jsonb(old) FROM old",
	"TiT", NULL
};

static StateQuery requests = {
	"WITH old AS (DELETE FROM spinpanel.license_request WHERE request_id IN (SELECT request_id"
	" FROM spinpanel.license_request WHERE status IN ('done', 'failed', 'cancelled') AND NOT waiting"
	" AND finished_at < $1 ORDER BY request_id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *)"
	" INSERT INTO spinpanel.history (at, event, account_id, customer_id, sku_id, subscription_id, request_id, after)"
	" SELECT $3, 'request archived', account_id, customer_id, sku_id, subscription_id, request_id, to_jsonb(old)"
	" FROM old",
	"TiT", NULL
};

static StateQuery leftovers = {
	"DELETE FROM spinpanel.run_customer WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM spinpanel.run_customer c"
	" JOIN spinpanel.run r USING (run_id) WHERE c.failed AND r.finished_at < $1 LIMIT $2)) AND $3 IS NOT NULL",
	"TiT", NULL
};

static void
do_batch(void *arg)
{
	Batch *batch = arg;
	StateArg args[3];

	args[0] = spinpanel_arg_time(spinpanel_now() - (int64) spinpanel_retention * USECS_PER_SEC);
	args[1] = spinpanel_arg_int(BATCH);
	args[2] = spinpanel_arg_time(spinpanel_now());
	batch->moved = spinpanel_state_run(batch->query, args, 0);
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
	StateQuery *const queries[] = { &operations, &requests, &leftovers };
	int i;

	for (i = 0; i < (int) lengthof(queries); i++)
	{
		Batch batch;

		batch.query = queries[i];
		batch.moved = 0;
		(void) spinpanel_unit("keeping tables short", do_batch, &batch, UNIT_REPEATABLE);
	}
	(void) spinpanel_unit("closing approvals that nobody needs", do_drop_approvals, NULL,
						  UNIT_REPEATABLE);
	(void) spinpanel_unit("comparing counters", do_check_counters, NULL, UNIT_REPEATABLE);
}
