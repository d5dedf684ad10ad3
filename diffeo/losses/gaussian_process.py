"""What Gaussian processes are trained by: the likelihood of the values, and the errors at points left out."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.kernels.algebra import Radial
from diffeo.losses.kernel_loss import EXACT, KernelLoss
from diffeo.losses.kernel_system import Dense, LeftOut, Likelihood, System, judge
from diffeo.losses.nystrom import Reduced
from diffeo.losses.solved import Regression
from diffeo.shapes.points import Points


class LearnedPenaltyLoss(KernelLoss):
    """A criterion that has a minimum in λ, too, which may be trained together with the map.

    Exact only: for more than 3m points, give them in batches.
    """

    ALIKE = False  # whether values that are all the same are of any use

    def __init__(
        self,
        kernel: Radial,
        penalty: float,
        classes: int | None = None,
        centers: int = 1000,
        seed: int = 0,
        trained: bool = False,
    ) -> None:
        self.trained = trained
        super().__init__(kernel, penalty, classes, centers, seed)

    def _place_penalty(self, penalty: float) -> None:
        if penalty <= 0:
            raise ValueError(f"{type(self).__name__} expects a positive penalty, and got {penalty}.")
        logarithm = torch.tensor(math.log(penalty), dtype=torch.float64)
        self.log_penalty = nn.Parameter(logarithm, requires_grad=self.trained)

    @property
    @abstractmethod
    def criterion(self) -> Dense:
        """What is computed."""

    @property
    def penalty(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """λ, the exponential of what is trained."""
        return float(self.log_penalty.detach().exp())

    def forward(self, moved: Points, target: Tensor) -> Tensor:
        """The value.

        Raises: ValueError for targets that are neither labels nor values, or all alike; for too many points.
        """
        data = self.regression(moved, target)
        name = type(self).__name__
        if not self.ALIKE and not bool(data.y.detach().any()):
            raise ValueError(f"{name} expects targets that differ, and all {len(data.y)} are alike.")
        system = self.system(data)
        if isinstance(system, Reduced):
            raise ValueError(
                f"{name} is computed exactly, for at most {EXACT * self.centers} points with centers={self.centers}, "
                f"and got {len(data.x)}: train in batches, or use KernelRidgeLoss."
            )
        return self._judged(system, data).to(moved.x)

    def _judged(self, system: System, data: Regression) -> Tensor:
        return judge(self.criterion, system, data, self.log_penalty.exp())

    def arguments(self) -> dict[str, Any]:
        """Those of all kernel losses, and whether λ is trained."""
        return {**super().arguments(), "trained": self.trained}


class LikelihoodLoss(LearnedPenaltyLoss):
    r"""$-\log$ of the marginal likelihood of a Gaussian process with covariance $s^2 (K + \lambda I)$, over n.

    s² is the most likely one. The determinant in it keeps the map from crowding the points. Rasmussen & Williams,
    "Gaussian Processes for Machine Learning", 2006, §5.4.

    The arguments are those of `KernelLoss`; ``trained``: whether λ is optimized, too.
    """

    @property
    def criterion(self) -> Dense:
        """That of the name."""
        return Likelihood()


class LeaveOneOutLoss(LearnedPenaltyLoss):
    r"""$\tfrac1{2n} \sum_i |y_i - f_{-i}(x_i)|^2$: the error at every point of the f that is fitted without it.

    In closed form, $y_i - f_{-i}(x_i) = \alpha_i / [(K + \lambda I)^{-1}]_{ii}$: a map is trained by how well it
    generalizes. Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, §5.4.2.

    The arguments are those of `KernelLoss`; ``trained``: whether λ is optimized, too.
    """

    @property
    def criterion(self) -> Dense:
        """That of the name."""
        return LeftOut()
