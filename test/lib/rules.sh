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

# Rules look at includes and names: a copy of the sources without comments, line by line the same
plain=$(mktemp -d) || exit 1
trap 'rm -rf "$plain"' EXIT
find src -name '*.[ch]' | perl -MFile::Path=make_path -MFile::Basename -e '
	my $to = shift; undef $/;
	for my $file (split /\n/, <STDIN>) {
		open my $in, "<", $file or die "$file: $!"; my $text = <$in>;
		$text =~ s{/\*.*?\*/}{ ($& =~ tr/\n//cdr) }ges; $text =~ s{//[^\n]*}{}g;
		make_path("$to/" . dirname($file)); open my $out, ">", "$to/$file" or die "$to/$file: $!"; print $out $text; close $out;
	}' "$plain"
search() { # PATTERN FILE...
	local pattern=$1; shift
	(cd "$plain" && for file in "$@"; do [[ -e $file ]] && echo "$file"; done | xargs -r grep -nE "$pattern" /dev/null)
}
sources() { find src -name '*.[ch]' | sort; }
except() { local file; for file in $(sources); do [[ " $* " == *" ${file#src/} "* ]] || echo "$file"; done; }

# Layers from the bottom up.  A file includes headers of its own folder and of folders below it; sql/ and worker/ stand
# side by side and do not know each other.
below() {
	case $1 in
		base) echo 'base' ;;
		decide) echo 'base|decide' ;;
		partner) echo 'base|partner' ;;
		state) echo 'base|decide|partner|state' ;;
		worker) echo 'base|decide|partner|state|worker' ;;
		sql) echo 'base|decide|partner|state|sql' ;;
	esac
}
rule "a file includes headers of its own layer and of those below it" "$(
	for folder in base decide partner state worker sql; do
		search '#include *"(base|decide|partner|state|worker|sql)/' src/$folder/*.[ch] | grep -vE "#include *\"($(below $folder))/"
	done
	find src -mindepth 2 -type d; find src -mindepth 1 -maxdepth 1 -type d | grep -vE '^src/(base|decide|partner|state|worker|sql)$'
	ls src/*.[ch] | grep -vx 'src/spinpanel.c')"
# Which headers each header reaches; one that reaches itself is a circle
rule "no headers include each other in a circle" "$(
	for file in $(find src -name '*.h' | sort); do
		grep -oE '^#include "(base|decide|partner|state|worker|sql)/[^"]+' "$file" | sed "s|.*\"|${file#src/} |"
	done | tsort 2>&1 >/dev/null)"

# shellcheck disable=SC2046
rule "only http.c knows libcurl" "$(search '#include *[<"]curl/|\b(curl|CURL)_?[a-zA-Z]*\(' $(except partner/http.c))"

# shellcheck disable=SC2046
rule "only seal.c knows libcrypto" "$(search '#include *[<"]openssl/|\bEVP_' $(except partner/seal.c))"

# The layer of state runs statements, and so do SQL functions, in their callers' transactions.  The worker opens and
# closes SPI around calls of the state layer; it runs no statement itself.
rule "statements are run only in state/ and sql/" "$(search '\bSPI_(execute|exec|prepare|cursor|getbinval|getvalue|keepplan)[a-z_]*\(' src/base/*.[ch] src/decide/*.[ch] src/partner/*.[ch] src/worker/*.[ch] src/*.c)"
rule "only adjustment.c changes the status of adjustments (approval.c: purchases)" "$(
	grep -rnE 'UPDATE spinpanel\.adjustment ([a-z]+ )?SET .*\bstatus *=' src sql/install --include=*.c --include=*.sql | grep -vE '^src/state/(adjustment|approval)\.c')"
rule "only sql/ defines SQL functions" "$(grep -n PG_FUNCTION_INFO_V1 /dev/null src/base/* src/decide/* src/partner/* src/state/* src/worker/* src/*.c | grep -v '\.o:')"
# shellcheck disable=SC2046
rule "PG_VERSION_NUM only in compat.h" "$(search 'PG_VERSION_NUM' $(except base/compat.h))"

# decide/ is pure, and so are these of base/
pure=$(find src/decide -name '*.c' | sed 's|^src/||'; printf 'base/%s.c\n' throttle backoff cronline address)
rule "pure files know no PostgreSQL, clock or network" "$(
	for file in $pure; do
		search '#include *"(postgres|fmgr|c\.h|utils/|access/|executor/|storage/|catalog/|lib/|nodes/|miscadmin)|\b(time|gettimeofday|clock_gettime|GetCurrentTimestamp|rand|random) *\(|sys/socket' "src/$file" "src/${file%.c}.h"
	done)"
rule "postgres.h comes first" "$(
	for file in $(find src -name '*.c'); do
		first=$(grep -nm1 '^#include' "$file"); has=$(grep -c '^#include "postgres.h"' "$file")
		[[ $has == 0 || $first == *'"postgres.h"' ]] || echo "$file: $first"
		[[ $has != 0 || $(tr ' ' '\n' <<<"$pure") == *"${file#src/}"* ]] || echo "$file: neither pure nor PostgreSQL's"
	done)"
# shellcheck disable=SC2046
rule "no libcurl verbose output" "$(search 'CURLOPT_VERBOSE|CURLOPT_DEBUGFUNCTION' $(sources))"
# shellcheck disable=SC2046
rule "no sleeping" "$(search '\b(pg_usleep|usleep|nanosleep|sleep|poll|select) *\(' $(sources))"
rule "no // comments" "$(grep -nE '(^|[[:space:];])//' $(sources))"
rule "every source says at its top what it owns" "$(for file in $(sources); do
	head -n 3 "$file" | grep -q " \* ${file##*/}" || echo "$file"; done)"
rule "the code is formatted (make format)" "$(command -v clang-format >/dev/null || exit 0
	sources | xargs clang-format --dry-run 2>&1 | grep -oE '^[^:]+:[0-9]+' | sort -u | head -n 20)"
rule "no file above 1,200 lines" "$(sources | xargs wc -l | awk '$2 != "total" && $1 > 1200 { print $2 ": " $1 }')"

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
rule "the install script is put together from its parts" "$([[ -e sql/spinpanel--$control.sql ]] || echo "no sql/spinpanel--$control.sql")"
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
