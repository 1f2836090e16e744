/*
 * fixture.h
 *
 * Pools for tests of the planner: from a line of text, or at random; and what
 * becomes of a pool when a plan is carried out.  Nothing here is computed by
 * the code under test.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "decide/plan.h"

#define FIXTURE_SUBSCRIPTIONS 8
#define FIXTURE_BATCHES 4

typedef struct Fixture
{
	PlanPool pool;
	PlanSubscription subscriptions[FIXTURE_SUBSCRIPTIONS];
	PlanBatch batches[FIXTURE_SUBSCRIPTIONS][FIXTURE_BATCHES];
	PlanLimits limits;
	PlanOptions options;
} Fixture;

typedef struct Random
{
	uint64_t state;
} Random;

/* The moment at which all of this happens: 2026-11-24 20:00 UTC */
#define FIXTURE_NOW (9824 * PLAN_DAY + 20 * PLAN_HOUR)

extern void fixture_parse(Fixture *fixture, const char *text);
extern void fixture_random(Fixture *fixture, Random *random, int32_t most_subscriptions,
						   int32_t most_seats);
extern void fixture_print(const Fixture *fixture);

/* Pointers inside, after the struct has been copied. */
extern void fixture_relink(Fixture *fixture);

/* What Partner Center would show after a decision. */
extern void fixture_apply(Fixture *fixture, const PlanDecision *decision);

extern uint32_t random_below(Random *random, uint32_t bound);
extern bool random_one_in(Random *random, uint32_t n);

/* Arithmetic written a second time, plainly. */
extern bool plain_counts(const PlanSubscription *s);
extern PlanTime plain_end(const PlanSubscription *s);
extern bool plain_ends(const PlanSubscription *s, PlanTime now);
extern int64_t plain_next(const PlanSubscription *s, PlanTime now);
extern bool plain_person(const PlanSubscription *s, PlanTime now);
extern bool plain_ours(const PlanSubscription *s, PlanTime now);
extern int64_t plain_owned(const PlanPool *pool);
extern int64_t plain_supply(const PlanPool *pool, PlanTime now, PlanTime t);
extern int64_t plain_floor(const PlanPool *pool);
extern int64_t plain_fresh(const PlanSubscription *s, const PlanPool *pool, PlanTime now);
extern int64_t plain_window(const PlanSubscription *s, const PlanPool *pool, PlanTime now);
extern int64_t plain_last_chance(const PlanSubscription *s, PlanTime now);
extern int64_t plain_settled(const PlanPool *pool, PlanTime now);
extern bool plain_blocked(const PlanPool *pool, PlanTime now);

#endif /* FIXTURE_H */
