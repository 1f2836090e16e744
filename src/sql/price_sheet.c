/*
 * price_sheet.c
 *
 * Reads Partner Center's licence-based price sheet, a CSV with a header, into
 * rows.  It owns the form of that file alone: columns are found by their names,
 * fields may be quoted, dates are American.  What a price is good for is decided
 * in SQL.  It must never take part of a sheet: one bad line is an error that
 * names it, with the others that are bad.
 *
 * A file on the server is read only for a role that could have PostgreSQL read
 * it anyway.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "sql/require.h"

/* Bad lines that are told; the others are counted. */
#define TOLD_LINES 10
#define FIELDS_MAX 64

typedef enum Column
{
	COLUMN_PRODUCT_ID,
	COLUMN_SKU_ID,
	COLUMN_TERM,
	COLUMN_PLAN,
	COLUMN_MARKET,
	COLUMN_CURRENCY,
	COLUMN_UNIT_PRICE,
	COLUMN_START,
	COLUMN_END,
	REQUIRED_COLUMNS,
	COLUMN_SKU_TITLE = REQUIRED_COLUMNS,
	COLUMN_PUBLISHER,
	COLUMN_SEGMENT,
	COLUMN_TIER_MIN,
	COLUMN_TAGS,
	COLUMN_ERP_PRICE,
	COLUMN_COUNT
} Column;

static const char *const column_names[COLUMN_COUNT] = { "ProductId",
														"SkuId",
														"TermDuration",
														"BillingPlan",
														"Market",
														"Currency",
														"UnitPrice",
														"EffectiveStartDate",
														"EffectiveEndDate",
														"SkuTitle",
														"Publisher",
														"Segment",
														"PricingTierRangeMin",
														"Tags",
														"ERP Price" };

/* Of the rows that are returned */
enum
{
	ROW_LINE,
	ROW_OFFER_KEY,
	ROW_TITLE,
	ROW_PUBLISHER,
	ROW_TERM,
	ROW_PLAN,
	ROW_MARKET,
	ROW_CURRENCY,
	ROW_SEGMENT,
	ROW_TIER_MIN,
	ROW_UNIT_PRICE,
	ROW_ERP_PRICE,
	ROW_STARTS,
	ROW_ENDS,
	ROW_IS_TRIAL,
	ROW_COLUMNS
};

typedef struct Sheet
{
	char *at; /* next byte; fields are unquoted in place */
	char *end;
	int64 line; /* on which the next record begins */
	char *fields[FIELDS_MAX];
	int field_count;
	int header_count;
	int position[COLUMN_COUNT]; /* among the fields; -1: there is no such column */
	int64 bad;
	StringInfoData told;
} Sheet;

static void
tell(Sheet *sheet, int64 line, const char *problem)
{
	if (sheet->bad++ < TOLD_LINES)
		appendStringInfo(&sheet->told, "%sline " INT64_FORMAT ": %s", sheet->told.len ? "\n" : "",
						 line, problem);
}

/* ---- records and fields ------------------------------------------------------------- */

/*
 * One record into fields.  False: there is none left.  A record that cannot be
 * taken apart is told, and has no fields.
 */
static bool
next_record(Sheet *sheet, int64 *line)
{
	char *at = sheet->at;
	char *end = sheet->end;
	bool too_many = false;

	*line = sheet->line;
	sheet->field_count = 0;
	if (at >= end)
		return false;
	for (;;)
	{
		char *to = at;

		if (sheet->field_count < FIELDS_MAX)
			sheet->fields[sheet->field_count++] = to;
		else
			too_many = true;
		if (at < end && *at == '"')
		{
			for (at++;; at++)
			{
				if (at >= end)
				{
					tell(sheet, *line, "the sheet ends inside a quoted field: it is not whole");
					sheet->at = end;
					sheet->field_count = 0;
					return true;
				}
				if (*at == '"')
				{
					if (at + 1 >= end || at[1] != '"')
						break;
					at++;
				}
				else if (*at == '\n')
					sheet->line++;
				*to++ = *at;
			}
			at++;
		}
		while (at < end && *at != ',' && *at != '\n' && *at != '\r')
			*to++ = *at++;
		if (at < end && *at == ',')
		{
			*to = '\0';
			at++;
			continue;
		}
		if (at < end && *at == '\r')
			at++;
		if (at < end && *at == '\n')
			at++;
		*to = '\0'; /* there is a byte behind the last one */
		break;
	}
	sheet->line++;
	sheet->at = at;
	if (too_many)
	{
		tell(sheet, *line, psprintf("more than %d fields", FIELDS_MAX));
		sheet->field_count = 0;
	}
	return true;
}

static const char *
field(const Sheet *sheet, Column column)
{
	int position = sheet->position[column];

	return position < 0 ? "" : sheet->fields[position];
}

static void
take_header(Sheet *sheet)
{
	StringInfoData missing;
	int64 line;
	int i;
	int column;

	if (!next_record(sheet, &line) || sheet->field_count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the price sheet is empty")));
	sheet->header_count = sheet->field_count;
	initStringInfo(&missing);
	for (column = 0; column < COLUMN_COUNT; column++)
	{
		sheet->position[column] = -1;
		for (i = 0; i < sheet->field_count; i++)
			if (pg_strcasecmp(sheet->fields[i], column_names[column]) == 0)
				sheet->position[column] = i;
		if (column < REQUIRED_COLUMNS && sheet->position[column] < 0)
			appendStringInfo(&missing, "%s%s", missing.len ? ", " : "", column_names[column]);
	}
	if (missing.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the price sheet lacks columns: %s", missing.data),
				 errhint("Its first line names the columns of Partner Center's licence-based "
						 "price sheet (view updatedlicensebased).")));
}

/* ---- values ---------------------------------------------------------------------------- */

/* Digits, one point, perhaps an exponent; nothing that a country writes otherwise */
static bool
is_number(const char *text)
{
	const char *c = text;
	int digits = 0;

	for (; *c >= '0' && *c <= '9'; c++)
		digits++;
	if (*c == '.')
		for (c++; *c >= '0' && *c <= '9'; c++)
			digits++;
	if (digits == 0 || digits > 40)
		return false;
	if (*c == 'e' || *c == 'E')
	{
		int exponent = 0;

		c++;
		if (*c == '+' || *c == '-')
			c++;
		for (; *c >= '0' && *c <= '9' && exponent < 3; c++)
			exponent++;
		if (exponent == 0 || exponent == 3)
			return false;
	}
	return *c == '\0';
}

static Datum
number_of(const char *text)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

/* 2/1/2019 12:00:00 AM, month first; or 2019-02-01T00:00:00Z.  All is UTC. */
static bool
moment_of(const char *text, TimestampTz *moment)
{
	int year, month, day, hour = 0, minute = 0, second = 0;
	int taken = 0;
	char half = '\0';

	if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &taken) == 3 && taken == 10)
	{
		int more = 0;

		if (text[10] != '\0' &&
			(sscanf(text + 10, "T%2d:%2d:%2d%n", &hour, &minute, &second, &more) != 3 || more != 9))
			return false;
	}
	else if (sscanf(text, "%2d/%2d/%4d%n", &month, &day, &year, &taken) == 3 && taken > 0)
	{
		const char *rest = text + taken;

		if (*rest != '\0')
		{
			taken = 0;
			if (sscanf(rest, " %2d:%2d:%2d %cM%n", &hour, &minute, &second, &half, &taken) != 4 ||
				rest[taken] != '\0' || (half != 'A' && half != 'P') || hour < 1 || hour > 12)
				return false;
			hour = hour % 12 + (half == 'P' ? 12 : 0);
		}
	}
	else
		return false;
	if (year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 ||
		day > day_tab[isleap(year)][month - 1] || hour > 23 || minute > 59 || second > 59 ||
		hour < 0 || minute < 0 || second < 0)
		return false;
	*moment = ((int64) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE)) * USECS_PER_DAY +
			  ((int64) hour * 3600 + minute * 60 + second) * USECS_PER_SEC;
	return true;
}

static bool
is_code(const char *text, int length)
{
	int i;

	for (i = 0; text[i] != '\0'; i++)
		if (i >= length ||
			!((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z')))
			return false;
	return i == length;
}

/* An id of Microsoft's catalogue */
static bool
is_id(const char *text)
{
	const char *c;

	for (c = text; *c != '\0'; c++)
		if (!((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')) ||
			c - text >= 40)
			return false;
	return c > text;
}

static char *
in_capitals(const char *text)
{
	char *copy = pstrdup(text);
	char *c;

	for (c = copy; *c != '\0'; c++)
		*c = pg_toupper((unsigned char) *c);
	return copy;
}

static char *
in_small_letters(const char *text)
{
	char *copy = pstrdup(text);
	char *c;

	for (c = copy; *c != '\0'; c++)
		*c = pg_tolower((unsigned char) *c);
	return copy;
}

static const char *
problem_of(const Sheet *sheet, TimestampTz *starts, TimestampTz *ends)
{
	const char *tier = field(sheet, COLUMN_TIER_MIN);
	const char *erp = field(sheet, COLUMN_ERP_PRICE);

	if (!is_id(field(sheet, COLUMN_PRODUCT_ID)))
		return psprintf("ProductId \"%s\" is no id", field(sheet, COLUMN_PRODUCT_ID));
	if (!is_id(field(sheet, COLUMN_SKU_ID)))
		return psprintf("SkuId \"%s\" is no id", field(sheet, COLUMN_SKU_ID));
	if (!is_code(field(sheet, COLUMN_MARKET), 2))
		return psprintf("Market \"%s\" is no country of two letters", field(sheet, COLUMN_MARKET));
	if (!is_code(field(sheet, COLUMN_CURRENCY), 3))
		return psprintf("Currency \"%s\" is no code of three letters",
						field(sheet, COLUMN_CURRENCY));
	if (!is_number(field(sheet, COLUMN_UNIT_PRICE)))
		return psprintf("UnitPrice \"%s\" is no number", field(sheet, COLUMN_UNIT_PRICE));
	if (tier[0] != '\0' && (!is_number(tier) || strlen(tier) > 9))
		return psprintf("PricingTierRangeMin \"%s\" is no number", tier);
	if (erp[0] != '\0' && !is_number(erp))
		return psprintf("ERP Price \"%s\" is no number", erp);
	if (!moment_of(field(sheet, COLUMN_START), starts))
		return psprintf("EffectiveStartDate \"%s\" is no date (month/day/year)",
						field(sheet, COLUMN_START));
	if (!moment_of(field(sheet, COLUMN_END), ends))
		return psprintf("EffectiveEndDate \"%s\" is no date (month/day/year)",
						field(sheet, COLUMN_END));
	if (*ends < *starts)
		return "EffectiveEndDate lies before EffectiveStartDate";
	return NULL;
}

static Datum
text_or_null(const char *text, bool *null)
{
	*null = text[0] == '\0';
	return *null ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
put_row(const Sheet *sheet, int64 line, TimestampTz starts, TimestampTz ends, ReturnSetInfo *rsinfo)
{
	Datum values[ROW_COLUMNS];
	bool nulls[ROW_COLUMNS];
	const char *tier = field(sheet, COLUMN_TIER_MIN);
	const char *segment = field(sheet, COLUMN_SEGMENT);

	memset(nulls, false, sizeof(nulls));
	values[ROW_LINE] = Int64GetDatum(line);
	values[ROW_OFFER_KEY] = CStringGetTextDatum(in_capitals(
		psprintf("%s:%s", field(sheet, COLUMN_PRODUCT_ID), field(sheet, COLUMN_SKU_ID))));
	values[ROW_TITLE] = text_or_null(field(sheet, COLUMN_SKU_TITLE), &nulls[ROW_TITLE]);
	values[ROW_PUBLISHER] = text_or_null(field(sheet, COLUMN_PUBLISHER), &nulls[ROW_PUBLISHER]);
	values[ROW_TERM] = CStringGetTextDatum(in_capitals(field(sheet, COLUMN_TERM)));
	values[ROW_PLAN] = CStringGetTextDatum(in_small_letters(field(sheet, COLUMN_PLAN)));
	values[ROW_MARKET] = CStringGetTextDatum(in_capitals(field(sheet, COLUMN_MARKET)));
	values[ROW_CURRENCY] = CStringGetTextDatum(in_capitals(field(sheet, COLUMN_CURRENCY)));
	values[ROW_SEGMENT] =
		CStringGetTextDatum(segment[0] == '\0' ? "commercial" : in_small_letters(segment));
	values[ROW_TIER_MIN] = tier[0] == '\0' ? number_of("0") : number_of(tier);
	values[ROW_UNIT_PRICE] = number_of(field(sheet, COLUMN_UNIT_PRICE));
	nulls[ROW_ERP_PRICE] = field(sheet, COLUMN_ERP_PRICE)[0] == '\0';
	values[ROW_ERP_PRICE] =
		nulls[ROW_ERP_PRICE] ? (Datum) 0 : number_of(field(sheet, COLUMN_ERP_PRICE));
	values[ROW_STARTS] = TimestampTzGetDatum(starts);
	values[ROW_ENDS] = TimestampTzGetDatum(ends);
	values[ROW_IS_TRIAL] =
		BoolGetDatum(strstr(in_small_letters(field(sheet, COLUMN_TAGS)), "trial") != NULL);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* ---- functions ----------------------------------------------------------------------------- */

PG_FUNCTION_INFO_V1(spinpanel_price_sheet_rows);
PG_FUNCTION_INFO_V1(spinpanel_read_server_file);

/* spinpanel._price_sheet_rows(sheet bytea) setof record */
Datum
spinpanel_price_sheet_rows(PG_FUNCTION_ARGS)
{
	bytea *given = PG_GETARG_BYTEA_PP(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int length = VARSIZE_ANY_EXHDR(given);
	char *content = palloc_extended((Size) length + 1, MCXT_ALLOC_HUGE);
	int valid;
	MemoryContext per_row;
	MemoryContext old;
	Sheet sheet;
	int64 line;

	InitMaterializedSRF(fcinfo, 0);
	memcpy(content, VARDATA_ANY(given), length);
	content[length] = '\0';
	if (length >= 4 && memcmp(content, "PK\003\004", 4) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the price sheet is a ZIP archive"),
						errhint("Unpack it first: unzip -p sheets.zip >sheets.csv")));

	memset(&sheet, 0, sizeof(sheet));
	initStringInfo(&sheet.told);
	sheet.at = content;
	sheet.end = content + length;
	sheet.line = 1;
	valid = pg_encoding_verifymbstr(PG_UTF8, content, length);
	if (valid != length)
	{
		int i;

		for (line = 1, i = 0; i < valid; i++)
			line += content[i] == '\n';
		ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
						errmsg("the price sheet is not in UTF-8"),
						errdetail("Line " INT64_FORMAT " holds other bytes.", line),
						errhint("Convert it, for instance: iconv -f WINDOWS-1252 -t UTF-8")));
	}
	if (length >= 3 && memcmp(content, "\xef\xbb\xbf", 3) == 0)
		sheet.at += 3;
	take_header(&sheet);

	per_row =
		AllocSetContextCreate(CurrentMemoryContext, "spinpanel price row", ALLOCSET_DEFAULT_SIZES);
	while (next_record(&sheet, &line))
	{
		TimestampTz starts = 0;
		TimestampTz ends = 0;

		CHECK_FOR_INTERRUPTS();
		if (sheet.field_count == 0 || (sheet.field_count == 1 && sheet.fields[0][0] == '\0'))
			continue; /* told already, or an empty line */
		if (sheet.field_count != sheet.header_count)
		{
			tell(&sheet, line,
				 psprintf("%d fields instead of %d", sheet.field_count, sheet.header_count));
			continue;
		}
		old = MemoryContextSwitchTo(per_row);
		{
			const char *problem = problem_of(&sheet, &starts, &ends);

			if (problem != NULL)
				tell(&sheet, line, problem);
			else if (sheet.bad == 0)
				put_row(&sheet, line, starts, ends, rsinfo);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	if (sheet.bad > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the price sheet has " INT64_FORMAT " bad lines: nothing of it was loaded",
						sheet.bad),
				 errdetail("%s", sheet.told.data)));
	return (Datum) 0;
}

static bool
reads_server_files(Oid role)
{
	return superuser_arg(role) || has_privs_of_role(role, ROLE_PG_READ_SERVER_FILES);
}

/*
 * spinpanel._read_server_file(path text) bytea.  It runs with the rights of who
 * calls it, and asks for the right of that role, of whoever logged in, and of
 * the role in between: neither may borrow it from the other.
 */
Datum
spinpanel_read_server_file(PG_FUNCTION_ARGS)
{
	char *path;
	struct stat status;
	bytea *content;
	int file;
	ssize_t got = 0;
	size_t have = 0;

	spinpanel_require_value(!PG_ARGISNULL(0), "file");
	if (InSecurityRestrictedOperation() || !reads_server_files(GetUserId()) ||
		!reads_server_files(GetSessionUserId()) || !reads_server_files(GetOuterUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read a file on the server"),
				 errdetail("Only superusers and members of pg_read_server_files may name one."),
				 errhint("Give the sheet as text instead.")));
	path = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!is_absolute_path(path))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"file\" must be an absolute path on the server")));
	file = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (file < 0 || fstat(file, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	if (!S_ISREG(status.st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a file", path)));
	if (status.st_size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("file \"%s\" is too large", path)));
	content = palloc(status.st_size + VARHDRSZ);
	while (have < (size_t) status.st_size &&
		   (got = read(file, VARDATA(content) + have, status.st_size - have)) > 0)
		have += got;
	if (got < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	CloseTransientFile(file);
	SET_VARSIZE(content, have + VARHDRSZ);
	PG_RETURN_BYTEA_P(content);
}
