/*
 * brute.c [count] [seed]
 *
 * A second planner, slow and obviously right: it tries every quantity now and
 * every quantity at the next term for every subscription of a small pool, and
 * keeps the best of what the rules allow.  It shares no line with the planner
 * but the struct definitions.  Compared: seat-days that remain over 400 days;
 * where no rule asks for "youngest first", also the ties: fewest changes,
 * then the earliest effect, then the youngest subscriptions.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HORIZON (400 * PLAN_DAY)
#define MOST 4

typedef struct Try
{
	int64_t now[MOST]; /* quantity from now on; 0 = gone */
	int64_t next[MOST]; /* quantity from its next term on */
} Try;

typedef struct Brute
{
	const Fixture *f;
	bool touch[MOST];
	bool open[MOST];
	bool soften[MOST];
	int group[MOST]; /* the oldest it would be merged onto, or -1 */
	Try current;
	bool found;
	int64_t best; /* seat-seconds that remain */
	int fewest;
	int64_t soonest; /* seconds until each scheduled change, summed up */
	int64_t youngest; /* seats, weighed with the rank of their subscription */
} Brute;

static bool
mergeable(const Fixture *f, int i)
{
	const PlanSubscription *s = &f->subscriptions[i];

	return s->commerce == PLAN_LEGACY && plain_counts(s) && s->duplicates >= 0 && !s->is_addon &&
		   !s->has_active_addon;
}

static void
prepare(Brute *b)
{
	const PlanPool *p = &b->f->pool;
	PlanTime now = b->f->options.now;
	bool blocked = plain_blocked(p, now) && !(p->adjust == false && b->f->options.ignore_switch);
	/* doubt and unsettled removals forbid taking, not putting back */
	bool softens =
		blocked && p->adjust && !p->paused && !p->open_operation && now - p->read_at <= p->max_age;
	int i;
	int j;

	for (i = 0; i < p->subscription_count; i++)
	{
		const PlanSubscription *s = &b->f->subscriptions[i];
		PlanTime end = plain_end(s);

		b->touch[i] =
			plain_counts(s) && !s->renewing && !plain_person(s, now) && s->changes < 1000 &&
			(!blocked || softens) && !(s->commerce == PLAN_NCE && end <= now) &&
			!(s->commerce == PLAN_LEGACY && (plain_ours(s, now) || plain_fresh(s, p, now) > 0));
		b->soften[i] = softens;
		b->open[i] = b->touch[i] && s->commerce == PLAN_NCE && b->f->options.at_renewal &&
					 !s->extended_term && end != PLAN_NEVER && end > now;
		if (b->open[i] && end - now > p->renewal_lead)
		{
			b->open[i] = plain_ours(s, now) && end - now < 26 * PLAN_HOUR;
			b->soften[i] = true;
		}
	}
	for (i = 0; i < p->subscription_count; i++)
	{
		b->group[i] = -1;
		for (j = 0; j < p->subscription_count; j++)
		{
			const PlanSubscription *s = &b->f->subscriptions[i];
			const PlanSubscription *o = &b->f->subscriptions[j];

			if (!mergeable(b->f, i) || !mergeable(b->f, j) || !b->touch[i] || !b->touch[j] ||
				s->duplicates != o->duplicates || s->account != o->account)
				continue;
			if (b->group[i] < 0 || o->created < b->f->subscriptions[b->group[i]].created)
				b->group[i] = j;
		}
	}
}

static int64_t
minimum(const PlanSubscription *s)
{
	return s->minimum < s->quantity ? s->minimum : s->quantity;
}

/* Is what is tried for one subscription possible at Partner Center? */
static bool
possible(const Brute *b, int i, int64_t n, int64_t y)
{
	const PlanSubscription *s = &b->f->subscriptions[i];
	const PlanPool *p = &b->f->pool;
	PlanTime now = b->f->options.now;
	int64_t stands = plain_next(s, now);

	if (y > n)
		return false;
	if (!b->touch[i])
		return n == s->quantity && y == stands;
	if (s->commerce == PLAN_LEGACY)
	{
		if (y != n || (b->soften[i] && n != s->quantity))
			return false;
		if (n > s->quantity)
			return b->group[i] == i && n <= s->maximum && n >= s->minimum;
		return n == 0 ? !s->has_active_addon : n >= minimum(s);
	}

	/* now */
	if (n > s->quantity || (b->soften[i] && b->open[i] && n != s->quantity))
		return false;
	if (n == 0)
	{
		bool any_time = s->extended_term;
		int64_t last = plain_last_chance(s, now);

		if (s->batch_count == 0 && s->cancel_until > now + PLAN_HOUR &&
			s->cancel_until < now + 26 * PLAN_HOUR && !s->extended_term)
			last = s->quantity;
		if (!b->f->options.at_renewal || s->has_active_addon ||
			!(any_time || s->cancel_until > now + PLAN_HOUR) || plain_fresh(s, p, now) > last)
			return false;
		if (plain_blocked(p, now) && !b->f->options.ignore_switch)
			return false;
	}
	else if (n < minimum(s) || s->quantity - n > plain_window(s, p, now))
		return false;
	if (n < s->quantity && plain_blocked(p, now))
		return false;

	/* next term */
	if (!b->open[i])
		return y == (n < stands ? n : stands);
	if (n == 0)
		return true;
	if (b->soften[i] && y < stands)
		return false;
	return y == 0 ? !s->has_active_addon : y >= minimum(s);
}

/* Seats just added that go now all the same, as it is their last chance. */
static int64_t
fresh_last(const PlanSubscription *s, const PlanPool *p, PlanTime now, int64_t gone)
{
	int64_t seats = 0;
	int i;

	for (i = 0; i < s->batch_count; i++)
	{
		const PlanBatch *b = &s->batches[i];

		if (b->deadline > now + PLAN_HOUR && b->deadline < now + 26 * PLAN_HOUR &&
			(s->created > now - p->cooldown ||
			 (!b->by_renewal && b->deadline - 168 * PLAN_HOUR > now - p->cooldown)))
			seats += b->quantity;
	}
	return seats < gone ? seats : gone;
}

/* The rules that bind the subscriptions of the pool together. */
static bool
allowed(const Brute *b)
{
	const PlanPool *p = &b->f->pool;
	PlanTime now = b->f->options.now;
	PlanTime effect = PLAN_NEVER;
	int64_t need = (int64_t) p->consumed + p->waiting + p->spare;
	int64_t absent = plain_owned(p) - p->active;
	int64_t cool = 0;
	int64_t net[MOST] = { 0 };
	int vanished[MOST] = { 0 };
	int i;
	int j;

	if (absent < 0)
		absent = 0;
	for (i = 0; i < p->subscription_count; i++)
	{
		const PlanSubscription *s = &b->f->subscriptions[i];
		int64_t n = b->current.now[i];
		int64_t y = b->current.next[i];
		int64_t last = plain_last_chance(s, now);
		int64_t spent;

		if (!b->touch[i])
			continue;
		if (b->group[i] >= 0)
		{
			net[b->group[i]] += s->quantity - n;
			if (n == 0 && b->group[i] != i)
				vanished[b->group[i]]++;

			/* onto the oldest: it does not go before the others */
			if (n > 0 && b->current.now[b->group[i]] == 0)
				return false;
			if (n < s->quantity && effect > now)
				effect = now;
			continue;
		}
		if (n < s->quantity && effect > now)
			effect = now;
		if (b->open[i] && y < n && plain_end(s) < effect)
			effect = plain_end(s);
		if (s->commerce == PLAN_LEGACY)
			last = 0;
		if (n == 0 && s->batch_count == 0 && !s->extended_term &&
			s->cancel_until > now + PLAN_HOUR && s->cancel_until < now + 26 * PLAN_HOUR)
			last = s->quantity;
		spent = s->quantity - n;

		/* what goes at a renewal before the cool-down ends is as fresh then */
		if (b->open[i] && y < n && plain_end(s) - now < p->cooldown)
		{
			spent = s->quantity - y;
			if (y < plain_fresh(s, p, now) - fresh_last(s, p, now, s->quantity - n))
				return false;
		}
		cool += spent > last ? spent - last : 0;
	}
	for (i = 0; i < p->subscription_count; i++)
	{
		if (b->group[i] != i)
			continue;
		if (net[i] < 0)
			return false;
		/* the oldest takes over only where another vanishes as a whole */
		if (b->current.now[i] > b->f->subscriptions[i].quantity && vanished[i] == 0)
			return false;
		cool += net[i];
	}
	if (cool > plain_settled(p, now))
		return false;
	if (effect == PLAN_NEVER)
		return true;

	/* supply at every moment from the first effect on */
	for (i = -1; i < p->subscription_count; i++)
	{
		PlanTime t = i < 0 ? effect : plain_end(&b->f->subscriptions[i]);
		int64_t owned = 0;

		if (t < effect)
			t = effect;
		for (j = 0; j < p->subscription_count; j++)
		{
			const PlanSubscription *s = &b->f->subscriptions[j];

			if (plain_counts(s))
				owned += s->renewing || t >= plain_end(s) ? b->current.next[j] : b->current.now[j];
		}
		if (owned - absent < need || owned < p->min_seats)
			return false;
	}
	return true;
}

static int64_t
remains(const PlanSubscription *s, int64_t n, int64_t y, PlanTime now)
{
	PlanTime end = plain_end(s);
	PlanTime until = end == PLAN_NEVER || end - now > HORIZON ? HORIZON
					 : end <= now                             ? 0
															  : end - now;

	return n * (until / PLAN_SECOND) + y * ((HORIZON - until) / PLAN_SECOND);
}

static int
changes(const Brute *b, int i)
{
	const PlanSubscription *s = &b->f->subscriptions[i];
	int64_t n = b->current.now[i];
	int64_t y = b->current.next[i];
	int64_t stands = plain_next(s, b->f->options.now);
	int count = n != s->quantity;

	if (n == 0 || !b->open[i])
		return count;
	if (stands < y)
		count++; /* our schedule is cut back first */
	return count + (y < n && (n != s->quantity || y < stands));
}

static int64_t
until_end(const PlanSubscription *s, PlanTime now)
{
	PlanTime until = plain_end(s) - now;

	return (until < HORIZON ? until : HORIZON) / PLAN_SECOND;
}

/* How late the changes of one subscription take effect: those made now do not count. */
static int64_t
delay(const Brute *b, int i)
{
	const PlanSubscription *s = &b->f->subscriptions[i];

	return (changes(b, i) - (b->current.now[i] != s->quantity)) *
		   (b->open[i] ? until_end(s, b->f->options.now) : 0);
}

/* The younger the greater; add-ons before all others. */
static int64_t
rank_of(const Fixture *f, int i)
{
	int64_t rank = f->subscriptions[i].is_addon ? f->pool.subscription_count : 0;
	int j;

	for (j = 0; j < f->pool.subscription_count; j++)
	{
		PlanTime a = f->subscriptions[j].created;
		PlanTime mine = f->subscriptions[i].created;

		rank += a < mine || (a == mine && j <= i);
	}
	return rank;
}

static int64_t
youth(const Brute *b, int i, int64_t n, int64_t y)
{
	int64_t q = b->f->subscriptions[i].quantity;

	return rank_of(b->f, i) * (b->open[i] ? q - (n == 0 ? 0 : y) : q - n);
}

static void
attempt(Brute *b, int i)
{
	const PlanPool *p = &b->f->pool;
	const PlanSubscription *s = &b->f->subscriptions[i];
	int64_t n;
	int64_t y;

	if (i == p->subscription_count)
	{
		int64_t sum = 0;
		int64_t late = 0;
		int64_t young = 0;
		int count = 0;

		if (!allowed(b))
			return;
		for (i = 0; i < p->subscription_count; i++)
		{
			s = &b->f->subscriptions[i];
			if (!plain_counts(s))
				continue;
			sum += remains(s, b->current.now[i], b->current.next[i], b->f->options.now);
			count += changes(b, i);
			late += delay(b, i);
			young += youth(b, i, b->current.now[i], b->current.next[i]);
		}
		if (!b->found || sum < b->best ||
			(sum == b->best &&
			 (count < b->fewest ||
			  (count == b->fewest &&
			   (late < b->soonest || (late == b->soonest && young > b->youngest))))))
		{
			b->best = sum;
			b->fewest = count;
			b->soonest = late;
			b->youngest = young;
		}
		b->found = true;
		return;
	}
	for (n = 0; n <= 2 * MOST * MOST; n++)
	{
		if (n > s->quantity && b->group[i] != i)
			break;
		for (y = 0; y <= n; y++)
		{
			if (!possible(b, i, n, y))
				continue;
			b->current.now[i] = n;
			b->current.next[i] = y;
			attempt(b, i + 1);
		}
	}
}

/* One pool: does the planner do as well?  Says what differs. */
static bool
compare(const Fixture *f)
{
	Brute b;
	Fixture after = *f;
	PlanResult plan;
	int64_t planned = 0;
	int64_t late = 0;
	int64_t young = 0;
	int count = 0;
	int i;
	bool ordered = false;
	bool same;

	memset(&b, 0, sizeof(b));
	b.f = f;
	prepare(&b);
	attempt(&b, 0);

	fixture_relink(&after);
	spinpanel_plan_customer(&f->pool, 1, &f->limits, &f->options, &plan);
	for (i = 0; i < plan.count; i++)
	{
		fixture_apply(&after, &plan.decisions[i]);
		count += plan.decisions[i].action != PLAN_NONE;
		if (plan.decisions[i].action == PLAN_REDUCE_AT_RENEWAL ||
			plan.decisions[i].action == PLAN_END_AT_TERM)
			late += until_end(&f->subscriptions[plan.decisions[i].subscription], f->options.now);
	}
	for (i = 0; i < f->pool.subscription_count; i++)
	{
		const PlanSubscription *s = &after.subscriptions[i];

		if (f->subscriptions[i].commerce == PLAN_LEGACY || f->subscriptions[i].duplicates >= 0)
			ordered = true;
		if (plain_counts(s))
			planned += remains(s, s->quantity, plain_next(s, f->options.now), f->options.now);
		if (plain_counts(&f->subscriptions[i]))
			young += youth(&b, i, plain_counts(s) ? s->quantity : 0,
						   plain_counts(s) ? plain_next(s, f->options.now) : 0);
	}
	same = b.found && planned == b.best &&
		   (ordered || (count == b.fewest && late == b.soonest && young == b.youngest));
	if (!same)
	{
		printf(
			"# planner leaves %.3f seat-days with %d changes, delay %lld, youth %lld, brute force"
			" %.3f with %d, %lld, %lld\n",
			(double) planned / 86400.0, count, (long long) late, (long long) young,
			(double) b.best / 86400.0, b.fewest, (long long) b.soonest, (long long) b.youngest);
		fixture_print(f);
		for (i = 0; i < plan.count; i++)
			printf("#  -> %s %d: %d > %d (%s)\n",
				   spinpanel_plan_action_name(plan.decisions[i].action),
				   plan.decisions[i].subscription, plan.decisions[i].from_quantity,
				   plan.decisions[i].to_quantity, plan.decisions[i].reason);
	}
	spinpanel_plan_free(&plan);
	return same;
}

int
main(int argc, char **argv)
{
	long count = argc > 1 ? strtol(argv[1], NULL, 10) : 5000;
	long seed = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
	long failed = 0;
	long i;

	for (i = 0; i < count; i++)
	{
		Random random = { (uint64_t) seed * UINT64_C(1000003) + (uint64_t) i * UINT64_C(7919) };
		Fixture f;

		int j;

		fixture_random(&f, &random, MOST, MOST);
		/* Rejections are dropped from the best plan: that is no other optimum. */
		for (j = 0; j < f.pool.subscription_count; j++)
			f.subscriptions[j].rejected_to = -1;
		if (!compare(&f))
		{
			printf("# pool %ld of seed %ld\n", i, seed);
			if (++failed >= 3)
				break;
		}
	}
	printf("1..1\n%sok 1 - as good as brute force on %ld random pools (seed %ld)\n",
		   failed ? "not " : "", i, seed);
	return failed ? 1 : 0;
}
