/*
 * plan_test.c
 *
 * Every rule of the planner and every trap that is known, one line each: a
 * pool in words (see fixture.c), what must be decided, and words that a reason
 * must hold.
 *
 * Decisions: "reduce 0 12>10" (subscription, from, to), "!" = waits for
 * approval, "m1" = part of merge 1; "none" is left out.  Figures: "excess
 * now renewal".
 */
#include "fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case
{
	const char *name;
	const char *pool;
	const char *plan;
	const char *says; /* in some reason, or NULL */
	const char *figures; /* excess, now, renewal; or NULL */
	const char *blocked; /* blocked_by begins so; NULL = not looked at */
} Case;

static const Case cases[] = {
	/* rule 4: new commerce, now */
	{ "nothing unused, nothing done", "nce 12 consumed 12", "", NULL, "0 0 0", "" },
	{ "unused seats inside a window go back", "nce 12 batch 2@+72h consumed 10", "reduce 0 12>10",
	  "12 owned, 10 assigned: 2 unused; 2 refundable until 2026-11-27", "2 2 0", "" },
	{ "only as many as the window holds", "nce 12 batch 1@+72h consumed 10", "reduce 0 12>11",
	  "1 outside refund windows, next renewal on 2027-03-04", "2 1 1", "" },
	{ "outside the window nothing goes now", "nce 12 consumed 10", "", "2 outside refund windows",
	  "2 0 2", "" },
	{ "a window that closes within the hour is closed", "nce 12 batch 2@+59m consumed 10", "", NULL,
	  "2 0 2", NULL },
	{ "the sum over batches counts", "nce 12 batch 1@+72h renewed 1@+90h consumed 10",
	  "reduce 0 12>10", NULL, "2 2 0", "" },
	{ "not below the minimum", "nce 12 min 11 batch 12@+72h consumed 5", "reduce 0 12>11", NULL,
	  "7 1 0", "" },
	{ "new commerce is never suspended", "nce 5 nce 5 consumed 5", "", NULL, "5 0 5", NULL },
	{ "cancelled whole while that is possible", "nce 10 nce 5 cancel_until +48h consumed 10",
	  "cancel 1 5>0", "can be cancelled until 2026-11-26", "5 5 0", "" },
	{ "not cancelled in its last hour", "nce 10 nce 5 cancel_until +1h consumed 10", "", NULL,
	  "5 0 5", NULL },
	{ "not cancelled when some of it is needed", "nce 10 nce 5 cancel_until +48h consumed 11", "",
	  NULL, "4 0 4", NULL },
	{ "not cancelled by a run without renewals",
	  "now_only nce 10 nce 5 cancel_until +48h consumed 10", "", NULL, "5 0 5", NULL },
	{ "a base with an active add-on is not cancelled",
	  "nce 10 nce 5 base cancel_until +48h consumed 10", "", NULL, NULL, NULL },
	{ "extended terms are cancelled at any time", "nce 10 nce 5 extended consumed 10",
	  "cancel 1 5>0", "extended service terms", "5 5 0", "" },
	{ "extended terms are lowered only inside a window", "nce 5 extended consumed 4", "", NULL,
	  "1 0 0", NULL },
	{ "extended terms inside a window are lowered", "nce 5 extended batch 1@+72h consumed 4",
	  "reduce 0 5>4", NULL, "1 1 0", "" },
	{ "duplicates are not merged; the youngest gives first",
	  "nce 10 dup 1 batch 5@+72h nce 10 dup 1 batch 5@+72h consumed 17", "reduce 1 10>7", NULL,
	  "3 3 0", "" },

	/* what a person rejected */
	{ "what a person rejected is not done", "legacy 10 rejected 6 consumed 6", "",
	  "4 kept as a person rejected their removal", "4 0 0", "" },
	{ "... nor a smaller piece of it", "legacy 10 rejected 4 consumed 6", "",
	  "4 kept as a person rejected their removal", "4 0 0", "" },
	{ "... what goes further is asked for", "legacy 10 rejected 7 consumed 6", "reduce 0 10>6!",
	  NULL, "4 4 0", "" },
	{ "a rejected reduction is not scheduled either", "nce 10 end +7d rejected 6 consumed 6", "",
	  "4 kept as a person rejected", "4 0 0", "" },
	{ "... what we had scheduled stands", "nce 10 end +7d next 8 ours rejected 6 consumed 6", "",
	  "2 already scheduled for 2026-12-01; 2 kept as a person rejected", "4 0 0", "" },
	{ "... and is put back where it is needed", "nce 10 end +7d next 6 ours rejected 6 consumed 8",
	  "reduce_at_renewal 0 10>8", NULL, "2 0 2", "" },
	{ "the now goes not, so that the later is not asked for",
	  "nce 10 end +7d batch 2@+72h rejected 8 consumed 4", "", "6 kept as a person rejected",
	  "6 0 0", "" },
	{ "a rejected step takes its subscription out of merging",
	  "legacy 6 dup 1 legacy 7 dup 1 rejected 0 consumed 10", "",
	  "3 kept as a person rejected their removal", "3 0 0", "" },
	{ "... and is not returned elsewhere instead",
	  "legacy 10 rejected 5 nce 5 batch 5@+72h consumed 10", "",
	  "5 kept as a person rejected their removal", "5 0 0", "" },

	/* a shortage that is not ours */
	{ "more assigned than owned is told", "nce 10 consumed 12", "",
	  "12 assigned, 10 owned: 2 too few", "0 0 0", "12 assigned, 10 owned: 2 too few" },
	{ "... also where others have seats here", "nce 10 active 15 consumed 12", "",
	  "12 assigned, 10 owned, 5 of others: 2 use seats of others", "0 0 0", "" },
	{ "... and told what others do not cover", "nce 10 active 11 consumed 12", "",
	  "12 assigned, 10 owned, 1 of others: 1 too few", "0 0 0",
	  "12 assigned, 10 owned, 1 of others: 1 too few" },
	{ "... not where all seats are of others", "nce 1 trial active 15 consumed 12", "", NULL,
	  "0 0 0", NULL },

	/* rule 0: supply is a function of time */
	{ "the other subscription ends next week",
	  "legacy 10 nce 5 end +7d no_renew person consumed 10", "",
	  "5 needed when other seats end on 2026-12-01", "5 0 0", NULL },
	{ "... but what is unused even then goes", "legacy 10 nce 5 end +7d no_renew person consumed 8",
	  "reduce 0 10>8", NULL, "7 2 0", NULL },
	{ "... in extended terms too", "legacy 10 nce 5 extended end +20d cancelled person consumed 10",
	  "", NULL, "5 0 0", NULL },
	{ "an explicit cancel ends seats", "legacy 10 nce 5 end +300d cancelled person consumed 10", "",
	  NULL, "5 0 0", NULL },
	{ "a person's lower next term counts", "legacy 10 nce 5 end +7d next 2 person consumed 10",
	  "reduce 0 10>8", NULL, "5 2 0", NULL },
	{ "a product change takes seats out of the pool",
	  "legacy 10 nce 5 end +7d other_sku consumed 10", "", NULL, "5 0 0", NULL },
	{ "a scheduled increase is not relied on",
	  "legacy 10 nce 5 end +5d next 9 person nce 4 end +7d no_renew person consumed 15", "",
	  "4 needed when other seats end", "4 0 0", NULL },
	{ "less than the floor by a person's schedule: said, by how many",
	  "nce 10 end +7d next 6 person consumed 9", "",
	  "9 needed, but only 6 remain from 2026-12-01, 3 too few: a person decided so", "1 0 0",
	  NULL },
	{ "... even where nothing is unused now", "nce 10 end +7d cancelled person consumed 10", "",
	  "10 too few", "0 0 0", NULL },
	{ "three years beside a month: the three years stay, the month is ended",
	  "nce 5 end +900d nce 5 end +10d consumed 5", "end_at_term 1 5>0", "ends on 2026-12-04",
	  "5 0 5", NULL },
	{ "foreign seats never justify a removal", "legacy 10 active 30 consumed 12 settled 9", "",
	  NULL, "0 0 0", "" },
	{ "seats not yet provisioned are no supply",
	  "legacy 10 legacy 5 active 10 consumed 10 settled 5", "", NULL, "0 0 0", NULL },
	{ "trial seats are foreign", "legacy 10 nce 25 trial active 35 consumed 12", "", NULL, "0 0 0",
	  NULL },
	{ "suspended seats are none", "legacy 10 legacy 5 suspended person active 10 consumed 9",
	  "reduce 0 10>9", NULL, "1 1 0", "" },

	/* rule 1 */
	{ "switched off: figures, no decision", "off nce 12 batch 2@+72h consumed 10", "",
	  "switched off", "2 2 0", "switched off" },
	{ "switched off, but as if it were on", "off ignore_switch nce 12 batch 2@+72h consumed 10",
	  "reduce 0 12>10", NULL, "2 2 0", "" },
	{ "paused", "paused nce 12 batch 2@+72h consumed 10", "", "paused", "2 0 0", "paused" },
	{ "excluded", "excluded legacy 12 consumed 10", "", "excluded", "2 0 0", "excluded" },
	{ "Tenant SKU", "tenant legacy 12 consumed 0", "", "Tenant SKU", "12 0 0", "Tenant SKU" },
	{ "device SKU", "never_assigned legacy 12 consumed 0", "", "never assigned", "12 0 0",
	  "SKU that is never" },
	{ "no access", "no_access legacy 12 consumed 0", "", "no licence access", "12 0 0",
	  "no licence access" },
	{ "trial only", "nce 25 trial active 25 consumed 1", "", NULL, "0 0 0", "trial" },
	{ "stale", "read -27h legacy 12 consumed 10", "", "stale", "2 0 0", "stale" },
	{ "consumed zero is doubted", "doubt legacy 12 consumed 0", "", "consumed fell", "12 0 0",
	  "consumed fell" },
	{ "doubt holds in the last run before a deadline too", "doubt nce 12 batch 12@+5h consumed 0",
	  "", NULL, "12 0 0", "consumed fell" },
	{ "contradictory numbers", "legacy 12 consumed -1", "", "contradictory", NULL,
	  "contradictory" },
	{ "an earlier removal is not visible", "unsettled legacy 12 consumed 10", "", "not visible yet",
	  "2 0 0", "an earlier" },
	{ "a change under way in the pool", "open legacy 12 consumed 10", "", "under way", "2 0 0",
	  "a change" },
	{ "a change under way on the subscription", "legacy 12 pending consumed 10", "", "under way",
	  "2 0 0", "a change" },
	{ "a renewal in progress", "nce 12 renewing batch 2@+72h consumed 10", "", NULL, "2 0 0",
	  NULL },
	{ "another commerce type is neither owned nor touched",
	  "legacy 12 alien 5 active 17 consumed 12", "", NULL, "0 0 0", "" },
	{ "a person's end stands", "nce 12 no_renew person end +200d batch 2@+72h consumed 10", "",
	  NULL, "2 0 0", NULL },
	{ "changed too often in its life", "legacy 12 changes 1000 consumed 10", "", NULL, "2 0 0",
	  NULL },

	/* rule 2: cool-down */
	{ "a seat freed today stays", "legacy 12 settled 1 consumed 9", "reduce 0 12>11",
	  "2 kept until cool-down ends", "3 1 0", "" },
	{ "waiting and spare come off what is settled",
	  "legacy 12 settled 3 waiting 1 spare 1 consumed 8", "reduce 0 12>11", NULL, "2 1 0", "" },
	{ "seats bought today stay", "nce 12 batch 2@+165h consumed 10", "", NULL, "2 0 2", "" },
	{ "a subscription bought today stays",
	  "legacy 10 legacy 2 created -3h known -500h consumed 10 settled 0", "",
	  "2 kept until cool-down ends", "2 0 0", "" },
	{ "... also where we came later than it",
	  "legacy 10 legacy 2 created -3h known -1h consumed 10", "", NULL, "2 0 0", "" },
	{ "seats bought before we came stay, whoever holds the window",
	  "known -1h nce 10 batch 5@+160h nce 5 batch 5@+100h consumed 8", "reduce 1 5>3", NULL, NULL,
	  "" },
	{ "what was unused when we came is past its cool-down",
	  "known -1h nce 12 batch 2@+72h consumed 10", "reduce 0 12>10", NULL, "2 2 0", "" },
	{ "a batch that a renewal opened is no addition", "nce 12 renewed 12@+167h consumed 10",
	  "reduce 0 12>10", NULL, "2 2 0", "" },
	{ "deadline: 26 hours ahead is too early for the exception",
	  "nce 12 batch 2@+26h settled 0 consumed 10", "", NULL, "2 0 2", "" },
	{ "deadline: less than 26 hours ahead it goes, cool-down or not",
	  "nce 12 batch 2@+1559m settled 0 consumed 10", "reduce 0 12>10", "last run", "2 2 0", "" },
	{ "deadline: more than one hour ahead it still goes",
	  "nce 12 batch 2@+61m settled 0 consumed 10", "reduce 0 12>10", NULL, "2 2 0", "" },
	{ "deadline: one hour ahead it does not", "nce 12 batch 2@+1h settled 0 consumed 10", "", NULL,
	  "2 0 2", "" },
	{ "only seats of that batch are excepted",
	  "nce 12 batch 1@+20h batch 3@+72h settled 0 consumed 8", "reduce 0 12>11", NULL, "4 1 3",
	  "" },
	{ "a long cool-down does not outlast the window",
	  "cooldown 200h nce 12 batch 2@+20h settled 0 consumed 10", "reduce 0 12>10", NULL, "2 2 0",
	  "" },
	{ "a fresh seat may be scheduled: it will be past its cool-down",
	  "nce 12 end +10d settled 0 consumed 10", "reduce_at_renewal 0 12>10", NULL, "2 0 2", "" },
	{ "... not for a renewal tonight", "nce 12 end +4h settled 0 consumed 10", "", NULL, "2 0 0",
	  "" },

	/* rule 3: legacy */
	{ "legacy is lowered now", "legacy 12 consumed 10", "reduce 0 12>10", "at any time", "2 2 0",
	  "" },
	{ "the youngest first", "legacy 10 created -300d legacy 10 created -100d consumed 17",
	  "reduce 1 10>7", NULL, "3 3 0", "" },
	{ "what lies wholly inside the excess is suspended", "legacy 10 legacy 3 consumed 8",
	  "suspend 1 3>0; reduce 0 10>8", NULL, "5 5 0", "" },
	{ "not below the offer's minimum", "legacy 10 min 9 consumed 5", "reduce 0 10>9",
	  "below the offer's minimum", "5 1 0", "" },
	{ "a base with an active add-on stays", "legacy 5 legacy 5 base consumed 5",
	  "reduce 1 5>1; reduce 0 5>4", NULL, "5 5 0", "" },
	{ "an add-on before its base", "legacy 5 legacy 5 addon created -900d consumed 5",
	  "suspend 1 5>0", NULL, "5 5 0", "" },
	{ "duplicates are merged: what the floor needs of the younger",
	  "legacy 10 dup 1 legacy 5 dup 1 consumed 12", "raise 0 10>12 m1; suspend 1 5>0 m1",
	  "merged onto the oldest", "3 3 0", "" },
	{ "the oldest is the one created first",
	  "legacy 5 dup 1 created -10d legacy 10 dup 1 created -90d consumed 12",
	  "raise 1 10>12 m1; suspend 0 5>0 m1", NULL, "3 3 0", "" },
	{ "merged where nothing is unused too", "legacy 10 dup 1 legacy 5 dup 1 consumed 15",
	  "raise 0 10>15 m1; suspend 1 5>0 m1", NULL, "0 0 0", "" },
	{ "not above the maximum of the oldest",
	  "legacy 10 max 11 dup 1 legacy 5 max 11 dup 1 consumed 12", "reduce 1 5>2", NULL, "3 3 0",
	  "" },
	{ "three onto one", "legacy 10 dup 1 legacy 5 dup 1 legacy 5 dup 1 consumed 13",
	  "raise 0 10>13 m1; suspend 2 5>0 m1; suspend 1 5>0 m1", NULL, "7 7 0", "" },
	{ "as many as the maximum lets vanish",
	  "legacy 10 max 12 dup 1 legacy 5 max 12 dup 1 legacy 5 max 12 dup 1 consumed 16",
	  "raise 0 10>11 m1; suspend 2 5>0 m1", NULL, "4 4 0", "" },
	{ "no raise where the oldest alone is enough", "legacy 10 dup 1 legacy 5 dup 1 consumed 9",
	  "suspend 1 5>0; reduce 0 10>9", NULL, "6 6 0", "" },
	{ "all of them unused: all are suspended", "legacy 9 legacy 10 dup 1 legacy 5 dup 1 consumed 9",
	  "suspend 2 5>0; suspend 1 10>0", NULL, "15 15 0", "" },
	{ "unlike subscriptions are not merged", "legacy 10 dup 1 legacy 5 dup 2 consumed 12",
	  "reduce 1 5>2", NULL, "3 3 0", "" },
	{ "nor those of two accounts", "legacy 10 dup 1 legacy 5 dup 1 account 2 consumed 12",
	  "reduce 1 5>2", NULL, "3 3 0", "" },
	{ "nor add-ons", "legacy 10 dup 1 legacy 5 dup 1 addon consumed 12", "reduce 1 5>2", NULL,
	  "3 3 0", "" },
	{ "nor bases with an add-on", "legacy 10 dup 1 base legacy 5 dup 1 consumed 12", "reduce 1 5>2",
	  NULL, "3 3 0", "" },
	{ "nor where a person decided", "legacy 10 dup 1 legacy 5 dup 1 next 4 person consumed 12",
	  "reduce 0 10>8", NULL, NULL, NULL },
	{ "nor while seats are short at some later moment",
	  "legacy 10 dup 1 legacy 5 dup 1 nce 5 end +7d no_renew person consumed 20", "", "5 too few",
	  "0 0 0", NULL },
	{ "the raise keeps seats that cool down",
	  "legacy 10 dup 1 legacy 5 dup 1 settled 1 consumed 11", "raise 0 10>14 m1; suspend 1 5>0 m1",
	  NULL, "4 1 0", "" },
	{ "legacy and new commerce beside each other: the youngest",
	  "legacy 10 nce 10 batch 10@+72h consumed 5", "reduce 0 10>4; reduce 1 10>1", NULL, "15 15 0",
	  "" },

	/* rule 5: at renewal */
	{ "scheduled within the lead", "nce 12 end +14d consumed 10", "reduce_at_renewal 0 12>10",
	  "returned at the renewal on 2026-12-08", "2 0 2", "" },
	{ "not before", "nce 12 end +15d consumed 10", "", "2 outside", "2 0 2", "" },
	{ "renewals far ahead count as known", "nce 12 end +1000d consumed 10", "", NULL, "2 0 2", "" },
	{ "no known renewal, nothing at renewal", "nce 12 end_unknown consumed 10", "", "no known date",
	  "2 0 0", "" },
	{ "the window first, the rest at renewal", "nce 12 end +10d batch 1@+72h consumed 10",
	  "reduce 0 12>11; reduce_at_renewal 0 11>10", NULL, "2 1 1", "" },
	{ "the earliest renewal", "nce 10 end +12d nce 10 end +5d consumed 17",
	  "reduce_at_renewal 1 10>7", NULL, "3 0 3", "" },
	{ "wholly surplus: ended at term", "nce 10 end +200d nce 5 end +10d consumed 10",
	  "end_at_term 1 5>0", NULL, "5 0 5", "" },
	{ "... after the window gave what it still gives",
	  "nce 10 end +200d nce 5 end +10d batch 2@+72h consumed 10", "reduce 1 5>3; end_at_term 1 3>0",
	  NULL, "5 2 3", "" },
	{ "as scheduled already: nothing", "nce 12 end +10d next 10 ours consumed 10", "",
	  "2 already scheduled for 2026-12-04", "2 0 2", "" },
	{ "a schedule of ours takes more when more is unused",
	  "nce 12 end +10d next 10 ours consumed 8", "reduce_at_renewal 0 12>8", NULL, "4 0 4", "" },
	{ "a schedule of ours gives back what is needed", "nce 12 end +10d next 8 ours consumed 10",
	  "reduce_at_renewal 0 12>10", "we had scheduled 8", "2 0 2", "" },
	{ "... all of it", "nce 12 end +10d next 8 ours consumed 12", "reduce_at_renewal 0 12>12", NULL,
	  "0 0 0", "" },
	{ "an end of ours is taken back", "nce 12 end +10d cancelled ours consumed 3",
	  "reduce_at_renewal 0 12>3", NULL, "9 0 9", "" },
	{ "the last run looks at ours whatever the lead says",
	  "lead 0d nce 12 end +20h next 8 ours consumed 10", "reduce_at_renewal 0 12>10", NULL, NULL,
	  NULL },
	{ "... and takes no more then", "lead 0d nce 12 end +20h next 10 ours consumed 8", "", NULL,
	  NULL, NULL },
	{ "ours is put back in doubt too, but nothing taken",
	  "doubt nce 12 end +10d next 8 ours consumed 10", "reduce_at_renewal 0 12>10", NULL, NULL,
	  NULL },
	{ "not where the pool is paused", "paused nce 12 end +10d next 8 ours consumed 10", "", NULL,
	  NULL, NULL },
	{ "a person's schedule is not changed", "nce 12 end +10d next 11 person consumed 5", "", NULL,
	  "7 0 0", NULL },
	{ "a schedule of ours beyond the lead counts as it stands",
	  "legacy 10 nce 5 end +100d next 3 ours consumed 13", "", "2 needed when other seats end",
	  "2 0 2", NULL },
	{ "what we scheduled is put back before another takes it",
	  "nce 10 end +12d next 8 ours nce 10 end +5d consumed 18",
	  "reduce_at_renewal 0 10>10; reduce_at_renewal 1 10>8", NULL, "2 0 2", "" },
	{ "one subscription rather than two", "nce 10 end +9d nce 10 end +9d consumed 15",
	  "reduce_at_renewal 1 10>5", NULL, "5 0 5", "" },
	{ "a base with an active add-on is not ended", "nce 10 nce 5 base end +10d consumed 10",
	  "reduce_at_renewal 1 5>1", NULL, "5 0 5", "" },

	/* optimum */
	{ "cool-down allowance goes where the renewal is far",
	  "settled 1 nce 2 end +5d batch 1@+72h nce 2 end +200d batch 1@+72h consumed 2",
	  "reduce 1 2>1; reduce_at_renewal 0 2>1", NULL, NULL, "" },

	/* settings */
	{ "spare seats stay", "legacy 12 spare 2 consumed 10", "", NULL, "0 0 0", "" },
	{ "waiting seats stay", "legacy 12 waiting 1 consumed 10 settled 2", "reduce 0 12>11", NULL,
	  "1 1 0", "" },
	{ "min_seats is a lower bound of owned", "legacy 12 min_seats 11 consumed 5", "reduce 0 12>11",
	  NULL, "1 1 0", "" },

	/* rule 6 */
	{ "within the limit", "legacy 40 consumed 20", "reduce 0 40>20", NULL, NULL, NULL },
	{ "above the limit it waits", "legacy 40 consumed 19", "reduce 0 40>19!", NULL, NULL, NULL },
	{ "the larger of the two numbers", "legacy 10 consumed 1", "reduce 0 10>1", NULL, NULL, NULL },
	{ "the last 24 hours count", "recent 1 legacy 40 consumed 20", "reduce 0 40>20!", NULL, NULL,
	  NULL },
	{ "scheduled ones count", "nce 40 end +10d consumed 19", "reduce_at_renewal 0 40>19!", NULL,
	  NULL, NULL },
	{ "a merge counts net", "limit 3 percent 0 legacy 10 dup 1 legacy 5 dup 1 consumed 12",
	  "raise 0 10>12 m1; suspend 1 5>0 m1", NULL, NULL, NULL },
	{ "a merge waits as a whole", "limit 2 percent 0 legacy 10 dup 1 legacy 5 dup 1 consumed 12",
	  "raise 0 10>12 m1!; suspend 1 5>0 m1!", NULL, NULL, NULL },
	{ "putting back never waits", "limit 0 percent 0 nce 12 end +10d next 8 ours consumed 12",
	  "reduce_at_renewal 0 12>12", NULL, NULL, NULL },
	{ "the last paid subscription waits to be cancelled",
	  "paid 1 nce 5 cancel_until +48h consumed 0", "cancel 0 5>0!", NULL, NULL, NULL },
	{ "the last but one does not", "paid 2 nce 5 cancel_until +48h consumed 0", "cancel 0 5>0",
	  NULL, NULL, NULL },
	{ "both of two: they wait", "paid 2 nce 5 cancel_until +48h nce 5 cancel_until +48h consumed 0",
	  "cancel 1 5>0!; cancel 0 5>0!", NULL, NULL, NULL },
	{ "the last one, as the other ends already",
	  "paid 2 nce 5 end +200d cancelled ours nce 5 cancel_until +48h consumed 0", "cancel 1 5>0!",
	  NULL, NULL, NULL },
	{ "never seen consumed there: cancelling waits", "unseen nce 5 cancel_until +48h consumed 0",
	  "cancel 0 5>0!", NULL, NULL, NULL },
	{ "... and ending", "unseen nce 5 end +10d consumed 0", "end_at_term 0 5>0!", NULL, NULL,
	  NULL },
	{ "... but not lowering", "unseen nce 5 batch 5@+72h consumed 3", "reduce 0 5>3", NULL, NULL,
	  NULL },
	{ "never seen consumed anywhere: every removal waits", "sku_unseen legacy 5 consumed 3",
	  "reduce 0 5>3!", NULL, NULL, NULL },
};

static int number;
static int failures;

static void
report(bool good, const char *what, const char *name)
{
	printf("%sok %d - %s%s\n", good ? "" : "not ", ++number, what, name);
	failures += !good;
}

static void
describe(const PlanResult *plan, char *text, size_t size)
{
	size_t length = 0;
	int32_t i;

	text[0] = '\0';
	for (i = 0; i < plan->count && length < size; i++)
	{
		const PlanDecision *d = &plan->decisions[i];
		char merge[16] = "";

		if (d->action == PLAN_NONE)
			continue;
		if (d->merge > 0)
			snprintf(merge, sizeof(merge), " m%d", d->merge);
		length += (size_t) snprintf(text + length, size - length, "%s%s %d %d>%d%s%s",
									length > 0 ? "; " : "", spinpanel_plan_action_name(d->action),
									d->subscription, d->from_quantity, d->to_quantity, merge,
									d->needs_approval ? "!" : "");
	}
}

static void
run_case(const Case *c)
{
	Fixture f;
	PlanResult plan;
	PlanExcess excess;
	char text[1024];
	char figures[64];
	bool said = c->says == NULL;
	bool good;
	int32_t i;

	fixture_parse(&f, c->pool);
	spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
	describe(&plan, text, sizeof(text));
	for (i = 0; i < plan.count && !said; i++)
		said = strstr(plan.decisions[i].reason, c->says) != NULL;
	spinpanel_plan_excess(&f.pool, &f.options, &excess);
	snprintf(figures, sizeof(figures), "%d %d %d", excess.excess, excess.reducible_now,
			 excess.reducible_at_renewal);
	good = strcmp(text, c->plan) == 0 && said &&
		   (c->figures == NULL || strcmp(figures, c->figures) == 0) &&
		   (c->blocked == NULL || (c->blocked[0] == '\0' ? excess.blocked_by[0] == '\0'
														 : strncmp(excess.blocked_by, c->blocked,
																   strlen(c->blocked)) == 0));
	report(good, "", c->name);
	if (!good)
	{
		printf("#  %s\n#  planned: %s\n# expected: %s\n# figures: %s blocked: %s\n", c->pool, text,
			   c->plan, figures, excess.blocked_by);
		for (i = 0; i < plan.count; i++)
			printf("#  %s\n", plan.decisions[i].reason);
	}
	spinpanel_plan_free(&plan);
}

/* ---- the judgement right before sending ------------------------------------ */

typedef struct JudgeCase
{
	const char *name;
	const char *pool;
	int subscription;
	PlanAction action;
	int wanted;
	int lowest;
	const char *says;
} JudgeCase;

static const JudgeCase judge_cases[] = {
	{ "as planned", "legacy 12 consumed 10", 0, PLAN_REDUCE, 10, 10, "" },
	{ "somebody took a seat meanwhile", "legacy 12 consumed 11", 0, PLAN_REDUCE, 10, 11, "needed" },
	{ "all taken", "legacy 12 consumed 12", 0, PLAN_REDUCE, 10, 12, "needed" },
	{ "never below what was wanted", "legacy 12 consumed 5", 0, PLAN_REDUCE, 10, 10, "" },
	{ "the window closed", "nce 12 batch 2@+30m consumed 10", 0, PLAN_REDUCE, 10, 12, "window" },
	{ "the window shrank", "nce 12 batch 1@+72h consumed 10", 0, PLAN_REDUCE, 10, 11, "window" },
	{ "a seat freed meanwhile stays", "legacy 12 settled 1 consumed 10", 0, PLAN_REDUCE, 10, 11,
	  "cool-down" },
	{ "the offer's minimum", "legacy 12 min 11 consumed 5", 0, PLAN_REDUCE, 5, 11, "minimum" },
	{ "suspended whole", "legacy 10 legacy 5 consumed 10", 1, PLAN_SUSPEND, 0, 0, "" },
	{ "not suspended when a seat of it is needed", "legacy 10 legacy 5 consumed 11", 1,
	  PLAN_SUSPEND, 0, 1, "needed" },
	{ "new commerce is not suspended", "nce 10 nce 5 consumed 10", 1, PLAN_SUSPEND, 0, 5,
	  "window" },
	{ "cancelled", "nce 10 nce 5 cancel_until +48h consumed 10", 1, PLAN_CANCEL, 0, 0, "" },
	{ "not cancelled after its window", "nce 10 nce 5 cancel_until +1h consumed 10", 1, PLAN_CANCEL,
	  0, 5, "window" },
	{ "another ends meanwhile", "legacy 12 nce 5 end +7d no_renew person consumed 12", 0,
	  PLAN_REDUCE, 10, 12, "when other seats end" },
	{ "a person decided meanwhile", "nce 12 no_renew person batch 2@+72h consumed 10", 0,
	  PLAN_REDUCE, 10, 12, "person" },
	{ "switched off meanwhile", "off legacy 12 consumed 10", 0, PLAN_REDUCE, 10, 12,
	  "switched off" },
	{ "in doubt", "doubt legacy 12 consumed 0", 0, PLAN_REDUCE, 10, 12, "consumed fell" },
	{ "at renewal", "nce 12 end +10d consumed 10", 0, PLAN_REDUCE_AT_RENEWAL, 10, 10, "" },
	{ "at renewal, needed meanwhile", "nce 12 end +10d consumed 11", 0, PLAN_REDUCE_AT_RENEWAL, 10,
	  11, "needed" },
	{ "ended at term", "nce 10 nce 5 end +10d consumed 10", 1, PLAN_END_AT_TERM, 0, 0, "" },
	{ "not ended, needed meanwhile", "nce 10 nce 5 end +10d consumed 12", 1, PLAN_END_AT_TERM, 0, 2,
	  "needed" },
	{ "an end of ours put back", "nce 12 end +2h cancelled ours settled 0 consumed 9", 0,
	  PLAN_REDUCE_AT_RENEWAL, 9, 9, "" },
	{ "trial", "legacy 5 nce 12 trial consumed 0", 1, PLAN_REDUCE, 10, 12, "paid" },
	{ "a raise within the maximum", "legacy 10 max 12 dup 1 legacy 5 dup 1 consumed 12", 0,
	  PLAN_RAISE, 15, 12, NULL },
};

static void
run_judge_case(const JudgeCase *c)
{
	Fixture f;
	char reason[240];
	int32_t lowest;
	bool good;

	fixture_parse(&f, c->pool);
	lowest = spinpanel_plan_judge(&f.pool, c->subscription, c->action, c->wanted, &f.options,
								  reason, sizeof(reason));
	good = lowest == c->lowest &&
		   (c->says == NULL ||
			(c->says[0] == '\0' ? reason[0] == '\0' : strstr(reason, c->says) != NULL));
	report(good, "judged: ", c->name);
	if (!good)
		printf("#  %s\n# lowest %d, expected %d: %s\n", c->pool, lowest, c->lowest, reason);
}

/* ---- putting back ------------------------------------------------------------ */

typedef struct PutBackCase
{
	const char *name;
	const char *pool;
	int subscription;
	int wanted;
	int next;
} PutBackCase;

static const PutBackCase put_back_cases[] = {
	{ "as many as lack", "nce 14 end +2h next 10 ours consumed 12", 0, 10, 12 },
	{ "nobody lacks one: as it stands", "nce 14 end +2h next 10 ours consumed 10", 0, 10, 10 },
	{ "never less than stands scheduled", "nce 14 end +2h next 12 ours consumed 3", 0, 5, 12 },
	{ "what was wanted, where more does not lack", "nce 14 end +2h next 10 ours consumed 10", 0, 13,
	  13 },
	{ "never more than it has", "nce 14 end +2h next 10 ours consumed 30", 0, 20, 14 },
	{ "what is asked for counts", "nce 14 end +2h next 10 ours consumed 10 waiting 3", 0, 10, 13 },
	{ "spare seats do not", "nce 14 end +2h next 10 ours consumed 10 spare 3 min_seats 14", 0, 10,
	  10 },
	{ "another one has seats left", "nce 14 end +2h next 10 ours legacy 5 consumed 15", 0, 10, 10 },
	{ "... unless it ends with it",
	  "nce 14 end +2h next 10 ours nce 5 end +2h cancelled ours "
	  "consumed 15",
	  0, 10, 14 },
	{ "... or before", "nce 14 end +2h next 10 ours nce 5 end +1h no_renew person consumed 13", 0,
	  10, 13 },
	{ "one that ends later stands in until then",
	  "nce 14 end +2h next 10 ours nce 5 end +3h no_renew person consumed 15", 0, 10, 10 },
	{ "an end, put back by as much as lacks", "nce 14 end +2h cancelled ours nce 10 consumed 13", 0,
	  0, 3 },
	{ "seats of others are none", "nce 14 end +2h next 10 ours active 30 consumed 12", 0, 10, 12 },
	{ "trials neither", "nce 14 end +2h next 10 ours nce 9 trial consumed 12", 0, 10, 12 },
	{ "switched off", "off nce 14 end +2h next 10 ours consumed 12", 0, 10, 12 },
	{ "excluded", "excluded nce 14 end +2h next 10 ours consumed 12", 0, 10, 12 },
	{ "in doubt", "doubt nce 14 end +2h next 10 ours consumed 12", 0, 10, 12 },
	{ "an earlier removal not visible", "unsettled nce 14 end +2h next 10 ours consumed 12", 0, 10,
	  12 },
	{ "on figures of last week", "read -170h nce 14 end +2h next 10 ours consumed 12", 0, 10, 12 },
};

static void
run_put_back_case(const PutBackCase *c)
{
	Fixture f;
	int32_t next;

	fixture_parse(&f, c->pool);
	next = spinpanel_plan_put_back(&f.pool, c->subscription, c->wanted, &f.options);
	report(next == c->next, "put back: ", c->name);
	if (next != c->next)
		printf("#  %s\n# next %d, expected %d\n", c->pool, next, c->next);
}

typedef struct LackingCase
{
	const char *name;
	const char *pool;
	int holders;
	int hours; /* from now on */
	int lacking;
} LackingCase;

static const LackingCase lacking_cases[] = {
	{ "now, of what is owned now", "nce 10 end +2h next 6 ours", 12, 0, 2 },
	{ "seats left are below zero", "nce 10 legacy 5", 12, 0, -3 },
	{ "an hour before the renewal as now", "nce 10 end +2h next 6 ours", 10, 1, 0 },
	{ "from the renewal on as scheduled", "nce 10 end +2h next 6 ours", 10, 2, 4 },
	{ "an end leaves nothing", "nce 10 end +2h no_renew ours legacy 3", 10, 2, 7 },
	{ "another SKU leaves nothing", "nce 10 end +2h other_sku", 10, 2, 10 },
	{ "a scheduled increase is not relied on", "nce 10 end +2h next 14 person", 12, 2, 2 },
	{ "extended terms go on", "nce 10 end +2h extended", 10, 2, 0 },
	{ "each at its own moment", "nce 10 end +2h next 6 ours nce 10 end +9h next 6 ours", 20, 2, 4 },
	{ "... and both later", "nce 10 end +2h next 6 ours nce 10 end +9h next 6 ours", 20, 9, 8 },
	{ "suspended ones, trials and other commerce are none",
	  "nce 10 nce 5 suspended person nce 5 trial alien 5", 12, 0, 2 },
};

static void
run_lacking_case(const LackingCase *c)
{
	Fixture f;
	int64_t lacking;

	fixture_parse(&f, c->pool);
	lacking = spinpanel_plan_lacking(&f.pool, c->holders, FIXTURE_NOW,
									 FIXTURE_NOW + c->hours * PLAN_HOUR);
	report(lacking == c->lacking, "lacking: ", c->name);
	if (lacking != c->lacking)
		printf("#  %s\n# lacking %d, expected %d\n", c->pool, (int) lacking, c->lacking);
}

/* ---- what no line can say ---------------------------------------------------- */

/* Limits are of the customer: two pools, each within, together above. */
static void
test_two_pools(void)
{
	Fixture a;
	Fixture b;
	PlanPool pools[2];
	PlanResult plan;

	fixture_parse(&a, "legacy 30 consumed 15 start 60 percent 25");
	fixture_parse(&b, "legacy 30 consumed 24");
	pools[0] = a.pool;
	pools[1] = b.pool;
	spinpanel_plan_customer(pools, 2, &a.limits, &a.options, &plan);
	report(plan.count == 2 && plan.decisions[0].needs_approval &&
			   plan.decisions[1].needs_approval && plan.decisions[1].pool == 1,
		   "", "the limit is one for all pools of a customer");
	spinpanel_plan_free(&plan);

	a.limits.removal_limit_seats = 21;
	spinpanel_plan_customer(pools, 2, &a.limits, &a.options, &plan);
	report(plan.count == 2 && !plan.decisions[0].needs_approval &&
			   !plan.decisions[1].needs_approval,
		   "", "up to the limit nothing waits");
	spinpanel_plan_free(&plan);
}

/* Dates are right over leap years and centuries, before and after 2000. */
static void
test_dates(void)
{
	static const struct
	{
		int days;
		const char *date;
	} dates[] = {
		{ 1, "2000-01-02" },      { 59, "2000-02-29" },    { 60, "2000-03-01" },
		{ 365, "2000-12-31" },    { 366, "2001-01-01" },   { 8825, "2024-02-29" },
		{ 9824, "2026-11-24" },   { 36583, "2100-02-28" }, { 36584, "2100-03-01" },
		{ 146097, "2400-01-01" },
	};
	size_t i;
	bool good = true;

	for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++)
	{
		Fixture f;
		PlanResult plan;

		fixture_parse(&f, "nce 12 end +3d consumed 10");
		f.options.now = f.pool.read_at = dates[i].days * PLAN_DAY - PLAN_HOUR;
		f.subscriptions[0].created = f.options.now - 100 * PLAN_DAY;
		f.subscriptions[0].term_end = dates[i].days * PLAN_DAY;
		spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
		if (plan.count < 1 || strstr(plan.decisions[0].reason, dates[i].date) == NULL)
		{
			printf("# %s: %s\n", dates[i].date, plan.count > 0 ? plan.decisions[0].reason : "");
			good = false;
		}
		spinpanel_plan_free(&plan);
	}
	report(good, "", "dates");
}

/* Too large for the exact search: safe all the same, and quick. */
static void
test_large(void)
{
	Fixture f;
	PlanResult plan;
	int64_t left;
	int32_t i;

	fixture_parse(&f, "legacy 300000 legacy 200000 nce 400000 batch 100000@+72h "
					  "nce 300000 end +10d consumed 600000 settled 500000");
	spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
	left = plain_owned(&f.pool);
	for (i = 0; i < plan.count; i++)
		left -= plan.decisions[i].seats;
	report(left == 600000, "", "a very large pool");
	spinpanel_plan_free(&plan);

	fixture_parse(&f, "legacy 10 consumed 5");
	f.subscriptions[0].quantity = INT_MAX;
	f.pool.active = INT_MAX;
	spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
	report(plan.count == 1 && plan.decisions[0].action == PLAN_NONE, "",
		   "numbers that are no seats are contradictory");
	spinpanel_plan_free(&plan);
}

static void
test_empty(void)
{
	Fixture f;
	PlanResult plan;
	PlanExcess excess;

	fixture_parse(&f, "consumed 0 active 0");
	spinpanel_plan_customer(&f.pool, 1, &f.limits, &f.options, &plan);
	report(plan.count == 0 && !plan.out_of_memory, "", "a pool without subscriptions");
	spinpanel_plan_free(&plan);
	spinpanel_plan_customer(NULL, 0, &f.limits, &f.options, &plan);
	report(plan.count == 0 && !plan.out_of_memory, "", "no pools");
	spinpanel_plan_free(&plan);

	fixture_parse(&f, "nce 12 active 20 consumed 10 end +30d legacy 3 end +9d");
	spinpanel_plan_excess(&f.pool, &f.options, &excess);
	report(excess.owned == 15 && excess.foreign_seats == 5 && excess.floor == 10 &&
			   excess.next_renewal == FIXTURE_NOW + 9 * PLAN_DAY,
		   "", "owned, foreign, floor and next renewal are shown");
}

int
main(void)
{
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run_case(&cases[i]);
	for (i = 0; i < sizeof(judge_cases) / sizeof(judge_cases[0]); i++)
		run_judge_case(&judge_cases[i]);
	for (i = 0; i < sizeof(put_back_cases) / sizeof(put_back_cases[0]); i++)
		run_put_back_case(&put_back_cases[i]);
	for (i = 0; i < sizeof(lacking_cases) / sizeof(lacking_cases[0]); i++)
		run_lacking_case(&lacking_cases[i]);
	test_two_pools();
	test_dates();
	test_large();
	test_empty();
	printf("1..%d\n", number);
	return failures ? 1 : 0;
}
