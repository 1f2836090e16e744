/*
 * op_order.h
 *
 * Drives purchases of new subscriptions: carts and their checkout.
 */
#ifndef SPINPANEL_OP_ORDER_H
#define SPINPANEL_OP_ORDER_H

#include "postgres.h"

/* Takes up what is due, as far as there is room. */
extern void spinpanel_order_work(void);
/* Operations under way. */
extern int spinpanel_order_active(void);
/* The tables that memory speaks of are gone. */
extern void spinpanel_order_forget(void);

#endif /* SPINPANEL_OP_ORDER_H */
