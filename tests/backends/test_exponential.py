"""The exponential of the compiled loops, in the accuracy it claims."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from diffeo.backends import CPUBackend
from diffeo.backends.formulas import Formula
from tests import zoo


@dataclass(frozen=True)
class Exponential:
    def jet(self, u):
        return (u.exp(),)


EXPONENTIAL = Formula("exponential", ("w",), ("s",), lambda alg, jets, i, j: (jets[0].jet(i.w * j.s)[0],))


def exp(x):
    ones = torch.ones(1, 1, dtype=x.dtype)
    return CPUBackend().reduce(EXPONENTIAL, (Exponential(),), (x[:, None],), (ones,))[0][:, 0]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-7), (torch.float64, 1e-14)], ids=str)
def test_the_relative_error_is_small_everywhere(dtype, bound):
    x = torch.cat([torch.linspace(-80, 0, 200_001, dtype=dtype), -torch.logspace(-30, 0, 1000, dtype=dtype)])
    expected = np.exp(x.double().numpy().astype(np.longdouble))
    assert float((np.abs(exp(x).double().numpy() - expected) / expected).max()) < bound


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_one_at_zero_and_almost_nothing_far_away(dtype):
    x = torch.tensor([0.0, -0.0, -1e3, -1e30, -torch.inf], dtype=dtype)
    tiny = 1.1 * torch.finfo(dtype).tiny
    values = exp(x).tolist()
    assert values[:2] == [1.0, 1.0]
    assert all(0 <= value <= tiny for value in values[2:])


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_it_never_rises_by_more_than_rounding(dtype):
    values = exp(torch.linspace(0, -30, 100_001, dtype=dtype))
    assert float((values[1:] / values[:-1]).max()) < 1 + 8 * torch.finfo(dtype).eps
