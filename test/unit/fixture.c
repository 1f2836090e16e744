/*
 * fixture.c
 *
 * See fixture.h.  Owns the little language of the test tables:
 *
 *   nce 12 end +30d batch 2@+3d   consumed 10 waiting 1
 *
 * A word for commerce begins a subscription; words that follow belong to it
 * until the next; words of the pool may stand anywhere.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PlanTime
parse_span(const char *word)
{
	char *rest;
	long n = strtol(word, &rest, 10);

	if (*rest == 'd')
		return n * PLAN_DAY;
	if (*rest == 'h')
		return n * PLAN_HOUR;
	if (*rest == 'm')
		return n * (PLAN_HOUR / 60);
	fprintf(stderr, "no span: %s\n", word);
	exit(2);
}

static PlanWho
parse_who(const char *word)
{
	return strcmp(word, "ours") == 0     ? PLAN_OURS
		   : strcmp(word, "person") == 0 ? PLAN_PERSON
										 : PLAN_NOBODY;
}

void
fixture_relink(Fixture *f)
{
	int32_t i;

	f->pool.subscriptions = f->subscriptions;
	for (i = 0; i < f->pool.subscription_count; i++)
		f->subscriptions[i].batches = f->batches[i];
}

static void
defaults(Fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->options.now = FIXTURE_NOW;
	f->options.at_renewal = true;
	f->pool.active = -1;
	f->pool.settled_unused = INT32_MIN;
	f->pool.read_at = FIXTURE_NOW;
	f->pool.consumption_seen = true;
	f->pool.sku_consumption_seen = true;
	f->pool.adjust = true;
	f->pool.cooldown = PLAN_DAY;
	f->pool.renewal_lead = 14 * PLAN_DAY;
	f->pool.max_age = 26 * PLAN_HOUR;
	f->limits.removal_limit_percent = 50;
	f->limits.removal_limit_seats = 20;
	f->limits.owned_at_start = -1;
	f->limits.paid_subscriptions = 9;
}

static PlanSubscription *
new_subscription(Fixture *f, PlanCommerce commerce)
{
	int32_t i = f->pool.subscription_count++;
	PlanSubscription *s = &f->subscriptions[i];

	memset(s, 0, sizeof(*s));
	s->account = 1;
	s->commerce = commerce;
	s->status = PLAN_ACTIVE;
	s->minimum = 1;
	s->maximum = 300;
	s->created = FIXTURE_NOW - (1000 - 10 * i) * PLAN_DAY;
	s->term_end = FIXTURE_NOW + 100 * PLAN_DAY;
	s->auto_renew = true;
	s->rejected_to = -1;
	s->next_quantity = -1;
	s->duplicates = -1;
	s->batches = f->batches[i];
	return s;
}

static void
finish(Fixture *f)
{
	int64_t owned;

	fixture_relink(f);
	owned = plain_owned(&f->pool);
	if (f->pool.active < 0)
		f->pool.active = (int32_t) owned;
	if (f->pool.settled_unused == INT32_MIN)
		f->pool.settled_unused =
			(owned < f->pool.active ? (int32_t) owned : f->pool.active) - f->pool.consumed;
	if (f->limits.owned_at_start < 0)
		f->limits.owned_at_start = (int32_t) owned;
}

void
fixture_parse(Fixture *f, const char *text)
{
	char copy[1024];
	PlanSubscription *s = NULL;
	PlanPool *p = &f->pool;
	char *word;

#define NEXT() (word = strtok(NULL, " "), word ? word : (exit(3), ""))
#define NUMBER() ((int32_t) strtol(NEXT(), NULL, 10))
#define IS(w) (strcmp(word, w) == 0)

	defaults(f);
	snprintf(copy, sizeof(copy), "%s", text);
	for (word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
	{
		if (IS("nce") || IS("legacy") || IS("alien"))
		{
			s = new_subscription(f, IS("nce") ? PLAN_NCE : IS("legacy") ? PLAN_LEGACY : PLAN_OTHER);
			s->quantity = NUMBER();
		}
		/* of the pool */
		else if (IS("active"))
			p->active = NUMBER();
		else if (IS("consumed"))
			p->consumed = NUMBER();
		else if (IS("waiting"))
			p->waiting = NUMBER();
		else if (IS("settled"))
			p->settled_unused = NUMBER();
		else if (IS("known"))
			p->known_since = FIXTURE_NOW + parse_span(NEXT());
		else if (IS("spare"))
			p->spare = NUMBER();
		else if (IS("min_seats"))
			p->min_seats = NUMBER();
		else if (IS("cooldown"))
			p->cooldown = parse_span(NEXT());
		else if (IS("lead"))
			p->renewal_lead = parse_span(NEXT());
		else if (IS("read"))
			p->read_at = FIXTURE_NOW + parse_span(NEXT());
		else if (IS("off"))
			p->adjust = false;
		else if (IS("paused"))
			p->paused = true;
		else if (IS("excluded"))
			p->excluded = true;
		else if (IS("never_assigned"))
			p->never_assigned = true;
		else if (IS("tenant"))
			p->tenant_target = true;
		else if (IS("no_access"))
			p->no_access = true;
		else if (IS("doubt"))
			p->doubt = "consumed fell from 9 to 0 at once";
		else if (IS("unsettled"))
			p->unsettled = true;
		else if (IS("open"))
			p->open_operation = true;
		else if (IS("unseen"))
			p->consumption_seen = false;
		else if (IS("sku_unseen"))
			p->sku_consumption_seen = false;
		else if (IS("percent"))
			f->limits.removal_limit_percent = NUMBER();
		else if (IS("limit"))
			f->limits.removal_limit_seats = NUMBER();
		else if (IS("recent"))
			f->limits.removed_recently = NUMBER();
		else if (IS("paid"))
			f->limits.paid_subscriptions = NUMBER();
		else if (IS("start"))
			f->limits.owned_at_start = NUMBER();
		else if (IS("now_only"))
			f->options.at_renewal = false;
		else if (IS("ignore_switch"))
			f->options.ignore_switch = true;
		/* of the subscription */
		else if (IS("account"))
			s->account = NUMBER();
		else if (IS("created"))
			s->created = FIXTURE_NOW + parse_span(NEXT());
		else if (IS("end"))
			s->term_end = FIXTURE_NOW + parse_span(NEXT());
		else if (IS("end_unknown"))
			s->term_end = PLAN_NEVER;
		else if (IS("rejected"))
			s->rejected_to = NUMBER();
		else if (IS("cancel_until"))
			s->cancel_until = FIXTURE_NOW + parse_span(NEXT());
		else if (IS("min"))
			s->minimum = NUMBER();
		else if (IS("max"))
			s->maximum = NUMBER();
		else if (IS("no_renew"))
		{
			s->auto_renew = false;
			s->end_by = parse_who(NEXT());
		}
		else if (IS("cancelled"))
		{
			s->auto_renew = false;
			s->cancel_at_term = true;
			s->end_by = parse_who(NEXT());
		}
		else if (IS("next"))
		{
			s->next_quantity = NUMBER();
			s->next_by = parse_who(NEXT());
		}
		else if (IS("other_sku"))
		{
			s->next_other_sku = true;
			s->next_by = PLAN_PERSON;
		}
		else if (IS("extended"))
		{
			s->extended_term = true;
			s->auto_renew = false;
		}
		else if (IS("renewing"))
			s->renewing = true;
		else if (IS("pending"))
			s->pending = true;
		else if (IS("addon"))
			s->is_addon = true;
		else if (IS("base"))
			s->has_active_addon = true;
		else if (IS("dup"))
			s->duplicates = NUMBER();
		else if (IS("changes"))
			s->changes = NUMBER();
		else if (IS("trial"))
			s->trial = true;
		else if (IS("suspended"))
		{
			s->status = PLAN_SUSPENDED;
			s->suspended_by = parse_who(NEXT());
		}
		else if (IS("batch") || IS("renewed"))
		{
			PlanBatch *b = &f->batches[s - f->subscriptions][s->batch_count++];

			b->by_renewal = IS("renewed");
			b->quantity = NUMBER();
			b->deadline = FIXTURE_NOW + parse_span(strchr(word, '@') + 1);
		}
		else
		{
			fprintf(stderr, "unknown word \"%s\" in: %s\n", word, text);
			exit(2);
		}
	}
	finish(f);
}

/* ---- at random ------------------------------------------------------------ */

uint32_t
random_below(Random *random, uint32_t bound)
{
	/* splitmix64 */
	uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return bound == 0 ? 0 : (uint32_t) (z % bound);
}

bool
random_one_in(Random *random, uint32_t n)
{
	return random_below(random, n) == 0;
}

static PlanTime
random_end(Random *r)
{
	switch (random_below(r, 6))
	{
		case 0:
			return FIXTURE_NOW + (1 + random_below(r, 30)) * PLAN_HOUR;
		case 1:
		case 2:
		case 3:
			return FIXTURE_NOW + (1 + random_below(r, 20)) * PLAN_DAY;
		case 4:
			return FIXTURE_NOW + (1 + random_below(r, 365)) * PLAN_DAY;
		default:
			return FIXTURE_NOW + (1 + random_below(r, 1095)) * PLAN_DAY;
	}
}

void
fixture_random(Fixture *f, Random *r, int32_t most_subscriptions, int32_t most_seats)
{
	int32_t count = 1 + (int32_t) random_below(r, (uint32_t) most_subscriptions);
	bool mixed = random_one_in(r, 2);
	PlanCommerce all = random_one_in(r, 3) ? PLAN_LEGACY : PLAN_NCE;
	int64_t owned;
	int64_t present;
	int32_t minimum[2];
	int32_t i;
	int32_t j;

	/* duplicates are of one offer: they share its minimum */
	minimum[0] = random_one_in(r, 3) ? 1 + (int32_t) random_below(r, 4) : 1;
	minimum[1] = random_one_in(r, 3) ? 1 + (int32_t) random_below(r, 4) : 1;
	defaults(f);
	for (i = 0; i < count; i++)
	{
		int32_t left;
		PlanSubscription *s = new_subscription(f, !mixed                ? all
												  : random_one_in(r, 2) ? PLAN_LEGACY
																		: PLAN_NCE);

		s->quantity = 1 + (int32_t) random_below(r, (uint32_t) most_seats);
		left = s->quantity;
		s->account = random_one_in(r, 8) ? 2 : 1;
		if (random_one_in(r, 4))
			s->minimum = 1 + (int32_t) random_below(r, 3);
		if (random_one_in(r, 3))
			s->maximum = s->quantity + (int32_t) random_below(r, 4);
		s->created = FIXTURE_NOW - (int64_t) (1 + random_below(r, 900)) * PLAN_DAY;
		if (random_one_in(r, 10))
			s->created = FIXTURE_NOW - (int64_t) random_below(r, 40) * PLAN_HOUR;
		s->term_end = random_end(r);
		if (random_one_in(r, 15))
			s->term_end = PLAN_NEVER;
		if (random_one_in(r, 12))
			s->rejected_to = (int32_t) random_below(r, (uint32_t) s->quantity + 1);
		if (random_one_in(r, 2))
		{
			s->duplicates = (int32_t) random_below(r, 2);
			if (s->commerce == PLAN_LEGACY)
				s->minimum = minimum[s->duplicates];
		}
		if (random_one_in(r, 20))
			s->trial = true;
		if (random_one_in(r, 25))
			s->status = random_one_in(r, 2) ? PLAN_SUSPENDED : PLAN_GONE;
		if (random_one_in(r, 20))
			s->renewing = true;
		if (random_one_in(r, 30))
			s->changes = PLAN_MAX_CHANGES;
		if (random_one_in(r, 12))
			s->is_addon = true;
		if (random_one_in(r, 12))
			s->has_active_addon = true;
		if (random_one_in(r, 6))
		{
			s->auto_renew = false;
			s->end_by = random_one_in(r, 2) || s->commerce == PLAN_LEGACY ? PLAN_PERSON : PLAN_OURS;
			s->cancel_at_term = random_one_in(r, 2);
		}
		else if (s->commerce == PLAN_NCE && random_one_in(r, 4))
		{
			s->next_quantity = (int32_t) random_below(r, (uint32_t) s->quantity + 1);
			if (s->next_quantity == 0)
				s->next_quantity = s->quantity;
			s->next_by = random_one_in(r, 3) ? PLAN_PERSON : PLAN_OURS;
			if (s->next_by == PLAN_PERSON)
			{
				s->next_other_sku = random_one_in(r, 3);
				if (random_one_in(r, 3))
					s->next_quantity += 3;
			}
		}
		if (s->commerce != PLAN_NCE)
			continue;
		if (random_one_in(r, 10))
		{
			s->extended_term = true;
			if (s->next_quantity < 0)
			{
				s->auto_renew = false;
				s->end_by = s->cancel_at_term ? PLAN_PERSON : PLAN_NOBODY;
			}
		}
		if (random_one_in(r, 3))
			s->cancel_until = FIXTURE_NOW + (int64_t) random_below(r, 170) * PLAN_HOUR;
		for (j = 0; j < 3 && left > 0 && random_one_in(r, 2); j++)
		{
			PlanBatch *b = &f->batches[i][s->batch_count++];

			b->quantity = 1 + (int32_t) random_below(r, (uint32_t) left);
			left -= b->quantity;
			b->deadline =
				FIXTURE_NOW + (int64_t) random_below(r, random_one_in(r, 2) ? 30 : 169) * PLAN_HOUR;
			b->by_renewal = random_one_in(r, 2);
		}
	}
	fixture_relink(f);

	owned = plain_owned(&f->pool);
	f->pool.active = (int32_t) owned;
	if (random_one_in(r, 5))
		f->pool.active += (int32_t) random_below(r, 5) - 2;
	if (f->pool.active < 0)
		f->pool.active = 0;
	present = owned < f->pool.active ? owned : f->pool.active;
	f->pool.consumed = (int32_t) random_below(r, (uint32_t) present + 1);
	if (random_one_in(r, 4))
		f->pool.waiting = (int32_t) random_below(r, 3);
	if (random_one_in(r, 4))
		f->pool.spare = (int32_t) random_below(r, 3);
	if (random_one_in(r, 6))
		f->pool.min_seats = (int32_t) random_below(r, (uint32_t) owned + 1);
	f->pool.settled_unused = (int32_t) present - f->pool.consumed;
	if (random_one_in(r, 3))
		f->pool.settled_unused -= (int32_t) random_below(r, 4);
	if (random_one_in(r, 5))
		f->pool.known_since = FIXTURE_NOW - (int64_t) random_below(r, 30) * PLAN_HOUR;
	if (random_one_in(r, 4))
		f->pool.cooldown = (int64_t) random_below(r, 200) * PLAN_HOUR;
	if (random_one_in(r, 6))
		/* Never less than a run ahead: the settings do not allow it. */
		f->pool.renewal_lead = PLAN_LAST_RUN + (int64_t) random_below(r, 40) * PLAN_DAY;
	if (random_one_in(r, 40))
		f->pool.doubt = "doubt";
	if (random_one_in(r, 40))
		f->pool.unsettled = true;
	if (random_one_in(r, 60))
		f->pool.open_operation = true;
	if (random_one_in(r, 60))
		f->pool.adjust = false;
	if (random_one_in(r, 60))
		f->pool.paused = true;
	if (random_one_in(r, 60))
		f->pool.read_at = FIXTURE_NOW - 30 * PLAN_HOUR;
	if (random_one_in(r, 6))
		f->options.at_renewal = false;
	f->limits.removal_limit_seats = (int32_t) random_below(r, 10);
	f->limits.removal_limit_percent = (int32_t) random_below(r, 100);
	f->limits.paid_subscriptions = count;
	f->limits.owned_at_start = (int32_t) owned;
}

void
fixture_print(const Fixture *f)
{
	const PlanPool *p = &f->pool;
	int32_t i;
	int32_t j;

#define HOURS(t) ((t) == PLAN_NEVER ? -1.0 : (double) ((t) -FIXTURE_NOW) / (double) PLAN_HOUR)
	printf("# active %d consumed %d waiting %d spare %d min_seats %d settled %d"
		   " known %.0fh cooldown %.0fh lead %.0fd%s%s%s%s%s%s\n",
		   p->active, p->consumed, p->waiting, p->spare, p->min_seats, p->settled_unused,
		   HOURS(p->known_since), (double) p->cooldown / (double) PLAN_HOUR,
		   (double) p->renewal_lead / (double) PLAN_DAY, p->doubt ? " doubt" : "",
		   p->unsettled ? " unsettled" : "", p->open_operation ? " open" : "",
		   p->adjust ? "" : " off", p->paused ? " paused" : "",
		   f->options.at_renewal ? "" : " now_only");
	for (i = 0; i < p->subscription_count; i++)
	{
		const PlanSubscription *s = &p->subscriptions[i];

		printf("#  %d: %s %d%s%s account %d created %.0fh end %.0fh rejected %d"
			   " cancel_until %.0fh min %d max %d renew %d cancelled %d by %d"
			   " next %d other %d by %d dup %d%s%s%s%s changes %d",
			   i, s->commerce == PLAN_NCE ? "nce" : "legacy", s->quantity,
			   s->status == PLAN_ACTIVE ? "" : " inactive", s->trial ? " trial" : "", s->account,
			   HOURS(s->created), HOURS(s->term_end), s->rejected_to, HOURS(s->cancel_until),
			   s->minimum, s->maximum, s->auto_renew, s->cancel_at_term, s->end_by,
			   s->next_quantity, s->next_other_sku, s->next_by, s->duplicates,
			   s->extended_term ? " extended" : "", s->renewing ? " renewing" : "",
			   s->is_addon ? " addon" : "", s->has_active_addon ? " base" : "", s->changes);
		for (j = 0; j < s->batch_count; j++)
			printf(" %s %d@%.0fh", s->batches[j].by_renewal ? "renewed" : "batch",
				   s->batches[j].quantity, HOURS(s->batches[j].deadline));
		printf("\n");
	}
}

/* ---- carrying out ---------------------------------------------------------- */

static void
wipe_schedule(PlanSubscription *s)
{
	s->next_quantity = -1;
	s->next_other_sku = false;
	s->next_by = PLAN_NOBODY;
}

/* Microsoft credits some batch: here not those just added, if it can be. */
static bool
sooner(const Fixture *f, const PlanBatch *a, const PlanBatch *b)
{
	PlanTime added = FIXTURE_NOW - f->pool.cooldown + 168 * PLAN_HOUR;
	bool a_fresh = !a->by_renewal && a->deadline > added;
	bool b_fresh = !b->by_renewal && b->deadline > added;

	return a_fresh != b_fresh ? b_fresh : a->deadline < b->deadline;
}

static void
credit(Fixture *f, PlanSubscription *s, int32_t seats)
{
	PlanBatch *b = f->batches[s - f->subscriptions];

	while (seats > 0)
	{
		int32_t first = -1;
		int32_t i;

		for (i = 0; i < s->batch_count; i++)
		{
			if (b[i].quantity > 0 && b[i].deadline > FIXTURE_NOW + PLAN_TOO_LATE &&
				(first < 0 || sooner(f, &b[i], &b[first])))
				first = i;
		}
		if (first < 0)
			return;
		b[first].quantity--;
		seats--;
	}
}

void
fixture_apply(Fixture *f, const PlanDecision *d)
{
	PlanPool *p = &f->pool;
	PlanSubscription *s;
	int32_t before;

	if (d->action == PLAN_NONE)
		return;
	s = &f->subscriptions[d->subscription];
	before = s->quantity;
	switch (d->action)
	{
		case PLAN_RAISE:
			/* no purchase and no added seat: past its cool-down at once */
			s->quantity = d->to_quantity;
			wipe_schedule(s);
			p->active += s->quantity - before;
			p->settled_unused += s->quantity - before;
			break;
		case PLAN_REDUCE:
			s->quantity = d->to_quantity;
			credit(f, s, before - s->quantity);
			/* wiped at Partner Center and set again by the executor */
			if (s->next_quantity >= s->quantity && !s->next_other_sku)
				wipe_schedule(s);
			p->active -= before - s->quantity;
			p->settled_unused -= before - s->quantity;
			break;
		case PLAN_SUSPEND:
		case PLAN_CANCEL:
			s->status = d->action == PLAN_CANCEL ? PLAN_GONE : PLAN_SUSPENDED;
			s->suspended_by = PLAN_OURS;
			p->active -= before;
			p->settled_unused -= before;
			break;
		case PLAN_REDUCE_AT_RENEWAL:
			wipe_schedule(s);
			s->auto_renew = true;
			s->cancel_at_term = false;
			s->end_by = PLAN_NOBODY;
			if (d->to_quantity < s->quantity)
			{
				s->next_quantity = d->to_quantity;
				s->next_by = PLAN_OURS;
			}
			break;
		case PLAN_END_AT_TERM:
			wipe_schedule(s);
			s->auto_renew = false;
			s->cancel_at_term = true;
			s->end_by = PLAN_OURS;
			break;
		default:
			break;
	}
	if (p->active < 0)
		p->active = 0;
}

/* ---- arithmetic, plainly ---------------------------------------------------- */

bool
plain_counts(const PlanSubscription *s)
{
	return s->commerce != PLAN_OTHER && s->status == PLAN_ACTIVE && !s->trial;
}

PlanTime
plain_end(const PlanSubscription *s)
{
	return s->term_end;
}

bool
plain_ends(const PlanSubscription *s, PlanTime now)
{
	if (s->cancel_at_term)
		return true;
	if (s->extended_term || s->auto_renew)
		return false;
	return !(s->commerce == PLAN_LEGACY && plain_end(s) <= now);
}

/* What remains of it in the next term. */
int64_t
plain_next(const PlanSubscription *s, PlanTime now)
{
	if (plain_ends(s, now) || s->next_other_sku)
		return 0;
	if (s->next_quantity >= 0 && s->next_quantity < s->quantity)
		return s->next_quantity;
	return s->quantity;
}

bool
plain_ours(const PlanSubscription *s, PlanTime now)
{
	if (s->next_other_sku || (plain_ends(s, now) && s->end_by != PLAN_OURS) ||
		(s->next_quantity >= 0 && s->next_by != PLAN_OURS))
		return false;
	return plain_ends(s, now) || s->next_quantity >= 0;
}

bool
plain_person(const PlanSubscription *s, PlanTime now)
{
	if (s->next_by == PLAN_PERSON || s->suspended_by == PLAN_PERSON)
		return true;
	if (plain_ends(s, now) && s->end_by != PLAN_OURS)
		return true;
	if (s->end_by == PLAN_PERSON && !s->extended_term)
		return true;
	return s->next_other_sku || (s->next_quantity >= 0 && s->next_by != PLAN_OURS);
}

int64_t
plain_owned(const PlanPool *p)
{
	int64_t owned = 0;
	int32_t i;

	for (i = 0; i < p->subscription_count; i++)
	{
		if (plain_counts(&p->subscriptions[i]))
			owned += p->subscriptions[i].quantity;
	}
	return owned;
}

int64_t
plain_supply(const PlanPool *p, PlanTime now, PlanTime t)
{
	int64_t supply = 0;
	int32_t i;

	for (i = 0; i < p->subscription_count; i++)
	{
		const PlanSubscription *s = &p->subscriptions[i];

		if (plain_counts(s))
			supply += s->renewing || t >= plain_end(s) ? plain_next(s, now) : s->quantity;
	}
	return supply;
}

/* Seats that must be owned at any moment. */
int64_t
plain_floor(const PlanPool *p)
{
	int64_t owned = plain_owned(p);
	int64_t floor = (int64_t) p->consumed + p->waiting + p->spare;

	if (owned > p->active)
		floor += owned - p->active;
	return floor > p->min_seats ? floor : p->min_seats;
}

int64_t
plain_fresh(const PlanSubscription *s, const PlanPool *p, PlanTime now)
{
	int64_t fresh = 0;
	int32_t i;

	if (s->created > now - p->cooldown)
		return s->quantity;
	for (i = 0; i < s->batch_count; i++)
	{
		if (!s->batches[i].by_renewal &&
			s->batches[i].deadline - 168 * PLAN_HOUR > now - p->cooldown)
			fresh += s->batches[i].quantity;
	}
	return fresh < s->quantity ? fresh : s->quantity;
}

int64_t
plain_last_chance(const PlanSubscription *s, PlanTime now)
{
	int64_t seats = 0;
	int32_t i;

	for (i = 0; i < s->batch_count; i++)
	{
		if (s->batches[i].deadline > now + PLAN_HOUR &&
			s->batches[i].deadline < now + 26 * PLAN_HOUR)
			seats += s->batches[i].quantity;
	}
	return seats < s->quantity ? seats : s->quantity;
}

int64_t
plain_window(const PlanSubscription *s, const PlanPool *p, PlanTime now)
{
	int64_t seats = 0;
	int64_t stays;
	int32_t i;

	for (i = 0; i < s->batch_count; i++)
	{
		const PlanBatch *b = &s->batches[i];

		if (b->deadline <= now + PLAN_HOUR)
			continue;
		if (!b->by_renewal && b->deadline >= now + 26 * PLAN_HOUR &&
			b->deadline - 168 * PLAN_HOUR > now - p->cooldown)
			continue;
		seats += b->quantity;
	}
	if (seats > s->quantity)
		seats = s->quantity;

	/* however windows overlap, what was just added stays */
	stays = s->quantity - plain_fresh(s, p, now);
	if (seats > stays)
		seats = stays > plain_last_chance(s, now) ? stays : plain_last_chance(s, now);
	return seats;
}

int64_t
plain_settled(const PlanPool *p, PlanTime now)
{
	int64_t settled = (int64_t) p->settled_unused - p->waiting - p->spare;
	int32_t i;
	int32_t j;

	for (i = 0; i < p->subscription_count; i++)
	{
		const PlanSubscription *s = &p->subscriptions[i];
		int64_t unseen = 0;

		if (!plain_counts(s))
			continue;
		if (s->created > now - p->cooldown)
			unseen = s->created <= p->known_since ? s->quantity : 0;
		else
		{
			for (j = 0; j < s->batch_count; j++)
			{
				PlanTime opened = s->batches[j].deadline - 168 * PLAN_HOUR;

				if (!s->batches[j].by_renewal && opened > now - p->cooldown &&
					opened <= p->known_since)
					unseen += s->batches[j].quantity;
			}
			if (unseen > s->quantity)
				unseen = s->quantity;
		}
		settled -= unseen;
	}
	return settled > 0 ? settled : 0;
}

bool
plain_blocked(const PlanPool *p, PlanTime now)
{
	int32_t i;
	bool pending = false;

	for (i = 0; i < p->subscription_count; i++)
		pending = pending || p->subscriptions[i].pending;
	return pending || p->doubt != NULL || p->unsettled || p->open_operation || p->paused ||
		   p->excluded || p->never_assigned || p->tenant_target || p->no_access || !p->adjust ||
		   now - p->read_at > p->max_age;
}
