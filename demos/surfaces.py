"""An open hand closes: two surfaces with no vertex in common, one smooth map with a smooth inverse. (about 15 s)"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from _made import organ
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.viz import plot
from diffeo.viz.style import caption
from diffeo.viz.view import frame

Balls = list[tuple[Tensor, float]]


def finger(root: list[float], azimuth: float, bones: list[float], bends: list[float], radius: float) -> Balls:
    """Balls along bones that bend, one after the other, out of the plane of the palm (angles in radians)."""
    balls: Balls = []
    joint, tilt = torch.tensor(root, dtype=torch.float64), 0.0
    for bone, bend in zip(bones, bends, strict=True):
        tilt += bend
        along = [math.sin(azimuth) * math.cos(tilt), math.cos(azimuth) * math.cos(tilt), math.sin(tilt)]
        direction = bone * torch.tensor(along, dtype=torch.float64)
        balls += [(joint + k / 6 * direction, radius) for k in range(1, 7)]
        joint, radius = joint + direction, 0.85 * radius
    return balls


# region
def hand(spread: float, bend: float, thumb: float, cell: float) -> diffeo.Mesh:
    """A hand about 18 units (cm, say) long.

    Args:
        spread: angle between neighboring fingers.
        bend: of the fingers' joints.
        thumb: angle between the thumb and the hand.
        cell: length of the edges.
    """
    balls: Balls = []
    for y in torch.linspace(-4.0, 3.2, 7).tolist():
        width = 0.72 + 0.28 * (y + 4) / 7.2
        balls += [(torch.tensor([width * x, y, 0.0], dtype=torch.float64), 1.05) for x in range(-3, 4)]
    for k, length in enumerate([6.6, 7.6, 7.2, 5.6]):
        root, bones = [2.0 * k - 3.0, 3.2 - 0.12 * (k - 1.2) ** 2, 0.0], [0.45 * length, 0.3 * length, 0.25 * length]
        balls += finger(root, spread * (k - 1.5), bones, [bend, bend, 0.7 * bend], 0.92)
    balls += finger([-2.6, -2.4, 0.0], -thumb, [2.6, 2.6, 2.2], [0.5 * bend, 0.3 * bend, 0.0], 1.15)
    centers, radii = zip(*balls, strict=True)
    return organ(torch.stack(centers), torch.tensor(radii, dtype=torch.float64), cell)


# endregion


def main(cell: float = 0.52, out: Path = ASSETS / "surfaces.png") -> diffeo.Registration:
    """Register the open hand to the half-closed one with no options at all."""
    # region
    source, target = hand(0.16, 0.1, 0.85, cell), hand(0.1, 0.42, 0.6, 1.03 * cell)
    result = diffeo.register(source, target)
    # endregion

    figures = result.report
    print(f"{len(source.x)} vertices onto {len(target.x)}", end=", ")
    print(f"distance {figures['distance_before']:.2f} → {figures['distance_after']:.3f} cm", end=", ")
    print(f"det Dφ at least {figures['min_jacobian']:.2f}, flipped faces: {figures['flipped']}")
    save(picture(result), out)
    result.animate(out.with_suffix(".gif"), moments=13, seconds=2.0)
    assert figures["distance_after"] < figures["distance_before"] / 10
    assert figures["flipped"] == 0
    assert figures["inverse_error"] < 1e-6
    return result


def picture(result: diffeo.Registration) -> Figure:
    """Before, after, and how far every vertex went."""
    figure = Figure(figsize=(WIDTH, 3.5))
    panels = [figure.add_axes((0.01 + 0.31 * k, 0.0, 0.29, 0.95), projection="3d") for k in range(3)]
    for ax in panels:
        ax.view_init(elev=20, azim=20, vertical_axis="y")
    before, after, length = panels
    plot.shapes(before, {"source": result.source, "target": result.target})
    plot.shapes(after, {"moved": result.moved, "target": result.target})
    plot.colored(length, result.moved, (result.moved.x - result.source.x).norm(dim=1), "|φ(x) − x|   (cm)")
    everything = torch.cat([result.source.x, result.target.x]).numpy()
    for ax, title in zip(panels, ("Before", "After", "Displacement"), strict=True):
        frame(ax, everything)
        caption(ax, title)
    return figure


if __name__ == "__main__":
    main()
