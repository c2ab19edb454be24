# One word for each thing one does here. `make` alone lists them.

VENV ?= .venv
PY := $(VENV)/bin/python
# Seconds that each open-ended test (soak, chaos, fuzz) may take.
SHORT ?= 10
LONG ?= 600
# Where chance begins in the short forms: the same noise at every run, so that a
# find there is something that a change brought. The long ones begin anywhere.
SEED ?= 1
# How often the long form kills the server (50 times in the short one).
KILLS ?= 1000
# Processes that share a suite, file by file. Much of a test is waiting, so more than cores.
JOBS ?= 5
PYTEST := $(PY) -m pytest
SHARED := PY=$(PY) JOBS=$(JOBS) tools/suite.sh
PYTHONS ?= 3.11 3.12 3.13
OTHER_PYTHONS ?= 3.12 3.13

# pytest ends with 5 when there was nothing to run: no fault for a suite that
# is still to be written.
MAYBE_NONE = || [ $$? -eq 5 ]

# In CI a build without a compiler is an accident, not a choice.
ifeq ($(CI),true)
export GEARTRAIN_COMPILE ?= require
endif

# Tests start hundreds of programs; without this some machines have each of them
# translate all its modules again, which is half of the time it lives.
export PYTHONDONTWRITEBYTECODE :=

# One thing after another, also with -j: the words build on each other.
.NOTPARALLEL:

.PHONY: help
help: ## list these words
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# ── making ───────────────────────────────────────────────────────────────────

.PHONY: setup
setup: ## .venv with everything locked, and geartrain installed compiled
	@tools/setup.sh $(VENV)

# The tools alone: what reads src/ as it is should not wait for a build.
.PHONY: tools
tools:
	@tools/setup.sh --tools $(VENV)

.PHONY: wheel
wheel: setup ## wheel and sdist in dist/ (GEARTRAIN_PURE=1 for the pure wheel)
	$(PY) -m build --no-isolation --outdir dist

.PHONY: lock
lock: setup ## requirements-dev.lock anew, with today's versions
	$(PY) tools/lock.py

.PHONY: clean
clean: ## remove all that was made
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── checking ─────────────────────────────────────────────────────────────────

.PHONY: check
check: tools checks ## style, types, import contracts

.PHONY: checks
checks:
	@status=0; \
	for one in \
	    "$(VENV)/bin/ruff check ." \
	    "$(VENV)/bin/ruff format --check ." \
	    "$(VENV)/bin/mypy src tests tools" \
	    "env PYTHONPATH=src $(VENV)/bin/lint-imports --no-logo"; \
	do echo "── $$one"; $$one || status=1; done; exit $$status

.PHONY: fix
fix: tools ## let ruff mend and format what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# ── testing ──────────────────────────────────────────────────────────────────

# What exercises the hot path, and so is run once more against the plain files.
HOT_TESTS := $(wildcard tests/protocol tests/broker tests/frontends tests/server tests/conformance)
# What differs most between versions of Python: the plain files, on their own and on sockets.
OTHER_TESTS := $(wildcard tests/protocol tests/frontends tests/client tests/worker tests/typed tests/test_*.py)
# Those of the hot path that need neither sockets nor long stories.
PURE_TESTS := $(wildcard tests/protocol tests/frontends)
# What the newest of them runs as well: then the hot path's tests are complete.
NEWEST_TESTS := $(filter-out $(OTHER_TESTS),$(HOT_TESTS)) $(wildcard tests/stores tests/ground)

# A compiler has one thread, and tests of the plain files need none: side by side, from
# the first package that is installed. What is beside is told when both are done.
.PHONY: test
test: ci-deps ## all of it, in short form where it is long
	@mkdir -p build; \
	$(MAKE) -k --no-print-directory beside JOBS=$(BESIDE) >build/beside.log 2>&1 & beside=$$!; \
	trap 'kill $$beside 2>/dev/null; exit 130' INT TERM; \
	$(MAKE) --no-print-directory test-installed; installed=$$?; \
	echo "── meanwhile: style, types, and the plain files"; \
	wait $$beside; plain=$$?; trap - INT TERM; cat build/beside.log; \
	[ $$installed = 0 ] && [ $$plain = 0 ]

# How many processes share the suite that runs beside the other.
BESIDE ?= 3

# Those first that do not wait for .venv, which is being made.
.PHONY: beside
beside: test-plain test-django check

# Under this Python those without sockets, if there are others for the rest.
.PHONY: test-plain
test-plain:
	@if tools/versions.sh --any $(OTHER_PYTHONS); then \
	    $(MAKE) --no-print-directory test-others; others=$$?; \
	    $(MAKE) --no-print-directory tools && PYTHONPATH=src HYPOTHESIS_PROFILE=again \
	        $(SHARED) -q $(PURE_TESTS) && [ $$others = 0 ]; \
	else \
	    $(MAKE) --no-print-directory test-pure; \
	fi

.PHONY: test-installed
test-installed: setup ## the suite against the compiled install, with soak, chaos and fuzz for some seconds
	GEARTRAIN_SEED=$(SEED) GEARTRAIN_SECONDS=$(SHORT) $(SHARED) -m "not bench"

.PHONY: test-compiled
test-compiled: setup ## the suite against the compiled install
	GEARTRAIN_SECONDS=$(SHORT) $(SHARED) -m "not soak and not chaos and not fuzz and not bench"

.PHONY: test-pure
test-pure: tools ## the hot path's tests against the plain files in src/
	PYTHONPATH=src GEARTRAIN_SECONDS=$(SHORT) $(SHARED) $(HOT_TESTS) tests/ground $(MAYBE_NONE)

.PHONY: test-django
test-django: tools ## Django's tests with Django 6, where there is a Python for it
	@tools/django.sh

.PHONY: test-short
test-short: setup ## soak, chaos and fuzz, a few seconds each
	GEARTRAIN_SEED=$(SEED) GEARTRAIN_SECONDS=$(SHORT) $(SHARED) -m "soak or chaos or fuzz" $(MAYBE_NONE)

.PHONY: coverage
coverage: tools ## which lines the suite runs (plain files), in htmlcov/
	PYTHONPATH=src $(PY) -m coverage run -m pytest
	$(PY) -m coverage combine -q
	$(PY) -m coverage html -q
	$(PY) -m coverage report --skip-covered --sort=cover

.PHONY: test-versions
test-versions: ## the suite under each of PYTHONS that is on this machine, compiled for it
	@PYTHONS="$(PYTHONS)" JOBS=$(JOBS) tools/versions.sh

.PHONY: test-others
test-others: ## the plain files under those of OTHER_PYTHONS that are on this machine
	@PYTHONS="$(OTHER_PYTHONS)" JOBS=$(JOBS) tools/versions.sh --plain $(OTHER_TESTS) --newest $(NEWEST_TESTS)

.PHONY: interop
interop: ci-deps setup ## against other people's servers, clients and workers
	$(PYTEST) -m "interop" tests/interop

.PHONY: soak
soak: setup ## the long runs (LONG=600 seconds each)
	GEARTRAIN_SECONDS=$(LONG) $(PYTEST) -m soak $(MAYBE_NONE)

.PHONY: chaos
chaos: setup ## break things on purpose (LONG=600 seconds each)
	GEARTRAIN_SECONDS=$(LONG) GEARTRAIN_KILLS=$(KILLS) $(PYTEST) -m chaos $(MAYBE_NONE)

.PHONY: kills
kills: setup ## kill -9 a durable server KILLS=1000 times, and tell what became of its jobs
	GEARTRAIN_KILLS=$(KILLS) $(PYTEST) -s -m chaos tests/server/test_kills.py

.PHONY: fuzz
fuzz: setup ## noise into every reader (LONG=600 seconds)
	$(PY) -m fuzz --seconds $(LONG)

.PHONY: ci-deps
ci-deps:
	@if [ "$$CI" = true ]; then tools/ci-deps.sh; fi

# ── showing ──────────────────────────────────────────────────────────────────

.PHONY: bench
bench: setup ## the benchmarks
	$(PY) -m benchmarks

.PHONY: demo
demo: setup ## see it work
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) examples/demo.py

.PHONY: apidocs
apidocs: tools ## docs/reference/api anew, from the docstrings
	$(PY) tools/apidocs.py

.PHONY: docs
docs: tools ## are all links in the documents alive?
	$(PY) tools/links.py
