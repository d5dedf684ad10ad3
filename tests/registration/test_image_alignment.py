"""Laws of the alignment of images: known motions are found in physical space, and nothing is ever made worse."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from diffeo import (
    FullAffine,
    Grid,
    Image,
    LNCCLoss,
    MILoss,
    Nearest,
    NoAlignment,
    Rigid,
    Similarity,
    SSDLoss,
    Translation,
    read,
)
from diffeo.core import Loss
from diffeo.flows import Affine
from diffeo.registration.brightness import Brightness
from diffeo.registration.coverage import bounded, check_overlap
from diffeo.registration.given_loss import GivenLoss
from diffeo.registration.image_alignment import align_images, still
from diffeo.registration.poses import Frame
from tests.marks import cases
from tests.oracles import cloud, seeds, slope
from tests.registration.shapes import rotation

GROUPS = (Translation(), Rigid(), Similarity(), FullAffine())
SIDE = {2: 64, 3: 32}
DATA = Path(os.environ.get("DIFFEO_DATA", "/nonexistent"))


def grid(d: int, spacing: float = 1.5, turn: float = 0.3, side: int | None = None) -> Grid:
    """A grid that is turned, and whose middle is not the origin."""
    affine = torch.eye(d + 1).double()
    affine[:d, :d] = spacing * rotation(d, turn)
    n = side or SIDE[d]
    affine[:d, d] = torch.arange(10, 10 + d) - affine[:d, :d] @ torch.full((d,), (n - 1) / 2).double()
    return Grid((n,) * d, affine)


def middle(d: int) -> torch.Tensor:
    """Where the middle of `grid` is."""
    return torch.arange(10, 10 + d).double()


def scene(x: torch.Tensor) -> torch.Tensor:
    """Soft blobs without symmetries around the middle of `grid`, as a function of positions (n, d); 0 far away."""
    d = x.shape[1]
    centers = torch.tensor([[-12, -3, 2], [6, 11, -6], [9, -10, 5], [2, 2, 9], [-5, 9, 6]]).double()[:, :d]
    widths = torch.tensor([6.0, 5.0, 4.5, 7.0, 4.0]).double()
    heights = torch.tensor([1.0, 0.7, 0.5, 0.4, 0.9]).double()
    distances = torch.cdist(x - middle(d), centers).square()
    return (torch.exp(-distances / (2 * widths**2)) @ heights - 0.05).clamp(min=0)


def picture(where: Grid, matrix=None, shift=None, dtype=torch.float64, of=scene) -> Image:
    """What the motion x ↦ matrix x + shift carries onto the scene, seen on a grid."""
    x = where.points(torch.zeros((), dtype=torch.float64))
    if matrix is not None:
        x = x @ matrix.T + shift
    return Image(of(x).reshape(1, *where.shape).to(dtype), where, background=torch.zeros(1, dtype=dtype))


def about_the_middle(matrix: torch.Tensor, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix, and the translation that makes it act about the middle, and then shift the first axis."""
    d = len(matrix)
    move = torch.zeros(d).double()
    move[0] = shift
    return matrix, middle(d) - matrix @ middle(d) + move


def error(found: Affine | None, matrix, shift, d: int, reach: float = 20.0) -> float:
    """How far the found motion is from the known one, at most, on a sphere around the scene."""
    assert found is not None
    directions = torch.nn.functional.normalize(cloud(50, d, seed=1), dim=1)
    y = middle(d) + reach * directions
    x = (y - shift) @ torch.linalg.inv(matrix).T
    return float((found(x) - y).norm(dim=1).max())


def linear_part(group, d: int, angle: float) -> torch.Tensor:
    """A member of the group that turns by an angle."""
    if isinstance(group, Translation):
        return torch.eye(d).double()
    stretch = {Rigid: 1.0, Similarity: 1.15}.get(type(group), 1.0) * torch.eye(d).double()
    if isinstance(group, FullAffine):
        stretch[0] += 0.08
        stretch[1, 1] -= 0.1
    return rotation(d, angle) @ stretch


# ---- what is found


@pytest.mark.parametrize("group", GROUPS, ids=repr)
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("dtype", cases([torch.float32, torch.float64], slow=[torch.float64]))
def test_a_known_motion_is_found(group, d, dtype):
    """To a tenth of a point, after a turn of 40°; in the group to rounding."""
    matrix, shift = about_the_middle(linear_part(group, d, math.radians(40)), 6.0)
    source, target = picture(grid(d), matrix, shift, dtype), picture(grid(d, 1.4, -0.2), dtype=dtype)
    found = align_images(source, target, group)
    assert error(found, matrix, shift, d) < 0.1 * 1.4
    assert found is not None
    assert found.matrix.dtype == torch.float64
    gram = found.matrix @ found.matrix.T
    if not isinstance(group, FullAffine):
        assert torch.allclose(gram, gram[0, 0] * torch.eye(d).double(), atol=1e-9)
    if isinstance(group, (Rigid, Translation)):
        assert float(gram[0, 0]) == pytest.approx(1, abs=1e-9)
    if isinstance(group, Translation):
        assert torch.equal(found.matrix, torch.eye(d).double())


@pytest.mark.parametrize("loss", [LNCCLoss(), MILoss(), SSDLoss()], ids=repr)
@pytest.mark.parametrize("d", cases([2, 3], slow=[3]))
def test_a_known_motion_is_found_with_any_loss(loss, d):
    matrix, shift = about_the_middle(linear_part(FullAffine(), d, 0.4), 4.0)
    source, target = picture(grid(d), matrix, shift), picture(grid(d))
    assert error(align_images(source, target, FullAffine(), loss), matrix, shift, d) < 0.2 * 1.5


@pytest.mark.parametrize("loss", [LNCCLoss(), MILoss()], ids=repr)
@pytest.mark.parametrize("angle", [0.2, -0.7])
@pytest.mark.slow
def test_images_of_another_kind_are_aligned(loss, angle):
    """What is bright in one image is dark in the other, and what is half as bright is brightest."""
    matrix, shift = about_the_middle(rotation(2, angle), 5.0)
    source, target = picture(grid(2), matrix, shift), picture(grid(2))
    source = dataclasses.replace(source, values=(4 * source.values).sin() - 0.5 * source.values)
    assert error(align_images(source, target, Rigid(), loss), matrix, shift, 2) < 1.5


def test_brightness_and_contrast_do_not_matter():
    matrix, shift = about_the_middle(rotation(2, 0.3), 5.0)
    source, target = picture(grid(2), matrix, shift), picture(grid(2))
    brighter = Image(1e5 * source.values + 3e6, source.grid)
    assert error(align_images(brighter, target, Rigid()), matrix, shift, 2) < 0.1


@pytest.mark.parametrize("d", [2, 3])
def test_an_image_upside_down_is_turned(d):
    matrix, shift = about_the_middle(rotation(d, math.pi), 5.0)
    source, target = picture(grid(d), matrix, shift), picture(grid(d))
    assert error(align_images(source, target, Rigid()), matrix, shift, d) < 0.1


def test_an_image_that_looks_alike_upside_down_is_not_turned():
    """A little noise must not decide about half a turn."""

    def bars(x):
        y = x - middle(2)
        return torch.exp(-(y[:, 0] ** 2) / 400 - (y[:, 1] ** 2) / 50) * (1 + 0.02 * y[:, 0] / 20)

    matrix, shift = about_the_middle(rotation(2, math.pi + 0.1))
    found = align_images(picture(grid(2), matrix, shift, of=bars), picture(grid(2), of=bars), Rigid())
    assert found is not None
    assert float(found.matrix[0, 0]) > 0.9


def test_a_larger_image_is_made_smaller():
    """Twice as large: no gradient reaches that far, sizes do."""
    matrix, shift = about_the_middle(0.45 * rotation(2, 0.2), 5.0)
    source, target = picture(grid(2, 3.0), matrix, shift), picture(grid(2))
    assert error(align_images(source, target, Similarity()), matrix, shift, 2) < 0.1


def test_images_far_apart_meet():
    """Where they have no part of space in common, equal centers are the start."""
    matrix, away = rotation(2, 0.2), torch.tensor([1000.0, 0.0]).double()
    shift = middle(2) - matrix @ (middle(2) - away)
    target = picture(grid(2))
    source = picture(grid(2).moved(torch.eye(2), -away), matrix, shift)
    assert error(align_images(source, target, Rigid()), matrix, shift, 2) < 0.1
    assert error(align_images(source, target, Rigid(), MILoss()), matrix, shift, 2) < 0.2


def texture(x: torch.Tensor) -> torch.Tensor:
    """Waves that fill the plane."""
    waves, phases = 0.35 * cloud(12, 2, seed=3), cloud(12, 1, seed=4)[:, 0]
    return torch.cos(x @ waves.T + 9 * phases).sum(1)


@pytest.mark.parametrize("loss", [None, LNCCLoss()], ids=repr)
def test_what_is_beyond_an_image_does_not_count(loss):
    """Two pictures of overlapping parts of a pattern that goes on: nothing is known of the source outside of it."""
    matrix, shift = about_the_middle(rotation(2, 0.05), 15.0)
    target = Image(picture(grid(2, 1.0), of=texture).values, grid(2, 1.0))
    source = Image(picture(grid(2, 1.0), matrix, shift, of=texture).values, grid(2, 1.0))
    assert error(align_images(source, target, Rigid(), loss), matrix, shift, 2) < 0.1


def test_masks_hide():
    """A bright thing that only the target has leads astray, unless it is masked."""
    matrix, shift = about_the_middle(rotation(2, 0.2), 5.0)
    source, target = picture(grid(2), matrix, shift), picture(grid(2))
    values, mask = target.values.clone(), torch.ones(target.grid.shape)
    values[:, :20, :25] += 3
    mask[:20, :25] = 0
    plain, masked = Image(values, target.grid), Image(values, target.grid, mask)
    assert error(align_images(source, masked, Rigid()), matrix, shift, 2) < 0.3
    assert error(align_images(source, plain, Rigid()) or still(2), matrix, shift, 2) > 1
    # in the source
    back, there = torch.linalg.inv(matrix), -torch.linalg.inv(matrix) @ shift
    found = align_images(masked, source, Rigid())
    assert found is not None
    assert float((found(middle(2)[None]) - middle(2) @ back.T - there).norm()) < 0.3


# ---- physical space


def stored_otherwise(image: Image, axes: tuple[int, ...], flips: tuple[int, ...]) -> Image:
    """The same image with its axes in another order, some of them running backward."""
    d = image.grid.dim
    values = image.values.permute(0, *(a + 1 for a in axes)).flip([f + 1 for f in flips])
    affine = image.grid.affine.clone()
    affine[:d, :d] = image.grid.linear[:, list(axes)]
    for f in flips:
        affine[:d, d] += (values.shape[f + 1] - 1) * affine[:d, f]
        affine[:d, f] *= -1
    return Image(values.contiguous(), Grid(values.shape[1:], affine), background=image.background)


@pytest.mark.parametrize("loss", cases([None, MILoss()], slow=[MILoss()], name=repr))
def test_it_does_not_matter_how_images_are_stored(loss):
    matrix, shift = about_the_middle(linear_part(FullAffine(), 3, 0.3), 4.0)
    source, target = picture(grid(3), matrix, shift), picture(grid(3))
    found = align_images(source, target, FullAffine(), loss)
    other = align_images(
        stored_otherwise(source, (2, 0, 1), (0, 2)), stored_otherwise(target, (1, 0, 2), (1,)), FullAffine(), loss
    )
    assert found is not None
    assert error(other, found.matrix, found.translation, 3) < (1e-6 if loss is None else 0.02)


@pytest.mark.parametrize("d", [2, 3])
def test_steps_may_differ_along_the_axes(d):
    """Thick slices, in another orientation than the other image's."""
    matrix, shift = about_the_middle(rotation(d, 0.3), 4.0)
    affine = grid(d, 1.0).affine.clone()
    affine[:d, 0] *= 4
    affine[:d, d] = middle(d) - affine[:d, :d] @ torch.tensor([10.0, *[40.0] * (d - 1)]).double()
    thick = Grid((21, *[81] * (d - 1)), affine)
    source = stored_otherwise(picture(thick, matrix, shift), (*range(1, d), 0), ())
    assert error(align_images(source, picture(grid(d)), Rigid()), matrix, shift, d) < 0.2


def test_a_stack_of_one_slice_is_aligned_in_its_plane():
    matrix, shift = about_the_middle(rotation(3, 0.3)[[0, 2, 1]][:, [0, 2, 1]], 4.0)
    affine = torch.eye(4).double()
    affine[:3, 3] = middle(3) - torch.tensor([31.5, 31.5, 0]).double()
    one = Grid((64, 64, 1), affine)
    found = align_images(picture(one, matrix, shift), picture(one), Rigid())
    assert found is not None
    x = middle(3) + torch.cat([20 * cloud(20, 2), torch.zeros(20, 1).double()], 1)
    assert float((found((x - shift) @ matrix) - x).norm(dim=1).max()) < 0.1


def test_channels():
    """Any number in either image; a loss that compares channel by channel says what it needs."""
    matrix, shift = about_the_middle(rotation(2, 0.3), 4.0)
    source, target = picture(grid(2), matrix, shift), picture(grid(2))
    colors = Image(1 - source.values * torch.tensor([0.9, 0.2, 0.4]).double()[:, None, None], source.grid)
    assert error(align_images(colors, target, Rigid()), matrix, shift, 2) < 0.1
    assert error(align_images(colors, target.on(source.grid), Rigid()), matrix, shift, 2) < 0.1
    with pytest.raises(ValueError, match="channel by channel"):
        align_images(colors, target, Rigid(), LNCCLoss())


def test_half_precision_will_do():
    matrix, shift = about_the_middle(rotation(2, 0.3), 4.0)
    source, target = picture(grid(2), matrix, shift).to(torch.float16), picture(grid(2)).to(torch.float16)
    assert error(align_images(source, target, Rigid()), matrix, shift, 2) < 0.1


# ---- what is left alone


@pytest.mark.parametrize("loss", [None, SSDLoss(), LNCCLoss(), MILoss()], ids=repr)
@pytest.mark.parametrize("group", GROUPS, ids=repr)
@pytest.mark.slow
def test_images_in_place_stay_in_place(group, loss):
    assert align_images(picture(grid(2)), picture(grid(2)), group, loss) is None


def test_none_means_none():
    matrix, shift = about_the_middle(rotation(2, 0.3), 4.0)
    assert align_images(picture(grid(2), matrix, shift), picture(grid(2)), NoAlignment()) is None


def test_nothing_to_see_is_nothing_to_align():
    flat = Image(torch.full((1, 64, 64), 7.0).double(), grid(2))
    assert align_images(flat, picture(grid(2)), Rigid()) is None
    assert align_images(picture(grid(2)), flat, Rigid()) is None
    assert align_images(picture(grid(2)), flat, FullAffine(), LNCCLoss()) is None
    one = torch.zeros(1, 64, 64).double()
    one[0, 32, 32] = 1
    assert align_images(Image(one, grid(2)), Image(one, grid(2)), FullAffine()) is None


@pytest.mark.parametrize("loss", cases([SSDLoss(), LNCCLoss(), MILoss()], slow=[LNCCLoss(), MILoss()], name=repr))
@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_nothing_is_made_worse(loss, seed):
    """Unrelated images: either they stay, or the loss falls."""

    def noise(k: int) -> Image:
        values = torch.zeros(1, 32, 32).double()
        values[0, 6:26, 6:26] = cloud(20, 20, seed=k).square()
        return Image(values, grid(2, 1.0, side=32))

    source, target = noise(seed), noise(seed + 1)
    found = align_images(source, target, FullAffine(), loss)
    if found is not None:
        carried = found @ source.on(target.grid)
        assert float(loss(carried, target)) < float(loss(source.resampled(target.grid), target))


def test_images_that_do_not_overlap_are_refused():
    a, b = picture(grid(2)), picture(grid(2))
    far = a.moved(torch.eye(2), torch.tensor([400.0, 0.0]))
    check_overlap(a, b)
    check_overlap(a.moved(torch.eye(2), torch.tensor([80.0, 0.0])), b)
    with pytest.raises(ValueError, match=r"do not overlap in space: the source lies in \[.*\] × \[.*\], the target in"):
        check_overlap(far, b)
    inside = Image(torch.rand(1, 2, 2), Grid((2, 2), torch.tensor([[0.1, 0, 10.3], [0, 0.1, 11.2], [0, 0, 1]])))
    check_overlap(inside, b)
    check_overlap(b, inside)


def test_only_images_without_a_margin_are_bounded():
    assert bounded(picture(grid(2))).mask is None
    cut = bounded(Image(picture(grid(2), of=texture).values, grid(2)))
    assert cut.mask is not None
    assert float(cut.mask.min()) == 1
    assert bounded(cut) is cut


# ---- the pieces


@pytest.mark.parametrize("group", [Translation(), Rigid(), Similarity(), FullAffine()], ids=repr)
@pytest.mark.parametrize("d", [2, 3])
def test_motions_to_first_order(group, d):
    """The tangent is the derivative of where points go, in units of the radius."""
    frame, pose = Frame(middle(d), 7.0), Affine(rotation(d, 0.4), cloud(1, d)[0])
    tangent = frame.tangent(group).reshape(d, d + 1, -1)
    y = middle(d) + 5 * cloud(9, d, seed=2)
    x = pose.inverse(y)
    local = torch.cat([(y - frame.center) / frame.radius, torch.ones(9, 1).double()], 1)
    direction = cloud(tangent.shape[2], 1, seed=3)[:, 0]

    def along(s: float) -> torch.Tensor:
        matrix, translation = frame.moved(pose, group, s * direction)
        return x @ matrix.T + translation

    h = 1e-5
    found = frame.radius * torch.einsum("aik,ni,k->na", tangent, local, direction)
    assert torch.allclose((along(h) - along(-h)) / (2 * h), found, atol=1e-7)


def smooth_pair(d: int) -> tuple[Image, Image, Frame]:
    matrix, shift = about_the_middle(rotation(d, 0.1), 2.0)
    source, target = picture(grid(d), matrix, shift), picture(grid(d))
    mask = 0.3 + 0.7 * picture(grid(d, 2.0)).values[0].clamp(0, 1)
    return source, dataclasses.replace(target, mask=mask), Frame(middle(d), 12.0)


@pytest.mark.parametrize("d", [2, 3])
def test_the_linear_fit_is_that_of_the_brightness(d):
    """Its gain and value are those of a weighted regression; its step points downhill as finite differences do."""
    source, target, frame = smooth_pair(d)
    criterion = Brightness(source, target, frame, inverted=False)
    fit = criterion.fit(still(d))
    assert fit is not None
    moved, goal, weights = (t.flatten() for t in (source.values, target.values, target.mask))
    columns = torch.stack([moved, torch.ones_like(moved)], 1) * weights.sqrt()[:, None]
    solution = torch.linalg.lstsq(columns, (goal * weights.sqrt())[:, None]).solution[:, 0]
    residual = weights @ (goal - solution[0] * moved - solution[1]).square()
    spread = weights @ (goal - (weights @ goal) / weights.sum()).square()
    assert fit.value == pytest.approx(float(residual / spread), rel=1e-9)
    scale = moved.square().mean().sqrt() / goal.square().mean().sqrt()
    assert fit.gain == pytest.approx(float(solution[0] * scale), rel=1e-9)
    direction = cloud(FullAffine().size(d) + d, 1, seed=5)[:, 0]
    tangent = frame.tangent(FullAffine())
    # the value is 1 - ρ²: its slope is that of the residual, -2 gain² descent / variance of the target
    descent = tangent.T @ (fit.covariance[1:-1, -1] / fit.gain - fit.covariance[0, 1:-1])
    expected = -2 * fit.gain**2 * float(descent @ direction) / float(fit.covariance[-1, -1])
    found = slope(lambda s: criterion.value(Affine(*frame.moved(still(d), FullAffine(), s * direction))), 1e-3)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("loss", [SSDLoss(), LNCCLoss(), MILoss()], ids=repr)
def test_losses_are_differentiated_in_the_pose(loss: Loss):
    source, target, frame = smooth_pair(2)
    criterion = GivenLoss(source, target, frame, loss)
    direction = cloud(6, 1, seed=5)[:, 0]
    parameters = (0.013 * cloud(6, 1, seed=6)[:, 0]).requires_grad_()
    value = criterion._loss(*frame.moved(still(2), FullAffine(), parameters))
    assert value is not None
    (gradient,) = torch.autograd.grad(value, parameters)
    start = parameters.detach()
    found = slope(lambda s: criterion.value(Affine(*frame.moved(still(2), FullAffine(), start + s * direction))), 1e-6)
    assert float(gradient @ direction) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_sizes_that_no_comparison_can_tell_are_not_compared(d):
    """A source blown up until one cell hides the target, or shrunk to a point, is infinitely far from it."""
    source, target = picture(grid(d, side=12)), picture(grid(d, 1.4, side=12))
    where = Frame(middle(d), 20.0)
    for criterion in (Brightness(source, target, where, True), GivenLoss(source, target, where, LNCCLoss())):
        for size in (1e3, 1e-3):
            pose = Affine(size * torch.eye(d).double(), torch.zeros(d).double())
            assert criterion.value(pose) == math.inf
            assert criterion.descend(pose, FullAffine()) is pose
        assert math.isfinite(criterion.value(still(d)))


def test_alignment_works_where_gradients_are_off():
    matrix, shift = about_the_middle(rotation(2, 0.3), 4.0)
    source, target = picture(grid(2), matrix, shift), picture(grid(2))
    with torch.no_grad():
        found = align_images(source, target, Rigid())
        other = align_images(source, target, Rigid(), MILoss())
    assert error(found, matrix, shift, 2) < 0.1
    assert error(other, matrix, shift, 2) < 0.1


# ---- real images, where they are there


def real(name: str) -> Path:
    file = DATA / name
    if not file.exists():
        pytest.skip("name the folder with the data in DIFFEO_DATA")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("loss", [None, LNCCLoss(), MILoss()], ids=repr)
@pytest.mark.parametrize(("moving", "least"), [("na02", 0.44), ("na03", 0.425)])
def test_brains_overlap_more(moving, least, loss):
    """Mean Dice of 32 regions, which is .422 and .351 before."""
    source, target = read(real(f"images3d/{moving}_2mm.nii.gz")), read(real("images3d/na01_2mm.nii.gz"))
    moved, fixed = read(real(f"images3d/{moving}_seg_2mm.nii.gz")), read(real("images3d/na01_seg_2mm.nii.gz"))
    found = align_images(source, target, FullAffine(), loss)
    assert found is not None
    carried = dataclasses.replace(moved, interpolation=Nearest()).moved(found.matrix, found.translation)
    labels = carried.resampled(fixed.grid).values.round()
    both = [(labels == k, fixed.values.round() == k) for k in range(1, 33)]
    dice = [2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in both]
    assert sum(dice) / len(dice) > least


@pytest.mark.slow
@pytest.mark.parametrize("loss", [None, SSDLoss(), LNCCLoss(), MILoss()], ids=repr)
def test_stains_meet(loss):
    """78 landmarks on two slices of different stain, 76 pixels apart on average; 6.65 after the best affine motion."""
    name = "images2d/Izd2-29-041-w35_{}.{}"
    images = [read(real(name.format(stain, "jpg"))) for stain in ("HE", "proSPC")]
    rows = [real(name.format(stain, "csv")).read_text().split()[1:] for stain in ("HE", "proSPC")]
    moving, fixed = (torch.tensor([[float(v) for v in row.split(",")[1:]] for row in r]).double() for r in rows)
    found = align_images(images[0], images[1], FullAffine(), loss)
    assert found is not None
    assert float((found(moving) - fixed).norm(dim=1).mean()) < 7.5
