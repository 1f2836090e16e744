/*
 * request_property.c
 *
 * Random situations: what request_plan.h says always holds of a plan is asked of
 * each.  Usage: request_property COUNT SEED.  Prints TAP.
 */
#include "request_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		if (r->due && keep && r->user >= 0 && r->looked && f->pools[r->pool].read)
			return "a due request is left undecided";
	}
	return NULL;
}

static int64_t
plain_need(const NeedFigures *n)
{
	int64_t available = (int64_t) n->active - (n->reserved - n->unshown) - n->consumed -
						n->claimed - n->unreported + n->released - n->trial - n->removing -
						n->ending;
	int64_t missing;

	if (n->increment)
		return n->open;
	if (n->refused == 0)
		available += n->unreported + n->lagging;
	missing = n->open - (available > 0 ? available : 0);
	if (missing < n->refused)
		missing = n->refused;
	return missing > 0 ? missing : 0;
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
		int64_t cost =
			b->source.kind == NEED_REACTIVATE ? f->subscriptions[b->pool].quantity : b->seats;
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
		if (b->seats > plain_need(&p->figures))
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

/* With ASK_FOR_SEAT it has a free seat that does not show yet: that one is its own. */
static bool
waits_for_seat(const RequestFixture *f, int32_t i)
{
	const AskEffect *e = &f->effects[i];

	if (e->kind == ASK_ASK_PERSON)
		return true;
	return e->kind == ASK_WAIT && (e->reason == ASK_FOR_RESERVED || e->reason == ASK_FOR_TRY ||
								   e->reason == ASK_FOR_PURCHASE || e->reason == ASK_FOR_APPROVAL);
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

		if (!old->due || old->status != ASK_QUEUED || !request_fixture_open(old) ||
			!waits_for_seat(f, i))
			continue;
		for (k = i + 1; k < f->request_count; k++)
		{
			const AskRequest *young = &f->requests[k];

			if (young->status == ASK_QUEUED && request_fixture_open(young) &&
				(f->effects[k].kind == ASK_BUY || f->effects[k].kind == ASK_ASSIGN) &&
				alike(f, old, young))
				return "a younger request goes before an older one";
		}
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

static const char *
check_again(const RequestFixture *f)
{
	RequestFixture again = *f;
	int32_t i;
	int32_t k;

	request_fixture_relink(&again);
	request_fixture_apply(&again);
	request_fixture_plan(&again);
	for (i = 0; i < again.plan.purchase_count; i++)
		for (k = 0; k < f->plan.purchase_count; k++)
			if (again.purchases[i].pool == f->purchases[k].pool)
				return "a second purchase in a pool";
	for (i = 0; i < again.request_count; i++)
	{
		AskEffectKind kind = again.effects[i].kind;

		if ((kind == ASK_ASSIGN || kind == ASK_RELEASE || kind == ASK_SET_LOCATION) &&
			again.requests[i].user >= 0 && again.users[again.requests[i].user].busy)
			return "a second group of a user";
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static const char *(*const checks[])(const RequestFixture *) = { check_kept, check_purchases,
																	 check_order, check_users,
																	 check_again };
	static const char *const names[] = { "each due request is decided, no other",
										 "never more bought than needed and allowed",
										 "oldest first", "one operation of a user at a time",
										 "nothing twice" };
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	uint64_t failed[5] = { 0 };
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
		for (i = 0; i < 5; i++)
		{
			const char *wrong = checks[i](&f);

			if (wrong != NULL && failed[i]++ < 2)
			{
				printf("# situation %llu: %s\n", (unsigned long long) n, wrong);
				request_fixture_print(&f);
			}
		}
	}
	for (i = 0; i < 5; i++)
	{
		printf("%sok %d - %s (%llu of %llu fail)\n", failed[i] ? "not " : "", i + 1, names[i],
			   (unsigned long long) failed[i], (unsigned long long) count);
		bad |= failed[i] > 0;
	}
	/* Situations in which nothing happens would show nothing. */
	if (bought * 20 < count || assigned * 20 < count || asked * 200 < count)
		bad = true;
	printf("%sok 6 - %llu purchases, %llu assignments, %llu questions to a person\n1..6\n",
		   bought * 20 < count || assigned * 20 < count || asked * 200 < count ? "not " : "",
		   (unsigned long long) bought, (unsigned long long) assigned, (unsigned long long) asked);
	return bad ? 1 : 0;
}
