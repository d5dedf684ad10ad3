"""Descent on a grid: every layer is the steepest descent of the loss in V, in space, whatever the grid."""

import dataclasses
import math
from functools import lru_cache

import pytest
import torch

from diffeo.backends.grids import loops_for
from diffeo.core import Loss
from diffeo.fit import fit
from diffeo.flows import Descent, GridDescent
from diffeo.flows.grid_descent import pin
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel, Matern52Kernel
from diffeo.losses import CompoundLoss, LandmarkLoss, LNCCLoss, MILoss, SSDLoss
from diffeo.sampling import sample, warp
from diffeo.shapes import Compound, Image, Points
from tests import zoo
from tests.flows.grown import KERNEL, in_space, oblique, pair_on, still
from tests.oracles import cloud, distance, relative, rotation

F64 = torch.float64
GRIDS = [oblique(30), oblique(12, 17), oblique(8, 7, 11), oblique(9, 1, 8)]
grids = pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: str(grid.shape))


def prepared(shape):
    """The shape with its points well inside of the zoo's grid, and images that are 0 outside of it."""
    if isinstance(shape, Compound):
        return Compound([prepared(part) for part in shape.parts])
    if isinstance(shape, Image):
        return dataclasses.replace(shape, background=torch.zeros(len(shape.values), dtype=F64))
    return shape.with_positions(0.5 * shape.x)


def now(phi, pair, loss):
    """The loss where the map is."""
    return float(loss(phi @ pair[0], pair[1]).detach())


# ---- one layer


@pytest.mark.parametrize(("entry", "shape", "d"), [e for e in zoo.each_loss() if e[0].name != "FacingLoss"], ids=str)
@pytest.mark.slow
def test_a_layer_lowers_the_loss(entry, shape, d):
    """`FacingLoss` compares a shape with what it was, and is 0."""
    source, target = prepared(shape(d, F64, 1)), prepared(shape(d, F64, 2))
    loss, phi = entry(source), still(zoo.grid(d), step=0.03, relaxation=0.0)
    before = now(phi, (source, target), loss)
    assert phi.grow([(source, target)], loss)
    assert now(phi, (source, target), loss) < before
    assert phi.grown == 1


def shifted(shape, delta):
    """The shape after id − δ, to first order: images are read at i + δ(i), points move by −δ, interpolated."""
    if isinstance(shape, Compound):
        return Compound([shifted(part, delta) for part in shape.parts])
    if isinstance(shape, Image):
        still = torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64)
        return dataclasses.replace(shape, values=warp(shape.values, *still, delta))
    there = sample(delta, zoo.grid(2).to_index(shape.x).T)
    return shape.with_positions(shape.x - there.T @ zoo.grid(2).linear.T)


@lru_cache
def problem(entry):
    """Source, target, loss, and the derivatives of the loss in a layer id + v for every v, by finite differences.

    At whole indices, interpolation has kinks: central differences take the mean of both sides, as those of images do.
    """
    source, target = prepared(entry(2, F64, 1)), prepared(entry(2, F64, 2))
    loss = zoo.each_part(source) if entry is zoo.COMPOUND else SSDLoss() + 0.5 * LNCCLoss(1) + MILoss(6)
    grid, h, slopes = zoo.grid(2), 1e-5, []
    for e in torch.eye(2 * grid.size, dtype=F64).reshape(-1, 2, *grid.shape):
        ahead, behind = (float(loss(shifted(source, -s * e), target)) for s in (h, -h))
        slopes.append((ahead - behind) / (2 * h))
    return source, target, loss, torch.tensor(slopes, dtype=F64).reshape(2, *grid.shape)


def direction(kernel, grid, f):
    """K applied to derivatives in space, in steps of the grid; f are those in steps. And ⟨f, Kf⟩.

    Nothing pulls at the border, and nothing moves it.
    """
    inverse, x = torch.linalg.inv(grid.linear), grid.points(f)
    momenta = pin(f.clone()).flatten(1).T @ inverse
    velocity = kernel(x) @ momenta
    return pin((velocity @ inverse.T).T.reshape(f.shape).contiguous()), float((momenta * velocity).sum())


slow = [pytest.param(entry, marks=pytest.mark.slow) for entry in (zoo.COLORS, zoo.COMPOUND)]


@pytest.mark.parametrize("entry", [zoo.IMAGE, *slow], ids=str)
@pytest.mark.parametrize("kernel", [GaussianKernel(0.2), GaussianKernel(1.0), Matern52Kernel(0.5)], ids=zoo.named)
@pytest.mark.slow
def test_the_direction_is_the_steepest_in_V(entry, kernel):
    """−K∇D, of derivatives that were found without the code that pulls."""
    source, target, loss, f = problem(entry)
    phi = still(zoo.grid(2), kernel, relaxation=0.0)
    assert phi.grow([(source, target)], loss)
    expected, square = direction(kernel, phi.grid, f)
    assert distance(phi.u / phi.u.abs().max(), expected / expected.abs().max()) < 0.02
    ratio = float(phi.u.abs().max() / expected.abs().max())
    assert float(phi.energy()) == pytest.approx(0.5 * ratio**2 * square, rel=0.03)


def test_points_on_the_grid_move_as_particles_do():
    """The direction is that of `Descent`, seen at all points of the grid."""
    grid = oblique(17, 14)
    x = grid.box((4, 4), (12, 10)).points(torch.empty((), dtype=F64))[::3]
    pair, loss = (Points(x), Points(x + cloud(len(x), 2, size=0.2))), LandmarkLoss()
    phi, particles = still(grid, relaxation=0.0), Descent(KERNEL)
    assert phi.grow([pair], loss)
    assert particles.grow([pair], loss)
    expected = -particles.layer_fields()[0](grid.points(x))  # φ⁻¹ goes back
    expected = in_space(grid, pin((expected @ torch.linalg.inv(grid.linear).T).T.reshape(2, *grid.shape).contiguous()))
    found = in_space(grid, phi.u)
    assert distance(found / found.abs().max(), expected / expected.abs().max()) < 0.015


@grids
@pytest.mark.parametrize("step", [0.1, 0.5])
def test_the_largest_displacement_is_the_step(grid, step):
    """In units of the shortest step between points, of which an axis of a single point has none."""
    phi = still(grid, step=step, relaxation=0.0)
    assert phi.grow([pair_on(grid)], SSDLoss())
    shortest = min(s for s, n in zip(grid.spacing, grid.shape, strict=True) if n > 1)
    assert float(in_space(grid, phi.u).norm(dim=1).max()) == pytest.approx(step * shortest, rel=1e-9)


def test_several_pairs_grow_one_map():
    """Their pulls are added."""
    grid, loss = oblique(14, 12), SSDLoss()
    pairs = [pair_on(grid), pair_on(grid, shift=-0.1)]
    both, weighted = still(grid), still(grid)
    assert both.grow(pairs, loss)
    compound = tuple(Compound(parts) for parts in zip(*pairs, strict=True))
    assert weighted.grow([compound], CompoundLoss([loss, loss]))
    assert distance(both.u, weighted.u) < 1e-13


# ---- many layers


@grids
def test_the_border_stays(grid):
    phi = still(grid, step=0.5)
    for _ in range(4):
        assert phi.grow([pair_on(grid)], SSDLoss())
    for axis, n in enumerate(grid.shape, start=1):
        if n > 1:
            assert not phi.u.select(axis, 0).any()
            assert not phi.u.select(axis, -1).any()
    far = grid.origin + 50 * cloud(6, grid.dim)
    assert torch.equal(phi(far), far)


@pytest.mark.parametrize("loss", [SSDLoss(), LNCCLoss(2), MILoss(12)], ids=repr)
def test_images_are_registered(loss):
    """And the map does not fold."""
    grid = oblique(40, 44)
    pair, phi = pair_on(grid, shift=0.25), still(grid, GaussianKernel(0.2))
    history = fit(phi, [pair], loss, weight=0.0, max_iterations=30, tolerance=0.0)
    assert min(r.data for r in history.records) < 0.1 * history[0].data
    assert float(loops_for(phi.u).corner_determinants(phi.u).min()) > 0.1
    x = cloud(50, 2)
    assert distance(phi.inverse(phi(x)), x) < 1e-12
    best = min(history.records, key=lambda record: record.data)
    assert now(phi, pair, loss) == pytest.approx(best.data, abs=1e-12)
    assert float(phi.energy()) == best.energy > 0


def test_the_energy_is_that_of_layers_at_equal_times():
    """(L/2) Σ ‖v_k‖²_V: that of the first layer is checked above, and layers of a fixed step cost about the same."""
    grid, energies = oblique(30, 28), []
    phi = still(grid, step=0.1, relaxation=0.0)
    assert phi.energy() == 0
    for _ in range(4):
        phi.grow([pair_on(grid)], SSDLoss())
        energies.append(float(phi.energy()))
    for layers, energy in enumerate(energies, start=1):
        assert energy == pytest.approx(layers**2 * energies[0], rel=0.1)


# ---- space


def stored(image, values, change):
    """The same image, its array stored in another way and the header saying so."""
    values = values.contiguous()
    return Image(values, Grid(values.shape[1:], image.grid.affine @ change), background=image.background)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("what", ["flip", "swap", "flip and swap"])
def test_the_order_of_axes_is_a_matter_of_storage(d, what):
    grid = oblique(*(14, 12, 9)[:d])
    change, eye = torch.eye(d + 1, dtype=F64), torch.eye(d + 1, dtype=F64)
    flip, swap = eye.clone(), eye[[1, 0, *range(2, d + 1)]]
    flip[0, 0], flip[0, d] = -1, grid.shape[0] - 1
    if "flip" in what:
        change = change @ flip
    if "swap" in what:
        change = change @ swap
    pair = pair_on(grid)
    other = []
    for image in pair:
        values = image.values.flip(1) if "flip" in what else image.values
        other.append(stored(image, values.transpose(1, 2) if "swap" in what else values, change))
    loss = SSDLoss() + 0.3 * LNCCLoss(1)
    first, second = still(grid), still(other[0].grid)
    for _ in range(3):
        assert first.grow([pair], loss)
        assert second.grow([tuple(other)], loss)
    x = cloud(30, d)
    assert distance(first(x), x) > 0.1
    assert distance(second(x), first(x)) < 1e-11
    assert float(second.energy()) == pytest.approx(float(first.energy()))


@pytest.mark.parametrize("factor", [1.0, 0.1, 25.0])
def test_space_may_be_turned_and_measured_in_other_units(factor):
    grid = oblique(14, 12)
    turn, shift = rotation(2, seed=4) if factor == 1 else torch.eye(2, dtype=F64), cloud(1, 2, seed=5)[0]
    pair, loss, x = pair_on(grid), SSDLoss(), cloud(30, 2)
    moved = tuple(image.moved(factor * turn, shift) for image in pair)
    moved = tuple(dataclasses.replace(image, canvas=None) for image in moved)
    first, second = still(grid), still(moved[0].grid, KERNEL.rescaled(factor))
    for _ in range(3):
        assert first.grow([pair], loss)
        assert second.grow([moved], loss)
    assert distance(second(factor * x @ turn.T + shift), factor * first(x) @ turn.T + shift) < 1e-11 * max(1, factor)
    assert float(second.energy()) == pytest.approx(factor**2 * float(first.energy()))
    if factor != 1:
        assert distance(first.rescaled(factor, shift)(factor * x + shift), second(factor * x + shift)) < 1e-10


def test_the_gradient_is_physical():
    """Sampled more densely along one axis, the same images move in the same direction, as far as they are resolved."""
    even = oblique(33, 33)
    dense = Grid((33, 65), even.affine @ torch.diag(torch.tensor([1, 0.5, 1], dtype=F64)))
    found = []
    for grid in (even, dense):
        phi = still(grid, relaxation=0.0)
        assert phi.grow([pair_on(grid)], SSDLoss())
        v = in_space(grid, phi.u).reshape(*grid.shape, 2)[:, :: grid.shape[1] // 32]
        found.append(v / v.norm(dim=-1).max())
    assert relative(*found) < 0.03


def test_a_sheared_grid_is_no_different():
    """The same images on a grid whose axes are not at right angles."""
    even = oblique(41, 41, size=4.0)
    shear = torch.tensor([[1, 0.3, -6], [0, 1, 0], [0, 0, 1]], dtype=F64)
    found, x = [], 0.5 * cloud(40, 2)
    for grid in (even, Grid((41, 41), even.affine @ shear)):
        phi = still(grid, relaxation=0.0)
        assert phi.grow([pair_on(grid)], SSDLoss())
        v = phi.inverse(x) - x
        found.append(v / v.norm(dim=1).max())
    assert relative(*found) < 0.05


# ---- other grids


def test_on_a_finer_grid_it_is_the_same_map():
    grid = oblique(12, 14)
    phi, x = still(grid), cloud(40, 2)
    for _ in range(3):
        phi.grow([pair_on(grid)], SSDLoss())
    fine = Grid((23, 27), grid.affine @ torch.diag(torch.tensor([0.5, 0.5, 1], dtype=F64)))
    refined = phi.on(fine, GaussianKernel(0.1))
    assert distance(refined.inverse(x), phi.inverse(x)) < 1e-13
    assert distance(refined(x), phi(x)) < 1e-12
    assert refined.kernel == GaussianKernel(0.1)
    assert (refined.step, refined.relaxation, refined.grown) == (phi.step, phi.relaxation, phi.grown)
    assert float(refined.energy()) == float(phi.energy())
    assert refined.u.dtype == F64
    assert refined.grow([pair_on(fine)], SSDLoss())
    assert phi.grown == 3
    back = refined.on(grid, KERNEL)
    assert back.grid is grid


def test_on_a_grid_beyond_its_own_nothing_moves_there():
    grid = oblique(12, 14)
    phi = still(grid)
    phi.grow([pair_on(grid)], SSDLoss())
    wide = phi.on(grid.box((-4, -3), (15, 16)), KERNEL)
    assert distance(wide.u[:, 4:16, 3:17], phi.u) < 1e-13
    assert float(wide.u.abs().sum()) == pytest.approx(float(phi.u.abs().sum()))


def test_a_repaired_map_is_the_same_where_it_was_good():
    grid = oblique(20, 18)
    u = pin(0.1 * cloud(2, 20 * 18).reshape(2, 20, 18))
    u[0, 2, 9] += 2.5
    phi = GridDescent(grid, KERNEL, u, squares=0.2, layers=2)
    loops = loops_for(u)
    assert float(loops.corner_determinants(u).min()) < 0
    better = phi.repaired(0.1)
    assert float(loops.corner_determinants(better.u).min()) >= 0.1
    assert torch.equal(better.u[:, 12:], u[:, 12:])
    assert torch.equal(better.u, pin(better.u.clone()))
    assert float(better.energy()) == float(phi.energy())
    assert torch.equal(phi.u, u)


# ---- what cannot grow


class NotANumber(Loss):
    """NaN, and so is its gradient."""

    def forward(self, moved, target):
        return (moved.values * math.nan).sum()

    def rescaled(self, factor):
        return self


class Nothing(Loss):
    """0, and nothing depends on the shape."""

    def forward(self, moved, target):
        return torch.zeros((), requires_grad=True) + 0

    def rescaled(self, factor):
        return self


def test_a_loss_that_is_not_a_number_leaves_the_map_as_it_is():
    grid = oblique(14, 12)
    phi = still(grid)
    phi.grow([pair_on(grid)], SSDLoss())
    kept, energy = phi.u.clone(), float(phi.energy())
    assert not phi.grow([pair_on(grid)], NotANumber())
    assert not phi.grow([pair_on(grid), pair_on(grid)], SSDLoss() + NotANumber())
    assert torch.equal(phi.u, kept)
    assert (float(phi.energy()), phi.grown) == (energy, 1)


@pytest.mark.parametrize("entry", [zoo.IMAGE, zoo.POINTS, zoo.CURVE, zoo.COMPOUND], ids=str)
def test_where_nothing_can_be_gained_nothing_moves(entry):
    """Neither where the loss is 0 nor where it is a rounding error, whose gradient points anywhere."""
    shape = entry(2, F64, 1)
    parts = CompoundLoss([SSDLoss(), LandmarkLoss(), LandmarkLoss()])
    loss = {"Image": SSDLoss(), "Compound": parts}.get(entry.name, LandmarkLoss())
    phi, x = still(zoo.grid(2)), cloud(20, 2)
    for _ in range(3):
        phi.grow([(shape, shape)], loss)
    assert distance(phi(x), x) < 1e-6
    assert float(phi.energy()) < 1e-9
    assert not still(zoo.grid(2)).grow([(shape, shape)], 0.5 * Nothing())


def test_the_last_layers_promise_what_there_is_to_gain():
    """Two points that can be brought together exactly are: steps get shorter as they meet."""
    grid = oblique(15, 15)
    pair, loss = (Points(torch.zeros(1, 2, dtype=F64)), Points(torch.full((1, 2), 0.1, dtype=F64))), LandmarkLoss()
    phi, values = still(grid, step=0.4, relaxation=0.0), []
    for _ in range(12):
        assert phi.grow([pair], loss)
        values.append(now(phi, pair, loss))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-4 * values[0]


def test_points_beyond_the_grid_pull_at_nothing():
    phi = still(oblique(14, 12))
    far = Points(20 + cloud(5, 2))
    assert not phi.grow([(far, Points(far.x + 1))], LandmarkLoss())


def test_images_on_other_grids_are_refused():
    grid, other = oblique(14, 12), oblique(13, 12)
    with pytest.raises(ValueError, match=r"can be grown for images on the grid of the map only: register `source\.on"):
        still(grid).grow([pair_on(other)], SSDLoss())
    source = pair_on(other)[0].on(grid)
    assert still(grid).grow([(source, pair_on(grid)[1])], SSDLoss())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step": 0.0}, "a positive step and a relaxation that is 0 or positive, and got 0.0 and 0.32"),
        ({"step": math.nan}, "and got nan"),
        ({"relaxation": -0.1}, "and got 0.5 and -0.1"),
        ({"displacement": torch.zeros(2, 12, 14)}, r"expects a displacement \(2, 14, 12\), and got \(2, 12, 14\)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        GridDescent(oblique(14, 12), KERNEL, **options)
