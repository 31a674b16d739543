VENV := .venv
PYTHON := $(VENV)/bin/python
SNAKEMAKE := $(VENV)/bin/snakemake
CORES ?= all

.PHONY: demo worlds test test-readme test-browser test-slurm lint format env lock schema docs bench clean help

help:
	@echo "make demo    run the default study: a simulated brain, from images to claims and figures"
	@echo "make worlds  run three simulated brains through a trained and three untrained networks"
	@echo "make test    run the tests"
	@echo "make test-readme  type the commands of README and tutorial in a clean clone, environment and demo included"
	@echo "make test-browser  open a report in Chromium, with axe-core from npm"
	@echo "make test-slurm  start a Slurm on this machine, as root, and run tests/slurm on it"
	@echo "make lint    ruff, snakefmt, snakemake --lint, types"
	@echo "make docs    the docs as a site, in site/; fails on a broken link"
	@echo "make schema  write schemas and reference pages anew"
	@echo "make env     create $(VENV) from the lock in envs/"
	@echo "make bench   run the benchmarks; each prints one JSON line"
	@echo "make lock    freeze the packages of envs/packages.txt anew"

env: $(VENV)/.complete

PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check
SHIM := envs/torchvision_operators

$(VENV)/.complete: envs/requirements.txt pyproject.toml $(SHIM)/pyproject.toml $(SHIM)/torchvision_operators.py
	python3 -m venv $(VENV)
	$(PIP_INSTALL) --requirement envs/requirements.txt
	@# Lets timm be imported where the index has no torchvision for its build of torch; and us.
	$(PIP_INSTALL) --no-build-isolation --no-deps --force-reinstall ./$(SHIM) --editable .
	touch $@

demo: env
	$(SNAKEMAKE) --cores $(CORES)

worlds: env
	@# The report and what it shows; without a target, similarity matrices and maps as well.
	$(SNAKEMAKE) report --cores $(CORES) --configfile config/worlds.yaml
	$(PYTHON) scripts/write_readme_tables.py worlds

test: env
	@# One process per file: the tests of a file may share a finished study. The longest first.
	$(PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-readme: env
	$(PYTHON) -m pytest tests/readme --readme --durations 5

test-browser: env
	npm ci --prefix tests/browser --no-audit --no-fund
	$(PYTHON) -m pytest tests/browser --browser --durations 5

test-slurm: env
	@# Prints what was submitted and how long it took.
	$(PYTHON) -m pytest tests/slurm --slurm --capture=no --verbose

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint
	$(VENV)/bin/mypy

format: env
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/snakefmt Snakefile workflow

schema: env
	$(PYTHON) scripts/write_schema.py
	$(PYTHON) scripts/write_reference.py

docs: env
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

lock:
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --disable-pip-version-check --requirement envs/packages.txt
	$(PYTHON) scripts/write_lock.py

bench: env
	$(PYTHON) benchmarks/bench_extraction.py
	$(PYTHON) benchmarks/bench_encoding.py
	$(PYTHON) benchmarks/bench_selection.py
	$(PYTHON) benchmarks/bench_dag.py

clean:
	rm -rf results/features results/stimuli results/demo logs
