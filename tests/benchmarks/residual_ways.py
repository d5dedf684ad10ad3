"""All ways to train one residual network, on part of MNIST: loss, and errors on other digits, against CPU seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.core import Diffeo
from diffeo.fit import Batches
from diffeo.losses import RidgeLoss
from diffeo.losses.readout import ReadOutLoss
from diffeo.training import SuccessiveApproximations
from diffeo.viz.scales import logarithmic
from diffeo.viz.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, SMALL, VERMILION, caption
from tests.benchmarks import mnist
from tests.benchmarks.mnist import Digits

ROWS, OTHERS, BATCH = 1000, 1000, 100
WEIGHT = 1e-5  # λ: the plain method of successive approximations needs one
BUDGET = 15.0  # CPU seconds for each way
COLORS, MARKS = (BLUE, VERMILION, GREEN, PURPLE, INK, ORANGE, SKY, FAINT, BLUE, VERMILION), "os^DvPX*<>"


class Spent(Exception):
    """The budget is."""


@dataclass
class Clock:
    """What a way has reached after how many CPU seconds; looking at it costs none."""

    phi: Diffeo
    loss: ReadOutLoss
    known: tuple[Tensor, Tensor]
    others: tuple[Tensor, Tensor]
    budget: float
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spent, self.since = 0.0, time.process_time()

    def __call__(self, _: Any) -> None:
        """After an iteration. Raises Spent at the end."""
        self.spent += time.process_time() - self.since
        with torch.no_grad():
            (x, y), (z, labels) = self.known, self.others
            moved = diffeo.Points(self.phi(x))
            if isinstance(self.loss, RidgeLoss):
                self.loss.remember(moved, y)
            value = float(self.loss(moved, y))
            scores = self.loss.predict(diffeo.Points(self.phi(z)))
        self.seconds.append(self.spent)
        self.losses.append(value)
        self.errors.append(float((scores.argmax(1) != labels).double().mean()))
        self.since = time.process_time()
        if self.spent > self.budget:
            raise Spent


@dataclass(frozen=True)
class Way:
    """A map, a loss, what lowers it, and whether it is shown a batch at a time."""

    optimizer: Any
    batches: bool = False
    model: Callable[[Tensor], Diffeo] = lambda x: mnist.network()
    loss: Callable[[], ReadOutLoss] = lambda: diffeo.CrossEntropyLoss(mnist.read_out())


def layer() -> diffeo.ConvField:
    """The field of a layer."""
    return diffeo.ConvField(mnist.SHAPE, mnist.HIDDEN)


def sgd(rate: float, momentum: float = 0.0) -> Any:
    """Gradient descent."""
    return partial(torch.optim.SGD, lr=rate, momentum=momentum, nesterov=momentum > 0)


MUON = partial(torch.optim.Muon, lr=0.1, momentum=0.9, weight_decay=0.0)
WAYS = {
    "SGD as published": Way(sgd(0.5), batches=True),
    "gradient in V, momentum": Way(diffeo.InV(sgd(0.2, 0.9)), batches=True),
    "Adam": Way(partial(torch.optim.Adam, lr=0.01), batches=True),
    "Muon": Way(MUON, batches=True),
    "L-BFGS": Way(diffeo.LBFGS),
    "successive approximations": Way(SuccessiveApproximations(extended=False)),
    "successive approximations, extended": Way(SuccessiveApproximations()),
    "read-out projected, L-BFGS": Way(diffeo.LBFGS, loss=lambda: RidgeLoss(1.0, mnist.CLASSES)),
    "boosting": Way(diffeo.LBFGS, model=lambda x: diffeo.FieldDescent(layer())),
    "shooting": Way(
        diffeo.LBFGS, model=lambda x: diffeo.FieldGeodesic(layer(), x[:200], diffeo.Midpoint(), mnist.DEPTH)
    ),
}


def followed(way: Way, known: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], budget: float) -> Clock:
    """One way, from its start until the budget is spent or nothing is left to gain."""
    phi, loss = way.model(known[0]), way.loss()
    data: Any = Batches(*known, BATCH) if way.batches else [(diffeo.Points(known[0]), known[1])]
    clock = Clock(phi, loss, known, others, budget)
    clock(None)
    with contextlib.suppress(Spent):
        diffeo.fit(
            phi,
            data,
            loss,
            weight=WEIGHT,
            optimizer=way.optimizer,
            max_iterations=10**6,
            tolerance=None,
            callbacks=[clock],
        )
    return clock


def draw(train: Digits, file: Path, budget: float = BUDGET) -> None:
    """Every way, and the picture."""
    z = mnist.encoded(train.images[: ROWS + OTHERS])
    known, others = (z[:ROWS], train.labels[:ROWS]), (z[ROWS:], train.labels[ROWS : ROWS + OTHERS])
    figure = Figure(figsize=(9.6, 5.0))
    edges = {"left": 0.065, "right": 0.99, "bottom": 0.29, "top": 0.93, "wspace": 0.16}
    axes = figure.subplots(1, 2, gridspec_kw=edges)
    for (name, way), color, mark in zip(WAYS.items(), COLORS, MARKS, strict=True):
        clock = followed(way, known, others, budget)
        relative = [value / clock.losses[0] for value in clock.losses]
        print(
            f"{name:36} {clock.seconds[-1]:5.0f} CPU s, loss {relative[-1]:.1e} of what it was, other digits "
            f"{100 * clock.errors[-1]:.1f} %",
            flush=True,
        )
        look = {"color": color, "marker": mark, "ms": 5, "lw": 1.6, "ls": "-" if way.batches else "--"}
        for ax, values in zip(axes, (relative, clock.errors), strict=True):
            ax.plot(clock.seconds, values, label=name, markevery=max(1, len(values) // 7), **look)
    for ax, title in zip(
        axes, (f"Loss on {ROWS:,} digits, over its start", f"Errors on {OTHERS:,} others"), strict=True
    ):
        logarithmic(ax, "CPU seconds", "")
        caption(ax, title)
        ax.set_xlim(0, 1.1 * budget)
        ax.get_legend().remove()
    axes[0].set_ylim(1e-5, 2)
    handles, names = axes[0].get_legend_handles_labels()
    names = [f"{name}, batches" if WAYS[name].batches else name for name in names]
    figure.legend(handles, names, fontsize=SMALL, loc="lower center", ncols=3, frameon=False, handlelength=3)
    figure.savefig(file, dpi=140)
