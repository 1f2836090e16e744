/*
 * token.c
 *
 * Access tokens of one account.
 *
 *		            +--- refused for good ---> STOPPED --(file changed, retry)--+
 *		            |                                                           |
 *		(none) --> fetching --> READY --(nearly expired, or a 401)--> fetching <+
 *		   ^        |
 *		   +--------+ no answer, busy: again after a delay
 *
 * The client secret is read from the credential file for each request and is
 * not kept.  Access is on behalf of a user where somebody signed in for the
 * account, or where the file holds a refresh token.  The newest refresh token
 * is the one that the hook stored, encrypted with a key that follows from the
 * client secret (seal.h); the file's is used when none is stored, when what is
 * stored cannot be decrypted (the secret is another one since), and when the
 * stored one is refused and the file's is another one.
 *
 * A code that a person brought from the sign-in page is traded before anything
 * else; if that fails the account stays as it was.
 *
 * Endpoint: see login.c.  v1 from the moment v2 answers 404 or 405.
 *
 * This file must never put a secret or a token in a message, a log line or
 * memory that is freed without being wiped, and never ask for two tokens of
 * one account at a time: a rotated refresh token would be lost.
 *
 * Expiry is judged by the real clock, delays by the monotonic one.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "base/address.h"
#include "base/backoff.h"
#include "base/json.h"
#include "base/settings.h"
#include "partner/credential.h"
#include "partner/http.h"
#include "partner/login.h"
#include "partner/seal.h"
#include "partner/token.h"

#define REFRESH_MARGIN_MS (120 * 1000)
/* Not used any more in its last seconds: the request takes time as well. */
#define LAST_USE_MARGIN_MS (15 * 1000)
#define LIFETIME_UNKNOWN_S 600
#define LIFETIME_MAX_S 86400
#define ACCESS_TOKEN_MAX (32 * 1024)
#define BODY_LIMIT (256 * 1024)
#define RETRY_BASE_MS 1000
/* Least time between two fetches that were caused by a 401. */
#define REFUSED_PAUSE_MS 1000
/* How often a stopped account looks at its file, and how often it tries. */
#define STOPPED_LOOK_MS 5000
#define STOPPED_RETRY_BASE_MS (5 * 60 * 1000)
#define STOPPED_RETRY_MAX_MS (60 * 60 * 1000)
#define UNSAVED_RETRY_MS 5000
/* So many bytes of a secret in a row are a part of it, fewer are chance. */
#define SECRET_PART 10
#define SHOWN_MAX 512

struct SpinpanelToken
{
	int32 account_id;
	const PartnerHooks *hooks;
	MemoryContext context; /* holds this struct and the settings */
	char *tenant_id;
	char *client_id;
	char *credential_file;
	char *api_url;
	char *login_url;

	LoginVersion endpoint; /* as login_url says, or as was found out */
	int login_length; /* login_url without such a suffix */

	char *header; /* NULL = no token; wiped when replaced */
	char *former; /* the one before: answers to it may still come */
	uint32 generation;
	int64 expires_at; /* real clock, ms */
	int64 refresh_at;

	bool fetching;
	bool forgotten; /* free it when the answer comes */
	bool settings_changed; /* while fetching: the answer is not wanted */
	bool eager; /* new or repaired: tell soon whether it works */
	int failures; /* in a row, of fetching */
	int64 retry_at; /* monotonic ms; 0 = at once */
	int64 paused_until; /* monotonic ms: after a refusal, none is asked for until then */
	int64 fetch_began; /* real clock, ms */
	char *tried; /* refresh token of the running fetch */
	bool tried_file; /* it came from the file */
	bool file_next; /* the stored one was refused */
	bool tried_signed_in; /* it came from a sign-in, however often renewed since */
	char *unsaved; /* newest refresh token, not stored yet */
	bool unsaved_signed_in;
	int64 save_at; /* monotonic ms */

	bool code_waits; /* somebody signed in: the code is to be traded */
	bool trading; /* the running fetch does that; "tried" is the code */
	char *verifier; /* of the running trade */

	bool stopped;
	int stops; /* in a row */
	int refusals; /* stops because Partner Center refused the tokens, one soon after the other */
	int64 refused_at;
	int64 look_at; /* monotonic ms */
	int64 try_again_at;
	uint64 file_stamp; /* when it was stopped */
	char error_code[32];
	char error[512];
};

static void fetch(SpinpanelToken *token, int64 now_ms);

static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64
real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
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
set_error(SpinpanelToken *token, const char *code, const char *text)
{
	strlcpy(token->error_code, code, sizeof(token->error_code));
	strlcpy(token->error, text, sizeof(token->error));
}

static void
drop_header(SpinpanelToken *token)
{
	if (token->header == NULL)
		return;
	spinpanel_wipe_text(token->former);
	token->former = token->header;
	token->header = NULL;
}

/* -------------------------------------------------------------------------
 * Life and settings
 * ------------------------------------------------------------------------- */

static LoginAccount
login_account(const SpinpanelToken *token)
{
	LoginAccount account;

	account.account_id = token->account_id;
	account.tenant_id = token->tenant_id;
	account.client_id = token->client_id;
	account.api_url = token->api_url;
	account.login_url = token->login_url;
	return account;
}

static char *
about_refresh_token(const SpinpanelToken *token)
{
	LoginAccount account = login_account(token);

	return spinpanel_login_about(&account, "refresh token");
}

static void
forget_tried(SpinpanelToken *token)
{
	spinpanel_wipe_text(token->tried);
	spinpanel_wipe_text(token->verifier);
	token->tried = NULL;
	token->verifier = NULL;
	token->trading = false;
}

/* Whether the field changed. */
static bool
take_over(MemoryContext context, char **field, const char *value)
{
	if (*field != NULL && strcmp(*field, value) == 0)
		return false;
	if (*field != NULL)
		pfree(*field);
	*field = MemoryContextStrdup(context, value);
	return true;
}

SpinpanelToken *
spinpanel_token_create(const PartnerSettings *settings, const PartnerHooks *hooks)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "spinpanel token", ALLOCSET_SMALL_SIZES);
	SpinpanelToken *token = MemoryContextAllocZero(context, sizeof(*token));

	token->context = context;
	token->account_id = settings->account_id;
	token->hooks = hooks;
	spinpanel_token_configure(token, settings);
	return token;
}

void
spinpanel_token_configure(SpinpanelToken *token, const PartnerSettings *settings)
{
	bool changed = false;

	changed |= take_over(token->context, &token->tenant_id, settings->tenant_id);
	changed |= take_over(token->context, &token->client_id, settings->client_id);
	changed |= take_over(token->context, &token->credential_file, settings->credential_file);
	changed |= take_over(token->context, &token->api_url, settings->api_url);
	changed |= take_over(token->context, &token->login_url, settings->login_url);
	token->code_waits = settings->code_waits && !token->trading;
	if (!changed)
		return;

	token->endpoint = spinpanel_login_version(token->login_url, &token->login_length);
	spinpanel_wipe_text(token->unsaved);
	token->unsaved = NULL;
	token->settings_changed = token->fetching;
	spinpanel_token_retry(token);
}

void
spinpanel_token_retry(SpinpanelToken *token)
{
	drop_header(token);
	token->stopped = false;
	token->stops = 0;
	token->refusals = 0;
	token->failures = 0;
	token->retry_at = 0;
	token->file_next = false;
	token->eager = true;
	set_error(token, "", "");
}

static void
free_token(SpinpanelToken *token)
{
	drop_header(token);
	spinpanel_wipe_text(token->former);
	forget_tried(token);
	spinpanel_wipe_text(token->unsaved);
	MemoryContextDelete(token->context);
}

void
spinpanel_token_forget(SpinpanelToken *token)
{
	if (token->fetching)
	{
		token->forgotten = true;
		drop_header(token);
	}
	else
		free_token(token);
}

/* -------------------------------------------------------------------------
 * Stopping and saving, which call hooks
 * ------------------------------------------------------------------------- */

static void
stop(SpinpanelToken *token, const char *code, const char *reason, int64 now_ms)
{
	set_error(token, code, reason);
	drop_header(token);
	token->stopped = true;
	token->eager = false;
	token->failures = 0;
	token->file_next = false;
	token->file_stamp = spinpanel_credential_stamp(token->credential_file);
	token->look_at = now_ms + STOPPED_LOOK_MS;
	token->stops++;
	/* A token may be had, and Partner Center refuse it each time: that is no success. */
	token->try_again_at =
		now_ms + spinpanel_backoff_delay(token->stops + token->refusals, STOPPED_RETRY_BASE_MS,
										 STOPPED_RETRY_MAX_MS, random_fraction());
	/* Also after a try that failed in the same way: the hook may have failed. */
	token->hooks->account_stopped(token->account_id, token->error_code, token->error);
}

/*
 * The hook cannot say whether it succeeded, so what was stored is read back.
 * Until it is there it is kept here, used here, and tried again.
 */
static void
save_refresh_token(SpinpanelToken *token, int64 now_ms)
{
	SpinpanelCredential credential;
	bytea *sealed;
	bytea *stored = NULL;
	char error[1024];
	int sqlstate;
	bool signed_in;

	token->save_at = now_ms + UNSAVED_RETRY_MS;
	if (!spinpanel_credential_read(token->credential_file, &credential, &sqlstate, error,
								   sizeof(error)))
		return;
	sealed = spinpanel_seal(credential.client_secret, about_refresh_token(token), token->unsaved);
	spinpanel_credential_wipe(&credential);
	if (sealed == NULL)
		return;
	token->hooks->store_refresh_token(token->account_id, sealed, token->unsaved_signed_in);
	if (token->hooks->load_refresh_token(token->account_id, &stored, &signed_in) &&
		stored != NULL && VARSIZE_ANY_EXHDR(stored) == VARSIZE_ANY_EXHDR(sealed) &&
		memcmp(VARDATA_ANY(stored), VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed)) == 0)
	{
		spinpanel_wipe_text(token->unsaved);
		token->unsaved = NULL;
	}
}

/* -------------------------------------------------------------------------
 * The request
 * ------------------------------------------------------------------------- */

/* It may work later. */
static void
fail(SpinpanelToken *token, const char *code, const char *text, long retry_after, int64 now_ms)
{
	int64 delay;

	/* A stopped account stays so, and for the reason that it was. */
	if (!token->stopped)
		set_error(token, code, text);
	if (token->failures < 1000)
		token->failures++;
	delay = spinpanel_backoff_delay(token->failures, RETRY_BASE_MS, spinpanel_retry_max_delay,
									random_fraction());
	if (retry_after >= 0 && retry_after * 1000 > delay)
		delay = retry_after * 1000;
	token->retry_at = now_ms + delay;
	token->try_again_at = token->retry_at; /* where it is stopped */
}

/* The code was no good: the account goes on, or stays stopped, as before. */
static void
trade_failed(SpinpanelToken *token, const char *reason, int64 now_ms)
{
	token->code_waits = false;
	forget_tried(token);
	token->retry_at = 0;
	token->try_again_at = now_ms + STOPPED_RETRY_BASE_MS; /* where it is stopped */
	token->hooks->sign_in_over(token->account_id, reason);
}

/* The same request in another way, from the next check on. */
static void
try_at_once(SpinpanelToken *token, int64 now_ms)
{
	token->retry_at = 0;
	token->try_again_at = now_ms; /* where it is stopped */
	token->eager = true;
}

/* The first line of a description, printable and bounded. */
static void
first_line(const char *text, char *line, size_t size)
{
	size_t length = strcspn(text, "\r\n");
	size_t i;

	if (length >= size)
		length = pg_mbcliplen(text, (int) length, (int) size - 1);
	memcpy(line, text, length);
	line[length] = '\0';
	for (i = 0; i < length; i++)
		if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
}

/* %XX undone, as far as it fits. */
static void
decode(const char *text, char *decoded, size_t size)
{
	size_t length = 0;
	char digits[3] = { 0 };

	while (*text != '\0' && length < size - 1)
	{
		if (text[0] == '%' && isxdigit((unsigned char) text[1]) &&
			isxdigit((unsigned char) text[2]))
		{
			memcpy(digits, text + 1, 2);
			decoded[length++] = (char) strtol(digits, NULL, 16);
			text += 3;
		}
		else
			decoded[length++] = *text++;
	}
	decoded[length] = '\0';
}

/* Whether a short text holds a part of the secret, wherever it was cut. */
static bool
repeats(const char *text, const char *secret)
{
	size_t length = secret != NULL ? strlen(secret) : 0;
	size_t part = Min(length, SECRET_PART);
	size_t text_length = strlen(text);
	size_t i;
	size_t j;

	if (length == 0 || text_length < part)
		return false;
	for (i = 0; i + part <= text_length; i++)
		for (j = 0; j + part <= length; j++)
			if (memcmp(text + i, secret + j, part) == 0)
				return true;
	return false;
}

/* The access token of a header */
static const char *
bare(const char *header)
{
	return header != NULL ? header + strlen("Authorization: Bearer ") : NULL;
}

/* The description of an error as the server gave it, unless it is an echo. */
static void
describe(SpinpanelToken *token, const char *code, const char *description, char *text, size_t size)
{
	char line[320];
	const char *number;
	const char *hint = "";
	static const struct
	{
		const char *aadsts;
		const char *meaning;
	} known[] = {
		{ "AADSTS700082", "the refresh token has expired" },
		{ "AADSTS7000222", "the client secret has expired" },
		{ "AADSTS7000215", "the client secret is wrong" },
		{ "AADSTS50076", "multi-factor authentication is needed" },
		{ "AADSTS50079", "multi-factor authentication must be set up" },
		{ "AADSTS65001", "consent to the application is missing" },
		{ "AADSTS50020", "the user is a guest in the tenant" },
		{ "AADSTS50177", "the user is a guest in the tenant" },
		{ "AADSTS53003", "blocked by conditional access" },
		{ "AADSTS700016", "the application is not registered in the tenant" },
		{ "AADSTS90002", "the tenant does not exist" },
	};
	int i;

	line[0] = '\0';
	if (description != NULL)
		first_line(description, line, sizeof(line));
	for (i = 0; i < (int) lengthof(known); i++)
	{
		number = strstr(line, known[i].aadsts);
		if (number != NULL && strspn(number + strlen(known[i].aadsts), "0123456789") == 0)
			hint = known[i].meaning;
	}
	if (strstr(line, "client_secret=") != NULL || strstr(line, "refresh_token=") != NULL ||
		strstr(line, "code=") != NULL || strstr(line, "code_verifier=") != NULL ||
		spinpanel_token_appears_in(token, line))
		strlcpy(line, "description withheld, it repeats a secret", sizeof(line));
	snprintf(text, size, "%s%s%s%s%s%s", code, hint[0] ? " (" : "", hint, hint[0] ? ")" : "",
			 line[0] ? ": " : "", line);
}

/* A 200.  False: nothing usable in it. */
static bool
take_token(SpinpanelToken *token, Jsonb *json)
{
	char *access = spinpanel_json_text(&json->root, "access_token");
	char *type = spinpanel_json_text(&json->root, "token_type");
	char *refresh = spinpanel_json_text(&json->root, "refresh_token");
	int64 lifetime;
	int64 margin;
	size_t length = access != NULL ? strlen(access) : 0;
	size_t i;
	bool usable = length > 0 && length <= ACCESS_TOKEN_MAX &&
				  (type == NULL || pg_strcasecmp(type, "Bearer") == 0);

	/* It becomes a header: no line breaks, nothing but ASCII. */
	for (i = 0; i < length; i++)
		if ((unsigned char) access[i] <= 0x20 || (unsigned char) access[i] >= 0x7f)
			usable = false;
	/* Who signs in does it for the refresh token. */
	if (token->trading && (refresh == NULL || refresh[0] == '\0'))
		usable = false;

	if (usable)
	{
		drop_header(token);
		token->header = MemoryContextAlloc(token->context, length + 32);
		snprintf(token->header, length + 32, "Authorization: Bearer %s", access);
		token->generation++;
		if (!spinpanel_json_int(&json->root, "expires_in", &lifetime) || lifetime <= 0)
			lifetime = LIFETIME_UNKNOWN_S;
		lifetime = Min(lifetime, LIFETIME_MAX_S) * 1000;
		/* Counted from the request on: the answer may have been slow. */
		margin = Min(REFRESH_MARGIN_MS, lifetime / 4);
		token->refresh_at = token->fetch_began + lifetime - margin;
		margin = Min(LAST_USE_MARGIN_MS, lifetime / 10);
		token->expires_at = token->fetch_began + lifetime - margin;

		/*
		 * A new refresh token, or the file's where a stored one was refused:
		 * what worked is what must be stored.
		 */
		if (token->trading)
		{
			spinpanel_wipe_text(token->unsaved);
			token->unsaved = MemoryContextStrdup(token->context, refresh);
			token->unsaved_signed_in = true;
		}
		else if (token->tried != NULL)
		{
			const char *newest = NULL;

			if (refresh != NULL && refresh[0] != '\0')
				newest = refresh;
			else if (token->tried_file && token->file_next)
				newest = token->tried;
			if (newest != NULL &&
				(token->tried_file || token->unsaved != NULL || strcmp(newest, token->tried) != 0))
			{
				spinpanel_wipe_text(token->unsaved);
				token->unsaved = MemoryContextStrdup(token->context, newest);
				token->unsaved_signed_in = token->tried_signed_in;
			}
		}
	}
	spinpanel_wipe_text(access);
	spinpanel_wipe_text(refresh);
	return usable;
}

static bool
signed_in_without_mfa(Jsonb *json)
{
	char *access = spinpanel_json_text(&json->root, "access_token");
	bool without = access != NULL && spinpanel_login_lacks_mfa(access);

	spinpanel_wipe_text(access);
	return without;
}

static bool
is_passing_error(const char *code)
{
	return strcmp(code, "temporarily_unavailable") == 0 || strcmp(code, "server_error") == 0 ||
		   strcmp(code, "slow_down") == 0;
}

/* An answer other than 200. */
static void
take_refusal(SpinpanelToken *token, const SpinpanelHttpAnswer *answer, Jsonb *json, int64 now_ms)
{
	char *code = NULL;
	char *description;
	char words[512];

	if (json != NULL)
		code = spinpanel_json_text(&json->root, "error");
	if (code == NULL || strlen(code) >= sizeof(token->error_code) ||
		strspn(code, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
			strlen(code) ||
		spinpanel_token_appears_in(token, code))
		code = NULL;

	if ((answer->status == 404 || answer->status == 405) && token->endpoint == LOGIN_FIND_OUT)
	{
		/* No v2 endpoint here. */
		token->endpoint = LOGIN_V1;
		try_at_once(token, now_ms);
		return;
	}
	if (answer->status >= 500 || answer->status == 429 || answer->status == 408 || code == NULL ||
		is_passing_error(code))
	{
		if (answer->status == 404 || answer->status == 405)
		{
			token->endpoint = spinpanel_login_version(token->login_url, &token->login_length);
			if (token->trading)
				trade_failed(token, "there is no token endpoint at the login address", now_ms);
			else
				stop(token, "http_404", "there is no token endpoint at the login address", now_ms);
			return;
		}
		snprintf(words, sizeof(words), "the token endpoint answered with HTTP status %d%s%s",
				 answer->status, code != NULL ? ", " : "", code != NULL ? code : "");
		fail(token, code != NULL ? code : "", words, answer->retry_after, now_ms);
		return;
	}

	description = spinpanel_json_text(&json->root, "error_description");
	describe(token, code, description, words, sizeof(words));

	if (token->trading)
	{
		trade_failed(token, words, now_ms);
		return;
	}
	if ((strcmp(code, "invalid_grant") == 0 || strcmp(code, "interaction_required") == 0) &&
		token->tried != NULL && !token->tried_file)
	{
		SpinpanelCredential credential;
		char error[512];
		int sqlstate;
		bool differs = false;

		/* Perhaps somebody put a new one into the file. */
		if (spinpanel_credential_read(token->credential_file, &credential, &sqlstate, error,
									  sizeof(error)))
		{
			differs = credential.refresh_token == NULL
						  ? !token->tried_signed_in
						  : strcmp(credential.refresh_token, token->tried) != 0;
			spinpanel_credential_wipe(&credential);
		}
		if (differs)
		{
			spinpanel_wipe_text(token->unsaved);
			token->unsaved = NULL;
			token->file_next = true;
			try_at_once(token, now_ms);
			return;
		}
	}
	stop(token, code, words, now_ms);
}

static void
on_answer(void *arg, const SpinpanelHttpAnswer *answer)
{
	SpinpanelToken *token = arg;
	int64 now_ms = monotonic_ms();
	Jsonb *json = NULL;
	MemoryContext scratch;
	MemoryContext caller;

	token->fetching = false;
	if (token->forgotten)
	{
		free_token(token);
		return;
	}
	if (token->settings_changed)
	{
		token->settings_changed = false;
		forget_tried(token);
		return;
	}

	/* Gone with its parent should a hook throw. */
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "spinpanel token answer", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(scratch);

	if (answer->outcome != SPINPANEL_HTTP_ANSWERED)
	{
		char words[400];

		snprintf(words, sizeof(words), "no answer from the token endpoint: %s", answer->error);
		fail(token, "", words, -1, now_ms);
	}
	else
	{
		json = spinpanel_json_parse(answer->body, answer->body_length);
		if (json != NULL && !JB_ROOT_IS_OBJECT(json))
			json = NULL;
		if (answer->status == 200)
		{
			if (token->trading && json != NULL && signed_in_without_mfa(json))
				trade_failed(token,
							 "the person signed in without multifactor authentication, which "
							 "Partner Center asks for",
							 now_ms);
			else if (json != NULL && take_token(token, json))
			{
				const char *access = token->tried != NULL ? "app+user" : "app";
				bool traded = token->trading;

				token->failures = 0;
				token->stops = 0;
				token->stopped = false;
				token->retry_at = 0;
				token->eager = false;
				token->file_next = false;
				set_error(token, "", "");
				forget_tried(token);
				if (token->unsaved != NULL)
					save_refresh_token(token, now_ms);
				if (traded)
				{
					token->code_waits = false;
					token->hooks->sign_in_over(token->account_id, NULL);
				}
				token->hooks->account_connected(token->account_id, access);
			}
			else if (token->trading)
				trade_failed(token, "the answer held no refresh token", now_ms);
			else
				fail(token, "", "the token endpoint's answer held no usable token", -1, now_ms);
		}
		else
			take_refusal(token, answer, json, now_ms);
	}

	forget_tried(token);
	if (json != NULL)
		explicit_bzero(json, VARSIZE(json));
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

/*
 * The code that a person brought, with what it takes to trade it.  False: there
 * is none that could be traded; whoever waits for it has been told.
 */
static bool
prepare_trade(SpinpanelToken *token, const char *client_secret, int64 now_ms)
{
	LoginAccount account = login_account(token);
	char *state = NULL;
	bytea *sealed = NULL;
	char *code;
	char *verifier;

	if (!token->hooks->load_sign_in(token->account_id, &state, &sealed) || sealed == NULL)
	{
		token->code_waits = false;
		return false;
	}
	code = spinpanel_unseal(client_secret, spinpanel_login_about(&account, "code"), sealed);
	verifier = spinpanel_login_verifier(&account, client_secret, state);
	if (code == NULL || verifier == NULL)
	{
		spinpanel_wipe_text(code);
		spinpanel_wipe_text(verifier);
		trade_failed(token, "the client secret is another one since sign_in_url() was called",
					 now_ms);
		return false;
	}
	token->trading = true;
	token->tried = MemoryContextStrdup(token->context, code);
	token->tried_file = false;
	token->tried_signed_in = true;
	token->verifier = MemoryContextStrdup(token->context, verifier);
	spinpanel_wipe_text(code);
	spinpanel_wipe_text(verifier);
	return true;
}

/* Which refresh token to use, if any.  False: cannot be told, or the account had to stop. */
static bool
choose_refresh_token(SpinpanelToken *token, const SpinpanelCredential *credential, int64 now_ms)
{
	bytea *sealed = NULL;
	char *stored = NULL;
	bool signed_in = false;

	if (token->unsaved != NULL)
	{
		token->tried = MemoryContextStrdup(token->context, token->unsaved);
		token->tried_file = false;
		token->tried_signed_in = token->unsaved_signed_in;
		return true;
	}
	/* The file's may have been used up long ago: not "none" for "unknown". */
	if (!token->file_next &&
		!token->hooks->load_refresh_token(token->account_id, &sealed, &signed_in))
	{
		fail(token, "", "the stored refresh token cannot be read now", -1, now_ms);
		return false;
	}
	/* Somebody took it out of the file: app-only access is wanted. */
	if (sealed != NULL && !signed_in && credential->refresh_token == NULL)
		return true;
	if (sealed != NULL)
	{
		stored = spinpanel_unseal(credential->client_secret, about_refresh_token(token), sealed);
		if (stored == NULL && credential->refresh_token == NULL)
		{
			stop(token, "sign_in_needed",
				 "the stored refresh token cannot be decrypted: the client secret in the "
				 "credential file is not the one that it was stored with",
				 now_ms);
			return false;
		}
	}
	token->tried_file = stored == NULL;
	token->tried_signed_in = stored != NULL && signed_in;
	if (stored != NULL)
		token->tried = MemoryContextStrdup(token->context, stored);
	else if (credential->refresh_token != NULL)
		token->tried = MemoryContextStrdup(token->context, credential->refresh_token);
	/* What cannot be decrypted is replaced by what works. */
	if (sealed != NULL && stored == NULL)
		token->file_next = true;
	spinpanel_wipe_text(stored);
	return true;
}

static void
fetch(SpinpanelToken *token, int64 now_ms)
{
	SpinpanelCredential credential;
	SpinpanelHttpRequest request = { 0 };
	LoginForm form = { 0 };
	const char *audience = spinpanel_login_audience(token->api_url, token->login_url);
	const char *headers[3];
	const char *problem = NULL;
	char *url;
	char words[512];
	char error[1024];
	int sqlstate;
	bool v1 = token->endpoint == LOGIN_V1;
	bool queued;

	/* Should anything here throw, it is not tried again at once. */
	token->retry_at = token->try_again_at = now_ms + RETRY_BASE_MS;
	token->eager = false;

	if (!spinpanel_address_allowed(token->login_url, spinpanel_allowed_hosts, &problem))
	{
		snprintf(words, sizeof(words), "login_url: %s", problem);
		stop(token, "host_not_allowed", words, now_ms);
		return;
	}
	if (!spinpanel_address_allowed(token->api_url, spinpanel_allowed_hosts, &problem))
	{
		snprintf(words, sizeof(words), "api_url: %s", problem);
		stop(token, "host_not_allowed", words, now_ms);
		return;
	}
	if (!spinpanel_login_is_tenant(token->tenant_id))
	{
		stop(token, "bad_tenant", "the tenant is neither a GUID nor a domain", now_ms);
		return;
	}
	if (!spinpanel_credential_read(token->credential_file, &credential, &sqlstate, error,
								   sizeof(error)))
	{
		stop(token, "credential_file", error, now_ms);
		return;
	}

	forget_tried(token);
	if (!(token->code_waits && prepare_trade(token, credential.client_secret, now_ms)) &&
		!choose_refresh_token(token, &credential, now_ms))
	{
		spinpanel_credential_wipe(&credential);
		return;
	}

	spinpanel_login_field(&form, "client_id", token->client_id);
	spinpanel_login_field(&form, "client_secret", credential.client_secret);
	spinpanel_credential_wipe(&credential);
	if (v1)
		spinpanel_login_field(&form, "resource", audience);
	if (token->trading)
	{
		spinpanel_login_field(&form, "grant_type", "authorization_code");
		spinpanel_login_field(&form, "code", token->tried);
		spinpanel_login_field(&form, "redirect_uri", LOGIN_REDIRECT);
		spinpanel_login_field(&form, "code_verifier", token->verifier);
	}
	else if (token->tried != NULL)
	{
		spinpanel_login_field(&form, "grant_type", "refresh_token");
		spinpanel_login_field(&form, "refresh_token", token->tried);
		if (v1)
			spinpanel_login_field(&form, "scope", "openid");
	}
	else
		spinpanel_login_field(&form, "grant_type", "client_credentials");
	if (!v1)
	{
		snprintf(words, sizeof(words), "%s/.default%s", audience,
				 token->trading ? " offline_access" : "");
		spinpanel_login_field(&form, "scope", words);
	}

	url = psprintf("%.*s/%s/oauth2/%stoken", token->login_length, token->login_url,
				   token->tenant_id, v1 ? "" : "v2.0/");
	headers[0] = "Accept: application/json";
	headers[1] = "Content-Type: application/x-www-form-urlencoded";
	headers[2] = NULL;
	request.method = "POST";
	request.url = url;
	request.headers = headers;
	request.body = form.text;
	request.body_length = form.length;
	request.timeout_ms = spinpanel_request_timeout;
	request.body_limit = BODY_LIMIT;
	request.ca_file = spinpanel_ca_file;
	request.done = on_answer;
	request.arg = token;
	token->fetch_began = real_ms();
	queued = spinpanel_http_submit(&request);
	token->fetching = queued;

	spinpanel_login_wipe(&form);
	pfree(url);
	if (!queued)
		fail(token, "", "out of memory", -1, now_ms);
}

/* -------------------------------------------------------------------------
 * What the partner layer asks
 * ------------------------------------------------------------------------- */

/*
 * Whether what stopped the account was put right here: another file, another
 * setting.  Then it is no longer stopped but an account without a token.
 */
static bool
is_repaired(SpinpanelToken *token, int64 now_ms)
{
	const char *problem;

	if (now_ms < token->look_at)
		return false;
	token->look_at = now_ms + STOPPED_LOOK_MS;
	if (strcmp(token->error_code, "host_not_allowed") == 0)
		return spinpanel_address_allowed(token->login_url, spinpanel_allowed_hosts, &problem) &&
			   spinpanel_address_allowed(token->api_url, spinpanel_allowed_hosts, &problem);
	return spinpanel_credential_stamp(token->credential_file) != token->file_stamp;
}

SpinpanelTokenState
spinpanel_token_check(SpinpanelToken *token, int64 now_ms, long *wait)
{
	int64 now = real_ms();
	bool usable;

	*wait = -1;
	if (token->unsaved != NULL && now_ms >= token->save_at)
		save_refresh_token(token, now_ms);

	if (token->stopped && !token->fetching)
	{
		if (is_repaired(token, now_ms))
			spinpanel_token_retry(token);
		else if (token->code_waits && now_ms >= token->retry_at)
			fetch(token, now_ms);
		/* Else now and then, in case the other side was put right. */
		else if (now_ms >= token->try_again_at)
			fetch(token, now_ms);
	}
	if (!token->stopped && !token->fetching && now_ms >= token->retry_at &&
		(token->header == NULL || token->eager || token->code_waits || now >= token->refresh_at))
		fetch(token, now_ms);

	if (token->stopped)
	{
		if (!token->fetching)
			*wait = (long) Max(Min(token->look_at, token->try_again_at) - now_ms, 0);
		return SPINPANEL_TOKEN_STOPPED;
	}

	usable = token->header != NULL && now < token->expires_at;
	if (!token->fetching && !usable)
		*wait = (long) Max(token->retry_at - now_ms, 0);
	return usable ? SPINPANEL_TOKEN_READY : SPINPANEL_TOKEN_WAIT;
}

bool
spinpanel_token_wants_check(SpinpanelToken *token)
{
	return token->stopped || token->unsaved != NULL ||
		   ((token->eager || token->code_waits) && !token->fetching);
}

const char *
spinpanel_token_header(SpinpanelToken *token)
{
	return token->header;
}

uint32
spinpanel_token_generation(SpinpanelToken *token)
{
	return token->generation;
}

void
spinpanel_token_refused(SpinpanelToken *token, uint32 generation, int64 now_ms)
{
	if (token->header == NULL || generation != token->generation)
		return; /* another answer said so before */
	drop_header(token);

	/* However many calls are refused, the token endpoint is asked once a second. */
	if (real_ms() - token->fetch_began < REFUSED_PAUSE_MS)
	{
		token->paused_until = now_ms + REFUSED_PAUSE_MS;
		token->retry_at = Max(token->retry_at, token->paused_until);
	}
}

int64
spinpanel_token_paused_until(SpinpanelToken *token)
{
	return token->paused_until;
}

void
spinpanel_token_stop(SpinpanelToken *token, const char *code, const char *reason, int64 now_ms)
{
	if (token->stopped)
		return;
	if (now_ms - token->refused_at > 2 * STOPPED_RETRY_MAX_MS)
		token->refusals = 0;
	token->refusals++;
	token->refused_at = now_ms;
	stop(token, code, reason, now_ms);
}

const char *
spinpanel_token_error(SpinpanelToken *token)
{
	return token->error;
}

const char *
spinpanel_token_error_code(SpinpanelToken *token)
{
	return token->error_code;
}

bool
spinpanel_token_appears_in(SpinpanelToken *token, const char *text)
{
	SpinpanelCredential credential;
	char decoded[SHOWN_MAX];
	char error[512];
	const char *access = bare(token->header);
	const char *former = bare(token->former);
	int sqlstate;
	int i;
	bool found;

	/* Read for it, as the secret is not kept; where it cannot be, who knows. */
	found = !spinpanel_credential_read(token->credential_file, &credential, &sqlstate, error,
									   sizeof(error));
	decode(text, decoded, sizeof(decoded));
	for (i = 0; i < 2; i++)
	{
		const char *form = i == 0 ? text : decoded;

		found |= repeats(form, access) || repeats(form, former) || repeats(form, token->tried) ||
				 repeats(form, token->verifier) || repeats(form, token->unsaved) ||
				 repeats(form, credential.client_secret) || repeats(form, credential.refresh_token);
	}
	spinpanel_credential_wipe(&credential);
	return found;
}
