/*
 * op_driver.h
 *
 * What the drivers of operations (op_subscription.c, op_user.c, op_order.c) and
 * work_requests.c share: places, what becomes of an operation by the answer to
 * it, when to try again, what outlives a transaction or a callback, what is due.
 */
#ifndef SPINPANEL_OP_DRIVER_H
#define SPINPANEL_OP_DRIVER_H

#include "postgres.h"

#include "partner/partner.h"
#include "state/operation.h"

/* So many milliseconds from now, in the extension's clock. */
extern TimestampTz spinpanel_driver_later(int64 milliseconds);
/* Milliseconds until the next attempt, with jitter. */
extern int64 spinpanel_driver_delay(int attempts);
/* Waiting for what may take long: the longer it has taken, the less often; never
 * less often than spinpanel.retry_max_delay, nor more often than at_least. */
extern int64 spinpanel_driver_patient(TimestampTz since, int64 at_least);
/* A caller has a row that the operation needs: for a moment, or for hours. */
extern int64 spinpanel_driver_while_locked(const Operation *op);

extern Jsonb *spinpanel_driver_keep(MemoryContext context, const Jsonb *jsonb);
/* The answer without what ends with its callback; *text: its body, or as it was. */
extern void spinpanel_driver_keep_answer(MemoryContext context, const PartnerAnswer *answer,
										 PartnerAnswer *kept, char **text, Size *length);

/*
 * What becomes of an operation by the answer to it.  Patience is a time, never a
 * number of attempts: it runs from the first answer that was not the wanted one
 * (Operation.troubled_at).
 */
typedef enum DriverNext
{
	DRIVER_CARRIED_OUT, /* Partner Center says so: read back */
	DRIVER_AGAIN, /* it was not carried out: queued, and read anew */
	DRIVER_LOOK, /* it may have been: unknown, read later */
	DRIVER_OVER /* Partner Center's last word, or the patience is over */
} DriverNext;

typedef struct DriverVerdict
{
	DriverNext next;
	TimestampTz not_before; /* of DRIVER_AGAIN and DRIVER_LOOK */
	bool counts; /* it was an attempt: the pauses grow */
} DriverVerdict;

extern DriverVerdict spinpanel_driver_verdict(const Operation *op, const PartnerAnswer *answer);
/* Only by this code says Partner Center that a user does not exist: a 404 may be
 * about the tenant, the SKU, or come from a proxy. */
extern bool spinpanel_driver_no_such_user(int http_status, const char *error_code);
/* It has been tried, or looked for, as long as its purpose allows. */
extern bool spinpanel_driver_patience_over(const Operation *op);

/*
 * Places: how much one driver has under way.  Each account has its own, so that
 * one that hangs or is throttled takes none of another's; a customer has at most
 * as many as its account has free, so that there is one for whoever comes next.
 */
typedef struct DriverPlace
{
	int32 account_id;
	pg_uuid_t customer_id;
	int taken;
} DriverPlace;

typedef struct DriverPlaces
{
	int of_account; /* places of each account */
	DriverPlace *list; /* one of each customer that has any */
	int count;
	int size;
	int taken;
} DriverPlaces;

extern bool spinpanel_driver_has_place(const DriverPlaces *places, int32 account_id,
									   const pg_uuid_t *customer_id);
extern void spinpanel_driver_take_place(DriverPlaces *places, int32 account_id,
										const pg_uuid_t *customer_id);
extern void spinpanel_driver_leave_place(DriverPlaces *places, int32 account_id,
										 const pg_uuid_t *customer_id);
/* Accounts that may act and have a place; palloc'd. */
extern int spinpanel_driver_open_accounts(const DriverPlaces *places, int32 **accounts);
/* Customers that have no place left; palloc'd. */
extern int spinpanel_driver_full_customers(const DriverPlaces *places, pg_uuid_t **customers);

typedef struct DriverDue
{
	MemoryContext context; /* to be deleted by the caller */
	OutboxClass class;
	const DriverPlaces *places;
	Operation **operations;
	int count;
	bool more; /* there may be others, behind these */
} DriverDue;

/* Operations of this class that are due at accounts and customers with a place. */
extern void spinpanel_driver_due(DriverDue *due, OutboxClass class, const DriverPlaces *places,
								 MemoryContext parent, const char *activity);

#endif /* SPINPANEL_OP_DRIVER_H */
