/*
 * clock.h
 *
 * The extension's idea of now: the server's clock plus spinpanel.clock_offset.
 * Everything about seats, windows and nights uses it; time-outs of requests
 * and token lifetimes use the real clock.
 */
#ifndef SPINPANEL_CLOCK_H
#define SPINPANEL_CLOCK_H

#include "postgres.h"

#include "utils/timestamp.h"

extern TimestampTz spinpanel_now(void);

#endif /* SPINPANEL_CLOCK_H */
