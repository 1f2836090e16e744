/*
 * request_fixture.h
 *
 * Random situations of one customer's licence requests, for the tests of
 * src/decide/request_plan.c.
 */
#ifndef REQUEST_FIXTURE_H
#define REQUEST_FIXTURE_H

#include "decide/request_plan.h"

#define FIXTURE_MOMENT (10000 * PLAN_DAY)
#define FIXTURE_POOLS 3
#define FIXTURE_USERS 4
#define FIXTURE_REQUESTS 9
#define FIXTURE_SUBSCRIPTIONS 3 /* of a pool */

typedef struct RequestFixture
{
	AskCustomer customer;
	AskPool pools[FIXTURE_POOLS];
	PlanPool plans[FIXTURE_POOLS];
	PlanSubscription subscriptions[FIXTURE_POOLS][FIXTURE_SUBSCRIPTIONS];
	NeedTerms terms[FIXTURE_POOLS][FIXTURE_SUBSCRIPTIONS];
	AskUser users[FIXTURE_USERS];
	AskRequest requests[FIXTURE_REQUESTS];
	int32_t pool_count;
	int32_t request_count;
	AskEffect effects[FIXTURE_REQUESTS];
	AskPurchase purchases[FIXTURE_POOLS];
	AskPlan plan;
} RequestFixture;

/* The same number gives the same situation. */
extern void request_fixture_random(RequestFixture *f, uint64_t number);

/* After a copy: the pointers inside. */
extern void request_fixture_relink(RequestFixture *f);

extern void request_fixture_plan(RequestFixture *f);

/* What the store and the outbox do with the effects, at the same moment. */
extern void request_fixture_apply(RequestFixture *f);

/* A purchase of a pool, right before it is sent */
extern AskSending request_fixture_sending(const RequestFixture *f, int32_t pool, uint64_t number);

extern void request_fixture_print(const RequestFixture *f);

/* Assignments not sent, with no seat bought for them. */
extern bool request_fixture_open(const AskRequest *r);

#endif /* REQUEST_FIXTURE_H */
