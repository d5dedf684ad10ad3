"""Intensities: measures of images for which they are known."""

import math

import pytest
import torch

from diffeo.diagnostics import similarity
from diffeo.grid import Grid
from diffeo.shapes import Image
from tests.oracles import cloud

F64 = torch.float64


def image(values, mask=None):
    values = torch.as_tensor(values, dtype=F64)
    return Image(values, Grid(tuple(values.shape[1:]), torch.eye(values.ndim, dtype=F64)), mask)


def noise(seed=0, shape=(1, 40, 50)):
    return cloud(math.prod(shape), 1, seed=seed).reshape(shape)


def test_an_image_and_itself():
    a = image(noise())
    found = similarity(a, a)
    assert (found.mse, found.relative_mse, found.resampled) == (0, 0, False)
    assert found.correlation == pytest.approx(1)
    counts = torch.histc(noise(), 64)
    p = counts[counts > 0] / counts.sum()
    assert found.mutual_information == pytest.approx(float(-(p * p.log()).sum()))  # the entropy


def test_a_linear_change_of_intensities():
    """y = −2x + 3: correlated by −1, as informative as itself; the squared difference is that of 3x − 3."""
    x = noise()
    found, same = similarity(image(x), image(3 - 2 * x)), similarity(image(x), image(x))
    assert found.correlation == pytest.approx(-1)
    assert found.mutual_information == pytest.approx(same.mutual_information, rel=0.01)
    assert found.mse == pytest.approx(float((3 * x - 3).square().mean()))
    assert found.relative_mse == pytest.approx(found.mse / float(x.var(correction=0)))


def test_unrelated_images_and_the_mean():
    x = noise(shape=(1, 300, 300))
    found = similarity(image(x), image(noise(1, shape=(1, 300, 300))))
    assert abs(found.correlation) < 0.02
    assert found.mutual_information < 0.05
    flat = similarity(image(x), image(torch.full_like(x, float(x.mean()))))
    assert flat.relative_mse == pytest.approx(1)
    assert math.isnan(flat.correlation)
    assert flat.mutual_information == pytest.approx(0, abs=1e-12)


def test_two_by_two():
    """Mutual information of a table that is known: half of the points agree by chance."""
    a, b = torch.tensor([[[0.0, 0, 1, 1]]]), torch.tensor([[[0.0, 1, 1, 1]]])
    expected = 0.25 * math.log(0.25 / (0.5 * 0.25)) + 0.25 * math.log(0.25 / (0.5 * 0.75))
    expected += 0.5 * math.log(0.5 / (0.5 * 0.75))
    assert similarity(image(a), image(b)).mutual_information == pytest.approx(expected)


def test_masks_hide_and_channels_are_averaged():
    x, y = noise(), noise(1)
    left = torch.zeros(40, 50, dtype=F64)
    left[:, :20] = 1
    found = similarity(image(x, left), image(y))
    half = similarity(image(x[..., :20]), image(y[..., :20]))
    assert (found.mse, found.correlation) == pytest.approx((half.mse, half.correlation))
    both = similarity(image(torch.cat([x, y])), image(torch.cat([y, y])))
    assert both.mse == pytest.approx(similarity(image(x), image(y)).mse / 2)


def test_another_grid_is_resampled_and_said_so():
    x = torch.sin(torch.arange(40.0, dtype=F64) / 8)[None, :, None] * torch.ones(1, 40, 50, dtype=F64)
    where = Grid((79, 50), torch.diag(torch.tensor([0.5, 1, 1], dtype=F64)))
    fine = torch.sin(torch.arange(79.0, dtype=F64) / 16)[None, :, None] * torch.ones(1, 79, 50, dtype=F64)
    found = similarity(image(x), Image(fine, where))
    assert found.resampled
    assert found.correlation == pytest.approx(1)
    assert similarity(Image(fine[:, ::2], Grid((40, 50), torch.eye(3))), Image(fine, where)).mse < 1e-20


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: (image(x), image(x[..., None])), "2 and one of 3 dimensions"),
        (lambda x: (image(x), image(x.expand(3, -1, -1))), "same channels are expected, and got 1 and 3"),
        (
            lambda x: (
                image(x, (torch.arange(50) < 9).expand(40, 50)),
                image(x, (torch.arange(50) > 9).expand(40, 50)),
            ),
            "no point in common",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        similarity(*make(noise()))
