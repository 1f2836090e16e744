/*
 * op_driver.c
 *
 * See op_driver.h.  It drives nothing itself, keeps nothing and knows no SQL.
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

static void
do_due(void *arg)
{
	DriverDue *due = arg;
	int32 *accounts;
	int count = spinpanel_account_usable_list(&accounts);

	due->count = spinpanel_operation_due(due->class, accounts, count, due->limit, &due->operations,
										 due->context);
}

void
spinpanel_driver_due(DriverDue *due, OutboxClass class, int limit, MemoryContext parent,
					 const char *activity)
{
	memset(due, 0, sizeof(*due));
	due->context = AllocSetContextCreate(parent, "due operations", ALLOCSET_DEFAULT_SIZES);
	due->class = class;
	due->limit = limit;
	if (!spinpanel_unit(activity, do_due, due, UNIT_REPEATABLE))
		due->count = 0;
}
