"""Interactive pages: one HTML file each, which opens without a network.

>>> from diffeo.viz.page import Table, write_page
>>> write_page("page.html", "A title", [Table("Numbers", [("folds", 0, "count", "of all faces")])])  # doctest: +SKIP
"""

from diffeo.viz.page.chart import Chart
from diffeo.viz.page.document import check_page, write_page
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.picture import Picture
from diffeo.viz.page.scene import Layer, Scene
from diffeo.viz.page.swipe import Swipe
from diffeo.viz.page.table import Row, Table

__all__ = ["Chart", "Layer", "Panel", "Picture", "Row", "Scene", "Swipe", "Table", "check_page", "write_page"]
