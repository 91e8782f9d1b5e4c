"""Backward of row operators: a row operator of its own, whose body is the symbolic derivative.

Reductions are recomputed from what is saved where they are not among the outputs: the row is in the cache anyway. The
derivative of a reduction is a broadcast and that of a broadcast a reduction, so the result is a row program again, and
its own gradient is derived in the same way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.ir import centred, diff
from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, node, walk
from flambeau.ir.scalar import real, substitute

from .programs import attribute_value, is_run_time_number, parse_attributes
from .rowbody import layout_params, trace
from .signature import parse
from .table import FLOATING, TABLE, Entry, Row, register

ZERO_GRADIENT = -2


@dataclass(frozen=True)
class _Derivation:
    """The derivative of an entry: which attributes it has, and which operands want a gradient."""

    entry: Entry
    attributes: str
    needs: tuple[bool, ...]  # by operand

    @property
    def params(self):
        return parse(self.entry.signatures[0])[0]

    @property
    def operands(self) -> list[str]:
        return [p.name for p in self.params if p.is_tensor]

    @property
    def absent(self) -> frozenset[str]:
        return parse_attributes(self.attributes)[1]

    def roles(self) -> dict[Any, str]:
        """Roles of operands (by number), gradients and outputs (`g0`, `o0`)."""
        body = self.entry.body
        roles: dict[Any, str] = dict(enumerate(body.roles.ljust(len(self.operands), "F")))
        for k, r in enumerate(body.out):
            roles[f"g{k}"] = roles[f"o{k}"] = "F" if r == "P" else r
        return roles

    def numbers(self) -> list:
        """The parameters that reach the body as run-time numbers."""
        skipped = layout_params(self.entry.body)
        return [p for p in self.params if is_run_time_number(self.entry, p) and p.name not in skipped]

    def run(self, leaf, numbers: dict[str, Expr]) -> tuple[list[Expr | None], list[Expr]]:
        """Gradients of the needed operands, and the roots of the forward."""
        named = parse_attributes(self.attributes)[0]
        skipped = layout_params(self.entry.body)
        number = {n: k for k, n in enumerate(self.operands)}
        values = {n: None if n in self.absent else leaf(k) for n, k in number.items()}
        arguments = []
        for p in self.params:
            if p.is_tensor:
                arguments.append(values[p.name])
            elif p.name in numbers:
                arguments.append(numbers[p.name])
            elif p.name not in skipped:
                arguments.append(attribute_value(named[p.name], p.type))
        roots = trace(self.entry.body, arguments)
        seeds = [_leaf(f"g{k}", r.dtype) if _differentiable(r) else None for k, r in enumerate(roots)]
        wanted = [values[n] for n, need in zip(self.operands, self.needs, strict=True) if need]
        return diff.vjp(roots, seeds, wanted, self._fit()), roots

    def _fit(self):
        roles = self.roles()

        def space(e: Expr) -> int:
            return ir.spaces([e], roles)[e]

        def fit(e: Expr, g: Expr) -> Expr:
            have, want = space(g), space(e)
            if have & ~want & ir.ROW and _differentiable(g):
                g = centred.row_sum(g, lambda x: bool(space(x) & ir.ROW))
                have &= ~ir.ROW
            return ir.reduce_to(g, have, want)

        return fit


def _differentiable(e: Expr) -> bool:
    return t.is_float(e.dtype) or t.is_complex(e.dtype)


def _leaf(name: str | int, dtype: str) -> Expr:
    return node("input", dtype, (), (name, 0))


def _number(name: str, dtype: str) -> Expr:
    return node("param", dtype, (), (name, 0))


def _by_outputs(results: Sequence[Expr], roots: Sequence[Expr], which: Sequence[int]) -> list[Expr]:
    """Results in terms of some of the outputs where they occur."""
    named = ((k, roots[k]) for k in which)
    return substitute(
        results, {r: _leaf(f"o{k}", r.dtype) for k, r in named if r.op not in ("input", "const", "param")}
    )


def _names(results: Sequence[Expr]) -> list[str]:
    """The saved operands that expressions are made of: inputs `i0`, then outputs `o0`."""
    names = {e.attr[0] for e in walk(results) if e.op == "input"}
    inputs = sorted(n for n in names if isinstance(n, int))
    return [f"i{n}" for n in inputs] + sorted(n for n in names if isinstance(n, str) and n[0] == "o")


def _seen(entry: Entry, attributes: str) -> str:
    """The attributes that the body sees: those of the layout reach the derived operator as arguments, and would give
    each shape kernels of its own."""
    skipped = layout_params(entry.body)
    return ",".join(part for part in attributes.split(",") if part.partition("=")[0] not in skipped)


def backward_plan(name: str, attributes: str, is_complex: bool, needs: int) -> tuple:
    """How the gradient of a row operator's call is computed; see `derive.backward_plan`."""
    entry = TABLE[name]
    attributes = _seen(entry, attributes)
    count = len([p for p in parse(entry.signatures[0])[0] if p.is_tensor])
    d = _Derivation(entry, attributes, tuple(bool(needs >> i & 1) for i in range(count)))
    dtype = "c128" if is_complex else "f64"
    integers = _positions(entry)
    numbers = {p.name: _number(p.name, "i64" if p.type == "int" else t.real_of(dtype)) for p in d.numbers()}
    gradients, roots = d.run(lambda k: _leaf(k, "i64" if d.operands[k] in integers else dtype), numbers)
    results = [g for g in gradients if g is not None]
    places = iter(range(len(results)))
    outputs = [ZERO_GRADIENT if g is None else next(places) for g in gradients]
    if not results:
        return None, [], outputs
    # Statistics that the forward gives in full precision; beside them all outputs, where fewer operands are saved so.
    outs = zip(entry.body.out_dtypes, entry.body.out, strict=True)
    statistics = [k for k, (code, role) in enumerate(outs) if code == "m" and role != "P"]
    whole = tuple(k for k, r in enumerate(entry.body.out) if r != "P")
    known = {which: _by_outputs(results, roots, which) for which in (whole, tuple(statistics))}
    which = min(known, key=lambda w: (len(_names(known[w])), len(walk(known[w]))))
    saved = _names(known[which])
    graded = [k for k, r in enumerate(roots) if _differentiable(r)]
    if "F" not in _roles_of(d, graded, saved):  # the sizes of the result come from an operand
        saved.insert(0, f"i{next(k for k, r in d.roles().items() if r == 'F')}")
    derived = f"{entry.name}__b{needs:x}{'c' if is_complex else ''}" + (f"[{attributes}]" if attributes else "")
    if derived not in TABLE:
        _register(d, derived, saved, graded, outputs, which)
    return derived, [(s[0] == "o", int(s[1:])) for s in saved], outputs


def _roles_of(d: _Derivation, graded: list[int], saved: list[str]) -> str:
    """Roles of the derived operator's operands."""
    roles = d.roles()
    return "".join(roles[f"g{k}"] for k in graded) + "".join(roles[n if n[0] == "o" else int(n[1:])] for n in saved)


def _register(
    d: _Derivation, name: str, saved: list[str], graded: list[int], outputs: list[int], which: Sequence[int]
) -> None:
    roles, body = d.roles(), d.entry.body
    operands = [f"g{k}" for k in graded] + saved
    in_roles = _roles_of(d, graded, saved)
    needed = [k for k, need in enumerate(d.needs) if need]
    out_roles = "".join(roles[k] for k, place in zip(needed, outputs, strict=True) if place != ZERO_GRADIENT)
    rest = [_declared(p) for p in d.params if p.name in layout_params(body) or p in d.numbers()]
    returned = "Tensor" if len(out_roles) == 1 else "(" + ", ".join(["Tensor"] * len(out_roles)) + ")"
    word = re.sub(r"\W", "_", name.split("[")[0])
    signature = f"{word}({', '.join([f'Tensor {n}' for n in operands] + rest)}) -> {returned}"
    numbers = d.numbers()

    def fn(*arguments: Expr):
        given = dict(zip(operands, arguments, strict=False))
        compute = given[operands[0]].dtype

        def leaf(k: int) -> Expr:
            known = given.get(f"i{k}")
            return _leaf(k, compute if known is None else known.dtype)

        values = dict(zip((p.name for p in numbers), arguments[len(operands) :], strict=True))
        placed = {n: _number(n, v.dtype) for n, v in values.items()}
        gradients, roots = d.run(leaf, placed)
        results = _by_outputs([g for g in gradients if g is not None], roots, which)
        table = {}
        for e in walk(results):
            key = e.attr[0] if e.op in ("input", "param") else None
            if e.op == "input":
                value = given[key if isinstance(key, str) else f"i{key}"]
                # Operands are seen in one dtype: beside a complex one, a real gradient is complex too.
                table[e] = value if t.is_complex(e.dtype) else real(value)
            elif key in values:
                table[e] = values[key]
        return tuple(substitute(results, table))

    derived = Row(fn, out=out_roles, out_dtypes="c" * len(out_roles), roles=in_roles, dims=body.dims)
    kept = {f"i{k}": "k" for k, n in enumerate(d.operands) if n in _positions(d.entry)}
    register(Entry(name=name, signatures=(signature,), body=derived, dtypes=FLOATING, roles=kept))


def _positions(entry: Entry) -> list[str]:
    """Operands that are positions in the row: integers, which keep their dtype."""
    return [n for n, role in entry.roles.items() if role == "k"]


def _declared(p) -> str:
    kind = p.type + ("?" if p.optional else "")
    return f"{kind} {p.name}"
