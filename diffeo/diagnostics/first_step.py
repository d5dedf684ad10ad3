"""The first step of training against its linearization: non-local diffusion.

At the identity all points are still where they were, and a step of length η of gradient descent in V moves *every*
point, of the data or not, by −η Σ_j K(x, z_j) p_j + O(η²), with p_j = ∂J/∂z_j: what the loss wants of the data, spread
by the kernel. In a network, K is the tangent kernel of the layers, on average over them.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.core import Loss, objective
from diffeo.diagnostics.convergence import ends, layered
from diffeo.diagnostics.metric import Pairs, requiring, unknowns
from diffeo.diagnostics.tangents import features, slopes
from diffeo.flows import Flow


class FirstStep(NamedTuple):
    """How points move in a step, shape (n, d) each."""

    moved: Tensor
    """φ(x) − x after the step."""
    linear: Tensor
    """−η Σ_j K(x, z_j) p_j."""

    @property
    def error(self) -> float:
        """The largest difference, relative to the largest displacement: O(η)."""
        return float((self.moved - self.linear).norm(dim=1).max() / self.linear.norm(dim=1).max())


def first_step(phi: Flow, pairs: Pairs, loss: Loss, x: Tensor, rate: float) -> FirstStep:
    """What a step of gradient descent in V from the identity does to points, and what its linearization says.

    Args:
        phi: a flow of one field per layer, at rest; left as it is.
        pairs: (source, target), the sources being points.
        loss: D.
        x: any points, shape (n, d).
        rate: η.

    Raises: ValueError where φ is not the identity, or not such a flow.
    """
    if not layered(phi, pairs):
        raise ValueError("first_step expects a Flow of points with one field per layer, neither shared nor carried.")
    with torch.no_grad():
        if float(phi.energy()) > 0:
            raise ValueError("first_step linearizes at the identity, and got a map of positive energy: set it to 0.")
    z, p = ends(phi, pairs, loss)
    stepped = copy.deepcopy(phi)
    parameters, rates = zip(*unknowns(stepped), strict=True)
    with requiring(parameters):
        total = objective(stepped, pairs, loss, 0.0).total
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        for parameter, factor, gradient in zip(parameters, rates, gradients, strict=True):
            parameter -= rate * factor * gradient
        return FirstStep(stepped(x) - x, rate * non_local_diffusion(phi, z, p, x))


@torch.no_grad()
def non_local_diffusion(phi: Flow, z: Tensor, p: Tensor, x: Tensor) -> Tensor:
    """−Σ_j K(x, z_j) p_j, shape (n, d), for the kernel of the layers on average, as they are now.

    Args:
        phi: gives the fields.
        z, p: positions and what the loss says there, shape (m, d).
        x: points, shape (n, d).
    """
    total = torch.zeros_like(x)
    for field in phi.layer_fields():
        there, here = features(field, z), features(field, x)
        if there is not None and here is not None:
            total -= here @ (there.T @ p)
        else:
            total -= slopes(field, x) @ torch.einsum("map,ma->p", slopes(field, z), p)
    return total / phi.layer_count
