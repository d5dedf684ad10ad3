"""The picture of a training: whole, legible, and true."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from diffeo.viz.learning import agreement, confusion, learning


def records(n=12):
    """A course: data term and objective fall."""
    return [
        SimpleNamespace(iteration=k, objective=1.1 * 0.7**k + 0.01, data=0.7**k + 0.005, energy=k, stage=0)
        for k in range(n)
    ]


def numbers(size=1.0, name="price"):
    """A panel of numbers, seen and held out."""
    truth = size * np.linspace(-1, 1, 50)
    named = {"training": (truth, 1.1 * truth), "hold-out": (truth[:9], 0.9 * truth[:9])}
    return lambda ax: agreement(ax, named, name)


def classes(k, name="class {}"):
    """A panel of k classes, of which most rows are right."""
    counts = 20 * np.eye(k, dtype=int) + (np.arange(k * k).reshape(k, k) % 3 == 0)
    return lambda ax: confusion(ax, counts, [name.format(j) for j in range(k)], "hold-out")


PANELS = {
    "numbers": numbers(),
    "huge numbers": numbers(1e9, "a price with a very long name that does not fit at all"),
    "tiny numbers": numbers(1e-7, "$x$"),
    "two classes": classes(2),
    "ten classes": classes(10, "{}"),
    "long names": classes(6, "a class of a very long name, number {}"),
    "strange names": classes(4, "$\\alpha {}"),
    "twenty classes": classes(20),
    "fifty classes": classes(50),
}


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.slow
def test_no_text_is_clipped_or_written_over(name, monkeypatch, caplog):
    figure = learning(records(), PANELS[name], "table.csv: price", "accuracy 0.95,  balanced accuracy 0.93")
    drawn, draw = {}, Text.draw

    def spy(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn[id(self)] = (self.get_text(), self.get_window_extent(renderer).padded(-1))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", spy)
    with caplog.at_level(logging.WARNING):
        FigureCanvasAgg(figure).draw()
    assert not caplog.records
    boxes = list(drawn.values())
    assert len(boxes) > 15
    width, height = figure.get_size_inches() * figure.dpi
    assert not [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert not [(a, b) for (a, p), (b, q) in itertools.combinations(boxes, 2) if p.overlaps(q)]


def test_counts_are_written_where_they_belong():
    ax = Figure().add_subplot()
    confusion(ax, np.array([[8, 2], [0, 5]]), ["a", "b"], "training")
    assert {(text.get_position(), text.get_text()) for text in ax.texts} == {
        ((0, 0), "8"),
        ((1, 0), "2"),
        ((1, 1), "5"),
    }
    assert ax.get_title(loc="left") == "Confusion, training"
    shares = ax.images[0].get_array()
    assert np.allclose(shares, [[0.8, 0.2], [0, 1]])


def test_points_are_where_truth_and_prediction_say():
    ax = Figure().add_subplot()
    agreement(ax, {"training": (np.array([1.0, 2.0]), np.array([1.5, 1.0]))}, "y")
    assert ax.collections[0].get_offsets().tolist() == [[1, 1.5], [2, 1]]
    assert ax.lines[0].get_xydata().tolist() == [[1, 1], [2, 2]]
    assert ax.get_xlabel() == "y, true"
