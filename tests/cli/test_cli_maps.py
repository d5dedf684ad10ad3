"""What the command line says of a map, for every map of the zoo."""

from __future__ import annotations

import json

import pytest
import torch

from diffeo.cli.maps import structure
from diffeo.core import Inverse
from diffeo.diagnostics.dimensions import check_dimension, dimension
from diffeo.grid import Grid
from diffeo.shapes import Compound, Image
from tests import zoo


@pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.DIFFEOS)), ids=str)
def test_the_dimension_is_that_of_the_space(entry, d):
    phi = entry(d)
    assert dimension(phi) == d
    assert dimension(Inverse(phi)) == d
    assert dimension(Inverse(phi @ zoo.affine(d, torch.float64, 0))) == d


@pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.DIFFEOS)), ids=str)
def test_the_structure_is_text_and_numbers(entry, d):
    text = json.dumps(structure(Inverse(entry(d))))
    assert type(entry(d)).__name__ in text
    assert "object at" not in text


def test_shapes_of_another_dimension_are_refused():
    phi, plane = zoo.affine(3, torch.float64, 0), Grid((9, 7), torch.eye(3))
    image = Image(torch.rand(2, 9, 7), plane)
    for shape in (zoo.POINTS(2), image, Compound([zoo.MESH(3), image])):
        with pytest.raises(ValueError, match="moves points of dimension 3, and the shape has dimension 2"):
            check_dimension(phi, shape)
    check_dimension(phi, Compound([zoo.MESH(3), zoo.POINTS(3)]))
