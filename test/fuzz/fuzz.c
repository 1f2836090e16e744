/*
 * fuzz.c
 *
 * Runs libFuzzer inside a PostgreSQL backend: what reads remote bodies does it
 * with jsonb, memory contexts and tables.  The library that this is compiled
 * into is spinpanel's own with this added; test/fuzz/run.sh builds and runs it.
 *
 * A reader of remote bodies may refuse what it gets.  It must not crash, read
 * what is not there, throw, or fail in the database: a unit of the worker that
 * fails is tried again with the same body, for ever.
 */
#include "postgres.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/address.h"
#include "base/cronline.h"
#include "base/json.h"
#include "base/uuid.h"
#include "decide/plan.h"
#include "partner/cart.h"
#include "partner/credential.h"
#include "partner/login.h"
#include "partner/seal.h"
#include "state/mirror.h"
#include "state/next_term.h"
#include "state/offer.h"
#include "state/operation.h"
#include "state/plan_input.h"
#include "worker/op_wanted.h"

#include "fuzz.h"

extern int LLVMFuzzerRunDriver(int *argc, char ***argv,
							   int (*callback)(const uint8_t *data, size_t size));
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
extern size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
									  unsigned int seed);

/* ---- what targets share ----------------------------------------------------- */

#define ACCOUNT 1

static pg_uuid_t customer_id;
static pg_uuid_t user_id;

void
spinpanel_fuzz_objection(const char *what, const char *file, int line)
{
	fprintf(stderr, "OBJECTION %s:%d: %s\n", file, line, what);
	abort();
}

void
spinpanel_fuzz_shown(const char *text, size_t size)
{
	const char *c;

	REQUIRE(strlen(text) < size);
	REQUIRE(pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true));
	for (c = text; *c != '\0'; c++)
		REQUIRE((unsigned char) *c >= 0x20 && *c != 0x7f);
}

static void
write_file(const char *path, const char *text, size_t length)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fwrite(text, 1, length, file) != length || fclose(file) != 0 ||
		chmod(path, 0600) != 0)
		spinpanel_fuzz_objection(path, __FILE__, __LINE__);
}

static const char *
file_named(const char *name)
{
	const char *folder = getenv("SPINPANEL_FUZZ_DIR");

	return psprintf("%s/%s", folder != NULL ? folder : "/tmp", name);
}

const char *
spinpanel_fuzz_file(void)
{
	static char *path = NULL;

	if (path == NULL)
	{
		static const char content[] =
			"{\"client_secret\": \"" FUZZ_SECRET "\", \"refresh_token\": \"" FUZZ_TOKEN "\"}";

		path = MemoryContextStrdup(TopMemoryContext, file_named("credential.json"));
		write_file(path, content, strlen(content));
	}
	return path;
}

/* ---- text --------------------------------------------------------------------- */

static void
time_text(const char *text, size_t length)
{
	TimestampTz value;
	pg_uuid_t uuid;

	if (spinpanel_parse_time(text, &value))
	{
		/* What was read can be written, and read again. */
		REQUIRE(IS_VALID_TIMESTAMP(value));
		(void) timestamptz_to_str(value);
	}
	if (spinpanel_parse_uuid(text, &uuid))
	{
		pg_uuid_t again;

		REQUIRE(spinpanel_parse_uuid(spinpanel_uuid_text(&uuid), &again));
		REQUIRE(memcmp(&uuid, &again, sizeof(uuid)) == 0);
	}
}

static void
address(const char *text, size_t length)
{
	SpinpanelAddress parsed;
	const char *problem = NULL;
	int64 due;

	if (!spinpanel_address_parse(text, &parsed, &problem))
		REQUIRE(problem != NULL);
	else
		REQUIRE(parsed.port > 0 && parsed.port < 65536 && parsed.host[0] != '\0');
	if (spinpanel_address_allowed(text, "127.0.0.1", &problem))
		REQUIRE(parsed.https || parsed.loopback);
	(void) spinpanel_address_is_china(text);
	if (spinpanel_cron_valid(text, &problem) &&
		spinpanel_cron_previous(text, INT64CONST(840000000000000), &due))
		REQUIRE(due <= INT64CONST(840000000000000));
}

static void
sign_in(const char *text, size_t length)
{
	LoginAnswer answer;
	LoginForm form = { 0 };

	(void) spinpanel_login_lacks_mfa(text);
	(void) spinpanel_login_is_tenant(text);
	if (spinpanel_login_parse(text, &answer))
	{
		REQUIRE(answer.code != NULL || answer.error != NULL);
		if (answer.error != NULL)
			spinpanel_fuzz_shown(answer.error, length + 1);
		if (answer.description != NULL)
			spinpanel_fuzz_shown(answer.description, length + 1);
	}
	spinpanel_login_field(&form, "a", text);
	spinpanel_login_field(&form, "b", text);
	REQUIRE(strlen(form.text) == form.length && form.length < form.size);
	spinpanel_login_wipe(&form);
}

/* What lies in a table and was altered is refused. */
static void
sealed(const char *text, size_t length)
{
	bytea *bytes = palloc(VARHDRSZ + length);
	char *opened;

	SET_VARSIZE(bytes, VARHDRSZ + length);
	memcpy(VARDATA(bytes), text, length);
	REQUIRE(spinpanel_unseal(FUZZ_SECRET, "about", bytes) == NULL);
	bytes = spinpanel_seal(FUZZ_SECRET, "about", text);
	REQUIRE(bytes != NULL);
	opened = spinpanel_unseal(FUZZ_SECRET, "about", bytes);
	REQUIRE(opened != NULL && strcmp(opened, text) == 0);
}

static void
credential(const char *text, size_t length)
{
	static char *path = NULL;
	SpinpanelCredential read;
	int sqlstate = 0;
	char error[512];

	if (path == NULL)
		path = MemoryContextStrdup(TopMemoryContext, file_named("fuzzed.json"));
	write_file(path, text, length);
	if (spinpanel_credential_read(path, &read, &sqlstate, error, sizeof(error)))
		REQUIRE(read.client_secret != NULL && read.client_secret[0] != '\0');
	else
		REQUIRE(sqlstate != 0 && error[0] != '\0' && read.client_secret == NULL);
	spinpanel_credential_wipe(&read);
}

/* ---- JSON --------------------------------------------------------------------- */

static const char *const members[] = {
	"id",
	"items",
	"totalCount",
	"continuationToken",
	"links.next.headers",
	"quantity",
	"status",
	"autoRenewEnabled",
	"commitmentEndDate",
	"companyProfile.domain",
	"productSku.id",
	"a",
	"a.b.c",
	"",
};

static void
json(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	int i;

	if (parsed == NULL)
		return;
	for (i = 0; i < (int) lengthof(members); i++)
	{
		JsonbContainer *root = &parsed->root;
		JsonbContainer *inner = spinpanel_json_container(root, members[i]);
		JsonbValue value;
		TimestampTz time;
		pg_uuid_t uuid;
		int64 number;
		bool boolean;
		Jsonb *taken = spinpanel_json_take(parsed, members[i]);

		REQUIRE(spinpanel_json_member(root, members[i], &value) == (taken != NULL));
		(void) spinpanel_json_text(root, members[i]);
		(void) spinpanel_json_int(root, members[i], &number);
		(void) spinpanel_json_bool(root, members[i], &boolean);
		(void) spinpanel_json_uuid(root, members[i], &uuid);
		(void) spinpanel_json_time(root, members[i], &time);
		if (inner != NULL)
			(void) spinpanel_json_next_page(inner);
		if (JB_ROOT_IS_OBJECT(parsed) && strchr(members[i], '.') == NULL)
		{
			Jsonb *without = spinpanel_json_with(parsed, members[i], NULL);
			Jsonb *with = spinpanel_json_with(parsed, members[i], without);
			Jsonb *again = spinpanel_json_take(with, members[i]);

			REQUIRE(again != NULL && compareJsonbContainers(&again->root, &without->root) == 0);
		}
	}
	(void) spinpanel_json_next_page(&parsed->root);
	/* It goes into a table, and comes out as text. */
	(void) JsonbToCString(NULL, &parsed->root, VARSIZE(parsed));
}

static void
wanted(const char *text, size_t length)
{
	static const char *const wishes[] = {
		"{\"quantity\": 7}",
		"{\"status\": \"suspended\"}",
		"{\"autoRenewEnabled\": true, \"scheduledActions\": null}",
		"{\"scheduledNextTermInstructions\": {\"quantity\": 5}}",
		"{\"scheduledActions\": [{\"actionType\": \"Cancel\"}]}",
	};
	Jsonb *subscription = spinpanel_json_parse(text, length);
	NextTerm next = { 0 };
	int i;

	if (subscription == NULL || !JB_ROOT_IS_OBJECT(subscription))
		return;
	for (i = 0; i < (int) lengthof(wishes); i++)
	{
		Operation op = { 0 };
		Jsonb *body;

		op.kind = "quantity";
		op.wanted = spinpanel_json_of(wishes[i]);
		(void) spinpanel_op_wanted_stands(&op, subscription);
		body = spinpanel_op_wanted_body(&op, subscription);
		REQUIRE(body != NULL && JB_ROOT_IS_OBJECT(body));
		REQUIRE(spinpanel_op_wanted_stands(&op, body));
	}
	{
		Jsonb *schedule = spinpanel_json_take(subscription, "scheduledNextTermInstructions");

		(void) spinpanel_op_wanted_schedule(subscription, 9);
		if (schedule != NULL)
		{
			(void) spinpanel_op_wanted_same_schedule(schedule, schedule);
			(void) spinpanel_op_wanted_same_schedule(schedule, subscription);
			(void) spinpanel_op_wanted_respelled(schedule, 3);
		}
	}
	next.product = "CFQ7TTC0LCHC:0002";
	next.term_duration = "P1Y";
	next.billing_cycle = "annual";
	next.running_quantity = 5;
	spinpanel_next_term_read(&subscription->root, &next);
	REQUIRE(next.quantity >= -1 && next.quantity <= NEXT_TERM_MAX_QUANTITY);
}

static void
orders(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	Purchase purchase;
	PlacedOrder placed;
	TimestampTz since = INT64CONST(840000000000000);
	char *term;
	char *cycle;
	char *reason = NULL;
	char *code;
	char *words;
	char *offer;
	Jsonb *before;

	if (parsed == NULL)
		return;
	(void) spinpanel_purchase_of(&purchase, parsed, true);
	REQUIRE(spinpanel_purchase_of(
		&purchase,
		spinpanel_json_of(
			"{\"cartId\": \"c1\", \"catalogItemId\": \"CFQ7TTC0LCHC:0002:CFQ7TTC0X\","
			" \"quantity\": 3, \"termDuration\": \"P1Y\", \"billingCycle\": \"monthly\"}"),
		true));
	offer = spinpanel_purchase_offer(&purchase, parsed, &term, &cycle, &reason);
	REQUIRE(offer != NULL || reason != NULL);
	if (offer != NULL)
	{
		(void) spinpanel_purchase_cart_base(offer, term, cycle);
		(void) spinpanel_purchase_cart_body(&purchase, offer, term, cycle);
	}
	(void) spinpanel_purchase_is_cart(&purchase, purchase.item, "P1Y", &parsed->root, &code,
									  &words);
	(void) spinpanel_purchase_cart_state(parsed, since);
	before = spinpanel_purchase_orders_before(&purchase, parsed, since);
	REQUIRE(before != NULL);
	spinpanel_purchase_find(&purchase, before, since, parsed, parsed, parsed, &placed);
	/* None of those that were there before is taken for ours. */
	spinpanel_purchase_find(&purchase, before, since, parsed, NULL, NULL, &placed);
	REQUIRE(placed.order_id == NULL);
	(void) memset(&placed, 0, sizeof(placed));
	spinpanel_purchase_take(&purchase, &parsed->root, &placed);
	if (placed.order_id != NULL)
		(void) spinpanel_purchase_encoded(placed.order_id);
}

/* ---- tables ------------------------------------------------------------------- */

static void
plan(void)
{
	TimestampTz now = GetCurrentTimestamp();
	SpinpanelPools *pools = spinpanel_plan_input_load(&customer_id, now, now, 0);

	REQUIRE(pools != NULL);
}

static void
customers(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	int64 received = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (parsed == NULL)
		return;
	if (spinpanel_mirror_customers_page(ACCOUNT, &parsed->root, now, &received) &&
		spinpanel_mirror_all_there(&parsed->root, received, true))
		spinpanel_mirror_customers_complete(ACCOUNT, now);
}

static void
subscriptions(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	unsigned char digest[16] = { 0 };

	if (parsed == NULL)
		return;
	(void) spinpanel_mirror_only_short(&parsed->root);
	if (spinpanel_mirror_subscriptions(ACCOUNT, &customer_id, parsed, digest,
									   GetCurrentTimestamp()))
		plan();
	spinpanel_mirror_subscription(ACCOUNT, &customer_id, parsed, GetCurrentTimestamp());
	plan();
}

static void
skus(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	unsigned char digest[16] = { 0 };

	if (parsed == NULL)
		return;
	if (spinpanel_mirror_subscribed_skus(ACCOUNT, &customer_id, parsed, digest,
										 GetCurrentTimestamp()))
		plan();
}

static void
users(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	int64 received = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (parsed == NULL)
		return;
	if (spinpanel_mirror_users_page(ACCOUNT, &customer_id, &parsed->root, now, &received))
		spinpanel_mirror_users_complete(ACCOUNT, &customer_id, now);
	(void) spinpanel_mirror_user(&customer_id, parsed, now);
}

static void
licenses(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	TimestampTz now = GetCurrentTimestamp();

	if (parsed == NULL)
		return;
	if (spinpanel_mirror_user_licenses(&customer_id, &user_id, parsed, now))
		spinpanel_mirror_licenses_complete(ACCOUNT, &customer_id, now);
}

static void
audit(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);

	if (parsed != NULL)
		(void) spinpanel_mirror_audit_page(ACCOUNT, &parsed->root);
}

static void
offers(const char *text, size_t length)
{
	Jsonb *parsed = spinpanel_json_parse(text, length);
	UnmappedOffer offer = { 0 };
	int i;

	strlcpy(offer.offer_key, "CFQ7TTC0LCHC:0002", sizeof(offer.offer_key));
	offer.customer_id = customer_id;
	offer.subscription_id = user_id;
	strlcpy(offer.country, "DE", sizeof(offer.country));
	if (parsed == NULL)
		return;
	for (i = 0; i < 8; i++)
	{
		offer.legacy = (i & 1) != 0;
		offer.by_status = (i & 2) != 0;
		offer.limits_only = (i & 4) != 0;
		(void) spinpanel_offers_path(&offer);
		spinpanel_offers_answered(&offer, parsed, NULL);
	}
}

/* ---- the driver ------------------------------------------------------------------ */

typedef struct Target
{
	const char *name;
	void (*run)(const char *text, size_t length);
	bool tables; /* in a transaction that is rolled back */
} Target;

static const Target targets[] = {
	{ "time", time_text, false },
	{ "address", address, false },
	{ "sign_in", sign_in, false },
	{ "sealed", sealed, false },
	{ "credential", credential, false },
	{ "headers", spinpanel_fuzz_headers, false },
	{ "error", spinpanel_fuzz_error, false },
	{ "token", spinpanel_fuzz_token, false },
	{ "json", json, false },
	{ "wanted", wanted, false },
	{ "orders", orders, false },
	{ "customers", customers, true },
	{ "subscriptions", subscriptions, true },
	{ "skus", skus, true },
	{ "users", users, true },
	{ "licenses", licenses, true },
	{ "audit", audit, true },
	{ "offers", offers, true },
};

static const Target *target = NULL;
static MemoryContext scratch = NULL;

static int
one_input(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	ResourceOwner owner = CurrentResourceOwner;

	memcpy(text, data, size);
	text[size] = '\0';
	MemoryContextSwitchTo(scratch);
	if (target->tables)
	{
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(scratch);
		if (SPI_connect() != SPI_OK_CONNECT)
			spinpanel_fuzz_objection("SPI_connect", __FILE__, __LINE__);
	}
	PG_TRY();
	{
		target->run(text, size);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		spinpanel_fuzz_objection("a reader must not throw", target->name, 0);
	}
	PG_END_TRY();
	if (target->tables)
	{
		SPI_finish();
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = owner;
	}
	MemoryContextSwitchTo(TopTransactionContext);
	MemoryContextReset(scratch);
	free(text);
	return 0;
}

/*
 * Half of the time libFuzzer changes bytes.  Else a value of the JSON becomes
 * another one, or a part of it is doubled or left out, so that what comes of it
 * still is JSON.
 */
static const char *const values[] = {
	"null",
	"true",
	"false",
	"0",
	"-1",
	"1",
	"1.0",
	"2147483647",
	"2147483648",
	"-2147483649",
	"1000000000",
	"1000000001",
	"9223372036854775807",
	"9223372036854775808",
	"1e400",
	"-1e-400",
	"0.5",
	"\"\"",
	"\" \"",
	"\"\\u0000\"",
	"\"\\ud83d\"",
	"\"0\"",
	"\"7\"",
	"{}",
	"[]",
	"[[]]",
	"[null]",
	"[{}]",
	"{\"id\":1}",
	"\"0001-01-01T00:00:00Z\"",
	"\"9999-12-31T23:59:59.9999999Z\"",
	"\"2024-02-29\"",
	"\"2026-05-01T00:00:00Z\"",
	"\"active\"",
	"\"deleted\"",
	"\"none\"",
	"\"00000000-0000-0000-0000-000000000000\"",
	"\"6eed73ce-6c0a-4c9d-93a1-0123456789ab\"",
	"\"CFQ7TTC0LCHC:0002:CFQ7TTC0X\"",
	"\"P1Y\"",
	"\"monthly\"",
	"\"\xc3\xa4\xf0\x9f\x98\x80\"",
};

/* The end of the value that begins at text. */
static size_t
value_end(const uint8_t *text, size_t at, size_t size)
{
	int depth = 0;

	for (; at < size; at++)
	{
		if (text[at] == '"')
		{
			for (at++; at < size && text[at] != '"'; at++)
				if (text[at] == '\\')
					at++;
		}
		else if (text[at] == '{' || text[at] == '[')
			depth++;
		else if (text[at] == '}' || text[at] == ']')
		{
			if (depth-- == 0)
				return at;
		}
		else if (text[at] == ',' && depth == 0)
			return at;
	}
	return size;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size_t starts[256];
	size_t count = 0;
	size_t at;
	size_t begin;
	size_t end;
	size_t length;
	uint8_t *piece;

	if (seed % 2 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	seed /= 2;
	for (at = 0; at < size && count < lengthof(starts); at++)
		if (data[at] == ':' || data[at] == '[' || (data[at] == ',' && at % 3 == 0))
			starts[count++] = at + 1;
	if (count == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	begin = starts[seed % count];
	end = Min(value_end(data, begin, size), size);
	seed /= count;
	if (seed % 8 < 5)
	{
		const char *value = values[(seed / 8) % lengthof(values)];

		length = strlen(value);
		if (size - (end - begin) + length > max_size)
			return size;
		memmove(data + begin + length, data + end, size - end);
		memcpy(data + begin, value, length);
		return size - (end - begin) + length;
	}
	if (seed % 8 < 7)
	{
		/* Once more, behind a comma */
		length = end - begin;
		if (size + length + 1 > max_size)
			return size;
		piece = malloc(length + 1);
		memcpy(piece, data + begin, length);
		memmove(data + end + length + 1, data + end, size - end);
		data[end] = ',';
		memcpy(data + end + 1, piece, length);
		free(piece);
		return size + length + 1;
	}
	memmove(data + begin, data + end, size - end);
	return size - (end - begin);
}

PG_FUNCTION_INFO_V1(spinpanel_fuzz);

/* fuzz(target, arguments of libFuzzer): ends the process. */
Datum
spinpanel_fuzz(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum *given;
	int count;
	int argc = 0;
	char **argv;
	int i;

	for (i = 0; i < (int) lengthof(targets); i++)
		if (strcmp(targets[i].name, name) == 0)
			target = &targets[i];
	if (target == NULL)
		elog(ERROR, "no target \"%s\"", name);
	if (!spinpanel_parse_uuid("11111111-1111-1111-1111-111111111111", &customer_id) ||
		!spinpanel_parse_uuid("22222222-2222-2222-2222-222222222222", &user_id))
		elog(ERROR, "no ids");
	(void) spinpanel_fuzz_file();

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &given, NULL,
					  &count);
	argv = MemoryContextAlloc(TopMemoryContext, sizeof(char *) * (count + 2));
	argv[argc++] = "fuzz";
	for (i = 0; i < count; i++)
		argv[argc++] = MemoryContextStrdup(TopMemoryContext, TextDatumGetCString(given[i]));
	argv[argc] = NULL;
	scratch = AllocSetContextCreate(TopMemoryContext, "fuzz", ALLOCSET_DEFAULT_SIZES);
	HOLD_INTERRUPTS();
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, one_input));
}
