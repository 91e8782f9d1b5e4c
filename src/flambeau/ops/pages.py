"""What an operator's page says: its arguments, dtypes, forms and gradient, read off the table.

Pages are made when somebody asks (`help`, `__doc__`, an editor), never at import.
"""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from .signature import Param, parse
from .table import TABLE, Entry

__all__ = ["entries_of", "hint", "page", "result_hint", "signature_of", "stubs"]

_HINTS = {
    "Tensor": "Tensor", "Scalar": "Number", "int": "int", "float": "float", "bool": "bool", "str": "str",
    "ScalarType": "dtype", "Layout": "layout", "Device": "device | str | int", "MemoryFormat": "memory_format",
    "Generator": "Generator", "Any": "Any", "Tensor[]": "Sequence[Tensor]", "Tensor?[]": "Sequence[Tensor | None]",
}  # fmt: skip
_WORDS = {
    "Tensor": "Tensor", "Scalar": "number", "ScalarType": "dtype", "Device": "device", "Layout": "layout",
    "MemoryFormat": "memory format", "Tensor[]": "list of Tensors", "Tensor?[]": "list of Tensors or None",
}  # fmt: skip
_RULES = {
    "promote": "that of the operands, promoted", "float": "that of the operands, promoted; integers give the default",
    "real_float": "the real counterpart of the operands' dtype; integers give the default", "bool": "bool",
    "real": "the real counterpart of the operands' dtype", "input": "that of the first operand",
    "complex": "the complex counterpart of the operands' dtype",
}  # fmt: skip
#: Groups of dtypes that are said with one word.
_GROUPS = (
    ("complex", {"complex64", "complex128"}),
    ("floating point", {"float16", "bfloat16", "float32", "float64"}),
    ("integers", {"uint8", "int8", "int16", "int32", "int64"}),
    ("8-bit floating point", {"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"}),
    ("uint16, uint32, uint64", {"uint16", "uint32", "uint64"}),
)


def entries_of(function: Any) -> list[tuple[Entry, str]]:
    """The entries behind a function, each with the signature of its overload."""
    return [(TABLE[name], TABLE[name].signatures[index]) for name, index in function.overloads if name in TABLE]


def hint(param: Param, entry: Entry) -> str:
    """The type of a parameter, as a type checker reads it."""
    kind = param.type
    if param.name in entry.numbers:  # a number may stand for the tensor
        return "Tensor | Number | None" if param.optional else "Tensor | Number"
    if kind.startswith("int["):
        text = "Sequence[int]" if kind == "int[]" else "int | Sequence[int]"
    else:
        text = _HINTS.get(kind, "Any")
    return f"{text} | None" if param.optional and text != "Any" else text


def result_hint(signature: str) -> str:
    """The type of what an overload returns."""
    returned = signature.rsplit("->", 1)[1].strip()
    if not returned.startswith("("):
        return "tuple[Tensor, ...]" if returned.endswith("[]") else "Tensor" if "Tensor" in returned else (
            {"ScalarType": "dtype", "bool": "bool"}.get(returned, "Any")
        )  # fmt: skip
    count = returned.count(",") + 1
    return f"tuple[{', '.join(['Tensor'] * count)}]"


def _default(value: Any) -> str:
    return value if isinstance(value, str) and value.endswith("_format") else repr(value)


def signature_of(function: Any) -> inspect.Signature | None:
    """The parameters of a function's first overload, for `inspect` and editors."""
    listed = entries_of(function)
    if not listed:  # written in C++, outside of the table
        return None
    entry, signature = listed[0]
    kinds = inspect.Parameter
    return inspect.Signature(
        [
            kinds(
                p.name if p.name.isidentifier() and not _is_keyword(p.name) else f"{p.name}_",
                kinds.KEYWORD_ONLY if p.keyword_only else kinds.POSITIONAL_OR_KEYWORD,
                default=kinds.empty if p.default is ... else p.default,
                annotation=hint(p, entry),
            )
            for p in _ordered(parse(signature)[0])
        ],
        return_annotation=result_hint(signature),
    )


def _is_keyword(name: str) -> bool:
    return name in ("from", "to", "lambda", "in", "is", "not")


def _ordered(params: Iterable[Param]) -> list[Param]:
    """Parameters as Python wants them: one without a default never follows one that has it."""
    listed, seen = [], False
    for p in params:
        if p.default is ... and seen and not p.keyword_only:
            p = Param(p.name, p.type, True, False, None, p.written)
        seen = seen or (p.default is not ... and not p.keyword_only)
        listed.append(p)
    return listed


def stubs(name: str, entry: Entry, signature: str, method: bool) -> list[str]:
    """An overload as lines of a .pyi file: one, and another where integers may be given one by one."""
    params = _ordered(parse(signature)[0])
    head, rest = (["self"], params[1:]) if method else ([], params)
    lines = [_stub(name, entry, head, rest, signature, "")]
    if rest and rest[0].type == "int[]" and not rest[0].keyword_only:
        lines.append(_stub(name, entry, [*head, f"*{rest[0].name}: int"], rest[1:], signature, "*"))
    return [_unshadowed(line) for line in lines]


def _stub(name: str, entry: Entry, head: list[str], params: list[Param], signature: str, starred: str) -> str:
    parts = list(head)
    for i, p in enumerate(params):
        if p.keyword_only and not starred:
            parts.append("*")
            starred = "*"
        plain = "input" if i == 0 and p.name == "self" else f"{p.name}_" if _is_keyword(p.name) else p.name
        parts.append(f"{plain}: {hint(p, entry)}" + ("" if p.default is ... else " = ..."))
    return f"def {name}({', '.join(parts)}) -> {result_hint(signature)}: ..."


def _unshadowed(line: str) -> str:
    """Types of Python whose names the package uses for dtypes."""
    return re.sub(r"(?<=[ \[])(int|float|bool|complex)(?=[],| )]|:\s\.)", r"builtins.\1", line)


# ---- pages


def _call(name: str, signature: str) -> str:
    parts, starred = [], False
    for p in parse(signature)[0]:
        if p.keyword_only and not starred:
            parts.append("*")
            starred = True
        parts.append(p.name if p.default is ... else f"{p.name}={_default(p.default)}")
    return f"{name}({', '.join(parts)}) -> {result_hint(signature)}"


def _argument(p: Param) -> str:
    kind = p.type
    words = _WORDS.get(kind, kind)
    if kind.startswith("int["):
        count = kind[4:-1]
        words = "ints" if not count else "int or ints" if count == "1" else f"int or {count} ints"
    extra = [words] + (["optional"] if p.optional else []) + (["is changed"] if p.written else [])
    default = "" if p.default is ... else f": default {_default(p.default)}"
    return f"    {p.name} ({', '.join(extra)}){default}"


def _dtypes(entry: Entry) -> str:
    names = {str(d).rpartition(".")[2] for d in entry.dtypes}
    said = [word for word, group in reversed(_GROUPS) if group <= names]
    covered = set().union(*(group for _, group in _GROUPS if group <= names)) if said else set()
    return ", ".join([*said, *sorted(names - covered)])


def _result(entry: Entry, signature: str) -> str:
    returned = signature.rsplit("->", 1)[1]
    if "(a!)" in returned:
        return "the first argument, changed"
    if "Tensor(a)" in returned:
        return "a view: it shares its elements with the first argument wherever sizes and strides allow"
    if entry.body.kind in ("composite", "native", "loop") or isinstance(entry.result, tuple):
        return ""
    return "dtype: " + _RULES.get(entry.result, str(entry.result))


def _gradient(entry: Entry) -> str:
    if not entry.differentiable:
        return "none; results never require a gradient"
    if entry.body.kind == "composite" and entry.grad is None:
        return "that of the operators it is made of"
    return "written over operators" if entry.grad is not None else "derived from the formula"


def _overload(name: str, entry: Entry, signature: str) -> list[str]:
    lines = [_call(name, signature)]
    params = parse(signature)[0]
    if params:
        lines += ["", "Args:", *map(_argument, params)]
    facts = {"Dtypes": _dtypes(entry), "Result": _result(entry, signature), "Gradient": _gradient(entry)}
    return [*lines, "", *(f"{k}: {v}." for k, v in facts.items() if v)]


def page(name: str, function: Any) -> str:
    """The text of an operator's page.

    Args:
        name: what users call it.
        function: the operator.
    """
    listed = entries_of(function)
    if not listed:
        return ""
    blocks, said = [], set()
    for entry, signature in listed:
        text = entry.doc
        if text and text not in said:
            said.add(text)
            blocks.append(inspect.cleandoc(text))
        blocks.append("\n".join(_overload(name, entry, signature)))
    first = listed[0][0]
    reached = [n for n in (*first.names, *first.inplace_names) if n.rpartition(".")[2] != name]
    places = ", ".join(f"torch.{n}" for n in dict.fromkeys((*first.names, *first.inplace_names)))
    if places and (reached or len(first.names) > 1):
        blocks.append(f"Reached as: {places}.")
    return "\n\n".join(blocks)
