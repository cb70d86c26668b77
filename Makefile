# On a machine that has only Python >= 3.11 and make: `make demo` shows what this is, `make test` runs every check.
PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip --disable-pip-version-check install --quiet
DEMO_TEXT ?= She opened the<mask> and went in.

.PHONY: demo test clean

demo: .venv/demo.made
	$(BIN)/roberta fill-mask "$(DEMO_TEXT)" --frameworks pt,tf,flax
	$(BIN)/roberta parity roberta-tiny --frameworks pt,tf,flax

test: .venv/test.made
	$(BIN)/tox run

clean:
	rm -rf .venv .tox

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "triberta needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.made: .venv/made pyproject.toml constraints.txt
	$(PIP) --editable '.[all]'
	@touch $@

.venv/test.made: .venv/made constraints.txt
	$(PIP) tox
	@touch $@
