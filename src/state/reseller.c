/*
 * reseller.c
 *
 * See reseller.h.  Reads the mirror of subscriptions; writes nothing.
 */
#include "postgres.h"

#include "state/reseller.h"
#include "state/statement.h"

bool
spinpanel_reseller_of(int32 account_id, const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
					  char **reseller, MemoryContext context)
{
	static StateQuery select = {
		"SELECT s.partner_id FROM spinpanel.subscription s WHERE s.account_id = $1 AND s.customer_id = $2"
		" AND s.partner_id <> '' ORDER BY (s.sku_id = $3) DESC NULLS LAST, (s.status = 'active') DESC,"
		" s.created_at DESC NULLS LAST LIMIT 1",
		"iuu", NULL
	};
	static StateQuery indirect = {
		"SELECT 1 FROM spinpanel.subscription s WHERE s.account_id = $1 AND s.partner_id <> '' LIMIT 1",
		"i", NULL
	};
	StateArg args[3];

	*reseller = NULL;
	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_uuid(customer_id);
	args[2] = spinpanel_arg_uuid(sku_id);
	if (spinpanel_state_run(&select, args, 0) > 0)
	{
		*reseller = spinpanel_row_text(0, 1, context);
		return true;
	}
	return spinpanel_state_run(&indirect, args, 0) == 0;
}
