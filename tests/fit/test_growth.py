"""Laws of maps that grow beneath a read-out."""

import copy
import itertools

import pytest
import torch

from diffeo import Batches, CrossEntropyLoss, Descent, GaussianKernel, LinearReadOut, Points, fit
from tests.fit.networks import F64
from tests.oracles import cloud

KERNEL = GaussianKernel(0.5)


def rings(n=60):
    """Points (n, 2) on a disk and on a ring around it, with labels: no line parts them."""
    x = cloud(n, 2, size=1.0)
    labels = (torch.arange(n) % 2).long()
    radii = torch.where(labels == 0, 0.4, 1.2).to(x)
    return x / x.norm(dim=1, keepdim=True) * radii[:, None], labels


def classifier():
    """Two scores that know nothing: with them nothing pulls."""
    head = LinearReadOut(2, 2, weight=torch.zeros(2, 2, dtype=F64), offset=torch.zeros(2, dtype=F64))
    return CrossEntropyLoss(head)


def grown(on, layers=8, **options):
    phi, loss = Descent(KERNEL), classifier()
    return phi, loss, fit(phi, on, loss, weight=0.0, max_iterations=layers, tolerance=0.0, **options)


def test_layers_and_read_out_lower_the_loss_in_turn():
    x, labels = rings()
    phi, loss, history = grown([(Points(x), labels)])
    values = [r.data for r in history.records]
    assert all(b < a for a, b in itertools.pairwise(values))
    assert len(phi.fields) == 8
    assert values[-1] < 0.75 * values[0]
    # the read-out is close to the best one for where the points have got to
    head, moved = copy.deepcopy(loss), phi @ Points(x)
    fit(Descent(KERNEL), [(moved, labels)], head, weight=0.0, max_iterations=1)
    assert float(head(moved, labels).detach()) > 0.9 * values[-1]


def test_batches_grow_on_all_points_at_once():
    x, labels = rings()
    phi, loss, _ = grown([(Points(x), labels)], 4)
    other, its_loss, _ = grown(Batches(x, labels, 7), 4)
    assert torch.equal(other(x), phi(x))
    assert torch.equal(its_loss.head.weight, loss.head.weight)


def test_growth_goes_on_with_its_read_out():
    x, labels = rings()
    phi, loss, whole = grown([(Points(x), labels)], 6)
    states = []
    grown([(Points(x), labels)], 2, save=states.append)
    again, its_loss, resumed = grown([(Points(x), labels)], 6, state=states[-1])
    assert [r.objective for r in resumed.records] == [r.objective for r in whole.records]
    assert torch.equal(again(x), phi(x))
    assert torch.equal(its_loss.head.weight, loss.head.weight)


def test_a_fixed_read_out_stays():
    x, labels = rings()
    loss = CrossEntropyLoss(LinearReadOut(2, 2, trained=False).to(F64))
    before = loss.head.weight.clone()
    history = fit(Descent(KERNEL), [(Points(x), labels)], loss, weight=0.0, max_iterations=3)
    assert history[-1].data < history[0].data
    assert torch.equal(loss.head.weight, before)


@pytest.mark.parametrize("n", [1, 3])
def test_a_refit_that_does_not_help_is_taken_back(n):
    """Labels that a read-out parts already: its scale runs away, and the loss goes to 0, but never up."""
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=F64).repeat(n, 1)
    history = fit(Descent(KERNEL), [(Points(x), torch.tensor([0, 1]).repeat(n))], classifier(), weight=0.0)
    values = [r.data for r in history.records]
    assert all(b <= a for a, b in itertools.pairwise(values))
    assert values[-1] < 1e-3
