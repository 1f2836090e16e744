#!/bin/bash
# The main job on a small partner that the emulator plays: 45 customers, about 1,100 seats.
#
#   test/demo.sh          tells the story, checks how it ends, leaves nothing behind
#   test/demo.sh --keep   leaves the server up, with a psql prompt
#
# Works on a plain Debian 12: installs what is missing (as root, or through sudo), builds, starts a throw-away server
# and the emulator.  Exit status 0 only if Partner Center ends as the rules say, judged from the emulator's ledger.
set -u
keep=
case ${1:-} in
	--keep) keep=1 ;;
	'') ;;
	*) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
# shellcheck source=test/lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
sp_say "Preparing: packages, build, server, emulator ..."
sp_setup "$@"
cd "$SP_SRC" || exit 1

story() { printf '\n%s\n\n' "$*" | fold -s -w 110; }
table() { psql -Xq -v ON_ERROR_STOP=1 -P footer=off -P null=- -P border=1 "$@" || sp_fail "the demo stopped at an error"; }
value() { psql -XAtq -v ON_ERROR_STOP=1 "$@" || sp_fail "the demo stopped at an error"; }

sp_emulator_start --scenario msp --quiet
sp_emulator POST /_emulator/options '{"requests_per_minute": 0}' >/dev/null
sp_initdb "$SP_WORK/server" "shared_preload_libraries = 'pg_cron,spinpanel'" "spinpanel.ca_file = '$SP_EMULATOR_CA'" \
	"spinpanel.allowed_hosts = 'localhost'" "spinpanel.settle_time = '5s'" "client_min_messages = warning"
sp_server_start "$SP_WORK/server"

# What the account is called at Partner Center; a real one comes from your app registration
account() { sp_emulator GET /_emulator/accounts | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->[0]{$ARGV[0]}' "$1"; }
umask 077
perl -MJSON::PP -e 'print encode_json({ client_secret => $ARGV[0], refresh_token => $ARGV[1] })' \
	"$(account client_secret)" "$(account refresh_token)" >"$SP_WORK/credential.json"
umask 022

# Waits for a run and shows how far it is
follow() {
	local id=$1 last='' now
	while :; do
		now=$(value -c "SELECT format('%s: %s of %s customers left', status, (SELECT count(*) FROM spinpanel.run_customer c WHERE c.run_id = r.run_id), customers)
			FROM spinpanel.run r WHERE run_id = $id")
		[[ $now == "$last" ]] || printf '   run %s  %s\n' "$id" "$now"
		last=$now
		[[ $now == queued* || $now == running* ]] || break
		value -c "SELECT status FROM spinpanel.wait_for_run($id, '300 ms')" >/dev/null
	done
}

story "== 1. Connect. The account's secret lies in a file on the server; the database never holds it."
table -c "CREATE EXTENSION pg_cron" -c "CREATE EXTENSION spinpanel"
table -c "SELECT spinpanel.connect_account('main', '$(account tenant_id)', '$(account client_id)', '$SP_WORK/credential.json',
	api_url => 'https://localhost:$SP_EMULATOR_TLS_PORT', login_url => 'https://localhost:$SP_EMULATOR_TLS_PORT',
	requests_per_minute => 60000)" >/dev/null

story "== 2. Read everything once."
follow "$(value -c 'SELECT spinpanel.sync()')"
table -f test/demo/setup.sql

story "== 3. What nobody uses. One SELECT; nothing has been changed so far."
table -f test/demo/excess.sql

story "== 4. Auto license adjustment is switched on for every customer but one, and a few rules are set."
table -f test/demo/rules.sql

story "== 5. Tonight's plan, from what was read; no request is sent for it."
table -f test/demo/plan.sql

story "== 6. Every 24 hours: pg_cron gets one job. What it will run is what runs now."
table -c "SELECT spinpanel.schedule() AS job" >/dev/null
table -c "SELECT jobname, schedule, command, database FROM cron.job"

sp_emulator GET '/_emulator/state?users=1' >"$SP_WORK/before.json"
seq=$(sp_emulator GET /_emulator/counts | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{last_seq}')
bill_before=$(sp_emulator GET /_emulator/state | perl -MJSON::PP -e 'local $/; my $n = 0; for (map { @{$_->{subscriptions}} } @{decode_json(<STDIN>)->{customers}}) { $n += $_->{billed_seats} // 0 } print $n')

story "== 7. The night."
follow "$(value -c "$(value -c "SELECT command FROM cron.job WHERE jobname = 'spinpanel-nightly'")")"
table -f test/demo/night.sql

story "== 8. More than the limit waits for a person. Two are approved, the rest is left to wait."
table -f test/demo/approve.sql
for _ in {1..100}; do
	[[ $(value -c "SELECT count(*) FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown')") == 0 ]] && break
	value -c "SELECT pg_sleep(0.1)" >/dev/null
done

story "== 9. What Partner Center bills now, from its own books (the emulator's ledger), and what was sent to it."
sp_emulator GET '/_emulator/state?users=1' >"$SP_WORK/after.json"
sp_emulator GET /_emulator/ledger >"$SP_WORK/ledger.json"
bill_after=$(perl -MJSON::PP -e 'local $/; my $n = 0; for (map { @{$_->{subscriptions}} } @{decode_json(<STDIN>)->{customers}}) { $n += $_->{billed_seats} // 0 } print $n' <"$SP_WORK/after.json")
printf '   seats billed before: %d   after: %d\n' "$bill_before" "$bill_after"
"$(sp_node)" test/demo/ledger.js "$SP_WORK/ledger.json" "$SP_WORK/after.json"

story "== 10. Every step is on record; here is one customer's."
table -f test/demo/history.sql

story "== 11. A second night over an unchanged partner."
before=$(sp_emulator GET /_emulator/counts | perl -MJSON::PP -e 'local $/; my $c = decode_json(<STDIN>); print "$c->{total} $c->{mutating}"')
follow "$(value -c 'SELECT spinpanel.adjust()')"
after=$(sp_emulator GET /_emulator/counts | perl -MJSON::PP -e 'local $/; my $c = decode_json(<STDIN>); print "$c->{total} $c->{mutating}"')
second_reads=$((${after% *} - ${before% *})) second_changes=$((${after#* } - ${before#* }))
printf '   %d requests for 45 customers, %d of them changed something\n' "$second_reads" "$second_changes"

story "== 12. Is it as the rules say? Judged from Partner Center's books alone."
"$(sp_node)" test/demo/verify.js "$SP_WORK/before.json" "$SP_WORK/after.json" "$SP_WORK/ledger.json"
code=$?
if [[ $second_changes != 0 || $second_reads -gt 92 ]]; then echo "   NOT AS IT SHOULD BE: the second night"; code=1; fi
[[ $code == 0 ]] && printf '\nAll as it should be. Steps since request %s are in the ledger.\n' "$seq"

if [[ -n $keep ]]; then
	printf '\nThe server stays up until you leave psql (\\q). Try SELECT * FROM spinpanel.check_setup();\n'
	psql -X </dev/tty
fi
exit "$code"
