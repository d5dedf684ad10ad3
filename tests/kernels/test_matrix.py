"""K(x, y) as an object behaves like the matrix that it never stores."""

import pytest
import torch
from hypothesis import given

from diffeo.kernels import GaussianKernel, KernelMatrix, LaplacianKernel, Matern32Kernel
from tests import zoo
from tests.oracles import cloud, relative, seeds

kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)


@kernels
@given(seed=seeds)
def test_the_lazy_product_is_that_of_the_dense_matrix(kernel, seed):
    for d in zoo.DIMENSIONS:
        x, y, b = cloud(7, d, seed=seed), cloud(5, d, seed=seed + 1), cloud(5, 4, seed=seed + 2)
        matrix = kernel(x, y)
        assert isinstance(matrix, KernelMatrix)
        assert matrix.shape == tuple(matrix.dense().shape) == (7, 5)
        torch.testing.assert_close(matrix @ b, matrix.dense() @ b, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(matrix @ b[:, 0], matrix.dense() @ b[:, 0], rtol=1e-12, atol=1e-13)


@kernels
@given(seed=seeds)
def test_entries_are_the_kernel_at_squared_distances(kernel, seed):
    x, y = cloud(7, 3, seed=seed), cloud(5, 3, seed=seed + 1)
    torch.testing.assert_close(kernel(x, y).dense(), kernel.jet(torch.cdist(x, y).square())[0], rtol=1e-11, atol=1e-13)


@kernels
@given(seed=seeds)
def test_the_transpose_is_the_adjoint(kernel, seed):
    x, y = cloud(7, 2, seed=seed), cloud(5, 2, seed=seed + 1)
    a, b = cloud(7, 3, seed=seed + 2), cloud(5, 3, seed=seed + 3)
    torch.testing.assert_close(kernel(x, y).T.dense(), kernel(x, y).dense().T, rtol=1e-14, atol=0)
    torch.testing.assert_close((a * (kernel(x, y) @ b)).sum(), (b * (kernel(x, y).T @ a)).sum(), rtol=1e-12, atol=1e-13)


@kernels
def test_one_argument_means_both_sides(kernel):
    x = cloud(6, 2)
    assert torch.equal(kernel(x).dense(), kernel(x, x).dense())


@kernels
def test_products_far_from_small_are_the_same_product(kernel):
    """Above some size another backend takes over."""
    x, y, b = cloud(300, 3), cloud(200, 3, seed=1), cloud(200, 3, seed=2)
    assert relative(kernel(x, y) @ b, kernel(x, y).dense() @ b) < 1e-12
    assert relative(kernel(x.float(), y.float()) @ b.float(), kernel(x, y).dense() @ b) < 1e-5


@kernels
def test_the_dense_matrix_has_gradients_at_coincident_points(kernel):
    x = cloud(5, 2).requires_grad_()
    kernel(x).dense().sum().backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("kernel", [LaplacianKernel(0.5), Matern32Kernel(0.5)], ids=zoo.named)
def test_coincident_points_do_not_pull_on_each_other(kernel):
    for dtype in zoo.DTYPES:
        x = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
        kernel(x).dense().sum().backward()
        assert torch.equal(x.grad, torch.zeros_like(x))


def test_what_does_not_fit_together_is_refused():
    kernel, x, y = GaussianKernel(1.0), cloud(7, 3), cloud(5, 3)
    with pytest.raises(ValueError, match=r"one dimension d, and got \(7, 3\) and \(5, 2\)"):
        kernel(x, y[:, :2])
    with pytest.raises(ValueError, match="one dimension d"):
        kernel(x[0])
    with pytest.raises(ValueError, match="one dtype and device"):
        kernel(x, y.float())
    for b in (cloud(7, 3), cloud(5, 1)[0], cloud(5, 4).reshape(5, 2, 2)):
        with pytest.raises(ValueError, match="cannot multiply"):
            kernel(x, y) @ b
