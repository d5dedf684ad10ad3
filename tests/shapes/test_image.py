"""Images: what is carried along, coarser copies, precision, and what is refused."""

import dataclasses

import pytest
import torch

from diffeo.core import Diffeo
from diffeo.flows import Affine
from diffeo.grid import Grid
from diffeo.shapes import Cubic, Image, Linear, Nearest
from tests import zoo
from tests.oracles import distance
from tests.shapes.images import box, bump, maps, sampled, still

F64 = torch.float64
images = pytest.mark.parametrize(("entry", "d"), zoo.each(zoo.IMAGES), ids=str)


# ---- what is carried along


@images
def test_everything_else_is_kept(entry, d):
    image = dataclasses.replace(entry(d), attributes={"header": object()})
    for other in (zoo.affine(d, F64, 0) @ image, image.shrunk((2,) * d), image.on(image.grid), image.to(torch.float32)):
        assert type(other) is Image
        assert other.attributes is image.attributes
        assert other.interpolation == image.interpolation
        assert distance(other.background, image.background) < 1e-6
        assert (other.mask is None) == (image.mask is None)


def test_the_mask_moves_with_the_image():
    """As an image of its own would, with nothing around it."""
    image = zoo.MASKED(2)
    phi = zoo.affine(2, F64, 0)
    moved = phi @ image
    alone = Image(image.mask[None], image.grid, background=torch.zeros(1, dtype=F64))
    assert distance(moved.mask, (phi @ alone).values[0]) < 1e-14
    assert (moved.mask - image.mask).abs().max() > 0.1
    assert moved.mask.min() >= 0
    assert moved.mask.max() <= 1
    away = Affine(torch.eye(2, dtype=F64), torch.tensor([0.9, 0.0], dtype=F64)) @ image
    assert not away.mask[~inside(image.grid, away.grid, torch.tensor([0.9, 0.0], dtype=F64))].any()


def inside(grid, canvas, shift):
    """Where the points of the canvas, less a shift, are in the grid."""
    index = grid.to_index(canvas.points(shift) - shift)
    last = torch.tensor(grid.shape, dtype=F64) - 1
    within = ((index > -1) & (index < last + 1)).all(1)
    return within.reshape(canvas.shape)


@pytest.mark.parametrize("background", [None, torch.tensor([7.0, -2.0], dtype=F64)], ids=["median", "given"])
def test_outside_is_background(background):
    image = dataclasses.replace(zoo.COLORS(2), background=background, mask=None)
    faces = [image.values[:, 0], image.values[:, -1], image.values[..., 0], image.values[..., -1]]
    expected = torch.cat(faces, 1).median(1).values if background is None else background
    assert torch.equal(image.background, expected)
    shift = torch.tensor([0.7, 0.4], dtype=F64)
    moved = Affine(torch.eye(2, dtype=F64), shift) @ image
    out = ~inside(image.grid, image.grid, shift)
    assert 20 < out.sum() < out.numel() - 20
    for channel, value in zip(moved.values, expected, strict=True):
        assert (channel[out] - value).abs().max() < 1e-14
        assert (channel[~out] - value).abs().min() > 0
    gone = Affine(torch.eye(2, dtype=F64), 100 * shift) @ image
    assert (gone.values - expected[:, None, None]).abs().max() < 1e-14


def test_images_are_sampled_on_their_canvas():
    image, phi = sampled(box(41)), maps(2)[0]
    canvas = Grid((30, 20), torch.tensor([[0.0, 0.1, -1], [0.11, 0.0, -1.2], [0, 0, 1]]))
    moved = phi @ image.on(canvas)
    assert moved.grid is canvas
    assert moved.canvas is None
    expected = bump(phi.inverse(canvas.points(image.values))).reshape(1, 30, 20)
    assert distance(moved.values, expected) < 0.02
    assert image.on(canvas).values is image.values
    assert image.canvas is None
    assert (maps(2)[1] @ moved).grid is canvas


def test_resampling_is_being_carried_by_nothing():
    image = zoo.MASKED(2)
    canvas = box(20, size=2)
    found, expected = image.resampled(canvas), still(2) @ image.on(canvas)
    assert distance(found.values, expected.values) < 1e-13
    assert distance(found.mask, expected.mask) < 1e-13
    assert image.resampled(image.grid) is image


@pytest.mark.parametrize("interpolation", [Linear(), Cubic(), Nearest()], ids=repr)
def test_images_are_interpolated_as_they_ask_for(interpolation):
    image, phi = sampled(box(33), interpolation=interpolation), maps(2)[0]
    with torch.no_grad():
        moved = phi @ image
        exact = bump(phi.inverse(moved.grid.points(image.values))).reshape(moved.values.shape)
    error = distance(moved.values, exact)
    low, high = {"Linear()": (3e-3, 0.03), "Cubic()": (0, 3e-3), "Nearest()": (0.03, 0.3)}[repr(interpolation)]
    assert low < error < high
    if isinstance(interpolation, Nearest):
        assert torch.isin(moved.values, image.values).all()


# ---- coarser copies


@pytest.mark.parametrize(("n", "factors"), [(64, (2, 2)), (64, (4, 2)), (60, (3, 1)), (61, (2, 4))], ids=str)
def test_coarser_copies_keep_mass_and_place(n, factors):
    image = sampled(box(n))
    mask = (bump(image.grid.points(image.values)).reshape(image.grid.shape)).clamp(0, 1)
    coarse, masked = image.shrunk(factors), dataclasses.replace(image, mask=mask).shrunk(factors)
    assert coarse.grid.shape == tuple(n // k for k in factors)
    assert masked.mask.shape == coarse.grid.shape
    weighted = (image.values[0] * mask, masked.values[0] * masked.mask)
    for f, g in ((image.values[0], coarse.values[0]), (mask, masked.mask), weighted):
        masses = [float(values.sum()) * grid.cell for values, grid in ((f, image.grid), (g, coarse.grid))]
        assert masses[1] == pytest.approx(masses[0], rel=1e-3)
        centers = [
            values.flatten() @ grid.points(values) / values.sum()
            for values, grid in ((f, image.grid), (g, coarse.grid))
        ]
        assert distance(*centers) < 1e-3 * min(image.grid.spacing)
    exact = bump(coarse.grid.points(image.values)).reshape(coarse.values.shape)
    assert distance(coarse.values, exact) < 0.06  # a little smoother


def test_what_a_mask_leaves_out_does_not_leak_into_coarser_copies():
    image = sampled(box(32))
    mask = torch.zeros(image.grid.shape, dtype=image.values.dtype)
    mask[:16] = 1
    spoiled = dataclasses.replace(image, values=torch.where(mask > 0, image.values, 1e6), mask=mask)
    clean = dataclasses.replace(image, mask=mask)
    first, second = (i.shrunk((4, 4)) for i in (spoiled, clean))
    inside = first.mask > 0.9
    assert bool(inside.any())
    assert distance(first.values[:, inside], second.values[:, inside]) < 1e-9


def test_coarser_copies_alias_nothing():
    """The finest checkerboard, which a coarser grid cannot show, is gray there and not a pattern."""
    i = torch.arange(32)
    board = ((i[:, None] + i) % 2).to(F64)
    image = Image(board[None], Grid((32, 32), torch.eye(3)), background=torch.tensor([0.5], dtype=F64))
    for factors in ((2, 2), (4, 4), (3, 2)):
        assert (image.shrunk(factors).values - 0.5).abs().max() < 0.02


def test_coarser_copies_by_nothing_are_copies():
    image = zoo.COLORS(2)
    same = image.shrunk((1, 1))
    assert distance(same.values, image.values) < 1e-14
    assert same.grid.same(image.grid)


def test_axes_shorter_than_a_block_become_one_point():
    image = sampled(Grid((20, 3), torch.eye(3)))
    coarse = image.shrunk((4, 4))
    assert coarse.values.shape == (1, 5, 1)


# ---- precision, gradients, immutability


@images
@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_precision_is_converted_and_the_grid_is_not(entry, d, dtype):
    image = entry(d)
    other = image.to(dtype)
    assert {t.dtype for t in (other.values, other.background)} == {dtype}
    assert other.mask is None or other.mask.dtype == dtype
    assert other.grid.affine.dtype == F64
    assert distance(other.values, image.values) < 1e-6
    moved = zoo.affine(d, dtype, 0) @ other
    assert moved.values.dtype == dtype
    mixed = zoo.affine(d, F64, 0) @ other  # the image decides
    assert mixed.values.dtype == dtype


def test_precision_of_masks_follows_the_image():
    image = zoo.IMAGE(2, torch.float32)
    mask = torch.ones(image.grid.shape, dtype=torch.bool)
    assert dataclasses.replace(image, mask=mask).mask.dtype == torch.float32


@images
def test_images_do_not_change(entry, d):
    image = entry(d)
    kept = image.values.clone(), None if image.mask is None else image.mask.clone(), image.grid.affine.clone()
    with pytest.raises(AttributeError):
        image.values = image.values + 1
    phi = zoo.affine(d, F64, 0)
    _ = phi @ image, image.shrunk((2,) * d), image.to(torch.float32), image.above_background
    _ = image.moved(torch.eye(d, dtype=F64), torch.ones(d, dtype=F64)), image.on(box(5, d)), phi @ (phi @ image)
    assert torch.equal(image.values, kept[0])
    assert image.mask is None or torch.equal(image.mask, kept[1])
    assert torch.equal(image.grid.affine, kept[2])


def test_what_is_carried_is_differentiable_in_the_map_and_in_the_values():
    image = zoo.MASKED(2)
    momenta = zoo.momenta(2, F64, 0).requires_grad_()
    values = image.values.clone().requires_grad_()

    def moments(momenta, values):
        phi = Shift(momenta.mean(0))
        moved = phi @ dataclasses.replace(image, values=values)
        return (moved.values**2).mean(), (moved.mask**2).mean()

    torch.autograd.gradcheck(moments, (momenta, values), fast_mode=True)


class Shift(Diffeo):
    """A translation by a tensor that may need a gradient."""

    def __init__(self, by):
        super().__init__()
        self.by = by
        self.register_buffer("like", torch.zeros((), dtype=F64))

    def inverse(self, y):
        return y - self.by

    forward = with_logdet = with_jacobian = path = energy = arguments = rescaled = None  # type: ignore[assignment]


# ---- what is refused


@images
@pytest.mark.parametrize("by", [torch.inf, torch.nan])
def test_a_map_that_has_diverged_is_not_the_images_fault(entry, d, by):
    class Diverged(Shift):
        def pullback(self, grid):
            u = torch.zeros(grid.dim, *grid.shape, dtype=F64)
            u[0, 0] = by
            return u

    with pytest.raises(ArithmeticError, match="the map sends a part of the image to infinity or NaN"):
        Diverged(None) @ entry(d)


GRID = Grid((3, 4), torch.eye(3))
VALUES = torch.zeros(1, 3, 4)
BAD_VALUES = {
    r"values of shape (channels, 3, 4), and got ndarray": VALUES.numpy(),
    r"values of shape (channels, 3, 4), and got (3, 4)": VALUES[0],
    r"values of shape (channels, 3, 4), and got (1, 4, 3)": VALUES.transpose(1, 2),
    r"values of shape (channels, 3, 4), and got (1, 3, 4, 5)": torch.zeros(1, 3, 4, 5),
    r"values of shape (channels, 3, 4), and got (0, 3, 4)": VALUES[:0],
    r"floating-point values, and got torch.int16: convert them with x.float()": VALUES.short(),
    r"finite values, and 12 of 12 are NaN or infinite": VALUES / 0,
    r"finite values, and 1 of 12 are NaN or infinite": torch.where(
        torch.arange(12).reshape(1, 3, 4) == 5, torch.inf, 0.0
    ),
}


@pytest.mark.parametrize("message", BAD_VALUES)
def test_bad_values_are_refused(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is compared below
        Image(BAD_VALUES[message], GRID)
    assert f"Image expects {message}" in str(error.value)


BAD_MASKS = {
    "a mask of shape (4, 3) does not fit an image of shape (3, 4)": torch.ones(4, 3),
    "a mask of shape (1, 3, 4) does not fit an image of shape (3, 4)": torch.ones(1, 3, 4),
    "weights between 0 and 1, and got values from 0 to 2": torch.arange(12).reshape(3, 4) % 3,
    "weights between 0 and 1, and got values from -1 to": torch.ones(3, 4) * torch.tensor([-1, 1, 1, 1]),
    "weights between 0 and 1, and got values from nan to nan": torch.full((3, 4), torch.nan),
    "the mask is 0 everywhere: nothing is left of the image": torch.zeros(3, 4),
}


@pytest.mark.parametrize("message", BAD_MASKS)
def test_bad_masks_are_refused(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Image(VALUES, GRID, mask=BAD_MASKS[message])
    assert message in str(error.value)
