#!/bin/bash
# Builds the Debian packages and the PGXN archive, and tries them on this machine: installs the package, makes a
# cluster with it, creates the extension, removes and purges the package.  Run it on a machine that may be changed, as
# root.  The last line counts: "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
passed=0 failed=0
ok() { # NAME COMMAND...
	local name=$1 log; shift
	if log=$("$@" 2>&1); then passed=$((passed + 1)); echo "ok - $name"
	else failed=$((failed + 1)); echo "not ok - $name"; tail -n 20 <<<"$log" | sed 's/^/# /'; fi
}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get update -qq
apt-get install -y -qq --no-install-recommends git build-essential debhelper postgresql-common postgresql-server-dev-all \
	libcurl4-openssl-dev libssl-dev pkg-config zip unzip perl >/dev/null || exit 1
echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
# A checkout without its history is enough: make deb and make dist ask git for the files.
if ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
	git init -q . && git add -A && git -c user.name=test -c user.email=test@localhost commit -qm test || exit 1
fi
git config --global --add safe.directory "$PWD"

ok "make deb builds packages" make deb
package=$(ls packages/postgresql-15-spinpanel_*.deb)
ok "make dist builds an archive" make dist
archive=$(ls packages/spinpanel-*.zip)
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" spinpanel.control)

# PGXN's rules: META.json at the top of a folder called name-version, all it provides inside, three-part versions
pgxn() {
	local folder; folder=$(basename "$archive" .zip)
	rm -rf /tmp/pgxn && mkdir /tmp/pgxn && unzip -q "$archive" -d /tmp/pgxn || return 1
	perl -MJSON::PP -0777 -ne '
		my $m = decode_json($_); my $top = shift(@ARGV) // "";
		for my $key (qw(name version abstract maintainer license provides meta-spec)) { die "no $key\n" unless $m->{$key} }
		die "version $m->{version}\n" unless $m->{version} =~ /^\d+\.\d+\.\d+$/;
		die "folder\n" unless "$m->{name}-$m->{version}" eq $ENV{FOLDER};
		for my $e (values %{ $m->{provides} }) { for my $f ($e->{file}, $e->{docfile}) { die "no $f\n" unless -s "/tmp/pgxn/$ENV{FOLDER}/$f" } }' \
		"/tmp/pgxn/$folder/META.json"
}
FOLDER=$(basename "$archive" .zip) ok "the archive keeps PGXN's rules" pgxn

ok "the package is installed" apt-get install -y -qq "./$package" postgresql-15-cron
ok "its files are PostgreSQL's" test -e /usr/lib/postgresql/15/lib/spinpanel.so -a \
	-e "/usr/share/postgresql/15/extension/spinpanel--$version.sql" -a -e /usr/share/postgresql/15/extension/spinpanel.control
ok "the README comes with it" sh -c 'ls /usr/share/doc/postgresql-15-spinpanel/README.md*'
ok "the query file for Prometheus, too" test -s /usr/share/postgresql/15/extension/spinpanel_exporter.yaml
cluster() {
	pg_createcluster 15 packages -- --auth=trust >/dev/null &&
	echo "shared_preload_libraries = 'pg_cron,spinpanel'
spinpanel.database = 'postgres'
cron.database_name = 'postgres'" >/etc/postgresql/15/packages/conf.d/spinpanel.conf &&
	pg_ctlcluster 15 packages start
}
ok "a server starts with it" cluster
sql() { runuser -u postgres -- psql -XAtq --cluster 15/packages -d postgres -v ON_ERROR_STOP=1 -c "$1"; }
ok "the extension is created" sql "CREATE EXTENSION pg_cron; CREATE EXTENSION spinpanel"
works() {
	local i
	for i in $(seq 100); do
		[[ $(sql "SELECT ok FROM spinpanel.check_setup() WHERE item = 'worker'") == t ]] && return 0
		read -rt 0.1 <> <(:) || true
	done
	sql "SELECT item, ok, detail FROM spinpanel.check_setup()"; return 1
}
ok "the worker runs" works
ok "the server stops" pg_dropcluster --stop 15 packages
rm -rf /etc/postgresql/15/packages    # the file that we put there
ok "the package is removed" apt-get remove -y -qq postgresql-15-spinpanel
ok "nothing of it is left" sh -c '! test -e /usr/lib/postgresql/15/lib/spinpanel.so'
ok "the package is installed again" apt-get install -y -qq "./$package"
ok "the package is purged" apt-get purge -y -qq postgresql-15-spinpanel
ok "no file of its name is left" sh -c '! find /usr /etc /var/lib/postgresql /var/lib/dpkg/info -name "*spinpanel*" | grep .'
ok "nothing of it is on record" sh -c '! dpkg -s postgresql-15-spinpanel >/dev/null 2>&1'

echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
