"""Read-outs that are solved for: value and gradient in the positions, d = 8, float64, against plain torch autograd.

The peer writes the kernel matrix by one matrix product, and lets torch solve, and differentiate all of it. Target: a
kernel ridge read-out of 2,000 points twice as fast as the fastest way to write it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from diffeo.kernels import GaussianKernel
from diffeo.losses import KernelRidgeLoss, LeaveOneOutLoss, LikelihoodLoss
from diffeo.shapes import Points
from tests.benchmarks.measure import alternately, table

SCALE, PENALTY = 2.0, 1e-2


def data(n: int, d: int = 8) -> tuple[Tensor, Tensor]:
    """Normal points, and a wave over them with noise."""
    draw = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=draw, dtype=torch.float64)
    y = x.sum(1, keepdim=True).sin() + 0.1 * torch.randn(n, 1, generator=draw, dtype=torch.float64)
    return x, y - y.mean()


def dense(x: Tensor) -> Tensor:
    """K + λI."""
    squares = x.square().sum(1)
    u = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)
    return torch.exp(u / (-2 * SCALE**2)) + PENALTY * torch.eye(len(x), dtype=x.dtype)


def ridge(x: Tensor, y: Tensor) -> Tensor:
    """λ/2n yᵀ(K + λI)⁻¹y; torch's general solver has a cheaper derivative than its Cholesky factorization."""
    return PENALTY / (2 * len(x)) * (y * torch.linalg.solve(dense(x), y)).sum()


def ridge_by_cholesky(x: Tensor, y: Tensor) -> Tensor:
    """The same."""
    return PENALTY / (2 * len(x)) * (y * torch.cholesky_solve(y, torch.linalg.cholesky(dense(x)))).sum()


def likelihood(x: Tensor, y: Tensor) -> Tensor:
    """The part of −log p(y)/n that depends on x, at the most likely amplitude."""
    matrix = dense(x)
    return 0.5 * torch.logdet(matrix) / len(x) + 0.5 * (y * torch.linalg.solve(matrix, y)).sum().log()


def left_out(x: Tensor, y: Tensor) -> Tensor:
    """Half the mean square of left-out errors."""
    inverse = torch.linalg.inv(dense(x))
    return 0.5 * ((inverse @ y) / inverse.diagonal()[:, None]).square().mean()


LOSSES = {
    "kernel ridge": (KernelRidgeLoss(GaussianKernel(SCALE), PENALTY), ridge),
    "kernel ridge, Cholesky": (KernelRidgeLoss(GaussianKernel(SCALE), PENALTY), ridge_by_cholesky),
    "likelihood": (LikelihoodLoss(GaussianKernel(SCALE), PENALTY), likelihood),
    "left-out errors": (LeaveOneOutLoss(GaussianKernel(SCALE), PENALTY), left_out),
}


def gradient(value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂/∂x."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(value(x), x)[0]


def main(arguments: list[str]) -> None:
    """Print a row per loss and number of points."""
    parser = argparse.ArgumentParser(prog="readouts", description=__doc__)
    parser.add_argument("-n", type=int, nargs="+", default=[500, 1000, 2000])
    rows = []
    for n in parser.parse_args(arguments).n:
        x, y = data(n)
        for name, (loss, plain) in LOSSES.items():
            best = alternately(
                {
                    "diffeo": lambda loss=loss, x=x, y=y: gradient(lambda z: loss(Points(z), y), x),
                    "torch": lambda plain=plain, x=x, y=y: gradient(lambda z: plain(z, y), x),
                }
            )
            ours, peer = best["diffeo"], best["torch"]
            error = float((ours.result - peer.result).abs().max() / peer.result.abs().max())
            ratio = f"{peer.cpu / ours.cpu:.1f}"
            rows.append([name, f"{n}", f"{1e3 * ours.cpu:.0f} ms", f"{1e3 * peer.cpu:.0f} ms", ratio, f"{error:.0e}"])
    print(table(["value and gradient", "points", "diffeo", "torch", "ratio", "difference"], rows))
