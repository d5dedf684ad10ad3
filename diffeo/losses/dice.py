"""The overlap of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.losses.images import ImageLoss


class DiceLoss(ImageLoss):
    r"""Soft Dice: for segmentations, one channel per label (see `one_hot`), each a membership from 0 to 1.

    $D(I, J) = 1 - \frac1c \sum_k 2 \langle I_k, J_k \rangle / (\langle I_k, I_k \rangle + \langle J_k, J_k \rangle)$,
    with ⟨·,·⟩ summing over the weighted points: the mean Dice coefficient where memberships are 0 or 1, and 0 for equal
    images whatever they are. A label that neither image has agrees.

    Source: Milletari et al., "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    3DV 2016.
    """

    def compare(self, moved: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """1 minus the mean coefficient."""
        a, b = moved.flatten(1), target.flatten(1)
        w = None if weights is None else weights.flatten()

        def inner(f: Tensor, g: Tensor) -> Tensor:
            return torch.einsum("cn,cn->c", f, g if w is None else w * g)

        both = inner(a, a) + inner(b, b)
        missed = 1 - 2 * inner(a, b) / both.clamp(min=torch.finfo(both.dtype).tiny)
        return torch.where(both > 0, missed, 0).mean()
