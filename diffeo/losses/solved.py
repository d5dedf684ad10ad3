"""Read-outs that are not trained but solved for: the best one for the moved points, inside the objective."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffeo.losses.readout import INTEGERS, ReadOutLoss, checked_labels, checked_values, masses
from diffeo.shapes.points import Points


class Regression(NamedTuple):
    """What a linear system is made of, in float64: the condition number decides how many digits are left."""

    x: Tensor
    """Positions, shape (n, d)."""
    y: Tensor
    """Values, shape (n, k), less their mean."""
    mean: Tensor
    """That mean, shape (k,)."""
    root: Tensor | None
    """√w, shape (n, 1), of weights of mean 1; None where all are 1."""

    def weighted(self, rows: Tensor) -> Tensor:
        """√w times rows, shape (n, ·)."""
        return rows if self.root is None else self.root * rows


class SolvedLoss(ReadOutLoss):
    """The least value of an objective over all read-outs of a kind: what no other read-out could improve on.

    Labels become one-hot vectors, of which the mean is subtracted, as it is from values.

    Args:
        penalty: λ, of the square of the read-out's norm; 0 or more.
        classes: the number of classes, for labels; if left out, one more than the largest label.

    Raises: ValueError where these are not such.
    """

    REMEMBERED: tuple[str, ...]
    """Names of the buffers that hold a read-out."""

    def __init__(self, penalty: float, classes: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        if not (math.isfinite(penalty) and penalty >= 0):
            raise ValueError(f"{name} expects a finite penalty that is 0 or more, and got {penalty}.")
        if classes is not None and classes < 2:
            raise ValueError(f"{name} expects two classes or more, and got {classes}.")
        self.classes = classes
        for buffer in self.REMEMBERED:
            self.register_buffer(buffer, None)
        self.register_load_state_dict_pre_hook(make_room)

    @abstractmethod
    def remember(self, moved: Points, target: Tensor) -> None:
        """Keep the best read-out for these, for `predict`."""

    @property
    def fitted(self) -> bool:
        """Whether a read-out is remembered."""
        return getattr(self, self.REMEMBERED[0]) is not None

    def check_fitted(self) -> None:
        """Raise ValueError unless there is a read-out to predict with."""
        if not self.fitted:
            raise ValueError(f"{type(self).__name__} has no read-out yet: call remember(moved, target) before predict.")

    def values(self, moved: Points, target: Tensor) -> Tensor:
        """The target as values, shape (n, k): one-hot for labels.

        Raises: ValueError for targets that are neither, or of one class only.
        """
        name = type(self).__name__
        if isinstance(target, Tensor) and target.dtype in INTEGERS:
            labels = checked_labels(name, moved, target, self.classes)
            classes = int(labels.max()) + 1 if self.classes is None else self.classes
            if classes < 2:
                raise ValueError(
                    f"{name} expects labels of two classes or more, and all {len(labels)} are 0: say classes=… if this "
                    "batch lacks the others."
                )
            return torch.nn.functional.one_hot(labels, classes).double()
        return checked_values(name, moved, target, self.classes).double()

    def regression(self, moved: Points, target: Tensor) -> Regression:
        """The data, ready for a linear system; differentiable in positions and values."""
        y, w = self.values(moved, target), masses(moved)
        root = None if w is None else w.detach().double().sqrt()[:, None]
        mean = (y if root is None else root.square() * y).mean(0)
        return Regression(moved.x.double(), y - mean, mean, root)

    def rescaled(self, factor: float) -> SolvedLoss:
        """The same for other units; what is remembered, too."""
        other = type(self)(**self.arguments_in(factor))
        for name in self.REMEMBERED if self.fitted else ():
            setattr(other, name, self.remembered_in(name, factor))
        return other

    @abstractmethod
    def arguments_in(self, factor: float) -> dict[str, Any]:
        """The arguments for lengths multiplied by ``factor``."""

    @abstractmethod
    def remembered_in(self, name: str, factor: float) -> Tensor:
        """A remembered buffer for lengths multiplied by ``factor``."""


def make_room(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before ``load_state_dict``: there is a read-out afterwards if there is one in the state."""
    for name in module.REMEMBERED:
        saved = state.get(prefix + name)
        setattr(module, name, None if saved is None else torch.empty_like(saved, device=_device(module, saved)))


def _device(module: Any, saved: Tensor) -> torch.device:
    return next((t.device for t in (*module.parameters(), *module.buffers())), saved.device)


class SingularError(ValueError, ArithmeticError):
    """No read-out is the best: at the start a fault of the data, later a step that went too far."""


def factored(matrix: Tensor, loss: str) -> Tensor:
    """The lower Cholesky factor of a positive matrix; what is above its diagonal is not read.

    Raises: SingularError, a ValueError, where it is singular up to rounding.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    # what of a row is not in the rows above it; relative to the row, so that units of coordinates do not count
    new = (factor.diagonal().square() / matrix.diagonal()).detach()
    if int(info) or not float(new.min()) > 4 * torch.finfo(matrix.dtype).eps * len(matrix) ** 0.5:
        raise SingularError(
            f"{loss} cannot solve for its read-out: points coincide, or lie in fewer dimensions than they have, so "
            "that the system is singular; give a positive penalty."
        )
    return factor
