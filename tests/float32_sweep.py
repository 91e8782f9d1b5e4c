"""The error of unary float32 functions at every one of the 2^32 inputs, against their own float64 forms.

    python tests/float32_sweep.py            measures all of them, and writes docs/numerics.md
    python tests/float32_sweep.py exp tanh   measures these

One generated kernel computes a function in float32 and in float64 and the distance between them, in units in the last
place of the float32 result. What the float64 forms are off (see tests/test_ir_math.py, tests/test_ir_special.py) is
some 10^-8 of such a unit. Infinities and nan must agree; where the true value rounds to infinity, the largest number
is accepted as well.
"""

import ctypes
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import kernels
from flambeau.ir import fn
from flambeau.ir.expr import Expr, const
from flambeau.ir.program import In, trace

CHUNK = 1 << 20
PAGE = Path(__file__).parents[1] / "docs" / "numerics.md"
LARGEST = float(np.finfo(np.float32).max)
# Functions whose bound is 2 ulp.
ELEMENTARY = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "sqrt", "rsqrt", "reciprocal", "sigmoid", "softplus", "log_sigmoid", "erf", "erfc",
)  # fmt: skip


def distance(got: Expr, exact: Expr) -> Expr:
    """Between a float32 and a float64 value, in units in the last place of float32; infinite where they disagree."""
    exponent = (fn.bitcast(fn.abs(exact), "i64") >> 52) - 1023
    exponent = fn.where(exponent < -126, const(-126, "i64"), exponent)
    unit = fn.bitcast((exponent + (1023 - 23)) << 52, "f64")
    error = fn.cast(fn.abs(fn.cast(got, "f64") - exact) / unit, "f32")
    rounded = fn.cast(exact, "f32")
    agree = (got == rounded) | (fn.isnan(got) & fn.isnan(rounded)) | (fn.isinf(rounded) & (fn.abs(got) == LARGEST))
    special = ~fn.isfinite(rounded) | ~fn.isfinite(got)
    return fn.where(special, fn.where(agree, const(0.0, "f32"), np.inf), error)


def sweep(name: str) -> tuple[float, float]:
    """The largest error of a function, and where it is."""
    function = getattr(fn, name)

    def program(bits: Expr) -> Expr:
        x = fn.bitcast(bits, "f32")
        return distance(function(x), function(fn.cast(x, "f64")))

    kernel = kernels.load(trace(program, [In("u32")]), "cc", kernels.host_levels()[0])
    steps = np.arange(CHUNK, dtype=np.uint32)
    params = np.zeros((1, 2))
    workers = len(os.sched_getaffinity(0))

    def part(first: int) -> tuple[float, int]:
        bits, errors = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.float32)
        pointers = (ctypes.c_void_p * 2)(errors.ctypes.data, bits.ctypes.data)
        strides = (ctypes.c_int64 * 4)(4, 4, 4 * CHUNK, 4 * CHUNK)
        worst, place = -1.0, 0
        for start in range(first * CHUNK, 1 << 32, workers * CHUNK):
            np.add(steps, np.uint32(start), out=bits)
            kernel(pointers, strides, CHUNK, 1, params.ctypes.data)
            largest = float(errors.max())
            if largest > worst:
                worst, place = largest, int(bits[errors.argmax()])
        return worst, place

    with ThreadPoolExecutor(workers) as pool:
        worst, place = max(pool.map(part, range(workers)))
    return worst, float(np.uint32(place).view(np.float32))


def page(results: dict[str, tuple[float, float]]) -> str:
    """docs/numerics.md."""
    lines = [
        "# Numerics",
        "",
        "The largest error of each elementary function of float32 over all 2^32 inputs, in units in the last place (ulp),",
        "and an input where it occurs; the bound is 2 ulp. The reference is the function's float64 form, whose own errors",
        "(4 ulp of float64, `tests/test_ir_math.py`) are measured against mpmath and long double. Infinities and nan agree",
        "everywhere. `make test-all` tries all of it (`tests/test_float32_sweep.py`), and `tests/float32_sweep.py` writes",
        "this page.",
        "",
        "Other functions of float32 (gamma, zeta, Bessel, the normal distribution, ...) are computed in float64 and rounded",
        "once: 0.5 ulp, and what the float64 form is off. Each states that in its documentation; `tests/test_ir_special.py`",
        "measures it against mpmath. erfinv is within 1 ulp, and gelu within 2 ulp above -5 and 6.1 ulp below, down to -12,",
        "in arithmetic of float32. Functions of two operands (pow, atan2, hypot) are held to what their documentation states",
        "over samples of all sizes in `tests/test_ir_math.py`. Gradients of gamma and beta samples:",
        "[distributions.md](distributions.md). bfloat16 and float16 are computed in float32 and rounded once.",
        "",
        "| Function | Largest error (ulp) | At |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {worst:.3f} | {np.float32(place)!s} |" for name, (worst, place) in results.items()]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    results = {}
    for name in names or ELEMENTARY:
        began = time.perf_counter()
        results[name] = sweep(name)
        print(f"{name}: {results[name][0]:.3f} at {results[name][1]!r} ({time.perf_counter() - began:.0f} s)", flush=True)
    if not names:
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])
