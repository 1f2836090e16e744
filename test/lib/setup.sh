# shellcheck shell=bash
# What test/check.sh and test/demo.sh share: a plain Debian 12 becomes a place where spinpanel can be tried, and
# nothing of it is left behind (but Debian packages).
#
#   . "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
#   sp_setup "$@"          the whole of it; returns as an ordinary user (see sp_as_user) with these set:
#
#   SP_TOP    the checkout         SP_SRC   a copy of it, built; work in here, the checkout stays as it is
#   SP_WORK   temporary folder, gone at exit     SP_STAGE  the extension as `make install DESTDIR=` puts it
#   SP_BINDIR PostgreSQL's programs (in PATH)    PG_CONFIG
#
#   sp_initdb DIR [LINE...]           a cluster that finds the staged extension; LINEs go to postgresql.conf
#   sp_server_start DIR               start it; sets PGHOST, PGPORT, PGUSER, PGDATABASE
#   sp_server_stop DIR
#   sp_emulator_start [ARG...]        start Partner Center's emulator; sets SP_EMULATOR_PORT, SP_EMULATOR_TLS_PORT,
#                                     SP_EMULATOR_PID, SP_EMULATOR_CA
#   sp_emulator METHOD PATH [JSON]    call its control API, answer on stdout
#   sp_emulator_stop
#   sp_node                           the node program
#   sp_use_server DIR                 before sp_setup: not Debian's PostgreSQL 15, but what is installed in DIR
#   sp_fail MESSAGE                   say so and end
#
# What the caller may set:
#   SPINPANEL_WORK_KEEP=1     keep the temporary folder (and say where it is)
#   SPINPANEL_BUILD=DIR       build there, incrementally, and keep it: for developers in a hurry
#   SP_COPT                   more compiler options
#   PG_CONFIG                 another server than Debian's PostgreSQL 15; with SP_OWN_SERVER=1, one that may be
#                             installed into where it has neither extension_destdir nor extension_control_path

SP_TOP=${SP_TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}

# Debian's packages; what is here only for a program is in SP_PROGRAMS, so that another source of it will do.
SP_PACKAGES=(postgresql-15 postgresql-server-dev-15 postgresql-15-cron postgresql-15-pgtap postgresql-15-pgaudit libcurl4-openssl-dev libssl-dev
	libc6-dev ca-certificates libtap-parser-sourcehandler-pgtap-perl libipc-run-perl)
SP_PROGRAMS=(gcc:gcc make:make pkg-config:pkg-config openssl:openssl perl:perl prove:perl node:nodejs)

sp_say() { printf '%s\n' "$*" >&2; }
sp_fail() { printf 'spinpanel: %s\n' "$*" >&2; exit 1; }

# A server that somebody built.  What the tests load beside spinpanel has to be in it.
sp_use_server() {
	local config=$1/bin/pg_config missing=''
	[[ -x $config ]] || sp_fail "$config is not there"
	[[ -e $("$config" --pkglibdir)/pg_cron.so ]] || missing=' pg_cron'
	[[ -e $("$config" --sharedir)/extension/pgtap.control ]] || missing+=' pgtap'
	[[ -z $missing ]] || sp_fail "the tests need these in $1, too:$missing"
	export PG_CONFIG=$config SP_OWN_SERVER=1
}

sp_missing_packages() {
	local missing=() entry package
	for package in "${SP_PACKAGES[@]}"; do
		[[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
	done
	for entry in "${SP_PROGRAMS[@]}"; do
		command -v "${entry%%:*}" >/dev/null 2>&1 || missing+=("${entry#*:}")
	done
	printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' '
}

# Installs what is missing.  Debian would start a server of its own: createcluster.conf forbids that meanwhile.
sp_install_packages() {
	local missing root=() log code=0 conf=/etc/postgresql-common/createcluster.conf
	command -v dpkg-query >/dev/null || { sp_say "not a Debian: assuming that everything needed is here"; return 0; }
	missing=$(sp_missing_packages)
	[[ -n ${missing// /} ]] || return 0
	if [[ $(id -u) != 0 ]]; then
		command -v sudo >/dev/null || sp_fail "these Debian packages are missing, and there is no sudo to install them: $missing"
		root=(sudo)
		[[ -t 0 ]] || root+=(-n)
		"${root[@]}" true || sp_fail "these Debian packages are missing, and sudo does not let us install them: $missing"
	fi
	sp_say "installing from Debian: $missing"
	log=$(mktemp)
	# shellcheck disable=SC2016
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive conf="$conf" missing="$missing" bash -c '
		set -e
		apt() { apt-get -qq -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }
		install() { apt install --no-install-recommends "$@"; }
		policy=
		undo() {
			[ ! -e "$conf.spinpanel" ] || mv -f "$conf.spinpanel" "$conf"
			[ -z "$policy" ] || rm -f "$policy"
		}
		trap undo EXIT
		apt update
		case " $missing " in *" postgresql-15 "*)
			install postgresql-common
			cp -p "$conf" "$conf.spinpanel"
			sed -i -e "/^[# ]*create_main_cluster/d" -e "\$a create_main_cluster = false" "$conf" ;;
		esac
		# these would start as services; tests run them themselves
		for service in pgbouncer prometheus-postgres-exporter; do
			case " $missing " in *" $service "*)
				if [ ! -e /usr/sbin/policy-rc.d ]; then
					policy=/usr/sbin/policy-rc.d
					printf "#!/bin/sh\nexit 101\n" >$policy
					chmod 755 $policy
				fi
				install $service
				systemctl disable $service.service >/dev/null 2>&1 || true
				[ -z "$policy" ] || rm -f "$policy"
				policy= ;;
			esac
		done
		install $missing
	' >"$log" 2>&1 </dev/null || code=$?
	if [[ $code != 0 ]]; then
		tail -n 30 "$log" >&2; rm -f "$log"
		sp_fail "could not install: $missing"
	fi
	rm -f "$log"
}

# initdb refuses root.  As root, go on inside a user namespace in which we are called postgres: files stay root's,
# nothing is copied or given away.  Where user namespaces are forbidden, go on as the user postgres with a copy.
sp_as_user() {
	[[ $(id -u) == 0 ]] || return 0
	local script copy code=0 user=postgres
	script=$(realpath "$0")
	getent passwd "$user" >/dev/null || user=nobody
	if unshare -U --map-user="$user" --map-group="$(id -gn "$user")" true 2>/dev/null; then
		exec unshare -U --map-user="$user" --map-group="$(id -gn "$user")" \
			env HOME="${TMPDIR:-/tmp}" USER="$user" LOGNAME="$user" bash "$script" "$@"
	fi
	copy=$(mktemp -d "${TMPDIR:-/tmp}/spinpanel.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$copy'" EXIT
	sp_copy_sources "$copy/spinpanel"
	chown -R "$user:" "$copy"
	runuser -u "$user" -- env HOME="$copy" USER="$user" LOGNAME="$user" SP_TOP="$copy/spinpanel" \
		bash "$copy/spinpanel/${script#"$SP_TOP"/}" "$@" || code=$?
	exit "$code"
}

# sp_copy_sources TO: the sources without what was built from them.  Times stay, so make knows what is new.
sp_copy_sources() {
	local file
	mkdir -p "$1"
	if [[ -d $1/src ]]; then
		rm -rf "$1"/{test,expected,sql}
		(cd "$1" && find src -type f ! -name '*.o') | while IFS= read -r file; do
			[[ -e $SP_TOP/$file ]] || rm -f "$1/$file" "$1/${file%.c}.o"; done
	fi
	tar -C "$SP_TOP" -cf - --exclude-vcs --exclude='*.o' --exclude='*.so' --exclude='*.bc' --exclude=./results \
		--exclude=./tmp_check --exclude=./log --exclude=./output_iso --exclude='node_modules' --warning=no-file-changed . \
		| tar -C "$1" -xf - || sp_fail "could not copy the sources"
}

sp_work() {
	umask 022
	SP_WORK=$(mktemp -d "${TMPDIR:-/tmp}/spinpanel.XXXXXX") || exit 1
	export SP_WORK SPINPANEL_WORK=$SP_WORK SP_TOP
	trap sp_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# Ends what we started: servers by their pid files, then whatever still carries our environment.
sp_cleanup() {
	local code=$? file pid
	trap '' INT TERM HUP
	[[ -n ${SP_WORK:-} && -d $SP_WORK ]] || return
	while IFS= read -r file; do
		pid=$(head -n 1 "$file" 2>/dev/null)
		[[ $pid =~ ^[0-9]+$ ]] && kill -QUIT "$pid" 2>/dev/null
	done < <(find "$SP_WORK" -name postmaster.pid 2>/dev/null)
	for pid in $(sp_our_processes); do kill -TERM "$pid" 2>/dev/null; done
	for _ in 1 2 3 4 5 6 7 8 9 10; do [[ -z $(sp_our_processes) ]] && break; sleep 0.1; done
	for pid in $(sp_our_processes); do kill -KILL "$pid" 2>/dev/null; done
	if [[ -n ${SPINPANEL_WORK_KEEP:-} ]]; then
		sp_say "kept: $SP_WORK"
	else
		rm -rf "$SP_WORK" 2>/dev/null || { sleep 1; rm -rf "$SP_WORK"; }
	fi
	return "$code"
}

sp_our_processes() {
	local file pid
	for file in /proc/[0-9]*/environ; do
		pid=${file#/proc/}; pid=${pid%/environ}
		[[ $pid == "$$" || $pid == "$BASHPID" ]] && continue
		if tr '\0' '\n' <"$file" 2>/dev/null | grep -qxF "SPINPANEL_WORK=$SP_WORK"; then
			# not our own subshells: they have the variable, too
			[[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$(readlink /proc/$$/exe)" ]] && continue
			echo "$pid"
		fi
	done 2>/dev/null
}

sp_environment() {
	if [[ -z ${PG_CONFIG:-} ]]; then
		PG_CONFIG=pg_config
		[[ -x /usr/lib/postgresql/15/bin/pg_config ]] && PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
	fi
	export PG_CONFIG
	SP_BINDIR=$("$PG_CONFIG" --bindir) || sp_fail "$PG_CONFIG does not work"
	export PATH=$SP_BINDIR:$PATH
	# Nothing of the caller's: its server, locale, time zone, proxies or make
	unset "${!PG@}" MAKEFLAGS MAKELEVEL MFLAGS http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY \
		LC_ALL LANGUAGE NODE_OPTIONS NODE_TEST_CONTEXT PERL5LIB PROVE_OPTS
	PG_CONFIG=${SP_BINDIR}/pg_config
	[[ -x $PG_CONFIG ]] || PG_CONFIG=pg_config
	export PG_CONFIG TZ=UTC LANG=C.UTF-8 SP_BINDIR
}

sp_build() {
	local log=$SP_WORK/build.log built
	SP_SRC=${SPINPANEL_BUILD:-$SP_WORK/src}
	SP_STAGE=$SP_WORK/stage
	export SP_SRC SP_STAGE
	sp_copy_sources "$SP_SRC"
	[[ -z ${SP_NO_BUILD:-} ]] || return 0
	# What is kept there may be for another server, or with other options
	built="$PG_CONFIG $("$PG_CONFIG" --version) ${SP_COPT:-}"
	if [[ $(cat "$SP_SRC/.built" 2>/dev/null) != "$built" ]]; then
		find "$SP_SRC/src" -name '*.o' -delete; rm -f "$SP_SRC/spinpanel.so"
		echo "$built" >"$SP_SRC/.built"
	fi
	make -C "$SP_SRC" -j"$(nproc 2>/dev/null || echo 2)" COPT="${SP_COPT:-}" >"$log" 2>&1 \
		|| { grep -E '^[^ ]*: (fatal )?error:|undefined (reference|symbol)|\*\*\*' "$log" | head -n 30 >&2; sp_fail "does not compile"; }
	if [[ -n $(sp_stage_setting) ]]; then
		make -C "$SP_SRC" install DESTDIR="$SP_STAGE" >>"$log" 2>&1 || { tail "$log" >&2; sp_fail "make install failed"; }
	elif [[ $SP_BINDIR != /usr/* && -n ${SP_OWN_SERVER:-} ]]; then
		SP_STAGE=
		make -C "$SP_SRC" install >>"$log" 2>&1 || { tail "$log" >&2; sp_fail "make install failed"; }
	else
		sp_fail "this server can only use what is installed into it; SP_OWN_SERVER=1 does so"
	fi
}

sp_setup() {
	sp_install_packages
	sp_as_user "$@"
	sp_work
	sp_environment
	sp_build
}

# The setting that shows a server where a staged extension is: Debian's own, or PostgreSQL's from 18 on
sp_stage_setting() { "$SP_BINDIR/postgres" --describe-config | grep -oE '^extension_(destdir|control_path)' | sort -r | head -n 1; }

# Lines of postgresql.conf with which a server finds the staged extension
sp_stage_conf() {
	[[ -n $SP_STAGE ]] || return 0
	case $(sp_stage_setting) in
		extension_destdir) printf "extension_destdir = '%s'\n" "$SP_STAGE" ;;
		extension_control_path) printf "extension_control_path = '%s:\$system'\n" "$SP_STAGE$("$PG_CONFIG" --sharedir)" ;;
	esac
	printf "dynamic_library_path = '%s:\$libdir'\n" "$SP_STAGE$("$PG_CONFIG" --pkglibdir)"
}

sp_initdb() {
	local dir=$1; shift
	initdb -D "$dir" -U postgres -A trust -N --no-locale -E UTF8 >"$SP_WORK/initdb.log" 2>&1 \
		|| { cat "$SP_WORK/initdb.log" >&2; sp_fail "initdb failed"; }
	mkdir -p "$dir.socket"
	{
		sp_stage_conf
		printf '%s\n' "unix_socket_directories = '$dir.socket'" "listen_addresses = ''" "port = 5432" "fsync = off" \
			"log_line_prefix = '%m [%p] %q%d '" "timezone = 'UTC'" "cron.use_background_workers = on" "$@"
	} >>"$dir/postgresql.conf"
}

sp_server_start() {
	pg_ctl -D "$1" -l "$1.log" -w -t 60 start >"$1.start" 2>&1 || { tail -n 30 "$1.log" >&2; sp_fail "the server does not start"; }
	export PGHOST=$1.socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# What PostgreSQL's own Perl modules for tests want to know
sp_tap_environment() {
	local pgxs
	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")
	# TESTDIR up to 15, the others from 16 on
	export TESTDIR=$SP_WORK TESTDATADIR=$SP_WORK/tmp_check TESTLOGDIR=$SP_WORK/tmp_check/log
	export PG_TEST_PORT_DIR=$SP_WORK/ports PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-60}
	export PG_REGRESS=$pgxs/../test/regress/pg_regress PERL5LIB=$pgxs/../test/perl PG_TEST_NOCLEAN=1
	SP_STAGE_CONF=$(sp_stage_conf); export SP_STAGE_CONF
}

sp_server_stop() { pg_ctl -D "$1" -m "${2:-fast}" -w -t 60 stop >/dev/null; }

sp_node() { command -v node || command -v nodejs || sp_fail "no node"; }

# Plain and TLS; ARGs as in test/partner_center/README.md, e.g. --scenario msp
sp_emulator_start() {
	local line='' out
	if [[ ! -e $SP_WORK/tls/server.pem ]]; then
		mkdir -p "$SP_WORK/tls"
		"$SP_SRC/test/partner_center/certificate.sh" "$SP_WORK/tls" >"$SP_WORK/tls/log" 2>&1 \
			|| { cat "$SP_WORK/tls/log" >&2; sp_fail "no certificate for the emulator"; }
	fi
	SP_EMULATOR_CA=$SP_WORK/tls/ca.pem
	out=$(mktemp "$SP_WORK/emulator.XXXXXX")
	"$(sp_node)" "$SP_SRC/test/partner_center/server.js" --port 0 --tls-port 0 --cert "$SP_WORK/tls/server.pem" \
		--key "$SP_WORK/tls/server.key" "$@" >"$out" 2>"$out.log" </dev/null &
	SP_EMULATOR_PID=$!
	for _ in {1..300}; do
		read -r line <"$out" && break
		kill -0 "$SP_EMULATOR_PID" 2>/dev/null || break
		sleep 0.05
	done
	[[ $line =~ \"port\":([0-9]+),\"tls_port\":([0-9]+) ]] || { cat "$out.log" >&2; sp_fail "the emulator does not start"; }
	SP_EMULATOR_PORT=${BASH_REMATCH[1]} SP_EMULATOR_TLS_PORT=${BASH_REMATCH[2]}
	export SP_EMULATOR_PORT SP_EMULATOR_TLS_PORT SP_EMULATOR_PID SP_EMULATOR_CA
}

sp_emulator_stop() {
	[[ -n ${SP_EMULATOR_PID:-} ]] || return 0
	kill "$SP_EMULATOR_PID" 2>/dev/null; wait "$SP_EMULATOR_PID" 2>/dev/null
	SP_EMULATOR_PID=
	return 0
}

# With perl, which is there anyway
sp_emulator() {
	perl -MHTTP::Tiny -e '
		my ($method, $url, $body) = @ARGV;
		my $answer = HTTP::Tiny->new(timeout => 60)->request($method, $url,
			{ defined $body ? (content => $body, headers => { "content-type" => "application/json" }) : () });
		print $answer->{content}, "\n";
		if (!$answer->{success}) { print STDERR "emulator: $method $url: $answer->{status}\n"; exit 1 }
	' "$1" "http://127.0.0.1:$SP_EMULATOR_PORT$2" "${@:3}"
}
