"""The gallery: a page made of demos, by running them."""

import importlib
import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from tests.viz.browser import browser, in_browser, ink, pixels

FOLDER = Path(__file__).parents[2] / "demos"
ROUND = '''"""A disk, & that it is one. (about 3 s)

It is drawn with `ellipse`, in two lines.
"""

from PIL import Image, ImageDraw


# region
def disk(radius):
    image = Image.new("RGB", (400, 300), "white")
    # in the middle
    box = (200 - radius, 150 - radius, 200 + radius, 150 + radius)
    pen = ImageDraw.Draw(image)
    pen.ellipse(box, fill="navy")
    return image


# endregion
def main(radius=80, out=None):
    # region
    image = disk(radius)
    area = sum(image.histogram()[:128])
    thrice = 3 * area
    # endregion
    image.save(out)
    print(f"area < {thrice}")
    assert isinstance(image, Image.Image)
    assert image.getpixel((200, 150)) == (0, 0, 128)
    assert thrice > 0
'''
FILM = '''"""A square that moves, as a film, too. (about 1 min)"""

from PIL import Image, ImageDraw


def main(out):
    # region
    frames = []
    for k in range(3):
        image = Image.new("RGB", (500, 200), "white")
        box = (
            20 + 100 * k, 50,
            120 + 100 * k, 150,
        )
        pen = ImageDraw.Draw(image)
        pen.rectangle(box, fill="teal")
        frames.append(image)
    # endregion
    frames[-1].save(out)
    frames[0].save(out.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    print("three frames")
    assert len(frames) == 3
'''


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def written(folder, **demos):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.py" for name in demos]
    for path, text in zip(paths, demos.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def shown(page):
    """The text of a page."""
    return " ".join(unescape(re.sub("<[^>]+>", "", page.split("<body>")[1])).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A gallery of two demos, and the folder of their pictures."""
    folder = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        paths = written(folder / "demos", wheel=ROUND, square=FILM)
        found = importlib.import_module("_gallery").gallery(paths, folder / "out", folder / "assets")
    return folder, found


def test_a_page_says_what_demos_are_and_did(made):
    folder, found = made
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<article id="(\w+)">', page) == ["wheel", "square"]
    assert re.findall(r'<a class="card" href="#(\w+)">', page) == ["wheel", "square"]
    text = shown(page)
    for said in (
        "A disk, & that it is one.",
        "It is drawn with ellipse, in two lines.",
        "image.getpixel((200, 150)) == (0, 0, 128)",
        "thrice > 0",
        "three frames",
        "2 demos",
        "for k in range(3):",
        "def disk(radius):",
        "area = sum(image.histogram()[:128])",
    ):
        assert said in text
    assert "isinstance" not in text  # it claims nothing
    assert "region" not in text
    dark = Image.open(folder / "assets" / "wheel.png").convert("RGB").histogram()[0]
    assert f"area < {3 * dark}" in text
    assert f"It printed, in {found[0].cpu:.0f} CPU seconds" in text
    assert [one.film is not None for one in found] == [False, True]
    assert all(0 < one.cpu < one.wall + 1 for one in found)


def test_a_page_needs_nothing_but_its_folder(made):
    folder, _ = made
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    names = {name for name in re.findall(r'(?:src|href)="([^"]+)"', page) if not name.startswith(("#", "data:"))}
    assert names == {"wheel.png", "square.png", "square.gif", "wheel.py", "square.py"}
    assert {path.name for path in (folder / "out").iterdir()} == names | {"index.html"}
    assert not re.search(r"https?:|<script|@import|url\(", page)
    assert {path.name for path in (folder / "assets").iterdir()} == {"wheel.png", "square.png", "square.gif"}
    for name in ("wheel", "square"):
        assert (folder / "out" / f"{name}.py").read_bytes() == (folder / "demos" / f"{name}.py").read_bytes()


def test_code_is_what_is_marked(made):
    _, (wheel, square) = made
    assert wheel.demo.code.startswith("def disk(radius):\n    image")
    assert wheel.demo.code.endswith("\n\nimage = disk(radius)\narea = sum(image.histogram()[:128])\nthrice = 3 * area")
    assert (wheel.demo.seconds, square.demo.seconds) == (3, 60)
    assert wheel.demo.claims == ("image.getpixel((200, 150)) == (0, 0, 128)", "thrice > 0")


def test_what_fails_replaces_nothing(tmp_path):
    gallery = importlib.import_module("_gallery").gallery
    (path,) = written(tmp_path / "demos", wheel=ROUND.replace("thrice > 0", "thrice < 0"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("before")
    with pytest.raises(RuntimeError, match=r"wheel.py failed:\n(?s:.)*AssertionError"):
        gallery([path], tmp_path / "out", tmp_path / "assets")
    assert (tmp_path / "out" / "index.html").read_text() == "before"
    assert not (tmp_path / "assets").exists()


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        (" (about 3 s)", "", "docstring"),
        ("    # region\n", "", "10 to 30 lines"),
        ("    assert ", "    _ = ", "asserts nothing"),
    ],
)
def test_what_is_no_demo_is_refused(tmp_path, found, instead, told):
    (path,) = written(tmp_path, wheel=ROUND.replace(found, instead))
    with pytest.raises(ValueError, match=told):
        importlib.import_module("_demo").read(path)


def test_demos_come_as_the_readme_has_them():
    ordered = importlib.import_module("_gallery").ordered
    paths = [Path(f"{name}.py") for name in ("a", "b", "c", "d")]
    text = "see assets/c.gif, assets/cc.png and assets/b.png"
    assert [path.stem for path in ordered(paths, text)] == ["c", "b", "a", "d"]


def test_fingerprints_are_of_code(tmp_path, monkeypatch):
    pictures = importlib.import_module("_pictures")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    (path, other) = written(tmp_path, wheel=ROUND, square="from wheel import disk\n" + FILM)
    first, second = pictures.fingerprint(path), pictures.fingerprint(other)
    path.write_text(ROUND.replace("in two lines", "in one line").replace("# in the middle", "# there"))
    assert (pictures.fingerprint(path), pictures.fingerprint(other)) == (first, second)
    path.write_text(ROUND.replace("radius=80", "radius=81"))
    assert pictures.fingerprint(path) != first
    assert pictures.fingerprint(other) == second  # it takes the disk only
    path.write_text(ROUND.replace("150 - radius", "149 - radius"))
    assert pictures.fingerprint(other) != second
    shade = ROUND.replace("# region\ndef disk", "SHADE, EDGE = 'navy', 1\n\n\n# region\ndef disk").replace(
        '"navy"', "SHADE"
    )
    path.write_text(shade)
    third = pictures.fingerprint(other)
    path.write_text(shade.replace("'navy', 1", "'teal', 1"))
    assert pictures.fingerprint(other) not in (second, third)  # what the disk uses
    path.write_text(ROUND)
    picture = tmp_path / "wheel.png"
    Image.new("RGB", (30, 20), "navy").save(picture)
    assert pictures.maker(picture) is None
    pictures.shrink(picture, picture)
    assert pictures.maker(picture) == pictures.fingerprint(path)


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(made, width):
    folder = made[0] / "out"
    requests, complaints = [], []
    page = browser().new_page(viewport={"width": width, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto((folder / "index.html").resolve().as_uri())
        page.locator("article#square img").last.scroll_into_view_if_needed()
        page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, "it has to be scrolled sideways"
        assert ink(pixels(page, "article#wheel figure img")) > 0.1
        page.locator('a.card[href="#square"]').click()
        assert page.evaluate("location.hash") == "#square"
    finally:
        page.close()
    inside = folder.resolve().as_uri()
    assert all(url.startswith((inside, "data:")) for url in requests)
    assert complaints == []
