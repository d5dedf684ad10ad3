"""All that a fit changes, to be kept, compared and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Diffeo, Field, Grown, Loss


class Trained:
    """φ, and of the loss (heads) and the other modules (read-ins) those that have something to learn.

    Args:
        phi: the diffeomorphism; of a `Grown` one nothing is optimized.
        loss: D.
        modules: others whose parameters are trained along.

    Attributes:
        parameters: all that is optimized.
        anchor: a tensor of φ, if there is one: data, loss and modules follow its dtype and device.

    Raises: ValueError for modules beside a `Grown` map, whose layers rest on them.
    """

    def __init__(self, phi: Diffeo, loss: Loss, modules: Sequence[nn.Module] = ()) -> None:
        if modules and isinstance(phi, Grown):
            raise ValueError(
                f"{type(phi).__name__} grows on what its sources are, and modules that change them cannot be trained "
                "with it: leave modules out, or train a Flow."
            )
        self.phi, self.modules = phi, tuple(modules)
        self.others = [m for m in (loss, *modules) if _learned(m)]
        first: list[nn.Module] = [] if isinstance(phi, Grown) else [phi]
        self.parameters = list({id(p): p for module in (*first, *self.others) for p in _learned(module)}.values())
        tensors = (*phi.parameters(), *phi.buffers())
        self.anchor: Tensor | None = next((t for t in tensors if t.is_floating_point()), None)

    def rates(self) -> list[float]:
        """For each parameter, the factor from its Euclidean gradient to that in V; 1 outside of φ, fields and maps."""
        known = [m for m in (self.phi, *self.modules) if isinstance(m, Diffeo | Field)]
        factors = {id(p): rate for module in known for p, rate in module.rates()}
        return [factors.get(id(p), 1.0) for p in self.parameters]

    def snapshot(self) -> dict[str, Any]:
        """A copy of the present state."""
        phi = self.phi.growth() if isinstance(self.phi, Grown) else _copied(self.phi)
        return {"phi": phi, "others": [_copied(module) for module in self.others]}

    def load(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        if isinstance(self.phi, Grown):
            self.phi.regrow(snapshot["phi"])
        else:
            self.phi.load_state_dict(snapshot["phi"])
        for module, state in zip(self.others, snapshot["others"], strict=True):
            module.load_state_dict(state)

    def equals(self, snapshot: dict[str, Any]) -> bool:
        """Whether nothing has changed since a snapshot; of a `Grown` map that is not known."""
        if isinstance(self.phi, Grown):
            return False
        kept = (snapshot["phi"], *snapshot["others"])
        states = zip((m.state_dict() for m in (self.phi, *self.others)), kept, strict=True)
        return all(torch.equal(a[key], b[key]) for a, b in states for key in a if torch.is_tensor(a[key]))

    def tensors(self) -> list[Tensor]:
        """Everything that has a value: parameters and buffers."""
        modules = (self.phi, *self.others)
        return list({id(t): t for m in modules for t in (*m.parameters(), *m.buffers())}.values())


def _learned(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _copied(module: nn.Module) -> dict[str, Any]:
    return {k: v.detach().clone() if torch.is_tensor(v) else v for k, v in module.state_dict().items()}
