"""Losses on images and compounds, each by its definition; masks, constants, and what is refused."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given

from diffeo.flows import Warp
from diffeo.grid import Grid
from diffeo.losses import DiceLoss, LNCCLoss, MILoss, SSDLoss
from diffeo.losses.information import information, positions
from diffeo.sampling import gaussian_smooth
from diffeo.shapes import Image
from tests import zoo
from tests.oracles import cloud, relative, seeds, slope

F64 = torch.float64
LOSSES = [SSDLoss(), LNCCLoss(1), MILoss(8), DiceLoss()]
each = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def picture(values, mask=None):
    """An image of one channel on a grid of unit steps."""
    grid = Grid(tuple(values.shape), torch.eye(values.ndim + 1, dtype=F64))
    return Image(values[None], grid, mask=mask)


def noise(*shape, seed=0, smooth=0.0, dtype=F64):
    """A random texture."""
    values = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return gaussian_smooth(values, [smooth] * len(shape))[0].to(dtype)


def gradient(loss, moved, target):
    """The value, and its gradient in the values of the moved image."""
    x = moved.values.clone().requires_grad_()
    value = loss(dataclasses.replace(moved, values=x), target)
    return value.detach(), torch.autograd.grad(value, x)[0]


# ---- each by its definition


def test_squared_differences_are_relative_to_the_target():
    a, b = noise(7, 9, seed=1), 3 + noise(7, 9, seed=2)
    expected = (a - b).square().mean() / b.var(correction=0)
    assert float(SSDLoss()(picture(a), picture(b))) == pytest.approx(float(expected), rel=1e-12)
    guess = torch.full_like(b, float(b.mean()))
    assert float(SSDLoss()(picture(guess), picture(b))) == pytest.approx(1, rel=1e-12)
    darker = [picture(100 * f - 7) for f in (a, b)]
    assert float(SSDLoss()(*darker)) == pytest.approx(float(expected), rel=1e-12)


def local_correlations(a, b, radius):
    """r², window by window."""
    found = torch.zeros_like(a)
    for at in itertools.product(*map(range, a.shape)):
        window = tuple(slice(max(0, k - radius), k + radius + 1) for k in at)
        x, y = a[window] - a[window].mean(), b[window] - b[window].mean()
        found[at] = (x * y).sum() ** 2 / ((x * x).sum() * (y * y).sum())
    return found


@pytest.mark.parametrize("shape", [(30,), (9, 8), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_local_correlation_by_brute_force(shape, masked):
    a, b = noise(*shape, seed=1), noise(*shape, seed=2)
    mask = noise(*shape, seed=3).abs().clamp(max=1) if masked else None
    squares = local_correlations(a, b, 2)
    mean = squares.mean() if mask is None else (mask * squares).sum() / mask.sum()
    # no window is nearly flat, so that b explains b everywhere; the floor of the variance is what is left
    assert float(LNCCLoss(2)(picture(a), picture(b, mask))) == pytest.approx(1 - float(mean), abs=1e-3)


def test_local_correlation_does_not_see_brightness_and_contrast():
    a, b = noise(20, 20, seed=1, smooth=1), noise(20, 20, seed=1, smooth=1.5)
    expected = float(LNCCLoss()(picture(a), picture(b)))
    for factor, shift in ((5.0, 3.0), (-2.0, 0.0), (1e-3, 1e-3)):
        assert float(LNCCLoss()(picture(factor * a + shift), picture(b))) == pytest.approx(expected, rel=1e-9)
        assert float(LNCCLoss()(picture(a), picture(factor * b + shift))) == pytest.approx(expected, rel=1e-9)
    x, texture = torch.linspace(0, 3, 20, dtype=F64), noise(20, 20, seed=3)
    shaded = (2 + x[:, None].sin()) * texture + 5 * x  # slow, compared with a window
    assert float(LNCCLoss()(picture(shaded), picture(texture))) < 0.3
    assert float(SSDLoss()(picture(shaded), picture(texture))) > 10


def test_a_wide_background_changes_nothing():
    """What is flat in the target has nothing to be explained."""
    a, b = noise(30, 30, seed=1, smooth=1.5), noise(30, 30, seed=2, smooth=1.5)
    window = torch.zeros(30, 30, dtype=F64)
    window[8:22, 8:22] = 1
    narrow = [picture((window * f)[5:25, 5:25]) for f in (a, b)]
    wide = [picture(torch.nn.functional.pad(window * f, (20, 20, 30, 10))) for f in (a, b)]
    for loss in (LNCCLoss(), DiceLoss()):
        assert float(loss(*wide)) == pytest.approx(float(loss(*narrow)), rel=1e-2)
    for image in (narrow[1], wide[1]):
        assert abs(float(LNCCLoss()(image, image))) < 1e-12


def test_where_no_window_is_flat_equal_images_are_at_rest():
    a, b = picture(noise(16, 16, seed=1)), picture(noise(16, 16, seed=2))
    near, far = gradient(LNCCLoss(), b, b)[1], gradient(LNCCLoss(), a, b)[1]
    assert near.abs().max() < 1e-4 * far.abs().max()


def test_information_of_known_tables():
    p, q = torch.rand(5, dtype=F64), torch.rand(7, dtype=F64)
    assert abs(float(information(torch.outer(p, q)))) < 1e-14  # independent
    assert float(information(torch.diag(torch.ones(6, dtype=F64)))) == pytest.approx(math.log(6), rel=1e-14)
    block = torch.tensor([[0.25, 0.25, 0], [0, 0, 0.5]], dtype=F64)
    assert float(information(10 * block)) == pytest.approx(math.log(2), rel=1e-14)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_information_of_correlated_normal_values(rho):
    """−½ log(1 − ρ²), less what is blurred by the windows."""
    a, b = noise(400_000, seed=1), noise(400_000, seed=2)
    c = rho * a + math.sqrt(1 - rho**2) * b
    loss = MILoss(64)
    p, q = (positions(f[None], None, 64) for f in (a, c))
    expected = -0.5 * math.log(1 - rho**2)
    assert float(loss._information(p, q, None)) == pytest.approx(expected, rel=0.08, abs=0.01)


def test_mutual_information_does_not_see_brightness_contrast_and_inversion():
    a, b = noise(20, 20, seed=1, smooth=1), noise(20, 20, seed=2, smooth=1)
    expected = float(MILoss(8)(picture(a), picture(b)))
    for factor, shift in ((5.0, 3.0), (-2.0, 10.0), (1e-3, 1e-3)):
        assert float(MILoss(8)(picture(factor * a + shift), picture(b))) == pytest.approx(expected, rel=1e-9)


def test_mutual_information_sees_any_relation():
    """A contrast that is not monotone: hardly correlated, but a function of the other image."""
    b = noise(60, 60, seed=1, smooth=2)
    b = b / b.std()
    other = b.square() + 0.05 * noise(60, 60, seed=2)
    unrelated = noise(60, 60, seed=3, smooth=2)
    loss = MILoss(16)
    assert float(loss(picture(other), picture(b))) < 0.6 * float(loss(picture(unrelated), picture(b)))
    assert float(loss(picture(unrelated), picture(b))) > 0.8


def test_mutual_information_of_equal_images_is_not_exceeded():
    """Not a theorem of information, but what keeps the loss above 0 in practice."""
    b = noise(40, 40, seed=1, smooth=1)
    for k in range(5):
        a = b + 10.0 ** (-k) * noise(40, 40, seed=2 + k, smooth=1) * cloud(1, 1, seed=k)[0]
        assert float(MILoss(16)(picture(a), picture(b))) > 0


@pytest.mark.parametrize(("loss", "reach"), [(LNCCLoss(), 3), (MILoss(), 6)], ids=repr)
def test_images_of_other_contrast_are_in_place_where_they_are_in_place(loss, reach):
    """The loss grows with a shift, from 0 on, in both directions: as far as texture reaches, or farther."""
    full = noise(90, 70, seed=1, smooth=2)
    full = full / full.std()
    target = picture((1.5 - full.tanh())[10:80, 10:60])
    shifted = [full[10 + k : 80 + k, 10:60] for k in range(-reach, reach + 1)]
    found = [float(loss(picture(f), target)) for f in shifted]
    assert found[reach:] == sorted(found[reach:])
    assert found[: reach + 1] == sorted(found[: reach + 1], reverse=True)


def test_dice_by_hand():
    a, b = torch.zeros(2, 4, 5, dtype=F64), torch.zeros(2, 4, 5, dtype=F64)
    a[0, :2], b[0, 1:3] = 1, 1  # half of it overlaps
    a[1, 0, :3], b[1, 0, :1] = 1, 1  # one of three
    grid = Grid((4, 5), torch.eye(3))
    found = DiceLoss()(Image(a, grid), Image(b, grid))
    assert float(found) == pytest.approx(1 - (0.5 + 2 * 1 / 4) / 2)
    nothing = torch.zeros_like(a)
    nothing[0] = a[0]
    half = DiceLoss()(Image(nothing, grid), Image(nothing, grid))
    assert float(half) == 0  # a label that neither has
    assert float(DiceLoss()(Image(nothing, grid), Image(a, grid))) == pytest.approx(0.5)


# ---- derivatives


@each
@pytest.mark.parametrize(("kind", "d"), [(zoo.IMAGE, 1), (zoo.COLORS, 2)], ids=str)
def test_second_derivatives(loss, kind, d):
    source, target = kind(d, seed=1), kind(d, seed=2)
    x = zoo.numbers(source).clone().requires_grad_()
    torch.autograd.gradgradcheck(lambda x: loss(zoo.with_numbers(source, x), target), (x,), fast_mode=True)


@each
@given(seed=seeds)
def test_the_mask_of_the_moved_image_is_differentiated_too(loss, seed):
    """It moves with the map: a line search would notice what is left out."""
    source, target = zoo.MASKED(2, seed=seed % 100), zoo.MASKED(2, seed=seed % 100 + 1)
    step = torch.where(source.mask > 0.1, 0.1, 0.0) * noise(*source.grid.shape, seed=seed).clamp(-1, 1)
    mask = (0.9 * source.mask).clone().requires_grad_()
    x = source.values.clone().requires_grad_()
    value = loss(dataclasses.replace(source, values=x, mask=mask), target)
    found = torch.autograd.grad(value, (mask, x))

    def along(s):
        return float(loss(dataclasses.replace(source, mask=mask.detach() + s * step), target))

    assert float((found[0] * step).sum()) == pytest.approx(slope(along, 1e-3), rel=1e-6, abs=1e-9)
    _, expected = gradient(loss, dataclasses.replace(source, mask=mask.detach()), target)
    assert relative(found[1], expected) < 1e-9


# ---- masks


@each
def test_what_the_mask_excludes_does_not_matter(loss):
    a, b = (noise(16, 16, seed=k, smooth=1) for k in (1, 2))
    mask = torch.zeros(16, 16, dtype=F64)
    mask[4:12, 4:12] = 1
    outside = torch.ones(16, 16, dtype=F64)
    outside[3:13, 3:13] = 0  # farther from the mask than the radius of a window
    first = float(loss(picture(a), picture(b, mask)))
    for f, g in ((a + 0.1 * outside, b), (a, b - 0.1 * outside)):
        # brightness far away changes only what "flat" means to local correlation
        assert float(loss(picture(f), picture(g, mask))) == pytest.approx(first, rel=1e-4)
    assert float(loss(picture(a), picture(b))) != pytest.approx(first, rel=1e-2)


@each
def test_two_masks_count_where_both_do(loss):
    a, b = (noise(12, 12, seed=k, smooth=1) for k in (1, 2))
    first, second = (noise(12, 12, seed=k).abs().clamp(max=1) for k in (3, 4))
    expected = float(loss(picture(a), picture(b, first * second)))
    assert float(loss(picture(a, first), picture(b, second))) == pytest.approx(expected, rel=1e-12)
    assert float(loss(picture(a, first * second), picture(b))) == pytest.approx(expected, rel=1e-12)
    assert float(loss(picture(a, second), picture(b, first))) == pytest.approx(expected, rel=1e-12)


@each
def test_a_mask_of_ones_is_none(loss):
    a, b = (noise(12, 12, seed=k, smooth=1) for k in (1, 2))
    ones = torch.ones(12, 12, dtype=F64)
    assert float(loss(picture(a), picture(b, ones))) == pytest.approx(float(loss(picture(a), picture(b))), rel=1e-12)


@each
def test_masks_without_a_common_point_are_refused(loss):
    a, b = (noise(12, 12, seed=k) for k in (1, 2))
    left = torch.zeros(12, 12, dtype=F64)
    left[:5] = 1
    with pytest.raises(ValueError, match="masks of the moved image and of the target do not overlap"):
        loss(picture(a, left), picture(b, 1 - left))


# ---- constants


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("masked", [False, True])
@each
def test_constant_images(loss, value, masked, dtype):
    """A constant target cannot be compared with; a constant image explains nothing of it, and is at rest."""
    b = noise(9, 9, seed=1, dtype=dtype)
    mask = torch.zeros(9, 9, dtype=dtype)
    mask[2:7, 2:7] = 0.7
    constant, target = picture(torch.full_like(b, value)), picture(b, mask if masked else None)
    rounded = picture(value * (1 + torch.finfo(dtype).eps * noise(9, 9, seed=2, dtype=dtype).round()))
    found, slopes = gradient(loss, constant, target)
    assert bool(torch.isfinite(found))
    assert bool(torch.isfinite(slopes).all())
    if isinstance(loss, LNCCLoss | MILoss):
        for image in (constant, rounded):
            found, slopes = gradient(loss, image, target)
            assert found == 1
            assert not slopes.any()
    if not isinstance(loss, DiceLoss):
        for image in (constant, rounded):
            with pytest.raises(ValueError, match=f"{type(loss).__name__} finds nothing in the target to compare with"):
                loss(target, dataclasses.replace(image, mask=target.mask))


@pytest.mark.parametrize("loss", LOSSES[:3], ids=repr)
def test_a_channel_that_is_constant_changes_nothing(loss):
    a, b = zoo.IMAGE(2, seed=1), zoo.IMAGE(2, seed=2)
    expected, slopes = gradient(loss, a, b)
    a, b = (dataclasses.replace(f, values=torch.cat([torch.ones_like(f.values), f.values])) for f in (a, b))
    more = [dataclasses.replace(f, background=None) for f in (a, b)]
    found, others = gradient(loss, *more)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    assert relative(others[1:], slopes) < 1e-9
    assert not others[0].any()


def test_nan_does_not_get_as_far_as_a_loss():
    values = noise(5, 5)
    values[2, 2] = torch.nan
    with pytest.raises(ValueError, match="Image expects finite values, and 1 of 25 are NaN or infinite"):
        picture(values)
    with pytest.raises(ValueError, match="the mask is 0 everywhere"):
        picture(noise(5, 5), torch.zeros(5, 5, dtype=F64))


# ---- what is refused, in one sentence


@each
def test_what_cannot_be_compared_is_refused(loss):
    name, image = type(loss).__name__, zoo.IMAGE(2)
    with pytest.raises(ValueError, match=f"{name} compares images, and got Points"):
        loss(image, zoo.POINTS(2))
    with pytest.raises(ValueError, match=f"{name} compares images, and got Compound"):
        loss(zoo.COMPOUND(2), image)
    finer = Grid((26, 30), image.grid.affine @ torch.diag(torch.tensor([0.5, 0.5, 1], dtype=F64)))
    other = dataclasses.replace(image, values=noise(26, 30)[None], grid=finer)
    with pytest.raises(ValueError, match=r"on one grid, .*13 × 15 points .*26 × 30 .*`source.on\(target.grid\)`"):
        loss(image, other)
    aside = dataclasses.replace(image, grid=image.grid.box([1, 0], [14, 15]))
    with pytest.raises(ValueError, match=r"images on one grid, .*carry `source.on\(target.grid\)`"):
        loss(image, aside)
    with pytest.raises(ValueError, match="channel by channel, and got 1 and 2 channels"):
        loss(image, zoo.COLORS(2))
    with pytest.raises(ValueError, match=r"of one dtype, and got torch.float32 and torch.float64: use `image.to"):
        loss(image.to(torch.float32), image)


@each
def test_the_way_out_that_is_named_is_one(loss):
    image, target = zoo.IMAGE(2, seed=1), zoo.IMAGE(2, seed=2)
    coarse = target.shrunk((2, 3))
    still = Warp(image.grid, torch.zeros(2, *image.grid.shape, dtype=F64))
    assert bool(torch.isfinite(loss(still @ image.on(coarse.grid), coarse)))


@pytest.mark.parametrize("radius", [0, -1, 1.5])
def test_windows_have_a_size(radius):
    with pytest.raises(ValueError, match="LNCCLoss expects a radius of 1, 2, … points"):
        LNCCLoss(radius)


@pytest.mark.parametrize("bins", [0, 3, 8.5])
def test_histograms_have_bins(bins):
    with pytest.raises(ValueError, match="MILoss expects at least 4 bins"):
        MILoss(bins)


# ---- sums


def test_losses_on_images_add():
    a, b = zoo.IMAGE(2, seed=1), zoo.IMAGE(2, seed=2)
    total = SSDLoss() + 0.1 * LNCCLoss(1)
    assert float(total(a, b)) == pytest.approx(float(SSDLoss()(a, b)) + 0.1 * float(LNCCLoss(1)(a, b)), rel=1e-12)
    assert repr(total) == "1 * SSDLoss() + 0.1 * LNCCLoss(radius=1)"
    assert repr(MILoss()) == "MILoss(bins=32)"
