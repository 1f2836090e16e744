/*
 * login.c
 *
 * Addresses and forms of the sign-in service.
 *
 * Token endpoint: v2 ({login_url}/{tenant}/oauth2/v2.0/token), or v1
 * ({login_url}/{tenant}/oauth2/token).  A login_url that ends with
 * /oauth2/v2.0[/token] or /oauth2[/token] decides.
 *
 * Audience: Partner Center's of the cloud that the addresses belong to.  An
 * api_url at another host (a gateway in front of Partner Center, an emulator)
 * still wants Partner Center's tokens.
 *
 * A person signs in with the authorization code flow: the code that the
 * browser brings back is worth nothing without the verifier, and the verifier
 * follows from the client secret, which no caller has.
 *
 * Must never put a code or a verifier in a message.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/address.h"
#include "base/json.h"
#include "partner/credential.h"
#include "partner/login.h"
#include "partner/seal.h"

#define GLOBAL_AUDIENCE "https://api.partnercenter.microsoft.com"
#define CHINA_AUDIENCE "https://partner.partnercenterapi.microsoftonline.cn"

#define CODE_MAX 8192

static bool
strip_suffix(const char *text, int *length, const char *suffix)
{
	int suffix_length = (int) strlen(suffix);

	if (*length < suffix_length ||
		strncmp(text + *length - suffix_length, suffix, suffix_length) != 0)
		return false;
	*length -= suffix_length;
	return true;
}

LoginVersion
spinpanel_login_version(const char *login_url, int *length)
{
	*length = (int) strlen(login_url);
	while (*length > 0 && login_url[*length - 1] == '/')
		(*length)--;
	if (strip_suffix(login_url, length, "/oauth2/v2.0/token") ||
		strip_suffix(login_url, length, "/oauth2/v2.0"))
		return LOGIN_V2;
	if (strip_suffix(login_url, length, "/oauth2/token") ||
		strip_suffix(login_url, length, "/oauth2"))
		return LOGIN_V1;
	return LOGIN_FIND_OUT;
}

bool
spinpanel_login_is_tenant(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length < 256 && text[0] != '.' &&
		   strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
						"ABCDEFGHIJKLMNOPQRSTUVWXYZ-.") == length;
}

const char *
spinpanel_login_audience(const char *api_url, const char *login_url)
{
	if (spinpanel_address_is_china(api_url) || spinpanel_address_is_china(login_url))
		return CHINA_AUDIENCE;
	return GLOBAL_AUDIENCE;
}

void
spinpanel_login_field(LoginForm *form, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t needed = form->length + strlen(name) + 3 * strlen(value) + 3;
	const char *c;
	char *at;

	if (needed > form->size)
	{
		char *larger = palloc(needed * 2);

		if (form->text != NULL)
		{
			memcpy(larger, form->text, form->length);
			explicit_bzero(form->text, form->length);
			pfree(form->text);
		}
		form->text = larger;
		form->size = needed * 2;
	}
	at = form->text + form->length;
	if (form->length > 0)
		*at++ = '&';
	for (c = name; *c != '\0'; c++)
		*at++ = *c;
	*at++ = '=';
	for (c = value; *c != '\0'; c++)
	{
		unsigned char byte = (unsigned char) *c;

		if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
			(byte >= 'A' && byte <= 'Z') || strchr("-._~", byte) != NULL)
			*at++ = byte;
		else
		{
			*at++ = '%';
			*at++ = hex[byte >> 4];
			*at++ = hex[byte & 15];
		}
	}
	*at = '\0';
	form->length = at - form->text;
}

void
spinpanel_login_wipe(LoginForm *form)
{
	if (form->text != NULL)
	{
		explicit_bzero(form->text, form->length);
		pfree(form->text);
	}
	memset(form, 0, sizeof(*form));
}

/* ---- signing in ---------------------------------------------------------------- */

char *
spinpanel_login_about(const LoginAccount *account, const char *what)
{
	return psprintf("spinpanel 1|%s|%d|%s|%s", what, account->account_id, account->tenant_id,
					account->client_id);
}

char *
spinpanel_login_verifier(const LoginAccount *account, const char *client_secret, const char *state)
{
	return spinpanel_derive(client_secret, spinpanel_login_about(account, "verifier"), state);
}

char *
spinpanel_login_address(const LoginAccount *account, const char *state, const char *verifier)
{
	const char *audience = spinpanel_login_audience(account->api_url, account->login_url);
	char *challenge = spinpanel_digest(verifier);
	LoginForm form = { 0 };
	int length;
	bool v1 = spinpanel_login_version(account->login_url, &length) == LOGIN_V1;
	char *address;

	if (challenge == NULL)
		return NULL;
	spinpanel_login_field(&form, "client_id", account->client_id);
	spinpanel_login_field(&form, "response_type", "code");
	spinpanel_login_field(&form, "redirect_uri", LOGIN_REDIRECT);
	spinpanel_login_field(&form, "response_mode", "query");
	if (v1)
		spinpanel_login_field(&form, "resource", audience);
	else
		spinpanel_login_field(&form, "scope", psprintf("%s/.default offline_access", audience));
	spinpanel_login_field(&form, "state", state);
	spinpanel_login_field(&form, "code_challenge", challenge);
	spinpanel_login_field(&form, "code_challenge_method", "S256");
	/* Not whoever happens to be signed in in that browser. */
	spinpanel_login_field(&form, "prompt", "select_account");
	address = psprintf("%.*s/%s/oauth2/%sauthorize?%s", length, account->login_url,
					   account->tenant_id, v1 ? "" : "v2.0/", form.text);
	pfree(form.text);
	return address;
}

/* The value of a parameter of a query, decoded; NULL = it is not there. */
static char *
parameter(const char *query, size_t query_length, const char *name)
{
	size_t name_length = strlen(name);
	const char *end = query + query_length;
	const char *at = query;
	char digits[3] = { 0 };

	while (at < end)
	{
		const char *stop = memchr(at, '&', end - at);

		if (stop == NULL)
			stop = end;
		if ((size_t) (stop - at) > name_length && strncmp(at, name, name_length) == 0 &&
			at[name_length] == '=')
		{
			char *value = palloc0(stop - at + 1);
			char *to = value;

			for (at += name_length + 1; at < stop; at++)
			{
				if (at[0] == '%' && stop - at > 2 && isxdigit((unsigned char) at[1]) &&
					isxdigit((unsigned char) at[2]))
				{
					memcpy(digits, at + 1, 2);
					*to = (char) strtol(digits, NULL, 16);
					at += 2;
				}
				else
					*to = *at == '+' ? ' ' : *at;
				/* Nothing that could break a line, and no end within */
				if ((unsigned char) *to < 0x20 || (unsigned char) *to >= 0x7f)
					*to = '?';
				to++;
			}
			return value;
		}
		at = stop + 1;
	}
	return NULL;
}

static bool
is_code(const char *text)
{
	size_t length = strlen(text);
	size_t i;

	for (i = 0; i < length; i++)
		if ((unsigned char) text[i] <= 0x20 || (unsigned char) text[i] >= 0x7f)
			return false;
	return length >= 16 && length <= CODE_MAX;
}

bool
spinpanel_login_parse(const char *text, LoginAnswer *answer)
{
	const char *query;
	size_t length;

	memset(answer, 0, sizeof(*answer));
	while (isspace((unsigned char) *text))
		text++;
	length = strcspn(text, " \t\r\n");
	if (text[length + strspn(text + length, " \t\r\n")] != '\0')
		return false; /* more than one word */

	query = memchr(text, '?', length);
	if (query == NULL)
	{
		answer->code = pnstrdup(text, length);
		return strchr(answer->code, '/') == NULL && strchr(answer->code, '=') == NULL &&
			   is_code(answer->code);
	}
	query++;
	length = strcspn(query, "# \t\r\n");
	answer->code = parameter(query, length, "code");
	answer->state = parameter(query, length, "state");
	answer->error = parameter(query, length, "error");
	answer->description = parameter(query, length, "error_description");
	return answer->error != NULL || (answer->code != NULL && is_code(answer->code));
}

/* The payload of a JSON web token, decoded; NULL = it is none.  palloc'd. */
static char *
payload(const char *token, size_t *length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *at = strchr(token, '.');
	uint32 bits = 0;
	int count = 0;
	char *text;

	if (at == NULL)
		return NULL;
	text = palloc0(strlen(at));
	*length = 0;
	for (at++; *at != '.'; at++)
	{
		const char *digit = *at != '\0' ? strchr(digits, *at) : NULL;

		if (digit == NULL)
			return NULL;
		bits = (bits << 6) | (uint32) (digit - digits);
		count += 6;
		if (count >= 8)
		{
			count -= 8;
			text[(*length)++] = (char) (bits >> count);
		}
	}
	return text;
}

bool
spinpanel_login_lacks_mfa(const char *access_token)
{
	size_t length;
	char *text = payload(access_token, &length);
	Jsonb *json = text != NULL ? spinpanel_json_parse(text, length) : NULL;
	JsonbValue *methods;
	JsonbValue mfa;

	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return false;
	methods = getKeyJsonValueFromContainer(&json->root, "amr", 3, NULL);
	if (methods == NULL || methods->type != jbvBinary ||
		!JsonContainerIsArray(methods->val.binary.data))
		return false;
	mfa.type = jbvString;
	mfa.val.string.val = "mfa";
	mfa.val.string.len = 3;
	return findJsonbValueFromContainer(methods->val.binary.data, JB_FARRAY, &mfa) == NULL;
}
