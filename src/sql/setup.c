/*
 * setup.c
 *
 * Facts that SQL cannot see by itself, for check_setup() and schedule(): the
 * worker in shared memory, the credential file on disk, the meaning of a cron
 * line.  Reads no table, and tells nothing of a credential but its kind, age
 * and who may read it.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/cronline.h"
#include "base/settings.h"
#include "base/wake.h"
#include "partner/credential.h"
#include "sql/names.h"
#include "sql/require.h"

static Datum
record_of(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * spinpanel._worker_facts(): what shared memory tells of the worker; see the
 * install script for the columns
 */
PG_FUNCTION_INFO_V1(spinpanel_sql_worker_facts);

typedef enum FactColumn
{
	FACT_PRELOADED,
	FACT_DATABASE,
	FACT_ENABLED,
	FACT_PID,
	FACT_STARTED_AT,
	FACT_LAST_TURN_AT,
	FACT_STARTS,
	FACT_IDLES,
	FACT_LAST_SUCCESS_AT,
	FACT_FAILURES,
	FACT_LAST_ERROR_AT,
	FACT_LAST_ERROR,
	FACT_REQUESTS_LAST_MINUTE,
	FACT_COLUMNS
} FactColumn;

static void
set_time(Datum *values, bool *nulls, FactColumn column, TimestampTz value)
{
	values[column] = TimestampTzGetDatum(value);
	nulls[column] = value == 0;
}

Datum
spinpanel_sql_worker_facts(PG_FUNCTION_ARGS)
{
	Datum values[FACT_COLUMNS];
	bool nulls[FACT_COLUMNS];
	SpinpanelWorkerFacts facts;

	memset(nulls, true, sizeof(nulls));
	values[FACT_PRELOADED] = BoolGetDatum(spinpanel_wake_available());
	values[FACT_ENABLED] = BoolGetDatum(spinpanel_enabled);
	nulls[FACT_PRELOADED] = nulls[FACT_ENABLED] = false;
	if (spinpanel_wake_available())
	{
		bool running = spinpanel_wake_facts(&facts);

		values[FACT_DATABASE] = CStringGetTextDatum(spinpanel_database);
		values[FACT_STARTS] = Int64GetDatum(facts.starts);
		values[FACT_IDLES] = BoolGetDatum(facts.idles);
		values[FACT_FAILURES] = Int64GetDatum(facts.failures);
		values[FACT_REQUESTS_LAST_MINUTE] = Int64GetDatum(facts.requests_last_minute);
		nulls[FACT_DATABASE] = nulls[FACT_STARTS] = nulls[FACT_IDLES] = nulls[FACT_FAILURES] =
			nulls[FACT_REQUESTS_LAST_MINUTE] = false;
		if (running)
		{
			values[FACT_PID] = Int32GetDatum(facts.pid);
			nulls[FACT_PID] = false;
			set_time(values, nulls, FACT_STARTED_AT, facts.started_at);
			set_time(values, nulls, FACT_LAST_TURN_AT, facts.last_turn_at);
		}
		set_time(values, nulls, FACT_LAST_SUCCESS_AT, facts.last_success_at);
		set_time(values, nulls, FACT_LAST_ERROR_AT, facts.last_error_at);
		if (facts.last_error[0] != '\0')
		{
			values[FACT_LAST_ERROR] = CStringGetTextDatum(facts.last_error);
			nulls[FACT_LAST_ERROR] = false;
		}
	}
	PG_RETURN_DATUM(record_of(fcinfo, values, nulls));
}

/*
 * spinpanel._credential_facts(path text, OUT problem text, OUT access text,
 *	OUT modified_at timestamptz, OUT readable_by_all boolean)
 */
PG_FUNCTION_INFO_V1(spinpanel_sql_credential_facts);

Datum
spinpanel_sql_credential_facts(PG_FUNCTION_ARGS)
{
	Datum values[4];
	bool nulls[4] = { true, true, true, true };
	SpinpanelCredential credential;
	char error[1024];
	int sqlstate;
	char *path = spinpanel_name_argument(fcinfo, 0);

	spinpanel_require_value(path != NULL, "path");
	if (spinpanel_credential_read(path, &credential, &sqlstate, error, sizeof(error)))
	{
		values[1] = CStringGetTextDatum(credential.refresh_token ? "app+user" : "app");
		values[2] = TimestampTzGetDatum(credential.modified_at);
		values[3] = BoolGetDatum(credential.readable_by_all);
		nulls[1] = nulls[2] = nulls[3] = false;
		spinpanel_credential_wipe(&credential);
	}
	else
	{
		values[0] = CStringGetTextDatum(error);
		nulls[0] = false;
	}
	PG_RETURN_DATUM(record_of(fcinfo, values, nulls));
}

/* spinpanel._cron_problem(line text) text; NULL = the line can be used */
PG_FUNCTION_INFO_V1(spinpanel_sql_cron_problem);

Datum
spinpanel_sql_cron_problem(PG_FUNCTION_ARGS)
{
	char *line = spinpanel_name_argument(fcinfo, 0);
	const char *problem = NULL;

	spinpanel_require_value(line != NULL, "cron");
	if (spinpanel_cron_valid(line, &problem))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/*
 * spinpanel._cron_previous(line text, moment timestamptz) timestamptz: the
 * last minute at or before moment at which the line was due; NULL = never
 */
PG_FUNCTION_INFO_V1(spinpanel_sql_cron_previous);

Datum
spinpanel_sql_cron_previous(PG_FUNCTION_ARGS)
{
	char *line = spinpanel_name_argument(fcinfo, 0);
	int64_t due;

	spinpanel_require_value(line != NULL, "line");
	spinpanel_require_value(!PG_ARGISNULL(1), "moment");
	if (!spinpanel_cron_previous(line, PG_GETARG_TIMESTAMPTZ(1), &due))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due);
}

PG_FUNCTION_INFO_V1(spinpanel_sql_now);

/* spinpanel._now() timestamptz */
Datum
spinpanel_sql_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(spinpanel_now());
}
