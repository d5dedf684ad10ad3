"""Two-layer networks as fields: their norm, their bounds, and what width and scale do to their training."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given

from diffeo.fields import GELU, FrozenPerceptronField, PerceptronField, ReLU, Tanh
from diffeo.flows import Flow
from diffeo.solvers import Euler
from tests import zoo
from tests.oracles import cloud, relative, seeds

F64 = torch.float64
perceptrons = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.PERCEPTRON_FIELDS)), ids=str)
activations = pytest.mark.parametrize("sigma", [ReLU(), Tanh(), GELU()], ids=repr)

X = cloud(60, 2, size=1.0)
Y = torch.stack([(2 * X[:, 0]).sin(), 0.5 * X[:, 0] * X[:, 1]], 1)
Z = cloud(100, 2, seed=1, size=1.0)


def at_rest(width, scale=1.0, seed=0, activation=None, cls: Any = PerceptronField, **options):
    """A field that is 0, for data of variance 1 in the plane."""
    scaled = {"scale": scale} if cls is PerceptronField else {}
    return cls(2, width, seed=seed, activation=activation, **scaled, **options).double()


def descend(field, rate=0.3, steps=300, parts=6):
    """Gradient descent in V on the mean squared distance of v(X) to Y; v(Z) at some times, and the loss at the end."""
    path, loss = [], torch.zeros(())
    for k in range(steps):
        loss = 0.5 * (field(X) - Y).square().sum(1).mean()
        gradients = torch.autograd.grad(loss, [p for p, _ in field.rates()])
        with torch.no_grad():
            for (p, factor), gradient in zip(field.rates(), gradients, strict=True):
                p -= rate * factor * gradient
            if (k + 1) % (steps // parts) == 0:
                path.append(field(Z))
    return torch.stack(path), float(loss.detach())


def apart(one, other):
    """Root mean square difference, relative."""
    return float(((one - other).square().mean() / other.square().mean()).sqrt())


# ---- the field


@perceptrons
@given(seed=seeds)
def test_it_is_an_average_over_units(entry, d, seed):
    """ρα/M Σ_m a_m σ(w_m·(x − c)/ρ + b_m), unit by unit."""
    field, x = entry(d, seed=seed), cloud(5, d, seed=seed)
    units, total = field.units, torch.zeros(5, d, dtype=F64)
    for a, w, b in zip(field.outer, units.inner, units.biases, strict=True):
        total += units.activation((x - units.center) @ w / units.radius + b)[:, None] * a
    assert relative(units.radius * field.scale / units.width * total, field(x)) < 1e-12


@perceptrons
@given(seed=seeds)
def test_the_norm_bounds_speed_and_slopes(entry, d, seed):
    field, x = entry(d, seed=seed), cloud(200, d, seed=seed)
    sigma, norm = field.units.activation.lipschitz, field.sqnorm().sqrt()
    size = ((x - field.units.center) / field.units.radius).square().sum(1)
    assert bool((field(x).norm(dim=1) <= sigma * norm * ((d + 1) * (1 + size)).sqrt()).all())
    assert field.lipschitz() <= sigma * norm * math.sqrt(d + 1) / field.units.radius * (1 + 1e-12)


@perceptrons
def test_the_bound_is_below_the_path_norm(entry, d):
    """Σ_m |a_m| |w_m| α/M, times the Lipschitz constant of σ."""
    field = entry(d)
    path = (field.outer.norm(dim=1) * field.units.inner.norm(dim=1)).mean() * field.scale
    assert field.lipschitz() <= field.units.activation.lipschitz * path * (1 + 1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_bound_is_sharp_for_one_unit(d):
    field = PerceptronField(d, 1, outer=cloud(1, d)).double()
    slopes = torch.linalg.matrix_norm(field.jacobian(cloud(50, d, size=3.0)), 2)
    torch.testing.assert_close(slopes.max(), field.lipschitz())


def test_the_bound_is_sharp_where_all_units_are_on():
    """With σ' = 1 everywhere, v is linear; two units that cancel count nothing in it, and do in any bound by norms."""
    outer = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=F64)
    inner = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=F64)
    field = PerceptronField(2, 2, scale=2.0, outer=outer, inner=inner, biases=torch.full((2,), 99.0, dtype=F64))
    torch.testing.assert_close(torch.linalg.matrix_norm(field.jacobian(Z[:1]), 2)[0], field.lipschitz())
    torch.testing.assert_close(field.lipschitz(), torch.tensor(3.0, dtype=F64))


def test_its_norm_bounds_that_of_barron():
    """The mean of |a| |(w, b)|: equal where units count the same, and unchanged if a shrinks as (w, b) grows."""
    field = zoo.PERCEPTRON_FIELDS[0](2)
    units, size = field.units, field.units.radius * field.scale
    barron = size * (field.outer.norm(dim=1) * units.sqnorms().sqrt()).mean()
    assert field.sqnorm().sqrt() > 1.05 * barron
    before, sqnorm = field(Z), field.sqnorm()
    with torch.no_grad():
        c = 1 + cloud(units.width, 1, size=1.0).abs()
        field.outer.div_(c)
        units.inner.mul_(c)
        units.biases.mul_(c[:, 0])
        assert relative(field(Z), before) < 1e-12
        torch.testing.assert_close(field.sqnorm(), sqnorm)
        field.outer.div_(field.outer.norm(dim=1, keepdim=True) * units.sqnorms().sqrt()[:, None])
    torch.testing.assert_close(field.sqnorm().sqrt(), torch.tensor(size, dtype=F64))


# ---- as it is drawn


@pytest.mark.parametrize("d", [1, 2, 10, 64])
def test_units_bend_among_standardized_data(d):
    """Of 512 units most are neither on nor off at nearly all points, and their arguments are about 1 in size."""
    field, x = PerceptronField(d, 512), cloud(1000, d, torch.float32, size=1.0)
    angles = field.units.angles(x).detach()
    on = (angles > 0).float().mean(0)
    assert ((on > 0.03) & (on < 0.97)).float().mean() > 0.6
    assert float(angles.square().mean()) == pytest.approx(2, rel=0.15)
    torch.testing.assert_close(field.units.sqnorms(), torch.ones(512))


@activations
def test_it_starts_at_rest_and_can_leave(sigma):
    field = at_rest(64, activation=sigma)
    assert not bool(field(X).any())
    assert not bool(field.sqnorm())
    assert field.lipschitz() < 1e-12
    gradient = torch.autograd.grad((field(X) * Y).sum(), field.outer)[0]
    assert (gradient.norm(dim=1) > 0).double().mean() > 0.8  # the others are off at all points
    bounds = torch.autograd.grad(field.lipschitz() + field.sqnorm(), list(field.parameters()))
    assert all(bool(torch.isfinite(g).all()) for g in bounds)


def test_a_draw_is_what_its_seed_says():
    one, same, other = (at_rest(8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.units.inner, same.units.inner)
    assert not torch.equal(one.units.inner, other.units.inner)


# ---- its linear limit


@perceptrons
def test_with_inner_weights_fixed_it_is_linear(entry, d):
    field, x = entry(d), cloud(9, d)
    with torch.no_grad():
        field.units.inner.add_(cloud(field.units.width, d, seed=5))  # no longer on the sphere
    linear = field.linear()
    assert relative(linear(x), field(x)) < 1e-12
    torch.testing.assert_close(linear.sqnorm(), field.sqnorm())
    torch.testing.assert_close(linear.lipschitz(), field.lipschitz())
    assert [name for name, _ in linear.named_parameters()] == ["coefficients"]


@activations
def test_lazy_training_is_linear_training(sigma):
    """The path of v in training tends to that of the linear field, the inner weights moving like 1/α²."""
    exact, _ = descend(at_rest(50, activation=sigma, cls=FrozenPerceptronField), rate=0.6, steps=48)
    moved, distances = [], []
    for scale in (1.0, 10.0, 100.0):
        field = at_rest(50, scale, activation=sigma)
        start = field.units.inner.detach().clone()
        distances.append(apart(descend(field, rate=0.6, steps=48)[0], exact))
        moved.append(float((field.units.inner - start).detach().norm()))
    assert distances[0] > 0.1
    assert distances[1] < distances[0] / 5
    assert distances[2] < 1e-3
    assert moved[1] / moved[2] == pytest.approx(100, rel=0.1)


def test_a_unit_without_weights_is_nothing():
    inner, biases = torch.zeros(1, 2, dtype=F64), torch.zeros(1, dtype=F64)
    field = FrozenPerceptronField(2, 1, coefficients=cloud(1, 2), inner=inner, biases=biases)
    assert not bool(field(Z).any())
    assert bool(torch.isfinite(field.jacobian(Z)).all())


# ---- one learning rate for every width


def test_training_is_the_same_at_every_width():
    """The path of v under gradient descent at one learning rate, up to chance."""
    (narrow, one), (wide, other) = (descend(at_rest(width), rate=0.6, steps=42) for width in (64, 1024))
    assert apart(narrow, wide) < 0.2
    assert one == pytest.approx(other, rel=0.15)


@pytest.mark.slow
@activations
@pytest.mark.parametrize("scale", [1.0, None], ids=["mean field", "lazy"])
def test_what_chance_leaves_is_that_of_a_mean(sigma, scale):
    """The distance to training at a great width, falling like M^-½; the loss is the same."""
    reference, loss = descend(at_rest(2048, scale or math.sqrt(2048), 99, sigma), rate=0.6, steps=60)
    distances = []
    for width in (32, 512):
        fields = [at_rest(width, scale or math.sqrt(width), seed, sigma) for seed in range(5)]
        runs = [descend(field, rate=0.6, steps=60) for field in fields]
        distances.append(sum(apart(path, reference) for path, _ in runs) / len(runs))
        assert all(run[1] == pytest.approx(loss, rel=0.3) for run in runs)
    assert distances[0] < 0.25
    assert 2.5 < distances[0] / distances[1] < 7  # 4, but for chance


def test_without_rates_wide_fields_hardly_learn():
    """The tests above would notice: the same steps with Euclidean gradients."""

    class Plain(PerceptronField):
        def rates(self):
            return [(p, 16.0) for p in self.parameters()]

    narrow, wide = (descend(Plain(2, width).double(), rate=0.6, steps=42)[1] for width in (32, 1024))
    assert wide > 2 * narrow


@pytest.mark.slow
def test_training_is_the_same_at_every_depth_and_width():
    """Of a residual network, the distance of whose end to its targets is minimized at one learning rate."""
    ends = []
    for depth, width in ((5, 64), (20, 64), (5, 1024), (20, 1024)):
        phi = Flow([at_rest(width, seed=seed) for seed in range(depth)], Euler(), steps=depth)
        for _ in range(60):
            loss = 0.5 * (phi(X) - X - Y).square().sum(1).mean()
            gradients = torch.autograd.grad(loss, [p for p, _ in phi.rates()])
            with torch.no_grad():
                for (p, factor), gradient in zip(phi.rates(), gradients, strict=True):
                    p -= 0.2 * factor * gradient
        ends.append(phi(Z).detach() - Z)
    assert all(apart(end, ends[-1]) < 0.15 for end in ends[:-1])


@perceptrons
def test_units_conserve_the_balance_of_their_weights(entry, d):
    """a·∂/∂a = (w, b)·∂/∂(w, b) for ReLU: along the gradient flow |a|² − |w|² − b² never changes."""
    field, x = entry(d), cloud(9, d)
    units, loss = field.units, field(x).square().sum()
    a, w, b = torch.autograd.grad(loss, [field.outer, units.inner, units.biases])
    outside, inside = (a * field.outer).sum(1), (w * units.inner).sum(1) + b * units.biases
    if units.activation == ReLU():
        torch.testing.assert_close(outside, inside, rtol=1e-9, atol=1e-12)
    else:
        assert relative(outside, inside) > 1e-3


# ---- what does not fit


@pytest.mark.parametrize("cls", [PerceptronField, FrozenPerceptronField])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "a width and a dimension, 1 or more, and a radius, a positive length, and got width 0"),
        ({"radius": -1.0}, "radius -1.0"),
        ({"inner": torch.zeros(3, 2)}, r"expect inner of shape \(8, 2\), and got \(3, 2\)"),
        ({"center": torch.zeros(3)}, r"expect center of shape \(2,\), and got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_said(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**{"dim": 2, "width": 8, **options})


def test_outer_weights_and_scales_that_do_not_fit_are_said():
    with pytest.raises(ValueError, match=r"outer weights of shape \(8, 2\), and got \(2, 8\)"):
        PerceptronField(2, 8, outer=torch.zeros(2, 8))
    with pytest.raises(ValueError, match="a positive, finite scale, and got 0"):
        PerceptronField(2, 8, scale=0)


@pytest.mark.parametrize("d", [1, 2, 3])
@given(seed=seeds)
def test_flows_with_kinks_have_inverses(d, seed):
    """Euler layers of ReLU are piecewise linear, which Newton's method solves in few steps."""
    phi = Flow([zoo.perceptrons(ReLU())(d, F64, seed + k) for k in range(4)], Euler())
    assert all(bool(field.lipschitz() < phi.steps) for field in phi.layer_fields())
    x = cloud(50, d, seed=seed)
    assert (phi.inverse(phi(x)) - x).abs().max() < 1e-10
    assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())
