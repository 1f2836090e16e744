/*
 * reads.c
 *
 * See reads.h.  Owns no tables and judges no answer.
 */
#include "postgres.h"

#include "clock.h"
#include "common/hashfn.h"
#include "reads.h"
#include "utils/memutils.h"

typedef struct Asked
{
	Reads	   *reads;
	int			index;
} Asked;

void
spinpanel_reads_start(Reads *reads, MemoryContext context,
					  PartnerAccount *account, PartnerPriority priority,
					  void (*done) (void *arg), void *arg)
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
	int			i;

	Assert(reads->pending == 0);
	for (i = 0; i < reads->count; i++)
	{
		if (reads->answers[i].json)
			pfree(reads->answers[i].json);
		if (reads->answers[i].continuation_token)
			pfree(reads->answers[i].continuation_token);
	}
	memset(reads->answers, 0, sizeof(reads->answers));
	reads->count = 0;
}

static void
answered(void *arg, const PartnerAnswer *answer)
{
	Asked	   *asked = arg;
	Reads	   *reads = asked->reads;
	ReadAnswer *mine = &reads->answers[asked->index];

	mine->outcome = answer->outcome;
	mine->http_status = answer->http_status;
	strlcpy(mine->error_code, answer->error_code, sizeof(mine->error_code));
	strlcpy(mine->error, answer->error, sizeof(mine->error));
	mine->retry_after = answer->retry_after;
	if (answer->json != NULL && answer->outcome == PARTNER_OK)
	{
		uint64		half[2];

		mine->json = memcpy(MemoryContextAllocHuge(reads->context, VARSIZE(answer->json)),
							answer->json, VARSIZE(answer->json));
		half[0] = hash_bytes_extended((const unsigned char *) answer->body,
									  (int) answer->body_length, 0);
		half[1] = hash_bytes_extended((const unsigned char *) answer->body,
									  (int) answer->body_length, 0x5350494e50414e45);
		memcpy(mine->digest, half, sizeof(mine->digest));
	}
	if (answer->continuation_token)
		mine->continuation_token = MemoryContextStrdup(reads->context,
													   answer->continuation_token);
	pfree(asked);

	/* The callee may free the reads with everything around them. */
	if (--reads->pending == 0)
		reads->done(reads->arg);
}

int
spinpanel_reads_ask(Reads *reads, const char *path,
					const char *continuation_token)
{
	PartnerCall call;
	Asked	   *asked;

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
	call.priority = reads->priority;
	call.done = answered;
	call.arg = asked;
	spinpanel_partner_call(reads->account, &call);
	return asked->index;
}
