/*
 * json.c
 *
 * Tolerant reading of Partner Center's JSON on top of jsonb.  jsonb_in is the
 * parser; this file guards its input and looks members up.  It must never
 * throw for what came from the network, never quote it in a message and never
 * touch a table.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/json.h"

#define DEPTH_MAX 64
#define SIZE_MAX_BYTES (64 * 1024 * 1024)

/* -------------------------------------------------------------------------
 * Text to jsonb
 * ------------------------------------------------------------------------- */

/*
 * Bounds the nesting before the recursive parser sees it, and refuses a NUL
 * byte.
 */
static bool
is_acceptable(const char *text, size_t length)
{
	const char *end = text + length;
	const char *c;
	bool in_string = false;
	int depth = 0;

	if (memchr(text, '\0', length) != NULL)
		return false;
	for (c = text; c < end; c++)
	{
		if (in_string)
		{
			if (*c == '\\' && c + 1 < end)
			{
				c++;
			}
			else if (*c == '"')
				in_string = false;
		}
		else if (*c == '"')
			in_string = true;
		else if (*c == '{' || *c == '[')
		{
			if (++depth > DEPTH_MAX)
				return false;
		}
		else if (*c == '}' || *c == ']')
			depth--;
	}
	return true;
}

/* The value of four hexadecimal digits; -1 if they are none. */
static int
hexadecimal(const char *digits)
{
	int value = 0;
	int i;

	for (i = 0; i < 4; i++)
	{
		char c = digits[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/*
 * One name that jsonb cannot hold (an escaped NUL, half of a surrogate pair)
 * must not make a whole list unreadable: such an escape becomes U+FFFD, the
 * replacement character.  The length stays.
 */
static void
replace_impossible_escapes(char *text, size_t length)
{
	char *end = text + length;
	char *c = text;

	while ((c = memchr(c, '\\', end - c)) != NULL && end - c >= 6)
	{
		int value = c[1] == 'u' ? hexadecimal(c + 2) : -1;
		int next;

		if (value < 0)
		{
			c += 2;
			continue;
		}
		next = value >= 0xD800 && value <= 0xDBFF && end - c >= 12 && c[6] == '\\' && c[7] == 'u'
				   ? hexadecimal(c + 8)
				   : -1;
		if (next >= 0xDC00 && next <= 0xDFFF)
		{
			c += 12;
			continue;
		}
		if (value == 0 || (value >= 0xD800 && value <= 0xDFFF))
			memcpy(c + 2, "fffd", 4);
		c += 6;
	}
}

/*
 * Catching an error without a subtransaction is safe here, because all that
 * jsonb_in takes is memory of the current context: no lock, buffer, catalog
 * entry or snapshot.  That memory is the scratch context, dropped either way.
 * Whatever the parser says about the data means "no JSON"; a cancel request, the
 * end of the process and running out of memory go on to the caller.
 */
static Jsonb *
parse_guarded(const char *text, size_t length, MemoryContext caller, MemoryContext scratch)
{
	Jsonb *volatile result = NULL;

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		char *copy = pnstrdup(text, length);
		Jsonb *parsed;

		replace_impossible_escapes(copy, length);
		parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
		result = MemoryContextAlloc(caller, VARSIZE(parsed));
		memcpy(result, parsed, VARSIZE(parsed));
	}
	PG_CATCH();
	{
		int code = geterrcode();

		MemoryContextSwitchTo(caller);
		if (code == ERRCODE_QUERY_CANCELED || code == ERRCODE_OUT_OF_MEMORY ||
			ERRCODE_TO_CATEGORY(code) == ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return result;
}

Jsonb *
spinpanel_json_parse(const char *text, size_t length)
{
	MemoryContext scratch;
	Jsonb *result;

	if (text == NULL)
		return NULL;
	if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
	{
		text += 3;
		length -= 3;
	}
	if (length == 0 || length > SIZE_MAX_BYTES)
		return NULL;
	if (!pg_verify_mbstr(PG_UTF8, text, (int) length, true) || !is_acceptable(text, length))
		return NULL;

	/* A child of the caller's context: gone with it should the parser throw. */
	scratch = AllocSetContextCreate(CurrentMemoryContext, "spinpanel json", ALLOCSET_DEFAULT_SIZES);
	result = parse_guarded(text, length, CurrentMemoryContext, scratch);
	MemoryContextDelete(scratch);
	return result;
}

/* -------------------------------------------------------------------------
 * Members
 * ------------------------------------------------------------------------- */

static bool
equal_ignoring_case(const char *a, int a_length, const char *b, int b_length)
{
	int i;

	if (a_length != b_length)
		return false;
	for (i = 0; i < a_length; i++)
		if (pg_ascii_tolower((unsigned char) a[i]) != pg_ascii_tolower((unsigned char) b[i]))
			return false;
	return true;
}

/* One member, whatever its value. */
static bool
find_member(JsonbContainer *object, const char *name, int length, JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue key;
	bool found = false;

	if (object == NULL || !JsonContainerIsObject(object))
		return false;
	if (getKeyJsonValueFromContainer(object, name, length, value) != NULL)
		return true;

	iterator = JsonbIteratorInit(object);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		found = equal_ignoring_case(key.val.string.val, key.val.string.len, name, length);
		token = JsonbIteratorNext(&iterator, value, true);
		if (found)
			break;
	}
	/* Freed here because callers look up many members in one context. */
	while (iterator != NULL)
	{
		JsonbIterator *parent = iterator->parent;

		pfree(iterator);
		iterator = parent;
	}
	return found;
}

bool
spinpanel_json_member(JsonbContainer *object, const char *path, JsonbValue *value)
{
	const char *dot;

	while ((dot = strchr(path, '.')) != NULL)
	{
		if (!find_member(object, path, (int) (dot - path), value) || value->type != jbvBinary)
			return false;
		object = value->val.binary.data;
		path = dot + 1;
	}
	return find_member(object, path, (int) strlen(path), value) && value->type != jbvNull;
}

static char *
numeric_text(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
}

char *
spinpanel_json_text(JsonbContainer *object, const char *path)
{
	JsonbValue value;

	if (!spinpanel_json_member(object, path, &value))
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvNumeric)
		return numeric_text(value.val.numeric);
	return NULL;
}

/* A whole number, perhaps with blanks around and zeros behind the point. */
static bool
parse_int(const char *text, int64 *value)
{
	char *end;
	long long parsed;

	errno = 0;
	parsed = strtoll(text, &end, 10);
	if (end == text || errno == ERANGE)
		return false;
	if (*end == '.')
	{
		end++;
		while (*end == '0')
			end++;
	}
	while (*end == ' ')
		end++;
	if (*end != '\0')
		return false;
	*value = (int64) parsed;
	return true;
}

bool
spinpanel_json_int(JsonbContainer *object, const char *path, int64 *value)
{
	char *text = spinpanel_json_text(object, path);
	bool ok = text != NULL && parse_int(text, value);

	if (text != NULL)
		pfree(text);
	return ok;
}

bool
spinpanel_json_bool(JsonbContainer *object, const char *path, bool *value)
{
	JsonbValue member;

	if (!spinpanel_json_member(object, path, &member))
		return false;
	if (member.type == jbvBool)
	{
		*value = member.val.boolean;
		return true;
	}
	if (member.type == jbvString)
	{
		if (equal_ignoring_case(member.val.string.val, member.val.string.len, "true", 4))
		{
			*value = true;
			return true;
		}
		if (equal_ignoring_case(member.val.string.val, member.val.string.len, "false", 5))
		{
			*value = false;
			return true;
		}
	}
	return false;
}

bool
spinpanel_json_uuid(JsonbContainer *object, const char *path, pg_uuid_t *value)
{
	char *text = spinpanel_json_text(object, path);
	bool ok = text != NULL && spinpanel_parse_uuid(text, value);

	if (text != NULL)
		pfree(text);
	return ok;
}

bool
spinpanel_json_time(JsonbContainer *object, const char *path, TimestampTz *value)
{
	char *text = spinpanel_json_text(object, path);
	bool ok = text != NULL && spinpanel_parse_time(text, value);

	if (text != NULL)
		pfree(text);
	return ok;
}

JsonbContainer *
spinpanel_json_container(JsonbContainer *object, const char *path)
{
	JsonbValue value;

	if (!spinpanel_json_member(object, path, &value) || value.type != jbvBinary)
		return NULL;
	return value.val.binary.data;
}

/* -------------------------------------------------------------------------
 * Plain text
 * ------------------------------------------------------------------------- */

/* Exactly this many digits; moves on. */
static bool
take_digits(const char **at, int count, int *value)
{
	*value = 0;
	while (count-- > 0)
	{
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (*(*at)++ - '0');
	}
	return true;
}

bool
spinpanel_parse_time(const char *text, TimestampTz *value)
{
	char compact[48];
	const char *at = compact;
	int length = 0;
	int year, month, day;
	int hour = 0, minute = 0, second = 0;
	int micro = 0;
	int offset = 0; /* minutes east of UTC */
	int64 days;
	int64 time;

	/* Without the blanks that a documentation example has everywhere. */
	for (; *text != '\0'; text++)
	{
		if (*text == ' ' || *text == '\t')
		{
			/* "2024-01-31 12:00:00": the blank stands for the T. */
			if (length == 10 && text[1] >= '0' && text[1] <= '9')
				compact[length++] = 'T';
			continue;
		}
		if (length >= (int) sizeof(compact) - 1)
			return false;
		compact[length++] = *text;
	}
	compact[length] = '\0';

	if (!take_digits(&at, 4, &year) || *at++ != '-' || !take_digits(&at, 2, &month) ||
		*at++ != '-' || !take_digits(&at, 2, &day))
		return false;
	/* Year 1 is how .NET writes a time that was never set. */
	if (year <= 1 || month < 1 || month > 12 || day < 1 || day > day_tab[isleap(year)][month - 1])
		return false;

	if (*at == 'T' || *at == 't')
	{
		at++;
		if (*at == 'T')
			at++;
		if (!take_digits(&at, 2, &hour) || *at++ != ':' || !take_digits(&at, 2, &minute))
			return false;
		if (*at == ':')
		{
			at++;
			if (!take_digits(&at, 2, &second))
				return false;
			if (*at == '.' || *at == ',')
			{
				int unit = 100000;

				at++;
				if (*at < '0' || *at > '9')
					return false;
				for (; *at >= '0' && *at <= '9'; at++)
				{
					micro += (*at - '0') * unit;
					/* .NET's seventh digit is rounded, as timestamptz does */
					if (unit == 1 && at[1] >= '5' && at[1] <= '9')
						micro++;
					unit /= 10;
				}
			}
		}
		if (hour > 24 || minute > 59 || second > 60 ||
			(hour == 24 && (minute | second | micro) != 0))
			return false;

		if (*at == 'Z' || *at == 'z')
			at++;
		else if (*at == '+' || *at == '-')
		{
			bool west = *at++ == '-';
			int zone_hour, zone_minute = 0;

			if (!take_digits(&at, 2, &zone_hour))
				return false;
			if (*at == ':')
				at++;
			if (*at != '\0' && !take_digits(&at, 2, &zone_minute))
				return false;
			if (zone_hour > 15 || zone_minute > 59)
				return false;
			offset = zone_hour * 60 + zone_minute;
			if (west)
				offset = -offset;
		}
	}
	else if (*at == 'Z' || *at == 'z')
		at++;
	if (*at != '\0')
		return false;

	days = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	time = ((int64) hour * 3600 + minute * 60 + second - offset * 60) * USECS_PER_SEC + micro;
	*value = days * USECS_PER_DAY + time;
	return true;
}

bool
spinpanel_parse_uuid(const char *text, pg_uuid_t *value)
{
	int nibbles = 0;
	bool braced;

	while (*text == ' ')
		text++;
	braced = *text == '{';
	if (braced)
		text++;
	for (; nibbles < UUID_LEN * 2; text++)
	{
		int nibble;

		if (*text >= '0' && *text <= '9')
			nibble = *text - '0';
		else if (*text >= 'a' && *text <= 'f')
			nibble = *text - 'a' + 10;
		else if (*text >= 'A' && *text <= 'F')
			nibble = *text - 'A' + 10;
		else if (*text == '-' && (nibbles == 8 || nibbles == 12 || nibbles == 16 || nibbles == 20))
		{
			/* Two dashes in a row are caught by the digit that must follow. */
			if (text[1] == '-')
				return false;
			continue;
		}
		else
			return false;
		if (nibbles % 2 == 0)
			value->data[nibbles / 2] = (unsigned char) (nibble << 4);
		else
			value->data[nibbles / 2] |= (unsigned char) nibble;
		nibbles++;
	}
	if (braced && *text++ != '}')
		return false;
	while (*text == ' ')
		text++;
	return *text == '\0';
}

/* -------------------------------------------------------------------------
 * Changing one member, and paging
 * ------------------------------------------------------------------------- */

static void
push_value(JsonbParseState **state, JsonbIteratorToken token, const Jsonb *value)
{
	JsonbValue pushed;

	if (JB_ROOT_IS_SCALAR(value))
		JsonbExtractScalar((JsonbContainer *) &value->root, &pushed);
	else
	{
		pushed.type = jbvBinary;
		pushed.val.binary.data = (JsonbContainer *) &value->root;
		pushed.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}
	pushJsonbValue(state, token, &pushed);
}

Jsonb *
spinpanel_json_with(Jsonb *object, const char *name, const Jsonb *value)
{
	int name_length = (int) strlen(name);
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue old;
	JsonbValue ignored;
	bool exact;
	bool done = false;

	if (!JB_ROOT_IS_OBJECT(object))
		elog(ERROR, "spinpanel_json_with needs an object");

	/*
	 * Where both "Quantity" and "quantity" stand there, only the exact name is
	 * ours to change: the same one that a lookup finds.
	 */
	exact = getKeyJsonValueFromContainer(&object->root, name, name_length, &ignored) != NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		bool ours;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &old, true);
		if (exact)
			ours = key.val.string.len == name_length &&
				   memcmp(key.val.string.val, name, name_length) == 0;
		else
			ours = !done &&
				   equal_ignoring_case(key.val.string.val, key.val.string.len, name, name_length);
		if (!ours)
		{
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, &old);
			continue;
		}
		done = true;
		if (value != NULL)
		{
			pushJsonbValue(&state, WJB_KEY, &key);
			push_value(&state, WJB_VALUE, value);
		}
	}
	if (!done && value != NULL)
	{
		key.type = jbvString;
		key.val.string.val = (char *) name;
		key.val.string.len = name_length;
		pushJsonbValue(&state, WJB_KEY, &key);
		push_value(&state, WJB_VALUE, value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * The documentation carries the token in links.next.headers, Microsoft's own
 * client reads a body member.  Links that name no next page end the
 * collection, whatever else stands there.
 */
char *
spinpanel_json_next_page(JsonbContainer *collection)
{
	JsonbContainer *links = spinpanel_json_container(collection, "links");
	JsonbContainer *next = spinpanel_json_container(links, "next");
	JsonbContainer *headers = spinpanel_json_container(next, "headers");
	char *token;
	uint32 i;

	for (i = 0; headers != NULL && JsonContainerIsArray(headers) && i < JsonContainerSize(headers);
		 i++)
	{
		JsonbValue *header = getIthJsonbValueFromContainer(headers, i);
		char *key;

		if (header == NULL || header->type != jbvBinary)
			continue;
		key = spinpanel_json_text(header->val.binary.data, "key");
		if (key == NULL || pg_strcasecmp(key, "MS-ContinuationToken") != 0)
			continue;
		token = spinpanel_json_text(header->val.binary.data, "value");
		if (token != NULL && token[0] != '\0')
			return token;
	}
	token = spinpanel_json_text(collection, "continuationToken");
	return token != NULL && token[0] != '\0' ? token : NULL;
}

Jsonb *
spinpanel_json_of(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

Jsonb *
spinpanel_json_take(Jsonb *object, const char *path)
{
	JsonbValue value;

	if (object == NULL || !spinpanel_json_member(&object->root, path, &value) ||
		value.type == jbvNull)
		return NULL;
	return JsonbValueToJsonb(&value);
}
