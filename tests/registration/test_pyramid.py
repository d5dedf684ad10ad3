"""Laws of the pyramid: where the images are worked on, and that equal images stay equal when they are shrunk."""

import pytest
import torch

from diffeo import Image
from diffeo.registration.pyramid import (
    aligned,
    coarse_source,
    coarse_target,
    covering,
    default_levels,
    levels,
    working_grid,
)
from tests.oracles import distance, rotation
from tests.registration.scenes import cube, grid, picture, square

NOISE = 0.05


def noisy(on, seed: int = 0) -> Image:
    """The scene, with noise: no two points are alike."""
    generator = torch.Generator().manual_seed(seed)
    image = picture(on)
    return Image(image.values + NOISE * torch.rand(image.values.shape, generator=generator), on)


def cut(image: Image, lower: list[int], upper: list[int]) -> Image:
    """A part of an image, which may reach beyond it."""
    return image.resampled(image.grid.box(lower, upper))


@pytest.mark.parametrize("factors", [(2, 2), (4, 4), (3, 2)], ids=str)
@pytest.mark.parametrize("lower", [[0, 0], [-5, 3], [7, -2]], ids=str)
def test_aligned_copies_stay_equal_when_they_are_shrunk(factors, lower):
    """The same points in another array: blocks begin where those of the working grid do, not where the array does."""
    image = noisy(square(40))
    work = image.grid.box([-3, -2], [45, 46])
    other = cut(image, lower, [lower[0] + 44, lower[1] + 44])
    source, target = coarse_source(other, work, factors), coarse_target(image, work, factors)
    assert source.canvas.same(work.shrunk(factors))
    inner = image.grid.box([18, 18], [31, 31])  # away from where the copy ends
    assert distance(source.resampled(source.canvas).resampled(inner).values, target.resampled(inner).values) < 1e-5


def test_grids_are_aligned_if_their_points_coincide():
    on = cube(12)
    assert aligned(on, on.box([-3, 5, 0], [9, 9, 9]))
    assert not aligned(on, on.shrunk((2, 2, 2)))
    assert not aligned(on, on.moved(torch.eye(3).double(), torch.tensor([0.3, 0, 0]).double()))
    assert not aligned(on, on.moved(rotation(3), torch.zeros(3).double()))


def test_what_covers_a_grid_is_made_of_whole_blocks():
    work = square(40).box([0, 0], [36, 36])
    for lower, upper in (([-5, 3], [20, 50]), ([4, 4], [8, 8]), ([-9, -9], [60, 61])):
        other = work.box(lower, upper)
        found = covering(work, other, (4, 3))
        assert aligned(work, found)
        first = work.to_index(found.origin[None])[0].round().long().tolist()
        assert all(a % k == 0 and n % k == 0 for a, n, k in zip(first, found.shape, (4, 3), strict=True))
        for corner in (lower, [b - 1 for b in upper]):
            assert all(a <= i < a + n for a, i, n in zip(first, corner, found.shape, strict=True))


@pytest.mark.parametrize("factors", [[4, 2, 1], [3, 1], [1]], ids=str)
def test_every_level_lies_on_the_same_part_of_space(factors):
    """Its blocks fill the working grid, so that a coarse map reaches as far as a fine one."""
    source, target = noisy(grid((37, 41), (1.1, 1.0), rotation(2))), noisy(square(50), 1)
    found = levels(source, target, factors)
    assert [level.factor for level in found] == factors
    work = found[-1].grid if factors[-1] == 1 else None
    for level in found:
        assert level.source.canvas.same(level.grid)
        assert level.target.grid.same(level.grid)
        assert level.step == pytest.approx(level.factor * square(50).spacing[0], rel=1e-6)
        assert work is not None
        assert level.grid.same(work.shrunk((level.factor,) * 2))


def test_the_working_grid_holds_what_is_seen_with_a_margin():
    """A small thing in a wide field: only its surroundings are worked on."""
    on = square(120)
    values = torch.zeros(1, 120, 120)
    values[:, 40:60, 50:80] = 1.0
    shifted = values.roll(10, 1)
    work = working_grid(Image(values, on), Image(shifted, on), (4, 4))
    first = on.to_index(work.origin[None])[0].round().long().tolist()
    last = [a + n for a, n in zip(first, work.shape, strict=True)]
    assert first[0] <= 36
    assert last[0] >= 74
    assert first[1] <= 46
    assert last[1] >= 84
    assert all(n % 4 == 0 and n < 70 for n in work.shape)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((256, 256), (1, 1), (4, 2, 1)),
        ((48, 48), (1, 1), (1,)),
        ((128, 150, 128), (2, 2, 2), (4, 2, 1)),
        ((16, 16, 16), (1, 1, 1), (1,)),
        ((200, 200, 20), (1, 1, 5), (4, 2, 1)),
        ((1000, 1000), (1, 1), (8, 4, 2, 1)),
    ],
    ids=str,
)
def test_default_levels_follow_from_the_size(shape, spacing, expected):
    assert default_levels(grid(shape, spacing)) == expected


def test_anisotropic_sources_keep_what_the_target_can_tell():
    """Nothing is averaged at the finest level, however thick the slices are."""
    on = grid((40, 40, 8), (0.5, 0.5, 5.0))
    (level,) = levels(noisy(on), noisy(on, 1), [1])
    assert level.source.grid.same(on)
    finer = grid((80, 80, 8), (0.25, 0.25, 5.0))
    (level,) = levels(noisy(finer), noisy(on, 1), [1])
    assert level.source.grid.shape == (40, 40, 8)
