/*
 * pool_excess.h
 *
 * What the last plan said of each pool, kept so that it can be read without
 * planning; and who of the customers has changed since.
 */
#ifndef SPINPANEL_POOL_EXCESS_H
#define SPINPANEL_POOL_EXCESS_H

#include "postgres.h"

#include "access/htup.h"
#include "executor/tuptable.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "state/plan_input.h"

/* ---- marks -------------------------------------------------------------------------------- */

/*
 * Something of this row has changed that plans are made of: leaves a mark for
 * the customer in its column customer_id or, where it is of none, for all whom
 * its columns sku_id, offer_key or account_id concern; NULL: for everybody.
 */
extern void spinpanel_pool_excess_mark(TupleDesc desc, HeapTuple tuple);

/* ---- written by the worker ---------------------------------------------------------------- */

/*
 * These customers are about to be loaded and planned: marks of changes that
 * the plan will have seen go.  Comes before the loading, in its transaction.
 */
extern void spinpanel_pool_excess_begin(const pg_uuid_t *customer_ids, int count);

/*
 * What the plan of now says of these customers; rows that are so already are
 * not written.  by_run, beside them: it is put on record, too; NULL: of none.
 */
extern void spinpanel_pool_excess_keep(const SpinpanelPools *customers, int count, TimestampTz now,
									   const bool *by_run);

/*
 * Of which of these customers is it known, without planning, that a run would
 * change nothing, and say nothing that is not on record?
 */
extern void spinpanel_pool_excess_idle(const pg_uuid_t *customer_ids, int count, TimestampTz now,
									   bool *idle);

/*
 * Plans, for some milliseconds, for customers whose figures do not hold any
 * more; true: there are more of them.  In units of its own.  busy: for a few of
 * them, once a second.
 */
extern bool spinpanel_pool_excess_refresh(bool busy);

/* ---- read by everybody -------------------------------------------------------------------- */

/* Columns of the table that excess_seats() shows, and the one behind them */
enum
{
	EXCESS_CUSTOMER_ID,
	EXCESS_CUSTOMER_NAME,
	EXCESS_SKU_ID,
	EXCESS_PART_NUMBER,
	EXCESS_OWNED,
	EXCESS_FOREIGN,
	EXCESS_CONSUMED,
	EXCESS_WAITING,
	EXCESS_SPARE,
	EXCESS_EXCESS,
	EXCESS_NOW,
	EXCESS_AT_RENEWAL,
	EXCESS_NEXT_RENEWAL,
	EXCESS_BLOCKED_BY,
	EXCESS_COLUMNS,
	EXCESS_BLOCKED_WHEN_STALE = EXCESS_COLUMNS,
	EXCESS_KEPT_COLUMNS
};

/* A pool's row as it is shown, in the current memory context. */
extern void spinpanel_pool_excess_row(const SpinpanelPools *customer, int32 pool, TimestampTz now,
									  Datum *values, bool *nulls);

/*
 * Hands on every kept row that holds at that moment, stale: but for its
 * customer's data being too old.  Returns the customers to be planned afresh,
 * whose rows are not among them, and their number in *count.
 */
typedef void (*PoolExcessFunction)(TupleTableSlot *slot, bool stale, void *arg);

extern pg_uuid_t *spinpanel_pool_excess_scan(TimestampTz now, PoolExcessFunction function,
											 void *arg, int *count);

/* Columns of the rows that the next one hands on */
enum
{
	UNMOVED_CUSTOMER_ID,
	UNMOVED_SKU_ID,
	UNMOVED_RULE,
	UNMOVED_REASON,
	UNMOVED_COLUMNS
};

/*
 * The same for what a run of '*' says where it changes nothing.  Returns the
 * customers that it has to plan for, those whose data is too old among them.
 */
extern pg_uuid_t *spinpanel_pool_excess_unmoved(TimestampTz now, TimestampTz read_now,
												PoolExcessFunction function, void *arg, int *count);

#endif /* SPINPANEL_POOL_EXCESS_H */
