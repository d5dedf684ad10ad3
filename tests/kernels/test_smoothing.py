"""Sums over the points of a grid are sums over particles, whatever way they are computed."""

import copy
import pickle

import pytest
import torch

from diffeo.grid import Grid
from diffeo.kernels import CauchyKernel, GaussianKernel, LaplacianKernel, Matern52Kernel
from diffeo.kernels.smoothing import WIDEST, orthogonal, sampled_gaussian, summed
from diffeo.sampling.smoothing import convolve
from tests import zoo
from tests.oracles import cloud, like, relative, rotation

F64 = torch.float64
KERNELS = {  # with how far they may be from the sum
    GaussianKernel(0.5): 0.01,  # what is cut off at three standard deviations
    GaussianKernel(0.2): 0.01,
    GaussianKernel(1.5): 1e-12,
    Matern52Kernel(5.0): 1e-12,
    Matern52Kernel(0.3): 0.01,  # periodic copies
    CauchyKernel(0.1): 0.03,
    LaplacianKernel(4.0): 1e-12,
    GaussianKernel(1.5) + 0.5 * GaussianKernel(0.4): 0.01,
    2.5 * GaussianKernel(0.6): 0.01,
    3.0 * (0.5 * GaussianKernel(0.4) + Matern52Kernel(1.3)): 0.01,
}
kernels = pytest.mark.parametrize(("kernel", "tolerance"), list(KERNELS.items()), ids=zoo.named)


def placed(shape, sheared=False, seed=0):
    """A turned, anisotropic grid with steps of about 0.3, at right angles unless sheared."""
    d = len(shape)
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = rotation(d, seed=seed) @ torch.diag(torch.tensor([0.3, 0.2, 0.35], dtype=F64)[:d])
    affine[:d, :d] += 0.05 * sheared * cloud(d, d, seed=seed + 1)
    affine[:d, d] = cloud(1, d, seed=seed + 2)[0]
    return Grid(shape, affine)


GRIDS = {
    "line": placed((25,)),
    "plane": placed((13, 18)),
    "sheared": placed((13, 16), sheared=True),
    "space": placed((8, 10, 7)),
    "slice": placed((9, 1, 8)),
}
grids = pytest.mark.parametrize("grid", list(GRIDS.values()), ids=list(GRIDS))


def particles(kernel, grid, m):
    """Σ_j k(x_i − x_j) m_j, the x_j being the points of the grid."""
    x = grid.points(m)
    return (kernel(x, x) @ m.flatten(1).T).T.reshape(m.shape)


def vectors(grid, seed=0):
    """Random vectors on a grid."""
    return cloud(grid.size, grid.dim, seed=seed).T.reshape(grid.dim, *grid.shape)


@kernels
@grids
def test_they_are_sums_over_particles(grid, kernel, tolerance):
    m = vectors(grid)
    assert relative(summed(kernel, grid)(m), particles(kernel, grid, m)) < tolerance


@kernels
@grids
def test_they_are_self_adjoint_and_positive(grid, kernel, tolerance):
    """Positive up to what is cut off."""
    operator = summed(kernel, grid)
    f, g = vectors(grid), vectors(grid, seed=1)
    a, b = (operator(f) * g).sum(), (f * operator(g)).sum()
    assert abs(float(a - b)) < 1e-12 * float(operator(f).norm() * g.norm())
    basis = torch.eye(grid.size, dtype=F64).reshape(-1, *grid.shape)
    matrix = torch.cat([operator(part) for part in basis.split(50)]).reshape(grid.size, grid.size)
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues[0] > -min(tolerance, 2e-3) * eigenvalues[-1]


def test_narrow_gaussians_are_filters_where_axes_are_at_right_angles():
    for grid, width, filtered in (("plane", 0.8, True), ("plane", 1.2, False), ("sheared", 0.4, False)):
        operator = summed(GaussianKernel(width * WIDEST * 0.2), GRIDS[grid])
        assert (getattr(operator, "func", None) is convolve) == filtered
    assert orthogonal(GRIDS["space"])
    assert not orthogonal(GRIDS["sheared"])


def test_taps_are_the_kernel_between_points():
    for sigma in (0.3, 1.0, 2.5):
        taps, kernel = sampled_gaussian(sigma), GaussianKernel(2 * sigma)
        t = 2.0 * (torch.arange(len(taps), dtype=F64)[:, None] - len(taps) // 2)
        torch.testing.assert_close(taps, kernel(t, torch.zeros(1, 1, dtype=F64)).dense()[:, 0])
        assert len(taps) >= 2 * 3 * sigma + 1


@kernels
def test_precision_follows_and_copies_do_the_same(kernel, tolerance):
    grid = GRIDS["plane"]
    operator, m = summed(kernel, grid), vectors(grid)
    expected = operator(m)
    single = operator(m.float())
    assert single.dtype == torch.float32
    assert relative(single, expected) < 1e-5
    for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
        assert torch.equal(other(m), expected)
    assert torch.equal(m, vectors(grid))
    assert float((operator(2 * m) - 2 * expected).abs().max()) < 1e-12


@kernels
def test_they_can_be_differentiated(kernel, tolerance):
    grid = placed((6, 5))
    operator, m = summed(kernel, grid), vectors(grid).requires_grad_()
    g = like(m, seed=4)
    (found,) = torch.autograd.grad((operator(m) * g).sum(), m)
    assert relative(found, operator(g)) < 1e-12
