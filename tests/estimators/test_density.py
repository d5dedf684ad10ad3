"""A density is a density: it integrates to 1, in any units, within bounds and around circles, and its map inverts."""

import math
import warnings

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from diffeo import DensityFlow
from diffeo.estimators import load_estimator, save_estimator

QUICK = {"max_iter": 2, "depth": 2, "width": 12, "components": 3, "check": False}
RNG = np.random.default_rng(0)
ARC = np.stack([RNG.normal(size=400), RNG.normal(size=400)], 1)
ARC[:, 1] = 0.3 * ARC[:, 1] + 0.5 * ARC[:, 0] ** 2
UNITS = np.array([3.0, 500.0]), np.array([-20.0, 1e5])


@pytest.fixture(scope="module")
def arc():
    return DensityFlow(max_iter=30, depth=3, width=20, components=2, random_state=1).fit(ARC)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.slow
@parametrize_with_checks([DensityFlow(**QUICK)])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


def grid(low, high, n):
    """Points in the middle of the cells of a box, and the area of a cell."""
    axes = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b in zip(low, high, strict=True)]
    area = math.prod((b - a) / n for a, b in zip(low, high, strict=True))
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes)), area


def test_it_integrates_to_one(arc):
    x, area = grid((-7, -7), (7, 14), 300)
    assert np.exp(arc.score_samples(x)).sum() * area == pytest.approx(1, abs=1e-3)


def test_it_is_better_than_a_gaussian(arc):
    cloud = np.random.default_rng(5).normal(size=(2000, 2))
    new = np.stack([cloud[:, 0], 0.3 * cloud[:, 1] + 0.5 * cloud[:, 0] ** 2], 1)
    entropy = 1 + math.log(2 * math.pi) + math.log(0.3)
    gaussian = 0.5 * np.linalg.slogdet(np.cov(ARC.T))[1] + 1 + math.log(2 * math.pi)
    assert -arc.score(new) < gaussian - 0.3
    assert -arc.score(new) > entropy - 0.1


def test_the_map_inverts_to_rounding(arc):
    np.testing.assert_allclose(arc.inverse_transform(arc.transform(ARC)), ARC, atol=1e-10)


def test_the_density_is_that_of_the_map(arc):
    """log p₀(φ(x)) + log|det Dφ(x)|, the determinant by automatic differentiation."""
    x = torch.from_numpy(ARC[:20])
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda y: arc.phi_(y[None])[0], row) for row in x])
    expected = arc.law_.base.log_prob(arc.phi_(x)) + jacobian.det().log()
    np.testing.assert_allclose(arc.log_prob(ARC[:20]), expected, atol=1e-8)


def test_units_change_the_density_by_their_volume():
    scale, shift = UNITS
    here, there = (DensityFlow(**QUICK, dtype="float64").fit(x) for x in (ARC, scale * ARC + shift))
    change = np.log(scale).sum()
    np.testing.assert_allclose(there.log_prob(scale * ARC + shift) + change, here.log_prob(ARC), atol=1e-6)


def test_samples_have_the_law(arc):
    drawn, density = arc.sample(4000, random_state=0, return_log_prob=True)
    np.testing.assert_allclose(density, arc.log_prob(drawn))
    np.testing.assert_allclose(drawn, arc.sample(4000, random_state=0))
    x, area = grid((-7, -7), (7, 14), 300)
    p = np.exp(arc.log_prob(x)) * area
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - p @ x) < 4.5 * error).all()
    entropy = -(p * np.log(np.maximum(p / area, 1e-300))).sum()
    assert -density.mean() == pytest.approx(entropy, abs=4.5 * density.std() / math.sqrt(len(drawn)))


def test_seeds_decide_everything():
    first, second = (DensityFlow(**QUICK, random_state=3).fit(ARC) for _ in range(2))
    np.testing.assert_array_equal(first.log_prob(ARC), second.log_prob(ARC))
    other = DensityFlow(**QUICK, random_state=4).fit(ARC)
    assert (other.log_prob(ARC) != first.log_prob(ARC)).any()


def test_what_is_held_out_may_be_given():
    given = DensityFlow(**QUICK).fit(ARC[:300], validation=ARC[300:])
    assert np.isfinite(given.score(ARC))
    assert (given.log_prob(ARC) != DensityFlow(**QUICK).fit(ARC[:300]).log_prob(ARC)).any()


def test_bounds_hold_and_all_mass_lies_within():
    rng = np.random.default_rng(1)
    rows = np.stack([rng.beta(2, 5, 500), rng.gamma(3.0, 1.0, 500)], 1)
    law = DensityFlow(**QUICK, bounds={0: (0, 1), 1: (0, np.inf)}).fit(rows)
    x, area = grid((0, 0), (1, 30), 400)
    assert np.exp(law.log_prob(x)).sum() * area == pytest.approx(1, abs=5e-3)
    drawn = law.sample(2000, random_state=0)
    assert (drawn > 0).all()
    assert (drawn[:, 0] < 1).all()
    assert np.isneginf(law.log_prob([[-0.1, 1.0], [0.5, -1.0], [2.0, 1.0], [1.0, 1.0]])).all()
    np.testing.assert_allclose(law.inverse_transform(law.transform(rows)), rows, atol=1e-10)


def test_angles_go_round():
    rng = np.random.default_rng(2)
    rows = np.stack([np.degrees(rng.vonmises(np.pi, 2, 600)) % 360 - 180, rng.normal(size=600)], 1)
    rows[:, 0] = (rows[:, 0] + 180 + 180) % 360  # around 0, where the numbers jump
    law = DensityFlow(**QUICK, periods={0: 360.0}).fit(rows)
    x, area = grid((0, -6), (360, 6), 250)
    assert np.exp(law.log_prob(x)).sum() * area == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(law.log_prob(rows), law.log_prob(rows + np.array([720, 0])), atol=1e-9)
    np.testing.assert_allclose(law.transform(rows), law.transform(rows + np.array([360, 0])), atol=1e-9)
    line = DensityFlow(**QUICK).fit(rows)
    assert law.score(rows) > line.score(rows)
    drawn = law.sample(500, random_state=0)[:, 0]
    assert (drawn >= 0).all()
    assert (drawn <= 360).all()
    np.testing.assert_allclose(law.inverse_transform(law.transform(rows)), rows, atol=1e-9)


def test_fewer_rows_than_columns_have_a_smoothed_density():
    rows = np.random.default_rng(3).normal(size=(6, 10))
    assert np.isfinite(DensityFlow(**QUICK).fit(rows).score(rows))


def test_one_column():
    rows = np.random.default_rng(4).exponential(2.0, (500, 1))
    law = DensityFlow(**QUICK).fit(rows)
    x, area = grid((-20,), (80,), 20_000)
    assert np.exp(law.log_prob(x)).sum() * area == pytest.approx(1, abs=1e-3)


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    settings = {**QUICK, "max_iter": 4}
    whole = DensityFlow(**settings).fit(ARC)
    seen = []

    def stop(record):
        seen.append(record)
        if len(seen) == 2:
            raise KeyboardInterrupt

    file = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        DensityFlow(**settings).fit(ARC, callbacks=[stop], checkpoint=file)
    resumed = DensityFlow(**settings).fit(ARC, checkpoint=file, resume=True)
    np.testing.assert_array_equal(resumed.log_prob(ARC), whole.log_prob(ARC))
    with pytest.raises(ValueError, match="another training"):
        DensityFlow(**settings).fit(ARC[1:], checkpoint=file, resume=True)


X = ARC.copy()
BAD_ROWS = {
    "constant column": (np.c_[X[:, 0], np.full(400, 2.0)], "column 1 is 2 in all 400 rows"),
    "copied column": (np.c_[X, -3 * X[:, 0] + 1], "columns 0 and 2 say the same"),
    "dependent column": (np.c_[X, X[:, 0] + 0.1 * X[:, 1]], "linear relation between columns 0, 1, 2"),
    "one huge value": (np.r_[X, [[1e30, 0.0]]], r"against 1e\+30 in row 400 of column 0"),
    "copies in few rows": (np.c_[X[:5], X[:5] @ [[1.0, 0, 2], [0, 1, 1]], -X[:5, 1]], "columns 0 and 2 say the same"),
    "last digits": (
        np.c_[X[:, 0], 1e9 + 1e-4 * X[:, 1]],
        "column 1 goes from 99999.*subtract",
    ),
    "one row": (X[:1], "n_samples=1"),
    "no rows": (X[:0], "0 sample"),
    "NaN": (np.r_[X, [[np.nan, 0.0]]], "column 0 has 1 NaN"),
    "texts": (np.array([["a", "b"]] * 5), "could not convert"),
    "a vector": (X[:, 0], "2D array"),
}


@pytest.mark.parametrize(("rows", "sentence"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_rows_without_a_density_are_refused(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        DensityFlow(**QUICK).fit(rows)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"components": 0}, "components expects"),
        ({"depth": 1.5}, "depth expects"),
        ({"weight": -1.0}, "weight expects"),
        ({"validation_fraction": 1.0}, "between 0 and 1"),
        ({"dtype": "float16"}, "float32"),
        ({"random_state": None}, "random_state expects"),
        ({"bounds": {7: (0, 1)}}, "knows columns 0..1"),
        ({"scale": 0}, "scale expects a number, above 0"),
        ({"weight": True}, "weight expects a number"),
        ({"validation_fraction": "a part"}, "between 0 and 1"),
        ({"validation_fraction": None}, "between 0 and 1"),
        ({"validation_fraction": 0.999}, "0.999 of 400 rows leaves 1"),
        ({"bounds": {0: (0, 1)}}, "strictly between 0 and 1"),
        ({"bounds": {0: 3}}, "pair"),
        ({"bounds": {0: (2, 1)}}, "low < high"),
        ({"bounds": [0]}, "dict"),
        ({"periods": {0: -1.0}}, "positive"),
        ({"periods": {"angle": 1.0}}, "knows columns"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        DensityFlow(**{**QUICK, **settings}).fit(ARC)


def test_points_to_go_back_have_no_names():
    """Those of columns are of the table's: the points are of the base."""
    rows = ARC.copy()
    law = DensityFlow(**QUICK).fit(rows)
    law.feature_names_in_ = np.array(["a", "b"], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law.inverse_transform(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"points of shape \(n, 2\), and got \(2, 3\)"):
        law.inverse_transform(np.zeros((2, 3)))


def test_questions_that_make_no_sense_are_refused(arc):
    with pytest.raises(ValueError, match="3 features"):
        arc.log_prob(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        arc.log_prob([[np.nan, 0.0]])
    with pytest.raises(ValueError, match="whole number"):
        arc.sample(0)
    with pytest.raises(ValueError, match="no context"):
        arc.sample(2, context=[[1.0], [2.0]])
    with pytest.raises(ValueError, match="not fitted"):
        clone(arc).sample(3)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_any_units_will_do(size):
    law = DensityFlow(**QUICK).fit(size * ARC)
    assert law.score(size * ARC) == pytest.approx(
        DensityFlow(**QUICK).fit(ARC).score(ARC) - 2 * math.log(size), abs=1e-3
    )


def heteroscedastic(n, seed):
    """Rows x and their context c: x given c is normal, around sin 2c, as wide as c tells."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-1.5, 1.5, n)
    return (np.sin(2 * c) + (0.2 + 0.15 * c**2) * rng.normal(size=n))[:, None], c[:, None]


@pytest.mark.slow
def test_a_conditional_density_is_recovered():
    """KL(true p(·|c) ‖ fitted), by quadrature over x, on a grid of c."""
    x, c = heteroscedastic(3000, 0)
    law = DensityFlow(max_iter=25).fit(x, context=c)
    divergences = []
    for value in np.linspace(-1.3, 1.3, 9):
        center, width = np.sin(2 * value), 0.2 + 0.15 * value**2
        at, step = np.linspace(center - 6 * width, center + 6 * width, 2001, retstep=True)
        true = np.exp(-0.5 * ((at - center) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        found = law.log_prob(at[:, None], np.full((2001, 1), value))
        divergences.append(step * (true * (np.log(np.maximum(true, 1e-300)) - found)).sum())
        assert step * np.exp(found).sum() == pytest.approx(1, abs=1e-2)
    assert np.mean(divergences) < 0.02
    assert np.max(divergences) < 0.06


def test_a_context_is_asked_for_and_moves_what_is_drawn():
    x, c = heteroscedastic(600, 1)
    law = DensityFlow(**QUICK).fit(x, context=c, validation=heteroscedastic(100, 2))
    drawn = law.sample(300, context=[[-0.8], [0.8]], random_state=0)
    assert drawn.shape == (600, 1)
    assert drawn[:300].mean() < -0.7
    assert drawn[300:].mean() > 0.7
    np.testing.assert_allclose(law.inverse_transform(law.transform(x, c), c), x, atol=1e-10)
    with pytest.raises(ValueError, match=r"context of shape \(600, 1\), and got none"):
        law.log_prob(x)
    for nothing in (None, []):
        with pytest.raises(ValueError, match=r"context of shape \(m, 1\), a row or more"):
            law.sample(5, context=nothing)
    with pytest.raises(ValueError, match=r"a pair \(rows, context\), as there is a context, and got a ndarray"):
        DensityFlow(**QUICK).fit(x, context=c, validation=x)
    with pytest.raises(ValueError, match="rows, as there is no context, and got a tuple"):
        DensityFlow(**QUICK).fit(x, validation=(x, c))
    with pytest.raises(ValueError, match="context"):
        law.log_prob(x, c[:-1])
    with pytest.raises(ValueError, match="NaN"):
        law.log_prob(x[:1], [[np.nan]])


def test_it_is_checked_after_the_fit(arc):
    report = arc.report_
    assert report.sound
    assert report.mass.value == pytest.approx(1, abs=1e-3)
    assert report.round_trip < 1e-10
    assert report.train.rows + report.held_out.rows == len(ARC)
    assert report.energy == pytest.approx(arc.energy_)
    assert DensityFlow(**QUICK).fit(ARC).report_ is None


def test_it_can_be_looked_at(arc):
    figure = arc.plot()
    assert len(figure.axes) >= 4
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any("No problem" in text for text in texts)
    assert not any(text.startswith("-") for text in texts)  # a minus sign is longer than a hyphen
    with pytest.raises(ValueError, match="one for each of the 2 columns"):
        arc.plot(names=["x"])
    with pytest.raises(ValueError, match="X together with their context"):
        arc.plot(context=np.zeros(len(ARC)))


def test_files_keep_no_rows_to_look_at(arc, tmp_path):
    save_estimator(tmp_path / "arc", arc)
    loaded = load_estimator(tmp_path / "arc")
    np.testing.assert_array_equal(loaded.log_prob(ARC), arc.log_prob(ARC))
    assert loaded.plot(ARC, title="Arc").axes
    with pytest.raises(ValueError, match="file, which keeps none"):
        loaded.plot()


def test_where_nothing_is_trained_there_is_a_record_all_the_same():
    law = DensityFlow(check=False).fit(np.random.default_rng(6).normal(size=(60, 1)))
    assert law.energy_ == 0
    assert [record.iteration for record in law.history_.records] == [0]
    assert law.history_.converged
    assert "nothing" in law.history_.reason
