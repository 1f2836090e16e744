/*
 * request_rows.h
 *
 * What the files that keep license_request share: request_load.c, which reads it,
 * request.c, which writes it, and request_over.c, to which operations come back.
 */
#ifndef SPINPANEL_REQUEST_ROWS_H
#define SPINPANEL_REQUEST_ROWS_H

#include "postgres.h"

#include "state/request.h"
#include "state/statement.h"

#define OPEN_STATES "('queued', 'buying', 'provisioning', 'assigning')"

/* Open assignments whose user is known and for which no seat was bought */
#define LACKS_SEAT \
	"q.kind = 'assign' AND q.status IN ('queued', 'buying', 'provisioning') AND NOT q.seat_bought" \
	" AND q.follows IS NULL AND q.looked_at IS NOT NULL AND q.operation_id IS NULL"

#define REQUEST_SELECT \
	"SELECT q.request_id, q.kind, q.account_id, q.user_id, q.upn, q.sku_id, q.status, q.seat_bought," \
	" q.subscription_id, q.buy_operation, q.operation_id, q.looked_at, q.seat_refused_at, q.seats_lost, q.attempts," \
	" q.not_before, q.created_at, q.provisioning_at, q.active_level, q.consumed_level, q.follows, q.adjustment_id," \
	" q.waiting, u.user_id IS NOT NULL, u.usage_location," \
	" EXISTS (SELECT FROM spinpanel.user_license l WHERE l.customer_id = q.customer_id AND l.user_id = q.user_id" \
	"  AND l.sku_id = q.sku_id)," \
	" EXISTS (SELECT FROM spinpanel.license_request d WHERE d.user_id = q.user_id AND d.user_id IS NOT NULL AND d.waiting" \
	"  AND (d.customer_id = q.customer_id AND d.sku_id = q.sku_id) IS TRUE AND d.confirmed_at >= q.looked_at)" \
	" OR EXISTS (SELECT FROM spinpanel.license_request d WHERE d.customer_id = q.customer_id AND d.sku_id = q.sku_id" \
	"  AND d.user_id = q.user_id AND d.kind = 'release' AND d.status = 'done' AND d.confirmed_at >= q.looked_at)," \
	" f.status, f.error, j.status, j.decision_reason, j.seats, o.status," \
	" coalesce((SELECT c.status FROM spinpanel.operation c WHERE c.after_operation = q.buy_operation" \
	"  AND c.kind = 'checkout'), b.status)," \
	" (SELECT s.sku_id FROM spinpanel.subscription s WHERE s.subscription_id = q.subscription_id)," \
	" q.waits_for, coalesce(q.buy_most, 0), q.stock_only," \
	" EXISTS (SELECT FROM spinpanel.operation b WHERE (b.customer_id = q.customer_id) IS TRUE" \
	"  AND (b.wanted ->> 'userId') = q.user_id::text AND b.status IN ('queued', 'sending', 'unknown'))," \
	" q.by_name" \
	" FROM spinpanel.license_request q" \
	" LEFT JOIN spinpanel.customer_user u ON u.customer_id = q.customer_id AND u.user_id = q.user_id" \
	" LEFT JOIN spinpanel.license_request f ON f.request_id = q.follows" \
	" LEFT JOIN spinpanel.adjustment j ON j.adjustment_id = q.adjustment_id" \
	" LEFT JOIN spinpanel.operation o ON o.operation_id = q.operation_id" \
	" LEFT JOIN spinpanel.operation b ON b.operation_id = q.buy_operation"
#define REQUEST_ORDER " ORDER BY q.request_id FOR UPDATE OF q SKIP LOCKED"

static inline bool
is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

static inline bool
same_uuid(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

static inline StateArg
id_arg(int64 id)
{
	return id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(id);
}

/* One request, or all rows, of a REQUEST_SELECT that was just run */
extern void spinpanel_request_from_row(uint64 row, DemandRequest *request);
extern void spinpanel_request_take(Demand *demand, uint64 rows);

extern void spinpanel_request_record(const Demand *demand, const DemandRequest *request,
									 const char *event, const char *reason);

/* NOTIFY of what callers have ended, which must not notify themselves. */
extern void spinpanel_request_tell_ended(void);

/* The seat serves another request that waits; false: none does. */
extern bool spinpanel_request_pass_seat_on(Demand *demand, const DemandRequest *from);
/* Queues that so many seats more of the subscription go back; 0 = cannot. */
extern int64 spinpanel_request_give_seats_back(Demand *demand, const DemandRequest *request,
											   int32 seats);

#endif /* SPINPANEL_REQUEST_ROWS_H */
