"""What only a fresh process can tell: the time to the first gradient, peak memory, KeOps built with other flags."""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

MEGABYTE = 1 << 20
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, by getrusage(2)


def scratch(variable: str) -> None:
    """An empty folder under the name of an environment variable, until the process ends; the user's own if named.

    To be called before KeOps is imported: it still writes into its cache when the process ends, in the reverse order.
    """
    if variable not in os.environ:
        os.environ[variable] = tempfile.mkdtemp(prefix="diffeo-benchmark-")
        atexit.register(shutil.rmtree, os.environ[variable], ignore_errors=True)


def child(what: str, **variables: str) -> tuple[float, str]:
    """Run a function of this module in a fresh process: wall seconds from its start to its end, and what it prints."""
    start = time.perf_counter()
    command = [sys.executable, "-c", f"from tests.benchmarks import fresh; fresh.{what}()"]
    done = subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout.strip()


def with_keops_flags(arguments: list[str]) -> None:
    """The same benchmark against KeOps built for this machine."""
    variables = {**os.environ, "CXXFLAGS": "-march=native -ffast-math"}
    variables.pop("KEOPS_CACHE_FOLDER", None)  # what was compiled without the flags
    subprocess.run([sys.executable, "-m", "tests.benchmarks", *arguments], env=variables, check=True)


def first_gradient() -> None:
    """From nothing to the first gradient: interpreter, imports, compilation, one run at n = 1000. Target: 10 s."""
    with tempfile.TemporaryDirectory(prefix="diffeo-benchmark-") as cache:
        for title in ("empty caches", "warm caches"):
            seconds, _ = child("shoot_1000", DIFFEO_CACHE=cache)
            print(f"fresh process, {title}, to the first gradient at n = 1000: {seconds:.1f} s", flush=True)


def shoot_1000() -> None:
    import torch

    from tests.benchmarks.shooting import Problem, diffeo_gradient

    diffeo_gradient(Problem.of(1000, torch.float32))


def peak_memory() -> None:
    """50,000 passengers on 2,000 controls, shot and differentiated. Target: 2 GB."""
    _, printed = child("shoot_passengers")
    print(f"50,000 passengers on 2,000 controls: {printed}")


def shoot_passengers() -> None:
    import torch

    from diffeo.flows import Geodesic
    from diffeo.kernels import GaussianKernel
    from tests.benchmarks.measure import once
    from tests.benchmarks.shooting import SCALE, Problem

    passengers, controls = (Problem.of(n, torch.float32) for n in (50_000, 2_000))
    before = peak()
    phi = Geodesic(GaussianKernel(SCALE), controls.q, momenta=controls.p, whiten=False)

    def run() -> None:
        (phi(passengers.q) - passengers.target).square().sum().backward()

    first, second = once(run), once(run)
    print(
        f"peak memory {peak() / 1024:.2f} GB, of which {before / 1024:.2f} for the imports; {second.cpu:.1f} CPU-s, "
        f"compilation {first.cpu - second.cpu:.1f} CPU-s"
    )


def peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / MEGABYTE
