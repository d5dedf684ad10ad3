"""Maps between tables and flows: what only changes units comes first, and is told apart from the flow itself."""

from __future__ import annotations

from diffeo.core import Compose, Diffeo
from diffeo.flows.affine import Affine
from diffeo.flows.columns import Bounded
from diffeo.flows.learned_affine import LearnedAffine

FRAME = (Bounded, Affine, LearnedAffine)  # what only changes units: it never folds


def parted(phi: Diffeo) -> tuple[list[Diffeo], list[Diffeo]]:
    """The parts of a map that only change units, as far as they come first, and those after them."""
    parts = phi.diffeos if isinstance(phi, Compose) else [phi]
    count = next((k for k, part in enumerate(parts) if not isinstance(part, FRAME)), len(parts))
    return parts[:count], parts[count:]


def opening(phi: Diffeo) -> Bounded | None:
    """What opens up bounded columns, if a map starts with that."""
    first = parted(phi)[0][:1]
    return first[0] if first and isinstance(first[0], Bounded) else None
