/*
 * statement.c
 *
 * See statement.h.  Knows statements and values, not what they mean.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "state/statement.h"

static Oid
type_of(char letter)
{
	switch (letter)
	{
		case 'i':
			return INT4OID;
		case 'I':
			return INT8OID;
		case 'b':
			return BOOLOID;
		case 't':
			return TEXTOID;
		case 'T':
			return TIMESTAMPTZOID;
		case 'u':
			return UUIDOID;
		case 'j':
			return JSONBOID;
		case 'd':
			return DATEOID;
		case 'o':
			return OIDOID;
		case 'n':
			return NAMEOID;
		case 'c':
			return TIDOID;
		case 'B':
			return BYTEAOID;
		default:
			elog(ERROR, "unknown parameter type \"%c\"", letter);
			return InvalidOid; /* keep compiler quiet */
	}
}

static int
argument_types(const char *types, Oid *oids)
{
	int n = 0;
	const char *c;

	for (c = types; *c; c++)
	{
		if (n >= STATE_MAX_ARGS)
			elog(ERROR, "too many parameters");
		if (*c == 'A')
		{
			c++;
			oids[n++] = get_array_type(type_of(*c));
		}
		else
			oids[n++] = type_of(*c);
	}
	return n;
}

static int
prepare(StateQuery *query, int options, Oid *oids)
{
	int nargs = argument_types(query->types, oids);

	if (query->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare_cursor(query->sql, nargs, oids, options);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", query->sql,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		query->plan = plan;
	}
	return nargs;
}

/*
 * A generic plan stays for long, and the tables may have been empty when it
 * was made: then it would scan them for ever after.
 */
static int
plan_by_index(void)
{
	static const char *const ways[] = { "enable_seqscan", "enable_bitmapscan", "enable_hashjoin",
										"enable_mergejoin" };
	int level = NewGUCNestLevel();
	int i;

	for (i = 0; i < lengthof(ways); i++)
		(void) set_config_option(ways[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
								 0, false);
	return level;
}

static uint64
run(StateQuery *query, const StateArg *args, int options, bool latest, long limit)
{
	Oid oids[STATE_MAX_ARGS];
	Datum values[STATE_MAX_ARGS];
	char nulls[STATE_MAX_ARGS];
	bool planned = query->plan != NULL && SPI_plan_is_valid(query->plan);
	int nargs = prepare(query, options, oids);
	int level = 0;
	int rc;
	int i;

	if ((options & CURSOR_OPT_GENERIC_PLAN) && !planned)
		level = plan_by_index();
	for (i = 0; i < nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	if (latest)
		rc = SPI_execute_snapshot(query->plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot,
								  true, false, limit);
	else
		rc = SPI_execute_plan(query->plan, values, nulls, false, limit);
	if (level != 0)
		AtEOXact_GUC(true, level);
	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", query->sql, SPI_result_code_string(rc));
	return SPI_processed;
}

uint64
spinpanel_state_run(StateQuery *query, const StateArg *args, long limit)
{
	return run(query, args, 0, false, limit);
}

uint64
spinpanel_state_run_generic(StateQuery *query, const StateArg *args)
{
	return run(query, args, CURSOR_OPT_GENERIC_PLAN, false, 0);
}

uint64
spinpanel_state_run_latest(StateQuery *query, const StateArg *args)
{
	return run(query, args, CURSOR_OPT_GENERIC_PLAN, true, 0);
}

StateArg
spinpanel_arg_datum(Datum value)
{
	StateArg arg;

	arg.value = value;
	arg.isnull = false;
	return arg;
}

StateArg
spinpanel_arg_null(void)
{
	StateArg arg;

	arg.value = (Datum) 0;
	arg.isnull = true;
	return arg;
}

StateArg
spinpanel_arg_int(int32 value)
{
	return spinpanel_arg_datum(Int32GetDatum(value));
}

StateArg
spinpanel_arg_int64(int64 value)
{
	return spinpanel_arg_datum(Int64GetDatum(value));
}

StateArg
spinpanel_arg_bool(bool value)
{
	return spinpanel_arg_datum(BoolGetDatum(value));
}

StateArg
spinpanel_arg_time(TimestampTz value)
{
	return spinpanel_arg_datum(TimestampTzGetDatum(value));
}

StateArg
spinpanel_arg_ints(const int *values, int count)
{
	Datum *elements = palloc(sizeof(Datum) * (count + 1));
	int i;

	for (i = 0; i < count; i++)
		elements[i] = Int32GetDatum(values[i]);
	return spinpanel_arg_datum(PointerGetDatum(
		construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
}

StateArg
spinpanel_arg_uuids(const pg_uuid_t *values, int count)
{
	Datum *elements = palloc(sizeof(Datum) * (count + 1));
	int i;

	for (i = 0; i < count; i++)
		elements[i] = UUIDPGetDatum(&values[i]);
	return spinpanel_arg_datum(
		PointerGetDatum(construct_array(elements, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
}

StateArg
spinpanel_arg_text(const char *value)
{
	return value ? spinpanel_arg_datum(CStringGetTextDatum(value)) : spinpanel_arg_null();
}

StateArg
spinpanel_arg_uuid(const pg_uuid_t *value)
{
	return value ? spinpanel_arg_datum(UUIDPGetDatum(value)) : spinpanel_arg_null();
}

StateArg
spinpanel_arg_jsonb(const Jsonb *value)
{
	return value ? spinpanel_arg_datum(PointerGetDatum(value)) : spinpanel_arg_null();
}

static Datum
row_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

bool
spinpanel_row_isnull(uint64 row, int column)
{
	bool isnull;

	(void) row_datum(row, column, &isnull);
	return isnull;
}

int32
spinpanel_row_int(uint64 row, int column)
{
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(datum);
}

int
spinpanel_row_ints(uint64 row, int column, int32 *values, int size)
{
	bool isnull;
	Datum datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	ArrayType *array;
	int n;

	if (isnull)
		return 0;
	array = DatumGetArrayTypeP(datum);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	memcpy(values, ARR_DATA_PTR(array), sizeof(int32) * Min(n, size));
	return n;
}

int64
spinpanel_row_int64(uint64 row, int column)
{
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(datum);
}

bool
spinpanel_row_bool(uint64 row, int column)
{
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);

	return isnull ? false : DatumGetBool(datum);
}

TimestampTz
spinpanel_row_time(uint64 row, int column, TimestampTz if_null)
{
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);

	return isnull ? if_null : DatumGetTimestampTz(datum);
}

bool
spinpanel_row_uuid(uint64 row, int column, pg_uuid_t *value)
{
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);

	if (isnull)
	{
		memset(value, 0, sizeof(*value));
		return false;
	}
	*value = *DatumGetUUIDP(datum);
	return true;
}

char *
spinpanel_row_text(uint64 row, int column, MemoryContext context)
{
	MemoryContext old;
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);
	char *copy;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(context);
	copy = TextDatumGetCString(datum);
	MemoryContextSwitchTo(old);
	return copy;
}

Jsonb *
spinpanel_row_jsonb(uint64 row, int column, MemoryContext context)
{
	MemoryContext old;
	bool isnull;
	Datum datum = row_datum(row, column, &isnull);
	Jsonb *jsonb;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(context);
	jsonb = DatumGetJsonbPCopy(datum);
	MemoryContextSwitchTo(old);
	return jsonb;
}
