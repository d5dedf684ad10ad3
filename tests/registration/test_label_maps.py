"""Label maps that are to overlap: compared by regions and not by numbers; what is moved has labels, and no others."""

import dataclasses

import pytest
import torch

import diffeo
from diffeo import Compound, CompoundLoss, DiceLoss, Image, LandmarkLoss, NoAlignment, Points, SSDLoss
from diffeo.diagnostics import overlap
from diffeo.shapes import Nearest, one_hot
from tests.oracles import distance
from tests.registration.scenes import bend, grid, picture, square
from tests.results.test_open_result import check

NAMES = torch.tensor([0.0, 30.0, 2.0, 7.0])  # of the background, and of regions from the outermost inward
OTHER = grid((36, 42), (1.2, 1.0))
QUICK = {"max_iterations": 5, "align": NoAlignment()}


def regions(where=None, before=None, names=NAMES) -> Image:
    """Nested regions of the scene, whose names say nothing about which is within which."""
    image = picture(where or square(), before)
    return Image(names[(image.values * 3).round().long().clamp(max=3)], image.grid)


@pytest.fixture(scope="module")
def result():
    return diffeo.register(regions(before=bend), regions(OTHER), loss=DiceLoss)


def test_the_figures_are_the_overlap_of_the_labels(result):
    report = result.report
    before, after = overlap(result.target, result.source), overlap(result.target, result.moved)
    assert report["labels"] == [2, 7, 30]
    assert report["data_before"] == pytest.approx(1 - before.mean_dice, abs=1e-6)
    assert report["data_after"] == pytest.approx(1 - after.mean_dice, abs=1e-6)
    assert report["data_after"] < report["data_before"] / 3
    assert report["folds"] == 0


def test_nothing_lies_between_labels(result):
    assert set(result.moved.values.unique().tolist()) == set(NAMES.tolist())
    by_hand = result.phi @ dataclasses.replace(result.source, interpolation=Nearest(), canvas=OTHER)
    assert torch.equal(result.moved.values, by_hand.values)


def test_other_names_of_the_same_regions_give_the_same_map(result):
    names = torch.tensor([0.0, 1.0, 2.0, 3.0])
    again = diffeo.register(regions(before=bend, names=names), regions(OTHER, names=names), loss=DiceLoss())
    x = OTHER.points(torch.zeros(()))
    assert distance(again.phi(x), result.phi(x)) < 1e-3  # channels come in another order


def test_it_comes_back(result, tmp_path):
    again = check(result, result.save(tmp_path / "out"))
    assert again.moved.interpolation == Nearest()
    assert again.source.interpolation == result.source.interpolation


def test_pictures_show_labels(result):
    captions = [text.get_text() for ax in result.plot().axes for text in (ax.xaxis.label, *ax.texts)]
    assert any("where labels differ" in text for text in captions)


def test_films_show_labels(result, tmp_path, monkeypatch):
    """By their colors, and what differs as 1, in the film that `animate` would write."""
    films = []
    monkeypatch.setattr("diffeo.viz.film.write_film", lambda make, path, **_: films.append(make()))
    result.animate(tmp_path / "film.gif", moments=2)
    assert films[0].pictures.meaning == "1 where labels differ"
    assert films[0].pictures.fixed[0].shape[-1] == 3


def test_what_lies_outside_of_the_source_is_no_region():
    """A source of which every border is within a region."""
    cut = regions(grid((20, 20), (0.5, 0.5), middle=(-12, -3)))
    result = diffeo.register(cut, regions(), loss=DiceLoss, **QUICK)
    assert result.moved.values[0, -8:, -8:].max() == 0


def test_memberships_stay_what_they_are():
    source, target = (one_hot(regions(before=change), [2, 7, 30]) for change in (bend, None))
    result = diffeo.register(source, target, loss=DiceLoss, **QUICK)
    assert result.report["labels"] is None
    fractions = (result.moved.values > 0.01) & (result.moved.values < 0.99)
    assert fractions.any()
    soft = [dataclasses.replace(image, values=0.9 * image.values[:1], background=None) for image in (source, target)]
    assert diffeo.register(*soft, loss=DiceLoss, **QUICK).report["labels"] is None


def test_other_losses_compare_numbers():
    result = diffeo.register(regions(before=bend), regions(), loss=SSDLoss, **QUICK)
    assert result.report["labels"] is None
    assert len(result.moved.values.unique()) > 4


def test_a_sum_of_losses_compares_memberships():
    result = diffeo.register(regions(before=bend), regions(), loss=DiceLoss() + 0.1 * SSDLoss(), **QUICK)
    assert result.report["labels"] == [2, 7, 30]
    assert len(result.moved.values.unique()) == 4


@pytest.mark.slow
def test_each_part_of_a_compound_as_its_own_loss_says(tmp_path):
    marks = Points(torch.tensor([[-12.0, -3], [6, 11], [9, -10]]))
    source = Compound([picture(square(), bend), regions(before=bend), marks])
    target = Compound([picture(square()), regions(), Points(bend(marks.x))])
    loss = CompoundLoss([SSDLoss(), DiceLoss(), LandmarkLoss()], [1, 1, 0.01])
    result = diffeo.register(source, target, loss=loss, **QUICK)
    assert result.report["labels"] == [None, [2, 7, 30], None]
    assert [len(part.values.unique()) > 4 for part in result.moved.parts[:2]] == [True, False]
    check(result, result.save(tmp_path / "out"))


INTENSITIES = Image((200 * picture(square()).values).round(), square())
BAD = {
    "labels and intensities": (
        lambda: (regions(), INTENSITIES),
        r"two label maps, or two images of memberships .* the source has 4 whole numbers, equal at \d+% of neighboring "
        r"points and the target has \d+ whole numbers, equal at \d+% .* take another loss",
    ),
    "intensities": (lambda: (INTENSITIES, INTENSITIES), "make memberships of both with `one_hot"),
    "colors": (lambda: (Image(INTENSITIES.values.expand(3, -1, -1), square()),) * 2, "the source has 3 channels"),
    "a label map and memberships": (lambda: (one_hot(regions()), regions()), "the source has 3 channels"),
    "no label in common": (
        lambda: (regions(names=torch.tensor([0.0, 4, 5, 6])), regions()),
        "label maps without a label in common",
    ),
    "one label everywhere": (
        lambda: (regions(), regions(names=torch.full((4,), 5.0))),
        "the target has the same value everywhere, 5",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_overlap_is_refused(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        diffeo.register(*make(), loss=DiceLoss, **QUICK)
