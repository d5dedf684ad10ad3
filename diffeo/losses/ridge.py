"""Ridge regression: the best linear read-out, solved for inside the objective (variable projection)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.heads.linear import LinearReadOut
from diffeo.losses.solved import Regression, SolvedLoss, factored
from diffeo.shapes.points import Points


class RidgeLoss(SolvedLoss):
    r"""$\min_{B, b}\ \tfrac1{2n} \big(\sum_i |B z_i + b - y_i|^2 + \lambda |B|^2\big)$, solved exactly.

    Its gradient in the positions is that at the best read-out, held fixed: at a minimum nothing else contributes
    (Golub & Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares", 1973).

    Args:
        penalty: λ, in length units squared (that of values cancels): what is added to the squares of the positions,
            summed over the points.
        classes: the number of classes, for labels; if left out, one more than the largest label.
    """

    REMEMBERED = ("weight", "offset")

    weight: Tensor | None
    offset: Tensor | None

    def __init__(self, penalty: float, classes: int | None = None) -> None:
        super().__init__(penalty, classes)
        self.penalty = float(penalty)

    def forward(self, moved: Points, target: Tensor) -> Tensor:
        """The least value.

        Raises: ValueError for targets that are neither labels nor values, or where no read-out is the best.
        """
        data = self.regression(moved, target)
        return _Least.apply(self.penalty, data.root, data.x, data.y).to(moved.x)

    @torch.no_grad()
    def remember(self, moved: Points, target: Tensor) -> None:
        """Keep the best read-out for these."""
        data = self.regression(moved, target)
        center = weighted_mean(data.x, data.root)
        weight = best(data, self.penalty).T
        self.weight = weight.to(moved.x)
        self.offset = (data.mean - weight @ center).to(moved.x)

    @property
    def head(self) -> LinearReadOut:
        """The remembered read-out. Raises ValueError if there is none."""
        self.check_fitted()
        assert self.weight is not None
        outputs, dim = self.weight.shape
        return LinearReadOut(dim, outputs, trained=False, weight=self.weight, offset=self.offset)

    def predict(self, moved: Points) -> Tensor:
        """Scores or values by the remembered read-out, shape (n, k)."""
        return self.head(moved.x)

    def arguments(self) -> dict[str, Any]:
        """Penalty and number of classes."""
        return {"penalty": self.penalty, "classes": self.classes}

    def arguments_in(self, factor: float) -> dict[str, Any]:
        """The penalty is in length units squared."""
        return {"penalty": factor**2 * self.penalty, "classes": self.classes}

    def remembered_in(self, name: str, factor: float) -> Tensor:
        """The weight is in values per length."""
        value = getattr(self, name)
        return value / factor if name == "weight" else value.clone()

    def extra_repr(self) -> str:
        """The penalty."""
        return f"penalty={self.penalty:g}"


def weighted_mean(x: Tensor, root: Tensor | None) -> Tensor:
    """The mean of rows with weights √w², which have mean 1."""
    return (x if root is None else root.square() * x).mean(0)


def best(data: Regression, penalty: float) -> Tensor:
    """Bᵀ, shape (d, k); differentiable."""
    z = data.weighted(data.x - weighted_mean(data.x, data.root))
    gram = z.T @ z + penalty * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return torch.cholesky_solve(z.T @ data.weighted(data.y), factored(gram, "RidgeLoss"))


class _Least(torch.autograd.Function):
    """The least value of the ridge objective as a function of positions and values."""

    @staticmethod
    def forward(ctx: Any, penalty: float, root: Tensor | None, x: Tensor, y: Tensor) -> Tensor:
        data = Regression(x, y, y.new_zeros(y.shape[1]), root)
        weight = best(data, penalty)
        residual = data.weighted((x - weighted_mean(x, root)) @ weight - y)
        ctx.save_for_backward(x, y, weight)
        ctx.penalty, ctx.root = penalty, root
        return (residual.square().sum() + penalty * weight.square().sum()) / (2 * len(x))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        x, y, weight = ctx.saved_tensors
        data = Regression(x, y, y.new_zeros(y.shape[1]), ctx.root)
        if torch.is_grad_enabled():  # a second derivative was asked for: the read-out moves, too
            weight = best(data, ctx.penalty)
        residual = data.weighted(data.weighted((x - weighted_mean(x, ctx.root)) @ weight - y))
        slope = cotangents[0] / len(x) * residual
        # the weighted residuals sum to 0: what moves the mean of the positions moves nothing
        return None, None, slope @ weight.T, -slope
