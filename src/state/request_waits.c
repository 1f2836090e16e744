/*
 * request_waits.c
 *
 * What requests wait for beside their own operation: other requests of the user,
 * and Partner Center.  Writes the words of license_request only; its states are
 * request.c's.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/settings.h"
#include "state/request.h"
#include "state/statement.h"

#define OPEN_STATES "('queued', 'buying', 'provisioning', 'assigning')"

/* Whoever asked for one thing of a user may just be asking for another. */
#define JUST_ASKED (10 * USECS_PER_SEC)

bool
spinpanel_request_others_of_user(const Operation *op, const pg_uuid_t *user_id)
{
	static StateQuery select = {
		"SELECT 1 FROM spinpanel.license_request m WHERE m.operation_id = $3 AND (m.created_at > $5"
		" OR m.created_at > $4 AND EXISTS (SELECT FROM spinpanel.license_request q WHERE (q.customer_id = $1) IS TRUE"
		"  AND q.user_id = $2 AND q.sku_id <> m.sku_id"
		"  AND q.finished_at IS NULL AND q.user_id IS NOT NULL AND (q.status IN " OPEN_STATES
		"  ) IS TRUE AND q.operation_id IS DISTINCT FROM $3))",
		"uuITT", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_uuid(&op->customer_id);
	args[1] = spinpanel_arg_uuid(user_id);
	args[2] = spinpanel_arg_int64(op->operation_id);
	args[3] = spinpanel_arg_time(spinpanel_now() -
								 (int64) spinpanel_provisioning_timeout * USECS_PER_SEC);
	args[4] = spinpanel_arg_time(spinpanel_now() - JUST_ASKED);
	return spinpanel_state_run(&select, args, 1) > 0;
}

void
spinpanel_request_operation_waits(const Operation *op, const char *code, const char *words)
{
	static StateQuery served = {
		"UPDATE spinpanel.license_request SET state_reason = $2 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.operation_id = $1 AND q.status IN " OPEN_STATES
		" AND q.state_reason IS DISTINCT FROM $2 FOR UPDATE SKIP LOCKED)",
		"It", NULL
	};
	static StateQuery bought = {
		"UPDATE spinpanel.license_request SET state_reason = $2 WHERE request_id IN (SELECT q.request_id"
		" FROM spinpanel.license_request q WHERE q.buy_operation = $1 AND q.status = 'buying'"
		" AND q.state_reason IS DISTINCT FROM $2 FOR UPDATE SKIP LOCKED)",
		"It", NULL
	};
	bool buys = strcmp(op->purpose, "buy") == 0;
	StateArg args[2];

	if (op->request_id == 0 || words == NULL || words[0] == '\0')
		return;
	args[0] = spinpanel_arg_int64(strcmp(op->kind, "checkout") == 0 && op->after_operation != 0
									  ? op->after_operation
									  : op->operation_id);
	args[1] =
		spinpanel_arg_text(code != NULL && code[0] != '\0'
							   ? psprintf("waits for Partner Center: %s, code %s", words, code)
							   : psprintf("waits for Partner Center: %s", words));
	spinpanel_state_run(buys ? &bought : &served, args, 0);
}
