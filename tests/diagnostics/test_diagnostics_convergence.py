"""The PL constant is what it says, its bounds are bounds, and a well-separated problem converges as they predict."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings

from diffeo.core import objective
from diffeo.diagnostics import (
    ConvergenceRecorder,
    convergence,
    curvature,
    gradient_in_v,
    guarantee,
    predicted_decay,
)
from diffeo.diagnostics.tangents import gram, sensitivity, smallest
from diffeo.fields import FeatureField, KernelField
from diffeo.fit import InV, fit
from diffeo.flows import Flow
from diffeo.heads import LinearReadIn, LinearReadOut
from diffeo.kernels import GaussianKernel
from diffeo.losses import CrossEntropyLoss, LandmarkLoss, SquaredLoss
from diffeo.shapes import Encoded, Points
from diffeo.solvers import RK4, Euler, Heun
from tests import zoo
from tests.oracles import cloud, relative, seeds

F64 = torch.float64
few = settings(max_examples=3)


def lattice(seed: int = 0) -> torch.Tensor:
    """Twelve points in the plane, about 1 apart."""
    return torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0)).double() + cloud(12, 2, seed=seed, size=0.1)


def read_out(weight=((1.0, 0.3), (0.0, 0.8))) -> LinearReadOut:
    """A fixed one."""
    weight = torch.tensor(weight, dtype=F64)
    return LinearReadOut(weight.shape[1], len(weight), bias=False, trained=False, weight=weight)


def features(width: int = 400, scale: float = 0.45, size: float = 0.0, seed: int = 0) -> FeatureField:
    """Of a kernel narrower than what lies between the points of the lattice."""
    return FeatureField(GaussianKernel(scale), 2, width, seed, cloud(width, 2, seed=seed, size=size))


def problem(size: float = 0.2, seed: int = 1):
    """Points, and values that they have when all move by about ``size``."""
    x, head = lattice(), read_out()
    return [(Points(x), head(x + cloud(12, 2, seed=seed, size=size)))], SquaredLoss(head)


def deep(size: float, layers: int = 5, seed: int = 0, **options) -> Flow:
    """A flow whose layers all differ."""
    return Flow([features(size=size, seed=seed + k) for k in range(layers)], **options)


def step(phi, pairs, loss, rate):
    """One of gradient descent in V."""
    unknowns = phi.rates()
    gradients = torch.autograd.grad(objective(phi, pairs, loss, 0.0).total, [p for p, _ in unknowns])
    with torch.no_grad():
        for (p, factor), g in zip(unknowns, gradients, strict=True):
            p -= rate * factor * g


# ---- what is measured


FIELDS = [
    *zoo.KERNEL_FIELDS[:1],
    *zoo.FEATURE_FIELDS[:1],
    *zoo.PERCEPTRON_FIELDS[1:2],
    *zoo.CONV_FIELDS,
    *zoo.CONTRACTIVE_FIELDS[1:],
]


@pytest.mark.parametrize("entry", FIELDS, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"solver": Heun()}, {"solver": RK4(), "substeps": 2}], ids=["Euler", "Heun", "RK4"]
)
@pytest.mark.slow
def test_the_gradient_is_the_sum_of_those_of_the_layers(entry, options):
    """Two ways to it: by differentiating the objective, and by momenta and Gram matrices."""
    phi = Flow([entry(2, seed=k) for k in range(3)], **options)
    pairs = [(Points(cloud(5, 2, seed=k)), Points(cloud(5, 2, seed=k + 5))) for k in range(2)]
    found = convergence(phi, pairs, LandmarkLoss())
    assert found.layers is not None
    assert found.gradient**2 == pytest.approx(float(found.layers.gradients.square().mean()), rel=1e-9)
    parameters, rates = zip(*phi.rates(), strict=True)
    value = objective(phi, pairs, LandmarkLoss(), 0.0).total
    gradients = torch.autograd.grad(value, parameters)
    square = sum(rate * g.square().sum() for g, rate in zip(gradients, rates, strict=True))
    assert found.gradient**2 == pytest.approx(float(square))
    assert found.constant == pytest.approx(float(square / (2 * value.detach())))
    assert found.objective == pytest.approx(float(value.detach()))
    expected = torch.stack([f.sqnorm().sqrt() for f in phi.layer_fields()]).detach()
    assert relative(found.layers.norms, expected) < 1e-12


def test_the_gram_matrix_of_a_residual_layer_is_that_of_the_kernel():
    """From features, by sensitivities, and, for many features, from the kernel that they approximate."""
    field, x = features(4000, size=0.1), lattice()
    layers = Flow(field, Euler(), 4).layers()[:1]
    small = gram(field, layers, x)
    wide = sensitivity(field, layers, x).flatten(0, 1) * 4
    assert relative(wide @ wide.T, torch.kron(small, torch.eye(2, dtype=F64))) < 1e-12
    assert relative(small, GaussianKernel(0.45)(x).dense()) < 0.1
    nystrom = KernelField(GaussianKernel(0.45), x)
    assert relative(gram(nystrom, layers, x), GaussianKernel(0.45)(x).dense()) < 2e-3  # the ridge
    assert smallest(gram(field, layers, torch.cat([x, x]))) < 1e-12  # points that coincide


def test_constants_do_not_depend_on_depth():
    """At the identity all layers are alike: that is what the metric ∫‖v‖² dt is for."""
    pairs, loss = problem()
    shallow, deeper = (convergence(Flow(features(), steps=n), pairs, loss) for n in (2, 20))
    assert shallow.constant == pytest.approx(deeper.constant, rel=1e-12)
    assert shallow.posterior == pytest.approx(deeper.posterior, rel=1e-12)
    assert curvature(Flow(features(), steps=1), pairs, loss) > 0


def test_measuring_changes_nothing():
    pairs, loss = problem()
    phi = deep(0.02).requires_grad_(False)
    before = {name: value.clone() for name, value in phi.state_dict().items()}
    frozen = convergence(phi, pairs, loss)
    assert not any(p.requires_grad for p in phi.parameters())
    assert all(torch.equal(before[name], value) for name, value in phi.state_dict().items())
    trained = convergence(phi.requires_grad_(True), pairs, loss)
    assert (trained.constant, trained.posterior) == (frozen.constant, frozen.posterior)
    assert all(p.grad is None for p in phi.parameters())


def test_of_geodesics_and_of_shapes_the_constant_alone_is_measured():
    phi = zoo.DIFFEOS[0](2)
    found = convergence(phi, [(zoo.POINTS(2), zoo.POINTS(2, seed=1))], LandmarkLoss())
    assert found.layers is None
    assert math.isnan(found.posterior)
    assert found.constant > 0
    (g,) = torch.autograd.grad(
        objective(phi, [(zoo.POINTS(2), zoo.POINTS(2, seed=1))], LandmarkLoss(), 0.0).total, [*phi.parameters()]
    )
    assert found.gradient == pytest.approx(float(g.norm()))


def test_energy_is_part_of_what_is_measured():
    pairs, loss = problem()
    phi = deep(0.02)
    found = convergence(phi, pairs, loss, 0.3, best=0.01)
    assert found.objective == pytest.approx(float(objective(phi, pairs, loss, 0.3).total.detach()))
    assert found.gap == pytest.approx(found.objective - 0.01)
    assert found.gradient == gradient_in_v(phi, pairs, loss, 0.3)[1] != gradient_in_v(phi, pairs, loss)[1]
    assert math.isnan(found.posterior)


def test_encoded_sources_start_where_they_are_read_in():
    x, values = cloud(12, 3), cloud(12, 2, seed=1)
    read_in, loss = LinearReadIn(3, 2, trained=False).double(), SquaredLoss(read_out())
    through = convergence(deep(0.02), [(Encoded(x, read_in), values)], loss)
    direct = convergence(deep(0.02), [(Points(read_in(x)), values)], loss)
    assert (through.constant, through.posterior) == pytest.approx((direct.constant, direct.posterior))


# ---- what is proven


@few
@given(seed=seeds)
@pytest.mark.parametrize("size", [0.0, 0.0003, 0.003, 0.03, 0.1])
def test_measured_is_above_a_posteriori_is_above_a_priori(seed, size):
    pairs, loss = problem(seed=seed)
    found = convergence(deep(size, seed=seed % 1000), pairs, loss)
    assert found.constant >= found.posterior * (1 - 1e-9)
    assert found.posterior >= found.prior * (1 - 1e-9)
    assert found.posterior > 0
    if size < 0.001:
        assert found.prior > 0.2 * found.posterior
    if size == 0:
        assert found.prior == pytest.approx(found.posterior)
    assert "certified a posteriori" in str(found)


@pytest.mark.parametrize("solver", [Euler(), Heun()], ids=repr)
def test_the_bound_is_sharp_for_one_point_on_a_line(solver):
    """There is nothing to lose by taking the worst point, direction or value."""
    fields = [FeatureField(GaussianKernel(1.0), 1, 10, k, cloud(10, 1, seed=k, size=0.3)) for k in range(4)]
    pairs = [(Points(cloud(1, 1)), cloud(1, 1, seed=1))]
    found = convergence(Flow(fields, solver), pairs, SquaredLoss(read_out([[0.7]])))
    assert found.posterior == pytest.approx(found.constant, rel=1e-9)
    assert found.read_out == pytest.approx(0.49)


def test_the_constant_of_a_loss_is_its_own():
    """c with |p|² ≥ 2cJ: attained by a residual along the weakest direction of B at the lightest point."""
    weights = torch.ones(12, dtype=F64)
    weights[3] = 0.1
    head, x = read_out(), lattice()
    weak = torch.linalg.svd(head.weight)[0][:, -1]
    for points, share in ((Points(x), 1 / 12), (Points(x, weights=weights), 0.1 / 11.1)):
        values = head(x)
        values[3] += weak
        found = convergence(Flow(features()), [(points, values)], SquaredLoss(head))
        assert found.end == pytest.approx(share * found.read_out)
        still = Flow(
            FeatureField(GaussianKernel(1e-3), 2, 20000, coefficients=torch.zeros(20000, 2, dtype=F64)), steps=1
        )
        only = convergence(still, [(points, values)], SquaredLoss(head))
        assert only.constant == pytest.approx(found.end, rel=1e-9)  # k(0) = 1, and no other point matters
    landmarks = convergence(Flow(features()), [(Points(x), Points(x + 1))], LandmarkLoss())
    assert (landmarks.read_out, landmarks.end) == pytest.approx((1, 2 / 12))


def test_values_that_a_read_out_cannot_reach_are_not_certified():
    x, head = lattice(), read_out([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = convergence(Flow(features()), [(Points(x), cloud(12, 3))], SquaredLoss(head))
    assert found.read_out == pytest.approx(0, abs=1e-12)
    assert found.posterior == pytest.approx(0, abs=1e-12)


def test_for_other_losses_what_is_measured_at_the_ends_takes_the_place():
    x, labels = lattice(), torch.arange(12) % 2
    found = convergence(deep(0.03), [(Points(x), labels)], CrossEntropyLoss(read_out()))
    assert math.isnan(found.read_out)
    assert found.prior == 0
    assert 0 < found.posterior <= found.constant


# ---- curvature


def test_the_curvature_of_one_layer_is_known():
    """J is quadratic then: the Hessian is the Gram matrix times BᵀB, over n."""
    pairs, loss = problem()
    field, x = features(), lattice()
    phi = Flow(field, steps=1)
    largest = torch.linalg.eigvalsh(gram(field, phi.layers(), x))[-1]
    expected = float(largest * torch.linalg.matrix_norm(loss.head.weight, 2) ** 2 / 12)
    assert curvature(phi, pairs, loss, iterations=200) == pytest.approx(expected, rel=1e-4)
    assert curvature(phi, pairs, loss, 0.5, iterations=200) == pytest.approx(expected + 0.5, rel=1e-4)
    assert curvature(phi, pairs, loss, iterations=3) < expected


# ---- along training


def test_a_recorder_is_a_callback():
    pairs, loss = problem()
    phi = Flow(features(), steps=3)
    recorder = ConvergenceRecorder(phi, pairs, loss, every=4)
    history = fit(
        phi,
        pairs,
        loss,
        weight=0.0,
        optimizer=InV(partial(torch.optim.SGD, lr=1.0)),
        max_iterations=10,
        callbacks=[recorder],
    )
    assert [m.iteration for m in recorder.measurements] == [0, 4, 8]
    for measured in recorder.measurements:
        assert measured.objective == pytest.approx(history[measured.iteration].objective, rel=1e-12)
    with pytest.raises(ValueError, match="whole number from 1"):
        ConvergenceRecorder(phi, pairs, loss, every=0)


def test_the_prediction_is_exact_where_all_directions_are_alike():
    """One point, one layer: J falls by (1 − ηβ)² = 1 − 2mη(1 − ηβ/2) a step, with m = β."""
    pairs, loss = [(Points(cloud(1, 2)), cloud(1, 2, seed=1))], SquaredLoss(read_out([[0.6, 0.0], [0.0, 0.6]]))
    phi = Flow(features(), steps=1)
    recorder, beta = ConvergenceRecorder(phi, pairs, loss, every=2), curvature(phi, pairs, loss)
    assert beta == pytest.approx(0.36)
    for _ in range(8):
        step(phi, pairs, loss, 0.7)
        recorder(None)
    predicted = predicted_decay(recorder.measurements, 0.7, curvature=beta)
    assert [m.gap for m in recorder.measurements] == pytest.approx(predicted)
    loose = predicted_decay(recorder.measurements, 0.7, [0.1] * 5)
    assert loose[-1] == pytest.approx(predicted[0] * (1 - 2 * 0.1 * 0.7) ** 8)


@pytest.mark.slow
def test_a_well_separated_problem_converges_linearly_as_fast_as_its_constant_says():
    """The loss decays to 1e-10; every step obeys J₊ ≤ (1 − 2mη(1 − ηβ/2)) J with the m measured there."""
    pairs, loss = problem(size=0.1)
    phi = Flow(features(), steps=5)
    beta = 1.1 * curvature(phi, pairs, loss)
    rate = 0.5 / beta
    recorder = ConvergenceRecorder(phi, pairs, loss)
    fit(
        phi, pairs, loss, weight=0.0, optimizer=InV(partial(torch.optim.SGD, lr=rate)), max_iterations=400,
        tolerance=0.0, goal=1e-10, callbacks=[recorder],
    )  # fmt: skip
    found = recorder.measurements
    assert found[-1].gap <= 1e-10
    assert curvature(phi, pairs, loss) < beta
    for before, after in itertools.pairwise(found):
        assert after.gap <= before.gap * (1 - 2 * before.constant * rate * (1 - rate * beta / 2)) * (1 + 1e-9)
    assert min(m.constant for m in found) > 0.9 * min(m.posterior for m in found) > 0.005
    slopes = torch.tensor([m.gap for m in found]).log().diff()
    assert float(slopes[-20:].std() / slopes[-20:].mean().abs()) < 0.05  # linear: a straight line on a log scale
    assert predicted_decay(found, rate, curvature=beta)[-1] >= found[-1].gap


@pytest.mark.slow
def test_convergence_is_proven_before_training_where_targets_are_near():
    pairs, loss = problem(size=0.002)
    phi = Flow(features(), steps=8)
    promised = guarantee(phi, pairs, loss)
    assert promised is not None
    start = convergence(phi, pairs, loss)
    assert 0.2 * start.posterior < promised.constant < start.posterior
    assert start.gap <= 0.5 * promised.constant * promised.radius**2 * (1 + 1e-6)
    rate, value = 0.05 / curvature(phi, pairs, loss), start.gap
    for k in range(150):
        step(phi, pairs, loss, rate)
        if k % 30 == 0:
            found = convergence(phi, pairs, loss)
            assert found.constant >= promised.constant
            assert found.layers is not None
            assert float(found.layers.norms.square().mean().sqrt()) <= promised.radius
    assert float(objective(phi, pairs, loss, 0.0).data.detach()) <= value * math.exp(
        -2 * 150 * promised.constant * rate
    )


def test_far_targets_other_losses_and_other_spaces_are_promised_nothing():
    pairs, loss = problem(size=0.5)
    assert guarantee(Flow(features(), steps=20), pairs, loss) is None
    near, squared = problem(size=0.002)
    assert guarantee(Flow(features(), Heun(), 20), near, squared) is None
    labels = [(near[0][0], torch.arange(12) % 2)]
    assert guarantee(Flow(features(), steps=20), labels, CrossEntropyLoss(squared.head)) is None
    with pytest.raises(ValueError, match="from the identity"):
        guarantee(deep(0.1), near, squared)
