/*
 * token.h
 *
 * Access tokens of one account: obtained before they are needed, by one
 * request at a time, kept in this process only.
 */
#ifndef SPINPANEL_TOKEN_H
#define SPINPANEL_TOKEN_H

#include "postgres.h"

#include "partner/partner.h"

typedef struct SpinpanelToken SpinpanelToken;

typedef enum SpinpanelTokenState
{
	SPINPANEL_TOKEN_READY, /* there is one, use it */
	SPINPANEL_TOKEN_WAIT, /* being fetched, or its next try lies ahead */
	SPINPANEL_TOKEN_STOPPED /* refused for good; a person is needed */
} SpinpanelTokenState;

extern SpinpanelToken *spinpanel_token_create(const PartnerSettings *settings,
											  const PartnerHooks *hooks);
/* Takes over settings; forgets the token where they are about it. */
extern void spinpanel_token_configure(SpinpanelToken *token, const PartnerSettings *settings);
/* Wipes it; an answer that is still under way is thrown away. */
extern void spinpanel_token_forget(SpinpanelToken *token);

/*
 * Where it stands now; starts a request where one is due.  May call hooks, so
 * never in a transaction.  *wait: milliseconds until it should be asked again
 * at the latest (-1 = when the request that is under way has ended).
 */
extern SpinpanelTokenState spinpanel_token_check(SpinpanelToken *token, int64 now_ms, long *wait);
/* Whether it should be checked although no call waits for it. */
extern bool spinpanel_token_wants_check(SpinpanelToken *token);

/* "Authorization: Bearer ..." while READY; never log it. */
extern const char *spinpanel_token_header(SpinpanelToken *token);
/* Which token that is: grows with each one obtained. */
extern uint32 spinpanel_token_generation(SpinpanelToken *token);
/* Partner Center answered 401 to that token: get another one. */
extern void spinpanel_token_refused(SpinpanelToken *token, uint32 generation, int64 now_ms);
/* Monotonic ms: after a refusal no other token is asked for until then; 0 = never refused. */
extern int64 spinpanel_token_paused_until(SpinpanelToken *token);
/* Partner Center refuses whatever token we get: stop the account. */
extern void spinpanel_token_stop(SpinpanelToken *token, const char *code, const char *reason,
								 int64 now_ms);
/* Ends the stop, if any, and tries again: somebody says it is repaired. */
extern void spinpanel_token_retry(SpinpanelToken *token);
/* Why it is stopped, or why there is no token yet; "" = nothing is wrong. */
extern const char *spinpanel_token_error(SpinpanelToken *token);
extern const char *spinpanel_token_error_code(SpinpanelToken *token);
/*
 * Whether a text from the network, as short as it is to be shown, repeats a
 * part of the token, the client secret or a refresh token.
 */
extern bool spinpanel_token_appears_in(SpinpanelToken *token, const char *text);

#endif /* SPINPANEL_TOKEN_H */
