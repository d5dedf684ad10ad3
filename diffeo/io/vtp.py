"""VTK's XML files of polygonal data (``.vtp``), through VTK itself: ``pip install "diffeo[vtk]"``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.io.geometry import Array, Format, Geometry, Ragged, in_space, like_numbers, scalar_columns
from diffeo.io.normals import vertex_normals
from diffeo.io.vtk_cells import connectivity

_BLOCKS = {"VERTICES": "Verts", "LINES": "Lines", "POLYGONS": "Polys", "TRIANGLE_STRIPS": "Strips"}


class VTP(Format):
    """Polygonal data in XML. Polygons become triangles, polylines segments; data of the points are attributes."""

    suffixes = (".vtp",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        return _geometry(_load(path))

    def write(self, path: Path, geometry: Geometry) -> None:
        """A compressed binary file."""
        data = _vtk("vtkCommonDataModel").vtkPolyData()
        _set_points(data, in_space(geometry.x))
        name, index = "Verts", np.arange(len(geometry.x))[:, None]
        if geometry.faces is not None:
            name, index = "Polys", geometry.faces
        elif geometry.edges is not None:
            name, index = "Lines", geometry.edges
        getattr(data, f"Set{name}")(_cell_array(index))
        for key, values in scalar_columns(geometry.attributes).items():
            array = _from_numpy(values.astype("u1") if values.dtype.kind == "b" else values)
            array.SetName(key)
            data.GetPointData().AddArray(array)
        _save(path, data)

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """The data set of the file ``like`` with its points at x; point normals of a surface are computed anew."""
        data = _load(like)
        geometry = _geometry(data)
        _set_points(data, like_numbers(x, geometry.x.dtype))
        normals = data.GetPointData().GetNormals()
        if normals is not None and geometry.faces is not None:
            old = _to_numpy(normals)
            old[:] = vertex_normals(x, geometry.faces, old)
        _save(path, data)


def _vtk(module: str) -> Any:
    """A module of VTK, imported when needed: it takes 0.3 s and is optional."""
    try:
        return import_module(f"vtkmodules.{module}")
    except ImportError:
        raise ValueError('.vtp files need VTK: pip install "diffeo[vtk]", or save the file as .vtk or .ply') from None


def _to_numpy(array: Any) -> Array:
    return _vtk("util.numpy_support").vtk_to_numpy(array)


def _from_numpy(values: Array, kind: int | None = None) -> Any:
    return _vtk("util.numpy_support").numpy_to_vtk(np.ascontiguousarray(values), deep=True, array_type=kind)


@contextmanager
def _quiet() -> Iterator[Any]:
    """VTK says what went wrong on standard error; inside, it is collected instead."""
    core = _vtk("vtkCommonCore")
    window, before = core.vtkStringOutputWindow(), core.vtkOutputWindow.GetInstance()
    verbosity = core.vtkLogger.GetCurrentVerbosityCutoff()
    core.vtkOutputWindow.SetInstance(window)
    core.vtkLogger.SetStderrVerbosity(core.vtkLogger.VERBOSITY_OFF)
    try:
        yield window
    finally:
        core.vtkOutputWindow.SetInstance(before)
        core.vtkLogger.SetStderrVerbosity(core.vtkLogger.ConvertToVerbosity(verbosity))


def _load(path: Path) -> Any:
    """The data set of a file."""
    content = path.read_bytes()
    if b"<VTKFile" not in content[:2000]:
        raise ValueError("it is not a VTK XML file: there is no <VTKFile> at its beginning")
    if b'type="PolyData"' not in content[:2000]:
        raise ValueError("it holds another kind of data set, and PolyData is expected: extract the surface first")
    if b"</VTKFile>" not in content[-200:]:
        raise ValueError("it is truncated: it does not end with </VTKFile>")
    reader = _vtk("vtkIOXML").vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    with _quiet() as said:
        reader.Update()
    if "ERR" in said.GetOutput().upper():
        raise ValueError("it is truncated or damaged: VTK cannot read it")
    return reader.GetOutput()


def _save(path: Path, data: Any) -> None:
    writer = _vtk("vtkIOXML").vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.SetDataModeToBinary()
    with _quiet():
        done = writer.Write()
    if not done:
        raise OSError("VTK cannot write there")


def _geometry(data: Any) -> Geometry:
    points = data.GetPoints()
    if points is None or not points.GetNumberOfPoints():
        raise ValueError("it has no points")
    cells = {kind: _lists(getattr(data, f"Get{name}")()) for kind, name in _BLOCKS.items()}
    edges, faces = connectivity({k: v for k, v in cells.items() if len(v.sizes)}, np.zeros(0, np.int64))
    held = data.GetPointData()
    arrays = [held.GetArray(k) for k in range(held.GetNumberOfArrays())]
    attributes = {array.GetName(): _to_numpy(array).copy() for array in arrays if array is not None and array.GetName()}
    return Geometry(_to_numpy(points.GetData()).copy(), edges, faces, attributes)


def _lists(cells: Any) -> Ragged:
    offsets = _to_numpy(cells.GetOffsetsArray()).astype(np.int64)
    return Ragged(_to_numpy(cells.GetConnectivityArray()).astype(np.int64), np.diff(offsets))


def _cell_array(index: Array) -> Any:
    cells = _vtk("vtkCommonDataModel").vtkCellArray()
    kind = _vtk("vtkCommonCore").VTK_ID_TYPE
    offsets = np.arange(len(index) + 1) * index.shape[1]
    cells.SetData(_from_numpy(offsets.astype(np.int64), kind), _from_numpy(index.astype(np.int64).ravel(), kind))
    return cells


def _set_points(data: Any, x: Array) -> None:
    points = _vtk("vtkCommonCore").vtkPoints()
    points.SetData(_from_numpy(x))
    data.SetPoints(points)
