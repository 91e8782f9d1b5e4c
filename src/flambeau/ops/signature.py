"""Reading signatures in Python: only where a kernel, a gradient or a page is made, never at import."""

import ast
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Param:
    """One parameter: `Tensor? weight=None` has type "Tensor" and is optional."""

    name: str
    type: str
    optional: bool
    keyword_only: bool
    default: Any = ...
    written: bool = False

    @property
    def is_tensor(self) -> bool:
        return self.type == "Tensor"

    @property
    def is_output(self) -> bool:
        """Whether a result is written to the tensor given."""
        return self.is_tensor and self.written and self.keyword_only

    @property
    def is_number(self) -> bool:
        return self.type in ("Scalar", "float", "int")


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside of brackets and quotes."""
    parts, depth, start, quoted = [], 0, 0, ""
    for i, c in enumerate(text):
        if quoted:
            quoted = "" if c == quoted else quoted
        elif c in "'\"":
            quoted = c
        elif c in "([":
            depth += 1
        elif c in ")]":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def _default(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:
        return float("inf") if text == "inf" else text


def _param(text: str, keyword_only: bool) -> Param:
    declared, _, default = text.partition("=")
    kind, name = declared.rsplit(" ", 1)
    written = "!" in kind
    if "(" in kind:
        kind = kind[: kind.index("(")] + kind[kind.index(")") + 1 :]
    optional = kind.endswith("?")
    value = _default(default) if default else ...
    return Param(name, kind.removesuffix("?"), optional, keyword_only, value, written)


@cache
def parse(signature: str) -> tuple[tuple[Param, ...], int]:
    """Parameters of a signature, and the number of its results."""
    declared, returned = signature.split("(", 1)[1].rsplit("->", 1)
    params, keyword_only = [], False
    for part in _split(declared.rstrip().removesuffix(")")):
        if part == "*":
            keyword_only = True
        else:
            params.append(_param(part, keyword_only))
    returned = returned.strip()
    results = len(_split(returned[1:-1])) if returned.startswith("(") else 1
    return tuple(params), results
