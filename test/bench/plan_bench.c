/*
 * plan_bench.c
 *
 * How long the planner takes for one pool: random pools of the tests' fixture,
 * planned over and over.
 *
 *     plan_bench SECONDS SUBSCRIPTIONS SEATS
 *
 * prints pools per second, nanoseconds and decisions per pool; pools have up
 * to so many subscriptions of up to so many seats.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fixture.h"

#define POOLS 4096

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
	double		seconds = argc > 1 ? atof(argv[1]) : 5;
	int			subscriptions = argc > 2 ? atoi(argv[2]) : 4;
	int			seats = argc > 3 ? atoi(argv[3]) : 60;
	Fixture    *fixtures = calloc(POOLS, sizeof(Fixture));
	Random		random = {4711};
	double		began;
	double		took;
	long		planned = 0;
	long		decisions = 0;
	int			i;

	for (i = 0; i < POOLS; i++)
	{
		fixture_random(&fixtures[i], &random, subscriptions, seats);
		fixture_relink(&fixtures[i]);
	}
	began = now();
	do
	{
		for (i = 0; i < POOLS; i++)
		{
			PlanResult	result;

			memset(&result, 0, sizeof(result));
			spinpanel_plan_customer(&fixtures[i].pool, 1, &fixtures[i].limits,
									&fixtures[i].options, &result);
			decisions += result.count;
			spinpanel_plan_free(&result);
		}
		planned += POOLS;
		took = now() - began;
	} while (took < seconds);
	printf("%.0f %.0f %.2f\n", planned / took, took / planned * 1e9, (double) decisions / planned);
	return 0;
}
