"""The report picture of images: every panel is there, true to what it says, and nothing is clipped or written over."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from diffeo.grid import Grid
from diffeo.shapes import Image, Points
from diffeo.viz import plot
from diffeo.viz.layout import PANELS
from diffeo.viz.planes import planes
from diffeo.viz.style import ROLES
from tests.viz.phantoms import RAS, header, phantom, pictures, volumes, waves
from tests.viz.test_plot import records, sphere
from tests.viz.texts import clipped, crossing, written


def masked(source, target):
    weights = torch.zeros(target.grid.shape)
    weights[8:-8, 8:-8] = 1
    return source, dataclasses.replace(target, mask=weights)


def other_scanner(source, target):
    return source, dataclasses.replace(target, values=1000 - 40 * target.values, background=None)


def tall():
    return volumes(shape=(20, 20, 90), spacing=(2.0, 2.0, 3.0))


FAST = {"picture": pictures, "volume": volumes}
SLOW = {
    "color": lambda: pictures(rows=73, columns=89, channels=3),
    "two channels": lambda: pictures(channels=2),
    "wide": lambda: pictures(rows=20, columns=300),
    "high": lambda: pictures(rows=300, columns=40),
    "mask": lambda: masked(*pictures()),
    "thick slices": lambda: volumes("LAS", (1.0, 1.0, 8.0), (60, 50, 6), degrees=15),
    "nothing known": lambda: volumes("ASL", attributes={}),
    "tall": tall,
    "one slice": lambda: volumes("RAS", shape=(40, 30, 1)),
    "other scanner": lambda: other_scanner(*volumes()),
    "plane in millimeters": lambda: tuple(
        Image(i.values, Grid(i.grid.shape, torch.diag(torch.tensor([0.5, 0.5, 1.0]))), attributes=RAS)
        for i in pictures()
    ),
}
CASES = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def descent():
    """What a descent that pays for no energy records, within less than a decade."""
    values = [0.31, 0.18, 0.12, 0.105]
    return [SimpleNamespace(iteration=k, stage=s, objective=v, data=v) for s in (0, 1) for k, v in enumerate(values)]


def drawn(name, marked=False, **options):
    source, target = (FAST | SLOW)[name]()
    phi = waves(target)
    x = target.grid.points(torch.zeros((), dtype=torch.float64))[:: max(1, target.grid.size // 60)]
    pairs = [(Points(phi(x)), Points(phi(x) + 0.5))] if marked else []
    moved = phi @ dataclasses.replace(source, canvas=target.grid)
    course = descent() if name == "picture" else records()
    return plot.image_registration(source, target, moved, phi, course, points=pairs, **options), phi


def panels(figure, name, rows):
    """The axes of one panel, from above."""
    k = PANELS.index(name)
    return figure.axes[k * rows : (k + 1) * rows]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_the_report_is_a_whole_picture(name, caplog, monkeypatch):
    settings = dict(rcParams)
    with caplog.at_level(logging.WARNING):
        figure, _ = drawn(name, marked=name == "color", title=f"{name}: a → b")
        texts = written(figure, monkeypatch)
    assert not caplog.records
    assert dict(rcParams) == settings
    assert not clipped(figure, texts)
    assert not crossing(texts)
    assert {text for text, _ in texts} >= {*PANELS, "Fit", f"{name}: a → b"}
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(-1)
    for panel in figure.axes:
        box = panel.get_window_extent()
        height = len(pixels)
        part = pixels[int(height - box.y1) : int(height - box.y0), int(box.x0) : int(box.x1)]
        assert part.std() > 3
        assert (box.x0 > 0, box.y0 > 0, box.x1 < pixels.shape[1], box.y1 < height) == (True,) * 4


@pytest.mark.parametrize("name", CASES)
def test_panels_are_true_to_scale_and_beside_each_other(name):
    figure, _ = drawn(name)
    shown = planes((FAST | SLOW)[name]()[1])
    inches = np.array([ax.get_position().bounds for ax in figure.axes[: len(PANELS) * len(shown)]])
    inches *= np.tile(figure.get_size_inches(), 2)
    scales = inches[:, 2:] / np.array([plane.size for _ in PANELS for plane in shown])
    assert scales == pytest.approx(np.full_like(scales, scales[0, 0]))
    for a in range(len(inches)):
        for b in range(a):
            apart = np.abs(inches[a, :2] + inches[a, 2:] / 2 - inches[b, :2] - inches[b, 2:] / 2)
            assert (apart > (inches[a, 2:] + inches[b, 2:]) / 2).any()


def test_every_panel_shows_what_it_says():
    source, target = pictures()
    phi = waves(target)
    moved = phi @ source
    figure = plot.image_registration(source, target, moved, phi, records())
    of = {name: panels(figure, name, 1)[0] for name in PANELS}
    numbers = {name: np.ma.filled(ax.images[0].get_array(), np.nan) for name, ax in of.items()}
    a, b, c = (image.values[0].numpy() for image in (source, target, moved))
    assert np.allclose(numbers["Difference before"], a - b, atol=1e-4)
    assert np.allclose(numbers["Difference after"], c - b, atol=1e-4)
    assert of["Difference before"].images[0].get_clim() == of["Difference after"].images[0].get_clim()
    assert np.corrcoef(numbers["Fixed"].ravel(), b.ravel())[0, 1] > 0.999
    assert np.corrcoef(numbers["Moving"].ravel(), a.ravel())[0, 1] > 0.999
    assert np.corrcoef(numbers["Moved"].ravel(), c.ravel())[0, 1] > 0.999
    assert np.isin(numbers["Checkerboard"], np.stack([numbers["Fixed"], numbers["Moved"]])).all()
    assert np.array_equal(numbers["Deformed grid"], numbers["Moved"])
    assert of["Deformed grid"].images[0].get_alpha() < 0.5
    assert sum(isinstance(child, ContourSet) for child in of["Deformed grid"].get_children()) == 2
    low, high = of["log det Dφ"].images[0].get_clim()
    assert low == -high
    rms = [np.sqrt(np.mean((x - b) ** 2)) for x in (a, c)]
    assert any(f"RMS {rms[0]:.3g} → {rms[1]:.3g}" in ax.get_xlabel() for ax in figure.axes)


def test_rows_are_the_three_views_and_say_where_they_are():
    figure, _ = drawn("volume")
    rows = [ax.get_ylabel().split("\n") for ax in panels(figure, "Fixed", 3)]
    assert [row[0] for row in rows] == ["axial", "coronal", "sagittal"]
    assert [row[1][:3] for row in rows] == ["z =", "y =", "x ="]
    assert all(row[1].endswith(" mm") for row in rows)
    assert [{t.get_text() for t in ax.texts} & set("LRPAIS") for ax in panels(figure, "Fixed", 3)] == [
        set("LRPA"),
        set("LRIS"),
        set("PAIS"),
    ]


@pytest.mark.slow
def test_the_moving_image_is_resampled_on_the_fixed_grid_by_its_header():
    target = phantom(header("LAS"))
    source = phantom(header("PIR", (1.1, 1.3, 1.2), (60, 61, 62), degrees=10))
    phi = waves(target, 0.0)
    figure = plot.image_registration(source, target, source, phi, [])
    for ax in (*panels(figure, "Difference before", 3), *panels(figure, "Difference after", 3)):
        assert np.abs(ax.images[0].get_array()).max() < 0.1


def test_images_of_different_ranges_are_compared_in_parts_of_their_ranges():
    source, target = pictures()
    scaled = dataclasses.replace(target, values=target.values / 50, background=None)
    figure = plot.image_registration(source, scaled, source, waves(target, 0.0), [])
    values = panels(figure, "Difference before", 1)[0].images[0].get_array()
    assert np.abs(values).max() < 2
    assert any("each in its own range" in ax.get_xlabel() for ax in figure.axes)
    same = plot.image_registration(scaled, scaled, scaled, waves(target, 0.0), [])
    assert not np.asarray(panels(same, "Difference before", 1)[0].images[0].get_array()).any()


def test_landmarks_are_drawn_before_and_after():
    figure, phi = drawn("picture", marked=True)
    fixed, moving, moved = (panels(figure, name, 1)[0] for name in ("Fixed", "Moving", "Moved"))
    dots = [[c for c in ax.collections if isinstance(c, PathCollection)] for ax in (fixed, moving, moved)]
    assert [len(found) for found in dots] == [1, 2, 2]
    target, before = (np.asarray(found.get_offsets()) for found in dots[1])
    after = np.asarray(dots[2][1].get_offsets())
    assert np.allclose(phi(torch.tensor(before)).numpy(), after, atol=1e-6)
    assert np.allclose(after + 0.5, target)
    (links,) = (c for c in moved.collections if isinstance(c, LineCollection))
    assert np.allclose(np.stack(links.get_segments()), np.stack([after, target], 1))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(ROLES)


@pytest.mark.slow
def test_a_surface_is_cut_by_every_slice():
    source, target = volumes()
    ball = sphere().with_positions(15 * sphere().x)
    figure = plot.image_registration(source, target, source, waves(target, 0.0), [], points=[(ball, ball)])
    for ax in panels(figure, "Fixed", 3):
        assert any(isinstance(child, LineCollection) for child in ax.collections)


def test_the_mask_is_outlined():
    source, target = masked(*pictures())
    figure = plot.image_registration(source, target, source, waves(target, 0.0), [])
    fixed = panels(figure, "Fixed", 1)[0]
    (border,) = (child for child in fixed.get_children() if isinstance(child, ContourSet))
    ends = np.concatenate([path.vertices for path in border.get_paths()])
    assert (ends.min(0), ends.max(0)) == (pytest.approx([7.5, 7.5]), pytest.approx([51.5, 31.5]))
    assert fixed.get_xlim() == (-0.5, 59.5)


def test_without_records_there_is_no_course():
    source, target = pictures()
    figure = plot.image_registration(source, target, source, waves(target, 0.0), [])
    assert not any(ax.get_title(loc="left") == "Fit" for ax in figure.axes)
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure).draw()


@pytest.mark.slow
def test_the_report_of_a_brain_sized_pair_is_a_light_file(tmp_path):
    source, target = volumes("LAS", (2.0, 2.0, 2.0), (128, 150, 128))
    phi = waves(target)
    figure = plot.image_registration(source, target, phi @ source, phi, records())
    figure.savefig(tmp_path / "report.png", dpi=110)
    assert 250_000 < (tmp_path / "report.png").stat().st_size < 1_000_000
