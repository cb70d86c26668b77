# Requires only Python >= 3.11 and make. `make demo` shows the model, `make check` tests a change, `make test` tests everything.
PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip --disable-pip-version-check install --quiet
DEMO_TEXT ?= She opened the<mask> and went in.

.PHONY: demo check test clean

demo: .venv/demo.made
	$(BIN)/roberta fill-mask "$(DEMO_TEXT)" --frameworks pt,tf,flax
	$(BIN)/roberta parity roberta-tiny --frameworks pt,tf,flax

# Lint, the types of changed files, the quick tests of the core, and the tests of changed modules.
check: .venv/check.made
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python tests/check.py

test: .venv/test.made
	$(BIN)/tox run-parallel --parallel 2 --parallel-live --parallel-no-spinner

clean:
	rm -rf .venv .tox

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "triberta needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.made: .venv/made pyproject.toml constraints.txt
	$(PIP) --editable '.[all]'
	@touch $@

.venv/check.made: .venv/made pyproject.toml constraints.txt
	$(PIP) --editable '.[all,dev,serve]'
	@touch $@

.venv/test.made: .venv/made constraints.txt
	$(PIP) tox
	@touch $@
