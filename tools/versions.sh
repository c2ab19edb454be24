#!/bin/sh
# Runs the suite under each Python in $PYTHONS that this machine has, each in a
# venv of its own (.venv-3.12, ...), and says at the end which were absent.
#
#     tools/versions.sh [--plain] [PYTEST ARGUMENT...]
#
# With --plain geartrain is not installed there: the files in src/ are tested as
# they are, which needs no build; and it is no fault if there is no such Python.
set -u

cd "$(dirname "$0")/.."
. tools/pythons.sh
plain=no
if [ "${1:-}" = --plain ]; then
    plain=yes
    shift
fi

set_up() { # VENV, with $python
    if [ $plain = yes ]; then
        PYTHON=$python tools/setup.sh --tools "$1"
        PYTHONPATH=src
        export PYTHONPATH
    else
        PYTHON=$python tools/setup.sh "$1"
    fi
}

ran= absent= failed=
for version in ${PYTHONS:-3.11 3.12 3.13}; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        absent="$absent $version"
        continue
    fi
    printf '\n── Python %s (%s)\n' "$version" "$python"
    venv=.venv-$version
    if set_up "$venv" \
        && "$venv/bin/python" -m pytest -q -n "${JOBS:-2}" --dist loadfile "$@" \
            -m "${MARKS:-not slow and not soak and not chaos and not fuzz and not bench and not interop}"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done

# Not "0 failed": what counts tests reads that as a count.
printf '\nPythons passed:%s\nPythons failed:%s\nnot on this machine:%s\n' \
    "${ran:- none}" "${failed:- none}" "${absent:- none}"
[ -z "$failed" ] && { [ $plain = yes ] || [ -n "$ran" ]; }
