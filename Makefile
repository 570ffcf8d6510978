# hooklake. `make` alone says what can be done; every target but help and clean sets up first.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/hooklake-installed
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
            "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            && { command -v "$$name"; exit; }; done; echo no-python)
CHECKED_PYTHON := ingest warehouse dashboards tests .ci
export QUERY
UV_COMPILE := pip compile --quiet --universal --python-version 3.11 --group dev \
              --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

# A moved checkout, or a .venv whose Python is gone, is set up anew.
ifneq ($(shell head -n 1 $(STAMP) 2>/dev/null)$(wildcard $(BIN)/python),$(CURDIR)$(BIN)/python)
  STALE := stale
endif

.PHONY: help
help: ## what can be done (this list)
	@echo 'hooklake: webhooks in, a warehouse out.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'First time? `make demo` shows it filled; `make run` starts it for real.'

.PHONY: setup
setup: $(STAMP) ## virtual environment with the locked packages (needs Python 3.11+)
	@:

.PHONY: stale
stale:

$(STAMP): requirements.lock pyproject.toml $(STALE)
	@if [ "$(PYTHON)" = no-python ]; then \
	  echo 'error: no Python 3.11 or newer found. Install one (Debian 12, Ubuntu 24.04: apt-get' \
	       'install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3.11' >&2; \
	  exit 1; \
	fi
	@"$(PYTHON)" .ci/environment.py setup

.PHONY: run
run: $(STAMP) ## receiver, refresher and dashboard together; Ctrl-C ends all
	@$(BIN)/hooklake run

.PHONY: demo
demo: $(STAMP) ## the same, filled with a simulated year of accounts (in data-demo/)
	@$(BIN)/hooklake run --demo --data-dir data-demo

.PHONY: test
test: $(STAMP) ## every test (ARGS=tests/sql: some); installs Chromium where it can
	@chromium=$$($(BIN)/python .ci/environment.py browser) || [ "$$CI" != true ] || exit 1; \
	export CHROMIUM="$$chromium"; set -- $(ARGS); \
	if [ $$# -gt 0 ]; then exec $(BIN)/python -m pytest "$$@"; fi; \
	failed=0; trap 'exit 130' INT; \
	$(BIN)/python -m pytest -m 'not (alone or browser)' --numprocesses 2 --dist loadfile \
	  --no-loadscope-reorder || failed=1; \
	$(BIN)/python -m pytest -m 'alone or browser' || failed=1; \
	exit $$failed

.PHONY: test-fast
test-fast: $(STAMP) ## the tests that take seconds: no browser, no fault injection
	@$(BIN)/python -m pytest -m 'not slow and not browser and not faults' $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff, mypy --strict and sqlfluff
	$(BIN)/python -m ruff check $(CHECKED_PYTHON)
	$(BIN)/python -m ruff format --check $(CHECKED_PYTHON)
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy --strict .ci/environment.py
	$(BIN)/python -m sqlfluff lint --disable-progress-bar sql

.PHONY: format
format: $(STAMP) ## rewrite Python and SQL in the project's style
	$(BIN)/python -m ruff check --fix $(CHECKED_PYTHON)
	$(BIN)/python -m ruff format $(CHECKED_PYTHON)
	$(BIN)/python -m sqlfluff fix --disable-progress-bar sql

.PHONY: backfill
backfill: $(STAMP) ## load exported events: make backfill FROM=export.ndjson
	@if [ -z "$(FROM)" ]; then \
	  echo 'error: say what to load: make backfill FROM=export.ndjson (or several, quoted)' >&2; exit 2; \
	fi
	@$(BIN)/hooklake backfill $(FROM) $(ARGS)

.PHONY: sql
sql: $(STAMP) ## ask the warehouse: make sql QUERY='select * from mart_funnel_daily'
	@$(BIN)/hooklake sql $${QUERY:+"$$QUERY"}

.PHONY: postman
postman: $(STAMP) ## every event as a Postman collection that signs: build/hooklake.postman_…json
	@mkdir -p build
	@umask 077; $(BIN)/hooklake trigger --as postman >build/postman.tmp && \
	  mv build/postman.tmp build/hooklake.postman_collection.json
	@echo build/hooklake.postman_collection.json

.PHONY: faults
faults: $(STAMP) ## every fault at full size, a line each (ONLY=kill,power SIZE=ci CYCLES=20)
	@$(BIN)/python -m tests.faults $(if $(ONLY),--only "$(ONLY)") $(if $(SIZE),--size $(SIZE)) \
	  $(if $(CYCLES),--cycles $(CYCLES))

.PHONY: bench
bench: $(STAMP) ## speed, as ratios measured in one run (ARGS='--events 1000000')
	@$(BIN)/python tests/bench/acknowledge.py
	@$(BIN)/python tests/bench/refresh.py $(ARGS)
	@$(BIN)/python tests/bench/rebuild.py $(ARGS)
	@$(BIN)/python tests/bench/compact.py $(ARGS)
	@$(BIN)/python tests/bench/backfill.py
	@$(BIN)/python tests/bench/dashboard.py $(ARGS)
	@$(BIN)/python -m tests.bench.freshness $(ARGS)

.PHONY: docs
docs: $(STAMP) ## every table, column, test and its lineage as one page: build/docs/index.html
	@mkdir -p build/docs
	@DO_NOT_TRACK=1 $(BIN)/dbt --quiet docs generate --static --empty-catalog --project-dir sql \
	  --profiles-dir sql --target-path "$(CURDIR)/build/dbt" --log-path "$(CURDIR)/build/dbt/logs"
	@cp build/dbt/static_index.html build/docs/index.html
	@echo build/docs/index.html

.PHONY: screenshots
screenshots: $(STAMP) ## the pictures of the README, taken of a demo of its own
	@chromium=$$($(BIN)/python .ci/environment.py browser) || exit 1; \
	CHROMIUM="$$chromium" $(BIN)/python tests/e2e/screenshots.py

.PHONY: lock
lock: $(STAMP) ## requirements.lock anew from pyproject.toml
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv $(UV_COMPILE) --output-file requirements.lock pyproject.toml

.PHONY: clean
clean: ## remove the virtual environment and caches; data stays
	rm -rf $(VENV) build dist sql/target sql/logs .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CHECKED_PYTHON) -name __pycache__ -type d -prune -exec rm -rf {} +
