"""ITK's transform files, through SimpleITK: composites of affine maps and displacement fields.

A transform T takes points of the fixed image to the moving one: T = φ⁻¹. A composite is T(x) = T_1(T_2(…(x))), so that
φ = … ∘ T_2⁻¹ ∘ T_1⁻¹ has the same order as a ``Compose``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffeo.core import Compose, Diffeo
from diffeo.flows import Affine
from diffeo.io.atomic import replacing
from diffeo.io.displacement import warp
from diffeo.io.geometry import Array
from diffeo.io.guard import guarded
from diffeo.io.itk import arrays, itk_image, simpleitk
from diffeo.io.raster import Raster, from_itk, half_turn

TRANSFORMS = (".h5", ".hdf5", ".mat", ".tfm", ".txt", ".xfm")
"""Extensions of the files; the first two are written."""


def write_transform(path: Path, affine: list[Affine], field: Raster | None, pixels: bool, parents: bool) -> None:
    """A composite: φ is first the affine maps, then the map whose inverse has the displacement ``field``."""
    if path.suffix.lower() not in TRANSFORMS[:2]:
        raise ValueError(f"cannot write {path}: maps are written to .h5, .nii.gz, .mha or .nrrd.")
    sitk = guarded(path, lambda: simpleitk(path.suffix), "write")
    steps = [_itk_affine(sitk, part, pixels) for part in affine]
    if field is not None:
        image = guarded(path, lambda: itk_image(sitk, *field.in_itk(), np.dtype(np.float64)), "write")
        steps.append(sitk.DisplacementFieldTransform(image))
    with replacing(path, parents) as temporary:
        try:
            sitk.WriteTransform(sitk.CompositeTransform(steps), str(temporary))
        except RuntimeError as error:
            raise ValueError(f"cannot write {path}: {str(error).splitlines()[-1]}.") from None


def read_transform(path: Path, dtype: torch.dtype, pixels: bool) -> Diffeo:
    """φ; an `Affine`, a `Warp`, or a `Compose` of them."""
    sitk = guarded(path, lambda: simpleitk(path.suffix))
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError:
        raise ValueError(f"cannot read {path}: it is damaged, or not a transform file of ITK.") from None
    parts = guarded(path, lambda: [_part(step, dtype, pixels) for step in _steps(transform)])
    return parts[0] if len(parts) == 1 else Compose(parts)


def _itk_affine(sitk: Any, part: Affine, pixels: bool) -> Any:
    """The inverse of an affine map."""
    matrix = torch.linalg.inv(part.matrix.detach().cpu().double()).numpy()
    offset = -matrix @ part.translation.detach().cpu().double().numpy()
    turn = _turn(len(offset), pixels)
    transform = sitk.AffineTransform(len(offset))
    transform.SetMatrix((turn @ matrix @ turn).ravel().tolist())
    transform.SetTranslation((turn @ offset).tolist())
    return transform


def _steps(transform: Any) -> list[Any]:
    """The simple transforms of which a transform is made, the last of which acts first."""
    step = transform.Downcast()
    if step.GetName() != "CompositeTransform":
        return [step]
    return [s for k in range(step.GetNumberOfTransforms()) for s in _steps(step.GetNthTransform(k))]


def _part(step: Any, dtype: torch.dtype, pixels: bool) -> Diffeo:
    """φ for a simple transform T = φ⁻¹."""
    if step.GetName() == "DisplacementFieldTransform":
        return warp(from_itk(*arrays(step.GetDisplacementField()), pixels, {}), dtype)
    if not step.IsLinear():
        raise ValueError(f"it holds a {step.GetName()}, and affine maps and displacement fields are expected")
    d = step.GetDimension()
    offset = np.array(step.TransformPoint([0.0] * d))
    matrix = np.stack([step.TransformPoint(e.tolist()) for e in np.eye(d)], 1) - offset[:, None]
    turn = _turn(d, pixels)
    forward = torch.from_numpy(np.linalg.inv(turn @ matrix @ turn))
    return Affine(forward.to(dtype), (-forward @ torch.from_numpy(turn @ offset)).to(dtype))


def _turn(d: int, pixels: bool) -> Array:
    """From our positions to ITK's, shape (d, d)."""
    return np.eye(d) if pixels else half_turn(d)[:d, :d]
