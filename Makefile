# `make train` and `make test` do all the set-up on a fresh machine; a second call starts at once.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: train test lint

train: .venv/ready
	$(BIN)/mnist-train $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
