/*
 * seats.h
 *
 * Pool arithmetic: what is owned, what is needed, what is unused, and how much
 * of it will still be there at any later moment as things stand scheduled.
 * Pure: no PostgreSQL header, no clock, no SQL, no allocation.
 */
#ifndef SPINPANEL_SEATS_H
#define SPINPANEL_SEATS_H

#include "decide/plan.h"

/* A refund window is open this long from the moment seats are added. */
#define SEATS_WINDOW (168 * PLAN_HOUR)

typedef struct PlanSeats
{
	int64_t owned; /* ours, active, paid */
	int64_t foreign; /* active units that are not ours: shown only */
	int64_t absent; /* ours, but not yet in the active units */
	int64_t need; /* consumed + waiting + spare */
	int64_t floor; /* least number of seats to own at any time */
	int64_t excess; /* unused beyond the floor, now */
	int64_t lasting; /* owned when all that is scheduled has happened */
	int64_t settled; /* may go although a cool-down is running */
	bool tight; /* fewer have been unused than are asked for */
} PlanSeats;

extern void spinpanel_seats_figures(const PlanPool *pool, PlanTime now, PlanSeats *seats);

/* Is it one of the subscriptions whose seats count as owned? */
extern bool spinpanel_seats_counts(const PlanSubscription *subscription);

/* The moment at which its term ends; PLAN_NEVER where none is known. */
extern PlanTime spinpanel_seats_term_end(const PlanSubscription *subscription);

/* Does it end then, as things stand? */
extern bool spinpanel_seats_ends(const PlanSubscription *subscription, PlanTime now);

/* What remains of it after its term, if it had this quantity now. */
extern int64_t spinpanel_seats_lasting(const PlanSubscription *subscription, int64_t quantity,
									   PlanTime now);

/* Seats of the pool that can be counted on at a moment. */
extern int64_t spinpanel_seats_supply(const PlanPool *pool, PlanTime now, PlanTime moment);

/* First moment at which the pool would own less than this; PLAN_NEVER. */
extern PlanTime spinpanel_seats_below(const PlanPool *pool, PlanTime now, int64_t seats);

/* Seats of it that were added less than a cool-down ago. */
extern int64_t spinpanel_seats_added(const PlanSubscription *subscription, PlanTime now,
									 PlanTime cooldown);

/* Of these, seats that this run may be the last to give back. */
extern int64_t spinpanel_seats_added_last(const PlanSubscription *subscription, PlanTime now,
										  PlanTime cooldown);

/*
 * Seats of it that a refund window takes back in this run, and of these the
 * ones for which this is the last run before the deadline.
 */
extern int64_t spinpanel_seats_refundable(const PlanSubscription *subscription, PlanTime now,
										  PlanTime cooldown, int64_t *last_chance,
										  PlanTime *deadline);

#endif /* SPINPANEL_SEATS_H */
