"""Frames as a GIF: at most 256 colors for all of them, chosen and mixed so that shades stay smooth and paper white."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]  # shape (height, width, 3)
COLORS = 254  # beside white, and what is seen through: for all frames together, so that nothing flickers
SAMPLE = 60_000  # pixels, of all frames, whose colors are looked at
WHITE, THROUGH = COLORS, COLORS + 1
MIX, MOST = 2.0, 12.0  # colors are mixed over so many times the mean error of a color, and no further than that
PATTERN = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16 - 0.5


def write_gif(path: Path, frames: Sequence[Frame], order: Sequence[int], durations: Sequence[float]) -> None:
    """Write frames in an order, each for so many seconds (a GIF knows hundredths); the film begins again at its end."""
    palette = _palette(frames)
    few = [_reduced(frame, palette, 0.0) for frame in frames]
    error = np.mean([_error(frame, image) for frame, image in zip(frames, few, strict=True)])
    if error > 1:  # shades that would turn into bands
        few = [_reduced(frame, palette, min(MIX * float(error), MOST)) for frame in frames]
    shown = [few[k] for k in order]
    later = [_changes(before, after) for before, after in itertools.pairwise(shown)]
    pauses = [max(20, round(100 * duration) * 10) for duration in durations]
    options = {"duration": pauses, "loop": 0, "optimize": False, "disposal": 1, "transparency": THROUGH}
    shown[0].save(path, save_all=True, append_images=later, **options)


def _palette(frames: Sequence[Frame]) -> Image.Image:
    """Colors of all frames, the more of them where there are many alike, and white as the last."""
    pixels = np.concatenate([frame[_inked(frame)] for frame in frames])
    if not len(pixels):
        pixels = np.zeros((1, 3), np.uint8)
    some = pixels[np.random.default_rng(0).integers(len(pixels), size=SAMPLE)]
    found = Image.fromarray(some[None]).quantize(COLORS, method=Image.Quantize.MEDIANCUT, kmeans=1)
    palette = Image.new("P", (1, 1))
    colors = [*(found.getpalette() or [])[: 3 * COLORS]]
    palette.putpalette([*colors, *[0] * (3 * COLORS - len(colors)), 255, 255, 255, 255, 255, 255])
    return palette


def _inked(frame: Frame) -> NDArray[np.bool_]:
    """Where a frame is not white."""
    return (frame != 255).any(2)


def _reduced(frame: Frame, palette: Image.Image, mix: float) -> Image.Image:
    """A frame in the colors of a palette; shades between them are a pattern that stays where it is over time."""
    inked = _inked(frame)
    height, width, _ = frame.shape
    shift = mix * np.tile(PATTERN, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    mixed = np.clip(frame + shift * inked[..., None], 0, 255).astype(np.uint8)
    index = np.array(Image.fromarray(mixed).quantize(palette=palette, dither=Image.Dither.NONE))
    index[~inked | (index == THROUGH)] = WHITE
    return _image(index, palette)


def _changes(before: Image.Image, after: Image.Image) -> Image.Image:
    """What is drawn over the image before: where nothing changes, that is seen."""
    index = np.array(after)
    index[index == np.asarray(before)] = THROUGH
    return _image(index, after)


def _image(index: NDArray[np.uint8], palette: Image.Image) -> Image.Image:
    image = Image.fromarray(index)
    image.putpalette(palette.getpalette() or [])
    return image


def _error(frame: Frame, image: Image.Image) -> float:
    """The mean difference of colors where a frame is not white."""
    inked = _inked(frame)
    difference = frame[inked].astype(float) - np.array(image.convert("RGB"))[inked]
    return float(np.abs(difference).mean()) if inked.any() else 0.0
