"""Geodesics of spaces of fields: Hamilton's equations, the kernel's geodesics as a limit, and what is learned."""

import math

import pytest
import torch

from diffeo.fields import (
    GELU,
    FeatureField,
    FrozenPerceptronField,
    KernelField,
    LinearField,
    PerceptronField,
    ReLU,
    Tanh,
)
from diffeo.fit import fit
from diffeo.flows import FieldGeodesic, Flow, Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from diffeo.solvers import RK4, Adaptive, Euler, Ralston
from tests.oracles import cloud, distance, relative

F64 = torch.float64
KERNEL = GaussianKernel(0.7)


def features(width=60, d=2, seed=0, kernel=KERNEL):
    return FeatureField(kernel, d, width, seed, torch.zeros(width, d, dtype=F64))


def perceptrons(width=60, d=2):
    return FrozenPerceptronField(d, width, activation=Tanh(), coefficients=torch.zeros(width, d, dtype=F64))


def kernel_field(d=2):
    return KernelField(KERNEL, cloud(12, d, seed=9))


FIELDS = {"features": features, "perceptrons": perceptrons, "momenta": kernel_field}
fields = pytest.mark.parametrize("make", FIELDS.values(), ids=FIELDS)


def shot(field, n=7, size=0.4, solver=None, steps=10, **options):
    c = cloud(n, 2, seed=3)
    return FieldGeodesic(field, c, solver, steps, cloud(n, 2, seed=4, size=size), **options)


# ---- Hamilton's equations


@fields
def test_motion_is_hamiltons(make):
    """(∂H/∂p, −∂H/∂q), by automatic differentiation of H = ½|θ|² with the kernel as features give it."""
    phi = shot(make())
    q, p = phi.controls.clone().requires_grad_(), phi.momenta.detach().clone().requires_grad_()
    features = phi.field.features(q)
    energy = 0.5 * (p * (features @ features.T @ p)).sum()
    torch.testing.assert_close(phi.hamiltonian(q, p), energy)
    dq, dp = torch.autograd.grad(energy, (q, p))
    motion = phi.motion(q, p)
    torch.testing.assert_close(motion.position, dp)
    torch.testing.assert_close(motion.momentum, -dq)


@fields
def test_the_hamiltonian_is_conserved_to_the_order_of_the_solver(make):
    phi = shot(make())
    for solver in (Ralston(), RK4()):
        drifts = [phi.with_steps(n, solver).hamiltonian_drift() for n in (8, 16)]
        assert drifts[1] < 1e-3
        assert math.log2(drifts[0] / drifts[1]) > solver.order - 0.6


@fields
def test_time_runs_backward_from_turned_momenta(make):
    phi = shot(make(), solver=RK4(), steps=40)
    with torch.no_grad():
        q, p = phi.shoot()[-1]
        back = FieldGeodesic(phi.field, q, RK4(), 40, -p)
        end, turned = back.shoot()[-1]
    assert distance(end, phi.controls) < 1e-6
    assert distance(turned, -phi.momenta) < 1e-5


def test_features_of_any_field_are_enough():
    """Where nothing is known but ``evaluate``, automatic differentiation finds the same equations and gradients."""

    class Bare(FeatureField):
        def features(self, x):
            return None

        def evaluate(self, x, coefficients):
            return FeatureField.features(self, x) @ coefficients

        gather = LinearField.gather
        pull = LinearField.pull
        jacobian_of = LinearField.jacobian_of

    known = shot(features(), steps=3, whiten=False)
    bare = shot(Bare(**features().arguments()), steps=3)
    x, results = cloud(5, 2), []
    for phi in (known, bare):
        moved, logdet = phi.with_logdet(x)
        value = moved.square().sum() + logdet.sum() + phi.energy()
        results.append((moved, logdet, *torch.autograd.grad(value, [phi.unknown.coordinates])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a)


@pytest.mark.parametrize(("activation", "exact"), [(Tanh(), True), (GELU(), True), (ReLU(), False)], ids=str)
def test_gradients_are_exact_for_smooth_fields_only(activation, exact):
    """Against differences over a distance in which a wide layer of ReLUs averages its jumps."""
    field = FrozenPerceptronField(2, 3000, activation=activation, radius=0.7, coefficients=cloud(3000, 2, size=0.0))
    phi, d, w = shot(field, n=20, steps=5), cloud(20, 2, seed=5), cloud(20, 2, seed=6)
    z = phi.unknown.coordinates
    (gradient,) = torch.autograd.grad((w * phi(phi.controls)).sum(), z)
    start, values = z.detach().clone(), []
    with torch.no_grad():
        for s in (0.02, -0.02):
            z.copy_(start + s * d)
            values.append(float((w * phi(phi.controls)).sum()))
    found, expected = float((gradient * d).sum()), (values[0] - values[1]) / 0.04
    assert (abs(found / expected - 1) < 0.02) == exact


# ---- what it is a geodesic of


def test_with_momenta_on_the_same_points_it_is_the_geodesic_of_the_kernel():
    """Up to what the ridge of the whitening takes away."""
    c, p, x = cloud(9, 2, seed=3), cloud(9, 2, seed=4, size=0.3), cloud(20, 2)
    exact = Geodesic(KERNEL, c, RK4(), 8, p)
    finite = FieldGeodesic(KernelField(KERNEL, torch.cat([c, cloud(60, 2, seed=6, size=0.7)])), c, RK4(), 8, p)
    moved = exact(x).detach() - x
    assert moved.norm(dim=1).max() > 0.2
    assert relative(finite(x) - x, moved) < 0.02
    torch.testing.assert_close(finite.energy(), exact.energy(), rtol=0.01, atol=0)


def test_it_tends_to_the_geodesic_of_the_kernel_as_the_width_grows():
    """Like 1/√M: a factor of 4 in the error for one of 16 in the width, on average over draws."""
    c, p = cloud(7, 2, seed=3), cloud(7, 2, seed=4, size=0.4)
    exact = Geodesic(KERNEL, c, Ralston(), 5, p)
    errors = []
    with torch.no_grad():
        for width in (64, 1024):
            ends = [FieldGeodesic(features(width, seed=s), c, Ralston(), 5, p, whiten=False)(c) for s in range(12)]
            errors.append(float(torch.stack([(end - exact(c)).square().mean() for end in ends]).mean().sqrt()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)
    assert errors[1] < 0.04


def test_its_velocities_are_those_of_an_euler_flow():
    phi, x = shot(features(), solver=Euler(), steps=6), cloud(9, 2)
    with torch.no_grad():
        fields = [FeatureField(**{**features().arguments(), "coefficients": theta}) for theta in phi.velocities()]
    assert distance(Flow(fields, Euler())(x), phi(x)) < 1e-13


# ---- the unknown


@fields
@pytest.mark.parametrize("whiten", [None, False], ids=["whitened", "plain"])
def test_momenta_go_in_and_come_out(make, whiten):
    phi, p = shot(make(), whiten=whiten), cloud(7, 2, seed=8)
    assert phi.unknown.whiten == (whiten is None)
    phi.momenta = p
    assert distance(phi.momenta, p) < 1e-11
    assert FieldGeodesic(make(), phi.controls).energy() == 0


@fields
def test_whitened_coordinates_have_twice_the_energy(make):
    """|z|² exceeds it by the ridge only, however close points are."""
    c = torch.cat([cloud(5, 2), cloud(5, 2) + 1e-3])
    phi = FieldGeodesic(make(), c)
    with torch.no_grad():
        theta = phi.field.gather(c, cloud(10, 2, seed=1))
        phi.momenta = torch.linalg.lstsq(phi.field.features(c).T, theta, driver="gelsd", rcond=1e-4).solution
        assert 1 <= float(phi.unknown.coordinates.square().sum() / (2 * phi.energy())) < 1.3


def test_only_momenta_are_learned():
    phi = shot(features())
    assert [p for p in phi.parameters() if p.requires_grad] == [phi.unknown.coordinates]
    assert phi.rates() == [(phi.unknown.coordinates, 1.0)]


def test_inner_weights_that_require_gradients_are_learned_along():
    """Frequencies as parameters: shared by all times; finite differences agree."""
    field = features(20)
    frequencies = torch.nn.Parameter(field.frequencies.clone())
    del field.frequencies
    field.frequencies = frequencies
    phi = shot(field, steps=4)
    assert not phi.unknown.whiten
    assert [id(p) for p, _ in phi.rates()] == [id(phi.unknown.coordinates), id(phi.field.frequencies)]
    x, v = cloud(5, 2), cloud(10, 2, seed=5)
    (gradient,) = torch.autograd.grad(phi(x).square().sum() + phi.energy(), [phi.field.frequencies])
    h, values = 1e-5, []
    for s in (h, -h):
        with torch.no_grad():
            phi.field.frequencies.add_(s * v)
            values.append(float(phi(x).square().sum() + phi.energy()))
            phi.field.frequencies.sub_(s * v)
    assert float((gradient * v).sum()) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-6)
    with pytest.raises(ValueError, match="inner weights do not change"):
        shot(field, whiten=True)


def test_fields_that_are_not_linear_are_refused():
    with pytest.raises(ValueError, match="linear in its unknowns, and got PerceptronField"):
        FieldGeodesic(PerceptronField(2, 20), cloud(5, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="build it whitened"):
        FieldGeodesic(KernelField(KERNEL, cloud(5, 2), whiten=False), cloud(5, 2))
    assert FieldGeodesic(PerceptronField(2, 20).double().linear(), cloud(5, 2)).energy() == 0


def test_adaptive_steps_shoot_to_the_same_place():
    phi, x = shot(features()), cloud(5, 2)
    with torch.no_grad():
        fine = phi.with_steps(60, RK4())(x)
        assert distance(phi.with_steps(2, Adaptive(rtol=1e-9, atol=1e-10))(x), fine) < 1e-6


# ---- the two ways to one minimum


def landmarks(n=8):
    x = cloud(n, 2, seed=3)
    return [(Points(x), Points(x + 0.4 * torch.sin(2.5 * x.flip(1)) + torch.tensor([0.3, -0.1], dtype=F64)))]


def minimum(phi, pairs, weight=0.02):
    """Objective and energy where L-BFGS ends."""
    history = fit(phi, pairs, LandmarkLoss(), weight=weight, max_iterations=2000, tolerance=1e-9)
    assert history.converged
    return history[-1]


@pytest.mark.slow
def test_shooting_and_layerwise_training_reach_the_same_energy():
    """The minimum of a penalized flow is a geodesic: kernels with carried controls, and spaces of features."""
    pairs, kernel = landmarks(), GaussianKernel(0.5)
    x = pairs[0][0].x
    ways = {
        "momenta": (
            Geodesic(kernel, x, Ralston(), 20),
            Flow(KernelField(kernel, x), Ralston(), 20, carried=True),
        ),
        "features": (
            FieldGeodesic(features(100, kernel=kernel), x, Ralston(), 20),
            Flow(features(100, kernel=kernel), Ralston(), 20),
        ),
    }
    for geodesic, flow in ways.values():
        a, b = minimum(geodesic, pairs), minimum(flow, pairs)
        assert a.energy == pytest.approx(b.energy, rel=0.02)
        assert a.objective == pytest.approx(b.objective, rel=0.01)
        assert geodesic.hamiltonian_drift() < 0.01
