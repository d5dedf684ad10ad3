"""Two pictures in one place, and a bar between them that is dragged."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffeo.viz.page.panel import Panel

Pictures = NDArray[np.uint8]
"""Shape (slices, h, w) in grey, or (slices, h, w, 3) in color; row 0 is at the top. One slice may stand for all."""
FEW, QUALITY = 256, 88
"""Pictures of more colors than that are WebP of this quality: a third of the bytes, and no difference that one sees."""


@dataclass(frozen=True)
class Swipe(Panel):
    """Pictures of one size, two of which are seen at a time, left and right of a bar.

    Attributes:
        title: what it shows.
        before, after: what is seen at first, shape (slices, h, w) or (slices, h, w, 3), uint8.
        note: how to read it.
        names: of ``before`` and ``after``.
        others: more of the same size by name; menus then choose what is left and right.
        aspect: height of a pixel, relative to its width.
        slices: what the slider says of each slice, say "z = 12 mm"; by default their numbers.
        start: the slice that is seen at first; by default the middle one, or the last one of a way.
        times: of slices that are moments of a way: the slider then has a button that plays it.
        clock: what the times are, say "part of the way".
        smooth: whether pixels are blended, as drawings want it; those of images are seen as they are.

    Raises: ValueError for pictures of two sizes, and where slices and their names or times do not fit.
    """

    title: str
    before: Pictures
    after: Pictures
    note: str = ""
    names: tuple[str, str] = ("before", "after")
    others: Mapping[str, Pictures] = field(default_factory=dict)
    aspect: float = 1.0
    slices: Sequence[str] | None = None
    start: int | None = None
    times: Sequence[float] | None = None
    clock: str = "time"
    smooth: bool = False
    kind: ClassVar[str] = "swipe"

    def __post_init__(self) -> None:
        size = np.shape(self.before)[1:3]
        for name, values in self.pictures.items():
            colored = values.ndim == 4 and values.shape[3] == 3
            if values.dtype != np.uint8 or not (values.ndim == 3 or colored) or not values.size:
                raise ValueError(
                    f"{name} expects uint8 pictures of shape (slices, h, w) or (slices, h, w, 3), "
                    f"and got {values.dtype} of shape {values.shape}."
                )
            if values.shape[1:3] != size or len(values) not in (1, self.count):
                raise ValueError(
                    f"pictures to swipe between are of one size, with {self.count} slices or one: "
                    f"{name} is {values.shape[:3]}, not {(self.count, *size)}."
                )
        for what, given in (("names of slices", self.slices), ("times", self.times)):
            if given is not None and len(given) != self.count:
                raise ValueError(f"{self.title} expects {self.count} {what}, and got {len(given)}.")

    @property
    def count(self) -> int:
        """How many slices there are."""
        return max(len(values) for values in self.pictures.values())

    @property
    def pictures(self) -> dict[str, Pictures]:
        """All of them, by name."""
        return {self.names[0]: self.before, self.names[1]: self.after, **self.others}

    def body(self) -> str:
        """The first two pictures, one over the other."""
        _, height, width = np.shape(self.before)[:3]
        ratio = width / (height * self.aspect)
        style = f"aspect-ratio: {ratio:g}; max-width: min(100%, {75 * ratio:g}vh)"
        look = ' style="image-rendering: auto"' if self.smooth else ""
        return (
            '<div class="controls"></div>'
            f'<div class="stack" style="{style}"><img class="right" alt=""{look}><img class="left" alt=""{look}>'
            '<span class="bar"></span><span class="name left"></span><span class="name right"></span></div>'
        )

    def data(self) -> dict[str, Any]:
        """Every slice as an image, by name."""
        names = self.slices or [f"{self.clock}: {t:.2g}" for t in (() if self.times is None else self.times)]
        names = names or [f"slice {k + 1} of {self.count}" for k in range(self.count)]
        first = self.count // 2 if self.times is None else self.count - 1
        return {
            "pictures": {name: [address(picture) for picture in values] for name, values in self.pictures.items()},
            "shown": list(self.names),
            "slices": list(names),
            "start": first if self.start is None else self.start,
            "times": None if self.times is None else list(map(float, self.times)),
            "clock": self.clock,
        }


def address(picture: NDArray[np.uint8]) -> str:
    """A picture, shape (h, w) or (h, w, 3), as the address of an image: exactly, or nearly where it has many colors."""
    drawn = Image.fromarray(np.ascontiguousarray(picture))
    exact = picture.ndim == 2 or drawn.getcolors(FEW) is not None
    kind, options = ("png", {"optimize": True}) if exact else ("webp", {"quality": QUALITY})
    buffer = io.BytesIO()
    drawn.save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
