# The commands for people and CI. `make` without a target lists them.
SHELL := /bin/bash -euo pipefail
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Switch off pip's version check, which takes time, and its questions.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all test-image test-browser test-sky check lock dist release clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: .venv/.train  ## set up and run the main job, offline, to a finished run
	$(BIN)/runner launch quickstart

# One worker runs all tests of a file, since they share folders and servers. Files go in their order, so that the long
# ones in tests/integration are not the last, when the other worker has nothing left to do.
PYTEST := $(BIN)/pytest --numprocesses logical --dist loadscope --no-loadscope-reorder

test: .venv/.train .venv/.dev .venv-servers/.installed  ## set up and run the tests that belong to every change
	$(PYTEST) -m "not thorough"

test-all: .venv/.train .venv/.dev .venv-servers/.installed .venv-wandb-sweeps/.installed  ## the same and the thorough ones: every moment, method, fault
	$(PYTEST)

test-image: .venv/.image-tested  ## build the CPU image and run runs in it (root, Debian; not again until it changes)

test-browser: .venv-browser/.installed  ## talk to a run's model in a real browser (root, Debian: installs Chromium)
	.venv-browser/bin/python -m pytest -m browser tests/browser

test-sky: .venv/.sky-tested  ## drive a real Slurm through a real SkyPilot (root, Debian; not again until something changes)

ACTIONS := action.yml collect/action.yml
WORKFLOWS := $(wildcard .github/workflows/*.yml) $(wildcard docs/examples/ci/github/*.yml)

check: .venv/.train .venv/.dev  ## ruff, mypy --strict, generated files, import-linter, deptry, hadolint, zizmor, schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/generate_schema.py --check
	$(BIN)/python tools/generate_sections.py --check
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/hadolint Dockerfile benchmarks/pytorch.Dockerfile
	$(BIN)/zizmor --offline --no-progress --quiet $(ACTIONS) $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions $(ACTIONS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci docs/examples/ci/gitlab/*.yml

# Every package must be a file whose hash the lock names. Only torch is not in the lock: which build there is for a CPU,
# and what that build needs besides, is for the package index to say.
INSTALL := install --quiet --no-deps --require-hashes --requirement

.venv/.train: images/cpu.lock images/build.lock images/torch.lock pyproject.toml
	@echo "setting up .venv (about a minute; once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "the venv module is missing; on Debian: apt-get install python3-venv"; rm -rf .venv; exit 2; }
	@$(BIN)/pip $(INSTALL) images/cpu.lock --requirement images/build.lock
	@$(BIN)/pip install --quiet --requirement images/torch.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/pip check
	@touch $@

.venv/.dev: tests/requirements.lock .venv/.train
	@$(BIN)/pip $(INSTALL) tests/requirements.lock
	@$(BIN)/pip check
	@touch $@

# Gradio wants older versions of what training uses. So this environment has these and what the browser needs; the rest
# is .venv's, which comes after it on the path.
PURELIB := import sysconfig; print(sysconfig.get_path("purelib"))

.venv-browser/.installed: tests/browser/requirements.lock .venv/.train .venv/.dev
	@test -x /usr/bin/chromedriver || { apt-get update -q && apt-get install --yes -q --no-install-recommends chromium chromium-driver; } >/dev/null
	@rm -rf .venv-browser
	@$(BIN)/python -m venv .venv-browser
	@.venv-browser/bin/pip $(INSTALL) tests/browser/requirements.lock
	@printf 'import site; site.addsitedir("%s")\n' "$$($(BIN)/python -c '$(PURELIB)')" > "$$(.venv-browser/bin/python -c '$(PURELIB)')/training.pth"
	@touch $@

.venv-servers/.installed: tests/support/servers/requirements.lock tests/support/servers/install.sh
	@bash tests/support/servers/install.sh
	@touch $@

.venv-wandb-sweeps/.installed: tests/support/sweeping/wandb/requirements.lock tests/support/sweeping/wandb/install.sh
	@bash tests/support/sweeping/wandb/install.sh
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

lock: .venv/.dev  ## write the lock files from pyproject.toml; OPTIONS="--upgrade-package trl" takes newer versions
	$(BIN)/python tools/lock.py $(OPTIONS)

dist: .venv/.dev  ## build wheel and sdist, and check both in fresh environments of Python 3.11, 3.12 and 3.13
	$(BIN)/python tools/release.py build

release: .venv/.dev  ## the same, with version, changelog section, commit and tag: make release VERSION=0.2.0; nothing is pushed
	$(BIN)/python tools/release.py release $(VERSION)

clean:  ## remove everything that the targets above made
	rm -rf .venv .venv-browser .venv-servers .venv-sky .venv-wandb-sweeps .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
