"""An exponential that vectorizes.

``math.exp`` is a call, and a call in the inner loop keeps LLVM from using vectors: ten times slower. Here
exp(x) = 2ⁿ · exp(f) with n whole and |f| ≤ ½ log 2; exp(f) = 1 + f·P(f) with P interpolated at Chebyshev nodes (so that
exp(0) = 1 exactly), and 2ⁿ is written into the exponent's bits. Below the smallest normal number the result is clamped
there, because denormals are slow. f = x − n·log 2 is one fused multiply-add: nothing is rounded but log 2 itself, which
costs |x| · 3e-9 in float32 (rounding x / log 2 first would cost |x| · 6e-8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

LOG2 = 0.6931471805599453
DEGREE = {"float32": 5, "float64": 12}  # of exp(f): relative errors 2e-7 and 3e-16
LOWEST = {"float32": -87.336, "float64": -708.39}  # log of the smallest normal number, rounded up


def coefficients(dtype: str) -> list[float]:
    """Coefficients of P, lowest first."""
    degree = DEGREE[dtype] - 1
    reach = np.log(2) / 2
    nodes = reach * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = np.where(nodes == 0, 1, np.expm1(nodes) / np.where(nodes == 0, 1, nodes))
    fitted = Chebyshev.fit(nodes, values, degree, domain=[-reach, reach]).convert(kind=Polynomial)
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
    size = dtype.removeprefix("float")
    polynomial = "R(0)"
    for c in reversed(coefficients(dtype)):
        polynomial = f"R({c!r})" if polynomial == "R(0)" else f"({polynomial}) * f + R({c!r})"
    return f"""
@njit(inline="always", fastmath=True)
def exp(x):
    x = max(x, R({LOWEST[dtype]!r}))
    n = np.int32(x * R({1 / LOG2!r}) - R(0.5))
    f = x - R(n) * R({LOG2!r})
    return (R(1) + f * ({polynomial})) * exp2_bits{size}(n)
"""
