"""Pictures with matplotlib's object interface: no display, no pyplot and no global settings are involved.

>>> from matplotlib.figure import Figure
>>> ax = Figure().add_subplot()                            # add_subplot(projection="3d") in space
>>> shapes(ax, {"source": source, "target": target})       # doctest: +SKIP
"""

from diffeo.viz.curves import history, momenta, trajectories
from diffeo.viz.deform import grid
from diffeo.viz.draw import colored, shapes
from diffeo.viz.overview import registration

__all__ = ["colored", "grid", "history", "momenta", "registration", "shapes", "trajectories"]
