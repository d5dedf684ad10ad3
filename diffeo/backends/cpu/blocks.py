"""Source of fused loops for vectors of any dimension: columns in blocks, components as inner loops.

For each row and each block of columns: all dot products (a loop over components, each vectorized over the block), then
the scalars of every pair, then the outputs (a loop over components again). A block's scalars stay in the cache.
"""

from __future__ import annotations

import re

from diffeo.backends.cpu.codegen import assignment, name
from diffeo.backends.wide import Atom, WideTrace, written

BLOCK = 256  # columns: some ten arrays of that length fit in the first-level cache


def loop_source(trace: WideTrace) -> str:
    """The source of ``loop(rows…, columns…, outputs…, constants, start, stop)``."""
    graph = trace.graph
    arguments = [f"r{k}" for k in range(trace.rows)] + [f"c{k}" for k in range(trace.columns)]
    arguments += [f"o{k}" for k in range(len(trace.outputs))]
    dots = [k for k, node in enumerate(graph.nodes) if node.op == "dot"]
    kept = sorted({c for output in trace.outputs if not isinstance(output, int) for c, _ in output if c is not None})
    lines = [f"def loop({', '.join(arguments)}, constants, start, stop):"]
    lines += [f"    k{slot} = constants[{slot}]" for slot in range(len(graph.constants))]
    lines += [f"    d{k} = np.empty({BLOCK}, c0.dtype)" for k in dots]
    lines += [f"    w{k} = np.empty({BLOCK}, c0.dtype)" for k in kept]
    lines += ["    m = c0.shape[1]", "    for i in range(start, stop):"]
    for o, output in enumerate(trace.outputs):
        lines += [f"        s{o} = R(0)"] if isinstance(output, int) else [f"        o{o}[:, i] = R(0)"]
    lines += [f"        for first in range(0, m, {BLOCK}):", f"            size = min({BLOCK}, m - first)"]
    for k in dots:
        lines += dot_lines(k, *graph.nodes[k].label.split("|"))
    lines += [f"            z{k} = c{k}[0, first : first + size]" for k in range(trace.columns)]
    lines += ["            for b in range(size):"]
    lines += [" " * 16 + line for line in scalar_lines(trace, kept)]
    for o, output in enumerate(trace.outputs):
        if not isinstance(output, int):
            lines += output_lines(o, output)
    for o, output in enumerate(trace.outputs):
        lines += [f"        o{o}[0, i] = s{o}"] if isinstance(output, int) else []
    return "\n".join(lines) + "\n"


def dot_lines(index: int, a: str, b: str) -> list[str]:
    """All products of two atoms over a block."""
    loads, product = per_component(f"({a}) * ({b})")
    dimension = re.findall(INPUT, a)[0]
    return [
        f"            d{index}[:size] = R(0)",
        f"            for k in range({dimension}.shape[0]):",
        *loads,
        "                for b in range(size):",
        f"                    d{index}[b] += {product}",
    ]


INPUT = r"\b[rc]\d+\b"


def per_component(expression: str) -> tuple[list[str], str]:
    """Lines that fetch component k of all inputs, and the expression in what they fetch.

    Columns are fetched as views of the block: an index that starts at 0 lets LLVM vectorize.
    """
    inputs = sorted(set(re.findall(INPUT, expression)))
    places = {name: "i" if name[0] == "r" else "first : first + size" for name in inputs}
    loads = [f"                x{name} = {name}[k, {place}]" for name, place in places.items()]
    return loads, re.sub(INPUT, lambda found: f"x{found[0]}" + ("" if found[0][0] == "r" else "[b]"), expression)


def scalar_lines(trace: WideTrace, kept: list[int]) -> list[str]:
    """The scalars of one pair: what the outputs are weighed with."""
    lines = []
    for k, node in enumerate(trace.graph.nodes):
        if node.op == "dot":
            lines.append(f"v{k} = d{k}[b]")
        elif node.op == "input":
            place = f"{node.label}[0, i]" if node.label[0] == "r" else f"z{node.label[1:]}[b]"
            lines.append(f"v{k} = {place}")
        elif node.op != "const":
            lines.append(assignment(trace.graph, k))
    lines += [f"w{k}[b] = {name(trace.graph, k)}" for k in kept]
    return lines + [
        f"s{o} += {name(trace.graph, node)}" for o, node in enumerate(trace.outputs) if isinstance(node, int)
    ]


def output_lines(o: int, terms: tuple[tuple[int | None, Atom], ...]) -> list[str]:
    """One output, component by component: Σ over the block of all its terms."""
    summed = " + ".join(f"({written(v)})" if c is None else f"w{c}[b] * ({written(v)})" for c, v in terms)
    loads, term = per_component(summed)
    return [
        f"            for k in range(o{o}.shape[0]):",
        *loads,
        "                total = R(0)",
        "                for b in range(size):",
        f"                    total += {term}",
        f"                o{o}[k, i] += total",
    ]
