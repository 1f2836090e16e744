/*
 * buying.c
 *
 * Between the request planner (decide/request_plan.c), which decides, and the
 * store (state/request.c), which writes: puts what is known into the planner's
 * words, and carries out what it answers by queueing operations.  It never talks
 * to anybody, knows no SQL, and decides nothing itself.
 *
 * Whatever is decided leaves each request either with an operation or with a
 * moment to look at it again.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/memutils.h"

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

/* ---- what has to be read ---------------------------------------------------------------- */

static bool
is_looked_at(const Demand *demand, const DemandRequest *r)
{
	return r->has_user && r->looked_at != 0 && !r->outdated &&
		   demand->now - r->looked_at <= LOOK_AGE;
}

static bool
to_look_at(const Demand *demand, const DemandRequest *r)
{
	return is(r->status, "queued") && r->follows == 0 && r->operation_id == 0 &&
		   !is_looked_at(demand, r);
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

		if (!r->due)
			continue;
		if (to_look_at(demand, r))
		{
			bool known = false;

			for (j = 0; j < reads->look_count && !known; j++)
			{
				const DemandRequest *other = reads->looks[j];

				/* A name means whoever has it now, a GUID that user. */
				if (r->by_name || !r->has_user)
					known = (other->by_name || !other->has_user) && r->upn != NULL &&
							other->upn != NULL && pg_strcasecmp(r->upn, other->upn) == 0;
				else
					known = !other->by_name && same_user(r, other);
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

/* ---- what is known, in the planner's words --------------------------------------------------- */

typedef struct Pool
{
	DemandPool demand;
	PlanPool *plan; /* NULL = no seat of it is known */
	PlanPool nothing;
	const pg_uuid_t *ids; /* beside its subscriptions */
	NeedTerms *terms;
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
ask_customer(const Demand *demand, AskCustomer *c)
{
	memset(c, 0, sizeof(*c));
	c->now = demand->now;
	c->purchases = demand->purchases;
	c->increment = demand->increment;
	c->has_location = demand->usage_location != NULL;
	c->limit_percent = demand->limit_percent;
	c->limit_seats = demand->limit_seats;
	c->owned = demand->owned;
	c->bought_recently = demand->bought_recently;
	c->limit_until = demand->limit_until;
	c->provisioning_timeout = (int64) spinpanel_provisioning_timeout * USECS_PER_SEC;
	c->settle_time = (int64) spinpanel_settle_time * USECS_PER_SEC;
	c->retry_max = (int64) spinpanel_retry_max_delay * 1000;
}

static void
ask_pool(const Pool *pool, AskPool *a)
{
	memset(a, 0, sizeof(*a));
	a->plan = pool->plan;
	a->terms = pool->terms;
	a->rule = pool->demand.rule;
	a->figures = pool->demand.figures;
	a->owned = pool->demand.owned;
	a->unread = pool->demand.unread;
	a->max_seats = pool->demand.max_seats;
	a->buying = pool->demand.buying;
	a->unlooked = pool->demand.unlooked;
	a->release_since = pool->demand.release_since;
	a->freed_at = pool->demand.freed_at;
}

static AskStatus
ask_status(const char *status)
{
	static const char *const names[] = { "queued", "buying", "provisioning", "assigning",
										 "done",   "failed", "cancelled" };
	int i;

	for (i = 0; i < (int) lengthof(names); i++)
		if (is(status, names[i]))
			return (AskStatus) i;
	return ASK_CANCELLED; /* is gone */
}

static AskOperation
ask_operation(int64 id, const char *status)
{
	if (id == 0)
		return ASK_NO_OPERATION;
	return is(status, "queued") || is(status, "sending") || is(status, "unknown")
			   ? ASK_OPERATION_OPEN
			   : ASK_OPERATION_OVER;
}

static void
ask_request(const Demand *demand, const DemandRequest *r, AskRequest *a)
{
	memset(a, 0, sizeof(*a));
	a->id = r->request_id;
	a->release = r->release;
	a->due = r->due && !r->moved;
	a->status = ask_status(r->status);
	a->user = -1;
	a->looked = is_looked_at(demand, r);
	a->held = r->held;
	a->reserves = r->waiting;
	a->seat_bought = r->seat_bought;
	a->wrong_sku = r->seat_bought && r->has_subscription && r->subscription_mapped &&
				   !same_uuid(&r->subscription_sku, &r->sku_id);
	a->operation = ask_operation(r->operation_id, r->operation_status);
	a->purchase = ask_operation(r->buy_operation, r->buy_status);
	if (a->status == ASK_BUYING && a->purchase == ASK_NO_OPERATION)
		a->purchase = ASK_OPERATION_OVER;
	if (a->status == ASK_ASSIGNING && a->operation == ASK_NO_OPERATION)
		a->operation = ASK_OPERATION_OVER;
	a->purchase_done = is(r->buy_status, "done");
	a->created_at = r->created_at;
	a->looked_at = r->looked_at;
	a->not_before = r->not_before;
	a->provisioning_at = r->provisioning_at;
	a->refused_at = r->seat_refused_at;
	a->attempts = r->attempts;
	a->active_level = r->active_level;
	a->buy_most = r->buy_most;
	a->stock_only = r->stock_only;
	a->follows = r->follows;
	a->leader_status = ask_status(r->leader_status);
	a->leader_error = r->leader_error;
	a->adjustment = r->adjustment_id;
	a->approval = is(r->approval, "awaiting_approval") ? ASK_APPROVAL_WAITS
				  : is(r->approval, "queued")          ? ASK_APPROVAL_GRANTED
				  : is(r->approval, "rejected")        ? ASK_APPROVAL_REJECTED
													   : ASK_APPROVAL_NONE;
	a->approved_seats = r->approved_seats;
	a->decision = r->decision;
}

/* ---- carrying it out ------------------------------------------------------------------------ */

typedef struct Deciding
{
	Demand *demand;
	Pool *pools;
	AskPool *ask_pools;
	int pool_count;
	AskUser *users;
	int user_count;
	AskRequest *asked;
	AskPlan plan;
} Deciding;

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

static const char *
name_of(AskReason reason)
{
	switch (reason)
	{
		case ASK_FOR_USER:
			return "user";
		case ASK_FOR_LOOKS:
			return "looks";
		case ASK_FOR_RELEASE:
			return "release";
		case ASK_FOR_RESERVED:
			return "reserved";
		case ASK_FOR_TRY:
			return "try";
		case ASK_FOR_PURCHASE:
			return "purchase";
		case ASK_FOR_ORDER:
			return "order";
		case ASK_FOR_SEAT:
			return "seat";
		case ASK_FOR_APPROVAL:
			return "approval";
		case ASK_FOR_LEADER:
			return "leader";
		case ASK_FOR_NOTHING:
		case ASK_FOR_READ:
			break;
	}
	return NULL;
}

/* The requests with that effect and group, oldest first; their number. */
static int
members(const Deciding *d, AskEffectKind kind, int32 group, DemandRequest **found)
{
	int count = 0;
	int i;

	for (i = 0; i < d->demand->count; i++)
		if (d->plan.effects[i].kind == kind && d->plan.effects[i].group == group &&
			!d->demand->requests[i].moved)
			found[count++] = &d->demand->requests[i];
	return count;
}

static const char *
text_of(const AskEffect *e)
{
	return e->text[0] ? pstrdup(e->text) : NULL;
}

/* Effects that concern one request alone; others may lie ahead for it after this. */
static void
apply_alone(Deciding *d, int i)
{
	Demand *demand = d->demand;
	DemandRequest *r = &demand->requests[i];
	const AskEffect *e = &d->plan.effects[i];

	switch (e->kind)
	{
		case ASK_FINISH_DONE:
			spinpanel_request_finish(demand, r, "done", text_of(e));
			break;
		case ASK_FINISH_FAILED:
			spinpanel_request_finish(demand, r, "failed", text_of(e));
			break;
		case ASK_FINISH_CANCELLED:
			spinpanel_request_finish(demand, r, "cancelled", text_of(e));
			break;
		case ASK_AGAIN:
			if (r->follows != 0)
			{
				/* It reserves for itself from here on. */
				r->follows = 0;
				r->waiting = !r->release;
				spinpanel_request_begin_again(demand, r, NULL, NULL, true);
			}
			else
				spinpanel_request_begin_again(
					demand, r, is(r->status, "buying") ? "request queued again" : NULL,
					is(r->status, "buying") ? "its purchase is over" : NULL, true);
			break;
		case ASK_TAKE_SEAT:
			if (!spinpanel_request_take_reserved(demand, r))
				spinpanel_request_begin_again(demand, r, "request queued again",
											  "its purchase is over", true);
			break;
		case ASK_FOLLOW:
			r->follows = e->other;
			r->waiting = false;
			spinpanel_request_wait(demand, r, e->until, "leader", text_of(e));
			break;
		default:
			break;
	}
}

/* The mirror was wrong about who holds it: it is a request as any other. */
static void
reserve(const DemandRequest *r)
{
	if (!r->release && r->follows == 0)
		((DemandRequest *) r)->waiting = true;
}

static void
apply_wait(Deciding *d, int i)
{
	DemandRequest *r = &d->demand->requests[i];
	const AskEffect *e = &d->plan.effects[i];

	reserve(r);
	if (e->reason == ASK_FOR_SEAT)
		r->attempts++;
	spinpanel_request_wait(d->demand, r, e->until, name_of(e->reason), text_of(e));
}

static void
queue_location(Deciding *d, DemandRequest **requests, int count)
{
	StringInfoData wanted;
	int64 id;
	int i;

	initStringInfo(&wanted);
	appendStringInfo(&wanted, "{\"userId\": \"%s\", \"usageLocation\": ",
					 spinpanel_uuid_text(&requests[0]->user_id));
	escape_json(&wanted, d->demand->usage_location);
	appendStringInfoChar(&wanted, '}');
	id =
		queue_operation(d->demand, requests[0], "set_usage_location", "assign", wanted.data, false);
	for (i = 0; i < count; i++)
	{
		reserve(requests[i]);
		requests[i]->operation_id = id;
		spinpanel_request_save(d->demand, requests[i], NULL, "the user's usage location is set");
	}
}

/* All that the user gets, or gives back, in one call. */
static void
queue_user(Deciding *d, DemandRequest **requests, int count, bool release)
{
	StringInfoData wanted;
	int64 id;
	int i;

	initStringInfo(&wanted);
	appendStringInfo(&wanted, "{\"userId\": \"%s\", \"%s\": [",
					 spinpanel_uuid_text(&requests[0]->user_id), release ? "remove" : "add");
	for (i = 0; i < count; i++)
		appendStringInfo(&wanted, "%s\"%s\"", i ? ", " : "",
						 spinpanel_uuid_text(&requests[i]->sku_id));
	appendStringInfoString(&wanted, "]}");
	id = queue_operation(d->demand, requests[0], release ? "unassign" : "assign",
						 release ? "release" : "assign", wanted.data, true);
	for (i = 0; i < count; i++)
	{
		const AskEffect *e = &d->plan.effects[requests[i] - d->demand->requests];

		reserve(requests[i]);
		requests[i]->operation_id = id;
		requests[i]->status = "assigning";
		requests[i]->consumed_level = release ? -1 : e->level;
		spinpanel_request_save(d->demand, requests[i], "request assigning", text_of(e));
	}
}

static void
queue_purchase(Deciding *d, const AskPurchase *purchase, DemandRequest **requests, int count)
{
	const Pool *pool = &d->pools[purchase->pool];
	const NeedSource *source = &purchase->source;
	const PlanSubscription *s =
		source->subscription < 0 ? NULL : &pool->plan->subscriptions[source->subscription];
	StringInfoData wanted;
	Operation op;
	int64 id;
	int i;

	memset(&op, 0, sizeof(op));
	op.purpose = "buy";
	op.account_id = s ? s->account : requests[0]->account_id;
	op.customer_id = d->demand->customer_id;
	op.has_sku = true;
	op.sku_id = pool->demand.sku_id;
	op.has_subscription = s != NULL;
	if (s != NULL)
		op.subscription_id = pool->ids[source->subscription];
	op.adjustment_id = purchase->adjustment;
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
	d->demand->bought_recently += purchase->adjustment == 0 ? count : 0;
	for (i = 0; i < count; i++)
	{
		DemandRequest *r = requests[i];
		const AskEffect *e = &d->plan.effects[r - d->demand->requests];

		reserve(r);
		r->status = "buying";
		r->buy_operation = id;
		r->active_level = e->level;
		r->looked_at = r->looked_at != 0 ? r->looked_at : d->demand->now;
		spinpanel_request_save(d->demand, r, "request buying", text_of(e));
	}
}

/* The requests of a group lie anywhere; each is met once, with all of its group. */
static void
apply_groups(Deciding *d)
{
	Demand *demand = d->demand;
	int groups = d->plan.group_count;
	int *sizes = palloc0(sizeof(int) * (groups + 1));
	DemandRequest ***lists = palloc0(sizeof(DemandRequest **) * (groups + 1));
	AskEffectKind *kinds = palloc0(sizeof(AskEffectKind) * (groups + 1));
	int g;
	int i;

	for (i = 0; i < demand->count; i++)
	{
		const AskEffect *e = &d->plan.effects[i];

		if (e->group < 0 || demand->requests[i].moved ||
			(e->kind != ASK_RELEASE && e->kind != ASK_ASSIGN && e->kind != ASK_SET_LOCATION))
			continue;
		g = e->group;
		if (lists[g] == NULL)
		{
			lists[g] = palloc(sizeof(DemandRequest *) * 4);
			kinds[g] = e->kind;
		}
		else if (sizes[g] >= 4 && (sizes[g] & (sizes[g] - 1)) == 0)
			lists[g] = repalloc(lists[g], sizeof(DemandRequest *) * sizes[g] * 2);
		lists[g][sizes[g]++] = &demand->requests[i];
	}
	/* Releases first: what they free is there all the sooner. */
	for (g = 0; g < groups; g++)
		if (sizes[g] > 0 && kinds[g] == ASK_RELEASE)
			queue_user(d, lists[g], sizes[g], true);
	for (g = 0; g < groups; g++)
	{
		if (sizes[g] == 0 || kinds[g] == ASK_RELEASE)
			continue;
		if (kinds[g] == ASK_SET_LOCATION)
			queue_location(d, lists[g], sizes[g]);
		else
			queue_user(d, lists[g], sizes[g], false);
	}
}

static void
apply(Deciding *d)
{
	Demand *demand = d->demand;
	DemandRequest **some = palloc(sizeof(DemandRequest *) * (demand->count + 1));
	int count;
	int p;
	int i;

	/* A seat that becomes free here goes to one of those below, which is then left alone. */
	for (i = 0; i < demand->count; i++)
		if (!demand->requests[i].moved)
			apply_alone(d, i);
	apply_groups(d);
	for (p = 0; p < d->plan.purchase_count; p++)
	{
		count = members(d, ASK_BUY, p, some);
		if (count > 0)
			queue_purchase(d, &d->plan.purchases[p], some, count);
	}
	for (i = 0; i < demand->count; i++)
		if (!demand->requests[i].moved && d->plan.effects[i].kind == ASK_WAIT)
			apply_wait(d, i);

	/* One adjustment for all of a pool that wait for a person. */
	for (p = 0; p < d->pool_count; p++)
	{
		const AskEffect *first = NULL;
		int32 bought = 0;

		count = 0;
		for (i = 0; i < demand->count; i++)
		{
			if (d->asked[i].pool != p || d->plan.effects[i].kind != ASK_ASK_PERSON ||
				demand->requests[i].moved)
				continue;
			if (first == NULL)
				first = &d->plan.effects[i];
			reserve(&demand->requests[i]);
			some[count++] = &demand->requests[i];
		}
		for (i = 0; i < d->plan.purchase_count; i++)
			if (d->plan.purchases[i].pool == p)
				bought = d->plan.purchases[i].seats;
		if (count > 0)
			spinpanel_request_await_approval(demand, some, count, d->pools[p].demand.owned + bought,
											 first->until, text_of(first));
	}
}

/* ---- deciding ------------------------------------------------------------------------------------ */

/* Which of the users, or a new one; by their ids, in the order of requests. */
static int
user_index(HTAB *table, Deciding *d, const DemandRequest *r)
{
	typedef struct Entry
	{
		pg_uuid_t id;
		int index;
	} Entry;
	Entry *entry;
	bool found;

	entry = hash_search(table, &r->user_id, HASH_ENTER, &found);
	if (!found)
	{
		entry->index = d->user_count++;
		memset(&d->users[entry->index], 0, sizeof(AskUser));
	}
	if (r->usage_location != NULL && r->usage_location[0] != '\0')
		d->users[entry->index].has_location = true;
	if (r->busy)
		d->users[entry->index].busy = true;
	return entry->index;
}

static int
pool_index(Deciding *d, const pg_uuid_t *sku_id)
{
	int i;

	for (i = 0; i < d->pool_count; i++)
		if (same_uuid(&d->pools[i].demand.sku_id, sku_id))
			return i;
	memset(&d->pools[i], 0, sizeof(Pool));
	d->pools[i].demand.sku_id = *sku_id;
	d->pool_count++;
	return i;
}

static void
take_in(Deciding *d)
{
	Demand *demand = d->demand;
	HASHCTL control;
	HTAB *table;
	int i;

	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(pg_uuid_t);
	control.entrysize = sizeof(pg_uuid_t) + sizeof(int) * 2;
	control.hcxt = CurrentMemoryContext;
	table = hash_create("users of requests", demand->count + 1, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	d->pools = palloc0(sizeof(Pool) * (demand->count + 1));
	d->users = palloc0(sizeof(AskUser) * (demand->count + 1));
	d->asked = palloc0(sizeof(AskRequest) * (demand->count + 1));
	d->plan.effects = palloc0(sizeof(AskEffect) * (demand->count + 1));
	for (i = 0; i < demand->count; i++)
	{
		DemandRequest *r = &demand->requests[i];

		/* An approval that is over is none. */
		if (is(r->approval, "done") || is(r->approval, "failed") || is(r->approval, "skipped") ||
			is(r->approval, "superseded"))
		{
			r->adjustment_id = 0;
			r->approval = NULL;
		}
		ask_request(demand, r, &d->asked[i]);
		d->asked[i].pool = pool_index(d, &r->sku_id);
		if (r->has_user)
			d->asked[i].user = user_index(table, d, r);
	}
	d->ask_pools = palloc0(sizeof(AskPool) * (d->pool_count + 1));
	d->plan.purchases = palloc0(sizeof(AskPurchase) * (d->pool_count + 1));
}

static bool
wants_seats(const Deciding *d, int pool)
{
	int i;

	for (i = 0; i < d->demand->count; i++)
		if (d->asked[i].pool == pool && d->asked[i].due && !d->asked[i].release)
			return true;
	return false;
}

void
spinpanel_buying_decide(Demand *demand, bool with_units, bool with_subscriptions)
{
	static const PlanPool nothing;
	Deciding deciding;
	Deciding *d = &deciding;
	SpinpanelPools *pools = NULL;
	AskCustomer customer;
	bool approved = false;
	int i;

	if (demand->paused || demand->count == 0)
		return;
	memset(d, 0, sizeof(*d));
	d->demand = demand;
	take_in(d);
	for (i = 0; i < d->pool_count; i++)
	{
		if (with_units && wants_seats(d, i))
		{
			pg_uuid_t sku_id = d->pools[i].demand.sku_id;

			if (pools == NULL)
				pools =
					spinpanel_plan_input_load(&demand->customer_id, demand->now, demand->now, 0);
			load_pool(demand, pools, &sku_id, &d->pools[i]);
			ask_pool(&d->pools[i], &d->ask_pools[i]);
			d->ask_pools[i].read = true;
			d->ask_pools[i].subscriptions_read = with_subscriptions;
		}
		else
			d->ask_pools[i].plan = &nothing;
	}
	for (i = 0; i < demand->count; i++)
		if (d->asked[i].due && (!d->asked[i].looked || d->asked[i].user < 0) &&
			!demand->requests[i].has_user && demand->requests[i].upn == NULL)
			spinpanel_request_finish(demand, &demand->requests[i], "failed", "it names no user");
		else if (d->asked[i].approval == ASK_APPROVAL_GRANTED)
			approved = true;

	ask_customer(demand, &customer);
	spinpanel_request_plan(&customer, d->ask_pools, d->pool_count, d->users, d->user_count,
						   d->asked, demand->count, &d->plan);
	apply(d);
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
	linked = spinpanel_request_linked(op);
	if (unshown != NULL)
		*unshown = pool->demand.figures.unshown;
	if (!sending_of(op, pool, linked, &sending, reason, reason_size))
		return 0;

	ask_customer(demand, &customer);
	/* This purchase itself is among them. */
	if (op->adjustment_id == 0)
		customer.bought_recently = Max(0, customer.bought_recently - linked);
	ask_pool(pool, &asked);
	return spinpanel_request_may_send(&customer, &asked, &sending, reason, reason_size);
}
