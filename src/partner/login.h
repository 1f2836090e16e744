/*
 * login.h
 *
 * The sign-in service: where it is, what is asked of it, and what a browser
 * brings back from it.  Text in, text out.
 */
#ifndef SPINPANEL_LOGIN_H
#define SPINPANEL_LOGIN_H

#include "postgres.h"

typedef enum LoginVersion
{
	LOGIN_FIND_OUT, /* v2, else v1 */
	LOGIN_V1,
	LOGIN_V2
} LoginVersion;

/* Which version the address decides for; *length: of the address without that. */
extern LoginVersion spinpanel_login_version(const char *login_url, int *length);
/* A tenant goes into the path: a GUID or a domain, nothing else. */
extern bool spinpanel_login_is_tenant(const char *text);
/* Partner Center's, in the cloud that the addresses belong to. */
extern const char *spinpanel_login_audience(const char *api_url, const char *login_url);

/* A form in memory that is never moved by repalloc, which would not wipe. */
typedef struct LoginForm
{
	char *text;
	size_t length;
	size_t size;
} LoginForm;

extern void spinpanel_login_field(LoginForm *form, const char *name, const char *value);
extern void spinpanel_login_wipe(LoginForm *form);

/* ---- signing in -------------------------------------------------------------- */

#define LOGIN_REDIRECT "http://localhost"

typedef struct LoginAccount
{
	int32 account_id;
	const char *tenant_id;
	const char *client_id;
	const char *api_url;
	const char *login_url;
} LoginAccount;

/* For seal.h: what it is ("refresh token", "code"), and whose.  palloc'd. */
extern char *spinpanel_login_about(const LoginAccount *account, const char *what);

/*
 * PKCE.  The verifier follows from the client secret and the state, so that
 * it need not be kept anywhere.  palloc'd; wipe it.
 */
extern char *spinpanel_login_verifier(const LoginAccount *account, const char *client_secret,
									  const char *state);
/* The address that a person opens in a browser.  palloc'd. */
extern char *spinpanel_login_address(const LoginAccount *account, const char *state,
									 const char *verifier);

/*
 * What the browser ended at: an address, or the code alone.  Members are
 * palloc'd, decoded, and NULL where they are not there.
 */
typedef struct LoginAnswer
{
	char *code;
	char *state;
	char *error;
	char *description;
} LoginAnswer;

/* A token that says how its person signed in, and not with a second factor. */
extern bool spinpanel_login_lacks_mfa(const char *access_token);

/* False: neither an address with a code or an error, nor a code. */
extern bool spinpanel_login_parse(const char *text, LoginAnswer *answer);

#endif /* SPINPANEL_LOGIN_H */
