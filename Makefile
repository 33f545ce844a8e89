# make demo    the demo clip, from the installation to the report
# make install .venv with everything
# make test    all tests
# make test-cluster   the workflow on a SLURM cluster of one node, installed and started by the test (root, Debian)
# make check   all linters and the type checker
# make docs    the references that are made from code: artifacts, configuration, metrics
# All of them first make .venv, from Python 3.11 or newer, with the versions of constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo install test test-cluster check docs

demo: $(STAMP)
	$(BIN)/snakemake --cores all
	@echo "The report: $(CURDIR)/results/report/index.html"

install: $(STAMP)

# One thread per worker: torch would otherwise start one per core in each of them.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 15

test-cluster: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster --override-ini addopts='-ra --strict-markers' --durations 15

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: $(STAMP)
	$(BIN)/python -m artifacts.document
	$(BIN)/python docs/make_config_page.py
	$(BIN)/python docs/make_metrics_page.py

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)
