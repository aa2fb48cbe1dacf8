# The two commands of the README, and their parts.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := .cache/lvpack/packages-installed
# Two virtual machines at a time; the tests of a file share disks and stay together.
TWO_GUESTS := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check unit build e2e full cuts bench man clean

demo: $(VENV)/ready $(PACKAGES)
	$(BIN)/lvpack demo

test: check unit build e2e

check: $(VENV)/ready $(PACKAGES)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" ELEMENTS_DIR=elements LIB_DIR=elements dib-lint
	shellcheck .ci/run $$(grep -rlE '^#!/bin/(busybox )?(sh|bash)' elements builder)

unit: $(VENV)/ready
	$(BIN)/pytest tests --numprocesses 2

build: $(VENV)/ready $(PACKAGES)
	$(BIN)/lvpack build

e2e: $(VENV)/ready $(PACKAGES)
	$(BIN)/pytest qemu-tests -m 'not full' -v --durations 30 $(TWO_GUESTS)

full: $(VENV)/ready $(PACKAGES)
	$(BIN)/pytest qemu-tests -v --durations 30 $(TWO_GUESTS)

# Power cuts in in-place mode: as many as CUTS, from SEED if it is given.
CUTS ?= 50
cuts: build
	cd qemu-tests && $(CURDIR)/$(BIN)/python -m tools.powercuts --cuts $(CUTS) $(if $(SEED),--seed $(SEED)) -a lvpack.regrow=yes --jobs 2

# A test holds the pages against what the code makes.
man: $(VENV)/ready
	mkdir -p docs/man
	$(BIN)/lvpack man --roff > docs/man/lvpack.1
	$(BIN)/lvpack man --roff cmdline > docs/man/lvpack.cmdline.7

ROUNDS ?= 3
bench: $(VENV)/ready $(PACKAGES)
	$(BIN)/pip install --quiet --editable '.[bench]'
	cd qemu-tests && $(CURDIR)/$(BIN)/python -m tools.benchmark --rounds $(ROUNDS)

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import ensurepip' || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(PACKAGES): bindep.txt $(VENV)/ready
	packages=$$($(BIN)/bindep --brief test) || { apt-get update && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$packages; }
	mkdir -p $(@D)
	touch $@

clean:
	rm -rf out .cache/lvpack $(VENV)
