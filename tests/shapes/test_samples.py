"""Samples: points that know how volumes around them have changed, layer by layer, and maps that fold."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffeo.core import Compose
from diffeo.fields import KernelField
from diffeo.flows import Affine, Flow, LearnedAffine
from diffeo.kernels import GaussianKernel
from diffeo.shapes import Samples
from diffeo.shapes.samples import extended_log, missing
from diffeo.solvers import Euler, Heun
from tests import zoo
from tests.oracles import cloud, distance, pointwise_jacobian, slope

F64 = torch.float64
diffeos = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.DIFFEOS)), ids=str)


def folding(layers=1, dtype=F64):
    """Layers that send what is right of the origin to the left, and back again further out."""
    fields = [KernelField(GaussianKernel(0.5), torch.tensor([[0.5, 0.0]], dtype=dtype)) for _ in range(layers)]
    for field in fields:
        field.momenta = torch.tensor([[-1.5 * layers, 0.0]], dtype=dtype)
    return Flow(fields, Euler())


# ---- volumes


@diffeos
def test_log_volumes_are_those_of_automatic_differentiation(entry, d):
    phi, x, before = entry(d), cloud(6, d), cloud(6, 1, seed=3)[:, 0]
    moved = phi @ Samples(x, logvolume=before)
    expected = torch.linalg.det(pointwise_jacobian(phi, x)).log()
    assert distance(moved.logvolume, before + expected) < max(1e-8, 10 * entry.inexact)
    assert distance(moved.x, phi(x)) < max(1e-13, entry.inexact)


@diffeos
def test_volumes_of_layers_multiply_to_that_of_the_map(entry, d):
    phi, x = entry(d), cloud(6, d)
    moved, volumes = phi.with_volumes(x)
    there, logdet = phi.with_logdet(x)
    assert volumes.ndim == 2
    assert volumes.shape[1] == 6
    assert bool((volumes > 0).all())
    assert distance(volumes.log().sum(0), logdet) < max(1e-12, 10 * entry.inexact)
    assert distance(moved, there) < max(1e-14, entry.inexact)


@pytest.mark.parametrize(("name", "layers"), [("Flow(Euler)", 5), ("Descent", 3), ("Flow(carried, refined)", 6)])
def test_every_layer_has_a_volume_of_its_own(name, layers):
    (entry,) = [entry for entry in zoo.DIFFEOS if entry.name == name]
    assert entry(2).with_volumes(cloud(4, 2))[1].shape == (layers, 4)


def test_an_inverse_undoes_volumes():
    phi, samples = zoo.flow(zoo.GAUSSIAN, 4)(2, F64, 0), Samples(cloud(9, 2))
    there = phi @ samples
    back = zoo.Inverse(phi) @ there
    assert distance(back.x, samples.x) < 1e-12
    assert back.logvolume.abs().max() < 1e-12
    assert there.logvolume.abs().max() > 0.1


def test_volumes_add_along_compositions():
    first, second = zoo.flow(zoo.GAUSSIAN, 3)(2, F64, 0), zoo.affine(2, F64, 1)
    samples = Samples(cloud(9, 2), floor=0.2, witnesses=cloud(5, 2, seed=1))
    at_once, in_turn = Compose([first, second]) @ samples, second @ (first @ samples)
    assert distance(at_once.logvolume, in_turn.logvolume) < 1e-13
    assert distance(at_once.witnesses, in_turn.witnesses) < 1e-13
    assert distance(at_once.deficit[None], in_turn.deficit[None]) < 1e-13


# ---- folds


@pytest.mark.parametrize("layers", [1, 3])
def test_a_map_that_folds_is_refused(layers):
    phi, x = folding(layers), cloud(40, 2)
    folded = int((phi.with_volumes(x)[1] <= 0).any(0).sum())
    assert 0 < folded < 40
    with pytest.raises(ArithmeticError, match=rf"folds at {folded} of 40 points.*Train with a floor"):
        phi @ Samples(x)


def test_with_a_floor_what_folds_has_a_price():
    """Values below the tangent, and a deficit that says how far; nothing is NaN, and gradients lead out."""
    phi, x = folding(), cloud(40, 2)
    x = torch.cat([x, torch.tensor([[0.9, 0.0]], dtype=F64)])
    moved = phi @ Samples(x, floor=0.2)
    volumes = phi.with_volumes(x)[1]
    assert bool(torch.isfinite(moved.logvolume).all())
    assert distance(moved.deficit[None], (1 - volumes / 0.2).clamp(min=0).sum(0).mean()[None]) < 1e-14
    above = (volumes > 0.2).all(0)
    assert distance(moved.logvolume[above], volumes[:, above].log().sum(0)) < 1e-14
    tangent = math.log(0.2) + volumes[0, ~above] / 0.2 - 1
    assert distance(moved.logvolume[~above], tangent) < 1e-13
    (gradient,) = torch.autograd.grad(moved.deficit, phi.parameters())
    assert bool(torch.isfinite(gradient).all())
    assert gradient.abs().max() > 0


def test_witnesses_see_folds_off_the_data():
    phi, away = folding(), cloud(10, 2) - torch.tensor([4.0, 0.0], dtype=F64)
    blind = phi @ Samples(away, floor=0.2)
    assert blind.deficit == 0
    line = torch.stack([torch.linspace(0, 1.5, 30, dtype=F64), torch.zeros(30, dtype=F64)], 1)
    seen = phi @ Samples(away, floor=0.2, witnesses=line)
    assert seen.deficit > 0.1
    assert distance(seen.witnesses, phi(line)) < 1e-14
    assert distance(seen.logvolume, blind.logvolume) == 0


@given(floor=st.floats(0.01, 0.9))
def test_the_extension_is_smooth_where_it_begins(floor):
    """Equal to log above, its tangent below: value and slope agree at the floor, and it is concave."""
    at = torch.tensor([[floor]], dtype=F64)
    below, above = at * (1 - 1e-6), at * (1 + 1e-6)
    assert float(extended_log(at, floor)) == pytest.approx(math.log(floor), rel=1e-12, abs=1e-12)
    slopes = []
    for v in (below, above):
        v = v.requires_grad_()
        slopes.append(float(torch.autograd.grad(extended_log(v, floor).sum(), v)[0]))
    assert slopes == pytest.approx([1 / floor, 1 / floor], rel=1e-5)
    v = torch.linspace(-2, 2, 401, dtype=F64)[None]
    values = extended_log(v, floor)[0]
    assert bool((values.diff().diff() < 1e-12).all())
    assert bool((values.diff() > 0).all())
    assert distance(values[v[0] > floor], v[0][v[0] > floor].log()) < 1e-14
    assert bool((values[(v[0] < floor) & (v[0] > 0)] >= v[0][(v[0] < floor) & (v[0] > 0)].log()).all())


def test_what_is_missing_by_hand():
    volumes = torch.tensor([[1.0, 0.1, -0.2], [0.05, 2.0, 0.2]], dtype=F64)
    assert float(missing(volumes, 0.2)) == pytest.approx((0 + 0.5 + 2.0 + 0.75 + 0 + 0) / 3)


def test_gradients_of_volumes_and_deficits():
    """By finite differences, in the momenta of a map that folds."""
    phi, samples = folding(2), Samples(cloud(9, 2), floor=0.3, witnesses=cloud(5, 2, seed=1))
    parameters = list(phi.parameters())
    start = [p.detach().clone() for p in parameters]
    for functional in (lambda: (phi @ samples).logvolume.sum(), lambda: (phi @ samples).deficit):

        def along(s, functional=functional):
            with torch.no_grad():
                for k, (p, p0) in enumerate(zip(parameters, start, strict=True)):
                    p.copy_(p0 + s * cloud(1, 2, seed=k))
                return float(functional())

        expected = slope(along, 1e-5)
        along(0.0)
        found = torch.autograd.grad(functional(), parameters)
        total = sum(float((g * cloud(1, 2, seed=k)).sum()) for k, g in enumerate(found))
        assert total == pytest.approx(expected, rel=1e-6)


# ---- as a shape


def test_leaves_are_positions_and_log_volumes():
    samples = Samples(cloud(5, 2), logvolume=cloud(5, 1)[:, 0], witnesses=cloud(3, 2), floor=0.1)
    copy, leaves = samples.differentiable()
    assert leaves[0] is copy.x
    assert leaves[1] is copy.logvolume
    assert all(leaf.requires_grad and leaf.is_leaf for leaf in leaves)
    assert torch.equal(leaves[1], samples.logvolume)
    assert copy.witnesses is samples.witnesses
    assert Samples(cloud(5, 2)).differentiable()[1][1].shape == (5,)


def test_on_grids_samples_pull_as_points_or_not_at_all():
    samples, grid, g = Samples(cloud(5, 2)), zoo.placed(2), cloud(5, 2, seed=1)
    pulled = samples.pulled([g, None], grid)
    assert torch.equal(pulled, zoo.Points(samples.x).pulled([g], grid))
    assert torch.equal(samples.pulled([g, torch.zeros(5, dtype=F64)], grid), pulled)
    with pytest.raises(ValueError, match="use Descent for losses of Samples"):
        samples.pulled([g, torch.ones(5, dtype=F64)], grid)


def test_everything_is_converted():
    samples = Samples(cloud(5, 2), logvolume=cloud(5, 1)[:, 0], witnesses=cloud(3, 2), floor=0.1)
    single = samples.to(torch.float32)
    assert {single.x.dtype, single.logvolume.dtype, single.witnesses.dtype} == {torch.float32}
    assert single.floor == 0.1
    moved = zoo.flow(zoo.GAUSSIAN, 3, solver=Heun())(2, torch.float32, 0) @ single
    assert {moved.logvolume.dtype, moved.deficit.dtype} == {torch.float32}


def test_samples_at_rest_have_volume_one():
    samples = Samples(cloud(5, 2))
    assert torch.equal(samples.volume, torch.zeros(5, dtype=F64))
    moved = Affine(2 * torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64)) @ samples
    assert distance(moved.logvolume, torch.full((5,), 2 * math.log(2), dtype=F64)) < 1e-14
    assert distance(samples.measure().weights, torch.full((5,), 0.2, dtype=F64)) < 1e-16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logvolume": torch.zeros(4)}, r"one log-volume per point, shape \(5,\), and got \(4,\)"),
        ({"logvolume": torch.zeros(5, 1)}, "one log-volume per point"),
        ({"floor": -0.1}, "floor from 0 to less than 1, and got -0.1"),
        ({"floor": 1.0}, "floor from 0 to less than 1"),
        ({"witnesses": torch.zeros(3, 3)}, "witnesses in the space of the points, of 2 dimensions, and got 3"),
        ({"witnesses": torch.full((3, 2), torch.nan)}, "finite positions"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Samples(cloud(5, 2), **options)


# ---- maps that never fold


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("size", [1e-20, 1e-3, 0.6, 1e3, 1e20])
def test_affine_maps_change_volumes_as_they_do_in_many_dimensions(size, dtype):
    """Neither does a determinant that underflows count as a fold, nor one below the floor as one that needs a price."""
    x, zero = cloud(5, 20).to(dtype), torch.zeros(20, dtype=dtype)
    log = torch.tensor(size, dtype=dtype).double().log()
    maps = [
        Affine(size * torch.eye(20, dtype=dtype), zero),
        LearnedAffine(20, matrix=math.log(size) * torch.eye(20, dtype=dtype)),
    ]
    for phi in (*maps, zoo.Inverse(zoo.Inverse(maps[0])), Compose([maps[0], maps[1].rescaled(2.0, zero)])):
        times = 2 if isinstance(phi, Compose) else 1
        if times == 2 and size in (1e-20, 1e20):
            continue  # twice that is no number in float32
        expected = (20 * times * log).to(dtype).expand(5)
        for floor in (0.0, 0.2):
            moved = phi @ Samples(x, floor=floor, witnesses=x[:2])
            torch.testing.assert_close(moved.logvolume, expected)
            torch.testing.assert_close(moved.witnesses, phi(x[:2]))
            assert moved.deficit == 0 if floor else moved.deficit is None
        torch.testing.assert_close(phi.with_logdet(x)[1], expected)
