/*
 * cart.c
 *
 * See cart.h.  Reads and writes JSON only: no tables, no network, no clock.
 * What it cannot be sure about it must not take for our order, nor our cart.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "base/json.h"
#include "base/uuid.h"
#include "partner/cart.h"

/* Partner Center's clock against ours. */
#define CLOCK_MARGIN (15 * USECS_PER_MINUTE)

/* ---- small readings ------------------------------------------------------------- */

bool
spinpanel_items_begin(Items *items, JsonbContainer *root, const char *path)
{
	JsonbContainer *array = root == NULL ? NULL : spinpanel_json_container(root, path);
	JsonbValue value;

	items->it = NULL;
	if (array == NULL || !JsonContainerIsArray(array))
		return false;
	items->it = JsonbIteratorInit(array);
	(void) JsonbIteratorNext(&items->it, &value, false);
	return true;
}

JsonbContainer *
spinpanel_items_next(Items *items)
{
	JsonbIteratorToken token;
	JsonbValue value;

	while (items->it != NULL && (token = JsonbIteratorNext(&items->it, &value, true)) != WJB_DONE)
		if (token == WJB_ELEM && value.type == jbvBinary &&
			JsonContainerIsObject(value.val.binary.data))
			return value.val.binary.data;
	return NULL;
}

bool
spinpanel_purchase_same(const char *a, const char *b)
{
	return a != NULL && b != NULL && pg_strcasecmp(a, b) == 0;
}

/* Absent is as good as equal. */
static bool
text_fits(JsonbContainer *object, const char *path, const char *wanted)
{
	char *text = spinpanel_json_text(object, path);

	return text == NULL || wanted == NULL || pg_strcasecmp(text, wanted) == 0;
}

char *
spinpanel_purchase_encoded(const char *text)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (; *text; text++)
	{
		if (isalnum((unsigned char) *text) || strchr("-._~", *text) != NULL)
			appendStringInfoChar(&buffer, *text);
		else
			appendStringInfo(&buffer, "%%%02X", (unsigned char) *text);
	}
	return buffer.data;
}

bool
spinpanel_purchase_of(Purchase *purchase, Jsonb *json, bool checkout)
{
	JsonbContainer *wanted = &json->root;
	char *colon;

	memset(purchase, 0, sizeof(*purchase));
	purchase->cart_id = spinpanel_json_text(wanted, "cartId");
	purchase->item = spinpanel_json_text(wanted, "catalogItemId");
	purchase->term = spinpanel_json_text(wanted, "termDuration");
	purchase->cycle = spinpanel_json_text(wanted, "billingCycle");
	purchase->reseller = spinpanel_json_text(wanted, "resellerId");
	if (purchase->item == NULL || !spinpanel_json_int(wanted, "quantity", &purchase->quantity) ||
		purchase->quantity < 1 || purchase->quantity > INT32_MAX ||
		(checkout && (purchase->cart_id == NULL || purchase->cart_id[0] == '\0')))
		return false;

	purchase->product = pstrdup(purchase->item);
	colon = strchr(purchase->product, ':');
	if (colon == NULL || colon == purchase->product)
		return false;
	*colon = '\0';
	purchase->sku = colon + 1;
	colon = strchr(purchase->sku, ':');
	if (colon != NULL)
	{
		*colon = '\0';
		purchase->availability = colon + 1;
		if (purchase->availability[0] == '\0')
			return false;
	}
	return purchase->sku[0] != '\0' && (!checkout || purchase->availability != NULL);
}

/* ---- offers and carts ---------------------------------------------------------------- */

char *
spinpanel_purchase_offer(const Purchase *purchase, Jsonb *availabilities, char **term, char **cycle,
						 char **reason)
{
	Items items;
	JsonbContainer *item;
	char *found = NULL;
	int count = 0;

	*term = *cycle = NULL;
	(void) spinpanel_items_begin(&items, &availabilities->root, "items");
	while ((item = spinpanel_items_next(&items)) != NULL)
	{
		Items terms;
		JsonbContainer *one;
		bool purchasable;
		char *id = spinpanel_json_text(item, "catalogItemId");

		if (id == NULL ||
			(spinpanel_json_bool(item, "isPurchasable", &purchasable) && !purchasable) ||
			!text_fits(item, "id", purchase->availability))
			continue;
		(void) spinpanel_items_begin(&terms, item, "terms");
		while ((one = spinpanel_items_next(&terms)) != NULL)
		{
			char *duration = spinpanel_json_text(one, "duration");
			char *billed = spinpanel_json_text(one, "billingCycle");

			if (duration == NULL || billed == NULL ||
				(purchase->term != NULL && !spinpanel_purchase_same(duration, purchase->term)) ||
				(purchase->cycle != NULL && !spinpanel_purchase_same(billed, purchase->cycle)))
				continue;
			count++;
			if (found == NULL)
			{
				found = id;
				*term = duration;
				*cycle = billed;
			}
		}
	}
	if (found == NULL)
		*reason = psprintf("%s is not offered to the customer with term %s, billed %s",
						   purchase->item, purchase->term ? purchase->term : "any",
						   purchase->cycle ? purchase->cycle : "in any way");
	else if (count > 1 && (purchase->term == NULL || purchase->cycle == NULL))
	{
		*reason =
			psprintf("%s is offered with several terms or billing cycles: the rule has to name one",
					 purchase->item);
		return NULL;
	}
	return found;
}

static void
append_offer(StringInfo buffer, const char *item, const char *term, const char *cycle)
{
	char *lower = pstrdup(cycle);
	char *c;

	for (c = lower; *c; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	appendStringInfoString(buffer, "\"catalogItemId\": ");
	escape_json(buffer, item);
	appendStringInfoString(buffer, ", \"termDuration\": ");
	escape_json(buffer, term);
	appendStringInfoString(buffer, ", \"billingCycle\": ");
	escape_json(buffer, lower);
}

Jsonb *
spinpanel_purchase_cart_base(const char *item, const char *term, const char *cycle)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoChar(&buffer, '{');
	append_offer(&buffer, item, term, cycle);
	appendStringInfoChar(&buffer, '}');
	return spinpanel_json_of(buffer.data);
}

Jsonb *
spinpanel_purchase_cart_body(const Purchase *purchase, const char *item, const char *term,
							 const char *cycle)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfo(&buffer, "{\"lineItems\": [{\"id\": 0, \"quantity\": " INT64_FORMAT ", ",
					 purchase->quantity);
	append_offer(&buffer, item, term, cycle);
	if (purchase->reseller != NULL)
	{
		appendStringInfoString(
			&buffer, ", \"attestationAccepted\": true,"
					 " \"participants\": [{\"key\": \"transaction_reseller\", \"value\": ");
		escape_json(&buffer, purchase->reseller);
		appendStringInfoString(&buffer, "}]");
	}
	appendStringInfo(&buffer, "}]%s}",
					 purchase->reseller == NULL ? ""
												: ", \"PartnerOnRecordAttestationAccepted\": true");
	return spinpanel_json_of(buffer.data);
}

bool
spinpanel_purchase_is_cart(const Purchase *purchase, const char *item, const char *term,
						   JsonbContainer *cart, char **code, char **words)
{
	Items lines;
	JsonbContainer *line;
	int count = 0;
	bool same = true;

	*code = "cart_differs";
	*words = "the cart holds something else than what was asked for";
	(void) spinpanel_items_begin(&lines, cart, "lineItems");
	while ((line = spinpanel_items_next(&lines)) != NULL)
	{
		int64 quantity;

		count++;
		if (spinpanel_json_container(line, "error") != NULL)
		{
			*code = spinpanel_json_text(line, "error.errorCode");
			*words = spinpanel_json_text(line, "error.errorDescription");
			if (*words == NULL)
				*words = "the cart's line has an error";
			return false;
		}
		if (!spinpanel_purchase_same(spinpanel_json_text(line, "catalogItemId"), item) ||
			!spinpanel_json_int(line, "quantity", &quantity) || quantity != purchase->quantity ||
			!text_fits(line, "termDuration", term))
			same = false;
	}
	return count == 1 && same;
}

CartState
spinpanel_purchase_cart_state(Jsonb *cart, TimestampTz now)
{
	char *status;
	TimestampTz expires;

	if (cart == NULL)
		return CART_GONE;
	status = spinpanel_json_text(&cart->root, "status");
	if (spinpanel_purchase_same(status, "Ordered"))
		return CART_ORDERED;
	if (spinpanel_purchase_same(status, "Expired"))
		return CART_EXPIRED;
	if (!spinpanel_purchase_same(status, "Active"))
		return CART_ODD;
	return spinpanel_json_time(&cart->root, "expirationTimestamp", &expires) && expires <= now
			   ? CART_EXPIRED
			   : CART_ACTIVE;
}

/* ---- which order it became --------------------------------------------------------------- */

static JsonbContainer *
our_line(const Purchase *purchase, JsonbContainer *order)
{
	Items lines;
	JsonbContainer *line;

	(void) spinpanel_items_begin(&lines, order, "lineItems");
	while ((line = spinpanel_items_next(&lines)) != NULL)
	{
		int64 quantity;

		if (spinpanel_purchase_same(spinpanel_json_text(line, "offerId"), purchase->item) &&
			spinpanel_json_int(line, "quantity", &quantity) && quantity == purchase->quantity &&
			text_fits(line, "termDuration", purchase->term) &&
			text_fits(line, "transactionType", "New"))
			return line;
	}
	return NULL;
}

static bool
is_before(JsonbContainer *candidate, TimestampTz since)
{
	TimestampTz created;

	return spinpanel_json_time(candidate, "creationDate", &created) &&
		   created < since - CLOCK_MARGIN;
}

/* Was it there before the cart was ordered? */
static bool
is_older(Jsonb *base, TimestampTz since, JsonbContainer *candidate, const char *order_id)
{
	JsonbContainer *before =
		base == NULL ? NULL : spinpanel_json_container(&base->root, "ordersBefore");
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;

	if (is_before(candidate, since))
		return true;
	if (before == NULL || !JsonContainerIsArray(before))
		return false;
	it = JsonbIteratorInit(before);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_ELEM && value.type == jbvString &&
			spinpanel_purchase_same(pnstrdup(value.val.string.val, value.val.string.len), order_id))
			return true;
	return false;
}

Jsonb *
spinpanel_purchase_orders_before(const Purchase *purchase, Jsonb *list, TimestampTz since)
{
	StringInfoData buffer;
	Items items;
	JsonbContainer *item;
	int count = 0;

	initStringInfo(&buffer);
	appendStringInfoString(&buffer, "{\"ordersBefore\": [");
	(void) spinpanel_items_begin(&items, &list->root, "items");
	while ((item = spinpanel_items_next(&items)) != NULL)
	{
		char *id = spinpanel_json_text(item, "id");

		if (id == NULL || our_line(purchase, item) == NULL || is_before(item, since))
			continue;
		if (count++ > 0)
			appendStringInfoString(&buffer, ", ");
		escape_json(&buffer, id);
	}
	appendStringInfoString(&buffer, "]}");
	return spinpanel_json_of(buffer.data);
}

void
spinpanel_purchase_take(const Purchase *purchase, JsonbContainer *order, PlacedOrder *placed)
{
	JsonbContainer *line = our_line(purchase, order);
	Items lines;
	pg_uuid_t id;

	/* The answer to our checkout is ours, however it names the offer. */
	if (line == NULL && spinpanel_items_begin(&lines, order, "lineItems"))
		line = spinpanel_items_next(&lines);
	placed->order_id = spinpanel_json_text(order, "id");
	placed->status = spinpanel_json_text(order, "status");
	placed->subscription_id = line != NULL && spinpanel_json_uuid(line, "subscriptionId", &id)
								  ? spinpanel_uuid_text(&id)
								  : NULL;
}

void
spinpanel_purchase_find(const Purchase *purchase, Jsonb *base, TimestampTz since, Jsonb *list,
						Jsonb *one, Jsonb *subscriptions, PlacedOrder *placed)
{
	Items items;
	JsonbContainer *item;

	memset(placed, 0, sizeof(*placed));
	placed->order_id = base == NULL ? NULL : spinpanel_json_text(&base->root, "orderId");
	if (one != NULL &&
		spinpanel_purchase_same(spinpanel_json_text(&one->root, "id"), placed->order_id))
		spinpanel_purchase_take(purchase, &one->root, placed);
	if (list != NULL && placed->order_id == NULL)
	{
		(void) spinpanel_items_begin(&items, &list->root, "items");
		while (placed->order_id == NULL && (item = spinpanel_items_next(&items)) != NULL)
		{
			char *id = spinpanel_json_text(item, "id");

			if (id != NULL && our_line(purchase, item) != NULL && !is_older(base, since, item, id))
				spinpanel_purchase_take(purchase, item, placed);
		}
	}

	/* The subscription may be listed before its order knows it. */
	if (subscriptions == NULL || placed->subscription_id != NULL)
		return;
	(void) spinpanel_items_begin(&items, &subscriptions->root, "items");
	while (placed->subscription_id == NULL && (item = spinpanel_items_next(&items)) != NULL)
	{
		char *its_order = spinpanel_json_text(item, "orderId");
		int64 quantity;
		pg_uuid_t id;

		if (!spinpanel_json_uuid(item, "id", &id) || its_order == NULL)
			continue;
		if (placed->order_id != NULL
				? !spinpanel_purchase_same(its_order, placed->order_id)
				: (!spinpanel_purchase_same(spinpanel_json_text(item, "offerId"), purchase->item) ||
				   !spinpanel_json_int(item, "quantity", &quantity) ||
				   quantity != purchase->quantity || is_older(base, since, item, its_order)))
			continue;
		placed->order_id = its_order;
		placed->subscription_id = spinpanel_uuid_text(&id);
	}
}
