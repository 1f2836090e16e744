/*
 * op_watch.c
 *
 * Looks at pools of which something was taken, or will be at a renewal
 * (obligation.c says which, and when): reads subscriptions and subscribed SKUs
 * afresh, and where holders lack a seat puts our schedule back or buys seats back,
 * at most as many as the change takes.
 *
 * No switch, rule, doubt, lock or limit is asked: who switches adjustment off
 * does not stop what was scheduled before.  Only a paused customer's is left as it
 * is.  It queues operations and sends no change itself; what cannot be read or
 * bought is tried again for days, and given up never without a record.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/json.h"
#include "base/uuid.h"
#include "decide/plan.h"
#include "decide/seats.h"
#include "partner/gets.h"
#include "state/account.h"
#include "state/adjustment.h"
#include "state/mirror.h"
#include "state/obligation.h"
#include "state/operation_base.h"
#include "state/plan_input.h"
#include "state/unit.h"
#include "worker/op_check.h"
#include "worker/op_followup.h"
#include "worker/op_watch.h"

/* Pools looked at side by side. */
#define LOOKS_AT_ONCE 16

/* So long, at most, it is tried to look, to buy back, or to see the renewal. */
#define PATIENCE (7 * USECS_PER_DAY)

/* The look before a schedule takes effect: within the last hour, spread over a
 * part of it, for most terms end at the same moment. */
#define BEFORE_FROM (55 * USECS_PER_MINUTE)
#define BEFORE_SPREAD (20 * USECS_PER_MINUTE)

/* A renewal shows within a day; the longer it takes, the less often it is asked. */
#define EFFECT_AT_LEAST (10 * USECS_PER_MINUTE)
#define EFFECT_AT_MOST (4 * USECS_PER_HOUR)

/* The same of what cannot be done now. */
#define TROUBLE_AT_LEAST USECS_PER_MINUTE
#define TROUBLE_AT_MOST USECS_PER_HOUR

/* A subscription on which seats could not be bought back is not tried for so long. */
#define NO_WAY_FOR USECS_PER_HOUR

static int64
settle_time(void)
{
	return (int64) spinpanel_settle_time * USECS_PER_SEC;
}

static bool
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool
at_renewal(const Obligation *o)
{
	return is(o->kind, "scheduled") || is(o->kind, "ended");
}

/* ---- moments ---------------------------------------------------------------------------- */

static TimestampTz
before_effect(TimestampTz effective_at, const pg_uuid_t *subscription_id)
{
	return effective_at - BEFORE_FROM +
		   (int64) subscription_id->data[UUID_LEN - 1] * BEFORE_SPREAD / 256;
}

/* After something that could not be done; in time where seats would go. */
static TimestampTz
next_try(const Obligation *o, TimestampTz now, long retry_after)
{
	int64 since = o->overdue_since != 0 ? now - o->overdue_since : 0;
	TimestampTz next = now + Max(TROUBLE_AT_LEAST, Min(since / 8, TROUBLE_AT_MOST));

	if (retry_after > 0)
		next = now + (int64) retry_after * USECS_PER_SEC;
	if (at_renewal(o) && now < o->effective_at)
		next = Min(next, Max(now + TROUBLE_AT_LEAST, o->effective_at - 10 * USECS_PER_MINUTE));
	return next;
}

static void
trouble(Obligation *o, TimestampTz now, const char *problem, long retry_after)
{
	TimestampTz since = Max(o->overdue_since, at_renewal(o) ? o->effective_at : 0);

	if (o->overdue_since != 0 && now - since > PATIENCE)
	{
		ereport(LOG, (errmsg("spinpanel gives up watching %d seat(s) of subscription %s: %s",
							 o->seats, spinpanel_uuid_text(&o->subscription_id), problem)));
		spinpanel_obligation_over(o, psprintf("given up after days: %s", problem));
		return;
	}
	spinpanel_obligation_trouble(o, next_try(o, now, retry_after), problem);
}

/* ---- weighing a pool ----------------------------------------------------------------------- */

typedef enum Standing
{
	STANDING_BEFORE, /* a schedule or an end of ours that stands */
	STANDING_TAKEN, /* the seats are gone, or may be at any moment */
	STANDING_WAIT, /* being changed at this moment */
	STANDING_OVER /* taken back, or somebody else has decided */
} Standing;

typedef struct Scene
{
	TimestampTz now;
	PlanPool *pool;
	const pg_uuid_t *ids; /* of its subscriptions */
	Obligation *obligations; /* the youngest first */
	Standing *standing;
	bool *shown; /* the renewal shows */
	bool *troubled;
	const char **why; /* it is over */
	int count;
	int64 holders;
} Scene;

static PlanSubscription *
row_of(const Scene *scene, const pg_uuid_t *subscription_id)
{
	int32 i;

	for (i = 0; i < scene->pool->subscription_count; i++)
		if (memcmp(&scene->ids[i], subscription_id, sizeof(pg_uuid_t)) == 0)
			return (PlanSubscription *) &scene->pool->subscriptions[i];
	return NULL;
}

/* Does what we decided about the next term stand still? */
static bool
stands(const Obligation *o, const PlanSubscription *s, TimestampTz now)
{
	if (is(o->kind, "ended"))
		return spinpanel_seats_ends(s, now) && !s->next_other_sku && s->end_by != PLAN_NOBODY &&
			   (s->end_by == PLAN_OURS || s->cancel_at_term);
	return !s->next_other_sku && s->next_quantity >= 0 &&
		   (s->next_by == PLAN_OURS || s->next_quantity == o->leaves);
}

/* A mark of ours that was lost with the mirror: what is restored from a dump. */
static void
mark_as_ours(const Obligation *o, PlanSubscription *s)
{
	if (is(o->kind, "ended") && s->end_by == PLAN_PERSON)
	{
		spinpanel_mirror_mark_ours(&o->subscription_id, MIRROR_OUR_END, 1);
		s->end_by = PLAN_OURS;
	}
	else if (is(o->kind, "scheduled") && s->next_by == PLAN_PERSON)
	{
		spinpanel_mirror_mark_ours(&o->subscription_id, MIRROR_OUR_NEXT_QUANTITY, s->next_quantity);
		s->next_by = PLAN_OURS;
	}
}

static void
stand_at_renewal(Scene *scene, int i)
{
	Obligation *o = &scene->obligations[i];
	PlanSubscription *s = row_of(scene, &o->subscription_id);
	bool active = s != NULL && s->status == PLAN_ACTIVE;
	TimestampTz term_end = active ? spinpanel_seats_term_end(s) : 0;

	if (o->effective_at <= scene->now)
	{
		scene->standing[i] = STANDING_TAKEN;
		scene->shown[i] = !active || term_end > o->effective_at;
		return;
	}
	if (!active)
	{
		scene->standing[i] = STANDING_OVER;
		scene->why[i] = "the subscription is not active any more";
	}
	else if (stands(o, s, scene->now))
	{
		mark_as_ours(o, s);
		o->leaves = is(o->kind, "ended") ? 0 : s->next_quantity;
		o->seats = s->quantity - o->leaves;
		if (term_end > scene->now && term_end != PLAN_NEVER)
			o->effective_at = term_end;
		scene->standing[i] = o->seats > 0 ? STANDING_BEFORE : STANDING_OVER;
		scene->why[i] = "it takes nothing";
	}
	else if (s->pending)
		scene->standing[i] = STANDING_WAIT;
	else
	{
		scene->standing[i] = STANDING_OVER;
		scene->why[i] = s->next_by == PLAN_PERSON || s->end_by == PLAN_PERSON
							? "a person has decided about the next term since"
							: "nothing of ours is scheduled any more";
	}
}

/*
 * Where the obligation stands; what it takes is reckoned anew from what was
 * read, for quantities and schedules change.
 */
static void
take_standing(Scene *scene, int i, Jsonb *audit)
{
	Obligation *o = &scene->obligations[i];
	PlanSubscription *s = row_of(scene, &o->subscription_id);
	Operation *op = NULL;
	int32 undone = 0;

	scene->standing[i] = STANDING_TAKEN;
	if (o->audit || is(o->kind, "removed"))
		op = spinpanel_operation_get(o->operation_id, CurrentMemoryContext);
	if (o->audit && audit != NULL && op != NULL &&
		spinpanel_op_followup_audited(op, spinpanel_mirror_resource(&o->subscription_id), audit,
									  &undone))
	{
		o->audit = false;
		o->owed = Max(o->owed, undone - o->returned);
	}
	if (at_renewal(o))
		stand_at_renewal(scene, i);
	/* It was given up, and perhaps carried out later: by now it shows. */
	else if (is(o->kind, "removed") && op != NULL && !is(op->status, "done") && s != NULL &&
			 s->status == PLAN_ACTIVE && s->quantity > o->leaves)
		scene->standing[i] = STANDING_WAIT;
	spinpanel_obligation_save(o);
}

/* ---- giving seats back ------------------------------------------------------------------------ */

static int64
queue(const Obligation *o, int32 account_id, const pg_uuid_t *subscription_id, const char *kind,
	  const char *purpose, Jsonb *wanted, const char *note, int32 seats, int64 after)
{
	Operation op;

	memset(&op, 0, sizeof(op));
	op.kind = kind;
	op.purpose = purpose;
	op.account_id = account_id;
	op.customer_id = o->customer_id;
	op.has_sku = true;
	op.sku_id = o->sku_id;
	op.has_subscription = true;
	op.subscription_id = *subscription_id;
	op.run_id = o->run_id;
	op.obligation_id = o->obligation_id;
	op.after_operation = after;
	op.wanted = wanted;
	if (note != NULL)
		spinpanel_operation_note(&op, note, seats);
	return spinpanel_operation_add(&op);
}

/* So many of the seats that it would take stay. */
static void
put_back(Scene *scene, Obligation *o, PlanSubscription *s, int32 seats, int64 lacking)
{
	int32 next = o->leaves + seats;
	const char *why;
	int64 id;

	why = psprintf(
		"%lld assigned or asked for, %lld owned after the renewal: %d of the %d seats that we "
		"had scheduled to go stay",
		(long long) scene->holders + scene->pool->waiting,
		(long long) scene->holders + scene->pool->waiting - (long long) lacking, seats, o->seats);
	if (is(o->kind, "ended"))
	{
		id = queue(o, o->account_id, &o->subscription_id, "set_auto_renew", "put_back",
				   spinpanel_json_of("{\"autoRenewEnabled\": true, \"scheduledActions\": null}"),
				   NULL, 0, 0);
		/* The rest goes, if the rules of removals still allow it. */
		if (next < s->quantity)
			(void) queue(
				o, o->account_id, &o->subscription_id, "set_schedule", "schedule",
				spinpanel_json_of(psprintf("{\"" BASE_SCHEDULE "\": {\"quantity\": %d}}", next)),
				NULL, 0, id);
		s->auto_renew = true;
		s->cancel_at_term = false;
		s->end_by = PLAN_NOBODY;
	}
	else
		id = queue(o, o->account_id, &o->subscription_id, "set_schedule", "put_back",
				   next >= s->quantity ? spinpanel_json_of("{\"" BASE_SCHEDULE "\": null}")
									   : spinpanel_json_of(psprintf(
											 "{\"" BASE_SCHEDULE "\": {\"quantity\": %d}}", next)),
				   NULL, 0, 0);
	s->next_quantity = next >= s->quantity ? -1 : next;
	spinpanel_obligation_record(o, id, "seats are being put back", why);
	spinpanel_adjustment_note(o->run_id, &o->customer_id, &o->sku_id, why);
	ereport(LOG, (errmsg("spinpanel puts %d seat(s) of subscription %s back: %s", seats,
						 spinpanel_uuid_text(&o->subscription_id), why)));
}

/* What lacks when a schedule of ours takes effect is put back before. */
static void
put_back_lacking(Scene *scene)
{
	TimestampTz last = scene->now;

	for (;;)
	{
		TimestampTz moment = DT_NOEND;
		int64 lacking;
		int i;

		for (i = 0; i < scene->count; i++)
			if (scene->standing[i] == STANDING_BEFORE && scene->obligations[i].effective_at > last)
				moment = Min(moment, scene->obligations[i].effective_at);
		if (moment == DT_NOEND)
			return;
		last = moment;
		lacking = spinpanel_plan_lacking(scene->pool, scene->holders + scene->pool->waiting,
										 scene->now, moment);
		for (i = 0; i < scene->count && lacking > 0; i++)
		{
			Obligation *o = &scene->obligations[i];
			PlanSubscription *s;
			int32 part;

			if (scene->standing[i] != STANDING_BEFORE || o->effective_at != moment ||
				(s = row_of(scene, &o->subscription_id)) == NULL)
				continue;
			part = (int32) Min(lacking, (int64) o->seats);
			/* What changes it at this moment may have put it back. */
			if (s->pending)
				scene->standing[i] = STANDING_WAIT;
			else
				put_back(scene, o, s, part, lacking);
			lacking -= part;
		}
	}
}

/* How many of them could not even be queued. */
static int32
buy(Scene *scene, Obligation *o, int32 seats, const char *note, const char *why)
{
	PlanSubscription *s = row_of(scene, &o->subscription_id);
	MirrorRoom *rooms;
	int32 left = seats;
	int count;
	int64 id;
	int i;

	if (s != NULL && s->status == PLAN_SUSPENDED && s->suspended_by == PLAN_OURS &&
		!spinpanel_operation_no_way_back(&o->subscription_id, scene->now - NO_WAY_FOR))
	{
		id = queue(o, o->account_id, &o->subscription_id, "reactivate", "buy_back",
				   spinpanel_json_of("{\"status\": \"active\"}"), note, seats, 0);
		spinpanel_obligation_record(o, id, "seats are being bought back", why);
		return 0;
	}
	if (s != NULL && spinpanel_seats_counts(s) && s->quantity < s->maximum &&
		!spinpanel_operation_no_way_back(&o->subscription_id, scene->now - NO_WAY_FOR))
	{
		int32 part = Min(left, s->maximum - s->quantity);

		id = queue(o, o->account_id, &o->subscription_id, "set_quantity", "buy_back",
				   spinpanel_json_of(psprintf("{\"more\": %d}", part)), note, part, 0);
		spinpanel_obligation_record(o, id, "seats are being bought back", why);
		left -= part;
	}
	count = spinpanel_mirror_rooms(&o->customer_id, &o->sku_id, &o->subscription_id, &rooms);
	for (i = 0; i < count && left > 0; i++)
	{
		Obligation other = *o;
		int32 part = Min(left, rooms[i].room);

		if (spinpanel_operation_no_way_back(&rooms[i].subscription_id, scene->now - NO_WAY_FOR))
			continue;
		/* The absolute quantity is set when it has been read. */
		id = queue(o, rooms[i].account_id, &rooms[i].subscription_id, "set_quantity", "buy_back",
				   spinpanel_json_of(psprintf("{\"more\": %d}", part)), note, part, 0);
		other.subscription_id = rooms[i].subscription_id;
		spinpanel_obligation_record(&other, id, "seats are being bought back", why);
		left -= part;
	}
	return left;
}

static void
buy_back(Scene *scene, int i, int32 seats, const char *note, const char *why)
{
	Obligation *o = &scene->obligations[i];
	int32 left = buy(scene, o, seats, note, why);

	if (left < seats)
	{
		spinpanel_adjustment_note(o->run_id, &o->customer_id, &o->sku_id, why);
		ereport(LOG, (errmsg("spinpanel buys %d seat(s) of subscription %s back: %s", seats - left,
							 spinpanel_uuid_text(&o->subscription_id), why)));
	}
	if (left > 0)
	{
		const char *problem = psprintf(
			"%d seat(s) could not be bought back: no subscription of the pool has room", left);

		scene->troubled[i] = true;
		if (o->overdue_since == 0)
			spinpanel_obligation_record(o, 0, "seats could not be bought back",
										psprintf("%s; %s", why, problem));
		trouble(o, scene->now, problem, 0);
	}
}

/* What holders lack at this moment, and what we undid of somebody else's. */
static void
buy_back_lacking(Scene *scene)
{
	const Obligation *any = &scene->obligations[0];
	int64 owned = -spinpanel_plan_lacking(scene->pool, 0, scene->now, scene->now);
	int64 lacking = scene->holders - owned;
	int i;

	lacking -= spinpanel_operation_coming_back(&any->customer_id, &any->sku_id);
	for (i = 0; i < scene->count; i++)
	{
		Obligation *o = &scene->obligations[i];
		int32 part;

		if (scene->standing[i] != STANDING_TAKEN ||
			spinpanel_operation_putting_back(o->obligation_id))
			continue;
		if (o->owed > 0)
		{
			buy_back(
				scene, i, o->owed, BASE_OWED,
				psprintf("somebody added %d seat(s) between our read and our change", o->owed));
			lacking -= o->owed;
			continue;
		}
		part = (int32) Min(lacking, (int64) o->seats - o->returned);
		if (part <= 0)
			continue;
		buy_back(
			scene, i, part, BASE_LACKING,
			psprintf("%lld assigned, %lld owned: %d of the %d seats that we %s are bought back",
					 (long long) scene->holders, (long long) owned, part, o->seats,
					 at_renewal(o) ? "had scheduled to go" : "had given back"));
		lacking -= part;
	}
}

/* ---- what is next -------------------------------------------------------------------------- */

static void
next_step(Scene *scene, int i)
{
	Obligation *o = &scene->obligations[i];
	TimestampTz now = scene->now;
	TimestampTz before = before_effect(o->effective_at, &o->subscription_id);

	if (scene->standing[i] == STANDING_WAIT && at_renewal(o))
	{
		spinpanel_obligation_stage(
			o, o->stage, Min(now + 5 * USECS_PER_MINUTE, Max(now + USECS_PER_MINUTE, before)));
		return;
	}
	if (spinpanel_operation_putting_back(o->obligation_id))
	{
		spinpanel_obligation_stage(o, o->stage, now + 5 * USECS_PER_MINUTE);
		return;
	}
	/* A report that is not believed tells nothing of who holds a seat. */
	if (scene->pool->doubt != NULL && !(at_renewal(o) && now < o->effective_at))
	{
		trouble(o, now, scene->pool->doubt, Max(spinpanel_settle_time / 4, 60));
		return;
	}
	if (at_renewal(o) && now < o->effective_at)
	{
		if (before > now)
			spinpanel_obligation_stage(o, "before", before);
		else
			spinpanel_obligation_stage(o, "effect", o->effective_at + EFFECT_AT_LEAST);
	}
	else if (at_renewal(o) && !scene->shown[i])
	{
		if (now - o->effective_at > PATIENCE)
			spinpanel_obligation_over(o, "the renewal does not show");
		else
			spinpanel_obligation_stage(
				o, "effect",
				now + Max(EFFECT_AT_LEAST, Min((now - o->effective_at) / 2, EFFECT_AT_MOST)));
	}
	else if (at_renewal(o) && !is(o->stage, "after"))
		spinpanel_obligation_stage(o, "after", now + settle_time());
	else
		spinpanel_obligation_over(
			o, o->returned > 0
				   ? psprintf("settled: %d of %d seats were bought back", o->returned, o->seats)
				   : "settled: nobody lacks a seat");
}

/*
 * looking: the pool was read for this, beginning at started_at; else only what
 * lacks is seen to, and what is due is looked at in its time.
 */
static void
weigh(const pg_uuid_t *customer_id, const pg_uuid_t *sku_id, Jsonb *audit, bool looking,
	  TimestampTz started_at)
{
	Scene scene;
	SpinpanelPools *pools;
	Operation any;
	int32 p;
	int i;

	memset(&scene, 0, sizeof(scene));
	scene.now = spinpanel_now();
	scene.count = spinpanel_obligation_pool(customer_id, sku_id, &scene.obligations);
	if (scene.count == 0)
		return;
	pools = spinpanel_plan_input_load(customer_id, scene.now, scene.now, 0);
	for (p = 0; p < pools->pool_count; p++)
		if (!pools->unmapped[p] && memcmp(&pools->sku_ids[p], sku_id, sizeof(pg_uuid_t)) == 0)
		{
			scene.pool = &pools->pools[p];
			scene.ids = pools->subscription_ids[p];
		}
	if (scene.pool == NULL)
	{
		for (i = 0; looking && i < scene.count; i++)
			spinpanel_obligation_over(&scene.obligations[i], "nothing is left of the pool");
		return;
	}
	memset(&any, 0, sizeof(any));
	any.customer_id = *customer_id;
	any.has_sku = true;
	any.sku_id = *sku_id;
	scene.holders = spinpanel_op_check_holders(&any, scene.pool);
	scene.standing = palloc0(sizeof(Standing) * scene.count);
	scene.shown = palloc0(sizeof(bool) * scene.count);
	scene.troubled = palloc0(sizeof(bool) * scene.count);
	scene.why = palloc0(sizeof(char *) * scene.count);

	for (i = 0; i < scene.count; i++)
		take_standing(&scene, i, audit);
	put_back_lacking(&scene);
	buy_back_lacking(&scene);
	for (i = 0; looking && i < scene.count; i++)
	{
		Obligation *o = &scene.obligations[i];

		if (scene.standing[i] == STANDING_OVER)
			spinpanel_obligation_over(o, scene.why[i]);
		else if (!scene.troubled[i] && o->look_at <= started_at)
			next_step(&scene, i);
	}
}

/* ---- what operations tell -------------------------------------------------------------------- */

static TimestampTz
first_look(TimestampTz effective_at, const pg_uuid_t *subscription_id)
{
	TimestampTz now = spinpanel_now();
	TimestampTz before = before_effect(effective_at, subscription_id);

	return Min(now + settle_time(), before > now ? before : now + USECS_PER_MINUTE);
}

/* A schedule or an end of ours was set, changed or taken back. */
static void
watch_next_term(const Operation *op)
{
	SpinpanelPools *pools =
		spinpanel_plan_input_load(&op->customer_id, spinpanel_now(), spinpanel_now(), 0);
	bool ended = is(op->kind, "set_actions");
	int32 p;
	int32 i;

	for (p = 0; p < pools->pool_count; p++)
		for (i = 0; i < pools->pools[p].subscription_count; i++)
		{
			const PlanSubscription *s = &pools->pools[p].subscriptions[i];
			TimestampTz end = spinpanel_seats_term_end(s);
			int64 next = s->quantity;

			if (memcmp(&pools->subscription_ids[p][i], &op->subscription_id, sizeof(pg_uuid_t)) !=
				0)
				continue;
			if (ended)
				next = 0;
			else if (is(op->kind, "set_schedule"))
				(void) spinpanel_json_int(&op->wanted->root, BASE_SCHEDULE ".quantity", &next);
			spinpanel_obligation_next_term(op, ended, s->quantity - (int32) next, (int32) next, end,
										   first_look(end, &op->subscription_id));
			return;
		}
}

static bool
decides_next_term(const Operation *op)
{
	return (is(op->purpose, "schedule") || is(op->purpose, "put_back")) &&
		   (is(op->kind, "set_schedule") || is(op->kind, "set_actions") ||
			is(op->kind, "set_auto_renew"));
}

static void
watch_taken(const Operation *op, int32 seats, int32 undone, bool audit)
{
	TimestampTz now = spinpanel_now();
	int64 leaves = 0;

	(void) spinpanel_json_int(&op->wanted->root, "quantity", &leaves);
	spinpanel_obligation_add(op, seats < 0 ? "removed" : "raised", Max(-seats, 0), (int32) leaves,
							 undone, audit, now, now + settle_time());
}

void
spinpanel_op_watch_done(const Operation *op, int32 seats, int32 undone, bool audit,
						bool licenses_known)
{
	TimestampTz now = spinpanel_now();

	if (op->obligation_id != 0)
		spinpanel_obligation_returned(op->obligation_id, Max(seats, 0),
									  is(op->purpose, "buy_back") ? now + settle_time() : now);
	if (!op->has_sku || !op->has_subscription)
		return;
	if (decides_next_term(op))
		watch_next_term(op);
	if (seats < 0 || undone > 0 || audit)
		watch_taken(op, seats, undone, audit);
	if (licenses_known || undone > 0)
		weigh(&op->customer_id, &op->sku_id, NULL, false, now);
}

void
spinpanel_op_watch_over(const Operation *op, bool may_have_been, const char *error)
{
	/* Seats that are needed and do not come this way come another. */
	if (op->obligation_id != 0)
	{
		Obligation *list;
		int count = spinpanel_obligation_pool(&op->customer_id, &op->sku_id, &list);
		int i;

		for (i = 0; i < count; i++)
		{
			if (list[i].obligation_id != op->obligation_id)
				continue;
			if (is(op->status, "cancelled"))
				spinpanel_obligation_returned(op->obligation_id, 0, spinpanel_now());
			else
				trouble(&list[i], spinpanel_now(), error ? error : "no reason given", 0);
		}
	}
	if (!may_have_been || !op->has_sku || !op->has_subscription)
		return;
	if (decides_next_term(op))
		watch_next_term(op);
	else if (is(op->kind, "set_quantity") || is(op->kind, "suspend") || is(op->kind, "cancel"))
		watch_taken(op, spinpanel_op_check_seats(op), 0, is(op->kind, "set_quantity"));
}

/* ---- looking ---------------------------------------------------------------------------------- */

typedef struct Look
{
	struct Look *next;
	MemoryContext context;
	ObligationPool pool;
	TimestampTz started_at;
	Reads reads;
	int list_read;
	int skus_read;
	int audit_read; /* -1 = not asked */
	Reads others[OUTBOX_OTHERS];
	int others_asked;
	bool finished;
} Look;

static Look *looks = NULL;
static int looks_active = 0;
static MemoryContext looks_context = NULL;

static int
pending(const Look *look)
{
	int n = look->reads.pending;
	int i;

	for (i = 0; i < look->others_asked; i++)
		n += look->others[i].pending;
	return n;
}

static void
sweep(void)
{
	Look **link = &looks;

	while (*link != NULL)
	{
		Look *look = *link;

		if (look->finished && pending(look) == 0)
		{
			*link = look->next;
			looks_active--;
			MemoryContextDelete(look->context);
		}
		else
			link = &look->next;
	}
}

static const ReadAnswer *
unread(const Look *look)
{
	const ReadAnswer *list = &look->reads.answers[look->list_read];
	const ReadAnswer *skus = &look->reads.answers[look->skus_read];

	return list->outcome != PARTNER_OK || list->json == NULL   ? list
		   : skus->outcome != PARTNER_OK || skus->json == NULL ? skus
															   : NULL;
}

static void
put_off(Look *look, const char *problem, long retry_after)
{
	Obligation *list;
	int count = spinpanel_obligation_pool(&look->pool.customer_id, &look->pool.sku_id, &list);
	int i;

	for (i = 0; i < count; i++)
		if (list[i].look_at <= look->started_at)
			trouble(&list[i], spinpanel_now(), problem, retry_after);
}

static void
do_look(void *arg)
{
	Look *look = arg;
	const ObligationPool *pool = &look->pool;
	const ReadAnswer *list = &look->reads.answers[look->list_read];
	const ReadAnswer *skus = &look->reads.answers[look->skus_read];
	const ReadAnswer *bad = unread(look);
	int i;

	if (bad != NULL)
	{
		put_off(look,
				psprintf("could not be looked at: %s%s%s", bad->error_code,
						 bad->error_code[0] ? ": " : "",
						 bad->error[0] ? bad->error : "the answer is of another kind"),
				bad->retry_after);
		return;
	}
	/* A list that is not whole leaves the rest as it was known. */
	(void) spinpanel_mirror_subscriptions(pool->account_id, &pool->customer_id, list->json,
										  list->digest, list->started_at);
	for (i = 0; i < look->others_asked; i++)
	{
		const ReadAnswer *other = &look->others[i].answers[0];

		if (other->outcome == PARTNER_OK && other->json != NULL)
			(void) spinpanel_mirror_subscriptions(pool->other_accounts[i], &pool->customer_id,
												  other->json, other->digest, other->started_at);
	}
	if (!spinpanel_mirror_subscribed_skus(pool->account_id, &pool->customer_id, skus->json,
										  skus->digest, skus->started_at))
	{
		put_off(look, "could not be looked at: the list of subscribed SKUs is not whole", 0);
		return;
	}
	weigh(&pool->customer_id, &pool->sku_id,
		  look->audit_read < 0 ? NULL : look->reads.answers[look->audit_read].json, true,
		  look->started_at);
}

static void
reads_done(void *arg)
{
	Look *look = arg;

	if (look->finished || pending(look) > 0)
		return;
	/* Where even this cannot be written it is due still. */
	(void) spinpanel_unit("looking at what changes took", do_look, look, UNIT_DURABLE);
	look->finished = true;
}

static void
look_begin(const ObligationPool *pool)
{
	MemoryContext context = AllocSetContextCreate(looks_context, "look", ALLOCSET_DEFAULT_SIZES);
	Look *look = MemoryContextAllocZero(context, sizeof(Look));
	char *customer = spinpanel_uuid_text(&pool->customer_id);
	char *path = psprintf("/customers/%s/subscriptions", customer);
	int i;

	look->context = context;
	look->pool = *pool;
	look->started_at = spinpanel_now();
	look->audit_read = -1;
	look->next = looks;
	looks = look;
	looks_active++;
	spinpanel_reads_start(&look->reads, context, spinpanel_partner_find(pool->account_id),
						  PARTNER_CHANGE, reads_done, look);
	look->list_read = spinpanel_reads_ask(&look->reads, path, NULL);
	look->skus_read =
		spinpanel_reads_ask(&look->reads, psprintf("/customers/%s/subscribedskus", customer), NULL);
	if (pool->audit)
		look->audit_read = spinpanel_reads_ask(
			&look->reads, spinpanel_op_followup_audit_path(&pool->customer_id, pool->audit_from),
			NULL);
	for (i = 0; i < Min(pool->other_count, OUTBOX_OTHERS); i++)
	{
		if (!spinpanel_account_usable(pool->other_accounts[i]))
			break; /* what is known of it has to do */
		spinpanel_reads_start(&look->others[i], context,
							  spinpanel_partner_find(pool->other_accounts[i]), PARTNER_CHANGE,
							  reads_done, look);
		look->others_asked++;
		(void) spinpanel_reads_ask(&look->others[i], path, NULL);
	}
}

static bool
under_way(const ObligationPool *pool)
{
	const Look *look;

	for (look = looks; look != NULL; look = look->next)
		if (memcmp(&look->pool.customer_id, &pool->customer_id, sizeof(pg_uuid_t)) == 0 &&
			memcmp(&look->pool.sku_id, &pool->sku_id, sizeof(pg_uuid_t)) == 0)
			return true;
	return false;
}

typedef struct DueLooks
{
	ObligationPool *pools;
	int count;
	MemoryContext context;
} DueLooks;

static void
do_due(void *arg)
{
	DueLooks *due = arg;
	int32 *accounts;
	int count = spinpanel_account_usable_list(&accounts);

	due->count =
		spinpanel_obligation_due(accounts, count, LOOKS_AT_ONCE * 4, &due->pools, due->context);
}

void
spinpanel_watch_work(void)
{
	DueLooks due;
	int i;

	if (looks_context == NULL)
		looks_context =
			AllocSetContextCreate(TopMemoryContext, "spinpanel looks", ALLOCSET_DEFAULT_SIZES);
	sweep();
	if (looks_active >= LOOKS_AT_ONCE)
		return;
	memset(&due, 0, sizeof(due));
	due.context = AllocSetContextCreate(looks_context, "due looks", ALLOCSET_DEFAULT_SIZES);
	if (spinpanel_unit("looking for what changes took", do_due, &due, UNIT_REPEATABLE))
		for (i = 0; i < due.count && looks_active < LOOKS_AT_ONCE; i++)
			if (!under_way(&due.pools[i]) && spinpanel_account_usable(due.pools[i].account_id))
				look_begin(&due.pools[i]);
	MemoryContextDelete(due.context);
}

int
spinpanel_watch_active(void)
{
	sweep();
	return looks_active;
}

void
spinpanel_watch_forget(void)
{
	Look *look;

	for (look = looks; look != NULL; look = look->next)
		look->finished = true;
}
