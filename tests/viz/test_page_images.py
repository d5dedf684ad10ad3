"""Pages of images: what is swept over is the images' own pixels, the way plays, and what goes along is there."""

from __future__ import annotations

import base64
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image as Still

from diffeo.shapes import Compound, Image, Points
from diffeo.viz.images import pixels as shades
from diffeo.viz.images import window
from diffeo.viz.page import images
from diffeo.viz.page.registration import registration_page
from diffeo.viz.planes import planes
from tests.viz.browser import in_browser, ink, opened, pixels
from tests.viz.phantoms import bumps, labels, pictures, small_volumes
from tests.viz.test_plot import records, sphere

REPORT = {
    "error_before": 0.9273, "error_after": 0.02235, "energy": 41.5, "folds": 0, "min_corner": 0.153,
    "inverse_error": 0.0278, "hamiltonian_drift": None, "iterations": 85, "converged": True,
    "parameters": {"loss": "LNCCLoss(radius=2)"}, "versions": {"diffeo": "0.1.0"},
}  # fmt: skip


KINDS = {"picture": pictures, "volume": small_volumes, "labels": labels, "color": lambda: pictures(channels=3)}


class Made(NamedTuple):
    """A page, and what it was made of."""

    path: Path
    source: Image
    target: Image
    moved: Image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of each kind, made once, of few moments."""
    folder = tmp_path_factory.mktemp("pages")

    @cache
    def make(name):
        source, target = KINDS[name]()
        phi = bumps(target)
        moved, path = phi @ source, folder / f"{name}.html"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(images, "MOMENTS", 3)
            registration_page(path, source, target, moved, phi, records(), REPORT, title="a <b> & c")
        return Made(path, source, target, moved)

    return make


def swipes(path):
    """Of all panels with pictures: title and data."""
    text = path.read_text(encoding="utf-8")
    sections = re.findall(
        r'data-kind="swipe"><h2>(.*?)</h2>.*?<script type="application/json">(.*?)</script>', text, re.S
    )
    return {title: json.loads(data) for title, data in sections}


def decoded(address):
    return np.asarray(Still.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def expected(image, levels, plane):
    found = np.round(255 * shades(plane.of(image), levels, plane)).astype(np.uint8)
    return found if plane.space.downward else found[::-1]


@pytest.mark.parametrize("name", ["picture", *(pytest.param(k, marks=pytest.mark.slow) for k in ("labels", "color"))])
def test_pictures_before_and_after_are_those_of_the_images(name, made):
    path, source, target, moved = made(name)
    found = swipes(path)
    assert list(found) == ["On its way", "Before and after"]
    data, (plane,) = found["Before and after"], planes(target)
    roles = {"moved": (moved, window(source)), "fixed": (target, window(target)), "moving": (source, window(source))}
    assert set(data["pictures"]) == set(roles)
    assert data["shown"] == ["moved", "fixed"]
    for role, of in roles.items():
        (seen,) = (decoded(address) for address in data["pictures"][role])
        difference = np.abs(seen.astype(int) - expected(*of, plane)).max(initial=0)
        assert difference == 0 if name != "color" else np.abs(seen.astype(int) - expected(*of, plane)).mean() < 4


@pytest.mark.slow
def test_slices_of_volumes_are_right_in_all_three_directions(made):
    path, source, target, moved = made("volume")
    found = swipes(path)
    for plane, direction in zip(planes(target), ("axial", "coronal", "sagittal"), strict=True):
        data = found[f"Before and after: {direction} slices"]
        count = len(data["slices"])
        assert 3 < count <= target.grid.shape[plane.across.axis]
        assert data["slices"][data["start"]] == plane.name
        for role, image in (("moved", moved), ("fixed", target), ("moving", source)):
            assert len(data["pictures"][role]) == count
            levels = window(target if role == "fixed" else source)
            seen = decoded(data["pictures"][role][data["start"]])
            np.testing.assert_array_equal(seen, expected(image, levels, plane))
    # the spot of the fixed image is right, behind and above: patients' right is at the right, their head above
    bright = decoded(found["Before and after: coronal slices"]["pictures"]["fixed"][0])
    assert bright.shape == (15, 22)
    at = np.unravel_index(decoded_brightest(found["Before and after: coronal slices"]).argmax(), bright.shape)
    assert at[0] < bright.shape[0] / 2
    assert at[1] > bright.shape[1] / 2


def decoded_brightest(data):
    """The slice with the brightest point of all, of the fixed image."""
    return max((decoded(address) for address in data["pictures"]["fixed"]), key=lambda picture: int(picture.max()))


@pytest.mark.parametrize("name", ["picture", pytest.param("volume", marks=pytest.mark.slow)])
def test_the_way_begins_with_the_moving_image_and_ends_with_the_moved_one(name, made):
    data = swipes(made(name).path)["On its way"]
    assert data["times"][0] == 0
    assert data["times"][-1] == 1
    assert data["start"] == len(data["times"]) - 1
    assert set(data["pictures"]) == {"on its way", "fixed", "difference", "map"}
    assert len(data["pictures"]["fixed"]) == 1
    ways = {name: [decoded(a).astype(float) for a in data["pictures"][name]] for name in data["pictures"]}
    for role in ("on its way", "difference", "map"):
        assert len(ways[role]) == len(data["times"])
        assert all(np.abs(a - b).max() > 15 for a, b in zip(ways[role], ways[role][1:], strict=False))
    last = [np.abs(ways["on its way"][k] - ways["fixed"][0]).mean() for k in (0, -1)]
    assert last[0] != pytest.approx(last[1], rel=0.05)


def test_numbers_have_the_units_of_the_images(made):
    text = made("picture").path.read_text(encoding="utf-8")
    assert "a &lt;b&gt; &amp; c" in text
    row = re.findall(r'<tr data-name="inverse_error">(.*?)</tr>', text)[0]
    assert 'data-value="0.0278"' in row
    assert ">px<" in row
    assert ">px²<" in re.findall(r'<tr data-name="energy">(.*?)</tr>', text)[0]
    assert "LNCCLoss(radius=2)" in text


@pytest.mark.slow
def test_a_page_of_volumes_has_a_scene_of_what_goes_along(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOMENTS", 3)
    source, target = small_volumes()
    phi = bumps(target)
    ball, dots = sphere().with_positions(20 * sphere().x.double()), Points(20 * sphere().x.double()[::7])
    shapes = [Compound([image, ball, dots]) for image in (source, target)]
    registration_page(tmp_path / "page.html", *shapes, shapes[0].carried(phi), phi, [], REPORT)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r'data-kind="scene"><h2>(.*?)</h2>', text) == [
        "What goes along: a surface",
        "What goes along: points",
    ]
    assert "orange where they are to go" in text
    assert "Course of the fit" not in text


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["picture", "volume"])
def test_the_page_plays_in_a_browser(name, made):
    with opened(made(name).path) as page:
        section = page.locator("section.swipe").first
        slider, left = section.locator(".clock input"), section.locator("img.left")
        assert section.locator(".clock output").inner_text() == "part of the way: 1"
        last, seen = left.get_attribute("src"), pixels(page, ".stack")
        assert ink(seen) > 0.05
        slider.evaluate("(s) => { s.value = 0; s.dispatchEvent(new Event('input')) }")
        assert section.locator(".clock output").inner_text() == "part of the way: 0"
        assert left.get_attribute("src") != last
        assert (pixels(page, ".stack") != seen).mean() > 0.01
        section.get_by_label("left", exact=False).first.select_option("map")
        assert left.get_attribute("alt") == "map, part of the way: 0"
        section.get_by_role("button").click()
        page.wait_for_function("() => document.querySelector('.clock input').value > 0")
        assert page.locator("img.still").evaluate("(image) => image.naturalWidth") > 500
        for k in range(page.locator("section.swipe").count()):
            assert ink(pixels(page, f"section.swipe:nth-of-type({k + 1}) .stack")) > 0.05


@in_browser
@pytest.mark.slow
def test_slices_are_leafed_through(made):
    with opened(made("volume").path, width=400) as page:
        section = page.locator("section.swipe").nth(1)
        first = section.locator(".clock output").inner_text()
        source = section.locator("img.right").get_attribute("src")
        section.get_by_label("slice").press("ArrowRight")
        assert section.locator(".clock output").inner_text() != first
        assert section.locator("img.right").get_attribute("src") != source
        assert first.startswith("axial, z = ")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
