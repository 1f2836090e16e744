/*
 * op_subscription.c
 *
 * Drives operations: one Change in memory per operation under way.
 *
 *     read ──► judge ──► send ──► read back ──► follow up
 *               │         │
 *               │         └ unknown ─► (later) read ─► resolve ─► send again,
 *               └ wait, drop                                      follow up, or
 *                                                                 from the start
 *
 * Between the arrows there is no transaction and nothing but the table
 * operation remembers: a crash at any point leaves a row that says what to
 * look up.  This file decides nothing about seats (op_check.c, op_followup.c) and
 * knows no SQL.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/mirror.h"
#include "state/operation.h"
#include "state/operation_base.h"
#include "state/unit.h"
#include "worker/op_check.h"
#include "worker/op_driver.h"
#include "worker/op_followup.h"
#include "worker/op_subscription.h"

/* Operations of one account that are driven at the same time. */
#define CHANGES_AT_ONCE 32

/*
 * How long it is tried, and how often.  An outage is waited out: patience is
 * measured in time.  What is given up goes back to who decided it: removals to
 * the next run, purchases to their requests, what puts back or buys back to the
 * obligation, which tries another way.  What restores is judged anew each time
 * and ends only when it is no longer wanted.
 */
typedef struct Patience
{
	const char *purpose;
	int64 longest; /* since it was queued, or was sent; microseconds */
	bool goes_first; /* before reads and removals */
} Patience;

#define FOR_EVER PG_INT64_MAX

static const Patience patience[] = {
	{ "remove", 20 * USECS_PER_HOUR, false },   { "merge", 20 * USECS_PER_HOUR, false },
	{ "schedule", 20 * USECS_PER_HOUR, false }, { "give_back", 6 * USECS_PER_DAY, false },
	{ "buy", 3 * USECS_PER_DAY, false },        { "restore", FOR_EVER, true },
	{ "put_back", 3 * USECS_PER_DAY, true },    { "buy_back", 2 * USECS_PER_HOUR, true },
};

/* Waiting for what takes long: an eighth of the time it has taken, at most. */
#define LONGEST_DELAY_MS (60 * 60 * 1000)

/* What was accepted (202) may be carried out this much later. */
#define ACCEPTED_PATIENCE USECS_PER_DAY

/* Where nothing can be read for so long, an outcome is not looked for any more. */
#define READ_PATIENCE USECS_PER_DAY

/* A removal that cannot be judged is put off for longer than its run waits for it. */
#define UNREADABLE_DELAY_MS (20 * 60 * 1000)

/* The contract's advice after 409 while a renewal is running. */
#define CONFLICT_DELAY_MS (2 * 60 * 1000)

typedef enum ChangeStep
{
	STEP_READ, /* before sending */
	STEP_SEND,
	STEP_READ_BACK, /* after it was carried out */
	STEP_RESOLVE /* outcome unknown */
} ChangeStep;

typedef struct Change
{
	struct Change *next;
	MemoryContext context;
	Operation *op;
	ChangeStep step;
	Reads reads;
	int subscription_read;
	int skus_read;
	int list_read; /* all subscriptions; -1 = not asked */
	int audit_read; /* -1 = not asked */
	/* The same customer's subscriptions at other accounts of ours. */
	Reads others[OUTBOX_OTHERS];
	int others_asked;
	char *answer; /* of the change itself */
	Size answer_length;
	PartnerAnswer sent; /* its outcome; body and token are not kept */
	bool again; /* sent before, and nobody knows what came of it */
	bool to_come; /* accepted: what does not show yet is waited for, not sent again */
	bool finished;
} Change;

static Change *changes = NULL;
static DriverPlaces places = { .of_account = CHANGES_AT_ONCE };
static MemoryContext changes_context = NULL;

static void change_read(Change *change, ChangeStep step);
static void change_send(Change *change);

static const Patience *
patience_of(const Operation *op)
{
	int i;

	for (i = 0; i < (int) lengthof(patience); i++)
		if (strcmp(patience[i].purpose, op->purpose) == 0)
			return &patience[i];
	elog(ERROR, "operation " INT64_FORMAT " is for nothing known here: %s", op->operation_id,
		 op->purpose);
	return NULL;
}

/* It gives seats back to those who need them, or sets again what was wiped. */
static bool
restoring(const Operation *op)
{
	return patience_of(op)->goes_first;
}

/* Tried for long enough since then. */
static bool
out_of_patience(const Operation *op, TimestampTz since)
{
	return spinpanel_now() - since > patience_of(op)->longest;
}

/* Takes seats away, now or later, or gives ground for it. */
static bool
removing(const Operation *op)
{
	return strcmp(op->purpose, "remove") == 0 || strcmp(op->purpose, "merge") == 0 ||
		   strcmp(op->purpose, "schedule") == 0 || strcmp(op->purpose, "give_back") == 0;
}

/* What may be done depends on all seats of the pool. */
static bool
depends_on_pool(const Operation *op)
{
	return removing(op) || strcmp(op->purpose, "put_back") == 0 ||
		   strcmp(op->purpose, "buy_back") == 0;
}

/* Waiting for what may take long: the longer it has taken, the less often. */
static int64
patient_delay(TimestampTz since, int64 at_least)
{
	int64 delay = (spinpanel_now() - since) / 1000 / 8;

	return Max(at_least, Min(delay, LONGEST_DELAY_MS));
}

/* Partner Center has said that it will be carried out (202), and may still do so. */
static bool
accepted(const Operation *op)
{
	return op->http_status == 202 && spinpanel_now() - op->sent_at < ACCEPTED_PATIENCE;
}

/* The change leaves memory; its row says what is next. */
static void
change_end(Change *change)
{
	change->finished = true;
}

/* Answers that are still to come. */
static int
pending(const Change *change)
{
	int n = change->reads.pending;
	int i;

	for (i = 0; i < change->others_asked; i++)
		n += change->others[i].pending;
	return n;
}

static void
sweep(void)
{
	Change **link = &changes;

	while (*link != NULL)
	{
		Change *change = *link;

		if (change->finished && pending(change) == 0)
		{
			*link = change->next;
			spinpanel_driver_leave_place(&places, change->op->account_id, &change->op->customer_id);
			MemoryContextDelete(change->context);
		}
		else
			link = &change->next;
	}
}

/* ---- transactions that only move the row ------------------------------------- */

typedef struct Move
{
	Change *change;
	const char *status; /* queued, unknown; else over */
	int http_status;
	const char *code;
	const char *error;
	TimestampTz not_before;
	bool counts;
} Move;

static void
do_move(void *arg)
{
	Move *move = arg;
	Operation *op = move->change->op;

	if (strcmp(move->status, "queued") == 0)
		spinpanel_operation_requeue(op, move->http_status, move->code, move->error,
									move->not_before, move->counts);
	else if (strcmp(move->status, "unknown") == 0)
		spinpanel_operation_unknown(op, move->http_status, move->code, move->error,
									move->not_before);
	else
	{
		Jsonb *answer =
			move->change->answer == NULL
				? NULL
				: spinpanel_json_parse(move->change->answer, move->change->answer_length);

		spinpanel_op_followup_over(op, move->status, move->http_status, move->code, move->error,
								   answer);
	}
}

/*
 * Where even this cannot be written the row stays as it is; the next turn of
 * the loop finds it again, and a row in "sending" is found at the next start.
 */
static void
move_row(Change *change, const char *status, int http_status, const char *code, const char *error,
		 TimestampTz not_before, bool counts)
{
	Move move;

	move.change = change;
	move.status = status;
	move.http_status = http_status;
	move.code = code;
	move.error = error;
	move.not_before = not_before;
	move.counts = counts;
	(void) spinpanel_unit("noting the state of an operation", do_move, &move, UNIT_DURABLE);
	change_end(change);
}

/* ---- before sending ------------------------------------------------------------- */

typedef struct Judging
{
	Change *change;
	Verdict verdict;
	bool no_resource; /* the subscription is gone */
} Judging;

/*
 * Takes what was read into the mirror; the resource, or NULL.  *whole turns
 * false where a list of subscriptions has items that cannot be read.
 */
static Jsonb *
take_in(Change *change, bool *licenses_known, bool *whole)
{
	Operation *op = change->op;
	ReadAnswer *subscription = &change->reads.answers[change->subscription_read];
	ReadAnswer *skus = &change->reads.answers[change->skus_read];
	Jsonb *resource = subscription->json;
	Jsonb *units = skus->json;

	*licenses_known = false;
	if (change->list_read >= 0)
	{
		ReadAnswer *list = &change->reads.answers[change->list_read];
		int i;

		*whole = spinpanel_mirror_subscriptions(op->account_id, &op->customer_id, list->json,
												list->digest, list->started_at);
		for (i = 0; i < change->others_asked; i++)
		{
			list = &change->others[i].answers[0];
			*whole = spinpanel_mirror_subscriptions(op->other_accounts[i], &op->customer_id,
													list->json, list->digest, list->started_at) &&
					 *whole;
		}
	}
	if (resource != NULL)
		spinpanel_mirror_subscription(op->account_id, &op->customer_id, resource,
									  subscription->started_at);
	if (units != NULL)
		*licenses_known = spinpanel_mirror_subscribed_skus(op->account_id, &op->customer_id, units,
														   skus->digest, skus->started_at);
	return resource;
}

static void
do_judge(void *arg)
{
	Judging *judging = arg;
	Change *change = judging->change;
	Operation *op = change->op;
	MemoryContext unit_context = CurrentMemoryContext;
	bool licenses_known;
	Jsonb *resource;
	TimestampTz wait_until = 0;
	char reason[256];
	bool whole = true;

	resource = take_in(change, &licenses_known, &whole);
	if (!whole && removing(op))
	{
		/* A removal's last chance may pass before the next run. */
		judging->verdict = out_of_patience(op, op->created_at) ? VERDICT_DROP : VERDICT_WAIT;
		wait_until = spinpanel_driver_later(patient_delay(op->created_at, UNREADABLE_DELAY_MS));
		strlcpy(reason, "the customer's subscriptions could not all be read", sizeof(reason));
	}
	else
		judging->verdict =
			spinpanel_op_check(op, resource, licenses_known, &wait_until, reason, sizeof(reason));
	switch (judging->verdict)
	{
		case VERDICT_SEND:
			if (!spinpanel_operation_sending(op))
				judging->verdict = VERDICT_DROP; /* cancelled by a person */
			else
			{
				/* These must outlive the transaction. */
				op->base = spinpanel_driver_keep(change->context, op->base);
				op->body = spinpanel_driver_keep(change->context, op->body);
				op->wanted = spinpanel_driver_keep(change->context, op->wanted);
				spinpanel_operation_forget_followers(op);
				spinpanel_op_followup_prepare(op, resource);
			}
			break;
		case VERDICT_WAIT:
			spinpanel_operation_requeue(op, 0, NULL, reason, wait_until, false);
			break;
		case VERDICT_DROP:
			spinpanel_op_followup_over(op, "cancelled", 0, NULL, reason, NULL);
			break;
	}
	MemoryContextSwitchTo(unit_context);
}

static void
spoil_empty(ReadAnswer *list)
{
	if (list->outcome == PARTNER_OK && list->json == NULL)
	{
		list->outcome = PARTNER_UNKNOWN;
		strlcpy(list->error, "the answer is no list of subscriptions", sizeof(list->error));
	}
}

/* An answer of another kind than was asked for is none. */
static void
check_answers(Change *change)
{
	ReadAnswer *subscription = &change->reads.answers[change->subscription_read];
	ReadAnswer *skus = &change->reads.answers[change->skus_read];
	JsonbContainer *items;
	pg_uuid_t id;
	int i;

	if (subscription->outcome == PARTNER_OK &&
		(subscription->json == NULL || !spinpanel_json_uuid(&subscription->json->root, "id", &id) ||
		 memcmp(&id, &change->op->subscription_id, sizeof(id)) != 0))
	{
		subscription->outcome = PARTNER_UNKNOWN;
		strlcpy(subscription->error, "the answer is not that subscription",
				sizeof(subscription->error));
	}
	if (change->list_read >= 0)
	{
		spoil_empty(&change->reads.answers[change->list_read]);
		for (i = 0; i < change->others_asked; i++)
			spoil_empty(&change->others[i].answers[0]);
	}
	if (skus->outcome == PARTNER_OK)
	{
		items = skus->json == NULL ? NULL : spinpanel_json_container(&skus->json->root, "items");
		if (items == NULL || !JsonContainerIsArray(items))
		{
			skus->outcome = PARTNER_UNKNOWN;
			strlcpy(skus->error, "the answer is no list of subscribed SKUs", sizeof(skus->error));
		}
	}
}

/* A list of subscriptions that was asked for and did not come. */
static ReadAnswer *
failed_list(Change *change)
{
	int i;

	if (change->list_read >= 0 && change->reads.answers[change->list_read].outcome != PARTNER_OK)
		return &change->reads.answers[change->list_read];
	for (i = 0; i < change->others_asked; i++)
		if (change->others[i].answers[0].outcome != PARTNER_OK)
			return &change->others[i].answers[0];
	return NULL;
}

/*
 * A read that this step cannot do without failed.  Nothing was sent, so the
 * row stays in its state and is taken up again later.
 */
static bool
read_failed(Change *change, const char *state)
{
	ReadAnswer *subscription = &change->reads.answers[change->subscription_read];
	ReadAnswer *skus = &change->reads.answers[change->skus_read];
	Operation *op = change->op;
	ReadAnswer *list;
	ReadAnswer *bad = NULL;
	TimestampTz since = op->sent_at != 0 ? op->sent_at : op->created_at;
	bool waits;

	if (change->list_read >= 0 && removing(op) && change->others_asked < op->other_count)
	{
		/* A pool of which a part cannot be read is left alone until it can. */
		const char *why = "another account of ours that sells to this customer cannot be read";

		if (strcmp(state, "queued") != 0)
			move_row(change, state, op->http_status, op->error_code, why,
					 spinpanel_driver_later(patient_delay(since, 60000)), false);
		else if (out_of_patience(op, op->created_at))
			move_row(change, "cancelled", 0, NULL, why, 0, false);
		else
			move_row(change, "queued", 0, NULL, why,
					 spinpanel_driver_later(patient_delay(since, UNREADABLE_DELAY_MS)), false);
		return true;
	}
	if (subscription->outcome == PARTNER_NOT_FOUND && strcmp(state, "queued") == 0)
	{
		move_row(change, "cancelled", subscription->http_status, subscription->error_code,
				 "the subscription is gone", 0, false);
		return true;
	}
	if (subscription->outcome != PARTNER_OK)
		bad = subscription;
	else if ((list = failed_list(change)) != NULL)
		bad = list;
	/* Without licence access nothing is removed; restoring can do without. */
	else if (skus->outcome != PARTNER_OK && skus->outcome != PARTNER_NO_ACCESS &&
			 skus->outcome != PARTNER_NOT_FOUND && skus->outcome != PARTNER_REFUSED)
		bad = skus;
	if (bad == NULL)
		return false;

	/* A customer that is ours no longer does not come back by asking often. */
	waits = bad->outcome == PARTNER_NOT_FOUND || bad->outcome == PARTNER_NO_ACCESS ||
			bad->outcome == PARTNER_REFUSED;
	if (waits && spinpanel_now() - since > READ_PATIENCE)
		move_row(change, strcmp(state, "queued") == 0 ? "cancelled" : "failed", bad->http_status,
				 bad->error_code, psprintf("could not be read for a day: %s", bad->error), 0,
				 false);
	else
		/* 202 must be remembered: it says that the change may still come. */
		move_row(change, state,
				 strcmp(state, "unknown") == 0 && op->http_status == 202 ? 202 : bad->http_status,
				 bad->error_code, bad->error,
				 spinpanel_driver_later(bad->retry_after > 0 ? bad->retry_after * 1000
										: waits ? patient_delay(since, spinpanel_driver_delay(3))
												: spinpanel_driver_delay(3)),
				 false);
	return true;
}

/* ---- after it was carried out ------------------------------------------------------ */

typedef struct Following
{
	Change *change;
	Outcome outcome;
	bool give_up;
	bool wait;
} Following;

static Jsonb *
audit_of(Change *change)
{
	return change->audit_read < 0 ? NULL : change->reads.answers[change->audit_read].json;
}

static void
do_follow_up(void *arg)
{
	Following *following = arg;
	Change *change = following->change;
	Jsonb *answer =
		change->answer == NULL ? NULL : spinpanel_json_parse(change->answer, change->answer_length);
	bool licenses_known;
	bool whole = true;
	Jsonb *resource;

	resource = take_in(change, &licenses_known, &whole);

	/* Partner Center said yes and did nothing: it is not believed. */
	if (spinpanel_op_check_outcome(change->op, resource) == OUTCOME_NOT_APPLIED &&
		!spinpanel_op_followup_may_lack(change->op))
	{
		spinpanel_operation_unknown(
			change->op, change->sent.http_status, NULL, "answered, but nothing of it shows",
			spinpanel_driver_later(spinpanel_driver_delay(change->op->attempts)));
		return;
	}
	spinpanel_op_followup_done(change->op, resource, answer, licenses_known, audit_of(change),
							   change->step == STEP_RESOLVE
								   ? "the answer was lost; reading showed that it was carried out"
								   : NULL);
}

/*
 * Whether a change that was sent, and of which nothing shows, may be sent again
 * as it was.  Not where somebody has taken a seat since, or where fewer seats
 * are to be bought by now; but the first one may still arrive, so its row stays
 * unknown until settle_time is over, and nothing else is sent meanwhile.
 */
static bool
still_allowed(Change *change, Jsonb *resource, bool licenses_known)
{
	Operation *op = change->op;
	Operation *again = spinpanel_operation_copy(op, CurrentMemoryContext);
	TimestampTz wait_until;
	char reason[256];
	Verdict verdict;

	verdict =
		spinpanel_op_check(again, resource, licenses_known, &wait_until, reason, sizeof(reason));
	if (verdict == VERDICT_SEND &&
		compareJsonbContainers(&again->wanted->root, &op->wanted->root) == 0)
		return true;
	if (verdict != VERDICT_WAIT &&
		spinpanel_now() - op->sent_at > (int64) spinpanel_settle_time * USECS_PER_SEC)
		spinpanel_op_followup_over(op, "cancelled", 0, NULL,
								   reason[0] ? reason : "no longer allowed as it was sent", NULL);
	else
		spinpanel_operation_unknown(
			op, 0, NULL,
			reason[0]
				? reason
				: "its answer was lost, and by now another quantity is wanted: it may still arrive",
			Max(wait_until, spinpanel_driver_later(patient_delay(op->sent_at, 1000))));
	return false;
}

static void
do_resolve(void *arg)
{
	Following *following = arg;
	Change *change = following->change;
	Operation *op = change->op;
	bool licenses_known;
	bool whole = true;
	Jsonb *resource;

	resource = take_in(change, &licenses_known, &whole);
	following->outcome = spinpanel_op_check_outcome(op, resource);

	/* Somebody changed it after us, or instead of us: the audit records tell. */
	if (following->outcome == OUTCOME_AFRESH && strcmp(op->kind, "set_quantity") == 0)
	{
		if (spinpanel_op_followup_on_record(op, audit_of(change)))
		{
			spinpanel_op_followup_done(
				op, resource, NULL, licenses_known, audit_of(change),
				"the answer was lost; the audit records show that it was carried out");
			return;
		}
		if (spinpanel_now() - op->sent_at < (int64) spinpanel_settle_time * USECS_PER_SEC)
		{
			spinpanel_operation_unknown(
				op, op->http_status, NULL,
				"somebody changed the subscription; the audit records do not show ours yet",
				spinpanel_driver_later(patient_delay(op->sent_at, 1000)));
			following->wait = true;
			return;
		}
	}
	switch (following->outcome)
	{
		case OUTCOME_APPLIED:
			spinpanel_op_followup_done(
				op, resource, NULL, licenses_known, audit_of(change),
				"the answer was lost; reading showed that it was carried out");
			break;
		case OUTCOME_NOT_APPLIED:
			if (change->to_come)
			{
				int64 waited = (spinpanel_now() - op->sent_at) / 1000;

				spinpanel_operation_unknown(
					op, 202, NULL, "accepted; not in force yet",
					spinpanel_driver_later(Max(Min(5000, spinpanel_retry_max_delay),
											   Min(waited / 4, LONGEST_DELAY_MS))));
				following->wait = true;
			}
			else if (out_of_patience(op, op->sent_at))
			{
				spinpanel_op_followup_over(op, "failed", 0, NULL,
										   "given up: it was tried for long and never carried out",
										   NULL);
				following->give_up = true;
			}
			else if (!restoring(op) && !still_allowed(change, resource, licenses_known && whole))
				following->wait = true;
			else if (!spinpanel_operation_resend(op))
				following->give_up = true;
			break;
		case OUTCOME_AFRESH:
			spinpanel_operation_forget_followers(op);
			spinpanel_operation_requeue(
				op, 0, NULL, "somebody changed the subscription meanwhile",
				spinpanel_driver_later(spinpanel_driver_delay(op->attempts)), true);
			break;
	}
}

/* ---- the steps --------------------------------------------------------------------- */

static void
reads_done(void *arg)
{
	Change *change = arg;
	Judging judging;
	Following following;

	if (change->finished || pending(change) > 0)
		return; /* forgotten meanwhile, or others to come */
	check_answers(change);
	switch (change->step)
	{
		case STEP_READ:
			if (read_failed(change, "queued"))
				return;
			judging.change = change;
			judging.verdict = VERDICT_WAIT;
			if (spinpanel_unit("judging an operation", do_judge, &judging, UNIT_DURABLE) &&
				judging.verdict == VERDICT_SEND)
				change_send(change);
			else
				change_end(change);
			break;

		case STEP_READ_BACK:
			if (read_failed(change, "unknown"))
				return;
			memset(&following, 0, sizeof(following));
			following.change = change;
			(void) spinpanel_unit("following an operation up", do_follow_up, &following,
								  UNIT_DURABLE);
			change_end(change);
			break;

		case STEP_RESOLVE:
			if (read_failed(change, "unknown"))
				return;
			memset(&following, 0, sizeof(following));
			following.change = change;
			if (spinpanel_unit("resolving an operation", do_resolve, &following, UNIT_DURABLE) &&
				following.outcome == OUTCOME_NOT_APPLIED && !following.give_up && !following.wait)
			{
				change->again = true;
				change_send(change);
			}
			else
				change_end(change);
			break;

		case STEP_SEND:
			elog(ERROR, "no read belongs to sending");
	}
}

static void
change_read(Change *change, ChangeStep step)
{
	Operation *op = change->op;
	char *customer = spinpanel_uuid_text(&op->customer_id);
	char *subscription = spinpanel_uuid_text(&op->subscription_id);

	change->step = step;
	spinpanel_reads_again(&change->reads);
	change->audit_read = -1;
	change->list_read = -1;
	change->others_asked = 0;
	change->subscription_read = spinpanel_reads_ask(
		&change->reads, psprintf("/customers/%s/subscriptions/%s", customer, subscription), NULL);
	change->skus_read = spinpanel_reads_ask(
		&change->reads, psprintf("/customers/%s/subscribedskus", customer), NULL);
	change->to_come = step == STEP_RESOLVE && accepted(op);
	if (depends_on_pool(op) && !change->to_come && (step == STEP_READ || step == STEP_RESOLVE))
	{
		char *path = psprintf("/customers/%s/subscriptions", customer);
		int i;

		/* Whether a seat may go depends on all seats of its pool. */
		change->list_read = spinpanel_reads_ask(&change->reads, path, NULL);
		for (i = 0; i < Min(op->other_count, OUTBOX_OTHERS); i++)
		{
			if (!spinpanel_account_usable(op->other_accounts[i]))
				break;
			spinpanel_reads_start(&change->others[i], change->context,
								  spinpanel_partner_find(op->other_accounts[i]),
								  change->reads.priority, reads_done, change);
			change->others_asked++;
			(void) spinpanel_reads_ask(&change->others[i], path, NULL);
		}
	}
	/* From the read before the change on. */
	if (step != STEP_READ && strcmp(op->kind, "set_quantity") == 0)
		change->audit_read = spinpanel_reads_ask(
			&change->reads, spinpanel_op_followup_audit_path(&op->customer_id, op->sent_at), NULL);
}

static void
sent(void *arg, const PartnerAnswer *answer)
{
	Change *change = arg;
	Operation *op = change->op;
	const char *not_now;
	int64 delay;

	change->reads.pending--; /* see change_send() */
	if (change->finished)
		return; /* forgotten meanwhile */
	spinpanel_driver_keep_answer(change->context, answer, &change->sent, &change->answer,
								 &change->answer_length);

	delay =
		answer->retry_after > 0 ? answer->retry_after * 1000 : spinpanel_driver_delay(op->attempts);
	/* This one was not carried out; an earlier one may still be. */
	not_now = change->again ? "unknown" : "queued";
	switch (answer->outcome)
	{
		case PARTNER_OK:
			change_read(change, STEP_READ_BACK);
			break;
		case PARTNER_ACCEPTED:
			move_row(change, "unknown", answer->http_status, NULL, "accepted; not in force yet",
					 spinpanel_driver_later(Min(1000, spinpanel_retry_max_delay)), true);
			break;
		case PARTNER_NOT_SENT:
			move_row(change, not_now, 0, NULL, answer->error, spinpanel_driver_later(delay), false);
			break;
		case PARTNER_ACCOUNT_STOPPED:
			move_row(change, not_now, 0, answer->error_code, answer->error,
					 spinpanel_driver_later(spinpanel_retry_max_delay), false);
			break;
		case PARTNER_THROTTLED:
			move_row(change, not_now, answer->http_status, answer->error_code, answer->error,
					 spinpanel_driver_later(delay), false);
			break;
		case PARTNER_CONFLICT:
			/* A renewal or another change is running there, for a day at times. */
			if (out_of_patience(op, op->created_at))
				move_row(change, "refused", answer->http_status, answer->error_code, answer->error,
						 0, true);
			else
				move_row(change, not_now, answer->http_status, answer->error_code, answer->error,
						 spinpanel_driver_later(
							 answer->retry_after > 0
								 ? delay
								 : patient_delay(op->created_at, Min(CONFLICT_DELAY_MS,
																	 spinpanel_retry_max_delay))),
						 true);
			break;
		case PARTNER_STALE:
			if (out_of_patience(op, op->created_at))
				move_row(change, "refused", answer->http_status, answer->error_code, answer->error,
						 0, true);
			else
				move_row(change, not_now, answer->http_status, answer->error_code, answer->error,
						 spinpanel_driver_later(op->attempts > 2 ? delay : 0), true);
			break;
		case PARTNER_UNAVAILABLE:
		case PARTNER_UNKNOWN:
			move_row(change, "unknown", answer->http_status, answer->error_code, answer->error,
					 spinpanel_driver_later(delay), true);
			break;
		case PARTNER_NO_ACCESS:
		case PARTNER_NOT_FOUND:
		case PARTNER_REFUSED:
			move_row(change, "refused", answer->http_status, answer->error_code, answer->error, 0,
					 true);
			break;
	}
}

static void
change_send(Change *change)
{
	Operation *op = change->op;
	PartnerCall call;
	char *body;
	char *etag;
	MemoryContext old = MemoryContextSwitchTo(change->context);

	body = JsonbToCString(NULL, &op->body->root, VARSIZE(op->body));
	etag = spinpanel_json_text(&op->body->root, "attributes.etag");

	change->step = STEP_SEND;
	change->reads.pending++; /* keeps the change in memory until the answer */
	memset(&call, 0, sizeof(call));
	call.method = "PATCH";
	call.path = psprintf("/customers/%s/subscriptions/%s", spinpanel_uuid_text(&op->customer_id),
						 spinpanel_uuid_text(&op->subscription_id));
	call.body = body;
	/* ETags are absent or empty under New Commerce. */
	call.if_match = etag && etag[0] ? etag : NULL;
	call.request_id = &op->ms_request_id;
	call.correlation_id = &op->correlation_id;
	call.priority = restoring(op) || op->request_id != 0 ? PARTNER_URGENT : PARTNER_CHANGE;
	call.done = sent;
	call.arg = change;
	spinpanel_partner_call(change->reads.account, &call);
	pfree(body);
	MemoryContextSwitchTo(old);
}

/* ---- taking up what is due -------------------------------------------------------------- */

/*
 * It, or another one of its pool: from the read before a change until what it
 * wiped is set again, nothing else of the pool is read to be changed.
 */
static bool
under_way(const Operation *op)
{
	Change *change;

	for (change = changes; change != NULL; change = change->next)
	{
		const Operation *other = change->op;

		if (other->operation_id == op->operation_id ||
			(other->has_sku && op->has_sku &&
			 memcmp(&other->customer_id, &op->customer_id, sizeof(pg_uuid_t)) == 0 &&
			 memcmp(&other->sku_id, &op->sku_id, sizeof(pg_uuid_t)) == 0))
			return true;
	}
	return false;
}

void
spinpanel_change_work(void)
{
	DriverDue due;
	int i;

	if (changes_context == NULL)
		changes_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel changes", ALLOCSET_DEFAULT_SIZES);
	sweep();
	spinpanel_driver_due(&due, OUTBOX_SUBSCRIPTIONS, &places, changes_context,
						 "looking for operations");

	for (i = 0; i < due.count; i++)
	{
		Operation *found = due.operations[i];
		MemoryContext context;
		Change *change;

		if (under_way(found) || !found->has_subscription ||
			!spinpanel_account_usable(found->account_id) ||
			!spinpanel_driver_has_place(&places, found->account_id, &found->customer_id))
			continue;

		context = AllocSetContextCreate(changes_context, "operation", ALLOCSET_DEFAULT_SIZES);
		change = MemoryContextAllocZero(context, sizeof(Change));
		change->context = context;
		change->op = spinpanel_operation_copy(found, context);
		spinpanel_reads_start(&change->reads, context, spinpanel_partner_find(found->account_id),
							  restoring(found) || found->request_id != 0 ? PARTNER_URGENT
																		 : PARTNER_CHANGE,
							  reads_done, change);
		change->next = changes;
		changes = change;
		spinpanel_driver_take_place(&places, found->account_id, &found->customer_id);
		if (strcmp(found->status, "sending") == 0)
			ereport(LOG, (errmsg("spinpanel looks up the outcome of operation " INT64_FORMAT
								 ", which was being sent when the worker ended",
								 found->operation_id)));
		change_read(change, strcmp(found->status, "queued") == 0 ? STEP_READ : STEP_RESOLVE);
	}
	MemoryContextDelete(due.context);
}

int
spinpanel_change_active(void)
{
	sweep();
	return places.taken;
}

void
spinpanel_change_forget(void)
{
	Change *change;

	for (change = changes; change != NULL; change = change->next)
		change_end(change);
}
