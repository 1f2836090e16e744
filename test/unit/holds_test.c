/*
 * holds_test.c [count] [seed]
 *
 * For how long figures hold: on random pools, what spinpanel_plan_excess_holds()
 * promises is compared with the planner's own answer at moments before that
 * one, those close to either end among them.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOMENTS 12

/* What a run says where it changes nothing; false: it changes something. */
static bool
words_of(const Fixture *f, PlanTime now, char *words, size_t size)
{
	PlanOptions options = f->options;
	PlanLimits limits = { 0 };
	PlanResult result;
	bool nothing = true;
	int i;

	words[0] = '\0';
	options.now = now;
	spinpanel_plan_customer(&f->pool, 1, &limits, &options, &result);
	for (i = 0; i < result.count; i++)
	{
		nothing = nothing && result.decisions[i].action == PLAN_NONE;
		snprintf(words + strlen(words), size - strlen(words), "%d %s|",
				 (int) result.decisions[i].rule, result.decisions[i].reason);
	}
	spinpanel_plan_free(&result);
	return nothing;
}

static bool
same(const PlanExcess *a, const PlanExcess *b)
{
	return a->owned == b->owned && a->foreign_seats == b->foreign_seats && a->floor == b->floor &&
		   a->excess == b->excess && a->reducible_now == b->reducible_now &&
		   a->reducible_at_renewal == b->reducible_at_renewal &&
		   a->next_renewal == b->next_renewal && strcmp(a->blocked_by, b->blocked_by) == 0;
}

static PlanTime
some_moment(Random *random, PlanTime now, PlanTime until)
{
	uint64_t length = (uint64_t) (until - now);
	uint64_t far =
		((uint64_t) random_below(random, UINT32_MAX) << 20) ^ random_below(random, 1 << 20);

	switch (random_below(random, 4))
	{
		case 0:
			return until - 1 - (PlanTime) (far % (length < 5000000 ? length : 5000000));
		case 1:
			return now + (PlanTime) (far % (length < 5000000 ? length : 5000000));
		default:
			return now + (PlanTime) (far % length);
	}
}

int
main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 20000;
	Random random = { argc > 2 ? strtoull(argv[2], NULL, 10) : 1 };
	int64_t kept = 0;
	int64_t for_a_day = 0;
	int64_t idle = 0;
	int i;
	int j;

	printf("1..2\n");
	for (i = 0; i < count; i++)
	{
		static Fixture f;
		PlanTime until;
		PlanExcess excess;
		static char words[4000];
		static char later_words[4000];
		bool nothing;
		bool no_history;

		fixture_random(&f, &random, 1 + (int32_t) random_below(&random, FIXTURE_SUBSCRIPTIONS),
					   1 + (int32_t) random_below(&random, 30));
		f.options.at_renewal = true;
		no_history = random_one_in(&random, 6);
		if (no_history)
			f.pool.known_since = f.options.now;
		until = random_one_in(&random, 3) ? PLAN_NEVER : f.options.now + 90 * PLAN_DAY;
		spinpanel_plan_excess_holds(&f.pool, &f.options, &until, &nothing);
		spinpanel_plan_excess(&f.pool, &f.options, &excess);
		if (words_of(&f, f.options.now, words, sizeof(words)) != nothing)
			printf("not ok 1 - pool %d: there is something to do\n", i);
		idle += nothing;
		kept += until > f.options.now;
		for_a_day += until > f.options.now + PLAN_DAY;
		for (j = 0; j < MOMENTS && until > f.options.now; j++)
		{
			PlanTime then = some_moment(&random, f.options.now, until);
			PlanOptions options = f.options;
			Fixture g = f;
			PlanExcess later;

			fixture_relink(&g);
			options.now = then;
			if (no_history)
				g.pool.known_since = then;
			spinpanel_plan_excess(&g.pool, &options, &later);
			if (same(&excess, &later) &&
				words_of(&g, then, later_words, sizeof(later_words)) == nothing &&
				(!nothing || strcmp(words, later_words) == 0))
				continue;
			printf("not ok 1 - pool %d: what was to hold until %lld is otherwise at %lld\n", i,
				   (long long) until, (long long) then);
			printf("# now %d/%d %s, then %d/%d %s\n", (int) excess.reducible_now,
				   (int) excess.reducible_at_renewal, words, (int) later.reducible_now,
				   (int) later.reducible_at_renewal, later_words);
			fixture_print(&f);
			return 1;
		}
	}
	printf("ok 1 - figures of %d random pools stay as they are for as long as is said\n", count);
	printf("# %lld hold beyond the moment, %lld for more than a day, %lld have nothing to do\n",
		   (long long) kept, (long long) for_a_day, (long long) idle);
	printf("%s 2 - most are worth keeping\n", kept * 10 > (int64_t) count * 8 ? "ok" : "not ok");
	return kept * 10 > (int64_t) count * 8 ? 0 : 1;
}
