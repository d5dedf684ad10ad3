"""What the demos share of their pictures: one width, small files, and a mark of the code that made them."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FOLDER = Path(__file__).resolve().parent
ASSETS = FOLDER.parent / "assets"
WIDTH = 9.6  # inches: the project page shows pictures 830 px wide, so that 8 points in them are 7 points to the reader
MOST, NARROWEST = 240_000, 830  # bytes of a picture, and pixels across
MARK = "Made by"


def squares(
    figure: Figure, count: int, bottom: float, *, left: float = 0.08, right: float = 0.08, gap: float = 0.2
) -> list[Axes]:
    """Square panels in a row across a figure of the common width; lengths in inches."""
    height = figure.get_figheight()
    side = square(count, left, right, gap)
    places = [(left + k * (side + gap), bottom, side, side) for k in range(count)]
    return [figure.add_axes((x / WIDTH, y / height, w / WIDTH, h / height)) for x, y, w, h in places]


def square(count: int, left: float = 0.08, right: float = 0.08, gap: float = 0.2) -> float:
    """The side of each of them, in inches."""
    return (WIDTH - left - right - (count - 1) * gap) / count


def save(figure: Figure, path: Path, dpi: int = 140) -> None:
    """Write a picture as a small file that knows which code made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, facecolor="white")
    shrink(path, path)


def shrink(picture: Path, path: Path, widest: int = 1600) -> None:
    """Write a picture no wider than that, narrower where its file would be too large."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    mark = PngInfo()
    if (FOLDER / f"{path.stem}.py").exists():
        mark.add_text(MARK, fingerprint(FOLDER / f"{path.stem}.py"))
    path.parent.mkdir(parents=True, exist_ok=True)
    width = min(widest, image.width)
    while True:
        size = width, round(image.height * width / image.width)
        _write(image if width == image.width else image.resize(size, Image.Resampling.LANCZOS), path, mark)
        if path.stat().st_size <= MOST or width <= NARROWEST:
            return
        width = max(NARROWEST, round(0.9 * width))


def _write(image: Image.Image, path: Path, mark: PngInfo) -> None:
    """As it is if its file is small, else with 256 well-chosen colors."""
    image.save(path, optimize=True, pnginfo=mark)
    if path.stat().st_size > MOST:
        colors = image.quantize(255, method=Image.Quantize.MAXCOVERAGE, kmeans=4)
        palette = [*(colors.getpalette() or [])[:765], 255, 255, 255]
        pixels = np.array(image.quantize(255, palette=colors, dither=Image.Dither.FLOYDSTEINBERG))
        pixels[(np.asarray(image) == 255).all(2)] = 255  # paper stays white
        few = Image.fromarray(pixels)
        few.putpalette(palette)
        few.save(path, optimize=True, pnginfo=mark)


def maker(picture: Path) -> str | None:
    """The fingerprint of the code that made a picture; None if it has no mark."""
    with Image.open(picture) as image:
        return getattr(image, "text", {}).get(MARK)


def fingerprint(demo: Path) -> str:
    """Twelve letters that change with a demo's code, and with what it takes from other demos; not with its words.

    The docstring at the top, lines that are comments, and white space are words.
    """
    text = demo.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    first = tree.body[0]
    if ast.get_docstring(tree) is not None and first.end_lineno is not None:
        lines = lines[first.end_lineno :]
    code = _bare(lines)
    for node in tree.body:
        other = FOLDER / f"{getattr(node, 'module', None)}.py"
        if isinstance(node, ast.ImportFrom) and other.exists() and not other.stem.startswith("_"):
            code += _taken(other.read_text(encoding="utf-8"), [alias.name for alias in node.names])
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def _taken(text: str, names: list[str]) -> str:
    """The code of these names in a file, and of all that they use there."""
    defined: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        ends = node.targets if isinstance(node, ast.Assign) else [node]
        for end in ends:
            parts = end.elts if isinstance(end, ast.Tuple) else [end]
            defined |= {getattr(part, "name", None) or getattr(part, "id", ""): node for part in parts}
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name in defined and name not in found:
            found.add(name)
            left += [node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)]
    return "".join(_bare((ast.get_source_segment(text, defined[name]) or "").splitlines()) for name in sorted(found))


def _bare(lines: list[str]) -> str:
    """Without comments and white space."""
    return "".join("".join(line.split()) for line in lines if not line.lstrip().startswith("#"))
