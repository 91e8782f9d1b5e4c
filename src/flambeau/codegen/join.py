"""Steps over rows that make the sums of the next step, over the batch, row by row while they have the terms."""

from dataclasses import replace

from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import walk
from flambeau.ir.scalar import substitute

from .row_program import RowProgram


def join(step: ir.Step, program: RowProgram, following: RowProgram) -> RowProgram | None:
    """A step that adds each row it has done to the sums that the next step makes over the batch, which are outputs of
    role A; None where those are no sums, or made of something that this step does not read."""
    sums = following.levels[0] if len(following.levels) == 1 else ()
    if len(program.roots) != len(step.outputs) or not all(e.op == "row_sum" and t.is_float(e.dtype) for e in sums):
        return None
    terms = [e.args[0] for e in sums]
    made = {~k + ir.TEMP: r for k, r in zip(step.outputs, program.roots, strict=True) if k < 0}
    terms = substitute(terms, {e: made[e.attr[0]] for e in walk(terms) if e.op == "input" and e.attr[0] in made})
    if not terms or any(e.op == "index" or (e.op == "input" and e.attr[0] not in program.leaves) for e in walk(terms)):
        return None
    roots = (*program.roots, *terms)
    levels = ir.levels_of(roots)
    if levels != program.levels:
        return None
    roles = {n: program.inputs[k][0] for n, k in program.leaves.items()}
    outputs = (*program.outputs, *(("A", e.dtype) for e in sums))
    space, name = ir.spaces(roots, roles), program.name + "+"
    return replace(program, roots=roots, outputs=outputs, space=space, near=None, name=name)
