#!/bin/bash
# Nights, requests and bad weather for as long as you like, then what grew: memory and descriptors of the worker, tables, WAL.
#
#   test/soak.sh [MINUTES] [--pg DIR]     an hour unless said otherwise
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
minutes=60
[[ ${1:-} =~ ^[0-9]+$ ]] && { minutes=$1; shift; }
export SPINPANEL_SOAK_MINUTES=$minutes SPINPANEL_SOAK_REPORT=${SPINPANEL_SOAK_REPORT:-$(mktemp)}
chmod 666 "$SPINPANEL_SOAK_REPORT"
"$here/check.sh" --full "$@" t/910_soak.pl
code=$?
cat "$SPINPANEL_SOAK_REPORT"
exit $code
