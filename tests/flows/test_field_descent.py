"""Boosting by flows: every layer lowers the loss as steeply as its family can, is certified, and can be grown again."""

from itertools import pairwise

import pytest
import torch

from diffeo.diagnostics import certificate, speeds
from diffeo.fields import (
    Contractive,
    ConvField,
    FeatureField,
    FrozenPerceptronField,
    KernelField,
    PerceptronField,
    Tanh,
    TrainedConvField,
)
from diffeo.fit import fit
from diffeo.flows import Descent, FieldDescent
from diffeo.flows.field_descent import Work, climb
from diffeo.heads import LinearReadOut
from diffeo.kernels import GaussianKernel
from diffeo.losses import CrossEntropyLoss, LandmarkLoss, SquaredLoss
from diffeo.shapes import Points
from tests import zoo
from tests.oracles import cloud, distance, relative

F64 = torch.float64
KERNEL = GaussianKernel(0.5)

FAMILIES = {
    "features": lambda: FeatureField(KERNEL, 2, 60, 0, torch.zeros(60, 2, dtype=F64)),
    "frozen perceptrons": lambda: FrozenPerceptronField(2, 60, coefficients=torch.zeros(60, 2, dtype=F64)),
    "momenta": lambda: KernelField(KERNEL, cloud(12, 2, seed=9)),
    "perceptrons": lambda: PerceptronField(2, 30, activation=Tanh(), outer=torch.zeros(30, 2, dtype=F64)),
    "convolutions": lambda: TrainedConvField((1, 1, 2), 8, 3, weights=torch.zeros(1, 8, 3, 3, dtype=F64)),
    "slowed features": lambda: Contractive(FeatureField(KERNEL, 2, 60, 0, torch.zeros(60, 2, dtype=F64)), 1.0),
}
families = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)


def landmarks():
    return Points(cloud(12, 2)), Points(cloud(12, 2) + 0.3 * torch.sin(2 * cloud(12, 2).flip(1)))


def grown(make, layers, **options):
    phi, pair = FieldDescent(make(), **options), landmarks()
    for _ in range(layers):
        assert phi.grow([pair], LandmarkLoss())
    return phi


@families
def test_every_layer_lowers_the_loss_and_is_certified(make):
    pair, loss, phi = landmarks(), LandmarkLoss(), FieldDescent(make(), refine=3)
    values = [float(loss(*pair))]
    for _ in range(6):
        assert phi.grow([pair], loss)
        values.append(float(loss(phi @ pair[0], pair[1])))
    assert all(b < a for a, b in pairwise(values))
    assert values[-1] < 0.9 * values[0]
    for u, h in zip(phi.layer_fields(), phi.sizes(), strict=True):
        assert h * float(u.lipschitz()) < 1
        assert not any(p.requires_grad for p in u.parameters())
    x = cloud(100, 2)
    assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())
    assert distance(phi.inverse(phi(x)), x) < 1e-10


@pytest.mark.parametrize("name", ["features", "frozen perceptrons"])
def test_linear_fields_descend_as_steeply_as_their_space_allows(name):
    """No direction of norm 1 does better than the one taken: Cauchy–Schwarz, with equality."""
    (source, target), phi = landmarks(), FieldDescent(FAMILIES[name]())
    x = source.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(LandmarkLoss()(Points(x), target), x)
    u = phi.steepest(source.x, gradient)
    steepest = float(-(gradient * u(source.x)).sum() / u.sqnorm().sqrt())
    torch.testing.assert_close(u.sqnorm().sqrt(), torch.tensor(steepest, dtype=F64))
    for seed in range(5):
        other = FAMILIES[name]()
        with torch.no_grad():
            other.coefficients.copy_(u.coefficients + 0.3 * cloud(60, 2, seed=seed) * u.coefficients.std())
            assert float(-(gradient * other(source.x)).sum() / other.sqnorm().sqrt()) < steepest


def test_in_the_space_of_a_kernel_it_is_descent():
    """Wide enough features grow what momenta on all points grow."""
    (source, target), loss = landmarks(), LandmarkLoss()
    features = FeatureField(KERNEL, 2, 4000, 0, torch.zeros(4000, 2, dtype=F64))
    ways = [FieldDescent(features), Descent(KERNEL)]
    for phi in ways:
        phi.STRENGTH = 0.05  # far below what either bound of the Lipschitz constant allows: the directions are compared
        phi.grow([(source, target)], loss)
    a, b = (phi(source.x) - source.x for phi in ways)
    assert relative(a / a.norm(), b / b.norm()) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_refined_inner_weights_climb_higher(seed):
    """Σ p·u − ½‖u‖² after L-BFGS exceeds what the outer weights alone reach, which is that of the linear field."""
    x, p = cloud(20, 2, seed=seed), cloud(20, 2, seed=seed + 50)
    reached = {}
    for steps in (0, 20):
        u = FAMILIES["perceptrons"]().redrawn(seed)
        assert climb(u, Work(x, p), steps)
        with torch.no_grad():
            reached[steps] = float((p * u(x)).sum() / u.sqnorm().sqrt())
    linear = FAMILIES["perceptrons"]().redrawn(seed).linear()
    best = float(linear.gather(x, p).norm())
    assert reached[0] == pytest.approx(best, rel=0.2)
    assert reached[20] > 1.1 * best


def test_what_pulls_nowhere_grows_nothing():
    shape = Points(cloud(12, 2))
    for make in FAMILIES.values():
        phi = FieldDescent(make())
        assert not phi.grow([(shape, Points(shape.x.clone()))], LandmarkLoss())
        assert not phi.layers()
        assert phi.energy() == 0
        assert torch.equal(phi(shape.x), shape.x)


@families
@pytest.mark.parametrize("redraw", [None, True], ids=["default", "redrawn"])
def test_growth_goes_on_where_it_was_saved(make, redraw):
    straight, first = grown(make, 4, redraw=redraw), grown(make, 2, redraw=redraw)
    second, pair = FieldDescent(make(), redraw=redraw), landmarks()
    second.regrow(first.growth())
    for _ in range(2):
        second.grow([pair], LandmarkLoss())
    assert torch.equal(second(pair[0].x), straight(pair[0].x))


def test_layers_draw_weights_of_their_own_or_share_them():
    fresh, shared = grown(FAMILIES["features"], 3, redraw=True), grown(FAMILIES["features"], 3)
    assert distance(fresh.fields[0].frequencies, fresh.fields[1].frequencies) > 0.1
    assert torch.equal(fresh.fields[1].frequencies, FAMILIES["features"]().redrawn(1).frequencies)
    assert len({field.frequencies.data_ptr() for field in shared.fields}) == 1
    assert grown(FAMILIES["perceptrons"], 1).redraw
    other = grown(FAMILIES["perceptrons"], 1, seed=7)
    assert distance(other.fields[0].units.inner, grown(FAMILIES["perceptrons"], 1).fields[0].units.inner) > 0.1


@pytest.mark.parametrize("entry", [e for e in zoo.FIELDS if "seed" in e(2).arguments()], ids=str)
def test_redrawn_fields_are_at_rest_and_follow_from_the_seed(entry):
    """The convolutions that are linear keep their taps, as all layers of one space do."""
    for dtype in zoo.DTYPES:
        field, x = entry(2, dtype), cloud(9, 2, dtype)
        first, again, other = (field.redrawn(seed) for seed in (3, 3, 4))
        assert type(first) is type(field)
        assert {t.dtype for t in (*first.parameters(), *first.buffers())} == {dtype}
        assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
        if not isinstance(field, ConvField):
            assert not first(x).any()
            assert not all(map(torch.equal, first.state_dict().values(), other.state_dict().values()))


def test_points_are_remembered_until_a_layer_changes():
    phi, x = grown(FAMILIES["features"], 3), cloud(5, 2)
    before = phi(x)
    assert torch.equal(phi(x), before)
    with torch.no_grad():
        phi.fields[1].coefficients.mul_(1.5)
    assert distance(phi(x), before) > 1e-6
    assert torch.equal(phi(x), phi(x.clone()))


@families
def test_layers_are_certified_by_the_diagnostics(make):
    """Their bound is h Lip(u); their speed is that of u in the L-th part of the time."""
    phi = grown(make, 3)
    bounds = certificate(phi, cloud(20, 2)).bounds
    for bound, u, h in zip(bounds, phi.layer_fields(), phi.sizes(), strict=True):
        assert bound.residual == pytest.approx(h * float(u.lipschitz()))
        assert bound.residual < 1
    assert 0.5 * float(speeds(phi).square().mean()) == pytest.approx(float(phi.energy()))


def test_steps_without_fields_are_refused():
    with pytest.raises(ValueError, match="a step for each of 0 fields, and got 1"):
        FieldDescent(FAMILIES["features"](), sizes=[0.5])


@pytest.mark.parametrize("name", ["features", pytest.param("perceptrons", marks=pytest.mark.slow)])
def test_heads_learn_along(name):
    """Fit grows layers for labels and for values, and fits the read-out to each."""
    x = cloud(60, 2, seed=2)
    labels, values = (x.norm(dim=1) > 0.5).long(), torch.sin(3 * x[:, :1])
    torch.manual_seed(0)
    for loss, y in ((CrossEntropyLoss(LinearReadOut(2, 2)), labels), (SquaredLoss(LinearReadOut(2, 1)), values)):
        phi, loss = FieldDescent(FAMILIES[name]()), loss.double()
        history = fit(phi, [(Points(x), y)], loss, weight=0.0, max_iterations=25, tolerance=None)
        assert history[-1].data < 0.7 * history[0].data
        assert len(phi.layers()) > 10
