#!/bin/bash
# The page of spinpanel_report.page() after some months of an emulated partner, and a picture of it (with chromium).
#
#   test/demo/page.sh [DAYS] [PAGE.html] [PICTURE.png]      100 days, page.html and no picture by default
set -u
days=${1:-100} page=${2:-page.html} picture=${3:-}
[[ $page == /* ]] || page=$PWD/$page
[[ -z $picture || $picture == /* ]] || picture=$PWD/$picture
# shellcheck source=test/lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/setup.sh"
sp_setup "$days" "$page" "$picture"
cd "$SP_SRC" || exit 1

value() { psql -XAtq -v ON_ERROR_STOP=1 "$@" || sp_fail "stopped at an error"; }
idle() { # nothing is left to do at this moment
	for _ in {1..300}; do
		[[ $(value -c "SELECT (SELECT count(*) FROM spinpanel.run WHERE status IN ('queued', 'running')) + (SELECT count(*) FROM spinpanel.operation
			WHERE status IN ('queued', 'sending', 'unknown')) + (SELECT count(*) FROM spinpanel.obligation WHERE look_at <= spinpanel._now() + interval '2 s')") == 0 ]] && return
		value -c "SELECT pg_sleep(0.1)" >/dev/null
	done
}

sp_emulator_start --scenario msp --quiet
sp_emulator POST /_emulator/options '{"requests_per_minute": 0}' >/dev/null
sp_initdb "$SP_WORK/server" "shared_preload_libraries = 'spinpanel'" "spinpanel.ca_file = '$SP_EMULATOR_CA'" "spinpanel.allowed_hosts = 'localhost'" \
	"spinpanel.settle_time = '1s'" "spinpanel.poll_interval = '200ms'" "client_min_messages = warning"
sp_server_start "$SP_WORK/server"
account() { sp_emulator GET /_emulator/accounts | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->[0]{$ARGV[0]}' "$1"; }
(umask 077; perl -MJSON::PP -e 'print encode_json({ client_secret => $ARGV[0], refresh_token => $ARGV[1] })' \
	"$(account client_secret)" "$(account refresh_token)" >"$SP_WORK/credential.json")
value -c "CREATE EXTENSION spinpanel" -c "SELECT spinpanel.connect_account('main', '$(account tenant_id)', '$(account client_id)', '$SP_WORK/credential.json',
	api_url => 'https://localhost:$SP_EMULATOR_TLS_PORT', login_url => 'https://localhost:$SP_EMULATOR_TLS_PORT', requests_per_minute => 100000)" >/dev/null
value -c "SELECT spinpanel.sync()" >/dev/null
idle
for country in US CA; do
	perl test/lib/PriceSheet.pm "$SP_EMULATOR_PORT" "$country" >"$SP_WORK/prices.csv" || sp_fail "the emulator gives no price sheet"
	value -c "SELECT spinpanel.load_price_sheet(file => '$SP_WORK/prices.csv', currency => 'USD')" >/dev/null
done

# In the first three weeks nothing is given back; then it is, but for some customers
RANDOM=7
for ((day = 1; day <= days; day++)); do
	sp_emulator POST /_emulator/clock '{"advance_days": 1}' >/dev/null
	offset=$(sp_emulator GET /_emulator/clock | perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{offset_seconds}')
	value -c "ALTER SYSTEM SET spinpanel.clock_offset = $offset" -c "SELECT pg_reload_conf()" >/dev/null
	[[ $day == 21 ]] && value -c "SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true)" \
		-c "SELECT spinpanel.set_relationship(customer_id::text, auto_license_adjustment => false) FROM spinpanel.customer WHERE name ~ '^[STU]'" >/dev/null
	# People come and go
	while IFS='|' read -r customer sku assigned free; do
		((RANDOM % 9 == 0)) || continue
		n=$((RANDOM % 3 - 1))
		((n > free)) && n=0
		((assigned + n < 1)) && n=0
		[[ $n == 0 ]] || sp_emulator POST /_emulator/act "{\"customer\":\"$customer\",\"do\":\"consume\",\"sku\":\"$sku\",\"n\":$n}" >/dev/null 2>&1
	done < <(value -c "SELECT b.customer_id, p.part_number, b.assigned_seats, b.unused_seats FROM spinpanel_report.seat_balance b JOIN spinpanel_report.product p USING (sku_id) WHERE NOT p.is_never_assigned AND NOT b.is_tenant_wide")
	# ... and somebody needs a licence
	((day % 3 == 0)) && while IFS='|' read -r customer domain sku; do
		sp_emulator POST /_emulator/act "{\"customer\":\"$customer\",\"do\":\"create_user\",\"upn\":\"new$day@$domain\",\"usage_location\":\"US\"}" >/dev/null
		value -c "SELECT request_id FROM spinpanel.assign_license('$customer', 'new$day@$domain', '$sku')" >/dev/null
	done < <(value -c "SELECT c.customer_id, c.domain, p.part_number FROM spinpanel_report.seat_balance b JOIN spinpanel_report.customer c USING (customer_id) JOIN spinpanel_report.product p USING (sku_id)
		WHERE p.part_number IN ('SPB', 'O365_BUSINESS_ESSENTIALS') AND b.owned_seats > 5 AND c.has_license_access ORDER BY md5(c.domain || $day) LIMIT 2")
	value -c "SELECT spinpanel.nightly()" >/dev/null
	idle
done
value -c "SELECT spinpanel_report.page()" >"$page"
echo "$page"
if [[ -n $picture ]]; then
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1080,1580 --screenshot="$picture" "file://$page" >/dev/null 2>&1 || sp_fail "no picture"
	echo "$picture"
fi
