"""Geodesics on grids: what they conserve, the particles that they agree with, their orders, and the same map again."""

import math

import pytest
import torch

from diffeo.core import objective
from diffeo.fit import fit
from diffeo.flows import Geodesic, GridGeodesic
from diffeo.flows.epdiff import differences
from diffeo.grid import Grid
from diffeo.io import load, save
from diffeo.kernels import GaussianKernel, Matern52Kernel
from diffeo.losses import SSDLoss
from diffeo.shapes import Image
from diffeo.solvers import RK4
from tests import zoo
from tests.oracles import cloud, distance, like, relative, slope

F64 = torch.float64
GAUSSIAN = GaussianKernel(0.5)
HALVING = GaussianKernel(0.8) + 0.5 * GaussianKernel(0.4)
ENTRIES = [entry for entry in zoo.DIFFEOS if entry.name.startswith("GridGeodesic")]
entries = pytest.mark.parametrize("entry", ENTRIES, ids=str)


def square(points, d=2, extent=4.0):
    """A grid of cells that fill a box around 0."""
    affine = torch.eye(d + 1, dtype=F64) * extent / points
    affine[d, d] = 1
    affine[:d, d] = -extent / 2 + extent / points / 2
    return Grid((points,) * d, affine)


def blobs(x, size=1.0):
    """A smooth momentum per area, which is 0 towards the border of the box, shape (n, d)."""
    found = torch.zeros_like(x)
    for center, vector in (((-0.3, 0.1, 0.2), (0.9, 0.3, 0.2)), ((0.35, -0.05, 0.0), (-0.6, 0.5, -0.3))):
        c, a = (size * torch.tensor(v, dtype=F64)[: x.shape[1]] for v in (center, vector))
        width = 0.35
        density = torch.exp(-(x - c / size).square().sum(1) / (2 * width**2)) / (2 * math.pi * width**2)
        found += density[:, None] * a
    return found


def shot(phi, momenta):
    """φ with other momenta (n, d) at its nodes: neither whitened nor cut off."""
    steps = phi.grid.linear.T @ momenta.T
    phi.momenta = lambda: steps
    return phi


def smooth(points, kernel=GAUSSIAN, d=2, size=1.0, **options):
    """The geodesic of the blobs."""
    nodes = square(points, d)
    phi = GridGeodesic(kernel, nodes, torch.zeros(d, *nodes.shape, dtype=F64), **options)
    return shot(phi, nodes.cell * blobs(nodes.points(torch.zeros((), dtype=F64)), size))


def rough(d=2, points=10, size=0.2, kernel=HALVING, seed=0, **options):
    """A geodesic of random coordinates: momenta as rough as the nodes allow."""
    nodes = square(points, d)
    return GridGeodesic(kernel, nodes, like(torch.zeros(d, *nodes.shape, dtype=F64), seed, size), **options)


def ended(phi):
    """Where the nodes are in the end, in space, and their momenta, both (n, d)."""
    x, p = phi.shoot()[0][-1]
    return phi.grid.to_space(x.T), (torch.linalg.inv(phi.grid.linear).T @ p).T


def order(coarse, fine, ratio=2.0):
    return math.log(coarse / fine) / math.log(ratio)


# ---- against particles, which know no grid


def particles(phi):
    """The end of the geodesic whose controls are the nodes."""
    x, p = phi.shoot()[0][0]
    q, inverse = phi.grid.to_space(x.T), torch.linalg.inv(phi.grid.linear).T
    keep = p.norm(dim=0) > 1e-12 * p.norm(dim=0).max()
    exact = Geodesic(phi.kernel, q[keep], RK4(), 10, (inverse @ p).T[keep], whiten=False)
    return q, keep, exact


@pytest.mark.parametrize("kernel", [GAUSSIAN, HALVING], ids=zoo.named)
@pytest.mark.slow
def test_nodes_move_as_particles_do_to_third_order_in_the_spacing(kernel):
    errors = []
    with torch.no_grad():
        for points in (16, 32):
            phi = smooth(points, kernel, steps=64)
            q, keep, exact = particles(phi)
            moved, momenta = ended(phi)
            x, p = exact.shoot()[-1]
            inner = q[keep].abs().amax(1) < 1.3  # velocities fade beyond the nodes
            errors.append((distance(moved[keep][inner], x[inner]), relative(momenta[keep], p)))
            assert (x - q[keep]).norm(dim=1).max() > 0.3
    assert errors[1][0] < 3e-4
    assert order(errors[0][0], errors[1][0]) > 2.7
    assert order(errors[0][1], errors[1][1]) > 1.5


@pytest.mark.slow
def test_the_map_is_that_of_the_particles():
    """Forward, backward, and in between, away from the border where velocities fade."""
    x = 0.5 * cloud(30, 2)
    errors = []
    with torch.no_grad():
        for points in (16, 32):
            phi = smooth(points, steps=24)
            _, _, exact = particles(phi)
            halfway = distance(phi.path(x)[12], exact.path(x)[5])
            errors.append([distance(phi(x), exact(x)), distance(phi.inverse(x), exact.inverse(x)), halfway])
    assert max(errors[1]) < 2e-3
    assert min(order(a, b) for a, b in zip(*errors, strict=True)) > 2.5


def test_energies_are_those_of_particles():
    phi = smooth(24).requires_grad_(False)
    _, _, exact = particles(phi)
    assert float(phi.energy()) == pytest.approx(float(exact.energy().detach()), rel=1e-4)


def test_in_three_dimensions_too():
    with torch.no_grad():
        phi = smooth(12, GaussianKernel(0.7), d=3, steps=8)
        _, keep, exact = particles(phi)
        assert distance(ended(phi)[0][keep], exact.shoot()[-1][0]) < 5e-3


# ---- what is conserved


@pytest.mark.parametrize("points", [8, 16])
def test_the_energy_of_the_roughest_momentum_is_conserved_on_the_coarsest_grid(points):
    phi = rough(points=points)
    assert (ended(phi)[0] - phi.grid.to_space(phi.mesh.start(phi.coordinates).T)).norm(dim=1).max() > 0.15
    assert phi.hamiltonian_drift() < 1e-2
    # second order, unevenly: the force of a quadratic spline has kinks
    assert order(phi.with_steps(2).hamiltonian_drift(), phi.with_steps(64).hamiltonian_drift(), 32) > 1.8


def test_without_momentum_nothing_drifts():
    assert rough(size=0.0).hamiltonian_drift() == 0


@entries
def test_the_drift_is_that_of_the_states(entry):
    phi = entry(2)
    with torch.no_grad():
        energies = torch.stack([phi.mesh.energy(x, p) for x, p in phi.shoot()[0]])
    torch.testing.assert_close(energies[0], phi.energy().detach())
    assert phi.hamiltonian_drift() == pytest.approx(float((energies / energies[0] - 1).abs().max()), rel=1e-9)


def test_linear_and_angular_momentum_are_conserved_where_velocities_do_not_fade():
    """Linear momentum is not that of a translation on a mesh, which is not invariant: to the error of a spline."""
    with torch.no_grad():
        phi = smooth(32, steps=16)
        q, p = phi.grid.to_space(phi.shoot()[0][0][0].T), (torch.linalg.inv(phi.grid.linear).T @ phi.momenta()).T
        x, r = ended(phi)
    assert distance(r.sum(0), p.sum(0)) < 1e-3 * float(p.norm(dim=1).sum())
    assert distance(x.T @ r - r.T @ x, q.T @ p - p.T @ q) < 2e-3 * float(p.norm(dim=1).sum())
    assert distance(r, p) > 1e-2 * float(p.abs().max())


def test_the_momentum_is_carried_by_the_map():
    """m_1 = Ad* m_0: every node's covector is (Dφ)⁻ᵀ times what it was."""
    errors = []
    with torch.no_grad():
        for points in (16, 32):
            phi = smooth(points, steps=16)
            q = phi.grid.to_space(phi.shoot()[0][0][0].T)
            p = (torch.linalg.inv(phi.grid.linear).T @ phi.momenta()).T
            _, jacobian = phi.with_jacobian(q)
            carried = torch.linalg.solve(jacobian.mT, p[..., None])[..., 0]
            errors.append(relative(ended(phi)[1], carried))
            assert relative(p, carried) > 0.1
    assert errors[1] < 1e-2
    assert order(*errors) > 1.7  # derivatives of a spline are of second order


def test_geodesics_are_reversible():
    """From the end with −p back to the start."""
    errors = []
    with torch.no_grad():
        for steps in (8, 16):
            phi = rough(steps=steps)
            (start, _), (x, p) = phi.shoot()[0][0], phi.shoot()[0][-1]
            p, h = -p, 1 / steps
            for _ in range(steps):
                dx, dp, _ = phi.mesh.hamilton(x, p)
                dx, dp, _ = phi.mesh.hamilton(x + h / 2 * dx, p + h / 2 * dp)
                x, p = x + h * dx, p + h * dp
            errors.append(distance(x, start))
    assert errors[1] < 1e-3
    assert order(*errors) > 1.8


# ---- orders


def test_the_map_is_of_second_order_in_the_steps():
    x = 0.5 * cloud(20, 2)
    with torch.no_grad():
        coarse, middle, fine = (rough(steps=n) for n in (4, 16, 64))
        for function in (lambda phi: phi(x), lambda phi: phi.inverse(x), lambda phi: ended(phi)[0]):
            first, second = distance(function(coarse), function(middle)), distance(function(middle), function(fine))
            assert order(first, second, 4) == pytest.approx(2, abs=0.3)


def test_nodes_end_where_the_map_sends_them():
    """Forward by the nodes, backward by tracing: the same to the error of the grid, however few the steps are."""
    errors = []
    with torch.no_grad():
        for points in (16, 32):
            phi = smooth(points, steps=8)
            q, moved = phi.grid.to_space(phi.shoot()[0][0][0].T), ended(phi)[0]
            errors.append(distance(phi.inverse(moved), q))
    assert errors[1] < 2e-3
    assert order(*errors) > 1.7


# ---- the unknown


def test_the_energy_of_smooth_coordinates_is_half_their_square():
    nodes = square(24)
    z = torch.exp(-nodes.points(torch.zeros((), dtype=F64)).square().sum(1) / 0.5).reshape(1, 24, 24).repeat(2, 1, 1)
    phi = GridGeodesic(GAUSSIAN, nodes, 0.1 * z)
    assert float(phi.energy().detach()) == pytest.approx(0.5 * float((0.1 * z).square().sum()), rel=0.05)


def test_a_geodesic_starts_along_a_velocity():
    nodes = square(24)
    x = nodes.points(torch.zeros((), dtype=F64))
    v = (torch.exp(-x.square().sum(1) / 0.5)[:, None] * torch.tensor([0.3, -0.2], dtype=F64)).T.reshape(2, 24, 24)
    phi = GridGeodesic(GAUSSIAN, nodes, torch.zeros_like(v))
    phi.start_along(v)
    with torch.no_grad():
        p = phi.momenta()
        values = Geodesic(GAUSSIAN, x, momenta=(torch.linalg.inv(phi.grid.linear).T @ p).T, whiten=False)
        found = values.kernel(x) @ values.momenta
    assert relative(found.T, v.flatten(1)) < 0.05
    with pytest.raises(ValueError, match="can start along"):
        phi.start_along(v[:1])
    with pytest.raises(ValueError, match="template"):
        ENTRIES[1](2).start_along(v)


@entries
def test_on_finer_nodes_the_map_is_nearly_the_same(entry):
    """With a momentum that the coarse nodes resolve."""
    coarse = square(16)
    finer = square(32)
    x = coarse.points(torch.zeros((), dtype=F64))
    z = torch.stack([torch.exp(-(x - 0.2 * k).square().sum(1) / 0.3) for k in range(2)]).reshape(2, 16, 16)
    image = None, None
    if entry.name != "GridGeodesic":
        image = tuple(
            torch.stack([g.points(z)[:, 0], g.points(z).sum(1)]).reshape(2, *g.shape) for g in (coarse, finer)
        )
    phi = GridGeodesic(GAUSSIAN, coarse, 0.2 * z, image[0])
    other = phi.on(finer, image[1])
    points = 0.4 * cloud(20, 2)
    with torch.no_grad():
        assert other.nodes is finer
        assert (phi(points) - points).norm(dim=1).max() > 0.1
        assert distance(other(points), phi(points)) < 0.03
        assert float(other.energy()) == pytest.approx(float(phi.energy()), rel=0.05)


def test_the_momentum_of_a_template_is_normal_to_its_level_sets():
    nodes = square(16)
    x = nodes.points(torch.zeros((), dtype=F64))
    template = torch.exp(-x.square().sum(1)).reshape(1, 16, 16)
    phi = GridGeodesic(GAUSSIAN, nodes, like(template, size=0.1), template)
    p = (torch.linalg.inv(phi.grid.linear).T @ phi.momenta().detach()).T
    inner = (x.norm(dim=1) > 0.3) & (x.abs().amax(1) < 1.5)
    across = p[:, 0] * x[:, 1] - p[:, 1] * x[:, 0]
    assert (across.abs() / p.norm(dim=1) / x.norm(dim=1))[inner].max() < 0.05
    assert p.norm(dim=1).max() > 0.01


def test_a_constant_template_moves_nothing():
    nodes = square(8)
    phi = GridGeodesic(GAUSSIAN, nodes, torch.ones(1, 8, 8, dtype=F64), torch.full((1, 8, 8), 3.0, dtype=F64))
    assert not phi.displacement().any()
    assert float(phi.energy().detach()) == 0


def test_differences_are_exact_for_linear_images():
    index = square(5, 3).indices(torch.zeros((), dtype=F64))
    found = differences((2 * index[0] - 3 * index[1] + 0.5 * index[2])[None])
    assert (
        distance(found, torch.tensor([2.0, -3.0, 0.5], dtype=F64)[None, :, None, None, None].expand_as(found)) < 1e-12
    )
    assert not differences(torch.ones(1, 1, 4, dtype=F64)).any()


# ---- the same map again, the same map elsewhere


@entries
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_a_saved_momentum_shoots_to_the_same_map(entry, dtype, tmp_path):
    phi = entry(2, dtype)
    save(tmp_path / "map", phi)
    again = load(tmp_path / "map")
    assert isinstance(again, GridGeodesic)
    with torch.no_grad():
        assert torch.equal(again.displacement(), phi.displacement())
        assert torch.equal(again.pullback(phi.nodes), phi.pullback(phi.nodes))
    assert again.hamiltonian_drift() == phi.hamiltonian_drift()


def test_more_steps_are_the_same_momentum():
    phi = rough()
    finer = phi.with_steps(7)
    assert len(finer.path(cloud(3, 2))) == 8
    assert torch.equal(finer.momenta(), phi.momenta())


def test_a_change_is_noticed():
    """What is computed once is computed again for other coordinates, another template, other steps."""
    phi = ENTRIES[1](2)
    phi.requires_grad_(False)
    before = phi.displacement()
    assert phi.displacement() is before
    phi.steps = 5
    assert distance(phi.displacement(), before) > 0
    phi.steps = 3
    assert torch.equal(phi.displacement(), before)
    phi.coordinates[0, 0] += 0.1
    other = phi.displacement()
    assert distance(other, before) > 1e-6
    phi.template[0, 0] += 0.1
    assert distance(phi.displacement(), other) > 1e-6
    assert phi.double().displacement().dtype == F64


@entries
def test_pulling_back_is_the_inverse_at_the_points_of_a_grid(entry):
    """On grids along the mesh, where it is a product of matrices, and on others, where it is not."""
    phi = entry(2)
    boxes = [
        phi.grid,
        phi.nodes,
        phi.nodes.box((-3, 2), (15, 6)),
        phi.nodes.shrunk((2, 3)),
        zoo.placed(2, 6, 0.4, seed=9),
    ]
    with torch.no_grad():
        for grid in boxes:
            x = grid.points(phi.coordinates)
            assert distance(grid.displaced(phi.pullback(grid)), phi.inverse(x)) < 1e-12
        inner = (slice(None), *[slice(4, -4)] * 2)  # at the border the spline misses the bumps beyond
        assert distance(phi.pullback(phi.grid)[inner], phi.displacement()[inner]) < 1e-5


@entries
def test_a_refined_map_is_its_spline(entry):
    phi = entry(2)
    finer = phi.grid.shrunk((1, 1))
    affine = finer.affine.clone()
    affine[:2, :2] /= 4
    fine = phi.refined(Grid(tuple(4 * n for n in finer.shape), affine))
    x = cloud(30, 2)
    with torch.no_grad():
        assert distance(fine.inverse(x), phi.inverse(x)) < 3e-3
        assert distance(fine(x), phi(x)) < 3e-3
    assert float(fine.energy()) == pytest.approx(float(phi.energy().detach()))


def test_axes_may_be_turned_and_exchanged():
    """The same momentum on the same nodes, numbered otherwise, shoots to the same map."""
    phi, x = rough(), 0.6 * cloud(20, 2)
    turned = phi.nodes.affine.clone()
    turned[:2, 0], turned[:2, 1] = phi.nodes.affine[:2, 1], -phi.nodes.affine[:2, 0]
    turned[:2, 2] = phi.nodes.origin + 9 * phi.nodes.linear[:, 0]
    other = GridGeodesic(HALVING, Grid((10, 10), turned), phi.coordinates.detach().flip(1).mT)
    with torch.no_grad():
        assert distance(other.nodes.points(x)[0], phi.nodes.to_space(torch.tensor([[9.0, 0.0]], dtype=F64))[0]) < 1e-12
        assert distance(other(x), phi(x)) < 1e-10
        assert float(other.energy()) == pytest.approx(float(phi.energy()))


# ---- images


def disk(grid, center, radius):
    """A smooth disk."""
    x = grid.points(torch.zeros((), dtype=F64))
    distances = (x - torch.tensor(center, dtype=F64)).norm(dim=1)
    return Image(torch.sigmoid((radius - distances) / 0.15).reshape(1, *grid.shape), grid)


@pytest.mark.parametrize("scalar", [False, True], ids=["vectors", "template"])
@pytest.mark.slow
def test_images_are_registered(scalar):
    grid = square(32)
    source, target = disk(grid, (0.0, 0.0), 0.6), disk(grid, (0.25, 0.1), 0.75)
    nodes = grid.shrunk((2, 2))
    template = source.shrunk((2, 2)).values if scalar else None
    phi = GridGeodesic(HALVING, nodes, torch.zeros(1 if scalar else 2, 16, 16, dtype=F64), template)
    before = float(SSDLoss()(source, target))
    fit(phi, [(source, target)], SSDLoss(), weight=1e-4, max_iterations=15)
    with torch.no_grad():
        assert float(SSDLoss()(phi @ source, target)) < 0.05 * before
        assert phi.with_logdet(cloud(50, 2))[1].isfinite().all()
    assert phi.hamiltonian_drift() < 0.01


@entries
def test_the_gradient_of_a_registration_is_that_of_what_is_computed(entry):
    grid = square(20)
    source, target = disk(grid, (0.0, 0.0), 0.6), disk(grid, (0.25, 0.1), 0.75)
    phi = entry(2)
    start, direction = phi.coordinates.detach().clone(), like(phi.coordinates.detach(), seed=4)

    def along(s):
        with torch.no_grad():
            phi.coordinates.copy_(start + s * direction)
            return float(objective(phi, [(source, target)], SSDLoss(), 0.1).total)

    expected = slope(along, 1e-6)
    along(0.0)
    objective(phi, [(source, target)], SSDLoss(), 0.1).total.backward()
    assert float((phi.coordinates.grad * direction).sum()) == pytest.approx(expected, rel=1e-6)


# ---- what is refused


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"coordinates": torch.zeros(3, 8, 8)}, r"coordinates of shape \(2, 8, 8\)"),
        ({"template": torch.zeros(1, 8, 9)}, r"a template of shape \(1, 8, 8\)"),
        ({"template": torch.zeros(1, 8, 8), "coordinates": torch.zeros(2, 8, 8)}, r"coordinates of shape \(1, 8, 8\)"),
        ({"ridge": 0.0}, "positive ridge"),
        ({"steps": 0}, "steps"),
        ({"kernel": GaussianKernel(0.05)}, "too coarse"),
        ({"kernel": zoo.KERNELS[4]}, "not integrable"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        GridGeodesic(**{"kernel": GAUSSIAN, "nodes": square(8), **changed})


def test_a_map_that_folds_has_no_image_there():
    phi = rough(size=3.0, steps=1)
    with pytest.raises(ArithmeticError), torch.no_grad():
        phi(cloud(200, 2))


def test_other_kernels_shoot_too():
    phi = rough(kernel=Matern52Kernel(0.9))
    assert phi.hamiltonian_drift() < 1e-2
    assert repr(phi).startswith("GridGeodesic(Matern52Kernel(scale=0.9), 10 × 10 momenta, vectors, steps=4")
