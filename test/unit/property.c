/*
 * property.c [count] [seed]
 *
 * What must hold of every plan, on random pools larger than brute force can
 * search: never below the floor at any time, never below a minimum or above a
 * maximum, never outside a window or inside a cool-down, nobody's decision
 * touched, limits kept, nothing left to do once it is done, and the judgement
 * right before sending agrees with the plan.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *broken;
static bool big; /* perhaps not the very best is found */

static void
must(bool holds, const char *what)
{
	if (!holds && broken == NULL)
		broken = what;
}

static bool
removes(const PlanDecision *d)
{
	return (d->action == PLAN_REDUCE || d->action == PLAN_SUSPEND || d->action == PLAN_CANCEL ||
			d->action == PLAN_END_AT_TERM || d->action == PLAN_REDUCE_AT_RENEWAL) &&
		   d->seats > 0;
}

static bool
puts_back(const PlanSubscription *s, const PlanDecision *d, PlanTime now)
{
	return d->action == PLAN_REDUCE_AT_RENEWAL && plain_ours(s, now) &&
		   d->to_quantity > plain_next(s, now);
}

static void
check_one(const Fixture *f, const PlanDecision *d)
{
	const PlanSubscription *s = &f->subscriptions[d->subscription];
	PlanTime now = f->options.now;
	bool putting_back = puts_back(s, d, now);

	must(plain_counts(s), "only active, paid subscriptions change");
	must(!plain_person(s, now), "a person's decision is left alone");
	must(!s->renewing, "nothing during a renewal");
	must(s->changes < PLAN_MAX_CHANGES, "not changed too often");
	must(putting_back || !plain_blocked(&f->pool, now), "a pool left alone");
	must(d->seats == abs(d->from_quantity - d->to_quantity), "seats counted");
	must(d->reason[0] != '\0', "a reason is given");
	must(d->to_quantity >= 0, "no negative quantity");

	switch (d->action)
	{
		case PLAN_REDUCE:
			must(d->from_quantity == s->quantity, "from what is there");
			must(d->to_quantity < d->from_quantity, "a reduction reduces");
			must(d->to_quantity >= s->minimum, "not below the minimum");
			if (s->commerce == PLAN_NCE)
				must(d->seats <= plain_window(s, &f->pool, now), "only inside a window");
			break;
		case PLAN_SUSPEND:
			must(s->commerce == PLAN_LEGACY, "suspending is for legacy");
			must(!s->has_active_addon, "a base with an add-on stays");
			must(plain_fresh(s, &f->pool, now) == 0, "seats added today stay");
			break;
		case PLAN_CANCEL:
			must(s->commerce == PLAN_NCE && f->options.at_renewal,
				 "cancelling is for new commerce");
			must(s->extended_term || s->cancel_until > now + PLAN_HOUR,
				 "only while it can be cancelled");
			must(!s->has_active_addon, "a base with an add-on stays");
			break;
		case PLAN_REDUCE_AT_RENEWAL:
		case PLAN_END_AT_TERM:
			must(s->commerce == PLAN_NCE && f->options.at_renewal,
				 "scheduling is for new commerce");
			must(d->effective == plain_end(s), "effective at the renewal");
			must(putting_back || plain_end(s) - now <= f->pool.renewal_lead, "within the lead");
			must(d->action == PLAN_END_AT_TERM
					 ? d->to_quantity == 0
					 : d->to_quantity >= s->minimum || d->to_quantity == d->from_quantity,
				 "not below the minimum");
			break;
		case PLAN_RAISE:
			must(s->commerce == PLAN_LEGACY && d->merge > 0, "only a merge raises");
			must(d->to_quantity <= s->maximum, "not above the maximum");
			break;
		default:
			must(false, "an action that no rule gives");
	}
}

/* Supply after the plan, at every moment from its first effect on. */
static void
check_floor(const Fixture *f, const Fixture *after, const PlanResult *plan)
{
	PlanTime now = f->options.now;
	PlanTime effect = PLAN_NEVER;
	int64_t floor = plain_floor(&f->pool);
	int32_t i;

	for (i = 0; i < plan->count; i++)
	{
		const PlanDecision *d = &plan->decisions[i];
		const PlanSubscription *s;

		if (!removes(d))
			continue;
		s = &f->subscriptions[d->subscription];
		if (d->action == PLAN_REDUCE_AT_RENEWAL && d->to_quantity >= plain_next(s, now))
			continue;
		if (d->effective < effect)
			effect = d->effective;
	}
	if (effect == PLAN_NEVER)
		return;
	for (i = -1; i < after->pool.subscription_count; i++)
	{
		PlanTime t = i < 0 ? effect : plain_end(&after->subscriptions[i]);

		must(plain_supply(&after->pool, now, t < effect ? effect : t) >= floor,
			 "never below the floor");
	}
}

static void
check_cooldown(const Fixture *f, const PlanResult *plan)
{
	PlanTime now = f->options.now;
	int64_t gone[FIXTURE_SUBSCRIPTIONS] = { 0 };
	int64_t merged = 0;
	int64_t spent = 0;
	int32_t i;

	for (i = 0; i < plan->count; i++)
	{
		const PlanDecision *d = &plan->decisions[i];

		if (d->action == PLAN_RAISE)
			merged += d->seats;
		else if (d->action == PLAN_REDUCE || d->action == PLAN_SUSPEND || d->action == PLAN_CANCEL)
			gone[d->subscription] += d->seats;
	}
	for (i = 0; i < f->pool.subscription_count; i++)
	{
		const PlanSubscription *s = &f->subscriptions[i];
		int64_t last = s->commerce == PLAN_NCE ? plain_last_chance(s, now) : 0;

		if (gone[i] == s->quantity && s->commerce == PLAN_NCE && s->batch_count == 0 &&
			!s->extended_term && s->cancel_until < now + 26 * PLAN_HOUR)
			last = s->quantity;
		if (gone[i] > last)
			spent += gone[i] - last;
	}
	must(spent - merged <= plain_settled(&f->pool, now), "cool-down kept");
}

static void
check_limits(const Fixture *f, const PlanResult *plan)
{
	int64_t now_gone = 0;
	int64_t limit = f->limits.removal_limit_seats;
	int32_t i;

	for (i = 0; i < plan->count; i++)
	{
		const PlanDecision *d = &plan->decisions[i];

		if (d->action == PLAN_RAISE)
			now_gone -= d->seats;
		else if (d->action == PLAN_REDUCE || d->action == PLAN_SUSPEND || d->action == PLAN_CANCEL)
			/* what our schedule took was counted when it was scheduled */
			now_gone +=
				d->seats -
				(plain_ours(&f->subscriptions[d->subscription], f->options.now) ? d->seats : 0);
	}
	if (limit * 100 < (int64_t) f->limits.removal_limit_percent * f->limits.owned_at_start)
		limit = (int64_t) f->limits.removal_limit_percent * f->limits.owned_at_start / 100;
	for (i = 0; i < plan->count; i++)
	{
		const PlanDecision *d = &plan->decisions[i];

		if (now_gone > limit &&
			!plain_ours(&f->subscriptions[d->subscription < 0 ? 0 : d->subscription],
						f->options.now))
			must(d->action == PLAN_NONE || d->needs_approval, "above the limit everything waits");
	}
}

static void
check_judge(const Fixture *f, const PlanResult *plan)
{
	Fixture state = *f;
	int64_t last = 0;
	int32_t i;

	fixture_relink(&state);
	for (i = 0; i < f->pool.subscription_count; i++)
		last += plain_last_chance(&f->subscriptions[i], f->options.now) +
				(f->subscriptions[i].cancel_until < f->options.now + 26 * PLAN_HOUR
					 ? f->subscriptions[i].cancel_until > 0
					 : 0);
	for (i = 0; i < plan->count; i++)
	{
		const PlanDecision *d = &plan->decisions[i];
		char reason[240];

		if (d->action == PLAN_NONE)
			continue;
		if (!plain_blocked(&state.pool, state.options.now))
		{
			int32_t lowest =
				spinpanel_plan_judge(&state.pool, d->subscription, d->action, d->to_quantity,
									 &state.options, reason, sizeof(reason));

			/*
			 * Seats that went in spite of a cool-down leave less past it for
			 * those that follow; these wait for the next night.  And of our
			 * schedules that are cut back, one alone is cut back further than
			 * all of them need.
			 */
			must(lowest == d->to_quantity ||
					 (lowest > d->to_quantity &&
					  (last > 0 ||
					   puts_back(&state.subscriptions[d->subscription], d, state.options.now))),
				 "the judgement allows what is planned");
		}
		fixture_apply(&state, d);
	}
}

/* And it allows nothing that breaks the floor, whatever is wanted. */
static void
check_judge_alone(const Fixture *f, Random *random)
{
	int32_t i = (int32_t) random_below(random, (uint32_t) f->pool.subscription_count);
	const PlanSubscription *s = &f->subscriptions[i];
	PlanTime now = f->options.now;
	PlanAction action = random_one_in(random, 2)     ? PLAN_REDUCE
						: s->commerce == PLAN_LEGACY ? PLAN_SUSPEND
													 : PLAN_CANCEL;
	char reason[240];
	int32_t lowest =
		spinpanel_plan_judge(&f->pool, i, action, 0, &f->options, reason, sizeof(reason));
	Fixture after = *f;
	PlanDecision d;
	PlanResult one = { &d, 1, 1, false };
	int32_t k;

	memset(&d, 0, sizeof(d));
	d.subscription = i;
	d.action = lowest > 0 ? PLAN_REDUCE : action;
	d.from_quantity = s->quantity;
	d.to_quantity = lowest;
	d.seats = s->quantity - lowest;
	d.effective = now;
	snprintf(d.reason, sizeof(d.reason), "judged");
	if (d.seats == 0)
	{
		must(reason[0] != '\0', "a refusal has a reason");
		return;
	}
	fixture_relink(&after);
	if (d.action == PLAN_CANCEL)
		after.options.at_renewal = true;
	check_one(d.action == PLAN_CANCEL ? &after : f, &d);
	fixture_apply(&after, &d);
	check_floor(f, &after, &one);
	check_cooldown(f, &one);
	for (k = 0; k < f->pool.subscription_count; k++)
		must(k == i || after.subscriptions[k].quantity == f->subscriptions[k].quantity,
			 "one at a time");
}

/* Seats of ours at a moment, if this subscription had so many in its next term. */
static int64_t
seats_then(const Fixture *f, int32_t subscription, int64_t next, PlanTime moment)
{
	PlanTime now = f->options.now;
	int64_t seats = 0;
	int32_t i;

	for (i = 0; i < f->pool.subscription_count; i++)
	{
		const PlanSubscription *s = &f->subscriptions[i];

		if (!plain_counts(s))
			continue;
		if (plain_end(s) > moment)
			seats += s->quantity;
		else
			seats += i == subscription ? next : plain_next(s, now);
	}
	return seats;
}

/* Puts back just as much as lacks, whatever blocks what takes. */
static void
check_put_back(const Fixture *f, Random *random)
{
	int32_t i = (int32_t) random_below(random, (uint32_t) f->pool.subscription_count);
	const PlanSubscription *s = &f->subscriptions[i];
	PlanTime now = f->options.now;
	int64_t holders = (int64_t) f->pool.consumed + f->pool.waiting;
	int32_t wanted = (int32_t) random_below(random, (uint32_t) s->quantity + 4);
	int64_t stands = plain_next(s, now);
	int64_t least = wanted > stands ? wanted : stands;
	Fixture other = *f;
	int32_t next;

	if (!plain_counts(s) || plain_end(s) <= now || plain_end(s) == PLAN_NEVER)
		return;
	next = spinpanel_plan_put_back(&f->pool, i, wanted, &f->options);
	must(next <= s->quantity, "no more is put back than it has");
	must(next >= least || next == s->quantity, "no less remains than stands, or was wanted");
	must(holders <= seats_then(f, i, next, plain_end(s)) || next == s->quantity,
		 "nobody lacks a seat that can be put back");
	must(next <= least || holders == seats_then(f, i, next, plain_end(s)) ||
			 (next == s->quantity && holders > seats_then(f, i, next, plain_end(s))),
		 "no more is put back than lacks");
	must(spinpanel_plan_lacking(&f->pool, holders, now, plain_end(s)) ==
			 holders - seats_then(f, i, stands, plain_end(s)),
		 "what lacks at a renewal");
	must(spinpanel_plan_lacking(&f->pool, holders, now, now) == holders - plain_owned(&f->pool),
		 "what lacks now");

	fixture_relink(&other);
	other.pool.adjust = !other.pool.adjust;
	other.pool.doubt = other.pool.doubt == NULL ? "doubt" : NULL;
	other.pool.unsettled = !other.pool.unsettled;
	other.pool.open_operation = !other.pool.open_operation;
	other.pool.excluded = true;
	other.pool.read_at -= 90 * PLAN_DAY;
	other.pool.spare += 3;
	must(spinpanel_plan_put_back(&other.pool, i, wanted, &other.options) == next,
		 "no switch, rule or doubt keeps it from being put back");
}

static void
check_excess(const Fixture *f, const PlanResult *plan)
{
	PlanExcess e;
	int64_t now_gone = 0;
	int64_t owned = plain_owned(&f->pool);
	int64_t present = owned < f->pool.active ? owned : f->pool.active;
	int64_t excess = present - f->pool.consumed - f->pool.waiting - f->pool.spare;
	int32_t i;

	if (excess > owned - f->pool.min_seats)
		excess = owned - f->pool.min_seats;
	if (excess < 0)
		excess = 0;
	spinpanel_plan_excess(&f->pool, &f->options, &e);
	must(e.owned == owned, "owned shown");
	must(e.excess == excess, "excess shown");
	must(e.reducible_now >= 0 && e.reducible_at_renewal >= 0 &&
			 e.reducible_now + e.reducible_at_renewal <= e.excess,
		 "reducible within the excess");
	for (i = 0; i < plan->count; i++)
	{
		if (plan->decisions[i].action == PLAN_RAISE)
			now_gone -= plan->decisions[i].seats;
		if (plan->decisions[i].action == PLAN_REDUCE || plan->decisions[i].action == PLAN_SUSPEND ||
			plan->decisions[i].action == PLAN_CANCEL)
			now_gone += plan->decisions[i].seats;
	}
	if (f->pool.adjust)
		must(e.reducible_now == now_gone, "reducible now is what a run takes");
	must(plain_blocked(&f->pool, f->options.now) ? e.blocked_by[0] != '\0' : true,
		 "what blocks is shown");
}

static void
check(const Fixture *f, Random *random)
{
	PlanResult plan;
	PlanResult again;
	Fixture after = *f;
	bool exempt = false;
	int32_t nones = 0;
	int32_t raised = 0;
	int32_t i;

	fixture_relink(&after);
	spinpanel_plan_customer(&f->pool, 1, &f->limits, &f->options, &plan);
	must(!plan.out_of_memory, "enough memory");
	for (i = 0; i < plan.count; i++)
	{
		const PlanDecision *d = &plan.decisions[i];

		if (d->action == PLAN_NONE)
		{
			nones++;
			must(d->subscription == -1 && d->seats == 0, "none is none");
			continue;
		}
		if (d->action == PLAN_RAISE)
			raised = d->merge;
		if (d->merge > 0)
			must(d->merge == raised, "the raise comes first");

		/* the second of two on one subscription sees what the first left */
		if (i > 0 && plan.decisions[i - 1].action == PLAN_REDUCE &&
			plan.decisions[i - 1].subscription == d->subscription)
			must(d->from_quantity == plan.decisions[i - 1].to_quantity,
				 "from what the reduction leaves");
		check_one(f, d);
		fixture_apply(&after, d);
	}
	must(nones <= 1, "one none a pool");
	check_floor(f, &after, &plan);
	check_cooldown(f, &plan);
	check_limits(f, &plan);
	check_judge(f, &plan);
	check_excess(f, &plan);

	for (i = 0; i < f->pool.subscription_count; i++)
	{
		const PlanSubscription *s = &f->subscriptions[i];

		/* Where a rejection was dropped from the best plan, another may be the best. */
		exempt = exempt || s->rejected_to >= 0;
		if (plain_last_chance(s, f->options.now) > 0 ||
			(s->batch_count == 0 && s->cancel_until > f->options.now &&
			 s->cancel_until < f->options.now + 26 * PLAN_HOUR))
			exempt = exempt || f->pool.cooldown > 142 * PLAN_HOUR ||
					 plain_settled(&f->pool, f->options.now) <
						 plain_owned(&f->pool) - plain_floor(&f->pool);
	}
	spinpanel_plan_customer(&after.pool, 1, &after.limits, &after.options, &again);
	for (i = 0; i < again.count; i++)
	{
		/*
		 * Not where seats went in spite of a cool-down: what is past it is
		 * less afterwards, and judged anew.  (With a cool-down as long as a
		 * window it depends on which batch Microsoft credits.)
		 */
		must(big || exempt || again.decisions[i].action == PLAN_NONE,
			 "nothing is left to do once it is done");
	}
	check_judge_alone(f, random);
	check_put_back(f, random);
	if (broken != NULL)
	{
		fixture_print(f);
		for (i = 0; i < plan.count; i++)
			printf("#  -> %s %d: %d > %d m%d%s (%s)\n",
				   spinpanel_plan_action_name(plan.decisions[i].action),
				   plan.decisions[i].subscription, plan.decisions[i].from_quantity,
				   plan.decisions[i].to_quantity, plan.decisions[i].merge,
				   plan.decisions[i].needs_approval ? "!" : "", plan.decisions[i].reason);
		for (i = 0; i < again.count; i++)
			printf("#  again %s %d: %d > %d (%s)\n",
				   spinpanel_plan_action_name(again.decisions[i].action),
				   again.decisions[i].subscription, again.decisions[i].from_quantity,
				   again.decisions[i].to_quantity, again.decisions[i].reason);
	}
	spinpanel_plan_free(&plan);
	spinpanel_plan_free(&again);
}

int
main(int argc, char **argv)
{
	long count = argc > 1 ? strtol(argv[1], NULL, 10) : 20000;
	long seed = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
	long i;

	for (i = 0; i < count && broken == NULL; i++)
	{
		Random random = { (uint64_t) seed * UINT64_C(1000003) + (uint64_t) i * UINT64_C(7919) };
		Fixture f;

		big = i % 50 == 49;
		fixture_random(&f, &random, FIXTURE_SUBSCRIPTIONS,
					   big          ? 3000
					   : i % 3 == 0 ? 4
					   : i % 3 == 1 ? 8
									: 20);
		check(&f, &random);
		if (broken != NULL)
			printf("# pool %ld of seed %ld: %s\n", i, seed, broken);
	}
	printf("1..1\n%sok 1 - what must hold of plans, on %ld random pools (seed %ld)\n",
		   broken ? "not " : "", i, seed);
	return broken ? 1 : 0;
}
