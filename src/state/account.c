/*
 * account.c
 *
 * Accounts as the worker sees them.  Here is the one place that decides
 * whether this database may act for an account (a copy must not), and the one
 * place that reads and writes table credential.  A refresh token is never a
 * part of a statement's text, of a message or of a history row.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "state/account.h"
#include "state/history.h"
#include "state/statement.h"
#include "state/unit.h"

typedef struct Known
{
	int32 account_id;
	char *trouble; /* NULL = usable */
	char *logged; /* trouble already said in the log */
	TimestampTz connected_at; /* 0 = not known yet */
} Known;

static MemoryContext connection_context = NULL;
static Known *known = NULL;
static int known_count = 0;

static char *
keep(const char *text)
{
	return text ? MemoryContextStrdup(connection_context, text) : NULL;
}

static Known *
find_known(int32 account_id)
{
	int i;

	for (i = 0; i < known_count; i++)
		if (known[i].account_id == account_id)
			return &known[i];
	return NULL;
}

static void
remember(int32 account_id, const char *name, const char *trouble)
{
	Known *entry = find_known(account_id);

	if (entry == NULL)
	{
		Size size = sizeof(Known) * (known_count + 1);

		known =
			known == NULL ? MemoryContextAlloc(connection_context, size) : repalloc(known, size);
		entry = &known[known_count++];
		memset(entry, 0, sizeof(*entry));
		entry->account_id = account_id;
	}
	if (entry->trouble)
		pfree(entry->trouble);
	entry->trouble = keep(trouble);

	/* One line per change of state, not per turn of the loop. */
	if (trouble && (entry->logged == NULL || strcmp(entry->logged, trouble) != 0))
	{
		if (entry->logged)
			pfree(entry->logged);
		entry->logged = keep(trouble);
		ereport(LOG, (errmsg("spinpanel account \"%s\" does not act: %s", name, trouble)));
	}
	else if (trouble == NULL && entry->logged)
	{
		pfree(entry->logged);
		entry->logged = NULL;
		ereport(LOG, (errmsg("spinpanel account \"%s\" acts again", name)));
	}
}

static void
refresh(void *arg)
{
	static StateQuery select = {
		"SELECT account_id, name, tenant_id::text, client_id, credential_file, api_url, login_url,"
		" requests_per_minute, max_concurrency, status, status_reason, system_identifier,"
		" database_oid::int8, connected_at,"
		" table_oid <> 'spinpanel.account'::pg_catalog.regclass::pg_catalog.oid"
		" FROM spinpanel.account WHERE status <> 'disconnected' ORDER BY account_id",
		"", NULL
	};
	uint64 rows;
	uint64 row;
	int i;
	bool *seen;

	rows = spinpanel_state_run(&select, NULL, 0);
	seen = palloc0(sizeof(bool) * (known_count + rows + 1));
	for (row = 0; row < rows; row++)
	{
		PartnerSettings settings;
		char *status = spinpanel_row_text(row, 10, CurrentMemoryContext);
		char *reason = spinpanel_row_text(row, 11, CurrentMemoryContext);
		char *trouble = NULL;

		memset(&settings, 0, sizeof(settings));
		settings.account_id = spinpanel_row_int(row, 1);
		settings.name = spinpanel_row_text(row, 2, CurrentMemoryContext);
		settings.tenant_id = spinpanel_row_text(row, 3, CurrentMemoryContext);
		settings.client_id = spinpanel_row_text(row, 4, CurrentMemoryContext);
		settings.credential_file = spinpanel_row_text(row, 5, CurrentMemoryContext);
		settings.api_url = spinpanel_row_text(row, 6, CurrentMemoryContext);
		settings.login_url = spinpanel_row_text(row, 7, CurrentMemoryContext);
		settings.requests_per_minute = spinpanel_row_int(row, 8);
		settings.max_concurrency = spinpanel_row_int(row, 9);

		/*
		 * A restored dump has another system identifier, a copied database
		 * another OID; a dump restored into the same database has another
		 * table of accounts.  A physical copy has both alike and is told by the
		 * credential file, which is outside the data directory.
		 */
		if ((uint64) spinpanel_row_int64(row, 12) != GetSystemIdentifier() ||
			(Oid) spinpanel_row_int64(row, 13) != MyDatabaseId || spinpanel_row_bool(row, 15))
			trouble = "this database is a copy of the one that connected it";
		else if (strcmp(status, "stopped") == 0)
			trouble = psprintf("it was stopped: %s", reason ? reason : "no reason recorded");
		else if (access(settings.credential_file, R_OK) != 0)
			trouble = psprintf("credential file \"%s\" cannot be read: %s",
							   settings.credential_file, strerror(errno));

		remember(settings.account_id, settings.name, trouble);
		for (i = 0; i < known_count; i++)
			if (known[i].account_id == settings.account_id)
				seen[i] = true;

		/*
		 * A stopped account stays known: the partner layer looks at its
		 * credential file and tries again by itself.
		 */
		if (trouble == NULL || strcmp(status, "stopped") == 0)
		{
			PartnerAccount *account = spinpanel_partner_account(&settings);
			Known *entry = find_known(settings.account_id);
			TimestampTz connected_at = spinpanel_row_time(row, 14, 0);

			if (entry->connected_at != 0 && entry->connected_at != connected_at)
				spinpanel_partner_retry(account);
			entry->connected_at = connected_at;
		}
		else
			spinpanel_partner_forget(settings.account_id);
	}

	for (i = 0; i < known_count; i++)
	{
		if (!seen[i] &&
			(known[i].trouble == NULL || strcmp(known[i].trouble, "it was disconnected") != 0))
		{
			spinpanel_partner_forget(known[i].account_id);
			if (known[i].trouble)
				pfree(known[i].trouble);
			known[i].trouble = keep("it was disconnected");
		}
	}
}

bool
spinpanel_account_refresh(void)
{
	if (connection_context == NULL)
		connection_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel accounts", ALLOCSET_SMALL_SIZES);
	return spinpanel_unit("reading accounts", refresh, NULL, UNIT_REPEATABLE);
}

void
spinpanel_account_forget(void)
{
	int i;

	for (i = 0; i < known_count; i++)
		spinpanel_partner_forget(known[i].account_id);
	known_count = 0;
}

bool
spinpanel_account_usable(int32 account_id)
{
	Known *entry = find_known(account_id);

	return entry != NULL && entry->trouble == NULL && spinpanel_partner_find(account_id) != NULL;
}

const char *
spinpanel_account_trouble(int32 account_id)
{
	Known *entry = find_known(account_id);

	if (entry == NULL)
		return "it is not connected";
	return entry->trouble;
}

int
spinpanel_account_list(int32 **ids)
{
	int i;
	int n = 0;

	*ids = palloc(sizeof(int32) * (known_count + 1));
	for (i = 0; i < known_count; i++)
		if (known[i].trouble == NULL || strcmp(known[i].trouble, "it was disconnected") != 0)
			(*ids)[n++] = known[i].account_id;
	return n;
}

int
spinpanel_account_usable_list(int32 **ids)
{
	int count = spinpanel_account_list(ids);
	int usable = 0;
	int i;

	for (i = 0; i < count; i++)
		if (spinpanel_account_usable((*ids)[i]))
			(*ids)[usable++] = (*ids)[i];
	return usable;
}

/* ---- hooks: what must outlive the process ---------------------------------- */

typedef struct TokenWork
{
	int32 account_id;
	const char *token; /* to store */
	char *loaded; /* loaded, in the caller's context */
	MemoryContext context;
} TokenWork;

static void
store_token(void *arg)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.credential (account_id, refresh_token, obtained_at)"
		" SELECT account_id, $2, $3 FROM spinpanel.account WHERE account_id = $1"
		" ON CONFLICT (account_id) DO UPDATE SET refresh_token = excluded.refresh_token,"
		" obtained_at = excluded.obtained_at",
		"itT", NULL
	};
	TokenWork *work = arg;
	StateArg args[3];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_text(work->token);
	args[2] = spinpanel_arg_time(spinpanel_now());
	spinpanel_state_run(&upsert, args, 0);
}

static void
hook_store_refresh_token(int32 account_id, const char *token)
{
	TokenWork work;

	work.account_id = account_id;
	work.token = token;
	(void) spinpanel_unit("keeping a refresh token", store_token, &work, UNIT_DURABLE);
}

static void
load_token(void *arg)
{
	static StateQuery select = {
		"SELECT refresh_token FROM spinpanel.credential WHERE account_id = $1", "i", NULL
	};
	TokenWork *work = arg;
	StateArg args[1];

	args[0] = spinpanel_arg_int(work->account_id);
	if (spinpanel_state_run(&select, args, 1) > 0)
		work->loaded = spinpanel_row_text(0, 1, work->context);
}

static bool
hook_load_refresh_token(int32 account_id, char **token)
{
	TokenWork work;
	bool loaded;

	work.account_id = account_id;
	work.loaded = NULL;
	work.context = CurrentMemoryContext;
	loaded = spinpanel_unit("reading a refresh token", load_token, &work, UNIT_REPEATABLE);
	*token = work.loaded;
	return loaded;
}

typedef struct StatusWork
{
	int32 account_id;
	const char *code;
	const char *reason;
	const char *access;
} StatusWork;

static void
store_stopped(void *arg)
{
	static StateQuery update = {
		"UPDATE spinpanel.account SET status = 'stopped', status_reason = $2"
		" WHERE account_id = $1 AND status = 'active' RETURNING name",
		"it", NULL
	};
	StatusWork *work = arg;
	StateArg args[2];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_text(work->reason);
	if (spinpanel_state_run(&update, args, 0) > 0)
	{
		HistoryEntry entry;
		StringInfoData payload;

		memset(&entry, 0, sizeof(entry));
		entry.event = "account stopped";
		entry.account_id = work->account_id;
		entry.reason = work->reason;
		spinpanel_history_add(&entry);

		initStringInfo(&payload);
		appendStringInfo(
			&payload,
			"{\"type\":\"account\",\"id\":%d,\"status\":\"stopped\",\"customer_id\":null}",
			work->account_id);
		Async_Notify("spinpanel", payload.data);
	}
}

static void
hook_account_stopped(int32 account_id, const char *code, const char *reason)
{
	StatusWork work;

	memset(&work, 0, sizeof(work));
	work.account_id = account_id;
	work.code = code;
	work.reason = reason;
	(void) spinpanel_unit("stopping an account", store_stopped, &work, UNIT_DURABLE);
}

static void
store_connected(void *arg)
{
	static StateQuery update = {
		"UPDATE spinpanel.account SET access = $2, status = 'active', status_reason = NULL"
		" WHERE account_id = $1 AND status <> 'disconnected'"
		" AND (access IS DISTINCT FROM $2 OR status = 'stopped')",
		"it", NULL
	};
	StatusWork *work = arg;
	StateArg args[2];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_text(work->access);
	spinpanel_state_run(&update, args, 0);
}

static void
hook_account_connected(int32 account_id, const char *access_kind)
{
	StatusWork work;

	memset(&work, 0, sizeof(work));
	work.account_id = account_id;
	work.access = access_kind;
	(void) spinpanel_unit("noting an account's access", store_connected, &work, UNIT_REPEATABLE);
}

const PartnerHooks spinpanel_account_hooks = {
	.store_refresh_token = hook_store_refresh_token,
	.load_refresh_token = hook_load_refresh_token,
	.account_stopped = hook_account_stopped,
	.account_connected = hook_account_connected,
};
