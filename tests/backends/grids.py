"""Random arrays on grids, and positions in them."""

import torch

from tests.oracles import cloud

F64 = torch.float64


def array(*shape, dtype=F64, seed=0, size=0.5):
    """Normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return (size * torch.randn(*shape, generator=generator, dtype=F64)).to(dtype)


def places(shape, n, dtype=F64, seed=0):
    """Indices (d, n) in the grid and around it."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(shape, dtype=F64)[:, None]
    return ((sizes + 3) * torch.rand(len(shape), n, generator=generator, dtype=F64) - 2).to(dtype)


def placing(d, seed=0):
    """An affine map of indices that is not far from the identity."""
    return torch.eye(d, dtype=F64) + 0.2 * cloud(d, d, seed=seed), 0.5 * cloud(1, d, seed=seed + 1)[0]


def every_index(shape):
    """Shape (d, *shape)."""
    return torch.stack(torch.meshgrid(*(torch.arange(n, dtype=F64) for n in shape), indexing="ij"))


def within(shape, n, seed=0):
    """Indices (d, n) inside of the grid."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(shape), n, generator=generator, dtype=F64) * (torch.tensor(shape)[:, None] - 1)
