/*
 * names.h
 *
 * People name customers and SKUs by text; the tables know GUIDs.  All
 * functions throw: 22004 for NULL, 22023 for an ambiguous name (the detail
 * lists the candidates), P0002 for an unknown one.  They may be called in or
 * outside of an SPI connection, and read with the rights of the current user.
 */
#ifndef SPINPANEL_NAMES_H
#define SPINPANEL_NAMES_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"

/*
 * GUID, domain or company name; case does not matter.  A customer that is
 * still listed goes before others of the name.  text NULL = SQL NULL;
 * parameter is named in messages.  Where star is allowed, false = '*': all.
 */
extern bool spinpanel_name_customer(const char *text, bool star, const char *parameter,
									pg_uuid_t *customer_id);

/*
 * GUID or part number (SPE_E3); case does not matter.  customer_id (NULL =
 * none) decides between SKUs that share a part number.  unseen lets a GUID
 * pass that no customer has a SKU of: one can be bought that nobody has yet.
 */
extern bool spinpanel_name_sku(const pg_uuid_t *customer_id, const char *text, bool star,
							   bool unseen, const char *parameter, pg_uuid_t *sku_id);

/*
 * A user: the GUID (*guid, *user_id; the result is NULL), or the upn without
 * blanks around it.  Only the text is looked at: a user may have been made a
 * minute ago.
 */
extern char *spinpanel_name_user(const char *text, const char *parameter, bool *guid,
								 pg_uuid_t *user_id);

/* Longer than any userPrincipalName (64 + 1 + 48 characters); in bytes */
#define NAME_USER_LENGTH 256

/* An account by name (exact); NULL and unknown ones throw. */
extern int32 spinpanel_name_account(const char *text, const char *parameter);

/* The argument as a C string in the current context; NULL = SQL NULL. */
extern char *spinpanel_name_argument(FunctionCallInfo fcinfo, int number);

/* Text is a GUID in one of the spellings that type uuid takes. */
extern bool spinpanel_name_is_guid(const char *text, pg_uuid_t *id);

#endif /* SPINPANEL_NAMES_H */
