/*
 * plan_holds.c
 *
 * How long the figures of a pool stay as they are while only time goes on, so
 * that whoever keeps them knows when to ask again.  Too early is no harm; too
 * late would show what the planner does not say.
 *
 * The rules compare the time with moments that follow from what was read: ends
 * of terms, windows and cool-downs.  Between two of these what may be chosen
 * stays the same, and only what it gains changes, evenly with the time.  Of
 * things that change evenly the one that is best at both ends of a stretch is
 * best all the way: so it is enough to look at both ends.
 */
#include <stdlib.h>
#include <string.h>

#include "decide/plan_internal.h"

/* What does not even hold for this long is not worth keeping. */
#define WORTH_KEEPING (1 * PLAN_HOUR)

static PlanTime
sum(PlanTime a, PlanTime b)
{
	if (b > 0 && a > INT64_MAX - b)
		return INT64_MAX;
	if (b < 0 && a < INT64_MIN - b)
		return INT64_MIN;
	return a + b;
}

/* Something may change at that moment, or right after it. */
static void
consider(PlanTime moment, PlanTime now, PlanTime *until)
{
	PlanTime after = sum(moment, 1);

	if (moment > now && moment < *until)
		*until = moment;
	else if (after > now && after < *until)
		*until = after;
}

static void
consider_subscription(const PlanPool *pool, const PlanSubscription *s, PlanTime now,
					  PlanTime *until)
{
	PlanTime end = spinpanel_seats_term_end(s);
	int32_t i;

	consider(s->created, now, until);
	consider(sum(s->created, pool->cooldown), now, until);
	if (end != PLAN_NEVER)
	{
		consider(end, now, until);
		consider(sum(end, -PLAN_LAST_RUN), now, until);
		consider(sum(end, -pool->renewal_lead), now, until);
		consider(sum(end, -pool->cooldown), now, until);
		consider(sum(end, -PLAN_HORIZON), now, until);
		consider(sum(end, -PLAN_FURTHEST), now, until);
	}
	consider(s->cancel_until, now, until);
	consider(sum(s->cancel_until, -PLAN_TOO_LATE), now, until);
	consider(sum(s->cancel_until, -PLAN_LAST_RUN), now, until);
	for (i = 0; i < s->batch_count; i++)
	{
		PlanTime deadline = s->batches[i].deadline;
		PlanTime opened = sum(deadline, -SEATS_WINDOW);

		consider(deadline, now, until);
		consider(sum(deadline, -PLAN_TOO_LATE), now, until);
		consider(sum(deadline, -PLAN_LAST_RUN), now, until);
		consider(opened, now, until);
		consider(sum(opened, pool->cooldown), now, until);
	}
}

/* Is the same chosen at both moments? */
static bool
same_choice(const PlanPool *pool, const PlanPool *later_pool, PlanTime now, PlanTime later,
			bool any_lead, bool only_soften)
{
	PlanScene a;
	PlanScene b;
	bool same = false;
	int32_t i;

	if (!spinpanel_plan_open(&a, pool, 0, now, true, any_lead, only_soften))
		return false;
	if (!spinpanel_plan_open(&b, later_pool, 0, later, true, any_lead, only_soften))
	{
		spinpanel_plan_close(&a);
		return false;
	}
	if (a.leaf_count == b.leaf_count && spinpanel_plan_choose(&a) && spinpanel_plan_choose(&b))
		/* What is perhaps not the best may be anything in between. */
		same = !(a.approximate || b.approximate) || a.leaf_count < 2;
	for (i = 0; same && i < a.leaf_count; i++)
	{
		const PlanLeaf *x = &a.leaves[i];
		const PlanLeaf *y = &b.leaves[i];
		PlanChoice x_choice = { 0 };
		PlanChoice y_choice = { 0 };

		same = x->members[0] == y->members[0] && x->taken == y->taken &&
			   x->scheduled == y->scheduled &&
			   spinpanel_plan_leaf_choice(&a, x, x->taken, x->cool, &x_choice) ==
				   spinpanel_plan_leaf_choice(&b, y, y->taken, y->cool, &y_choice) &&
			   x_choice.now == y_choice.now && x_choice.later == y_choice.later;
	}
	spinpanel_plan_close(&a);
	spinpanel_plan_close(&b);
	return same;
}

/* Would a run change something?  What it only explains is no change. */
static bool
changes(const PlanResult *result)
{
	int32_t i;

	for (i = 0; i < result->count; i++)
		if (result->decisions[i].action != PLAN_NONE)
			return true;
	return false;
}

/* Nothing is changed, and the same is said about it. */
static bool
same_words(const PlanPool *pool, PlanTime now, const PlanResult *plan)
{
	PlanOptions options = { 0 };
	PlanLimits limits = { 0 };
	PlanResult result;
	bool same;
	int32_t i;

	options.now = now;
	options.at_renewal = true;
	spinpanel_plan_customer(pool, 1, &limits, &options, &result);
	same = !result.out_of_memory && result.count == plan->count && !changes(&result);
	for (i = 0; same && i < plan->count; i++)
		same = strcmp(result.decisions[i].reason, plan->decisions[i].reason) == 0;
	spinpanel_plan_free(&result);
	return same;
}

static bool
same_at(const PlanPool *pool, const PlanOptions *options, PlanTime later, const PlanExcess *excess,
		const PlanResult *plan)
{
	PlanTime now = options->now;
	PlanPool then = *pool;
	const char *blocked = spinpanel_plan_blocked(pool, now, options->ignore_switch);

	if (pool->known_since == now)
		then.known_since = later;
	if (!changes(plan) && !same_words(&then, later, plan))
		return false;
	if ((blocked == NULL || spinpanel_plan_softens(pool, now, blocked)) &&
		!same_choice(pool, &then, now, later, false, blocked != NULL))
		return false;
	if (excess->excess <= 0 || spinpanel_plan_blocked(pool, now, true) != NULL)
		return true;
	return same_choice(pool, &then, now, later, false, false) &&
		   same_choice(pool, &then, now, later, true, false);
}

void
spinpanel_plan_excess_holds(const PlanPool *pool, const PlanOptions *options, PlanTime *until,
							bool *nothing_to_do)
{
	PlanTime now = options->now;
	PlanLimits limits = { 0 };
	PlanResult result;
	PlanExcess excess;
	int32_t i;

	consider(sum(pool->read_at, pool->max_age), now, until);
	if (pool->known_since != now)
		consider(sum(pool->known_since, pool->cooldown), now, until);
	for (i = 0; i < pool->subscription_count; i++)
		consider_subscription(pool, &pool->subscriptions[i], now, until);

	spinpanel_plan_excess(pool, options, &excess);
	spinpanel_plan_customer(pool, 1, &limits, options, &result);
	*nothing_to_do = !changes(&result);
	if (result.out_of_memory)
		*until = now;

	while (*until > now && !same_at(pool, options, *until - 1, &excess, &result))
	{
		PlanTime half = *until == PLAN_NEVER ? sum(now, 800 * PLAN_DAY) : now + (*until - now) / 2;

		*until = half - now < WORTH_KEEPING ? now : half;
	}
	spinpanel_plan_free(&result);
}
