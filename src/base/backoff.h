/*
 * backoff.h
 *
 * How long to wait after the n-th failure in a row.  Pure: the random number
 * is passed in.
 */
#ifndef SPINPANEL_BACKOFF_H
#define SPINPANEL_BACKOFF_H

#include <stdint.h>

/*
 * Milliseconds: base * 2^(failures - 1), at most cap, of which the upper half
 * is left to chance (random: 0 up to but not including 1).  No failure: 0.
 */
extern int64_t spinpanel_backoff_delay(int failures, int64_t base_ms, int64_t cap_ms,
									   double random);

#endif /* SPINPANEL_BACKOFF_H */
