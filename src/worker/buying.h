/*
 * buying.h
 *
 * What is done about a customer's requests, on what was just read.  All
 * functions run inside a unit of the worker.
 */
#ifndef SPINPANEL_BUYING_H
#define SPINPANEL_BUYING_H

#include "postgres.h"

#include "state/plan_input.h"
#include "state/request.h"

/* What has to be read before a decision. */
typedef struct BuyingReads
{
	bool units; /* subscribed SKUs */
	bool subscriptions;
	DemandRequest **looks; /* one request per user to look up */
	int look_count;
} BuyingReads;

extern void spinpanel_buying_reads(Demand *demand, BuyingReads *reads);

/*
 * The next step of every open request of the customer: ended, assigned,
 * bought for, or put off.  with_units: the pools were read a moment ago;
 * without, nothing is assigned and nothing bought.
 */
extern void spinpanel_buying_decide(Demand *demand, bool with_units, bool with_subscriptions);

/*
 * May a queued purchase still go?  Called right before each of its steps that
 * costs or commits: the PATCH of a subscription (set_quantity, reactivate), the
 * POST of a cart, the checkout; after subscribed SKUs and subscriptions were read
 * and taken into the mirror in this or an earlier unit.  Judges the need, the
 * purchases switch, max_seats (seats that are ordered and not readable included),
 * the purchase limit, and whether the rule still names that offer.
 *
 * Seats to buy, at most as many as the operation was queued for; 0 with a reason:
 * then the operation ends as "cancelled" with that reason, and
 * spinpanel_request_operation_over() has its requests decided afresh.  A checkout
 * whose cart has more seats than the answer ends likewise.  The requests that it
 * serves are held until the unit ends (others may be cancelling theirs: see
 * spinpanel_request_hold()).
 *
 * unshown (or NULL): seats bought earlier that the active units do not show yet.
 */
extern int32 spinpanel_buying_judge(const Operation *op, int32 *unshown, char *reason,
									Size reason_size);

#endif /* SPINPANEL_BUYING_H */
