/*
 * reseller.h
 *
 * The reseller of record, whom an indirect provider's orders have to name.
 */
#ifndef SPINPANEL_RESELLER_H
#define SPINPANEL_RESELLER_H

#include "postgres.h"

#include "utils/uuid.h"

/*
 * The reseller of the customer's other subscriptions at that account, of the
 * youngest of the same SKU first; in context, NULL where the account has none
 * with a reseller: it sells directly.  False: it does sell through resellers, and
 * the customer's is not known.
 */
extern bool spinpanel_reseller_of(int32 account_id, const pg_uuid_t *customer_id,
								  const pg_uuid_t *sku_id, char **reseller, MemoryContext context);

#endif /* SPINPANEL_RESELLER_H */
