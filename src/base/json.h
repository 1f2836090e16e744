/*
 * json.h
 *
 * Tolerant reading of Partner Center's JSON on top of PostgreSQL's jsonb:
 * member names in either case, members absent, null or of another type,
 * numbers as strings, GUIDs in either case, times with blanks or without zone.
 * It is no parser: jsonb_in is.
 */
#ifndef SPINPANEL_JSON_H
#define SPINPANEL_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Text from the network to jsonb, palloc'd in the current memory context:
 * strips a BOM, verifies the encoding, bounds depth (64) and size (64 MB).
 * NULL where it is no JSON; never throws for bad input and never quotes the
 * input in a message.  Safe inside and outside a transaction.  The database's
 * encoding is UTF8 (CREATE EXTENSION requires it, and the worker idles elsewhere).
 * Escapes that no text can hold (NUL, half a surrogate pair) are replaced by
 * U+FFFD.
 */
extern Jsonb *spinpanel_json_parse(const char *text, size_t length);

/* Text of ours; throws where it is no JSON. */
extern Jsonb *spinpanel_json_of(const char *text);

/*
 * Members by name, ASCII case ignored (the exact name first); dots descend
 * ("companyProfile.domain").  False or NULL: absent, null, or not of that type.
 * Tolerated: a number where a text is wanted (its digits), a text holding a
 * whole number where an integer is wanted, "true" and "false" as text.  The
 * container may be anything, also an array or NULL: then there is no member.
 */
extern bool spinpanel_json_member(JsonbContainer *object, const char *path, JsonbValue *value);
extern char *spinpanel_json_text(JsonbContainer *object, const char *path);
extern bool spinpanel_json_int(JsonbContainer *object, const char *path, int64 *value);
extern bool spinpanel_json_bool(JsonbContainer *object, const char *path, bool *value);
extern bool spinpanel_json_uuid(JsonbContainer *object, const char *path, pg_uuid_t *value);
extern bool spinpanel_json_time(JsonbContainer *object, const char *path, TimestampTz *value);
/* A copy of any member; NULL where it is absent or null, or object is NULL. */
extern Jsonb *spinpanel_json_take(Jsonb *object, const char *path);
/* NULL where there is no such object or array. */
extern JsonbContainer *spinpanel_json_container(JsonbContainer *object, const char *path);

/*
 * Tolerant readings of plain text.  Times: ISO 8601, blanks inside, no zone
 * means UTC, fractions beyond the microsecond are cut off, a date alone is
 * midnight, year 9999 is a time as any other; .NET's "no value", year 1, is
 * false.  GUIDs: either case, with or without dashes and braces.
 */
extern bool spinpanel_parse_time(const char *text, TimestampTz *value);
extern bool spinpanel_parse_uuid(const char *text, pg_uuid_t *value);

/*
 * A copy of an object with one member set (NULL value = removed), other
 * members untouched; an existing member keeps the spelling of its name.
 */
extern Jsonb *spinpanel_json_with(Jsonb *object, const char *name, const Jsonb *value);

/* The next page's token of a collection: body member continuationToken or
 * links.next.headers; NULL = no further page. */
extern char *spinpanel_json_next_page(JsonbContainer *collection);

#endif /* SPINPANEL_JSON_H */
