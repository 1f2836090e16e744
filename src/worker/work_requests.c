/*
 * work_requests.c
 *
 * Drives requests: one Errand in memory per customer that has some due.
 *
 *     load ──► look users up that nobody looked at
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

/* A customer about whom nothing could be done is left alone for so long: a
 * caller has the rows, or the database is in trouble. */
#define REST_MS 1000

/* Customers of one account at the same time. */
#define ERRANDS_AT_ONCE 32

/* Users looked up side by side: two reads each. */
#define USERS_AT_ONCE (READS_MAX / 2)

/* A user made a moment ago may not be known everywhere. */
#define USER_PATIENCE (60 * USECS_PER_SEC)

typedef enum ErrandStep
{
	ERRAND_USERS,
	ERRAND_LICENSES, /* of users known by name only till now */
	ERRAND_POOLS,
	ERRAND_OFFERS /* of subscriptions that nobody met before */
} ErrandStep;

typedef struct Look
{
	char *upn;
	bool has_user;
	pg_uuid_t user_id;
	TimestampTz created_at;
	int32 attempts;
	/* this time */
	int user_read;
	int licenses_read;
	bool user_taken;
	bool failed;
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
	int look_next;
	int look_asked;
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

static Errand *errands = NULL;
static DriverPlaces places = { ERRANDS_AT_ONCE };
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

typedef struct Setback
{
	Errand *errand;
	const Look *look; /* NULL = all that are due */
	const char *reason;
	bool final;
	long retry_after;
} Setback;

static bool
is_about(const DemandRequest *r, const Look *look)
{
	if (look->has_user && r->has_user)
		return memcmp(&look->user_id, &r->user_id, sizeof(pg_uuid_t)) == 0;
	return !r->has_user && r->upn != NULL && look->upn != NULL &&
		   pg_strcasecmp(r->upn, look->upn) == 0;
}

static void
do_setback(void *arg)
{
	Setback *setback = arg;
	Demand *demand = spinpanel_request_load(&setback->errand->customer.customer_id);
	int i;

	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (r->moved || r->not_before > demand->now)
			continue;
		if (setback->look != NULL &&
			(strcmp(r->status, "queued") != 0 || !is_about(r, setback->look)))
			continue;
		if (setback->final && !r->seat_bought)
		{
			spinpanel_request_finish(demand, r, "failed", setback->reason);
			continue;
		}
		r->attempts++;
		spinpanel_request_put_off(demand, r,
								  setback->retry_after > 0
									  ? setback->retry_after * 1000
									  : spinpanel_backoff_delay(r->attempts, 1000,
																spinpanel_retry_max_delay,
																SpinpanelRandom()),
								  setback->reason);
	}
}

static void
put_off(Errand *errand, const Look *look, const char *reason, bool final, long retry_after)
{
	Setback setback;

	setback.errand = errand;
	setback.look = look;
	setback.reason = reason;
	setback.final = final;
	setback.retry_after = retry_after;
	(void) spinpanel_unit("putting requests off", do_setback, &setback,
						  final ? UNIT_DURABLE : UNIT_REPEATABLE);
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

/* The mirror learns of a user, and every request that means them. */
static void
do_take_users(void *arg)
{
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
		if (user != NULL && user->outcome == PARTNER_OK && !look->user_taken)
		{
			pg_uuid_t id;

			if (user->json == NULL || !spinpanel_json_uuid(&user->json->root, "id", &id) ||
				(look->has_user && memcmp(&id, &look->user_id, sizeof(id)) != 0) ||
				!spinpanel_mirror_user(&c->customer_id, user->json, user->started_at))
			{
				user->outcome = PARTNER_UNKNOWN;
				strlcpy(user->error, "the answer is not that user", sizeof(user->error));
				continue;
			}
			look->user_id = id;
			look->has_user = true;
			look->user_taken = true;
		}
		if (look->user_taken && licenses != NULL && licenses->outcome == PARTNER_OK)
		{
			JsonbContainer *items = licenses->json == NULL
										? NULL
										: spinpanel_json_container(&licenses->json->root, "items");

			if (items == NULL || !JsonContainerIsArray(items))
			{
				licenses->outcome = PARTNER_UNKNOWN;
				strlcpy(licenses->error, "the answer is no list of licences",
						sizeof(licenses->error));
				continue;
			}
			spinpanel_mirror_user_licenses(&c->customer_id, &look->user_id, licenses->json,
										   licenses->started_at);
			spinpanel_request_looked(&c->customer_id, look->upn, &look->user_id,
									 licenses->started_at);
		}
	}
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

/* What an unsuccessful read of a user means for their requests. */
static void
user_failed(Errand *errand, Look *look, const ReadAnswer *answer)
{
	if (look->failed || answer == NULL || answer->outcome == PARTNER_OK)
		return;
	look->failed = true;
	if (!is_final(answer))
	{
		put_off(errand, look, in_words(answer), false, answer->retry_after);
		return;
	}
	switch (answer->outcome)
	{
		case PARTNER_NOT_FOUND:
			put_off(errand, look,
					psprintf("user %s does not exist",
							 look->upn ? look->upn : spinpanel_uuid_text(&look->user_id)),
					spinpanel_now() - look->created_at >= USER_PATIENCE, -1);
			break;
		default:
			put_off(errand, look,
					psprintf("the user's licences cannot be read: %s", in_words(answer)), true, -1);
			break;
	}
}

static void
users_read(Errand *errand)
{
	bool again = false;
	int i;

	if (!spinpanel_unit("taking in users of requests", do_take_users, errand, UNIT_REPEATABLE))
	{
		put_off(errand, NULL, spinpanel_unit_error(), false, -1);
		errand_rest(errand);
		return;
	}
	for (i = 0; i < errand->look_asked; i++)
	{
		Look *look = &errand->looks[errand->look_next + i];

		if (look->user_read >= 0)
			user_failed(errand, look, &errand->reads.answers[look->user_read]);
		if (look->licenses_read >= 0)
			user_failed(errand, look, &errand->reads.answers[look->licenses_read]);
		if (!look->failed && look->licenses_read < 0)
			again = true;
	}
	if (again && errand->step == ERRAND_USERS)
	{
		errand->step = ERRAND_LICENSES;
		spinpanel_reads_again(&errand->reads);
		for (i = 0; i < errand->look_asked; i++)
		{
			Look *look = &errand->looks[errand->look_next + i];
			bool wanted = !look->failed && look->licenses_read < 0;

			look->user_read = -1;
			look->licenses_read = -1;
			if (wanted)
				look->licenses_read = spinpanel_reads_ask(
					&errand->reads,
					psprintf(
						"/customers/%s/users/%s/licenses?licenseGroupIds=group1&licenseGroupIds=group2",
						spinpanel_uuid_text(&errand->customer.customer_id),
						spinpanel_uuid_text(&look->user_id)),
					NULL);
		}
		return;
	}
	errand->look_next += errand->look_asked;
	errand->step = ERRAND_USERS;
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
		put_off(errand, NULL, spinpanel_unit_error(), false, -1);
		errand_rest(errand);
		return;
	}
	if (errand->trouble != NULL)
		put_off(errand, NULL, errand->trouble, errand->trouble_final, errand->retry_after);
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
	if (errand->look_next < errand->look_count)
	{
		errand->step = ERRAND_USERS;
		errand->look_asked = Min(USERS_AT_ONCE, errand->look_count - errand->look_next);
		for (i = 0; i < errand->look_asked; i++)
		{
			Look *look = &errand->looks[errand->look_next + i];
			const char *name =
				look->has_user ? spinpanel_uuid_text(&look->user_id) : encoded(look->upn);

			look->user_read = spinpanel_reads_ask(
				&errand->reads, psprintf("/customers/%s/users/%s", customer, name), NULL);
			look->licenses_read =
				!look->has_user
					? -1
					: spinpanel_reads_ask(
						  &errand->reads,
						  psprintf(
							  "/customers/%s/users/%s/licenses?licenseGroupIds=group1&licenseGroupIds=group2",
							  customer, name),
						  NULL);
		}
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
	errand->looks = MemoryContextAllocZero(errand->context, sizeof(Look) * (wanted.look_count + 1));
	for (i = 0; i < wanted.look_count; i++)
	{
		const DemandRequest *r = wanted.looks[i];
		Look *look = &errand->looks[errand->look_count];

		if (!r->has_user && r->upn == NULL)
			continue;
		look->upn = r->upn == NULL ? NULL : MemoryContextStrdup(errand->context, r->upn);
		look->has_user = r->has_user;
		look->user_id = r->user_id;
		look->created_at = r->created_at;
		errand->look_count++;
	}
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

	for (errand = errands; errand != NULL; errand = errand->next)
	{
		errand->rest_until = 0;
		errand_end(errand);
	}
}
