"""A residual network untangles two spirals: watch the data flow. (about 5 s)

Training is registration: labelled points are carried to where one straight line tells them apart, and going far is
paid for. The network is a diffeomorphism of the plane, so that everything between the points goes along, and back.
"""

import math
from pathlib import Path

import torch
from _pictures import ASSETS, save
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

import diffeo

COLORS = ("#0072B2", "#D55E00")


def spirals(n: int, turns: float = 1.5) -> tuple[Tensor, Tensor]:
    """Two interleaved spirals of n points each: positions (2n, 2) and labels (2n,)."""
    label = torch.arange(2 * n) % 2
    radius = torch.linspace(0.12, 1, n).repeat_interleave(2)
    angle = 2 * math.pi * turns * radius + math.pi * label
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), label


def main(n: int = 150, steps: int = 20, iterations: int = 150, out: Path = ASSETS / "spirals.png") -> float:
    """Train, look at it, and see that the map is one: no fold, an inverse, all labels right."""
    x, label = spirals(n)
    phi = diffeo.Flow(diffeo.FeatureField(diffeo.GaussianKernel(0.3), dim=2, width=256), diffeo.Euler(), steps)
    loss = diffeo.CrossEntropyLoss(diffeo.LinearReadOut(2, 2))
    history = diffeo.fit(phi, [(diffeo.Points(x), label)], loss, weight=3e-3, max_iterations=iterations)
    phi.requires_grad_(False)
    loss.requires_grad_(False)

    right = float((loss.predict(phi @ diffeo.Points(x)).argmax(1) == label).float().mean())
    volumes = phi.with_logdet(x)[1].exp()
    print(f"{right:.1%} right; cross-entropy {history[0].data:.2f} → {history[-1].data:.1e}", end="; ")
    print(f"energy {history[-1].energy:.2f}; det Dφ from {volumes.min():.2f} to {volumes.max():.2f}")
    save(picture(phi, loss, x, label), out)
    if out.parent == ASSETS:
        movie(phi, x, label, out.with_suffix(".gif"))
    assert right == 1
    assert bool(torch.isfinite(volumes).all())  # no layer folds
    assert float((phi.inverse(phi(x)) - x).abs().max()) < 1e-4
    return right


def dots(ax: Axes, x: Tensor, label: Tensor, path: Tensor) -> None:
    """The points, in the colors of their classes, in a square that shows the whole path."""
    ax.scatter(*x.T.numpy(), s=10, c=[COLORS[k] for k in label], linewidths=0, zorder=3)
    a, b = ((path.amax((0, 1)) + path.amin((0, 1))) / 2).tolist()
    reach = 0.54 * float((path.amax((0, 1)) - path.amin((0, 1))).max())
    ax.set(aspect="equal", xticks=[], yticks=[], xlim=(a - reach, a + reach), ylim=(b - reach, b + reach))


def picture(phi: diffeo.Diffeo, loss: diffeo.CrossEntropyLoss, x: Tensor, label: Tensor) -> Figure:
    """Start, way and end of the data with the plane they are in; and which side of the line every point ends on."""
    figure = Figure(figsize=(14, 3.95))
    path = torch.stack(phi.path(x))
    axis, lines = torch.linspace(-1.2, 1.2, 200), torch.linspace(-1.2, 1.2, 25)
    across = torch.stack([torch.stack(torch.meshgrid(axis, line[None], indexing="ij"), -1)[:, 0] for line in lines])
    plane = torch.stack(phi.path(torch.cat([across, across.flip(-1)]).reshape(-1, 2)))
    for k, (time, title) in enumerate(((0, "two classes"), (len(path) // 2, "halfway"), (-1, "after the last layer"))):
        ax = figure.add_axes((0.01 + 0.248 * k, 0.03, 0.236, 0.85))
        ax.set_title(title, loc="left", fontsize=11)
        ax.add_collection(LineCollection(plane[time].reshape(-1, 200, 2).numpy(), colors="#b5b5b5", linewidths=0.5))
        dots(ax, path[time], label, path)
    ax = figure.add_axes((0.754, 0.03, 0.236, 0.85))
    ax.set_title("what is read out", loc="left", fontsize=11)
    scores = loss.predict(phi @ diffeo.Points(torch.cartesian_prod(axis, axis))).softmax(1)[:, 1].reshape(200, 200)
    colors = LinearSegmentedColormap.from_list("classes", COLORS)
    ax.contourf(axis.numpy(), axis.numpy(), scores.T.numpy(), levels=8, cmap=colors, alpha=0.4)
    dots(ax, x, label, path[:1])
    return figure


def movie(phi: diffeo.Diffeo, x: Tensor, label: Tensor, out: Path) -> None:
    """The data, layer after layer."""
    path = torch.stack(phi.path(x))
    figure = Figure(figsize=(3.6, 3.6))
    ax = figure.add_axes((0, 0, 1, 1))
    frames = [*range(len(path)), *[len(path) - 1] * 8, *range(len(path) - 1, -1, -1)]

    def draw(frame: int) -> None:
        ax.clear()
        dots(ax, path[frame], label, path)

    FuncAnimation(figure, draw, frames=frames).save(out, PillowWriter(fps=12), dpi=70)


if __name__ == "__main__":
    main()
