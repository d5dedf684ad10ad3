"""Very many Gaussians at once: the same densities as one by one, wherever they are, and the same gradients."""

import pytest
import torch

from diffeo.laws import Mixture
from diffeo.laws.quadratics import ERRORS, cancellation, coefficients, monomials, precise_enough, shares_of
from tests.oracles import cloud, distance

F32, F64 = torch.float32, torch.float64


def mixture(d: int, apart: float, wide: float, dtype: torch.dtype = F64, count: int = 40) -> Mixture:
    """Gaussians of about one width, all correlated, whose means lie apart."""
    covariance = torch.eye(d, dtype=F64) + 2.0
    factors = wide * torch.linalg.cholesky(covariance) * (1 + cloud(count, 1, seed=5).abs())[:, :, None]
    weights = 0.1 + cloud(count, 1, seed=4)[:, 0].abs()
    return Mixture(*(t.to(dtype) for t in (weights, apart * cloud(count, d, seed=3) + 2 * apart, factors)))


def one_by_one(law: Mixture, x: torch.Tensor) -> torch.Tensor:
    """By triangular solutions, in double precision, of the law as its own precision holds it."""
    tensors = (law.weights, law.means, law.factors)
    return Mixture(*(t.double() for t in tensors)).components(x.double()).logsumexp(1)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("apart", [0.0, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("wide", [1.0, 1e-2])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_many_gaussians_are_those_one_by_one(d, wide, apart, dtype):
    law = mixture(d, apart, wide, dtype)
    x = torch.cat([law.sample(300, torch.Generator().manual_seed(0)), (3 * apart + wide) * cloud(300, d).to(dtype)])
    exact = one_by_one(law, x)
    error = ((law.log_prob(x) - exact).abs() / (1 + exact.abs())).max()
    own = torch.finfo(dtype).eps * (apart / wide + 1) * 60  # what rounding does to a difference of positions
    assert float(error) < own + 1e-11 * (dtype == F64)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_no_more_is_lost_than_was_said(scale):
    """In single precision: rounding the terms, of which none is larger than they are said to be."""
    law = mixture(2, scale, 0.1)
    x = law.sample(500, torch.Generator().manual_seed(0))
    linear = coefficients(law.logits, law.means, law.factors)
    values = (monomials(x.float()) @ linear.float().T).double()
    far = -2 * (law.components(x) - (law.logits - law.log_diagonal.sum(1)))
    most = cancellation(law.means, law.factors) * (1 + far.clamp(min=0).sqrt()).square()
    assert bool(((values - law.components(x)).abs() < 4 * torch.finfo(F32).eps * (most + 20)).all())


def test_precision_is_as_high_as_it_must_be():
    assert precise_enough(F32, 2.0) == F32
    assert precise_enough(F32, 1e6) == F64
    assert precise_enough(F32, 1e14) is None
    assert precise_enough(F64, 1e6) == F64
    assert precise_enough(F64, 1e9) is None
    assert precise_enough(torch.float16, 1e3) == F64
    assert ERRORS[F64] < ERRORS[F32]


def test_what_is_very_far_away_is_impossible():
    law = mixture(2, 1.0, 1.0)
    x = torch.tensor([[1e200, 0.0], [0.0, 1e30], [0.0, 0.0], [float("nan"), 0.0]], dtype=F64)
    value = law.log_prob(x)
    assert value[0] == -torch.inf
    assert -1e61 < float(value[1]) < -1e58
    assert bool(value[2].isfinite())
    assert bool(value[3].isnan())


def test_with_a_gradient_and_without_one_it_is_the_same_density():
    fixed, x = mixture(3, 1.0, 0.5), cloud(50, 3)
    trained = Mixture(fixed.weights, fixed.means, fixed.factors, trained=True)
    value = trained.log_prob(x)
    assert value.requires_grad
    assert distance(value, fixed.log_prob(x)) < 1e-12
    moving = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(fixed.log_prob(moving).sum(), moving)
    step = 1e-6 * cloud(50, 3, seed=9)
    change = fixed.log_prob(x + step) - fixed.log_prob(x - step)
    assert distance(change, 2 * (slope * step).sum(1)) < 1e-9
    with torch.no_grad():
        assert not trained.log_prob(moving).requires_grad


def test_shares_are_those_of_softmax():
    logs = 30 * cloud(20, 9)
    logs[3, 1:] = -1e4
    parts, total = shares_of(logs.clone())
    assert distance(parts, logs.softmax(1)) < 1e-14
    assert distance(total, logs.logsumexp(1)) < 1e-13


def test_no_points_have_no_densities():
    assert mixture(2, 1.0, 1.0).log_prob(torch.empty(0, 2, dtype=F64)).shape == (0,)
