/*
 * op_wanted.c
 *
 * What an operation wants of a subscription, as members of the resource.  It
 * knows how Partner Center spells them and what it adds; it decides nothing.
 *
 * Contract: "Subscriptions: changing" of the Partner Center documentation
 * (PATCH /customers/{id}/subscriptions/{id}).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "base/json.h"
#include "worker/op_wanted.h"

/* Does one list of scheduled actions hold the types of the other? */
static bool
has_actions(JsonbContainer *theirs, JsonbContainer *mine)
{
	JsonbIterator *it = JsonbIteratorInit(mine);
	JsonbIteratorToken token;
	JsonbValue value;

	if (!JsonContainerIsArray(theirs) || !JsonContainerIsArray(mine))
		return false;
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbIterator *other;
		JsonbValue candidate;
		char *type;
		bool found = false;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		type = spinpanel_json_text(value.val.binary.data, "actionType");
		other = JsonbIteratorInit(theirs);
		(void) JsonbIteratorNext(&other, &candidate, false);
		while ((token = JsonbIteratorNext(&other, &candidate, true)) != WJB_DONE)
		{
			char *theirs_type;

			if (token != WJB_ELEM || candidate.type != jbvBinary)
				continue;
			theirs_type = spinpanel_json_text(candidate.val.binary.data, "actionType");
			if (type && theirs_type && pg_strcasecmp(type, theirs_type) == 0)
				found = true;
		}
		if (!found)
			return false;
	}
	return true;
}

static Jsonb *
cancel_action(void)
{
	return spinpanel_json_of("[{\"actionType\": \"Cancel\"}]");
}

/* Is every wanted member as wanted?  A wanted null means: not there. */
bool
spinpanel_op_wanted_stands(const Operation *op, Jsonb *subscription)
{
	JsonbIterator *it = JsonbIteratorInit(&op->wanted->root);
	JsonbIteratorToken token;
	JsonbValue value;
	bool all = true;

	token = JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *name;
		Jsonb *mine;
		Jsonb *theirs;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		mine = spinpanel_json_take(op->wanted, name);
		theirs = spinpanel_json_take(subscription, name);

		/* With auto-renew on there may be actions, but no explicit cancel. */
		if (pg_strcasecmp(name, "scheduledActions") == 0 && mine == NULL)
			all = all && (theirs == NULL || !has_actions(&theirs->root, &cancel_action()->root));
		else if (mine == NULL || theirs == NULL)
			all = all && mine == NULL && theirs == NULL;
		else if (pg_strcasecmp(name, "status") == 0)
		{
			char *a = spinpanel_json_text(&op->wanted->root, name);
			char *b = spinpanel_json_text(&subscription->root, name);

			all = all && a && b && pg_strcasecmp(a, b) == 0;
		}
		else if (pg_strcasecmp(name, "scheduledActions") == 0)
			all = all && has_actions(&theirs->root, &mine->root);
		else if (pg_strcasecmp(name, "scheduledNextTermInstructions") == 0)
		{
			/* Partner Center may add members of its own to what was sent. */
			int64 a;
			int64 b;

			all = all && spinpanel_json_int(&mine->root, "quantity", &a) &&
				  spinpanel_json_int(&theirs->root, "quantity", &b) && a == b;
		}
		else
			all = all && compareJsonbContainers(&mine->root, &theirs->root) == 0;
	}
	return all;
}

Jsonb *
spinpanel_op_wanted_body(const Operation *op, Jsonb *subscription)
{
	JsonbIterator *it = JsonbIteratorInit(&op->wanted->root);
	JsonbIteratorToken token;
	JsonbValue value;
	Jsonb *body = subscription;

	token = JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		body = spinpanel_json_with(body, name, spinpanel_json_take(op->wanted, name));
	}
	return body;
}

/*
 * The next term's instructions with the product of the present term, which is
 * how a mere change of quantity is scheduled.
 */
Jsonb *
spinpanel_op_wanted_schedule(Jsonb *subscription, int32 quantity)
{
	char *offer = spinpanel_json_text(&subscription->root, "offerId");
	char *term = spinpanel_json_text(&subscription->root, "termDuration");
	char *cycle = spinpanel_json_text(&subscription->root, "billingCycle");
	char *promotion = spinpanel_json_text(&subscription->root, "promotionId");
	char *sku;
	char *availability;
	StringInfoData text;

	if (offer == NULL || term == NULL || cycle == NULL || (sku = strchr(offer, ':')) == NULL ||
		(availability = strchr(sku + 1, ':')) == NULL)
		return NULL;
	*sku++ = '\0';
	*availability++ = '\0';
	initStringInfo(&text);
	appendStringInfoString(&text,
						   "{\"scheduledNextTermInstructions\": {\"product\": {\"productId\": ");
	escape_json(&text, offer);
	appendStringInfoString(&text, ", \"skuId\": ");
	escape_json(&text, sku);
	appendStringInfoString(&text, ", \"availabilityId\": ");
	escape_json(&text, availability);
	appendStringInfoString(&text, ", \"billingCycle\": ");
	escape_json(&text, cycle);
	appendStringInfoString(&text, ", \"termDuration\": ");
	escape_json(&text, term);
	if (promotion != NULL && promotion[0] != '\0')
	{
		appendStringInfoString(&text, ", \"promotionId\": ");
		escape_json(&text, promotion);
	}
	appendStringInfo(&text, "}, \"quantity\": %d}}", quantity);
	return spinpanel_json_of(text.data);
}

static const char *const product_members[] = { "productId",    "skuId",        "availabilityId",
											   "billingCycle", "termDuration", "promotionId" };

bool
spinpanel_op_wanted_same_schedule(Jsonb *a, Jsonb *b)
{
	int64 a_quantity = -1;
	int64 b_quantity = -1;
	int i;

	(void) spinpanel_json_int(&a->root, "quantity", &a_quantity);
	(void) spinpanel_json_int(&b->root, "quantity", &b_quantity);
	if (a_quantity != b_quantity)
		return false;
	for (i = 0; i < (int) lengthof(product_members); i++)
	{
		char *path = psprintf("product.%s", product_members[i]);
		char *mine = spinpanel_json_text(&a->root, path);
		char *theirs = spinpanel_json_text(&b->root, path);

		/* One that is not told in one of them does not differ. */
		if (mine != NULL && theirs != NULL && pg_strcasecmp(mine, theirs) != 0)
			return false;
	}
	return true;
}

Jsonb *
spinpanel_op_wanted_respelled(Jsonb *schedule, int64 quantity)
{
	StringInfoData text;
	char *custom_end = spinpanel_json_text(&schedule->root, "customTermEndDate");
	bool first = true;
	int i;

	initStringInfo(&text);
	appendStringInfoString(&text, "{\"product\": {");
	for (i = 0; i < (int) lengthof(product_members); i++)
	{
		char *value =
			spinpanel_json_text(&schedule->root, psprintf("product.%s", product_members[i]));

		if (value == NULL || value[0] == '\0')
			continue;
		appendStringInfo(&text, "%s\"%s\": ", first ? "" : ", ", product_members[i]);
		escape_json(&text, value);
		first = false;
	}
	appendStringInfo(&text, "}, \"quantity\": " INT64_FORMAT, quantity);
	if (custom_end != NULL && custom_end[0] != '\0')
	{
		appendStringInfoString(&text, ", \"customTermEndDate\": ");
		escape_json(&text, custom_end);
	}
	appendStringInfoChar(&text, '}');
	return spinpanel_json_of(text.data);
}
