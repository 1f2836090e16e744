#!/bin/bash
# The README's installation and five-minute start, typed as a new user would.  The commands are read out of README.md, so
# that it and this test cannot differ; only what a reader has to fill in (…) is filled in.  Microsoft's two hosts are the
# emulator here: their names lead to this machine, whose certificate authority the system trusts.
#
#   test/first_hour.sh             with the Debian package, as the README builds it
#   test/first_hour.sh --source    with make install
#
# Run it as root on a machine that may be changed and has nothing but the checkout.  The last line counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $(id -u) == 0 ]] || { echo "first_hour.sh: needs root, and a machine that may be changed" >&2; exit 2; }
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get update -qq
# What a user has: sudo, git, a browser (nodejs: the emulator has its pages)
apt-get install -y -qq --no-install-recommends sudo git perl nodejs openssl ca-certificates >/dev/null
# apt-get asks nobody here
printf 'APT::Get::Assume-Yes "true";\n' >/etc/apt/apt.conf.d/90assume-yes
# make deb asks git for the files
git config --global --add safe.directory "$PWD"
if ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
	git init -q . && git add -A && git -c user.name=test -c user.email=test@localhost commit -qm test
fi
# Where there is no systemd, the init script does what systemctl would
if [[ ! -d /run/systemd/system ]]; then
	printf '#!/bin/sh\nexec service "$2" "$1"\n' >/usr/local/sbin/systemctl
	chmod 755 /usr/local/sbin/systemctl
fi
exec perl test/lib/first_hour.pl "$@"
