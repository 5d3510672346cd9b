# Two commands do everything: `make demo` and `make test`. Nothing but Python 3.11+ (with venv) and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Tests wait for locks, servers and clocks for a third of their time: three workers keep two cores busy.
WORKERS = $(shell $(BIN)/python -c 'import os; cores = os.cpu_count() or 1; print(cores + (cores + 1) // 2)')

.PHONY: demo test approve unmeasured torture matrix lowest lowest-installed lint types docs bench clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(INSTALLED) ## Reset, seed, sync, recognise, refresh and backfill, on the embedded server and emulator
	@$(BIN)/python demo.py

test: $(INSTALLED) ## Run the test suite with branch coverage
	@$(BIN)/coverage erase
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=seedtool --cov-report=term --durations=20

approve: $(INSTALLED) ## Write the messages that the tests meet into tests/cli/messages.txt
	$(BIN)/python -m pytest -n 2 -q -m approved --approve

unmeasured: $(INSTALLED) ## Find the tests that need no measuring of coverage; writes tests/unmeasured.txt
	TESTS_HAVE_CONTEXTS=1 $(BIN)/python -m pytest -n 2 --measure-all --cov=seedtool --cov-context=test --cov-report= \
		--junitxml=.unmeasured.xml
	$(BIN)/python -m tests.unmeasured

torture: $(INSTALLED) ## Kill a thousand processes a promise, try thousands of examples; writes docs/reliability.md
	$(BIN)/python -m pytest -n 2 -m torture --kills $(or $(KILLS),1000) -rA
	$(BIN)/python -m pytest -n 2 --hypothesis-profile torture -m hypothesis --timeout 3600

lowest: lowest-installed ## Run a subset of the tests with the lowest versions that pyproject.toml allows
	$(VENV)/lowest/bin/python -m pytest -n $(WORKERS) -q -m everywhere

lowest-installed:
	@$(PYTHON) -m venv $(VENV)/lowest
	@$(VENV)/lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/lowest.txt \
		--editable '.[embedded,emulator,recipes]' cryptography hypothesis pytest pytest-alembic pytest-timeout pytest-xdist

matrix: $(INSTALLED) ## Run tests with each Python, PostgreSQL and set of versions that is here; writes docs/versions.md
	$(BIN)/python -m tests.matrix

lint: $(INSTALLED) ## ruff, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED) ## mypy --strict
	$(BIN)/mypy

docs: $(INSTALLED) ## Write the pages that are made from the code, and build the site (site/index.html)
	$(BIN)/python docs/write_settings.py
	$(BIN)/python docs/write_words.py
	$(BIN)/python docs/write_json.py
	$(BIN)/python docs/draw_architecture.py
	$(BIN)/python docs/write_reference.py
	$(BIN)/python docs/draw_tour.py
	$(BIN)/zensical build --clean --strict

bench: $(INSTALLED) ## Measure against named rivals; writes benchmarks/RESULTS.md
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/run.py

clean: ## Remove the virtual environment and caches (not the server's or emulator's state)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* .unmeasured.xml htmlcov

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "seedtool needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
