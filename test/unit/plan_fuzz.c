/*
 * plan_fuzz.c
 *
 * libFuzzer target: pools of any bytes whatever.  Sanitizers look for undefined
 * arithmetic and memory errors; here it is asked that what comes out keeps the
 * little that holds even for nonsense: no negative quantity, no removal from a
 * pool or a subscription that is left alone, supply not below the floor.
 */
#include "fixture.h"

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
		return b % 40;
	if (b < 252)
		return INT32_MAX;
	if (b < 253)
		return -1;
	take(&n, sizeof(n));
	return n;
}

static PlanTime
moment(void)
{
	uint8_t b = byte();
	PlanTime t;

	if (b < 200)
		return FIXTURE_NOW + ((int64_t) (int8_t) byte() * 3 + b % 3) * PLAN_HOUR;
	if (b < 230)
		return FIXTURE_NOW + (int64_t) (int8_t) byte() * 10 * PLAN_DAY;
	if (b < 240)
		return PLAN_NEVER;
	if (b < 245)
		return INT64_MIN;
	if (b < 248)
		return 0;
	take(&t, sizeof(t));
	return t;
}

static void
must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Fixture f;
	Fixture after;
	PlanResult plan;
	PlanExcess excess;
	char reason[64];
	bool removed = false;
	uint8_t flags;
	int32_t i;
	int32_t j;

	bytes = data;
	left = size;
	memset(&f, 0, sizeof(f));
	f.options.now = FIXTURE_NOW;
	flags = byte();
	f.options.at_renewal = (flags & 1) != 0;
	f.options.ignore_switch = (flags & 2) != 0;
	f.pool.adjust = (flags & 4) == 0;
	f.pool.doubt = (flags & 24) == 24 ? "doubt" : NULL;
	f.pool.unsettled = (flags & 96) == 96;
	f.pool.consumption_seen = (flags & 128) != 0;
	f.pool.active = number();
	if (f.pool.active >= 0 && f.pool.active < 100)
		f.pool.active *= byte() % 8;
	f.pool.consumed = number();
	f.pool.waiting = number() % 5;
	f.pool.spare = number() % 5;
	f.pool.min_seats = number() % 5;
	f.pool.settled_unused = number();
	f.pool.known_since = moment();
	f.pool.read_at = FIXTURE_NOW;
	f.pool.max_age = PLAN_DAY;
	f.pool.cooldown = byte() < 250 ? byte() * PLAN_HOUR : moment();
	f.pool.renewal_lead = byte() < 250 ? byte() * PLAN_DAY : moment();
	f.limits.removal_limit_seats = number();
	f.limits.removal_limit_percent = number();
	f.limits.owned_at_start = number();
	f.limits.removed_recently = number();
	f.limits.paid_subscriptions = number();
	f.pool.subscription_count = byte() % (FIXTURE_SUBSCRIPTIONS + 1);
	for (i = 0; i < f.pool.subscription_count; i++)
	{
		PlanSubscription *s = &f.subscriptions[i];

		flags = byte();
		s->commerce = flags % 8 == 7 ? PLAN_OTHER : flags % 2 ? PLAN_NCE : PLAN_LEGACY;
		s->status = flags / 8 % 8 == 7 ? PLAN_SUSPENDED : PLAN_ACTIVE;
		s->trial = flags / 64 == 3;
		s->quantity = number();
		s->minimum = number() % 4;
		s->maximum = number();
		s->created = moment();
		s->term_end = moment();
		s->rejected_to = byte() < 200 ? -1 : byte();
		s->cancel_until = moment();
		flags = byte();
		s->auto_renew = flags % 4 != 0;
		s->cancel_at_term = flags / 4 % 8 == 0;
		s->end_by = (PlanWho) (flags / 32 % 3);
		s->next_quantity = byte() < 200 ? -1 : number();
		flags = byte();
		s->next_by = (PlanWho) (flags % 3);
		s->next_other_sku = flags / 3 % 16 == 0;
		s->extended_term = flags / 48 == 0;
		flags = byte();
		s->renewing = flags % 16 == 1;
		s->is_addon = flags / 16 == 1;
		s->has_active_addon = flags / 16 == 2;
		s->duplicates = (int32_t) (byte() % 3) - 1;
		s->changes = number();
		s->batch_count = byte() % (FIXTURE_BATCHES + 1);
		for (j = 0; j < s->batch_count; j++)
		{
			f.batches[i][j].quantity = number();
			f.batches[i][j].deadline = moment();
			f.batches[i][j].by_renewal = byte() % 2 == 0;
		}
	}
	fixture_relink(&f);
	after = f;
	fixture_relink(&after);

	spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
	for (i = 0; i < plan.count; i++)
	{
		const PlanDecision *d = &plan.decisions[i];

		if (d->action == PLAN_NONE)
			continue;
		must(d->subscription >= 0 && d->subscription < f.pool.subscription_count);
		must(d->to_quantity >= 0 && d->from_quantity >= 0);
		must(plain_counts(&f.subscriptions[d->subscription]));
		must(!plain_person(&f.subscriptions[d->subscription], FIXTURE_NOW));
		if (d->action == PLAN_REDUCE || d->action == PLAN_SUSPEND || d->action == PLAN_CANCEL)
			removed = true;

		/* quantities only: moments may be any */
		if (d->action == PLAN_REDUCE || d->action == PLAN_RAISE)
			after.subscriptions[d->subscription].quantity = d->to_quantity;
		else if (d->action == PLAN_SUSPEND || d->action == PLAN_CANCEL)
			after.subscriptions[d->subscription].status = PLAN_GONE;
	}
	if (removed)
	{
		must(f.pool.doubt == NULL && !f.pool.unsettled);
		must(f.pool.adjust || f.options.ignore_switch);
		must(plain_owned(&after.pool) >= plain_floor(&f.pool));
	}
	spinpanel_plan_free(&plan);

	spinpanel_plan_excess(&f.pool, &f.options, &excess);
	must(excess.excess >= 0 && excess.reducible_now >= 0 && excess.reducible_at_renewal >= 0 &&
		 excess.reducible_now + excess.reducible_at_renewal <= excess.excess);
	for (i = 0; i < f.pool.subscription_count; i++)
	{
		int32_t next;
		int32_t a;

		for (a = PLAN_NONE; a <= PLAN_RAISE; a++)
		{
			int32_t lowest = spinpanel_plan_judge(&f.pool, i, (PlanAction) a, 0, &f.options, reason,
												  sizeof(reason));

			must(lowest >= 0 || f.subscriptions[i].quantity < 0);
		}
		next = spinpanel_plan_put_back(&f.pool, i, number(), &f.options);
		must(next >= 0 && (next <= f.subscriptions[i].quantity || next == 0));
	}
	return 0;
}
