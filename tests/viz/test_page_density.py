"""Pages of densities: their scene moves as the flow does, and their numbers are those of the report."""

import base64
import dataclasses
import json
import math
import re
from html import unescape

import numpy as np
import pytest
import torch

from diffeo.viz.page.density import figures
from tests.viz.browser import in_browser, ink, opened, pixels, slide, traces
from tests.viz.densities import KINDS, fitted

QUICK = ("two columns",)


def told(text):
    """The figures of a page by name: the numbers in all their digits."""
    found = re.findall(r'<tr data-name="([^"]*)">.*?data-value="([^"]*)"', text)
    return {unescape(name): value for name, value in found}


def scene_of(text):
    """What the slider of a page moves: positions of each layer by its name, shape (T, n, d)."""
    scene = next(
        found
        for found in map(json.loads, re.findall(r'<script type="application/json">(.*?)</script>', text, re.S))
        if "layers" in found
    )
    packed = {layer["name"]: layer["positions"] for layer in scene["layers"]}
    return {k: np.frombuffer(base64.b64decode(v["data"]), "<f4").reshape(v["shape"]) for k, v in packed.items()}


def kept(trace):
    """Points of a trace."""
    points = np.stack([trace["x"], trace["y"]], 1)
    return points[np.isfinite(points).all(1)]


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[] if k in QUICK else [pytest.mark.slow]) for k in KINDS])
def test_a_page_tells_the_report_and_shows_the_way(kind, tmp_path):
    flow, path = fitted(kind), tmp_path / "page.html"
    text, report = flow.to_html(path, title="A density <b>").read_text(encoding="utf-8"), flow.report_
    assert path.stat().st_size < 6e6
    figures = told(text)
    assert float(figures["log p, training"]) == report.train.mean
    assert float(figures["log p, held out"]) == report.held_out.mean
    assert float(figures["energy"]) == report.energy
    assert float(figures["round trip"]) == report.round_trip
    assert figures["∫p"] == (str(report.mass.value) if math.isfinite(report.mass.value) else "")
    assert ("is affine" in text) == ("everywhere: the map only changes units" in text) == (kind == "at rest")
    assert ("Course of the fit" in text) == (kind != "at rest")
    assert text.count('class="still"') == (1 if kind in ("five columns", "two given another", "at rest") else 2)
    for said in ("A density &lt;b&gt;", "No problem was found.", "random_state", "torch"):
        assert said in text
    layers = scene_of(text)
    assert (layers["rows"][0] != layers["rows"][-1]).any() == (kind != "at rest")
    assert layers["rows"].shape == (25, 120, 3 if kind in ("five columns", "two given another") else 2)


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two columns", "five columns"])
def test_the_slider_moves_the_rows(kind, tmp_path):
    path = fitted(kind).to_html(tmp_path / "page.html")
    with opened(path) as page:  # at the start
        assert page.locator("section.scene .clock input").input_value() == "0"
        before, seen = traces(page), pixels(page, "section.scene .plot")
        slide(page, 24)
        after = traces(page)
        assert ink(seen) > 0.005
        assert any(not np.array_equal(a["x"], b["x"], equal_nan=True) for a, b in zip(before, after, strict=True))


@in_browser
@pytest.mark.slow
def test_rows_of_a_scene_are_carried_by_the_map(tmp_path):
    flow = fitted("two columns")
    with opened(flow.to_html(tmp_path / "page.html")) as page:
        slide(page, 24)
        shown = {trace["name"]: trace for trace in traces(page)}
        ends = flow.phi_(torch.tensor(flow.rows_[0])).detach().numpy()
        assert np.allclose(kept(shown["rows"]), ends, atol=1e-5)
        drawn = flow.law_.base.sample(2000, torch.Generator().manual_seed(0)).numpy()
        distances = np.abs(kept(shown["draws"])[:, None] - drawn[None]).max(2).min(1)
        assert distances.max() < 1e-5
        lines = kept(shown["level lines of the density"])
        p = flow.law_.base(torch.tensor(lines)).exp().detach().numpy()
        assert len({round(float(value) / float(p.min())) for value in p}) <= 5  # 10, 30, …, 90% of one density
        assert p.std() > 0


def test_a_table_says_what_is_not_known():
    report = dataclasses.replace(fitted("two columns").report_, forward=None, backward=None, uncertified="a reason")
    rows = {row[0]: row for row in figures(report).rows}
    assert rows["layers certified invertible"][1:] == (None, "", "nothing is certified: a reason")
    assert not [name for name in rows if name.startswith("Lip")]


def test_what_is_no_page_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.html"):
        fitted("two columns").to_html(tmp_path / "page.txt")
    assert not list(tmp_path.iterdir())


def test_a_density_without_rows_asks_for_them(tmp_path):
    flow = fitted("two columns")
    rows = flow.rows_
    del flow.rows_
    try:
        for who, show in (("to_html", flow.to_html), ("animate", flow.animate)):
            with pytest.raises(ValueError, match=f"{who} expects rows"):
                show(tmp_path / ("a.gif" if who == "animate" else "a.html"))
    finally:
        flow.rows_ = rows
