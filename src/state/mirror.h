/*
 * mirror.h
 *
 * What Partner Center said, in tables, and the pool figures kept with it.  All
 * functions run inside a unit of the worker with SPI connected.
 */
#ifndef SPINPANEL_MIRROR_H
#define SPINPANEL_MIRROR_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum MirrorKind
{
	MIRROR_SUBSCRIPTIONS,
	MIRROR_SUBSCRIBED_SKUS,
	MIRROR_USERS,
	MIRROR_LICENSES
} MirrorKind;

typedef enum MirrorOurs
{
	MIRROR_OUR_SUSPENSION,
	MIRROR_OUR_END,
	MIRROR_OUR_NEXT_QUANTITY
} MirrorOurs;

/*
 * Whatever is missing in a list is taken for gone, so a list has to be whole:
 * all its pages came (last: there is no token of a further one), every item
 * could be read, and they are no fewer than totalCount says.  More is well: the
 * number may be that of one page.
 */
extern bool spinpanel_mirror_all_there(JsonbContainer *collection, int64 received, bool last);

/* A list that says of more items than it has, and else is one: worth knowing, but nothing is
 * decided on it. */
extern bool spinpanel_mirror_only_short(JsonbContainer *collection);

/* False: an item could not be read.  *received grows by the items that came. */
extern bool spinpanel_mirror_customers_page(int32 account_id, JsonbContainer *page,
											TimestampTz started_at, int64 *received);
/* All pages were taken in, with so many items: who was not among them is gone. */
extern void spinpanel_mirror_customers_complete(int32 account_id, TimestampTz started_at,
												int64 received);
extern bool spinpanel_mirror_subscriptions(int32 account_id, const pg_uuid_t *customer_id,
										   Jsonb *body, const unsigned char *digest,
										   TimestampTz started_at);
extern void spinpanel_mirror_subscription(int32 account_id, const pg_uuid_t *customer_id,
										  Jsonb *body, TimestampTz started_at);
extern bool spinpanel_mirror_subscribed_skus(int32 account_id, const pg_uuid_t *customer_id,
											 Jsonb *body, const unsigned char *digest,
											 TimestampTz started_at);
extern bool spinpanel_mirror_users_page(int32 account_id, const pg_uuid_t *customer_id,
										JsonbContainer *page, TimestampTz started_at,
										int64 *received);
extern void spinpanel_mirror_users_complete(int32 account_id, const pg_uuid_t *customer_id,
											TimestampTz started_at);
extern int spinpanel_mirror_users_list(const pg_uuid_t *customer_id, pg_uuid_t **users,
									   MemoryContext context);
/* False: no whole list, and nobody loses a licence by it. */
extern bool spinpanel_mirror_user_licenses(const pg_uuid_t *customer_id, const pg_uuid_t *user_id,
										   Jsonb *body, TimestampTz started_at);
/* One user, read alone; false: that is no user.  And one who is gone. */
extern bool spinpanel_mirror_user(const pg_uuid_t *customer_id, Jsonb *body,
								  TimestampTz started_at);
extern void spinpanel_mirror_user_gone(const pg_uuid_t *customer_id, const pg_uuid_t *user_id);

/* What the mirror knows of a user; texts and ids in context. */
typedef struct MirrorUser
{
	bool known;
	const char *usage_location; /* NULL = none */
	TimestampTz licenses_read_at; /* DT_NOBEGIN = never */
	pg_uuid_t *held; /* SKUs */
	int held_count;
} MirrorUser;

extern void spinpanel_mirror_user_known(const pg_uuid_t *customer_id, const pg_uuid_t *user_id,
										MirrorUser *user, MemoryContext context);
/* Who had that name when something that began at since, or later, was read. */
extern bool spinpanel_mirror_user_named(const pg_uuid_t *customer_id, const char *upn,
										TimestampTz since, pg_uuid_t *user_id);
extern int spinpanel_mirror_users_count(const pg_uuid_t *customer_id);
/*
 * The name belongs to this user (NULL: to nobody): whoever has it in the mirror
 * beside them was renamed or deleted, and stands there under their GUID from now
 * on.  Their ids, palloc'd: each is to be read.
 */
extern int spinpanel_mirror_name_taken(const pg_uuid_t *customer_id, const char *upn,
									   const pg_uuid_t *user_id, pg_uuid_t **others);
extern void spinpanel_mirror_licenses_complete(int32 account_id, const pg_uuid_t *customer_id,
											   TimestampTz started_at);

/* The body is the same as last time: only the read time is written. */
extern void spinpanel_mirror_unchanged(int32 account_id, const pg_uuid_t *customer_id,
									   MirrorKind kind, TimestampTz started_at);
/* A page of audit records: whose subscriptions were changed, and when; false = none. */
extern bool spinpanel_mirror_audit_page(int32 account_id, JsonbContainer *page);
/* When the account's last whole list of customers was begun; DT_NOBEGIN: never. */
extern TimestampTz spinpanel_mirror_listed_at(int32 account_id);

/* Both bodies of many customers are. */
typedef struct MirrorUnchanged
{
	pg_uuid_t customer_id;
	int32 account_id;
	TimestampTz subscriptions_started_at; /* DT_NOBEGIN: not read, nothing speaks for a change */
	TimestampTz skus_started_at;
} MirrorUnchanged;

extern void spinpanel_mirror_unchanged_many(const MirrorUnchanged *customers, int count);
extern void spinpanel_mirror_read_failed(int32 account_id, const pg_uuid_t *customer_id,
										 MirrorKind kind, bool no_access, const char *code,
										 const char *error);

/* What an operation of ours did; value as the kind wants it, -1 = no longer. */
extern void spinpanel_mirror_mark_ours(const pg_uuid_t *subscription_id, MirrorOurs what,
									   int32 value);
extern bool spinpanel_mirror_is_our_schedule(const pg_uuid_t *subscription_id);
/* Where a pool can take more seats: active subscriptions of ours that go on. */
typedef struct MirrorRoom
{
	int32 account_id;
	pg_uuid_t subscription_id;
	int32 room;
} MirrorRoom;

extern int spinpanel_mirror_rooms(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
								  const pg_uuid_t *except, MirrorRoom **rooms);

extern bool spinpanel_mirror_is_our_end(const pg_uuid_t *subscription_id);
/* After a removal: no further one until active units show active_left and what was
 * added since. */
extern void spinpanel_mirror_removed(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id,
									 int32 active_left, int32 owned_left);
/* A subscription as it was read last; NULL = it is not known. */
extern Jsonb *spinpanel_mirror_resource(const pg_uuid_t *subscription_id);
/* An account was connected or disconnected: its seats count, or no longer. */
extern void spinpanel_mirror_recount_account(int32 account_id);

#endif /* SPINPANEL_MIRROR_H */
