/*
 * offer.c
 *
 * Which SKU does an offer provision, and between which quantities is it sold?
 * The answers are cached for all customers in table offer.  It decides nothing
 * about seats and sends nothing: it says what to ask for and takes the answer.
 *
 * Contract: "Get SKU details", "Get subscription provisioning status" and "Get
 * offer by ID" of the Partner Center documentation.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/uuid.h"
#include "state/offer.h"
#include "state/pool.h"
#include "state/statement.h"

/* More seats than anybody sells. */
#define MAX_QUANTITY 10000000

int
spinpanel_offers_unmapped(int32 account_id, const pg_uuid_t *customer_id, int limit,
						  UnmappedOffer **offers, MemoryContext context)
{
	/* Again a day later, then ever more rarely. */
	static StateQuery select = {
		"(SELECT DISTINCT ON (s.offer_key) s.offer_key, s.commerce = 'legacy', s.subscription_id,"
		" coalesce(f.attempts, 0) % 2 = 1, false, NULL"
		" FROM spinpanel.subscription s LEFT JOIN spinpanel.offer f USING (offer_key)"
		" WHERE s.customer_id = $1 AND s.account_id = $2 AND s.sku_id IS NULL AND s.gone_at IS NULL"
		" AND s.commerce IN ('nce', 'legacy') AND s.offer_key IS NOT NULL"
		" AND s.status IN ('active', 'suspended')"
		" AND (f.offer_key IS NULL OR f.sku_id IS NULL AND (f.read_at IS NULL AND f.source IS NULL"
		"  OR f.attempts = 1 AND s.commerce = 'nce'"
		"  OR f.read_at < $3 - least(f.attempts, 14) * '1 day'::interval))"
		" ORDER BY s.offer_key, s.created_at LIMIT $4)"
		/* The status says nothing of a legacy offer's limits; the offer does. */
		" UNION ALL (SELECT DISTINCT ON (s.offer_key) s.offer_key, true, s.subscription_id, false, true,"
		" coalesce(c.country, 'US') FROM spinpanel.subscription s JOIN spinpanel.customer c USING (customer_id)"
		" LEFT JOIN spinpanel.offer f USING (offer_key)"
		" WHERE s.customer_id = $1 AND s.account_id = $2 AND s.gone_at IS NULL AND s.commerce = 'legacy'"
		" AND s.offer_key IS NOT NULL AND s.status IN ('active', 'suspended')"
		" AND (f.limits_read_at IS NULL OR f.minimum IS NULL AND f.limits_read_at < $3 - '1 day'::interval)"
		" ORDER BY s.offer_key, s.created_at LIMIT $4)",
		"uiTi", NULL
	};
	StateArg args[4];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_int(account_id);
	args[2] = spinpanel_arg_time(spinpanel_now());
	args[3] = spinpanel_arg_int(limit);
	rows = spinpanel_state_run(&select, args, 0);
	*offers = MemoryContextAllocZero(context, sizeof(UnmappedOffer) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		UnmappedOffer *offer = &(*offers)[row];

		strlcpy(offer->offer_key, spinpanel_row_text(row, 1, CurrentMemoryContext),
				sizeof(offer->offer_key));
		offer->legacy = spinpanel_row_bool(row, 2);
		spinpanel_row_uuid(row, 3, &offer->subscription_id);
		offer->customer_id = *customer_id;
		offer->limits_only = spinpanel_row_bool(row, 5);
		offer->by_status = !offer->limits_only && (offer->legacy || spinpanel_row_bool(row, 4));
		if (offer->limits_only)
			strlcpy(offer->country, spinpanel_row_text(row, 6, CurrentMemoryContext),
					sizeof(offer->country));
	}
	return (int) rows;
}

char *
spinpanel_offers_path(const UnmappedOffer *offer)
{
	char *customer = spinpanel_uuid_text(&offer->customer_id);
	char *product;
	char *sku;

	if (offer->by_status)
		return psprintf("/customers/%s/subscriptions/%s/provisioningstatus", customer,
						spinpanel_uuid_text(&offer->subscription_id));
	if (offer->limits_only)
		return psprintf("/offers/%s?country=%s", offer->offer_key, offer->country);
	product = pstrdup(offer->offer_key);
	sku = strchr(product, ':');
	if (sku != NULL)
		*sku++ = '\0';
	return psprintf("/customers/%s/products/%s/skus/%s", customer, product, sku ? sku : "");
}

void
spinpanel_offers_answered(const UnmappedOffer *offer, Jsonb *body, const char *error)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.offer AS f (offer_key, sku_id, minimum, maximum, is_trial, source, error, attempts, read_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8) ON CONFLICT (offer_key) DO UPDATE SET"
		" sku_id = coalesce(excluded.sku_id, f.sku_id), minimum = coalesce(excluded.minimum, f.minimum),"
		" maximum = coalesce(excluded.maximum, f.maximum), is_trial = coalesce(excluded.is_trial, f.is_trial),"
		" source = coalesce(excluded.source, f.source), error = excluded.error, attempts = f.attempts + 1,"
		" read_at = excluded.read_at WHERE f.source IS DISTINCT FROM 'person'",
		"tuiibttT", NULL
	};
	/* A customer may have thousands of one offer, and is counted anew once. */
	static StateQuery fill = {
		"WITH filled AS (UPDATE spinpanel.subscription SET sku_id = $2 WHERE offer_key = $1"
		" AND sku_id IS DISTINCT FROM $2 RETURNING customer_id) SELECT DISTINCT customer_id FROM filled",
		"tu", NULL
	};
	static StateQuery limits = {
		"INSERT INTO spinpanel.offer AS f (offer_key, minimum, maximum, limits_read_at) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT (offer_key) DO UPDATE SET minimum = coalesce(excluded.minimum, f.minimum),"
		" maximum = coalesce(excluded.maximum, f.maximum), limits_read_at = excluded.limits_read_at",
		"tiiT", NULL
	};
	StateArg args[8];
	pg_uuid_t sku;
	bool has_sku = false;
	int64 number;
	bool trial;

	args[0] = spinpanel_arg_text(offer->offer_key);
	args[2] = args[3] = args[4] = args[5] = spinpanel_arg_null();
	args[6] = spinpanel_arg_text(error);
	if (body != NULL)
	{
		if (offer->by_status)
			has_sku = spinpanel_json_uuid(&body->root, "skuId", &sku);
		else
		{
			has_sku = spinpanel_json_uuid(&body->root, "dynamicAttributes.provisioningId", &sku);
			if (spinpanel_json_int(&body->root, "minimumQuantity", &number) && number >= 0 &&
				number <= MAX_QUANTITY)
				args[2] = spinpanel_arg_int((int32) number);
			if (spinpanel_json_int(&body->root, "maximumQuantity", &number) && number > 0 &&
				number <= INT32_MAX)
				args[3] = spinpanel_arg_int((int32) number);
			if (spinpanel_json_bool(&body->root, "isTrial", &trial))
				args[4] = spinpanel_arg_bool(trial);
		}
		if (!has_sku)
			args[6] = spinpanel_arg_text("the answer names no SKU");
	}
	if (offer->limits_only)
	{
		args[1] = args[2];
		args[2] = args[3];
		args[3] = spinpanel_arg_time(spinpanel_now());
		spinpanel_state_run(&limits, args, 0);
		return;
	}
	args[1] = spinpanel_arg_uuid(has_sku ? &sku : NULL);
	if (has_sku)
		args[5] = spinpanel_arg_text(offer->by_status ? "provisioning status" : "catalogue");
	args[7] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&upsert, args, 0);

	if (has_sku)
	{
		uint64 rows;
		uint64 row;
		pg_uuid_t *customers;

		args[1] = spinpanel_arg_uuid(&sku);
		rows = spinpanel_state_run(&fill, args, 0);
		customers = palloc(sizeof(pg_uuid_t) * (rows + 1));
		for (row = 0; row < rows; row++)
			spinpanel_row_uuid(row, 1, &customers[row]);
		for (row = 0; row < rows; row++)
			spinpanel_pool_mapped(&customers[row], &sku, spinpanel_now());
	}
}
