#!/bin/sh
# Runs the suite under each Python in $PYTHONS that this machine has, each in a
# venv of its own (.venv-3.12, ...), and says at the end which were absent.
#
#     tools/versions.sh [PYTEST ARGUMENT...]
#     tools/versions.sh --plain [PYTEST ARGUMENT...] [--newest PYTEST ARGUMENT...]
#     tools/versions.sh --any VERSION...    is one of these on this machine?
#
# With --plain geartrain is not installed there: the files in src/ are tested as
# they are, which needs no build; and it is no fault if there is no such Python.
# What follows --newest is for the newest of them alone, beside the others' arguments.
#
# --plain says again, under another Python, what the suite has said: what cannot differ
# there (marked `once`) is left out, and of stories told by chance, which begin the same
# everywhere, the first quarter is told.
set -u

cd "$(dirname "$0")/.."
. tools/pythons.sh
if [ "${1:-}" = --any ]; then
    shift
    for version; do
        [ -z "$(find_python "$version")" ] || exit 0
    done
    exit 1
fi
plain=no
if [ "${1:-}" = --plain ]; then
    plain=yes
    shift
fi

marks="not slow and not soak and not chaos and not fuzz and not bench and not interop"
if [ $plain = yes ]; then
    marks="$marks and not once"
    HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-again}
    export HYPOTHESIS_PROFILE
fi

for_all= for_newest= newest_only=no
for argument; do
    if [ "$argument" = --newest ]; then
        newest_only=yes
    elif [ $newest_only = yes ]; then
        for_newest="$for_newest $argument"
    else
        for_all="$for_all $argument"
    fi
done

newest=
for version in ${PYTHONS:-3.11 3.12 3.13}; do
    [ -z "$(find_python "$version")" ] || newest=$version
done

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
    tests=$for_all
    [ "$version" != "$newest" ] || tests="$for_all $for_newest"
    # shellcheck disable=SC2086 # lists of words
    if set_up ".venv-$version" \
        && PY=.venv-$version/bin/python JOBS=${JOBS:-2} tools/suite.sh -q $tests \
            -m "${MARKS:-$marks}"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done

# Not "0 failed": what counts tests reads that as a count.
printf '\nPythons passed:%s\nPythons failed:%s\nnot on this machine:%s\n' \
    "${ran:- none}" "${failed:- none}" "${absent:- none}"
[ -z "$failed" ] && { [ $plain = yes ] || [ -n "$ran" ]; }
