/*
 * partner.c
 *
 * Calls to Partner Center for each account.
 *
 *		call -> queue (urgent, change, read) -> [token, rate, parallelism] -> http
 *		done <- what the answer means <------------------------------------- answer
 *
 * Must never repeat a call that may have been carried out.  Two kinds of
 * repetition happen here: once after a 401, with another token (an answer, so
 * nothing was carried out), and of a GET whose connection broke.  Anything
 * else goes to the caller as it is.  Must not touch a table: what has to
 * survive goes to the hooks.
 *
 * What slows an account down:
 *	- requests_per_minute, as a token bucket (throttle.c);
 *	- max_concurrency; reads leave an eighth of it to other calls, so that a
 *	  person's request does not wait for slow reads;
 *	- Retry-After of a 429 or 503: nothing is sent until then;
 *	- 429 or failures in a row: a growing pause, and half of the parallelism,
 *	  which comes back one by one with answers that are well.
 *
 * Memory: a call is one chunk in partner_context; an answer lives in a context
 * of its own that ends with the callback.  A forgotten account keeps its struct
 * (there are few): callers and calls under way may still point to it, and it is
 * the same one should the account come back.
 */
#include "postgres.h"

#include <time.h>

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "base/address.h"
#include "base/backoff.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/throttle.h"
#include "partner/http.h"
#include "partner/partner.h"
#include "partner/token.h"

#define PRIORITIES 3
#define BODY_LIMIT (32 * 1024 * 1024)
#define CONCURRENCY_MAX 1000
/* A GET is repeated over another connection this often. */
#define BREAKS_REPEATED 2
/* Failures in a row after which an account slows down, and its longest pause. */
#define FAILURES_BEFORE_PAUSE 3
#define FAILURE_PAUSE_BASE_MS 500
#define FAILURE_PAUSE_MAX_MS (15 * 1000)
#define THROTTLED_PAUSE_BASE_MS 1000
/* Calls that got two 401 in a row, with no other answer between, that say that
 * it is not about one customer. */
#define REFUSED_BEFORE_STOP 10
/* Partner Center's code for a token without the claim of multifactor authentication. */
#define NO_MFA 900421

struct PartnerAccount
{
	dlist_node node;
	int32 account_id;
	char *name;
	char *api_url;
	int max_concurrency;
	SpinpanelToken *token; /* NULL = forgotten */
	SpinpanelThrottle throttle;
	dlist_head queue[PRIORITIES];
	int queued;
	int active;
	int active_reads;
	int64 sent;

	double parallel; /* of max_concurrency, what is allowed now */
	int64 paused_until; /* monotonic ms */
	int64 pause_set_at;
	int throttled_in_row;
	int failed_in_row;
	int refused_in_row; /* twice 401 */
	int64 no_token_since; /* 0 = there is one */
	bool stop_wanted; /* by an answer; done in the next turn */
	char stop_code[32];
	char stop_reason[256];
};

typedef struct Call
{
	dlist_node node;
	PartnerAccount *account; /* NULL in ended list */
	PartnerPriority priority;
	PartnerDone done;
	void *arg;
	const char *method; /* these point behind the struct */
	const char *path;
	const char *body;
	const char *if_match;
	const char *continuation_token;
	size_t body_length;
	pg_uuid_t request_id;
	pg_uuid_t correlation_id;
	bool has_known;
	unsigned char known[PARTNER_DIGEST];
	int64 queued_at;
	int64 sent_at; /* monotonic ms */
	TimestampTz started_at;
	uint32 generation; /* of the token it was sent with */
	bool repeated_after_401;
	int breaks; /* connections that broke under it */

	/* In the ended list. */
	PartnerOutcome outcome;
	char error_code[32];
	char error[256];
} Call;

static MemoryContext partner_context = NULL;
static PartnerHooks hooks;
static dlist_head accounts = DLIST_STATIC_INIT(accounts);
static dlist_head ended = DLIST_STATIC_INIT(ended);
static int ended_count = 0;
static int64 sent_total = 0;
static bool working = false;

static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static double
random_fraction(void)
{
	uint32 bits = 0;

	if (!pg_strong_random(&bits, sizeof(bits)))
		return 0.5;
	return bits / 4294967296.0;
}

static void
fresh_uuid(pg_uuid_t *uuid)
{
	if (!pg_strong_random(uuid->data, UUID_LEN))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate a random request id")));
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x40;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/* -------------------------------------------------------------------------
 * Accounts
 * ------------------------------------------------------------------------- */

void
spinpanel_partner_start(const PartnerHooks *given)
{
	if (partner_context == NULL)
		partner_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel partner", ALLOCSET_DEFAULT_SIZES);
	hooks = *given;
}

static PartnerAccount *
find_account(int32 account_id)
{
	dlist_iter iter;

	dlist_foreach (iter, &accounts)
	{
		PartnerAccount *account = dlist_container(PartnerAccount, node, iter.cur);

		if (account->account_id == account_id)
			return account;
	}
	return NULL;
}

PartnerAccount *
spinpanel_partner_find(int32 account_id)
{
	PartnerAccount *account = find_account(account_id);

	return account != NULL && account->token != NULL ? account : NULL;
}

static void
keep(char **field, const char *value)
{
	if (*field != NULL && strcmp(*field, value) == 0)
		return;
	if (*field != NULL)
		pfree(*field);
	*field = MemoryContextStrdup(partner_context, value);
}

PartnerAccount *
spinpanel_partner_account(const PartnerSettings *settings)
{
	PartnerAccount *account = find_account(settings->account_id);
	int concurrency = Min(Max(settings->max_concurrency, 1), CONCURRENCY_MAX);

	if (account == NULL)
	{
		int i;

		account = MemoryContextAllocZero(partner_context, sizeof(*account));
		account->account_id = settings->account_id;
		for (i = 0; i < PRIORITIES; i++)
			dlist_init(&account->queue[i]);
		spinpanel_throttle_start(&account->throttle, settings->requests_per_minute, monotonic_ms());
		dlist_push_tail(&accounts, &account->node);
	}
	if (account->throttle.per_minute != Max(settings->requests_per_minute, 1))
		spinpanel_throttle_change(&account->throttle, settings->requests_per_minute,
								  monotonic_ms());
	if (account->token == NULL)
	{
		account->token = spinpanel_token_create(settings, &hooks);
		account->max_concurrency = 0;
		account->paused_until = 0;
		account->throttled_in_row = account->failed_in_row = 0;
		account->refused_in_row = 0;
		account->no_token_since = 0;
		account->stop_wanted = false;
	}
	else
		spinpanel_token_configure(account->token, settings);
	keep(&account->name, settings->name);
	keep(&account->api_url, settings->api_url);
	if (account->max_concurrency != concurrency)
		account->parallel = concurrency;
	account->max_concurrency = concurrency;
	return account;
}

void
spinpanel_partner_retry(PartnerAccount *account)
{
	if (account->token != NULL)
		spinpanel_token_retry(account->token);
	account->refused_in_row = 0;
}

/*
 * Ends a call that is in no queue any more without (further) sending; done()
 * is called by the next spinpanel_partner_work().
 */
static void
end_call(Call *call, PartnerOutcome outcome, const char *code, const char *error)
{
	call->account = NULL;
	call->outcome = outcome;
	strlcpy(call->error_code, code, sizeof(call->error_code));
	strlcpy(call->error, error, sizeof(call->error));
	dlist_push_tail(&ended, &call->node);
	ended_count++;
}

static void
end_queued(PartnerAccount *account, PartnerOutcome outcome, const char *code, const char *error)
{
	int i;

	for (i = 0; i < PRIORITIES; i++)
	{
		while (!dlist_is_empty(&account->queue[i]))
		{
			Call *call = dlist_container(Call, node, dlist_pop_head_node(&account->queue[i]));

			account->queued--;
			end_call(call, outcome, code, error);
		}
	}
}

void
spinpanel_partner_forget(int32 account_id)
{
	PartnerAccount *account = spinpanel_partner_find(account_id);

	if (account == NULL)
		return;
	end_queued(account, PARTNER_NOT_SENT, "", "the account was disconnected");
	spinpanel_token_forget(account->token);
	account->token = NULL;
}

int
spinpanel_partner_pending(PartnerAccount *account)
{
	dlist_iter iter;
	int pending = ended_count;

	if (account != NULL)
		return account->queued + account->active;
	dlist_foreach (iter, &accounts)
	{
		account = dlist_container(PartnerAccount, node, iter.cur);
		pending += account->queued + account->active;
	}
	return pending;
}

int64
spinpanel_partner_sent(PartnerAccount *account)
{
	return account != NULL ? account->sent : sent_total;
}

/* -------------------------------------------------------------------------
 * Queueing
 * ------------------------------------------------------------------------- */

/* A value from the network may become a header: only printable ASCII. */
static bool
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text < 0x20 || (unsigned char) *text >= 0x7f)
			return false;
	return true;
}

static bool
is_path(const char *text)
{
	const char *c;

	if (text[0] != '/')
		return false;
	for (c = text; *c != '\0'; c++)
		if ((unsigned char) *c <= 0x20 || (unsigned char) *c >= 0x7f ||
			strchr("#\\\"<>", *c) != NULL)
			return false;
	return true;
}

static const char *
put(char **at, const char *text)
{
	const char *place = *at;
	size_t size;

	if (text == NULL)
		return NULL;
	size = strlen(text) + 1;
	memcpy(*at, text, size);
	*at += size;
	return place;
}

void
spinpanel_partner_call(PartnerAccount *account, const PartnerCall *given)
{
	Size size = sizeof(Call) + 8;
	Call *call;
	char *at;

	size += strlen(given->method) + strlen(given->path);
	size += given->body ? strlen(given->body) + 1 : 0;
	size += given->if_match ? strlen(given->if_match) + 1 : 0;
	size += given->continuation_token ? strlen(given->continuation_token) + 1 : 0;
	call = MemoryContextAlloc(partner_context, size);
	memset(call, 0, sizeof(*call));
	at = (char *) (call + 1);
	call->method = put(&at, given->method);
	call->path = put(&at, given->path);
	call->body = put(&at, given->body);
	call->body_length = given->body ? strlen(given->body) : 0;
	if (given->if_match != NULL && given->if_match[0] != '\0')
		call->if_match = put(&at, given->if_match);
	if (given->continuation_token != NULL && given->continuation_token[0] != '\0')
		call->continuation_token = put(&at, given->continuation_token);
	call->account = account;
	call->priority = given->priority;
	call->done = given->done;
	call->arg = given->arg;
	if (given->request_id != NULL)
		call->request_id = *given->request_id;
	else
		fresh_uuid(&call->request_id);
	if (given->correlation_id != NULL)
		call->correlation_id = *given->correlation_id;
	else
		fresh_uuid(&call->correlation_id);
	if (given->known_digest != NULL)
	{
		call->has_known = true;
		memcpy(call->known, given->known_digest, PARTNER_DIGEST);
	}
	call->queued_at = monotonic_ms();

	if (!is_path(call->path) || (call->if_match != NULL && !is_printable(call->if_match)) ||
		(call->continuation_token != NULL && !is_printable(call->continuation_token)))
	{
		end_call(call, PARTNER_REFUSED, "bad_request",
				 "the path, ETag or page token holds characters that cannot be sent");
		return;
	}
	if (account->token == NULL)
	{
		end_call(call, PARTNER_NOT_SENT, "", "the account was disconnected");
		return;
	}
	dlist_push_tail(&account->queue[call->priority], &call->node);
	account->queued++;
}

static void
queue_again(Call *call)
{
	dlist_push_head(&call->account->queue[call->priority], &call->node);
	call->account->queued++;
}

/* -------------------------------------------------------------------------
 * What an answer means
 * ------------------------------------------------------------------------- */

/* Codes that say more than their HTTP status does. */
static const struct
{
	int code;
	PartnerOutcome outcome;
} known_codes[] = {
	/* a change is under way there: wait */
	{ 2001, PARTNER_CONFLICT },
	{ 800014, PARTNER_CONFLICT },
	{ 800060, PARTNER_CONFLICT },
	{ 800064, PARTNER_CONFLICT },
	{ 800081, PARTNER_CONFLICT },
	{ 800082, PARTNER_CONFLICT },
	{ 900278, PARTNER_CONFLICT },
	{ 900280, PARTNER_CONFLICT },
	{ 2055, PARTNER_STALE },
	/* this cart was submitted: perhaps by us, and the answer was lost */
	{ 800065, PARTNER_UNKNOWN },
	/* the update failed "unexpectedly", the order "was not created" */
	{ 800003, PARTNER_UNKNOWN },
	{ 800005, PARTNER_UNKNOWN },
	{ 800094, PARTNER_UNKNOWN },
	/* customer, role, or kind of token */
	{ 20002, PARTNER_NO_ACCESS },
	{ 90000, PARTNER_NO_ACCESS },
	{ 900308, PARTNER_NO_ACCESS },
	{ 900309, PARTNER_NO_ACCESS },
	{ 900316, PARTNER_NO_ACCESS },
	{ 900329, PARTNER_NO_ACCESS },
	/* the token's audience is of no use: a matter of settings */
	{ 900420, PARTNER_ACCOUNT_STOPPED },
	/* nobody signed in with MFA for this token: no call will do, whatever the customer */
	{ NO_MFA, PARTNER_ACCOUNT_STOPPED },
	/* 409, but final */
	{ 27009, PARTNER_REFUSED },
	/* 403, but a business matter */
	{ 2006, PARTNER_REFUSED },
	{ 2085, PARTNER_REFUSED },
	{ 2091, PARTNER_REFUSED },
	{ 13605, PARTNER_REFUSED },
	{ 800020, PARTNER_REFUSED },
	{ 800023, PARTNER_REFUSED },
	{ 800027, PARTNER_REFUSED },
	{ 800028, PARTNER_REFUSED },
	{ 800066, PARTNER_REFUSED },
	{ 800067, PARTNER_REFUSED },
	{ 800069, PARTNER_REFUSED },
	{ 800073, PARTNER_REFUSED },
	{ 800074, PARTNER_REFUSED },
	{ 800075, PARTNER_REFUSED },
	{ 800088, PARTNER_REFUSED },
	{ 800089, PARTNER_REFUSED },
	{ 900263, PARTNER_REFUSED },
	{ 900416, PARTNER_REFUSED },
};

static PartnerOutcome
outcome_of(bool is_get, int status, const char *code, bool has_body, bool has_json,
		   long retry_after)
{
	int number = atoi(code);
	int i;

	if (status == 204)
		return PARTNER_OK;
	if (status == 202)
		return PARTNER_ACCEPTED;
	if (status >= 200 && status < 300)
	{
		/*
		 * Cut short, or somebody else's page.  Without any body a change may
		 * be well, but only looking tells.
		 */
		return has_body && has_json ? PARTNER_OK : PARTNER_UNKNOWN;
	}
	if (status < 400)
		return PARTNER_UNKNOWN; /* redirections are not followed */

	if (status == 429)
		return PARTNER_THROTTLED;
	if (status == 412)
		return PARTNER_STALE;
	if (status < 500)
	{
		for (i = 0; i < (int) lengthof(known_codes); i++)
		{
			/* A read has no effects to look for. */
			if (known_codes[i].code == number &&
				(known_codes[i].outcome != PARTNER_UNKNOWN || !is_get))
				return known_codes[i].outcome;
		}
	}
	switch (status)
	{
		case 401:
		case 403:
			return PARTNER_NO_ACCESS;
		case 404:
			return PARTNER_NOT_FOUND;
		case 408:
			return is_get ? PARTNER_UNAVAILABLE : PARTNER_UNKNOWN;
		case 409:
			return PARTNER_CONFLICT;
		case 501:
		case 505:
			return PARTNER_REFUSED;
		case 503:
			/* With a Retry-After it is the service itself that speaks. */
			return is_get || retry_after >= 0 ? PARTNER_UNAVAILABLE : PARTNER_UNKNOWN;
		default:
			/* A refusal that cannot be read is none. */
			return status < 500 && has_json ? PARTNER_REFUSED : PARTNER_UNKNOWN;
	}
}

static void
digest_of(const char *body, size_t length, unsigned char *digest)
{
	uint64 half[2];

	half[0] = hash_bytes_extended((const unsigned char *) body, (int) length, 0);
	half[1] = hash_bytes_extended((const unsigned char *) body, (int) length, 0x5350494e50414e45);
	memcpy(digest, half, PARTNER_DIGEST);
}

/* Bounded, on one line, cut between characters. */
static void
clean_copy(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);
	char *c;

	if (length >= size)
		length = pg_mbcliplen(from, (int) length, (int) size - 1);
	memcpy(to, from, length);
	to[length] = '\0';
	for (c = to; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
}

static bool
repeats_secret(const Call *call, const char *text)
{
	/* Without its token, which it was sent with, it cannot be told. */
	return call->account->token == NULL || spinpanel_token_appears_in(call->account->token, text);
}

/*
 * {"code", "description"} of Partner Center, {"statusCode", "message"} of its
 * gateway, {"error": {"code", "message"}} of its newer services, {"error",
 * "error_description"} of OAuth, or nothing of that kind.
 */
static void
read_error(const Call *call, PartnerAnswer *answer)
{
	JsonbContainer *root;
	char *code = NULL;
	char *text = NULL;

	if (answer->json != NULL)
	{
		root = &answer->json->root;
		code = spinpanel_json_text(root, "code");
		text = spinpanel_json_text(root, "description");
		if (code == NULL && spinpanel_json_container(root, "error") != NULL)
		{
			code = spinpanel_json_text(root, "error.code");
			text = spinpanel_json_text(root, "error.message");
		}
		if (code == NULL)
			code = spinpanel_json_text(root, "error");
		if (text == NULL)
			text = spinpanel_json_text(root, "message");
		if (text == NULL)
			text = spinpanel_json_text(root, "error_description");
	}
	if (code != NULL)
	{
		clean_copy(answer->error_code, sizeof(answer->error_code), code);
		if (repeats_secret(call, answer->error_code))
			clean_copy(answer->error_code, sizeof(answer->error_code), "(withheld)");
	}
	if (text != NULL && text[0] != '\0')
	{
		clean_copy(answer->error, sizeof(answer->error), text);
		if (repeats_secret(call, answer->error))
			clean_copy(answer->error, sizeof(answer->error),
					   "(description withheld: it repeats a secret)");
	}
	else
		snprintf(answer->error, sizeof(answer->error), "HTTP status %d%s", answer->http_status,
				 answer->json == NULL && answer->body_length > 0 ? ", and the answer was no JSON"
																 : "");
}

/* -------------------------------------------------------------------------
 * What an answer means for the account
 * ------------------------------------------------------------------------- */

static void
slow_down(PartnerAccount *account)
{
	account->parallel = Max(1.0, account->parallel / 2);
}

static void
pause_account(PartnerAccount *account, int64 delay_ms, int64 now_ms)
{
	account->paused_until = Max(account->paused_until, now_ms + delay_ms);
	account->pause_set_at = now_ms;
}

/*
 * Several calls under way meet one limit together; that counts as one.  A call
 * that left after the last pause was set and still is refused is one more.
 */
static void
note_throttled(PartnerAccount *account, const Call *call, long retry_after, int64 now_ms)
{
	int64 delay;

	if (call->sent_at >= account->pause_set_at)
	{
		account->throttled_in_row++;
		slow_down(account);
		spinpanel_throttle_drain(&account->throttle, now_ms);
		delay = spinpanel_backoff_delay(account->throttled_in_row, THROTTLED_PAUSE_BASE_MS,
										spinpanel_retry_max_delay, random_fraction());
		/* Advised: that long at least; again and again: longer each time. */
		if (retry_after >= 0)
			delay = retry_after * 1000 + (account->throttled_in_row > 1 ? delay : delay / 10);
		pause_account(account, delay, now_ms);
	}
	else if (retry_after >= 0)
		account->paused_until = Max(account->paused_until, now_ms + retry_after * 1000);
}

static void
note_failed(PartnerAccount *account, const Call *call, int64 now_ms)
{
	if (call->sent_at < account->pause_set_at)
		return;
	if (++account->failed_in_row < FAILURES_BEFORE_PAUSE)
		return;
	slow_down(account);
	pause_account(account,
				  spinpanel_backoff_delay(
					  account->failed_in_row - FAILURES_BEFORE_PAUSE + 1, FAILURE_PAUSE_BASE_MS,
					  Min(FAILURE_PAUSE_MAX_MS, spinpanel_retry_max_delay), random_fraction()),
				  now_ms);
}

static void
note_well(PartnerAccount *account, const Call *call)
{
	if (call->sent_at < account->pause_set_at)
		return;
	account->throttled_in_row = 0;
	account->failed_in_row = 0;
	account->parallel =
		Min((double) account->max_concurrency, account->parallel + 1.0 / account->parallel);
}

/* -------------------------------------------------------------------------
 * Sending and receiving
 * ------------------------------------------------------------------------- */

/* The call is gone before done(), which may throw. */
static void
finish_call(Call *call, const PartnerAnswer *answer)
{
	PartnerDone done = call->done;
	void *arg = call->arg;

	pfree(call);
	done(arg, answer);
}

/*
 * A 401: the token may have been revoked before its time.  True: the call was
 * queued again for another token.
 */
static bool
repeat_with_new_token(Call *call, int64 now_ms)
{
	if (call->repeated_after_401 || call->account->token == NULL)
		return false;
	call->repeated_after_401 = true;
	spinpanel_token_refused(call->account->token, call->generation, now_ms);
	/* It waits for a token from now on, not since it was queued. */
	call->queued_at = now_ms;
	queue_again(call);
	return true;
}

/*
 * The token of the next page may stand in the body, in a link of the body or
 * in a header.  Who takes a list in looks at its body, and must not take the
 * first page for all of it.
 */
static Jsonb *
with_page_token(Jsonb *json, const char *token)
{
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(json) || spinpanel_json_next_page(&json->root) != NULL)
		return json;
	value.type = jbvString;
	value.val.string.val = (char *) token;
	value.val.string.len = (int) strlen(token);
	return spinpanel_json_with(json, "continuationToken", JsonbValueToJsonb(&value));
}

static void
on_http_answer(void *arg, const SpinpanelHttpAnswer *http)
{
	Call *call = arg;
	PartnerAccount *account = call->account;
	bool is_get = strcmp(call->method, "GET") == 0;
	int64 now_ms = monotonic_ms();
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	PartnerAnswer answer;

	account->active--;
	if (call->priority == PARTNER_READ)
		account->active_reads--;

	if (http->outcome != SPINPANEL_HTTP_ANSWERED)
	{
		/* Broken off, for example because the server closed a kept connection. */
		if (is_get && http->outcome == SPINPANEL_HTTP_UNKNOWN && !http->timed_out &&
			call->breaks < BREAKS_REPEATED && account->token != NULL)
		{
			call->breaks++;
			queue_again(call);
			return;
		}
		note_failed(account, call, now_ms);
	}

	memset(&answer, 0, sizeof(answer));
	answer.retry_after = http->retry_after;
	answer.body = http->body;
	answer.body_length = http->body_length;
	answer.continuation_token = http->continuation_token;
	answer.location = http->location;
	answer.http_status = http->status;
	answer.started_at = call->started_at;

	/* A child of the caller's context: gone with it should done() throw. */
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "spinpanel answer", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);

	if (http->outcome == SPINPANEL_HTTP_NOT_SENT)
	{
		answer.outcome = PARTNER_NOT_SENT;
		answer.started_at = 0;
		strlcpy(answer.error, http->error, sizeof(answer.error));
	}
	else if (http->outcome == SPINPANEL_HTTP_UNKNOWN)
	{
		answer.outcome = PARTNER_UNKNOWN;
		strlcpy(answer.error, http->error, sizeof(answer.error));
	}
	else
	{
		bool failed;

		if (answer.body_length >= 3 && memcmp(answer.body, "\xEF\xBB\xBF", 3) == 0)
		{
			answer.body += 3;
			answer.body_length -= 3;
		}
		if (is_get && http->status == 200)
		{
			digest_of(answer.body, answer.body_length, answer.digest);
			/* With a further page it is not the whole body that was known. */
			answer.unchanged = call->has_known && answer.continuation_token == NULL &&
							   memcmp(answer.digest, call->known, PARTNER_DIGEST) == 0;
		}
		if (answer.body_length > 0 && !answer.unchanged)
			answer.json = spinpanel_json_parse(answer.body, answer.body_length);
		if (answer.json != NULL && JB_ROOT_IS_SCALAR(answer.json))
			answer.json = NULL;
		if (answer.continuation_token != NULL && answer.json != NULL && http->status == 200)
			answer.json = with_page_token(answer.json, answer.continuation_token);
		if (http->status >= 300)
			read_error(call, &answer);
		answer.outcome = outcome_of(is_get, http->status, answer.error_code, answer.body_length > 0,
									answer.json != NULL || answer.unchanged, answer.retry_after);
		if (answer.outcome == PARTNER_UNKNOWN && http->status < 300)
			strlcpy(answer.error, "the answer was no whole JSON", sizeof(answer.error));

		if (answer.outcome == PARTNER_THROTTLED)
			note_throttled(account, call, answer.retry_after, now_ms);
		else
		{
			failed = http->status >= 500 && http->status != 501 && http->status != 505;
			if (http->status == 503 && answer.retry_after >= 0)
				note_throttled(account, call, answer.retry_after, now_ms);
			else if (failed)
				note_failed(account, call, now_ms);
			else
				note_well(account, call);
		}

		if (http->status != 401)
			account->refused_in_row = 0;
		else if (answer.outcome == PARTNER_NO_ACCESS)
		{
			if (repeat_with_new_token(call, now_ms))
			{
				MemoryContextSwitchTo(caller);
				MemoryContextDelete(scratch);
				return;
			}
			if (++account->refused_in_row >= REFUSED_BEFORE_STOP)
				answer.outcome = PARTNER_ACCOUNT_STOPPED;
		}
		if (answer.outcome == PARTNER_ACCOUNT_STOPPED && account->token != NULL)
		{
			/* Not here: the hook may throw, and done() must be called. */
			account->refused_in_row = 0;
			account->stop_wanted = true;
			strlcpy(account->stop_code, answer.error_code[0] ? answer.error_code : "401",
					sizeof(account->stop_code));
			clean_copy(account->stop_reason, sizeof(account->stop_reason),
					   psprintf("%s%s: %s%s",
								atoi(answer.error_code) == NO_MFA ? "sign in again with MFA (" : "",
								account->stop_code, answer.error,
								atoi(answer.error_code) == NO_MFA ? ")" : ""));
		}
	}

	finish_call(call, &answer);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

static void
uuid_header(char *header, size_t size, const char *name, const pg_uuid_t *uuid)
{
	const unsigned char *d = uuid->data;

	snprintf(header, size,
			 "%s: %02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", name, d[0],
			 d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13],
			 d[14], d[15]);
}

/* The call is in no queue; it comes back through on_http_answer(). */
static void
send_call(PartnerAccount *account, Call *call, int64 now_ms)
{
	SpinpanelHttpRequest request = { 0 };
	const char *headers[12];
	int n = 0;
	char request_id[80];
	char correlation_id[80];
	char *if_match = NULL;
	char *continuation = NULL;
	char *url;
	int base_length = (int) strlen(account->api_url);
	bool queued;

	while (base_length > 0 && account->api_url[base_length - 1] == '/')
		base_length--;
	url = psprintf("%.*s/v1%s", base_length, account->api_url, call->path);
	uuid_header(request_id, sizeof(request_id), "MS-RequestId", &call->request_id);
	uuid_header(correlation_id, sizeof(correlation_id), "MS-CorrelationId", &call->correlation_id);

	headers[n++] = spinpanel_token_header(account->token);
	headers[n++] = "Accept: application/json";
	headers[n++] = "X-Locale: en-US";
	headers[n++] = "MS-PartnerCenter-Application: spinpanel";
	headers[n++] = "MS-Contract-Version: v1";
	headers[n++] = request_id;
	headers[n++] = correlation_id;
	if (call->body != NULL)
		headers[n++] = "Content-Type: application/json";
	if (call->if_match != NULL)
	{
		/* Bodies hold it without the quotes that the header wants. */
		bool quoted = call->if_match[0] == '"' || call->if_match[0] == '*' ||
					  strncmp(call->if_match, "W/", 2) == 0;

		if_match = psprintf(quoted ? "If-Match: %s" : "If-Match: \"%s\"", call->if_match);
		headers[n++] = if_match;
	}
	if (call->continuation_token != NULL)
	{
		continuation = psprintf("MS-ContinuationToken: %s", call->continuation_token);
		headers[n++] = continuation;
	}
	headers[n] = NULL;

	request.method = call->method;
	request.url = url;
	request.headers = headers;
	request.body = call->body;
	request.body_length = call->body_length;
	request.timeout_ms = spinpanel_request_timeout;
	request.body_limit = BODY_LIMIT;
	request.ca_file = spinpanel_ca_file;
	request.done = on_http_answer;
	request.arg = call;

	call->generation = spinpanel_token_generation(account->token);
	call->sent_at = now_ms;
	call->started_at = GetCurrentTimestamp();
	queued = spinpanel_http_submit(&request);

	pfree(url);
	if (if_match != NULL)
		pfree(if_match);
	if (continuation != NULL)
		pfree(continuation);

	if (!queued)
	{
		call->started_at = 0;
		end_call(call, PARTNER_NOT_SENT, "", "out of memory");
		return;
	}
	account->active++;
	if (call->priority == PARTNER_READ)
		account->active_reads++;
	account->sent++;
	sent_total++;
}

/* -------------------------------------------------------------------------
 * The turn
 * ------------------------------------------------------------------------- */

static long
sooner(long a, long b)
{
	if (a < 0)
		return b;
	if (b < 0)
		return a;
	return Min(a, b);
}

/*
 * Calls that have waited for a token for longer than a request may take.  The time
 * in which we do not ask for one, after a refusal, does not count.
 */
static long
end_overdue(PartnerAccount *account, int64 now_ms)
{
	long wait = -1;
	int i;
	dlist_mutable_iter iter;

	for (i = 0; i < PRIORITIES; i++)
	{
		dlist_foreach_modify (iter, &account->queue[i])
		{
			Call *call = dlist_container(Call, node, iter.cur);
			int64 since = Max(Max(call->queued_at, account->no_token_since),
							  spinpanel_token_paused_until(account->token));
			int64 left = since + spinpanel_request_timeout - now_ms;

			if (left > 0)
			{
				wait = sooner(wait, (long) left);
				continue;
			}
			dlist_delete(&call->node);
			account->queued--;
			end_call(call, PARTNER_NOT_SENT, spinpanel_token_error_code(account->token),
					 spinpanel_token_error(account->token)[0] != '\0'
						 ? spinpanel_token_error(account->token)
						 : "no access token could be obtained in time");
		}
	}
	return wait;
}

static Call *
next_call(PartnerAccount *account)
{
	int i;

	for (i = 0; i < PRIORITIES; i++)
		if (!dlist_is_empty(&account->queue[i]))
			return dlist_head_element(Call, node, &account->queue[i]);
	return NULL;
}

/* Whether one more of this priority may be under way. */
static bool
has_room(const PartnerAccount *account, PartnerPriority priority)
{
	int allowed = (int) account->parallel;
	int kept = 0;

	if (account->active >= allowed)
		return false;
	if (priority == PARTNER_READ && allowed > 1)
		kept = Max(1, allowed / 8);
	return priority != PARTNER_READ || account->active_reads < allowed - kept;
}

static long
work_account(PartnerAccount *account, int64 now_ms)
{
	SpinpanelTokenState state;
	const char *problem;
	long wait;
	Call *call;

	if (account->stop_wanted)
	{
		account->stop_wanted = false;
		spinpanel_token_stop(account->token, account->stop_code, account->stop_reason, now_ms);
	}
	if (account->queued == 0 && !spinpanel_token_wants_check(account->token))
		return -1;

	state = spinpanel_token_check(account->token, now_ms, &wait);
	if (state == SPINPANEL_TOKEN_STOPPED)
	{
		end_queued(account, PARTNER_ACCOUNT_STOPPED, spinpanel_token_error_code(account->token),
				   spinpanel_token_error(account->token));
		return wait;
	}
	if (state == SPINPANEL_TOKEN_WAIT)
	{
		if (account->no_token_since == 0)
			account->no_token_since = now_ms;
		return sooner(wait, end_overdue(account, now_ms));
	}
	account->no_token_since = 0;

	while ((call = next_call(account)) != NULL)
	{
		bool urgent = call->priority == PARTNER_URGENT;

		if (account->paused_until > now_ms)
			return sooner(wait, (long) (account->paused_until - now_ms));
		if (!has_room(account, call->priority))
			return wait; /* until one of those under way ends */
		/* Each time: the setting may have changed since the token came. */
		if (!spinpanel_address_allowed(account->api_url, spinpanel_allowed_hosts, &problem))
		{
			spinpanel_token_stop(account->token, "host_not_allowed", problem, now_ms);
			return 0;
		}
		if (!spinpanel_throttle_take(&account->throttle, urgent, now_ms))
			return sooner(wait, (long) spinpanel_throttle_wait(&account->throttle, urgent, now_ms));
		dlist_delete(&call->node);
		account->queued--;
		send_call(account, call, now_ms);
	}
	return wait;
}

/* Tells the askers of calls that ended without being sent; how many. */
static int
deliver_ended(void)
{
	int delivered = ended_count; /* not those that done() adds */
	int count = delivered;

	while (count-- > 0 && !dlist_is_empty(&ended))
	{
		Call *call = dlist_container(Call, node, dlist_pop_head_node(&ended));
		MemoryContext caller = CurrentMemoryContext;
		MemoryContext scratch;
		PartnerAnswer answer;

		ended_count--;
		memset(&answer, 0, sizeof(answer));
		answer.outcome = call->outcome;
		answer.retry_after = -1;
		answer.body = "";
		strlcpy(answer.error_code, call->error_code, sizeof(answer.error_code));
		strlcpy(answer.error, call->error, sizeof(answer.error));
		scratch = AllocSetContextCreate(caller, "spinpanel answer", ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(scratch);
		finish_call(call, &answer);
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(scratch);
	}
	return delivered;
}

static long
work_all(void)
{
	long wait = -1;
	int64 now_ms = monotonic_ms();
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &accounts)
	{
		PartnerAccount *account = dlist_container(PartnerAccount, node, iter.cur);

		if (account->token != NULL)
			wait = sooner(wait, work_account(account, now_ms));
	}
	/* Whoever was told may have queued something. */
	return deliver_ended() > 0 ? 0 : wait;
}

long
spinpanel_partner_work(void)
{
	long wait = -1;

	if (working)
		elog(ERROR, "spinpanel_partner_work called from a callback");
	working = true;
	PG_TRY();
	{
		wait = work_all();
	}
	PG_FINALLY();
	{
		working = false;
	}
	PG_END_TRY();
	return wait;
}
