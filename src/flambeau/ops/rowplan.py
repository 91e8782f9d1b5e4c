"""Plans of row operators: from an entry's body, for given dtypes and attributes, to the kernels of its steps."""

from flambeau.codegen import row as code
from flambeau.codegen.resolve import compile_program, resolve_family
from flambeau.codegen.target import host
from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, input_, param
from flambeau.ir.scalar import cast
from .table import TABLE, Row

_TENSOR, _SCALAR, _INT, _FLOAT = 0, 2, 3, 4  # ParamType of the core


def layout_params(body: Row) -> set[str]:
    """Parameters that say which dimensions the row has and what the results look like; the body does not see them."""
    return {"dim", "keepdim", "dtype", body.dims.removeprefix("last ")}


def info(op: str) -> Row:
    """How the operator uses its arguments: roles, dtypes, dimensions."""
    return TABLE[op].body


class RowPlan:
    """The steps of one operator for given dtypes and attributes; makes their kernels."""

    def __init__(self, key: str, plan: ir.Plan, out_codes: tuple[str, ...], in_codes: tuple[str, ...]):
        self.key = key
        self.temps = plan.temps
        self.steps = []
        for number, step in enumerate(plan.steps):
            outs = [out_codes[k] if k >= 0 else plan.temps[~k][1] for k in step.outputs]
            ins = [in_codes[k] if k >= 0 else plan.temps[~k][1] for k in step.inputs]
            self.steps.append(_Step(step, code.prepare(step, outs, ins, f"{key}:{number}")))

    def kernel(self, step: int, key: str) -> int:
        """The address of a kernel; key is `mode|r or c|classes`."""
        mode, axis, classes = key.split("|")
        op, rest = self.key.split("|", 1)
        full = f"{op}|row{step}:{mode}:{axis}|{rest}|{classes}|{host().level}"

        def make():
            kernel = code.RowKernel(self.steps[step].program, mode, axis == "c")
            return compile_program(kernel, host(), classes)

        return resolve_family(full, make)["k"]


class _Step:
    """What the driver reads of a step."""

    def __init__(self, step: ir.Step, program: code.RowProgram):
        self.program = program
        self.over_batch, self.ordered = step.over_batch, step.ordered
        self.inputs, self.outputs = step.inputs, step.outputs
        self.roles, self.out_roles = step.roles, step.out_roles
        self.state_dtypes = [program.states(k) for k in range(len(program.levels))]


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


def trace(body: Row, arguments: list) -> list[Expr]:
    """The outputs of a body as expressions."""
    result = body.fn(*arguments)
    return list(result) if isinstance(result, tuple | list) else [result]


def compute_dtype(body: Row, in_codes, out_codes) -> str:
    """The dtype that the first operand is seen in: that of the first output which has the compute dtype."""
    for code_, dtype in zip(body.out_dtypes, out_codes, strict=True):
        if code_ in "cs":
            return t.compute_dtype(dtype)
    return t.compute_dtype(in_codes[0])


def body_arguments(body: Row, params: list, in_codes, compute: str) -> tuple[list, str]:
    """What the body is called with, and the text of the static attributes among it."""
    arguments: list = []
    attributes: list[str] = []
    operand = slot = 0
    skipped = layout_params(body)
    for name, kind, static, value in params:
        if kind == _TENSOR:
            arguments.append(_operand(operand, in_codes[operand], compute, body) if value else None)
            attributes.append("T" if value else "N")
            operand += 1
        elif name in skipped:
            slot += kind in (_SCALAR, _INT, _FLOAT) and not static and name != body.dims
        elif static:
            arguments.append(value)
            attributes.append(f"{name}={value!r}")
        elif kind in (_SCALAR, _INT, _FLOAT):
            dtype = "i64" if kind == _INT else compute if kind == _SCALAR else t.real_of(compute)
            arguments.append(param(slot, dtype))
            slot += 1
    return arguments, ",".join(attributes)


def _operand(number: int, dtype: str, compute: str, body: Row) -> Expr:
    """An operand; those of floating point are seen in the compute dtype, positions as they are."""
    leaf = input_(number, t.compute_dtype(dtype))
    keeps = number > 0 and (t.is_int(dtype) or dtype == "b1")
    return leaf if keeps else cast(leaf, compute)
