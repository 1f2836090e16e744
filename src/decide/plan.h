/*
 * plan.h
 *
 * The planner: one customer's pools, rules and a moment in; decisions with
 * reasons out.  Pure: no PostgreSQL header, no clock, no network, no
 * allocation that outlives the call's own result.  What it is given is all it
 * knows, so the same call serves the night, a dry run, "what if" and a test
 * over millions of random pools.
 *
 * Rules are numbered as in the README's "How a night decides".
 */
#ifndef SPINPANEL_PLAN_H
#define SPINPANEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since 2000-01-01 00:00 UTC, the unit and epoch of timestamptz */
typedef int64_t PlanTime;

#define PLAN_NEVER INT64_MAX /* later than every moment */
#define PLAN_SECOND INT64_C(1000000)
#define PLAN_HOUR (3600 * PLAN_SECOND)
#define PLAN_DAY (24 * PLAN_HOUR)

/* A refund window: seats in it go back in the last run before its deadline,
 * which is a run that sees the deadline less than 26 hours and more than one
 * hour ahead. */
#define PLAN_LAST_RUN (26 * PLAN_HOUR)
#define PLAN_TOO_LATE (1 * PLAN_HOUR)

/* Partner Center refuses more than about 1,200 changes in a subscription's
 * life; we stop planning savings well before and leave the rest to people. */
#define PLAN_MAX_CHANGES 1000

/* Two of the reasons for which nothing is taken; others look for them. */
#define PLAN_STALE "stale: the data is too old"
#define PLAN_SWITCHED_OFF "switched off"

typedef enum PlanCommerce
{
	PLAN_NCE,
	PLAN_LEGACY,
	PLAN_OTHER /* never touched, never owned */
} PlanCommerce;

typedef enum PlanStatus
{
	PLAN_ACTIVE,
	PLAN_SUSPENDED,
	PLAN_GONE /* pending, expired, disabled, deleted, unknown */
} PlanStatus;

/* Who made a decision that is in force at Partner Center */
typedef enum PlanWho
{
	PLAN_NOBODY, /* nothing of the kind is set */
	PLAN_OURS,
	PLAN_PERSON
} PlanWho;

typedef struct PlanBatch
{
	int32_t quantity; /* seats that can still be given back */
	PlanTime deadline; /* until when */
	bool by_renewal; /* opened by a renewal, not by buying */
} PlanBatch;

typedef struct PlanSubscription
{
	int32_t account; /* which of our accounts sold it */
	PlanCommerce commerce;
	PlanStatus status;
	bool trial; /* or free: seats nobody pays for */
	int32_t quantity;
	int32_t minimum; /* of the offer; at least 1 */
	int32_t maximum; /* of the offer; INT32_MAX where unknown */
	PlanTime created;
	PlanTime term_end; /* first moment of the next term; PLAN_NEVER */
	PlanTime cancel_until; /* last moment to cancel the whole; 0 = never */
	bool auto_renew;
	bool cancel_at_term; /* an explicit cancel is scheduled */
	PlanWho end_by; /* who let it end (auto-renew off or cancel) */
	int32_t next_quantity; /* scheduled for the next term; -1 = none */
	bool next_other_sku; /* the next term is of another product */
	PlanWho next_by; /* who scheduled it */
	PlanWho suspended_by;
	bool extended_term; /* runs in Extended Service Terms */
	bool renewing; /* renewal in progress: read-only */
	bool pending; /* an operation on it is open */
	bool is_addon;
	bool has_active_addon;
	int32_t duplicates; /* same number = same account, partner of
								 * record, offer, term and billing cycle;
								 * -1 = has no like */
	int32_t changes; /* quantity and state changes in its life */
	int32_t rejected_to; /* a person rejected to lower it to this; -1 */
	const PlanBatch *batches;
	int32_t batch_count;
} PlanSubscription;

typedef struct PlanPool
{
	/* what was read */
	int32_t active; /* active units reported for the tenant */
	int32_t consumed; /* greater of reported and holders known */
	int32_t waiting; /* asked for and not yet in consumed */
	PlanTime read_at; /* older of the two reads' start times */
	int32_t settled_unused; /* what was unused all through the cool-down:
								 * the lowest least(owned, active) in it less
								 * the highest consumed in it.  (Not the lowest
								 * difference: seats we took since would count
								 * as unused before and be taken twice.) */
	PlanTime known_since; /* how far that history reaches back; what was
								 * added earlier, batches and dates tell.  0:
								 * it covers the whole cool-down */
	bool consumption_seen; /* some seat of it was once consumed here */
	bool sku_consumption_seen; /* ... or at any customer */
	const char *doubt; /* why the numbers are not trusted, or NULL */
	bool unsettled; /* an earlier removal is not visible yet */
	bool open_operation; /* something in the pool is being changed */

	/* what may be done */
	bool adjust; /* auto license adjustment is on */
	bool paused;
	bool excluded; /* by a rule */
	bool never_assigned; /* on the list of device, room, ... SKUs */
	bool tenant_target; /* targetType Tenant */
	bool no_access; /* licence usage cannot be read */
	int32_t spare; /* seats to keep */
	int32_t min_seats; /* never own fewer than this */
	PlanTime cooldown;
	PlanTime renewal_lead;
	PlanTime max_age; /* of data */

	const PlanSubscription *subscriptions;
	int32_t subscription_count;
} PlanPool;

/* Limits of one customer, over all its pools (rule 6) */
typedef struct PlanLimits
{
	int32_t removal_limit_percent;
	int32_t removal_limit_seats;
	int32_t owned_at_start; /* seats owned at the start of the run */
	int32_t removed_recently; /* within the last 24 hours */
	int32_t paid_subscriptions; /* active, all pools */
} PlanLimits;

/*
 * PLAN_REDUCE_AT_RENEWAL says what is to be scheduled from now on.  It also
 * takes back a schedule or an end of ours that went too far: auto-renew on
 * again, to_quantity in the next term; from_quantity = to_quantity (seats 0)
 * means that no schedule remains.  In a plan it comes after a PLAN_REDUCE of
 * the same subscription; from_quantity is then what that one leaves.
 */
typedef enum PlanAction
{
	PLAN_NONE,
	PLAN_REDUCE,
	PLAN_SUSPEND,
	PLAN_CANCEL,
	PLAN_REDUCE_AT_RENEWAL,
	PLAN_END_AT_TERM,
	PLAN_RAISE
} PlanAction;

typedef struct PlanDecision
{
	int32_t pool; /* index into the pools given */
	int32_t subscription; /* index into the pool's; -1 with PLAN_NONE */
	PlanAction action;
	int32_t rule; /* number of the rule that decided */
	int32_t from_quantity;
	int32_t to_quantity; /* 0 = suspended, cancelled or ended */
	int32_t seats; /* removed (raise: added); 0 with PLAN_NONE */
	int32_t counted; /* of these, what counts towards the removal limit: not
								 * what a schedule of ours took before; of a
								 * merge the raise counts below zero */
	PlanTime effective; /* when it takes effect */
	int32_t merge; /* same number > 0 = one merge, in this order:
								 * the raise, then what it replaces */
	bool needs_approval;
	char reason[240]; /* words and numbers a customer can be shown */
} PlanDecision;

typedef struct PlanResult
{
	PlanDecision *decisions; /* malloc'd; spinpanel_plan_free() */
	int32_t count;
	int32_t capacity;
	bool out_of_memory;
} PlanResult;

/* What excess_seats() shows of one pool */
typedef struct PlanExcess
{
	int32_t owned;
	int32_t foreign_seats;
	int32_t floor; /* consumed + waiting + spare */
	int32_t excess;
	int32_t reducible_now;
	int32_t reducible_at_renewal;
	PlanTime next_renewal; /* PLAN_NEVER where none is known */
	char blocked_by[160]; /* "" where nothing blocks */
} PlanExcess;

typedef struct PlanOptions
{
	PlanTime now;
	bool at_renewal; /* plan rule 5 and cancelling too */
	bool ignore_switch; /* as if adjustment were on (excess, dry run) */
	bool lowers_schedule; /* plan_judge: what a person scheduled goes down by as
							 * much as the quantity */
} PlanOptions;

/* Decisions of one run for one customer, all pools, limits applied. */
extern void spinpanel_plan_customer(const PlanPool *pools, int32_t pool_count,
									const PlanLimits *limits, const PlanOptions *options,
									PlanResult *result);
extern void spinpanel_plan_free(PlanResult *result);

/* The figures of one pool, whether or not the switch is on. */
extern void spinpanel_plan_excess(const PlanPool *pool, const PlanOptions *options,
								  PlanExcess *excess);

/*
 * How long the pool's figures, whether there is anything to change, and where
 * there is not what is said about it, stay as they are at options->now while
 * nothing changes but the time: *until goes down to the first moment at which they may differ, or to
 * options->now where that cannot be said.  Known_since = now stands for "no
 * history", and goes on with the time.
 */
extern void spinpanel_plan_excess_holds(const PlanPool *pool, const PlanOptions *options,
										PlanTime *until, bool *nothing_to_do);

/*
 * The judgement right before a change is sent: how far may this subscription
 * go down now (scheduled actions: in the next term), given what was just
 * read?  The operation being judged must not count as pool.open_operation or
 * as pending.  Returns the lowest quantity that
 * the pool's floor (at every later moment), the windows and the offer's
 * minimum allow, never below wanted; the present quantity where nothing may
 * be taken, with the reason in words.
 */
extern int32_t spinpanel_plan_judge(const PlanPool *pool, int32_t subscription, PlanAction action,
									int32_t wanted, const PlanOptions *options, char *reason,
									size_t reason_size);

/*
 * Putting back.  It takes nothing, so nothing that blocks takings blocks it:
 * no switch, rule, doubt or earlier removal.
 *
 * How many of the holders of the pool would have no seat of ours at a moment
 * (now: of the seats owned now), as things stand scheduled; below zero: so many
 * seats are left.
 */
extern int64_t spinpanel_plan_lacking(const PlanPool *pool, int64_t holders, PlanTime now,
									  PlanTime moment);

/*
 * The quantity that the subscription should have in its next term, where a
 * schedule or an end of ours goes too far: wanted, and more where holders would
 * lack seats, but never less than stands scheduled and never more than it has.
 */
extern int32_t spinpanel_plan_put_back(const PlanPool *pool, int32_t subscription, int32_t wanted,
									   const PlanOptions *options);

extern const char *spinpanel_plan_action_name(PlanAction action);

#endif /* SPINPANEL_PLAN_H */
