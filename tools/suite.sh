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

memory=.pytest_cache/$("$PY" -c 'import os, sys
print(sys.implementation.cache_tag, "plain" if os.environ.get("PYTHONPATH") else "installed", sep="-")')

"$PY" -m pytest -o cache_dir="$memory" -n "$JOBS" --dist loadfile --no-loadscope-reorder "$@"
status=$?
[ $status -eq 1 ] || exit $status

printf '\n── some failed beside others (see above): those once more, alone\n'
exec "$PY" -m pytest -o cache_dir="$memory" --last-failed --last-failed-no-failures none "$@"
