"""Frequencies drawn from the spectral measures of the kernels: k(|δ|²) = k(0) E cos(ω·δ)."""

import math

import pytest
import torch

from diffeo.kernels import GaussianKernel, Radial, RadialKernel
from tests import zoo
from tests.kernels.test_spectrum import RationalKernel
from tests.oracles import cloud

F64 = torch.float64
N = 8000
dimensions = pytest.mark.parametrize("d", [1, 3, 7])
every_kernel = pytest.mark.parametrize("kernel", [*zoo.KERNELS, RationalKernel(0.4)], ids=zoo.named)


class WendlandKernel(RadialKernel):
    """(1 − r)⁴₊ (4r + 1), r = |x − y|/σ: positive up to dimension 3 only."""

    smoothness = 1

    def jet(self, u):
        r = (u / self.scale**2).sqrt()
        rest = (1 - r).clamp(min=0)
        return rest**4 * (4 * r + 1), -10 * rest**3 / self.scale**2, 15 * rest**2 / (r * self.scale**4 + 1e-30)


def draws(kernel, d, n=N, seed=0, frequencies=None):
    """n frequencies."""
    return (frequencies or type(kernel).frequencies)(kernel, n, d, torch.Generator().manual_seed(seed))


def missed(kernel, omega):
    """By how much k(0) E cos(ω·δ) misses k(|δ|²), in standard errors of a mean of n numbers in [−1, 1]."""
    d = omega.shape[1]
    lengths = kernel.scales[0] * torch.tensor([0.02, 0.1, 0.3, 0.7, 1.0, 1.7, 3.0, 10.0], dtype=F64)
    delta = lengths[:, None] * torch.nn.functional.normalize(cloud(len(lengths), d, seed=9), dim=1)
    found = (delta @ omega.T).cos().mean(1)
    return float((found - kernel.jet(lengths**2)[0] / kernel.at_zero).abs().max()) * math.sqrt(len(omega))


@every_kernel
@dimensions
def test_their_characteristic_function_is_the_kernel(kernel, d):
    assert missed(kernel, draws(kernel, d)) < 4


@every_kernel
@dimensions
def test_values_alone_give_the_same_frequencies(kernel, d):
    """What a kernel that says nothing of its frequencies gets."""
    assert missed(kernel, draws(kernel, d, frequencies=Radial.frequencies)) < 4


@pytest.mark.parametrize("d", [12, 64])
def test_a_kernel_of_ones_own_has_frequencies_in_many_dimensions(d):
    assert missed(RationalKernel(0.4), draws(RationalKernel(0.4), d)) < 4


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_kernel_that_is_positive_in_space_only(d):
    assert missed(WendlandKernel(0.8), draws(WendlandKernel(0.8), d)) < 4


def test_is_refused_beyond():
    with pytest.raises(ValueError, match=r"mixtures of Gaussians.* give it a method frequencies"):
        draws(WendlandKernel(0.8), 4)


@every_kernel
@dimensions
def test_all_directions_are_alike(kernel, d):
    directions = torch.nn.functional.normalize(draws(kernel, d), dim=1)
    torch.testing.assert_close(d * directions.T @ directions / N, torch.eye(d, dtype=F64), atol=4 * d / N**0.5, rtol=0)
    assert directions.mean(0).abs().max() < 4 / N**0.5


@every_kernel
@pytest.mark.parametrize("d", [2, 5])
def test_in_other_units(kernel, d):
    """The same draw is the same draw."""
    torch.testing.assert_close(draws(kernel.rescaled(7.0), d, 200), draws(kernel, d, 200) / 7, rtol=1e-6, atol=0)


def test_a_draw_is_what_its_seed_says():
    kernel = GaussianKernel(0.5)
    assert torch.equal(draws(kernel, 2, seed=1), draws(kernel, 2, seed=1))
    assert not torch.equal(draws(kernel, 2, seed=1), draws(kernel, 2, seed=2))
