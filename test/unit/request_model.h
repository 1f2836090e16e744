/*
 * request_model.h
 *
 * What the request planner should answer, found by slow and plain rules: they share
 * nothing with src/decide/request_plan.c and request_need.c but the structs.
 */
#ifndef REQUEST_MODEL_H
#define REQUEST_MODEL_H

#include "request_fixture.h"

/* What is expected of each request, and of each pool. */
typedef struct RequestModel
{
	AskEffectKind kind[FIXTURE_REQUESTS];
	AskReason reason[FIXTURE_REQUESTS]; /* ASK_WAIT */
	int64_t other[FIXTURE_REQUESTS]; /* ASK_FOLLOW */
	int32_t level[FIXTURE_REQUESTS]; /* ASK_ASSIGN, ASK_BUY */
	int32_t together[FIXTURE_REQUESTS]; /* the oldest of its group; -1 = in none */
	int32_t bought[FIXTURE_POOLS];
	NeedSourceKind source[FIXTURE_POOLS];
	int32_t subscription[FIXTURE_POOLS];
	int64_t adjustment[FIXTURE_POOLS];
} RequestModel;

extern void request_model(const RequestFixture *f, RequestModel *m);

/* Where the plan differs from it; NULL = nowhere. */
extern const char *request_model_differs(const RequestFixture *f);

/* Parts of it */
extern int64_t model_free(const NeedFigures *n);
extern int64_t model_need(const NeedFigures *n);
extern void model_supply(const PlanPool *pool, PlanTime now, int32_t *trial, int32_t *ending);
extern NeedSourceKind model_source(const PlanPool *pool, const NeedTerms *terms,
								   const NeedRule *rule, int32_t *subscription, int32_t *room);
extern AskBuyable model_can_buy(const AskCustomer *c, const AskPool *p, bool approved,
								int32_t wanted, int32_t *seats);
extern int32_t model_may_send(const AskCustomer *c, const AskPool *p, const AskSending *sending);
extern AskNoSeat model_no_seat(const AskCustomer *c, const AskPool *p, const AskRequest *r,
							   int32_t lost);

#endif /* REQUEST_MODEL_H */
