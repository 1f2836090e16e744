#!/bin/bash
# Breaks the planners on purpose, one way at a time, in a copy.  For each a test
# must fail: the table of cases, the brute force or the model, or the properties.  Prints TAP.
#
#   mutate.sh           both planners
#   mutate.sh request   the request planner (also: seat)
cd "$(dirname "$0")" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
n=0 bad=0 only=${1:-}

# mutate NAME FILE PERL-SUBSTITUTION: the seat planner;  mutate_request: the request planner
mutate() { [[ ${only:-seat} == seat ]] && mutate_planner "plan*.c" "fixture.c" "plan_test brute property" "$@"; }
mutate_request()
{
	[[ ${only:-request} == request ]] &&
		mutate_planner "request_*.c" "request_model.c request_fixture.c" \
			"request_need_test request_plan_test request_model_test request_property" "$@"
}

mutate_planner() # SOURCES HELPERS TESTS NAME FILE PERL-SUBSTITUTION
{
	local sources=$1 helpers=$2 tests=$3 name=$4 file=$5 change=$6 by='' t
	rm -rf "$work/src" "$work/test"
	mkdir -p "$work/src/decide" "$work/test/unit"
	cp ../../src/decide/*.h ../../src/decide/seats.c "$work/src/decide/"
	# shellcheck disable=SC2086
	(cd ../../src/decide && cp $sources "$work/src/decide/")
	# shellcheck disable=SC2086
	cp ./*fixture.[ch] ./*model.[ch] ${tests// /.c }.c "$work/test/unit/"
	perl -0pi -e "$change" "$work/src/decide/$file"
	n=$((n + 1))
	if cmp -s "$work/src/decide/$file" "../../src/decide/$file"; then
		echo "not ok $n - $name: the mutation changes nothing any more"; bad=1; return
	fi
	for t in $tests; do
		# shellcheck disable=SC2086
		(cd "$work/test/unit" && gcc -std=gnu99 -O1 -w -I../../src -o $t $t.c $helpers ../../src/decide/*.c) ||
			{ echo "not ok $n - $name: does not compile"; bad=1; return; }
		(cd "$work/test/unit" && timeout 120 ./$t $([[ $t == *plan_test ]] || echo 5000) >$t.out 2>&1) || by+=" $t"
	done
	if [[ $by ]]; then
		echo "ok $n - $name: seen by$by ($(cat "$work"/test/unit/*plan_test.out | grep -c '^not ok') cases)"
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

# putting back
mutate "nothing put back" plan_judge.c 's/if \(lacking > 0\)\n/if (false)\n/'
mutate "more put back than it has" plan_judge.c 's/return \(int32_t\) most\(least\(next, s->quantity\), 0\);/return (int32_t) most(next, 0);/'
mutate "put back below what stands" plan_judge.c 's/int64_t next = most\(stands, wanted\);/int64_t next = wanted;/'
mutate "put back to all of it" plan_judge.c 's/next = most\(next, stands \+ lacking\);/next = s->quantity;/'
mutate "what is asked for is not put back" plan_judge.c 's/\(int64_t\) pool->consumed \+ pool->waiting;/(int64_t) pool->consumed;/'
mutate "terms that end leave all" plan_judge.c 's/if \(moment > now && moment >= spinpanel_seats_term_end\(s\)\)/if (false)/'
mutate "terms that end later are over" plan_judge.c 's/if \(moment > now && moment >= spinpanel_seats_term_end\(s\)\)/if (moment > now)/'
mutate "what is scheduled has happened" plan_judge.c 's/if \(moment > now && moment >= spinpanel_seats_term_end\(s\)\)/if (moment >= spinpanel_seats_term_end(s) || moment == now)/'
mutate "lacking counts trials" plan_judge.c 's/if \(!spinpanel_seats_counts\(s\)\)\n\t\t\tcontinue;\n\t\tif \(moment/if (moment/'

# requests: what is needed
mutate_request "what the report shows free is doubted" request_need.c 's/return f->refused > 0 \? 0 : \(int64_t\) f->unreported \+ f->lagging;/return 0;/'
mutate_request "tried again after a refusal" request_need.c 's/f->refused > 0 \? 0 : //'
mutate_request "releases count for nothing" request_need.c 's/ \+ f->released//'
mutate_request "seats being removed are free" request_need.c 's/ - f->removing//'
mutate_request "seats bought for others are free" request_need.c 's/ - f->reserved//'
mutate_request "assignments under way are free seats" request_need.c 's/ - f->claimed//'
mutate_request "told and not bought for" request_need.c 's/return need > f->refused \? need : f->refused;/return need;/'
mutate_request "an overdrawn pool is made good" request_need.c 's/at_least_zero\(f->open - at_least_zero\((spinpanel_need_free.*?)\)\);/at_least_zero(f->open - ($1));/s'
mutate_request "seats that end soon are stock" request_need.c 's/return \(now > 0 && end < INT64_MIN \+ now\) \|\| end - now < lead;/return false;/'
mutate_request "our ends like those of people" request_need.c 's/PlanTime lead = ours \? NEED_OUR_LEAD : pool->renewal_lead;/PlanTime lead = pool->renewal_lead;/'
mutate_request "trials are stock" request_need.c 's/figures->trial = clamp\(trial\);/figures->trial = 0;/'

# requests: where a seat comes from
mutate_request "raised although a person ends it" request_need.c 's/if \(s->end_by == PLAN_PERSON\)/if (false)/'
mutate_request "the longest commitment" request_need.c 's/return end_a < end_b;/return end_a > end_b;/'
mutate_request "the youngest subscription" request_need.c 's/return a->created < b->created;/return a->created > b->created;/'
mutate_request "one that renews is changed" request_need.c 's/if \(a->renewing != b->renewing\)/if (false)/'
mutate_request "above the maximum" request_need.c 's/if \(s->quantity >= s->maximum\)/if (false)/'
mutate_request "suspended by others, ordered beside" request_need.c 's/blocked = true;/blocked = false;/'
mutate_request "reactivated what others suspended" request_need.c 's/s->suspended_by == PLAN_OURS && !s->trial/!s->trial/; s/if \(s->suspended_by != PLAN_OURS\)\s+blocked = true;\s+else if/if/'
mutate_request "another term than the rule asks for" request_need.c 's/if \(!matches\(rule->term_duration, terms->term_duration\) \|\|\s+!matches\(rule->billing_cycle, terms->billing_cycle\)\)/if (false)/'
mutate_request "terms are compared with their case" request_need.c "s/a = \*wanted >= 'A' && \*wanted <= 'Z' \? \(char\) \(\*wanted \+ 32\) : \*wanted/a = *wanted/"
mutate_request "an order before a reactivation" request_need.c 's/if \(own >= 0\)/if (own >= 0 \&\& rule->default_offer == NULL)/'
mutate_request "an account that may not act" request_need.c 's/if \(!terms->usable\)/if (false)/'

# requests: limits
mutate_request "purchases off, and bought" request_plan.c 's/if \(!c->purchases\)\n\t\{\n\t\tsnprintf\(why, why_size, "purchases are off for this customer"\);\n\t\treturn ASK_BUY_OFF;\n\t\}//'
mutate_request "max_seats ignored" request_plan.c 's/room = least\(room, \(int64_t\) pool->max_seats - pool->owned\);/;/'
mutate_request "a reactivation above max_seats" request_plan.c 's/if \(source->kind == NEED_REACTIVATE && room < source->room\)/if (false)/'
mutate_request "no purchase limit" request_plan.c 's/if \(\*left < cost\)\n\t\treturn;/if (false)\n\t\treturn;/'
mutate_request "one limit for each pool" request_plan.c 's/\*left -= cost;/if (pool->adjustment != 0) *left -= cost;/'
mutate_request "a reactivation costs one seat" request_plan.c 's/cost = pool->chosen == 0 \? pool->source.room : 0;/cost = 1;/'
mutate_request "the smaller limit" request_plan.c 's/return greatest\(\(int64_t\) c->limit_percent \* c->owned \/ 100, c->limit_seats\)/return least((int64_t) c->limit_percent * c->owned \/ 100, c->limit_seats)/'
mutate_request "what was bought lately is forgotten" request_plan.c 's/ -\s+c->bought_recently;/;/'
mutate_request "more than was approved" request_plan.c 's/pool->approved = r->approved_seats;/pool->approved = INT32_MAX;/'
mutate_request "others in what was approved" request_plan.c 's/pool->full \|\| \(pool->adjustment != 0 && r->adjustment != pool->adjustment\)/pool->full/'
mutate_request "rejected, and bought" request_plan.c 's/if \(r->approval == ASK_APPROVAL_REJECTED\)/if (false)/'
mutate_request "as many again as were refused" request_plan.c 's/r->buy_most > 0 \? least\(pool->most, r->buy_most\) : pool->most/pool->most/'
mutate_request "two purchases at a time" request_plan.c 's/if \(c->purchases && pool->buying\)/if (false)/'
mutate_request "ordered again before the first can be read" request_plan.c 's/if \(c->purchases && pool->unread > 0\)/if (false)/'
mutate_request "the limit by pools" request_plan.c 's/(for \(i = 0; i < request_count; i\+\+\)\n\t\tif \()(pools\[requests\[i\]\.pool\]\.buys && lacks\(p, i\)\)\n\t\t\tchoose\(p, i\);)/for (int q = 0; q < pool_count; q++) $1requests[i].pool == q \&\& $2/'

# requests: who, and in which order
mutate_request "the youngest has the free seat" request_plan.c 's/if \(free_seats > 0 && \(!increment/if (free_seats > 0 \&\& p->plan->effects[i].next_of_pool < 0 \&\& (!increment/'
mutate_request "bought for a free seat" request_plan.c 's/int64_t free_seats = greatest\(0, spinpanel_need_free\(f\)\);/int64_t free_seats = 0;/'
mutate_request "told, and tried again at once" request_plan.c 's/return r->refused_at != 0 && since/return false \&\& since/'
mutate_request "told once, never tried again" request_plan.c 's/ < c->settle_time &&\s+pool->freed_at < r->refused_at/ < c->settle_time/'
mutate_request "the answer never gets old" request_plan.c 's/since\(c, r->refused_at\) < c->settle_time &&//'
mutate_request "nobody tries" request_plan.c 's/if \(!lacking \|\| try_first\(p, pool, increment, assigned, &level\)\)/if (!lacking)/'
mutate_request "all try" request_plan.c 's/(give_seat\(p, first, level\);)\n\tall_wait\(p, pool, ASK_FOR_TRY[^;]+;/$1 FOR_EACH_LACKING(p, pool, i) give_seat(p, i, level);/'
mutate_request "one whose user is busy tries" request_plan.c 's/\(first < 0 \|\| \(is_held_up\(p, first\) && !is_held_up\(p, i\)\)\)/first < 0/'
mutate_request "somebody else gets the seat bought for one" request_plan.c 's/int64_t sure = f->reserved > 0 \? spinpanel_need_free\(f\) - f->released : free_seats;/int64_t sure = free_seats;/'
mutate_request "releases under way are not waited for" request_plan.c 's/pool->release_since != 0 && since/false \&\& since/'
mutate_request "users not looked up are not waited for" request_plan.c 's/if \(pool->unlooked > 0 && !impatient\)/if (false)/'
mutate_request "auto increment uses the stock" request_plan.c 's/if \(!p->customer->increment\)\n\t\treturn false;/return false;/'
mutate_request "auto increment with nothing to buy" request_plan.c 's/(case ASK_BUY_YES:\n\t\t\treturn true;\n\t\tdefault:\n\t\t\treturn )false/$1true/'
mutate_request "bought for users without a location" request_plan.c 's/if \(user->has_location\)/if (true)/'
mutate_request "the last wish is forgotten" request_plan.c 's/if \(!r->release && e->opposite >= 0\)/if (false)/'
mutate_request "a late release takes it away" request_plan.c 's/if \(r->release && begun >= 0 && !p->requests\[begun\]\.release\)/if (false)/'
mutate_request "follows over a release" request_plan.c 's/e->opposite < begun\)/false)/; s/opposed = p->requests\[in_the_way\]\.release != r->release \|\|/opposed =/'
mutate_request "follows its own follower" request_plan.c 's/return leader == 0 \|\| \(leader < r->id && r->release != release\);/return true;/'
mutate_request "what follows is passed over" request_plan.c 's/return leader == 0 \|\| \(leader < r->id && r->release != release\);/return leader == 0;/'
mutate_request "two operations of a user" request_plan.c 's/if \(user->busy \|\| \(first < 0/if ((first < 0/'
mutate_request "one goes, one comes, in one call" request_plan.c 's/ \|\| r->release != p->requests\[first\]\.release\)/)/'
mutate_request "refused together, tried together" request_plan.c 's/open = r->attempts == 0;/open = true;/; s/!open \|\| r->attempts != 0 \|\|/!open ||/'
mutate_request "the seat of another SKU is used" request_plan.c 's/if \(r->seat_bought && r->wrong_sku\)/if (false)/'
mutate_request "seats that do not show are tried all the time" request_plan.c 's/if \(assignable > 0 \|\| f->active >= r->active_level/if (true || f->active >= r->active_level/'
mutate_request "all pairs of a user are compared" request_plan.c 's/(\nstatic void\npass_by\(Planning \*p, int32_t i\)\n\{\n)/$1\tfor (volatile int32_t k = p->users[p->requests[i].user < 0 ? 0 : p->requests[i].user].first; k >= 0 \&\& k < i; k = p->plan->effects[k].next_of_user) ;\n/'
mutate_request "a request not due is decided" request_plan.c 's/if \(requests\[i\]\.due\)/if (true)/'
mutate_request "decided on what was not read" request_plan.c 's/if \(!pool->subscriptions_read\)\n\t\treturn;//'

# requests: right before sending, and when no seat is free
mutate_request "sent although purchases are off" request_plan.c 's/if \(!c->purchases\)\n\t\{\n\t\tsnprintf\(why, why_size, "purchases have/if (false)\n\t{\n\t\tsnprintf(why, why_size, "purchases have/'
mutate_request "sent although nobody needs it" request_plan.c 's/if \(need <= 0\)/if (false)/; s/least\(seats, need\)/seats/'
mutate_request "sent although the rule names another offer" request_plan.c 's/!same_text\(pool->rule\.default_offer, sending->offer\)/false/'
mutate_request "sent above max_seats" request_plan.c 's/(if \(room < cost\))/if (false)/; s/seats = least\(seats, room\);//'
mutate_request "sent above the limit" request_plan.c 's/if \(allowance < cost\)/if (false)/; s/seats = least\(seats, allowance\);/;/'
mutate_request "sent although somebody has reactivated it" request_plan.c 's/!spinpanel_need_reactivable\(s,/false \&\& !spinpanel_need_reactivable(s,/'
mutate_request "sent although a person ends it" request_plan.c 's/if \(obstacle != NULL\)/if (false)/'
mutate_request "for more than still wait for it" request_plan.c 's/least\(sending->seats, sending->linked\)/sending->seats/'
mutate_request "another one before the first shows" request_plan.c 's/if \(coming > 0 && unused > 0\)/if (false)/'
mutate_request "seats meant for others are waited for" request_plan.c 's/if \(coming > 0 && unused > 0\)/if (f->unshown > 0 \&\& unused > 0)/'
mutate_request "seats in use are waited for" request_plan.c 's/if \(coming > 0 && unused > 0\)/if (coming > 0)/'
mutate_request "a third one" request_plan.c 's/if \(lost > 0\)/if (false)/'
mutate_request "lost before it is seen to be" request_plan.c 's/if \(shown && f->consumed >= f->active\)/if (shown)/'
mutate_request "its seat is waited for for ever" request_plan.c 's/if \(since\(c, r->provisioning_at\) <= c->provisioning_timeout\)/if (true)/'

echo "1..$n"
exit $bad
