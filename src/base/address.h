/*
 * address.h
 *
 * Which addresses a secret may be sent to.  Pure text work without libcurl and
 * without PostgreSQL, so that a backend (connect_account) and the worker
 * judge with the same code.
 */
#ifndef SPINPANEL_ADDRESS_H
#define SPINPANEL_ADDRESS_H

#include <stdbool.h>

typedef struct SpinpanelAddress
{
	bool https; /* else http */
	bool loopback; /* localhost, 127.0.0.0/8 or ::1 */
	char host[256]; /* lower case, without brackets */
	int port;
} SpinpanelAddress;

/*
 * Takes "http[s]://host[:port]" with an optional path and query.  Stricter
 * than any URL library: no user part, no escapes in the host.  On failure
 * *problem says why, in words that do not quote the address.
 */
extern bool spinpanel_address_parse(const char *url, SpinpanelAddress *address,
									const char **problem);

/*
 * Whether a base address (api_url, login_url) may be used: https, or http to
 * a loopback host; a host of Microsoft's, or one of allowed_hosts ("host" or
 * "host:port", separated by commas or blanks; NULL = none); no query.
 */
extern bool spinpanel_address_allowed(const char *url, const char *allowed_hosts,
									  const char **problem);

/* Whether the host is one of Microsoft's Chinese cloud. */
extern bool spinpanel_address_is_china(const char *url);

#endif /* SPINPANEL_ADDRESS_H */
