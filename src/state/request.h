/*
 * request.h
 *
 * What callers asked for, and how far it is: the table license_request and the
 * operations queued for it.
 *
 *     queued ──► buying ──► provisioning ──► assigning ──► done
 *       │ ▲         │             ▲              │
 *       │ └─────────┴─────────────┴──────────────┘  not this time
 *       └──► assigning (a free seat; a release)
 *
 *     any of them ──► failed, with a reason a person can act on
 *     any of them ──► cancelled, by a caller
 *
 * A request that is not due waits for its operation, or for a moment: not_before
 * says until when nothing has to look at it.  All functions run inside a unit of
 * the worker.
 */
#ifndef SPINPANEL_REQUEST_H
#define SPINPANEL_REQUEST_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "decide/request_need.h"
#include "state/operation.h"

typedef struct DemandRequest
{
	int64 request_id;
	bool due; /* held till the unit ends; else it only stands in the way of others */
	bool release;
	int32 account_id;
	bool has_user;
	pg_uuid_t user_id;
	char *upn; /* as asked for, or NULL */
	bool by_name; /* upn decides who it is: user_id is a guess until it was looked at */
	pg_uuid_t sku_id;
	const char *status;
	const char *was; /* the status that the table has */
	bool seat_bought;
	bool has_subscription;
	pg_uuid_t subscription_id;
	int64 buy_operation;
	int64 operation_id;
	TimestampTz looked_at; /* 0 = not yet */
	TimestampTz seat_refused_at; /* 0 = never */
	int32 seats_lost;
	int32 attempts;
	TimestampTz not_before;
	TimestampTz created_at;
	TimestampTz provisioning_at; /* 0 = no seat was bought */
	int32 active_level; /* -1 = none */
	int32 consumed_level; /* -1 = none */
	int64 follows; /* 0 = none */
	int64 adjustment_id; /* 0 = none */
	bool waiting;
	const char *waits_for; /* NULL = nothing that an event ends */
	int32 buy_most; /* 0 = any number */
	bool stock_only;

	/* read with it */
	bool user_known;
	char *usage_location;
	bool held; /* according to the mirror */
	bool outdated; /* something was done since the user was looked at */
	bool busy; /* an operation of the user is open */
	char *leader_status; /* of what it follows; NULL = is gone */
	char *leader_error;
	char *approval; /* status of its adjustment, or NULL */
	char *decision; /* what was said with that */
	int32 approved_seats;
	char *operation_status; /* NULL = none, or gone */
	char *buy_status;
	bool subscription_mapped;
	pg_uuid_t subscription_sku;

	bool moved; /* written in this unit */
} DemandRequest;

/*
 * One customer's requests that are due, oldest first, and what rules them; with
 * those that wait for an approval in the same pools, and those of the same users
 * that are not due.  Not more than a page: the rest comes with the next turn.
 */
typedef struct Demand
{
	pg_uuid_t customer_id;
	TimestampTz now;
	bool paused;
	bool purchases;
	bool increment;
	char *usage_location;
	int32 limit_percent;
	int32 limit_seats;
	int32 owned;
	int32 bought_recently; /* within 24 hours, without an approval */
	TimestampTz limit_until; /* when the oldest of these is 24 hours old; DT_NOEND = none */
	DemandRequest *requests; /* but those that a caller is changing */
	int count;
} Demand;

/* One pool of it. */
typedef struct DemandPool
{
	pg_uuid_t sku_id;
	NeedFigures figures; /* trial and ending are 0 */
	int32 owned; /* with those that are ordered and not readable yet */
	int32 unread; /* of these, ordered and not readable */
	bool buying; /* a purchase is open */
	int32 unlooked; /* due assignments whose user was not looked up */
	TimestampTz release_since; /* the youngest release under way was asked for; 0 = none */
	TimestampTz freed_at; /* a licence was released last; 0 = not lately */
	int32 max_seats; /* -1 = no such rule */
	NeedRule rule;
} DemandPool;

typedef struct DemandCustomer
{
	pg_uuid_t customer_id;
	int32 account_id;
} DemandCustomer;

/* Customers with requests that are due and may go on by one of the accounts, but
 * those that are busy; in context. */
extern int spinpanel_request_due(int limit, const int32 *accounts, int account_count,
								 const pg_uuid_t *busy, int busy_count, DemandCustomer **customers,
								 MemoryContext context);
/* When the next request becomes due; DT_NOEND = none. */
extern TimestampTz spinpanel_request_next_due(void);

/* Without requests. */
extern Demand *spinpanel_request_settings(const pg_uuid_t *customer_id);
/* Locks what it returns; what a caller is changing is left out. */
extern Demand *spinpanel_request_load(const pg_uuid_t *customer_id);
extern void spinpanel_request_pool(const Demand *demand, const pg_uuid_t *sku_id, DemandPool *pool);
/* Terms beside the subscriptions of a pool; ids as plan_input.c gives them. */
extern void spinpanel_request_terms(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
									const pg_uuid_t *ids, int count, NeedTerms *terms);
/* Requests for which the operation would buy a seat, held till the unit ends. */
extern int32 spinpanel_request_linked(const Operation *op);

typedef enum DemandHold
{
	DEMAND_READY, /* its requests are held till the unit ends */
	DEMAND_LOCKED, /* a caller may just be cancelling one */
	DEMAND_CHANGED /* fewer want it than when it was queued */
} DemandHold;

/*
 * Right before an operation of a user or an order is marked as sending: no
 * request that it serves may be cancelled from here on.  wanted: how many it
 * was queued for.  An operation that serves none is always ready.
 */
extern DemandHold spinpanel_request_hold(const Operation *op, int wanted);

/*
 * Does a request of this user for another SKU wait or go on, or may one just be
 * asked for?  Later requests for the same SKU wait for this one, so they must not
 * count: all would wait in a circle.  Not for ever: two that exclude each other
 * would wait for each other, so that those of this operation must be younger than
 * spinpanel.provisioning_timeout.
 */
extern bool spinpanel_request_others_of_user(const Operation *op, const pg_uuid_t *user_id);

/* An operation is tried again or looked for: its requests tell why they wait. */
extern void spinpanel_request_operation_waits(const Operation *op, const char *code,
											  const char *words);

/* A user was looked at, by that name (NULL: by the GUID): every request that
 * means them knows. */
extern void spinpanel_request_looked(const pg_uuid_t *customer_id, const char *upn,
									 const pg_uuid_t *user_id, TimestampTz looked_at);

/* Writes it as it stands; event NULL = no history. */
extern void spinpanel_request_save(Demand *demand, DemandRequest *request, const char *event,
								   const char *reason);
/* Nothing to do before that moment. */
extern void spinpanel_request_put_off(Demand *demand, DemandRequest *request, int64 delay_ms,
									  const char *reason);
/* Likewise, or before an event: waits_for is its name in the table. */
extern void spinpanel_request_wait(Demand *demand, DemandRequest *request, TimestampTz until,
								   const char *waits_for, const char *reason);
/* status done, failed or cancelled.  A seat bought for it serves another
 * request of the pool, is given back, or stays in stock on record. */
extern void spinpanel_request_finish(Demand *demand, DemandRequest *request, const char *status,
									 const char *reason);

/* Back to the start: its user is looked at again. */
extern void spinpanel_request_begin_again(Demand *demand, DemandRequest *request, const char *event,
										  const char *reason, bool at_once);

/* The seat that was bought while a caller had the request; false: there is none. */
extern bool spinpanel_request_take_reserved(Demand *demand, DemandRequest *request);

/*
 * These have to wait for a person, until then at least: one adjustment stands for
 * all of the pool that do.  A former one of the pool is superseded.
 */
extern void spinpanel_request_await_approval(Demand *demand, DemandRequest **requests, int count,
											 int32 quantity, TimestampTz until, const char *reason);

/* Approved purchases that nobody needs any more. */
extern void spinpanel_request_close_approvals(Demand *demand);
/* The same at all customers, also of what nobody has decided about. */
extern void spinpanel_request_drop_approvals(void);

/*
 * An operation of a user or an order, or one that buys or gives back for
 * requests, has ended.  Called in the unit that writes it: status done,
 * refused, failed or cancelled; code and reason as Partner Center or the driver
 * gives them (NULL = none); result, or NULL:
 *
 *     assign, unassign      {"held": [SKU ids the user holds now]}
 *     set_usage_location    {"usageLocation": "DE"}
 *     create_cart           {"cartId": ...}; its checkout is queued already
 *     checkout              {"subscriptionId": ..., "orderId": ..., "quantity": n}
 *
 * Operations that were to follow one that did not succeed are cancelled with it,
 * without a call of their own.
 *
 * Codes that are not Partner Center's: no_such_user, no_usage_location,
 * held_by_group, not_applied, bad_operation, no_such_offer, cart_expired,
 * cart_differs, order_ended, order_unknown (something may have been bought: a
 * person has to look), given_up.
 */
extern void spinpanel_request_operation_over(const Operation *op, const char *status,
											 const char *code, const char *reason, Jsonb *result);

/*
 * Subscribed SKUs of the customer have been taken in, by a read begun at that
 * moment: who is counted by now no longer waits, and who waits for an approval is
 * looked at again.
 */
extern void spinpanel_request_units_read(const pg_uuid_t *customer_id, TimestampTz started_at);

/* ---- for callers' sessions: no NOTIFY, which would keep them from PREPARE ------------ */

typedef enum RequestCancelled
{
	CANCEL_BUSY, /* somebody has the row, or it is not there */
	CANCEL_NOT, /* it is over, or something irrevocable was sent for it */
	CANCEL_DONE
} RequestCancelled;

/*
 * Ends a request for which nothing irrevocable was sent; the worker tells by
 * NOTIFY.  One whose account is disconnected can always be ended: as failed, if
 * something was sent.
 */
extern RequestCancelled spinpanel_request_cancel(int64 request_id, const char *reason);

/* A failed one begins again under its id; false: it is not failed, or busy. */
extern bool spinpanel_request_retry(int64 request_id);

/* The account is disconnected: what nothing was sent for is cancelled, unless another
 * account of ours has the customer; the rest says what it waits for. */
extern void spinpanel_request_account_gone(int32 account_id);

/* In a copy: the original's are the original's; no seat is passed on or given back. */
extern void spinpanel_request_abandon(const char *reason);

#endif /* SPINPANEL_REQUEST_H */
