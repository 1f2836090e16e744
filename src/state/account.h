/*
 * account.h
 *
 * The worker's view of table account: which accounts may act, and what must
 * survive a restart of them.
 */
#ifndef SPINPANEL_ACCOUNT_H
#define SPINPANEL_ACCOUNT_H

#include "postgres.h"

#include "partner/partner.h"

/* Reads the table, makes the accounts that may act known to the partner layer
 * and forgets the others.  In a unit of its own; false = could not. */
extern bool spinpanel_account_refresh(void);

/* The tables that memory speaks of are gone: no account is known. */
extern void spinpanel_account_forget(void);

/* The account is connected, is no copy, and its credential file readable. */
extern bool spinpanel_account_usable(int32 account_id);
/* Why not, in words; NULL where it is usable. */
extern const char *spinpanel_account_trouble(int32 account_id);

/* Ids of all accounts in the table that are not disconnected; palloc'd. */
extern int spinpanel_account_list(int32 **ids);

/* Ids of those that are usable; palloc'd.  One that is not keeps no other waiting. */
extern int spinpanel_account_usable_list(int32 **ids);

/*
 * The only place that changes the status of an account ("active", "stopped",
 * "disconnected"), in the caller's transaction.  A disconnected one becomes
 * active by being connected only.  event, if not NULL, goes into the history.
 * False: it was so already, or may not become so.
 */
extern bool spinpanel_account_turn(int32 account_id, const char *status, const char *reason,
								   const char *event, bool connecting);

/* Hooks for spinpanel_partner_start(). */
extern const PartnerHooks spinpanel_account_hooks;

#endif /* SPINPANEL_ACCOUNT_H */
