# Nothing needs to be set up first: `make demo` and `make test` create .venv and install into it what is missing.
#
#   PYTHON=...      the interpreter .venv is made with (default: python3.11, else python3)
#   PYTEST_ARGS=... more arguments for pytest, for example PYTEST_ARGS="tests/graph -x"

PYTEST_ARGS ?=
FUZZ_SECONDS ?= 60
FUZZ_GUIDED ?= artifact checkpoint checkpoint-torch graph onnx onnx-reference data idx golden settings
PORTABILITY := tests/portability
# Tests that one version of Python answers for all: files that do harm, faults, searches.
SAME_EVERYWHERE := $(addprefix --ignore=tests/,attacks bisection faults fuzz)

# The first of some interpreters that really starts; a pyenv shim for a version that is not enabled does not.
first_working = $(shell for python in $(1); do "$$python" -c '' 2>/dev/null && { echo "$$python"; break; }; done)
# Interpreter $(1), "3.12" for example: on the PATH, or one that pyenv keeps.
find_python = $(call first_working,python$(1) $(wildcard $(shell pyenv root 2>/dev/null)/versions/$(1).*/bin/python$(1)))

PYTHON ?= $(call first_working,python3.11 python3)

PIP_INSTALL := bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# What the tests of optional parts need.
EXTRAS := torch,events,images,report,plot,cluster

# SpikingJelly, whose neurons and networks tests/published compares ours with, asks for torchvision, torchaudio and a dozen more
# packages; what the tests import of it needs these two only. Apache-2.0, MIT, BSD-3-Clause; none is shipped.
SPIKINGJELLY := spikingjelly loguru h5py
PIP_ALONE := bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-no-torch test-all faults fuzz sanitize neon boards browser screenshots docs check format portability clean distclean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help: ## print this list
	@echo "make demo and make test set up everything they need; the rest, in the same environment:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed ## export the bundled network, verify it on every runtime, print its accuracy
	.venv/bin/python examples/fashion_mnist/demo.py

test: .venv/.installed ## run the tests
	.venv/bin/pytest $(PYTEST_ARGS)

test-slow: .venv/.installed python-3.10 ## run the tests that take minutes
	.venv/bin/pytest -m slow $(PYTEST_ARGS)

test-no-torch: ## run the tests that need no PyTorch, on Python 3.12 and 3.13 where they are installed
	@$(MAKE) --no-print-directory test-3.12
	@$(MAKE) --no-print-directory test-3.13

test-all: .venv/.installed python-3.10 ## run all tests, the slow and the long ones too, then test-no-torch
	.venv/bin/pytest -m "not portability and not browser" $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-no-torch

faults: .venv/.installed ## put thousands of faults into artifacts and print how many verification notices
	.venv/bin/pytest -m "not portability" -s tests/faults $(PYTEST_ARGS)

check: .venv/.installed ## lint, formatting, types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy ds2ta_deploy benchmarks

format: .venv/.installed ## format, and mend what the linter can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

portability: .venv/.portability $(PORTABILITY)/node_modules/.package-lock.json ## compare onnxruntime, onnxruntime-web and OpenVINO
	.venv/bin/pytest -m portability $(PORTABILITY) $(PYTEST_ARGS)

fuzz: .venv/.fuzz ## try tens of thousands of spoiled files on every reader; FUZZ_SECONDS=60 a reader guided by coverage
	cd tests && PYTHONPATH=.:.. ../.venv/bin/python -m fuzz.run
	for reader in $(FUZZ_GUIDED); do \
	    (cd tests && PYTHONPATH=.:.. ../.venv/bin/python -m fuzz.guided $$reader -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1) || exit 1; \
	done

sanitize: build/native/address build/native/thread ## test the native library under the compiler's sanitizers
	build/native/address 40
	build/native/thread 16

neon: ## test the native library on an emulated Arm processor, where a cross compiler and qemu are installed
	@if [ -n "$(ARM_CC)" ] && [ -n "$(QEMU)" ]; then \
	    $(MAKE) --no-print-directory build/native/neon && $(QEMU) build/native/neon 20; \
	else \
	    echo "The kernels for Arm were NOT tested: that needs aarch64-linux-gnu-gcc and qemu-aarch64"; \
	    echo "(Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)."; \
	fi

boards: .venv/.installed ## run the bundled network's C code on an emulated Cortex-M7 and RISC-V, where they are installed
	@if [ -z "$(BOARDS_MISSING)" ]; then \
	    rm -rf build/boards && \
	    .venv/bin/ds2ta-export examples/fashion_mnist/ds2ta-2-64.safetensors --target c --samples 8 -o build/boards && \
	    .venv/bin/python examples/boards/run.py build/boards/c; \
	else \
	    echo "The C code was NOT run on microcontrollers: that needs$(BOARDS_MISSING)"; \
	    echo "(bash examples/boards/install.sh installs Debian's)."; \
	fi

browser: .venv/.browser ## look at a page in Chromium, which Debian's package and its driver bring
	@if bash tests/browser/install.sh; then \
	    if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(PORTABILITY)/node_modules/.package-lock.json || exit 1; fi; \
	    .venv/bin/pytest -m browser tests/browser $(PYTEST_ARGS); \
	else \
	    echo "Pages were NOT looked at in a browser: that needs Debian's chromium and chromium-driver."; \
	fi

screenshots: .venv/.browser $(PORTABILITY)/node_modules/.package-lock.json ## take the pictures of a page that README shows
	bash tests/browser/install.sh
	cd tests && PYTHONPATH=. ../.venv/bin/python browser/screenshots.py ../docs/images

docs: .venv/.docs ## build the pages of docs/ into build/docs; a link to nothing fails
	.venv/bin/python docs/tools/write_commands.py
	.venv/bin/python docs/tools/write_schemas.py
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

clean: ## remove builds and caches
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ds2ta_deploy exporters runtimes benchmarks examples tests -name __pycache__ -not -path '*/node_modules/*' -exec rm -rf {} +

distclean: clean ## remove the environments as well
	rm -rf .venv .venv310 .venv312 .venv313 $(PORTABILITY)/node_modules

BOARDS := arm-none-eabi-gcc qemu-system-arm riscv64-unknown-elf-gcc qemu-system-riscv32
BOARDS_MISSING := $(shell for program in $(BOARDS); do command -v "$$program" >/dev/null || printf ' %s' "$$program"; done)

# --- the native library's own test: plain C, so that sanitizers and emulators can run it ----------------------------

NATIVE := $(wildcard runtimes/native/src/*.[ch] tests/native/*.[ch])
NATIVE_BUILD = -std=gnu99 -g -Wall -Wextra -Wconversion -Werror -Wno-psabi -pthread -Iruntimes/native/src $(filter %.c,$^) -o $@
ARM_CC := $(shell command -v aarch64-linux-gnu-gcc 2>/dev/null)
QEMU := $(shell command -v qemu-aarch64 2>/dev/null || command -v qemu-aarch64-static)

build/native:
	mkdir -p $@

build/native/address: $(NATIVE) | build/native
	$(CC) -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined $(NATIVE_BUILD)

build/native/thread: $(NATIVE) | build/native
	$(CC) -O1 -fsanitize=thread $(NATIVE_BUILD)

build/native/neon: $(NATIVE) | build/native
	$(ARM_CC) -O3 -static $(NATIVE_BUILD)

# --- environments: made once, brought up to date when the project's requirements change -----------------------------

.venv/.installed: pyproject.toml constraints.txt
	@test -x .venv/bin/python || test -n "$(PYTHON)" || { echo "no Python found; install 3.11 or say PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing into .venv what pyproject.toml asks for, PyTorch included; the first time takes a few minutes."
	test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	.venv/$(PIP_INSTALL) ".[$(EXTRAS),dev]"
	.venv/$(PIP_ALONE) $(SPIKINGJELLY)
	PIP_CONSTRAINT=constraints.txt .venv/bin/ds2ta lava install
	@touch $@

.venv/.fuzz: .venv/.installed
	.venv/$(PIP_INSTALL) ".[$(EXTRAS),dev,fuzz]"
	@touch $@

.venv/.browser: .venv/.installed
	.venv/$(PIP_INSTALL) ".[$(EXTRAS),dev,browser]"
	@touch $@

.venv/.docs: .venv/.installed
	.venv/$(PIP_INSTALL) ".[$(EXTRAS),dev,docs]"
	@touch $@

.venv/.portability: .venv/.installed
	.venv/$(PIP_INSTALL) ".[$(EXTRAS),dev,portability]"
	@touch $@

$(PORTABILITY)/node_modules/.package-lock.json: $(addprefix $(PORTABILITY)/,package.json package-lock.json .npmrc)
	@command -v npm >/dev/null || { echo "npm is not installed; the portability test needs Node.js 20 or later" >&2; exit 1; }
	cd $(PORTABILITY) && npm ci
	@touch $@

.PHONY: python-3.10
python-3.10: $(if $(call find_python,3.10),.venv310/.installed)

.venv310/.installed: constraints-python3.10.txt
	test -x .venv310/bin/python || "$(call find_python,3.10)" -m venv .venv310
	.venv310/bin/pip install --quiet --disable-pip-version-check --constraint constraints-python3.10.txt lava-nc
	@touch $@

.PHONY: test-3.12 test-3.13
test-3.12 test-3.13: test-3.%:
	@if [ -z "$(call find_python,3.$*)" ]; then \
	    echo "Python 3.$* is not installed here: the tests that need no PyTorch were NOT run on it."; \
	else \
	    $(MAKE) --no-print-directory .venv3$*/.installed && \
	    echo "Python 3.$*, without PyTorch:" && .venv3$*/bin/pytest $(SAME_EVERYWHERE) $(PYTEST_ARGS); \
	fi

.venv312/.installed .venv313/.installed: .venv3%/.installed: pyproject.toml constraints.txt
	test -x .venv3$*/bin/python || "$(call find_python,3.$*)" -m venv .venv3$*
	.venv3$*/$(PIP_INSTALL) ".[dev,report]"
	PIP_CONSTRAINT=constraints.txt .venv3$*/bin/ds2ta lava install
	@touch $@
