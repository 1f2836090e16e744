/*
 * settings.h
 *
 * The extension's settings (GUC variables).  See settings.c for what each
 * means; nothing else may define one.
 */
#ifndef SPINPANEL_SETTINGS_H
#define SPINPANEL_SETTINGS_H

#include <stdbool.h>

extern char *spinpanel_database;
extern bool spinpanel_enabled;
extern char *spinpanel_ca_file;
extern char *spinpanel_allowed_hosts;
extern char *spinpanel_proxy;
extern int spinpanel_request_timeout; /* ms */
extern int spinpanel_provisioning_timeout; /* s */
extern int spinpanel_user_patience; /* s */
extern int spinpanel_settle_time; /* s */
extern int spinpanel_retry_max_delay; /* ms */
extern int spinpanel_poll_interval; /* ms */
extern int spinpanel_max_data_age; /* s */
extern int spinpanel_retention; /* s */
extern int spinpanel_seat_history_retention; /* s; read in SQL */
extern int spinpanel_customers_at_once;
extern double spinpanel_clock_offset; /* s */

/* From _PG_init; preloading = shared_preload_libraries is being processed. */
extern void spinpanel_settings_define(bool preloading);

#endif /* SPINPANEL_SETTINGS_H */
