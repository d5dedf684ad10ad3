"""Solvers: order, exactness, states of any make."""

import math

import pytest
import torch

from diffeo.flows import Flow, Geodesic
from diffeo.solvers import RK4, Adaptive, Euler, check_steps, integrate
from tests import zoo
from tests.oracles import cloud

F64 = torch.float64
ONE = torch.ones(1, 1, dtype=F64)
fixed = pytest.mark.parametrize("solver", zoo.FIXED_SOLVERS, ids=zoo.named)
solvers = pytest.mark.parametrize("solver", zoo.SOLVERS, ids=zoo.named)


def error(solver, steps):
    """Of ẏ = y cos t, which has y = exp(sin t): it depends on time and on state."""
    states = integrate(solver, lambda t, y: y * math.cos(t), ONE, steps)
    return abs(float(states[-1]) - math.exp(math.sin(1)))


@fixed
def test_order(solver):
    assert math.log2(error(solver, 16) / error(solver, 32)) == pytest.approx(solver.order, abs=0.25)


@fixed
def test_order_on_a_nonlinear_system(solver):
    """The pendulum in four variables coupled, against a fine solution."""

    def f(_, y):
        return torch.stack([y[1], -y[0].sin() + 0.5 * y[2] * y[0], y[0] * y[1], -y[3] * y[2]])

    start = torch.tensor([1.0, 0.2, -0.3, 0.7], dtype=F64)
    fine = integrate(RK4(), f, start, 2000)[-1]
    coarse, finer = (float((integrate(solver, f, start, n)[-1] - fine).norm()) for n in (16, 32))
    assert math.log2(coarse / finer) == pytest.approx(solver.order, abs=0.35)


@fixed
def test_polynomials_in_time_below_the_order_are_exact(solver):
    for degree in range(solver.order):
        end = solver.step(lambda t, y, k=degree: (k + 1) * t**k * torch.ones_like(y), 0.5, 0.7, ONE)
        assert float(end) == pytest.approx(1 + 1.2 ** (degree + 1) - 0.5 ** (degree + 1), rel=1e-14)


@fixed
def test_one_step_of_the_exponential_is_its_taylor_series(solver):
    """These methods have as many stages as their order, which determines the stability polynomial."""
    expected = sum(0.3**k / math.factorial(k) for k in range(solver.order + 1))
    assert float(solver.step(lambda _, y: y, 0.0, 0.3, ONE)) == pytest.approx(expected, rel=1e-14)


@solvers
def test_a_tuple_of_states_is_like_one_state(solver):
    x, y = cloud(3, 2), cloud(4, 1)
    pair = solver.step(lambda t, s: (math.sin(t) - s[0], s[1].square()), 0.2, 0.1, (x, y))
    assert isinstance(pair, tuple)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if isinstance(solver, Adaptive) else {"rtol": 1e-15, "atol": 1e-16}
    torch.testing.assert_close(pair[0], solver.step(lambda t, s: math.sin(t) - s, 0.2, 0.1, x), **tolerance)
    torch.testing.assert_close(pair[1], solver.step(lambda t, s: s.square(), 0.2, 0.1, y), **tolerance)


@solvers
def test_precision_and_shape_follow_the_state(solver):
    for dtype in zoo.DTYPES:
        y = cloud(3, 2, dtype)
        end = solver.step(lambda _, s: -s, 0.0, 0.5, y)
        assert end.dtype == dtype
        assert end.shape == y.shape
        assert not torch.equal(end, y)


@solvers
def test_the_state_is_not_changed_in_place(solver):
    y = cloud(3, 2)
    copy = y.clone()
    solver.step(lambda _, s: -s, 0.0, 0.5, y)
    assert torch.equal(y, copy)


@solvers
def test_evaluations_stay_within_the_step(solver):
    times = []

    def f(t, y):
        times.append(t)
        assert isinstance(t, float)
        return math.cos(5 * t) * y

    solver.step(f, 0.25, 0.5, ONE)
    inside = [t for t in times if 0.25 - 1e-12 <= t <= 0.75 + 1e-12]
    assert len(inside) == len(times)


@solvers
def test_gradients_are_those_of_the_discrete_step(solver):
    """Discretize, then differentiate."""
    y = cloud(3, 2).requires_grad_()
    a = torch.tensor(0.7, dtype=F64, requires_grad=True)
    tolerance = 1e-3 if isinstance(solver, Adaptive) else 1e-6
    torch.autograd.gradcheck(
        lambda y, a: solver.step(lambda t, s: a * s.sin() + t, 0.0, 0.5, y), (y, a), atol=tolerance, rtol=tolerance
    )


@fixed
def test_backwards_in_time_returns(solver):
    def f(t, y):
        return y * math.cos(t)

    errors = []
    for h in (0.1, 0.05):
        there = solver.step(f, 0.3, h, ONE)
        errors.append(abs(float(solver.step(f, 0.3 + h, -h, there)) - 1))
    assert math.log2(errors[0] / errors[1]) > solver.order + 0.7


@solvers
def test_solvers_are_values(solver):
    assert eval(repr(solver), {type(solver).__name__: type(solver)}) == solver
    assert [other for other in zoo.SOLVERS if other == solver] == [solver]
    assert len(set(zoo.SOLVERS)) == len(zoo.SOLVERS)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "adaptive_heun", "dopri8"])
def test_adaptive_methods_keep_their_tolerance(method):
    for tolerance in (1e-4, 1e-7):
        solver = Adaptive(method, rtol=tolerance, atol=tolerance)
        assert error(solver, 2) < 30 * tolerance
    assert solver.order == {"dopri5": 5, "bosh3": 3, "adaptive_heun": 2, "dopri8": 8}[method]


def test_an_adaptive_method_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        Adaptive("nonsense").step(lambda _, y: -y, 0.0, 0.5, ONE)


@solvers
def test_integration_passes_through_equal_times(solver):
    states = integrate(solver, lambda _, y: torch.ones_like(y), 0 * ONE, 4)
    assert [float(state) for state in states] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


BAD_STEPS = [0, -1, 1.5, 2.0, True, "3", None, math.nan, torch.tensor(3)]


@pytest.mark.parametrize("steps", BAD_STEPS, ids=repr)
def test_steps_must_be_a_positive_whole_number(steps):
    with pytest.raises(ValueError, match="whole number, 1 or more"):
        check_steps(steps)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "3"], ids=repr)
def test_diffeomorphisms_refuse_wrong_steps(steps):
    field = zoo.FIELDS[0](2)
    for make in (
        lambda: Geodesic(zoo.GAUSSIAN, cloud(3, 2), steps=steps),
        lambda: Flow(field, steps=steps),
        lambda: Flow([field], steps=steps),
        lambda: Flow([field], steps=steps, shared=True),
        lambda: Flow(field, substeps=steps),
    ):
        with pytest.raises(ValueError, match="whole number, 1 or more"):
            make()


def test_one_euler_step_is_a_residual_block():
    x, field = cloud(5, 2), zoo.FIELDS[0](2)
    torch.testing.assert_close(Euler().step(lambda _, y: field(y), 0.0, 0.1, x), x + 0.1 * field(x), rtol=0, atol=1e-16)
