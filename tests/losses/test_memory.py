"""What is remembered of tensors is what would be computed of them now."""

import copy
import gc
import pickle
import weakref

import pytest
import torch

from diffeo.backends.cpu.grids import CPUGrids
from diffeo.losses import LNCCLoss
from diffeo.losses.memory import Memory
from tests import zoo

F64 = torch.float64


class Counted:
    """A computation that counts how often it is done."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *tensors):
        self.calls += 1
        return sum(t.sum() for t in tensors if t is not None)


def test_results_are_given_again_for_the_same_tensors_only():
    memory, work, x, y = Memory(), Counted(), torch.rand(3), torch.rand(3)
    assert memory(work, x, y) is memory(work, x, y)
    assert memory(work, x.detach(), y) is memory(work, x, y)
    assert work.calls == 1
    for other in ((y, x), (x.clone(), y), (x, None), (None, x), (x,), (x[:2], y), (x.view(3, 1), y), (x.double(), y)):
        before = work.calls
        assert memory(work, *other) == Counted()(*other)
        assert work.calls == before + 1
    assert memory(work, x, None) is memory(work, x, None)


ALIASES = {"itself": lambda x: x, "detached": lambda x: x.detach(), "a part": lambda x: x[1:]}


@pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES)
def test_writing_through_an_alias_is_noticed(alias):
    memory, work, x = Memory(), Counted(), torch.rand(3)
    memory(work, x)
    alias(x).add_(1.0)
    assert memory(work, x) == x.sum()
    assert work.calls == 2


def test_another_tensor_at_the_same_place_is_another_tensor():
    memory, work = Memory(), Counted()
    for k in range(20):
        x = torch.full((1000,), float(k))  # where the last one was, as likely as not
        assert memory(work, x) == 1000 * k
        del x
    assert len(memory) == 0


def test_nothing_outlives_the_tensors():
    memory, x, y = Memory(), torch.rand(3), torch.rand(3)
    result = memory(lambda *tensors: torch.ones(5), x, y)
    gone = weakref.ref(result)
    del result, y
    assert len(memory) == 0
    assert gone() is None


def test_the_memory_itself_goes_without_the_garbage_collector():
    x = torch.rand(3)
    memory = Memory()
    gone = weakref.ref(memory(lambda x: torch.ones(5), x))
    gc.disable()
    try:
        del memory
        assert gone() is None
    finally:
        gc.enable()
    del x  # and nothing is called that is not there any more


def test_there_is_a_limit():
    memory, work, tensors = Memory(), Counted(), [torch.rand(2) for _ in range(Memory.SIZE + 3)]
    for t in tensors:
        memory(work, t)
    assert len(memory) == Memory.SIZE
    memory(work, tensors[-1])
    assert work.calls == len(tensors)
    memory(work, tensors[0])
    assert work.calls == len(tensors) + 1


def test_what_a_gradient_is_recorded_through_is_not_remembered():
    memory, work, x = Memory(), Counted(), torch.rand(3, requires_grad=True)
    memory(work, x).backward()
    memory(work, x).backward()  # a second time through a graph that is freed would be an error
    assert (work.calls, len(memory)) == (2, 0)
    with torch.no_grad():
        assert memory(work, x) is memory(work, x)
    with torch.inference_mode():
        y = torch.rand(3)
        assert memory(work, y) == y.sum()


def test_copies_start_empty():
    memory, x = Memory(), torch.rand(3)
    memory(Counted(), x)
    for other in (copy.copy(memory), copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert (type(other), len(other)) == (Memory, 0)


# ---- as local correlation uses it


@pytest.fixture
def evaluations(monkeypatch):
    """The calls of the loop."""
    calls, loop = [], CPUGrids.correlation
    monkeypatch.setattr(CPUGrids, "correlation", lambda *args: calls.append(0) or loop(*args))
    return calls


@pytest.mark.parametrize("kind", zoo.IMAGES, ids=str)
def test_the_value_and_then_the_gradient_cost_one_evaluation(kind, evaluations):
    source, target, loss = kind(2, seed=1), kind(2, seed=2), LNCCLoss(1)
    channels = len(source.values)
    for k in range(3):
        moved = zoo.with_numbers(source, zoo.numbers(source) + 0.1 * k)
        with torch.no_grad():
            value = loss(moved, target)
        x = moved.values.detach().requires_grad_()
        again = loss(zoo.with_numbers(moved, x), target)
        (gradient,) = torch.autograd.grad(again, x)
        assert again == value
        assert len(evaluations) == channels * (k + 2)  # and one for what the target explains of itself
        (expected,) = torch.autograd.grad(LNCCLoss(1)(zoo.with_numbers(moved, x), target), x)
        assert torch.equal(gradient, expected)
        del evaluations[-2 * channels :]  # those of the other loss


def test_images_changed_in_place_are_compared_anew(evaluations):
    source, target, loss = zoo.IMAGE(2, seed=1), zoo.IMAGE(2, seed=2), LNCCLoss(1)
    first = loss(source, target)
    source.values[0, :5] += 1
    assert loss(source, target) != first
    assert loss(source, target) == LNCCLoss(1)(source, target)
    target.values[0, :5] += 1
    assert loss(source, target) == LNCCLoss(1)(source, target)


def test_losses_keep_nothing_of_images_that_are_gone():
    target, loss = zoo.IMAGE(2, seed=2), LNCCLoss(1)
    source = zoo.IMAGE(2, seed=1)
    loss(source, target)
    assert (len(loss._pairs), len(loss._own)) == (1, 1)
    del source
    assert (len(loss._pairs), len(loss._own)) == (0, 1)
    del target
    assert len(loss._own) == 0
