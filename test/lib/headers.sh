#!/bin/bash
# Compiles the sources against the headers of every newer PostgreSQL that Debian offers in its other suites; nothing of it
# is installed, and apt keeps its own lists.  Prints TAP; a suite that cannot be reached is skipped.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial
number=0

# Whichever mirror this machine uses
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -vE 'security|backports' | head -n 1)
own=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
[[ -n $mirror && -n $own ]] || { echo "1..0 # SKIP no Debian mirror known here"; exit 0; }
for suite in trixie sid; do echo "deb [trusted=yes] $mirror $suite main"; done >"$work/sources.list"
apt=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
	-o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
timeout 120 apt-get "${apt[@]}" update >"$work/log" 2>&1 || { echo "1..0 # SKIP the other suites cannot be reached"; exit 0; }

# A newer C library has strlcpy itself, and those servers' headers rely on it.
cat >"$work/libc.h" <<'C'
#include <stddef.h>
extern size_t strlcpy(char *to, const char *from, size_t size);
extern size_t strlcat(char *to, const char *from, size_t size);
C
for package in $(apt-cache "${apt[@]}" search --names-only '^postgresql-server-dev-[0-9]+$' | awk '{ print $1 }' | sort -V); do
	major=${package##*-}
	[[ $major -gt 15 ]] || continue
	number=$((number + 1))
	(cd "$work" && timeout 120 apt-get "${apt[@]}" download "$package" >>"$work/log" 2>&1 && dpkg-deb -x "$package"_*.deb "$major") ||
		{ echo "ok $number - PostgreSQL $major # SKIP its headers cannot be downloaded"; continue; }
	include=$(dirname "$(find "$work/$major" -name postgres.h | head -n 1)")
	bad=$(find src -name '*.c' | xargs -P 2 -I{} sh -c '
		gcc -std=gnu99 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -fsyntax-only -include "$1/libc.h" -Isrc \
			-DSPINPANEL_VERSION=\"x\" -I"$2" -D_GNU_SOURCE "$3" 2>&1 | grep -E "(^|/)src/.*(error|warning):"' sh "$work" "$include" {})
	if [[ -z $bad ]]; then echo "ok $number - compiles against PostgreSQL $major ($(cd "$work" && echo "$package"_*.deb | sed 's/.*_\(.*\)_.*/\1/'))"
	else echo "not ok $number - compiles against PostgreSQL $major"; head -n 20 <<<"$bad" | sed 's/^/# /'; fi
done
echo "1..$number"
