/*
 * request_need.c
 *
 * See request_need.h.  Owns the formula of what has to be bought and the order of the
 * sources; it must never decide whether buying is allowed.
 *
 * A seat may be counted as free that is none (reports lag): the assignment is
 * then refused, and one is bought.  It must not be the other way round: a seat
 * bought too many is money.  So every assignment we sent counts once: in
 * consumed once that shows it, in claimed while it is under way and in unreported
 * until then, in open before.
 */
#include <stdio.h>
#include <string.h>

#include "decide/request_need.h"
#include "decide/seats.h"

static int64_t
at_least_zero(int64_t value)
{
	return value > 0 ? value : 0;
}

static int32_t
clamp(int64_t value)
{
	return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t) value;
}

/* ASCII, as ids of terms and cycles are; nothing wanted matches everything */
static bool
matches(const char *wanted, const char *is)
{
	if (wanted == NULL)
		return true;
	if (is == NULL)
		return false;
	for (; *wanted && *is; wanted++, is++)
	{
		char a = *wanted >= 'A' && *wanted <= 'Z' ? (char) (*wanted + 32) : *wanted;
		char b = *is >= 'A' && *is <= 'Z' ? (char) (*is + 32) : *is;

		if (a != b)
			return false;
	}
	return *wanted == *is;
}

/* Is what happens at the end of its term so near that its seats are no stock? */
static bool
near(const PlanPool *pool, const PlanSubscription *s, PlanTime now)
{
	PlanTime end = spinpanel_seats_term_end(s);
	bool ours = spinpanel_seats_ends(s, now) ? s->end_by == PLAN_OURS : s->next_by == PLAN_OURS;
	PlanTime lead = ours ? NEED_OUR_LEAD : pool->renewal_lead;

	/* any two moments will do */
	if (end == PLAN_NEVER || (now < 0 && end > INT64_MAX + now))
		return false;
	return (now > 0 && end < INT64_MIN + now) || end - now < lead;
}

void
spinpanel_need_supply(const PlanPool *pool, PlanTime now, NeedFigures *figures)
{
	int64_t trial = 0;
	int64_t ending = 0;
	int32_t i;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (s->status != PLAN_ACTIVE || s->commerce == PLAN_OTHER)
			continue;
		if (s->trial)
			trial += s->quantity;
		else if (near(pool, s, now))
			ending += s->quantity - spinpanel_seats_lasting(s, s->quantity, now);
	}
	figures->trial = clamp(trial);
	figures->ending = clamp(ending);
}

int64_t
spinpanel_need_free(const NeedFigures *f)
{
	return (int64_t) f->active + f->unshown - f->reserved - f->consumed - f->claimed -
		   f->unreported + f->released - f->trial - f->removing - f->ending;
}

int64_t
spinpanel_need_doubtful(const NeedFigures *f)
{
	return f->refused > 0 ? 0 : (int64_t) f->unreported + f->lagging;
}

int64_t
spinpanel_need(const NeedFigures *f)
{
	int64_t need;

	if (f->increment)
		return f->open;
	need =
		at_least_zero(f->open - at_least_zero(spinpanel_need_free(f) + spinpanel_need_doubtful(f)));
	return need > f->refused ? need : f->refused;
}

const char *
spinpanel_need_obstacle(const PlanSubscription *s, const NeedTerms *terms, const NeedRule *rule)
{
	if (!terms->usable)
		return "the account of its subscription may not act now";
	if (s->status != PLAN_ACTIVE)
		return "its subscription is suspended";
	if (s->trial || s->commerce == PLAN_OTHER)
		return "its subscription is a trial, or of a kind that is never changed";
	if (s->end_by == PLAN_PERSON)
		return "somebody set its subscription to end";
	if (s->next_other_sku)
		return "its subscription becomes another product at its renewal";
	if (!matches(rule->term_duration, terms->term_duration) ||
		!matches(rule->billing_cycle, terms->billing_cycle))
		return "its subscription has another term or billing cycle than the rule asks for";
	if (s->quantity >= s->maximum)
		return "its subscription is at the offer's maximum";
	if (s->changes >= NEED_MAX_CHANGES)
		return "its subscription was changed too many times for another change";
	return NULL;
}

bool
spinpanel_need_reactivable(const PlanSubscription *s, const NeedTerms *terms, const NeedRule *rule)
{
	return s->status == PLAN_SUSPENDED && s->suspended_by == PLAN_OURS && !s->trial &&
		   s->commerce != PLAN_OTHER && s->quantity > 0 && s->changes < NEED_MAX_CHANGES &&
		   terms->usable && matches(rule->term_duration, terms->term_duration) &&
		   matches(rule->billing_cycle, terms->billing_cycle);
}

static bool
better(const PlanSubscription *a, const PlanSubscription *b)
{
	PlanTime end_a = spinpanel_seats_term_end(a);
	PlanTime end_b = spinpanel_seats_term_end(b);

	/* A renewal in progress lets nobody change it: later, if there is another. */
	if (a->renewing != b->renewing)
		return !a->renewing;
	if (end_a != end_b)
		return end_a < end_b;
	return a->created < b->created;
}

void
spinpanel_need_source(const PlanPool *pool, const NeedTerms *terms, const NeedRule *rule,
					  PlanTime now, NeedSource *source)
{
	const char *why = NULL;
	bool blocked = false;
	int32_t own = -1;
	int32_t i;

	(void) now;
	memset(source, 0, sizeof(*source));
	source->subscription = -1;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		const char *hurdle;

		if (s->commerce == PLAN_OTHER || s->trial || s->status == PLAN_GONE)
			continue;
		if (s->status == PLAN_SUSPENDED)
		{
			if (s->suspended_by != PLAN_OURS)
				blocked = true;
			else if (spinpanel_need_reactivable(s, &terms[i], rule) &&
					 (own < 0 || better(s, &pool->subscriptions[own])))
				own = i;
			continue;
		}
		hurdle = spinpanel_need_obstacle(s, &terms[i], rule);
		if (hurdle != NULL)
		{
			why = hurdle;
			continue;
		}
		if (source->subscription < 0 || better(s, &pool->subscriptions[source->subscription]))
			source->subscription = i;
	}

	if (source->subscription >= 0)
	{
		const PlanSubscription *s = &pool->subscriptions[source->subscription];

		source->kind = NEED_RAISE;
		source->room = clamp((int64_t) s->maximum - s->quantity);
		return;
	}
	if (own >= 0)
	{
		source->kind = NEED_REACTIVATE;
		source->subscription = own;
		source->room = pool->subscriptions[own].quantity;
		return;
	}
	if (blocked)
	{
		snprintf(
			source->why, sizeof(source->why),
			"its subscription was suspended by somebody else: reactivate it, or cancel it and set a default_offer");
		return;
	}
	if (rule->default_offer != NULL)
	{
		source->kind = NEED_ORDER;
		source->room = INT32_MAX;
		return;
	}
	snprintf(source->why, sizeof(source->why), "%s, and no rule names a default_offer to order",
			 why != NULL ? why : "no subscription of this SKU can be raised");
}
