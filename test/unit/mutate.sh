#!/bin/bash
# Breaks the planner on purpose, one way at a time, in a copy.  For each a test
# must fail: the table of cases, the brute force, or the properties.  Prints TAP.
cd "$(dirname "$0")" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
n=0 bad=0

# mutate NAME FILE PERL-SUBSTITUTION
mutate()
{
	local name=$1 file=$2 change=$3 by=
	rm -rf "$work/src" "$work/test"
	mkdir -p "$work/src/decide" "$work/test/unit"
	cp ../../src/decide/plan*.[ch] ../../src/decide/seats.[ch] "$work/src/decide/"
	cp fixture.[ch] plan_test.c brute.c property.c "$work/test/unit/"
	perl -0pi -e "$change" "$work/src/decide/$file"
	n=$((n + 1))
	if cmp -s "$work/src/decide/$file" "../../src/decide/$file"; then
		echo "not ok $n - $name: the mutation changes nothing any more"; bad=1; return
	fi
	for t in plan_test brute property; do
		(cd "$work/test/unit" && gcc -std=gnu99 -O1 -w -I../../src -o $t $t.c fixture.c ../../src/decide/*.c) ||
			{ echo "not ok $n - $name: does not compile"; bad=1; return; }
		(cd "$work/test/unit" && timeout 120 ./$t $([[ $t == plan_test ]] || echo 5000) >$t.out 2>&1) || by+=" $t"
	done
	if [[ $by ]]; then
		echo "ok $n - $name: seen by$by ($(grep -c '^not ok' "$work/test/unit/plan_test.out") cases)"
	else
		echo "not ok $n - $name: no test fails"; bad=1
	fi
}

# rule 0
mutate "waiting dropped from the floor" seats.c 's/(seats->need =.*?)at_least_zero\(pool->waiting\) \+/$1/s'
mutate "spare dropped from the floor" seats.c 's/(seats->need =.*?) \+\s+at_least_zero\(pool->spare\);/$1;/s'
mutate "min_seats ignored" seats.c 's/if \(seats->floor < pool->min_seats\)/if (false)/'
mutate "supply over time ignored" seats.c 's/seats->lasting \+= spinpanel_seats_lasting\(s, s->quantity, now\);/seats->lasting += s->quantity;/'
mutate "auto-renew off ends nothing" seats.c 's/(subscription->auto_renew) \|\| subscription->extended_term/true/'
mutate "an explicit cancel ends nothing" seats.c 's/if \(subscription->cancel_at_term\)\n\t\treturn true/if (false)\n\t\treturn true/'
mutate "lower next terms ignored" seats.c 's/if \(subscription->next_quantity >= 0\)/if (false)/'
mutate "product changes ignored" seats.c 's/ \|\|\s+subscription->next_other_sku\)/)/'
mutate "scheduled increases relied on" seats.c 's/return least\(subscription->next_quantity, quantity\)/return subscription->next_quantity/'
mutate "what was rejected is done" plan.c 's/return s->quantity - first >= s->rejected_to/return false/'
mutate "what goes further than rejected is done unasked" plan.c 's/rejected_to >= 0 && d->counted > 0/rejected_to >= 0 \&\& false/'
mutate "rejected steps merged" plan_legacy.c 's/s->rejected_to < 0 &&/true \&\&/'
mutate "a shortage is silent" plan.c 's/return pool->consumed > seats->owned &&/return false \&\&/'
mutate "seats not provisioned counted" seats.c 's/seats->floor = seats->need \+ seats->absent/seats->floor = seats->need/'
mutate "trials owned" seats.c 's/!subscription->trial &&//'
mutate "foreign seats justify removals" seats.c 's/seats->foreign = at_least_zero\(active - seats->owned\);/seats->foreign = at_least_zero(active - seats->owned); seats->lasting += seats->foreign;/'

# rule 1
mutate "a person decision overruled" plan.c 's/if \(is_persons\(s, now\)\)\n\t\treturn/if (false)\n\t\treturn/'
mutate "doubt ignored" plan.c 's/if \(pool->doubt != NULL\)\n\t\treturn pool->doubt;//'
mutate "age ignored" plan.c 's/if \(is_stale\(pool, now\)\)\n\t\treturn/if (false)\n\t\treturn/'
mutate "open operations ignored" plan.c 's/if \(pool->open_operation\)\n/if (false)\n/'
mutate "pending changes ignored" plan.c 's/if \(pool->subscriptions\[i\]\.pending\)/if (false)/; s/if \(s->pending\)/if (false)/'
mutate "unsettled removals ignored" plan.c 's/if \(pool->unsettled\)\n/if (false)\n/'
mutate "device SKUs touched" plan.c 's/if \(pool->never_assigned\)/if (false)/'
mutate "renewals in progress ignored" plan.c 's/if \(s->renewing\)/if (false)/'
mutate "number of changes ignored" plan.c 's/s->changes >= PLAN_MAX_CHANGES/false/'

# rule 2
mutate "cool-down dropped" seats.c 's/seats->settled = at_least_zero\(seats->settled\);/seats->settled = seats->owned;/'
mutate "seats bought today go" seats.c 's/if \(!last && batch_added_since\(batch, added_after\)\)/if (false)/'
mutate "subscriptions bought today go" seats.c 's/if \(subscription->created > after\)/if (false)/'
mutate "renewed batches are additions" seats.c 's/return !batch->by_renewal && /return /'
mutate "no exception before a deadline" seats.c 's/if \(last\)\n\t\t\t\*last_chance \+=/if (false)\n\t\t\t*last_chance +=/'
mutate "the exception a day too early" seats.c 's/last = ahead < PLAN_LAST_RUN;/last = ahead < 2 * PLAN_LAST_RUN;/'
mutate "the last hour used" seats.c 's/if \(ahead <= PLAN_TOO_LATE\)\n\t\t\tcontinue;//'
mutate "what was added before we came is old" seats.c 's/if \(pool->known_since > cool_since\)/if (false)/'
mutate "fresh seats scheduled for tonight" plan_nce.c 's/if \(leaf->near && choice->later > 0\)/if (false)/'

# rule 3
mutate "merged above the maximum" plan_legacy.c 's/share->oldest <= maximum &&/true \&\&/'
mutate "merge raises by all" plan_legacy.c 's/share->oldest = remaining;/share->oldest = leaf->quantity;/'
mutate "add-ons merged" plan_legacy.c 's/!s->is_addon &&//'
mutate "bases with an add-on merged" plan_legacy.c 's/!s->has_active_addon &&/true \&\&/'
mutate "a base with an add-on suspended" plan_legacy.c 's/leaf->whole = !member\(scene, leaf, 0\)->has_active_addon/leaf->whole = true/'
mutate "minimum ignored (legacy)" plan_legacy.c 's/s->minimum > 1 \? s->minimum : 1/1/'
mutate "accounts mixed" plan.c 's/a->account == b->account &&//'
mutate "the oldest first" plan.c 's/scene->rank\[me\] = i \+ 1/scene->rank[me] = count - i/'

# rule 4
mutate "windows ignored" seats.c 's/return least\(refundable, subscription->quantity\);/return subscription->quantity;/'
mutate "minimum ignored (new commerce)" plan_nce.c 's/leaf->minimum = s->minimum > 1 \? s->minimum : 1;/leaf->minimum = 1;/'
mutate "cancelled at any time" plan_nce.c 's/else if \(s->cancel_until > now && s->cancel_until - now > PLAN_TOO_LATE\)/else/'
mutate "extended terms like others" plan_nce.c 's/if \(s->extended_term\)\n\t\t\tleaf->whole = true;\n\t\telse //'

# rule 5
mutate "lead ignored" plan_nce.c 's/ahead <= pool->renewal_lead/true/'
mutate "ours never judged again" plan_nce.c 's/if \(leaf->open && ours\)/if (false)/'
mutate "the last run looks at no schedule beyond the lead" plan_nce.c 's/else if \(ours && ahead < PLAN_LAST_RUN\)/else if (false)/'
mutate "scheduled again every night" plan_nce.c 's/return choice->now > 0 \|\| taken > leaf->scheduled;/return true;/'
mutate "ours not put back in doubt" plan.c 's/if \(blocked == NULL \|\| softens\)/if (blocked == NULL)/'

# rule 6
mutate "no limit" plan.c 's/held = total > 0 &&/held = false \&\&/'
mutate "the smaller limit" plan.c 's/removal_limit_seats &&\n/removal_limit_seats ||\n/'
mutate "the last 24 hours forgotten" plan.c 's/total \+ limits->removed_recently/total/g'
mutate "the last subscription ends unasked" plan.c 's/ends && \(last \|\| /ends \&\& (/'
mutate "unseen consumption ends unasked" plan.c 's/last \|\| !pool->consumption_seen/last/'
mutate "SKU never seen consumed goes unasked" plan.c 's/held \|\| !pool->sku_consumption_seen \|\|/held ||/'
mutate "half a merge waits" plan.c 's/if \(result->decisions\[j\]\.merge == d->merge\)/if (false)/; s/&& d->action != PLAN_RAISE\)\)/|| d->action == PLAN_RAISE))/'

# the optimum
mutate "less gain is better" plan_choice.c 's/return a->gain > b->gain/return a->gain < b->gain/'
mutate "more changes are better" plan_choice.c 's/return a->changes < b->changes/return a->changes > b->changes/'
mutate "the oldest goes on a tie" plan_choice.c 's/return a->youth > b->youth;\n\}/return a->youth < b->youth;\n}/'
mutate "youngest first forgotten" plan_choice.c 's/if \(youngest_first && a->youth != b->youth\)/if (false)/'

# the judgement
mutate "judged without the floor" plan_judge.c 's/if \(allowed < taken\)/if (false)/'
mutate "judged without the window" plan_judge.c 's/if \(window < taken\)/if (false)/'
mutate "judged without the cool-down" plan_judge.c 's/if \(last_chance \+ seats->settled < taken\)/if (false)/'
mutate "below what was wanted" plan_judge.c 's/taken = s->quantity - most\(wanted, minimum\);/taken = s->quantity - minimum;/'

echo "1..$n"
exit $bad
