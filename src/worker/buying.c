/*
 * buying.c
 *
 * Decides about requests: who holds the licence already, who gets a free seat,
 * for whom one is bought, where, and what waits.  It queues operations and
 * never talks to anybody; it knows no SQL.
 *
 * Order: users first (what cannot be licensed must not cost a seat), then
 * releases, then pool by pool what is free and what is bought, then one
 * assignment per user.  Whatever is decided leaves each request either with an
 * operation or with a moment to look at it again.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "decide/request_plan.h"
#include "decide/seats.h"
#include "state/account.h"
#include "state/statement.h"
#include "worker/buying.h"

/* What was learnt of a user holds this long. */
#define LOOK_AGE (15 * USECS_PER_MINUTE)

/* A pool's purchases wait so long for releases that are under way, */
#define RELEASE_PATIENCE (60 * USECS_PER_SEC)

/* ... and for users that are still to be looked up. */
#define LOOK_PATIENCE (60 * USECS_PER_SEC)

/* Looked at again in case nobody wakes them. */
#define BLOCKED_MS 5000
#define FOLLOWER_MS 30000

/* Users looked up in one turn of a customer; the rest follows at once. */
#define LOOKS_PER_TURN 200

static bool
is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

static bool
same_uuid(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

static bool
same_user(const DemandRequest *a, const DemandRequest *b)
{
	return a->has_user && b->has_user && same_uuid(&a->user_id, &b->user_id);
}

/* Who waits for something that may take long asks less and less often. */
static int64
patient(const Demand *demand, const DemandRequest *r, int64 least_ms)
{
	int64 age = (demand->now - r->created_at) / 1000;

	return Max(least_ms, Min(age / 8, 60 * 1000));
}

static bool
over(const char *operation_status)
{
	return operation_status == NULL || is(operation_status, "done") ||
		   is(operation_status, "refused") || is(operation_status, "failed") ||
		   is(operation_status, "cancelled");
}

/* ---- what has to be read ---------------------------------------------------------------- */

static bool
to_look_at(const Demand *demand, const DemandRequest *r)
{
	return is(r->status, "queued") && r->follows == 0 && r->operation_id == 0 &&
		   (r->looked_at == 0 || r->outdated || demand->now - r->looked_at > LOOK_AGE);
}

static bool
decided(const DemandRequest *r)
{
	return r->approval != NULL && !is(r->approval, "awaiting_approval");
}

static bool
is_due(const Demand *demand, const DemandRequest *r)
{
	/* Who waits for a person has no moment. */
	return r->not_before <= demand->now || (r->not_before == DT_NOEND && decided(r));
}

void
spinpanel_buying_reads(Demand *demand, BuyingReads *reads)
{
	int i;
	int j;

	memset(reads, 0, sizeof(*reads));
	reads->looks = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (!is_due(demand, r))
			continue;
		if (to_look_at(demand, r))
		{
			bool known = false;

			for (j = 0; j < reads->look_count && !known; j++)
			{
				const DemandRequest *other = reads->looks[j];

				known = same_user(r, other) ||
						(!r->has_user && !other->has_user && r->upn != NULL && other->upn != NULL &&
						 pg_strcasecmp(r->upn, other->upn) == 0);
			}
			if (!known && reads->look_count < LOOKS_PER_TURN)
				reads->looks[reads->look_count++] = r;
		}
		if (r->release || r->follows != 0)
			continue;
		if (is(r->status, "queued") && r->operation_id == 0)
			reads->units = reads->subscriptions = true;
		else if (is(r->status, "provisioning"))
		{
			reads->units = true;
			/* Is what was bought what was asked for? */
			if (r->has_subscription && !r->subscription_mapped)
				reads->subscriptions = true;
		}
	}
}

/* ---- one request by itself ------------------------------------------------------------------- */

/* Who waits for what is over already; true: nothing else to decide about it. */
static bool
is_settled(Demand *demand, DemandRequest *r)
{
	if (r->moved)
		return true;
	if (r->follows != 0)
	{
		if (is(r->leader_status, "done"))
			spinpanel_request_finish(demand, r, "done", NULL);
		else if (is(r->leader_status, "failed"))
			spinpanel_request_finish(demand, r, "failed", r->leader_error);
		else if (r->leader_status == NULL || is(r->leader_status, "cancelled"))
		{
			r->follows = 0;
			r->waiting = true;
			spinpanel_request_begin_again(demand, r, NULL, NULL, true);
		}
		else if (r->not_before <= demand->now)
			spinpanel_request_put_off(demand, r, FOLLOWER_MS, NULL);
		return true;
	}
	if (is(r->status, "buying"))
	{
		/* The row was locked when its operation ended. */
		if (r->not_before <= demand->now && is(r->buy_status, "done") &&
			spinpanel_request_take_reserved(demand, r))
			return true;
		if (r->not_before <= demand->now && over(r->buy_status))
			spinpanel_request_begin_again(demand, r, "request queued again", "its purchase is over",
										  true);
		else if (r->not_before <= demand->now)
			spinpanel_request_save(demand, r, NULL, NULL);
		return true;
	}
	if (is(r->status, "assigning") || r->operation_id != 0)
	{
		if (r->not_before <= demand->now && over(r->operation_status))
			spinpanel_request_begin_again(demand, r, NULL, NULL, true);
		else if (r->not_before <= demand->now)
			spinpanel_request_save(demand, r, NULL, NULL);
		return true;
	}
	return false;
}

static bool
in_progress(const DemandRequest *r)
{
	return !is(r->status, "queued") || r->operation_id != 0 || r->seat_bought;
}

/*
 * Requests of one user and SKU go one after the other; of one kind they are
 * one.  True: it is not its turn.
 */
static bool
comes_later(Demand *demand, DemandRequest *r)
{
	int i;

	if (in_progress(r))
		return false;
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *other = &demand->requests[i];

		if (other == r || (other > r && !in_progress(other)) || !same_user(r, other) ||
			!same_uuid(&r->sku_id, &other->sku_id) || other->follows != 0 ||
			is(other->status, "done") || is(other->status, "failed") ||
			is(other->status, "cancelled"))
			continue;
		if (other->release == r->release)
		{
			r->follows = other->request_id;
			r->waiting = false;
			spinpanel_request_put_off(
				demand, r, FOLLOWER_MS,
				psprintf("the same as request " INT64_FORMAT, other->request_id));
		}
		else
		{
			r->looked_at = 0;
			spinpanel_request_put_off(
				demand, r, patient(demand, r, 1000),
				psprintf("waits for request " INT64_FORMAT " of the same user", other->request_id));
		}
		return true;
	}
	return false;
}

static int64
queue_operation(const Demand *demand, const DemandRequest *r, const char *kind, const char *purpose,
				const char *wanted, bool with_sku)
{
	Operation op;

	memset(&op, 0, sizeof(op));
	op.kind = kind;
	op.purpose = purpose;
	op.account_id = r->account_id;
	op.customer_id = demand->customer_id;
	op.has_sku = with_sku;
	op.sku_id = r->sku_id;
	op.request_id = r->request_id;
	op.wanted = spinpanel_json_of(wanted);
	return spinpanel_operation_add(&op);
}

static void
set_location(Demand *demand, DemandRequest *r)
{
	StringInfoData wanted;
	int64 id;
	int i;

	initStringInfo(&wanted);
	appendStringInfo(&wanted,
					 "{\"userId\": \"%s\", \"usageLocation\": ", spinpanel_uuid_text(&r->user_id));
	escape_json(&wanted, demand->usage_location);
	appendStringInfoChar(&wanted, '}');
	id = queue_operation(demand, r, "set_usage_location", "assign", wanted.data, false);
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *other = &demand->requests[i];

		if (other->moved || other->release || !same_user(r, other) || other->follows != 0 ||
			!is(other->status, "queued") || other->operation_id != 0 || other->seat_bought)
			continue;
		other->operation_id = id;
		spinpanel_request_save(demand, other, NULL, NULL);
	}
}

/* What its user needs or has; true: the pool is asked next. */
static bool
user_is_ready(Demand *demand, DemandRequest *r)
{
	if (r->held)
	{
		spinpanel_request_finish(demand, r, "done", "the user holds the licence");
		return false;
	}
	if (!r->waiting)
	{
		/* The mirror was wrong: it is a request as any other. */
		r->waiting = true;
		spinpanel_request_put_off(demand, r, 0, NULL);
		r->moved = false;
	}
	if (r->usage_location == NULL || r->usage_location[0] == '\0')
	{
		if (demand->usage_location != NULL)
			set_location(demand, r);
		else
			spinpanel_request_finish(
				demand, r, "failed",
				"the user has no usage location, and the customer's settings name none: set one at the user, or usage_location with set_relationship()");
		return false;
	}
	return true;
}

/* ---- releases -------------------------------------------------------------------------------- */

static void
decide_releases(Demand *demand, DemandRequest **releases, int count)
{
	int i;
	int j;

	for (i = 0; i < count; i++)
	{
		DemandRequest *r = releases[i];
		StringInfoData wanted;
		int64 id;

		if (r->moved)
			continue;
		if (!r->held)
		{
			spinpanel_request_finish(demand, r, "done", "the user does not hold the licence");
			continue;
		}
		initStringInfo(&wanted);
		appendStringInfo(&wanted, "{\"userId\": \"%s\", \"remove\": [\"%s\"",
						 spinpanel_uuid_text(&r->user_id), spinpanel_uuid_text(&r->sku_id));
		for (j = i + 1; j < count; j++)
			if (!releases[j]->moved && releases[j]->held && same_user(r, releases[j]) &&
				r->attempts == 0 && releases[j]->attempts == 0)
				appendStringInfo(&wanted, ", \"%s\"", spinpanel_uuid_text(&releases[j]->sku_id));
		appendStringInfoString(&wanted, "]}");
		id = queue_operation(demand, r, "unassign", "release", wanted.data, true);
		for (j = count - 1; j >= i; j--)
		{
			DemandRequest *other = releases[j];

			if (other->moved || !other->held || !same_user(r, other) ||
				(other != r && (r->attempts != 0 || other->attempts != 0)))
				continue;
			other->operation_id = id;
			other->status = "assigning";
			spinpanel_request_save(demand, other, "request assigning", "the licence is taken back");
		}
	}
}

static bool
releases_pending(const Demand *demand, const pg_uuid_t *sku_id)
{
	int i;

	for (i = 0; i < demand->count; i++)
	{
		const DemandRequest *r = &demand->requests[i];

		if (r->release && r->follows == 0 && same_uuid(&r->sku_id, sku_id) &&
			(is(r->status, "queued") || is(r->status, "assigning")) &&
			demand->now - r->created_at < RELEASE_PATIENCE)
			return true;
	}
	return false;
}

/*
 * Many came at once: their users are looked up before anything is bought, so
 * that one change of quantity serves all; but not for long.
 */
static bool
looks_pending(const Demand *demand, const pg_uuid_t *sku_id, DemandRequest **lacking, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (demand->now - lacking[i]->looked_at > LOOK_PATIENCE)
			return false;
	for (i = 0; i < demand->count; i++)
	{
		const DemandRequest *r = &demand->requests[i];

		if (!r->release && !r->moved && same_uuid(&r->sku_id, sku_id) && is_due(demand, r) &&
			to_look_at(demand, r))
			return true;
	}
	return false;
}

/* ---- buying ------------------------------------------------------------------------------------ */

typedef struct Pool
{
	DemandPool demand;
	PlanPool *plan; /* NULL = no seat of it is known */
	PlanPool nothing;
	const pg_uuid_t *ids; /* beside its subscriptions */
	NeedTerms *terms;
	int32 assigned; /* in this pass */
} Pool;

static void
load_pool(Demand *demand, SpinpanelPools *pools, const pg_uuid_t *sku_id, Pool *pool)
{
	int32 i;

	memset(pool, 0, sizeof(*pool));
	spinpanel_request_pool(demand, sku_id, &pool->demand);
	pool->plan = &pool->nothing;
	for (i = 0; i < pools->pool_count; i++)
	{
		if (pools->unmapped[i] || !same_uuid(&pools->sku_ids[i], sku_id))
			continue;
		pool->plan = &pools->pools[i];
		pool->ids = pools->subscription_ids[i];
	}
	spinpanel_need_supply(pool->plan, demand->now, &pool->demand.figures);
	pool->terms = palloc0(sizeof(NeedTerms) * (pool->plan->subscription_count + 1));
	for (i = 0; i < pool->plan->subscription_count; i++)
		pool->terms[i].usable = spinpanel_account_usable(pool->plan->subscriptions[i].account);
	spinpanel_request_terms(&demand->customer_id, sku_id, pool->ids, pool->plan->subscription_count,
							pool->terms);
}

static void
fail_all(Demand *demand, DemandRequest **requests, int count, const char *reason)
{
	int i;

	for (i = 0; i < count; i++)
		if (!requests[i]->moved)
			spinpanel_request_finish(demand, requests[i], "failed", reason);
}

static void
queue_purchase(Demand *demand, Pool *pool, const NeedSource *source, DemandRequest **requests,
			   int count, int64 adjustment_id)
{
	const PlanSubscription *s =
		source->subscription < 0 ? NULL : &pool->plan->subscriptions[source->subscription];
	NeedFigures *f = &pool->demand.figures;
	StringInfoData wanted;
	Operation op;
	int64 id;
	int i;

	memset(&op, 0, sizeof(op));
	op.purpose = "buy";
	op.account_id = s ? s->account : requests[0]->account_id;
	op.customer_id = demand->customer_id;
	op.has_sku = true;
	op.sku_id = pool->demand.sku_id;
	op.has_subscription = s != NULL;
	if (s != NULL)
		op.subscription_id = pool->ids[source->subscription];
	op.adjustment_id = adjustment_id;
	op.request_id = requests[0]->request_id;
	initStringInfo(&wanted);
	switch (source->kind)
	{
		case NEED_RAISE:
			op.kind = "set_quantity";
			appendStringInfo(&wanted, "{\"quantity\": %d}", s->quantity + count);
			break;
		case NEED_REACTIVATE:
			op.kind = "reactivate";
			appendStringInfoString(&wanted, "{\"status\": \"active\"}");
			break;
		default:
			/* The least commitment where no rule says otherwise. */
			op.kind = "create_cart";
			appendStringInfoString(&wanted, "{\"catalogItemId\": ");
			escape_json(&wanted, pool->demand.rule.default_offer);
			appendStringInfo(&wanted, ", \"quantity\": %d, \"termDuration\": ", count);
			escape_json(&wanted, pool->demand.rule.term_duration ? pool->demand.rule.term_duration
																 : NEED_TERM);
			appendStringInfoString(&wanted, ", \"billingCycle\": ");
			escape_json(&wanted, pool->demand.rule.billing_cycle ? pool->demand.rule.billing_cycle
																 : NEED_CYCLE);
			appendStringInfoChar(&wanted, '}');
			break;
	}
	op.wanted = spinpanel_json_of(wanted.data);
	id = spinpanel_operation_add(&op);
	pool->demand.buying = true;
	demand->bought_recently += adjustment_id == 0 ? count : 0;
	for (i = 0; i < count; i++)
	{
		DemandRequest *r = requests[i];

		r->status = "buying";
		r->buy_operation = id;
		r->active_level = f->active + f->unshown + i + 1;
		r->adjustment_id = 0;
		spinpanel_request_save(
			demand, r, "request buying",
			psprintf("one of %d seat(s) to buy: %d active units, %d assigned as reported, %d free",
					 count, f->active, f->consumed, (int) Max(0, spinpanel_need_free(f))));
	}
}

/* Requests for which no seat is free, oldest first. */
static void
buy_for(Demand *demand, Pool *pool, DemandRequest **requests, int count)
{
	DemandRequest **chosen = palloc(sizeof(DemandRequest *) * (count + 1));
	DemandRequest **others = palloc(sizeof(DemandRequest *) * (count + 1));
	int chosen_count = 0;
	int other_count = 0;
	int64 adjustment_id = 0;
	int32 approved = 0;
	int64 allowance;
	NeedSource source;
	int i;

	for (i = 0; i < count; i++)
	{
		DemandRequest *r = requests[i];

		if (is(r->approval, "rejected"))
		{
			spinpanel_request_finish(demand, r, "failed",
									 psprintf("buying a seat for it was rejected%s%s",
											  r->decision && r->decision[0] ? ": " : "",
											  r->decision ? r->decision : ""));
			continue;
		}
		others[other_count++] = r;
	}
	count = other_count;
	memcpy(requests, others, sizeof(DemandRequest *) * count);
	if (count == 0)
		return;

	if (!demand->purchases)
	{
		fail_all(demand, requests, count, "no free seat, and purchases are off for this customer");
		return;
	}

	/* One change of quantity at a time; its end wakes them. */
	if (pool->demand.buying)
	{
		for (i = 0; i < count; i++)
			spinpanel_request_put_off(demand, requests[i], patient(demand, requests[i], BLOCKED_MS),
									  "waits for a purchase in this pool");
		return;
	}

	/* One new subscription at a time: the next ones raise it once it can be read. */
	if (pool->demand.unread > 0)
	{
		for (i = 0; i < count; i++)
			spinpanel_request_put_off(
				demand, requests[i], patient(demand, requests[i], BLOCKED_MS),
				"waits for an order of this pool whose subscription cannot be read yet");
		return;
	}

	spinpanel_need_source(pool->plan, pool->terms, &pool->demand.rule, demand->now, &source);
	if (source.kind == NEED_NOTHING)
	{
		fail_all(demand, requests, count,
				 psprintf("no free seat, and none can be bought: %s", source.why));
		return;
	}
	if (pool->demand.max_seats >= 0)
		source.room = (int32) Max(
			0, Min((int64) source.room, (int64) pool->demand.max_seats - pool->demand.owned));
	if (source.room <= 0)
	{
		fail_all(demand, requests, count,
				 psprintf("no free seat, and the rule allows no more than %d seats",
						  pool->demand.max_seats));
		return;
	}

	/* What a person let pass is not held again. */
	for (i = 0; i < count; i++)
	{
		if (is(requests[i]->approval, "queued") &&
			(adjustment_id == 0 || requests[i]->adjustment_id == adjustment_id))
		{
			adjustment_id = requests[i]->adjustment_id;
			approved = requests[i]->approved_seats;
		}
	}
	allowance =
		Max((int64) demand->limit_percent * demand->owned / 100, (int64) demand->limit_seats) -
		demand->bought_recently;
	other_count = 0;
	for (i = 0; i < count; i++)
	{
		DemandRequest *r = requests[i];

		if (chosen_count >= source.room)
			others[other_count++] = r;
		else if (adjustment_id != 0 && r->adjustment_id == adjustment_id && approved > 0)
		{
			approved--;
			chosen[chosen_count++] = r;
		}
		else if (adjustment_id == 0 && allowance > 0)
		{
			allowance--;
			chosen[chosen_count++] = r;
		}
		else
			others[other_count++] = r;
	}
	if (chosen_count > 0)
		queue_purchase(demand, pool, &source, chosen, chosen_count, adjustment_id);

	/* The source is at its maximum, or the approved ones go first: next turn. */
	if (other_count > 0 && (chosen_count >= source.room || adjustment_id != 0))
	{
		for (i = 0; i < other_count; i++)
			spinpanel_request_put_off(demand, others[i], BLOCKED_MS,
									  "waits for a purchase in this pool");
		return;
	}
	if (other_count > 0)
		spinpanel_request_await_approval(
			demand, others, other_count, pool->demand.owned + chosen_count,
			psprintf(
				"%d seat(s) more would be more than the purchase limit of %d%% or %d seats within 24 hours allows",
				other_count, demand->limit_percent, demand->limit_seats));
}

static void
put_off_provisioning(Demand *demand, DemandRequest *r)
{
	if (r->not_before > demand->now)
		return;
	r->attempts++;
	spinpanel_request_put_off(demand, r,
							  spinpanel_backoff_delay(r->attempts, 2000,
													  Min(60 * 1000, spinpanel_retry_max_delay),
													  SpinpanelRandom()),
							  NULL);
}

/* One pool: who can be assigned now goes to assign. */
static void
decide_pool(Demand *demand, SpinpanelPools *pools, const pg_uuid_t *sku_id, DemandRequest **wanting,
			int count, DemandRequest **assign, int *assign_count)
{
	Pool *pool = palloc(sizeof(Pool));
	NeedFigures *f;
	DemandRequest **lacking = palloc(sizeof(DemandRequest *) * (count + 1));
	int lacking_count = 0;
	int64 free_seats;
	int64 sure;
	int64 assignable;
	bool increment;
	bool tried = false;
	int i;
	int level;

	load_pool(demand, pools, sku_id, pool);
	f = &pool->demand.figures;
	increment = f->increment;
	free_seats = Max(0, spinpanel_need_free(f));
	/* A release that the report shows already counts twice: no harm while nobody's seat is there to be taken. */
	sure = f->reserved > 0 ? spinpanel_need_free(f) - f->released : free_seats;
	level = f->consumed + f->claimed;

	/* What can be assigned right now, whoever it is meant for. */
	assignable = (int64) f->active - f->consumed - f->claimed + f->released - f->removing;
	for (i = 0; i < count; i++)
	{
		DemandRequest *r = wanting[i];
		bool ready;

		if (r->moved || !r->seat_bought)
			continue;

		/* The report lags: now and then the oldest tries without it. */
		ready = assignable > 0 || f->active >= r->active_level ||
				(!tried && r->attempts > 0 && r->attempts % 2 == 0) ||
				demand->now - r->provisioning_at >
					(int64) spinpanel_provisioning_timeout * USECS_PER_SEC;
		if (ready && r->not_before <= demand->now)
		{
			assignable--;
			r->consumed_level = ++level;
			assign[(*assign_count)++] = r;
		}
		else
			put_off_provisioning(demand, r);
		tried = true;
	}

	for (i = 0; i < count; i++)
	{
		DemandRequest *r = wanting[i];

		if (r->moved || r->seat_bought)
			continue;
		if (free_seats > 0 && !increment && r->seat_refused_at == 0)
		{
			free_seats--;
			if (sure-- <= 0 && demand->now - r->created_at < RELEASE_PATIENCE)
			{
				spinpanel_request_put_off(demand, r, 500,
										  "waits for seats bought before it to be assigned");
				continue;
			}
			if (assignable <= 0)
			{
				/* It is on its way, and shows later. */
				put_off_provisioning(demand, r);
				continue;
			}
			assignable--;
			r->consumed_level = ++level;
			assign[(*assign_count)++] = r;
		}
		else
			lacking[lacking_count++] = r;
	}
	if (lacking_count == 0)
		return;
	if (looks_pending(demand, sku_id, lacking, lacking_count))
		return; /* due as they are: the next turn */
	if (releases_pending(demand, sku_id))
	{
		for (i = 0; i < lacking_count; i++)
			spinpanel_request_put_off(demand, lacking[i], 500, "waits for a release in this pool");
		return;
	}
	buy_for(demand, pool, lacking, lacking_count);
}

/* ---- one assignment per user ---------------------------------------------------------------------- */

static void
assign_users(Demand *demand, DemandRequest **assign, int count)
{
	int i;
	int j;

	for (i = 0; i < count; i++)
	{
		DemandRequest *r = assign[i];
		StringInfoData wanted;
		int64 id;

		if (r->moved)
			continue;
		initStringInfo(&wanted);
		appendStringInfo(&wanted, "{\"userId\": \"%s\", \"add\": [\"%s\"",
						 spinpanel_uuid_text(&r->user_id), spinpanel_uuid_text(&r->sku_id));
		/* What was refused together is tried one by one. */
		for (j = i + 1; j < count && r->attempts == 0; j++)
			if (!assign[j]->moved && assign[j]->attempts == 0 && same_user(r, assign[j]))
				appendStringInfo(&wanted, ", \"%s\"", spinpanel_uuid_text(&assign[j]->sku_id));
		appendStringInfoString(&wanted, "]}");
		id = queue_operation(demand, r, "assign", "assign", wanted.data, true);
		for (j = count - 1; j >= i; j--)
		{
			DemandRequest *other = assign[j];

			if (other->moved || !same_user(r, other) ||
				(other != r && (r->attempts != 0 || other->attempts != 0)))
				continue;
			other->operation_id = id;
			other->status = "assigning";
			spinpanel_request_save(demand, other, "request assigning",
								   other->seat_bought ? "on the seat bought for it"
													  : "on a free seat");
		}
	}
}

void
spinpanel_buying_decide(Demand *demand, bool with_units, bool with_subscriptions)
{
	DemandRequest **wanting = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	DemandRequest **releases = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	DemandRequest **assign = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	DemandRequest **same = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	SpinpanelPools *pools = NULL;
	int wanting_count = 0;
	int release_count = 0;
	int assign_count = 0;
	bool approved = false;
	int i;
	int j;

	if (demand->paused)
		return;

	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		if (is_settled(demand, r) || !is_due(demand, r))
			continue;
		if (is(r->approval, "done") || is(r->approval, "failed") || is(r->approval, "skipped") ||
			is(r->approval, "superseded"))
		{
			r->adjustment_id = 0;
			r->approval = NULL;
		}
		if (is(r->status, "provisioning"))
		{
			if (r->seat_bought && r->has_subscription && r->subscription_mapped &&
				!same_uuid(&r->subscription_sku, &r->sku_id))
			{
				spinpanel_request_finish(
					demand, r, "failed",
					"the seat bought for it is of another SKU: the rule's default_offer is not an offer of this one");
				continue;
			}
			wanting[wanting_count++] = r;
			continue;
		}
		if (is(r->approval, "queued"))
			approved = true;
		if (!r->has_user && r->upn == NULL)
		{
			spinpanel_request_finish(demand, r, "failed", "it names no user");
			continue;
		}
		/* Not looked at yet, or again: the next turn. */
		if (to_look_at(demand, r) || !r->has_user)
			continue;
		if (comes_later(demand, r))
			continue;
		if (r->release)
			releases[release_count++] = r;
		else if (user_is_ready(demand, r))
			wanting[wanting_count++] = r;
	}

	decide_releases(demand, releases, release_count);

	for (i = 0; i < wanting_count && with_units; i++)
	{
		int count = 0;

		if (wanting[i] == NULL)
			continue;
		if (!with_subscriptions && !wanting[i]->seat_bought)
			continue;
		if (pools == NULL)
			pools = spinpanel_plan_input_load(&demand->customer_id, demand->now, demand->now, 0);
		for (j = i; j < wanting_count; j++)
		{
			if (wanting[j] == NULL || !same_uuid(&wanting[j]->sku_id, &wanting[i]->sku_id) ||
				(!with_subscriptions && !wanting[j]->seat_bought))
				continue;
			same[count++] = wanting[j];
			if (j != i)
				wanting[j] = NULL;
		}
		decide_pool(demand, pools, &wanting[i]->sku_id, same, count, assign, &assign_count);
	}
	assign_users(demand, assign, assign_count);
	if (approved)
		spinpanel_request_close_approvals(demand);
}

/* ---- right before a purchase is sent ---------------------------------------------------------------- */

/* What the operation was queued to buy, in the planner's words. */
static bool
sending_of(const Operation *op, const Pool *pool, int32 linked, AskSending *sending, char *reason,
		   Size reason_size)
{
	const Operation *decided = op;
	int64 quantity = 0;
	int32 i;

	memset(sending, 0, sizeof(*sending));
	sending->subscription = -1;
	sending->linked = linked;
	sending->seats = linked;
	sending->approved = op->adjustment_id != 0;
	if (is(op->kind, "create_cart") || is(op->kind, "checkout"))
	{
		sending->kind = NEED_ORDER;
		if (is(op->kind, "checkout") && op->after_operation != 0)
			decided = spinpanel_operation_get(op->after_operation, CurrentMemoryContext);
		if (decided == NULL)
			decided = op;
		sending->offer = spinpanel_json_text(&decided->wanted->root, "catalogItemId");
		sending->term_duration = spinpanel_json_text(&decided->wanted->root, "termDuration");
		sending->billing_cycle = spinpanel_json_text(&decided->wanted->root, "billingCycle");
		if (spinpanel_json_int(&op->wanted->root, "quantity", &quantity))
			sending->seats = (int32) quantity;
		return true;
	}
	sending->kind = is(op->kind, "reactivate") ? NEED_REACTIVATE : NEED_RAISE;
	for (i = 0; i < pool->plan->subscription_count; i++)
		if (same_uuid(&pool->ids[i], &op->subscription_id))
			sending->subscription = i;
	if (sending->subscription < 0)
	{
		strlcpy(reason, "the subscription is no longer in its pool", reason_size);
		return false;
	}
	return true;
}

int32
spinpanel_buying_judge(const Operation *op, int32 *unshown, char *reason, Size reason_size)
{
	Demand *demand = spinpanel_request_settings(&op->customer_id);
	SpinpanelPools *pools =
		spinpanel_plan_input_load(&op->customer_id, demand->now, demand->now, op->operation_id);
	Pool *pool = palloc(sizeof(Pool));
	AskCustomer customer;
	AskPool asked;
	AskSending sending;
	int32 linked;

	load_pool(demand, pools, &op->sku_id, pool);
	spinpanel_request_count(op, &pool->demand.figures.open, &pool->demand.figures.refused, &linked);
	if (unshown != NULL)
		*unshown = pool->demand.figures.unshown;
	if (!sending_of(op, pool, linked, &sending, reason, reason_size))
		return 0;

	memset(&customer, 0, sizeof(customer));
	customer.now = demand->now;
	customer.purchases = demand->purchases;
	customer.increment = demand->increment;
	customer.limit_percent = demand->limit_percent;
	customer.limit_seats = demand->limit_seats;
	customer.owned = demand->owned;
	customer.bought_recently = demand->bought_recently;
	/* This purchase itself is among them. */
	if (op->adjustment_id == 0)
		customer.bought_recently = Max(0, customer.bought_recently - linked);
	memset(&asked, 0, sizeof(asked));
	asked.plan = pool->plan;
	asked.terms = pool->terms;
	asked.rule = pool->demand.rule;
	asked.figures = pool->demand.figures;
	asked.owned = pool->demand.owned;
	asked.max_seats = pool->demand.max_seats;
	return spinpanel_request_may_send(&customer, &asked, &sending, reason, reason_size);
}
