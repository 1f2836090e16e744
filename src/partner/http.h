/*
 * http.h
 *
 * HTTP for the worker process.  http.c is the only file that knows libcurl,
 * and the worker is the only process that may call it: never the postmaster,
 * never an ordinary backend.  It knows nothing of Partner Center, tokens or
 * tables.
 */
#ifndef SPINPANEL_HTTP_H
#define SPINPANEL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum SpinpanelHttpOutcome
{
	SPINPANEL_HTTP_ANSWERED, /* a whole answer, whatever its status */
	SPINPANEL_HTTP_NOT_SENT, /* surely never reached the server */
	SPINPANEL_HTTP_UNKNOWN /* may have been received and carried out */
} SpinpanelHttpOutcome;

typedef struct SpinpanelHttpAnswer
{
	SpinpanelHttpOutcome outcome;
	int status; /* HTTP status; 0 where none came */
	const char *body; /* NUL-terminated, valid during the callback */
	size_t body_length;
	long retry_after; /* seconds, at most an hour; -1 = none */
	const char *location; /* NULL = none */
	const char *continuation_token; /* MS-ContinuationToken header; NULL */
	const char *error; /* in words, without secrets; "" = none */
	bool timed_out; /* no answer for too long (else: broken off) */
} SpinpanelHttpAnswer;

typedef void (*SpinpanelHttpDone)(void *arg, const SpinpanelHttpAnswer *answer);

typedef struct SpinpanelHttpRequest
{
	const char *method; /* GET, POST, PATCH, PUT, DELETE */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated */
	const char *body; /* NULL = none; copied */
	size_t body_length;
	long timeout_ms;
	size_t body_limit; /* larger answers are an error */
	const char *ca_file; /* NULL = the system's trust store */
	SpinpanelHttpDone done; /* called from spinpanel_http_work() only; may
								 * throw */
	void *arg;
} SpinpanelHttpRequest;

/* Once in the worker, after it has connected to its database. */
extern void spinpanel_http_start(void);

/*
 * Everything is copied.  False: out of memory, done() will not be called.  An
 * address that must not be called is answered NOT_SENT, later, as any other.
 * A request leaves this process once at most: where libcurl would send it
 * again, the outcome is UNKNOWN instead.
 */
extern bool spinpanel_http_submit(const SpinpanelHttpRequest *request);

/* The one descriptor to wait on for readability beside the latch, and for how
 * long at most (milliseconds; -1 = nothing to wait for). */
extern int spinpanel_http_descriptor(void);
extern long spinpanel_http_timeout(void);

/*
 * Moves all transfers on and calls done() of those that ended.  When a done()
 * throws, the rest is delivered by the next call, which spinpanel_http_timeout
 * then says is due.  Must not be called from a done().
 */
extern void spinpanel_http_work(void);

/* Transfers under way. */
extern int spinpanel_http_active(void);

#endif /* SPINPANEL_HTTP_H */
