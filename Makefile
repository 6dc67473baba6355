# Everything the project does. On a new machine, `make demo` and `make test` are enough.

UV_VENV := .uv
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo $(UV_VENV)/bin/uv)
RUN := $(UV) run --no-sync
CPP := $(shell git ls-files --cached --others --exclude-standard 'native/*.cpp' 'native/*.hpp' 'src/*.cpp' 'src/*.hpp' 2>/dev/null)

.PHONY: demo serve test install-torch test-torch sfpi forge test-forge wheels test-wheels lint format bench docs install clean

demo: install
	$(RUN) bitnet-tt generate --model demo --max-new-tokens 120 --stats "Once upon a time, there was a little fox"

# A server with the chat page at http://localhost:8080.
serve: EXTRAS += server
serve: install
	$(RUN) bitnet-tt serve --model demo

# With the programs of others that the server is tested with. The tests of many workers run where only loopback is. The
# tests of a file stay in one process; the files keep their order, as the longest come early.
test: GROUPS += clients
test: install
	$(RUN) pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --ignore tests/scale
	$(RUN) python -m tools.loopback_only pytest tests/scale

# The tests that need PyTorch, in an environment of their own: its CUDA build is large, and must never be beside ttnn. The
# models are small: one thread is as fast as two, and on a busy machine much faster.
IN_TORCH_VENV := UV_PROJECT_ENVIRONMENT=build/torch-venv
install-torch: $(UV)
	$(IN_TORCH_VENV) $(UV) sync --quiet --extra stablehlo

test-torch: install-torch
	$(IN_TORCH_VENV) OMP_NUM_THREADS=1 $(RUN) pytest -m torch -rs -n auto --maxprocesses 4 --dist worksteal

# Tenstorrent's kernel compiler, for the tests that compile our kernels with it. It comes from a package that contains it.
PLUGIN := build/tt-plugin
sfpi: $(UV)
	$(UV) pip install --quiet --target $(PLUGIN) --no-deps --require-hashes -r tests/forge/plugin.txt
	$(UV) run --quiet --isolated --no-project --with zstandard==0.25.0 \
		python tools/unpack_sfpi.py $(PLUGIN)/jax_plugins/libtt/libtt.so build/sfpi

# TT-Forge's compiler, with PyTorch, for the tests that compile our module for a card. Never beside ttnn.
FORGE_VENV := build/forge-venv
forge: $(UV)
	UV_PROJECT_ENVIRONMENT=$(FORGE_VENV) $(UV) sync --quiet --inexact --extra stablehlo
	$(UV) pip install --quiet --python $(FORGE_VENV) --no-deps --require-hashes -r tests/forge/plugin.txt

test-forge: forge install
	$(RUN) pytest -m "forge and not slow" -rs

# Wheels for Linux with glibc 2.17 or later, compiled by zig, in dist: see docs/release.md.
MACHINES := x86_64 aarch64
WHEELS := build/wheels
WHEEL_TOOL := $(UV) run --quiet --isolated --only-group wheels
wheels: $(UV)
	rm -rf $(WHEELS) dist
	set -e; for machine in $(MACHINES); do \
		BITNET_ZIG=$$machine $(UV) build --quiet --wheel -C build-dir=$(WHEELS)/$$machine --out-dir $(WHEELS); \
		$(WHEEL_TOOL) auditwheel repair --wheel-dir dist $(WHEELS)/*_$$machine.whl; \
	done
	$(WHEEL_TOOL) abi3audit --strict --report dist/*.whl

test-wheels: install
	$(RUN) pytest -m wheels -rs

lint: install
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) clang-format --dry-run --Werror $(CPP)

format: install
	$(RUN) ruff check --fix
	$(RUN) ruff format
	$(RUN) clang-format -i $(CPP)

# Measures speed and memory of a random model with 2B4T's exact shape (1.2 GB, created once under build/).
bench: install
	$(RUN) bitnet-tt bench --synthetic 2b4t --cache-dir build/bench

docs: $(UV)
	$(UV) run --quiet --group docs mkdocs build --strict

# EXTRAS=tt also installs ttnn, where its wheel exists. Its tests then run in mock mode.
install: $(UV)
	$(UV) sync --quiet $(addprefix --extra ,$(EXTRAS)) $(addprefix --group ,$(GROUPS))

# Installs uv into a virtual environment of its own, if the machine has none.
$(UV_VENV)/bin/uv:
	python3 -m venv $(UV_VENV)
	$(UV_VENV)/bin/pip install --quiet 'uv>=0.5,<1'

clean:
	rm -rf .venv $(UV_VENV) build dist
