"""A word set in one typeface, warped into another: plane curves as varifolds, no pairs of points. (about 15 s)

The outlines have seven components and their holes, sampled differently. One map of the whole plane moves them all.
"""

from pathlib import Path

import numpy as np
import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

import diffeo
from diffeo.viz import plot
from diffeo.viz.style import caption


# region
def outline(text: str, spacing: float, **font: str) -> diffeo.Curve:
    """The outline of a text 100 units high, as closed polygons with points about ``spacing`` units apart."""
    points, edges, count = [], [], 0
    for loop in TextPath((0, 0), text, size=100, prop=FontProperties(**font)).to_polygons():
        loop = np.asarray(loop)  # the last point is the first
        length = np.r_[0, np.linalg.norm(np.diff(loop, axis=0), axis=1).cumsum()]
        n = max(8, round(length[-1] / spacing))
        at = np.linspace(0, length[-1], n, endpoint=False)
        points.append(np.stack([np.interp(at, length, loop[:, k]) for k in (0, 1)], 1))
        edges.append(count + np.stack([np.arange(n), (np.arange(n) + 1) % n], 1))
        count += n
    return diffeo.Curve(torch.from_numpy(np.concatenate(points)), edges=torch.from_numpy(np.concatenate(edges)))


# endregion


def main(text: str = "diffeo", spacing: float = 1.5, out: Path = ASSETS / "curves.png") -> diffeo.Registration:
    """Register sans to serif italic; the strokes are 9 units wide, so that is the size of detail to look at."""
    # region
    source = outline(text, spacing, family="DejaVu Sans")
    target = outline(text, 1.07 * spacing, family="DejaVu Serif", style="italic")
    loss = diffeo.VarifoldLoss(diffeo.GaussianKernel(max(4.0, 1.2 * spacing)))
    result = diffeo.register(source, target, loss=loss, scale=[40, 20, 10, 5])
    # endregion

    figures = result.report
    print(f"distance {figures['distance_before']:.2f} → {figures['distance_after']:.2f} units", end=", ")
    print(f"det Dφ at least {figures['min_jacobian']:.2f}, flipped segments: {figures['flipped']}")
    save(picture(result), out)
    assert figures["distance_after"] < figures["distance_before"] / 10
    assert figures["min_jacobian"] > 0
    assert figures["flipped"] == 0
    return result


def picture(result: diffeo.Registration) -> Figure:
    """The two outlines, and below them the grid that the map makes of a square one, with the moved outline."""
    source, moved = result.source.x, result.moved
    figure = Figure(figsize=(WIDTH, 7.7))
    edges = {"left": 0.045, "right": 0.905, "top": 0.955, "bottom": 0.065, "hspace": 0.17}
    above, below = figure.subplots(2, 1, gridspec_kw=edges)
    plot.shapes(above, {"source": result.source, "target": result.target})
    caption(above, "Source and target")
    margin = 0.05 * float((source.amax(0) - source.amin(0)).max())
    plot.grid(below, result.phi, source.amin(0) - margin, source.amax(0) + margin, 60)
    assert isinstance(moved, diffeo.Curve)
    below.add_collection(LineCollection(moved.x[moved.edges].numpy(), colors="black", linewidths=1.4))
    caption(below, "φ · source, on the deformed grid")
    above.set(xlim=below.get_xlim(), ylim=below.get_ylim())
    for ax in (above, below):
        ax.set_aspect("equal", adjustable="box")
        ax.set(xlabel="" if ax is above else "units, of which the font is 100 high", ylabel="")
    return figure


if __name__ == "__main__":
    main()
