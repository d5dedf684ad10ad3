"""Dipoles: what they are the limit of, what they pair with, and what is refused."""

import pytest
import torch
from hypothesis import given

from diffeo.fields import DipoleField, KernelField
from diffeo.kernels import GaussianKernel, LaplacianKernel, Matern32Kernel
from tests import zoo
from tests.oracles import cloud, relative, seeds

F64 = torch.float64
kernels = pytest.mark.parametrize("kernel", zoo.FIELD_KERNELS, ids=zoo.named)


def apart(field, h):
    """Every dipole as pairs of opposite momenta, 2h apart along each axis."""
    c, a, b = field.controls, field.momenta.detach(), field.strengths.detach()
    controls, momenta = [c], [a]
    for axis in torch.eye(c.shape[1], dtype=c.dtype):
        controls += [c + h * axis, c - h * axis]
        momenta += [b[:, None] * axis / (2 * h), -b[:, None] * axis / (2 * h)]
    return KernelField(field.kernel, torch.cat(controls), torch.cat(momenta), whiten=False)


@kernels
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_dipole_is_the_limit_of_two_momenta(kernel, d):
    """In value, derivative and norm, to second order where the kernel has as many derivatives."""
    field, x = zoo.dipole_field(kernel)(d, F64, 0), cloud(9, d, seed=5)
    near = apart(field, 1e-4)
    bound = 1e-6 if kernel.smoothness >= 2 else 1e-3
    assert relative(near(x), field(x)) < bound
    assert relative(near.jacobian(x), field.jacobian(x)) < 10 * bound
    assert relative(near.sqnorm(), field.sqnorm()) < bound


@kernels
@given(seed=seeds)
def test_dipoles_pair_with_divergences(kernel, seed):
    """⟨v, u⟩ = Σ a_j·u(c_j) + b_j div u(c_j), from the norms of v + u and v − u: it reproduces."""
    v, u = (zoo.dipole_field(kernel)(2, F64, seed % 1000 + k) for k in (0, 1))

    def squared(sign):
        tensors = [(v.controls, u.controls), (v.momenta, sign * u.momenta), (v.strengths, sign * u.strengths)]
        return DipoleField(kernel, *(torch.cat(pair).detach() for pair in tensors)).sqnorm()

    expected = (v.momenta * u(v.controls)).sum() + (v.strengths * u.divergence(v.controls)).sum()
    torch.testing.assert_close((squared(1) - squared(-1)) / 4, expected, rtol=1e-9, atol=1e-11)


def test_without_strengths_it_is_a_field_of_momenta():
    c, a, x = cloud(6, 3), cloud(6, 3, seed=1), cloud(5, 3, seed=2)
    field, momenta = DipoleField(zoo.GAUSSIAN, c, a), KernelField(zoo.GAUSSIAN, c, a, whiten=False)
    assert relative(field(x), momenta(x)) < 1e-13
    assert relative(field.jacobian(x), momenta.jacobian(x)) < 1e-13
    torch.testing.assert_close(field.sqnorm(), momenta.sqnorm())


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_many_points_are_summed_by_loops_alike(dtype):
    """Enough pairs for the compiled loops, against torch."""
    c, x, b = cloud(70, 2, dtype), cloud(80, 2, dtype, seed=2), cloud(70, 1, dtype, seed=3)[:, 0]
    fused = DipoleField(GaussianKernel(0.7), c, cloud(70, 2, dtype, seed=1), b).requires_grad_(False)
    exact = zoo.DenseBackend()
    plain = DipoleField(GaussianKernel(0.7).on(exact), c, fused.momenta, fused.strengths).requires_grad_(False)
    bound = 1e-12 if dtype == F64 else 1e-5
    assert relative(fused(x), plain(x)) < bound
    assert relative(fused.jacobian(x), plain.jacobian(x)) < bound
    assert relative(fused.divergence(x), plain.divergence(x)) < bound


def test_what_has_no_dipoles_is_refused():
    c = cloud(4, 2)
    with pytest.raises(ValueError, match="has no dipoles: take a smoother one"):
        DipoleField(LaplacianKernel(0.3), c)
    with pytest.raises(ValueError, match=r"strengths \(m,\), and got .* \(4, 1\)"):
        DipoleField(zoo.GAUSSIAN, c, strengths=torch.zeros(4, 1, dtype=F64))
    with pytest.raises(ValueError, match=r"momenta \(m, d\)"):
        DipoleField(zoo.GAUSSIAN, c, momenta=torch.zeros(4, 3, dtype=F64))


@pytest.mark.parametrize("scale", [1e-7, 1e-6, 1.0, 1e6])
def test_norms_are_finite_in_all_units(scale):
    """k'' of a Matérn kernel, infinite at 0, is times 0 there: also where its square of a scale is large in float32."""
    controls, strengths = scale * cloud(4, 2).float(), scale**2 * torch.ones(4)
    field = DipoleField(Matern32Kernel(scale), controls, scale * cloud(4, 2, seed=1).float(), strengths)
    assert torch.isfinite(field.sqnorm())
    assert torch.isfinite(field.jacobian(controls)).all()
