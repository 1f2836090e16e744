/*
 * names.c
 *
 * From text to GUID.  Reads customer, sku, subscribed_sku and account; never
 * writes, and never guesses: what fits twice is an error that lists what fits.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "sql/names.h"
#include "sql/require.h"
#include "state/statement.h"

/* An error's detail lists so many candidates. */
#define CANDIDATES_SHOWN 10

/* Longer than any name that Partner Center knows. */
#define NAME_LENGTH_MAX 1000

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool
spinpanel_name_is_guid(const char *text, pg_uuid_t *id)
{
	size_t length = strlen(text);
	char digits[33];
	int n = 0;
	size_t i;

	if (length >= 2 && text[0] == '{' && text[length - 1] == '}')
	{
		text++;
		length -= 2;
	}
	if (length != 36 && length != 32)
		return false;
	for (i = 0; i < length; i++)
	{
		bool hyphen = length == 36 && (i == 8 || i == 13 || i == 18 || i == 23);

		if (hyphen ? text[i] != '-' : !is_hex(text[i]))
			return false;
		if (!hyphen)
			digits[n++] = text[i];
	}
	digits[n] = '\0';
	*id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(digits)));
	return true;
}

/* Without blanks around it; throws where it cannot be a name. */
static char *
trimmed(const char *text, const char *parameter)
{
	const char *end;
	char *copy;

	spinpanel_require_value(text != NULL, parameter);
	while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')
		text++;
	end = text + strlen(text);
	while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r'))
		end--;
	if (end == text)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must not be empty", parameter)));
	if (end - text > NAME_LENGTH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" is longer than %d bytes", parameter, NAME_LENGTH_MAX)));
	copy = pnstrdup(text, end - text);
	return copy;
}

static void
refuse_star(bool star, const char *parameter)
{
	if (!star)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" must name one, '*' is not possible here", parameter)));
}

/*
 * Rows of a name query: GUID, what to show, is it one of the first choice.
 * The one row that counts is returned in *id; 0 = none, else how many fit
 * equally well, with *candidates set.  Queries sort the first choice first.
 */
static uint64
pick(uint64 rows, pg_uuid_t *id, char **candidates, MemoryContext context)
{
	uint64 count = 0;
	uint64 row;
	StringInfoData list;

	/* Only rows of the best kind compete. */
	while (count < rows && spinpanel_row_bool(count, 3) == spinpanel_row_bool(0, 3))
		count++;
	if (count == 1)
		spinpanel_row_uuid(0, 1, id);
	if (count > 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		initStringInfo(&list);
		for (row = 0; row < count && row < CANDIDATES_SHOWN; row++)
			appendStringInfo(&list, "%s%s", row == 0 ? "" : "; ",
							 spinpanel_row_text(row, 2, context));
		if (count > CANDIDATES_SHOWN)
			appendStringInfoString(&list, "; and more");
		*candidates = list.data;
		MemoryContextSwitchTo(old);
	}
	return count;
}

bool
spinpanel_name_customer(const char *text, bool star, const char *parameter, pg_uuid_t *customer_id)
{
	static StateQuery by_id = { "SELECT 1 FROM spinpanel.customer WHERE customer_id = $1", "u",
								NULL };
	static StateQuery by_name = {
		"SELECT customer_id FROM spinpanel.customer WHERE pg_catalog.lower(name) = pg_catalog.lower($1)"
		" UNION ALL SELECT customer_id FROM spinpanel.customer"
		" WHERE pg_catalog.lower(domain) = pg_catalog.lower($1)",
		"t", NULL
	};
	static StateQuery of_many = {
		"SELECT customer_id, pg_catalog.concat(name, ' (', domain || ', ', customer_id,"
		" CASE WHEN gone_at IS NOT NULL THEN ', gone' END, ')'), gone_at IS NULL"
		" FROM spinpanel.customer WHERE pg_catalog.lower(name) = pg_catalog.lower($1)"
		" OR pg_catalog.lower(domain) = pg_catalog.lower($1)"
		" ORDER BY gone_at IS NOT NULL, name, customer_id LIMIT 100",
		"t", NULL
	};
	MemoryContext context = CurrentMemoryContext;
	char *candidates = NULL;
	uint64 found = 0;
	StateArg args[1];

	text = trimmed(text, parameter);
	if (strcmp(text, "*") == 0)
	{
		refuse_star(star, parameter);
		return false;
	}

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (spinpanel_name_is_guid(text, customer_id))
	{
		args[0] = spinpanel_arg_uuid(customer_id);
		found = spinpanel_state_run(&by_id, args, 1);
	}
	if (found == 0)
	{
		/* Nearly always there is one: it need not be chosen or shown. */
		args[0] = spinpanel_arg_text(text);
		found = spinpanel_state_run_generic(&by_name, args);
		if (found == 1)
			spinpanel_row_uuid(0, 1, customer_id);
		else if (found > 1)
			found = pick(spinpanel_state_run(&of_many, args, 0), customer_id, &candidates, context);
	}
	SPI_finish();

	if (found == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("customer \"%s\" is not known", text),
				 errhint("Give the GUID, the domain or the company name as in spinpanel.customer. "
						 "A new customer is seen by the next spinpanel.sync().")));
	if (found > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("customer \"%s\" is ambiguous", text),
						errdetail("It may be: %s.", candidates), errhint("Give the GUID.")));
	return true;
}

bool
spinpanel_name_sku(const pg_uuid_t *customer_id, const char *text, bool star, bool unseen,
				   const char *parameter, pg_uuid_t *sku_id)
{
	static StateQuery by_id = { "SELECT 1 FROM spinpanel.sku WHERE sku_id = $1", "u", NULL };
	static StateQuery by_part = {
		"SELECT sku_id FROM spinpanel.sku WHERE pg_catalog.lower(part_number) = pg_catalog.lower($1)",
		"t", NULL
	};
	static StateQuery of_many = {
		"SELECT k.sku_id, pg_catalog.concat(k.part_number, ' (', k.sku_id, ')'),"
		" pg_catalog.bool_or(u.sku_id IS NOT NULL)"
		" FROM spinpanel.sku k LEFT JOIN spinpanel.subscribed_sku u"
		" ON u.sku_id = k.sku_id AND u.customer_id = $2"
		" WHERE pg_catalog.lower(k.part_number) = pg_catalog.lower($1)"
		" GROUP BY k.sku_id ORDER BY 3 DESC, 1 LIMIT 100",
		"tu", NULL
	};
	MemoryContext context = CurrentMemoryContext;
	char *candidates = NULL;
	uint64 found = 0;
	bool guid;
	StateArg args[2];

	text = trimmed(text, parameter);
	if (strcmp(text, "*") == 0)
	{
		refuse_star(star, parameter);
		return false;
	}

	guid = spinpanel_name_is_guid(text, sku_id);
	if (guid && unseen)
		return true;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (guid)
	{
		args[0] = spinpanel_arg_uuid(sku_id);
		found = spinpanel_state_run(&by_id, args, 1);
	}
	else
	{
		args[0] = spinpanel_arg_text(text);
		args[1] = spinpanel_arg_uuid(customer_id);
		found = spinpanel_state_run_generic(&by_part, args);
		if (found == 1)
			spinpanel_row_uuid(0, 1, sku_id);
		else if (found > 1)
			found = pick(spinpanel_state_run(&of_many, args, 0), sku_id, &candidates, context);
	}
	SPI_finish();

	if (found == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("SKU \"%s\" is not known", text),
				 errhint("Give the GUID or the part number as in spinpanel.sku, for instance "
						 "SPE_E3. A part number is known once a customer has seats of it.")));
	if (found > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("SKU \"%s\" is ambiguous", text),
				 errdetail("It may be: %s.", candidates), errhint("Give the GUID.")));
	return true;
}

char *
spinpanel_name_user(const char *text, const char *parameter, bool *guid, pg_uuid_t *user_id)
{
	const char *at;
	const char *c;
	bool odd = false;

	text = trimmed(text, parameter);
	*guid = spinpanel_name_is_guid(text, user_id);
	if (*guid)
		return NULL;
	for (c = text; *c; c++)
		if ((unsigned char) *c <= ' ' || *c == 0x7f)
			odd = true;
	at = strchr(text, '@');
	if (odd || at == NULL || at == text || at[1] == '\0' || c - text > NAME_USER_LENGTH)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not a user's name", text),
						errhint("Give the userPrincipalName, for instance ann@contoso.com, or the "
								"user's object id (a GUID).")));
	return unconstify(char *, text);
}

int32
spinpanel_name_account(const char *text, const char *parameter)
{
	static StateQuery by_name = { "SELECT account_id FROM spinpanel.account WHERE name = $1", "t",
								  NULL };
	StateArg args[1];
	int32 account_id = 0;

	spinpanel_require_value(text != NULL, parameter);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	args[0] = spinpanel_arg_text(text);
	if (spinpanel_state_run(&by_name, args, 1) > 0)
		account_id = spinpanel_row_int(0, 1);
	SPI_finish();
	if (account_id == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("account \"%s\" is not known", text),
						errhint("SELECT name FROM spinpanel.account lists those that are.")));
	return account_id;
}

char *
spinpanel_name_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static bool
flag(FunctionCallInfo fcinfo, int number)
{
	return !PG_ARGISNULL(number) && PG_GETARG_BOOL(number);
}

static Datum
id_or_null(FunctionCallInfo fcinfo, bool named, const pg_uuid_t *id)
{
	pg_uuid_t *copy;

	if (!named)
		PG_RETURN_NULL();
	copy = palloc(sizeof(pg_uuid_t));
	*copy = *id;
	PG_RETURN_UUID_P(copy);
}

/* spinpanel._customer(customer text, star boolean) uuid; NULL = '*' */
PG_FUNCTION_INFO_V1(spinpanel_sql_customer);

Datum
spinpanel_sql_customer(PG_FUNCTION_ARGS)
{
	pg_uuid_t id;
	bool named = spinpanel_name_customer(spinpanel_name_argument(fcinfo, 0), flag(fcinfo, 1),
										 "customer", &id);

	return id_or_null(fcinfo, named, &id);
}

/* spinpanel._sku(customer_id uuid, sku text, star boolean, unseen boolean) uuid; NULL = '*' */
PG_FUNCTION_INFO_V1(spinpanel_sql_sku);

Datum
spinpanel_sql_sku(PG_FUNCTION_ARGS)
{
	pg_uuid_t id;
	bool named = spinpanel_name_sku(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0),
									spinpanel_name_argument(fcinfo, 1), flag(fcinfo, 2),
									flag(fcinfo, 3), "sku", &id);

	return id_or_null(fcinfo, named, &id);
}
