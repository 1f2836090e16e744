/*
 * fence.h
 *
 * Of all servers on one machine that can read a credential file, one acts with
 * it at a time.
 */
#ifndef SPINPANEL_FENCE_H
#define SPINPANEL_FENCE_H

#include "postgres.h"

/*
 * Whether this process may act with the file from now on, until it ends or
 * drops it; asked again and again.  False: error says why not, in words.
 * Does not wait and does not throw.
 */
extern bool spinpanel_fence_hold(int32 account_id, const char *path, char *error,
								 size_t error_size);
extern void spinpanel_fence_drop(int32 account_id);

#endif /* SPINPANEL_FENCE_H */
