/*
 * pool.c
 *
 * Tables subscribed_sku, sku, pool and pool_reading.  Here is decided whether
 * reported numbers are believed: what is implausible waits for a second read
 * at least settle_time later that agrees, and until then the old numbers stand
 * and the pool says why (promise: bad data removes nothing).
 *
 * Rows that did not change are not written.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/settings.h"
#include "state/history.h"
#include "state/mirror.h"
#include "state/pool.h"
#include "state/request.h"
#include "state/statement.h"

#define MAX_UNITS 100000000
#define DOUBT_SIZE 200

/* Other people's additions can keep a removal of ours from ever showing. */
#define SETTLE_PATIENCE (7 * USECS_PER_DAY)

/* doubt_consumed of numbers that contradict each other: never to be believed */
#define CONTRADICTION (-1)

/* What we have of one SKU at the customer. */
typedef struct Stored
{
	pg_uuid_t sku_id;
	bool in_pool; /* else nothing is known of it yet */
	bool listed; /* there is a row of subscribed_sku, not gone */
	int32 active;
	int32 warning;
	int32 suspended;
	int32 reported; /* consumed units of the last read */
	int32 total;
	int32 available;
	char *part_number;
	char *target_type;
	char *capability;
	int32 pool_active;
	int32 believed; /* consumed units that are believed */
	bool seen_consumed;
	char *doubt;
	TimestampTz doubt_at;
	int32 doubt_consumed;
	bool settling;
	int32 settle_active;
	int32 settle_owned;
	TimestampTz settle_at;
	int32 owned;
	bool mentioned; /* in the list that is taken in */
} Stored;

typedef struct Units
{
	const pg_uuid_t *customer_id;
	TimestampTz started_at;
	Stored *stored;
	int count;
	int size;
	bool whole;
} Units;

static char *
bounded(char *value, int length)
{
	if (value != NULL && (int) strlen(value) > length)
		value[pg_mbcliplen(value, strlen(value), length)] = '\0';
	return value;
}

/* ---- readings: seats and consumed units over time ---------------------------------------------- */

/*
 * A pool without seats of ours, or whose numbers are in doubt or not read yet,
 * has no reading: the cool-down starts with what was really seen.
 */
static void
note_readings(const pg_uuid_t *customer_id, TimestampTz at)
{
	static StateQuery note = {
		"WITH now AS (SELECT p.customer_id, p.sku_id, r.read_at, p.owned_seats > 0 AS ours,"
		"  least(p.owned_seats, p.active_units) AS seats, p.consumed_units AS consumed,"
		"  r.read_at IS NOT NULL AND p.owned_seats > 0 AND r.seats = least(p.owned_seats, p.active_units)"
		"   AND r.consumed = p.consumed_units AS same"
		"  FROM spinpanel.pool p JOIN spinpanel.subscribed_sku k USING (customer_id, sku_id)"
		"  LEFT JOIN spinpanel.pool_reading r ON r.customer_id = p.customer_id AND r.sku_id = p.sku_id AND r.until IS NULL"
		"  WHERE p.customer_id = $1 AND p.doubt IS NULL"
		/* Before all accounts were read once, seats seem to be added that were there. */
		"  AND NOT EXISTS (SELECT FROM spinpanel.customer_account z JOIN spinpanel.account y ON y.account_id = z.account_id"
		"   WHERE z.customer_id = $1 AND z.gone_at IS NULL AND y.status <> 'disconnected' AND z.subscriptions_read_at IS NULL)),"
		" closed AS (UPDATE spinpanel.pool_reading r SET until = greatest($2, r.read_at) FROM now n"
		"  WHERE r.customer_id = n.customer_id AND r.sku_id = n.sku_id AND r.read_at = n.read_at"
		"  AND NOT n.same RETURNING r.sku_id),"
		" pruned AS (DELETE FROM spinpanel.pool_reading WHERE customer_id = $1 AND until < $2 - '100 days'::interval"
		"  AND sku_id IN (SELECT sku_id FROM closed))"
		" INSERT INTO spinpanel.pool_reading AS t (customer_id, sku_id, read_at, seats, consumed)"
		" SELECT customer_id, sku_id, greatest($2, read_at + '1 us'::interval), seats, consumed FROM now"
		" WHERE ours AND NOT same"
		" ON CONFLICT (customer_id, sku_id, read_at) DO UPDATE SET seats = least(t.seats, excluded.seats),"
		"  consumed = greatest(t.consumed, excluded.consumed), until = NULL",
		"uT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(at);
	spinpanel_state_run(&note, args, 0);
}

void
spinpanel_pool_recount(const pg_uuid_t *customer_id, TimestampTz at)
{
	static StateQuery recount = {
		"INSERT INTO spinpanel.pool (customer_id, sku_id, owned_seats)"
		" SELECT $1, k.sku_id, k.seats FROM (SELECT u.sku_id, coalesce((SELECT sum(s.quantity)"
		"  FROM spinpanel.subscription s JOIN spinpanel.account a USING (account_id)"
		"  LEFT JOIN spinpanel.customer_account ca USING (customer_id, account_id)"
		"  LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key AND f.is_trial"
		"  WHERE s.customer_id = $1 AND f.offer_key IS NULL AND s.sku_id = u.sku_id AND s.status = 'active'"
		"  AND s.commerce IN ('nce', 'legacy') AND NOT s.is_trial AND s.gone_at IS NULL"
		"  AND a.status <> 'disconnected' AND ca.gone_at IS NULL), 0)::int AS seats"
		"  FROM (SELECT sku_id FROM spinpanel.pool WHERE customer_id = $1"
		"   UNION SELECT sku_id FROM spinpanel.subscription WHERE customer_id = $1 AND sku_id IS NOT NULL) u) k"
		" LEFT JOIN spinpanel.pool p ON p.customer_id = $1 AND p.sku_id = k.sku_id"
		" WHERE p.sku_id IS NULL OR p.owned_seats <> k.seats"
		" ON CONFLICT (customer_id, sku_id) DO UPDATE SET owned_seats = excluded.owned_seats",
		"u", NULL
	};
	StateArg args[1];

	args[0] = spinpanel_arg_uuid(customer_id);
	if (spinpanel_state_run(&recount, args, 0) > 0)
		note_readings(customer_id, at);
}

void
spinpanel_pool_mapped(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, TimestampTz at)
{
	static StateQuery forget = {
		"DELETE FROM spinpanel.pool_reading g WHERE g.customer_id = $1 AND g.sku_id = $2"
		" AND NOT EXISTS (SELECT FROM spinpanel.pool_reading older WHERE older.customer_id = $1"
		"  AND older.sku_id = $2 AND older.read_at < $3)",
		"uuT", NULL
	};
	StateArg args[3];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_time(at - USECS_PER_HOUR);
	spinpanel_state_run(&forget, args, 0);
	spinpanel_pool_recount(customer_id, at);
}

/* ---- the counters' self-check ----------------------------------------------------------------- */

/* Pools compared at a time: some milliseconds. */
#define CHECKED_AT_ONCE 2000

/* The last pool that was compared; all zero: begin anew. */
static pg_uuid_t checked_customer;
static pg_uuid_t checked_sku;

void
spinpanel_pool_check_counters(void)
{
	static StateQuery compare = {
		"SELECT p.customer_id, p.sku_id, p.owned_seats, coalesce((SELECT sum(s.quantity)"
		"  FROM spinpanel.subscription s JOIN spinpanel.account a USING (account_id)"
		"  LEFT JOIN spinpanel.customer_account ca USING (customer_id, account_id)"
		"  LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key AND f.is_trial"
		"  WHERE s.customer_id = p.customer_id AND f.offer_key IS NULL AND s.sku_id = p.sku_id AND s.status = 'active'"
		"  AND s.commerce IN ('nce', 'legacy') AND NOT s.is_trial AND s.gone_at IS NULL"
		"  AND a.status <> 'disconnected' AND ca.gone_at IS NULL), 0)::int"
		" FROM (SELECT customer_id, sku_id, owned_seats FROM spinpanel.pool WHERE (customer_id, sku_id) > ($1, $2)"
		"  ORDER BY customer_id, sku_id LIMIT $3) p ORDER BY 1, 2",
		"uui", NULL
	};
	static StateQuery note = {
		"UPDATE spinpanel.counter_check SET compared = compared + $1, compared_at = $3, wrong = wrong + $2,"
		" wrong_at = CASE WHEN $2 > 0 THEN $3 ELSE wrong_at END",
		"iiT", NULL
	};
	StateArg args[3];
	pg_uuid_t *wrong;
	uint64 rows;
	uint64 row;
	int wrong_count = 0;
	int i;

	args[0] = spinpanel_arg_uuid(&checked_customer);
	args[1] = spinpanel_arg_uuid(&checked_sku);
	args[2] = spinpanel_arg_int(CHECKED_AT_ONCE);
	rows = spinpanel_state_run(&compare, args, 0);
	wrong = palloc(sizeof(pg_uuid_t) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		spinpanel_row_uuid(row, 1, &wrong[wrong_count]);
		if (row == rows - 1)
		{
			checked_customer = wrong[wrong_count];
			spinpanel_row_uuid(row, 2, &checked_sku);
		}
		if (spinpanel_row_int(row, 3) != spinpanel_row_int(row, 4))
			wrong_count++;
	}
	if (rows < CHECKED_AT_ONCE)
	{
		memset(&checked_customer, 0, sizeof(checked_customer));
		memset(&checked_sku, 0, sizeof(checked_sku));
	}
	for (i = 0; i < wrong_count; i++)
	{
		HistoryEntry entry;

		memset(&entry, 0, sizeof(entry));
		entry.event = "counters put right";
		entry.customer_id = &wrong[i];
		entry.reason = "owned seats that were kept with the mirror differed from its subscriptions";
		spinpanel_history_add(&entry);
		spinpanel_pool_recount(&wrong[i], spinpanel_now());
	}
	args[0] = spinpanel_arg_int((int32) rows);
	args[1] = spinpanel_arg_int(wrong_count);
	args[2] = spinpanel_arg_time(spinpanel_now());
	if (rows > 0)
		spinpanel_state_run(&note, args, 0);
}

/* ---- subscribed SKUs ------------------------------------------------------------------ */

static void
load_stored(Units *units)
{
	static StateQuery select = {
		"SELECT p.sku_id, k.sku_id IS NOT NULL AND k.gone_at IS NULL, k.active_units, k.warning_units,"
		" k.suspended_units, k.consumed_units, coalesce(k.total_units, -1), coalesce(k.available_units, -2147483648),"
		" k.part_number, k.target_type, k.capability_status, p.active_units, p.consumed_units, p.consumption_seen,"
		" p.doubt, p.doubt_at, p.doubt_consumed, p.settle_active, p.settle_at,"
		" coalesce(p.settle_owned, p.owned_seats), p.owned_seats"
		" FROM spinpanel.pool p LEFT JOIN spinpanel.subscribed_sku k USING (customer_id, sku_id)"
		" WHERE p.customer_id = $1",
		"u", NULL
	};
	StateArg args[1];
	uint64 rows;
	uint64 row;

	args[0] = spinpanel_arg_uuid(units->customer_id);
	rows = spinpanel_state_run(&select, args, 0);
	units->size = (int) rows + 16;
	units->stored = palloc0(sizeof(Stored) * units->size);
	units->count = (int) rows;
	for (row = 0; row < rows; row++)
	{
		Stored *s = &units->stored[row];

		spinpanel_row_uuid(row, 1, &s->sku_id);
		s->in_pool = true;
		s->listed = spinpanel_row_bool(row, 2);
		s->active = spinpanel_row_int(row, 3);
		s->warning = spinpanel_row_int(row, 4);
		s->suspended = spinpanel_row_int(row, 5);
		s->reported = spinpanel_row_int(row, 6);
		s->total = spinpanel_row_int(row, 7);
		s->available = spinpanel_row_int(row, 8);
		s->part_number = spinpanel_row_text(row, 9, CurrentMemoryContext);
		s->target_type = spinpanel_row_text(row, 10, CurrentMemoryContext);
		s->capability = spinpanel_row_text(row, 11, CurrentMemoryContext);
		s->pool_active = spinpanel_row_int(row, 12);
		s->believed = spinpanel_row_int(row, 13);
		s->seen_consumed = spinpanel_row_bool(row, 14);
		s->doubt = spinpanel_row_text(row, 15, CurrentMemoryContext);
		s->doubt_at = spinpanel_row_time(row, 16, 0);
		s->doubt_consumed = spinpanel_row_int(row, 17);
		s->settling = !spinpanel_row_isnull(row, 18);
		s->settle_active = spinpanel_row_int(row, 18);
		s->settle_at = spinpanel_row_time(row, 19, 0);
		s->settle_owned = spinpanel_row_int(row, 20);
		s->owned = spinpanel_row_int(row, 21);
	}
}

static Stored *
find_stored(Units *units, const pg_uuid_t *sku_id)
{
	Stored *s;
	int i;

	for (i = 0; i < units->count; i++)
		if (memcmp(&units->stored[i].sku_id, sku_id, sizeof(pg_uuid_t)) == 0)
			return &units->stored[i];
	if (units->count == units->size)
	{
		units->stored = repalloc(units->stored, sizeof(Stored) * units->size * 2);
		memset(units->stored + units->size, 0, sizeof(Stored) * units->size);
		units->size *= 2;
	}
	s = &units->stored[units->count++];
	s->sku_id = *sku_id;
	return s;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
implausible_against(int32 consumed, int32 before)
{
	return before > 0 && (consumed == 0 || (int64) consumed * 2 < before);
}

/*
 * The heart of promise 6.  consumed is what was read, CONTRADICTION if the
 * numbers contradict each other; why says so in words.  Sets what is believed.
 */
static void
weigh(Units *units, Stored *s, int32 consumed, const char *why, int32 *believed, char *doubt,
	  TimestampTz *doubt_at, int32 *doubt_consumed)
{
	bool doubted = s->doubt != NULL;

	*believed = s->believed;
	*doubt_at = units->started_at;
	*doubt_consumed = consumed;
	doubt[0] = '\0';

	if (consumed == CONTRADICTION)
		strlcpy(doubt, why, DOUBT_SIZE);
	else if (!implausible_against(consumed, s->believed) && why[0] == '\0')
	{
		*believed = consumed;
		return;
	}
	else if (doubted && s->doubt_consumed != CONTRADICTION &&
			 !implausible_against(consumed, s->doubt_consumed) &&
			 !implausible_against(s->doubt_consumed, consumed))
	{
		/* It agrees with the first; is it late enough to be a second? */
		if (units->started_at - s->doubt_at >= (int64) spinpanel_settle_time * USECS_PER_SEC)
		{
			*believed = consumed;
			return;
		}
		strlcpy(doubt, s->doubt, DOUBT_SIZE);
		*doubt_at = s->doubt_at;
		*doubt_consumed = s->doubt_consumed;
		return;
	}
	else if (why[0] != '\0')
		strlcpy(doubt, why, DOUBT_SIZE);
	else
		snprintf(doubt, DOUBT_SIZE,
				 "consumed units fell from %d to %d between two reads; a second read must agree",
				 s->believed, consumed);

	/* The same contradiction again is the same doubt. */
	if (doubted && consumed == CONTRADICTION && s->doubt_consumed == CONTRADICTION &&
		strcmp(s->doubt, doubt) == 0)
		*doubt_at = s->doubt_at;
}

static void
write_pool(Units *units, Stored *s, int32 active, int32 believed, const char *doubt,
		   TimestampTz doubt_at, int32 doubt_consumed)
{
	static StateQuery insert = {
		"INSERT INTO spinpanel.pool (customer_id, sku_id, active_units, consumed_units, consumption_seen, doubt,"
		" doubt_at, doubt_consumed, settle_active, settle_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		"uuiibtTiiT", NULL
	};
	static StateQuery update = {
		"UPDATE spinpanel.pool SET active_units = $3, consumed_units = $4, consumption_seen = $5, doubt = $6,"
		" doubt_at = $7, doubt_consumed = $8, settle_active = $9, settle_at = $10,"
		" settle_owned = CASE WHEN $9 IS NULL THEN NULL ELSE settle_owned END WHERE customer_id = $1 AND sku_id = $2",
		"uuiibtTiiT", NULL
	};
	static StateQuery seen = {
		"UPDATE spinpanel.sku SET consumption_seen = true WHERE sku_id = $1 AND NOT consumption_seen",
		"u", NULL
	};
	bool consumption_seen = s->seen_consumed || believed > 0;
	bool settled = s->settling && units->started_at > s->settle_at &&
				   /* What anybody added since shows in what is owned. */
				   (active <= s->settle_active + Max(0, s->owned - s->settle_owned) ||
					units->started_at > s->settle_at + SETTLE_PATIENCE);
	bool settling = s->settling && !settled;
	StateArg args[10];

	if (s->in_pool && s->pool_active == active && s->believed == believed &&
		s->seen_consumed == consumption_seen && !settled &&
		(doubt[0] == '\0' ? s->doubt == NULL
						  : s->doubt != NULL && strcmp(s->doubt, doubt) == 0 &&
								s->doubt_at == doubt_at && s->doubt_consumed == doubt_consumed))
		return;

	args[0] = spinpanel_arg_uuid(units->customer_id);
	args[1] = spinpanel_arg_uuid(&s->sku_id);
	args[2] = spinpanel_arg_int(active);
	args[3] = spinpanel_arg_int(believed);
	args[4] = spinpanel_arg_bool(consumption_seen);
	args[5] = spinpanel_arg_text(doubt[0] ? doubt : NULL);
	args[6] = doubt[0] ? spinpanel_arg_time(doubt_at) : spinpanel_arg_null();
	args[7] = doubt[0] ? spinpanel_arg_int(doubt_consumed) : spinpanel_arg_null();
	args[8] = settling ? spinpanel_arg_int(s->settle_active) : spinpanel_arg_null();
	args[9] = settling ? spinpanel_arg_time(s->settle_at) : spinpanel_arg_null();
	spinpanel_state_run(s->in_pool ? &update : &insert, args, 0);
	if (consumption_seen && !s->seen_consumed)
	{
		args[0] = spinpanel_arg_uuid(&s->sku_id);
		spinpanel_state_run(&seen, args, 0);
	}
}

/* An integer member that must be there and sane. */
static bool
units_of(JsonbContainer *item, const char *name, bool required, int32 *value, char *why)
{
	int64 number;

	*value = 0;
	if (!spinpanel_json_int(item, name, &number))
	{
		if (required)
			snprintf(why, DOUBT_SIZE, "Partner Center's report lacks %s", name);
		return false;
	}
	if (number < 0 || number > MAX_UNITS)
	{
		snprintf(why, DOUBT_SIZE, "Partner Center reports %s " INT64_FORMAT, name, number);
		return false;
	}
	*value = (int32) number;
	return true;
}

static void
take_item(Units *units, JsonbContainer *item)
{
	/* A statement makes all sessions forget settings, even if it changes no row. */
	static StateQuery known = {
		"SELECT 1 FROM spinpanel.sku WHERE sku_id = $1 AND part_number IS NOT DISTINCT FROM coalesce($2, part_number)"
		" AND name IS NOT DISTINCT FROM coalesce($3, name)",
		"utt", NULL
	};
	static StateQuery sku = {
		"INSERT INTO spinpanel.sku AS k (sku_id, part_number, name) VALUES ($1, $2, $3)"
		" ON CONFLICT (sku_id) DO UPDATE SET part_number = coalesce(excluded.part_number, k.part_number),"
		" name = coalesce(excluded.name, k.name) WHERE (k.part_number, k.name) IS DISTINCT FROM"
		" (coalesce(excluded.part_number, k.part_number), coalesce(excluded.name, k.name))",
		"utt", NULL
	};
	static StateQuery upsert = {
		"INSERT INTO spinpanel.subscribed_sku (customer_id, sku_id, part_number, target_type, license_group,"
		" active_units, warning_units, suspended_units, consumed_units, total_units, available_units,"
		" capability_status, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
		" ON CONFLICT (customer_id, sku_id) DO UPDATE SET part_number = excluded.part_number,"
		" target_type = excluded.target_type, license_group = excluded.license_group,"
		" active_units = excluded.active_units, warning_units = excluded.warning_units,"
		" suspended_units = excluded.suspended_units, consumed_units = excluded.consumed_units,"
		" total_units = excluded.total_units, available_units = excluded.available_units,"
		" capability_status = excluded.capability_status, changed_at = excluded.changed_at, gone_at = NULL",
		"uutttiiiiiitT", NULL
	};
	pg_uuid_t sku_id;
	Stored *s;
	char why[DOUBT_SIZE] = "";
	char doubt[DOUBT_SIZE];
	int32 active;
	int32 warning;
	int32 suspended;
	int32 consumed;
	int64 total = -1;
	int64 available = PG_INT32_MIN;
	char *part_number;
	char *target_type;
	char *capability;
	int32 believed;
	TimestampTz doubt_at;
	int32 doubt_consumed;
	StateArg args[13];
	bool sane;

	if (!spinpanel_json_uuid(item, "productSku.id", &sku_id))
	{
		units->whole = false;
		return;
	}
	s = find_stored(units, &sku_id);
	if (s->mentioned)
	{
		/* A list with a SKU twice may lack another one. */
		units->whole = false;
		return;
	}
	s->mentioned = true;
	sane = units_of(item, "consumedUnits", true, &consumed, why);
	sane = units_of(item, "activeUnits", true, &active, why) && sane;
	if (!units_of(item, "warningUnits", false, &warning, why) && why[0] != '\0')
		sane = false;
	if (!units_of(item, "suspendedUnits", false, &suspended, why) && why[0] != '\0')
		sane = false;
	if (spinpanel_json_int(item, "totalUnits", &total) && sane && total != (int64) active + warning)
	{
		snprintf(why, sizeof(why),
				 "Partner Center reports %d active and %d warning units, but " INT64_FORMAT
				 " in total",
				 active, warning, total);
		sane = false;
	}
	if (spinpanel_json_int(item, "availableUnits", &available) && sane && total >= 0 &&
		available != total - consumed)
	{
		snprintf(why, sizeof(why),
				 "Partner Center reports " INT64_FORMAT
				 " units of which %d are consumed, but " INT64_FORMAT " available",
				 total, consumed, available);
		sane = false;
	}
	if (total < -1 || total > MAX_UNITS)
		total = -1;
	if (available < -MAX_UNITS || available > MAX_UNITS)
		available = PG_INT32_MIN;

	part_number = bounded(spinpanel_json_text(item, "productSku.skuPartNumber"), 128);
	target_type = bounded(spinpanel_json_text(item, "productSku.targetType"), 32);
	capability = bounded(spinpanel_json_text(item, "capabilityStatus"), 32);

	if (!s->listed || s->active != active || s->warning != warning || s->suspended != suspended ||
		s->reported != consumed || s->total != total || s->available != available ||
		!same_text(s->part_number, part_number) || !same_text(s->target_type, target_type) ||
		!same_text(s->capability, capability))
	{
		args[0] = spinpanel_arg_uuid(&sku_id);
		args[1] = spinpanel_arg_text(part_number);
		args[2] = spinpanel_arg_text(bounded(spinpanel_json_text(item, "productSku.name"), 256));
		if (spinpanel_state_run(&known, args, 0) == 0)
			spinpanel_state_run(&sku, args, 0);

		args[0] = spinpanel_arg_uuid(units->customer_id);
		args[1] = spinpanel_arg_uuid(&sku_id);
		args[2] = spinpanel_arg_text(part_number);
		args[3] = spinpanel_arg_text(target_type);
		args[4] =
			spinpanel_arg_text(bounded(spinpanel_json_text(item, "productSku.licenseGroupId"), 32));
		args[5] = spinpanel_arg_int(active);
		args[6] = spinpanel_arg_int(warning);
		args[7] = spinpanel_arg_int(suspended);
		args[8] = spinpanel_arg_int(consumed);
		args[9] = total < 0 ? spinpanel_arg_null() : spinpanel_arg_int((int32) total);
		args[10] =
			available == PG_INT32_MIN ? spinpanel_arg_null() : spinpanel_arg_int((int32) available);
		args[11] = spinpanel_arg_text(capability);
		args[12] = spinpanel_arg_time(units->started_at);
		spinpanel_state_run(&upsert, args, 0);
	}

	weigh(units, s, sane ? consumed : CONTRADICTION, sane ? "" : why, &believed, doubt, &doubt_at,
		  &doubt_consumed);
	write_pool(units, s, sane ? active : s->pool_active, believed, doubt, doubt_at, doubt_consumed);
}

/* A SKU that was listed and is not in this whole list. */
static void
take_missing(Units *units, Stored *s)
{
	static StateQuery gone = {
		"UPDATE spinpanel.subscribed_sku SET gone_at = $3, active_units = 0, consumed_units = 0, changed_at = $3"
		" WHERE customer_id = $1 AND sku_id = $2",
		"uuT", NULL
	};
	char doubt[DOUBT_SIZE];
	int32 believed;
	TimestampTz doubt_at;
	int32 doubt_consumed;

	weigh(units, s, 0, "the SKU is gone from Partner Center's report; a second read must agree",
		  &believed, doubt, &doubt_at, &doubt_consumed);
	write_pool(units, s, doubt[0] ? s->pool_active : 0, believed, doubt, doubt_at, doubt_consumed);
	if (doubt[0] == '\0')
	{
		StateArg args[3];

		args[0] = spinpanel_arg_uuid(units->customer_id);
		args[1] = spinpanel_arg_uuid(&s->sku_id);
		args[2] = spinpanel_arg_time(units->started_at);
		spinpanel_state_run(&gone, args, 0);
	}
}

bool
spinpanel_pool_take_units(const pg_uuid_t *customer_id, Jsonb *body, TimestampTz started_at)
{
	Units units;
	JsonbContainer *items = spinpanel_json_container(&body->root, "items");
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	int i;

	if (items == NULL || !JsonContainerIsArray(items))
		return false;
	memset(&units, 0, sizeof(units));
	units.customer_id = customer_id;
	units.started_at = started_at;
	units.whole = true;
	load_stored(&units);

	it = JsonbIteratorInit(items);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
			take_item(&units, value.val.binary.data);
		else
			units.whole = false;
	}
	if (units.whole)
		units.whole = spinpanel_mirror_all_there(&body->root, JsonContainerSize(items), true);
	if (units.whole)
		for (i = 0; i < units.count; i++)
			if (units.stored[i].listed && !units.stored[i].mentioned)
				take_missing(&units, &units.stored[i]);

	spinpanel_request_units_read(customer_id, started_at);
	note_readings(customer_id, started_at);
	return units.whole;
}

void
spinpanel_pool_count_holders(const pg_uuid_t *customer_id, TimestampTz at)
{
	static StateQuery count = {
		"UPDATE spinpanel.pool p SET holders = (SELECT count(*)::int FROM spinpanel.user_license l"
		" WHERE l.customer_id = p.customer_id AND l.sku_id = p.sku_id), holders_read_at = $2"
		" WHERE p.customer_id = $1",
		"uT", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_time(at);
	spinpanel_state_run(&count, args, 0);
}

void
spinpanel_pool_expect(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, int32 active_left,
					  int32 owned_left)
{
	/* An earlier removal is waited for, too: the mark moves with what is owned. */
	static StateQuery removed = {
		"UPDATE spinpanel.pool SET settle_active = least(settle_active + $5 - settle_owned, $3),"
		" settle_owned = $5, settle_at = $4 WHERE customer_id = $1 AND sku_id = $2",
		"uuiTi", NULL
	};
	StateArg args[5];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	args[2] = spinpanel_arg_int(active_left);
	args[3] = spinpanel_arg_time(spinpanel_now());
	args[4] = spinpanel_arg_int(owned_left);
	spinpanel_state_run(&removed, args, 0);
}

bool
spinpanel_pool_figures(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, int32 *owned,
					   int32 *active, int32 *consumed)
{
	static StateQuery select = {
		"SELECT p.owned_seats, k.active_units, k.consumed_units FROM spinpanel.pool p"
		" JOIN spinpanel.subscribed_sku k USING (customer_id, sku_id)"
		" WHERE p.customer_id = $1 AND p.sku_id = $2",
		"uu", NULL
	};
	StateArg args[2];

	args[0] = spinpanel_arg_uuid(customer_id);
	args[1] = spinpanel_arg_uuid(sku_id);
	if (spinpanel_state_run(&select, args, 0) == 0)
		return false;
	*owned = spinpanel_row_int(0, 1);
	*active = spinpanel_row_int(0, 2);
	*consumed = spinpanel_row_int(0, 3);
	return true;
}
