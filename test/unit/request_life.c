/*
 * request_life.c
 *
 * The request planner as it works: a pool, users who ask and change their minds, reports
 * that lag, seats that take their time, operations that end some time later.  What is
 * known is put into the planner's words as state/request_load.c does, its effects are
 * carried out as the store and the worker do.  Judged from outside: every request ends,
 * the last wish of each user stands, and no seat is bought that nobody needs.
 *
 * Usage: request_life COUNT SEED.  Prints TAP.
 */
#include "decide/request_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USERS 6
#define MOST 24
#define PURCHASES 64
#define START (10000 * PLAN_DAY)
#define STEP PLAN_SECOND
#define STEPS (3 * 3600)
#define ASKING (1800) /* seconds in which somebody asks */

typedef struct Wish
{
	AskRequest r;
	PlanTime look_at; /* asked for, and not looked up: then */
	PlanTime ends_at; /* its operation of the user ends then */
	int32_t group; /* requests of the same call */
	int32_t buys; /* its purchase; -1 */
	int32_t consumed_level;
	int32_t lost;
	bool waiting; /* counts until a report shows it */
	bool sent; /* an operation was */
	PlanTime confirmed_at;
	AskStatus ended; /* ASK_DONE ...; ASK_QUEUED while it is open */
} Wish;

typedef struct Buying
{
	PlanTime sends_at;
	PlanTime ends_at; /* 0 = not sent */
	int32_t seats;
	bool open;
} Buying;

typedef struct Life
{
	uint64_t state;
	PlanTime now;
	AskCustomer customer;
	PlanSubscription subscription;
	NeedTerms terms;
	PlanPool supply;
	Wish wishes[MOST];
	int32_t count;
	Buying buyings[PURCHASES];
	int32_t buying_count;
	bool held[USERS];
	int32_t seats; /* that can be assigned */
	int32_t coming; /* bought, not yet there */
	PlanTime comes_at[PURCHASES];
	int32_t comes[PURCHASES];
	int32_t active_lag; /* seconds */
	int32_t consumed_lag;
	int32_t provisioning;
	int16_t active_at[STEPS + 1]; /* what was true then */
	int16_t consumed_at[STEPS + 1];
	int32_t bought;
	int32_t releases;
	int32_t peak; /* most seats needed at any time */
	const char *wrong;
} Life;

static uint32_t
below(Life *l, uint32_t n)
{
	uint64_t z = (l->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t) ((z ^ (z >> 31)) % n);
}

static bool
is_open(const Wish *w)
{
	return w->ended == ASK_QUEUED;
}

static int32_t
holders(const Life *l)
{
	int32_t n = 0;
	int32_t i;

	for (i = 0; i < USERS; i++)
		n += l->held[i];
	return n;
}

static int32_t
step_of(const Life *l)
{
	return (int32_t) ((l->now - START) / STEP);
}

static int32_t
reported(const int16_t *series, int32_t step, int32_t lag)
{
	return series[step > lag ? step - lag : 0];
}

static void
ask(Life *l, int32_t user, bool release)
{
	Wish *w = &l->wishes[l->count];

	memset(w, 0, sizeof(*w));
	w->r.id = ++l->count;
	w->r.release = release;
	w->r.user = user;
	w->r.created_at = l->now;
	w->r.active_level = -1;
	w->r.leader_status = ASK_CANCELLED;
	w->r.not_before = l->now;
	w->consumed_level = -1;
	w->buys = -1;
	w->waiting = !release;
	w->ended = ASK_QUEUED;
	w->look_at = l->now + below(l, 3) * PLAN_SECOND;
	l->releases += release;
}

static bool
lacks_seat(const Wish *w)
{
	return is_open(w) && !w->r.release && w->r.status <= ASK_PROVISIONING && !w->r.seat_bought &&
		   w->r.follows == 0 && w->r.looked_at != 0 && w->r.operation == ASK_NO_OPERATION;
}

/* As state/request_load.c counts */
static void
count_pool(Life *l, AskPool *p)
{
	NeedFigures *n = &p->figures;
	int32_t step = step_of(l);
	int32_t i;

	memset(p, 0, sizeof(*p));
	p->plan = &l->supply;
	p->terms = &l->terms;
	p->max_seats = -1;
	p->read = p->subscriptions_read = true;
	n->active = reported(l->active_at, step, l->active_lag);
	n->consumed = reported(l->consumed_at, step, l->consumed_lag);
	n->increment = l->customer.increment;
	for (i = 0; i < l->count; i++)
	{
		const Wish *w = &l->wishes[i];

		if (!w->r.release || w->ended != ASK_DONE || !w->sent ||
			w->confirmed_at <= l->now - l->customer.settle_time)
			continue;
		n->released++;
		if (w->confirmed_at > p->freed_at)
			p->freed_at = w->confirmed_at;
	}
	for (i = 0; i < l->count; i++)
	{
		const Wish *w = &l->wishes[i];
		const AskRequest *r = &w->r;

		if (r->release)
		{
			if (is_open(w) && r->follows == 0 && r->created_at > p->release_since)
				p->release_since = r->created_at;
			continue;
		}
		if (w->waiting && r->seat_bought && r->active_level > n->active)
			n->unshown++;
		if (is_open(w) && r->seat_bought && r->status <= ASK_PROVISIONING)
			n->reserved++;
		if (is_open(w) && r->status == ASK_BUYING && w->buys >= 0 &&
			l->buyings[w->buys].ends_at != 0 && r->active_level <= n->active)
			n->reserved++;
		if (w->waiting && is_open(w) && r->status == ASK_ASSIGNING &&
			w->consumed_level > n->consumed)
			n->claimed++;
		if (w->waiting && w->ended == ASK_DONE && w->consumed_level > n->consumed)
			n->unreported++;
		if (lacks_seat(w))
		{
			n->open++;
			n->refused += spinpanel_request_told(&l->customer, p, r);
		}
		if (is_open(w) && r->status == ASK_QUEUED && r->looked_at == 0 && r->follows == 0)
			p->unlooked++;
	}
	for (i = 0; i < l->buying_count; i++)
		p->buying |= l->buyings[i].open;
	p->owned = l->subscription.quantity;
	n->lagging = p->owned - n->active - n->unshown > 0 ? p->owned - n->active - n->unshown : 0;
}

static void
end(Life *l, Wish *w, AskStatus status)
{
	int32_t i;

	w->ended = w->r.status = status;
	w->r.operation = ASK_NO_OPERATION;
	if (status != ASK_DONE || w->r.release)
		w->waiting = false;
	w->confirmed_at = l->now;
	if (status != ASK_DONE && w->r.seat_bought)
		for (i = 0; i < l->count; i++)
			if (lacks_seat(&l->wishes[i]) && l->wishes[i].r.status == ASK_QUEUED)
			{
				/* The seat serves the oldest that waits. */
				l->wishes[i].r.seat_bought = true;
				l->wishes[i].r.status = ASK_PROVISIONING;
				l->wishes[i].r.active_level = w->r.active_level;
				l->wishes[i].r.provisioning_at = l->now;
				l->wishes[i].r.not_before = l->now;
				l->wishes[i].r.refused_at = 0;
				w->r.seat_bought = false;
				break;
			}
	for (i = 0; i < l->count; i++)
		if (l->wishes[i].r.follows == w->r.id)
			l->wishes[i].r.leader_status = status;
}

static void
begin_again(Life *l, Wish *w)
{
	w->r.status = w->r.seat_bought ? ASK_PROVISIONING : ASK_QUEUED;
	w->r.operation = w->r.purchase = ASK_NO_OPERATION;
	w->r.follows = 0;
	w->r.leader_status = ASK_CANCELLED;
	w->r.looked = false;
	w->r.looked_at = 0;
	w->look_at = l->now + below(l, 3) * PLAN_SECOND;
	w->r.not_before = l->now;
	w->buys = -1;
	if (!w->r.seat_bought)
		w->r.active_level = -1;
	w->consumed_level = -1;
	w->waiting = !w->r.release;
}

/* ---- what ends by itself -------------------------------------------------------------------- */

static void
no_seat(Life *l, Wish *w, bool alone)
{
	AskPool p;
	char why[ASK_TEXT];

	w->r.operation = ASK_NO_OPERATION;
	w->consumed_level = -1;
	w->r.attempts++;
	w->r.status = w->r.seat_bought ? ASK_PROVISIONING : ASK_QUEUED;
	w->r.not_before = l->now;
	if (!alone)
		return;
	count_pool(l, &p);
	switch (spinpanel_request_no_seat(&l->customer, &p, &w->r, w->lost, why, sizeof(why)))
	{
		case ASK_NO_SEAT_YET:
			w->r.not_before = l->now + 4 * PLAN_SECOND;
			break;
		case ASK_NO_SEAT_FAIL:
			end(l, w, ASK_FAILED);
			break;
		case ASK_NO_SEAT_LOST:
			w->lost++;
			w->r.seat_bought = false;
			w->r.active_level = -1;
			/* fall through */
		case ASK_NO_SEAT_BUY:
			w->r.status = ASK_QUEUED;
			w->r.refused_at = l->now;
			break;
	}
}

static void
end_operations(Life *l)
{
	int32_t i;
	int32_t k;

	for (i = 0; i < l->count; i++)
	{
		Wish *w = &l->wishes[i];
		int32_t together = 0;

		/* What was done since the user was looked up makes that void. */
		for (k = 0; k < l->count; k++)
			if (w->r.looked && l->wishes[k].r.user == w->r.user && l->wishes[k].ended == ASK_DONE &&
				l->wishes[k].sent && l->wishes[k].confirmed_at >= w->r.looked_at)
			{
				w->r.looked = false;
				w->look_at = l->now + (1 + below(l, 2)) * PLAN_SECOND;
			}
		if (is_open(w) && !w->r.looked && w->r.status == ASK_QUEUED && w->look_at <= l->now)
		{
			w->r.looked = true;
			w->r.looked_at = l->now;
			w->r.held = l->held[w->r.user];
		}
		if (!is_open(w) || w->r.operation != ASK_OPERATION_OPEN || w->ends_at > l->now)
			continue;
		for (k = 0; k < l->count; k++)
			together += is_open(&l->wishes[k]) && l->wishes[k].r.operation == ASK_OPERATION_OPEN &&
						l->wishes[k].group == w->group;
		w->sent = true;
		if (w->r.release)
		{
			l->held[w->r.user] = false;
			end(l, w, ASK_DONE);
		}
		else if (l->held[w->r.user] || holders(l) < l->seats)
		{
			l->held[w->r.user] = true;
			end(l, w, ASK_DONE);
		}
		else
			no_seat(l, w, together == 1);
	}
	for (i = 0; i < l->buying_count; i++)
	{
		Buying *b = &l->buyings[i];

		if (!b->open)
			continue;
		if (b->ends_at == 0 && b->sends_at <= l->now)
		{
			/* judged by what is known right before it is sent */
			AskSending sending = { .kind = NEED_RAISE, .seats = b->seats };
			AskPool p;
			char why[ASK_TEXT];
			AskCustomer c = l->customer;

			count_pool(l, &p);
			p.buying = false;
			for (k = 0; k < l->count; k++)
				sending.linked += is_open(&l->wishes[k]) && l->wishes[k].buys == i;
			b->seats = spinpanel_request_may_send(&c, &p, &sending, why, sizeof(why));
			b->ends_at = b->seats > 0 ? l->now + (1 + below(l, 20)) * PLAN_SECOND : l->now;
			l->subscription.quantity += b->seats;
			l->bought += b->seats;
			if (b->seats > 0)
			{
				l->comes[i] = b->seats;
				l->comes_at[i] =
					b->ends_at +
					(l->provisioning > 0 ? below(l, (uint32_t) l->provisioning) : 0) * PLAN_SECOND;
			}
		}
		if (b->ends_at != 0 && b->ends_at <= l->now)
		{
			int32_t given = 0;

			b->open = false;
			for (k = 0; k < l->count; k++)
			{
				Wish *w = &l->wishes[k];

				if (!is_open(w) || w->buys != i)
					continue;
				if (given < b->seats)
				{
					given++;
					w->r.seat_bought = true;
					w->r.status = ASK_PROVISIONING;
					w->r.purchase = ASK_NO_OPERATION;
					w->r.provisioning_at = w->r.not_before = l->now;
					w->r.refused_at = 0;
					w->r.attempts = 0;
					w->buys = -1;
				}
				else
					begin_again(l, w);
			}
		}
	}
	for (i = 0; i < l->buying_count; i++)
		if (l->comes[i] > 0 && l->comes_at[i] <= l->now)
		{
			l->seats += l->comes[i];
			l->comes[i] = 0;
		}
	/* A read that began late enough shows it. */
	for (i = 0; i < l->count; i++)
		if (l->wishes[i].waiting && l->wishes[i].ended == ASK_DONE &&
			l->now - l->wishes[i].confirmed_at >= l->customer.settle_time)
			l->wishes[i].waiting = false;
}

/* ---- planning --------------------------------------------------------------------------------- */

static void
plan(Life *l)
{
	AskRequest requests[MOST];
	AskEffect effects[MOST];
	AskPurchase purchases[1];
	AskUser users[USERS];
	AskPool pool;
	AskPlan plan = { .effects = effects, .purchases = purchases };
	int32_t which[MOST];
	int32_t count = 0;
	bool any = false;
	int32_t i;

	memset(users, 0, sizeof(users));
	for (i = 0; i < USERS; i++)
		users[i].has_location = true;
	for (i = 0; i < l->count; i++)
	{
		Wish *w = &l->wishes[i];

		if (!is_open(w))
			continue;
		which[count] = i;
		requests[count] = w->r;
		requests[count].due = w->r.not_before <= l->now;
		any |= requests[count].due;
		if (w->r.operation == ASK_OPERATION_OPEN)
			users[w->r.user].busy = true;
		count++;
	}
	if (!any)
		return;
	count_pool(l, &pool);
	spinpanel_request_plan(&l->customer, &pool, 1, users, USERS, requests, count, &plan);
	for (i = 0; i < plan.purchase_count; i++)
	{
		Buying *b = &l->buyings[l->buying_count];

		if (l->buying_count == PURCHASES)
		{
			l->wrong = "it buys for ever";
			return;
		}
		b->open = true;
		b->ends_at = 0;
		b->sends_at = l->now + below(l, 3) * PLAN_SECOND;
		b->seats = purchases[i].seats;
	}
	for (i = 0; i < count; i++)
	{
		const AskEffect *e = &effects[i];
		Wish *w = &l->wishes[which[i]];

		switch (e->kind)
		{
			case ASK_WAIT:
				w->r.not_before = e->until;
				w->r.attempts += e->reason == ASK_FOR_SEAT;
				break;
			case ASK_AGAIN:
				begin_again(l, w);
				break;
			case ASK_FOLLOW:
				w->r.follows = e->other;
				w->r.leader_status = ASK_QUEUED;
				w->waiting = false;
				w->r.not_before = e->until;
				break;
			case ASK_FINISH_DONE:
				end(l, w, ASK_DONE);
				w->waiting = false;
				break;
			case ASK_FINISH_FAILED:
				end(l, w, ASK_FAILED);
				break;
			case ASK_FINISH_CANCELLED:
				end(l, w, ASK_CANCELLED);
				break;
			case ASK_ASSIGN:
			case ASK_RELEASE:
				w->r.status = ASK_ASSIGNING;
				w->r.operation = ASK_OPERATION_OPEN;
				w->group = e->group + 1000 * step_of(l);
				w->consumed_level = e->kind == ASK_ASSIGN ? e->level : -1;
				w->ends_at = l->now + (1 + below(l, 10)) * PLAN_SECOND;
				w->r.not_before = l->now + 60 * PLAN_SECOND;
				break;
			case ASK_BUY:
				w->r.status = ASK_BUYING;
				w->r.purchase = ASK_OPERATION_OPEN;
				w->buys = l->buying_count;
				w->r.active_level = e->level;
				w->r.not_before = l->now + 60 * PLAN_SECOND;
				break;
			default:
				break;
		}
	}
	l->buying_count += plan.purchase_count;
}

/* ---- one life ------------------------------------------------------------------------------------ */

/* Seats needed now: of holders, and of those whose last wish is to hold one */
static int32_t
needed(const Life *l)
{
	bool wants[USERS];
	int32_t n = 0;
	int32_t i;

	memcpy(wants, l->held, sizeof(wants));
	for (i = 0; i < l->count; i++)
		if (is_open(&l->wishes[i]) && !l->wishes[i].r.release)
			wants[l->wishes[i].r.user] = true;
	for (i = 0; i < USERS; i++)
		n += wants[i];
	return n;
}

static const char *
live(Life *l, uint64_t number, bool with_releases)
{
	int32_t step;
	int32_t i;
	int32_t start;

	memset(l, 0, sizeof(*l));
	l->state = number;
	l->customer = (AskCustomer){ .purchases = true,
								 .limit_seats = 1000,
								 .limit_until = PLAN_NEVER,
								 .provisioning_timeout = PLAN_DAY,
								 .settle_time = PLAN_HOUR,
								 .retry_max = 300 * PLAN_SECOND };
	l->active_lag = below(l, 2) ? (int32_t) below(l, 900) : 0;
	l->consumed_lag = below(l, 2) ? (int32_t) below(l, 900) : 0;
	l->provisioning = below(l, 3) ? 0 : (int32_t) below(l, 600);
	start = 1 + (int32_t) below(l, 4);
	l->seats = start;
	l->subscription = (PlanSubscription){ .commerce = PLAN_NCE,
										  .status = PLAN_ACTIVE,
										  .quantity = start,
										  .minimum = 1,
										  .maximum = 300,
										  .created = START - 100 * PLAN_DAY,
										  .term_end = START + 200 * PLAN_DAY,
										  .rejected_to = -1,
										  .auto_renew = true,
										  .next_quantity = -1 };
	l->terms.usable = true;
	l->supply.subscriptions = &l->subscription;
	l->supply.subscription_count = 1;
	for (i = 0; i < USERS && i < start; i++)
		l->held[i] = below(l, 2);
	for (step = 0; step <= STEPS && l->wrong == NULL; step++)
	{
		bool open = false;

		l->now = l->customer.now = START + (PlanTime) step * STEP;
		l->active_at[step] = (int16_t) l->seats;
		l->consumed_at[step] = (int16_t) holders(l);
		end_operations(l);
		l->active_at[step] = (int16_t) l->seats;
		l->consumed_at[step] = (int16_t) holders(l);
		if (step < ASKING && l->count < MOST && below(l, 60) == 0)
		{
			int32_t user = (int32_t) below(l, USERS);

			ask(l, user, with_releases && below(l, 3) == 0);
			if (with_releases && l->count < MOST && below(l, 6) == 0)
				ask(l, user, below(l, 2));
		}
		if (needed(l) > l->peak)
			l->peak = needed(l);
		plan(l);
		if (holders(l) > l->seats)
			l->wrong = "more holders than seats";
		for (i = 0; i < l->count; i++)
			open |= is_open(&l->wishes[i]);
		if (step > ASKING && !open)
			break;
	}
	if (l->wrong != NULL)
		return l->wrong;
	for (i = 0; i < l->count; i++)
	{
		const Wish *w = &l->wishes[i];
		bool last = true;
		int32_t k;

		if (is_open(w))
			return "a request does not end";
		if (w->ended == ASK_FAILED)
			return "a request fails";
		for (k = i + 1; k < l->count; k++)
			last &= l->wishes[k].r.user != w->r.user;
		if (last && l->held[w->r.user] == w->r.release)
			return "the last wish of a user does not stand";
		if (last && w->ended != ASK_DONE)
			return "the last wish of a user is not done";
	}
	if (!with_releases && start + l->bought > (l->peak > start ? l->peak : start))
		return "a seat is bought that nobody needs";
	if (start + l->bought > (l->peak > start ? l->peak : start) + l->releases)
		return "more is bought than was ever needed, and released";
	return NULL;
}

static void
print(const Life *l)
{
	int32_t i;

	printf("# lags %d and %d s, provisioning up to %d s; %d bought, %d needed at most, %d seats\n",
		   l->active_lag, l->consumed_lag, l->provisioning, l->bought, l->peak, l->seats);
	for (i = 0; i < l->count; i++)
	{
		const Wish *w = &l->wishes[i];

		printf(
			"# %d: %s user %d at %d s: status %d, seat %d, follows %d, refused %d, ended at %d s\n",
			(int) w->r.id, w->r.release ? "release" : "assign", (int) w->r.user,
			(int) ((w->r.created_at - START) / PLAN_SECOND), (int) w->r.status, w->r.seat_bought,
			(int) w->r.follows, w->r.refused_at != 0,
			w->confirmed_at == 0 ? -1 : (int) ((w->confirmed_at - START) / PLAN_SECOND));
	}
}

int
main(int argc, char **argv)
{
	static Life life;
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	bool bad = false;
	int32_t kind;

	for (kind = 0; kind < 2; kind++)
	{
		uint64_t failed = 0;
		uint64_t bought = 0;
		uint64_t asked = 0;
		uint64_t more = 0;
		uint64_t n;

		for (n = 0; n < count; n++)
		{
			const char *wrong = live(&life, (seed * 1000003 + n) * 2 + (uint64_t) kind, kind == 1);

			bought += (uint64_t) life.bought;
			asked += (uint64_t) life.count;
			more += life.seats > life.peak && life.bought > 0;
			if (wrong != NULL && failed++ < 2)
			{
				printf("# life %llu: %s\n", (unsigned long long) n, wrong);
				print(&life);
			}
		}
		printf(
			"%sok %d - %llu lives %s: each request ends, the last wish stands, no seat too many (%llu fail; %llu requests, %llu seats%s)\n",
			failed ? "not " : "", (int) kind + 1, (unsigned long long) count,
			kind ? "with releases" : "of assignments", (unsigned long long) failed,
			(unsigned long long) asked, (unsigned long long) bought, "");
		printf("# in %llu of them more seats than were needed at once\n",
			   (unsigned long long) more);
		bad |= failed > 0;
	}
	printf("1..2\n");
	return bad ? 1 : 0;
}
