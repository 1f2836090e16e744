/*
 * fuzz_partner.c
 *
 * Answers of Partner Center: the first byte chooses a status, the rest is the
 * body.  The file under test is part of this one.
 */
#include "partner/partner.c"

#include "fuzz.h"

static const PartnerAnswer *asked_about;

static void
judge(void *arg, const PartnerAnswer *answer)
{
	asked_about = answer;
	REQUIRE(answer->outcome >= PARTNER_OK && answer->outcome <= PARTNER_ACCOUNT_STOPPED);
	spinpanel_fuzz_shown(answer->error, sizeof(answer->error));
	spinpanel_fuzz_shown(answer->error_code, sizeof(answer->error_code));
	REQUIRE(strstr(answer->error, FUZZ_SECRET) == NULL &&
			strstr(answer->error, FUZZ_TOKEN) == NULL);
	if (answer->json != NULL)
	{
		char *token = spinpanel_json_next_page(&answer->json->root);

		/* What the header says of a further page has to reach whoever reads the body. */
		REQUIRE(answer->continuation_token == NULL || answer->http_status != 200 || token != NULL ||
				!JB_ROOT_IS_OBJECT(answer->json));
	}
	/* What a change did is not known until somebody says so. */
	REQUIRE(answer->outcome != PARTNER_OK || answer->http_status / 100 == 2);
}

void
spinpanel_fuzz_error(const char *text, size_t length)
{
	static const int statuses[] = { 200, 201, 202, 204, 302, 400, 401, 403,
									404, 408, 409, 412, 429, 500, 503, 505 };
	static PartnerAccount *account = NULL;
	SpinpanelHttpAnswer http = { 0 };
	PartnerCall call = { 0 };
	int choice = length > 0 ? (unsigned char) text[0] : 0;
	Call *made;

	if (account == NULL)
	{
		static const PartnerHooks none = { 0 };
		PartnerSettings settings = { 0 };

		spinpanel_partner_start(&none);
		settings.account_id = 1;
		settings.name = "fuzz";
		settings.tenant_id = "11111111-1111-1111-1111-111111111111";
		settings.client_id = "client";
		settings.credential_file = spinpanel_fuzz_file();
		settings.api_url = "http://127.0.0.1:1";
		settings.login_url = "http://127.0.0.1:1";
		settings.requests_per_minute = 500;
		settings.max_concurrency = 8;
		account = spinpanel_partner_account(&settings);
	}
	if (length > 0)
	{
		text++;
		length--;
	}
	call.method = (choice & 16) != 0 ? "PATCH" : "GET";
	call.path = "/customers";
	call.done = judge;
	spinpanel_partner_call(account, &call);
	made = dlist_container(Call, node, dlist_pop_head_node(&account->queue[call.priority]));
	account->queued--;
	account->active++;
	made->repeated_after_401 = true;

	http.outcome = SPINPANEL_HTTP_ANSWERED;
	http.status = statuses[choice & 15];
	http.body = text;
	http.body_length = length;
	http.retry_after = (choice & 32) != 0 ? 3 : -1;
	http.continuation_token = (choice & 64) != 0 ? "a page" : NULL;
	http.error = "";
	on_http_answer(made, &http);
	account->stop_wanted = false;
}
