"""Complex expressions as pairs of real ones: the pass that leaves no complex value in a program.

A root of complex dtype becomes two roots, real part first. Formulas avoid overflow and cancellation where a plain
transcription would meet them.
"""

import math
from collections.abc import Callable, Iterable

from . import fn
from . import types as t
from .expr import Expr, const, node, walk
from .scalar import make, rebuild

Pair = tuple[Expr, Expr]


def split_pairs(roots: Iterable[Expr]) -> list[Expr]:
    """The roots with complex ones given as (real, imaginary)."""
    roots = list(roots)
    order = walk(roots)
    if not any(t.is_complex(e.dtype) for e in order):
        return roots
    value: dict[int, Expr | Pair] = {}
    for e in order:
        args = [value[id(a)] for a in e.args]
        value[id(e)] = _pair_of(e, args) if t.is_complex(e.dtype) else _real_of(e, args)
    out: list[Expr] = []
    for r in roots:
        v = value[id(r)]
        out.extend(v if isinstance(v, tuple) else (v,))
    return out


def _real_of(e: Expr, args: list) -> Expr:
    if e.op in ("real", "imag"):
        return args[0][0 if e.op == "real" else 1]
    if e.op == "abs" and t.is_complex(e.args[0].dtype):
        return fn.hypot(*args[0])
    return rebuild(e, tuple(args))


def _pair_of(e: Expr, args: list) -> Pair:
    part = t.real_of(e.dtype)
    if e.op == "const":
        return const(e.attr.real, part), const(e.attr.imag, part)
    if e.op in ("input", "param"):
        return node(e.op, part, (), (e.attr[0], 0)), node(e.op, part, (), (e.attr[0], 1))
    if e.op == "cast":
        return _cast(args[0], part)
    if e.op in ("select", "unlikely"):
        condition, (ar, ai), (br, bi) = args
        return make(e.op, part, (condition, ar, br)), make(e.op, part, (condition, ai, bi))
    if e.op == "row_sum":
        return fn.row_sum(args[0][0]), fn.row_sum(args[0][1])
    if e.op == "row_prod":
        return make("row_prod_re", part, args[0]), make("row_prod_im", part, args[0])
    rule = _RULES.get(e.op)
    if rule is None:
        raise TypeError(f"{e.op} is not defined for complex expressions")
    return rule(*args)


def _cast(x: Expr | Pair, part: str) -> Pair:
    if isinstance(x, tuple):
        return fn.cast(x[0], part), fn.cast(x[1], part)
    return fn.cast(x, part), const(0.0, part)


def _add(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def _sub(a: Pair, b: Pair) -> Pair:
    return a[0] - b[0], a[1] - b[1]


def _mul(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _scale(a: Pair, factor) -> Pair:
    return a[0] * factor, a[1] * factor


def _neg(a: Pair) -> Pair:
    return -a[0], -a[1]


def _times_i(a: Pair) -> Pair:
    return -a[1], a[0]


def _over_i(a: Pair) -> Pair:
    return a[1], -a[0]


def _div(a: Pair, b: Pair) -> Pair:
    """Smith's division: by the part of the divisor that is larger."""
    real_larger = fn.abs(b[0]) >= fn.abs(b[1])
    large, small = fn.where(real_larger, b[0], b[1]), fn.where(real_larger, b[1], b[0])
    first, second = fn.where(real_larger, a[0], a[1]), fn.where(real_larger, a[1], a[0])
    ratio = small / large
    first, second = first / large, second / large
    scale = 1.0 / (ratio * ratio + 1.0)
    re = (first + second * ratio) * scale
    im = (second - first * ratio) * scale
    zero = large == 0.0
    size = fn.abs(large)
    return (
        fn.where(zero, a[0] / size, re),
        fn.where(zero, a[1] / size, fn.where(real_larger, im, -im)),
    )


def _wave(function: Callable[[Expr], Expr], y: Expr, known: Expr, value: float) -> Expr:
    """sin y or cos y; the value where y is no angle, but what it is a factor of is known without it."""
    return fn.where(known & ~fn.isfinite(y), value, function(y))


def _exp(a: Pair) -> Pair:
    x, y = a
    size, infinite = fn.exp(x), fn.isinf(x)
    re, im = size * _wave(fn.cos, y, infinite, 1.0), size * _wave(fn.sin, y, infinite, 0.0)
    return re, fn.where(y == 0.0, y, im)


def _expm1(a: Pair) -> Pair:
    half = fn.sin(a[1] * 0.5)
    return fn.expm1(a[0]) * fn.cos(a[1]) - half * half * 2.0, fn.exp(a[0]) * fn.sin(a[1])


def _log(a: Pair) -> Pair:
    return _log_size(a), fn.atan2(a[1], a[0])


def _log_size(a: Pair) -> Expr:
    """log |a|; near the unit circle by log1p((x - 1)(x + 1) + y*y)."""
    x, y = fn.abs(a[0]), fn.abs(a[1])
    large, small = fn.where(x > y, x, y), fn.where(x > y, y, x)
    near = (large > 0.5) & (large < 2.0)
    close = fn.log1p((large - 1.0) * (large + 1.0) + small * small) * 0.5
    return fn.where(near, close, fn.log(fn.hypot(x, y)))


def _log1p(a: Pair) -> Pair:
    size = fn.log1p(a[0] * (a[0] + 2.0) + a[1] * a[1]) * 0.5
    moved = (a[0] + 1.0, a[1])
    small = (fn.abs(a[0]) < 0.5) & (fn.abs(a[1]) < 0.5)
    return fn.where(small, size, _log_size(moved)), fn.atan2(a[1], moved[0])


def _sqrt(a: Pair) -> Pair:
    """By the root of (|a| + |x|) / 2, which is never a difference."""
    x, y = a
    root = fn.sqrt(fn.hypot(x, y) * 0.5 + fn.abs(x) * 0.5)
    other = fn.where(root == 0.0, 0.0, fn.abs(y) / (root * 2.0))
    right = ~fn.signbit(x)
    re, im = fn.where(right, root, other), fn.where(right, other, root)
    infinite = fn.isinf(y)
    return fn.where(infinite, math.inf, re), fn.copysign(fn.where(infinite, math.inf, im), y)


def _reciprocal(a: Pair) -> Pair:
    return _div((const(1.0, a[0].dtype), const(0.0, a[0].dtype)), a)


def _pow(a: Pair, b: Pair) -> Pair:
    value = _exp(_mul(_log(a), b))
    zero = (a[0] == 0.0) & (a[1] == 0.0)
    to_zero = (b[0] == 0.0) & (b[1] == 0.0)
    at_zero = fn.where(b[0] > 0.0, const(0.0, a[0].dtype), math.nan)
    re = fn.where(to_zero, 1.0, fn.where(zero, at_zero, value[0]))
    return re, fn.where(to_zero, 0.0, fn.where(zero, at_zero, value[1]))


def _sinh(a: Pair) -> Pair:
    x, y = a
    re = fn.sinh(x) * _wave(fn.cos, y, fn.isinf(x) | (x == 0.0), 1.0)
    return re, fn.where(y == 0.0, y, fn.cosh(x) * fn.sin(y))


def _cosh(a: Pair) -> Pair:
    x, y = a
    re = fn.cosh(x) * _wave(fn.cos, y, fn.isinf(x), 1.0)
    im = fn.sinh(x) * _wave(fn.sin, y, x == 0.0, 1.0)
    return re, fn.where(y == 0.0, fn.copysign(1.0, x) * y, im)


def _tanh(a: Pair) -> Pair:
    """(sinh x cosh x + i sin y cos y) / (cos^2 y + sinh^2 x); its limit where cos^2 y is nothing beside sinh^2 x."""
    x, y = a
    s, cosine = fn.sinh(x), _wave(fn.cos, y, fn.isinf(x), 1.0)
    turn, d = _wave(fn.sin, y, fn.isinf(x), 0.0) * cosine, cosine * cosine + s * s
    far = (fn.abs(x) > 20.0) & (turn == turn)
    re = fn.where(far, fn.copysign(1.0, x), s * fn.cosh(x) / d)
    im = fn.where(far, turn / s / s, turn / d)
    return fn.where(x == 0.0, x, re), fn.where(y == 0.0, y, im)


def _sin(a: Pair) -> Pair:
    return _over_i(_sinh(_times_i(a)))


def _cos(a: Pair) -> Pair:
    return _cosh(_times_i(a))


def _tan(a: Pair) -> Pair:
    return _over_i(_tanh(_times_i(a)))


def _kahan_roots(a: Pair) -> tuple[Pair, Pair]:
    """sqrt(1 - a) and sqrt(1 + a)."""
    return _sqrt((1.0 - a[0], -a[1])), _sqrt((a[0] + 1.0, a[1]))


def _infinite(a: Pair) -> Expr:
    return fn.isinf(a[0]) | fn.isinf(a[1])


def _asin(a: Pair) -> Pair:
    """At infinity the angle between the argument and the imaginary axis."""
    (x, y), infinite, (minus, plus) = a, _infinite(a), _kahan_roots(a)
    re = fn.atan2(x, fn.where(infinite, fn.abs(y), minus[0] * plus[0] - minus[1] * plus[1]))
    im = fn.asinh(minus[0] * plus[1] - minus[1] * plus[0])
    return fn.where(x == 0.0, x, re), fn.where(infinite, fn.copysign(math.inf, y), im)


def _acos(a: Pair) -> Pair:
    """At infinity the angle between the argument and the real axis."""
    (x, y), infinite, (minus, plus) = a, _infinite(a), _kahan_roots(a)
    angle = fn.atan2(fn.where(infinite, fn.abs(y), minus[0]), fn.where(infinite, x, plus[0]))
    im = fn.asinh(plus[0] * minus[1] - plus[1] * minus[0])
    return (
        fn.where(x == 0.0, math.pi / 2, fn.where(infinite, angle, angle * 2.0)),
        fn.where(infinite, fn.copysign(math.inf, -y), im),
    )


def _acosh(a: Pair) -> Pair:
    re, im = _acos(a)
    return fn.abs(im), fn.copysign(re, a[1])


def _asinh(a: Pair) -> Pair:
    return _over_i(_asin(_times_i(a)))


def _atanh(a: Pair) -> Pair:
    """Far away its real part is that of 1 / a; at infinity the imaginary one is a right angle."""
    x, y = a
    size, far = fn.abs(x), ~(fn.abs(x) + fn.abs(y) < 2.0**60)
    away, distance = 1.0 - size, fn.hypot(x, y)
    near_re = fn.log1p(size * 4.0 / (away * away + y * y)) * 0.25
    far_re = fn.where((x == 0.0) | _infinite(a), 0.0, size / distance / distance)
    im = fn.atan2(y * 2.0, away * (size + 1.0) - y * y) * 0.5
    far_im = fn.where(fn.isinf(y), fn.copysign(math.pi / 2, y), im)
    return fn.copysign(fn.unlikely(far, far_re, near_re), x), fn.unlikely(far, far_im, im)


def _atan(a: Pair) -> Pair:
    return _over_i(_atanh(_times_i(a)))


def _sigmoid(a: Pair) -> Pair:
    e = _exp(_neg(a))
    return _reciprocal((e[0] + 1.0, e[1]))


_RULES: dict[str, Callable[..., Pair]] = {
    "complex": lambda re, im: (re, im), "detach": lambda a: (fn.detach(a[0]), fn.detach(a[1])),
    "conj": lambda a: (a[0], -a[1]),
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg,
    "exp": _exp, "exp2": lambda a: _exp(_scale(a, math.log(2))), "expm1": _expm1,
    "log": _log, "log2": lambda a: _scale(_log(a), 1 / math.log(2)), "log1p": _log1p,
    "log10": lambda a: _scale(_log(a), 1 / math.log(10)),
    "sqrt": _sqrt, "rsqrt": lambda a: _reciprocal(_sqrt(a)), "pow": _pow, "sigmoid": _sigmoid,
    "sin": _sin, "cos": _cos, "tan": _tan, "asin": _asin, "acos": _acos, "atan": _atan,
    "sinh": _sinh, "cosh": _cosh, "tanh": _tanh, "asinh": _asinh, "acosh": _acosh, "atanh": _atanh,
}  # fmt: skip
