/*
 * request_model_test.c
 *
 * Random situations: the request planner answers as the plain rules of request_model.c do.
 * Usage: request_model_test COUNT SEED.  Prints TAP.
 */
#include "request_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
check_plan(RequestFixture *f, uint64_t number)
{
	(void) number;
	request_fixture_plan(f);
	return request_model_differs(f);
}

static const char *
check_figures(RequestFixture *f, uint64_t number)
{
	int32_t i;

	(void) number;
	for (i = 0; i < f->pool_count; i++)
	{
		AskPool *p = &f->pools[i];
		NeedFigures n = p->figures;
		NeedSource source;
		NeedSourceKind kind;
		int32_t subscription;
		int32_t room;
		int32_t trial;
		int32_t ending;

		if (spinpanel_need_free(&n) != model_free(&n) || spinpanel_need(&n) != model_need(&n))
			return "free seats, or the need, are others";
		spinpanel_need_supply(p->plan, FIXTURE_MOMENT, &n);
		model_supply(p->plan, FIXTURE_MOMENT, &trial, &ending);
		if (n.trial != trial || n.ending != ending)
			return "other seats of trials, or that end soon";
		spinpanel_need_source(p->plan, p->terms, &p->rule, FIXTURE_MOMENT, &source);
		kind = model_source(p->plan, p->terms, &p->rule, &subscription, &room);
		if (source.kind != kind || source.subscription != subscription || source.room != room)
			return "a seat would come from elsewhere";
		if ((kind == NEED_NOTHING) != (source.why[0] != '\0'))
			return "a source without a word, or with one too many";
	}
	return NULL;
}

static const char *
check_buyable(RequestFixture *f, uint64_t number)
{
	int32_t i;

	for (i = 0; i < f->pool_count; i++)
	{
		bool approved = (number + (uint64_t) i) % 2 == 0;
		int32_t wanted = 1 + (int32_t) (number / 2 % 5);
		NeedSource source;
		char why[ASK_TEXT];
		int32_t seats;
		int32_t expected;
		AskBuyable answer = spinpanel_request_can_buy(&f->customer, &f->pools[i], approved, wanted,
													  &source, &seats, why, sizeof(why));

		if (answer != model_can_buy(&f->customer, &f->pools[i], approved, wanted, &expected))
			return "whether seats can be bought";
		if (seats != expected)
			return "how many seats can be bought";
		if ((answer == ASK_BUY_YES || answer == ASK_BUY_NOT_SO_MANY) != (why[0] == '\0'))
			return "no seat can be bought, and nothing is said";
	}
	return NULL;
}

static const char *
check_sending(RequestFixture *f, uint64_t number)
{
	int32_t i;

	for (i = 0; i < f->pool_count; i++)
	{
		AskSending sending = request_fixture_sending(f, i, number);
		char why[ASK_TEXT];
		int32_t seats =
			spinpanel_request_may_send(&f->customer, &f->pools[i], &sending, why, sizeof(why));

		if (seats != model_may_send(&f->customer, &f->pools[i], &sending))
			return "how much of a purchase may go";
		if ((seats > 0) != (why[0] == '\0'))
			return "a purchase may not go, and nothing is said";
	}
	return NULL;
}

static const char *
check_no_seat(RequestFixture *f, uint64_t number)
{
	int32_t i;

	for (i = 0; i < f->request_count; i++)
	{
		const AskRequest *r = &f->requests[i];
		int32_t lost = number % 3 == 0;
		char why[ASK_TEXT];

		if (spinpanel_request_no_seat(&f->customer, &f->pools[r->pool], r, lost, why,
									  sizeof(why)) !=
			model_no_seat(&f->customer, &f->pools[r->pool], r, lost))
			return "what follows when no seat is free";
		if (why[0] == '\0')
			return "no seat is free, and nothing is said";
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static const char *(*const checks[])(RequestFixture *,
										 uint64_t) = { check_plan, check_figures, check_buyable,
													   check_sending, check_no_seat };
	static const char *const names[] = { "the plan", "need and sources", "what can be bought",
										 "what may be sent", "what follows when no seat is free" };
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	uint64_t failed[5] = { 0 };
	uint64_t seen[16] = { 0 };
	bool bad = false;
	uint64_t n;
	int32_t i;

	for (n = 0; n < count; n++)
	{
		RequestFixture f;
		uint64_t number = seed * UINT64_C(1000000007) + n;

		request_fixture_random(&f, number);
		for (i = 0; i < 5; i++)
		{
			const char *wrong = checks[i](&f, number);

			if (wrong != NULL && failed[i]++ < 2)
			{
				printf("# situation %llu: %s\n", (unsigned long long) n, wrong);
				request_fixture_print(&f);
			}
		}
		for (i = 0; i < f.request_count; i++)
			seen[f.effects[i].kind]++;
	}
	for (i = 0; i < 5; i++)
	{
		printf("%sok %d - %s: as the plain rules say (%llu of %llu differ)\n",
			   failed[i] ? "not " : "", i + 1, names[i], (unsigned long long) failed[i],
			   (unsigned long long) count);
		bad |= failed[i] > 0;
	}
	/* Situations in which nothing happens would show nothing. */
	for (i = ASK_KEEP; i <= ASK_ASK_PERSON; i++)
		if (seen[i] * 200 < count)
			break;
	printf("%sok 6 - each effect is met often enough\n1..6\n", i <= ASK_ASK_PERSON ? "not " : "");
	return bad || i <= ASK_ASK_PERSON ? 1 : 0;
}
