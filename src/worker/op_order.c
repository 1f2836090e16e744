/*
 * op_order.c
 *
 * Drives purchases of new subscriptions (kinds create_cart and checkout): one
 * Order in memory per operation under way.
 *
 *     create_cart:  (availability), seats ─► judge ─► send ─► the cart's id is stored,
 *                                            together with the checkout it is for
 *     checkout:     cart, orders, seats ─► judge ─► send ─► read back ─► done
 *                            ▲                       │
 *                            └────── unknown ◄───────┘
 *
 * Each of the two is judged again right before it is sent (buying.h): whether
 * somebody still needs the seats, and may have them.
 *
 * The cart is the key: it can be ordered once.  A cart alone costs nothing, so
 * one whose answer was lost is simply made again; no checkout can have been
 * sent for it, because there is none before its id is stored.  A checkout whose
 * answer was lost is looked up: an order that was not there before decides,
 * then what the cart says.  It is sent again only for the same cart, and given
 * up as "expired" only long after orders show up.
 *
 * This file decides nothing about what to buy (request.h is told how it ended)
 * and knows no SQL.  It must never send a checkout of another cart for the same
 * operation, nor end one as not ordered while it may have been.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "partner/cart.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/mirror.h"
#include "state/operation.h"
#include "state/request.h"
#include "state/reseller.h"
#include "state/statement.h"
#include "state/unit.h"
#include "worker/buying.h"
#include "worker/op_driver.h"
#include "worker/op_order.h"

/* Operations of one account that are driven at the same time. */
#define ORDERS_AT_ONCE 16

/* A lost cart is asked for with the same id so often, then with a fresh one. */
#define SAME_CART_ATTEMPTS 3

/* A rule may name an availability that is not offered any more. */
#define AVAILABILITY_GONE "400019"

/*
 * Partner Center lists an order after 15 minutes at the latest, it says.  Only
 * after this long is an order that is not there none.
 */
#define ORDER_PATIENCE (60 * USECS_PER_MINUTE)

/* A cart made a moment ago may not be readable yet. */
#define CART_PATIENCE (5 * USECS_PER_MINUTE)

/* Accepted (202) checkouts may take this long to show. */
#define ACCEPTED_PATIENCE (15 * USECS_PER_MINUTE)

typedef enum OrderStep
{
	STEP_READ, /* before sending */
	STEP_SEND,
	STEP_RESOLVE, /* outcome unknown */
	STEP_READ_BACK /* the subscription is known */
} OrderStep;

typedef struct Order
{
	struct Order *next;
	MemoryContext context;
	Operation *op;
	bool checkout;
	Purchase purchase; /* what is wanted */
	OrderStep step;
	Reads reads;
	int availabilities_read; /* -1 = not asked, as below */
	int cart_read;
	int orders_read;
	int order_read;
	int subscriptions_read;
	int subscription_read;
	int skus_read;
	int units_read; /* before sending: subscribed SKUs */
	PlacedOrder placed; /* what was found out */
	char *answer; /* of what was sent */
	Size answer_length;
	bool refusal; /* sent.error is Partner Center's "no" */
	PartnerAnswer sent; /* its outcome; body and token are not kept */
	bool finished;
} Order;

static Order *orders = NULL;
static DriverPlaces places = { .of_account = ORDERS_AT_ONCE };
static MemoryContext orders_context = NULL;

static char *base_text(const Operation *op, const char *name);
static void order_read(Order *order, OrderStep step);
static void order_read_back(Order *order);
static void order_send(Order *order);

/* When it began to matter. */
static TimestampTz
begun(const Operation *op)
{
	return op->sent_at != 0 ? op->sent_at : op->created_at;
}

/* It left the machine at least once.  Of one that never did, no order is the result. */
static bool
was_sent(const Operation *op)
{
	return op->sent_at != 0;
}

/* Looking for something that takes its time: less and less often. */
static TimestampTz
next_look(const Operation *op)
{
	int64 age = (spinpanel_now() - begun(op)) / 1000;

	return spinpanel_driver_later(
		Min(Max(age / 8, Min(1000, spinpanel_retry_max_delay)), spinpanel_retry_max_delay));
}

static bool
too_long(const Operation *op)
{
	return spinpanel_now() - begun(op) > (int64) spinpanel_provisioning_timeout * USECS_PER_SEC;
}

static Jsonb *
text_jsonb(const char *text)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	escape_json(&buffer, text);
	return spinpanel_json_of(buffer.data);
}

/* What is known of the order outlives the transaction. */
static void
keep_placed(Order *order, const PlacedOrder *placed)
{
	MemoryContext old = MemoryContextSwitchTo(order->context);

	order->placed.order_id = placed->order_id ? pstrdup(placed->order_id) : NULL;
	order->placed.subscription_id =
		placed->subscription_id ? pstrdup(placed->subscription_id) : NULL;
	order->placed.status = placed->status ? pstrdup(placed->status) : NULL;
	MemoryContextSwitchTo(old);
}

/* An earlier attempt may have been carried out. */
static bool
is_unsure(const Operation *op)
{
	return base_text(op, "unsure") != NULL;
}

static char *
base_text(const Operation *op, const char *name)
{
	return op->base == NULL ? NULL : spinpanel_json_text(&op->base->root, name);
}

static Jsonb *
read_json(Order *order, int read)
{
	return read < 0 || order->reads.answers[read].outcome != PARTNER_OK
			   ? NULL
			   : order->reads.answers[read].json;
}

static void
order_end(Order *order)
{
	order->finished = true;
}

static void
sweep(void)
{
	Order **link = &orders;

	while (*link != NULL)
	{
		Order *order = *link;

		if (order->finished && order->reads.pending == 0)
		{
			*link = order->next;
			spinpanel_driver_leave_place(&places, order->op->account_id, &order->op->customer_id);
			MemoryContextDelete(order->context);
		}
		else
			link = &order->next;
	}
}

/* ---- ends ------------------------------------------------------------------------ */

static Jsonb *
answer_of(Order *order)
{
	return order->answer == NULL ? NULL : spinpanel_json_parse(order->answer, order->answer_length);
}

static void
over(Order *order, const char *status, int http_status, const char *code, const char *error)
{
	if (code != NULL && code[0] == '\0')
		code = NULL;
	if (spinpanel_operation_over(order->op, status, http_status, code, error, answer_of(order)))
		spinpanel_request_operation_over(order->op, status, code, error, NULL);
}

typedef struct Move
{
	Order *order;
	const char *status; /* queued, unknown; else over */
	int http_status;
	const char *code;
	const char *error;
	TimestampTz not_before;
	bool counts;
} Move;

static void
do_move(void *arg)
{
	Move *move = arg;

	if (strcmp(move->status, "queued") == 0 || strcmp(move->status, "unknown") == 0)
		spinpanel_request_operation_waits(move->order->op, move->code, move->error);

	if (strcmp(move->status, "queued") == 0)
		spinpanel_operation_requeue(move->order->op, move->http_status, move->code, move->error,
									move->not_before, move->counts);
	else if (strcmp(move->status, "unknown") == 0)
		spinpanel_operation_unknown(move->order->op, move->http_status, move->code, move->error,
									move->not_before);
	else
		over(move->order, move->status, move->http_status, move->code, move->error);
}

/* Where even this cannot be written, the row is found again as it is. */
static void
move_row(Order *order, const char *status, int http_status, const char *code, const char *error,
		 TimestampTz not_before, bool counts)
{
	Move move;

	move.order = order;
	move.status = status;
	move.http_status = http_status;
	move.code = code;
	move.error = error;
	move.not_before = not_before;
	move.counts = counts;
	(void) spinpanel_unit("noting the state of an operation", do_move, &move, UNIT_DURABLE);
	order_end(order);
}

/* A "no" to a read or to what was sent: will it stay one? */
static bool
is_final(PartnerOutcome outcome, int http_status)
{
	return outcome == PARTNER_REFUSED || outcome == PARTNER_NOT_FOUND ||
		   (outcome == PARTNER_NO_ACCESS && http_status != 401);
}

/* ---- the cart ------------------------------------------------------------------------ */

typedef struct Judging
{
	Order *order;
	bool send;
	bool bought; /* the subscription is to be read */
} Judging;

/* Everybody for whom it buys still wants it; else it is over, or waits. */
static bool
is_held(Order *order)
{
	Operation *op = order->op;

	switch (spinpanel_request_hold(op, (int) order->purchase.quantity))
	{
		case DEMAND_READY:
			return true;
		case DEMAND_LOCKED:
			spinpanel_operation_requeue(op, 0, NULL, "a caller may be cancelling its request",
										spinpanel_driver_later(spinpanel_driver_while_locked(op)),
										false);
			return false;
		case DEMAND_CHANGED:
			break;
	}
	if (is_unsure(op))
		return true;
	over(order, "cancelled", 0, NULL, "a request that it serves was cancelled");
	return false;
}

/* What was read goes into the mirror, and then: may it still go? */
static bool
may_be_sent(Order *order)
{
	Operation *op = order->op;
	ReadAnswer *units = &order->reads.answers[order->units_read];
	ReadAnswer *subscriptions = &order->reads.answers[order->subscriptions_read];
	char reason[400];
	int32 seats;

	if (!spinpanel_mirror_subscriptions(op->account_id, &op->customer_id, subscriptions->json,
										subscriptions->digest, subscriptions->started_at) ||
		!spinpanel_mirror_subscribed_skus(op->account_id, &op->customer_id, units->json,
										  units->digest, units->started_at))
	{
		spinpanel_operation_requeue(op, 0, NULL, "the customer's seats could not all be read",
									next_look(op), false);
		return false;
	}
	if (op->request_id == 0)
		return true; /* nobody's request: a person queued it */
	reason[0] = '\0';
	seats = spinpanel_buying_judge(op, NULL, reason, sizeof(reason));
	if (seats >= order->purchase.quantity)
		return is_held(order);
	if (is_unsure(op) && spinpanel_now() - begun(op) < ORDER_PATIENCE)
		spinpanel_operation_requeue(op, 0, NULL, "an earlier attempt may still show as an order",
									next_look(op), false);
	else
		over(order, "cancelled", 0, NULL, reason[0] ? reason : "fewer seats are needed by now");
	return false;
}

static void
do_judge_cart(void *arg)
{
	Judging *judging = arg;
	Order *order = judging->order;
	Operation *op = order->op;
	char *item = order->purchase.item;
	char *term = order->purchase.term;
	char *cycle = order->purchase.cycle;
	char *reason;

	if (order->availabilities_read >= 0)
	{
		item = spinpanel_purchase_offer(&order->purchase,
										order->reads.answers[order->availabilities_read].json,
										&term, &cycle, &reason);
		if (item == NULL)
		{
			over(order, "refused", 0, "no_such_offer", reason);
			return;
		}
	}
	if (!spinpanel_reseller_of(op->account_id, &op->customer_id, op->has_sku ? &op->sku_id : NULL,
							   &order->purchase.reseller, order->context))
	{
		over(
			order, "refused", 0, "no_reseller",
			"the customer's reseller of record is not known, which an order of an indirect provider has to name: its first subscription has to be ordered in Partner Center");
		return;
	}
	if (!may_be_sent(order))
		return;
	op->base =
		spinpanel_driver_keep(order->context, spinpanel_purchase_cart_base(item, term, cycle));
	op->body = spinpanel_driver_keep(
		order->context, spinpanel_purchase_cart_body(&order->purchase, item, term, cycle));
	spinpanel_operation_new_ids(op);
	judging->send = spinpanel_operation_sending(op);
}

static void
do_resolve_cart(void *arg)
{
	Judging *judging = arg;
	Operation *op = judging->order->op;

	if (spinpanel_driver_patience_over(op))
		over(judging->order, "failed", op->http_status,
			 op->error_code ? op->error_code : "given_up",
			 psprintf("given up after days of trying: %s",
					  op->error ? op->error : "Partner Center gave no answer"));
	else if (op->attempts >= SAME_CART_ATTEMPTS || op->body == NULL)
		spinpanel_operation_requeue(op, 0, NULL, "no cart is known to have been made", 0, true);
	else
		judging->send = spinpanel_operation_resend(op);
}

/* The cart is there: its id goes into the table with the checkout it is for. */
static void
do_cart_made(void *arg)
{
	Order *order = arg;
	Operation *op = order->op;
	Operation checkout;
	Jsonb *answer = answer_of(order);
	char *id = answer == NULL ? NULL : spinpanel_json_text(&answer->root, "id");
	char *code;
	char *words;
	Jsonb *wanted;
	static const char *const chosen[] = { "catalogItemId", "termDuration", "billingCycle" };
	int i;

	if (id == NULL || id[0] == '\0')
	{
		spinpanel_operation_unknown(op, 0, NULL, "the answer is no cart",
									spinpanel_driver_later(spinpanel_driver_delay(op->attempts)));
		return;
	}
	if (!spinpanel_purchase_is_cart(&order->purchase, base_text(op, "catalogItemId"),
									base_text(op, "termDuration"), &answer->root, &code, &words))
	{
		over(order, "refused", order->sent.http_status, code, words);
		return;
	}
	if (!spinpanel_operation_done(op, 0, answer, NULL))
		return;

	wanted = spinpanel_json_with(op->wanted, "cartId", text_jsonb(id));
	for (i = 0; i < (int) lengthof(chosen); i++)
		wanted = spinpanel_json_with(wanted, chosen[i], text_jsonb(base_text(op, chosen[i])));
	checkout = *op;
	checkout.kind = "checkout";
	checkout.after_operation = op->operation_id;
	checkout.wait_active = 0;
	checkout.base = NULL; /* the cart's */
	checkout.wanted = wanted;
	(void) spinpanel_operation_add(&checkout);
	spinpanel_request_operation_over(
		op, "done", NULL, NULL,
		spinpanel_json_with(spinpanel_json_of("{}"), "cartId", text_jsonb(id)));
}

/* ---- judging a checkout -------------------------------------------------------------------- */

static void
wait_unknown(Order *order, const char *why)
{
	if (too_long(order->op))
		over(order, "failed", 0, "order_unknown",
			 psprintf("%s; whether something was bought has to be looked up in Partner Center",
					  why));
	else
		spinpanel_operation_unknown(order->op, order->op->http_status, order->op->error_code, why,
									next_look(order->op));
}

/* Nothing is ordered as far as can be seen, and nothing will be by this cart. */
static void
not_ordered(Order *order, bool uncertain)
{
	Operation *op = order->op;

	if (order->refusal && !uncertain)
		over(order, "refused", order->sent.http_status, order->sent.error_code, order->sent.error);
	else if (was_sent(op) && spinpanel_now() - begun(op) < ORDER_PATIENCE)
		wait_unknown(order, "the cart is gone; an order may still show");
	else if (order->refusal)
		over(order, "refused", order->sent.http_status, order->sent.error_code, order->sent.error);
	else
		over(order, "refused", 0, "cart_expired", "the cart has expired, and nothing was ordered");
}

static void
do_judge(void *arg)
{
	Judging *judging = arg;
	Order *order = judging->order;
	Operation *op = order->op;
	bool queued = strcmp(op->status, "queued") == 0;
	bool sent_before = was_sent(op);
	/* More than one was sent, or one of which nothing is known. */
	bool uncertain = op->attempts > 1 || !order->refusal;
	Jsonb *subscriptions = read_json(order, order->subscriptions_read);
	CartState state =
		spinpanel_purchase_cart_state(read_json(order, order->cart_read), spinpanel_now());
	PlacedOrder placed;
	char *code;
	char *words;

	if (subscriptions != NULL && !queued)
	{
		ReadAnswer *answer = &order->reads.answers[order->subscriptions_read];

		spinpanel_mirror_subscriptions(op->account_id, &op->customer_id, subscriptions,
									   answer->digest, answer->started_at);
	}

	memset(&placed, 0, sizeof(placed));
	if (sent_before || state == CART_ORDERED)
		spinpanel_purchase_find(&order->purchase, op->base, op->created_at,
								read_json(order, order->orders_read),
								read_json(order, order->order_read), subscriptions, &placed);
	keep_placed(order, &placed);
	if (order->placed.subscription_id != NULL)
	{
		judging->bought = true;
		return;
	}
	if (order->placed.order_id != NULL)
	{
		if (spinpanel_purchase_same(order->placed.status, "cancelled") ||
			spinpanel_purchase_same(order->placed.status, "error") ||
			spinpanel_purchase_same(order->placed.status, "po_review_rejected"))
		{
			over(
				order, "refused", 0, "order_ended",
				psprintf("order %s ended as \"%s\"", order->placed.order_id, order->placed.status));
			return;
		}
		wait_unknown(order, psprintf("order %s is placed; its subscription does not show yet",
									 order->placed.order_id));
		if (!sent_before || base_text(op, "orderId") == NULL)
		{
			op->base = spinpanel_driver_keep(
				order->context, spinpanel_json_with(op->base ? op->base : spinpanel_json_of("{}"),
													"orderId", text_jsonb(order->placed.order_id)));
			(void) spinpanel_operation_learned(op);
		}
		return;
	}

	switch (state)
	{
		case CART_ORDERED:
			wait_unknown(order, "the cart is ordered; its order does not show yet");
			return;
		case CART_ODD:
			if (sent_before)
				wait_unknown(order, "the cart is neither open nor ordered");
			else
				spinpanel_operation_requeue(op, 0, NULL, "the cart is neither open nor ordered",
											next_look(op), false);
			return;
		case CART_GONE:
			if (!sent_before && spinpanel_now() - op->created_at < CART_PATIENCE)
			{
				spinpanel_operation_requeue(op, 0, NULL, "the cart does not show yet",
											next_look(op), false);
				return;
			}
			not_ordered(order, uncertain);
			return;
		case CART_EXPIRED:
			not_ordered(order, uncertain);
			return;
		case CART_ACTIVE:
			break;
	}

	/* The cart is open. */
	if (!sent_before &&
		!spinpanel_purchase_is_cart(&order->purchase, order->purchase.item, order->purchase.term,
									&read_json(order, order->cart_read)->root, &code, &words))
	{
		over(order, "refused", 0, code, words);
		return;
	}
	if (order->refusal && (!uncertain || spinpanel_now() - begun(op) >= ORDER_PATIENCE))
	{
		over(order, "refused", order->sent.http_status, order->sent.error_code, order->sent.error);
		return;
	}
	if (order->refusal)
	{
		wait_unknown(order, order->sent.error);
		return;
	}
	if (queued)
	{
		if (spinpanel_operation_pool_busy(op))
		{
			spinpanel_operation_requeue(
				op, 0, NULL, "another change in the pool is under way",
				spinpanel_driver_later(Min(1000, spinpanel_retry_max_delay)), false);
			return;
		}
		if (!may_be_sent(order))
			return;
		/* From before it was sent for the first time. */
		if (op->base == NULL || spinpanel_json_container(&op->base->root, "ordersBefore") == NULL)
			op->base = spinpanel_driver_keep(
				order->context,
				spinpanel_purchase_orders_before(
					&order->purchase, read_json(order, order->orders_read), op->created_at));
		op->body = NULL;
		spinpanel_operation_new_ids(op);
		judging->send = spinpanel_operation_sending(op);
		return;
	}
	if (op->http_status == 202 && spinpanel_now() - begun(op) < ACCEPTED_PATIENCE)
		spinpanel_operation_unknown(op, 202, NULL, "accepted; does not show yet", next_look(op));
	else if (spinpanel_driver_patience_over(op))
		over(order, "failed", op->http_status, op->error_code ? op->error_code : "given_up",
			 psprintf("the cart could not be ordered in days, and nothing was bought: %s",
					  op->error ? op->error : "Partner Center gave no answer"));
	else
	{
		if (!is_unsure(op))
		{
			op->base = spinpanel_driver_keep(
				order->context, spinpanel_json_with(op->base ? op->base : spinpanel_json_of("{}"),
													"unsure", text_jsonb("yes")));
			(void) spinpanel_operation_learned(op);
		}
		judging->send = spinpanel_operation_resend(op);
	}
}

/* ---- bought ----------------------------------------------------------------------------------- */

static void
do_bought(void *arg)
{
	Order *order = arg;
	Operation *op = order->op;
	ReadAnswer *subscription = &order->reads.answers[order->subscription_read];
	ReadAnswer *skus = &order->reads.answers[order->skus_read];
	StringInfoData buffer;
	pg_uuid_t id;

	/* It may take minutes until it can be read: it is bought all the same. */
	op->has_subscription =
		spinpanel_parse_uuid(order->placed.subscription_id, &op->subscription_id);
	if (subscription->outcome == PARTNER_OK && subscription->json != NULL &&
		spinpanel_json_uuid(&subscription->json->root, "id", &id) &&
		memcmp(&id, &op->subscription_id, sizeof(id)) == 0)
		spinpanel_mirror_subscription(op->account_id, &op->customer_id, subscription->json,
									  subscription->started_at);
	if (skus->outcome == PARTNER_OK && skus->json != NULL)
		(void) spinpanel_mirror_subscribed_skus(op->account_id, &op->customer_id, skus->json,
												skus->digest, skus->started_at);

	if (!spinpanel_operation_done(op, (int32) order->purchase.quantity, answer_of(order),
								  order->answer != NULL && !order->refusal
									  ? NULL
									  : "the answer was lost; reading showed that it was ordered"))
		return;
	initStringInfo(&buffer);
	appendStringInfo(&buffer,
					 "{\"subscriptionId\": \"%s\", \"orderId\": ", order->placed.subscription_id);
	escape_json(&buffer, order->placed.order_id);
	appendStringInfo(&buffer, ", \"quantity\": " INT64_FORMAT "}", order->purchase.quantity);
	spinpanel_request_operation_over(op, "done", NULL, NULL, spinpanel_json_of(buffer.data));
}

static void
do_ordered(void *arg)
{
	Order *order = arg;
	Operation *op = order->op;

	op->base = spinpanel_driver_keep(
		order->context,
		spinpanel_json_with(op->base, "orderId", text_jsonb(order->placed.order_id)));
	(void) spinpanel_operation_learned(op);
	spinpanel_operation_unknown(
		op, order->sent.http_status, NULL,
		psprintf("order %s is placed; its subscription does not show yet", order->placed.order_id),
		next_look(op));
}

/* ---- the steps ------------------------------------------------------------------------------------- */

static void
judge_and_send(Order *order, void (*judge)(void *arg), const char *activity)
{
	Judging judging;

	memset(&judging, 0, sizeof(judging));
	judging.order = order;
	if (!spinpanel_unit(activity, judge, &judging, UNIT_DURABLE))
		order_end(order);
	else if (judging.bought)
		order_read_back(order);
	else if (judging.send)
		order_send(order);
	else
		order_end(order);
}

/*
 * A list that was read; else the answer says why not.  Partner Center answers
 * some refusals with status 200.
 */
static bool
is_list(ReadAnswer *list, const char *what)
{
	Items items;
	char *code;
	char *words;

	if (list->outcome != PARTNER_OK)
		return false;
	if (list->json != NULL && spinpanel_items_begin(&items, &list->json->root, "items"))
		return true;
	list->outcome = PARTNER_UNKNOWN;
	code = list->json == NULL ? NULL : spinpanel_json_text(&list->json->root, "code");
	words = list->json == NULL ? NULL : spinpanel_json_text(&list->json->root, "description");
	if (code != NULL)
		strlcpy(list->error_code, code, sizeof(list->error_code));
	strlcpy(list->error, words ? words : psprintf("the answer is no list of %s", what),
			sizeof(list->error));
	return false;
}

/* The read that cannot be done without, and is missing. */
static ReadAnswer *
missing_read(Order *order)
{
	ReadAnswer *answers = order->reads.answers;

	if (order->availabilities_read >= 0)
	{
		ReadAnswer *offers = &answers[order->availabilities_read];

		if (!is_list(offers, "availabilities"))
			return offers;
	}
	if (order->units_read >= 0)
	{
		if (!is_list(&answers[order->units_read], "subscribed SKUs"))
			return &answers[order->units_read];
		if (!is_list(&answers[order->subscriptions_read], "subscriptions"))
			return &answers[order->subscriptions_read];
	}
	if (order->cart_read >= 0)
	{
		ReadAnswer *cart = &answers[order->cart_read];

		if (cart->outcome == PARTNER_OK &&
			(cart->json == NULL ||
			 !spinpanel_purchase_same(spinpanel_json_text(&cart->json->root, "id"),
									  order->purchase.cart_id)))
		{
			cart->outcome = PARTNER_UNKNOWN;
			strlcpy(cart->error, "the answer is not that cart", sizeof(cart->error));
		}
		/* "Not found" by Partner Center, of the cart and not of the customer. */
		if (cart->outcome != PARTNER_OK &&
			(cart->outcome != PARTNER_NOT_FOUND || cart->error_code[0] == '\0' ||
			 strcmp(cart->error_code, "60003") == 0))
			return cart;
	}
	if (order->orders_read >= 0)
	{
		if (!is_list(&answers[order->orders_read], "orders"))
			return &answers[order->orders_read];
	}
	if (order->order_read >= 0 && answers[order->order_read].outcome != PARTNER_OK &&
		answers[order->order_read].outcome != PARTNER_NOT_FOUND &&
		answers[order->subscriptions_read].outcome != PARTNER_OK)
		return &answers[order->order_read];
	return NULL;
}

static void
reads_done(void *arg)
{
	Order *order = arg;
	Operation *op = order->op;
	ReadAnswer *bad;
	TimestampTz when;

	if (order->finished)
		return; /* forgotten meanwhile */
	if (order->step == STEP_READ_BACK)
	{
		(void) spinpanel_unit("noting a purchase", do_bought, order, UNIT_DURABLE);
		order_end(order);
		return;
	}
	bad = missing_read(order);
	if (bad == NULL)
	{
		judge_and_send(order, order->checkout ? do_judge : do_judge_cart, "judging a purchase");
		return;
	}

	when = spinpanel_driver_later(bad->retry_after > 0 ? bad->retry_after * 1000
													   : spinpanel_driver_delay(3));
	if (!was_sent(op) && is_final(bad->outcome, bad->http_status) &&
		(bad->outcome != PARTNER_NOT_FOUND || bad->error_code[0] != '\0'))
		move_row(order, "refused", bad->http_status, bad->error_code, bad->error, 0, false);
	else if (strcmp(op->status, "queued") == 0)
	{
		/* An outage is waited out; what Partner Center says is not, without an end. */
		bool spoke = bad->error_code[0] != '\0' && bad->outcome != PARTNER_THROTTLED;

		if (spoke && !is_unsure(op) && spinpanel_driver_patience_over(op))
			move_row(order, "refused", bad->http_status, bad->error_code, bad->error, 0, false);
		else
			move_row(order, "queued", bad->http_status, bad->error_code, bad->error, when, spoke);
	}
	else if (too_long(op))
		move_row(
			order, "failed", bad->http_status, "order_unknown",
			psprintf(
				"whether something was bought could not be read, and has to be looked up in Partner Center: %s",
				bad->error),
			0, true);
	else
		move_row(order, "unknown", op->http_status, op->error_code,
				 op->error_code ? op->error : bad->error, when, true);
}

static void
order_read(Order *order, OrderStep step)
{
	char *customer = psprintf("/customers/%s", spinpanel_uuid_text(&order->op->customer_id));
	char *known = base_text(order->op, "orderId");

	order->step = step;
	spinpanel_reads_again(&order->reads);
	order->availabilities_read = order->cart_read = order->orders_read = order->order_read =
		order->subscriptions_read = order->subscription_read = order->skus_read =
			order->units_read = -1;
	if (step == STEP_READ)
	{
		order->units_read =
			spinpanel_reads_ask(&order->reads, psprintf("%s/subscribedskus", customer), NULL);
		order->subscriptions_read =
			spinpanel_reads_ask(&order->reads, psprintf("%s/subscriptions", customer), NULL);
	}
	if (!order->checkout)
	{
		if (order->purchase.availability == NULL || order->purchase.term == NULL ||
			order->purchase.cycle == NULL)
			order->availabilities_read =
				spinpanel_reads_ask(&order->reads,
									psprintf("%s/products/%s/skus/%s/availabilities", customer,
											 spinpanel_purchase_encoded(order->purchase.product),
											 spinpanel_purchase_encoded(order->purchase.sku)),
									NULL);
		return;
	}
	if (known != NULL)
		order->order_read = spinpanel_reads_ask(
			&order->reads, psprintf("%s/orders/%s", customer, spinpanel_purchase_encoded(known)),
			NULL);
	else
	{
		order->cart_read = spinpanel_reads_ask(
			&order->reads,
			psprintf("%s/carts/%s", customer, spinpanel_purchase_encoded(order->purchase.cart_id)),
			NULL);
		order->orders_read =
			spinpanel_reads_ask(&order->reads, psprintf("%s/orders", customer), NULL);
	}
	if (order->subscriptions_read < 0 && (step == STEP_RESOLVE || was_sent(order->op)))
		order->subscriptions_read =
			spinpanel_reads_ask(&order->reads, psprintf("%s/subscriptions", customer), NULL);
}

static void
order_read_back(Order *order)
{
	char *customer = psprintf("/customers/%s", spinpanel_uuid_text(&order->op->customer_id));

	order->step = STEP_READ_BACK;
	spinpanel_reads_again(&order->reads);
	order->subscription_read = spinpanel_reads_ask(
		&order->reads, psprintf("%s/subscriptions/%s", customer, order->placed.subscription_id),
		NULL);
	order->skus_read =
		spinpanel_reads_ask(&order->reads, psprintf("%s/subscribedskus", customer), NULL);
}

/* {"orders": [...], "orderErrors": [...]}, or the order itself. */
static void
checkout_answered(Order *order, JsonbContainer *answer)
{
	Items items;
	JsonbContainer *item;
	JsonbContainer *ours = NULL;
	PlacedOrder placed;
	char *code;
	char *words;

	if (spinpanel_items_begin(&items, answer, "orders"))
	{
		while (ours == NULL && (item = spinpanel_items_next(&items)) != NULL)
			if (spinpanel_json_text(item, "id") != NULL)
				ours = item;
	}
	else if (spinpanel_json_text(answer, "id") != NULL &&
			 spinpanel_json_container(answer, "lineItems") != NULL)
		ours = answer;
	if (ours != NULL)
	{
		spinpanel_purchase_take(&order->purchase, ours, &placed);
		keep_placed(order, &placed);
		if (order->placed.subscription_id != NULL)
			order_read_back(order);
		else
		{
			(void) spinpanel_unit("noting an order", do_ordered, order, UNIT_DURABLE);
			order_end(order);
		}
		return;
	}

	(void) spinpanel_items_begin(&items, answer, "orderErrors");
	if ((item = spinpanel_items_next(&items)) != NULL)
	{
		code = spinpanel_json_text(item, "code");
		words = spinpanel_json_text(item, "description");
		order->refusal = true;
		strlcpy(order->sent.error_code, code ? code : "", sizeof(order->sent.error_code));
		strlcpy(order->sent.error, words ? words : "the order failed", sizeof(order->sent.error));
	}
	/* Refused, or no answer that makes sense: what is there is looked up. */
	order_read(order, STEP_RESOLVE);
}

static void
sent(void *arg, const PartnerAnswer *answer)
{
	Order *order = arg;
	DriverVerdict verdict = spinpanel_driver_verdict(order->op, answer);

	order->reads.pending--; /* see order_send() */
	if (order->finished)
		return; /* forgotten meanwhile */
	spinpanel_driver_keep_answer(order->context, answer, &order->sent, &order->answer,
								 &order->answer_length);

	switch (verdict.next)
	{
		case DRIVER_CARRIED_OUT:
			if (order->checkout && answer->json != NULL)
				checkout_answered(order, &answer->json->root);
			else if (order->checkout)
				order_read(order, STEP_RESOLVE);
			else
			{
				(void) spinpanel_unit("noting a cart", do_cart_made, order, UNIT_DURABLE);
				order_end(order);
			}
			break;
		case DRIVER_AGAIN:
			/* Not carried out; another call may be at that cart: it is read first. */
			if (order->checkout && strcmp(answer->error_code, AVAILABILITY_GONE) == 0 &&
				!is_unsure(order->op))
				/* Another cart is made, of what is offered now. */
				move_row(order, "cancelled", answer->http_status, answer->error_code, answer->error,
						 0, true);
			else
				move_row(order, "queued", answer->http_status, answer->error_code, answer->error,
						 verdict.not_before, verdict.counts);
			break;
		case DRIVER_LOOK:
			move_row(order, "unknown", answer->http_status, answer->error_code, answer->error,
					 verdict.not_before, verdict.counts);
			break;
		case DRIVER_OVER:
			if (!order->checkout)
				move_row(order, "refused", answer->http_status, answer->error_code, answer->error,
						 0, true);
			else
			{
				/* An earlier one may have been carried out: that decides. */
				order->refusal = true;
				order_read(order, STEP_RESOLVE);
			}
			break;
	}
}

static void
order_send(Order *order)
{
	Operation *op = order->op;
	char *customer = psprintf("/customers/%s", spinpanel_uuid_text(&op->customer_id));
	PartnerCall call;

	order->step = STEP_SEND;
	order->refusal = false;
	order->reads.pending++; /* keeps the order in memory until the answer */
	memset(&call, 0, sizeof(call));
	call.method = "POST";
	call.path = order->checkout ? psprintf("%s/carts/%s/checkout", customer,
										   spinpanel_purchase_encoded(order->purchase.cart_id))
								: psprintf("%s/carts", customer);
	call.body = order->checkout ? NULL : JsonbToCString(NULL, &op->body->root, VARSIZE(op->body));
	call.request_id = &op->ms_request_id;
	call.correlation_id = &op->correlation_id;
	call.priority = PARTNER_URGENT;
	call.done = sent;
	call.arg = order;
	spinpanel_partner_call(order->reads.account, &call);
}

/* ---- taking up what is due ---------------------------------------------------------------------------- */

static bool
under_way(int64 operation_id)
{
	Order *order;

	for (order = orders; order != NULL; order = order->next)
		if (order->op->operation_id == operation_id)
			return true;
	return false;
}

static void
take_up(const Operation *found)
{
	MemoryContext context =
		AllocSetContextCreate(orders_context, "purchase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Order *order = palloc0(sizeof(Order));
	bool queued = strcmp(found->status, "queued") == 0;
	bool good;

	order->context = context;
	order->op = spinpanel_operation_copy(found, context);
	order->checkout = strcmp(found->kind, "checkout") == 0;
	good = spinpanel_purchase_of(&order->purchase, order->op->wanted, order->checkout);
	if (good && !order->checkout && found->error_code != NULL &&
		strcmp(found->error_code, AVAILABILITY_GONE) == 0)
		order->purchase.availability = NULL;
	MemoryContextSwitchTo(old);
	spinpanel_reads_start(&order->reads, context, spinpanel_partner_find(found->account_id),
						  PARTNER_URGENT, reads_done, order);
	order->next = orders;
	orders = order;
	spinpanel_driver_take_place(&places, found->account_id, &found->customer_id);
	if (!good)
	{
		move_row(order, "failed", 0, "bad_operation", "the operation makes no sense", 0, true);
		return;
	}
	if (strcmp(found->status, "sending") == 0)
		ereport(LOG, (errmsg("spinpanel looks up the outcome of operation " INT64_FORMAT
							 ", which was being sent when the worker ended",
							 found->operation_id)));
	if (order->checkout)
		order_read(order, queued ? STEP_READ : STEP_RESOLVE);
	else if (queued)
		order_read(order, STEP_READ);
	else
		judge_and_send(order, do_resolve_cart, "resolving a cart");
}

/* True: there may be more behind those that were taken up, of customers with a place. */
static bool
take_up_due(void)
{
	DriverDue due;
	bool more;
	int taken = 0;
	int i;

	spinpanel_driver_due(&due, OUTBOX_ORDERS, &places, orders_context, "looking for purchases");
	for (i = 0; i < due.count; i++)
	{
		Operation *found = due.operations[i];

		if (under_way(found->operation_id) || !spinpanel_account_usable(found->account_id) ||
			!spinpanel_driver_has_place(&places, found->account_id, &found->customer_id))
			continue;
		take_up(found);
		taken++;
	}
	more = due.more && taken > 0;
	MemoryContextDelete(due.context);
	return more;
}

void
spinpanel_order_work(void)
{
	if (orders_context == NULL)
		orders_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel orders", ALLOCSET_DEFAULT_SIZES);
	sweep();
	while (take_up_due())
		;
}

int
spinpanel_order_active(void)
{
	sweep();
	return places.taken;
}

void
spinpanel_order_forget(void)
{
	Order *order;

	for (order = orders; order != NULL; order = order->next)
		order_end(order);
}
