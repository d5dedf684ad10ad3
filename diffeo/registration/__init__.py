"""Registration with good defaults: alignment, scales from the data, coarse to fine, honest reports."""

from diffeo.registration.alignment import Alignment, FullAffine, NoAlignment, Rigid, Similarity, Translation
from diffeo.registration.register import register
from diffeo.registration.result import Registration

__all__ = [
    "Alignment",
    "FullAffine",
    "NoAlignment",
    "Registration",
    "Rigid",
    "Similarity",
    "Translation",
    "register",
]
