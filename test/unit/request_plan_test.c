/*
 * request_plan_test.c
 *
 * Tests of src/decide/request_plan.c: no server, no clock.  Prints TAP.
 *
 * A situation is a line of words.  Figures of the pool(s) and the customer first:
 *
 *     active=10 consumed=9 owned=10 reserved= unshown= claimed= unreported= lagging=
 *     released= removing=  quantity= maximum= (of the one subscription; quantity=0: none)
 *     max=  limit=  recent=  until=  unread=  unlooked=  releasing=  freed=
 *     off  increment  location  buying  offer  unread_pool  person  suspended  others (by them)
 *
 * then the requests, oldest first: kind (a, r), user and, behind a dot, the pool
 * ("a1", "r2.1"), with facts behind colons:
 *
 *     :held :seat :prov :buying :assigning :op=over :op=open :bought=over :bought=done
 *     :new (not looked up) :quiet (not due) :told=seconds ago :age=seconds :tries=n
 *     :follows=id :leader=done|failed|cancelled :most=n :stock :nowhere (no usage location)
 *     :busy :adj=id :granted=seats :rejected :waits :shows=n (active_level) :since=seconds
 *
 * What is expected: an effect for each request, in words as effect_name() says.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decide/request_plan.h"

#define NOW (10000 * PLAN_DAY)
#define MOST 64

static int tests = 0;
static int failures = 0;

static void __attribute__((format(printf, 2, 3))) ok(bool good, const char *format, ...)
{
	va_list args;

	tests++;
	if (!good)
		failures++;
	printf("%sok %d - ", good ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

typedef struct Situation
{
	AskCustomer customer;
	AskPool pools[4];
	PlanPool plans[4];
	PlanSubscription subscriptions[4];
	NeedTerms terms[4];
	AskUser users[MOST];
	AskRequest requests[MOST];
	int32_t request_count;
	AskEffect effects[MOST];
	AskPurchase purchases[4];
	AskPlan plan;
} Situation;

static bool
number(const char *word, const char *name, int64_t *value)
{
	size_t length = strlen(name);

	if (strncmp(word, name, length) != 0 || word[length] != '=')
		return false;
	*value = atoll(word + length + 1);
	return true;
}

static void
begin(Situation *s)
{
	int i;

	memset(s, 0, sizeof(*s));
	s->customer.now = NOW;
	s->customer.purchases = true;
	s->customer.limit_seats = 50;
	s->customer.limit_until = PLAN_NEVER;
	s->customer.provisioning_timeout = PLAN_DAY;
	s->customer.settle_time = PLAN_HOUR;
	s->customer.retry_max = 300 * PLAN_SECOND;
	for (i = 0; i < 4; i++)
	{
		AskPool *pool = &s->pools[i];

		pool->plan = &s->plans[i];
		pool->terms = &s->terms[i];
		s->plans[i].subscriptions = &s->subscriptions[i];
		s->plans[i].subscription_count = 1;
		s->plans[i].renewal_lead = 14 * PLAN_DAY;
		s->terms[i].usable = true;
		s->subscriptions[i] = (PlanSubscription){ .commerce = PLAN_NCE,
												  .status = PLAN_ACTIVE,
												  .quantity = 10,
												  .minimum = 1,
												  .maximum = 300,
												  .created = NOW - 100 * PLAN_DAY,
												  .term_end = NOW + 200 * PLAN_DAY,
												  .rejected_to = -1,
												  .auto_renew = true,
												  .next_quantity = -1 };
		pool->figures.active = 10;
		pool->figures.consumed = 10;
		pool->owned = 10;
		pool->max_seats = -1;
		pool->read = pool->subscriptions_read = true;
	}
	for (i = 0; i < MOST; i++)
		s->users[i].has_location = true;
}

static void
take_figure(Situation *s, const char *word)
{
	AskPool *pool = &s->pools[0];
	NeedFigures *f = &pool->figures;
	PlanSubscription *subscription = &s->subscriptions[0];
	int64_t v;

	if (number(word, "active", &v))
		f->active = (int32_t) v;
	else if (number(word, "consumed", &v))
		f->consumed = (int32_t) v;
	else if (number(word, "owned", &v))
		pool->owned = (int32_t) v;
	else if (number(word, "reserved", &v))
		f->reserved = (int32_t) v;
	else if (number(word, "unshown", &v))
		f->unshown = (int32_t) v;
	else if (number(word, "claimed", &v))
		f->claimed = (int32_t) v;
	else if (number(word, "unreported", &v))
		f->unreported = (int32_t) v;
	else if (number(word, "lagging", &v))
		f->lagging = (int32_t) v;
	else if (number(word, "released", &v))
		f->released = (int32_t) v;
	else if (number(word, "removing", &v))
		f->removing = (int32_t) v;
	else if (number(word, "quantity", &v))
	{
		subscription->quantity = (int32_t) v;
		s->plans[0].subscription_count = v > 0 ? 1 : 0;
	}
	else if (number(word, "maximum", &v))
		subscription->maximum = (int32_t) v;
	else if (number(word, "max", &v))
		pool->max_seats = (int32_t) v;
	else if (number(word, "limit", &v))
		s->customer.limit_seats = (int32_t) v;
	else if (number(word, "recent", &v))
		s->customer.bought_recently = (int32_t) v;
	else if (number(word, "until", &v))
		s->customer.limit_until = NOW + v * PLAN_SECOND;
	else if (number(word, "unread", &v))
		pool->unread = (int32_t) v;
	else if (number(word, "unlooked", &v))
		pool->unlooked = (int32_t) v;
	else if (number(word, "releasing", &v))
		pool->release_since = NOW - v * PLAN_SECOND;
	else if (number(word, "freed", &v))
		pool->freed_at = NOW - v * PLAN_SECOND;
	else if (strcmp(word, "off") == 0)
		s->customer.purchases = false;
	else if (strcmp(word, "increment") == 0)
		s->customer.increment = f->increment = true;
	else if (strcmp(word, "location") == 0)
		s->customer.has_location = true;
	else if (strcmp(word, "buying") == 0)
		pool->buying = true;
	else if (strcmp(word, "offer") == 0)
		pool->rule.default_offer = "CFQ7TTC0LDPB:0001";
	else if (strcmp(word, "unread_pool") == 0)
		pool->read = pool->subscriptions_read = false;
	else if (strcmp(word, "person") == 0)
		subscription->end_by = PLAN_PERSON;
	else if (strcmp(word, "suspended") == 0)
	{
		subscription->status = PLAN_SUSPENDED;
		subscription->suspended_by = PLAN_OURS;
	}
	else if (strcmp(word, "others") == 0)
		subscription->suspended_by = PLAN_PERSON;
	else
	{
		printf("Bail out! what is \"%s\"?\n", word);
		exit(1);
	}
}

static void
take_request(Situation *s, char *word)
{
	AskRequest *r = &s->requests[s->request_count++];
	AskUser *user;
	char *rest = NULL;
	char *fact;
	int64_t v;

	fact = strtok_r(word, ":", &rest);
	r->id = s->request_count;
	r->release = fact[0] == 'r';
	r->user = atoi(fact + 1);
	r->pool = strchr(fact, '.') ? atoi(strchr(fact, '.') + 1) : 0;
	r->due = true;
	r->looked = true;
	r->reserves = !r->release;
	r->created_at = NOW - 10 * PLAN_SECOND;
	r->looked_at = NOW - PLAN_SECOND;
	r->provisioning_at = NOW - 5 * PLAN_SECOND;
	r->active_level = -1;
	r->leader_status = ASK_QUEUED;
	user = &s->users[r->user];
	while ((fact = strtok_r(NULL, ":", &rest)) != NULL)
	{
		if (strcmp(fact, "held") == 0)
			r->held = true;
		else if (strcmp(fact, "seat") == 0)
			r->seat_bought = true;
		else if (strcmp(fact, "prov") == 0)
			r->status = ASK_PROVISIONING;
		else if (strcmp(fact, "buying") == 0)
			r->status = ASK_BUYING;
		else if (strcmp(fact, "assigning") == 0)
			r->status = ASK_ASSIGNING;
		else if (strcmp(fact, "op=over") == 0)
			r->operation = ASK_OPERATION_OVER;
		else if (strcmp(fact, "op=open") == 0)
			r->operation = ASK_OPERATION_OPEN;
		else if (strcmp(fact, "bought=open") == 0)
			r->purchase = ASK_OPERATION_OPEN;
		else if (strcmp(fact, "bought=over") == 0)
			r->purchase = ASK_OPERATION_OVER;
		else if (strcmp(fact, "bought=done") == 0)
		{
			r->purchase = ASK_OPERATION_OVER;
			r->purchase_done = true;
		}
		else if (strcmp(fact, "new") == 0)
			r->looked = false;
		else if (strcmp(fact, "quiet") == 0)
			r->due = false;
		else if (number(fact, "told", &v))
		{
			r->refused_at = NOW - v * PLAN_SECOND;
			s->pools[r->pool].figures.refused++;
		}
		else if (number(fact, "age", &v))
			r->created_at = NOW - v * PLAN_SECOND;
		else if (number(fact, "looked", &v))
			r->looked_at = NOW - v * PLAN_SECOND;
		else if (number(fact, "since", &v))
			r->provisioning_at = NOW - v * PLAN_SECOND;
		else if (number(fact, "tries", &v))
			r->attempts = (int32_t) v;
		else if (number(fact, "follows", &v))
			r->follows = v;
		else if (strcmp(fact, "leader=done") == 0)
			r->leader_status = ASK_DONE;
		else if (strcmp(fact, "leader=failed") == 0)
			r->leader_status = ASK_FAILED;
		else if (strcmp(fact, "leader=cancelled") == 0)
			r->leader_status = ASK_CANCELLED;
		else if (number(fact, "most", &v))
			r->buy_most = (int32_t) v;
		else if (strcmp(fact, "stock") == 0)
			r->stock_only = true;
		else if (strcmp(fact, "nowhere") == 0)
			user->has_location = false;
		else if (strcmp(fact, "busy") == 0)
			user->busy = true;
		else if (strcmp(fact, "wrong") == 0)
			r->wrong_sku = true;
		else if (number(fact, "adj", &v))
			r->adjustment = v;
		else if (number(fact, "granted", &v))
		{
			r->approval = ASK_APPROVAL_GRANTED;
			r->approved_seats = (int32_t) v;
		}
		else if (strcmp(fact, "rejected") == 0)
			r->approval = ASK_APPROVAL_REJECTED;
		else if (strcmp(fact, "waits") == 0)
			r->approval = ASK_APPROVAL_WAITS;
		else if (number(fact, "shows", &v))
			r->active_level = (int32_t) v;
		else
		{
			printf("Bail out! what is \"%s\"?\n", fact);
			exit(1);
		}
	}
}

static void
set_up(Situation *s, const char *text)
{
	char *copy = strdup(text);
	char *rest = NULL;
	char *word;

	begin(s);
	for (word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
	{
		if ((word[0] == 'a' || word[0] == 'r') && word[1] >= '0' && word[1] <= '9')
			take_request(s, word);
		else
			take_figure(s, word);
	}
	free(copy);
	s->plan.effects = s->effects;
	s->plan.purchases = s->purchases;
}

static void
name_effect(const AskEffect *e, char *name, size_t size)
{
	static const char *const kinds[] = { "keep",   "wait",   "again",  "take",     "follow",
										 "done",   "failed", "cancel", "location", "release",
										 "assign", "buy",    "ask" };
	static const char *const reasons[] = { "nothing", "user",     "looks",    "read",
										   "release", "reserved", "try",      "purchase",
										   "order",   "seat",     "approval", "leader" };

	if (e->kind == ASK_WAIT)
		snprintf(name, size, "wait-%s", reasons[e->reason]);
	else if (e->kind == ASK_FOLLOW)
		snprintf(name, size, "follow-%d", (int) e->other);
	else if (e->kind == ASK_ASSIGN || e->kind == ASK_RELEASE || e->kind == ASK_SET_LOCATION)
		snprintf(name, size, "%s-%d", kinds[e->kind], (int) e->group);
	else
		snprintf(name, size, "%s", kinds[e->kind]);
}

static void
plan_is(const char *text, const char *expected, const char *what)
{
	static Situation s;
	char got[1000] = "";
	int i;

	set_up(&s, text);
	spinpanel_request_plan(&s.customer, s.pools, 4, s.users, MOST, s.requests, s.request_count,
						   &s.plan);
	for (i = 0; i < s.request_count; i++)
	{
		char name[40];

		name_effect(&s.effects[i], name, sizeof(name));
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "", name);
	}
	ok(strcmp(got, expected) == 0, "%s", what);
	if (strcmp(got, expected) != 0)
	{
		printf("# %s\n#      got: %s\n# expected: %s\n", text, got, expected);
		for (i = 0; i < s.request_count; i++)
			printf("#   %d: %s\n", i + 1, s.effects[i].text);
	}
}

static void
test_seats(void)
{
	plan_is("active=11 a1", "assign-0", "a free seat is used");
	plan_is("a1", "buy", "none is free: one is bought");
	plan_is("active=11 a1 a2 a3", "assign-0 buy buy", "the oldest has the free one");
	plan_is("active=11 removing=1 a1", "buy", "a seat that is being removed is not free");
	plan_is("active=11 claimed=1 a1", "buy", "a seat that somebody is being assigned is not free");
	plan_is("released=1 a1", "assign-0", "a seat released a moment ago is free");
	plan_is("off a1", "failed", "purchases off and none free");
	plan_is("off active=11 a1 a2", "assign-0 failed", "purchases off: the stock is used");
	plan_is("quantity=0 a1", "failed", "nothing to raise and no offer");
	plan_is("quantity=0 offer a1 a2", "buy buy", "an order");
	plan_is("person a1", "failed", "somebody set it to end");
	plan_is("max=11 a1 a2", "buy wait-purchase", "max_seats leaves one");
	plan_is("max=10 a1", "failed", "max_seats leaves none");
	plan_is("max=12 owned=12 unread=2 quantity=0 offer a1", "wait-order",
			"seats that are ordered and not readable are owned, and nothing is bought beside");
	plan_is("maximum=11 a1 a2", "buy wait-purchase", "the offer's maximum");
	plan_is("buying a1", "wait-purchase", "one purchase at a time");
	plan_is("buying off a1", "failed", "no purchase is waited for that nobody may make");
	plan_is("unread_pool a1", "keep", "nothing is decided on what was not read");
}

static void
test_doubt(void)
{
	plan_is("active=11 unreported=1 a1", "assign-0",
			"a seat that the report shows free is tried although we assigned one");
	plan_is("lagging=5 a1 a2", "assign-0 wait-try", "seats owned and not active: one tries");
	plan_is("lagging=5 claimed=1 a1", "wait-try", "one at a time");
	plan_is("lagging=5 a1:busy a2 a3", "wait-try assign-0 wait-try",
			"one whose user is busy does not keep the others from trying");
	plan_is("lagging=5 a1:busy a2:busy", "wait-user wait-try", "... unless all are");
	plan_is("lagging=5 reserved=1 unshown=1 a1", "wait-try",
			"nor a seat that was bought for somebody");
	plan_is("lagging=5 reserved=1 unshown=1 a1:age=61", "assign-0", "... but not for ever");
	plan_is("lagging=5 a1:told=3 a2", "buy buy", "one was told: that is the answer for all");
	plan_is("active=12 a1:told=3 a2", "buy assign-0",
			"told that no seat is free: one is bought, whatever the report says");
	plan_is("active=11 a1:told=3700", "assign-0", "that answer is old: it is tried again");
	plan_is("active=11 freed=1 a1:told=3", "assign-0",
			"a licence was released since: it is tried again");
	plan_is("active=11 freed=5 a1:told=3", "buy", "... before: it is not");
	plan_is("active=11 freed=3 a1:told=3", "assign-0", "... at the same moment: in doubt it is");
	plan_is("active=11 released=1 reserved=1 a1", "wait-reserved",
			"a release may be counted twice: nobody's seat is taken");
	plan_is("releasing=10 a1", "wait-release", "a release under way");
	plan_is("releasing=61 a1", "buy", "... that takes too long");
	plan_is("unlooked=5 a1", "wait-looks", "others are looked up first");
	plan_is("unlooked=5 a1:looked=61 a2", "buy buy", "... but not for ever");
	plan_is("unlooked=5 active=11 a1", "assign-0", "a free seat waits for nobody");
}

static void
test_increment(void)
{
	plan_is("active=30 increment a1 a2", "buy buy", "auto increment: every request buys");
	plan_is("active=30 increment off a1", "assign-0", "... but not with purchases off");
	plan_is("active=30 increment person a1", "assign-0", "... nor where nothing can be bought");
	plan_is("active=30 increment max=10 a1", "assign-0", "... nor above max_seats");
	plan_is("active=30 increment a1:stock a2", "assign-0 buy",
			"its purchase was refused: the stock will do");
	plan_is("increment a1:seat:prov:shows=10", "assign-0", "its seat was bought already");
}

static void
test_purchases(void)
{
	plan_is("a1:most=5 a2:most=5 a3 a4 a5 a6", "buy buy buy buy buy wait-purchase",
			"ten were refused: five at once");
	plan_is("a1 a2:most=1 a3", "buy wait-purchase wait-purchase",
			"no purchase larger than what was refused to one of it");
	plan_is("a1:most=1 a2:most=1", "buy wait-purchase", "the oldest alone");
	plan_is("limit=1 a1 a2", "buy ask", "the purchase limit");
	plan_is("limit=1 recent=1 a1", "ask", "... was reached");
	plan_is("limit=2 a1 a2.1 a3", "buy buy ask", "the limit serves the oldest of all pools");
	plan_is("limit=2 a1.1 a2 a3.1", "buy buy ask", "... whatever their order");
	plan_is("limit=9 suspended a1.1 a2 a3.1 a4", "buy ask buy ask",
			"what does not fit into the limit keeps no other pool waiting");
	plan_is("limit=11 suspended a1.1 a2 a3.1 a4", "buy buy ask buy",
			"a reactivation takes all of its seats from the limit at once");
	plan_is("limit=1 a1.1:granted=1:adj=7 a2 a3", "buy buy ask",
			"what was approved takes nothing from the limit");
	plan_is("limit=0 active=11 a1:waits:adj=7 a2", "assign-0 ask",
			"who waits for a person gets the free seat before younger ones");
	plan_is("limit=0 a1:granted=1:adj=7 a2", "buy wait-purchase", "approved: it goes first");
	plan_is("limit=0 a1:granted=2:adj=7 a2:granted=2:adj=7 a3:granted=2:adj=7",
			"buy buy wait-purchase", "no more than were approved");
	plan_is("limit=0 a1:rejected:adj=7 a2", "failed ask", "rejected");
	plan_is("limit=0 active=11 a1:rejected:adj=7", "assign-0", "rejected, and a seat is free");
	plan_is("suspended a1 a2", "buy buy", "reactivated");
	plan_is("suspended owned=0 max=3 a1", "failed", "it would come back with ten seats");
	plan_is("suspended limit=5 a1", "ask", "... more than the limit");
	plan_is("a1:buying:bought=open", "wait-purchase", "its purchase is under way");
	plan_is("a1:buying:bought=over", "again", "... is over");
	plan_is("a1:buying:bought=done", "take", "... has bought");
	plan_is("a1:seat:prov:wrong", "failed", "a seat of another SKU was bought");
	plan_is("a1:seat:prov:shows=11", "wait-seat", "its seat does not show yet");
	plan_is("active=11 a1:seat:prov:shows=11", "assign-0", "it does");
	plan_is("a1:seat:prov:shows=12:tries=2", "assign-0", "now and then one tries without it");
	plan_is("a1:seat:prov:shows=12:tries=2 a2:seat:prov:shows=13:tries=2", "assign-0 wait-seat",
			"... the oldest");
	plan_is("a1:seat:prov:shows=12:since=90000", "assign-0", "its time is over: a last try");
}

static void
test_users(void)
{
	plan_is("a1:held", "done", "held already");
	plan_is("a1:new", "keep", "not looked up yet");
	plan_is("a1:nowhere", "failed", "no usage location");
	plan_is("location a1:nowhere a1.1", "location-0 location-0", "one is set, for both");
	plan_is("location a1:nowhere:busy", "wait-user", "one operation of a user at a time");
	plan_is("active=11 a1:busy", "wait-user", "... for assignments, too");
	plan_is("r1:held", "release-0", "a release");
	plan_is("r1", "done", "nothing to release");
	plan_is("r1:held r1.1:held", "release-0 release-0", "two licences of one user in one call");
	plan_is("r1:held r2:held", "release-0 release-1", "two users, two calls");
	plan_is("r1:held:tries=1 r1.1:held", "release-0 wait-user", "refused together: one by one");
	plan_is("active=11 r1.1:held a1", "release-0 wait-user",
			"one goes, one comes, in the order they were asked for");
	plan_is("active=11 a1 r1.1:held", "assign-0 wait-user", "... the other way round");
	plan_is("r1.1:held a1", "release-0 buy", "what is bought waits for no user");
}

static void
test_order(void)
{
	plan_is("active=11 a1 a1", "assign-0 follow-1", "one licence is assigned once");
	plan_is("active=11 a1 a1 a1", "assign-0 follow-1 follow-1", "... and all follow the first");
	plan_is("a1:quiet:assigning:op=open a1", "keep follow-1", "... also one under way");
	plan_is("a1:quiet:assigning:op=open r1 a1:held", "keep wait-user wait-user",
			"assign, release, assign: the last follows nobody");
	plan_is("a1:quiet:seat:prov r1 a1", "keep wait-user wait-user",
			"... nor while the first is provisioning");
	plan_is("r1:quiet:assigning:op=open a1:held r1:held", "keep cancel follow-1",
			"release, assign, release: the assignment is not wanted any more");
	plan_is("active=11 a1 r1 a1", "cancel done assign-0", "what has not begun goes");
	plan_is("a1:buying:bought=open r1", "wait-purchase wait-user", "what has begun is waited for");
	plan_is("a1:follows=9:leader=done", "done", "its leader is done");
	plan_is("a1:follows=9:leader=failed", "failed", "... failed");
	plan_is("a1:follows=9:leader=cancelled", "again", "... was cancelled");
	plan_is("a1:follows=9", "wait-leader", "... is open");
	plan_is("a1:assigning:op=over", "again", "nobody told it that its operation is over");
	plan_is("active=11 a1:quiet a2", "keep assign-0", "who is not due is left alone");
	plan_is("a1:follows=2 a1", "wait-leader buy", "a request does not follow its own follower");
	plan_is("active=11 a1:follows=3:quiet a1:follows=1:quiet a1", "keep keep assign-0",
			"... nor one that follows that");
	plan_is("r1:follows=2:quiet r1:held", "keep release-0", "... nor a release");
	plan_is("a1:quiet:assigning:op=open a1:follows=1 a1 r1:follows=1",
			"keep wait-leader cancel "
			"wait-leader",
			"a release that follows counts as any other");
	plan_is("a1 a1:follows=1 r1:held", "cancel wait-leader wait-user",
			"a release does not go ahead of one that will be free again");
	plan_is("r1:quiet:assigning:op=open a1 a1:follows=2 r1:held",
			"keep cancel wait-leader wait-user", "... nor follows a release before that");
	plan_is("r1:held a1:quiet:assigning:op=open", "cancel keep",
			"the last one asked for decides: a release comes too late for an assignment");
	plan_is("r1:held a1:quiet:seat:prov", "cancel keep", "... for which a seat was bought, too");
	plan_is("active=11 r1:held a1", "release-0 wait-user", "... not if that has not begun");
	plan_is("r1:held r1:quiet:assigning:op=open", "follow-2 keep",
			"a release follows a younger one that has begun");
	plan_is("active=11 a1:follows=9:leader=cancelled a1", "again follow-1",
			"who follows nobody any more goes before younger ones");
}

/* ---- right before it is sent ------------------------------------------------------------- */

static void
send_is(const char *text, AskSending sending, int32_t expected, const char *what)
{
	static Situation s;
	char why[ASK_TEXT];
	int32_t seats;

	set_up(&s, text);
	s.pools[0].figures.open = sending.linked;
	seats = spinpanel_request_may_send(&s.customer, &s.pools[0], &sending, why, sizeof(why));
	ok(seats == expected && (seats > 0) == (why[0] == '\0'), "%s: %d", what, (int) expected);
	if (seats != expected)
		printf("# got %d: %s\n", (int) seats, why);
}

static void
test_sending(void)
{
	AskSending raise = { NEED_RAISE, 0, NULL, NULL, NULL, 3, 3, false };
	AskSending order = { NEED_ORDER, -1, "CFQ7TTC0LDPB:0001", "P1M", "monthly", 1, 1, false };
	AskSending back = { NEED_REACTIVATE, 0, NULL, NULL, NULL, 1, 1, false };

	send_is("", raise, 3, "as queued");
	send_is("active=12", raise, 1, "two are free by now");
	send_is("active=13", raise, 0, "all are free by now");
	send_is("lagging=1", raise, 2, "one may be free");
	send_is("off", raise, 0, "purchases off");
	send_is("max=12", raise, 2, "max_seats lowers it");
	send_is("max=10", raise, 0, "max_seats forbids it");
	send_is("limit=2", raise, 2, "the limit lowers it");
	send_is("limit=0", raise, 0, "the limit forbids it");
	send_is("person", raise, 0, "somebody set it to end");
	raise.approved = true;
	send_is("limit=0", raise, 3, "approved: no limit");
	send_is("max=10", raise, 0, "... but max_seats");
	raise.linked = 0;
	send_is("", raise, 0, "cancelled");
	send_is("offer quantity=0 owned=0 active=0 consumed=0", order, 1, "an order");
	send_is("quantity=0 owned=0 active=0 consumed=0", order, 0, "the rule was dropped");
	order.offer = "CFQ7TTC0LDPB:0002";
	send_is("offer quantity=0", order, 0, "the rule names another offer");
	order.offer = "CFQ7TTC0LDPB:0001";
	order.term_duration = "P1Y";
	send_is("offer quantity=0", order, 0, "... another term");
	send_is("suspended owned=0", back, 1, "reactivated");
	send_is("owned=0", back, 0, "somebody has reactivated it");
	send_is("suspended others owned=0", back, 0, "somebody else has suspended it");
	send_is("suspended owned=0 max=9", back, 0, "it comes back with ten");
	send_is("suspended owned=0 limit=9", back, 0, "... above the limit");
}

/* ---- no seat is free ---------------------------------------------------------------------- */

static void
no_seat_is(const char *text, int32_t lost, AskNoSeat expected, const char *what)
{
	static Situation s;
	char why[ASK_TEXT];
	AskNoSeat got;

	set_up(&s, text);
	got =
		spinpanel_request_no_seat(&s.customer, &s.pools[0], &s.requests[0], lost, why, sizeof(why));
	ok(got == expected && why[0] != '\0', "%s", what);
	if (got != expected)
		printf("# got %d: %s\n", (int) got, why);
}

static void
test_no_seat(void)
{
	no_seat_is("active=11 a1", 0, ASK_NO_SEAT_BUY, "no seat, whatever the report says");
	no_seat_is("active=11 unshown=1 a1", 0, ASK_NO_SEAT_YET,
			   "seats bought before do not show: not yet");
	no_seat_is("active=11 unshown=1 reserved=1 a1", 0, ASK_NO_SEAT_BUY,
			   "... unless they are meant for others");
	no_seat_is("active=11 unshown=3 reserved=2 a1", 0, ASK_NO_SEAT_YET, "... all of them");
	no_seat_is("active=10 consumed=9 unreported=2 unshown=1 a1", 0, ASK_NO_SEAT_BUY,
			   "... or in use: the report lags");
	no_seat_is("a1:seat:shows=11", 0, ASK_NO_SEAT_YET, "its own does not show: not yet");
	no_seat_is("active=11 a1:seat:shows=11", 0, ASK_NO_SEAT_YET, "its own is free by the report");
	no_seat_is("active=11 consumed=11 a1:seat:shows=11", 0, ASK_NO_SEAT_LOST,
			   "its own is taken: another, once");
	no_seat_is("active=11 consumed=11 a1:seat:shows=11", 1, ASK_NO_SEAT_FAIL, "... not twice");
	no_seat_is("active=11 a1:seat:shows=11:since=90000", 0, ASK_NO_SEAT_FAIL,
			   "free by the report for a day: another would be no better");
	no_seat_is("a1:seat:shows=11:since=90000", 0, ASK_NO_SEAT_FAIL, "it never came");
}

int
main(void)
{
	test_seats();
	test_doubt();
	test_increment();
	test_purchases();
	test_users();
	test_order();
	test_sending();
	test_no_seat();
	printf("1..%d\n", tests);
	return failures > 0;
}
