"""What is written around the panels of an image registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from diffeo.shapes import Image
from diffeo.viz.images import ends
from diffeo.viz.layout import Layout
from diffeo.viz.planes import Plane, space_of
from diffeo.viz.style import FAINT, INK, LARGE, NORMAL, ROLES, SKY, SMALL
from diffeo.viz.view import round_length

MASK = SKY
MARGIN, LEGEND = 0.3, 3.8
"""Inches: left of the title, and what is left free on its right."""
TICK = 0.6
"""Inches: between the numbers of a color bar."""
LETTER = 0.6
"""The width of a letter of the title, in parts of its size."""

Panels = Mapping[str, Sequence[Axes]]


def head(figure: Figure, layout: Layout, title: str | None, source: Image, target: Image) -> None:
    """The title and what the images are."""
    name = title or "Registration"
    fitting = 72 * (layout.total_width - 2 * MARGIN - LEGEND) / (LETTER * len(name))
    x, y, *_ = layout.place(MARGIN, 0.32, 0.0, 0.0)
    figure.text(x, y, name, fontsize=min(LARGE + 3, fitting), color=INK, va="center")
    x, y, *_ = layout.place(MARGIN, 0.6, 0.0, 0.0)
    both = f"fixed: {remark(target)}     moving: {remark(source)}"
    figure.text(x, y, both, fontsize=NORMAL, color=INK, va="center")


def remark(image: Image) -> str:
    """How large an image is, and how fine."""
    points, steps = (" × ".join(f"{n:.4g}" for n in numbers) for numbers in (image.grid.shape, image.grid.spacing))
    channels = f", mean of {len(image.values)} channels" if len(image.values) not in (1, 3) else ""
    return f"{points} points, {steps} {space_of(image).unit} apart{channels}"


def names(figure: Figure, layout: Layout) -> None:
    """Titles of the panels."""
    for name in layout.panels:
        left, top, width, _ = layout.room(name, 0)
        x, y, *_ = layout.place(left + width / 2, top - 0.09, 0.0, 0.0)
        figure.text(x, y, name, fontsize=LARGE, color=INK, ha="center", va="bottom")


def note(figure: Figure, layout: Layout, panel: str, text: str) -> None:
    """Small words below a panel, in the strip under its band."""
    left, top, width, _ = layout.room(panel, len(layout.rows))
    x, y, *_ = layout.place(left + width / 2, top - 0.02, 0.0, 0.0)
    figure.text(x, y, text, fontsize=SMALL, color=INK, ha="center", va="top", linespacing=1.25)


def bar_below(figure: Figure, layout: Layout, axes: Panels, below: tuple[str, ...], label: str) -> None:
    """A color bar below panels, in the strip under their band; it has pointed ends if a color is saturated."""
    row = len(layout.rows)
    left, top, width, _ = layout.room(below[0], row)
    right = layout.room(below[-1], row)[0] + width
    inset = 0.04 * (right - left)
    place = layout.place(left + inset, top, right - left - 2 * inset, 0.1)
    images = [image for name in below for ax in axes[name] for image in ax.images]
    saturated = [image for image in images if image.get_cmap().colorbar_extend == "both"]
    scale = (saturated or images)[0]
    ticks = MaxNLocator(max(2, int((right - left) / TICK)), steps=[1, 2, 5, 10])
    bar = figure.colorbar(scale, cax=figure.add_axes(place), orientation="horizontal", extendfrac=0.03, ticks=ticks)
    bar.set_label(label, fontsize=SMALL, color=INK, labelpad=2)
    bar.ax.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK, pad=2)
    bar.outline.set_visible(False)


def orient(axes: Sequence[Axes], drawn: Sequence[Plane]) -> None:
    """Rows are named, sides have letters, and a bar shows a length."""
    for ax, plane in zip(axes, drawn, strict=True):
        ends(ax, plane)
        if plane.across is not None:
            ax.set_ylabel(plane.name.replace(", ", "\n"), fontsize=SMALL, color=INK, linespacing=1.3)
    _ruler(axes[-1], drawn[-1])


def _ruler(ax: Axes, plane: Plane) -> None:
    """A bar of a round length below the panel."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    left, right, _, _ = plane.extent
    length = round_length(0.4 * (right - left))
    down = ScaledTranslation(0, -0.1, figure.dpi_scale_trans)
    bar = Line2D([0, length / (right - left)], [0, 0], color=INK, lw=2, solid_capstyle="butt")
    bar.set(transform=ax.transAxes + down, clip_on=False)
    ax.add_artist(bar)
    ax.annotate(
        f"{length:g} {plane.space.unit}", (0, 0), (0, -11), "axes fraction", "offset points",
        va="top", fontsize=SMALL, color=INK,
    )  # fmt: skip


def legend(figure: Figure, marked: bool, masked: bool) -> None:
    """Whose marks are whose, and the border of the mask."""
    handles = [Line2D([], [], color=MASK, lw=1.0, label="mask")] if masked else []
    if marked:
        handles += [Line2D([], [], color=color, lw=3, label=role) for role, color in ROLES.items()]
    if handles:
        figure.legend(handles=handles, loc="upper right", ncols=len(handles), frameon=False, fontsize=NORMAL)
