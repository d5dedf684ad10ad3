r"""The reductions LDDMM lives on, each written once: what row i gains from column j.

A `Formula` says, for one pair (i, j), which terms are added to the outputs of row i. Every backend executes the same
definitions: dense/ on torch tensors, cpu/ by turning them into fused loops, keops/ as symbolic tensors. Adding a
backend is one more executor; adding a primitive is one more formula. D = x_i − y_j and k, k', k'' are the kernel's
jet at u = |D|². Derivations: Miller, Trouvé & Younes, J. Math. Imaging Vision 2006, and by hand; tests compare each
vector-Jacobian product with automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol


class Algebra(Protocol):
    """How a backend multiplies vectors; everything else is plain arithmetic."""

    def dot(self, a: Any, b: Any) -> Any:
        """⟨a, b⟩, a scalar."""
        ...

    def outer(self, a: Any, b: Any) -> Any:
        """a bᵀ, flattened row by row."""
        ...

    def apply(self, matrix: Any, v: Any) -> Any:
        """M v for a matrix flattened row by row."""
        ...

    def apply_transposed(self, matrix: Any, v: Any) -> Any:
        """Mᵀ v for a matrix flattened row by row."""
        ...


class Jet(Protocol):
    """A function with its derivatives, hashable, so that compiled loops can be kept: every kernel is one."""

    def jet(self, u: Any) -> tuple[Any, ...]:
        """The function and its derivatives at u."""
        ...


SCALARS = frozenset("ws")  # inputs that are numbers, of shape (n, 1): weights and cotangents of scalars
Body = Callable[[Algebra, tuple[Jet, ...], Any, Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Formula:
    """A reduction: out_i = Σ_j body(row i, column j).

    Attributes:
        name: what it is called in caches and error messages.
        rows, columns: names of the inputs, as the body reads them: ``i.x``, ``j.y``.
        body: the terms, one per output; a term has as many components as the dimension it is made of.
        matrices: whether it involves one matrix per pair.
    """

    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    body: Body
    matrices: bool = False

    def trace(self, algebra: Algebra, jets: tuple[Jet, ...], rows: tuple[Any, ...], columns: tuple[Any, ...]) -> Any:
        """The terms of one pair, on whatever the backend computes with."""
        i = SimpleNamespace(**dict(zip(self.rows, rows, strict=True)))
        j = SimpleNamespace(**dict(zip(self.columns, columns, strict=True)))
        return self.body(algebra, jets, i, j)


def formula(rows: str, columns: str, matrices: bool = False) -> Callable[[Body], Formula]:
    """Turn a function of (algebra, jets, i, j) into a `Formula`."""

    def wrap(body: Body) -> Formula:
        return Formula(body.__name__, tuple(rows.split()), tuple(columns.split()), body, matrices)

    return wrap


# ---- K(x, y) b and its derivatives


@formula(rows="x", columns="y b")
def product(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """Σ_j k b_j."""
    D = i.x - j.y
    k, *_ = jets[0].jet(alg.dot(D, D))
    return (k * j.b,)


@formula(rows="x a", columns="y b")
def product_pull(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradient in x_i of Σ_ij k a_i·b_j: Σ_j 2k' (a_i·b_j) D. Exchanging the sides gives that in y_j."""
    D = i.x - j.y
    _, k1, *_ = jets[0].jet(alg.dot(D, D))
    return ((2 * k1 * alg.dot(i.a, j.b)) * D,)


@formula(rows="y b", columns="x a")
def product_pull_both(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradients in (y_i, b_i) of Σ k a·b in one pass: Σ_j 2k' (a_j·b_i) D and Σ_j k a_j."""
    D = i.y - j.x
    k, k1, *_ = jets[0].jet(alg.dot(D, D))
    return (2 * k1 * alg.dot(i.b, j.a)) * D, k * j.a


# ---- Hamilton's equations and their derivative (MATH.md §1)


@formula(rows="q p", columns="q p")
def hamiltonian(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """(∂H/∂p, −∂H/∂q) for H = ½ Σ_ij k p_i·p_j."""
    D = i.q - j.q
    k, k1, *_ = jets[0].jet(alg.dot(D, D))
    return k * j.p, (-2 * k1 * alg.dot(i.p, j.p)) * D


@formula(rows="q p a b", columns="q p a b")
def hamiltonian_pull(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradients in (q, p) of Σ a·q̇ + b·ṗ, the vector-Jacobian product of `hamiltonian`."""
    D = i.q - j.q
    k, k1, k2 = jets[0].jet(alg.dot(D, D))
    db = i.b - j.b
    s, c, pp = alg.dot(db, D), alg.dot(i.a, j.p) + alg.dot(j.a, i.p), alg.dot(i.p, j.p)
    grad_q = (2 * k1 * c - 4 * k2 * pp * s) * D - (2 * k1 * pp) * db
    return grad_q, k * j.a - (2 * k1 * s) * j.p


# ---- divergence and Jacobian of v(x) = Σ_j k b_j, and their derivatives


@formula(rows="x", columns="y b")
def divergence(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """div v(x_i) = Σ_j 2k' D·b_j."""
    D = i.x - j.y
    _, k1, *_ = jets[0].jet(alg.dot(D, D))
    return (2 * k1 * alg.dot(D, j.b),)


@formula(rows="x s", columns="y b")
def divergence_pull(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradient in x_i of Σ_i s_i div v(x_i)."""
    D = i.x - j.y
    _, k1, k2 = jets[0].jet(alg.dot(D, D))
    return ((2 * k1 * i.s) * j.b + (4 * k2 * i.s * alg.dot(D, j.b)) * D,)


@formula(rows="y b", columns="x s")
def divergence_pull_source(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradients in (y_i, b_i) of Σ_j s_j div v(x_j)."""
    D = j.x - i.y
    _, k1, k2 = jets[0].jet(alg.dot(D, D))
    return (-2 * k1 * j.s) * i.b - (4 * k2 * j.s * alg.dot(D, i.b)) * D, (2 * k1 * j.s) * D


@formula(rows="x", columns="y b", matrices=True)
def jacobian(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """Dv(x_i) = Σ_j 2k' b_j Dᵀ."""
    D = i.x - j.y
    _, k1, *_ = jets[0].jet(alg.dot(D, D))
    return (alg.outer((2 * k1) * j.b, D),)


@formula(rows="x A", columns="y b", matrices=True)
def jacobian_pull(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradient in x_i of Σ_i ⟨A_i, Dv(x_i)⟩."""
    D = i.x - j.y
    _, k1, k2 = jets[0].jet(alg.dot(D, D))
    Ab = alg.apply_transposed(i.A, j.b)
    return ((2 * k1) * Ab + (4 * k2 * alg.dot(Ab, D)) * D,)


@formula(rows="y b", columns="x A", matrices=True)
def jacobian_pull_source(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """The gradients in (y_i, b_i) of Σ_j ⟨A_j, Dv(x_j)⟩."""
    D = j.x - i.y
    _, k1, k2 = jets[0].jet(alg.dot(D, D))
    Ab = alg.apply_transposed(j.A, i.b)
    grad_b = (2 * k1) * alg.apply(j.A, D)
    return (-2 * k1) * Ab - (4 * k2 * alg.dot(Ab, D)) * D, grad_b


# ---- the same where points b_j and dipoles w_j both pull: v(x) = Σ_j k b_j + w_j ∇_y k, with ∇_y k = −2k' D


@formula(rows="x", columns="y b w")
def dipoles(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """v(x_i)."""
    D = i.x - j.y
    k, k1, *_ = jets[0].jet(alg.dot(D, D))
    return (k * j.b - (2 * k1 * j.w) * D,)


@formula(rows="x", columns="y b w")
def dipoles_divergence(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """div v(x_i) is the first output, and d times the second."""
    D = i.x - j.y
    u = alg.dot(D, D)
    _, k1, k2 = jets[0].jet(u)
    return 2 * k1 * alg.dot(D, j.b) - 4 * k2 * u * j.w, -2 * k1 * j.w


@formula(rows="x", columns="y b w", matrices=True)
def dipoles_jacobian(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """Dv(x_i) is the first output, and the second times the identity."""
    D = i.x - j.y
    _, k1, k2 = jets[0].jet(alg.dot(D, D))
    return alg.outer((2 * k1) * j.b - (4 * k2 * j.w) * D, D), -2 * k1 * j.w


# ---- kernel products of measures (MATH.md §2): value and gradient in one pass. The second jet is o(z), o'(z).


@formula(rows="c", columns="c w")
def masses(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """Σ_j w_j k and its gradient in c_i: the potential of a measure without directions."""
    D = i.c - j.c
    k, k1, *_ = jets[0].jet(alg.dot(D, D))
    return j.w * k, (2 * j.w * k1) * D


@formula(rows="c n", columns="c n w")
def directed_masses(alg: Algebra, jets: tuple[Jet, ...], i: Any, j: Any) -> tuple[Any, ...]:
    """Σ_j w_j k o(n_i·n_j) and its gradients in c_i and n_i."""
    D = i.c - j.c
    k, k1, *_ = jets[0].jet(alg.dot(D, D))
    o, o1 = jets[1].jet(alg.dot(i.n, j.n))
    return j.w * k * o, (2 * j.w * k1 * o) * D, (j.w * k * o1) * j.n
