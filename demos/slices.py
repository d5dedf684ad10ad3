"""Two heads, folded and scanned differently, registered with no option at all. (about 8 s)

Slices made in code: all heads have the same sulci, but nobody has them in the same place, equally long or bent alike;
and the scanners differ in gain, shading and noise. How well the anatomy fits is judged on pictures without all that,
which the registration has never seen.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import diffeo
from diffeo.viz.images import intensity, pixels, show, signed, window
from diffeo.viz.planes import planes
from diffeo.viz.style import DIVERGING, FAINT, INK
from diffeo.viz.warps import lines, pulled

Array = NDArray[np.float64]
AIR, BONE, FLUID, GRAY, NUCLEUS, SCALP, WHITE = 0.0, 0.06, 0.22, 0.58, 0.64, 0.8, 0.92  # brightness of tissues
HULL = 66.0, 84.0  # half the width and half the length of a brain, in mm
SPECIES = 5


class Traits:
    """What all heads have in common, and what is one's own: numbers that are drawn in a fixed order."""

    def __init__(self, person: int) -> None:
        self.common, self.own = np.random.default_rng(SPECIES), np.random.default_rng(person)

    def __call__(self, common: float, own: float) -> float:
        """A number that varies by ``common`` from trait to trait, and by ``own`` from one person to the other."""
        return float(common * self.common.uniform(-1, 1) + own * self.own.uniform(-1, 1))


def arc(start: tuple[float, float], angle: float, length: float, bend: float) -> Array:
    """Points along an arc that starts at an angle and turns by ``bend`` in all, shape (24, 2)."""
    angles = angle + bend * np.linspace(0, 1, 24)
    steps = length / 24 * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.array(start) + np.cumsum(steps, 0)


def sulci(trait: Traits) -> Array:
    """Points in the folds of a brain, shape (n, 2): x to the right, y downward, in mm from the middle."""
    a, b = HULL
    lines = []
    for side in (-1, 1):
        for k in range(12):  # from the front to the back
            t = (k + 0.5 + trait(0.22, 0.26)) / 12 * math.pi
            inward = math.atan2(math.cos(t) / b, -side * math.sin(t) / a) + trait(0.35, 0.35)
            start = side * a * math.sin(t) - 3 * math.cos(inward), -b * math.cos(t) - 3 * math.sin(inward)
            lines.append(arc(start, inward, 3 + (17 if k % 2 else 10) + trait(5, 3), trait(1.3, 0.6)))
        for y, rise in ((-52, 0.5), (-36, 0.9), (38, -0.4), (56, -0.8)):  # from the fissure outward
            line = arc((0, y + trait(3, 3)), rise + trait(0.3, 0.3), 11 + trait(3, 2.5), trait(0.9, 0.4))
            lines.append(line * (side, 1))
    for first, last in ((-84, -30), (32, 84)):  # the fissure
        y = np.linspace(first, last, 80)
        lines.append(np.stack([1.2 * np.sin(y / 11 + trait(0, 3)), y], 1))
    return np.concatenate(lines)


def waves(x: Array, y: Array, trait: Traits) -> Array:
    """A sum of three harmonics, of a mm or two."""
    total = np.zeros_like(x)
    for k in range(3):
        height, phase = trait(0, 2.6), trait(0, 6)
        total += height * np.sin((x * math.cos(1.7 * k) + y * math.sin(1.7 * k)) / (26 + 6 * k) + phase)
    return total


def inside(distance: Array, soft: float = 0.5) -> Array:
    """From 0 to 1 where a distance, in mm, becomes positive."""
    return 1 / (1 + np.exp(-np.clip(distance / soft, -50, 50)))


def ellipse(x: Array, y: Array, center: tuple[float, float], radii: tuple[float, float], turn: float) -> Array:
    """About the distance from the border of an ellipse, positive inside of it."""
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * (x - center[0]) + s * (y - center[1]), c * (y - center[1]) - s * (x - center[0])
    return (1 - np.hypot(u / radii[0], v / radii[1])) * min(radii)


def anatomy(person: int, height: int) -> Array:
    """Brightness of the tissues in a slice through somebody's head, shape (height, 4/5 height)."""
    trait, width = Traits(person), round(0.8 * height)
    y, x = (np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2) * 224 / height
    tilt = trait(0, 0.15)
    x, y = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    x, y = x + waves(x, y, trait), y + waves(x, y, trait)
    hull = (1 - np.hypot(x / HULL[0], y / HULL[1])) * 72
    fold = cKDTree(sulci(trait)).query(np.stack([x, y], -1))[0] - 0.9
    depth = -np.logaddexp(-hull, -fold)  # below the surface, wherever that is nearer

    layers = [(FLUID, np.ones_like(x)), (GRAY, inside(depth)), (WHITE, inside(depth - 4.6))]
    for side in (-1, 1):
        for at, radii, turn in (((15, 10), (8.5, 12), 0.35), ((26, -6), (6, 16), -0.22), ((15, -17), (5, 11), -0.25)):
            center = side * at[0] + trait(0, 1), at[1] + trait(0, 1)
            layers.append((NUCLEUS, inside(ellipse(x, y, center, radii, turn * side))))
        for at, turn in (((9, -17), -0.25), ((14, 32), -0.35)):
            radii = 4.5 + trait(0, 0.8), 13.5 + trait(0, 2)
            layers.append((FLUID, inside(ellipse(x, y, (side * at[0], at[1]), radii, turn * side))))
    layers.append((FLUID, inside(ellipse(x, y, (0, 8), (2, 12), 0.0))))
    for tissue, outward in ((FLUID, 0), (BONE, 3.2 + trait(0, 0.6)), (SCALP, 8.2 + trait(0, 0.8)), (AIR, 12.5)):
        layers.append((tissue, inside(-hull - outward)))
    head = np.zeros_like(x)
    for tissue, where in layers:  # each covers what was there before
        head += (tissue - head) * where
    return head


def scan(head: Array, machine: int) -> Array:
    """What one of two machines makes of a head: its gain, its shading, its noise."""
    row, column = np.mgrid[: head.shape[0], : head.shape[1]] / head.shape[0]
    shading = 1 + 0.2 * np.sin(3 * row + 2 * machine) * np.cos(3 * column - machine)
    noise = 0.003 * np.random.default_rng(machine).standard_normal(head.shape)
    return (900, 220)[machine] * (head * shading + noise)


# region
def image(values: Array) -> diffeo.Image:
    """A picture: positions are (column, row), in pixels."""
    grid = diffeo.Grid(values.shape, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    return diffeo.Image(torch.from_numpy(values).float()[None], grid)


# endregion


def main(height: int = 224, out: Path = ASSETS / "slices.png") -> diffeo.Registration:
    """Register one scan to the other, and compare the anatomies that they show."""
    # region
    heads = [anatomy(person, height) for person in (1, 2)]
    moving, fixed = (image(scan(head, machine)) for machine, head in enumerate(heads))
    result = diffeo.register(moving, fixed)

    before, target = (image(head) for head in heads)
    after = result.phi @ before.on(target.grid)
    error = diffeo.SSDLoss()
    errors = [float(error(anatomy, target)) for anatomy in (before, after)]
    figures = result.report
    # endregion
    print(f"anatomy: {errors[0]:.1%} of its variance differs, then {errors[1]:.2%}", end=", ")
    print(f"det Dφ from {figures['min_jacobian']:.2f} to {figures['max_jacobian']:.1f}", end=", ")
    print(f"|φ(φ⁻¹(x)) − x| on average {figures['inverse_error']:.3f} px, in {figures['seconds']:.1f} s")
    save(picture(result, before, after, target), out, 105)
    assert errors[1] < errors[0] / 12
    assert figures["folds"] == 0
    assert figures["inverse_error"] < 0.1
    return result


def picture(result: diffeo.Registration, before: diffeo.Image, after: diffeo.Image, target: diffeo.Image) -> Figure:
    """The scans above; below how far the anatomies differ, before and after, and the map."""
    plane = planes(target)[0]
    found = pulled(result.phi, plane)
    figure = Figure(figsize=(WIDTH, 8.85))
    edges = {"left": 0.01, "right": 0.99, "top": 0.965, "bottom": 0.075, "wspace": 0.03, "hspace": 0.09}
    above, below = figure.subplots(2, 3, gridspec_kw=edges)
    for ax, shown in zip(above, (result.source, result.target, result.moved), strict=True):
        assert isinstance(shown, diffeo.Image)
        show(ax, plane, pixels(plane.of(shown), window(shown), plane))
    for ax, shown in zip(below, (before, after), strict=False):
        drawn = signed(ax, plane, intensity(plane.of(shown)) - intensity(plane.of(target)), 0.6)
    bar(figure, drawn, (0.03, 0.62), "difference of brightness")
    bar(figure, signed(below[2], plane, found.logdet, 1.5, DIVERGING, smooth=True), (0.69, 0.29), "log det Dφ")
    lines(below[2], found, 8.0)
    for drawn in below[2].collections:
        drawn.set(edgecolor=INK, alpha=0.7)
    scans = "Moving", "Fixed", "Moved: φ · moving"
    changes = "Anatomy, moving − fixed", "Anatomy, moved − fixed", "Grid of 8 px, carried by φ"
    for ax, title in zip((*above, *below), (*scans, *changes), strict=True):
        ax.set_title(title, loc="left", fontsize=11, color=INK)
    return figure


def bar(figure: Figure, drawn: AxesImage, place: tuple[float, float], label: str) -> None:
    """A horizontal color bar near the lower border: where it begins, how wide it is."""
    scale = figure.colorbar(drawn, cax=figure.add_axes((place[0], 0.058, place[1], 0.011)), orientation="horizontal")
    scale.set_label(label, fontsize=9, color=INK, labelpad=1)
    scale.ax.tick_params(labelsize=8, color=FAINT, labelcolor=INK)
    scale.outline.set_visible(False)


if __name__ == "__main__":
    main()
