/*
 * request_property.c
 *
 * Random situations: what request_plan.h says always holds of a plan is asked of
 * each.  Usage: request_property COUNT SEED.  Prints TAP.
 */
#include "request_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECKS 7

static const char *
check_kept(const RequestFixture *f)
{
	int32_t i;

	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		bool keep = f->effects[i].kind == ASK_KEEP;

		if (!r->due && !keep)
			return "a request that is not due has an effect";
		if (r->due && keep && r->user >= 0 && r->looked && f->pools[r->pool].read &&
			(f->pools[r->pool].subscriptions_read || r->seat_bought))
			return "a due request is left undecided";
	}
	return NULL;
}

static const char *
check_purchases(const RequestFixture *f)
{
	const AskCustomer *c = &f->customer;
	int64_t unapproved = c->bought_recently;
	int64_t limit = (int64_t) c->limit_percent * c->owned / 100;
	bool seen[FIXTURE_POOLS] = { false };
	int32_t i;
	int32_t k;

	if (limit < c->limit_seats)
		limit = c->limit_seats;
	for (k = 0; k < f->plan.purchase_count; k++)
	{
		const AskPurchase *b = &f->purchases[k];
		const AskPool *p = &f->pools[b->pool];
		int64_t cost = b->source.kind == NEED_REACTIVATE
						   ? f->pools[b->pool].plan->subscriptions[b->source.subscription].quantity
						   : b->seats;
		int32_t served = 0;
		int32_t granted = 0;

		for (i = 0; i < f->request_count; i++)
			if (f->effects[i].kind == ASK_BUY && f->effects[i].group == k)
			{
				const AskRequest *r = &f->requests[i];

				if (r->pool != b->pool || r->release || r->seat_bought)
					return "a purchase serves a request that it must not";
				if (b->adjustment != 0 &&
					(r->adjustment != b->adjustment || r->approval != ASK_APPROVAL_GRANTED))
					return "an approval pays for a request that it was not given for";
				if (r->approved_seats > granted)
					granted = r->approved_seats;
				served++;
			}
		if (seen[b->pool])
			return "a pool has two purchases";
		seen[b->pool] = true;
		if (!c->purchases)
			return "bought although purchases are off";
		if (p->buying)
			return "bought while a purchase is open";
		if (!p->read || !p->subscriptions_read)
			return "bought in a pool that was not read";
		if (b->seats <= 0 || b->seats > served)
			return "more is bought than requests are served";
		if (b->seats > model_need(&p->figures))
			return "more is bought than is needed";
		if (p->max_seats >= 0 && p->owned + cost > p->max_seats)
			return "more is bought than max_seats allows";
		if (b->source.kind != NEED_ORDER && b->seats > b->source.room)
			return "more is bought than the source has";
		if (b->adjustment != 0 && b->seats > granted)
			return "more is bought than was approved";
		if (b->adjustment == 0 && (unapproved += cost) > limit)
			return "more is bought than the purchase limit leaves";
	}
	for (i = 0; i < f->request_count; i++)
		if (f->effects[i].kind == ASK_BUY &&
			(f->effects[i].group < 0 || f->effects[i].group >= f->plan.purchase_count))
			return "a request is bought for without a purchase";
	return NULL;
}

/*
 * Does it get neither a seat nor a purchase, while a younger one gets that?  With
 * ASK_FOR_SEAT it has a free seat that does not show yet; with ASK_FOR_RESERVED one that
 * may be another's: a younger one may be bought for, but not go first.
 */
static bool
is_passed_over(const RequestFixture *f, int32_t i, AskEffectKind younger)
{
	const AskEffect *e = &f->effects[i];

	if (younger != ASK_BUY && younger != ASK_ASSIGN)
		return false;
	if (e->kind == ASK_ASK_PERSON)
		return true;
	if (e->kind == ASK_WAIT && e->reason == ASK_FOR_RESERVED)
		return younger == ASK_ASSIGN;
	if (e->kind == ASK_WAIT && e->reason == ASK_FOR_TRY && younger == ASK_ASSIGN)
	{
		/* It could not have tried. */
		int32_t user = f->requests[i].user;
		int32_t k;

		for (k = 0; k < f->request_count; k++)
			if (f->requests[k].user == user && f->effects[k].kind == ASK_SET_LOCATION)
				return false;
		return !f->users[user].busy;
	}
	return e->kind == ASK_WAIT && (e->reason == ASK_FOR_TRY || e->reason == ASK_FOR_PURCHASE ||
								   e->reason == ASK_FOR_APPROVAL);
}

static bool
alike(const RequestFixture *f, const AskRequest *a, const AskRequest *b)
{
	const AskPool *p = &f->pools[a->pool];

	return a->pool == b->pool && a->stock_only == b->stock_only && a->approval == b->approval &&
		   a->adjustment == b->adjustment &&
		   spinpanel_request_told(&f->customer, p, a) == spinpanel_request_told(&f->customer, p, b);
}

static const char *
check_order(const RequestFixture *f)
{
	int32_t i;
	int32_t k;

	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *old = &f->requests[i];

		if (!old->due || old->status != ASK_QUEUED || !request_fixture_open(old))
			continue;
		for (k = i + 1; k < f->request_count; k++)
		{
			const AskRequest *young = &f->requests[k];

			if (young->status == ASK_QUEUED && request_fixture_open(young) &&
				is_passed_over(f, i, f->effects[k].kind) && alike(f, old, young))
				return "a younger request goes before an older one";
		}
	}
	return NULL;
}

/*
 * Within the limit the oldest of all pools are served.  A reactivation may not fit into
 * what is left; where it does, all of its seats are paid for.
 */
static const char *
check_limit_order(const RequestFixture *f)
{
	int32_t i;
	int32_t k;

	for (i = 0; i < f->request_count; i++)
	{
		const AskPool *p = &f->pools[f->requests[i].pool];
		int32_t subscription;
		int32_t room;

		if (f->effects[i].kind != ASK_ASK_PERSON ||
			model_source(p->plan, p->terms, &p->rule, &subscription, &room) == NEED_REACTIVATE)
			continue;
		for (k = i + 1; k < f->request_count; k++)
			if (f->effects[k].kind == ASK_BUY &&
				f->purchases[f->effects[k].group].adjustment == 0 &&
				f->purchases[f->effects[k].group].source.kind != NEED_REACTIVATE)
				return "an older one asks a person, and a younger one is bought for";
	}
	return NULL;
}

static const char *
check_words(const RequestFixture *f)
{
	int32_t i;

	for (i = 0; i < f->request_count; i++)
	{
		const AskEffect *e = &f->effects[i];
		bool waits = e->kind == ASK_WAIT || e->kind == ASK_FOLLOW || e->kind == ASK_ASK_PERSON;

		if (waits && (e->until <= FIXTURE_MOMENT || e->until > FIXTURE_MOMENT + PLAN_HOUR))
			return "it waits for ever, or not at all";
		if ((e->kind == ASK_FINISH_FAILED || e->kind == ASK_FINISH_CANCELLED ||
			 e->kind == ASK_ASK_PERSON || e->kind == ASK_BUY || e->kind == ASK_ASSIGN) &&
			e->text[0] == '\0')
			return "nothing is said";
		if (e->kind == ASK_WAIT && e->reason == ASK_FOR_NOTHING && e->text[0] == '\0')
			return "it waits, and does not say for what";
	}
	return NULL;
}

static const char *
check_users(const RequestFixture *f)
{
	int32_t i;
	int32_t k;

	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		AskEffectKind kind = f->effects[i].kind;
		bool grouped = kind == ASK_ASSIGN || kind == ASK_RELEASE || kind == ASK_SET_LOCATION;

		if ((kind == ASK_ASSIGN || kind == ASK_BUY) && r->release)
			return "a release is assigned";
		if (kind == ASK_RELEASE && (!r->release || !r->held))
			return "released what is not to be released";
		if (kind == ASK_ASSIGN && !f->users[r->user].has_location && r->status == ASK_QUEUED)
			return "assigned without a usage location";
		if (grouped && f->users[r->user].busy)
			return "two operations of a user at a time";
		for (k = i + 1; k < f->request_count; k++)
		{
			const AskRequest *o = &f->requests[k];
			AskEffectKind other = f->effects[k].kind;
			bool also = other == ASK_ASSIGN || other == ASK_RELEASE || other == ASK_SET_LOCATION;

			if (grouped && also && r->user == o->user && f->effects[i].group != f->effects[k].group)
				return "a user has two groups";
			if (grouped && also && r->user != o->user && f->effects[i].group == f->effects[k].group)
				return "two users have one group";
			if (grouped && also && r->user == o->user && kind != other)
				return "a group of two kinds";
			if (r->user >= 0 && r->user == o->user && r->pool == o->pool && !r->release &&
				o->release && r->status == ASK_QUEUED && (kind == ASK_ASSIGN || kind == ASK_BUY) &&
				other != ASK_FINISH_DONE && other != ASK_FINISH_FAILED &&
				other != ASK_FINISH_CANCELLED)
				return "assigned although the release was asked for later";
		}
	}
	return NULL;
}

/* Does each that follows end with one that goes its own way? */
static const char *
check_leaders(const RequestFixture *f)
{
	int32_t i;
	int32_t k;

	for (i = 0; i < f->request_count; i++)
	{
		int64_t id = f->requests[i].follows;
		int32_t steps = 0;

		while (id != 0 && steps <= f->request_count)
		{
			int64_t next = 0;

			for (k = 0; k < f->request_count; k++)
				if (f->requests[k].id == id)
					next = f->requests[k].follows;
			id = next;
			steps++;
		}
		if (steps > f->request_count)
			return "requests follow each other in a circle";
	}
	return NULL;
}

/*
 * The effects are applied and all of it is planned again, at the same moment, until
 * nothing happens any more: each round keeps the limits as they are by then, nothing is
 * bought or done twice, and it comes to an end.
 */
#define ROUNDS 8

static const char *
check_again(const RequestFixture *f)
{
	static RequestFixture again;
	bool bought[FIXTURE_POOLS] = { false };
	bool changed[FIXTURE_REQUESTS + 1] = { false }; /* by id: a purchase, or an operation */
	bool assigned[FIXTURE_REQUESTS + 1] = { false };
	int32_t round;
	int32_t i;

	again = *f;
	request_fixture_relink(&again);
	for (round = 0; round < ROUNDS; round++)
	{
		const char *wrong;
		bool quiet = true;

		for (i = 0; i < again.plan.purchase_count; i++)
		{
			if (bought[again.purchases[i].pool])
				return "a second purchase in a pool";
			bought[again.purchases[i].pool] = true;
		}
		for (i = 0; i < again.request_count; i++)
		{
			AskEffectKind kind = again.effects[i].kind;
			int64_t id = again.requests[i].id;

			if (kind == ASK_KEEP || kind == ASK_WAIT || kind == ASK_ASK_PERSON)
				continue;
			quiet = false;
			if (kind == ASK_BUY && changed[id])
				return "bought for although something was done for it";
			if ((kind == ASK_ASSIGN || kind == ASK_RELEASE || kind == ASK_SET_LOCATION) &&
				assigned[id])
				return "two operations for one request";
			changed[id] |= kind == ASK_BUY || kind == ASK_ASSIGN || kind == ASK_TAKE_SEAT;
			assigned[id] |= kind == ASK_ASSIGN || kind == ASK_RELEASE || kind == ASK_SET_LOCATION;
		}
		if (quiet && round > 0)
			return NULL;
		request_fixture_apply(&again);
		if ((wrong = check_leaders(&again)) != NULL)
			return wrong;
		request_fixture_plan(&again);
		if ((wrong = check_purchases(&again)) != NULL || (wrong = check_users(&again)) != NULL)
			return wrong;
	}
	return "it does not come to an end";
}

/* ---- linear time -------------------------------------------------------------------------- */

/* Seconds of CPU for so many requests of one shape */
static double
time_of(int32_t count, int32_t shape)
{
	int32_t pool_count = shape == 3 ? count / 10 : 2;
	AskRequest *requests = calloc((size_t) count, sizeof(AskRequest));
	AskEffect *effects = calloc((size_t) count, sizeof(AskEffect));
	AskUser *users = calloc((size_t) count, sizeof(AskUser));
	AskPool *pools = calloc((size_t) pool_count, sizeof(AskPool));
	AskPurchase *purchases = calloc((size_t) pool_count, sizeof(AskPurchase));
	AskPlan plan = { .effects = effects, .purchases = purchases };
	PlanSubscription subscription = { .commerce = PLAN_NCE,
									  .status = PLAN_ACTIVE,
									  .quantity = 10,
									  .maximum = INT32_MAX,
									  .term_end = PLAN_NEVER,
									  .auto_renew = true,
									  .next_quantity = -1 };
	NeedTerms terms = { .usable = true };
	PlanPool supply = { .subscriptions = &subscription, .subscription_count = 1 };
	AskCustomer customer = { .now = FIXTURE_MOMENT,
							 .purchases = true,
							 .limit_seats = count / 2,
							 .limit_until = PLAN_NEVER };
	double best = 1e9;
	int32_t turn;
	int32_t i;

	for (i = 0; i < count; i++)
	{
		AskRequest *r = &requests[i];

		r->id = i + 1;
		r->due = r->looked = true;
		r->leader_status = ASK_CANCELLED;
		r->created_at = r->looked_at = FIXTURE_MOMENT;
		r->active_level = -1;
		r->pool = i % pool_count;
		users[i].has_location = true;
		switch (shape)
		{
			case 0: /* a bulk for as many users */
			case 3: /* ... of as many pools */
				r->user = i;
				break;
			case 1: /* one user changes their mind all the time */
				r->release = r->held = i / 2 % 2 == 1;
				break;
			default: /* ... asks again and again, while the youngest has begun */
				if (i / 2 == count / 2 - 1)
					r->status = ASK_ASSIGNING, r->operation = ASK_OPERATION_OPEN;
				else if (i % 3 == 0)
					r->follows = count - i % 2, r->leader_status = ASK_ASSIGNING;
				break;
		}
	}
	for (i = 0; i < pool_count; i++)
	{
		pools[i].plan = &supply;
		pools[i].terms = &terms;
		pools[i].figures.active = 10;
		pools[i].max_seats = -1;
		pools[i].read = pools[i].subscriptions_read = true;
	}
	for (turn = 0; turn < 5; turn++)
	{
		struct timespec a;
		struct timespec b;
		double seconds;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
		spinpanel_request_plan(&customer, pools, pool_count, users, count, requests, count, &plan);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
		seconds = (double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) / 1e9;
		if (seconds < best)
			best = seconds;
	}
	free(requests);
	free(effects);
	free(users);
	free(pools);
	free(purchases);
	return best;
}

/*
 * Quadratic would be a hundred times as much.  Caches and neighbours cost something, too,
 * and a neighbour may be busy: it is asked more than once.
 */
static bool
is_linear(void)
{
	int32_t shape;
	int32_t turn;

	for (shape = 0; shape < 4; shape++)
	{
		bool linear = false;

		for (turn = 0; turn < 4 && !linear; turn++)
		{
			double few = time_of(4000, shape);
			double many = time_of(40000, shape);

			printf("# shape %d: 4,000 requests %.2f ms, 40,000 %.2f ms: %.1f times as much\n",
				   (int) shape, few * 1e3, many * 1e3, many / few);
			linear = many < few * 40;
		}
		if (!linear)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	static const char *(*const checks[])(
		const RequestFixture *) = { check_kept,  check_purchases, check_order, check_limit_order,
									check_users, check_words,     check_again };
	static const char *const names[] = { "each due request is decided, no other",
										 "never more bought than needed and allowed",
										 "oldest first",
										 "the limit serves the oldest of all pools",
										 "one operation of a user at a time",
										 "it is said why, and until when",
										 "nothing twice, and then nothing more" };
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	uint64_t failed[CHECKS] = { 0 };
	uint64_t bought = 0;
	uint64_t assigned = 0;
	uint64_t asked = 0;
	bool bad = false;
	uint64_t n;
	int32_t i;

	for (n = 0; n < count; n++)
	{
		RequestFixture f;

		request_fixture_random(&f, seed * UINT64_C(1000000007) + n);
		request_fixture_plan(&f);
		bought += (uint64_t) f.plan.purchase_count;
		for (i = 0; i < f.request_count; i++)
		{
			assigned += f.effects[i].kind == ASK_ASSIGN;
			asked += f.effects[i].kind == ASK_ASK_PERSON;
		}
		for (i = 0; i < CHECKS; i++)
		{
			const char *wrong = checks[i](&f);

			if (wrong != NULL && failed[i]++ < 2)
			{
				printf("# situation %llu: %s\n", (unsigned long long) n, wrong);
				request_fixture_print(&f);
			}
		}
	}
	for (i = 0; i < CHECKS; i++)
	{
		printf("%sok %d - %s (%llu of %llu fail)\n", failed[i] ? "not " : "", i + 1, names[i],
			   (unsigned long long) failed[i], (unsigned long long) count);
		bad |= failed[i] > 0;
	}
	/* Situations in which nothing happens would show nothing. */
	if (bought * 20 < count || assigned * 20 < count || asked * 200 < count)
		bad = true;
	printf("%sok 8 - %llu purchases, %llu assignments, %llu questions to a person\n",
		   bought * 20 < count || assigned * 20 < count || asked * 200 < count ? "not " : "",
		   (unsigned long long) bought, (unsigned long long) assigned, (unsigned long long) asked);
	if (!is_linear())
	{
		printf("not ");
		bad = true;
	}
	printf("ok 9 - ten times the requests take about ten times as long\n1..9\n");
	return bad ? 1 : 0;
}
