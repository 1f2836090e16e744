/*
 * request_need.h
 *
 * How many seats a pool lacks for what was asked, and where they would come
 * from.  Pure: no PostgreSQL header, no clock, no SQL, no allocation.
 */
#ifndef SPINPANEL_REQUEST_NEED_H
#define SPINPANEL_REQUEST_NEED_H

#include "decide/plan.h"

/* Seats that a schedule of ours ends this soon are no stock any more. */
#define NEED_OUR_LEAD (26 * PLAN_HOUR)

/* Partner Center refuses more than 1,200 changes in a subscription's life. */
#define NEED_MAX_CHANGES 1190

typedef struct NeedFigures
{
	/* what was read */
	int32_t active;
	int32_t consumed;

	/* what we know beyond it */
	int32_t unshown; /* bought for requests, not yet in active */
	int32_t reserved; /* bought for requests that are not assigned yet */
	int32_t claimed; /* assignments sent that consumed does not show yet */
	int32_t released; /* releases confirmed within the settle time */

	/* what is no stock although it is active */
	int32_t trial;
	int32_t removing;
	int32_t ending;

	/* what is asked */
	int32_t open; /* assignments not sent, no seat bought for them */
	int32_t refused; /* of these, told that no seat is free */
	bool increment; /* every request buys one */
} NeedFigures;

typedef enum NeedSourceKind
{
	NEED_NOTHING, /* why says what is missing */
	NEED_RAISE, /* more of a subscription */
	NEED_REACTIVATE, /* one that we suspended */
	NEED_ORDER /* a new one by cart */
} NeedSourceKind;

/* Beside each subscription of the pool; NULL = Partner Center says nothing. */
typedef struct NeedTerms
{
	const char *term_duration;
	const char *billing_cycle;
	bool usable; /* its account may act */
} NeedTerms;

/* NULL = no rule says so */
typedef struct NeedRule
{
	const char *default_offer;
	const char *term_duration;
	const char *billing_cycle;
} NeedRule;

typedef struct NeedSource
{
	NeedSourceKind kind;
	int32_t subscription; /* index into the pool's; -1 = none */
	int32_t room; /* seats it can give at most */
	char why[200];
} NeedSource;

/* Sets trial and ending from the pool's subscriptions. */
extern void spinpanel_need_supply(const PlanPool *pool, PlanTime now, NeedFigures *figures);

/* Seats that can be assigned without buying; may be below zero. */
extern int64_t spinpanel_need_free(const NeedFigures *figures);

/* Seats to buy. */
extern int64_t spinpanel_need(const NeedFigures *figures);

extern void spinpanel_need_source(const PlanPool *pool, const NeedTerms *terms,
								  const NeedRule *rule, PlanTime now, NeedSource *source);

#endif /* SPINPANEL_REQUEST_NEED_H */
