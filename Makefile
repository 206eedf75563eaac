# The commands for people and CI. `make` without a target lists them.
SHELL := /bin/bash -euo pipefail
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Switch off pip's version check, which takes time, and its questions.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all test-image test-browser test-sky check lock lock-cuda clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: .venv/.train  ## set up and run the main job, offline, to a finished run
	$(BIN)/runner launch quickstart

# One worker runs all tests of a file, since they share folders and servers. Files go in their order, so that the long
# ones in tests/integration are not the last, when the other worker has nothing left to do.
PYTEST := $(BIN)/pytest --numprocesses logical --dist loadscope --no-loadscope-reorder

test: .venv/.train .venv/.dev .venv-servers/.installed  ## set up and run the tests that belong to every change
	$(PYTEST) -m "not thorough"

test-all: .venv/.train .venv/.dev .venv-servers/.installed  ## the same and the thorough ones: every moment, method, fault
	$(PYTEST)

test-image: .venv/.image-tested  ## build the CPU image and run runs in it (root, Debian; not again until it changes)

test-browser: .venv/.browser  ## talk to a run's model in a real browser (root, Debian: installs Chromium)
	$(BIN)/pytest -m browser tests/browser

test-sky: .venv/.sky-tested  ## drive a real Slurm through a real SkyPilot (root, Debian; not again until something changes)

check: .venv/.train .venv/.dev  ## ruff, mypy --strict, import-linter, deptry, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/hadolint Dockerfile benchmarks/pytorch.Dockerfile

.venv/.train: images/cpu.lock pyproject.toml
	@echo "setting up .venv (about a minute; once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "the venv module is missing; on Debian: apt-get install python3-venv"; rm -rf .venv; exit 2; }
	@# torch first and with its dependencies: the index decides which build it has, and which packages that build needs.
	@$(BIN)/pip install --quiet --constraint images/cpu.lock torch
	@$(BIN)/pip install --quiet --no-deps --requirement images/cpu.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/pip check
	@touch $@

.venv/.dev: tests/requirements.lock .venv/.train
	@$(BIN)/pip install --quiet --no-deps --requirement tests/requirements.lock
	@$(BIN)/pip check
	@touch $@

.venv/.browser: tests/browser/requirements.lock .venv/.train .venv/.dev
	@test -x /usr/bin/chromedriver || { apt-get update -q && apt-get install --yes -q --no-install-recommends chromium chromium-driver; } >/dev/null
	@$(BIN)/pip install --quiet --no-deps --requirement tests/browser/requirements.lock
	@$(BIN)/pip check
	@touch $@

.venv-servers/.installed: tests/support/servers/requirements.lock tests/support/servers/install.sh
	@bash tests/support/servers/install.sh
	@touch $@

# Depends on everything in the image and its tests. podman keeps the layers, so only changed ones are built again.
.venv/.image-tested: .venv/.train .venv/.dev Dockerfile .dockerignore pyproject.toml $(shell find images jobs src tests/image tests/support -type f -not -path '*/__pycache__/*')
	$(BIN)/pytest -m image tests/image
	@touch $@

.venv-sky/.installed: tests/slurm/requirements.lock tests/slurm/install.sh pyproject.toml
	@bash tests/slurm/install.sh
	@touch $@

# A Slurm cluster of three nodes, whose jobs run as a user of their own; it and SkyPilot run without a network.
.venv/.sky-tested: .venv/.train .venv/.dev .venv-servers/.installed .venv-sky/.installed images/cpu.lock $(shell find src sky tests/slurm tests/support -type f -not -path '*/__pycache__/*')
	bash tests/slurm/cluster.sh install "$$($(BIN)/python -c 'from runner.backends.skypilot.bootstrap import setup_folder; print(setup_folder())')"
	bash tests/slurm/inside.sh $(BIN)/pytest -m slurm tests/slurm
	@touch $@

lock:  ## rewrite the lock files from the packages that are installed in .venv
	$(BIN)/python tools/lock.py

lock-cuda:  ## rewrite images/cuda.lock from images/cpu.lock and the package index's data about torch
	$(BIN)/python tools/lock_cuda.py

clean:  ## remove everything that the targets above made
	rm -rf .venv .venv-servers .venv-sky .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
