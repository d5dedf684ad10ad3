"""Data, loss and modules follow the map to its device."""

import pytest
import torch

from diffeo import Cosine, Points
from tests.fit.networks import ADAM, batches, data, loss, network, run, train, unknowns, whole

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("on", [whole, batches])
def test_a_map_on_a_gpu_takes_everything_there(on):
    expected, its_loss, history = run(on(), optimizer=ADAM, schedule=Cosine())
    phi, fitted = network().cuda(), loss()
    x, y = data(9, seed=5)
    gpu = train(phi, on(), fitted, optimizer=ADAM, schedule=Cosine(), validation=[(Points(x), y)])
    assert unknowns(phi, fitted).is_cuda
    assert (unknowns(phi, fitted).cpu() - unknowns(expected, its_loss)).abs().max() < 1e-8
    assert [r.objective for r in gpu.records] == pytest.approx([r.objective for r in history.records], rel=1e-8)


def test_resuming_on_a_gpu_is_exact():
    ends = []
    state = train(network().cuda(), batches(), loss(), optimizer=ADAM, max_iterations=2).state
    for given in (None, state):
        phi, fitted = network().cuda(), loss()
        train(phi, batches(), fitted, optimizer=ADAM, max_iterations=5, state=given)
        ends.append(unknowns(phi, fitted))
    assert torch.equal(*ends)
