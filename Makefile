# Nothing needs to be set up first: `make demo` and `make test` create .venv and install into it what is missing.
#
#   PYTHON=...      the interpreter .venv is made with (default: python3.11, else python3)
#   PYTEST_ARGS=... more arguments for pytest, for example PYTEST_ARGS="tests/graph -x"

PYTEST_ARGS ?=
PORTABILITY := tests/portability

# The first of some interpreters that really starts; a pyenv shim for a version that is not enabled does not.
first_working = $(shell for python in $(1); do "$$python" -c '' 2>/dev/null && { echo "$$python"; break; }; done)
# Interpreter $(1), "3.12" for example: on the PATH, or one that pyenv keeps.
find_python = $(call first_working,python$(1) $(wildcard $(shell pyenv root 2>/dev/null)/versions/$(1).*/bin/python$(1)))

PYTHON ?= $(call first_working,python3.11 python3)

PIP_INSTALL := bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-no-torch test-all faults check format portability clean distclean
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

test-all: .venv/.installed python-3.10 ## run the tests, the slow ones too, then test-no-torch
	.venv/bin/pytest -m "not portability" $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-no-torch

faults: .venv/.installed ## put thousands of faults into artifacts and print how many verification notices
	.venv/bin/pytest -m "slow or not slow" -s tests/faults $(PYTEST_ARGS)

check: .venv/.installed ## lint, formatting, types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy ds2ta_deploy benchmarks

format: .venv/.installed ## format, and mend what the linter can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

portability: .venv/.portability $(PORTABILITY)/node_modules/.package-lock.json ## compare onnxruntime, onnxruntime-web and OpenVINO
	.venv/bin/pytest -m portability $(PORTABILITY) $(PYTEST_ARGS)

clean: ## remove builds and caches
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ds2ta_deploy exporters runtimes benchmarks examples tests -name __pycache__ -not -path '*/node_modules/*' -exec rm -rf {} +

distclean: clean ## remove the environments as well
	rm -rf .venv .venv310 .venv312 .venv313 $(PORTABILITY)/node_modules

# --- environments: made once, brought up to date when the project's requirements change -----------------------------

.venv/.installed: pyproject.toml constraints.txt
	@test -x .venv/bin/python || test -n "$(PYTHON)" || { echo "no Python found; install 3.11 or say PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing into .venv what pyproject.toml asks for, PyTorch included; the first time takes a few minutes."
	test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	.venv/$(PIP_INSTALL) ".[torch,dev]"
	PIP_CONSTRAINT=constraints.txt .venv/bin/ds2ta lava install
	@touch $@

.venv/.portability: .venv/.installed
	.venv/$(PIP_INSTALL) ".[torch,dev,portability]"
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
	    echo "Python 3.$*, without PyTorch:" && .venv3$*/bin/pytest $(PYTEST_ARGS); \
	fi

.venv312/.installed .venv313/.installed: .venv3%/.installed: pyproject.toml constraints.txt
	test -x .venv3$*/bin/python || "$(call find_python,3.$*)" -m venv .venv3$*
	.venv3$*/$(PIP_INSTALL) ".[dev]"
	PIP_CONSTRAINT=constraints.txt .venv3$*/bin/ds2ta lava install
	@touch $@
