"""Particles go downhill to a density that is known up to its constant: SVGD is a `Descent`. (about 10 s)

Steepest descent of KL(law of the particles ‖ π) in the space V of a kernel is Stein variational gradient descent
(Liu & Wang, 2016): no Markov chain, and no gradient of the particles' own density. Here every step is a layer of a
diffeomorphism: it is certified not to fold, so that the particles keep a density, and the plane goes along.
"""

from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.viz import plot
from diffeo.viz.style import FAINT, VERMILION, caption

BOX = torch.tensor([-2.8, -2.6]), torch.tensor([2.8, 3.0])


# region
def log_density(x: Tensor) -> Tensor:
    """A banana with an eye, up to its constant: two valleys in an energy, of different widths."""
    u, v = x.T
    arch = -((v + 0.8 - 0.45 * u.square()) / 0.3).square() / 2 - (u / 1.2).square() / 2
    eye = -(u.square() + (v - 1.6).square()) / (2 * 0.35**2) - 0.2
    return torch.logaddexp(arch, eye)


# endregion


def svgd(kernel: diffeo.GaussianKernel, x: Tensor) -> Tensor:
    """The direction of SVGD by its formula: mean over j of k(x_j, x) ∇log π(x_j) + ∇_{x_j} k(x_j, x)."""
    at = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_density(at).sum(), at)
    difference = x[:, None] - x
    k = (-difference.square().sum(-1) / (2 * kernel.scale**2)).exp()
    return (k @ score + (k[..., None] * difference).sum(1) / kernel.scale**2) / len(x)


def moments(x: Tensor, weights: Tensor) -> Tensor:
    """Mean and standard deviation of both coordinates."""
    weights = weights[:, None] / weights.sum()
    mean = (weights * x).sum(0)
    return torch.cat([mean, (weights * (x - mean).square()).sum(0).sqrt()])


def main(n: int = 400, layers: int = 150, out: Path = ASSETS / "svgd.png") -> float:
    """Grow the map, compare the particles with the density, and draw both."""
    # region
    x = 0.5 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel, loss = diffeo.GaussianKernel(0.5), diffeo.KLLoss(log_density)
    phi = diffeo.Descent(kernel)
    particles = diffeo.Samples(x)
    history = diffeo.fit(phi, [(particles, None)], loss, weight=0, max_iterations=layers, tolerance=None)
    # endregion

    first = phi.path(x)[1] - x
    direction = svgd(kernel, x)
    size = float((first * direction).sum() / direction.square().sum())
    same = float((first - size * direction).abs().max())
    axis = torch.linspace(-4, 4, 400, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis)
    truth = moments(plane, log_density(plane).exp())
    before, off = (float((moments(at, torch.ones_like(at[:, 0])) - truth).abs().max()) for at in (x, phi(x)))
    print(f"{len(history) - 1} layers; the first is {size:.2f} times SVGD's direction up to {same:.0e};", end=" ")
    print(f"means and deviations off by up to {before:.2f} before, {off:.2f} after")
    save(picture(phi, x), out)
    assert same < 1e-10
    assert off < 0.6 * before
    assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())  # no layer folds
    return off


def picture(phi: diffeo.Descent, x: Tensor) -> Figure:
    """Particles and the plane they are in, after some layers, over the density."""
    figure = Figure(figsize=(WIDTH, square(4) + 0.38))
    path = phi.path(x)
    lines = grid()
    planes = phi.path(torch.cat(lines))
    times = [0, *(max(1, round((len(path) - 1) * share)) for share in (0.03, 0.15, 1))]
    for ax, time in zip(squares(figure, 4, 0.06), times, strict=True):
        plot.density(ax, log_density, *(corner.double() for corner in BOX), bar=False)
        moved = planes[time].reshape(len(lines), -1, 2).numpy()
        ax.add_collection(LineCollection(list(moved), colors=FAINT, linewidths=0.4))
        ax.scatter(*path[time].T.numpy(), s=5, color=VERMILION, linewidths=0, zorder=3)
        caption(ax, "Start" if not time else f"{time} layer{'s' if time > 1 else ''}")
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return figure


def grid(lines: int = 21, fine: int = 150) -> list[Tensor]:
    """Lines across the box, each as points that are close together."""
    (left, bottom), (right, top) = (corner.tolist() for corner in BOX)
    found = []
    for share in torch.linspace(0, 1, lines).tolist():
        u = torch.linspace(left, right, fine, dtype=torch.float64)
        v = torch.linspace(bottom, top, fine, dtype=torch.float64)
        found.append(torch.stack([u, torch.full_like(u, bottom + share * (top - bottom))], 1))
        found.append(torch.stack([torch.full_like(v, left + share * (right - left)), v], 1))
    return found


if __name__ == "__main__":
    main()
