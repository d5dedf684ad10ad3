"""Images on axes: the right side is at the right, lengths are true, and what is drawn are the numbers it says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from diffeo import read, write
from diffeo.core import Compose
from diffeo.flows import Warp
from diffeo.grid import Grid
from diffeo.shapes import Curve, Image, Mesh, Nearest, Points
from diffeo.viz import plot
from diffeo.viz.differences import compared, meaning, sizes
from diffeo.viz.images import TAILS, pixels, window
from diffeo.viz.planes import MOST_SIDE, PATIENT, PICTURE, planes, space_of
from diffeo.viz.warps import pulled
from tests.marks import cases
from tests.viz.phantoms import HEADERS, RAS, SPOT, bumps, header, motion, phantom, picture, picture_grid, waves
from tests.viz.test_plot import sphere

VIEWS = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


def flat():
    return Figure().add_subplot()


def shown(ax):
    """The pixels of the one image on an axes, and the coordinates of their centers."""
    (drawn,) = ax.images
    values = np.asarray(drawn.get_array())
    left, right, bottom, top = drawn.get_extent()
    rows, columns = values.shape[:2]
    assert drawn.origin == "lower"
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    return values, x, y


def brightest(ax):
    """The middle of what is white."""
    values, x, y = shown(ax)
    rows, columns = np.nonzero(values.reshape(*values.shape[:2], -1).mean(-1) >= 0.999 * values.max())
    return float(x[columns].mean()), float(y[rows].mean())


def words(ax):
    return {text.get_text(): text.get_position() for text in ax.texts}


# which way up


@pytest.mark.parametrize("name", HEADERS)
def test_a_spot_is_seen_where_it_is_in_space(name):
    image = phantom(header(name))
    figure = Figure()
    axes = plot.slices(figure, image, torch.tensor(SPOT))
    assert [ax.get_title(loc="left").split(",")[0] for ax in axes] == list(VIEWS)
    for ax, (right, up) in zip(axes, VIEWS.values(), strict=True):
        seen = brightest(ax)
        steps = [s for k in (right, up) for s in [float(image.grid.linear[k].abs().max())]]
        assert abs(seen[0] - SPOT[right]) <= steps[0] / 2 + 1e-6
        assert abs(seen[1] - SPOT[up]) <= steps[1] / 2 + 1e-6
        assert ax.get_xlim()[0] < ax.get_xlim()[1]
        assert ax.get_ylim()[0] < ax.get_ylim()[1]


@pytest.mark.parametrize("name", HEADERS)
def test_letters_name_the_sides(name):
    axes = plot.slices(Figure(), phantom(header(name)))
    for ax, (right, up) in zip(axes, VIEWS.values(), strict=True):
        at = words(ax)
        low, high = LETTERS[right]
        assert at[low][0] < 0.1 < 0.9 < at[high][0]
        low, high = LETTERS[up]
        assert at[low][1] < 0.1 < 0.9 < at[high][1]


@pytest.mark.parametrize(("name", "about"), [("RAS", 0), ("LAS", 1), ("LPI", 2), ("PIR", 0), ("ASL", 1)])
def test_turned_headers_keep_their_sides(name, about):
    """Turned by 25°, the spot is still in the quadrant of its letters, at its place along the axes of the grid."""
    grid = header(name, degrees=25, about=about)
    image = phantom(grid)
    directions = grid.linear / grid.linear.norm(dim=0)
    axes = plot.slices(Figure(), image, torch.tensor(SPOT))
    for ax, (right, up) in zip(axes, VIEWS.values(), strict=True):
        for seen, k in zip(brightest(ax), (right, up), strict=True):
            axis = int(directions[k].abs().argmax())
            along = directions[:, axis] * directions[k, axis].sign()
            assert abs(seen - float(along @ torch.tensor(SPOT).double())) <= grid.spacing[axis] / 2 + 1e-6
            assert along[k] > 0.8


def test_lengths_are_true_for_steps_of_any_length():
    grid = header("PIR", spacing=(0.5, 4.0, 1.25), shape=(30, 8, 21))
    along = {1: 30 * 0.5, 2: 8 * 4.0, 0: 21 * 1.25}  # P, I and R are the axes of y, z and x
    for ax, (right, up) in zip(plot.slices(Figure(), phantom(grid)), VIEWS.values(), strict=True):
        left, end, bottom, top = ax.images[0].get_extent()
        assert (end - left, top - bottom) == pytest.approx((along[right], along[up]))
        assert ax.get_aspect() == 1


def test_slices_go_through_the_center_of_the_foreground():
    grid = header("LPI")
    away = phantom(grid, at=(-12.0, 15.0, -18.0))
    spot = dataclasses.replace(away, values=(away.values - 0.5).clamp(min=0), background=torch.zeros(1))
    axial, coronal, sagittal = planes(spot)
    through = [float(p.across.at(np.array(p.level))) for p in (sagittal, coronal, axial)]
    assert through == pytest.approx([-12, 15, -18], abs=2)
    assert axial.name == "axial, z = −18 mm"


def test_what_is_masked_out_is_no_foreground():
    image = phantom(header("RAS"))
    mask = (image.grid.points(torch.zeros(())).norm(dim=1) > 40).reshape(image.grid.shape).float()
    spot = dataclasses.replace(image, values=image.values + 5 * mask, mask=1 - mask, background=torch.zeros(1))
    (axial, *_) = planes(spot)
    bare = planes(dataclasses.replace(image, background=torch.zeros(1)))[0]
    assert axial.level == bare.level


def test_a_constant_image_is_cut_through_its_middle():
    image = Image(torch.ones(1, 9, 11, 7), header("RAS", shape=(9, 11, 7)), attributes=RAS)
    assert [plane.level for plane in planes(image)] == [3, 5, 4]
    FigureCanvasAgg(plot.slices(Figure(), image)[0].figure).draw()


def test_planes_without_area_are_left_out():
    image = phantom(header("RAS", shape=(20, 30, 1)), at=(0.0, 0.0, 0.0))
    assert [plane.name.split(",")[0] for plane in planes(image)] == ["axial"]


def test_of_an_unknown_space_no_side_is_named():
    image = phantom(header("LAS"), attributes={})
    axes = plot.slices(Figure(), image, torch.tensor(SPOT))
    assert [ax.get_title(loc="left").split(",")[0] for ax in axes] == ["xy", "xz", "yz"]
    assert set(words(axes[0])) == {"−x", "+x", "−y", "+y"}
    assert not any("mm" in ax.get_title(loc="left") for ax in axes)
    assert brightest(axes[0]) == pytest.approx(SPOT[:2], abs=1.1)


def test_rows_of_a_picture_go_downward():
    ax = plot.slices(Figure(), picture(at=(0.25, 0.2)))[0]
    values, _, y = shown(ax)
    assert brightest(ax) == (15, 8)
    assert values.shape == (40, 60)
    image = picture(at=(0.25, 0.2))
    assert np.allclose(values, (image.values[0] / window(image).high).clamp(0, 1))
    assert y[0] == 0
    assert ax.get_ylim() == (39.5, -0.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (px)", "y (px)")
    figure = ax.get_figure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = ax.get_window_extent().padded(-2)
    from_below = np.asarray(canvas.buffer_rgba())[::-1, :, 0]
    grey = from_below[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    rows, columns = np.nonzero(grey == grey.max())
    assert (columns.mean() / grey.shape[1], 1 - rows.mean() / grey.shape[0]) == pytest.approx((0.25, 0.2), abs=0.03)


def test_a_plane_of_space_is_not_a_picture():
    grid = Grid((30, 20), torch.tensor([[-2.0, 0, 10], [0, 2, -5], [0, 0, 1]]))
    ax = plot.slices(Figure(), phantom(grid, at=(-20.0, 11.0)))[0]
    assert brightest(ax) == pytest.approx((-20, 11), abs=1)
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert ax.get_ylabel() == "y (mm)"


def test_space_is_what_files_say(tmp_path):
    volume, plane = phantom(header("LPI")), picture()
    write(tmp_path / "volume.nii.gz", volume)
    write(tmp_path / "plane.png", plane)
    assert space_of(read(tmp_path / "volume.nii.gz")) == PATIENT
    assert space_of(read(tmp_path / "plane.png")) == PICTURE


@pytest.mark.parametrize(
    ("grid", "unit", "downward"),
    [
        (picture_grid(), "px", True),
        (picture_grid(pixel=0.25), "data units", True),
        (Grid((5, 4), torch.eye(3)), "data units", False),
        (Grid((5, 4, 3), torch.eye(4)), "data units", False),
    ],
)
def test_without_a_note_nothing_is_claimed(grid, unit, downward):
    space = space_of(Image(torch.zeros(1, *grid.shape), grid))
    assert (space.unit, space.downward) == (unit, downward)


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="2 and 3 dimensions, and this one has 1"):
        planes(Image(torch.zeros(1, 5), Grid((5,), torch.eye(2))))


# values


def test_three_channels_are_colors():
    image = picture(channels=3)
    values, *_ = shown(plot.slices(Figure(), image)[0])
    assert np.allclose(values, np.moveaxis(image.values.numpy() / 255, 0, -1))
    fractions = dataclasses.replace(image, values=image.values / 255, background=None)
    assert np.allclose(shown(plot.slices(Figure(), fractions)[0])[0], values)


def test_the_window_spans_nearly_all_of_the_foreground():
    image = phantom(header("RAS"))
    front = image.values[image.values != image.background]
    assert window(image)[:2] == pytest.approx((0, np.percentile(front, TAILS[1])), rel=1e-5)
    dot = Image(torch.zeros(1, 50, 50).index_fill(1, torch.tensor([7]), 3.0), picture_grid(50, 50))
    assert window(dot) == (0, 3, False)
    assert window(dataclasses.replace(dot, values=torch.full((1, 50, 50), 2.0), background=None)) == (2, 3, False)


def test_a_large_picture_is_shrunk_and_stays_where_it_is():
    image = picture(1101, 700, at=(0.25, 0.75))
    ax = plot.slices(Figure(), image)[0]
    values, *_ = shown(ax)
    assert max(values.shape) <= MOST_SIDE
    assert brightest(ax) == pytest.approx((175, 825.75), abs=2)
    assert ax.images[0].get_extent() == pytest.approx((-0.5, 698.5, -0.5, 1100.5), abs=2.1)


def test_labels_stay_labels():
    values = torch.randint(0, 5, (1, 1200, 40), generator=torch.Generator().manual_seed(0)).float() * 7
    image = Image(values, picture_grid(1200, 40), interpolation=Nearest(), background=torch.zeros(1))
    (plane,) = planes(image)
    assert set(np.unique(plane.of(image))) == {0, 7, 14, 21, 28}


def test_another_grid_is_resampled_in_space():
    """The same thing in space, on grids that are turned and shifted, looks the same."""
    fixed, other = phantom(header("LAS")), phantom(header("PIR", (1.1, 1.3, 1.2), (60, 61, 62), degrees=10))
    for plane in planes(fixed, torch.tensor(SPOT)):
        assert np.abs(plane.of(fixed) - plane.of(other)).max() < 0.1
        assert np.abs(plane.of(fixed)).max() > 0.9


def test_differences_are_numbers_about_zero():
    a, b = picture(at=(0.3, 0.4)), picture(at=(0.5, 0.4))
    ax = flat()
    plot.difference(ax, a, b)
    values, *_ = shown(ax)
    assert np.allclose(values, (a.values - b.values)[0])
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert high == pytest.approx(np.abs(values).max(), rel=0.05)
    assert any(child.get_ylabel() == "difference" for child in ax.child_axes)
    middle = ax.images[0].to_rgba(np.zeros((1, 1)))[0, 0, :3]
    assert middle.min() > 0.95


def test_differences_keep_the_limit_asked_for():
    ax = flat()
    plot.difference(ax, picture(), picture(at=(0.5, 0.4)), 40.0)
    assert ax.images[0].get_clim() == (-40, 40)
    ax = flat()
    plot.difference(ax, picture(), picture())
    assert ax.images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("downward", [True, False])
def test_a_checkerboard_shows_both_in_turn_the_first_at_the_upper_left(downward):
    grid = picture_grid(40, 60) if downward else Grid((60, 40), torch.eye(3))
    level = Image(torch.ones(1, *grid.shape), grid, background=torch.zeros(1))
    black = dataclasses.replace(level, values=torch.zeros(1, *grid.shape))
    ax = flat()
    plot.checkerboard(ax, level, black, tiles=6)
    values, *_ = shown(ax)
    seen = values if downward else values[::-1]
    assert seen.shape == (40, 60)
    assert np.array_equal(seen, np.kron(np.indices((4, 6)).sum(0) % 2 == 0, np.ones((10, 10))))


def test_a_checkerboard_of_grey_and_color():
    grey, color = picture(at=(0.3, 0.4)), picture(channels=3)
    ax = flat()
    plot.checkerboard(ax, color, grey, tiles=2)
    values, *_ = shown(ax)
    assert values.shape == (40, 60, 3)
    assert np.ptp(values[:30, 30:], axis=-1).max() == 0
    assert np.ptp(values[:30, :30], axis=-1).max() > 0.1


def test_one_tile_is_refused():
    with pytest.raises(ValueError, match="at least 2 tiles, and got 1"):
        plot.checkerboard(flat(), picture(), picture(), tiles=1)


# maps


@pytest.mark.parametrize(("name", "view"), [("LAS", 0), ("PIR", 1), ("ASL", 2)])
@pytest.mark.slow
def test_grid_lines_are_where_a_coordinate_of_the_inverse_is_round(name, view):
    image = phantom(header(name))
    phi, plane = bumps(image), planes(image)[view]
    ax = flat()
    step = plot.carried_grid(ax, phi, image, plane)
    right, up = list(VIEWS.values())[view]
    lines = [child for child in ax.get_children() if isinstance(child, ContourSet)]
    assert len(lines) == 2
    for coordinate, contours in zip((right, up), lines, strict=True):
        on = np.concatenate([path.vertices for path in contours.get_paths() if len(path.vertices)])
        x = torch.zeros(len(on), 3, dtype=torch.float64)
        x[:, right], x[:, up] = torch.tensor(on.T)
        x[:, plane.across.coordinate] = float(plane.across.at(np.array(plane.level)))
        origin = phi.inverse(x)[:, coordinate] / step
        assert len(on) > 300
        assert float((origin - origin.round()).abs().max()) < 0.06  # contours bend between points only
    assert step in (1, 2, 5, 10, 20)


def test_grid_lines_of_a_picture():
    image = picture()
    phi = bumps(image)
    ax = flat()
    step = plot.carried_grid(ax, phi, image)
    first, second = (child for child in ax.get_children() if isinstance(child, ContourSet))
    for coordinate, contours in ((0, first), (1, second)):
        on = np.concatenate([path.vertices for path in contours.get_paths() if len(path.vertices)])
        origin = phi.inverse(torch.tensor(on))[:, coordinate] / step
        assert float((origin - origin.round()).abs().max()) < 0.05
        assert contours.linestyles == "solid"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


@pytest.mark.parametrize("image", [picture(), phantom(header("PIR", degrees=20))], ids=["picture", "volume"])
def test_the_log_determinant_of_an_affine_map_is_exact(image):
    phi = motion(image.grid.dim)
    expected = float(torch.linalg.det(phi.matrix).log())
    for plane in planes(image):
        assert pulled(phi, plane).logdet == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("view", cases([0, 1, 2], slow=[0, 2]))
def test_the_log_determinant_is_that_of_the_map_at_the_origin_of_the_point(view):
    image = phantom(header("LAS", (1.5, 1.5, 1.5), (40, 44, 42)))
    phi, plane = bumps(image, 0.04), planes(image)[view]
    ax = flat()
    plot.log_jacobian(ax, phi, image, plane=plane)
    values, columns, rows = shown(ax)
    right, up = list(VIEWS.values())[view]
    x = torch.zeros(len(rows), len(columns), 3, dtype=torch.float64)
    x[..., right], x[..., up] = torch.tensor(columns), torch.tensor(rows)[:, None]
    x[..., plane.across.coordinate] = float(plane.across.at(np.array(plane.level)))
    logdet = phi.with_logdet(phi.inverse(x.reshape(-1, 3)))[1].reshape(len(rows), len(columns)).numpy()
    assert np.abs(values - logdet)[1:-1, 1:-1].max() < 0.02 * np.abs(logdet).max()
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert high == pytest.approx(np.percentile(np.abs(logdet), TAILS[1]), rel=0.05)
    assert any(child.get_ylabel() == "log det Dφ" for child in ax.child_axes)


def test_folds_are_black_and_said():
    image = picture()
    u = torch.zeros(2, 40, 60, dtype=torch.float64)
    u[1, :, 30] = 1.2  # the next column is behind: central differences on either side see nothing of it
    phi = Warp(image.grid, u)
    ax = flat()
    plot.log_jacobian(ax, phi, image)
    values = np.ma.getmaskarray(ax.images[0].get_array())
    assert values[20].nonzero()[0].tolist() == [30, 31]
    assert ax.images[0].to_rgba(np.ma.masked_invalid([[np.nan]]))[0, 0, :3] == pytest.approx([0, 0, 0])
    assert any("black: folded" in child.get_ylabel() for child in ax.child_axes)


def test_a_map_is_evaluated_on_slabs_alone():
    """A map that costs something must not be evaluated on a whole volume for a picture."""
    image, asked = phantom(header("RAS", (1.0, 1.0, 1.0), (50, 60, 55))), []

    class Counted(Warp):
        def pullback(self, grid):
            asked.append(grid.shape)
            return super().pullback(grid)

    phi = Counted(image.grid, torch.zeros(3, 50, 60, 55))
    plot.image_registration(image, image, image, phi, [])
    assert asked == [(50, 60, 3), (50, 3, 55), (3, 60, 55)]


def test_a_large_map_is_evaluated_on_a_coarser_grid_with_the_same_result():
    image = picture(900, 1000)
    found = pulled(motion(2), planes(image)[0])
    assert max(found.logdet.shape) <= 320
    y, x = np.meshgrid(*found.plane.ticks[::-1], indexing="ij")
    origin = motion(2).inverse(torch.tensor(np.stack([x.ravel(), y.ravel()], 1)))
    assert np.allclose(found.origin.reshape(2, -1).T, origin.numpy())


@pytest.mark.parametrize("level", [0, 1, 54])
def test_at_the_border_of_the_volume(level):
    image = phantom(header("RAS", (1.0, 1.0, 1.0), (40, 40, 55)))
    phi = Compose([motion(3), waves(image)])
    at = image.grid.to_space(torch.tensor([[20.0, 20.0, level]]).double())[0]
    axial = planes(image, at)[0]
    x = axial.slab().points(torch.zeros((), dtype=torch.float64))
    origin = phi.inverse(x).reshape(40, 40, 3)
    assert axial.level == level
    assert np.allclose(pulled(phi, axial).origin, origin[..., :2].permute(2, 1, 0).numpy())


# points, curves and surfaces on images


def test_points_are_drawn_on_the_planes_that_they_are_near():
    image = phantom(header("PIR"))
    axial = planes(image, torch.zeros(3))[0]
    points = Points(torch.tensor([[5.0, -7.0, 0.2], [8.0, 9.0, 20.0]], dtype=torch.float64))
    ax = flat()
    plot.mark(ax, axial, points, "red")
    (dots,) = (child for child in ax.collections if isinstance(child, PathCollection))
    assert np.asarray(dots.get_offsets()) == pytest.approx(np.array([[5.0, -7.0]]))


def test_a_surface_is_drawn_where_it_is_cut():
    image = phantom(header("ASL", degrees=0))
    ball = sphere(40)
    ball = ball.with_positions(20 * ball.x + torch.tensor([3.0, 4.0, 0.0]))
    axial = planes(image, torch.tensor([0.0, 0.0, 12.0]))[0]
    ax = flat()
    plot.mark(ax, axial, Mesh(ball.x, faces=ball.faces), "red")
    (lines,) = (child for child in ax.collections if isinstance(child, LineCollection))
    ends = np.concatenate(lines.get_segments())
    assert np.hypot(ends[:, 0] - 3, ends[:, 1] - 4) == pytest.approx(np.full(len(ends), 16.0), abs=0.2)


def test_a_curve_is_drawn_on_a_picture():
    edges = torch.tensor([[0, 1], [1, 2]])
    x = torch.tensor([[1.0, 2.0], [30.0, 5.0], [50.0, 35.0]], dtype=torch.float64)
    ax = flat()
    plot.mark(ax, planes(picture())[0], Curve(x, edges=edges), "red")
    assert np.allclose(ax.collections[0].get_segments(), x[edges].numpy())


def test_shapes_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="in 2 dimensions shows shapes in as many, and got one in 3"):
        plot.mark(flat(), planes(picture())[0], Points(torch.zeros(1, 3)), "red")


def test_labels_have_colors_and_differ_or_not():
    """Names are not shades: neighbors in number are told apart, and a difference of numbers means nothing."""
    image = picture(at=(0.4, 0.5))
    labels = dataclasses.replace(image, values=(image.values / 50).round(), background=None, interpolation=Nearest())
    levels, (plane,) = window(labels), planes(labels)
    drawn, names = pixels(plane.of(labels), levels, plane), plane.of(labels)[0]
    assert levels.names
    assert drawn.shape == (*names.shape, 3)
    assert not drawn[names == 0].any()
    colors = [np.unique(drawn[names == k], axis=0) for k in range(1, 6)]
    assert all(len(found) == 1 for found in colors)
    assert len(np.unique(np.concatenate(colors), axis=0)) == 5
    other = dataclasses.replace(labels, values=labels.values.roll(5, 2))
    apart = compared(plane.of(labels), plane.of(other), (levels, levels))
    assert np.array_equal(apart, (labels.values != other.values)[0].numpy())
    assert meaning(levels, levels) == "1 where labels differ"
    assert sizes([[apart], [0 * apart]], (levels, levels)) == f"{100 * apart.mean():.3g} → 0 % differ"
    assert not window(image).names
    assert not window(dataclasses.replace(image, values=image.values + 0.5, interpolation=Nearest())).names
