/*
 * throttle_test.c
 *
 * Tests of src/base/throttle.c, src/base/backoff.c and src/base/address.c: no server, no
 * clock, no network.  Prints TAP.
 *
 *	gcc -Wall -Wextra -I../../src -o throttle_test throttle_test.c
 *		../../src/base/throttle.c ../../src/base/backoff.c ../../src/base/address.c -lm
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/backoff.h"
#include "base/throttle.h"

static int tests = 0;
static int failures = 0;

static void __attribute__((format(printf, 2, 3))) ok(bool good, const char *format, ...)
{
	va_list args;

	tests++;
	if (!good)
		failures++;
	printf("%sok %d - ", good ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/*
 * Asks once a millisecond for a while, every now and then for an urgent one;
 * true if no window of 60 seconds saw more than the limit.
 */
static bool
keeps_limit(int per_minute, int seconds, int urgent_every, int64_t *taken)
{
	SpinpanelThrottle throttle;
	int64_t *times = malloc(sizeof(int64_t) * (size_t) (per_minute * (seconds / 60 + 2)));
	int64_t count = 0;
	int64_t oldest = 0;
	int64_t now;
	bool good = true;

	spinpanel_throttle_start(&throttle, per_minute, 0);
	for (now = 0; now < seconds * 1000; now++)
	{
		bool urgent = urgent_every > 0 && now % urgent_every == 0;

		while (good && spinpanel_throttle_take(&throttle, urgent, now))
		{
			times[count++] = now;
			while (times[oldest] <= now - 60000)
				oldest++;
			if (count - oldest > per_minute)
				good = false;
		}
	}
	*taken = count;
	free(times);
	return good;
}

static void
test_throttle(void)
{
	static const int limits[] = { 2, 10, 60, 500, 6000 };
	SpinpanelThrottle throttle;
	int64_t taken;
	int64_t now;
	int i;
	int n;

	for (i = 0; i < (int) (sizeof(limits) / sizeof(limits[0])); i++)
	{
		ok(keeps_limit(limits[i], 600, 0, &taken), "%d a minute: no window of 60 s sees more",
		   limits[i]);
		ok(taken >= limits[i] * 10 * 0.9 || limits[i] == 2,
		   "%d a minute: at least 9 in 10 of the limit are used (%ld in 10 minutes)", limits[i],
		   (long) taken);
		ok(keeps_limit(limits[i], 600, 50, &taken), "%d a minute: nor with urgent ones between",
		   limits[i]);
	}

	/* the reserve */
	spinpanel_throttle_start(&throttle, 500, 0);
	for (n = 0; spinpanel_throttle_take(&throttle, false, 0); n++)
		;
	ok(n == 13, "ordinary requests leave a fifth of the bucket (%d of 16 taken)", n);
	for (n = 0; spinpanel_throttle_take(&throttle, true, 0); n++)
		;
	ok(n == 3, "an urgent one finds it at once (%d)", n);
	ok(spinpanel_throttle_wait(&throttle, true, 0) < 125, "and the next waits for one refill only");
	ok(spinpanel_throttle_wait(&throttle, false, 0) > spinpanel_throttle_wait(&throttle, true, 0),
	   "ordinary ones wait until the reserve is filled again");

	/* lent: with no urgent ones all of the refill goes to ordinary ones */
	spinpanel_throttle_start(&throttle, 500, 0);
	for (n = 0, now = 0; now < 600000; now++)
		if (spinpanel_throttle_take(&throttle, false, now))
			n++;
	ok(n > 4800, "unused reserve is lent to ordinary requests (%d in 10 minutes)", n);

	/* what wait promises, take keeps */
	spinpanel_throttle_start(&throttle, 500, 0);
	for (n = 0, now = 0, i = 0; n < 2000; n++)
	{
		int64_t wait = spinpanel_throttle_wait(&throttle, n % 7 == 0, now);

		now += wait;
		if (!spinpanel_throttle_take(&throttle, n % 7 == 0, now))
			i++;
	}
	ok(i == 0, "a request is possible after the time that wait told");

	/* odd input */
	spinpanel_throttle_start(&throttle, 1, 0);
	ok(spinpanel_throttle_take(&throttle, false, 0), "one a minute: the first leaves at once");
	ok(!spinpanel_throttle_take(&throttle, true, 1000), "one a minute: the second does not");
	ok(spinpanel_throttle_wait(&throttle, false, 1000) > 0 &&
		   spinpanel_throttle_wait(&throttle, false, 1000) <= 120000,
	   "one a minute: but it will");
	spinpanel_throttle_start(&throttle, 0, 0);
	ok(spinpanel_throttle_wait(&throttle, false, 0) == 0 && throttle.per_ms > 0.0,
	   "zero a minute is taken as one");
	spinpanel_throttle_start(&throttle, 500, 1000000);
	while (spinpanel_throttle_take(&throttle, true, 1000000))
		;
	ok(!spinpanel_throttle_take(&throttle, true, 0) &&
		   spinpanel_throttle_wait(&throttle, true, 0) > 0,
	   "a clock that goes back refills nothing");
	ok(spinpanel_throttle_take(&throttle, true, 1000), "and does not stop the bucket");

	/* another limit, and the server's "too many" */
	spinpanel_throttle_start(&throttle, 500, 0);
	while (spinpanel_throttle_take(&throttle, true, 0))
		;
	spinpanel_throttle_change(&throttle, 1000, 0);
	for (n = 0; spinpanel_throttle_take(&throttle, true, 0); n++)
		;
	ok(n <= 17, "a higher limit gives the difference only (%d)", n);
	spinpanel_throttle_change(&throttle, 60, 0);
	ok(!spinpanel_throttle_take(&throttle, true, 0), "a lower one gives nothing");
	spinpanel_throttle_start(&throttle, 500, 0);
	spinpanel_throttle_drain(&throttle, 0);
	ok(!spinpanel_throttle_take(&throttle, true, 0), "a drained bucket is empty");
	ok(spinpanel_throttle_take(&throttle, true, 200), "and fills again");
}

static void
test_backoff(void)
{
	int failed;
	bool bounded = true;
	bool grows = true;

	ok(spinpanel_backoff_delay(0, 1000, 60000, 0.5) == 0, "no failure, no delay");
	ok(spinpanel_backoff_delay(1, 1000, 60000, 0.0) == 500 &&
		   spinpanel_backoff_delay(1, 1000, 60000, 1.0) == 1000,
	   "the first: between half of the base and the base");
	ok(spinpanel_backoff_delay(4, 1000, 60000, 0.0) == 4000 &&
		   spinpanel_backoff_delay(4, 1000, 60000, 1.0) == 8000,
	   "each doubles it");
	for (failed = 1; failed < 5000; failed++)
	{
		int64_t low = spinpanel_backoff_delay(failed, 1000, 300000, 0.0);
		int64_t high = spinpanel_backoff_delay(failed, 1000, 300000, 0.999999);

		if (low < 500 || high > 300000 || low > high)
			bounded = false;
		if (failed > 1 && low < spinpanel_backoff_delay(failed - 1, 1000, 300000, 0.0))
			grows = false;
	}
	ok(bounded, "never beyond the cap, however many");
	ok(grows, "and never shorter than before");
	ok(spinpanel_backoff_delay(2147483647, 1000, 9223372036854775807LL, 0.0) > 0,
	   "no overflow with the largest numbers");
	ok(spinpanel_backoff_delay(3, 1000, 100, 0.0) == 50, "a cap below the base holds");
	ok(spinpanel_backoff_delay(3, 1000, 60000, -5.0) == 2000 &&
		   spinpanel_backoff_delay(3, 1000, 60000, 7.0) == 4000 &&
		   spinpanel_backoff_delay(3, 1000, 60000, 0.0 / strlen("")) == 2000,
	   "random numbers out of range are bounded");
	ok(spinpanel_backoff_delay(3, 0, 60000, 0.5) == 0, "no base, no delay");
}

static void
test_address(void)
{
	static const char allowed[] = "localhost, 127.0.0.1 [::1]:8443, my.host:8443";
	static const struct
	{
		const char *url;
		bool good;
	} cases[] = {
		{ "https://api.partnercenter.microsoft.com", true },
		{ "https://LOGIN.microsoftonline.com/", true },
		{ "https://login.partner.microsoftonline.cn", true },
		{ "http://api.partnercenter.microsoft.com", false },
		{ "https://api.partnercenter.microsoft.com.evil.com", false },
		{ "https://api.partnercenter.microsoft.com@evil.com", false },
		{ "https://evil.com#@api.partnercenter.microsoft.com", false },
		{ "https://evil.com\\@api.partnercenter.microsoft.com", false },
		{ "https://evil.com/api.partnercenter.microsoft.com", false },
		{ "https://%61pi.partnercenter.microsoft.com", false },
		{ "http://localhost:8080", true },
		{ "http://127.0.0.1:9/x/", true },
		{ "http://127.0.0.2", false },
		{ "http://[::1]:8443", true },
		{ "http://[::1]:8444", false },
		{ "https://my.host:8443", true },
		{ "https://my.host", false },
		{ "http://my.host:8443", false },
		{ "http://127.1", false },
		{ "http://localhost.evil.com", false },
		{ "ftp://localhost", false },
		{ "https://localhost?x", false },
		{ "https://localhost/#x", false },
		{ "https://", false },
		{ "https://local host", false },
		{ "https://localhost\r\nX: y", false },
		{ "https://localhost:0", false },
		{ "https://localhost:99999", false },
		{ "https://localhost:", false },
		{ "//localhost", false },
		{ "", false },
	};
	const char *problem;
	int i;

	for (i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
		ok(spinpanel_address_allowed(cases[i].url, allowed, &problem) == cases[i].good,
		   "address %d is %s", i + 1, cases[i].good ? "allowed" : "refused");
	ok(!spinpanel_address_allowed("http://localhost", NULL, &problem) &&
		   !spinpanel_address_allowed("http://localhost", "", &problem),
	   "a loopback host must be allowed as well");
	ok(spinpanel_address_is_china("https://partner.partnercenterapi.microsoftonline.cn") &&
		   spinpanel_address_is_china("https://login.chinacloudapi.cn/") &&
		   !spinpanel_address_is_china("https://login.microsoftonline.com") &&
		   !spinpanel_address_is_china("https://microsoftonline.cn.evil.com"),
	   "the Chinese cloud is told by its hosts");
}

int
main(void)
{
	test_throttle();
	test_backoff();
	test_address();
	printf("1..%d\n", tests);
	return failures == 0 ? 0 : 1;
}
