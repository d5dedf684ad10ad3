"""Images on axes: slices, differences and checkerboards, true to scale and the right way up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from diffeo.shapes import Image, Nearest
from diffeo.viz.planes import Plane, planes
from diffeo.viz.style import FAINT, INK, PALETTE, SMALL, caption, color_bar, dress
from diffeo.viz.view import Array, array

DIFFERENCES = "PuOr_r"
"""Zero is white, and no color is one of the log-determinants'."""
TAILS = (0.5, 99.5)
"""Percentiles of the values at which grey turns black and white, and of the magnitudes at which colors saturate."""
MOST_VALUES = 500_000
"""Of an image, drawn at random but always the same ones, to find the window."""
TILES = 8
"""Squares of a checkerboard along the longer side."""


class Window(NamedTuple):
    """The values that are drawn black and white."""

    low: float
    high: float
    names: bool = False
    """Whether values are the names of things, each drawn in a color of its own, and ``low`` in black."""

    @property
    def width(self) -> float:
        """What lies between them."""
        return self.high - self.low


def slices(figure: Figure | SubFigure, image: Image, at: Tensor | None = None) -> list[Axes]:
    """Draw an image as it is, or three orthogonal slices of it, with the names of the sides or coordinates in pixels.

    Args:
        figure: gets one axes per plane, side by side.
        image: in two or three dimensions.
        at: the point through which the slices go, shape (3,), in length units; by default the foreground's center.

    Returns: the axes.
    """
    drawn, levels = planes(image, at), window(image)
    columns = figure.subplots(1, len(drawn), squeeze=False, width_ratios=[plane.size[0] for plane in drawn])
    for ax, plane in zip(columns[0], drawn, strict=True):
        show(ax, plane, pixels(plane.of(image), levels, plane))
        label(ax, plane)
    return list(columns[0])


def difference(ax: Axes, a: Image, b: Image, limit: float | None = None, plane: Plane | None = None) -> None:
    """Draw a − b, zero in the middle of the colors, with a color bar; channels are averaged.

    Args:
        a: resampled on the grid of b.
        b: in two or three dimensions.
        limit: where the colors saturate, positive; by default at nearly the largest difference.
        plane: one of ``planes(b)``, by default the first of them.
    """
    plane = plane or planes(b)[0]
    values = intensity(plane.of(a)) - intensity(plane.of(b))
    color_bar(ax, signed(ax, plane, values, limit or reach([values])), "difference")
    label(ax, plane, dark=False)


def checkerboard(ax: Axes, a: Image, b: Image, plane: Plane | None = None, tiles: int = TILES) -> None:
    """Draw squares of a and of b in turn, each in its own window: what continues across them is aligned.

    Args:
        a: has the upper left square; in two or three dimensions.
        b: resampled on the grid of a.
        plane: one of ``planes(a)``, by default the first of them.
        tiles: squares along the longer side, at least 2.
    """
    if tiles < 2:
        raise ValueError(f"checkerboard expects at least 2 tiles, and got {tiles}.")
    plane = plane or planes(a)[0]
    first, second = (pixels(plane.of(image), window(image), plane) for image in (a, b))
    show(ax, plane, tiled(plane, first, second, tiles))
    label(ax, plane)


def window(image: Image) -> Window:
    """Black and white: nearly all values of the foreground lie between them; for three channels those of a color.

    Images of whole numbers between which nothing is interpolated are labels.
    """
    if is_labels(image):
        assert image.background is not None
        ground = float(image.background[0])
        return Window(ground, ground + 1, names=True)
    if is_colored(image):
        most = float(image.values.max())
        return Window(0.0, next((full for full in (1.0, 255.0) if most <= full), most))
    assert image.background is not None
    flat = array(image.values.mean(0).flatten())
    many = len(flat) > MOST_VALUES
    values = flat[np.random.default_rng(0).integers(len(flat), size=MOST_VALUES)] if many else flat
    ground = float(image.background.mean())
    front = values[values != ground]
    if not len(front):
        return Window(ground, ground + 1)
    low, high = np.percentile(front, TAILS)
    low, high = min(float(low), ground), max(float(high), ground)
    return Window(low, high if high > low else low + 1)


def is_colored(image: Image) -> bool:
    """Whether the channels are red, green and blue."""
    return image.grid.dim == 2 and len(image.values) == 3


def is_labels(image: Image) -> bool:
    """Whether the values are names: one channel of whole numbers, carried as they are."""
    if len(image.values) != 1 or not isinstance(image.interpolation, Nearest):
        return False
    return bool((image.values == image.values.round()).all())


def intensity(values: Array) -> Array:
    """The mean of the channels, shape (rows, columns), of values of shape (c, rows, columns)."""
    return values.mean(0)


def pixels(values: Array, levels: Window, plane: Plane) -> Array:
    """Values, shape (c, rows, columns), as grey or red, green and blue between 0 and 1."""
    if levels.names:
        return np.where((values[0] == levels.low)[..., None], 0.0, label_colors(values[0]))
    shades = np.clip((values - levels.low) / levels.width, 0, 1)
    return np.moveaxis(shades, 0, -1) if plane.across is None and len(values) == 3 else intensity(shades)


def label_colors(labels: Array) -> Array:
    """Red, green and blue of whole numbers, shape (*labels.shape, 3): the palette, then lighter, then darker."""
    plain = np.array([to_rgb(color) for color in PALETTE])
    every = np.concatenate([plain, (1 + plain) / 2, 0.6 * plain])
    return every[(labels.astype(int) - 1) % len(every)]


def tiled(plane: Plane, a: Array, b: Array, tiles: int = TILES) -> Array:
    """Squares of a and of b in turn, a in the upper left one; both as ``pixels`` makes them."""
    if a.ndim != b.ndim:
        a, b = (x if x.ndim == 3 else np.repeat(x[..., None], 3, -1) for x in (a, b))
    columns, rows = plane.ticks
    left, right, bottom, top = plane.extent
    side = max(right - left, top - bottom) / tiles
    from_top = rows - bottom if plane.space.downward else top - rows
    odd = (np.floor((columns - left) / side)[None] + np.floor(from_top / side)[:, None]) % 2 == 1
    return np.where(odd if a.ndim == 2 else odd[..., None], b, a)


def show(ax: Axes, plane: Plane, shades: Array, alpha: float = 1.0) -> AxesImage:
    """Draw grey or colored pixels in the plane."""
    drawn = ax.imshow(
        shades,
        extent=plane.extent,
        origin="lower",
        cmap="gray",
        vmin=0,
        vmax=1,
        alpha=alpha,
        interpolation="antialiased",
    )
    frame(ax, plane)
    return drawn


def signed(
    ax: Axes, plane: Plane, values: Array, limit: float, colors: str = DIFFERENCES, smooth: bool = False
) -> AxesImage:
    """Draw values, shape (rows, columns), whose colors are symmetric about zero; what is not finite is black."""
    how = "bilinear" if smooth else "antialiased"
    shown = np.ma.masked_invalid(values)
    drawn = ax.imshow(
        shown, extent=plane.extent, origin="lower", cmap=colors, vmin=-limit, vmax=limit, interpolation=how
    )
    scale: Any = drawn.get_cmap().with_extremes(bad="black")  # the stubs say that its ends are a bool
    scale.colorbar_extend = "both" if bool((np.abs(shown) > limit).any()) else "neither"
    drawn.set_cmap(scale)
    frame(ax, plane)
    return drawn


def reach(values: Sequence[Array], floor: float = 0.0) -> float:
    """A limit for the colors of signed values: nearly their largest magnitude, at least ``floor``, and not 0."""
    magnitudes = np.concatenate([np.abs(v[np.isfinite(v)]) for v in values])
    apart = magnitudes[magnitudes > 0]
    return max(float(np.percentile(apart, TAILS[1])) if len(apart) else 0.0, floor) or 1.0


def frame(ax: Axes, plane: Plane) -> None:
    """The limits of the plane, its aspect, its direction; no ticks."""
    left, right, bottom, top = plane.extent
    ax.set(xlim=(left, right), ylim=(top, bottom) if plane.space.downward else (bottom, top), aspect="equal")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color=FAINT, linewidth=0.6)


def coordinates(ax: Axes, plane: Plane) -> None:
    """Ticks along the sides, in the unit of the space."""
    names = ["xyz"[side.coordinate] for side in (plane.right, plane.up)]
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    dress(ax, *(f"{name} ({plane.space.unit})" for name in names))


def ends(ax: Axes, plane: Plane, dark: bool = True) -> None:
    """What the four sides are called, on a dark or a light picture."""
    color, edge = ("white", INK) if dark else (INK, "white")
    (left, right), (bottom, top) = (plane.space.ends[side.coordinate] for side in (plane.right, plane.up))
    if plane.space.downward:
        bottom, top = top, bottom
    places = ((left, 0.02, 0.5), (right, 0.98, 0.5), (bottom, 0.5, 0.02), (top, 0.5, 0.98))
    for name, x, y in places:
        ha = "left" if x < 0.1 else "right" if x > 0.9 else "center"
        va = "bottom" if y < 0.1 else "top" if y > 0.9 else "center"
        text = ax.text(x, y, name, transform=ax.transAxes, ha=ha, va=va, fontsize=SMALL, color=color, weight="bold")
        text.set_path_effects([withStroke(linewidth=2, foreground=edge)])


def label(ax: Axes, plane: Plane, dark: bool = True) -> None:
    """Coordinates in two dimensions; in three which plane it is, and what its sides are called."""
    if plane.across is None:
        coordinates(ax, plane)
    else:
        caption(ax, plane.name)
        ends(ax, plane, dark)
