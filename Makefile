# make lab     the lab, in two commands from a clone
# make test    every check and every test
PYTHON ?= python3
LAB_ARGS ?=
BASE ?=
LATEST_TESTS ?= tests/test_privates.py tests/batch tests/panels tests/vision tests/warm

VENV := .venv
BIN := $(VENV)/bin
LATEST := .venv-latest
RELEASE := .venv-release
comma := ,
EXTRAS := [bench$(comma)dask$(comma)docs$(comma)parquet$(comma)release$(comma)s3$(comma)test]
PIN := --constraint constraints.txt --disable-pip-version-check
TEST_ENV := YOLO_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

# With pipefail, a pip whose output is filtered still fails.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DELETE_ON_ERROR:
.PHONY: help lab test quick check format bench docs pictures latest release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(VENV)/.lab ## open JupyterLab on the first notebook (LAB_ARGS="--no-browser --port 8890")
	@exec $(BIN)/labkit lab notebooks $(LAB_ARGS)

test: $(VENV)/.test check ## every test: unit, notebooks, browser
	@$(BIN)/python tests/browser_setup.py
	@echo "unit and notebook tests"
	@$(TEST_ENV) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --maxschedchunk 1 --ignore tests/browser
	@if [ -d tests/browser ]; then echo "browser tests"; $(TEST_ENV) $(BIN)/python -m pytest -q tests/browser; fi

quick: $(VENV)/.test ## the tests of what has changed, in two minutes (BASE=commit to compare with)
	@$(BIN)/python -m tests.quick $(BASE)

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

# They are executed again when one of them, or labkit's version, changes.
build/notebooks/.done: $(wildcard notebooks/*.ipynb) labkit/_version.py | $(VENV)/.test
	@rm -rf build/notebooks
	@$(TEST_ENV) $(BIN)/labkit run notebooks --out build/notebooks
	@touch $@

pictures: $(VENV)/.test ## the README's pictures, from the real page
	@$(BIN)/python tests/browser_setup.py
	@$(TEST_ENV) LABKIT_PICTURES=1 $(BIN)/python -m pytest -q tests/browser/test_pictures.py

# torch stays at the pinned version: a new one is gigabytes, and is tried by changing its pin.
latest: $(VENV)/.python ## try the newest versions of all dependencies; writes constraints-latest.txt
	@$(PYTHON) -m venv --clear $(LATEST)
	@grep -E '^torch(vision)?==' constraints.txt > $(LATEST)/torch.txt
	$(call install_into,$(LATEST),--constraint $(LATEST)/torch.txt,--editable '.$(EXTRAS)')
	@$(LATEST)/bin/python -m tests.latest constraints-latest.txt
	@$(TEST_ENV) OMP_NUM_THREADS=1 $(LATEST)/bin/python -m pytest -q -n 2 --maxschedchunk 1 $(LATEST_TESTS)

# What a user gets: built from the sdist, and installed with its dependencies where nothing else is.
release: $(VENV)/.test ## build wheel and sdist in dist, check them, and use the wheel in a fresh environment
	@rm -rf dist
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --outdir dist . >/dev/null
	@$(BIN)/twine check --strict dist/*
	@$(PYTHON) -m venv --clear $(RELEASE)
	$(call install_into,$(RELEASE),$(PIN),dist/*.whl)
	@$(BIN)/python tests/installed.py $(RELEASE)
	@rm -rf $(RELEASE)
	@ls dist

clean: ## remove .venv and what docs, latest and release leave
	rm -rf $(VENV) $(LATEST) $(RELEASE) build dist site

# A stamp is touched only after its last step: an interrupted installation is done again.
$(VENV)/.lab: $(VENV)/.python pyproject.toml constraints.txt litert.txt
	$(call install,.)
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt litert.txt
	$(call install,.$(EXTRAS))
	@touch $(VENV)/.lab $@

# Debian's python3 has no venv until python3-venv is installed.
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

# LiteRT's converter does not exist for every system.
define install
$(call install_into,$(VENV),$(PIN),--editable '$(1)')
@$(BIN)/python -m pip install $(PIN) --quiet --no-deps --requirement litert.txt 2>/dev/null \
  || echo "LiteRT's converter is not available here: \`labkit quantize\` works without it"
endef

# Into an environment, with pip's options, what. Large downloads are printed as they come; the
# rest of pip's log is not worth reading.
# OpenCV's usual build needs libGL, which a machine without a display may not have.
define install_into
@echo "installing labkit into $(1) (several minutes the first time: PyTorch is large)"
@$(1)/bin/python -m pip install --disable-pip-version-check $(2) --progress-bar off $(3) \
  | awk '/^ *Downloading .* MB/ {print "  " $$2, $$3, $$4; fflush()} /^Installing/ {print "  installing"; fflush()}'
@$(1)/bin/python -c 'import cv2' 2>/dev/null \
  || $(1)/bin/python -m pip install --disable-pip-version-check $(2) --quiet --no-deps --force-reinstall opencv-python-headless
endef
