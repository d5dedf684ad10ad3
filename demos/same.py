"""The same diffeomorphisms, the same loop: they register a shape, and they classify points. (about 10 s)

Only the words at the end of the equation differ: a curve and a varifold distance, or labelled points and the
cross-entropy of a read-out. Field, flow, solver, energy and optimizer are one and the same object's copies.
"""

import math
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from spirals import COLORS, MARKS
from torch import Tensor

import diffeo
from diffeo.viz.style import FAINT, INK, ORANGE, SMALL, caption


# region
def family() -> diffeo.Flow:
    """Twelve residual layers in the space of a Gaussian kernel, with momenta on a lattice of the plane."""
    axis = torch.linspace(-1.1, 1.1, 10, dtype=torch.float64)
    field = diffeo.KernelField(diffeo.GaussianKernel(0.3), torch.cartesian_prod(axis, axis))
    return diffeo.Flow(field, diffeo.Euler(), steps=12)


# endregion


def star(n: int, dents: float) -> diffeo.Curve:
    """A closed curve of n points: a circle, or a star with five rounded arms."""
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    radius = 0.65 * (1 + dents * (5 * angle).cos())
    index = torch.arange(n)
    x = radius[:, None] * torch.stack([angle.sin(), angle.cos()], 1)
    return diffeo.Curve(x, edges=torch.stack([index, (index + 1) % n], 1))


def rings(n: int) -> tuple[Tensor, Tensor]:
    """One class in an arc around half of the other: positions (2n, 2), labels (2n,)."""
    angle = torch.linspace(0, 1.6 * math.pi, n, dtype=torch.float64)
    around = 0.8 * torch.stack([angle.cos(), angle.sin()], 1)
    turn = torch.arange(n, dtype=torch.float64) * 2.39996
    inside = (0.4 * torch.linspace(0.05, 1, n, dtype=torch.float64)).sqrt()[:, None] * 0.6
    return torch.cat([around, inside * torch.stack([turn.cos(), turn.sin()], 1)]), torch.arange(2 * n) // n


def main(n: int = 90, iterations: int = 80, out: Path = ASSETS / "same.png") -> float:
    """Register, classify, and draw what each made of the plane."""
    # region
    shape = family()
    source, target = star(n, 0.0), star(n, 0.3)
    loss = diffeo.VarifoldLoss(diffeo.GaussianKernel(0.15))
    first = diffeo.fit(shape, [(source, target)], loss, weight=1e-3, max_iterations=iterations)

    network, (x, label) = family(), rings(n)
    read_out = diffeo.CrossEntropyLoss(diffeo.LinearReadOut(2, 2))
    second = diffeo.fit(network, [(diffeo.Points(x), label)], read_out, weight=1e-3, max_iterations=iterations)
    # endregion
    right = float((read_out.predict(network @ diffeo.Points(x)).argmax(1) == label).double().mean())
    for name, history in (("shape ", first), ("points", second)):
        print(f"{name}: data term {history[0].data:.3f} → {history[-1].data:.1e}, energy {history[-1].energy:.2f}")

    figure = Figure(figsize=(WIDTH, square(4) + 0.38))
    panels = squares(figure, 4, 0.06)
    for ax, phi, title in zip(panels, (None, shape), ("A circle and a star", "Registered"), strict=False):
        plane(ax, phi, title)
        moved = source if phi is None else phi @ source
        for curve, color, width, name in ((target, ORANGE, 4.0, "target"), (moved, INK, 1.5, "source")):
            lines = list(curve.x[curve.edges].detach().numpy())
            ax.add_collection(LineCollection(lines, colors=color, linewidths=width, label=name))
    for ax, phi, title in zip(
        panels[2:], (None, network), ("Two classes", f"Classified: {right:.0%} right"), strict=True
    ):
        plane(ax, phi, title)
        y = x if phi is None else phi(x).detach()
        for c, (color, mark) in enumerate(zip(COLORS, MARKS, strict=True)):
            at = y[label == c].T.numpy()
            ax.scatter(*at, s=9, c=color, marker=mark, linewidths=0, zorder=3, label=f"class {c}")
    for ax in panels[::2]:
        ax.legend(loc="lower center", fontsize=SMALL, ncols=2, frameon=False, handletextpad=0.4, borderpad=0.1)
    save(figure, out)
    assert first[-1].data < first[0].data / 50
    assert right == 1
    assert all(bool(torch.isfinite(phi.with_logdet(x)[1]).all()) for phi in (shape, network))
    return right


def plane(ax: Axes, phi: diffeo.Flow | None, title: str) -> None:
    """The lattice of the plane, as φ leaves it."""
    axis, lines = torch.linspace(-1.2, 1.2, 100), torch.linspace(-1.2, 1.2, 23)
    across = torch.stack([torch.stack([axis, line.expand(100)], 1) for line in lines]).double()
    lattice = torch.cat([across, across.flip(-1)]).reshape(-1, 2)
    with torch.no_grad():
        lattice = lattice if phi is None else phi(lattice)
    ax.add_collection(LineCollection(lattice.reshape(-1, 100, 2).numpy(), colors=FAINT, linewidths=0.4, alpha=0.6))
    caption(ax, title)
    ax.set(aspect="equal", xlim=(-1.5, 1.5), ylim=(-1.6, 1.4), xticks=[], yticks=[])
    ax.spines[:].set_color(FAINT)


if __name__ == "__main__":
    main()
