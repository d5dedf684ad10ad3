"""``diffeo register``: two files in; the moved shape, the map, a report and a picture out."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli import choices
from diffeo.cli.choices import Align, Backend, DType, Loss, Model, Solver
from diffeo.cli.options import (
    JSON,
    Lengths,
    Levels,
    Switch,
    Whole,
    check_at_least,
    check_file,
    check_folder,
    check_not_negative,
    check_positive,
)
from diffeo.cli.output import print_json, read_json
from diffeo.cli.progress import Progress
from diffeo.cli.summary import folded, summarize

CHECKPOINT, HISTORY, PICTURE = "checkpoint.safetensors", "history.csv", "report.png"
WARPS = ("warp.nii.gz", "inverse_warp.nii.gz", "jacobian.nii.gz")
"""Files of the result, beside the moved shape, that could also be read."""
UNFINISHED = 3


def register(
    source: Path,
    target: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    loss: Loss | None = None,
    scale: Lengths | None = None,
    weight: float | None = None,
    steps: Whole | None = None,
    solver: Solver | None = None,
    model: Model | None = None,
    align: Align | None = None,
    mask: Path | None = None,
    levels: Levels | None = None,
    start: Path | None = None,
    controls: Whole | None = None,
    max_iterations: Whole | None = None,
    tolerance: float | None = None,
    device: str | None = None,
    dtype: DType | None = None,
    backend: Backend | None = None,
    seed: Whole = 0,
    resume: Switch = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Find the smooth, invertible map that moves SOURCE onto TARGET.

    Every option has a default found from the data's own scale.

    Args:
        source: what to move: a shape (ply, obj, off, stl, vtk, vtp, xyz, txt, csv, npy, npz), or the moving image
            (nii, nii.gz, png, jpg, tif; mha and nrrd with the extra itk).
        target: where to move it: the same kind of shape, or the fixed image.
        out: folder for moved.*, transform.safetensors, report.json, report.png and history.csv; for images also
            warp.nii.gz, inverse_warp.nii.gz and jacobian.nii.gz.
        loss: what "close" means: varifold, current (surfaces and curves), mmd, sinkhorn (clouds), landmarks (paired);
            for images lncc (local correlation), ssd (squared differences), mi (mutual information), dice (labels).
        scale: widths of the deformation, one or several lengths in the data's units, widest first.
        weight: price of deformation: larger is smoother, smaller is closer.
        steps: time steps of the flow.
        solver: integrator of the flow.
        model: way to the map: geodesic (momenta), flow (a field per step), descent (greedy).
        align: motion before the deformation, which costs nothing.
        mask: for images: where the fixed image counts, an image of weights between 0 and 1.
        levels: for images: how much coarser the grids are, one after the other, such as 4,2,1.
        start: for images: a transform.safetensors to begin with, found by any model; nothing is aligned then.
        controls: number of control points that carry momenta.
        max_iterations: outer iterations at most, in each stage.
        tolerance: stop when the objective falls by less than this fraction.
        device: cpu, cuda or cuda:N.
        dtype: precision.
        backend: who computes sums over pairs; diffeo doctor says what works here.
        seed: of whatever is random.
        resume: go on from the checkpoint that an interrupted run left in OUT.
        quiet: print nothing.
        json: print report.json on stdout, and nothing else.
    """
    _check((source, target, mask), out, scale, weight, tolerance)
    for name, file in (("--mask", mask), ("--start", start)):
        if file is not None:
            check_file(file, name)
    for name, count, least in (
        ("--steps", steps, 1),
        ("--controls", controls, 1),
        ("--max-iterations", max_iterations, 1),
        ("--seed", seed, 0),
    ):
        check_at_least(name, count, least)
    options: dict[str, Any] = {
        "loss": choices.kind(loss),
        "scale": scale,
        "weight": weight,
        "steps": steps,
        "solver": choices.instance(solver),
        "model": choices.kind(model),
        "align": choices.instance(align),
        "levels": levels,
        "start": choices.transform(start),
        "controls": controls,
        "max_iterations": max_iterations,
        "tolerance": tolerance,
        "device": choices.device(device),
        "dtype": choices.dtype(dtype),
        "backend": choices.backend(backend),
        "seed": seed,
    }
    result = _run((source, target, mask), out, options, resume=resume, quiet=quiet or json)
    if json:
        print_json(read_json(out / "report.json"))
    elif not quiet:
        summarize(result, out)
    return 0 if result.converged and not folded(result.report) else UNFINISHED


def _run(
    files: tuple[Path, Path, Path | None], out: Path, options: dict[str, Any], *, resume: bool, quiet: bool
) -> Any:
    """The registration, with its files written."""
    import diffeo
    from diffeo.io import read
    from diffeo.results.masks import masked

    source, target, mask = files
    pair = read(source), masked(read(target), mask)
    checkpoint = out / CHECKPOINT
    try:
        # Some packages print when they are imported; stdout is for results.
        with redirect_stdout(StringIO() if quiet else sys.stderr), Progress(quiet) as progress:
            result = diffeo.register(*pair, **options, callbacks=(progress,), checkpoint=checkpoint, resume=resume)
    except KeyboardInterrupt:
        kept = f"{checkpoint} keeps what was done: the same command with --resume goes on from there."
        raise KeyboardInterrupt(
            f"interrupted; {kept}" if checkpoint.exists() else "interrupted before anything was done."
        ) from None
    roles = {"source": source, "target": target, "mask": mask}
    result.save(out, like=source, files={role: file for role, file in roles.items() if file is not None})
    checkpoint.unlink(missing_ok=True)
    return result


def _check(
    files: tuple[Path, Path, Path | None],
    out: Path,
    scale: tuple[float, ...] | None,
    weight: float | None,
    tolerance: float | None,
) -> None:
    if scale == ():
        raise ValueError("--scale expects one or several lengths, and got none.")
    for length in scale or ():
        check_positive("--scale", length)
    check_not_negative("--weight", weight)
    check_positive("--tolerance", tolerance)
    source, target, _ = files
    check_file(source, "SOURCE")
    check_file(target, "TARGET")
    check_folder(out)
    moved = f"moved{'.nii.gz' if source.name.lower().endswith('.nii.gz') else source.suffix}"
    for path in (out / name for name in (moved, HISTORY, PICTURE, *WARPS)):
        if path.exists() and any(file is not None and file.exists() and path.samefile(file) for file in files):
            raise ValueError(f"{path} would be overwritten by the result: choose another folder with -o.")
