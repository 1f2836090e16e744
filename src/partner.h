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

#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum PartnerPriority
{
	PARTNER_URGENT,				/* requests of people, restoring operations */
	PARTNER_CHANGE,				/* other mutating calls and their own reads */
	PARTNER_READ				/* everything else */
} PartnerPriority;

typedef enum PartnerOutcome
{
	PARTNER_OK,					/* 200, 201, 204 with a whole body */
	PARTNER_ACCEPTED,			/* 202: look again later */
	PARTNER_NOT_SENT,			/* no connection, no token yet: not carried out */
	PARTNER_THROTTLED,			/* 429: not carried out, wait */
	PARTNER_CONFLICT,			/* 409 and its kin: not carried out, wait */
	PARTNER_STALE,				/* 412 or 2055: read anew and decide again */
	PARTNER_NO_ACCESS,			/* 401 or 403: this customer, role or token kind */
	PARTNER_NOT_FOUND,			/* 404 */
	PARTNER_REFUSED,			/* any other 4xx: a business "no" */
	PARTNER_UNAVAILABLE,		/* 503: busy; reads may be repeated, changes are
								 * to be looked up first */
	PARTNER_UNKNOWN,			/* time-out, reset, 5xx, unusable answer: may have
								 * been carried out */
	PARTNER_ACCOUNT_STOPPED		/* credentials refused: a person is needed */
} PartnerOutcome;

typedef struct PartnerAnswer
{
	PartnerOutcome outcome;
	int			http_status;
	char		error_code[32]; /* Partner Center's code or OAuth's error; "" */
	char		error[512];		/* in words, no secrets */
	long		retry_after;	/* seconds; -1 = none */
	const char *body;			/* NUL-terminated, without BOM; valid during the
								 * callback */
	size_t		body_length;
	const char *continuation_token; /* from the header; NULL = none */
	TimestampTz started_at;		/* when the request left us (real clock) */
} PartnerAnswer;

typedef void (*PartnerDone) (void *arg, const PartnerAnswer *answer);

typedef struct PartnerCall
{
	const char *method;
	const char *path;			/* after /v1, begins with a slash */
	const char *body;			/* NULL = none */
	const char *if_match;		/* NULL or "" = none */
	const char *continuation_token; /* NULL = none */
	const pg_uuid_t *request_id;	/* NULL = a fresh one */
	const pg_uuid_t *correlation_id;	/* NULL = a fresh one */
	PartnerPriority priority;
	PartnerDone done;
	void	   *arg;
} PartnerCall;

/* What must outlive the process, done by the layer that owns the tables. */
typedef struct PartnerHooks
{
	/* The newest refresh token; may open its own transaction. */
	void		(*store_refresh_token) (int32 account_id, const char *token);
	/* Stored refresh token, palloc'd, or NULL; may open its own transaction. */
	char	   *(*load_refresh_token) (int32 account_id);
	/* Credentials were refused, or accepted again after that. */
	void		(*account_stopped) (int32 account_id, const char *code,
									const char *reason);
	/* A token was obtained: "app" or "app+user" access. */
	void		(*account_connected) (int32 account_id, const char *access);
} PartnerHooks;

typedef struct PartnerSettings
{
	int32		account_id;
	const char *name;
	const char *tenant_id;
	const char *client_id;
	const char *credential_file;
	const char *api_url;
	const char *login_url;
	int			requests_per_minute;
	int			max_concurrency;
} PartnerSettings;

typedef struct PartnerAccount PartnerAccount;

extern void spinpanel_partner_start(const PartnerHooks *hooks);
/* Creates the account or takes over changed settings. */
extern PartnerAccount *spinpanel_partner_account(const PartnerSettings *settings);
extern PartnerAccount *spinpanel_partner_find(int32 account_id);
/* Forgets the account and its tokens; queued calls end as NOT_SENT. */
extern void spinpanel_partner_forget(int32 account_id);
/* Queues the call; done() comes from spinpanel_partner_work() or http's work,
 * never from inside this function. */
extern void spinpanel_partner_call(PartnerAccount *account,
								   const PartnerCall *call);
/* Starts what the limits allow.  Returns milliseconds until it should be
 * called again at the latest; -1 = only after something happened. */
extern long spinpanel_partner_work(void);
/* Calls queued or under way for the account (all accounts: NULL). */
extern int	spinpanel_partner_pending(PartnerAccount *account);
/* Calls sent since start, for run.requests and pg_stat-like views. */
extern int64 spinpanel_partner_sent(PartnerAccount *account);

#endif							/* SPINPANEL_PARTNER_H */
