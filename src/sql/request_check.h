/*
 * request_check.h
 *
 * What a caller must know of a pool before a seat of it is asked for: may it
 * be asked for at all, and is what can be refused at once refused now?
 */
#ifndef SPINPANEL_REQUEST_CHECK_H
#define SPINPANEL_REQUEST_CHECK_H

#include "postgres.h"

#include "utils/uuid.h"

#include "decide/request_plan.h"

/* So many accounts of ours may share a customer */
#define ASKING_ACCOUNTS 16

typedef struct Asking
{
	/* found: names, settings and rules */
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	const char *customer; /* in messages: its name ... */
	const char *sku; /* ... and the part number, or the GUID */
	bool gone; /* no account lists the customer any more */
	bool purchases;
	bool auto_increment;
	bool never_assigned; /* no user gets it */
	int32 max_seats; /* -1 = no limit */
	const char *default_offer; /* these may be NULL */
	const char *term_duration;
	const char *billing_cycle;
	int32 accounts[ASKING_ACCOUNTS]; /* active, and the customer is theirs; ascending */
	int account_count;
	bool listed; /* the customer has the SKU: then tenant is known, and stays so */
	bool tenant; /* seats are not assigned to users */
	/* loaded: what Partner Center said */
	bool loaded;
	int32 account_id; /* carries requests out; 0 = none can */
	PlanPool pool; /* its subscriptions that could be bought from, and no figures */
	NeedTerms *terms; /* beside them */
	const char *suspended; /* one that somebody else suspended, or NULL */
} Asking;

/*
 * By names, as in names.h (NULL = SQL NULL).  Remembered by the session until
 * one of the tables behind it is written.  SPI must be connected.
 */
extern void spinpanel_request_check_find(Asking *asking, const char *customer, const char *sku);

/* The rest, which is never remembered. */
extern void spinpanel_request_check_load(Asking *asking);

/*
 * The same as part of a statement of the caller's, with customer $1 and SKU $2:
 * the first SELECT of a UNION ALL.  mine: its own columns there, each with a
 * comma behind; the other SELECTs end in ASKING_NOT_THIS.
 */
#define ASKING_SUBSCRIPTIONS(mine) \
	"SELECT " mine " t.account_id, t.is_trial, t.commerce, t.status, t.quantity," \
	" (SELECT o.maximum FROM spinpanel.offer o WHERE o.offer_key = t.offer_key), t.auto_renew, t.cancel_at_term," \
	" t.extended_term, t.our_end, t.our_suspension, t.auto_renew_before, t.next_other_product," \
	" t.term_duration, t.billing_cycle, t.subscription_id, t.friendly_name" \
	" FROM spinpanel.subscription t" \
	" WHERE t.customer_id = $1 AND t.sku_id = $2 AND t.gone_at IS NULL"
#define ASKING_NOT_THIS \
	" NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"

/* Takes in what such a statement has returned; before: number of its own columns. */
extern void spinpanel_request_check_take(Asking *asking, uint64 rows, int before);

/* 55000 where nobody could carry a request out. */
extern void spinpanel_request_check_require_account(const Asking *asking);

/*
 * Throws where so many more seats will not be had: 22023 (not for users),
 * 55000 (none free and none can be bought), 53400 (max_seats).  Where a limit
 * is set, others that count against it wait from here on until this
 * transaction ends.
 */
extern void spinpanel_request_check_require_seats(const Asking *asking, int32 seats);

#endif /* SPINPANEL_REQUEST_CHECK_H */
