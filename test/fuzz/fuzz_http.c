/*
 * fuzz_http.c
 *
 * Headers and bodies as libcurl hands them on.  The file under test is part of
 * this one, for it shows nobody how it reads them.
 */
#include "partner/http.c"

#include "fuzz.h"

void
spinpanel_fuzz_headers(const char *text, size_t length)
{
	Transfer transfer = { 0 };
	const char *at = text;
	const char *end = text + length;

	transfer.retry_after = -1;
	transfer.answer_limit = 4096;
	while (at < end)
	{
		const char *stop = memchr(at, '\n', end - at);
		size_t size = (stop == NULL ? end : stop + 1) - at;
		char *line = malloc(size); /* not a byte more, and no NUL */

		memcpy(line, at, size);
		(void) on_header(line, 1, size, &transfer);
		(void) on_body(line, 1, size, &transfer);
		free(line);
		at += size;
		REQUIRE(transfer.retry_after >= -1 && transfer.retry_after <= RETRY_AFTER_MAX);
		REQUIRE(transfer.answer_length <= transfer.answer_limit);
	}
	free(transfer.location);
	free(transfer.continuation_token);
	free(transfer.answer);
}
