"""What the body of a row operator is called with, and what it comes to."""

from flambeau.ir import types as t
from flambeau.ir.expr import Expr, input_, param
from flambeau.ir.scalar import cast

from .table import Row

_TENSOR, _SCALAR, _INT, _FLOAT = 0, 2, 3, 4  # ParamType of the core


def layout_params(body: Row) -> set[str]:
    """Parameters that say which dimensions the row has and what the results look like; the body does not see them."""
    return {"dim", "keepdim", "dtype", body.dims.removeprefix("last ")}


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
