/*
 * settings.c
 *
 * Defines the settings, all of them and only here.  Check hooks may run in the
 * postmaster: no catalog access in them.
 *
 * Context follows the question "who may change it": spinpanel.database needs a
 * restart; what weakens nothing is for operators (reload); what decides whom
 * we trust or what time it is belongs to superusers.
 */
#include "postgres.h"

#include <limits.h>

#include "base/compat.h"
#include "base/settings.h"

char *spinpanel_database = NULL;
bool spinpanel_enabled = true;
char *spinpanel_ca_file = NULL;
char *spinpanel_allowed_hosts = NULL;
char *spinpanel_proxy = NULL;
int spinpanel_request_timeout = 30 * 1000;
int spinpanel_provisioning_timeout = 24 * 3600;
int spinpanel_user_patience = 15 * 60;
int spinpanel_settle_time = 3600;
int spinpanel_retry_max_delay = 5 * 60 * 1000;
int spinpanel_poll_interval = 30 * 1000;
int spinpanel_max_data_age = 26 * 3600;
int spinpanel_retention = 90 * 86400;
int spinpanel_seat_history_retention = 1095 * 86400;
int spinpanel_customers_at_once = 64;
double spinpanel_clock_offset = 0.0;

static bool
check_ca_file(char **newval, void **extra, GucSource source)
{
	if (*newval && (*newval)[0] != '\0' && !is_absolute_path(*newval))
	{
		GUC_check_errdetail("The file must be given as an absolute path.");
		return false;
	}
	return true;
}

void
spinpanel_settings_define(bool preloading)
{
	/*
	 * The worker is registered once, from the postmaster's value.  Without the
	 * preload nothing uses it; it is defined all the same, so that a session
	 * does not call it an invalid parameter.
	 */
	DefineCustomStringVariable("spinpanel.database", "Database in which the spinpanel worker runs.",
							   NULL, &spinpanel_database, "postgres",
							   preloading ? PGC_POSTMASTER : PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomBoolVariable("spinpanel.enabled",
							 "Lets the worker read from and write to Partner Center.",
							 "While off, SQL functions still accept requests.", &spinpanel_enabled,
							 true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("spinpanel.ca_file",
							   "File of certificate authorities to trust instead of the system's.",
							   "Server certificates are verified in any case.", &spinpanel_ca_file,
							   "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_ca_file, NULL, NULL);
	DefineCustomStringVariable(
		"spinpanel.allowed_hosts",
		"Hosts other than Microsoft's that accounts may use, separated by commas.",
		"Only superusers can change it. Plain http is possible to loopback addresses only.",
		&spinpanel_allowed_hosts, "", PGC_SUSET, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"spinpanel.proxy", "Proxy through which the worker talks to other than loopback hosts.",
		"host:port or a URL. Empty: none; proxy variables of the server's environment are not used. "
		"TLS is end to end through the proxy.",
		&spinpanel_proxy, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("spinpanel.request_timeout",
							"Time after which a request to Partner Center is given up.",
							"A change that was given up is looked up before anything else is done.",
							&spinpanel_request_timeout, 30 * 1000, 100, 10 * 60 * 1000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("spinpanel.provisioning_timeout",
							"Time within which bought seats must become assignable.", NULL,
							&spinpanel_provisioning_timeout, 24 * 3600, 1, 30 * 86400, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"spinpanel.user_patience", "Time within which a user made a moment ago must show up.",
		"Requests for a user whom Partner Center does not know yet wait so long.",
		&spinpanel_user_patience, 15 * 60, 0, 7 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"spinpanel.settle_time", "Time by which Partner Center's usage report lags at most.",
		"Doubtful numbers need a second read this much later; changes are looked at again after it.",
		&spinpanel_settle_time, 3600, 0, 7 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("spinpanel.retry_max_delay",
							"Longest pause between two attempts of the same call.", NULL,
							&spinpanel_retry_max_delay, 5 * 60 * 1000, 10, 24 * 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("spinpanel.poll_interval",
							"How often the worker looks for work when nobody wakes it.", NULL,
							&spinpanel_poll_interval, 30 * 1000, 10, 3600 * 1000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("spinpanel.max_data_age", "Data read longer ago removes nothing.", NULL,
							&spinpanel_max_data_age, 26 * 3600, 60, 30 * 86400, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"spinpanel.retention",
		"Time after which finished requests and operations move to the history.", NULL,
		&spinpanel_retention, 90 * 86400, 60, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"spinpanel.seat_history_retention",
		"Time after which a month of the history of seats is dropped; 0: never.", NULL,
		&spinpanel_seat_history_retention, 1095 * 86400, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"spinpanel.customers_at_once", "Customers that a run works on at the same time.", NULL,
		&spinpanel_customers_at_once, 64, 1, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomRealVariable(
		"spinpanel.clock_offset", "Seconds added to the extension's idea of now.",
		"For tests that live through a year in an afternoon. Never set it in production.",
		&spinpanel_clock_offset, 0.0, -1e10, 1e10, PGC_SUSET, GUC_UNIT_S | GUC_SUPERUSER_ONLY, NULL,
		NULL, NULL);

	MarkGUCPrefixReserved("spinpanel");
}
