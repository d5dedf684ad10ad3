"""``diffeo apply``: move any shape or image by a map that was found before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli import choices
from diffeo.cli.choices import Interpolation
from diffeo.cli.options import Switch, check_file, check_folder
from diffeo.cli.output import say


def apply(
    transform: Path,
    shape: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    reference: Path | None = None,
    interpolation: Interpolation | None = None,
    inverse: Switch = False,
) -> int:
    """Move SHAPE, which may be an image, by TRANSFORM: points go with φ, images with φ⁻¹.

    Both then lie where the target of the registration is. Points x of a cloud,
    curve or surface go to φ(x), connectivity and attributes are kept; an image I
    becomes I∘φ⁻¹, sampled on the grid of the target.

    Args:
        transform: a transform.safetensors that register wrote; or a warp or transform of ITK or ANTs (nii.gz, h5, mat,
            …), which goes from target to source, as theirs do.
        shape: any shape or image of the same dimension, in the units of the registration.
        out: file to write; the same format as SHAPE keeps all that SHAPE has.
        reference: image on whose grid the moved image is sampled; by default the target of the registration, or the
            grid of the warp.
        interpolation: between voxels: nearest (for labels, which stay what they are), linear (default), cubic.
        inverse: apply the inverse map, which goes from target to source: points with φ⁻¹, images with φ.
    """
    check_file(transform, "TRANSFORM")
    check_file(shape, "SHAPE")
    if reference is not None:
        check_file(reference, "--reference")
    if out.is_dir():
        raise ValueError(f"cannot write to {out}: it is a folder, and a file is expected, such as {out / shape.name}.")
    check_folder(out.parent)
    from diffeo.diagnostics.dimensions import check_dimension
    from diffeo.io import read, write
    from diffeo.io.transform import load_map
    from diffeo.io.warps import is_warp, read_warp
    from diffeo.shapes import Image

    phi, source = read_warp(transform) if is_warp(transform) else load_map(transform), read(shape)
    check_dimension(phi, source)
    if isinstance(source, Image):
        canvas, space = _canvas(phi, transform, source, reference, inverse)
        moved = _carried(phi, source, canvas, interpolation, inverse)
        moved = replace(moved, attributes=moved.attributes | space)
    else:
        _check_image_options(type(source).__name__, reference, interpolation)
        moved = _moved(phi, source, inverse)
    write(out, moved, like=shape)
    return 0


def _check_image_options(kind: str, reference: Path | None, interpolation: Interpolation | None) -> None:
    """Raise ValueError if an option was given that means nothing for points."""
    for name, value in (("--reference", reference), ("--interpolation", interpolation)):
        if value is not None:
            raise ValueError(f"{name} is for images, and SHAPE is {kind}: leave it out.")


def _moved(phi: Any, shape: Any, inverse: bool) -> Any:
    import torch

    like = next((t for t in [*phi.parameters(), *phi.buffers()] if t.is_floating_point()), shape.x)
    with torch.no_grad():
        x = shape.x.to(like)
        return shape.with_positions(phi.inverse(x) if inverse else phi(x))


def _canvas(phi: Any, transform: Path, image: Any, reference: Path | None, inverse: bool) -> tuple[Any, dict]:
    """The grid of the moved image: that of the reference, of the registration's target (its source), its own.

    And, as attributes, what a reference says of the space around it.
    """
    from diffeo.io import describe, read
    from diffeo.io.grids import grids_in
    from diffeo.io.images import space_of
    from diffeo.io.warps import is_warp
    from diffeo.shapes import Image

    if reference is None and is_warp(transform):
        return image.grid if inverse else getattr(phi, "grid", image.grid), {}
    if reference is None:
        return grids_in(describe(transform)).get("moving" if inverse else "fixed", image.grid), {}
    other = read(reference)
    if not isinstance(other, Image):
        raise ValueError(f"--reference expects an image, and {reference} is {type(other).__name__}.")
    if other.grid.dim != image.grid.dim:
        raise ValueError(
            f"--reference expects an image of {image.grid.dim} dimensions, as SHAPE is, and {reference} has "
            f"{other.grid.dim}."
        )
    return other.grid, space_of(other)


def _carried(phi: Any, image: Any, canvas: Any, interpolation: Interpolation | None, inverse: bool) -> Any:
    """The image on the canvas. Labels are 0 outside of their grid, intensities what they are at its border."""
    import dataclasses

    import torch

    from diffeo.core import Inverse
    from diffeo.diagnostics.overlap import as_labels
    from diffeo.shapes.labels import appearance

    if interpolation is None and appearance(image).labels:
        say(
            "warning: SHAPE looks like a label map, and linear interpolation mixes labels: --interpolation nearest "
            "keeps them (--interpolation linear says that mixing is meant)."
        )
    if interpolation is Interpolation.nearest:
        source = as_labels(image)
    else:
        source = dataclasses.replace(image, interpolation=choices.instance(interpolation or Interpolation.linear))
    with torch.no_grad():
        moved = source.on(canvas).carried(Inverse(phi) if inverse else phi)
    if _varies(image) and not _varies(moved):
        say(
            "warning: nothing of SHAPE is seen on the grid of the result: it may not lie in the space of the "
            "registration."
        )
    return moved


def _varies(image: Any) -> bool:
    return bool(image.values.max() > image.values.min())
