"""Descent on a grid: what is remembered is never stale; copies, files and other precisions go on as it would have."""

import copy
import pickle

import pytest
import torch

from diffeo.fit import fit
from diffeo.kernels import GaussianKernel, Matern52Kernel
from diffeo.losses import SSDLoss
from diffeo.shapes import Points
from tests import zoo
from tests.flows.grown import KERNEL, oblique, pair_on, still
from tests.oracles import cloud, distance

F32, F64 = torch.float32, torch.float64
KERNELS = [KERNEL, GaussianKernel(1.5), Matern52Kernel(0.5), GaussianKernel(0.6) + 0.3 * GaussianKernel(0.2)]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=zoo.named)
GRID = oblique(20, 18)
PAIR = pair_on(GRID)


def grown(layers=2, **options):
    """A map that has grown."""
    phi = still(GRID, **options)
    for _ in range(layers):
        assert phi.grow([PAIR], SSDLoss())
    return phi


def fresh(phi):
    """Where the map takes the source, without anything remembered."""
    return PAIR[0].carried(phi)


# ---- memory


@torch.no_grad()
def test_a_shape_is_carried_once_until_the_map_grows():
    phi = grown()
    moved = phi @ PAIR[0]
    assert phi @ PAIR[0] is moved
    phi.grow([PAIR], SSDLoss())
    assert distance((phi @ PAIR[0]).values, moved.values) > 1e-3
    assert torch.equal((phi @ PAIR[0]).values, fresh(phi).values)


@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "replaced", "loaded", "regrown", "to float64"])
def test_changed_maps_are_seen(change):
    phi, other = still(GRID, dtype=F32 if "64" in change else F64), grown(3)
    before = phi @ PAIR[0]
    if change == "in place":
        phi.u += other.u
    elif change == "replaced":
        phi.u = other.u.clone()
    elif change == "loaded":
        phi.load_state_dict(other.state_dict())
    elif change == "regrown":
        phi.regrow(other.growth())
    else:
        phi.u.copy_(other.u)
        phi @ PAIR[0]
        phi.to(F64)
    assert distance((phi @ PAIR[0]).values, before.values) > 1e-3
    assert torch.equal((phi @ PAIR[0]).values, fresh(phi).values)


def test_gradients_are_there_after_a_call_without():
    phi, shape = grown(), Points(cloud(5, 2).requires_grad_())
    with torch.no_grad():
        assert not (phi @ shape).x.requires_grad
    assert (phi @ shape).x.requires_grad
    with torch.inference_mode():
        phi @ PAIR[0]
    assert phi.grow([PAIR], SSDLoss())


@torch.no_grad()
def test_little_is_kept():
    phi = grown()
    for k in range(9):
        phi @ Points(cloud(5, 2, seed=k))
    assert len(phi._carried) <= 4
    phi.grow([PAIR], SSDLoss())
    assert not phi._carried


# ---- copies


@kernels
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda phi: pickle.loads(pickle.dumps(phi))])
def test_copies_go_on_as_the_map_does(kernel, copied):
    phi = grown(kernel=kernel)
    with torch.no_grad():
        phi @ PAIR[0]
    other = copied(phi)
    assert not other._carried
    for grows in (phi, other):
        assert grows.grow([PAIR], SSDLoss())
    assert torch.equal(other.u, phi.u)
    assert float(other.energy()) == float(phi.energy())
    assert other.grown == phi.grown == 3


def test_what_was_carried_is_not_pickled():
    phi = grown()
    size = len(pickle.dumps(phi))
    with torch.no_grad():
        phi @ pair_on(oblique(100, 100))[0]
    assert len(pickle.dumps(phi)) == size


@kernels
def test_precisions_go_the_same_way(kernel):
    single, double = still(GRID, kernel, F32), still(GRID, kernel, F32).to(F64)
    pair = [image.to(F32) for image in PAIR]
    for _ in range(4):
        assert single.grow([tuple(pair)], SSDLoss())
        assert double.grow([PAIR], SSDLoss())
    assert (single.u.dtype, double.u.dtype) == (F32, F64)
    assert distance(single.u, double.u) < 1e-4
    assert single.to(F64).grow([PAIR], SSDLoss())
    assert single.u.dtype == F64


def test_maps_grow_in_a_precision_of_their_own():
    """Images in double precision, the map in single precision, and the other way round."""
    for dtype, images in ((F32, PAIR), (F64, tuple(image.to(F32) for image in PAIR))):
        phi = still(GRID, dtype=dtype)
        assert phi.grow([images], SSDLoss())
        assert phi.u.dtype == dtype
        assert (phi @ images[0]).values.dtype == images[0].values.dtype


# ---- growth


@kernels
def test_growth_goes_on_where_it_was_saved(kernel):
    """Through `fit`, to the last bit, with the same records."""
    states = []
    straight, again = still(GRID, kernel), still(GRID, kernel)
    options = {"weight": 1e-3, "tolerance": 0.0}
    whole = fit(straight, [PAIR], SSDLoss(), max_iterations=6, save=states.append, **options)
    kept = copy.deepcopy(states[2])
    resumed = fit(again, [PAIR], SSDLoss(), max_iterations=6, state=kept, **options)
    assert torch.equal(again.u, straight.u)
    assert float(again.energy()) == float(straight.energy())
    assert again.grown == straight.grown > 3
    assert [r.objective for r in resumed.records] == [r.objective for r in whole.records]
    assert torch.equal(states[2]["phi"]["u"], kept["phi"]["u"])  # what was saved is not written to


def test_arguments_build_a_map_that_goes_on():
    phi = grown(step=0.3, relaxation=0.4)
    other = type(phi)(**phi.arguments())
    for grows in (phi, other):
        assert grows.grow([PAIR], SSDLoss())
    assert torch.equal(other.u, phi.u)
    assert float(other.energy()) == float(phi.energy())
    assert repr(other) == repr(phi)
    assert "20 × 18, 3 layers" in repr(phi)


def test_what_has_grown_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"cannot go on from a displacement of shape \(2, 20, 18\): build it on the"):
        still(oblique(18, 20)).regrow(grown().growth())
