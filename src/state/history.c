/*
 * history.c
 *
 * Writes the table history, and only ever adds to it.
 */
#include "postgres.h"

#include "base/clock.h"
#include "state/history.h"
#include "state/statement.h"

static StateArg
id_or_null(int64 id)
{
	return id == 0 ? spinpanel_arg_null() : spinpanel_arg_int64(id);
}

void
spinpanel_history_add(const HistoryEntry *entry)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.history (at, event, actor, account_id, customer_id, sku_id,"
		" subscription_id, run_id, adjustment_id, operation_id, request_id, ms_request_id,"
		" before, after, answer, reason)"
		" VALUES ($1, $2, coalesce($3::name, session_user), $4, $5, $6, $7, $8, $9, $10, $11,"
		" $12, $13, $14, $15, $16)",
		"TttiuuuIIIIujjjt", NULL
	};
	StateArg args[16];

	args[0] = spinpanel_arg_time(spinpanel_now());
	args[1] = spinpanel_arg_text(entry->event);
	args[2] = spinpanel_arg_text(entry->actor);
	args[3] = entry->account_id == 0 ? spinpanel_arg_null() : spinpanel_arg_int(entry->account_id);
	args[4] = spinpanel_arg_uuid(entry->customer_id);
	args[5] = spinpanel_arg_uuid(entry->sku_id);
	args[6] = spinpanel_arg_uuid(entry->subscription_id);
	args[7] = id_or_null(entry->run_id);
	args[8] = id_or_null(entry->adjustment_id);
	args[9] = id_or_null(entry->operation_id);
	args[10] = id_or_null(entry->request_id);
	args[11] = spinpanel_arg_uuid(entry->ms_request_id);
	args[12] = spinpanel_arg_jsonb(entry->before);
	args[13] = spinpanel_arg_jsonb(entry->after);
	args[14] = spinpanel_arg_jsonb(entry->answer);
	args[15] = spinpanel_arg_text(entry->reason);
	spinpanel_state_run(&insert, args, 0);
}
