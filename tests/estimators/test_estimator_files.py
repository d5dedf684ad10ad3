"""Trained estimators come back from files as they were, and a file that holds none is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffeo.estimators import DensityFlow, ResNetClassifier, ResNetRegressor, load_estimator, parts, save_estimator
from diffeo.estimators.files import kind_of, read_estimator
from diffeo.fields import FeatureField
from diffeo.io.tree import load_tree, save_tree
from diffeo.kernels import GaussianKernel
from diffeo.losses import RidgeLoss
from diffeo.solvers import Midpoint
from diffeo.training import WAYS

QUICK = {"depth": 3, "width": 8, "max_iter": 3}


def data(n=30, seed=0):
    """Points of the plane, whether they are outside of a circle, and two values."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    r = np.linalg.norm(x, axis=1)
    return x, np.where(r > 1.1, "outside", "inside"), np.stack([r, 3 * x[:, 0]], 1)


def check_same(path, estimator, x):
    """What is loaded is the same to the last bit, and saved as the same bytes; it predicts the same up to rounding,
    which depends on where numbers lie in memory."""
    save_estimator(path, estimator)
    loaded = load_estimator(path)
    assert type(loaded) is type(estimator)
    for name in ("phi_", "read_in_", "read_out_"):
        before, after = getattr(estimator, name).state_dict(), getattr(loaded, name).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert not any(p.requires_grad for p in getattr(loaded, name).parameters())
    assert loaded.get_params().keys() == estimator.get_params().keys()
    np.testing.assert_allclose(loaded.transform(x), estimator.transform(x), rtol=1e-4, atol=1e-5)
    save_estimator(path.with_name("again.safetensors"), loaded)
    assert path.with_name("again.safetensors").read_bytes() == path.read_bytes()
    return loaded


@pytest.mark.parametrize("field", parts.FIELDS)
@pytest.mark.parametrize("head", parts.HEADS)
def test_every_field_and_head_comes_back(tmp_path, field, head):
    x, labels, _ = data()
    estimator = ResNetClassifier(field=field, head=head, **QUICK).fit(x, labels)
    loaded = check_same(tmp_path / "a.safetensors", estimator, x)
    np.testing.assert_allclose(loaded.predict_proba(x), estimator.predict_proba(x), rtol=1e-3, atol=1e-5)
    assert loaded.classes_.tolist() == ["inside", "outside"]
    assert loaded.n_features_in_ == 2


@pytest.mark.parametrize("train", list(WAYS))
def test_every_way_of_training_comes_back(tmp_path, train):
    x, _, values = data()
    estimator = ResNetRegressor(train=train, **QUICK).fit(x, values)
    loaded = check_same(tmp_path / "a.safetensors", estimator, x)
    np.testing.assert_allclose(loaded.predict(x), estimator.predict(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"extra_dims": 2}, {"affine_layers": 1}, {"dtype": "float64"}, {"scale": 0.5}], ids=str
)
def test_whatever_it_was_called_with_comes_back(tmp_path, options):
    x, _, values = data()
    estimator = ResNetRegressor(**QUICK, **options).fit(x, values[:, 0])
    loaded = check_same(tmp_path / "a.safetensors", estimator, x)
    assert loaded.get_params() == estimator.get_params()
    assert loaded.predict(x).shape == (len(x),)


def test_objects_come_back_as_objects(tmp_path):
    x, labels, _ = data()
    field = FeatureField(GaussianKernel(0.5), 2, 8)
    estimator = ResNetClassifier(field=field, head=RidgeLoss(0.1, classes=2), solver=Midpoint(), **QUICK).fit(x, labels)
    assert not estimator.head.fitted  # the estimator's own is a copy
    loaded = check_same(tmp_path / "a.safetensors", estimator, x)
    assert isinstance(loaded.field, FeatureField)
    assert isinstance(loaded.head, RidgeLoss)
    assert loaded.head.penalty == 0.1
    assert loaded.solver == Midpoint()
    again = loaded.fit(x, labels)
    np.testing.assert_allclose(again.predict_proba(x), estimator.predict_proba(x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("labels", [[3, 7], [False, True], ["é", "b c"], [0.0, 1.0]], ids=str)
def test_labels_of_all_kinds_come_back(tmp_path, labels):
    x, inside, _ = data()
    y = np.array(labels)[(inside == "inside").astype(int)]
    loaded = check_same(tmp_path / "a.safetensors", ResNetClassifier(**QUICK).fit(x, y), x)
    assert loaded.classes_.dtype == y.dtype
    assert loaded.classes_.tolist() == sorted(labels)


def test_names_of_columns_and_metadata_come_back(tmp_path):
    class Frame:  # what scikit-learn asks of a data frame is columns and an array
        columns = np.array(["height", "breadth"], object)
        shape = (30, 2)

        def __array__(self, dtype=None, copy=None):
            return data()[0]

    x, labels, _ = data()
    estimator = ResNetClassifier(**QUICK).fit(x, labels)
    estimator.feature_names_in_ = Frame.columns
    save_estimator(tmp_path / "a.safetensors", estimator, {"table": "a.csv", "score": 0.5})
    loaded, metadata = read_estimator(tmp_path / "a.safetensors")
    assert loaded.feature_names_in_.tolist() == ["height", "breadth"]
    assert loaded.feature_names_in_.dtype == object
    assert (metadata["table"], metadata["score"]) == ("a.csv", 0.5)


DENSITIES = {
    "plain": {},
    "one component, single precision": {"components": 1, "dtype": "float32"},
    "double precision": {"dtype": "float64", "time_limit": 60.0},
    "bounds and periods": {"bounds": {0: (0.0, float("inf"))}, "periods": {1: 2 * np.pi}},
    "a context": {"context": True},
}


@pytest.mark.parametrize("case", DENSITIES)
def test_densities_come_back(tmp_path, case):
    """The same likelihoods and the same draws; and what was loaded is saved as the same bytes."""
    options = dict(DENSITIES[case])
    x = np.abs(data(60)[0]) + 0.1
    given = {"context": x[:, :1] > 1} if options.pop("context", False) else {}
    estimator = DensityFlow(depth=2, width=6, max_iter=2, **options).fit(x, **given)
    path = tmp_path / "a.safetensors"
    save_estimator(path, estimator, {"why": "a test"})
    loaded, metadata = read_estimator(path)
    assert kind_of(path) == type(loaded).__name__ == "DensityFlow"
    assert metadata["why"] == "a test"
    assert loaded.get_params() == estimator.get_params()
    assert not any(p.requires_grad for p in loaded.law_.parameters())
    np.testing.assert_allclose(loaded.score_samples(x, **given), estimator.score_samples(x, **given), rtol=1e-7)
    draws = [law.sample(5, **{k: v[:3] for k, v in given.items()}, random_state=1) for law in (loaded, estimator)]
    np.testing.assert_allclose(*draws, rtol=1e-7)
    assert loaded.geodesic_distance_ == estimator.geodesic_distance_
    contents = []
    for _ in range(2):
        save_estimator(path, load_estimator(path))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_the_kind_of_other_files_is_none(tmp_path):
    save_tree(tmp_path / "a.safetensors", {"class": "DensityFlow"}, {"format": "something else"})
    (tmp_path / "b.safetensors").write_bytes(b"DensityFlow")
    assert [kind_of(tmp_path / name) for name in ("a.safetensors", "b.safetensors", "none")] == [None] * 3


def test_what_cannot_be_saved_is_said(tmp_path):
    x, labels, _ = data()
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="not trained yet: call fit"):
        save_estimator(path, ResNetClassifier())
    with pytest.raises(ValueError, match="choose it by its name"):
        save_estimator(path, ResNetClassifier(train=WAYS["gradient"](), **QUICK).fit(x, labels))
    with pytest.raises(
        ValueError, match="expects one of ResNetClassifier, ResNetRegressor, DensityFlow, and got a dict"
    ):
        save_estimator(path, {})

    class Mine(ResNetClassifier):
        pass

    with pytest.raises(ValueError, match="got a Mine"):
        save_estimator(path, Mine(**QUICK).fit(x, labels))
    assert not path.exists()


DAMAGE = {
    "another class": lambda tree: tree | {"class": "GradientBoosting"},
    "another field": lambda tree: tree | {"learned": {"phi_": {"module": {"class": "Magic"}, "state": {}}}},
    "an unknown parameter": lambda tree: tree | {"parameters": {"magic": 1}},
    "nothing learned": lambda tree: {"class": tree["class"], "parameters": {}},
    "no map": lambda tree: tree | {"learned": {"phi_": 3}},
    "another state": lambda tree: tree | {"learned": {"phi_": tree["learned"]["phi_"] | {"state": {}}}},
}


@pytest.mark.parametrize("case", DAMAGE)
def test_files_that_describe_no_estimator_are_refused(tmp_path, case):
    x, labels, _ = data()
    path = tmp_path / "a.safetensors"
    save_estimator(path, ResNetClassifier(**QUICK).fit(x, labels))
    tree, metadata = load_tree(path)
    save_tree(path, DAMAGE[case](tree), metadata)
    with pytest.raises(ValueError, match="does not describe an estimator that this version knows") as caught:
        load_estimator(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    save_tree(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {"format": "something"})
    with pytest.raises(ValueError, match="is not a trained estimator of diffeo"):
        load_estimator(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no such file"):
        load_estimator(tmp_path / "b.safetensors")
