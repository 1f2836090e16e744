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
 * Text from the network to jsonb: strips a BOM, verifies the encoding, bounds
 * depth.  NULL where it is no JSON; never throws for bad input and never
 * quotes the input in a message.
 */
extern Jsonb *spinpanel_json_parse(const char *text, size_t length);

/* Members by name, ASCII case ignored; dots descend ("companyProfile.domain").
 * False or NULL: absent, null, or not of that type. */
extern bool spinpanel_json_member(JsonbContainer *object, const char *path,
								  JsonbValue *value);
extern char *spinpanel_json_text(JsonbContainer *object, const char *path);
extern bool spinpanel_json_int(JsonbContainer *object, const char *path,
							   int64 *value);
extern bool spinpanel_json_bool(JsonbContainer *object, const char *path,
								bool *value);
extern bool spinpanel_json_uuid(JsonbContainer *object, const char *path,
								pg_uuid_t *value);
extern bool spinpanel_json_time(JsonbContainer *object, const char *path,
								TimestampTz *value);
/* NULL where there is no such object or array. */
extern JsonbContainer *spinpanel_json_container(JsonbContainer *object,
												const char *path);

/* Tolerant readings of plain text. */
extern bool spinpanel_parse_time(const char *text, TimestampTz *value);
extern bool spinpanel_parse_uuid(const char *text, pg_uuid_t *value);

/*
 * A copy of an object with one member set (NULL value = removed), other
 * members untouched; an existing member keeps the spelling of its name.
 */
extern Jsonb *spinpanel_json_with(Jsonb *object, const char *name,
								  const Jsonb *value);

/* The next page's token of a collection: body member continuationToken or
 * links.next.headers; NULL = no further page. */
extern char *spinpanel_json_next_page(JsonbContainer *collection);

#endif							/* SPINPANEL_JSON_H */
