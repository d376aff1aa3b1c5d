# Everything Charlie needs on a machine with Python 3.11-3.14, make and a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test check fmt lock screenshot bench clean

run: $(VENV)/.run
	@$(BIN)/charlie

test: $(VENV)/.dev
	@$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
		|| { echo "Charlie needs Python 3.11 to 3.14; $(PYTHON) is another. Try: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Charlie: installing into $(VENV). The first time, llama.cpp is compiled for this machine's"
	@echo "processor, which takes a few minutes; the compiler's progress follows. pip keeps the result."
	@$(PIP) install --require-hashes -v -r requirements.lock 2>&1 | $(BIN)/python .ci/progress.py
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Charlie: installing the tools for development"
	@$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
