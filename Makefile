# Every command does its own set-up: it makes .venv, installs what it needs there and compiles what changed.
#
#   make demo       a network learns handwritten digits     DEMO="--epochs 5" for its options
#   make test       the tests                               TESTS="tests/test_layering.py -k cycle" for some of them
#   make test-all   the slow ones too; its result stands in docs/test-all.txt
#   make lint       ruff, clang-format, types
#   make format     puts C++ into the house's format
#   make asan       the tests under AddressSanitizer, UBSan and guard mode
#   make fuzz       random calls of every operator, under the same          FUZZ="--calls 1000000 --seed 3 --jobs 2"
#   make docs       a page for every operator, under build/docs
#   make bench      speed; beside PyTorch where TORCH_PYTHON names a Python that has it    BENCH=--help for its options
#   make clean      removes what these made

SHELL := /bin/bash
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKERS ?= 2
TESTS ?= tests
export VENV

.PHONY: demo test test-all lint format asan fuzz docs bench clean
.NOTPARALLEL:

demo:
	@tools/setup demo
	@$(RUN) -m flambeau demo $(DEMO)

test:
	@tools/setup test demo
	@$(RUN) -m pytest -n $(WORKERS) -m "not slow" $(TESTS)

test-all:
	@tools/setup test demo
	@$(if $(filter-out tests,$(TESTS)),,tools/record docs/test-all.txt) $(RUN) -m pytest -n $(WORKERS) $(TESTS)

lint:
	@tools/setup lint
	@$(RUN) -m ruff check .
	@find csrc tests -type f \( -name '*.h' -o -name '*.cpp' \) -print0 | xargs -0 $(VENV)/bin/clang-format --dry-run --Werror
	@$(RUN) -m mypy

format:
	@tools/setup lint
	@$(RUN) -m ruff check --fix-only --quiet .
	@find csrc tests -type f \( -name '*.h' -o -name '*.cpp' \) -print0 | xargs -0 $(VENV)/bin/clang-format -i

asan:
	@tools/setup test demo
	@PYTHON=$(RUN) tools/asan $(TESTS)

fuzz:
	@tools/setup test demo
	@PYTHON=$(RUN) tools/asan --python -m fuzz --verbose $(FUZZ)

docs:
	@tools/setup test demo
	@$(RUN) tools/make_docs.py pages build/docs

bench:
	@tools/setup test demo
	@$(RUN) bench/compare.py $(BENCH)

clean:
	rm -rf $(VENV) build build-* .pytest_cache .ruff_cache .mypy_cache
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +
	rm -f src/flambeau/_core*.so
