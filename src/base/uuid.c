/*
 * uuid.c
 *
 * See uuid.h.  Owns no state.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/uuid.h"

char *
spinpanel_uuid_text(const pg_uuid_t *value)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(value)));
}
