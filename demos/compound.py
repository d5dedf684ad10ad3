"""A spine fits as well one vertebra aside; with three landmarks in the same energy it does not. (about 20 s)

Images of what repeats itself agree wherever a period fits, and the nearest fit need not be the right one: here every
vertebra comes to lie on its neighbor. An image and its landmarks make a compound, which one map carries and one energy
judges. The vertebrae that were not pointed at are in their places, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor

import diffeo
from diffeo.viz.images import frame, pixels, show, window
from diffeo.viz.planes import planes
from diffeo.viz.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION

Array = NDArray[Any]
NAMES = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
COLORS = (SKY, PURPLE, "#F0E442", VERMILION, BLUE, ORANGE, GREEN, "#B39DDB", "#8D6E63")
MARKED = ("T10", "L1", "L4")


class Spine(NamedTuple):
    """A spine seen from the side, its front at the left.

    Attributes:
        image: bones are bright; positions are (column, row), in pixels.
        bodies: where the body of each vertebra with a name is: one channel each, from 0 to 1.
        centers: of these bodies, shape (9, 2), in pixels.
    """

    image: diffeo.Image
    bodies: diffeo.Image
    centers: Tensor

    def marked(self) -> diffeo.Points:
        """The landmarks."""
        return diffeo.Points(self.centers[[NAMES.index(name) for name in MARKED]])


def spine(size: float, period: float, first: float, sway: float, phase: float) -> Spine:
    """Somebody's spine.

    Args:
        size: pixels per mm.
        period: from one vertebra to the next, in mm.
        first: how far below the upper border the first of them is, in mm.
        sway, phase: of its curve, in mm and in radians.
    """

    def middle(y: Array) -> Array:
        return 50 + sway * np.sin(y / 45 + phase)

    y, x = np.mgrid[: round(240 * size), : round(128 * size)] / size
    slope = sway / 45 * np.cos(y / 45 + phase)
    along = y + slope * (x - middle(y)) / (1 + slope**2)  # and across: orthogonal coordinates, to first order
    across = (x - middle(y)) / np.sqrt(1 + slope**2)
    which = np.round((along - first) / period)
    off = along - first - which * period
    body = box(off, across, 0.36 * period, 14)
    parts = [
        (0.6, box(period / 2 - abs(off), across, 0.12 * period, 13)),
        (0.9, body),
        (0.1, 6 - abs(across - 24)),
        (0.6, 3 - abs(across - 24)),
        (0.75, 5 - 5 * np.hypot((off - 1.5 - 0.25 * (across - 47)) / (0.22 * period), (across - 47) / 13)),
    ]
    values = np.full_like(x, 0.35)
    for brightness, depth in parts:  # each covers what was there before
        values += (brightness - values) * inside(2 * size * depth)
    bodies = np.stack([np.where(which == k, inside(2 * size * body), 0) for k in range(len(NAMES))])
    heights = first + period * np.arange(len(NAMES))
    centers = torch.from_numpy(size * np.stack([middle(heights), heights], 1)).float()
    grid = diffeo.Grid(x.shape, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    return Spine(*(diffeo.Image(torch.from_numpy(v).float(), grid) for v in (values[None], bodies)), centers)


def inside(depth: Array) -> Array:
    """From 0 to 1 where a depth becomes positive."""
    return 1 / (1 + np.exp(-np.clip(depth, -50, 50)))


def box(x: Array, y: Array, width: float, height: float, corner: float = 3.0) -> Array:
    """About how deep positions are in a box with round corners, given half its width and half its height."""
    return corner - np.hypot(np.maximum(abs(x) - width + corner, 0), np.maximum(abs(y) - height + corner, 0))


def main(size: float = 0.7, out: Path = ASSETS / "compound.png") -> diffeo.Registration:
    """Register the images alone, then images and landmarks together."""
    # region
    moving, fixed = spine(size, 26.0, -7.0, 9.0, 1.2), spine(size, 25.0, 14.0, 7.0, 0.6)
    options = {"model": diffeo.Flow, "steps": 3}
    alone = diffeo.register(moving.image, fixed.image, **options)
    loss = diffeo.CompoundLoss([diffeo.LNCCLoss(), diffeo.LandmarkLoss()], [1, 0.01])
    pair = [diffeo.Compound([one.image, one.marked()]) for one in (moving, fixed)]
    both = diffeo.register(*pair, loss=loss, **options)

    others = [k for k, name in enumerate(NAMES) if name not in MARKED and name != "T9"]  # which is out of one image
    off = [(result.phi(moving.centers) - fixed.centers)[others].norm(dim=1) / size for result in (alone, both)]
    # endregion
    print(f"vertebrae without landmarks are {float(off[0].min()):.1f} to {float(off[0].max()):.1f} mm off", end=", ")
    print(f"with landmarks on others {float(off[1].min()):.1f} to {float(off[1].max()):.1f} mm", end=", ")
    print(f"det Dφ⁻¹ at least {both.report['min_corner']:.2f}", end=", ")
    print(f"in {alone.report['seconds']:.1f} and {both.report['seconds']:.1f} s")
    save(picture(moving, fixed, alone, both), out)
    assert float(off[0].min()) > 20  # a period is 25
    assert float(off[1].max()) < 2
    assert both.report["folds"] == 0
    return both


def picture(moving: Spine, fixed: Spine, alone: diffeo.Registration, both: diffeo.Registration) -> Figure:
    """The spines, and what becomes of the moving one: by its image alone, and by image and landmarks."""
    figure = Figure(figsize=(WIDTH, 4.75))
    edges = {"left": 0.008, "right": 0.992, "top": 0.935, "bottom": 0.015, "wspace": 0.04}
    panels = figure.subplots(1, 4, gridspec_kw=edges)
    drawn = {
        "Moving": moving,
        "Moved, by its image alone": carried(alone.phi, moving, fixed.image.grid),
        "Fixed": fixed,
        "Moved, by landmarks too": carried(both.phi, moving, fixed.image.grid),
    }
    for ax, (title, one) in zip(panels, drawn.items(), strict=True):
        ax.set_title(title, loc="left", fontsize=11, color=INK)
        draw(ax, one, marked="alone" not in title)
    return figure


# region
def carried(phi: diffeo.Diffeo, one: Spine, grid: diffeo.Grid) -> Spine:
    """φ · spine, on a grid."""
    return Spine(phi @ one.image.on(grid), phi @ one.bodies.on(grid), phi(one.centers))


# endregion


def draw(ax: Axes, one: Spine, marked: bool) -> None:
    """A spine, its vertebrae in their colors and with their names, and its landmarks."""
    plane = planes(one.image)[0]
    show(ax, plane, pixels(plane.of(one.image), window(one.image), plane))
    bodies = plane.of(one.bodies)
    total = bodies.sum(0)
    colors = np.einsum("krc,ki->rci", bodies, np.array([to_rgb(color) for color in COLORS]))
    colored = np.concatenate([colors / np.maximum(total, 1e-6)[..., None], 0.65 * total[..., None]], 2)
    ax.imshow(colored.clip(0, 1), extent=plane.extent, origin="lower")
    frame(ax, plane)
    largest = bodies.sum((1, 2)).max()
    for name, body, (x, y) in zip(NAMES, bodies, one.centers.tolist(), strict=True):
        if body.sum() > 0.4 * largest:  # nearly all of it is seen
            text = ax.text(x - 0.16 * plane.size[0], y, name, ha="right", va="center", fontsize=9, color="white")
            text.set_path_effects([withStroke(linewidth=2, foreground=INK)])
    if marked:
        ax.scatter(*one.marked().x.T, s=36, color="white", edgecolors=INK, linewidths=1.2, zorder=4)


if __name__ == "__main__":
    main()
