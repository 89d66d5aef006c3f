# Two commands on a fresh machine: make train, make test. Both may be repeated; the second time is quick.
#   make train ARGS="--config.steps=100"      make test ARGS="-k floors"      make train PYTHON=/path/to/python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help train test test-all lint notebook clean

help:
	@sed -n '1,2s/^# *//p' Makefile; echo "also: make test-all, make lint, make notebook, make clean (removes .venv and caches, never runs)"

train: $(VENV)/.installed
	@$(BIN)/python launch/train.py --config=configs/ldm.py --workdir=runs $(ARGS)

# Tests of one file share a worker, hence their fixtures and compiled programs. What needs the scans beside the repository,
# torch or a browser, or takes minutes, is left to test-all.
test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not shared and not oracle and not browser and not slow" $(ARGS)

test-all: $(VENV)/.installed-oracle
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest -q tests/test_floors.py tests/test_house.py

# colab/*.ipynb from the py:percent source beside it; cells that stay keep their id.
notebook: $(VENV)/.installed-test
	@$(BIN)/jupytext --quiet --update --to ipynb colab/*.py

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: setup.py pyproject.toml | $(BIN)/python
	@echo "installing (about a minute) ..." >&2
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: setup.py pyproject.toml | $(BIN)/python
	@echo "installing with what the tests need (about a minute) ..." >&2
	@$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-oracle: $(VENV)/.installed-test
	@echo "installing what test-all compares with (torch: some minutes) ..." >&2
	@$(INSTALL) --extra-index-url https://download.pytorch.org/whl/cpu --editable '.[test,oracle]'
	@touch $@

# A launcher may be there and not run (pyenv's shims), so each candidate is tried. A PYTHON that was asked for is the only one.
$(BIN)/python:
	@chosen=""; \
	for python in $(if $(filter file,$(origin PYTHON)),python3 python3.13 python3.12 python3.11 python,$(PYTHON)); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then chosen=$$python; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "error: medfuse_jax needs Python >= 3.11 and $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1): install one, or name it with make PYTHON=/path/to/python3.12" >&2; exit 2; \
	fi; \
	if ! "$$chosen" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "error: $$chosen has no venv module: on Debian or Ubuntu, apt install python3-venv; or name another Python with make PYTHON=/path/to/python3.12" >&2; exit 2; \
	fi; \
	"$$chosen" -m venv --clear $(VENV)
