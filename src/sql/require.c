/*
 * require.c
 *
 * What every SQL function asks first, in one place so that the answers (error
 * codes, hints) are the same everywhere.  Reads no table.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/settings.h"
#include "base/wake.h"
#include "sql/require.h"

void
spinpanel_require_value(bool given, const char *parameter)
{
	if (!given)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("parameter \"%s\" must not be NULL", parameter)));
}

void
spinpanel_require_primary(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("spinpanel cannot take this on a standby server"),
						errhint("Call it on the primary server.")));
}

void
spinpanel_require_worker(void)
{
	char *database;

	if (!spinpanel_wake_available())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("spinpanel's worker cannot run: the library is not preloaded"),
						errhint("Add spinpanel to shared_preload_libraries (for instance "
								"'pg_cron,spinpanel') and restart the server.")));

	database = get_database_name(MyDatabaseId);
	if (database != NULL && strcmp(database, spinpanel_database) != 0)
		ereport(
			WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("spinpanel's worker serves database \"%s\", not this one", spinpanel_database),
			 errdetail("Nobody carries out what is asked for here."),
			 errhint("Set spinpanel.database to \"%s\" and restart the server.", database)));
}

/* spinpanel._require_value(given boolean, parameter text) void */
PG_FUNCTION_INFO_V1(spinpanel_sql_require_value);

Datum
spinpanel_sql_require_value(PG_FUNCTION_ARGS)
{
	bool given = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);

	spinpanel_require_value(given, PG_ARGISNULL(1) ? "?" : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

/* spinpanel._require_primary() void */
PG_FUNCTION_INFO_V1(spinpanel_sql_require_primary);

Datum
spinpanel_sql_require_primary(PG_FUNCTION_ARGS)
{
	spinpanel_require_primary();
	PG_RETURN_VOID();
}

/* spinpanel._require_worker() void */
PG_FUNCTION_INFO_V1(spinpanel_sql_require_worker);

Datum
spinpanel_sql_require_worker(PG_FUNCTION_ARGS)
{
	spinpanel_require_worker();
	PG_RETURN_VOID();
}
