"""Films of densities, and the way that they show: rows go to the base, draws come back, over the moment's density."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from diffeo.laws import Gaussian
from diffeo.viz import plot
from diffeo.viz.film import write_film
from diffeo.viz.films.density import DensityFilm
from diffeo.viz.style import ORANGE
from tests.viz.densities import KINDS, fitted
from tests.viz.texts import clipped, crossing, written

QUICK = ("two columns",)
EACH = [pytest.param(kind, marks=[] if kind in QUICK else [pytest.mark.slow]) for kind in KINDS]
LONG = "a name that is too long for an axis [mm]"


def way(kind, moments=3):
    return fitted(kind)._way("animate", None, None, moments, ())


def oranges(image):
    """How many pixels have about the color of rows."""
    color = [int(ORANGE[k : k + 2], 16) for k in (1, 3, 5)]
    return int((np.abs(np.asarray(image.convert("RGB")).astype(int) - color).sum(2) < 60).sum())


def frames_of(path):
    """Every frame, and how many milliseconds it is shown."""
    with Image.open(path) as film:
        return [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(film)]


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.slow
def test_rows_go_there_and_draws_come_back(kind, tmp_path):
    path = fitted(kind).animate(tmp_path / "film.gif", moments=3, seconds=0.5, dpi=50)
    frames = [frame for frame, _ in frames_of(path)]
    assert len(frames) == 6
    arrays = [np.asarray(frame) for frame in frames]
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(arrays))
    assert min(map(oranges, frames[:3])) > 3 * max(map(oranges, frames[3:])) + 20


@pytest.mark.parametrize("kind", EACH)
def test_a_film_says_what_it_shows(kind, monkeypatch):
    film = DensityFilm(way(kind), "A title")
    for moment, said in ((0, "rows → base"), (5, "base → draws")):
        film.draw(moment)
        texts = written(film.figure, monkeypatch)
        assert not clipped(film.figure, texts)
        assert not crossing(texts)
        words = " ".join(text for text, _ in texts)
        for word in ("A title", said, "standardized", "rows", "draws", "base"):
            assert word in words
        assert ("φ is affine" in words) == (kind == "at rest")
        assert ("unrolled" in words and "opened up" in words) == (kind == "a circle and a bound")
        assert ("given the context" in words) == kind.endswith("given another")


@pytest.mark.slow
def test_rests_are_at_the_rows_the_base_and_the_draws(tmp_path):
    film = DensityFilm(way("two columns"))
    path = write_film(film, tmp_path / "film.gif", seconds=1.0, back=False, dpi=30)
    lasts = [duration for _, duration in frames_of(path)]
    assert lasts == [800, 200, 800, 800, 200, 800]


def test_shades_are_the_density_of_the_moment():
    followed = way("two columns")
    film, mass = DensityFilm(followed), []
    area = np.prod(followed.high - followed.low)
    for k in range(3):
        film.draw(k)
        mass.append(film.panels.ax.images[-1].get_array().mean() * area)
    assert np.allclose(mass, 1, atol=0.03)
    assert film.panels.ax.images[-1].norm.vmax == film.panels.limit
    x = torch.from_numpy(film.panels.low.numpy() + [0.5, 0.5] * ((film.panels.high - film.panels.low).numpy() / 120))
    assert film.panels.p[2][0, 0] == pytest.approx(float(followed.law(x[None]).exp()))


def test_a_way_leads_from_the_rows_to_the_base():
    flow = fitted("two columns")
    followed, rows = way("two columns"), torch.tensor(flow.rows_[0])
    assert np.allclose(followed.rows[-1], flow.phi_(rows).detach())
    z = flow.phi_.diffeos[0](rows)
    assert np.allclose(followed.rows[0], z)
    assert np.allclose(
        followed.density(0, followed.rows[0]) / flow.frame_["spread"].prod(), np.exp(flow.log_prob(rows))
    )
    drawn = flow.law_.base.sample(2000, torch.Generator().manual_seed(0))
    assert np.allclose(followed.drawn[-1], drawn)


@pytest.mark.slow
def test_a_context_stays_where_it_is():
    followed = way("two given another")
    assert followed.given == 1
    for points in (followed.rows, followed.drawn):
        assert np.allclose(points[:, :, 2], points[0, :, 2])
    assert not np.allclose(followed.rows[0], followed.rows[-1])


@pytest.mark.slow
def test_a_strip_shows_as_many_moments_as_are_asked_for(monkeypatch):
    for kind in ("two columns", "at rest"):
        figure = plot.density_strip(way(kind, 9), 3)
        panels = [ax for ax in figure.axes if ax.images or ax.patches]
        assert [ax.get_title(loc="left") for ax in panels] == ["rows", "50% of the way", "base"]
        assert len({(*ax.get_xlim(), *ax.get_ylim(), ax.images[0].norm.vmax) for ax in panels}) == 1
        texts = written(figure, monkeypatch)
        assert not clipped(figure, texts)
        assert not crossing(texts)
    with pytest.raises(ValueError, match="2 pictures or more"):
        plot.density_strip(way("two columns"), 1)


@pytest.mark.slow
def test_a_strip_of_one_column_and_of_one_given_another(monkeypatch):
    for kind in ("one column", "given another"):
        figure = plot.density_strip(way(kind, 5))
        texts = written(figure, monkeypatch)
        assert len([text for text, _ in texts if text.endswith("of the way")]) == 3
        assert not clipped(figure, texts)
        assert not crossing(texts)
    with pytest.raises(ValueError, match="use marginals"):
        plot.density_strip(way("five columns"))


def test_what_is_no_film_is_refused(tmp_path):
    flow = fitted("two columns")
    with pytest.raises(ValueError, match=r"a \.gif or an \.mp4"):
        flow.animate(tmp_path / "film.png")
    with pytest.raises(ValueError, match="2 moments or more"):
        flow.animate(tmp_path / "film.gif", moments=1)
    with pytest.raises(ValueError, match="transported by a map"):
        plot.density_way(Gaussian.standard(2), torch.zeros(3, 2))
    assert not list(tmp_path.iterdir())


def test_long_names_are_cut_and_units_are_gone():
    followed = fitted("two columns")._way("animate", None, None, 2, [LONG, "t [s]"])
    assert followed.names == ["a name that is too…  (standardized)", "t  (standardized)"]
