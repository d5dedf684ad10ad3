"""Tracing for vectors of any dimension: components are not written out, they stay loops.

Every vector of a formula is a combination Σ c_t v_t, where c_t is a scalar of the pair and v_t a difference (or sum) of
inputs, such as D = x_i − y_j; differences are kept as they are, because products of far-away positions lose digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffeo.backends.formulas import SCALARS, Formula, Jet
from diffeo.backends.symbolic import Graph, Scalar, Trace, share_exponentials

Atom = tuple[tuple[str, str], ...]
"""Inputs with their signs: (("+", "r0"), ("-", "c0")) is row input 0 minus column input 0."""


@dataclass(frozen=True, eq=False)
class WideVector:
    """Σ_t c_t v_t; a coefficient None is 1."""

    graph: Graph
    terms: tuple[tuple[Scalar | None, Atom], ...]

    def __add__(self, other: WideVector) -> WideVector:
        return self._joined(other, "+")

    def __sub__(self, other: WideVector) -> WideVector:
        return self._joined(other, "-")

    def _joined(self, other: WideVector, sign: str) -> WideVector:
        right = other.terms if sign == "+" else tuple((c, negated(v)) for c, v in other.terms)
        (c, v), (e, w) = self.terms[0], right[0]
        if len(self.terms) == len(right) == 1 and c is None and e is None:
            return WideVector(self.graph, ((None, v + w),))
        return WideVector(self.graph, self.terms + right)

    def __rmul__(self, scalar: Scalar | float) -> WideVector:
        s = scalar if isinstance(scalar, Scalar) else self.graph.constant(float(scalar))
        return WideVector(self.graph, tuple((s if c is None else s * c, v) for c, v in self.terms))


def negated(atom: Atom) -> Atom:
    """The atom with all signs changed."""
    return tuple(("-" if sign == "+" else "+", name) for sign, name in atom)


class WideAlgebra:
    """Products of vectors become loops, named by what they multiply; matrices are not for wide vectors."""

    def dot(self, a: WideVector, b: WideVector) -> Any:
        """⟨a, b⟩, a sum of scalars times products of atoms."""
        total: Any = None
        for c, v in a.terms:
            for e, w in b.terms:
                term: Any = a.graph.add("dot", label="|".join(written(atom) for atom in sorted((v, w))))
                for factor in (c, e):
                    term = term if factor is None else factor * term
                total = term if total is None else total + term
        return total

    def outer(self, a: Any, b: Any) -> Any:
        """Not for wide vectors."""
        raise TypeError("matrices of wide vectors are not traced")

    def apply(self, matrix: Any, v: Any) -> Any:
        """Not for wide vectors."""
        return self.outer(matrix, v)

    def apply_transposed(self, matrix: Any, v: Any) -> Any:
        """Not for wide vectors."""
        return self.outer(matrix, v)


def written(atom: Atom) -> str:
    """One component of an atom: ``+r0-c0``."""
    return "".join(sign + name for sign, name in atom)


@dataclass(frozen=True)
class WideTrace:
    """A formula run on wide vectors.

    Attributes:
        graph: the operations on scalars; ``dot`` nodes are loops over components.
        outputs: for each output its terms (node of the coefficient, or None, and atom), or the node of a scalar.
        widths: the dimension of each output.
        rows, columns: how many inputs there are.
    """

    graph: Graph
    outputs: tuple[int | tuple[tuple[int | None, Atom], ...], ...]
    widths: tuple[int, ...]
    rows: int
    columns: int


def trace_wide(formula: Formula, jets: tuple[Jet, ...], rows: tuple[int, ...], columns: tuple[int, ...]) -> WideTrace:
    """Run the formula on wide symbols; ``rows`` and ``columns`` are the dimensions of its inputs."""
    graph = Graph()

    def symbols(side: str, names: tuple[str, ...]) -> tuple[Any, ...]:
        vectors = [WideVector(graph, ((None, (("+", f"{side}{k}"),)),)) for k in range(len(names))]
        scalars = [graph.add("input", label=f"{side}{k}") if n in SCALARS else None for k, n in enumerate(names)]
        return tuple(v if s is None else s for v, s in zip(vectors, scalars, strict=True))

    terms = formula.trace(WideAlgebra(), jets, symbols("r", formula.rows), symbols("c", formula.columns))
    shared, nodes = _shared(graph, terms)
    width = {f"r{k}": w for k, w in enumerate(rows)} | {f"c{k}": w for k, w in enumerate(columns)}
    widths = tuple(1 if isinstance(t, Scalar) else width[t.terms[0][1][0][1]] for t in terms)
    outputs = tuple(
        nodes[t.index]
        if isinstance(t, Scalar)
        else tuple((None if c is None else nodes[c.index], v) for c, v in t.terms)
        for t in terms
    )
    return WideTrace(shared, outputs, widths, len(rows), len(columns))


def _shared(graph: Graph, terms: tuple[Any, ...]) -> tuple[Graph, dict[int, int]]:
    """The graph with exponentials shared, and where the outputs' coefficients are in it."""
    used = [t if isinstance(t, Scalar) else c for t in terms for c, _ in getattr(t, "terms", [(t, None)])]
    needed = [c.index for c in used if c is not None]
    traced = share_exponentials(Trace(graph, (), (), (tuple(needed),)))
    return traced.graph, dict(zip(needed, traced.outputs[0], strict=True))
