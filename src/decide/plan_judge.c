/*
 * plan_judge.c
 *
 * The judgement of one change right before it is sent, on figures read a
 * moment ago.  It knows the same rules as the plan but no optimum: only how
 * far the one subscription may go down.  It must never allow more than a plan
 * made at this moment could.  Putting back is judged here, too: it is no taking,
 * and must never give more than the subscription has.
 */
#include "decide/plan_internal.h"

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * How many seats of it a change now may take as far as the pool is concerned,
 * when so many lie beyond what its term leaves of it anyway.
 */
static int64_t
pool_allows(const PlanPool *pool, const PlanSubscription *s, const PlanSeats *seats, PlanTime now,
			bool lowers_schedule)
{
	int64_t slack = seats->lasting - seats->floor;
	int64_t lasts = spinpanel_seats_lasting(s, s->quantity, now);
	int64_t allowed = s->quantity - lasts + slack;

	(void) pool;
	/* What a person wants to remain is theirs to say; it stays as they said. */
	if (lowers_schedule)
		return least(seats->excess, s->quantity);
	if (slack < 0)
		return 0;
	/* Nothing of it lasts: whatever goes now is needed by nobody then. */
	return lasts == 0 ? s->quantity : allowed;
}

static void
say(PlanText *text, const PlanPool *pool, const PlanSeats *seats, const char *why)
{
	spinpanel_plan_text_pool(text, pool, seats);
	spinpanel_plan_text_add(text, "; %s", why);
}

static int64_t
judge_now(const PlanPool *pool, const PlanSubscription *s, PlanAction action, int64_t wanted,
		  const PlanSeats *seats, PlanTime now, bool lowers_schedule, PlanText *text)
{
	int64_t minimum = least(s->minimum > 1 ? s->minimum : 1, s->quantity);
	int64_t allowed = pool_allows(pool, s, seats, now, lowers_schedule);
	int64_t window = s->quantity;
	int64_t last_chance = 0;
	int64_t added = spinpanel_seats_added(s, now, pool->cooldown);
	int64_t taken;
	bool whole;
	PlanTime deadline;

	if (s->commerce == PLAN_NCE)
	{
		window = spinpanel_seats_refundable(s, now, pool->cooldown, &last_chance, &deadline);
		window = least(window, most(last_chance, s->quantity - added));
	}
	else if (added > 0)
	{
		say(text, pool, seats, "added within the cool-down");
		return s->quantity;
	}

	whole = !s->has_active_addon && wanted < minimum && s->quantity <= allowed;
	if (action == PLAN_CANCEL)
	{
		bool open =
			s->extended_term || (s->cancel_until > now && s->cancel_until - now > PLAN_TOO_LATE);
		int64_t last = last_chance;

		if (!s->extended_term && open && s->batch_count == 0 &&
			s->cancel_until - now < PLAN_LAST_RUN)
			last = s->quantity;
		if (whole && open && s->commerce == PLAN_NCE && added <= last &&
			s->quantity <= seats->settled + last)
			return 0;
	}
	else if (action == PLAN_SUSPEND && whole && s->commerce == PLAN_LEGACY &&
			 s->quantity <= seats->settled)
		return 0;

	taken = s->quantity - most(wanted, minimum);
	if (taken <= 0)
	{
		say(text, pool, seats, "not all of it may go");
		return s->quantity;
	}
	if (allowed < taken)
	{
		taken = most(allowed, 0);
		if (seats->excess <= 0)
			say(text, pool, seats, "its seats are needed");
		else
			say(text, pool, seats,
				"its seats are needed, if not now then "
				"when other seats end");
	}
	if (window < taken)
	{
		taken = window;
		spinpanel_plan_text_begin(text, text->buffer, text->size);
		say(text, pool, seats, "outside the refund window");
	}
	if (last_chance + seats->settled < taken)
	{
		taken = last_chance + seats->settled;
		spinpanel_plan_text_begin(text, text->buffer, text->size);
		say(text, pool, seats, "kept until cool-down ends");
	}
	if (text->length == 0 && s->quantity - taken > wanted)
		say(text, pool, seats,
			s->quantity - wanted > allowed ? "its seats are needed"
			: s->quantity - wanted > last_chance + seats->settled
				? "kept until cool-down ends"
				: "not below the offer's minimum");
	return s->quantity - taken;
}

static int64_t
judge_later(const PlanPool *pool, const PlanSubscription *s, PlanAction action, int64_t wanted,
			const PlanSeats *seats, PlanTime now, PlanText *text)
{
	int64_t minimum = least(s->minimum > 1 ? s->minimum : 1, s->quantity);
	PlanTime end = spinpanel_seats_term_end(s);
	int64_t lasts = spinpanel_seats_lasting(s, s->quantity, now);
	int64_t slack = seats->lasting - seats->floor + s->quantity - lasts;
	int64_t lowest;

	if (s->commerce != PLAN_NCE || s->extended_term)
	{
		say(text, pool, seats, "nothing can be scheduled on it");
		return s->quantity;
	}
	if (end == PLAN_NEVER)
	{
		say(text, pool, seats, "the date of its renewal is not known");
		return s->quantity;
	}
	lowest = s->quantity - most(least(slack, s->quantity), 0);
	if (slack < s->quantity)
		say(text, pool, seats, "its seats are needed after the renewal");

	/*
	 * What is due tonight will not be past its cool-down then; but to cut
	 * back what is scheduled is always right.
	 */
	if (end - now < pool->cooldown && wanted < lasts)
	{
		PlanTime deadline;
		int64_t last_chance;
		int64_t added = spinpanel_seats_added(s, now, pool->cooldown);

		(void) spinpanel_seats_refundable(s, now, pool->cooldown, &last_chance, &deadline);
		if (s->quantity - seats->settled - last_chance > lowest || added > lowest)
		{
			lowest = most(added, most(lowest, s->quantity - seats->settled - last_chance));
			spinpanel_plan_text_begin(text, text->buffer, text->size);
			say(text, pool, seats, "kept until cool-down ends");
		}
	}
	if (action == PLAN_END_AT_TERM && lowest == 0 && wanted == 0 && !s->has_active_addon)
		return 0;
	return most(wanted, most(lowest, minimum));
}

int32_t
spinpanel_plan_judge(const PlanPool *pool, int32_t subscription, PlanAction action, int32_t wanted,
					 const PlanOptions *options, char *reason, size_t reason_size)
{
	const PlanSubscription *s = &pool->subscriptions[subscription];
	bool lowers_schedule =
		options->lowers_schedule && s->next_by == PLAN_PERSON && !s->next_other_sku;
	PlanSubscription touched = *s;
	PlanTime now = options->now;
	PlanSeats seats;
	PlanText text;
	const char *why;
	int64_t quantity;

	spinpanel_plan_text_begin(&text, reason, reason_size);
	spinpanel_seats_figures(pool, now, &seats);

	why = spinpanel_plan_blocked(pool, now, options->ignore_switch);
	if (why == NULL && !spinpanel_seats_counts(s))
		why = "it is not an active, paid subscription";
	if (lowers_schedule)
	{
		touched.next_by = PLAN_NOBODY;
		touched.next_quantity = -1;
	}
	if (why == NULL)
		why = spinpanel_plan_untouchable(&touched, now);
	if (why != NULL)
	{
		say(&text, pool, &seats, why);
		return s->quantity;
	}
	if (wanted < 0)
		wanted = 0;

	switch (action)
	{
		case PLAN_REDUCE:
		case PLAN_SUSPEND:
		case PLAN_CANCEL:
			quantity = judge_now(pool, s, action, wanted, &seats, now, lowers_schedule, &text);
			break;
		case PLAN_REDUCE_AT_RENEWAL:
		case PLAN_END_AT_TERM:
			quantity = judge_later(pool, s, action, wanted, &seats, now, &text);
			break;
		case PLAN_RAISE:
			quantity = most(s->quantity, least(wanted, s->maximum));
			break;
		default:
			quantity = s->quantity;
			break;
	}

	/* A reason belongs only to less than what was wanted. */
	if (quantity <= wanted && reason_size > 0)
		reason[0] = '\0';
	return (int32_t) least(quantity, INT32_MAX);
}

/* ---- putting back -------------------------------------------------------------------- */

int64_t
spinpanel_plan_lacking(const PlanPool *pool, int64_t holders, PlanTime now, PlanTime moment)
{
	int64_t have = 0;
	int32_t i;

	for (i = 0; i < pool->subscription_count; i++)
	{
		const PlanSubscription *s = &pool->subscriptions[i];

		if (!spinpanel_seats_counts(s))
			continue;
		if (moment > now && moment >= spinpanel_seats_term_end(s))
			have += spinpanel_seats_lasting(s, s->quantity, now);
		else
			have += s->quantity;
	}
	return holders - have;
}

int32_t
spinpanel_plan_put_back(const PlanPool *pool, int32_t subscription, int32_t wanted,
						const PlanOptions *options)
{
	const PlanSubscription *s = &pool->subscriptions[subscription];
	int64_t stands = spinpanel_seats_lasting(s, s->quantity, options->now);
	int64_t holders = (int64_t) pool->consumed + pool->waiting;
	int64_t next = most(stands, wanted);
	int64_t lacking =
		spinpanel_plan_lacking(pool, holders, options->now, spinpanel_seats_term_end(s));

	if (lacking > 0)
		next = most(next, stands + lacking);
	return (int32_t) most(least(next, s->quantity), 0);
}
