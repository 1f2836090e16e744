/*
 * uuid.h
 *
 * Ids of Microsoft as text.
 */
#ifndef SPINPANEL_UUID_H
#define SPINPANEL_UUID_H

#include "utils/uuid.h"

extern char *spinpanel_uuid_text(const pg_uuid_t *value);

#endif
