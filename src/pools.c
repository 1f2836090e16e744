/*
 * pools.c
 *
 * Loads pools from the tables into the planner's structs, three statements
 * however many customers.  It only reads, and decides nothing: who did what
 * (we or a person) follows from what our operations noted.
 *
 * The planner compares the age of data with the moment it plans for.  For
 * "what if" that moment lies elsewhere, so read times are moved along.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "pools.h"
#include "settings.h"
#include "state.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* A refund window is open for this long (Microsoft: 7 days). */
#define WINDOW (7 * USECS_PER_DAY)
/* A renewal may take so long after its day began. */
#define RENEWAL_TIME (25 * USECS_PER_HOUR)

typedef struct Loading
{
	MemoryContext context;
	SpinpanelPools *customers;
	int			count;
	int			at;				/* customer that the last row belonged to */
	TimestampTz now;
	TimestampTz shift;			/* now - read_now */
} Loading;

static void *
keep(Loading *loading, Size size)
{
	return MemoryContextAllocZero(loading->context, size);
}

/* Rows come in order of customers as given. */
static SpinpanelPools *
customer_of(Loading *loading, uint64 row)
{
	int			position = spinpanel_row_int(row, 1) - 1;

	return &loading->customers[position];
}

static StateArg
id_array(const pg_uuid_t *ids, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * (count + 1));
	int			i;

	for (i = 0; i < count; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return spinpanel_arg_datum(PointerGetDatum(construct_array(elements, count, UUIDOID,
															   UUID_LEN, false, TYPALIGN_CHAR)));
}

/* ---- pools --------------------------------------------------------------------------- */

static void
load_pools(Loading *loading, const StateArg *ids, TimestampTz read_now, int64 except_operation)
{
	static StateQuery select = {
		"SELECT c.position::int, c.customer_id, cu.name, p.sku_id, p.owned_seats, p.active_units, p.consumed_units,"
		" CASE WHEN p.holders_read_at > $3 - $4 * '1 second'::interval THEN p.holders ELSE 0 END,"
		" (SELECT count(*)::int FROM spinpanel.license_request q WHERE q.customer_id = p.customer_id"
		"  AND q.sku_id = p.sku_id AND q.waiting AND q.kind = 'assign' AND q.status NOT IN ('failed', 'cancelled')),"
		" w.unused,"
		" p.consumption_seen, coalesce(k.consumption_seen, false), p.doubt,"
		" p.settle_active IS NOT NULL AND p.active_units > p.settle_active,"
		" EXISTS (SELECT FROM spinpanel.operation o WHERE o.customer_id = p.customer_id AND o.sku_id = p.sku_id"
		"  AND o.status IN ('queued', 'sending', 'unknown') AND o.operation_id <> $5"
		"  AND o.kind NOT IN ('assign', 'unassign', 'set_usage_location')),"
		" rel.auto_license_adjustment, rel.paused_at IS NOT NULL,"
		" coalesce(r1.excluded, r2.excluded, r3.excluded, r4.excluded, false),"
		" coalesce(n.never_assigned, h.part_number IS NOT NULL, false),"
		" coalesce(lower(u.target_type) = 'tenant', false),"
		" coalesce(r1.spare_seats, r2.spare_seats, r3.spare_seats, r4.spare_seats, rel.spare_seats),"
		" coalesce(r1.min_seats, r2.min_seats, r3.min_seats, r4.min_seats, 0),"
		" (extract(epoch FROM rel.cooldown) * 1000000)::int8, (extract(epoch FROM rel.renewal_lead) * 1000000)::int8,"
		" a.read_at, a.no_access, coalesce(u.part_number, k.part_number),"
		" rel.removal_limit_percent, rel.removal_limit_seats,"
		" CASE WHEN w.since > $2 - rel.cooldown THEN w.since END"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.customer cu ON cu.customer_id = c.customer_id"
		" JOIN spinpanel.relationship rel ON rel.customer_id = c.customer_id"
		" JOIN spinpanel.pool p ON p.customer_id = c.customer_id"
		" LEFT JOIN spinpanel.subscribed_sku u ON u.customer_id = p.customer_id AND u.sku_id = p.sku_id AND u.gone_at IS NULL"
		" LEFT JOIN spinpanel.sku k ON k.sku_id = p.sku_id"
		" LEFT JOIN spinpanel.never_assigned_sku_shipped h ON h.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.never_assigned_sku n ON n.part_number = upper(coalesce(u.part_number, k.part_number))"
		" LEFT JOIN spinpanel.license_rule r1 ON r1.customer_id = p.customer_id AND r1.sku_id = p.sku_id"
		" LEFT JOIN spinpanel.license_rule r2 ON r2.customer_id = p.customer_id AND r2.sku_id IS NULL"
		" LEFT JOIN spinpanel.license_rule r3 ON r3.customer_id IS NULL AND r3.sku_id = p.sku_id"
		" LEFT JOIN spinpanel.license_rule r4 ON r4.customer_id IS NULL AND r4.sku_id IS NULL"
		" LEFT JOIN LATERAL (SELECT least(min(coalesce(x.subscriptions_read_at, '-infinity')),"
		"   max(coalesce(x.subscribed_skus_read_at, '-infinity'))) AS read_at,"
		"  bool_and(x.license_access IS FALSE) AS no_access"
		"  FROM spinpanel.customer_account x JOIN spinpanel.account y USING (account_id)"
		"  WHERE x.customer_id = c.customer_id AND x.gone_at IS NULL AND y.status <> 'disconnected') a ON true"
		" LEFT JOIN LATERAL (SELECT min(r.seats) - max(r.consumed) AS unused, min(r.read_at) AS since"
		"  FROM spinpanel.pool_reading r WHERE r.customer_id = p.customer_id AND r.sku_id = p.sku_id"
		"  AND (r.until IS NULL OR r.until > $2 - rel.cooldown)) w ON true"
		" ORDER BY c.position, p.sku_id", "AuTTiI", NULL
	};
	StateArg	args[5];
	uint64		rows;
	uint64		row;

	args[0] = *ids;
	args[1] = spinpanel_arg_time(loading->now);
	args[2] = spinpanel_arg_time(read_now);
	args[3] = spinpanel_arg_int(spinpanel_max_data_age);
	args[4] = spinpanel_arg_int64(except_operation);
	rows = spinpanel_state_run(&select, args, 0);

	for (row = 0; row < rows; row++)
		customer_of(loading, row)->pool_count++;
	for (row = 0; row < rows; row++)
	{
		SpinpanelPools *c = customer_of(loading, row);
		PlanPool   *pool;
		TimestampTz read_at;
		int32		i;

		if (c->pools == NULL)
		{
			/* Room for pools of unmapped offers is made later. */
			c->pools = keep(loading, sizeof(PlanPool) * c->pool_count);
			c->unmapped = keep(loading, sizeof(bool) * c->pool_count);
			c->sku_ids = keep(loading, sizeof(pg_uuid_t) * c->pool_count);
			c->part_numbers = keep(loading, sizeof(char *) * c->pool_count);
			c->owned = keep(loading, sizeof(int32) * c->pool_count);
			c->consumed = keep(loading, sizeof(int32) * c->pool_count);
			c->subscription_ids = keep(loading, sizeof(pg_uuid_t *) * c->pool_count);
			c->customer_name = spinpanel_row_text(row, 3, loading->context);
			c->limits.removal_limit_percent = spinpanel_row_int(row, 28);
			c->limits.removal_limit_seats = spinpanel_row_int(row, 29);
			c->pool_count = 0;
		}
		i = c->pool_count++;
		pool = &c->pools[i];
		spinpanel_row_uuid(row, 4, &c->sku_ids[i]);
		c->owned[i] = spinpanel_row_int(row, 5);
		c->limits.owned_at_start += c->owned[i];
		pool->active = spinpanel_row_int(row, 6);
		c->consumed[i] = spinpanel_row_int(row, 7);
		pool->consumed = Max(c->consumed[i], spinpanel_row_int(row, 8));
		pool->waiting = spinpanel_row_int(row, 9);
		/* Nothing seen yet: nothing is past its cool-down. */
		pool->settled_unused = spinpanel_row_isnull(row, 10) ? 0 : spinpanel_row_int(row, 10);
		pool->known_since = spinpanel_row_time(row, 30, 0);
		pool->consumption_seen = spinpanel_row_bool(row, 11);
		pool->sku_consumption_seen = spinpanel_row_bool(row, 12);
		pool->doubt = spinpanel_row_text(row, 13, loading->context);
		pool->unsettled = spinpanel_row_bool(row, 14);
		pool->open_operation = spinpanel_row_bool(row, 15);
		pool->adjust = spinpanel_row_bool(row, 16);
		pool->paused = spinpanel_row_bool(row, 17);
		pool->excluded = spinpanel_row_bool(row, 18);
		pool->never_assigned = spinpanel_row_bool(row, 19);
		pool->tenant_target = spinpanel_row_bool(row, 20);
		pool->spare = spinpanel_row_int(row, 21);
		pool->min_seats = spinpanel_row_int(row, 22);
		pool->cooldown = spinpanel_row_int64(row, 23);
		pool->renewal_lead = spinpanel_row_int64(row, 24);
		read_at = spinpanel_row_time(row, 25, DT_NOBEGIN);
		/* -infinity (never read) is as old as can be */
		pool->read_at = read_at == DT_NOBEGIN ? 0 : read_at + loading->shift;
		pool->no_access = spinpanel_row_bool(row, 26);
		pool->max_age = (int64) spinpanel_max_data_age * USECS_PER_SEC;
		c->part_numbers[i] = spinpanel_row_text(row, 27, loading->context);
	}
}

/* ---- subscriptions -------------------------------------------------------------------- */

typedef struct SubscriptionRow
{
	int			customer;
	bool		has_sku;
	pg_uuid_t	sku_id;
	char	   *offer;
	pg_uuid_t	id;
	char	   *likeness;
	PlanSubscription s;
} SubscriptionRow;

static PlanBatch *
batches_of(Loading *loading, uint64 row, int quantities, int untils,
		   PlanSubscription *s, TimestampTz renewed_at, TimestampTz effective_start)
{
	bool		isnull;
	Datum		datum;
	ArrayType  *quantity_array;
	ArrayType  *until_array;
	int32	   *quantity;
	TimestampTz *until;
	PlanBatch  *batches;
	int			n;
	int			i;

	datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, quantities, &isnull);
	quantity_array = DatumGetArrayTypeP(datum);
	datum = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, untils, &isnull);
	until_array = DatumGetArrayTypeP(datum);
	n = Min(ArrayGetNItems(ARR_NDIM(quantity_array), ARR_DIMS(quantity_array)),
			ArrayGetNItems(ARR_NDIM(until_array), ARR_DIMS(until_array)));
	s->batch_count = n;
	if (n == 0)
		return NULL;
	quantity = (int32 *) ARR_DATA_PTR(quantity_array);
	until = (TimestampTz *) ARR_DATA_PTR(until_array);
	batches = keep(loading, sizeof(PlanBatch) * n);
	for (i = 0; i < n; i++)
	{
		TimestampTz opened = until[i] - WINDOW;

		batches[i].quantity = quantity[i];
		batches[i].deadline = until[i];

		/*
		 * Opened within a renewal's time after one that we saw, or, where we
		 * came later, after a term began that is not the first.
		 */
		batches[i].by_renewal =
			(renewed_at != 0 && opened >= renewed_at - USECS_PER_HOUR &&
			 opened <= renewed_at + RENEWAL_TIME) ||
			(effective_start != 0 && effective_start > s->created + USECS_PER_DAY &&
			 opened >= effective_start - USECS_PER_HOUR && opened <= effective_start + RENEWAL_TIME);
	}
	return batches;
}

static PlanStatus
status_of(const char *status)
{
	if (strcmp(status, "active") == 0)
		return PLAN_ACTIVE;
	return strcmp(status, "suspended") == 0 ? PLAN_SUSPENDED : PLAN_GONE;
}

static void
load_subscriptions(Loading *loading, const StateArg *ids, int64 except_operation)
{
	static StateQuery select = {
		"SELECT c.position::int, s.sku_id, coalesce(s.offer_name, s.offer_key, '?'), s.subscription_id, s.account_id,"
		" s.commerce, s.status, s.is_trial, s.quantity, coalesce(f.minimum, 1), coalesce(f.maximum, 2147483647),"
		" s.created_at, s.term_end, s.cancellation_allowed_until, s.auto_renew, s.cancel_at_term, s.our_end,"
		" s.custom_term_end, s.next_quantity, s.next_other_product, s.our_next_quantity, s.our_suspension,"
		" s.extended_term, EXISTS (SELECT FROM spinpanel.operation o WHERE o.subscription_id = s.subscription_id"
		"  AND o.status IN ('queued', 'sending', 'unknown') AND o.operation_id <> $2),"
		" s.parent_subscription_id IS NOT NULL, EXISTS (SELECT FROM spinpanel.subscription d"
		"  WHERE d.customer_id = s.customer_id AND d.parent_subscription_id = s.subscription_id"
		"  AND d.status = 'active' AND d.gone_at IS NULL),"
		" concat_ws('|', s.account_id, coalesce(s.partner_id, ''), s.offer_id, s.term_duration, s.billing_cycle),"
		" s.changes, s.refund_quantity, s.refund_until, s.renewed_at, s.effective_start"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.subscription s ON s.customer_id = c.customer_id"
		" JOIN spinpanel.account a ON a.account_id = s.account_id AND a.status <> 'disconnected'"
		" LEFT JOIN spinpanel.customer_account x ON x.customer_id = s.customer_id AND x.account_id = s.account_id"
		" LEFT JOIN spinpanel.offer f ON f.offer_key = s.offer_key"
		" WHERE s.gone_at IS NULL AND x.gone_at IS NULL AND s.status IN ('active', 'suspended')"
		" AND (s.sku_id IS NOT NULL OR s.commerce <> 'other')"
		" ORDER BY c.position, s.sku_id, s.offer_key, s.created_at, s.subscription_id", "AuI", NULL
	};
	StateArg	args[2];
	uint64		rows;
	uint64		row;
	SubscriptionRow *all;

	args[0] = *ids;
	args[1] = spinpanel_arg_int64(except_operation);
	rows = spinpanel_state_run(&select, args, 0);
	all = palloc0(sizeof(SubscriptionRow) * (rows + 1));
	for (row = 0; row < rows; row++)
	{
		SubscriptionRow *r = &all[row];
		PlanSubscription *s = &r->s;
		char	   *commerce = spinpanel_row_text(row, 6, CurrentMemoryContext);
		bool		ends;
		bool		ours;

		r->customer = spinpanel_row_int(row, 1) - 1;
		r->has_sku = spinpanel_row_uuid(row, 2, &r->sku_id);
		r->offer = spinpanel_row_text(row, 3, CurrentMemoryContext);
		spinpanel_row_uuid(row, 4, &r->id);
		s->account = spinpanel_row_int(row, 5);
		s->commerce = strcmp(commerce, "nce") == 0 ? PLAN_NCE :
			strcmp(commerce, "legacy") == 0 ? PLAN_LEGACY : PLAN_OTHER;
		s->status = status_of(spinpanel_row_text(row, 7, CurrentMemoryContext));
		s->trial = spinpanel_row_bool(row, 8);
		s->quantity = spinpanel_row_int(row, 9);
		s->minimum = Max(1, spinpanel_row_int(row, 10));
		s->maximum = spinpanel_row_int(row, 11);
		s->created = spinpanel_row_time(row, 12, 0);
		s->term_end = spinpanel_row_time(row, 13, PLAN_NEVER);
		s->cancel_until = spinpanel_row_time(row, 14, 0);
		s->auto_renew = spinpanel_row_bool(row, 15);
		s->cancel_at_term = spinpanel_row_bool(row, 16);
		s->extended_term = spinpanel_row_bool(row, 23);
		ends = (!s->auto_renew || s->cancel_at_term) && !s->extended_term;
		s->end_by = !ends ? PLAN_NOBODY : spinpanel_row_bool(row, 17) ? PLAN_OURS : PLAN_PERSON;
		s->custom_end = spinpanel_row_time(row, 18, PLAN_NEVER);
		s->next_quantity = spinpanel_row_isnull(row, 19) ? -1 : spinpanel_row_int(row, 19);
		s->next_other_sku = spinpanel_row_bool(row, 20);
		ours = !spinpanel_row_isnull(row, 21) && !s->next_other_sku &&
			spinpanel_row_int(row, 21) == s->next_quantity;
		s->next_by = s->next_quantity < 0 && !s->next_other_sku ? PLAN_NOBODY :
			ours ? PLAN_OURS : PLAN_PERSON;
		s->suspended_by = s->status != PLAN_SUSPENDED ? PLAN_NOBODY :
			spinpanel_row_bool(row, 22) ? PLAN_OURS : PLAN_PERSON;
		s->renewing = s->status == PLAN_ACTIVE && s->term_end != PLAN_NEVER &&
			s->term_end <= loading->now && s->auto_renew &&
			/* "what if" goes beyond the term: then it has been renewed */
			s->term_end > loading->now - loading->shift - RENEWAL_TIME;
		s->pending = spinpanel_row_bool(row, 24);
		s->is_addon = spinpanel_row_bool(row, 25);
		s->has_active_addon = spinpanel_row_bool(row, 26);
		r->likeness = spinpanel_row_text(row, 27, CurrentMemoryContext);
		s->duplicates = -1;
		s->changes = spinpanel_row_int(row, 28);
		s->batches = batches_of(loading, row, 29, 30, s, spinpanel_row_time(row, 31, 0),
								spinpanel_row_time(row, 32, 0));
	}

	/* Rows of one pool stand together; each run of them becomes its array. */
	row = 0;
	while (row < rows)
	{
		SpinpanelPools *c = &loading->customers[all[row].customer];
		uint64		end = row + 1;
		int32		pool = -1;
		int32		n;
		int32		i;
		int32		j;
		PlanSubscription *array;

		while (end < rows && all[end].customer == all[row].customer &&
			   all[end].has_sku == all[row].has_sku &&
			   (all[row].has_sku ?
				memcmp(&all[end].sku_id, &all[row].sku_id, sizeof(pg_uuid_t)) == 0 :
				strcmp(all[end].offer, all[row].offer) == 0))
			end++;
		n = (int32) (end - row);

		if (all[row].has_sku)
		{
			for (i = 0; i < c->pool_count; i++)
				if (!c->unmapped[i] &&
					memcmp(&c->sku_ids[i], &all[row].sku_id, sizeof(pg_uuid_t)) == 0)
					pool = i;
		}
		else if (c->pools != NULL || c->customer_name == NULL)
		{
			/* One more pool, for an offer whose SKU is not known. */
			int32		old = c->pool_count;
			PlanPool   *pools = keep(loading, sizeof(PlanPool) * (old + 1));
			bool	   *unmapped = keep(loading, sizeof(bool) * (old + 1));
			pg_uuid_t  *sku_ids = keep(loading, sizeof(pg_uuid_t) * (old + 1));
			char	  **part_numbers = keep(loading, sizeof(char *) * (old + 1));
			int32	   *owned = keep(loading, sizeof(int32) * (old + 1));
			int32	   *consumed = keep(loading, sizeof(int32) * (old + 1));
			pg_uuid_t **subscription_ids = keep(loading, sizeof(pg_uuid_t *) * (old + 1));

			if (old > 0)
			{
				memcpy(pools, c->pools, sizeof(PlanPool) * old);
				memcpy(unmapped, c->unmapped, sizeof(bool) * old);
				memcpy(sku_ids, c->sku_ids, sizeof(pg_uuid_t) * old);
				memcpy(part_numbers, c->part_numbers, sizeof(char *) * old);
				memcpy(owned, c->owned, sizeof(int32) * old);
				memcpy(consumed, c->consumed, sizeof(int32) * old);
				memcpy(subscription_ids, c->subscription_ids, sizeof(pg_uuid_t *) * old);
				pools[old] = pools[0];
				pools[old].subscriptions = NULL;
				pools[old].subscription_count = 0;
			}
			pools[old].active = 0;
			pools[old].consumed = 0;
			pools[old].waiting = 0;
			pools[old].settled_unused = 0;
			pools[old].unsettled = false;
			pools[old].open_operation = false;
			pools[old].doubt = MemoryContextStrdup(loading->context,
												   psprintf("the offer \"%s\" is not mapped to a SKU",
															all[row].offer));
			unmapped[old] = true;
			c->pools = pools;
			c->unmapped = unmapped;
			c->sku_ids = sku_ids;
			c->part_numbers = part_numbers;
			c->owned = owned;
			c->consumed = consumed;
			c->subscription_ids = subscription_ids;
			c->pool_count = old + 1;
			pool = old;
		}

		if (pool >= 0)
		{
			array = keep(loading, sizeof(PlanSubscription) * n);
			c->subscription_ids[pool] = keep(loading, sizeof(pg_uuid_t) * n);
			for (i = 0; i < n; i++)
			{
				SubscriptionRow *r = &all[row + i];

				array[i] = r->s;
				c->subscription_ids[pool][i] = r->id;
				if (r->s.commerce != PLAN_OTHER && r->s.status == PLAN_ACTIVE && !r->s.trial)
				{
					c->limits.paid_subscriptions++;
					if (c->unmapped[pool])
						c->owned[pool] += r->s.quantity;
				}
				for (j = 0; j < i; j++)
				{
					if (strcmp(all[row + j].likeness, r->likeness) != 0)
						continue;
					if (array[j].duplicates < 0)
						array[j].duplicates = j;
					array[i].duplicates = array[j].duplicates;
					break;
				}
			}
			c->pools[pool].subscriptions = array;
			c->pools[pool].subscription_count = n;
		}
		row = end;
	}
}

/* ---- limits ------------------------------------------------------------------------------- */

static void
load_limits(Loading *loading, const StateArg *ids)
{
	/* A merge counts by what it removes on the whole. */
	static StateQuery select = {
		"SELECT c.position::int, sum(CASE WHEN a.action = 'raise' THEN - a.seats ELSE a.seats END)::int"
		" FROM unnest($1) WITH ORDINALITY AS c (customer_id, position)"
		" JOIN spinpanel.adjustment a ON a.customer_id = c.customer_id AND a.created_at > $2 - '24 hours'::interval"
		" WHERE a.status IN ('queued', 'done') AND a.action IN"
		" ('reduce', 'suspend', 'cancel', 'reduce_at_renewal', 'end_at_term', 'raise')"
		" AND (a.action <> 'raise' OR a.merge IS NOT NULL) GROUP BY 1", "AuT", NULL
	};
	StateArg	args[2];
	uint64		rows;
	uint64		row;

	args[0] = *ids;
	args[1] = spinpanel_arg_time(loading->now);
	rows = spinpanel_state_run(&select, args, 0);
	for (row = 0; row < rows; row++)
		customer_of(loading, row)->limits.removed_recently = Max(0, spinpanel_row_int(row, 2));
}

SpinpanelPools *
spinpanel_pools_load_many(const pg_uuid_t *customer_ids, int count, TimestampTz now,
						  TimestampTz read_now, int64 except_operation)
{
	Loading		loading;
	StateArg	ids;
	int			i;

	memset(&loading, 0, sizeof(loading));
	loading.context = CurrentMemoryContext;
	loading.count = count;
	loading.now = now;
	loading.shift = now - read_now;
	loading.customers = keep(&loading, sizeof(SpinpanelPools) * (count + 1));
	for (i = 0; i < count; i++)
		loading.customers[i].customer_id = customer_ids[i];

	SPI_connect();
	ids = id_array(customer_ids, count);
	load_pools(&loading, &ids, read_now, except_operation);
	load_subscriptions(&loading, &ids, except_operation);
	load_limits(&loading, &ids);
	SPI_finish();
	return loading.customers;
}

SpinpanelPools *
spinpanel_pools_load(const pg_uuid_t *customer_id, TimestampTz now,
					 TimestampTz read_now, int64 except_operation)
{
	return spinpanel_pools_load_many(customer_id, 1, now, read_now, except_operation);
}
