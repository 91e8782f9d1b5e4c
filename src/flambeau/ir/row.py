"""Row programs: expressions with reductions, and how they are cut into steps and levels.

Operands have a role: F varies over row and batch, B over the batch only, R over the row only, S over neither. An
expression varies over what its operands vary over; `row_sum` and its kin reduce over the row, `batch_sum` over the
batch.

A *step* reduces in one direction. Softmax is one step; the gradient of a layer norm is two, because the gradient of the
weight sums over the batch: in the second step batch and row have exchanged their parts, and what the first step reduced
comes in as an operand. Within a step, reductions stand on *levels*: those of one level need only the levels before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import types as t
from .expr import Expr, const, node, walk
from .fn import detach, where
from .scalar import cast, make, substitute

ROW, BATCH = 1, 2
SPACE = {"F": ROW | BATCH, "B": BATCH, "R": ROW, "S": 0}
ROLE = {space: role for role, space in SPACE.items()}
COMPLEX_PRODUCTS = ("row_prod_re", "row_prod_im")  # the parts of a product of (real, imaginary)
POSITIONS = ("row_argmax", "row_argmin")
MONOIDS = ("row_sum", "row_prod", *COMPLEX_PRODUCTS, "row_max", "row_min", *POSITIONS, "row_spread")
COUNT = 3  # the part of a `param` leaf that is the length of the row
TEMP = 1 << 16  # operand numbers of values that one step leaves for a later one


def row_sum(x: Expr) -> Expr:
    """Sum over the row; integers and bools are summed in int64."""
    return make("row_sum", x.dtype, (x,)) if not t.is_int(x.dtype) and x.dtype != "b1" else _sum_int(x)


def _sum_int(x: Expr) -> Expr:
    return make("row_sum", "i64", (cast(x, "i64"),))


def row_prod(x: Expr) -> Expr:
    """Product over the row; integers and bools in int64."""
    x = cast(x, "i64") if t.is_int(x.dtype) or x.dtype == "b1" else x
    return make("row_prod", x.dtype, (x,))


def row_max(x: Expr) -> Expr:
    """Greatest element of the row; nan where the row has one."""
    return make("row_max", x.dtype, (x,))


def row_min(x: Expr) -> Expr:
    """Least element of the row; nan where the row has one."""
    return make("row_min", x.dtype, (x,))


def row_argmax(x: Expr) -> Expr:
    """Position of the first greatest element (of the first nan, if there is one)."""
    return make("row_argmax", "i64", (x,))


def row_argmin(x: Expr) -> Expr:
    """Position of the first least element (of the first nan, if there is one)."""
    return make("row_argmin", "i64", (x,))


def row_any(x: Expr) -> Expr:
    """True where any element of the row is not zero."""
    return make("row_max", "b1", (cast(x, "b1"),))


def row_all(x: Expr) -> Expr:
    """True where every element of the row is not zero."""
    return make("row_min", "b1", (cast(x, "b1"),))


def row_count(dtype: str) -> Expr:
    """Number of elements of the row."""
    return cast(node("param", "i64", (), (0, COUNT)), dtype)


def is_count(e: Expr) -> bool:
    """Whether a leaf is the length of the row."""
    return e.op == "param" and e.attr[1] == COUNT


def row_mean(x: Expr) -> Expr:
    """Mean over the row."""
    return row_sum(x) / row_count(t.real_of(x.dtype))


def row_spread(x: Expr) -> Expr:
    """Sum of squared differences from the mean of the row: what the chunks of one come to is combined."""
    return make("row_spread", x.dtype, (x,))


def row_index() -> Expr:
    """Position in the row, int64."""
    return node("index", "i64", (), 0)


def row_pick(x: Expr, position: Expr) -> Expr:
    """The element of the row at a position that is the same for the whole row; 0 where it lies outside."""
    return row_sum(where(row_index() == position, x, const(0, x.dtype)))


def constant(x: Expr) -> Expr:
    """x, through which no gradient flows as the results are the same without it (the maximum that softmax subtracts):
    code may take something near instead."""
    return detach(x)


def batch_sum(x: Expr) -> Expr:
    """Sum over the batch: what the gradient of an operand of role R needs."""
    return make("batch_sum", x.dtype, (x,))


def spaces(roots: Sequence[Expr], roles: "dict[int, str]") -> dict[Expr, int]:
    """For each node, what it varies over. `roles`: by operand number."""
    space: dict[Expr, int] = {}
    for e in walk(roots):
        if e.op == "input":
            space[e] = SPACE[roles[e.attr[0]]]
        elif e.op == "index":
            space[e] = ROW
        else:
            union = 0
            for a in e.args:
                union |= space[a]
            space[e] = union & ~(ROW if e.op in MONOIDS else BATCH if e.op == "batch_sum" else 0)
    return space


def reduce_to(x: Expr, have: int, want: int) -> Expr:
    """x, which varies over `have`, summed down to what an operand varies over."""
    if have & ~want & ROW:
        x = row_sum(x)
    if have & ~want & BATCH:
        x = batch_sum(x)
    return x


@dataclass(frozen=True)
class Step:
    """One direction of reduction. Roles are as the step sees them: exchanged where it reduces over the batch."""

    over_batch: bool
    inputs: tuple[int, ...]  # operand number, or ~k for temporary k
    leaves: tuple[Expr, ...]
    roles: str
    outputs: tuple[int, ...]  # output number, or ~k
    roots: tuple[Expr, ...]
    out_roles: str
    levels: tuple[tuple[Expr, ...], ...]  # reductions, all named row_*

    @property
    def ordered(self) -> bool:
        """Whether positions in the row, or its dimensions, matter."""
        return "P" in self.out_roles or any(e.op in ("index", *POSITIONS) for e in walk(self.roots))


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]
    temps: tuple[tuple[str, str], ...]  # role (in the call) and dtype


_EXCHANGE = str.maketrans("BR", "RB")


def plan(roots: Sequence[Expr], roles: str, out_roles: str) -> Plan:
    """Cuts a program into steps: even ones reduce over the row, odd ones over the batch."""
    role_of = dict(enumerate(roles))
    space = spaces(roots, role_of)
    stage = _stages(roots)
    root_stage = [_root_stage(stage[r], role) for r, role in zip(roots, out_roles, strict=True)]
    temps: dict[Expr, Expr] = {}
    steps: list[Step] = []
    for number in range(max(root_stage) + 1):
        wanted = [(i, r) for i, r in enumerate(roots) if root_stage[i] == number]
        kept = _kept_for_later(roots, root_stage, stage, space, number)
        for e in kept:
            role_of[TEMP + len(temps)] = ROLE[space[e]]
            temps[e] = node("input", e.dtype, (), (TEMP + len(temps), 0))
        mine = [temps[e] for e in kept]
        table = {e: v for e, v in temps.items() if stage[e] < number}
        exprs = substitute([r for _, r in wanted] + list(kept), table)
        targets = [i for i, _ in wanted] + [~(v.attr[0] - TEMP) for v in mine]
        step_roles = [out_roles[i] for i, _ in wanted] + [ROLE[space[e]] for e in kept]
        if exprs:
            steps.append(_make_step(number % 2 == 1, exprs, targets, step_roles, role_of))
    return Plan(tuple(steps), tuple((role_of[v.attr[0]], v.dtype) for v in temps.values()))


def _stages(roots: Sequence[Expr]) -> dict[Expr, int]:
    """The step in which a node can be computed: reductions over the row in even ones, over the batch in odd ones."""
    stage: dict[Expr, int] = {}
    for e in walk(roots):
        s = max((stage[a] for a in e.args), default=0)
        if e.op in MONOIDS or e.op == "index" or is_count(e):
            s += s % 2
        elif e.op == "batch_sum":
            s += 1 - s % 2
        stage[e] = s
    return stage


def _root_stage(stage: int, role: str) -> int:
    wants_odd = {"B": 0, "R": 1}.get(role)
    return stage if wants_odd is None or stage % 2 == wants_odd else stage + 1


def _kept_for_later(roots, root_stage, stage, space, number) -> list[Expr]:
    """What a later step uses of the reductions made in this step, as far as it is computed once a reduction: the
    later step would compute it once an element."""
    along = ROW if number % 2 == 0 else BATCH
    reduced: set[Expr] = set()  # nodes that this step's reductions are part of
    for e in walk(roots):
        mine = (e.op in MONOIDS or e.op == "batch_sum" or is_count(e)) and stage[e] == number
        if mine or (stage[e] == number and any(a in reduced for a in e.args)):
            reduced.add(e)
    kept: dict[Expr, None] = {}

    def visit(e: Expr, user_stage: int, seen: set) -> None:
        stack = [(e, user_stage)]
        while stack:
            e, user = stack.pop()
            if (e, user) in seen:
                continue
            seen.add((e, user))
            if e in reduced and not space[e] & along and user > number:
                kept[e] = None
                continue
            inner = stage[e] if e.op in MONOIDS or e.op == "batch_sum" or is_count(e) else user
            stack.extend((a, inner) for a in e.args)

    seen: set = set()
    for r, s in zip(roots, root_stage, strict=True):
        if s > number:
            visit(r, s, seen)
    return list(kept)


def _make_step(over_batch, exprs, targets, out_roles, roles) -> Step:
    exchange = (lambda r: r.translate(_EXCHANGE)) if over_batch else (lambda r: r)
    if over_batch:
        exprs = _exchange_reductions(exprs)
    leaves = [e for e in walk(exprs) if e.op == "input"]
    inputs = [e.attr[0] if e.attr[0] < TEMP else ~(e.attr[0] - TEMP) for e in leaves]
    leaf_roles = [roles[e.attr[0]] for e in leaves]
    return Step(
        over_batch, tuple(inputs), tuple(leaves), exchange("".join(leaf_roles)), tuple(targets), tuple(exprs),
        exchange("".join(out_roles)), levels_of(exprs),
    )  # fmt: skip


def _exchange_reductions(exprs: list[Expr]) -> list[Expr]:
    table = {}
    for e in walk(exprs):
        if e.op in MONOIDS or e.op == "index" or is_count(e):
            raise NotImplementedError(f"{e.op} inside a reduction over the batch")
        if e.op == "batch_sum":
            table[e] = make("row_sum", e.dtype, (substitute(e.args, table)[0],))
    return substitute(exprs, table)


def levels_of(exprs: Sequence[Expr]) -> tuple[tuple[Expr, ...], ...]:
    """Reductions over the row, by how many others they wait for."""
    depth: dict[Expr, int] = {}
    levels: dict[int, list[Expr]] = {}
    for e in walk(exprs):
        d = max((depth[a] for a in e.args), default=0)
        if e.op in MONOIDS:
            levels.setdefault(d, []).append(e)
            d += 1
        depth[e] = d
    return tuple(tuple(levels[k]) for k in sorted(levels))
