"""The pictures of diagnostics say what was found, and nothing is clipped or written over."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from diffeo.viz import plot
from tests.oracles import cloud
from tests.viz.texts import clipped, crossing, written

F64 = torch.float64


def measured(k: int, layers: int = 6, prior: float = 0.01) -> SimpleNamespace:
    """A point of training that converges like 10^{-k/4}."""
    of_layers = {
        name: 10.0 ** (-j) * torch.ones(layers, dtype=F64) for j, name in enumerate(("grams", "jacobians", "norms"))
    }
    own = SimpleNamespace(**of_layers, gradients=torch.linspace(1, 2, layers, dtype=F64)) if layers else None
    return SimpleNamespace(iteration=2 * k, gap=10 ** (-k / 4), constant=0.3, posterior=0.1, prior=prior, layers=own)


def geodesic(d: int = 2, n: int = 5, steps: int = 4) -> SimpleNamespace:
    """What is half as dear again as it need be."""
    ways = {
        name: [cloud(n, d) + (0.1 + 0.05 * j) * k for k in range(steps + 1)]
        for j, name in enumerate(("path", "geodesic_path", "reshot_path"))
    }
    speeds = torch.linspace(1, 1.5, steps, dtype=F64)
    numbers = {"energy": 1.5, "trajectory_energy": 1.2, "geodesic_energy": 1.0, "gap": 0.5, "reshooting": 0.123}
    return SimpleNamespace(**ways, **numbers, speeds=speeds, length=1.25)


def regular(depth: int, n: int = 20) -> SimpleNamespace:
    """Layers that differ by 1/L."""
    frequencies = torch.linspace(0, 30, 40, dtype=F64)
    power = (-frequencies.square() / 8).exp().expand(depth, -1)
    return SimpleNamespace(
        depth=depth, jumps=torch.full((depth - 1,), 1 / depth, dtype=F64), largest_jump=1 / depth,
        frequencies=frequencies, power=power, singular_values=1 + 0.3 * cloud(n, 2).abs(),
    )  # fmt: skip


def certified(rates=(0.2, 1.3, 0.5), points: bool = True) -> SimpleNamespace:
    """Layers of which one is not certified."""
    bounds = [SimpleNamespace(residual=r, largest=1 + r, smallest=max(0.0, 1 - r)) for r in rates]
    seen = SimpleNamespace(smallest=torch.full((3,), 0.9, dtype=F64), largest=torch.full((3,), 1.1, dtype=F64))
    return SimpleNamespace(
        bounds=bounds, layers_invertible=[r < 1 for r in rates], lipschitz=4.1, inverse_lipschitz=float("inf"),
        measured=seen if points else None,
    )  # fmt: skip


COURSE = [measured(k) for k in range(20)]
PICTURES = {
    "convergence": lambda: plot.convergence(COURSE, {"as measured": [1.2 * c.gap for c in COURSE]}, title="A training"),
    "convergence of a map without layers": lambda: plot.convergence([measured(k, 0, prior=0.0) for k in range(3)]),
    "geodesicity": lambda: plot.geodesicity(geodesic(), title="A flow"),
    "geodesicity on a line": lambda: plot.geodesicity(geodesic(1)),
    "geodesicity in space": lambda: plot.geodesicity(geodesic(4, n=100)),
    "regularity of one": lambda: plot.regularity([regular(6)]),
    "regularity of several depths": lambda: plot.regularity([regular(n) for n in (4, 8, 16)], title="Three depths"),
    "regularity of two ways": lambda: plot.regularity([regular(6), regular(6)], ["one", "other"]),
    "certificate": lambda: plot.certificate(certified(), title="A flow"),
    "certificate without points": lambda: plot.certificate(certified(points=False)),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.slow
def test_nothing_is_clipped_or_written_over(name, monkeypatch):
    figure = PICTURES[name]()
    texts = written(figure, monkeypatch)
    assert len(texts) > 10
    assert not clipped(figure, texts)
    assert not crossing(texts)


def captions(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def test_the_course_shows_what_was_measured_and_what_was_promised():
    figure = PICTURES["convergence"]()
    assert captions(figure) == ["Loss", "Polyak–Łojasiewicz constant", "Layers"]
    loss, constants, layers = (lines(ax) for ax in figure.axes)
    assert loss["measured"] == pytest.approx([c.gap for c in COURSE])
    assert (loss["no slower: as measured"] > loss["measured"]).all()
    assert set(constants) == {"measured", "certified a posteriori", "certified a priori"}
    assert layers["‖gradient‖"] == pytest.approx(np.linspace(1, 2, 6))
    assert captions(PICTURES["convergence of a map without layers"]()) == ["Loss", "Polyak–Łojasiewicz constant"]
    with pytest.raises(ValueError, match="at least two measurements, and got 1"):
        plot.convergence(COURSE[:1])


def test_bars_are_energies():
    figure = PICTURES["geodesicity"]()
    assert captions(figure)[2] == "Energy: 50 % above a geodesic's"
    assert [bar.get_width() for bar in figure.axes[2].patches] == pytest.approx([1.5, 0.78125, 1.2, 1.0])
    assert any("12.3 % away" in text.get_text() for text in figure.axes[2].texts)
    assert lines(figure.axes[1])["geodesic"] == pytest.approx(np.sqrt(2))


def test_depths_are_compared_where_there_are_several():
    several, same = (PICTURES[f"regularity of {name}"]() for name in ("several depths", "two ways"))
    assert lines(several.axes[0])["largest difference"] == pytest.approx([1 / 4, 1 / 8, 1 / 16])
    assert set(lines(same.axes[0])) == {"one", "other"}
    with pytest.raises(ValueError, match="at least one map"):
        plot.regularity([])


def test_layers_that_are_not_certified_have_another_color():
    bars = PICTURES["certificate"]().axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([0.2, 1.3, 0.5])
    assert bars[0].get_facecolor() == bars[2].get_facecolor() != bars[1].get_facecolor()


def test_bounds_that_are_infinite_leave_the_picture():
    """What was measured, and what is bounded, is seen all the same."""
    inf = float("inf")
    residuals, stretches = plot.certificate(certified((inf, 0.2, inf))).axes
    assert residuals.get_ylim()[1] == pytest.approx(1.155)
    assert stretches.get_ylim()[1] == pytest.approx(1.05 * 1.2)
    assert stretches.patches[0].get_height() > 1e3
    everything = plot.certificate(certified((inf, inf, inf))).axes[1]
    assert everything.get_ylim()[1] == pytest.approx(1.05 * 1.1)


def test_pictures_fit_into_others():
    """As parts of a larger one."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    above, below = figure.subfigures(2, 1)
    assert plot.geodesicity(geodesic(), figure=above) is above
    plot.convergence(COURSE, figure=below)
    assert len(figure.axes) == 6
