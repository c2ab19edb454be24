#!/bin/sh
# Runs tests in several processes, file by file:
#
#     PY=.venv/bin/python JOBS=4 tools/suite.sh [PYTEST ARGUMENT...]
#
# The order of files is that of tests/conftest.py: the long ones first.
#
# What fails there is run once more, alone and in one process. Half of the suite
# talks to real programs about real time, on machines that are busy with others;
# a test that passes alone is told all the same, and is to be mended.
#
# Two of these may run beside each other, with different Pythons or builds: each has
# a memory of its own of what failed.
set -u

tag=$("$PY" -c 'import sys; print(sys.implementation.cache_tag)')
build=installed
[ -z "${PYTHONPATH:-}" ] || build=plain
memory=.pytest_cache/$tag-$build

# Whoever imports a test file first translates it, and all that it imports. In a new
# checkout one does so for all: the processes would each begin by doing the same.
if [ ! -d "$memory" ]; then
    "$PY" -m pytest -p no:cacheprovider --collect-only -q "$@" >/dev/null 2>&1
fi

"$PY" -m pytest -o cache_dir="$memory" -n "$JOBS" --dist loadfile --no-loadscope-reorder "$@"
status=$?
[ $status -eq 1 ] || exit $status

printf '\n── some failed beside others (see above): those once more, alone\n'
exec "$PY" -m pytest -o cache_dir="$memory" --last-failed --last-failed-no-failures none "$@"
