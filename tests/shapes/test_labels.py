"""Label maps as memberships."""

import dataclasses

import pytest
import torch

from diffeo.grid import Grid
from diffeo.losses import DiceLoss
from diffeo.shapes import Image, Linear, Nearest, labels_of, one_hot
from tests import zoo
from tests.oracles import distance

F64 = torch.float64


def segmentation(values=None, **options):
    """Three labels, of which 2 surrounds the others."""
    if values is None:
        values = torch.full((1, 6, 8), 2.0, dtype=F64)
        values[0, 1:3, 1:5], values[0, 3:5, 2:4] = 7, 0
    return Image(values, Grid(tuple(values.shape[1:]), torch.eye(values.ndim)), interpolation=Nearest(), **options)


def test_every_label_but_the_background_gets_a_channel():
    image = segmentation(attributes={"a": 1})
    assert labels_of(image) == [0, 7]
    found = one_hot(image)
    assert found.values.shape == (2, 6, 8)
    for channel, label in zip(found.values, (0, 7), strict=True):
        assert torch.equal(channel, (image.values[0] == label).to(F64))
    assert not found.background.any()
    assert found.interpolation == Linear()
    assert found.attributes is image.attributes
    assert found.grid is image.grid


def test_labels_are_in_the_order_asked_for():
    image = segmentation()
    found = one_hot(image, [7, 5, 2])
    assert torch.equal(found.values[0], one_hot(image).values[1])
    assert not found.values[1].any()  # nothing of that name
    assert torch.equal(found.background, torch.tensor([0, 0, 1], dtype=F64))
    assert torch.equal(one_hot(image, [0, 2, 7]).values.sum(0), torch.ones(6, 8, dtype=F64))


def test_memberships_that_are_carried_sum_to_one():
    image = dataclasses.replace(zoo.IMAGE(2), mask=None)
    image = dataclasses.replace(image, values=(3 * image.values).round(), background=None)
    labels = [int(k) for k in image.values.unique()]
    moved = zoo.DIFFEOS[0](2) @ one_hot(image, labels)
    assert distance(moved.values.sum(0), torch.ones(image.grid.shape, dtype=F64)) < 1e-13
    assert moved.values.min() >= -1e-15
    fractions = (moved.values > 0.01) & (moved.values < 0.99)
    assert fractions.any()


def test_masks_and_precision_are_kept():
    image = segmentation(mask=torch.rand(6, 8, dtype=F64)).to(torch.float32)
    found = one_hot(image)
    assert {found.values.dtype, found.background.dtype, found.mask.dtype} == {torch.float32}
    assert torch.equal(found.mask, image.mask)


def test_segmentations_with_other_labels_do_not_fit():
    a, b = segmentation(), segmentation(torch.full((1, 6, 8), 2.0, dtype=F64).index_fill_(2, torch.tensor([3]), 7))
    with pytest.raises(ValueError, match="channel by channel, and got 2 and 1 channels"):
        DiceLoss()(one_hot(a), one_hot(b))
    labels = labels_of(a)
    assert 0 < DiceLoss()(one_hot(a, labels), one_hot(b, labels)) < 1


INTENSITIES = torch.rand(1, 40, 40, dtype=F64)
MANY = torch.arange(1600, dtype=F64).reshape(1, 40, 40)


@pytest.mark.parametrize("values", [INTENSITIES, MANY, torch.ones(2, 4, 4)], ids=["fractions", "too many", "channels"])
@pytest.mark.parametrize("read", [labels_of, one_hot, lambda image: one_hot(image, [1])], ids=["of", "all", "one"])
def test_intensities_are_no_labels(values, read):
    with pytest.raises(ValueError, match=r"one channel of whole numbers, at most 1000 different ones, and got \d chan"):
        read(segmentation(values))


def test_nothing_but_background_is_refused():
    with pytest.raises(ValueError, match="at least one label, and the image has nothing but background"):
        one_hot(segmentation(torch.zeros(1, 4, 4)))
    with pytest.raises(ValueError, match="at least one label"):
        one_hot(segmentation(), [])
