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
	r->created_at = FIXTURE_MOMENT - (100 - 9 * i) * PLAN_SECOND;
	r->looked_at = r->looked                  ? FIXTURE_MOMENT - below(70) * PLAN_SECOND
				   : r->user < 0 || one_in(2) ? 0
											  : FIXTURE_MOMENT - PLAN_HOUR;
	r->provisioning_at = FIXTURE_MOMENT - below(90) * PLAN_SECOND;
	if (one_in(20))
		r->provisioning_at -= PLAN_DAY;
	r->attempts = one_in(3) ? (int32_t) below(4) : 0;
	r->active_level = -1;
	r->leader_status = ASK_CANCELLED;
	if (one_in(10) && !r->release)
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
		r->active_level = 6 + (int32_t) below(9);
	}
	else if (one_in(10))
	{
		r->status = ASK_ASSIGNING;
		r->operation = one_in(2) ? ASK_OPERATION_OPEN : ASK_OPERATION_OVER;
	}
	else if (one_in(20) && r->user >= 0)
		r->operation = one_in(2) ? ASK_OPERATION_OPEN : ASK_OPERATION_OVER; /* its location */
	else if (!r->release)
	{
		if (one_in(4))
			r->refused_at = FIXTURE_MOMENT - (one_in(5) ? PLAN_HOUR : below(60) * PLAN_SECOND);
		r->stock_only = f->customer.increment && one_in(6);
		r->buy_most = one_in(10) ? 1 + (int32_t) below(2) : 0;
		if (one_in(6))
		{
			/* one adjustment stands for all of them in a pool */
			r->adjustment = 7 + r->pool;
			r->approval = (AskApproval) (1 + (number + (uint64_t) r->pool) % 3);
			r->approved_seats = (int32_t) (number / 3 % 4);
			r->decision = one_in(2) ? "no budget" : NULL;
		}
	}
}

/* Some end with another one of their user and pool, or with one that is over. */
static void
random_leader(RequestFixture *f, int32_t i)
{
	AskRequest *r = &f->requests[i];
	int32_t k = (int32_t) below((uint32_t) f->request_count);
	const AskRequest *o = &f->requests[k];

	if (r->status != ASK_QUEUED || r->operation != ASK_NO_OPERATION || r->seat_bought ||
		r->user < 0 || !one_in(4))
		return;
	if (k != i && o->user == r->user && o->pool == r->pool && o->release == r->release &&
		o->follows == 0)
	{
		r->follows = o->id;
		r->leader_status = o->status;
	}
	else if (one_in(3))
	{
		r->follows = 100 + k;
		r->leader_status = (AskStatus) (ASK_DONE + below(3));
		r->leader_error = one_in(2) ? "it was refused" : NULL;
	}
}

bool
request_fixture_open(const AskRequest *r)
{
	return !r->release && !r->seat_bought && r->follows == 0 && r->operation == ASK_NO_OPERATION &&
		   r->looked_at != 0 && (r->status == ASK_QUEUED || r->status == ASK_BUYING);
}

static const char *const terms_of[] = { "P1M", "P1Y", "p1y", NULL };
static const char *const cycles_of[] = { "monthly", "annual", "Monthly", NULL };

static void
random_subscription(PlanSubscription *s, NeedTerms *terms)
{
	static const PlanTime ahead[] = { 10 * PLAN_HOUR, 25 * PLAN_HOUR, 13 * PLAN_DAY,
									  15 * PLAN_DAY,  200 * PLAN_DAY, -PLAN_DAY };

	*s = (PlanSubscription){ .commerce = one_in(4) ? PLAN_LEGACY : PLAN_NCE,
							 .status = PLAN_ACTIVE,
							 .quantity = 3 + (int32_t) below(6),
							 .minimum = 1,
							 .created = FIXTURE_MOMENT - (100 + below(3)) * PLAN_DAY,
							 .term_end = FIXTURE_MOMENT + 200 * PLAN_DAY,
							 .rejected_to = -1,
							 .auto_renew = true,
							 .next_quantity = -1 };
	s->maximum = one_in(4) ? s->quantity + (int32_t) below(3) : 300;
	*terms = (NeedTerms){ terms_of[below(4)], cycles_of[below(4)], !one_in(20) };
	if (one_in(12))
		s->commerce = PLAN_OTHER;
	s->trial = one_in(15);
	s->renewing = one_in(10);
	s->is_addon = one_in(20);
	s->changes = one_in(20) ? 1185 + (int32_t) below(10) : 0;
	if (one_in(3))
		s->term_end = one_in(10) ? PLAN_NEVER : FIXTURE_MOMENT + ahead[below(6)];
	if (one_in(5))
	{
		s->auto_renew = one_in(2);
		s->cancel_at_term = one_in(3);
		s->extended_term = one_in(4);
		if (!s->auto_renew || s->cancel_at_term)
			s->end_by = (PlanWho) below(3);
	}
	if (one_in(6))
	{
		s->next_quantity = (int32_t) below(10);
		s->next_other_sku = one_in(6);
		s->next_by = (PlanWho) (1 + below(2));
	}
	if (one_in(6))
	{
		s->status = one_in(8) ? PLAN_GONE : PLAN_SUSPENDED;
		s->suspended_by = one_in(4) ? PLAN_PERSON : PLAN_OURS;
		s->quantity = (int32_t) below(5);
	}
}

static void
random_pool(RequestFixture *f, int32_t i)
{
	AskPool *p = &f->pools[i];
	NeedFigures *n = &p->figures;
	int32_t k;

	f->plans[i].subscription_count = one_in(8) ? 0 : 1 + (int32_t) below(FIXTURE_SUBSCRIPTIONS);
	f->plans[i].renewal_lead = 14 * PLAN_DAY;
	for (k = 0; k < f->plans[i].subscription_count; k++)
		random_subscription(&f->subscriptions[i][k], &f->terms[i][k]);
	if (one_in(2))
		p->rule.default_offer = "CFQ7TTC0LDPB:0001";
	if (one_in(6))
		p->rule.term_duration = "P1Y";
	if (one_in(8))
		p->rule.billing_cycle = "Monthly";
	n->active = 8 + (int32_t) below(5);
	n->consumed = n->active - (int32_t) below(4) + one_in(6);
	n->unreported = one_in(5) ? (int32_t) below(3) : 0;
	n->lagging = one_in(8) ? (int32_t) below(3) : 0;
	n->released = one_in(6) ? (int32_t) below(3) : 0;
	n->removing = one_in(8) ? (int32_t) below(2) : 0;
	n->claimed = one_in(8) ? 1 : 0;
	n->increment = f->customer.increment && f->customer.purchases;
	/* trials and ends are rare among seats, or nothing would be left */
	if (one_in(3))
	{
		f->plans[i].subscriptions = f->subscriptions[i];
		spinpanel_need_supply(&f->plans[i], FIXTURE_MOMENT, n);
		n->active += n->trial;
	}
	/* requests of the pool that are not due and stand in nobody's way */
	n->open = one_in(6) ? (int32_t) below(3) : 0;
	n->refused = n->open > 0 && one_in(8) ? 1 : 0;
	p->unread = one_in(12) ? 1 : 0;
	p->owned = n->active + p->unread;
	p->max_seats = one_in(4) ? p->owned + (int32_t) below(6) - 1 : -1;
	p->read = !one_in(12);
	p->subscriptions_read = p->read && !one_in(12);
	p->buying = one_in(12);
	p->unlooked = one_in(12) ? 1 : 0;
	p->release_since = one_in(10) ? FIXTURE_MOMENT - below(90) * PLAN_SECOND : 0;
	p->freed_at = one_in(6) ? FIXTURE_MOMENT - below(60) * PLAN_SECOND : 0;
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
	c->limit_seats = one_in(3) ? 50 : (int32_t) below(7);
	c->owned = 20;
	c->bought_recently = (int32_t) below(4);
	c->limit_until = one_in(8) ? PLAN_NEVER : FIXTURE_MOMENT + (below(120)) * PLAN_SECOND * 60;
	c->provisioning_timeout = PLAN_DAY;
	c->settle_time = PLAN_HOUR;
	c->retry_max = one_in(4) ? PLAN_SECOND / 4 : 300 * PLAN_SECOND;
	f->pool_count = 1 + (int32_t) below(FIXTURE_POOLS);
	for (i = 0; i < f->pool_count; i++)
		random_pool(f, i);
	for (i = 0; i < FIXTURE_USERS; i++)
	{
		f->users[i].has_location = !one_in(8);
		f->users[i].busy = one_in(10);
	}
	f->request_count = 1 + (int32_t) below(FIXTURE_REQUESTS);
	for (i = 0; i < f->request_count; i++)
		random_request(f, number, i);
	for (i = 0; i < f->request_count; i++)
		random_leader(f, i);
	request_fixture_relink(f);
	for (i = 0; i < f->request_count; i++)
	{
		AskRequest *r = &f->requests[i];
		AskPool *p = &f->pools[r->pool];

		if (r->status == ASK_BUYING && r->purchase == ASK_OPERATION_OPEN)
			p->buying = true;
		if (r->operation == ASK_OPERATION_OPEN && r->user >= 0)
			f->users[r->user].busy = true;
		if (r->seat_bought)
		{
			p->figures.reserved++;
			p->figures.unshown += r->active_level > p->figures.active;
		}
		if (r->status == ASK_ASSIGNING && !r->release)
			p->figures.claimed++;
		if (request_fixture_open(r))
		{
			p->figures.open++;
			p->figures.refused += spinpanel_request_told(c, p, r);
		}
	}
}

AskSending
request_fixture_sending(const RequestFixture *f, int32_t pool, uint64_t number)
{
	const AskPool *p = &f->pools[pool];
	int32_t count = p->plan->subscription_count;
	AskSending s = { .kind = NEED_ORDER, .subscription = -1 };

	state = number * 7 + (uint64_t) pool;
	s.linked = (int32_t) below(4);
	s.seats = s.linked + (int32_t) below(3) - 1;
	s.approved = one_in(4);
	if (count > 0 && !one_in(4))
	{
		s.subscription = (int32_t) below((uint32_t) count);
		s.kind = p->plan->subscriptions[s.subscription].status == PLAN_ACTIVE ? NEED_RAISE
																			  : NEED_REACTIVATE;
		if (one_in(8))
			s.kind = s.kind == NEED_RAISE ? NEED_REACTIVATE : NEED_RAISE;
		return s;
	}
	s.offer = one_in(8) ? "CFQ7TTC0LDPB:0002" : "CFQ7TTC0LDPB:0001";
	s.term_duration = p->rule.term_duration && !one_in(6) ? p->rule.term_duration : "P1M";
	s.billing_cycle = p->rule.billing_cycle && !one_in(6) ? p->rule.billing_cycle : "monthly";
	return s;
}

void
request_fixture_relink(RequestFixture *f)
{
	int32_t i;

	for (i = 0; i < f->pool_count; i++)
	{
		f->plans[i].subscriptions = f->subscriptions[i];
		f->pools[i].plan = &f->plans[i];
		f->pools[i].terms = f->terms[i];
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

/* It counts among the open ones of its pool no more. */
static void
count_out(RequestFixture *f, const AskRequest *r)
{
	AskPool *p = &f->pools[r->pool];

	if (!request_fixture_open(r))
		return;
	p->figures.open--;
	p->figures.refused -= spinpanel_request_told(&f->customer, p, r);
}

void
request_fixture_apply(RequestFixture *f)
{
	int32_t kept = 0;
	int32_t i;

	for (i = 0; i < f->plan.purchase_count; i++)
	{
		const AskPurchase *b = &f->purchases[i];
		int32_t seats = b->source.kind == NEED_REACTIVATE ? b->source.room : b->seats;

		f->pools[b->pool].buying = true;
		if (b->adjustment == 0)
			f->customer.bought_recently += seats;
	}
	for (i = 0; i < f->request_count; i++)
	{
		AskRequest r = f->requests[i];
		const AskEffect *e = &f->effects[i];
		AskPool *p = &f->pools[r.pool];

		if (e->kind == ASK_FINISH_DONE || e->kind == ASK_FINISH_FAILED ||
			e->kind == ASK_FINISH_CANCELLED)
		{
			AskStatus status = e->kind == ASK_FINISH_DONE     ? ASK_DONE
							   : e->kind == ASK_FINISH_FAILED ? ASK_FAILED
															  : ASK_CANCELLED;
			int32_t k;

			count_out(f, &r);
			if (r.seat_bought)
				p->figures.reserved--, p->figures.unshown -= r.active_level > p->figures.active;
			/* Who follows it is told; those kept are in front already. */
			for (k = 0; k < f->request_count; k++)
				if ((k < kept || k > i) && f->requests[k].follows == r.id)
					f->requests[k].leader_status = status;
			continue;
		}
		switch (e->kind)
		{
			case ASK_BUY:
				r.status = ASK_BUYING;
				r.purchase = ASK_OPERATION_OPEN;
				r.active_level = e->level;
				break;
			case ASK_ASSIGN:
			case ASK_RELEASE:
			case ASK_SET_LOCATION:
				count_out(f, &r);
				if (e->kind == ASK_ASSIGN)
				{
					p->figures.claimed++;
					if (r.seat_bought)
						p->figures.reserved--,
							p->figures.unshown -= r.active_level > p->figures.active;
				}
				if (e->kind != ASK_SET_LOCATION)
					r.status = ASK_ASSIGNING;
				r.operation = ASK_OPERATION_OPEN;
				f->users[r.user].busy = true;
				break;
			case ASK_FOLLOW:
				count_out(f, &r);
				r.follows = e->other;
				r.leader_status = ASK_QUEUED;
				break;
			case ASK_TAKE_SEAT:
				count_out(f, &r);
				r.status = ASK_PROVISIONING;
				r.seat_bought = true;
				r.purchase = ASK_NO_OPERATION;
				r.purchase_done = false;
				r.active_level = p->figures.active + 1;
				r.provisioning_at = f->customer.now;
				p->figures.reserved++;
				p->figures.unshown++;
				break;
			case ASK_AGAIN:
				count_out(f, &r);
				r.status = r.seat_bought ? ASK_PROVISIONING : ASK_QUEUED;
				r.follows = 0;
				r.leader_status = ASK_CANCELLED;
				r.operation = r.purchase = ASK_NO_OPERATION;
				r.purchase_done = false;
				r.looked = false;
				r.looked_at = 0;
				break;
			case ASK_WAIT:
				r.attempts += e->reason == ASK_FOR_SEAT;
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
