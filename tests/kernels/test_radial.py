"""What a radial kernel is: a positive-definite function with the derivatives it claims."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.special import gamma, kv

from diffeo.backends import CPUBackend, DenseBackend
from diffeo.kernels import (
    CauchyKernel,
    GaussianKernel,
    InverseMultiquadricKernel,
    LaplacianKernel,
    Matern32Kernel,
    Matern52Kernel,
    ScaledKernel,
    SumKernel,
)
from tests import zoo
from tests.oracles import cloud, relative, seeds

F64 = torch.float64
DISTANCES = torch.logspace(-3, 1.5, 60, dtype=F64)
kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)


def matern(nu):
    """The Matérn family, by its definition with a Bessel function."""

    def k(r, scale):
        s = math.sqrt(2 * nu) * r / scale
        return 2 ** (1 - nu) / gamma(nu) * s**nu * kv(nu, s)

    return k


DEFINITIONS = {
    GaussianKernel: lambda r, s: np.exp(-(r**2) / (2 * s**2)),
    LaplacianKernel: lambda r, s: np.exp(-r / s),
    Matern32Kernel: matern(1.5),
    Matern52Kernel: matern(2.5),
    CauchyKernel: lambda r, s: 1 / (1 + (r / s) ** 2),
    InverseMultiquadricKernel: lambda r, s: 1 / np.sqrt(1 + (r / s) ** 2),
}
BASIC = [kernel for kernel in zoo.KERNELS if type(kernel) in DEFINITIONS]


@pytest.mark.parametrize("kernel", BASIC, ids=zoo.named)
def test_a_kernel_is_what_its_name_says(kernel):
    expected = torch.from_numpy(DEFINITIONS[type(kernel)](DISTANCES.numpy(), kernel.scale))
    torch.testing.assert_close(kernel.jet(DISTANCES**2)[0], expected, rtol=1e-11, atol=1e-30)


def test_the_matern_family_contains_the_laplacian():
    expected = torch.from_numpy(matern(0.5)(DISTANCES.numpy(), 0.7))
    torch.testing.assert_close(LaplacianKernel(0.7).jet(DISTANCES**2)[0], expected, rtol=1e-11, atol=1e-30)


@kernels
def test_the_jet_is_the_derivative(kernel):
    u = (DISTANCES**2).requires_grad_()
    k, k1, k2 = kernel.jet(u)
    (first,) = torch.autograd.grad(k.sum(), u, retain_graph=True)
    (second,) = torch.autograd.grad(k1.sum(), u)
    torch.testing.assert_close(k1, first, rtol=1e-9, atol=1e-25)
    torch.testing.assert_close(k2, second, rtol=1e-9, atol=1e-25)


@kernels
def test_the_jet_agrees_with_differences(kernel):
    u = DISTANCES**2
    h = 1e-4 * u
    for function, derivative in ((0, 1), (1, 2)):
        ahead, behind = kernel.jet(u + h)[function], kernel.jet(u - h)[function]
        torch.testing.assert_close(kernel.jet(u)[derivative], (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-9)


@kernels
def test_the_derivatives_at_0_exist_as_far_as_smoothness_says(kernel):
    k, k1, k2 = (float(v) for v in kernel.jet(torch.zeros((), dtype=F64)))
    h = torch.tensor([1e-6, 1e-8, 1e-10], dtype=F64)
    slopes = (kernel.jet(h)[0] - k) / h
    if kernel.smoothness >= 1:
        assert kernel.slope_at_zero == k1
        assert float(slopes[1]) == pytest.approx(k1, rel=2e-3)
    else:
        assert kernel.slope_at_zero == -math.inf
        assert slopes[2] < 5 * slopes[1] < 25 * slopes[0] < 0  # they grow like 1/√h
    curvatures = (kernel.jet(h)[1] - kernel.jet(torch.zeros((), dtype=F64))[1]) / h
    if kernel.smoothness >= 2:
        assert float(curvatures[0]) == pytest.approx(k2, rel=1e-2)
    elif kernel.smoothness >= 1:
        assert curvatures[2] > 5 * curvatures[1] > 25 * curvatures[0] > 0


@kernels
def test_values_at_0_are_finite_in_both_precisions(kernel):
    for dtype in zoo.DTYPES:
        jet = kernel.jet(torch.zeros(2, dtype=dtype))
        assert all(bool(torch.isfinite(value).all()) and value.dtype == dtype for value in jet)
        assert float(jet[0][0]) == pytest.approx(kernel.at_zero, rel=1e-6)


@pytest.mark.parametrize("kernel", BASIC, ids=zoo.named)
def test_unit_height(kernel):
    assert kernel.at_zero == pytest.approx(1, abs=1e-14)


@kernels
def test_kernels_are_completely_monotone_functions_of_u(kernel):
    """k ≥ 0, k' ≤ 0, k'' ≥ 0: the first signs of what makes k(|x − y|²) positive in every dimension (Schoenberg)."""
    k, k1, k2 = kernel.jet(torch.logspace(-6, 2, 100, dtype=F64))
    assert bool((k >= 0).all())
    assert bool((k1 <= 0).all())
    assert bool((k2 >= 0).all())
    assert bool((k.diff() <= 0).all())
    assert float(k.max()) <= kernel.at_zero


@kernels
@given(seed=seeds)
def test_gram_matrices_are_positive(kernel, seed):
    for d in (1, 2, 3, 7):
        x = cloud(25, d, seed=seed)
        x[1] = x[0]  # a doubled point makes it singular, never negative
        gram = kernel(x).dense()
        assert torch.equal(gram, gram.T)
        assert torch.linalg.eigvalsh(gram).min() > -1e-12 * kernel.at_zero * len(x)


@kernels
@given(seed=seeds)
def test_scale_covariance(kernel, seed):
    """k_s(s²u) = k(u), so that with other units only the scale changes."""
    u = cloud(20, 1, seed=seed)[:, 0].square()
    for factor in (0.01, 3.0, 1000.0):
        for power, (a, b) in enumerate(zip(kernel.rescaled(factor).jet(factor**2 * u), kernel.jet(u), strict=True)):
            torch.testing.assert_close(a * factor ** (2 * power), b, rtol=1e-10, atol=1e-20)
    assert kernel.rescaled(3.0).scales == pytest.approx([3 * s for s in kernel.scales])
    assert kernel.rescaled(3.0).at_zero == pytest.approx(kernel.at_zero)
    assert kernel.rescaled(3.0).slope_at_zero == pytest.approx(kernel.slope_at_zero / 9)


@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "scale",
    [0, 0.0, -1, -0.1, math.nan, math.inf, -math.inf, True, "0.1", None, [0.1], 1j, torch.tensor(0.1)],
    ids=repr,
)
def test_scales_must_be_positive_numbers(kind, scale):
    with pytest.raises(ValueError, match=rf"{kind.__name__} expects .* scale"):
        kind(scale)


@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.__name__)
def test_any_real_number_is_a_scale(kind):
    for scale in (1, 1.0, np.float64(1), np.float32(1), Fraction(1)):
        assert repr(kind(scale)) == f"{kind.__name__}(scale=1.0)"


@pytest.mark.parametrize("weight", [0, -1.0, math.nan, math.inf, True, "2", "a"], ids=repr)
def test_weights_must_be_positive_numbers(weight):
    with pytest.raises(ValueError, match="positive number"):
        weight * GaussianKernel(1.0)


def test_only_kernels_are_added():
    with pytest.raises(TypeError):
        GaussianKernel(1.0) + 1  # type: ignore[operator]
    with pytest.raises(ValueError, match="at least one kernel"):
        SumKernel(())


@kernels
def test_a_repr_is_the_expression_that_makes_the_kernel(kernel):
    assert eval(repr(kernel)) == kernel


@kernels
def test_kernels_are_values(kernel):
    copy = kernel.rescaled(1.0)
    assert copy == kernel
    assert hash(copy) == hash(kernel)
    assert kernel.on(DenseBackend()) == kernel.on(CPUBackend())  # the backend is how, not what
    assert kernel.rescaled(1.01) != kernel
    assert [other for other in zoo.KERNELS if other == kernel] == [kernel]


@kernels
def test_sums_and_multiples_have_the_jets_they_should(kernel):
    u, other = DISTANCES**2, CauchyKernel(0.4)
    for made, weights in ((kernel + other, (1, 1)), (2.5 * kernel + 0.5 * other, (2.5, 0.5))):
        expected = [weights[0] * a + weights[1] * b for a, b in zip(kernel.jet(u), other.jet(u), strict=True)]
        for a, b in zip(made.jet(u), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-14, atol=0)
        assert made.smoothness == min(kernel.smoothness, other.smoothness)
        assert made.at_zero == pytest.approx(weights[0] * kernel.at_zero + weights[1])
        assert list(made.scales) == sorted([*kernel.scales, *other.scales], reverse=True)


@kernels
def test_sums_are_associative(kernel):
    a, b = GaussianKernel(0.3), LaplacianKernel(0.2)
    assert (kernel + a) + b == kernel + (a + b)


@kernels
def test_the_backend_is_kept(kernel):
    chosen = CPUBackend()
    on = kernel.on(chosen)
    for made in (on, on.rescaled(2.0), 3 * on, on + GaussianKernel(1.0), 2 * (on + GaussianKernel(1.0))):
        assert made.backend is chosen


def test_multiples_multiply():
    u = DISTANCES**2
    torch.testing.assert_close((2 * (3 * GaussianKernel(0.5))).jet(u), (6 * GaussianKernel(0.5)).jet(u))
    assert isinstance(2 * GaussianKernel(0.5), ScaledKernel)


@kernels
def test_float32_is_as_good_as_it_can_be(kernel):
    u = DISTANCES**2
    for value, expected in zip(kernel.jet(u.float()), kernel.jet(u.float().double()), strict=True):
        assert relative(value, expected) < 1e-5
