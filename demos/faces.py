"""One equation, three faces: an image onto an image, labels apart, a density onto another. (about 20 s)

A registration, a residual network and a normalizing flow are diffeomorphisms of the plane here, each bent out of the
identity as little as what it is for allows. Each carries its data, and the grid they lie on, from the left to the
right; and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _pictures import ASSETS, save
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray
from slices import anatomy, image, scan
from spirals import COLORS, spirals
from torch import Tensor

import diffeo
from diffeo.flows.frames import parted
from diffeo.laws.toys import TOYS
from diffeo.viz import plot
from diffeo.viz.film import Film, write_film
from diffeo.viz.style import FAINT, INK
from diffeo.viz.timeline import timeline

Array = NDArray[np.float64]
SIDE, GAP, TOP, BETWEEN = 3.3, 0.2, 0.62, 0.34  # inches: panels, and what lies between and above them
LINES, FINE = 19, 120  # of a grid along each side; points along each line
"""A film has few colors: gray ones for the picture, and those of the classes."""


class Face(NamedTuple):
    """What is carried, and the way of it."""

    title: str
    onto: str
    low: Array
    high: Array
    """Corners of what is shown, shape (2,)."""
    points: Array
    """Positions of what is drawn, shape (T, n, 2)."""
    grid: Array
    """Lines of a regular grid, carried along, shape (T, lines, points, 2)."""


def carried(phi: diffeo.Diffeo, x: Tensor, low: Tensor, high: Tensor, moments: int) -> tuple[Array, Array]:
    """Points, shape (n, 2), and a grid between two corners, over all moments of a map, at the same times."""
    t = torch.linspace(0, 1, FINE, dtype=x.dtype)
    s = torch.linspace(0, 1, LINES, dtype=x.dtype)
    across = torch.cartesian_prod(s, t)
    both = torch.cat([across, across.flip(1)]) * (high - low) + low
    way = timeline(phi, torch.cat([x, both]), moments).positions
    return way[:, : len(x)], way[:, len(x) :].reshape(moments, 2 * LINES, FINE, 2)


def registered(height: int, moments: int) -> tuple[Face, list[diffeo.Image]]:
    """A head onto another one, by scans of them; and the anatomies, moving and fixed, which the map has never seen."""
    # region
    heads = [anatomy(person, height) for person in (1, 2)]
    moving, fixed = (image(head) for head in heads)
    result = diffeo.register(*(image(scan(head, k)) for k, head in enumerate(heads)))
    before, after = (float(diffeo.SSDLoss()(x, fixed)) for x in (moving, result.phi @ moving.on(fixed.grid)))
    # endregion
    print(f"registration: {before:.1%} of the variance of the anatomy differs, then {after:.1%}")
    assert result.report["folds"] == 0
    assert after < before / 5
    rows, columns = moving.grid.shape
    x = moving.grid.points(moving.values[0, 0, 0]).reshape(-1, 2)
    middle, half = torch.tensor([columns - 1.0, rows - 1.0]) / 2, (rows - 1) / 2
    points, grid = carried(result.phi, x, middle - half, middle + half, moments)
    low, high = (middle + sign * half for sign in (-1, 1))
    face = Face("Registration", "one image onto another", low.numpy(), high.numpy(), points, grid)
    return face, [moving, fixed]


def learned(n: int, iterations: int, moments: int) -> tuple[Face, Array, diffeo.CrossEntropyLoss]:
    """Two spirals to where a line tells them apart, their labels, and what reads them out."""
    # region
    x, label = spirals(n)
    phi = diffeo.Flow(diffeo.FeatureField(diffeo.GaussianKernel(0.3), dim=2, width=256), diffeo.Euler(), 20)
    loss = diffeo.CrossEntropyLoss(diffeo.LinearReadOut(2, 2))
    diffeo.fit(phi, [(diffeo.Points(x), label)], loss, weight=3e-3, max_iterations=iterations)
    right = (loss.predict(phi @ diffeo.Points(x)).argmax(1) == label).float().mean()
    # endregion
    print(f"residual network: {float(right):.0%} of the labels right")
    assert right == 1
    points, grid = carried(phi, x, torch.tensor([-1.2, -1.2]), torch.tensor([1.2, 1.2]), moments)
    low, high = square(points)
    return Face("Residual network", "two classes, told apart by a line", low, high, points, grid), label.numpy(), loss


def modeled(rows: int, moments: int) -> tuple[Face, diffeo.DensityFlow]:
    """A pinwheel onto a Gaussian."""
    # region
    law = TOYS["pinwheel"]().double()
    x, others = (law.sample(n, torch.Generator().manual_seed(n)) for n in (rows, 1000))
    flow = diffeo.DensityFlow(components=1, depth=12, width=100, check=False).fit(x.numpy())
    excess = -flow.score(others.numpy()) - law.entropy
    # endregion
    print(f"normalizing flow: {excess:.2f} nats above the entropy, on rows that it has not seen")
    assert excess < 0.3
    assert np.abs(flow.inverse_transform(flow.transform(others.numpy())) - others.numpy()).max() < 1e-3
    units, parts = parted(flow.phi_)  # columns are standardized first
    z = diffeo.Compose(units)(others)
    reach = torch.full((2,), 2.4, dtype=z.dtype)
    points, grid = carried(diffeo.Compose(parts), z, -reach, reach, moments)
    low, high = square(points)
    return Face("Normalizing flow", "a density onto a Gaussian one", low, high, points, grid), flow


def square(points: Array) -> tuple[Array, Array]:
    """Corners of a square around all that is ever shown."""
    lo, hi = points.min((0, 1)), points.max((0, 1))
    half = 0.54 * (hi - lo).max()
    return (lo + hi) / 2 - half, (lo + hi) / 2 + half


class Faces(Film):
    """Above what is carried, below what it is carried onto."""

    def __init__(self, height: int, n: int, iterations: int, rows: int, moments: int) -> None:
        self.moments = moments
        self.head, images = registered(height, moments)
        self.spirals, self.label, loss = learned(n, iterations, moments)
        self.rows, flow = modeled(rows, moments)
        faces = (self.head, self.spirals, self.rows)
        width, tall = 3 * SIDE + 4 * GAP, TOP + 2 * SIDE + BETWEEN + GAP
        self.figure = Figure(figsize=(width, tall))
        self.above, self.below = (
            [
                self.figure.add_axes(((GAP + k * (SIDE + GAP)) / width, bottom / tall, SIDE / width, SIDE / tall))
                for k in range(3)
            ]
            for bottom in (GAP + SIDE + BETWEEN, GAP)
        )
        for face, above, below in zip(faces, self.above, self.below, strict=True):
            above.set_title(f"{face.title}\n{face.onto}", loc="left", fontsize=13, color=INK)
            for ax in (above, below):
                frame(ax, face)
        self._image(*images)
        self._read_out(loss)
        corners = (torch.from_numpy(corner) for corner in (self.rows.low, self.rows.high))
        plot.density(self.below[2], flow.law_.base, *corners, bar=False)
        frame(self.below[2], self.rows)
        for ax, text in zip(
            self.below, ("fixed image", "the line that is read out", "density of the base"), strict=True
        ):
            ax.set_title(text, loc="left", fontsize=11, color=INK, pad=4)
        self.drawn: list = []

    def _image(self, moving: diffeo.Image, fixed: diffeo.Image) -> None:
        """The fixed image; and the shades of the moving one."""
        self.shape, self.shades = moving.grid.shape, moving.values[0].numpy()
        self.below[0].imshow(fixed.values[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        frame(self.below[0], self.head, True)
        for ax in (self.above[0], self.below[0]):
            ax.set_facecolor("black")

    def _read_out(self, loss: diffeo.CrossEntropyLoss) -> None:
        """Which side of the line is whose, and where the points end."""
        low, high = self.spirals.low, self.spirals.high
        x, y = (torch.linspace(float(a), float(b), 200) for a, b in zip(low, high, strict=True))
        scores = loss.predict(diffeo.Points(torch.cartesian_prod(x, y))).detach()
        sides = (scores[:, 1] - scores[:, 0]).reshape(200, 200).numpy()
        levels = [-np.inf, 0, np.inf]
        self.below[1].contourf(x.numpy(), y.numpy(), sides.T, levels=levels, colors=COLORS, alpha=0.3)
        self.below[1].contour(x.numpy(), y.numpy(), sides.T, levels=[0], colors=INK, linewidths=1)
        frame(self.below[1], self.spirals)
        self.dots(self.below[1], -1)

    def dots(self, ax: Axes, k: int) -> list:
        """The spirals, in two colors and two shapes."""
        found = []
        for of, (color, marker) in enumerate(zip(COLORS, "os", strict=True)):
            x = self.spirals.points[k][self.label == of]
            found.append(ax.scatter(*x.T, s=15, c=color, marker=marker, linewidths=0, zorder=3))
        return found

    def draw(self, k: int) -> None:
        """All three at the same time of their ways."""
        for artist in self.drawn:
            artist.remove()
        x, y = self.head.points[k].reshape(*self.shape, 2).transpose(2, 0, 1)
        image = self.above[0].pcolormesh(x, y, self.shades, cmap="gray", vmin=0, vmax=1, shading="gouraud")
        assert isinstance(image, QuadMesh)
        rows = self.above[2].scatter(*self.rows.points[k].T, s=5, color=COLORS[0], linewidths=0, zorder=3)
        lined = []
        for ax, face, color in zip(
            self.above, (self.head, self.spirals, self.rows), ("#ffffff", INK, INK), strict=True
        ):
            lines = LineCollection(list(face.grid[k]), colors=color, linewidths=0.6, alpha=0.5, zorder=2)
            lined.append(ax.add_collection(lines, autolim=False))
        self.drawn = [image, rows, *self.dots(self.above[1], k), *lined]


def frame(ax: Axes, face: Face, downward: bool = False) -> None:
    """What is shown of the plane, without ticks: only shapes matter here."""
    (left, low), (right, high) = face.low, face.high
    ax.set(xlim=(left, right), ylim=(high, low) if downward or face.title == "Registration" else (low, high))
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
    for spine in ax.spines.values():
        spine.set(color=FAINT, linewidth=0.6)


def main(
    height: int = 224,
    n: int = 120,
    iterations: int = 150,
    rows: int = 2500,
    moments: int = 13,
    out: Path = ASSETS / "faces.png",
) -> Path:
    """Find the three maps, each held to what it is for; a film of their ways, and a picture of their ends."""
    film = Faces(height, n, iterations, rows, moments)
    film.draw(moments - 1)
    save(film.figure, out, 80)
    return write_film(film, out.with_suffix(".gif"), seconds=2.5, dpi=66)


if __name__ == "__main__":
    main()
