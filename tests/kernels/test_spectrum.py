"""The Fourier transforms of the kernels: what they are on grids."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gamma, jv, kv

from diffeo.kernels import CauchyKernel, GaussianKernel, InverseMultiquadricKernel, Radial, RadialKernel
from tests import zoo

F64 = torch.float64
kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
dimensions = pytest.mark.parametrize("d", zoo.DIMENSIONS)
FREQUENCIES = torch.tensor([0.9, 4.3], dtype=F64)
SQUARES = torch.logspace(-5, 3, 200, dtype=F64)


class RationalKernel(RadialKernel):
    """The README's example of a kernel of one's own: it says nothing of its spectrum."""

    def jet(self, u):
        c = 1 / (4 * self.scale**2)
        k = 1 / (1 + c * u)
        return k**2, -2 * c * k**3, 6 * c**2 * k**4


def oscillating(f, w: float, weight: str) -> float:
    """∫ f(r) cos(wr) or sin(wr) dr over r > 0."""
    return quad(f, 0, np.inf, weight=weight, wvar=w, limlst=400, epsabs=1e-10)[0]


def hankel(kernel: Radial, w: float, d: int) -> float:
    """k̂ at |ξ| = w by quadrature; in the plane, through the transform of the projection ∫ k(r² + t²) dt."""

    def k(r: float) -> float:
        return float(kernel.jet(torch.tensor(r * r, dtype=F64))[0])

    if d == 1:
        return 2 * oscillating(k, w, "cos")
    if d == 3:
        return 4 * math.pi / w * oscillating(lambda r: r * k(r), w, "sin")
    # between zeros of the Bessel function the integrals alternate in sign: their sum is averaged until it converges
    ends = [0.0, *((n + 0.75) * math.pi / w for n in range(30))]
    parts = [quad(lambda r: r * k(r) * jv(0, w * r), a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(ends)]
    sums = np.cumsum(parts)
    while len(sums) > 1:
        sums = (sums[1:] + sums[:-1]) / 2
    return 2 * math.pi * float(sums[0])


@kernels
@dimensions
def test_the_spectrum_is_the_fourier_transform(kernel, d):
    found = kernel.spectrum(FREQUENCIES**2, d)
    for w, value in zip(FREQUENCIES.tolist(), found.tolist(), strict=True):
        assert value == pytest.approx(hankel(kernel, w, d), rel=1e-6, abs=1e-7)


@kernels
@dimensions
def test_its_integral_is_the_kernel_at_0(kernel, d):
    """∫ k̂(ξ) dξ / (2π)^d = k(0), on logarithmic shells; what lies beyond them is less than the tolerance."""
    w = torch.logspace(-9, 7, 16000, dtype=F64)
    sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    shells = kernel.spectrum(w**2, d) * sphere * w**d * math.log(float(w[1] / w[0]))
    assert float(shells.sum()) / (2 * math.pi) ** d == pytest.approx(kernel.at_zero, rel=1e-6)


@kernels
@dimensions
def test_other_units(kernel, d):
    """Of k(·/s): s^d k̂(s·)."""
    found = kernel.rescaled(7.0).spectrum(SQUARES / 49, d)
    torch.testing.assert_close(found, 7.0**d * kernel.spectrum(SQUARES, d), rtol=1e-10, atol=0)


@kernels
@dimensions
def test_it_is_positive_and_decreases(kernel, d):
    found = kernel.spectrum(SQUARES[SQUARES < 100], d)
    assert bool((found > 0).all())
    assert bool((found.diff() <= 0).all())


@kernels
@dimensions
def test_it_is_infinite_at_0_where_the_kernel_is_not_integrable(kernel, d):
    far = torch.tensor([1e3, 1e4], dtype=F64)
    near, remote = (far**d * kernel.jet(far**2)[0]).tolist()
    at_zero = float(kernel.spectrum(torch.zeros(1, dtype=F64), d))
    assert math.isinf(at_zero) == (remote > 0.5 * near)
    if math.isfinite(at_zero):
        small = kernel.spectrum(torch.full((1,), 1e-12, dtype=F64), d)
        assert at_zero == pytest.approx(float(small), rel=1e-5)


@kernels
@dimensions
def test_values_alone_give_the_same_spectrum(kernel, d):
    """What a kernel that says nothing of its spectrum gets."""
    if isinstance(kernel, zoo.SumKernel):
        return  # the sum of those of its terms
    expected = kernel.spectrum(SQUARES, d)
    found = Radial.spectrum(kernel, SQUARES, d)
    middle = float(kernel.spectrum(torch.ones((), dtype=F64) / kernel.scales[0] ** 2, d))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8 * middle)
    at_zero = (Radial.spectrum(kernel, SQUARES[:1] * 0, d), kernel.spectrum(SQUARES[:1] * 0, d))
    torch.testing.assert_close(*at_zero, rtol=1e-5, atol=0)


@dimensions
def test_a_kernel_of_ones_own_has_a_spectrum(d):
    kernel = RationalKernel(0.4)
    w = (0.8 * SQUARES.sqrt()).numpy()  # its tails are at 2σ
    expected = 0.8**d * 2 * math.pi ** (d / 2) / gamma(2) * (w / 2) ** (2 - d / 2) * kv(2 - d / 2, w)
    found = kernel.spectrum(SQUARES, d)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-7, atol=1e-8)


@kernels
@dimensions
def test_precision_follows(kernel, d):
    found = kernel.spectrum(SQUARES.float(), d)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), kernel.spectrum(SQUARES.float().double(), d), rtol=1e-3, atol=1e-30)
    assert kernel.spectrum(SQUARES.reshape(2, 4, 25), d).shape == (2, 4, 25)


@pytest.mark.parametrize("kernel", [CauchyKernel(0.5), InverseMultiquadricKernel(0.5)], ids=zoo.named)
def test_dimensions_without_a_closed_form_are_refused(kernel):
    with pytest.raises(ValueError, match="in dimensions 1, 2 and 3"):
        kernel.spectrum(SQUARES, 5)


def test_a_gaussian_is_separable():
    """Its spectrum in d dimensions is the product of those along the axes."""
    kernel, xi = GaussianKernel(0.6), torch.tensor([0.7, -1.9, 2.4], dtype=F64)
    product = kernel.spectrum(xi**2, 1).prod()
    torch.testing.assert_close(kernel.spectrum(xi.square().sum(), 3), product)
