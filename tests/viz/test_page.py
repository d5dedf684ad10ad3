"""Pages hold what they were given, escape it, need no network, and do what their controls say."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from html import unescape

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from diffeo.viz.page import Chart, Layer, Picture, Scene, Swipe, Table, write_page
from diffeo.viz.page.figures import course_table
from diffeo.viz.page.panel import packed
from diffeo.viz.page.strokes import LIFT, strokes
from diffeo.viz.page.table import Row, written
from tests.viz.browser import in_browser, ink, opened, pixels, slide, traces

TIMES = np.linspace(0, 1, 5)
EVIL = '<b>&"</script>'


def ring(n=12):
    t = np.arange(n) * 2 * np.pi / n
    return np.stack([np.cos(t), np.sin(t)], 1), np.stack([np.arange(n), (np.arange(n) + 1) % n], 1)


def growing(d=2):
    """A ring that grows from radius 1 to 2."""
    x, edges = ring()
    x = np.pad(x, ((0, 0), (0, d - 2)))
    return (1 + TIMES)[:, None, None] * x, edges


def scene(d=2, **options):
    positions, edges = growing(d)
    quantities = {"radius (mm)": np.linalg.norm(positions, axis=2), "signed": np.tile(np.linspace(-1, 2, 12), (1, 1))}
    still = Layer("still", positions[:1], "#E69F00", edges, dash="dash")
    moving = Layer("moving", positions, "#007A5A", edges, quantities=quantities, diverging={"signed"})
    return Scene("A ring", [still, moving], TIMES, axes=("x (mm)", "y (mm)", "z (mm)")[:d], **options)


def checks(slices=3):
    before = np.zeros((slices, 8, 10), np.uint8)
    before[:, :, :5] = (np.arange(slices) * 60)[:, None, None]
    return before, 255 - before


def payloads(text):
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)]


# without a browser


def test_a_page_holds_its_numbers(tmp_path):
    path = write_page(tmp_path / "page.html", "Title", [scene(), Chart("C", {"a": ([0, 1], [3.0, 4.0])}, "x", "y")])
    first, second = payloads(path.read_text(encoding="utf-8"))
    positions, _ = growing()
    moved = first["layers"][1]["positions"]
    assert moved["shape"] == [5, 12, 2]
    decoded = np.frombuffer(base64.b64decode(moved["data"]), "<f4").reshape(5, 12, 2)
    np.testing.assert_array_equal(decoded, positions.astype(np.float32))
    assert second["series"][0]["y"] == [3.0, 4.0]


def test_scales_are_those_of_all_times_and_signed_ones_are_centered():
    scales = scene().data()["scales"]
    assert (scales["radius (mm)"]["lo"], scales["radius (mm)"]["hi"]) == pytest.approx((1, 2))
    assert (scales["signed"]["lo"], scales["signed"]["hi"]) == (-2, 2)


def test_no_color_of_a_signed_scale_is_lost_on_white_paper():
    rgb = np.array([to_rgb(color) for color in scene().data()["scales"]["signed"]["colors"]])
    assert (rgb @ (0.2126, 0.7152, 0.0722)).max() < 0.8
    assert np.ptp(rgb[len(rgb) // 2]) < 0.02  # zero is grey
    assert rgb[0, 2] > 2 * rgb[0, 0]
    assert rgb[-1, 0] > 2 * rgb[-1, 2]


def test_plotly_is_there_only_where_something_is_drawn_with_it(tmp_path):
    table = Table("Numbers", [("a", 1, "", "")])
    without = write_page(tmp_path / "without.html", "T", [table, Swipe("S", *checks())])
    assert without.stat().st_size < 60_000
    assert 1.5e6 < write_page(tmp_path / "with.html", "T", [table, scene()]).stat().st_size < 2.5e6


def test_nothing_is_loaded_from_anywhere(tmp_path):
    text = write_page(tmp_path / "page.html", "T", [scene(), Swipe("S", *checks())]).read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_names_are_not_markup(tmp_path):
    x, edges = growing()
    layer = Layer(EVIL, x, "#007A5A", edges, quantities={EVIL: x[..., 0]})
    panels = [
        Scene(EVIL, [layer], TIMES, EVIL, (EVIL, EVIL), EVIL, EVIL),
        Chart(EVIL, {EVIL: ([0, 1], [1, 2])}, EVIL, EVIL, note=EVIL),
        Table(EVIL, [(EVIL, EVIL, EVIL, EVIL)], EVIL),
        Swipe(EVIL, *checks(), EVIL, names=(EVIL, EVIL + "2")),
        Picture(EVIL, Figure((1, 1)), EVIL),
    ]  # fmt: skip
    text = write_page(tmp_path / "p.html", EVIL, panels, EVIL, {EVIL: EVIL, "group": {EVIL: EVIL}}).read_text("utf-8")
    assert "<b>" not in text
    assert text.count("</script>") == 5  # three with data, plotly, ours
    assert f"<title>{EVIL}</title>" in unescape(text)


VALUES = {
    None: "–",
    True: "yes",
    1654: "1,654",
    -3: "−3",
    0.25: "0.25",
    1.23456e-7: "1.235 · 10<sup>−7</sup>",
    -1e30: "−1 · 10<sup>30</sup>",
    float("nan"): "not a number",
    float("inf"): "∞",
    "few & <b>": "few &amp; &lt;b&gt;",
}


@pytest.mark.parametrize(("given", "expected"), VALUES.items())
def test_values_are_written(given, expected, tmp_path):
    text = write_page(tmp_path / "p.html", "T", [Table("N", [("f", given, "mm", "what it is")])]).read_text("utf-8")
    (found,) = re.findall(r'<td class="value[^>]*>(.*?)</td>', text)
    assert expected in found
    assert ('<td class="unit">mm</td>' in text) == (given is not None)


def test_details_are_grouped(tmp_path):
    details = {"seed": 3, "parameters": {"scale": [1, 2]}, "nothing": {}}
    text = write_page(tmp_path / "p.html", "T", [Table("N", [])], details=details).read_text("utf-8")
    assert "<h3>parameters</h3>" in text
    assert "<td>[1, 2]</td>" in text
    assert "nothing" not in text
    assert "<details" not in write_page(tmp_path / "q.html", "T", [Table("N", [])]).read_text("utf-8")


def test_gaps_stay_gaps():
    chart = Chart("C", {"a": ([0, 1, 2], [float("nan"), -1, 2])}, "x", "y", log=True)
    assert chart.data()["series"][0]["y"] == [None, None, 2.0]
    values = np.array([[0.0, np.nan, 1.0]])
    layer = Layer("a", np.array([[[0.0, 0], [np.nan, 1], [1, 2]]]), "ink", quantities={"q": values})
    data = Scene("S", [layer], [0]).data()
    assert data["bounds"] == [[0, 0], [1, 2]]
    assert data["scales"]["q"]["gaps"]


def test_a_scene_opens_at_its_end_or_where_it_is_told():
    layer = Layer("a", np.zeros((1, 3, 2)), "ink")
    assert Scene("S", [layer], TIMES).data()["start"] == len(TIMES) - 1
    assert Scene("S", [layer], TIMES, start=0).data()["start"] == 0


def test_a_swipe_holds_its_pictures():
    before, after = checks()
    data = Swipe("S", before, after).data()
    for name, given in (("before", before), ("after", after)):
        for address, picture in zip(data["pictures"][name], given, strict=True):
            found = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))
            np.testing.assert_array_equal(np.asarray(found), picture)
    assert data["start"] == 1


@pytest.mark.parametrize(
    ("edges", "length"),
    [
        (np.array([[0, 1], [1, 2], [2, 3]]), 4),
        (np.array([[2, 1], [3, 2], [0, 1], [3, 0]]), 5),  # a ring, whichever way its edges point
        (np.array([[0, 1], [2, 3]]), 5),
        (np.array([[0, 1], [0, 2], [0, 3]]), 6),
        (np.empty((0, 2), int), 0),
    ],
)
def test_strokes_walk_along_every_edge_once(edges, length):
    walk = strokes(edges)
    pairs = itertools.pairwise(walk.tolist())
    walked = sorted(tuple(sorted(pair)) for pair in pairs if LIFT not in pair)
    assert walked == sorted(tuple(sorted(edge)) for edge in edges.tolist())
    assert len(walk) == length


def test_arrays_are_little_endian_and_single():
    assert packed(np.array([1.5], ">f8")) == {"type": "float32", "shape": [1], "data": "AADAPw=="}
    assert packed(np.array([258], ">i8")) == {"type": "int32", "shape": [1], "data": "AgEAAA=="}


X = np.zeros((2, 3, 2))
WRONG = {
    "flat positions": (lambda: Layer("a", X[0], "ink"), "times, points, 2 or 3"),
    "quantity": (lambda: Layer("a", X, "ink", quantities={"q": np.zeros((2, 4))}), "expects q of shape"),
    "edges": (lambda: Layer("a", X, "ink", np.zeros((3, 3), int)), "expects edges"),
    "plane faces": (lambda: Layer("a", X, "ink", faces=np.zeros((1, 3), int)), "faces in the plane"),
    "no layer": (lambda: Scene("s", [], [0]), "expects layers and times"),
    "times": (lambda: Scene("s", [Layer("a", X, "ink")], [0, 1, 2]), "3 times or for one, and got 2"),
    "planes in space": (
        lambda: Scene("s", [Layer("a", X, "ink"), Layer("b", np.zeros((1, 3, 3)), "ink")], [0, 1]), "in the plane"
    ),
    "color": (lambda: Scene("s", [Layer("a", X, "ink")], [0, 1], color="q"), "no layer has"),
    "no series": (lambda: Chart("c", {}, "x", "y"), "at least one series"),
    "lengths": (lambda: Chart("c", {"a": ([1, 2], [1])}, "x", "y"), "as many y as x"),
    "floats": (lambda: Swipe("s", X, X), "uint8"),
    "sizes": (lambda: Swipe("s", checks(2)[0], checks(3)[0]), "of one size"),
    "names of slices": (lambda: Swipe("s", *checks(2), slices=["one"]), "2 names of slices"),
    "no panel": (lambda: write_page("page.html", "T", []), "at least one panel"),
    "suffix": (lambda: write_page("page.pdf", "T", [Table("N", [])]), "is an .html file"),
    "no folder": (lambda: write_page("no/such/page.html", "T", [Table("N", [])]), "there is no folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    make, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        make()


def test_a_page_that_fails_leaves_the_old_one(tmp_path):
    class Broken(Table):
        def body(self):
            raise RuntimeError("no")

    path = write_page(tmp_path / "page.html", "Old", [Table("N", [])])
    with pytest.raises(RuntimeError):
        write_page(path, "New", [Broken("N", [])])
    assert "Old" in path.read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


# in a browser


def cube():
    """A box of 8 corners that grows to twice its size, some dots, and two lines."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 2)], dtype=float)
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]])
    positions = (1 + TIMES)[:, None, None] * corners
    solid = Layer("solid", positions, "#007A5A", faces=faces, quantities={"height": positions[..., 2]})
    dots, lines = Layer("dots", positions[:1], "ink"), Layer("lines", positions, "#D55E00", np.array([[0, 1], [4, 5]]))
    return positions, Scene("A box", [solid, dots, lines], TIMES, color="height")


SERIES = {"up": (np.arange(9), 10.0 ** np.arange(9)), "down": (np.arange(9), 10.0 ** -np.arange(9))}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A page with one panel of each kind."""
    before, after = checks()
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1], color="red")
    panels = [
        scene(note=EVIL),
        cube()[1],
        Chart("Curves", SERIES, "steps <1>", "value", log=True, marks={4.5: "stage 2"}),
        Swipe("Pictures", before, after, others={"third": before // 2}, slices=["z = 0", "z = 1", "z = 2"]),
        Picture("Still", figure),
    ]
    with opened(write_page(tmp_path_factory.mktemp("page") / "page.html", EVIL, panels)) as page:
        yield page


@in_browser
@pytest.mark.slow
def test_a_plane_scene_moves_colors_and_hides(shown):
    section, (positions, _) = shown.locator("section.scene").nth(0), growing()
    assert shown.locator("h1").inner_text() == section.locator(".note").inner_text() == EVIL
    for moment in (4, 0, 2):  # a page opens at the end
        if moment != 4:
            slide(shown, moment)
        (moving,) = [trace for trace in traces(shown) if trace["name"] == "moving"]
        found = np.stack([moving["x"], moving["y"]], 1)[:12]
        assert {tuple(row) for row in found} == {
            tuple(row) for row in positions[moment].astype(np.float32).astype(float)
        }
    assert section.locator(".clock output").inner_text() == "time: 0.5"
    section.locator(".clock input").press("ArrowRight")
    section.locator('.plot[data-moment="3"]').wait_for()
    plain = pixels(shown, ".plot")
    section.locator("select").select_option("signed")
    shown.wait_for_function("document.querySelector('.plot').data.length > 10")
    drawn = [trace for trace in traces(shown) if trace["name"] == "moving" and np.isfinite(trace["x"]).any()]
    assert len({trace["color"] for trace in drawn}) > 8
    assert ink(pixels(shown, ".plot")) > ink(plain) > 0.005  # a color bar has come
    section.get_by_label("moving").uncheck()
    shown.wait_for_function("!document.querySelector('.plot').data.some((t) => t.name === 'moving')")
    assert {trace["name"] for trace in traces(shown)} == {"still", None}


@in_browser
@pytest.mark.slow
def test_the_last_word_is_drawn_and_not_every_one(shown):
    section = shown.locator("section.scene").nth(0)
    slide(shown, 4)
    count = """(section) => {
        const [slider, box] = [section.querySelector(".clock input"), section.querySelector(".plot")];
        section.drawings = 0;
        box.on("plotly_afterplot", () => section.drawings++);
        for (const moment of [0, 1, 2, 3, 2, 1, 0, 3]) {
            slider.value = moment;
            slider.dispatchEvent(new Event("input"));
        }
    }"""
    section.evaluate(count)
    section.locator('.plot[data-moment="3"]').wait_for()
    shown.wait_for_timeout(300)
    assert 1 <= section.evaluate("(section) => section.drawings") <= 3


@in_browser
@pytest.mark.slow
def test_a_color_bar_is_whole_when_the_window_was_narrow(shown):
    section = shown.locator("section.scene").nth(0)
    section.locator("select").select_option("signed")
    for width, turned in ((500, "h"), (1200, "v")):
        shown.set_viewport_size({"width": width, "height": 900})
        bar = "document.querySelector('.plot')._fullLayout.coloraxis?.colorbar.orientation"
        shown.wait_for_function(f"{bar} === '{turned}'")
        shown.wait_for_timeout(500)
    said = "(box) => [...box.querySelectorAll('.colorbar text')].map((text) => text.textContent)"
    words = [text for text in section.locator(".plot").evaluate(said) if text.strip("−.0123456789")]
    assert words == ["signed"]
    assert section.locator(".plot").evaluate("(box) => box._fullLayout._size.w / box.clientWidth") > 0.8
    section.locator("select").select_option("")


@in_browser
@pytest.mark.slow
def test_a_scene_plays(shown):
    section = shown.locator("section.scene").nth(0)
    slide(shown, 4)
    section.get_by_role("button", name="Play").click()
    section.get_by_role("button", name="Pause").wait_for()
    shown.wait_for_function("Number(document.querySelector('.plot').dataset.moment) < 3.5")
    section.get_by_role("button", name="Play").wait_for()
    section.locator('.plot[data-moment="4"]').wait_for()
    assert section.locator(".clock output").inner_text() == "time: 1"


@in_browser
@pytest.mark.slow
def test_a_scene_in_space_keeps_its_camera(shown):
    section, (positions, _) = shown.locator("section.scene").nth(1), cube()
    box = section.locator(".plot")
    box.scroll_into_view_if_needed()
    eye = "(box) => Object.values(box._fullLayout.scene.camera.eye)"
    first, place = box.evaluate(eye), box.bounding_box()
    shown.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    shown.mouse.down()
    shown.mouse.move(place["x"] + place["width"] / 3, place["y"] + place["height"] / 3, steps=4)
    shown.mouse.up()
    shown.wait_for_timeout(200)
    turned = box.evaluate(eye)
    assert np.abs(np.subtract(turned, first)).max() > 0.1
    slide(shown, 1, scene=1)
    assert box.evaluate(eye) == turned
    drawn = traces(shown, 1)
    assert {trace["type"] for trace in drawn} == {"mesh3d", "scatter3d"}
    np.testing.assert_allclose(np.stack([drawn[0][axis] for axis in "xyz"], 1), positions[1], rtol=1e-6)
    np.testing.assert_allclose(drawn[0]["intensity"], positions[1, :, 2], rtol=1e-6)
    assert ink(pixels(shown, "section.scene:nth-of-type(2) .plot")) > 0.02


@in_browser
@pytest.mark.slow
def test_a_swipe_is_dragged(shown):
    section, stack = shown.locator("section.swipe"), shown.locator(".stack")
    left, clip = stack.locator("img.left"), "(image) => getComputedStyle(image).clipPath"
    stack.scroll_into_view_if_needed()
    assert left.evaluate(clip) == "inset(0px 50% 0px 0px)"
    middle, box = pixels(shown, ".stack"), stack.bounding_box()
    shown.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert float(re.findall(r"([\d.]+)%", left.evaluate(clip))[0]) == pytest.approx(10, abs=2)
    assert (pixels(shown, ".stack") != middle).any()
    section.get_by_label("slice").press("ArrowRight")
    assert section.locator(".clock output").inner_text() == "z = 2"
    assert left.get_attribute("alt") == "before, z = 2"
    section.get_by_label("left", exact=False).first.select_option("third")
    assert stack.locator(".name.left").inner_text() == "third"


@in_browser
@pytest.mark.slow
def test_a_chart_and_a_picture_are_seen(shown):
    said = shown.locator("section.chart .plot").inner_text()
    assert all(word in said for word in ("up", "down", "steps <1>", "value", "stage 2"))
    assert [trace["y"].tolist() for trace in traces(shown, 2)] == [y.tolist() for _, y in SERIES.values()]
    assert shown.locator("img.still").evaluate("(image) => image.naturalWidth") == 220
    assert ink(pixels(shown, "section.chart .plot")) > 0.01


@in_browser
@pytest.mark.slow
def test_nothing_sticks_out_of_a_narrow_window_and_without_webgl_there_is_a_sentence(tmp_path):
    rows = [("a_rather_long_name", 1.5e-9, "data units", "what it means, in many words, more than a line holds")]
    path = write_page(tmp_path / "page.html", "T", [scene(3), scene(2), Table("Numbers", rows)])
    text = path.read_text("utf-8").replace("function hasWebGL() {", "function hasWebGL() {\n  return false;")
    path.write_text(text, "utf-8")
    with opened(path, width=400, color_scheme="dark") as page:
        assert "WebGL" in page.locator("section.scene").first.locator(".sorry").inner_text()
        assert page.locator(".plot").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_many_values_in_a_row_are_the_first_and_the_last():
    assert written([4, 2, 1]) == "[4, 2, 1]"
    assert written(list(range(1, 1234))) == "1,233: 1, 2, 3, 4, 5, 6, …, 1,233"
    body = Table("Labels", [Row("labels", list(range(40)))]).body()
    assert 'class="value word"' in body
    assert f'data-value="{list(range(40))}"' in body
    names = [[row[0] for row in course_table({"seed": 0, "labels": found}).rows] for found in (None, [2, 7])]
    assert names == [["seed"], ["labels", "seed"]]
