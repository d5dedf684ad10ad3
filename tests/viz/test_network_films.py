"""Films of networks: rows flow to where the map takes them, and what is read out there appears at the end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from diffeo.viz.films.learning import LearningFilm
from tests.viz.networks import NETWORKS, trained
from tests.viz.texts import clipped, crossing, written

QUICK = ("spirals",)


def film(name, moments=4):
    net = trained(name)
    return LearningFilm(net.estimator._shown("animate", None, None, net.names), moments)


def frames(path):
    with Image.open(path) as file:
        found = []
        for k in range(file.n_frames):
            file.seek(k)
            found.append(np.asarray(file.convert("RGB")).astype(int))
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NETWORKS])
def test_a_film_of_each_kind(name, tmp_path):
    net, told = trained(name), []
    path = net.estimator.animate(
        tmp_path / "way.gif", names=net.names, moments=4, dpi=50, progress=lambda *done: told.append(done)
    )
    shown = frames(path)
    assert len(shown) == 6  # there and back
    assert told == [(k, 4) for k in range(1, 5)]
    changed = [np.abs(b - a).max(-1) > 40 for a, b in pairwise(shown)]
    assert all(change.mean() > 5e-4 for change in changed)
    np.testing.assert_array_equal(shown[1], shown[5])
    dark = [(frame.sum(-1) < 600).mean() for frame in shown]
    assert min(dark) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spirals", "digits", "thirty", "curve", "several"])
def test_nothing_is_clipped_or_written_over(name, monkeypatch):
    found = film(name)
    found.draw(3)
    texts = written(found.figure, monkeypatch)
    assert len(texts) > 10
    assert not clipped(found.figure, texts)
    assert not crossing(texts)


def test_rows_go_where_the_map_takes_them():
    net, found = trained("spirals"), film("spirals")
    ends = {0: net.estimator.encode(net.X).numpy(), 3: net.estimator.transform(net.X)}
    for k in (3, 1, 0, 3):  # in any order
        found.draw(k)
        places = sorted(np.concatenate([dots.artist.get_offsets() for dots in found._dots]).tolist())
        if k in ends:
            np.testing.assert_allclose(places, sorted(ends[k].tolist()), atol=1e-9)
    assert found.ax.images  # what is read out at the end
    found.draw(0)
    assert not found.ax.images


def test_axes_stay_where_they_are():
    found = film("wine")
    limits = set()
    for k in range(4):
        found.draw(k)
        limits.add((found.ax.get_xlim(), found.ax.get_ylim()))
    assert len(limits) == 1
    outside = (found.course.rows < np.stack(found.extent, 1)[0]) | (found.course.rows > np.stack(found.extent, 1)[1])
    assert outside.any(-1).mean() < 0.03


def test_films_that_cannot_be_written_are_refused_at_once(tmp_path):
    net = trained("spirals").estimator
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4"):
        net.animate(tmp_path / "way.avi")
    with pytest.raises(ValueError, match="2 moments or more, and got 1"):
        net.animate(tmp_path / "way.gif", moments=1)
