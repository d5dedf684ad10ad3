"""Pictures with matplotlib's object interface: no display, no pyplot and no global settings are involved.

>>> from matplotlib.figure import Figure
>>> ax = Figure().add_subplot()                            # add_subplot(projection="3d") in space
>>> shapes(ax, {"source": source, "target": target})       # doctest: +SKIP
"""

from diffeo.viz.certificate import certificate
from diffeo.viz.convergence import convergence
from diffeo.viz.curves import history, momenta, trajectories
from diffeo.viz.deform import grid
from diffeo.viz.density import carried_plane, density
from diffeo.viz.density_course import density_course
from diffeo.viz.density_overview import density_overview
from diffeo.viz.density_strip import density_strip
from diffeo.viz.density_way import density_way
from diffeo.viz.draw import colored, shapes
from diffeo.viz.geodesicity import geodesicity
from diffeo.viz.image_overview import image_registration
from diffeo.viz.images import checkerboard, difference, slices
from diffeo.viz.law import law
from diffeo.viz.marginals import marginals
from diffeo.viz.marks import mark
from diffeo.viz.overview import registration
from diffeo.viz.planes import planes
from diffeo.viz.regularity import regularity
from diffeo.viz.strip import filmstrip
from diffeo.viz.warps import carried_grid, log_jacobian

__all__ = [
    "carried_grid",
    "carried_plane",
    "certificate",
    "checkerboard",
    "colored",
    "convergence",
    "density",
    "density_course",
    "density_overview",
    "density_strip",
    "density_way",
    "difference",
    "filmstrip",
    "geodesicity",
    "grid",
    "history",
    "image_registration",
    "law",
    "log_jacobian",
    "marginals",
    "mark",
    "momenta",
    "planes",
    "registration",
    "regularity",
    "shapes",
    "slices",
    "trajectories",
]
