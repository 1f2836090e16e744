/*
 * account.c
 *
 * Accounts as the worker sees them.  Here is the one place that decides
 * whether this database may act for an account (a copy must not), the one place
 * that changes the status of an account, and the one that reads and writes
 * table credential and trades what is in table sign_in.  Tokens and codes come
 * and go encrypted; this file has no key.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "partner/fence.h"
#include "state/account.h"
#include "state/history.h"
#include "state/statement.h"
#include "state/unit.h"

#define COPY_TROUBLE "this database is a copy of the one that connected it"

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

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* For people and check_setup().  A row that somebody is changing is left alone: next time. */
static void
write_idle_reason(int32 account_id, const char *reason)
{
	static StateQuery update = {
		"UPDATE spinpanel.account SET idle_reason = $2 WHERE account_id ="
		" (SELECT a.account_id FROM spinpanel.account a WHERE a.account_id = $1"
		"  FOR NO KEY UPDATE SKIP LOCKED)",
		"it", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_text(reason);
	spinpanel_state_run(&update, args, 0);
}

static void
refresh(void *arg)
{
	static StateQuery select = {
		"SELECT account_id, name, tenant_id::text, client_id, credential_file, api_url, login_url,"
		" requests_per_minute, max_concurrency, status, status_reason, system_identifier,"
		" database_oid::int8, connected_at,"
		" table_oid <> 'spinpanel.account'::pg_catalog.regclass::pg_catalog.oid, idle_reason,"
		" EXISTS (SELECT FROM spinpanel.sign_in s WHERE s.account_id = account.account_id"
		"  AND s.code IS NOT NULL AND s.outcome IS NULL)"
		" FROM spinpanel.account WHERE status <> 'disconnected' ORDER BY account_id",
		"", NULL
	};
	uint64 rows;
	uint64 row;
	int i;
	bool *seen;
	struct
	{
		int32 account_id;
		const char *idle_reason;
		bool changed;
	} * changes;

	rows = spinpanel_state_run(&select, NULL, 0);
	changes = palloc0(sizeof(*changes) * (rows + 1));
	seen = palloc0(sizeof(bool) * (known_count + rows + 1));
	for (row = 0; row < rows; row++)
	{
		PartnerSettings settings;
		char *status = spinpanel_row_text(row, 10, CurrentMemoryContext);
		char *reason = spinpanel_row_text(row, 11, CurrentMemoryContext);
		char *trouble = NULL;
		bool stopped = strcmp(status, "stopped") == 0;
		bool held = false;
		char words[1200];

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
		settings.code_waits = spinpanel_row_bool(row, 17);

		/*
		 * A restored dump has another system identifier, a copied database
		 * another OID; a dump restored into the same database has another
		 * table of accounts.  A physical copy has all of them alike and is told
		 * by the credential file, which is outside the data directory: it has
		 * none, or its original acts with it.
		 */
		if ((uint64) spinpanel_row_int64(row, 12) != GetSystemIdentifier() ||
			(Oid) spinpanel_row_int64(row, 13) != MyDatabaseId || spinpanel_row_bool(row, 15))
			trouble = COPY_TROUBLE;
		else
		{
			held = spinpanel_fence_hold(settings.account_id, settings.credential_file, words,
										sizeof(words));
			if (stopped)
				trouble = psprintf("it was stopped: %s", reason ? reason : "no reason recorded");
			if (!held)
				trouble = pstrdup(words);
		}
		changes[row].account_id = settings.account_id;
		changes[row].idle_reason = trouble;
		changes[row].changed =
			!same_text(trouble, spinpanel_row_text(row, 16, CurrentMemoryContext));

		remember(settings.account_id, settings.name, trouble);
		for (i = 0; i < known_count; i++)
			if (known[i].account_id == settings.account_id)
				seen[i] = true;

		/*
		 * A stopped account stays known: the partner layer looks at its
		 * credential file and tries again by itself.
		 */
		if (held)
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
		if (strcmp(trouble ? trouble : "", COPY_TROUBLE) == 0)
			spinpanel_fence_drop(settings.account_id);
	}
	for (row = 0; row < rows; row++)
		if (changes[row].changed)
			write_idle_reason(changes[row].account_id, changes[row].idle_reason);

	for (i = 0; i < known_count; i++)
	{
		if (!seen[i])
			spinpanel_fence_drop(known[i].account_id);
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
	{
		spinpanel_partner_forget(known[i].account_id);
		spinpanel_fence_drop(known[i].account_id);
	}
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

/* ---- status ------------------------------------------------------------------ */

static bool
may_become(const char *from, const char *to, bool connecting)
{
	if (strcmp(from, to) == 0)
		return false;
	if (strcmp(from, "disconnected") == 0)
		return connecting && strcmp(to, "active") == 0;
	return true;
}

bool
spinpanel_account_turn(int32 account_id, const char *status, const char *reason, const char *event,
					   bool connecting)
{
	/* The row is locked only where there is something to change. */
	static StateQuery select = { "SELECT status FROM spinpanel.account WHERE account_id = $1", "i",
								 NULL };
	static StateQuery update = { "UPDATE spinpanel.account SET status = $2, status_reason = $3"
								 " WHERE account_id = $1 AND status = $4",
								 "ittt", NULL };
	StateArg args[4];
	HistoryEntry entry;
	char *from;

	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return false;
	from = spinpanel_row_text(0, 1, CurrentMemoryContext);
	if (!may_become(from, status, connecting))
		return false;
	args[1] = spinpanel_arg_text(status);
	args[2] = spinpanel_arg_text(reason);
	args[3] = spinpanel_arg_text(from);
	if (spinpanel_state_run(&update, args, 0) == 0)
		return false;
	if (event == NULL)
		return true;
	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = account_id;
	entry.reason = reason;
	spinpanel_history_add(&entry);
	return true;
}

static void
notify(int32 account_id, const char *status)
{
	Async_Notify("spinpanel",
				 psprintf("{\"type\":\"account\",\"id\":%d,\"status\":\"%s\",\"customer_id\":null}",
						  account_id, status));
}

/* ---- hooks: what must outlive the process ---------------------------------- */

typedef struct TokenWork
{
	int32 account_id;
	const bytea *sealed; /* to store */
	bytea *loaded; /* in the caller's context */
	char *state;
	bool signed_in;
	const char *reason;
	MemoryContext context;
} TokenWork;

static bytea *
row_bytes(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	Datum datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	MemoryContext caller;
	bytea *bytes;

	if (isnull)
		return NULL;
	caller = MemoryContextSwitchTo(context);
	bytes = DatumGetByteaPCopy(datum);
	MemoryContextSwitchTo(caller);
	return bytes;
}

static void
store_token(void *arg)
{
	static StateQuery upsert = {
		"INSERT INTO spinpanel.credential (account_id, refresh_token, source, obtained_at, used_at)"
		" SELECT account_id, $2, CASE WHEN $4 THEN 'sign_in' ELSE 'file' END, $3, $3"
		" FROM spinpanel.account WHERE account_id = $1"
		" ON CONFLICT (account_id) DO UPDATE SET refresh_token = excluded.refresh_token,"
		" source = excluded.source, obtained_at = excluded.obtained_at, used_at = excluded.used_at",
		"iBTb", NULL
	};
	TokenWork *work = arg;
	StateArg args[4];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_datum(PointerGetDatum(work->sealed));
	args[2] = spinpanel_arg_time(spinpanel_now());
	args[3] = spinpanel_arg_bool(work->signed_in);
	spinpanel_state_run(&upsert, args, 0);
}

static void
hook_store_refresh_token(int32 account_id, const bytea *sealed, bool signed_in)
{
	TokenWork work = { 0 };

	work.account_id = account_id;
	work.sealed = sealed;
	work.signed_in = signed_in;
	(void) spinpanel_unit("keeping a refresh token", store_token, &work, UNIT_DURABLE);
}

static void
load_token(void *arg)
{
	static StateQuery select = {
		"SELECT refresh_token, source = 'sign_in' FROM spinpanel.credential WHERE account_id = $1",
		"i", NULL
	};
	TokenWork *work = arg;
	StateArg args[1];

	args[0] = spinpanel_arg_int(work->account_id);
	if (spinpanel_state_run(&select, args, 1) > 0)
	{
		work->loaded = row_bytes(0, 1, work->context);
		work->signed_in = spinpanel_row_bool(0, 2);
	}
}

static bool
hook_load_refresh_token(int32 account_id, bytea **sealed, bool *signed_in)
{
	TokenWork work = { 0 };
	bool loaded;

	work.account_id = account_id;
	work.context = CurrentMemoryContext;
	loaded = spinpanel_unit("reading a refresh token", load_token, &work, UNIT_REPEATABLE);
	*sealed = work.loaded;
	*signed_in = work.signed_in;
	return loaded;
}

static void
load_sign_in(void *arg)
{
	static StateQuery select = {
		"SELECT state, code FROM spinpanel.sign_in WHERE account_id = $1 AND outcome IS NULL", "i",
		NULL
	};
	TokenWork *work = arg;
	StateArg args[1];

	args[0] = spinpanel_arg_int(work->account_id);
	if (spinpanel_state_run(&select, args, 1) > 0)
	{
		work->state = spinpanel_row_text(0, 1, work->context);
		work->loaded = row_bytes(0, 2, work->context);
	}
}

static bool
hook_load_sign_in(int32 account_id, char **state, bytea **code)
{
	TokenWork work = { 0 };
	bool loaded;

	work.account_id = account_id;
	work.context = CurrentMemoryContext;
	loaded = spinpanel_unit("reading a sign-in", load_sign_in, &work, UNIT_REPEATABLE);
	*state = work.state;
	*code = work.loaded;
	return loaded;
}

static void
end_sign_in(void *arg)
{
	static StateQuery update = {
		"UPDATE spinpanel.sign_in SET code = NULL, outcome = coalesce($2, 'done')"
		" WHERE account_id = $1 AND outcome IS NULL",
		"it", NULL
	};
	TokenWork *work = arg;
	StateArg args[2];
	HistoryEntry entry;

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_text(work->reason);
	if (spinpanel_state_run(&update, args, 0) == 0)
		return;
	memset(&entry, 0, sizeof(entry));
	entry.event = work->reason == NULL ? "signed in" : "sign-in failed";
	entry.account_id = work->account_id;
	entry.reason = work->reason;
	spinpanel_history_add(&entry);
	notify(work->account_id, work->reason == NULL ? "signed in" : "sign-in failed");
}

static void
hook_sign_in_over(int32 account_id, const char *reason)
{
	TokenWork work = { 0 };

	work.account_id = account_id;
	work.reason = reason;
	(void) spinpanel_unit("ending a sign-in", end_sign_in, &work, UNIT_DURABLE);
}

typedef struct StatusWork
{
	int32 account_id;
	const char *code;
	const char *reason;
	const char *access;
} StatusWork;

/* What a person can do about it. */
static const char *
mend(const char *code, int32 account_id)
{
	static StateQuery select = {
		"SELECT pg_catalog.quote_literal(name), credential_file FROM spinpanel.account"
		" WHERE account_id = $1",
		"i", NULL
	};
	static const char *const by_signing_in[] = { "invalid_grant", "interaction_required",
												 "consent_required", "sign_in_needed", "900421" };
	StateArg args[1];
	char *name;
	char *file;
	int i;

	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_state_run(&select, args, 1) == 0)
		return "";
	name = spinpanel_row_text(0, 1, CurrentMemoryContext);
	file = spinpanel_row_text(0, 2, CurrentMemoryContext);
	for (i = 0; i < (int) lengthof(by_signing_in); i++)
		if (strcmp(code, by_signing_in[i]) == 0)
			return psprintf("; sign in again: SELECT spinpanel.sign_in_url(%s)", name);
	if (strcmp(code, "invalid_client") == 0)
		return psprintf("; put a valid client secret into \"%s\"", file);
	return "";
}

static void
store_stopped(void *arg)
{
	StatusWork *work = arg;
	const char *reason = psprintf("%s%s", work->reason, mend(work->code, work->account_id));

	if (spinpanel_account_turn(work->account_id, "stopped", reason, "account stopped", false))
		notify(work->account_id, "stopped");
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
		"UPDATE spinpanel.account SET access = $2 WHERE account_id ="
		" (SELECT a.account_id FROM spinpanel.account a WHERE a.account_id = $1"
		"  AND a.status <> 'disconnected' AND a.access IS DISTINCT FROM $2 FOR NO KEY UPDATE SKIP LOCKED)",
		"it", NULL
	};
	StatusWork *work = arg;
	StateArg args[2];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_text(work->access);
	spinpanel_state_run(&update, args, 0);
	if (spinpanel_account_turn(work->account_id, "active", NULL, "account active again", false))
		notify(work->account_id, "active");
}

/* On its own: the account acts, whether or not this can be noted. */
static void
store_used(void *arg)
{
	static StateQuery update = {
		"UPDATE spinpanel.credential SET used_at = $2 WHERE account_id = $1", "iT", NULL
	};
	StatusWork *work = arg;
	StateArg args[2];

	args[0] = spinpanel_arg_int(work->account_id);
	args[1] = spinpanel_arg_time(spinpanel_now());
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
	if (strcmp(access_kind, "app+user") == 0)
		(void) spinpanel_unit("noting the use of a token", store_used, &work, UNIT_REPEATABLE);
}

const PartnerHooks spinpanel_account_hooks = {
	.store_refresh_token = hook_store_refresh_token,
	.load_refresh_token = hook_load_refresh_token,
	.load_sign_in = hook_load_sign_in,
	.sign_in_over = hook_sign_in_over,
	.account_stopped = hook_account_stopped,
	.account_connected = hook_account_connected,
};
