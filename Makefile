# The two commands of the README, and their parts: `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := .cache/lvpack/packages-installed
# Three tests at a time on two processors: they wait for a third of their time, for a claim, a boot loader, a network.
# The tests of a group share disks and stay together.
AT_ONCE := --numprocesses 3 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test checks help check unit fuzz build e2e full cuts faults defects bench man clean

demo: $(VENV)/ready $(PACKAGES)  ## build, make a sample LVM server, pack it, restore it to a smaller disk, boot that
	$(BIN)/lvpack demo

# The build downloads while the checks compute.
test: $(VENV)/ready $(PACKAGES)  ## all that CI runs: check, unit, build, e2e
	$(MAKE) --jobs 2 --output-sync build checks
	$(MAKE) e2e

checks: check
	$(MAKE) --jobs 1 unit

help:  ## this list
	@sed -nE 's/^([a-z0-9]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand --tabs=16

check: $(VENV)/ready $(PACKAGES)  ## format, lint, spelling, types, import contracts, shell scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" ELEMENTS_DIR=elements LIB_DIR=elements dib-lint
	shellcheck .ci/run $$(grep -rlE '^#!/bin/(busybox )?(sh|bash)' elements builder)

# Those of shares wait for servers, most of their time.
unit: $(VENV)/ready  ## unit tests, and what of the code they cover (property tests aside)
	$(BIN)/pytest tests --numprocesses 4 --cov

# Damaged input for every parser: N cases of each, from SEED if it is given.
N ?= 100000
fuzz: $(VENV)/ready  ## damaged input for every parser: N=100000 SEED=…
	$(BIN)/python -m tests.fuzz --cases $(N) $(if $(SEED),--seed $(SEED))

build: $(VENV)/ready $(PACKAGES)  ## the live image, in out/
	$(BIN)/lvpack build

e2e: $(VENV)/ready $(PACKAGES)  ## end-to-end tests in virtual machines, the core ones
	$(BIN)/pytest qemu-tests -m 'not full' -v $(AT_ONCE)

# GO_ON=yes leaves out what has passed with the files that are there now, in a run that was stopped or failed.
full: $(VENV)/ready $(PACKAGES)  ## all end-to-end tests; GO_ON=yes goes on with a run that was stopped
	$(BIN)/pytest qemu-tests -v $(AT_ONCE) $(if $(GO_ON),--go-on)

# Power cuts: as many as CUTS, from SEED if it is given, in one JOB: inplace, backup (overlay mode) or restore.
CUTS ?= 50
JOB ?= inplace
cuts: build  ## power cuts in a job: CUTS=50 SEED=… JOB=inplace|backup|restore
	cd qemu-tests && $(CURDIR)/$(BIN)/python -m tools.powercuts --job $(JOB) --cuts $(CUTS) $(if $(SEED),--seed $(SEED)) \
	  $(if $(filter inplace,$(JOB)),-a lvpack.regrow=yes) --jobs 2

# docs/faults.md is made from what comes of it.
faults: build  ## each row of the table of faults, in guests; GO_ON=yes goes on with a run that was stopped
	cd qemu-tests && $(CURDIR)/$(BIN)/python -m tools.faults --jobs 2 $(if $(GO_ON),--go-on)

# In copies of this checkout.
defects: build  ## defects seeded on purpose: the core must catch each
	cd qemu-tests && $(CURDIR)/$(BIN)/python -m tools.defects

# A test holds the pages against what the code makes.
man: $(VENV)/ready  ## docs/man from the commands and the table of kernel options
	mkdir -p docs/man
	$(BIN)/lvpack man --roff > docs/man/lvpack.1
	$(BIN)/lvpack man --roff cmdline > docs/man/lvpack.cmdline.7

ROUNDS ?= 3
bench: $(VENV)/ready $(PACKAGES)  ## the benchmark of docs/benchmark.md: ROUNDS=3
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

clean:  ## remove what was made: out/, the cache, the virtual environment
	rm -rf out .cache/lvpack $(VENV)
