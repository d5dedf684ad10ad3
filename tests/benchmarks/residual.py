"""The residual network of arXiv 2112.05531 on MNIST: what it learns in how many CPU seconds, and against torchdiffeq.

First an epoch of plain stochastic gradient descent, as published, through diffeo and through torchdiffeq, on part of
the data; seconds are for all 60,000. Targets: 1.8 times faster than ``odeint_adjoint``, 1.2 times faster than
``odeint``, and the gradients of the discrete network. Then training with frozen read-in, first convolutions and
read-out: test error at most 3.0 % (of 3,000, the harder ones) within 260 CPU-s, encoding included (plain descent as
published: 7.3 % at that budget; a linear read-out of the same encoding 10.3 %; a perceptron of as many parameters
3.2 %).
``--figure`` draws all ways to train, loss against CPU seconds, instead.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path

import torch

import diffeo
from diffeo.fit import Cosine
from tests.benchmarks import mnist
from tests.benchmarks import residual_peers as peers
from tests.benchmarks.measure import alternately, table
from tests.benchmarks.mnist import Digits

DATA = Path(__file__).parents[3] / "shared" / "data"
PICTURE = Path(__file__).parents[2] / "assets" / "ways_mnist.png"
BATCH, RATE = 256, 0.5  # of the published descent
PEERS = ("odeint", "odeint_adjoint")


def speed(train: Digits, batches: int) -> None:
    """Seconds of an epoch through diffeo and its peers, alternately."""
    part = train.head(BATCH * batches)
    z = mnist.encoded(part.images)
    data = diffeo.Batches(z, part.labels, BATCH)

    def ours() -> list[float]:
        loss = diffeo.CrossEntropyLoss(mnist.read_out())
        sgd = diffeo.InV(partial(torch.optim.SGD, lr=RATE / mnist.DEPTH))  # the published rate is a Euclidean one
        history = diffeo.fit(mnist.network(), data, loss, weight=0.0, optimizer=sgd, max_iterations=1)
        return [history[-1].data]

    runs = {"diffeo": ours}
    for name in PEERS:
        runs[name] = lambda name=name: peers.epoch(
            peers.through(name, mnist.network(), mnist.read_out(), mnist.SHAPE), data, RATE
        )
    timings = alternately(runs, rounds=3, budget=1e9)
    whole = len(train.images) / len(part.images)
    rows = [
        [name, f"{t.cpu * whole:.1f}", f"{t.cpu / timings['diffeo'].cpu:.2f}", f"{sum(t.result) / len(t.result):.4f}"]
        for name, t in timings.items()
    ]
    print(table(["an epoch", "CPU s", "ratio", "loss"], rows), flush=True)
    print(f"gradients, float64: {', '.join(f'{n} {d:.1e}' for n, d in differences(z.double(), part).items())}")


def differences(z: torch.Tensor, part: Digits) -> dict[str, float]:
    """How far the peers' gradients of a batch are from ours, which are those of the discrete network."""
    phi, head = mnist.network().double(), mnist.read_out().double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in phi.parameters():
            p.copy_(0.03 * torch.randn(p.shape, generator=draw, dtype=p.dtype))
    z, labels = z[:BATCH], part.labels[:BATCH]
    diffeo.CrossEntropyLoss(head)(phi @ diffeo.Points(z), labels).backward()
    ours = torch.stack([p.grad for p in phi.parameters() if p.grad is not None])
    found = {}
    for name in PEERS:
        net = peers.through(name, phi, head, mnist.SHAPE)
        torch.nn.functional.cross_entropy(net(z), labels).backward()
        theirs = torch.stack([p.grad for p in net.parameters() if p.grad is not None]).reshape(ours.shape)
        found[name] = float((theirs - ours).abs().max() / ours.abs().max())
    return found


def learning(train: Digits, test: Digits, epochs: int) -> None:
    """Test error and CPU seconds of the network, all of them counted."""
    if not hasattr(torch.optim, "Muon"):
        print(f"skipped: torch {torch.__version__} has no optimizer Muon; take 2.9 or later.")
        return
    start = time.process_time()
    z = mnist.encoded(train.images)
    phi, loss = mnist.network(), diffeo.CrossEntropyLoss(mnist.read_out())
    # steepest descent in the spectral norm: all directions among channels move equally far (Jordan et al., 2024)
    muon = partial(torch.optim.Muon, lr=0.2, momentum=0.9, weight_decay=0.0)
    data = diffeo.Batches(z, train.labels, BATCH)
    history = diffeo.fit(
        phi, data, loss, weight=0.0, optimizer=muon, max_iterations=epochs, schedule=Cosine(warmup=0.02)
    )
    wrong = mnist.error(phi, loss, mnist.encoded(test.images), test.labels)
    cost = time.process_time() - start
    row = [f"{epochs} epochs", f"{history[-1].data:.4f}", f"{100 * wrong:.2f} %", f"{cost:.0f}"]
    print(table(["frozen but outer convolutions", "loss", "test error", "CPU s"], [row]), flush=True)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.benchmarks residual", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DIFFEO_DATA", DATA), help="holds mnist/…")
    parser.add_argument("--batches", type=int, default=40, help="of 256 that are timed")
    parser.add_argument("--epochs", type=int, default=6, help="of training; 0 to leave it out")
    parser.add_argument("--figure", action="store_true", help="draw all ways to train instead")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    chosen = options(arguments)
    loaded = mnist.load(Path(chosen.data))
    if loaded is None:
        return
    train, test = loaded
    print(f"a residual network on MNIST, {torch.get_num_threads()} thread(s)", flush=True)
    if chosen.figure:
        from tests.benchmarks.residual_ways import draw

        draw(train, PICTURE)
        return
    if chosen.batches:
        speed(train, chosen.batches)
    if chosen.epochs:
        learning(train, test, chosen.epochs)
