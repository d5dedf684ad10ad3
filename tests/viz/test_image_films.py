"""Films of images show the way of the picture, of its difference, of the map, and of all that goes along."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.contour import ContourSet
from PIL import Image as Still

from diffeo.shapes import Compound, Curve, Points
from diffeo.viz.film import write_film
from diffeo.viz.films.images import DIFFERENCE, FIXED, MAP, MOVING, ImageFilm
from diffeo.viz.films.registration import registration_film
from diffeo.viz.images import pixels, window
from tests.viz.phantoms import bumps, labels, pictures, small_volumes
from tests.viz.test_plot import records, sphere
from tests.viz.texts import clipped, crossing, written

MOMENTS = 4


def fine():
    """A large picture in color: it is shrunk for the film."""
    return pictures(rows=90, columns=300, channels=3)


KINDS = {"picture": pictures, "volume": small_volumes, "labels": labels, "color": fine}
SLOW = ("volume", "labels", "color")
CASES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in KINDS]


def film(name, points=(), **options):
    source, target = KINDS[name]()
    phi = bumps(target)
    return ImageFilm(source, target, phi, points=points, moments=MOMENTS, **options), source, target, phi


def drawn(found, panel, k=0):
    """What is seen in a panel now."""
    return np.ma.filled(found.axes[panel][k].images[0].get_array(), np.nan)


@pytest.mark.parametrize("name", CASES)
def test_a_film_begins_with_the_image_and_ends_where_it_is_carried(name):
    found, source, target, phi = film(name)
    moved = phi @ source
    shown = [[drawn(found, panel) for panel in (FIXED, MOVING, DIFFERENCE, MAP)]]
    for k in range(1, MOMENTS):
        found.draw(k)
        shown.append([drawn(found, panel) for panel in (FIXED, MOVING, DIFFERENCE, MAP)])
    assert all(np.array_equal(frame[0], shown[0][0]) for frame in shown)
    for panel in (1, 2, 3):
        assert all((a[panel] != b[panel]).any() for a, b in itertools.pairwise(shown))
    (plane, *_) = found.pictures.planes
    for moment, image in ((0, source), (-1, moved)):
        if name == "labels":  # names, which have colors
            expected = pixels(plane.of(image), window(source), plane)
            np.testing.assert_array_equal(shown[moment][1], expected)
            continue
        expected, seen = plane.of(image), shown[moment][1]
        grey = seen if seen.ndim == 2 else seen.mean(2)
        assert np.corrcoef(expected.mean(0).ravel(), grey.ravel())[0, 1] > 0.999
    if max(plane.factors) == 1 and name != "labels":
        apart = plane.of(moved).mean(0) - plane.of(target).mean(0)
        np.testing.assert_allclose(shown[-1][2], apart, atol=1e-4 * float(source.values.max()))
    assert not shown[0][3].any()
    assert shown[-1][3].std() > 0.01


@pytest.mark.parametrize("name", CASES)
def test_a_film_is_a_whole_picture_at_every_moment(name, monkeypatch):
    found, *_ = film(name, title=f"{name}: a → b")
    limits = [[ax.images[0].get_clim() for ax in axes] for axes in found.axes.values()]
    for k in (0, MOMENTS - 1):
        found.draw(k)
        texts = written(found.figure, monkeypatch)
        assert not clipped(found.figure, texts)
        assert not crossing(texts)
        said = " ".join(text for text, _ in texts)
        words = (FIXED, MOVING, DIFFERENCE, MAP, f"{name}: a → b", "part of the way")
        assert all(word in said for word in words)
        assert ("% differ" if name == "labels" else "RMS") in said
        assert ("mm" if name == "volume" else "px") in said
        assert [[ax.images[0].get_clim() for ax in axes] for axes in found.axes.values()] == limits
        for axes in found.axes.values():
            assert all(ax.get_xlim() == ax0.get_xlim() for ax, ax0 in zip(axes, found.axes[FIXED], strict=True))
    for (low, high), panel in ((limits[2][0], DIFFERENCE), (limits[3][0], MAP)):
        assert low == -high, panel
    lines = [child for child in found.axes[MAP][0].get_children() if isinstance(child, ContourSet)]
    assert len(lines) == 2


def test_the_difference_says_how_large_it_is():
    found, source, target, phi = film("picture")
    for moment, image in ((0, source), (MOMENTS - 1, phi @ source)):
        found.draw(moment)
        error = float((image.values.mean(0) - target.values.mean(0)).square().mean().sqrt())
        assert f"RMS {error:.3g}" in [text.get_text() for text in found.axes[DIFFERENCE][0].texts]


def along(target, phi):
    """Points and a curve, in the plane; and where they are to go."""
    x = target.grid.points(torch.zeros((), dtype=torch.float64))[:: target.grid.size // 12]
    ring = torch.stack([torch.arange(10), (torch.arange(10) + 1) % 10], 1)
    curve = Curve(x.mean(0) + 8 * torch.randn(10, 2, generator=torch.Generator().manual_seed(2)).double(), edges=ring)
    return [(shape, shape.with_positions(phi(shape.x) + 1)) for shape in (Points(x), curve)]


def test_what_goes_along_is_drawn_where_it_is(monkeypatch):
    source, target = pictures()
    phi = bumps(target)
    pairs = along(target, phi)
    compounds = [
        Compound([image, *shapes]) for image, shapes in zip((source, target), zip(*pairs, strict=True), strict=True)
    ]
    found = registration_film(*compounds, compounds[0], phi, records(), moments=MOMENTS)
    assert isinstance(found, ImageFilm)
    points, curve = pairs[0][0], pairs[1][0]
    for moment, x in ((0, points.x), (MOMENTS - 1, phi(points.x))):
        found.draw(moment)
        ax = found.axes[MOVING][0]
        dots = [c for c in ax.collections if isinstance(c, PathCollection)]
        np.testing.assert_allclose(np.asarray(dots[-1].get_offsets()), x.numpy(), atol=1e-6)
        strokes = [c for c in ax.collections if isinstance(c, LineCollection)]
        assert (len(dots), len(strokes)) == (2, 2)
    ends = np.stack(strokes[-1].get_segments())
    np.testing.assert_allclose(ends, phi(curve.x).numpy()[curve.edges.numpy()], atol=1e-6)
    assert len(found.axes[FIXED][0].collections) == 2
    texts = written(found.figure, monkeypatch)
    assert {"target", "moved"} <= {text for text, _ in texts}
    assert not clipped(found.figure, texts)
    assert not crossing(texts)


@pytest.mark.slow
def test_surfaces_are_cut_in_the_slices_of_volumes():
    source, target = small_volumes()
    phi = bumps(target)
    ball = sphere().with_positions(20 * sphere().x.double())
    found = ImageFilm(source, target, phi, points=[(ball, ball)], moments=MOMENTS)
    for moment in (0, MOMENTS - 1):
        found.draw(moment)
        cuts = [np.concatenate(ax.collections[-1].get_segments()) for ax in found.axes[MOVING]]
        radii = [np.linalg.norm(cut, axis=1) for cut in cuts]
        assert (max(np.ptp(r) for r in radii) < 1.5) == (moment == 0)


@pytest.mark.slow
def test_a_written_film_moves(tmp_path):
    found, *_ = film("picture")
    write_film(found, tmp_path / "way.gif", seconds=1.0, dpi=50)
    with Still.open(tmp_path / "way.gif") as gif:
        assert gif.n_frames == 2 * MOMENTS - 2
        frames = []
        for k in range(MOMENTS):
            gif.seek(k)
            frames.append(np.asarray(gif.convert("RGB"), dtype=float))
    assert all(np.abs(a - b).max() > 50 for a, b in itertools.pairwise(frames))
    height = len(frames[0])
    left, bottom, width, high = found.axes[MOVING][0].get_position().bounds
    rows = slice(int((1 - bottom - high) * height), int((1 - bottom) * height))
    columns = slice(int(left * frames[0].shape[1]), int((left + width) * frames[0].shape[1]))
    assert np.abs(frames[0] - frames[-1])[rows, columns].mean() > 3


def test_only_images_become_films_of_images():
    source, target = pictures()
    with pytest.raises(ValueError, match="no film of a Compound"):
        registration_film(Compound([Points(torch.zeros(3, 2))]), target, source, bumps(target), [])
