/*
 * work_requests.h
 *
 * The worker's driver for requests: one errand per customer that has some due.
 */
#ifndef SPINPANEL_WORK_REQUESTS_H
#define SPINPANEL_WORK_REQUESTS_H

/* Begins what is due and not under way. */
extern void spinpanel_fulfil_work(void);

extern int spinpanel_fulfil_active(void);

/* A transaction has ended: who had a customer's rows may have them no longer. */
extern void spinpanel_fulfil_woken(void);
/* Milliseconds until a customer that was left alone is met again; at most limit. */
extern int64 spinpanel_fulfil_rest(int64 limit);

/* The tables that memory speaks of are gone. */
extern void spinpanel_fulfil_forget(void);

#endif /* SPINPANEL_WORK_REQUESTS_H */
