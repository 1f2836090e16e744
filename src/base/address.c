/*
 * address.c
 *
 * Which addresses a secret may be sent to.  Must never resolve a name, call
 * libcurl or include a PostgreSQL header.
 *
 * The grammar is narrow on purpose: what this file accepts, libcurl reads in
 * the same way, so the host that was judged is the host that is called.
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"

static const char *const microsoft_hosts[] = { "api.partnercenter.microsoft.com",
											   "api.partner.microsoft.com",
											   "partner.partnercenterapi.microsoftonline.cn",
											   "login.microsoftonline.com",
											   "login.microsoftonline.us",
											   "login.partner.microsoftonline.cn",
											   "login.chinacloudapi.cn",
											   NULL };

static bool
is_loopback(const char *host)
{
	struct in_addr four;
	struct in6_addr six;

	if (strcmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &four) == 1)
		return (ntohl(four.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six);
	return false;
}

bool
spinpanel_address_parse(const char *url, SpinpanelAddress *address, const char **problem)
{
	const char *at = url;
	const char *c;
	size_t length;
	size_t i;

	memset(address, 0, sizeof(*address));

	/*
	 * Nothing but printable ASCII anywhere: a line break would end the request
	 * line, a blank or a backslash is read differently by different parsers.
	 */
	for (c = url; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= 0x20 || (unsigned char) *c >= 0x7f || *c == '\\')
		{
			*problem = "the address holds characters that are not allowed in one";
			return false;
		}
	}

	if (strncasecmp(at, "https://", 8) == 0)
	{
		address->https = true;
		at += 8;
	}
	else if (strncasecmp(at, "http://", 7) == 0)
		at += 7;
	else
	{
		*problem = "the address must begin with https://";
		return false;
	}

	if (*at == '[')
	{
		at++;
		length = strspn(at, "0123456789abcdefABCDEF:.");
		if (length == 0 || at[length] != ']')
		{
			*problem = "the host of the address is malformed";
			return false;
		}
	}
	else
	{
		length = strspn(at, "0123456789abcdefghijklmnopqrstuvwxyz"
							"ABCDEFGHIJKLMNOPQRSTUVWXYZ-.");
		if (length == 0)
		{
			*problem = "the host of the address is missing or malformed";
			return false;
		}
	}
	if (length >= sizeof(address->host))
	{
		*problem = "the host of the address is too long";
		return false;
	}
	for (i = 0; i < length; i++)
		address->host[i] = at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 32 : at[i];
	at += length;
	if (*at == ']')
		at++;

	address->port = address->https ? 443 : 80;
	if (*at == ':')
	{
		int digits = 0;

		at++;
		address->port = 0;
		while (*at >= '0' && *at <= '9' && digits < 6)
		{
			address->port = address->port * 10 + (*at++ - '0');
			digits++;
		}
		if (digits == 0 || address->port < 1 || address->port > 65535)
		{
			*problem = "the port of the address is malformed";
			return false;
		}
	}
	if (*at != '\0' && *at != '/' && *at != '?')
	{
		/* Among others a user part: what precedes the @ would be a secret. */
		*problem = "the address must be https://host, with a port and a path at most";
		return false;
	}

	address->loopback = is_loopback(address->host);
	if (!address->https && !address->loopback)
	{
		*problem = "plain http is allowed to a loopback address only";
		return false;
	}
	return true;
}

static bool
is_listed(const SpinpanelAddress *address, const char *list)
{
	static const char separators[] = ", \t\r\n;";
	char with_port[300];
	size_t length;

	if (list == NULL)
		return false;
	snprintf(with_port, sizeof(with_port), strchr(address->host, ':') ? "[%s]:%d" : "%s:%d",
			 address->host, address->port);

	while (*(list += strspn(list, separators)) != '\0')
	{
		length = strcspn(list, separators);

		if ((strlen(address->host) == length && strncasecmp(list, address->host, length) == 0) ||
			(strlen(with_port) == length && strncasecmp(list, with_port, length) == 0))
			return true;
		/* An IPv6 address may stand in brackets in the list. */
		if (length == strlen(address->host) + 2 && list[0] == '[' &&
			strncasecmp(list + 1, address->host, length - 2) == 0 && list[length - 1] == ']')
			return true;
		list += length;
	}
	return false;
}

bool
spinpanel_address_allowed(const char *url, const char *allowed_hosts, const char **problem)
{
	SpinpanelAddress address;
	const char *const *host;

	if (!spinpanel_address_parse(url, &address, problem))
		return false;
	if (strpbrk(url, "?#") != NULL)
	{
		*problem = "the address must not hold a query or a fragment";
		return false;
	}
	if (address.https)
	{
		for (host = microsoft_hosts; *host != NULL; host++)
			if (strcmp(address.host, *host) == 0)
				return true;
	}
	if (is_listed(&address, allowed_hosts))
		return true;
	*problem = "the host is none of Microsoft's and is not in spinpanel.allowed_hosts";
	return false;
}

bool
spinpanel_address_is_china(const char *url)
{
	SpinpanelAddress address;
	static const char suffix[] = ".microsoftonline.cn";
	const char *problem;
	size_t length;

	if (!spinpanel_address_parse(url, &address, &problem))
		return false;
	length = strlen(address.host);
	return (length > strlen(suffix) &&
			strcmp(address.host + length - strlen(suffix), suffix) == 0) ||
		   strcmp(address.host, "login.chinacloudapi.cn") == 0;
}
