# Thin on purpose: each target is one line a person could type. `make` alone lists them.
SHELL := /bin/bash
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check format behaviours bench-media bench-recovery bench-sip bench-idle bench-api bench-quality clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 18

$(BIN)/activate: pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "phoned needs Python >= 3.11: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PY) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --group dev --editable '.[audio]'
	@touch $@

demo: $(BIN)/activate ## register, call, hear an echo and survive a dropped socket, on the embedded PBX
	@$(BIN)/phoned demo $(ARGS)

test: $(BIN)/activate ## every test that is not long
	@$(BIN)/python -m tests.support.run $(ARGS)

test-long: $(BIN)/activate ## counted loops, soaks and fuzz runs
	@$(BIN)/python -m pytest -m long $(ARGS)

check: $(BIN)/activate ## format, lint, types, import rules, file sizes
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/python -m pytest -q tests/architecture

format: $(BIN)/activate ## let ruff write the format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

behaviours: $(BIN)/activate ## the recovery promises, each with its tests and their result
	@$(BIN)/python -m tests.support.behaviours $(ARGS)

bench-media bench-recovery bench-sip bench-idle bench-api: $(BIN)/activate ## print the bench's table, write build/bench/<name>.json
	@$(BIN)/python -m tests.bench.$(subst -,_,$@) $(ARGS)

bench-quality: $(BIN)/activate ## what a call sounds like on a bad path, as the other benches; needs root and, for PESQ, a C compiler
	@$(BIN)/python -c 'import pesq' 2>/dev/null || $(BIN)/python -m pip install --quiet --group bench || echo "going on without PESQ" >&2
	@$(BIN)/python -m tests.bench.bench_quality $(ARGS)

clean: ## remove what the targets made
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache
