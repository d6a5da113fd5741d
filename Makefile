# Works with nothing but make and Python 3.10 or later: each target creates the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
export TOKENIZERS_PARALLELISM = false

.PHONY: quickstart test test-all lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make quickstart   set everything up, train a small classifier and look at what it learnt (about 5 minutes)"
	@echo "make test         set up and run the tests (offline, under 10 minutes)"
	@echo "make test-all     the same with the slow tests"
	@echo "make lint         ruff's linter and formatter, checking only"

$(STAMP): pyproject.toml setup.cfg
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "nvv needs Python 3.10 or later; this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

quickstart: $(STAMP)
	$(BIN)/python recipes/quickstart.py

# One torch thread a worker: two workers on two cores, without the threads of one slowing the other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not slow and not gpu'

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not gpu'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
