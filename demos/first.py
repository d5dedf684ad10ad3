"""Two hippocampi from files, registered by the command line: what ``make demo`` runs. (about 15 s)

The surfaces are made in code: one is more bent, twisted and thinner, and no vertex of one belongs to one of the other.
Two small brains, with labels and landmarks, and a table of wines are left beside them for the README's commands.
"""

import json
import math
from pathlib import Path

import torch
from _made import organ
from _pictures import shrink
from sklearn.datasets import load_wine
from volumes import T1, grid, scanned

import diffeo
from diffeo.cli.main import main as shell


def hippocampus(bend: float, twist: float, head: float, toes: list[float], cell: float) -> diffeo.Mesh:
    """A bent and tapering tube with three toes at its head, 40 units (mm, say) long.

    Args:
        bend: the angle between its ends, in radians.
        twist: how far it leaves its plane, in units.
        head: radius of the head, in units.
        toes: directions of the toes, in radians.
        cell: length of the edges, in units.
    """
    t = torch.linspace(0, 1, 30, dtype=torch.float64)
    angle, radius = bend * (t - 0.5), 40 / bend
    spine = torch.stack([radius * angle.sin(), radius * (angle.cos() - 1), twist * (2 * math.pi * t).sin()], 1)
    radii = head - (head - 3) * t**0.8 + 0.5 * (5 * t).sin()
    a = torch.tensor(toes, dtype=torch.float64)
    knobs = spine[1] + 1.3 * head * torch.stack([-a.cos(), torch.full_like(a, -0.3), a.sin()], 1)
    return organ(torch.cat([spine, knobs]), torch.cat([radii, torch.full_like(a, 4.0)]), cell)


def brains(folder: Path, voxel: float) -> None:
    """Write images of two people, their label maps, and landmarks: the middle of everything that has a label."""
    middle = torch.tensor([0.0, -4.0, -6.0], dtype=torch.float64)
    for person, name in enumerate(("moving", "fixed"), 1):
        turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.1, 0.0], [0.1, 0.0, 0.1], [0.0, -0.1, 0.0]])).double()
        pose = diffeo.Affine(turn if name == "moving" else torch.eye(3).double(), torch.zeros(3).double())
        image, labels = scanned(person, grid(voxel * torch.eye(3).double(), middle, (148, 180, 140)), T1, pose)
        diffeo.write(folder / f"{name}.nii.gz", image)
        diffeo.write(folder / f"{name}_labels.nii.gz", labels)
        found, x = labels.values.flatten(), labels.grid.points(torch.zeros(()))
        numbers = found.unique()[1:]
        rows = [[int(number), *x[found == number].mean(0).tolist()] for number in numbers]
        text = "\n".join(",".join(f"{value:g}" for value in row) for row in rows)
        (folder / f"{name}_landmarks.csv").write_text(f"id,x,y,z\n{text}\n", encoding="utf-8")


def tables(folder: Path) -> None:
    """Write what chemists measured of 178 wines from three growers: most to learn from, the others to predict."""
    data = load_wine()
    names = [*data.feature_names, "grower"]
    rows = [[*map(repr, x), "ABC"[k]] for x, k in zip(data.data.tolist(), data.target.tolist(), strict=True)]
    for name, chosen in (("wines", [r for k, r in enumerate(rows) if k % 6]), ("new_wines", rows[::6])):
        text = "\n".join(",".join(row) for row in [names, *chosen])
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")


def main(folder: Path = Path("demo-out"), cell: float = 1.3, voxel: float = 4.0, out: Path | None = None) -> dict:
    """Write surfaces and images, register the surfaces, and read the report; the picture is the report's own."""
    # region
    folder.mkdir(parents=True, exist_ok=True)
    source, target, found = folder / "source.ply", folder / "target.ply", folder / "registration"
    diffeo.write(source, hippocampus(1.3, 1.0, 5.0, [-0.75, 0.0, 0.75], cell))
    diffeo.write(target, hippocampus(2.8, 3.0, 5.0, [-0.9, 0.05, 0.7], 1.03 * cell))

    brains(folder, voxel)
    tables(folder)

    print(f"$ diffeo register {source} {target} -o {found}", flush=True)
    code = shell(["register", str(source), str(target), "-o", str(found)])
    report = json.loads((found / "report.json").read_text())
    print(f"$ diffeo report {found}", flush=True)
    shown = shell(["report", str(found), "--quiet"])
    # endregion
    assert code == shown == 0
    assert report["distance_after"] < report["distance_before"] / 10
    assert report["flipped"] == report["turned"] == 0
    print(f"The picture is {found / 'report.png'}; open {found / 'report.html'} in a browser to turn and move it.")
    if out is not None:
        shrink(found / "report.png", out)
    return report


if __name__ == "__main__":
    main()
