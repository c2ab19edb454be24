#!/bin/sh
# Installs what only some tests need: other people's servers, clients and
# workers, and the databases that stores are tested against. For machines that are thrown away; does nothing where it is not
# root or there is no apt-get, and then those tests say what they miss.
set -eu

say() { printf 'ci-deps: %s\n' "$*"; }

missing=
need() { # need PACKAGE COMMAND...: PACKAGE, unless the command succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

perl_has() { perl "-M$1" -e 1; }
php_has() { php -m | grep -qix "$1"; }

need gearman-job-server test -x /usr/sbin/gearmand
need gearman-tools test -x /usr/bin/gearman
need php-cli command -v php
need php-gearman php_has gearman
need libgearman-client-perl perl_has Gearman::Client
need nodejs command -v node
need npm command -v npm
need gcc command -v cc
need postgresql test -d /usr/lib/postgresql
need sqlite3 command -v sqlite3

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "cannot install here:$missing"
    exit 0
fi

say "installing:$missing"
# A package that brings a server must not start it: the tests start their own,
# on ports of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
say "done"
