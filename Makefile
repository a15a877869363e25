VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
# each worker imports torch (600 MB); whoever is done takes over half of what another has left
PARALLEL = --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help quickstart quickstart-text test test-slow faults check format coverage clean

help: ## this list
	@awk -F ':.* ## ' '/^[a-z-]+:.* ## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed ## set up, train a VAE and a SKIP-VAE on real digits, compare them
	$(BIN)/skipvae study run configs/quickstart/images.yaml

quickstart-text: $(VENV)/.installed ## the same for text: a language model, a VAE and a SKIP-VAE
	$(BIN)/skipvae study run configs/quickstart/text.yaml --jobs 2

test: $(VENV)/.installed ## set up, run the test suite on all cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow and not faults"

test-slow: $(VENV)/.installed ## the tests marked slow: whole commands, kills, several processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "slow and not faults"

faults: $(VENV)/.installed ## tests of kills, full disks, hostile files, several processes: 13 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -m "faults or not faults"

check: $(VENV)/.installed ## linter, formatter check, type checker, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed ## format the code, fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.installed ## run the test suite, list the lines that no test runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skipvae needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

clean: ## remove the virtual environment
	rm -rf $(VENV)
