"""Small files for the command line's tests."""

from __future__ import annotations

import numpy as np
import torch

from diffeo.core import Compose
from diffeo.flows import Affine, Geodesic
from diffeo.io.transform import save
from diffeo.kernels import GaussianKernel


def ring(path, n=20, d=2, radius=1.0, shift=0.0):
    """Points on an ellipse, one a row."""
    t = np.arange(n) * 2 * np.pi / n
    x = np.stack([radius * np.cos(t), np.sin(t), 0.2 * np.cos(2 * t)], 1)[:, :d] + shift
    np.savetxt(path, x)
    return path


OCTAHEDRON = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1))
FACES = ((0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5))


def octahedron(path, stretch=1.0, vertices=OCTAHEDRON, faces=FACES):
    """A closed surface, as an OFF file."""
    rows = [f"{stretch * x} {y} {z}" for x, y, z in vertices]
    rows += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(["OFF", f"{len(vertices)} {len(faces)} 0", *rows]) + "\n")
    return path


def transform(path, d=2):
    """An affine map, then a geodesic, float64."""
    generator = torch.Generator().manual_seed(0)
    controls = torch.randn(8, d, generator=generator, dtype=torch.float64)
    momenta = 0.1 * torch.randn(8, d, generator=generator, dtype=torch.float64)
    affine = Affine(1.1 * torch.eye(d, dtype=torch.float64), torch.full((d,), 0.3, dtype=torch.float64))
    phi = Compose([affine, Geodesic(GaussianKernel(1.0), controls, momenta=momenta)])
    save(path, phi, {"seed": 3, "versions": {"diffeo": "0.1.0"}, "parameters": {"loss": "varifold"}})
    return path
