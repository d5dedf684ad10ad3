"""Which face of a surface is seen at each pixel of a parallel projection, in a compiled loop: no display is needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOTHING = -1


class Seen(NamedTuple):
    """What is in front, pixel by pixel; rows go downward."""

    face: NDArray[np.int32]
    """Row of the face, shape (h, w); -1 where nothing is seen."""
    depth: NDArray[np.float32]
    """How near it is, in pixels, shape (h, w); larger is nearer, and minus infinity is nothing."""
    parts: NDArray[np.float32]
    """Weights of the face's second and third corner, shape (h, w, 2)."""

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Where something is seen."""
        return self.face != NOTHING


def seen(corners: NDArray[np.floating], height: int, width: int) -> Seen:
    """The nearest face at the center of every pixel.

    Args:
        corners: of the faces, shape (f, 3, 3): column and row in pixels, from the upper left corner, and nearness.
        height, width: of the picture.
    """
    out = Seen(
        np.full((height, width), NOTHING, np.int32),
        np.full((height, width), -np.inf, np.float32),
        np.zeros((height, width, 2), np.float32),
    )
    _fill(np.ascontiguousarray(corners, np.float64), *out)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _fill(corners: Any, face: Any, depth: Any, parts: Any) -> None:
    height, width = face.shape
    for f in range(len(corners)):
        c = corners[f]
        ax, ay, az = c[0, 0], c[0, 1], c[0, 2]
        ux, uy, uz = c[1, 0] - ax, c[1, 1] - ay, c[1, 2] - az
        vx, vy, vz = c[2, 0] - ax, c[2, 1] - ay, c[2, 2] - az
        area = ux * vy - vx * uy
        if area == 0 or not np.isfinite(area):
            continue
        left, right = ax + min(0.0, ux, vx), ax + max(0.0, ux, vx)
        top, bottom = ay + min(0.0, uy, vy), ay + max(0.0, uy, vy)
        if right < 0 or bottom < 0 or left > width or top > height:
            continue
        for i in range(max(0, int(np.ceil(top - 0.5))), min(height, int(np.floor(bottom - 0.5)) + 1)):
            y = i + 0.5 - ay
            for j in range(max(0, int(np.ceil(left - 0.5))), min(width, int(np.floor(right - 0.5)) + 1)):
                x = j + 0.5 - ax
                b = (x * vy - vx * y) / area
                c3 = (ux * y - x * uy) / area
                if b < -1e-9 or c3 < -1e-9 or b + c3 > 1 + 1e-9:
                    continue
                z = az + b * uz + c3 * vz
                if z > depth[i, j]:
                    depth[i, j], face[i, j] = z, f
                    parts[i, j, 0], parts[i, j, 1] = b, c3
