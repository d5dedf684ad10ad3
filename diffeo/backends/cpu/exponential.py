"""An exponential that vectorizes.

``math.exp`` is a call, and a call in the inner loop keeps LLVM from using vectors: ten times slower. Here
exp(x) = 2ⁿ · 2^f with n whole and |f| ≤ ½; 2^f = 1 + f·P(f) with P interpolated at Chebyshev nodes (so that
exp(0) = 1 exactly), and 2ⁿ is written into the exponent's bits. Below the smallest normal number the result is clamped
there, because denormals are slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

LOG2E = 1.4426950408889634
DEGREE = {"float32": 5, "float64": 12}  # of 2^f: relative errors 2e-7 and 3e-16
LOWEST = {"float32": -126.0, "float64": -1022.0}


def coefficients(dtype: str) -> list[float]:
    """Coefficients of P, lowest first."""
    degree = DEGREE[dtype] - 1
    nodes = 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = np.expm1(nodes * np.log(2)) / np.where(nodes == 0, 1, nodes)
    values = np.where(nodes == 0, np.log(2), values)
    fitted = Chebyshev.fit(nodes, values, degree, domain=[-0.5, 0.5]).convert(kind=Polynomial)
    return [float(c) for c in fitted.coef]


@intrinsic
def exp2_bits32(typingctx: Any, n: Any) -> Any:
    """2ⁿ in float32 for a whole number n in int32, by its bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        biased = builder.add(args[0], ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def exp2_bits64(typingctx: Any, n: Any) -> Any:
    """2ⁿ in float64 for a whole number n in int32, by its bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        biased = builder.sext(builder.add(args[0], ir.Constant(ir.IntType(32), 1023)), ir.IntType(64))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(64), 52)), ir.DoubleType())

    return types.float64(types.int32), codegen


def source(dtype: str) -> str:
    """Python source of ``exp(x)`` for x ≤ 0 in the given precision, to stand in a generated module."""
    bits = {"float32": "exp2_bits32", "float64": "exp2_bits64"}[dtype]
    polynomial = "R(0)"
    for c in reversed(coefficients(dtype)):
        polynomial = f"R({c!r})" if polynomial == "R(0)" else f"({polynomial}) * f + R({c!r})"
    return f"""
@njit(inline="always", fastmath=True)
def exp(x):
    t = max(x * R({LOG2E!r}), R({LOWEST[dtype]!r}))
    n = np.int32(t - R(0.5))
    f = t - R(n)
    return (R(1) + f * ({polynomial})) * {bits}(n)
"""
