# `make demo` and `make test` need nothing but Python 3.11 or newer and a network for pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/translate_toy
WORKERS ?= 2

.PHONY: demo test lint docs help
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a translator on this machine, translate with it, draw its report"
	@echo "make test   the fast tests, comparisons with torch and transformers included"
	@echo "make lint   style, types, and who imports whom"
	@echo "make docs   the site, into site/"

# Stamps, so that a second make installs nothing twice.
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.library: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.development: $(VENV)/.library
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,parity]'
	@touch $@

demo: $(VENV)/.library
	$(BIN)/python -m train run configs/translate_toy.py --workdir $(WORKDIR)
	@echo
	@echo "Translations by $(WORKDIR), beam 4:"
	@printf '%s\n' 'The teacher reads three books.' 'Did the students drink water yesterday?' \
		| $(BIN)/python -m train generate $(WORKDIR) --num-beams 4
	@echo
	@echo "Pictures:"
	@find $(WORKDIR)/report -name '*.png' | sort

test: $(VENV)/.development
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.created
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict
