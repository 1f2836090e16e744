/*
 * pool.h
 *
 * The figures of pools, kept right in the transactions that change what they
 * are made of.
 */
#ifndef SPINPANEL_POOL_H
#define SPINPANEL_POOL_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Owned seats anew from the customer's subscriptions. */
extern void spinpanel_pool_recount(const pg_uuid_t *customer_id, TimestampTz at);

/*
 * An offer of the customer's was found to provide the SKU: seats that were
 * there all the time.  What was noted of the pool in the last hour, its first,
 * without them tells nothing of what was unused.
 */
extern void spinpanel_pool_mapped(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
								  TimestampTz at);

/*
 * Compares the counters of some pools, each time the next ones, with what they
 * are made of.  One that is wrong is put right, goes on record, and shows in
 * check_setup().
 */
extern void spinpanel_pool_check_counters(void);

/* A subscribed-SKU list whose reading began at started_at; false = no list. */
extern bool spinpanel_pool_take_units(const pg_uuid_t *customer_id, Jsonb *body,
									  TimestampTz started_at);

/* Holders anew from the licences known of users. */
extern void spinpanel_pool_count_holders(const pg_uuid_t *customer_id, TimestampTz at);

/* After a removal that left so many: active_left have to show, and what was added
 * to owned_left since. */
extern void spinpanel_pool_expect(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
								  int32 active_left, int32 owned_left);

/* As the mirror has them now; false = the pool is not known. */
extern bool spinpanel_pool_figures(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
								   int32 *owned, int32 *active, int32 *consumed);

#endif /* SPINPANEL_POOL_H */
