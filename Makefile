# `make run`: see it work. `make test`: everything that CI checks.

PYTHON ?= python3
UV     ?= uv
BIN    := .venv/bin
JS     := tests/acceptance/js
JOBS   ?= $(shell nproc 2> /dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help setup run test check fix docs pages compatibility providers bench torture fuzz lock clean

help:   ## Say what there is.
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' $(MAKEFILE_LIST)

setup: .venv/.installed   ## Make .venv with the locked packages and the command telecine in it.

run: .venv/.installed   ## Answer a real clip, then serve, with a key and two calls to paste.
	@sh examples/first-run.sh

test: check $(JS)/node_modules/.installed web/node_modules/.installed browser   ## Check the code and run all tests; this is what CI runs.
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile

# One that is installed, else Debian's where that may be installed, else Playwright's; with none of them
# the tests in a browser are skipped, and say so.
.PHONY: browser
browser: .venv/.installed
	@command -v chromium chromium-browser google-chrome > /dev/null || \
	    { test "$$(id -u)" = 0 && apt-get install -y -qq chromium > /dev/null 2>&1; } || \
	    $(BIN)/playwright install chromium > /dev/null 2>&1 || \
	    echo 'There is no Chromium, and none can be installed: tests in a browser are skipped'

check: .venv/.installed   ## Lint, format, types and import directions, without running anything.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: .venv/.installed   ## Format the code, and mend what ruff can mend.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: .venv/.installed   ## Write the pages of docs/reference that come from the code.
	@$(BIN)/python docs/generate.py

pages: web/node_modules/.installed   ## Build web/ into the package; the result is committed.
	@cd web && npm run --silent check && npm run --silent build

compatibility: .venv/.installed $(JS)/node_modules/.installed   ## Run fal's clients against the server and write docs/compatibility.md.
	@$(BIN)/python -m pytest -q -p tests.acceptance.report tests/acceptance

providers: .venv/.installed   ## Show every wish on every route, and write docs/providers.md.
	@$(BIN)/python -m pytest -q -p tests.contract.report tests/contract/test_routes.py \
	    tests/integration/test_complaints.py tests/integration/test_complaints_gemini.py tests/integration/test_llamacpp.py

bench: .venv/.installed   ## Measure start, memory, CPU per request and submits; a few minutes.
	@$(BIN)/python bench/run.py

torture: .venv/.installed   ## Kill servers at more than 1,000 moments on each database, cut the power after every write; about an hour.
	@$(BIN)/python -m tests.torture.long
	@$(BIN)/python -m tests.torture.long --postgres --cuts 0 --no-bombs

fuzz: .venv/.installed   ## Make 20,000 odd calls from the OpenAPI documents, none of which may get a 5xx; five minutes.
	@$(BIN)/python -m tests.fuzz

lock:   ## Renew requirements.lock after a change in pyproject.toml (for maintainers; needs uv).
	@$(UV) pip compile pyproject.toml --extra local --extra postgres --extra s3 --extra youtube --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	    --custom-compile-command "make lock" --quiet --output-file requirements.lock
	@cd $(JS) && npm install --package-lock-only --ignore-scripts --no-progress
	@cd web && npm install --package-lock-only --ignore-scripts --no-progress

clean:   ## Take away what was made: .venv, caches, packages of the tests. Data in .telecine stays.
	@rm -rf .venv dist build $(JS)/node_modules web/node_modules .pytest_cache .mypy_cache .ruff_cache \
	    .hypothesis .import_linter_cache

# The stamps are as new as what was installed from.

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3 $(MAKECMDGOALS)'; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
	    { echo 'This Python makes no virtual environments; on Debian: apt install python3-venv'; exit 1; }
	@echo 'Installing the locked packages into .venv: about a minute'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json
	@command -v npm > /dev/null || \
	    { echo "The pages are built with Node: install Node 20 with npm"; exit 1; }
	@cd web && npm ci --ignore-scripts --no-progress --silent
	@touch $@

$(JS)/node_modules/.installed: $(JS)/package.json $(JS)/package-lock.json
	@command -v npm > /dev/null || \
	    { echo "The tests drive fal's JavaScript client too: install Node 20 with npm"; exit 1; }
	@cd $(JS) && npm ci --ignore-scripts --no-progress --silent
	@touch $@
