/*
 * plan_text.c
 *
 * Owns the words of reasons: bounded text, dates without a C library's idea
 * of time zones, and the sentence that every reason about a pool begins with.
 * It must never decide anything.
 */
#include <stdarg.h>
#include <stdio.h>

#include "decide/plan_internal.h"

void
spinpanel_plan_text_begin(PlanText *text, char *buffer, size_t size)
{
	text->buffer = buffer;
	text->size = size;
	text->length = 0;
	if (size > 0)
		buffer[0] = '\0';
}

void
spinpanel_plan_text_add(PlanText *text, const char *format, ...)
{
	va_list args;
	int written;

	if (text->length + 1 >= text->size)
		return;
	va_start(args, format);
	written = vsnprintf(text->buffer + text->length, text->size - text->length, format, args);
	va_end(args);
	if (written < 0)
		text->buffer[text->length] = '\0';
	else if ((size_t) written >= text->size - text->length)
		text->length = text->size - 1;
	else
		text->length += (size_t) written;
}

/*
 * The day of a moment in UTC.  Days are counted in years that begin in March,
 * so that a leap day comes last, within eras of 400 years (146,097 days).
 */
void
spinpanel_plan_text_date(PlanText *text, PlanTime moment)
{
	int64_t days = moment / PLAN_DAY - (moment % PLAN_DAY < 0 ? 1 : 0);
	int64_t era;
	int64_t day_of_era;
	int64_t year_of_era;
	int64_t day_of_year;
	int64_t month;

	if (moment == PLAN_NEVER)
	{
		spinpanel_plan_text_add(text, "no known date");
		return;
	}
	days += 730425; /* from 0000-03-01 to 2000-01-01 */
	era = (days >= 0 ? days : days - 146096) / 146097;
	day_of_era = days - era * 146097;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153;
	spinpanel_plan_text_add(text, "%04lld-%02lld-%02lld",
							(long long) (year_of_era + era * 400 + (month >= 10 ? 1 : 0)),
							(long long) (month < 10 ? month + 3 : month - 9),
							(long long) (day_of_year - (153 * month + 2) / 5 + 1));
}

void
spinpanel_plan_text_pool(PlanText *text, const PlanPool *pool, const PlanSeats *seats)
{
	spinpanel_plan_text_add(text, "%lld owned", (long long) seats->owned);
	if (seats->absent > 0)
		spinpanel_plan_text_add(text, " (%lld not provisioned)", (long long) seats->absent);
	spinpanel_plan_text_add(text, ", %d assigned", (int) pool->consumed);
	if (pool->waiting > 0)
		spinpanel_plan_text_add(text, ", %d waiting", (int) pool->waiting);
	if (pool->spare > 0)
		spinpanel_plan_text_add(text, ", %d spare", (int) pool->spare);
	if (pool->min_seats > 0 && seats->floor > seats->need + seats->absent)
		spinpanel_plan_text_add(text, ", at least %d by rule", (int) pool->min_seats);
	spinpanel_plan_text_add(text, ": %lld unused", (long long) seats->excess);
}
