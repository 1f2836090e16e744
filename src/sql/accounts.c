/*
 * accounts.c
 *
 * connect_account() and disconnect_account().  The only place that writes the
 * settings of an account, and the judge of what may be one: addresses that a
 * secret may be sent to, and a credential file that can be read.  Never reads
 * the stored refresh token, only erases it, and never quotes an address (it
 * may hold what should not be in it) or the file's content.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "partner/credential.h"
#include "sql/names.h"
#include "sql/require.h"
#include "state/account.h"
#include "state/adjustment.h"
#include "state/history.h"
#include "state/mirror.h"
#include "state/operation.h"
#include "state/request.h"
#include "state/run.h"
#include "state/statement.h"

#define NAME_LENGTH_MAX 100
#define CLIENT_LENGTH_MAX 200
#define PATH_LENGTH_MAX 1000
#define URL_LENGTH_MAX 500

typedef struct Wanted
{
	char *name;
	const pg_uuid_t *tenant_id;
	char *client_id;
	char *credential_file;
	char *api_url;
	char *login_url;
	int32 requests_per_minute;
	int32 max_concurrency;
	const char *access;
} Wanted;

/* ---- checks ------------------------------------------------------------------------- */

static bool
reads_server_files(Oid role)
{
	return superuser_arg(role) || has_privs_of_role(role, ROLE_PG_READ_SERVER_FILES);
}

/*
 * To name a file on the server is to read it, in a way: errors tell whether it
 * exists.  The role admin does not include that.
 *
 * The function runs with the rights of the code that calls it, and asks for the
 * right of that role, of whoever logged in, and of the role in between (SET
 * ROLE): neither may borrow it from the other.  Code that a command such as
 * ANALYZE or REFRESH runs for the owner of a table was not called by anybody
 * who wants this.
 */
static void
require_file_reader(void)
{
	if (InSecurityRestrictedOperation() || !reads_server_files(GetUserId()) ||
		!reads_server_files(GetSessionUserId()) || !reads_server_files(GetOuterUserId()))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to name a file on the server"),
			 errdetail(
				 "Only superusers and members of pg_read_server_files may connect an account."),
			 errhint("The role that logged in and the role that calls the function both need it; "
					 "it cannot be called from an index expression or a materialized view.")));
}

/* What follows is done as the owner of the function, whose tables these are. */
static void
become_owner(FunctionCallInfo fcinfo, Oid *caller, int *context)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(caller, context);
	SetUserIdAndSecContext(owner, *context | SECURITY_LOCAL_USERID_CHANGE);
}

/* blanks: may it hold blanks inside? */
static void
require_text(const char *text, const char *parameter, int length_max, bool blanks)
{
	const char *c;

	spinpanel_require_value(text != NULL, parameter);
	if (text[0] == '\0' || strlen(text) > length_max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must have 1 to %d bytes", parameter, length_max)));
	for (c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < (blanks ? 0x20 : 0x21) || *c == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("parameter \"%s\" holds characters that are not allowed in it",
								   parameter)));
	}
}

/*
 * The address without slashes at its end.  The client adds /v1 and the tenant
 * itself, so they may not be there.
 */
static char *
checked_url(const char *url, const char *parameter, const pg_uuid_t *tenant_id)
{
	const char *problem = NULL;
	char *copy;
	size_t length;
	char *tenant;

	spinpanel_require_value(url != NULL, parameter);
	if (strlen(url) > URL_LENGTH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" is longer than %d bytes", parameter, URL_LENGTH_MAX)));
	copy = pstrdup(url);
	length = strlen(copy);
	while (length > 0 && copy[length - 1] == '/')
		copy[--length] = '\0';

	if (!spinpanel_address_allowed(copy, spinpanel_allowed_hosts, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" cannot be used: %s", parameter, problem),
				 errhint("Microsoft's hosts are always allowed, with https. Others are where a "
						 "superuser names them in spinpanel.allowed_hosts, and plain http only "
						 "to a loopback address.")));
	if (length >= 3 && pg_strcasecmp(copy + length - 3, "/v1") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be given without \"/v1\"", parameter)));
	tenant = spinpanel_uuid_text(tenant_id);
	if (length > strlen(tenant) && pg_strcasecmp(copy + length - strlen(tenant), tenant) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be given without the tenant", parameter)));
	return copy;
}

static int32
checked_number(FunctionCallInfo fcinfo, int number, const char *parameter, int32 max)
{
	int32 value;

	spinpanel_require_value(!PG_ARGISNULL(number), parameter);
	value = PG_GETARG_INT32(number);
	if (value < 1 || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be between 1 and %d", parameter, max)));
	return value;
}

/* Two accounts of one tenant would both act on the same seats. */
static void
require_free_tenant(const Wanted *wanted)
{
	static StateQuery select = {
		"SELECT name FROM spinpanel.account WHERE tenant_id = $1 AND name <> $2"
		" AND status <> 'disconnected' LIMIT 1",
		"ut", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(wanted->tenant_id);
	args[1] = spinpanel_arg_text(wanted->name);
	if (spinpanel_state_run(&select, args, 1) > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the tenant is connected already, as account \"%s\"",
							   spinpanel_row_text(0, 1, CurrentMemoryContext)),
						errhint("Give that name to change its settings, or disconnect it first.")));
}

/* ---- writing -------------------------------------------------------------------------- */

/* What of an account goes into the history. */
#define ACCOUNT_AS_JSONB \
	"pg_catalog.jsonb_build_object('name', a.name, 'tenant_id', a.tenant_id, 'client_id'," \
	" a.client_id, 'credential_file', a.credential_file, 'api_url', a.api_url, 'login_url'," \
	" a.login_url, 'requests_per_minute', a.requests_per_minute, 'max_concurrency'," \
	" a.max_concurrency, 'status', a.status, 'access', a.access)"

static void
erase_token(int32 account_id)
{
	static StateQuery token = { "DELETE FROM spinpanel.credential WHERE account_id = $1", "i",
								NULL };
	static StateQuery sign_in = { "DELETE FROM spinpanel.sign_in WHERE account_id = $1", "i",
								  NULL };
	StateArg args[1];

	args[0] = spinpanel_arg_int(account_id);
	spinpanel_state_run(&token, args, 0);
	spinpanel_state_run(&sign_in, args, 0);
}

static void
record(const char *event, int32 account_id, const Jsonb *before, const Jsonb *after)
{
	HistoryEntry entry;

	memset(&entry, 0, sizeof(entry));
	entry.event = event;
	entry.account_id = account_id;
	entry.before = before;
	entry.after = after;
	spinpanel_history_add(&entry);
}

static void
fill(StateArg *args, const Wanted *wanted)
{
	args[0] = spinpanel_arg_text(wanted->name);
	args[1] = spinpanel_arg_uuid(wanted->tenant_id);
	args[2] = spinpanel_arg_text(wanted->client_id);
	args[3] = spinpanel_arg_text(wanted->credential_file);
	args[4] = spinpanel_arg_text(wanted->api_url);
	args[5] = spinpanel_arg_text(wanted->login_url);
	args[6] = spinpanel_arg_int(wanted->requests_per_minute);
	args[7] = spinpanel_arg_int(wanted->max_concurrency);
	args[8] = spinpanel_arg_text(wanted->access);
	args[9] = spinpanel_arg_time(spinpanel_now());
}

static int32
insert_account(const Wanted *wanted)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.account AS a (name, tenant_id, client_id, credential_file, api_url,"
		" login_url, requests_per_minute, max_concurrency, access, connected_at,"
		" system_identifier, database_oid, table_oid)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
		" 'spinpanel.account'::pg_catalog.regclass::pg_catalog.oid)"
		" RETURNING account_id, " ACCOUNT_AS_JSONB,
		"tuttttiitTIo", NULL
	};
	StateArg args[12];
	int32 account_id;

	fill(args, wanted);
	args[10] = spinpanel_arg_int64((int64) GetSystemIdentifier());
	args[11] = spinpanel_arg_datum(ObjectIdGetDatum(MyDatabaseId));
	spinpanel_state_run(&insert, args, 0);
	account_id = spinpanel_row_int(0, 1);
	record("account connected", account_id, NULL, spinpanel_row_jsonb(0, 2, CurrentMemoryContext));
	return account_id;
}

/*
 * Where it was connected stays as it is: a copy that gets a new credential
 * file is still a copy, and acts only after activate().
 */
static void
update_account(const Wanted *wanted, int32 account_id, const Jsonb *before)
{
	static StateQuery update = {
		"UPDATE spinpanel.account a SET tenant_id = $2, client_id = $3, credential_file = $4,"
		" api_url = $5, login_url = $6, requests_per_minute = $7, max_concurrency = $8, access = $9,"
		" connected_at = $10, connected_by = session_user WHERE name = $1"
		" RETURNING " ACCOUNT_AS_JSONB,
		"tuttttiitT", NULL
	};
	StateArg args[10];

	(void) spinpanel_account_turn(account_id, "active", NULL, NULL, true);
	fill(args, wanted);
	if (spinpanel_state_run(&update, args, 0) != 1)
		elog(ERROR, "account \"%s\" vanished", wanted->name);
	record("account connected again", account_id, before,
		   spinpanel_row_jsonb(0, 1, CurrentMemoryContext));
}

static int32
store_account(Wanted *wanted)
{
	static StateQuery select = {
		"SELECT account_id, tenant_id = $2 AND client_id = $3, status = 'disconnected',"
		" system_identifier = $4 AND database_oid = $5"
		" AND table_oid = 'spinpanel.account'::pg_catalog.regclass::pg_catalog.oid, " ACCOUNT_AS_JSONB
		", EXISTS (SELECT FROM spinpanel.credential c WHERE c.account_id = a.account_id"
		"  AND c.source = 'sign_in')"
		" FROM spinpanel.account a WHERE name = $1 FOR NO KEY UPDATE",
		"tutIo", NULL
	};
	StateArg args[5];
	int32 account_id;
	bool same;
	bool was_disconnected;
	bool is_copy;
	bool signed_in;
	const Jsonb *before;

	args[0] = spinpanel_arg_text(wanted->name);
	args[1] = spinpanel_arg_uuid(wanted->tenant_id);
	args[2] = spinpanel_arg_text(wanted->client_id);
	args[3] = spinpanel_arg_int64((int64) GetSystemIdentifier());
	args[4] = spinpanel_arg_datum(ObjectIdGetDatum(MyDatabaseId));
	if (spinpanel_state_run(&select, args, 1) == 0)
		return insert_account(wanted);

	account_id = spinpanel_row_int(0, 1);
	same = spinpanel_row_bool(0, 2);
	was_disconnected = spinpanel_row_bool(0, 3);
	is_copy = !spinpanel_row_bool(0, 4);
	signed_in = spinpanel_row_bool(0, 6);
	before = spinpanel_row_jsonb(0, 5, CurrentMemoryContext);

	/*
	 * Another app's token is of no use, nor the file's where the file has none
	 * any more.  Who signed in need not do it again.
	 */
	if (!same || (strcmp(wanted->access, "app") == 0 && !signed_in))
		erase_token(account_id);
	else if (signed_in)
		wanted->access = "app+user";
	update_account(wanted, account_id, before);
	if (was_disconnected)
		spinpanel_mirror_recount_account(account_id);
	if (is_copy)
		ereport(
			WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg(
				 "account \"%s\" does not act: this database is a copy of the one that connected it",
				 wanted->name),
			 errhint("Run SELECT spinpanel.activate(); if this database is to act from now on.")));
	return account_id;
}

/*
 * spinpanel.connect_account(name text, tenant_id uuid, client_id text,
 *	credential_file text, api_url text, login_url text,
 *	requests_per_minute int, max_concurrency int) int
 */
PG_FUNCTION_INFO_V1(spinpanel_connect_account);

Datum
spinpanel_connect_account(PG_FUNCTION_ARGS)
{
	Wanted wanted;
	int32 account_id;
	Oid caller;
	int context;

	spinpanel_require_primary();
	require_file_reader();
	become_owner(fcinfo, &caller, &context);

	wanted.name = spinpanel_name_argument(fcinfo, 0);
	require_text(wanted.name, "name", NAME_LENGTH_MAX, true);
	spinpanel_require_value(!PG_ARGISNULL(1), "tenant_id");
	wanted.tenant_id = PG_GETARG_UUID_P(1);
	wanted.client_id = spinpanel_name_argument(fcinfo, 2);
	require_text(wanted.client_id, "client_id", CLIENT_LENGTH_MAX, false);
	wanted.credential_file = spinpanel_name_argument(fcinfo, 3);
	require_text(wanted.credential_file, "credential_file", PATH_LENGTH_MAX, true);
	wanted.api_url = checked_url(spinpanel_name_argument(fcinfo, 4), "api_url", wanted.tenant_id);
	wanted.login_url =
		checked_url(spinpanel_name_argument(fcinfo, 5), "login_url", wanted.tenant_id);
	wanted.requests_per_minute = checked_number(fcinfo, 6, "requests_per_minute", 1000000);
	wanted.max_concurrency = checked_number(fcinfo, 7, "max_concurrency", 1000);
	wanted.access = spinpanel_credential_check(wanted.credential_file) ? "app+user" : "app";

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	require_free_tenant(&wanted);
	account_id = store_account(&wanted);
	SPI_finish();
	SetUserIdAndSecContext(caller, context);
	PG_RETURN_INT32(account_id);
}

/*
 * What it was about to do is not done any more, and no run waits for it.  What
 * is being sent stays as it is: its outcome is looked up should the account be
 * connected again.
 */
static void
drop_work(int32 account_id)
{
	static StateQuery adjustments = {
		"SELECT a.adjustment_id FROM spinpanel.adjustment a WHERE a.account_id = $1"
		" AND a.status IN ('queued', 'awaiting_approval') AND NOT EXISTS (SELECT FROM spinpanel.operation o"
		"  WHERE o.customer_id = a.customer_id AND o.adjustment_id = a.adjustment_id AND o.status IN ('sending', 'unknown'))"
		" ORDER BY a.adjustment_id FOR NO KEY UPDATE",
		"i", NULL
	};
	StateArg args[2];
	int64 *ids;
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_int(account_id);
	args[1] = spinpanel_arg_time(spinpanel_now());
	spinpanel_operation_cancel_queued(account_id, "the account was disconnected");
	rows = spinpanel_state_run(&adjustments, args, 0);
	ids = palloc(sizeof(int64) * (rows + 1));
	for (row = 0; row < rows; row++)
		ids[row] = spinpanel_row_int64(row, 1);
	spinpanel_adjustment_move(ids, (int) rows, "skipped", "the account was disconnected");
	spinpanel_run_fail_account(account_id, "the account was disconnected");
}

/* spinpanel.disconnect_account(name text) int */
PG_FUNCTION_INFO_V1(spinpanel_disconnect_account);

Datum
spinpanel_disconnect_account(PG_FUNCTION_ARGS)
{
	static StateQuery update = { "UPDATE spinpanel.account a SET access = NULL, idle_reason = NULL"
								 " WHERE account_id = $1 RETURNING " ACCOUNT_AS_JSONB,
								 "i", NULL };
	StateArg args[1];
	int32 account_id;

	spinpanel_require_primary();
	account_id = spinpanel_name_account(spinpanel_name_argument(fcinfo, 0), "name");

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	args[0] = spinpanel_arg_int(account_id);
	if (spinpanel_account_turn(account_id, "disconnected", NULL, NULL, false))
	{
		spinpanel_state_run(&update, args, 0);
		record("account disconnected", account_id, NULL,
			   spinpanel_row_jsonb(0, 1, CurrentMemoryContext));
		/* Before their operations are: what was never sent is cancelled. */
		spinpanel_request_account_gone(account_id);
		drop_work(account_id);
		/* Its seats belong to no pool that we may touch. */
		spinpanel_mirror_recount_account(account_id);
	}
	erase_token(account_id);
	SPI_finish();
	PG_RETURN_INT32(account_id);
}
