"""Laws of learning rates that change."""

import copy
import math
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from diffeo import Cosine, Schedule
from tests.fit.networks import batches, run, unknowns, whole

MOMENTUM = partial(torch.optim.SGD, lr=0.1, momentum=0.5)


class Watched(torch.optim.SGD):
    """Keeps the rates of its steps."""

    seen: list[float]

    def step(self, closure=None):
        self.seen.append(self.param_groups[0]["lr"])
        return super().step(closure)


def rates(on, schedule, **options):
    """The learning rate at each step."""
    seen = []

    def make(parameters):
        optimizer = Watched(parameters, lr=0.1)
        optimizer.seen = seen
        return optimizer

    run(on, optimizer=make, schedule=schedule, **options)
    return seen


def test_a_cosine_falls_from_1_to_0_after_a_rise():
    plain, warm = Cosine(), Cosine(0.25)
    assert [plain.factor(s) for s in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert [warm.factor(s) for s in (0.125, 0.25, 0.625, 1.0)] == pytest.approx([0.5, 1.0, 0.5, 0.0])
    assert 0 < warm.factor(0.0) < 0.1
    with pytest.raises(ValueError, match="warmup"):
        Cosine(1.0)


@pytest.mark.parametrize(("on", "steps"), [(whole, 6), (batches, 18)])
def test_it_is_followed_at_every_step(on, steps):
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * k / steps)) for k in range(steps)]
    assert rates(on(), Cosine()) == pytest.approx(expected)


def test_schedulers_of_torch_take_a_step_per_epoch():
    expected = [0.1] * 6 + [0.05] * 6 + [0.025] * 6
    assert rates(batches(), partial(lr_scheduler.StepLR, step_size=2, gamma=0.5)) == pytest.approx(expected)
    plateau = partial(lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.99)
    assert rates(batches(), plateau)[3 * 5] < 0.02  # nothing is 99 % better than before


def one_cycle(optimizer):
    """A schedule that changes momenta, too."""
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=20)


def two_phases(optimizer):
    """A schedule of schedules."""
    rise = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [rise, lr_scheduler.ExponentialLR(optimizer, 0.7)], [2])


SCHEDULES = {
    "cosine": Cosine(0.2),
    "steps": partial(lr_scheduler.StepLR, step_size=2, gamma=0.3),
    "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=1),
    "one cycle": one_cycle,
    "two phases": two_phases,
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # SequentialLR calls its parts in a way it deprecates
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize("on", [whole, batches])
def test_resuming_is_exact(on, schedule):
    options = {"optimizer": MOMENTUM, "schedule": schedule, "max_iterations": 6}
    phi, fitted, history = run(on(), **options)
    states = []

    def stop(record):
        if record.iteration == 4:
            raise KeyboardInterrupt  # what is planned stays the same, only the end comes early

    with pytest.raises(KeyboardInterrupt):
        run(on(), save=lambda state: states.append(copy.deepcopy(state)), callbacks=[stop], **options)
    again, its_loss, resumed = run(on(), state=states[2], **options)
    assert [r.objective for r in resumed.records] == [r.objective for r in history.records]
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))


@pytest.mark.parametrize("schedule", [Cosine(), partial(lr_scheduler.ExponentialLR, gamma=0.5)], ids=["own", "torch"])
def test_after_a_divergence_all_later_steps_are_shorter(schedule):
    seen = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    history = run(batches(), optimizer=partial(Watching, lr=100.0), schedule=schedule)[2]
    assert len(history) == 7
    assert max(seen) == 100.0
    assert max(seen[-17:]) <= 1.0
    assert seen[-1] < 0.2 * max(seen[-18:])


def test_a_schedule_may_begin_with_a_resumption():
    state = run(whole(), optimizer=MOMENTUM, max_iterations=3)[2].state
    history = run(whole(), optimizer=MOMENTUM, schedule=Cosine(), state=state)[2]
    assert history.state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.1 * Cosine().factor(5 / 6))


class Constant(Schedule):
    """A part of the rate."""

    def factor(self, progress):
        return 0.5


def test_a_schedule_of_ones_own():
    assert set(rates(whole(), Constant())) == {0.05}
