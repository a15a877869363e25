# make quickstart   set up, train a VAE and a SKIP-VAE on real digits, compare them
# make quickstart-text   the same for text: a language model, a VAE and a SKIP-VAE
# make test         set up, run the whole test suite
# make faults       kills, full disks, hostile files, several processes: what docs/promises.md promises, 13 minutes
# make check        linter, formatter and type checker

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin

.PHONY: quickstart quickstart-text test faults check clean

quickstart: $(VENV)/.installed
	$(BIN)/skipvae study run configs/quickstart/images.yaml

quickstart-text: $(VENV)/.installed
	$(BIN)/skipvae study run configs/quickstart/text.yaml --jobs 2

test: $(VENV)/.installed
	$(BIN)/python -m pytest

faults: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -m "faults or not faults"

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skipvae needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
