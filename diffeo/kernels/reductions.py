"""The fused primitives with their derivatives, as differentiable functions of torch tensors.

Each forward pass and each vector-Jacobian product is a `Formula`, executed by the kernel's backend in one pass. A
second derivative (``create_graph=True``) goes through the dense backend, which torch differentiates to any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffeo.backends import formulas, products
from diffeo.backends.auto import AutoBackend
from diffeo.backends.cpu.particles import UNROLLED, CPUBackend
from diffeo.backends.dense import euler as dense
from diffeo.backends.dense.particles import DenseBackend
from diffeo.backends.formulas import Formula, Jet

if TYPE_CHECKING:
    from diffeo.kernels.algebra import Radial

Sum = Callable[..., tuple[Tensor, ...]]


def summer(kernel: Radial, *jets: Jet) -> Sum:
    """``sums(formula, rows, columns)`` with the kernel's backend, or with torch where a graph is being recorded."""

    def sums(formula: Formula, rows: tuple[Tensor, ...], columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (*rows, *columns))
        backend = DenseBackend() if recording else kernel.backend
        return backend.reduce(formula, (kernel, *jets), rows, columns)

    return sums


class _Reduction(torch.autograd.Function):
    """A primitive: ``forward`` sums a formula, ``backward`` sums its vector-Jacobian product."""

    @staticmethod
    def forward(ctx: Any, primitive: type[Primitive], sums: Sum, *inputs: Tensor) -> Any:
        ctx.save_for_backward(*inputs)
        ctx.primitive, ctx.sums = primitive, sums
        outputs = primitive.value(sums, *inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        needs = ctx.needs_input_grad[2:]
        return None, None, *ctx.primitive.pull(ctx.sums, needs, ctx.saved_tensors, cotangents)


class Primitive(ABC):
    """A formula with its vector-Jacobian product."""

    @staticmethod
    @abstractmethod
    def value(sums: Sum, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs."""

    @staticmethod
    @abstractmethod
    def pull(
        sums: Sum, needs: tuple[bool, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        """The gradients in the inputs that need one."""


class _Product(Primitive):
    @staticmethod
    def value(sums: Sum, *inputs: Tensor) -> tuple[Tensor, ...]:
        x, y, b = inputs
        return sums(formulas.product, (x,), (y, b))

    @staticmethod
    def pull(
        sums: Sum, needs: tuple[bool, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        (x, y, b), (a,) = inputs, cotangents
        grad_x = sums(formulas.product_pull, (x, a), (y, b))[0] if needs[0] else None
        if needs[1]:
            return grad_x, *sums(formulas.product_pull_both, (y, b), (x, a))
        return grad_x, None, sums(formulas.product, (y,), (x, a))[0] if needs[2] else None


class _Hamiltonian(Primitive):
    @staticmethod
    def value(sums: Sum, *inputs: Tensor) -> tuple[Tensor, ...]:
        return sums(formulas.hamiltonian, inputs, inputs)

    @staticmethod
    def pull(
        sums: Sum, needs: tuple[bool, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        everything = (*inputs, *cotangents)
        return sums(formulas.hamiltonian_pull, everything, everything)


class _Divergence(Primitive):
    @staticmethod
    def value(sums: Sum, *inputs: Tensor) -> tuple[Tensor, ...]:
        x, y, b = inputs
        return sums(formulas.divergence, (x,), (y, b))

    @staticmethod
    def pull(
        sums: Sum, needs: tuple[bool, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        (x, y, b), (s,) = inputs, cotangents
        grad_x = sums(formulas.divergence_pull, (x, s), (y, b))[0] if needs[0] else None
        if not (needs[1] or needs[2]):
            return grad_x, None, None
        return grad_x, *sums(formulas.divergence_pull_source, (y, b), (x, s))


class _Jacobian(Primitive):
    @staticmethod
    def value(sums: Sum, *inputs: Tensor) -> tuple[Tensor, ...]:
        x, y, b = inputs
        return sums(formulas.jacobian, (x,), (y, b))

    @staticmethod
    def pull(
        sums: Sum, needs: tuple[bool, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        (x, y, b), (A,) = inputs, cotangents
        grad_x = sums(formulas.jacobian_pull, (x, A), (y, b))[0] if needs[0] else None
        if not (needs[1] or needs[2]):
            return grad_x, None, None
        return grad_x, *sums(formulas.jacobian_pull_source, (y, b), (x, A))


def check_positions(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless a kernel can compare the positions: one dimension, dtype and device."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"a kernel compares positions of shapes (n, d) and (m, d) in one dimension d, and got {tuple(x.shape)} "
            f"and {tuple(y.shape)}."
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"a kernel compares positions of one dtype and device, and got {x.dtype} on {x.device} and {y.dtype} "
            f"on {y.device}: convert one with .to()."
        )


def product(kernel: Radial, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """K(x, y) b: shape (n, e) for x of shape (n, d), y (m, d), b (m, e)."""
    check_positions(x, y)
    return _Reduction.apply(_Product, summer(kernel), x, y, b)


def hamiltonian_field(kernel: Radial, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    r"""Hamilton's equations: $(\dot q, \dot p) = (\partial_p H, -\partial_q H)$, both of shape (n, d).

    Args:
        kernel: differentiable twice at 0 (``smoothness`` ≥ 2) where gradients are wanted.
        q, p: positions and momenta, shape (n, d).
    """
    return _Reduction.apply(_Hamiltonian, summer(kernel), q, p)


def divergence(kernel: Radial, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """Div v(x), shape (n,), of v = Σ_j K(·, y_j) b_j."""
    check_positions(x, y)
    return _Reduction.apply(_Divergence, summer(kernel), x, y, b)[:, 0]


def jacobian(kernel: Radial, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """Dv(x), shape (n, e, d), of v = Σ_j K(·, y_j) b_j with values in R^e."""
    check_positions(x, y)
    if _is_wide(kernel, x):
        return value_and_jacobian(kernel, x, y, b)[1]
    flat = _Reduction.apply(_Jacobian, summer(kernel), x, y, b)
    return flat.unflatten(1, (b.shape[1], x.shape[1]))


def value_and_jacobian(kernel: Radial, x: Tensor, y: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """v(x), shape (n, e), and Dv(x), shape (n, e, d), of v = Σ_j K(·, y_j) b_j: in many dimensions in one pass."""
    check_positions(x, y)
    if _is_wide(kernel, x):
        return _Wide.apply(kernel, x, y, b)
    return product(kernel, x, y, b), jacobian(kernel, x, y, b)


def _is_wide(kernel: Radial, x: Tensor) -> bool:
    """Whether Jacobians are best computed by products of matrices."""
    return x.shape[1] > UNROLLED and isinstance(kernel.backend, AutoBackend | CPUBackend)


class _Wide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Radial, *inputs: Tensor) -> Any:
        x, y, b = inputs
        ctx.save_for_backward(*inputs)
        ctx.kernel = kernel
        return products.evaluate(products.seen(kernel, x, y, b), b)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (x, y, b), kernel, (g, G) = ctx.saved_tensors, ctx.kernel, cotangents
        if torch.is_grad_enabled():  # to be differentiated again
            wanted = [t for t in (x, y, b) if t.requires_grad]
            values = dense.value_and_jacobian(kernel, x, y, b, 1.0)
            found = iter(torch.autograd.grad(values, wanted, cotangents, create_graph=True))
            return None, *(next(found) if t.requires_grad else None for t in (x, y, b))
        return None, *products.pull(products.seen(kernel, x, y, b), b, g, G)


def hamiltonian(kernel: Radial, q: Tensor, p: Tensor) -> Tensor:
    r"""Kinetic energy $H(q, p) = \tfrac12 \langle p, K(q, q)\,p \rangle$.

    Args:
        q: positions, shape (n, d), in length units.
        p: momenta, shape (n, d), dual to q; same dtype and device.

    Returns: a scalar, constant along exact geodesics.
    Raises: ValueError if q and p differ in shape.
    Source: Miller, Trouvé & Younes, J. Math. Imaging Vision, 2006.
    """
    if q.shape != p.shape:
        raise ValueError(
            f"the Hamiltonian pairs positions with momenta, and got shapes {tuple(q.shape)}, {tuple(p.shape)}."
        )
    return 0.5 * (p * product(kernel, q, q, p)).sum()
