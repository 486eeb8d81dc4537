# The tasks of this project; CI runs the same ones. `make` alone lists them.
UV ?= python3 -m uv
# One sync per call of make; the tools then start at once.
RUN := $(UV) run --no-sync
PACKAGES := ctr_pipeline tracking
# Four workers at most: each one imports mlflow and xgboost. A file stays on one worker, so its fixtures are made once.
TEST_OPTIONS := -n auto --maxprocesses=4 --dist=loadfile --cov --cov-report=term --cov-report=json

.DEFAULT_GOAL := help
.PHONY: help sync check format formatted lint types layers docs-check test test-options coverage-check e2e bench docs clean

help:  ## list the tasks
	@grep -E '^[a-z0-9-]+:.*  ## ' $(MAKEFILE_LIST) | awk -F ':.*  ## ' '{printf "%-16s %s\n", $$1, $$2}'

sync:
	@$(UV) sync --locked --inexact --quiet

check: formatted lint types layers docs-check  ## everything that is judged without running: format, lint, types, layers, docs

format: sync  ## format the code and mend what ruff can mend
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

formatted: sync
	$(RUN) ruff format --check --quiet .

lint: sync
	$(RUN) ruff check .

types: sync
	$(RUN) mypy

layers: sync
	$(RUN) lint-imports

docs-check: sync
	$(RUN) python scripts/document_settings.py --check

test:  ## all tests, in parallel, with coverage of lines and branches
	PYTEST_ADDOPTS="$(TEST_OPTIONS)" $(UV) run pytest
	@$(MAKE) --no-print-directory coverage-check

test-options:
	@echo "$(TEST_OPTIONS)"

coverage-check:
	@$(RUN) python scripts/check_branch_coverage.py .ci/out/coverage.json

e2e: sync  ## only the tests with a browser or a real server
	$(RUN) pytest -m "browser or server"

bench: sync  ## every benchmark; run it on an otherwise idle machine
	@for file in $(sort $(wildcard benchmarks/bench_*.py) benchmarks/reproduce.py); do echo "$$file"; $(RUN) python "$$file" || exit 1; done

docs: sync  ## write the pages that are made from the code
	$(RUN) python scripts/document_settings.py

clean:  ## remove what tools left behind; runs in .ctr/ and the environment stay
	rm -rf .ci/out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find $(PACKAGES) tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
