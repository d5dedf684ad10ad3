"""Surfaces in a 3D view: an image of them that is made when the figure is drawn, as fine as the figure then is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.transforms import Affine2D, Bbox
from mpl_toolkits.mplot3d import Axes3D

from diffeo.shapes import Mesh
from diffeo.viz.shading import Look, Pixels, Surface, picture
from diffeo.viz.surface import face_array
from diffeo.viz.view import projection, visible

LINE = 0.6
"""Of outlines: points."""
VECTOR = 200.0
"""Pixels per inch that surfaces have at least in a vector format, whose own resolution is meant for the screen."""


def surface(mesh: Mesh, color: Any, *, ambient: float = 0.4, fill: float = 1.0, outline: float = 0.5) -> Surface:
    """A mesh as it is to be drawn.

    Args:
        color: one, or red, green and blue of every vertex, shape (n, 3), between 0 and 1.
        ambient, fill, outline: see `Surface`.
    """
    rgb = color if isinstance(color, np.ndarray) else np.array(to_rgb(color))
    return Surface(visible(mesh.x, 3), face_array(mesh), rgb, ambient, fill, outline)


class Solids(Artist):
    """Surfaces on 3D axes, which hide each other where they do in space.

    Points and lines on the same axes are drawn over them.
    """

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        super().__init__()
        self.surfaces = list(surfaces)
        self.set_zorder(1)

    def pixels(self, ax: Axes3D, per_pixel: float, line: float) -> Pixels:
        """The image over the whole axes, so many pixels per pixel of the figure; lines as wide as so many of them."""
        width, height = (max(1, round(side * per_pixel)) for side in ax.bbox.size)
        offset, right, up = projection(ax)
        look = Look(width * right, height * up, (width * offset[0], height * (1 - offset[1])), height, width)
        return picture(self.surfaces, look, line)

    def draw(self, renderer: Any) -> None:
        """Render, and place the image on the axes."""
        ax = self.axes
        if not self.get_visible() or not isinstance(ax, Axes3D):
            return
        gc = renderer.new_gc()
        if not renderer.option_scale_image():  # one pixel of the image for one of the figure
            image = self.pixels(ax, 1.0, LINE * renderer.points_to_pixels(1.0))
            renderer.draw_image(gc, *ax.bbox.min, image[::-1])
            return
        finer = max(VECTOR / 72, renderer.get_image_magnification())  # a unit of a vector format is a point
        image = self.pixels(ax, finer, LINE * finer)
        renderer.draw_image(gc, *ax.bbox.min, image[::-1], Affine2D().scale(*ax.bbox.size))

    def get_window_extent(self, renderer: Any = None) -> Bbox:
        """That of the axes."""
        assert self.axes is not None
        return self.axes.bbox


def draw_surfaces(ax: Axes3D, surfaces: Sequence[Surface]) -> None:
    """Draw surfaces together: those of one call hide each other."""
    if surfaces:
        ax.add_artist(Solids(surfaces))
