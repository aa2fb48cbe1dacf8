# The two commands of the README, and their parts.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := .cache/lvpack/packages-installed

.PHONY: demo test check unit build e2e full clean

demo: $(VENV)/ready $(PACKAGES)
	$(BIN)/lvpack demo

test: check unit build e2e

check: $(VENV)/ready $(PACKAGES)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	shellcheck .ci/run $$(grep -rlE '^#!/bin/(busybox )?(sh|bash)' elements builder)

unit: $(VENV)/ready
	$(BIN)/pytest tests

build: $(VENV)/ready $(PACKAGES)
	$(BIN)/lvpack build

e2e: $(VENV)/ready $(PACKAGES)
	$(BIN)/pytest qemu-tests -m core -v

full: $(VENV)/ready $(PACKAGES)
	$(BIN)/pytest qemu-tests -v

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import ensurepip' || apt-get install -y --no-install-recommends python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(PACKAGES): bindep.txt $(VENV)/ready
	packages=$$($(BIN)/bindep --brief) || { apt-get update && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$packages; }
	mkdir -p $(@D)
	touch $@

clean:
	rm -rf out .cache/lvpack $(VENV)
