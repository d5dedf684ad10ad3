"""Whitened coordinates: the same momenta, seen by the optimizer as it likes them."""

from functools import partial

import pytest
import torch
from hypothesis import given

from diffeo.kernels import momenta as module
from diffeo.kernels.momenta import RIDGE, Momenta, cholesky
from tests import zoo
from tests.oracles import cloud, seeds

kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
whitened = pytest.mark.parametrize("whiten", [True, False], ids=["whitened", "plain"])


@kernels
@whitened
@given(seed=seeds)
def test_momenta_go_in_and_come_out(kernel, whiten, seed):
    c, p, other = cloud(8, 2, seed=seed), cloud(8, 2, seed=seed + 1), cloud(8, 2, seed=seed + 2)
    unknown = Momenta(partial(cholesky, kernel), c, p, whiten=whiten)
    torch.testing.assert_close(unknown(), p)
    unknown.assign(other)
    torch.testing.assert_close(unknown(), other)
    assert Momenta(partial(cholesky, kernel), c)().abs().max() == 0


@kernels
@given(seed=seeds)
def test_the_energy_is_the_square_of_the_coordinates(kernel, seed):
    """‖z‖² = pᵀ(K + εI)p exactly, with ε known."""
    c, p = cloud(8, 2, seed=seed), cloud(8, 2, seed=seed + 1)
    z = Momenta(partial(cholesky, kernel), c, p, whiten=True).coordinates
    expected = (p * (kernel(c) @ p)).sum() + RIDGE * kernel.at_zero * p.square().sum()
    torch.testing.assert_close(z.detach().square().sum(), expected)


@kernels
def test_whitening_bounds_the_condition_number(kernel):
    """The energy's Hessian in z lies between 0 and 1, however close the controls are."""
    c = torch.cat([cloud(8, 2), cloud(8, 2) + 1e-3])
    unknown = Momenta(partial(cholesky, kernel), c, whiten=True)

    def energy(z):
        p = torch.linalg.solve_triangular(unknown.factor.T, z, upper=True)
        return 0.5 * (p * (kernel(c) @ p)).sum()

    hessian = torch.autograd.functional.hessian(energy, cloud(16, 1)).reshape(16, 16)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert eigenvalues.max() < 1 + 1e-9
    assert eigenvalues.min() > -1e-9
    assert eigenvalues.max() > 0.9


@whitened
def test_gradients_pass(whiten):
    unknown = Momenta(partial(cholesky, zoo.KERNELS[0]), cloud(5, 2), cloud(5, 2, seed=1), whiten=whiten)
    weights = cloud(5, 2, seed=2)
    (weights * unknown()).sum().backward()
    direction = cloud(5, 2, seed=3)
    before = (weights * unknown()).sum().detach()
    with torch.no_grad():
        unknown.coordinates += direction
    torch.testing.assert_close((weights * unknown()).sum() - before, (unknown.coordinates.grad * direction).sum())


def test_many_controls_are_not_whitened_unless_asked(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 4)
    kernel = zoo.KERNELS[0]
    assert Momenta(partial(cholesky, kernel), cloud(4, 2)).whiten
    assert not Momenta(partial(cholesky, kernel), cloud(5, 2)).whiten
    assert Momenta(partial(cholesky, kernel), cloud(5, 2), whiten=True).whiten


@kernels
def test_coinciding_controls_can_be_whitened(kernel):
    for dtype in zoo.DTYPES:
        unknown = Momenta(partial(cholesky, kernel), torch.zeros(5, 2, dtype=dtype), cloud(5, 2, dtype), whiten=True)
        torch.testing.assert_close(unknown(), cloud(5, 2, dtype), rtol=1e-3, atol=1e-3)


def test_momenta_of_another_shape_are_refused():
    unknown = Momenta(partial(cholesky, zoo.KERNELS[0]), cloud(5, 2))
    with pytest.raises(ValueError, match=r"expected momenta of shape \(5, 2\), got \(4, 2\)"):
        unknown.assign(cloud(4, 2))
