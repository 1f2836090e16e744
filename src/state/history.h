/*
 * history.h
 *
 * The append-only record: who, why, before, after, answer, when.
 */
#ifndef SPINPANEL_HISTORY_H
#define SPINPANEL_HISTORY_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct HistoryEntry
{
	const char *event; /* e.g. "operation sending" */
	const char *actor; /* NULL = the session's user */
	int32 account_id; /* 0 = none, as below */
	const pg_uuid_t *customer_id;
	const pg_uuid_t *sku_id;
	const pg_uuid_t *subscription_id;
	int64 run_id;
	int64 adjustment_id;
	int64 operation_id;
	int64 request_id;
	const pg_uuid_t *ms_request_id;
	const Jsonb *before;
	const Jsonb *after;
	const Jsonb *answer;
	const char *reason;
} HistoryEntry;

/* Adds one row; SPI must be connected. */
extern void spinpanel_history_add(const HistoryEntry *entry);

#endif /* SPINPANEL_HISTORY_H */
