# make lab     the lab, in two commands from a clone
# make test    everything that holds it together
PYTHON ?= python3
LAB_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
comma := ,
PIN := --constraint constraints.txt --disable-pip-version-check
TEST_ENV := YOLO_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

# With pipefail a filtered pip still fails.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DELETE_ON_ERROR:
.PHONY: help lab test check format bench docs pictures clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(VENV)/.lab ## open JupyterLab on the first notebook (LAB_ARGS="--no-browser --port 8890")
	@exec $(BIN)/labkit lab notebooks $(LAB_ARGS)

test: $(VENV)/.test check ## every test: unit, notebooks, browser
	@$(BIN)/python tests/browser_setup.py
	@echo "unit and notebook tests"
	@$(TEST_ENV) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --maxschedchunk 1 --ignore tests/browser
	@if [ -d tests/browser ]; then echo "browser tests"; $(TEST_ENV) $(BIN)/python -m pytest -q tests/browser; fi

check: $(VENV)/.test ## ruff, mypy, the arrows between modules and the notebooks' hygiene
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@report=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$report"; exit 1; }
	@$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

format: $(VENV)/.test ## fix what `make check` can fix
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .
	@$(BIN)/nbstripout --keep-id notebooks/*.ipynb

bench: $(VENV)/.test ## the benchmarks, as one table of ratios
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.test build/notebooks/.done ## the documentation site in site/, with the notebooks executed
	@$(TEST_ENV) NO_MKDOCS_2_WARNING=1 LABKIT_PAGES=build/notebooks $(BIN)/python -m mkdocs build --strict

# They are executed again when one of them, or labkit's version, is another.
build/notebooks/.done: $(wildcard notebooks/*.ipynb) labkit/_version.py | $(VENV)/.test
	@rm -rf build/notebooks
	@$(TEST_ENV) $(BIN)/labkit run notebooks --out build/notebooks
	@touch $@

pictures: $(VENV)/.test ## the README's pictures, from the real page
	@$(BIN)/python tests/browser_setup.py
	@$(TEST_ENV) LABKIT_PICTURES=1 $(BIN)/python -m pytest -q tests/browser/test_pictures.py

clean: ## remove .venv
	rm -rf $(VENV)

# A stamp is touched only after its last step, so what was interrupted is done again.
$(VENV)/.lab: $(VENV)/.python pyproject.toml constraints.txt litert.txt
	$(call install,.)
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt litert.txt
	$(call install,.[bench$(comma)dask$(comma)docs$(comma)parquet$(comma)release$(comma)s3$(comma)test])
	@touch $(VENV)/.lab $@

# Debian's python3 has no venv until python3-venv is there.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "labkit needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo missing): make lab PYTHON=python3.12" >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  package=python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv; \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment: sudo apt install $$package" >&2; exit 1; }; \
	  echo "installing $$package"; \
	  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$package >/dev/null; \
	fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

# Large downloads are named as they come; the rest of pip's log is not worth reading.
# OpenCV's usual build needs libGL, which a machine without a display may not have.
# LiteRT's converter is not made for every system.
define install
@echo "installing labkit into $(VENV) (several minutes the first time: PyTorch is large)"
@$(BIN)/python -m pip install $(PIN) --progress-bar off --editable '$(1)' \
  | awk '/^ *Downloading .* MB/ {print "  " $$2, $$3, $$4; fflush()} /^Installing/ {print "  installing"; fflush()}'
@$(BIN)/python -c 'import cv2' 2>/dev/null \
  || $(BIN)/python -m pip install $(PIN) --quiet --no-deps --force-reinstall opencv-python-headless
@$(BIN)/python -m pip install $(PIN) --quiet --no-deps --requirement litert.txt 2>/dev/null \
  || echo "LiteRT's converter is not to be had here: \`labkit quantize\` goes without"
endef
