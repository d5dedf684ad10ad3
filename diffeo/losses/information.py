"""Mutual information: images of different kinds, of which only the statistics go together."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.dense.histograms import DenseHistograms
from diffeo.backends.histograms import histograms_for
from diffeo.losses.images import ImageLoss, moments, varies
from diffeo.losses.memory import Memory


class MILoss(ImageLoss):
    r"""Normalized mutual information: for images of different kinds, as CT and MR.

    $D(I, J) = 1 - M(I, J) / \sqrt{M(I, I)\,M(J, J)}$, where M is the mutual information in the joint histogram with
    cubic B-splines as windows; channels are added in M. Windows blur the histogram of an image with itself as well,
    which is why M(J, J) is taken and not the entropy of J: where the images are equal D is 0, and its gradient too.

    Bins have equal widths in $1 / (1 + e^{-t})$, t being the intensity of each image less its mean, in standard
    deviations. Brightness and contrast change nothing, outliers do not spoil the resolution, and all is smooth: bins
    between the least and the largest value would jump as an image moves.

    Args:
        bins: along each axis of the histogram; fewer for images of few points.

    Source: Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI 2003; Viola &
    Wells, "Alignment by maximization of mutual information", IJCV 1997; Studholme et al., "An overlap invariant entropy
    measure of 3D medical image alignment", Pattern Recognition 1999.
    """

    FEWEST = 4  # bins: the windows are that wide

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        if bins != int(bins) or bins < self.FEWEST:
            raise ValueError(f"MILoss expects at least {self.FEWEST} bins, and got {bins}.")
        self.bins = int(bins)
        self._targets = Memory()

    def compare(self, moved: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """1 minus the mutual information, relative to what each image says about itself.

        Raises: ValueError for a target that is constant.
        """
        q, own = self._targets(self._placed, target, weights)
        if own is None:
            raise self.same_everywhere()
        p, within = self._placed(moved, weights)
        if within is None:
            return 1 - 0 * moved.sum()  # it says nothing, and would after any small change
        between = self._information(p, q, weights)
        return (1 - between / (within * own).sqrt()).to(moved)

    def _placed(self, values: Tensor, weights: Tensor | None) -> tuple[list[Tensor | None], Tensor | None]:
        p = positions(values, weights, self.bins)
        return p, None if all(channel is None for channel in p) else self._information(p, p, weights)

    def _information(self, p: list[Tensor | None], q: list[Tensor | None], weights: Tensor | None) -> Tensor:
        w = None if weights is None else weights.flatten()
        tables = [
            _OwnJoint.apply(a, w, self.bins) if a is b else _Joint.apply(a, b, w, self.bins)
            for a, b in zip(p, q, strict=True)
            if a is not None and b is not None
        ]
        return torch.stack([information(table) for table in tables]).sum() if tables else torch.zeros(())

    def extra_repr(self) -> str:
        """The bins."""
        return f"bins={self.bins}"


def positions(values: Tensor, weights: Tensor | None, bins: int) -> list[Tensor | None]:
    """Where the values of every channel lie on the axis of the bins, shape (n,), between 1 and bins − 2.

    None for a channel that is constant.
    """
    mean, variance = moments(values, weights)
    places: list[Tensor | None] = []
    for channel, m, v, alive in zip(values.flatten(1), mean, variance, varies(mean, variance).tolist(), strict=True):
        if not alive:
            places.append(None)
            continue
        if weights is None:
            t = torch.nn.functional.layer_norm(channel, channel.shape, eps=0.0)  # the same in fewer passes
        else:
            t = (channel - m) * v.rsqrt()
        places.append(1 + (bins - 3) * torch.sigmoid(t))
    return places


def information(table: Tensor) -> Tensor:
    """Σ p log(p / (p_a p_b)) of a joint histogram, in nats; 0 log 0 is 0."""
    joint = table / table.sum()
    tiny = torch.finfo(joint.dtype).tiny
    logs = [t.clamp(min=tiny).log() for t in (joint, joint.sum(1, keepdim=True), joint.sum(0, keepdim=True))]
    return (joint * (logs[0] - logs[1] - logs[2])).sum()


class _Joint(torch.autograd.Function):
    """The joint histogram of two images, with its derivatives."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor, weights: Tensor | None, bins: int) -> Tensor:
        ctx.save_for_backward(p, q, weights)
        ctx.bins = bins
        return histograms_for(p).joint(p, q, weights, bins)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (g,), (p, q, weights), needs = cotangents, ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled() or needs[2]:
            joint = partial(DenseHistograms().joint, bins=ctx.bins)
            return *differentiated(joint, (p, q, weights), needs, g), None
        pull = histograms_for(p).joint_pull
        return pull(p, q, weights, g) if needs[0] else None, pull(q, p, weights, g.T) if needs[1] else None, None, None


class _OwnJoint(torch.autograd.Function):
    """The joint histogram of an image with itself: symmetric, so that half the work is enough."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, weights: Tensor | None, bins: int) -> Tensor:
        ctx.save_for_backward(p, weights)
        ctx.bins = bins
        return histograms_for(p).joint(p, p, weights, bins)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (g,), (p, weights), needs = cotangents, ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled() or needs[1]:
            joint = DenseHistograms().joint
            return *differentiated(lambda a, w: joint(a, a, w, ctx.bins), (p, weights), needs, g), None
        return histograms_for(p).joint_pull(p, p, weights, g + g.T), None, None


def differentiated(function: Any, inputs: tuple[Tensor | None, ...], needs: Any, cotangent: Tensor) -> list[Any]:
    """The gradients of Σ cotangent · function in the inputs that need one, by automatic differentiation.

    For second derivatives, and for those that no loop was written for.
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [t if t is None or recorded else t.detach() for t in inputs]
        given = [t if t is None else t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in given]
        wanted = [t for t, need in zip(given, needs, strict=False) if need and t is not None]
        value = function(*given)
    found = iter(torch.autograd.grad(value, wanted, cotangent, create_graph=recorded))
    return [next(found) if need else None for _, need in zip(inputs, needs, strict=False)]
