"""Shapes made of points: what moves, what stays, and what measure they are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from diffeo.core import Diffeo
from diffeo.flows import Affine, Geodesic
from diffeo.shapes import Curve, Mesh, Points, Samples
from tests import zoo
from tests.oracles import cloud, distance, relative, rotation, seeds

F64 = torch.float64
shapes = pytest.mark.parametrize(("entry", "d"), zoo.each([*zoo.POINT_SHAPES, zoo.SAMPLES]), ids=str)
EDGES, FACES = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 1, 2], [0, 2, 3]])


def motion(d, factor=1.0, seed=0):
    """A similarity."""
    return Affine(factor * rotation(d, seed=seed), cloud(1, d, seed=seed + 1)[0])


# ---- what moves and what stays


@shapes
def test_points_move_and_everything_else_stays(entry, d):
    shape = entry(d)
    attributes = {"label": np.arange(len(shape.x)), "color": torch.rand(len(shape.x), 3)}
    shape = type(shape)(**{**vars(shape), "attributes": attributes})
    phi = zoo.DIFFEOS[0](d)
    moved = phi @ shape
    assert type(moved) is type(shape)
    assert distance(moved.x, phi(shape.x)) == 0
    assert moved.attributes is shape.attributes
    for name, value in vars(shape).items():
        if name not in ("x", "logvolume"):
            assert vars(moved)[name] is value or torch.equal(vars(moved)[name], value)


@shapes
def test_shapes_do_not_change(entry, d):
    shape = entry(d)
    with pytest.raises(AttributeError):
        shape.x = shape.x + 1
    before = shape.x.clone()
    _ = zoo.DIFFEOS[0](d) @ shape, shape.with_positions(shape.x + 1), shape.to(torch.float32), shape.measure()
    assert torch.equal(shape.x, before)


@shapes
def test_precision_is_converted_and_connectivity_is_not(entry, d):
    shape = entry(d)
    single = shape.to(torch.float32)
    assert type(single) is type(shape)
    assert single.x.dtype == torch.float32
    for name, value in vars(single).items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == (torch.float32 if vars(shape)[name].is_floating_point() else torch.int64)
    measure = single.measure()
    assert {t.dtype for t in measure if t is not None} == {torch.float32}
    assert distance(single.to(torch.float64).x, shape.x) < 1e-6


@shapes
def test_positions_are_differentiable(entry, d):
    shape = entry(d)
    x = shape.x.clone().requires_grad_()
    measure = shape.with_positions(x).measure()
    sum((t**2).sum() for t in measure if t is not None).backward()
    assert bool(torch.isfinite(x.grad).all())
    assert x.grad.abs().max() > 0


class ToInfinity(Diffeo):
    """A map that has diverged."""

    forward = lambda self, x: x / torch.zeros_like(x)  # noqa: E731
    with_volumes = lambda self, x: (self(x), x.new_ones(1, len(x)))  # noqa: E731
    inverse = with_logdet = with_jacobian = path = energy = arguments = rescaled = None  # type: ignore[assignment]


@shapes
def test_a_map_that_has_diverged_is_not_the_shapes_fault(entry, d):
    with pytest.raises(ArithmeticError, match=r"the map sends .* points to infinity or NaN"):
        ToInfinity() @ entry(d)


# ---- shapes as measures


@shapes
@given(seed=seeds)
def test_measures_move_with_similarities(entry, d, seed):
    """Centers as points, masses by the power of the dimension, directions by the rotation."""
    shape, factor, R = entry(d, seed=seed % 1000), 2.5, rotation(d, seed=seed)
    phi = Affine(factor * R, cloud(1, d, seed=seed)[0])
    before, after = shape.measure(), (phi @ shape).measure()
    assert distance(after.centers, phi(before.centers)) < 1e-12
    torch.testing.assert_close(after.weights, factor ** zoo.inner_dimension(shape) * before.weights)
    if before.directions is not None:
        assert distance(after.directions, before.directions @ R.T) < 1e-10
        assert distance(before.directions.norm(dim=1), torch.ones(len(before.weights), dtype=F64)) < 1e-12


@shapes
def test_measures_have_mass_everywhere_it_is_said_to_be(entry, d):
    measure = entry(d).measure()
    assert bool((measure.weights >= 0).all())
    assert measure.weights.sum() > 0
    assert measure.centers.shape == (len(measure.weights), d)


def test_points_have_mass_one_unless_weighted():
    x = cloud(5, 3)
    torch.testing.assert_close(Points(x).measure().weights, torch.full((5,), 0.2, dtype=F64))
    weights = torch.rand(5, dtype=F64)
    assert torch.equal(Points(x, weights=weights).measure().weights, weights)
    assert Points(x).measure().directions is None


def test_a_polygon_has_its_perimeter():
    angles = torch.linspace(0, 2 * math.pi, 101, dtype=F64)[:-1]
    x = torch.stack([angles.cos(), angles.sin()], 1)
    edges = torch.stack([torch.arange(100), torch.arange(1, 101) % 100], 1)
    measure = Curve(x, edges=edges).measure()
    assert float(measure.weights.sum()) == pytest.approx(200 * math.sin(math.pi / 100))
    normal = measure.centers / measure.centers.norm(dim=1, keepdim=True)
    assert (measure.directions * normal).sum(1).abs().max() < 1e-12  # tangents
    assert float(torch.linalg.det(torch.stack([normal[0], measure.directions[0]], 1))) == pytest.approx(1)  # forwards


def test_a_tetrahedron_has_its_area_and_outward_normals():
    x = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=F64)
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    measure = Mesh(x, faces=faces).measure()
    assert float(measure.weights.sum()) == pytest.approx(1.5 + math.sqrt(3) / 2)
    assert bool(((measure.centers - 0.25) * measure.directions).sum(1).gt(0).all())
    closed = (measure.weights[:, None] * measure.directions).sum(0)
    assert closed.abs().max() < 1e-15  # a closed surface has no flux
    volume = (measure.weights * (measure.centers * measure.directions).sum(1)).sum() / 3
    assert float(volume) == pytest.approx(1 / 6)


def test_the_zoo_mesh_is_closed():
    measure = zoo.MESH(3).measure()
    assert (measure.weights[:, None] * measure.directions).sum(0).abs().max() < 1e-14


def test_reversed_pieces_point_the_other_way():
    curve, mesh = zoo.CURVE(2), zoo.MESH(3)
    for shape, other in (
        (curve, Curve(curve.x, edges=curve.edges.flip(1))),
        (mesh, Mesh(mesh.x, faces=mesh.faces.flip(1))),
    ):
        a, b = shape.measure(), other.measure()
        assert distance(a.directions, -b.directions) < 1e-14
        assert distance(a.centers, b.centers) < 1e-15
        assert distance(a.weights, b.weights) < 1e-15


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
def test_degenerate_pieces_have_no_mass_and_no_gradient(dtype):
    """A segment from a point to itself; triangles with two equal corners, and with all on a line."""
    x = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], dtype=dtype, requires_grad=True)
    curve = Curve(x, edges=torch.tensor([[1, 1], [0, 2]]))
    mesh = Mesh(x, faces=torch.tensor([[1, 1, 2], [0, 1, 2], [3, 3, 3], [0, 1, 3]]))
    for shape, degenerate in ((curve, 1), (mesh, 3)):
        measure = shape.measure()
        assert not measure.weights[:degenerate].any()
        assert not measure.directions[:degenerate].any()
        assert measure.weights[degenerate:].min() > 0
        pieces = (
            measure.weights[:degenerate].sum() + measure.directions[:degenerate].sum(),
            sum(t.sum() for t in measure),
        )
        none, some = (torch.autograd.grad(piece, x, retain_graph=True)[0] for piece in pieces)
        assert not none.any()
        assert bool(torch.isfinite(some).all())


@pytest.mark.parametrize("kind", [Curve, Mesh])
def test_tiny_shapes_are_not_degenerate_in_double_precision(kind):
    shape = (zoo.CURVE if kind is Curve else zoo.MESH)(3)
    tiny = shape.with_positions(1e-30 * shape.x).measure()
    power = zoo.inner_dimension(shape)
    assert relative(tiny.weights / 1e-30**power, shape.measure().weights) < 1e-10
    assert distance(tiny.directions, shape.measure().directions) < 1e-10


# ---- what is refused, in one sentence


X = cloud(4, 3)
BAD_POSITIONS = {
    "expects positions as a tensor of shape (n, d), and got ndarray": np.zeros((4, 3)),
    "expects positions as a tensor of shape (n, d), and got list": [[0.0, 1.0]],
    "expects positions as a tensor of shape (n, d), and got shape (3,)": X[0],
    "expects at least one point": X[:0],
    "expects at least one point, ": X[:, :0],
    "expects floating-point positions, and got torch.int64": torch.zeros(4, 3, dtype=torch.int64),
    "expects finite positions: 1 of 4 points": torch.where(X[1] == X, torch.nan, X),
    "expects finite positions: 2 of 4 points": torch.cat([X[:2], X[2:] / 0]),
}
MAKE = {
    "Points": Points,
    "Samples": Samples,
    "Curve": lambda x: Curve(x, edges=EDGES),
    "Mesh": lambda x: Mesh(x, faces=FACES),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("message", BAD_POSITIONS)
def test_bad_positions_are_refused(kind, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is compared below
        MAKE[kind](BAD_POSITIONS[message])
    assert f"{kind} {message}" in str(error.value)


BAD_INDICES = {
    "expects integers of shape (f, {k}), and got list": [[0, 1, 2]],
    "expects integers of shape (f, {k}), and got torch.float32": FACES.float(),
    "expects integers of shape (f, {k}), and got torch.bool": FACES.bool(),
    "expects integers of shape (f, {k}), and got torch.int64 of shape (2, 4)": torch.zeros(2, 4, dtype=torch.int64),
    "expects integers of shape (f, {k}), and got torch.int64 of shape (3,)": FACES[0],
    "is empty: for points without connectivity use Points": FACES[:0],
    "refers to points 0..4, and there are 4 (0..3)": torch.tensor([[0, 4, 0], [4, 0, 4]]),
    "refers to points -1..3": torch.tensor([[-1, 3, -1], [3, -1, 3]]),
}


@pytest.mark.parametrize("kind", ["Curve", "Mesh"])
@pytest.mark.parametrize("message", BAD_INDICES)
def test_bad_connectivity_is_refused(kind, message):
    index = BAD_INDICES[message]
    corners = {"Curve": 2, "Mesh": 3}[kind]
    if isinstance(index, torch.Tensor) and index.ndim == 2 and index.shape[1] == 3:
        index = index[:, :corners]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Curve(X, edges=index) if kind == "Curve" else Mesh(X, faces=index)
    assert message.format(k=corners) in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8], ids=str)
def test_integers_of_any_width_are_taken(dtype):
    assert torch.equal(Curve(X, edges=EDGES.to(dtype)).measure().weights, Curve(X, edges=EDGES).measure().weights)
    assert torch.equal(Mesh(X, faces=FACES.to(dtype)).measure().weights, Mesh(X, faces=FACES).measure().weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), r"one weight per point, shape \(4,\), and got \(3,\)"),
        (torch.ones(4, 1), r"one weight per point"),
        (torch.tensor([1.0, -1.0, 1.0, 1.0]), "finite, not negative and not all zero"),
        (torch.zeros(4), "finite, not negative and not all zero"),
        (torch.tensor([1.0, torch.nan, 1.0, 1.0]), "finite, not negative and not all zero"),
        (torch.tensor([1.0, torch.inf, 1.0, 1.0]), "finite, not negative and not all zero"),
    ],
    ids=str,
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Points(X, weights=weights.double())


def test_meshes_live_in_space():
    with pytest.raises(ValueError, match=r"vertices in space, shape \(n, 3\), and got \(4, 2\)"):
        Mesh(X[:, :2], faces=FACES)


def test_a_mesh_is_moved_by_a_map_of_space_only():
    with pytest.raises(ValueError, match="one dimension d"):
        Geodesic(zoo.GAUSSIAN, cloud(5, 2)) @ zoo.MESH(3)
