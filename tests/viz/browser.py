"""Pages in a browser: Debian's chromium, without a window, driven by playwright; tests skip where either is absent."""

from __future__ import annotations

import atexit
import importlib.util
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
PATIENCE = 90_000  # ms: a busy machine draws surfaces without a graphics card
OTHERS = ("Canvas2D: Multiple readback", "GPU stall due to ReadPixels")  # what plotly's own drawing makes chromium say

in_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None, reason="needs chromium and playwright"
)


@cache
def browser() -> Any:
    """One for all tests of a process."""
    from playwright.sync_api import sync_playwright

    player = sync_playwright().start()
    found = player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    atexit.register(player.stop)
    atexit.register(found.close)
    return found


@contextmanager
def opened(path: Path, width: int = 1200, height: int = 900, **options: Any) -> Iterator[Any]:
    """A page, ready to be looked at; at the end it must have asked for nothing but its file, and complained of nothing.

    Args:
        path: of the HTML file.
        width, height: of the window.
        options: of playwright's ``new_page``.
    """
    requests, complaints = [], []
    page = browser().new_page(viewport={"width": width, "height": height}, **options)
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        yield page
        left = [url for url in requests if not url.startswith(("data:", "blob:"))]
        assert left == [path.resolve().as_uri()]
        assert [text for text in complaints if not any(other in text for other in OTHERS)] == []
    finally:
        page.close()


def slide(page: Any, moment: int, scene: int = 0) -> None:
    """Move the slider of a scene, and wait until the moment is drawn."""
    section = page.locator("section.scene").nth(scene)
    section.locator(".clock input").evaluate("(s, k) => { s.value = k; s.dispatchEvent(new Event('input')) }", moment)
    section.locator(f'.plot[data-moment="{moment}"]').wait_for()


def traces(page: Any, plot: int = 0) -> list[dict[str, Any]]:
    """What plotly draws: of each trace name, type, mode, and x, y, z as arrays with NaN in gaps."""
    script = """(box) => box.data.map((t) => ({name: t.name, type: t.type, mode: t.mode, color: t.line?.color,
        intensity: t.intensity && [...t.intensity], marker: t.marker?.color?.length > 1 ? [...t.marker.color] : null,
        x: [...(t.x ?? [])], y: [...(t.y ?? [])], z: [...(t.z ?? [])]}))"""
    found = page.locator(".plot").nth(plot).evaluate(script)
    return [trace | {axis: np.array(trace[axis], dtype=float) for axis in "xyz"} for trace in found]


def pixels(page: Any, selector: str) -> Any:
    """What is seen of an element, shape (h, w, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def ink(picture: Any) -> float:
    """How much of a picture differs from its most frequent color, between 0 and 1."""
    flat = picture.reshape(-1, 3).astype(np.int64) @ (1, 256, 65536)
    return 1 - np.unique(flat, return_counts=True)[1].max() / len(flat)
