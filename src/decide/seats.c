/*
 * seats.c
 *
 * Owns the arithmetic of a pool: owned, foreign, floor, excess, and supply as
 * a function of time.  It must never decide anything, look at a clock, or
 * count a seat on which nobody can rely: seats not yet provisioned, seats of
 * others, and increases that are only scheduled are left out.
 *
 * Sums are 64 bits wide: the numbers come from the network.
 */
#include "decide/seats.h"

static int64_t
at_least_zero(int64_t value)
{
	return value > 0 ? value : 0;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* a - b for moments, without overflow at PLAN_NEVER and its opposite */
static PlanTime
earlier_by(PlanTime moment, PlanTime by)
{
	if (by > 0 && moment < INT64_MIN + by)
		return INT64_MIN;
	if (by < 0 && moment > INT64_MAX + by)
		return INT64_MAX;
	return moment - by;
}

bool
spinpanel_seats_counts(const PlanSubscription *subscription)
{
	return (subscription->commerce == PLAN_NCE || subscription->commerce == PLAN_LEGACY) &&
		   subscription->status == PLAN_ACTIVE && !subscription->trial &&
		   subscription->quantity > 0;
}

PlanTime
spinpanel_seats_term_end(const PlanSubscription *subscription)
{
	return subscription->term_end;
}

bool
spinpanel_seats_ends(const PlanSubscription *subscription, PlanTime now)
{
	/*
	 * Extended Service Terms go on from month to month with auto-renew off;
	 * only an explicit cancel ends them.
	 */
	if (subscription->cancel_at_term)
		return true;
	if (subscription->auto_renew || subscription->extended_term)
		return false;

	/* Active long after the date it was to end on: the date means nothing. */
	if (subscription->commerce == PLAN_LEGACY && spinpanel_seats_term_end(subscription) <= now)
		return false;
	return true;
}

int64_t
spinpanel_seats_lasting(const PlanSubscription *subscription, int64_t quantity, PlanTime now)
{
	if (spinpanel_seats_ends(subscription, now) || subscription->next_other_sku)
		return 0;

	/* A scheduled increase may still be wiped: nobody can rely on it. */
	if (subscription->next_quantity >= 0)
		return least(subscription->next_quantity, quantity);
	return quantity;
}

int64_t
spinpanel_seats_supply(const PlanPool *pool, PlanTime now, PlanTime moment)
{
	int64_t owned = 0;
	int64_t supply = 0;
	int32_t i;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (!spinpanel_seats_counts(s))
			continue;
		owned += s->quantity;
		if (s->renewing || moment >= spinpanel_seats_term_end(s))
			supply += spinpanel_seats_lasting(s, s->quantity, now);
		else
			supply += s->quantity;
	}
	return supply - at_least_zero(owned - at_least_zero(pool->active));
}

PlanTime
spinpanel_seats_below(const PlanPool *pool, PlanTime now, int64_t seats)
{
	PlanTime first = PLAN_NEVER;
	int32_t i;

	if (spinpanel_seats_supply(pool, now, now) < seats)
		return now;
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		PlanTime end = spinpanel_seats_term_end(s);

		if (spinpanel_seats_counts(s) && end > now && end < first &&
			spinpanel_seats_supply(pool, now, end) < seats)
			first = end;
	}
	return first;
}

/* Were seats that opened this window bought since that moment? */
static bool
batch_added_since(const PlanBatch *batch, PlanTime since)
{
	return !batch->by_renewal && batch->quantity > 0 &&
		   earlier_by(batch->deadline, SEATS_WINDOW) > since;
}

/* Seats added after one moment and not after another. */
static int64_t
added_between(const PlanSubscription *subscription, PlanTime after, PlanTime until)
{
	int64_t added = 0;
	int32_t i;

	if (subscription->created > after)
		return subscription->created > until ? 0 : subscription->quantity;
	for (i = 0; i < subscription->batch_count; i++)
	{
		if (batch_added_since(&subscription->batches[i], after) &&
			!batch_added_since(&subscription->batches[i], until))
			added += subscription->batches[i].quantity;
	}
	return least(added, subscription->quantity);
}

int64_t
spinpanel_seats_added(const PlanSubscription *subscription, PlanTime now, PlanTime cooldown)
{
	return added_between(subscription, earlier_by(now, cooldown), INT64_MAX);
}

int64_t
spinpanel_seats_added_last(const PlanSubscription *subscription, PlanTime now, PlanTime cooldown)
{
	PlanTime since = earlier_by(now, cooldown);
	int64_t seats = 0;
	int32_t i;

	for (i = 0; i < subscription->batch_count; i++)
	{
		const PlanBatch *batch = &subscription->batches[i];

		if (batch->quantity > 0 && batch->deadline > now && batch->deadline - now > PLAN_TOO_LATE &&
			batch->deadline - now < PLAN_LAST_RUN &&
			(subscription->created > since || batch_added_since(batch, since)))
			seats += batch->quantity;
	}
	return least(seats, subscription->quantity);
}

int64_t
spinpanel_seats_refundable(const PlanSubscription *subscription, PlanTime now, PlanTime cooldown,
						   int64_t *last_chance, PlanTime *deadline)
{
	PlanTime added_after = earlier_by(now, cooldown);
	int64_t refundable = 0;
	int32_t i;

	*last_chance = 0;
	*deadline = PLAN_NEVER;
	for (i = 0; i < subscription->batch_count; i++)
	{
		const PlanBatch *batch = &subscription->batches[i];
		PlanTime ahead;
		bool last;

		if (batch->quantity <= 0 || batch->deadline <= now)
			continue;
		ahead = batch->deadline - now;
		if (ahead <= PLAN_TOO_LATE)
			continue;
		last = ahead < PLAN_LAST_RUN;
		if (!last && batch_added_since(batch, added_after))
			continue;
		refundable += batch->quantity;
		if (last)
			*last_chance += batch->quantity;
		if (batch->deadline < *deadline)
			*deadline = batch->deadline;
	}
	*last_chance = least(*last_chance, subscription->quantity);
	return least(refundable, subscription->quantity);
}

void
spinpanel_seats_figures(const PlanPool *pool, PlanTime now, PlanSeats *seats)
{
	PlanTime cool_since = earlier_by(now, pool->cooldown);
	int64_t active = at_least_zero(pool->active);
	int64_t unseen = 0;
	int64_t present;
	int32_t i;

	seats->owned = 0;
	seats->lasting = 0;
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (!spinpanel_seats_counts(s))
			continue;
		seats->owned += s->quantity;
		seats->lasting += spinpanel_seats_lasting(s, s->quantity, now);

		/* Added within the cool-down, but before our history begins. */
		if (pool->known_since > cool_since)
			unseen += added_between(s, cool_since, pool->known_since);
	}
	present = least(seats->owned, active);
	seats->foreign = at_least_zero(active - seats->owned);
	seats->absent = at_least_zero(seats->owned - active);
	seats->need =
		at_least_zero(pool->consumed) + at_least_zero(pool->waiting) + at_least_zero(pool->spare);

	/*
	 * min_seats is a bound on what is owned, the need one on what can be
	 * used; seats that are not provisioned yet serve the first alone.
	 */
	seats->floor = seats->need + seats->absent;
	if (seats->floor < pool->min_seats)
		seats->floor = pool->min_seats;
	seats->excess = at_least_zero(seats->owned - seats->floor);
	seats->excess = least(seats->excess, at_least_zero(present - seats->need));

	seats->settled = (int64_t) pool->settled_unused - unseen - at_least_zero(pool->waiting) -
					 at_least_zero(pool->spare);
	seats->tight = seats->settled < 0;
	seats->settled = at_least_zero(seats->settled);
}
