#!/bin/sh
# Runs the suite under each Python in $PYTHONS that this machine has, each in a
# venv of its own (.venv-3.12, ...), and says at the end which were absent.
set -u

cd "$(dirname "$0")/.."

. tools/pythons.sh

ran= absent= failed=
for version in ${PYTHONS:-3.11 3.12 3.13}; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        absent="$absent $version"
        continue
    fi
    printf '\n── Python %s (%s)\n' "$version" "$python"
    venv=.venv-$version
    if PYTHON=$python tools/setup.sh "$venv" \
        && "$venv/bin/python" -m pytest -q "$@" \
            -m "${MARKS:-not slow and not soak and not chaos and not fuzz and not bench and not interop}"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done

printf '\npassed:%s\nfailed:%s\nnot on this machine:%s\n' "${ran:- none}" "${failed:- none}" "${absent:- none}"
[ -z "$failed" ] && [ -n "$ran" ]
