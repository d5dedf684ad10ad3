"""Surfaces as pictures: what is in front is seen, shades are smooth, ghosts are seen through, borders are drawn."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from diffeo.shapes import Mesh
from diffeo.viz import plot, shading, view
from diffeo.viz.picture import Picture
from diffeo.viz.raster import NOTHING, seen
from diffeo.viz.shading import FINE, Look, Surface, picture
from diffeo.viz.solids import Solids, draw_surfaces, surface
from diffeo.viz.view import frame, visible

SIDE = 60
LOOK = Look(np.array([20.0, 0, 0]), np.array([0, 20.0, 0]), (30.0, 30.0), SIDE, SIDE)
RED, GREEN, BLUE = np.eye(3)


def ball(n=24, center=(0.0, 0.0, 0.0), radius=1.0):
    """Vertices and faces, outward."""
    u, v = np.meshgrid(np.linspace(0, np.pi, n + 1), np.linspace(0, 2 * np.pi, n, endpoint=False), indexing="ij")
    x = radius * np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3)
    at = np.arange((n + 1) * n).reshape(n + 1, n)
    a, b, c, d = at[:-1], at[1:], np.roll(at[1:], -1, 1), np.roll(at[:-1], -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return x + np.array(center), faces


def square(z=0.0, half=1.0):
    """Two triangles across the view."""
    x = half * np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) + [0, 0, z]
    return x, np.array([[0, 1, 2], [0, 2, 3]])


def middle(image):
    return image[SIDE // 2, SIDE // 2].astype(float)


# which face is in front


def test_every_pixel_sees_the_nearest_face_and_where_in_it():
    """Against every face at every pixel, by barycentric coordinates."""
    corners = np.random.default_rng(0).uniform(-5, 25, (30, 3, 3))
    got = seen(corners, 20, 16)
    y, x = np.mgrid[:20, :16] + 0.5
    best, face = np.full((20, 16), -np.inf), np.full((20, 16), NOTHING)
    for f, c in enumerate(corners):
        matrix = np.linalg.inv(np.concatenate([c[:, :2].T, np.ones((1, 3))]))
        weights = np.einsum("ab,bij->aij", matrix, np.stack([x, y, np.ones_like(x)]))
        depth = np.where((weights >= 0).all(0), np.einsum("a,aij->ij", c[:, 2], weights), -np.inf)
        face = np.where(depth > best, f, face)
        best = np.maximum(best, depth)
    assert np.array_equal(got.face, face)
    assert np.array_equal(got.covered, face >= 0)
    assert got.depth == pytest.approx(best.astype(np.float32), abs=1e-4)
    c = corners[got.face[got.covered]]
    b, w = got.parts[got.covered].T
    place = c[:, 0] + b[:, None] * (c[:, 1] - c[:, 0]) + w[:, None] * (c[:, 2] - c[:, 0])
    assert place[:, :2] == pytest.approx(np.stack([x, y], -1)[got.covered], abs=1e-3)


def test_neighbors_leave_no_gap_and_what_is_nowhere_is_left_out():
    x, faces = ball(40)
    corners = (x * 20 + 30)[faces]
    covered = seen(corners, SIDE, SIDE).covered
    y, z = np.mgrid[:SIDE, :SIDE] + 0.5 - 30
    assert covered[np.hypot(y, z) < 19].all()
    assert not covered[np.hypot(y, z) > 20.01].any()
    degenerate = np.array([[[1.0, 1, 0], [5, 5, 0], [9, 9, 0]], [[1, 1, 0], [np.nan, 5, 0], [9, 2, 0]]])
    assert not seen(degenerate, 12, 12).covered.any()


# shades


def test_a_surface_is_where_it_is_and_nowhere_else():
    image = picture([Surface(*square(), RED, outline=0.0)], LOOK)
    assert image.shape == (SIDE, SIDE, 4)
    assert (image[11:49, 11:49, 3] == 255).all()
    assert image[..., 3].sum() == 255 * 40 * 40
    assert (image[11:49, 11:49, 1:3] < 90).all()  # red, but for gloss


def test_up_is_up_and_right_is_right():
    x, faces = square(half=0.3)
    image = picture([Surface(x + np.array([0.8, 0.5, 0]), faces, RED)], LOOK)
    rows, columns = np.nonzero(image[..., 3])
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((30 - 10, 30 + 16), abs=0.1)


def steps(x, faces):
    """By how much green changes from one pixel to the next."""
    image = picture([Surface(x, faces, GREEN, outline=0.0)], LOOK)
    solid, shade = image[..., 3] == 255, image[..., 1].astype(float)
    across = np.abs(np.diff(shade, axis=1))[solid[:, 1:] & solid[:, :-1]]
    return across[across > 0]


def test_shades_are_smooth_on_a_ball_and_edges_stay_on_a_roof(monkeypatch):
    smooth = np.quantile(steps(*ball(12)), 0.98)  # 12 facets around, of which none is seen
    top = np.array([[-1.0, -1, -1], [0, -1, 0.5], [0, 1, 0.5], [-1, 1, -1], [1, -1, -1], [1, 1, -1]])
    roof = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    assert steps(top, roof).max() > 60  # one ridge
    monkeypatch.setattr(shading, "CREASE", 2.0)  # every edge is one
    assert np.quantile(steps(*ball(12)), 0.98) > 1.5 * smooth


def test_light_comes_from_the_upper_left_whichever_way_faces_are_turned():
    x, faces = ball()
    images = [picture([Surface(x, f, GREEN, outline=0.0)], LOOK)[..., 1].astype(int) for f in (faces, faces[:, ::-1])]
    assert images[0][20, 20] > images[0][20, 40] > images[0][42, 42]
    assert np.abs(images[0] - images[1]).max() <= 1


def test_colors_of_vertices_blend():
    x, faces = square()
    rgb = np.array([BLUE, RED, RED, BLUE])
    image = picture([Surface(x, faces, rgb, ambient=1.0, outline=0.0)], LOOK).astype(float)
    row = image[20, 12:48]
    assert (np.diff(row[:, 0]) > 0).all()
    assert (np.diff(row[:, 2]) < 0).all()


def test_what_is_nearer_hides_what_is_behind_in_any_order():
    near, far = Surface(*square(0.5, 0.6), RED), Surface(*square(-0.5), BLUE)
    one, other = picture([near, far], LOOK), picture([far, near], LOOK)
    assert np.array_equal(one, other)
    assert middle(one).argmax() in {0, 3}
    assert one[SIDE // 2, 12, :3].argmax() == 2


def test_surfaces_that_cross_are_cut_where_they_do():
    """Two squares that lean against each other: left of the middle one is seen, right of it the other."""
    x, faces = square()
    slope = np.outer(x[:, 0], [0, 0, 0.5])
    image = picture([Surface(x + slope, faces, RED, outline=0), Surface(x - slope, faces, BLUE, outline=0)], LOOK)
    assert (image[15:45, 14:29, :3].argmax(-1) == 2).all()
    assert (image[15:45, 31:46, :3].argmax(-1) == 0).all()


# ghosts and outlines


def test_a_ghost_is_seen_through_and_hides_nothing():
    solid, ghost = Surface(*square(0.0, 0.5), BLUE), Surface(*square(0.6), RED, fill=0.25, outline=0.0)
    alone, both = picture([solid], LOOK), picture([solid, ghost], LOOK)
    assert 0 < middle(both)[0] - middle(alone)[0] < 80  # a veil
    assert middle(both)[:3].argmax() == 2
    beside = both[SIDE // 2, 13].astype(float)
    assert beside[3] == pytest.approx(0.25 * 255, abs=1)
    assert beside[:3].argmax() == 0


def test_a_ghost_behind_a_solid_shows_its_outline_only():
    solid, ghost = Surface(*square(0.0), BLUE, outline=0), Surface(*square(-0.8, 0.5), RED, fill=0.25, outline=1.0)
    alone, both = picture([solid], LOOK).astype(int), picture([solid, ghost], LOOK).astype(int)
    change = np.abs(both - alone).max(-1)
    assert change[SIDE // 2, SIDE // 2] == 0
    assert change[SIDE // 2, 18:23].max() > 40  # its left border, at 30 - 10
    assert change[:18].max() == 0


def test_an_outline_without_fill():
    image = picture([Surface(*square(), RED, fill=0.0, outline=1.0)], LOOK, line=2.0)
    assert middle(image)[3] == 0
    assert image[SIDE // 2, 10, 3] > 100
    assert image[SIDE // 2, 10, :3].argmax() == 0


def test_an_outline_is_where_depth_jumps_and_not_on_slopes():
    near, far = square(0.5, 0.5), square(-0.5)
    plain, lined = (picture([Surface(*near, GREEN, outline=o), Surface(*far, GREEN, outline=o)], LOOK) for o in (0, 1))
    change = np.abs(plain.astype(int) - lined).max(-1)
    assert change[SIDE // 2, 19:22].max() > 50  # where the nearer one ends
    x, faces = square()
    leaning = x + np.outer(x[:, 0], [0, 0, 3.0])  # 70 degrees
    flat, drawn = (picture([Surface(leaning, faces, GREEN, outline=o)], LOOK).astype(int) for o in (0, 1))
    assert np.abs(flat - drawn)[14:46, 14:46].max() == 0


def test_nothing_to_see():
    assert not picture([], LOOK).any()
    assert not picture([Surface(*ball(center=(50.0, 0, 0)), RED)], LOOK).any()


def test_half_a_ball_is_cut_at_the_border_of_the_picture():
    whole = picture([Surface(*ball(), RED)], LOOK)
    shifted = Look(LOOK.right, LOOK.up, (0.0, 30.0), SIDE, SIDE)
    half = picture([Surface(*ball(), RED)], shifted)
    assert np.abs(half[2:-2, :18].astype(int) - whole[2:-2, 30:48]).max() <= 2
    assert FINE == 2


# on axes


def mesh():
    x, faces = ball(30)
    return Mesh(torch.tensor(x * [1, 2, 3]), faces=torch.tensor(faces))


def shown(ax, shape, **look):
    draw_surfaces(ax, [surface(shape, "#ff0000", **look)])
    frame(ax, visible(shape.x, 3))


@pytest.mark.parametrize("angles", [(30, -60), (0, 0), (90, -90)])
def test_a_surface_is_where_points_on_it_are(angles):
    """Its vertices drawn as points, and the image of it, cover the same region of the axes."""
    figure = Figure(figsize=(3, 3), dpi=50)
    ax = figure.add_subplot(projection="3d")
    ax.view_init(*angles)
    shape = mesh()
    shown(ax, shape)
    image = ax.artists[0].pixels(ax, 1.0, 0.0)
    at = view._camera(ax, view.visible(shape.x, 3))[0] * [image.shape[1], image.shape[0]]
    rows, columns = np.nonzero(image[..., 3] > 127)
    assert (columns.min(), columns.max() + 1) == pytest.approx((at[:, 0].min(), at[:, 0].max()), abs=1.5)
    assert (image.shape[0] - rows.max() - 1, image.shape[0] - rows.min()) == pytest.approx(
        (at[:, 1].min(), at[:, 1].max()), abs=1.5
    )


def test_a_view_changed_afterwards_changes_the_picture():
    figure = Figure(figsize=(2, 2), dpi=50)
    ax = figure.add_subplot(projection="3d")
    shown(ax, mesh())
    first = ax.artists[0].pixels(ax, 1.0, 0.5)
    ax.view_init(0, 0)
    frame(ax, visible(mesh().x, 3))
    assert np.abs(first.astype(int) - ax.artists[0].pixels(ax, 1.0, 0.5)).max() > 100


def drawn(figure, **options):
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def test_saved_as_png_it_is_the_right_way_up_and_as_fine_as_asked():
    figure = Figure(figsize=(2, 2), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1), projection="3d")
    x, faces = square()
    upright = x[:, [0, 2, 1]]
    upright[2:, 0] *= 0.2
    narrow = Mesh(torch.tensor(upright), faces=torch.tensor(faces))  # narrow above, wide below
    ax.view_init(0, -90)
    shown(ax, narrow)
    for dpi in (60, 120):
        with Image.open(io.BytesIO(drawn(figure, dpi=dpi, format="png"))) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        assert pixels.shape == (2 * dpi, 2 * dpi, 3)
        wide = (pixels[..., 1] < 128).sum(1)
        rows = np.flatnonzero(wide)
        assert wide[rows[2]] < 0.5 * wide[rows[-3]]


@pytest.mark.slow
def test_in_vector_formats_the_surface_is_an_image_and_text_is_text():
    figure = Picture(figsize=(4, 4), facecolor="white")
    plot.shapes(figure.add_subplot(projection="3d"), {"source": mesh(), "target": mesh()})
    svg = drawn(figure, format="svg").decode()
    assert svg.count("<image") == 1
    assert ">source</text>" in svg
    pdf = drawn(figure, format="pdf")
    assert pdf.count(b"/Subtype /Image") == 2  # colors, and their opacity
    assert b"/CIDFontType2" in pdf
    assert max(len(svg), len(pdf)) < 400_000


def test_tight_boxes_hold_it():
    figure = Figure(figsize=(2, 2))
    ax = figure.add_subplot(projection="3d")
    shown(ax, mesh())
    with Image.open(io.BytesIO(drawn(figure, format="png", bbox_inches="tight"))) as image:
        assert (np.asarray(image.convert("RGB"))[..., 1] < 128).mean() > 0.1


def test_axes_without_surfaces_get_nothing():
    ax = Figure().add_subplot(projection="3d")
    draw_surfaces(ax, [])
    assert not [artist for artist in ax.artists if isinstance(artist, Solids)]
