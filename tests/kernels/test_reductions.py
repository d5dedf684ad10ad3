"""The fused primitives: each is what its formula says, and each gradient is the derivative."""

import pytest
import torch
from hypothesis import given
from torch.autograd import gradcheck, gradgradcheck

from diffeo.backends import CPUBackend, DenseBackend
from diffeo.kernels import CauchyKernel, GaussianKernel, reductions
from tests import zoo
from tests.oracles import cloud, relative, rotation, seeds

kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
smooth = pytest.mark.parametrize("kernel", zoo.FIELD_KERNELS, ids=zoo.named)


def inputs(*sizes, seed=0, gradient=True):
    """Random tensors; the first two are positions apart from each other, so that rough kernels are smooth there."""
    tensors = [cloud(n, d, seed=seed + 7 * k) for k, (n, d) in enumerate(sizes)]
    return tuple(t.requires_grad_(gradient) for t in tensors)


def hamiltonian_field(kernel):
    return lambda q, p: reductions.hamiltonian_field(kernel, q, p)


def primitive(function, kernel):
    return lambda x, y, b: function(kernel, x, y, b)


FIELDS = [reductions.product, reductions.divergence, reductions.jacobian]
functions = pytest.mark.parametrize("function", FIELDS, ids=lambda f: f.__name__)
backends = pytest.mark.parametrize("backend", [DenseBackend(), CPUBackend()], ids=zoo.named)


@kernels
@functions
def test_gradients_of_the_sums(kernel, function):
    assert gradcheck(primitive(function, kernel.on(DenseBackend())), inputs((4, 2), (3, 2), (3, 2)), fast_mode=True)


@kernels
def test_gradients_of_hamiltons_equations(kernel):
    """Self-interaction at i = j included: it must contribute nothing, also where k'' does not exist."""
    assert gradcheck(hamiltonian_field(kernel.on(DenseBackend())), inputs((4, 2), (4, 2)), fast_mode=True)


@functions
def test_gradients_of_compiled_sums(function):
    kernel = zoo.GAUSSIAN.on(CPUBackend())
    assert gradcheck(primitive(function, kernel), inputs((4, 2), (3, 2), (3, 2)))


def test_gradients_of_compiled_equations():
    assert gradcheck(hamiltonian_field(zoo.GAUSSIAN.on(CPUBackend())), inputs((4, 2), (4, 2)))


@kernels
@functions
def test_second_derivatives_of_the_sums(kernel, function):
    """Also from a kernel on the compiled backend: what records a second derivative goes through torch."""
    arguments = inputs((3, 2), (3, 2), (3, 2))
    assert gradgradcheck(primitive(function, kernel.on(DenseBackend())), arguments, fast_mode=True)


@smooth
def test_second_derivatives_of_hamiltons_equations(kernel):
    assert gradgradcheck(hamiltonian_field(kernel.on(DenseBackend())), inputs((3, 2), (3, 2)), fast_mode=True)


@functions
@backends
def test_a_gradient_is_the_same_whether_a_graph_is_kept(function, backend):
    arguments = inputs((4, 2), (3, 2), (3, 2))
    value = function(zoo.GAUSSIAN.on(backend), *arguments)
    weights = cloud(value.numel(), 1, seed=99).reshape(value.shape)
    plain = torch.autograd.grad((weights * value).sum(), arguments, retain_graph=True)
    recorded = torch.autograd.grad((weights * value).sum(), arguments, create_graph=True)
    for a, b in zip(plain, recorded, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
        assert b.requires_grad


@kernels
@functions
def test_each_gradient_alone_is_that_of_all_together(kernel, function):
    sizes = ((4, 2), (3, 2), (3, 2))
    arguments = inputs(*sizes)
    value = function(kernel, *arguments)
    weights = cloud(value.numel(), 1, seed=99).reshape(value.shape)
    together = torch.autograd.grad((weights * value).sum(), arguments)
    for k, expected in enumerate(together):
        alone = inputs(*sizes, gradient=False)
        alone[k].requires_grad_()
        (weights * function(kernel, *alone)).sum().backward()
        torch.testing.assert_close(alone[k].grad, expected, rtol=1e-12, atol=1e-14)


@kernels
@given(seed=seeds)
def test_hamiltons_equations_are_the_derivatives_of_the_hamiltonian(kernel, seed):
    q, p = inputs((6, 3), (6, 3), seed=seed)
    energy = reductions.hamiltonian(kernel, q, p)
    assert energy > 0
    grad_q, grad_p = torch.autograd.grad(energy, (q, p))
    q_dot, p_dot = reductions.hamiltonian_field(kernel, q, p)
    torch.testing.assert_close(q_dot, grad_p, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(p_dot, -grad_q, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(energy, 0.5 * (p * (kernel(q).dense() @ p)).sum())


@kernels
@given(seed=seeds)
def test_the_field_and_its_derivatives_belong_together(kernel, seed):
    x, y, b = inputs((5, 3), (6, 3), (6, 3), seed=seed)
    Dv = reductions.jacobian(kernel, x, y, b)
    for a in range(3):
        (row,) = torch.autograd.grad(reductions.product(kernel, x, y, b)[:, a].sum(), x)
        torch.testing.assert_close(Dv[:, a], row, rtol=1e-11, atol=1e-13)
    trace = Dv.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(reductions.divergence(kernel, x, y, b), trace, rtol=1e-11, atol=1e-13)


@kernels
@functions
def test_rotations_pass_through(kernel, function):
    """v'(Rx + t) = R v(x) for the field carried by R y + t and R b."""
    x, y, b = inputs((5, 3), (6, 3), (6, 3), gradient=False)
    R, t = rotation(3), cloud(1, 3, seed=5)
    value, turned = function(kernel, x, y, b), function(kernel, x @ R.T + t, y @ R.T + t, b @ R.T)
    expected = value if value.ndim == 1 else value @ R.T if value.ndim == 2 else R @ value @ R.T
    assert relative(turned, expected) < 1e-11


@kernels
def test_values_of_any_width(kernel):
    x, y, b = inputs((5, 3), (6, 3), (6, 2))
    wide = reductions.product(kernel, x, y, torch.cat([b, 2 * b], 1))
    torch.testing.assert_close(wide, torch.cat([v := reductions.product(kernel, x, y, b), 2 * v], 1))
    Dv = reductions.jacobian(kernel, x, y, b)
    assert Dv.shape == (5, 2, 3)
    (row,) = torch.autograd.grad(reductions.product(kernel, x, y, b)[:, 1].sum(), x)
    torch.testing.assert_close(Dv[:, 1], row, rtol=1e-11, atol=1e-13)
    assert gradcheck(primitive(reductions.jacobian, kernel.on(DenseBackend())), (x, y, b), fast_mode=True)
    assert gradcheck(primitive(reductions.product, kernel.on(DenseBackend())), (x, y, b), fast_mode=True)


@smooth
def test_one_gradient_where_points_meet(kernel):
    """x = y = q, one tensor: what flows through both sides is added, and the diagonal is exactly 0."""
    q, p = inputs((4, 2), (4, 2))
    assert gradcheck(lambda q, p: reductions.product(kernel.on(DenseBackend()), q, q, p), (q, p), fast_mode=True)


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
@functions
@backends
def test_precision_follows_the_inputs(dtype, function, backend):
    x, y, b = (t.to(dtype).requires_grad_() for t in inputs((4, 2), (3, 2), (3, 2), gradient=False))
    value = function(zoo.GAUSSIAN.on(backend), x, y, b)
    value.sum().backward()
    assert {t.dtype for t in (value, x.grad, y.grad, b.grad)} == {dtype}


@functions
def test_positions_that_do_not_fit_are_refused(function):
    x, y, b = inputs((4, 2), (3, 2), (3, 2))
    with pytest.raises(ValueError, match="one dimension d"):
        function(zoo.GAUSSIAN, x[:, :1], y, b)  # would broadcast
    with pytest.raises(ValueError, match="one dtype and device"):
        function(zoo.GAUSSIAN, x.float(), y, b)


def test_a_hamiltonian_of_unequal_shapes_is_refused():
    with pytest.raises(ValueError, match=r"shapes \(4, 2\), \(3, 2\)"):
        reductions.hamiltonian(zoo.GAUSSIAN, cloud(4, 2), cloud(3, 2))


def test_in_many_dimensions_jacobians_are_products():
    """Values, gradients and second derivatives are those of the sums over pairs."""
    kernel, d = GaussianKernel(2.0) + 0.3 * CauchyKernel(1.5), 9
    x, y, b = tensors = [cloud(n, d, seed=n).requires_grad_() for n in (12, 7, 7)]
    weights = cloud(12, d * d, seed=5).reshape(12, d, d)
    results = []
    for k in (kernel, kernel.on(DenseBackend())):
        value, slopes = reductions.value_and_jacobian(k, x, y, b)
        assert relative(slopes, reductions.jacobian(k, x, y, b)) < 1e-14
        total = (weights * slopes).sum() + (weights[..., 0] * value).sum()
        first = torch.autograd.grad(total, tensors, retain_graph=True)
        again = torch.autograd.grad(total, tensors, create_graph=True)
        second = torch.autograd.grad(again[0].square().sum() + again[1].square().sum(), tensors)
        results.append((value, slopes, *first, *again, *second))
    for found, expected in zip(*results, strict=True):
        assert relative(found, expected) < 1e-10
