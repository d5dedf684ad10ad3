"""Shapes compared as measures: MMD, currents, varifolds (MATH.md §2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.kernels.algebra import Radial
from diffeo.kernels.measures import Aligned, Orientation, Oriented, Parts, Unoriented, inner, square
from diffeo.shapes.base import PointShape


class MeasureLoss(Loss):
    """D = ⟨μ, μ⟩ − 2⟨μ, ν⟩ + ⟨ν, ν⟩ in the dual of a kernel's space; ⟨ν, ν⟩ is computed once per target.

    Args:
        kernel: compares positions; its scale is how far apart two pieces may be and still see each other.
    """

    def __init__(self, kernel: Radial) -> None:
        super().__init__()
        self.kernel = kernel
        self._targets: WeakKeyDictionary[PointShape, Tensor] = WeakKeyDictionary()

    @property
    @abstractmethod
    def orientation(self) -> Orientation | None:
        """How directions are compared; None where they are not."""

    def parts(self, shape: PointShape) -> Parts:
        """Centers, directions and weights of a shape. Raises ValueError if it has no directions to compare."""
        if not isinstance(shape, PointShape):
            raise ValueError(
                f"{type(self).__name__} compares points, curves and meshes, and got {type(shape).__name__}."
            )
        measure = shape.measure()
        if self.orientation is not None and measure.directions is None:
            raise ValueError(
                f"{type(self).__name__} compares tangents or normals, which {type(shape).__name__} does not have: use "
                "MMDLoss or SinkhornLoss for points."
            )
        return measure.centers, measure.directions, measure.weights

    def forward(self, moved: PointShape, target: PointShape) -> Tensor:
        """The squared distance between the two measures."""
        if moved.x.shape[1] != target.x.shape[1]:
            raise ValueError(
                f"{type(self).__name__} compares shapes of one dimension, and got {moved.x.shape[1]} and "
                f"{target.x.shape[1]}."
            )
        mu, nu = self.parts(moved), self.parts(target)
        return (
            square(self.kernel, self.orientation, mu)
            - 2 * inner(self.kernel, self.orientation, mu, nu)
            + self._square_of(target, nu)
        )

    def _square_of(self, target: PointShape, nu: Parts) -> Tensor:
        if any(t is not None and t.requires_grad for t in nu):
            return square(self.kernel, self.orientation, nu)
        if target not in self._targets:
            with torch.no_grad():
                self._targets[target] = square(self.kernel, self.orientation, nu)
        return self._targets[target]

    def rescaled(self, factor: float) -> Self:
        """The kernel in the other units."""
        return type(self)(self.kernel.rescaled(factor))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_targets"}  # weak: cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._targets = WeakKeyDictionary()

    def extra_repr(self) -> str:
        """The kernel."""
        return repr(self.kernel)


class MMDLoss(MeasureLoss):
    """Maximum mean discrepancy: where mass is, not which way it points. For points, curves and meshes.

    Args:
        kernel: compares positions.
        normalized: scale both masses to 1 first, to compare shapes of different kinds.

    Source: Gretton et al., "A kernel two-sample test", JMLR 2012.
    """

    def __init__(self, kernel: Radial, normalized: bool = False) -> None:
        super().__init__(kernel)
        self.normalized = normalized

    @property
    def orientation(self) -> None:
        """None."""
        return

    def parts(self, shape: PointShape) -> Parts:
        """Centers and weights, of total 1 where they are to be."""
        centers, _, weights = super().parts(shape)
        return centers, None, weights / weights.sum() if self.normalized else weights

    def rescaled(self, factor: float) -> Self:
        """The kernel in the other units."""
        return type(self)(self.kernel.rescaled(factor), self.normalized)


class CurrentLoss(MeasureLoss):
    """Currents: opposite pieces cancel; for consistently oriented curves and surfaces.

    Source: Vaillant & Glaunès, "Surface matching via currents", IPMI 2005.
    """

    @property
    def orientation(self) -> Aligned:
        """o(z) = z."""
        return Aligned()


class VarifoldLoss(MeasureLoss):
    """Varifolds: position and direction together; orientation does not matter unless asked for.

    Args:
        kernel: compares positions.
        orientation: `Unoriented` (z², the default) or `Oriented`.

    Source: Charon & Trouvé, "The varifold representation of nonoriented shapes", SIAM J. Imaging Sciences 2013.
    """

    def __init__(self, kernel: Radial, orientation: Unoriented | Oriented | None = None) -> None:
        super().__init__(kernel)
        self._orientation = orientation or Unoriented()

    @property
    def orientation(self) -> Unoriented | Oriented:
        """How directions are compared."""
        return self._orientation

    def rescaled(self, factor: float) -> Self:
        """The kernel in the other units."""
        return type(self)(self.kernel.rescaled(factor), self._orientation)
