"""Row kernels: a step of a row program (see `ir.row`), along the row or with columns in lanes.

    void k(char** ptr, const int64_t* stride, const int64_t* shape, const Slot* params)

`stride`: three an operand (batch, outer row, inner row); `shape`: batch, outer row, inner row, position of the first
element in the row, elements in the whole row, how much of the batch follows that other calls do. Modes:

- `fused`     levels, then outputs. Operands: outputs, inputs.
- `staggered` the same where a row is written while the next one is read (see `codegen.staggered`).
- `ahead`     the same where both passes ask for rows that follow (see `codegen.ahead`); also `joined ahead`, and
              `joined abreast` where rows are done in pairs (see `codegen.abreast`).
- `runs`      the same where rows are made of runs, most of which lie apart (see `codegen.runs`).
- `staggered runs` both.
- `joined`    the same with the sums of the next step (see `codegen.join`). Operands: outputs, sums, inputs.
- `levelN`    states of level N over a chunk. Operands: states, inputs, finished states of earlier levels.
- `combineN`  an elementwise kernel: states = combine(states, states).
- `write`     outputs from finished states. Operands: outputs, inputs, states.
- `finish`    the same where no output varies over the row.

Where the first output is written past the caches, or is narrow and long, `fused` kernels along rows have one operand
more, a row of what it is computed in for values between two passes.

The order of a sum depends on the program and the shape alone: lane i of accumulator k takes elements
i + lanes * (k + accumulators * j), whatever the stride or alignment.
"""

from dataclasses import dataclass

from flambeau.ir.expr import input_
from flambeau.ir.program import ScalarProgram

from . import elementwise
from .columns import Columns
from .module import Module
from .row_program import RowProgram
from .rows import Rows
from .states import combine, component_dtypes


@dataclass(frozen=True)
class RowKernel:
    """One kernel of a step: its mode, and whether columns lie in the lanes."""

    program: RowProgram
    mode: str
    columns: bool


def emit(module: Module, kernel: RowKernel, classes: str, name: str) -> None:
    """Writes one kernel of a step."""
    if kernel.mode.startswith("combine"):
        scalar = combine_program(kernel, name)
        elementwise.emit(module, scalar, "c" * (3 * len(scalar.outputs)), name)
    else:
        (Columns if kernel.columns else Rows)(module, kernel.program, kernel.mode, classes, name).write()


def combine_program(kernel: RowKernel, name: str) -> ScalarProgram:
    """States of a `combineN` kernel's level, element by element."""
    program, level = kernel.program, int(kernel.mode[len("combine") :])
    dtypes = program.states(level)
    roots, at = [], 0
    for e in program.levels[level]:
        parts = component_dtypes(e)
        a = [input_(at + k, d) for k, d in enumerate(parts)]
        b = [input_(len(dtypes) + at + k, d) for k, d in enumerate(parts)]
        roots += combine(e, a, b)
        at += len(parts)
    return ScalarProgram((*dtypes, *dtypes), tuple(dtypes), (), tuple(roots), name)
