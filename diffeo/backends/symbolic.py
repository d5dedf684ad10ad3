"""Tracing: run a formula once on symbols, and keep what it does as a graph of scalar operations.

Vectors are tuples of scalars here, so that the emitted code is straight-line arithmetic on components. Equal
expressions are the same node. Every constant becomes a *slot*, so that one compiled loop serves all scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from diffeo.backends.formulas import SCALARS, Formula, Jet


@dataclass(frozen=True)
class Node:
    """One scalar operation; its arguments are indices of earlier nodes."""

    op: str
    args: tuple[int, ...]
    label: str = ""  # the input's name, or the constant's slot


@dataclass
class Graph:
    """The operations in the order of evaluation, and the values of the constants."""

    nodes: list[Node] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    _seen: dict[Node, int] = field(default_factory=dict)

    def add(self, op: str, *args: int, label: str = "") -> Scalar:
        """The node for this operation, new or already there."""
        if op in ("add", "mul"):  # commutative: constants first, then by age
            args = tuple(sorted(args, key=lambda a: (self.nodes[a].op != "const", a)))
        node = Node(op, args, label)
        if node not in self._seen:
            self._seen[node] = len(self.nodes)
            self.nodes.append(node)
        return Scalar(self, self._seen[node])

    def constant(self, value: float) -> Scalar:
        """A constant; equal values share a slot."""
        if value not in self.constants:
            self.constants.append(value)
        return self.add("const", label=str(self.constants.index(value)))

    def value(self, index: int) -> float | None:
        """The constant behind a node, or None if it is none."""
        node = self.nodes[index]
        return self.constants[int(node.label)] if node.op == "const" else None


@dataclass(frozen=True, eq=False)
class Scalar:
    """A scalar expression; a kernel's jet may use + − * / **, exp() and sqrt()."""

    graph: Graph
    index: int

    def _lift(self, other: Any) -> Scalar:
        return other if isinstance(other, Scalar) else self.graph.constant(float(other))

    def _fold(self, other: Any, op: str, function: Any) -> Any:
        if not isinstance(other, (Scalar, int, float)):
            return NotImplemented
        other = self._lift(other)
        a, b = self.graph.value(self.index), self.graph.value(other.index)
        if a is not None and b is not None:
            return self.graph.constant(function(a, b))
        return self.graph.add(op, self.index, other.index)

    def __add__(self, other: Any) -> Any:
        return self._fold(other, "add", lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._fold(other, "sub", lambda a, b: a - b)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, (Scalar, int, float)):
            return NotImplemented  # a vector multiplies itself
        other = self._lift(other)
        a, node = self.graph.value(self.index), self.graph.nodes[other.index]
        if a is None and node.op == "const":
            return other * self
        if a == 1:
            return other
        if a is not None and node.op == "mul" and (b := self.graph.value(node.args[0])) is not None:
            return self.graph.constant(a * b) * Scalar(self.graph, node.args[1])  # 2 * (3 * x) is 6 * x
        return self._fold(other, "mul", lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        other = self._lift(other)
        b = self.graph.value(other.index)
        return self * (1 / b) if b is not None else self._fold(other, "div", lambda a, b: a / b)

    def __radd__(self, other: Any) -> Any:
        return self._lift(other) + self

    def __rsub__(self, other: Any) -> Any:
        return self._lift(other) - self

    def __rmul__(self, other: Any) -> Any:
        return self._lift(other) * self

    def __rtruediv__(self, other: Any) -> Any:
        return self._lift(other) / self

    def __neg__(self) -> Any:
        return -1.0 * self

    def __pow__(self, power: int) -> Any:
        if not isinstance(power, int) or power < 1:
            raise TypeError(f"a jet may use whole positive powers only, and uses ** {power}.")
        half = self ** (power // 2) if power > 1 else None
        if half is None:
            return self
        return half * half * self if power % 2 else half * half

    def exp(self) -> Scalar:
        """The exponential."""
        return self.graph.add("exp", self.index)

    def sqrt(self) -> Scalar:
        """The square root."""
        return self.graph.add("sqrt", self.index)


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector of scalar expressions."""

    components: tuple[Scalar, ...]

    def __add__(self, other: Vector) -> Vector:
        return Vector(tuple(a + b for a, b in zip(self.components, other.components, strict=True)))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(tuple(a - b for a, b in zip(self.components, other.components, strict=True)))

    def __rmul__(self, scalar: Scalar | float) -> Vector:
        return Vector(tuple(scalar * c for c in self.components))


class SymbolicAlgebra:
    """Vectors of symbols."""

    def dot(self, a: Vector, b: Vector) -> Scalar:
        """⟨a, b⟩."""
        products = [x * y for x, y in zip(a.components, b.components, strict=True)]
        total = products[0]
        for item in products[1:]:
            total = total + item
        return total

    def outer(self, a: Vector, b: Vector) -> Vector:
        """a bᵀ, flattened."""
        return Vector(tuple(x * y for x in a.components for y in b.components))

    def apply(self, matrix: Vector, v: Vector) -> Vector:
        """M v."""
        d = len(v.components)
        rows = [matrix.components[k : k + d] for k in range(0, len(matrix.components), d)]
        return Vector(tuple(self.dot(Vector(row), v) for row in rows))

    def apply_transposed(self, matrix: Vector, v: Vector) -> Vector:
        """Mᵀ v."""
        width = len(matrix.components) // len(v.components)
        columns = [matrix.components[k::width] for k in range(width)]
        return Vector(tuple(self.dot(Vector(column), v) for column in columns))


@dataclass(frozen=True)
class Trace:
    """A formula run on symbols of given dimensions.

    Attributes:
        graph: all operations, in order.
        rows, columns: for each input, the nodes of its components.
        outputs: for each output, the nodes of its components.
    """

    graph: Graph
    rows: tuple[tuple[int, ...], ...]
    columns: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def trace(formula: Formula, jets: tuple[Jet, ...], rows: tuple[int, ...], columns: tuple[int, ...]) -> Trace:
    """Run the formula on symbols; ``rows`` and ``columns`` are the dimensions of its inputs."""
    graph = Graph()

    def symbols(side: str, names: tuple[str, ...], widths: tuple[int, ...]) -> tuple[Scalar | Vector, ...]:
        vectors = [
            tuple(graph.add("input", label=f"{side}_{name}{k}") for k in range(width))
            for name, width in zip(names, widths, strict=True)
        ]
        return tuple(v[0] if name in SCALARS else Vector(v) for name, v in zip(names, vectors, strict=True))

    i, j = symbols("i", formula.rows, rows), symbols("j", formula.columns, columns)
    terms = formula.trace(SymbolicAlgebra(), jets, i, j)
    traced = Trace(graph, tuple(map(_indices, i)), tuple(map(_indices, j)), tuple(map(_indices, terms)))
    return share_exponentials(traced)


def _indices(term: Scalar | Vector) -> tuple[int, ...]:
    return (term.index,) if isinstance(term, Scalar) else tuple(c.index for c in term.components)


def share_exponentials(old: Trace) -> Trace:
    """Replace exp(2ᵏ·c·u) by k squarings of exp(c·u): a sum of kernels of halving width costs one exponential.

    Unused operations disappear on the way. Each squaring loses a bit, so k stays at 6 or below.
    """
    new, moved = Graph(), {}
    needed = _reachable(old)
    exponents = {i: e for i in needed if (e := _exponent(old.graph, i)) is not None}

    def exponential(argument: int, factor: float) -> Scalar:
        widest = min((c for a, c in exponents.values() if a == argument), key=abs)
        doublings = math.log2(factor / widest) if factor * widest > 0 else 0.5
        whole = round(doublings)
        if 0 < whole <= 6 and abs(doublings - whole) < 1e-9:
            half = exponential(argument, widest * 2 ** (whole - 1))  # from the widest, or rounding would end elsewhere
            return half * half
        return (factor * Scalar(new, moved[argument])).exp()

    for index in needed:
        node = old.graph.nodes[index]
        if node.op == "const":
            moved[index] = new.constant(old.graph.constants[int(node.label)]).index
        elif index in exponents:
            moved[index] = exponential(*exponents[index]).index
        else:
            moved[index] = new.add(node.op, *(moved[a] for a in node.args), label=node.label).index

    def move(groups: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(moved[i] for i in group) for group in groups)

    return Trace(new, move(old.rows), move(old.columns), move(old.outputs))


def _reachable(trace: Trace) -> list[int]:
    """The nodes that the outputs rest on, and all inputs, in order of evaluation; arguments inside shared exps stay."""
    needed = {i for group in (*trace.rows, *trace.columns, *trace.outputs) for i in group}
    for index in reversed(range(len(trace.graph.nodes))):
        if index in needed:
            exponent = _exponent(trace.graph, index)
            needed.update(trace.graph.nodes[index].args if exponent is None else exponent[:1])
    return sorted(needed)


def _exponent(graph: Graph, index: int) -> tuple[int, float] | None:
    """(u, c) where the node is exp(c·u), and None where it is not."""
    node = graph.nodes[index]
    if node.op != "exp":
        return None
    argument = graph.nodes[node.args[0]]
    if argument.op == "mul" and (c := graph.value(argument.args[0])) is not None:
        return argument.args[1], c
    return None
