"""Programs as text for people: common subexpressions get names, everything else is written as a formula."""

from collections.abc import Iterable

from .expr import Expr, walk

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_PARTS = {0: "", 1: ".im"}


def leaf_text(e: Expr) -> str:
    """A leaf: `i0`, `p1`, `index0`, or a number."""
    if e.op == "const":
        return repr(e.attr)
    if e.op == "index":
        return f"index{e.attr}"
    number, part = e.attr
    return ("i" if e.op == "input" else "p") + str(number) + _PARTS.get(part, f".{part}")


def node_text(e: Expr, names: list[str]) -> str:
    """One node, its arguments given as text."""
    if not e.args:
        return leaf_text(e)
    if e.op in _INFIX:
        return f"({names[0]} {_INFIX[e.op]} {names[1]})"
    if e.op in ("cast", "bitcast"):
        return f"{e.op}<{e.dtype}>({names[0]})"
    attr = f"<{e.attr}>" if isinstance(e.attr, str | int) else ""
    return f"{e.op}{attr}({', '.join(names)})"


def text(e: Expr) -> str:
    """One expression as a formula."""
    return lines([e])[-1].partition(" = ")[2] if not e.args or _is_tree(e) else "\n".join(lines([e]))


def _is_tree(e: Expr) -> bool:
    return not _shared(walk([e]), ())


def _shared(order: list[Expr], roots: Iterable[Expr]) -> set[int]:
    uses: dict[int, int] = {}
    for e in order:
        for a in e.args:
            uses[id(a)] = uses.get(id(a), 0) + 1
    for r in roots:
        uses[id(r)] = uses.get(id(r), 0) + 1
    return {id(e) for e in order if e.args and uses.get(id(e), 0) > 1}


def lines(roots: Iterable[Expr]) -> list[str]:
    """A program, one line a shared value or output: `t0: f32 = exp(i0)`, `o0: f32 = (t0 / (t0 + 1.0))`."""
    roots = list(roots)
    order = walk(roots)
    shared = _shared(order, roots)
    names: dict[int, str] = {}
    out = []
    for e in order:
        body = node_text(e, [names[id(a)] for a in e.args])
        if id(e) in shared:
            name = f"t{len(out)}"
            out.append(f"{name}: {e.dtype} = {body}")
            body = name
        names[id(e)] = body
    out.extend(f"o{k}: {r.dtype} = {names[id(r)]}" for k, r in enumerate(roots))
    return out
