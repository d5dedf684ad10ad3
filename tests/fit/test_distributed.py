"""Several processes give what one gives."""

from __future__ import annotations

import copy
import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from diffeo import Batches, Cosine, Descent, Geodesic, LandmarkLoss, Points, fit
from diffeo.fit import LBFGS
from diffeo.fit.distributed import World
from tests.fit.networks import ADAM, SGD, data, loss, network, train, unknowns
from tests.fit.test_growth import KERNEL, classifier, rings
from tests.oracles import cloud

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available() or sys.platform == "win32", reason="torch.distributed is not there"),
]


def by_batches(n, size, optimizer, **options):
    """Trained on batches, the map of another process being another one."""
    phi, fitted = network(), loss(seed=World().rank)
    with torch.no_grad():
        for p in phi.parameters():
            p.add_(World().rank)
    validation = [(Points(data(9, seed=4)[0]), data(9, seed=4)[1])] * 3
    history = train(phi, Batches(*data(n), size), fitted, optimizer=optimizer, validation=validation, **options)
    return unknowns(phi, fitted), history


def resumed():
    """Taken up from a state that the first process alone has."""
    phi, fitted = network(), loss()
    state = train(phi, Batches(*data(41), 7), fitted, optimizer=ADAM, max_iterations=2).state
    phi, fitted = network(), loss()
    here = copy.deepcopy(state) if World().rank == 0 else None
    history = train(phi, Batches(*data(41), 7), fitted, optimizer=ADAM, max_iterations=4, state=here)
    return unknowns(phi, fitted), history


def by_pairs(count):
    """L-BFGS on a list of pairs, which are shared; its line search decides alike in all processes."""
    sources = [Points(cloud(8 + k, 2, seed=k)) for k in range(count)]
    pairs = [(source, Points(1.1 * source.x + 0.2)) for source in sources]
    phi = Geodesic(KERNEL, sources[0].x, steps=4)
    history = fit(phi, pairs, LandmarkLoss(), weight=1e-2, optimizer=LBFGS, max_iterations=10, tolerance=0.0)
    return unknowns(phi), history


def by_loader(distributed):
    """Batches of a DataLoader; with a DistributedSampler, half of each in either of two processes."""
    rows, world = TensorDataset(*data(40)), World()
    if distributed and world.size > 1:
        sampler = DistributedSampler(rows, shuffle=False)
        loader = DataLoader(rows, batch_size=8, sampler=sampler)
    else:
        options = {} if distributed else {"shuffle": True, "generator": torch.Generator().manual_seed(3)}
        loader = DataLoader(rows, batch_size=16, **options)
    phi, fitted = network(), loss()
    return unknowns(phi, fitted), train(phi, loader, fitted)


def by_growth():
    """Every process grows the whole."""
    x, labels = rings()
    phi, fitted = Descent(KERNEL), classifier()
    return phi(x), fit(phi, [(Points(x), labels)], fitted, weight=0.0, max_iterations=3)


def diverging():
    """The share of one process alone has a point far away, on which the first steps fail."""
    x, y = data(40)
    y[-1] = 1e3
    phi, fitted = network(), loss()
    step = partial(torch.optim.SGD, lr=100.0)
    history = train(phi, Batches(x, y, 40, shuffle=False), fitted, optimizer=step)
    return unknowns(phi, fitted), history


CASES = {
    "even shares": partial(by_batches, 40, 10, SGD),
    "uneven shares": partial(by_batches, 41, 7, ADAM, schedule=Cosine()),
    "more processes than points": partial(by_batches, 5, 1, SGD),
    "taken up": resumed,
    "L-BFGS on pairs": partial(by_pairs, 3),
    "one pair": partial(by_pairs, 1),
    "a loader": partial(by_loader, False),
    "a loader that shares": partial(by_loader, True),
    "a map that grows": by_growth,
    "steps that diverge": diverging,
}


def work(rank, size, port, folder):
    """What a process does: all cases, one after the other."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        results = {}
        for name, case in CASES.items():
            end, history = case()
            results[name] = (end, [(r.objective, r.validation) for r in history.records])
        refused = []
        try:
            train(network(), DataLoader(TensorDataset(*data(40)), batch_size=8, shuffle=True), loss())
        except ValueError as error:
            refused.append(str(error))
        try:  # one of them alone has bad data
            train(network(), Batches(*data(40), 8, shape=partial(spoiled, rank)), loss())
        except (ValueError, RuntimeError) as error:
            refused.append(str(error))
        calls = []
        train(network(), Batches(*data(40), 8), loss(), callbacks=[calls.append], save=calls.append)
        torch.save((results, refused, len(calls)), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def spoiled(rank, x):
    """Points, except in the second process."""
    if rank == 1:
        raise ValueError("these are no points.")
    return Points(x)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found, each."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(work, (2, port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_what_one_gives(found, name):
    end, history = CASES[name]()
    records = torch.tensor([(r.objective, r.validation or 0.0) for r in history.records])
    for results, _, _ in found:
        its_end, its_records = results[name]
        assert (its_end - end).abs().max() < 1e-10 * end.abs().max()
        its_records = torch.tensor([(objective, score or 0.0) for objective, score in its_records])
        assert its_records.shape == records.shape
        assert ((its_records - records).abs() <= 1e-10 * records.abs()).all()
    assert torch.equal(found[0][0][name][0], found[1][0][name][0])


def test_bad_input_in_one_process_ends_all(found):
    for _, (loader, _), _ in found:
        assert "without a generator of its own" in loader
    assert found[0][1][1].startswith("another process of this fit failed")
    assert found[1][1][1] == "these are no points."


def test_the_first_process_alone_reports_and_saves(found):
    assert [calls for _, _, calls in found] == [2 * 6, 0]
