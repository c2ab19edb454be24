#!/bin/sh
# Runs Django's tests with the newest Django that this machine's newest Python can
# have, in a venv of its own: Django 6 wants Python 3.12, and the suite's may be older.
# The suite itself runs them with django-tasks, which has the same names.
set -eu

cd "$(dirname "$0")/.."
. tools/pythons.sh

for version in ${PYTHONS:-3.14 3.13 3.12}; do
    python=$(find_python "$version")
    [ -z "$python" ] || break
done
if [ -z "$python" ]; then
    echo "django: no Python 3.12 or newer on this machine, so Django 6 is not tried; django-tasks is"
    exit 0
fi

venv=.venv-django
wanted="django>=6.0 pytest pytest-asyncio pytest-timeout hypothesis"
if ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(cat "$venv/.wanted" 2>/dev/null)" != "$python $wanted" ]; then
    echo "django: making $venv with $("$python" -V)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # shellcheck disable=SC2086 # a list of words
    "$venv/bin/python" -m pip install -q --disable-pip-version-check $wanted
    echo "$python $wanted" >"$venv/.wanted"
fi
echo "── Django $("$venv/bin/python" -m django --version) on $("$venv/bin/python" -V)"
PYTHONPATH=src exec "$venv/bin/python" -m pytest -q \
    tests/test_django.py tests/test_examples.py tests/docs_library -k django
