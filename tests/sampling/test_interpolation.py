"""Resampling as a differentiable function, any number of times; positions that do not fit are refused."""

from functools import partial

import pytest
import torch

from diffeo.backends.cpu.grids import CPUGrids
from diffeo.grid import Grid
from diffeo.sampling import index_rows, sample, sample_with_jacobian, warp
from tests.backends.grids import array, placing
from tests.oracles import cloud, distance

F64 = torch.float64
SHAPES = [(6,), (4, 5), (3, 4, 3), (1, 4)]
gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)  # along random directions
gradgradcheck = partial(torch.autograd.gradgradcheck, fast_mode=True)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def between(shape, n, seed=0):
    """Indices (d, n) around the grid, at some distance from the kinks at whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(shape)[:, None]
    cells = torch.stack([torch.randint(-2, s + 1, (n,), generator=generator) for s in shape])
    parts = 0.1 + 0.8 * torch.rand(len(sizes), n, generator=generator, dtype=F64)
    parts[sizes[:, 0] == 1] = 0.3
    cells[sizes[:, 0] == 1] = 0
    return cells + parts


def bent(shape):
    """An affine map of indices, and a displacement on a grid of one point more, that lead to places between points."""
    d, other = len(shape), tuple(n + 1 for n in shape)
    m, t = placing(d)
    i = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=F64) for n in other), indexing="ij")).flatten(1)
    where = between(shape, i.shape[1])
    return m, t, (torch.linalg.inv(m) @ (where - t[:, None]) - i).reshape(d, *other)


# ---- derivatives of first and second order


@shapes
def test_samples_can_be_differentiated_twice(shape):
    values, index = array(2, *shape).requires_grad_(), between(shape, 5).requires_grad_()
    assert gradcheck(sample, (values, index))
    assert gradgradcheck(sample, (values, index))


@shapes
def test_warps_can_be_differentiated_twice(shape):
    m, t, u = bent(shape)
    values, u = array(2, *shape).requires_grad_(), u.requires_grad_()
    assert gradcheck(lambda f, w: warp(f, m, t, w), (values, u))
    assert gradgradcheck(lambda f, w: warp(f, m, t, w), (values, u))


@shapes
def test_jacobians_can_be_differentiated(shape):
    values, index = array(2, *shape).requires_grad_(), between(shape, 5).requires_grad_()
    assert gradcheck(sample_with_jacobian, (values, index))


@shapes
@pytest.mark.parametrize("needs", [(True, False), (False, True)], ids=["values", "positions"])
def test_one_gradient_may_be_wanted_alone(shape, needs):
    inputs = [array(2, *shape), between(shape, 5)]
    wanted = [x.requires_grad_() for x, need in zip(inputs, needs, strict=True) if need]
    assert gradcheck(lambda *_: sample(*inputs), wanted)
    assert gradcheck(lambda *_: sample_with_jacobian(*inputs), wanted)


@shapes
def test_the_jacobian_is_the_derivative_of_the_sample(shape):
    values, index = array(2, *shape), between(shape, 7)
    sampled, slopes = sample_with_jacobian(values, index)
    assert torch.equal(sampled, sample(values, index))
    full = torch.autograd.functional.jacobian(lambda x: sample(values, x), index)
    expected = full[:, torch.arange(7), :, torch.arange(7)].permute(1, 2, 0)
    assert slopes.shape == (2, len(shape), 7)
    assert distance(slopes, expected) < 1e-14
    recorded = sample_with_jacobian(values.requires_grad_(), index)[1]
    assert recorded.requires_grad
    assert distance(recorded, slopes) < 1e-13
    assert not slopes.requires_grad


def test_gradients_in_float32_are_those_in_float64():
    m, t, u = bent((5, 6))
    found = []
    for dtype in (torch.float32, F64):
        values, w = array(2, 5, 6).to(dtype).requires_grad_(), u.to(dtype).requires_grad_()
        found.append(torch.autograd.grad(warp(values, m, t, w).square().sum(), (values, w)))
        assert all(g.dtype == dtype for g in found[-1])
    for single, double in zip(*found, strict=True):
        assert distance(single, double) < 1e-4


def test_other_precisions_go_through_torch():
    values, index = array(2, 5, 6), between((5, 6), 20)
    half = sample(values.bfloat16(), index.bfloat16())
    assert half.dtype == torch.bfloat16
    assert distance(half, sample(values.bfloat16().double(), index.bfloat16().double())) < 0.1


@shapes
def test_warping_is_sampling_at_positions(shape):
    m, t, u = bent(shape)
    i = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=F64) for n in u.shape[1:]), indexing="ij"))
    where = torch.einsum("ab,b...->a...", m, i + u) + t.reshape(-1, *[1] * len(shape))
    values = array(2, *shape)
    assert distance(warp(values, m, t, u), sample(values, where)) < 1e-13


# ---- the fused loops are used, and the inputs are left alone


def test_no_gradient_costs_a_pass_through_torch(monkeypatch):
    """Unless it is to be differentiated itself."""
    calls = []
    for name in ("sample_pull", "warp_pull"):
        fused = getattr(CPUGrids, name)
        monkeypatch.setattr(CPUGrids, name, lambda *a, name=name, fused=fused: calls.append(name) or fused(*a))
    values, index = array(1, 5, 6).requires_grad_(), between((5, 6), 5).requires_grad_()
    sample(values, index).sum().backward()
    assert calls == ["sample_pull"]
    calls.clear()
    torch.autograd.grad(sample(values, index).sum(), index, create_graph=True)
    assert not calls


# ---- positions


def test_positions_are_indices_of_the_grid():
    grid = Grid((4, 5), torch.tensor([[0.5, 0.1, 3], [0, -2, 1], [0, 0, 1]], dtype=F64))
    x, values = cloud(7, 2), torch.zeros(1, 4, 5, dtype=F64)
    index = index_rows(grid, x, values)
    assert index.shape == (2, 7)
    assert distance(grid.to_space(index.T), x) < 1e-14


@pytest.mark.parametrize("shape", [(7, 3), (7,), (2, 7), (7, 2, 1)], ids=str)
def test_positions_of_another_shape_are_refused(shape):
    grid = Grid((4, 5), torch.eye(3))
    with pytest.raises(ValueError, match=r"a grid of 2 axes takes positions of shape \(n, 2\), not"):
        index_rows(grid, torch.zeros(shape), torch.zeros(1, 4, 5))


def test_positions_of_another_precision_are_refused():
    grid = Grid((4, 5), torch.eye(3))
    with pytest.raises(ValueError, match=r"torch.float32 on cpu, and got torch.float64 on cpu: convert one with .to()"):
        index_rows(grid, torch.zeros(7, 2, dtype=F64), torch.zeros(1, 4, 5))
