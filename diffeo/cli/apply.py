"""``diffeo apply``: move any shape by a map that was found before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli.options import Switch, check_file, check_folder


def apply(
    transform: Path,
    shape: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    inverse: Switch = False,
) -> int:
    """Move SHAPE by TRANSFORM; connectivity and attributes are kept.

    Args:
        transform: a transform.safetensors that register wrote.
        shape: any shape of the same dimension, in the units of the registration.
        out: file to write; the same format as SHAPE keeps all that SHAPE has.
        inverse: apply the inverse map, which goes from target to source.
    """
    check_file(transform, "TRANSFORM")
    check_file(shape, "SHAPE")
    if out.is_dir():
        raise ValueError(f"cannot write to {out}: it is a folder, and a file is expected, such as {out / shape.name}.")
    check_folder(out.parent)
    from diffeo.cli.maps import check_dimension
    from diffeo.io import read, write
    from diffeo.io.transform import load

    phi, source = load(transform), read(shape)
    check_dimension(phi, source)
    write(out, _moved(phi, source, inverse), like=shape)
    return 0


def _moved(phi: Any, shape: Any, inverse: bool) -> Any:
    import torch

    like = next((t for t in [*phi.parameters(), *phi.buffers()] if t.is_floating_point()), shape.x)
    with torch.no_grad():
        x = shape.x.to(like)
        return shape.with_positions(phi.inverse(x) if inverse else phi(x))
