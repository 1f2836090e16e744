/*
 * cronline.c
 *
 * See cronline.h.  Knows minute, hour, day of month, month and day of week
 * with lists, ranges, steps and English names, as Vixie's cron does: where both
 * day fields are restricted, either may fit.
 */
#include "cronline.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MINUTE INT64_C(60000000)
#define DAY (1440 * MINUTE)
#define DAYS_LOOKED_BACK 400

typedef struct CronLine
{
	uint64_t minutes;
	uint32_t hours;
	uint32_t days; /* bit 1 = the first */
	uint32_t months; /* bit 1 = January */
	uint32_t weekdays; /* bit 0 = Sunday */
	bool any_day;
	bool any_weekday;
} CronLine;

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
										  "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static bool
read_number(const char **at, const char *const *names, int name_count, int first, int *value)
{
	int i;

	if (isdigit((unsigned char) **at))
	{
		*value = 0;
		while (isdigit((unsigned char) **at) && *value < 1000)
			*value = *value * 10 + (*(*at)++ - '0');
		return true;
	}
	for (i = 0; i < name_count; i++)
	{
		if (strncasecmp(*at, names[i], 3) == 0)
		{
			*at += 3;
			*value = first + i;
			return true;
		}
	}
	return false;
}

/* One field into a set of bits; *any tells whether it was an asterisk. */
static bool
read_field(const char **at, int low, int high, const char *const *names, int name_count,
		   uint64_t *set, bool *any)
{
	*set = 0;
	*any = **at == '*';
	for (;;)
	{
		int from = low;
		int to = high;
		int step = 1;
		int i;

		if (**at == '*')
			(*at)++;
		else
		{
			if (!read_number(at, names, name_count, low, &from))
				return false;
			to = from;
			if (**at == '-')
			{
				(*at)++;
				if (!read_number(at, names, name_count, low, &to))
					return false;
			}
		}
		if (**at == '/')
		{
			(*at)++;
			if (!read_number(at, NULL, 0, 0, &step) || step == 0)
				return false;
			if (from == to)
				to = high;
		}
		if (from < low || to > high || from > to)
			return false;
		for (i = from; i <= to; i += step)
			*set |= UINT64_C(1) << i;
		if (**at != ',')
			break;
		(*at)++;
	}
	return **at == '\0' || **at == ' ' || **at == '\t';
}

static void
skip_blanks(const char **at)
{
	while (**at == ' ' || **at == '\t')
		(*at)++;
}

static bool
read_line(const char *line, CronLine *cron)
{
	const char *at = line;
	uint64_t set;
	bool any;

	if (line == NULL || strlen(line) > 256)
		return false;
	skip_blanks(&at);
	if (!read_field(&at, 0, 59, NULL, 0, &cron->minutes, &any))
		return false;
	skip_blanks(&at);
	if (!read_field(&at, 0, 23, NULL, 0, &set, &any))
		return false;
	cron->hours = (uint32_t) set;
	skip_blanks(&at);
	if (!read_field(&at, 1, 31, NULL, 0, &set, &cron->any_day))
		return false;
	cron->days = (uint32_t) set;
	skip_blanks(&at);
	if (!read_field(&at, 1, 12, month_names, 12, &set, &any))
		return false;
	cron->months = (uint32_t) set;
	skip_blanks(&at);
	if (!read_field(&at, 0, 7, weekday_names, 7, &set, &cron->any_weekday))
		return false;
	cron->weekdays = (uint32_t) (set | (set >> 7 & 1)); /* 7 is Sunday too */
	skip_blanks(&at);
	return *at == '\0';
}

bool
spinpanel_cron_valid(const char *line)
{
	CronLine cron;

	return read_line(line, &cron);
}

/* Month and day of month of days since 2000-01-01 */
static void
civil(int64_t days, int *month, int *day)
{
	int64_t z = days + 730425; /* since 0000-03-01 */
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (int) (doy - (153 * mp + 2) / 5 + 1);
	*month = (int) (mp < 10 ? mp + 3 : mp - 9);
}

bool
spinpanel_cron_previous(const char *line, int64_t before, int64_t *due)
{
	CronLine cron;
	int64_t today;
	int64_t day_number;
	int last_minute;

	if (!read_line(line, &cron))
		return false;
	today = before / DAY - (before % DAY < 0 ? 1 : 0);
	last_minute = (int) ((before - today * DAY) / MINUTE);

	for (day_number = today; day_number > today - DAYS_LOOKED_BACK; day_number--)
	{
		int month;
		int day;
		int weekday = (int) (((day_number + 6) % 7 + 7) % 7); /* 2000-01-01 was a Saturday */
		bool day_fits;
		bool weekday_fits;
		int minute;

		civil(day_number, &month, &day);
		day_fits = cron.days >> day & 1;
		weekday_fits = cron.weekdays >> weekday & 1;
		if ((cron.months >> month & 1) &&
			(cron.any_day || cron.any_weekday ? day_fits && weekday_fits
											  : day_fits || weekday_fits))
		{
			for (minute = day_number == today ? last_minute : 1439; minute >= 0; minute--)
			{
				if ((cron.hours >> (minute / 60) & 1) && (cron.minutes >> (minute % 60) & 1))
				{
					*due = day_number * DAY + minute * MINUTE;
					return true;
				}
			}
		}
	}
	return false;
}
