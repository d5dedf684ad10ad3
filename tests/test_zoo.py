"""Nothing of the library is missing from the zoo, and its diffeomorphisms are worth testing."""

import importlib
import inspect
import pkgutil

import pytest
import torch

import diffeo
from diffeo import core
from diffeo.backends import Backend
from diffeo.heads import Head
from diffeo.laws import Law
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud

CPU = torch.device("cpu")
COMPARED = [entry(entry.shapes[-1](entry.shapes[-1].dimensions[-1])) for entry in zoo.LOSSES]
READ_OUTS = [entry() for entry in learning.READ_OUT_LOSSES]


def classes(base):
    """The concrete classes of the library below ``base``."""
    found = set()
    for module in pkgutil.walk_packages(diffeo.__path__, "diffeo."):
        if module.name.startswith(("diffeo.cli", "diffeo.viz")):
            continue
        for item in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(item) and issubclass(item, base) and not inspect.isabstract(item):
                found.add(item)
    return {c for c in found if c.__module__.startswith("diffeo.") and not c.__name__.startswith("_")}


def parts(item):
    """An object and what it is composed of."""
    yield item
    for name in ("terms", "kernel", "losses", "parts"):
        value = getattr(item, name, ())
        for part in value if isinstance(value, (tuple, list, torch.nn.ModuleList)) else (value,):
            yield from parts(part[1] if isinstance(part, tuple) else part)


@pytest.mark.parametrize(
    ("base", "items"),
    [
        (core.Kernel, zoo.KERNELS),
        (Backend, zoo.BACKENDS),
        (core.Solver, zoo.SOLVERS),
        (core.Field, [entry() for entry in zoo.FIELDS]),
        (core.Diffeo, [entry() for entry in zoo.DIFFEOS]),
        (core.Shape, [entry(entry.dimensions[-1]) for entry in [*zoo.SHAPES, learning.ENCODED]]),
        (core.Loss, [*COMPARED, *READ_OUTS, *(entry() for entry in zoo.DENSITY_LOSSES)]),
        (Head, [entry() for entry in learning.HEADS]),
        (Law, [entry(entry.dimensions[-1]) for entry in [*learning.LAWS, *zoo.CONDITIONAL_LAWS]]),
    ],
    ids=["kernels", "backends", "solvers", "fields", "diffeos", "shapes", "losses", "heads", "laws"],
)
def test_every_class_of_the_library_is_in_the_zoo(base, items):
    have = {type(part) for item in items for part in parts(item)}
    not_alone = {core.Shape: {"PointShape"}}.get(base, set())
    missing = {c.__name__ for c in classes(base) - have if not inspect.isabstract(c)} - not_alone
    assert not missing, f"add {missing} to tests/zoo.py or tests/zoo_of_learning.py"


@pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(zoo.DIFFEOS)), ids=str)
def test_the_diffeos_of_the_zoo_deform(entry, d):
    x = cloud(30, d)
    moved, logdet = entry(d).with_logdet(x)
    assert (moved - x).norm(dim=1).max() > 0.1
    assert bool(torch.isfinite(logdet).all())
    assert logdet.abs().max() > 0.05


@pytest.mark.parametrize("entry", [*zoo.FIELDS, *zoo.DIFFEOS], ids=str)
def test_entries_are_built_in_the_dtype_asked_for(entry):
    for dtype in zoo.DTYPES:
        built = entry(2, dtype)
        assert {t.dtype for t in (*built.parameters(), *built.buffers())} == {dtype}
