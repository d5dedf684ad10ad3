"""One sample carried to another: discrepancies fall to those of independent draws, and what comes out has a density."""

import math

import pytest
import torch

from diffeo.core import Inverse
from diffeo.fields import KernelField
from diffeo.fit import fit
from diffeo.flows import Descent, Flow
from diffeo.kernels import GaussianKernel
from diffeo.laws import Gaussian, Transported
from diffeo.losses import MMDLoss, SinkhornLoss
from diffeo.shapes import Points, Samples
from diffeo.solvers import Euler
from tests.oracles import cloud, distance

F64 = torch.float64
MMD = MMDLoss(GaussianKernel(0.5) + GaussianKernel(1.5))
LOSSES = {"MMD": (MMD, 1e-4), "Sinkhorn": (SinkhornLoss(0.3), 1e-3)}
NORMAL = Gaussian.standard(2, F64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def half_ring(n, seed):
    """About a half circle of radius 2."""
    draw = seeded(seed)
    a = math.pi * torch.rand(n, generator=draw, dtype=F64)
    ring = torch.stack([2 * a.cos(), 2 * a.sin() - 1], 1)
    return ring + 0.3 * torch.randn(n, 2, generator=draw, dtype=F64)


def carried(loss, weight, n, iterations):
    """A flow that is to carry n normal points to a half ring."""
    x, y = NORMAL.sample(n, seeded()), half_ring(n, 1)
    phi = Flow(KernelField(GaussianKernel(0.8), x[:50]), Euler(), 5)
    history = fit(phi, [(Samples(x), Samples(y))], loss, weight=weight, max_iterations=iterations)
    return phi.requires_grad_(False), x, y, history


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_samples_become_like_the_others_and_have_a_density(name):
    """Also fresh ones: their discrepancy is near that of two independent samples, an order below where it began."""
    phi, x, y, _ = carried(*LOSSES[name], n=300, iterations=40)
    levels = [float(MMD(Samples(half_ring(300, 10 + k)), Samples(half_ring(300, 20 + k)))) for k in range(4)]
    fresh, other = Samples(NORMAL.sample(300, seeded(5))), Samples(half_ring(300, 6))
    before, after = float(MMD(fresh, other)), float(MMD(phi @ fresh, other))
    assert float(MMD(phi @ Samples(x), Samples(y))) < max(levels)
    assert after < 3 * sum(levels) / 4
    assert after < before / 5

    law, axis = Transported(Inverse(phi), NORMAL), torch.linspace(-5, 5, 150, dtype=F64)
    step = axis[1] - axis[0]
    assert float(law.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * step**2) == pytest.approx(1, abs=1e-3)
    new = half_ring(1000, 7)
    assert law.log_prob(new).mean() > Gaussian.fitted(new).log_prob(new).mean() + 0.1
    moved = phi @ fresh  # the density of a moved sample, from its volumes and by the inverse
    assert distance(law.log_prob(moved.x), NORMAL.log_prob(fresh.x) - moved.logvolume) < 1e-8


@pytest.mark.parametrize("name", LOSSES)
def test_points_and_samples_are_the_same_to_losses_of_measures(name):
    loss, x, y = LOSSES[name][0], cloud(20, 2), cloud(30, 2, seed=1) + 0.4
    values = [loss(a(x), b(y)) for a in (Points, Samples) for b in (Points, Samples)]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-14, atol=0)
    mixed = loss(Samples(x), Points(y, weights=torch.full((30,), 1 / 30, dtype=F64)))
    torch.testing.assert_close(mixed, values[0])


@pytest.mark.parametrize("name", LOSSES)
def test_a_short_training_brings_samples_closer(name):
    loss, weight = LOSSES[name]
    phi, x, y, history = carried(loss, weight, n=60, iterations=8)
    assert history[-1].data < 0.2 * history[0].data
    moved = phi @ Samples(x)
    assert bool(torch.isfinite(moved.logvolume).all())
    assert float(MMD(moved, Samples(y))) < 0.2 * float(MMD(Samples(x), Samples(y)))


def test_the_flow_of_the_discrepancy_brings_samples_closer():
    """Grown layers, certified one by one; log-volumes are those of the map."""
    x, y, phi = NORMAL.sample(60, seeded()), half_ring(60, 1), Descent(GaussianKernel(0.8))
    history = fit(phi, [(Samples(x), Samples(y))], MMD, weight=0.0, max_iterations=20, tolerance=None)
    assert history[-1].data < 0.15 * history[0].data
    moved = phi @ Samples(x)
    law = Transported(Inverse(phi), NORMAL)
    assert distance(law.log_prob(moved.x), NORMAL.log_prob(x) - moved.logvolume) < 1e-8
