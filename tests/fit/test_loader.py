"""Laws of DataLoaders as pairs."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from diffeo import Encoded, LinearReadIn, Loader
from tests.fit.networks import F64, batches, data, loss, network, run, train, unknowns
from tests.oracles import cloud


def loader(seed=None, n=40, **options):
    """Batches of 10, shuffled if there is a seed."""
    if seed is not None:
        options = {"shuffle": True, "generator": torch.Generator().manual_seed(seed), **options}
    return DataLoader(TensorDataset(*data(n)), **{"batch_size": 10, **options})


class Stream(IterableDataset):
    """Points one by one, without a length."""

    def __iter__(self):
        return iter(zip(*data(40), strict=True))


@pytest.mark.parametrize("make", [loader, lambda: DataLoader(Stream(), batch_size=10)], ids=["tensors", "stream"])
def test_a_loader_is_the_batches_it_gives(make):
    phi, fitted, history = run(make())
    other, its_loss, expected = run(batches(40, 10, shuffle=False))
    assert [r.objective for r in history.records] == [r.objective for r in expected.records]
    assert torch.equal(unknowns(phi, fitted), unknowns(other, its_loss))


GENERATED = {
    "a loader's generator": lambda: loader(3),
    "a sampler's generator": lambda: loader(
        sampler=RandomSampler(range(40), generator=torch.Generator().manual_seed(3))
    ),
}


@pytest.mark.parametrize("make", GENERATED.values(), ids=GENERATED.keys())
def test_resuming_is_exact_with_a_generator_of_its_own(make):
    phi, fitted, history = run(make())
    states = []
    run(make(), max_iterations=2, save=states.append)
    torch.rand(7)  # what the global generator does meanwhile does not count
    again, its_loss, resumed = run(make(), state=states[-1])
    assert [r.objective for r in resumed.records] == [r.objective for r in history.records]
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))
    assert history[1].objective != history[2].objective


def test_inputs_go_through_what_makes_a_shape_of_them():
    x = cloud(30, 3)
    read_in = LinearReadIn(3, 2).to(F64)
    rows = DataLoader(TensorDataset(x, torch.sin(x[:, :2])), batch_size=10)
    history = train(network(), Loader(rows, lambda x: Encoded(x, read_in)), loss(), modules=[read_in])
    assert history[-1].data < history[0].data


def test_all_points_of_a_loader():
    x, y = Loader(loader()).whole()
    assert torch.equal(x, data()[0])
    assert torch.equal(y, data()[1])


BAD = {
    "empty": (lambda: loader(n=5, drop_last=True), "a DataLoader with at least one batch"),
    "an empty stream": (lambda: DataLoader(Nothing(), batch_size=2), "at least one batch in every epoch"),
    "no targets": (lambda: DataLoader(data()[0], batch_size=10), "of pairs .x, y. of tensors, and got a Tensor"),
    "three": (
        lambda: DataLoader(TensorDataset(*data(), data()[0]), batch_size=10),
        "of pairs .x, y. of tensors, and got a list of 3",
    ),
    "other precision": (lambda: DataLoader(TensorDataset(*data(dtype=torch.float32)), batch_size=10), "the dtype of"),
    "texts": (lambda: DataLoader([(x, "a") for x in data()[0]], batch_size=10), "tensors x and y, and got"),
}


class Nothing(IterableDataset):
    """No points."""

    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("name", BAD)
def test_bad_loaders_are_refused_in_a_sentence(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        run(make())
    assert "\n" not in str(error.value)
