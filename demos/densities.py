"""Seven densities in the plane, their fits beside them, and the grid that each flow carries. (about 2 min)

`DensityFlow` with what it chooses by itself, on 5,000 rows. The laws are known exactly, so that every fit is held to
the entropy of its law, on rows it has not seen: below it no honest likelihood can go.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffeo
from diffeo.diagnostics import DensityReport, density_report
from diffeo.laws.toys import TOYS
from diffeo.viz import plot
from diffeo.viz.style import INK, NORMAL

REACH = {"checkerboard": 4.4, "rings": 3.9, "pinwheel": 4.0, "2spirals": 4.3, "swissroll": 3.4}  # of what is shown
ROOM = {"left": 0.28, "right": 0.08, "gap": 0.08}  # inches: what is beside the panels


# region
def checked(name: str, n: int, settings: dict[str, Any]) -> tuple[diffeo.DensityFlow, DensityReport]:
    """A fit, and what is known of it."""
    toy = TOYS[name]().double()
    train, validation, test = (toy.sample(k, torch.Generator().manual_seed(j)) for j, k in enumerate((n, n // 5, 5000)))
    flow = diffeo.DensityFlow(check=False, **settings).fit(train.numpy(), validation=validation.numpy())
    return flow, density_report(flow.law_, train, validation=validation, test=test, entropy=toy.entropy)


# endregion


def main(
    names: Sequence[str] = tuple(TOYS), n: int = 5000, out: Path = ASSETS / "densities.png", **settings: Any
) -> dict[str, float]:
    """Fit all of them; none may be called a density that is none, and none may be far from the truth."""
    count = len(names)
    side = square(count, **ROOM)
    figure = Figure(figsize=(WIDTH, 3 * side + 0.72))
    rows = [squares(figure, count, bottom, **ROOM) for bottom in (2 * side + 0.46, side + 0.18, 0.08)]
    # region
    excess = {}
    for name, panels in zip(names, zip(*rows, strict=True), strict=True):
        flow, report = checked(name, n, settings)
        assert report.held_out is not None
        assert report.sound, report.problems
        excess[name] = -report.held_out.mean - TOYS[name]().entropy
        # endregion
        said = f"{-report.held_out.mean:.3f} ± {report.held_out.error:.3f} nats, entropy {TOYS[name]().entropy:.3f}"
        print(f"{name:12} {said}, ∫p = {report.mass.value:.4f}, round trip {report.round_trip:.0e}")
        column(panels, name, flow, report)
    for (first, *_), text in zip(rows, ("exact", "fitted", "what the flow does"), strict=True):
        first.set_ylabel(text, fontsize=NORMAL, color=INK)
    save(figure, out)
    assert max(excess.values()) < 0.3
    return excess


def column(panels: Sequence[Axes], name: str, flow: diffeo.DensityFlow, report: DensityReport) -> None:
    """Three panels below each other: the law, the fit in the same colors, the grid."""
    toy = TOYS[name]().double()
    high = torch.full((2,), REACH.get(name, 4.2), dtype=torch.float64)
    limit = plot.density(panels[0], toy, -high, high, bar=False)
    plot.density(panels[1], flow.law_, -high, high, limit=limit, bar=False)
    assert report.held_out is not None
    data = toy.sample(2000, torch.Generator().manual_seed(9))
    plot.carried_plane(panels[2], flow.phi_, data, base=flow.law_.base, paths=25)
    excess = -report.held_out.mean - toy.entropy
    for ax, title in zip(panels, (name, f"{'+' if excess >= 0 else '−'}{abs(excess):.3f} nats", ""), strict=True):
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        ax.set_title(title, loc="left", fontsize=NORMAL, color=INK, pad=3)


if __name__ == "__main__":
    main()
