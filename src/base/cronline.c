/*
 * cronline.c
 *
 * Reads a cron line the way pg_cron (that is, Vixie's cron) does, so that what
 * schedule() accepts, pg_cron accepts, and the worker knows when pg_cron
 * should have come.  Must never include a PostgreSQL header or look at a
 * clock.
 *
 * Each field: "*", a number, a name (jan, sun), a range, any of these with a
 * step, and lists of them.  Where both day fields are restricted, a day that
 * fits either is due; a field that begins with "*" does not restrict.
 */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/cronline.h"

#define US_PER_MINUTE INT64_C(60000000)
#define MINUTES_PER_DAY 1440
/* From a 29th of February over the year 2100 to the next are eight years. */
#define DAYS_BACK (8 * 366 + 1)

typedef struct CronLine
{
	uint64_t minutes; /* bit n = minute n, and so on */
	uint64_t hours;
	uint64_t days; /* of the month, from 1 */
	uint64_t months; /* from 1 */
	uint64_t weekdays; /* Sunday = 0 */
	bool days_open; /* the field begins with "*" */
	bool weekdays_open;
} CronLine;

typedef struct Field
{
	int low;
	int high;
	const char *const *names; /* of low, low + 1, ... */
	int name_count;
	const char *problem;
} Field;

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
										   "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static const Field fields[5] = {
	{ 0, 59, NULL, 0, "its first field, minute, is not made of numbers from 0 to 59" },
	{ 0, 23, NULL, 0, "its second field, hour, is not made of numbers from 0 to 23" },
	{ 1, 31, NULL, 0, "its third field, day of the month, is not made of numbers from 1 to 31" },
	{ 1, 12, month_names, 12,
	  "its fourth field, month, is not made of numbers from 1 to 12 or names from jan to dec" },
	{ 0, 7, weekday_names, 7,
	  "its fifth field, day of the week, is not made of numbers from 0 to 7 or names from sun to sat" },
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
read_number(const char **at, int *value)
{
	const char *c = *at;
	int digits = 0;

	*value = 0;
	while (is_digit(*c) && digits < 4)
	{
		*value = *value * 10 + (*c++ - '0');
		digits++;
	}
	if (digits == 0 || digits > 3)
		return false;
	*at = c;
	return true;
}

static bool
read_value(const char **at, const Field *field, int *value)
{
	int i;

	if (is_digit(**at))
		return read_number(at, value) && *value >= field->low && *value <= field->high;
	for (i = 0; i < field->name_count; i++)
	{
		if (strncasecmp(*at, field->names[i], 3) == 0)
		{
			*at += 3;
			*value = field->low + i;
			return true;
		}
	}
	return false;
}

/* One field, up to a blank or the end; open (may be NULL): it begins with "*". */
static bool
read_field(const char **at, const Field *field, uint64_t *bits, bool *open)
{
	if (open != NULL)
		*open = **at == '*';
	for (;;)
	{
		int from;
		int to;
		int step = 1;
		int i;
		bool range = true;

		if (**at == '*')
		{
			(*at)++;
			from = field->low;
			to = field->high;
		}
		else
		{
			if (!read_value(at, field, &from))
				return false;
			to = from;
			range = **at == '-';
			if (range)
			{
				(*at)++;
				if (!read_value(at, field, &to) || to < from)
					return false;
			}
		}
		if (**at == '/')
		{
			/* A step needs something to step through. */
			if (!range)
				return false;
			(*at)++;
			if (!read_number(at, &step) || step < 1)
				return false;
		}
		for (i = from; i <= to; i += step)
			*bits |= UINT64_C(1) << i;
		if (**at != ',')
			break;
		(*at)++;
	}
	return **at == '\0' || is_blank(**at);
}

static const char *
skip_blanks(const char *at)
{
	while (is_blank(*at))
		at++;
	return at;
}

static bool
read_line(const char *line, CronLine *cron, const char **problem)
{
	uint64_t *bits[5];
	bool *open[5] = { NULL, NULL, NULL, NULL, NULL };
	const char *at = skip_blanks(line);
	int i;

	memset(cron, 0, sizeof(*cron));
	bits[0] = &cron->minutes;
	bits[1] = &cron->hours;
	bits[2] = &cron->days;
	bits[3] = &cron->months;
	bits[4] = &cron->weekdays;
	open[2] = &cron->days_open;
	open[4] = &cron->weekdays_open;

	for (i = 0; i < 5; i++)
	{
		if (*at == '\0')
		{
			*problem =
				"it must have five fields: minute, hour, day of the month, month, day of the week";
			return false;
		}
		if (!read_field(&at, &fields[i], bits[i], open[i]))
		{
			*problem = fields[i].problem;
			return false;
		}
		at = skip_blanks(at);
	}
	if (*at != '\0')
	{
		*problem = "it has more than five fields";
		return false;
	}
	/* Sunday is 0 and 7. */
	if (cron->weekdays & (UINT64_C(1) << 7))
		cron->weekdays |= 1;
	return true;
}

static bool
has(uint64_t bits, int n)
{
	return (bits & (UINT64_C(1) << n)) != 0;
}

/* Month and day of the month of a day counted from 2000-01-01, Gregorian. */
static void
date_of(int64_t day, int *month, int *day_of_month)
{
	int64_t from_march_0 = day + 730425; /* days since 0000-03-01 */
	int64_t era = (from_march_0 >= 0 ? from_march_0 : from_march_0 - 146096) / 146097;
	int64_t of_era = from_march_0 - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t m = (5 * of_year + 2) / 153; /* March = 0 */

	*day_of_month = (int) (of_year - (153 * m + 2) / 5 + 1);
	*month = (int) (m < 10 ? m + 3 : m - 9);
}

static bool
day_is_due(const CronLine *cron, int64_t day)
{
	int month;
	int day_of_month;
	/* 2000-01-01 was a Saturday. */
	int weekday = (int) (((day + 6) % 7 + 7) % 7);
	bool by_date;
	bool by_weekday;

	date_of(day, &month, &day_of_month);
	if (!has(cron->months, month))
		return false;
	by_date = has(cron->days, day_of_month);
	by_weekday = has(cron->weekdays, weekday);
	if (cron->days_open || cron->weekdays_open)
		return by_date && by_weekday;
	return by_date || by_weekday;
}

static bool
previous(const CronLine *cron, int64_t moment, int64_t *due)
{
	int64_t minute = moment / US_PER_MINUTE - (moment % US_PER_MINUTE < 0 ? 1 : 0);
	int64_t day = minute / MINUTES_PER_DAY - (minute % MINUTES_PER_DAY < 0 ? 1 : 0);
	int64_t at = minute - day * MINUTES_PER_DAY;
	int back;

	for (back = 0; back < DAYS_BACK; back++, day--, at = MINUTES_PER_DAY - 1)
	{
		if (!day_is_due(cron, day))
			continue;
		for (; at >= 0; at--)
		{
			if (has(cron->hours, (int) (at / 60)) && has(cron->minutes, (int) (at % 60)))
			{
				*due = (day * MINUTES_PER_DAY + at) * US_PER_MINUTE;
				return true;
			}
		}
	}
	return false;
}

bool
spinpanel_cron_valid(const char *line, const char **problem)
{
	CronLine cron;
	int64_t due;

	if (!read_line(line, &cron, problem))
		return false;
	if (!previous(&cron, 0, &due))
	{
		*problem = "it names a day that never comes";
		return false;
	}
	return true;
}

bool
spinpanel_cron_previous(const char *line, int64_t moment, int64_t *due)
{
	CronLine cron;
	const char *problem;

	return read_line(line, &cron, &problem) && previous(&cron, moment, due);
}
