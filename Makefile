# Two commands do everything: `make demo` and `make test`. They need python3 (3.11 or later) and make, nothing else.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# OpenMP threads that spin while they wait take the cores from everybody else on a busy machine.
export OMP_WAIT_POLICY ?= passive
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# As many processes as cores, each on one thread: twice the threads would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: setup demo pictures test fast lint types layers bench clean

setup: .venv/ready

# constraints.txt pins torch: without it pip takes the newest one, built for CUDA, several gigabytes.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[test]"
	@touch $@

demo: .venv/ready
	$(BIN)/python demos/first.py

# The pictures of the README, made anew.
pictures: .venv/ready
	$(BIN)/python demos/first.py --picture
	for demo in curves surfaces landmarks three_ways slices volumes compound spirals depth rkhs_node geodesic pl same; do $(BIN)/python demos/$$demo.py || exit 1; done

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
	rm -rf .venv demo-out
