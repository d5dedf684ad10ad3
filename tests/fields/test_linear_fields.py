"""Fields that are linear in their unknowns: orthonormal coefficients, their kernel, and what pulls on momenta."""

import pytest
import torch
from hypothesis import given

from diffeo.fields import FeatureField, KernelField, LinearField
from diffeo.kernels import GaussianKernel
from tests import zoo
from tests.oracles import cloud, like, relative, seeds

RAW = "KernelField(Gaussian, not whitened)"
ENTRIES = [e for e in zoo.FIELDS if e.name != RAW and isinstance(e(e.dimensions[0]), LinearField)]
fields = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(ENTRIES)), ids=str)
featured = pytest.mark.parametrize(
    ("entry", "d"), [(e, d) for e, d in zoo.each(ENTRIES) if e(d).features(cloud(1, d)) is not None], ids=str
)


@fields
def test_a_field_is_its_coefficients(entry, d):
    field, x = entry(d), cloud(9, d)
    assert relative(field.evaluate(x, field.coefficients), field(x)) < 1e-12
    one, other = like(field.coefficients, 1), like(field.coefficients, 2)
    both = field.evaluate(x, one + 3 * other)
    assert relative(field.evaluate(x, one) + 3 * field.evaluate(x, other), both) < 1e-9


@fields
@given(seed=seeds)
def test_the_norm_is_that_of_the_coefficients(entry, d, seed):
    """‖v‖² = |θ|²; of momenta a, whitened with a ridge ε, |z|² = aᵀ(K + εI)a."""
    field = entry(d, seed=seed)
    expected = field.coefficients.square().sum()
    if isinstance(field, KernelField):
        expected = expected - 1e-3 * field.kernel.at_zero * field.momenta.square().sum()
    torch.testing.assert_close(field.sqnorm(), expected, rtol=1e-9, atol=1e-12)


@fields
@given(seed=seeds)
def test_gather_is_the_adjoint_of_evaluate(entry, d, seed):
    """⟨θ, gather(x, p)⟩ = Σ_i p_i·v_θ(x_i): the reproducing property of the field's own kernel."""
    field, x, p = entry(d, seed=seed), cloud(9, d, seed=seed), cloud(9, d, seed=seed + 1)
    theta = like(field.coefficients, seed + 2)
    found = (field.gather(x, p) * theta).sum()
    torch.testing.assert_close(found, (field.evaluate(x, theta) * p).sum(), rtol=1e-9, atol=1e-10)


@featured
@given(seed=seeds)
def test_gather_gives_the_sum_of_kernels(entry, d, seed):
    """Σ_i K(·, x_i) p_i with K(y, x) = φ(y)·φ(x)."""
    field, x, p, y = entry(d), cloud(9, d, seed=seed), cloud(9, d, seed=seed + 1), cloud(7, d, seed=seed + 2)
    kernel = field.features(y) @ field.features(x).T
    assert relative(field.evaluate(y, field.gather(x, p)), kernel @ p) < 1e-9


@fields
def test_the_gradient_in_the_coefficients_is_the_steepest_ascent(entry, d):
    """What an optimizer sees is gather(x, ∂/∂v), times a rate of 1."""
    field, x, p = entry(d), cloud(9, d), cloud(9, d, seed=1)
    trained = [(q, rate) for q, rate in field.rates() if q.requires_grad]
    assert len(trained) == 1
    assert trained[0][0] is field.coefficients
    assert trained[0][1] == 1
    (found,) = torch.autograd.grad((field(x) * p).sum(), field.coefficients)
    assert relative(found, field.gather(x, p)) < 1e-9


@fields
def test_the_pull_is_the_transposed_jacobian(entry, d):
    field, x, p = entry(d), cloud(9, d), cloud(9, d, seed=1)
    theta = like(field.coefficients, 2)
    jacobian = field.jacobian_of(x, theta)
    assert relative(field.pull(x, theta, p), torch.einsum("nab,na->nb", jacobian, p)) < 1e-9
    assert relative(field.jacobian_of(x, field.coefficients), field.jacobian(x)) < 1e-12


@pytest.mark.parametrize("entry", [e for e in ENTRIES if "ReLU" not in e.name and "Matern32" not in e.name], ids=repr)
def test_they_are_differentiable_twice(entry):
    """Evaluation, pull and gather, in all that they depend on: what shooting needs."""
    d = entry.dimensions[-1]
    field, x, p = entry(d), cloud(3, d), cloud(3, d, seed=1)
    theta = like(field.coefficients, 2)
    for t in (x, p, theta):
        t.requires_grad_()
    assert torch.autograd.gradcheck(field.pull, (x, theta, p), atol=1e-6)
    assert torch.autograd.gradcheck(field.gather, (x, p), atol=1e-6)
    if not isinstance(field, KernelField):  # whose sums are differentiated once
        assert torch.autograd.gradgradcheck(field.evaluate, (x, theta), atol=1e-5)


@featured
def test_features_have_the_precision_of_the_positions(entry, d):
    x = cloud(9, d)
    single, exact = entry(d, torch.float32).features(x.float()), entry(d).features(x)
    assert single.dtype == torch.float32
    assert relative(single, exact) < 1e-2


def test_features_reproduce_the_kernel_at_a_point():
    """φ(x)·φ(x) = k(0), whatever the width and the draw."""
    for width, kernel in ((2, zoo.KERNELS[0]), (30, zoo.KERNELS[-1])):
        phi = FeatureField(kernel, 3, width).double().features(cloud(20, 3))
        torch.testing.assert_close(phi.square().sum(1), torch.full((20,), kernel.at_zero).double())


def test_momenta_that_are_not_whitened_are_no_orthonormal_coefficients():
    field = KernelField(GaussianKernel(0.5), cloud(6, 2), whiten=False)
    for method in (lambda: field.gather(cloud(3, 2), cloud(3, 2)), lambda: field.features(cloud(3, 2))):
        with pytest.raises(ValueError, match="build it whitened"):
            method()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 7}, "even width"),
        ({"dim": 0}, "even width, 2 or more, and a dimension, 1 or more, and got width 8, dim 0"),
        ({"frequencies": torch.zeros(3, 2)}, r"frequencies of shape \(4, 2\), and got \(3, 2\)"),
        ({"coefficients": torch.zeros(3, 2)}, r"coefficients of shape \(8, 2\), and got \(3, 2\)"),
    ],
)
def test_what_does_not_fit_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureField(**{"kernel": GaussianKernel(1.0), "dim": 2, "width": 8, **options})
