.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
UV := $(BIN)/uv
PACKAGES := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
TOGETHER := $(MAKE) --no-print-directory --jobs=2 --output-sync
WAITING := tests/contract $(addprefix tests/integration/,ingest activation devstack)
FAULTS := tests/faults
WHOLE := tests/e2e tests/security
EDITABLE := $(foreach p,$(PACKAGES),-e $(dir $(p)))
# The distribution's Python where it will do: its build is optimised by profiles, which version managers mostly leave
# out, and everything takes noticeably longer then. PYTHON=... says another.
PYTHON ?= $(or $(shell /usr/bin/python3 -c 'import ensurepip, sys; print(sys.executable) if sys.version_info >= (3, 11) else 0' 2>/dev/null),python3)

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 12

# All is compiled here: where Python may keep no bytecode (PYTHONDONTWRITEBYTECODE) every process compiled a thousand modules
# when it started, which took it as long as all else.
setup: .venv/.ready ## create .venv with every pinned dependency

.venv/.ready: requirements.lock pyproject.toml $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit("Millrace needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(UV) || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.8; }
	@$(UV) pip install -q --compile-bytecode -r requirements.lock && $(UV) pip install -q --no-deps $(EDITABLE)
	@$(BIN)/python -m compileall -q libs services
	@touch $@

run: setup ## start everything, stream the demo shop, print the first result, stay up until Ctrl-C
	@$(BIN)/cdp up --demo

check: setup ## lint, types, import contracts, architecture tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(TOGETHER) types architecture

types architecture: setup
types:
	@$(BIN)/mypy
architecture:
	@$(BIN)/pytest -q tests/architecture

test: check ## everything: checks, unit, contract, integration, end to end, faults in short form
	@$(TOGETHER) test-working test-faults test-waiting test-whole

# two cores, two sessions at a time: one computes, the other mostly waits for processes that start and end
test-working:
	@$(BIN)/pytest -q tests $(addprefix --ignore=,tests/architecture $(WAITING) $(FAULTS) $(WHOLE))
test-faults:
	@$(BIN)/pytest -q $(FAULTS)
test-waiting:
	@$(BIN)/pytest -q $(WAITING)
test-whole:
	@$(BIN)/pytest -q $(WHOLE)

bench: setup ## measure the speeds beside their bare baselines
	@$(BIN)/python -m bench

faults: setup ## break a whole stack on purpose, compare it with what its clients know, keep the ledger (15 min)
	@$(BIN)/python -m faults

audit: setup ## known vulnerabilities of the pinned dependencies; skipped where nobody knows
	@$(BIN)/python .ci/audit

lock: ## resolve and pin the dependencies anew
	@$(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --generate-hashes --group dev \
		$(foreach p,$(PACKAGES),--no-emit-package cdp-$(notdir $(patsubst %/,%,$(dir $(p))))) pyproject.toml -o requirements.lock

.PHONY: help setup run check types architecture test test-working test-faults test-waiting test-whole bench faults audit lock
