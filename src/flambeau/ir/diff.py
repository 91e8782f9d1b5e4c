"""Symbolic reverse differentiation of programs, by one table of rules.

A gradient of a complex value z = x + iy is dL/dx + i*dL/dy, as in PyTorch; so a holomorphic function with derivative d
gives `g * conj(d)`. At kinks the rules give what PyTorch gives: 0 for abs and relu at 0, half each for ties of max and
min, and what `where` selects.

A rule gets the node and the gradient of its value, and gives those of its arguments (None: zero). Rules name the node
itself where the derivative is a function of the value (exp, tanh, sqrt): `backward` then saves the output.

The gradient of what `where` chooses counts where it is chosen. In scalar programs that is said last, of the gradients
of the wanted nodes: a slope that is infinite where it does not count would make nan of a gradient that is 0 there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from . import fn
from . import types as t
from .expr import Expr, const, node, walk
from .program import ScalarProgram
from .scalar import cast, make, substitute
from .verify import verify

Gradient = Expr | None
Rule = Callable[..., tuple[Gradient, ...]]

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_NORMAL = 1 / math.sqrt(2 * math.pi)
_LN2, _LN10 = math.log(2), math.log(10)


def _holomorphic(derivative: Callable[[Expr, Expr], Expr]) -> Rule:
    """The rule of a function of one argument from its derivative, given the node and the argument."""
    return lambda e, g: (g * fn.conj(derivative(e, e.args[0])),)


def _over(divisor: Callable[[Expr, Expr], Expr]) -> Rule:
    """The rule of a function of one argument whose derivative is 1 / divisor."""
    return lambda e, g: (g / fn.conj(divisor(e, e.args[0])),)


def _zero(e: Expr, g: Expr) -> tuple[Gradient, ...]:
    return (None,) * len(e.args)


def _mul(e: Expr, g: Expr):
    a, b = e.args
    return g * fn.conj(b), g * fn.conj(a)


def _div(e: Expr, g: Expr):
    b = fn.conj(e.args[1])
    return g / b, -g * fn.conj(e) / b


def _fma(e: Expr, g: Expr):
    a, b, _ = e.args
    return g * b, g * a, g


def _abs(e: Expr, g: Expr):
    x = e.args[0]
    return (g * fn.sign(x),)


def _copysign(e: Expr, g: Expr):
    a = e.args[0]
    return fn.where(a == 0, 0.0, g * (e / a)), None


def _extreme(loses: str, wins: str) -> Rule:
    def rule(e: Expr, g: Expr):
        a, b = e.args
        shared = fn.where(a == b, g * 0.5, g)
        zero = const(0, g.dtype)
        return (
            fn.where(make(loses, "b1", (a, b)), zero, shared),
            fn.where(make(wins, "b1", (a, b)), zero, shared),
        )

    return rule


def _cast(e: Expr, g: Expr):
    source = e.args[0].dtype
    if not _differentiable(source) or not _differentiable(e.dtype):
        return (None,)
    return (cast(g, source),)


def _pow(e: Expr, g: Expr):
    a, b = e.args
    zero = const(0, g.dtype)
    base = g * fn.conj(b * fn.pow(a, b - 1))
    if b.op != "const":
        base = fn.where(b == 0, zero, base)
    exponent = g * fn.conj(e * fn.log(a))
    positive = (fn.real(b) >= 0) & (b == b)
    return base, fn.where((a == 0) & positive, zero, exponent)


def _atan2(e: Expr, g: Expr):
    y, x = e.args
    square = y * y + x * x
    scale = fn.where(square == 0, 0.0, g / square)
    return scale * x, -scale * y


def _hypot(e: Expr, g: Expr):
    a, b = e.args
    return g * (a / e), g * (b / e)


def _fmod(e: Expr, g: Expr):
    a, b = e.args
    return g, -g * fn.trunc(a / b)


def _remainder(e: Expr, g: Expr):
    a, b = e.args
    return g, -g * (a // b)


def _complex(e: Expr, g: Expr):
    return fn.real(g), fn.imag(g)


def _real(e: Expr, g: Expr):
    return (fn.complex_(g, 0.0),)


def _imag(e: Expr, g: Expr):
    return (fn.complex_(const(0, g.dtype), g),)


def _row_extreme(e: Expr, g: Expr):
    """Shared evenly by all that are extreme."""
    winners = cast(e.args[0] == e, g.dtype)
    return (winners * (g / fn.row_sum(winners)),)


def _polygamma(e: Expr, g: Expr):
    return (g * fn.polygamma(e.attr + 1, e.args[0]),)


def _over_argument(value: Expr, x: Expr) -> Expr:
    """value / x of an odd function with slope 1/2, by that slope at 0."""
    safe = fn.where(x == 0, const(1, x.dtype), x)
    return fn.where(x == 0, const(0.5, x.dtype), value / safe)


_RULES: dict[str, Rule] = {
    "add": lambda e, g: (g, g),
    "sub": lambda e, g: (g, -g),
    "mul": _mul,
    "div": _div,
    "neg": lambda e, g: (-g,),
    "fma": _fma,
    "abs": _abs,
    "sqrt": _over(lambda e, x: e * 2),
    "copysign": _copysign,
    "max": _extreme("lt", "gt"),
    "min": _extreme("gt", "lt"),
    "cast": _cast,
    "round_to": lambda e, g: (g,),
    "ldexp": lambda e, g: (fn.ldexp(g, e.args[1]), None),
    "exp": _holomorphic(lambda e, x: e),
    "exp2": _holomorphic(lambda e, x: e * _LN2),
    "expm1": _holomorphic(lambda e, x: e + 1),
    "log": _over(lambda e, x: x),
    "log2": _over(lambda e, x: x * _LN2),
    "log10": _over(lambda e, x: x * _LN10),
    "log1p": _over(lambda e, x: x + 1),
    "sin": _holomorphic(lambda e, x: fn.cos(x)),
    "cos": _holomorphic(lambda e, x: -fn.sin(x)),
    "tan": _holomorphic(lambda e, x: e * e + 1),
    "asin": _holomorphic(lambda e, x: fn.rsqrt(1 - x * x)),
    "acos": _holomorphic(lambda e, x: -fn.rsqrt(1 - x * x)),
    "atan": _over(lambda e, x: x * x + 1),
    "atan2": _atan2,
    "sinh": _holomorphic(lambda e, x: fn.cosh(x)),
    "cosh": _holomorphic(lambda e, x: fn.sinh(x)),
    "tanh": _holomorphic(lambda e, x: 1 - e * e),
    "asinh": _holomorphic(lambda e, x: fn.rsqrt(x * x + 1)),
    "acosh": _holomorphic(lambda e, x: fn.rsqrt(x * x - 1)),
    "atanh": _over(lambda e, x: 1 - x * x),
    "erf": _holomorphic(lambda e, x: fn.exp(-(x * x)) * _TWO_OVER_SQRT_PI),
    "erfc": _holomorphic(lambda e, x: fn.exp(-(x * x)) * -_TWO_OVER_SQRT_PI),
    "erfcx": _holomorphic(lambda e, x: e * x * 2 - _TWO_OVER_SQRT_PI),
    "gauss": _holomorphic(lambda e, x: -x * e),
    "gelu": _holomorphic(lambda e, x: fn.gelu_slope(x)),
    "gelu_slope": _holomorphic(lambda e, x: fn.gauss(x) * (2 - x * x) * _NORMAL),
    "ndtr": _holomorphic(lambda e, x: fn.gauss(x) * _NORMAL),
    "log_ndtr": _holomorphic(lambda e, x: math.sqrt(2 / math.pi) / fn.erfcx(x * -math.sqrt(0.5))),
    "ndtri": _holomorphic(lambda e, x: fn.exp(e * e * 0.5) * (1 / _NORMAL)),
    "i0": _holomorphic(lambda e, x: fn.i1(x)),
    "i0e": _holomorphic(lambda e, x: fn.i1e(x) - fn.sign(x) * e),
    "i1": _holomorphic(lambda e, x: fn.i0(x) - _over_argument(e, x)),
    "i1e": _holomorphic(lambda e, x: fn.i0e(x) - fn.sign(x) * e - _over_argument(e, x)),
    "erfinv": _holomorphic(lambda e, x: fn.exp(e * e) * (1 / _TWO_OVER_SQRT_PI)),
    "lgamma": _holomorphic(lambda e, x: fn.polygamma(0, x)),
    "polygamma": _polygamma,
    "rsqrt": _holomorphic(lambda e, x: e * e * e * -0.5),
    "sigmoid": _holomorphic(lambda e, x: (1 - e) * e),
    "softplus": _holomorphic(lambda e, x: fn.sigmoid(x)),
    "log_sigmoid": _holomorphic(lambda e, x: fn.sigmoid(-x)),
    "relu": lambda e, g: (fn.where(e <= 0, const(0, g.dtype), g),),
    "pow": _pow,
    "hypot": _hypot,
    "fmod": _fmod,
    "remainder": _remainder,
    "complex": _complex,
    "real": _real,
    "imag": _imag,
    "conj": lambda e, g: (fn.conj(g),),
    "row_sum": lambda e, g: (g,),
    "batch_sum": lambda e, g: (g,),
    "row_argmax": _zero,
    "row_argmin": _zero,
    "row_max": _row_extreme,
    "row_min": _row_extreme,
}

_CONSTANT = (
    "const", "param", "index", "input", "detach", "floor", "ceil", "trunc", "rint", "floordiv",
    "idiv", "irem", "and", "or", "xor", "not", "shl", "shr", "bitcast", "lookup",
    "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip
_RULES.update(dict.fromkeys(_CONSTANT, _zero))


def _differentiable(dtype: str) -> bool:
    return t.is_float(dtype) or t.is_complex(dtype)


class _Guard(NamedTuple):
    """A choice, and whether its condition holds."""

    op: str  # select or unlikely
    condition: Expr
    holds: bool

    def is_of(self, other: "_Guard") -> bool:
        return self.op == other.op and self.condition is other.condition


class _Part(NamedTuple):
    """A part of a gradient that counts where all guards say so, and is 0 elsewhere."""

    value: Expr
    guards: tuple[_Guard, ...] = ()

    def inside(self) -> "_Part":
        return _Part(self.value, self.guards[1:])


def _joined(parts: list[_Part]) -> _Part:
    """Parts as one, under the guards that all of them have."""
    shared: list[_Guard] = []
    while all(p.guards for p in parts):
        guard = parts[0].guards[0]
        if not all(p.guards[0].is_of(guard) and p.guards[0].holds == guard.holds for p in parts):
            break
        shared.append(guard)
        parts = [p.inside() for p in parts]
    return _Part(_total(parts), tuple(shared))


def _total(parts: list[_Part]) -> Expr:
    """The sum of parts. Those under one choice are chosen together."""
    total, left = None, list(parts)
    while left:
        guards = left[0].guards
        group = [p for p in left if p.guards and p.guards[0].is_of(guards[0])] if guards else left[:1]
        left = [p for p in left if all(p is not q for q in group)]
        term = _chosen(group) if guards else group[0].value
        total = term if total is None else total + term
    return total


def _chosen(group: list[_Part]) -> Expr:
    op, condition, _ = group[0].guards[0]
    dtype, sides = group[0].value.dtype, []
    for holds in (True, False):
        inside = [p.inside() for p in group if p.guards[0].holds == holds]
        sides.append(_total(inside) if inside else const(0, dtype))
    return make(op, dtype, (condition, *sides))


def vjp(
    roots: Sequence[Expr],
    gradients: Sequence[Expr | None],
    wanted: Sequence[Expr],
    fit: Callable[[Expr, Expr], Expr] | None = None,
) -> list[Gradient]:
    """Gradients of the wanted nodes, given those of the roots.

    Args:
        roots: the outputs of a program.
        gradients: one for each root; None is zero.
        wanted: nodes, usually inputs.
        fit: of row programs: `(node, gradient) -> gradient`, summed over what the node does not vary over.

    Returns:
        One expression for each wanted node, in its dtype; None where the gradient is zero.
    """
    order = walk(roots)
    reaches = _reaching(order, wanted)
    given: dict[int, list[_Part]] = {}

    def give(e: Expr, g: Gradient, *guards: _Guard) -> None:
        if g is None or id(e) not in reaches:
            return
        part = _Part(_as_gradient_of(e, g), guards)
        if fit is not None:
            # One by one: what varies over fewer dimensions than another part of the sum must not be summed over them.
            part = _Part(fit(e, _total([part])))
        given.setdefault(id(e), []).append(part)

    for r, g in zip(roots, gradients, strict=True):
        give(r, g)
    for e in reversed(order):
        if id(e) not in given:
            continue
        g, guards = _joined(given[id(e)])
        if e.op in ("select", "unlikely"):
            condition, a, b = e.args
            give(a, g, *guards, _Guard(e.op, condition, True))
            give(b, g, *guards, _Guard(e.op, condition, False))
            continue
        if e.op not in _RULES:
            raise NotImplementedError(f"the derivative of {e.op} is not known")
        for a, ga in zip(e.args, _RULES[e.op](e, g), strict=True):
            give(a, ga, *guards)
    return [_total(given[id(w)]) if id(w) in given else None for w in wanted]


def _reaching(order: Sequence[Expr], wanted: Sequence[Expr]) -> set[int]:
    """The differentiable nodes that are made of a wanted one."""
    found = {id(w) for w in wanted}
    for e in order:
        if _differentiable(e.dtype) and any(id(a) in found for a in e.args):
            found.add(id(e))
    return found


def _as_gradient_of(e: Expr, g: Expr) -> Expr:
    """A real node takes the real part; a complex one a complex gradient."""
    if t.is_complex(g.dtype) and not t.is_complex(e.dtype):
        g = fn.real(g)
    return cast(g, e.dtype)


@dataclass(frozen=True)
class Backward:
    """The backward of a program: what is saved, what each input gets, and the program that computes it.

    Attributes:
        saved: operands to keep: `i0` (an input), `o0` (an output).
        outputs: for each needed input `"g"` (the incoming gradient as it is), `"0"` (none), or k, an output of
            `program`.
        program: operands are the incoming gradients of the differentiable outputs, then the saved values; parameters
            are those of the forward program. None if nothing is to be computed.
    """

    saved: tuple[str, ...]
    outputs: tuple[str | int, ...]
    program: ScalarProgram | None


def backward(program: ScalarProgram, needs: Sequence[bool], saved: Sequence[str] | None = None) -> Backward:
    """Derives the backward of a scalar program.

    Args:
        program: the forward.
        needs: for each input, is its gradient wanted?
        saved: the saved operands to use, as an earlier plan chose them; None: choose.
    """
    grads = [k for k, r in enumerate(program.roots) if _differentiable(r.dtype)]
    incoming = [_leaf(f"g{k}", program.roots[k].dtype) for k in grads]
    sources = {k: _leaf(k, t.compute_dtype(program.inputs[k])) for k, need in enumerate(needs) if need}
    seeds: list[Expr | None] = [None] * len(program.roots)
    for k, g in zip(grads, incoming, strict=True):
        seeds[k] = g
    gradients = vjp(program.roots, seeds, list(sources.values()))
    results, outputs = _results(gradients, incoming)
    results, saved = _choose_saved(program, results, saved)
    return Backward(tuple(saved), tuple(outputs), _derived(program, grads, results, list(sources), outputs, saved))


def _leaf(name: str | int, dtype: str) -> Expr:
    """A leaf that stands for an operand (`3`), an incoming gradient (`g0`) or an output (`o0`)."""
    return node("input", dtype, (), (name, 0))


def _results(gradients: Sequence[Gradient], incoming: Sequence[Expr]) -> tuple[list[Expr], list[str | int]]:
    """The distinct expressions to compute, and where each gradient comes from."""
    results: list[Expr] = []
    outputs: list[str | int] = []
    for g in gradients:
        if g is None:
            outputs.append("0")
        elif len(incoming) == 1 and g is incoming[0]:
            outputs.append("g")
        else:
            position = next((k for k, r in enumerate(results) if r is g), len(results))
            if position == len(results):
                results.append(g)
            outputs.append(position)
    return results, outputs


def _choose_saved(
    program: ScalarProgram, results: list[Expr], saved: Sequence[str] | None
) -> tuple[list[Expr], Sequence[str]]:
    """Fewest saved operands, then the cheapest formula: from inputs alone, or from outputs where they occur."""
    table = {r: _leaf(f"o{k}", r.dtype) for k, r in enumerate(program.roots) if r.op not in ("input", "const", "param")}
    by_outputs = substitute(results, table)
    if saved is not None:
        return (by_outputs if any(s[0] == "o" for s in saved) else results), saved
    choices = [(by_outputs, _operands(by_outputs)), (results, _operands(results))]
    return min(choices, key=lambda c: (len(c[1]), len(walk(c[0]))))


def _operands(results: Sequence[Expr]) -> list[str]:
    """Names of the operands (not gradients) that expressions are made of: inputs first, then outputs."""
    names = {e.attr[0] for e in walk(results) if e.op == "input"}
    inputs = sorted(n for n in names if isinstance(n, int))
    return [f"i{n}" for n in inputs] + sorted(n for n in names if isinstance(n, str) and n[0] == "o")


def _derived(program, grads, results, sources, outputs, saved) -> ScalarProgram | None:
    if not results:
        return None
    operands = [(f"g{k}", program.outputs[k]) for k in grads]
    for name in saved:
        k = int(name[1:])
        operands.append((k, program.inputs[k]) if name[0] == "i" else (name, program.outputs[k]))
    position = {name: p for p, (name, _) in enumerate(operands)}
    leaves = {e: node("input", e.dtype, (), (position[e.attr[0]], e.attr[1])) for e in walk(results) if e.op == "input"}
    roots = tuple(substitute(results, leaves))
    dtypes: dict[int, str] = {}
    for k, place in zip(sources, outputs, strict=True):
        if isinstance(place, int):
            dtypes.setdefault(place, program.inputs[k])
    inputs = tuple(d for _, d in operands)
    verify(roots, inputs, program.params)
    results_dtypes = tuple(dtypes[k] for k in range(len(roots)))
    return ScalarProgram(inputs, results_dtypes, program.params, roots, f"{program.name}_backward")
