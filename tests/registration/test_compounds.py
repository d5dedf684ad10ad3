"""Images and points registered together: one map, any order of parts, any precision, one sentence for what is wrong."""

import dataclasses

import pytest
import torch

import diffeo
from diffeo import (
    Compound,
    CompoundLoss,
    Descent,
    Flow,
    GaussianKernel,
    Grid,
    Image,
    LandmarkLoss,
    LNCCLoss,
    NoAlignment,
    Points,
    SSDLoss,
    VarifoldLoss,
)
from tests.marks import cases
from tests.registration.shapes import blob

GRID = Grid((48, 40), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
MARKS = torch.tensor([[14.0, 16.0], [26.0, 20.0], [18.0, 34.0]])
SHIFT = torch.tensor([3.0, -2.0])
LOSS = CompoundLoss([SSDLoss(), LandmarkLoss()], [1, 0.01])


def blobs(shift=(0.0, 0.0), grid=GRID) -> Image:
    """Three soft blobs of different sizes, shifted."""
    x = grid.points(torch.zeros(())) - torch.tensor(shift)
    widths = torch.tensor([3.0, 5.0, 4.0])
    values = (-(torch.cdist(x, MARKS) / widths).square() / 2).exp().sum(1)
    return Image(values.reshape(1, *grid.shape), grid, background=torch.zeros(1))


def parts(shift=(0.0, 0.0)) -> tuple[Image, Points]:
    """A picture and its landmarks."""
    return blobs(shift), Points(MARKS + torch.tensor(shift), attributes={"id": torch.tensor([7, 8, 9])})


SOURCE, TARGET = Compound(parts()), Compound(parts((3.0, -2.0)))
QUICK = {"max_iterations": 12}


def off(result: diffeo.Registration, which: int = 1) -> float:
    """The largest distance between landmarks, in pixels."""
    return float((result.moved.parts[which].x - result.target.parts[which].x).norm(dim=1).max())


@pytest.mark.parametrize("align", [None, NoAlignment()], ids=["aligned", "as they are"])
@pytest.mark.parametrize("model", cases([Descent, Flow], slow=[Flow], name=lambda m: m.__name__))
def test_image_and_landmarks_arrive_together(model, align):
    result = diffeo.register(
        SOURCE, TARGET, loss=LOSS, model=model, align=align, max_iterations=30 if model is Descent else 12
    )
    report = result.report
    assert off(result) < 0.5
    assert report["data_after"] < 0.1 * report["data_before"]
    assert report["error_after"] < 0.1 * report["error_before"]
    assert report["folds"] == 0
    image, marks = result.moved.parts
    assert torch.allclose(marks.x, result.phi(MARKS), atol=1e-3)
    assert torch.equal(marks.attributes["id"], torch.tensor([7, 8, 9]))
    assert torch.allclose(image.values, (result.phi @ blobs().on(GRID)).values, atol=1e-5)


def test_the_order_of_the_parts_does_not_matter():
    swapped = CompoundLoss([LandmarkLoss(), SSDLoss()], [0.01, 1])
    pair = [Compound(compound.parts[::-1]) for compound in (SOURCE, TARGET)]
    here = diffeo.register(SOURCE, TARGET, loss=LOSS, align=NoAlignment(), **QUICK)
    there = diffeo.register(*pair, loss=swapped, align=NoAlignment(), **QUICK)
    assert torch.allclose(here.moved.parts[1].x, there.moved.parts[0].x, atol=1e-3)


@pytest.mark.parametrize("dtype", cases([torch.float32, torch.float64], slow=[torch.float32]))
@pytest.mark.parametrize("of_marks", [torch.float32, torch.float64], ids=str)
def test_every_part_keeps_its_precision(dtype, of_marks):
    pair = [Compound([c.parts[0], c.parts[1].to(of_marks)]) for c in (SOURCE, TARGET)]
    result = diffeo.register(*pair, loss=LOSS, dtype=dtype, **QUICK)
    assert result.moved.parts[0].values.dtype == torch.float32
    assert result.moved.parts[1].x.dtype == of_marks
    assert off(result) < 0.5


@pytest.mark.slow
def test_landmarks_move_what_the_image_does_not_tell():
    """Two marks in the empty background of one picture: nothing but they can say that they belong apart."""
    a, b = torch.tensor([[32.0, 40.0], [33.0, 6.0]]), torch.tensor([[30.0, 42.0], [33.0, 9.0]])
    pair = [Compound([blobs(), Points(x)]) for x in (a, b)]
    result = diffeo.register(*pair, loss=LOSS, model=Flow, align=NoAlignment(), **QUICK)
    assert off(result) < 0.3
    assert result.report["error_after"] < 0.01
    assert result.report["folds"] == 0


@pytest.mark.slow
def test_an_image_and_its_outline():
    circle = blob(60, 0.0)
    outlines = [dataclasses.replace(circle, x=5 * circle.x.float() + MARKS[1] + shift) for shift in (0, SHIFT)]
    pair = [Compound([image, outline]) for image, outline in zip((blobs(), blobs((3.0, -2.0))), outlines, strict=True)]
    loss = CompoundLoss([LNCCLoss(), VarifoldLoss(GaussianKernel(4.0))], [1, 1e-3])
    result = diffeo.register(*pair, loss=loss, **QUICK)
    assert off(result) < 0.7
    assert result.report["folds"] == 0


def test_two_images_on_different_grids():
    coarse = Grid((22, 18), GRID.shrunk((2, 2)).affine)
    pair = [Compound([blobs(s), blobs(s, coarse)]) for s in ((0.0, 0.0), (3.0, -2.0))]
    result = diffeo.register(*pair, loss=CompoundLoss([SSDLoss(), SSDLoss()]), **QUICK)
    assert result.report["error_after"] < 0.1 * result.report["error_before"]
    assert [part.grid.shape for part in result.moved.parts] == [GRID.shape, coarse.shape]
    assert float((result.phi(MARKS) - MARKS - SHIFT).norm(dim=1).max()) < 0.5


@pytest.mark.slow
def test_it_is_saved_part_by_part(tmp_path):
    result = diffeo.register(SOURCE, TARGET, loss=LOSS, **QUICK)
    folder = result.save(tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    assert {"transform.safetensors", "report.json", "report.png", "warp.nii.gz"} <= names
    assert len([name for name in names if name.startswith("moved_")]) == 2
    phi = diffeo.load(folder / "transform.safetensors")
    assert torch.allclose(phi(MARKS), result.moved.parts[1].x, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "target", "loss", "words"),
    [
        (SOURCE, TARGET, None, "a Compound of 2 parts needs a loss for each of them"),
        (SOURCE, TARGET, LNCCLoss, "a Compound of 2 parts needs a loss for each of them"),
        (SOURCE, TARGET, CompoundLoss([SSDLoss()]), "1 losses for compounds of as many parts"),
        (SOURCE, Compound(TARGET.parts[::-1]), LOSS, "the same parts in the same order"),
        (SOURCE, TARGET.parts[0], LOSS, "wrap the other one as well"),
        (SOURCE, Compound([blobs(), Points(MARKS[:2])]), LOSS, "pairs points one to one"),
        (SOURCE, Compound([blobs(), Points(torch.rand(3, 3))]), LOSS, "one dimension"),
    ],
)
def test_what_is_wrong_is_told(source, target, loss, words):
    with pytest.raises(ValueError, match=words):
        diffeo.register(source, target, loss=loss, **QUICK)
