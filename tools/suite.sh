#!/bin/sh
# Runs tests in several processes, file by file:
#
#     PY=.venv/bin/python JOBS=2 tools/suite.sh [PYTEST ARGUMENT...]
#
# What fails there is run once more, alone and in one process. Half of the suite
# talks to real programs about real time, on machines that are busy with others;
# a test that passes alone is told all the same, and is to be mended.
set -u

"$PY" -m pytest -n "$JOBS" --dist loadfile "$@"
status=$?
[ $status -eq 1 ] || exit $status

printf '\n── some failed beside others (see above): those once more, alone\n'
exec "$PY" -m pytest --last-failed --last-failed-no-failures none "$@"
