/*
 * sign_in.c
 *
 * sign_in_url() and sign_in(): a person of the partner signs in in a browser,
 * and what the browser ends at is handed to the worker, which trades it for a
 * refresh token.
 *
 * Nothing that is stored or shown here is of use to anybody else.  The verifier
 * of PKCE is not stored: it follows from the client secret and the state.  The
 * code is stored encrypted (partner/seal.h), is good once and for minutes, and
 * never without the verifier.  Must never quote an answer in a message.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/settings.h"
#include "base/wake.h"
#include "partner/credential.h"
#include "partner/login.h"
#include "partner/seal.h"
#include "sql/names.h"
#include "sql/require.h"
#include "state/history.h"
#include "state/statement.h"

/* A person may take a while, and then the code itself is good for ten minutes. */
#define SIGN_IN_HOURS 24

/* The account, and its client secret, which has to be wiped.  In SPI. */
static LoginAccount
open_account(int32 account_id, char **client_secret)
{
	static StateQuery select = {
		"SELECT tenant_id::text, client_id, api_url, login_url, credential_file, status, name"
		" FROM spinpanel.account WHERE account_id = $1",
		"i", NULL
	};
	StateArg args[1];
	LoginAccount account;
	SpinpanelCredential credential;
	const char *problem;
	char error[1024];
	int sqlstate = ERRCODE_INTERNAL_ERROR;

	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_state_run(&select, args, 1) != 1)
		elog(ERROR, "account %d vanished", account_id);
	account.account_id = account_id;
	account.tenant_id = spinpanel_row_text(0, 1, CurrentMemoryContext);
	account.client_id = spinpanel_row_text(0, 2, CurrentMemoryContext);
	account.api_url = spinpanel_row_text(0, 3, CurrentMemoryContext);
	account.login_url = spinpanel_row_text(0, 4, CurrentMemoryContext);
	if (strcmp(spinpanel_row_text(0, 6, CurrentMemoryContext), "disconnected") == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("account \"%s\" is disconnected",
							   spinpanel_row_text(0, 7, CurrentMemoryContext)),
						errhint("Call spinpanel.connect_account() first.")));
	if (!spinpanel_address_allowed(account.login_url, spinpanel_allowed_hosts, &problem))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the account's login_url cannot be used: %s", problem)));
	if (!spinpanel_credential_read(spinpanel_row_text(0, 5, CurrentMemoryContext), &credential,
								   &sqlstate, error, sizeof(error)))
		ereport(ERROR, (errcode(sqlstate), errmsg("%s", error)));
	*client_secret = credential.client_secret;
	credential.client_secret = NULL;
	spinpanel_credential_wipe(&credential);
	return account;
}

static void
record(const char *event, int32 account_id)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = account_id;
	spinpanel_history_add(&entry);
}

static void
no_library(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR), errmsg("the cryptographic library refused to work")));
}

/* spinpanel.sign_in_url(name text) text */
PG_FUNCTION_INFO_V1(spinpanel_sign_in_url);

Datum
spinpanel_sign_in_url(PG_FUNCTION_ARGS)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.sign_in (account_id, state, asked_at) VALUES ($1, $2, $3)"
		" ON CONFLICT (account_id) DO UPDATE SET state = excluded.state, asked_at = excluded.asked_at,"
		" asked_by = session_user, code = NULL, given_at = NULL, outcome = NULL",
		"itT", NULL
	};
	MemoryContext caller = CurrentMemoryContext;
	StateArg args[3];
	LoginAccount account;
	int32 account_id;
	char *client_secret;
	char *state;
	char *verifier;
	char *address = NULL;
	text *answer;

	spinpanel_require_primary();
	account_id = spinpanel_name_account(spinpanel_name_argument(fcinfo, 0), "name");

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	account = open_account(account_id, &client_secret);
	state = spinpanel_random_text();
	verifier = state != NULL ? spinpanel_login_verifier(&account, client_secret, state) : NULL;
	spinpanel_wipe_text(client_secret);
	if (verifier != NULL)
		address = spinpanel_login_address(&account, state, verifier);
	spinpanel_wipe_text(verifier);
	if (address == NULL)
		no_library();

	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_text(state);
	args[2] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&upsert, args, 0);
	record("sign-in begun", account_id);
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text(address);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}

static void
refuse(const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("Open the address of a new SELECT spinpanel.sign_in_url(name), sign in, and "
					 "give the whole address at which the browser ends (the page itself cannot be "
					 "shown).")));
}

/* spinpanel.sign_in(name text, answer text) int */
PG_FUNCTION_INFO_V1(spinpanel_sign_in);

Datum
spinpanel_sign_in(PG_FUNCTION_ARGS)
{
	static StateQuery select = { "SELECT state, code IS NOT NULL OR outcome IS NOT NULL, asked_at"
								 " FROM spinpanel.sign_in WHERE account_id = $1 FOR UPDATE",
								 "i", NULL };
	static StateQuery update = {
		"UPDATE spinpanel.sign_in SET code = $2, given_at = $3 WHERE account_id = $1", "iBT", NULL
	};
	StateArg args[3];
	LoginAccount account;
	LoginAnswer answer;
	TimestampTz now = spinpanel_now();
	int32 account_id;
	char *given = spinpanel_name_argument(fcinfo, 1);
	char *client_secret;
	char *state;
	char *code = NULL;
	bytea *sealed;
	bool over;

	spinpanel_require_primary();
	spinpanel_require_worker();
	account_id = spinpanel_name_account(spinpanel_name_argument(fcinfo, 0), "name");
	spinpanel_require_value(given != NULL, "answer");

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		refuse("nobody has asked for a sign-in of this account", NULL);
	state = spinpanel_row_text(0, 1, CurrentMemoryContext);
	over = spinpanel_row_bool(0, 2);
	if (spinpanel_row_time(0, 3, 0) < now - SIGN_IN_HOURS * USECS_PER_HOUR)
		over = true;
	if (!spinpanel_login_parse(given, &answer))
		refuse("the answer is neither an address with a code nor a code", NULL);
	if (answer.error != NULL)
		refuse("the sign-in was not completed",
			   psprintf("%.100s: %.500s", answer.error,
						answer.description ? answer.description : "no description"));
	if (strstr(given, "?") != NULL && (answer.state == NULL || strcmp(answer.state, state) != 0))
		refuse("the answer belongs to another sign-in", NULL);
	if (over)
		refuse("that sign-in is over", NULL);
	code = answer.code;

	account = open_account(account_id, &client_secret);
	sealed = spinpanel_seal(client_secret, spinpanel_login_about(&account, "code"), code);
	spinpanel_wipe_text(client_secret);
	spinpanel_wipe_text(code);
	if (sealed == NULL)
		no_library();
	args[1] = spinpanel_arg_datum(PointerGetDatum(sealed));
	args[2] = spinpanel_arg_time(now);
	spinpanel_state_run(&update, args, 0);
	record("sign-in answered", account_id);
	SPI_finish();
	spinpanel_wake_at_commit();
	PG_RETURN_INT32(account_id);
}
