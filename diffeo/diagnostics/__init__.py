"""Diagnostics: how good a result is, measured on the shapes and on the map."""

from diffeo.diagnostics.distance import Distance, distances, symmetric_distance

__all__ = ["Distance", "distances", "symmetric_distance"]
