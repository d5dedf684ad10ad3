"""Maps in files: every map of the zoo comes back as it was."""

import pytest
import torch

from diffeo.core import Inverse
from diffeo.io.transform import describe, load, save
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
def test_inverses_and_compositions_come_back(entry, tmp_path):
    phi, x = zoo.affine(2, torch.float64, 3) @ Inverse(entry(2)), cloud(9, 2)
    save(tmp_path / "phi.safetensors", phi)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "phi.safetensors")(x), phi(x))
