"""Source of fused loops for Euler steps along kernel fields: positions and determinants, and their gradients.

For a block of points and every control, the inner loop is over the points of the block: it vectorizes, and what is
summed over the controls stays in the first-level cache. A block goes through all layers before the next one begins.

With D = x − c, u = q|D|², q = 1/s², a step is y = x + h Σ k a, its matrix M = I + 2qh Σ k' a Dᵀ. Given g = h ∂/∂y and
G = h ∂/∂M, a pair contributes F = k a·g + 2q k' aᵀGD, whose derivatives in D, a and q are what `backward_source` sums.
"""

from __future__ import annotations

from typing import Any

from diffeo.backends.cpu.codegen import assignment, name
from diffeo.backends.formulas import Jet
from diffeo.backends.symbolic import Graph, Trace, share_exponentials

BLOCK = 128  # points: the arrays that go with them, 3d + d², fit in the first-level cache
ROUNDS = 12  # of Newton's method: it doubles the digits, and who is not there by then needs help
WRITTEN = 3  # rows up to which determinants are written out


def jet_lines(jet: Jet, wanted: tuple[str, ...]) -> tuple[list[str], list[float]]:
    """Lines that turn ``u`` into those wanted of ``value``, ``slope``, ``bend`` (k, k', k''), and their constants."""
    graph = Graph()
    u = graph.add("input", label="u")
    values: dict[str, Any] = dict(zip(("value", "slope", "bend"), jet.jet(u), strict=True))
    outputs = tuple(u._lift(values[key]).index for key in wanted)
    traced = share_exponentials(Trace(graph, ((u.index,),), (), (outputs,)))
    operations = [k for k, node in enumerate(traced.graph.nodes) if node.op not in ("input", "const")]
    lines = [f"v{traced.rows[0][0]} = u", *(assignment(traced.graph, k) for k in operations)]
    named = zip(wanted, traced.outputs[0], strict=True)
    return lines + [f"{left} = {name(traced.graph, index)}" for left, index in named], traced.graph.constants


def forward_source(jet: Jet, d: int) -> tuple[str, list[float]]:
    """The source of ``loop(x, moved, volumes, kept, keep, c, a, q, h, first, constants, start, stop)``.

    Arrays are stored component by component: x and moved (d, n); volumes (layers, n); kept (layers, d + d², n), for the
    gradient, if ``keep``, the positions before each layer and its matrices; c and a (d, controls of all layers); q and
    h (layers,); the controls of a layer begin at first[layer], (layers + 1,).
    """
    lines, constants = jet_lines(jet, ("value", "slope"))
    axes, entries = range(d), [(r, s) for r in range(d) for s in range(d)]
    out = ["def loop(x, moved, volumes, kept, keep, c, a, q, h, first, constants, start, stop):"]
    out += [f"    k{slot} = constants[{slot}]" for slot in range(len(constants))]
    out += [f"    w = np.empty(({2 * d + d * d}, {BLOCK}), x.dtype)"]
    out += [f"    m = np.empty(({d}, {d}), x.dtype)"] if d > WRITTEN else []
    out += [f"    for begin in range(start, stop, {BLOCK}):", f"        size = min({BLOCK}, stop - begin)"]
    out += ["        for i in range(size):", *(f"            w[{r}, i] = x[{r}, begin + i]" for r in axes)]
    out += ["        for layer in range(len(q)):"]
    out += ["            stretch, step = q[layer], h[layer]", "            twice = R(2) * stretch * step"]
    out += ["            if keep:", "                for i in range(size):"]
    out += [f"                    kept[layer, {r}, begin + i] = w[{r}, i]" for r in axes]
    out += ["            for i in range(size):"]
    out += [f"                w[{r}, i] = R(0)" for r in range(d, 2 * d + d * d)]
    out += [" " * 12 + line for line in summing_lines(lines, d)]
    out += ["            for i in range(size):"]
    tail = [f"w[{r}, i] += step * w[{d + r}, i]" for r in axes]
    tail += [f"w[{2 * d + d * r + s}, i] = twice * w[{2 * d + d * r + s}, i]" + one(r, s) for r, s in entries]
    if d <= WRITTEN:
        tail += [f"m{r}{s} = w[{2 * d + d * r + s}, i]" for r, s in entries]
        tail += [f"volumes[layer, begin + i] = {determinant(d)}"]
    else:
        tail += [f"for r in range({d}):", f"    for s in range({d}):", f"        m[r, s] = w[{2 * d} + {d} * r + s, i]"]
        tail += ["volumes[layer, begin + i] = determinant(m)"]
    out += [" " * 16 + line for line in tail]
    out += ["            if keep:", "                for i in range(size):"]
    out += [f"                    kept[layer, {r}, begin + i] = w[{d + r}, i]" for r in range(d, d + d * d)]
    out += ["        for i in range(size):", *(f"            moved[{r}, begin + i] = w[{r}, i]" for r in axes)]
    return "\n".join(out) + "\n", constants


def backward_source(jet: Jet, d: int) -> tuple[str, list[float]]:
    """The source of ``loop(kept, g_moved, g_volumes, g_x, c, a, q, h, first, g_c, g_a, g_q, constants, start, stop)``.

    Arrays as in `forward_source`; g_c, g_a and g_q, of the shapes of c, a and q, are added to.
    """
    lines, constants = jet_lines(jet, ("value", "slope", "bend"))
    axes, entries = range(d), [(r, s) for r in range(d) for s in range(d)]
    g, total, G = d, 2 * d, 3 * d  # rows of w, after the positions
    out = ["def loop(kept, g_moved, g_volumes, g_x, c, a, q, h, first, g_c, g_a, g_q, constants, start, stop):"]
    out += [f"    k{slot} = constants[{slot}]" for slot in range(len(constants))]
    out += [f"    w = np.empty(({3 * d + d * d}, {BLOCK}), c.dtype)"]
    if d > WRITTEN:
        out += [f"    m, row, pivots = np.empty(({d}, {d}), c.dtype), np.empty({d}, c.dtype), np.empty({d}, np.int64)"]
    out += [f"    for begin in range(start, stop, {BLOCK}):", f"        size = min({BLOCK}, stop - begin)"]
    out += ["        for i in range(size):"]
    out += [f"            g_x[{r}, begin + i] = g_moved[{r}, begin + i]" for r in axes]
    out += ["        for layer in range(len(q) - 1, -1, -1):"]
    out += ["            stretch, step = q[layer], h[layer]", "            twice = R(2) * stretch"]
    out += ["            for i in range(size):"]
    head = [f"w[{r}, i] = kept[layer, {r}, begin + i]" for r in axes]
    head += [f"w[{g + r}, i] = step * g_x[{r}, begin + i]" for r in axes]
    head += [f"w[{total + r}, i] = R(0)" for r in axes]
    head += ["weight = step * g_volumes[layer, begin + i]"]
    if d <= WRITTEN:
        head += [f"m{r}{s} = kept[layer, {d + d * r + s}, begin + i]" for r, s in entries]
        head += [f"w[{G + d * r + s}, i] = weight * ({cofactor(d, r, s)})" for r, s in entries]
    else:
        head += [f"for r in range({d}):", f"    for s in range({d}):"]
        head += [f"        m[r, s] = kept[layer, {d} + {d} * r + s, begin + i]"]
        head += ["weight *= inverted(m, row, pivots, R(1e-20))", f"for r in range({d}):", f"    for s in range({d}):"]
        head += [f"        w[{G} + {d} * r + s, i] = weight * m[s, r]"]
    out += [" " * 16 + line for line in head]
    out += ["            sq = R(0)", "            for j in range(first[layer], first[layer + 1]):"]
    out += [f"                {side}{r} = {side}[{r}, j]" for side in "ca" for r in axes]
    out += [f"                s{side}{r} = R(0)" for side in "ca" for r in axes]
    out += ["                for i in range(size):"]
    inner = [*differences(d), "u = stretch * square", *lines]
    inner += [f"g{r} = w[{g + r}, i]" for r in axes] + [f"G{r}{s} = w[{G + d * r + s}, i]" for r, s in entries]
    inner += [f"b{s} = " + " + ".join(f"a{r} * G{r}{s}" for r in axes) for s in axes]
    inner += ["ag = " + " + ".join(f"a{r} * g{r}" for r in axes)]
    inner += ["bd = " + " + ".join(f"b{r} * d{r}" for r in axes)]
    inner += ["along = twice * (slope * ag + twice * bend * bd)", "z = twice * slope"]
    inner += [f"t{r} = along * d{r} + z * b{r}" for r in axes]
    inner += [f"w[{total + r}, i] += t{r}" for r in axes] + [f"sc{r} -= t{r}" for r in axes]
    inner += [f"sa{r} += value * g{r} + z * (" + " + ".join(f"G{r}{s} * d{s}" for s in axes) + ")" for r in axes]
    inner += ["sq += slope * (square * ag + R(2) * bd) + twice * bend * square * bd"]
    out += [" " * 20 + line for line in inner]
    out += [f"                g_{side}[{r}, j] += s{side}{r}" for side in "ca" for r in axes]
    out += ["            g_q[layer] += sq", "            for i in range(size):"]
    out += [f"                g_x[{r}, begin + i] += w[{total + r}, i]" for r in axes]
    return "\n".join(out) + "\n", constants


def inverse_source(jet: Jet, d: int) -> tuple[str, list[float]]:
    """The source of ``loop(y, x, residuals, dets, eps, unit, c, a, q, h, first, constants, start, stop)``.

    By Newton's method, undamped, from y: x and y of shape (d, n); for every point, (n,), how far its image is from y in
    units of what rounding allows, ``eps`` times the size of the numbers, which is ``unit`` next to the origin, and the
    determinant there. Points that are there leave the block, so that a round costs what is left.
    """
    lines, constants = jet_lines(jet, ("value", "slope"))
    axes, entries, grid = range(d), [(r, s) for r in range(d) for s in range(d)], 2 * d
    out = ["def loop(y, x, residuals, dets, eps, unit, c, a, q, h, first, constants, start, stop):"]
    out += [f"    k{slot} = constants[{slot}]" for slot in range(len(constants))]
    out += ["    layer, stretch, step = 0, q[0], h[0]", "    twice = R(2) * stretch * step"]
    out += [f"    w = np.empty(({2 * d + d * d}, {BLOCK}), c.dtype)"]
    out += [f"    allowed, place = np.empty({BLOCK}, c.dtype), np.empty({BLOCK}, np.int64)"]
    if d > WRITTEN:
        out += [f"    m, row, pivots = np.empty(({d}, {d}), c.dtype), np.empty({d}, c.dtype), np.empty({d}, np.int64)"]
    out += [f"    for begin in range(start, stop, {BLOCK}):", f"        size = min({BLOCK}, stop - begin)"]
    out += ["        for i in range(size):", "            place[i] = begin + i"]
    out += [f"            w[{r}, i] = y[{r}, begin + i]" for r in axes]
    out += [f"        for round in range({ROUNDS}):", "            for i in range(size):"]
    out += [f"                w[{r}, i] = R(0)" for r in range(d, 2 * d + d * d)]
    out += [" " * 12 + line for line in summing_lines(lines, d)]
    out += ["            left = 0", "            for i in range(size):", "                at = place[i]"]
    tail = [f"f{r} = w[{r}, i] + step * w[{d + r}, i] - y[{r}, at]" for r in axes]
    tail += ["residual = sqrt(" + " + ".join(f"f{r} * f{r}" for r in axes) + ")", "if round == 0:"]
    largest = "R(0)"
    for r in axes:
        largest = f"max({largest}, abs(y[{r}, at]))"
    tail += [f"    allowed[i] = eps * (unit + {largest} + residual)"]
    if d <= WRITTEN:
        tail += [f"m{r}{s} = twice * w[{grid + d * r + s}, i]" + one(r, s) for r, s in entries]
        tail += [f"det = {determinant(d)}"]
        moves = [" + ".join(f"({cofactor(d, s, r)}) * f{s}" for s in axes) for r in axes]
        moves = [f"x[{r}, at] = w[{r}, i] - ({move}) / det" for r, move in enumerate(moves)]
    else:
        tail += [f"for r in range({d}):", f"    for s in range({d}):"]
        tail += [f"        m[r, s] = twice * w[{grid} + {d} * r + s, i]", "    m[r, r] += R(1)"]
        tail += ["det = inverted(m, row, pivots, R(1e-20))"]
        moves = [" + ".join(f"m[{r}, {s}] * f{s}" for s in axes) for r in axes]
        moves = [f"x[{r}, at] = w[{r}, i] - ({move})" for r, move in enumerate(moves)]
    tail += ["residuals[at], dets[at] = residual / allowed[i], det"]
    tail += [*moves, "if not residual <= allowed[i]:"]  # a move costs nothing here, and squares the error
    tail += ["    place[left], allowed[left] = at, allowed[i]", *(f"    w[{r}, left] = x[{r}, at]" for r in axes)]
    tail += ["    left += 1"]
    out += [" " * 16 + line for line in tail]
    out += ["            size = left", "            if size == 0:", "                break"]
    return "\n".join(out) + "\n", constants


def norms_source(jet: Jet, d: int) -> tuple[str, list[float]]:
    """The source of ``loop(c, a, q, first, norms, g_c, g_a, g_q, constants)``: ‖v‖² per layer, with its gradients."""
    lines, constants = jet_lines(jet, ("value", "slope"))
    axes = range(d)
    out = ["def loop(c, a, q, first, norms, g_c, g_a, g_q, constants):"]
    out += [f"    k{slot} = constants[{slot}]" for slot in range(len(constants))]
    out += ["    for layer in range(len(q)):", "        stretch, total, sq = q[layer], R(0), R(0)"]
    out += ["        four, begin, size = R(4) * stretch, first[layer], first[layer + 1] - first[layer]"]
    out += [f"        w{side}{r} = {side}[{r}, begin : begin + size]" for side in "ca" for r in axes]
    out += ["        for j in range(size):"]
    out += [f"            {side}{r}, s{side}{r} = w{side}{r}[j], R(0)" for side in "ca" for r in axes]
    out += ["            for i in range(size):"]
    inner = [f"d{r} = c{r} - wc{r}[i]" for r in axes]
    inner += ["square = " + " + ".join(f"d{r} * d{r}" for r in axes), "u = stretch * square", *lines]
    inner += ["aa = " + " + ".join(f"a{r} * wa{r}[i]" for r in axes), "z = slope * aa"]
    inner += [f"sc{r} += z * d{r}" for r in axes] + [f"sa{r} += value * wa{r}[i]" for r in axes]
    inner += ["total += value * aa", "sq += z * square"]
    out += [" " * 16 + line for line in inner]
    out += [f"            g_c[{r}, begin + j] = four * sc{r}" for r in axes]
    out += [f"            g_a[{r}, begin + j] = R(2) * sa{r}" for r in axes]
    out += ["        norms[layer], g_q[layer] = total, sq"]
    return "\n".join(out) + "\n", constants


def summing_lines(lines: list[str], d: int) -> list[str]:
    """Lines that add Σ k a and Σ k' a Dᵀ over the controls of a layer to the rows of ``w`` after the positions."""
    axes = range(d)
    inner = [*differences(d), "u = stretch * square", *lines]
    inner += [f"w[{d + r}, i] += value * a{r}" for r in axes] + [f"t{r} = slope * a{r}" for r in axes]
    inner += [f"w[{2 * d + d * r + s}, i] += t{r} * d{s}" for r in axes for s in axes]
    out = ["for j in range(first[layer], first[layer + 1]):"]
    out += [f"    {side}{r} = {side}[{r}, j]" for side in "ca" for r in axes]
    return [*out, "    for i in range(size):", *(f"        {line}" for line in inner)]


def differences(d: int) -> list[str]:
    """D and |D|² of a point of the block and a control."""
    lines = [f"d{r} = w[{r}, i] - c{r}" for r in range(d)]
    return [*lines, "square = " + " + ".join(f"d{r} * d{r}" for r in range(d))]


def one(r: int, s: int) -> str:
    """The entries of I."""
    return " + R(1)" if r == s else ""


def determinant(d: int) -> str:
    """Of up to three rows m00, m01, …"""
    if d == 1:
        return "m00"
    if d == 2:
        return "m00 * m11 - m01 * m10"
    return "m00 * (m11 * m22 - m12 * m21) + m01 * (m12 * m20 - m10 * m22) + m02 * (m10 * m21 - m11 * m20)"


def cofactor(d: int, r: int, s: int) -> str:
    """∂det/∂m_rs."""
    if d == 1:
        return "R(1)"
    if d == 2:
        return ("-" if r != s else "") + f"m{1 - r}{1 - s}"
    p, q, b, c = (r + 1) % 3, (r + 2) % 3, (s + 1) % 3, (s + 2) % 3
    return f"m{p}{b} * m{q}{c} - m{p}{c} * m{q}{b}"
