/*
 * work_customer.h
 *
 * One customer's turn in a run: read, take into the mirror, plan.
 */
#ifndef SPINPANEL_WORK_CUSTOMER_H
#define SPINPANEL_WORK_CUSTOMER_H

#include "postgres.h"

/* Takes up customers claimed before, as far as there is room. */
extern void spinpanel_turn_work(void);
/* The same, and looks into the table for more. */
extern void spinpanel_turn_look(void);
extern int spinpanel_turn_active(void);
/* The tables that memory speaks of are gone. */
extern void spinpanel_turn_forget(void);

#endif /* SPINPANEL_WORK_CUSTOMER_H */
