"""Laws of registering images: known maps are found, wherever the grids lie; nothing gets worse; bad input is told."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch

import diffeo
from diffeo import (
    Compose,
    Descent,
    Flow,
    FullAffine,
    Geodesic,
    Grid,
    Image,
    LNCCLoss,
    MILoss,
    NoAlignment,
    Rigid,
    SSDLoss,
    Translation,
)
from diffeo.flows import Affine
from diffeo.shapes import Points
from tests.marks import cases
from tests.oracles import distance
from tests.registration.scenes import F64, SIDE, bend, cube, error, grid, pair, picture, places, scene, square, texture
from tests.registration.shapes import ball, rotation

DATA = Path(os.environ.get("DIFFEO_DATA", "/nonexistent"))


def colored(image: Image) -> Image:
    """Three channels, one of them darker where the image is brighter."""
    return Image(torch.cat([image.values, 0.5 * image.values, 1 - image.values]), image.grid)


def whole(image: Image) -> Image:
    """Whole numbers up to 200, as a camera counts."""
    return Image((200 * image.values).round(), image.grid)


def inverted(image: Image) -> Image:
    """Dark where the image is bright, on a bright ground."""
    return Image(1.3 - image.values, image.grid)


def gray_pair(change=None, other=None) -> tuple[Image, Image]:
    source, target = pair(square())
    return source if change is None else change(source), target if other is None else other(target)


# ---- what is found

THIN = grid((40, 40, 14), (1.0, 1.0, 3.0))
CASES = {
    "gray": (gray_pair, {}),
    "squared differences": (gray_pair, {"loss": SSDLoss}),
    "mutual information": (gray_pair, {"loss": MILoss()}),
    "inverted contrast": (lambda: gray_pair(inverted), {"loss": MILoss}),
    "in color": (lambda: gray_pair(colored, colored), {}),
    "color on gray": (lambda: gray_pair(colored), {}),
    "gray on color": (lambda: gray_pair(other=colored), {}),
    "whole numbers": (lambda: gray_pair(whole, whole), {}),
    "of other brightness": (lambda: gray_pair(whole), {}),
    "double precision": (lambda: pair(square(32), dtype=F64), {"dtype": F64, "loss": SSDLoss}),
    "tiny": (lambda: pair(square(16)), {}),
    "other steps and another field of view": (lambda: pair(square(), grid((30, 70), (1.8, 0.7), middle=(4, -2))), {}),
    "a part of it": (lambda: pair(square(60), grid((36, 36), (0.9, 0.9), middle=(2, 1))), {}),
    "texture up to the border": (lambda: pair(square(), of=texture), {}),
    "space": (lambda: pair(cube()), {}),
    "anisotropic": (lambda: pair(THIN), {}),
    "anisotropic on isotropic": (lambda: pair(THIN, cube(28)), {}),
    "isotropic on anisotropic": (lambda: pair(cube(28), THIN), {}),
}
SLOW = {
    "of other brightness",
    "gray on color",
    "double precision",
    "anisotropic on isotropic",
    "isotropic on anisotropic",
    "a part of it",
    "in color",
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] if c in SLOW else []) for c in CASES])
def test_the_defaults_find_a_known_map_without_folds(case):
    """Where nothing is seen nothing is known: half of the motion may be missed there, and the loss tells the rest."""
    make, options = CASES[case]
    source, target = make()
    result = diffeo.register(source, target, **options)
    report, d = result.report, target.grid.dim
    still = (places(d) - bend(places(d))).norm(dim=1)
    assert error(result.phi, d).mean() < 0.55 * still.mean()
    assert report["data_after"] < 0.2 * report["data_before"]
    assert report["min_corner"] >= 0.05
    assert report["folds"] == 0
    assert report["inverse_error"] < 0.1 * max(target.grid.spacing)
    assert result.converged
    assert result.moved.grid.same(target.grid)
    assert result.moved.values.shape == (len(source.values), *target.grid.shape)


@pytest.mark.slow
@pytest.mark.parametrize("model", [Flow, Geodesic], ids=lambda m: m.__name__)
@pytest.mark.parametrize("on", [square(), cube()], ids=["plane", "space"])
def test_every_model_finds_it(model, on):
    result = diffeo.register(*pair(on), model=model)
    still = (places(on.dim) - bend(places(on.dim))).norm(dim=1)
    assert error(result.phi, on.dim).mean() < (0.3 if on.dim == 2 else 0.6) * still.mean()
    assert result.report["data_after"] < 0.3 * result.report["data_before"]
    assert result.report["folds"] == 0


@pytest.mark.slow
def test_a_mask_says_where_the_target_counts():
    """A bright bar that only the target has is not looked at."""
    source, target = pair(square())
    values, mask = target.values.clone(), torch.ones_like(target.values[0])
    values[:, 20:26, 8:40], mask[18:28, 6:42] = 2.0, 0.0
    barred = Image(values, target.grid)
    clean, masked, misled = (
        error(diffeo.register(source, t, loss=SSDLoss).phi, 2).mean()
        for t in (target, dataclasses.replace(barred, mask=mask), barred)
    )
    assert masked < 1.4 * clean < 0.8 * misled


# ---- alignment

TURN = rotation(2, math.radians(25))
MOTIONS = {
    "a shift": (torch.eye(2).double(), Translation()),
    "a turn": (TURN, Rigid()),
    "an affine map": (TURN @ torch.tensor([[1.15, 0.1], [0.0, 0.9]]).double(), FullAffine()),
}


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.slow
def test_what_is_only_a_motion_is_found_by_the_alignment(motion):
    """To a tenth of a step; and the deformation that follows is small and short of energy."""
    matrix, group = MOTIONS[motion]
    truth = Affine(matrix, torch.tensor([3.0, -2.0]).double())
    source, target = picture(square(), truth), picture(square())
    result = diffeo.register(source, target, align=group)
    assert isinstance(result.phi, Compose)
    x = truth.inverse(places(2))  # where the scene was before
    first = result.phi.diffeos[0]
    assert float((first(x.float()) - truth(x)).norm(dim=1).max()) < 0.1 * square().spacing[0]
    assert float((result.phi(x.float()) - truth(x)).norm(dim=1).mean()) < 0.5 * square().spacing[0]


def test_an_alignment_that_leads_apart_is_left_out(monkeypatch):
    """As a loss may that is lowest where nothing is left to compare."""
    away = Affine(torch.eye(2).double(), torch.tensor([10 * SIDE, 0.0]).double())
    monkeypatch.setattr(diffeo.registration.images, "align_shapes", lambda *arguments: away)
    result = diffeo.register(*pair(square(24)))
    assert not result.report["aligned"]
    assert result.report["data_after"] < result.report["data_before"]


def test_no_alignment_moves_nothing_rigidly():
    result = diffeo.register(*pair(square()), align=NoAlignment())
    assert not isinstance(result.phi, Compose)
    assert not result.report["aligned"]


# ---- physical space

HEADERS = {
    "axes in another order": torch.eye(3).double()[[1, 2, 0]],
    "an axis turned round": torch.diag(torch.tensor([-1.0, 1, 1])).double(),
    "rotated by 90°": rotation(3, math.pi / 2),
}


@pytest.fixture(scope="module")
def upright():
    """A registration in space, and where it takes some positions."""
    phi = diffeo.register(*pair(cube(20))).phi
    return phi(places(3).float())


def check_header(source: Grid, target: Grid, upright: torch.Tensor) -> None:
    """Rounding differs, and with it now and then the iteration that is the last."""
    moved = diffeo.register(picture(source, bend), picture(target)).phi(places(3).float())
    apart = (moved - upright).norm(dim=1) / cube(20).spacing[0]
    assert apart.mean() < 0.05
    assert apart.max() < 0.5


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.slow
def test_the_order_and_direction_of_the_axes_change_nothing_in_space(header, upright):
    """The arrays differ, the affines too, the physical images are the same; so is the map, in mm."""
    check_header(grid(cube(20).shape, cube(20).spacing, HEADERS[header]), cube(20), upright)


@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS)
def test_nor_do_those_of_the_target(header, upright):
    turned = grid(cube(20).shape, cube(20).spacing, HEADERS[header])
    check_header(cube(20), turned, upright)
    check_header(turned, turned, upright)


@pytest.mark.slow
def test_a_finer_or_thicker_sampling_changes_little(upright):
    """Slices of 3 mm tell less than cubes of 2: the maps are closer to each other than the images were."""
    still = (places(3) - bend(places(3))).norm(dim=1).mean()
    for on in (grid((40, 40, 14), (1, 1, 3)), grid((14, 40, 40), (3, 1, 1), rotation(3, 0.3)), cube(32)):
        phi = diffeo.register(*pair(on)).phi
        assert (phi(places(3).float()) - upright).norm(dim=1).mean() < 0.25 * still


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
@pytest.mark.slow
def test_units_do_not_matter(factor):
    """From voxels of 1e-6 to 1e6; powers of two, so that nothing is rounded otherwise."""
    source, target = pair(square(32))
    plain = diffeo.register(source, target)
    scaled = [
        dataclasses.replace(i, grid=i.grid.moved(factor * torch.eye(2).double(), torch.zeros(2)))
        for i in (source, target)
    ]
    result, x = diffeo.register(*scaled), places(2).float()
    assert distance(result.phi(factor * x) / factor, plain.phi(x)) < 1e-4
    assert result.energy == pytest.approx(factor**2 * plain.energy, rel=1e-4)


@pytest.mark.parametrize("factor", [0.3, pytest.param(3.0, marks=pytest.mark.slow)])
def test_a_smaller_or_larger_image_is_brought_to_size_before_it_is_bent(factor):
    """The growth is the motion's, and is not held against the deformation."""
    source, target = pair(square(40))
    away = dataclasses.replace(source, grid=source.grid.moved(factor * torch.eye(2).double(), torch.zeros(2)))
    phi, x = diffeo.register(away, target).phi, places(2)
    assert isinstance(phi, Compose)
    assert float(torch.linalg.det(phi.diffeos[0].matrix)) == pytest.approx(factor**-2, rel=0.25)
    assert (phi((factor * x).float()) - bend(x)).norm(dim=1).mean() < 0.55 * (x - bend(x)).norm(dim=1).mean()


def test_brightness_does_not_matter():
    source, target = pair(square(32))
    plain = diffeo.register(source, target).phi
    brighter = [dataclasses.replace(i, values=2.0**14 * i.values, background=None) for i in (source, target)]
    phi, x = diffeo.register(*brighter).phi, places(2).float()
    assert distance(phi(x), plain(x)) < 1e-4


@pytest.mark.slow
def test_far_from_the_origin():
    """Positions of 1e5 steps; of 1e7 single precision knows too little, and double precision enough."""
    source, target = pair(square(32))
    x, plain = places(2), diffeo.register(source, target).phi
    for shift, dtype in ((1e5, torch.float32), (1e7, F64)):
        away = torch.full((2,), shift, dtype=F64)
        both = [dataclasses.replace(i, grid=i.grid.moved(torch.eye(2).double(), away)) for i in (source, target)]
        phi = diffeo.register(*both, dtype=dtype).phi
        assert distance(phi((x + away).to(dtype)).double() - away, plain(x.float())) < 0.25 * square(32).spacing[0]
    with pytest.raises(ValueError, match="float64"):
        diffeo.register(*both)


# ---- there and back


def there_and_back(a: Image, b: Image, x: torch.Tensor, **options) -> tuple[float, float]:
    """Mean |φ_BA(φ_AB(x)) − x|, and mean |φ_AB(x) − x|."""
    there, back = diffeo.register(a, b, **options).phi, diffeo.register(b, a, **options).phi
    y = there(x.float())
    return float((back(y) - x).norm(dim=1).mean()), float((y - x).norm(dim=1).mean())


@pytest.mark.parametrize("on", cases({"plane": square(), "space": cube()}, slow=["space"]))
@pytest.mark.slow
def test_the_maps_there_and_back_nearly_invert_each_other(on):
    """Nothing forces them to: to less than a step on average, and a third of the way."""
    error_, moved = there_and_back(*pair(on), places(on.dim))
    assert error_ < min(0.6 * on.spacing[0], 0.4 * moved)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the brain slices and volumes, in the folder DIFFEO_DATA")
@pytest.mark.parametrize(
    ("a", "b", "bound"),
    [
        ("images2d/r64slice.jpg", "images2d/r16slice.jpg", 1.6),
        ("images3d/na02_2mm.nii.gz", "images3d/na01_2mm.nii.gz", 3.0),
    ],
)
def test_brains_there_and_back(a, b, bound):
    first, second = diffeo.read(DATA / a), diffeo.read(DATA / b)
    seen = first.above_background[0] > 0.1 * first.above_background.max()
    x = first.grid.points(torch.zeros((), dtype=F64))[seen.flatten()][::7]
    assert there_and_back(first, second, x)[0] < bound


# ---- never worse than doing nothing


@pytest.mark.parametrize("loss", [LNCCLoss, SSDLoss, MILoss], ids=lambda k: k.__name__)
@pytest.mark.parametrize("of", cases([scene, texture], slow=[texture], name=lambda f: f.__name__))
def test_identical_images_are_left_alone(loss, of):
    result = diffeo.register(picture(square(), of=of), picture(square(), of=of), loss=loss)
    assert result.energy == 0
    assert result.converged
    assert distance(result.phi(places(2).float()), places(2)) < 1e-5
    assert distance(result.moved.values, result.target.values) < 1e-5


def test_identical_images_are_left_alone_at_every_level():
    """Also where the working grid, and so its blocks, begin elsewhere than the image's."""
    on = square(90)
    image = Image(picture(on).values + 0.05 * torch.rand(1, 90, 90), on)
    result = diffeo.register(image, image, levels=[4, 2, 1])
    assert result.energy == 0
    assert distance(result.moved.values, image.values) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("levels", [[4], [2, 1]], ids=str)
def test_noise_is_not_made_worse(levels):
    """Nothing corresponds, and what seems to at a coarse level does not at the finest."""
    source, target = (Image(torch.rand(1, 32, 32), square(32)) for _ in range(2))
    report = diffeo.register(source, target, levels=levels).report
    assert report["data_after"] <= report["data_before"]
    assert report["min_corner"] >= 0.05


@pytest.mark.parametrize("weight", [0.0, 1e6])
@pytest.mark.parametrize("model", [Descent, pytest.param(Flow, marks=pytest.mark.slow)], ids=lambda m: m.__name__)
def test_extreme_weights(model, weight):
    """A price too high leaves the alignment, none at all a map that is still one-to-one."""
    result = diffeo.register(*pair(square(32)), weight=weight, model=model)
    assert result.report["data_after"] <= result.report["data_before"]
    assert result.report["folds"] == 0
    if weight:
        x = places(2).float()
        first = result.phi.diffeos[0] if isinstance(result.phi, Compose) else lambda x: x
        assert distance(result.phi(x), first(x)) < 0.05


@pytest.mark.parametrize("scale", [0.8, 5.0, 1e6])
@pytest.mark.slow
def test_any_scale_above_a_step_is_fine(scale):
    result = diffeo.register(*pair(square(48)), scale=scale)
    assert result.report["data_after"] < result.report["data_before"]
    assert result.report["min_corner"] >= 0.05


@pytest.mark.parametrize("levels", [[2], [1000, 1], (8, 2)], ids=str)
@pytest.mark.slow
def test_any_levels_are_fine(levels):
    result = diffeo.register(*pair(square(48)), levels=levels)
    assert result.report["levels"] == list(levels)
    assert result.report["data_after"] < result.report["data_before"]


# ---- bad input


def ones(*shape: int) -> Image:
    return Image(torch.ones(1, *shape), Grid(shape, torch.eye(len(shape) + 1)))


def elsewhere() -> Image:
    return picture(grid((32, 32), (1.25, 1.25), middle=(900, 0)), lambda x: x - torch.tensor([900.0, 0]).double())


def masked(image: Image, value: float) -> Image:
    return dataclasses.replace(image, mask=torch.full(image.grid.shape, value))


small = square(32)
BAD = {
    "plane and space": (lambda: (picture(small), picture(cube(8))), {}, "one dimension"),
    "a constant source": (lambda: (ones(32, 32), picture(small)), {}, "the source has the same value everywhere, 1"),
    "a constant target": (lambda: (picture(small), ones(32, 32)), {}, "the target has the same value everywhere"),
    "few points": (lambda: (Image(torch.rand(1, 3, 3), square(3)), picture(small)), {}, "source has 9 points"),
    "an axis of one point": (lambda: (picture(grid((9, 9, 1), (4, 4, 4))), picture(cube(9))), {}, "one point along"),
    "no overlap": (lambda: (picture(small), elsewhere()), {"align": NoAlignment()}, "do not overlap in space"),
    "a mesh": (lambda: (picture(cube(8)), ball()), {}, "the target is Mesh"),
    "points": (lambda: (Points(torch.rand(9, 2)), picture(small)), {}, "the source is Points"),
    "a tensor": (lambda: (torch.rand(1, 9, 9), picture(small)), {}, "the source is Tensor"),
    "an empty mask": (lambda: (picture(small), masked(picture(small), 0)), {}, "0 everywhere"),
    "a negative mask": (lambda: (picture(small), masked(picture(small), -1)), {}, "between 0 and 1"),
    "a constant within its mask": (
        lambda: (dataclasses.replace(picture(small), mask=(picture(small).values[0] == 0).float()), picture(small)),
        {},
        "within its mask",
    ),
    "levels upward": (lambda: pair(small), {"levels": [1, 2]}, "from coarse to fine"),
    "a level of 0": (lambda: pair(small), {"levels": [2, 0]}, "from coarse to fine"),
    "half a level": (lambda: pair(small), {"levels": [2.5, 1]}, "from coarse to fine"),
    "no levels": (lambda: pair(small), {"levels": []}, "from coarse to fine"),
    "levels for curves": (lambda: (ball(), ball()), {"levels": [2, 1]}, "images only"),
    "controls": (lambda: pair(small), {"controls": 9}, "controls for points"),
    "a backend": (lambda: pair(small), {"backend": diffeo.DenseBackend()}, "backend for points"),
    "steps of a descent": (lambda: pair(small), {"steps": 3}, "knows no time"),
    "a solver of a descent": (lambda: pair(small), {"solver": diffeo.RK4()}, "knows no time"),
    "a scale below a step": (lambda: pair(small), {"scale": 0.1, "model": Flow}, "scale of 0.1 is finer"),
    "a scale of 0": (lambda: pair(small), {"scale": 0.0}, "positive scales"),
    "a negative weight": (lambda: pair(small), {"weight": -1.0}, "weight"),
    "half precision": (lambda: pair(small), {"dtype": torch.float16}, "float32 or float64"),
    "no iterations": (lambda: pair(small), {"max_iterations": 0}, "max_iterations"),
    "another model": (lambda: pair(small), {"model": Affine}, "models"),
    "varifolds of images": (lambda: pair(small), {"loss": diffeo.VarifoldLoss}, "VarifoldLoss compares points"),
    "landmarks of images": (lambda: pair(small), {"loss": diffeo.LandmarkLoss()}, "LandmarkLoss compares points"),
    "one of several": (
        lambda: pair(small),
        {"loss": SSDLoss() + 0.1 * diffeo.SinkhornLoss(1.0)},
        "SinkhornLoss compares points",
    ),
    "correlation of surfaces": (lambda: (ball(), ball()), {"loss": LNCCLoss}, "LNCCLoss compares images"),
    "differences of surfaces": (lambda: (ball(), ball()), {"loss": SSDLoss()}, "SSDLoss compares images"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_sentence(case, tmp_path):
    make, options, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        diffeo.register(*make(), **options, checkpoint=tmp_path / "folder" / "checkpoint.safetensors")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "folder").glob("*")) if (tmp_path / "folder").exists() else True


def test_images_that_do_not_overlap_are_brought_together():
    result = diffeo.register(elsewhere(), picture(small))
    assert result.report["aligned"]
    assert distance(result.phi(torch.tensor([[900.0, 0.0]])), torch.zeros(1, 2)) < 0.1 * SIDE


@pytest.mark.slow
@pytest.mark.parametrize("model", [Flow, Geodesic], ids=lambda m: m.__name__)
def test_what_costs_nothing_does_not_fold_either(model):
    """Two discs trade places, at a price so low that the optimizer would rather crumple the plane."""
    on = square(64)
    y, x = on.indices(torch.zeros(()))

    def discs(*centers):
        values = [torch.sigmoid(9 - ((x - a).square() + (y - b).square()).sqrt()) for a, b in centers]
        return Image(torch.stack(values).sum(0)[None], on)

    pair_of_discs = discs((20, 20), (44, 44)), discs((44, 20), (20, 44))
    result = diffeo.register(
        *pair_of_discs, loss=diffeo.SSDLoss(), model=model, align=diffeo.NoAlignment(), weight=1e-4, max_iterations=30
    )
    assert result.report["folds"] == 0
    assert result.report["min_corner"] > 0
    assert result.report["data_after"] <= result.report["data_before"]
