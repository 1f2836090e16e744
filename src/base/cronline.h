/*
 * cronline.h
 *
 * Reading a cron line: is it one, and when was it due last?  Pure.  Nothing is
 * started here; pg_cron does that, and this tells whether it did.
 */
#ifndef SPINPANEL_CRONLINE_H
#define SPINPANEL_CRONLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Five fields, UTC, as pg_cron takes them.  False: *problem says why. */
extern bool spinpanel_cron_valid(const char *line, const char **problem);

/*
 * The last minute at or before moment at which the line was due; both in
 * microseconds since 2000-01-01 00:00 UTC (PostgreSQL's timestamptz).  False
 * where the line is invalid or names no day that ever comes.
 */
extern bool spinpanel_cron_previous(const char *line, int64_t moment, int64_t *due);

#endif /* SPINPANEL_CRONLINE_H */
