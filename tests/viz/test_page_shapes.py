"""Pages of points, curves and surfaces show where their points go, and say what the report says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from diffeo.core import Compose
from diffeo.shapes import Curve, Mesh, Points
from diffeo.viz.page.companions import grid_lines, ways
from diffeo.viz.page.figures import MEANINGS, course_table, details, figures_table, fit_chart, verdict
from diffeo.viz.page.registration import registration_page
from diffeo.viz.page.shapes import letter, seen, shape_scene
from diffeo.viz.timeline import timeline
from tests.viz.browser import in_browser, ink, opened, pixels, slide, traces
from tests.viz.bumps import toward
from tests.viz.test_plot import circle, cloud, records, sphere

SHIFT = torch.tensor([0.5, 0.2, 0.1, 0.3, -0.2], dtype=torch.float64)


def flat(curve):
    """A plane curve in space, as formats have it that know only space."""
    return Curve(torch.nn.functional.pad(curve.x, (0, 1), value=4.0), edges=curve.edges)


PAIRS = {
    "points on a line": (cloud(30, 1), cloud(40, 1)),
    "points in the plane": (cloud(60, 2), cloud(50, 2)),
    "points in space": (cloud(60, 3), cloud(50, 3)),
    "points in five dimensions": (cloud(40, 5), cloud(40, 5)),
    "plane curves": (circle(30), circle(25, radius=1.4)),
    "curves in space": (circle(30, 3), circle(25, 3, radius=1.4)),
    "flat curves": (flat(circle(30)), flat(circle(25, radius=1.4))),
    "surfaces": (sphere(8), sphere(9, radius=1.5)),
    "points onto a surface": (cloud(40, 3), sphere(9)),
}
REPORT = {
    "distance_before": 0.5,
    "distance_after": 0.0123456,
    "energy": 1.25,
    "flipped": 0,
    "turned": None,
    "min_jacobian": 0.4,
    "inverse_error": 3.2e-13,
    "hamiltonian_drift": float("nan"),
    "converged": True,
    "reason": "progress fell below <the> tolerance",
    "iterations": 12,
    "parameters": {"scale": [20.0, 10.0], "loss": "VarifoldLoss(GaussianKernel(5))"},
    "versions": {"torch": "2.13.0"},
}


def moving(source, target):
    x = target.x - target.x.mean(0) + source.x.mean(0) + 0.3 * SHIFT[: source.x.shape[1]]
    if is_flat(source):
        x = torch.cat([x[:, :2], source.x[:1, 2:].expand(len(x), 1)], 1)
    return toward(source.x, x, strength=0.5)


def is_flat(shape):
    return shape.x.shape[1] == 3 and float(shape.x[:, 2].std()) == 0


def page(path, name, report=REPORT, **options):
    source, target = PAIRS[name]
    phi = moving(source, target)
    return registration_page(path, source, target, phi @ source, phi, records(), report, **options)


def layer(scene, name):
    (found,) = [layer for layer in scene.layers if layer.name == name]
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_the_moved_layer_follows_the_map(name):
    source, target = PAIRS[name]
    phi = moving(source, target)
    scene = shape_scene(source, target, phi)
    moved, way = layer(scene, "moved"), timeline(phi, source.x)
    width = {"points on a line": 1, "flat curves": 2}.get(name, min(source.x.shape[1], 3))
    np.testing.assert_allclose(moved.positions[..., :width], way.positions[..., :width], atol=1e-12)
    np.testing.assert_allclose(moved.positions[-1, :, :width], phi(source.x)[:, :width], atol=1e-12)
    displacement, growth = moved.quantities.values()
    np.testing.assert_allclose(displacement[-1], (phi(source.x) - source.x).norm(dim=1), atol=1e-12)
    np.testing.assert_allclose(growth[-1], phi.with_logdet(source.x)[1], atol=1e-10)
    np.testing.assert_allclose(layer(scene, "target").positions[0, :, 0], target.x[:, 0])
    assert moved.positions.shape[2] == (3 if width == 3 else 2)


@pytest.mark.parametrize("name", ["points in the plane", "curves in space", "points in five dimensions"])
def test_the_grid_is_carried_along(name):
    source, target = PAIRS[name]
    phi, scene = moving(source, target), shape_scene(source, target, moving(source, target))
    width = min(source.x.shape[1], 3)
    start, edges = grid_lines(source.x, width, 24 if width == 2 else 16)
    grid = layer(scene, "grid")
    np.testing.assert_allclose(grid.positions[-1], phi(start)[:, :width], atol=1e-12)
    lengths = (start[edges[:, 0]] - start[edges[:, 1]]).norm(dim=1)
    assert float(lengths.max()) < 1.01 * float(lengths.min()) * (1.5 if width == 3 else 1.2)  # neighbors only
    assert bool((start.amin(0) <= source.x.amin(0)).sum() >= 2)
    assert grid.visible == (width == 2)


def test_ways_are_those_of_the_points():
    positions = np.random.default_rng(0).normal(size=(4, 5, 2))
    found = ways(positions)
    joined = found.positions[0][found.edges]
    assert len(joined) == 3 * 5
    for a, b in joined:
        k, j = np.argwhere((positions == a).all(2))[0]
        np.testing.assert_array_equal(positions[k + 1, j], b)


def test_large_shapes_are_thinned_and_say_so():
    x = torch.rand(30_000, 2, dtype=torch.float64)
    many = Points(x)
    scene = shape_scene(many, circle(), toward(x, circle().x, strength=0.1))
    assert layer(scene, "moved").positions.shape[1] == 20_000
    assert len(scene.times) < 25
    assert "20,000 of 30,000 points are shown" in scene.note
    fine = sphere(160)
    few = seen(fine)
    assert len(few.faces) <= 40_000 < len(fine.faces)
    assert few.faces.max() == len(few.rows) - 1


def test_an_alignment_is_told():
    source, target = PAIRS["plane curves"]
    phi = moving(source, target)
    assert "aligns" not in shape_scene(source, target, phi).note
    assert "aligns" in shape_scene(source, target, Compose([phi, phi])).note


@pytest.mark.slow
def test_a_map_that_does_nothing_has_a_page(tmp_path):
    source = circle()
    phi = toward(source.x, source.x, strength=0.0)
    path = registration_page(tmp_path / "page.html", source, source, source, phi, [], {})
    assert "Course of the fit" not in path.read_text("utf-8")


@pytest.mark.slow
def test_numbers_of_the_page_are_those_of_the_report(tmp_path):
    text = page(tmp_path / "page.html", "plane curves", title="A <b>title</b>").read_text("utf-8")
    values = dict(
        re.findall(r'<tr data-name="(\w+)"><th scope="row">\w+</th><td class="[^"]*" data-value="([^"]*)"', text)
    )
    expected = {name: "" if v is None else str(v) for name, v in REPORT.items() if not isinstance(v, dict)}
    assert values == {name: v.replace("<", "&lt;").replace(">", "&gt;") for name, v in expected.items()}
    assert "A &lt;b&gt;title&lt;/b&gt;" in text
    assert "VarifoldLoss(GaussianKernel(5))" in text
    assert "mean distance 0.5 before, 0.0123 after; no fold" in text


def test_every_figure_of_a_report_is_on_the_page_once():
    report = REPORT | {"something_new": 3}
    names = [row[0] for table in (figures_table(report), course_table(report)) for row in table.rows]
    assert sorted([*names, *details(report)]) == sorted(report)
    assert all(meaning for _, meaning in MEANINGS.values())


VERDICTS = {
    "no fold": {"flipped": 0, "min_jacobian": 0.2},
    "it folds: see the numbers": {"folds": 3},
    "mean squared difference 1 before, 0.25 after; no fold; not converged": {
        "error_before": 1.0, "error_after": 0.25, "folds": 0, "converged": False,
    },
    "": {"energy": 3.0},
}  # fmt: skip


@pytest.mark.parametrize("said", VERDICTS)
def test_the_verdict(said):
    assert verdict(VERDICTS[said]) == said


def test_a_fold_of_the_map_is_told():
    for least in (-1.0, 0.0):
        assert verdict({"flipped": 0, "min_jacobian": least}) == "it folds: see the numbers"


def test_the_course_has_gaps_where_stages_start():
    chart = fit_chart(records(n=5, stages=2))
    assert list(chart.series) == ["objective", "data term", "weighted energy"]
    x, y = chart.series["data term"]
    assert np.isnan(y).sum() == 1
    assert list(y[:5]) == [1.5 / (k + 1) for k in range(5)]
    assert list(chart.marks) == [x[5]]
    assert chart.log


@pytest.mark.slow
def test_a_surface_of_5000_vertices_takes_less_than_8_megabytes(tmp_path):
    source, target = sphere(70), sphere(70, radius=1.5)
    phi = toward(source.x, target.x, strength=0.3)
    path = registration_page(tmp_path / "page.html", source, target, phi @ source, phi, records(), REPORT)
    assert len(source.x) == 4970
    assert 4e6 < path.stat().st_size < 8e6


def test_shapes_without_pages_are_refused(tmp_path):
    source, target = PAIRS["plane curves"]
    with pytest.raises(ValueError, match=r"is an \.html file"):
        page(tmp_path / "page.png", "plane curves")
    with pytest.raises(ValueError, match="there is no page of a str"):
        registration_page(tmp_path / "p.html", "no", target, source, moving(source, target), [], {})  # pyright: ignore
    assert not list(tmp_path.iterdir())


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["points on a line", "plane curves", "surfaces"])
def test_the_slider_moves_the_shape(name, tmp_path):
    source, target = PAIRS[name]
    way = timeline(moving(source, target), source.x)
    with opened(page(tmp_path / "page.html", name)) as browsed:
        for moment in (24, 6):
            if moment != 24:
                slide(browsed, moment)
            (moved,) = [trace for trace in traces(browsed) if trace["name"] == "moved"][-1:]
            drawn = [trace for trace in traces(browsed) if trace["name"] == "moved"]
            x = np.concatenate([trace["x"] for trace in drawn])
            expected = way.positions[moment, :, 0].astype(np.float32)
            np.testing.assert_array_equal(np.unique(x[np.isfinite(x)]), np.unique(expected))
        assert browsed.locator(".clock output").inner_text() == "part of the way: 0.25"
        value = browsed.locator('tr[data-name="distance_after"] .value')
        assert float(value.get_attribute("data-value")) == REPORT["distance_after"]
        assert value.inner_text() == "0.01235"
        browsed.wait_for_timeout(300)
        before = pixels(browsed, ".plot")
        browsed.locator("section.scene select").select_option("")
        browsed.wait_for_timeout(500)
        after = pixels(browsed, ".plot")
        assert ink(before) > 0.01 < ink(after)
        assert (before != after).any()
        assert moved["type"] == ("mesh3d" if isinstance(source, Mesh) else "scatter")


def test_axes_are_called_what_columns_are():
    assert [letter(name) for name in ("$x_{12}$", "malic_acid", "a{1}", "x")] == ["x₁₂", "malic_acid", "a{1}", "x"]
