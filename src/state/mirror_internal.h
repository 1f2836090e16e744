/*
 * mirror_internal.h
 *
 * What the files of the mirror share.
 */
#ifndef SPINPANEL_MIRROR_INTERNAL_H
#define SPINPANEL_MIRROR_INTERNAL_H

#include "state/mirror.h"

/* item NULL: an element that is no object */
typedef void (*MirrorItem)(JsonbContainer *item, int length, void *arg);

/*
 * Calls function for each object of the collection; false = it is none.  The
 * number of its elements is added to *count (NULL: nobody wants it).
 */
extern bool spinpanel_mirror_each(JsonbContainer *collection, MirrorItem function, void *arg,
								  int64 *count);
/* Text of a member, cut to a sane length; NULL = absent. */
extern char *spinpanel_mirror_text(JsonbContainer *object, const char *path, int length);
/* A whole, readable answer of this kind was taken in; digest NULL: keep what is there. */
extern void spinpanel_mirror_read(int32 account_id, const pg_uuid_t *customer_id, MirrorKind kind,
								  TimestampTz started_at, const unsigned char *digest);

#endif /* SPINPANEL_MIRROR_INTERNAL_H */
