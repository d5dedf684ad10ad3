"""A residual network untangles two spirals: watch the data flow. (about 12 s)

Training is registration: labelled points are carried to where one straight line tells them apart, and going far is
paid for. The network is a diffeomorphism of the plane, so that everything between the points goes along, and back.
"""

import math
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.viz.film import Film, write_film
from diffeo.viz.style import BLUE, FAINT, ORANGE, SMALL, caption

COLORS, MARKS = (BLUE, ORANGE), "o^"  # of the classes: told apart without color, too


# region
def spirals(n: int, turns: float = 1.5) -> tuple[Tensor, Tensor]:
    """Two interleaved spirals of n points each: positions (2n, 2) and labels (2n,)."""
    label = torch.arange(2 * n) % 2
    radius = torch.linspace(0.12, 1, n).repeat_interleave(2)
    angle = 2 * math.pi * turns * radius + math.pi * label
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), label


# endregion


def main(n: int = 150, steps: int = 20, iterations: int = 150, out: Path = ASSETS / "spirals.png") -> float:
    """Train, look at it, and see that the map is one: no fold, an inverse, all labels right."""
    # region
    x, label = spirals(n)
    phi = diffeo.Flow(diffeo.FeatureField(diffeo.GaussianKernel(0.3), dim=2, width=256), diffeo.Euler(), steps)
    loss = diffeo.CrossEntropyLoss(diffeo.LinearReadOut(2, 2))
    history = diffeo.fit(phi, [(diffeo.Points(x), label)], loss, weight=3e-3, max_iterations=iterations)
    phi.requires_grad_(False)
    loss.requires_grad_(False)

    right = float((loss.predict(phi @ diffeo.Points(x)).argmax(1) == label).float().mean())
    volumes = phi.with_logdet(x)[1].exp()
    # endregion
    print(f"{right:.1%} right; cross-entropy {history[0].data:.2f} → {history[-1].data:.1e}", end="; ")
    print(f"energy {history[-1].energy:.2f}; det Dφ from {volumes.min():.2f} to {volumes.max():.2f}")
    save(picture(phi, loss, x, label), out)
    write_film(Flowing(phi, x, label), out.with_suffix(".gif"), seconds=2.5, dpi=85)
    assert right == 1
    assert bool(torch.isfinite(volumes).all())  # no layer folds
    assert float((phi.inverse(phi(x)) - x).abs().max()) < 1e-4
    return right


def dots(ax: Axes, x: Tensor, label: Tensor, path: Tensor) -> None:
    """The points, in the colors and with the marks of their classes, in a square that shows the whole path."""
    for k, (color, mark) in enumerate(zip(COLORS, MARKS, strict=True)):
        ax.scatter(*x[label == k].T.numpy(), s=8, c=color, marker=mark, linewidths=0, zorder=3, label=f"class {k}")
    a, b = ((path.amax((0, 1)) + path.amin((0, 1))) / 2).tolist()
    reach = 0.54 * float((path.amax((0, 1)) - path.amin((0, 1))).max())
    ax.set(aspect="equal", xticks=[], yticks=[], xlim=(a - reach, a + reach), ylim=(b - reach, b + reach))
    ax.spines[:].set_color(FAINT)


def lattice(lines: int = 25, fine: int = 200) -> Tensor:
    """Lines across the plane, one after the other, shape (2 · lines · fine, 2)."""
    along, at = torch.linspace(-1.2, 1.2, fine), torch.linspace(-1.2, 1.2, lines)
    across = torch.stack([torch.stack([along, level.expand(fine)], 1) for level in at])
    return torch.cat([across, across.flip(-1)]).reshape(-1, 2)


def picture(phi: diffeo.Diffeo, loss: diffeo.CrossEntropyLoss, x: Tensor, label: Tensor) -> Figure:
    """Start, way and end of the data with the plane they are in; and which side of the line every point ends on."""
    figure = Figure(figsize=(WIDTH, square(4) + 0.38))
    panels = squares(figure, 4, 0.06)
    path, plane = torch.stack(phi.path(x)), torch.stack(phi.path(lattice()))
    for ax, time in zip(panels, (0, len(path) // 2, -1), strict=False):
        ax.add_collection(
            LineCollection(list(plane[time].reshape(-1, 200, 2).numpy()), colors=FAINT, linewidths=0.4, alpha=0.6)
        )
        dots(ax, path[time], label, path)
    panels[0].legend(loc="lower right", fontsize=SMALL, handletextpad=0.2, borderpad=0.2)
    axis = torch.linspace(-1.2, 1.2, 200)
    scores = loss.predict(phi @ diffeo.Points(torch.cartesian_prod(axis, axis))).softmax(1)[:, 1].reshape(200, 200)
    colors = LinearSegmentedColormap.from_list("classes", COLORS)
    panels[3].contourf(axis.numpy(), axis.numpy(), scores.T.numpy(), levels=8, cmap=colors, alpha=0.4)
    dots(panels[3], x, label, path[:1])
    titles = ("Two classes", "Halfway", "After the last layer", "What is read out")
    for ax, title in zip(panels, titles, strict=True):
        caption(ax, title)
    return figure


class Flowing(Film):
    """The data and the plane, layer after layer."""

    def __init__(self, phi: diffeo.Diffeo, x: Tensor, label: Tensor) -> None:
        self.path, self.plane, self.label = torch.stack(phi.path(x)), phi.path(lattice()), label
        self.moments = len(self.path)
        self.figure = Figure(figsize=(4.4, 4.4))
        self.ax = self.figure.add_axes((0.005, 0.005, 0.99, 0.99))

    def draw(self, k: int) -> None:
        """After k layers."""
        self.ax.clear()
        lines = list(self.plane[k].reshape(-1, 200, 2).numpy())
        self.ax.add_collection(LineCollection(lines, colors=FAINT, linewidths=0.4, alpha=0.6))
        dots(self.ax, self.path[k], self.label, self.path)
        self.ax.text(0.03, 0.03, f"layer {k} of {self.moments - 1}", transform=self.ax.transAxes, fontsize=11)


if __name__ == "__main__":
    main()
