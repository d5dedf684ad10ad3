"""Flows along kernel fields: compiled steps and their inverses are those of the flow, layer by layer."""

import math

import pytest
import torch

from diffeo.backends import CPUBackend, DenseBackend
from diffeo.core import Diffeo
from diffeo.fields import Contractive, FeatureField, KernelField, TrainedKernelField
from diffeo.flows import Descent, Flow
from diffeo.kernels import CauchyKernel, GaussianKernel
from diffeo.solvers import RK4, Euler, Midpoint
from tests.oracles import cloud, distance, like, relative, slope

KERNEL = GaussianKernel(1.0) + 0.3 * CauchyKernel(0.7)
FUSED, PLAIN = KERNEL.on(CPUBackend()), KERNEL.on(DenseBackend())
wide = pytest.mark.parametrize("d", [2, 6])


def trained(kernel, d, layers=3, m=9, size=0.5, dtype=torch.float64, **options):
    """A flow along trained kernel fields whose layers all differ."""
    kernel = kernel.rescaled(math.sqrt(d))
    fields = [
        TrainedKernelField(kernel, cloud(m, d, dtype, k), cloud(m, d, dtype, 9 + k, size), 0.1 * k)
        for k in range(layers)
    ]
    return Flow(fields, Euler(), **options)


def gradients(phi, x):
    """Of a function of positions, determinants and the energy, in all that it depends on."""
    moved, volumes = phi.with_volumes(x)
    value = (like(moved, 3) * moved).sum() + (like(volumes, 4) * volumes).sum() + phi.energy()
    return torch.autograd.grad(value, [x, *phi.parameters()])


@wide
def test_compiled_flows_are_the_flows(d):
    x = cloud(40, d, seed=1).requires_grad_()
    fused, plain = trained(FUSED, d), trained(PLAIN, d)
    for a, b in zip(fused.with_volumes(x), plain.with_volumes(x), strict=True):
        assert relative(a, b) < 1e-12
    assert all(relative(a, b) < 1e-10 for a, b in zip(gradients(fused, x), gradients(plain, x), strict=True))


def test_mixed_layers_go_their_own_ways():
    """Runs of kernel fields are taken together, and what is between them as it is."""
    x, c = cloud(30, 2), cloud(7, 2, seed=1)
    fields = [
        KernelField(FUSED, c, cloud(7, 2, seed=2)),
        KernelField(FUSED, c[:4], cloud(4, 2, seed=3)),
        FeatureField(FUSED, 2, 20, 0, cloud(20, 2, seed=4, size=0.4)),
        KernelField(FUSED.rescaled(0.7), c, cloud(7, 2, seed=5)),
        TrainedKernelField(FUSED, c, cloud(7, 2, seed=6), 0.3),
    ]
    phi = Flow(fields, Euler())
    moved, volumes = phi.with_volumes(x)
    assert volumes.shape == (5, 30)
    assert distance(moved, phi(x)) < 1e-13
    for k, layer in enumerate(phi.layers()):
        image, volume = layer.with_volume(x)
        assert distance(volumes[k], volume) < 1e-13
        x = image


def test_carried_and_grown_layers_are_compiled_too():
    x = cloud(20, 2, seed=4).requires_grad_()
    carried = [Flow(KernelField(k, cloud(9, 2), cloud(9, 2, seed=1)), steps=4, carried=True) for k in (FUSED, PLAIN)]
    for a, b in zip(*(gradients(phi, x) for phi in carried), strict=True):
        assert relative(a, b) < 1e-9
    grown = [Descent(k) for k in (FUSED, PLAIN)]
    for phi in grown:
        for k in range(3):
            phi.append(cloud(5 + k, 2, seed=k), cloud(5 + k, 2, seed=10 + k, size=0.2))
    for a, b in zip(*(phi.with_volumes(x) for phi in grown), strict=True):
        assert relative(a, b) < 1e-13


@wide
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float64, 1e-13), pytest.param(torch.float32, 1e-5, marks=pytest.mark.slow)],
    ids=str,
)
def test_round_trips_end_where_they_began(d, dtype, bound):
    phi, x = trained(FUSED, d, layers=5, size=0.8, dtype=dtype), cloud(300, d, dtype, seed=5, size=1.5)
    with torch.no_grad():
        moved, volumes = phi.with_volumes(x)
        assert (moved - x).norm(dim=1).max() > 0.5
        assert volumes.min() > 0
        assert distance(phi.inverse(moved), x) < bound
        assert distance(phi(phi.inverse(x)), x) < bound


@wide
def test_what_folds_has_no_inverse(d):
    """A field that pulls the surroundings of a point through it."""
    center = torch.zeros(2, d, dtype=torch.float64)
    center[0, 0], center[1, 0] = -0.3, 0.3
    field = TrainedKernelField(FUSED, center, -9 * center, math.log(0.5))
    phi, y = Flow(field, Euler(), steps=1), cloud(50, d, seed=2, size=0.05)
    assert phi.with_volumes(y)[1].min() < 0
    with pytest.raises(ArithmeticError, match="fold"):
        phi.inverse(y)


@wide
def test_inverses_are_differentiable(d):
    phi, y = trained(FUSED, d, layers=2), cloud(6, d, seed=3).requires_grad_()
    unknowns = [y, *phi.parameters()]
    start, directions = [p.detach().clone() for p in unknowns], [like(p, 20 + k) for k, p in enumerate(unknowns)]
    weights = cloud(6, d, seed=8)

    def along(s):
        with torch.no_grad():
            for p, p0, v in zip(unknowns, start, directions, strict=True):
                p.copy_(p0 + s * v)
            return float((weights * phi.inverse(y)).sum())

    expected = slope(along)
    along(0.0)
    found = torch.autograd.grad((weights * phi.inverse(y)).sum(), unknowns)
    assert sum(float((g * v).sum()) for g, v in zip(found, directions, strict=True)) == pytest.approx(
        expected, rel=1e-7
    )


@pytest.mark.parametrize("solver", [Euler(), Midpoint(), RK4()], ids=repr)
@pytest.mark.parametrize("carried", [False, True])
def test_checkpoints_change_no_gradient_of_volumes(solver, carried):
    x = cloud(20, 2, seed=4).requires_grad_()
    field = KernelField(PLAIN, cloud(9, 2), cloud(9, 2, seed=1))
    flows = [Flow(field, solver, 5, carried=carried, checkpoint=checkpoint) for checkpoint in (False, True, 2)]
    expected, *others = [gradients(phi, x) for phi in flows]
    values = [phi.with_volumes(x) for phi in flows]
    for found, value in zip(others, values[1:], strict=True):
        assert all(relative(a, b) < 1e-12 for a, b in zip(found, expected, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(value, values[0], strict=True))


def test_checkpoints_keep_few_layers():
    """What a graph holds on to with volumes, in numbers saved for the gradient."""

    def saved(phi: Diffeo) -> int:
        numbers = 0

        def count(t: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            phi.with_volumes(cloud(2000, 2).requires_grad_())
        return numbers

    field = KernelField(PLAIN, cloud(9, 2), cloud(9, 2, seed=1))
    whole, some = (saved(Flow(field, Midpoint(), 16, checkpoint=c)) for c in (False, True))
    assert some < whole / 4


@wide
@pytest.mark.parametrize("kernel", [FUSED, PLAIN], ids=["compiled", "plain"])
def test_fields_are_slowed_together_as_each_on_its_own(kernel, d):
    """Velocities, norms and their gradients: how slow a contractive field is depends on nothing but itself."""
    x, bounds = cloud(40, d, seed=1).requires_grad_(), (0.5, 2.0, 30.0)
    whole = Flow([Contractive(f, b) for f, b in zip(trained(kernel, d).fields, bounds, strict=True)])
    alone = [Flow([field]) for field in whole.fields]
    z, volumes, energy = x, [], 0.0
    for layer in alone:  # of three times the length, each
        velocity = layer.fields[0].frozen()
        volumes.append(torch.linalg.det(torch.eye(d, dtype=z.dtype) + velocity.jacobian(z) / 3))
        z, energy = z + velocity(z) / 3, energy + layer.energy() / 3
    moved, found = whole.with_volumes(x)
    assert relative(moved, z) < 1e-13
    assert relative(found, torch.stack(volumes)) < 1e-12
    value = (like(z, 3) * z).sum() + (like(found, 4) * torch.stack(volumes)).sum() + energy
    exact = torch.autograd.grad(value, [x, *whole.parameters()])
    assert all(relative(a, b) < 1e-10 for a, b in zip(gradients(whole, x), exact, strict=True))


def test_a_field_at_rest_is_not_slowed():
    phi = Flow(Contractive(TrainedKernelField(FUSED, cloud(9, 2)), 1.0), steps=3)
    x = cloud(30, 2).requires_grad_()
    assert float(phi.energy().detach()) == 0
    assert distance(phi(x), x) == 0
    assert all(bool(g.isfinite().all()) for g in gradients(phi, x))
