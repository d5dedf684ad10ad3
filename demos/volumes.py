"""Two brains in space, of different contrast and on different grids; their labels go along. (about 15 s)

The volumes are made in code. The fixed one has cubic voxels, and fluid is dark; the moving one has thick slices across
another axis, its header turns and shifts it, and fluid is bright. So mutual information compares them: that is the only
option. Labels are never looked at: they are carried afterwards, and how well they overlap is the judgment.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from torch import Tensor

import diffeo
from diffeo.diagnostics import Overlap, overlap
from diffeo.viz.images import ends, pixels, show, window
from diffeo.viz.planes import Plane, planes
from diffeo.viz.style import GREEN, INK, NORMAL, ORANGE, PURPLE, SKY, dress

RADII = torch.tensor([64.0, 80.0, 58.0])  # of a brain, in mm: to the right, to the front, upward
PAIRED = {  # centers and radii, in mm, of the ellipsoids that structures on the right are made of
    "thalamus": [((12, -12, 6), (8, 13, 8))],
    "putamen": [((25, 4, 2), (6, 15, 9))],
    "caudate": [((14, 16, 10), (5, 13, 8))],
    "ventricle": [((8, 12, 14), (4.5, 20, 6.5)), ((14, -26, 12), (5.5, 16, 7))],
}
NAMES = ("cortex", "white matter", *PAIRED, "cerebellum", "brain stem")  # labels 1, 2, …; 10 more on the right
T1 = {"fluid": 0.2, "gray": 0.58, "white": 0.9, "deep": 0.68}
T2 = {"fluid": 1.0, "gray": 0.62, "white": 0.38, "deep": 0.54}
OUTLINED = {
    ("white matter", "thalamus", "putamen", "caudate", "ventricle"): ORANGE,
    ("cerebellum", "brain stem"): PURPLE,
    ("thalamus", "putamen", "caudate"): "#00A67A",
    ("ventricle",): SKY,
}
CENTER = torch.tensor([12.0, -12.0, 7.0])  # of the slices that are drawn
WAVES, PITCH, SPECIES = 40, 13.0, 7  # waves that make the folds, and how many radians they turn per radian


class Brain:
    """Somebody's brain, as a function of positions.

    Sulci are where a sum of waves over the directions is zero: everybody has the same waves, in phases of one's own.
    Then a motion of one's own, which is smooth, takes all of it to other places.
    """

    def __init__(self, person: int) -> None:
        common, own = np.random.default_rng(SPECIES), np.random.default_rng(person)
        directions = common.standard_normal((WAVES, 3))
        self.waves = torch.from_numpy(PITCH * directions / np.linalg.norm(directions, axis=1)[:, None]).float()
        phases = common.uniform(0, 2 * math.pi, WAVES) + 0.35 * own.uniform(-1, 1, WAVES)
        self.phases = torch.from_numpy(phases).float()
        self.leaning = torch.from_numpy(common.uniform(-1, 1, WAVES)).float()  # of the phases, from outside inward
        self.motion = torch.from_numpy(own.standard_normal((8, 7))).float()
        self.shifts = torch.from_numpy(own.uniform(-1.2, 1.2, (2, len(PAIRED), 3))).float()

    def depth(self, x: Tensor) -> Tensor:
        """How far below the surface points are, in mm, shape (n,)."""
        scaled = x / RADII
        radius = scaled.norm(dim=1).clamp(min=1e-3)
        hull, direction = 64 * (1 - radius), scaled / radius[:, None]
        joined = 26 * (1 - torch.hypot((x[:, 1] + 2) / 44, (x[:, 2] - 2) / 26))  # the halves, in the middle
        fissure = torch.hypot(x[:, 0], joined.clamp(min=0)) - 0.9
        phase = direction @ self.waves.T + self.phases + (hull / 17)[:, None] * self.leaning
        slope = phase.sin() @ self.waves
        slope = (slope - (slope * direction).sum(1, keepdim=True) * direction).norm(dim=1)
        sulcus = 62 * radius * phase.cos().sum(1).abs() / slope.clamp(min=1e-3)
        sulcus = torch.hypot(sulcus, (hull - 15).clamp(min=0)) - 1  # at most 15 mm deep
        return -torch.stack([-hull, -fissure, -sulcus]).logsumexp(0)

    def layers(self, x: Tensor) -> list[tuple[str, Tensor | float, Tensor]]:
        """What there is at points, shape (n, 3): tissue, label, and depth in it, in mm; each covers those before."""
        for row in self.motion:
            along, phase, by = row[:3] / row[:3].norm(), row[3], row[4:]
            x = x + 1.3 * by * (x @ along / 28 + 2 * phase).sin()[:, None]
        depth, right = self.depth(x), 10.0 * (x[:, 0] > 0)
        stem, hull = ellipsoid(x, (0, -22, -46), (11, 11, 34)), 64 * (1 - (x / RADII).norm(dim=1))
        lobes = [ellipsoid(x, (22 * side, -48, -44), (26, 22, 17)) for side in (-1, 1)]
        cerebellum = torch.stack(lobes).amax(0)
        found: list[tuple[str, Tensor | float, Tensor]] = [("fluid", 0.0, d + 3) for d in (hull, cerebellum, stem)]
        found += [("white", label("brain stem"), stem), ("gray", label("cerebellum"), cerebellum)]
        found += [("white", label("cerebellum"), cerebellum - 7), ("gray", label("cortex") + right, depth)]
        found += [("white", label("white matter") + right, depth - 4.5)]
        for side, shifts in zip((-1, 1), self.shifts, strict=True):
            for (name, parts), shift in zip(PAIRED.items(), shifts, strict=True):
                mirrored = x * torch.tensor([side, 1, 1]) + shift
                inside = torch.stack([ellipsoid(mirrored, *part) for part in parts]).amax(0)
                found.append(("fluid" if name == "ventricle" else "deep", label(name) + 5 * (1 + side), inside))
        return found


def label(name: str) -> float:
    """The number that stands for a structure, on the left."""
    return 1.0 + NAMES.index(name)


def ellipsoid(x: Tensor, center: tuple[float, ...], radii: tuple[float, ...]) -> Tensor:
    """About how deep points, shape (n, 3), are in an ellipsoid, shape (n,)."""
    return (1 - ((x - torch.tensor(center)) / torch.tensor(radii)).norm(dim=1)) * min(radii)


def scanned(
    person: int, grid: diffeo.Grid, contrast: dict[str, float], pose: diffeo.Affine
) -> tuple[diffeo.Image, diffeo.Image]:
    """An image of somebody's brain in a pose, and its labels, on a grid in RAS+ millimeters."""
    x = pose.inverse(grid.points(torch.zeros(())))
    soft = 0.3 * grid.cell ** (1 / 3)
    values, labels = torch.zeros(len(x)), torch.zeros(len(x))
    for tissue, number, depth in Brain(person).layers(x):
        values += (contrast[tissue] - values) * (depth / soft).sigmoid()
        labels = torch.where(depth > 0, number, labels)
    values += 0.01 * torch.randn(len(x), generator=torch.Generator().manual_seed(person))
    note = {"space": "RAS+ millimeters"}
    return (
        diffeo.Image(values.reshape(1, *grid.shape), grid, attributes=note),
        diffeo.Image(labels.reshape(1, *grid.shape), grid, interpolation=diffeo.Nearest(), attributes=note),
    )


def turned(axis: int, degrees: float) -> Tensor:
    """A rotation about an axis, shape (3, 3)."""
    skew, (i, j) = torch.zeros(3, 3, dtype=torch.float64), [k for k in range(3) if k != axis]
    skew[j, i], skew[i, j] = math.radians(degrees), -math.radians(degrees)
    return torch.linalg.matrix_exp(skew)


def grid(linear: Tensor, middle: Tensor, sides: tuple[float, float, float]) -> diffeo.Grid:
    """A grid whose steps are the columns of a matrix: its middle, and how long its sides are, in mm."""
    shape = tuple(int(side / step) for side, step in zip(sides, linear.norm(dim=0).tolist(), strict=True))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3], affine[:3, 3] = linear, middle - linear @ (torch.tensor(shape).double() - 1) / 2
    return diffeo.Grid(shape, affine)


def main(voxel: float = 2.0, out: Path = ASSETS / "volumes.png") -> diffeo.Registration:
    """Register the scans, then carry the labels; ``voxel`` is the fixed one's, in mm."""
    # region
    here = torch.tensor([0.0, -4.0, -6.0], dtype=torch.float64)
    still = diffeo.Affine(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    fixed, fixed_labels = scanned(1, grid(voxel * torch.eye(3).double(), here, (148, 180, 140)), T1, still)

    lying = diffeo.Affine(turned(0, 14) @ turned(2, 9), torch.tensor([12.0, 4.0, 9.0], dtype=torch.float64))
    axes = torch.tensor([[0.0, 0.0, -1.8], [0.9, 0.0, 0.0], [0.0, 0.9, 0.0]], dtype=torch.float64)
    oblique = grid(voxel * lying.matrix @ axes, lying.translation, (190, 160, 156))
    moving, moving_labels = scanned(2, oblique, T2, lying)

    result = diffeo.register(moving, fixed, loss=diffeo.MILoss())
    moved_labels = result.phi @ moving_labels.on(fixed.grid)
    before, after = overlap(fixed_labels, moving_labels), overlap(fixed_labels, moved_labels)
    figures = result.report
    # endregion
    print(f"{' × '.join(map(str, moving.grid.shape))} voxels onto {' × '.join(map(str, fixed.grid.shape))}", end=", ")
    print(f"Dice {before.mean_dice:.2f} → {after.mean_dice:.2f} over {len(after.labels)} labels", end=", ")
    print(f"det Dφ⁻¹ at least {figures['min_corner']:.2f}", end=", ")
    print(f"|φ(φ⁻¹(x)) − x| on average {figures['inverse_error']:.3f} mm, in {figures['seconds']:.1f} s")
    save(picture(result, fixed_labels, before, after), out)
    assert after.mean_dice > 0.7
    assert figures["folds"] == 0
    assert figures["inverse_error"] < 0.1 * voxel
    return result


def picture(result: diffeo.Registration, labels: diffeo.Image, before: Overlap, after: Overlap) -> Figure:
    """Three slices of each volume, with the outlines of the fixed labels; and how well the labels overlap."""
    width, height, side, head, gap = WIDTH, 6.9, 1.95, 0.3, 0.06  # inches; side is the height of a slice
    figure, drawn = Figure(figsize=(width, height)), planes(labels, CENTER)
    shown = {
        "Fixed, and the outlines of its labels in all slices": result.target,
        "Moving, where its header puts it": result.source,
        "Moved by φ": result.moved,
    }
    for row, (title, image) in enumerate(shown.items()):
        assert isinstance(image, diffeo.Image)
        left, bottom = gap, height - (row + 1) * (side + head)
        figure.text(left / width, (bottom + side + 0.07) / height, title, fontsize=11, color=INK)
        for plane in drawn:
            across = side * plane.size[0] / plane.size[1]
            ax = figure.add_axes((left / width, bottom / height, across / width, side / height))
            show(ax, plane, pixels(plane.of(image), window(image), plane))
            outlines(ax, plane, labels)
            ends(ax, plane)
            left += across + gap
    bars(figure.add_axes(((left + 1.0) / width, 0.09, (width - left - 1.25) / width, 0.82)), before, after)
    return figure


def outlines(ax: Axes, plane: Plane, labels: diffeo.Image) -> None:
    """The borders of some of the labels."""
    for names, color in OUTLINED.items():
        numbers = [label(name) + side for name in names for side in (0, 10)]
        within = torch.isin(labels.values, torch.tensor(numbers)).float()
        inside = plane.of(dataclasses.replace(labels, values=within, interpolation=diffeo.Linear()))[0]
        ax.contour(*plane.ticks, gaussian_filter(inside, 0.7), levels=[0.5], colors=color, linewidths=0.9)


def bars(ax: Axes, before: Overlap, after: Overlap) -> None:
    """Dice coefficients, the mean of both sides."""
    rows = np.arange(len(NAMES))
    for found, color, name in ((after, GREEN, "after"), (before, SKY, "before")):
        dice = [np.mean([one.dice for one in found.labels if one.label % 10 == label(name)]) for name in NAMES]
        ax.barh(rows, dice, color=color, height=0.6, label=name)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), yticks=rows, yticklabels=NAMES)
    dress(ax, "Dice coefficient of the labels", "")
    ax.tick_params("y", labelsize=NORMAL, length=0)
    ax.spines[["top", "right"]].set_visible(False)
    handles, names = ax.get_legend_handles_labels()
    where = {"loc": "lower left", "bbox_to_anchor": (-0.05, 1.0), "ncols": 2}
    ax.legend(handles[::-1], names[::-1], frameon=False, fontsize=NORMAL, **where)


if __name__ == "__main__":
    main()
