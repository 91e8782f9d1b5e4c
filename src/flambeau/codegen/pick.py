"""Sums of one element: what `row_pick` asks for is read where it stands, without a pass over the row."""

from typing import Any

from flambeau.ir.expr import Expr

from .emit import Elements
from .memory import Memory
from .module import literal, llvm_type


def is_pick(e: Expr) -> bool:
    """Whether a reduction is the sum of the element at one position."""
    if e.op != "row_sum" or e.args[0].op != "select":
        return False
    where, _, other = e.args[0].args
    return where.op == "eq" and any(a.op == "index" for a in where.args) and other.op == "const" and other.attr == 0


def emit(kernel: Any, reductions: tuple[Expr, ...]) -> dict[Expr, list[str]]:
    """The states of those among a level's reductions that pick an element; all others need a pass."""
    if kernel.mode != "fused" or kernel.target.is_gpu or kernel.parked is not None:
        return {}
    found = {}
    for e in reductions:
        position = kernel.is_at(e.args[0].args[0]) if is_pick(e) else None
        if position is not None:
            found[e] = [_element(kernel, e.args[0].args[1], position)]
    return found


def _element(kernel: Any, value: Expr, position: Expr) -> str:
    """The value at a position, 0 outside of the row. As the result of a sum it is no -0."""
    f, scope, kind = kernel.function, kernel.scope, llvm_type(value.dtype)
    zero = literal(0, value.dtype)
    result = f.variable(kind, zero)
    scope.open()
    at = scope.scalar(position)
    with f.when(f.value(f"icmp ult i64 {at}, {kernel.shape[4]}")), scope.elements.scope():
        scope.open()
        run = f.value(f"udiv i64 {at}, {kernel.shape[2]}")
        kernel.enter_run(run)
        inside = f.value(f"sub i64 {at}, {f.mul(run, kernel.shape[2])}")

        def leaf(e: Expr) -> str:
            if e.op == "index":
                return at
            o = kernel.operand(e)
            return Memory(f, elements).load(o.dtype, f.offset(o.run, f.mul(inside, o.strides[2])))[e.attr[1]]

        elements = Elements(f, 1, leaf, lambda e: not kernel.varies(e), scope)
        (element,) = elements.emit(value)
        add = "fadd" if value.dtype[0] == "f" else "add"
        f.do(f"store {kind} {f.value(f'{add} {kind} {element}, {zero}')}, ptr {result}")
    scope.open()
    return f.value(f"load {kind}, ptr {result}")
