# Works with nothing but make and Python 3.10 or later: each target creates the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
SCRIPTS_VENV ?= .venv-datasets3
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
SCRIPTS_STAMP = $(SCRIPTS_VENV)/.installed
# One torch thread a worker: two workers on two cores, without the threads of one slowing the other.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2
export TOKENIZERS_PARALLELISM = false

.PHONY: help quickstart test test-slow test-scripts lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make quickstart    set everything up, train a small classifier and look at what it learnt (about 3 minutes)"
	@echo "make test          set up and run the tests (offline, under 10 minutes)"
	@echo "make test-slow     the tests that take longer: killed and resumed runs, two processes, the wheel"
	@echo "make test-scripts  the loading scripts under datasets 3, in an environment of its own"
	@echo "make lint          ruff's linter and formatter, checking only"

define make_environment
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "nvv needs Python 3.10 or later; this is " + sys.version.split()[0] + ". Name another with make PYTHON=...")'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade pip
	$(1)/bin/python -m pip install --quiet --editable '.[dev]' $(2)
	@touch $(1)/.installed
endef

$(STAMP): pyproject.toml setup.cfg
	$(call make_environment,$(VENV),)

$(SCRIPTS_STAMP): pyproject.toml setup.cfg
	$(call make_environment,$(SCRIPTS_VENV),'datasets==3.6.*')

quickstart: $(STAMP)
	$(BIN)/python recipes/quickstart.py

test: $(STAMP)
	$(PYTEST) -m 'not slow and not gpu'

test-slow: $(STAMP)
	$(PYTEST) -m 'slow and not gpu'

test-scripts: $(SCRIPTS_STAMP)
	OMP_NUM_THREADS=1 $(SCRIPTS_VENV)/bin/python -m pytest -q -n 2 tests/data tests/dataset_scripts tests/tagging tests/test_cli.py \
		tests/cli/test_audit.py tests/cli/test_prepare.py tests/cli/test_push_dataset.py \
		tests/hub/test_localhost_hub_clients.py::test_dataset_is_pushed_loaded_streamed_in_parts_and_cached \
		$(wildcard tests/hub/test_dataset_*.py tests/hub/test_shard*.py tests/hub/test_resumable.py tests/hub/test_push_dataset.py)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(SCRIPTS_VENV) build dist .pytest_cache .ruff_cache
