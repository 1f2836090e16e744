/*
 * request_plan.h
 *
 * The request planner: one customer's licence requests, what is known of users
 * and pools, the rules and a moment in; one effect for each request out.  Pure:
 * no PostgreSQL header, no clock, no SQL, no network, no allocation.  The store
 * (state/request.c) loads what is due and applies effects; nothing else decides
 * who gets a seat, for whom one is bought, and who waits.
 *
 * Times are PlanTime (microseconds since 2000-01-01 UTC).  Numbers of seats are
 * never negative unless a comment says so.
 *
 * "Can a seat be bought?" has one answer, spinpanel_request_can_buy().  The plan
 * asks it, the judgement right before each step that costs, the check in the
 * caller's transaction, and quote_license().
 *
 * What always holds of a plan (the invariants a test can check):
 *
 *  1. Requests that are not due get ASK_KEEP.  A due one gets it only if its user was
 *     not looked up or its pool not read: the next turn decides about it.
 *  2. A pool's purchase is never larger than the number of requests that have
 *     ASK_BUY in it, than max_seats - owned, or than the source's room; one that no
 *     person approved never exceeds what the purchase limit leaves.  A pool has
 *     one purchase at most, and none while one is open.
 *  3. Unless the customer has auto increment and a seat can be bought, none is bought
 *     for a request while one is free, or may be (spinpanel_need_free() and
 *     spinpanel_need_doubtful()), that it was not told otherwise of
 *     (spinpanel_request_told()).
 *  4. Oldest first: among the requests of a pool that want a seat in this plan, have
 *     none of their own and are alike (told that no seat is free, or not; stock_only,
 *     or not; the same approval), no younger one gets a seat or a purchase while an
 *     older one gets none.  (Its user may keep the older one waiting after that; who
 *     tries whether a seat is there is the oldest whose user does not.)
 *     The purchase limit is one for all pools: it serves the oldest of all of them.
 *  5. An assignment whose user asked later for the release is not bought for and not
 *     assigned, nor is a release sent whose user's later assignment has begun.  A
 *     request follows another only if no request of the other kind lies between
 *     them, and never one that ends with it.
 *  6. One user's requests that are assigned (released) together are one group, and a
 *     user has one of these two groups at most.
 *  7. Applying the effects and planning again at the same moment gives no second
 *     purchase and no second group of a user.
 */
#ifndef SPINPANEL_REQUEST_PLAN_H
#define SPINPANEL_REQUEST_PLAN_H

#include "decide/request_need.h"

#define ASK_TEXT 400

/* A request that others stand in the way of waits for them at most so long. */
#define ASK_RELEASE_PATIENCE (60 * PLAN_SECOND) /* releases of the pool that are under way */
#define ASK_LOOK_PATIENCE (60 * PLAN_SECOND) /* users of the pool not looked up yet */
#define ASK_RESERVED_PATIENCE (60 * PLAN_SECOND) /* seats bought before it, not assigned yet */

/* Who waits for an approval, or for the limit, is looked at again at least so often. */
#define ASK_APPROVAL_LOOK PLAN_HOUR

/* Purchases within this time count towards the purchase limit. */
#define ASK_LIMIT_TIME PLAN_DAY

typedef enum AskStatus
{
	ASK_QUEUED,
	ASK_BUYING,
	ASK_PROVISIONING, /* a seat was bought for it, not assigned yet */
	ASK_ASSIGNING, /* an operation of its user is under way (releases, too) */
	ASK_DONE, /* these three only as leader_status */
	ASK_FAILED,
	ASK_CANCELLED
} AskStatus;

/* What became of an operation that a request waits for. */
typedef enum AskOperation
{
	ASK_NO_OPERATION,
	ASK_OPERATION_OPEN,
	ASK_OPERATION_OVER /* ended, and the request could not be told */
} AskOperation;

/* The adjustment "raise" that stands for the approval of its purchase. */
typedef enum AskApproval
{
	ASK_APPROVAL_NONE,
	ASK_APPROVAL_WAITS, /* nobody has decided */
	ASK_APPROVAL_GRANTED,
	ASK_APPROVAL_REJECTED
} AskApproval;

/* The customer, its relationship and its last 24 hours. */
typedef struct AskCustomer
{
	PlanTime now;
	bool purchases;
	bool increment; /* auto increment, as the relationship has it */
	bool has_location; /* the relationship names a usage location */
	int32_t limit_percent;
	int32_t limit_seats;
	int32_t owned; /* of all pools, 24 hours ago: the limit is a part of it */
	int32_t bought_recently; /* within 24 hours without an approval, those being bought included */
	PlanTime limit_until; /* when the oldest of these is 24 hours old; PLAN_NEVER */
	PlanTime provisioning_timeout; /* spans, as the settings have them */
	PlanTime settle_time;
	PlanTime retry_max;
} AskCustomer;

typedef struct AskUser
{
	bool has_location; /* the user has a usage location */
	bool busy; /* an operation of this user is open */
	/* for the planner's own use */
	int32_t first;
	int32_t last;
	int32_t group;
} AskUser;

typedef struct AskPool
{
	const PlanPool *plan; /* its subscriptions; never NULL */
	const NeedTerms *terms; /* beside them */
	NeedRule rule;
	/* open and refused: of the whole pool, those not given here included */
	NeedFigures figures;
	int32_t owned; /* with seats that are ordered and not readable yet */
	int32_t unread; /* of these, ordered and not readable */
	int32_t max_seats; /* -1 = no limit */
	bool read; /* subscribed SKUs were read a moment ago */
	bool subscriptions_read; /* ... and subscriptions */
	bool buying; /* a purchase is open */
	int32_t unlooked; /* due assignments of the pool whose user was not looked up yet */
	PlanTime release_since; /* when the youngest release under way was asked for; 0 = none is */
	PlanTime freed_at; /* when a licence of it was released last; 0 = not lately */
	/* for the planner's own use */
	int32_t first;
	int32_t last;
	int32_t user; /* whose requests are being linked */
	int32_t latest; /* the last of these */
	bool buys; /* seats are to be bought */
	bool full; /* ... as many as go at once */
	NeedSource source;
	int32_t room;
	int32_t chosen;
	int64_t most; /* what was refused to one of them was more than this */
	int64_t adjustment; /* of the approval that is used; 0 = the limit */
	int64_t approved; /* what is left of it */
} AskPool;

/* Oldest first: ids ascend. */
typedef struct AskRequest
{
	int64_t id;
	bool release; /* else an assignment */
	bool due; /* to be decided; else it only stands in the way of others */
	AskStatus status;
	int32_t pool; /* index */
	int32_t user; /* index; -1 = not looked up */
	bool looked; /* the user and their licences were read lately enough */
	bool held; /* ... and hold the licence */
	bool reserves; /* counts in the floor */
	bool seat_bought;
	bool wrong_sku; /* the seat bought for it is of another SKU */
	AskOperation operation; /* of its user */
	AskOperation purchase;
	bool purchase_done; /* ASK_OPERATION_OVER: something was bought */
	PlanTime created_at;
	PlanTime looked_at;
	PlanTime not_before;
	PlanTime provisioning_at; /* its seat was bought */
	PlanTime refused_at; /* told that no seat is free (60012); 0 = not */
	int32_t attempts;
	int32_t active_level; /* active units that show the seat bought for it; -1 */
	int32_t
		buy_most; /* a larger purchase was refused: not more than this at once; 0 = any number */
	bool stock_only; /* auto increment: its purchase was refused, the stock will do */
	int64_t follows; /* the request it ends with; 0 = none */
	AskStatus leader_status; /* of that one; ASK_CANCELLED where it is gone */
	const char *leader_error; /* why that one failed, or NULL */
	int64_t adjustment; /* of its approval; 0 = none */
	AskApproval approval;
	int32_t approved_seats;
	const char *decision; /* what the person said, or NULL */
} AskRequest;

typedef enum AskEffectKind
{
	ASK_KEEP, /* nothing now */
	ASK_WAIT, /* until a moment, for a reason */
	ASK_AGAIN, /* back to the start, at once: its operation ended without a word */
	ASK_TAKE_SEAT, /* a seat was bought while a caller had the row: take it */
	ASK_FOLLOW, /* ends with another request (other) */
	ASK_FINISH_DONE,
	ASK_FINISH_FAILED,
	ASK_FINISH_CANCELLED, /* the opposite was asked for later */
	ASK_SET_LOCATION, /* of its user; group */
	ASK_RELEASE, /* group */
	ASK_ASSIGN, /* group */
	ASK_BUY, /* group: index into purchases */
	ASK_ASK_PERSON /* its purchase waits for an approval */
} AskEffectKind;

/* What it waits for.  Those marked * end by an event, too, and until is the latest moment. */
typedef enum AskReason
{
	ASK_FOR_NOTHING, /* the text says why */
	ASK_FOR_USER, /* * another request of the same user */
	ASK_FOR_LOOKS, /* * other users of the pool to be looked up */
	ASK_FOR_READ, /* the pool to be read: the next turn */
	ASK_FOR_RELEASE, /* * a release in the pool */
	ASK_FOR_RESERVED, /* seats bought before it to be assigned */
	ASK_FOR_TRY, /* * another request that tries whether a seat is free */
	ASK_FOR_PURCHASE, /* * a purchase in the pool */
	ASK_FOR_ORDER, /* an order whose subscription cannot be read yet */
	ASK_FOR_SEAT, /* its seat to be there */
	ASK_FOR_APPROVAL, /* * a person */
	ASK_FOR_LEADER /* * the request it follows */
} AskReason;

typedef struct AskEffect
{
	AskEffectKind kind;
	AskReason reason;
	PlanTime until; /* ASK_WAIT, ASK_FOLLOW, ASK_ASK_PERSON */
	int64_t other; /* the request followed or waited for */
	int32_t group; /* -1 = none */
	int32_t level; /* ASK_ASSIGN: consumed units that show it; ASK_BUY: active units that do */
	char text[ASK_TEXT]; /* for a person; "" = nothing to say */
	/* for the planner's own use */
	int32_t stage;
	int32_t next_of_user;
	int32_t next_of_pool;
	/* ... of the same user and pool, indexes; -1 = none */
	int32_t older[2]; /* the next older one; then the nearest that an assignment, and
					   * that a release, after it has to mind */
	int32_t begun; /* the nearest younger one that has begun */
	int32_t opposite; /* the nearest younger one of the other kind */
} AskEffect;

typedef struct AskPurchase
{
	int32_t pool;
	NeedSource source;
	int32_t seats; /* requests it serves; a reactivation brings all that the subscription has */
	int64_t adjustment; /* approved by it; 0 = within the limit */
} AskPurchase;

typedef struct AskPlan
{
	AskEffect *effects; /* the caller's, one for each request */
	AskPurchase *purchases; /* the caller's, one for each pool */
	int32_t purchase_count;
	int32_t group_count; /* of users */
} AskPlan;

/*
 * What is to be done about each request.  requests in order of their ids; users
 * and pools are written to where their comments say so.  Linear in the number of
 * requests, users, pools and subscriptions.
 */
extern void spinpanel_request_plan(const AskCustomer *customer, AskPool *pools, int32_t pool_count,
								   AskUser *users, int32_t user_count, const AskRequest *requests,
								   int32_t request_count, AskPlan *plan);

typedef enum AskBuyable
{
	ASK_BUY_YES,
	ASK_BUY_APPROVAL, /* above the purchase limit: a person first */
	ASK_BUY_NOT_SO_MANY, /* the source, max_seats or the limit leaves fewer: *seats says how many */
	ASK_BUY_OFF, /* purchases are off */
	ASK_BUY_NO_SOURCE,
	ASK_BUY_MAX_SEATS
} AskBuyable;

/*
 * Can so many seats (> 0) be bought in the pool?  source: from where.  seats:
 * how many can be at once without a person.  why: in words, where the answer is
 * neither YES nor NOT_SO_MANY.  approved: the limit does not count.
 */
extern AskBuyable spinpanel_request_can_buy(const AskCustomer *customer, const AskPool *pool,
											bool approved, int32_t wanted, NeedSource *source,
											int32_t *seats, char *why, size_t why_size);

/* A purchase that was queued, right before one of its steps is sent. */
typedef struct AskSending
{
	NeedSourceKind kind;
	int32_t subscription; /* index into the pool's; -1 with NEED_ORDER */
	const char *offer; /* NEED_ORDER: what was decided then; else NULL */
	const char *term_duration;
	const char *billing_cycle;
	int32_t seats; /* as queued */
	int32_t linked; /* requests that still wait for it */
	bool approved;
} AskSending;

/*
 * May it still go?  Seats to buy: as queued, fewer, or 0 with the reason (then its
 * requests are decided afresh).  The pool's and the customer's figures must not
 * count this purchase: not in buying, bought_recently or owned; its requests count
 * in figures.open (and refused).
 */
extern int32_t spinpanel_request_may_send(const AskCustomer *customer, const AskPool *pool,
										  const AskSending *sending, char *why, size_t why_size);

/*
 * Is the request still to be treated as one that was told that no seat is free?
 * Not after settle_time, nor once a licence of the pool was released since.
 */
extern bool spinpanel_request_told(const AskCustomer *customer, const AskPool *pool,
								   const AskRequest *request);

/* An operation of a request's user ended with "no seat is free" (60012). */
typedef enum AskNoSeat
{
	ASK_NO_SEAT_YET, /* what was bought does not show so far: try again */
	ASK_NO_SEAT_BUY, /* a seat has to be bought for it, the report says what it may */
	ASK_NO_SEAT_LOST, /* somebody took the one bought for it: another, once */
	ASK_NO_SEAT_FAIL /* it has had its seats; the seat is given back */
} AskNoSeat;

/* lost: seats that were bought for it and taken by others before. */
extern AskNoSeat spinpanel_request_no_seat(const AskCustomer *customer, const AskPool *pool,
										   const AskRequest *request, int32_t lost, char *why,
										   size_t why_size);

#endif /* SPINPANEL_REQUEST_PLAN_H */
