"""The pictures say what they should: content, scale, labels, and nothing clipped or written over."""

from __future__ import annotations

import io
import itertools
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Path3DCollection
from PIL import Image

from diffeo.shapes import Curve, Mesh, Points
from diffeo.viz import plot, view
from diffeo.viz.solids import Solids
from diffeo.viz.style import ROLES
from diffeo.viz.surface import section
from tests.marks import cases
from tests.viz.bumps import Bumps, toward


def circle(n=40, d=2, radius=1.0):
    t = torch.arange(n, dtype=torch.float64) * 2 * torch.pi / n
    x = torch.stack([radius * t.cos(), t.sin(), 0.3 * (2 * t).sin()], 1)[:, :d]
    return Curve(x, edges=torch.stack([torch.arange(n), (torch.arange(n) + 1) % n], 1))


def sphere(n=12, radius=1.0):
    """A ball of 2n² faces, with degenerate ones at the poles."""
    u, v = np.meshgrid(np.linspace(0, np.pi, n + 1), np.linspace(0, 2 * np.pi, n, endpoint=False), indexing="ij")
    x = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), radius * np.cos(u)], -1).reshape(-1, 3)
    at = np.arange((n + 1) * n).reshape(n + 1, n)
    a, b, c, d = at[:-1], at[1:], np.roll(at[1:], -1, 1), np.roll(at[:-1], -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return Mesh(torch.tensor(x), faces=torch.tensor(faces))


def cloud(n=300, d=3):
    return Points(torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def records(n=5, stages=2):
    return [
        SimpleNamespace(iteration=k + 1, stage=s, objective=2.0 / (k + 1), energy=1.0, data=1.5 / (k + 1))
        for s in range(stages)
        for k in range(n)
    ]


def flat():
    return Figure().add_subplot()


def space():
    return Figure().add_subplot(projection="3d")


def of(ax, kind):
    return [artist for artist in ax.collections if isinstance(artist, kind)]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# shapes


def test_curves_and_points_on_flat_axes():
    ax = flat()
    plot.shapes(ax, {"source": circle(), "target": cloud(50, 2)})
    (lines,), (dots,) = of(ax, LineCollection), of(ax, PathCollection)
    assert len(lines.get_segments()) == 40
    assert len(dots.get_offsets()) == 50
    assert to_rgb(lines.get_colors()[0][:3]) == pytest.approx(to_rgb(ROLES["source"]))
    assert legend_of(ax) == ["source", "target"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    assert ax.get_aspect() == 1


def test_surfaces_hide_each_other_where_they_do_in_space():
    """Two balls side by side in depth: whichever is nearer is seen in the middle, however they are listed."""
    small, large = sphere(radius=1.0), sphere(radius=1.0)
    near = replace(small, x=small.x + torch.tensor([3.0, 0.0, 0.0]))
    for named, seen in (({"a": near, "b": large}, 0), ({"a": large, "b": near}, 1)):
        ax = space()
        ax.view_init(0, 0)  # from along x
        plot.shapes(ax, named, colors=["#ff0000", "#0000ff"])
        (solids,) = [artist for artist in ax.artists if isinstance(artist, Solids)]
        assert len(solids.surfaces) == 2
        image = solids.pixels(ax, 0.3, 0.5).astype(float)
        middle = image[image.shape[0] // 2, image.shape[1] // 2]
        assert middle[3] == 255
        assert middle[:3].argmax() == 2 * seen
        assert legend_of(ax) == ["a", "b"]


def test_light_shades_a_surface_and_keeps_its_hue():
    ax = space()
    plot.shapes(ax, {"source": sphere(40)})
    image = ax.artists[0].pixels(ax, 0.5, 0.0)
    rgb = image[image[..., 3] == 255][:, :3] / 255
    hue = np.array(to_rgb(ROLES["source"]))
    brightness = rgb[:, 2] / hue[2]
    assert np.quantile(brightness, 0.95) > 2 * np.quantile(brightness, 0.05) > 0.4
    dull = rgb[brightness < 0.9]
    assert np.allclose(dull, (dull[:, 2] / hue[2])[:, None] * hue, atol=0.02)


@pytest.mark.parametrize("shape", [circle(d=3), cloud(), sphere()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("angles", [(30, -60), (0, 90), (90, -90)])
def test_a_view_in_space_is_true_to_scale_and_filled(shape, angles):
    ax = space()
    ax.view_init(*angles)
    plot.shapes(ax, {"source": shape})
    seen, right, up = view._camera(ax, view.visible(shape.x, 3))
    assert np.linalg.norm(right) == pytest.approx(np.linalg.norm(up))
    assert right @ up == pytest.approx(0, abs=1e-12)
    assert np.ptp(seen, axis=0).max() == pytest.approx(0.95)
    assert (seen.min(0) + seen.max(0)) / 2 == pytest.approx([0.5, 0.5])


def test_points_and_curves_in_space():
    ax = space()
    plot.shapes(ax, {"a": cloud(), "b": circle(d=3)})
    assert len(of(ax, Path3DCollection)) == len(of(ax, Line3DCollection)) == 1


def test_a_large_cloud_is_thinned_and_always_in_the_same_way():
    drawn = []
    for _ in range(2):
        ax = flat()
        plot.shapes(ax, {"source": cloud(23_728, 2)})
        drawn.append(np.asarray(of(ax, PathCollection)[0].get_offsets()))
    assert len(drawn[0]) == view.MOST_POINTS
    assert np.array_equal(*drawn)


def test_a_large_mesh_is_drawn_with_fewer_faces_of_the_same_extent():
    mesh = sphere(100)
    faces, rows = view.coarse(view.visible(mesh.x, 3), mesh.faces.numpy(), 3000)
    assert 500 < len(faces) <= 3000
    assert len(rows) == len(faces)
    assert np.ptp(mesh.x.numpy()[faces.ravel()], axis=0) == pytest.approx([2, 2, 2], abs=0.2)


def test_one_dimension_gets_one_row_per_shape():
    ax = flat()
    plot.shapes(ax, {"source": cloud(20, 1), "target": cloud(30, 1)})
    heights = [np.unique(np.asarray(dots.get_offsets())[:, 1]).tolist() for dots in of(ax, PathCollection)]
    assert heights == [[0.0], [-1.0]]


def test_more_than_three_coordinates_are_named_by_number():
    ax = flat()
    plot.shapes(ax, {"source": cloud(20, 5)})
    assert ax.get_xlabel() == "$x_{1}$"


def test_colored_bar_covers_the_values():
    ax, shape = flat(), circle()
    values = torch.linspace(0, 3, 40)
    plot.colored(ax, shape, values, "millimeters")
    (bar,) = [child for child in ax.child_axes if child.get_ylabel() == "millimeters"]
    assert bar.get_ylim() == pytest.approx((0, 3))


def test_colored_by_nothing_but_zeros():
    ax = space()
    plot.colored(ax, sphere(), torch.zeros(len(sphere().x)), "none")
    assert [type(artist) for artist in ax.artists] == [Solids]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plot.shapes(flat(), {}), "at least one shape"),
        (lambda: plot.colored(flat(), circle(), torch.zeros(3), ""), "one value per point"),
        (lambda: plot.trajectories(flat(), [torch.zeros(3, 2)]), "at least two times"),
        (lambda: plot.momenta(flat(), torch.zeros(3, 2), torch.zeros(2, 2)), "one momentum per control"),
        (lambda: plot.grid(flat(), bumps(), torch.ones(2), torch.zeros(2)), "lo below hi"),
        (lambda: plot.grid(flat(), bumps(), torch.zeros(2), torch.ones(3)), "one shape"),
        (lambda: plot.grid(flat(), bumps(), torch.zeros(2), torch.ones(2), 1), "at least 2 lines"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# grids


def bumps(d=2, strength=0.3):
    generator = torch.Generator().manual_seed(1)
    centers = torch.rand(6, d, generator=generator, dtype=torch.float64)
    return Bumps(centers, strength * torch.randn(6, d, generator=generator, dtype=torch.float64), 0.4)


def corners(d):
    return torch.zeros(d, dtype=torch.float64), torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)[:d]


def test_grid_lines_go_where_the_map_takes_them():
    ax, phi = flat(), bumps()
    plot.grid(ax, phi, *corners(2), lines=9)
    (lines,) = of(ax, LineCollection)
    segments = lines.get_segments()
    assert len(segments) == 9 + 5  # square cells: 2 x 1 is 8 x 4 of them
    upward = torch.stack([torch.full((33,), 0.25), torch.linspace(0, 2, 33)], 1).double()
    assert np.allclose(segments[1], phi(upward).numpy())


def test_grid_colors_are_the_log_jacobian_symmetric_about_zero():
    ax, phi = flat(), bumps()
    plot.grid(ax, phi, *corners(2), lines=9)
    (sheet,) = of(ax, QuadMesh)
    low, high = sheet.get_clim()
    assert low == -high
    assert np.abs(sheet.get_array()).max() == pytest.approx(high)
    _, logdet = phi.with_logdet(corners(2)[0][None])
    assert np.ravel(sheet.get_array())[0] == pytest.approx(float(logdet))
    assert any("log det" in child.get_ylabel() for child in ax.child_axes)


def test_grid_keeps_the_colors_asked_for():
    ax = flat()
    plot.grid(ax, bumps(), *corners(2), limit=2.0)
    assert of(ax, QuadMesh)[0].get_clim() == (-2, 2)


def test_the_grid_of_the_identity_has_a_color_scale_too():
    ax = flat()
    plot.grid(ax, bumps(strength=0.0), *corners(2))
    low, high = of(ax, QuadMesh)[0].get_clim()
    assert low == -high < 0


def test_grid_in_space_lies_in_the_largest_plane_through_the_center():
    ax, phi = flat(), bumps(3)
    plot.grid(ax, phi, *corners(3), lines=9)
    first = of(ax, LineCollection)[0].get_segments()[0]
    edge = torch.stack([torch.zeros(33), torch.linspace(0, 2, 33), torch.full((33,), 0.25)], 1).double()
    assert np.allclose(first, phi(edge)[:, :2].numpy())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


def test_a_fold_is_shown_and_said():
    ax, phi = flat(), bumps(strength=6.0)
    phi.steps = 1
    plot.grid(ax, phi, *corners(2))
    assert len(of(ax, PathCollection)[0].get_offsets()) > 0
    assert any("folded" in child.get_ylabel() for child in ax.child_axes)


def test_in_one_dimension_the_graph_is_drawn():
    ax, phi = flat(), bumps(1)
    plot.grid(ax, phi, *corners(1))
    x, y = ax.lines[0].get_data()
    assert np.allclose(y, phi(torch.tensor(x)[:, None])[:, 0].numpy())


def test_section_of_a_ball_is_a_circle():
    cut = section(sphere(40), 2, 0.3)
    radius = np.linalg.norm(cut[..., :2], axis=-1)
    assert radius == pytest.approx(np.full(cut.shape[:2], np.sqrt(1 - 0.09)), abs=5e-3)
    assert np.linalg.norm(cut[:, 1] - cut[:, 0], axis=1).sum() == pytest.approx(2 * np.pi * np.sqrt(0.91), rel=1e-2)


# curves


def test_history_draws_three_terms_per_stage_on_a_log_scale():
    ax = flat()
    plot.history(ax, records())
    assert ax.get_yscale() == "log"
    assert legend_of(ax) == ["objective", "data term", "weighted energy"]
    terms = [line for line in ax.lines if len(line.get_xdata()) == 5]
    assert len(terms) == 6
    assert terms[3].get_xdata().tolist() == [6, 7, 8, 9, 10]
    assert terms[2].get_ydata() == pytest.approx(0.5 / np.arange(1, 6))


def test_history_of_what_pays_for_no_energy_is_its_data_term():
    ax = flat()
    falling = [SimpleNamespace(iteration=k, stage=0, objective=0.3 / (k + 1), data=0.3 / (k + 1)) for k in range(4)]
    plot.history(ax, falling)
    assert legend_of(ax) == ["data term"]
    assert ax.lines[0].get_ydata() == pytest.approx([0.3, 0.15, 0.1, 0.075])
    FigureCanvasAgg(ax.figure).draw()
    labels = [text.get_text() for minor in (False, True) for text in ax.get_yticklabels(minor=minor)]
    assert {"0.1", "0.2"} <= set(labels)


@pytest.mark.parametrize("n", [0, 1])
def test_history_of_almost_nothing(n):
    ax = flat()
    plot.history(ax, records(n, 1))
    FigureCanvasAgg(ax.figure).draw()


def test_history_of_a_fit_that_had_nothing_to_do():
    ax = flat()
    plot.history(ax, [SimpleNamespace(iteration=k, stage=0, objective=0.0, energy=0.0, data=0.0) for k in range(3)])
    FigureCanvasAgg(ax.figure).draw()


@pytest.mark.parametrize("make", [flat, space])
def test_trajectories_and_momenta(make):
    ax, phi, x = make(), bumps(3), cloud(10).x
    plot.trajectories(ax, phi.path(x), color=np.arange(10))
    FigureCanvasAgg(ax.figure).draw()
    assert len(ax.collections[0].get_segments()) == 10
    ax = make()
    plot.momenta(ax, phi.centers, phi.amplitudes)
    FigureCanvasAgg(ax.figure).draw()
    assert any("longest momentum" in text.get_text() for text in ax.texts)


# the whole picture

PAIRS = {
    "line": (cloud(30, 1), cloud(40, 1)),
    "points": (cloud(60, 2), cloud(70, 2)),
    "curves": (circle(), circle(radius=1.4)),
    "curves in space": (circle(d=3), circle(d=3, radius=1.4)),
    "plane curves in space": tuple(
        Curve(c.x * torch.tensor([1.0, 1.0, 0.0]), edges=c.edges) for c in (circle(d=3),) * 2
    ),
    "cloud": (cloud(23_728), cloud(9_000)),
    "surfaces": (sphere(), sphere(radius=1.3)),
    "five coordinates": (cloud(60, 5), cloud(70, 5)),
    "long and thin": tuple(Curve(c.x * torch.tensor([0.1, 0.1, 20.0]), edges=c.edges) for c in (circle(d=3),) * 2),
}


def picture(name):
    source, target = PAIRS[name]
    phi = toward(source.x, target.x, 6, 0.2)
    return plot.registration(source, target, phi @ source, phi, records(), title=f"{name}: a ← b")


@pytest.mark.parametrize("name", cases(list(PAIRS), slow=["five coordinates", "curves in space", "cloud"]))
@pytest.mark.slow
def test_registration_is_a_whole_picture(name, tmp_path, caplog):
    settings = dict(rcParams)
    with caplog.at_level(logging.WARNING):
        figure = picture(name)
        figure.savefig(tmp_path / "report.png", dpi=60)
    assert not caplog.records
    assert dict(rcParams) == settings
    with Image.open(tmp_path / "report.png") as image:
        pixels = np.asarray(image.convert("L"), dtype=float)
    height, width = pixels.shape
    for panel in figure.axes:  # every panel has ink in it
        box = panel.get_window_extent().transformed(figure.transFigure.inverted())
        rows, columns = (height * (1 - box.y1), height * (1 - box.y0)), (width * box.x0, width * box.x1)
        part = pixels[slice(*map(int, rows)), slice(*map(int, columns))]
        assert part.std() > 5
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:3] == ["Before", "After", "Displacement"]
    assert titles[4] == "Fit"


@pytest.mark.parametrize(
    "name", cases(list(PAIRS), slow=["plane curves in space", "five coordinates", "curves in space", "cloud"])
)
@pytest.mark.slow
def test_no_text_is_clipped_or_written_over(name, monkeypatch):
    figure, drawn, draw = picture(name), {}, Text.draw

    def spy(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn[id(self)] = (self.get_text(), self.get_window_extent(renderer))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", spy)
    FigureCanvasAgg(figure).draw()
    boxes = list(drawn.values())
    assert len(boxes) > 30
    wide, high = figure.bbox.width, figure.bbox.height
    outside = [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > wide or box.y1 > high]
    assert not outside
    crossing = [(a, b) for (a, p), (b, q) in itertools.combinations(boxes, 2) if inner(p).overlaps(inner(q))]
    assert not crossing


def inner(box):
    return box.padded(-1)


def test_a_registration_without_records_leaves_the_course_away():
    source, target = PAIRS["curves"]
    phi = bumps()
    figure = plot.registration(source, target, phi @ source, phi, [])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Before", "After", "Displacement", "Deformed grid"]


def test_the_remark_says_what_is_not_shown():
    assert any("first 3 of 5" in text.get_text() for text in picture("five coordinates").texts)


def test_values_of_any_sign_are_shown_whole():
    """A likelihood falls below 0: nothing of the curve may be missing."""
    records = [SimpleNamespace(iteration=k, stage=0, objective=1.5 - k, data=1.0 - 1.5 * k) for k in range(5)]
    ax = Figure().add_subplot()
    plot.history(ax, records)
    assert ax.get_yscale() == "linear"
    assert all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all() for line in ax.get_lines())


@pytest.mark.parametrize("name", cases(["curves", "surfaces", "cloud"], slow=["surfaces", "cloud"]))
@pytest.mark.slow
def test_vector_formats_are_light_and_their_text_is_text(name):
    figure = picture(name)
    for suffix in ("pdf", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix)
        assert len(buffer.getvalue()) < 3_000_000
    assert {f">{word}</text>" in buffer.getvalue().decode() for word in ("Before", "source", "Fit")} == {True}
