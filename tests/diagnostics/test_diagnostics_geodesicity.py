"""Maps whose distance from a geodesic is known."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from diffeo.diagnostics import connect, geodesicity, speeds
from diffeo.diagnostics.relaxation import relaxed, residual_geodesic
from diffeo.fields import Contractive, FeatureField, KernelField
from diffeo.fit import fit
from diffeo.flows import FieldGeodesic, Flow, Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from diffeo.solvers import RK4, Euler, Heun
from tests import zoo
from tests.oracles import cloud, distance, rotation

F64 = torch.float64
KERNEL = GaussianKernel(0.7)
ORIGIN = torch.zeros(1, 2, dtype=F64)


def along(velocities: list[list[float]], kernel=KERNEL) -> Flow:
    """One point, carried along by one velocity after the other."""
    point, fields = ORIGIN.clone(), []
    for v in velocities:
        momentum = torch.tensor([v], dtype=F64) / kernel.at_zero
        fields.append(KernelField(kernel, point, momentum, whiten=False))
        point = point + torch.tensor([v], dtype=F64) / len(velocities)
    return Flow(fields, Euler())


def features(seed: int = 0, size: float = 0.2, draw: int = 0) -> FeatureField:
    """Fields of one space, unless the draw is another."""
    return FeatureField(KERNEL, 2, 60, draw, cloud(60, 2, seed=seed + 7, size=size))


# ---- geodesics are


@pytest.mark.parametrize("solver", [Euler(), Heun(), RK4()], ids=repr)
@pytest.mark.parametrize("n", [1, 9])
def test_a_geodesic_is_one(solver, n):
    x, p = cloud(n, 2), cloud(n, 2, seed=1)
    for phi in (Geodesic(KERNEL, x, solver, 8, p), FieldGeodesic(features(), x, solver, 8, p)):
        found = geodesicity(phi, x)
        assert found.gap == pytest.approx(0, abs=1e-6 if solver == Euler() else 1e-9)
        assert found.reshooting < 1e-9
        assert found.match < 1e-8
        assert found.trajectory_energy == pytest.approx(found.energy, rel=0.1 if solver == Euler() else 1e-2)
        assert distance(found.geodesic_path[-1], phi(x)) < 1e-7
        assert found.unevenness == pytest.approx(0, abs=1e-2)
        assert found.energy >= 0.5 * found.length**2 * (1 - 0.1)


def test_layers_taken_from_a_discrete_geodesic_are_one():
    """A residual network with the velocities of symplectic Euler is the geodesic of networks of its depth."""
    x, p = cloud(4, 2), cloud(4, 2, seed=1)
    states = residual_geodesic(KERNEL, x, p, 6)[:-1]
    found = geodesicity(Flow([KernelField(KERNEL, q, p, whiten=False) for q, p in states]), x)
    assert found.reshooting < 1e-9
    assert found.gap == pytest.approx(0, abs=1e-7)
    assert found.trajectory_energy == pytest.approx(found.energy)
    field = features()
    states = residual_geodesic(field, x, p, 6)[:-1]
    layers = [FeatureField(**{**field.arguments(), "coefficients": field.gather(q, p)}) for q, p in states]
    found = geodesicity(Flow(layers), x)
    assert found.reshooting < 1e-9
    assert found.gap == pytest.approx(0, abs=1e-7)


@pytest.mark.slow
def test_a_network_trained_with_energy_is_a_geodesic():
    """As theory has it, at any depth: the minimizer of loss + λ·energy costs no more than its ends require."""
    x, target = cloud(12, 2), cloud(12, 2) @ rotation(2) + cloud(12, 2, seed=3, size=0.2)
    field = FeatureField(KERNEL, 2, 100, coefficients=torch.zeros(100, 2, dtype=F64))
    for weight, steps in ((1e-2, 4), (1e-1, 8)):
        phi = Flow(field, steps=steps)
        fit(phi, [(Points(x), Points(target))], LandmarkLoss(), weight=weight, max_iterations=150, tolerance=1e-12)
        found = geodesicity(phi, x)
        assert found.energy > 0.1
        assert 0 <= found.gap < 1e-3
        assert found.trajectory_energy == pytest.approx(found.energy, rel=1e-4)
        assert found.reshooting < 0.02
    rough = Flow(field, steps=4)
    way = partial(torch.optim.Adam, lr=0.1)
    fit(rough, [(Points(x), Points(target))], LandmarkLoss(), weight=0.0, optimizer=way, max_iterations=60)
    assert geodesicity(rough, x).gap > 0.01  # nothing was paid for energy


@pytest.mark.slow
def test_reshooting_with_another_solver_errs_by_its_order():
    """Layers taken from an exact geodesic are no Euler geodesic: the difference is O(1/L)."""
    errors, x = [], cloud(7, 2)
    for steps in (10, 20):
        exact = Geodesic(KERNEL, x, RK4(), steps, cloud(7, 2, seed=1))
        layers = [KernelField(KERNEL, q, p, whiten=False) for q, p in exact.shoot()[:-1]]
        errors.append(geodesicity(Flow(layers), x).reshooting)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.3)


# ---- what is not, by how much


def test_a_detour_costs_the_square_of_its_length():
    """Out along one side of a square and up another: twice the energy of the diagonal."""
    found = geodesicity(along([[1.0, 0.0], [0.0, 1.0]]), ORIGIN)
    assert found.gap == pytest.approx(1)
    assert found.unevenness == pytest.approx(0)
    assert found.trajectory_energy == pytest.approx(found.energy)
    assert found.geodesic_energy == pytest.approx(0.25 * 1.0)  # ½|(½, ½)|²
    back = geodesicity(along([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), ORIGIN)
    assert back.gap == pytest.approx(3)  # length 1, way ½


def test_uneven_speed_costs_its_variance():
    found = geodesicity(along([[1.5, 0.0], [0.5, 0.0]]), ORIGIN)
    assert found.unevenness == pytest.approx(0.25)
    assert found.gap == pytest.approx(0.25)
    assert found.speeds == pytest.approx(torch.tensor([1.5, 0.5], dtype=F64))
    assert found.energy == pytest.approx(0.5 * found.length**2 * 1.25)


def test_what_moves_elsewhere_is_no_part_of_the_trajectories():
    """A second control far away costs energy and moves none of the points."""
    far = torch.tensor([[0.0, 0.0], [50.0, 0.0]], dtype=F64)
    p = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=F64)
    found = geodesicity(Flow(KernelField(KERNEL, far, p, whiten=False), steps=1), ORIGIN)
    assert found.energy == pytest.approx(0.5 * 5)
    assert found.trajectory_energy == pytest.approx(0.5)
    assert found.geodesic_energy == pytest.approx(0.5)
    assert found.gap == pytest.approx(4)
    assert "400 % above" in str(found)


@pytest.mark.parametrize(
    "phi",
    [
        zoo.flow(KERNEL, 4)(2, F64, 0),
        zoo.flow(KERNEL, 4, carried=True, solver=Heun())(2, F64, 0),
        zoo.descent(2, F64, 0),
        Flow([features(k) for k in range(4)]),
        Flow([Contractive(features(k), 3.0) for k in range(4)], substeps=2),
    ],
    ids=["Flow", "carried", "Descent", "features", "contractive"],
)
def test_energies_come_in_order(phi):
    """That of the map, of the trajectories, of the geodesic; and of the length."""
    found = geodesicity(phi, cloud(8, 2, seed=3))
    assert found.match < 1e-6
    assert found.energy * (1 + 1e-9) >= found.trajectory_energy >= 0.98 * found.geodesic_energy > 0
    assert found.energy >= 0.5 * found.length**2
    assert found.unevenness >= 0
    assert found.reshooting > 0.01
    assert len(found.path) == len(found.geodesic_path) == len(found.reshot_path) == len(found.speeds) + 1
    assert torch.equal(found.speeds, speeds(phi))
    assert float(found.speeds.square().mean() / 2) == pytest.approx(found.energy)


# ---- geodesics between given points


@pytest.mark.parametrize(
    "space", [KERNEL, features(), zoo.CONV_FIELDS[0](2)], ids=["kernel", "features", "convolution"]
)
def test_end_points_are_connected_without_a_guess(space):
    n = 2 if isinstance(space, type(zoo.CONV_FIELDS[0](2))) else 8
    x, p = cloud(n, 2), cloud(n, 2, seed=1, size=0.2)
    shoot = Geodesic if space is KERNEL else FieldGeodesic
    there = shoot(space, x, RK4(), 6, p)
    found = connect(space, x, there(x).detach(), RK4(), 6)
    assert found.error < 1e-8
    assert found.energy == pytest.approx(float(there.energy().detach()), rel=1e-6)


def test_the_energy_is_corrected_for_a_miss():
    """Its derivative in the end points is the momentum there: an error of 1e-2 costs 1e-4."""
    x, p = cloud(5, 2), cloud(5, 2, seed=1)
    end = Geodesic(KERNEL, x, RK4(), 6, p)(x).detach()
    exact = connect(KERNEL, x, end, RK4(), 6)
    rough = connect(KERNEL, x, end, RK4(), 6, tolerance=3e-2)
    assert 1e-4 < rough.error < 3e-2
    assert rough.energy == pytest.approx(exact.energy, rel=10 * rough.error**2)
    assert abs(float(rough.geodesic.energy().detach()) / exact.energy - 1) > abs(rough.energy / exact.energy - 1)


@pytest.mark.parametrize("space", [KERNEL, features()], ids=["kernel", "features"])
def test_a_path_relaxes_to_the_geodesic(space):
    """From a detour, to the energy that shooting finds; at second order in time, and never above where it began."""
    x, p = cloud(6, 2), cloud(6, 2, seed=1, size=0.3)
    shoot = Geodesic if space is KERNEL else FieldGeodesic
    there, errors = shoot(space, x, RK4(), 16, p).requires_grad_(False), []
    for steps in (4, 8):
        detour = [q + 0.1 * math.sin(math.pi * k / steps) for k, q in enumerate(there.path(x)[:: 16 // steps])]
        found = relaxed(space, detour, middle=True)
        assert torch.equal(found.path[0], x)
        assert torch.equal(found.path[-1], detour[-1])
        errors.append(abs(found.energy / float(there.energy()) - 1))
    assert errors[1] < 2e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.6)


@pytest.mark.slow
def test_where_shooting_gets_stuck_a_path_is_relaxed():
    """Points turned by 200° in a narrow kernel: shooting from rest does not find the way around."""
    kernel, x, angle = GaussianKernel(0.5), cloud(8, 2), math.radians(200)
    turn = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=F64)
    path = [x @ torch.linalg.matrix_exp(k / 10 * turn).T for k in range(11)]
    assert connect(kernel, x, path[-1], Heun(), 10).error > 1e-6
    found = relaxed(kernel, path, middle=True)
    circles = 0.5 * sum(
        float(v.flatten() @ (torch.linalg.inv(kernel((p + q) / 2).dense()) @ v).flatten()) * 10
        for p, q, v in ((p, q, q - p) for p, q in pairwise(path))
    )
    assert 0.3 * circles < found.energy < 0.99 * circles


def test_points_at_rest_are_connected_by_nothing():
    assert connect(KERNEL, cloud(3, 2), cloud(3, 2), Euler(), 3).energy == 0
    with pytest.raises(ValueError, match="all points stay in place"):
        geodesicity(Flow(features(size=0.0)), cloud(3, 2))


def test_spaces_that_are_not_known_must_be_said():
    network, x = Flow(zoo.PERCEPTRON_FIELDS[1](2), steps=3), cloud(5, 2)
    with pytest.raises(ValueError, match="say space="):
        geodesicity(network, x)
    assert geodesicity(network, x, KERNEL).geodesic_energy > 0
    with pytest.raises(ValueError, match="share no space"):
        geodesicity(Flow([features(draw=k) for k in range(3)]), x)
    with pytest.raises(ValueError, match="not of a Affine"):
        geodesicity(zoo.affine(2, F64, 0), x, KERNEL)
