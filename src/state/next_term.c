/*
 * next_term.c
 *
 * Reads scheduledNextTermInstructions and scheduledActions of a subscription.
 * It must never take for a decision what only says that the subscription
 * renews as it is: such an action may be on every subscription.
 */
#include "postgres.h"

#include "base/json.h"
#include "state/next_term.h"

/* Does the value differ from what runs?  A value that is left out does not. */
static bool
differs(JsonbContainer *item, const char *path, const char *running)
{
	char *value = spinpanel_json_text(item, path);

	return value != NULL && (running == NULL || pg_strcasecmp(value, running) != 0);
}

static bool
other_product(JsonbContainer *item, const char *member, const NextTerm *next)
{
	char *product = spinpanel_json_text(item, psprintf("%s.product.productId", member));
	char *sku = spinpanel_json_text(item, psprintf("%s.product.skuId", member));

	return product != NULL && next->product != NULL &&
		   pg_strcasecmp(psprintf("%s:%s", product, sku ? sku : ""), next->product) != 0;
}

static bool
quantity_of(JsonbContainer *item, const char *path, int32 *quantity)
{
	int64 value;

	if (!spinpanel_json_int(item, path, &value) || value < 0 || value > NEXT_TERM_MAX_QUANTITY)
		return false;
	*quantity = (int32) value;
	return true;
}

static void
read_renewal(JsonbContainer *action, NextTerm *next)
{
	int32 quantity;

	if (other_product(action, "instructions", next))
		next->other_product = true;
	if (next->quantity >= 0 || !quantity_of(action, "instructions.quantity", &quantity))
		return;
	if (next->other_product || quantity != next->running_quantity ||
		differs(action, "instructions.product.termDuration", next->term_duration) ||
		differs(action, "instructions.product.billingCycle", next->billing_cycle))
		next->quantity = quantity;
}

static void
read_actions(JsonbContainer *item, NextTerm *next)
{
	JsonbContainer *actions = spinpanel_json_container(item, "scheduledActions");
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (actions == NULL || !JsonContainerIsArray(actions))
		return;
	it = JsonbIteratorInit(actions);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *type;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		type = spinpanel_json_text(value.val.binary.data, "actionType");
		if (type == NULL)
			continue;
		if (pg_strcasecmp(type, "Cancel") == 0)
			next->cancel = true;
		else if (pg_strcasecmp(type, "Transition") == 0)
			next->other_product = true;
		else if (pg_strcasecmp(type, "RenewToNewTerm") == 0)
			read_renewal(value.val.binary.data, next);
	}
}

void
spinpanel_next_term_read(JsonbContainer *item, NextTerm *next)
{
	next->quantity = -1;
	next->other_product = other_product(item, "scheduledNextTermInstructions", next);
	next->cancel = false;
	(void) quantity_of(item, "scheduledNextTermInstructions.quantity", &next->quantity);
	read_actions(item, next);
}
