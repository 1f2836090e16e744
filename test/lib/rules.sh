#!/bin/bash
# What holds for the sources as a whole: layers, names, versions.  Prints TAP.  Run in the (built) sources.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

number=0
# rule TITLE OFFENDERS: holds when there are none
rule() {
	number=$((number + 1))
	if [[ -z $2 ]]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		while IFS= read -r line; do echo "# $line"; done <<<"$2"
	fi
}

# Sources without comments and strings' insides stay as they are: rules look at includes and names
code() { perl -0777 -pe 's{/\*.*?\*/}{ ($& =~ tr/\n//cdr) }ges; s{//[^\n]*}{}g' "$1"; }
search() { # PATTERN FILE...
	local pattern=$1 file; shift
	for file in "$@"; do [[ -e $file ]] && code "$file" | grep -nE "$pattern" | sed "s|^|$file:|"; done
}
except() { local file; for file in src/*.[ch]; do [[ " $* " == *" ${file#src/} "* ]] || echo "$file"; done; }

# shellcheck disable=SC2046
rule "only http.c knows libcurl" "$(search '#include *[<"]curl/|\b(curl|CURL)_?[a-zA-Z]*\(' $(except http.c))"

# The layer of state runs statements, and so do SQL functions: in their callers' transactions.  The worker opens and
# closes SPI around calls of the state layer; it runs no statement itself.
STATE="state.c state.h unit.c mirror.c outbox.c runstate.c adjustments.c history.c connection.c keep.c pools.c demand.c approval.c asking.c await.c"
ENTRY="names.c entry.c $(grep -l PG_FUNCTION_INFO_V1 src/*.c | sed 's|src/||' | tr '\n' ' ')"
WORKER="worker.c night.c turn.c fulfil.c buying.c change.c userchange.c order.c driver.c purchase.c judge.c aftermath.c reads.c partner.c token.c credential.c http.c json.c"
# shellcheck disable=SC2046,SC2086
rule "SPI only where state is kept" "$(search '\bSPI_(execute|exec|prepare|cursor|getbinval|getvalue|keepplan)[a-z_]*\(' $(except $STATE $ENTRY))"
rule "the worker's files define no SQL functions" "$(for file in $WORKER; do grep -n PG_FUNCTION_INFO_V1 "src/$file" /dev/null; done 2>/dev/null)"
# shellcheck disable=SC2046
rule "PG_VERSION_NUM only in compat.h" "$(search 'PG_VERSION_NUM' $(except compat.h))"

PURE="plan.c plan_nce.c plan_legacy.c plan_supply.c seats.c need.c throttle.c backoff.c cronline.c address.c"
pure=$(for file in src/plan*.c; do [[ -e $file ]] && echo "${file#src/}"; done; printf '%s\n' $PURE)
pure=$(sort -u <<<"$pure")
rule "pure files know no PostgreSQL, clock or network" "$(
	for file in $pure; do
		search '#include *"(postgres|fmgr|c\.h|utils/|access/|executor/|storage/|catalog/|lib/|nodes/|miscadmin)|\b(time|gettimeofday|clock_gettime|GetCurrentTimestamp|rand|random) *\(|sys/socket' "src/$file" "src/${file%.c}.h"
	done)"
rule "postgres.h comes first" "$(
	for file in src/*.c; do
		first=$(grep -nm1 '^#include' "$file"); has=$(grep -c '^#include "postgres.h"' "$file")
		[[ $has == 0 || $first == *'"postgres.h"' ]] || echo "$file: $first"
		[[ $has != 0 || $(tr ' ' '\n' <<<"$pure") == *"${file#src/}"* ]] || echo "$file: neither pure nor PostgreSQL's"
	done)"
# shellcheck disable=SC2046
rule "no libcurl verbose output" "$(search 'CURLOPT_VERBOSE|CURLOPT_DEBUGFUNCTION' src/*.[ch])"
# shellcheck disable=SC2046
rule "no sleeping" "$(search '\b(pg_usleep|usleep|nanosleep|sleep|poll|select) *\(' src/*.c)"
rule "no // comments" "$(grep -nE '(^|[[:space:];])//' src/*.[ch])"
rule "every source says at its top what it owns" "$(for file in src/*.[ch]; do
	head -n 3 "$file" | grep -q " \* ${file#src/}" || echo "$file"; done)"
rule "no file above 1,200 lines" "$(wc -l src/*.[ch] | awk '$2 != "total" && $1 > 1200 { print $2 ": " $1 }')"

if [[ -e spinpanel.so ]]; then
	rule "exported symbols start with spinpanel_" "$(nm -D --defined-only spinpanel.so | awk '{ print $NF }' \
		| grep -vE '^(spinpanel_|pg_finfo_spinpanel_|Pg_magic_func$|_PG_init$|_init$|_fini$)')"
else
	rule "the library is built" "no spinpanel.so"
fi

scripts=(sql/spinpanel--*.sql)
rule "install scripts adopt nothing that is there" \
	"$(grep -niE 'create +or +replace|if +not +exists' "${scripts[@]}" | grep -vE '^[^:]*:[0-9]+: *--')"
rule "install scripts cannot be run by psql" "$(for file in "${scripts[@]}"; do
	head -n 1 "$file" | grep -q '^\\echo Use .* \\quit' || echo "$file"; done)"
rule "every SECURITY DEFINER and plpgsql function pins its search_path" "$(
	perl -0777 -ne 's/--[^\n]*//g; while (/(CREATE\s+(?:FUNCTION|PROCEDURE)\s+([\w.]+).*?)(?=\bCREATE\s+(?:FUNCTION|PROCEDURE|TABLE|VIEW|TRIGGER|TYPE)\b|\z)/gis) {
		my ($text, $name) = ($1, $2);
		(my $head = $text) =~ s/\bAS\s+(\$\w*\$).*?\1//is;
		print "$ARGV: $name\n" if ($head =~ /LANGUAGE\s+plpgsql/i or $head =~ /SECURITY\s+DEFINER/i) and $head !~ /SET\s+search_path/i;
	}' "${scripts[@]}")"

control=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" spinpanel.control)
meta=$(perl -MJSON::PP -0777 -ne '$m = decode_json($_); print join " ", $m->{version}, $m->{provides}{spinpanel}{version}' META.json 2>&1)
change=$(sed -n 's/^## \([0-9][^ ]*\).*/\1/p' CHANGELOG.md | head -n 1)
rule "control file, META.json and CHANGELOG.md tell the same version" \
	"$([[ $meta == "$control.0 $control.0" && $change == "$control" ]] || echo "control $control, META $meta, CHANGELOG $change")"
rule "the install script of that version is there" "$([[ -e sql/spinpanel--$control.sql ]] || echo "sql/spinpanel--$control.sql")"
rule "no test is called like an install script" "$(ls test/sql/spinpanel* test/isolation/specs/spinpanel* 2>/dev/null)"
rule "every answer belongs to a test" "$(for file in expected/*.out; do
	[[ -e $file ]] || continue
	name=${file#expected/}; name=${name%.out}
	[[ -e test/sql/$name.sql || -e test/isolation/specs/$name.spec ]] && continue
	name=${name%_[0-9]}
	[[ -e test/sql/$name.sql || -e test/isolation/specs/$name.spec ]] || echo "$file"; done)"
rule "isolation specs are called iso_..." "$(for file in test/isolation/specs/*.spec; do
	[[ ! -e $file || $file == */iso_* ]] || echo "$file"; done)"
rule "shell scripts are well formed" "$(for file in .ci/run test/*.sh test/lib/*.sh; do
	[[ -e $file ]] && bash -n "$file" 2>&1; done)"

echo "1..$number"
