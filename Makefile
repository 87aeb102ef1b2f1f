# make train: train on the built-in digits.   make test: every test.   make check: style and types.
# make test-wheel: build the wheel, install it outside the tree and run the tests against it
# (TESTS=tests/cli: only those).
# make docs: the site, in build/site, from docs/ and the docstrings; a warning is an error.
# make dist: wheel and sdist, in dist, each installed and tried in new environments of every Python found.
# make types: how complete the types are, by pyright (with node, from PyPI).
# make coverage: the lines that the tests run.   make mutants: faults that they notice (an hour).
# make test-bounds: tests of the kernels with every index into an array checked, then without Numba.
# make bench: time the kernels beside their peers, which it installs (PyTorch and JAX: over 1 GB).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests of MNIST need its files: give their folder as SOFTSTEP_DATA, or keep one beside the checkout.
ifneq ($(wildcard ../shared/data/mnist),)
export SOFTSTEP_DATA ?= $(abspath ../shared/data)
endif

.PHONY: train test test-wheel coverage test-bounds mutants check links types docs dist bench clean

train: $(VENV)/installed
	$(BIN)/softstep train digits

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile tests bench --benchmark-disable

test-wheel: $(BIN)/python
	set -e; outside=$$(mktemp -d); trap 'rm -rf "$$outside"' EXIT; \
	$(BIN)/python -m venv "$$outside/venv"; python="$$outside/venv/bin/python"; \
	"$$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$$outside" .; \
	"$$python" -m pip install --quiet --disable-pip-version-check "$$(echo "$$outside"/*.whl)[test]"; \
	env -u PYTHONPATH "$$python" -m pytest -n auto --dist loadfile $(TESTS)

coverage: $(VENV)/installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist loadfile tests
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --fail-under=95

# Each index into an array is checked, in kernels that are compiled anew for it; then there is no
# compiler, and NumPy computes.
test-bounds: $(VENV)/installed-dev
	set -e; cache=$$(mktemp -d); trap 'rm -rf "$$cache"' EXIT; \
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$$cache" \
	$(BIN)/python -m pytest -n auto --dist loadfile -k "not cupy" \
	tests/kernels/numba/test_kernel_edges.py tests/kernels/numba/test_row_ops.py \
	tests/kernels/test_train_semantics.py tests/kernels/test_random_differential.py
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n auto --dist loadfile -k "not cupy and not numba and not structured_rows" \
	tests/kernels/test_train_semantics.py tests/kernels/test_numerics_contract.py \
	tests/model/test_regression.py tests/model/sweep/test_sweep.py

mutants: $(VENV)/installed-dev
	$(BIN)/python -m softstep.bench.studies.mutants

check: links $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

links:
	@test -d src/softstep/kernels || { echo "mypy needs the symbolic links in src/softstep:" \
	"git config core.symlinks true, then git checkout -- src" >&2; exit 1; }

dist: $(VENV)/installed-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/python .ci/try_dist.py dist

types: links $(VENV)/installed-types
	$(BIN)/python .ci/types_complete.py

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/installed-bench
	$(BIN)/softstep bench

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("softstep needs Python 3.11 or newer: make PYTHON=python3.x") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@ $(VENV)/installed

$(VENV)/installed-types: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[types]'
	touch $@ $(VENV)/installed

$(VENV)/installed-bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) dist
