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

/* What is ordered where no rule says otherwise: the least commitment. */
#define NEED_TERM "P1M"
#define NEED_CYCLE "monthly"

typedef struct NeedFigures
{
	/* what was read */
	int32_t active;
	int32_t consumed;

	/* what we know beyond it */
	int32_t unshown; /* bought for requests, not yet in active */
	int32_t reserved; /* bought for requests that are not assigned yet */
	int32_t claimed; /* assignments under way that consumed does not show yet */
	int32_t unreported; /* assignments confirmed that consumed does not show: it lags, or the
						 * seat was taken back by hand since */
	int32_t lagging; /* seats owned that active does not show: it lags, or will never */
	int32_t released; /* releases confirmed that a read may not show yet */

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

/*
 * Seats beyond these that may be free, for all that is known.  They are tried
 * before anything is bought, by one request at a time: a refusal costs nothing.
 * None once an open request was refused: that is the answer.
 */
extern int64_t spinpanel_need_doubtful(const NeedFigures *figures);

/*
 * Seats to buy: for open requests beyond the free and the doubtful seats, and at
 * least for those that were told that none is free.
 */
extern int64_t spinpanel_need(const NeedFigures *figures);

/* Why no seat can be added to a subscription; NULL = one can. */
extern const char *spinpanel_need_obstacle(const PlanSubscription *subscription,
										   const NeedTerms *terms, const NeedRule *rule);

/* One that we suspended and may take up again */
extern bool spinpanel_need_reactivable(const PlanSubscription *subscription, const NeedTerms *terms,
									   const NeedRule *rule);

extern void spinpanel_need_source(const PlanPool *pool, const NeedTerms *terms,
								  const NeedRule *rule, PlanTime now, NeedSource *source);

#endif /* SPINPANEL_REQUEST_NEED_H */
