"""The pictures of densities: true, whole, and legible."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from diffeo.core import Compose
from diffeo.diagnostics import density_report
from diffeo.laws import Conditional, Gaussian, Mixture, Transported, Wrapped
from diffeo.viz import plot
from diffeo.viz.density import CELLS, cells_of, on_grid
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud
from tests.viz.texts import clipped, crossing, written

F64 = torch.float64
RECORDS = [SimpleNamespace(iteration=k, objective=0.8**k - 0.4, data=0.8**k - 0.5, energy=k, stage=0) for k in range(9)]
LONG = ["a price with a very long name in €, $\\alpha_{2}$ {}"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def law_of(d, strength=1.0):
    phi = zoo.flow(zoo.GAUSSIAN, 3)(d, F64, 0)
    with torch.no_grad():
        for p in phi.parameters():
            p.mul_(strength)
    return Transported(phi, Gaussian(torch.zeros(d, dtype=F64), 0.7 * torch.eye(d, dtype=F64)))


def page(law, data=None, drawn=None, **options):
    data = law.sample(200, seeded(1)) if data is None else data
    report = density_report(law, data, test=data[:50], entropy=-5.0 if "exact" in options else None)
    return plot.density_overview(law, data, data if drawn is None else drawn, report, RECORDS, **options)


def bounded(d):
    return Transported(Compose([zoo.bounded(d, F64, 0), law_of(d).phi]), law_of(d).base)


def periodic():
    return Wrapped(law_of(2), torch.tensor([2.0, math.inf], dtype=F64), torch.tensor([-1.0, 0.0], dtype=F64), copies=2)


def conditional():
    law = Transported(zoo.affine(3, F64, 0), Conditional(learning.mixture(False)(3, F64, 0), 1))
    return page(law, law.sample(200, seeded()))


PAGES = {
    "one column": lambda: page(law_of(1), names=LONG, exact=law_of(1)),
    "two columns": lambda: page(law_of(2), title="A table with $ in its name"),
    "two columns, the exact density beside": lambda: page(law_of(2), exact=law_of(2), names=LONG * 2),
    "five columns": lambda: page(law_of(5), names=LONG * 5),
    "a fold": lambda: page(law_of(2, 40.0), cloud(200, 2)),
    "bounds": lambda: page(bounded(2)),
    "a circle": lambda: page(periodic()),
    "given another column": conditional,
    "columns of other sizes": lambda: page(
        Transported(
            zoo.Affine(torch.tensor([[1e4, 0.0], [0.0, 1e-5]], dtype=F64).inverse(), torch.zeros(2, dtype=F64)),
            Gaussian.standard(2, F64),
        )
    ),
}
QUICK = ("one column", "a fold")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in PAGES])
def test_no_text_is_clipped_or_written_over(name, monkeypatch):
    figure = PAGES[name]()
    texts = written(figure, monkeypatch)
    assert len(texts) > 30
    assert not clipped(figure, texts)
    assert not crossing(texts)
    words = " ".join(text for text, _ in texts)
    for warning in ("No density", "it folds at", "red: none, φ folds"):
        assert (warning in words) == (name == "a fold" or (name == "given another column" and warning == "No density"))


def test_a_map_shows_the_density():
    law, ax = law_of(2), Figure().add_subplot()
    lo, hi = torch.tensor([-1.0, -2.0], dtype=F64), torch.tensor([2.0, 1.0], dtype=F64)
    limit = plot.density(ax, law, lo, hi)
    shown = ax.images[0].get_array()
    cells = len(shown)
    x = lo + (hi - lo) * torch.tensor([30.5, 120.5], dtype=F64) / cells
    assert float(shown[120, 30]) == pytest.approx(float(law(x[None]).exp().detach()))
    assert ax.images[0].get_extent() == [-1.0, 2.0, -2.0, 1.0]
    mass = np.sort(shown.ravel())
    assert mass[mass <= limit].sum() / mass.sum() == pytest.approx(0.98, abs=1e-3)
    assert ax.images[0].norm.vmax == limit


def test_beyond_bounds_there_is_nothing():
    ax = Figure().add_subplot()
    plot.density(ax, bounded(2), torch.tensor([-4.0, 2.0], dtype=F64), torch.tensor([0.0, 6.0], dtype=F64))
    shown = ax.images[0].get_array()
    assert not shown[60:].any()  # above 3
    assert not shown[:, :60].any()  # below −2.6
    assert shown.max() > 0


def test_a_curve_is_the_density_over_its_data():
    law, ax = law_of(1), Figure().add_subplot()
    x = law.sample(500, seeded())
    highest = plot.density(ax, law, x.amin(0), x.amax(0), data=x, exact=law.log_prob, names=["t [s]"])
    fitted, exact = (line.get_xydata() for line in ax.lines)
    assert np.allclose(fitted, exact)
    assert fitted[:, 1].max() == highest
    assert np.trapezoid(fitted[:, 1], fitted[:, 0]) == pytest.approx(1, abs=0.02)
    bars = sum(patch.get_height() * patch.get_width() for patch in ax.patches)
    assert bars == pytest.approx(1)
    assert ax.get_xlabel() == "t [s]"


def test_rows_are_carried_from_where_they_are_to_the_base():
    units = zoo.affine(2, F64, 0)
    law, ax = Transported(Compose([units, law_of(2).phi]), law_of(2).base), Figure().add_subplot()
    x = law.sample(40, seeded())
    plot.carried_plane(ax, law.phi, x, base=law.base)
    first, last = (dots.get_offsets() for dots in ax.collections[-2:])
    assert np.allclose(first, units(x).numpy())
    assert np.allclose(last, law.phi(x).detach().numpy())
    ends = np.concatenate([first, last])
    assert (ends > [ax.get_xlim()[0], ax.get_ylim()[0]]).all()
    assert (ends < [ax.get_xlim()[1], ax.get_ylim()[1]]).all()


@pytest.mark.slow
def test_pairs_of_columns_show_all_the_data():
    x, figure = torch.cat([cloud(60, 4), 100 * cloud(60, 2)], 1), Figure(figsize=(7, 7))
    plot.marginals(figure, x, x + 0.01, names=[f"c{k}" for k in range(6)], columns=[0, 4, 5])
    panel = next(ax for ax in figure.axes if ax.get_xlabel() == "c0" and ax.get_ylabel() == "c5")
    assert np.allclose(np.sort(panel.collections[0].get_offsets(), 0), np.sort(x[:, [0, 5]].numpy(), 0))
    assert panel.get_xlim()[0] < x[:, 0].min()
    assert panel.get_ylim()[1] > x[:, 5].max()
    with pytest.raises(ValueError, match="1 to 4 of these"):
        plot.marginals(figure, x, x, columns=range(5))
    with pytest.raises(ValueError, match="as many columns"):
        plot.marginals(figure, x, x[:, :3])


def test_rows_of_one_column_are_a_line_as_the_key_says():
    figure = Figure()
    plot.marginals(figure, cloud(60, 1), cloud(90, 1))
    rows = figure.legends[0].legend_handles[0]
    assert (rows.get_linestyle(), rows.get_marker()) == ("-", "None")


def test_modes_narrower_than_a_cell_are_seen():
    """What a map holds in all is 1, also where the centers of cells are all next to the modes."""
    lo, hi, eye = torch.tensor([-100.0, -400]).double(), torch.tensor([300.0, 700]).double(), torch.eye(2).double()
    means = torch.tensor([[0.7, 0.4], [200.0, 0], [30, 600]]).double()
    for narrow in (1e-3, 0.3, 20.0):
        law = Mixture(torch.full((3,), 1 / 3).double(), means, (narrow * eye).expand(3, 2, 2))
        cell = float(((hi - lo) / CELLS).prod())
        assert on_grid(law, lo, hi).sum() * cell == pytest.approx(1, abs=0.03)
        centers = np.exp(law(cells_of(lo, hi, CELLS)).numpy()).sum() * cell
        assert (abs(centers - 1) > 0.2) == (narrow < 1)


def test_modes_narrower_than_a_step_are_seen():
    """A curve in one dimension is as high as the density, wherever the modes are."""
    means, factors = torch.tensor([[0.0], [5000.0]]).double(), torch.full((2, 1, 1), 0.5).double()
    law = Mixture(torch.tensor([0.5, 0.5]).double(), means, factors)
    axes = Figure().add_subplot()
    plot.density(axes, law, torch.tensor([-1000.0]).double(), torch.tensor([6000.0]).double())
    x, y = axes.lines[0].get_data()
    assert np.asarray(y).max() == pytest.approx(0.5 / math.sqrt(2 * math.pi) / 0.5, rel=0.01)
    assert (np.diff(np.asarray(x)) >= 0).all()


def test_maps_of_one_limit_have_the_same_level_lines():
    law, other = law_of(2), Gaussian.standard(2, F64)
    figure = plot.law(law, exact=other, names=["a", "b [m]"])
    exact, fitted = (ax for ax in figure.axes if ax.images)
    assert [ax.get_title(loc="left") for ax in (exact, fitted)] == ["Exact", "Fitted"]
    for ax in (exact, fitted):
        assert ax.images[0].norm.vmax == exact.images[0].norm.vmax
        contours = ax.collections[0]
        assert np.allclose(contours.levels, np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * ax.images[0].norm.vmax)
    on = np.concatenate([path.vertices for path in exact.collections[0].get_paths() if len(path.vertices)])
    p = other(torch.tensor(on)).exp().numpy() / exact.images[0].norm.vmax
    assert np.abs(p[:, None] - [0.1, 0.3, 0.5, 0.7, 0.9]).min(1).max() < 0.01


@pytest.mark.slow
def test_any_law_has_a_picture(monkeypatch):
    for law in (learning.mixture(False)(1, F64, 0), Gaussian.standard(2, F64), Gaussian.standard(5, F64)):
        figure = plot.law(law, title="A law")
        texts = written(figure, monkeypatch)
        assert not clipped(figure, texts)
        assert not crossing(texts)
        words = " ".join(text for text, _ in texts)
        assert ("4,000 rows drawn" if law.dim == 5 else "A law") in words
        assert "data" not in words
        assert "fitted" not in words
    curve = plot.law(learning.mixture(False)(1, F64, 0)).axes[0].lines[0].get_xydata()
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(1, abs=0.02)
    corners = torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64)
    assert plot.law(Gaussian.standard(2, F64), *corners).axes[0].get_xlim() == (0, 1)


def test_laws_that_have_no_picture_are_refused():
    with pytest.raises(ValueError, match="depends on a context"):
        plot.law(Conditional(learning.mixture(False)(3, F64, 0), 1))
    with pytest.raises(ValueError, match="leave them out"):
        plot.law(Gaussian.standard(3), exact=Gaussian.standard(3))


def test_what_is_shown_of_a_law_stays_within_its_bounds_and_one_period():
    from diffeo.viz.density_overview import corners

    law = bounded(2)
    inside = law.sample(500, seeded())
    lo, hi = corners(law, inside)
    box = law.phi.diffeos[0]
    assert (lo >= box.low).all()
    assert (hi <= box.high).all()
    assert bool((lo < inside.amin(0)).all() and (hi > inside.amax(0)).all())
    around = periodic()
    x = around.sample(500, seeded())
    lo, hi = corners(around, x)
    assert float(hi[0] - lo[0]) == pytest.approx(2.0)
    assert float(hi[1] - lo[1]) > float(x[:, 1].amax() - x[:, 1].amin())


@pytest.mark.slow
def test_a_column_given_another_is_a_map_of_its_density(monkeypatch):
    law = Transported(zoo.affine(2, F64, 0), Conditional(learning.mixture(False)(2, F64, 0), 1))
    rows = law.sample(100, seeded())
    x, c = rows[:, :1], rows[:, 1:]
    report = density_report(law, rows, test=rows[:20])
    figure = plot.density_overview(law, x, x, report, RECORDS, context=c, names=["t [s]"])
    texts = written(figure, monkeypatch)
    assert not clipped(figure, texts)
    assert not crossing(texts)
    ax = next(ax for ax in figure.axes if ax.images)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("context  (standardized)", "t [s]")
    (left, right), (bottom, top), shown = ax.get_xlim(), ax.get_ylim(), ax.images[0].get_array()
    cells = len(shown)
    at = torch.tensor([[bottom + (top - bottom) * 60.5 / cells, left + (right - left) * 30.5 / cells]], dtype=F64)
    assert float(shown[60, 30]) == pytest.approx(float(law(at).exp()))


@pytest.mark.slow
def test_a_row_that_is_far_away_does_not_hide_the_others(monkeypatch):
    law = law_of(2)
    x = law.sample(200, seeded())
    x[0] = 300.0
    texts = written(page(law, x), monkeypatch)
    assert "1 row of data beyond" in [text for text, _ in texts]
    assert not crossing(texts)
    ax = Figure().add_subplot()
    plot.carried_plane(ax, law.phi, x)
    assert ax.get_xlim()[1] < 20


def test_names_that_are_too_long_keep_their_units():
    from diffeo.viz.density import labels

    assert labels(["alkalinity of the ash [meq/l]", "short", "an exceedingly long name"], 3) == [
        "alkalinity… [meq/l]",
        "short",
        "an exceedingly long…",
    ]
    for wrong in (["a"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="one for each of the 2 columns"):
            labels(wrong, 2)


def test_corners_that_are_none_are_refused():
    for lo, hi in ((torch.zeros(3), torch.ones(3)), (torch.zeros(2), torch.zeros(2)), (torch.zeros(1), torch.ones(2))):
        with pytest.raises(ValueError, match="corners lo < hi"):
            plot.density(Figure().add_subplot(), Gaussian.standard(2), lo, hi)
