# Two commands set everything up from a fresh clone: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: env check test demo docs stubs lint types base tflite-runtime mediapipe page benchmarks faults dist clean

# The first Python that runs and is 3.11 to 3.13 (TensorFlow has no wheels beyond); or PYTHON=...
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	"$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo "$$each"; break; }; done)
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check --quiet install --require-hashes

# Annoy compiles for its own machine unless told otherwise; a portable build runs on every one.
export ANNOY_COMPILER_ARGS := -D_CRT_SECURE_NO_WARNINGS,-fpermissive,-O3,-ffast-math,-fno-associative-math,-DANNOYLIB_MULTITHREADED_BUILD,-std=c++14
# TensorFlow talks about its optimizations at every start.
export TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_ENABLE_ONEDNN_OPTS ?= 1

env: .venv/ready

# $(1): folder, $(2): requirements besides those that build; a stamp with their hash says it is done.
define environment
	@test -n "$(PYTHON)" || { echo "PocketLens needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { \
		echo "A C++ compiler is needed to build Annoy and none was found. Install one: 'apt install g++' (Debian, Ubuntu), 'dnf install gcc-c++' (Fedora), 'xcode-select --install' (macOS)." >&2; exit 1; }
	@echo "setting up $(1) from requirements/$(2).txt"
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python $(PIP) -r requirements/build.txt
	@$(1)/bin/python $(PIP) --no-build-isolation -r requirements/$(2).txt
	@$(1)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
	@touch $(1)/ready
endef

.venv/ready: requirements/build.txt requirements/dev.txt pyproject.toml
	$(call environment,.venv,dev)

.venv-base/ready: requirements/build.txt requirements/base.txt pyproject.toml
	$(call environment,.venv-base,base)

.venv-bench/ready: requirements/build.txt requirements/bench.txt pyproject.toml
	$(call environment,.venv-bench,bench)

.venv-mediapipe/ready: requirements/build.txt requirements/mediapipe.txt pyproject.toml
	$(call environment,.venv-mediapipe,mediapipe)

.venv-release/ready: requirements/build.txt requirements/release.txt pyproject.toml
	$(call environment,.venv-release,release)

# The gate.
check: lint types docs stubs base

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: env
	$(BIN)/mypy

docs: env
	$(BIN)/python tools/generate_docs.py --check

stubs: env
	$(BIN)/python tools/generate_stubs.py --check

# The SDK alone, as an app installs it.
base: .venv-base/ready
	.venv-base/bin/python tools/check_base_install.py

# In the order they stand in: ordered by their number, the longest tests come last, one file to a core.
test: env tflite-runtime
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# tflite-runtime exists for Python 3.11 at most, and for numpy 1 only: an environment of its own.
tflite-runtime:
	@bash tools/test_tflite_runtime.sh

# Bundles in MediaPipe Tasks, which is half a gigabyte: not part of `make test`.
mediapipe: env .venv-mediapipe/ready
	$(BIN)/python -m pytest tests/mediapipe

# The page in a real Chromium, which wants both cores: not part of `make test`.
page: env
	POCKETLENS_BROWSER=1 $(BIN)/python -m pytest tests/web_page

demo: env
	$(BIN)/python examples/demo.py

# Short forms of those that need no model; CONTRIBUTING.md names the long ones.
benchmarks: .venv-bench/ready
	for each in search photo training import_cost sync ingest exact_search query fallback shop; do .venv-bench/bin/python benchmarks/$$each.py --quick || exit 1; done

# What docs/reliability.md tells of, in its long forms, which takes hours. One that misses a goal ends no other.
FAULTS ?= $(shell grep -oh 'benchmarks/faults/[a-z_]*\.py' docs/reliability.md | sort -u)
faults: env
	@mkdir -p runs/faults; missed=; for each in $(FAULTS); do \
		name=$$(basename $$each .py); echo "== $$name"; \
		few=; test $$name != network_cuts || few="--every 50"; \
		$(BIN)/python $$each $$few --json runs/faults/$$name.json || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "These missed a goal:$$missed" >&2; exit 1; }

# What is released: wheel, sdist, and a CycloneDX bill of materials of each install.
dist: .venv-release/ready
	rm -rf dist
	.venv-release/bin/python -m build --no-isolation
	for each in base converter; do \
		bill=dist/pocketlens-$$each.cdx.json; \
		PYTHONWARNINGS=ignore .venv-release/bin/cyclonedx-py requirements requirements/$$each.txt --pyproject pyproject.toml \
			--mc-type library --output-reproducible -o $$bill && \
		.venv-release/bin/python tools/check_bill_of_materials.py requirements/$$each.txt $$bill || exit 1; \
	done

clean:
	rm -rf .venv .venv-base .venv-bench .venv-release .venv-stubs .venv-tflite build dist runs
