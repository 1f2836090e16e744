#!/bin/bash
# Fuzzes every reader of remote bodies, of the credential file and of what a sign-in brings back: libFuzzer in a
# backend of its own, with the library instrumented by clang.  Prints TAP.
#
#   test/fuzz/run.sh [--pg DIR] [--seconds N] [TARGET...]     all targets (fuzz.c lists them), a minute each
#   test/fuzz/run.sh --again FILE TARGET                      one input once more
#
# With --pg DIR it is a server that was built from source; one with -fsanitize=address finds what is read out of bounds,
# too, in memory contexts only if they poison what is free.  seeds.txt holds inputs to begin with, a target and a text in
# each line, and those that failed once.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SP_TOP=$(cd "$here/.." && pwd)
# shellcheck source=../lib/setup.sh
. "$here/lib/setup.sh"

seconds=60 again='' targets=()
given=("$@")
# Before anything of a server that was built so is run
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:handle_segv=0:allow_user_segv_handler=1
while [[ $# -gt 0 ]]; do
	case $1 in
		--pg) sp_use_server "$2"; shift ;;
		--seconds) seconds=$2; shift ;;
		--again) again=$(realpath "$2"); shift ;;
		-*) sed -n '2,/^set /p' "$0" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; exit 1 ;;
		*) targets+=("$1") ;;
	esac
	shift
done
SP_PACKAGES+=(clang-14 libclang-rt-14-dev libstdc++-12-dev)
sp_setup "${given[@]}"
fuzz=$SP_SRC/test/fuzz
[[ ${#targets[@]} -gt 0 ]] || mapfile -t targets < <(sed -nE 's/^\t\{ "([a-z_]+)", .*(true|false) \},$/\1/p' "$fuzz/fuzz.c")

# ---- the library ---------------------------------------------------------------
sanitizers=fuzzer-no-link,undefined
nm -D "$SP_BINDIR/postgres" 2>/dev/null | grep -q __asan_init && sanitizers+=,address
mkdir -p "$SP_WORK/objects"
# Without -fwrapv: what overflows is told
flags=(-std=gnu99 -g -O1 -fPIC -fno-omit-frame-pointer -fno-strict-aliasing "-fsanitize=$sanitizers" -fsanitize-trap=undefined
	-DUSE_ASSERT_CHECKING -D_GNU_SOURCE -DSPINPANEL_VERSION='"1.0"' "-I$SP_SRC/src" "-I$fuzz" "-I$("$PG_CONFIG" --includedir-server)" -w)
(cd "$SP_SRC" && find src test/fuzz -name '*.c' ! -path src/partner/http.c ! -path src/partner/partner.c ! -path src/partner/token.c) |
	(cd "$SP_SRC" && xargs -P "$(nproc)" -I{} sh -c 'file=$1; shift; clang-14 "$@" -c -o "$SP_WORK/objects/$(echo "$file" | tr / _).o" "$file"' sh {} "${flags[@]}") ||
	sp_fail "the fuzzer does not compile"
runtime=$(clang-14 -print-file-name=libclang_rt.fuzzer_no_main-x86_64.a)
[[ -e $runtime ]] || runtime=$(find /usr/lib/llvm-14 -name 'libclang_rt.fuzzer_no_main-x86_64.a' | head -n 1)
# -Bsymbolic: the sanitizers' libraries have functions of these names, too, which do nothing
# shellcheck disable=SC2046
gcc -shared -Wl,-Bsymbolic -o "$SP_STAGE$("$PG_CONFIG" --pkglibdir)/spinpanel.so" "$SP_WORK"/objects/*.o "$runtime" $(pkg-config --libs libcurl libcrypto) -lstdc++ -lm ||
	sp_fail "the fuzzer cannot be linked"

# ---- a database ----------------------------------------------------------------
export SPINPANEL_FUZZ_DIR=$SP_WORK/files
mkdir -p "$SPINPANEL_FUZZ_DIR"
data=$SP_WORK/fuzz.data
sp_initdb "$data" "shared_preload_libraries = 'spinpanel'" "spinpanel.enabled = off" "spinpanel.database = 'postgres'" \
	"log_min_messages = warning" "autovacuum = off" "max_locks_per_transaction = 1000" "exit_on_error = off"
sp_server_start "$data"
psql -Xqv ON_ERROR_STOP=1 -f - <"$fuzz/setup.sql" || sp_fail "setup.sql"
sp_server_stop "$data"

# Each line is a statement, and it ends with the process
run() { # TARGET ARGUMENT...
	local target=$1 list='' argument
	shift
	for argument in "$@"; do list+=",'$argument'"; done
	postgres --single -D "$data" postgres <<<"SELECT fuzz('$target', ARRAY[${list#,}])" >"$SP_WORK/$target.log" 2>&1
}

number=0 bad=0
echo "1..${#targets[@]}"
for target in "${targets[@]}"; do
	number=$((number + 1))
	corpus=$SP_WORK/corpus/$target found=$SP_WORK/found/$target-
	mkdir -p "$corpus" "$SP_WORK/found"
	perl -e 'my ($target, $to) = @ARGV; my $n = 0;
		while (<STDIN>) { chomp; next unless s/^$target\t//;
			s/\\([nrt0])|\\x([0-9a-f]{2})/defined $2 ? chr hex $2 : { n => "\n", r => "\r", t => "\t", 0 => "\0" }->{$1}/ge if $target !~ /json|orders|wanted|customers|subscriptions|skus|users|licenses|audit|offers|credential/;
			open my $out, ">:raw", "$to/seed" . ++$n or die; print $out $_; close $out }' "$target" "$corpus" <"$fuzz/seeds.txt"
	if [[ -n $again ]]; then
		run "$target" "$again"; cat "$SP_WORK/$target.log"; exit
	fi
	run "$target" "$corpus" "-dict=$fuzz/json.dict" "-artifact_prefix=$found" "-max_total_time=$seconds" -max_len=4096 -timeout=25 \
		-rss_limit_mb=0 -print_final_stats=1 -handle_int=0 -handle_term=0 -detect_leaks=0 -use_value_profile=1
	units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$SP_WORK/$target.log")
	cover=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$SP_WORK/$target.log" | tail -n 1)
	if [[ -n $units && -z $(ls "$SP_WORK/found" | grep "^$target-") ]] && ! grep -q 'OBJECTION\|ERROR: AddressSanitizer' "$SP_WORK/$target.log"; then
		echo "ok $number - $target ($units inputs in $seconds s, $cover)"
	else
		bad=$((bad + 1))
		echo "not ok $number - $target"
		grep -vE '^(#[0-9]|NEW_FUNC|INFO|backend>|$)' "$SP_WORK/$target.log" | head -n 60 | cut -c1-300 | sed 's/^/# /'
		for file in "$found"*; do [[ -e $file ]] && echo "# input, base64: $(base64 -w0 "$file")"; done
	fi
done
[[ $bad == 0 ]]
