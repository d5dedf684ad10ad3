"""Geodesics: conservation laws, an independent solution, and Log after Exp."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.integrate import solve_ivp

from diffeo.backends import CPUBackend, DenseBackend
from diffeo.fields import KernelField
from diffeo.fit import fit
from diffeo.flows import Flow, Geodesic
from diffeo.kernels import GaussianKernel, LaplacianKernel, Matern32Kernel
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from diffeo.solvers import RK4, Adaptive, Euler
from tests import zoo
from tests.oracles import cloud, distance, relative, rotation, seeds

F64 = torch.float64
smooth = pytest.mark.parametrize("kernel", zoo.SMOOTH_KERNELS, ids=zoo.named)
few = settings(max_examples=3)


def geodesic(kernel, d=3, n=10, seed=0, solver=None, steps=20, size=0.2, **options):
    """A moderate deformation: points of extent about 2 move by about half a unit."""
    q, p = cloud(n, d, seed=seed), cloud(n, d, seed=seed + 1, size=size / kernel.at_zero)
    return Geodesic(kernel, q, solver or RK4(), steps, p, **options)


def hamiltonians(phi):
    with torch.no_grad():
        return torch.stack([0.5 * (p * (phi.kernel(q) @ p)).sum() for q, p in phi.shoot()])


# ---- what is conserved


@smooth
@few
@given(seed=seeds)
def test_energy_is_conserved(kernel, seed):
    phi = geodesic(kernel, seed=seed % 10_000)
    values = hamiltonians(phi)
    drift = float((values / values[0] - 1).abs().max())
    assert drift < 1e-6
    assert phi.hamiltonian_drift() == pytest.approx(drift, abs=1e-12)
    torch.testing.assert_close(phi.energy().detach(), values[0])
    with torch.no_grad():
        assert (phi(phi.controls) - phi.controls).norm(dim=1).max() > 0.2


@pytest.mark.parametrize("solver", zoo.FIXED_SOLVERS, ids=zoo.named)
def test_energy_drifts_with_the_order_of_the_solver(solver):
    coarse, fine = (geodesic(GaussianKernel(0.5), solver=solver, steps=n).hamiltonian_drift() for n in (20, 40))
    assert math.log2(coarse / fine) > solver.order - 0.3


def test_without_momentum_nothing_drifts():
    assert Geodesic(zoo.GAUSSIAN, cloud(3, 2)).hamiltonian_drift() == 0


@smooth
@few
@given(seed=seeds)
def test_momentum_and_angular_momentum_are_conserved(kernel, seed):
    with torch.no_grad():
        states = geodesic(kernel, seed=seed % 10_000).shoot()
    q0, p0 = states[0]
    for q, p in states:
        assert distance(p.sum(0), p0.sum(0)) < 1e-12  # linear: exact for any Runge–Kutta method
        assert distance(q.T @ p - p.T @ q, q0.T @ p0 - p0.T @ q0) < 1e-6
    assert distance(states[-1][1], p0) > 1e-3  # the momenta themselves are not


@smooth
@few
@given(seed=seeds)
def test_geodesics_are_reversible(kernel, seed):
    """From the end with −p back to the start."""
    phi = geodesic(kernel, seed=seed % 10_000)
    with torch.no_grad():
        q, p = phi.shoot()[-1]
        back, turned = Geodesic(kernel, q, RK4(), 20, -p).shoot()[-1]
    assert distance(back, phi.controls) < 1e-5
    assert distance(-turned, phi.momenta) < 1e-5


def test_reversibility_has_the_order_of_the_solver():
    errors = []
    for steps in (10, 20):
        phi = geodesic(GaussianKernel(0.5), steps=steps)
        with torch.no_grad():
            q, p = phi.shoot()[-1]
            errors.append(distance(Geodesic(phi.kernel, q, RK4(), steps, -p).shoot()[-1][0], phi.controls))
    assert math.log2(errors[0] / errors[1]) > 3.7


@smooth
@few
@given(seed=seeds)
@pytest.mark.slow
def test_rigid_motions_move_the_geodesic_rigidly(kernel, seed):
    for d in (2, 3):
        phi, x = geodesic(kernel, d, seed=seed % 10_000, steps=5), cloud(7, d, seed=seed)
        R, t = rotation(d, seed=seed), 5 + cloud(1, d, seed=seed + 1)[0]
        turned = Geodesic(kernel, phi.controls @ R.T + t, RK4(), 5, phi.momenta.detach() @ R.T)
        assert distance(turned(x @ R.T + t), phi(x) @ R.T + t) < 1e-11
        torch.testing.assert_close(turned.energy(), phi.energy(), rtol=1e-10, atol=0)
        assert distance(turned.with_logdet(x @ R.T + t)[1], phi.with_logdet(x)[1]) < 1e-9


def test_mirrored_momenta_give_the_mirrored_geodesic():
    phi, x, mirror = geodesic(zoo.GAUSSIAN, 2), cloud(7, 2), torch.tensor([-1.0, 1.0], dtype=F64)
    mirrored = Geodesic(zoo.GAUSSIAN, mirror * phi.controls, RK4(), 20, mirror * phi.momenta.detach())
    assert distance(mirrored(mirror * x), mirror * phi(x)) < 1e-13


# ---- solutions known otherwise


def two_landmarks(q, p, scale, x):
    """Hamilton's equations of two landmarks and a passenger, written out for scipy: nothing of the library."""

    def k(a, b):
        return math.exp(-np.dot(a - b, a - b) / (2 * scale**2))

    def f(_, state):
        q1, q2, p1, p2, z = state.reshape(5, -1)
        force = np.dot(p1, p2) * k(q1, q2) * (q1 - q2) / scale**2  # −∂H/∂q1
        moved = k(z, q1) * p1 + k(z, q2) * p2
        return np.concatenate([p1 + k(q1, q2) * p2, p2 + k(q1, q2) * p1, force, -force, moved])

    start = np.concatenate([*q, *p, x])
    return solve_ivp(f, (0, 1), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1].reshape(5, -1)


@pytest.mark.parametrize("d", zoo.DIMENSIONS)
@pytest.mark.parametrize(("solver", "tolerance"), [(RK4(), 5e-8), (Adaptive(rtol=1e-9, atol=1e-10), 1e-7)], ids=str)
@pytest.mark.slow
def test_two_landmarks_go_where_an_independent_integration_takes_them(d, solver, tolerance):
    q, p, x = cloud(2, d, seed=3), cloud(2, d, seed=4, size=0.8), cloud(1, d, seed=5)
    phi = Geodesic(GaussianKernel(0.6), q, solver, 60, p)
    expected = torch.from_numpy(two_landmarks(q.numpy(), p.numpy(), 0.6, x[0].numpy()))
    with torch.no_grad():
        end, momenta = phi.shoot()[-1]
        assert distance(end, expected[:2]) < tolerance
        assert distance(momenta, expected[2:4]) < 10 * tolerance
        assert distance(phi(x), expected[4:]) < tolerance


@smooth
def test_one_landmark_goes_straight(kernel):
    q, p = cloud(1, 3), cloud(1, 3, seed=1)
    phi = Geodesic(kernel, q, Euler(), 3, p)
    assert distance(phi(q), q + kernel.at_zero * p) < 1e-14
    torch.testing.assert_close(phi.energy(), 0.5 * kernel.at_zero * p.square().sum())


def test_far_apart_landmarks_do_not_see_each_other():
    q = torch.tensor([[0.0, 0.0], [1e3, 0.0]], dtype=F64)
    p = cloud(2, 2)
    assert distance(Geodesic(GaussianKernel(1.0), q, momenta=p)(q), q + p) < 1e-12


@pytest.mark.parametrize("solver", zoo.FIXED_SOLVERS, ids=zoo.named)
def test_convergence_in_the_number_of_steps(solver):
    fine = geodesic(GaussianKernel(0.5), solver=RK4(), steps=200)
    x = cloud(7, 3)
    with torch.no_grad():
        errors = [distance(fine.with_steps(n, solver)(x), fine(x)) for n in (16, 32)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.35)


def test_a_flow_along_the_same_momenta_is_the_same_map():
    """Euler's geodesic is the carried flow whose layers bear the momenta shot."""
    phi, x = geodesic(zoo.GAUSSIAN, 2, solver=Euler(), steps=6), cloud(7, 2)
    with torch.no_grad():
        fields = [KernelField(zoo.GAUSSIAN, q, p) for q, p in phi.shoot()[:-1]]
        assert distance(Flow(fields, Euler(), carried=True)(x), phi(x)) < 1e-13
        assert distance(Flow(fields, Euler())(x), phi(x)) < 1e-13  # its controls already are where they were carried


@few
@given(seed=seeds)
def test_a_geodesic_is_cheaper_than_the_straight_way(seed):
    """Among all ways that bring the same landmarks to the same places, the geodesic has the least energy."""
    phi = geodesic(GaussianKernel(1.0), 2, n=4, seed=seed % 10_000, steps=40, size=0.5)
    with torch.no_grad():
        start, end = phi.controls, phi(phi.controls)
        velocity = end - start
        times = (torch.arange(200, dtype=F64) + 0.5) / 200
        straight = [velocity * torch.linalg.solve(phi.kernel(start + t * velocity).dense(), velocity) for t in times]
        assert 0.5 * torch.stack(straight).sum((1, 2)).mean() > phi.energy() * (1 + 1e-9)


# ---- passengers


@smooth
def test_passengers_on_controls_follow_them(kernel):
    phi = geodesic(kernel, 3, steps=5)
    with torch.no_grad():
        shortcut, carried = phi.path(phi.controls), phi.path(torch.cat([cloud(2, 3), phi.controls]))
        assert phi(phi.controls).shape == phi.controls.shape
        for a, b in zip(shortcut, carried, strict=True):
            assert distance(a, b[2:]) < 1e-13
        assert distance(phi.with_logdet(phi.controls)[0], shortcut[-1]) < 1e-13


def test_gradients_at_the_controls_do_not_depend_on_the_shortcut():
    phi = geodesic(zoo.GAUSSIAN, 2, steps=5)
    target = cloud(10, 2, seed=9)
    (short,) = torch.autograd.grad((phi(phi.controls) - target).square().sum(), list(phi.parameters()))
    x = phi.controls.clone().requires_grad_()
    (long,) = torch.autograd.grad((phi(x) - target).square().sum(), list(phi.parameters()))
    torch.testing.assert_close(short, long)
    (moved,) = torch.autograd.grad(phi(x)[:, 0].sum(), x)
    torch.testing.assert_close(moved, phi.with_jacobian(phi.controls)[1][:, 0])


def test_passengers_do_not_change_the_flow():
    phi = geodesic(zoo.GAUSSIAN, 2, steps=5)
    with torch.no_grad():
        alone = phi(cloud(1, 2))
        among = phi(torch.cat([cloud(1, 2), phi.controls, cloud(50, 2, seed=8)]))[:1]
    assert distance(alone, among) < 1e-13


# ---- Log after Exp


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.slow
def test_log_recovers_the_momenta_that_exp_was_given(d):
    """Shoot known momenta, register the landmarks to where they went, and compare."""
    kernel = GaussianKernel(0.4)
    truth = geodesic(kernel, d, n=8, steps=10, size=0.3)
    source = Points(truth.controls)
    target = Points((truth @ source).x.detach())
    assert distance(target.x, source.x) > 0.2
    phi = Geodesic(kernel, source.x, RK4(), 10)
    history = fit(phi, [(source, target)], LandmarkLoss(), weight=0.0, max_iterations=500, tolerance=1e-12)
    assert history[-1].objective < 1e-12
    assert relative(phi.momenta, truth.momenta) < 1e-3
    torch.testing.assert_close(phi.energy(), truth.energy(), rtol=1e-3, atol=0)


# ---- what is refused, and what is the same whichever way it is computed


@pytest.mark.parametrize(
    "kernel",
    [LaplacianKernel(0.5), Matern32Kernel(0.5), GaussianKernel(0.5) + Matern32Kernel(0.5), 2 * LaplacianKernel(0.5)],
    ids=zoo.named,
)
def test_rough_kernels_are_refused_with_a_way_out(kernel):
    alternatives = "GaussianKernel, Matern52Kernel, CauchyKernel or InverseMultiquadricKernel"
    with pytest.raises(ValueError, match=f"not smooth enough at 0 for geodesics.*{alternatives}"):
        Geodesic(kernel, cloud(3, 2))


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_compiled_loops_shoot_like_torch(dtype):
    """Value and gradient of a whole shooting problem."""
    q, p, x = cloud(25, 3, dtype), cloud(25, 3, dtype, seed=1, size=0.1), cloud(30, 3, dtype, seed=2)
    results = []
    for backend in (DenseBackend(), CPUBackend()):
        phi = Geodesic(GaussianKernel(0.7).on(backend), q, momenta=p)
        value = phi(x).square().sum() + phi.energy()
        results.append((value, *torch.autograd.grad(value, list(phi.parameters()))))
    for a, b in zip(*results, strict=True):
        assert relative(b, a) < (1e-11 if dtype == F64 else 3e-5)


def test_other_steps_keep_the_momenta():
    phi = geodesic(zoo.GAUSSIAN, 2)
    again = phi.with_steps(7)
    assert (again.steps, again.solver) == (7, RK4())
    assert distance(again.momenta, phi.momenta) < 1e-13
    assert phi.with_steps(7, Euler()).solver == Euler()


def test_a_geodesic_says_what_it_is():
    assert "GaussianKernel(scale=0.7), 10 controls, RK4(), steps=20" in repr(geodesic(zoo.GAUSSIAN))
