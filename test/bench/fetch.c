/*
 * fetch.c
 *
 * The yardstick: a plain libcurl program that fetches a list of URLs over
 * kept-alive HTTP/2 connections and throws the bodies away.
 *
 *     fetch URLS-FILE CA-FILE TOKEN PARALLEL        prints requests per second
 *
 * It knows nothing of spinpanel and shares no code with it.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t
discard(char *data, size_t size, size_t count, void *arg)
{
	*(size_t *) arg += size * count;
	return size * count;
}

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
	size_t		bytes = 0;
	char		line[4096];
	double		began;
	FILE	   *in;

	if (argc != 5 || (in = fopen(argv[1], "r")) == NULL)
	{
		fprintf(stderr, "usage: fetch URLS-FILE CA-FILE TOKEN PARALLEL\n");
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

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	snprintf(line, sizeof(line), "Authorization: Bearer %s", argv[3]);
	headers = curl_slist_append(headers, line);
	headers = curl_slist_append(headers, "Accept: application/json");
	easy = calloc(parallel, sizeof(CURL *));
	for (i = 0; i < parallel; i++)
	{
		easy[i] = curl_easy_init();
		curl_easy_setopt(easy[i], CURLOPT_CAINFO, argv[2]);
		curl_easy_setopt(easy[i], CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy[i], CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
		curl_easy_setopt(easy[i], CURLOPT_PIPEWAIT, 1L);
		curl_easy_setopt(easy[i], CURLOPT_WRITEFUNCTION, discard);
		curl_easy_setopt(easy[i], CURLOPT_WRITEDATA, &bytes);
	}

	began = now();
	for (i = 0; i < parallel && next < count; i++)
	{
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

			if (message->msg != CURLMSG_DONE)
				continue;
			curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
			if (message->data.result != CURLE_OK || status != 200)
				failed++;
			done++;
			curl_multi_remove_handle(multi, handle);
			if (next < count)
			{
				curl_easy_setopt(handle, CURLOPT_URL, urls[next++]);
				curl_multi_add_handle(multi, handle);
			}
		}
		if (done < count)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%.0f %d %zu\n", count / (now() - began), failed, bytes);
	return failed ? 1 : 0;
}
