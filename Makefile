# Each target is a single command on a machine with git, make, Python 3.11+ with venv, and a Rust toolchain.
# Stamps under .venv/ record what is done, so that a second run only does what changed.

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python

RUST_SOURCES := $(shell find crates -name '*.rs' -o -name Cargo.toml) \
	Cargo.toml Cargo.lock pyproject.toml $(wildcard rust-toolchain.toml .cargo/config.toml)

# Tests may name what to run: make test PYTEST_ARGS="tests/unit -k hub"
PYTEST_ARGS ?=
# Groups of bench/ to run, and their options: make bench BENCH="model ocr --json records.json"
BENCH ?=

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYO3_PYTHON := $(CURDIR)/$(PY)
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH

.PHONY: help build demo test test-rust test-python lint format bench examples wheel clean
.DEFAULT_GOAL := help

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: $(VENV)/.built ## make .venv and build the release extension into it

demo: $(VENV)/.built ## watch a drawn session, read the images of examples/, write annotated copies to demo-output/
	@$(PY) examples/watch_session.py
	@$(BIN)/vedette read examples --scores --times --annotate demo-output/
	@echo "Annotated images: $(CURDIR)/demo-output"

test: test-rust test-python ## every test, Rust and Python

test-rust: $(VENV)/.made
	cargo test --workspace --lib --tests --locked

test-python: $(VENV)/.built $(VENV)/.tools
	$(PY) -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.built $(VENV)/.tools ## rustfmt, clippy, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(PY) -m mypy
	$(PY) -m mypy.stubtest vedette._native

format: $(VENV)/.tools ## rewrite sources in the one style
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.built $(VENV)/.tools ## measure against the peers, in interleaved pairs
	$(PY) -m bench $(BENCH)

examples: $(VENV)/.built ## draw the images of examples/ anew
	$(PY) examples/make_images.py

wheel: $(VENV)/.made ## build the release wheel into target/wheels/
	$(BIN)/maturin build --release --locked

clean: ## remove whatever the other targets made
	rm -rf .venv target demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python -name '_native*.so' -delete
	find python tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter is PYTHON where given, else the first of the usual names that is new enough.
$(VENV)/.made:
	@command -v cargo >/dev/null || { \
		echo "make: no Rust toolchain (cargo) on PATH. Install one: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || { \
		echo "make: no C linker (cc). On Debian or Ubuntu: apt install build-essential" >&2; exit 1; }
	@found=""; \
	for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$name"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "make: Python 3.11 or newer is needed; found: $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "      Install one, or name it: make PYTHON=/path/to/python3 ..." >&2; exit 1; \
	fi; \
	"$$found" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $$found has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	echo "making .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --upgrade "pip>=25.1" "maturin>=1.9,<2"
	@touch $@

$(VENV)/.built: $(VENV)/.made $(RUST_SOURCES)
	$(BIN)/maturin develop --release --locked
	@touch $@

$(VENV)/.tools: $(VENV)/.made pyproject.toml
	$(PY) -m pip install --quiet --group test --group lint --group bench
	@touch $@
