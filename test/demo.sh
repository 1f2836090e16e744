#!/bin/bash
# The main job on a small partner that the emulator plays: 45 customers, about 1,100 seats.
#
#   test/demo.sh          tells the story, checks how it ends, leaves nothing behind but a page to look at
#   test/demo.sh --keep   leaves the server up, with a psql prompt
#
# Works on a plain Debian 12: installs what is missing (as root, or through sudo), builds, starts a throw-away server
# and the emulator.  Exit status 0 only if Partner Center ends as the rules say, judged from the emulator's books.
set -u
keep=
case ${1:-} in
	--keep) keep=1 ;;
	'') ;;
	*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
# shellcheck source=test/lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
[[ -n ${DEMO_PREPARING:-} ]] || sp_say "Preparing: packages, build, a throw-away server, the emulator of Partner Center ..."
export DEMO_PREPARING=1 # sp_setup may start us again, as another user
sp_setup "$@"
cd "$SP_SRC" || exit 1
node=$(sp_node)

heading() { printf '\n\n== %s\n' "$1"; }
say() { printf '\n%s\n' "${*//$'\n'/ }" | fold -s -w 110 | sed 's/ *$//'; }
table() {
	echo
	psql -Xq -v ON_ERROR_STOP=1 -P footer=off -P null= -P linestyle=old-ascii "$@" | sed '/^$/d; s/^/   /; s/ *$//'
	[[ ${PIPESTATUS[0]} == 0 ]] || sp_fail "the demo stopped at an error"
}
value() { psql -XAtq -v ON_ERROR_STOP=1 "$@" || sp_fail "the demo stopped at an error"; }

# books NAME: what Partner Center has on its books at this moment, with the bill of this day
books() {
	local state day
	state=$(sp_emulator GET '/_emulator/state?users=1') || sp_fail "the emulator does not answer"
	[[ $state =~ \"now\":\"([0-9-]+)T ]] && day=${BASH_REMATCH[1]}
	printf '{"state":%s,"bill":%s,"counts":%s}\n' "$state" \
		"$(sp_emulator GET "/_emulator/bill?from=${day}T00:00:00Z&to=$(date -u -d "$day + 1 day" +%F)T00:00:00Z")" \
		"$(sp_emulator GET /_emulator/counts)" >"$SP_WORK/$1.json"
}

# follow RUN: shows how far it is until it is over
follow() {
	local id=$1 status ready all shown=''
	echo
	while :; do
		IFS='|' read -r status ready all < <(value -c "SELECT status, customers - (SELECT count(*) FROM spinpanel.run_customer c
			WHERE c.run_id = r.run_id AND NOT c.failed), customers FROM spinpanel.run r WHERE run_id = $id")
		if [[ $all == 0 ]]; then shown='listing customers'; else
			shown=$(printf '%*s' $((ready * 45 / all)) '' | tr ' ' '#')
			shown=$(printf '[%-45s] %s of %s customers' "$shown" "$ready" "$all")
		fi
		[[ -t 1 ]] && printf '\r\033[K   run %s: %s' "$id" "$shown"
		[[ $status == queued || $status == running ]] || break
		value -c "SELECT status FROM spinpanel.wait_for_run($id, '200 ms')" >/dev/null
	done
	[[ -t 1 ]] && printf '\r\033[K'
	printf '   run %s: %s, %s\n' "$id" "$shown" "$status"
}

sp_emulator_start --scenario msp --quiet
sp_emulator POST /_emulator/options '{"requests_per_minute": 0}' >/dev/null
# settle_time is how long Microsoft's reports lag; the emulator's do not
sp_initdb "$SP_WORK/server" "shared_preload_libraries = 'pg_cron,spinpanel'" "spinpanel.ca_file = '$SP_EMULATOR_CA'" \
	"spinpanel.allowed_hosts = 'localhost'" "spinpanel.settle_time = '3s'" "client_min_messages = warning"
sp_server_start "$SP_WORK/server"
books before

# What the app registration gives a real partner
account() { sp_emulator GET /_emulator/accounts | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->[0]{$ARGV[0]}' "$1"; }
(umask 077; perl -MJSON::PP -e 'print encode_json({ client_secret => $ARGV[0], refresh_token => $ARGV[1] })' \
	"$(account client_secret)" "$(account refresh_token)" >"$SP_WORK/credential.json")

heading "1. Connect"
say "The client secret lies in a file on the server; no table and no statement ever holds it. Microsoft allows 500
requests a minute; this demo takes 2,000."
value -c "CREATE EXTENSION pg_cron" -c "CREATE EXTENSION spinpanel" -c "SELECT spinpanel.connect_account('main',
	'$(account tenant_id)', '$(account client_id)', '$SP_WORK/credential.json', api_url => 'https://localhost:$SP_EMULATOR_TLS_PORT',
	login_url => 'https://localhost:$SP_EMULATOR_TLS_PORT', requests_per_minute => 2000)" >/dev/null
value -f test/demo/words.sql
table -c "SELECT item, ok, detail FROM spinpanel.check_setup() WHERE item IN ('preload', 'worker', 'account', 'copy')"

heading "2. sync(): read everything once"
follow "$(value -c 'SELECT spinpanel.sync()')"
table -f test/demo/read.sql
say "Prices come from Partner Center's price sheets, one per country. What no sheet tells, legacy commerce for instance,
stays unknown."
for country in US CA; do
	perl test/lib/PriceSheet.pm "$SP_EMULATOR_PORT" "$country" >"$SP_WORK/prices.$country.csv" || sp_fail "the emulator gives no price sheet"
done
table -c "SELECT 'US' AS country, rows AS prices FROM spinpanel.load_price_sheet(file => '$SP_WORK/prices.US.csv')
	UNION ALL SELECT 'CA', rows FROM spinpanel.load_price_sheet(file => '$SP_WORK/prices.CA.csv', currency => 'USD')"

heading "3. excess_seats(): what nobody uses"
say "One SELECT. Nothing has been changed so far, and for no customer is anything switched on."
table -f test/demo/excess.sql
say "The largest ones, and when they can be given back:"
table -f test/demo/largest.sql
say "What is never touched, and why:"
table -f test/demo/blocked.sql

heading "4. set_relationship(): auto license adjustment on"
say "For everybody but Umber Paints. Northwind Plumbing keeps a seat in reserve. At Contoso Bakery and Adventure
Cycles a person wants to be asked before more than 4 seats go within a day."
table -f test/demo/rules.sql

heading "5. plan_adjustment(): tonight's plan"
say "From what was read, without any request. Each decision says why."
table -f test/demo/plan.sql

heading "6. schedule(): every 24 hours"
value -c "SELECT spinpanel.schedule()" >/dev/null
table -c "SELECT jobname, schedule, command, database, username FROM cron.job"

heading "7. The night"
say "What pg_cron has stored is run now, as pg_cron would run it: SELECT command FROM cron.job."
follow "$(value -c "$(value -c "SELECT command FROM cron.job WHERE jobname = 'spinpanel-nightly'")")"
table -f test/demo/night.sql
table -f test/demo/decisions.sql
say "Some that were left alone:"
table -f test/demo/alone.sql

heading "8. approve(): what waits for a person"
table -f test/demo/waiting.sql
say "Contoso Bakery and Fourth Coffee are approved. Each is judged afresh before it is sent, and never removes more than
it showed. Adventure Cycles is left waiting."
value -c "SELECT spinpanel.approve(adjustment_id) FROM spinpanel.adjustment JOIN spinpanel.customer USING (customer_id)
	WHERE status = 'awaiting_approval' AND name IN ('Contoso Bakery', 'Fourth Coffee')" >/dev/null
for _ in {1..150}; do
	[[ $(value -c "SELECT count(*) FROM spinpanel.adjustment WHERE status = 'queued'") == 0 ]] && break
	value -c "SELECT pg_sleep(0.1)" >/dev/null
done
table -c "SELECT c.name AS customer, a.action, a.status, a.decided_by FROM spinpanel.adjustment a
	JOIN spinpanel.customer c USING (customer_id) WHERE a.approved ORDER BY 1"

heading "9. What Partner Center bills now"
say "From its own books (the emulator keeps a ledger). Every change that reached it:"
books after
sp_emulator GET /_emulator/ledger >"$SP_WORK/ledger.json"
echo
"$node" test/demo/changes.js "$SP_WORK/after.json" "$SP_WORK/ledger.json" || sp_fail "the books cannot be read"
echo
"$node" test/demo/bill.js "before=$SP_WORK/before.json" "after the night=$SP_WORK/after.json" || sp_fail "the books cannot be read"

heading "10. history: why"
say "Every step is on record for good. This is how three like subscriptions of Fabrikam Dental became one:"
table -f test/demo/history.sql

heading "11. A second night"
say "Once each change has been looked at again (spinpanel.settle_time after it, here 3 seconds)."
for _ in {1..150}; do
	[[ $(value -c "SELECT count(*) FROM spinpanel.obligation WHERE kind IN ('removed', 'raised')") == 0 ]] && break
	value -c "SELECT pg_sleep(0.1)" >/dev/null
done
books settled
follow "$(value -c 'SELECT spinpanel.adjust()')"
books second
"$node" test/demo/requests.js "$SP_WORK/settled.json" "$SP_WORK/second.json" || sp_fail "the books cannot be read"

heading "12. assign_license(): buying and assigning are one step"
say "A transaction of the billing database writes an invoice line and asks for the licence. All 18 seats of Sunny Side
Eggs are taken."
echo
sed 's/^/   /; s/:finish/ROLLBACK/' test/demo/invoice.sql
value -c "CREATE TABLE invoice_line (invoice_line_id bigint GENERATED ALWAYS AS IDENTITY, customer text, article text, request_id bigint)"
value -v finish=ROLLBACK -f test/demo/invoice.sql
value -c "SELECT pg_sleep(1)" >/dev/null
books rolled_back
say "Rolled back means never happened. A second later Partner Center has been sent:"
"$node" test/demo/requests.js "$SP_WORK/second.json" "$SP_WORK/rolled_back.json" || sp_fail "the books cannot be read"
say "Now with COMMIT. wait_for_request() waits for the end; the commit itself did not wait for Microsoft."
value -v finish=COMMIT -f test/demo/invoice.sql
table -c "SELECT i.invoice_line_id AS line, i.customer, i.article, r.status, r.seat_bought, r.reference
	FROM invoice_line i, spinpanel.wait_for_request(i.request_id) r"
say "More of the same. Northwind Plumbing: the seat in reserve. Umber Paints: auto increment buys one, and the stock of
three stays. Bellows Stoves: all seats are taken, assign_licenses() of five names, which are four users; two of them were
created a minute ago. Wide World Crates: one user goes, one comes, in one transaction."
sp_emulator POST /_emulator/act '[{"customer":"Bellows Stoves","do":"create_user","upn":"ada@bellowsstoves.example","usage_location":"US"},
	{"customer":"Bellows Stoves","do":"create_user","upn":"ben@bellowsstoves.example","usage_location":"US"}]' >/dev/null \
	|| sp_fail "the emulator does not answer"
value -f test/demo/ask.sql
value -c "SELECT (spinpanel.wait_for_request(request_id)).status FROM spinpanel.license_request" >/dev/null
table -f test/demo/asked.sql
say "The same in Partner Center's books:"
for _ in {1..150}; do
	[[ $(value -c "SELECT (SELECT count(*) FROM spinpanel.obligation WHERE kind IN ('removed', 'raised')) + (SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown'))") == 0 ]] && break
	value -c "SELECT pg_sleep(0.1)" >/dev/null
done
books asked
sp_emulator GET /_emulator/ledger >"$SP_WORK/ledger_asked.json"
echo
"$node" test/demo/licences.js "$SP_WORK/asked.json" "$SP_WORK/ledger.json" "$SP_WORK/ledger_asked.json" || sp_fail "the books cannot be read"

later=''
if [[ -z $keep ]]; then
	heading "13. Two weeks later"
	say "The emulator's clock moves. At their renewals the subscriptions take what was scheduled."
	sp_emulator POST /_emulator/clock '{"advance_days": 15}' >/dev/null
	books later
	echo
	"$node" test/demo/bill.js "before=$SP_WORK/before.json" "after the night=$SP_WORK/after.json" \
		"after buying=$SP_WORK/asked.json" "two weeks later=$SP_WORK/later.json" || sp_fail "the books cannot be read"
	later=$SP_WORK/later.json
fi

heading "Is it as the rules say? Judged from Partner Center's books alone"
echo
"$node" test/demo/check.js "$SP_WORK"/{before,after,settled,second,ledger,rolled_back,asked,ledger_asked}.json "$later"
code=$?
printf '\n%s\n' "$([[ $code == 0 ]] && echo 'All as it should be.' || echo 'NOT as it should be.')"

heading "spinpanel_report: views for BI tools, and a page"
if [[ -n $later ]]; then
	# spinpanel follows the emulator's clock, so that it sees what has renewed
	offset=$(sp_emulator GET /_emulator/clock | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{offset_seconds}')
	value -c "ALTER SYSTEM SET spinpanel.clock_offset = $offset" -c "SELECT pg_reload_conf()" >/dev/null
	follow "$(value -c 'SELECT spinpanel.adjust()')"
	for _ in {1..100}; do
		[[ $(value -c "SELECT count(*) FROM spinpanel.obligation WHERE look_at <= spinpanel._now() + interval '4 s'") == 0 ]] && break
		value -c "SELECT pg_sleep(0.1)" >/dev/null
	done
fi
say "What was saved, from the ledger in spinpanel_report.saving:"
table -c "SELECT basis, sum(seats) AS seats, sum(amount) AS amount, currency FROM spinpanel_report.saving GROUP BY basis, currency ORDER BY basis, currency"
page=${SPINPANEL_DEMO_PAGE:-${TMPDIR:-/tmp}/spinpanel-demo.html}
value -c "SELECT spinpanel_report.page()" >"$page"
say "SELECT spinpanel_report.page() makes one HTML page of it all, for a customer or everybody. It lies in $page ."

if [[ -n $keep ]]; then
	say "The server stays up until you leave psql with \\q. Try SELECT * FROM spinpanel.check_setup(); or \\d spinpanel.*
From another terminal:"
	printf '\n   psql -h %s -U postgres\n\n' "$PGHOST"
	set -m # so that Ctrl-C reaches psql alone
	psql -X
fi
exit "$code"
