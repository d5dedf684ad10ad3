"""What every diffeomorphism is: a map with its inverse, its derivative, its path and its energy, in any units."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from diffeo.core import Diffeo, Field, Inverse, Kernel, Solver
from diffeo.grid import Grid
from tests import zoo
from tests.oracles import cloud, distance, like, pointwise_jacobian, relative, seeds, slope

F64 = torch.float64
few = settings(max_examples=2)
diffeos = pytest.mark.parametrize(
    ("entry", "d"),
    zoo.plane_first(zoo.each(zoo.DIFFEOS)),
    ids=str,
)
planar = pytest.mark.parametrize("entry", zoo.basic_first(zoo.DIFFEOS), ids=str)


def bound(entry, exact):
    """The tolerance of an entry: steps that adapt depend on what is asked for."""
    return entry.inexact or exact


# ---- the map and its inverse


@diffeos
@few
@given(seed=seeds)
def test_the_inverse_undoes_the_map(entry, d, seed):
    phi, x = entry(d, seed=seed % 100), cloud(20, d, seed=seed)
    with torch.no_grad():
        assert distance(phi.inverse(phi(x)), x) < bound(entry, 1e-10)
        assert distance(phi(phi.inverse(x)), x) < bound(entry, 1e-10)


@diffeos
def test_the_inverse_undoes_the_map_in_float32(entry, d):
    phi, x = entry(d, torch.float32), cloud(20, d, torch.float32)
    with torch.no_grad():
        there_and_back = phi.inverse(phi(x))
    assert there_and_back.dtype == torch.float32
    assert distance(there_and_back, x) < 1e-4


@diffeos
def test_every_point_is_mapped_alone(entry, d):
    phi, x = entry(d), cloud(9, d)
    assert distance(phi(x[2:5]), phi(x)[2:5]) < bound(entry, 1e-13)
    assert distance(phi.inverse(x[2:5]), phi.inverse(x)[2:5]) < bound(entry, 1e-12)


@diffeos
def test_no_points_have_no_image(entry, d):
    phi, nowhere = entry(d), cloud(9, d)[:0]
    assert phi(nowhere).shape == (0, d)
    assert phi.inverse(nowhere).shape == (0, d)
    assert [t.shape for t in phi.with_logdet(nowhere)] == [(0, d), (0,)]
    assert [t.shape for t in phi.with_jacobian(nowhere)] == [(0, d), (0, d, d)]
    assert phi.path(nowhere)[-1].shape == (0, d)


@diffeos
def test_the_map_is_a_function(entry, d):
    """The same points give the same image to the last bit, are not changed, and memory layout does not matter."""
    phi, x = entry(d), cloud(9, d)
    kept = x.clone()
    first = phi(x)
    assert torch.equal(phi(x), first)
    assert torch.equal(x, kept)
    assert distance(phi(torch.stack([x, x], 2)[..., 0]), first) < 1e-14
    for unrecorded in (
        torch.no_grad,
        torch.inference_mode,
    ):  # where gradients are recorded, inverses end with a step more
        with unrecorded():
            assert distance(phi(x), first) < 1e-13


# ---- its derivative


@diffeos
@few
@given(seed=seeds)
def test_the_jacobian_is_that_of_the_computed_map(entry, d, seed):
    phi, x = entry(d, seed=seed % 100), cloud(6, d, seed=seed)
    moved, jacobian = phi.with_jacobian(x)
    assert distance(moved, phi(x)) < bound(entry, 1e-13)
    assert relative(jacobian, pointwise_jacobian(phi, x)) < 10 * bound(entry, 1e-11)


@diffeos
@few
@given(seed=seeds)
def test_the_log_determinant_is_that_of_the_computed_map(entry, d, seed):
    phi, x = entry(d, seed=seed % 100), cloud(6, d, seed=seed)
    moved, logdet = phi.with_logdet(x)
    assert distance(moved, phi(x)) < bound(entry, 1e-13)
    assert distance(logdet, torch.linalg.det(pointwise_jacobian(phi, x)).log()) < 10 * bound(entry, 1e-10)


@planar
def test_the_determinant_is_the_ratio_of_areas(entry):
    """The image of a small polygon has det Dφ times its area."""
    phi, h = entry(2), 1e-3
    angles = torch.linspace(0, 2 * torch.pi, 33, dtype=torch.float64)[:-1]
    center = cloud(1, 2)
    ring = center + h * torch.stack([angles.cos(), angles.sin()], 1)

    def area(x: Tensor) -> Tensor:
        y = x.roll(-1, 0)
        return 0.5 * (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum()

    with torch.no_grad():
        ratio = area(phi(ring) - center) / area(ring - center)
        expected = phi.with_logdet(center)[1].exp()
    assert float(ratio) == pytest.approx(float(expected), rel=1e-4 if not entry.inexact else 1e-2)


@planar
def test_the_inverse_has_the_inverse_jacobian(entry):
    phi, x = entry(2), cloud(6, 2)
    with torch.no_grad():
        moved, jacobian = phi.with_jacobian(x)
    back = pointwise_jacobian(phi.inverse, moved)
    assert relative(back @ jacobian, torch.eye(2, dtype=torch.float64).expand(6, 2, 2)) < 10 * bound(entry, 1e-9)


# ---- its path and its energy


@diffeos
def test_the_path_leads_from_x_to_its_image(entry, d):
    phi, x = entry(d), cloud(9, d)
    path = phi.path(x)
    assert torch.equal(path[0], x)
    assert distance(path[-1], phi(x)) < bound(entry, 1e-13)
    assert all(step.shape == x.shape for step in path)


@diffeos
def test_a_path_has_one_position_per_step(entry, d):
    phi = entry(d)
    steps = getattr(phi, "steps", None)
    if steps is not None:
        assert len(phi.path(cloud(9, d))) == steps + 1


@diffeos
@few
@given(seed=seeds)
def test_energies_are_not_negative(entry, d, seed):
    energy = entry(d, seed=seed % 1000).energy()
    assert energy.shape == ()
    assert energy >= 0
    assert bool(energy > 0) == (entry.name not in ("Affine", "LearnedAffine", "Bounded"))


@diffeos
def test_without_velocity_there_is_no_motion_and_no_energy(entry, d):
    phi, x = entry(d), cloud(9, d)
    with torch.no_grad():
        for p in phi.parameters():
            p.zero_()
    if entry.name in ("Affine", "Bounded", "Compose", "Warp", "GridDescent"):
        return  # these have no parameters
    rounding = 1e-14 if entry.inexact else 0.0
    assert phi.energy() == 0
    assert distance(phi(x), x) <= rounding
    assert distance(phi.inverse(x), x) <= rounding
    assert phi.with_logdet(x)[1].abs().max() <= rounding


# ---- gradients


@diffeos
@pytest.mark.slow
def test_gradients_by_finite_differences(entry, d):
    """In the parameters and in the points, of φ(x), φ⁻¹(x), log det Dφ(x), Dφ(x) and the energy."""
    phi, x = entry(d), cloud(5, d)
    for p in phi.parameters():
        p.requires_grad_()
    unknowns = [*phi.parameters(), x.requires_grad_()]
    start = [p.detach().clone() for p in unknowns]
    directions = [like(p, seed=50 + k) for k, p in enumerate(start)]
    weights = cloud(5, d, seed=60)
    functionals = {
        "φ(x)": lambda: (weights * phi(x)).sum(),
        "φ⁻¹(x)": lambda: (weights * phi.inverse(x)).sum(),
        "log det": lambda: (weights[:, 0] * phi.with_logdet(x)[1]).sum(),
        "Dφ": lambda: (weights[:, :, None] * phi.with_jacobian(x)[1]).sum(),
        "energy": phi.energy,
    }
    for name, functional in functionals.items():

        def along(s, functional=functional):
            with torch.no_grad():
                for p, p0, v in zip(unknowns, start, directions, strict=True):
                    p.copy_(p0 + s * v)
                return float(functional())

        expected = slope(along, entry.smooth)
        along(0.0)
        value = functional()
        if not value.requires_grad:
            assert abs(expected) < 1e-12, name
            continue
        gradients = torch.autograd.grad(value, unknowns, allow_unused=True)
        found = sum(float((g * v).sum()) for g, v in zip(gradients, directions, strict=True) if g is not None)
        tolerance = 1e-2 if entry.inexact else 1e-6
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), name


# ---- other units, other precisions, other places in memory


@diffeos
@few
@given(seed=seeds)
@pytest.mark.slow
def test_other_units_change_the_units_only(entry, d, seed):
    """φ in other units is s ∘ φ ∘ s⁻¹, its Jacobian is the same, and its energy is in units squared."""
    phi, x, shift = entry(d, seed=seed % 100), cloud(9, d, seed=seed), 3 + cloud(1, d, seed=seed + 1)[0]
    for factor in (0.2, 25.0):
        other = phi.rescaled(factor, shift)
        assert type(other) is type(phi)
        moved, logdet = other.with_logdet(factor * x + shift)
        assert distance(moved, factor * phi(x) + shift) < factor * bound(entry, 1e-10)
        assert distance(logdet, phi.with_logdet(x)[1]) < 100 * bound(entry, 1e-11)
        torch.testing.assert_close(other.energy(), factor**2 * phi.energy())


def plain(value) -> bool:
    """Whether a file format can be expected to know the value."""
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    return value is None or isinstance(value, (Tensor, bool, int, float, str, Kernel, Field, Solver, Diffeo, Grid))


@diffeos
def test_arguments_build_the_map_again(entry, d):
    phi, x = entry(d), cloud(9, d)
    arguments = phi.arguments()
    again = type(phi)(**arguments)
    assert distance(again(x), phi(x)) < 1e-12
    torch.testing.assert_close(again.energy(), phi.energy())
    assert all(map(plain, arguments.values()))
    assert not any(isinstance(v, Tensor) and v.requires_grad for v in arguments.values())


@diffeos
def test_a_state_dict_carries_the_map(entry, d):
    phi, other, x = entry(d, seed=1), entry(d, seed=2), cloud(9, d)
    assert distance(other(x), phi(x)) > 1e-2
    other.load_state_dict(phi.state_dict())
    assert distance(other(x), phi(x)) < 1e-12
    torch.testing.assert_close(other.energy(), phi.energy())


@diffeos
def test_copies_are_independent(entry, d):
    phi, x = entry(d), cloud(9, d)
    before = phi(x)
    for other in (copy.deepcopy(phi), pickle.loads(pickle.dumps(phi))):
        assert torch.equal(other(x), before)
        with torch.no_grad():
            for t in (*other.parameters(), *other.buffers()):
                t.mul_(1.1)
        assert not torch.equal(other(x), before)
    assert torch.equal(phi(x), before)


@diffeos
def test_precision_follows(entry, d):
    exact, x = entry(d), cloud(9, d)
    references = (exact(x), exact.inverse(x), *exact.with_logdet(x), *exact.with_jacobian(x))
    for phi in (entry(d, torch.float32), entry(d).to(torch.float32)):
        values = (phi(x.float()), phi.inverse(x.float()), *phi.with_logdet(x.float()), *phi.with_jacobian(x.float()))
        for value, reference in zip(values, references, strict=True):
            assert value.dtype == torch.float32
            assert distance(value, reference) < 2e-3
        assert phi.energy().dtype == torch.float32
        assert phi.path(x.float())[-1].dtype == torch.float32
    there_and_back = entry(d).to(torch.float32).to(torch.float64)
    assert distance(there_and_back(x), exact(x)) < 2e-3


@planar
def test_positions_of_another_dimension_or_precision_are_refused(entry):
    if entry.name == "Affine":
        return  # left to torch, which refuses both
    for x in (cloud(9, 3), cloud(9, 1), cloud(9, 2, torch.float32)):
        with pytest.raises((ValueError, RuntimeError)):
            entry(2)(x)


# ---- composition and action


@planar
def test_grids_are_deformed_as_their_points_are(entry):
    """φ(Ai) = A(i + u(i)); the inverse is pulled back by what deforms, and the other way round."""
    phi, grid = entry(2), zoo.placed(2, points=6, step=0.4, seed=5)
    with torch.no_grad():
        u = phi.deformation(grid)
        assert u.shape == (2, 6, 6)
        assert distance(grid.displaced(u), phi(grid.points(u))) < bound(entry, 1e-12)
        assert torch.equal(Inverse(phi).pullback(grid), u)
        assert distance(Inverse(phi).deformation(grid), phi.pullback(grid)) < bound(entry, 1e-12)


@planar
def test_composition_is_composition(entry):
    phi, psi, x = entry(2, seed=1), zoo.flow(zoo.GAUSSIAN, 2)(2, F64, 3), cloud(9, 2)
    both = phi @ psi
    assert distance(both(x), phi(psi(x))) < bound(entry, 1e-13)
    assert distance(both.inverse(x), psi.inverse(phi.inverse(x))) < bound(entry, 1e-12)
    logdet = phi.with_logdet(psi(x))[1] + psi.with_logdet(x)[1]
    assert distance(both.with_logdet(x)[1], logdet) < 10 * bound(entry, 1e-13)
    torch.testing.assert_close(both.energy(), phi.energy() + psi.energy())
    assert len(both.path(x)) == len(phi.path(x)) + len(psi.path(x)) - 1


@planar
def test_shapes_are_carried_by_their_points(entry):
    phi, shape = entry(2), zoo.CURVE(2)
    moved = phi @ shape
    assert type(moved) is type(shape)
    assert distance(moved.x, phi(shape.x)) < 1e-14
    assert torch.equal(moved.edges, shape.edges)


@planar
def test_only_maps_and_shapes_are_acted_on(entry):
    with pytest.raises(TypeError):
        entry(2) @ 3


@pytest.mark.parametrize("entry", [*zoo.DIFFEOS, *zoo.FIELDS], ids=repr)
def test_units_change_by_a_shift_of_any_precision(entry):
    """The result has the precision of what is changed, and not of the shift."""
    d = 2 if 2 in entry.dimensions else entry.dimensions[-1]
    thing = entry(d, torch.float32, 0)
    dim = getattr(thing, "dim", d)
    for dtype in (torch.float32, torch.float64):
        changed = thing.rescaled(2.0, torch.ones(dim, dtype=dtype))
        tensors = (*changed.parameters(), *changed.buffers())
        assert {t.dtype for t in tensors if t.is_floating_point()} <= {torch.float32}
        assert changed(2 * torch.full((3, dim), 0.1) + 1).dtype == torch.float32
