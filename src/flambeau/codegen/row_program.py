"""Steps of row programs (see `ir.row`), lowered to what kernels are written from."""

from dataclasses import dataclass, field, replace

from flambeau.ir import row as ir
from flambeau.ir import sums
from flambeau.ir.expr import Expr
from flambeau.ir.program import lower

from . import shifted
from .near import GUESS, Near, find
from .states import component_dtypes


@dataclass(frozen=True)
class RowProgram:
    """A step ready for code: roots and levels in primitives.

    Attributes:
        roots: one expression an output.
        outputs, inputs: (role, storage dtype) of each operand.
        leaves: operand number of each `input` node's number.
        levels: reductions by level.
        near: what stands in for two levels, if something does.
        of_chunks: what is written instead where rows are cut, if it is something else.
    """

    roots: tuple[Expr, ...]
    outputs: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    leaves: dict[int, int]
    levels: tuple[tuple[Expr, ...], ...]
    space: dict[Expr, int] = field(compare=False)
    near: Near | None = field(default=None, compare=False)
    name: str = "row"
    of_chunks: "RowProgram | None" = field(default=None, compare=False)

    def states(self, level: int) -> list[str]:
        """Dtypes of the states of a level."""
        return [d for e in self.levels[level] for d in component_dtypes(e)]


def prepare(step: ir.Step, out_dtypes: list[str], in_dtypes: list[str], name: str) -> RowProgram:
    """Lowers a step. Dtypes are storage dtypes of its outputs and inputs, in its own order."""
    roles = {leaf.attr[0]: role for leaf, role in zip(step.leaves, step.roles, strict=True)}
    numbers = list(dict.fromkeys(leaf.attr[0] for leaf in step.leaves))
    found = find(step)
    space = ir.spaces(step.roots, roles)
    roots = lower(step.roots if found else sums.fused(step.roots, lambda e: bool(space[e] & ir.ROW)))
    program = RowProgram(
        roots,
        tuple(zip(step.out_roles, out_dtypes, strict=True)),
        tuple(zip((roles[n] for n in numbers), in_dtypes, strict=True)),
        {n: k for k, n in enumerate(numbers)},
        ir.levels_of(roots),
        ir.spaces((*roots, found.by_sums, found.k, found.bad) if found else roots, roles | {GUESS: "B"}),
        found,
        name,
    )
    chunks = shifted.of_chunks(program)
    if chunks is None:
        return program
    levels, space = ir.levels_of(chunks), ir.spaces(chunks, roles)
    return replace(program, of_chunks=replace(program, roots=chunks, levels=levels, space=space))
