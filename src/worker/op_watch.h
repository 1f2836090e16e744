/*
 * op_watch.h
 *
 * What our changes took, or will take at a renewal, is watched until that was
 * seen and has settled; what holders lack by then comes back.
 */
#ifndef SPINPANEL_OP_WATCH_H
#define SPINPANEL_OP_WATCH_H

#include "postgres.h"

#include "state/operation.h"

/* A change has been made, and read back: what it took is watched from here on.
 * undone: seats of somebody else that it undid; audit: its audit record is still
 * to be seen.  Inside a unit, as are those below. */
extern void spinpanel_op_watch_done(const Operation *operation, int32 seats, int32 undone,
									bool audit, bool licenses_known);

/* It did not come to the change; may_have_been: nobody knows for certain. */
extern void spinpanel_op_watch_over(const Operation *operation, bool may_have_been,
									const char *error);

/* Looks at what is due: one call per turn of the worker's loop. */
extern void spinpanel_watch_work(void);
extern int spinpanel_watch_active(void);
/* Ids in memory mean nothing any more. */
extern void spinpanel_watch_forget(void);

#endif /* SPINPANEL_OP_WATCH_H */
