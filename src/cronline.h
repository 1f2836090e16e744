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

/* Five fields, UTC, as pg_cron takes them. */
extern bool spinpanel_cron_valid(const char *line);

/* The last minute at or before a moment (microseconds since 2000) that the
 * line names, within the last 400 days; false = none, or no cron line. */
extern bool spinpanel_cron_previous(const char *line, int64_t before, int64_t *due);

#endif /* SPINPANEL_CRONLINE_H */
