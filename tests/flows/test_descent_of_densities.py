"""Descents on losses of samples: SVGD and the MMD flow to the last digit, and what makes them diffeomorphisms."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from diffeo.fields import (
    ConvField,
    DipoleField,
    FeatureField,
    FrozenPerceptronField,
    KernelField,
    PerceptronField,
    Tanh,
)
from diffeo.fit import fit
from diffeo.flows import Affine, Descent, FieldDescent
from diffeo.flows.greedy import force, joined
from diffeo.io import load, save
from diffeo.kernels import CauchyKernel, GaussianKernel, Matern52Kernel
from diffeo.laws import Gaussian, Transported
from diffeo.losses import KLLoss, MMDLoss, NLLLoss
from diffeo.shapes import Points, Samples
from tests import zoo
from tests.oracles import cloud, distance, pointwise_jacobian, relative

F64 = torch.float64
KERNEL = GaussianKernel(0.6)
KERNELS = [KERNEL, CauchyKernel(0.8), Matern52Kernel(0.7) + 0.3 * GaussianKernel(1.5)]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=zoo.named)


def svgd(kernel, x, log_prob):
    """φ*(x_i) = (1/n) Σ_j k(x_j, x_i) ∇log π(x_j) + ∇_{x_j} k(x_j, x_i), pair by pair, by automatic differentiation."""
    x = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_prob(x).sum(), x)
    found = []
    for y in x.detach():
        z = x.detach().clone().requires_grad_()
        k = kernel.jet((z - y).square().sum(1))[0]
        (repulsion,) = torch.autograd.grad(k.sum(), z)
        found.append((k.detach()[:, None] * score + repulsion).mean(0))
    return torch.stack(found)


# ---- what a step is


@kernels
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_step_on_the_divergence_is_one_of_svgd(kernel, d):
    """Also one that starts anywhere on the way: log-volumes do not matter."""
    phi, x = Descent(kernel), cloud(40, d, size=1.0)
    for _ in range(3):
        with torch.no_grad():
            before = phi(x)
        assert phi.grow([(Samples(x), None)], KLLoss(zoo.banana))
        assert isinstance(phi.layer_fields()[-1], DipoleField)
        velocity = (phi.layers()[-1](before) - before) / phi._step
        assert distance(velocity, svgd(kernel, before, zoo.banana)) < 1e-10
        assert distance(phi(x) - before, phi._step * svgd(kernel, before, zoo.banana)) < 1e-10


def test_with_many_particles_the_compiled_loops_make_the_same_step():
    phi, x = Descent(KERNEL), cloud(90, 2, size=1.0)
    assert phi.grow([(Samples(x), None)], KLLoss(zoo.banana))
    assert distance((phi(x) - x) / phi._step, svgd(KERNEL, x, zoo.banana)) < 1e-10


@pytest.mark.parametrize("shape", [Points, Samples])
def test_a_step_on_the_discrepancy_is_one_of_its_flow(shape):
    """v = −K∇D with D = |μ − ν|², by sums over pairs: ∇_i D = (2/n) (mean_j ∇k(x_i, x_j) − mean_j ∇k(x_i, y_j))."""
    x, y, s = cloud(30, 2), cloud(20, 2, seed=1) + 0.4, 0.5
    phi = Descent(KERNEL)
    assert phi.grow([(shape(x), shape(y))], MMDLoss(GaussianKernel(s)))
    assert isinstance(phi.layer_fields()[0], KernelField)

    def k(a, b, s):
        return torch.exp(-(a[:, None] - b[None]).square().sum(2) / (2 * s**2))

    def slope(a, b):
        return (k(a, b, s)[:, :, None] * (b[None] - a[:, None])).mean(1) / s**2

    pull = 2 / len(x) * (slope(x, x) - slope(x, y))
    assert distance((phi(x) - x) / phi._step, -k(x, x, 0.6) @ pull) < 1e-12


def test_the_derivative_of_the_loss_along_a_layer_is_that_of_the_force():
    """Σ g·v + s div v, for any v: log-volumes change by div v."""
    samples, loss = Samples(cloud(15, 2), logvolume=cloud(15, 1, seed=3)[:, 0]), KLLoss(zoo.banana)
    pull = force(samples, None, loss)
    v = zoo.dipole_field(KERNEL)(2, F64, 5)

    def along(h):
        phi = Descent(KERNEL)
        phi.append(v.controls, h * v.momenta.detach(), h * v.strengths.detach())
        return float(loss(phi @ samples, None))

    with torch.no_grad():
        expected = (pull.gradient * v(samples.x)).sum() + pull.spread @ v.divergence(samples.x)
    assert (along(1e-4) - along(-1e-4)) / 2e-4 == pytest.approx(float(expected), rel=1e-6)
    assert pull.value == pytest.approx(along(0.0))


def test_no_field_of_the_space_descends_more_steeply():
    """The derivative along u is −‖u‖², and along any other of the same norm it is no less."""
    samples = Samples(cloud(15, 2, size=1.0))
    x, gradient, spread = joined([force(samples, None, KLLoss(zoo.banana))])

    @torch.no_grad()
    def steepness(v):
        return float(((gradient * v(x)).sum() + spread @ v.divergence(x)) / v.sqnorm().sqrt())

    u = Descent(KERNEL).steepest(x, gradient, spread)
    assert steepness(u) == pytest.approx(-float(u.sqnorm().sqrt()))
    for seed in range(5):
        a, b = cloud(15, 2, seed=seed, size=0.02), cloud(15, 1, seed=seed + 9, size=0.02)[:, 0]
        assert steepness(u) < steepness(DipoleField(KERNEL, x, u.momenta + a, u.strengths + b))


def test_on_controls_the_step_is_the_projection():
    """Least norm for the values on the controls, up to the ridge of the factorization."""
    samples, controls = Samples(cloud(40, 2, size=1.0)), cloud(12, 2, seed=4, size=1.0)
    force_on = joined([force(samples, None, KLLoss(zoo.banana))])
    full, projected = Descent(KERNEL).steepest(*force_on), Descent(KERNEL, controls).steepest(*force_on)
    assert isinstance(projected, KernelField)
    assert relative(projected(controls), full(controls)) < 0.02
    assert projected.sqnorm() < full.sqnorm()
    # what is left is orthogonal: ⟨full − projected, projected⟩ = Σ a_j·(full − projected)(c_j)
    rest = (projected.momenta * (full(controls) - projected(controls))).sum()
    assert abs(rest) < 0.02 * projected.sqnorm()


# ---- what grows


@pytest.mark.parametrize("controls", [None, 20], ids=["all points", "few controls"])
def test_every_layer_lowers_the_divergence_and_is_certified(controls, tmp_path):
    source, loss = Samples(cloud(60, 2, size=1.0)), KLLoss(zoo.banana)
    phi = Descent(KERNEL, None if controls is None else cloud(controls, 2, size=1.0))
    values = [float(loss(source))]
    for _ in range(8):
        assert phi.grow([(source, None)], loss)
        values.append(float(loss(phi @ source)))
    assert all(b < a for a, b in pairwise(values))
    assert values[-1] < values[0] - 1
    assert all(field.lipschitz() < 1 for field in phi.layer_fields())

    x = cloud(100, 2, seed=1, size=1.5)
    moved, logdet = phi.with_logdet(x)
    assert distance(phi.inverse(moved), x) < 1e-10
    assert distance(logdet[:10], torch.linalg.det(pointwise_jacobian(phi, x[:10])).log()) < 1e-8
    save(tmp_path / "phi.safetensors", phi)
    assert torch.equal(load(tmp_path / "phi.safetensors")(x), moved)
    again = Descent(KERNEL, phi.controls)
    again.regrow(phi.growth())
    assert torch.equal(again(x), moved)


def test_growth_goes_on_where_it_was_saved():
    source, loss = Samples(cloud(30, 2)), KLLoss(zoo.banana)
    straight, first, second = (Descent(KERNEL) for _ in range(3))
    for _ in range(4):
        straight.grow([(source, None)], loss)
    for _ in range(2):
        first.grow([(source, None)], loss)
    second.regrow(first.growth())
    for _ in range(2):
        second.grow([(source, None)], loss)
    assert torch.equal(second(source.x), straight(source.x))


@pytest.mark.slow
def test_particles_come_to_the_law():
    """Mean and spread of a Gaussian, by `fit`; moved samples carry log det of the map exactly."""
    law = Gaussian(torch.tensor([1.0, -0.5], dtype=F64), torch.tensor([[0.8, 0.0], [0.4, 0.6]], dtype=F64))
    source, phi = Samples(cloud(60, 2, size=1.0)), Descent(GaussianKernel(1.0))
    history = fit(phi, [(source, None)], KLLoss(law.log_prob), weight=0.0, max_iterations=25, tolerance=None)
    assert history[-1].data < history[0].data - 0.5
    moved = phi @ source
    assert distance(moved.x.mean(0), law.mean) < 0.1
    assert relative(moved.x.T.cov(), law.factor @ law.factor.T) < 0.2
    assert distance(moved.logvolume, torch.linalg.det(pointwise_jacobian(phi, source.x)).log()) < 1e-8


def test_likelihood_is_descended_along_divergences_too():
    """NLLLoss with the base as the target; witnesses follow, and nothing folds at them."""
    x = cloud(80, 2, size=1.0) * torch.tensor([1.5, 0.5], dtype=F64)
    source = Samples(x, floor=0.3, witnesses=cloud(20, 2, seed=8, size=2.0))
    phi, base = Descent(KERNEL), Gaussian.standard(2, F64)
    values = [float(NLLLoss()(source, base))]
    for _ in range(10):
        assert phi.grow([(source, base)], NLLLoss())
        values.append(float(NLLLoss()(phi @ source, base)))
    assert values[-1] < values[0] - 0.1
    moved = phi @ source
    assert float(moved.deficit) == 0
    assert distance(moved.witnesses, phi(source.witnesses)) == 0


def ring(n, seed):
    """About the unit circle."""
    return torch.nn.functional.normalize(cloud(n, 2, seed=seed)) + cloud(n, 2, seed=seed + 100, size=0.15)


def test_a_base_is_trained_along():
    """Layers, and between them the mixture that they carry the samples to: better on new samples than it is alone."""
    source, new, still = Samples(ring(100, 1)), ring(500, 2), Affine(torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64))
    base, alone, phi = zoo.law(2, F64, 0), zoo.law(2, F64, 0), Descent(KERNEL, source.x[:20])
    fit(still, [(source, None)], NLLLoss(alone), max_iterations=30)
    fit(phi, [(source, None)], NLLLoss(base), weight=0.0, max_iterations=15, tolerance=None)
    assert distance(base.means, zoo.law(2, F64, 0).means) > 0.05
    with torch.no_grad():
        assert Transported(phi, base).log_prob(new).mean() > alone.log_prob(new).mean() + 0.1


def test_points_and_samples_grow_together():
    """A loss that looks at positions only, beside one of densities."""
    pairs = [
        (Samples(cloud(20, 2)), Points(cloud(15, 2, seed=1) + 0.3)),
        (Points(cloud(9, 2, seed=2)), Points(cloud(9, 2))),
    ]
    phi, loss = Descent(KERNEL), MMDLoss(GaussianKernel(0.5))
    before = sum(float(loss(*pair)) for pair in pairs)
    assert phi.grow(pairs, loss)
    assert sum(float(loss(phi @ a, b)) for a, b in pairs) < before


# ---- memory of volumes


def test_volumes_asked_for_again_are_those_of_the_map():
    phi, x = zoo.dipole_descent(2, F64, 0), cloud(5, 2)
    for _ in range(2):
        moved, volumes = phi.with_volumes(x)
        assert torch.equal(volumes, phi.with_volumes(x.clone())[1])
        assert volumes.shape == (len(phi.layers()), 5)
        assert torch.equal(moved, phi(x))
        phi.append(cloud(3, 2), cloud(3, 2, seed=1, size=0.1), cloud(3, 1, size=0.02)[:, 0])
    x += 1
    assert torch.equal(phi.with_volumes(x)[1], phi.with_volumes(x.clone())[1])
    with torch.no_grad():
        phi.layer_fields()[1].strengths.mul_(2)
    assert torch.equal(phi.with_volumes(x)[1], phi.with_volumes(x.clone())[1])


def test_volumes_that_were_not_asked_for_are_not_made_up():
    phi, x = zoo.dipole_descent(2, F64, 0), cloud(5, 2)
    phi(x)
    assert torch.equal(phi.with_volumes(x)[1], phi.with_volumes(x.clone())[1])
    phi.append(cloud(3, 2), cloud(3, 2, seed=1, size=0.1))
    phi(x)  # through the new layer, without its determinant
    assert torch.equal(phi.with_volumes(x)[1], phi.with_volumes(x.clone())[1])
    assert distance(phi.with_logdet(x)[1], torch.linalg.det(pointwise_jacobian(phi, x)).log()) < 1e-10


def test_the_energy_follows_layers_that_change():
    """Norms are computed once, and again for what is not the same."""
    phi = zoo.dipole_descent(2, F64, 0)
    for change in (
        lambda: None,
        lambda: phi.layer_fields()[1].strengths.mul_(2),
        lambda: phi.append(cloud(3, 2), cloud(3, 2, seed=1, size=0.1), cloud(3, 1, size=0.02)[:, 0]),
        lambda: phi.regrow(zoo.dipole_descent(2, F64, 4).growth()),
        lambda: phi.load_state_dict(zoo.dipole_descent(2, F64, 5).state_dict()),
    ):
        with torch.no_grad():
            change()
        squares = torch.stack([field.sqnorm() for field in phi.layer_fields()])
        for _ in range(2):
            torch.testing.assert_close(phi.energy(), len(squares) * squares.sum() / 2, rtol=1e-14, atol=0)
    phi.requires_grad_(True)
    assert phi.energy().requires_grad


# ---- along other fields

FAMILIES = {
    "features": lambda: FeatureField(KERNEL, 2, 60, 0, torch.zeros(60, 2, dtype=F64)),
    "momenta": lambda: KernelField(KERNEL, cloud(20, 2, seed=9, size=1.0)),
    "perceptrons": lambda: PerceptronField(2, 12, activation=Tanh(), outer=torch.zeros(12, 2, dtype=F64)),
    "frozen perceptrons": lambda: FrozenPerceptronField(2, 60, coefficients=torch.zeros(60, 2, dtype=F64)),
    "convolutions": lambda: ConvField((1, 1, 2), 8, coefficients=torch.zeros(1, 72, dtype=F64)),
}


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_any_fields_descend_on_densities(make):
    source, loss, phi = Samples(cloud(40, 2, size=1.0)), KLLoss(zoo.banana), FieldDescent(make(), refine=3)
    values = [float(loss(source))]
    for _ in range(4):
        assert phi.grow([(source, None)], loss)
        values.append(float(loss(phi @ source)))
    assert all(b < a for a, b in pairwise(values))
    assert all(h * float(u.lipschitz()) < 1 for u, h in zip(phi.layer_fields(), phi.sizes(), strict=True))


@pytest.mark.parametrize("name", ["features", "momenta", "frozen perceptrons", "convolutions"])
def test_linear_fields_take_up_divergences_exactly(name):
    """The derivative of the loss along u is −‖u‖², with momenta up to the ridge they are whitened with."""
    x, gradient, spread = joined([force(Samples(cloud(40, 2, size=1.0)), None, KLLoss(zoo.banana))])
    u = FieldDescent(FAMILIES[name]()).steepest(x, gradient, spread)
    with torch.no_grad():
        change = (gradient * u(x)).sum() + spread @ u.divergence(x)
    assert float(-change) == pytest.approx(float(u.sqnorm()), rel=5e-3 if name == "momenta" else 1e-9)


@pytest.mark.parametrize("grow", [Descent, partial(FieldDescent, refine=1)], ids=["Descent", "FieldDescent"])
def test_rounding_follows_the_samples(grow):
    phi = grow(KERNEL) if grow is Descent else grow(FeatureField(KERNEL, 2, 20))
    source = Samples(cloud(20, 2, torch.float32))
    assert phi.grow([(source, None)], KLLoss(zoo.banana))
    assert (phi @ source).logvolume.dtype == torch.float32
