/*
 * request_fuzz.c
 *
 * libFuzzer target: requests, pools and subscriptions of any bytes whatever.
 * Sanitizers look for undefined arithmetic and memory errors; here it is asked that what
 * comes out keeps the little that holds even for nonsense: nobody else's requests, no
 * purchase that is off, too large or for nobody, one operation of a user.
 */
#include "request_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *bytes;
static size_t left;

static void
take(void *into, size_t size)
{
	size_t n = size < left ? size : left;

	memset(into, 0, size);
	if (n > 0)
		memcpy(into, bytes, n);
	bytes += n;
	left -= n;
}

static uint8_t
byte(void)
{
	uint8_t b;

	take(&b, 1);
	return b;
}

/* Mostly small numbers, sometimes any. */
static int32_t
number(void)
{
	uint8_t b = byte();
	int32_t n;

	if (b < 250)
		return b % 16;
	if (b < 252)
		return INT32_MAX;
	if (b < 253)
		return INT32_MIN;
	if (b < 254)
		return -1;
	take(&n, sizeof(n));
	return n;
}

static PlanTime
moment(void)
{
	uint8_t b = byte();
	PlanTime t;

	if (b < 100)
		return FIXTURE_MOMENT - (int64_t) (b % 100) * PLAN_SECOND;
	if (b < 180)
		return FIXTURE_MOMENT + (int64_t) (int8_t) byte() * 3 * PLAN_HOUR;
	if (b < 220)
		return 0;
	if (b < 235)
		return PLAN_NEVER;
	if (b < 245)
		return INT64_MIN;
	take(&t, sizeof(t));
	return t;
}

/* a length of time: never negative */
static PlanTime
span(void)
{
	uint8_t b = byte();

	return b < 250 ? (PlanTime) b * PLAN_HOUR : PLAN_NEVER;
}

static const char *
text(void)
{
	static const char *const some[] = { NULL, "P1M", "p1m", "monthly", "", "CFQ7TTC0LDPB:0001" };

	return some[byte() % 6];
}

#define must(holds) \
	do \
	{ \
		if (!(holds)) \
		{ \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds); \
			request_fixture_print(shown); \
			fflush(stdout); \
			abort(); \
		} \
	} while (0)

static const RequestFixture *shown;

static void
take_subscription(PlanSubscription *s, NeedTerms *terms)
{
	uint8_t flags = byte();

	memset(s, 0, sizeof(*s));
	s->commerce = flags % 8 == 7 ? PLAN_OTHER : flags % 2 ? PLAN_NCE : PLAN_LEGACY;
	s->status = flags / 8 % 4 == 3 ? PLAN_SUSPENDED : flags / 32 == 7 ? PLAN_GONE : PLAN_ACTIVE;
	s->trial = flags / 32 == 6;
	flags = byte();
	s->suspended_by = (PlanWho) (flags % 3);
	s->end_by = (PlanWho) (flags / 3 % 3);
	s->next_by = (PlanWho) (flags / 9 % 3);
	flags = byte();
	s->auto_renew = (flags & 1) == 0;
	s->cancel_at_term = (flags & 6) == 6;
	s->extended_term = (flags & 24) == 24;
	s->next_other_sku = (flags & 96) == 96;
	s->renewing = (flags & 128) != 0;
	s->quantity = number();
	s->maximum = number();
	s->created = moment();
	s->term_end = moment();
	s->next_quantity = byte() < 150 ? -1 : number();
	s->changes = number();
	terms->term_duration = text();
	terms->billing_cycle = text();
	terms->usable = byte() % 8 != 0;
}

static void
take_pool(RequestFixture *f, int32_t i)
{
	AskPool *p = &f->pools[i];
	NeedFigures *n = &p->figures;
	int32_t *figures[] = { &n->active,     &n->consumed, &n->unshown,  &n->reserved, &n->claimed,
						   &n->unreported, &n->lagging,  &n->released, &n->removing, &n->open,
						   &n->refused,    &p->owned,    &p->unread };
	uint8_t flags = byte();
	size_t k;
	int32_t j;

	p->read = (flags & 1) == 0;
	p->subscriptions_read = (flags & 2) == 0;
	p->buying = (flags & 12) == 12;
	n->increment = f->customer.increment;
	p->max_seats = (flags & 48) == 48 ? number() : -1;
	p->unread = 0;
	for (k = 0; k < sizeof(figures) / sizeof(figures[0]) - ((flags & 64) == 0); k++)
		*figures[k] = number();
	p->unlooked = (flags & 128) != 0;
	p->release_since = moment();
	p->freed_at = moment();
	p->rule.default_offer = text();
	p->rule.term_duration = text();
	p->rule.billing_cycle = text();
	f->plans[i].renewal_lead = span();
	f->plans[i].subscription_count = byte() % (FIXTURE_SUBSCRIPTIONS + 1);
	for (j = 0; j < f->plans[i].subscription_count; j++)
		take_subscription(&f->subscriptions[i][j], &f->terms[i][j]);
}

static void
take_request(RequestFixture *f, int32_t i)
{
	AskRequest *r = &f->requests[i];
	uint8_t flags = byte();

	r->id = (int64_t) i * 3 + 1;
	r->release = (flags & 3) == 3;
	r->due = (flags & 12) != 12;
	r->looked = (flags & 48) != 48;
	r->held = (flags & 192) == 192;
	flags = byte();
	r->user = flags % (FIXTURE_USERS + 1) - 1;
	r->pool = flags / 8 % f->pool_count;
	r->status = flags / 32 < 4 ? ASK_QUEUED : (AskStatus) (flags / 32 - 4);
	flags = byte();
	r->seat_bought = (flags & 3) == 3;
	r->wrong_sku = (flags & 12) == 12;
	if (r->release)
	{
		/* The table of transitions and the store leave it no other. */
		r->seat_bought = false;
		if (r->status != ASK_ASSIGNING)
			r->status = ASK_QUEUED;
	}
	r->operation = (AskOperation) (flags / 16 % 3);
	r->purchase = (AskOperation) (byte() % 3);
	r->purchase_done = (flags & 128) != 0;
	r->created_at = moment();
	r->looked_at = moment();
	r->provisioning_at = moment();
	r->refused_at = byte() % 4 == 0 ? moment() : 0;
	r->attempts = number();
	r->active_level = number();
	r->buy_most = byte() % 8 == 0 ? number() : 0;
	flags = byte();
	r->stock_only = (flags & 7) == 7;
	r->follows = (flags & 56) == 56 ? number() : 0;
	r->leader_status = (AskStatus) (byte() % 7);
	r->approval = (AskApproval) (flags / 64);
	r->adjustment = r->approval != ASK_APPROVAL_NONE ? 1 + byte() % 3 : 0;
	r->approved_seats = number();
	r->decision = text();
}

static void
check_plan(const RequestFixture *f)
{
	bool bought[FIXTURE_POOLS] = { false };
	int32_t served[FIXTURE_POOLS] = { 0 };
	int32_t i;
	int32_t k;

	must(f->plan.purchase_count >= 0 && f->plan.purchase_count <= f->pool_count);
	must(f->plan.group_count >= 0 && f->plan.group_count <= FIXTURE_USERS);
	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		const AskEffect *e = &f->effects[i];

		must(memchr(e->text, '\0', sizeof(e->text)) != NULL);
		must(e->kind >= ASK_KEEP && e->kind <= ASK_ASK_PERSON);
		must(r->due || e->kind == ASK_KEEP);
		if (e->kind == ASK_WAIT || e->kind == ASK_ASK_PERSON || e->kind == ASK_FOLLOW)
			must(e->until > FIXTURE_MOMENT);
		if (e->kind == ASK_FOLLOW)
			must(e->other != r->id);
		if (e->kind == ASK_BUY)
		{
			must(!r->release && e->group >= 0 && e->group < f->plan.purchase_count);
			must(f->purchases[e->group].pool == r->pool);
			served[e->group]++;
		}
		if (e->kind == ASK_ASSIGN || e->kind == ASK_RELEASE || e->kind == ASK_SET_LOCATION)
		{
			must(e->group >= 0 && e->group < f->plan.group_count);
			must(r->user >= 0 && !f->users[r->user].busy);
			must((e->kind == ASK_RELEASE) == r->release);
			for (k = 0; k < i; k++)
				if (f->requests[k].user == r->user &&
					(f->effects[k].kind == ASK_ASSIGN || f->effects[k].kind == ASK_RELEASE ||
					 f->effects[k].kind == ASK_SET_LOCATION))
					must(f->effects[k].kind == e->kind && f->effects[k].group == e->group);
		}
	}
	for (i = 0; i < f->plan.purchase_count; i++)
	{
		const AskPurchase *b = &f->purchases[i];
		const AskPool *p = &f->pools[b->pool];

		must(f->customer.purchases && !bought[b->pool] && !p->buying && p->read &&
			 p->subscriptions_read);
		bought[b->pool] = true;
		must(b->seats > 0 && b->seats == served[i] && b->seats <= b->source.room);
		must(b->source.kind == NEED_RAISE || b->source.kind == NEED_REACTIVATE ||
			 b->source.kind == NEED_ORDER);
		must(b->source.subscription < p->plan->subscription_count &&
			 (b->source.subscription >= 0) == (b->source.kind != NEED_ORDER));
		if (p->max_seats >= 0)
			must((int64_t) p->owned + b->seats <= p->max_seats);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static RequestFixture f;
	char why[64];
	uint8_t flags;
	int32_t i;

	bytes = data;
	left = size;
	memset(&f, 0, sizeof(f));
	flags = byte();
	f.customer.now = FIXTURE_MOMENT;
	f.customer.purchases = (flags & 7) != 7;
	f.customer.increment = (flags & 24) == 24;
	f.customer.has_location = (flags & 32) != 0;
	f.customer.limit_percent = number();
	f.customer.limit_seats = number();
	f.customer.owned = number();
	f.customer.bought_recently = number();
	f.customer.limit_until = moment();
	f.customer.provisioning_timeout = span();
	f.customer.settle_time = span();
	f.customer.retry_max = span();
	f.pool_count = 1 + byte() % FIXTURE_POOLS;
	for (i = 0; i < f.pool_count; i++)
		take_pool(&f, i);
	flags = byte();
	for (i = 0; i < FIXTURE_USERS; i++)
	{
		f.users[i].has_location = (flags >> i & 1) == 0;
		f.users[i].busy = (flags >> (i + 4) & 1) != 0;
	}
	f.request_count = byte() % (FIXTURE_REQUESTS + 1);
	for (i = 0; i < f.request_count; i++)
		take_request(&f, i);
	request_fixture_relink(&f);
	for (i = 0; i < f.pool_count; i++)
		spinpanel_need_supply(&f.plans[i], FIXTURE_MOMENT, &f.pools[i].figures);

	shown = &f;
	request_fixture_plan(&f);
	check_plan(&f);

	for (i = 0; i < f.pool_count; i++)
	{
		AskPool *p = &f.pools[i];
		AskSending sending = { .kind = NEED_ORDER, .subscription = -1 };
		NeedSource source;
		int32_t seats;
		int32_t wanted = 1 + byte() % 20;
		bool approved = byte() % 2 == 0;
		AskBuyable answer = spinpanel_request_can_buy(&f.customer, p, approved, wanted, &source,
													  &seats, why, sizeof(why));

		must(seats >= 0 && seats <= wanted);
		must((seats > 0) == (answer == ASK_BUY_YES || answer == ASK_BUY_NOT_SO_MANY));
		sending.seats = number();
		sending.linked = number();
		sending.approved = approved;
		if (f.plans[i].subscription_count > 0 && byte() % 4 != 0)
		{
			sending.subscription = byte() % f.plans[i].subscription_count;
			sending.kind = byte() % 2 ? NEED_RAISE : NEED_REACTIVATE;
		}
		else
		{
			sending.offer = text();
			sending.term_duration = text();
			sending.billing_cycle = text();
		}
		seats = spinpanel_request_may_send(&f.customer, p, &sending, why, sizeof(why));
		must(seats >= 0 && (seats == 0 || (seats <= sending.seats && seats <= sending.linked)));
		must(seats == 0 || f.customer.purchases);
	}
	for (i = 0; i < f.request_count; i++)
		(void) spinpanel_request_no_seat(&f.customer, &f.pools[f.requests[i].pool], &f.requests[i],
										 byte() % 2, why, sizeof(why));
	return 0;
}
