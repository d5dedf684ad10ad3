"""The vocabulary: the equation, and the nouns that it joins."""

import pytest
import torch

from diffeo.core import Compose, Diffeo, Loss, objective
from diffeo.flows import Affine
from diffeo.losses import LandmarkLoss, MMDLoss
from diffeo.shapes import Points
from tests import zoo
from tests.oracles import cloud, distance

F64 = torch.float64


@pytest.mark.parametrize("entry", zoo.basic_first(zoo.DIFFEOS), ids=str)
def test_the_objective_is_energy_and_data(entry):
    """E(φ) = λ · ½∫‖v‖² + Σ D(φ · source, target)."""
    phi, loss = entry(2), MMDLoss(zoo.GAUSSIAN)
    pairs = [(zoo.POINTS(2, seed=k), zoo.POINTS(2, seed=k + 1)) for k in (1, 5)]
    value = objective(phi, pairs, loss, 0.3)
    data = sum(loss(phi @ source, target) for source, target in pairs)
    torch.testing.assert_close(value.data, data)
    torch.testing.assert_close(value.energy, phi.energy())
    torch.testing.assert_close(value.total, 0.3 * phi.energy() + data)
    assert all(part.shape == () for part in value)


def test_every_gradient_of_the_objective_is_there():
    for entry in zoo.DIFFEOS:
        phi = entry(2)
        parameters = [p for p in phi.parameters() if p.requires_grad]
        if parameters:
            value = objective(phi, [(zoo.POINTS(2), zoo.POINTS(2, seed=1))], LandmarkLoss(), 0.1).total
            assert all(g.abs().max() > 0 for g in torch.autograd.grad(value, parameters))


def test_composition_is_associative_and_flat():
    a, b, c = (entry(2) for entry in zoo.DIFFEOS[:3])
    x = cloud(5, 2)
    left, right = (a @ b) @ c, a @ (b @ c)
    assert distance(left(x), right(x)) == 0
    assert [type(part) for part in left.diffeos] == [type(part) for part in right.diffeos]
    assert len(left.diffeos) == 3
    assert left.diffeos[0] is c  # the last factor acts first


def test_the_action_of_a_product_is_the_product_of_the_actions():
    a, b, shape = zoo.DIFFEOS[0](2), zoo.DIFFEOS[5](2), zoo.CURVE(2)
    assert distance(((a @ b) @ shape).x, (a @ (b @ shape)).x) < 1e-14


def test_an_empty_composition_is_refused():
    with pytest.raises(ValueError, match="at least one diffeomorphism"):
        Compose([])


def test_affine_maps_form_a_group():
    a, b, x = zoo.affine(3, F64, 0), zoo.affine(3, F64, 1), cloud(5, 3)
    product = Affine(a.matrix @ b.matrix, a.matrix @ b.translation + a.translation)
    assert distance((a @ b)(x), product(x)) < 1e-14
    inverse = torch.linalg.inv(a.matrix)
    assert distance(a.inverse(x), Affine(inverse, -inverse @ a.translation)(x)) < 1e-13


def test_a_path_of_a_composition_is_joined_without_gaps():
    phi = zoo.compose(2, F64, 0)
    path = phi.path(cloud(5, 2))
    parts = [len(part.path(cloud(5, 2))) - 1 for part in phi.diffeos]
    assert len(path) == 1 + sum(parts)
    assert max(distance(a, b) for a, b in zip(path[1:], path, strict=False)) > 0.1


@pytest.mark.parametrize("noun", [Diffeo, Loss], ids=lambda noun: noun.__name__)
def test_abstract_nouns_cannot_be_built(noun):
    with pytest.raises(TypeError, match="abstract"):
        noun()


def test_maps_act_on_maps_and_shapes():
    phi = zoo.DIFFEOS[0](2)
    assert isinstance(phi @ phi, Compose)
    assert isinstance(phi @ zoo.POINTS(2), Points)
    for other in (3, cloud(3, 2), None, "shape"):
        with pytest.raises(TypeError):
            phi @ other
