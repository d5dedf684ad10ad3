"""``diffeo apply``: there and back again, and files that keep what they had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffeo.cli.main import main
from diffeo.io import read
from diffeo.io.transform import load
from tests.cli.files import octahedron, ring, transform
from tests.cli.test_cli_main import one_sentence


def run(*argv):
    return main(["apply", *map(str, argv)])


def test_points_go_where_the_map_takes_them(tmp_path):
    phi, shape, out = transform(tmp_path / "t.safetensors"), ring(tmp_path / "a.txt"), tmp_path / "moved.txt"
    assert run(phi, shape, "-o", out) == 0
    expected = load(phi)(torch.from_numpy(np.loadtxt(shape))).detach().numpy()
    assert np.loadtxt(out) == pytest.approx(expected, abs=1e-9)


def test_inverse_undoes(tmp_path):
    phi, shape = transform(tmp_path / "t.safetensors", d=3), octahedron(tmp_path / "a.off")
    there, back = tmp_path / "there.off", tmp_path / "back.off"
    assert run(phi, shape, "-o", there) == run(phi, there, "-o", back, "--inverse") == 0
    a, b = read(shape), read(back)
    assert torch.equal(a.faces, b.faces)
    assert torch.allclose(a.x, b.x, atol=1e-5)


def test_another_format_may_be_asked_for(tmp_path):
    phi, shape = transform(tmp_path / "t.safetensors", d=3), octahedron(tmp_path / "a.off")
    assert run(phi, shape, "-o", tmp_path / "moved.ply") == 0
    assert len(read(tmp_path / "moved.ply").faces) == 8


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda d: (transform(d / "t.safetensors", d=3), ring(d / "a.txt"), d / "b.txt"), "dimension 3"),
        (lambda d: (d / "none.safetensors", ring(d / "a.txt"), d / "b.txt"), "no such file"),
        (lambda d: (transform(d / "t.safetensors"), d / "none.txt", d / "b.txt"), "no such file"),
        (lambda d: (transform(d / "t.safetensors"), ring(d / "a.txt"), d), "it is a folder"),
        (lambda d: (transform(d / "t.safetensors"), ring(d / "a.txt"), d / "a.txt" / "b.txt"), "is a file"),
        (lambda d: (transform(d / "t.safetensors"), ring(d / "a.txt"), d / "b.xyzzy"), "xyzzy"),
        (lambda d: (ring(d / "t.txt"), ring(d / "a.txt"), d / "b.txt"), "t.txt"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(prepare, words, tmp_path, capsys):
    phi, shape, out = prepare(tmp_path)
    assert run(phi, shape, "-o", out) == 2
    err = capsys.readouterr().err
    assert words in err
    assert one_sentence(err)
    assert not out.exists() or out.is_dir()
