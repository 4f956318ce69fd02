# From a clean clone, with make and Python 3.11 or newer: `make demo`. Everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench docs clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(STAMP) ## a governed run, from a call to the evidence
	$(BIN)/remit demo

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

check: $(STAMP) ## style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## lays the code out as `check` wants it
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(STAMP) ## the measurements, into bench/RESULTS.md
	$(BIN)/python bench/run.py

docs: $(STAMP) ## the generated parts of the documentation
	@for kind in policy queues reviewers cases tools purposes calendars counters folders; do \
	    $(BIN)/remit policy schema $$kind > docs/reference/$$kind.schema.json; \
	done
	$(BIN)/python docs/generate.py

clean: ## what was made, .venv included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "there is no \`$(PYTHON)\`: install Python 3.11 or newer, or say which: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Remit needs Python 3.11 or newer, and \`$(PYTHON)\` is $$("$(PYTHON)" --version 2>&1):" \
	         "say which to use: make PYTHON=python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
