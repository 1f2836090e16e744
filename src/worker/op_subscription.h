/*
 * op_subscription.h
 *
 * Drives one operation of the outbox: read, judge, send, read back.
 */
#ifndef SPINPANEL_OP_SUBSCRIPTION_H
#define SPINPANEL_OP_SUBSCRIPTION_H

#include "postgres.h"

/* Takes up what is due, as far as there is room. */
extern void spinpanel_change_work(void);
/* Operations under way. */
extern int spinpanel_change_active(void);
/* The tables that memory speaks of are gone. */
extern void spinpanel_change_forget(void);

#endif /* SPINPANEL_OP_SUBSCRIPTION_H */
