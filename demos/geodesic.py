"""Is a trained residual network a geodesic? It depends on how it was trained. (about 40 s)

The same points, the same labels, the same read-out, the same space of velocities; what differs is how the unknowns are
found. Where energy has a price and the optimum is found, the network is a geodesic: nothing that ends where it ends
could have gone there for less. Gradient descent without a price comes near; growing layers greedily does not.
"""

from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from spirals import spirals
from torch import Tensor

import diffeo
from diffeo.diagnostics import geodesicity
from diffeo.training import GradientInV, Growth, Pontryagin, QuasiNewton, Way
from diffeo.viz.style import BLUE, FAINT, GREEN, INK, LARGE, NORMAL, SMALL, dress

# region
WAYS: dict[str, tuple[Way, float]] = {
    "L-BFGS, priced": (QuasiNewton(), 1e-2),
    "successive approximations, priced": (Pontryagin(), 1e-2),
    "gradient in V, priced": (GradientInV(), 1e-2),
    "gradient in V, free": (GradientInV(), 0.0),
    "L-BFGS, free": (QuasiNewton(), 0.0),
    "grown layer by layer": (Growth(), 0.0),
}


def trained(way: Way, price: float, x: Tensor, y: Tensor, depth: int, iterations: int) -> diffeo.Diffeo:
    """A network trained to bring the points to where a fixed read-out says what they are."""
    field = diffeo.KernelField(diffeo.GaussianKernel(0.4), x)
    phi = way.model(field, x, depth)
    loss = diffeo.SquaredLoss(diffeo.LinearReadOut(2, 2, trained=False))
    most = depth if isinstance(way, Growth) else iterations
    way.fit(phi, x, y, loss, weight=price, max_iterations=most, tolerance=1e-8)
    return phi.requires_grad_(False)


# endregion


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
    """How much more each network spends than it must, and beside it how its speed changes along the depth."""
    names, row, left, bottom = list(found), 0.43, 2.35, 0.55  # inches
    height = bottom + row * len(names) + 0.35
    figure = Figure(figsize=(WIDTH, height))
    ax = figure.add_axes((left / WIDTH, bottom / height, 3.4 / WIDTH, row * len(names) / height))
    gaps = [max(100 * found[name].gap, 1e-3) for name in names]
    ax.barh(range(len(names)), gaps, height=0.6, color=[BLUE if "priced" in name else GREEN for name in names])
    dress(ax, "energy above that of the geodesic to the same ends, %", "")
    ax.set(xscale="log", xlim=(0.1, 6 * max(gaps)), ylim=(len(names) - 0.5, -0.5))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(names)), names, fontsize=NORMAL)
    ax.tick_params("y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    for k, gap in enumerate(gaps):
        ax.text(gap * 1.12, k, f"{gap:.2g} %", va="center", fontsize=NORMAL, color=INK)
    left += 3.4 + 0.5
    fastest = max(float((found[name].speeds / found[name].speeds.mean()).max()) for name in names)
    for k, name in enumerate(names):
        y = bottom + row * (len(names) - 1 - k + 0.12)
        beside = figure.add_axes((left / WIDTH, y / height, (WIDTH - left - 0.25) / WIDTH, 0.76 * row / height))
        speeds = found[name].speeds / found[name].speeds.mean()
        beside.axhline(1, color=FAINT, lw=0.8, ls=":")
        beside.stairs(speeds, torch.linspace(0, 1, len(speeds) + 1), color=INK, lw=1.6, baseline=None)
        dress(beside, "depth, relative" if name == names[-1] else "", "")
        beside.set(xlim=(0, 1), ylim=(0, 1.1 * fastest), yticks=[0, 1, 2] if fastest > 1.9 else [0, 1])
        beside.tick_params(labelsize=SMALL, labelbottom=name == names[-1])
    title = {"y": 1 - 0.1 / height, "va": "top", "fontsize": LARGE, "color": INK}
    figure.text(0.08 / WIDTH, s="How trained", **title)
    figure.text((left - 3.9) / WIDTH, s="Energy that it could spare", **title)
    figure.text(left / WIDTH, s="Speed ‖v‖ over its mean", **title)
    return figure


if __name__ == "__main__":
    main()
