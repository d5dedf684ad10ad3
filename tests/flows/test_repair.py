"""Displacements are unfolded, however wide their folds are, and only there."""

import pytest
import torch

from diffeo.backends.grids import loops_for
from diffeo.flows.repair import unfolded
from tests.oracles import cloud

SHAPES = [(64, 50), (26, 24, 22)]


def inside(shape: tuple[int, ...]) -> torch.Tensor:
    """1 in the middle of a grid, falling to 0 at its border, shape (*shape,)."""
    window = torch.ones(shape).double()
    for axis, n in enumerate(shape):
        t = torch.linspace(-1, 1, n).double().reshape([-1 if k == axis else 1 for k in range(len(shape))])
        window = window * (1 - t**2)
    return window


def collapsed(shape: tuple[int, ...], strength: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Everything in the middle goes toward one point, and beyond it for a strength above 1."""
    index = torch.stack(torch.meshgrid(*[torch.arange(n).double() for n in shape], indexing="ij"))
    center = (torch.tensor(shape).double() - 1).reshape(-1, *[1] * len(shape)) / 2
    return (-strength * (index - center) * inside(shape) ** 2).to(dtype)


def crumpled(shape: tuple[int, ...], size: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Every point goes somewhere else by chance."""
    return (size * cloud(len(shape), inside(shape).numel(), size=1.0).reshape(-1, *shape) * inside(shape)).to(dtype)


FOLDED = {
    "collapsed": lambda shape: collapsed(shape, 1.3),
    "turned over": lambda shape: collapsed(shape, 2.5),
    "crumpled": lambda shape: crumpled(shape, 1.0),
    "torn": lambda shape: crumpled(shape, 30.0),
    "double precision": lambda shape: collapsed(shape, 1.3, torch.float64),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", FOLDED)
@pytest.mark.parametrize("least", [0.05, 0.3])
@pytest.mark.slow
def test_no_fold_is_left(shape, case, least):
    """However bad it was; and the border stands still as before."""
    u = FOLDED[case](shape)
    assert float(loops_for(u).corner_determinants(u).min()) < 0
    found = unfolded(u, least)
    assert float(loops_for(u).corner_determinants(found).min()) >= least
    assert found.dtype == u.dtype
    assert not any(bool(found.select(axis, end).any()) for axis in range(1, found.ndim) for end in (0, -1))


def test_what_is_good_stays_as_it_is():
    u = collapsed((40, 40), 0.5)
    least = float(loops_for(u).corner_determinants(u).min())
    assert torch.equal(unfolded(u, least), u)


def test_far_from_the_folds_nothing_changes():
    """A region that is turned over in one corner, a gentle wave in the other."""
    wave = 0.3 * inside((160, 90)).float()
    u = torch.stack([wave, -wave])
    u[:, 15:55, 20:60] += collapsed((40, 40), 2.0)
    found = unfolded(u, 0.1)
    assert float(loops_for(u).corner_determinants(found).min()) >= 0.1
    assert torch.equal(found[:, 100:], u[:, 100:])
    assert float((found - u)[:, 15:55, 20:60].abs().max()) > 1


def test_more_than_standing_still_has_cannot_be_asked():
    with pytest.raises(ValueError, match="nearly 1, not to 1"):
        unfolded(collapsed((9, 9), 0.5), 1.0)
