/*
 * request_need_test.c
 *
 * Tests of src/decide/request_need.c: no server, no clock.  Prints TAP.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "decide/request_need.h"

#define NOW (10000 * PLAN_DAY)

static int tests = 0;
static int failures = 0;

static void __attribute__((format(printf, 2, 3))) ok(bool good, const char *format, ...)
{
	va_list args;

	tests++;
	if (!good)
		failures++;
	printf("%sok %d - ", good ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

static void
need_is(NeedFigures f, int64_t expected, const char *what)
{
	int64_t need = spinpanel_need(&f);

	ok(need == expected, "%s: %d", what, (int) expected);
	if (need != expected)
		printf("# got %d\n", (int) need);
}

static PlanSubscription
subscription(int32_t quantity, int days_left)
{
	PlanSubscription s;

	memset(&s, 0, sizeof(s));
	s.commerce = PLAN_NCE;
	s.status = PLAN_ACTIVE;
	s.quantity = quantity;
	s.minimum = 1;
	s.maximum = 300;
	s.created = NOW - 100 * PLAN_DAY;
	s.term_end = NOW + days_left * PLAN_DAY;
	s.rejected_to = -1;
	s.auto_renew = true;
	s.next_quantity = -1;
	return s;
}

static PlanPool
pool_of(PlanSubscription *subscriptions, int32_t count)
{
	PlanPool pool;

	memset(&pool, 0, sizeof(pool));
	pool.renewal_lead = 14 * PLAN_DAY;
	pool.subscriptions = subscriptions;
	pool.subscription_count = count;
	return pool;
}

static NeedFigures
supply(PlanSubscription *subscriptions, int32_t count)
{
	PlanPool pool = pool_of(subscriptions, count);
	NeedFigures f;

	memset(&f, 0, sizeof(f));
	spinpanel_need_supply(&pool, NOW, &f);
	return f;
}

static NeedSource
source(PlanSubscription *subscriptions, int32_t count, NeedTerms *terms, NeedRule rule)
{
	PlanPool pool = pool_of(subscriptions, count);
	NeedSource s;

	spinpanel_need_source(&pool, terms, &rule, NOW, &s);
	return s;
}

static void
test_formula(void)
{
	need_is((NeedFigures){ .active = 10, .consumed = 10, .open = 3 }, 3,
			"no free seat: each request");
	need_is((NeedFigures){ .active = 20, .consumed = 10, .open = 50 }, 40,
			"fifty wanted, ten free");
	need_is((NeedFigures){ .active = 20, .consumed = 10, .open = 10 }, 0, "ten wanted, ten free");
	need_is((NeedFigures){ .active = 10, .consumed = 12, .open = 2 }, 2,
			"an overdrawn pool is not made good");
	need_is((NeedFigures){ .active = 20, .consumed = 10, .open = 1, .refused = 1 }, 1,
			"refused in spite of the report");
	need_is((NeedFigures){ .active = 20, .consumed = 10, .open = 5, .increment = true }, 5,
			"auto increment: each request");
	need_is((NeedFigures){ .active = 10, .consumed = 10, .unshown = 4, .reserved = 4, .open = 2 },
			2, "seats bought for others and not shown yet are theirs");
	need_is((NeedFigures){ .active = 14, .consumed = 10, .reserved = 4, .open = 2 }, 2,
			"... and when they show");
	need_is((NeedFigures){ .active = 14, .consumed = 10, .claimed = 4, .open = 2 }, 2,
			"... and when they are assigned");
	need_is((NeedFigures){ .active = 14, .consumed = 14, .open = 2 }, 2,
			"... and when consumed shows that");
	need_is((NeedFigures){ .active = 10, .consumed = 10, .released = 1, .open = 1 }, 0,
			"a release the report does not show");
	need_is((NeedFigures){ .active = 12, .consumed = 10, .trial = 2, .open = 1 }, 1,
			"seats of a trial are no stock");
	need_is((NeedFigures){ .active = 12, .consumed = 10, .removing = 2, .open = 1 }, 1,
			"nor those being removed");
	need_is((NeedFigures){ .active = 12, .consumed = 10, .ending = 2, .open = 1 }, 1,
			"nor those that end soon");
	need_is((NeedFigures){ .active = INT32_MAX,
						   .consumed = 0,
						   .reserved = INT32_MAX,
						   .open = INT32_MAX,
						   .unshown = INT32_MAX },
			0, "nothing overflows");
}

static void
test_supply(void)
{
	PlanSubscription s = subscription(10, 10);
	PlanSubscription two[2];

	ok(supply(&s, 1).ending == 0, "it renews: nothing ends");
	s.next_quantity = 7;
	s.next_by = PLAN_PERSON;
	ok(supply(&s, 1).ending == 3, "a person's lower next term within the lead");
	s.next_by = PLAN_OURS;
	ok(supply(&s, 1).ending == 0, "ours, ten days ahead: it can still be taken back");
	s.term_end = NOW + 25 * PLAN_HOUR;
	ok(supply(&s, 1).ending == 3, "ours, within 26 hours");
	s = subscription(10, 20);
	s.auto_renew = false;
	s.end_by = PLAN_PERSON;
	ok(supply(&s, 1).ending == 0, "a person's end beyond the lead");
	s.term_end = NOW + 13 * PLAN_DAY;
	ok(supply(&s, 1).ending == 10, "... and within it");
	s = subscription(10, 13);
	s.trial = true;
	ok(supply(&s, 1).trial == 10 && supply(&s, 1).ending == 0, "a trial counts once");
	s = subscription(10, 13);
	s.status = PLAN_SUSPENDED;
	s.auto_renew = false;
	ok(supply(&s, 1).ending == 0, "suspended seats are no active ones");
	two[0] = subscription(10, 5);
	two[0].cancel_at_term = true;
	two[0].end_by = PLAN_PERSON;
	two[1] = subscription(4, 5);
	two[1].next_other_sku = true;
	two[1].next_by = PLAN_PERSON;
	ok(supply(two, 2).ending == 14, "both of two");
}

static void
test_source(void)
{
	PlanSubscription s[3];
	NeedTerms terms[3] = { { "P1Y", "monthly", true },
						   { "P1Y", "annual", true },
						   { "P1M", "monthly", true } };
	NeedRule none = { NULL, NULL, NULL };
	NeedSource got;

	s[0] = subscription(10, 200);
	s[1] = subscription(10, 100);
	s[2] = subscription(10, 20);
	got = source(s, 3, terms, none);
	ok(got.kind == NEED_RAISE && got.subscription == 2 && got.room == 290,
	   "the shortest commitment");
	got = source(s, 3, terms, (NeedRule){ NULL, "p1y", NULL });
	ok(got.subscription == 1, "... of the term that the rule asks for");
	got = source(s, 3, terms, (NeedRule){ NULL, "P1Y", "Monthly" });
	ok(got.subscription == 0, "... and of its billing cycle");
	got = source(s, 3, terms, (NeedRule){ "CFQ7TTC0LCHC:0002", "P3Y", NULL });
	ok(got.kind == NEED_ORDER, "none fits: a new order");
	got = source(s, 3, terms, (NeedRule){ NULL, "P3Y", NULL });
	ok(got.kind == NEED_NOTHING && strstr(got.why, "another term") &&
		   strstr(got.why, "default_offer"),
	   "none fits, and no offer: %s", got.why);

	s[1].term_end = s[2].term_end;
	s[1].created = s[2].created - PLAN_DAY;
	ok(source(s, 3, terms, none).subscription == 1, "of the same commitment the oldest");
	s[1].quantity = 300;
	ok(source(s, 3, terms, none).subscription == 2, "... unless it is at its maximum");
	s[2].end_by = PLAN_PERSON;
	s[2].auto_renew = false;
	ok(source(s, 3, terms, none).subscription == 0, "not one that somebody set to end");
	s[2].end_by = PLAN_OURS;
	ok(source(s, 3, terms, none).subscription == 2, "... but one that we did");
	s[2].next_quantity = 3;
	s[2].next_by = PLAN_PERSON;
	ok(source(s, 3, terms, none).subscription == 2, "a lower next term is no obstacle");
	s[2].renewing = true;
	ok(source(s, 3, terms, none).subscription == 0, "another one while it renews");
	s[0].trial = true;
	ok(source(s, 3, terms, none).subscription == 2, "never a trial");
	s[2].commerce = PLAN_OTHER;
	got = source(s, 3, terms, none);
	ok(got.kind == NEED_NOTHING && strstr(got.why, "maximum"), "nothing is left: %s", got.why);

	s[0] = subscription(10, 200);
	s[0].status = PLAN_SUSPENDED;
	s[0].suspended_by = PLAN_PERSON;
	got = source(s, 1, terms, (NeedRule){ "CFQ7TTC0LCHC:0002", NULL, NULL });
	ok(got.kind == NEED_NOTHING && strstr(got.why, "suspended"), "suspended by others blocks: %s",
	   got.why);
	s[0].suspended_by = PLAN_OURS;
	got = source(s, 1, terms, (NeedRule){ "CFQ7TTC0LCHC:0002", NULL, NULL });
	ok(got.kind == NEED_REACTIVATE && got.subscription == 0 && got.room == 10,
	   "one that we suspended");
	got = source(s, 0, terms, (NeedRule){ "CFQ7TTC0LCHC:0002", NULL, NULL });
	ok(got.kind == NEED_ORDER, "nothing there: an order");
	terms[0].usable = false;
	s[0].status = PLAN_ACTIVE;
	ok(source(s, 1, terms, none).kind == NEED_NOTHING, "its account may not act");
}

int
main(void)
{
	test_formula();
	test_supply();
	test_source();
	printf("1..%d\n", tests);
	return failures != 0;
}
