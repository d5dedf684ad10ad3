"""Fields of two convolutions on images of several points: matrices, norms, widths, and what both kinds share."""

import math

import pytest
import torch
from hypothesis import given

from diffeo.fields import ConvField, LinearField, TrainedConvField
from diffeo.fields.convolutions import dense, operator_norm
from tests.oracles import cloud, pointwise_jacobian, relative, seeds

SHAPES = [(2, 4, 3), (1, 1, 5), (3, 2, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def taps(*shape, seed=0, size=0.5):
    """Normal numbers."""
    return cloud(1, math.prod(shape), seed=seed, size=size).reshape(shape)


def frozen(shape, hidden=5, k=3, seed=0):
    """A `ConvField`."""
    return ConvField(shape, hidden, k, seed, taps(shape[0], hidden * k * k, seed=seed))


def trained(shape, hidden=5, k=3, seed=0, **options):
    """A `TrainedConvField`."""
    return TrainedConvField(shape, hidden, k, seed=seed, weights=taps(shape[0], hidden, k, k, seed=seed), **options)


@shapes
@pytest.mark.parametrize("make", [frozen, trained])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_derivatives_on_images(make, shape, k):
    field, x = make(shape, k=k), cloud(6, math.prod(shape))
    jacobian = pointwise_jacobian(field, x)
    assert relative(field.jacobian(x), jacobian) < 1e-12
    assert relative(field.divergence(x), jacobian.diagonal(dim1=1, dim2=2).sum(1)) < 1e-11
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= field.lipschitz()


@given(seed=seeds)
def test_the_norm_of_a_convolution_is_bounded(seed):
    for size, k in (((4, 3), 3), ((1, 5), 3), ((2, 2), 5), ((6, 6), 1)):
        w = taps(3, 2, k, k, seed=seed)
        exact, bound = torch.linalg.matrix_norm(dense(w, size), 2), operator_norm(w, size)
        assert exact <= bound * (1 + 1e-12)
        assert k > 1 or exact >= bound * (1 - 1e-12)  # no padding, nothing lost


def test_the_bound_is_nearly_attained_on_large_images():
    """Of an average, by an image that is constant but at its border."""
    w = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    assert float(operator_norm(w, (20, 20))) == pytest.approx(1, abs=1e-12)
    assert torch.linalg.matrix_norm(dense(w, (20, 20)), 2) > 0.97


@shapes
def test_momenta_are_gathered_to_where_they_point(shape):
    """As by the definition: ⟨θ, gather(x, p)⟩ = Σ_i p_i · v_θ(x_i)."""
    field, x, p = frozen(shape), cloud(7, math.prod(shape)), cloud(7, math.prod(shape), seed=1)
    assert relative(field.gather(x, p), LinearField.gather(field, x, p)) < 1e-13
    assert field.gather(x[:0], p[:0]).abs().max() == 0


@shapes
def test_kernels_of_wide_fields_tend_to_a_limit(shape):
    """K(x, y)p for random inner taps varies by 1/√M."""
    x, p = cloud(2, math.prod(shape)), cloud(2, math.prod(shape), seed=1)

    def spread(hidden):
        fields = [ConvField(shape, hidden, seed=seed, coefficients=taps(shape[0], 9 * hidden)) for seed in range(24)]
        return torch.stack([f.evaluate(x, f.gather(x, p)) for f in fields]).std(0).mean()

    assert float(spread(8) / spread(8 * 64)) == pytest.approx(8, rel=0.35)


@shapes
@pytest.mark.parametrize("hidden", [1, 7])
def test_the_lazy_field_is_the_linear_one_at_the_start(shape, hidden):
    """With α = √M; its norm is |W₂| where inner taps are as large as they are drawn."""
    lazy = trained(shape, hidden, scale=math.sqrt(hidden), seed=4)
    linear = ConvField(shape, hidden, seed=4, coefficients=lazy.weights.detach().flatten(1))
    x = cloud(9, math.prod(shape))
    assert relative(lazy(x), linear(x)) < 1e-12
    with torch.no_grad():
        lengths = lazy.inner.square().sum((1, 2, 3), keepdim=True).sqrt()
        lazy.inner.mul_(math.sqrt(3 * shape[0]) / lengths)
    torch.testing.assert_close(lazy.sqnorm(), linear.sqnorm())


@shapes
@given(seed=seeds)
def test_the_norm_of_a_trained_field_bounds_its_derivative(shape, seed):
    field, k = trained(shape, seed=seed, scale=1.7, radius=0.6), 3
    x = cloud(20, math.prod(shape), seed=seed)
    bound = k**2 * math.sqrt(k * shape[0]) * field.sqnorm().sqrt() / field.radius
    assert torch.linalg.matrix_norm(field.jacobian(x), 2).max() <= bound


@pytest.mark.parametrize("make", [frozen, trained])
@pytest.mark.parametrize("factor", [0.2, -3.0])
def test_units_may_be_turned_around(make, factor):
    field, x, shift = make((2, 3, 2)), cloud(9, 12), cloud(1, 12, seed=5)[0]
    other = field.rescaled(factor, shift).rescaled(2.0, -shift)
    moved = 2 * (factor * x + shift) - shift
    assert relative(other(moved), 2 * factor * field(x)) < 1e-12
    torch.testing.assert_close(other.sqnorm(), (2 * factor) ** 2 * field.sqnorm())
    torch.testing.assert_close(other.lipschitz(), field.lipschitz())


@pytest.mark.parametrize("make", [frozen, trained])
def test_taps_are_drawn_anew(make):
    field = make((2, 3, 2))
    other, again = field.redrawn(8), field.redrawn(8)
    assert type(other) is type(field)
    assert other.sqnorm() == 0
    assert torch.equal(other.inner, again.inner)
    assert relative(other.inner, field.inner) > 0.1
    assert other.inner.dtype == torch.float64


@pytest.mark.parametrize("width", [4, 64])
def test_one_rate_serves_every_width(width):
    """A step of the gradient in V of the outer taps moves the velocities as far for every width and scale."""
    moves = []
    for scale in (1.0, math.sqrt(width)):
        field, x = TrainedConvField((2, 3, 3), width, scale=scale).double(), cloud(5, 18)
        field(x).sum().backward()
        with torch.no_grad():
            for p, rate in field.rates():
                p.sub_(0.1 * rate * p.grad)
            moves.append(float(field(x).norm()))
    assert moves[0] == pytest.approx(moves[1], rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvField((2, 3)), r"shape \(channels, height, width\), not \(2, 3\)"),
        (lambda: ConvField((2, 3, 3), kernel_size=2), "an odd kernel size, and got 32 and 2"),
        (lambda: ConvField((2, 3, 3), hidden=0), "hidden channels, 1 or more"),
        (lambda: ConvField((2, 3, 3), 4, coefficients=torch.zeros(2, 4, 3, 3)), r"coefficients of shape \(2, 36\)"),
        (lambda: ConvField((2, 3, 3), 4, inner=torch.zeros(4, 3, 3, 3)), r"inner of shape \(4, 2, 3, 3\)"),
        (lambda: ConvField((2, 3, 3), center=torch.zeros(2)), "its center as 18 numbers"),
        (lambda: TrainedConvField((2, 3, 3), 4, weights=torch.zeros(2, 36)), r"weights of shape \(2, 4, 3, 3\)"),
        (lambda: TrainedConvField((2, 3, 3), scale=0.0), "a scale and a radius above 0, and got 0.0 and 1.0"),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
