"""Affine heads: z = A x + a before φ, B z + b behind it; fixed at random, or trained."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.heads.base import Head, ReadIn, ReadOut, check_rows


def isometry(rows: int, columns: int, seed: int) -> Tensor:
    """A random matrix with orthonormal columns, or orthonormal rows where there are fewer of them; float64."""
    draw = torch.Generator().manual_seed(seed)
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=draw, dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # without it the law would depend on how the factorization is computed
    return q if rows >= columns else q.T


class _Affine(Head):
    """``weight`` and ``offset`` as parameters where they are trained, as buffers where they are fixed."""

    weight: Tensor
    offset: Tensor | None

    def _place(self, weight: Tensor, offset: Tensor | None, trained: bool) -> None:
        self.trained = trained
        for name, value in (("weight", weight), ("offset", offset)):
            own = None if value is None else value.detach().clone()
            if trained:
                self.register_parameter(name, None if own is None else nn.Parameter(own))
            else:
                self.register_buffer(name, own)

    def forward(self, x: Tensor) -> Tensor:
        """Every row times the weight, plus the offset."""
        check_rows(x, self.weight.shape[1], type(self).__name__)
        return nn.functional.linear(x, self.weight.to(x), None if self.offset is None else self.offset.to(x))

    def extra_repr(self) -> str:
        """From where to where."""
        rows, columns = self.weight.shape
        return f"{columns} → {rows}, {'trained' if self.trained else 'fixed'}"


class LinearReadOut(_Affine, ReadOut):
    r"""$B z + b$: from positions to scores or values.

    Args:
        dim: d, the dimension of the positions.
        outputs: k, the number of scores: classes or values.
        bias: whether there is a b; it starts at 0.
        trained: whether B and b are parameters; else they stay as they are.
        seed: of the draw of B, whose rows are orthonormal if k ≤ d: then σ_min(B) = 1, on which the rate of
            training behind a fixed read-out depends (MATH.md §5).
        weight: B, shape (k, d), instead of drawing it.
        offset: b, shape (k,).

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        dim: int,
        outputs: int,
        bias: bool = True,
        trained: bool = True,
        seed: int = 0,
        weight: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_sizes("LinearReadOut", dim=dim, outputs=outputs)
        self.dim, self.bias, self.seed = dim, bias, seed
        if weight is None:
            weight = isometry(outputs, dim, seed).to(torch.get_default_dtype())
        check_matrix("LinearReadOut", weight, (outputs, dim))
        if offset is None and bias:
            offset = weight.new_zeros(outputs)
        if (offset is None) == bias or (offset is not None and offset.shape != (outputs,)):
            got = "none" if offset is None else str(tuple(offset.shape))
            raise ValueError(
                f"LinearReadOut expects an offset of shape ({outputs},) with bias=True and none without, and got {got} "
                f"with bias={bias}."
            )
        self._place(weight, offset, trained)

    @property
    def outputs(self) -> int:
        """The number of scores."""
        return len(self.weight)

    def arguments(self) -> dict[str, Any]:
        """Sizes, the draw, weight and offset."""
        return {
            "dim": self.dim,
            "outputs": self.outputs,
            "bias": self.bias,
            "trained": self.trained,
            "seed": self.seed,
            "weight": self.weight.detach(),
            "offset": None if self.offset is None else self.offset.detach(),
        }

    def rescaled(self, factor: float, shift: Tensor | None = None) -> LinearReadOut:
        """B/factor, and the offset that undoes the shift; a read-out without bias gets one where there is a shift."""
        weight = self.weight.detach() / factor
        arguments = {**self.arguments(), "weight": weight}
        if shift is not None:
            offset = weight.new_zeros(self.outputs) if self.offset is None else self.offset.detach()
            arguments |= {"bias": True, "offset": offset - weight @ shift.to(weight)}
        return LinearReadOut(**arguments)


class LinearReadIn(_Affine, ReadIn):
    r"""$A x$ (plus $a$ where it is trained): from p inputs to d dimensions.

    Drawn at random, A keeps lengths if d ≥ p, and keeps them on average if d < p.

    Args:
        inputs: p, the number of inputs.
        dim: d, the dimension of the positions.
        trained: whether A and a are parameters; else A stays as it is.
        seed: of the draw.
        weight: A, shape (d, p), instead of drawing it.
        offset: a, shape (d,); zero if left out.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        inputs: int,
        dim: int,
        trained: bool = True,
        seed: int = 0,
        weight: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_sizes("LinearReadIn", inputs=inputs, dim=dim)
        self.inputs, self.dim, self.seed = inputs, dim, seed
        if weight is None:
            scale = math.sqrt(max(inputs / dim, 1.0))
            weight = (scale * isometry(dim, inputs, seed)).to(torch.get_default_dtype())
        check_matrix("LinearReadIn", weight, (dim, inputs))
        offset = weight.new_zeros(dim) if offset is None else offset
        if offset.shape != (dim,):
            raise ValueError(f"LinearReadIn expects an offset of shape ({dim},), and got {tuple(offset.shape)}.")
        self._place(weight, offset, trained)

    def arguments(self) -> dict[str, Any]:
        """Sizes, the draw, weight and offset."""
        assert self.offset is not None
        return {
            "inputs": self.inputs,
            "dim": self.dim,
            "trained": self.trained,
            "seed": self.seed,
            "weight": self.weight.detach(),
            "offset": self.offset.detach(),
        }


def check_sizes(name: str, **sizes: int) -> None:
    """Raise ValueError unless all sizes are 1 or more."""
    if min(sizes.values()) < 1:
        got = ", ".join(f"{key} = {value}" for key, value in sizes.items())
        raise ValueError(f"{name} expects sizes that are 1 or more, and got {got}.")


def check_matrix(name: str, weight: Tensor, shape: tuple[int, int]) -> None:
    """Raise ValueError unless the weight has the shape and is finite."""
    if weight.shape != shape or not bool(torch.isfinite(weight.detach()).all()):
        raise ValueError(f"{name} expects a finite weight of shape {shape}, and got one of {tuple(weight.shape)}.")
