/*
 * plan.c
 *
 * The planner's entry: which pools and subscriptions may be touched at all
 * (rule 1), the decisions of a run in their order, limits and approvals (rule
 * 6), the reasons of what is not done, and the figures that excess_seats()
 * shows.  It must never know SQL, a clock or the network, and it must never
 * decide on numbers that contradict each other.
 */
#include <stdlib.h>
#include <string.h>

#include "decide/plan_internal.h"

/* Larger numbers than these are no seats but a mistake of somebody's. */
#define PLAN_MOST_SEATS 1000000000

static int64_t
at_least_zero(int64_t value)
{
	return value > 0 ? value : 0;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

const char *
spinpanel_plan_action_name(PlanAction action)
{
	switch (action)
	{
		case PLAN_NONE:
			return "none";
		case PLAN_REDUCE:
			return "reduce";
		case PLAN_SUSPEND:
			return "suspend";
		case PLAN_CANCEL:
			return "cancel";
		case PLAN_REDUCE_AT_RENEWAL:
			return "reduce_at_renewal";
		case PLAN_END_AT_TERM:
			return "end_at_term";
		case PLAN_RAISE:
			return "raise";
	}
	return "none";
}

void
spinpanel_plan_free(PlanResult *result)
{
	free(result->decisions);
	memset(result, 0, sizeof(*result));
}

/* ---- rule 1: what is left alone ---------------------------------------- */

static bool
plausible(const PlanPool *pool)
{
	int64_t total = 0;
	int32_t i;

	if (pool->active < 0 || pool->consumed < 0 || pool->waiting < 0 ||
		pool->active > PLAN_MOST_SEATS || pool->consumed > PLAN_MOST_SEATS ||
		pool->waiting > PLAN_MOST_SEATS)
		return false;
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (s->status == PLAN_ACTIVE && s->quantity < 0)
			return false;
		if (spinpanel_seats_counts(s))
			total += s->quantity;
	}
	return total <= PLAN_MOST_SEATS;
}

static bool
is_stale(const PlanPool *pool, PlanTime now)
{
	return pool->read_at < now && now - pool->read_at > pool->max_age;
}

/* A pool in which only trials and free subscriptions are active. */
static bool
only_trials(const PlanPool *pool)
{
	bool trial = false;
	int32_t i;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (spinpanel_seats_counts(s))
			return false;
		if (s->status == PLAN_ACTIVE && s->trial)
			trial = true;
	}
	return trial;
}

/*
 * Why nothing of a pool may be taken, or NULL.  "Switched off" comes last: it
 * is the one reason with which the figures are shown all the same.
 */
static const char *
must_not(const PlanPool *pool, PlanTime now)
{
	int32_t i;

	if (pool->no_access)
		return "no licence access: who uses the seats cannot be read";
	if (pool->tenant_target)
		return "Tenant SKU: not assigned to users";
	if (pool->never_assigned)
		return "SKU that is never assigned to users";
	if (pool->excluded)
		return "excluded by a rule";
	if (only_trials(pool))
		return "trial or free";
	if (is_stale(pool, now))
		return PLAN_STALE;
	if (pool->doubt != NULL)
		return pool->doubt;
	if (!plausible(pool))
		return "contradictory numbers were read";
	if (pool->paused)
		return "paused";
	if (pool->open_operation)
		return "a change in the pool is under way";
	for (i = 0; i < pool->subscription_count; i++)
	{
		if (pool->subscriptions[i].pending)
			return "a change in the pool is under way";
	}
	if (pool->unsettled)
		return "an earlier removal is not visible yet";
	return NULL;
}

const char *
spinpanel_plan_blocked(const PlanPool *pool, PlanTime now, bool ignore_switch)
{
	const char *why = must_not(pool, now);

	if (why == NULL && !pool->adjust && !ignore_switch)
		why = PLAN_SWITCHED_OFF;
	return why;
}

/* Is something set that lowers it at its term, and did nobody but us do it? */
bool
spinpanel_plan_is_ours(const PlanSubscription *s, PlanTime now)
{
	bool ends = spinpanel_seats_ends(s, now);

	if (s->next_other_sku)
		return false;
	if (ends && s->end_by != PLAN_OURS)
		return false;
	if (s->next_quantity >= 0 && s->next_by != PLAN_OURS)
		return false;
	return ends || s->next_quantity >= 0;
}

/* Promise 13: such a subscription is counted as it stands and left alone. */
static bool
is_persons(const PlanSubscription *s, PlanTime now)
{
	bool lowered = spinpanel_seats_ends(s, now) || s->next_other_sku || s->next_quantity >= 0;

	/*
	 * Auto-renew is off in Extended Service Terms by their nature; without an
	 * explicit cancel nobody set such a subscription to end.
	 */
	return s->next_by == PLAN_PERSON || s->suspended_by == PLAN_PERSON ||
		   (s->end_by == PLAN_PERSON && (s->cancel_at_term || !s->extended_term)) ||
		   (lowered && !spinpanel_plan_is_ours(s, now));
}

const char *
spinpanel_plan_untouchable(const PlanSubscription *s, PlanTime now)
{
	if (s->pending)
		return "a change of it is under way";
	if (s->renewing)
		return "its renewal is in progress";
	if (s->commerce == PLAN_NCE && spinpanel_seats_term_end(s) <= now)
		return "its term is over and its renewal not yet seen";

	if (is_persons(s, now))
		return "a person decided otherwise";
	if (s->commerce != PLAN_NCE && spinpanel_plan_is_ours(s, now))
		return "it ends already";
	if (s->changes >= PLAN_MAX_CHANGES)
		return "it has been changed too often";
	return NULL;
}

/*
 * Has a person rejected to take as much of it as was chosen, or more?  Then
 * nothing of it goes, in smaller pieces neither.  (What has such a rejection
 * is never part of a merge: a leaf of its own.)
 */
bool
spinpanel_plan_is_rejected(const PlanScene *scene, const PlanLeaf *leaf, const PlanChoice *choice)
{
	const PlanSubscription *s = &scene->pool->subscriptions[leaf->members[0]];
	int64_t first = choice->now > 0 ? choice->now : choice->later;

	if (leaf->member_count != 1 || s->rejected_to < 0 || first == 0 ||
		(choice->now == 0 && choice->later <= leaf->scheduled))
		return false;
	return s->quantity - first >= s->rejected_to;
}

/* ---- one pool at one moment --------------------------------------------- */

typedef struct Aged
{
	PlanTime created;
	int32_t subscription;
} Aged;

static int
compare_aged(const void *a, const void *b)
{
	const Aged *x = a;
	const Aged *y = b;

	if (x->created != y->created)
		return x->created < y->created ? -1 : 1;
	return x->subscription < y->subscription ? -1 : 1;
}

void
spinpanel_plan_close(PlanScene *scene)
{
	free(scene->leaves);
	free(scene->order);
	scene->leaves = NULL;
	scene->order = NULL;
}

static PlanLeaf *
add_leaf(PlanScene *scene, PlanLeafKind kind, const int32_t *members, int32_t count,
		 int32_t age_group)
{
	PlanLeaf *leaf = &scene->leaves[scene->leaf_count++];

	memset(leaf, 0, sizeof(*leaf));
	leaf->kind = kind;
	leaf->members = members;
	leaf->member_count = count;
	leaf->age_group = age_group;
	leaf->youth = scene->rank[members[count - 1]];
	if (kind == LEAF_NCE)
		spinpanel_plan_nce_leaf(scene, leaf);
	else
		spinpanel_plan_legacy_leaf(scene, leaf);
	return leaf;
}

static bool
alike(const PlanSubscription *a, const PlanSubscription *b)
{
	return a->duplicates >= 0 && a->duplicates == b->duplicates && a->account == b->account &&
		   a->commerce == b->commerce;
}

/*
 * Legacy first, each kind from the youngest to the oldest, add-ons before all
 * others; what gives "youngest first" stands side by side.
 */
static void
add_leaves(PlanScene *scene, int32_t *members, bool *used)
{
	const PlanPool *pool = scene->pool;
	int32_t count = pool->subscription_count;
	int32_t place = 0;
	int32_t groups = 1;
	int32_t pass;
	int32_t i;
	int32_t j;

	for (i = 0; i < count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		used[i] = !spinpanel_seats_counts(s) || spinpanel_plan_untouchable(s, scene->now) != NULL ||
				  (s->commerce == PLAN_LEGACY &&
				   spinpanel_seats_added(s, scene->now, pool->cooldown) > 0);
	}

	for (pass = 0; pass < 2; pass++)
	{
		for (i = count - 1; i >= 0; i--)
		{
			int32_t me = scene->order[i];
			const PlanSubscription *s = &pool->subscriptions[me];
			int32_t start = place;

			if (used[me] || s->commerce != PLAN_LEGACY || s->is_addon != (pass == 0))
				continue;
			if (spinpanel_plan_mergeable(pool, s, scene->now))
			{
				for (j = 0; j <= i; j++)
				{
					int32_t other = scene->order[j];

					if (used[other] || !alike(s, &pool->subscriptions[other]) ||
						!spinpanel_plan_mergeable(pool, &pool->subscriptions[other], scene->now))
						continue;
					used[other] = true;
					members[place++] = other;
				}
			}
			else
			{
				used[me] = true;
				members[place++] = me;
			}
			(void) add_leaf(scene, place - start > 1 ? LEAF_MERGE : LEAF_LEGACY, &members[start],
							place - start, 0);
		}
	}

	for (i = count - 1; i >= 0; i--)
	{
		int32_t me = scene->order[i];

		if (used[me])
			continue;
		used[me] = true;
		members[place] = me;
		(void) add_leaf(scene, LEAF_NCE, &members[place], 1, groups);
		place++;
		for (j = i - 1; j >= 0; j--)
		{
			int32_t other = scene->order[j];

			if (used[other] || !alike(&pool->subscriptions[me], &pool->subscriptions[other]))
				continue;
			used[other] = true;
			members[place] = other;
			(void) add_leaf(scene, LEAF_NCE, &members[place], 1, groups);
			place++;
		}
		groups++;
	}
}

/* Everything that the rules leave open in a pool; false = no memory. */
bool
spinpanel_plan_open(PlanScene *scene, const PlanPool *pool, int32_t pool_index, PlanTime now,
					bool at_renewal, bool any_lead, bool only_soften)
{
	int32_t count = pool->subscription_count;
	size_t room = count > 0 ? (size_t) count : 1;
	Aged *aged;
	bool *used;
	int32_t i;

	memset(scene, 0, sizeof(*scene));
	scene->pool = pool;
	scene->pool_index = pool_index;
	scene->now = now;
	scene->at_renewal = at_renewal;
	scene->any_lead = any_lead;
	scene->only_soften = only_soften;
	scene->horizon = (any_lead ? PLAN_FURTHEST : PLAN_HORIZON) / PLAN_SECOND;
	spinpanel_seats_figures(pool, now, &scene->seats);
	scene->slack = scene->seats.lasting - scene->seats.floor;

	scene->leaves = calloc(room, sizeof(PlanLeaf));
	scene->order = calloc(room * 3, sizeof(int32_t));
	aged = calloc(room, sizeof(Aged));
	used = calloc(room, sizeof(bool));
	if (scene->leaves == NULL || scene->order == NULL || aged == NULL || used == NULL)
	{
		free(aged);
		free(used);
		spinpanel_plan_close(scene);
		return false;
	}
	scene->rank = scene->order + count;
	for (i = 0; i < count; i++)
	{
		aged[i].created = pool->subscriptions[i].created;
		aged[i].subscription = i;
	}
	qsort(aged, (size_t) count, sizeof(Aged), compare_aged);
	for (i = 0; i < count; i++)
	{
		int32_t me = aged[i].subscription;

		scene->order[i] = me;
		scene->rank[me] = i + 1 + (pool->subscriptions[me].is_addon ? count : 0);
	}
	add_leaves(scene, scene->order + 2 * count, used);
	free(aged);
	free(used);

	/* What we scheduled ourselves is open again. */
	for (i = 0; i < scene->leaf_count; i++)
		scene->slack += scene->leaves[i].scheduled;

	/*
	 * Too few seats at some later moment already: nothing more may go, and
	 * what we scheduled is taken back.
	 */
	if (scene->slack < 0)
	{
		scene->only_soften = true;
		for (i = 0; i < scene->leaf_count; i++)
			scene->leaves[i].only_soften = true;
	}
	return true;
}

/* ---- decisions ----------------------------------------------------------- */

PlanDecision *
spinpanel_plan_append(PlanBuilder *builder, const PlanScene *scene, int32_t subscription,
					  PlanAction action, int32_t rule, int64_t from, int64_t to, int64_t counted)
{
	PlanResult *result = builder->result;
	PlanDecision *d;

	if (result->out_of_memory)
		return NULL;
	if (result->count == result->capacity)
	{
		int32_t capacity = result->capacity > 0 ? result->capacity * 2 : 8;
		PlanDecision *decisions;

		decisions = realloc(result->decisions, (size_t) capacity * sizeof(PlanDecision));
		if (decisions == NULL)
		{
			result->out_of_memory = true;
			return NULL;
		}
		result->decisions = decisions;
		result->capacity = capacity;
	}
	d = &result->decisions[result->count++];
	memset(d, 0, sizeof(*d));
	d->pool = scene->pool_index;
	d->subscription = subscription;
	d->action = action;
	d->rule = rule;
	d->from_quantity = (int32_t) from;
	d->to_quantity = (int32_t) to;
	d->seats = (int32_t) (from > to ? from - to : to - from);
	d->counted = (int32_t) counted;
	d->effective = scene->now;
	return d;
}

/* What a run does with a pool's unused seats, to explain the rest. */
typedef struct Account
{
	int64_t now; /* given back now */
	int64_t later; /* newly scheduled */
	int64_t standing; /* scheduled by us before, and still */
	int64_t rejected; /* would go, if nobody had rejected it */
	PlanTime when; /* earliest of the scheduled dates */
	PlanTime next_renewal;
	int64_t could_go_now; /* if it were not for the cool-down */
	bool person; /* somebody's decision stands in it */
	bool person_lowers; /* ... and takes seats away later */
	bool has_nce;
} Account;

static void
take_account(const PlanScene *scene, Account *account)
{
	const PlanPool *pool = scene->pool;
	int32_t i;

	memset(account, 0, sizeof(*account));
	account->when = PLAN_NEVER;
	account->next_renewal = PLAN_NEVER;
	for (i = 0; i < scene->leaf_count; i++)
	{
		const PlanLeaf *leaf = &scene->leaves[i];
		PlanChoice choice;
		int64_t standing;

		if (!spinpanel_plan_leaf_choice(scene, leaf, leaf->taken, leaf->cool, &choice))
			continue;
		if (spinpanel_plan_is_rejected(scene, leaf, &choice))
		{
			standing = least(leaf->scheduled, choice.now + choice.later);
			account->could_go_now += leaf->kind != LEAF_NCE || leaf->whole
										 ? leaf->quantity
										 : leaf->refundable + leaf->added;
			account->standing += standing;
			account->rejected += choice.now + choice.later - standing;
			if (standing > 0 && leaf->term_end < account->when)
				account->when = leaf->term_end;
			continue;
		}
		if (leaf->kind != LEAF_NCE)
		{
			account->now += leaf->taken;
			account->could_go_now += leaf->quantity;
			continue;
		}
		account->now += choice.now;
		account->could_go_now += leaf->whole ? leaf->quantity : leaf->refundable + leaf->added;

		/* As planned already, or newly? */
		standing = choice.now == 0 && choice.later == leaf->scheduled ? choice.later : 0;
		account->standing += standing;
		account->later += choice.later - standing;
		if (choice.later > 0 && leaf->term_end < account->when)
			account->when = leaf->term_end;
	}
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		PlanTime end = spinpanel_seats_term_end(s);

		if (!spinpanel_seats_counts(s))
			continue;
		if (s->commerce == PLAN_NCE)
			account->has_nce = true;
		if (end > scene->now && end < account->next_renewal)
			account->next_renewal = end;
		if (is_persons(s, scene->now))
		{
			account->person = true;
			if (spinpanel_seats_lasting(s, s->quantity, scene->now) < s->quantity)
				account->person_lowers = true;
		}
	}
}

static void
explain_shortage(const PlanScene *scene, const Account *account, PlanText *text)
{
	int64_t floor = scene->seats.floor;

	spinpanel_plan_text_add(text, "; %lld needed, but only %lld remain from ", (long long) floor,
							(long long) (floor + scene->slack));
	spinpanel_plan_text_date(text,
							 spinpanel_seats_below(scene->pool, scene->now, scene->seats.need));
	spinpanel_plan_text_add(text, ", %lld too few%s", (long long) -scene->slack,
							account->person_lowers ? ": a person decided so" : "");
}

static void
explain_rest(const PlanScene *scene, const Account *account, PlanText *text)
{
	int64_t excess = scene->seats.excess;
	int64_t rest = at_least_zero(excess - account->now - account->later - account->standing);
	int64_t part = least(rest, account->rejected);

	if (account->now > 0)
		spinpanel_plan_text_add(text, "; %lld returned now", (long long) account->now);
	if (account->later > 0)
	{
		spinpanel_plan_text_add(text, "; %lld at renewal on ", (long long) account->later);
		spinpanel_plan_text_date(text, account->when);
	}
	if (account->standing > 0)
	{
		spinpanel_plan_text_add(text, "; %lld already scheduled for ",
								(long long) account->standing);
		spinpanel_plan_text_date(text, account->when);
	}

	if (part > 0)
	{
		spinpanel_plan_text_add(text, "; %lld kept as a person rejected their removal",
								(long long) part);
		rest -= part;
	}

	/* Seats that are needed when others have ended. */
	part = least(rest, at_least_zero(excess - scene->slack));
	if (part > 0)
	{
		PlanTime when = spinpanel_seats_below(scene->pool, scene->now,
											  scene->seats.floor + excess - scene->seats.absent);

		spinpanel_plan_text_add(text, "; %lld needed when other seats end", (long long) part);
		if (when != PLAN_NEVER && when > scene->now)
		{
			spinpanel_plan_text_add(text, " on ");
			spinpanel_plan_text_date(text, when);
		}
		rest -= part;
	}
	part = at_least_zero(excess - scene->seats.settled);
	part = least(least(rest, part), at_least_zero(account->could_go_now - account->now));
	if (part > 0)
	{
		spinpanel_plan_text_add(text, "; %lld kept until cool-down ends", (long long) part);
		rest -= part;
	}
	if (rest <= 0)
		return;
	if (account->has_nce)
	{
		spinpanel_plan_text_add(text,
								"; %lld outside refund windows, next "
								"renewal on ",
								(long long) rest);
		spinpanel_plan_text_date(text, account->next_renewal);
	}
	else if (account->person)
		spinpanel_plan_text_add(text, "; %lld left as a person decided", (long long) rest);
	else
		spinpanel_plan_text_add(text, "; %lld below the offer's minimum", (long long) rest);
	if (account->has_nce && account->person)
		spinpanel_plan_text_add(text, ", a person's decision stands");
}

/*
 * More licences are assigned than we own seats: no plan of ours does that, and
 * a person has to know.  A pool in which we own nothing is others' affair.
 */
static bool
lacks_seats(const PlanPool *pool, const PlanSeats *seats)
{
	return pool->consumed > seats->owned && (seats->owned > 0 || pool->consumed > pool->active);
}

static void
explain_lack(const PlanPool *pool, const PlanSeats *seats, PlanText *text)
{
	spinpanel_plan_text_add(text, "%d assigned, %lld owned", (int) pool->consumed,
							(long long) seats->owned);
	if (seats->foreign > 0)
		spinpanel_plan_text_add(text, ", %lld of others", (long long) seats->foreign);
	if (pool->consumed > seats->owned + seats->foreign)
		spinpanel_plan_text_add(text, ": %lld too few",
								(long long) (pool->consumed - seats->owned - seats->foreign));
	else
		spinpanel_plan_text_add(text, ": %lld use seats of others",
								(long long) (pool->consumed - seats->owned));
}

static void
explain(const PlanScene *scene, PlanBuilder *builder, const char *blocked)
{
	Account account;
	bool lack = blocked == NULL && lacks_seats(scene->pool, &scene->seats);
	bool short_by_person;
	PlanDecision *d;
	PlanText text;

	take_account(scene, &account);
	short_by_person = scene->slack < 0 && account.person_lowers && blocked == NULL;
	if (!short_by_person && !lack &&
		(scene->seats.excess <= 0 ||
		 (blocked == NULL && account.now + account.later >= scene->seats.excess)))
		return;

	d = spinpanel_plan_append(builder, scene, -1, PLAN_NONE, blocked != NULL ? 1 : 0, 0, 0, 0);
	if (d == NULL)
		return;
	d->effective = PLAN_NEVER;
	spinpanel_plan_text_begin(&text, d->reason, sizeof(d->reason));
	if (lack)
		explain_lack(scene->pool, &scene->seats, &text);
	else
		spinpanel_plan_text_pool(&text, scene->pool, &scene->seats);
	if (blocked != NULL)
		spinpanel_plan_text_add(&text, "; left alone: %s", blocked);
	else if (scene->slack < 0 && short_by_person)
		explain_shortage(scene, &account, &text);
	else if (!lack)
		explain_rest(scene, &account, &text);
}

/*
 * The decisions of one leaf.  What goes further than a person has rejected is
 * asked for, whatever the limits say.
 */
static void
decide(const PlanScene *scene, const PlanLeaf *leaf, PlanBuilder *builder)
{
	PlanResult *result = builder->result;
	int32_t i = result->count;
	PlanChoice choice;

	if (!spinpanel_plan_leaf_choice(scene, leaf, leaf->taken, leaf->cool, &choice) ||
		spinpanel_plan_is_rejected(scene, leaf, &choice))
		return;
	if (leaf->kind == LEAF_NCE)
		spinpanel_plan_nce_decide(scene, leaf, builder, false);
	else
		spinpanel_plan_legacy_decide(scene, leaf, builder);
	for (; i < result->count; i++)
	{
		const PlanDecision *d = &result->decisions[i];

		if (scene->pool->subscriptions[d->subscription].rejected_to >= 0 && d->counted > 0)
			result->decisions[i].needs_approval = true;
	}
}

/*
 * Numbers that are in doubt remove nothing, but what we scheduled on better
 * ones may have become too much: that is put back all the same.
 */
bool
spinpanel_plan_softens(const PlanPool *pool, PlanTime now, const char *blocked)
{
	return blocked != NULL && pool->adjust && !pool->paused && !pool->open_operation &&
		   !pool->excluded && plausible(pool) && !is_stale(pool, now) &&
		   (pool->doubt != NULL || pool->unsettled);
}

static void
plan_pool(const PlanPool *pool, int32_t index, const PlanOptions *options, PlanBuilder *builder)
{
	const char *blocked = spinpanel_plan_blocked(pool, options->now, options->ignore_switch);
	bool softens = spinpanel_plan_softens(pool, options->now, blocked);
	PlanScene scene;
	int32_t i;

	if (!spinpanel_plan_open(&scene, pool, index, options->now, options->at_renewal, false,
							 blocked != NULL))
	{
		builder->result->out_of_memory = true;
		return;
	}
	if (blocked == NULL || softens)
	{
		if (!spinpanel_plan_choose(&scene))
		{
			builder->result->out_of_memory = true;
			spinpanel_plan_close(&scene);
			return;
		}

		/* What puts seats back comes before what takes them. */
		for (i = 0; i < scene.leaf_count; i++)
		{
			if (scene.leaves[i].kind == LEAF_NCE)
				spinpanel_plan_nce_decide(&scene, &scene.leaves[i], builder, true);
		}

		/*
		 * Seats that go in spite of a cool-down go last: their going leaves
		 * less that is past it for the judgement of the others.
		 */
		for (i = 0; i < 2 * scene.leaf_count; i++)
		{
			const PlanLeaf *leaf = &scene.leaves[i % scene.leaf_count];

			if ((leaf->last_chance > 0) != (i >= scene.leaf_count))
				continue;
			decide(&scene, leaf, builder);
		}
	}
	explain(&scene, builder, blocked);
	spinpanel_plan_close(&scene);
}

/* ---- rule 6: limits and approvals ---------------------------------------- */

static bool
ends_all(PlanAction action)
{
	return action == PLAN_SUSPEND || action == PLAN_CANCEL || action == PLAN_END_AT_TERM;
}

/* Paid subscriptions that would remain after all that is decided. */
static int64_t
staying(const PlanPool *pools, int32_t pool_count, const PlanLimits *limits,
		const PlanResult *result, PlanTime now)
{
	int64_t count = limits->paid_subscriptions;
	int32_t p;
	int32_t i;

	for (p = 0; p < pool_count; p++)
	{
		for (i = 0; i < pools[p].subscription_count; i++)
		{
			const PlanSubscription *s = &pools[p].subscriptions[i];

			if (spinpanel_seats_counts(s) && spinpanel_seats_ends(s, now))
				count--;
		}
	}
	for (i = 0; i < result->count; i++)
	{
		const PlanDecision *d = &result->decisions[i];

		if (ends_all(d->action) &&
			!spinpanel_seats_ends(&pools[d->pool].subscriptions[d->subscription], now))
			count--;
	}
	return count;
}

static void
apply_limits(const PlanPool *pools, int32_t pool_count, const PlanLimits *limits,
			 const PlanOptions *options, PlanBuilder *builder)
{
	PlanResult *result = builder->result;
	int64_t total = 0;
	bool held;
	bool last;
	int32_t i;
	int32_t j;

	for (i = 0; i < result->count; i++)
		total += result->decisions[i].counted;
	held = total > 0 && total + limits->removed_recently > limits->removal_limit_seats &&
		   (total + limits->removed_recently) * 100 >
			   (int64_t) limits->removal_limit_percent * limits->owned_at_start;
	last = staying(pools, pool_count, limits, result, options->now) < 1;

	for (i = 0; i < result->count; i++)
	{
		PlanDecision *d = &result->decisions[i];
		const PlanPool *pool = &pools[d->pool];
		bool ends = d->action == PLAN_CANCEL || d->action == PLAN_END_AT_TERM;

		/* What puts seats back, or only says again what stands, never waits. */
		if (d->action == PLAN_NONE ||
			(result->decisions[i].counted == 0 && d->action != PLAN_RAISE))
			continue;
		d->needs_approval = d->needs_approval || held || !pool->sku_consumption_seen ||
							(ends && (last || !pool->consumption_seen));
	}

	/* A merge waits as a whole. */
	for (i = 0; i < result->count; i++)
	{
		PlanDecision *d = &result->decisions[i];

		if (d->merge == 0 || !d->needs_approval)
			continue;
		for (j = 0; j < result->count; j++)
		{
			if (result->decisions[j].merge == d->merge)
				result->decisions[j].needs_approval = true;
		}
	}
}

void
spinpanel_plan_customer(const PlanPool *pools, int32_t pool_count, const PlanLimits *limits,
						const PlanOptions *options, PlanResult *result)
{
	PlanBuilder builder;
	int32_t i;

	memset(result, 0, sizeof(*result));
	memset(&builder, 0, sizeof(builder));
	builder.result = result;
	for (i = 0; i < pool_count && !result->out_of_memory; i++)
		plan_pool(&pools[i], i, options, &builder);
	if (!result->out_of_memory)
		apply_limits(pools, pool_count, limits, options, &builder);
	else
		result->count = 0; /* half a plan is none */
}

/* ---- the figures shown ---------------------------------------------------- */

/* How many seats can go now, and for good by any known renewal. */
static void
reducible(const PlanPool *pool, const PlanOptions *options, PlanExcess *excess)
{
	PlanScene scene;
	Account account;
	int64_t at_any_time = 0;
	bool chosen;
	int32_t i;

	if (!spinpanel_plan_open(&scene, pool, 0, options->now, options->at_renewal, false, false))
		return;
	if (spinpanel_plan_choose(&scene))
	{
		take_account(&scene, &account);
		excess->reducible_now = (int32_t) least(account.now, excess->excess);
	}
	spinpanel_plan_close(&scene);

	if (!spinpanel_plan_open(&scene, pool, 0, options->now, true, true, false))
		return;
	chosen = spinpanel_plan_choose(&scene);
	for (i = 0; chosen && i < scene.leaf_count; i++)
	{
		const PlanLeaf *leaf = &scene.leaves[i];
		PlanChoice choice;

		if (spinpanel_plan_leaf_choice(&scene, leaf, leaf->taken, leaf->cool, &choice) &&
			!spinpanel_plan_is_rejected(&scene, leaf, &choice))
			at_any_time += leaf->taken;
	}
	spinpanel_plan_close(&scene);
	excess->reducible_at_renewal = (int32_t) least(
		at_least_zero(at_any_time - excess->reducible_now), excess->excess - excess->reducible_now);
}

void
spinpanel_plan_excess(const PlanPool *pool, const PlanOptions *options, PlanExcess *excess)
{
	const char *blocked = must_not(pool, options->now);
	PlanSeats seats;
	PlanText text;
	int32_t i;

	memset(excess, 0, sizeof(*excess));
	spinpanel_seats_figures(pool, options->now, &seats);
	excess->owned = (int32_t) least(seats.owned, INT32_MAX);
	excess->foreign_seats = (int32_t) least(seats.foreign, INT32_MAX);
	excess->floor = (int32_t) least(
		seats.floor - seats.absent > seats.need ? seats.floor - seats.absent : seats.need,
		INT32_MAX);
	excess->excess = (int32_t) least(seats.excess, INT32_MAX);
	excess->next_renewal = PLAN_NEVER;
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		PlanTime end = spinpanel_seats_term_end(s);

		if (spinpanel_seats_counts(s) && end > options->now && end < excess->next_renewal)
			excess->next_renewal = end;
	}

	if (blocked == NULL && excess->excess > 0)
		reducible(pool, options, excess);
	if (blocked == NULL && !pool->adjust && !options->ignore_switch)
		blocked = PLAN_SWITCHED_OFF;
	spinpanel_plan_text_begin(&text, excess->blocked_by, sizeof(excess->blocked_by));
	if (must_not(pool, options->now) == NULL && lacks_seats(pool, &seats) &&
		pool->consumed > seats.owned + seats.foreign)
		explain_lack(pool, &seats, &text);
	else if (blocked != NULL)
		spinpanel_plan_text_add(&text, "%s", blocked);
}
