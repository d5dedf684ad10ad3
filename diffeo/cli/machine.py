"""The survey that ``diffeo doctor`` prints."""

from __future__ import annotations

import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "diffeo", "torch", "numpy", "scipy", "numba", "pykeops", "torchdiffeq", "vtk",
    "scikit-image", "scikit-learn", "nibabel", "SimpleITK", "safetensors", "matplotlib", "rich", "cyclopts",
)  # fmt: skip
OPTIONAL = {
    "vtk": 'pip install "diffeo[vtk]" to read and write .vtp files',
    "SimpleITK": 'pip install "diffeo[itk]" to read and write .mha and .nrrd images and .h5 transforms',
}
COMPILERS = ("g++", "clang++", "nvcc")
BACKENDS = {"dense": "DenseBackend", "cpu": "CPUBackend", "keops": "KeOpsBackend"}
SECONDS = 0.3
"""How long a backend is timed."""


def survey(time_keops: bool = False) -> dict[str, Any]:
    """Versions, machine, backends with their speed in pairs per second, and advice; JSON-able."""
    versions = {name: _version(name) for name in PACKAGES}
    backends = {name: _backend(name, name != "keops" or time_keops) for name in BACKENDS}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "machine": _machine(),
        "backends": backends,
        "advice": _advice(versions, backends),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _machine() -> dict[str, Any]:
    import torch

    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "CUDA": f"built into torch {torch.version.cuda}" if torch.version.cuda else "not in this build of torch",
        "CUDA devices": ", ".join(devices) or "none",
        "compilers": ", ".join(f"{name} ({path})" for name in COMPILERS if (path := shutil.which(name))) or "none",
        "KeOps cache": os.environ.get("KEOPS_CACHE_FOLDER"),
    }


def _backend(name: str, timed: bool) -> dict[str, Any]:
    """Whether a backend works, why not, and its pairs per second (None where it is not timed)."""
    from diffeo import backends

    backend = getattr(backends, BACKENDS[name])()
    reason = backend.unavailable()
    if reason is not None:
        return {"works": False, "reason": reason, "pairs_per_second": None}
    if not timed:
        untimed = "not timed, since it compiles for about 10 seconds first: diffeo doctor --all."
        return {"works": True, "reason": untimed, "pairs_per_second": None}
    try:
        return {"works": True, "reason": None, "pairs_per_second": speed(backend)}
    except Exception as error:  # whatever a broken compiler or cache throws is the finding
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return {"works": False, "reason": reason, "pairs_per_second": None}


def speed(backend: Any, n: int = 2000) -> float:
    """Pairs per second of K(x, y) @ b for a Gaussian K, float32, d = 3, after one product to warm up."""
    import torch

    from diffeo.kernels import GaussianKernel

    x, y, b = torch.rand(3, n, 3, generator=torch.Generator().manual_seed(0)).unbind()
    matrix = GaussianKernel(0.3, backend=backend)(x, y)
    check = matrix @ b
    if not torch.allclose(check, matrix.dense() @ b, rtol=1e-3, atol=1e-3):
        raise RuntimeError("its result differs from that of torch")
    products, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        check = matrix @ b
        products += 1
    return products * n * n / (time.perf_counter() - start)


def _advice(versions: dict[str, str], backends: dict[str, dict[str, Any]]) -> list[str]:
    missing = [advice for name, advice in OPTIONAL.items() if versions[name] == "not installed"]
    return missing + [f"{name}: {entry['reason']}" for name, entry in backends.items() if not entry["works"]]
