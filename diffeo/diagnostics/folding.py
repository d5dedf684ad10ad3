"""Does the discrete shape fold where the map does not?

A diffeomorphism moves vertices; between them, faces and segments stay straight, while the map bends. Where it bends
more than the mesh can follow, a face turns over although the map itself is one-to-one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.shapes import Curve, Mesh


def flipped(source: Mesh | Curve, moved: Mesh | Curve, jacobians: Tensor) -> Tensor:
    r"""The faces whose moved normal opposes the one that the map's own Jacobian J predicts.

    J carries the tangent of a segment to J t, and the edges u, v of a triangle to J u, J v; so its normal u × v goes to
    J u × J v = det(J) J⁻ᵀ (u × v).

    Args:
        source: f triangles in space, or f segments in any dimension d.
        moved: the same shape, carried by the map.
        jacobians: Dφ at the centers of the faces of the source, shape (f, d, d); entry [i, a, b] is ∂φ_a/∂x_b.
    Returns: booleans, shape (f,). Faces without area (segments without length) before are never flipped.
    Raises: ValueError if the shapes do not correspond or the Jacobians are not one per face.
    """
    before, after = _spans(source, moved)
    return _opposed(_predicted(before, jacobians), _direction(after)) & ~_degenerate(source, before)


def carried_directions(source: Mesh | Curve, jacobians: Tensor) -> Tensor:
    """Where the normals of triangles, or the tangents of segments, point after the map, by its Jacobians.

    Args:
        source: f triangles or segments, before the map.
        jacobians: Dφ at their centers, shape (f, d, d).
    Returns: unit vectors in float64, shape (f, d); 0 where the face is degenerate.
    Raises: ValueError if the Jacobians are not one per face.
    """
    predicted = _predicted(_edges(source.x, _index(source)), jacobians)
    length = predicted.norm(dim=1, keepdim=True)
    return predicted / torch.where(length > 0, length, 1.0)


def _predicted(spans: Tensor, jacobians: Tensor) -> Tensor:
    """The directions of the spans moved by the Jacobians; not normalized."""
    f, _, d = spans.shape
    if jacobians.shape != (f, d, d):
        raise ValueError(f"expected one Jacobian per face, shape {(f, d, d)}, and got {tuple(jacobians.shape)}.")
    return _direction(torch.einsum("fab,fkb->fka", jacobians.detach().to(spans), spans))


def turned(source: Mesh | Curve, moved: Mesh | Curve) -> Tensor:
    """The faces whose normal (segments whose tangent) turned by more than 90°.

    Returns: booleans, shape (f,). Faces without area (segments without length) before are never turned.
    Raises: ValueError if the shapes do not correspond.
    """
    before, after = _spans(source, moved)
    return _opposed(_direction(before), _direction(after)) & ~_degenerate(source, before)


def _spans(source: Mesh | Curve, moved: Mesh | Curve) -> tuple[Tensor, Tensor]:
    """The edges that span each face, (f, 2, 3), or the segments, (f, 1, d), before and after, in float64."""
    if type(source) is not type(moved) or source.x.shape != moved.x.shape:
        raise ValueError(
            f"a moved shape must be the source with other positions, and got a {type(source).__name__} of "
            f"{tuple(source.x.shape)} and a {type(moved).__name__} of {tuple(moved.x.shape)}."
        )
    if not torch.equal(_index(source), _index(moved)):
        raise ValueError("a moved shape must have the connectivity of its source: use source.with_positions(...).")
    return _edges(source.x, _index(source)), _edges(moved.x, _index(source))


def _index(shape: Mesh | Curve) -> Tensor:
    return shape.faces if isinstance(shape, Mesh) else shape.edges


def _edges(x: Tensor, index: Tensor) -> Tensor:
    corners = x.detach().double()[index]
    return corners[:, 1:] - corners[:, :1]


def _direction(spans: Tensor) -> Tensor:
    """Normals u × v of triangles, or the tangents of segments; not normalized."""
    return torch.linalg.cross(spans[:, 0], spans[:, 1]) if spans.shape[1] == 2 else spans[:, 0]


def _opposed(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1) < 0


def _degenerate(source: Mesh | Curve, spans: Tensor) -> Tensor:
    """Faces whose area, or segments whose length, is zero or no more than the rounding of their coordinates."""
    rounding = 4 * torch.finfo(source.x.dtype).eps * source.x.detach().double().abs().max()
    longest = spans.norm(dim=2).amax(1)
    scale = longest if spans.shape[1] == 2 else torch.ones_like(longest)
    return _direction(spans).norm(dim=1) <= rounding * scale
