"""Velocity fields: their derivatives, their norm, and what the norm promises."""

import copy
import pickle

import pytest
import torch
from hypothesis import given

from diffeo.fields import KernelField
from diffeo.kernels import GaussianKernel, LaplacianKernel
from tests import zoo
from tests.oracles import cloud, like, pointwise_jacobian, relative, seeds, slope

fields = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.FIELDS)), ids=str)
kernel_fields = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.KERNEL_FIELDS)), ids=str)


@fields
@given(seed=seeds)
def test_the_jacobian_is_the_derivative(entry, d, seed):
    field, x = entry(d, seed=seed), cloud(7, d, seed=seed)
    assert field.jacobian(x).shape == (7, d, d)
    assert relative(field.jacobian(x), pointwise_jacobian(field, x)) < 1e-10


@fields
@given(seed=seeds)
def test_the_divergence_is_the_trace_of_the_jacobian(entry, d, seed):
    field, x = entry(d, seed=seed), cloud(7, d, seed=seed)
    trace = field.jacobian(x).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(field.divergence(x), trace, rtol=1e-11, atol=1e-13)


@kernel_fields
@given(seed=seeds)
def test_the_norm_is_that_of_the_reproducing_kernel(entry, d, seed):
    """‖v‖² = aᵀKa = Σ a_j·v(c_j), and ⟨v, K(·, x)b⟩ = v(x)·b gives |v(x)|² ≤ k(0) ‖v‖²."""
    field = entry(d, seed=seed)
    gram, a = field.kernel(field.controls).dense(), field.momenta
    torch.testing.assert_close(field.sqnorm(), (a * (gram @ a)).sum(), rtol=1e-12, atol=1e-13)
    x = torch.cat([cloud(200, d, seed=seed), field.controls])
    assert field(x).square().sum(1).max() <= field.kernel.at_zero * field.sqnorm() * (1 + 1e-12)


@kernel_fields
def test_the_bound_on_the_speed_is_attained_by_a_single_control(entry, d):
    kernel = entry(d).kernel
    field = KernelField(kernel, cloud(1, d), cloud(1, d, seed=1))
    speed = field(field.controls).square().sum()
    torch.testing.assert_close(speed, kernel.at_zero * field.sqnorm())


@pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.FIELDS_OF_KERNELS)), ids=str)
@given(seed=seeds)
def test_the_norm_bounds_the_speed(entry, d, seed):
    """|v(x)|² ≤ k(0) ‖v‖²; on a grid up to what its periodic copies add."""
    field, x = entry(d, seed=seed), cloud(200, d, seed=seed)
    assert field(x).square().sum(1).max() <= field.kernel.at_zero * field.sqnorm() * (1 + 1e-2)


@fields
@given(seed=seeds)
def test_the_lipschitz_bound_holds(entry, d, seed):
    field = entry(d, seed=seed)
    x, y = cloud(300, d, seed=seed), cloud(300, d, seed=seed) + cloud(300, d, seed=seed + 1, size=0.1)
    ratios = (field(x) - field(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert ratios.max() <= field.lipschitz() * (1 + 1e-12)
    assert torch.linalg.matrix_norm(field.jacobian(x), 2).max() <= field.lipschitz() * (1 + 1e-12)


@pytest.mark.parametrize("kernel", zoo.FIELD_KERNELS, ids=zoo.named)
def test_the_lipschitz_bound_is_sharp(kernel):
    """Two opposite momenta close together: a dipole reaches √(−2k'(0)) ‖v‖ in the limit (k' continuous at 0)."""
    c = torch.tensor([[-1e-3], [1e-3]], dtype=torch.float64)
    field = KernelField(kernel, c, torch.tensor([[-1.0], [1.0]], dtype=torch.float64), whiten=False)
    assert field.jacobian(torch.zeros(1, 1, dtype=torch.float64)).max() > 0.97 * field.lipschitz()


def test_a_gaussian_field_has_the_bound_of_the_design():
    """‖Dv‖ ≤ ‖v‖/σ."""
    field = KernelField(GaussianKernel(0.3), cloud(5, 3), cloud(5, 3, seed=1))
    torch.testing.assert_close(field.lipschitz(), field.sqnorm().sqrt() / 0.3)


def test_rough_kernels_have_no_bound():
    field = KernelField(LaplacianKernel(0.3), cloud(5, 3), cloud(5, 3, seed=1))
    assert bool(field.lipschitz().isinf())


@fields
@given(seed=seeds)
def test_other_units_change_the_units_only(entry, d, seed):
    field, x, shift = entry(d, seed=seed), cloud(9, d, seed=seed), cloud(1, d, seed=seed + 1)[0]
    factor = 7.3
    other = field.rescaled(factor, shift)
    assert relative(other(factor * x + shift), factor * field(x)) < 1e-10
    assert relative(other.jacobian(factor * x + shift), field.jacobian(x)) < 1e-10
    torch.testing.assert_close(other.sqnorm(), factor**2 * field.sqnorm())
    torch.testing.assert_close(other.lipschitz(), field.lipschitz())


@fields
def test_arguments_build_the_field_again(entry, d):
    field, x = entry(d), cloud(9, d)
    again = type(field)(**field.arguments())
    torch.testing.assert_close(again(x), field(x), rtol=1e-12, atol=1e-13)
    assert set(again.arguments()) == set(field.arguments())
    assert not any(isinstance(v, torch.Tensor) and v.requires_grad for v in field.arguments().values())


@fields
def test_a_state_dict_carries_the_field(entry, d):
    field, other, x = entry(d, seed=1), entry(d, seed=2), cloud(9, d)
    assert relative(other(x), field(x)) > 1e-2
    other.load_state_dict(field.state_dict())
    torch.testing.assert_close(other(x), field(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(other.sqnorm(), field.sqnorm(), rtol=1e-12, atol=1e-13)


@kernel_fields
def test_a_state_dict_carries_the_momenta(entry, d):
    field, other = entry(d, seed=1), entry(d, seed=2)
    other.load_state_dict(field.state_dict())
    torch.testing.assert_close(other.momenta, field.momenta, rtol=1e-9, atol=1e-12)


@fields
def test_copies_are_independent(entry, d):
    field, x = entry(d), cloud(9, d)
    before = field(x)
    for other in (copy.deepcopy(field), pickle.loads(pickle.dumps(field))):
        assert torch.equal(other(x), before)
        doubled(other)
        assert relative(other(x), before) > 0.1
    assert torch.equal(field(x), before)


@pytest.mark.parametrize(
    ("entry", "d"), zoo.plane_first([(e, d) for e, d in zoo.each(zoo.FIELDS) if e not in zoo.NONLINEAR_FIELDS]), ids=str
)
def test_fields_are_linear_in_their_parameters(entry, d):
    field, x = entry(d), cloud(9, d)
    twice = doubled(copy.deepcopy(field))
    torch.testing.assert_close(twice(x), 2 * field(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(twice.sqnorm(), 4 * field.sqnorm())
    torch.testing.assert_close(twice.lipschitz(), 2 * field.lipschitz())


def doubled(field):
    """The field with its parameters times two."""
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(2)
    return field


@kernel_fields
def test_momenta_are_assigned(entry, d):
    field, x = entry(d), cloud(9, d)
    before = field(x)
    field.momenta = 2 * field.momenta.detach()
    torch.testing.assert_close(field(x), 2 * before, rtol=1e-9, atol=1e-12)


@fields
def test_frozen_fields_are_the_same_fields(entry, d):
    """They give the same velocities, and the same gradients."""
    field, x = entry(d), cloud(9, d)
    still = field.frozen()
    assert torch.equal(still(x), field(x))
    assert torch.equal(still.jacobian(x), field.jacobian(x))
    found = torch.autograd.grad(still(x).square().sum(), list(field.parameters()))
    expected = torch.autograd.grad(field(x).square().sum(), list(field.parameters()))
    torch.testing.assert_close(found, expected)


@fields
def test_gradients_in_the_parameters(entry, d):
    """Of v(x), Dv(x), div v(x), ‖v‖² and the Lipschitz bound, by finite differences."""
    field, x = entry(d), cloud(5, d)
    start = [p.detach().clone() for p in field.parameters()]
    directions = [like(p, seed=7) for p in start]
    for function in (field, field.jacobian, field.divergence, lambda _: field.sqnorm(), lambda _: field.lipschitz()):

        def along(s, function=function):
            with torch.no_grad():
                for p, p0, v in zip(field.parameters(), start, directions, strict=True):
                    p.copy_(p0 + s * v)
                return float(function(x).sum())

        expected = slope(along, entry.smooth)
        along(0.0)
        gradients = torch.autograd.grad(function(x).sum(), list(field.parameters()), materialize_grads=True)
        found = sum(float((g * v).sum()) for g, v in zip(gradients, directions, strict=True))
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


@fields
def test_precision_follows(entry, d):
    x = cloud(9, d)
    exact, single = entry(d), entry(d, torch.float32)
    assert relative(single(x.float()), exact(x)) < 1e-3
    assert relative(entry(d).float()(x.float()), exact(x)) < 1e-3
    for values in (single(x.float()), single.jacobian(x.float()), single.divergence(x.float()), single.sqnorm()):
        assert values.dtype == torch.float32


@pytest.mark.parametrize("entry", [*zoo.LINEAR_FIELDS, *zoo.PERCEPTRON_FIELDS], ids=repr)
def test_many_points_are_many_single_points(entry, monkeypatch):
    """Values and gradients, whatever the size of the blocks in which they are computed."""
    monkeypatch.setattr("diffeo.fields.blocks.BLOCK", 60)  # three points for twenty features
    field, x = entry(2), cloud(10, 2).requires_grad_()
    values = torch.cat([field(row[None]) for row in x])
    torch.testing.assert_close(field(x), values, rtol=1e-12, atol=1e-13)
    wanted = [x, *field.parameters()]
    found = torch.autograd.grad(field(x).square().sum(), wanted)
    torch.testing.assert_close(found, torch.autograd.grad(values.square().sum(), wanted), rtol=1e-10, atol=1e-12)


@fields
def test_no_points_is_no_problem(entry, d):
    field, nowhere = entry(d), cloud(9, d)[:0]
    assert field(nowhere).shape == (0, d)
    assert field.jacobian(nowhere).shape == (0, d, d)
    assert field.divergence(nowhere).shape == (0,)


@fields
def test_positions_of_another_dimension_or_precision_are_refused(entry, d):
    with pytest.raises(ValueError, match="positions of shape"):
        entry(d)(cloud(9, d + 1))
    with pytest.raises(ValueError, match=r"dtype.* \.to\(\)"):
        entry(d)(cloud(9, d, torch.float32))


def test_a_field_says_what_it_is():
    assert "GaussianKernel(scale=0.7), 6 controls" in repr(zoo.FIELDS[0](2))


def test_fields_of_a_rough_kernel_have_no_lipschitz_bound():
    controls = torch.rand(5, 2, dtype=torch.float64)
    assert KernelField(LaplacianKernel(0.5), controls).lipschitz() == torch.inf  # also for the field 0
