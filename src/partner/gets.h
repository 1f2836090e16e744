/*
 * gets.h
 *
 * A few GETs of one account side by side, and one call when all have ended.
 */
#ifndef SPINPANEL_GETS_H
#define SPINPANEL_GETS_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "partner/partner.h"

#define READS_MAX 16

typedef struct ReadAnswer
{
	PartnerOutcome outcome;
	int http_status;
	char error_code[32];
	char error[512];
	long retry_after;
	Jsonb *json; /* body, in the reads' context; NULL = none */
	bool unchanged; /* the body is the known one; json is NULL */
	unsigned char digest[PARTNER_DIGEST]; /* of the body as it came */
	TimestampTz started_at; /* before it was sent, in the extension's clock */
} ReadAnswer;

typedef struct Reads
{
	MemoryContext context;
	PartnerAccount *account;
	PartnerPriority priority;
	void (*done)(void *arg);
	void *arg;
	int count;
	int pending;
	ReadAnswer answers[READS_MAX];
	int64 sent; /* requests asked for so far */
} Reads;

/*
 * Pages of a list, as they come.  A list in which a token comes a second time,
 * or that has more pages than any list can have, never ends.
 */
typedef struct Pages
{
	int count;
	uint64 *seen; /* of the tokens so far, a hash each */
	int size;
} Pages;

#define SPINPANEL_PAGES_ENDLESS "the pages of the list never end"

/* False: it does not end.  token NULL: it was the last page. */
extern bool spinpanel_pages_go_on(Pages *pages, const char *token, MemoryContext context);

extern void spinpanel_reads_start(Reads *reads, MemoryContext context, PartnerAccount *account,
								  PartnerPriority priority, void (*done)(void *arg), void *arg);
/* Forgets earlier answers, to ask anew. */
extern void spinpanel_reads_again(Reads *reads);
/* Index of the answer.  The path is copied. */
extern int spinpanel_reads_ask(Reads *reads, const char *path, const char *continuation_token);
/* The same where a body is known by its digest (NULL = none): a body that has
 * not changed is not parsed. */
extern int spinpanel_reads_ask_known(Reads *reads, const char *path,
									 const unsigned char *known_digest);

#endif /* SPINPANEL_GETS_H */
