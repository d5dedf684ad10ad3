"""Films and filmstrips of points, curves and surfaces: what moves moves, the rest stays, and it says what is shown."""

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from diffeo.shapes import Curve, Mesh, Points
from diffeo.viz import plot
from diffeo.viz.film import write_film
from diffeo.viz.films.board import Board
from diffeo.viz.films.registration import registration_film
from diffeo.viz.films.shapes import ShapeFilm
from diffeo.viz.quantities import Displacement, Growth, telling
from diffeo.viz.solids import Solids
from diffeo.viz.stages.choice import stage
from diffeo.viz.stages.line import LineStage
from diffeo.viz.stages.plane import PlaneStage
from diffeo.viz.stages.space import SpaceStage
from diffeo.viz.style import ROLES
from diffeo.viz.timeline import timeline
from tests.marks import cases
from tests.registration.shapes import ball, blob, cloud
from tests.viz.bumps import toward
from tests.viz.texts import clipped, crossing, written

FLAT = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)


def spiral(turns=2.0):
    t = torch.linspace(0, 1, 40, dtype=torch.float64)
    x = torch.stack([torch.cos(6 * turns * t), torch.sin(6 * turns * t), 2 * t], 1)
    return Curve(x, edges=torch.stack([torch.arange(39), torch.arange(1, 40)], 1))


PAIRS = {
    "line": (cloud(30, 1), cloud(40, 1, 1)),
    "points": (cloud(60, 2), cloud(70, 2, 1)),
    "curves": (blob(), blob(60, bend=-0.2)),
    "plane curves in space": tuple(Curve(c.x @ FLAT, edges=c.edges) for c in (blob(), blob(60, bend=-0.2))),
    "cloud": (cloud(200, 3), cloud(150, 3, 1)),
    "curves in space": (spiral(), spiral(2.3)),
    "surfaces": (ball(), ball(8, squash=1.0)),
    "five coordinates": (cloud(60, 5), cloud(70, 5, 1)),
}
STAGES = {"line": LineStage, "points": PlaneStage, "curves": PlaneStage, "plane curves in space": PlaneStage}
names = pytest.mark.parametrize(
    "name", cases(list(PAIRS), slow=[name for name in PAIRS if name not in {"line", "curves", "surfaces"}])
)


def way(name):
    source, target = PAIRS[name]
    return source, target, toward(source.x, target.x, 6, 0.6)


def film(name, moments=4):
    source, target, phi = way(name)
    return registration_film(source, target, phi @ source, phi, [], moments=moments)


def pixels(figure, dpi=50):
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


@names
@pytest.mark.slow
def test_frames_differ_in_the_panel_and_on_the_time_line_only(name):
    shown = film(name)
    frames = []
    for k in (0, 2, 3):
        shown.draw(k)
        frames.append(pixels(shown.figure))
    height, width, _ = frames[0].shape
    box = shown.ax.get_position()
    rows = slice(int(height * (1 - box.y1)), int(height * (1 - box.y0)) + 1)
    columns = slice(int(width * box.x0), int(width * box.x1) + 1)
    for before, after in ((0, 1), (1, 2)):
        change = np.abs(frames[after] - frames[before]).max(2) > 8
        assert change[rows, columns].mean() > 0.002
        assert change[-int(0.1 * height) :].any()  # the time line
        change[rows, columns] = False
        change[-int(0.1 * height) :] = False
        assert not change.any(), "what should stay moves: axes, titles, legend or colors"


@pytest.mark.parametrize("name", cases(list(PAIRS), slow=[name for name in PAIRS if name != "curves"]))
def test_a_moment_looks_the_same_whatever_was_shown_before(name):
    shown = film(name)
    shown.draw(1)
    first = pixels(shown.figure)
    for k in (3, 0, 1):
        shown.draw(k)
    assert np.array_equal(first, pixels(shown.figure))


@names
@pytest.mark.slow
def test_everything_is_named_and_nothing_is_clipped_or_written_over(name, monkeypatch, caplog):
    shown = film(name)
    with caplog.at_level(logging.WARNING):
        shown.draw(2)
        texts = written(shown.figure, monkeypatch)
    assert not caplog.records
    assert not clipped(shown.figure, texts)
    assert not crossing(texts)
    words = " ".join(text for text, _ in texts)
    for word in ("Registration", "source", "target", "moving", "part of the way"):
        assert word in words
    assert "data units" in words or "log det" in words
    n, d = PAIRS[name][0].x.shape
    assert f"source: {n:,} " in words
    assert ("first 3 of 5" in words) == (d == 5)


@pytest.mark.parametrize("name", list(PAIRS))
def test_the_stage_suits_the_shape(name):
    source, target, phi = way(name)
    assert type(stage(source, target, phi, 2)) is STAGES.get(name, SpaceStage)


@pytest.mark.slow
def test_a_film_is_a_gif_of_so_many_frames(tmp_path):
    path = write_film(film("surfaces"), tmp_path / "ball.gif", dpi=40, seconds=0.6)
    with Image.open(path) as image:
        assert image.n_frames == 6
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
    assert all(np.abs(a - b).max() > 30 for a, b in itertools.pairwise(frames))
    assert np.abs(frames[2] - frames[4]).max() < 8  # there and back


# what is drawn


def artists(ax, kind):
    return [artist for artist in ax.get_children() if isinstance(artist, kind)]


def test_in_the_plane_the_curve_is_where_the_map_takes_it():
    source, _target, phi = way("curves")
    shown = film("curves", 5)
    x = timeline(phi, source.x, 5).positions
    for k in (0, 3, 4):
        shown.draw(k)
        drawn = [lines.get_segments() for lines in artists(shown.ax, LineCollection)]
        moving = x[k][source.edges.numpy()]
        assert any(len(s) == len(moving) and np.allclose(s, moving) for s in drawn)


def test_the_grid_goes_along_and_is_colored_alike_in_all_frames():
    shown = film("curves", 5)
    sheets = []
    for k in range(5):
        shown.draw(k)
        sheets += artists(shown.ax, QuadMesh)
    assert len(sheets) == 5
    assert len({sheet.get_clim() for sheet in sheets}) == 1
    low, high = sheets[0].get_clim()
    assert low == -high < 0
    assert not np.any(sheets[0].get_array())
    assert np.abs(sheets[4].get_array()).max() == pytest.approx(high, rel=0.2)
    corners = [sheet.get_coordinates() for sheet in sheets]
    assert all(np.abs(b - a).max() > 0.005 for a, b in itertools.pairwise(corners))


def test_points_on_a_line_rise_and_leave_their_ways():
    shown = film("line", 5)
    shown.draw(2)
    rows = [np.asarray(dots.get_offsets()) for dots in artists(shown.ax, PathCollection)]
    assert {round(float(row[0, 1]), 2) for row in rows} == {-0.1, 0.5, 1.1}
    assert len(shown.ax.lines) == 30
    assert shown.ax.lines[0].get_ydata().tolist() == [0, 0.25, 0.5]


def test_surfaces_are_drawn_as_solid_ghost_and_outline():
    shown = film("surfaces")
    shown.draw(3)
    (solids,) = artists(shown.ax, Solids)
    target, source, moving = solids.surfaces
    assert (moving.fill, source.fill) == (1.0, 0.0)
    assert 0 < target.fill < 0.5
    assert np.allclose(target.rgb, to_rgb(ROLES["target"]))
    original, _, phi = way("surfaces")
    assert moving.x == pytest.approx(phi(original.x).numpy(), abs=1e-9)
    assert moving.rgb.shape == (len(original.x), 3)


def test_without_a_target_there_is_none():
    source, _target, phi = way("surfaces")
    strip = plot.filmstrip(Figure(figsize=(14, 3.4)), source, phi, 3)
    assert len(artists(strip[0], Solids)[0].surfaces) == 2


# what shapes are colored by


def test_displacement_is_measured_from_the_start_and_growth_about_zero():
    source, _, phi = way("surfaces")
    there = timeline(phi, source.x, 5)
    y, logdet = phi.with_logdet(source.x)
    assert Displacement().values(there)[-1] == pytest.approx((y - source.x).norm(dim=1).numpy())
    assert Displacement().scale(there).get_clim() == pytest.approx(
        (0, float((y - source.x).norm(dim=1).max())), rel=0.5
    )
    assert Growth().values(there)[-1] == pytest.approx(logdet.numpy(), abs=1e-9)
    low, high = Growth().scale(there).get_clim()
    assert low == -high < 0
    assert "data units" in Displacement().label(there)
    assert "log det" in Growth().label(there)


def test_where_all_go_alike_growth_tells_more():
    source, _, phi = way("surfaces")
    there = timeline(phi, source.x, 3)
    assert isinstance(telling(there), Displacement)
    assert isinstance(telling(there._replace(positions=there.positions[:1] + np.arange(3.0)[:, None, None])), Growth)


def test_folds_are_black():
    source, _, phi = way("surfaces")
    there = timeline(phi, source.x, 3)
    folded = there._replace(logdet=np.where(np.arange(len(source.x)) == 2, np.nan, there.logdet))
    colors = Growth().scale(folded).to_rgba(Growth().values(folded)[-1])
    assert colors[2].tolist() == [0, 0, 0, 1]
    assert (colors[3, :3] > 0).any()
    assert "folded" in Growth().label(folded)


def test_the_quantity_may_be_chosen():
    source, target, phi = way("surfaces")
    shown = ShapeFilm(source, target, phi, moments=3, quantity=Growth())
    assert any("log det" in child.get_ylabel() for child in shown.ax.child_axes)


# filmstrips


@pytest.mark.parametrize("name", cases(list(PAIRS), slow=[name for name in PAIRS if name != "surfaces"]))
@pytest.mark.slow
def test_a_filmstrip_is_a_row_in_one_scale(name, monkeypatch, caplog):
    source, target, phi = way(name)
    figure = Figure(figsize=(14, 3.4), facecolor="white")
    with caplog.at_level(logging.WARNING):
        axes = plot.filmstrip(figure, source, phi, 5, target)
        texts = written(figure, monkeypatch)
    assert not caplog.records
    assert not clipped(figure, texts)
    assert not crossing(texts)
    assert [ax.get_title(loc="left").split()[0] for ax in axes] == ["0", "0.25", "0.5", "0.75", "1"]
    boxes = np.array([ax.get_position().bounds for ax in axes])
    assert np.ptp(boxes[:, 2:], axis=0) == pytest.approx(0, abs=1e-9)
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1
    image = pixels(figure)
    for left, bottom, width, height in boxes:
        rows = slice(int(170 * (1 - bottom - height)), int(170 * (1 - bottom)))
        part = image[rows, int(700 * left) : int(700 * (left + width))]
        assert (part != 255).any(2).mean() > 0.01


def test_a_filmstrip_fits_beside_other_things():
    figure = Figure(figsize=(14, 7))
    upper, lower = figure.subfigures(2, 1)
    source, target, phi = way("curves")
    for part in (upper, lower):
        assert len(plot.filmstrip(part, source, phi, 3, target)) == 3
    assert len(figure.axes) == 6


@pytest.mark.parametrize("name", ["line", "curves", "surfaces"])
def test_one_moment_is_no_way(name):
    source, target, phi = way(name)
    with pytest.raises(ValueError, match="2 moments or more"):
        film(name, 1)
    with pytest.raises(ValueError, match="2 moments or more"):
        plot.filmstrip(Figure(), source, phi, 1, target)


def test_what_has_no_film_is_named():
    source, _target, phi = way("points")
    with pytest.raises(ValueError, match="no film of a Points that goes to a SimpleNamespace"):
        registration_film(source, SimpleNamespace(), source, phi, [])


# the board


def test_what_a_block_draws_takes_the_place_of_what_the_last_one_drew():
    board = Board(4, 3, "Title", "a remark")
    ax = board.panel(0.5, 0.8, 3, 1.5)
    ax.plot([0, 1], [0, 1])
    for count in (3, 1):
        with board.redrawn(ax):
            for _ in range(count):
                ax.plot([0, 1], [1, 0])
        assert len(ax.lines) == 1 + count
    assert {text.get_text() for text in board.figure.texts} >= {"Title", "a remark", "0", "1", "part of the way"}


def test_the_time_line_grows_from_one_end_to_the_other():
    board = Board(4, 3, "Title", clock="layer", ends=("first", "last"))
    lengths = []
    for part in (0, 0.25, 1):
        board.show_time(part)
        image = pixels(board.figure, 100)[300 - 45 : 300 - 15]
        green = (np.abs(image - np.round(255 * np.array(to_rgb(ROLES["moved"])))).max(2) < 60).any(0)
        lengths.append(int(np.flatnonzero(green).max()))
    assert lengths[1] - lengths[0] == pytest.approx(0.25 * (lengths[2] - lengths[0]), abs=2)


def test_kinds_have_stages():
    assert {type(PAIRS[name][0]) for name in PAIRS} == {Points, Curve, Mesh}
