#!/bin/bash
# Every test of spinpanel, on a plain Debian 12: installs what is missing, works in a temporary copy with servers
# and an emulator of its own, leaves nothing behind.  The last line counts: "N passed, N failed".
#
#   test/check.sh               everything that takes less than ten minutes
#   test/check.sh --full        the long ones, too
#   test/check.sh STEP...       only these: rules, headers, unit, emulator, regress, isolation, pgtap, tap, lives
#   test/check.sh t/010_worker.pl    only this TAP file (also: 010, worker); SQL tests and isolation specs go by
#                               their names, pgTAP files as pgtap/NAME.sql
#   test/check.sh --pg DIR ...  against the server that was built from source and installed in DIR (--prefix), with pg_cron
#                               and pgtap in it; newer than 17, or it is installed into
#   test/check.sh --list        what there is
#   test/check.sh --update ...  copy the results of SQL and isolation tests to expected/ (then look at git diff)
#
#   SPINPANEL_BUILD=DIR         build there and keep it, so that the next time is quicker
#   SPINPANEL_WORK_KEEP=1       keep the temporary folder with all logs
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/setup.sh
. "$here/lib/setup.sh"

STEPS="rules headers unit emulator regress isolation pgtap tap lives"
LIVES=2:10,2010:14,2012:14,7:10:again,8:10:again,11:12:freed    # seeds of lives that are played every time
full='' update='' wanted=() option=''
for argument in "$@"; do
	[[ $option == --pg ]] && { sp_use_server "$argument"; option=''; continue; }
	case $argument in
		--pg) option=--pg ;;
		--help|-h) sed -n '2,/^set /p' "$0" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; exit 0 ;;
		--full) full=1 ;;
		--update) update=1 ;;
		--list)
			echo "steps: $STEPS"
			(cd "$here" && for f in sql/*.sql isolation/specs/*.spec pgtap/*.sql t/*.pl; do [[ -e $f ]] && echo "  $f"; done)
			exit 0 ;;
		-*) sp_fail "unknown option $argument (--help)" ;;
		*) wanted+=("$argument") ;;
	esac
done
[[ -z $option ]] || sp_fail "$option what? (--help)"

# What was asked for, by step: only[tap]="t/010_worker.pl ..."; empty = all of the step
declare -A only=() run=()
shopt -s nullglob
for name in "${wanted[@]}"; do
	if [[ " $STEPS " == *" $name "* ]]; then run[$name]=1; only[$name]=' '; continue; fi
	plain=${name#test/}; plain=${plain##*/}; plain=${plain%.*}
	found=''
	if [[ $name != *pgtap/* ]]; then
		for file in "$here/t/$plain"*.pl "$here/t/"*"_$plain.pl"; do
			run[tap]=1; only[tap]="${only[tap]:-} test/t/${file##*/}"; found=1; break
		done
		[[ -z $found && -e $here/sql/$plain.sql ]] && { run[regress]=1; only[regress]="${only[regress]:-} $plain"; found=1; }
		[[ -z $found && -e $here/isolation/specs/$plain.spec ]] && { run[isolation]=1; only[isolation]="${only[isolation]:-} $plain"; found=1; }
	fi
	[[ -z $found && -e $here/pgtap/$plain.sql ]] && { run[pgtap]=1; only[pgtap]="${only[pgtap]:-} test/pgtap/$plain.sql"; found=1; }
	[[ -n $found ]] || sp_fail "no test $name (--list)"
done
if [[ ${#wanted[@]} == 0 ]]; then for step in $STEPS; do run[$step]=1; done; fi

begun=$SECONDS
# These need no server, hence no build: useful while something does not compile
[[ " ${!run[*]} " =~ ^[[:space:]]*((unit|emulator)[[:space:]]*)+$ ]] && SP_NO_BUILD=1
SP_COPT='-Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -DUSE_ASSERT_CHECKING'
SP_PACKAGES+=(pgbouncer prometheus-postgres-exporter)
sp_setup "$@"
cd "$SP_SRC" || exit 1
[[ -n $full ]] && export SPINPANEL_FULL=1
passed=0 failed=0 skipped=0
harness=test/lib/harness.pl
printf '%-10s %-27s            %6.1f s\n' build "PostgreSQL $("$PG_CONFIG" --version | awk '{ print $2 }')" $((SECONDS - begun))

now() { date +%s.%N; }
# step NAME: heading; done_step: its sum
step() { step_name=$1 step_at=$(now) step_passed=$passed step_failed=$failed; }
end_step() {
	local p=$((passed - step_passed)) f=$((failed - step_failed))
	printf '%-10s %5d passed, %d failed %*s %6.1f s\n' "$step_name" "$p" "$f" 14 '' "$(bc_diff "$step_at")"
}
bc_diff() { awk -v a="$1" -v b="$(now)" 'BEGIN { print b - a }'; }
indent() { sed 's/^/       | /'; }

# with_harness [OPTION...] FILE...
with_harness() {
	local result=$SP_WORK/result p=0 f=1 s=0
	rm -f "$result"
	perl "$harness" --spool "$SP_WORK/tap" --result "$result" "$@"
	[[ -e $result ]] && read -r p f s <"$result"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# One server for what only needs SQL.  Its worker runs, but is told to leave Partner Center alone.
SQL_SERVER=$SP_WORK/sql
need_sql_server() {
	[[ -e $SQL_SERVER/postmaster.pid ]] && return
	sp_initdb "$SQL_SERVER" "shared_preload_libraries = 'pg_cron,spinpanel'" "cron.database_name = 'spinpanel_regression'" \
		"spinpanel.database = 'spinpanel_regression'" "spinpanel.enabled = off" "max_prepared_transactions = 10" \
		"log_statement = 'all'" "cron.log_run = off"
	# before the start: pg_cron and the worker would fail in a database that is not there
	postgres --single -D "$SQL_SERVER" -c shared_preload_libraries= postgres >"$SQL_SERVER.single" 2>&1 \
		<<<'CREATE DATABASE spinpanel_regression' || { cat "$SQL_SERVER.single"; sp_fail "cannot create a database"; }
	sp_server_start "$SQL_SERVER"
	# pg_regress does this for databases that it makes itself
	psql -Xq -d spinpanel_regression -c "ALTER DATABASE spinpanel_regression SET lc_messages TO 'C'" \
		-c "ALTER DATABASE spinpanel_regression SET timezone_abbreviations TO 'Default'"
}

# pg_regress's lines: "test NAME ... ok  12 ms", "    NAME  ... FAILED", "# (in older majors none)"
count_regress() { # FILE
	local ok bad
	ok=$(grep -cE '\.\.\. ok|^ok [0-9]+' "$1"); bad=$(grep -cE '\.\.\. FAILED|^not ok [0-9]+' "$1")
	[[ $ok == 0 && $bad == 0 ]] && bad=1
	passed=$((passed + ok)) failed=$((failed + bad))
	grep -E '\.\.\. (ok|FAILED)|^(not )?ok [0-9]' "$1" | sed -E 's/^(test)? */     /'
	[[ $bad == 0 ]]
}

pg_regress() { # PROGRAM STEP OPTION... NAME...
	local program out=$SP_WORK/$2
	program=$(dirname "$("$PG_CONFIG" --pgxs)")/../$1
	shift 2
	mkdir -p "$out"; ln -sfn "$SP_SRC/expected" "$out/expected"
	"$program" --bindir="$SP_BINDIR" --outputdir="$out" --host="$PGHOST" --port="$PGPORT" --user=postgres "$@" \
		>"$out/log" 2>&1 </dev/null
	if ! count_regress "$out/log"; then
		if [[ -s $out/regression.diffs ]]; then head -n 300 "$out/regression.diffs" | indent; else tail -n 30 "$out/log" | indent; fi
		echo "       ---- end of the server's log"
		grep -vE 'LOG:  (statement|execute)|DETAIL:  parameters|^\s' "$SQL_SERVER.log" | tail -n 20 | indent
	fi
	[[ -n $update && -d $out/results ]] && cp "$out"/results/*.out "$SP_TOP/expected/"
	return 0
}

for step in $STEPS; do
	[[ -n ${run[$step]:-} ]] || continue
	names=${only[$step]:-}; names=${names# }
	step "$step"
	case $step in
		rules)
			warnings=$(grep -E 'warning:' "$SP_WORK/build.log")
			if [[ -z $warnings ]]; then passed=$((passed + 1)); else
				failed=$((failed + 1)); echo "     FAILED compiler warnings"; indent <<<"$warnings"; fi
			with_harness test/lib/rules.sh
			;;
		headers)
			with_harness --timeout 600 test/lib/headers.sh
			;;
		unit)
			# make writes everything, the tests write TAP
			if [[ -e test/unit/Makefile ]]; then
				log=$SP_WORK/unit.log
				make -C test/unit check >"$log" 2>&1; code=$?
				p=$(grep -cE '^ok [0-9]+' "$log"); f=$(grep -cE '^not ok [0-9]+' "$log")
				[[ $code != 0 && $f == 0 ]] && f=1
				[[ $p == 0 && $f == 0 ]] && f=1
				passed=$((passed + p)) failed=$((failed + f))
				[[ $f == 0 ]] || { grep -E -A5 '^not ok|error:|\*\*\*' "$log" | head -n 100 | indent; tail -n 10 "$log" | indent; }
			else echo "     none yet"; fi
			;;
		emulator)
			files=(test/partner_center/test/*.test.js)
			if [[ ${#files[@]} != 0 ]]; then
				log=$SP_WORK/emulator.log
				timeout -k 15 300 "$(sp_node)" --test --test-reporter=tap "${files[@]}" >"$log" 2>&1 </dev/null; code=$?
				p=$(sed -n 's/^# pass //p' "$log"); f=$(sed -n 's/^# fail //p' "$log"); s=$(sed -n 's/^# skipped //p' "$log")
				[[ $code != 0 && ${f:-0} == 0 ]] && f=1
				[[ ${p:-0} == 0 && ${f:-0} == 0 ]] && f=1
				passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
				[[ ${f:-0} == 0 ]] || { grep -E -A25 '^ *not ok' "$log" | head -n 150 | indent; tail -n 12 "$log" | indent; }
			else echo "     none yet"; fi
			;;
		regress)
			[[ -n $names ]] || names=$(for f in test/sql/*.sql; do f=${f##*/}; echo "${f%.sql}"; done)
			if [[ -n $names ]]; then
				need_sql_server
				# shellcheck disable=SC2086
				pg_regress test/regress/pg_regress regress --inputdir=test --use-existing --dbname=spinpanel_regression $names
			else echo "     none yet"; fi
			;;
		isolation)
			[[ -n $names ]] || names=$(for f in test/isolation/specs/*.spec; do f=${f##*/}; echo "${f%.spec}"; done)
			if [[ -n $names ]]; then
				need_sql_server
				# shellcheck disable=SC2086
				pg_regress test/isolation/pg_isolation_regress isolation --inputdir=test/isolation \
					--dbname=spinpanel_isolation --load-extension=spinpanel $names
			else echo "     none yet"; fi
			;;
		pgtap)
			[[ -n $names ]] || names=$(printf '%s ' test/pgtap/*.sql)
			if [[ -n ${names// /} ]]; then
				need_sql_server
				# A database for each file, so that they do not see each other
				for file in $names; do
					base=${file##*/}; base=spinpanel_tap_${base%.sql}
					createdb "$base" && psql -Xq -d "$base" -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION spinpanel' >/dev/null \
						|| { failed=$((failed + 1)); continue; }
					PGDATABASE=$base with_harness --log "$SQL_SERVER.log" "$file"
				done
			else echo "     none yet"; fi
			;;
		tap)
			if [[ -z $names ]]; then
				# 9...: the long ones
				names=$(for f in test/t/*.pl; do [[ $f != test/t/9* || -n $full ]] && printf '%s ' "$f"; done)
			fi
			if [[ -n ${names// /} ]]; then
				sp_tap_environment
				limit=600; [[ -n $full ]] && limit=3600
				# shellcheck disable=SC2086
				(unset PGHOST PGPORT PGUSER PGDATABASE; perl "$harness" --spool "$SP_WORK/tap" --result "$SP_WORK/tap.result" \
					--jobs "${SPINPANEL_JOBS:-2}" --timeout "$limit" --log "$SP_WORK/tmp_check/log/regress_log_%s" --log "$SP_WORK/tmp_check/log/%s_*.log" $names)
				p=0 f=1 s=0
				[[ -e $SP_WORK/tap.result ]] && read -r p f s <"$SP_WORK/tap.result"
				passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
			else echo "     none yet"; fi
			;;
		lives)
			# Simulated lives: some that are always the same, some that nobody has seen; --full: new ones for an hour
			sp_tap_environment
			plays=(--tap --days 14)
			log=$SP_WORK/lives.log
			(unset PGHOST PGPORT PGUSER PGDATABASE
				timeout -k 15 900 perl test/lives/play.pl "${plays[@]}" --shrink-seconds 60 --seed "$LIVES") >"$log" 2>&1 </dev/null; code=$?
			p=$(grep -cE '^ok [0-9]+' "$log"); f=$(grep -cE '^not ok [0-9]+' "$log")
			[[ $code != 0 && $f == 0 ]] && f=1
			[[ $p == 0 && $f == 0 ]] && f=1
			[[ -n $full ]] && plays=(--tap --seconds 3600)
			# New ones still find defects (test/lives/README.md).  They are told, and fail the run with --full alone.
			(unset PGHOST PGPORT PGUSER PGDATABASE
				timeout -k 15 $((full ? 7200 : 300)) perl test/lives/play.pl "${plays[@]}" --no-shrink --new 2) >"$log.new" 2>&1 </dev/null
			if [[ -n $full ]]; then f=$((f + $(grep -cE '^not ok [0-9]+' "$log.new"))); p=$((p + $(grep -cE '^ok [0-9]+' "$log.new"))); fi
			passed=$((passed + p)) failed=$((failed + f))
			cat "$log.new" >>"$log"
			grep -E '^(not )?ok [0-9]|^# [0-9]+ lives' "$log" | sed -E 's/^not ok/objection/; s/^/     /'
			[[ $f == 0 ]] || { grep -vE '^(not )?ok [0-9]' "$log" | tail -n 150 | indent; }
			;;
	esac
	end_step
done
[[ -e $SQL_SERVER/postmaster.pid ]] && sp_server_stop "$SQL_SERVER" immediate

printf 'took %d s\n' $((SECONDS - begun))
line="$passed passed, $failed failed"
[[ $skipped == 0 ]] || line+=", $skipped skipped"
echo "$line"
[[ $failed == 0 && $passed -gt 0 ]]
