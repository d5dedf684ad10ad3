"""Films are files that play: as many frames as moments, each as long as it should be, and never half of one."""

import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from diffeo.viz import film as module
from diffeo.viz.film import Film, write_film
from diffeo.viz.gif import write_gif

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg is not on this system"
)


class Bar(Film):
    """A bar that grows from nothing to the whole width; drawing a moment needs no other before it."""

    def __init__(self, moments=5, rests=()):
        self.figure = Figure(figsize=(2.01, 1.01), facecolor="white")
        self.moments, self.rests, self.drawn = moments, rests, []
        self.ax = self.figure.add_axes((0, 0, 1, 1))

    def draw(self, k):
        self.drawn.append(k)
        self.ax.clear()
        self.ax.set_axis_off()
        self.ax.set(xlim=(0, 1), ylim=(0, 1))
        self.ax.barh(0.5, k / (self.moments - 1), height=1, color="#0072B2")


def widths(path):
    """How wide the bar is in each frame, as a part of the whole, and how long each is shown, in milliseconds."""
    with Image.open(path) as image:
        parts, durations = [], []
        for k in range(image.n_frames):
            image.seek(k)
            durations.append(image.info["duration"])
            row = np.asarray(image.convert("RGB"))[image.height // 2].astype(int)
            parts.append(float((row[:, 0] < 128).mean()))
        return parts, durations


def test_a_gif_runs_there_and_back_with_rests_at_both_ends(tmp_path):
    parts, durations = widths(write_film(Bar(), tmp_path / "bar.gif", seconds=2.0))
    assert parts == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25], abs=0.02)
    assert durations == [800, 500, 500, 500, 800, 500, 500, 500]


def test_a_gif_may_end_at_its_end(tmp_path):
    parts, durations = widths(write_film(Bar(), tmp_path / "bar.gif", seconds=0.4, back=False))
    assert parts == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)
    assert durations == [800, 100, 100, 100, 800]


def test_a_film_may_rest_on_its_way(tmp_path):
    _, durations = widths(write_film(Bar(rests=(2,)), tmp_path / "bar.gif", seconds=0.4, back=False))
    assert durations == [800, 100, 800, 100, 800]


def test_it_plays_again_and_again(tmp_path):
    with Image.open(write_film(Bar(), tmp_path / "bar.gif")) as image:
        assert image.info["loop"] == 0


def test_size_and_resolution(tmp_path):
    """Sides are even, as video wants them."""
    with Image.open(write_film(Bar, tmp_path / "bar.gif", dpi=100)) as image:
        assert image.size == (200, 100)
    with Image.open(write_film(Bar(), tmp_path / "bar.gif", dpi=50)) as image:
        assert image.size == (100, 50)


def test_every_moment_is_drawn_once_and_told(tmp_path):
    film, told = Bar(4), []
    write_film(film, tmp_path / "bar.gif", progress=lambda done, whole: told.append((done, whole)))
    assert film.drawn == [0, 1, 2, 3]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@needs_ffmpeg
@pytest.mark.slow
def test_an_mp4_lasts_as_long_and_shows_the_same(tmp_path):
    path = write_film(Bar(), tmp_path / "bar.mp4", seconds=2.0, dpi=100)
    probe = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-of", "json", "-show_entries"]
    probe += ["stream=codec_name,pix_fmt,width,height,nb_read_frames,r_frame_rate", str(path)]
    (stream,) = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"]) == (200, 100)
    assert stream["r_frame_rate"] == "30/1"
    assert int(stream["nb_read_frames"]) == round(30 * (2 * 0.8 + 6 * 0.5))
    still = tmp_path / "still.png"
    at = ["ffmpeg", "-loglevel", "error", "-ss", "1.6", "-i", str(path), "-frames:v", "1", str(still)]
    subprocess.run(at, check=True)  # 1.6 s: after 0.8, 0.5 and 0.3 of 0.5 seconds, the third moment
    with Image.open(still) as image:
        row = np.asarray(image.convert("RGB"))[50].astype(int)
    assert (row[:, 0] < 128).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", ["film.avi", "film", "film.png", "film.gif.txt"])
def test_other_suffixes_are_refused_before_anything_is_drawn(name, tmp_path):
    film = Bar()
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4 file, and got film"):
        write_film(film, tmp_path / name)
    with pytest.raises(ValueError, match="an \\.mp4 file"):
        write_film(lambda: pytest.fail("it was made"), tmp_path / name)
    assert film.drawn == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": float("inf")}, {"dpi": -1}, {"dpi": float("nan")}])
def test_numbers_that_are_not_positive_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} expects a positive number"):
        write_film(Bar(), tmp_path / "film.gif", **wrong)


def test_mp4_without_ffmpeg_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs ffmpeg.* write a \.gif"):
        write_film(Bar(), tmp_path / "film.mp4")


@pytest.mark.parametrize("suffix", [".gif", pytest.param(".mp4", marks=needs_ffmpeg)])
def test_a_film_that_fails_leaves_the_old_one(suffix, tmp_path):
    class Broken(Bar):
        def draw(self, k):
            if k == 3:
                raise RuntimeError("lost")
            super().draw(k)

    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="lost"):
        write_film(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@needs_ffmpeg
def test_what_ffmpeg_says_is_passed_on(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    monkeypatch.setattr(module, "CODEC", "no-such-codec")
    with pytest.raises(RuntimeError, match="no-such-codec"):
        write_film(Bar(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# colors of a GIF


def shaded(number=4, size=64):
    """A disk with a smooth shade that moves over white paper, and a black line that does not."""
    y, x = np.mgrid[:size, :size]
    frames = []
    for k in range(number):
        frame = np.full((size, size, 3), 255, np.uint8)
        disk = np.hypot(x - 20 - 6 * k, y - 30) < 18
        shade = np.stack([3 * x, 4 * y, 255 - 2 * x - y], -1).clip(0, 250).astype(np.uint8)
        frame[disk] = shade[disk]
        frame[60] = 0
        frames.append(frame)
    return frames


def played(path):
    with Image.open(path) as image:
        shown = []
        for k in range(image.n_frames):
            image.seek(k)
            shown.append(np.asarray(image.convert("RGB")))
        return shown


def blurred(frame):
    """Means over squares of four by four pixels."""
    height, width, _ = frame.shape
    return frame.reshape(height // 4, 4, width // 4, 4, 3).mean((1, 3))


def test_colors_are_near_paper_is_white_and_what_stays_does_not_flicker(tmp_path):
    frames = shaded()
    write_gif(tmp_path / "disk.gif", frames, range(4), [0.1] * 4)
    shown = played(tmp_path / "disk.gif")
    assert len(shown) == 4
    for frame, seen in zip(frames, shown, strict=True):
        white = (frame == 255).all(2)
        assert (seen[white] == 255).all()
        assert np.abs(seen.astype(int) - frame).mean() < 4
        assert np.abs(blurred(seen) - blurred(frame)).max() < 12  # patterns average to the shade
    for (a, p), (b, q) in itertools.pairwise(zip(frames, shown, strict=True)):
        same = (a == b).all(2)
        assert (p[same] == q[same]).all()


def test_few_colors_are_exact(tmp_path):
    """No pattern where nothing has to be mixed."""
    frames = []
    for k in range(3):
        frame = np.full((20, 30, 3), 255, np.uint8)
        frame[:, : 10 * k] = (0, 114, 178)
        frame[3] = (34, 34, 34)
        frames.append(frame)
    write_gif(tmp_path / "flat.gif", frames, [0, 1, 2, 1], [0.1] * 4)
    for k, seen in zip([0, 1, 2, 1], played(tmp_path / "flat.gif"), strict=True):
        assert np.abs(seen.astype(int) - frames[k]).max() <= 2


def test_frames_of_nothing_but_paper(tmp_path):
    blank = np.full((8, 8, 3), 255, np.uint8)
    inked = blank.copy()
    inked[2:4] = 0
    write_gif(tmp_path / "blank.gif", [blank, inked], [0, 1], [0.1, 0.1])
    first, second = played(tmp_path / "blank.gif")
    assert (first == 255).all()
    assert np.array_equal(second, inked)
