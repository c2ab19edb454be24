#!/bin/sh
# Runs the suite under each Python in $PYTHONS that this machine has, each in a
# venv of its own (.venv-3.12, ...), and says at the end which were absent.
set -u

cd "$(dirname "$0")/.."

find_python() { # the interpreter of version $1, or nothing
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python "/usr/local/bin/python$1"; do
        # A name on PATH may be a shim that only says it is not installed.
        if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$1" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
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
