/*
 * work_requests.c
 *
 * Drives requests: one Errand in memory per customer that has some due.
 *
 *     load ──► look users up that nobody looked at: many named ones by the list
 *          ──► read pools and subscriptions, if somebody needs a seat
 *          ──► look up SKUs of offers not met before ──► decide
 *
 * Each arrow is a transaction of its own, and what is decided goes into the
 * tables in the last one: an errand that is cut off anywhere is begun again.
 * What it queues is carried out by op_subscription.c, op_user.c and op_order.c; how that
 * ended makes requests due again.  This file decides nothing (buying.c) and
 * knows no SQL.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/mirror.h"
#include "state/offer.h"
#include "state/request.h"
#include "state/statement.h"
#include "state/unit.h"
#include "worker/buying.h"
#include "worker/op_driver.h"
#include "worker/work_requests.h"

/* A customer about whom nothing could be done is left alone for so long: the
 * database is in trouble, or a caller has the rows.  Most callers have them for
 * a moment: whatever wakes the worker ends such a rest. */
#define REST_MS 1000

/* Customers of one account at the same time. */
#define ERRANDS_AT_ONCE 32

/* Users on a page of the list. */
#define PAGE_SIZE 500

/* Fewer named users than this are looked up one by one. */
#define LIST_WORTH 4

/* Lists of users that are remembered, and for how long: a bulk takes many turns. */
#define LISTS_KEPT 16
#define LIST_HOLDS (5 * USECS_PER_MINUTE)

typedef enum ErrandStep
{
	ERRAND_LIST, /* who has which name */
	ERRAND_USERS,
	ERRAND_LICENSES, /* of users known by name only till now */
	ERRAND_POOLS,
	ERRAND_OFFERS /* of subscriptions that nobody met before */
} ErrandStep;

/*
 * One user to look at.  Who is asked for by a name is who has it at Partner
 * Center now: what the mirror says is a guess until that was read.
 */
typedef struct Look
{
	char *upn; /* NULL = asked for by the GUID */
	bool has_user; /* named ones: a guess */
	pg_uuid_t user_id;
	TimestampTz created_at; /* of the request */
	bool located; /* the mirror has a usage location of the user */
	bool displaced; /* no request's: whose name went to somebody else */
	/* this time */
	int user_read; /* -1 = not asked */
	int licenses_read; /* -1 = not asked */
	pg_uuid_t licenses_of;
	bool user_taken; /* who it is has been read, or need not be */
	bool licenses_taken;
	bool failed;
	/* what is to be said to its requests; NULL = nothing */
	const char *problem;
	bool final;
	bool gone; /* there is no such user */
	long retry_after;
} Look;

typedef struct Errand
{
	struct Errand *next;
	MemoryContext context;
	DemandCustomer customer;
	ErrandStep step;
	Reads reads;
	Look *looks;
	int look_count;
	int look_size;
	int look_next;
	int look_asked;
	int named; /* of the looks */
	int users; /* that the mirror knows */
	bool listed; /* the list was read, or cannot be */
	TimestampTz list_started_at;
	int pages;
	int64 received;
	char *page_token; /* NULL = the first page */
	bool units;
	bool subscriptions;
	int found; /* requests, but those that a caller has */
	int units_read;
	int subscriptions_read;
	bool with_units; /* taken in */
	bool with_subscriptions;
	char *trouble; /* why not, in words; NULL = none */
	bool trouble_final;
	long retry_after;
	UnmappedOffer *offers;
	int offer_count;
	bool finished;
	bool resting; /* takes no place */
	int64 rest_until; /* real clock, ms: the customer is left alone */
} Errand;

/*
 * Lists of users that were read to their end.  One tells of requests that were
 * asked for before it was read.
 */
typedef struct ListRead
{
	pg_uuid_t customer_id;
	TimestampTz started_at; /* 0 = none */
} ListRead;

static ListRead lists[LISTS_KEPT];
static int lists_next = 0;

static Errand *errands = NULL;
static DriverPlaces places = { .of_account = ERRANDS_AT_ONCE };
static MemoryContext errands_context = NULL;

static void errand_next(Errand *errand);

static void
errand_end(Errand *errand)
{
	errand->finished = true;
}

static void
errand_rest(Errand *errand)
{
	errand->rest_until = GetCurrentTimestamp() / 1000 + REST_MS;
	errand->resting = true;
	spinpanel_driver_leave_place(&places, errand->customer.account_id,
								 &errand->customer.customer_id);
	errand_end(errand);
}

static void
sweep(void)
{
	Errand **link = &errands;

	while (*link != NULL)
	{
		Errand *errand = *link;

		if (errand->finished && errand->reads.pending == 0 &&
			(errand->rest_until == 0 || GetCurrentTimestamp() / 1000 >= errand->rest_until))
		{
			*link = errand->next;
			if (!errand->resting)
				spinpanel_driver_leave_place(&places, errand->customer.account_id,
											 &errand->customer.customer_id);
			MemoryContextDelete(errand->context);
		}
		else
			link = &errand->next;
	}
}

/* ---- not this time ------------------------------------------------------------------- */

static bool
is_about(const DemandRequest *r, const Look *look)
{
	if (look->upn != NULL)
		return r->by_name && r->upn != NULL && pg_strcasecmp(r->upn, look->upn) == 0;
	return !r->by_name && r->has_user &&
		   memcmp(&look->user_id, &r->user_id, sizeof(pg_uuid_t)) == 0;
}

static void
put_request_off(Demand *demand, DemandRequest *r, const char *reason, bool final, long retry_after)
{
	if (final && !r->seat_bought)
	{
		spinpanel_request_finish(demand, r, "failed", reason);
		return;
	}
	r->attempts++;
	spinpanel_request_put_off(demand, r,
							  retry_after > 0 ? retry_after * 1000
											  : spinpanel_backoff_delay(r->attempts, 1000,
																		spinpanel_retry_max_delay,
																		SpinpanelRandom()),
							  reason);
}

typedef struct Setback
{
	Errand *errand;
	const char *reason;
	bool final;
	long retry_after;
} Setback;

/* All that are due. */
static void
do_setback(void *arg)
{
	Setback *setback = arg;
	Demand *demand = spinpanel_request_load(&setback->errand->customer.customer_id);
	int i;

	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (!r->moved && r->not_before <= demand->now)
			put_request_off(demand, r, setback->reason, setback->final, setback->retry_after);
	}
}

static void
put_off(Errand *errand, const char *reason, bool final, long retry_after)
{
	Setback setback;

	setback.errand = errand;
	setback.reason = reason;
	setback.final = final;
	setback.retry_after = retry_after;
	(void) spinpanel_unit("putting requests off", do_setback, &setback,
						  final ? UNIT_DURABLE : UNIT_REPEATABLE);
}

/* Those whose users could not be looked at, of the looks of this round. */
static void
do_tell_looks(void *arg)
{
	Errand *errand = arg;
	Demand *demand = spinpanel_request_load(&errand->customer.customer_id);
	int i;
	int j;

	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (r->moved || r->not_before > demand->now || strcmp(r->status, "queued") != 0)
			continue;
		for (j = 0; j < errand->look_asked; j++)
		{
			const Look *look = &errand->looks[errand->look_next + j];

			if (look->problem == NULL || look->displaced || !is_about(r, look))
				continue;
			/* Who does not exist holds nothing. */
			if (look->gone && look->final && r->release)
				spinpanel_request_finish(demand, r, "done", look->problem);
			else
				put_request_off(demand, r, look->problem, look->final, look->retry_after);
			break;
		}
	}
}

static char *
in_words(const ReadAnswer *answer)
{
	return psprintf("%s%s%s", answer->error_code, answer->error_code[0] ? ": " : "", answer->error);
}

/* ---- users ------------------------------------------------------------------------------ */

static char *
encoded(const char *text)
{
	StringInfoData buffer;
	const char *c;

	initStringInfo(&buffer);
	for (c = text; *c; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
			*c == '-' || *c == '_' || *c == '.' || *c == '@')
			appendStringInfoChar(&buffer, *c);
		else
			appendStringInfo(&buffer, "%%%02X", (unsigned char) *c);
	}
	return buffer.data;
}

/* Somebody whose name went to another user: were they renamed, or deleted? */
static void
add_displaced(Errand *errand, const char *upn, const pg_uuid_t *user_id)
{
	pg_uuid_t *others;
	int count = spinpanel_mirror_name_taken(&errand->customer.customer_id, upn, user_id, &others);
	int i;

	for (i = 0; i < count; i++)
	{
		Look *look;

		if (errand->look_count == errand->look_size)
			return; /* the next list of users tells */
		look = &errand->looks[errand->look_count++];
		memset(look, 0, sizeof(*look));
		look->has_user = true;
		look->user_id = others[i];
		look->displaced = true;
	}
}

static void
problem(Errand *errand, Look *look, const char *words, bool final, long retry_after)
{
	look->failed = true;
	look->problem = MemoryContextStrdup(errand->context, words);
	look->final = final;
	look->retry_after = retry_after;
}

/* Partner Center's own "no", and not a proxy's, or that of a token. */
static bool
is_final(const ReadAnswer *answer)
{
	switch (answer->outcome)
	{
		case PARTNER_NOT_FOUND:
			return answer->error_code[0] != '\0';
		case PARTNER_NO_ACCESS:
			return answer->http_status != 401;
		case PARTNER_REFUSED:
			return true;
		default:
			return false;
	}
}

/*
 * There is nobody of that name or GUID.  Whom the mirror knew was deleted, or
 * renamed; a user made a moment ago may not be known everywhere.
 */
static void
user_gone(Errand *errand, Look *look)
{
	DemandCustomer *c = &errand->customer;
	bool was_known = look->has_user;

	if (look->upn != NULL)
		add_displaced(errand, look->upn, NULL);
	else
		spinpanel_mirror_user_gone(&c->customer_id, &look->user_id);
	problem(errand, look,
			psprintf("user %s does not exist",
					 look->upn ? look->upn : spinpanel_uuid_text(&look->user_id)),
			was_known || spinpanel_now() - look->created_at >=
							 (int64) spinpanel_user_patience * USECS_PER_SEC,
			-1);
	look->gone = true;
}

/* What an unsuccessful read of a user means for their requests. */
static void
look_failed(Errand *errand, Look *look, const ReadAnswer *answer)
{
	if (spinpanel_driver_no_such_user(answer->http_status, answer->error_code))
		user_gone(errand, look);
	else if (is_final(answer))
		problem(errand, look, psprintf("the user cannot be read: %s", in_words(answer)), true, -1);
	else
		problem(errand, look, in_words(answer), false, answer->retry_after);
}

/* False: the answer is no such thing as was asked for. */
static bool
take_user(Errand *errand, Look *look, const ReadAnswer *user)
{
	DemandCustomer *c = &errand->customer;
	char *state;
	pg_uuid_t id;

	if (user->json == NULL || !spinpanel_json_uuid(&user->json->root, "id", &id) ||
		(look->upn == NULL && memcmp(&id, &look->user_id, sizeof(id)) != 0))
		return false;
	state = spinpanel_json_text(&user->json->root, "state");
	if (state != NULL && pg_strcasecmp(state, "inactive") == 0)
	{
		if (look->upn != NULL)
			spinpanel_mirror_user_gone(&c->customer_id, &id);
		user_gone(errand, look);
		return true;
	}
	if (!spinpanel_mirror_user(&c->customer_id, user->json, user->started_at))
		return false;
	if (look->upn != NULL)
		add_displaced(errand, look->upn, &id);
	look->user_id = id;
	look->has_user = true;
	look->user_taken = true;
	return true;
}

/* The mirror learns of users, and every request that means them. */
static void
do_take_users(void *arg)
{
	static const char *const unusable = "the answer is not that user, or no list of licences";
	Errand *errand = arg;
	DemandCustomer *c = &errand->customer;
	int i;

	for (i = 0; i < errand->look_asked; i++)
	{
		Look *look = &errand->looks[errand->look_next + i];
		ReadAnswer *user = look->user_read < 0 ? NULL : &errand->reads.answers[look->user_read];
		ReadAnswer *licenses =
			look->licenses_read < 0 ? NULL : &errand->reads.answers[look->licenses_read];

		if (look->failed)
			continue;
		if (user != NULL && user->outcome != PARTNER_OK)
			look_failed(errand, look, user);
		else if (user != NULL && !take_user(errand, look, user))
			problem(errand, look, unusable, false, -1);
		if (look->failed || !look->user_taken || licenses == NULL ||
			memcmp(&look->licenses_of, &look->user_id, sizeof(pg_uuid_t)) != 0)
			continue;
		if (licenses->outcome != PARTNER_OK)
			look_failed(errand, look, licenses);
		else
		{
			JsonbContainer *items = licenses->json == NULL
										? NULL
										: spinpanel_json_container(&licenses->json->root, "items");

			if (items == NULL || !JsonContainerIsArray(items))
			{
				problem(errand, look, unusable, false, -1);
				continue;
			}
			(void) spinpanel_mirror_user_licenses(&c->customer_id, &look->user_id, licenses->json,
												  licenses->started_at);
			spinpanel_request_looked(&c->customer_id, look->upn, &look->user_id,
									 licenses->started_at);
			look->licenses_taken = true;
		}
	}
}

static int
ask_licenses(Errand *errand, Look *look)
{
	look->licenses_of = look->user_id;
	return spinpanel_reads_ask(
		&errand->reads,
		psprintf("/customers/%s/users/%s/licenses?licenseGroupIds=group1&licenseGroupIds=group2",
				 spinpanel_uuid_text(&errand->customer.customer_id),
				 spinpanel_uuid_text(&look->user_id)),
		NULL);
}

static void
users_read(Errand *errand)
{
	bool trouble = false;
	bool again = false;
	int i;

	if (!spinpanel_unit("taking in users of requests", do_take_users, errand, UNIT_REPEATABLE))
	{
		put_off(errand, spinpanel_unit_error(), false, -1);
		errand_rest(errand);
		return;
	}
	for (i = 0; i < errand->look_asked; i++)
	{
		Look *look = &errand->looks[errand->look_next + i];

		trouble = trouble || look->problem != NULL;
		again = again || (!look->failed && !look->licenses_taken && !look->displaced);
	}
	if (again && errand->step == ERRAND_USERS)
	{
		errand->step = ERRAND_LICENSES;
		spinpanel_reads_again(&errand->reads);
		for (i = 0; i < errand->look_asked; i++)
		{
			Look *look = &errand->looks[errand->look_next + i];

			look->user_read = -1;
			look->licenses_read = look->failed || look->licenses_taken || look->displaced
									  ? -1
									  : ask_licenses(errand, look);
		}
		return;
	}
	if (trouble)
		(void) spinpanel_unit("putting requests off", do_tell_looks, errand, UNIT_DURABLE);
	errand->look_next += errand->look_asked;
	errand->step = ERRAND_USERS;
	errand_next(errand);
}

/* ---- many names: by the list ------------------------------------------------------------- */

static TimestampTz
list_of(const pg_uuid_t *customer_id)
{
	int i;

	for (i = 0; i < LISTS_KEPT; i++)
		if (lists[i].started_at != 0 && spinpanel_now() - lists[i].started_at < LIST_HOLDS &&
			memcmp(&lists[i].customer_id, customer_id, sizeof(pg_uuid_t)) == 0)
			return lists[i].started_at;
	return 0;
}

static void
keep_list(const pg_uuid_t *customer_id, TimestampTz started_at)
{
	int i;

	for (i = 0; i < LISTS_KEPT; i++)
		if (memcmp(&lists[i].customer_id, customer_id, sizeof(pg_uuid_t)) == 0)
			break;
	if (i == LISTS_KEPT)
		i = lists_next++ % LISTS_KEPT;
	lists[i].customer_id = *customer_id;
	lists[i].started_at = started_at;
}

/* Who has the names of the looks, by a list; who is not in it is asked for by name. */
static void
take_listed(Errand *errand, TimestampTz started_at)
{
	DemandCustomer *c = &errand->customer;
	int count = errand->look_count;
	int i;

	for (i = 0; i < count; i++)
	{
		Look *look = &errand->looks[i];
		pg_uuid_t id;

		if (look->upn == NULL || look->created_at > started_at ||
			!spinpanel_mirror_user_named(&c->customer_id, look->upn, started_at, &id))
			continue;
		look->user_id = id;
		look->has_user = true;
		look->user_taken = true;
		errand->named--;
		add_displaced(errand, look->upn, &id);
	}
}

/* One page; with the last it is known who has which name. */
static void
do_take_list(void *arg)
{
	Errand *errand = arg;
	DemandCustomer *c = &errand->customer;
	ReadAnswer *page = &errand->reads.answers[0];
	char *token;

	(void) spinpanel_mirror_users_page(c->account_id, &c->customer_id, &page->json->root,
									   errand->list_started_at, &errand->received);
	token = spinpanel_json_next_page(&page->json->root);
	/* No more pages than users to look up; a list that does not end has more. */
	if (token != NULL && ++errand->pages <= errand->named)
	{
		errand->page_token = MemoryContextStrdup(errand->context, token);
		return;
	}
	errand->listed = true;
	take_listed(errand, errand->list_started_at);
	if (token == NULL)
		keep_list(&c->customer_id, errand->list_started_at);
}

static void
list_read(Errand *errand)
{
	ReadAnswer *page = &errand->reads.answers[0];

	/* Without the list each is looked up alone. */
	if (page->outcome != PARTNER_OK || page->json == NULL ||
		!spinpanel_unit("taking in the list of users", do_take_list, errand, UNIT_REPEATABLE))
		errand->listed = true;
	errand_next(errand);
}

/* ---- pools and the decision -------------------------------------------------------------- */

/* A list that was not read, or not whole: what needs it waits, or cannot be. */
static void
note_trouble(Errand *errand, const ReadAnswer *answer, bool whole, const char *what)
{
	if (answer->outcome == PARTNER_OK && whole)
		return;
	errand->trouble = MemoryContextStrdup(
		errand->context,
		psprintf("the customer's %s cannot be read: %s", what,
				 answer->outcome == PARTNER_OK ? "the list is not whole" : in_words(answer)));
	errand->trouble_final = is_final(answer);
	errand->retry_after = answer->retry_after;
}

static void
do_decide(void *arg)
{
	Errand *errand = arg;
	Demand *demand = spinpanel_request_load(&errand->customer.customer_id);
	int i;

	/* Another account of ours that sells to the customer does as well. */
	for (i = 0; i < demand->count; i++)
		if (!spinpanel_account_usable(demand->requests[i].account_id))
			demand->requests[i].account_id = errand->customer.account_id;
	spinpanel_buying_decide(demand, errand->with_units, errand->with_subscriptions);
}

/* Where nothing else has to be looked up, the decision goes with it. */
static void
do_take_pools(void *arg)
{
	Errand *errand = arg;
	DemandCustomer *c = &errand->customer;

	errand->with_units = false;
	errand->with_subscriptions = false;
	errand->offer_count = 0;
	errand->trouble = NULL;
	if (errand->subscriptions_read >= 0)
	{
		ReadAnswer *read = &errand->reads.answers[errand->subscriptions_read];

		if (read->json != NULL)
			errand->with_subscriptions = spinpanel_mirror_subscriptions(
				c->account_id, &c->customer_id, read->json, read->digest, read->started_at);
		note_trouble(errand, read, errand->with_subscriptions, "subscriptions");
		if (errand->with_subscriptions)
			errand->offer_count = spinpanel_offers_unmapped(
				c->account_id, &c->customer_id, READS_MAX / 2, &errand->offers, errand->context);
	}
	if (errand->units_read >= 0)
	{
		ReadAnswer *read = &errand->reads.answers[errand->units_read];

		if (read->json != NULL)
			errand->with_units = spinpanel_mirror_subscribed_skus(
				c->account_id, &c->customer_id, read->json, read->digest, read->started_at);
		note_trouble(errand, read, errand->with_units, "seats");
	}
	if (errand->offer_count == 0)
		do_decide(errand);
}

static void
do_take_offers(void *arg)
{
	Errand *errand = arg;
	int i;

	for (i = 0; i < errand->offer_count; i++)
	{
		ReadAnswer *answer = &errand->reads.answers[i];

		/* Bad weather is no answer: the next turn asks again. */
		if (answer->json != NULL || answer->outcome == PARTNER_NOT_FOUND ||
			answer->outcome == PARTNER_REFUSED || answer->outcome == PARTNER_NO_ACCESS)
			spinpanel_offers_answered(&errand->offers[i], answer->json,
									  answer->json == NULL
										  ? (answer->error[0] ? answer->error : "no usable answer")
										  : NULL);
	}
	do_decide(errand);
}

static void
decide(Errand *errand)
{
	bool good;
	int i;

	if (errand->step == ERRAND_POOLS)
		good = spinpanel_unit("deciding about requests", do_take_pools, errand, UNIT_DURABLE);
	else
		good = spinpanel_unit("deciding about requests", do_take_offers, errand, UNIT_DURABLE);
	if (good && errand->step == ERRAND_POOLS && errand->offer_count > 0)
	{
		errand->step = ERRAND_OFFERS;
		spinpanel_reads_again(&errand->reads);
		for (i = 0; i < errand->offer_count; i++)
			spinpanel_reads_ask(&errand->reads, spinpanel_offers_path(&errand->offers[i]), NULL);
		return;
	}
	if (!good)
	{
		put_off(errand, spinpanel_unit_error(), false, -1);
		errand_rest(errand);
		return;
	}
	if (errand->trouble != NULL)
		put_off(errand, errand->trouble, errand->trouble_final, errand->retry_after);
	errand_end(errand);
}

static void
reads_done(void *arg)
{
	Errand *errand = arg;

	if (errand->finished)
		return; /* forgotten meanwhile */
	switch (errand->step)
	{
		case ERRAND_LIST:
			list_read(errand);
			break;
		case ERRAND_USERS:
		case ERRAND_LICENSES:
			users_read(errand);
			break;
		case ERRAND_POOLS:
		case ERRAND_OFFERS:
			decide(errand);
			break;
	}
}

/* Asks for what is still needed, or decides. */
static void
errand_next(Errand *errand)
{
	char *customer = spinpanel_uuid_text(&errand->customer.customer_id);
	int i;

	spinpanel_reads_again(&errand->reads);
	if (!errand->listed && errand->named >= LIST_WORTH &&
		errand->named > 2 * (1 + errand->users / PAGE_SIZE))
	{
		errand->step = ERRAND_LIST;
		if (errand->page_token == NULL)
			errand->list_started_at = spinpanel_now();
		(void) spinpanel_reads_ask(
			&errand->reads,
			errand->page_token == NULL
				? psprintf("/customers/%s/users?size=%d", customer, PAGE_SIZE)
				: psprintf("/customers/%s/users?seekOperation=Next", customer),
			errand->page_token);
		return;
	}
	if (errand->look_next < errand->look_count)
	{
		errand->step = ERRAND_USERS;
		for (i = 0; errand->look_next + i < errand->look_count; i++)
		{
			Look *look = &errand->looks[errand->look_next + i];

			if (errand->reads.count + 2 > READS_MAX)
				break;
			look->user_read = look->licenses_read = -1;
			/* Whom the list or their GUID tells need not be read, if the mirror has the rest. */
			if (look->upn == NULL && look->located && !look->displaced)
				look->user_taken = true;
			if (!look->user_taken)
				look->user_read = spinpanel_reads_ask(
					&errand->reads,
					psprintf("/customers/%s/users/%s", customer,
							 look->upn == NULL ? spinpanel_uuid_text(&look->user_id)
											   : encoded(look->upn)),
					NULL);
			if (look->has_user && !look->displaced)
				look->licenses_read = ask_licenses(errand, look);
		}
		errand->look_asked = i;
		return;
	}

	errand->step = ERRAND_POOLS;
	errand->units_read = -1;
	errand->subscriptions_read = -1;
	if (errand->subscriptions)
		errand->subscriptions_read = spinpanel_reads_ask(
			&errand->reads, psprintf("/customers/%s/subscriptions", customer), NULL);
	if (errand->units)
		errand->units_read = spinpanel_reads_ask(
			&errand->reads, psprintf("/customers/%s/subscribedskus", customer), NULL);
	if (errand->reads.pending == 0)
		decide(errand);
}

/* ---- taking up what is due ------------------------------------------------------------------ */

static void
do_begin(void *arg)
{
	Errand *errand = arg;
	Demand *demand = spinpanel_request_load(&errand->customer.customer_id);
	BuyingReads wanted;
	int i;

	spinpanel_buying_reads(demand, &wanted);
	errand->found = demand->count;
	errand->units = wanted.units;
	errand->subscriptions = wanted.subscriptions;
	errand->look_count = 0;
	errand->named = 0;
	errand->look_size = 2 * wanted.look_count;
	errand->looks = MemoryContextAllocZero(errand->context, sizeof(Look) * (errand->look_size + 1));
	for (i = 0; i < wanted.look_count; i++)
	{
		const DemandRequest *r = wanted.looks[i];
		Look *look = &errand->looks[errand->look_count];

		if (!r->has_user && r->upn == NULL)
			continue;
		look->upn = r->upn == NULL || (r->has_user && !r->by_name)
						? NULL
						: MemoryContextStrdup(errand->context, r->upn);
		look->has_user = r->has_user;
		look->user_id = r->user_id;
		look->created_at = r->created_at;
		look->located = r->user_known && r->usage_location != NULL && r->usage_location[0] != '\0';
		errand->look_count++;
		if (look->upn != NULL)
			errand->named++;
	}
	if (errand->named >= LIST_WORTH && list_of(&errand->customer.customer_id) != 0)
		take_listed(errand, list_of(&errand->customer.customer_id));
	if (errand->named >= LIST_WORTH)
		errand->users = spinpanel_mirror_users_count(&errand->customer.customer_id);
}

typedef struct Due
{
	MemoryContext context;
	DemandCustomer *customers;
	int count;
} Due;

static void
do_due(void *arg)
{
	Due *due = arg;
	int32 *accounts;
	int count = spinpanel_driver_open_accounts(&places, &accounts);
	pg_uuid_t *busy;
	int busy_count = 0;
	Errand *errand;

	if (count == 0)
		return;
	for (errand = errands; errand != NULL; errand = errand->next)
		busy_count++;
	busy = palloc(sizeof(pg_uuid_t) * (busy_count + 1));
	busy_count = 0;
	for (errand = errands; errand != NULL; errand = errand->next)
		busy[busy_count++] = errand->customer.customer_id;
	due->count = spinpanel_request_due(ERRANDS_AT_ONCE, accounts, count, busy, busy_count,
									   &due->customers, due->context);
}

static bool
under_way(const pg_uuid_t *customer_id)
{
	Errand *errand;

	for (errand = errands; errand != NULL; errand = errand->next)
		if (memcmp(&errand->customer.customer_id, customer_id, sizeof(pg_uuid_t)) == 0)
			return true;
	return false;
}

void
spinpanel_fulfil_work(void)
{
	Due due;
	int i;

	if (errands_context == NULL)
		errands_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel requests", ALLOCSET_DEFAULT_SIZES);
	sweep();
	memset(&due, 0, sizeof(due));
	due.context = AllocSetContextCreate(errands_context, "due requests", ALLOCSET_DEFAULT_SIZES);
	if (!spinpanel_unit("looking for requests", do_due, &due, UNIT_REPEATABLE))
		due.count = 0;

	for (i = 0; i < due.count; i++)
	{
		DemandCustomer *customer = &due.customers[i];
		MemoryContext context;
		MemoryContext old;
		Errand *errand;

		if (under_way(&customer->customer_id) || !spinpanel_account_usable(customer->account_id) ||
			!spinpanel_driver_has_place(&places, customer->account_id, &customer->customer_id))
			continue;
		context =
			AllocSetContextCreate(errands_context, "customer's requests", ALLOCSET_DEFAULT_SIZES);
		errand = MemoryContextAllocZero(context, sizeof(Errand));
		errand->context = context;
		errand->customer = *customer;
		errand->units_read = -1;
		errand->subscriptions_read = -1;
		if (!spinpanel_unit("taking requests up", do_begin, errand, UNIT_REPEATABLE))
		{
			MemoryContextDelete(context);
			continue;
		}
		spinpanel_reads_start(&errand->reads, context, spinpanel_partner_find(customer->account_id),
							  PARTNER_URGENT, reads_done, errand);
		errand->next = errands;
		errands = errand;
		spinpanel_driver_take_place(&places, customer->account_id, &customer->customer_id);
		if (errand->found == 0)
		{
			errand_rest(errand);
			continue;
		}
		old = MemoryContextSwitchTo(context);
		errand_next(errand);
		MemoryContextSwitchTo(old);
	}
	MemoryContextDelete(due.context);
}

void
spinpanel_fulfil_woken(void)
{
	Errand *errand;

	for (errand = errands; errand != NULL; errand = errand->next)
		if (errand->resting && errand->found == 0)
			errand->rest_until = 0;
}

int64
spinpanel_fulfil_rest(int64 limit)
{
	Errand *errand;

	for (errand = errands; errand != NULL; errand = errand->next)
		if (errand->resting)
			limit = Min(limit, errand->rest_until - GetCurrentTimestamp() / 1000);
	return Max(0, limit);
}

int
spinpanel_fulfil_active(void)
{
	sweep();
	return places.taken;
}

void
spinpanel_fulfil_forget(void)
{
	Errand *errand;

	memset(lists, 0, sizeof(lists));
	for (errand = errands; errand != NULL; errand = errand->next)
	{
		errand->rest_until = 0;
		errand_end(errand);
	}
}
