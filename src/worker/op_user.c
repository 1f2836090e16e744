/*
 * op_user.c
 *
 * Drives operations on users (kinds assign, unassign, set_usage_location): one
 * UserChange in memory per operation under way, one of a user at a time.
 *
 *     (read) ──► judge ──► send ──► read back ──► done
 *                 │         │         └ refused
 *                 │         └ unknown ─► (later) read ─► as wanted: done
 *                 └ done, refused, waits               └─► send the same again
 *
 * Calls are few: before the first attempt what the request's own look at the
 * user put into the mirror will do, and of user and licences that is read which
 * decides.  "Done" is believed when it shows.
 *
 * What is wanted is absolute (these SKUs held, or not held; a location where
 * there is none), so that what is sent twice has the effect of once.  Between
 * the arrows nothing but the table operation remembers.
 *
 * It decides nothing about who gets a licence (request.h is told how it ended)
 * and knows no SQL.  It must never replace a location that a user has, and
 * never assign a SKU again that the user holds: that would switch service plans
 * on that somebody switched off.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/mirror.h"
#include "state/operation.h"
#include "state/request.h"
#include "state/statement.h"
#include "state/unit.h"
#include "worker/op_driver.h"
#include "worker/op_user.h"

/* Operations of one account that are driven at the same time. */
#define USERS_AT_ONCE 32

/* What a request's look at its user found out holds this long. */
#define LOOK_HOLDS (10 * USECS_PER_MINUTE)

/* SKUs in one operation. */
#define SKUS_MAX 64

/*
 * What Partner Center took may show this much later in its reads, and in what
 * it knows when it judges: a location set a minute ago.
 */
#define REPLICATION_PATIENCE (10 * USECS_PER_MINUTE)

typedef enum UserKind
{
	USER_ASSIGN,
	USER_UNASSIGN,
	USER_LOCATION
} UserKind;

typedef enum UserStep
{
	STEP_READ, /* before sending */
	STEP_SEND,
	STEP_READ_BACK, /* it was carried out, or refused */
	STEP_RESOLVE /* outcome unknown */
} UserStep;

typedef struct UserChange
{
	struct UserChange *next;
	MemoryContext context;
	Operation *op;
	UserKind kind;
	pg_uuid_t user_id;
	char *location; /* wanted */
	pg_uuid_t skus[SKUS_MAX]; /* to be held, or not */
	int sku_count;
	UserStep step;
	Reads reads;
	int user_read; /* -1 = not asked */
	int licenses_read; /* -1 = not asked */
	MirrorUser known; /* the mirror's, with what the last reads said */
	char *answer; /* of the change itself */
	Size answer_length;
	PartnerAnswer sent; /* its outcome; body and token are not kept */
	bool finished;
} UserChange;

/* What the reads say. */
typedef enum Look
{
	LOOK_WELL,
	LOOK_GONE, /* there is no such user */
	LOOK_REFUSED, /* nor will there be an answer without a person */
	LOOK_FAILED /* later, perhaps */
} Look;

static UserChange *changes = NULL;
static DriverPlaces places = { .of_account = USERS_AT_ONCE };
static MemoryContext changes_context = NULL;

static void change_read(UserChange *change, UserStep step);
static void change_send(UserChange *change);

static void
change_end(UserChange *change)
{
	change->finished = true;
}

static void
sweep(void)
{
	UserChange **link = &changes;

	while (*link != NULL)
	{
		UserChange *change = *link;

		if (change->finished && change->reads.pending == 0)
		{
			*link = change->next;
			spinpanel_driver_leave_place(&places, change->op->account_id, &change->op->customer_id);
			MemoryContextDelete(change->context);
		}
		else
			link = &change->next;
	}
}

/* ---- what is wanted, and what is ---------------------------------------------------- */

/* GUIDs of an array of texts, or of objects that hold them at path. */
static bool
guids_of(JsonbContainer *array, const char *path, pg_uuid_t *ids, int size, int *count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;

	*count = 0;
	if (array == NULL || !JsonContainerIsArray(array))
		return false;
	it = JsonbIteratorInit(array);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		bool good;

		if (token != WJB_ELEM)
			continue;
		if (*count >= size)
			return false;
		if (path != NULL)
			good = value.type == jbvBinary &&
				   spinpanel_json_uuid(value.val.binary.data, path, &ids[*count]);
		else
			good = value.type == jbvString &&
				   spinpanel_parse_uuid(pnstrdup(value.val.string.val, value.val.string.len),
										&ids[*count]);
		if (!good)
			return false;
		(*count)++;
	}
	return true;
}

/* False: the operation makes no sense. */
static bool
understand(UserChange *change)
{
	JsonbContainer *wanted = &change->op->wanted->root;
	const char *member = NULL;

	if (strcmp(change->op->kind, "assign") == 0)
	{
		change->kind = USER_ASSIGN;
		member = "add";
	}
	else if (strcmp(change->op->kind, "unassign") == 0)
	{
		change->kind = USER_UNASSIGN;
		member = "remove";
	}
	else
		change->kind = USER_LOCATION;

	if (!spinpanel_json_uuid(wanted, "userId", &change->user_id))
		return false;
	if (change->kind == USER_LOCATION)
	{
		change->location = spinpanel_json_text(wanted, "usageLocation");
		return change->location != NULL && strlen(change->location) == 2 &&
			   isalpha((unsigned char) change->location[0]) &&
			   isalpha((unsigned char) change->location[1]);
	}
	return guids_of(spinpanel_json_container(wanted, member), NULL, change->skus, SKUS_MAX,
					&change->sku_count) &&
		   change->sku_count > 0;
}

static bool
is_in(const pg_uuid_t *id, const pg_uuid_t *ids, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (memcmp(id, &ids[i], sizeof(*id)) == 0)
			return true;
	return false;
}

/* The user's location, NULL where there is none. */
static const char *
location_of(UserChange *change)
{
	return change->known.usage_location;
}

/* SKUs held according to the read; palloc'd. */
static pg_uuid_t *
held_of(Jsonb *licenses, int *count)
{
	JsonbContainer *items =
		licenses == NULL ? NULL : spinpanel_json_container(&licenses->root, "items");
	int size = items != NULL && JsonContainerIsArray(items) ? (int) JsonContainerSize(items) : 0;
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * (size + 1));

	if (!guids_of(items, "productSku.id", ids, size, count))
		return NULL;
	return ids;
}

/* Is there anything left to do about the i-th SKU? */
static bool
is_open(UserChange *change, int i, const pg_uuid_t *held, int held_count)
{
	return is_in(&change->skus[i], held, held_count) != (change->kind == USER_ASSIGN);
}

static int
count_open(UserChange *change, const pg_uuid_t *held, int held_count)
{
	int open = 0;
	int i;

	for (i = 0; i < change->sku_count; i++)
		if (is_open(change, i, held, held_count))
			open++;
	return open;
}

/* How much is left to do as far as is known. */
static int
left_to_do(UserChange *change)
{
	if (change->kind == USER_LOCATION)
		return location_of(change) == NULL ? 1 : 0;
	return count_open(change, change->known.held, change->known.held_count);
}

static void
append_ids(StringInfo buffer, const pg_uuid_t *ids, int count)
{
	int i;

	appendStringInfoChar(buffer, '[');
	for (i = 0; i < count; i++)
		appendStringInfo(buffer, "%s\"%s\"", i ? ", " : "", spinpanel_uuid_text(&ids[i]));
	appendStringInfoChar(buffer, ']');
}

/* What is passed on: the state that was read last. */
static Jsonb *
result_of(UserChange *change)
{
	StringInfoData buffer;
	const char *location = location_of(change);

	initStringInfo(&buffer);
	if (change->kind == USER_LOCATION)
	{
		appendStringInfoString(&buffer, "{\"usageLocation\": ");
		if (location == NULL)
			appendStringInfoString(&buffer, "null");
		else
			escape_json(&buffer, location);
	}
	else
	{
		appendStringInfoString(&buffer, "{\"held\": ");
		append_ids(&buffer, change->known.held, change->known.held_count);
	}
	appendStringInfoChar(&buffer, '}');
	return spinpanel_json_of(buffer.data);
}

/* ---- transactions that only move the row ------------------------------------------- */

static Jsonb *
answer_of(UserChange *change)
{
	return change->answer == NULL ? NULL
								  : spinpanel_json_parse(change->answer, change->answer_length);
}

static void
over(UserChange *change, const char *status, int http_status, const char *code, const char *error)
{
	if (code != NULL && code[0] == '\0')
		code = NULL;
	if (spinpanel_operation_over(change->op, status, http_status, code, error, answer_of(change)))
		spinpanel_request_operation_over(change->op, status, code, error, NULL);
}

static void
done(UserChange *change, const char *remark)
{
	if (spinpanel_operation_done(change->op, 0, answer_of(change), remark))
		spinpanel_request_operation_over(change->op, "done", NULL, remark, result_of(change));
}

/* Who does not exist holds nothing. */
static void
user_gone(UserChange *change, int http_status)
{
	spinpanel_mirror_user_gone(&change->op->customer_id, &change->user_id);
	change->known.held_count = 0;
	if (change->kind == USER_UNASSIGN)
		done(change, "the user does not exist (any more)");
	else
		over(change, "refused", http_status, "no_such_user", "the user does not exist (any more)");
}

typedef struct Move
{
	UserChange *change;
	const char *status; /* queued, unknown, gone; else over */
	int http_status;
	const char *code;
	const char *error;
	TimestampTz not_before;
	bool counts;
} Move;

static void
do_move(void *arg)
{
	Move *move = arg;

	if (strcmp(move->status, "queued") == 0 || strcmp(move->status, "unknown") == 0)
		spinpanel_request_operation_waits(move->change->op, move->code, move->error);

	if (strcmp(move->status, "queued") == 0)
		spinpanel_operation_requeue(move->change->op, move->http_status, move->code, move->error,
									move->not_before, move->counts);
	else if (strcmp(move->status, "unknown") == 0)
		spinpanel_operation_unknown(move->change->op, move->http_status, move->code, move->error,
									move->not_before);
	else if (strcmp(move->status, "gone") == 0)
		user_gone(move->change, move->http_status);
	else
		over(move->change, move->status, move->http_status, move->code, move->error);
}

/* Where even this cannot be written, the row is found again as it is. */
static void
move_row(UserChange *change, const char *status, int http_status, const char *code,
		 const char *error, TimestampTz not_before, bool counts)
{
	Move move;

	move.change = change;
	move.status = status;
	move.http_status = http_status;
	move.code = code;
	move.error = error;
	move.not_before = not_before;
	move.counts = counts;
	(void) spinpanel_unit("noting the state of an operation", do_move, &move, UNIT_DURABLE);
	change_end(change);
}

/* ---- what the reads say ----------------------------------------------------------------- */

/* An answer of another kind than was asked for is none. */
static void
check_answers(UserChange *change)
{
	pg_uuid_t id;
	int count;

	if (change->user_read >= 0)
	{
		ReadAnswer *user = &change->reads.answers[change->user_read];

		if (user->outcome == PARTNER_OK &&
			(user->json == NULL || !spinpanel_json_uuid(&user->json->root, "id", &id) ||
			 memcmp(&id, &change->user_id, sizeof(id)) != 0))
		{
			user->outcome = PARTNER_UNKNOWN;
			strlcpy(user->error, "the answer is not that user", sizeof(user->error));
		}
	}
	if (change->licenses_read >= 0)
	{
		ReadAnswer *licenses = &change->reads.answers[change->licenses_read];

		if (licenses->outcome == PARTNER_OK && held_of(licenses->json, &count) == NULL)
		{
			licenses->outcome = PARTNER_UNKNOWN;
			strlcpy(licenses->error, "the answer is no list of licences", sizeof(licenses->error));
		}
	}
}

static Look
look_at(const ReadAnswer *answer)
{
	switch (answer->outcome)
	{
		case PARTNER_OK:
			return LOOK_WELL;
		case PARTNER_NOT_FOUND:
			if (spinpanel_driver_no_such_user(answer->http_status, answer->error_code))
				return LOOK_GONE;
			/* Of Partner Center, no proxy: the tenant, or a thing we do not know. */
			return answer->error_code[0] != '\0' ? LOOK_REFUSED : LOOK_FAILED;
		case PARTNER_REFUSED:
			return LOOK_REFUSED;
		case PARTNER_NO_ACCESS:
			return answer->http_status == 401 ? LOOK_FAILED : LOOK_REFUSED;
		default:
			return LOOK_FAILED;
	}
}

/* bad: the read that cannot be used. */
static Look
look(UserChange *change, ReadAnswer **bad)
{
	Look seen = LOOK_WELL;

	*bad = NULL;
	if (change->user_read >= 0)
	{
		char *state;

		*bad = &change->reads.answers[change->user_read];
		seen = look_at(*bad);
		if (seen == LOOK_WELL &&
			(state = spinpanel_json_text(&(*bad)->json->root, "state")) != NULL &&
			pg_strcasecmp(state, "inactive") == 0)
			return LOOK_GONE;
	}
	if (seen == LOOK_WELL && change->licenses_read >= 0)
	{
		*bad = &change->reads.answers[change->licenses_read];
		seen = look_at(*bad);
	}
	return seen;
}

/* Mirror and change learn what was read, users they did not know included. */
static void
take_in(UserChange *change)
{
	MemoryContext old;

	if (change->user_read >= 0)
	{
		ReadAnswer *user = &change->reads.answers[change->user_read];
		char *location = spinpanel_json_text(&user->json->root, "usageLocation");

		(void) spinpanel_mirror_user(&change->op->customer_id, user->json, user->started_at);
		change->known.usage_location = location != NULL && location[0] != '\0'
										   ? MemoryContextStrdup(change->context, location)
										   : NULL;
	}
	if (change->licenses_read >= 0)
	{
		ReadAnswer *licenses = &change->reads.answers[change->licenses_read];

		(void) spinpanel_mirror_user_licenses(&change->op->customer_id, &change->user_id,
											  licenses->json, licenses->started_at);
		old = MemoryContextSwitchTo(change->context);
		change->known.held = held_of(licenses->json, &change->known.held_count);
		MemoryContextSwitchTo(old);
	}
}

/* A set location may not have reached the place where licences are judged. */
static bool
location_may_come(UserChange *change)
{
	Operation *op = change->op;
	TimestampTz since = op->created_at;

	if (op->base != NULL)
		(void) spinpanel_json_time(&op->base->root, "firstSentAt", &since);
	return spinpanel_now() - since < REPLICATION_PATIENCE;
}

/* ---- before sending ------------------------------------------------------------------------ */

static void
write_base(UserChange *change)
{
	Operation *op = change->op;
	StringInfoData buffer;
	const char *location = location_of(change);
	char *first = op->base == NULL ? NULL : spinpanel_json_text(&op->base->root, "firstSentAt");
	char now[MAXDATELEN + 1];

	initStringInfo(&buffer);
	if (first == NULL)
		first = JsonEncodeDateTime(now, TimestampTzGetDatum(spinpanel_now()), TIMESTAMPTZOID, NULL);
	appendStringInfoString(&buffer, "{\"firstSentAt\": ");
	escape_json(&buffer, first);
	appendStringInfoString(&buffer, ", \"usageLocation\": ");
	if (location == NULL)
		appendStringInfoString(&buffer, "null");
	else
		escape_json(&buffer, location);
	if (change->kind != USER_LOCATION)
	{
		appendStringInfoString(&buffer, ", \"held\": ");
		append_ids(&buffer, change->known.held, change->known.held_count);
	}
	appendStringInfoChar(&buffer, '}');
	op->base = spinpanel_json_of(buffer.data);
}

/* Only what is missing: see the top of this file. */
static void
write_body(UserChange *change)
{
	Operation *op = change->op;
	StringInfoData buffer;
	int written = 0;
	int i;

	initStringInfo(&buffer);
	if (change->kind == USER_LOCATION)
	{
		appendStringInfoString(&buffer, "{\"usageLocation\": ");
		escape_json(&buffer, change->location);
		appendStringInfoString(&buffer, ", \"attributes\": {\"objectType\": \"CustomerUser\"}}");
		op->body = spinpanel_json_of(buffer.data);
		return;
	}
	appendStringInfoString(&buffer, change->kind == USER_ASSIGN ? "{\"licensesToAssign\": ["
																: "{\"licensesToRemove\": [");
	for (i = 0; i < change->sku_count; i++)
		if (is_open(change, i, change->known.held, change->known.held_count))
			appendStringInfo(&buffer,
							 change->kind == USER_ASSIGN
								 ? "%s{\"excludedPlans\": null, \"skuId\": \"%s\"}"
								 : "%s\"%s\"",
							 written++ ? ", " : "", spinpanel_uuid_text(&change->skus[i]));
	appendStringInfoString(&buffer, change->kind == USER_ASSIGN ? "], \"licensesToRemove\": null"
																: "], \"licensesToAssign\": null");
	appendStringInfoString(&buffer, ", \"licenseWarnings\": null,"
									" \"attributes\": {\"objectType\": \"LicenseUpdate\"}}");
	op->body = spinpanel_json_of(buffer.data);
}

typedef struct Judging
{
	UserChange *change;
	bool send;
} Judging;

static void
do_judge(void *arg)
{
	Judging *judging = arg;
	UserChange *change = judging->change;
	Operation *op = change->op;

	take_in(change);
	if (left_to_do(change) == 0)
	{
		if (change->kind == USER_LOCATION)
			done(
				change,
				pg_strcasecmp(location_of(change), change->location) == 0
					? "the user has that usage location already"
					: psprintf("the user has the usage location %s already, which is left as it is",
							   location_of(change)));
		else
			done(change, change->kind == USER_ASSIGN ? "the user holds it already"
													 : "the user does not hold it");
		return;
	}
	if (change->kind == USER_ASSIGN && location_of(change) == NULL)
	{
		/* One that was set a moment ago may not show here yet. */
		if (op->after_operation != 0 && location_may_come(change))
			spinpanel_operation_requeue(op, 0, NULL, "the usage location does not show yet",
										spinpanel_driver_later(spinpanel_driver_delay(3)), false);
		else
			over(change, "refused", 0, "no_usage_location",
				 "the user has no usage location, and without one no licence can be assigned");
		return;
	}

	switch (spinpanel_request_hold(op, change->kind == USER_LOCATION ? 1 : change->sku_count))
	{
		case DEMAND_READY:
			break;
		case DEMAND_LOCKED:
			spinpanel_operation_requeue(op, 0, NULL, "a caller may be cancelling its request",
										spinpanel_driver_later(spinpanel_driver_while_locked(op)),
										false);
			return;
		case DEMAND_CHANGED:
			over(change, "cancelled", 0, NULL, "a request that it serves was cancelled");
			return;
	}
	write_base(change);
	write_body(change);
	spinpanel_operation_new_ids(op);
	if (!spinpanel_operation_sending(op))
		return; /* cancelled by a person */
	/* These must outlive the transaction. */
	op->base = spinpanel_driver_keep(change->context, op->base);
	op->body = spinpanel_driver_keep(change->context, op->body);
	judging->send = true;
}

/* ---- after it was sent -------------------------------------------------------------------------- */

static bool
speaks_of(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (; *text; text++)
		if (pg_strncasecmp(text, word, length) == 0)
			return true;
	return false;
}

/*
 * Partner Center says that service plans exclude each other, or that one needs
 * another: that may be about a licence of the user that is just asked for or
 * released, before or after this one.
 */
static bool
is_about_another(UserChange *change)
{
	static const char *const words[] = { "MutuallyExclusive", "mutually exclusive",
										 "DependencyViolation", "depends on another" };
	int i;

	for (i = 0; i < (int) lengthof(words); i++)
		if (speaks_of(change->sent.error, words[i]) ||
			(change->answer != NULL && speaks_of(change->answer, words[i])))
			return true;
	return false;
}

static void
refused(UserChange *change)
{
	Operation *op = change->op;
	const char *words = change->sent.error;
	bool about_location =
		(speaks_of(words, "usage location") || speaks_of(words, "usagelocation")) &&
		!speaks_of(words, "prohibit");

	if (change->kind == USER_ASSIGN && about_location && location_may_come(change) &&
		(location_of(change) != NULL || op->after_operation != 0))
		spinpanel_operation_requeue(op, change->sent.http_status, change->sent.error_code, words,
									spinpanel_driver_later(spinpanel_driver_delay(op->attempts)),
									true);
	else if (change->kind == USER_UNASSIGN &&
			 (speaks_of(words, "inherited") || speaks_of(words, "group")))
		over(
			change, "refused", change->sent.http_status, "held_by_group",
			psprintf(
				"the licence is held through a group and cannot be taken from the user directly (%s: %s)",
				change->sent.error_code, words));
	else if (is_about_another(change) && spinpanel_request_others_of_user(op, &change->user_id))
		over(change, "cancelled", change->sent.http_status, change->sent.error_code,
			 psprintf("waits for another request of the same user: %s", words));
	else
		over(change, "refused", change->sent.http_status, change->sent.error_code, words);
}

static void
do_follow_up(void *arg)
{
	UserChange *change = arg;

	take_in(change);
	if (left_to_do(change) == 0)
		done(change, change->sent.outcome == PARTNER_OK
						 ? NULL
						 : psprintf("refused (%s), but it is as wanted", change->sent.error));
	else if (change->sent.outcome == PARTNER_OK)
		spinpanel_operation_unknown(change->op, change->sent.http_status, NULL,
									"carried out; does not show yet",
									spinpanel_driver_later(Min(1000, spinpanel_retry_max_delay)));
	else
		refused(change);
}

/* Did somebody else do part of what was sent, or undo what was so before? */
static bool
changed_by_others(UserChange *change)
{
	pg_uuid_t *before;
	JsonbContainer *list;
	int before_count;
	int i;

	if (change->kind == USER_LOCATION)
		return false;
	list =
		change->op->base == NULL ? NULL : spinpanel_json_container(&change->op->base->root, "held");
	if (list == NULL || !JsonContainerIsArray(list))
		return true;
	before = palloc(sizeof(pg_uuid_t) * (JsonContainerSize(list) + 1));
	if (!guids_of(list, NULL, before, (int) JsonContainerSize(list), &before_count))
		return true;
	for (i = 0; i < change->sku_count; i++)
		if (is_open(change, i, change->known.held, change->known.held_count) !=
			is_open(change, i, before, before_count))
			return true;
	return false;
}

static void
do_resolve(void *arg)
{
	Judging *judging = arg;
	UserChange *change = judging->change;
	Operation *op = change->op;
	bool taken = op->http_status >= 200 && op->http_status < 300;

	take_in(change);
	if (left_to_do(change) == 0)
		done(change, taken ? NULL : "the answer was lost; reading showed that it was carried out");
	else if (taken && spinpanel_now() - op->sent_at < REPLICATION_PATIENCE)
		spinpanel_operation_unknown(op, op->http_status, NULL, "accepted; does not show yet",
									spinpanel_driver_later(Min(5000, spinpanel_retry_max_delay)));
	else if (taken && op->http_status != 202)
	{
		if (change->kind == USER_UNASSIGN)
			over(change, "refused", op->http_status, "held_by_group",
				 "the licence was taken from the user, who holds it all the same: through a group");
		else
			over(change, "failed", op->http_status, "not_applied",
				 "Partner Center said that it was carried out, but it does not show");
	}
	else if (spinpanel_driver_patience_over(op))
		over(change, "failed", op->http_status, op->error_code ? op->error_code : "given_up",
			 psprintf("given up after days of trying: %s",
					  op->error ? op->error : "Partner Center gave no answer"));
	else if (changed_by_others(change))
		spinpanel_operation_requeue(op, 0, NULL, "somebody changed the user's licences meanwhile",
									spinpanel_driver_later(spinpanel_driver_delay(op->attempts)),
									true);
	else if (op->body != NULL && spinpanel_operation_resend(op))
		judging->send = true;
}

/* ---- the steps ------------------------------------------------------------------------------------- */

/* A read that this step cannot do without is missing. */
static void
reads_missing(UserChange *change, Look seen, ReadAnswer *bad)
{
	Operation *op = change->op;
	TimestampTz when = spinpanel_driver_later(bad->retry_after > 0 ? bad->retry_after * 1000
																   : spinpanel_driver_delay(3));
	bool read_back = change->step == STEP_READ_BACK;
	bool was_refused = read_back && change->sent.outcome != PARTNER_OK;

	if (seen == LOOK_GONE)
		move_row(change, "gone", bad->http_status, NULL, NULL, 0, true);
	else if (change->step == STEP_READ && seen == LOOK_REFUSED)
		move_row(change, "refused", bad->http_status, bad->error_code, bad->error, 0, false);
	else if (change->step == STEP_READ)
		move_row(change, "queued", bad->http_status, bad->error_code, bad->error, when, false);
	else if (was_refused && (seen == LOOK_REFUSED || spinpanel_driver_patience_over(op)))
		move_row(change, "refused", change->sent.http_status, change->sent.error_code,
				 change->sent.error, 0, true);
	else if (was_refused)
		/* Nothing was carried out: it starts again with the reads. */
		move_row(change, "queued", change->sent.http_status, change->sent.error_code,
				 change->sent.error, when, true);
	else if (spinpanel_driver_patience_over(op))
		move_row(change, "failed", op->http_status, op->error_code ? op->error_code : "given_up",
				 psprintf("what became of it could not be read: %s", bad->error), 0, true);
	else if (read_back)
		move_row(change, "unknown", change->sent.http_status, NULL, bad->error, when, true);
	else
		/* What is known of the outcome stays on record, not the read's trouble. */
		move_row(change, "unknown", op->http_status, op->error_code,
				 op->error ? op->error : bad->error, when, true);
}

static void
reads_done(void *arg)
{
	UserChange *change = arg;
	Judging judging;
	ReadAnswer *bad;
	Look seen;

	if (change->finished)
		return; /* forgotten meanwhile */
	check_answers(change);
	seen = look(change, &bad);
	if (seen != LOOK_WELL)
	{
		reads_missing(change, seen, bad);
		return;
	}
	judging.change = change;
	judging.send = false;
	switch (change->step)
	{
		case STEP_READ:
			if (!spinpanel_unit("judging an operation", do_judge, &judging, UNIT_DURABLE))
				judging.send = false;
			break;
		case STEP_READ_BACK:
			(void) spinpanel_unit("following an operation up", do_follow_up, change, UNIT_DURABLE);
			break;
		case STEP_RESOLVE:
			if (!spinpanel_unit("resolving an operation", do_resolve, &judging, UNIT_DURABLE))
				judging.send = false;
			break;
		case STEP_SEND:
			elog(ERROR, "no read belongs to sending");
	}
	if (judging.send)
		change_send(change);
	else
		change_end(change);
}

static char *
user_path(UserChange *change)
{
	return psprintf("/customers/%s/users/%s", spinpanel_uuid_text(&change->op->customer_id),
					spinpanel_uuid_text(&change->user_id));
}

/*
 * The user is read where the location decides, or where the mirror does not know
 * them; everything else is in the list of licences.
 */
static void
change_read(UserChange *change, UserStep step)
{
	char *user = user_path(change);
	bool location = change->kind == USER_LOCATION ||
					(change->kind == USER_ASSIGN &&
					 (change->known.usage_location == NULL ||
					  (step == STEP_READ_BACK && change->sent.outcome != PARTNER_OK)));

	change->step = step;
	spinpanel_reads_again(&change->reads);
	change->user_read =
		location || !change->known.known ? spinpanel_reads_ask(&change->reads, user, NULL) : -1;
	change->licenses_read =
		change->kind == USER_LOCATION
			? -1
			: spinpanel_reads_ask(
				  &change->reads,
				  psprintf("%s/licenses?licenseGroupIds=group1&licenseGroupIds=group2", user),
				  NULL);
}

static void
sent(void *arg, const PartnerAnswer *answer)
{
	UserChange *change = arg;
	DriverVerdict verdict = spinpanel_driver_verdict(change->op, answer);
	int http_status = answer->http_status;

	change->reads.pending--; /* see change_send() */
	if (change->finished)
		return; /* forgotten meanwhile */
	spinpanel_driver_keep_answer(change->context, answer, &change->sent, &change->answer,
								 &change->answer_length);

	switch (verdict.next)
	{
		case DRIVER_CARRIED_OUT:
			change_read(change, STEP_READ_BACK);
			break;
		case DRIVER_AGAIN:
			move_row(change, "queued", http_status, answer->error_code, answer->error,
					 verdict.not_before, verdict.counts);
			break;
		case DRIVER_LOOK:
			/* No status: a 2xx that could not be read counts as no answer. */
			move_row(change, "unknown", http_status == 202 || http_status >= 300 ? http_status : 0,
					 answer->error_code,
					 answer->outcome == PARTNER_ACCEPTED ? "accepted; does not show yet"
														 : answer->error,
					 verdict.not_before, verdict.counts);
			break;
		case DRIVER_OVER:
			if (spinpanel_driver_no_such_user(http_status, answer->error_code))
				move_row(change, "gone", http_status, NULL, NULL, 0, true);
			else if (answer->outcome == PARTNER_REFUSED)
				change_read(change, STEP_READ_BACK);
			else
				move_row(change, "refused", http_status, answer->error_code, answer->error, 0,
						 true);
			break;
	}
}

static void
change_send(UserChange *change)
{
	Operation *op = change->op;
	PartnerCall call;
	char *body = JsonbToCString(NULL, &op->body->root, VARSIZE(op->body));

	change->step = STEP_SEND;
	change->reads.pending++; /* keeps the change in memory until the answer */
	memset(&call, 0, sizeof(call));
	call.method = change->kind == USER_LOCATION ? "PATCH" : "POST";
	call.path = change->kind == USER_LOCATION ? user_path(change)
											  : psprintf("%s/licenseupdates", user_path(change));
	call.body = body;
	call.request_id = &op->ms_request_id;
	call.correlation_id = &op->correlation_id;
	call.priority = PARTNER_URGENT;
	call.done = sent;
	call.arg = change;
	spinpanel_partner_call(change->reads.account, &call);
	pfree(body);
}

/* ---- taking up what is due ------------------------------------------------------------------------------ */

/* The operation, or another one of its user. */
static bool
under_way(UserChange *candidate)
{
	UserChange *change;

	for (change = changes; change != NULL; change = change->next)
		if (change->op->operation_id == candidate->op->operation_id ||
			(memcmp(&change->user_id, &candidate->user_id, sizeof(pg_uuid_t)) == 0 &&
			 memcmp(&change->op->customer_id, &candidate->op->customer_id, sizeof(pg_uuid_t)) == 0))
			return true;
	return false;
}

static UserChange *
take_up(const Operation *found)
{
	MemoryContext context =
		AllocSetContextCreate(changes_context, "user operation", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	UserChange *change = palloc0(sizeof(UserChange));
	bool good;

	change->context = context;
	change->op = spinpanel_operation_copy(found, context);
	change->user_read = change->licenses_read = -1;
	good = understand(change);
	MemoryContextSwitchTo(old);
	if ((good && under_way(change)) ||
		!spinpanel_driver_has_place(&places, found->account_id, &found->customer_id))
	{
		MemoryContextDelete(context);
		return NULL;
	}
	spinpanel_reads_start(&change->reads, context, spinpanel_partner_find(found->account_id),
						  PARTNER_URGENT, reads_done, change);
	change->next = changes;
	changes = change;
	spinpanel_driver_take_place(&places, found->account_id, &found->customer_id);
	if (!good)
	{
		move_row(change, "failed", 0, "bad_operation", "the operation makes no sense", 0, true);
		return NULL;
	}
	if (strcmp(found->status, "sending") == 0)
		ereport(LOG, (errmsg("spinpanel looks up the outcome of operation " INT64_FORMAT
							 ", which was being sent when the worker ended",
							 found->operation_id)));
	return change;
}

typedef struct Taken
{
	UserChange **changes;
	int count;
} Taken;

/* What the mirror knows of their users. */
static void
do_know(void *arg)
{
	Taken *taken = arg;
	int i;

	for (i = 0; i < taken->count; i++)
	{
		UserChange *change = taken->changes[i];

		spinpanel_mirror_user_known(&change->op->customer_id, &change->user_id, &change->known,
									change->context);
	}
}

/* The request looked at its user, and nothing was sent since. */
static bool
is_known(const UserChange *change)
{
	const Operation *op = change->op;

	return op->request_id != 0 && strcmp(op->status, "queued") == 0 && op->attempts == 0 &&
		   op->troubled_at == 0 && change->kind != USER_LOCATION && change->known.known &&
		   (change->kind == USER_UNASSIGN || change->known.usage_location != NULL) &&
		   spinpanel_now() - change->known.licenses_read_at < LOOK_HOLDS &&
		   count_open((UserChange *) change, change->known.held, change->known.held_count) ==
			   change->sku_count;
}

static void
start(UserChange *change)
{
	Judging judging;

	if (!is_known(change))
	{
		change_read(change, strcmp(change->op->status, "queued") == 0 ? STEP_READ : STEP_RESOLVE);
		return;
	}
	judging.change = change;
	judging.send = false;
	if (spinpanel_unit("judging an operation", do_judge, &judging, UNIT_DURABLE) && judging.send)
		change_send(change);
	else
		change_end(change);
}

/* True: there may be more behind those that were taken up, of customers with a place. */
static bool
take_up_due(void)
{
	DriverDue due;
	Taken taken;
	bool more;
	int i;

	spinpanel_driver_due(&due, OUTBOX_USERS, &places, changes_context,
						 "looking for operations on users");
	taken.changes = MemoryContextAlloc(due.context, sizeof(UserChange *) * (due.count + 1));
	taken.count = 0;
	for (i = 0; i < due.count; i++)
	{
		UserChange *change = spinpanel_account_usable(due.operations[i]->account_id)
								 ? take_up(due.operations[i])
								 : NULL;

		if (change != NULL)
			taken.changes[taken.count++] = change;
	}
	if (taken.count > 0)
		(void) spinpanel_unit("looking up users of operations", do_know, &taken, UNIT_REPEATABLE);
	for (i = 0; i < taken.count; i++)
		start(taken.changes[i]);
	more = due.more && taken.count > 0;
	MemoryContextDelete(due.context);
	return more;
}

void
spinpanel_userchange_work(void)
{
	if (changes_context == NULL)
		changes_context = AllocSetContextCreate(TopMemoryContext, "spinpanel user changes",
												ALLOCSET_DEFAULT_SIZES);
	sweep();
	/* Who asked for thousands fills the list: then come those behind. */
	while (take_up_due())
		;
}

int
spinpanel_userchange_active(void)
{
	sweep();
	return places.taken;
}

void
spinpanel_userchange_forget(void)
{
	UserChange *change;

	for (change = changes; change != NULL; change = change->next)
		change_end(change);
}
