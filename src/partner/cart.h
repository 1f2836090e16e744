/*
 * cart.h
 *
 * What is to be bought, and what the JSON of offers, carts and orders says
 * about it.  Everything is palloc'd in the current memory context.
 */
#ifndef SPINPANEL_CART_H
#define SPINPANEL_CART_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef struct Purchase
{
	char *cart_id; /* NULL = there is none yet */
	char *item; /* product:sku, or product:sku:availability */
	char *product;
	char *sku;
	char *availability; /* NULL = to be looked up */
	int64 quantity;
	char *term; /* NULL = the only one offered */
	char *cycle;
	char *reseller; /* NULL = none */
} Purchase;

typedef enum CartState
{
	CART_ACTIVE,
	CART_ORDERED,
	CART_EXPIRED,
	CART_GONE, /* expired ones cannot be read either */
	CART_ODD
} CartState;

/* An order; members NULL where they are not known. */
typedef struct PlacedOrder
{
	char *order_id;
	char *subscription_id;
	char *status;
} PlacedOrder;

/* Objects of the array at path, one after the other; NULL = no more. */
typedef struct Items
{
	JsonbIterator *it;
} Items;

/* False: there is no array. */
extern bool spinpanel_items_begin(Items *items, JsonbContainer *root, const char *path);
extern JsonbContainer *spinpanel_items_next(Items *items);

/* Equal but for the case; NULL equals nothing. */
extern bool spinpanel_purchase_same(const char *a, const char *b);
/* An id as part of a path. */
extern char *spinpanel_purchase_encoded(const char *text);

/* From an operation's wanted; false: it makes no sense. */
extern bool spinpanel_purchase_of(Purchase *purchase, Jsonb *wanted, bool checkout);

/* Catalog item id, term and cycle out of a list of availabilities; NULL, with
 * reason: nothing fits, or more than one. */
extern char *spinpanel_purchase_offer(const Purchase *purchase, Jsonb *availabilities, char **term,
									  char **cycle, char **reason);
/* What was chosen, and the body that makes the cart. */
extern Jsonb *spinpanel_purchase_cart_base(const char *item, const char *term, const char *cycle);
extern Jsonb *spinpanel_purchase_cart_body(const Purchase *purchase, const char *item,
										   const char *term, const char *cycle);

/* Is it the cart that was asked for, without errors?  Else code and words. */
extern bool spinpanel_purchase_is_cart(const Purchase *purchase, const char *item, const char *term,
									   JsonbContainer *cart, char **code, char **words);
/* NULL: it cannot be found. */
extern CartState spinpanel_purchase_cart_state(Jsonb *cart, TimestampTz now);

/* Ids of orders like ours that are there before it is sent, so that none of
 * them is taken for it. */
extern Jsonb *spinpanel_purchase_orders_before(const Purchase *purchase, Jsonb *list,
											   TimestampTz since);
/* The order of an answer to our checkout. */
extern void spinpanel_purchase_take(const Purchase *purchase, JsonbContainer *order,
									PlacedOrder *placed);
/*
 * The order that was not there before (base, since), by its id where base has
 * it, among a list of orders, one order, and a list of subscriptions; any of
 * these may be NULL.
 */
extern void spinpanel_purchase_find(const Purchase *purchase, Jsonb *base, TimestampTz since,
									Jsonb *list, Jsonb *one, Jsonb *subscriptions,
									PlacedOrder *placed);

#endif /* SPINPANEL_CART_H */
