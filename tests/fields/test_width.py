"""Wide fields: spaces of finite width tend to the spaces of kernels, at the rate of a mean of independent numbers."""

import math

import pytest
import torch

from diffeo.fields import FeatureField, FrozenPerceptronField
from diffeo.flows import FieldGeodesic, Geodesic
from diffeo.kernels import CauchyKernel, GaussianKernel, Matern32Kernel, Matern52Kernel
from diffeo.solvers import RK4
from tests import zoo
from tests.kernels.test_spectrum import RationalKernel
from tests.oracles import cloud

WIDTHS = [64, 256, 1024, 4096]
DRAWS = 10


def rate(errors):
    """The slope of log error against log width, fitted."""
    x, y = torch.tensor(WIDTHS).double().log(), torch.tensor(errors).double().log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def arc_cosine(x, y):
    """Of first order in (y, 1) for a ball of radius 1: E max(w·y + b, 0) max(w·z + b, 0), normal weights.

    Source: Cho & Saul, Kernel methods for deep learning, NeurIPS 2009.
    """
    x, y = (torch.cat([t, torch.ones(len(t), 1, dtype=t.dtype)], 1) for t in (x, y))
    norms = x.norm(dim=1)[:, None] * y.norm(dim=1)
    angle = (x @ y.T / norms).clamp(-1, 1).acos()
    return norms / (2 * math.pi) * (angle.sin() + (math.pi - angle) * angle.cos())


def radial(kernel):
    """A field drawn for a kernel, and that kernel."""
    return (lambda d, width, seed: FeatureField(kernel, d, width, seed).double()), lambda x, y: kernel(x, y).dense()


def frozen_relu(d, width, seed):
    """Random ReLU features for data in the unit ball."""
    return FrozenPerceptronField(d, width, seed, radius=1.0).double()


KERNELS = [GaussianKernel(0.7), Matern32Kernel(0.8), zoo.KERNELS[-1], RationalKernel(0.4)]
SPACES = {
    **{zoo.named(kernel): radial(kernel) for kernel in KERNELS},
    "FrozenPerceptronField": (frozen_relu, arc_cosine),
}
spaces = pytest.mark.parametrize("name", SPACES)


@spaces
@pytest.mark.parametrize("d", [2, 8])
def test_the_kernel_is_approached_at_the_rate_of_a_mean(name, d):
    """√E|φ(x)·φ(y) − k(x, y)|² halves when the width is four times as large."""
    make, kernel = SPACES[name]
    x, y = cloud(15, d), cloud(15, d, seed=1)
    exact, errors = kernel(x, y), []
    for width in WIDTHS:
        fields = [make(d, width, seed) for seed in range(DRAWS)]
        found = torch.stack([f.features(x) @ f.features(y).T for f in fields])
        errors.append(float((found - exact).square().mean().sqrt()))
    assert rate(errors) == pytest.approx(-0.5, abs=0.12)
    assert errors[-1] < 3 * float(exact.abs().max()) / math.sqrt(WIDTHS[-1])


def ridge(gram, values, penalty):
    """(K + λI)⁻¹ y."""
    return torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), values)


@spaces
def test_what_is_learned_is_approached_at_the_same_rate(name):
    """The field that minimizes Σ |v(x_i) − y_i|² + λ‖v‖², in the space of finite width and in that of the kernel."""
    make, kernel = SPACES[name]
    x, z = cloud(20, 2), cloud(50, 2, seed=1)
    y = torch.stack([(3 * x[:, 0]).sin(), x[:, 0] * x[:, 1]], 1)
    exact, errors = kernel(z, x) @ ridge(kernel(x, x), y, 0.1), []
    for width in WIDTHS:
        total = 0.0
        for seed in range(DRAWS):
            field = make(2, width, seed)
            phi = field.features(x)
            theta = field.gather(x, ridge(phi @ phi.T, y, 0.1))
            total += float((field.evaluate(z, theta) - exact).square().mean())
        errors.append(math.sqrt(total / DRAWS))
    assert rate(errors) == pytest.approx(-0.5, abs=0.12)
    assert errors[-1] < 0.1 * float(exact.square().mean().sqrt())


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [GaussianKernel(0.7), Matern52Kernel(0.8), CauchyKernel(0.6)], ids=zoo.named)
def test_geodesics_are_approached_at_the_same_rate(kernel):
    """Shooting with the same momenta, in the space of finite width and in that of the kernel."""
    q, p, x = cloud(8, 2), cloud(8, 2, seed=1), cloud(20, 2, seed=2)
    exact = Geodesic(kernel, q, RK4(), steps=5, momenta=p).requires_grad_(False)(x)
    errors = []
    for width in WIDTHS:
        fields = [FeatureField(kernel, 2, width, seed).double() for seed in range(DRAWS)]
        shot = [FieldGeodesic(f, q, RK4(), steps=5, momenta=p).requires_grad_(False) for f in fields]
        errors.append(math.sqrt(sum(float((s(x) - exact).square().mean()) for s in shot) / DRAWS))
    assert rate(errors) == pytest.approx(-0.5, abs=0.12)
    assert errors[-1] < 0.1 * float((exact - x).square().mean().sqrt())
