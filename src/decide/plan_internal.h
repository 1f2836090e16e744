/*
 * plan_internal.h
 *
 * What the planner's files share.  Nobody else includes it.
 *
 *   plan.c          entry: skips, decisions in order, limits, figures shown
 *   plan_holds.c    how long the figures shown hold
 *   plan_judge.c    one change judged right before it is sent
 *   plan_choice.c   of the choices that rules allow, the best
 *   plan_legacy.c   rule 3: what legacy subscriptions can give, merging
 *   plan_nce.c      rules 4 and 5: what NCE subscriptions can give, and when
 *   plan_text.c     words, numbers and dates of reasons
 */
#ifndef SPINPANEL_PLAN_INTERNAL_H
#define SPINPANEL_PLAN_INTERNAL_H

#include "decide/plan.h"
#include "decide/seats.h"

/* Savings are compared over this time. */
#define PLAN_HORIZON (400 * PLAN_DAY)

typedef enum PlanLeafKind
{
	LEAF_LEGACY, /* a legacy subscription */
	LEAF_MERGE, /* legacy duplicates of one offer */
	LEAF_NCE /* a new commerce subscription */
} PlanLeafKind;

/* Something that can give seats, and within which limits. */
typedef struct PlanLeaf
{
	PlanLeafKind kind;
	const int32_t *members; /* subscriptions, oldest first */
	int32_t member_count;
	int32_t age_group; /* youngest first among these; -1 = alone */
	int64_t quantity;
	int64_t minimum; /* it may be lowered to this */
	int64_t youth; /* the younger the greater */
	bool whole; /* may be suspended or cancelled now */

	/* NCE only */
	int64_t refundable; /* seats a window gives back now */
	int64_t last_chance; /* of these, going in spite of a cool-down */
	int64_t whole_last_chance; /* the same, where all of it goes */
	int64_t added; /* seats added within the cool-down */
	int64_t added_last; /* ... of which this is the last chance */
	PlanTime deadline; /* of the earliest of these windows */
	bool open; /* its next term is ours to decide */
	bool only_soften; /* ... but only towards more seats */
	bool may_end; /* may be ended as a whole at term */
	bool near; /* the term ends within the cool-down */
	int64_t scheduled; /* seats our schedule takes at term end */
	PlanTime term_end;
	int64_t until_term; /* seconds, at most the horizon */

	/* what was chosen */
	int64_t taken; /* of what lasts */
	int64_t cool; /* cool-down allowance spent at most */
} PlanLeaf;

/* One pool at one moment. */
typedef struct PlanScene
{
	const PlanPool *pool;
	int32_t pool_index;
	PlanTime now;
	bool at_renewal; /* rule 5 and cancelling */
	bool any_lead; /* however far ahead the renewal is */
	bool only_soften; /* nothing may be taken */
	bool approximate; /* chosen without the table: perhaps not the very best */
	int64_t horizon; /* seconds */
	PlanSeats seats;
	int64_t slack; /* seats that may go for good; < 0: too few */
	PlanLeaf *leaves;
	int32_t leaf_count;
	int32_t *order; /* subscriptions, oldest first */
	int32_t *rank; /* per subscription: the younger the greater */
} PlanScene;

/* What taking so many seats from a leaf means. */
typedef struct PlanChoice
{
	int64_t gain; /* seat-seconds saved */
	int64_t youth; /* seats weighed with youth */
	int64_t sooner; /* sum of the delays of its changes */
	int32_t changes;
	int64_t now; /* seats going now */
	int64_t later; /* seats going at term end */
	int64_t cool; /* cool-down allowance it needs */
} PlanChoice;

/* Decisions being collected. */
typedef struct PlanBuilder
{
	PlanResult *result;
	int32_t merges;
} PlanBuilder;

typedef struct PlanText
{
	char *buffer;
	size_t size;
	size_t length;
} PlanText;

/* plan_text.c */
extern void spinpanel_plan_text_begin(PlanText *text, char *buffer, size_t size);
extern void spinpanel_plan_text_add(PlanText *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
extern void spinpanel_plan_text_date(PlanText *text, PlanTime moment);
extern void spinpanel_plan_text_pool(PlanText *text, const PlanPool *pool, const PlanSeats *seats);

/* No renewal further ahead than this is a known one; the year 9999 is not. */
#define PLAN_FURTHEST (40000 * PLAN_DAY)

/* plan.c */
extern bool spinpanel_plan_open(PlanScene *scene, const PlanPool *pool, int32_t pool_index,
								PlanTime now, bool at_renewal, bool any_lead, bool only_soften);
extern void spinpanel_plan_close(PlanScene *scene);
/* blocked is why nothing may be taken: may what we scheduled be put back all the same? */
extern bool spinpanel_plan_softens(const PlanPool *pool, PlanTime now, const char *blocked);
extern const char *spinpanel_plan_blocked(const PlanPool *pool, PlanTime now, bool ignore_switch);
extern const char *spinpanel_plan_untouchable(const PlanSubscription *s, PlanTime now);
extern bool spinpanel_plan_is_rejected(const PlanScene *scene, const PlanLeaf *leaf,
									   const PlanChoice *choice);
extern bool spinpanel_plan_is_ours(const PlanSubscription *s, PlanTime now);
extern PlanDecision *spinpanel_plan_append(PlanBuilder *builder, const PlanScene *scene,
										   int32_t subscription, PlanAction action, int32_t rule,
										   int64_t from, int64_t to, int64_t counted);

/* plan_choice.c: sets taken and cool of every leaf; false: out of memory */
extern bool spinpanel_plan_choose(PlanScene *scene);
extern bool spinpanel_plan_leaf_choice(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken,
									   int64_t cool, PlanChoice *choice);

/* plan_legacy.c */
extern bool spinpanel_plan_mergeable(const PlanPool *pool, const PlanSubscription *s, PlanTime now);
extern void spinpanel_plan_legacy_leaf(const PlanScene *scene, PlanLeaf *leaf);
extern bool spinpanel_plan_legacy_choice(const PlanScene *scene, const PlanLeaf *leaf,
										 int64_t taken, int64_t cool, PlanChoice *choice);
extern void spinpanel_plan_legacy_decide(const PlanScene *scene, const PlanLeaf *leaf,
										 PlanBuilder *builder);

/* plan_nce.c */
extern void spinpanel_plan_nce_leaf(const PlanScene *scene, PlanLeaf *leaf);
extern bool spinpanel_plan_nce_choice(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken,
									  int64_t cool, PlanChoice *choice);
extern void spinpanel_plan_nce_decide(const PlanScene *scene, const PlanLeaf *leaf,
									  PlanBuilder *builder, bool back);

#endif /* SPINPANEL_PLAN_INTERNAL_H */
