"""What others do with two images: ITK's affine and diffeomorphic demons, and SyN of ANTsPy where it is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import SimpleITK as sitk

import diffeo
from diffeo.core import Diffeo
from diffeo.shapes import Image


def available() -> list[str]:
    """The peers that are installed."""
    return ["demons", *(["SyN"] if importlib.util.find_spec("ants") else [])]


def demons(moving: Image, fixed: Image) -> Diffeo:
    """An affine motion by mean squares, then diffeomorphic demons at three resolutions, 100 × 50 × 25 iterations."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        a, b = (_as_itk(image, Path(folder) / f"{name}.nii") for name, image in (("m", moving), ("f", fixed)))
        affine = _affine(a, b)
        field = None
        near = sitk.Resample(a, b, affine, sitk.sitkLinear, 0.0)
        near = sitk.HistogramMatching(near, b, 128, 10)
        for factor, iterations in ((4, 100), (2, 50), (1, 25)):
            small_a, small_b = (_smaller(image, factor) for image in (near, b))
            method = sitk.DiffeomorphicDemonsRegistrationFilter()
            method.SetNumberOfIterations(iterations)
            method.SetStandardDeviations(1.5)
            if field is not None:
                field = sitk.Resample(field, small_b)
            field = method.Execute(small_b, small_a) if field is None else method.Execute(small_b, small_a, field)
        whole = sitk.CompositeTransform(
            [affine, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))]
        )
        path = Path(folder) / "whole.nii"
        sitk.WriteImage(sitk.TransformToDisplacementField(whole, sitk.sitkVectorFloat32, *_frame(b)), str(path))
        return diffeo.read_warp(path, pixels=fixed.grid.dim == 2)


def _affine(moving: Any, fixed: Any) -> Any:
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(fixed.GetDimension()), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2, 1])
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


def _smaller(image: Any, factor: int) -> Any:
    if factor == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussian(image, [factor / 2 * s for s in image.GetSpacing()])
    return sitk.Shrink(smooth, [factor] * image.GetDimension())


def _frame(image: Any) -> tuple[Any, ...]:
    return image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()


def _as_itk(image: Image, path: Path) -> Any:
    diffeo.write(path, image)
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def syn(moving: Image, fixed: Image) -> Diffeo:
    """SyN with its defaults."""
    import ants  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        for name, image in (("m", moving), ("f", fixed)):
            diffeo.write(Path(folder) / f"{name}.nii", image)
        a, b = (ants.image_read(str(Path(folder) / f"{name}.nii")) for name in "mf")
        found = ants.registration(b, a, "SyN", outprefix=str(Path(folder) / "syn"))
        whole = ants.apply_transforms(b, a, found["fwdtransforms"], compose=str(Path(folder) / "whole"))
        return diffeo.read_warp(whole, pixels=fixed.grid.dim == 2)
