"""Maps in files: every map of the zoo comes back as it was."""

import pytest
import torch

from diffeo.core import Inverse
from diffeo.io.transform import decode, describe, encode, load, save
from diffeo.io.tree import load_tree, save_tree
from diffeo.laws import Gaussian, Mixture, Transported, Uniform
from tests import zoo
from tests.oracles import cloud, distance


@pytest.mark.parametrize(
    ("entry", "d"),
    zoo.plane_first(zoo.each(zoo.DIFFEOS)),
    ids=str,
)
def test_maps_come_back(entry, d, tmp_path):
    """The same points go to the same places, in the same precision; the energy is the same."""
    for dtype in zoo.DTYPES:
        phi, x = entry(d, dtype), cloud(9, d, dtype)
        save(tmp_path / "phi.safetensors", phi, {"why": "a test"})
        again = load(tmp_path / "phi.safetensors")
        assert type(again) is type(phi)
        assert not any(p.requires_grad for p in again.parameters())
        with torch.no_grad():
            assert distance(again(x), phi(x)) <= entry.inexact
            assert distance(again.inverse(x), phi.inverse(x)) <= entry.inexact
            torch.testing.assert_close(again.energy(), phi.energy())
        assert {k: v.dtype for k, v in again.state_dict().items()} == {k: v.dtype for k, v in phi.state_dict().items()}
    assert describe(tmp_path / "phi.safetensors")["why"] == "a test"


@pytest.mark.parametrize("entry", [entry for entry in zoo.DIFFEOS if not entry.inexact], ids=str)
@pytest.mark.slow
def test_inverses_and_compositions_come_back(entry, tmp_path):
    phi, x = zoo.affine(2, torch.float64, 3) @ Inverse(entry(2)), cloud(9, 2)
    save(tmp_path / "phi.safetensors", phi)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "phi.safetensors")(x), phi(x))


@pytest.mark.parametrize("kind", [Gaussian, Mixture, Uniform, Transported])
def test_laws_are_described_as_maps_are(kind, tmp_path):
    """In a file among other things; with their state they come back to the last bit."""
    x = cloud(5, 2)
    law = Gaussian(torch.tensor([0.3, -1.0]).double(), torch.tensor([[0.7, 0.0], [0.2, 1.3]]).double())
    if kind is Mixture:
        law = Mixture(torch.tensor([0.3, 0.7]).double(), cloud(2, 2), torch.stack([law.factor, 2 * law.factor]))
    elif kind is Uniform:
        law = Uniform(x.amin(0), x.amax(0))
    elif kind is Transported:
        law = Transported(zoo.affine(2, torch.float64, 3), law)
    save_tree(tmp_path / "law.safetensors", {"law": encode(law), "state": dict(law.state_dict())})
    tree, _ = load_tree(tmp_path / "law.safetensors")
    again = decode(tree["law"])
    again.load_state_dict(tree["state"])
    assert type(again) is kind
    assert torch.equal(again.log_prob(x), law.log_prob(x))
