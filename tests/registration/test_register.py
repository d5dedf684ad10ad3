"""Laws of a whole registration: what it promises for every pair, every model, every unit of length."""

import dataclasses
import json

import pytest
import torch

import diffeo
from diffeo import Compose, Descent, Flow, Geodesic, Points
from diffeo.diagnostics import symmetric_distance
from diffeo.registration.scales import extent
from tests.marks import cases
from tests.registration.shapes import ball, bent, blob, cloud, rotation

PAIRS = {
    "curves": (blob(), blob(50, 0.15, 0.5)),
    "surfaces": (ball(), ball(6, 1.0)),
    "clouds": (cloud(), bent(cloud())[0]),
    "cloud and curve": (Points(blob().x), blob(50, 0.15, 0.5)),
}
FIGURES = {
    "energy": float,
    "data_before": float,
    "data_after": float,
    "min_jacobian": float,
    "inverse_error": float,
    "distance_before": float,
    "distance_after": float,
    "seconds": float,
    "iterations": int,
    "converged": bool,
    "parameters": dict,
    "seed": int,
    "versions": dict,
}


@pytest.mark.parametrize("pair", cases(PAIRS, slow=["clouds", "cloud and curve"]))
@pytest.mark.parametrize("model", cases([Geodesic, Flow, Descent], slow=[Flow], name=lambda m: m.__name__))
def test_every_model_brings_every_pair_together_without_folds(pair, model):
    result = diffeo.register(*pair, model=model)
    report = result.report
    greedy, mixed = model is Descent, type(pair[0]) is not type(pair[1])
    assert report["distance_after"] < report["distance_before"] * (0.4 if greedy or mixed else 0.2)
    assert report["data_after"] < report["data_before"] * (0.1 if greedy else 0.02)
    assert report["min_jacobian"] > 0
    assert report["flipped"] in (None, 0)
    assert report["inverse_error"] < 1e-9
    assert report["converged"]


@pytest.mark.parametrize("pair", cases(PAIRS, slow=["clouds", "curves"]))
@pytest.mark.slow
def test_figures_are_those_of_the_map(pair):
    source, target = pair
    result = diffeo.register(source, target)
    report, phi = result.report, result.phi
    for name, kind in FIGURES.items():
        assert isinstance(report[name], kind), name
    json.dumps(report, allow_nan=False)
    x = source.x
    assert torch.equal(result.moved.x, phi(x))
    assert report["min_jacobian"] == pytest.approx(float(phi.with_logdet(x)[1].exp().min()), rel=1e-9)
    assert report["distance_after"] == pytest.approx(symmetric_distance(phi @ source, target).mean, rel=1e-9)
    assert report["energy"] == pytest.approx(float(phi.energy()), rel=1e-9)
    geodesic = phi.diffeos[-1] if isinstance(phi, Compose) else phi
    start = phi.diffeos[0](x) if isinstance(phi, Compose) and len(phi.diffeos) > 1 else x
    finer = geodesic.with_steps(2 * geodesic.steps)
    move = float((finer(start) - geodesic(start)).detach().norm(dim=1).max())
    assert report["step_error"] == pytest.approx(move, rel=1e-6)
    assert report["step_error"] < 3e-4 * report["parameters"]["extent"]
    assert report["hamiltonian_drift"] < 1e-3


@pytest.mark.slow
def test_rigid_motions_of_both_shapes_leave_the_energy_unchanged():
    source, target = cloud(50, 3), bent(cloud(50, 3))[0]
    turn, shift = rotation(3), torch.tensor([3.0, -1.0, 2.0]).double()
    options = {"align": diffeo.NoAlignment(), "dtype": torch.float64, "max_iterations": 300, "tolerance": 1e-7}
    still = diffeo.register(source, target, **options)
    moved = diffeo.register(Points(source.x @ turn.T + shift), Points(target.x @ turn.T + shift), **options)
    assert moved.energy == pytest.approx(still.energy, rel=1e-5)
    assert torch.allclose(moved.moved.x, still.moved.x @ turn.T + shift, atol=1e-4)


@pytest.mark.parametrize("factor", cases([1e-6, 1e3], slow=[1e3]))
@pytest.mark.slow
def test_units_do_not_matter(factor):
    source, target = blob(), blob(50, 0.15, 0.5)
    plain = diffeo.register(source, target, dtype=torch.float64)
    scaled = diffeo.register(
        source.with_positions(factor * source.x), target.with_positions(factor * target.x), dtype=torch.float64
    )
    assert torch.allclose(scaled.moved.x / factor, plain.moved.x, atol=1e-6)
    assert scaled.energy == pytest.approx(factor**2 * plain.energy, rel=1e-5)


def test_a_rigid_motion_costs_nothing():
    source = cloud(80, 3)
    target = Points(source.x @ rotation(3, 0.4).T + torch.tensor([1.0, 2.0, 3.0]).double())
    result = diffeo.register(source, target)
    assert result.report["distance_after"] < 1e-4
    assert result.energy < 1e-6


def test_identical_shapes_are_left_alone():
    result = diffeo.register(blob(), blob())
    assert result.converged
    assert result.energy == 0
    assert torch.equal(result.moved.x, blob().x)


def test_options_are_obeyed_and_reported():
    pair = PAIRS["clouds"]
    result = diffeo.register(
        *pair, scale=[0.5, 1.0], steps=6, solver=diffeo.Heun(), controls=20, weight=1.0, loss=diffeo.LandmarkLoss,
        align=diffeo.NoAlignment(), max_iterations=7, tolerance=0.0, dtype=torch.float64,
    )  # fmt: skip
    phi = result.phi
    assert isinstance(phi, Geodesic)
    assert phi.steps == 6
    assert phi.solver == diffeo.Heun()
    assert len(phi.controls) == 20
    assert phi.kernel.scales == pytest.approx((1.0, 0.5))
    assert result.report["iterations"] == 7
    assert not result.converged
    assert result.report["parameters"]["loss"] == "LandmarkLoss()"


@pytest.mark.slow
def test_a_dearer_deformation_is_smaller():
    energies = [diffeo.register(*PAIRS["clouds"], weight=w).energy for w in (0.03, 3.0, 300.0)]
    assert energies[0] > energies[1] > energies[2]


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("model", cases([Geodesic, Flow, Descent], slow=[Flow], name=lambda m: m.__name__))
@pytest.mark.parametrize("after", cases([3, 14], slow=[14]))
@pytest.mark.slow
def test_resuming_gives_the_same_result(tmp_path, model, after):
    pair, checkpoint = PAIRS["curves"], tmp_path / "checkpoint.safetensors"
    calls = []

    def interrupt(record):
        calls.append(record)
        if len(calls) == after:
            raise Interrupt

    whole = diffeo.register(*pair, model=model)
    with pytest.raises(Interrupt):
        diffeo.register(*pair, model=model, checkpoint=checkpoint, callbacks=[interrupt])
    resumed = diffeo.register(*pair, model=model, checkpoint=checkpoint, resume=True)
    assert torch.equal(resumed.moved.x, whole.moved.x)
    assert resumed.report["iterations"] == whole.report["iterations"]


@pytest.mark.slow
def test_a_checkpoint_of_another_problem_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    diffeo.register(*PAIRS["curves"], max_iterations=2, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="another registration"):
        diffeo.register(*PAIRS["curves"], max_iterations=3, checkpoint=checkpoint, resume=True)


@pytest.mark.slow
def test_saved_and_loaded(tmp_path):
    source, target = PAIRS["surfaces"]
    result = diffeo.register(source, target)
    result.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "history.csv", "moved.ply", "report.json", "report.png", "source.safetensors", "target.safetensors",
        "transform.safetensors",
    ]  # fmt: skip
    phi = diffeo.load(tmp_path / "out" / "transform.safetensors")
    assert torch.equal(phi(source.x), result.moved.x)
    assert result.report.items() <= json.loads((tmp_path / "out" / "report.json").read_text()).items()
    assert torch.allclose(diffeo.read(tmp_path / "out" / "moved.ply").x, result.moved.x, atol=1e-6)


@pytest.mark.slow
def test_faces_that_turned_over_are_put_back():
    source = ball(8)
    x = source.x.clone()
    a, b, c = source.faces[20].tolist()
    x[c] = (x[a] + x[b]) / 2 + 0.01 * (x[c] - x[a])  # a sliver: bending turns it over
    target = ball(8, 2.5)
    result = diffeo.register(source.with_positions(x), target)
    assert result.report["flipped"] == 0
    assert result.report["min_jacobian"] > 0


BAD = {
    "one point": (lambda: (Points(torch.zeros(1, 2)), cloud()), {}, "no extent"),
    "all the same": (lambda: (Points(torch.ones(5, 2)), cloud()), {}, "coincide"),
    "dimensions": (lambda: (cloud(d=2), cloud(d=3)), {}, "one dimension"),
    "not a shape": (lambda: (torch.rand(5, 2), cloud()), {}, "expects Points"),
    "negative scale": (lambda: PAIRS["clouds"], {"scale": -1.0}, "positive"),
    "zero scale": (lambda: PAIRS["clouds"], {"scale": 0.0}, "positive"),
    "no scale": (lambda: PAIRS["clouds"], {"scale": []}, "scale"),
    "nan weight": (lambda: PAIRS["clouds"], {"weight": float("nan")}, "weight"),
    "steps": (lambda: PAIRS["clouds"], {"steps": 0}, "steps"),
    "controls": (lambda: PAIRS["clouds"], {"controls": 2.5}, "controls"),
    "half": (lambda: PAIRS["clouds"], {"dtype": torch.float16}, "float32"),
    "unpaired": (lambda: (cloud(10), cloud(12)), {"loss": diffeo.LandmarkLoss}, "one to one"),
    "no normals": (lambda: PAIRS["clouds"], {"loss": diffeo.VarifoldLoss}, "normals"),
    "model": (lambda: PAIRS["clouds"], {"model": diffeo.Affine}, "models"),
    "huge": (lambda: (Points(1e200 * cloud().x), cloud()), {}, "units"),
}


@pytest.mark.parametrize(("pair", "options", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_clear_sentence(pair, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        diffeo.register(*pair(), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_duplicated_points_and_degenerate_faces_are_fine():
    source, target = PAIRS["surfaces"]
    x = torch.cat([source.x, source.x[:3]])
    faces = torch.cat([source.faces, torch.tensor([[0, 0, 1], [5, 5, 5]])])
    result = diffeo.register(dataclasses.replace(source, x=x, faces=faces), target)
    assert result.report["distance_after"] < 0.3 * result.report["distance_before"]
    assert torch.isfinite(result.moved.x).all()


def with_stray_points(shape, *places):
    """The shape, with points that belong to none of its cells, the first of all and the last."""
    stray = shape.x.new_tensor(places)
    name = "faces" if isinstance(shape, diffeo.Mesh) else "edges"
    x = torch.cat([stray[:1], shape.x, stray[1:]])
    return dataclasses.replace(shape, x=x, **{name: getattr(shape, name) + 1})


def test_the_extent_is_that_of_points_that_belong_to_a_cell():
    source = ball()
    assert extent(with_stray_points(source, [1e3] * 3)) == extent(source)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [PAIRS["curves"], PAIRS["surfaces"]], ids=["curves", "surfaces"])
def test_points_that_belong_to_no_cell_change_nothing(pair):
    source, target = pair
    d = source.x.shape[1]
    strays = with_stray_points(source, [0.0] * d, [1e3] * d), with_stray_points(target, [-50.0] * d, [0.0] * d)
    bare, found = (diffeo.register(*p, max_iterations=5, dtype=torch.float64) for p in (pair, strays))
    assert torch.allclose(found.moved.x[1:-1], bare.moved.x, atol=1e-5)
    for name in (
        "energy",
        "data_after",
        "min_jacobian",
        "max_jacobian",
        "distance_before",
        "distance_after",
        "flipped",
    ):
        assert found.report[name] == pytest.approx(bare.report[name], rel=1e-3), name
    assert found.report["inverse_error"] < 1e-12
    assert found.report["parameters"] == bare.report["parameters"]


@pytest.mark.slow
def test_points_that_belong_to_no_cell_do_not_shrink_the_picture():
    source, target = PAIRS["curves"]
    found = diffeo.register(with_stray_points(source, [0.0, 0.0], [1e3, 0.0]), target, max_iterations=2)
    panels = found.plot().axes
    assert all(ax.get_xlim()[1] < 10 for ax in panels[:2])
