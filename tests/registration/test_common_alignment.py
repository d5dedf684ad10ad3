"""One motion for all that has images: by the loss where brightness misleads, and by landmarks where images do."""

import math

import pytest
import torch

from diffeo import (
    Compound,
    CompoundLoss,
    FullAffine,
    Grid,
    Image,
    LandmarkLoss,
    LNCCLoss,
    MMDLoss,
    NoAlignment,
    Points,
    Rigid,
    Translation,
)
from diffeo.kernels import GaussianKernel
from diffeo.registration.common_alignment import align_shapes
from diffeo.registration.given_loss import GivenLoss
from diffeo.registration.image_alignment import align_images, finest_pair, still
from diffeo.registration.image_settings import ImageSettings, prepared
from diffeo.registration.poses import Frame
from tests.marks import cases

GRID = Grid((64, 48), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
PERIOD, SHIFT = 12.0, 9.5
MARKS = torch.tensor([[14.0, 12.0], [26.0, 30.0], [14.0, 50.0]], dtype=torch.float64)
LOSS = CompoundLoss([LNCCLoss(), LandmarkLoss()], [1, 0.01])


def seen(function) -> Image:
    """A function of positions, x and y each of shape (64, 48), as a picture."""
    x, y = GRID.points(torch.zeros((), dtype=torch.float64)).T.reshape(2, *GRID.shape)
    return Image(function(x, y)[None], GRID)


def stripes(shift: float) -> Image:
    """Upright stripes, narrower than the gaps between them, of slowly changing brightness, shifted to the left."""
    return seen(lambda x, y: (1 + 0.2 * (y / 9).sin()) * (2 * (2 * math.pi * (x + shift) / PERIOD).cos()).exp())


def pair(source, target, loss=LOSS):
    """Two shapes as a registration takes them."""
    return prepared(source, target, ImageSettings(loss=loss, dtype=torch.float64))


def with_marks(image: Image, marks: torch.Tensor) -> Compound:
    """A picture with its landmarks."""
    return Compound([image, Points(marks)])


@pytest.mark.parametrize("group", cases([Translation(), Rigid(), FullAffine()], slow=[FullAffine()], name=repr))
@pytest.mark.slow
def test_landmarks_say_which_period_is_meant(group):
    left = MARKS - torch.tensor([SHIFT, 0.0])
    alone = align_shapes(*pair(stripes(SHIFT), stripes(0), LNCCLoss()), group, LNCCLoss())
    both = align_shapes(*pair(with_marks(stripes(SHIFT), left), with_marks(stripes(0), MARKS)), group, LOSS)
    assert alone is not None
    assert both is not None
    astray, right = (float((pose(left) - MARKS).norm(dim=1).max()) for pose in (alone, both))
    assert astray == pytest.approx(PERIOD, abs=1.0)  # the nearest stripe is the wrong one
    assert right < 0.1


def test_points_without_pairs_lead_too():
    loss = CompoundLoss([LNCCLoss(), MMDLoss(GaussianKernel(6.0))], [1, 10])
    left = MARKS.flip(0) - torch.tensor([SHIFT, 0.0])
    pose = align_shapes(
        *pair(with_marks(stripes(SHIFT), left), with_marks(stripes(0), MARKS), loss), Translation(), loss
    )
    assert pose is not None
    assert float((pose(left.flip(0)) - MARKS).norm(dim=1).max()) < 0.5


def test_every_part_has_a_say():
    """Two channels in two images: upright stripes know x, level ones know y."""
    level = [seen(lambda x, y, s=s: (2 * (2 * math.pi * (y + s) / PERIOD).cos()).exp()) for s in (1.5, 0.0)]
    loss = CompoundLoss([LNCCLoss(), LNCCLoss()])
    shapes = pair(Compound([stripes(2.0), level[0]]), Compound([stripes(0.0), level[1]]), loss)
    pose = align_shapes(*shapes, Translation(), loss)
    assert pose is not None
    assert torch.allclose(pose.translation, torch.tensor([2.0, 1.5]).double(), atol=0.1)


def test_what_fits_already_stays_where_it_is():
    shape = with_marks(stripes(0), MARKS)
    assert align_shapes(*pair(shape, shape), FullAffine(), LOSS) is None
    moved = with_marks(stripes(SHIFT), MARKS)
    assert align_shapes(*pair(moved, shape), NoAlignment(), LOSS) is None


def head(inner: tuple[float, float], shift: float) -> Image:
    """A bright ring around a disk with two unequal blobs, of given brightness."""

    def values(x, y):
        u, v = (x + shift - 24) / 16, (y - 32) / 24
        r = (u**2 + v**2).sqrt()
        blobs = torch.exp(-((u - 0.3) ** 2 + (v - 0.35) ** 2) / 0.05) + torch.exp(
            -((u + 0.2) ** 2 + (v + 0.4) ** 2) / 0.1
        )
        inside = inner[0] + (inner[1] - inner[0]) * blobs.clamp(max=1)
        return (
            torch.sigmoid((0.85 - r) / 0.02) * inside + torch.sigmoid((1 - r) / 0.02) - torch.sigmoid((0.85 - r) / 0.02)
        )

    return seen(values)


def test_between_contrasts_the_loss_chooses():
    a, b = pair(head((0.2, 0.9), 1.0), head((0.9, 0.1), 0.0), LNCCLoss())
    criterion = GivenLoss(*finest_pair(a, b), Frame(torch.tensor([24.0, 32.0]).double(), 20.0), LNCCLoss())
    rest, misled = criterion.value(still(2)), align_images(a, b, FullAffine())
    assert misled is not None
    assert criterion.value(misled) > rest  # brightness alone turns the head
    pose = align_shapes(a, b, FullAffine(), LNCCLoss())
    assert pose is not None
    assert criterion.value(pose) < 0.9 * rest
    assert float((pose(MARKS) - MARKS - torch.tensor([1.0, 0.0])).norm(dim=1).max()) < 0.5


def test_within_a_contrast_brightness_decides():
    a, b = pair(head((0.2, 0.9), 1.0), head((0.2, 0.9), 0.0), LNCCLoss())
    found = align_shapes(a, b, FullAffine(), LNCCLoss()), align_images(a, b, FullAffine())
    assert found[0] is not None
    assert found[1] is not None
    assert torch.equal(found[0].matrix, found[1].matrix)
    assert torch.equal(found[0].translation, found[1].translation)
