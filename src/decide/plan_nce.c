/*
 * plan_nce.c
 *
 * Rules 4 and 5: what a new commerce subscription gives back now, inside a
 * refund window, and what at its renewal.  Owns the shape of these choices
 * and the decisions made of them.  It must never suspend one: that saves
 * nothing and takes people's access.
 */
#include "decide/plan_internal.h"

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
at_least_zero(int64_t value)
{
	return value > 0 ? value : 0;
}

/*
 * Duplicates are not merged: a seat costs the same in either, and merging
 * risks people's access.  Among them the youngest gives first.
 */
void
spinpanel_plan_nce_leaf(const PlanScene *scene, PlanLeaf *leaf)
{
	const PlanPool *pool = scene->pool;
	const PlanSubscription *s = &pool->subscriptions[leaf->members[0]];
	PlanTime now = scene->now;
	PlanTime ahead;
	bool ours = spinpanel_plan_is_ours(s, now);

	leaf->quantity = s->quantity;
	leaf->minimum = s->minimum > 1 ? s->minimum : 1;
	leaf->minimum = least(leaf->minimum, leaf->quantity);
	leaf->term_end = spinpanel_seats_term_end(s);
	leaf->added = spinpanel_seats_added(s, now, pool->cooldown);
	leaf->added_last = spinpanel_seats_added_last(s, now, pool->cooldown);
	leaf->refundable =
		spinpanel_seats_refundable(s, now, pool->cooldown, &leaf->last_chance, &leaf->deadline);
	leaf->whole_last_chance = leaf->last_chance;

	/* However windows overlap, what was just added stays. */
	if (leaf->refundable > leaf->quantity - leaf->added)
		leaf->refundable = leaf->last_chance > leaf->quantity - leaf->added
							   ? leaf->last_chance
							   : leaf->quantity - leaf->added;

	/* The whole: while it can be cancelled, and nothing in it is fresh. */
	leaf->whole = false;
	if (scene->at_renewal && !s->has_active_addon)
	{
		bool last = false;

		if (s->extended_term)
			leaf->whole = true;
		else if (s->cancel_until > now && s->cancel_until - now > PLAN_TOO_LATE)
		{
			leaf->whole = true;
			last = s->cancel_until - now < PLAN_LAST_RUN;
		}
		if (last && s->batch_count == 0)
			leaf->whole_last_chance = leaf->quantity;
		if (leaf->added > leaf->whole_last_chance)
			leaf->whole = false;
		if (leaf->whole && leaf->deadline == PLAN_NEVER && !s->extended_term)
			leaf->deadline = s->cancel_until;
	}

	leaf->open = false;
	leaf->only_soften = scene->only_soften;
	leaf->scheduled = 0;
	leaf->until_term = scene->horizon;
	leaf->near = false;
	if (leaf->term_end == PLAN_NEVER || leaf->term_end <= now)
		return;
	ahead = leaf->term_end - now;
	leaf->until_term = least(ahead / PLAN_SECOND, scene->horizon);
	leaf->near = ahead < pool->cooldown;
	if (!scene->at_renewal || s->extended_term)
		return;

	/*
	 * Within the lead the next term is ours to decide, and what we decided
	 * before is decided again.  What is due tonight is looked at whatever the
	 * lead says, but then only to put back what is needed.
	 */
	if (scene->any_lead || ahead <= pool->renewal_lead)
		leaf->open = true;
	else if (ours && ahead < PLAN_LAST_RUN)
	{
		leaf->open = true;
		leaf->only_soften = true;
	}
	leaf->may_end = !s->has_active_addon;
	if (leaf->open && ours)
		leaf->scheduled = leaf->quantity - spinpanel_seats_lasting(s, leaf->quantity, now);
}

/* Does our schedule go further than the choice?  Then it is cut back first. */
static bool
puts_back(const PlanLeaf *leaf, int64_t taken, const PlanChoice *choice)
{
	return choice->now < leaf->quantity && taken < leaf->scheduled;
}

/*
 * Must something be scheduled beyond that?  A change made now wipes what was
 * scheduled, so that it is set again; where it is not wiped, the same again
 * does no harm.
 */
static bool
schedules(const PlanLeaf *leaf, int64_t taken, const PlanChoice *choice)
{
	if (choice->later <= 0)
		return false;
	return choice->now > 0 || taken > leaf->scheduled;
}

/* The next term is fixed: what can go now while so much goes for good? */
static bool
choose_fixed(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken, int64_t cool,
			 PlanChoice *choice)
{
	const PlanSubscription *s = &scene->pool->subscriptions[leaf->members[0]];
	int64_t lasts = spinpanel_seats_lasting(s, leaf->quantity, scene->now);
	int64_t going = leaf->quantity - lasts; /* goes at term end anyway */
	int64_t able = leaf->refundable;

	able = least(able, leaf->quantity - leaf->minimum);
	able = least(able, leaf->last_chance + cool);
	able = at_least_zero(able);
	if (scene->only_soften || leaf->only_soften)
		able = 0;

	choice->cool = 0;
	if (taken == lasts && leaf->whole && !scene->only_soften &&
		leaf->quantity <= leaf->whole_last_chance + cool)
	{
		choice->now = leaf->quantity;
		choice->cool = at_least_zero(leaf->quantity - leaf->whole_last_chance);
	}
	else
	{
		if (taken == 0)
			choice->now = least(able, lasts == 0 ? able : going);
		else
			choice->now = going + taken;
		if (choice->now > able || (lasts == 0 && taken > 0))
			return false;
		choice->cool = at_least_zero(choice->now - leaf->last_chance);
	}
	choice->later = 0;
	choice->changes = choice->now > 0 ? 1 : 0;
	choice->sooner = 0;
	choice->gain = choice->now * leaf->until_term + taken * (scene->horizon - leaf->until_term);
	choice->youth = choice->now * leaf->youth;
	return true;
}

/* The next term is ours to decide. */
static bool
choose_open(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken, int64_t cool,
			PlanChoice *choice)
{
	int64_t able;

	if (leaf->only_soften && taken > leaf->scheduled)
		return false;

	choice->cool = 0;
	if (taken == leaf->quantity && leaf->whole && !leaf->only_soften &&
		leaf->quantity <= leaf->whole_last_chance + cool)
	{
		choice->now = leaf->quantity;
		choice->later = 0;
		choice->cool = at_least_zero(leaf->quantity - leaf->whole_last_chance);
	}
	else
	{
		if (taken > leaf->quantity - leaf->minimum && !(taken == leaf->quantity && leaf->may_end))
			return false;
		able = least(leaf->refundable, leaf->quantity - leaf->minimum);
		able = least(able, leaf->last_chance + cool);
		if (leaf->only_soften)
			able = 0;
		choice->now = least(taken, at_least_zero(able));
		choice->later = taken - choice->now;
		choice->cool = at_least_zero(choice->now - leaf->last_chance);

		/*
		 * A seat that is unused for an hour today will be past its cool-down
		 * at a renewal next week, and is judged again until then.  At one
		 * tonight it will not.
		 */
		if (leaf->near && choice->later > 0)
		{
			choice->cool = at_least_zero(taken - leaf->last_chance);
			if (choice->cool > cool ||
				leaf->quantity - taken < leaf->added - least(choice->now, leaf->added_last))
				return false;
		}
	}

	choice->changes = 0;
	choice->sooner = 0;
	if (choice->now > 0)
		choice->changes++;
	if (puts_back(leaf, taken, choice))
	{
		choice->changes++;
		choice->sooner += leaf->until_term;
	}
	if (schedules(leaf, taken, choice))
	{
		choice->changes++;
		choice->sooner += leaf->until_term;
	}
	choice->gain =
		choice->now * scene->horizon + choice->later * (scene->horizon - leaf->until_term);
	choice->youth = taken * leaf->youth;
	return true;
}

bool
spinpanel_plan_nce_choice(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken, int64_t cool,
						  PlanChoice *choice)
{
	if (taken < 0 || taken > leaf->quantity)
		return false;
	return leaf->open ? choose_open(scene, leaf, taken, cool, choice)
					  : choose_fixed(scene, leaf, taken, cool, choice);
}

static void
decide_now(const PlanScene *scene, const PlanLeaf *leaf, const PlanChoice *choice,
		   PlanBuilder *builder)
{
	const PlanSubscription *s = &scene->pool->subscriptions[leaf->members[0]];
	bool all = choice->now == leaf->quantity;
	PlanDecision *d;
	PlanText text;

	d = spinpanel_plan_append(builder, scene, leaf->members[0], all ? PLAN_CANCEL : PLAN_REDUCE, 4,
							  leaf->quantity, leaf->quantity - choice->now,
							  /* what our schedule took was counted then */
							  at_least_zero(choice->now - leaf->scheduled));
	if (d == NULL)
		return;
	spinpanel_plan_text_begin(&text, d->reason, sizeof(d->reason));
	spinpanel_plan_text_pool(&text, scene->pool, &scene->seats);
	if (all && s->extended_term)
		spinpanel_plan_text_add(&text,
								"; all %lld not needed, cancellable at "
								"any time in extended service terms",
								(long long) choice->now);
	else
	{
		spinpanel_plan_text_add(&text,
								all ? "; all %lld not needed, can be "
									  "cancelled until "
									: "; %lld refundable until ",
								(long long) choice->now);
		spinpanel_plan_text_date(&text, all ? s->cancel_until : leaf->deadline);
	}
	if (choice->now > 0 && leaf->last_chance > 0)
		spinpanel_plan_text_add(&text, " (last run before the window closes)");
}

/* What we scheduled took too much: less of it, or nothing any more. */
static void
decide_back(const PlanScene *scene, const PlanLeaf *leaf, PlanBuilder *builder)
{
	int64_t to = leaf->quantity - leaf->taken;
	PlanDecision *d;
	PlanText text;

	d = spinpanel_plan_append(builder, scene, leaf->members[0], PLAN_REDUCE_AT_RENEWAL, 5,
							  leaf->quantity, to, 0);
	if (d == NULL)
		return;
	d->effective = leaf->term_end;
	spinpanel_plan_text_begin(&text, d->reason, sizeof(d->reason));
	spinpanel_plan_text_pool(&text, scene->pool, &scene->seats);
	spinpanel_plan_text_add(&text, "; we had scheduled %lld from ",
							(long long) (leaf->quantity - leaf->scheduled));
	spinpanel_plan_text_date(&text, leaf->term_end);
	spinpanel_plan_text_add(&text, ", %lld are kept now", (long long) to);
}

static void
decide_later(const PlanScene *scene, const PlanLeaf *leaf, const PlanChoice *choice,
			 PlanBuilder *builder)
{
	int64_t from = leaf->quantity - choice->now;
	int64_t to = from - choice->later;
	PlanDecision *d;
	PlanText text;

	/* What stood in our schedule before was counted then. */
	d = spinpanel_plan_append(
		builder, scene, leaf->members[0], to == 0 ? PLAN_END_AT_TERM : PLAN_REDUCE_AT_RENEWAL, 5,
		from, to, at_least_zero(choice->later - at_least_zero(leaf->scheduled - choice->now)));
	if (d == NULL)
		return;
	d->effective = leaf->term_end;
	spinpanel_plan_text_begin(&text, d->reason, sizeof(d->reason));
	spinpanel_plan_text_pool(&text, scene->pool, &scene->seats);
	if (to == 0)
		spinpanel_plan_text_add(&text, "; all %lld not needed, ends on ", (long long) from);
	else
		spinpanel_plan_text_add(&text,
								"; %lld outside the refund window, "
								"returned at the renewal on ",
								(long long) choice->later);
	spinpanel_plan_text_date(&text, leaf->term_end);
}

void
spinpanel_plan_nce_decide(const PlanScene *scene, const PlanLeaf *leaf, PlanBuilder *builder,
						  bool back)
{
	PlanChoice choice;

	if (!spinpanel_plan_nce_choice(scene, leaf, leaf->taken, leaf->cool, &choice))
		return;
	if (back)
	{
		if (leaf->open && puts_back(leaf, leaf->taken, &choice))
			decide_back(scene, leaf, builder);
		return;
	}
	if (choice.now > 0)
		decide_now(scene, leaf, &choice, builder);
	if (leaf->open && schedules(leaf, leaf->taken, &choice))
		decide_later(scene, leaf, &choice, builder);
}
