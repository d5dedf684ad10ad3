"""One pair, three ways to a diffeomorphism: shot, flowed, grown; what each pays for the same result. (about 20 s)

A geodesic has one unknown, its initial momentum. A flow has one per layer, and finds the same path: where the energy is
penalized, its best time-dependent velocity is a geodesic. A descent has none; it goes downhill greedily, fast at first,
and pays for that.
"""

import math
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.viz import plot
from diffeo.viz.style import FAINT, GREEN, INK, NORMAL, ORANGE, SKY, SMALL, dress

KERNEL = diffeo.GaussianKernel(0.4)
LOOK = {  # of the three speeds; two of them coincide
    "Geodesic": {"color": SKY, "lw": 6},
    "Flow": {"color": INK, "lw": 2, "ls": "--"},
    "Descent": {"color": GREEN, "lw": 2.4},
}


def strip(bend: float, n: int) -> diffeo.Curve:
    """A closed curve of n points: the unit circle for 0, flattened and bent to a crescent toward 1."""
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    x, y = angle.cos(), (1 - 0.6 * bend) * angle.sin()
    if bend:
        turn, radius = 1.9 * bend * x, 1 / (1.9 * bend)
        x, y = (radius - y) * turn.sin(), radius - (radius - y) * turn.cos() - 0.5 * bend
    index = torch.arange(n)
    return diffeo.Curve(torch.stack([x, y], 1), edges=torch.stack([index, (index + 1) % n], 1))


def speeds(phi: diffeo.Diffeo) -> Tensor:
    """‖v_t‖_V in every layer."""
    if isinstance(phi, diffeo.Geodesic):
        return torch.stack([(p * (phi.kernel(q) @ p)).sum() for q, p in phi.shoot()[:-1]]).sqrt()
    norms = torch.stack([layer.velocity.sqnorm() for layer in phi.layers()]).sqrt()
    return len(norms) * norms if isinstance(phi, diffeo.Descent) else norms  # which knows displacements


def main(n: int = 60, steps: int = 10, iterations: int = 150, out: Path = ASSETS / "three_ways.png") -> dict:
    """Fit all three with one kernel, one loss and one weight, and compare what they cost."""
    # region
    source, target = strip(0.0, n), strip(0.85, round(1.2 * n))
    ways = {
        "Geodesic": diffeo.Geodesic(KERNEL, source.x, diffeo.Ralston(), steps),
        "Flow": diffeo.Flow(diffeo.KernelField(KERNEL, source.x), diffeo.Ralston(), steps, carried=True),
        "Descent": diffeo.Descent(KERNEL),
    }
    loss = diffeo.VarifoldLoss(diffeo.GaussianKernel(0.25))
    last = {}
    for name, phi in ways.items():
        history = diffeo.fit(phi, [(source, target)], loss, weight=1e-2, max_iterations=iterations, tolerance=1e-4)
        last[name] = history[-1]
        # endregion
        print(
            f"{name:9} energy {last[name].energy:.3f}, data term {history[0].data:.2f} → {last[name].data:.1e}, ",
            end="",
        )
        print(f"{len(history) - 1} iterations in {last[name].seconds:.1f} s")
        phi.requires_grad_(False)
    save(picture(ways, last, source, target), out)

    geodesic, flow, descent = (last[name] for name in ways)
    assert geodesic.objective <= 1.02 * flow.objective  # the same minimum, with a tenth of the unknowns
    assert abs(flow.energy / geodesic.energy - 1) < 0.05
    assert descent.energy > 2 * geodesic.energy
    assert float(speeds(ways["Flow"]).std() / speeds(ways["Flow"]).mean()) < 0.05  # it became a geodesic
    return last


def picture(ways: dict, last: dict, source: diffeo.Curve, target: diffeo.Curve) -> Figure:
    """The three deformed grids, and how fast each path is gone through."""
    lo, hi = torch.full((2,), -1.3, dtype=torch.float64), torch.full((2,), 1.3, dtype=torch.float64)
    room = {"left": 0.42, "right": 0.85, "gap": 0.14}
    height = square(3, **room) + 2.65
    figure = Figure(figsize=(WIDTH, height))
    for ax, (name, phi) in zip(squares(figure, 3, 2.3, **room), ways.items(), strict=True):
        plot.grid(ax, phi, lo, hi, 25, limit=1.5, bar=name == "Descent")
        for shape, color, width in ((target, ORANGE, 4.0), (phi @ source, "black", 1.4)):
            ax.add_collection(LineCollection(list(shape.x[shape.edges].numpy()), colors=color, linewidths=width))
        title = f"{name}: energy {last[name].energy:.2f}, data {last[name].data:.1e}"
        ax.set_title(title, loc="left", fontsize=NORMAL, color=INK)
        ax.set(xlabel="", ylabel="", xlim=(-1.42, 1.42), ylim=(-1.42, 1.42))
        ax.tick_params(labelleft=name == "Geodesic")
    ax = figure.add_axes((0.55 / WIDTH, 0.48 / height, 5.6 / WIDTH, 1.4 / height))
    for name, phi in ways.items():
        speed = speeds(phi)
        ax.stairs(speed, torch.linspace(0, 1, len(speed) + 1), label=name, baseline=None, **LOOK[name])
    dress(ax, "time  (layers passed / all layers)", "speed ‖v‖")
    ax.set(xlim=(0, 1), ylim=(0, None))
    ax.grid(visible=True, color=FAINT, alpha=0.25)
    ax.plot([], [], color=ORANGE, lw=4, label="(above) target")
    ax.plot([], [], color="black", lw=1.4, label="(above) φ · source, a circle")
    ax.legend(frameon=False, fontsize=SMALL + 1, loc="upper left", bbox_to_anchor=(1.02, 1.08))
    return figure


if __name__ == "__main__":
    main()
