"""The estimators keep scikit-learn's promises, and those of every field, head and way to train."""

import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import diffeo
from diffeo.core import Diffeo
from diffeo.estimators.parts import FIELDS, HEADS
from diffeo.training import WAYS

SMALL = {"depth": 4, "width": 32, "max_iter": 30}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.slow
@parametrize_with_checks([diffeo.ResNetClassifier(**SMALL), diffeo.ResNetRegressor(**SMALL)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def moons(n=80, seed=0):
    """Two half circles that reach into each other, and a smooth value on them."""
    draw = np.random.default_rng(seed)
    label = np.arange(n) % 2
    angle = np.pi * draw.random(n)
    x = np.stack([np.cos(angle) + label, (1 - 2 * label) * np.sin(angle) + 0.3 * label], 1)
    return x + 0.02 * draw.standard_normal(x.shape), label


@pytest.fixture(scope="module")
def trained():
    X, y = moons()
    return diffeo.ResNetClassifier(**SMALL).fit(X, y), X, y


def test_the_map_is_a_diffeomorphism(trained):
    clf, X, y = trained
    assert isinstance(clf.phi_, Diffeo)
    z = clf.encode(X)
    moved, logdet = clf.phi_.with_logdet(z)
    assert bool(torch.isfinite(logdet).all())
    torch.testing.assert_close(clf.phi_.inverse(moved), z, atol=1e-4, rtol=0)
    np.testing.assert_allclose(clf.transform(X), moved.numpy())
    assert clf.score(X, y) == 1


def test_probabilities_agree_with_labels(trained):
    clf, X, _ = trained
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-6)
    assert (clf.classes_[proba.argmax(1)] == clf.predict(X)).all()


def test_labels_may_be_words(trained):
    clf, X, y = trained
    words = np.array(["left", "right"])[y]
    other = clone(clf).fit(X, words)
    assert (other.predict(X) == np.array(["left", "right"])[clf.predict(X)]).all()


def test_training_is_reproducible(trained):
    clf, X, y = trained
    np.testing.assert_array_equal(clone(clf).fit(X, y).transform(X), clf.transform(X))


def test_units_of_columns_do_not_matter(trained):
    clf, X, y = trained
    other = clone(clf).fit(1e6 * X - 7, y)
    assert (other.predict(1e6 * X - 7) == clf.predict(X)).mean() > 0.98


@pytest.mark.slow
def test_a_pipeline_in_cross_validation():
    X, y = moons(120)
    scores = cross_val_score(make_pipeline(StandardScaler(), diffeo.ResNetClassifier(**SMALL)), X, y, cv=3)
    assert scores.min() > 0.9


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.slow
def test_every_field_and_head_regresses(name, head):
    X, _ = moons()
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    reg = diffeo.ResNetRegressor(field=name, head=head, **SMALL).fit(X, y)
    assert reg.score(X, y) > 0.8


FAST = {("features", way) for way in WAYS} | {("random-perceptron", "lbfgs"), ("kernel", "shooting")}
PAIRS = [
    pytest.param(name, way, marks=[] if (name, way) in FAST else [pytest.mark.slow])
    for name in FIELDS
    for way in sorted(WAYS)
]


@pytest.mark.parametrize(("name", "way"), PAIRS)
@pytest.mark.slow
def test_every_field_is_trained_in_every_way(name, way):
    X, y = moons()
    clf = diffeo.ResNetClassifier(field=name, train=way, **SMALL)
    clf.fit(X, y)
    assert min(record.objective for record in clf.history_.records) < 0.6 * clf.history_[0].objective


def test_affine_layers_and_extra_dimensions():
    X, y = moons()
    clf = diffeo.ResNetClassifier(affine_layers=2, extra_dims=1, **SMALL).fit(X, y)
    assert clf.transform(X).shape == (len(X), 3)
    assert clf.score(X, y) == 1


def test_several_outputs():
    X, _ = moons()
    Y = np.stack([X[:, 0] ** 2, X[:, 1]], 1)
    assert diffeo.ResNetRegressor(**SMALL).fit(X, Y).predict(X).shape == Y.shape


def test_interrupted_training_resumes_exactly(tmp_path):
    X, y = moons()
    whole = diffeo.ResNetClassifier(**SMALL).fit(X, y)

    class Stop(Exception):
        pass

    def stop(record):
        if record.iteration == 7:
            raise Stop

    file = tmp_path / "state.safetensors"
    with pytest.raises(Stop):
        diffeo.ResNetClassifier(**SMALL).fit(X, y, callbacks=[stop], checkpoint=file)
    resumed = diffeo.ResNetClassifier(**SMALL).fit(X, y, checkpoint=file, resume=True)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))
    with pytest.raises(ValueError, match="belongs to another training"):
        diffeo.ResNetClassifier(**{**SMALL, "depth": 5}).fit(X, y, checkpoint=file, resume=True)


def broken(kind):
    """Data that cannot be trained on."""
    X, y = moons(20)
    if kind == "NaN":
        X[3, 1] = np.nan
    if kind == "infinite":
        X[4, 0] = np.inf
    if kind == "one class":
        y[:] = 1
    if kind == "one row":
        X, y = X[:1], y[:1]
    if kind == "real labels":
        y = y + 0.5 * np.random.default_rng(0).random(len(y))
    if kind == "two label columns":
        y = np.stack([y, y], 1)
    return X, y


SENTENCES = {
    "NaN": r"column 1 has 1 NaN or infinite values \(inf\), the first in row 3",
    "infinite": r"column 0 has 1 NaN or infinite values \(inf\), the first in row 4",
    "one class": "at least two classes, and got one class only: 1",
    "one row": "expects two rows or more",
    "real labels": "Unknown label type",
    "two label columns": r"one label per row, shape \(n,\), and got \(20, 2\)",
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_bad_data_are_told_in_a_sentence(kind):
    with pytest.raises(ValueError, match=SENTENCES[kind]):
        diffeo.ResNetClassifier(**SMALL).fit(*broken(kind))


def test_bad_targets_are_told():
    X, _ = moons(20)
    y = X[:, 0].copy()
    y[2] = np.nan
    with pytest.raises(ValueError, match=r"column 0 \(y\) has 1 NaN"):
        diffeo.ResNetRegressor(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="expects numbers as targets"):
        diffeo.ResNetRegressor(**SMALL).fit(X, np.array(["a", "b"] * 10, dtype=object))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("field", "resnet"),
        ("head", 3),
        ("train", "magic"),
        ("solver", "leapfrog"),
        ("depth", 0),
        ("depth", 2.5),
        ("width", 1),
        ("weight", -1.0),
        ("tol", float("nan")),
        ("time_limit", 0),
        ("time_limit", "a minute"),
        ("dtype", "float16"),
        ("random_state", "zero"),
    ],
)
def test_bad_arguments_are_told(name, value):
    X, y = moons(20)
    with pytest.raises(ValueError, match=f"{name} expects"):
        diffeo.ResNetClassifier(**{**SMALL, name: value}).fit(X, y)


def test_a_search_may_go_over_numbers_of_numpy():
    X, y = moons(30)
    grid = {"depth": np.arange(1, 3), "weight": np.float32([1e-3]), "scale": np.float32([0.5])}
    for field in (None, "kernel"):
        search = GridSearchCV(
            diffeo.ResNetClassifier(field=field, max_iter=np.int64(2)), grid, cv=2, error_score="raise"
        )
        assert search.fit(X, y).best_params_["depth"] in (1, 2)
    one = diffeo.DensityFlow(depth=np.int64(2), width=np.int32(8), scale=np.float32(0.5), max_iter=np.int64(1))
    assert np.isfinite(one.fit(X).score(X))


def test_pipelines_may_name_what_comes_out():
    X, y = moons(30)
    clf = diffeo.ResNetClassifier(field="kernel", extra_dims=1, max_iter=1)
    with pytest.raises(NotFittedError):
        clf.get_feature_names_out()
    pipeline = make_pipeline(StandardScaler(), clf).set_output(transform="default").fit(X, y)
    names = [f"resnetclassifier{k}" for k in range(3)]
    assert pipeline.get_feature_names_out().tolist() == names
    assert pipeline.transform(X).shape == (30, 3)
    assert diffeo.DensityFlow().fit(X).get_feature_names_out().tolist() == ["densityflow0", "densityflow1"]


def test_a_time_limit_is_that_of_all_that_is_done():
    """A trial of whether a flow foresees values at all comes before the training."""
    X, y = moons(60)
    late = diffeo.ResNetRegressor(time_limit=1e-3).fit(X, X[:, 0] * y)
    assert late.history_.reason == "the time limit of 0.001 seconds was reached"
    start = time.perf_counter()
    seconds = diffeo.ResNetRegressor(max_iter=40).fit(X, X[:, 0] * y).history_[-1].seconds
    assert seconds > 0.7 * (time.perf_counter() - start)


def test_rows_of_another_width_are_refused(trained):
    clf, X, _ = trained
    with pytest.raises(ValueError, match="X has 3 features, but ResNetClassifier is expecting 2"):
        clf.predict(np.hstack([X, X[:, :1]]))


def test_before_training_there_is_nothing():
    with pytest.raises(NotFittedError):
        diffeo.ResNetClassifier().predict(np.zeros((2, 2)))


def test_constant_columns_and_huge_values_are_no_trouble():
    X, y = moons()
    wide = np.hstack([X * 1e300, np.full((len(X), 1), 5.0), np.full((len(X), 1), 1e308)])
    clf = diffeo.ResNetClassifier(**SMALL).fit(wide, y)
    assert clf.score(wide, y) == 1
