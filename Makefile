# The two commands of a newcomer: `make demo` and `make test`. Each makes the environment it needs.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Runs and events of `make demo` and `make dev`, so that the UI shows both.
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: demo dev hooks release test check check-long static lint format types sql faults mutations bench bench-peers pages site screenshots lock sanitize clean help

# How much `make bench` measures: small, standard or full.
BENCH ?= standard
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED)  ## A generated feed through the whole pipeline, and what came out of it
	@$(BIN)/mg-lakehouse demo

dev: $(INSTALLED)  ## The Dagster UI on 127.0.0.1:3000, over an embedded queue with a steady trickle
	@$(BIN)/mg-lakehouse dev

# What `make test` runs the tests of: a folder of mg_lakehouse_tests, by default all.
PART ?=
# Two processes. A worker that has nothing left takes over from the other, so that no long module is waited for alone.
# They start some hundred processes: with bytecode each begins a tenth of a second earlier, whatever the machine says of writing it.
PYTEST := env -u DAGSTER_HOME -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses 2 --dist worksteal

# Of a part only its fast tests, which is what one runs while writing.
test: $(INSTALLED) $(if $(PART),,static)  ## What to run before each commit: lint, types, every fast test (PART=silver: the fast tests of one part)
	$(PYTEST) -m "not faults and not slow and not ui and not s3 and not e2e" mg_lakehouse_tests/$(PART)

check: $(INSTALLED) static  ## Everything that decides whether a change lands: UI, S3 and end to end included
	$(PYTEST)

check-long: $(INSTALLED) faults mutations bench-peers  ## What takes hours or other environments: faults, fuzzing, mutations, peers

# What needs no test, each on a core of its own.
static: $(INSTALLED)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint types sql

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	$(BIN)/mypy

sql: $(INSTALLED)
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests
	$(BIN)/sqlfluff lint --disable-progress-bar --templater placeholder mg_lakehouse/serving/queries

faults: $(INSTALLED)  ## The long matrix of crashes and faults, and the long fuzzing (minutes)
	env -u DAGSTER_HOME $(BIN)/pytest -m faults --hypothesis-profile explore --numprocesses 2 --durations 10
	env -u DAGSTER_HOME $(BIN)/pytest --hypothesis-profile explore --numprocesses 2 mg_lakehouse_tests/events

# Python is not built with the sanitizer, so its libraries are loaded before it. What Python itself leaves behind is no leak of ours.
sanitize: $(INSTALLED)  ## The fast path built with the address sanitizer, in a folder of its own, against its property tests (minutes)
	rm -rf .sanitized
	CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize=alignment" $(BIN)/pip install --quiet --no-deps --target .sanitized .
	cp -r mg_lakehouse_tests pyproject.toml setup.cfg .sanitized
	cd .sanitized && env -u DAGSTER_HOME LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		$(CURDIR)/$(BIN)/python -m pytest --numprocesses 0 --hypothesis-profile explore mg_lakehouse_tests/events/test_plain.py

# Which breaks `make mutations` makes: those whose names hold one of these words, by default all.
ONLY ?=

mutations: $(INSTALLED)  ## Break the code on purpose, in copies, and see that near tests turn red (minutes)
	env -u DAGSTER_HOME $(BIN)/python -m mg_lakehouse_tests.mutations $(ONLY)

bench: $(INSTALLED) bench-peers  ## All measurements, and docs/performance.md made of them (BENCH=small, standard or full)
	env -u DAGSTER_HOME $(BIN)/python -m benchmarks run --size $(BENCH)
	$(BIN)/python -m benchmarks render

bench-peers: $(INSTALLED)  # dlt and Spark, each in an environment of its own
	$(BIN)/python -m benchmarks peers

# Installed by uv in a quarter of pip's time (31 s against 130), but by pip where it has an index of its own, which uv does not read, or uv fails.
EVERYTHING := --quiet --constraint constraints.txt --editable '.[ui,dashboard,postgres,prompt,slack,bench,docs,dev]'
export UV_SYSTEM_CERTS ?= 1

# With the timestamp, an environment is made once and again only when what it holds changes.
$(INSTALLED): pyproject.toml constraints.txt $(wildcard mg_lakehouse/events/*.pyx mg_lakehouse/events/fast/*.pyx mg_lakehouse/events/fast/*.pxi)
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) was not found: install Python 3.11, or say PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@{ ! $(BIN)/pip config list | grep -q '[.]index-url' && $(BIN)/uv pip install --python $(BIN)/python $(EVERYTHING); } || \
		$(BIN)/pip install --disable-pip-version-check $(EVERYTHING)
	@touch $@

pages: $(INSTALLED)  ## Regenerate the pages of settings, tables and metrics, and dbt's sources, from the code
	$(BIN)/python -m mg_lakehouse_tests.docs.pages

site: $(INSTALLED)  ## The documentation as a site, in site/; a link in it that leads nowhere is an error
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --doctree-dir site/.doctrees docs site

screenshots: $(INSTALLED)  ## Take the README's pictures again (needs chromium)
	$(BIN)/python -m mg_lakehouse_tests.ui.screenshots

hooks: $(INSTALLED)  ## Install the pre-commit hooks: ruff, sqlfluff on staged SQL, a spell check
	$(BIN)/pre-commit install

release: $(INSTALLED)  ## Build wheel and sdist of the last commit, check each in an empty environment, write the notes, in dist/
	env -u DAGSTER_HOME deploy/release.sh $(BIN) $(PYTHON)

lock: $(INSTALLED)  ## Pin every dependency anew
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-emit-index-url --no-header --no-annotate --output-file constraints.txt
	for peer in dlt spark; do $(BIN)/uv pip compile benchmarks/peers/requirements-$$peer.in --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--output-file benchmarks/peers/requirements-$$peer.txt; done

clean:  ## Remove the environment, the demo's lake and its runs
	rm -rf $(VENV) .sanitized .venv-bench-dlt .venv-bench-spark .bench .lake .dagster site dbt_project/target dbt_project/logs
