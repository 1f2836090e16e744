/*
 * fuzz_token.c
 *
 * Answers of the sign-in service: the first byte chooses what was asked, the
 * rest is the body.  The file under test is part of this one.
 */
#include "partner/token.c"

#include "fuzz.h"

static void
store(int32 account_id, const bytea *sealed, bool signed_in)
{
}

static bool
load(int32 account_id, bytea **sealed, bool *signed_in)
{
	*sealed = NULL;
	return true;
}

static bool
load_code(int32 account_id, char **state, bytea **code)
{
	return false;
}

static void
shown(const char *text)
{
	if (text == NULL)
		return;
	spinpanel_fuzz_shown(text, 1024);
	REQUIRE(strstr(text, FUZZ_SECRET) == NULL && strstr(text, FUZZ_TOKEN) == NULL);
}

static void
over(int32 account_id, const char *reason)
{
	shown(reason);
}

static void
stopped(int32 account_id, const char *code, const char *reason)
{
	shown(code);
	shown(reason);
}

static void
connected(int32 account_id, const char *access)
{
}

void
spinpanel_fuzz_token(const char *text, size_t length)
{
	static const int statuses[] = { 200, 200, 200, 400, 401, 404, 429, 503 };
	static const PartnerHooks to = { store, load, load_code, over, stopped, connected };
	int choice = length > 0 ? (unsigned char) text[0] : 0;
	PartnerSettings settings = { 0 };
	SpinpanelHttpAnswer http = { 0 };
	SpinpanelToken *token;
	const char *c;

	settings.account_id = 1;
	settings.name = "fuzz";
	settings.tenant_id = "11111111-1111-1111-1111-111111111111";
	settings.client_id = "client";
	settings.credential_file = spinpanel_fuzz_file();
	settings.api_url = "http://127.0.0.1:1";
	settings.login_url = "http://127.0.0.1:1";
	token = spinpanel_token_create(&settings, &to);
	token->fetching = true;
	token->trading = (choice & 8) != 0;
	if ((choice & 16) != 0 || token->trading)
		token->tried = MemoryContextStrdup(token->context, FUZZ_TOKEN);
	token->tried_file = (choice & 32) != 0;
	if (token->trading)
		token->verifier = MemoryContextStrdup(token->context, "a verifier of the fuzzer's own");
	if (length > 0)
	{
		text++;
		length--;
	}
	http.outcome = SPINPANEL_HTTP_ANSWERED;
	http.status = statuses[choice & 7];
	http.body = text;
	http.body_length = length;
	http.retry_after = -1;
	http.error = "";
	on_answer(token, &http);

	shown(token->error_code);
	shown(token->error);
	REQUIRE(!token->fetching);
	if (token->header != NULL)
	{
		for (c = token->header; *c != '\0'; c++)
			REQUIRE((unsigned char) *c >= 0x20 && (unsigned char) *c < 0x7f);
		REQUIRE(token->refresh_at <= token->expires_at);
		REQUIRE(token->expires_at <= token->fetch_began + (int64) LIFETIME_MAX_S * 1000);
	}
	spinpanel_token_forget(token);
}
