/*
 * request_model.c
 *
 * See request_model.h.  Each rule is one function that looks at all requests again; who
 * reads it should be able to say "that is what was meant" without running it.  Nothing
 * here is quick, and nothing is taken from the planner.
 */
#include "request_model.h"

#include <stdio.h>
#include <string.h>

#define SECONDS(n) ((n) *PLAN_SECOND)

/* ---- seats ---------------------------------------------------------------------------- */

/* Units that somebody has, or is about to have. */
static int64_t
model_taken(const NeedFigures *n)
{
	return (int64_t) n->consumed /* as reported */
		   + n->claimed /* on their way */
		   + n->unreported /* done, and the report lags */
		   - n->released; /* given back, and the report lags */
}

int64_t
model_free(const NeedFigures *n)
{
	/* Active units that nobody has, less those that are no stock ... */
	int64_t stock = n->active - model_taken(n) - n->trial - n->removing - n->ending;

	/* ... and less those that were bought for somebody and show already. */
	int64_t meant_for_others = (int64_t) n->reserved - n->unshown;

	return stock - meant_for_others;
}

/* Seats that may be free beside these: the report, or the active units, may lag. */
static int64_t
model_doubtful(const NeedFigures *n)
{
	if (n->refused > 0)
		return 0; /* it was tried: Partner Center said no */
	return (int64_t) n->unreported + n->lagging;
}

int64_t
model_need(const NeedFigures *n)
{
	int64_t may_be_free = model_free(n) + model_doubtful(n);
	int64_t need = n->open;

	if (n->increment)
		return need; /* every request buys one */
	if (may_be_free > 0)
		need -= may_be_free;
	if (need < n->refused)
		need = n->refused; /* whatever the report says */
	return need < 0 ? 0 : need;
}

/* What is left of its seats when its term is over */
static int64_t
model_left_after_term(const PlanSubscription *s, PlanTime now)
{
	bool ends = false;

	if (s->cancel_at_term)
		ends = true;
	else if (!s->auto_renew && !s->extended_term)
		/* a legacy one that is active although its end is past goes on */
		ends = !(s->commerce == PLAN_LEGACY && s->term_end <= now);
	if (ends || s->next_other_sku)
		return 0;
	if (s->next_quantity >= 0 && s->next_quantity < s->quantity)
		return s->next_quantity;
	return s->quantity;
}

static PlanWho
model_who_ends(const PlanSubscription *s, PlanTime now)
{
	PlanSubscription plain = *s;

	/* Is it its end that takes the seats, or what comes in the next term? */
	plain.next_other_sku = false;
	plain.next_quantity = -1;
	plain.quantity = 1;
	return model_left_after_term(&plain, now) == 0 ? s->end_by : s->next_by;
}

void
model_supply(const PlanPool *pool, PlanTime now, int32_t *trial, int32_t *ending)
{
	int32_t i;

	*trial = *ending = 0;
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		PlanTime lead = model_who_ends(s, now) == PLAN_OURS ? 26 * PLAN_HOUR : pool->renewal_lead;

		if (s->status != PLAN_ACTIVE || s->commerce == PLAN_OTHER)
			continue;
		if (s->trial)
			*trial += s->quantity;
		else if (s->term_end != PLAN_NEVER && s->term_end < now + lead)
			*ending += s->quantity - (int32_t) model_left_after_term(s, now);
	}
}

/* ---- where a seat would come from --------------------------------------------------------- */

static bool
model_same(const char *a, const char *b)
{
	char x[64];
	char y[64];
	size_t i;

	if (b == NULL)
		return false;
	snprintf(x, sizeof(x), "%s", a);
	snprintf(y, sizeof(y), "%s", b);
	for (i = 0; x[i]; i++)
		if (x[i] >= 'A' && x[i] <= 'Z')
			x[i] = (char) (x[i] - 'A' + 'a');
	for (i = 0; y[i]; i++)
		if (y[i] >= 'A' && y[i] <= 'Z')
			y[i] = (char) (y[i] - 'A' + 'a');
	return strcmp(x, y) == 0;
}

static bool
model_fits_rule(const NeedTerms *t, const NeedRule *rule)
{
	if (!t->usable)
		return false;
	if (rule->term_duration != NULL && !model_same(rule->term_duration, t->term_duration))
		return false;
	if (rule->billing_cycle != NULL && !model_same(rule->billing_cycle, t->billing_cycle))
		return false;
	return true;
}

/* A person's end is never undone; what becomes another product gives no seat for long. */
static bool
model_can_raise(const PlanSubscription *s, const NeedTerms *t, const NeedRule *rule)
{
	return s->commerce != PLAN_OTHER && !s->trial && s->status == PLAN_ACTIVE &&
		   s->end_by != PLAN_PERSON && !s->next_other_sku && s->quantity < s->maximum &&
		   s->changes < 1190 && model_fits_rule(t, rule);
}

static bool
model_can_reactivate(const PlanSubscription *s, const NeedTerms *t, const NeedRule *rule)
{
	return s->commerce != PLAN_OTHER && !s->trial && s->status == PLAN_SUSPENDED &&
		   s->suspended_by == PLAN_OURS && s->quantity > 0 && s->changes < 1190 &&
		   model_fits_rule(t, rule);
}

/* The shortest commitment, then the oldest; one that renews now only if there is no other. */
static int32_t
model_best(const PlanPool *pool, const NeedTerms *terms, const NeedRule *rule,
		   bool (*can)(const PlanSubscription *, const NeedTerms *, const NeedRule *))
{
	int32_t i;
	int32_t k;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];
		bool beaten = !can(s, &terms[i], rule);

		for (k = 0; k < pool->subscription_count && !beaten; k++)
		{
			const PlanSubscription *o = &pool->subscriptions[k];

			if (k == i || !can(o, &terms[k], rule))
				continue;
			if (o->renewing != s->renewing)
				beaten = s->renewing;
			else if (o->term_end != s->term_end)
				beaten = o->term_end < s->term_end;
			else if (o->created != s->created)
				beaten = o->created < s->created;
			else
				beaten = k < i;
		}
		if (!beaten)
			return i;
	}
	return -1;
}

NeedSourceKind
model_source(const PlanPool *pool, const NeedTerms *terms, const NeedRule *rule,
			 int32_t *subscription, int32_t *room)
{
	int32_t i;

	*room = 0;
	*subscription = model_best(pool, terms, rule, model_can_raise);
	if (*subscription >= 0)
	{
		*room = pool->subscriptions[*subscription].maximum -
				pool->subscriptions[*subscription].quantity;
		return NEED_RAISE;
	}
	*subscription = model_best(pool, terms, rule, model_can_reactivate);
	if (*subscription >= 0)
	{
		*room = pool->subscriptions[*subscription].quantity;
		return NEED_REACTIVATE;
	}
	/* What others suspended was suspended on purpose. */
	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (s->status == PLAN_SUSPENDED && s->suspended_by != PLAN_OURS && !s->trial &&
			s->commerce != PLAN_OTHER)
			return NEED_NOTHING;
	}
	if (rule->default_offer == NULL)
		return NEED_NOTHING;
	*room = INT32_MAX;
	return NEED_ORDER;
}

/* What the purchase limit leaves: the larger of its two numbers, less what was bought */
static int64_t
model_limit(const AskCustomer *c)
{
	int64_t percent = (int64_t) c->owned * c->limit_percent / 100;
	int64_t limit = percent > c->limit_seats ? percent : c->limit_seats;

	return limit - c->bought_recently;
}

/* So many seats of a source are paid for at once */
static int64_t
model_cost(NeedSourceKind kind, int32_t room, int64_t seats)
{
	return kind == NEED_REACTIVATE ? room : seats;
}

/* The largest purchase of up to wanted seats that nothing forbids */
static int32_t
model_most(const AskCustomer *c, const AskPool *p, bool approved, NeedSourceKind kind, int32_t room,
		   int32_t wanted)
{
	int32_t seats;

	for (seats = wanted; seats > 0; seats--)
	{
		int64_t cost = model_cost(kind, room, seats);

		if (seats > room)
			continue;
		if (p->max_seats >= 0 && p->owned + cost > p->max_seats)
			continue;
		if (!approved && cost > model_limit(c))
			continue;
		return seats;
	}
	return 0;
}

AskBuyable
model_can_buy(const AskCustomer *c, const AskPool *p, bool approved, int32_t wanted, int32_t *seats)
{
	int32_t subscription;
	int32_t room;
	NeedSourceKind kind;

	*seats = 0;
	if (!c->purchases)
		return ASK_BUY_OFF;
	kind = model_source(p->plan, p->terms, &p->rule, &subscription, &room);
	if (kind == NEED_NOTHING)
		return ASK_BUY_NO_SOURCE;
	if (model_most(c, p, true, kind, room, 1) == 0)
		return ASK_BUY_MAX_SEATS;
	*seats = model_most(c, p, approved, kind, room, wanted);
	if (*seats == 0)
		return ASK_BUY_APPROVAL;
	return *seats < wanted ? ASK_BUY_NOT_SO_MANY : ASK_BUY_YES;
}

/* ---- right before it is sent ------------------------------------------------------------------ */

static bool
model_equal(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

int32_t
model_may_send(const AskCustomer *c, const AskPool *p, const AskSending *sending)
{
	const PlanSubscription *s =
		sending->subscription >= 0 ? &p->plan->subscriptions[sending->subscription] : NULL;
	const NeedTerms *t = sending->subscription >= 0 ? &p->terms[sending->subscription] : NULL;
	int32_t room = INT32_MAX;
	int32_t wanted = sending->seats;

	if (!c->purchases)
		return 0;
	switch (sending->kind)
	{
		case NEED_RAISE:
			/* Up to its maximum: that is looked after where the target is reckoned. */
			if (!model_can_raise(s, t, &p->rule))
				return 0;
			break;
		case NEED_REACTIVATE:
			if (!model_can_reactivate(s, t, &p->rule))
				return 0;
			room = s->quantity;
			break;
		default:
			if (!model_equal(p->rule.default_offer, sending->offer))
				return 0;
			if (!model_equal(p->rule.term_duration ? p->rule.term_duration : "P1M",
							 sending->term_duration))
				return 0;
			if (!model_equal(p->rule.billing_cycle ? p->rule.billing_cycle : "monthly",
							 sending->billing_cycle))
				return 0;
			break;
	}
	if (wanted > sending->linked)
		wanted = sending->linked;
	if (wanted > model_need(&p->figures))
		wanted = (int32_t) model_need(&p->figures);

	/* A reactivation brings all of its seats, however many are needed. */
	if (sending->kind == NEED_REACTIVATE)
	{
		if (wanted <= 0 || (p->max_seats >= 0 && p->owned + room > p->max_seats) ||
			(!sending->approved && room > model_limit(c)))
			return 0;
		/* max_seats is counted in what is needed, too */
		if (p->max_seats >= 0 && wanted > p->max_seats - p->owned)
			return p->max_seats - p->owned;
		return wanted;
	}
	return model_most(c, p, sending->approved, sending->kind, room, wanted < 0 ? 0 : wanted);
}

AskNoSeat
model_no_seat(const AskCustomer *c, const AskPool *p, const AskRequest *r, int32_t lost)
{
	const NeedFigures *n = &p->figures;
	bool all_bought_shows = n->unshown <= 0;
	bool its_own_shows = all_bought_shows && n->active >= r->active_level;
	bool none_is_left = n->consumed >= n->active;
	int32_t coming_for_nobody = n->unshown - n->reserved;
	int32_t known_holders = n->consumed + n->unreported - n->released;
	int32_t left_for_others = n->active + n->unshown - known_holders - n->reserved;

	/* Nothing was bought for it: somebody has the seat, and it may be one of ours. */
	if (!r->seat_bought)
		return coming_for_nobody > 0 && left_for_others > 0 ? ASK_NO_SEAT_YET : ASK_NO_SEAT_BUY;
	if (its_own_shows && none_is_left)
		return lost > 0 ? ASK_NO_SEAT_FAIL : ASK_NO_SEAT_LOST;
	if (c->now > r->provisioning_at + c->provisioning_timeout)
		return ASK_NO_SEAT_FAIL;
	return ASK_NO_SEAT_YET;
}

/* ---- one request by itself ---------------------------------------------------------------------- */

static bool
is_over(AskEffectKind kind)
{
	return kind == ASK_FINISH_DONE || kind == ASK_FINISH_FAILED || kind == ASK_FINISH_CANCELLED;
}

/* Something was done for it already: it is not stopped by what was asked for later. */
static bool
has_begun(const AskRequest *r)
{
	return r->status != ASK_QUEUED || r->operation != ASK_NO_OPERATION || r->seat_bought;
}

/* The request that it ends with, if it follows one that is not gone; else 0 */
static int64_t
leader_of(const RequestModel *m, const RequestFixture *f, int32_t i)
{
	const AskRequest *r = &f->requests[i];

	if (m->kind[i] == ASK_FOLLOW)
		return m->other[i];
	return r->leader_status == ASK_CANCELLED ? 0 : r->follows;
}

static bool
same_wish(const RequestFixture *f, int32_t i, int32_t k)
{
	return f->requests[i].user >= 0 && f->requests[i].user == f->requests[k].user &&
		   f->requests[i].pool == f->requests[k].pool;
}

/*
 * Is the older request k something that i may have to wait for?  Not if it is over, nor
 * if it ends with one that was asked for after it: then that one counts.  One that ends
 * with an older one of its kind may become free again: it matters to the other kind.
 */
static bool
stands_before(const RequestModel *m, const RequestFixture *f, int32_t k, int32_t i)
{
	int64_t leader = leader_of(m, f, k);

	if (is_over(m->kind[k]) || leader > f->requests[k].id)
		return false;
	return leader == 0 || f->requests[k].release != f->requests[i].release;
}

/* Is k of the other kind, or does such a one lie between them? */
static bool
opposed_between(const RequestFixture *f, int32_t i, int32_t k)
{
	int32_t j;

	if (f->requests[k].release != f->requests[i].release)
		return true;
	for (j = i + 1; j < k; j++) /* nobody stands between i and an older one */
		if (same_wish(f, i, j) && f->requests[j].release != f->requests[i].release)
			return true;
	return false;
}

/* The last one asked for decides: does a later wish make this one pointless? */
static bool
is_overtaken(const RequestFixture *f, int32_t i)
{
	const AskRequest *r = &f->requests[i];
	int32_t k;

	for (k = i + 1; k < f->request_count; k++)
	{
		const AskRequest *o = &f->requests[k];

		if (!same_wish(f, i, k))
			continue;
		if (!r->release && o->release)
			return true;
		/* An assignment that was begun found no licence to take back. */
		if (r->release && has_begun(o))
			return !o->release;
	}
	return false;
}

/* Whose end is it to wait for?  The nearest older one, else one that was begun before it. */
static int32_t
in_its_way(const RequestModel *m, const RequestFixture *f, int32_t i)
{
	int32_t k;

	for (k = i - 1; k >= 0; k--)
		if (same_wish(f, i, k) && stands_before(m, f, k, i))
			return k;
	for (k = i + 1; k < f->request_count; k++)
		if (same_wish(f, i, k) && has_begun(&f->requests[k]))
			return k;
	return -1;
}

typedef enum Wants
{
	WANTS_NOTHING,
	WANTS_SEAT,
	WANTS_ASSIGNMENT,
	WANTS_RELEASE
} Wants;

static void
say(RequestModel *m, int32_t i, AskEffectKind kind, AskReason reason)
{
	m->kind[i] = kind;
	m->reason[i] = reason;
}

static Wants
by_itself(RequestModel *m, const RequestFixture *f, int32_t i)
{
	const AskRequest *r = &f->requests[i];
	int32_t other;

	/* It ends with another one. */
	if (r->follows != 0)
	{
		if (r->leader_status == ASK_DONE)
			say(m, i, ASK_FINISH_DONE, 0);
		else if (r->leader_status == ASK_FAILED)
			say(m, i, ASK_FINISH_FAILED, 0);
		else if (r->leader_status == ASK_CANCELLED)
			say(m, i, ASK_AGAIN, 0);
		else
			say(m, i, ASK_WAIT, ASK_FOR_LEADER);
		return WANTS_NOTHING;
	}

	/* Something is under way for it. */
	if (r->status == ASK_BUYING)
	{
		if (r->purchase == ASK_OPERATION_OPEN)
			say(m, i, ASK_WAIT, ASK_FOR_PURCHASE);
		else
			say(m, i, r->purchase_done ? ASK_TAKE_SEAT : ASK_AGAIN, 0);
		return WANTS_NOTHING;
	}
	if (r->operation == ASK_OPERATION_OPEN)
	{
		say(m, i, ASK_WAIT, ASK_FOR_USER);
		return WANTS_NOTHING;
	}
	if (r->operation == ASK_OPERATION_OVER || r->status == ASK_ASSIGNING)
	{
		say(m, i, ASK_AGAIN, 0);
		return WANTS_NOTHING;
	}

	/* A seat was bought for it. */
	if (r->status == ASK_PROVISIONING)
	{
		if (r->seat_bought && r->wrong_sku)
		{
			say(m, i, ASK_FINISH_FAILED, 0);
			return WANTS_NOTHING;
		}
		return WANTS_SEAT;
	}

	/* Nothing is decided about a user whom nobody has looked up. */
	if (r->user < 0 || !r->looked)
		return WANTS_NOTHING;

	if (!has_begun(r))
	{
		if (is_overtaken(f, i))
		{
			say(m, i, ASK_FINISH_CANCELLED, 0);
			return WANTS_NOTHING;
		}
		other = in_its_way(m, f, i);
		if (other >= 0)
		{
			if (opposed_between(f, i, other))
				say(m, i, ASK_WAIT, ASK_FOR_USER);
			else
			{
				say(m, i, ASK_FOLLOW, 0);
				m->other[i] = f->requests[other].id;
			}
			return WANTS_NOTHING;
		}
	}

	/* What it asks for is so already. */
	if (r->held != r->release)
	{
		say(m, i, ASK_FINISH_DONE, 0);
		return WANTS_NOTHING;
	}
	if (r->release)
		return WANTS_RELEASE;

	/* Nobody is licensed who is nowhere, and nothing is bought for them. */
	if (!f->users[r->user].has_location)
	{
		if (!f->customer.has_location)
			say(m, i, ASK_FINISH_FAILED, 0);
		else if (f->users[r->user].busy)
			say(m, i, ASK_WAIT, ASK_FOR_USER);
		else
			say(m, i, ASK_SET_LOCATION, 0);
		return WANTS_NOTHING;
	}
	return WANTS_SEAT;
}

/* ---- one pool ------------------------------------------------------------------------------------ */

/* Told that no seat is free, lately, and none was given back since */
static bool
was_told(const AskCustomer *c, const AskPool *p, const AskRequest *r)
{
	return r->refused_at != 0 && r->refused_at > c->now - c->settle_time &&
		   !(p->freed_at >= r->refused_at);
}

/* Does each request buy a seat of its own? */
static bool
each_buys(const AskCustomer *c, const AskPool *p)
{
	int32_t seats;

	return c->increment && model_can_buy(c, p, true, 1, &seats) == ASK_BUY_YES;
}

static bool
may_use_stock(const AskCustomer *c, const AskPool *p, const AskRequest *r)
{
	return (!each_buys(c, p) || r->stock_only) && !was_told(c, p, r);
}

static bool
is_young(const AskCustomer *c, const AskRequest *r)
{
	return c->now - r->created_at < SECONDS(60);
}

/* Those that lack a seat after all free ones were given out */
static int32_t
lacking_of(const RequestFixture *f, int32_t pool, const Wants *wants, int32_t *lacking)
{
	int32_t count = 0;
	int32_t i;

	for (i = 0; i < f->request_count; i++)
		if (wants[i] == WANTS_SEAT && f->requests[i].pool == pool)
			lacking[count++] = i;
	return count;
}

static void
all_of(RequestModel *m, Wants *wants, const int32_t *lacking, int32_t count, AskEffectKind kind,
	   AskReason reason)
{
	int32_t k;

	for (k = 0; k < count; k++)
	{
		say(m, lacking[k], kind, reason);
		wants[lacking[k]] = WANTS_NOTHING;
	}
}

/* Seats that are there: who bought one, then who may use the stock, each oldest first. */
static int64_t
give_seats(RequestModel *m, const RequestFixture *f, int32_t pool, Wants *wants)
{
	const AskCustomer *c = &f->customer;
	const AskPool *p = &f->pools[pool];
	const NeedFigures *n = &p->figures;
	int64_t there = n->active - model_taken(n) - n->removing; /* whoever they are meant for */
	int64_t stock = model_free(n) > 0 ? model_free(n) : 0;
	int64_t given = 0; /* seats assigned by this plan */
	int64_t from_stock = 0; /* ... of the stock */
	int64_t kept = 0; /* of the stock, whether or not they are assigned now */
	bool oldest = true;
	int32_t i;

	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		bool tries;

		if (wants[i] != WANTS_SEAT || r->pool != pool || !r->seat_bought)
			continue;
		tries = there - given > 0 /* a seat is there */
				|| n->active >= r->active_level /* its own shows */
				|| (oldest && r->attempts > 0 && r->attempts % 2 == 0) /* the report may lag */
				|| c->now - r->provisioning_at > c->provisioning_timeout; /* the last try */
		oldest = false;
		if (tries)
		{
			given++;
			wants[i] = WANTS_ASSIGNMENT;
			m->level[i] = (int32_t) (model_taken(n) + n->released + given);
		}
		else
		{
			say(m, i, ASK_WAIT, ASK_FOR_SEAT);
			wants[i] = WANTS_NOTHING;
		}
	}
	if (!p->subscriptions_read)
	{
		for (i = 0; i < f->request_count; i++)
			if (wants[i] == WANTS_SEAT && f->requests[i].pool == pool)
				wants[i] = WANTS_NOTHING;
		return 0;
	}
	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		bool certain;

		if (wants[i] != WANTS_SEAT || r->pool != pool || !may_use_stock(c, p, r) || kept >= stock)
			continue;
		kept++;

		/*
		 * A release that the report shows already was counted twice: while seats
		 * are there that others bought, it must not be one of those.
		 */
		certain = n->reserved <= 0 || kept <= model_free(n) - n->released;
		if (!certain && is_young(c, r))
		{
			say(m, i, ASK_WAIT, ASK_FOR_RESERVED);
			wants[i] = WANTS_NOTHING;
		}
		else if (there - given <= 0)
		{
			say(m, i, ASK_WAIT, ASK_FOR_SEAT);
			wants[i] = WANTS_NOTHING;
		}
		else
		{
			given++;
			from_stock++;
			wants[i] = WANTS_ASSIGNMENT;
			m->level[i] = (int32_t) (model_taken(n) + n->released + given);
		}
	}
	return from_stock;
}

/* Is something under way for the user, or to be done first? */
static bool
user_is_busy(const RequestModel *m, const RequestFixture *f, int32_t user)
{
	int32_t i;

	if (user < 0)
		return false;
	for (i = 0; i < f->request_count; i++)
		if (f->requests[i].user == user && m->kind[i] == ASK_SET_LOCATION)
			return true;
	return f->users[user].busy;
}

/* The oldest that may use the stock; one whose user is busy only if all are. */
static int32_t
who_tries(const RequestModel *m, const RequestFixture *f, const int32_t *lacking, int32_t count,
		  bool patiently)
{
	int32_t k;

	for (k = 0; k < count; k++)
	{
		const AskRequest *r = &f->requests[lacking[k]];

		if (may_use_stock(&f->customer, &f->pools[r->pool], r) &&
			!(patiently && user_is_busy(m, f, r->user)))
			return lacking[k];
	}
	return patiently ? who_tries(m, f, lacking, count, false) : -1;
}

/* A seat may be there that no report shows: one tries, and nothing is bought until it has. */
static bool
somebody_tries(RequestModel *m, const RequestFixture *f, int32_t pool, Wants *wants,
			   int64_t from_stock)
{
	const AskPool *p = &f->pools[pool];
	const NeedFigures *n = &p->figures;
	int32_t lacking[FIXTURE_REQUESTS];
	int32_t count = lacking_of(f, pool, wants, lacking);
	int32_t level = (int32_t) (model_taken(n) + n->released);
	bool others_first = n->claimed > 0 || n->reserved > 0 || from_stock > 0;
	int32_t one;
	int32_t i;

	if (model_doubtful(n) <= 0 || model_free(n) + model_doubtful(n) - from_stock <= 0)
		return false;
	one = who_tries(m, f, lacking, count, true);
	if (one < 0)
		return false;
	all_of(m, wants, lacking, count, ASK_WAIT, ASK_FOR_TRY);
	if (others_first && is_young(&f->customer, &f->requests[one]))
		return true;
	m->kind[one] = ASK_KEEP;
	wants[one] = WANTS_ASSIGNMENT;
	for (i = 0; i < f->request_count; i++)
		if (wants[i] == WANTS_ASSIGNMENT && f->requests[i].pool == pool)
			level++;
	m->level[one] = level;
	return true;
}

/* Before anything is bought: is there something to wait for, or a reason not to buy at all? */
static bool
may_buy_now(RequestModel *m, const RequestFixture *f, int32_t pool, Wants *wants)
{
	const AskCustomer *c = &f->customer;
	const AskPool *p = &f->pools[pool];
	int32_t lacking[FIXTURE_REQUESTS];
	int32_t count = lacking_of(f, pool, wants, lacking);
	int32_t seats;
	int32_t k;
	bool impatient = false;

	if (count == 0)
		return false;
	for (k = 0; k < count; k++)
		if (c->now - f->requests[lacking[k]].looked_at > SECONDS(60))
			impatient = true;
	if (p->unlooked > 0 && !impatient)
	{
		all_of(m, wants, lacking, count, ASK_WAIT, ASK_FOR_LOOKS);
		return false;
	}
	if (p->release_since != 0 && c->now - p->release_since < SECONDS(60))
	{
		all_of(m, wants, lacking, count, ASK_WAIT, ASK_FOR_RELEASE);
		return false;
	}
	for (k = 0; k < count; k++)
		if (f->requests[lacking[k]].approval == ASK_APPROVAL_REJECTED)
			all_of(m, wants, &lacking[k], 1, ASK_FINISH_FAILED, 0);
	count = lacking_of(f, pool, wants, lacking);
	if (count == 0)
		return false;
	if (!c->purchases)
	{
		all_of(m, wants, lacking, count, ASK_FINISH_FAILED, 0);
		return false;
	}
	if (p->buying)
	{
		all_of(m, wants, lacking, count, ASK_WAIT, ASK_FOR_PURCHASE);
		return false;
	}
	if (p->unread > 0)
	{
		all_of(m, wants, lacking, count, ASK_WAIT, ASK_FOR_ORDER);
		return false;
	}
	switch (model_can_buy(c, p, true, 1, &seats))
	{
		case ASK_BUY_YES:
			return true;
		default:
			all_of(m, wants, lacking, count, ASK_FINISH_FAILED, 0);
			return false;
	}
}

/* The approval that is used first in a pool: that of the oldest request which has one. */
static int64_t
approval_used(const RequestFixture *f, int32_t pool, const Wants *wants, int32_t *seats)
{
	int32_t lacking[FIXTURE_REQUESTS];
	int32_t count = lacking_of(f, pool, wants, lacking);
	int32_t k;

	for (k = 0; k < count; k++)
	{
		const AskRequest *r = &f->requests[lacking[k]];

		if (r->approval == ASK_APPROVAL_GRANTED && r->approved_seats > 0)
		{
			*seats = r->approved_seats;
			return r->adjustment;
		}
	}
	return 0;
}

/* Whether i is bought for, after those older than it were */
static bool
is_bought_for(const RequestModel *m, const RequestFixture *f, int32_t i, int64_t approval,
			  int32_t approved, bool *full)
{
	const AskRequest *r = &f->requests[i];
	const AskPool *p = &f->pools[r->pool];
	int32_t subscription;
	int32_t room;
	NeedSourceKind kind = model_source(p->plan, p->terms, &p->rule, &subscription, &room);
	int64_t paid = 0; /* without an approval, by all pools */
	int32_t seats = 1; /* of this pool, with this one */
	int32_t k;

	*full = false;
	for (k = 0; k < i; k++)
		if (m->kind[k] == ASK_BUY && f->requests[k].pool == r->pool)
			seats++;
	/* A purchase that was refused was larger than this. */
	for (k = 0; k < i; k++)
		if (m->kind[k] == ASK_BUY && f->requests[k].pool == r->pool &&
			f->requests[k].buy_most > 0 && seats > f->requests[k].buy_most)
			*full = true;
	if (approval != 0 && r->adjustment != approval)
	{
		*full = false;
		return false; /* what was approved goes first */
	}
	if (seats > room || (r->buy_most > 0 && seats > r->buy_most))
		*full = true;
	if (p->max_seats >= 0 && p->owned + model_cost(kind, room, seats) > p->max_seats)
		*full = true;
	if (*full)
		return false;
	if (approval != 0)
		return seats <= approved;

	/* The limit is one for all pools. */
	for (k = 0; k < FIXTURE_POOLS; k++)
		if (m->bought[k] > 0 && m->adjustment[k] == 0 && k != r->pool)
			paid += model_cost(m->source[k],
							   m->source[k] == NEED_REACTIVATE
								   ? f->pools[k].plan->subscriptions[m->subscription[k]].quantity
								   : 0,
							   m->bought[k]);
	return paid + model_cost(kind, room, seats) <= model_limit(&f->customer);
}

static void
buy(RequestModel *m, const RequestFixture *f, Wants *wants, const bool *buys)
{
	bool full[FIXTURE_POOLS] = { false };
	int64_t approval[FIXTURE_POOLS];
	int32_t approved[FIXTURE_POOLS] = { 0 };
	int32_t pool;
	int32_t room;
	int32_t i;

	for (pool = 0; pool < f->pool_count; pool++)
		approval[pool] = buys[pool] ? approval_used(f, pool, wants, &approved[pool]) : 0;

	/* Oldest first, whatever the pool. */
	for (i = 0; i < f->request_count; i++)
	{
		bool stops;

		pool = f->requests[i].pool;
		if (wants[i] != WANTS_SEAT || !buys[pool] || full[pool])
			continue;
		if (is_bought_for(m, f, i, approval[pool], approved[pool], &stops))
		{
			const AskPool *p = &f->pools[pool];

			say(m, i, ASK_BUY, 0);
			m->bought[pool]++;
			m->level[i] = p->figures.active + p->figures.unshown + m->bought[pool];
			m->adjustment[pool] = approval[pool];
			m->source[pool] =
				model_source(p->plan, p->terms, &p->rule, &m->subscription[pool], &room);
		}
		else
			full[pool] = stops;
	}
	for (i = 0; i < f->request_count; i++)
	{
		pool = f->requests[i].pool;
		if (wants[i] != WANTS_SEAT || !buys[pool] || m->kind[i] == ASK_BUY)
			continue;
		if (full[pool] || approval[pool] != 0)
			say(m, i, ASK_WAIT, ASK_FOR_PURCHASE);
		else
			say(m, i, ASK_ASK_PERSON, 0);
	}
	for (i = 0; i < f->request_count; i++)
		if (wants[i] == WANTS_SEAT)
			wants[i] = WANTS_NOTHING;
}

/* ---- one user -------------------------------------------------------------------------------------- */

/* One operation of a user at a time, of one kind, in the order they were asked for. */
static void
one_operation(RequestModel *m, const RequestFixture *f, int32_t user, const Wants *wants)
{
	int32_t first = -1;
	bool closed = f->users[user].busy;
	int32_t i;

	/* A location comes before all else. */
	for (i = 0; i < f->request_count; i++)
	{
		if (f->requests[i].user != user || m->kind[i] != ASK_SET_LOCATION)
			continue;
		if (first < 0)
			first = i;
		m->together[i] = first;
		closed = true;
	}
	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];

		if (r->user != user || (wants[i] != WANTS_ASSIGNMENT && wants[i] != WANTS_RELEASE))
			continue;
		/* What was refused together is tried one by one. */
		if (first >= 0 && (r->release != f->requests[first].release || r->attempts > 0 ||
						   f->requests[first].attempts > 0))
			closed = true;
		if (closed)
		{
			say(m, i, ASK_WAIT, ASK_FOR_USER);
			continue;
		}
		if (first < 0)
			first = i;
		say(m, i, r->release ? ASK_RELEASE : ASK_ASSIGN, 0);
		m->together[i] = first;
	}
}

/* ---- all of it -------------------------------------------------------------------------------------- */

void
request_model(const RequestFixture *f, RequestModel *m)
{
	Wants wants[FIXTURE_REQUESTS] = { WANTS_NOTHING };
	bool buys[FIXTURE_POOLS] = { false };
	int32_t i;

	memset(m, 0, sizeof(*m));
	for (i = 0; i < FIXTURE_REQUESTS; i++)
		m->together[i] = m->level[i] = -1;
	for (i = 0; i < FIXTURE_POOLS; i++)
		m->subscription[i] = -1;
	for (i = 0; i < f->request_count; i++)
		if (f->requests[i].due)
			wants[i] = by_itself(m, f, i);
	for (i = 0; i < f->pool_count; i++)
	{
		int64_t from_stock;
		int32_t k;

		if (!f->pools[i].read)
		{
			for (k = 0; k < f->request_count; k++)
				if (wants[k] == WANTS_SEAT && f->requests[k].pool == i)
					wants[k] = WANTS_NOTHING;
			continue;
		}
		from_stock = give_seats(m, f, i, wants);
		if (!somebody_tries(m, f, i, wants, from_stock))
			buys[i] = may_buy_now(m, f, i, wants);
	}
	buy(m, f, wants, buys);
	for (i = 0; i < FIXTURE_USERS; i++)
		one_operation(m, f, i, wants);
}

const char *
request_model_differs(const RequestFixture *f)
{
	static char what[200];
	RequestModel m;
	int32_t bought[FIXTURE_POOLS] = { 0 };
	int32_t i;
	int32_t k;

#define DIFFERS(...) return snprintf(what, sizeof(what), __VA_ARGS__), what
	request_model(f, &m);
	for (i = 0; i < f->request_count; i++)
	{
		const AskEffect *e = &f->effects[i];
		bool grouped =
			e->kind == ASK_ASSIGN || e->kind == ASK_RELEASE || e->kind == ASK_SET_LOCATION;

		if (e->kind != m.kind[i])
			DIFFERS("request %d has effect %d, the model %d (reason %d)", i + 1, e->kind, m.kind[i],
					m.reason[i]);
		if (e->kind == ASK_WAIT && e->reason != m.reason[i])
			DIFFERS("request %d waits for %d, in the model for %d", i + 1, e->reason, m.reason[i]);
		if (e->kind == ASK_FOLLOW && e->other != m.other[i])
			DIFFERS("request %d follows %d, in the model %d", i + 1, (int) e->other,
					(int) m.other[i]);
		if ((e->kind == ASK_ASSIGN || e->kind == ASK_BUY) && e->level >= 0 &&
			!f->requests[i].release && e->level != m.level[i])
			DIFFERS("request %d shows at %d, in the model at %d", i + 1, e->level, m.level[i]);
		if (!grouped)
			continue;
		for (k = 0; k < i; k++)
		{
			AskEffectKind kind = f->effects[k].kind;

			if (kind != ASK_ASSIGN && kind != ASK_RELEASE && kind != ASK_SET_LOCATION)
				continue;
			if ((f->effects[k].group == e->group) != (m.together[k] == m.together[i]))
				DIFFERS("requests %d and %d go together or not", k + 1, i + 1);
		}
	}
	for (i = 0; i < f->plan.purchase_count; i++)
	{
		const AskPurchase *b = &f->purchases[i];

		bought[b->pool] += b->seats;
		if (b->source.kind != m.source[b->pool] ||
			b->source.subscription != m.subscription[b->pool])
			DIFFERS("pool %d is bought from elsewhere", b->pool);
		if (b->adjustment != m.adjustment[b->pool])
			DIFFERS("pool %d is bought for another approval", b->pool);
	}
	for (i = 0; i < f->pool_count; i++)
		if (bought[i] != m.bought[i])
			DIFFERS("in pool %d are %d seats bought, in the model %d", i, bought[i], m.bought[i]);
	return NULL;
}
