/*
 * demand.h
 *
 * What callers asked for, and how far it is: the table license_request and the
 * operations queued for it.
 */
#ifndef SPINPANEL_DEMAND_H
#define SPINPANEL_DEMAND_H

#include "postgres.h"

#include "outbox.h"
#include "utils/jsonb.h"

/*
 * An operation of a user or an order has ended.  Called in the unit that writes
 * it: status done, refused, failed or cancelled; code and reason as Partner
 * Center or the driver gives them (NULL = none); result, or NULL:
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
extern void spinpanel_demand_operation_over(const Operation *op, const char *status,
											const char *code, const char *reason,
											Jsonb *result);

#endif							/* SPINPANEL_DEMAND_H */
