"""``diffeo info``: counts, topology and defects against shapes where they are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from diffeo.cli.main import main
from diffeo.core import Inverse
from diffeo.flows import Warp
from diffeo.grid import Grid
from diffeo.io import load, save, write
from diffeo.io.grids import with_grids
from diffeo.shapes import Image
from tests.cli.files import AFFINE, FACES, OCTAHEDRON, boxes, octahedron, ring, scan, transform, warp


def facts(capsys, path):
    assert main(["info", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_cloud(tmp_path, capsys):
    found = facts(capsys, ring(tmp_path / "a.txt", n=20))
    assert (found["type"], found["points"], found["dimension"]) == ("Points", 20, 2)
    assert found["extent"] == pytest.approx([2, 2])
    assert found["mean spacing"] == pytest.approx(2 * math.sin(math.pi / 20))
    assert found["defects"] == {}


def test_a_closed_surface(tmp_path, capsys):
    found = facts(capsys, octahedron(tmp_path / "a.off"))
    assert (found["type"], found["points"], found["faces"], found["components"]) == ("Mesh", 6, 8, 1)
    assert found["surface"] == "closed"
    assert found["volume"] == pytest.approx(4 / 3)
    assert found["area"] == pytest.approx(4 * math.sqrt(3))
    assert found["mean edge"] == pytest.approx(math.sqrt(2))
    assert found["Euler number"] == 2
    assert found["normals"] == "outward"
    assert found["defects"] == {}


def test_an_inside_out_surface(tmp_path, capsys):
    found = facts(capsys, octahedron(tmp_path / "a.off", faces=[face[::-1] for face in FACES]))
    assert found["normals"] == "inward"


def test_an_open_surface_in_two_parts(tmp_path, capsys):
    found = facts(capsys, octahedron(tmp_path / "a.off", faces=[FACES[0], FACES[6]]))
    assert found["surface"] == "open, 6 boundary edges"
    assert found["components"] == 2
    assert found["volume"] is None


@pytest.mark.parametrize(
    ("vertices", "faces", "defects"),
    [
        ((*OCTAHEDRON, OCTAHEDRON[0]), FACES, {"duplicated points": 1, "unreferenced points": 1}),
        (OCTAHEDRON, (*FACES, (0, 0, 1)), {"degenerate faces": 1, "non-manifold edges": 1}),
        (OCTAHEDRON, (*FACES, (2, 1, 0)), {"repeated faces": 1, "non-manifold edges": 3}),
        (OCTAHEDRON, (*FACES[:-1], FACES[-1][::-1]), {"edges that faces of opposite orientation share": 3}),
    ],
)
def test_defects_are_counted(vertices, faces, defects, tmp_path, capsys):
    found = facts(capsys, octahedron(tmp_path / "a.off", vertices=vertices, faces=faces))["defects"]
    assert defects.items() <= found.items()


def curve(path, x, edges):
    lines = ["# vtk DataFile Version 3.0", "curve", "ASCII", "DATASET POLYDATA", f"POINTS {len(x)} float"]
    lines += [f"{a} {b} 0" for a, b in x]
    lines += [f"LINES {len(edges)} {3 * len(edges)}", *(f"2 {a} {b}" for a, b in edges)]
    lines += [f"POINT_DATA {len(x)}", "SCALARS signal float 1", "LOOKUP_TABLE default", *("1" for _ in x)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_curve_with_a_loop_an_arc_and_a_lonely_point(tmp_path, capsys):
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    x = [*square, (5, 5), (6, 5), (9, 9)]
    path = curve(tmp_path / "a.vtk", x, [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5)])
    found = facts(capsys, path)
    assert (found["type"], found["segments"], found["components"]) == ("Curve", 5, 2)
    assert found["length"] == pytest.approx(5)
    assert found["curve"] == "open, 2 end points"
    assert found["defects"] == {"unreferenced points": 1}
    assert found["plane"] == "all points have z = 0"
    assert any(line.startswith("signal: ") for line in found["attributes"])


def test_a_transform(tmp_path, capsys):
    found = facts(capsys, transform(tmp_path / "t.safetensors", d=3))
    assert found["kind"] == "Compose"
    assert [part["kind"] for part in found["parts"]] == ["Affine", "Geodesic"]
    geodesic = found["parts"][1]
    assert geodesic["scales"] == [1.0]
    assert geodesic["controls"] == "float64 (8, 3)"
    assert (found["dimension"], found["seed"], found["parameters"]) == (3, 3, {"loss": "varifold"})
    assert found["energy"] > 0


def test_a_transform_of_images(tmp_path, capsys):
    """Displacements are (d, *grid): their last axis is not the dimension."""
    grid = Grid((14, 12, 10), torch.from_numpy(AFFINE))
    found = facts(capsys, warp(tmp_path / "t.safetensors", metadata=with_grids({"seed": 3}, fixed=grid)))
    assert (found["dimension"], found["energy"], found["seed"]) == (3, 2.0, 3)
    assert found["parts"][1]["grid"] == "14 × 12 × 10, spacing 2 × 1 × 1.5"
    assert found["grids"]["fixed"]["shape"] == [14, 12, 10]
    phi = load(tmp_path / "t.safetensors")
    save(tmp_path / "i.safetensors", Inverse(phi))
    assert facts(capsys, tmp_path / "i.safetensors")["dimension"] == 3
    plane = Grid((9, 7), torch.eye(3))
    save(tmp_path / "p.safetensors", Inverse(Warp(plane, torch.zeros(2, 9, 7))))
    assert facts(capsys, tmp_path / "p.safetensors")["dimension"] == 2


def test_an_image(tmp_path, capsys):
    found = facts(capsys, scan(tmp_path / "a.nii.gz"))
    assert (found["type"], found["dimension"], found["grid"], found["channels"]) == ("Image", 3, [14, 12, 10], 1)
    assert (found["numbers"], found["positions"]) == ("float32", "RAS+ millimeters")
    assert found["spacing"] == pytest.approx([2, 1, 1.5])
    assert found["extent"] == pytest.approx([26, 13.5, 11])
    assert found["lower corner"] == pytest.approx([-16, -4, 3])
    assert found["affine"][0] == pytest.approx([-2, 0, 0, 10])
    assert found["looks like"].startswith("intensities")
    labels = facts(capsys, boxes(tmp_path / "b.nii.gz", ((3, 3, 2), (7, 8, 6)), ((7, 3, 2), (11, 8, 8))))
    assert labels["looks like"].startswith("a label map")
    assert labels["labels"] == [1, 2]
    flat = facts(capsys, boxes(tmp_path / "c.nii.gz"))
    assert flat["defects"] == {"constant channels": 1}


def test_where_the_axes_of_an_image_point(tmp_path, capsys):
    values = torch.zeros(1, 4, 5, 6)
    values[0, :2] = 3
    turn = torch.eye(4).double()
    turn[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])  # by 36.9 degrees
    for name, affine, expected in (
        ("las", torch.diag(torch.tensor([-2.0, 1, 3, 1])), "LAS"),
        ("psr", torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]), "PSR"),
        ("oblique", turn, "RAS, oblique by 36.9 degrees"),
    ):
        write(tmp_path / f"{name}.nii", Image(values, Grid((4, 5, 6), affine)))
        found = facts(capsys, tmp_path / f"{name}.nii")
        assert found["orientation"] == expected
        assert found["nonzero part"] == 0.5
    write(tmp_path / "plane.nii", Image(values[..., 0], Grid((4, 5), torch.diag(torch.tensor([-1.0, -1, 1])))))
    assert facts(capsys, tmp_path / "plane.nii")["orientation"] == "LP"
    write(tmp_path / "a.png", Image(values[..., 0], Grid((4, 5), torch.eye(3)[[1, 0, 2]])))
    found = facts(capsys, tmp_path / "a.png")
    assert found["orientation"] is None
    assert (found["positions"], found["numbers"]) == ("pixels (x = column, y = row)", "uint8")


@pytest.mark.parametrize("make", [octahedron, transform, ring, scan, boxes, warp])
def test_text_says_the_same_as_json(make, tmp_path, capsys):
    suffix = {octahedron: "off", transform: "safetensors", ring: "txt", warp: "safetensors"}.get(make, "nii.gz")
    path = make(tmp_path / f"a.{suffix}")
    found = facts(capsys, path)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == str(path)
    for name, value in found.items():
        if value not in (None, [], {}):
            assert name in text
        if isinstance(value, str):
            assert value in text


def test_one_point_has_no_spacing(tmp_path, capsys):
    np.savetxt(tmp_path / "a.txt", [[1.0, 2.0]])
    assert facts(capsys, tmp_path / "a.txt")["mean spacing"] is None
