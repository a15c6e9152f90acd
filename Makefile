# make demo    a corpus, curated, a model trained on it and asked: all on this machine, offline once installed
# make test    the whole test suite
# make check   what a change must pass: format, lint, types, import direction, tests
# make bench-NAME [SIZE=small|full] [DATA=folder]   a benchmark against its peers (docs/benchmarks.md)
#
# Each makes the virtual environment it needs: VENV=folder puts it elsewhere, PYTHON=path makes it with that Python.

VENV ?= .venv
PYTHON ?=
SIZE ?= small
PYTEST_FLAGS ?= -n auto --maxprocesses=4

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SLUICE := $(BIN)/sluice
PACKAGES := schemas transforms pipeline jobs model

.DELETE_ON_ERROR:
.PHONY: help venv demo test check lint lint-format lint-rules lint-types lint-imports prism clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

venv: $(STAMP)

$(STAMP): setup.py constraints.txt scripts/venv.sh
	@sh scripts/venv.sh "$(VENV)" $(PYTHON)
	@touch $@

demo: demo/truth.jsonl
	$(SLUICE) curate recipes/demo.yaml
	$(SLUICE) train recipes/train_nano.yaml --data demo/out --out demo/model --captions demo/heldout
	@tar -xf demo/heldout/scenes-000000.tar -C demo/heldout unseen-00000.webp
	$(SLUICE) generate demo/model --image demo/heldout/unseen-00000.webp
	@echo "the report is demo/out/report.html"

demo/truth.jsonl: | $(STAMP)
	$(SLUICE) sample demo

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# each on its own line of work, so that `make -k lint` shows what all of them say
lint: lint-format lint-rules lint-types lint-imports

lint-format: $(STAMP)
	$(BIN)/ruff format --check .

lint-rules: $(STAMP)
	$(BIN)/ruff check .

lint-types: $(STAMP)
	$(BIN)/mypy $(PACKAGES)

lint-imports: $(STAMP)
	$(BIN)/lint-imports

check: lint test

prism: $(STAMP)
	$(BIN)/python scripts/fetch_prism.py

bench-%: $(STAMP)
	SIZE=$(SIZE) $(BIN)/python -m benchmarks.$*

clean:
	rm -rf build dist out demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
