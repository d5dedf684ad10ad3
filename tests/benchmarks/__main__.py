"""Which benchmark, and on how many threads: variables that must be set before torch and KeOps are imported."""

from __future__ import annotations

import importlib
import os
import sys

BENCHMARKS = ("shooting", "surfaces", "images", "readouts", "residual", "learning", "ways", "densities")


def main(arguments: list[str]) -> int:
    names = [arguments.pop(0)] if arguments and not arguments[0].startswith("-") else list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that spin while waiting burn the CPU time we count
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PYKEOPS_VERBOSE", "0")
    os.environ.setdefault("KEOPS_VERBOSE", "0")
    for name in names:
        importlib.import_module(f"tests.benchmarks.{name}").main(arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
