"""Label maps: boxes and balls whose overlap and distances are known, on grids of any spacing and obliqueness."""

import math
import time

import numpy as np
import pytest
import torch

from diffeo.diagnostics import overlap
from diffeo.grid import Grid
from diffeo.shapes import Image
from tests.oracles import cloud, rotation

F64 = torch.float64


def grid(*shape, spacing=None, affine=None):
    """A grid from the origin."""
    if affine is None:
        affine = torch.diag(torch.tensor([*(spacing or [1.0] * len(shape)), 1.0], dtype=F64))
    return Grid(shape, affine)


def boxes(where, *corners, dtype=F64):
    """Label k + 1 in the k-th box of indices (lower, upper)."""
    values = torch.zeros(where.shape, dtype=dtype)
    for label, (lower, upper) in enumerate(corners, 1):
        values[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = label
    return Image(values[None], where)


def ball(where, center, radius, label=1.0):
    x = where.points(torch.empty((), dtype=F64))
    inside = (x - torch.tensor(center, dtype=F64)).norm(dim=1) <= radius
    return Image(label * inside.double().reshape(1, *where.shape), where)


def test_a_box_shifted_by_half_its_width():
    """Dice ½; a border is left behind and one is new, the others are shared."""
    where = grid(12, 10, spacing=(2.0, 3.0))
    found = overlap(boxes(where, ((2, 2), (6, 6))), boxes(where, ((4, 2), (8, 6))))
    (row,) = found.labels
    assert (row.label, row.dice, found.mean_dice, found.union_dice) == (1, 0.5, 0.5, 0.5)
    assert (row.volume_fixed, row.volume_moved) == (16 * 6, 16 * 6)
    # the 12 border points of either box: 4 in the outermost column are two steps of length 2 from the other's border,
    # 2 in the next are one step from it, 4 are on it, and 2 inside of the other box are one step from it
    assert row.hausdorff95 == pytest.approx(4.0)
    assert row.surface_distance == pytest.approx((4 * 4 + 2 * 2 + 2 * 2) / 12)
    assert not found.resampled


def test_distances_between_planes_are_the_shift():
    """Slabs that fill the grid but for one axis: every border point is exactly ``shift`` steps from the other's."""
    for axis, spacing in ((0, 0.5), (1, 2.0), (2, 3.0)):
        where = grid(9, 9, 9, spacing=(0.5, 2.0, 3.0))
        values = [torch.zeros(1, 9, 9, 9, dtype=F64) for _ in range(2)]
        values[0].select(axis + 1, 2)[:] = 4
        values[1].select(axis + 1, 5)[:] = 4
        (row,) = overlap(Image(values[0], where), Image(values[1], where)).labels
        assert (row.label, row.dice) == (4, 0)
        assert row.surface_distance == pytest.approx(3 * spacing)
        assert row.hausdorff95 == pytest.approx(3 * spacing)


def test_balls_of_different_radii():
    """Concentric: Dice is 2r³ / (r³ + R³), the borders are R − r apart, the volumes are those of balls."""
    where, r, big = grid(45, 45, 45), 14.0, 18.0
    center = (22.1, 21.9, 22.2)
    (row,) = overlap(ball(where, center, r), ball(where, center, big)).labels
    assert row.dice == pytest.approx(2 * r**3 / (r**3 + big**3), rel=0.01)
    assert row.volume_fixed == pytest.approx(4 / 3 * math.pi * r**3, rel=0.01)
    assert row.volume_moved == pytest.approx(4 / 3 * math.pi * big**3, rel=0.01)
    assert row.surface_distance == pytest.approx(big - r, abs=0.3)
    assert row.hausdorff95 == pytest.approx(big - r, abs=0.6)


def test_lengths_are_those_of_space_on_an_anisotropic_grid():
    where, center = grid(50, 25, 17, spacing=(1.0, 2.0, 3.0)), (24, 24, 24)
    (row,) = overlap(ball(where, center, 12), ball(where, center, 18)).labels
    assert row.volume_moved == pytest.approx(4 / 3 * math.pi * 18**3, rel=0.02)
    assert row.surface_distance == pytest.approx(6, abs=0.6)
    assert row.hausdorff95 == pytest.approx(6, abs=1.5)


def test_a_sheared_and_rotated_grid_measures_in_space():
    """The same indices on another grid: distances to the nearest border point, by brute force in space."""
    affine = torch.eye(4, dtype=F64)
    affine[:3, :3] = rotation(3) @ torch.tensor([[1.0, 0.4, 0], [0, 2.0, 0.3], [0, 0, 0.7]], dtype=F64)
    affine[:3, 3] = torch.tensor([5.0, -7, 100])
    where = grid(9, 8, 7, affine=affine)
    sets = [(1, 2, 1), (4, 6, 5)], [(3, 1, 2), (7, 5, 6)]
    (row,) = overlap(*(boxes(where, corners) for corners in sets)).labels

    def border(lower, upper):
        i = torch.cartesian_prod(*[torch.arange(a, b) for a, b in zip(lower, upper, strict=True)])
        edge = ((i == torch.tensor(lower)) | (i == torch.tensor(upper) - 1)).any(1)
        return where.to_space(i[edge].double())

    d = torch.cdist(border(*sets[0]), border(*sets[1]), compute_mode="donot_use_mm_for_euclid_dist")
    both = torch.cat([d.amin(1), d.amin(0)]).numpy()
    assert row.surface_distance == pytest.approx(both.mean())
    assert row.hausdorff95 == pytest.approx(np.percentile(both, 95))
    assert row.volume_fixed == pytest.approx(3 * 4 * 4 * 1.4)


@pytest.mark.parametrize("d", [2, 3])
def test_identity_and_symmetry(d):
    generator = torch.Generator().manual_seed(0)
    where = grid(*(11, 12, 10)[:d], spacing=(1.0, 2.0, 0.5)[:d])
    a, b = (Image(torch.randint(0, 4, (1, *where.shape), generator=generator).double(), where) for _ in range(2))
    same, there, back = overlap(a, a), overlap(a, b), overlap(b, a)
    assert (same.mean_dice, same.union_dice) == (1, 1)
    assert all((r.dice, r.surface_distance, r.hausdorff95) == (1, 0, 0) for r in same.labels)
    assert [r.label for r in there.labels] == [1, 2, 3]
    assert there.mean_dice == back.mean_dice < 0.5
    for one, other in zip(there.labels, back.labels, strict=True):
        assert one.dice == other.dice
        assert one.surface_distance == pytest.approx(other.surface_distance)
        assert one.hausdorff95 == pytest.approx(other.hausdorff95)
        assert (one.volume_fixed, one.volume_moved) == (other.volume_moved, other.volume_fixed)


def test_labels_are_chosen_and_background_is_not_one():
    where = grid(20, 10)
    a = boxes(where, ((0, 0), (4, 4)), ((5, 0), (9, 4)), ((10, 0), (14, 4)))
    b = boxes(where, ((0, 0), (4, 4)), ((7, 0), (11, 4)), ((12, 5), (16, 9)))
    assert [r.label for r in overlap(a, b).labels] == [1, 2, 3]
    some = overlap(a, b, [2, 1, 77])
    assert [(r.label, r.dice) for r in some.labels] == [(1, 1.0), (2, 0.5)]
    assert some.mean_dice == 0.75
    assert some.union_dice == pytest.approx(2 * 24 / (32 + 32))
    assert [r.label for r in overlap(a, b, [0, 3]).labels] == [0, 3]


def test_the_union_has_no_inner_borders():
    where = grid(8, 8)
    a, b = boxes(where, ((0, 0), (4, 8)), ((4, 0), (8, 8))), boxes(where, ((4, 0), (8, 8)), ((0, 0), (4, 8)))
    found = overlap(a, b)
    assert (found.mean_dice, found.union_dice) == (0, 1)


def test_a_label_that_one_map_lacks_has_no_distance():
    where = grid(9, 9)
    a, b = boxes(where, ((0, 0), (4, 4)), ((5, 5), (8, 8))), boxes(where, ((0, 0), (4, 4)))
    found = overlap(a, b)
    assert [r.dice for r in found.labels] == [1, 0]
    assert math.isnan(found.labels[1].surface_distance)
    assert math.isnan(found.labels[1].hausdorff95)
    assert found.labels[1].volume_moved == 0
    assert found.mean_dice == 0.5


def test_the_border_of_the_grid_is_a_border():
    where = grid(5, 5)
    a, b = boxes(where, ((0, 0), (5, 5))), boxes(where, ((0, 0), (5, 2)))
    (row,) = overlap(a, b).labels
    borders = (
        [(i, j) for i in range(5) for j in range(5) if i in (0, 4) or j in (0, 4)],
        [(i, j) for i in range(5) for j in range(2)],
    )
    x, y = (torch.tensor(b, dtype=F64) for b in borders)
    d = torch.cdist(x, y)
    assert row.surface_distance == pytest.approx(float(torch.cat([d.amin(1), d.amin(0)]).mean()))


def test_another_grid_is_resampled_and_said_so():
    """The same labels on a flipped and shifted grid are the same labels in space."""
    where = grid(12, 10, spacing=(2.0, 3.0))
    a = boxes(where, ((2, 2), (6, 6)), ((7, 3), (10, 8)))
    flipped = torch.tensor([[-2.0, 0, 22], [0, 3, 0], [0, 0, 1]], dtype=F64)
    other = Image(a.values.flip(1), Grid((12, 10), flipped))
    found = overlap(a, other)
    assert found.resampled
    assert found.mean_dice == 1
    part = Image(a.values[:, 1:11, 1:9], where.box((1, 1), (11, 9)))
    assert overlap(a, part).mean_dice == 1


def test_many_labels_take_a_few_passes():
    """34 labels on 216,000 points take 0.2 s, unless something is quadratic."""
    where = grid(60, 60, 60)
    x = cloud(34, 3, seed=1, size=15.0) + 30
    nearest = torch.cdist(where.points(torch.empty(())), x.float()).argmin(1).reshape(1, *where.shape) + 1
    moved = nearest.roll(2, 1)
    start = time.process_time()
    found = overlap(Image(nearest.float(), where), Image(moved.float(), where))
    assert time.process_time() - start < 5
    assert len(found.labels) == 34


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a: (a, Image(a.values + 0.5, a.grid)), "whole numbers, and the moved image has others, such as 0.5"),
        (lambda a: (Image(a.values * 1.1, a.grid), a), "the fixed image has others, such as 1.1"),
        (lambda a: (a, Image(torch.zeros_like(a.values), a.grid)), "no label in common: fixed has 1, moved has none"),
        (lambda a: (a, Image(7 * a.values, a.grid)), "fixed has 1, moved has 7"),
        (lambda a: (a, boxes(grid(4, 4, 4), ((0, 0, 0), (2, 2, 2)))), "2 and one of 3 dimensions"),
        (lambda a: (a, Image(a.values.expand(3, -1, -1), a.grid)), "one channel, and the moved image has 3"),
        (lambda a: (a, Image(a.values, a.grid.box((50, 50), (59, 59)))), "on the grid of the fixed one"),
        (lambda a: (Image(a.values.float() * 2**25, a.grid), a), "single precision"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        overlap(*make(boxes(grid(9, 9), ((2, 2), (5, 5)))))


def test_no_chosen_label_is_there():
    a = boxes(grid(9, 9), ((2, 2), (5, 5)))
    with pytest.raises(ValueError, match=r"no label in common among 3, 4, 5, 6, 7, 8, … \(30 labels\): fixed has none"):
        overlap(a, a, range(3, 33))
