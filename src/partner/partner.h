/*
 * partner.h
 *
 * Calls to Partner Center for one account: address, headers, token, rate and
 * concurrency limits, and what an answer means.  It keeps no tables: what must
 * survive a restart is handed to the hooks.  It never repeats a call that may
 * have been carried out.
 */
#ifndef SPINPANEL_PARTNER_H
#define SPINPANEL_PARTNER_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define PARTNER_DIGEST 16

typedef enum PartnerPriority
{
	PARTNER_URGENT, /* requests of people, restoring operations */
	PARTNER_CHANGE, /* other mutating calls and their own reads */
	PARTNER_READ /* everything else */
} PartnerPriority;

typedef enum PartnerOutcome
{
	PARTNER_OK, /* 200, 201, 204 with a whole body */
	PARTNER_ACCEPTED, /* 202: look again later */
	PARTNER_NOT_SENT, /* no connection, no token yet: not carried out */
	PARTNER_THROTTLED, /* 429: not carried out, wait */
	PARTNER_CONFLICT, /* 409 and its kin: not carried out, wait */
	PARTNER_STALE, /* 412 or 2055: read anew and decide again */
	PARTNER_NO_ACCESS, /* 401 or 403: this customer, role or token kind */
	PARTNER_NOT_FOUND, /* 404 */
	PARTNER_REFUSED, /* any other 4xx: a business "no" */
	PARTNER_UNAVAILABLE, /* 503: busy; reads may be repeated, changes are
								 * to be looked up first */
	PARTNER_UNKNOWN, /* time-out, reset, 5xx, unusable answer: may have
								 * been carried out */
	PARTNER_ACCOUNT_STOPPED /* credentials refused: a person is needed */
} PartnerOutcome;

typedef struct PartnerAnswer
{
	PartnerOutcome outcome;
	int http_status;
	char error_code[32]; /* Partner Center's code or OAuth's error; "" */
	char error[512]; /* in words, no secrets */
	long retry_after; /* seconds; -1 = none */
	const char *body; /* NUL-terminated, without BOM; valid during the
								 * callback */
	size_t body_length;
	unsigned char digest[PARTNER_DIGEST]; /* of the body of a read */
	bool unchanged; /* the body is the known one: it was not parsed */
	Jsonb *json; /* the body parsed, also an error's; NULL = it is
								 * no JSON; valid during the callback */
	const char *continuation_token; /* from the header; NULL = none; json has it, too */
	const char *location; /* of a 202 or 201; NULL = none */
	TimestampTz started_at; /* when the request left us (real clock);
								 * 0 = it did not */
} PartnerAnswer;

/*
 * Called with a short-lived memory context as the current one.  May queue
 * other calls, open transactions and throw; must not call
 * spinpanel_partner_work() or spinpanel_http_work().
 */
typedef void (*PartnerDone)(void *arg, const PartnerAnswer *answer);

typedef struct PartnerCall
{
	const char *method;
	const char *path; /* after /v1, begins with a slash; encoded */
	const char *body; /* NULL = none */
	const char *if_match; /* ETag, quoted or not; NULL or "" = none */
	const char *continuation_token; /* NULL = none */
	const pg_uuid_t *request_id; /* NULL = a fresh one */
	const pg_uuid_t *correlation_id; /* NULL = a fresh one */
	const unsigned char *known_digest; /* of a whole body had before; NULL = none */
	PartnerPriority priority;
	PartnerDone done;
	void *arg;
} PartnerCall;

/*
 * What must outlive the process, done by the layer that owns the tables; each
 * may open a transaction of its own.  Called outside of any transaction, from spinpanel_partner_work() and
 * spinpanel_http_work(); must not call back into this layer.
 */
typedef struct PartnerHooks
{
	/* The newest refresh token, encrypted; signed_in: a person signed in for it,
	 * it (or one before it) does not come from the file. */
	void (*store_refresh_token)(int32 account_id, const bytea *sealed, bool signed_in);
	/*
	 * What was stored, palloc'd, or NULL.  False: it cannot be told now whether
	 * there is one.
	 */
	bool (*load_refresh_token)(int32 account_id, bytea **sealed, bool *signed_in);
	/* The code that a person brought from the sign-in page, encrypted, and the
	 * state that it belongs to, palloc'd.  False: there is none. */
	bool (*load_sign_in)(int32 account_id, char **state, bytea **code);
	/* The code was traded (reason NULL), or was no good. */
	void (*sign_in_over)(int32 account_id, const char *reason);
	/*
	 * Credentials were refused, for a reason that waiting does not end.  Called
	 * again when a later try (after minutes to an hour, or when the credential
	 * file changed) was refused as well; account_connected says that it is over.
	 */
	void (*account_stopped)(int32 account_id, const char *code, const char *reason);
	/* A token was obtained: "app" or "app+user" access. */
	void (*account_connected)(int32 account_id, const char *access);
} PartnerHooks;

typedef struct PartnerSettings
{
	int32 account_id;
	const char *name;
	const char *tenant_id;
	const char *client_id;
	const char *credential_file;
	const char *api_url;
	const char *login_url;
	int requests_per_minute;
	int max_concurrency;
	bool code_waits; /* somebody signed in: hook load_sign_in has the code */
} PartnerSettings;

typedef struct PartnerAccount PartnerAccount;

extern void spinpanel_partner_start(const PartnerHooks *hooks);
/*
 * Creates the account or takes over changed settings; harmless to repeat, also
 * within a transaction.  A new account, or one whose address or credentials
 * changed, gets its token at the next spinpanel_partner_work(), so that a hook
 * soon says whether it works.
 */
extern PartnerAccount *spinpanel_partner_account(const PartnerSettings *settings);
extern PartnerAccount *spinpanel_partner_find(int32 account_id);
/* Somebody says that the credentials are repaired: tries them again at once. */
extern void spinpanel_partner_retry(PartnerAccount *account);
/* Forgets the account and its tokens (the pointer stays valid, and is the same
 * again should the account come back); queued calls end as NOT_SENT. */
extern void spinpanel_partner_forget(int32 account_id);
/* Queues the call; done() comes from spinpanel_partner_work() or http's work,
 * never from inside this function. */
extern void spinpanel_partner_call(PartnerAccount *account, const PartnerCall *call);
/*
 * Ends what cannot be sent and starts what the limits allow.  Returns
 * milliseconds until it should be called again at the latest; -1 = only after
 * something happened: a call was queued or spinpanel_http_work() was called.
 */
extern long spinpanel_partner_work(void);
/* Calls queued or under way for the account (all accounts: NULL). */
extern int spinpanel_partner_pending(PartnerAccount *account);
/* Calls sent since start, for run.requests and pg_stat-like views. */
extern int64 spinpanel_partner_sent(PartnerAccount *account);

#endif /* SPINPANEL_PARTNER_H */
