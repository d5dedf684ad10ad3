"""Fields that leave some coordinates where they are: what conditional flows are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.contractive import Contractive
from diffeo.fields.feature_field import FeatureField
from diffeo.fields.kernel_field import KernelField
from diffeo.fields.perceptron_field import FrozenPerceptronField, PerceptronField
from diffeo.fields.trained_kernel_field import TrainedKernelField


class Conditioned(Field):
    r"""A field on points (x, c) that moves x alone: $v(x, c) = (u(x, c), 0)$.

    A flow along such fields carries x as c tells it, and its log-determinant is that of x ↦ φ(x, c): with a
    `ConditionalLaw` as the base it is the law of x given c. The components that do not move cost nothing: their
    momenta, or outer weights, are set to 0 in u itself, and stay there, as nothing pulls at them.

    Args:
        field: u, on R^{d+k}: a `KernelField`, `TrainedKernelField`, `FeatureField`, `PerceptronField`,
            `FrozenPerceptronField`, or a `Contractive` one of these.
        given: k, how many coordinates, the last ones, stay; at least one, and not all.

    Raises: ValueError for other fields, whose components are not paid one by one, and for other numbers.
    """

    def __init__(self, field: Field, given: int) -> None:
        super().__init__()
        vectors = vectors_of(field)
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given < vectors.shape[1]:
            raise ValueError(
                f"Conditioned expects the number of coordinates that stay, from 1 to {vectors.shape[1] - 1} for this "
                f"field, and got {given!r}."
            )
        with torch.no_grad():
            vectors[:, -given:] = 0
        self.field, self.given = field, given

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d + k): the last k columns are 0."""
        return still(self.field(x), self.given)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d + k, d + k): the last k rows are 0."""
        return still(self.field.jacobian(x), self.given)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.jacobian(x).diagonal(dim1=1, dim2=2).sum(1)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V: that of u, of which nothing else is left."""
        return self.field.sqnorm()

    def lipschitz(self) -> Tensor:
        """That of u."""
        return self.field.lipschitz()

    def frozen(self) -> Still:
        """With u frozen."""
        return Still(self.field.frozen(), self)

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of u."""
        return self.field.rates()

    def redrawn(self, seed: int) -> Conditioned:
        """Of another u."""
        return Conditioned(self.field.redrawn(seed), self.given)

    def arguments(self) -> dict[str, Any]:
        """u and k."""
        return {"field": self.field, "given": self.given}

    def rescaled(self, factor: float, shift: Tensor) -> Conditioned:
        """u in the other units; c is in them, too."""
        return Conditioned(self.field.rescaled(factor, shift), self.given)

    def extra_repr(self) -> str:
        """How many coordinates stay."""
        return f"given={self.given}"


class Still:
    """A velocity without its last components."""

    def __init__(self, velocity: Any, field: Conditioned) -> None:
        self.velocity, self.field = velocity, field

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d + k)."""
        return still(self.velocity(x), self.field.given)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d + k, d + k)."""
        return still(self.velocity.jacobian(x), self.field.given)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V."""
        return self.field.sqnorm()

    def lipschitz(self) -> Tensor:
        """That of u."""
        return self.field.lipschitz()


def still(values: Tensor, given: int) -> Tensor:
    """Velocities, shape (n, d + k), or derivatives, shape (n, d + k, ·), with the last k components 0."""
    return torch.cat([values[:, :-given], torch.zeros_like(values[:, -given:])], 1)


def vectors_of(field: Field) -> nn.Parameter:
    """What each component of a velocity is proportional to a column of, shape (m, d).

    Raises: ValueError for fields whose components have no columns of their own.
    """
    if isinstance(field, Contractive):
        return vectors_of(field.field)
    if isinstance(field, KernelField | FeatureField | FrozenPerceptronField):
        return field.coefficients
    if isinstance(field, TrainedKernelField):
        return field.momenta
    if isinstance(field, PerceptronField):
        return field.outer
    raise ValueError(
        f"Conditioned holds the last components of a field still, which for a {type(field).__name__} are not on their "
        "own: take a KernelField, TrainedKernelField, FeatureField or PerceptronField."
    )
