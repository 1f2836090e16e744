/*
 * work_customer.c
 *
 * One Turn in memory per customer being worked on.
 *
 *     read subscriptions and subscribed SKUs side by side; where the SKUs can
 *     tell that nothing changed, these first, and alone if they are as before
 *       ──► take them into the mirror
 *       ──► look up SKUs of offers not met before (cached for all customers)
 *       ──► users, and their licences for a named customer   (sync only)
 *       ──► plan, write decisions, tick the customer off      (adjust, night)
 *
 * Each arrow is a transaction of its own.  A turn that is cut off is begun
 * again: what was read is in the mirror, and the customer's row in
 * run_customer is still there.  This file knows no SQL and decides nothing
 * about seats.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "decide/plan.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/mirror.h"
#include "state/offer.h"
#include "state/plan_input.h"
#include "state/plan_output.h"
#include "state/pool_excess.h"
#include "state/run.h"
#include "state/statement.h"
#include "state/unit.h"
#include "worker/work_customer.h"

/* Claimed from the table at a time; the rest is found there again. */
#define CLAIM 256

/* A customer that cannot be read after so many attempts fails in this run. */
#define ATTEMPTS 6

/* Offers looked up in one turn; more of them wait for the next. */
#define OFFERS_PER_TURN 40

#define PAGE_SIZE 500

typedef enum TurnStep
{
	TURN_READ,
	TURN_OFFERS,
	TURN_USERS,
	TURN_LICENSES
} TurnStep;

typedef struct Turn
{
	struct Turn *next;
	MemoryContext context;
	RunCustomer customer;
	Reads reads;
	TurnStep step;
	int subscriptions_read; /* -1: not asked for (yet) */
	int skus_read;
	/* offers to look up */
	UnmappedOffer *offers;
	int offer_count;
	int offer_next;
	int offer_asked; /* from offer_next on */
	/* users */
	pg_uuid_t *users;
	int user_count;
	int user_next;
	int user_asked;
	TimestampTz users_started_at;
	int64 users_received;
	bool users_partial; /* not whole: nobody is gone because of it */
	bool users_complete;
	Pages users_pages;
	char *users_token;
	bool licenses_partial;
	bool quiet; /* nothing new: to be finished with others */
	bool finished;
} Turn;

static Turn *turns = NULL;
static int turns_active = 0;
static int quiet_turns = 0;
static MemoryContext turns_context = NULL;

/* Claimed and not yet begun */
static MemoryContext claim_context = NULL;
static RunCustomer *claimed = NULL;
static int claimed_count = 0;
static int claimed_next = 0;

static void turn_next(Turn *turn);
static void ask_subscriptions(Turn *turn);
static void database_trouble(Turn *turn);

static void
turn_end(Turn *turn)
{
	turn->finished = true;
}

static void
sweep(void)
{
	Turn **link = &turns;

	while (*link != NULL)
	{
		Turn *turn = *link;

		if (turn->finished && turn->reads.pending == 0)
		{
			*link = turn->next;
			turns_active--;
			MemoryContextDelete(turn->context);
		}
		else
			link = &turn->next;
	}
}

/* ---- a turn that does not succeed this time -------------------------------------- */

typedef struct Setback
{
	Turn *turn;
	const char *reason;
	bool final;
	bool counts;
	TimestampTz not_before;
} Setback;

static void
do_setback(void *arg)
{
	Setback *setback = arg;
	Turn *turn = setback->turn;

	spinpanel_run_count_requests(turn->customer.run_id, turn->reads.sent);
	if (setback->final)
		spinpanel_run_customer_failed(&turn->customer, setback->reason);
	else
		spinpanel_run_customer_later(&turn->customer, setback->not_before, setback->reason,
									 setback->counts);
}

static void
turn_setback(Turn *turn, const char *reason, bool final, bool counts, long retry_after)
{
	Setback setback;
	int64 delay;

	delay = retry_after > 0 ? retry_after * 1000
							: spinpanel_backoff_delay(turn->customer.attempts + 1, 1000,
													  spinpanel_retry_max_delay, SpinpanelRandom());
	setback.turn = turn;
	setback.reason = reason;
	setback.counts = counts;
	setback.final = final || (counts && turn->customer.attempts + 1 >= ATTEMPTS);
	setback.not_before = spinpanel_now() + delay * 1000;
	(void) spinpanel_unit("putting a customer off", do_setback, &setback, UNIT_REPEATABLE);
	turn_end(turn);
}

/*
 * What an unsuccessful read means for the turn: true where the turn cannot go
 * on now.  "No access" to licence usage is no obstacle: the mirror says so and
 * the planner leaves the customer alone.
 */
static bool
setback_of(Turn *turn, const ReadAnswer *answer, bool essential)
{
	char *reason;

	switch (answer->outcome)
	{
		case PARTNER_OK:
			return false;
		case PARTNER_NO_ACCESS:
		case PARTNER_NOT_FOUND:
		case PARTNER_REFUSED:
		case PARTNER_CONFLICT:
		case PARTNER_STALE:
			if (!essential)
				return false;
			reason = psprintf("%s%s%s", answer->error_code, answer->error_code[0] ? ": " : "",
							  answer->error);
			turn_setback(turn, reason, answer->outcome != PARTNER_CONFLICT, true, -1);
			return true;
		case PARTNER_NOT_SENT:
		case PARTNER_THROTTLED:
		case PARTNER_ACCOUNT_STOPPED:
			/* The account's trouble, not this customer's: an outage delays. */
			turn_setback(turn, answer->error, false, false, answer->retry_after);
			return true;
		case PARTNER_ACCEPTED:
		case PARTNER_UNAVAILABLE:
		case PARTNER_UNKNOWN:
			reason = psprintf("%s%s%s", answer->error_code, answer->error_code[0] ? ": " : "",
							  answer->error);
			turn_setback(turn, reason, false, true, answer->retry_after);
			return true;
	}
	return false;
}

/* ---- taking in --------------------------------------------------------------------- */

static void
note_failure(Turn *turn, MirrorKind kind, const ReadAnswer *answer)
{
	/* What is the account's trouble is shown there, and was no look at this customer. */
	if (answer->outcome != PARTNER_OK && answer->outcome != PARTNER_NOT_SENT &&
		answer->outcome != PARTNER_THROTTLED && answer->outcome != PARTNER_ACCOUNT_STOPPED)
		spinpanel_mirror_read_failed(turn->customer.account_id, &turn->customer.customer_id, kind,
									 answer->outcome == PARTNER_NO_ACCESS, answer->error_code,
									 answer->error);
}

static bool
plans(const RunCustomer *c)
{
	return c->kind != RUN_SYNC && (c->adjust || c->named || c->dry_run);
}

/* Somebody wants to hear of it even where there is nothing to do. */
static bool
explains(const RunCustomer *c)
{
	return c->named || c->dry_run;
}

static void
plan_customer(const RunCustomer *c, SpinpanelPools *pools, TimestampTz now)
{
	PlanOptions options;
	PlanResult result;
	PlanDecision *decisions;
	int count;

	memset(&options, 0, sizeof(options));
	options.now = now;
	options.at_renewal = true;
	memset(&result, 0, sizeof(result));
	spinpanel_plan_customer(pools->pools, pools->pool_count, &pools->limits, &options, &result);
	if (result.out_of_memory)
	{
		spinpanel_plan_free(&result);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory while planning")));
	}

	/* Out of malloc's memory, so that an error below cannot leak it. */
	decisions = palloc(sizeof(PlanDecision) * (result.count + 1));
	if (result.count > 0)
		memcpy(decisions, result.decisions, sizeof(PlanDecision) * result.count);
	count = result.count;
	spinpanel_plan_free(&result);
	spinpanel_plan_output_write(c, pools, decisions, count);
}

/* Turns that have read all they need: plan for them and tick them off. */
static void
finish(Turn **finished, int count)
{
	TimestampTz now = spinpanel_now();
	const RunCustomer **customers = palloc(sizeof(RunCustomer *) * count);
	const RunCustomer **planned = palloc(sizeof(RunCustomer *) * count);
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * count);
	bool *wanted = palloc(sizeof(bool) * count);
	bool *idle = palloc(sizeof(bool) * count);
	bool *on_record = palloc(sizeof(bool) * count);
	int planning = 0;
	int candidate = 0;
	int i;

	for (i = 0; i < count; i++)
	{
		customers[i] = &finished[i]->customer;
		spinpanel_run_count_requests(customers[i]->run_id, finished[i]->reads.sent);
		finished[i]->reads.sent = 0;
	}

	/* The run may be over: nothing is decided in its name any more. */
	spinpanel_run_customers_done(customers, count, wanted);
	for (i = 0; i < count; i++)
		if (wanted[i] && plans(customers[i]))
			ids[planning++] = customers[i]->customer_id;
	if (planning == 0)
		return;

	/* For most of them a run has nothing to do, and nothing has changed since that was found. */
	spinpanel_pool_excess_idle(ids, planning, now, idle);
	planning = 0;
	for (i = 0; i < count; i++)
	{
		if (!wanted[i] || !plans(customers[i]) || (idle[candidate++] && !explains(customers[i])))
			continue;
		planned[planning] = customers[i];
		ids[planning++] = customers[i]->customer_id;
	}
	if (planning > 0)
	{
		SpinpanelPools *pools;

		spinpanel_pool_excess_begin(ids, planning);
		pools = spinpanel_plan_input_load_fresh(ids, planning, now);
		for (i = 0; i < planning; i++)
		{
			plan_customer(planned[i], &pools[i], now);
			on_record[i] = !planned[i]->dry_run;
		}
		spinpanel_pool_excess_keep(pools, planning, now, on_record);
	}
}

static void
do_finish(void *arg)
{
	Turn *turn = arg;

	finish(&turn, 1);
}

/* ---- customers of whom nothing is new: many at a time ------------------------------ */

/* Not so many that a person's decision would wait for long. */
#define QUIET_AT_ONCE 64

typedef struct Quiet
{
	Turn *turns[QUIET_AT_ONCE];
	int count;
} Quiet;

static void
do_quiet(void *arg)
{
	Quiet *quiet = arg;
	MirrorUnchanged *unchanged = palloc(sizeof(MirrorUnchanged) * quiet->count);
	int i;

	for (i = 0; i < quiet->count; i++)
	{
		Turn *turn = quiet->turns[i];

		unchanged[i].customer_id = turn->customer.customer_id;
		unchanged[i].account_id = turn->customer.account_id;
		unchanged[i].subscriptions_started_at =
			turn->subscriptions_read < 0 ? DT_NOBEGIN
										 : turn->reads.answers[turn->subscriptions_read].started_at;
		unchanged[i].skus_started_at = turn->reads.answers[turn->skus_read].started_at;
	}
	spinpanel_mirror_unchanged_many(unchanged, quiet->count);
	finish(quiet->turns, quiet->count);
}

/* One of each customer: two accounts may have it, or two runs. */
static bool
holds(const Quiet *quiet, const pg_uuid_t *customer_id)
{
	int i;

	for (i = 0; i < quiet->count; i++)
		if (memcmp(&quiet->turns[i]->customer.customer_id, customer_id, sizeof(pg_uuid_t)) == 0)
			return true;
	return false;
}

static void
finish_quiet(void)
{
	while (quiet_turns > 0)
	{
		Quiet quiet;
		Turn *turn;
		int i;

		quiet.count = 0;
		for (turn = turns; turn != NULL && quiet.count < QUIET_AT_ONCE; turn = turn->next)
			if (turn->quiet && !turn->finished && !holds(&quiet, &turn->customer.customer_id))
				quiet.turns[quiet.count++] = turn;
		if (quiet.count == 0)
		{
			quiet_turns = 0;
			return;
		}
		quiet_turns -= quiet.count;
		if (spinpanel_unit("finishing customers of whom nothing is new", do_quiet, &quiet,
						   UNIT_REPEATABLE))
		{
			for (i = 0; i < quiet.count; i++)
				turn_end(quiet.turns[i]);
			continue;
		}

		/* One of them spoils it for all: one by one. */
		for (i = 0; i < quiet.count; i++)
		{
			Quiet one;

			one.count = 1;
			one.turns[0] = quiet.turns[i];
			if (quiet.count > 1 &&
				spinpanel_unit("finishing a customer", do_quiet, &one, UNIT_REPEATABLE))
				turn_end(quiet.turns[i]);
			else
				database_trouble(quiet.turns[i]);
		}
	}
}

static void
spoil(ReadAnswer *answer, const char *error)
{
	answer->outcome = PARTNER_UNKNOWN;
	strlcpy(answer->error, error, sizeof(answer->error));
}

static void
do_take_in(void *arg)
{
	Turn *turn = arg;
	RunCustomer *c = &turn->customer;
	ReadAnswer *subscriptions = &turn->reads.answers[turn->subscriptions_read];
	ReadAnswer *skus = &turn->reads.answers[turn->skus_read];

	/* A list that is not whole is a read that failed; where nothing is planned, a short one is shown. */
	if (subscriptions->unchanged)
		spinpanel_mirror_unchanged(c->account_id, &c->customer_id, MIRROR_SUBSCRIPTIONS,
								   subscriptions->started_at);
	else if (subscriptions->outcome == PARTNER_OK &&
			 !spinpanel_mirror_subscriptions(c->account_id, &c->customer_id, subscriptions->json,
											 subscriptions->digest, subscriptions->started_at) &&
			 !(c->kind == RUN_SYNC && spinpanel_mirror_only_short(&subscriptions->json->root)))
		spoil(subscriptions, "the list of subscriptions could not be read as a whole");
	if (skus->unchanged)
		spinpanel_mirror_unchanged(c->account_id, &c->customer_id, MIRROR_SUBSCRIBED_SKUS,
								   skus->started_at);
	else if (skus->outcome == PARTNER_OK &&
			 !spinpanel_mirror_subscribed_skus(c->account_id, &c->customer_id, skus->json,
											   skus->digest, skus->started_at))
		spoil(skus, "the list of subscribed SKUs could not be read as a whole");
	note_failure(turn, MIRROR_SUBSCRIPTIONS, subscriptions);
	note_failure(turn, MIRROR_SUBSCRIBED_SKUS, skus);
	turn->offer_count = spinpanel_offers_unmapped(c->account_id, &c->customer_id, OFFERS_PER_TURN,
												  &turn->offers, turn->context);
}

/* No answer about the offer, but bad weather: it is asked for again in this run. */
static bool
offer_unanswered(const Turn *turn, const ReadAnswer *answer)
{
	switch (answer->outcome)
	{
		case PARTNER_NOT_SENT:
		case PARTNER_THROTTLED:
		case PARTNER_ACCOUNT_STOPPED:
			return true;
		case PARTNER_ACCEPTED:
		case PARTNER_UNAVAILABLE:
		case PARTNER_UNKNOWN:
			return turn->customer.attempts + 1 < ATTEMPTS;
		default:
			return false;
	}
}

static void
do_take_offers(void *arg)
{
	Turn *turn = arg;
	int i;

	for (i = 0; i < turn->offer_asked; i++)
	{
		ReadAnswer *answer = &turn->reads.answers[i];
		Jsonb *body = answer->json;

		if (offer_unanswered(turn, answer))
			continue;
		spinpanel_offers_answered(
			&turn->offers[turn->offer_next + i], body,
			body == NULL ? (answer->error[0] ? answer->error : "no usable answer") : NULL);
	}
}

static void
do_take_users(void *arg)
{
	Turn *turn = arg;
	RunCustomer *c = &turn->customer;
	ReadAnswer *answer = &turn->reads.answers[0];
	Jsonb *body;
	char *token = NULL;

	body = answer->json;
	if (body != NULL)
	{
		if (!spinpanel_mirror_users_page(c->account_id, &c->customer_id, &body->root,
										 turn->users_started_at, &turn->users_received))
			turn->users_partial = true;
		token = spinpanel_json_next_page(&body->root);
		if (!spinpanel_pages_go_on(&turn->users_pages, token, turn->context))
		{
			spoil(answer, SPINPANEL_PAGES_ENDLESS);
			note_failure(turn, MIRROR_USERS, answer);
			return;
		}
		if (token == NULL)
		{
			if (!turn->users_partial &&
				spinpanel_mirror_all_there(&body->root, turn->users_received, true))
				spinpanel_mirror_users_complete(c->account_id, &c->customer_id,
												turn->users_started_at);
			else
				spinpanel_mirror_read_failed(c->account_id, &c->customer_id, MIRROR_USERS, false,
											 "", "the list of users could not be read as a whole");
			if (c->named)
				turn->user_count =
					spinpanel_mirror_users_list(&c->customer_id, &turn->users, turn->context);
		}
	}
	else
		note_failure(turn, MIRROR_USERS, answer);
	turn->users_token = token ? MemoryContextStrdup(turn->context, token) : NULL;
}

static void
do_take_licenses(void *arg)
{
	Turn *turn = arg;
	RunCustomer *c = &turn->customer;
	int i;

	for (i = 0; i < turn->user_asked; i++)
	{
		ReadAnswer *answer = &turn->reads.answers[i];
		Jsonb *body = answer->json;

		if (body == NULL)
			note_failure(turn, MIRROR_LICENSES, answer);
		if (body == NULL ||
			!spinpanel_mirror_user_licenses(&c->customer_id, &turn->users[turn->user_next + i],
											body, answer->started_at))
			turn->licenses_partial = true;
	}
	/* Holders are counted only where those of every user are known. */
	if (turn->user_next + turn->user_asked >= turn->user_count && !turn->licenses_partial)
		spinpanel_mirror_licenses_complete(c->account_id, &c->customer_id, turn->users_started_at);
}

/* ---- the steps ---------------------------------------------------------------------- */

static void
database_trouble(Turn *turn)
{
	const char *error = spinpanel_unit_error();

	turn_setback(turn, error[0] ? error : "the database was busy", false, error[0] != '\0', -1);
}

static void
reads_done(void *arg)
{
	Turn *turn = arg;
	int i;

	if (turn->finished)
		return; /* forgotten meanwhile */
	switch (turn->step)
	{
		case TURN_READ:
			/* The usual case: nothing new at all. */
			if (turn->customer.kind != RUN_SYNC && turn->reads.answers[turn->skus_read].unchanged &&
				(turn->subscriptions_read < 0 ||
				 turn->reads.answers[turn->subscriptions_read].unchanged))
			{
				turn->quiet = true;
				quiet_turns++;
				return;
			}
			if (turn->subscriptions_read < 0)
			{
				ask_subscriptions(turn);
				return;
			}
			if (!spinpanel_unit("taking in subscriptions and licence usage", do_take_in, turn,
								UNIT_REPEATABLE))
			{
				database_trouble(turn);
				return;
			}
			if (setback_of(turn, &turn->reads.answers[turn->subscriptions_read], true) ||
				setback_of(turn, &turn->reads.answers[turn->skus_read], false))
				return;
			turn->step = TURN_OFFERS;
			break;
		case TURN_OFFERS:
			if (!spinpanel_unit("taking in offers", do_take_offers, turn, UNIT_REPEATABLE))
			{
				database_trouble(turn);
				return;
			}
			for (i = 0; i < turn->offer_asked; i++)
				if (offer_unanswered(turn, &turn->reads.answers[i]) &&
					setback_of(turn, &turn->reads.answers[i], false))
					return;
			turn->offer_next += turn->offer_asked;
			break;
		case TURN_USERS:
			if (!spinpanel_unit("taking in users", do_take_users, turn, UNIT_REPEATABLE))
			{
				database_trouble(turn);
				return;
			}
			if (setback_of(turn, &turn->reads.answers[0], false))
				return;
			if (turn->users_token == NULL)
			{
				turn->users_complete = true;
				turn->step = TURN_LICENSES;
			}
			break;
		case TURN_LICENSES:
			if (!spinpanel_unit("taking in licences", do_take_licenses, turn, UNIT_REPEATABLE))
			{
				database_trouble(turn);
				return;
			}
			turn->user_next += turn->user_asked;
			break;
	}
	turn_next(turn);
}

static void
ask_subscriptions(Turn *turn)
{
	RunCustomer *c = &turn->customer;

	turn->subscriptions_read = spinpanel_reads_ask_known(
		&turn->reads, psprintf("/customers/%s/subscriptions", spinpanel_uuid_text(&c->customer_id)),
		c->quiet && c->has_subscriptions_hash ? c->subscriptions_hash : NULL);
}

/* Asks for what the present step still needs, or goes on to the next one. */
static void
turn_next(Turn *turn)
{
	RunCustomer *c = &turn->customer;
	char *customer = spinpanel_uuid_text(&c->customer_id);
	int i;

	if (turn->step == TURN_OFFERS)
	{
		if (turn->offer_next < turn->offer_count)
		{
			spinpanel_reads_again(&turn->reads);
			turn->offer_asked = Min(READS_MAX, turn->offer_count - turn->offer_next);
			for (i = 0; i < turn->offer_asked; i++)
				spinpanel_reads_ask(
					&turn->reads, spinpanel_offers_path(&turn->offers[turn->offer_next + i]), NULL);
			return;
		}
		turn->step = c->kind == RUN_SYNC ? TURN_USERS : TURN_LICENSES;
	}
	if (turn->step == TURN_USERS && !turn->users_complete)
	{
		spinpanel_reads_again(&turn->reads);
		if (turn->users_token == NULL)
		{
			turn->users_started_at = spinpanel_now();
			spinpanel_reads_ask(&turn->reads,
								psprintf("/customers/%s/users?size=%d", customer, PAGE_SIZE), NULL);
		}
		else
			spinpanel_reads_ask(&turn->reads,
								psprintf("/customers/%s/users?seekOperation=Next", customer),
								turn->users_token);
		return;
	}
	if (turn->user_next < turn->user_count)
	{
		spinpanel_reads_again(&turn->reads);
		turn->user_asked = Min(READS_MAX, turn->user_count - turn->user_next);
		for (i = 0; i < turn->user_asked; i++)
			spinpanel_reads_ask(
				&turn->reads,
				psprintf(
					"/customers/%s/users/%s/licenses?licenseGroupIds=group1&licenseGroupIds=group2",
					customer, spinpanel_uuid_text(&turn->users[turn->user_next + i])),
				NULL);
		return;
	}

	/*
	 * Not durable by itself: marking an operation "sending" is, and with it
	 * all that was committed before.
	 */
	if (!spinpanel_unit("planning", do_finish, turn, UNIT_REPEATABLE))
		database_trouble(turn);
	else
		turn_end(turn);
}

static void
turn_begin(const RunCustomer *customer)
{
	MemoryContext context =
		AllocSetContextCreate(turns_context, "customer", ALLOCSET_DEFAULT_SIZES);
	Turn *turn = MemoryContextAllocZero(context, sizeof(Turn));
	char *id = spinpanel_uuid_text(&customer->customer_id);

	turn->context = context;
	turn->customer = *customer;
	spinpanel_reads_start(&turn->reads, context, spinpanel_partner_find(customer->account_id),
						  customer->named ? PARTNER_CHANGE : PARTNER_READ, reads_done, turn);
	turn->next = turns;
	turns = turn;
	turns_active++;

	turn->step = TURN_READ;
	turn->subscriptions_read = -1;
	if (!customer->skus_alone)
		ask_subscriptions(turn);
	turn->skus_read = spinpanel_reads_ask_known(
		&turn->reads, psprintf("/customers/%s/subscribedskus", id),
		customer->quiet && customer->has_skus_hash ? customer->skus_hash : NULL);
}

/* ---- claiming ------------------------------------------------------------------------ */

static void
do_claim(void *arg)
{
	claimed_count = spinpanel_run_due(CLAIM + turns_active, &claimed, claim_context);
}

static bool
under_way(const RunCustomer *customer)
{
	Turn *turn;

	for (turn = turns; turn != NULL; turn = turn->next)
		if (!turn->finished && turn->customer.run_id == customer->run_id &&
			turn->customer.account_id == customer->account_id &&
			memcmp(&turn->customer.customer_id, &customer->customer_id, sizeof(pg_uuid_t)) == 0)
			return true;
	return false;
}

static void
begin_claimed(void)
{
	while (claimed_next < claimed_count && turns_active < spinpanel_customers_at_once)
	{
		RunCustomer *customer = &claimed[claimed_next++];

		if (spinpanel_run_is_open(customer->run_id) && !under_way(customer) &&
			spinpanel_account_usable(customer->account_id))
			turn_begin(customer);
	}
}

void
spinpanel_turn_look(void)
{
	finish_quiet();
	if (turns_context == NULL)
	{
		turns_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel turns", ALLOCSET_DEFAULT_SIZES);
		claim_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel claims", ALLOCSET_DEFAULT_SIZES);
	}
	sweep();
	begin_claimed();
	if (claimed_next < claimed_count || turns_active >= spinpanel_customers_at_once)
		return;

	MemoryContextReset(claim_context);
	claimed = NULL;
	claimed_count = 0;
	claimed_next = 0;
	if (!spinpanel_unit("looking for customers", do_claim, NULL, UNIT_REPEATABLE))
		claimed_count = 0;
	begin_claimed();
}

void
spinpanel_turn_work(void)
{
	bool full = claimed_count >= CLAIM;

	finish_quiet();
	if (claimed_count == 0)
		return;
	sweep();
	begin_claimed();

	/* The last claim was a full one: there is probably more. */
	if (claimed_next >= claimed_count && full)
		spinpanel_turn_look();
}

int
spinpanel_turn_active(void)
{
	sweep();
	return turns_active;
}

void
spinpanel_turn_forget(void)
{
	Turn *turn;

	for (turn = turns; turn != NULL; turn = turn->next)
		turn_end(turn);
	claimed_count = 0;
	claimed_next = 0;
}
