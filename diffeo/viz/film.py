"""Films: figures that are drawn again for every moment, written as GIF or MP4."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffeo.io.atomic import replacing
from diffeo.viz.gif import Frame, write_gif

SUFFIXES = (".gif", ".mp4")
CODEC = "libx264"  # H.264, as browsers and slides play it
REST = 0.8  # seconds that the first and the last moment are shown


class Film(ABC):
    """A figure, and what is drawn on it at each of so many moments.

    Attributes:
        figure: drawn on by ``draw``; its size and the resolution give the size of the film.
        moments: how many there are; the first is the start, the last the end.
        rests: moments at which the film rests, besides the first and the last.
    """

    figure: Figure
    moments: int
    rests: Collection[int] = ()

    @abstractmethod
    def draw(self, k: int) -> None:
        """Show the moment k, 0 ≤ k < moments, whatever was shown before."""


def write_film(
    film: Film | Callable[[], Film],
    path: str | PathLike[str],
    *,
    seconds: float = 4.0,
    back: bool = True,
    dpi: float = 80,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a film, with a rest at its first and at its last moment, and where it asks for one.

    Args:
        film: what to show, or what makes it: that is called only where the film can be written.
        path: ends in .gif, or in .mp4 where ffmpeg is on the system; it is replaced only when the film is complete.
        seconds: from the first moment to the last.
        back: whether the film runs back to the first moment, so that it has no jump where it begins again.
        dpi: pixels per inch of the figure.
        progress: called with the frames that are drawn and how many there are.

    Returns: the path.
    Raises: ValueError for another suffix, for .mp4 without ffmpeg, and for seconds or a resolution that are not
        positive.
    """
    target = Path(path)
    check_film(target, seconds, dpi)
    film = film if isinstance(film, Film) else film()
    pause = seconds / max(film.moments - 1, 1)
    frames = []
    for k in range(film.moments):
        film.draw(k)
        frames.append(_pixels(film.figure, dpi))
        if progress is not None:
            progress(k + 1, film.moments)
    order = [*range(film.moments), *(range(film.moments - 2, 0, -1) if back else ())]
    rests = {0, film.moments - 1, *film.rests}
    durations = [REST if k in rests else pause for k in order]
    with replacing(target) as temporary:
        write = write_gif if target.suffix.lower() == ".gif" else _mp4
        write(temporary, frames, order, durations)
    return target


def check_film(path: Path, seconds: float, dpi: float) -> None:
    """Raise ValueError unless a film can be written like that: before anything is computed for it."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a film is a .gif or an .mp4 file, and got {path.name}.")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(f"{path.name} needs ffmpeg, which is not on this system: install it, or write a .gif.")
    for name, value in (("seconds", seconds), ("dpi", dpi)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} expects a positive number, and got {value}.")


def _pixels(figure: Figure, dpi: float) -> Frame:
    """The figure as it is now, with even sides, as video wants them."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3]
    return np.ascontiguousarray(image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2])


def _mp4(path: Path, frames: Sequence[Frame], order: Sequence[int], durations: Sequence[float]) -> None:
    """At an even rate: a frame is repeated for as long as it is shown."""
    rate = 30
    height, width, _ = frames[0].shape
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(rate), "-i", "-", "-an", "-c:v", CODEC, "-pix_fmt", "yuv420p", "-crf", "20"]
    command += ["-movflags", "+faststart", str(path)]

    def stream() -> Iterator[bytes]:
        shown, done = 0.0, 0
        for k, duration in zip(order, durations, strict=True):
            shown += duration
            while done < round(shown * rate):
                done += 1
                yield frames[k].tobytes()

    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as coder:
        assert coder.stdin is not None
        assert coder.stderr is not None
        try:
            for part in stream():
                coder.stdin.write(part)
            coder.stdin.close()
        except BrokenPipeError:  # its own words tell why
            pass
        said = coder.stderr.read().decode(errors="replace").strip()
    if coder.returncode:
        raise RuntimeError(f"ffmpeg could not write the film: {said or 'no reason given'}.")
