#!/bin/bash
# TAP tests with a server whose every process runs under valgrind: one night and requests unless others are named.
#
#   test/valgrind.sh DIR [--supp FILE] [TEST...]
#
# DIR is where a server was installed that was built with CPPFLAGS=-DUSE_VALGRIND --enable-cassert --enable-debug, with
# pg_cron and pgtap in it; FILE is src/tools/valgrind.supp of its sources.  The code is 1 if the worker, or anybody in our
# library, touched what is not theirs, or lost memory.  Everything takes some twenty times as long.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -gt 0 && $1 != -* ]] || { sed -n '2,/^set /p' "$0" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; exit 1; }
dir=$1 supp=''; shift
[[ ${1:-} == --supp ]] && { supp="--suppressions=$(realpath "$2")"; shift 2; }
[[ $# -gt 0 ]] || set -- t/010 t/325_names t/920
command -v valgrind >/dev/null || { echo "valgrind is missing (Debian packages valgrind and libc6-dbg)" >&2; exit 1; }

# A copy whose "postgres" is valgrind; initdb and what only asks for a version go on as they are
work=$(mktemp -d "${TMPDIR:-/tmp}/spinpanel.valgrind.XXXXXX") && chmod 755 "$work" || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -m 777 "$work/logs"
cp -a "$dir" "$work/server" && mv "$work/server/bin/postgres" "$work/server/bin/postgres.bin" || exit 1
cat >"$work/server/bin/postgres" <<SH
#!/bin/bash
case \${1:-} in
	--*|-V|-C|-d) exec "$work/server/bin/postgres.bin" "\$@" ;;
esac
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --num-callers=30 \\
	--trace-children=yes --gen-suppressions=no --time-stamp=yes $supp --log-file="$work/logs/%p" "$work/server/bin/postgres.bin" "\$@"
SH
chmod 755 "$work/server/bin/postgres"
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-600} PGCTLTIMEOUT=300
"$here/check.sh" --pg "$work/server" "$@"
code=$?

# Reports in which our library is on the stack; all others are told as a number
cat "$work"/logs/* 2>/dev/null | sed -E 's/^(==|\*\*)[^=*]*(==|\*\*) ?//' >"$work/all"
perl -00 -e '
	my (%ours, $others);
	while (<>) {
		next unless /^\s+(at|by) 0x/m;
		if (/spinpanel\.so|\(in .*spinpanel|src\/(base|decide|partner|state|worker|sql)\/|\b(worker|partner|token|http|mirror|unit|statement)\.c:/) { s/0x[0-9A-F]+/0x/g; s/[\d,]+ bytes/N bytes/g; s/record \d+ of \d+/record/g; $ours{$_}++ }
		else { $others++ }
	}
	printf "%d different reports in our library, %d reports elsewhere\n", scalar keys %ours, $others // 0;
	print "---- $ours{$_} times\n$_\n" for (sort { $ours{$b} <=> $ours{$a} } keys %ours)[0 .. (keys %ours > 20 ? 19 : keys(%ours) - 1)];
	exit(keys %ours ? 1 : 0)' "$work/all"
found=$?
echo "$(find "$work/logs" -type f | wc -l) processes, $(find "$work/logs" -type f -size +0 | wc -l) of them with reports"
[[ -n ${SPINPANEL_WORK_KEEP:-} ]] && cp "$work/all" "${TMPDIR:-/tmp}/spinpanel.valgrind.log"
[[ $code == 0 && $found == 0 ]]
