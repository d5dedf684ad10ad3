"""Flows along fields on grids: how they carry images, what they remember for a gradient, and their exponentials."""

import itertools
import math

import pytest
import torch

from diffeo.core import Inverse, objective
from diffeo.fields import GridField, KernelField
from diffeo.flows import Exponential, Flow
from diffeo.flows.layers import Layer
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel, Matern52Kernel
from diffeo.losses import SSDLoss
from diffeo.shapes import Image
from diffeo.solvers import RK4, Euler, Midpoint
from tests import zoo
from tests.oracles import cloud, distance, like, relative, slope

F64 = torch.float64
FLOWS = [
    entry for entry in zoo.DIFFEOS if "Flow" in entry.name and "Grid" in entry.name and "Inverse" not in entry.name
]
flows = pytest.mark.parametrize(("entry", "d"), zoo.each(FLOWS), ids=str)


def canvas(d):
    """A grid of another origin, other steps and another direction than that of the fields."""
    return zoo.placed(d, points=8, step=0.37, seed=5)


def blobs(grid, seed=0):
    """A smooth image."""
    x = grid.points(torch.empty((), dtype=F64))
    distances = (x[:, None] - cloud(5, grid.dim, seed=seed)).square().sum(2)
    return Image(torch.exp(-distances / 0.3).sum(1).reshape(1, *grid.shape), grid)


# ---- images along flows


@flows
def test_grids_move_as_their_points_do(entry, d):
    phi, grid = entry(d), canvas(d)
    u = phi.deformation(grid)
    assert u.shape == (d, *grid.shape)
    assert distance(grid.displaced(u), phi(grid.points(u))) < 1e-12
    with torch.no_grad():
        assert distance(phi.deformation(grid), u) < 1e-14


@flows
def test_they_have_the_gradients_of_their_points(entry, d):
    phi, grid = entry(d), canvas(d)
    parameters = list(phi.parameters())
    u = phi.deformation(grid)
    weights = like(u, seed=3)
    found = torch.autograd.grad((weights * u).sum(), parameters)
    moved = (phi(grid.points(u)) - grid.points(u)) @ torch.linalg.inv(grid.linear).T
    expected = torch.autograd.grad((weights.flatten(1).T * moved).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@flows
def test_images_need_no_inverse_of_the_inverse(entry, d, monkeypatch):
    phi, grid = entry(d), canvas(d)
    back = Inverse(phi)
    expected = back.inverse(grid.points(torch.empty((), dtype=F64)))
    monkeypatch.setattr(Layer, "inverse", lambda *_: pytest.fail("a layer was inverted"))
    assert distance(grid.displaced(back.pullback(grid)), expected) < 1e-12


@flows
def test_pulling_back_and_deforming_are_inverse(entry, d):
    phi, grid = entry(d), canvas(d)
    with torch.no_grad():
        there = grid.displaced(phi.deformation(grid))
        assert distance(phi.inverse(there), grid.points(there)) < 1e-10
        u = phi.pullback(grid)
        assert distance(phi(grid.displaced(u)), grid.points(u)) < 1e-10
        assert torch.equal(Inverse(phi).deformation(grid), u)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("solver", [Euler(), Midpoint(), RK4()], ids=repr)
def test_the_gradient_of_a_registration_by_finite_differences(d, shared, solver):
    """λ · energy + SSD of images on different grids, in all coordinates of all fields."""
    fields = [zoo.grid_field(GaussianKernel(0.7), size=0.1)(d, F64, k) for k in range(1 if shared else 3)]
    phi = Inverse(Flow(fields, solver, steps=3, shared=shared))
    fixed, moving = blobs(canvas(d)), blobs(zoo.placed(d, points=10, step=0.31, seed=2), seed=1).on(canvas(d))
    parameters = list(phi.parameters())
    start, directions = (
        [p.detach().clone() for p in parameters],
        [like(p, seed=20 + k) for k, p in enumerate(parameters)],
    )

    def value():
        return objective(phi, [(moving, fixed)], SSDLoss(), 0.02).total

    def along(s):
        with torch.no_grad():
            for p, p0, v in zip(parameters, start, directions, strict=True):
                p.copy_(p0 + s * v)
            return float(value())

    expected = slope(along, 1e-7)  # so many points are at some distance from the kinks of what is interpolated
    along(0.0)
    gradients = torch.autograd.grad(value(), parameters)
    found = sum(float((g * v).sum()) for g, v in zip(gradients, directions, strict=True))
    assert found == pytest.approx(expected, rel=1e-6)


# ---- memory


def remembered(function):
    """Bytes of what is kept for the gradient, every storage once, those of parameters left out."""
    kept, held = {}, []

    def pack(t):
        if not isinstance(t, torch.nn.Parameter):
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        held.append(t)  # so that no storage is used twice
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = function()
    return sum(kept.values()), result


@pytest.mark.parametrize("solver", [Euler(), RK4()], ids=repr)
@pytest.mark.parametrize("shared", [False, True])
def test_one_displacement_per_layer_is_remembered(solver, shared):
    grid, sizes = canvas(2), []
    for layers in (4, 8):
        phi = Inverse(zoo.grid_flow(GaussianKernel(0.7), layers, shared=shared, solver=solver)(2, F64, 0))
        size, u = remembered(lambda phi=phi: phi.pullback(grid))
        sizes.append(size)
    displacement = u.numel() * u.element_size()
    assert sizes[1] - sizes[0] == 4 * displacement
    assert sizes[1] <= 8 * displacement + shared * 10 * phi.phi.layer_fields()[0].samples().numel() * 8


# ---- what the maps are


@pytest.mark.parametrize("d", [1, 2, 3])
def test_beyond_the_box_nothing_moves(d):
    phi = FLOWS[1](d)
    corners = phi.layer_fields()[0].sampling_grid.points(torch.empty((), dtype=F64))
    center = corners.mean(0)
    outside = center + 1.01 * (corners - center).norm(dim=1).max() * torch.nn.functional.normalize(cloud(20, d), dim=1)
    assert torch.equal(phi(outside), outside)
    assert torch.equal(phi.inverse(outside), outside)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kernel", [GaussianKernel(0.8), Matern52Kernel(1.2)], ids=zoo.named)
def test_fields_are_those_of_particles(kernel, d):
    """v = Σ_j k(·, x_j) p_j, the x_j points of the grid far from its border: up to interpolation, of second order."""
    step, errors = 0.4, []
    grid = Grid((25,) * d, torch.diag(torch.tensor([step] * d + [1.0], dtype=F64)))
    p = torch.zeros(d, *grid.shape, dtype=F64)
    for k, vector in enumerate(cloud(2, d, seed=3)):
        p[(slice(None), *[12 + k] * d)] = vector
    centers = torch.tensor([[12 * step] * d, [13 * step] * d], dtype=F64)
    particles, x = KernelField(kernel, centers, cloud(2, d, seed=3), whiten=False), 5 + cloud(40, d, seed=4)
    for refine in (1, 2, 4):
        field = GridField(kernel, grid, torch.zeros_like(p), refine, padding=8.0)
        with torch.no_grad():
            field.coordinates.copy_(field.operator.crop(field.operator.root(p)))
        errors.append(relative(field(x), particles(x)))
        assert float(field.sqnorm().detach()) == pytest.approx(float(particles.sqnorm().detach()), rel=5e-3)
    assert errors[2] < 5e-3
    if kernel == GaussianKernel(0.8):
        assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.4)
        assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.4)


def test_a_refined_field_passes_through_the_same_samples():
    """And it is smoother: the largest jump of the slope from cell to cell goes down with the cells."""
    fields = [zoo.grid_field(GaussianKernel(0.7), refine=r)(2, F64, 0) for r in (1, 2, 4)]
    samples = [field.samples().detach() for field in fields]
    for r, fine in zip((2, 4), samples[1:], strict=True):
        torch.testing.assert_close(fine[:, ::r, ::r], samples[0])
    jumps = [float(fine.diff(n=2, dim=1).abs().max()) * r for r, fine in zip((1, 2, 4), samples, strict=True)]
    assert jumps[2] < 0.7 * jumps[1] < 0.5 * jumps[0]


@pytest.mark.parametrize(("entry", "d"), zoo.each(zoo.GRID_FIELDS), ids=str)
def test_the_lipschitz_bound_is_tight(entry, d):
    """Next to the points of the grid the slopes are nearly as large as it says."""
    field = entry(d)
    corners = field.sampling_grid.points(torch.empty((), dtype=F64))
    near = torch.cat([corners + 1e-3 * cloud(len(corners), d, seed=k) for k in range(3)])
    largest = torch.linalg.matrix_norm(field.jacobian(near), 2).max()
    assert largest <= field.lipschitz() <= 1.3 * largest


def test_what_does_not_fit_a_field_is_refused():
    grid = zoo.placed(2)
    with pytest.raises(ValueError, match=r"coordinates of shape \(2, 9, 9\), and got \(9, 9\)"):
        GridField(GaussianKernel(0.7), grid, torch.zeros(9, 9))
    for refine in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="refines by a whole number"):
            GridField(GaussianKernel(0.7), grid, refine=refine)
    assert float(GridField(GaussianKernel(0.7), grid).sqnorm().detach()) == 0


# ---- exponentials


def ends(squarings, refine, solver, d):
    """Where φ⁻¹ = exp(−v) sends points: by squaring, and along −v in fine steps."""
    field = zoo.grid_field(GaussianKernel(0.7), size=0.3, refine=refine)(d, F64, 0)
    x = cloud(60, d, seed=1)
    with torch.no_grad():
        found = Exponential(field, squarings, solver).inverse(x)
        field.coordinates.neg_()
        return found, Flow(field, RK4(), steps=32, shared=True)(x)


@pytest.mark.parametrize("d", [1, 2])
def test_exponentials_approach_the_flow_as_the_samples_get_denser(d):
    """Of second order in their distance."""
    errors = [float((a - b).norm(dim=1).mean()) for a, b in (ends(6, refine, None, d) for refine in (1, 2, 4, 8))]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(2, abs=0.4)
    assert errors[0] < 0.05
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("solver", [Euler(), Midpoint()], ids=repr)
def test_exponentials_have_the_order_of_their_first_step(solver):
    """On a line, where the samples may be so dense that only the first step counts."""
    errors = [float((a - b).norm(dim=1).mean()) for a, b in (ends(s, 256, solver, 1) for s in (2, 3))]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.3)


def test_exponentials_carry_images_backward():
    """φ·I = I∘φ⁻¹ with φ⁻¹ = exp(−v): the same image as the flow's, which finds φ⁻¹ by Newton's method."""
    field = zoo.grid_field(GaussianKernel(0.7), size=0.3, refine=4)(2, F64, 0)
    image, still = blobs(zoo.placed(2, points=30, step=0.09)), Flow(field, Midpoint(), steps=16, shared=True)
    with torch.no_grad():
        moved, expected = Exponential(field) @ image, still @ image
        assert relative(moved.values, expected.values) < 2e-2
        assert relative(image.values, expected.values) > 0.3
        assert float(Exponential(field).energy()) == pytest.approx(float(still.energy()))


def test_only_fields_on_grids_have_exponentials():
    with pytest.raises(ValueError, match="expects a GridField, and got a KernelField"):
        Exponential(zoo.FIELDS[0](2))  # type: ignore[arg-type]
