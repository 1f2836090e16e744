/*
 * operation_base.h
 *
 * The members of operation.base: what was read right before an operation was
 * sent, and what files that carry it out tell each other about it.  Whoever adds
 * a member names it here.
 */
#ifndef SPINPANEL_OPERATION_BASE_H
#define SPINPANEL_OPERATION_BASE_H

/* ---- what was read right before it was sent (op_check.c) --------------------------- */

#define BASE_QUANTITY "quantity" /* of the subscription */
#define BASE_ACTIVE "active" /* active units of the pool; -1 = not known */
#define BASE_CONSUMED "consumed" /* consumed units; -1 = not known */
#define BASE_WAITING "waiting" /* assignments asked for */
#define BASE_OWNED "owned" /* seats owned in the pool; -1 = not known */
#define BASE_UNSHOWN "unshown" /* of a purchase: seats bought earlier that do not show yet */

/* ... and these of the subscription, as they were */
#define BASE_STATUS "status"
#define BASE_AUTO_RENEW "autoRenewEnabled"
#define BASE_SCHEDULE "scheduledNextTermInstructions"
#define BASE_ACTIONS "scheduledActions"
#define BASE_NEXT_CHARGE "nextChargeInstructions"

/* ---- noted when it is queued; kept when it is judged ------------------------------- */

#define BASE_LACKING "lacking" /* buy_back: so many seats at most, if holders lack them */
#define BASE_OWED "owed" /* buy_back: so many seats, whoever needs them */
#define BASE_WIPED "wiped" /* restore: the schedule as it was before our change */
#define BASE_MEANT "meant" /* give_back: so many seats were bought in vain */
#define BASE_ORDERED "ordered" /* give_back: we ordered the subscription (request.c) */

/* ---- of requests' purchases (op_order.c, op_user.c, request.c) --------------------- */

#define BASE_RESERVED "reserved" /* seats kept for requests that a caller had */
#define BASE_SUBSCRIPTION "subscriptionId" /* where these seats are */
#define BASE_ORDER "orderId" /* the order that a cart became */
#define BASE_ORDERS_BEFORE "ordersBefore" /* orders that were there before the checkout */
#define BASE_CATALOG_ITEM "catalogItemId" /* what a cart was made of ... */
#define BASE_TERM "termDuration" /* ... for which term ... */
#define BASE_CYCLE "billingCycle" /* ... billed how often */
#define BASE_FIRST_SENT "firstSentAt" /* of an operation on a user */
#define BASE_HELD "held" /* SKUs that the user held */

#endif /* SPINPANEL_OPERATION_BASE_H */
