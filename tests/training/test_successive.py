"""Pontryagin's method: exact adjoints, exact maxima, and the minimum that L-BFGS finds."""

from itertools import pairwise

import pytest
import torch

from diffeo.core import Compose
from diffeo.fields import ConvField, FeatureField, FrozenPerceptronField, KernelField, PerceptronField, Tanh
from diffeo.fit import Batches, Cosine, Problem, fit
from diffeo.flows import Flow, Geodesic, LearnedAffine
from diffeo.heads import LinearReadIn, LinearReadOut
from diffeo.kernels import GaussianKernel
from diffeo.losses import CrossEntropyLoss, LandmarkLoss, RidgeLoss, SquaredLoss
from diffeo.shapes import Encoded, Points
from diffeo.solvers import RK4, Euler, Midpoint
from diffeo.training import SuccessiveApproximations
from diffeo.training.hamiltonian import Augmented, conjugate_gradients, maximize, ridge_solve
from diffeo.training.trajectory import Trajectory, stages
from tests.oracles import cloud, relative

F64 = torch.float64
KERNEL = GaussianKernel(0.5)


def features(width=40, size=0.0):
    return FeatureField(KERNEL, 2, width, 0, cloud(width, 2, seed=8, size=size))


FIELDS = {
    "features": features,
    "momenta": lambda: KernelField(KERNEL, cloud(15, 2, seed=9)),
    "frozen perceptrons": lambda: FrozenPerceptronField(2, 40, radius=1.0, coefficients=torch.zeros(40, 2, dtype=F64)),
    "convolutions": lambda: ConvField((1, 1, 2), 8, 3, 0, torch.zeros(1, 72, dtype=F64)),
    "perceptrons": lambda: PerceptronField(2, 20, radius=1.0, activation=Tanh(), outer=cloud(20, 2, seed=8, size=0.1)),
}


def landmarks(n=12):
    x = cloud(n, 2)
    return [(Points(x), Points(x + 0.3 * torch.sin(2 * x.flip(1)) + 0.1))]


def moving(field, *args, size=0.5, **options):
    """A flow that is not at rest."""
    phi = Flow(field, *args, **options)
    with torch.no_grad():
        for k, p in enumerate(phi.parameters()):
            p.add_(size * cloud(p.numel(), 1, seed=20 + k).reshape(p.shape))
    return phi


def trained(phi, pairs, loss=None, method=None, weight=0.1, **options):
    """How a fit went."""
    optimizer = {} if method is None else {"optimizer": method}
    settings = {"max_iterations": 400, "tolerance": 1e-9, **options}
    return fit(phi, pairs, loss or LandmarkLoss(), weight=weight, **optimizer, **settings)


# ---- forward and backward


WAYS = {
    "Euler": lambda: moving(features(), Euler(), 4),
    "Midpoint, refined": lambda: moving(features(), Midpoint(), 3, substeps=2),
    "RK4, one field": lambda: moving(features(), RK4(), 3, shared=True),
    "momenta": lambda: moving(FIELDS["momenta"](), Midpoint(), 3, checkpoint=True),
    "perceptrons": lambda: moving(FIELDS["perceptrons"](), Euler(), 3),
    "with affine maps": lambda: Compose(
        [LearnedAffine(2).double(), moving(features(), Euler(), 3), LearnedAffine(2, penalty=1.0).double()]
    ),
}


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_momenta_carry_the_exact_gradient_back(make):
    """In every parameter of the way, and in the inputs' own, to rounding."""
    phi, read_in = make(), LinearReadIn(3, 2).double()
    target = cloud(7, 2, seed=1)
    pairs = [(Encoded(cloud(7, 3, seed=k), read_in), Points(target + k)) for k in range(2)]
    loss = LandmarkLoss()
    parameters = [p for p in phi.parameters() if p.requires_grad]
    value = sum(loss(phi @ source, y) for source, y in pairs)
    expected = dict(zip(parameters, torch.autograd.grad(value, parameters), strict=True))
    inputs = torch.autograd.grad(sum(loss(phi @ source, y) for source, y in pairs), list(read_in.parameters()))
    trajectory = Trajectory(stages(phi), phi, pairs)
    slots, others = trajectory.back(loss)
    for slot in slots:
        for p, gain in zip(slot.parameters, slot.gains, strict=True):
            torch.testing.assert_close(gain, -expected.pop(p))
    for p, gradient in others.items():
        torch.testing.assert_close(gradient, expected.pop(p))
    assert not expected
    for p, gradient in zip(read_in.parameters(), inputs, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    assert sum(slot.share for slot in slots) == pytest.approx(1)
    moved = trajectory.moved[0][0]
    torch.testing.assert_close(moved.x, (phi @ pairs[0][0]).x)


# ---- layer by layer


def slot_of(field, weight_of_p=1.0):
    """A layer of an Euler flow, with momenta behind it."""
    phi = moving(field, Euler(), 2)
    slots, _ = Trajectory(stages(phi), phi, landmarks()).back(LandmarkLoss())
    return slots[0]


def hamiltonian(slot, h, theta):
    """The augmented Hamiltonian of Euler's layer, over the share of the energy, as the module defines it."""
    field, old = slot.field, slot.field.coefficients.detach()
    (visit,) = slot.visits
    v, before = (field.evaluate(visit.z, c) for c in (theta, old))
    change = (v - before).square().sum() / len(visit.z) + h.smoothness * (theta - old).square().sum()
    return (visit.p * v).sum() - 0.5 * h.weight * theta.square().sum() - 0.5 * h.penalty * change


@pytest.mark.parametrize("name", ["features", "frozen perceptrons", "convolutions"])
@pytest.mark.parametrize("penalty", [0.0, 1.3])
def test_linear_fields_reach_the_maximum(name, penalty):
    """The gradient of the augmented Hamiltonian is 0 there, and what is promised is what is gained."""
    slot, h = slot_of(FIELDS[name]()), Augmented(0.07, penalty, 0.02)
    proposal = maximize(slot, h, effort=300)
    best, old = proposal.values[0].requires_grad_(), slot.field.coefficients.detach().clone().requires_grad_()
    (at_best,) = torch.autograd.grad(hamiltonian(slot, h, best), best)
    (at_old,) = torch.autograd.grad(hamiltonian(slot, h, old), old)
    assert at_best.norm() < 1e-3 * at_old.norm()
    gain = (hamiltonian(slot, h, best) - hamiltonian(slot, h, old)) * slot.share
    assert proposal.gain == pytest.approx(float(gain.detach()), rel=1e-3)


def test_other_fields_climb_as_high_as_their_linear_part():
    """And keep their parameters until they are told to take the new ones."""
    field = FIELDS["perceptrons"]()
    slot, h = slot_of(field), Augmented(0.07, 1.0, 0.01)
    before = [p.detach().clone() for p in slot.parameters]
    short, long = (maximize(slot, h, effort) for effort in (2, 30))
    assert 0 < short.gain < long.gain
    assert all(map(torch.equal, before, slot.parameters))
    assert any(relative(new, old) > 1e-3 for new, old in zip(long.values, before, strict=True))


@pytest.mark.parametrize(("n", "m"), [(30, 8), (8, 30)])
def test_ridge_problems_are_solved_on_the_smaller_side(n, m):
    features, b = cloud(n, m), cloud(m, 2, seed=1)
    matrix = features.T @ features + 0.3 * torch.eye(m, dtype=F64)
    torch.testing.assert_close(ridge_solve(features, 0.3, b), torch.linalg.solve(matrix, b))
    found = conjugate_gradients(lambda d: matrix @ d, b, 100, 1e-12)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b), rtol=1e-8, atol=1e-10)


def test_a_single_layer_is_ridge_regression():
    """x + φ(x)θ against values: the minimum is known in closed form."""
    ((source, target),) = landmarks()
    n, weight = len(source.x), 0.05
    phi = Flow(features(), Euler(), 1)
    trained(phi, [(source, target)], method=SuccessiveApproximations(), weight=weight, tolerance=1e-14)
    a = features().features(source.x)
    ridge = a.T @ a + 0.5 * n * weight * torch.eye(40, dtype=F64)
    expected = torch.linalg.solve(ridge, a.T @ (target.x - source.x))
    assert relative(phi.layer_fields()[0].coefficients, expected) < 1e-5


# ---- the whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["features", "momenta", "frozen perceptrons", "convolutions"])
@pytest.mark.parametrize("extended", [True, False], ids=["extended", "plain"])
def test_it_finds_the_minimum_that_lbfgs_finds(name, extended):
    make, pairs = FIELDS[name], landmarks()
    best = trained(Flow(make(), Midpoint(), 4), pairs)[-1].objective
    history = trained(moving(make(), Midpoint(), 4), pairs, method=SuccessiveApproximations(extended=extended))
    values = [record.objective for record in history.records]
    assert all(b <= a for a, b in pairwise(values))
    assert values[0] > 2 * best
    assert values[-1] == pytest.approx(best, rel=2e-3)


@pytest.mark.slow
def test_from_poor_starts_the_plain_method_diverges_and_the_extended_one_does_not():
    """Where λ is small, the maximum of the Hamiltonian is far beyond where momenta are still right."""
    pairs, best = landmarks(), trained(Flow(features(), Euler(), 5), landmarks(), weight=0.03)[-1].objective
    ends = {}
    for name, options in {"plain": {"extended": False, "guarded": False}, "extended": {}}.items():
        phi = moving(features(), Euler(), 5, size=2.0)
        history = trained(phi, pairs, method=SuccessiveApproximations(**options), weight=0.03)
        ends[name] = history[0].objective, history[-1].objective
    assert ends["plain"][1] > 1e3 * ends["plain"][0]
    assert ends["extended"][1] == pytest.approx(best, rel=0.01)


@pytest.mark.slow
def test_where_the_energy_weighs_enough_the_plain_method_needs_no_guard():
    pairs = landmarks()
    best = trained(Flow(features(), Euler(), 5), pairs, weight=3.0)[-1].objective
    method = SuccessiveApproximations(extended=False, guarded=False)
    assert trained(moving(features(), Euler(), 5), pairs, method=method, weight=3.0)[-1].objective == pytest.approx(
        best
    )
    slow = SuccessiveApproximations(extended=False, guarded=False, relaxation=0.05)
    history = trained(moving(features(), Euler(), 5), pairs, method=slow, weight=0.3)
    assert history[-1].objective < history[0].objective / 2


@pytest.mark.slow
def test_fields_with_inner_weights_learn():
    pairs = landmarks()
    best = trained(Flow(FIELDS["perceptrons"](), Euler(), 4), pairs, weight=0.01, max_iterations=100)[-1].objective
    history = trained(
        Flow(FIELDS["perceptrons"](), Euler(), 4),
        pairs,
        method=SuccessiveApproximations(),
        weight=0.01,
        max_iterations=40,
    )
    assert history[-1].objective < min(0.3 * history[0].objective, 1.5 * best)


LOSSES = {
    "labels": lambda: (CrossEntropyLoss(LinearReadOut(2, 2)).double(), lambda x: (x.norm(dim=1) > 0.5).long()),
    "values": lambda: (SquaredLoss(LinearReadOut(2, 1)).double(), lambda x: torch.sin(3 * x[:, :1])),
    "solved": lambda: (RidgeLoss(0.01), lambda x: torch.sin(3 * x[:, :1])),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_read_outs_follow(make):
    """With a head that is trained, or solved for, it gets as far as L-BFGS on everything."""
    x, ends = cloud(50, 2, seed=2), []
    for method in (None, SuccessiveApproximations()):
        loss, values = make()
        history = trained(
            Flow(features(), Euler(), 4), [(Points(x), values(x))], loss, method, weight=0.01, max_iterations=150
        )
        assert history[-1].objective < 0.7 * history[0].objective
        ends.append(history[-1].objective)
    assert ends[1] < 1.2 * ends[0]


def test_read_ins_and_maps_on_the_way_follow():
    """By the optimizer that they are given; schedules act on it."""
    read_in, affine = LinearReadIn(3, 2).double(), LearnedAffine(2, penalty=0.1).double()
    phi = Compose([affine, Flow(features(), Euler(), 3)])
    x = cloud(40, 3, seed=2)
    pairs = [(Encoded(x, read_in), torch.sin(2 * x[:, :1]) + x[:, 2:] ** 2)]
    kept = [p.detach().clone() for module in (read_in, affine) for p in module.parameters()]
    loss = SquaredLoss(LinearReadOut(2, 1)).double()
    history = trained(
        phi,
        pairs,
        loss,
        SuccessiveApproximations(),
        weight=0.01,
        max_iterations=30,
        modules=[read_in],
        schedule=Cosine(),
    )
    assert history[-1].objective < 0.5 * history[0].objective
    changed = [p for module in (read_in, affine) for p in module.parameters()]
    assert all(relative(p, old) > 1e-3 for p, old in zip(changed, kept, strict=True))


@pytest.mark.slow
def test_acceleration_pays():
    x, ends = cloud(50, 2, seed=2), []
    for accelerated in (False, True):
        loss, values = LOSSES["solved"]()
        method = SuccessiveApproximations(accelerated=accelerated)
        phi = Flow(features(), Euler(), 4)
        history = trained(phi, [(Points(x), values(x))], loss, method, weight=0.01, max_iterations=200)
        ends.append(history[-1].objective)
    assert ends[1] < 0.9 * ends[0]


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "plain"])
@pytest.mark.slow
def test_it_goes_on_where_it_was_saved(extended):
    x = cloud(30, 2, seed=2)
    ends = []
    for stop in (8, 3):
        torch.manual_seed(0)
        loss, values = LOSSES["values"]()
        affine = LearnedAffine(2).double()
        phi, pairs = Compose([affine, Flow(features(), Euler(), 3)]), [(Points(x), values(x))]
        method = SuccessiveApproximations(extended=extended)
        history = trained(phi, pairs, loss, method, max_iterations=stop, tolerance=None)
        if stop < 8:
            history = trained(phi, pairs, loss, method, max_iterations=8, tolerance=None, state=history.state)
        ends.append([p.detach() for p in (*phi.parameters(), *loss.parameters())])
    assert all(map(torch.equal, *ends))


@pytest.mark.slow
def test_batches_are_steps():
    x = cloud(60, 2, seed=2)
    loss, values = LOSSES["values"]()
    phi = Flow(features(), Euler(), 4)
    history = trained(phi, Batches(x, values(x), 20), loss, SuccessiveApproximations(), weight=1e-3, max_iterations=15)
    assert history[-1].data < 0.5 * history[0].data


def test_what_it_is_not_made_for_is_refused():
    x = cloud(5, 2)
    method, loss = SuccessiveApproximations(), LandmarkLoss()
    with pytest.raises(ValueError, match="fields of a Flow, and Geodesic has none"):
        method.bind(Problem(Geodesic(KERNEL, x), [], loss, 0.1))
    with pytest.raises(ValueError, match="build the flow uncarried"):
        method.bind(Problem(Flow(KernelField(KERNEL, x), carried=True), [], loss, 0.1))
    with pytest.raises(ValueError, match="give fit a positive weight"):
        SuccessiveApproximations(extended=False).bind(Problem(Flow(features()), [], loss, 0.0))
    for name in ("penalty", "smoothness", "relaxation"):
        with pytest.raises(ValueError, match=f"a positive, finite {name}, and got 0"):
            SuccessiveApproximations(**{name: 0})
    with pytest.raises(ValueError, match="an effort of 1 or more"):
        SuccessiveApproximations(effort=0)
