/*
 * request_plan.c
 *
 * See request_plan.h.  Order of the decisions: each request by itself (what it
 * waits for is over; another one of its user comes first; what it can be told at
 * once), then pool by pool what is free, what is tried and what is bought, then
 * one operation of each user.  What cannot be licensed never costs a seat.
 *
 * It must never buy while a seat may be free, nor let a request take a seat that
 * an older one of the pool could have had.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "decide/request_plan.h"

#define MILLISECOND (PLAN_SECOND / 1000)

/* Looked at again in case nobody wakes them. */
#define SOON (500 * MILLISECOND)
#define BLOCKED (5 * PLAN_SECOND)
#define OTHERS (30 * PLAN_SECOND)
#define OPERATION_PATIENCE (60 * PLAN_SECOND)
#define LONGEST (60 * PLAN_SECOND)
#define FIRST_TRY (2 * PLAN_SECOND)

/* How far the planner is with a request that is to be decided. */
enum
{
	STAGE_NONE, /* it has its effect, or none */
	STAGE_SEAT, /* wants a seat */
	STAGE_ASSIGN, /* has one: its user is next */
	STAGE_RELEASE
};

typedef struct Planning
{
	const AskCustomer *customer;
	AskPool *pools;
	AskUser *users;
	const AskRequest *requests;
	AskPlan *plan;
	int64_t allowance; /* what the purchase limit leaves; it is one for all pools */
} Planning;

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
greatest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* later, and never beyond the end of time */
static PlanTime
after(PlanTime moment, PlanTime span)
{
	return moment > PLAN_NEVER - span ? PLAN_NEVER : moment + span;
}

/* How long ago: any two moments will do. */
static PlanTime
since(const AskCustomer *c, PlanTime moment)
{
	if (moment < 0 && c->now > INT64_MAX + moment)
		return INT64_MAX;
	if (moment > 0 && c->now < INT64_MIN + moment)
		return INT64_MIN;
	return c->now - moment;
}

/* ---- effects ------------------------------------------------------------------------ */

static void set_effect(Planning *p, int32_t i, AskEffectKind kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void
set_effect(Planning *p, int32_t i, AskEffectKind kind, const char *format, ...)
{
	AskEffect *e = &p->plan->effects[i];

	e->kind = kind;
	e->stage = STAGE_NONE;
	e->text[0] = '\0';
	if (format != NULL)
	{
		va_list args;

		va_start(args, format);
		vsnprintf(e->text, sizeof(e->text), format, args);
		va_end(args);
	}
}

static void
set_wait(Planning *p, int32_t i, AskReason reason, PlanTime span, int64_t other, const char *text)
{
	AskEffect *e = &p->plan->effects[i];

	set_effect(p, i, ASK_WAIT, text != NULL ? "%s" : NULL, text);
	e->reason = reason;
	e->until = after(p->customer->now, span);
	e->other = other;
}

/* Who waits for something that may take long asks less and less often. */
static PlanTime
patient(const Planning *p, int32_t i, PlanTime shortest)
{
	PlanTime age = since(p->customer, p->requests[i].created_at);

	return greatest(shortest, least(age / 8, LONGEST));
}

/* Its seat is on the way: after 2 seconds, 4, 8, ... */
static void
wait_for_seat(Planning *p, int32_t i)
{
	PlanTime longest = least(LONGEST, greatest(p->customer->retry_max, SOON));
	PlanTime span = FIRST_TRY;
	int32_t n;

	for (n = 0; n < p->requests[i].attempts && span < longest; n++)
		span *= 2;
	set_wait(p, i, ASK_FOR_SEAT, least(span, longest), 0,
			 p->requests[i].seat_bought ? "the seat bought for it cannot be assigned yet"
										: "the seat for it does not show yet");
}

/* ---- one request by itself ------------------------------------------------------------ */

static bool
in_progress(const AskRequest *r)
{
	return r->status != ASK_QUEUED || r->operation != ASK_NO_OPERATION || r->seat_bought;
}

/* It waited for something that is over, or still does; true: that is all about it. */
static bool
is_settled(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];

	if (r->follows != 0)
	{
		switch (r->leader_status)
		{
			case ASK_DONE:
				set_effect(p, i, ASK_FINISH_DONE, NULL);
				break;
			case ASK_FAILED:
				set_effect(p, i, ASK_FINISH_FAILED, "%s",
						   r->leader_error != NULL ? r->leader_error
												   : "the request that it followed failed");
				break;
			case ASK_CANCELLED:
				set_effect(p, i, ASK_AGAIN, NULL);
				break;
			default:
				set_wait(p, i, ASK_FOR_LEADER, OTHERS, r->follows, NULL);
				break;
		}
		return true;
	}
	if (r->status == ASK_BUYING)
	{
		if (r->purchase == ASK_OPERATION_OPEN)
			set_wait(p, i, ASK_FOR_PURCHASE, OPERATION_PATIENCE, 0, NULL);
		else
			set_effect(p, i, r->purchase_done ? ASK_TAKE_SEAT : ASK_AGAIN, NULL);
		return true;
	}
	if (r->status == ASK_ASSIGNING || r->operation != ASK_NO_OPERATION)
	{
		if (r->operation == ASK_OPERATION_OPEN)
			set_wait(p, i, ASK_FOR_USER, OPERATION_PATIENCE, 0, NULL);
		else
			set_effect(p, i, ASK_AGAIN, NULL);
		return true;
	}
	return false;
}

/*
 * Does it stand in the way of younger ones of a kind?  One that follows ends with its
 * leader: it leads nobody (that one might come to follow itself), but may become free
 * again, and then the other kind must not have gone ahead of it.
 */
static bool
stands(const Planning *p, int32_t i, bool release)
{
	const AskRequest *r = &p->requests[i];
	const AskEffect *e = &p->plan->effects[i];
	int64_t leader = r->leader_status != ASK_CANCELLED ? r->follows : 0;

	if (e->kind == ASK_FINISH_DONE || e->kind == ASK_FINISH_FAILED ||
		e->kind == ASK_FINISH_CANCELLED)
		return false;
	if (e->kind == ASK_FOLLOW)
		leader = e->other;
	/* The place of one that follows a younger one is the place of that. */
	return leader == 0 || (leader < r->id && r->release != release);
}

/*
 * The older one of its user and pool becomes the nearest that stands in the way.  They
 * are decided from the oldest on, so what lies before that one is known already.
 */
static void
pass_by(Planning *p, int32_t i)
{
	AskEffect *e = &p->plan->effects[i];
	int32_t kind;

	for (kind = 0; kind < 2; kind++)
		if (e->older[kind] >= 0 && !stands(p, e->older[kind], kind == 1))
			e->older[kind] = p->plan->effects[e->older[kind]].older[kind];
}

/*
 * Requests of one user and SKU go one after the other, and the last one asked for
 * decides in the end.  True: it is not its turn.
 */
static bool
comes_later(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];
	AskEffect *e = &p->plan->effects[i];
	int32_t begun = e->begun;
	int32_t older = e->older[r->release ? 1 : 0];
	int32_t in_the_way = older >= 0 ? older : begun;
	bool opposed; /* one of the other kind lies between them */

	if (!r->release && e->opposite >= 0)
	{
		set_effect(p, i, ASK_FINISH_CANCELLED, "the licence is to be released");
		return true;
	}
	/* That one found that its user does not hold the licence. */
	if (r->release && begun >= 0 && !p->requests[begun].release)
	{
		set_effect(p, i, ASK_FINISH_CANCELLED, "the licence was asked for again since");
		return true;
	}
	if (in_the_way < 0)
		return false;
	opposed = p->requests[in_the_way].release != r->release ||
			  (in_the_way == begun && e->opposite >= 0 && e->opposite < begun);
	if (!opposed)
	{
		set_effect(p, i, ASK_FOLLOW, "the same as request %lld",
				   (long long) p->requests[in_the_way].id);
		e->reason = ASK_FOR_LEADER;
		e->other = p->requests[in_the_way].id;
		e->until = after(p->customer->now, OTHERS);
	}
	else
	{
		int64_t id = p->requests[in_the_way].id;

		set_wait(p, i, ASK_FOR_USER, patient(p, i, PLAN_SECOND), id, NULL);
		snprintf(e->text, sizeof(e->text), "waits for request %lld of the same user",
				 (long long) id);
	}
	return true;
}

static int32_t
new_group(Planning *p, AskUser *user)
{
	user->group = p->plan->group_count++;
	return user->group;
}

/* What its user needs or has; the pool is asked next. */
static void
look_at_user(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];
	AskUser *user = &p->users[r->user];

	if (r->held)
	{
		set_effect(p, i, ASK_FINISH_DONE, "the user holds the licence");
		return;
	}
	if (user->has_location)
	{
		p->plan->effects[i].stage = STAGE_SEAT;
		return;
	}
	if (!p->customer->has_location)
		set_effect(
			p, i, ASK_FINISH_FAILED,
			"the user has no usage location, and the customer's settings name none: set one at the user, or usage_location with set_relationship()");
	else if (user->busy)
		set_wait(p, i, ASK_FOR_USER, patient(p, i, BLOCKED), 0, NULL);
	else
	{
		set_effect(p, i, ASK_SET_LOCATION, NULL);
		p->plan->effects[i].group = user->group >= 0 ? user->group : new_group(p, user);
	}
}

static void
decide_alone(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];

	if (is_settled(p, i))
		return;
	if (r->status == ASK_PROVISIONING)
	{
		if (r->seat_bought && r->wrong_sku)
			set_effect(
				p, i, ASK_FINISH_FAILED,
				"the seat bought for it is of another SKU: the rule's default_offer is not an offer of this one");
		else
			p->plan->effects[i].stage = STAGE_SEAT;
		return;
	}
	/* Not looked up yet, or again: the next turn. */
	if (r->user < 0 || !r->looked)
		return;
	if (!in_progress(r) && comes_later(p, i))
		return;
	if (!r->release)
		look_at_user(p, i);
	else if (r->held)
		p->plan->effects[i].stage = STAGE_RELEASE;
	else
		set_effect(p, i, ASK_FINISH_DONE, "the user does not hold the licence");
}

/* ---- can it be bought? ------------------------------------------------------------------ */

/* What the purchase limit leaves; may be below zero. */
static int64_t
allowance_of(const AskCustomer *c)
{
	return greatest((int64_t) c->limit_percent * c->owned / 100, c->limit_seats) -
		   c->bought_recently;
}

static int32_t
narrow(int64_t value)
{
	return (int32_t) greatest(0, least(value, INT32_MAX));
}

AskBuyable
spinpanel_request_can_buy(const AskCustomer *c, const AskPool *pool, bool approved, int32_t wanted,
						  NeedSource *source, int32_t *seats, char *why, size_t why_size)
{
	int64_t room;

	*seats = 0;
	if (why_size > 0)
		why[0] = '\0';
	memset(source, 0, sizeof(*source));
	source->subscription = -1;
	if (!c->purchases)
	{
		snprintf(why, why_size, "purchases are off for this customer");
		return ASK_BUY_OFF;
	}
	spinpanel_need_source(pool->plan, pool->terms, &pool->rule, c->now, source);
	if (source->kind == NEED_NOTHING)
	{
		snprintf(why, why_size, "%s", source->why);
		return ASK_BUY_NO_SOURCE;
	}
	room = source->room;
	if (pool->max_seats >= 0)
	{
		room = least(room, (int64_t) pool->max_seats - pool->owned);
		if (source->kind == NEED_REACTIVATE && room < source->room)
		{
			snprintf(
				why, why_size,
				"its suspended subscription would come back with %d seats, and the rule allows no more than %d seats in all",
				(int) source->room, (int) pool->max_seats);
			return ASK_BUY_MAX_SEATS;
		}
	}
	if (room <= 0)
	{
		snprintf(why, why_size, "the rule allows no more than %d seats", (int) pool->max_seats);
		return ASK_BUY_MAX_SEATS;
	}
	if (!approved)
	{
		int64_t allowance = allowance_of(c);

		if (allowance < (source->kind == NEED_REACTIVATE ? source->room : 1))
		{
			snprintf(why, why_size, "the purchase limit of %d%% or %d seats within 24 hours",
					 (int) c->limit_percent, (int) c->limit_seats);
			return ASK_BUY_APPROVAL;
		}
		if (source->kind != NEED_REACTIVATE)
			room = least(room, allowance);
	}
	*seats = narrow(least(wanted, room));
	return *seats < wanted ? ASK_BUY_NOT_SO_MANY : ASK_BUY_YES;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *
or_default(const char *value, const char *if_null)
{
	return value != NULL ? value : if_null;
}

int32_t
spinpanel_request_may_send(const AskCustomer *c, const AskPool *pool, const AskSending *sending,
						   char *why, size_t why_size)
{
	const PlanSubscription *s =
		sending->subscription < 0 ? NULL : &pool->plan->subscriptions[sending->subscription];
	int64_t cost = sending->kind == NEED_REACTIVATE && s != NULL ? s->quantity : 1;
	int64_t seats = least(sending->seats, sending->linked);
	int64_t need;

	if (why_size > 0)
		why[0] = '\0';
	if (seats <= 0)
	{
		snprintf(why, why_size, "nobody needs the seats any more");
		return 0;
	}
	if (!c->purchases)
	{
		snprintf(why, why_size, "purchases have been switched off since");
		return 0;
	}
	if (sending->kind == NEED_ORDER)
	{
		if (pool->rule.default_offer == NULL ||
			!same_text(pool->rule.default_offer, sending->offer) ||
			!same_text(or_default(pool->rule.term_duration, NEED_TERM), sending->term_duration) ||
			!same_text(or_default(pool->rule.billing_cycle, NEED_CYCLE), sending->billing_cycle))
		{
			snprintf(why, why_size, "the rule names another offer, term or billing cycle by now");
			return 0;
		}
	}
	else if (sending->kind == NEED_RAISE && s != NULL)
	{
		const char *obstacle =
			spinpanel_need_obstacle(s, &pool->terms[sending->subscription], &pool->rule);

		if (obstacle != NULL)
		{
			snprintf(why, why_size, "%s by now", obstacle);
			return 0;
		}
	}
	else if (sending->kind == NEED_REACTIVATE && s != NULL &&
			 !spinpanel_need_reactivable(s, &pool->terms[sending->subscription], &pool->rule))
	{
		snprintf(why, why_size, "its subscription is not one to reactivate by now");
		return 0;
	}
	if (pool->max_seats >= 0)
	{
		int64_t room = (int64_t) pool->max_seats - pool->owned;

		if (room < cost)
		{
			snprintf(why, why_size, "the rule allows no more than %d seats, and %d are owned",
					 (int) pool->max_seats, (int) pool->owned);
			return 0;
		}
		seats = least(seats, room);
	}
	if (!sending->approved)
	{
		int64_t allowance = allowance_of(c);

		if (allowance < cost)
		{
			snprintf(why, why_size,
					 "it would be more than the purchase limit of %d%% or %d seats allows by now",
					 (int) c->limit_percent, (int) c->limit_seats);
			return 0;
		}
		if (sending->kind != NEED_REACTIVATE)
			seats = least(seats, allowance);
	}
	need = spinpanel_need(&pool->figures);
	if (need <= 0)
	{
		snprintf(
			why, why_size, "%d seats are free by now",
			(int) narrow(greatest(
				0, spinpanel_need_free(&pool->figures) +
					   (pool->figures.increment ? 0 : spinpanel_need_doubtful(&pool->figures)))));
		return 0;
	}
	return narrow(least(seats, need));
}

/* ---- one pool ------------------------------------------------------------------------------ */

bool
spinpanel_request_told(const AskCustomer *c, const AskPool *pool, const AskRequest *r)
{
	return r->refused_at != 0 && since(c, r->refused_at) < c->settle_time &&
		   pool->freed_at < r->refused_at;
}

/* Does it lack a seat in this pass?  (They are marked by their group.) */
#define LACKING (-2)

static bool
lacks(const Planning *p, int32_t i)
{
	return p->plan->effects[i].stage == STAGE_SEAT && p->plan->effects[i].group == LACKING;
}

static void
give_seat(Planning *p, int32_t i, int64_t *level)
{
	AskEffect *e = &p->plan->effects[i];

	e->stage = STAGE_ASSIGN;
	e->level = narrow(++*level);
}

#define FOR_EACH_LACKING(p, pool, i) \
	for (i = (pool)->first; i >= 0; i = (p)->plan->effects[i].next_of_pool) \
		if (lacks(p, i))

/* Nobody of the pool goes on before that. */
static void
all_wait(Planning *p, const AskPool *pool, AskReason reason, PlanTime span, bool patiently,
		 const char *text)
{
	int32_t i;

	FOR_EACH_LACKING(p, pool, i)
	set_wait(p, i, reason, patiently ? patient(p, i, span) : span, 0, text);
}

static void
all_fail(Planning *p, const AskPool *pool, const char *why)
{
	int32_t i;

	FOR_EACH_LACKING(p, pool, i)
	set_effect(p, i, ASK_FINISH_FAILED, "%s", why);
}

/* Seats have to be bought: can they, where from, and who has let it pass? */
static void
prepare_purchase(Planning *p, int32_t pool_index)
{
	const AskCustomer *c = p->customer;
	AskPool *pool = &p->pools[pool_index];
	char why[ASK_TEXT];
	char text[ASK_TEXT + 60];
	int32_t lacking = 0;
	int32_t i;

	FOR_EACH_LACKING(p, pool, i)
	{
		const AskRequest *r = &p->requests[i];

		if (r->approval == ASK_APPROVAL_REJECTED)
			set_effect(p, i, ASK_FINISH_FAILED, "buying a seat for it was rejected%s%s",
					   r->decision != NULL && r->decision[0] ? ": " : "",
					   r->decision != NULL ? r->decision : "");
		else
			lacking++;
	}
	if (lacking == 0)
		return;

	/* One change of quantity at a time; its end wakes them. */
	if (c->purchases && pool->buying)
	{
		all_wait(p, pool, ASK_FOR_PURCHASE, BLOCKED, true, "waits for a purchase in this pool");
		return;
	}
	if (c->purchases && pool->unread > 0)
	{
		all_wait(p, pool, ASK_FOR_ORDER, BLOCKED, true,
				 "waits for an order of this pool whose subscription cannot be read yet");
		return;
	}

	switch (spinpanel_request_can_buy(c, pool, true, lacking, &pool->source, &pool->room, why,
									  sizeof(why)))
	{
		case ASK_BUY_OFF:
		case ASK_BUY_MAX_SEATS:
			snprintf(text, sizeof(text), "no free seat, and %s", why);
			all_fail(p, pool, text);
			return;
		case ASK_BUY_NO_SOURCE:
			snprintf(text, sizeof(text), "no free seat, and none can be bought: %s", why);
			all_fail(p, pool, text);
			return;
		default:
			break;
	}
	pool->buys = true;

	/* What a person let pass is not held again: it goes first. */
	FOR_EACH_LACKING(p, pool, i)
	{
		const AskRequest *r = &p->requests[i];

		if (pool->adjustment == 0 && r->approval == ASK_APPROVAL_GRANTED && r->approved_seats > 0)
		{
			pool->adjustment = r->adjustment;
			pool->approved = r->approved_seats;
		}
	}
}

/* One more of those for which seats are to be bought; they come oldest first. */
static void
choose(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];
	AskPool *pool = &p->pools[r->pool];
	AskEffect *e = &p->plan->effects[i];
	int64_t *left = pool->adjustment != 0 ? &pool->approved : &p->allowance;
	int64_t cost = 1;
	int64_t cap = r->buy_most > 0 ? least(pool->most, r->buy_most) : pool->most;

	if (pool->full || (pool->adjustment != 0 && r->adjustment != pool->adjustment))
		return;
	if (pool->chosen >= pool->room || pool->chosen >= cap)
	{
		pool->full = true;
		return;
	}
	/* All that a reactivated subscription has is paid for. */
	if (pool->source.kind == NEED_REACTIVATE && pool->adjustment == 0)
		cost = pool->chosen == 0 ? pool->source.room : 0;
	if (*left < cost)
		return;
	*left -= cost;
	pool->most = cap;
	pool->chosen++;
	set_effect(p, i, ASK_BUY, NULL);
	e->level = narrow((int64_t) pool->figures.active + pool->figures.unshown + pool->chosen);
}

/* What was chosen is one purchase; the others wait, or ask a person. */
static void
finish_purchase(Planning *p, int32_t pool_index)
{
	const AskCustomer *c = p->customer;
	AskPool *pool = &p->pools[pool_index];
	char text[ASK_TEXT];
	int32_t others = 0;
	int32_t i;

	FOR_EACH_LACKING(p, pool, i)
	others++;
	if (pool->chosen > 0)
	{
		AskPurchase *purchase = &p->plan->purchases[p->plan->purchase_count];

		for (i = pool->first; i >= 0; i = p->plan->effects[i].next_of_pool)
		{
			AskEffect *e = &p->plan->effects[i];

			if (e->kind != ASK_BUY)
				continue;
			e->group = p->plan->purchase_count;
			snprintf(e->text, sizeof(e->text),
					 "one of %d seat(s) to buy: %d active units, %d assigned as reported, %d free",
					 (int) pool->chosen, (int) pool->figures.active, (int) pool->figures.consumed,
					 (int) narrow(spinpanel_need_free(&pool->figures)));
		}
		purchase->pool = pool_index;
		purchase->source = pool->source;
		purchase->seats = pool->chosen;
		purchase->adjustment = pool->adjustment;
		p->plan->purchase_count++;
	}
	if (others == 0)
		return;

	/* As many as go at once, or the approved ones first: next turn. */
	if (pool->full || pool->adjustment != 0)
	{
		all_wait(p, pool, ASK_FOR_PURCHASE, BLOCKED, false, "waits for a purchase in this pool");
		return;
	}
	snprintf(
		text, sizeof(text),
		"%d seat(s) more would be more than the purchase limit of %d%% or %d seats within 24 hours allows",
		(int) others, (int) c->limit_percent, (int) c->limit_seats);
	FOR_EACH_LACKING(p, pool, i)
	{
		PlanTime until = after(c->now, ASK_APPROVAL_LOOK);
		AskEffect *e = &p->plan->effects[i];

		set_effect(p, i, ASK_ASK_PERSON, "%s", text);
		e->reason = ASK_FOR_APPROVAL;
		e->until = c->limit_until > c->now ? least(until, c->limit_until) : until;
	}
}

/* Under auto increment every request buys one, where one can be bought at all. */
static bool
increments(const Planning *p, const AskPool *pool)
{
	NeedSource source;
	int32_t seats;
	char why[ASK_TEXT];

	if (!p->customer->increment)
		return false;
	switch (
		spinpanel_request_can_buy(p->customer, pool, true, 1, &source, &seats, why, sizeof(why)))
	{
		case ASK_BUY_YES:
			return true;
		default:
			return false;
	}
}

/* Another operation of its user is to end first. */
static bool
is_held_up(const Planning *p, int32_t i)
{
	int32_t user = p->requests[i].user;

	return user >= 0 && (p->users[user].busy || p->users[user].group >= 0);
}

/*
 * A seat beyond the free ones may be there after all: one request tries, the oldest
 * that can right now (else one user's trouble would be that of all).  True: nothing
 * is bought before that is known.
 */
static bool
try_first(Planning *p, AskPool *pool, bool increment, int64_t assigned, int64_t *level)
{
	const AskCustomer *c = p->customer;
	int32_t first = -1;
	int32_t i;

	if (spinpanel_need_free(&pool->figures) + spinpanel_need_doubtful(&pool->figures) - assigned <=
			0 ||
		spinpanel_need_doubtful(&pool->figures) <= 0)
		return false;
	FOR_EACH_LACKING(p, pool, i)
	{
		const AskRequest *r = &p->requests[i];

		if ((first < 0 || (is_held_up(p, first) && !is_held_up(p, i))) &&
			(!increment || r->stock_only) && !spinpanel_request_told(c, pool, r))
			first = i;
	}
	if (first < 0)
		return false;

	/* One after the other; nor is a seat tried that was bought for somebody. */
	if ((pool->figures.claimed > 0 || assigned > 0 || pool->figures.reserved > 0) &&
		since(c, p->requests[first].created_at) < ASK_RESERVED_PATIENCE)
		set_wait(p, first, ASK_FOR_TRY, SOON, 0, "waits to try whether a seat is free");
	else
		give_seat(p, first, level);
	all_wait(p, pool, ASK_FOR_TRY, SOON, true, "waits to try whether a seat is free");
	return true;
}

static void
decide_pool(Planning *p, int32_t pool_index)
{
	const AskCustomer *c = p->customer;
	AskPool *pool = &p->pools[pool_index];
	const NeedFigures *f = &pool->figures;
	int64_t free_seats = greatest(0, spinpanel_need_free(f));
	/* A release that the report shows already counts twice: no harm while nobody's
	 * seat is there to be taken. */
	int64_t sure = f->reserved > 0 ? spinpanel_need_free(f) - f->released : free_seats;
	int64_t level = (int64_t) f->consumed + f->claimed + f->unreported;
	/* What can be assigned right now, whoever it is meant for. */
	int64_t assignable =
		(int64_t) f->active - f->consumed - f->claimed - f->unreported + f->released - f->removing;
	int64_t assigned = 0;
	bool increment = increments(p, pool);
	bool tried = false;
	bool lacking = false;
	bool impatient = false;
	int32_t i;

	for (i = pool->first; i >= 0; i = p->plan->effects[i].next_of_pool)
	{
		const AskRequest *r = &p->requests[i];

		if (p->plan->effects[i].stage != STAGE_SEAT || !r->seat_bought)
			continue;

		/* The report lags: now and then the oldest tries without it. */
		if (assignable > 0 || f->active >= r->active_level ||
			(!tried && r->attempts > 0 && r->attempts % 2 == 0) ||
			since(c, r->provisioning_at) > c->provisioning_timeout)
		{
			assignable--;
			assigned++;
			give_seat(p, i, &level);
		}
		else
			wait_for_seat(p, i);
		tried = true;
	}
	if (!pool->subscriptions_read)
		return;

	assigned = 0;
	for (i = pool->first; i >= 0; i = p->plan->effects[i].next_of_pool)
	{
		const AskRequest *r = &p->requests[i];

		if (p->plan->effects[i].stage != STAGE_SEAT || r->seat_bought)
			continue;
		if (free_seats > 0 && (!increment || r->stock_only) && !spinpanel_request_told(c, pool, r))
		{
			free_seats--;
			if (sure-- <= 0 && since(c, r->created_at) < ASK_RESERVED_PATIENCE)
				set_wait(p, i, ASK_FOR_RESERVED, SOON, 0,
						 "waits for seats bought before it to be assigned");
			else if (assignable <= 0)
				wait_for_seat(p, i); /* it is on its way, and shows later */
			else
			{
				assignable--;
				assigned++;
				give_seat(p, i, &level);
			}
			continue;
		}
		p->plan->effects[i].group = LACKING;
		lacking = true;
		impatient = impatient || since(c, r->looked_at) > ASK_LOOK_PATIENCE;
	}
	if (!lacking || try_first(p, pool, increment, assigned, &level))
		return;

	/* One change of quantity is to serve all; but not for long. */
	if (pool->unlooked > 0 && !impatient)
	{
		all_wait(p, pool, ASK_FOR_LOOKS, ASK_LOOK_PATIENCE, false, NULL);
		return;
	}
	if (pool->release_since != 0 && since(c, pool->release_since) < ASK_RELEASE_PATIENCE)
	{
		all_wait(p, pool, ASK_FOR_RELEASE, SOON, false, "waits for a release in this pool");
		return;
	}
	prepare_purchase(p, pool_index);
}

/* ---- one user --------------------------------------------------------------------------------- */

/* One operation at a time, in the order of what was asked for. */
static void
decide_user(Planning *p, AskUser *user)
{
	int32_t first = -1;
	bool open = true; /* more may join */
	int32_t i;

	for (i = user->first; i >= 0; i = p->plan->effects[i].next_of_user)
	{
		const AskRequest *r = &p->requests[i];
		AskEffect *e = &p->plan->effects[i];

		if (e->stage != STAGE_ASSIGN && e->stage != STAGE_RELEASE)
			continue;
		if (user->busy || (first < 0 && user->group >= 0))
		{
			set_wait(p, i, ASK_FOR_USER, patient(p, i, BLOCKED), 0,
					 "waits for another change of the same user");
			continue;
		}
		if (first < 0)
		{
			first = i;
			(void) new_group(p, user);
			/* What was refused together is tried one by one. */
			open = r->attempts == 0;
		}
		else if (!open || r->attempts != 0 || r->release != p->requests[first].release)
		{
			open = false;
			set_wait(p, i, ASK_FOR_USER, patient(p, i, BLOCKED), p->requests[first].id,
					 "waits for another change of the same user");
			continue;
		}
		if (e->stage == STAGE_RELEASE)
			set_effect(p, i, ASK_RELEASE, "the licence is taken back");
		else
			set_effect(p, i, ASK_ASSIGN, "%s",
					   r->seat_bought ? "on the seat bought for it" : "on a free seat");
		e->group = user->group;
	}
}

/* ---- the plan ------------------------------------------------------------------------------------ */

static void
append(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];
	AskEffect *e = &p->plan->effects[i];
	AskPool *pool = &p->pools[r->pool];

	/* Member by member: the text is long, and mostly empty. */
	e->kind = ASK_KEEP;
	e->reason = ASK_FOR_NOTHING;
	e->until = 0;
	e->other = 0;
	e->text[0] = '\0';
	e->stage = STAGE_NONE;
	e->group = -1;
	e->level = -1;
	e->next_of_user = e->next_of_pool = -1;
	e->older[0] = e->older[1] = e->begun = e->opposite = -1;
	if (pool->last >= 0)
		p->plan->effects[pool->last].next_of_pool = i;
	else
		pool->first = i;
	pool->last = i;
	if (r->user < 0)
		return;
	if (p->users[r->user].last >= 0)
		p->plan->effects[p->users[r->user].last].next_of_user = i;
	else
		p->users[r->user].first = i;
	p->users[r->user].last = i;
}

/* The requests of one user and one pool, each with those beside it. */
static void
link_user(Planning *p, int32_t user_index)
{
	int32_t i;

	for (i = p->users[user_index].first; i >= 0; i = p->plan->effects[i].next_of_user)
	{
		AskPool *pool = &p->pools[p->requests[i].pool];

		if (p->requests[i].status > ASK_ASSIGNING)
			continue;
		if (pool->user == user_index)
			p->plan->effects[i].older[0] = p->plan->effects[i].older[1] = pool->latest;
		pool->user = user_index;
		pool->latest = i;
	}
}

/* From the youngest to the oldest: what lies after each is known by then. */
static void
link_younger(Planning *p, int32_t i)
{
	const AskRequest *r = &p->requests[i];
	const AskEffect *e = &p->plan->effects[i];
	const AskRequest *o;
	AskEffect *older;

	if (e->older[0] < 0)
		return;
	o = &p->requests[e->older[0]];
	older = &p->plan->effects[e->older[0]];
	older->begun = in_progress(r) ? i : e->begun;
	older->opposite = r->release != o->release ? i : e->opposite;
}

void
spinpanel_request_plan(const AskCustomer *customer, AskPool *pools, int32_t pool_count,
					   AskUser *users, int32_t user_count, const AskRequest *requests,
					   int32_t request_count, AskPlan *plan)
{
	Planning planning = { customer, pools, users, requests, plan, allowance_of(customer) };
	Planning *p = &planning;
	int32_t i;

	plan->purchase_count = 0;
	plan->group_count = 0;
	for (i = 0; i < pool_count; i++)
	{
		AskPool *pool = &pools[i];

		pool->first = pool->last = pool->user = pool->latest = -1;
		pool->buys = pool->full = false;
		pool->room = pool->chosen = 0;
		pool->most = INT32_MAX;
		pool->adjustment = pool->approved = 0;
	}
	for (i = 0; i < user_count; i++)
		users[i].first = users[i].last = users[i].group = -1;
	for (i = 0; i < request_count; i++)
		append(p, i);
	for (i = 0; i < user_count; i++)
		link_user(p, i);
	for (i = request_count - 1; i >= 0; i--)
		link_younger(p, i);

	for (i = 0; i < request_count; i++)
	{
		pass_by(p, i);
		if (requests[i].due)
			decide_alone(p, i);
	}
	for (i = 0; i < pool_count; i++)
		if (pools[i].read)
			decide_pool(p, i);
	for (i = 0; i < request_count; i++)
		if (pools[requests[i].pool].buys && lacks(p, i))
			choose(p, i);
	for (i = 0; i < pool_count; i++)
		if (pools[i].buys)
			finish_purchase(p, i);
	for (i = 0; i < request_count; i++)
		if (plan->effects[i].group == LACKING)
			plan->effects[i].group = -1;
	for (i = 0; i < user_count; i++)
		decide_user(p, &users[i]);
}

/* ---- "no seat is free" ------------------------------------------------------------------------------ */

AskNoSeat
spinpanel_request_no_seat(const AskCustomer *c, const AskPool *pool, const AskRequest *r,
						  int32_t lost, char *why, size_t why_size)
{
	const NeedFigures *f = &pool->figures;
	bool shown = f->active >= r->active_level && f->unshown <= 0;

	if (!r->seat_bought)
	{
		/*
		 * The free seat may have gone to one of ours whose own does not show
		 * yet: that one is coming for this one.  Seats that are coming for others
		 * are no reason to wait, nor to try again and again until one of them can
		 * be taken; nor are those that do not show and are in use already.
		 */
		int64_t coming = (int64_t) f->unshown - f->reserved;
		int64_t unused = (int64_t) f->active + f->unshown - f->consumed - f->unreported +
						 f->released - f->reserved;

		if (coming > 0 && unused > 0)
		{
			snprintf(why, why_size, "no seat is free yet: seats bought before do not show so far");
			return ASK_NO_SEAT_YET;
		}
		snprintf(why, why_size,
				 "Partner Center says that no seat is free, whatever its report shows");
		return ASK_NO_SEAT_BUY;
	}
	if (shown && f->consumed >= f->active)
	{
		if (lost > 0)
		{
			snprintf(why, why_size, "seats that were bought for it were taken by others twice");
			return ASK_NO_SEAT_FAIL;
		}
		snprintf(why, why_size, "somebody else took the seat bought for it");
		return ASK_NO_SEAT_LOST;
	}
	if (since(c, r->provisioning_at) <= c->provisioning_timeout)
	{
		snprintf(why, why_size, "the seat bought for it cannot be assigned yet");
		return ASK_NO_SEAT_YET;
	}

	/* Its seat never came, or is free by the report: another one would be no better. */
	snprintf(
		why, why_size, "%s",
		shown
			? "Partner Center says that no seat is free, and reports free seats; the seat bought for it could not be assigned in time"
			: "the seat that was bought for it has not become assignable in time");
	return ASK_NO_SEAT_FAIL;
}
