# Two commands do everything: `make demo` and `make test`. They need python3 (3.11 or later) and make, nothing else.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# OpenMP threads that spin while they wait take the cores from everybody else on a busy machine.
export OMP_WAIT_POLICY ?= passive
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# As many processes as cores, each on one thread: twice the threads would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: setup demo gallery test fast lint types layers bench clean

setup: .venv/ready

# constraints.txt pins torch: without it pip takes the newest one, built for CUDA, several gigabytes.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[test]"
	@touch $@

demo: .venv/ready
	$(BIN)/python demos/first.py

# Every demo, two at a time: a page of them in gallery/, and the pictures of the README.
gallery: .venv/ready
	$(BIN)/python demos/_gallery.py

test: .venv/ready
	$(PYTEST)

fast: .venv/ready
	$(PYTEST) -m "not slow"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# pyright runs on Node.js: the extra brings it as a wheel; otherwise pyright would look for one, or download it.
.venv/node: .venv/ready
	@$(PIP) "pyright[nodejs]" || \
		{ echo "make types: pyright needs Node.js, and its wheel could not be installed (see above)." >&2; exit 1; }
	@touch $@

types: .venv/node
	$(BIN)/pyright

layers: .venv/ready
	$(BIN)/python -m pytest tests/test_layers.py

bench: .venv/ready
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv demo-out gallery
