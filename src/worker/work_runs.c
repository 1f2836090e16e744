/*
 * work_runs.c
 *
 * The course of runs.  For each open run and account the customers are listed
 * at Partner Center (all pages, or it proves nothing), then taken into
 * run_customer, where work_customer.c finds them; when nothing is left the run ends.
 * It also starts a night that pg_cron missed, and keeps the tables short.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/adjustment.h"
#include "state/mirror.h"
#include "state/plan_output.h"
#include "state/run.h"
#include "state/unit.h"
#include "worker/op_subscription.h"
#include "worker/work_runs.h"

#define PAGE_SIZE 500

/* Listing that fails so often goes on with the customers known from before. */
#define LISTING_ATTEMPTS 6

typedef struct Listing
{
	struct Listing *next;
	MemoryContext context;
	int32 account_id;
	Reads reads;
	TimestampTz started_at;
	char *token;
	TimestampTz audit_from; /* whose subscriptions were changed since; DT_NOBEGIN: not asked */
	bool audit; /* its pages are being read */
	bool audited; /* all of them were */
	Pages pages;
	int64 received; /* items so far */
	bool partial; /* a page had items that could not be read */
	bool finished;
	bool forgotten;
	bool succeeded;
	char error[512];
	long retry_after;
	bool counts;
} Listing;

static Listing *listings = NULL;
static MemoryContext night_context = NULL;

/* ---- listing one account's customers ------------------------------------------------- */

static void
do_take_page(void *arg)
{
	Listing *listing = arg;
	ReadAnswer *answer = &listing->reads.answers[0];
	Jsonb *body = answer->json;
	char *token;

	listing->token = NULL;
	if (body == NULL)
	{
		answer->outcome = PARTNER_UNKNOWN;
		return;
	}
	token = spinpanel_json_next_page(&body->root);
	if (!spinpanel_pages_go_on(&listing->pages, token, listing->context))
	{
		answer->outcome = PARTNER_UNKNOWN;
		strlcpy(answer->error, SPINPANEL_PAGES_ENDLESS, sizeof(answer->error));
		return;
	}
	if (!spinpanel_mirror_customers_page(listing->account_id, &body->root, listing->started_at,
										 &listing->received))
		listing->partial = true;
	if (token != NULL)
		listing->token = MemoryContextStrdup(listing->context, token);
	else if (!listing->partial && spinpanel_mirror_all_there(&body->root, listing->received, true))
		spinpanel_mirror_customers_complete(listing->account_id, listing->started_at,
											listing->received);
}

/* ---- ... and the customers whose subscriptions somebody changed ------------------------ */

static void
ask_audit_page(Listing *listing)
{
	/* {"Field":"ResourceType","Value":"subscription","Operator":"equals"} */
	static const char *const filter =
		"%7B%22Field%22%3A%22ResourceType%22%2C%22Value%22%3A%22subscription%22%2C%22Operator%22%3A%22equals%22%7D";
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(listing->audit_from, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	spinpanel_reads_again(&listing->reads);
	spinpanel_reads_ask(&listing->reads,
						psprintf("/auditrecords?startDate=%04d-%02d-%02d&size=%d&filter=%s",
								 tm.tm_year, tm.tm_mon, tm.tm_mday, PAGE_SIZE, filter),
						listing->token);
}

static void
begin_audit(Listing *listing)
{
	listing->audit = true;
	listing->pages.count = 0;
	listing->token = NULL;
	ask_audit_page(listing);
}

static void
do_take_audit_page(void *arg)
{
	Listing *listing = arg;
	Jsonb *body = listing->reads.answers[0].json;
	char *token = body == NULL ? NULL : spinpanel_json_next_page(&body->root);

	listing->token = NULL;
	if (body == NULL || !spinpanel_mirror_audit_page(listing->account_id, &body->root))
		return;
	if (token == NULL)
		listing->audited = true;
	else if (spinpanel_pages_go_on(&listing->pages, token, listing->context))
		listing->token = MemoryContextStrdup(listing->context, token);
}

/*
 * The records say whom to read more of.  Without them everybody is read whole.
 */
static void
audit_page_done(Listing *listing, const ReadAnswer *answer)
{
	if (answer->outcome != PARTNER_OK ||
		!spinpanel_unit("taking in audit records", do_take_audit_page, listing, UNIT_REPEATABLE))
		listing->audited = false;
	else if (listing->token != NULL)
	{
		ask_audit_page(listing);
		return;
	}
	listing->finished = true;
}

static void
page_done(void *arg)
{
	Listing *listing = arg;
	ReadAnswer *answer = &listing->reads.answers[0];

	if (listing->finished)
		return; /* forgotten meanwhile */
	if (listing->audit)
	{
		audit_page_done(listing, answer);
		return;
	}
	if (answer->outcome == PARTNER_OK &&
		!spinpanel_unit("taking in customers", do_take_page, listing, UNIT_REPEATABLE))
	{
		answer->outcome = PARTNER_UNKNOWN;
		strlcpy(answer->error, spinpanel_unit_error(), sizeof(answer->error));
	}
	if (answer->outcome != PARTNER_OK)
	{
		snprintf(listing->error, sizeof(listing->error), "customers could not be listed: %s",
				 answer->error[0] ? answer->error : "no usable answer");
		listing->retry_after = answer->retry_after;
		listing->counts = answer->outcome != PARTNER_NOT_SENT &&
						  answer->outcome != PARTNER_THROTTLED &&
						  answer->outcome != PARTNER_ACCOUNT_STOPPED;
		listing->finished = true;
		return;
	}
	if (listing->token == NULL)
	{
		listing->succeeded = true;
		if (listing->audit_from != DT_NOBEGIN)
			begin_audit(listing);
		else
			listing->finished = true;
		return;
	}
	spinpanel_reads_again(&listing->reads);
	spinpanel_reads_ask(&listing->reads, "/customers?seekOperation=Next", listing->token);
}

static void
do_look_listed(void *arg)
{
	Listing *listing = arg;
	TimestampTz listed_at = spinpanel_mirror_listed_at(listing->account_id);

	/* Partner Center keeps the records for 90 days; by then all were read anew. */
	if (listed_at != DT_NOBEGIN)
		listing->audit_from =
			Max(listed_at, listing->started_at - 14 * USECS_PER_DAY) - USECS_PER_HOUR;
}

static Listing *
find_listing(int32 account_id)
{
	Listing *listing;

	for (listing = listings; listing != NULL; listing = listing->next)
		if (listing->account_id == account_id && !listing->forgotten)
			return listing;
	return NULL;
}

static void
begin_listing(int32 account_id, bool with_audit)
{
	MemoryContext context =
		AllocSetContextCreate(night_context, "customer list", ALLOCSET_DEFAULT_SIZES);
	Listing *listing = MemoryContextAllocZero(context, sizeof(Listing));
	char path[64];

	listing->context = context;
	listing->account_id = account_id;
	listing->started_at = spinpanel_now();
	listing->retry_after = -1;
	listing->audit_from = DT_NOBEGIN;
	if (with_audit)
		(void) spinpanel_unit("looking when customers were listed", do_look_listed, listing,
							  UNIT_REPEATABLE);
	spinpanel_reads_start(&listing->reads, context, spinpanel_partner_find(account_id),
						  PARTNER_READ, page_done, listing);
	listing->next = listings;
	listings = listing;
	snprintf(path, sizeof(path), "/customers?size=%d", PAGE_SIZE);
	spinpanel_reads_ask(&listing->reads, path, NULL);
}

static void
end_listing(Listing *listing)
{
	Listing **link = &listings;

	while (*link != listing)
		link = &(*link)->next;
	*link = listing->next;
	MemoryContextDelete(listing->context);
}

/* ---- the course of runs -------------------------------------------------------------- */

typedef struct Course
{
	Run *runs;
	int run_count;
	int32 *accounts;
	int account_count;
	MemoryContext context;
} Course;

static void
do_make_up(void *arg)
{
	spinpanel_run_make_up();
}

static void
do_open(void *arg)
{
	Course *course = arg;

	spinpanel_adjustment_announce();
	spinpanel_plan_output_take_approved();
	course->run_count = spinpanel_run_open(&course->runs, course->context);
}

static bool
is_listed(const Run *run, int32 account_id)
{
	int i;

	for (i = 0; i < run->listed_count; i++)
		if (run->listed[i] == account_id)
			return true;
	return false;
}

/*
 * A run takes its customers in some at a time, so that nobody else waits while
 * it takes in hundreds of thousands.  A worker that is started anew begins anew.
 */
#define FILL_AT_ONCE 5000

typedef struct Filling
{
	struct Filling *next;
	int64 run_id;
	int32 account_id;
	bool skus_first;
	pg_uuid_t after;
	uint64 customers;
} Filling;

static Filling *fillings = NULL;

static Filling *
find_filling(int64 run_id, int32 account_id)
{
	Filling *filling;

	for (filling = fillings; filling != NULL; filling = filling->next)
		if (filling->run_id == run_id && filling->account_id == account_id)
			return filling;
	return NULL;
}

static Filling *
begin_filling(int64 run_id, int32 account_id)
{
	Filling *filling = MemoryContextAllocZero(night_context, sizeof(Filling));

	filling->run_id = run_id;
	filling->account_id = account_id;
	filling->next = fillings;
	fillings = filling;
	return filling;
}

/* That one (NULL: none in particular), those of runs that are over, or all. */
static void
end_fillings(const Filling *ended, bool all)
{
	Filling **link = &fillings;

	while (*link != NULL)
	{
		Filling *filling = *link;

		if (all || filling == ended || !spinpanel_run_is_open(filling->run_id))
		{
			*link = filling->next;
			pfree(filling);
		}
		else
			link = &filling->next;
	}
}

typedef struct Step
{
	Course *course;
	const Run *run;
	int32 account_id;
	const char *failure;
	const Listing *listing;
	Filling *filling;
	pg_uuid_t after;
	uint64 customers;
	bool filled;
} Step;

static void
do_fill(void *arg)
{
	Step *step = arg;

	/* A transaction that fails must leave no trace in memory. */
	step->after = step->filling->after;
	step->customers = step->filling->customers;
	step->filled =
		spinpanel_run_fill(step->run, step->account_id, step->failure, step->filling->skus_first,
						   &step->after, FILL_AT_ONCE, &step->customers);
}

static void
do_listing_failed(void *arg)
{
	Step *step = arg;
	const Listing *listing = step->listing;
	int64 delay = listing->retry_after > 0
					  ? listing->retry_after * 1000
					  : spinpanel_backoff_delay(step->run->attempts + 1, 1000,
												spinpanel_retry_max_delay, SpinpanelRandom());

	spinpanel_run_listing_failed(step->run, spinpanel_now() + delay * 1000, listing->error);
}

static void
do_fail_account(void *arg)
{
	Step *step = arg;

	spinpanel_run_fail_account(step->account_id, step->failure);
}

static void
do_finish_runs(void *arg)
{
	Course *course = arg;

	spinpanel_run_finish(course->accounts, course->account_count);
}

static void
work_on_account(Course *course, const Run *run, int32 account_id)
{
	const char *trouble = spinpanel_account_trouble(account_id);
	Listing *listing = find_listing(account_id);
	Step step;

	memset(&step, 0, sizeof(step));
	step.course = course;
	step.run = run;
	step.account_id = account_id;

	step.failure = trouble;
	step.filling = find_filling(run->run_id, account_id);
	if (step.filling == NULL)
	{
		if (trouble == NULL && !run->named)
		{
			if (listing == NULL)
			{
				if (run->not_before <= spinpanel_now() && spinpanel_account_usable(account_id))
					begin_listing(account_id, run->kind == RUN_NIGHTLY);
				return;
			}
			if (!listing->finished)
				return;
			step.listing = listing;
			if (!listing->succeeded && (!listing->counts || run->attempts + 1 < LISTING_ATTEMPTS))
			{
				(void) spinpanel_unit("putting a customer list off", do_listing_failed, &step,
									  UNIT_REPEATABLE);
				return;
			}
			/* Given up: the customers known from before are worked on. */
			spinpanel_run_count_requests(run->run_id, listing->reads.sent);
		}
		step.filling = begin_filling(run->run_id, account_id);
		step.filling->skus_first =
			run->kind == RUN_NIGHTLY && listing != NULL && listing->succeeded && listing->audited;
	}
	if (!spinpanel_unit("taking a run's customers in", do_fill, &step, UNIT_REPEATABLE))
		return;
	step.filling->after = step.after;
	step.filling->customers = step.customers;
	if (step.filled)
		end_fillings(step.filling, false);
}

/* Lists that no open run waits for any more. */
static void
forget_listings(const Course *course)
{
	Listing *listing;
	int r;

	for (listing = listings; listing != NULL; listing = listing->next)
	{
		bool wanted = false;

		for (r = 0; r < course->run_count; r++)
			wanted |= !course->runs[r].named && !is_listed(&course->runs[r], listing->account_id);
		if (!wanted)
			listing->finished = listing->forgotten = true;
	}
}

void
spinpanel_night_work(void)
{
	Course course;
	Listing *listing;
	int r;
	int a;

	if (night_context == NULL)
		night_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel runs", ALLOCSET_DEFAULT_SIZES);
	memset(&course, 0, sizeof(course));
	course.context = AllocSetContextCreate(night_context, "open runs", ALLOCSET_SMALL_SIZES);
	course.account_count = spinpanel_account_list(&course.accounts);

	(void) spinpanel_unit("looking for a night that was missed", do_make_up, NULL, UNIT_REPEATABLE);
	if (spinpanel_unit("looking for runs", do_open, &course, UNIT_REPEATABLE))
	{
		forget_listings(&course);
		end_fillings(NULL, false);
	}
	else
		course.run_count = 0;
	if (course.run_count > 0)
	{
		for (r = 0; r < course.run_count; r++)
			for (a = 0; a < course.account_count; a++)
				if (!is_listed(&course.runs[r], course.accounts[a]))
					work_on_account(&course, &course.runs[r], course.accounts[a]);

		for (a = 0; a < course.account_count; a++)
		{
			Step step;

			memset(&step, 0, sizeof(step));
			step.account_id = course.accounts[a];
			step.failure = spinpanel_account_trouble(step.account_id);
			if (step.failure != NULL)
				(void) spinpanel_unit("failing customers of an account", do_fail_account, &step,
									  UNIT_REPEATABLE);
		}
		(void) spinpanel_unit("ending runs", do_finish_runs, &course, UNIT_DURABLE);
	}

	/* A finished list has served every run that was open by now. */
	listing = listings;
	while (listing != NULL)
	{
		Listing *next = listing->next;

		if (listing->finished && listing->reads.pending == 0)
			end_listing(listing);
		listing = next;
	}
	MemoryContextDelete(course.context);
}

int
spinpanel_night_active(void)
{
	int n = 0;
	Listing *listing;

	for (listing = listings; listing != NULL; listing = listing->next)
		n++;
	return fillings != NULL ? n + 1 : n;
}

void
spinpanel_night_forget(void)
{
	Listing *listing;

	for (listing = listings; listing != NULL; listing = listing->next)
		listing->finished = listing->forgotten = true;
	end_fillings(NULL, true);
}
