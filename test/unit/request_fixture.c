/*
 * request_fixture.c
 *
 * See request_fixture.h.
 */
#include "request_fixture.h"

#include <stdio.h>
#include <string.h>

static uint64_t state;

/* splitmix64 */
static uint32_t
below(uint32_t n)
{
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t) ((z ^ (z >> 31)) % n);
}

static bool
one_in(uint32_t n)
{
	return below(n) == 0;
}

static void
random_request(RequestFixture *f, uint64_t number, int32_t i)
{
	AskRequest *r = &f->requests[i];

	r->id = i + 1;
	r->release = one_in(5);
	r->due = !one_in(10);
	r->pool = (int32_t) below((uint32_t) f->pool_count);
	r->user = one_in(15) ? -1 : (int32_t) below(FIXTURE_USERS);
	r->looked = r->user >= 0 && !one_in(12);
	r->held = r->looked && (r->release ? !one_in(4) : one_in(10));
	r->reserves = !r->release;
	r->created_at = FIXTURE_MOMENT - (100 - i) * PLAN_SECOND;
	r->looked_at = FIXTURE_MOMENT - below(120) * PLAN_SECOND;
	r->provisioning_at = FIXTURE_MOMENT - below(90) * PLAN_SECOND;
	r->attempts = (int32_t) below(4);
	r->active_level = -1;
	r->leader_status = ASK_CANCELLED;
	if (one_in(10) && i > 0)
	{
		r->follows = (int64_t) below((uint32_t) i) + 1;
		r->leader_status = (AskStatus) below(ASK_CANCELLED + 1);
	}
	else if (one_in(8) && !r->release)
	{
		r->status = ASK_BUYING;
		r->purchase = one_in(2) ? ASK_OPERATION_OPEN : ASK_OPERATION_OVER;
		r->purchase_done = r->purchase == ASK_OPERATION_OVER && one_in(2);
	}
	else if (one_in(8) && !r->release)
	{
		r->status = ASK_PROVISIONING;
		r->seat_bought = true;
		r->wrong_sku = one_in(10);
		r->active_level = (int32_t) below(14);
	}
	else if (one_in(10))
	{
		r->status = ASK_ASSIGNING;
		r->operation = one_in(2) ? ASK_OPERATION_OPEN : ASK_OPERATION_OVER;
	}
	else if (!r->release)
	{
		if (one_in(4))
			r->refused_at = FIXTURE_MOMENT - (one_in(5) ? 2 * PLAN_HOUR : below(60) * PLAN_SECOND);
		r->stock_only = f->customer.increment && one_in(6);
		r->buy_most = one_in(10) ? 1 + (int32_t) below(2) : 0;
		if (one_in(6))
		{
			/* one adjustment stands for all of them in a pool */
			r->adjustment = 7 + r->pool;
			r->approval = (AskApproval) (1 + (number + (uint64_t) r->pool) % 3);
			r->approved_seats = 1 + (int32_t) (number / 3 % 3);
		}
	}
}

bool
request_fixture_open(const AskRequest *r)
{
	return !r->release && !r->seat_bought && r->follows == 0 && r->operation == ASK_NO_OPERATION &&
		   (r->status == ASK_QUEUED || r->status == ASK_BUYING);
}

void
request_fixture_random(RequestFixture *f, uint64_t number)
{
	AskCustomer *c = &f->customer;
	int32_t i;

	memset(f, 0, sizeof(*f));
	state = number;
	c->now = FIXTURE_MOMENT;
	c->purchases = !one_in(8);
	c->increment = one_in(6);
	c->has_location = one_in(2);
	c->limit_percent = one_in(2) ? 0 : 10;
	c->limit_seats = one_in(3) ? 50 : (int32_t) below(5);
	c->owned = 20;
	c->bought_recently = (int32_t) below(4);
	c->limit_until = FIXTURE_MOMENT + PLAN_HOUR;
	c->provisioning_timeout = PLAN_DAY;
	c->settle_time = PLAN_HOUR;
	c->retry_max = 300 * PLAN_SECOND;
	f->pool_count = 1 + (int32_t) below(FIXTURE_POOLS);
	for (i = 0; i < f->pool_count; i++)
	{
		AskPool *p = &f->pools[i];
		PlanSubscription *s = &f->subscriptions[i];

		*s = (PlanSubscription){ .commerce = PLAN_NCE,
								 .status = PLAN_ACTIVE,
								 .quantity = 8 + (int32_t) below(5),
								 .minimum = 1,
								 .created = FIXTURE_MOMENT - 100 * PLAN_DAY,
								 .term_end = FIXTURE_MOMENT + 200 * PLAN_DAY,
								 .rejected_to = -1,
								 .auto_renew = true,
								 .next_quantity = -1 };
		s->maximum = one_in(4) ? s->quantity + (int32_t) below(3) : 300;
		if (one_in(8))
		{
			s->status = PLAN_SUSPENDED;
			s->suspended_by = one_in(3) ? PLAN_PERSON : PLAN_OURS;
			s->quantity = 1 + (int32_t) below(4);
		}
		if (one_in(12))
			s->end_by = PLAN_PERSON;
		f->plans[i].subscription_count = one_in(10) ? 0 : 1;
		f->plans[i].renewal_lead = 14 * PLAN_DAY;
		f->terms[i].usable = !one_in(20);
		p->rule.default_offer = one_in(3) ? "CFQ7TTC0LDPB:0001" : NULL;
		p->figures.active = 8 + (int32_t) below(5);
		p->figures.consumed = p->figures.active - (int32_t) below(4) + one_in(6);
		p->figures.unreported = one_in(5) ? (int32_t) below(3) : 0;
		p->figures.lagging = one_in(8) ? (int32_t) below(3) : 0;
		p->figures.released = one_in(6) ? (int32_t) below(3) : 0;
		p->figures.unshown = one_in(8) ? (int32_t) below(2) : 0;
		p->figures.removing = one_in(8) ? (int32_t) below(2) : 0;
		p->figures.increment = c->increment;
		p->owned = p->figures.active;
		p->max_seats = one_in(4) ? p->owned + (int32_t) below(4) - 1 : -1;
		p->read = p->subscriptions_read = !one_in(10);
		p->buying = one_in(8);
		p->unread = one_in(12) ? 1 : 0;
		p->unlooked = one_in(12) ? 1 : 0;
		p->release_since = one_in(10) ? FIXTURE_MOMENT - below(90) * PLAN_SECOND : 0;
		p->freed_at = one_in(6) ? FIXTURE_MOMENT - below(60) * PLAN_SECOND : 0;
	}
	for (i = 0; i < FIXTURE_USERS; i++)
	{
		f->users[i].has_location = !one_in(8);
		f->users[i].busy = one_in(10);
	}
	f->request_count = 1 + (int32_t) below(FIXTURE_REQUESTS);
	for (i = 0; i < f->request_count; i++)
		random_request(f, number, i);
	for (i = 0; i < f->request_count; i++)
	{
		AskRequest *r = &f->requests[i];
		AskPool *p = &f->pools[r->pool];

		if (r->status == ASK_BUYING && r->purchase == ASK_OPERATION_OPEN)
			p->buying = true;
		if (r->operation == ASK_OPERATION_OPEN && r->user >= 0)
			f->users[r->user].busy = true;
		if (r->seat_bought)
			p->figures.reserved++;
	}
	request_fixture_relink(f);
	for (i = 0; i < f->request_count; i++)
	{
		AskRequest *r = &f->requests[i];
		AskPool *p = &f->pools[r->pool];

		if (request_fixture_open(r))
		{
			p->figures.open++;
			p->figures.refused += spinpanel_request_told(c, p, r);
		}
	}
}

void
request_fixture_relink(RequestFixture *f)
{
	int32_t i;

	for (i = 0; i < f->pool_count; i++)
	{
		f->plans[i].subscriptions = &f->subscriptions[i];
		f->pools[i].plan = &f->plans[i];
		f->pools[i].terms = &f->terms[i];
	}
	f->plan.effects = f->effects;
	f->plan.purchases = f->purchases;
}

void
request_fixture_plan(RequestFixture *f)
{
	spinpanel_request_plan(&f->customer, f->pools, f->pool_count, f->users, FIXTURE_USERS,
						   f->requests, f->request_count, &f->plan);
}

void
request_fixture_apply(RequestFixture *f)
{
	int32_t kept = 0;
	int32_t i;

	for (i = 0; i < f->plan.purchase_count; i++)
	{
		f->pools[f->purchases[i].pool].buying = true;
		f->pools[f->purchases[i].pool].owned += f->purchases[i].seats;
		if (f->purchases[i].adjustment == 0)
			f->customer.bought_recently += f->purchases[i].seats;
	}
	for (i = 0; i < f->request_count; i++)
	{
		AskRequest r = f->requests[i];
		NeedFigures *figures = &f->pools[r.pool].figures;

		switch (f->effects[i].kind)
		{
			case ASK_FINISH_DONE:
			case ASK_FINISH_FAILED:
			case ASK_FINISH_CANCELLED:
				if (request_fixture_open(&r))
				{
					figures->open--;
					figures->refused -= spinpanel_request_told(&f->customer, &f->pools[r.pool], &r);
				}
				continue;
			case ASK_BUY:
				r.status = ASK_BUYING;
				r.purchase = ASK_OPERATION_OPEN;
				break;
			case ASK_ASSIGN:
			case ASK_RELEASE:
			case ASK_SET_LOCATION:
				if (f->effects[i].kind == ASK_ASSIGN)
				{
					figures->claimed++;
					if (r.seat_bought)
						figures->reserved--;
					else
					{
						figures->open--;
						figures->refused -=
							spinpanel_request_told(&f->customer, &f->pools[r.pool], &r);
					}
				}
				r.status = ASK_ASSIGNING;
				r.operation = ASK_OPERATION_OPEN;
				f->users[r.user].busy = true;
				break;
			case ASK_FOLLOW:
				r.follows = f->effects[i].other;
				r.leader_status = ASK_QUEUED;
				break;
			default:
				break;
		}
		f->requests[kept++] = r;
	}
	f->request_count = kept;
}

void
request_fixture_print(const RequestFixture *f)
{
	int32_t i;

	printf("# purchases %d increment %d limit %d%%/%d recent %d\n", f->customer.purchases,
		   f->customer.increment, f->customer.limit_percent, f->customer.limit_seats,
		   f->customer.bought_recently);
	for (i = 0; i < f->pool_count; i++)
	{
		const AskPool *p = &f->pools[i];

		printf(
			"# pool %d: active %d consumed %d unshown %d reserved %d unreported %d lagging %d released %d removing %d open %d refused %d; owned %d max %d read %d buying %d unread %d\n",
			i, p->figures.active, p->figures.consumed, p->figures.unshown, p->figures.reserved,
			p->figures.unreported, p->figures.lagging, p->figures.released, p->figures.removing,
			p->figures.open, p->figures.refused, p->owned, p->max_seats, p->read, p->buying,
			p->unread);
	}
	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		const AskEffect *e = &f->effects[i];

		printf(
			"# %d: %s pool %d user %d due %d looked %d held %d status %d seat %d told %d follows %d stock %d approval %d(%d) -> effect %d reason %d group %d %s\n",
			(int) r->id, r->release ? "release" : "assign", r->pool, r->user, r->due, r->looked,
			r->held, r->status, r->seat_bought, r->refused_at != 0, (int) r->follows, r->stock_only,
			r->approval, r->approved_seats, e->kind, e->reason, e->group, e->text);
	}
	for (i = 0; i < f->plan.purchase_count; i++)
		printf("# purchase: pool %d source %d seats %d adjustment %d\n", f->purchases[i].pool,
			   f->purchases[i].source.kind, f->purchases[i].seats,
			   (int) f->purchases[i].adjustment);
}
