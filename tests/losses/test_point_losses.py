"""Losses on points, curves and meshes, each by its definition."""

import pytest
import torch
from hypothesis import given

from diffeo.fit import fit
from diffeo.flows import Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.kernels.measures import Aligned, Oriented, Unoriented
from diffeo.losses import CurrentLoss, FacingLoss, LandmarkLoss, MMDLoss, SinkhornLoss, VarifoldLoss
from diffeo.losses.sinkhorn import divergence
from diffeo.shapes import Curve, Mesh, Points
from tests import zoo
from tests.marks import cases
from tests.oracles import cloud, relative, seeds

F64 = torch.float64


# ---- each by its definition


def brute_force(mu, nu, kernel, orientation):
    """⟨μ, ν⟩, pair by pair."""
    total = 0.0
    for c, w, n in zip(*mu, strict=True):
        for c2, w2, n2 in zip(*nu, strict=True):
            o = 1.0 if orientation is None else float(orientation.jet(n @ n2)[0])
            total += float(w * w2 * kernel.jet((c - c2).square().sum())[0]) * o
    return total


def dirac(shape):
    measure = shape.measure()
    directions = measure.directions if measure.directions is not None else torch.zeros_like(measure.centers)
    return measure.centers, measure.weights, directions


@pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
def test_kernel_distances_by_brute_force(kernel):
    for loss, shapes, orientation in (
        (MMDLoss(kernel), [zoo.WEIGHTED(2, seed=k) for k in (1, 2)], None),
        (CurrentLoss(kernel), [zoo.CURVE(3, seed=k) for k in (1, 2)], Aligned()),
        (VarifoldLoss(kernel), [zoo.CURVE(2, seed=k) for k in (1, 2)], Unoriented()),
        (VarifoldLoss(kernel, Oriented(0.8)), [zoo.CURVE(2, seed=k) for k in (1, 2)], Oriented(0.8)),
    ):
        mu, nu = map(dirac, shapes)
        terms = [brute_force(a, b, kernel, orientation) for a, b in ((mu, mu), (mu, nu), (nu, nu))]
        assert float(loss(*shapes)) == pytest.approx(terms[0] - 2 * terms[1] + terms[2], rel=1e-9)


@pytest.mark.parametrize("orientation", zoo.ORIENTATIONS, ids=str)
def test_orientations_have_the_derivative_that_they_claim(orientation):
    z = torch.linspace(-1, 1, 21, dtype=F64, requires_grad=True)
    o, o1 = orientation.jet(z)
    (expected,) = torch.autograd.grad(o.sum(), z)
    torch.testing.assert_close(torch.as_tensor(o1, dtype=F64).expand(21), expected)
    assert float(orientation.jet(torch.ones((), dtype=F64))[0]) == pytest.approx(1)


@pytest.mark.parametrize("orientation", zoo.ORIENTATIONS, ids=str)
@given(seed=seeds)
def test_orientations_are_positive_definite_on_the_sphere(orientation, seed):
    n = torch.nn.functional.normalize(cloud(20, 3, seed=seed))
    assert torch.linalg.eigvalsh(orientation.jet(n @ n.T)[0]).min() > -1e-12 * 20


def turned(shape):
    """The same shape with every piece the other way round."""
    if isinstance(shape, Curve):
        return Curve(shape.x, edges=shape.edges.flip(1))
    return Mesh(shape.x, faces=shape.faces.flip(1))


@pytest.mark.parametrize("kind", zoo.EXTENDED, ids=str)
def test_orientation(kind):
    """Currents change sign with it, unoriented varifolds do not see it, oriented ones tell it apart."""
    a, b = kind(3, seed=1), kind(3, seed=2)
    current, varifold, oriented = CurrentLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE, Oriented(0.8))
    torch.testing.assert_close(varifold(turned(a), b), varifold(a, b), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(current(turned(a), turned(b)), current(a, b), rtol=1e-10, atol=1e-13)
    nothing = a.with_positions(torch.zeros_like(a.x))  # no mass: ‖μ‖² is the distance to it
    torch.testing.assert_close(current(turned(a), a), 4 * current(a, nothing), rtol=1e-9, atol=1e-12)
    assert current(turned(a), b) > 2 * current(a, b)
    assert oriented(turned(a), a) > 0.1 * oriented(a, nothing)


@pytest.mark.parametrize("kind", zoo.EXTENDED, ids=str)
def test_opposite_pieces_cancel_in_currents(kind):
    a = kind(3)
    both = torch.cat([a.edges, a.edges.flip(1)]) if isinstance(a, Curve) else torch.cat([a.faces, a.faces.flip(1)])
    twice = Curve(a.x, edges=both) if isinstance(a, Curve) else Mesh(a.x, faces=both)
    nothing = a.with_positions(torch.zeros_like(a.x))
    assert abs(CurrentLoss(zoo.WIDE)(twice, nothing)) < 1e-12
    assert VarifoldLoss(zoo.WIDE)(twice, nothing) > 1e-2


@pytest.mark.parametrize("loss", [MMDLoss(zoo.WIDE), SinkhornLoss(0.3)], ids=lambda loss: type(loss).__name__)
def test_weights_are_masses(loss):
    """A point of mass 2 is two points of mass 1, and a point of mass 0 is none."""
    x, target = cloud(4, 2), Points(cloud(6, 2, seed=1), weights=torch.full((6,), 0.25, dtype=F64))
    doubled = Points(torch.cat([x, x[:1]]), weights=torch.tensor([0.25, 0.25, 0.25, 0.25, 0.25], dtype=F64))
    heavy = Points(torch.cat([x, x[:1] + 0.1]), weights=torch.tensor([0.5, 0.25, 0.25, 0.25, 0.0], dtype=F64))
    torch.testing.assert_close(loss(doubled, target), loss(heavy, target), rtol=1e-6, atol=1e-9)
    even = Points(x, weights=torch.full((4,), 0.25, dtype=F64))
    torch.testing.assert_close(loss(Points(x), Points(target.x)), loss(even, Points(target.x)), rtol=1e-12, atol=1e-14)


def test_normalized_masses_are_one():
    a, b = zoo.WEIGHTED(2, seed=1), zoo.WEIGHTED(2, seed=2)
    heavy = Points(a.x, weights=7 * a.weights)
    loss = MMDLoss(zoo.WIDE, normalized=True)
    torch.testing.assert_close(loss(heavy, b), loss(a, b))
    assert relative(MMDLoss(zoo.WIDE)(heavy, b), MMDLoss(zoo.WIDE)(a, b)) > 0.1


@pytest.mark.parametrize("kind", zoo.EXTENDED, ids=str)
@pytest.mark.parametrize("loss", [MMDLoss, CurrentLoss, VarifoldLoss], ids=lambda loss: loss.__name__)
def test_finer_sampling_is_the_same_measure_in_the_limit(loss, kind):
    """Every piece cut in two or four: the distance to the original is small, whatever the number of pieces."""
    a = kind(3)
    if isinstance(a, Curve):
        middles = a.x[a.edges].mean(1)
        index = torch.arange(len(middles)) + len(a.x)
        edges = torch.cat([torch.stack([a.edges[:, 0], index], 1), torch.stack([index, a.edges[:, 1]], 1)])
        fine = Curve(torch.cat([a.x, middles]), edges=edges)
    else:
        centers = a.x[a.faces].mean(1)
        index = torch.arange(len(centers)) + len(a.x)
        parts = [torch.stack([a.faces[:, k], a.faces[:, (k + 1) % 3], index], 1) for k in range(3)]
        fine = Mesh(torch.cat([a.x, centers]), faces=torch.cat(parts))
    nothing = a.with_positions(torch.zeros_like(a.x))
    wide = loss(GaussianKernel(1.0))
    assert wide(fine, a) < 2e-3 * max(float(wide(a, nothing)), float(MMDLoss(GaussianKernel(1.0))(a, nothing)))


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
@pytest.mark.parametrize(
    "loss",
    [CurrentLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE, Oriented(0.5)), MMDLoss(zoo.WIDE)],
    ids=lambda loss: type(loss).__name__,
)
def test_degenerate_pieces_leave_the_gradient_finite_and_the_value_alone(loss, dtype):
    curve, mesh = zoo.CURVE(3, dtype), zoo.MESH(3, dtype)
    for shape, worse in (
        (curve, Curve(curve.x, edges=torch.cat([curve.edges, torch.tensor([[2, 2]])]))),
        (mesh, Mesh(mesh.x, faces=torch.cat([mesh.faces, torch.tensor([[1, 1, 2], [3, 3, 3]])]))),
    ):
        target = (zoo.CURVE if shape is curve else zoo.MESH)(3, dtype, seed=4)
        x = shape.x.clone().requires_grad_()
        value = loss(worse.with_positions(x), target)
        (gradient,) = torch.autograd.grad(value, x)
        assert bool(torch.isfinite(gradient).all())
        torch.testing.assert_close(value, loss(shape, target))


def test_landmarks_by_hand():
    x, y = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [1.0, 4.0]])
    assert float(LandmarkLoss()(Points(x), Points(y))) == pytest.approx((9 + 16) / 2)
    assert float(LandmarkLoss(torch.tensor([[1, 0]]))(Points(x), Points(y))) == pytest.approx(1 + 9)


def test_facing_by_hand():
    curve = Curve(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), edges=torch.tensor([[0, 1]]))
    for direction, cost in (([1.0, 0.0], 0.0), ([0.0, 1.0], 0.25), ([-1.0, 0.0], 2.25)):
        loss = FacingLoss(torch.tensor([0]), torch.tensor([direction]))
        assert float(loss(curve, curve)) == pytest.approx(cost)


def test_transport_of_one_point():
    """½|x − y|² for balanced mass; at most the cost of destroying and creating it where mass may vanish."""
    x, y = Points(torch.zeros(1, 2, dtype=F64)), Points(torch.tensor([[0.6, 0.8]], dtype=F64))
    assert float(SinkhornLoss(0.01)(x, y)) == pytest.approx(0.5)
    far = Points(torch.tensor([[60.0, 80.0]], dtype=F64))
    assert float(SinkhornLoss(0.01)(x, far)) == pytest.approx(5000)
    assert float(SinkhornLoss(0.01, reach=1.0)(x, far)) < 3


@pytest.mark.parametrize("reach", cases([None, 0.7, 3.0], slow=[None, 3.0]))
@pytest.mark.slow
def test_transport_converges_to_what_geomloss_converges_to(reach, monkeypatch):
    monkeypatch.setenv("PYKEOPS_VERBOSE", "0")  # geomloss imports pykeops, which prints
    geomloss = pytest.importorskip("geomloss")
    exact = geomloss.SamplesLoss("sinkhorn", p=2, blur=0.3, reach=reach, scaling=0.999, backend="tensorized")
    x, y = cloud(9, 2), cloud(7, 2, seed=1)
    a, b = (cloud(n, 1, seed=n)[:, 0].abs() for n in (9, 7))
    if reach is None:
        a, b = a / a.sum(), b / b.sum()
    expected = float(exact(a, x, b, y))
    found = [float(divergence(a, x, b, y, [1.0, 0.7, 0.5, *[0.3] * n], reach)) for n in (30, 500)]
    assert found[1] == pytest.approx(expected, rel=1e-3)  # its last steps are as short as scaling says
    assert abs(found[0] - found[1]) < 0.05 * expected


@pytest.mark.parametrize("reach", [None, 0.7])
def test_transport_is_differentiated_as_it_is_computed(reach):
    """After few iterations too: a line search believes the gradient."""
    x, y = cloud(5, 2).requires_grad_(), cloud(4, 2, seed=1).requires_grad_()
    a, b = (cloud(n, 1, seed=n)[:, 0].abs().requires_grad_() for n in (5, 4))
    torch.autograd.gradcheck(lambda *inputs: divergence(*inputs, [1.0, 0.5, 0.3], reach), (a, x, b, y))


def test_the_blurs_go_down_by_one_ratio_and_do_not_depend_on_units():
    loss = SinkhornLoss(0.3, scaling=0.5)
    blurs = loss.blurs(2.0)
    assert blurs[:4] == pytest.approx([2.4, 1.2, 0.6, 0.3])
    assert set(blurs[4:]) == {0.3}
    assert loss.rescaled(7.0).blurs(14.0) == pytest.approx([7 * b for b in blurs])
    assert loss.blurs(2.39) == loss.blurs(1.21)  # shapes may move without a jump of the loss
    assert set(loss.blurs(0.01)) == {0.3}


@pytest.mark.slow
def test_registration_by_transport_does_not_stop_early():
    source, target = Points(cloud(30, 2)), Points(1.2 * cloud(30, 2, seed=1) + 0.3)
    phi, loss = Geodesic(GaussianKernel(0.5), source.x), SinkhornLoss(0.1)
    before = float(loss(source, target))
    history = fit(phi, [(source, target)], loss, weight=1e-4, max_iterations=40)
    assert history[-1].data < 0.1 * before


def test_transport_of_a_shifted_cloud_is_half_the_square_of_the_shift():
    x = cloud(20, 2)
    shift = torch.tensor([3.0, 4.0], dtype=F64)
    assert float(SinkhornLoss(0.05)(Points(x), Points(x + shift))) == pytest.approx(12.5, rel=1e-4)


# ---- the target's own square is computed once


@pytest.mark.parametrize("loss", [MMDLoss(zoo.WIDE), CurrentLoss(zoo.WIDE)], ids=lambda loss: type(loss).__name__)
def test_remembered_targets_are_not_mixed_up(loss):
    source, targets = zoo.CURVE(2), [zoo.CURVE(2, seed=k) for k in range(1, 4)]
    first = [float(loss(source, target)) for target in targets]
    assert [float(loss(source, target)) for target in targets] == first
    assert [float(type(loss)(zoo.WIDE)(source, target)) for target in targets] == pytest.approx(first, rel=1e-13)
    for target in targets:
        assert float(loss(source.to(torch.float32), target.to(torch.float32))) == pytest.approx(
            float(loss(source, target)), rel=1e-3
        )


# ---- what is refused, in one sentence


def test_what_cannot_be_compared_is_refused():
    points, curve, mesh = zoo.POINTS(3), zoo.CURVE(3), zoo.MESH(3)
    with pytest.raises(ValueError, match=r"compares tangents or normals, which Points does not have: use MMDLoss"):
        VarifoldLoss(zoo.WIDE)(points, curve)
    with pytest.raises(ValueError, match="compares tangents or normals"):
        CurrentLoss(zoo.WIDE)(mesh, points)
    for loss in (MMDLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE), SinkhornLoss(0.1)):
        with pytest.raises(ValueError, match="shapes of one dimension, and got 2 and 3"):
            loss(zoo.CURVE(2), curve)
    with pytest.raises(ValueError, match=r"one to one.*the target has.*use MMDLoss or SinkhornLoss"):
        LandmarkLoss()(points, curve)
    with pytest.raises(ValueError, match=r"pairs as integers of shape \(k, 2\)"):
        LandmarkLoss(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="pairs point 99"):
        LandmarkLoss(torch.tensor([[99, 0]]))(points, points)
    with pytest.raises(ValueError, match="a shape with faces or segments"):
        FacingLoss(torch.tensor([0]), torch.zeros(1, 3))(points, points)
    with pytest.raises(ValueError, match=r"indices \(k,\) and directions \(k, d\)"):
        FacingLoss(torch.tensor([0, 1]), torch.zeros(1, 3))


@pytest.mark.parametrize("bad", [0, -1.0, torch.nan])
def test_lengths_of_transport_must_be_positive(bad):
    with pytest.raises(ValueError, match="positive blur"):
        SinkhornLoss(bad)
    with pytest.raises(ValueError, match="positive reach"):
        SinkhornLoss(0.1, reach=bad)
    with pytest.raises(ValueError, match="scaling between 0 and 1"):
        SinkhornLoss(0.1, scaling=bad)


# ---- derivatives


@pytest.mark.parametrize(
    "loss",
    [MMDLoss(zoo.WIDE), CurrentLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE), VarifoldLoss(zoo.WIDE, Oriented(0.8))],
    ids=lambda loss: type(loss).__name__,
)
def test_second_derivatives(loss):
    source, target = zoo.CURVE(2, seed=1), zoo.CURVE(2, seed=2)
    x = source.x.clone().requires_grad_()
    torch.autograd.gradgradcheck(lambda x: loss(source.with_positions(x), target), (x,), fast_mode=True)


def test_gradients_in_the_weights():
    x, y = cloud(5, 2), cloud(6, 2, seed=1)
    a, b = (cloud(n, 1, seed=n)[:, 0].abs().requires_grad_() for n in (5, 6))
    loss = MMDLoss(GaussianKernel(0.5))
    torch.autograd.gradcheck(lambda a, b: loss(Points(x, weights=a), Points(y, weights=b)), (a, b))
