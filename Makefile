# make demo    see frames judged live on this machine
# make demo-watch  the same until Ctrl-C, with the live page in a browser
# make test    lint, types, contracts between the rooms, tests
# make bench   what the service costs on this machine, into benchmarks/ (8 minutes, nothing beside it)
# make bench-gpu  how near the models come to what a GPU can do; a line where there is none
# make docs    the reference pages and the dashboards, written anew from the code
# make lock    requirements.lock anew, from pyproject.toml, which also says which torch
# Each sets up what it needs in .venv first, from the pinned versions in requirements.lock.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Debian's python3 makes environments without pip unless python3-venv is there: pip outside does it.
PIP = $$(test -e $(BIN)/pip && echo $(BIN)/python -m pip || echo $(PYTHON) -m pip --python $(BIN)/python) \
	install --quiet --disable-pip-version-check
# Not locked: onnxruntime's CUDA and torch's want different ones, and pip finds what suits both.
NVIDIA := cublas cuda-nvrtc cuda-runtime cudnn-cu13 cufft curand nvjitlink
INPUTS := pyproject.toml requirements.lock hitfinder/__init__.py

.PHONY: demo demo-watch test lint bench bench-gpu docs lock clean

demo: .venv/installed
	@$(BIN)/hitfinder demo

demo-watch: .venv/installed
	@$(BIN)/hitfinder demo --watch

test: .venv/installed-dev lint
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: .venv/installed-dev
	@$(BIN)/python -m benchmarks.run

bench-gpu:
	@if nvidia-smi -L >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory .venv-gpu/installed && .venv-gpu/bin/python -m benchmarks.gpu; \
	else echo "no GPU is measured: nvidia-smi finds none; docs/how-to/gpu.md says what it takes"; fi

docs: .venv/installed-dev
	$(BIN)/python -m hitfinder.commands.reference docs/reference
	$(BIN)/python -m deploy.grafana

lock: .venv/bin/python
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		$(foreach name,$(NVIDIA),--no-emit-package nvidia-$(name)) \
		--no-emit-index-url --custom-compile-command "make lock" -o requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-gpu .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "hitfinder needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -m venv .venv 2>/dev/null || $(PYTHON) -m venv --clear --without-pip .venv

.venv/installed: .venv/bin/python $(INPUTS)
	@echo "setting up .venv (once; about 400 MB)"
	@$(PIP) -c requirements.lock -e '.[monitor]'
	@touch $@

# torch and ONNX Runtime side by side, both with CUDA: an environment of its own.
.venv-gpu/installed: $(INPUTS)
	@echo "setting up .venv-gpu (once; about 8 GB)"
	@$(PYTHON) -m venv .venv-gpu
	@.venv-gpu/bin/python -m pip install --quiet -c requirements.lock -e '.[cuda,train]'
	@touch $@

.venv/installed-dev: .venv/bin/python $(INPUTS)
	@echo "setting up .venv for development (once; about 2 GB)"
	@$(PIP) -c requirements.lock -e '.[dev]'
	@touch $@
