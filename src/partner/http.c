/*
 * http.c
 *
 * HTTP for the worker process: one libcurl multi handle for the worker's life,
 * driven by an epoll descriptor of our own that the worker waits on beside its
 * latch.
 *
 *		submit -> multi handle --(socket callback)--> epoll descriptor
 *		                       --(timer callback)---> deadline
 *		work:  epoll_wait(0) -> curl_multi_socket_action -> done()
 *
 * This is the only file that knows libcurl.  It must never run in the
 * postmaster or in an ordinary backend, throw or palloc inside a libcurl
 * callback, log or return a header, a body or a query string in an error text,
 * switch on libcurl's verbose output, follow a redirection, or clean libcurl up
 * at exit (removing a transfer may wait for a name server; the kernel closes
 * the sockets).
 *
 * Threads: Debian's libcurl resolves names on a thread of its own, and a new
 * thread inherits the signal mask.  PostgreSQL's handlers must run on the main
 * thread only, so every call that may start one runs with all signals blocked.
 *
 * Proxies: only the one that spinpanel.proxy names, and never for loopback
 * hosts.  What the server's environment says of proxies is ignored: it would
 * decide whom we talk to.  TLS is end to end through a proxy.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "storage/fd.h"

#include "base/address.h"
#include "base/settings.h"
#include "base/wake.h"
#include "partner/http.h"

#if LIBCURL_VERSION_NUM < 0x075500
#error "libcurl 7.85 or newer is needed"
#endif

#ifndef SPINPANEL_VERSION
#define SPINPANEL_VERSION "1.0"
#endif

#define USER_AGENT "spinpanel/" SPINPANEL_VERSION

#define CONNECT_TIMEOUT_MS 10000L
/* A transfer that moves less than a byte a second for this long is dead. */
#define LOW_SPEED_SECONDS 60L
#define RETRY_AFTER_MAX 3600L
#define HEADER_BYTES_MAX (256 * 1024)
#define HEADER_VALUE_MAX (16 * 1024)
#define BODY_FIRST_SIZE 4096
/* A free transfer keeps an answer buffer up to this size. */
#define BODY_KEPT_SIZE (256 * 1024)
#define FREE_TRANSFERS_MAX 64

/*
 * How long a kept connection may have been idle.  Changes use fresh ones: a
 * connection that died unseen costs a read a repetition, but a change a look
 * whether it was carried out.
 */
#define IDLE_SECONDS_READ 90L
#define IDLE_SECONDS_CHANGE 15L

/*
 * Data that the other side has not acknowledged for so long ends a connection:
 * a firewall forgot it, or the host is gone.
 */
#define UNACKNOWLEDGED_MS 45000
#define KEEPALIVE_IDLE_S 30L
#define KEEPALIVE_INTERVAL_S 15L

/* Trouble this long ago has no influence on which connections are used. */
#define TROUBLE_FORGOTTEN_MS (60 * 60 * 1000)

typedef struct Transfer
{
	CURL *easy;
	struct curl_slist *headers;
	char *body;
	size_t body_length;
	bool is_get;
	int attempts; /* times that libcurl was about to send it */
	long timeout_ms;

	char *answer; /* malloc'd, NUL-terminated */
	size_t answer_length;
	size_t answer_size;
	size_t answer_limit;
	size_t header_bytes;
	long retry_after;
	char *location; /* malloc'd */
	char *continuation_token; /* malloc'd */
	const char *problem; /* why a callback of ours gave up */
	char curl_error[CURL_ERROR_SIZE];

	SpinpanelHttpDone done;
	void *arg;
	struct Transfer *next; /* in refused or free_transfers */
} Transfer;

static CURLM *multi = NULL;
static int epoll_descriptor = -1;
static int64 deadline = -1; /* monotonic ms; -1 = none */
static int active = 0;
static bool undelivered = false; /* a done() threw with more to deliver */
static bool delivering = false;
static int64 trouble_at = 0; /* monotonic ms; see distrust_connections() */
static int64 alone_until = 0;
static bool multiplexing = true;
static Transfer *refused = NULL; /* to be answered without being sent */
static Transfer *free_transfers = NULL;
static int free_count = 0;

static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -------------------------------------------------------------------------
 * libcurl calls that may start (or join) a thread, with signals blocked
 * ------------------------------------------------------------------------- */

static void
block_signals(sigset_t *saved)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

static void
unblock_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

static void
multi_action(curl_socket_t fd, int what)
{
	sigset_t saved;
	int running;

	block_signals(&saved);
	curl_multi_socket_action(multi, fd, what, &running);
	unblock_signals(&saved);
}

static bool
multi_add(CURL *easy)
{
	sigset_t saved;
	CURLMcode rc;

	block_signals(&saved);
	rc = curl_multi_add_handle(multi, easy);
	unblock_signals(&saved);
	return rc == CURLM_OK;
}

static void
multi_remove(CURL *easy)
{
	sigset_t saved;

	block_signals(&saved);
	curl_multi_remove_handle(multi, easy);
	unblock_signals(&saved);
}

/* -------------------------------------------------------------------------
 * Callbacks.  They run inside libcurl: no longjmp, no palloc, malloc with caps.
 * ------------------------------------------------------------------------- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = { 0 };

	if (what == CURL_POLL_REMOVE)
	{
		/* May be closed already, and then the kernel has forgotten it. */
		epoll_ctl(epoll_descriptor, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;
	if (epoll_ctl(epoll_descriptor, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
	{
		/* The number was closed and given out again between two calls. */
		if (errno == EEXIST)
			epoll_ctl(epoll_descriptor, EPOLL_CTL_MOD, fd, &event);
		else if (errno == ENOENT)
			epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, fd, &event);
	}
	if (!known)
		curl_multi_assign(multi, fd, &epoll_descriptor);
	return 0;
}

static int
on_timer(CURLM *handle, long timeout_ms, void *arg)
{
	deadline = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
	return 0;
}

/*
 * libcurl opens its sockets on the main thread, so the server's count of
 * foreign descriptors can be kept here; AcquireExternalFD does not throw.
 */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	curl_socket_t fd;

	if (!AcquireExternalFD())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd == CURL_SOCKET_BAD)
	{
		ReleaseExternalFD();
		return fd;
	}
#ifdef TCP_USER_TIMEOUT
	if (address->family == AF_INET || address->family == AF_INET6)
	{
		unsigned int limit = UNACKNOWLEDGED_MS;

		/* Without it there are other time-outs, only longer ones. */
		(void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit));
	}
#endif
	return fd;
}

static int
on_close_socket(void *arg, curl_socket_t fd)
{
	ReleaseExternalFD();
	return close(fd);
}

/*
 * Called by libcurl whenever a connection stands and the request is about to be
 * written.  Two uses: as long as it was not called no byte of the request has
 * left us, which is what NOT_SENT means; and it is where libcurl's own
 * repetition of a request over a new connection is stopped.  libcurl repeats
 * (up to six times) when a kept connection ends without an answer, for POST
 * and PATCH too, and the server may have carried out the first.  Repeating a
 * GET is the caller's business, who counts requests.
 */
static int
on_about_to_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	Transfer *transfer = arg;

	if (transfer->attempts > 0)
	{
		transfer->problem = "the connection ended before an answer came";
		return CURL_PREREQFUNC_ABORT;
	}
	transfer->attempts++;
	return CURL_PREREQFUNC_OK;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	Transfer *transfer = arg;
	size_t length = size * count;
	size_t needed;

	if (length > transfer->answer_limit ||
		transfer->answer_length > transfer->answer_limit - length)
	{
		transfer->problem = "the answer is larger than allowed";
		return CURL_WRITEFUNC_ERROR;
	}
	needed = transfer->answer_length + length + 1;
	if (needed > transfer->answer_size)
	{
		size_t new_size = transfer->answer_size * 2;
		char *larger;

		if (new_size < BODY_FIRST_SIZE)
			new_size = BODY_FIRST_SIZE;
		while (new_size < needed)
			new_size *= 2;
		/* Not realloc: the old copy may hold a token and must be wiped. */
		larger = malloc(new_size);
		if (larger == NULL)
		{
			transfer->problem = "out of memory for the answer";
			return CURL_WRITEFUNC_ERROR;
		}
		if (transfer->answer != NULL)
		{
			memcpy(larger, transfer->answer, transfer->answer_length);
			explicit_bzero(transfer->answer, transfer->answer_length);
			free(transfer->answer);
		}
		transfer->answer = larger;
		transfer->answer_size = new_size;
	}
	memcpy(transfer->answer + transfer->answer_length, data, length);
	transfer->answer_length += length;
	transfer->answer[transfer->answer_length] = '\0';
	return length;
}

/* The value of a header line if it is the named one, trimmed; else NULL. */
static const char *
header_value(const char *line, size_t length, const char *name, size_t *value_length)
{
	size_t name_length = strlen(name);

	if (length <= name_length || line[name_length] != ':' ||
		strncasecmp(line, name, name_length) != 0)
		return NULL;
	line += name_length + 1;
	length -= name_length + 1;
	while (length > 0 && (*line == ' ' || *line == '\t'))
		line++, length--;
	while (length > 0 && strchr(" \t\r\n", line[length - 1]) != NULL)
		length--;
	if (length == 0 || length > HEADER_VALUE_MAX || memchr(line, '\0', length) != NULL)
		return NULL;
	*value_length = length;
	return line;
}

static void
keep_value(char **place, const char *value, size_t length)
{
	free(*place);
	*place = strndup(value, length); /* NULL = as if it had not come */
}

/* Seconds, or a date of HTTP; -1 = neither. */
static long
retry_after_of(const char *value, size_t length)
{
	char text[64];
	char *end;
	long seconds;

	if (length >= sizeof(text))
		return -1;
	memcpy(text, value, length);
	text[length] = '\0';
	if (text[0] >= '0' && text[0] <= '9')
	{
		errno = 0;
		seconds = strtol(text, &end, 10);
		if (errno == ERANGE)
			seconds = RETRY_AFTER_MAX;
		/* Some gateways send "1.5". */
		else if (*end == '.')
			seconds++;
	}
	else
	{
		time_t when = curl_getdate(text, NULL);

		if (when == (time_t) -1)
			return -1;
		seconds = (long) (when - time(NULL));
	}
	if (seconds < 0)
		seconds = 0;
	return seconds > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : seconds;
}

static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
	Transfer *transfer = arg;
	size_t length = size * count;
	const char *value;
	size_t value_length;

	transfer->header_bytes += length;
	if (transfer->header_bytes > HEADER_BYTES_MAX)
	{
		transfer->problem = "the answer's headers are larger than allowed";
		return CURL_WRITEFUNC_ERROR;
	}

	if (length > 5 && strncmp(line, "HTTP/", 5) == 0)
	{
		/* Another status line (after a 100 or 103): forget what came before. */
		transfer->retry_after = -1;
		free(transfer->location);
		transfer->location = NULL;
		free(transfer->continuation_token);
		transfer->continuation_token = NULL;
	}
	else if ((value = header_value(line, length, "Retry-After", &value_length)) != NULL)
		transfer->retry_after = retry_after_of(value, value_length);
	else if ((value = header_value(line, length, "Location", &value_length)) != NULL)
		keep_value(&transfer->location, value, value_length);
	else if ((value = header_value(line, length, "MS-ContinuationToken", &value_length)) != NULL)
		keep_value(&transfer->continuation_token, value, value_length);
	return length;
}

/* -------------------------------------------------------------------------
 * Transfers
 * ------------------------------------------------------------------------- */

static Transfer *
transfer_new(void)
{
	Transfer *transfer = free_transfers;

	if (transfer != NULL)
	{
		free_transfers = transfer->next;
		free_count--;
		transfer->next = NULL;
		return transfer;
	}
	transfer = calloc(1, sizeof(Transfer));
	if (transfer == NULL)
		return NULL;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
	{
		free(transfer);
		return NULL;
	}
	return transfer;
}

/* Wipes everything and keeps the handle for the next request. */
static void
transfer_release(Transfer *transfer)
{
	struct curl_slist *header;

	/* Before what it points to goes away. */
	curl_easy_reset(transfer->easy);

	for (header = transfer->headers; header != NULL; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->body != NULL)
	{
		explicit_bzero(transfer->body, transfer->body_length);
		free(transfer->body);
		transfer->body = NULL;
	}
	if (transfer->answer != NULL)
	{
		explicit_bzero(transfer->answer, transfer->answer_length);
		if (transfer->answer_size > BODY_KEPT_SIZE)
		{
			free(transfer->answer);
			transfer->answer = NULL;
			transfer->answer_size = 0;
		}
	}
	free(transfer->location);
	transfer->location = NULL;
	free(transfer->continuation_token);
	transfer->continuation_token = NULL;
	transfer->body_length = transfer->answer_length = 0;
	transfer->header_bytes = 0;
	transfer->attempts = 0;
	transfer->problem = NULL;

	if (free_count >= FREE_TRANSFERS_MAX)
	{
		free(transfer->answer);
		curl_easy_cleanup(transfer->easy);
		free(transfer);
		return;
	}
	transfer->next = free_transfers;
	free_transfers = transfer;
	free_count++;
}

static bool
add_header(Transfer *transfer, const char *header)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, header);

	if (longer == NULL)
		return false;
	transfer->headers = longer;
	return true;
}

/*
 * After a request that was sent and got no answer the kept connections are not
 * trusted: libcurl goes on using a HTTP/2 connection on which every stream
 * fails or nothing comes any more.  So idle ones that are older than the
 * trouble are not used again, and as long as requests from before it may be
 * under way no new one joins a connection in use.
 */
static void
distrust_connections(int64 now_ms, long timeout_ms)
{
	trouble_at = now_ms;
	alone_until = Max(alone_until, now_ms + timeout_ms);
}

static void
choose_multiplexing(int64 now_ms)
{
	bool wanted = now_ms >= alone_until;

	if (wanted == multiplexing)
		return;
	multiplexing = wanted;
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, wanted ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
}

/* Sets every option; false = out of memory or a libcurl that lacks one. */
static bool
transfer_prepare(Transfer *transfer, const SpinpanelHttpRequest *request,
				 const SpinpanelAddress *address)
{
	CURL *easy = transfer->easy;
	const char *const *header;
	int64 now_ms = monotonic_ms();
	bool has_content_type = false;
	bool ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

	for (header = request->headers; header != NULL && *header != NULL; header++)
	{
		if (!add_header(transfer, *header))
			return false;
		if (strncasecmp(*header, "Content-Type:", 13) == 0)
			has_content_type = true;
	}

	transfer->is_get = strcmp(request->method, "GET") == 0;
	transfer->retry_after = -1;
	transfer->timeout_ms = request->timeout_ms;
	transfer->answer_limit = request->body_limit;
	transfer->done = request->done;
	transfer->arg = request->arg;
	transfer->curl_error[0] = '\0';

	if (!transfer->is_get)
	{
		transfer->body = malloc(request->body_length + 1);
		if (transfer->body == NULL)
			return false;
		if (request->body_length > 0)
			memcpy(transfer->body, request->body, request->body_length);
		transfer->body[request->body_length] = '\0';
		transfer->body_length = request->body_length;

		/*
		 * No "Expect: 100-continue": libcurl sends the request once more after
		 * a 417, and waits a second for servers that do not know it.  And no
		 * form content type by default.
		 */
		if (!add_header(transfer, "Expect:") ||
			(!has_content_type && !add_header(transfer, "Content-Type:")))
			return false;
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDS, transfer->body);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) transfer->body_length);
		if (strcmp(request->method, "POST") != 0)
			SET(CURLOPT_CUSTOMREQUEST, request->method);
	}
	else
		SET(CURLOPT_HTTPGET, 1L);

	SET(CURLOPT_URL, request->url);
	SET(CURLOPT_HTTPHEADER, transfer->headers);
	SET(CURLOPT_USERAGENT, USER_AGENT);
	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->curl_error);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_PREREQFUNCTION, on_about_to_send);
	SET(CURLOPT_PREREQDATA, transfer);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, address->https ? "https" : "http");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_ACCEPT_ENCODING, "gzip");
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	SET(CURLOPT_MAXAGE_CONN, transfer->is_get ? IDLE_SECONDS_READ : IDLE_SECONDS_CHANGE);

	if (trouble_at > 0 && now_ms - trouble_at < TROUBLE_FORGOTTEN_MS)
		SET(CURLOPT_MAXLIFETIME_CONN, Max(1L, (long) ((now_ms - trouble_at) / 1000)));

	SET(CURLOPT_TIMEOUT_MS, request->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, Min(request->timeout_ms, CONNECT_TIMEOUT_MS));
	SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
	SET(CURLOPT_LOW_SPEED_TIME, LOW_SPEED_SECONDS);

	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (request->ca_file != NULL && request->ca_file[0] != '\0')
		SET(CURLOPT_CAINFO, request->ca_file);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* libcurl keeps a parsed trust store for a day; a changed file counts. */
	SET(CURLOPT_CA_CACHE_TIMEOUT, 60L);
	/* Do not join a hanging name lookup. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif

	if (address->https)
	{
		/* Wait for a connection to say whether it multiplexes, then share it. */
		SET(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
		SET(CURLOPT_PIPEWAIT, 1L);
	}
	else
		SET(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	/* An empty text, unlike NULL, keeps libcurl from looking at the environment. */
	SET(CURLOPT_PROXY, address->loopback || spinpanel_proxy == NULL ? "" : spinpanel_proxy);
	SET(CURLOPT_NOPROXY, "");
#undef SET
	return ok;
}

/*
 * In words, without secrets.  libcurl's own text names hosts, ports and times
 * for the failures listed; for any other one it might quote what was received,
 * so only the general text of the code is used.
 */
static void
error_words(Transfer *transfer, CURLcode code, char *words, size_t size)
{
	const char *source;
	char *c;

	switch (code)
	{
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_OPERATION_TIMEDOUT:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
			source =
				transfer->curl_error[0] != '\0' ? transfer->curl_error : curl_easy_strerror(code);
			break;
		default:
			source = transfer->problem != NULL ? transfer->problem : curl_easy_strerror(code);
			break;
	}
	strlcpy(words, source, size);
	for (c = words; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || (unsigned char) *c >= 0x7f)
			*c = '?';
}

/* Tells the asker how it ended; the transfer is out of libcurl's hands. */
static void
deliver(Transfer *transfer, CURLcode code)
{
	SpinpanelHttpAnswer answer = { 0 };
	char words[CURL_ERROR_SIZE];
	long status = 0;

	words[0] = '\0';
	answer.retry_after = -1;
	answer.body = "";
	answer.error = words;
	if (code == CURLE_OK)
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);

	if (code == CURLE_OK && status > 0)
	{
		answer.outcome = SPINPANEL_HTTP_ANSWERED;
		answer.status = (int) status;
		answer.retry_after = transfer->retry_after;
		answer.location = transfer->location;
		answer.continuation_token = transfer->continuation_token;
		if (transfer->answer_length > 0)
		{
			answer.body = transfer->answer;
			answer.body_length = transfer->answer_length;
		}
	}
	else
	{
		if (code == CURLE_OK)
			strlcpy(words, "the answer had no status", sizeof(words));
		else
			error_words(transfer, code, words, sizeof(words));
		answer.outcome = transfer->attempts == 0 ? SPINPANEL_HTTP_NOT_SENT : SPINPANEL_HTTP_UNKNOWN;
		answer.timed_out = code == CURLE_OPERATION_TIMEDOUT;
		if (transfer->attempts > 0)
			distrust_connections(monotonic_ms(), transfer->timeout_ms);
	}

	active--;
	PG_TRY();
	{
		transfer->done(transfer->arg, &answer);
	}
	PG_FINALLY();
	{
		transfer_release(transfer);
	}
	PG_END_TRY();
}

static void
deliver_all(void)
{
	CURLMsg *message;
	int left;

	/* Stays set when a done() throws: the rest is due at once. */
	undelivered = true;

	while (refused != NULL)
	{
		Transfer *transfer = refused;

		refused = transfer->next;
		transfer->next = NULL;
		deliver(transfer, CURLE_UNSUPPORTED_PROTOCOL);
	}
	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;
		char *transfer = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
		multi_remove(easy); /* message is gone now */
		deliver((Transfer *) transfer, code);
	}

	undelivered = false;
}

/* -------------------------------------------------------------------------
 * The interface
 * ------------------------------------------------------------------------- */

void
spinpanel_http_start(void)
{
	if (multi != NULL)
		return;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not initialize libcurl")));
	if (epoll_descriptor < 0)
	{
		epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
		if (epoll_descriptor < 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not create an epoll descriptor: %m")));
		ReserveExternalFD();
	}
	multi = curl_multi_init();
	if (multi == NULL || curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
		curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
		curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK ||
		curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 128L) != CURLM_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not set up libcurl")));
}

bool
spinpanel_http_submit(const SpinpanelHttpRequest *request)
{
	Transfer *transfer;
	SpinpanelAddress address;
	const char *problem = NULL;

	Assert(multi != NULL);
	transfer = transfer_new();
	if (transfer == NULL)
		return false;

	/*
	 * Checked here again, whatever the caller checked: this is the last place
	 * before a token would leave us in plain text.
	 */
	if (!spinpanel_address_parse(request->url, &address, &problem))
	{
		transfer->done = request->done;
		transfer->arg = request->arg;
		transfer->problem = problem;
		transfer->next = refused;
		refused = transfer;
		active++;
		return true;
	}
	choose_multiplexing(monotonic_ms());
	if (!transfer_prepare(transfer, request, &address) || !multi_add(transfer->easy))
	{
		transfer_release(transfer);
		return false;
	}
	active++;
	spinpanel_wake_count_request();
	return true;
}

int
spinpanel_http_descriptor(void)
{
	return epoll_descriptor;
}

long
spinpanel_http_timeout(void)
{
	int64 left;

	if (undelivered || refused != NULL)
		return 0;
	if (deadline < 0)
		return -1;
	left = deadline - monotonic_ms();
	return left > 0 ? (long) left : 0;
}

void
spinpanel_http_work(void)
{
	struct epoll_event events[64];
	int count;
	int i;

	if (multi == NULL)
		return;
	if (delivering)
		elog(ERROR, "spinpanel_http_work called from a done callback");

	/* What is left is still ready when the worker comes back: level-triggered. */
	count = epoll_wait(epoll_descriptor, events, lengthof(events), 0);
	for (i = 0; i < count; i++)
	{
		int what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		multi_action(events[i].data.fd, what);
	}
	if (deadline >= 0 && monotonic_ms() >= deadline)
	{
		deadline = -1; /* before, since the call may set another */
		multi_action(CURL_SOCKET_TIMEOUT, 0);
	}

	delivering = true;
	PG_TRY();
	{
		deliver_all();
	}
	PG_FINALLY();
	{
		delivering = false;
	}
	PG_END_TRY();
}

int
spinpanel_http_active(void)
{
	return active;
}
