"""Convolutional residual networks: fused steps are those of the solver, with all derivatives."""

import pytest
import torch

from diffeo.fields import ConvField
from diffeo.flows import Flow
from diffeo.flows.convolved import ConvolvedLayer
from diffeo.flows.layers import FieldLayer
from diffeo.solvers import Euler, Midpoint
from tests.oracles import cloud, like, relative

SHAPE = (8, 5, 5)


def field(seed: int = 0, center: bool = False) -> ConvField:
    """Large enough that loops pay."""
    c = cloud(1, 200, seed=9)[0] if center else None
    return ConvField(SHAPE, 8, seed=3, coefficients=cloud(8, 72, seed=seed, size=0.3), center=c)


def network(center: bool = False, **options) -> Flow:
    """Three layers that differ."""
    return Flow([field(k, center) for k in range(3)], Midpoint(), **options)


def plain(phi: Flow, x: torch.Tensor) -> torch.Tensor:
    """By the solver, evaluation after evaluation, in torch alone."""
    for f in phi.layer_fields():
        assert isinstance(f, ConvField)

        def velocity(z, f=f):
            return torch.nn.functional.conv2d(f.activations(z), f.outer, padding=1).flatten(1)

        x = x + velocity(x + velocity(x) / (2 * phi.steps)) / phi.steps
    return x


def derivatives(value, unknowns, create_graph=False):
    """Of a weighted sum."""
    weights = like(value, seed=7)
    return torch.autograd.grad((weights * value).sum(), unknowns, create_graph=create_graph)


@pytest.mark.parametrize("options", [{}, {"center": True}, {"checkpoint": True}], ids=str)
def test_a_network_is_what_the_solver_says_and_its_gradients_are_those_of_the_discrete_map(options):
    phi, x = network(**options), cloud(60, 200).requires_grad_()
    assert all(isinstance(layer, ConvolvedLayer) for layer in phi.layers())
    unknowns = [x, *phi.parameters()]
    moved, expected = phi(x), plain(phi, x)
    assert relative(moved, expected) < 1e-12
    for g, other in zip(derivatives(moved, unknowns), derivatives(expected, unknowns), strict=True):
        assert relative(g, other) < 1e-10


def test_gradients_of_gradients():
    phi, x = network(), cloud(45, 200).requires_grad_()
    unknowns = [x, *phi.parameters()]

    def second(value):
        first = derivatives(value, unknowns, create_graph=True)
        return torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), unknowns)

    for g, other in zip(second(phi(x)), second(plain(phi, x)), strict=True):
        assert relative(g, other) < 1e-10


def test_other_solvers_and_few_points_take_the_ordinary_way():
    assert type(Flow(field(), Euler(), 2).layers()[0]) is FieldLayer
    phi, x = network(), cloud(60, 200)
    assert relative(torch.cat([phi(part) for part in x.split(7)]), phi(x)) < 1e-12


def test_only_the_points_or_only_the_layers_are_differentiated():
    phi, x = network(), cloud(60, 200)
    expected = derivatives(plain(phi, x), list(phi.parameters()))
    for g, other in zip(derivatives(phi(x), list(phi.parameters())), expected, strict=True):
        assert relative(g, other) < 1e-10
    phi.requires_grad_(False)
    x.requires_grad_()
    assert relative(*derivatives(phi(x), [x]), *derivatives(plain(phi, x), [x])) < 1e-10
