/*
 * fetch.c
 *
 * The yardstick: a plain libcurl program that fetches a list of URLs over
 * kept-alive HTTP/2 connections and throws the bodies away.
 *
 *     fetch URLS-FILE CA-FILE TOKEN PARALLEL [DIGESTS-FILE]        prints requests per second
 *
 * With DIGESTS-FILE it writes what the mirror keeps of each body, one line per URL of a customer (compiled with
 * -DDIGESTS -lpgcommon): so a mirror that was filled by hand knows the answers.  Else it knows nothing of spinpanel.
 */
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Body
{
	char	   *data;
	size_t		length;
	size_t		size;
	const char *url;
} Body;

static size_t bytes;
static FILE *digests;

static size_t
discard(char *data, size_t size, size_t count, void *arg)
{
	Body	   *body = arg;

	bytes += size * count;
	if (digests == NULL)
		return size * count;
	while (body->length + size * count > body->size)
		body->data = realloc(body->data, body->size = body->size ? body->size * 2 : 16384);
	memcpy(body->data + body->length, data, size * count);
	body->length += size * count;
	return size * count;
}

#ifdef DIGESTS
/* PostgreSQL's; see digest_of() in src/partner/partner.c */
extern uint64_t hash_bytes_extended(const unsigned char *bytes, int length, uint64_t seed);

static void
write_digest(const Body *body)
{
	const char *id = strstr(body->url, "/customers/");
	uint64_t	half[2];
	size_t		i;

	half[0] = hash_bytes_extended((const unsigned char *) body->data, (int) body->length, 0);
	half[1] = hash_bytes_extended((const unsigned char *) body->data, (int) body->length, 0x5350494e50414e45);
	fprintf(digests, "%.36s\t\\\\x", id + 11);
	for (i = 0; i < sizeof(half); i++)
		fprintf(digests, "%02x", ((unsigned char *) half)[i]);
	fprintf(digests, "\n");
}
#else
static void
write_digest(const Body *body)
{
}
#endif

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	CURLM	   *multi;
	CURL	  **easy;
	struct curl_slist *headers = NULL;
	char	  **urls = NULL;
	int			count = 0;
	int			size = 0;
	int			next = 0;
	int			done = 0;
	int			failed = 0;
	int			parallel;
	int			running;
	int			i;
	Body	   *bodies;
	char		line[4096];
	double		began;
	FILE	   *in;

	if (argc < 5 || argc > 6 || (in = fopen(argv[1], "r")) == NULL)
	{
		fprintf(stderr, "usage: fetch URLS-FILE CA-FILE TOKEN PARALLEL [DIGESTS-FILE]\n");
		return 2;
	}
	while (fgets(line, sizeof(line), in))
	{
		line[strcspn(line, "\r\n")] = '\0';
		if (count == size)
			urls = realloc(urls, sizeof(char *) * (size = size ? size * 2 : 1024));
		urls[count++] = strdup(line);
	}
	fclose(in);
	parallel = atoi(argv[4]);
	if (argc == 6 && (digests = fopen(argv[5], "w")) == NULL)
		return 2;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	snprintf(line, sizeof(line), "Authorization: Bearer %s", argv[3]);
	headers = curl_slist_append(headers, line);
	headers = curl_slist_append(headers, "Accept: application/json");
	easy = calloc(parallel, sizeof(CURL *));
	bodies = calloc(parallel, sizeof(Body));
	for (i = 0; i < parallel; i++)
	{
		easy[i] = curl_easy_init();
		curl_easy_setopt(easy[i], CURLOPT_CAINFO, argv[2]);
		curl_easy_setopt(easy[i], CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy[i], CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
		curl_easy_setopt(easy[i], CURLOPT_PIPEWAIT, 1L);
		curl_easy_setopt(easy[i], CURLOPT_WRITEFUNCTION, discard);
		curl_easy_setopt(easy[i], CURLOPT_WRITEDATA, &bodies[i]);
		curl_easy_setopt(easy[i], CURLOPT_PRIVATE, &bodies[i]);
	}

	began = now();
	for (i = 0; i < parallel && next < count; i++)
	{
		bodies[i].url = urls[next];
		curl_easy_setopt(easy[i], CURLOPT_URL, urls[next++]);
		curl_multi_add_handle(multi, easy[i]);
	}
	while (done < count)
	{
		CURLMsg    *message;
		int			left;

		curl_multi_perform(multi, &running);
		while ((message = curl_multi_info_read(multi, &left)) != NULL)
		{
			CURL	   *handle = message->easy_handle;
			long		status = 0;
			Body	   *body = NULL;

			if (message->msg != CURLMSG_DONE)
				continue;
			curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
			curl_easy_getinfo(handle, CURLINFO_PRIVATE, (char **) &body);
			if (digests != NULL)
				write_digest(body);
			body->length = 0;
			if (message->data.result != CURLE_OK || status != 200)
				failed++;
			done++;
			curl_multi_remove_handle(multi, handle);
			if (next < count)
			{
				body->url = urls[next];
				curl_easy_setopt(handle, CURLOPT_URL, urls[next++]);
				curl_multi_add_handle(multi, handle);
			}
		}
		if (done < count)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	if (digests != NULL)
		fclose(digests);
	printf("%.0f %d %zu\n", count / (now() - began), failed, bytes);
	return failed ? 1 : 0;
}
