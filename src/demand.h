/*
 * demand.h
 *
 * What a caller must know of a pool before a seat of it is asked for: may it
 * be asked for at all, and is what can be refused at once refused now?
 */
#ifndef SPINPANEL_DEMAND_H
#define SPINPANEL_DEMAND_H

#include "postgres.h"

#include "utils/uuid.h"

typedef struct Demand
{
	pg_uuid_t customer_id;
	pg_uuid_t sku_id;
	char *customer; /* in messages: its name ... */
	char *sku; /* ... and the part number, or the GUID */
	int32 account_id; /* carries requests out; 0 = none can */
	bool gone; /* no account lists the customer any more */
	bool purchases;
	bool auto_increment;
	bool tenant; /* seats are not assigned to users */
	bool never_assigned;
	int32 max_seats; /* -1 = no limit */
	bool source; /* there is a way to buy a seat */
	const char *no_source; /* else why not ... */
	const char *remedy; /* ... and what helps */
} Demand;

/* One statement; SPI must be connected, strings are in context. */
extern void spinpanel_demand_load(Demand *demand, const pg_uuid_t *customer_id,
								  const pg_uuid_t *sku_id, MemoryContext context);

/* 55000 where nobody could carry a request out. */
extern void spinpanel_demand_require_account(const Demand *demand);

/*
 * Throws where so many more seats will not be had: 22023 (not for users),
 * 55000 (none free and none can be bought), 53400 (max_seats).  Where a limit
 * is set, others that count against it wait from here on until this
 * transaction ends.
 */
extern void spinpanel_demand_require_seats(const Demand *demand, int32 seats);

#endif /* SPINPANEL_DEMAND_H */
