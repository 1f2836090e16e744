/*
 * op_driver.c
 *
 * See op_driver.h.  It drives nothing itself and knows no SQL.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "state/account.h"
#include "state/unit.h"
#include "worker/op_driver.h"

/* Longer answers say nothing that is looked at. */
#define ANSWER_SIZE (1024 * 1024)

TimestampTz
spinpanel_driver_later(int64 milliseconds)
{
	return spinpanel_now() + milliseconds * 1000;
}

int64
spinpanel_driver_delay(int attempts)
{
	return spinpanel_backoff_delay(attempts < 1 ? 1 : attempts, 1000, spinpanel_retry_max_delay,
								   SpinpanelRandom());
}

int64
spinpanel_driver_patient(TimestampTz since, int64 at_least)
{
	int64 delay = (spinpanel_now() - since) / 1000 / 8;

	return Min(Max(delay, at_least), (int64) spinpanel_retry_max_delay);
}

int64
spinpanel_driver_while_locked(const Operation *op)
{
	return Min(spinpanel_driver_patient(op->created_at, 200), 5000);
}

Jsonb *
spinpanel_driver_keep(MemoryContext context, const Jsonb *jsonb)
{
	return memcpy(MemoryContextAlloc(context, VARSIZE(jsonb)), jsonb, VARSIZE(jsonb));
}

void
spinpanel_driver_keep_answer(MemoryContext context, const PartnerAnswer *answer,
							 PartnerAnswer *kept, char **text, Size *length)
{
	*kept = *answer;
	kept->body = NULL;
	kept->json = NULL;
	kept->continuation_token = NULL;
	kept->location = NULL;
	if (answer->body == NULL || answer->body_length == 0 || answer->body_length >= ANSWER_SIZE)
		return;
	*text = MemoryContextAlloc(context, answer->body_length + 1);
	memcpy(*text, answer->body, answer->body_length);
	(*text)[answer->body_length] = '\0';
	*length = answer->body_length;
}

/* ---- what becomes of an operation ------------------------------------------------------ */

/* Hours. */
#define NO_END 0 /* it waits as long as it takes */
#define AS_ITS_PURPOSE (-1)

/* Milliseconds. */
#define BACK_OFF 0
#define LONGEST INT_MAX /* spinpanel.retry_max_delay */

/* The first that fits; 0 = any status, any code. */
static const struct
{
	PartnerOutcome outcome;
	int http_status;
	int code;
	DriverNext next;
	bool counts;
	int at_least; /* ms until the next attempt, where no Retry-After says more */
	int patience; /* hours */
} answers[] = {
	{ PARTNER_OK, 0, 0, DRIVER_CARRIED_OUT, true, 0, NO_END },
	{ PARTNER_ACCEPTED, 0, 0, DRIVER_LOOK, true, 1000, AS_ITS_PURPOSE },

	/* Nobody looked at it.  An outage ends, and a person may take their time. */
	{ PARTNER_NOT_SENT, 0, 0, DRIVER_AGAIN, false, BACK_OFF, NO_END },
	{ PARTNER_THROTTLED, 0, 0, DRIVER_AGAIN, false, BACK_OFF, NO_END },
	{ PARTNER_ACCOUNT_STOPPED, 0, 0, DRIVER_AGAIN, false, LONGEST, NO_END },

	/* "A renewal is under way, try again after 24 hours": it may take a day, and one more. */
	{ PARTNER_CONFLICT, 0, 900278, DRIVER_AGAIN, true, 120000, AS_ITS_PURPOSE },
	/* Something is under way there.  The contract's advice is two minutes. */
	{ PARTNER_CONFLICT, 0, 0, DRIVER_AGAIN, true, 120000, AS_ITS_PURPOSE },
	{ PARTNER_STALE, 0, 0, DRIVER_AGAIN, true, BACK_OFF, AS_ITS_PURPOSE },

	/* It may have been carried out. */
	{ PARTNER_UNAVAILABLE, 0, 0, DRIVER_LOOK, true, BACK_OFF, AS_ITS_PURPOSE },
	{ PARTNER_UNKNOWN, 0, 0, DRIVER_LOOK, true, BACK_OFF, AS_ITS_PURPOSE },

	/* A token that was revoked before its time; where it stays so it is the customer's. */
	{ PARTNER_NO_ACCESS, 401, 0, DRIVER_AGAIN, true, BACK_OFF, 24 },
	{ PARTNER_NO_ACCESS, 0, 0, DRIVER_OVER, true, 0, NO_END },
	/* "Get the availability again and retry." */
	{ PARTNER_NOT_FOUND, 0, 400019, DRIVER_AGAIN, true, BACK_OFF, 24 },
	{ PARTNER_NOT_FOUND, 0, 0, DRIVER_OVER, true, 0, NO_END },
	{ PARTNER_REFUSED, 0, 0, DRIVER_OVER, true, 0, NO_END },
};

/* How long something is tried, by what it is for; hours.  What a night decided
 * the next night decides again. */
static const struct
{
	const char *purpose;
	int patience;
} purposes[] = {
	{ "remove", 2 },    { "merge", 2 },      { "schedule", 2 },
	{ "restore", 168 }, { "put_back", 168 }, { "buy_back", 168 },
};

#define PATIENCE_OF_REQUESTS 72

static bool
is_over(const Operation *op, int hours)
{
	int i;

	if (hours == NO_END || op->troubled_at == 0)
		return false;
	if (hours == AS_ITS_PURPOSE)
	{
		hours = PATIENCE_OF_REQUESTS;
		for (i = 0; i < (int) lengthof(purposes); i++)
			if (strcmp(op->purpose, purposes[i].purpose) == 0)
				hours = purposes[i].patience;
	}
	return spinpanel_now() - op->troubled_at > hours * USECS_PER_HOUR;
}

bool
spinpanel_driver_patience_over(const Operation *op)
{
	return is_over(op, AS_ITS_PURPOSE);
}

DriverVerdict
spinpanel_driver_verdict(const Operation *op, const PartnerAnswer *answer)
{
	int code = atoi(answer->error_code);
	DriverVerdict verdict;
	int64 delay;
	int i = 0;

	while (i < (int) lengthof(answers) - 1 &&
		   (answers[i].outcome != answer->outcome ||
			(answers[i].http_status != 0 && answers[i].http_status != answer->http_status) ||
			(answers[i].code != 0 && answers[i].code != code)))
		i++;
	verdict.next = answers[i].next;
	verdict.counts = answers[i].counts;
	if (answer->retry_after > 0)
		delay = (int64) answer->retry_after * 1000;
	else if (answers[i].at_least == BACK_OFF)
		delay = spinpanel_driver_delay(op->attempts);
	else
		delay = spinpanel_driver_patient(op->troubled_at != 0 ? op->troubled_at : spinpanel_now(),
										 answers[i].at_least);
	verdict.not_before = spinpanel_driver_later(delay);
	/* What may have been carried out is not given up, but looked for. */
	if (verdict.next == DRIVER_AGAIN && is_over(op, answers[i].patience))
		verdict.next = DRIVER_OVER;
	return verdict;
}

bool
spinpanel_driver_no_such_user(int http_status, const char *error_code)
{
	return http_status == 404 && error_code != NULL && strcmp(error_code, "60002") == 0;
}

/* ---- places ------------------------------------------------------------------------------ */

static DriverPlace *
find_place(const DriverPlaces *places, int32 account_id, const pg_uuid_t *customer_id)
{
	int i;

	for (i = 0; i < places->count; i++)
		if (places->list[i].account_id == account_id &&
			memcmp(&places->list[i].customer_id, customer_id, sizeof(pg_uuid_t)) == 0)
			return &places->list[i];
	return NULL;
}

static int
free_places(const DriverPlaces *places, int32 account_id)
{
	int left = places->of_account;
	int i;

	for (i = 0; i < places->count; i++)
		if (places->list[i].account_id == account_id)
			left -= places->list[i].taken;
	return left;
}

bool
spinpanel_driver_has_place(const DriverPlaces *places, int32 account_id,
						   const pg_uuid_t *customer_id)
{
	const DriverPlace *place = find_place(places, account_id, customer_id);

	return (place == NULL ? 0 : place->taken) < free_places(places, account_id);
}

void
spinpanel_driver_take_place(DriverPlaces *places, int32 account_id, const pg_uuid_t *customer_id)
{
	DriverPlace *place = find_place(places, account_id, customer_id);

	if (place == NULL)
	{
		if (places->list == NULL)
		{
			places->size = places->of_account;
			places->list = MemoryContextAlloc(TopMemoryContext, sizeof(DriverPlace) * places->size);
		}
		else if (places->count == places->size)
		{
			places->size *= 2;
			places->list = repalloc(places->list, sizeof(DriverPlace) * places->size);
		}
		place = &places->list[places->count++];
		place->account_id = account_id;
		place->customer_id = *customer_id;
		place->taken = 0;
	}
	place->taken++;
	places->taken++;
}

void
spinpanel_driver_leave_place(DriverPlaces *places, int32 account_id, const pg_uuid_t *customer_id)
{
	DriverPlace *place = find_place(places, account_id, customer_id);

	Assert(place != NULL);
	places->taken--;
	if (--place->taken == 0)
		*place = places->list[--places->count];
}

int
spinpanel_driver_open_accounts(const DriverPlaces *places, int32 **accounts)
{
	int count = spinpanel_account_usable_list(accounts);
	int open = 0;
	int i;

	for (i = 0; i < count; i++)
		if (free_places(places, (*accounts)[i]) > 0)
			(*accounts)[open++] = (*accounts)[i];
	return open;
}

int
spinpanel_driver_full_customers(const DriverPlaces *places, pg_uuid_t **customers)
{
	int count = 0;
	int i;

	*customers = palloc(sizeof(pg_uuid_t) * (places->count + 1));
	for (i = 0; i < places->count; i++)
		if (places->list[i].taken >= free_places(places, places->list[i].account_id))
			(*customers)[count++] = places->list[i].customer_id;
	return count;
}

/* ---- what is due ---------------------------------------------------------------------------- */

static void
do_due(void *arg)
{
	DriverDue *due = arg;
	int32 *accounts;
	pg_uuid_t *full;
	int account_count = spinpanel_driver_open_accounts(due->places, &accounts);
	int full_count = spinpanel_driver_full_customers(due->places, &full);

	/* Those that are being sent are found, too. */
	int limit = due->places->taken + due->places->of_account;

	if (account_count > 0)
		due->count = spinpanel_operation_due(due->class, accounts, account_count, full, full_count,
											 limit, &due->operations, due->context);
	due->more = due->count >= limit;
}

void
spinpanel_driver_due(DriverDue *due, OutboxClass class, const DriverPlaces *places,
					 MemoryContext parent, const char *activity)
{
	memset(due, 0, sizeof(*due));
	due->context = AllocSetContextCreate(parent, "due operations", ALLOCSET_DEFAULT_SIZES);
	due->class = class;
	due->places = places;
	if (!spinpanel_unit(activity, do_due, due, UNIT_REPEATABLE))
	{
		due->count = 0;
		due->more = false;
	}
}
