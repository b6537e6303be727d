# Two commands do everything: `make demo` and `make test`. Works with GNU make 3.81 and newer.
#   PYTHON       which Python makes .venv (3.11, 3.12 or 3.13; found by itself when not given)
#   TORCH_INDEX  URL of a package index to take torch from (for example one with CPU-only or
#                CUDA builds); empty: the registry that pip is set up with
#   WORKERS      processes that `make test` runs tests in (auto: one per core)

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; raise SystemExit(not (3,11) <= sys.version_info[:2] <= (3,13))' \
  >/dev/null 2>&1 && { echo $$p; break; }; done)
TORCH_INDEX ?=
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

.PHONY: demo test test-long test-peers gpu lint bench docs site ui setup browser datasets site-tools \
	ray s3-server clean

demo: $(STAMP)
	$(BIN)/sae demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-long: $(STAMP) browser datasets site-tools ray s3-server
	$(BIN)/python -m pytest -m "long and not gpu"

test-peers: $(STAMP)
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.peer_exchange

# On a machine with a CUDA device: the kernels compiled, compute-sanitizer on each where it is
# installed, a whole step as one CUDA graph; then, whatever came out, the benchmark of kernels.
gpu: $(STAMP)
	@$(BIN)/python -m pytest -m gpu -rs; tests=$$?; \
	$(BIN)/python -m benchmarks kernels_gpu && exit $$tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)
	$(BIN)/python -m benchmarks

docs: $(STAMP)
	$(BIN)/python -m pipeline.documents

site: site-tools
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

ui: $(STAMP)
	$(BIN)/sae ui

setup: $(STAMP)

browser: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt playwright

datasets: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt datasets

site-tools: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt mkdocs

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 was found. \
	Install one of them, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	@"$(PYTHON)" -c pass >/dev/null 2>&1 || { echo "error: PYTHON=$(PYTHON) does not run. \
	Give Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	  sys.exit(0 if (3,11) <= sys.version_info[:2] <= (3,13) else \
	  "error: Python " + v + " was given; 3.11, 3.12 or 3.13 is needed. Name one: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) with $(PYTHON): about 110 pinned packages, 0.4 GB to download,"
	@echo "and $(TORCH): 0.2 GB as a CPU build; a CUDA build on Linux is 1 GB and brings"
	@echo "several GB of CUDA packages. TORCH_INDEX=<url> chooses where torch comes from;"
	@echo "now: $(if $(TORCH_INDEX),$(TORCH_INDEX),the registry that pip is set up with)."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

ray: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt ray

s3-server: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt "moto[s3]" flask flask-cors

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
