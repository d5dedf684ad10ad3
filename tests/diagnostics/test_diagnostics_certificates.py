"""Certificates hold where they can be checked, are sharp where they can be, and are kept during training."""

import math

import pytest
import torch
from hypothesis import given, settings

from diffeo.core import Compose, Inverse
from diffeo.diagnostics import certificate, fixed_point_inverse, robustness_radius
from diffeo.diagnostics.spaces import embedding, space_of
from diffeo.fields import Contractive, FeatureField, KernelField, SeparableField, TrainedKernelField
from diffeo.fit import fit
from diffeo.flows import Affine, Flow, Geodesic
from diffeo.heads import LinearReadOut
from diffeo.io import load, save
from diffeo.kernels import GaussianKernel, LaplacianKernel
from diffeo.losses import CrossEntropyLoss
from diffeo.shapes import Points
from diffeo.solvers import RK4, Adaptive, Euler, Heun, Midpoint, Ralston
from tests import zoo
from tests.oracles import cloud, distance, seeds

F64 = torch.float64
CERTIFIED = [entry for entry in zoo.DIFFEOS if not entry.name.startswith(("Exponential", "Warp", "Grid", "Bounded"))]
QUICK = ("Geodesic", "FieldGeodesic(FeatureField)", "Flow(Euler)", "Flow(carried, Ralston)", "Descent", "Compose")
diffeos = pytest.mark.parametrize(
    "entry", [pytest.param(e, marks=[] if e.name in QUICK else [pytest.mark.slow]) for e in CERTIFIED], ids=str
)
SMALL = settings(max_examples=2)


def features(seed: int = 0, size: float = 0.2, width: int = 40) -> FeatureField:
    """A random field in the plane."""
    return FeatureField(GaussianKernel(0.7), 2, width, seed, cloud(width, 2, seed=seed, size=size))


def crescents(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Two half circles that reach into each other, and on which of them a point is."""
    labels, angle = torch.arange(n) % 2, torch.linspace(0, math.pi, n, dtype=F64)
    sign = (1.0 - 2 * labels)[:, None]
    return sign * (0.5 * torch.stack([angle.cos(), angle.sin()], 1) - torch.tensor([0.25, 0.1], dtype=F64)), labels


# ---- what is certified is true


def stretching(slope: float) -> Flow:
    """Two layers that move columns on their own, by velocities whose least and largest slopes are about as given."""
    theta = torch.zeros(5, 2, dtype=F64)
    theta[1], theta[4] = slope, 2 * slope  # bends go from −slope to +slope, and the linear part comes on top
    field = SeparableField(torch.linspace(-1, 1, 3, dtype=F64)[:, None].expand(3, 2), 0.5, theta * 0.5)
    return Flow([field, field])


def test_columns_that_are_stretched_are_certified_by_their_slopes():
    """A layer that stretches by 1.5·3 has a residual beyond 1, and is increasing."""
    found = certificate(stretching(3.0), cloud(50, 2, size=3.0))
    assert found.invertible
    assert found.bounds[0].residual == pytest.approx(4.5, rel=0.02)
    assert found.lipschitz == pytest.approx(5.5**2, rel=0.03)
    assert found.inverse_lipschitz == pytest.approx(1 / 2.5**2, rel=0.03)
    assert found.measured.map_largest <= found.lipschitz
    assert found.measured.map_smallest >= 1 / found.inverse_lipschitz


def test_columns_that_may_fold_are_not_certified():
    """Slopes of −1.5: three times the least of what keeps a layer increasing."""
    assert not any(certificate(stretching(-1.0)).layers_invertible)
    assert all(certificate(stretching(-0.5)).layers_invertible)


@diffeos
@SMALL
@given(seed=seeds)
def test_bounds_hold_on_points_and_their_derivatives(entry, seed):
    phi, x = entry(2, seed=seed % 100), cloud(300, 2, seed=seed)
    y = x + cloud(300, 2, seed=seed + 1, size=0.1)
    found = certificate(phi, x)
    with torch.no_grad():
        ratio = (phi(x) - phi(y)).norm(dim=1) / (x - y).norm(dim=1)
    slack = 1 + (entry.inexact or 1e-10)
    assert ratio.max() <= found.lipschitz * slack
    assert (1 / ratio).max() <= found.inverse_lipschitz * slack
    assert found.measured is not None
    assert len(found.bounds) == len(found.measured.largest) == len(found.measured.smallest)
    for bound, largest, smallest in zip(found.bounds, found.measured.largest, found.measured.smallest, strict=True):
        assert largest <= bound.largest * slack
        assert smallest >= bound.smallest / slack
    assert found.measured.map_largest <= found.measured.largest.prod() * slack
    assert found.looseness >= 1 / slack


def test_each_layer_has_its_own_bound():
    """A layer that folds is not certified, the others are."""
    fields = [features(size=s) for s in (0.05, 1.5, 0.05)]
    found = certificate(Flow(fields), cloud(400, 2))
    assert found.layers_invertible == [True, False, True]
    assert not found.invertible
    assert found.inverse_lipschitz == math.inf
    assert found.bounds[0].step == pytest.approx(float(fields[0].lipschitz().detach()) / 3)
    assert "2 of 3 layers certified" in str(found)
    assert "at the points" in str(found)
    assert "at the points" not in str(certificate(Flow(fields)))


@pytest.mark.parametrize(
    ("solver", "residual"),
    [
        (Euler(), lambda s: s),
        (Midpoint(), lambda s: s + s**2 / 2),
        (Heun(), lambda s: s + s**2 / 2),
        (Ralston(), lambda s: s + s**2 / 2),
        (RK4(), lambda s: s + s**2 / 2 + s**3 / 6 + s**4 / 24),
        (Adaptive(rtol=1e-10, atol=1e-12), math.expm1),
    ],
    ids=lambda v: type(v).__name__,
)
def test_the_residual_of_every_solver(solver, residual):
    found = certificate(Flow(features(), solver, 4)).bounds[0]
    assert found.residual == pytest.approx(residual(found.step), rel=1e-6)


def test_the_bound_is_sharp_for_a_dipole():
    """Two opposite momenta close together stretch at √(−2k'(0)) ‖v‖ between them: no smaller bound would be true."""
    c = torch.tensor([[-1e-3], [1e-3]], dtype=F64)
    for sign in (1.0, -1.0):
        p = sign * torch.tensor([[-100.0], [100.0]], dtype=F64)
        for solver in (Euler(), Heun(), RK4()):
            phi = Flow(KernelField(GaussianKernel(1.0), c, p, whiten=False), solver, 1)
            found = certificate(phi, torch.zeros(1, 1, dtype=F64))
            assert found.measured is not None
            if sign > 0:
                assert found.measured.map_largest == pytest.approx(found.lipschitz, rel=1e-3)
            elif isinstance(solver, Euler):
                assert found.measured.map_smallest == pytest.approx(1 / found.inverse_lipschitz, rel=1e-3)


def test_affine_maps_compositions_and_inverses():
    motion = Affine(torch.diag(torch.tensor([2.0, 0.5], dtype=F64)), torch.zeros(2, dtype=F64))
    found = certificate(motion, cloud(5, 2))
    assert (found.lipschitz, found.inverse_lipschitz) == pytest.approx((2, 2))
    assert found.looseness == pytest.approx(1)
    flow = Flow(features(), steps=3)
    both = certificate(Compose([motion, flow]))
    assert both.lipschitz == pytest.approx(2 * certificate(flow).lipschitz)
    back = certificate(Inverse(flow), cloud(5, 2))
    assert back.lipschitz == pytest.approx(certificate(flow).inverse_lipschitz)
    assert back.inverse_lipschitz == pytest.approx(certificate(flow).lipschitz)
    twice = certificate(Inverse(Inverse(flow)), cloud(5, 2))
    assert twice.lipschitz == pytest.approx(certificate(flow).lipschitz)


def test_other_maps_are_refused():
    warp = next(entry for entry in zoo.DIFFEOS if entry.name == "Warp")(2)
    with pytest.raises(ValueError, match=r"expects a Flow, .* and got a Warp"):
        certificate(warp)


@pytest.mark.parametrize("entry", [*zoo.KERNEL_FIELDS[:3], zoo.LINEAR_FIELDS[0]], ids=str)
def test_the_constants_of_a_space_bound_its_fields(entry):
    field, x = entry(2), cloud(200, 2)
    speed, slope = embedding(field)
    norm = float(field.sqnorm().detach().sqrt())
    assert field(x).norm(dim=1).max() <= speed * norm * (1 + 1e-12)
    assert torch.linalg.matrix_norm(field.jacobian(x), 2).max() <= slope * norm * (1 + 1e-12)
    assert embedding(space_of(Flow(field))) == (speed, slope)


def test_of_some_spaces_nothing_is_known():
    assert embedding(None) == (math.inf, math.inf)
    assert space_of(zoo.affine(2, F64, 0)) is None


# ---- the inverse by fixed points


@pytest.mark.parametrize("solver", [Euler(), Heun(), RK4()], ids=repr)
@SMALL
@given(seed=seeds)
def test_fixed_points_invert_at_the_certified_rate(solver, seed):
    phi, x = Flow([features(seed % 1000 + k) for k in range(4)], solver), cloud(50, 2, seed=seed)
    with torch.no_grad():
        found = fixed_point_inverse(phi, phi(x))
    assert distance(found.x, x) < 1e-12
    assert bool((found.measured <= found.certified).all())
    assert bool((found.measured > 0.01 * found.certified).all())
    for bound, count in zip(found.certified.tolist(), found.iterations.tolist(), strict=True):
        assert count <= 2 + math.ceil(math.log(1e-15 * (1 - bound)) / math.log(bound))


def test_a_tolerance_is_kept():
    phi, x = Flow(features(size=0.05), steps=1), cloud(50, 2)
    with torch.no_grad():
        y = phi(x)
    loose, tight = fixed_point_inverse(phi, y, 1e-3), fixed_point_inverse(phi, y, 1e-9)
    assert 1e-9 < distance(loose.x, x) < 1e-3
    assert distance(tight.x, x) < 1e-9
    assert loose.iterations < tight.iterations
    assert fixed_point_inverse(phi, y[:0]).x.shape == (0, 2)


def test_fixed_points_need_a_certificate():
    with pytest.raises(ValueError, match=r"2 of 2 layers are not certified .* Contractive"):
        fixed_point_inverse(Flow(features(size=3.0), steps=2), cloud(5, 2))
    with pytest.raises(ValueError, match="made of layers, and got a Affine"):
        fixed_point_inverse(zoo.affine(2, F64, 0), cloud(5, 2))  # type: ignore[arg-type]


# ---- robustness


def attack(phi, head, x, radius, steps=30):
    """The largest loss that gradient ascent finds in the balls around x, from two starts: the labels there."""
    labels, flipped = head(phi(x)).argmax(1), torch.zeros(len(x), dtype=torch.bool)
    for seed in range(2):
        delta = radius[:, None] * torch.nn.functional.normalize(cloud(*x.shape, seed=seed), dim=1)
        for _ in range(steps):
            delta.requires_grad_()
            loss = torch.nn.functional.cross_entropy(head(phi(x + delta)), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, delta)
            with torch.no_grad():
                delta = delta + 0.1 * radius[:, None] * torch.nn.functional.normalize(gradient, dim=1)
                delta = delta * (radius / delta.norm(dim=1).clamp(min=1e-300)).clamp(max=1)[:, None]
        with torch.no_grad():
            flipped |= head(phi(x + delta)).argmax(1) != labels
    return flipped


def trained() -> tuple[Flow, LinearReadOut, torch.Tensor, torch.Tensor]:
    """A classifier of crescents with certified layers."""
    x, labels = crescents()
    field = FeatureField(GaussianKernel(0.3), 2, 100, coefficients=torch.zeros(100, 2, dtype=F64))
    phi = Flow(Contractive(field, 0.5 * 4), steps=4)
    head = LinearReadOut(2, 2, trained=False, weight=torch.tensor([[0, 4.0], [0, -4.0]], dtype=F64))
    fit(phi, [(Points(x), labels)], CrossEntropyLoss(head), weight=1e-4, max_iterations=30)
    return phi.requires_grad_(False), head, x, labels


@pytest.mark.slow
def test_no_perturbation_within_the_radius_changes_the_label():
    phi, head, x, labels = trained()
    assert (head(phi(x)).argmax(1) == labels).double().mean() > 0.9
    radius = robustness_radius(phi, head, x)
    assert radius.shape == (len(x),)
    assert bool((radius > 0).all())
    assert not bool(attack(phi, head, x, 0.999 * radius).any())
    assert attack(phi, head, x, torch.full_like(radius, 0.4)).double().mean() > 0.3  # the attack is one


def test_the_radius_is_exact_for_a_linear_classifier():
    """Through the identity it is the distance from the border; the usual √2 is what equal lengths make of it."""
    head = LinearReadOut(2, 3, bias=True, weight=cloud(3, 2, seed=4), offset=cloud(1, 3, seed=5)[0], trained=False)
    still, x = Flow(FeatureField(GaussianKernel(1.0), 2, 10, coefficients=torch.zeros(10, 2, dtype=F64))), cloud(40, 2)
    radius = robustness_radius(still, head, x)
    assert not bool(attack(still, head, x, 0.999 * radius).any())
    scores, weight = head(x), head.weight
    first, second = scores.topk(2).indices.T
    toward = weight[second] - weight[first]
    over = (
        x
        + 1.001
        * ((scores.amax(1) - scores.gather(1, second[:, None])[:, 0]) / toward.norm(dim=1).square())[:, None]
        * toward
    )
    changed = head(over).argmax(1) != first
    assert bool(changed.all())
    reached = (over - x).norm(dim=1) / 1.001
    assert bool((radius <= reached * (1 + 1e-9)).all())
    assert (radius / reached).max() == pytest.approx(1)
    lead = scores.amax(1) - scores.gather(1, second[:, None])[:, 0]
    assert bool((radius >= lead / (math.sqrt(2) * torch.linalg.matrix_norm(weight, 2)) * (1 - 1e-9)).all())


def test_a_radius_follows_the_lipschitz_constant_that_is_given():
    phi, head, x = Flow(features()), LinearReadOut(2, 2, trained=False).double(), cloud(9, 2)
    here = certificate(phi).lipschitz
    torch.testing.assert_close(robustness_radius(phi, head, x, 2 * here), robustness_radius(phi, head, x) / 2)


def test_only_affine_read_outs_of_two_scores_or_more_have_a_radius():
    phi, x = Flow(features()), cloud(9, 2)
    with pytest.raises(ValueError, match="affine read-out"):
        robustness_radius(phi, lambda z: z.square(), x)
    with pytest.raises(ValueError, match="at least two scores, and the read-out gives 1"):
        robustness_radius(phi, LinearReadOut(2, 1).double(), x)


# ---- the constrained mode


@pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, torch.optim.Adam, torch.optim.SGD], ids=lambda o: o.__name__)
@pytest.mark.slow
def test_no_layer_loses_its_certificate_during_training(optimizer):
    """With steps far too long for the plain field, whose layers do lose it."""
    x, labels = crescents()

    def run(bound):
        field = FeatureField(GaussianKernel(0.3), 2, 60, coefficients=torch.zeros(60, 2, dtype=F64))
        phi = Flow(field if bound is None else Contractive(field, bound), steps=3)
        head, worst = LinearReadOut(2, 2, trained=False).double(), 0.0

        def note(_):
            nonlocal worst
            worst = max(worst, *(b.step for b in certificate(phi).bounds))

        def make(p):
            options = {"max_iter": 1, "line_search_fn": "strong_wolfe"} if optimizer is torch.optim.LBFGS else {}
            return optimizer(p, lr=1.0 if options else 30.0, **options)

        history = fit(
            phi,
            [(Points(x), labels)],
            CrossEntropyLoss(head),
            weight=0.0,
            optimizer=make,
            max_iterations=30,
            callbacks=[note],
        )
        return worst, history[0].data, min(record.data for record in history.records), phi

    worst, before, after, phi = run(0.9 * 3)
    assert 0.3 < worst < 0.9
    assert after < 0.9 * before
    assert certificate(phi).invertible
    assert run(None)[0] > 1


@pytest.mark.parametrize("entry", [zoo.KERNEL_FIELDS[0], zoo.GRID_FIELDS[0], zoo.LINEAR_FIELDS[0]], ids=str)
def test_slowing_keeps_small_fields_and_reaches_every_bound(entry):
    field, x = entry(2), cloud(20, 2)
    lipschitz = float(field.lipschitz().detach())
    assert distance(Contractive(field, 1e6 * lipschitz)(x), field(x)) < 1e-12 * float(field(x).detach().abs().max())
    assert float(Contractive(field, 1e-6 * lipschitz).lipschitz().detach()) == pytest.approx(1e-6 * lipschitz)
    assert float(Contractive(field, lipschitz).lipschitz().detach()) == pytest.approx(lipschitz / math.sqrt(2))


def test_a_field_at_rest_can_be_trained():
    """Norms have no derivative at 0: the slowing must not make NaN of that."""
    for field in (KernelField(GaussianKernel(0.5), cloud(5, 2)), features(size=0.0)):
        slow, x = Contractive(field, 1.0), cloud(7, 2)
        expected = torch.autograd.grad(field(x).sum(), list(field.parameters()))
        found = torch.autograd.grad(slow(x).sum(), list(slow.parameters()))
        assert torch.equal(found[0], expected[0])


def test_what_cannot_be_slowed_is_refused():
    with pytest.raises(ValueError, match="bound above 0"):
        Contractive(features(), 0.0)
    rough = Contractive(KernelField(LaplacianKernel(0.5), cloud(5, 2), cloud(5, 2)), 1.0)
    with pytest.raises(ValueError, match="take a smoother kernel"):
        rough(cloud(5, 2))


def test_a_constrained_map_is_saved_and_loaded(tmp_path):
    phi = Flow([Contractive(features(k), 2.0) for k in range(3)])
    save(tmp_path / "phi.diffeo", phi)
    again = load(tmp_path / "phi.diffeo")
    assert torch.equal(again(cloud(9, 2)), phi(cloud(9, 2)))
    assert certificate(again).lipschitz == certificate(phi).lipschitz


# ---- rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("apart", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("seed", range(3))
def test_momenta_that_nearly_cancel_are_not_certified_by_what_rounding_leaves_of_their_norm(seed, apart, dtype):
    """Pairs of opposite momenta are derivatives of kernels: as steep as ever, of a norm that loses all its digits."""
    centers, away = cloud(10, 2, seed=seed), torch.nn.functional.normalize(cloud(10, 2, seed=seed + 10), dim=1)
    momenta = 0.5 / apart * cloud(10, 2, seed=seed + 20)
    controls = torch.cat([centers, centers + apart * away]).to(dtype)
    momenta, kernel = torch.cat([momenta, -momenta]).to(dtype), GaussianKernel(1.0)
    x = 1.5 * cloud(2000, 2, seed=seed + 30).to(dtype)
    trained = TrainedKernelField(kernel, controls, momenta)
    for field in (trained, KernelField(kernel, controls, momenta, whiten=False), Contractive(trained, 0.9)):
        steep = torch.linalg.matrix_norm(field.jacobian(x).detach(), 2).max()
        assert steep <= field.lipschitz() * (1 + 1e-3)
        for phi in (Flow([field]), Flow([field, field])):
            found = certificate(phi)
            assert not found.invertible or phi.with_volumes(x)[1].min() > 0
    shot = Geodesic(kernel, controls, Euler(), 1, momenta, whiten=False)
    assert certificate(shot).bounds[0].step >= (1 - 1e-3) * float(
        torch.linalg.matrix_norm(shot.layers()[0].with_jacobian(x)[1].detach() - torch.eye(2, dtype=dtype), 2).max()
    )


def test_fixed_points_are_as_exact_in_small_units():
    """The tolerance is in rounding units of the largest coordinate, also where that is far below 1."""
    field = KernelField(GaussianKernel(1.0), cloud(5, 2), 0.1 * cloud(5, 2, seed=1))
    phi = Flow([field, field]).rescaled(1e-9, torch.zeros(2))
    x = 1e-9 * cloud(20, 2, seed=2)
    assert (fixed_point_inverse(phi, phi(x).detach()).x - x).abs().max() < 1e-9 * 1e-12


def test_radii_are_proven_for_classes_that_nearly_agree():
    """Distances of rows by products lose the digits that keep a radius from being too large."""
    weight = torch.cat([torch.full((30, 1), 1e3), 1e-2 * cloud(30, 1).float()], 1)
    head = LinearReadOut(2, 30, weight=weight, offset=torch.zeros(30))
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    identity = Affine(torch.eye(2), torch.zeros(2))
    w = weight.double()
    apart = (w[:, None] - w).norm(dim=2)
    scores = x.double() @ w.T
    for point, radius in zip(scores, robustness_radius(identity, head, x), strict=True):
        best = int(point.argmax())
        others = torch.arange(30) != best
        exact = ((point[best] - point) / apart[best])[others].min()
        assert abs(float(radius / exact) - 1) < 1e-2
