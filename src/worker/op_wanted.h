/*
 * op_wanted.h
 *
 * Members of a subscription that an operation wants to be in force.
 */
#ifndef SPINPANEL_OP_WANTED_H
#define SPINPANEL_OP_WANTED_H

#include "postgres.h"

#include "state/operation.h"

/* Is every wanted member as wanted?  A wanted null means: not there. */
extern bool spinpanel_op_wanted_stands(const Operation *operation, Jsonb *subscription);

/* The resource as read with the wanted members changed: what is sent. */
extern Jsonb *spinpanel_op_wanted_body(const Operation *operation, Jsonb *subscription);

/* wanted of a schedule that changes nothing but the quantity; NULL: the
 * subscription does not name product, term and billing cycle. */
extern Jsonb *spinpanel_op_wanted_schedule(Jsonb *subscription, int32 quantity);

/* Do both schedule the same?  Audit records spell members in another way, so
 * what they say is compared and not how. */
extern bool spinpanel_op_wanted_same_schedule(Jsonb *a, Jsonb *b);

/* The schedule in the spelling that a change needs, with another quantity. */
extern Jsonb *spinpanel_op_wanted_respelled(Jsonb *schedule, int64 quantity);

#endif /* SPINPANEL_OP_WANTED_H */
