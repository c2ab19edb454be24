#!/bin/sh
# Installs the peers that the interop tests talk to: other people's job server, tools and
# libraries. Quick when they are there already.
#
# From Debian: the C job server and tools, the PHP extension, the Perl libraries and server,
# Node. That needs root; without, it only says what is missing. From npm and PyPI: into
# .cache/interop of the repository, nothing global.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/interop

NPM="gearman@2.1.0 gearmanode@0.9.2"
PYPI="gear==0.16.0 pygearman==0.2.6"

say() { echo "interop: $*" >&2; }

# Processes that share a suite come at the same time: one installs, the others find it done.
mkdir -p "$cache"
[ -e "$cache/.gitignore" ] || echo '*' >"$cache/.gitignore"
if command -v flock >/dev/null 2>&1; then
    exec 9>"$cache/.lock"
    flock 9
fi

# ── Debian ───────────────────────────────────────────────────────────────────

missing=""
want() { # PACKAGE, then a command that succeeds if it is there
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
want gearman-job-server test -x /usr/sbin/gearmand
want gearman-tools test -x /usr/bin/gearadmin
want php-cli php -v
want php-gearman php -r 'exit(extension_loaded("gearman") ? 0 : 1);'
want libgearman-client-perl perl -MGearman::Worker -e 1
want gearman-server perl -MGearman::Server -e 1
want nodejs node --version
want npm npm --version
want python3-venv python3 -c 'import ensurepip, venv'

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # The job server's package would start one on the standard port.
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
            chmod +x /usr/sbin/policy-rc.d
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        fi
        # shellcheck disable=SC2086 - several packages, several words
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        say "not root, so these stay missing:$missing"
    fi
fi

# ── npm and PyPI ─────────────────────────────────────────────────────────────

stamp=$cache/npm/.installed
if command -v npm >/dev/null && [ "$(cat "$stamp" 2>/dev/null)" != "$NPM" ]; then
    say "installing $NPM"
    rm -rf "$cache/npm"
    mkdir -p "$cache/npm"
    echo '{"private": true}' >"$cache/npm/package.json"
    # shellcheck disable=SC2086
    npm install --prefix "$cache/npm" --silent --no-audit --no-fund --ignore-scripts $NPM
    echo "$NPM" >"$stamp"
fi

stamp=$cache/python/.installed
if [ "$(cat "$stamp" 2>/dev/null)" != "$PYPI" ]; then
    say "installing $PYPI"
    rm -rf "$cache/python"
    python3 -m venv "$cache/python"
    # shellcheck disable=SC2086
    "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check $PYPI
    echo "$PYPI" >"$stamp"
fi
