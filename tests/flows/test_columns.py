"""Bounded columns: what the map is where it is known, near the bounds, and outside."""

import math

import pytest
import torch

from diffeo.flows import Bounded
from tests.oracles import distance

INF = math.inf


def box(low, high, scale=None, dtype=torch.float64):
    """Bounds given as lists."""
    low, high = torch.tensor(low, dtype=dtype), torch.tensor(high, dtype=dtype)
    return Bounded(low, high, None if scale is None else torch.tensor(scale, dtype=dtype))


def test_each_kind_of_column_by_its_formula():
    phi = box([0.0, 1.0, -INF, -INF], [1.0, INF, 2.0, INF], [1.0, 3.0, 0.5, 1.0])
    x = torch.tensor([[0.2, 4.7, 1.9, -7.0], [0.9, 1.01, -30.0, 1e6]], dtype=torch.float64)
    expected = [
        0.5 + (x[:, 0] / (1 - x[:, 0])).log() / 4,
        1 + 3 * (1 + ((x[:, 1] - 1) / 3).log()),
        2 - 0.5 * (1 + ((2 - x[:, 2]) / 0.5).log()),
        x[:, 3],
    ]
    assert distance(phi(x), torch.stack(expected, 1)) < 1e-13


def test_the_middle_stays_with_derivative_one():
    phi = box([-1.0, 2.0, -INF], [5.0, INF, 2.0], [1.0, 3.0, 0.5])
    x = torch.tensor([[2.0, 5.0, 1.5]], dtype=torch.float64)
    moved, jacobian = phi.with_jacobian(x)
    assert distance(moved, x) < 1e-14
    assert distance(jacobian[0], torch.eye(3, dtype=torch.float64)) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_whatever_comes_back_lies_within_and_can_be_sent_again(dtype):
    """However far out a base law draws; close to a bound that is 0, to full relative precision."""
    phi = box([0.0, 0.0, -INF], [1.0, INF, 3.0], dtype=dtype)
    y = torch.tensor([-1e4, -20.0, -8.0, 0.5, 8.0, 30.0], dtype=dtype)[:, None].expand(-1, 3)
    x = phi.inverse(y)
    assert bool(phi.contains(x).all())
    assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())
    assert distance(phi(x)[1:4, :2] / y[1:4, :2], torch.ones(3, 2)) < 1e3 * torch.finfo(dtype).eps


def test_the_inverse_has_gradients_where_other_columns_would_overflow():
    y = torch.tensor([[1e4, -1e4, 2.0, 0.0]], dtype=torch.float32, requires_grad=True)
    phi = box([0.0, -1.0, -INF, 0.0], [1.0, INF, INF, INF], dtype=torch.float32)
    phi.inverse(y).sum().backward()
    assert bool(torch.isfinite(y.grad).all())


def test_points_at_or_outside_the_bounds_are_named():
    phi = box([0.0, -INF], [1.0, 2.0])
    x = torch.tensor([[0.5, 0.0], [0.5, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    assert phi.contains(x).tolist() == [True, False, False]
    for method in (phi, phi.with_logdet, phi.with_jacobian, phi.with_volumes, phi.path):
        with pytest.raises(ValueError, match=r"2 of 3 points .* row 1, column 1 is 2, and between -inf and 2"):
            method(x)


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        ([0.0], [0.0], None),
        ([1.0], [0.0], None),
        ([0.0], [math.nan], None),
        ([0.0], [1.0, 2.0], None),
        ([0.0], [1.0], [0.0]),
    ],
)
def test_bounds_that_are_none_are_refused(low, high, scale):
    with pytest.raises(ValueError, match="Bounded expects"):
        box(low, high, scale)
