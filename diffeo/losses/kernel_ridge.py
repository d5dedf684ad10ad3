"""Kernel ridge regression inside the objective: "idea registration"."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.losses.kernel_loss import KernelLoss
from diffeo.losses.kernel_system import Ridge, judge
from diffeo.losses.nystrom import Reduced, least
from diffeo.shapes.points import Points


class KernelRidgeLoss(KernelLoss):
    r"""$\tfrac{\lambda}{2n}\,\mathrm{tr}\,Y^\top (K(x, x) + \lambda I)^{-1} Y = \min_f \tfrac1{2n} \big(\sum_i
    |f(x_i) - y_i|^2 + \lambda \|f\|^2\big)$.

    One Cholesky factorization gives the value and the gradient. Source: Owhadi, "Do ideas have shape? Idea
    registration as the continuous limit of artificial neural networks", arXiv 2008.03920.

    The arguments are those of `KernelLoss`.
    """

    def forward(self, moved: Points, target: Tensor) -> Tensor:
        """The least value.

        Raises: ValueError for targets that are neither labels nor values, or where no f is the best.
        """
        data = self.regression(moved, target)
        system = self.system(data)
        if isinstance(system, Reduced):
            return least(system, data.x, data.y).to(moved.x)
        return judge(Ridge(), system, data, torch.tensor(self.penalty)).to(moved.x)
