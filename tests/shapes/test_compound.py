"""Compounds: several shapes, one map."""

import pytest
import torch

from diffeo.flows import Geodesic
from diffeo.shapes import Compound, Points
from tests import zoo
from tests.oracles import cloud, distance

F64 = torch.float64
compounds = pytest.mark.parametrize("d", zoo.COMPOUND.dimensions)


@compounds
def test_every_part_is_carried_by_the_same_map(d):
    compound, phi = zoo.COMPOUND(d), zoo.affine(d, F64, 0)
    moved = phi @ compound
    assert type(moved) is Compound
    assert [type(part) for part in moved.parts] == [type(part) for part in compound.parts]
    for part, before in zip(moved.parts, compound.parts, strict=True):
        assert distance(zoo.numbers(part), zoo.numbers(phi @ before)) == 0
        assert distance(zoo.numbers(part), zoo.numbers(before)) > 0.1


def test_all_parts_have_a_say_in_one_gradient():
    compound, x = zoo.COMPOUND(2), zoo.controls(2, F64, 0)

    def gradient(parts):
        phi = Geodesic(zoo.GAUSSIAN, x, momenta=zoo.momenta(2, F64, 0))
        value = sum((zoo.numbers(part) ** 2).sum() for part in (phi @ Compound(parts)).parts)
        return torch.autograd.grad(value, list(phi.parameters()))[0]

    alone = [gradient([part]) for part in compound.parts]
    assert all(g.abs().max() > 1e-3 for g in alone)
    assert distance(gradient(compound.parts), sum(alone)) < 1e-10


@compounds
def test_compounds_do_not_change_and_convert(d):
    compound = zoo.COMPOUND(d)
    before = zoo.numbers(compound).clone()
    single = compound.to(torch.float32)
    assert {zoo.numbers(part).dtype for part in single.parts} == {torch.float32}
    assert distance(zoo.numbers(single.to(F64)), before) < 1e-6
    _ = zoo.affine(d, F64, 0) @ compound
    assert torch.equal(zoo.numbers(compound), before)
    with pytest.raises(AttributeError):
        compound.parts = ()


def test_compounds_of_compounds_are_flat():
    a, b, c = (Points(cloud(3, 2, seed=k)) for k in range(3))
    assert Compound([a, Compound([b, Compound([c])])]).parts == (a, b, c)


POINTS = Points(torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("parts", "got"), [([], "none"), ([torch.zeros(2, 2)], "Tensor"), ([POINTS, None], "Points, None")]
)
def test_what_is_no_shape_is_refused(parts, got):
    with pytest.raises(ValueError, match=f"at least one shape, and nothing but shapes, and got {got}"):
        Compound(parts)
