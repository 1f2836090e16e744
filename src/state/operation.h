/*
 * operation.h
 *
 * Operations: mutating calls to Partner Center, written down before they are
 * sent.
 *
 *     queued ──► sending ──► done
 *       ▲           │  └───► refused      Partner Center said no
 *       │           ▼
 *       └─────── unknown                  may have been carried out: read first
 *
 *     queued ──► cancelled                no longer wanted before it was sent
 *     any    ──► failed                   given up
 *
 * What was read (base), wanted, body, ms_request_id and correlation_id do not
 * change while an operation is sending or unknown.
 *
 * A pool has one change of quantity or state at a time.  The others are parked:
 * nothing is read for them until the one under way has ended and wakes the next.
 * What a change wiped is set again before anything else is done to that
 * subscription.
 */
#ifndef SPINPANEL_OPERATION_H
#define SPINPANEL_OPERATION_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* More accounts at one customer than this: no removal there. */
#define OUTBOX_OTHERS 4

typedef struct Operation
{
	int64 operation_id;
	const char *kind;
	const char *purpose;
	const char *status;
	int32 account_id;
	pg_uuid_t customer_id;
	bool has_sku;
	pg_uuid_t sku_id;
	bool has_subscription;
	pg_uuid_t subscription_id;
	int64 run_id;
	int64 adjustment_id;
	int64 request_id;
	int64 obligation_id;
	int64 after_operation;
	int32 wait_active; /* 0 = none */
	Jsonb *wanted;
	Jsonb *base; /* what was read, and notes: operation_base.h */
	Jsonb *body;
	pg_uuid_t ms_request_id;
	pg_uuid_t correlation_id;
	TimestampTz sent_at; /* 0 = never */
	int32 attempts;
	int32 http_status;
	const char *error_code; /* as found by due(): what was said last; NULL = nothing */
	const char *error;
	TimestampTz troubled_at; /* since when it is tried in vain; 0 = it is not */
	int32 seats;
	TimestampTz created_at;
	/* Accounts of ours that sell to this customer, too (as found by due()). */
	int other_count;
	int32 other_accounts[OUTBOX_OTHERS];
} Operation;

/* Which driver carries it out. */
typedef enum OutboxClass
{
	OUTBOX_SUBSCRIPTIONS, /* op_subscription.c */
	OUTBOX_USERS, /* op_user.c */
	OUTBOX_ORDERS /* op_order.c */
} OutboxClass;

/* Writes a new queued operation; its id. */
extern int64 spinpanel_operation_add(const Operation *operation);

/*
 * What is due at these accounts, but for customers that are busy, oldest restoring
 * ones first, in context: queued ones whose predecessor is done and whose customer is not paused (restoring
 * belongs to a change that was made, and goes on), and those being sent or of
 * unknown outcome.  One that is "sending" and that the caller knows nothing of
 * was being sent when the worker ended: its outcome is unknown.
 *
 * Changes of subscriptions: one of each pool; the others that were found are
 * parked.
 *
 * Those of one user come one after the other, in the order they were queued:
 * a queued one is not due while another of that user is sending or unknown, or
 * while an earlier one is open, whatever its SKU: one licence may stand in the
 * way of another, or be its base.
 */
extern int spinpanel_operation_due(OutboxClass class, const int32 *accounts, int account_count,
								   const pg_uuid_t *busy, int busy_count, int limit,
								   Operation ***operations, MemoryContext context);
extern Operation *spinpanel_operation_copy(const Operation *operation, MemoryContext context);
extern Operation *spinpanel_operation_get(int64 operation_id, MemoryContext context);

/* Fresh ids of a request and its correlation: for a call not made before. */
extern void spinpanel_operation_new_ids(Operation *operation);

/* When the next operation becomes due; DT_NOEND = none. */
extern TimestampTz spinpanel_operation_next_due(void);

/* Transitions; each writes history.  False: it was not in that state. */
extern bool spinpanel_operation_sending(Operation *operation);
extern bool spinpanel_operation_resend(Operation *operation);
extern bool spinpanel_operation_unknown(Operation *operation, int http_status, const char *code,
										const char *error, TimestampTz not_before);
extern bool spinpanel_operation_requeue(Operation *operation, int http_status, const char *code,
										const char *error, TimestampTz not_before, bool counts);
extern bool spinpanel_operation_done(Operation *operation, int32 seats, const Jsonb *answer,
									 const char *remark);
/* status: refused, failed or cancelled.  Followers are cancelled with it. */
extern bool spinpanel_operation_over(Operation *operation, const char *status, int http_status,
									 const char *code, const char *error, const Jsonb *answer);
/* What became known while it is unknown, beside what was read before: base. */
extern bool spinpanel_operation_learned(Operation *operation);
/* An account is being disconnected: what is queued there is cancelled. */
extern void spinpanel_operation_cancel_queued(int32 account_id, const char *reason);
/* In a copy: what the original has queued or sent is none of its business. */
extern void spinpanel_operation_abandon(const char *reason);

/* Seats that are being bought back in the pool: queued or on the way. */
extern int32 spinpanel_operation_coming_back(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id);

/* It is being put back for the obligation at this moment. */
extern bool spinpanel_operation_putting_back(int64 obligation_id);

/* Buying back on this subscription did not succeed since then. */
extern bool spinpanel_operation_no_way_back(const pg_uuid_t *subscription_id, TimestampTz since);

/* A follower that schedules something for the next term is queued. */
extern bool spinpanel_operation_schedules_after(const Operation *operation);

/* It has a follower of this kind and purpose, in whatever state. */
extern bool spinpanel_operation_has_follower(const Operation *operation, const char *kind,
											 const char *purpose);
/* It was not carried out: what would have followed from it is not wanted. */
extern void spinpanel_operation_forget_followers(const Operation *operation);

/* Is another change of quantity or state open (sending, unknown) in the pool, or
 * is something to be set again first that a change wiped? */
extern bool spinpanel_operation_pool_busy(const Operation *operation);

/* Follower of the operation that is still queued (a merge's next step). */
extern void spinpanel_operation_after(Operation *operation, int32 wait_active);

/*
 * The pool's demand lock: callers that ask for seats hold it shared until
 * their transaction ends; a removal takes it exclusively, or not at all.
 */
extern bool spinpanel_operation_lock_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id);

/* The caller's side: waits at most for the worker's short transaction. */
extern void spinpanel_operation_share_pool(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id);

/* Callers that count against max_seats go one after the other. */
extern void spinpanel_operation_lock_limit(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id);

/* A number kept in an operation's base: operation_base.h. */
extern int32 spinpanel_operation_base(const Operation *operation, const char *name,
									  int32 if_absent);
/* The same base with one more note. */
extern void spinpanel_operation_note(Operation *operation, const char *name, int32 value);

#endif /* SPINPANEL_OPERATION_H */
