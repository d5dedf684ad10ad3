r"""How far an input may be moved before a classifier can change its mind: a certified radius.

Scores are $B\varphi(x) + b$. The lead of class c over class j changes by at most $|B_c - B_j|\,\mathrm{Lip}(\varphi)\,
|\delta|$ when x moves by δ, so no δ shorter than the smallest lead over what it can lose per unit changes the label. As
$|B_c - B_j| \le \sqrt2\,\|B\|$, this is never less than the usual margin / (√2 Lip) of the scores.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.diagnostics.certificates import certificate


@torch.no_grad()
def robustness_radius(
    phi: Diffeo, head: Callable[[Tensor], Tensor], x: Tensor, lipschitz: float | None = None
) -> Tensor:
    """For each point the radius of a ball in which the label is proven to stay what it is.

    Args:
        phi: the map.
        head: the affine read-out: scores, shape (n, k), of positions, shape (n, d); k ≥ 2.
        x: points, shape (n, d).
        lipschitz: a bound of Lip(φ), instead of that of ``certificate(phi)``; a larger one where x was read in from raw
            inputs by a map A: Lip(φ)·‖A‖ gives radii of the inputs.

    Returns: shape (n,), in the units of x; 0 where two scores are equal.
    Raises: ValueError if the read-out is not affine or has one score only.
    """
    moved = phi(x)
    weight, scores = _affine(head, moved), head(moved)
    if scores.shape[1] < 2:
        raise ValueError(f"a label is the largest of at least two scores, and the read-out gives {scores.shape[1]}.")
    bound = certificate(phi).lipschitz if lipschitz is None else lipschitz
    best = scores.argmax(1)
    lead = scores.gather(1, best[:, None]) - scores
    apart = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")[best] * bound
    others = torch.ones_like(scores, dtype=torch.bool).scatter_(1, best[:, None], False)
    radii = torch.where(apart > 0, lead / apart, torch.inf)
    return torch.where(others, radii, torch.inf).amin(1)


def _affine(head: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """B, shape (k, d), found from values; checked at z."""
    d = z.shape[1]
    frame = torch.cat([z.new_zeros(1, d), torch.eye(d, dtype=z.dtype, device=z.device)])
    values = head(frame)
    weight = (values[1:] - values[0]).T
    scores = head(z)
    error = (z @ weight.T + values[0] - scores).abs()
    if bool(
        (error > 1e3 * torch.finfo(z.dtype).eps * (1 + scores.abs().max() + weight.abs().sum() * z.abs().max())).any()
    ):
        raise ValueError(
            "robustness_radius expects an affine read-out, as LinearReadOut is: for another, divide its margins by √2, "
            "its own Lipschitz constant, and that of certificate(phi)."
        )
    return weight
