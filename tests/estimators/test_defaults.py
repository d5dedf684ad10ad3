"""What estimators do unless told otherwise."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

import diffeo
from diffeo.core import Compose
from diffeo.estimators.defaults import EXTENT, LABELS, VALUES, shrunk
from diffeo.losses import CrossEntropyLoss, ProcessLoss, SquaredLoss
from diffeo.shapes import Points
from tests.oracles import cloud


def waves(n=60, seed=0):
    """A smooth function of two of three columns."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] ** 2


def test_rare_large_values_do_not_reach_far():
    x = cloud(50, 3, size=0.2)
    x[0, 1] = 40.0
    spread = x * shrunk(x).exp()
    extent = spread.amax(0) - spread.amin(0)
    assert bool((extent <= EXTENT * (1 + 1e-12)).all())
    torch.testing.assert_close(spread[:, 0], x[:, 0])


def test_smooth_values_are_foreseen():
    (x, y), (other, truth) = waves(), waves(seed=1)
    reg = diffeo.ResNetRegressor().fit(x, y)
    assert isinstance(reg.read_out_, ProcessLoss)
    assert reg.score(other, truth) > 0.8
    scales = reg.phi_.diffeos[0].matrix.diagonal().tolist()
    assert scales[2] == min(scales)  # the third column says nothing


def test_a_choice_of_any_part_leaves_the_recipe():
    x, y = waves()
    options = {"depth": 2, "width": 8, "max_iter": 2}
    assert isinstance(diffeo.ResNetRegressor(head="linear", **options).fit(x, y).read_out_, SquaredLoss)
    assert isinstance(diffeo.ResNetClassifier(solver="heun", **options).fit(x, y > 1).read_out_, CrossEntropyLoss)


@pytest.mark.parametrize("recipe", [VALUES, LABELS], ids=["values", "labels"])
def test_without_moving_only_scales_are_left(recipe):
    phi = dataclasses.replace(recipe, move=False).model(cloud(20, 3, size=1.0))
    assert isinstance(phi, Compose)
    assert phi.energy().item() == 0
    assert len(phi.diffeos) == 1
    assert len(recipe.model(cloud(20, 3, size=1.0)).diffeos) == 2


def test_the_same_value_everywhere_is_predicted_everywhere():
    x, y = waves(20)
    reg = diffeo.ResNetRegressor(max_iter=5).fit(x, np.full_like(y, 3.0))
    np.testing.assert_allclose(reg.predict(x), 3.0)


def test_a_process_needs_no_values_that_differ():
    moved = Points(cloud(6, 2).requires_grad_())
    loss = ProcessLoss(diffeo.GaussianKernel(1.0), 0.1)
    value = loss(moved, torch.ones(6, 1, dtype=torch.float64))
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(moved.x.grad).all())


@pytest.mark.slow
def test_noise_is_not_learned_by_heart():
    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:350], order[350:]
    assert diffeo.ResNetRegressor().fit(x[train], y[train]).score(x[test], y[test]) > 0.3


@pytest.mark.slow
def test_a_flow_stays_where_it_foresees_more():
    x = cloud(150, 2, torch.float32, size=1.0)
    edge = (10 * (x.norm(dim=1, keepdim=True) - 1)).tanh()
    recipe = dataclasses.replace(VALUES, steps=60)
    assert recipe.sure(x, edge / edge.std()) is recipe
    many, noise = cloud(300, 10, torch.float32, size=1.0), cloud(300, 1, torch.float32, seed=1, size=0.8)
    assert not recipe.sure(many, 0.6 * many[:, :1] + noise).move
    assert recipe.sure(x[:10], edge[:10]) is recipe  # too few to tell
