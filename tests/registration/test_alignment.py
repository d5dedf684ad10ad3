"""Laws of alignment: known motions are found, and nothing is ever made worse."""

import math

import pytest
import torch

from diffeo import FullAffine, LandmarkLoss, NoAlignment, Points, Rigid, Similarity, Translation
from diffeo.registration.alignment import align
from diffeo.registration.scales import coarse_factors, default_kernel, default_loss, extent, spacing, unit_of
from diffeo.shapes.sampling import coarse, farthest_points, thinned
from tests.marks import cases
from tests.registration.shapes import ball, blob, cloud, rotation

GROUPS = {
    Rigid(): torch.eye(3).double(),
    Similarity(): 1.3 * torch.eye(3).double(),
    FullAffine(): torch.tensor([[1.2, 0.1, 0.0], [0.0, 0.9, 0.0], [0.1, 0.0, 1.1]]).double(),
}


@pytest.mark.parametrize("group", GROUPS, ids=repr)
@pytest.mark.parametrize("angle", cases([0.0, 0.5, 3.0], slow=[3.0]))
def test_a_known_motion_is_found(group, angle):
    source = cloud(200, 3)
    matrix = rotation(3, angle) @ GROUPS[group]
    shift = torch.tensor([2.0, -1.0, 0.5]).double()
    target = Points(source.x @ matrix.T + shift)
    found = align(source, target, group, extent(source, target))
    assert found is not None
    assert torch.allclose(found(source.x), target.x, atol=2e-3)


def test_translations_do_not_turn():
    source, shift = cloud(200, 3), torch.tensor([2.0, -1.0, 0.5]).double()
    found = align(source, Points(source.x + shift), Translation(), 3.0)
    assert found is not None
    assert torch.equal(found.matrix, torch.eye(3).double())
    assert torch.allclose(found.translation, shift, atol=2e-3)
    turned = align(source, Points(source.x @ rotation(3, 3.0).T + shift), Translation(), 3.0)
    assert turned is not None
    assert torch.equal(turned.matrix, torch.eye(3).double())


def test_none_means_none():
    assert align(cloud(), cloud(seed=1), NoAlignment(), 3.0) is None


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_shapes_in_place_stay_in_place(group):
    assert align(cloud(d=3), cloud(d=3), group, 3.0) is None


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_groups_start_at_the_identity_and_keep_orientation(group):
    assert torch.equal(group.matrix(torch.zeros(group.size(3)).double(), 3), torch.eye(3).double())
    matrix = group.matrix(torch.randn(group.size(3)).double(), 3)
    assert torch.linalg.det(matrix) > 0
    if isinstance(group, Rigid):
        assert torch.allclose(matrix @ matrix.T, torch.eye(3).double(), atol=1e-12)


def test_farthest_points_are_distinct_and_spread():
    x = torch.cat([cloud(100).x, cloud(100).x])
    chosen = x[farthest_points(x, 150)]
    assert len(torch.unique(chosen, dim=0)) == len(chosen) == 100
    few = x[farthest_points(x, 10)]
    covering = torch.cdist(x, few).amin(1).max()
    assert torch.pdist(few).min() >= covering  # the greedy choice: no point is farther off than the chosen are apart


@pytest.mark.parametrize("shape", [blob(), ball(), cloud(500, 3)], ids=lambda s: type(s).__name__)
def test_coarse_shapes_keep_mass_and_center(shape):
    measure, few = shape.measure(), coarse(shape, 30).measure()
    assert len(few.weights) <= 30 or len(measure.weights) <= 30
    assert few.weights.sum() == pytest.approx(float(measure.weights.sum()))
    center = (measure.weights[:, None] * measure.centers).sum(0)
    assert torch.allclose((few.weights[:, None] * few.centers).sum(0), center)


def test_only_large_clouds_are_thinned():
    assert thinned(cloud(50), 60).x.shape == (50, 2)
    assert thinned(cloud(50), 20).x.shape == (20, 2)
    assert thinned(ball(), 20) is not None
    assert len(thinned(ball(), 20).x) == len(ball().x)


@pytest.mark.parametrize("shape", [blob(), ball(), cloud()], ids=lambda s: type(s).__name__)
def test_scales_move_with_the_data(shape):
    turned = shape.with_positions(shape.x @ rotation(shape.x.shape[1]).T + 5)
    larger = shape.with_positions(10 * shape.x)
    for measure in (extent, spacing):
        assert measure(turned) == pytest.approx(measure(shape), rel=1e-9)
        assert measure(larger) == pytest.approx(10 * measure(shape), rel=1e-9)


def test_spacing_is_the_mean_edge():
    n = 100
    circle = blob(n, 0.0)
    lengths = (circle.x[circle.edges[:, 1]] - circle.x[circle.edges[:, 0]]).norm(dim=1)
    assert spacing(circle) == pytest.approx(float(lengths.mean()))


def test_stages_end_at_the_loss_itself():
    source, target = blob(), blob(50)
    loss = default_loss(source, target, None, extent(source, target))
    factors = coarse_factors(loss, extent(source, target))
    assert factors[-1] == 1
    assert sorted(factors, reverse=True) == factors
    assert factors[0] * loss.kernel.scales[-1] == pytest.approx(0.3 * extent(source, target))


def test_units_of_losses_are_those_of_a_shift():
    source = cloud(100, 3)
    loss = default_loss(source, source, None, 3.0)
    tiny = torch.tensor([1e-3, 0.0, 0.0]).double()
    shifts = [float(loss(Points(source.x + tiny.roll(k)), source)) for k in range(3)]
    assert unit_of(loss, source, 1e-3) == pytest.approx(sum(shifts) / 3, rel=1e-3)
    assert unit_of(loss, source, 2e-2) == pytest.approx(400 * unit_of(loss, source, 1e-3), rel=1e-2)
    turned = Points(source.x @ rotation(3).T)
    assert unit_of(loss, turned, 0.1) == pytest.approx(unit_of(loss, source, 0.1), rel=1e-3)
    assert unit_of(LandmarkLoss(), source, 0.1) == pytest.approx(0.01)


def test_kernels_of_several_scales_are_weighted_by_width():
    kernel = default_kernel(1.0, [1.0, 4.0, 2.0])
    assert kernel.scales == (4.0, 2.0, 1.0)
    assert kernel.at_zero == pytest.approx(1 + 0.5 + 0.25)
    assert default_kernel(7.0, None).scales[0] == pytest.approx(0.4 * 7)
    assert math.isinf(default_kernel(1.0, 2.0).smoothness)
