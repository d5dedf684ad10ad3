"""Four landmarks trade places in a ring that stays: a straight step folds the plane, a geodesic does not. (about 10 s)

Interpolation moves every point along a straight line, so those that meet on the way collide. Along a geodesic for the
same kernel they flow around each other: the map is smooth, and so is its inverse.
"""

import math
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.viz import plot
from diffeo.viz.style import INK, NORMAL, PURPLE

KERNEL = diffeo.GaussianKernel(0.6)
ROOM = {"left": 0.34, "right": 0.85, "gap": 0.14}  # inches: what is beside the panels


def landmarks() -> tuple[Tensor, Tensor]:
    """Four points that move, and a ring of twelve that do not; shape (16, 2), before and after."""
    angle = 2 * math.pi * torch.arange(12, dtype=torch.float64) / 12
    ring = 2.0 * torch.stack([angle.cos(), angle.sin()], 1)
    before = torch.tensor([[-1.0, -0.4], [0.9, 0.5], [-0.2, 1.0], [0.4, -1.0]], dtype=torch.float64)
    after = torch.tensor([[0.8, 0.4], [-0.9, -0.1], [0.3, -0.6], [-0.3, 0.9]], dtype=torch.float64)
    return torch.cat([before, ring]), torch.cat([after, ring])


# region
def interpolation(x: Tensor, y: Tensor) -> diffeo.Flow:
    """id + v for the smoothest v with x + v(x) = y: one Euler step along one field, folded or not."""
    momenta = torch.linalg.solve(KERNEL(x, x).dense(), y - x)
    return diffeo.Flow(diffeo.KernelField(KERNEL, x, momenta), diffeo.Euler(), steps=1).requires_grad_(False)


# endregion
class Inverse:
    """φ⁻¹ for pictures: its log det at y is minus that of φ at φ⁻¹(y)."""

    def __init__(self, phi: diffeo.Diffeo) -> None:
        self.phi = phi

    def with_logdet(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images and log det."""
        x = self.phi.inverse(y)
        return x, -self.phi.with_logdet(x)[1]


def main(lines: int = 31, fine: int = 81, out: Path = ASSETS / "landmarks.png") -> diffeo.Geodesic:
    """Shoot the landmarks, and look at both maps on a grid of ``fine`` by ``fine`` points."""
    # region
    x, y = landmarks()
    phi = diffeo.Geodesic(KERNEL, controls=x, solver=diffeo.Ralston(), steps=20)
    diffeo.fit(phi, [(diffeo.Points(x), diffeo.Points(y))], diffeo.LandmarkLoss(), weight=1e-5)
    phi.requires_grad_(False)

    missed = float((phi(x) - y).norm(dim=1).max())
    axis = torch.linspace(-2.5, 2.5, fine, dtype=torch.float64)
    box = torch.cartesian_prod(axis, axis)
    image, logdet = phi.with_logdet(box)
    back = float((phi.inverse(image) - box).norm(dim=1).max())
    # endregion
    folded = float(interpolation(x, y).with_logdet(box)[1].isnan().double().mean())
    print(f"geodesic: landmarks missed by at most {missed:.1e}, log det Dφ ≥ {float(logdet.min()):.2f}, ", end="")
    print(f"|φ⁻¹(φ(x)) − x| ≤ {back:.1e}; interpolation: folded on {folded:.1%} of the square")

    save(picture(phi, x, y, float(logdet.min()), folded, lines), out)
    assert missed < 0.02
    assert bool(torch.isfinite(logdet).all())
    assert folded > 0
    assert back < 1e-9
    return phi


def picture(phi: diffeo.Geodesic, x: Tensor, y: Tensor, least: float, folded: float, lines: int) -> Figure:
    """The grid of the interpolation, that of the geodesic with the ways of the landmarks, and that of its inverse."""
    lo, hi = torch.full((2,), -2.5, dtype=torch.float64), torch.full((2,), 2.5, dtype=torch.float64)
    figure = Figure(figsize=(WIDTH, square(3, **ROOM) + 0.6))
    panels = squares(figure, 3, 0.28, **ROOM)
    straight = interpolation(x, y)
    drawn = (
        (straight, y, f"One straight step: {folded:.0%} folded (black)"),
        (phi, y, f"Geodesic: log det Dφ ≥ {least:.2f}, no fold".replace("-", "−")),
        (Inverse(phi), x, "The geodesic's inverse"),
    )
    for ax, (map_, ends, title) in zip(panels, drawn, strict=True):
        plot.grid(ax, map_, lo, hi, lines, limit=1.5, bar=ax is panels[-1])
        ax.scatter(*ends.T, s=30, color="black", edgecolors="white", linewidths=0.8, zorder=5)
        ax.set_title(title, loc="left", fontsize=NORMAL, color=INK)
        ax.tick_params(labelleft=ax is panels[0])
        ax.set(xlabel="", ylabel="", xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
    for ax, map_ in ((panels[0], straight), (panels[1], phi)):
        for way in torch.stack(map_.path(x))[:, :4].swapaxes(0, 1):
            ax.plot(*way.T, color=PURPLE, lw=2.2)
            ax.scatter(*way[0], s=24, facecolors="white", edgecolors=PURPLE, linewidths=2, zorder=5)
    return figure


if __name__ == "__main__":
    main()
