"""Pages of networks: they hold the rows, the figures of the report, and what moves in them does."""

from __future__ import annotations

import base64
import json
import math
import re
from html import unescape

import numpy as np
import pytest

from tests.viz.browser import in_browser, ink, opened, pixels, slide, traces
from tests.viz.networks import NETWORKS, trained

QUICK = ("spirals",)
REPORT = {
    "holdout": {"rows": 20, "r2": 0.1234, "rmse": 3.0},
    "target": "progression <1>",
    "parameters": {"depth": 77},
    "versions": {"diffeo": "0.0.7"},
}


def page(name, folder, **options):
    net = trained(name)
    return net.estimator.to_html(folder / "page.html", names=net.names, **options)


def payloads(path):
    text = path.read_text(encoding="utf-8")
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)]


def figures(path):
    """Name and value of every row of the table."""
    text = path.read_text(encoding="utf-8")
    rows = re.findall(r'<tr data-name="(.*?)">.*?data-value="(.*?)"', text)
    return {unescape(name): unescape(value) for name, value in rows}


def unpacked(packed):
    kind = {"float32": "<f4", "int32": "<i4"}[packed["type"]]
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NETWORKS])
def test_a_page_of_each_kind_tells_what_the_estimator_says(name, tmp_path):
    net, path = trained(name), page(name, tmp_path, title="A title")
    told = figures(path)
    score, energy = net.estimator.score(net.X, net.y), float(net.estimator.phi_.energy())
    if name == "several":
        assert all(float(told[f"R², y{k}"]) > 0.5 for k in (1, 2, 3))
    else:
        assert float(told["accuracy" if "accuracy" in told else "R²"]) == pytest.approx(score)
    assert float(told["energy, standardized"]) == pytest.approx(energy)
    assert float(told["√(2E), standardized"]) == pytest.approx(math.sqrt(2 * energy))
    certificate = net.estimator.certificate()
    assert float(told["Lip(φ) ≤"]) == pytest.approx(certificate.lipschitz)
    assert float(told["Lip(φ⁻¹) ≤"]) == pytest.approx(certificate.inverse_lipschitz)
    logdet = net.estimator.phi_.with_logdet(net.estimator.encode(net.X))[1].numpy()
    assert float(told["log det Dφ, smallest"]) == pytest.approx(np.nanmin(logdet), abs=1e-12)
    assert int(told["folds"]) == np.isnan(logdet).sum()
    assert ("it folds" in path.read_text(encoding="utf-8")) == bool(np.isnan(logdet).any())
    assert int(told["iterations"]) == len(net.estimator.history_) - 1
    text = path.read_text(encoding="utf-8")
    for word in ("A title", "training rows", "random_state", "scikit-learn"):
        assert word in text
    assert path.stat().st_size < 4e6


def test_rows_are_where_the_layers_carry_them(tmp_path):
    net, scene = trained("spirals"), payloads(page("spirals", tmp_path))[0]
    classes = {layer["name"]: layer for layer in scene["layers"]}
    for label in ("left", "right"):
        positions = unpacked(classes[label]["positions"])
        chosen = net.X[net.y == label]
        np.testing.assert_allclose(positions[0], net.estimator.encode(chosen).numpy(), atol=1e-6)
        np.testing.assert_allclose(positions[-1], net.estimator.transform(chosen), atol=1e-6)
        moved = np.linalg.norm(positions[-1] - positions[0], axis=1)
        told = {name: unpacked(values) for name, values in classes[label]["quantities"].items()}
        np.testing.assert_allclose(told["displacement (standardized)"][-1], moved, atol=1e-5)
        p = net.estimator.predict_proba(chosen)[:, list(net.estimator.classes_).index(label)]
        np.testing.assert_allclose(told["probability of its class"][0], p, atol=1e-6)
    assert scene["times"][0] == 0
    assert scene["times"][-1] == 3
    assert "grid of the inputs" in classes


def test_values_and_what_is_known_of_other_rows(tmp_path):
    net = trained("diabetes")
    path = page("diabetes", tmp_path, report=REPORT)
    told, scene = figures(path), payloads(path)[0]
    assert told["R², hold-out"] == "0.1234"
    assert scene["color"] == "progression <1>"
    values = unpacked(scene["layers"][0]["quantities"]["progression <1>, predicted"])[0]
    np.testing.assert_allclose(values, net.estimator.predict(net.X), rtol=1e-5)
    text = path.read_text(encoding="utf-8")
    assert "progression &lt;1&gt;" in text
    assert "77" in figures(path).values() or ">77<" in text
    assert "0.0.7" in text


@pytest.mark.slow
def test_many_classes_are_one_layer(tmp_path):
    scene = payloads(page("thirty", tmp_path))[0]
    assert scene["layers"][0]["name"] == "rows"
    assert scene["color"] == "number of the class"


def test_pages_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.html"):
        trained("spirals").estimator.to_html(tmp_path / "page.pdf")


@pytest.mark.slow
@in_browser
def test_the_slider_carries_rows(tmp_path):
    net = trained("spirals")
    with opened(page("spirals", tmp_path)) as tab:
        assert ink(pixels(tab, "section.scene .plot")) > 0.01
        for moment, places in ((0, net.estimator.encode(net.X).numpy()), (24, net.estimator.transform(net.X))):
            slide(tab, moment)
            dots = [trace for trace in traces(tab) if trace["name"] in ("left", "right")]
            shown = np.concatenate([np.stack([trace["x"], trace["y"]], 1) for trace in dots])
            np.testing.assert_allclose(np.sort(shown, 0), np.sort(places, 0), atol=1e-5)
        assert ink(pixels(tab, "img.still")) > 0.1


@pytest.mark.slow
@in_browser
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_rows_are_seen_in_space(name, tmp_path):
    with opened(page(name, tmp_path)) as tab:
        before = pixels(tab, "section.scene .plot")
        assert ink(before) > 0.01
        slide(tab, 0)
        found = traces(tab)
        assert sum(len(trace["x"]) for trace in found if len(trace["z"])) >= len(trained(name).X)
        assert (pixels(tab, "section.scene .plot") != before).any()
