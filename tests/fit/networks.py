"""Small residual networks, and what they are to learn."""

from functools import partial

import torch

from diffeo import (
    Batches,
    Euler,
    FeatureField,
    Flow,
    GaussianKernel,
    InV,
    LinearReadOut,
    Points,
    SquaredLoss,
    fit,
)
from tests.oracles import cloud

F64 = torch.float64
SGD = InV(partial(torch.optim.SGD, lr=0.2, momentum=0.5))
ADAM = partial(torch.optim.Adam, lr=0.02)


def data(n=40, dtype=F64, seed=0):
    """Positions (n, 2) and values (n, 2)."""
    x = cloud(n, 2, dtype, seed, size=1.0)
    return x, torch.sin(2 * x)


def network(depth=4, width=12, dtype=F64, **options):
    """A residual network that is the identity."""
    field = FeatureField(GaussianKernel(1.0), 2, width, coefficients=torch.zeros(width, 2, dtype=dtype))
    return Flow(field, Euler(), depth, **options)


def loss(dtype=F64, seed=0):
    """A squared loss whose read-out is trained."""
    head = LinearReadOut(2, 2, seed=seed)
    return SquaredLoss(head.to(dtype))


def train(phi, on, fitted, **options):
    """`fit` as the tests call it."""
    return fit(
        phi, on, fitted, **({"weight": 1e-3, "optimizer": SGD, "max_iterations": 6, "tolerance": None} | options)
    )


def run(on, depth=4, **options):
    """A network and its loss, trained on something, with the history."""
    phi, fitted = network(depth), loss()
    return phi, fitted, train(phi, on, fitted, **options)


def unknowns(*modules):
    """All that was learned, one after the other."""
    return torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])


def whole(n=40):
    """All pairs at once."""
    x, y = data(n)
    return [(Points(x), y)]


def batches(n=40, size=16, **options):
    """The same, in batches."""
    return Batches(*data(n), size, **options)
