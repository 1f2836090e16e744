/*
 * statement.h
 *
 * Statements on our own tables: prepared once per process, parameters always.
 * Shared by all files that keep state; nothing else uses SPI.
 */
#ifndef SPINPANEL_STATEMENT_H
#define SPINPANEL_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define STATE_MAX_ARGS 40

/*
 * A statement and its plan.  types is one letter per parameter: i int4,
 * I int8, b bool, t text, T timestamptz, u uuid, j jsonb, d date, o oid,
 * n name, c tid, B bytea; upper-case A before a letter = array of it ("Au").
 */
typedef struct StateQuery
{
	const char *sql;
	const char *types;
	SPIPlanPtr plan;
} StateQuery;

/*
 * Runs it in a connection opened by the caller (SPI_connect); parameters
 * follow as StateArg values.  Returns the number of rows processed; rows are
 * in SPI_tuptable.  limit 0 = all.
 */
typedef struct StateArg
{
	Datum value;
	bool isnull;
} StateArg;

extern uint64 spinpanel_state_run(StateQuery *query, const StateArg *args, long limit);

/* All rows, by a generic plan from the first time on: for joins whose planning
 * costs more than running them. */
extern uint64 spinpanel_state_run_generic(StateQuery *query, const StateArg *args);

/* Likewise, reading what is committed at this moment (and our own), whatever
 * the transaction's isolation level; only for SELECT. */
extern uint64 spinpanel_state_run_latest(StateQuery *query, const StateArg *args);

extern StateArg spinpanel_arg_int(int32 value);
extern StateArg spinpanel_arg_int64(int64 value);
extern StateArg spinpanel_arg_bool(bool value);
extern StateArg spinpanel_arg_time(TimestampTz value);
extern StateArg spinpanel_arg_text(const char *value); /* NULL = NULL */
extern StateArg spinpanel_arg_uuid(const pg_uuid_t *value); /* NULL = NULL */
extern StateArg spinpanel_arg_jsonb(const Jsonb *value); /* NULL = NULL */
extern StateArg spinpanel_arg_datum(Datum value);
/* Arrays */
extern StateArg spinpanel_arg_ints(const int *values, int count);
extern StateArg spinpanel_arg_uuids(const pg_uuid_t *values, int count);
extern StateArg spinpanel_arg_null(void);

/* Columns (from 1) of row in SPI_tuptable; copies, in the current context. */
extern bool spinpanel_row_isnull(uint64 row, int column);
extern int32 spinpanel_row_int(uint64 row, int column); /* NULL = 0 */
/* An array of them: how many there are; at most size of them are copied. */
extern int spinpanel_row_ints(uint64 row, int column, int32 *values, int size);
extern int64 spinpanel_row_int64(uint64 row, int column);
extern bool spinpanel_row_bool(uint64 row, int column);
extern TimestampTz spinpanel_row_time(uint64 row, int column, TimestampTz if_null);
extern bool spinpanel_row_uuid(uint64 row, int column, pg_uuid_t *value);
extern char *spinpanel_row_text(uint64 row, int column, MemoryContext context);
extern Jsonb *spinpanel_row_jsonb(uint64 row, int column, MemoryContext context);

#endif /* SPINPANEL_STATEMENT_H */
