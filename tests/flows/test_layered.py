"""Layers that fold are found out; layers that are certified do not fold."""

import pytest
import torch
from hypothesis import given

from diffeo.core import Compose
from diffeo.fields import FeatureField, KernelField, SeparableField
from diffeo.flows import Affine, Descent, Flow, Geodesic
from diffeo.flows.newton import newton
from diffeo.kernels import GaussianKernel, LaplacianKernel
from diffeo.solvers import RK4, Euler, Heun, Midpoint
from tests import zoo
from tests.marks import cases
from tests.oracles import cloud, distance, seeds

F64 = torch.float64
KERNEL = GaussianKernel(0.3)
SQUEEZE = torch.tensor([[-0.3], [0.3]], dtype=F64), torch.tensor([[1.5], [-1.5]], dtype=F64)


def squeezed(d, strength=1.0):
    """Two controls that are sent through each other by one Euler step, along the first axis."""
    c, a = (torch.cat([t, torch.zeros(2, d - 1, dtype=F64)], 1) for t in SQUEEZE)
    return c, strength * a


def folding(d, strength=1.0):
    """Maps whose layer folds around 0."""
    c, a = squeezed(d, strength)
    descent = Descent(KERNEL)
    descent.append(c, a)
    return {
        "Flow": Flow([KernelField(KERNEL, c, a)], Euler()),
        "Geodesic": Geodesic(KERNEL, c, Euler(), 1, a),
        "Descent": descent,
        "Compose": Compose([Affine(torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64)), descent]),
    }


folds = pytest.mark.parametrize(("name", "d"), [(name, d) for name in folding(1) for d in zoo.DIMENSIONS])


@folds
def test_a_fold_has_no_log_determinant(name, d):
    phi = folding(d)[name]
    x = torch.tensor([[0.0], [3.0]], dtype=F64).expand(-1, d) * torch.eye(d, dtype=F64)[0]
    logdet = phi.with_logdet(x)[1]
    assert bool(logdet[0].isnan())
    assert float(logdet[1].detach()) == pytest.approx(0, abs=1e-6)
    assert float(torch.linalg.det(phi.with_jacobian(x)[1])[0].detach()) < 0


@folds
def test_a_fold_has_no_inverse(name, d):
    """Also where Newton's method finds a solution: one with a negative determinant is none."""
    phi = folding(d)[name]
    for strength in (1.0, 1.3):
        phi = folding(d, strength)[name]
        with pytest.raises(ArithmeticError, match=r"folds .*Use more steps"):
            phi.inverse(torch.zeros(1, d, dtype=F64))


@pytest.mark.parametrize("d", zoo.DIMENSIONS)
@pytest.mark.slow
def test_more_steps_unfold(d):
    c, a = squeezed(d)
    for phi in (Geodesic(KERNEL, c, RK4(), 20, a), Flow(KernelField(KERNEL, c, a / 3), RK4(), 20, shared=True)):
        x = cloud(50, d, size=0.2)
        with torch.no_grad():
            moved, logdet = phi.with_logdet(x)
            assert bool(torch.isfinite(logdet).all())
            assert distance(phi.inverse(moved), x) < 1e-10


@pytest.mark.parametrize("kernel", zoo.FIELD_KERNELS, ids=zoo.named)
@given(seed=seeds)
def test_a_certified_step_does_not_fold(kernel, seed):
    """√(−2k'(0)) h‖v‖ < 1 makes id + hv a diffeomorphism with the Lipschitz constants of the design."""
    field = KernelField(kernel, cloud(6, 2, seed=seed), cloud(6, 2, seed=seed + 1))
    contraction = 0.95
    with torch.no_grad():
        field.momenta = field.momenta * contraction / field.lipschitz()
        phi = Flow([field], Euler())
        x, y = cloud(100, 2, seed=seed + 2), cloud(100, 2, seed=seed + 3)
        jacobian = phi.with_jacobian(x)[1]
        ratios = (phi(x) - phi(y)).norm(dim=1) / (x - y).norm(dim=1)
        assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())
        assert torch.linalg.matrix_norm(jacobian, 2).max() <= 1 + contraction
        assert 1 - contraction <= ratios.min() <= ratios.max() <= 1 + contraction
        assert distance(phi.inverse(phi(x)), x) < 1e-9


def test_newton_finds_every_root_on_its_own():
    def function(x):
        return x.sinh() + x, torch.diag_embed(x.cosh() + 1)

    y = torch.tensor([[1e-6], [1.0], [300.0], [-1e4]], dtype=F64)
    x = newton(function, y, guess=torch.zeros_like(y))
    assert distance(function(x)[0] / y, torch.ones_like(y)) < 1e-12


def test_newton_says_how_many_points_it_lost():
    def function(x):
        return x.square() + 1, torch.diag_embed(2 * x)

    y = torch.tensor([[2.0], [0.0], [5.0]], dtype=F64)
    with pytest.raises(ArithmeticError, match="not found at 1 of 3 points"):
        newton(function, y, guess=torch.ones_like(y))


def test_newton_does_not_take_nan_for_an_answer():
    with pytest.raises(ArithmeticError):
        zoo.DIFFEOS[0](2).inverse(torch.full((1, 2), torch.nan, dtype=F64))


# ---- flows


def test_an_euler_flow_is_a_residual_network():
    fields, x = [zoo.FIELDS[0](2, seed=k) for k in range(3)], cloud(7, 2)
    expected = x
    for field in fields:
        expected = expected + field(expected) / 3
    assert distance(Flow(fields, Euler())(x), expected) < 1e-15


def test_the_energy_of_a_flow_is_the_mean_over_its_layers():
    fields = [zoo.FIELDS[0](2, seed=k) for k in range(3)]
    expected = sum(field.sqnorm() for field in fields) / 6
    torch.testing.assert_close(Flow(fields).energy(), expected)
    torch.testing.assert_close(Flow(fields[0], steps=5).energy(), fields[0].sqnorm() / 2)
    torch.testing.assert_close(Flow(fields[0], steps=5, shared=True).energy(), fields[0].sqnorm() / 2)


def test_a_field_is_copied_for_every_layer_unless_it_is_shared():
    field = zoo.FIELDS[0](2)
    assert len(list(Flow(field, steps=4).parameters())) == 4
    assert len(list(Flow(field, steps=4, shared=True).parameters())) == 1
    assert all(p is not field.unknown.coordinates for p in Flow(field, steps=4).parameters())


def test_a_shared_flow_is_one_parameter_group():
    """A stationary velocity: φ at twice the time is φ∘φ."""
    field, x = zoo.FIELDS[0](2), cloud(7, 2)
    once = Flow([field], RK4(), 4, shared=True)
    double = field.rescaled(1.0, torch.zeros(2, dtype=F64))
    double.momenta = 2 * field.momenta.detach()
    assert distance(Flow([double], RK4(), 8, shared=True)(x), once(once(x))) < 1e-13


def test_carried_controls_go_with_the_flow():
    fields, c = [zoo.FIELDS[0](2, seed=k) for k in range(2)], cloud(6, 2, seed=1000)
    phi = Flow(fields, Heun(), carried=True)
    first = Flow([fields[0]], Heun()).with_steps(1)
    x = c
    half = Heun().step(lambda _, z: fields[0](z), 0.0, 0.5, x)
    moved = Heun().step(lambda _, z: fields[1].at(half)(z), 0.5, 0.5, half)
    assert distance(phi(x), moved) < 1e-14
    assert distance(first(x), phi(x)) > 1e-3


@pytest.mark.parametrize("carried", [False, True])
def test_refined_steps_converge(carried):
    phi, x = Flow([zoo.FIELDS[0](2, seed=k) for k in range(3)], Heun(), carried=carried), cloud(7, 2)
    with torch.no_grad():
        fine = phi.with_steps(60, RK4())(x)
        errors = [distance(phi.with_steps(3 * n)(x), fine) for n in (1, 2, 4)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    if not carried:
        torch.testing.assert_close(phi.with_steps(6).energy(), phi.energy())


def test_flows_of_parts_that_do_not_fit_are_refused():
    field = zoo.FIELDS[0](2)
    with pytest.raises(ValueError, match=r"expects 3 field\(s\), and got 2"):
        Flow([field, field], steps=3)
    with pytest.raises(ValueError, match=r"expects 1 field\(s\), and got 2"):
        Flow([field, field], shared=True, steps=2)
    with pytest.raises(ValueError, match="multiple"):
        Flow([field, field]).with_steps(3)
    with pytest.raises(ValueError, match="whole number"):
        Flow([])


# ---- affine maps


def test_an_affine_map_keeps_orientation():
    with pytest.raises(ValueError, match="positive determinant, and got -1"):
        Affine(torch.diag(torch.tensor([1.0, -1.0])), torch.zeros(2))
    with pytest.raises(ValueError, match="positive determinant"):
        Affine(torch.zeros(2, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="positive determinant"):
        Affine(torch.full((2, 2), torch.nan), torch.zeros(2))
    with pytest.raises(ValueError, match=r"matrix \(d, d\) and a translation \(d,\)"):
        Affine(torch.eye(3), torch.zeros(2))


def test_rough_kernels_do_not_descend():
    with pytest.raises(ValueError, match="not differentiable at 0"):
        Descent(LaplacianKernel(0.5))


# ---- units


def small_flows(dtype):
    """Flows around points, each by another way to an inverse: name, map, points."""
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=F64).to(dtype)  # noqa: E731
    kernel, x = GaussianKernel(1.0), draw(300, 2)
    yield "compiled", Flow(KernelField(kernel, draw(40, 2), 0.2 * draw(40, 2), whiten=False), Euler(), 5), x
    wide = KernelField(GaussianKernel(4.0), draw(40, 20), 0.3 * draw(40, 20))
    yield "by matrices", Flow(wide, Euler(), 5), draw(300, 20)
    yield "Newton", Flow(KernelField(kernel, draw(9, 2), 0.3 * draw(9, 2)), Midpoint(), 5), x
    yield "shot", Geodesic(kernel, draw(9, 2), momenta=0.3 * draw(9, 2)), x
    yield "features", Flow(FeatureField(kernel, 2, 64, coefficients=0.5 * draw(64, 2)), Euler(), 5), x
    yield "separable", Flow(SeparableField(draw(5, 2), 0.7, coefficients=0.3 * draw(7, 2)), Euler(), 5), x


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("factor", cases([1e-9, 1e-6, 1.0, 1e9], slow=[1e-6, 1.0]))
def test_inverses_are_exact_in_all_units(factor, dtype):
    """Positions in meters of what is nanometers small lose no more digits than others."""
    for name, phi, x in small_flows(dtype):
        shift = torch.zeros(x.shape[1], dtype=dtype)
        with torch.no_grad():
            other = phi.rescaled(factor, shift)
            back = other.inverse(other(factor * x)) / factor
        assert (back - x).abs().max() < 60 * torch.finfo(dtype).eps, name


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_fixed_point_at_the_origin_has_an_inverse(factor):
    """Where the field of many momenta cancels, what is left are roundings; they are no fold."""
    controls, momenta = factor * cloud(40, 2), 0.15 * factor * cloud(40, 2, seed=1)
    field = KernelField(
        GaussianKernel(factor), torch.cat([controls, -controls]), torch.cat([momenta, -momenta]), whiten=False
    )
    x = factor * torch.tensor([[0.0, 0.0], [1e-12, 1e-12], [1e-7, 0.0]], dtype=F64)
    for solver in (Euler(), Midpoint()):
        phi = Flow(field, solver, 4)
        assert (phi.inverse(phi(x)) - x).abs().max() < 1e-14 * factor


def test_a_point_far_away_makes_no_other_inexact():
    phi, x = next((phi, x) for name, phi, x in small_flows(F64) if name == "Newton")
    x = torch.cat([x, torch.full((1, 2), 1e6, dtype=F64)])
    with torch.no_grad():
        assert (phi.inverse(phi(x)) - x)[:-1].abs().max() < 1e-14
