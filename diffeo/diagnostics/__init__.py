"""Diagnostics: how good a result is, measured on the shapes and on the map."""

from diffeo.diagnostics.crossings import crossing_faces, crossing_pairs
from diffeo.diagnostics.distance import Distance, distances, symmetric_distance
from diffeo.diagnostics.folding import carried_directions, flipped, turned

__all__ = [
    "Distance",
    "carried_directions",
    "crossing_faces",
    "crossing_pairs",
    "distances",
    "flipped",
    "symmetric_distance",
    "turned",
]
