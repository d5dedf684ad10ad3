"""Laws of flows that compute again instead of keeping: the same gradients, in less memory."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffeo import Euler, FeatureField, Flow, GaussianKernel, Inverse, KernelField, Midpoint, PerceptronField
from diffeo.io import load, save
from tests.oracles import cloud

KERNEL = GaussianKernel(1.0)


def features(seed):
    return FeatureField(KERNEL, 2, 8, seed, cloud(8, 2, seed=seed))


def perceptron(seed):
    return PerceptronField(2, 6, seed=seed, outer=cloud(6, 2, seed=seed)).double()


def momenta(seed):
    return KernelField(KERNEL, cloud(4, 2, seed=seed), cloud(4, 2, seed=seed + 1))


FLOWS = {
    "random features": (features, {}),
    "perceptrons": (perceptron, {"solver": Midpoint()}),
    "momenta": (momenta, {"solver": Midpoint()}),
    "carried momenta": (momenta, {"carried": True}),
    "refined": (perceptron, {"substeps": 2}),
    "one field": (perceptron, {"shared": True, "solver": Midpoint()}),
}


def flow(name, depth, checkpoint):
    make, options = FLOWS[name]
    fields = [make(k) for k in range(1 if options.get("shared") else depth)]
    return Flow(fields, **{"solver": Euler(), "steps": depth, **options}, checkpoint=checkpoint)


def gradients(phi, n=10):
    """The value, and its gradients in the points and in all parameters."""
    x = cloud(n, 2).requires_grad_()
    value = phi(x).sin().sum() + phi.energy()
    value.backward()
    found = [p.grad for p in phi.parameters() if p.grad is not None]
    return value.detach(), torch.cat([x.grad.flatten(), *(g.flatten() for g in found)])


def agree(name, depth, checkpoint):
    value, expected = gradients(flow(name, depth, False))
    again, found = gradients(flow(name, depth, checkpoint))
    assert value == again
    assert (found - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("checkpoint", [True, 2, 5, 40])
@pytest.mark.parametrize("depth", [1, 2, 7, 16])
def test_gradients_are_the_same(depth, checkpoint):
    agree("perceptrons", depth, checkpoint)


@pytest.mark.parametrize("name", FLOWS)
def test_they_are_for_every_field(name):
    agree(name, 10, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random features", "perceptrons"])
def test_they_are_for_a_thousand_layers(name):
    agree(name, 1000, True)


class Meter(TorchDispatchMode):
    """The peak of the memory of all tensors made meanwhile, in bytes."""

    def __init__(self):
        super().__init__()
        self.alive, self.now, self.peak = set(), 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key, size):
        self.alive.discard(key)
        self.now -= size


def peak(name, depth, checkpoint):
    """Of one gradient, without that gradient: that one has as many numbers as there are parameters."""
    phi = flow(name, depth, checkpoint)
    x = cloud(500, 2)
    with Meter() as meter:
        phi(x).square().sum().backward()
    return meter.peak - sum(p.grad.nbytes for p in phi.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perceptrons", "carried momenta"])
def test_memory_grows_like_the_root_of_the_depth(name):
    short, long = (peak(name, depth, True) for depth in (16, 144))
    assert long < 3.6 * short  # nine times as deep
    kept, all_kept = peak(name, 16, False), peak(name, 144, False)
    assert all_kept > 4 * kept
    assert long < all_kept / 3


def test_without_gradients_there_is_nothing_to_keep():
    phi, plain = flow("perceptrons", 9, True), flow("perceptrons", 9, False)
    x = cloud(6, 2)
    with torch.no_grad():
        assert torch.equal(phi(x), plain(x))
    assert torch.equal(Inverse(phi)(x), plain.inverse(x))


def test_it_is_kept_with_the_map(tmp_path):
    for checkpoint in (True, False, 3):
        save(tmp_path / "phi.safetensors", flow("random features", 4, checkpoint))
        again = load(tmp_path / "phi.safetensors")
        assert again.checkpoint is checkpoint
        assert again.with_steps(8).checkpoint is checkpoint
        assert again.rescaled(2.0, torch.zeros(2).double()).checkpoint is checkpoint


def test_one_segment_is_none():
    with pytest.raises(ValueError, match="at least 2 segments, and got 1"):
        flow("perceptrons", 4, 1)
