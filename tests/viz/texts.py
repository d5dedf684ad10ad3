"""What is written in a figure, and where."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def written(figure, monkeypatch):
    """Every text that is drawn, with its box in pixels."""
    drawn, draw = {}, Text.draw

    def spy(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn[id(self)] = (self.get_text(), self.get_window_extent(renderer))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", spy)
    FigureCanvasAgg(figure).draw()
    return list(drawn.values())


def clipped(figure, texts):
    """Those that leave the figure."""
    width, height = figure.bbox.width, figure.bbox.height
    return [text for text, box in texts if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def crossing(texts):
    """Pairs that are written over each other."""
    return [(a, b) for (a, p), (b, q) in itertools.combinations(texts, 2) if p.padded(-1).overlaps(q.padded(-1))]
