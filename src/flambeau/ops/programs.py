"""From an entry of the table and a kernel's key to a scalar program."""

from collections.abc import Sequence
from typing import Any

from flambeau.ir import types as t
from flambeau.ir.program import In, Par, ScalarProgram, trace

from .signature import Param, parse
from .table import TABLE, Entry

_RESULTS = {"bool": "b1", "int32": "i32", "int64": "i64"}


def parse_attributes(text: str) -> tuple[dict[str, str], frozenset[str]]:
    """Static attributes by name, and the parameters that are folded in or absent."""
    parts = text.split(",") if text else []
    named = dict(p.split("=", 1) for p in parts if not p.startswith("~"))
    return named, frozenset(p[1:] for p in parts if p.startswith("~"))


def attribute_value(text: str, kind: str) -> Any:
    """A static attribute as Python has it."""
    if text == "None":
        return None
    if kind == "bool":
        return text == "True"
    if kind == "int":
        return int(text)
    if kind in ("float", "Scalar"):
        return float(text)
    if kind.startswith("int["):
        return [int(x) for x in text.strip("[]").split(";") if x]
    return text


def role_of(entry: Entry, p: Param) -> str:
    """c: in the compute dtype; r, z: its real, complex counterpart; k, m: its own dtype."""
    return entry.roles.get(p.name, "c")[0]


def is_run_time_number(entry: Entry, p: Param) -> bool:
    """Whether a parameter reaches the kernel as a number."""
    return p.is_number and p.name not in entry.static


def operand_params(entry: Entry) -> list[Param]:
    """The parameters that are operands."""
    return [p for p in parse(entry.signatures[0])[0] if p.is_tensor and not p.is_output]


def canonical_dtypes(entry: Entry, absent: frozenset[str], dtype: str) -> tuple[str, ...]:
    """Storage dtypes of results and operands where everything is computed in `dtype`."""
    params, results = parse(entry.signatures[0])
    rules = (entry.result,) * results if isinstance(entry.result, str) else entry.result
    outs = [_result_dtype(rule, dtype) for rule in rules]
    ins = []
    for p in params:
        if p.is_tensor and not p.is_output and p.name not in absent:
            own = entry.roles.get(p.name, "c")
            ins.append(_operand_dtype(own, dtype))
    return (*outs, *ins)


def _operand_dtype(role: str, dtype: str) -> str:
    by_role = {"c": dtype, "r": t.real_of(dtype), "z": t.complex_of(dtype)}
    return by_role.get(role) or role[2:] or "b1"


def _result_dtype(rule: str, dtype: str) -> str:
    if rule in ("real", "real_float"):
        return t.real_of(dtype)
    if rule == "number":
        return "i64" if dtype == "b1" else dtype
    return t.complex_of(dtype) if rule == "complex" else _RESULTS.get(rule, dtype)


def program_of(entry: Entry, attributes: str, dtypes: Sequence[str]) -> ScalarProgram:
    """The program of a Scalar entry for storage dtypes (results first) and the attributes of a key."""
    if hasattr(entry.body, "program"):
        return entry.body.program(entry, dtypes)
    params, results = parse(entry.signatures[0])
    params = tuple(p for p in params if not p.is_output)
    named, folded = parse_attributes(attributes)
    ins = iter(dtypes[results:])
    operands = {p.name: next(ins) for p in params if p.is_tensor and p.name not in folded}
    compute = _compute_dtype(entry, params, operands, dtypes)
    args = [_argument(entry, p, operands, named, folded, compute) for p in params]
    return trace(entry.body.fn, args, outputs=dtypes[:results], name=entry.name)


def _compute_dtype(entry: Entry, params: Sequence[Param], operands: dict[str, str], dtypes: Sequence[str]) -> str:
    """That of the widest operand; the others are cast to it."""
    found = [t.compute_dtype(operands[p.name]) for p in params if p.name in operands and role_of(entry, p) == "c"]
    return max(found, key=lambda d: (t.is_float(d), t.SIZE[d])) if found else t.compute_dtype(dtypes[0])


def _argument(entry: Entry, p: Param, operands: dict, named: dict, folded: frozenset, compute: str) -> Any:
    if p.name in folded:
        return None if p.default is ... else p.default
    if p.is_tensor:
        return In(operands[p.name], compute if role_of(entry, p) == "c" else None)
    if p.name in named:
        return attribute_value(named[p.name], p.type)
    return Par(_number_dtype(p, compute))


def _number_dtype(p: Param, compute: str) -> str:
    if p.type == "int":
        return "i64"
    if p.type == "Scalar":
        return "i64" if compute == "b1" else compute
    return t.real_of(compute) if t.is_float(compute) or t.is_complex(compute) else "f64"


def provider(name: str, variant: str, attributes: str, dtypes: tuple[str, ...]) -> Any:
    """What the code generator asks for the program of a key."""
    entry = TABLE.get(name)
    if entry is None:
        raise LookupError(f"the table has no operator {name!r}")
    return program_of(entry, attributes, dtypes)
