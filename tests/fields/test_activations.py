"""Activations: their derivative, and the range of it that certificates rely on."""

import pytest
import torch

from diffeo.fields import GELU, ReLU, Tanh
from tests.oracles import relative

F64 = torch.float64
activations = pytest.mark.parametrize("sigma", [ReLU(), Tanh(), GELU()], ids=repr)
Z = torch.linspace(-9, 9, 4001, dtype=F64)


@activations
def test_the_slope_is_the_derivative(sigma):
    z = Z[Z.abs() > 1e-9].clone().requires_grad_()
    (expected,) = torch.autograd.grad(sigma(z).sum(), z)
    assert relative(sigma.slope(z), expected) < 1e-12


@activations
def test_the_range_of_the_slope_is_exact(sigma):
    found = sigma.slope(Z)
    low, high = sigma.slopes
    assert low - 1e-12 <= float(found.min()) <= low + 1e-4
    assert high - 1e-4 <= float(found.max()) <= high + 1e-12
    assert sigma.lipschitz == max(abs(low), abs(high))


@activations
def test_nothing_comes_of_nothing(sigma):
    assert float(sigma(torch.zeros(1))) == 0
    assert bool((sigma(Z).abs() <= sigma.lipschitz * Z.abs() + 1e-15).all())


@activations
def test_precision_follows(sigma):
    for function in (sigma, sigma.slope):
        assert function(Z.float()).dtype == torch.float32
        assert relative(function(Z.float()), function(Z.float().double())) < 1e-6


def test_activations_are_values():
    assert ReLU() == ReLU()
    assert ReLU() != GELU()
    assert repr(Tanh()) == "Tanh()"
