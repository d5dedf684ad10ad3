"""The pictures of networks: true, whole, and legible."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

import diffeo
from diffeo.estimators.files import load_estimator, save_estimator
from diffeo.estimators.shown import energies, some
from diffeo.viz.learned import View, course, view, volumes
from diffeo.viz.target_labels import MOST_LOOKS, Labels
from diffeo.viz.target_values import Values
from tests.viz.networks import NETWORKS, trained
from tests.viz.texts import clipped, crossing, written

QUICK = ("spirals",)


def marked(*quick):
    return [pytest.param(n, marks=[] if n in quick else [pytest.mark.slow]) for n in NETWORKS]


@cache
def picture(name, title=None):
    """That of a network; shared."""
    net = trained(name)
    return net.estimator.plot(names=net.names, title=title)


def panel(figure, caption):
    return next(ax for ax in figure.axes if ax.get_title(loc="left").startswith(caption))


def places(ax):
    """Where dots are, sorted."""
    found = [c for c in ax.collections if isinstance(c, PathCollection) and c.get_facecolor().size]
    return sorted(np.concatenate([c.get_offsets() for c in found]).tolist())


@pytest.mark.parametrize("name", marked(*QUICK))
@pytest.mark.slow
def test_no_text_is_clipped_or_written_over(name, monkeypatch):
    figure = picture(name)
    texts = written(figure, monkeypatch)
    assert len(texts) > 40
    assert not clipped(figure, texts)
    assert not crossing(texts)


def test_rows_are_where_the_layers_carry_them():
    net, figure = trained("spirals"), picture("spirals")
    start, end = net.estimator.encode(net.X).numpy(), net.estimator.transform(net.X)
    np.testing.assert_allclose(places(panel(figure, "At the start")), sorted(start.tolist()))
    np.testing.assert_allclose(places(panel(figure, "After the last of 3 layers")), sorted(end.tolist()), atol=1e-12)
    np.testing.assert_allclose(places(panel(figure, "Answers")), sorted(net.X.tolist()))
    assert panel(figure, "Answers").get_xlabel() == "x [m]"


def test_regions_are_those_of_the_answers():
    net, figure = trained("spirals"), picture("spirals")
    for caption, answers in (
        ("Answers", net.estimator.predict_proba),
        ("After", lambda z: net.estimator._answers(torch.tensor(z))),
    ):
        image = panel(figure, caption).images[0]
        left, right, low, high = image.get_extent()
        shown = np.asarray(image.get_array())
        rows, columns = np.arange(5, 160, 30), np.arange(7, 160, 30)
        x = left + (right - left) * (columns + 0.5) / 160
        y = low + (high - low) * (rows + 0.5) / 160
        p = answers(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)).reshape(len(rows), len(columns), 2)
        colors = np.array([to_rgb(color) for color in ("#0072B2", "#E69F00")])
        pale = 1 - shown[np.ix_(rows, columns)]
        expected = (1 - colors)[p.argmax(-1)]
        strength = pale.sum(-1) / expected.sum(-1)
        np.testing.assert_allclose(pale, strength[..., None] * expected, atol=1e-9)  # of that hue
        np.testing.assert_allclose(
            strength / strength.max(), (2 * p.max(-1) - 1) / (2 * p.max(-1) - 1).max(), atol=1e-9
        )


@pytest.mark.slow
def test_a_surface_is_what_is_predicted():
    net = trained("surface")
    image = panel(picture("surface"), "Answers").images[0]
    left, right, low, high = image.get_extent()
    x, y = left + (right - left) * 40.5 / 160, low + (high - low) * 120.5 / 160
    assert float(image.get_array()[120, 40]) == pytest.approx(float(net.estimator.predict([[x, y]])[0]))


def test_a_curve_is_what_is_predicted():
    net, figure = trained("curve"), picture("curve")
    line = max(panel(figure, "Answers").lines, key=lambda line: len(line.get_xdata()))
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    np.testing.assert_allclose(y, net.estimator.predict(x[:, None]), atol=1e-9)
    np.testing.assert_allclose(places(panel(figure, "Answers")), sorted(np.stack([net.X[:, 0], net.y], 1).tolist()))
    end = np.stack([net.estimator.transform(net.X)[:, 0], net.y], 1)
    np.testing.assert_allclose(places(panel(figure, "After")), sorted(end.tolist()), atol=1e-9)


@pytest.mark.slow
def test_wrong_answers_have_rings():
    net = trained("grown")
    wrong = int((net.estimator.predict(net.X) != net.y).sum())
    assert wrong
    last = panel(picture("grown"), "After")
    rings = [c for c in last.collections if isinstance(c, PathCollection) and not c.get_facecolor().size]
    assert [len(c.get_offsets()) for c in rings] == [wrong]


@pytest.mark.parametrize("name", ["wine", pytest.param("diabetes", marks=pytest.mark.slow)])
def test_the_table_says_what_the_estimator_says(name, monkeypatch):
    net = trained(name)
    words = [text for text, _ in written(net.estimator.plot(report=REPORT[name]), monkeypatch)]
    certificate, energy = net.estimator.certificate(), float(net.estimator.phi_.energy())
    for value in (net.estimator.score(net.X, net.y), energy, (2 * energy) ** 0.5, certificate.lipschitz, 0.1234):
        assert f"{value:.4g}" in words
    assert f"{sum(certificate.layers_invertible)} of {len(certificate.bounds)}" in words


REPORT = {
    "wine": {"holdout": {"rows": 20, "accuracy": 0.1234}},
    "diabetes": {"holdout": {"rows": 20, "r2": 0.1234, "rmse": 3.0}, "target": "progression"},
}


@pytest.mark.parametrize("name", ["spirals", "grown", "surface", "several"])
def test_layers_share_the_energy(name):
    phi = trained(name).estimator.phi_
    parts = energies(phi)
    assert parts.sum() == pytest.approx(float(phi.energy()), rel=1e-6)
    assert len(parts) == len(phi.path(trained(name).estimator.encode(trained(name).X[:1]))) - 1


def shown(name):
    net = trained(name)
    return net.estimator._shown("plot", None, None, net.names)


def test_directions_tell_classes_apart():
    learned = shown("wine")
    seen = view(learned)
    np.testing.assert_allclose(seen.matrix.T @ seen.matrix, np.eye(2), atol=1e-9)
    z = trained("wine").estimator.transform(trained("wine").X) @ seen.matrix
    truth = learned.target.truth
    means = np.stack([z[truth == k].mean(0) for k in range(3)])
    nearest = np.linalg.norm(z[:, None] - means, axis=2).argmin(1)
    assert (nearest == truth).mean() > 0.97
    assert "tell the classes apart" in seen.remark


def test_directions_tell_a_value():
    net, seen = trained("diabetes"), view(shown("diabetes"))
    z = net.estimator.transform(net.X)
    along = abs(np.corrcoef(z @ seen.matrix[:, 0], net.y)[0, 1])
    assert along > 0.6
    assert along > max(abs(np.corrcoef(column, net.y)[0, 1]) for column in z.T)
    assert "the one that best tells the value" in seen.remark
    assert "the longest of the others" in seen.remark


def test_directions_of_targets_that_are_all_the_same_are_the_longest():
    z = draws = np.random.default_rng(0).normal(size=(30, 5)) * [1, 9, 1, 1, 5]
    target = Values(np.ones((30, 1)), np.ones((30, 1)), ["y"], "rows")
    assert target.directions(draws).shape == (5, 0)
    labels = Labels(np.zeros(30, np.intp), np.ones((30, 1)), ["a"], "rows")
    assert labels.directions(z).shape == (5, 0)


def test_moments_are_evenly_spread_and_end_with_the_map():
    net, learned = trained("grown"), shown("grown")
    found = course(learned, View(np.eye(2), ()), 9)
    np.testing.assert_allclose(found.rows[0], net.estimator.encode(net.X).numpy())
    np.testing.assert_allclose(found.rows[-1], net.estimator.transform(net.X), atol=1e-9)
    steps = np.linalg.norm(np.diff(found.rows, axis=0), axis=2).mean(1)
    assert steps.max() < 1.3 * steps.min()
    assert found.at[-1] == len(net.estimator.phi_.path(torch.zeros(1, 2, dtype=torch.float64))) - 1
    assert found.sheet is not None
    with pytest.raises(ValueError, match="2 moments or more"):
        course(learned, View(np.eye(2), ()), 1)


def test_volumes_are_those_of_the_map():
    net, learned = trained("spirals"), shown("spirals")
    expected = net.estimator.phi_.with_logdet(net.estimator.encode(net.X))[1]
    np.testing.assert_allclose(volumes(learned), expected.numpy())


def test_classes_are_told_apart_without_color():
    names = [f"class {k}" for k in range(MOST_LOOKS)]
    labels = Labels(np.arange(MOST_LOOKS), np.eye(MOST_LOOKS), names, "rows")
    looks = [labels._look(k) for k in range(MOST_LOOKS)]
    assert len(set(looks)) == MOST_LOOKS
    assert all(a[1] != b[1] for a, b in pairwise(looks))


def test_margins_are_leads():
    labels = Labels(np.array([0, 1]), np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), ["a", "b", "c"], "rows")
    np.testing.assert_allclose(labels.margins, [0.2, -0.3])
    assert labels.wrong.tolist() == [False, True]
    assert labels.facts()[0].value == 0.5


def test_other_rows_may_be_shown():
    net = trained("wine")
    figure = net.estimator.plot(net.X[:30], net.y[:30])
    assert panel(figure, "Confusion, rows")
    with pytest.raises(ValueError, match="X together with their targets"):
        net.estimator.plot(net.X)
    with pytest.raises(ValueError, match="the label 'merlot', which is none"):
        net.estimator.plot(net.X[:2], ["merlot", "barbera"])
    with pytest.raises(ValueError, match="2 for 3 rows"):
        net.estimator.plot(net.X[:3], net.y[:2])
    with pytest.raises(ValueError, match=r"as predicted, and got \(\)"):
        trained("diabetes").estimator.plot(trained("diabetes").X[:3], 0.0)
    with pytest.raises(ValueError, match=r"shape \(3, 1\), as predicted, and got \(2, 1\)"):
        trained("diabetes").estimator.plot(trained("diabetes").X[:3], [1.0, 2.0])


@pytest.mark.slow
def test_a_network_from_a_file_needs_rows(tmp_path, monkeypatch):
    net = trained("spirals")
    save_estimator(tmp_path / "net", net.estimator)
    loaded = load_estimator(tmp_path / "net")
    with pytest.raises(ValueError, match="plot expects rows: this network was loaded from a file"):
        loaded.plot()
    texts = written(loaded.plot(net.X, net.y), monkeypatch)
    assert "Training" not in [text for text, _ in texts]


def test_few_rows_are_kept():
    X = np.random.default_rng(0).normal(size=(2500, 2))
    clf = diffeo.ResNetClassifier(field="features", depth=1, width=4, max_iter=1).fit(X, X[:, 0] > 0)
    rows, y = clf.rows_
    assert len(rows) == len(y) == 2000
    np.testing.assert_array_equal(y, rows[:, 0] > 0)
    assert some(5, 9).tolist() == [0, 1, 2, 3, 4]
