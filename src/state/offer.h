/*
 * offer.h
 *
 * Mapping of offers to the SKUs they provision.  All functions but the path
 * run inside a unit of the worker.
 */
#ifndef SPINPANEL_OFFER_H
#define SPINPANEL_OFFER_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/uuid.h"

/* An offer whose SKU is not known yet. */
typedef struct UnmappedOffer
{
	char offer_key[128];
	bool legacy;
	pg_uuid_t customer_id;
	pg_uuid_t subscription_id;
	bool by_status; /* ask the provisioning status, not the catalogue */
	bool limits_only; /* a legacy offer's minimum and maximum */
	char country[8];
} UnmappedOffer;

/* Which SKU does an offer provision? */
extern int spinpanel_offers_unmapped(int32 account_id, const pg_uuid_t *customer_id, int limit,
									 UnmappedOffer **offers, MemoryContext context);
extern char *spinpanel_offers_path(const UnmappedOffer *offer);
/* body NULL: not answered, error says why. */
extern void spinpanel_offers_answered(const UnmappedOffer *offer, Jsonb *body, const char *error);

#endif /* SPINPANEL_OFFER_H */
