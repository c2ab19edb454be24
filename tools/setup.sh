#!/bin/sh
# Makes a development environment: a venv with all that requirements-dev.lock
# names, and geartrain installed as its users have it: compiled, not editable.
#
#     tools/setup.sh [--tools] [VENV]    default .venv; PYTHON=... chooses the Python
#
# With --tools geartrain itself is left as it is, installed or not.
#
# Run again, it does only what has changed since. Two runs at once wait for
# each other.
set -eu

cd "$(dirname "$0")/.."
tools_only=no
if [ "${1:-}" = --tools ]; then
    tools_only=yes
    shift
fi
venv=${1:-.venv}

say() { printf 'setup: %s\n' "$*"; }

# One lock for each venv's tools, and one for builds, which share build/: tests may
# run with one Python while geartrain is compiled for another.
if [ "${GEARTRAIN_LOCKED:-}" != "$venv" ] && command -v flock >/dev/null 2>&1; then
    mkdir -p build
    tools_lock=build/setup-$(echo "$venv" | tr / _).lock
    if [ $tools_only = yes ]; then
        GEARTRAIN_LOCKED=$venv exec flock "$tools_lock" "$0" --tools "$venv"
    fi
    GEARTRAIN_LOCKED=$venv flock "$tools_lock" "$0" --tools "$venv"
    GEARTRAIN_LOCKED=$venv exec flock build/setup.lock "$0" "$venv"
fi

# ── a Python ─────────────────────────────────────────────────────────────────

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    say "no Python 3.11 or newer (looked for ${PYTHON:-python3}); set PYTHON=/path/to/python" >&2
    exit 1
}

# ── what the system lacks ────────────────────────────────────────────────────

updated=no
apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        return 1
    fi
    say "installing with apt-get: $*"
    if [ $updated = no ]; then
        apt-get update -qq || return 1
        updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

has_headers() {
    "$1" -c '
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}

check_system() {
    python=$1
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "python$version-venv" || {
            say "$python cannot make a venv: install python$version-venv and try again" >&2
            exit 1
        }
    fi
    if [ "${GEARTRAIN_PURE:-0}" = 0 ]; then
        if ! command -v "${CC:-cc}" >/dev/null 2>&1 && [ -z "${CC:-}" ]; then
            apt_install gcc libc6-dev || say "no C compiler, so geartrain will be the slower, pure build"
        fi
        if ! has_headers "$python"; then
            apt_install "python$version-dev" \
                || say "no headers for $python, so geartrain will be the slower, pure build"
        fi
    fi
}

# ── the venv and what is in it ───────────────────────────────────────────────

sum_of() { sha256sum | cut -d' ' -f1; }

lock_sum=$(sum_of <requirements-dev.lock)
if ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(cat "$venv/.lock.sum" 2>/dev/null)" != "$lock_sum" ]; then
    python=$(find_python)
    check_system "$python"
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "making $venv with $("$python" -V)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    say "installing what requirements-dev.lock names"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile --no-deps -r requirements-dev.lock
    echo "$lock_sum" >"$venv/.lock.sum"
fi

[ $tools_only = no ] || exit 0

# Contents, not dates: a checkout gives every file a new date, and a file that
# was removed has none.
src_sum=$(
    {
        printf '%s %s\n' "${GEARTRAIN_PURE:-0}" "${GEARTRAIN_COMPILE:-}"
        find src -type f ! -name '*.pyc' -exec sha256sum {} + | sort -k2
        cat setup.py pyproject.toml
    } | sum_of
)
if [ "$(cat "$venv/.src.sum" 2>/dev/null)" != "$src_sum" ]; then
    if [ "${GEARTRAIN_PURE:-0}" = 0 ]; then
        say "building and installing geartrain (compiling takes a minute or two of a processor)"
    else
        say "building and installing geartrain"
    fi
    tag=$("$venv/bin/python" -c 'import sys; print(sys.implementation.cache_tag)')
    log=build/install-$tag.log
    if ! "$venv/bin/python" -m pip install -v --disable-pip-version-check --no-deps \
        --no-build-isolation --force-reinstall . >"$log" 2>&1; then
        # The compiler's and mypy's words are what one needs; pip's are not.
        grep -E 'error|Error|\.py:[0-9]+' "$log" | head -n 60 >&2 || true
        say "geartrain did not build; the whole story is in $log" >&2
        exit 1
    fi
    grep -h 'slower, pure Python build' "$log" | sed 's/^ */setup: /' || true
    echo "$src_sum" >"$venv/.src.sum"
    say "$("$venv/bin/python" -c '
import sys; sys.path = [p for p in sys.path if p]
import geartrain
from geartrain import _build
print("geartrain", geartrain.__version__, "installed:", _build.describe())')"
fi
