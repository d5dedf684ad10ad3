"""The best read-out in the space of a kernel: what the losses that solve for it have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.kernels.algebra import Radial
from diffeo.kernels.reductions import product
from diffeo.losses.kernel_system import System
from diffeo.losses.nystrom import Reduced
from diffeo.losses.solved import Regression, SolvedLoss
from diffeo.shapes.points import Points

EXACT = 3  # times as many points as centers: up to there the exact system costs less than the reduced one


class KernelLoss(SolvedLoss):
    r"""A function of the $f$ in the space of a kernel that is the least of $\sum_i |f(x_i) - y_i|^2 + \lambda \|f\|^2$.

    Where points have weights w of mean 1, their squares are weighted with them.

    Args:
        kernel: K, of positions; its scale is how far apart two points may be and still say something of each other.
        penalty: λ; also the variance of noise where k(0) is that of the values.
        classes: the number of classes, for labels; if left out, one more than the largest label.
        centers: m. Up to 3m points the system is solved exactly, in n³/3 operations; beyond, f is carried by m of the
            points, drawn once, which takes 3nm².
        seed: of that draw.

    Raises: ValueError where these are not such.
    """

    REMEMBERED = ("points", "coefficients", "mean")

    points: Tensor | None
    coefficients: Tensor | None
    mean: Tensor | None

    def __init__(
        self, kernel: Radial, penalty: float, classes: int | None = None, centers: int = 1000, seed: int = 0
    ) -> None:
        super().__init__(penalty, classes)
        if centers < 1:
            raise ValueError(f"{type(self).__name__} expects a number of centers that is 1 or more, and got {centers}.")
        self.centers, self.seed = centers, seed
        self._place_kernel(kernel)
        self._place_penalty(float(penalty))

    def _place_kernel(self, kernel: Radial) -> None:
        self.kernel = kernel

    def _place_penalty(self, penalty: float) -> None:
        self.penalty = penalty

    def chosen(self, n: int) -> Tensor | None:
        """Which of n points are the centers; None where all are, and the system is exact."""
        if n <= EXACT * self.centers:
            return None
        return torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))[: self.centers]

    def system(self, data: Regression) -> System | Reduced:
        """The linear system of these data, exact or reduced."""
        plain = Regression(*(None if t is None else t.detach() for t in data))  # pyright: ignore[reportArgumentType]
        chosen, name = self.chosen(len(data.x)), type(self).__name__
        if chosen is None:
            return System(self.kernel, plain, self.penalty, name)
        return Reduced(self.kernel, plain, chosen.to(data.x.device), self.penalty, name)

    @torch.no_grad()
    def remember(self, moved: Points, target: Tensor) -> None:
        """Keep the best f for these."""
        data = self.regression(moved, target)
        system = self.system(data)
        if isinstance(system, System):
            self.points, self.coefficients = data.x, data.weighted(system.alpha)
        else:
            self.points, self.coefficients = system.c, system.beta
        self.mean = data.mean

    def predict(self, moved: Points) -> Tensor:
        """F(x) of the remembered f, shape (n, k).

        Raises: ValueError if there is none.
        """
        self.check_fitted()
        assert self.points is not None
        assert self.coefficients is not None
        assert self.mean is not None
        x = moved.x.to(self.points)
        return (product(self.kernel, x, self.points, self.coefficients) + self.mean).to(moved.x)

    @torch.no_grad()
    def leave_one_out(self, moved: Points, target: Tensor) -> Tensor:
        """y_i − f(x_i), f fitted without the point i, shape (n, k), in closed form: to choose penalty and scale by.

        The mean that is subtracted from all values stays that of all; labels are one-hot.
        """
        data = self.regression(moved, target)
        system = self.system(data)
        errors = system.left_out()
        if data.root is not None:  # points without weight are left out of every f already
            none = data.root == 0
            errors = torch.where(none, data.y - system.fitted, errors / data.root.masked_fill(none, 1.0))
        return errors.to(moved.x)

    def arguments(self) -> dict[str, Any]:
        """Kernel, penalty, number of classes, centers."""
        return {
            "kernel": self.kernel,
            "penalty": self.penalty,
            "classes": self.classes,
            "centers": self.centers,
            "seed": self.seed,
        }

    def arguments_in(self, factor: float) -> dict[str, Any]:
        """The kernel has a scale, the penalty has no unit."""
        return {**self.arguments(), "kernel": self.kernel.rescaled(factor)}

    def remembered_in(self, name: str, factor: float) -> Tensor:
        """The points have a unit."""
        value = getattr(self, name)
        return factor * value if name == "points" else value.clone()

    def extra_repr(self) -> str:
        """Kernel and penalty."""
        return f"{self.kernel!r}, penalty={self.penalty:.3g}"
