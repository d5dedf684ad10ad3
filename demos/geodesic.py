"""Is a trained residual network a geodesic? It depends on how it was trained. (about 20 s)

The same points, the same labels, the same read-out, the same space of velocities; what differs is how the unknowns are
found. Where energy has a price and the optimum is found, the network is a geodesic: nothing that ends where it ends
could have gone there for less. Gradient descent without a price comes near; growing layers greedily does not.
"""

from pathlib import Path

import torch
from _pictures import ASSETS, save
from matplotlib.figure import Figure
from spirals import spirals
from torch import Tensor

import diffeo
from diffeo.diagnostics import geodesicity
from diffeo.training import GradientInV, Growth, Pontryagin, QuasiNewton, Way

WAYS: dict[str, tuple[Way, float]] = {
    "L-BFGS, priced": (QuasiNewton(), 1e-2),
    "successive approximations, priced": (Pontryagin(), 1e-2),
    "gradient in V, priced": (GradientInV(), 1e-2),
    "gradient in V, free": (GradientInV(), 0.0),
    "L-BFGS, free": (QuasiNewton(), 0.0),
    "grown layer by layer": (Growth(), 0.0),
}
COLORS = ("#0072B2", "#56B4E9", "#007A5A", "#E69F00", "#D55E00", "#CC79A7")


def trained(way: Way, price: float, x: Tensor, y: Tensor, depth: int, iterations: int) -> diffeo.Diffeo:
    """A network trained to bring the points to where a fixed read-out says what they are."""
    field = diffeo.KernelField(diffeo.GaussianKernel(0.4), x)
    phi = way.model(field, x, depth)
    loss = diffeo.SquaredLoss(diffeo.LinearReadOut(2, 2, trained=False))
    most = depth if isinstance(way, Growth) else iterations
    way.fit(phi, x, y, loss, weight=price, max_iterations=most, tolerance=1e-8)
    return phi.requires_grad_(False)


def main(n: int = 20, depth: int = 10, iterations: int = 200, out: Path = ASSETS / "geodesic.png") -> dict[str, float]:
    """Train in all ways, and compare what the networks spend with what the geodesics to their ends would."""
    x, label = spirals(n, turns=0.75)
    x, y = x.double(), torch.nn.functional.one_hot(label).double()
    found = {}
    for name, (way, price) in WAYS.items():
        found[name] = geodesicity(trained(way, price, x, y, depth, iterations), x)
        print(f"{name}: {found[name]}")
    save(picture(found), out)
    gaps = {name: item.gap for name, item in found.items()}
    assert gaps["L-BFGS, priced"] < 0.02
    assert gaps["grown layer by layer"] > 2 * gaps["L-BFGS, priced"]
    return gaps


def picture(found: dict) -> Figure:
    """How much more each network spends than it must, and how its speed changes along the depth."""
    figure = Figure(figsize=(13, 4.2))
    ax = figure.add_axes((0.22, 0.14, 0.3, 0.74))
    names = list(found)
    gaps = [max(100 * found[name].gap, 1e-3) for name in names]
    ax.barh(range(len(names)), gaps, color=COLORS)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="energy above that of the geodesic to the same ends, %")
    for k, gap in enumerate(gaps):
        ax.text(gap * 1.15, k, f"{gap:.2g}", va="center", fontsize=9)
    ax.set_xlim(1e-3, 8 * max(gaps))
    ax = figure.add_axes((0.6, 0.14, 0.37, 0.74))
    for color, name in zip(COLORS, names, strict=True):
        speeds = found[name].speeds
        ax.stairs(speeds / speeds.mean(), torch.linspace(0, 1, len(speeds) + 1), color=color, lw=2, baseline=None)
    ax.set(xlabel="depth, relative", ylabel="‖v‖ over its mean", ylim=(0, None))
    return figure


if __name__ == "__main__":
    main()
