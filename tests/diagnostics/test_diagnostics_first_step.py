"""A small step of training from the identity is non-local diffusion."""

import math

import pytest
import torch

from diffeo.diagnostics import first_step, non_local_diffusion
from diffeo.diagnostics.convergence import ends
from diffeo.fields import FeatureField, KernelField
from diffeo.flows import Flow
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from diffeo.solvers import Euler, Heun
from tests import zoo
from tests.oracles import cloud, distance, relative

RESTING = [
    *zoo.KERNEL_FIELDS[:1],
    *zoo.FEATURE_FIELDS[:1],
    *zoo.PERCEPTRON_FIELDS[1:],
    *zoo.CONV_FIELDS,
    *zoo.CONTRACTIVE_FIELDS,
]
PAIRS = [(Points(cloud(6, 2)), Points(cloud(6, 2, seed=1))), (Points(cloud(3, 2, seed=2)), Points(cloud(3, 2, seed=3)))]


def at_rest(entry, layers: int = 3, **options) -> Flow:
    """A flow of different fields without velocity."""
    phi = Flow([entry(2, seed=k) for k in range(layers)], **options)
    for field in phi.layer_fields():
        outer = getattr(field, "outer", None)  # of networks: their inner weights are not 0
        with torch.no_grad():
            for p in [outer] if isinstance(outer, torch.nn.Parameter) else field.parameters():
                p.zero_()
    return phi


@pytest.mark.parametrize("entry", RESTING, ids=str)
@pytest.mark.parametrize("solver", [Euler(), Heun()], ids=repr)
@pytest.mark.slow
def test_a_gradient_step_moves_every_point_by_non_local_diffusion_to_first_order(entry, solver):
    phi, x = at_rest(entry, solver=solver), cloud(20, 2, seed=5)
    large, small = (first_step(phi, PAIRS, LandmarkLoss(), x, rate) for rate in (2e-3, 1e-3))
    assert large.linear.norm(dim=1).min() > 0
    assert relative(large.linear, 2 * small.linear) < 1e-12
    assert small.error < 0.02
    assert math.log2(large.error / small.error) == pytest.approx(1, abs=0.2)
    assert phi.energy() == 0  # it was left as it is


def test_the_diffusion_is_that_of_the_kernel():
    """−Σ_j k(|x − z_j|²) p_j with p_j = 2(z_j − y_j)/n, up to the draw of features, or the ridge of momenta."""
    kernel, pairs, x = GaussianKernel(0.7), PAIRS[:1], cloud(20, 2, seed=5)
    z, y = pairs[0][0].x, pairs[0][1].x
    expected = kernel(x, z) @ (2 * (y - z) / 6)
    wide = Flow(FeatureField(kernel, 2, 20000, coefficients=torch.zeros(20000, 2, dtype=torch.float64)), steps=2)
    assert relative(first_step(wide, pairs, LandmarkLoss(), x, 1e-3).linear / 1e-3, expected) < 0.03
    nystrom = Flow(KernelField(kernel, z), steps=2)
    assert relative(first_step(nystrom, pairs, LandmarkLoss(), x, 1e-3).linear / 1e-3, expected) < 0.05  # the ridge
    momenta = ends(wide, pairs, LandmarkLoss())[1]
    assert distance(momenta, 2 * (z - y) / 6) < 1e-14


def test_networks_diffuse_by_their_tangent_kernel():
    """With outer weights at 0 only these move, and the kernel is that of the frozen features."""
    phi, x = at_rest(zoo.PERCEPTRON_FIELDS[1]), cloud(20, 2, seed=5)
    z, p = cloud(4, 2), cloud(4, 2, seed=1)
    frozen = Flow([field.linear() for field in phi.layer_fields()])
    assert relative(non_local_diffusion(phi, z, p, x), non_local_diffusion(frozen, z, p, x)) < 1e-12


def test_only_the_identity_of_a_layered_map_has_a_first_step():
    with pytest.raises(ValueError, match="at the identity"):
        first_step(Flow(zoo.FEATURE_FIELDS[0](2)), PAIRS, LandmarkLoss(), cloud(3, 2), 1e-3)
    with pytest.raises(ValueError, match="one field per layer"):
        first_step(Flow(zoo.FEATURE_FIELDS[0](2), shared=True), PAIRS, LandmarkLoss(), cloud(3, 2), 1e-3)
