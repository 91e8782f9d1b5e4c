"""Kernels of row operators: from an entry's body, for given dtypes and attributes, to the kernels of its steps."""

from flambeau.codegen import row as code
from flambeau.codegen.abreast import AbreastKernel
from flambeau.codegen.ahead import AheadKernel
from flambeau.codegen.bands import BandKernel
from flambeau.codegen.join import join
from flambeau.codegen.pick import is_pick
from flambeau.codegen.resolve import compile_program, resolve_family
from flambeau.codegen.row_program import RowProgram, prepare
from flambeau.codegen.runs import RunsKernel
from flambeau.codegen.staggered import StaggeredKernel, StaggeredRunsKernel
from flambeau.codegen.target import host
from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.scalar import cast
from flambeau.ops.rowbody import body_arguments, compute_dtype, trace
from flambeau.ops.table import TABLE, Row


def info(op: str) -> Row:
    """How the operator uses its arguments: roles, dtypes, dimensions."""
    return TABLE[op].body


# Modes in which a whole row is one kernel's, but not in the plain way; those of rows that make the next step's sums.
_FUSED = {
    "ahead": AheadKernel,
    "banded": BandKernel,
    "runs": RunsKernel,
    "staggered": StaggeredKernel,
    "staggered runs": StaggeredRunsKernel,
}
_JOINED = {"joined": code.RowKernel, "joined abreast": AbreastKernel, "joined ahead": AheadKernel}


class RowPlan:
    """The steps of one operator for given dtypes and attributes; makes their kernels."""

    def __init__(self, key: str, plan: ir.Plan, out_codes: tuple[str, ...], in_codes: tuple[str, ...]):
        self.key = key
        self.temps = plan.temps
        self.steps = []
        for number, step in enumerate(plan.steps):
            outs = [out_codes[k] if k >= 0 else plan.temps[~k][1] for k in step.outputs]
            ins = [in_codes[k] if k >= 0 else plan.temps[~k][1] for k in step.inputs]
            self.steps.append(_Step(step, prepare(step, outs, ins, f"{key}:{number}")))
        for one, two, step in zip(self.steps, self.steps[1:], plan.steps, strict=False):
            one.joined = join(step, one.program, two.program)
            one.joins = one.joined is not None

    def kernel(self, step: int, key: str) -> int:
        """The address of a kernel; key is `mode|r or c|classes`."""
        mode, axis, classes = key.split("|")
        op, rest = self.key.split("|", 1)
        full = f"{op}|row{step}:{mode}:{axis}|{rest}|{classes}|{host().level}"

        def make():
            if mode in _FUSED:
                kernel = _FUSED[mode](self.steps[step].program, "fused", axis == "c")
            elif mode in _JOINED:
                kernel = _JOINED[mode](self.steps[step].joined, "fused", False)
            else:
                kernel = code.RowKernel(self.steps[step].written(mode), mode, axis == "c")
            return compile_program(kernel, host(), classes)

        return resolve_family(full, make)["k"]


class _Step:
    """What the driver reads of a step."""

    def __init__(self, step: ir.Step, program: RowProgram):
        self.program = program
        self.joined: RowProgram | None = None  # with the sums of the next step
        self.joins = False
        reductions = [e for level in program.levels for e in level]
        self.picks = bool(reductions) and set(step.out_roles) == {"B"} and all(map(is_pick, reductions))
        self.over_batch, self.ordered = step.over_batch, step.ordered
        self.inputs, self.outputs = step.inputs, step.outputs
        self.roles, self.out_roles = step.roles, step.out_roles
        self.state_dtypes = _states(program)
        self.chunk_dtypes = _states(program.of_chunks) if program.of_chunks else []

    def written(self, mode: str) -> RowProgram:
        """The program that a kernel is written from."""
        return self.program if mode == "fused" else self.program.of_chunks or self.program


def _states(program: RowProgram) -> list[list[str]]:
    """Dtypes of the states of each level."""
    return [program.states(k) for k in range(len(program.levels))]


def plan(op: str, params: list, in_codes: tuple[str, ...], out_codes: tuple[str, ...]) -> RowPlan:
    """The plan of a call.

    Args:
        op: the operator.
        params: (name, ParamType, static, value) of each parameter; the value of a tensor is whether it is there.
        in_codes, out_codes: dtype codes of operands and results.
    """
    body = TABLE[op].body
    compute = compute_dtype(body, in_codes, out_codes)
    arguments, attributes = body_arguments(body, params, in_codes, compute)
    roots = trace(body, arguments)
    roots = [cast(r, t.compute_dtype(o)) for r, o in zip(roots, out_codes, strict=True)]
    key = f"{op}|{attributes}|{','.join(out_codes)},{','.join(in_codes)}"
    return RowPlan(key, ir.plan(roots, body.roles.ljust(len(in_codes), "F"), body.out), out_codes, in_codes)
