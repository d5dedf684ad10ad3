"""Kernels on grids are the same kernels: K m is the sum over particles, at every point of the grid."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings

from diffeo.grid import Grid
from diffeo.kernels import CauchyKernel, GaussianKernel, GridKernel, InverseMultiquadricKernel, Matern52Kernel
from tests import zoo
from tests.oracles import cloud, relative, rotation, seeds

F64 = torch.float64
SHAPES = [(23,), (13, 16), (8, 9, 7)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def placed(shape, shear=0.15, seed=0):
    """A rotated, sheared, anisotropic grid with steps of about 1."""
    d = len(shape)
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = rotation(d, seed=seed) @ torch.diag(torch.tensor([0.9, 1.1, 1.0], dtype=F64)[:d])
    affine[:d, :d] += shear * cloud(d, d, seed=seed + 1)
    affine[:d, d] = 5.0
    return Grid(shape, affine)


def values(shape, c=2, dtype=F64, seed=0):
    """Noise."""
    n = torch.Size(shape).numel()
    return cloud(c, n, dtype, seed=seed).reshape(c, *shape)


def particles(kernel, grid, m):
    """Σ_j k(x_i − x_j) m_j · cell."""
    x = grid.points(m)
    return (kernel(x) @ (grid.cell * m.flatten(1).T)).T.reshape(m.shape)


@shapes
@pytest.mark.parametrize(("steps", "error"), [(1.0, 1e-2), (1.5, 1e-4), (2.0, 1e-8), (3.0, 1e-13)])
def test_it_is_the_sum_over_particles(shape, steps, error):
    """Up to frequencies beyond the grid's, of which a Gaussian has next to none from 1.5 steps on."""
    grid, m = placed(shape), values(shape)
    kernel = GaussianKernel(steps * max(grid.spacing))
    found = GridKernel(kernel, grid, padding=10 * kernel.scale).apply(m)
    assert relative(found, particles(kernel, grid, m)) < error


@shapes
def test_sums_of_kernels_too(shape):
    grid, m = placed(shape), values(shape)
    kernel = GaussianKernel(4.0) + 0.5 * Matern52Kernel(5.0) + 2 * GaussianKernel(2.5)
    found = GridKernel(kernel, grid, padding=60.0).apply(m)
    assert relative(found, particles(kernel, grid, m)) < 1e-4


@shapes
def test_rough_kernels_converge_with_the_grid(shape):
    """Of Matérn kernels, frequencies beyond the grid's are lost: the fewer the finer the grid."""
    errors = []
    for steps in (2.0, 4.0):
        grid, m = placed(shape), values(shape)
        kernel = Matern52Kernel(steps * max(grid.spacing))
        errors.append(
            relative(GridKernel(kernel, grid, padding=14 * kernel.scale).apply(m), particles(kernel, grid, m))
        )
    assert errors[1] < errors[0] / 10 < 1e-3


@shapes
@settings(max_examples=2)
@given(seed=seeds)
def test_it_is_self_adjoint_and_positive(shape, seed):
    grid = placed(shape, seed=seed % 100)
    k = GridKernel(GaussianKernel(1.7) + Matern52Kernel(2.0), grid)
    a, b = values(shape, seed=seed), values(shape, seed=seed + 1)
    torch.testing.assert_close((a * k.apply(b)).sum(), (b * k.apply(a)).sum())
    assert (a * k.apply(a)).sum() > 0


@shapes
@pytest.mark.parametrize("padding", [0.0, 3.3, None])
def test_its_root_squares_to_it(shape, padding):
    """K m = R² (m · cell), whatever the padding; and R is self-adjoint."""
    k = GridKernel(GaussianKernel(1.4), placed(shape), padding)
    m, z, w = values(shape), values(k.box.shape, seed=1), values(k.box.shape, seed=2)
    twice = k.root(k.root(k.grid.cell * m))
    torch.testing.assert_close(k.crop(twice), k.apply(m))
    torch.testing.assert_close((w * k.root(z)).sum(), (z * k.root(w)).sum())
    torch.testing.assert_close(k.root(m), k.root(k.pad(m)))
    torch.testing.assert_close(k.crop(k.pad(m)), m, rtol=0, atol=0)


@shapes
def test_the_norm_of_what_the_root_gives_is_that_of_its_coordinates(shape):
    """‖Σ_j k(· − x_j) p_j‖²_V = ⟨p, Kp⟩ = ‖z‖² for z = R p, as for particles."""
    grid = placed(shape)
    kernel = GaussianKernel(2.2 * max(grid.spacing))
    k, p = GridKernel(kernel, grid, padding=10 * kernel.scale), values(shape)
    x, q = grid.points(p), p.flatten(1).T
    torch.testing.assert_close(k.root(p).square().sum(), (q * (kernel(x) @ q)).sum(), rtol=1e-8, atol=0)


@shapes
def test_the_box_has_the_grid_in_its_middle(shape):
    k = GridKernel(GaussianKernel(1.4), placed(shape), padding=6.0)
    index = k.box.to_index(k.grid.points(torch.empty((), dtype=F64)))
    expected = k.grid.indices(index).flatten(1).T + torch.tensor(k.before, dtype=F64)
    torch.testing.assert_close(index, expected)
    for p, n, b, step in zip(k.box.shape, shape, k.before, k.grid.spacing, strict=True):
        assert (p - n) * step >= 6
        assert abs((p - n) - 2 * b) <= 1


def test_padding_is_at_most_a_doubling_unless_it_is_asked_for():
    grid = Grid((30, 40), torch.eye(3))
    assert max(GridKernel(GaussianKernel(100.0), grid).box.shape) <= 81
    assert min(GridKernel(GaussianKernel(100.0), grid, padding=300.0).box.shape) >= 330
    assert GridKernel(GaussianKernel(2.0), grid).box.shape == (36, 48)


@shapes
def test_gradients(shape):
    k = GridKernel(GaussianKernel(1.4), placed(shape))
    m = values(shape).requires_grad_()
    for function in (k.apply, k.root):
        torch.autograd.gradcheck(function, m, fast_mode=True)
        torch.autograd.gradgradcheck(function, m, fast_mode=True)


@shapes
def test_precision_follows(shape):
    k, m = GridKernel(GaussianKernel(1.4), placed(shape)), values(shape)
    for function in (k.apply, k.root):
        found = function(m.float())
        assert found.dtype == torch.float32
        assert relative(found, function(m)) < 1e-5


@shapes
def test_other_units_change_the_units_only(shape):
    """K acts on densities, and gains a volume; R on coordinates, and is the same."""
    kernel, grid, m, d = GaussianKernel(1.4), placed(shape), values(shape), len(shape)
    k = GridKernel(kernel, grid)
    other = GridKernel(kernel.rescaled(10.0), grid.moved(10 * torch.eye(d, dtype=F64), torch.ones(d, dtype=F64)))
    torch.testing.assert_close(other.apply(m), 10.0**d * k.apply(m))
    torch.testing.assert_close(other.root(m), k.root(m))


def test_how_much_of_a_kernel_a_grid_holds():
    grid = Grid((40, 40), torch.eye(3))
    held = [GridKernel(kind(2.0), grid).held for kind in (GaussianKernel, Matern52Kernel)]
    assert held[0] == pytest.approx(1, abs=1e-8)
    assert 0.99 < held[1] < 0.999
    k = GridKernel(Matern52Kernel(2.0), Grid((39, 41), torch.eye(3)), padding=40.0)  # odd or even: the same
    assert k.held == pytest.approx(held[1], abs=1e-4)
    delta = torch.zeros(1, *k.grid.shape, dtype=F64)
    delta[0, 20, 20] = 1
    assert float(k.apply(delta)[0, 20, 20]) == pytest.approx(k.held, rel=1e-12)


def test_grids_that_are_too_coarse_are_refused():
    with pytest.raises(ValueError, match=r"1 × 3 is too coarse for GaussianKernel\(scale=1.0\): it can hold"):
        GridKernel(GaussianKernel(1.0), Grid((20, 20), torch.diag(torch.tensor([1.0, 3.0, 1.0]))))
    GridKernel(GaussianKernel(0.7), Grid((20, 20, 20), torch.eye(4)))


@pytest.mark.parametrize(
    "kernel",
    [CauchyKernel(3.0), InverseMultiquadricKernel(3.0), GaussianKernel(3.0) + CauchyKernel(2.0)],
    ids=zoo.named,
)
def test_kernels_without_a_multiplier_are_refused(kernel):
    with pytest.raises(ValueError, match=r"not integrable in 2 dimensions.* Take GaussianKernel"):
        GridKernel(kernel, Grid((20, 20), torch.eye(3)))


def test_on_a_line_cauchys_kernel_is_integrable():
    grid, m = Grid((400,), torch.eye(2)), values((400,))
    found = GridKernel(CauchyKernel(5.0), grid, padding=20_000.0).apply(m)
    assert relative(found, particles(CauchyKernel(5.0), grid, m)) < 1e-2


def test_paddings_and_values_that_do_not_fit_are_refused():
    grid = Grid((20, 20), torch.eye(3))
    with pytest.raises(ValueError, match="a padding is a length"):
        GridKernel(GaussianKernel(2.0), grid, padding=-1.0)
    with pytest.raises(ValueError, match="expected values of shape"):
        GridKernel(GaussianKernel(2.0), grid).apply(torch.zeros(2, 20, 19))


def test_copies_compute_the_same():
    k, m = GridKernel(GaussianKernel(1.4), placed((13, 16))), values((13, 16))
    assert copy.deepcopy(k) is k  # the layers of a flow share it
    assert torch.equal(pickle.loads(pickle.dumps(k)).apply(m), k.apply(m))
    assert repr(k) == "GridKernel(GaussianKernel(scale=1.4), 13 × 16)"
