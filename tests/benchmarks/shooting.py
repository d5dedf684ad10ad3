"""The gradient of LDDMM shooting: Gaussian kernel, d = 3, float32, Ralston with 10 steps, momenta on all points.

Against KeOps as its users write it and against the same model in dense torch autograd; gradients are compared with
float64. Targets: 60 times KeOps as installed, 30 times KeOps built with -march=native -ffast-math, 8 times torch.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.flows import Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.solvers import Ralston
from tests.benchmarks import fresh
from tests.benchmarks import shooting_peers as peers
from tests.benchmarks.measure import Timing, alternately, once, table

SCALE = 0.5  # points lie on the unit sphere
STEPS = 10
DENSE = ["torch, autograd", "torch, by hand"]
MATRICES = 6  # n × n matrices that torch keeps per evaluation of Hamilton's equations: peak memory at n = 2000
MEMORY = 14e9  # bytes that a peer may take


@dataclass(frozen=True)
class Problem:
    """Points on a sphere, momenta that deform it clearly, and a target for the loss ½|q(1) − target|²."""

    q: Tensor
    p: Tensor
    target: Tensor

    @classmethod
    def of(cls, n: int, dtype: torch.dtype) -> Problem:
        g = torch.Generator().manual_seed(n)
        q, noise = (torch.randn(n, 3, generator=g, dtype=torch.float64) for _ in range(2))
        q = q / q.norm(dim=1, keepdim=True)
        p = (torch.sin(3 * q.roll(1, dims=1)) + 0.3 * noise) * 4 / n
        target = q + 0.3 * torch.sin(2 * q.roll(-1, dims=1))
        return cls(q.to(dtype), p.to(dtype), target.to(dtype))

    def gradient(self, shoot: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """∂/∂p of the loss."""
        p = self.p.clone().requires_grad_()
        loss = 0.5 * (shoot(self.q, p) - self.target).square().sum()
        return torch.autograd.grad(loss, p)[0]


def diffeo_gradient(problem: Problem) -> Tensor:
    """∂/∂p of the loss, by a `Geodesic` built anew."""
    phi = Geodesic(GaussianKernel(SCALE), problem.q, Ralston(), STEPS, problem.p, whiten=False)
    (0.5 * (phi(problem.q) - problem.target).square().sum()).backward()
    gradient = phi.unknown.coordinates.grad
    assert gradient is not None
    return gradient


def competitors(problem: Problem, names: list[str]) -> dict[str, Callable[[], Tensor]]:
    """What to time; a dense peer that would not fit into memory computes every step twice instead."""
    n, bytes_each = len(problem.q), problem.q.element_size()
    systems = {"KeOps": peers.keops, "torch, autograd": peers.torch_autograd, "torch, by hand": peers.torch_by_hand}
    runs: dict[str, Callable[[], Tensor]] = {"diffeo": lambda: diffeo_gradient(problem)}
    for name in names:
        system = systems[name](SCALE)
        thrifty = name in DENSE and MATRICES * 2 * STEPS * n * n * bytes_each > MEMORY
        shown = f"{name} *" if thrifty else name
        runs[shown] = lambda s=system, t=thrifty: problem.gradient(lambda q, p: peers.shoot(s, q, p, STEPS, t))
    return runs


def reference(n: int) -> Tensor:
    """The gradient in float64, by torch."""
    problem = Problem.of(n, torch.float64)
    system = peers.torch_by_hand(SCALE)
    return problem.gradient(lambda q, p: peers.shoot(system, q, p, STEPS, thrifty=True))


def compare(n: int, names: list[str], budget: float) -> list[list[str]]:
    """The rows of the table for n points."""
    timings = alternately(competitors(Problem.of(n, torch.float32), names), budget=budget)
    exact = reference(n)
    return [row(n, name, timing, timings["diffeo"], exact) for name, timing in timings.items()]


def row(n: int, name: str, timing: Timing, ours: Timing, exact: Tensor) -> list[str]:
    error = float((timing.result.double() - exact).norm() / exact.norm())
    cells = [f"{timing.cpu:.3f}", f"{timing.wall:.3f}", f"{timing.cpu / ours.cpu:.1f}", f"{error:.0e}"]
    return [f"{n} {name}", *cells]


def warm_up(names: list[str]) -> None:
    """Compile what there is to compile, and say how long it took."""
    problem = Problem.of(300, torch.float32)
    for name, run in competitors(problem, names).items():
        print(f"  first run at n = 300, {name}: {once(run).wall:.1f} s", flush=True)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.benchmarks shooting", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 1654, 2000, 5000])
    parser.add_argument("--peers", nargs="+", default=["KeOps", *DENSE], choices=["KeOps", *DENSE])
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for each competitor, beyond its first run")
    parser.add_argument("--keops-flags", action="store_true", help="again, with KeOps built for this machine")
    parser.add_argument("--cold", action="store_true", help="fresh processes: time to the first gradient, peak memory")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    chosen = options(arguments)
    if chosen.cold:
        fresh.first_gradient()
        fresh.peak_memory()
        return
    fresh.scratch("KEOPS_CACHE_FOLDER")  # compiled anew, so that its price is known
    run(chosen)
    if chosen.keops_flags and "CXXFLAGS" not in os.environ:
        fresh.with_keops_flags(["shooting", *arguments])


def run(chosen: argparse.Namespace) -> None:
    """Compile, measure, print."""
    flags = f'CXXFLAGS="{os.environ["CXXFLAGS"]}"' if "CXXFLAGS" in os.environ else "as installed"
    print(f"gradient of shooting, float32, {torch.get_num_threads()} thread(s), KeOps {flags}", flush=True)
    warm_up(chosen.peers)
    rows = [row for n in chosen.sizes for row in compare(n, chosen.peers, chosen.budget)]
    print(table(["n", "CPU s", "wall s", "ratio", "error"], rows), flush=True)
    if any("*" in line[0] for line in rows):
        print("* would not fit into memory: keeps the states between the steps only and computes every step twice.")
