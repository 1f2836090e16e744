# spinpanel: build, install and test.
#
#   make && sudo make install      the extension, into the server that PG_CONFIG belongs to
#   make installcheck              SQL and isolation tests against that (running, preloaded) server
#   make check                     every test, with servers of their own (test/check.sh)
#   make check TESTS=t/010_worker.pl   one step or one TAP file
#   make demo                      the product on an emulated Partner Center (test/demo.sh)
#   make lint                      compile with warnings as errors, keep nothing
#   make deb                       Debian packages, into packages/ (needs debhelper and postgresql-server-dev-all)
#   make dist                      the archive for PGXN, into packages/
#   make format, make format-check clang-format over src/, test/unit/ and test/fuzz/

PG_CONFIG ?= pg_config

# Goals that need no PostgreSQL around: they work before anything is installed.
OWN_GOALS = check check-full demo format format-check deb dist

ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)

.PHONY: $(MAKECMDGOALS)

check:
	@test/check.sh $(TESTS)

check-full:
	@test/check.sh --full $(TESTS)

demo:
	@test/demo.sh

CLANG_FORMAT ?= clang-format
FORMATTED = $(wildcard src/*.[ch] src/*/*.[ch] test/unit/*.[ch] test/fuzz/*.[ch])

format:
	$(CLANG_FORMAT) -i $(FORMATTED)

format-check:
	$(CLANG_FORMAT) --dry-run --Werror $(FORMATTED)

OWN_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" spinpanel.control)
DIST = spinpanel-$(OWN_VERSION).0

# Both work on a copy of what git tracks, so that nothing else gets in; the install script is made first, as
# whoever unpacks the archive may have no make.
deb:
	rm -rf packages/deb && mkdir -p packages/deb/spinpanel
	git archive HEAD | tar -x -C packages/deb/spinpanel
	cd packages/deb/spinpanel && pg_buildext updatecontrol && dpkg-buildpackage -us -uc -b
	mv packages/deb/*.deb packages/ && rm -rf packages/deb

dist:
	rm -rf packages/$(DIST) && mkdir -p packages
	git archive --prefix=$(DIST)/ HEAD | tar -x -C packages
	cd packages/$(DIST) && $(MAKE) sql/spinpanel--$(OWN_VERSION).sql
	cd packages && rm -f $(DIST).zip && zip -qr $(DIST).zip $(DIST) && rm -rf $(DIST)

# Mixed with others: those are made as usual.
$(filter-out $(OWN_GOALS),$(MAKECMDGOALS)):
	@$(MAKE) $@

else

EXTENSION = spinpanel
MODULE_big = spinpanel
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

# The one place that knows the version is the control file.
SPINPANEL_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" spinpanel.control)

# The install script is put together from its parts, in the order of their names.
SQL_SCRIPT = sql/spinpanel--$(SPINPANEL_VERSION).sql
SQL_PARTS = $(sort $(wildcard sql/install/*.sql))
DATA = $(SQL_SCRIPT) sql/spinpanel_exporter.yaml $(filter-out $(SQL_SCRIPT),$(wildcard sql/spinpanel--*--*.sql))

PG_CPPFLAGS = -I$(srcdir)/src -DSPINPANEL_VERSION='"$(SPINPANEL_VERSION)"' \
	$(shell pkg-config --cflags libcurl libcrypto 2>/dev/null)
SHLIB_LINK = $(shell pkg-config --libs libcurl libcrypto 2>/dev/null || echo -lcurl -lcrypto) -lm

# No bitcode: nothing in here is worth inlining into a query, and it needs clang.
override with_llvm = no

# make installcheck.  pg_cron and our worker stay connected to the database they
# serve, so pg_regress must not drop and make it again: it uses what is there.
# No test may be called spinpanel...: pg_regress would prefer ./sql/NAME.sql.
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --use-existing
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=. --load-extension=spinpanel
TESTDB ?= spinpanel_regression
EXTRA_CLEAN = results regression.diffs regression.out $(SQL_SCRIPT)

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) not found: install postgresql-server-dev-15, or give PG_CONFIG=...)
endif
include $(PGXS)

override CONTRIB_TESTDB := $(TESTDB)

$(OBJS): $(wildcard src/*/*.h) spinpanel.control Makefile

all: $(SQL_SCRIPT)
$(SQL_SCRIPT): $(SQL_PARTS) spinpanel.control Makefile
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION spinpanel" to load this file. \quit'; \
	   for part in $(SQL_PARTS); do echo; cat $$part || exit 1; done; } >$@.new && mv $@.new $@

.PHONY: testdb
installcheck: testdb
testdb:
	@'$(bindir)/psql' -XAtq -d postgres -c "SELECT 1 FROM pg_database WHERE datname = '$(TESTDB)'" | grep -q 1 \
		|| '$(bindir)/createdb' '$(TESTDB)'

# Warnings that the optimiser finds count too, hence -O2 and /dev/null.
LINT_FLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare
LINTS = $(OBJS:.o=.lint)
.PHONY: lint $(LINTS)
lint: $(LINTS)
$(LINTS): %.lint: %.c
	@$(CC) $(CFLAGS) $(CPPFLAGS) $(LINT_FLAGS) -DUSE_ASSERT_CHECKING -c -o /dev/null $<

endif
