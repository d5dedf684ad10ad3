"""Results in folders, opened again: to draw them, to look at them, to go on with them."""

from diffeo.results.opening import open_result

__all__ = ["open_result"]
