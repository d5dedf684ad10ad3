"""Euler steps along kernel fields: compiled loops, and what plain torch says."""

import pytest
import torch

from diffeo.backends import CPUBackend, DenseBackend
from diffeo.backends.cpu import elimination
from diffeo.backends.cpu import euler as loops
from diffeo.backends.dense import euler as dense
from diffeo.kernels import CauchyKernel, GaussianKernel, Matern52Kernel, euler
from diffeo.kernels.euler import Steps
from tests.oracles import cloud, relative

KERNEL = GaussianKernel(0.9) + 0.3 * CauchyKernel(0.6)
slow = pytest.mark.slow
dimensions = pytest.mark.parametrize("d", [2, 6, *(pytest.param(d, marks=slow) for d in (1, 3, 4, 5, 13))])


def steps(d, sizes=(7, 1, 12), scaled=True, dtype=torch.float64):
    """Three layers of different numbers of controls, which nearly fold."""
    controls = tuple(cloud(m, d, dtype, seed=k) for k, m in enumerate(sizes))
    momenta = tuple(cloud(m, d, dtype, seed=10 + k, size=1.5) for k, m in enumerate(sizes))
    log_scales = torch.linspace(-0.2, 0.3, len(sizes), dtype=dtype).split(1) if scaled else None
    return Steps((0.3, 0.2, 0.25), controls, momenta, log_scales)


@dimensions
@pytest.mark.parametrize("kernel", [KERNEL, pytest.param(Matern52Kernel(0.8), marks=slow)], ids=repr)
def test_loops_and_torch_agree(d, kernel):
    """Positions, determinants, norms, and all their gradients, over several blocks and chunks of points."""
    x, some = cloud(1100, d, seed=3), steps(d)
    tensors = [t.clone().requires_grad_() for t in (x, *some.tensors())]
    again = Steps(some.durations, tuple(tensors[1:4]), tuple(tensors[4:7]), tuple(tensors[7:]))
    fused = kernel.on(CPUBackend())
    assert euler.covers(fused, again, x)
    moved, volumes = euler.take(fused, tensors[0], again)
    expected = dense.forward(kernel, tensors[0], again)
    assert relative(moved, expected[0]) < 1e-13
    assert relative(volumes, expected[1]) < 1e-12
    assert bool((volumes < 0.9).any())
    cotangents = cloud(1100, d, seed=4), cloud(3, 1100, seed=5)
    found = torch.autograd.grad((moved, volumes), tensors, cotangents)
    wanted = torch.autograd.grad(expected, tensors, cotangents)
    assert all(relative(a, b) < 1e-11 for a, b in zip(found, wanted, strict=True))
    norms, exact = euler.norms(fused, again), dense.norms(kernel, again)
    assert relative(norms, exact) < 1e-13
    weights = cloud(1, 3, seed=6)[0]
    found = torch.autograd.grad(norms, tensors[1:], weights)
    wanted = torch.autograd.grad(exact, tensors[1:], weights)
    assert all(relative(a, b) < 1e-12 for a, b in zip(found, wanted, strict=True))


def test_without_scales_nothing_is_stretched():
    x, some = cloud(50, 2, seed=3), steps(2, scaled=False)
    unstretched = some._replace(log_scales=torch.zeros(3, dtype=torch.float64).split(1))
    fused = KERNEL.on(CPUBackend())
    for a, b in zip(euler.take(fused, x, some), euler.take(fused, x, unstretched), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_differentiable():
    """A second derivative goes through plain torch."""
    x, some = cloud(30, 2, seed=3).requires_grad_(), steps(2)
    fused, weights = KERNEL.on(CPUBackend()), cloud(30, 2, seed=4)

    def hessian(function):
        moved, volumes = function(x)
        (gradient,) = torch.autograd.grad((weights * moved).sum() + volumes.log().sum(), x, create_graph=True)
        return torch.autograd.grad((weights * gradient).sum(), x)[0]

    found = hessian(lambda z: euler.take(fused, z, some))
    assert relative(found, hessian(lambda z: dense.forward(KERNEL, z, some))) < 1e-10


def test_threads_change_nothing():
    """What is summed over points is summed in the same order, whoever does it."""
    x, some, threads = cloud(9000, 2), steps(2), torch.get_num_threads()
    cotangents = cloud(9000, 2, seed=1), cloud(3, 9000, seed=2)
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            moved, volumes, kept = loops.forward(KERNEL, x, some, True)
            g_x, gradients = loops.backward(KERNEL, kept, *cotangents, some)
            results.append([moved, volumes, g_x, *gradients])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_few_points_and_other_backends_go_other_ways():
    some = steps(2)
    assert not euler.covers(KERNEL, some, cloud(3, 2))
    assert not euler.covers(KERNEL.on(DenseBackend()), some, cloud(10_000, 2))
    assert euler.covers(KERNEL, some, cloud(10_000, 2))


def test_no_points_are_no_problem():
    moved, volumes = euler.take(KERNEL.on(CPUBackend()), cloud(0, 2).requires_grad_(), steps(2))
    assert moved.shape == (0, 2)
    assert volumes.shape == (3, 0)
    assert torch.autograd.grad(moved.sum() + volumes.sum(), moved, allow_unused=True)[0].shape == (0, 2)


@pytest.mark.parametrize("d", [1, 4, 11])
def test_elimination(d):
    """Against LAPACK, also where pivots have to be exchanged, and where a matrix is singular."""
    matrices = cloud(20 * d, d, seed=d, size=1.0).reshape(20, d, d)
    matrices[0, 0, 0] = 0 if d > 1 else 1
    expected = torch.linalg.det(matrices)
    for m, det in zip(matrices.clone().numpy(), expected, strict=True):
        assert elimination.determinant(m) == pytest.approx(float(det), rel=1e-11)
    inverses, dets = matrices.clone().numpy(), torch.empty(20, dtype=torch.float64)
    elimination.invert(inverses, dets.numpy(), 1e-20, 0, 20)
    assert relative(dets, expected) < 1e-11
    assert relative(torch.from_numpy(inverses) @ matrices, torch.eye(d, dtype=torch.float64).expand(20, d, d)) < 1e-9
    if d > 1:
        singular = torch.eye(d, dtype=torch.float64)
        singular[1, 1] = 0
        inverse = singular.clone().numpy()
        det = elimination.determinant(singular.clone().numpy())
        weight = torch.empty(1, dtype=torch.float64)
        elimination.invert(inverse[None], weight.numpy(), 1e-20, 0, 1)
        assert det == 0
        cofactors = weight * torch.from_numpy(inverse)
        expected = torch.zeros(d, d, dtype=torch.float64)
        expected[1, 1] = 1
        assert relative(cofactors, expected) < 1e-15
