#!/bin/bash
# The suite with a server, and an extension, that watch what they read, write and reckon with.
#
#   test/sanitize.sh DIR [STEP|TEST...]     as test/check.sh --pg DIR does it; all that takes no hours if nothing is named
#
# DIR is where a server was installed that was built with CFLAGS="-O1 -g -fno-omit-frame-pointer
# -fsanitize=address,undefined" and --enable-cassert (ASAN_OPTIONS=detect_leaks=0 while building), with pg_cron and pgtap in
# it, built by its pg_config.  What is found goes to files of its own and is shown at the end; the code is 1 then.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -gt 0 && $1 != -* ]] || { sed -n '2,/^set /p' "$0" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; exit 1; }
dir=$1; shift
grep -q __asan_init "$dir/bin/postgres" || { echo "$dir/bin/postgres was not built with -fsanitize=address" >&2; exit 1; }
[[ $# -gt 0 ]] || set -- regress isolation pgtap tap

reports=$(mktemp -d "${TMPDIR:-/tmp}/spinpanel.sanitize.XXXXXX") && chmod 777 "$reports" || exit 1
trap 'rm -rf "$reports"' EXIT
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:disable_coredump=1:log_path=$reports/address
export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/undefined
# What takes seconds takes a minute; the deadlines of tests are no promises
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-240}
"$here/check.sh" --pg "$dir" "$@"
code=$?

# One line for each place in the code, with how often it came
found=$(find "$reports" -type f | wc -l)
echo "$found processes reported something"
cat "$reports"/* 2>/dev/null | grep -hoE 'runtime error: .*|ERROR: AddressSanitizer: [a-z-]+|^SUMMARY: .*' | sed 's/0x[0-9a-f]*/0x.../g' | sort | uniq -c | sort -rn | head -n 50
for file in $(find "$reports" -type f | head -n 5); do echo "---- ${file##*/}"; head -n 60 "$file"; done
[[ $code == 0 && $found == 0 ]]
