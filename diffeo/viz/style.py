"""Colors and the dressing of axes: one look for every picture, set artist by artist (no global settings)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar

# Okabe & Ito's palette, told apart by color-blind readers; the green is darkened to differ from the orange in grey.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072B2", "#E69F00", "#007A5A", "#D55E00", "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE)
ROLES = {"source": BLUE, "target": ORANGE, "moved": GREEN}
INK, FAINT = "#222222", "#9a9a9a"
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
SMALL, NORMAL, LARGE = 8, 9, 11


def colors_of(names: Sequence[str]) -> list[str]:
    """One color per name: source, target and moved have their own, the others take what is left of the palette."""
    free = iter([color for color in PALETTE if color not in ROLES.values()] * (1 + len(names)))
    return [ROLES[name] if name in ROLES else next(free) for name in names]


def axis_names(d: int, axes: Sequence[int]) -> list[str]:
    """What the coordinates are called: x, y, z up to three of them, else x1, x2, … of d."""
    return ["xyz"[k] if 2 <= d <= 3 else f"$x_{{{k + 1}}}$" for k in axes]


def dress(ax: Axes, xlabel: str, ylabel: str) -> None:
    """Label a flat panel, with light spines and small ticks."""
    ax.set_xlabel(xlabel, fontsize=NORMAL, color=INK)
    ax.set_ylabel(ylabel, fontsize=NORMAL, color=INK)
    ax.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_color(FAINT)


def caption(ax: Axes, text: str) -> None:
    """A panel's title."""
    ax.set_title(text, fontsize=LARGE, color=INK, loc="left")


def color_bar(ax: Axes, scale: ScalarMappable, label: str) -> Colorbar:
    """A thin, labeled color bar at the right of a panel."""
    inset = ax.inset_axes((1.02, 0.08, 0.03, 0.84), transform=ax.transAxes)
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(scale, cax=inset)
    bar.set_label(label, fontsize=NORMAL, color=INK)
    bar.ax.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)
    return bar
