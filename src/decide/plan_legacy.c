/*
 * plan_legacy.c
 *
 * Rule 3: legacy subscriptions are lowered at any time, suspended where they
 * lie wholly inside the excess, and duplicates of one offer are merged onto
 * the oldest.  Owns the shape of these choices and the decisions made of them.
 *
 * "Duplicates of one offer are merged" stands in the rule without a
 * condition, so they are merged where nothing is unused too: the oldest is
 * then raised by all that the younger one had.  Younger ones vanish as a
 * whole or not at all; a raise that would only shift seats is not made.
 */
#include "decide/plan_internal.h"

/* Groups with more younger members are not searched through completely. */
#define MOST_SETS 8

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

static const PlanSubscription *
member(const PlanScene *scene, const PlanLeaf *leaf, int32_t i)
{
	return &scene->pool->subscriptions[leaf->members[i]];
}

static int64_t
minimum_of(const PlanSubscription *s)
{
	return least(s->minimum > 1 ? s->minimum : 1, s->quantity);
}

bool
spinpanel_plan_mergeable(const PlanPool *pool, const PlanSubscription *s, PlanTime now)
{
	return s->commerce == PLAN_LEGACY && s->duplicates >= 0 && s->rejected_to < 0 &&
		   spinpanel_seats_counts(s) && !s->is_addon && !s->has_active_addon &&
		   spinpanel_plan_untouchable(s, now) == NULL &&
		   spinpanel_seats_added(s, now, pool->cooldown) == 0;
}

void
spinpanel_plan_legacy_leaf(const PlanScene *scene, PlanLeaf *leaf)
{
	int32_t i;

	leaf->quantity = 0;
	for (i = 0; i < leaf->member_count; i++)
		leaf->quantity += member(scene, leaf, i)->quantity;
	leaf->minimum = minimum_of(member(scene, leaf, 0));

	/* A base stays as long as it has an active add-on. */
	leaf->whole = !member(scene, leaf, 0)->has_active_addon;
	leaf->open = false;
	leaf->until_term = scene->horizon;
	leaf->deadline = PLAN_NEVER;
	leaf->term_end = PLAN_NEVER;
}

/* How duplicates share what remains. */
typedef struct Share
{
	uint32_t gone; /* bit per member that vanishes */
	int32_t suffix; /* in large groups: so many of the youngest */
	int32_t vanishing;
	int64_t oldest; /* new quantity of the oldest */
	int64_t lowered; /* seats that younger ones that stay give */
} Share;

static bool
vanishes(const PlanLeaf *leaf, const Share *share, int32_t i)
{
	if (i == 0)
		return false;
	if (share->suffix >= 0)
		return i >= leaf->member_count - share->suffix;
	return (share->gone & (UINT32_C(1) << i)) != 0;
}

/* With these vanishing, can the others hold what remains? */
static bool
holds(const PlanScene *scene, const PlanLeaf *leaf, int64_t remaining, Share *share)
{
	const PlanSubscription *first = member(scene, leaf, 0);
	int64_t maximum = first->maximum > first->quantity ? first->maximum : first->quantity;
	int64_t can_lower = 0;
	int32_t i;

	share->vanishing = 0;
	share->lowered = 0;
	share->oldest = remaining;
	for (i = 1; i < leaf->member_count; i++)
	{
		const PlanSubscription *s = member(scene, leaf, i);

		if (vanishes(leaf, share, i))
			share->vanishing++;
		else
		{
			share->oldest -= s->quantity;
			can_lower += s->quantity - minimum_of(s);
		}
	}
	if (share->oldest == first->quantity)
		return true;
	if (share->oldest > first->quantity)
		return share->vanishing > 0 && share->oldest <= maximum && share->oldest >= first->minimum;

	/* Too much even so: the younger of those that stay give first. */
	share->lowered = least(first->quantity - share->oldest, can_lower);
	share->oldest += share->lowered;
	return share->oldest >= minimum_of(first);
}

/*
 * The more of the younger ones vanish the better, and the youngest of them,
 * as far as the oldest may take over what is needed of them.  All sets are
 * tried; of a group too large for that, only the youngest so many.
 */
static bool
share_out(const PlanScene *scene, const PlanLeaf *leaf, int64_t remaining, Share *share)
{
	int32_t younger = leaf->member_count - 1;
	bool found = false;
	Share best = { 0 };

	if (younger > MOST_SETS)
	{
		for (share->suffix = younger; share->suffix >= 0; share->suffix--)
		{
			if (holds(scene, leaf, remaining, share))
				return true;
		}
		return false;
	}
	share->suffix = -1;
	for (share->gone = 0; share->gone < UINT32_C(2) << younger; share->gone += 2)
	{
		if (!holds(scene, leaf, remaining, share) || (found && share->vanishing < best.vanishing))
			continue;
		best = *share; /* later sets of one size are younger */
		found = true;
	}
	*share = best;
	return found;
}

/*
 * Not where too few seats are left at some later moment, nor while more are
 * asked for than have been unused: whoever takes one between the raise and
 * the suspension would make us undo the merge.
 */
static bool
merges(const PlanScene *scene)
{
	return !scene->only_soften && scene->slack >= 0 && !scene->seats.tight;
}

bool
spinpanel_plan_legacy_choice(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken,
							 int64_t cool, PlanChoice *choice)
{
	int64_t left = taken;
	int32_t i;

	if (taken < 0 || taken > leaf->quantity || taken > cool)
		return false;
	if (scene->only_soften && taken > 0)
		return false;

	choice->now = taken;
	choice->later = 0;
	choice->cool = taken;
	choice->sooner = 0;
	choice->gain = taken * scene->horizon;
	choice->changes = 0;
	choice->youth = 0;

	if (leaf->kind == LEAF_LEGACY)
	{
		if (taken > leaf->quantity - leaf->minimum && !(taken == leaf->quantity && leaf->whole))
			return false;
		choice->changes = taken > 0 ? 1 : 0;
	}
	else if (merges(scene) && taken < leaf->quantity)
	{
		Share share;

		if (!share_out(scene, leaf, leaf->quantity - taken, &share))
			return false;
		choice->changes = share.vanishing;
		if (share.oldest != member(scene, leaf, 0)->quantity)
			choice->changes++;
		if (share.lowered > 0)
			choice->changes++;
	}
	else if (taken > 0)
		choice->changes = leaf->member_count;

	/* Net seats leave from the youngest upwards, whatever is raised. */
	for (i = leaf->member_count - 1; i >= 0 && left > 0; i--)
	{
		int64_t part = least(left, member(scene, leaf, i)->quantity);

		choice->youth += part * scene->rank[leaf->members[i]];
		left -= part;
	}
	return true;
}

static void
begin_reason(const PlanScene *scene, PlanDecision *d, PlanText *text)
{
	spinpanel_plan_text_begin(text, d->reason, sizeof(d->reason));
	spinpanel_plan_text_pool(text, scene->pool, &scene->seats);
}

static void
decide_lower(const PlanScene *scene, int32_t subscription, int64_t by, PlanBuilder *builder)
{
	const PlanSubscription *s = &scene->pool->subscriptions[subscription];
	PlanDecision *d;
	PlanText text;

	if (by <= 0)
		return;
	d = spinpanel_plan_append(builder, scene, subscription,
							  by == s->quantity ? PLAN_SUSPEND : PLAN_REDUCE, 3, s->quantity,
							  s->quantity - by, by);
	if (d == NULL)
		return;
	begin_reason(scene, d, &text);
	if (by == s->quantity)
		spinpanel_plan_text_add(&text,
								"; all %lld of this legacy "
								"subscription are not needed",
								(long long) by);
	else
		spinpanel_plan_text_add(&text,
								"; %lld returned, legacy seats go back "
								"at any time",
								(long long) by);
}

static void
decide_merge(const PlanScene *scene, const PlanLeaf *leaf, PlanBuilder *builder)
{
	const PlanSubscription *first = member(scene, leaf, 0);
	int32_t merge = 0;
	Share share;
	int64_t lowered;
	int64_t raised;
	int32_t i;
	PlanDecision *d;
	PlanText text;

	if (leaf->taken >= leaf->quantity)
	{
		for (i = leaf->member_count - 1; i >= 0; i--)
			decide_lower(scene, leaf->members[i], member(scene, leaf, i)->quantity, builder);
		return;
	}
	if (!share_out(scene, leaf, leaf->quantity - leaf->taken, &share))
		return;

	lowered = share.lowered;
	raised = at_least_zero(share.oldest - first->quantity);
	if (raised > 0)
	{
		merge = ++builder->merges;
		d = spinpanel_plan_append(builder, scene, leaf->members[0], PLAN_RAISE, 3, first->quantity,
								  share.oldest, -raised);
		if (d == NULL)
			return;
		d->merge = merge;
		begin_reason(scene, d, &text);
		spinpanel_plan_text_add(&text,
								"; oldest of %d legacy subscriptions "
								"of one offer takes over %lld of %d younger",
								(int) leaf->member_count, (long long) raised,
								(int) share.vanishing);
	}
	for (i = leaf->member_count - 1; i >= 1; i--)
	{
		const PlanSubscription *s = member(scene, leaf, i);

		if (vanishes(leaf, &share, i))
		{
			d = spinpanel_plan_append(builder, scene, leaf->members[i], PLAN_SUSPEND, 3,
									  s->quantity, 0, s->quantity);
			if (d == NULL)
				return;
			d->merge = merge;
			begin_reason(scene, d, &text);
			if (merge > 0)
				spinpanel_plan_text_add(&text, "; merged onto the oldest "
											   "legacy subscription of its offer");
			else
				spinpanel_plan_text_add(&text,
										"; all %d of this legacy "
										"subscription are not needed",
										(int) s->quantity);
		}
		else
		{
			int64_t by = least(lowered, s->quantity - minimum_of(s));

			decide_lower(scene, leaf->members[i], by, builder);
			lowered -= by;
		}
	}
	decide_lower(scene, leaf->members[0], first->quantity - share.oldest, builder);
}

void
spinpanel_plan_legacy_decide(const PlanScene *scene, const PlanLeaf *leaf, PlanBuilder *builder)
{
	if (leaf->kind == LEAF_MERGE)
	{
		if (merges(scene))
			decide_merge(scene, leaf, builder);
	}
	else
		decide_lower(scene, leaf->members[0], leaf->taken, builder);
}
