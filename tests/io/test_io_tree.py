"""Trees of tensors come back exactly, and nothing else is taken for one."""

import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from diffeo.io import load_tree, save_tree

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int8,
    torch.uint8,
    torch.int16,
    torch.int32,
]
DTYPES += [torch.int64, torch.bool, torch.complex64, torch.complex128]

tensors = st.builds(
    lambda dtype, shape: (torch.arange(math.prod(shape)).reshape(shape) % 5 - 2).to(dtype),
    st.sampled_from(DTYPES),
    st.sampled_from([(), (0,), (3,), (2, 3), (2, 0, 4)]),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8")), tensors)
keys = st.one_of(
    st.integers(), st.text(st.characters(codec="utf-8"), max_size=5), st.sampled_from(["a.b", "a", "b", "0", ""])
)
trees = st.recursive(
    leaves,
    lambda node: st.one_of(
        st.lists(node, max_size=3),
        st.lists(node, max_size=3).map(tuple),
        st.dictionaries(keys, node, max_size=3),
    ),
    max_leaves=12,
)


def same(a, b):
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return (
            list(a) == list(b)
            and all(type(k) is type(h) for k, h in zip(a, b, strict=True))
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return a == b


@settings(deadline=None, max_examples=60)
@given(tree=trees)
def test_round_trip(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    save_tree(path, tree, {"version": 1})
    back, metadata = load_tree(path)
    assert same(back, tree)
    assert metadata == {"version": 1}


def test_equal_trees_make_equal_files(tmp_path):
    tree = {"é": [torch.arange(5), torch.ones(3).double(), 0.1], "b": torch.zeros(2, dtype=torch.uint8)}
    contents = []
    for k in range(6):
        save_tree(tmp_path / f"{k}", tree, {"two": 2, "one": "ü"})
        contents.append((tmp_path / f"{k}").read_bytes())
    assert len(set(contents)) == 1
    start = 8 + int.from_bytes(contents[0][:8], "little")
    assert start % 8 == 0
    back, metadata = load_tree(tmp_path / "0")
    assert same(back, tree)
    assert metadata == {"two": 2, "one": "ü"}


def test_views_strides_and_gradients(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tree = {"a": base, "b": base[1:], "c": base.T, "d": torch.nn.Parameter(base), "e": base[0].expand(5, 4)}
    save_tree(tmp_path / "t", tree)
    back, metadata = load_tree(tmp_path / "t")
    assert metadata == {}
    for name, value in tree.items():
        assert torch.equal(back[name], value)
        assert back[name].is_contiguous()
        assert not back[name].requires_grad


def test_the_same_memory_is_written_once_and_comes_back_as_tensors_of_their_own(tmp_path):
    """Also a view of all of it is the same memory; what is read otherwise (its conjugate) or partly is not."""
    a, z = torch.arange(3000.0), torch.complex(torch.arange(500.0), torch.ones(500))
    phi = torch.nn.Parameter(a)
    once, many = {"a": a, "z": z}, {"a": a, "state": [phi, phi.detach(), a.view(3000)], "z": (z, z.view(500))}
    save_tree(tmp_path / "once", once)
    save_tree(tmp_path / "many", many)
    assert (tmp_path / "many").stat().st_size < (tmp_path / "once").stat().st_size + 500
    back, _ = load_tree(tmp_path / "many")
    assert same(back, {"a": a, "state": [a, a, a], "z": (z, z)})
    back["a"].zero_()
    back["z"][0].zero_()
    assert same(back["state"], [a, a, a])
    assert same(back["z"][1], z)
    others = {
        "a": a,
        "part": a[:1000],
        "shape": a.view(3, 1000),
        "z": z,
        "conjugate": z.conj(),
        "bits": a.view(torch.int32),
    }
    save_tree(tmp_path / "others", others)
    assert same(load_tree(tmp_path / "others")[0], {name: value.resolve_conj() for name, value in others.items()})


def test_files_in_which_everything_is_written_as_often_as_it_occurs_are_read(tmp_path):
    """As before version 1 learned to write the same memory once."""
    a = torch.arange(5.0)
    skeleton = {"dict": [["map", {"tensor": "map"}], ["state", [{"tensor": "state.0"}, {"float": (0.5).hex()}]]]}
    header = {"format": "diffeo-tree", "version": "1", "tree": json.dumps(skeleton), "metadata": "{}"}
    save_file({"map": a, "state.0": a.clone()}, tmp_path / "t", header)
    assert same(load_tree(tmp_path / "t")[0], {"map": a, "state": [a, 0.5]})


def test_names_in_the_file_tell_where_a_tensor_is(tmp_path):
    from safetensors import safe_open

    save_tree(tmp_path / "t", {"phi": [{"momenta": torch.ones(2)}], "phi.0": {"momenta": torch.zeros(2)}})
    with safe_open(tmp_path / "t", framework="pt") as file:
        assert set(file.keys()) == {"phi.0.momenta", "phi.0.momenta'"}
    back, _ = load_tree(tmp_path / "t")
    assert back["phi"][0]["momenta"].tolist() == [1, 1]
    assert back["phi.0"]["momenta"].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ],
    ids=["LBFGS", "Adam", "SGD"],
)
def test_an_optimizer_goes_on_exactly(tmp_path, optimizer, dtype):
    """Bit for bit: sums depend on the alignment of memory, so the tensors must not lie in the file's."""

    def steps(p, opt, count):
        def closure():
            opt.zero_grad()
            loss = (p**4).sum() + (p[0] * p[1]).sum()
            loss.backward()
            return loss

        for _ in range(count):
            opt.step(closure)
        return p.detach().clone()

    start = torch.randn(31, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    p = torch.nn.Parameter(start.clone())
    opt = optimizer([p])
    steps(p, opt, 2)
    save_tree(tmp_path / "t", {"x": torch.ones(5, dtype=torch.uint8), "optimizer": opt.state_dict(), "p": p})
    expected = steps(p, opt, 3)
    tree, _ = load_tree(tmp_path / "t")
    q = torch.nn.Parameter(tree["p"])
    resumed = optimizer([q])
    resumed.load_state_dict(tree["optimizer"])
    assert torch.equal(steps(q, resumed, 3), expected)


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"a": {1, 2}}, "at 'a' there is a builtins.set"),
        ({"a": [1, torch.float32]}, "at 'a.1' there is a torch.dtype"),
        (object(), "at 'its root' there is a builtins.object"),
        ({(1, 2): 3}, "keys of a tree are texts or numbers, and at 'its root' there is a tuple"),
    ],
)
def test_what_a_tree_cannot_hold(tmp_path, tree, reason):
    with pytest.raises(ValueError, match=reason):
        save_tree(tmp_path / "t", tree)
    assert list(tmp_path.iterdir()) == []


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="must be what JSON can hold"):
        save_tree(tmp_path / "t", {}, {"a": torch.ones(2)})
    assert list(tmp_path.iterdir()) == []


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "t.safetensors"
    save_tree(path, {"a": torch.ones(3), "b": [1.5, None]}, {"k": "v"})
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=f"cannot read {re.escape(str(path))}: it is (empty|truncated)"):
            load_tree(path)


def complaint(path):
    """What ``load_tree`` has against a file; None if nothing."""
    try:
        load_tree(path)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.slow
def test_damaged_trees_never_raise_anything_else(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "t.safetensors"
    save_tree(path, {"a": torch.ones(3), "b": [1.5, None, {"c": (1, 2)}]}, {"k": "v"})
    content = path.read_bytes()

    @settings(deadline=None, max_examples=150)
    @given(at=st.integers(0, len(content) - 1), byte=st.integers(0, 255))
    def law(at, byte):
        path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        message = complaint(path)
        assert message is None or (str(path) in message and "\n" not in message)

    law()


def test_foreign_files(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="not one that diffeo has written"):
        load_tree(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="truncated or not a safetensors file"):
        load_tree(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="there is no such file"):
        load_tree(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="it is a folder"):
        load_tree(tmp_path)
    save_tree(tmp_path / "d", {})
    (tmp_path / "d").write_bytes((tmp_path / "d").read_bytes().replace(b'"version":"1"', b'"version":"9"'))
    with pytest.raises(ValueError, match="has version 9 and 1 is expected; update diffeo"):
        load_tree(tmp_path / "d")
