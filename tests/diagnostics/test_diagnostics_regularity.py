"""Fields whose regularity in depth and space is known."""

import math

import pytest
import torch

from diffeo.diagnostics import certificate, depth_slope, regularity
from diffeo.fields import FeatureField, KernelField
from diffeo.flows import FieldGeodesic, Flow, Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.solvers import RK4
from tests import zoo
from tests.oracles import cloud

F64 = torch.float64
DEPTHS = (4, 8, 16, 32)


def features(theta: torch.Tensor, kernel=None) -> FeatureField:
    """A field with the given coefficients."""
    return FeatureField(kernel or GaussianKernel(0.7), 2, len(theta), 0, theta)


def smooth(depth: int) -> Flow:
    """Fields on a smooth path in time."""
    a, b = cloud(40, 2), cloud(40, 2, seed=1)
    times = [k / depth for k in range(depth)]
    return Flow([features(math.cos(3 * t) * a + math.sin(3 * t) * b) for t in times])


def rough(depth: int) -> Flow:
    """Independent ones."""
    return Flow([features(cloud(40, 2, seed=100 * depth + k)) for k in range(depth)])


# ---- in depth


def test_layers_on_a_smooth_path_differ_by_one_over_the_depth():
    found = [regularity(smooth(depth), cloud(5, 2)) for depth in DEPTHS]
    assert [one.depth for one in found] == list(DEPTHS)
    assert depth_slope(found) == pytest.approx(-1, abs=0.1)


def test_independent_layers_differ_as_much_at_every_depth():
    assert depth_slope([regularity(rough(depth), cloud(5, 2)) for depth in DEPTHS]) == pytest.approx(0, abs=0.15)


@pytest.mark.slow
def test_geodesics_are_smooth_in_time():
    """Whichever way velocities are known: by momenta on moving controls, or by coefficients."""
    x, p = cloud(6, 2), cloud(6, 2, seed=1)
    for make in (
        lambda steps: Geodesic(GaussianKernel(0.7), x, RK4(), steps, p),
        lambda steps: FieldGeodesic(features(cloud(40, 2)), x, RK4(), steps, p),
    ):
        assert depth_slope([regularity(make(depth), x) for depth in DEPTHS[:3]]) == pytest.approx(-1, abs=0.2)


def test_jumps_are_distances_in_the_space():
    first, second = cloud(40, 2), cloud(40, 2, seed=1)
    found = regularity(Flow([features(first), features(second)]), cloud(5, 2))
    assert found.jumps == pytest.approx([float((first - second).norm())])
    assert found.norms == pytest.approx([float(first.norm()), float(second.norm())])
    c, d = cloud(4, 2), cloud(4, 2, seed=3)
    apart = Flow([KernelField(GaussianKernel(0.5), q, cloud(4, 2, seed=5)) for q in (c, d)], carried=True)
    q, r = [layer.velocity.controls for layer in apart.layers()]
    p, s = [layer.velocity.momenta for layer in apart.layers()]
    kernel = GaussianKernel(0.5)
    square = (p * (kernel(q) @ p)).sum() - 2 * (p * (kernel(q, r) @ s)).sum() + (s * (kernel(r) @ s)).sum()
    assert regularity(apart, c).jumps == pytest.approx([float(square.detach().sqrt())])
    network = zoo.PERCEPTRON_FIELDS[1]
    a, b = network(2), network(2, seed=1)
    assert regularity(Flow([a, b]), c).largest_jump > 0
    assert regularity(Flow([a, a]), c).largest_jump == 0


def test_a_slope_needs_two_depths():
    one = regularity(smooth(8), cloud(5, 2))
    for few in ([], [one], [one, one], [one, regularity(Flow(features(cloud(40, 2)), steps=3), cloud(5, 2))]):
        with pytest.raises(ValueError, match="at least two depths"):
            depth_slope(few)
    assert regularity(smooth(1), cloud(5, 2)).largest_jump == 0


# ---- in space


@pytest.mark.parametrize("omega", [5.0, 20.0])
def test_one_wave_has_one_frequency(omega):
    theta = torch.zeros(2, 1, dtype=F64)
    theta[0] = 1
    wave = FeatureField(GaussianKernel(1.0), 1, 2, 0, theta, torch.tensor([[omega]], dtype=F64))
    found = regularity(Flow(wave, steps=1), cloud(60, 1, size=1.0))
    peak = found.frequencies[found.power[0].argmax()]
    width = float(found.frequencies[1])
    assert float(peak) == pytest.approx(omega, abs=width)
    assert float(found.bandwidths[0]) == pytest.approx(omega, abs=2 * width)
    assert float(found.power.sum()) == pytest.approx(1)


@pytest.mark.parametrize("scale", [0.2, 0.4])
def test_random_fields_of_a_gaussian_kernel_have_its_spectrum(scale):
    """log power against ω² is a line of slope −σ²/2, over many powers of ten; the bandwidth is 1/σ."""
    fields = [features(cloud(500, 2, seed=k), GaussianKernel(scale)) for k in range(8)]
    found = regularity(Flow(fields), cloud(60, 2, size=2.0))
    assert found.bandwidths.mean() == pytest.approx(1 / scale, rel=0.1)
    low = (found.frequencies > 0.3 / scale) & (found.frequencies < 3.0 / scale)
    x, y = found.frequencies[low].square(), found.power.mean(0)[low].log()
    x = x - x.mean()
    assert float((x * y).sum() / x.square().sum()) == pytest.approx(-(scale**2) / 2, rel=0.1)


def test_the_spectrum_does_not_depend_on_units():
    phi, x = smooth(3), cloud(20, 2)
    here, there = regularity(phi, x), regularity(phi.rescaled(10.0, torch.zeros(2)), 10 * x)
    assert there.frequencies == pytest.approx(here.frequencies / 10)
    assert there.power == pytest.approx(here.power)
    assert there.singular_values == pytest.approx(here.singular_values)


# ---- lengths


def test_singular_values_are_those_of_the_jacobian():
    """A dipole that stretches by 1 + h|Dv| at its center, and nothing elsewhere."""
    c = torch.tensor([[-1e-3, 0.0], [1e-3, 0.0]], dtype=F64)
    field = KernelField(GaussianKernel(1.0), c, torch.tensor([[-100.0, 0.0], [100.0, 0.0]], dtype=F64), whiten=False)
    x = torch.tensor([[0.0, 0.0], [50.0, 0.0]], dtype=F64)
    found = regularity(Flow(field, steps=1), x)
    assert found.singular_values == pytest.approx(torch.tensor([[1.2, 1.0], [1.0, 1.0]], dtype=F64), rel=1e-4)
    assert "Dφ stretches by 1 to 1.2" in str(found)


@pytest.mark.parametrize(
    "entry",
    [e for e in zoo.DIFFEOS if e.name.startswith(("Flow(", "FieldDescent", "Descent", "FieldGeodesic"))],
    ids=str,
)
def test_everything_with_velocities_can_be_judged(entry):
    """Also what is made of convolutions, networks and layers that grew."""
    x = cloud(6, 2)
    found = regularity(entry(2), x)
    assert found.depth == len(found.jumps) + 1
    assert bool((found.singular_values > 0).all())
    assert found.power.sum(1) == pytest.approx(1)
    if "Adaptive" not in entry.name:
        assert certificate(entry(2), x).looseness >= 1 - 1e-9
