/*
 * op_driver.h
 *
 * What the drivers of operations (op_subscription.c, op_user.c, op_order.c) share: when
 * to try again, what outlives a transaction or a callback, and what is due.
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

extern Jsonb *spinpanel_driver_keep(MemoryContext context, const Jsonb *jsonb);
/* The answer without what ends with its callback; *text: its body, or as it was. */
extern void spinpanel_driver_keep_answer(MemoryContext context, const PartnerAnswer *answer,
										 PartnerAnswer *kept, char **text, Size *length);

typedef struct DriverDue
{
	MemoryContext context; /* to be deleted by the caller */
	OutboxClass class;
	int limit;
	Operation **operations;
	int count;
} DriverDue;

/* Operations of this class that are due at accounts that may act. */
extern void spinpanel_driver_due(DriverDue *due, OutboxClass class, int limit, MemoryContext parent,
								 const char *activity);

#endif /* SPINPANEL_OP_DRIVER_H */
