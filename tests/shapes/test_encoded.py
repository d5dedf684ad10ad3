"""Raw inputs: carried to where φ takes what the read-in makes of them."""

import pytest
import torch

from diffeo.core import objective
from diffeo.flows import Affine, LearnedAffine
from diffeo.heads import Chain, Head, Identity, LinearReadIn, LinearReadOut, ZeroPadding
from diffeo.losses import CrossEntropyLoss, LandmarkLoss
from diffeo.shapes import Encoded, Points
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud, distance, like, slope

F64 = torch.float64


class Flatten(Head):
    """Pictures as long rows."""

    def forward(self, x):
        return x.flatten(1)

    def arguments(self):
        return {}


@pytest.mark.parametrize("entry", learning.READ_INS, ids=str)
def test_inputs_are_carried_to_the_image_of_their_code(entry):
    head, x = entry(3), cloud(8, 3)
    z = head(x)
    phi, weights = LearnedAffine(z.shape[1], matrix=0.3 * cloud(z.shape[1], z.shape[1])), torch.arange(8, dtype=F64)
    moved = phi @ Encoded(x, head, weights)
    assert type(moved) is Points
    assert distance(moved.x, phi(z)) == 0
    assert moved.weights is weights


def test_inputs_may_have_any_shape():
    x = cloud(5, 12).reshape(5, 3, 2, 2)
    code = Encoded(x, Chain([Flatten(), LinearReadIn(12, 2)])).points().x
    assert code.shape == (5, 2)
    assert distance(Encoded(x.flatten(1), LinearReadIn(12, 2)).points().x, code) == 0


def test_gradients_reach_the_read_in():
    """Those of the objective, by finite differences in every parameter of the read-in, the map and the read-out."""
    read_in, phi = learning.read_in(3)(4, F64, 0), zoo.DIFFEOS[0](3)
    loss = CrossEntropyLoss(LinearReadOut(3, 3).to(F64))
    pair = (Encoded(cloud(learning.ROWS, 4), read_in), learning.labels(0))
    unknowns = [*read_in.parameters(), *phi.parameters(), *loss.parameters()]
    gradients = torch.autograd.grad(objective(phi, [pair], loss, 0.1).total, unknowns)
    for p, gradient in zip(unknowns, gradients, strict=True):
        start, v = p.detach().clone(), like(p[None])[0]

        def along(s, p=p, start=start, v=v):
            with torch.no_grad():
                p.copy_(start + s * v)
                return float(objective(phi, [pair], loss, 0.1).total)

        expected = slope(along)
        along(0.0)
        assert float((gradient * v).sum()) == pytest.approx(expected, rel=1e-7)


def test_inputs_are_converted_and_heads_follow():
    shape = learning.encoded(2, F64, 0)
    single = shape.to(torch.float32)
    assert single.read_in is shape.read_in
    assert single.points().x.dtype == torch.float32
    assert distance(single.points().x, shape.points().x) < 1e-6
    assert Encoded(cloud(3, 2), Identity(), torch.ones(3, dtype=F64)).to(torch.float32).weights.dtype == torch.float32


def test_layers_see_the_points():
    """What a layer on a grid, or a step of a descent, asks a shape for."""
    shape, target = learning.encoded(2, F64, 0), Points(cloud(learning.ROWS, 2, seed=5))
    moving, leaves = shape.differentiable()
    plain, expected = shape.points().differentiable()
    gradients = [torch.autograd.grad(LandmarkLoss()(m, target), x) for m, x in ((moving, leaves), (plain, expected))]
    assert distance(gradients[0][0], gradients[1][0]) == 0
    grid = zoo.placed(2)
    assert distance(shape.pulled(gradients[0], grid), shape.points().pulled(gradients[0], grid)) == 0


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(3), r"inputs of shape \(n, p\) .* got torch.float32 of shape \(3,\)"),
        (torch.ones(3, 2).long(), "floating-point inputs .* got torch.int64"),
        (torch.ones(0, 2), r"n ≥ 1, and got torch.float32 of shape \(0, 2\)"),
        ([[1.0]], "and got list"),
        (torch.tensor([[1.0, torch.nan], [0.0, 1.0]]), "finite inputs: 1 of 2 rows have NaN or infinite"),
    ],
    ids=range(5),
)
def test_inputs_that_are_none_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        Encoded(x, Identity())


def test_a_code_that_is_none_is_told_apart_from_bad_inputs():
    identity = Affine(torch.eye(2), torch.zeros(2))
    with pytest.raises(ArithmeticError, match="the read-in sends inputs to infinity or NaN"):
        identity @ Encoded(torch.ones(3, 2), LinearReadIn(2, 2, offset=torch.tensor([torch.inf, 0.0])))
    with pytest.raises(ValueError, match=r"positions as a tensor of shape \(n, d\)"):
        identity @ Encoded(torch.ones(3, 2, 2), ZeroPadding(0))
