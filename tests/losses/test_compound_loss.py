"""Compounds compared part by part; every loss on images drives a registration."""

import dataclasses

import pytest
import torch

from diffeo.core import Loss
from diffeo.fit import fit
from diffeo.flows import Geodesic
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel
from diffeo.losses import CompoundLoss, DiceLoss, LandmarkLoss, LNCCLoss, MILoss, MMDLoss, SSDLoss
from diffeo.shapes import Compound, Image, Points, one_hot
from tests import zoo

F64 = torch.float64
each = pytest.mark.parametrize("loss", [SSDLoss(), LNCCLoss(1), MILoss(8), DiceLoss()], ids=repr)


# ---- compounds


def test_compounds_are_compared_part_by_part():
    source, target = zoo.COMPOUND(2, seed=1), zoo.COMPOUND(2, seed=2)
    losses = [SSDLoss() + 2.0 * MILoss(8), LandmarkLoss(), MMDLoss(zoo.WIDE)]
    parts = [float(loss(a, b)) for loss, a, b in zip(losses, source.parts, target.parts, strict=True)]
    assert float(CompoundLoss(losses)(source, target)) == pytest.approx(sum(parts), rel=1e-12)
    weighted = CompoundLoss(losses, [1, 0.5, 3])
    expected = parts[0] + 0.5 * parts[1] + 3 * parts[2]
    assert float(weighted(source, target)) == pytest.approx(expected, rel=1e-12)
    assert float(CompoundLoss([losses[0], 0.5 * losses[1], 3.0 * losses[2]])(source, target)) == pytest.approx(expected)
    assert float((weighted + 2.0 * weighted)(source, target)) == pytest.approx(3 * expected, rel=1e-12)
    assert repr(weighted) == (
        f"CompoundLoss(1 * 1 * SSDLoss() + 2 * MILoss(bins=8), 0.5 * LandmarkLoss(), 3 * MMDLoss({zoo.WIDE!r}))"
    )


def test_compounds_rescale_every_part():
    source, target = zoo.COMPOUND(2, seed=1), zoo.COMPOUND(2, seed=2)
    loss = CompoundLoss([SSDLoss(), LandmarkLoss(), MMDLoss(zoo.WIDE)], [2, 1, 3])
    kernel = loss.rescaled(10.0).terms[2][1].kernel
    assert kernel == zoo.WIDE.rescaled(10.0)
    assert [w for w, _ in loss.rescaled(10.0).terms] == [2, 1, 3]
    assert bool(torch.isfinite(loss.rescaled(10.0)(source, target)))


def test_compounds_that_do_not_fit_are_refused():
    compound, image = zoo.COMPOUND(2), zoo.IMAGE(2)
    loss = CompoundLoss([SSDLoss(), LandmarkLoss()])
    with pytest.raises(ValueError, match="2 losses for compounds of as many parts, and got a Compound of 3 parts"):
        loss(compound, compound)
    with pytest.raises(ValueError, match="2 losses for compounds of as many parts, and got a Image"):
        loss(image, image)
    with pytest.raises(ValueError, match="SSDLoss compares images, and got Points"):
        loss(Compound([zoo.POINTS(2), image]), Compound([zoo.POINTS(2), image]))
    for losses, weights in (([], None), ([SSDLoss()], [1, 2]), ([SSDLoss()], [0]), ([SSDLoss()], [-1])):
        with pytest.raises(ValueError, match="one loss or more and a positive weight for each"):
            CompoundLoss(losses, weights)


# ---- registration


def disk(center, radius, n=20):
    """A disk with soft edges in [-1, 1]²."""
    affine = torch.tensor([[2 / n, 0, -1], [0, 2 / n, -1], [0, 0, 1]], dtype=F64)
    grid = Grid((n, n), affine)
    x = grid.points(torch.empty((), dtype=F64)) - torch.tensor(center, dtype=F64)
    values = torch.sigmoid((radius - x.norm(dim=1)) / 0.05)
    return Image(values.reshape(1, n, n), grid)


def register(source, target, loss: Loss, iterations=6):
    """What is left of the loss, and the map."""
    axis = torch.linspace(-0.6, 0.6, 5, dtype=F64)
    phi = Geodesic(GaussianKernel(0.4), torch.cartesian_prod(axis, axis), steps=4)
    history = fit(phi, [(source, target)], loss, weight=1e-3, max_iterations=iterations)
    return history[-1].data / history[0].data, phi


@each
@pytest.mark.slow
def test_every_loss_drives_a_registration(loss):
    source, target = disk([-0.1, 0.0], 0.35), disk([0.1, 0.05], 0.45)
    if isinstance(loss, MILoss):
        source = dataclasses.replace(source, values=1 - source.values, background=None)
    left, phi = register(source, target, loss)
    assert left < 0.35
    moved = phi @ source
    overlap = (moved.values - moved.background).abs() > 0.5
    assert (overlap == (target.values > 0.5)).double().mean() > 0.96


def test_segmentations_drive_a_registration():
    source, target = disk([-0.1, 0.0], 0.35), disk([0.1, 0.05], 0.45)
    labels = [dataclasses.replace(f, values=5 * (f.values > 0.5).double(), background=None) for f in (source, target)]
    a, b = (one_hot(f, [5]) for f in labels)
    left, _ = register(a, b, DiceLoss())
    assert left < 0.3


def test_one_map_for_an_image_and_its_landmarks():
    """The landmarks lie where the image says nothing; each part is brought nearer."""
    source, target = disk([-0.4, 0.0], 0.25), disk([-0.3, 0.0], 0.25)
    x = torch.tensor([[0.5, 0.4], [0.5, -0.4]], dtype=F64)
    pair = Compound([source, Points(x)]), Compound([target, Points(x + torch.tensor([0.0, 0.15]))])
    loss = CompoundLoss([SSDLoss(), LandmarkLoss()], [1, 10])
    _, phi = register(*pair, loss)
    with torch.no_grad():
        moved = phi @ pair[0]
    for (_, part), a, b, before in zip(loss.terms, moved.parts, pair[1].parts, pair[0].parts, strict=True):
        assert float(part(a, b)) < 0.3 * float(part(before, b))
