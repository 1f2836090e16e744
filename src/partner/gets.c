/*
 * gets.c
 *
 * See gets.h.  Owns no tables and judges no answer.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "partner/gets.h"

/* Ten million customers, 500 a page. */
#define PAGES_MAX 20000

typedef struct Asked
{
	Reads *reads;
	int index;
} Asked;

bool
spinpanel_pages_go_on(Pages *pages, const char *token, MemoryContext context)
{
	uint64 hash;
	int i;

	if (token == NULL)
		return true;
	if (pages->count >= PAGES_MAX)
		return false;
	hash = hash_bytes_extended((const unsigned char *) token, (int) strlen(token), 0);
	for (i = 0; i < pages->count; i++)
		if (pages->seen[i] == hash)
			return false;
	if (pages->count == pages->size)
	{
		int size = Max(16, pages->size * 2);

		pages->seen = pages->size == 0 ? MemoryContextAlloc(context, sizeof(uint64) * size)
									   : repalloc(pages->seen, sizeof(uint64) * size);
		pages->size = size;
	}
	pages->seen[pages->count++] = hash;
	return true;
}

void
spinpanel_reads_start(Reads *reads, MemoryContext context, PartnerAccount *account,
					  PartnerPriority priority, void (*done)(void *arg), void *arg)
{
	memset(reads, 0, sizeof(*reads));
	reads->context = context;
	reads->account = account;
	reads->priority = priority;
	reads->done = done;
	reads->arg = arg;
}

void
spinpanel_reads_again(Reads *reads)
{
	int i;

	Assert(reads->pending == 0);
	for (i = 0; i < reads->count; i++)
	{
		if (reads->answers[i].json)
			pfree(reads->answers[i].json);
	}
	memset(reads->answers, 0, sizeof(reads->answers));
	reads->count = 0;
}

static void
answered(void *arg, const PartnerAnswer *answer)
{
	Asked *asked = arg;
	Reads *reads = asked->reads;
	ReadAnswer *mine = &reads->answers[asked->index];

	mine->outcome = answer->outcome;
	mine->http_status = answer->http_status;
	strlcpy(mine->error_code, answer->error_code, sizeof(mine->error_code));
	strlcpy(mine->error, answer->error, sizeof(mine->error));
	mine->retry_after = answer->retry_after;
	mine->unchanged = answer->unchanged;
	memcpy(mine->digest, answer->digest, sizeof(mine->digest));
	if (answer->json != NULL && answer->outcome == PARTNER_OK)
		mine->json = memcpy(MemoryContextAllocHuge(reads->context, VARSIZE(answer->json)),
							answer->json, VARSIZE(answer->json));
	pfree(asked);

	/* The callee may free the reads with everything around them. */
	if (--reads->pending == 0)
		reads->done(reads->arg);
}

static int
ask(Reads *reads, const char *path, const char *continuation_token,
	const unsigned char *known_digest)
{
	PartnerCall call;
	Asked *asked;

	if (reads->count >= READS_MAX)
		elog(ERROR, "too many reads at once");
	asked = MemoryContextAlloc(reads->context, sizeof(Asked));
	asked->reads = reads;
	asked->index = reads->count++;
	reads->answers[asked->index].started_at = spinpanel_now();
	reads->pending++;
	reads->sent++;

	memset(&call, 0, sizeof(call));
	call.method = "GET";
	call.path = path;
	call.continuation_token = continuation_token;
	call.known_digest = known_digest;
	call.priority = reads->priority;
	call.done = answered;
	call.arg = asked;
	spinpanel_partner_call(reads->account, &call);
	return asked->index;
}

int
spinpanel_reads_ask(Reads *reads, const char *path, const char *continuation_token)
{
	return ask(reads, path, continuation_token, NULL);
}

int
spinpanel_reads_ask_known(Reads *reads, const char *path, const unsigned char *known_digest)
{
	return ask(reads, path, NULL, known_digest);
}
