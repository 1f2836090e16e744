/*
 * op_user.h
 *
 * Drives operations on users: licences assigned and removed, usage locations.
 */
#ifndef SPINPANEL_OP_USER_H
#define SPINPANEL_OP_USER_H

#include "postgres.h"

/* Takes up what is due, as far as there is room. */
extern void spinpanel_userchange_work(void);
/* Operations under way. */
extern int spinpanel_userchange_active(void);
/* The tables that memory speaks of are gone. */
extern void spinpanel_userchange_forget(void);

#endif /* SPINPANEL_OP_USER_H */
